//! The rungs a record climbs, and the only place where they move.
//!
//!     durable  <=  written  <=  next
//!        │            │           └ the offset the next accepted record gets
//!        │            └ writes completed below this
//!        └ a completed fdatasync covers everything below this: may be acknowledged and read
//!
//! On one node the high watermark is `durable`. With replication `committed <= replicated` come in
//! below it (design §2); that is why nobody compares offsets of a log except through its ladder.

use protocol::model::Offset;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ladder {
    durable: Offset,
    written: Offset,
    next: Offset,
}

/// A step up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rung {
    Next(Offset),
    Written(Offset),
    Durable(Offset),
}

impl Ladder {
    /// All rungs at `end`: a log just recovered, whose records are all durable.
    pub fn at(end: Offset) -> Ladder {
        Ladder { durable: end, written: end, next: end }
    }

    /// # Panics
    /// If the step leads down or past the rung above: somebody lost count of what is on disk.
    pub fn advance(&mut self, to: Rung) {
        let before = *self;
        match to {
            Rung::Next(offset) => self.next = offset,
            Rung::Written(offset) => self.written = offset,
            Rung::Durable(offset) => self.durable = offset,
        }
        let upwards =
            before.durable <= self.durable && before.written <= self.written && before.next <= self.next;
        assert!(upwards, "BUG: ladder moved down: {before:?} by {to:?}");
        self.check();
    }

    fn check(&self) {
        assert!(
            self.durable <= self.written && self.written <= self.next,
            "BUG: ladder out of order: {self:?}"
        );
    }

    pub fn durable(&self) -> Offset {
        self.durable
    }

    pub fn written(&self) -> Offset {
        self.written
    }

    pub fn next(&self) -> Offset {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_move_up_in_order() {
        let mut ladder = Ladder::at(Offset::new(5));
        ladder.advance(Rung::Next(Offset::new(9)));
        ladder.advance(Rung::Written(Offset::new(8)));
        ladder.advance(Rung::Durable(Offset::new(8)));
        assert_eq!((ladder.durable(), ladder.written(), ladder.next()), (8, 8, 9).into_offsets());
    }

    #[test]
    #[should_panic(expected = "BUG: ladder out of order")]
    fn nothing_is_durable_before_it_is_written() {
        let mut ladder = Ladder::at(Offset::new(5));
        ladder.advance(Rung::Next(Offset::new(9)));
        ladder.advance(Rung::Durable(Offset::new(6)));
    }

    #[test]
    #[should_panic(expected = "BUG: ladder moved down")]
    fn a_rung_never_moves_down() {
        Ladder::at(Offset::new(5)).advance(Rung::Next(Offset::new(4)));
    }

    trait IntoOffsets {
        fn into_offsets(self) -> (Offset, Offset, Offset);
    }

    impl IntoOffsets for (u64, u64, u64) {
        fn into_offsets(self) -> (Offset, Offset, Offset) {
            (Offset::new(self.0), Offset::new(self.1), Offset::new(self.2))
        }
    }
}
