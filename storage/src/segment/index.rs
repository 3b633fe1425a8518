//! The sparse index of a segment: where to begin reading for an offset or a time.
//!
//!     entry      offset   position   max timestamp of all batches before `position`
//!     every 64 KiB of log one entry, always at the start of a batch; the first at position 0
//!
//! File, all little-endian, CRC-32C over everything behind it:
//!
//!      0      4        8       12     16     24     32              40
//!      ├──────┼────────┼───────┼──────┼──────┼──────┼───────────────┼── entry, 24 bytes ──┬ …
//!      │ RLIX │ version│ count │ crc  │ len  │ next │ max_timestamp │ offset, position, max_timestamp
//!
//! `len` and `next` say which state of the segment the file describes: how many bytes, up to which
//! offset. A file that describes another state than the segment is in is of no use.
//!
//! The index is a help, never a truth: it is rebuilt from the log whenever it is missing, garbled or
//! does not fit the segment. 24 B per 64 KiB is 0.04 % of the log; a segment of 1 GiB has 16,384.

use protocol::model::{Offset, Timestamp};

/// Bytes of log between two entries.
pub const INDEX_INTERVAL: u64 = 64 << 10;

const MAGIC: [u8; 4] = *b"RLIX";
const VERSION: u32 = 1;
const HEADER_LEN: usize = 16;
const EXTENT_LEN: usize = 24;
const ENTRY_LEN: usize = 24;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexEntry {
    /// First offset of the batch at `position`.
    pub offset: Offset,
    pub position: u64,
    /// Largest timestamp of the batches before `position`; `Timestamp::MIN` for the first entry.
    pub max_timestamp_before: Timestamp,
}

/// The state of a segment that an index file describes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// Bytes of batches.
    pub len: u64,
    /// The offset after the last record.
    pub next: Offset,
    /// Largest timestamp of all batches; `Timestamp::MIN` if there are none.
    pub max_timestamp: Timestamp,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SparseIndex {
    entries: Vec<IndexEntry>,
}

impl SparseIndex {
    /// Sees each batch in order and keeps an entry where the last one is far enough behind.
    pub fn note(&mut self, segment: Offset, offset: Offset, position: u64, max_timestamp_before: Timestamp) {
        assert!(segment <= offset, "BUG: batch {offset} before its segment {segment}");
        let due = self.entries.last().is_none_or(|last| position >= last.position + INDEX_INTERVAL);
        if due {
            self.entries.push(IndexEntry { offset, position, max_timestamp_before });
        }
    }

    pub fn entries(&self) -> &[IndexEntry] {
        &self.entries
    }

    /// The last entry at or before `offset`: begin to read there.
    pub fn floor(&self, offset: Offset) -> Option<IndexEntry> {
        let after = self.entries.partition_point(|entry| entry.offset <= offset);
        self.entries.get(after.checked_sub(1)?).copied()
    }

    /// The last entry before which every record is older than `time`: begin to search there.
    pub fn floor_time(&self, time: Timestamp) -> Option<IndexEntry> {
        let after = self.entries.partition_point(|entry| entry.max_timestamp_before < time);
        self.entries.get(after.checked_sub(1)?).copied()
    }

    pub fn to_bytes(&self, extent: Extent) -> Vec<u8> {
        let mut body = Vec::with_capacity(EXTENT_LEN + self.entries.len() * ENTRY_LEN);
        body.extend_from_slice(&extent.len.to_le_bytes());
        body.extend_from_slice(&extent.next.get().to_le_bytes());
        body.extend_from_slice(&extent.max_timestamp.millis().to_le_bytes());
        for entry in &self.entries {
            body.extend_from_slice(&entry.offset.get().to_le_bytes());
            body.extend_from_slice(&entry.position.to_le_bytes());
            body.extend_from_slice(&entry.max_timestamp_before.millis().to_le_bytes());
        }
        let count = u32::try_from(self.entries.len()).expect("BUG: a segment has under 2^32 index entries");
        let mut out = Vec::with_capacity(HEADER_LEN + body.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        out.extend_from_slice(&body);
        out
    }

    /// `None` for anything that is not an index of the segment that begins at `base`.
    pub fn from_bytes(bytes: &[u8], base: Offset) -> Option<(SparseIndex, Extent)> {
        let (header, body) = bytes.split_at_checked(HEADER_LEN)?;
        let word = |at: usize| header.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        let count = word(8)? as usize;
        let whole = header.starts_with(&MAGIC)
            && word(4)? == VERSION
            && word(12)? == crc32c::crc32c(body)
            && body.len() == count.checked_mul(ENTRY_LEN)?.checked_add(EXTENT_LEN)?;
        if !whole {
            return None;
        }
        let (extent, entries) = body.split_at_checked(EXTENT_LEN)?;
        // An extent has the form of an entry: two offsets or positions and a time.
        let (len, next, max_timestamp) = parse_triple(extent)?;
        let extent = Extent { len, next: Offset::from_wire(next.cast_signed())?, max_timestamp };
        let entries: Vec<IndexEntry> =
            entries.chunks_exact(ENTRY_LEN).map(parse_entry).collect::<Option<_>>()?;
        let ascending = entries.is_sorted_by(|a, b| a.offset < b.offset && a.position < b.position);
        let fits = entries.first().is_none_or(|first| first.offset == base && first.position == 0)
            && entries.last().is_none_or(|last| last.position < extent.len && last.offset < extent.next)
            && entries.is_empty() == (extent.len == 0);
        (ascending && fits).then_some((SparseIndex { entries }, extent))
    }
}

fn parse_triple(bytes: &[u8]) -> Option<(u64, u64, Timestamp)> {
    let (first, rest) = bytes.split_first_chunk::<8>()?;
    let (second, rest) = rest.split_first_chunk::<8>()?;
    let (time, _) = rest.split_first_chunk::<8>()?;
    let time = Timestamp::from_millis(i64::from_le_bytes(*time));
    Some((u64::from_le_bytes(*first), u64::from_le_bytes(*second), time))
}

fn parse_entry(bytes: &[u8]) -> Option<IndexEntry> {
    let (offset, position, max_timestamp_before) = parse_triple(bytes)?;
    Some(IndexEntry { offset: Offset::from_wire(offset.cast_signed())?, position, max_timestamp_before })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> SparseIndex {
        let mut index = SparseIndex::default();
        let base = Offset::new(100);
        for i in 0..10u64 {
            let time = if i == 0 { Timestamp::MIN } else { Timestamp::from_millis(i as i64 * 10) };
            index.note(base, Offset::new(100 + i * 5), i * (INDEX_INTERVAL / 2), time);
        }
        index
    }

    #[test]
    fn keeps_one_entry_per_interval_and_finds_the_one_before() {
        let index = sample();
        let offsets: Vec<u64> = index.entries().iter().map(|entry| entry.offset.get()).collect();
        assert_eq!(offsets, [100, 110, 120, 130, 140]);
        assert_eq!(index.floor(Offset::new(119)).unwrap().offset, Offset::new(110));
        assert_eq!(index.floor(Offset::new(99)), None);
        // Every record before the entry at 120 is at most 40 ms: time 41 need not look before it.
        assert_eq!(index.floor_time(Timestamp::from_millis(41)).unwrap().offset, Offset::new(120));
        assert_eq!(index.floor_time(Timestamp::from_millis(40)).unwrap().offset, Offset::new(110));
    }

    #[test]
    fn reads_what_it_wrote_and_nothing_else() {
        let extent =
            Extent { len: 1 << 20, next: Offset::new(150), max_timestamp: Timestamp::from_millis(100) };
        let bytes = sample().to_bytes(extent);
        let read = |bytes: &[u8]| SparseIndex::from_bytes(bytes, Offset::new(100));
        assert_eq!(read(&bytes), Some((sample(), extent)));
        assert_eq!(SparseIndex::from_bytes(&bytes, Offset::new(101)), None);
        assert_eq!(read(&sample().to_bytes(Extent { len: INDEX_INTERVAL, ..extent })), None);
        for at in 0..bytes.len() {
            assert_eq!(read(&bytes[..at]), None, "cut at {at}");
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert_eq!(read(&flipped), None, "flip at {at}");
        }
    }
}
