//! Recovery: from the files of a partition to its log, telling a torn tail from corruption.
//!
//!     finished segments          unfinished ones, in order: read, batch by batch
//!     index fits: not read       ├────────────── valid ──────────────┤ p
//!                                       ▲ checkpoint                 └ first bad byte
//!
//! At `p` one of three things is the case (design D7):
//! - **end**: nothing but zeroes follows. Keep what is valid.
//! - **torn tail**: `p` lies at or above the checkpoint, and no valid batch follows farther away than
//!   the commit rounds that were in flight could reach. Nothing there was acknowledged: cut it off.
//! - **corruption**: anything else. Nothing is cut, nothing is deleted; what lies below `p` is served,
//!   the rest is refused with a typed error.
//!
//! What was read may not be durable yet: it was written, but perhaps never synced. It is synced here,
//! before anybody can read it and lose it in a second crash (KAFKA-10101).

use std::io;
use std::rc::Rc;

use protocol::batch::Batch;
use protocol::model::{LeaderEpoch, Offset};

use crate::disk::{BLOCK, Disk, DiskFile, align_down, align_up};
use crate::id::{LogId, topic_dir};
use crate::log::{DurablePoint, Log, LogConfig, LogState, TORN_REACH};
use crate::segment::{Extent, Segment, SparseIndex, name};
use crate::small_file;

mod scan;
use scan::{Scan, scan, valid_batch_beyond};

/// Largest index file that is read: a segment of 64 GiB with an entry of 24 bytes per 64 KiB.
const INDEX_BYTES_MAX: usize = (24 << 20) + 4096;

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
    /// Whether the checkpoint was written by an orderly stop.
    pub clean: bool,
    /// Test-only: leave out the sync before serving.
    #[cfg(feature = "mutants")]
    pub serve_before_sync: bool,
}

impl RecoveryOptions {
    pub fn new(config: LogConfig, epoch: LeaderEpoch) -> RecoveryOptions {
        RecoveryOptions {
            config,
            epoch,
            checkpoint: None,
            clean: false,
            #[cfg(feature = "mutants")]
            serve_before_sync: false,
        }
    }
}

/// Makes the directories of a log durable. Does nothing where they exist.
pub async fn create_log_dirs<D: Disk>(disk: &D, id: LogId) -> io::Result<()> {
    let topic = topic_dir(id.topic);
    disk.create_dir(&topic).await?;
    disk.sync_dir(crate::id::TOPICS_DIR).await?;
    disk.create_dir(&id.dir()).await?;
    disk.sync_dir(&topic).await
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
    create_log_dirs(disk, id).await?;
    let dir = id.dir();
    let mut bases: Vec<Offset> =
        disk.list(&dir).await?.iter().filter_map(|name| name::parse_log_file(name)).collect();
    bases.sort_unstable();
    let recovery = Recovery { disk, dir, options, report: RecoveryReport::default(), segments: Vec::new() };
    recovery.run(&bases).await
}

struct Recovery<'a, D: Disk> {
    disk: &'a D,
    dir: String,
    options: &'a RecoveryOptions,
    report: RecoveryReport,
    segments: Vec<Segment>,
}

/// The active segment as it was read.
struct Tail<F> {
    base: Offset,
    file: F,
    file_len: u64,
    scan: Scan,
}

impl<D: Disk> Recovery<'_, D> {
    async fn run(mut self, bases: &[Offset]) -> io::Result<Recovered<D::Buf>> {
        let point = self.options.checkpoint;
        let Some((&first, _)) = bases.split_first() else {
            return Ok(self.finish_empty());
        };
        let start = point.map_or(first, |point| point.start);
        if start < first {
            tracing::error!(dir = self.dir, %start, %first, "the partition's oldest segment is gone");
            return Ok(self.finish_lost(start));
        }
        if self.options.clean
            && let Some(point) = point
            && let Some(log) = self.try_clean(bases, point).await?
        {
            return Ok(Recovered { log, report: self.report });
        }
        let mut unfinished = 0;
        while let [base, next, ..] = bases[unfinished..] {
            if !self.load_finished(base, next).await? {
                break;
            }
            unfinished += 1;
        }
        self.read_unfinished(start, bases[unfinished..].to_vec()).await
    }

    /// A partition without files. If a checkpoint says that it had records, they are gone.
    fn finish_empty(self) -> Recovered<D::Buf> {
        let (start, end) =
            self.options.checkpoint.map_or_else(Default::default, |point| (point.start, point.offset));
        if start < end {
            tracing::error!(
                dir = self.dir,
                records = end.get() - start.get(),
                "the partition's files are gone"
            );
            return self.finish_lost(start);
        }
        let segments = vec![Segment::new(start)];
        let (config, epoch) = (self.options.config, self.options.epoch);
        let log = Log::recovered(config, epoch, LogState::Open, segments, Vec::new(), start, start);
        Recovered { log, report: self.report }
    }

    /// Records that must be there are not: nothing is served from where they began, nothing is
    /// written, and no file is touched.
    fn finish_lost(mut self, start: Offset) -> Recovered<D::Buf> {
        self.report.corrupt_at = Some(start);
        let segments = vec![Segment::new(start)];
        let (config, epoch) = (self.options.config, self.options.epoch);
        let state = LogState::Corrupt { at: start };
        let log = Log::recovered(config, epoch, state, segments, Vec::new(), start, start);
        Recovered { log, report: self.report }
    }

    /// A segment that was cut to length, whose index was written afterwards, and that the next one
    /// continues, is not read again.
    async fn load_finished(&mut self, base: Offset, next: Offset) -> io::Result<bool> {
        let file_len = self.open(base).await?.size().await?;
        let Some((index, extent)) = self.load_finished_index(base, file_len).await? else { return Ok(false) };
        if extent.next != next {
            return Ok(false);
        }
        self.segments.push(Segment::recovered(base, extent, extent.len, true, index));
        Ok(true)
    }

    /// The index of a segment that was finished: it describes the whole file.
    async fn load_finished_index(
        &self,
        base: Offset,
        file_len: u64,
    ) -> io::Result<Option<(SparseIndex, Extent)>> {
        Ok(self.load_index(base).await?.filter(|(_, extent)| extent.len == file_len))
    }

    async fn load_index(&self, base: Offset) -> io::Result<Option<(SparseIndex, Extent)>> {
        let bytes = small_file::read(self.disk, &self.dir, &name::index_file(base), INDEX_BYTES_MAX).await?;
        Ok(bytes.and_then(|bytes| SparseIndex::from_bytes(&bytes, base)))
    }

    async fn open(&self, base: Offset) -> io::Result<D::File> {
        self.disk.open(&format!("{}/{}", self.dir, name::log_file(base))).await
    }

    /// After an orderly stop the checkpoint is the truth and no batch is read. `None` if the files do
    /// not agree with it; then it is treated as a crash.
    async fn try_clean(&mut self, bases: &[Offset], point: DurablePoint) -> io::Result<Option<Log<D::Buf>>> {
        if bases.last() != Some(&point.segment) {
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
        let index = index.filter(|(_, extent)| (extent.len, extent.next) == (point.position, point.offset));
        let (Some((index, extent)), true) = (index, point.position <= file_len) else {
            self.segments.clear();
            return Ok(None);
        };
        let carry = read_carry::<D>(&file, point.position).await?;
        let prepared = point.prepared.min(align_down(file_len));
        self.segments.push(Segment::recovered(point.segment, extent, prepared, false, index));
        let (config, epoch) = (self.options.config, self.options.epoch);
        let segments = std::mem::take(&mut self.segments);
        Ok(Some(Log::recovered(config, epoch, LogState::Open, segments, carry, point.start, point.offset)))
    }

    /// Reads the segments that may hold the end of the log, oldest first.
    async fn read_unfinished(mut self, start: Offset, bases: Vec<Offset>) -> io::Result<Recovered<D::Buf>> {
        // A killed broker may have created a segment whose name was never made durable.
        self.disk.sync_dir(&self.dir).await?;
        let mut rest = bases.into_iter().peekable();
        loop {
            let base = rest.next().expect("BUG: the last segment is never loaded as finished");
            let file = self.open(base).await?;
            let file_len = file.size().await?;
            let scan = scan(&file, base, file_len).await?;
            self.report.bytes_read += scan.extent.len + scan.garbage;
            let tail = Tail { base, file, file_len, scan };
            // A roll leaves a whole segment and one that begins where it ends.
            let Extent { len, next, .. } = tail.scan.extent;
            if rest.peek() == Some(&next) && tail.scan.garbage == 0 && 0 < len {
                self.keep_sealed(tail).await?;
                continue;
            }
            let later: Vec<Offset> = rest.collect();
            return if self.is_corrupt(&tail, &later).await? {
                self.quarantine(start, tail).await
            } else {
                self.cut(start, tail, later).await
            };
        }
    }

    /// A segment that was rolled but not cut to its length when the broker died.
    async fn keep_sealed(&mut self, tail: Tail<D::File>) -> io::Result<()> {
        let Tail { base, file, scan: Scan { extent, index, .. }, .. } = tail;
        file.truncate(extent.len).await?;
        file.fdatasync().await?;
        let bytes = index.to_bytes(extent);
        small_file::replace(self.disk, &self.dir, &name::index_file(base), &bytes).await?;
        self.segments.push(Segment::recovered(base, extent, extent.len, true, index));
        Ok(())
    }

    /// Whether the first bad byte of `tail` cannot be explained by a crash.
    async fn is_corrupt(&self, tail: &Tail<D::File>, later: &[Offset]) -> io::Result<bool> {
        let Extent { len, next, .. } = tail.scan.extent;
        if let Some(point) = self.options.checkpoint
            && (tail.base, len) < (point.segment, point.position)
        {
            return Ok(true);
        }
        // A finished segment was durable to its end, so the one that continues it is missing.
        if !later.is_empty() && self.load_finished_index(tail.base, tail.file_len).await?.is_some() {
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
        let Tail { base, file, scan: Scan { extent, index, .. }, .. } = tail;
        let at = extent.next;
        tracing::error!(
            dir = self.dir, segment = %base, position = extent.len, offset = %at,
            "log is corrupt: it is served below this offset and takes no more records"
        );
        file.fdatasync().await?;
        self.report.corrupt_at = Some(at);
        self.segments.push(Segment::recovered(base, extent, extent.len, false, index));
        let (config, epoch) = (self.options.config, self.options.epoch);
        let log =
            Log::recovered(config, epoch, LogState::Corrupt { at }, self.segments, Vec::new(), start, at);
        Ok(Recovered { log, report: self.report })
    }

    /// Ends the log behind the last valid batch. The file is cut at the block, the block's rest is
    /// zeroed, and everything is synced, so that what is served now is there after the next crash.
    async fn cut(
        mut self,
        start: Offset,
        tail: Tail<D::File>,
        later: Vec<Offset>,
    ) -> io::Result<Recovered<D::Buf>> {
        let Tail { base, file, file_len, scan: Scan { extent, index, garbage } } = tail;
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
        self.remove_later(&later).await?;
        self.report.torn_bytes = garbage;
        if garbage > 0 {
            tracing::warn!(
                dir = self.dir, segment = %base, position = end, bytes = garbage,
                "cut a torn tail that was never acknowledged"
            );
        }
        self.segments.push(Segment::recovered(base, extent, align_up(end), false, index));
        let (config, epoch) = (self.options.config, self.options.epoch);
        let log = Log::recovered(config, epoch, LogState::Open, self.segments, carry, start, extent.next);
        Ok(Recovered { log, report: self.report })
    }

    async fn sync(&self, file: &D::File) -> io::Result<()> {
        #[cfg(feature = "mutants")]
        if self.options.serve_before_sync {
            return Ok(());
        }
        file.fdatasync().await
    }

    /// Segments that were begun behind a torn tail hold nothing that was acknowledged.
    async fn remove_later(&self, later: &[Offset]) -> io::Result<()> {
        for &base in later {
            tracing::warn!(dir = self.dir, segment = %base, "removed a segment begun behind a torn tail");
            self.disk.remove_file(&format!("{}/{}", self.dir, name::log_file(base))).await?;
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

/// Whether the bytes at the head of `data` are a batch that was stored at `expected` or, if that is
/// `None`, anywhere.
fn valid_batch<'a>(data: &'a [u8], expected: Option<Offset>) -> Option<Batch<'a>> {
    let (batch, _) = Batch::split_first(data).ok()?;
    let placed = expected.is_none_or(|expected| batch.base_offset() == expected);
    (placed && batch.check_crc().is_ok()).then_some(batch)
}
