//! Memory that a shard has promised: to frames being received, to batches that are not durable yet.
//!
//!     limit ├──── receiving: half at ease, three quarters at most ────┼──── accepted ────┤
//!                                                       beside it: reads from disk, a quarter
//!
//! Bytes are reserved before they are read. Who gets no credit waits, its socket is not read, and TCP
//! tells its peer (design D9). Frames wait in line. A frame that has come in part keeps what it has, so
//! all of the credit could be held by frames that wait for more. This is why it is given beyond one half
//! only to a frame that is received to its end with it, and why a connection keeps none for its next
//! frame then: what is held by those who wait is one half at most, and up to there the first in line
//! gets all that it needs. What is accepted or read comes to an end by itself, and peers that do not come to the
//! end of their frames do not keep it from beginning.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use storage::notify::Notify;

pub struct Credits {
    limit: usize,
    /// What frames take that are being received, and buffers kept for the next ones.
    receiving: Cell<usize>,
    /// What batches take that are not durable.
    accepted: Cell<usize>,
    /// What is being read from disk.
    reading: Cell<usize>,
    /// Who waits to receive, the first to be served in front.
    line: RefCell<VecDeque<Rc<Notify>>>,
    /// Who has credit to receive, and may not need it: told when somebody begins to wait.
    holders: RefCell<Vec<Rc<Notify>>>,
    returned: Notify,
}

impl Credits {
    pub fn new(limit: usize) -> Credits {
        Credits {
            limit,
            receiving: Cell::new(0),
            accepted: Cell::new(0),
            reading: Cell::new(0),
            line: RefCell::default(),
            holders: RefCell::default(),
            returned: Notify::default(),
        }
    }

    pub fn used(&self) -> usize {
        self.receiving.get() + self.accepted.get() + self.reading.get()
    }

    /// Takes credit without asking: the bytes are here already.
    pub fn take(&self, bytes: usize) {
        self.accepted.set(self.accepted.get() + bytes);
    }

    pub fn give_back(&self, bytes: usize) {
        take_away(&self.accepted, bytes);
        self.tell(bytes);
    }

    /// Waits until what has been received may be accepted.
    pub async fn wait_for_room(&self) {
        let has_room = || self.accepted.get() < self.limit / 4;
        if !has_room() {
            self.returned.until(|| has_room().then_some(())).await;
        }
    }

    /// Credit for a read from disk; a single one is always granted.
    pub async fn reserve_to_read(&self, bytes: usize) {
        let fits = || self.reading.get() == 0 || self.reading.get() + bytes <= self.limit / 4;
        self.returned.until(|| fits().then_some(())).await;
        self.reading.set(self.reading.get() + bytes);
    }

    pub fn give_back_read(&self, bytes: usize) {
        take_away(&self.reading, bytes);
        self.tell(bytes);
    }

    /// Whether somebody else needs what a connection would keep for its next frame.
    pub fn is_tight(&self) -> bool {
        self.limit / 2 < self.receiving.get() || !self.line.borrow().is_empty()
    }

    /// Credit for a larger buffer than the frame needs. `false` if it is refused.
    pub fn try_reserve_to_receive(&self, bytes: usize) -> bool {
        let is_granted = !self.is_tight() && self.receiving.get() + bytes <= self.limit / 2;
        if is_granted {
            self.receiving.set(self.receiving.get() + bytes);
        }
        is_granted
    }

    /// Credit for all that a frame needs to be received. First come, first served.
    pub async fn reserve_to_receive(&self, bytes: usize) {
        let fits = || {
            let receiving = self.receiving.get();
            receiving <= self.limit / 2 || receiving + bytes <= self.limit - self.limit / 4
        };
        if !(self.line.borrow().is_empty() && fits()) {
            let place = Place::join(self);
            place.turn.until(|| (place.is_first() && fits()).then_some(())).await;
        }
        self.receiving.set(self.receiving.get() + bytes);
    }

    pub fn give_back_received(&self, bytes: usize) {
        take_away(&self.receiving, bytes);
        self.tell(bytes);
    }

    /// Has `holder` told whenever somebody begins to wait for credit.
    pub fn add_holder(&self, holder: Rc<Notify>) {
        self.holders.borrow_mut().push(holder);
    }

    pub fn remove_holder(&self, holder: &Rc<Notify>) {
        let mut holders = self.holders.borrow_mut();
        if let Some(place) = holders.iter().position(|other| Rc::ptr_eq(other, holder)) {
            holders.swap_remove(place);
        }
    }

    fn tell(&self, bytes: usize) {
        if 0 < bytes {
            self.returned.notify();
            self.call_first();
        }
    }

    fn call_first(&self) {
        if let Some(first) = self.line.borrow().front() {
            first.notify();
        }
    }
}

fn take_away(from: &Cell<usize>, bytes: usize) {
    let left = from.get().checked_sub(bytes);
    from.set(left.unwrap_or_else(|| panic!("BUG: {bytes} bytes given back of {}", from.get())));
}

/// A place in the line, left by who was served and by who does not wait any longer.
struct Place<'a> {
    credits: &'a Credits,
    turn: Rc<Notify>,
}

impl<'a> Place<'a> {
    fn join(credits: &'a Credits) -> Place<'a> {
        let turn = Rc::new(Notify::default());
        credits.line.borrow_mut().push_back(turn.clone());
        credits.holders.borrow().iter().for_each(|holder| holder.notify());
        Place { credits, turn }
    }

    fn is_first(&self) -> bool {
        self.credits.line.borrow().front().is_some_and(|first| Rc::ptr_eq(first, &self.turn))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.credits.line.borrow_mut().retain(|place| !Rc::ptr_eq(place, &self.turn));
        self.credits.call_first();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use futures_lite::future::{block_on, poll_once, yield_now};

    use super::*;

    const MIB: usize = 1 << 20;

    fn is_done<F: Future>(future: &mut Pin<Box<F>>) -> bool {
        block_on(poll_once(future.as_mut())).is_some()
    }

    fn is_pending(future: impl Future<Output = ()>) -> bool {
        block_on(poll_once(std::pin::pin!(future))).is_none()
    }

    #[test]
    fn first_come_first_served_and_who_goes_away_is_not_waited_for() {
        let credits = Credits::new(16 * MIB);
        block_on(credits.reserve_to_receive(12 * MIB));
        assert!(credits.is_tight());
        let mut large = Box::pin(credits.reserve_to_receive(3 * MIB));
        let mut small = Box::pin(credits.reserve_to_receive(MIB));
        assert!(!is_done(&mut large));
        let mut later = Box::pin(credits.reserve_to_receive(MIB));
        credits.give_back_received(MIB);
        assert!(!is_done(&mut small) && !is_done(&mut later), "there is room, but others came before");
        drop(large);
        assert!(is_done(&mut small) && !is_done(&mut later));
        assert_eq!(credits.used(), 12 * MIB);
        credits.give_back_received(6 * MIB);
        assert!(is_done(&mut later));
        assert!(!credits.is_tight());
    }

    #[test]
    fn holders_are_told_when_somebody_begins_to_wait() {
        let credits = Credits::new(16 * MIB);
        let (holder, gone) = (Rc::new(Notify::default()), Rc::new(Notify::default()));
        credits.add_holder(holder.clone());
        credits.add_holder(gone.clone());
        block_on(credits.reserve_to_receive(12 * MIB));
        credits.remove_holder(&gone);
        assert_eq!(holder.version(), 0, "nobody waits");
        assert!(is_pending(credits.reserve_to_receive(MIB)));
        assert_eq!((holder.version(), gone.version()), (1, 0));
    }

    #[test]
    fn what_is_received_accepted_and_read_have_a_part_each() {
        let credits = Credits::new(16 * MIB);
        block_on(credits.reserve_to_receive(12 * MIB));
        assert!(!is_pending(credits.wait_for_room()));
        credits.take(4 * MIB);
        assert!(is_pending(credits.wait_for_room()));
        assert!(!is_pending(credits.reserve_to_read(5 * MIB)), "a single one always");
        assert!(is_pending(credits.reserve_to_read(1)));
        credits.give_back_read(MIB);
        credits.give_back(1);
        assert!(is_pending(credits.reserve_to_read(1)) && !is_pending(credits.wait_for_room()));
        credits.give_back_read(1);
        assert!(!is_pending(credits.reserve_to_read(1)));
    }

    #[test]
    fn a_buffer_grows_only_while_half_is_free() {
        let credits = Credits::new(16 * MIB);
        assert!(credits.try_reserve_to_receive(8 * MIB) && !credits.try_reserve_to_receive(1));
        assert!(!credits.is_tight());
        assert!(is_pending(async {
            credits.reserve_to_receive(4 * MIB).await;
            credits.reserve_to_receive(1).await;
        }));
        assert!(credits.is_tight());
    }

    /// Random numbers enough for a test.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % limit.max(1) as u64) as usize
        }
    }

    /// As a reader does it: keeps its buffer while there is plenty, and else the part of the next frame in it.
    async fn receive(credits: &Credits, random: &RefCell<Random>, frame_max: usize) {
        let below = |limit| random.borrow_mut().below(limit);
        let (mut reserved, mut unread) = (0, 0);
        for _ in 0..20 {
            if credits.is_tight() {
                credits.give_back_received(reserved - unread);
                reserved = unread;
            }
            let more = [0, 1, below(frame_max)][below(3)];
            let frame = (unread.max(1) + more).min(frame_max);
            if reserved < frame {
                credits.reserve_to_receive(frame - reserved).await;
                reserved = frame;
            } else if below(2) == 0 && credits.try_reserve_to_receive(reserved) {
                reserved *= 2;
            }
            for _ in 0..below(4) {
                yield_now().await;
            }
            credits.wait_for_room().await;
            credits.take(frame);
            yield_now().await;
            credits.give_back(frame);
            let room = (reserved - frame).min(frame_max - 1);
            unread = [0, room, below(room + 1)][below(3)];
        }
        credits.give_back_received(reserved);
    }

    #[test]
    fn all_frames_come_to_their_end_within_the_limit() {
        for seed in 1..1000 {
            let random = RefCell::new(Random(seed * 0x9e37_79b9_7f4a_7c15));
            let limit = 64 << random.borrow_mut().below(6);
            let credits = Credits::new(limit);
            let frame_max = 1 + random.borrow_mut().below(if seed % 2 == 0 { limit } else { limit / 4 });
            let most = (limit - limit / 4).max(limit / 2 + frame_max);
            let receiver = || Box::pin(receive(&credits, &random, frame_max));
            let count = 2 + random.borrow_mut().below(if seed % 4 < 2 { 4 } else { 40 });
            let mut receivers: Vec<_> = (0..count).map(|_| receiver()).collect();
            for turn in 0.. {
                assert!(
                    turn < 200_000,
                    "seed {seed}: they wait for each other, {} of {limit}",
                    credits.used()
                );
                let at = random.borrow_mut().below(receivers.len());
                let receiver = receivers.get_mut(at).unwrap();
                if is_done(receiver) {
                    drop(receivers.swap_remove(at));
                }
                assert!(credits.receiving.get() <= most, "seed {seed}");
                if receivers.is_empty() {
                    break;
                }
            }
            assert_eq!(credits.used(), 0);
        }
    }
}
