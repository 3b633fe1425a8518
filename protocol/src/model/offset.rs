//! Offsets: where a record stands in its partition.
//!
//!     offset   0   1   2   3   4   5   6
//!              [a   b] [c   d   e] [f]  ·          three batches, next offset 6
//!              └─ OffsetRange { start: 2, end: 5 } is the middle batch; `end` is not in it
//!
//! An offset is a position, a [`RecordCount`] is a distance. Their sum is a position, the
//! difference of two positions is a distance, and nothing else is defined.

use std::fmt;

/// Position of a record in its partition, counted from 0.
///
/// At most [`Offset::MAX`]: Kafka's offsets are signed 64-bit numbers and ours must fit in them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(u64);

impl Offset {
    pub const ZERO: Offset = Offset(0);
    pub const MAX: Offset = Offset(i64::MAX as u64);

    /// # Panics
    /// If `value` is above [`Offset::MAX`]. Values that come from outside go through
    /// [`Offset::from_wire`].
    pub const fn new(value: u64) -> Offset {
        assert!(value <= Offset::MAX.0, "BUG: offset above i64::MAX");
        Offset(value)
    }

    /// An offset as Kafka's formats carry it; `None` if it is negative.
    pub const fn from_wire(value: i64) -> Option<Offset> {
        if value >= 0 { Some(Offset(value as u64)) } else { None }
    }

    pub const fn to_wire(self) -> i64 {
        self.0 as i64
    }

    pub const fn get(self) -> u64 {
        self.0
    }

    /// `None` where the sum would pass [`Offset::MAX`].
    pub fn checked_add(self, count: RecordCount) -> Option<Offset> {
        let sum = self.0.checked_add(u64::from(count.0))?;
        (sum <= Offset::MAX.0).then_some(Offset(sum))
    }

    /// Distance from `start` to `self`; `None` if `self` lies before `start` or the distance does
    /// not fit in 32 bits (a segment never spans that many records).
    pub fn distance_from(self, start: Offset) -> Option<RecordCount> {
        let distance = self.0.checked_sub(start.0)?;
        u32::try_from(distance).ok().map(RecordCount)
    }
}

impl std::ops::Add<RecordCount> for Offset {
    type Output = Offset;

    fn add(self, count: RecordCount) -> Offset {
        self.checked_add(count).expect("BUG: offset arithmetic passed Offset::MAX")
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.0)
    }
}

/// A number of records.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RecordCount(u32);

impl RecordCount {
    pub const ZERO: RecordCount = RecordCount(0);

    pub const fn new(value: u32) -> RecordCount {
        RecordCount(value)
    }

    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for RecordCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for RecordCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}r", self.0)
    }
}

/// A half-open range of offsets, never inverted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OffsetRange {
    start: Offset,
    end: Offset,
}

impl OffsetRange {
    /// `None` if `end < start`.
    pub fn new(start: Offset, end: Offset) -> Option<OffsetRange> {
        (start <= end).then_some(OffsetRange { start, end })
    }

    pub fn start(self) -> Offset {
        self.start
    }

    /// The first offset that is not in the range.
    pub fn end(self) -> Offset {
        self.end
    }

    pub fn contains(self, offset: Offset) -> bool {
        self.start <= offset && offset < self.end
    }

    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    pub fn count(self) -> u64 {
        self.end.0 - self.start.0
    }
}

impl fmt::Display for OffsetRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_form_rejects_negative_offsets_only() {
        assert_eq!(Offset::from_wire(-1), None);
        assert_eq!(Offset::from_wire(0), Some(Offset::ZERO));
        assert_eq!(Offset::from_wire(i64::MAX), Some(Offset::MAX));
        assert_eq!(Offset::MAX.to_wire(), i64::MAX);
    }

    #[test]
    fn addition_stops_at_the_largest_offset() {
        let near = Offset::new(i64::MAX as u64 - 2);
        assert_eq!(near.checked_add(RecordCount::new(2)), Some(Offset::MAX));
        assert_eq!(near.checked_add(RecordCount::new(3)), None);
    }

    #[test]
    fn distance_is_defined_forwards_and_up_to_32_bits() {
        let at = |n| Offset::new(n);
        assert_eq!(at(9).distance_from(at(4)), Some(RecordCount::new(5)));
        assert_eq!(at(4).distance_from(at(9)), None);
        assert_eq!(at(1 << 40).distance_from(at(0)), None);
    }

    #[test]
    fn a_range_holds_its_start_and_not_its_end() {
        let range = OffsetRange::new(Offset::new(2), Offset::new(5)).unwrap();
        let inside: Vec<u64> = (0..8).filter(|n| range.contains(Offset::new(*n))).collect();
        assert_eq!(inside, [2, 3, 4]);
        assert_eq!(OffsetRange::new(Offset::new(5), Offset::new(2)), None);
    }
}
