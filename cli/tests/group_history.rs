//! A group through everything: members join, leave, are killed and stopped in mid-air, the broker is killed.
//!
//!     producer ─ numbers ─▶ broker ─▶ members (ringlog consume --group, processes) ─▶ files: partition offset
//!                             │ SIGKILL               │ SIGKILL, SIGSTOP … SIGCONT, SIGTERM
//!                             └─▶ committed offsets, looked at all the time
//!
//! What must hold at each look: committed offsets never go back, and everything below them has been printed
//! by somebody (nothing is skipped). At the end: everything acknowledged was printed (nothing is lost or
//! unseen). Records may come twice; how many did is told.
//!
//! `RINGLOG_GROUP_HISTORIES=n` sets how often (20 by default), each from an empty directory and a seed of its
//! own; `RINGLOG_GROUP_STEPS=n` how much happens in each (8), `RINGLOG_SEED=s` with which seed they begin.

mod common;

#[path = "../../broker/tests/proxy/mod.rs"]
mod proxy;

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Broker, Rng, Scratch, env};
use proxy::Proxy;
use ringlog_client::{Client, OffsetSpec, Record, TopicSpec};

const TOPIC: &str = "t";
const GROUP: &str = "g";
const PARTITIONS: u32 = 6;
const WORKERS_MAX: usize = 4;
const SIDE_BY_SIDE: usize = 4;

/// The end of a run may have to wait for sessions of members that were killed.
const PATIENCE: Duration = Duration::from_secs(90);

/// Short, so that many members come and go in a minute.
const SETTINGS: [&str; 2] = ["group.session_timeout_min=500ms", "storage.checkpoint_interval=100ms"];

/// A member, and the file it prints to.
struct Worker {
    process: Child,
    is_stopped: bool,
}

impl Worker {
    fn start(addr: &str, dir: &Path, number: usize) -> Worker {
        let out = File::create(dir.join(format!("worker-{number}"))).expect("a new file");
        let errors = File::create(dir.join(format!("worker-{number}.err"))).expect("a new file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringlog"));
        command.args(["consume", TOPIC, "--group", GROUP, "--from", "start", "-f", "%p %o\\n"]);
        command.args(["--session-timeout", "1500", "--bootstrap", addr]).stdin(Stdio::null());
        let process = command.stdout(out).stderr(errors).spawn().expect("the binary is built");
        Worker { process, is_stopped: false }
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status().expect("kill is there");
        assert!(sent.success(), "kill {name} {pid}");
    }

    fn stop_or_go_on(&mut self) {
        self.signal(if self.is_stopped { "-CONT" } else { "-STOP" });
        self.is_stopped = !self.is_stopped;
    }

    fn end(mut self, signal: &str) {
        if self.is_stopped {
            self.signal("-CONT");
        }
        self.signal(signal);
        self.process.wait().expect("it was started by us");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it may have ended
        let _ = self.process.wait();
    }
}

struct History {
    dir: PathBuf,
    rng: Rng,
    proxy: Proxy,
    broker: Option<Broker>,
    workers: Vec<Worker>,
    started: usize,
    committed: BTreeMap<u32, u64>,
    sent: u64,
    done: BTreeMap<&'static str, u32>,
}

impl History {
    fn addr(&self) -> String {
        self.proxy.addr().to_string()
    }

    async fn client(&self) -> Client {
        Client::connect(self.addr()).await.expect("the broker is ready")
    }

    fn start_broker(&mut self) {
        let advertised = format!("listener.advertised={}", self.proxy.addr());
        let settings = [&SETTINGS[..], &[&advertised]].concat();
        let broker = Broker::start(&self.dir.join("data"), &self.dir.join("broker.log"), &settings);
        self.proxy.lead_to(broker.addr.parse().expect("an address"));
        self.broker = Some(broker);
    }

    fn start_worker(&mut self) {
        self.workers.push(Worker::start(&self.addr(), &self.dir, self.started));
        self.started += 1;
    }

    fn any_worker(&mut self) -> Option<usize> {
        let count = self.workers.len();
        (0 < count).then(|| self.rng.below(count as u64) as usize)
    }

    /// Sends some records and waits until all of them are acknowledged.
    async fn produce(&mut self) {
        let client = self.client().await;
        let producer = client.producer().topic(TOPIC).build().expect("a valid producer");
        let mut tickets = Vec::new();
        for n in 0..200u64 {
            let record = Record::to_default().partition((n % u64::from(PARTITIONS)) as u32).value("x");
            tickets.push(producer.enqueue(record).await.expect("room"));
        }
        for ticket in tickets {
            ticket.await.expect("the broker is up");
            self.sent += 1;
        }
    }

    async fn step(&mut self) {
        let what = match (self.rng.below(12), self.any_worker()) {
            (0..=3, _) => {
                self.produce().await;
                "produced"
            }
            (4, Some(at)) => {
                self.workers.swap_remove(at).end("-KILL");
                "killed"
            }
            (5, Some(at)) => {
                self.workers.swap_remove(at).end("-TERM");
                "left"
            }
            (6 | 7, Some(at)) => {
                self.workers[at].stop_or_go_on();
                "stopped or went on"
            }
            (8, _) => {
                self.broker.take().expect("it runs").kill();
                self.start_broker();
                "killed the broker"
            }
            _ if self.workers.len() < WORKERS_MAX => {
                self.start_worker();
                "joined"
            }
            _ => "waited",
        };
        *self.done.entry(what).or_default() += 1;
        tokio::time::sleep(Duration::from_millis(50 + self.rng.below(700))).await;
        self.look().await;
    }

    /// Committed offsets first, then what was printed.
    async fn look(&mut self) {
        let client = self.client().await;
        let offsets = client.admin().group_offsets(GROUP).await.expect("the coordinator comes");
        for partition in self.committed.keys() {
            let is_there = offsets.iter().any(|offset| offset.partition.get() == *partition);
            assert!(is_there, "what was committed of partition {partition} is gone");
        }
        for offset in offsets {
            let (partition, now) = (offset.partition.get(), offset.offset.get());
            let before = self.committed.insert(partition, now).unwrap_or(0);
            assert!(before <= now, "partition {partition} went back from {before} to {now}");
        }
        let printed = self.printed();
        for (partition, end) in &self.committed {
            let seen = printed.get(partition);
            let skipped = (0..*end).find(|offset| seen.is_none_or(|seen| !seen.contains_key(offset)));
            assert_eq!(skipped, None, "partition {partition} is committed to {end}, but nobody printed this");
        }
    }

    /// By partition and offset, how often a record was printed.
    fn printed(&self) -> BTreeMap<u32, BTreeMap<u64, u32>> {
        let mut printed: BTreeMap<u32, BTreeMap<u64, u32>> = BTreeMap::new();
        for number in 0..self.started {
            let text = std::fs::read_to_string(self.dir.join(format!("worker-{number}"))).expect("text");
            // Whoever was killed may have been in the middle of a line.
            for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
                let (partition, offset) = line.split_once(' ').expect("a partition and an offset");
                let seen = printed.entry(partition.parse().expect("a number")).or_default();
                *seen.entry(offset.parse().expect("a number")).or_default() += 1;
            }
        }
        printed
    }

    /// Everybody goes on until everything is committed. Returns how many records were printed twice.
    async fn settle(&mut self) -> u64 {
        for worker in self.workers.iter_mut().filter(|worker| worker.is_stopped) {
            worker.stop_or_go_on();
        }
        self.start_worker();
        let client = self.client().await;
        let listed = client.admin().list_topic_offsets(TOPIC, OffsetSpec::Latest).await.expect("the ends");
        let ends: Vec<u64> = listed.iter().map(|listed| listed.offset.expect("an end").get()).collect();
        assert!(self.sent <= ends.iter().sum(), "acknowledged records are there");
        let begun = Instant::now();
        while (0..PARTITIONS).zip(&ends).any(|(at, end)| self.committed.get(&at).copied().unwrap_or(0) < *end)
        {
            assert!(begun.elapsed() < PATIENCE, "of {ends:?} only {:?} is committed", self.committed);
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.look().await;
        }
        let printed = self.printed();
        printed.values().flat_map(BTreeMap::values).map(|times| u64::from(*times - 1)).sum()
    }
}

/// What a history showed.
#[derive(Default)]
struct Told {
    done: BTreeMap<&'static str, u32>,
    acknowledged: u64,
    twice: u64,
}

async fn run(seed: u64, steps: u64, scratch: &Path) -> Told {
    let dir = scratch.join(seed.to_string());
    std::fs::create_dir(&dir).expect("a new directory");
    let mut history = History {
        dir,
        rng: Rng(seed),
        proxy: Proxy::start(seed),
        broker: None,
        workers: Vec::new(),
        started: 0,
        committed: BTreeMap::new(),
        sent: 0,
        done: BTreeMap::new(),
    };
    history.proxy.set_faults(0, 0);
    history.start_broker();
    let client = history.client().await;
    client.admin().create_topic(TopicSpec::new(TOPIC).partitions(PARTITIONS)).await.expect("a new topic");
    history.start_worker();
    for _ in 0..steps {
        history.step().await;
    }
    history.produce().await;
    let twice = history.settle().await;
    Told { done: std::mem::take(&mut history.done), acknowledged: history.sent, twice }
}

/// Runs every `SIDE_BY_SIDE`th history from `first` on: most of the time they wait.
fn run_some(first: u64, seeds: &Range<u64>, steps: u64, scratch: &Path) -> Vec<Told> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let seeds = (first..seeds.end).step_by(SIDE_BY_SIDE);
    seeds
        .map(|seed| {
            println!("history {seed} begins");
            runtime.block_on(run(seed, steps, scratch))
        })
        .collect()
}

#[test]
fn a_group_loses_and_skips_nothing() {
    let (seed, histories) = (env("RINGLOG_SEED", 1), env("RINGLOG_GROUP_HISTORIES", 20));
    let (steps, begun) = (env("RINGLOG_GROUP_STEPS", 8), Instant::now());
    let scratch = Scratch::new("group-history");
    let seeds = seed..seed + histories;
    let mut sum = Told::default();
    std::thread::scope(|scope| {
        let lanes: Vec<_> = seeds
            .clone()
            .take(SIDE_BY_SIDE)
            .map(|first| {
                scope.spawn({
                    let (seeds, path) = (&seeds, scratch.path());
                    move || run_some(first, seeds, steps, path)
                })
            })
            .collect();
        for told in lanes.into_iter().flat_map(|lane| lane.join().expect("no rule was broken")) {
            sum.acknowledged += told.acknowledged;
            sum.twice += told.twice;
            told.done.into_iter().for_each(|(what, times)| *sum.done.entry(what).or_default() += times);
        }
    });
    assert!(0 < sum.acknowledged, "the run tested nothing");
    println!(
        "{histories} histories of {steps} steps (seeds {seeds:?}) in {:?}: {:?}; {} records acknowledged, lost 0, \
         unseen 0, skipped 0, {} seen again; committed offsets never went back",
        begun.elapsed(),
        sum.done,
        sum.acknowledged,
        sum.twice
    );
}
