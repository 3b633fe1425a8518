//! Open files: opened when they are asked for, closed when there are too many, the longest unused first.
//!
//!     file(log, segment) ─ open already? ─ yes ─▶ the same handle
//!                              │ no: open, and while there are more than `files_max` …
//!                              ▼
//!     order   │ oldest use │ … │ newest │     … the first that nobody holds is closed
//!
//! The order is that of last uses with a delay: a file that was used since it was queued goes to the
//! back instead of being closed (second chance). The budget is soft: files in use stay open.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::{Rc, Weak};

use protocol::model::Offset;

use super::{OpenLog, Store, count};
use crate::disk::{Disk, DiskFile};
use crate::notify::Notify;
use crate::segment::name;

/// The open files of one log; a few at most, so a list is enough.
pub struct LogFiles<D: Disk> {
    open: RefCell<Vec<OpenFile<D>>>,
    /// Whether a file of the log is being opened.
    opening: Cell<bool>,
    opened: Notify,
}

struct OpenFile<D: Disk> {
    segment: Offset,
    file: Rc<D::File>,
    used: u64,
}

impl<D: Disk> Default for LogFiles<D> {
    fn default() -> LogFiles<D> {
        LogFiles { open: RefCell::default(), opening: Cell::new(false), opened: Notify::default() }
    }
}

impl<D: Disk> LogFiles<D> {
    fn get(&self, segment: Offset, now: u64) -> Option<Rc<D::File>> {
        let mut open = self.open.borrow_mut();
        let entry = open.iter_mut().find(|entry| entry.segment == segment)?;
        entry.used = now;
        Some(entry.file.clone())
    }

    /// Closes the segment's file if nobody uses it and it was not used since `queued`.
    fn close_unused(&self, segment: Offset, queued: u64) -> Closing {
        let mut open = self.open.borrow_mut();
        let Some(at) = open.iter().position(|entry| entry.segment == segment) else { return Closing::Gone };
        let entry = &open[at];
        if queued < entry.used || 1 < Rc::strong_count(&entry.file) {
            return Closing::InUse { used: entry.used };
        }
        open.swap_remove(at);
        Closing::Closed
    }
}

enum Closing {
    Closed,
    Gone,
    InUse { used: u64 },
}

/// A log, one of its segments, and when that file had been used last.
type Queued<D> = (Weak<OpenLog<D>>, Offset, u64);

/// All open files of a store.
pub struct OpenFiles<D: Disk> {
    max: usize,
    open: Cell<usize>,
    clock: Cell<u64>,
    order: RefCell<VecDeque<Queued<D>>>,
}

impl<D: Disk> OpenFiles<D> {
    pub fn new(max: usize) -> OpenFiles<D> {
        OpenFiles { max, open: Cell::new(0), clock: Cell::new(0), order: RefCell::default() }
    }

    pub fn open(&self) -> usize {
        self.open.get()
    }

    fn tick(&self) -> u64 {
        self.clock.set(self.clock.get() + 1);
        self.clock.get()
    }
}

impl<D: Disk> Store<D> {
    /// The segment's file, opened when it is first asked for. Whoever asks meanwhile waits: an open
    /// file is locked, and a second handle would wait for the first one's lock.
    pub(super) async fn file(&self, log: &Rc<OpenLog<D>>, segment: Offset) -> io::Result<Rc<D::File>> {
        let opened_or_mine = || match log.files.get(segment, self.files.tick()) {
            Some(file) => Some(Some(file)),
            None => (!log.files.opening.replace(true)).then_some(None),
        };
        if let Some(file) = log.files.opened.until(opened_or_mine).await {
            return Ok(file);
        }
        let opened = self.disk.open(&log.path(&name::log_file(segment))).await.map(Rc::new);
        if let Ok(file) = &opened {
            self.keep_open(log, segment, file.clone());
        }
        log.files.opening.set(false);
        log.files.opened.notify();
        opened
    }

    /// Takes over a file that was opened otherwise. One that was open for the segment is closed.
    pub(super) fn keep_open(&self, log: &Rc<OpenLog<D>>, segment: Offset, file: Rc<D::File>) {
        self.close(log, segment);
        let used = self.files.tick();
        log.files.open.borrow_mut().push(OpenFile { segment, file, used });
        self.files.open.set(self.files.open.get() + 1);
        self.files.order.borrow_mut().push_back((Rc::downgrade(log), segment, used));
        self.close_beyond_budget();
    }

    /// Closes the segment's file once those who use it have let go of it.
    pub(super) fn close(&self, log: &OpenLog<D>, segment: Offset) {
        let mut open = log.files.open.borrow_mut();
        let before = open.len();
        open.retain(|entry| entry.segment != segment);
        self.files.open.set(self.files.open.get() - (before - open.len()));
    }

    pub(super) fn close_all(&self, log: &OpenLog<D>) {
        let closed = std::mem::take(&mut *log.files.open.borrow_mut()).len();
        self.files.open.set(self.files.open.get() - closed);
        *log.spare.borrow_mut() = None;
    }

    /// Closes every file, so that another process or another broker of this one can open them. Call
    /// last; files still in use are left to their users.
    pub async fn close_files(&self) {
        for log in self.logs() {
            let open = std::mem::take(&mut *log.files.open.borrow_mut());
            self.files.open.set(self.files.open.get() - open.len());
            let spare = log.spare.borrow_mut().take();
            for file in open.into_iter().map(|open| open.file).chain(spare) {
                if let Some(file) = Rc::into_inner(file)
                    && let Err(error) = file.close().await
                {
                    tracing::warn!(log = %log.id, %error, "a file could not be closed");
                }
            }
        }
    }

    /// Closes what was open only because it was in use.
    pub(super) fn close_beyond_budget(&self) {
        if self.files.open.get() <= self.files.max {
            return;
        }
        // The first look at a file that was used meanwhile only notes that, the second one closes it.
        let tries = 2 * self.files.order.borrow().len();
        for _ in 0..tries {
            if self.files.open.get() <= self.files.max {
                return;
            }
            let Some((log, segment, queued)) = self.files.order.borrow_mut().pop_front() else { return };
            let Some(alive) = log.upgrade() else { continue };
            match alive.files.close_unused(segment, queued) {
                Closing::Gone => {}
                Closing::Closed => {
                    self.files.open.set(self.files.open.get() - 1);
                    count(&self.counters.closed_files, 1);
                }
                Closing::InUse { used } => self.files.order.borrow_mut().push_back((log, segment, used)),
            }
        }
    }
}
