//! A store on a simulated disk in one thread: a seed decides what is appended when, in which order the
//! disk completes, and where the power goes.
//!
//!     Workload::new(seed) ─ tick, tick, … ─▶ acknowledged so far
//!            └ at any tick: crash_image ─▶ recover ─▶ check against what was sent and acknowledged

#![allow(dead_code)] // every test that includes this uses a part of it

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Instant;

use futures::executor::{LocalPool, LocalSpawner};
use futures::task::LocalSpawnExt;
use protocol::batch::{Batch, BatchBuilder, Codec, stamp};
use protocol::model::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};
use storage::checkpoint::{CHECKPOINTS_DIR, Checkpoint};
use storage::disk::sim::{Fault, SimDisk, SimRng};
use storage::disk::{Disk, FlushScope};
use storage::id::{LogId, TOPICS_DIR};
use storage::log::{Fence, LogConfig, LogState};
use storage::recovery::{RecoveryOptions, recover};
use storage::store::{ColdError, Events, Mutant, OpenLog, ROUNDS_IN_FLIGHT, Store, StoreOptions};

/// The clock of the simulation stands still: preparation steps have their smallest size.
fn frozen_clock() -> Instant {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    *START
}

/// A batch as it was sent, with the offsets it got.
#[derive(Clone)]
pub struct Sent {
    pub base: Offset,
    pub next: Offset,
    pub bytes: Vec<u8>,
}

#[derive(Default)]
pub struct Told {
    /// Everything below this was acknowledged.
    pub acknowledged: BTreeMap<LogId, Offset>,
    pub fenced: BTreeMap<LogId, Fence>,
    /// Acknowledgements that came after the log was fenced.
    pub acks_after_fence: usize,
}

struct Listener(Rc<RefCell<Told>>);

impl Events<SimDisk> for Listener {
    fn durable(&self, log: &Rc<OpenLog<SimDisk>>, upto: Offset) {
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

/// Runs a future to its end, completing disk operations in the disk's order.
pub fn run<T: 'static>(disk: &SimDisk, future: impl Future<Output = T> + 'static) -> T {
    let mut pool = LocalPool::new();
    let done = Rc::new(RefCell::new(None));
    let slot = done.clone();
    let task = async move {
        let value = future.await;
        *slot.borrow_mut() = Some(value);
    };
    pool.spawner().spawn_local(task).expect("the pool lives");
    loop {
        pool.run_until_stalled();
        if let Some(value) = done.borrow_mut().take() {
            return value;
        }
        assert!(disk.step(), "stuck: the future waits for something that is not the disk");
    }
}

/// What the logs should hold.
#[derive(Clone, Default)]
pub struct History {
    pub sent: BTreeMap<LogId, Vec<Sent>>,
}

pub struct Workload {
    pub disk: SimDisk,
    pub store: Rc<Store<SimDisk>>,
    pub told: Rc<RefCell<Told>>,
    pub history: History,
    logs: Vec<LogId>,
    pool: LocalPool,
    rng: SimRng,
    appends_left: usize,
}

pub fn log_ids(count: usize) -> Vec<LogId> {
    let id = |n: usize| LogId {
        topic: TopicId::from_bytes([n as u8 + 1; 16]),
        partition: PartitionIndex::new(n as u32),
    };
    (0..count).map(id).collect()
}

fn config(seed: u64) -> LogConfig {
    LogConfig { prepare: seed & 4 == 0, ..LogConfig::tiny() }
}

impl Workload {
    /// A workload on an empty disk.
    pub fn new(seed: u64, mutant: Option<Mutant>) -> Workload {
        let scope = if seed & 1 == 0 { FlushScope::Device } else { FlushScope::File };
        let disk = SimDisk::new(seed, scope);
        Workload::on(disk, seed, mutant, None)
    }

    pub fn with_fault(seed: u64, fault: Fault) -> Workload {
        let workload = Workload::new(seed, None);
        workload.disk.set_fault(fault);
        workload
    }

    /// A workload on a disk that may hold logs already. With `history` the recovered logs are
    /// checked against it, and what follows is added to what they were found to hold.
    pub fn on(
        disk: SimDisk,
        seed: u64,
        mutant: Option<Mutant>,
        before: Option<(&History, &Told)>,
    ) -> Workload {
        let mut rng = SimRng::new(seed ^ 0xC0FFEE);
        let logs = log_ids(1 + rng.below(3));
        let options = StoreOptions { cache_bytes: 64 << 10, shard: 0, clock: frozen_clock, mutant };
        let store = Rc::new(Store::new(disk.clone(), options));
        let told = Rc::new(RefCell::new(Told::default()));
        let history = run(&disk, open(disk.clone(), store.clone(), logs.clone(), config(seed)));
        if let Some((expected, told)) = before {
            check_recovered(&history, expected, told);
        }
        for (log, sent) in &history.sent {
            let end = sent.last().map_or(Offset::ZERO, |last| last.next);
            told.borrow_mut().acknowledged.insert(*log, end);
        }
        let pool = LocalPool::new();
        spawn_tasks(&pool.spawner(), &store, &told);
        let appends_left = 4 + rng.below(24);
        Workload { disk, store, told, history, logs, pool, rng, appends_left }
    }

    /// Does one thing: appends a batch, writes a checkpoint, or completes an operation of the disk.
    /// `false` when everything is done.
    pub fn tick(&mut self) -> bool {
        let choice = self.rng.below(16);
        let progressed = match choice {
            0..6 if 0 < self.appends_left => {
                self.appends_left -= 1;
                self.append();
                true
            }
            6 if self.appends_left % 5 == 4 => {
                let store = self.store.clone();
                let task = async move { store.write_checkpoint(false).await.map_or((), |()| ()) };
                self.pool.spawner().spawn_local(task).expect("the pool lives");
                self.disk.step();
                true
            }
            _ => self.disk.step(),
        };
        self.pool.run_until_stalled();
        progressed || 0 < self.appends_left
    }

    /// Stops in order, and gives back the disk that is left.
    pub fn stop(mut self) -> SimDisk {
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
        for (log, sent) in &self.history.sent {
            let end = sent.last().map_or(Offset::ZERO, |last| last.next);
            let acknowledged = self.told.borrow().acknowledged.get(log).copied().unwrap_or(Offset::ZERO);
            assert_eq!(acknowledged, end, "everything accepted is acknowledged before the stop ends");
        }
        self.disk.crash_image(1)
    }

    fn append(&mut self) {
        let id = self.logs[self.rng.below(self.logs.len())];
        let log = self.store.get(id).expect("opened at the start");
        let bytes = random_batch(&mut self.rng, id);
        let (batch, _) = Batch::split_first(&bytes).expect("the builder makes valid batches");
        let Ok((base, next)) = self.store.append(&log, &batch) else { return };
        let mut stored = bytes.to_vec();
        stamp(&mut stored, base, LeaderEpoch::FIRST);
        self.history.sent.entry(id).or_default().push(Sent { base, next, bytes: stored });
    }
}

fn spawn_tasks(spawner: &LocalSpawner, store: &Rc<Store<SimDisk>>, told: &Rc<RefCell<Told>>) {
    for _ in 0..ROUNDS_IN_FLIGHT {
        let (store, events) = (store.clone(), Listener(told.clone()));
        spawner.spawn_local(async move { store.run_lane(&events).await }).expect("the pool lives");
    }
    let (store, events) = (store.clone(), Listener(told.clone()));
    spawner.spawn_local(async move { store.run_maintenance(&events).await }).expect("the pool lives");
}

/// Sizes from a few bytes to more than a segment's half, so that blocks, chunks and segments are
/// crossed all the time.
fn random_batch(rng: &mut SimRng, id: LogId) -> bytes::Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    for _ in 0..1 + rng.below(4) {
        let len = match rng.below(4) {
            0 => rng.below(32),
            1 => rng.below(600),
            2 => 3900 + rng.below(300),
            _ => rng.below(7000),
        };
        let mut value = vec![id.partition.get() as u8 ^ rng.draw() as u8; len];
        value.iter_mut().step_by(7).for_each(|byte| *byte = rng.draw() as u8);
        let time = Timestamp::from_millis(rng.below(1000) as i64);
        builder.try_append(time, None, Some(&value), &[]).expect("far below the limits");
    }
    builder.finish()
}

/// Recovers every log and reads all it holds.
async fn open(disk: SimDisk, store: Rc<Store<SimDisk>>, logs: Vec<LogId>, config: LogConfig) -> History {
    disk.create_dir(TOPICS_DIR).await.expect("creating a directory");
    disk.create_dir(CHECKPOINTS_DIR).await.expect("creating a directory");
    let checkpoint = Checkpoint::read_all(&disk).await.expect("reading checkpoints");
    let mut history = History::default();
    for id in logs {
        let mut options = RecoveryOptions::new(config, LeaderEpoch::FIRST);
        options.checkpoint = checkpoint.logs.get(&id).copied();
        options.clean = checkpoint.clean;
        let recovered = recover(&disk, id, &options).await.expect("the disk works");
        assert_eq!(*recovered.log.state(), LogState::Open, "log {id} was taken for corrupt");
        let log = store.add(id, recovered.log, options.checkpoint);
        history.sent.insert(id, read_all(&store, &log).await);
    }
    store.write_checkpoint(false).await.expect("writing a checkpoint");
    history
}

/// Every batch of a log, as a reader gets them.
pub async fn read_all(store: &Store<SimDisk>, log: &Rc<OpenLog<SimDisk>>) -> Vec<Sent> {
    let (batches, error) = read_until_error(store, log).await;
    assert!(error.is_none(), "log {}: {error:?}", log.id());
    batches
}

/// The batches of a log up to the first that cannot be read, and why it cannot.
pub async fn read_until_error(
    store: &Store<SimDisk>,
    log: &Rc<OpenLog<SimDisk>>,
) -> (Vec<Sent>, Option<ColdError>) {
    let mut batches = Vec::new();
    let (mut offset, end) = log.read(|log| (log.start(), log.high_watermark()));
    while offset < end {
        let mut slices = Vec::new();
        let bytes = match store.plan_read(log, offset, 10_000, &mut slices).expect("in range") {
            storage::log::ReadPlan::AtEnd => panic!("at the end at {offset} of {end}"),
            storage::log::ReadPlan::Hot { .. } => {
                slices.iter().flat_map(|slice| slice.bytes().to_vec()).collect()
            }
            storage::log::ReadPlan::Cold(cold) => match store.read_cold(log, cold, offset, 10_000).await {
                Ok(read) => read.bytes().to_vec(),
                Err(error) => return (batches, Some(error)),
            },
        };
        for batch in protocol::batch::batches(&bytes) {
            let batch = batch.expect("a whole batch");
            assert_eq!(batch.base_offset(), offset, "offsets are dense");
            offset = batch.next_offset();
            batches.push(Sent { base: batch.base_offset(), next: offset, bytes: batch.as_bytes().to_vec() });
        }
    }
    (batches, None)
}

/// Everything acknowledged is there, what is there was sent, in the order it was sent, without holes.
pub fn check_recovered(found: &History, expected: &History, told: &Told) {
    for (id, found) in &found.sent {
        let none = Vec::new();
        let sent = expected.sent.get(id).unwrap_or(&none);
        let acknowledged = told.acknowledged.get(id).copied().unwrap_or(Offset::ZERO);
        let end = found.last().map_or(Offset::ZERO, |last| last.next);
        assert!(acknowledged <= end, "log {id}: acknowledged below {acknowledged}, recovered below {end}");
        assert!(
            found.len() <= sent.len(),
            "log {id}: {} batches sent, {} recovered",
            sent.len(),
            found.len()
        );
        for (found, sent) in found.iter().zip(sent) {
            assert_eq!((found.base, found.next), (sent.base, sent.next), "log {id}");
            assert!(found.bytes == sent.bytes, "log {id}: batch at {} has other bytes", found.base);
        }
    }
}
