//! Work beside the commit path: zeroes ahead of the tail, sealed segments cut to length.
//!
//!     ┄ len ┄┄┄┄ prepared ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄ limit
//!                  └── write zeroes in 1 MiB pieces, then fdatasync ──▶ prepared
//!
//! One task does it, one log at a time, so it competes with the commits for the disk as little as it
//! can. A failure here harms nothing: without prepared space appends extend the file themselves, and
//! an uncut file is cut by the next recovery.

use std::io;
use std::rc::Rc;

use futures::future::join_all;

use super::{Events, OpenLog, Store, count};
use crate::disk::{Buf, Disk, DiskFile};
use crate::log::{FinishPlan, PreparePlan};
use crate::segment::name;
use crate::small_file;

/// Zeroes written by one operation.
const ZERO_BYTES: usize = 1 << 20;

impl<D: Disk> Store<D> {
    /// Does maintenance until the store stops.
    pub async fn run_maintenance(&self, events: &impl Events<D>) {
        let mut zeroes = None;
        loop {
            let next = self
                .work
                .until(|| {
                    let log = self.maintenance.borrow_mut().pop_front();
                    match log {
                        Some(log) => {
                            self.maintaining.set(true);
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
            log.in_maintenance.set(false);
            self.maintaining.set(false);
            self.work.notify();
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
            let sealed = inner.sealed_since(log.unfinished.get()).next();
            let finish = sealed.is_some_and(|segment| inner.plan_finish(segment).is_some());
            finish || (!self.stopping.get() && inner.wants_preparation((self.options.clock)()))
        };
        if due {
            self.mark_for_maintenance(log);
        }
    }

    async fn prepare(&self, log: &Rc<OpenLog<D>>, zeroes: &mut Option<Rc<D::Buf>>) {
        let plan = log.log.borrow_mut().plan_prepare((self.options.clock)());
        let Some(plan) = plan else { return };
        let zeroes = zeroes.get_or_insert_with(|| Rc::new(zero_buffer(&self.disk, ZERO_BYTES)));
        let done = self.write_zeroes(log, plan, zeroes).await;
        match &done {
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

    async fn write_zeroes(&self, log: &OpenLog<D>, plan: PreparePlan, zeroes: &Rc<D::Buf>) -> io::Result<()> {
        let file = log.file(&self.disk, plan.segment).await?;
        let writes = (plan.from..plan.to).step_by(ZERO_BYTES).map(|at| {
            let len = ((plan.to - at) as usize).min(ZERO_BYTES);
            let buf = if len == ZERO_BYTES { zeroes.clone() } else { Rc::new(zero_buffer(&self.disk, len)) };
            let file = &file;
            async move { file.write_at(buf, at).await }
        });
        let written: io::Result<()> = join_all(writes).await.into_iter().collect();
        written?;
        file.fdatasync().await
    }

    /// Cuts sealed segments to their length and writes their indexes, oldest first.
    async fn finish_sealed(&self, log: &Rc<OpenLog<D>>) -> io::Result<()> {
        loop {
            let plan = {
                let inner = log.log.borrow();
                let sealed = inner.sealed_since(log.unfinished.get()).next();
                sealed.and_then(|segment| inner.plan_finish(segment))
            };
            let Some(plan) = plan else { return Ok(()) };
            self.finish(log, &plan).await?;
            let next = log
                .read(|log| log.segments().map(|segment| segment.base()).find(|base| plan.segment < *base));
            log.unfinished.set(next.expect("BUG: an active segment follows a sealed one"));
        }
    }

    /// The index is written last: its presence says that the file has its final length.
    async fn finish(&self, log: &OpenLog<D>, plan: &FinishPlan) -> io::Result<()> {
        let file = log.file(&self.disk, plan.segment).await?;
        file.truncate(plan.len).await?;
        file.fdatasync().await?;
        small_file::replace(&self.disk, &log.dir, &name::index_file(plan.segment), &plan.index).await
    }

    pub(super) async fn write_active_index(&self, log: &OpenLog<D>) -> io::Result<()> {
        let point = log.read(|log| log.durable_point());
        let index = log.read(|log| {
            let active =
                log.segments().find(|segment| segment.base() == point.segment && segment.is_created())?;
            Some(active.index_bytes())
        });
        match index {
            Some(index) => {
                small_file::replace(&self.disk, &log.dir, &name::index_file(point.segment), &index).await
            }
            None => Ok(()),
        }
    }
}

fn zero_buffer<D: Disk>(disk: &D, len: usize) -> D::Buf {
    let mut buf = disk.alloc(len);
    buf.as_mut().fill(0);
    buf.trim(len);
    buf
}
