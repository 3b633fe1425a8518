//! The sparse index of a segment: where to begin reading for an offset or a time.
//!
//!     entry      offset   position   max timestamp of all batches before `position`
//!     every 64 KiB of log one entry, always at the start of a batch; the first at position 0
//!
//! File, all little-endian, CRC-32C over `sealed`, the count and everything behind the checksum:
//!
//!      0      4     6        8       12     16     24     32              40     48         56
//!      ├──────┼─────┼────────┼───────┼──────┼──────┼──────┼───────────────┼──────┼──────────┼── entries ─┬── producers ─
//!      │ RLIX │ ver │ sealed │ count │ crc  │ len  │ next │ max_timestamp │ born │ appended │ 24 B each  │ (log/producers.rs)
//!
//!      entry: offset, position, max timestamp of all batches before position
//!
//! `len` and `next` say which state of the segment the file describes: how many bytes, up to which
//! offset; `sealed` whether the segment was closed there. A file that describes another state than the segment is in is of no use. All of what it
//! describes was durable before the file was written. `producers` is what the log knew of its
//! idempotent producers at `next`: one file fewer per segment than a snapshot of its own, and a segment
//! whose index is lost has to be read again anyway, which gives the producers too.
//!
//! The index is a help, never a truth: it is rebuilt from the log whenever it is missing, garbled or
//! does not fit the segment. 24 B per 64 KiB is 0.04 % of the log; a segment of 1 GiB has 16,384.

use protocol::model::{Offset, Timestamp};

/// Bytes of log between two entries.
pub const INDEX_INTERVAL: u64 = 64 << 10;

/// Largest index file that is read: a segment of 64 GiB with an entry of 24 bytes per 64 KiB, and the
/// producers of the log.
pub const INDEX_BYTES_MAX: usize = 64 << 20;

const MAGIC: [u8; 4] = *b"RLIX";
const VERSION: u16 = 2;
const HEADER_LEN: usize = 16;
const EXTENT_LEN: usize = 40;
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
    /// When the first batch was appended (`segment.ms` counts from here); what recovery has read again
    /// was appended at its timestamp, as far as it knows. `Timestamp::MIN` if there is none.
    pub born: Timestamp,
    /// When the last batch was appended, by the broker's clock.
    pub appended: Timestamp,
}

impl Extent {
    /// A segment that begins at `base` and has no batches.
    pub fn empty(base: Offset) -> Extent {
        Extent {
            len: 0,
            next: base,
            max_timestamp: Timestamp::MIN,
            born: Timestamp::MIN,
            appended: Timestamp::MIN,
        }
    }

    /// Takes note of a batch behind the others, appended at `now`.
    pub fn push(&mut self, next: Offset, batch_len: u64, max_timestamp: Timestamp, now: Timestamp) {
        if self.len == 0 {
            self.born = if 0 <= max_timestamp.millis() { max_timestamp.min(now) } else { now };
        }
        self.max_timestamp = self.max_timestamp.max(max_timestamp);
        self.appended = self.appended.max(now);
        self.len += batch_len;
        self.next = next;
    }

    /// How new the newest record is. A timestamp from the future counts as the time of the append:
    /// it could keep a segment for ever. So does a record without one.
    pub fn newest(&self) -> Timestamp {
        if self.max_timestamp.millis() < 0 { self.appended } else { self.max_timestamp.min(self.appended) }
    }
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

    /// The file that describes the segment in the state `extent`; `sealed` if it was closed there.
    pub fn to_bytes(&self, extent: Extent, sealed: bool, producers: &[u8]) -> Vec<u8> {
        let mut body = Vec::with_capacity(EXTENT_LEN + self.entries.len() * ENTRY_LEN + producers.len());
        body.extend_from_slice(&extent.len.to_le_bytes());
        body.extend_from_slice(&extent.next.get().to_le_bytes());
        for time in [extent.max_timestamp, extent.born, extent.appended] {
            body.extend_from_slice(&time.millis().to_le_bytes());
        }
        for entry in &self.entries {
            body.extend_from_slice(&entry.offset.get().to_le_bytes());
            body.extend_from_slice(&entry.position.to_le_bytes());
            body.extend_from_slice(&entry.max_timestamp_before.millis().to_le_bytes());
        }
        body.extend_from_slice(producers);
        let count = u32::try_from(self.entries.len()).expect("BUG: a segment has under 2^32 index entries");
        let mut out = Vec::with_capacity(HEADER_LEN + body.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        let sealed = u16::from(sealed);
        out.extend_from_slice(&sealed.to_le_bytes());
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&checksum(sealed, count, &body).to_le_bytes());
        out.extend_from_slice(&body);
        out
    }

    /// `None` for anything that is not an index of the segment that begins at `base`.
    pub fn from_bytes(bytes: &[u8], base: Offset) -> Option<(SparseIndex, Extent)> {
        let file = IndexFile::from_bytes(bytes, base)?;
        Some((file.index, file.extent))
    }
}

/// All of what an index file holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IndexFile {
    pub index: SparseIndex,
    pub extent: Extent,
    /// Whether the segment was closed in this state.
    pub sealed: bool,
    /// The producers at `extent.next`, as [`ProducerStates`](crate::log::ProducerStates) stores them.
    pub producers: Vec<u8>,
}

impl IndexFile {
    /// `None` for anything that is not an index of the segment that begins at `base`.
    pub fn from_bytes(bytes: &[u8], base: Offset) -> Option<IndexFile> {
        let (header, body) = bytes.split_at_checked(HEADER_LEN)?;
        let word = |at: usize| header.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        let half = |at: usize| header.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes);
        let whole = header.starts_with(&MAGIC)
            && half(4)? == VERSION
            && word(12)? == checksum(half(6)?, word(8)?, body);
        if !whole {
            return None;
        }
        let (extent, rest) = body.split_at_checked(EXTENT_LEN)?;
        let (entries, producers) = rest.split_at_checked((word(8)? as usize).checked_mul(ENTRY_LEN)?)?;
        let extent = parse_extent(extent)?;
        let entries: Vec<IndexEntry> =
            entries.chunks_exact(ENTRY_LEN).map(parse_entry).collect::<Option<_>>()?;
        let ascending = entries.is_sorted_by(|a, b| a.offset < b.offset && a.position < b.position);
        // Compaction may have taken the first records of a segment: it begins at `base` all the same.
        let fits = entries.first().is_none_or(|first| base <= first.offset && first.position == 0)
            && entries.last().is_none_or(|last| last.position < extent.len && last.offset < extent.next)
            && entries.is_empty() == (extent.len == 0)
            && base <= extent.next;
        let producers = producers.to_vec();
        let sealed = half(6)? == 1;
        (ascending && fits).then_some(IndexFile { index: SparseIndex { entries }, extent, sealed, producers })
    }
}

/// Of the count too: a wrong one would take producers for entries.
fn checksum(sealed: u16, count: u32, body: &[u8]) -> u32 {
    let head = crc32c::crc32c_append(crc32c::crc32c(&sealed.to_le_bytes()), &count.to_le_bytes());
    crc32c::crc32c_append(head, body)
}

fn parse_extent(bytes: &[u8]) -> Option<Extent> {
    let (len_next_max, rest) = bytes.split_at_checked(ENTRY_LEN)?;
    let (len, next, max_timestamp) = parse_triple(len_next_max)?;
    let (born, rest) = rest.split_first_chunk::<8>()?;
    let (appended, _) = rest.split_first_chunk::<8>()?;
    let time = |bytes: &[u8; 8]| Timestamp::from_millis(i64::from_le_bytes(*bytes));
    let next = Offset::from_wire(next.cast_signed())?;
    Some(Extent { len, next, max_timestamp, born: time(born), appended: time(appended) })
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
        let extent = Extent {
            len: 1 << 20,
            next: Offset::new(150),
            max_timestamp: Timestamp::from_millis(100),
            born: Timestamp::from_millis(7),
            appended: Timestamp::from_millis(200),
        };
        let bytes = sample().to_bytes(extent, true, b"producers");
        let read = |bytes: &[u8]| IndexFile::from_bytes(bytes, Offset::new(100));
        let producers = b"producers".to_vec();
        assert_eq!(read(&bytes), Some(IndexFile { index: sample(), extent, sealed: true, producers }));
        assert_eq!(SparseIndex::from_bytes(&bytes, Offset::new(101)), None);
        assert_eq!(read(&sample().to_bytes(Extent { len: INDEX_INTERVAL, ..extent }, true, &[])), None);
        for at in 0..bytes.len() {
            assert_eq!(read(&bytes[..at]), None, "cut at {at}");
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert_eq!(read(&flipped), None, "flip at {at}");
        }
    }

    #[test]
    fn a_time_from_the_future_counts_as_the_time_of_the_append() {
        let mut extent = Extent::empty(Offset::ZERO);
        let at = Timestamp::from_millis;
        extent.push(Offset::new(1), 10, at(50), at(1000));
        assert_eq!((extent.born, extent.newest()), (at(50), at(50)));
        extent.push(Offset::new(2), 10, at(9_999_999), at(1001));
        assert_eq!((extent.born, extent.newest()), (at(50), at(1001)));
        let mut without = Extent::empty(Offset::ZERO);
        without.push(Offset::new(1), 10, Timestamp::NONE, at(77));
        assert_eq!((without.born, without.newest()), (at(77), at(77)));
    }
}
