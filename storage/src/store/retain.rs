//! Where logs begin and what is deleted in front: retention, delete-records; and what falls due by time.
//!
//!     plan_retention / delete-records ─▶ start moves ─▶ checkpoint ─▶ files below it removed, oldest first
//!                                                       durable       (each removal synced)
//!
//! The checkpoint comes first: a start after a crash takes a log whose first segments are missing for
//! damaged unless it knows that they may be. Each removal is synced by itself, so that what is left is
//! the end of the log without holes even where the checkpoint is lost as well.

use std::io;
use std::rc::Rc;

use protocol::model::Offset;

use super::commit::fence_of;
use super::{Events, OpenLog, Store, count};
use crate::disk::{Disk, DiskFile};
use crate::log::{AppendError, FlushPlan};
use crate::mutants::Mutant;
use crate::segment::{name, swap};

/// Why records are not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    #[error(transparent)]
    Closed(#[from] AppendError),
    #[error("offset {offset} is beyond the end of the log")]
    OutOfRange { offset: Offset },
    #[error("the new start of the log cannot be written: {0}")]
    Io(#[from] io::Error),
}

impl<D: Disk> Store<D> {
    /// Closes segments that are old enough, forgets silent producers, and deletes what has expired.
    /// Call now and then. An error leaves files for the next time.
    pub async fn keep_house(&self) -> io::Result<()> {
        if self.stopping.get() {
            return Ok(());
        }
        let now = (self.options.wall_clock)();
        let mut expired = false;
        for log in self.logs() {
            let rolled = log.log.borrow_mut().roll_if_due(now, &self.disk);
            if rolled {
                if log.read(|log| log.has_work()) {
                    self.mark_dirty(&log);
                }
                self.mark_for_maintenance_if_due(&log);
            }
            let mut inner = log.log.borrow_mut();
            inner.expire_producers(now);
            let unfinished = log.unfinished.get();
            if let Some(start) = inner.plan_retention(unfinished, now) {
                inner.advance_start(start);
            }
            expired |= !inner.expired(unfinished, Offset::MAX).is_empty();
        }
        if expired { self.delete_expired().await } else { Ok(()) }
    }

    /// Moves the start of the log up to `before`, or to its end if that is `None`. Returns the start,
    /// which is durable then; the files in front of it are deleted later.
    pub async fn delete_records(
        &self,
        log: &Rc<OpenLog<D>>,
        before: Option<Offset>,
    ) -> Result<Offset, DeleteError> {
        let start = {
            let mut inner = log.log.borrow_mut();
            inner.check_open()?;
            let end = inner.high_watermark();
            let before = before.unwrap_or(end);
            if end < before {
                return Err(DeleteError::OutOfRange { offset: before });
            }
            inner.advance_start(before)
        };
        // The checkpoint tells of every log of the shard: it is written only for what it does not tell yet.
        if log.durable_start.get() < start {
            self.write_checkpoint().await?;
        }
        Ok(start)
    }

    async fn delete_expired(&self) -> io::Result<()> {
        if !self.options.mutation.is(Mutant::DeleteBeforeCheckpoint) {
            self.write_checkpoint().await?;
        }
        for log in self.logs() {
            if log.busy.replace(true) {
                continue; // it is being compacted; the next time will do
            }
            let deleted = self.delete_expired_of(&log).await;
            log.busy.set(false);
            self.work.notify();
            deleted?;
        }
        Ok(())
    }

    async fn delete_expired_of(&self, log: &Rc<OpenLog<D>>) -> io::Result<()> {
        let mut start = log.durable_start.get();
        if self.options.mutation.is(Mutant::DeleteBeforeCheckpoint) {
            start = Offset::MAX;
        }
        let expired = log.read(|inner| inner.expired(log.unfinished.get(), start));
        for base in expired {
            if log.read(|log| log.check_open().is_err()) {
                return Ok(());
            }
            if !self.producers_outlive(log, base) {
                return Ok(());
            }
            let len = log.read(|log| log.segments().next().map_or(0, |first| first.len()));
            self.close(log, base);
            swap::remove_if_there(&self.disk, &log.path(&name::log_file(base))).await?;
            self.disk.sync_dir(&log.dir).await?;
            // Only then: a segment that came back without its index would not know its producers. An
            // index that comes back alone is of no use, and recovery removes it.
            swap::remove_if_there(&self.disk, &log.path(&name::index_file(base))).await?;
            // Last, so that what could not be removed is tried again before those behind it.
            self.close(log, base);
            log.log.borrow_mut().remove_expired(base);
            count(&self.counters.deleted_segments, 1);
            count(&self.counters.deleted_bytes, len);
        }
        Ok(())
    }

    /// Whether the index behind an expired segment remembers the log's producers. If it is not there
    /// yet it soon will be: a log without records must still know who wrote them last.
    fn producers_outlive(&self, log: &Rc<OpenLog<D>>, expired: Offset) -> bool {
        let next = log.read(|log| {
            let next = log.segments().find(|segment| expired < segment.base());
            next.map(|segment| (segment.base(), segment.is_sealed()))
        });
        let (next, sealed) = next.expect("BUG: an active segment follows a sealed one");
        if sealed {
            return next < log.unfinished.get();
        }
        let indexed = log.indexed.get().is_some_and(|(base, _)| base == next);
        // While the store stops nobody may be left to write it.
        if !indexed && !self.stopping.get() {
            log.index_due.set(true);
            self.mark_for_maintenance(log);
        }
        indexed
    }

    /// Flushes logs whose policy asks for it now. Call often where there are such logs.
    pub async fn flush_due(&self, events: &impl Events<D>) {
        let now = (self.options.clock)();
        for log in self.logs() {
            if log.read(|log| log.is_flush_due(now)) {
                self.flush_log(&log, events).await;
            }
        }
    }

    /// Whether any log is flushed by time or count rather than in its commit round.
    pub fn has_lazy_logs(&self) -> bool {
        self.logs.borrow().values().any(|log| log.read(|log| log.commits_on_write()))
    }

    /// Makes durable what was only written; for an orderly stop, which has no round in flight.
    pub(super) async fn flush_all(&self) {
        for log in self.logs() {
            self.work.until(|| (!log.read(|log| log.is_flushing())).then_some(())).await;
            let plan = log.log.borrow_mut().plan_flush();
            if let Some(plan) = plan {
                match self.try_flush_log(&log, &plan).await {
                    Ok(()) => log.log.borrow_mut().handle_flushed(&plan),
                    Err(error) => log.log.borrow_mut().fence(fence_of(&error)),
                }
            }
        }
    }

    /// Makes durable what was only written, if no flush is under way. A log that cannot be flushed is fenced.
    pub(super) async fn flush_log(&self, log: &Rc<OpenLog<D>>, events: &impl Events<D>) {
        let plan = log.log.borrow_mut().plan_flush();
        let Some(plan) = plan else { return };
        match self.try_flush_log(log, &plan).await {
            Ok(()) => log.log.borrow_mut().handle_flushed(&plan),
            Err(error) => {
                tracing::error!(log = %log.id, %error, "a flush failed: the partition takes no more records");
                self.fence(log, fence_of(&error), events);
            }
        }
        self.resume(log);
        self.work.notify();
        self.mark_for_maintenance_if_due(log);
    }

    async fn try_flush_log(&self, log: &Rc<OpenLog<D>>, plan: &FlushPlan) -> io::Result<()> {
        let mut last = None;
        for reach in &plan.reached {
            if last != Some(reach.segment) {
                last = Some(reach.segment);
                count(&self.counters.fsyncs, 1);
                self.file(log, reach.segment).await?.fdatasync().await?;
            }
        }
        Ok(())
    }
}
