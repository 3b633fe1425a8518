//! The command line: what is asked for, in units that cannot be mixed up.
//!
//!     bench produce | consume | pubsub | drain | mixed      drive a broker, ours or one that is running
//!     bench fanout | rebalance | groups                     the same through groups of consumers
//!     bench suite | sweep                                   many of these, each in a process of its own
//!     bench compare A.json B.json                           two results beside each other
//!     bench limits                                          the raw limits of this machine alone
//!     bench __broker                                        the child process of an embedded broker
//!
//! Everything a run was told goes into the JSON under `config`, so that it can be run again.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use ringlog_client as client;
use serde::{Serialize, Serializer};

use crate::gate::Condition;
use crate::payload::Content;
use crate::units;

mod values;
pub use values::{Acks, Keys, Workload};

mod mix;
pub use mix::Stream;

mod groups;
pub use groups::GroupFlags;

mod tools;
pub use tools::{BrokerFlags, CompareFlags, LimitsFlags, SuiteFlags, SweepFlags};

mod check;

/// Throughput, latency and truthfulness of a Ringlog broker.
#[derive(Parser, Debug)]
#[command(name = "bench", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Producers alone: throughput and time to the acknowledgement.
    Produce(Flags),
    /// Fill a topic, then read it from the start.
    Consume(Flags),
    /// Producers and consumers at once: end-to-end latency.
    Pubsub(Flags),
    /// Write a history, then read it from the start while producers go on at --rate: what reading costs
    /// them.
    Drain(Flags),
    /// Several topics at once, with records of different sizes: see --mix.
    Mixed(Flags),
    /// Producers and several groups of consumers, each of which gets everything.
    Fanout(Flags),
    /// One group under load: a member joins, later one leaves. How long is each partition silent?
    Rebalance(Flags),
    /// Groups that read nothing: what joining and heartbeats cost the broker.
    Groups(Flags),
    /// The scenarios B1 to B15, a broker of its own for each, and one table.
    Suite(SuiteFlags),
    /// One parameter over several values, alternated, medians beside each other.
    Sweep(SweepFlags),
    /// What got better and what got worse from one result to another (also: bench --compare A B).
    #[command(long_flag = "compare")]
    Compare(CompareFlags),
    /// What loopback, disk and cores of this machine do without a broker.
    Limits(LimitsFlags),
    #[command(name = "__broker", hide = true)]
    Broker(BrokerFlags),
}

impl Command {
    /// What a command that drives a broker is told.
    #[cfg(test)]
    pub fn workload(&self) -> Option<(Workload, &Flags)> {
        match self {
            Command::Produce(flags) => Some((Workload::Produce, flags)),
            Command::Consume(flags) => Some((Workload::Consume, flags)),
            Command::Pubsub(flags) => Some((Workload::Pubsub, flags)),
            Command::Drain(flags) => Some((Workload::Drain, flags)),
            Command::Mixed(flags) => Some((Workload::Mixed, flags)),
            Command::Fanout(flags) => Some((Workload::Fanout, flags)),
            Command::Rebalance(flags) => Some((Workload::Rebalance, flags)),
            Command::Groups(flags) => Some((Workload::Groups, flags)),
            _ => None,
        }
    }
}

#[derive(Args, Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Flags {
    /// A broker that is running; without it one is started, and stopped at the end.
    #[arg(long, value_name = "HOST:PORT")]
    pub bootstrap: Option<String>,
    /// Send and read by librdkafka, through the broker's Kafka listener.
    #[arg(long)]
    pub kafka: bool,
    /// The Kafka listener of the broker that is running.
    #[arg(long, value_name = "HOST:PORT", requires_all = ["kafka", "bootstrap"])]
    pub kafka_bootstrap: Option<String>,
    /// Where the embedded broker makes its own directory, which is removed at the end [default: here].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Cores of the embedded broker, one shard each; the client gets the others.
    #[arg(long, value_name = "LIST", default_value = "0", value_delimiter = ',')]
    pub cpus: Vec<usize>,
    /// The same as naming the first N cores.
    #[arg(long, value_name = "N", conflicts_with = "cpus")]
    pub shards: Option<usize>,
    /// A setting of the embedded broker: `--broker-set shards.cache_bytes=64MiB`.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub broker_set: Vec<String>,

    /// Made if it does not exist, and deleted at the end if it was made.
    #[arg(long, value_name = "NAME", default_value = "bench")]
    pub topic: String,
    /// Of the topic, if it is made.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub partitions: u32,
    /// Configuration of the topic, if it is made: `--topic-config flush.ms=1000`.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub topic_config: Vec<(String, String)>,

    /// Each has its own client and its own connections.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parse_some)]
    pub producers: usize,
    /// Partitions are dealt out to them; more consumers than partitions read the same ones. Of fanout and groups:
    /// in each group, which shares the partitions out itself.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parse_some)]
    pub consumers: usize,

    /// Bytes of a record's value.
    #[arg(long, value_name = "BYTES", default_value = "1k", value_parser = units::parse_bytes)]
    pub record_size: u64,
    /// How many records, all producers together; of a mix, in each topic; of a drain, its history.
    #[arg(long, value_name = "N", value_parser = units::parse_count)]
    pub records: Option<u64>,
    /// For how long [default: 10s, if no number of records is given]; of a drain, the producers alone [3s]; of a
    /// rebalance, before the first change [3s].
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration)]
    #[serde(serialize_with = "optional_seconds")]
    pub duration: Option<Duration>,
    /// Not measured [default: 1s before a duration, none before a number of records].
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration)]
    #[serde(serialize_with = "optional_seconds")]
    pub warmup: Option<Duration>,

    /// Open loop: records a second, all producers together; latency counts from the intended send.
    #[arg(long, value_name = "N/s", value_parser = units::parse_rate)]
    pub rate: Option<f64>,
    /// Closed loop: unacknowledged records of each producer [default: what its buffer holds].
    #[arg(long, value_name = "N", value_parser = parse_some)]
    pub outstanding: Option<usize>,
    /// Batches of a partition that are under way at a time; above 5 the producers are not idempotent: a
    /// broker remembers no more of each.
    #[arg(long, value_name = "N", default_value_t = client::limits::IN_FLIGHT_PER_PARTITION, value_parser = parse_some)]
    pub in_flight: usize,
    /// A batch is sent when it has this size; 1 sends each record by itself.
    #[arg(long, value_name = "BYTES", default_value = "64k", value_parser = units::parse_bytes)]
    pub batch_bytes: u64,
    /// Unacknowledged bytes of each producer.
    #[arg(long, value_name = "BYTES", default_value = "32m", value_parser = units::parse_bytes)]
    pub buffer_bytes: u64,
    /// How long a batch waits for more records.
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = units::parse_duration)]
    #[serde(serialize_with = "seconds")]
    pub linger: Duration,
    /// One of none, lz4, zstd, snappy, gzip.
    #[arg(long, value_name = "CODEC", default_value = "none")]
    #[serde(serialize_with = "as_text")]
    pub compression: client::Codec,
    /// 0: none, 1: the leader, all: every replica in sync.
    #[arg(long, value_name = "ACKS", default_value = "all")]
    pub acks: Acks,
    /// none, seq: every record another, rand:N: one of N.
    #[arg(long, value_name = "KEYS", default_value = "none")]
    pub key: Keys,
    /// rand, text: lz4 makes it four times smaller, zero.
    #[arg(long, value_name = "CONTENT", default_value = "rand")]
    pub payload: Content,
    /// Ignore which shard owns a partition: the broker forwards from core to core.
    #[arg(long)]
    pub no_routing: bool,

    #[command(flatten)]
    #[serde(flatten)]
    pub group: GroupFlags,

    /// So many clients connect, ask one thing, and are gone, over and over, beside the load.
    #[arg(long, value_name = "N", value_parser = parse_some)]
    pub churn: Option<usize>,
    /// Of produce: kill the embedded broker (SIGKILL) after the load, start it again on what it left, and
    /// read everything.
    #[arg(long)]
    pub kill: bool,
    /// A topic of `mixed`: NAME:size=1k,partitions=4,rate=10k,compression=lz4,key=rand:100,payload=text,producers=1.
    #[arg(long, value_name = "NAME:KEY=VALUE,…")]
    pub mix: Vec<Stream>,

    /// Number and checksum each record, and count what was lost, doubled, reordered, damaged.
    #[arg(long)]
    pub verify: bool,
    /// Write the results to a file, for tools.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the intervals to a file, for spreadsheets.
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write the latencies to a file, for HdrHistogram's plotter.
    #[arg(long, value_name = "FILE")]
    pub hgrm: Option<PathBuf>,
    /// Write a page with charts to a file, for people.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// End with exit code 9 if this holds: 'p99>5ms', 'mb_per_s<100', 'e2e.p99>=10ms', 'lost>0'.
    #[arg(long, value_name = "CONDITION")]
    pub fail_if: Vec<Condition>,
    /// Time between two lines of the report.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::parse_duration)]
    #[serde(serialize_with = "seconds")]
    pub interval: Duration,
    /// Do not measure this machine's limits beside the run.
    #[arg(long)]
    pub no_limits: bool,
    /// Of payloads and keys.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

impl Flags {
    /// Whether each batch is stored once, however often it is sent: the client's default, where it can be.
    pub fn is_idempotent(&self) -> bool {
        matches!(self.acks, Acks::All) && self.in_flight <= client::limits::IN_FLIGHT_IDEMPOTENT_MAX
    }

    /// With everything filled in that was left open, so that a report tells what was done.
    pub fn resolved(mut self, workload: Workload) -> Flags {
        let needs_history = matches!(workload, Workload::Consume | Workload::Drain);
        if self.records.is_none() && needs_history {
            let records = PRELOAD_BYTES / self.record_size.max(1);
            self.records = Some(records.clamp(1, PRELOAD_RECORDS_MAX));
        }
        if workload == Workload::Drain {
            self.duration.get_or_insert(DRAIN_ALONE);
            if self.outstanding.is_none() {
                self.rate.get_or_insert(DRAIN_RATE);
            }
        }
        if workload == Workload::Rebalance {
            self.duration.get_or_insert(REBALANCE_ALONE);
            self.rate.get_or_insert(REBALANCE_RATE * f64::from(self.partitions));
        }
        if workload == Workload::Mixed && self.mix.is_empty() {
            self.mix = Stream::default_mix();
        }
        if self.records.is_none() && self.duration.is_none() {
            self.duration = Some(DURATION);
        }
        let warmup = if self.duration.is_some() { WARMUP } else { Duration::ZERO };
        self.warmup.get_or_insert(warmup);
        self.cpus = self.broker_cpus();
        self
    }

    /// One read of the topic that a run with these flags has left.
    pub fn of_reading_all(&self) -> Flags {
        // Of a topic that is gone, it and its records: then almost all are missing, and that is told.
        let records = Some(1);
        let warmup = Some(Duration::ZERO);
        Flags { records, warmup, duration: None, rate: None, churn: None, verify: false, ..self.clone() }
    }

    pub fn warmup(&self) -> Duration {
        self.warmup.unwrap_or_default()
    }

    /// Cores of an embedded broker.
    pub fn broker_cpus(&self) -> Vec<usize> {
        self.shards.map_or_else(|| self.cpus.clone(), |shards| (0..shards).collect())
    }

    /// As the constructors of payloads want it; `check` has bounded it.
    pub fn record_len(&self) -> usize {
        usize::try_from(self.record_size).expect("BUG: check() bounds the size")
    }

    pub fn topic_configs(&self) -> BTreeMap<String, String> {
        self.topic_config.iter().cloned().collect()
    }
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// A count above 0.
fn parse_some(text: &str) -> Result<usize, String> {
    match units::parse_count(text).map(usize::try_from)? {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("it must be 1 or more".to_owned()),
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn optional_seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_secs_f64()).serialize(serializer)
}

fn as_text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn as_name<S: Serializer>(assignor: &client::Assignor, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(assignor.name())
}

const DURATION: Duration = Duration::from_secs(10);
/// How long a drain's producers are alone.
const DRAIN_ALONE: Duration = Duration::from_secs(3);
const DRAIN_RATE: f64 = 10_000.0;
/// How long a group reads before it is changed.
const REBALANCE_ALONE: Duration = Duration::from_secs(3);
/// For each partition.
const REBALANCE_RATE: f64 = 10.0;
const WARMUP: Duration = Duration::from_secs(1);
const PRELOAD_BYTES: u64 = 1 << 30;
const PRELOAD_RECORDS_MAX: u64 = 20_000_000;

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn flags(line: &str) -> Flags {
        let words = ["bench", "produce"].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line:?}: {error}")).command {
            Command::Produce(flags) => flags,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_run_is_ten_seconds_after_one_unless_told_otherwise() {
        let resolved = |line| {
            let flags = flags(line).resolved(Workload::Produce);
            (flags.records, flags.duration, flags.warmup())
        };
        assert_eq!(resolved(""), (None, Some(DURATION), WARMUP));
        assert_eq!(resolved("--duration 3s"), (None, Some(Duration::from_secs(3)), WARMUP));
        assert_eq!(resolved("--records 5k"), (Some(5000), None, Duration::ZERO));
        assert_eq!(resolved("--records 5k --warmup 2s"), (Some(5000), None, Duration::from_secs(2)));
    }

    #[test]
    fn consume_reads_a_gibibyte_once_unless_told_otherwise() {
        let resolved = |line| {
            let flags = flags(line).resolved(Workload::Consume);
            (flags.records, flags.duration, flags.warmup())
        };
        assert_eq!(resolved(""), (Some(1 << 20), None, Duration::ZERO));
        assert_eq!(resolved("--duration 3s"), (Some(1 << 20), Some(Duration::from_secs(3)), WARMUP));
    }

    #[test]
    fn a_drain_has_a_history_and_a_rate() {
        let flags = flags("").resolved(Workload::Drain);
        assert_eq!((flags.records, flags.rate), (Some(1 << 20), Some(DRAIN_RATE)));
        assert_eq!((flags.duration, flags.warmup()), (Some(DRAIN_ALONE), WARMUP));
    }

    #[test]
    fn a_rebalance_has_a_rate_for_each_partition() {
        let flags = flags("--partitions 30").resolved(Workload::Rebalance);
        assert_eq!((flags.rate, flags.duration), (Some(300.0), Some(REBALANCE_ALONE)));
    }

    #[test]
    fn compare_is_a_subcommand_and_a_flag() {
        for line in [["bench", "compare", "a", "b"], ["bench", "--compare", "a", "b"]] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert!(matches!(cli.command, Command::Compare(_)), "{line:?}");
        }
    }

    #[test]
    fn cores_are_named_or_counted() {
        assert_eq!(flags("").broker_cpus(), [0]);
        assert_eq!(flags("--cpus 0,1").broker_cpus(), [0, 1]);
        assert_eq!(flags("--shards 2").broker_cpus(), [0, 1]);
    }
}
