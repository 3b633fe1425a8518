//! Commit rounds: writes of all dirty logs, then a flush that covers them, then the release.
//!
//!     lane 1   │ write A │ flush A │ release A │ write C │ …
//!     lane 2             │ write B │ flush B ……│ release B │ …
//!
//! A round takes what is there when it begins; what arrives meanwhile forms the next one: group
//! commit without a timer (design D4). The writes of a round begin after all writes of the round
//! before have completed, because two rounds may rewrite the same tail block; its flush is issued
//! after its own writes have completed, because a flush covers completed writes only. Rounds are
//! released in order, so acknowledgements of a log are.
//!
//! A large round is flushed before the next one is written: side by side both take longer.
//!
//! Which flush: a log whose writes changed extents or size needs the fdatasync of its own file. The
//! others were pure overwrites of durable blocks, and on a filesystem known to behave so one flush of
//! the device, by way of any file, covers them all (x8 to x9 at 256 partitions, datapath.md section 5).
//! Where a round creates or extends very many files, one sync of the whole filesystem stands for all
//! of their syncs. Their names are made durable one by one all the same, each before the next one.
//!
//! Logs with a flush policy of their own are not flushed here: their records are committed once they
//! are written, and made durable by [`Store::flush_due`].

use std::io;
use std::rc::Rc;
use std::time::Instant;

use futures::future::join_all;

use super::{Events, OpenLog, Store, count, raise};
use crate::disk::{Buffers, Disk, DiskFile, FlushScope, is_disk_full};
use crate::log::{Fence, NewFile, PlannedWrite, Reached, WritePlan};
use crate::mutants::Mutant;
use crate::segment::name;

/// Rounds up to this size are flushed while the next one is written; a larger one is flushed first.
const OVERLAP_BYTES_MAX: u64 = 512 << 10;

/// A log and its share of a round to be written.
type Planned<D> = (Rc<OpenLog<D>>, WritePlan<<D as Buffers>::Buf>);

/// One log's share of a round, after its writes were tried.
struct Part<D: Disk> {
    log: Rc<OpenLog<D>>,
    upto: protocol::model::Offset,
    bytes: u64,
    reached: Vec<Reached>,
    /// Files that were written, and whether each needs its own fdatasync.
    files: Vec<(Rc<D::File>, bool)>,
    result: io::Result<()>,
    /// Whether the log waits for a flush before its records count.
    flushes: bool,
}

impl<D: Disk> Store<D> {
    /// Commits rounds until the store stops. Run [`super::ROUNDS_IN_FLIGHT`] of these side by side.
    pub async fn run_lane(&self, events: &impl Events<D>) {
        while let Some(plans) = self.begin_round().await {
            let round = self.rounds_begun.get();
            self.rounds_begun.set(round + 1);
            let whole = self.is_worth_whole_sync(&plans);
            let clock = self.options.clock;
            let begun = clock();
            let mut parts = self.write(plans).await;
            let written = clock();
            // Beside a large write a flush takes three times as long, and what gathers meanwhile
            // makes the next round large as well.
            let bytes: u64 = parts.iter().map(|part| part.bytes).sum();
            let overlaps = bytes <= OVERLAP_BYTES_MAX;
            self.let_write(overlaps);
            self.flush(&mut parts, whole).await;
            self.let_write(!overlaps);
            let flushed = clock();
            self.work.until(|| (self.rounds_released.get() == round).then_some(())).await;
            self.count_times(begun, written, flushed, clock());
            self.release(parts, events);
            self.rounds_released.set(round + 1);
            self.work.notify();
        }
    }

    /// Lets the other lane write, if `now`.
    fn let_write(&self, now: bool) {
        if now {
            self.writing.set(false);
            self.work.notify();
        }
    }

    fn count_times(&self, begun: Instant, written: Instant, flushed: Instant, in_order: Instant) {
        let micros = |from: Instant, to: Instant| to.saturating_duration_since(from).as_micros() as u64;
        let counters = &self.counters;
        count(&counters.write_us, micros(begun, written));
        count(&counters.flush_us, micros(written, flushed));
        count(&counters.order_us, micros(flushed, in_order));
        raise(&counters.write_us_max, micros(begun, written));
        raise(&counters.flush_us_max, micros(written, flushed));
    }

    /// Waits for the right to write and for something to write. `None` when the store has stopped.
    async fn begin_round(&self) -> Option<Vec<Planned<D>>> {
        self.work
            .until(|| {
                if self.writing.get() {
                    return None;
                }
                let plans = self.take_plans();
                if plans.is_empty() {
                    return (self.stopping.get() && self.has_no_more_plans()).then_some(None);
                }
                self.writing.set(true);
                Some(Some(plans))
            })
            .await
    }

    fn take_plans(&self) -> Vec<Planned<D>> {
        let mut plans = Vec::new();
        // Each log of a round holds a file open: the others form the next one.
        let dirty = self.dirty.borrow().len().min(self.options.files_max);
        for _ in 0..dirty {
            let Some(log) = self.dirty.borrow_mut().pop_front() else { break };
            log.queued.set(false);
            let plan = log.log.borrow_mut().plan_write(&self.disk);
            if let Some(plan) = plan {
                count(&self.counters.written_chunks, plan.writes.len() as u64);
                for write in &plan.writes {
                    self.keep_cached(&log, write.memory);
                }
                // More than a round takes stays for the next one; what waits for a preparation comes
                // back with its completion.
                if log.read(|log| log.has_work()) {
                    log.queued.set(true);
                    self.dirty.borrow_mut().push_back(log.clone());
                }
                plans.push((log, plan));
            }
        }
        plans
    }

    fn is_worth_whole_sync(&self, plans: &[Planned<D>]) -> bool {
        let own = |(log, plan): &&Planned<D>| {
            let waits = log.read(|log| !log.commits_on_write());
            waits && (!plan.create.is_empty() || plan.writes.iter().any(|write| write.needs_own_flush))
        };
        let from = self.options.whole_sync_from;
        from <= plans.len() && from <= plans.iter().filter(own).count()
    }

    async fn write(&self, plans: Vec<Planned<D>>) -> Vec<Part<D>> {
        let single = plans.len() == 1;
        let parts = if single {
            let mut plans = plans;
            let (log, plan) = plans.pop().expect("BUG: one plan");
            vec![self.write_one(log, plan).await]
        } else {
            join_all(plans.into_iter().map(|(log, plan)| self.write_one(log, plan))).await
        };
        for part in &parts {
            match &part.result {
                Ok(()) => {
                    let now = (self.options.clock)();
                    part.log.log.borrow_mut().handle_written(part.upto, &part.reached, part.bytes, now);
                }
                // At once, so that the next round does not write behind the hole.
                Err(error) => part.log.log.borrow_mut().fence(fence_of(error)),
            }
        }
        parts
    }

    async fn write_one(&self, log: Rc<OpenLog<D>>, plan: WritePlan<D::Buf>) -> Part<D> {
        let reached = plan
            .writes
            .iter()
            .map(|write| Reached {
                segment: write.segment,
                data_end: write.data_end,
                write_end: write.write_end(),
            })
            .collect();
        let mut files = Vec::new();
        let (upto, bytes) = (plan.upto, plan.bytes);
        let flushes = log.read(|log| !log.commits_on_write());
        let result = self.try_write(&log, plan, &mut files).await;
        Part { log, upto, bytes, reached, files, result, flushes }
    }

    async fn try_write(
        &self,
        log: &Rc<OpenLog<D>>,
        plan: WritePlan<D::Buf>,
        files: &mut Vec<(Rc<D::File>, bool)>,
    ) -> io::Result<()> {
        // Each name is durable before the next one, or a power cut could leave a hole in the log.
        for new in &plan.create {
            self.create(log, *new).await?;
            if !self.options.mutation.is(Mutant::NoDirectorySync) {
                self.disk.sync_dir(&log.dir).await?;
            }
        }
        let mut last_segment = None;
        for write in &plan.writes {
            let file = self.file(log, write.segment).await?;
            match files.last_mut().filter(|_| last_segment == Some(write.segment)) {
                Some((_, own)) => *own |= write.needs_own_flush,
                None => files.push((file, write.needs_own_flush)),
            }
            last_segment = Some(write.segment);
        }
        if self.options.mutation.is(Mutant::SyncBeforeWritesComplete) {
            let early = files.iter().map(|(file, _)| file.clone());
            let syncs = join_all(early.map(|file| async move { file.fdatasync().await }));
            return futures::join!(syncs, self.write_in_order(log, plan.writes)).1;
        }
        self.write_in_order(log, plan.writes).await
    }

    /// Gives a segment its file.
    async fn create(&self, log: &Rc<OpenLog<D>>, new: NewFile) -> io::Result<()> {
        let path = log.path(&name::log_file(new.segment));
        let spare = if new.from_spare { log.spare.borrow_mut().take() } else { None };
        let file = match spare {
            Some(spare) => {
                self.disk.rename(&log.path(name::SPARE_FILE), &path).await?;
                spare
            }
            None => Rc::new(self.disk.create(&path).await?),
        };
        self.keep_open(log, new.segment, file);
        Ok(())
    }

    /// A chunk begins with the last block of the one before it, so two writes of a log never overlap
    /// in time. One after another 1 MiB writes reach 4.6 GB/s (datapath.md section 1); logs run
    /// side by side.
    async fn write_in_order(
        &self,
        log: &Rc<OpenLog<D>>,
        writes: Vec<PlannedWrite<D::Buf>>,
    ) -> io::Result<()> {
        for write in writes {
            let file = self.file(log, write.segment).await?;
            if self.options.mutation.is(Mutant::RewriteTailDifferently) {
                let mut zeroes = self.disk.alloc((*write.buf).as_ref().len());
                zeroes.as_mut().fill(0);
                file.write_at(Rc::new(zeroes), write.at).await?;
            }
            file.write_at(write.buf, write.at).await?;
        }
        Ok(())
    }

    /// Makes the round's completed writes durable, or fails every part of it: after a failed
    /// fdatasync nothing is known of what it should have covered.
    async fn flush(&self, parts: &mut [Part<D>], whole: bool) {
        let written = |part: &&mut Part<D>| part.flushes && part.result.is_ok();
        let Err(error) = self.try_flush(parts, whole).await else { return };
        for part in parts.iter_mut().filter(written) {
            part.result = Err(io::Error::new(error.kind(), format!("fdatasync: {error}")));
        }
    }

    async fn try_flush(&self, parts: &[Part<D>], whole: bool) -> io::Result<()> {
        if whole {
            count(&self.counters.fsyncs, 1);
            count(&self.counters.whole_syncs, 1);
            return match self.options.mutation.is(Mutant::NoWholeSync) {
                true => Ok(()),
                false => self.disk.sync_all().await,
            };
        }
        let files = self.files_to_flush(parts);
        count(&self.counters.fsyncs, files.len() as u64);
        match files.as_slice() {
            [] => Ok(()),
            [file] => self.sync(file).await,
            several => join_all(several.iter().map(|file| self.sync(file))).await.into_iter().collect(),
        }
    }

    async fn sync(&self, file: &D::File) -> io::Result<()> {
        let synced = file.fdatasync().await;
        match self.options.mutation.is(Mutant::RetrySync) && synced.is_err() {
            true => file.fdatasync().await,
            false => synced,
        }
    }

    fn files_to_flush(&self, parts: &[Part<D>]) -> Vec<Rc<D::File>> {
        let mutation = self.options.mutation;
        if mutation.is(Mutant::AckBeforeSync) || mutation.is(Mutant::SyncBeforeWritesComplete) {
            return Vec::new();
        }
        let wait = |part: &&Part<D>| part.flushes && part.result.is_ok();
        let written = || parts.iter().filter(wait).flat_map(|part| &part.files);
        let each = self.disk.flush_scope() == FlushScope::File;
        let mut files: Vec<Rc<D::File>> =
            written().filter(|(_, own)| each || *own).map(|(file, _)| file.clone()).collect();
        if mutation.is(Mutant::OneFlushForAll) {
            files.truncate(1);
        }
        if files.is_empty() {
            files.extend(written().next().map(|(file, _)| file.clone()));
        }
        files
    }

    fn release(&self, parts: Vec<Part<D>>, events: &impl Events<D>) {
        count(&self.counters.commits, 1);
        self.last_round.set(Some((self.options.clock)()));
        for part in parts {
            match part.result {
                Ok(()) => {
                    let open = log_is_open(&part.log);
                    if part.flushes {
                        part.log.log.borrow_mut().handle_durable(part.upto, &part.reached, part.bytes);
                    }
                    if open {
                        count(&self.counters.committed_bytes, part.bytes);
                        count(&self.counters.committed_logs, 1);
                        events.committed(&part.log, part.upto);
                    }
                    self.resume(&part.log);
                    self.mark_for_maintenance_if_due(&part.log);
                }
                Err(error) => {
                    tracing::error!(log = %part.log.id, %error, "a commit failed: the partition takes no more records");
                    self.fence(&part.log, fence_of(&error), events);
                }
            }
        }
        self.shrink_cache();
        self.close_beyond_budget();
        events.round_released();
    }
}

pub(super) fn fence_of(error: &io::Error) -> Fence {
    match is_disk_full(error) {
        true => Fence::DiskFull(error.to_string()),
        false => Fence::DiskFailed(error.to_string()),
    }
}

pub(super) fn log_is_open<D: Disk>(log: &OpenLog<D>) -> bool {
    log.read(|log| log.check_open().is_ok())
}
