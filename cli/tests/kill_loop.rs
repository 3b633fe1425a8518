//! SIGKILL at random moments: whatever was acknowledged is there afterwards, once and in order.
//!
//!     serve ─ producers, acks=all ─ SIGKILL ─▶ serve again ─▶ read ─▶ check ─▶ next cycle
//!                                                  └ every fifth time killed once more while it recovers
//!
//! The broker is the real binary on the real disk. `RINGLOG_KILL_CYCLES=n` sets how many times it is
//! killed (20 by default), `RINGLOG_SEED=s` when. Each record says who sent it in which cycle as what
//! number; producers never repeat a record, so each may be there at most once.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ringlog_client::{Acks, Client, Codec, Offset, PartitionIndex, Record, StartAt, TopicSpec};

const TOPIC: &str = "kills";
const PRODUCERS: u32 = 6;
const PARTITIONS: u32 = 4;
/// Most records of a producer in a cycle, so that a long loop does not fill the disk.
const RECORDS_MAX: u32 = 4000;

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().expect("a number"))
}

/// Random numbers from one seed: SplitMix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

struct Broker {
    process: Child,
    addr: String,
}

impl Broker {
    fn spawn(data_dir: &Path) -> Child {
        Command::new(env!("CARGO_BIN_EXE_ringlog"))
            .args(["serve", "--listen", "127.0.0.1:0", "--set", "log.filter=warn"])
            .arg("--data-dir")
            .arg(data_dir)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary is built")
    }

    /// Starts the broker and waits until it is ready.
    fn start(data_dir: &Path) -> Broker {
        let mut process = Broker::spawn(data_dir);
        let mut line = String::new();
        let stdout = process.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("the broker speaks UTF-8");
        let addr =
            line.trim().strip_prefix("ringlog ready on ").unwrap_or_else(|| panic!("not ready: {line:?}"));
        Broker { addr: addr.to_owned(), process }
    }

    fn kill(mut self) {
        self.process.kill().expect("it is ours to kill");
        self.process.wait().expect("it was started by us");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it may have ended
        let _ = self.process.wait();
    }
}

/// Who sent a record, in which cycle, as which number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Stamp {
    cycle: u32,
    producer: u32,
    number: u32,
}

impl Stamp {
    fn to_value(self, filler: usize) -> Vec<u8> {
        let mut value = Vec::with_capacity(12 + filler);
        for part in [self.cycle, self.producer, self.number] {
            value.extend_from_slice(&part.to_le_bytes());
        }
        value.extend((0..filler).map(|n| (n as u32).wrapping_mul(self.number) as u8));
        value
    }

    fn from_value(value: &[u8]) -> Stamp {
        let part = |n: usize| u32::from_le_bytes(value[n * 4..n * 4 + 4].try_into().expect("4 bytes"));
        let stamp = Stamp { cycle: part(0), producer: part(1), number: part(2) };
        assert!(value == stamp.to_value(value.len() - 12), "the value of {stamp:?} was changed");
        stamp
    }
}

/// What was acknowledged, and what was found.
#[derive(Default)]
struct Ledger {
    acknowledged: BTreeMap<(PartitionIndex, Offset), Stamp>,
    /// How far each partition was found to reach, and that part of it was checked.
    checked: BTreeMap<PartitionIndex, Offset>,
    found: u64,
}

/// Produces until the broker is gone. Returns what was acknowledged.
async fn produce(
    client: Client,
    producer: u32,
    cycle: u32,
    seed: u64,
) -> Vec<(PartitionIndex, Offset, Stamp)> {
    let mut rng = Rng(seed);
    let codec = [Codec::None, Codec::Lz4][(producer % 2) as usize];
    let sender = client
        .producer()
        .acks(Acks::All)
        .compression(codec)
        .linger(Duration::from_millis(1))
        .build()
        .unwrap();
    let mut tickets = Vec::new();
    for number in 0..RECORDS_MAX {
        let stamp = Stamp { cycle, producer, number };
        let record = Record::to(TOPIC)
            .partition(producer % PARTITIONS)
            .value(stamp.to_value(rng.below(1500) as usize));
        match tokio::time::timeout(Duration::from_secs(1), sender.enqueue(record)).await {
            Ok(Ok(ticket)) => tickets.push((stamp, ticket)),
            _ => break, // the broker is gone and the buffer full
        }
        if rng.below(64) == 0 {
            tokio::time::sleep(Duration::from_micros(rng.below(3000))).await;
        }
    }
    // What has no answer when the broker is dead never gets one: the sender must not try again.
    let mut acknowledged = Vec::new();
    for (stamp, ticket) in tickets {
        if let Ok(Ok(delivery)) = tokio::time::timeout(Duration::from_millis(300), ticket).await {
            let offset = delivery.offset.expect("acks=all names the offset");
            acknowledged.push((delivery.partition, offset, stamp));
        } else {
            break;
        }
    }
    acknowledged
}

/// Reads from the last checked offset on, or from the start, and compares.
async fn check(client: &Client, ledger: &mut Ledger, from_start: bool) {
    if from_start {
        ledger.checked.clear();
        ledger.found = 0;
    }
    for partition in (0..PARTITIONS).map(PartitionIndex::new) {
        let start = ledger.checked.get(&partition).copied().unwrap_or(Offset::ZERO);
        let admin = client.admin();
        let latest = admin.list_offsets(TOPIC, partition, ringlog_client::OffsetSpec::Latest);
        let end = latest.await.expect("the broker answers").offset.expect("every partition has an end");
        let last_acknowledged =
            ledger.acknowledged.range((partition, Offset::ZERO)..=(partition, Offset::MAX)).next_back();
        if let Some(((_, last), stamp)) = last_acknowledged {
            assert!(
                *last < end,
                "partition {partition} ends at {end}: {stamp:?} was acknowledged at {last} and is lost"
            );
        }
        let found = read(client, partition, start, end).await;
        assert_eq!(
            found.len() as u64,
            end.get() - start.get(),
            "partition {partition}: offsets are not dense"
        );
        check_partition(ledger, partition, start, &found);
        ledger.found += found.len() as u64;
        ledger.checked.insert(partition, end);
    }
}

async fn read(client: &Client, partition: PartitionIndex, start: Offset, end: Offset) -> Vec<Stamp> {
    let mut found = Vec::new();
    if start == end {
        return found;
    }
    let reader = client.reader().topic(TOPIC).partitions(vec![partition.get()]).start(StartAt::Offset(start));
    let mut reader = reader.build().await.expect("the topic survived");
    let mut expected = start.get();
    while expected < end.get() {
        for record in reader.recv_batch(10_000).await.expect("readable") {
            assert_eq!(record.offset.get(), expected, "partition {partition}");
            expected += 1;
            found.push(Stamp::from_value(&record.value.expect("every record has a value")));
        }
    }
    found
}

fn check_partition(ledger: &Ledger, partition: PartitionIndex, start: Offset, found: &[Stamp]) {
    let mut seen = HashSet::new();
    let mut next_number: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    for (offset, stamp) in (start.get()..).map(Offset::new).zip(found) {
        assert!(seen.insert(*stamp), "partition {partition}: {stamp:?} is there twice");
        // A cycle's records of a producer are there from the first one on, without a gap: nothing
        // that was lost precedes something that was kept.
        let next = next_number.entry((stamp.cycle, stamp.producer)).or_default();
        assert_eq!(
            stamp.number, *next,
            "partition {partition} at {offset}: {stamp:?} follows a hole or is out of order"
        );
        *next += 1;
    }
    let acknowledged = ledger.acknowledged.range((partition, start)..=(partition, Offset::MAX));
    for ((_, offset), stamp) in acknowledged {
        let index = (offset.get() - start.get()) as usize;
        assert_eq!(found.get(index), Some(stamp), "partition {partition} at {offset}: lost or changed");
    }
}

async fn one_cycle(data_dir: &Path, cycle: u32, rng: &mut Rng, ledger: &mut Ledger) {
    let broker = Broker::start(data_dir);
    let client = Client::connect(broker.addr.clone()).await.expect("the broker is ready");
    if cycle == 0 {
        let spec = TopicSpec::new(TOPIC).partitions(PARTITIONS).config("segment.bytes", "1048576");
        client.admin().create_topic(spec).await.expect("a new topic");
    } else {
        check(&client, ledger, cycle.is_multiple_of(50)).await;
    }
    let producers: Vec<_> =
        (0..PRODUCERS).map(|n| tokio::spawn(produce(client.clone(), n, cycle, rng.next()))).collect();
    tokio::time::sleep(Duration::from_millis(20 + rng.below(500))).await;
    broker.kill();
    for producer in producers {
        for (partition, offset, stamp) in producer.await.expect("a producer does not panic") {
            let before = ledger.acknowledged.insert((partition, offset), stamp);
            assert_eq!(before, None, "offset {offset} of partition {partition} was given out twice");
        }
    }
    if cycle % 5 == 4 {
        let mut process = Broker::spawn(data_dir);
        std::thread::sleep(Duration::from_millis(1 + rng.below(50)));
        process.kill().expect("it is ours to kill");
        process.wait().expect("it was started by us");
    }
}

fn scratch() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kill-loop-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("the target directory is writable");
    dir
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_records_survive_sigkill() {
    let (cycles, seed) = (env("RINGLOG_KILL_CYCLES", 20), env("RINGLOG_SEED", 1));
    let (mut rng, mut ledger, begun) = (Rng(seed), Ledger::default(), Instant::now());
    let scratch = scratch();
    let data_dir = scratch.join("data");
    for cycle in 0..cycles as u32 {
        one_cycle(&data_dir, cycle, &mut rng, &mut ledger).await;
    }
    let broker = Broker::start(&data_dir);
    let client = Client::connect(broker.addr.clone()).await.expect("the broker is ready");
    check(&client, &mut ledger, true).await;
    drop((client, broker));
    std::fs::remove_dir_all(&scratch).expect("ours to remove");
    let (acknowledged, found) = (ledger.acknowledged.len(), ledger.found);
    assert!(0 < acknowledged, "the loop tested nothing");
    println!(
        "{cycles} kills (seed {seed}) in {:?}: {acknowledged} acknowledged, {found} found, lost 0 duplicated 0 reordered 0",
        begun.elapsed()
    );
}
