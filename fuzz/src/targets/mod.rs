//! What is fuzzed: each parser of bytes that somebody else wrote, or a disk garbled.
//!
//!     wire     frame, messages          from any client (groups.rs: those about groups)
//!     kafka    requests of Kafka         from any client of the Kafka port
//!     batches  batch, decompress        from any producer, and from the disk
//!     files    index, checkpoint        from the disk
//!     disk     recovery                 from the disk, all files of a partition at once

use crate::runner::Target;

mod wire;

mod groups;

mod kafka;

mod batches;

mod files;

mod disk;

pub const ALL: [&Target; 8] = [
    &wire::FRAME,
    &wire::MESSAGES,
    &kafka::KAFKA,
    &batches::BATCH,
    &batches::DECOMPRESS,
    &files::INDEX,
    &files::CHECKPOINT,
    &disk::RECOVERY,
];

/// Writes the checksum of everything from `from` on at `at`.
fn repair_crc(bytes: &mut [u8], at: usize, from: usize, to_bytes: fn(u32) -> [u8; 4]) {
    let Some(covered) = bytes.get(from..) else { return };
    let crc = crc32c::crc32c(covered);
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&to_bytes(crc));
    }
}
