//! SIGKILL at random moments: whatever was acknowledged is there afterwards, once and in order.
//!
//!     serve ─ producers, acks=all ─ SIGKILL ─▶ serve again ─▶ read ─▶ check ─▶ next cycle
//!                                                  └ every fifth time killed once more while it recovers
//!
//! Beside the ledger's topic run one that is compacted and one with retention (`common/side.rs`), and
//! between clients and broker a network that loses replies and cuts connections (broker/tests/proxy):
//! producers try again, and nothing is there twice.
//!
//! The broker is the real binary, on the disk that the target directory is on, and on XFS and ext4 in
//! loop images where root may mount them. `RINGLOG_KILL_CYCLES=n` sets how many times it is killed (20
//! by default, 5 on each loop image), `RINGLOG_SEED=s` when.

mod common;

#[path = "../../broker/tests/proxy/mod.rs"]
mod proxy;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::ledger::{PARTITIONS, TOPIC};
use common::{Broker, Filesystem, Ledger, Load, LoopDisk, Policy, Rng, Scratch, Side, env};
use proxy::Proxy;
use ringlog_client::{Client, TopicSpec};

/// Sparse: only what is written takes space.
const DISK_MEGABYTES: u64 = 16 << 10;

/// Replies that are lost, and connections that are cut, in thousandths of the replies.
const REPLIES_LOST: u32 = 10;
const REPLIES_CUT: u32 = 3;

/// A reply that takes longer is taken for lost.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(150);

/// So that kills meet checkpoints too.
const QUICK: &str = "storage.checkpoint_interval=100ms";

struct Loop {
    data_dir: PathBuf,
    log: PathBuf,
    rng: Rng,
    ledger: Ledger,
    /// Topics beside the ledger's, under the same kills.
    sides: Vec<Side>,
    proxy: Proxy,
}

impl Loop {
    /// Starts the broker behind the proxy, which loses nothing yet.
    async fn start(&self) -> (Broker, Client) {
        self.proxy.set_faults(0, 0);
        let advertised = format!("listener.advertised={}", self.proxy.addr());
        let broker = Broker::start(&self.data_dir, &self.log, &[&advertised, QUICK]);
        self.proxy.lead_to(broker.addr.parse().expect("an address"));
        let client = Client::connect(self.proxy.addr().to_string()).await;
        (broker, client.expect("the broker is ready"))
    }

    /// A client that does not wait long for a reply before it tries again.
    async fn impatient_client(&self) -> Client {
        let client = Client::builder().bootstrap(self.proxy.addr().to_string());
        client.request_timeout(REQUEST_TIMEOUT).build().await.expect("the broker is ready")
    }

    async fn check(&mut self, client: &Client, from_start: bool) {
        self.ledger.check(client, from_start).await;
        for side in &mut self.sides {
            side.check(client).await;
        }
    }

    async fn one_cycle(&mut self, cycle: u32) {
        let (broker, client) = self.start().await;
        if cycle == 0 {
            let spec = TopicSpec::new(TOPIC).partitions(PARTITIONS).config("segment.bytes", "1048576");
            client.admin().create_topic(spec).await.expect("a new topic");
            for policy in [Policy::Compact, Policy::Delete] {
                self.sides.extend(Side::create(&client, policy).await);
            }
        } else {
            self.check(&client, cycle.is_multiple_of(50)).await;
        }
        drop(client);
        let client = self.impatient_client().await;
        self.proxy.set_faults(REPLIES_LOST, REPLIES_CUT);
        let sides: Vec<_> = self.sides.iter_mut().map(|side| side.begin(&client, &mut self.rng)).collect();
        let load = Load::begin(&client, cycle, &mut self.rng);
        tokio::time::sleep(Duration::from_millis(20 + self.rng.below(500))).await;
        broker.kill();
        // Every acknowledgement counts: a process that is dead sends none.
        self.ledger.note(load, far_future()).await;
        for (side, load) in self.sides.iter_mut().zip(sides) {
            side.note(load).await;
        }
        if cycle % 5 == 4 {
            let mut process = Broker::spawn(&self.data_dir, &self.log, &[QUICK]);
            std::thread::sleep(Duration::from_millis(1 + self.rng.below(50)));
            process.kill().expect("it is ours to kill");
            process.wait().expect("it was started by us");
        }
    }
}

fn far_future() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

/// Kills a broker on `dir/data` so many times.
async fn kill_in(dir: &Path, log: &Path, name: &str, cycles: u64) {
    let (seed, begun) = (env("RINGLOG_SEED", 1), Instant::now());
    let mut kills = Loop {
        data_dir: dir.join("data"),
        log: log.join("broker.log"),
        rng: Rng(seed),
        ledger: Ledger::default(),
        sides: Vec::new(),
        proxy: Proxy::start(seed),
    };
    for cycle in 0..cycles as u32 {
        kills.one_cycle(cycle).await;
    }
    let (broker, client) = kills.start().await;
    kills.check(&client, true).await;
    drop((client, broker));
    let (acknowledged, found) = (kills.ledger.acknowledged(), kills.ledger.found());
    assert!(0 < acknowledged, "the loop tested nothing");
    for side in &kills.sides {
        println!("{}", side.summary());
    }
    let faults = kills.proxy.faults();
    let (lost, cut) = (&faults.lost_count, &faults.cut_count);
    println!("network: {lost:?} replies lost, {cut:?} connections cut");
    println!(
        "{cycles} kills on {name} (seed {seed}) in {:?}: {acknowledged} acknowledged, {found} found, \
         lost 0 duplicated 0 reordered 0",
        begun.elapsed()
    );
}

async fn kill_on(filesystem: Filesystem, cycles: u64) {
    let disk = match LoopDisk::new(&format!("kill-loop-{}", filesystem.name()), filesystem, DISK_MEGABYTES) {
        Ok(disk) => disk,
        Err(why) => return println!("not run on {}: {why}", filesystem.name()),
    };
    kill_in(&disk.at(), disk.outside(), filesystem.name(), env("RINGLOG_KILL_CYCLES", cycles)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_records_survive_sigkill() {
    let scratch = Scratch::new("kill-loop");
    kill_in(scratch.path(), scratch.path(), "this disk", env("RINGLOG_KILL_CYCLES", 50)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_records_survive_sigkill_on_xfs() {
    kill_on(Filesystem::Xfs, 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_records_survive_sigkill_on_ext4() {
    kill_on(Filesystem::Ext4, 5).await;
}
