//! The store: one shard's logs and the only code that awaits a disk on their behalf.
//!
//!     accept ─▶ Log ─ dirty ─▶ lane 1 ┐ write ┐ flush ┐ release      commit rounds (commit.rs)
//!                              lane 2 ┘       └ write ┘ flush ┐ …    two in flight, released in order
//!     Log ─ wants space ─▶ maintenance: zeroes ahead, finished segments, checkpoints (maintain.rs)
//!     Log ─ cold read ─▶ O_DIRECT read, checked (cold.rs), the next one ahead      (ahead.rs)
//!     old segments ─▶ expire (retain.rs) │ compact (compact.rs) │ are read again (scrub.rs)
//!
//! A `Store` belongs to one thread. Its owner runs two lanes and some maintenance tasks, whatever its
//! executor; they end after [`Store::stop`]. What a lane commits it tells to [`Events`].

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::rc::{Rc, Weak};
use std::time::Instant;

use futures::future::join_all;
use protocol::batch::Batch;
use protocol::model::{Offset, Timestamp};

use crate::checkpoint::Checkpoint;
use crate::disk::Disk;
use crate::id::LogId;
use crate::log::{
    Accepted, AppendError, DurablePoint, Fence, Log, LogConfig, LogState, ReadError, ReadPlan, Slice,
};
use crate::mutants::Mutation;
use crate::notify::Notify;

mod commit;

mod counters;
pub use counters::StoreCounters;
use counters::{count, raise};

mod files;
use files::{LogFiles, OpenFiles};

mod maintain;
pub use maintain::MAINTENANCE_TASKS;

mod ahead;
use ahead::ReadAhead;

mod cold;
pub use cold::{ColdBatches, ColdError, TimeSearch};

mod reopen;

mod retain;
pub use retain::DeleteError;

mod compact;
pub use compact::CompactError;

mod scrub;
pub use scrub::Scrubber;

/// Index files that an orderly stop writes side by side.
const INDEXES_AT_ONCE: usize = 32;

/// Commit rounds between their first write and their release.
pub const ROUNDS_IN_FLIGHT: usize = 2;

/// What happens to logs, told on the store's thread, in order per log.
pub trait Events<D: Disk> {
    /// Everything below `upto` is committed: durable, or written where the topic's flush policy is
    /// content with that. It may be acknowledged and read.
    fn committed(&self, log: &Rc<OpenLog<D>>, upto: Offset);

    /// The log takes no more records; whoever waits for it gets the reason.
    fn fenced(&self, log: &Rc<OpenLog<D>>, fence: &Fence);

    /// All logs of a round have been told: a good time to send replies.
    fn round_released(&self);
}

#[derive(Clone)]
pub struct StoreOptions {
    /// Bytes of chunks kept for readers after they are durable.
    pub cache_bytes: usize,
    /// Files kept open; more only while they are in use.
    pub files_max: usize,
    /// From this many files with new names or extents on, a round is made durable by one sync of the
    /// whole filesystem.
    pub whole_sync_from: usize,
    /// Bytes of memory that compaction takes for the keys of a pass.
    pub compaction_bytes: usize,
    /// The shard's number, for the name of its checkpoint.
    pub shard: u16,
    pub clock: fn() -> Instant,
    /// The broker's clock as records have it.
    pub wall_clock: fn() -> Timestamp,
    pub mutation: Mutation,
}

/// A log and its open files.
pub struct OpenLog<D: Disk> {
    id: LogId,
    dir: String,
    log: RefCell<Log<D::Buf>>,
    files: LogFiles<D>,
    /// The file that the next segment takes over, while it is made and after.
    spare: RefCell<Option<Rc<D::File>>>,
    /// Whether the log stands in the store's queue of dirty logs.
    queued: Cell<bool>,
    /// Whether it stands in the maintenance queue.
    in_maintenance: Cell<bool>,
    /// Whether [`Events::fenced`] was called.
    fence_told: Cell<bool>,
    /// The oldest segment whose file may still have to be cut to length.
    unfinished: Cell<Offset>,
    /// Which segment's index was last written while it was active, and how far it reaches.
    indexed: Cell<Option<(Offset, u64)>>,
    /// Whether maintenance is to write that index again.
    index_due: Cell<bool>,
    /// Whether old segments are being deleted or compacted.
    busy: Cell<bool>,
    /// Until when the log is not compacted, because it could not be.
    compaction_pause: Cell<Option<Instant>>,
    /// Where the last durable checkpoint says that the log begins.
    durable_start: Cell<Offset>,
    /// The checkpoint the log was recovered with. A corrupt log keeps it in later checkpoints: with
    /// a lower one the next start could take the corruption for a torn tail and cut it off.
    recovered_from: Option<DurablePoint>,
}

impl<D: Disk> OpenLog<D> {
    pub fn id(&self) -> LogId {
        self.id
    }

    /// Looks at the log. The borrow must end before the next await.
    pub fn read<T>(&self, look: impl FnOnce(&Log<D::Buf>) -> T) -> T {
        look(&self.log.borrow())
    }

    fn path(&self, file: &str) -> String {
        format!("{}/{file}", self.dir)
    }
}

pub struct Store<D: Disk> {
    disk: D,
    options: StoreOptions,
    logs: RefCell<HashMap<LogId, Rc<OpenLog<D>>>>,
    dirty: RefCell<VecDeque<Rc<OpenLog<D>>>>,
    maintenance: RefCell<VecDeque<Rc<OpenLog<D>>>>,
    /// Maintenance tasks that have a log in hand.
    maintaining: Cell<usize>,
    files: OpenFiles<D>,
    checkpointing: Cell<bool>,
    work: Notify,
    stopping: Cell<bool>,
    /// Held by the lane that writes; the other one may flush meanwhile.
    writing: Cell<bool>,
    rounds_begun: Cell<u64>,
    rounds_released: Cell<u64>,
    /// Logs in the order in which their cached chunks were made.
    cached: RefCell<VecDeque<(Weak<OpenLog<D>>, usize)>>,
    cached_bytes: Cell<usize>,
    ahead: ReadAhead<D>,
    /// Cold reads under way, and a change of their number.
    reading: Cell<usize>,
    read_ended: Notify,
    /// When a round was last released.
    last_round: Cell<Option<Instant>>,
    pub counters: StoreCounters,
}

impl<D: Disk> Store<D> {
    pub fn new(disk: D, options: StoreOptions) -> Store<D> {
        Store {
            disk,
            logs: RefCell::default(),
            dirty: RefCell::default(),
            maintenance: RefCell::default(),
            maintaining: Cell::new(0),
            files: OpenFiles::new(options.files_max),
            checkpointing: Cell::new(false),
            work: Notify::default(),
            stopping: Cell::new(false),
            writing: Cell::new(false),
            rounds_begun: Cell::new(0),
            rounds_released: Cell::new(0),
            cached: RefCell::default(),
            cached_bytes: Cell::new(0),
            ahead: ReadAhead::default(),
            reading: Cell::new(0),
            read_ended: Notify::default(),
            last_round: Cell::new(None),
            counters: StoreCounters::default(),
            options,
        }
    }

    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// Takes over a log that was recovered with this checkpoint.
    pub fn add(&self, id: LogId, log: Log<D::Buf>, recovered_from: Option<DurablePoint>) -> Rc<OpenLog<D>> {
        let active = log.segments().next_back().map_or(Offset::ZERO, |active| active.base());
        let open = Rc::new(OpenLog {
            id,
            dir: id.dir(),
            log: RefCell::new(log),
            files: LogFiles::default(),
            spare: RefCell::default(),
            queued: Cell::new(false),
            in_maintenance: Cell::new(false),
            fence_told: Cell::new(false),
            unfinished: Cell::new(active),
            indexed: Cell::new(None),
            index_due: Cell::new(false),
            busy: Cell::new(false),
            compaction_pause: Cell::new(None),
            durable_start: Cell::new(recovered_from.map_or(Offset::ZERO, |point| point.start)),
            recovered_from,
        });
        let before = self.logs.borrow_mut().insert(id, open.clone());
        assert!(before.is_none(), "BUG: log {id} was opened twice");
        open
    }

    pub fn get(&self, id: LogId) -> Option<Rc<OpenLog<D>>> {
        self.logs.borrow().get(&id).cloned()
    }

    pub fn logs(&self) -> Vec<Rc<OpenLog<D>>> {
        self.logs.borrow().values().cloned().collect()
    }

    pub fn cached_bytes(&self) -> usize {
        self.cached_bytes.get()
    }

    /// Files open at the moment.
    pub fn open_files(&self) -> usize {
        self.files.open()
    }

    /// Takes a batch that the caller has checked, at `now` by the broker's clock. Nothing is durable yet;
    /// [`Events::committed`] tells.
    pub fn append(
        &self,
        log: &Rc<OpenLog<D>>,
        batch: &Batch<'_>,
        now: Timestamp,
    ) -> Result<Accepted, AppendError> {
        let accepted = log.log.borrow_mut().accept(batch, now, &self.disk)?;
        match accepted {
            Accepted::New { .. } => self.mark_dirty(log),
            Accepted::Duplicate { .. } => count(&self.counters.duplicate_batches, 1),
        }
        Ok(accepted)
    }

    /// Finds records in memory, or says where on disk they are ([`Store::read_cold`]).
    pub fn plan_read(
        &self,
        log: &OpenLog<D>,
        offset: Offset,
        max_bytes: usize,
        slices: &mut Vec<Slice<D::Buf>>,
    ) -> Result<ReadPlan, ReadError> {
        log.log.borrow().plan_read(offset, max_bytes, slices)
    }

    fn mark_dirty(&self, log: &Rc<OpenLog<D>>) {
        if !log.queued.replace(true) {
            self.dirty.borrow_mut().push_back(log.clone());
            self.work.notify();
        }
    }

    fn mark_for_maintenance(&self, log: &Rc<OpenLog<D>>) {
        if !log.in_maintenance.replace(true) {
            self.maintenance.borrow_mut().push_back(log.clone());
            self.work.notify();
        }
    }

    /// Has a log go by another configuration ([`Log::reconfigure`]).
    pub fn reconfigure(&self, log: &Rc<OpenLog<D>>, config: LogConfig) {
        log.log.borrow_mut().reconfigure(config);
        self.resume(log);
        self.mark_for_maintenance_if_due(log);
    }

    /// Rounds that a log held back while it changed its rules may begin.
    fn resume(&self, log: &Rc<OpenLog<D>>) {
        if log.read(|log| log.has_work() && !log.is_changing_over()) {
            self.mark_dirty(log);
        }
    }

    /// Lets what was accepted become durable, then ends the lanes and the maintenance task.
    pub async fn stop(&self) {
        self.stopping.set(true);
        for log in self.logs() {
            log.log.borrow_mut().stop_changing_over();
            self.resume(&log);
        }
        self.work.notify();
        let busy = || self.logs.borrow().values().any(|log| log.busy.get());
        self.work.until(|| (self.is_idle() && !busy()).then_some(())).await;
        self.flush_all().await;
    }

    fn is_idle(&self) -> bool {
        self.has_no_more_plans() && self.rounds_begun.get() == self.rounds_released.get()
    }

    /// Whether no log is dirty or may become so: a log that waits for its preparation does.
    fn has_no_more_plans(&self) -> bool {
        self.dirty.borrow().is_empty() && self.maintenance.borrow().is_empty() && self.maintaining.get() == 0
    }

    /// Whether every batch accepted so far is durable or refused.
    pub async fn settle(&self) {
        self.work.until(|| self.is_idle().then_some(())).await;
    }

    /// Takes a log out of the store and deletes its files. The log is fenced, so a round in flight
    /// cannot acknowledge it; names are gone durably when this returns.
    pub async fn remove(&self, id: LogId, events: &impl Events<D>) -> io::Result<()> {
        match self.detach(id, events) {
            Some(log) => self.delete(log).await,
            None => Ok(()),
        }
    }

    /// Takes a log out of the store: nobody can write or find it any more. Its files stay until they
    /// are deleted.
    pub fn detach(&self, id: LogId, events: &impl Events<D>) -> Option<Rc<OpenLog<D>>> {
        let log = self.logs.borrow_mut().remove(&id)?;
        self.fence(&log, Fence::Deleted, events);
        events.round_released();
        Some(log)
    }

    /// Deletes the files of a log that was detached. Names are gone durably when this returns.
    pub async fn delete(&self, log: Rc<OpenLog<D>>) -> io::Result<()> {
        // A write in flight keeps its file alive; wait for it rather than have it hit a new file.
        self.quiesce(&log).await;
        self.close_all(&log);
        remove_log_files(&self.disk, log.id).await
    }

    fn fence(&self, log: &Rc<OpenLog<D>>, fence: Fence, events: &impl Events<D>) {
        log.log.borrow_mut().fence(fence.clone());
        if !log.fence_told.replace(true) {
            count(&self.counters.fenced_logs, 1);
            events.fenced(log, &fence);
        }
        self.work.notify(); // maintenance may wait for records that will not be durable now
    }

    /// Waits until no round and no maintenance touches the log's files. The log must be fenced.
    async fn quiesce(&self, log: &OpenLog<D>) {
        let begun = self.rounds_begun.get();
        self.work
            .until(|| {
                let idle = !log.in_maintenance.get() && !log.busy.get();
                (begun <= self.rounds_released.get() && idle).then_some(())
            })
            .await;
    }

    /// Writes the shard's checkpoint: how far each log is durable, and where it begins.
    pub async fn write_checkpoint(&self) -> io::Result<()> {
        self.write_checkpoint_as(false).await
    }

    async fn write_checkpoint_as(&self, clean: bool) -> io::Result<()> {
        // One at a time: two writers would share a temporary file.
        self.work.until(|| (!self.checkpointing.replace(true)).then_some(())).await;
        let checkpoint = self.checkpoint(clean);
        let written = checkpoint.write(&self.disk, self.options.shard).await;
        self.checkpointing.set(false);
        self.work.notify();
        written?;
        for (id, point) in &checkpoint.logs {
            if let Some(log) = self.get(*id) {
                log.durable_start.set(point.start);
            }
        }
        Ok(())
    }

    fn checkpoint(&self, clean: bool) -> Checkpoint {
        let mut checkpoint = Checkpoint::default();
        for log in self.logs() {
            let corrupt = log.read(|log| matches!(log.state(), LogState::Corrupt { .. }));
            let healthy = log.read(|log| log.check_open().is_ok());
            let point = if corrupt { log.recovered_from } else { Some(log.read(|log| log.durable_point())) };
            let clean = clean && healthy;
            checkpoint.logs.extend(point.map(|point| (log.id, DurablePoint { clean, ..point })));
        }
        checkpoint
    }

    /// Writes the index of every active segment, then a checkpoint that says that the logs were closed
    /// in order. Call after [`Store::stop`].
    pub async fn write_clean_checkpoint(&self) -> io::Result<()> {
        for logs in self.logs().chunks(INDEXES_AT_ONCE) {
            let healthy = logs.iter().filter(|log| log.read(|log| log.check_open().is_ok()));
            let written = join_all(healthy.map(|log| self.write_active_index(log))).await;
            written.into_iter().collect::<io::Result<()>>()?;
        }
        self.write_checkpoint_as(true).await
    }

    fn keep_cached(&self, log: &Rc<OpenLog<D>>, bytes: usize) {
        self.cached.borrow_mut().push_back((Rc::downgrade(log), bytes));
        self.cached_bytes.set(self.cached_bytes.get() + bytes);
    }

    /// Forgets the oldest chunks until the cache is within its budget. A chunk that is not durable
    /// yet stays, and with it those behind it.
    fn shrink_cache(&self) {
        let mut cached = self.cached.borrow_mut();
        while self.options.cache_bytes < self.cached_bytes.get() {
            let Some((log, bytes)) = cached.front() else { break };
            let alive = log.upgrade().filter(|log| log.read(|log| log.check_open().is_ok()));
            if let Some(log) = alive
                && log.log.borrow_mut().evict_oldest().is_none()
            {
                break;
            }
            self.cached_bytes.set(self.cached_bytes.get() - bytes);
            cached.pop_front();
        }
    }
}

/// Deletes a partition's files and its directory, durably. Nothing there is fine.
pub async fn remove_log_files<D: Disk>(disk: &D, id: LogId) -> io::Result<()> {
    let dir = id.dir();
    let names = match disk.list(&dir).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for name in names {
        disk.remove_file(&format!("{dir}/{name}")).await?;
    }
    disk.remove_dir(&dir).await?;
    disk.sync_dir(&crate::id::topic_dir(id.topic)).await
}
