//! Reading a segment's file batch by batch, in windows of 1 MiB, from its start or from where a durable
//! index ends.
//!
//!     ├── batch ──┼── batch ──┼── batch ──┤ end      then garbage, or zeroes, or the end of the file
//!
//! 1 GiB takes about 0.6 s at the device's 1.7 GB/s; the CRC of it 0.05 s.

use std::io;

use protocol::batch::{Batch, HEADER_LEN};
use protocol::model::limits::BATCH_BYTES_MAX;
use protocol::model::{LeaderEpoch, Offset, Timestamp};

use super::valid_batch;
use crate::disk::{DiskFile, align_down};
use crate::log::ProducerStates;
use crate::segment::{Extent, SparseIndex};

const WINDOW: usize = 1 << 20;

/// What the readable part of a file holds.
pub struct Scan {
    pub extent: Extent,
    pub index: SparseIndex,
    /// Bytes behind the extent up to the last one that is not zero.
    pub garbage: u64,
    /// The log's producers at the end of the extent.
    pub producers: ProducerStates,
}

/// Bytes of a file from `at` on, as far as they have been read.
struct Window<'a, F> {
    file: &'a F,
    file_len: u64,
    /// Position in the file of the first byte of `bytes`.
    at: u64,
    bytes: Vec<u8>,
}

impl<'a, F: DiskFile> Window<'a, F> {
    fn new(file: &'a F, at: u64, file_len: u64) -> Window<'a, F> {
        Window { file, file_len, at, bytes: Vec::new() }
    }

    /// Reads more; `false` at the end of the file.
    async fn grow(&mut self) -> io::Result<bool> {
        let from = self.at + self.bytes.len() as u64;
        if self.file_len <= from {
            return Ok(false);
        }
        let aligned = align_down(from);
        let read = self.file.read_at(aligned, WINDOW).await?;
        let known = (self.file_len - aligned).min(read.as_ref().len() as u64) as usize;
        let fresh = read.as_ref().get((from - aligned) as usize..known).unwrap_or(&[]);
        self.bytes.extend_from_slice(fresh);
        Ok(!fresh.is_empty())
    }

    fn skip(&mut self, count: usize) {
        self.at += count as u64;
        self.bytes.drain(..count);
    }
}

/// Where a scan begins and what it takes for a batch.
pub struct ScanFrom {
    pub index: SparseIndex,
    pub extent: Extent,
    pub producers: ProducerStates,
    /// Whether each batch has to begin where the one before it ends.
    pub dense: bool,
    /// The highest leader epoch that a batch can have.
    pub epoch: LeaderEpoch,
    /// The broker's clock: when the batches that are found count as appended.
    pub now: Timestamp,
}

pub async fn scan<F: DiskFile>(file: &F, base: Offset, file_len: u64, from: ScanFrom) -> io::Result<Scan> {
    let ScanFrom { mut index, mut extent, mut producers, dense, epoch, now } = from;
    let mut window = Window::new(file, extent.len, file_len);
    loop {
        let mut used = 0;
        // Offset and epoch stand outside of the checksum.
        let placed = |batch: &Batch<'_>, next: Offset| {
            let in_place = if dense { batch.base_offset() == next } else { next <= batch.base_offset() };
            in_place && (LeaderEpoch::FIRST..=epoch).contains(&batch.leader_epoch())
        };
        while let Some(batch) = window.bytes.get(used..).and_then(valid_batch)
            && placed(&batch, extent.next)
        {
            index.note(base, batch.base_offset(), extent.len, extent.max_timestamp);
            producers.apply(&batch, batch.base_offset(), batch.next_offset(), now);
            extent.push(batch.next_offset(), batch.len() as u64, batch.max_timestamp(), now);
            used += batch.len();
        }
        window.skip(used);
        // More bytes help only where the batch at hand is cut off by the window.
        let cut_off = match Batch::peek_len(&window.bytes) {
            Some(len) => window.bytes.len() < len && len <= BATCH_BYTES_MAX,
            None => window.bytes.len() < HEADER_LEN,
        };
        if !cut_off || !window.grow().await? {
            break;
        }
    }
    let garbage = garbage_behind(file, extent.len, file_len).await?;
    Ok(Scan { extent, index, garbage, producers })
}

/// Distance from `end` to behind the last byte of the file that is not zero.
async fn garbage_behind<F: DiskFile>(file: &F, end: u64, file_len: u64) -> io::Result<u64> {
    let mut window = Window::new(file, end, file_len);
    let mut garbage_end = end;
    while window.grow().await? {
        if let Some(last) = window.bytes.iter().rposition(|byte| *byte != 0) {
            garbage_end = window.at + last as u64 + 1;
        }
        window.skip(window.bytes.len());
    }
    Ok(garbage_end - end)
}

/// Whether a valid batch with an offset of `at_least` or more begins at `from` or behind it.
pub async fn valid_batch_beyond<F: DiskFile>(
    file: &F,
    from: u64,
    file_len: u64,
    at_least: Offset,
) -> io::Result<bool> {
    let mut window = Window::new(file, from, file_len);
    let mut at = 0;
    loop {
        let rest = window.bytes.get(at..).unwrap_or(&[]);
        if rest.len() < HEADER_LEN {
            window.skip(at);
            at = 0;
            if !window.grow().await? {
                return Ok(false);
            }
            continue;
        }
        if could_begin(rest, at_least)
            && let Some(len) = Batch::peek_len(rest)
            && len <= BATCH_BYTES_MAX
        {
            if rest.len() < len && window.grow().await? {
                continue;
            }
            if window.bytes.get(at..).is_some_and(|rest| valid_batch(rest).is_some()) {
                return Ok(true);
            }
        }
        at += 1;
    }
}

/// A cheap look at a header: magic 2 and an offset in reach.
fn could_begin(bytes: &[u8], at_least: Offset) -> bool {
    let offset = bytes.first_chunk::<8>().map(|bytes| i64::from_be_bytes(*bytes)).and_then(Offset::from_wire);
    bytes.get(16) == Some(&2) && offset.is_some_and(|offset| at_least <= offset)
}
