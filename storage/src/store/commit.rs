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
//! Which flush: a log whose writes changed extents or size needs the fdatasync of its own file. The
//! others were pure overwrites of durable blocks, and on a filesystem known to behave so one flush of
//! the device, by way of any file, covers them all (x8 to x9 at 256 partitions, datapath.md section 5).

use std::io;
use std::rc::Rc;

use futures::future::join_all;

use super::{Events, OpenLog, Store, count};
use crate::disk::{Buffers, Disk, DiskFile, FlushScope, is_disk_full};
use crate::log::{Fence, PlannedWrite, Reached, WritePlan};
use crate::segment::name;

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
}

impl<D: Disk> Store<D> {
    /// Commits rounds until the store stops. Run [`super::ROUNDS_IN_FLIGHT`] of these side by side.
    pub async fn run_lane(&self, events: &impl Events<D>) {
        while let Some(plans) = self.begin_round().await {
            let round = self.rounds_begun.get();
            self.rounds_begun.set(round + 1);
            let mut parts = self.write(plans).await;
            self.writing.set(false);
            self.work.notify();
            self.flush(&mut parts).await;
            self.work.until(|| (self.rounds_released.get() == round).then_some(())).await;
            self.release(parts, events);
            self.rounds_released.set(round + 1);
            self.work.notify();
        }
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
        let dirty = self.dirty.borrow().len();
        for _ in 0..dirty {
            let Some(log) = self.dirty.borrow_mut().pop_front() else { break };
            log.queued.set(false);
            let plan = log.log.borrow_mut().plan_write(&self.disk);
            if let Some(plan) = plan {
                for write in &plan.writes {
                    self.keep_cached(&log, (*write.buf).as_ref().len());
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
                Ok(()) => part.log.log.borrow_mut().handle_written(part.upto),
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
        let result = self.try_write(&log, plan, &mut files).await;
        Part { log, upto, bytes, reached, files, result }
    }

    async fn try_write(
        &self,
        log: &OpenLog<D>,
        plan: WritePlan<D::Buf>,
        files: &mut Vec<(Rc<D::File>, bool)>,
    ) -> io::Result<()> {
        for &segment in &plan.create {
            let file = self.disk.create(&log.path(&name::log_file(segment))).await?;
            log.files.borrow_mut().insert(segment, Rc::new(file));
            #[cfg(feature = "mutants")]
            if self.options.mutant == Some(super::Mutant::NoDirectorySync) {
                continue;
            }
            self.disk.sync_dir(&log.dir).await?;
        }
        let mut last_segment = None;
        for write in &plan.writes {
            let file = log.file(&self.disk, write.segment).await?;
            match files.last_mut().filter(|_| last_segment == Some(write.segment)) {
                Some((_, own)) => *own |= write.needs_own_flush,
                None => files.push((file, write.needs_own_flush)),
            }
            last_segment = Some(write.segment);
        }
        #[cfg(feature = "mutants")]
        if self.options.mutant == Some(super::Mutant::SyncBeforeWritesComplete) {
            let early = files.iter().map(|(file, _)| file.clone());
            let syncs = join_all(early.map(|file| async move { file.fdatasync().await }));
            return futures::join!(syncs, self.write_in_order(log, plan.writes)).1;
        }
        self.write_in_order(log, plan.writes).await
    }

    /// A chunk begins with the last block of the one before it, so two writes of a log never overlap
    /// in time. One after another 1 MiB writes reach 4.6 GB/s (datapath.md section 1); logs run
    /// side by side.
    async fn write_in_order(&self, log: &OpenLog<D>, writes: Vec<PlannedWrite<D::Buf>>) -> io::Result<()> {
        for write in writes {
            log.file(&self.disk, write.segment).await?.write_at(write.buf, write.at).await?;
        }
        Ok(())
    }

    /// Makes the round's completed writes durable, or fails every part of it: after a failed
    /// fdatasync nothing is known of what it should have covered.
    async fn flush(&self, parts: &mut [Part<D>]) {
        let files = self.files_to_flush(parts);
        count(&self.counters.fsyncs, files.len() as u64);
        let results: Vec<io::Result<()>> = match files.as_slice() {
            [] => Vec::new(),
            [file] => vec![file.fdatasync().await],
            several => join_all(several.iter().map(|file| file.fdatasync())).await,
        };
        let Some(error) = results.into_iter().find_map(Result::err) else { return };
        for part in parts.iter_mut().filter(|part| part.result.is_ok()) {
            part.result = Err(io::Error::new(error.kind(), format!("fdatasync: {error}")));
        }
    }

    fn files_to_flush(&self, parts: &[Part<D>]) -> Vec<Rc<D::File>> {
        #[cfg(feature = "mutants")]
        if matches!(
            self.options.mutant,
            Some(super::Mutant::AckBeforeSync | super::Mutant::SyncBeforeWritesComplete)
        ) {
            return Vec::new();
        }
        let written = || parts.iter().filter(|part| part.result.is_ok()).flat_map(|part| &part.files);
        let each = self.disk.flush_scope() == FlushScope::File;
        let mut files: Vec<Rc<D::File>> =
            written().filter(|(_, own)| each || *own).map(|(file, _)| file.clone()).collect();
        #[cfg(feature = "mutants")]
        if self.options.mutant == Some(super::Mutant::OneFlushForAll) {
            files.truncate(1);
        }
        if files.is_empty() {
            files.extend(written().next().map(|(file, _)| file.clone()));
        }
        files
    }

    fn release(&self, parts: Vec<Part<D>>, events: &impl Events<D>) {
        count(&self.counters.commits, 1);
        for part in parts {
            match part.result {
                Ok(()) => {
                    let open = log_is_open(&part.log);
                    part.log.log.borrow_mut().handle_durable(part.upto, &part.reached, part.bytes);
                    if open {
                        count(&self.counters.committed_bytes, part.bytes);
                        count(&self.counters.committed_logs, 1);
                        events.durable(&part.log, part.upto);
                    }
                    self.mark_for_maintenance_if_due(&part.log);
                }
                Err(error) => {
                    tracing::error!(log = %part.log.id, %error, "a commit failed: the partition takes no more records");
                    self.fence(&part.log, fence_of(&error), events);
                }
            }
        }
        self.shrink_cache();
        events.round_released();
    }
}

fn fence_of(error: &io::Error) -> Fence {
    match is_disk_full(error) {
        true => Fence::DiskFull(error.to_string()),
        false => Fence::DiskFailed(error.to_string()),
    }
}

fn log_is_open<D: Disk>(log: &OpenLog<D>) -> bool {
    log.read(|log| log.check_open().is_ok())
}
