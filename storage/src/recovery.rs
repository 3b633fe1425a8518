//! Recovery: from the files of a partition to its log, telling a torn tail from corruption.
//!
//!     finished segments          unfinished ones, in order: read, batch by batch
//!     index fits: not read       │ indexed: not read │──────── valid ────────┤ p
//!                                                           ▲ checkpoint    └ first bad byte
//!
//! A durable index tells how far the last segment was durable when it was written; reading begins
//! there, with the producers that the index remembers. At `p` one of three things is the case
//! (design D7):
//! - **end**: nothing but zeroes follows. Keep what is valid.
//! - **torn tail**: `p` lies at or above the checkpoint, and no valid batch follows farther away than
//!   the commit rounds that were in flight could reach. Nothing there was acknowledged: cut it off.
//! - **corruption**: anything else. Nothing is cut, nothing is deleted; what lies below `p` is served,
//!   the rest is refused with a typed error.
//!
//! What was read may not be durable yet: it was written, but perhaps never synced. It is synced here,
//! before anybody can read it and lose it in a second crash (KAFKA-10101).

use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;

use protocol::batch::Batch;
use protocol::model::{LeaderEpoch, Offset, Timestamp, TopicId};

use crate::disk::{BLOCK, Disk, DiskFile, align_down, align_up};
use crate::id::{LogId, topic_dir};
use crate::log::{DurablePoint, Found, Log, LogConfig, LogState, ProducerStates, TORN_REACH};
use crate::mutants::{Mutant, Mutation};
use crate::segment::index::INDEX_BYTES_MAX;
use crate::segment::{Extent, IndexFile, Segment, SparseIndex, name, swap};
use crate::small_file;

mod scan;
use scan::{Scan, ScanFrom, scan, valid_batch_beyond};

mod tidy;
use tidy::tidy;

/// What recovery found, for the log and the metrics.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RecoveryReport {
    pub bytes_read: u64,
    /// Bytes cut off behind the last valid batch, zeroes not counted.
    pub torn_bytes: u64,
    pub corrupt_at: Option<Offset>,
}

pub struct Recovered<B> {
    pub log: Log<B>,
    pub report: RecoveryReport,
}

/// How a log is recovered.
pub struct RecoveryOptions {
    pub config: LogConfig,
    pub epoch: LeaderEpoch,
    /// Where the last checkpoint says the log is durable.
    pub checkpoint: Option<DurablePoint>,
    /// The broker's clock.
    pub now: Timestamp,
    pub mutation: Mutation,
}

impl RecoveryOptions {
    pub fn new(config: LogConfig, epoch: LeaderEpoch, now: Timestamp) -> RecoveryOptions {
        RecoveryOptions { config, epoch, checkpoint: None, now, mutation: Mutation::default() }
    }
}

/// So many directories are synced one by one; for more the whole filesystem is, which costs as much as some
/// 32 single syncs (see `WHOLE_SYNC_FROM` of the shards).
const SINGLE_SYNCS_MAX: usize = 32;

/// Makes the directories of logs durable. Does nothing where they exist.
pub async fn create_log_dirs<D: Disk>(disk: &D, ids: &[LogId]) -> io::Result<()> {
    let topics: BTreeSet<TopicId> = ids.iter().map(|id| id.topic).collect();
    for topic in &topics {
        disk.create_dir(&topic_dir(*topic)).await?;
    }
    for id in ids {
        disk.create_dir(&id.dir()).await?;
    }
    if SINGLE_SYNCS_MAX < topics.len() {
        return disk.sync_all().await;
    }
    for topic in &topics {
        disk.sync_dir(&topic_dir(*topic)).await?;
    }
    if topics.is_empty() { Ok(()) } else { disk.sync_dir(crate::id::TOPICS_DIR).await }
}

/// Opens the log of `id`. All of what it serves is durable when this returns.
///
/// # Errors
/// Only of the disk itself. Bad contents are not an error: they end in the log's state.
pub async fn recover<D: Disk>(
    disk: &D,
    id: LogId,
    options: &RecoveryOptions,
) -> io::Result<Recovered<D::Buf>> {
    let dir = id.dir();
    let start = options.checkpoint.map(|point| point.start);
    let found = match tidy(disk, &dir, start).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        other => Some(other?),
    };
    let Some(found) = found else {
        create_log_dirs(disk, &[id]).await?;
        return Recovery::new(disk, dir, options, false).finish_empty().await;
    };
    Recovery::new(disk, dir, options, found.compacted).run(&found.bases).await
}

struct Recovery<'a, D: Disk> {
    disk: &'a D,
    dir: String,
    options: &'a RecoveryOptions,
    report: RecoveryReport,
    segments: Vec<Segment>,
    /// The log's producers at the end of `segments`.
    producers: ProducerStates,
    compacted: bool,
}

/// A segment as it was read.
struct Tail<F> {
    base: Offset,
    file: F,
    file_len: u64,
    scan: Scan,
}

impl<'a, D: Disk> Recovery<'a, D> {
    fn new(disk: &'a D, dir: String, options: &'a RecoveryOptions, compacted: bool) -> Recovery<'a, D> {
        let (report, segments, producers) = Default::default();
        Recovery { disk, dir, options, report, segments, producers, compacted }
    }

    async fn run(mut self, bases: &[Offset]) -> io::Result<Recovered<D::Buf>> {
        let point = self.options.checkpoint;
        let Some((&first, _)) = bases.split_first() else {
            return self.finish_empty().await;
        };
        let start = point.map_or(first, |point| point.start);
        if start < first {
            tracing::error!(dir = self.dir, %start, %first, "the partition's oldest segment is gone");
            return Ok(self.finish_lost(start));
        }
        if let Some(point) = point.filter(|point| point.clean)
            && let Some(log) = self.try_clean(bases, point).await?
        {
            return Ok(Recovered { log, report: self.report });
        }
        self.read_unfinished(start, bases).await
    }

    /// A partition without segments. If a checkpoint says that it had records, they are gone; if
    /// retention took them all, an index remembers who wrote them.
    async fn finish_empty(self) -> io::Result<Recovered<D::Buf>> {
        let (start, end) =
            self.options.checkpoint.map_or_else(Default::default, |point| (point.start, point.offset));
        if start < end {
            let records = end.get() - start.get();
            tracing::error!(dir = self.dir, records, "the partition's files are gone");
            return Ok(self.finish_lost(start));
        }
        let known = self.load_index(start).await?;
        let producers = known.and_then(|known| ProducerStates::from_bytes(&known.producers));
        let (producers, compacted) = (producers.unwrap_or_default(), self.compacted);
        Ok(self.finish(Found { producers, compacted, ..Found::empty(start) }))
    }

    /// Records that must be there are not: nothing is served from where they began, nothing is
    /// written, and no file is touched.
    fn finish_lost(mut self, start: Offset) -> Recovered<D::Buf> {
        self.report.corrupt_at = Some(start);
        self.finish(Found { state: LogState::Corrupt { at: start }, ..Found::empty(start) })
    }

    fn finish(self, found: Found) -> Recovered<D::Buf> {
        let log = Log::recovered(self.options.config, self.options.epoch, found);
        Recovered { log, report: self.report }
    }

    /// A log of all segments so far, which ends at `end`.
    fn found(&mut self, state: LogState, carry: Vec<u8>, start: Offset, end: Offset) -> Found {
        let start = start.min(end); // of a damaged log the end may be lost
        let mut producers = std::mem::take(&mut self.producers);
        if self.options.mutation.is(Mutant::NoProducerReload) {
            producers = ProducerStates::default();
        }
        Found {
            state,
            segments: std::mem::take(&mut self.segments),
            carry,
            start,
            end,
            producers,
            clean_upto: self.options.checkpoint.map_or(start, |point| point.clean_upto),
            compacted: self.compacted,
        }
    }

    /// A segment that was cut to length, whose index was written afterwards, and that the next one
    /// continues, is not read again.
    async fn load_finished(&mut self, base: Offset, next: Offset) -> io::Result<bool> {
        let file_len = self.open(base).await?.size().await?;
        let finished = self.load_finished_index(base, file_len).await?;
        let Some(IndexFile { index, extent, producers, .. }) =
            finished.filter(|file| file.extent.next == next)
        else {
            return Ok(false);
        };
        let Some(producers) = ProducerStates::from_bytes(&producers) else { return Ok(false) };
        self.producers = producers;
        self.segments.push(Segment::recovered(base, extent, extent.len, true, index));
        Ok(true)
    }

    /// The index of a segment that was finished: it describes the whole file.
    async fn load_finished_index(&self, base: Offset, file_len: u64) -> io::Result<Option<IndexFile>> {
        Ok(self.load_index(base).await?.filter(|file| file.extent.len == file_len))
    }

    async fn load_index(&self, base: Offset) -> io::Result<Option<IndexFile>> {
        let bytes = small_file::read(self.disk, &self.dir, &name::index_file(base), INDEX_BYTES_MAX).await?;
        Ok(bytes.and_then(|bytes| IndexFile::from_bytes(&bytes, base)))
    }

    async fn open(&self, base: Offset) -> io::Result<D::File> {
        self.disk.open(&format!("{}/{}", self.dir, name::log_file(base))).await
    }

    /// After an orderly stop the checkpoint is the truth and no batch is read. `None` if the files do
    /// not agree with it; then it is treated as a crash.
    async fn try_clean(&mut self, bases: &[Offset], point: DurablePoint) -> io::Result<Option<Log<D::Buf>>> {
        if bases.last() != Some(&point.segment) || point.offset < point.start {
            return Ok(None);
        }
        for pair in bases.windows(2) {
            if let [base, next] = *pair
                && !self.load_finished(base, next).await?
            {
                self.segments.clear();
                return Ok(None);
            }
        }
        let file = self.open(point.segment).await?;
        let file_len = file.size().await?;
        let index = self.load_index(point.segment).await?;
        let fits = |file: &IndexFile| (file.extent.len, file.extent.next) == (point.position, point.offset);
        let (Some(IndexFile { index, extent, producers, .. }), true) =
            (index.filter(fits), point.position <= file_len)
        else {
            self.segments.clear();
            return Ok(None);
        };
        let Some(producers) = ProducerStates::from_bytes(&producers) else {
            self.segments.clear();
            return Ok(None);
        };
        self.producers = producers;
        let carry = read_carry::<D>(&file, point.position).await?;
        let prepared = point.prepared.min(align_down(file_len));
        self.segments.push(Segment::recovered(point.segment, extent, prepared, false, index));
        let found = self.found(LogState::Open, carry, point.start, point.offset);
        Ok(Some(Log::recovered(self.options.config, self.options.epoch, found)))
    }

    /// Loads what was finished and reads the rest, oldest first, to the end of the log.
    async fn read_unfinished(mut self, start: Offset, bases: &[Offset]) -> io::Result<Recovered<D::Buf>> {
        // A killed broker may have created a segment whose name was never made durable.
        self.disk.sync_dir(&self.dir).await?;
        let mut rest = bases;
        loop {
            let (&base, later) = rest.split_first().expect("BUG: the last segment ends the loop");
            rest = later;
            if let Some(&next) = later.first()
                && self.load_finished(base, next).await?
            {
                continue;
            }
            let tail = self.read_segment(base).await?;
            // A roll leaves a whole segment and one that begins where it ends. Of a compacted log the
            // last batch of a segment is never taken away, so the same holds.
            let Extent { len, next, .. } = tail.scan.extent;
            if later.first() == Some(&next) && tail.scan.garbage == 0 && 0 < len {
                self.keep_sealed(tail).await?;
                continue;
            }
            return if self.is_corrupt(&tail, later).await? {
                self.quarantine(start, tail).await
            } else {
                self.cut(start, tail, later).await
            };
        }
    }

    /// Reads a segment from where its index ends: it was written while the segment was active, of what
    /// was durable then.
    async fn read_segment(&mut self, base: Offset) -> io::Result<Tail<D::File>> {
        let file = self.open(base).await?;
        let file_len = file.size().await?;
        let mut from = ScanFrom {
            index: SparseIndex::default(),
            extent: Extent::empty(base),
            producers: self.producers.clone(),
            dense: !self.compacted,
            epoch: self.options.epoch,
            now: self.options.now,
        };
        if let Some(known) = self.load_index(base).await?.filter(|known| known.extent.len <= file_len)
            && let Some(producers) = ProducerStates::from_bytes(&known.producers)
        {
            from = ScanFrom { index: known.index, extent: known.extent, producers, ..from };
        }
        let known = from.extent.len;
        let scan = scan(&file, base, file_len, from).await?;
        self.report.bytes_read += scan.extent.len - known + scan.garbage;
        Ok(Tail { base, file, file_len, scan })
    }

    /// A segment that was rolled but not cut to its length when the broker died.
    async fn keep_sealed(&mut self, tail: Tail<D::File>) -> io::Result<()> {
        let Tail { base, file, scan: Scan { extent, index, producers, .. }, .. } = tail;
        file.truncate(extent.len).await?;
        file.fdatasync().await?;
        let bytes = index.to_bytes(extent, true, &producers.to_bytes());
        small_file::replace(self.disk, &self.dir, &name::index_file(base), &bytes).await?;
        self.producers = producers;
        self.segments.push(Segment::recovered(base, extent, extent.len, true, index));
        Ok(())
    }

    /// Whether the first bad byte of `tail` cannot be explained by a crash.
    async fn is_corrupt(&self, tail: &Tail<D::File>, later: &[Offset]) -> io::Result<bool> {
        if self.options.mutation.is(Mutant::TruncateAtAnyBadBatch) {
            return Ok(false);
        }
        let Extent { len, next, .. } = tail.scan.extent;
        if let Some(point) = self.options.checkpoint
            && (tail.base, len) < (point.segment, point.position)
        {
            return Ok(true);
        }
        // Records that were deleted had been there before.
        if self.options.checkpoint.is_some_and(|point| next < point.start && later.is_empty()) {
            return Ok(true);
        }
        // What an index describes was durable when it was written, and so was all before it.
        let indexed = |file: IndexFile| file.extent.len;
        if len < self.load_index(tail.base).await?.map_or(0, indexed) {
            return Ok(true);
        }
        for &base in later {
            if 0 < self.load_index(base).await?.map_or(0, indexed) {
                return Ok(true);
            }
        }
        // A segment that ends with its index, and is not continued: the next one is missing.
        let whole = self.load_finished_index(tail.base, tail.file_len).await?;
        if !later.is_empty() && whole.is_some_and(|file| file.sealed) {
            return Ok(true);
        }
        if valid_batch_beyond(&tail.file, len + TORN_REACH, tail.file_len, next).await? {
            return Ok(true);
        }
        let mut distance = tail.file_len.saturating_sub(len);
        for &base in later {
            let file = self.open(base).await?;
            let file_len = file.size().await?;
            if valid_batch_beyond(&file, TORN_REACH.saturating_sub(distance), file_len, next).await? {
                return Ok(true);
            }
            distance += file_len;
        }
        Ok(false)
    }

    async fn quarantine(mut self, start: Offset, tail: Tail<D::File>) -> io::Result<Recovered<D::Buf>> {
        let Tail { base, file, scan: Scan { extent, index, producers, .. }, .. } = tail;
        let at = extent.next;
        tracing::error!(
            dir = self.dir, segment = %base, position = extent.len, offset = %at,
            "log is corrupt: it is served below this offset and takes no more records"
        );
        file.fdatasync().await?;
        self.report.corrupt_at = Some(at);
        self.segments.push(Segment::recovered(base, extent, extent.len, false, index));
        self.producers = producers;
        let found = self.found(LogState::Corrupt { at }, Vec::new(), start, at);
        Ok(self.finish(found))
    }

    /// Ends the log behind the last valid batch. The file is cut at the block, the block's rest is
    /// zeroed, and everything is synced, so that what is served now is there after the next crash.
    async fn cut(
        mut self,
        start: Offset,
        tail: Tail<D::File>,
        later: &[Offset],
    ) -> io::Result<Recovered<D::Buf>> {
        let Tail { base, file, file_len, scan: Scan { extent, index, garbage, producers } } = tail;
        let end = extent.len;
        let carry = read_carry::<D>(&file, end).await?;
        if align_up(end) < file_len {
            file.truncate(align_up(end)).await?;
        }
        if !carry.is_empty() {
            let mut block = self.disk.alloc(BLOCK);
            let (head, padding) = block.as_mut().split_at_mut(carry.len());
            head.copy_from_slice(&carry);
            padding.fill(0);
            file.write_at(Rc::new(block), align_down(end)).await?;
        }
        self.sync(&file).await?;
        self.remove_later(later).await?;
        self.report.torn_bytes = garbage;
        if garbage > 0 {
            tracing::warn!(
                dir = self.dir, segment = %base, position = end, bytes = garbage,
                "cut a torn tail that was never acknowledged"
            );
        }
        self.segments.push(Segment::recovered(base, extent, align_up(end), false, index));
        self.producers = producers;
        let found = self.found(LogState::Open, carry, start, extent.next);
        Ok(self.finish(found))
    }

    async fn sync(&self, file: &D::File) -> io::Result<()> {
        match self.options.mutation.is(Mutant::ServeBeforeSync) {
            true => Ok(()),
            false => file.fdatasync().await,
        }
    }

    /// Segments that were begun behind a torn tail hold nothing that was acknowledged.
    async fn remove_later(&self, later: &[Offset]) -> io::Result<()> {
        for &base in later {
            tracing::warn!(dir = self.dir, segment = %base, "removed a segment begun behind a torn tail");
            self.disk.remove_file(&format!("{}/{}", self.dir, name::log_file(base))).await?;
            swap::remove_if_there(self.disk, &format!("{}/{}", self.dir, name::index_file(base))).await?;
        }
        if later.is_empty() { Ok(()) } else { self.disk.sync_dir(&self.dir).await }
    }
}

/// The bytes of the partial block before `end`.
async fn read_carry<D: Disk>(file: &D::File, end: u64) -> io::Result<Vec<u8>> {
    let partial = (end - align_down(end)) as usize;
    if partial == 0 {
        return Ok(Vec::new());
    }
    let block = file.read_at(align_down(end), BLOCK).await?;
    let carry = block.as_ref().get(..partial).ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(carry.to_vec())
}

/// The batch at the head of `data`, if there is a whole one with the right checksum.
fn valid_batch(data: &[u8]) -> Option<Batch<'_>> {
    let (batch, _) = Batch::split_first(data).ok()?;
    batch.check_crc().is_ok().then_some(batch)
}
