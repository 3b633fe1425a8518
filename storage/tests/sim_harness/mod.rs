//! A store on a simulated disk in one thread: a seed decides what is appended, retried, deleted and
//! compacted when, in which order the disk completes, and where the power goes.
//!
//!     Workload::new(seed) ─ tick, tick, … ─▶ acknowledged so far
//!            └ at any tick: crash_image ─▶ recover ─▶ check against what was sent and acknowledged

#![allow(dead_code)] // every test that includes this uses a part of it

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Instant;

use futures::executor::{LocalPool, LocalSpawner};
use futures::task::LocalSpawnExt;
use protocol::batch::{Batch, stamp};
use protocol::model::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};
use storage::disk::sim::{Fault, SimDisk, SimRng};
use storage::disk::{BLOCK, FlushScope};
use storage::id::LogId;
use storage::log::{Accepted, Cleanup, DirtyRatio, Fence, LogConfig};
use storage::mutants::{Mutant, Mutation};
use storage::store::{Events, MAINTENANCE_TASKS, OpenLog, ROUNDS_IN_FLIGHT, Store, StoreOptions};

pub mod images;

pub mod wreck;

pub mod check;
pub use check::{History, LogHistory, Sent, check_recovered};

mod make;
use make::{Producer, random_batch};

mod read;
use read::open;
pub use read::{read_until_error, records};

thread_local! {
    static NOW: Cell<i64> = const { Cell::new(1_000_000) };
    /// Producer ids are never given out twice, as the catalog sees to.
    static NEXT_PRODUCER: Cell<i64> = const { Cell::new(100) };
}

/// The clock that steps: preparation has its smallest size.
fn frozen_clock() -> Instant {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    *START
}

/// The clock of records, moved by the workload.
fn simulated_time() -> Timestamp {
    Timestamp::from_millis(NOW.with(Cell::get))
}

pub fn pass_time(millis: i64) {
    NOW.with(|now| now.set(now.get() + millis));
}

#[derive(Default)]
pub struct Told {
    /// Everything below this was acknowledged.
    pub acknowledged: BTreeMap<LogId, Offset>,
    /// Everything below this was deleted on request, and the deletion acknowledged.
    pub deleted: BTreeMap<LogId, Offset>,
    /// Logs whose removal has begun; `true` if it was acknowledged.
    pub removed: BTreeMap<LogId, bool>,
    pub fenced: BTreeMap<LogId, Fence>,
    /// Acknowledgements that came after the log was fenced.
    pub acks_after_fence: usize,
}

pub struct Listener(Rc<RefCell<Told>>);

impl Events<SimDisk> for Listener {
    fn committed(&self, log: &Rc<OpenLog<SimDisk>>, upto: Offset) {
        let mut told = self.0.borrow_mut();
        if told.fenced.contains_key(&log.id()) {
            told.acks_after_fence += 1;
        }
        told.acknowledged.insert(log.id(), upto);
    }

    fn fenced(&self, log: &Rc<OpenLog<SimDisk>>, fence: &Fence) {
        self.0.borrow_mut().fenced.insert(log.id(), fence.clone());
    }

    fn round_released(&self) {}
}

pub struct Workload {
    pub disk: SimDisk,
    pub store: Rc<Store<SimDisk>>,
    /// Where the last read of each log ended.
    pub reading: BTreeMap<LogId, Offset>,
    pub told: Rc<RefCell<Told>>,
    pub history: History,
    pub logs: Vec<LogId>,
    pool: LocalPool,
    rng: SimRng,
    producers: BTreeMap<LogId, Producer>,
    /// Whether anything is deleted or compacted.
    deletes: bool,
    appends_left: usize,
    /// Rounds of retention, compaction and the like that go on when nothing is appended any more.
    chores_left: usize,
}

pub fn log_ids(count: usize) -> Vec<LogId> {
    let id = |n: usize| LogId {
        topic: TopicId::from_bytes([n as u8 + 1; 16]),
        partition: PartitionIndex::new(n as u32),
    };
    (0..count).map(id).collect()
}

/// Seeds with this bit have plain logs, from which nothing is deleted.
pub const PLAIN: u64 = 1 << 62;

/// What the n-th log of a seed is: every kind stands beside every other one.
pub fn config(seed: u64, id: LogId) -> LogConfig {
    let prepare = seed & 4 == 0;
    // Rounds above the limit get extents ahead of the tail, smaller ones zeroes.
    let zeroes_round_max = if seed & 16 == 0 { u64::MAX } else { 256 };
    let config = LogConfig { prepare, zeroes_round_max, reserve_rate_min: 0, ..LogConfig::tiny() };
    if seed & PLAIN != 0 {
        return config;
    }
    let always = DirtyRatio::new(0.0).expect("a ratio");
    match (seed / 8 + u64::from(id.partition.get())) % 4 {
        0 => config,
        1 => LogConfig { retention_bytes: Some(24 << 10), segment_ms: Some(400), ..config },
        2 => LogConfig {
            cleanup: Cleanup::COMPACT,
            min_cleanable_dirty_ratio: always,
            delete_retention_ms: 50,
            ..config
        },
        _ => LogConfig {
            cleanup: Cleanup { delete: true, compact: true },
            min_cleanable_dirty_ratio: always,
            delete_retention_ms: 50,
            retention_ms: Some(2000),
            ..config
        },
    }
}

pub fn store_options(seed: u64, mutant: Option<Mutant>) -> StoreOptions {
    StoreOptions {
        cache_bytes: 64 << 10,
        files_max: 6,
        whole_sync_from: if seed & 8 == 0 { usize::MAX } else { 2 },
        // A handful of keys, so that passes end where memory does.
        compaction_bytes: 48 * 12,
        shard: 0,
        clock: frozen_clock,
        wall_clock: simulated_time,
        mutation: Mutation::new(mutant),
    }
}

impl Workload {
    /// A workload on an empty disk.
    pub fn new(seed: u64, mutant: Option<Mutant>) -> Workload {
        let scope = if seed & 1 == 0 { FlushScope::Device } else { FlushScope::File };
        NOW.with(|now| now.set(1_000_000));
        NEXT_PRODUCER.with(|next| next.set(100));
        let disk = SimDisk::new(seed, scope);
        Workload::on(disk, seed, mutant, None)
    }

    pub fn with_fault(seed: u64, fault: Fault) -> Workload {
        Workload::with_fault_and(seed, fault, None)
    }

    pub fn with_fault_and(seed: u64, fault: Fault, mutant: Option<Mutant>) -> Workload {
        let workload = Workload::new(seed, mutant);
        workload.disk.set_fault(fault);
        workload
    }

    /// A workload on a disk that may hold logs already. With `before` the recovered logs are checked
    /// against it, and what follows is added to what they were found to hold.
    pub fn on(
        disk: SimDisk,
        seed: u64,
        mutant: Option<Mutant>,
        before: Option<(&History, &Told)>,
    ) -> Workload {
        let mut rng = SimRng::new(seed ^ 0xC0FFEE);
        let logs = log_ids(1 + rng.below(3));
        let store = Rc::new(Store::new(disk.clone(), store_options(seed, mutant)));
        let told = Rc::new(RefCell::new(Told::default()));
        let removed: BTreeMap<LogId, bool> =
            before.map_or_else(BTreeMap::new, |(_, told)| told.removed.clone());
        for (id, acknowledged) in &removed {
            if *acknowledged {
                let dir = format!("{}/", id.dir());
                let left: Vec<String> =
                    disk.files().into_iter().filter(|file| file.starts_with(&dir)).collect();
                assert!(left.is_empty(), "log {id} was deleted, and has {left:?}");
            }
        }
        told.borrow_mut().removed.extend(removed.keys().map(|id| (*id, true)));
        let opening = open(disk.clone(), store.clone(), logs.clone(), removed, seed, mutant);
        let history = disk.block_on(opening);
        if let Some((expected, told)) = before {
            check_recovered(&history, expected, told);
        }
        for (log, found) in &history.logs {
            told.borrow_mut().acknowledged.insert(*log, found.end);
            told.borrow_mut().deleted.insert(*log, found.start);
        }
        let pool = LocalPool::new();
        spawn_tasks(&pool.spawner(), &store, &told);
        let appends_left = 4 + rng.below(if seed % 4 == 3 { 60 } else { 24 });
        let producers = BTreeMap::new();
        Workload {
            disk,
            store,
            reading: BTreeMap::new(),
            told,
            history,
            logs,
            pool,
            rng,
            producers,
            appends_left,
            chores_left: 12,
            deletes: seed & PLAIN == 0,
        }
    }

    /// Does one thing: appends, retries, deletes, compacts, or completes an operation of the disk.
    /// `false` when everything is done.
    pub fn tick(&mut self) -> bool {
        let choice = self.rng.below(32);
        let appending = 0 < self.appends_left;
        let progressed = match choice {
            0..10 if appending => {
                self.appends_left -= 1;
                self.append();
                true
            }
            10 if appending => self.retry(),
            11 if self.appends_left % 5 == 4 => {
                self.spawn(|store, _| async move { store.write_checkpoint().await.map_or((), |()| ()) })
            }
            12 | 17 if self.has_chore() => {
                pass_time(self.rng.below(300) as i64);
                self.spawn(|store, _| async move { store.keep_house().await.map_or((), |()| ()) })
            }
            13 | 18 | 19 if self.has_chore() => self.spawn(|store, events| async move {
                drop(store.compact_next(&events).await); // after a fault it says what happened
            }),
            14 if self.has_chore() => {
                self.store.index_active_segments(0);
                true
            }
            15 if self.rng.below(4) == 0 && self.has_chore() => self.delete_records(),
            20 if self.rng.below(4) == 0 => {
                self.resize_segments();
                true
            }
            16 if appending && self.deletes && self.rng.below(24) == 0 => self.remove_log(),
            _ => self.disk.step(),
        };
        self.pool.run_until_stalled();
        self.note_starts();
        progressed || 0 < self.appends_left || (self.deletes && 0 < self.chores_left)
    }

    fn spawn<F: Future<Output = ()> + 'static>(
        &self,
        task: impl FnOnce(Rc<Store<SimDisk>>, Listener) -> F,
    ) -> bool {
        let task = task(self.store.clone(), Listener(self.told.clone()));
        self.pool.spawner().spawn_local(task).expect("the pool lives");
        self.disk.step();
        true
    }

    /// Runs a future of the store to its end, with everything else that goes on.
    pub fn block_on<T: 'static, F: Future<Output = T> + 'static>(
        &mut self,
        task: impl FnOnce(Rc<Store<SimDisk>>, Listener) -> F,
    ) -> T {
        let done = Rc::new(RefCell::new(None));
        let (slot, task) = (done.clone(), task(self.store.clone(), Listener(self.told.clone())));
        let task = async move {
            let value = task.await;
            *slot.borrow_mut() = Some(value);
        };
        self.pool.spawner().spawn_local(task).expect("the pool lives");
        loop {
            self.pool.run_until_stalled();
            if let Some(value) = done.borrow_mut().take() {
                self.note_starts();
                return value;
            }
            assert!(self.disk.step(), "stuck: the future waits for something that is not the disk");
        }
    }

    /// Completes up to `count` operations of the disk.
    pub fn step(&mut self, count: usize) {
        for _ in 0..count {
            self.pool.run_until_stalled();
            self.disk.step();
        }
        self.pool.run_until_stalled();
        self.note_starts();
    }

    /// Begins something and does not wait for it.
    pub fn begin<F: Future<Output = ()> + 'static>(
        &mut self,
        task: impl FnOnce(Rc<Store<SimDisk>>, Listener) -> F,
    ) {
        self.spawn(task);
    }

    /// Where logs begin moves without anybody asking: by retention.
    pub fn note_starts(&mut self) {
        for log in self.store.logs() {
            let (start, clean) = log.read(|log| (log.start(), log.clean_upto()));
            let history = self.history.logs.entry(log.id()).or_default();
            history.start_max = history.start_max.max(start);
            history.clean_max = history.clean_max.max(clean);
        }
    }

    fn has_chore(&mut self) -> bool {
        if !self.deletes {
            self.chores_left = 0;
            return false;
        }
        let has = 0 < self.appends_left || 0 < self.chores_left;
        if self.appends_left == 0 {
            self.chores_left = self.chores_left.saturating_sub(1);
        }
        has
    }

    pub fn delete_records(&mut self) -> bool {
        let id = self.any_log();
        let Some(log) = self.store.get(id) else { return true };
        let (start, end) = log.read(|log| (log.start(), log.high_watermark()));
        let span = end.get() - start.get();
        let before = Offset::new(start.get() + self.rng.below(span as usize + 1) as u64);
        let told = self.told.clone();
        self.spawn(move |store, _| async move {
            if let Ok(start) = store.delete_records(&log, Some(before)).await {
                told.borrow_mut().deleted.insert(id, start);
            }
        })
    }

    pub fn remove_log(&mut self) -> bool {
        let id = self.any_log();
        let told = self.told.clone();
        if told.borrow().removed.contains_key(&id) {
            return true;
        }
        told.borrow_mut().removed.insert(id, false);
        self.spawn(move |store, events| async move {
            if store.remove(id, &events).await.is_ok() {
                told.borrow_mut().removed.insert(id, true);
            }
        })
    }

    /// Has a log go by another `segment.bytes`, as an operator may at any time.
    fn resize_segments(&mut self) {
        let id = self.any_log();
        let segment_bytes = (BLOCK as u64) << self.rng.below(4);
        if let Some(log) = self.store.get(id) {
            let config = log.read(|log| LogConfig { segment_bytes, ..*log.config() });
            self.store.reconfigure(&log, config);
        }
    }

    fn any_log(&mut self) -> LogId {
        self.logs[self.rng.below(self.logs.len())]
    }

    /// Stops in order, and gives back the disk that is left and what was sent.
    pub fn stop(mut self) -> (SimDisk, History) {
        let store = self.store.clone();
        let done = Rc::new(RefCell::new(false));
        let told = done.clone();
        let task = async move {
            store.stop().await;
            store.write_clean_checkpoint().await.expect("the disk works");
            *told.borrow_mut() = true;
        };
        self.pool.spawner().spawn_local(task).expect("the pool lives");
        while !*done.borrow() {
            self.pool.run_until_stalled();
            assert!(self.disk.step() || *done.borrow(), "the stop is stuck");
        }
        self.note_starts();
        let files_max = store_options(0, None).files_max;
        assert!(
            self.store.open_files() <= files_max,
            "{} files are open, and none in use",
            self.store.open_files()
        );
        for (id, log) in &self.history.logs {
            let acknowledged = self.told.borrow().acknowledged.get(id).copied().unwrap_or(Offset::ZERO);
            let removed = self.told.borrow().removed.contains_key(id);
            let complete = acknowledged == log.end || removed;
            assert!(complete, "log {id}: accepted below {}, acknowledged below {acknowledged}", log.end);
        }
        (self.disk.crash_image(1), self.history)
    }

    pub fn append(&mut self) {
        let id = self.any_log();
        let Some(log) = self.store.get(id) else { return };
        let producer = (self.rng.below(3) == 0).then(|| self.producer(id));
        let bytes = random_batch(&mut self.rng, id, producer.as_ref());
        let (batch, _) = Batch::split_first(&bytes).expect("the builder makes valid batches");
        let (base, next) = match self.store.append(&log, &batch, simulated_time()) {
            Ok(Accepted::New { base, next }) => (base, next),
            refused => {
                let closed = log.read(|log| log.check_open().is_err());
                assert!(closed, "an open log takes what is new and in sequence: {refused:?}");
                return;
            }
        };
        let mut stored = bytes.to_vec();
        stamp(&mut stored, base, LeaderEpoch::FIRST);
        if let Some(mut producer) = producer {
            producer.next_sequence += i32::try_from(batch.record_count().get()).expect("few records");
            producer.batches.push((bytes.to_vec(), base));
            self.producers.insert(id, producer);
        }
        self.history.logs.entry(id).or_default().push(Sent::new(base, next, stored));
    }

    /// The log's producer as it is, or a new one.
    fn producer(&self, id: LogId) -> Producer {
        let fresh = || {
            let id = NEXT_PRODUCER.with(|next| next.replace(next.get() + 1));
            Producer { id, next_sequence: 0, batches: Vec::new() }
        };
        self.producers.get(&id).cloned().unwrap_or_else(fresh)
    }

    /// Sends one of a producer's last five batches again, as a client does that got no reply.
    pub fn retry(&mut self) -> bool {
        let id = self.any_log();
        let (Some(log), Some(producer)) = (self.store.get(id), self.producers.get(&id)) else { return true };
        let last = producer.batches.iter().rev().take(5).nth(self.rng.below(5));
        if let Some((bytes, first)) = last {
            let (batch, _) = Batch::split_first(bytes).expect("it was sent before");
            match self.store.append(&log, &batch, simulated_time()) {
                Ok(Accepted::Duplicate { base, .. }) => assert_eq!(base, *first, "the offset it got first"),
                Ok(Accepted::New { base, .. }) => panic!("a retry was stored again at {base}"),
                Err(error) => assert!(log.read(|log| log.check_open().is_err()), "{error}"),
            }
        }
        true
    }
}

fn spawn_tasks(spawner: &LocalSpawner, store: &Rc<Store<SimDisk>>, told: &Rc<RefCell<Told>>) {
    for _ in 0..ROUNDS_IN_FLIGHT {
        let (store, events) = (store.clone(), Listener(told.clone()));
        spawner.spawn_local(async move { store.run_lane(&events).await }).expect("the pool lives");
    }
    for _ in 0..MAINTENANCE_TASKS {
        let (store, events) = (store.clone(), Listener(told.clone()));
        spawner.spawn_local(async move { store.run_maintenance(&events).await }).expect("the pool lives");
    }
}
