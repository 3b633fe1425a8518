//! Small files of the broker's own, garbled by a disk.
//!
//!     index        accepted only if its entries ascend within the extent it names
//!     checkpoint   accepted only if it is what a broker writes
//!
//! Both have their checksum at byte 12, over everything from byte 16 on; an index has its count in it too.

use protocol::model::{Offset, PartitionIndex, TopicId};
use storage::checkpoint::Checkpoint;
use storage::id::LogId;
use storage::log::DurablePoint;
use storage::segment::SparseIndex;

use super::disk;
use crate::runner::Target;

pub const INDEX: Target = Target {
    name: "index",
    seeds: || disk::indexes(),
    repair: |bytes| repair_index(bytes),
    memory_max: |len| 4 * len + 4096,
    run: |bytes| {
        let Some((index, extent)) = SparseIndex::from_bytes(bytes, Offset::ZERO) else {
            return String::new();
        };
        let entries = index.entries();
        assert!(entries.is_sorted_by(|a, b| a.offset < b.offset && a.position < b.position), "{entries:?}");
        assert!(entries.iter().all(|entry| entry.position < extent.len && entry.offset < extent.next));
        format!("accepted {}", "x".repeat(entries.len().min(64)))
    },
};

pub const CHECKPOINT: Target = Target {
    name: "checkpoint",
    seeds: || [0, 1, 5].map(checkpoint).to_vec(),
    repair: |bytes| {
        // The count is what a garbled file is refused for first.
        let count = bytes.len().saturating_sub(16) / 72;
        if let Some(place) = bytes.get_mut(8..12) {
            place.copy_from_slice(&(count as u32).to_le_bytes());
        }
        super::repair_crc(bytes, 12, 16, u32::to_le_bytes);
    },
    memory_max: |len| 16 * len + 4096,
    run: |bytes| {
        let Some(checkpoint) = Checkpoint::from_bytes(bytes) else { return String::new() };
        assert_eq!(Checkpoint::from_bytes(&checkpoint.to_bytes()), Some(checkpoint.clone()));
        format!("accepted {}", "x".repeat(checkpoint.logs.len().min(64)))
    },
};

fn checkpoint(logs: u8) -> Vec<u8> {
    let log = |n: u8| {
        let id = LogId { topic: TopicId::from_bytes([n; 16]), partition: PartitionIndex::new(u32::from(n)) };
        let (segment, offset) = (Offset::new(u64::from(n)), Offset::new(u64::from(n) + 9));
        let (start, clean_upto) = (Offset::ZERO, Offset::ZERO);
        let point =
            DurablePoint { segment, position: 700, prepared: 4096, offset, start, clean_upto, clean: true };
        (id, point)
    };
    Checkpoint { logs: (0..logs).map(log).collect() }.to_bytes()
}

/// An index's checksum covers bytes 6 to 12 too.
pub fn repair_index(bytes: &mut [u8]) {
    let (Some(head), Some(body)) = (bytes.get(6..12), bytes.get(16..)) else { return };
    let crc = crc32c::crc32c_append(crc32c::crc32c(head), body);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
}
