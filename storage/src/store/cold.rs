//! Cold reads: history comes from the file by O_DIRECT, is checked, and goes on as it lies there.
//!
//!     index entry ─▶ │ batches before the offset │ batch with the offset │ batches │ cut off │
//!                    at                          └────── returned, CRC checked ────┘
//!
//! A read covers the gap between two index entries and what the reader asked for, in one operation.

use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use protocol::batch::{Batch, batches};
use protocol::model::limits::BATCH_BYTES_MAX;
use protocol::model::{LeaderEpoch, Offset, Timestamp};

use super::{OpenLog, Store, count};
use crate::disk::{BLOCK, Disk, DiskFile, align_down};
use crate::log::ColdRead;
use crate::log::read::{position_in, whole_batches};
use crate::segment::index::INDEX_INTERVAL;

/// Cold reads under way at a time. Two keep the disk busy; each more is one that a commit waits behind.
const COLD_READS_MAX: usize = 2;

/// Most bytes of a cold read while records are being committed, which wait behind it for the disk.
const COLD_BYTES_BESIDE_COMMITS: usize = 256 << 10;

/// For how long after a commit there may be another one soon.
const COMMITS_AGAIN: Duration = Duration::from_millis(100);

/// Bytes of one read by scrub and compaction.
const WINDOW: usize = 1 << 20;

type ReadBuf<D> = <<D as Disk>::File as DiskFile>::ReadBuf;

/// Whole batches read from disk.
pub struct ColdBatches<D: Disk> {
    pub buf: ReadBuf<D>,
    pub range: Range<usize>,
}

impl<D: Disk> ColdBatches<D> {
    pub fn bytes(&self) -> &[u8] {
        self.buf.as_ref().get(self.range.clone()).unwrap_or(&[])
    }

    /// The offset behind the last record.
    pub fn next(&self) -> Option<Offset> {
        batches(self.bytes()).filter_map(Result::ok).last().map(|batch| batch.next_offset())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ColdError {
    #[error("reading segment {segment} at {at}: {error}")]
    Io { segment: Offset, at: u64, error: io::Error },
    #[error("segment {segment} is corrupt at {at}")]
    Corrupt { segment: Offset, at: u64 },
    /// Retention or compaction has put the file away since the read was planned: plan again.
    #[error("segment {segment} has been replaced")]
    Replaced { segment: Offset },
}

/// Where a search for a time ends.
pub enum TimeSearch<D: Disk> {
    /// The first batch with a record as late as that; its records tell which.
    Batch(ColdBatches<D>),
    NotFound,
}

impl<D: Disk> Store<D> {
    /// Reads whole batches from the one that contains `offset`, at most `max_bytes` but at least one.
    /// They may have been read ahead ([`Store::read_ahead`]).
    pub async fn read_cold(
        &self,
        log: &Rc<OpenLog<D>>,
        read: ColdRead,
        offset: Offset,
        max_bytes: usize,
    ) -> Result<ColdBatches<D>, ColdError> {
        let max_bytes = self.cold_bytes(max_bytes);
        match self.take_ahead(log, &read, offset, max_bytes).await {
            Some(found) => Ok(found),
            None => self.read_from(log, read, Some(offset), max_bytes).await,
        }
    }

    /// What a reader who wants `max_bytes` gets from disk at a time.
    pub(super) fn cold_bytes(&self, max_bytes: usize) -> usize {
        let since = self.last_round.get().map(|last| (self.options.clock)().saturating_duration_since(last));
        let beside_commits = since.is_some_and(|since| since < COMMITS_AGAIN);
        if beside_commits { max_bytes.min(COLD_BYTES_BESIDE_COMMITS) } else { max_bytes }
    }

    /// As [`Store::read_cold`]; without an offset, from the batch at `read.at` on.
    pub(super) async fn read_from(
        &self,
        log: &Rc<OpenLog<D>>,
        read: ColdRead,
        offset: Option<Offset>,
        max_bytes: usize,
    ) -> Result<ColdBatches<D>, ColdError> {
        let file = self.file_of(log, read).await?;
        let mut chain = Chain::of(&read, read.first);
        let mut at = read.at;
        let mut want = max_bytes.min(BATCH_BYTES_MAX) + INDEX_INTERVAL as usize;
        loop {
            let found = self.read_window(&file, read, at, want).await?;
            let (window, data) = (&found.buf, found.range.clone());
            let bytes = window.as_ref().get(data.clone()).unwrap_or(&[]);
            let skipped = offset.map_or(0, |offset| position_in(bytes, offset));
            let rest = bytes.get(skipped..).unwrap_or(&[]);
            let len = whole_batches(rest, max_bytes, true);
            if len > 0 {
                let start = data.start + skipped;
                chain
                    .check(bytes.get(..skipped + len).unwrap_or(&[]), skipped)
                    .map_err(|position| corrupt(read, at + position as u64))?;
                return Ok(ColdBatches { buf: found.buf, range: start..start + len });
            }
            // The batch lies beyond the window, or the window cuts it off: go there, or ask for more.
            let needed = Batch::peek_len(rest).filter(|needed| *needed <= BATCH_BYTES_MAX);
            match needed {
                Some(needed) if at + (skipped + needed) as u64 <= read.end => want = needed,
                None if skipped > 0 && at + (skipped as u64) < read.end => {}
                _ => return Err(corrupt(read, at + skipped as u64)),
            }
            chain
                .check(bytes.get(..skipped).unwrap_or(&[]), skipped)
                .map_err(|position| corrupt(read, at + position as u64))?;
            at += skipped as u64;
        }
    }

    /// The file that a read was planned for.
    pub(super) async fn file_of(
        &self,
        log: &Rc<OpenLog<D>>,
        read: ColdRead,
    ) -> Result<Rc<D::File>, ColdError> {
        let segment = read.segment;
        let file = self.file(log, segment).await;
        if !log.read(|log| log.is_current(&read)) {
            return Err(ColdError::Replaced { segment });
        }
        file.map_err(|error| ColdError::Io { segment, at: read.at, error })
    }

    pub(super) async fn read_window(
        &self,
        file: &D::File,
        read: ColdRead,
        at: u64,
        want: usize,
    ) -> Result<ColdBatches<D>, ColdError> {
        let io = |error| ColdError::Io { segment: read.segment, at, error };
        let from = align_down(at);
        let lead = (at - from) as usize;
        let len = (lead + want).min((read.end - from) as usize);
        self.read_ended
            .until(|| (self.reading.get() < COLD_READS_MAX).then(|| self.reading.set(self.reading.get() + 1)))
            .await;
        let begun = (self.options.clock)();
        let read_all = file.read_at(from, len.next_multiple_of(BLOCK)).await;
        self.reading.set(self.reading.get() - 1);
        self.read_ended.notify();
        let buf = read_all.map_err(io)?;
        let taken = (self.options.clock)().saturating_duration_since(begun);
        count(&self.counters.cold_read_us, taken.as_micros() as u64);
        count(&self.counters.cold_reads, 1);
        count(&self.counters.cold_read_bytes, buf.as_ref().len() as u64);
        if buf.as_ref().len() < len {
            return Err(corrupt(read, from + buf.as_ref().len() as u64));
        }
        Ok(ColdBatches { buf, range: lead..len })
    }

    /// Reads about 1 MiB of whole batches, one at least, from `at` on, where one begins; all of them
    /// are as they should be.
    pub(super) async fn read_checked(
        &self,
        file: &D::File,
        read: ColdRead,
        at: u64,
    ) -> Result<ColdBatches<D>, ColdError> {
        let mut want = WINDOW;
        loop {
            let found = self.read_window(file, read, at, want).await?;
            let len = whole_batches(found.bytes(), want, true);
            if 0 < len {
                let range = found.range.start..found.range.start + len;
                let found = ColdBatches { range, ..found };
                let first = read.first.filter(|_| at == read.at);
                let checked = Chain::of(&read, first).check(found.bytes(), 0);
                checked.map_err(|position| corrupt(read, at + position as u64))?;
                return Ok(found);
            }
            // One batch that is longer than the window, or not a batch.
            let needed = Batch::peek_len(found.bytes()).filter(|needed| want < *needed);
            match needed {
                Some(needed) if needed <= BATCH_BYTES_MAX && at + needed as u64 <= read.end => want = needed,
                _ => return Err(corrupt(read, at)),
            }
        }
    }

    /// Finds the first batch that reaches beyond `from` and whose newest record is as late as `time`.
    pub async fn find_time(
        &self,
        log: &Rc<OpenLog<D>>,
        time: Timestamp,
        from: Offset,
    ) -> Result<TimeSearch<D>, ColdError> {
        let mut from = from;
        while let Some(read) = log.read(|log| log.plan_time_search(time, from)) {
            if let Some(found) = self.find_time_in(log, read, time, from).await? {
                return Ok(TimeSearch::Batch(found));
            }
            // The newest record of that segment lies before `from`, or compaction took it.
            let next = log.read(|log| log.segments().map(|it| it.base()).find(|base| read.segment < *base));
            let Some(next) = next else { break };
            from = from.max(next);
        }
        Ok(TimeSearch::NotFound)
    }

    async fn find_time_in(
        &self,
        log: &Rc<OpenLog<D>>,
        mut read: ColdRead,
        time: Timestamp,
        from: Offset,
    ) -> Result<Option<ColdBatches<D>>, ColdError> {
        while read.at < read.end {
            let found = self.read_from(log, read, None, INDEX_INTERVAL as usize).await?;
            let mut position = 0;
            for batch in batches(found.bytes()) {
                let batch = batch.map_err(|_| corrupt(read, read.at + position as u64))?;
                let reaches = from < batch.next_offset() && 0 < batch.record_count().get();
                if reaches && time <= batch.max_timestamp() {
                    let start = found.range.start + position;
                    return Ok(Some(ColdBatches { range: start..start + batch.len(), ..found }));
                }
                position += batch.len();
            }
            let last = batches(found.bytes()).filter_map(Result::ok).last();
            read.first = last.map(|last| last.next_offset()).filter(|_| read.dense);
            read.at += position as u64;
        }
        Ok(None)
    }
}

pub(super) fn corrupt(read: ColdRead, at: u64) -> ColdError {
    ColdError::Corrupt { segment: read.segment, at }
}

/// What is known of the next batch of a run without looking at its checksum, in which its offset and
/// its epoch do not stand.
struct Chain {
    /// Where it begins, if that is known.
    expected: Option<Offset>,
    /// Whether it may begin later than expected: compaction leaves gaps.
    gaps: bool,
    epoch: LeaderEpoch,
}

impl Chain {
    fn of(read: &ColdRead, first: Option<Offset>) -> Chain {
        Chain { expected: first, gaps: !read.dense, epoch: read.epoch }
    }

    /// Checks each batch's form, its place and its epoch, and of those from `crc_from` on the CRC. Gives
    /// the position of the first bad one.
    fn check(&mut self, bytes: &[u8], crc_from: usize) -> Result<(), usize> {
        let mut position = 0;
        for batch in batches(bytes) {
            let batch = batch.map_err(|_| position)?;
            let of_an_epoch = (LeaderEpoch::FIRST..=self.epoch).contains(&batch.leader_epoch());
            let whole = position < crc_from || batch.check_crc().is_ok();
            if !self.is_placed(&batch) || !of_an_epoch || !whole {
                return Err(position);
            }
            self.expected = Some(batch.next_offset());
            position += batch.len();
        }
        if position == bytes.len() { Ok(()) } else { Err(position) }
    }

    fn is_placed(&self, batch: &Batch<'_>) -> bool {
        self.expected.is_none_or(|expected| {
            batch.base_offset() == expected || (self.gaps && expected < batch.base_offset())
        })
    }
}
