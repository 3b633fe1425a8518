//! A shard's checkpoint: for each of its logs, a place that is known to be durable.
//!
//!     checkpoints/shard-0
//!
//!      0      4         8       12      16
//!      ├──────┼─────────┼───────┼───────┼── entry ──┬── entry ──┬ …
//!      │ RLCP │ version │ count │ crc   │ 72 bytes each, little-endian
//!      entry: topic 16, partition u32, segment u64, position u64, prepared u64, offset u64, start u64,
//!             clean up to u64, clean u32
//!
//! Recovery takes a bad batch below the checkpoint for corruption rather than a torn tail (design D7),
//! and segments below `start` for deleted. `clean` says that the log was closed in order and nothing
//! was written since; it is withdrawn, durably, before a started shard takes its first record.
//! A log may stand in the files of two shards after the number of shards was changed; the farther
//! place holds, for what is durable stays durable.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use protocol::model::{Offset, PartitionIndex, TopicId};

use crate::disk::Disk;
use crate::id::LogId;
use crate::log::DurablePoint;
use crate::small_file;

pub const CHECKPOINTS_DIR: &str = "checkpoints";

const MAGIC: [u8; 4] = *b"RLCP";
const VERSION: u32 = 2;
const HEADER_LEN: usize = 16;
const ENTRY_LEN: usize = 72;
/// 1,000,000 logs on one shard.
const FILE_BYTES_MAX: usize = HEADER_LEN + 1_000_000 * ENTRY_LEN;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Checkpoint {
    pub logs: HashMap<LogId, DurablePoint>,
}

impl Checkpoint {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.logs.len() * ENTRY_LEN);
        for (id, point) in &self.logs {
            body.extend_from_slice(&id.topic.to_bytes());
            body.extend_from_slice(&id.partition.get().to_le_bytes());
            let DurablePoint { segment, position, prepared, offset, start, clean_upto, clean } = *point;
            let numbers = [segment.get(), position, prepared, offset.get(), start.get(), clean_upto.get()];
            for number in numbers {
                body.extend_from_slice(&number.to_le_bytes());
            }
            body.extend_from_slice(&u32::from(clean).to_le_bytes());
        }
        let count = u32::try_from(self.logs.len()).expect("BUG: under 2^32 logs on a shard");
        let mut out = Vec::with_capacity(HEADER_LEN + body.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        out.extend_from_slice(&body);
        out
    }

    /// `None` for bytes that are not a checkpoint.
    pub fn from_bytes(bytes: &[u8]) -> Option<Checkpoint> {
        let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        let entries = bytes.get(HEADER_LEN..)?;
        let whole = bytes.starts_with(&MAGIC) && word(4)? == VERSION && word(12)? == crc32c::crc32c(entries);
        if !whole || entries.len() != (word(8)? as usize).checked_mul(ENTRY_LEN)? {
            return None;
        }
        let logs = entries.chunks_exact(ENTRY_LEN).map(parse_entry).collect::<Option<_>>()?;
        Some(Checkpoint { logs })
    }

    /// Replaces the shard's checkpoint. Durable when it returns.
    pub async fn write<D: Disk>(&self, disk: &D, shard: u16) -> io::Result<()> {
        small_file::replace(disk, CHECKPOINTS_DIR, &format!("shard-{shard}"), &self.to_bytes()).await
    }

    /// Reads every shard's checkpoint and joins them. A missing or garbled file says nothing about
    /// its logs, so they are read from their start.
    pub async fn read_all<D: Disk>(disk: &D) -> io::Result<Checkpoint> {
        let names = match disk.list(CHECKPOINTS_DIR).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        let mut files = Vec::new();
        for name in names.into_iter().filter(|name| is_checkpoint(name)) {
            let bytes = small_file::read(disk, CHECKPOINTS_DIR, &name, FILE_BYTES_MAX).await?;
            files.push((name, bytes.unwrap_or_default()));
        }
        Ok(Checkpoint::join_files(files))
    }

    /// As [`Checkpoint::read_all`], by blocking calls, for the start of a broker.
    pub fn load(data_dir: &Path) -> io::Result<Checkpoint> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(data_dir.join(CHECKPOINTS_DIR))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_checkpoint(&name) && entry.metadata()?.len() <= FILE_BYTES_MAX as u64 {
                files.push((name, std::fs::read(entry.path())?));
            }
        }
        Ok(Checkpoint::join_files(files))
    }

    /// Deletes the checkpoints of shards that there are no more, once those that there are have
    /// written theirs.
    pub fn remove_beyond(data_dir: &Path, shards: u16) -> io::Result<()> {
        let dir = data_dir.join(CHECKPOINTS_DIR);
        for entry in std::fs::read_dir(&dir)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let shard = name.strip_prefix("shard-").and_then(|number| number.parse::<u16>().ok());
            if shard.is_some_and(|shard| shards <= shard) {
                std::fs::remove_file(dir.join(name))?;
            }
        }
        Ok(())
    }

    fn join_files(files: Vec<(String, Vec<u8>)>) -> Checkpoint {
        let mut joined = Checkpoint::default();
        for (name, bytes) in files {
            match Checkpoint::from_bytes(&bytes) {
                Some(one) => joined.join(one),
                None => tracing::warn!(
                    file = name,
                    "checkpoint is garbled and is ignored: its logs are read from their first file, records that \
                     were deleted from the front of that file appear again"
                ),
            }
        }
        joined
    }

    fn join(&mut self, other: Checkpoint) {
        for (id, point) in other.logs {
            let place = self.logs.entry(id).or_insert(point);
            let start = place.start.max(point.start);
            // Of two that reach equally far the one that is not clean is the later.
            let rank = |point: &DurablePoint| (point.offset, !point.clean, point.prepared);
            if rank(place) < rank(&point) {
                *place = point;
            }
            place.start = start;
        }
    }
}

fn is_checkpoint(name: &str) -> bool {
    name.starts_with("shard-") && !name.ends_with(".tmp")
}

fn parse_entry(bytes: &[u8]) -> Option<(LogId, DurablePoint)> {
    let (topic, rest) = bytes.split_first_chunk::<16>()?;
    let (partition, rest) = rest.split_first_chunk::<4>()?;
    let value = |n: usize| rest.get(n * 8..n * 8 + 8)?.try_into().ok().map(u64::from_le_bytes);
    let offset = |n: usize| Offset::from_wire(value(n)?.cast_signed());
    let id = LogId {
        topic: TopicId::from_bytes(*topic),
        partition: PartitionIndex::new(u32::from_le_bytes(*partition)),
    };
    let point = DurablePoint {
        segment: offset(0)?,
        position: value(1)?,
        prepared: value(2)?,
        offset: offset(3)?,
        start: offset(4)?,
        clean_upto: offset(5)?,
        clean: rest.get(48..52)? == 1_u32.to_le_bytes(),
    };
    Some((id, point))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Checkpoint {
        let at = Offset::new;
        let id =
            |n| LogId { topic: TopicId::from_bytes([n; 16]), partition: PartitionIndex::new(u32::from(n)) };
        let point = |n| DurablePoint {
            segment: at(n),
            position: n * 7,
            prepared: n * 9,
            offset: at(n + 3),
            start: at(0),
            clean_upto: at(1),
            clean: n == 1,
        };
        Checkpoint { logs: (0..3).map(|n| (id(n), point(u64::from(n)))).collect() }
    }

    #[test]
    fn reads_what_it_wrote_and_nothing_else() {
        let bytes = sample().to_bytes();
        assert_eq!(Checkpoint::from_bytes(&bytes), Some(sample()));
        for at in 0..bytes.len() {
            assert_eq!(Checkpoint::from_bytes(&bytes[..at]), None, "cut at {at}");
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            assert_eq!(Checkpoint::from_bytes(&flipped), None, "flip at {at}");
        }
    }

    #[test]
    fn of_two_places_the_farther_one_holds() {
        let mut joined = sample();
        let mut later = sample();
        let id = *later.logs.keys().next().unwrap();
        later.logs.get_mut(&id).unwrap().offset = Offset::new(1000);
        later.logs.get_mut(&id).unwrap().clean = false;
        joined.join(later);
        assert_eq!((joined.logs[&id].offset, joined.logs[&id].clean), (Offset::new(1000), false));
        let mut deleted = sample();
        deleted.logs.get_mut(&id).unwrap().start = Offset::new(2);
        joined.join(deleted);
        assert_eq!((joined.logs[&id].offset, joined.logs[&id].start), (Offset::new(1000), Offset::new(2)));
    }
}
