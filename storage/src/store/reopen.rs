//! A log that was fenced is read again from its files, and goes on.
//!
//!     fenced ─ nothing in flight ─▶ held: nobody compacts or deletes its files ─ recovered ─▶ another log in its place
//!                                     │ failed: it stays as it was, for the next try
//!                                     └ deleted meanwhile: the deletion waits for the files, and nothing comes back
//!
//! The old log keeps its place all the while, in the store and so in checkpoints.

use std::io;
use std::rc::Rc;

use super::{OpenLog, Store};
use crate::disk::Disk;
use crate::id::LogId;
use crate::log::LogState;
use crate::recovery::{RecoveryOptions, recover};

impl<D: Disk> Store<D> {
    /// Recovers a fenced log from the point that it knows to be durable, whatever `options.checkpoint` says.
    /// `None` if it is not fenced, or was taken out of the store meanwhile.
    ///
    /// # Errors
    /// Of the disk; the log is then as it was.
    pub async fn reopen(
        &self,
        id: LogId,
        mut options: RecoveryOptions,
    ) -> io::Result<Option<Rc<OpenLog<D>>>> {
        let fenced = |log: &Rc<OpenLog<D>>| log.read(|log| matches!(log.state(), LogState::Fenced(_)));
        let Some(old) = self.get(id).filter(fenced) else { return Ok(None) };
        self.quiesce(&old).await;
        if !self.holds(&old) {
            return Ok(None);
        }
        old.busy.set(true);
        self.close_all(&old);
        let point = old.read(|log| log.durable_point());
        options.checkpoint = Some(point);
        let recovered = recover(&self.disk, id, &options).await;
        old.busy.set(false);
        self.work.notify();
        let log = recovered?.log;
        if !self.holds(&old) {
            return Ok(None);
        }
        self.close_all(&old); // of who read meanwhile
        self.logs.borrow_mut().remove(&id);
        Ok(Some(self.add(id, log, Some(point))))
    }

    fn holds(&self, log: &Rc<OpenLog<D>>) -> bool {
        self.get(log.id).is_some_and(|held| Rc::ptr_eq(&held, log))
    }
}
