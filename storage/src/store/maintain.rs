//! Work beside the commit path: space ahead of the tail, sealed segments cut to length.
//!
//!     ┄ len ┄┄┄┄ prepared ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄ limit
//!                  └── write zeroes in 256 KiB pieces, then fdatasync ──▶ prepared
//!
//! A few tasks do it, a log at a time each, so it competes with the commits for the disk as little as
//! it can. A failure here harms nothing: without prepared space appends extend the file themselves,
//! and an uncut file is cut by the next recovery.
//!
//! The same tasks write the index of an active segment now and then, so that a start after a crash
//! reads what came after it and not the whole segment.

use std::io;
use std::rc::Rc;

use super::{Events, OpenLog, Store, count};
use crate::disk::{Buf, Disk, DiskFile};
use crate::log::{FinishPlan, PreparePlan, PrepareTarget, PrepareWith};
use crate::mutants::Mutant;
use crate::segment::{Origin, name, swap};
use crate::small_file;

/// Logs that are maintained side by side.
pub const MAINTENANCE_TASKS: usize = 4;

/// Zeroes written by one operation.
const ZERO_BYTES: usize = 256 << 10;

impl<D: Disk> Store<D> {
    /// Does maintenance until the store stops. Run [`MAINTENANCE_TASKS`] of these side by side.
    pub async fn run_maintenance(&self, events: &impl Events<D>) {
        let mut zeroes = None;
        loop {
            let next = self
                .work
                .until(|| {
                    let log = self.maintenance.borrow_mut().pop_front();
                    match log {
                        Some(log) => {
                            self.maintaining.set(self.maintaining.get() + 1);
                            Some(Some(log))
                        }
                        None if self.stopping.get() && self.is_idle() => Some(None),
                        None => None,
                    }
                })
                .await;
            let Some(log) = next else { return };
            let finished = self.finish_sealed(&log).await;
            if let Err(error) = &finished {
                tracing::warn!(log = %log.id, %error, "could not finish a sealed segment; it is tried again later");
            }
            if !self.stopping.get() {
                self.prepare(&log, &mut zeroes).await;
            }
            if log.index_due.replace(false)
                && let Err(error) = self.write_index_of_active(&log, events).await
            {
                tracing::warn!(log = %log.id, %error, "cannot write an index; a start after a crash reads more");
            }
            log.in_maintenance.set(false);
            self.maintaining.set(self.maintaining.get() - 1);
            self.work.notify();
            self.close_beyond_budget();
            // A round may have been released while the log was at work here. After a failure the
            // next release tries again, not this loop.
            if finished.is_ok() {
                self.mark_for_maintenance_if_due(&log);
            }
            events.round_released();
        }
    }

    pub(super) fn mark_for_maintenance_if_due(&self, log: &Rc<OpenLog<D>>) {
        let due = {
            let inner = log.log.borrow();
            let sealed = inner.sealed_from(log.unfinished.get());
            let finish = sealed.is_some_and(|segment| inner.can_finish(segment));
            finish || log.index_due.get() || (!self.stopping.get() && inner.wants_preparation())
        };
        if due {
            self.mark_for_maintenance(log);
        }
    }

    async fn prepare(&self, log: &Rc<OpenLog<D>>, zeroes: &mut Option<Rc<D::Buf>>) {
        let plan = log.log.borrow_mut().plan_prepare();
        let Some(plan) = plan else { return };
        let done = match plan.with {
            PrepareWith::Extents => self.reserve(log, plan).await,
            PrepareWith::Zeroes => {
                let zeroes = zeroes.get_or_insert_with(|| Rc::new(zero_buffer(&self.disk, ZERO_BYTES)));
                self.write_zeroes(log, plan, zeroes).await
            }
        };
        match &done {
            Ok(()) if plan.with == PrepareWith::Extents => {
                count(&self.counters.reserved_bytes, plan.to - plan.from);
            }
            Ok(()) => count(&self.counters.prepared_bytes, plan.to - plan.from),
            Err(error) => {
                tracing::warn!(log = %log.id, %error, "cannot prepare space; the segment grows as it is written")
            }
        }
        log.log.borrow_mut().handle_prepared(plan, done.is_ok());
        if log.read(|log| log.has_work()) {
            self.mark_dirty(log);
        }
    }

    async fn write_zeroes(
        &self,
        log: &Rc<OpenLog<D>>,
        plan: PreparePlan,
        zeroes: &Rc<D::Buf>,
    ) -> io::Result<()> {
        let file = self.file_to_prepare(log, plan).await?;
        // One after another: all at once they would hold up every commit behind them for milliseconds.
        for at in (plan.from..plan.to).step_by(ZERO_BYTES) {
            let len = ((plan.to - at) as usize).min(ZERO_BYTES);
            let buf = if len == ZERO_BYTES { zeroes.clone() } else { Rc::new(zero_buffer(&self.disk, len)) };
            file.write_at(buf, at).await?;
        }
        file.fdatasync().await
    }

    async fn reserve(&self, log: &Rc<OpenLog<D>>, plan: PreparePlan) -> io::Result<()> {
        self.file_to_prepare(log, plan).await?.reserve(plan.from, plan.to).await
    }

    async fn file_to_prepare(&self, log: &Rc<OpenLog<D>>, plan: PreparePlan) -> io::Result<Rc<D::File>> {
        match plan.target {
            PrepareTarget::Segment(segment) => self.file(log, segment).await,
            PrepareTarget::Spare => self.create_spare(log).await,
        }
    }

    /// A file for the next segment. Its name need not be durable before it is given another one.
    async fn create_spare(&self, log: &OpenLog<D>) -> io::Result<Rc<D::File>> {
        let path = log.path(name::SPARE_FILE);
        swap::remove_if_there(&self.disk, &path).await?;
        let file = Rc::new(self.disk.create(&path).await?);
        *log.spare.borrow_mut() = Some(file.clone());
        Ok(file)
    }

    /// Cuts sealed segments to their length and writes their indexes, oldest first.
    async fn finish_sealed(&self, log: &Rc<OpenLog<D>>) -> io::Result<()> {
        loop {
            let plan = {
                let inner = log.log.borrow();
                let sealed = inner.sealed_from(log.unfinished.get());
                sealed.and_then(|segment| inner.plan_finish(segment))
            };
            let Some(plan) = plan else { return Ok(()) };
            self.finish(log, &plan).await?;
            log.log.borrow_mut().handle_finished(plan.segment);
            let next = log
                .read(|log| log.segments().map(|segment| segment.base()).find(|base| plan.segment < *base));
            log.unfinished.set(next.expect("BUG: an active segment follows a sealed one"));
        }
    }

    /// The index is written last: its presence says that the file has its final length.
    async fn finish(&self, log: &Rc<OpenLog<D>>, plan: &FinishPlan) -> io::Result<()> {
        let file = self.file(log, plan.segment).await?;
        file.truncate(plan.len).await?;
        file.fdatasync().await?;
        small_file::replace(&self.disk, &log.dir, &name::index_file(plan.segment), &plan.index).await
    }

    /// Writes the index of the last segment that has records, as it is now. All of it must be durable.
    pub(super) async fn write_active_index(&self, log: &OpenLog<D>) -> io::Result<()> {
        let point = log.read(|log| log.durable_point());
        let index = log.read(|log| {
            let active = log.segments().find(|segment| segment.base() == point.segment)?;
            let exists = active.origin() == Origin::Exists;
            exists.then(|| active.index_bytes(&log.producers().to_bytes()))
        });
        match index {
            Some(index) => {
                small_file::replace(&self.disk, &log.dir, &name::index_file(point.segment), &index).await
            }
            None => Ok(()),
        }
    }

    /// Has the indexes of active segments written where a start after a crash would have to read most,
    /// until all that is left to read is at most `unindexed_max` bytes.
    pub fn index_active_segments(&self, unindexed_max: u64) {
        let mut unindexed: Vec<(u64, Rc<OpenLog<D>>)> = self
            .logs()
            .into_iter()
            .map(|log| (log.unindexed_bytes(), log))
            .filter(|(bytes, _)| 0 < *bytes)
            .collect();
        let mut total: u64 = unindexed.iter().map(|(bytes, _)| bytes).sum();
        unindexed.sort_unstable_by_key(|(bytes, _)| *bytes);
        while unindexed_max < total
            && let Some((bytes, log)) = unindexed.pop()
        {
            total -= bytes;
            log.index_due.set(true);
            self.mark_for_maintenance(&log);
        }
    }

    /// Takes the index of the active segment as it is, and writes it once all it describes is durable. What is
    /// only written it flushes: the log's policy may leave it so for days, and other logs wait for this task.
    async fn write_index_of_active(&self, log: &Rc<OpenLog<D>>, events: &impl Events<D>) -> io::Result<()> {
        let (base, extent, index) = log.read(|log| {
            let active = log.segments().next_back().expect("BUG: a log has an active segment");
            (active.base(), active.extent(), active.index_bytes(&log.producers().to_bytes()))
        });
        // Done, undone, or overtaken by a roll, after which the segment's final index is written.
        let settled = || {
            log.read(|log| {
                let active = log.segments().next_back().filter(|active| active.base() == base);
                let waits = log.check_open().is_ok() && !self.stopping.get();
                match active {
                    Some(_) if self.options.mutation.is(Mutant::IndexPastDurable) => Some(true),
                    Some(active) if extent.len <= active.durable_len() => Some(true),
                    Some(_) if waits => None,
                    _ => Some(false),
                }
            })
        };
        let is_only_written = || {
            log.read(|log| {
                let written =
                    log.segments().next_back().is_some_and(|active| extent.len <= active.written_len());
                written && log.commits_on_write() && !log.is_flushing()
            })
        };
        let needs_flush = || match settled() {
            Some(_) => Some(false),
            None => is_only_written().then_some(true),
        };
        if self.work.until(needs_flush).await {
            self.flush_log(log, events).await;
        }
        if self.work.until(settled).await {
            small_file::replace(&self.disk, &log.dir, &name::index_file(base), &index).await?;
            log.indexed.set(Some((base, extent.len)));
        }
        Ok(())
    }
}

impl<D: Disk> OpenLog<D> {
    /// Bytes of the active segment behind its index file.
    fn unindexed_bytes(&self) -> u64 {
        let indexed = self.indexed.get();
        self.read(|log| {
            let active = log.segments().next_back().filter(|_| log.check_open().is_ok());
            active.map_or(0, |active| {
                let known = indexed.filter(|(base, _)| *base == active.base()).map_or(0, |(_, len)| len);
                active.durable_len().saturating_sub(known)
            })
        })
    }
}

fn zero_buffer<D: Disk>(disk: &D, len: usize) -> D::Buf {
    let mut buf = disk.alloc(len);
    buf.as_mut().fill(0);
    buf.trim(len);
    buf
}
