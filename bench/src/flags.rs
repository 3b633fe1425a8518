//! The command line: what is asked for, in units that cannot be mixed up.
//!
//!     bench produce | consume | pubsub   [flags]      drive a broker, ours or one that is running
//!     bench limits                                    the raw limits of this machine alone
//!     bench __broker                                  the child process of an embedded broker
//!
//! Everything a run was told goes into the JSON under `config`, so that it can be run again.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use ringlog_client as client;
use serde::{Serialize, Serializer};

use crate::payload::Content;
use crate::units;
use crate::verify::stamp::VERIFIED_LEN_MIN;

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
    /// What loopback, disk and cores of this machine do without a broker.
    Limits(LimitsFlags),
    #[command(name = "__broker", hide = true)]
    Broker(BrokerFlags),
}

#[derive(Args, Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Flags {
    /// A broker that is running; without it one is started, and stopped at the end.
    #[arg(long, value_name = "HOST:PORT")]
    pub bootstrap: Option<String>,
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
    /// Partitions are dealt out to them; more consumers than partitions read the same ones.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parse_some)]
    pub consumers: usize,

    /// Bytes of a record's value.
    #[arg(long, value_name = "BYTES", default_value = "1k", value_parser = units::parse_bytes)]
    pub record_size: u64,
    /// How many records, all producers together.
    #[arg(long, value_name = "N", value_parser = units::parse_count)]
    pub records: Option<u64>,
    /// For how long [default: 10s, if no number of records is given].
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

    /// Number and checksum each record, and count what was lost, doubled, reordered, damaged.
    #[arg(long)]
    pub verify: bool,
    /// Write the results to a file, for tools.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
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

#[derive(Args, Clone, Debug)]
pub struct LimitsFlags {
    /// Where the disk is measured.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub data_dir: PathBuf,
    /// Cores that a broker would have.
    #[arg(long, value_name = "LIST", default_value = "0", value_delimiter = ',')]
    pub cpus: Vec<usize>,
    /// As JSON, with the keys of a run's `limits`.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Args, Clone, Debug)]
pub struct BrokerFlags {
    #[arg(long)]
    pub data_dir: PathBuf,
    #[arg(long, value_delimiter = ',')]
    pub cpus: Vec<usize>,
    #[arg(long)]
    pub broker_set: Vec<String>,
    #[arg(long)]
    pub parent: u32,
}

/// Which workload the flags are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    Produce,
    Consume,
    Pubsub,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Workload::Produce => "produce",
            Workload::Consume => "consume",
            Workload::Pubsub => "pubsub",
        })
    }
}

impl Flags {
    /// Whether each batch is stored once, however often it is sent: the client's default, where it can be.
    pub fn is_idempotent(&self) -> bool {
        matches!(self.acks, Acks::All) && self.in_flight <= client::limits::IN_FLIGHT_IDEMPOTENT_MAX
    }

    /// Tells the first thing that makes no sense, in words for the user.
    pub fn check(&self, workload: Workload) -> Result<(), String> {
        if self.verify && self.record_size < VERIFIED_LEN_MIN as u64 {
            return Err(format!("--verify needs records of {VERIFIED_LEN_MIN} bytes or more"));
        }
        let reads = workload != Workload::Produce;
        if self.verify && reads && self.consumers > self.partitions as usize {
            return Err("--verify needs a partition for each consumer: others read the same twice".to_owned());
        }
        if workload != Workload::Consume && self.records.is_some() && self.duration.is_some() {
            return Err("give --records or --duration, not both".to_owned());
        }
        if self.verify && workload == Workload::Consume && self.duration.is_some() {
            return Err("--verify reads a topic once, not for a --duration".to_owned());
        }
        if self.records == Some(0) || self.duration == Some(Duration::ZERO) {
            return Err("a run of nothing has no result".to_owned());
        }
        if self.rate.is_some() && self.outstanding.is_some() {
            return Err("--rate is an open loop, --outstanding a closed one".to_owned());
        }
        if self.rate.is_some() && workload == Workload::Consume {
            return Err("--rate is for what sends: produce and pubsub".to_owned());
        }
        if self.interval < Duration::from_millis(10) {
            return Err("--interval must be 10ms or more".to_owned());
        }
        let largest = client::limits::DECOMPRESSED_BATCH_BYTES_MAX as u64;
        if self.record_size > largest || self.buffer_bytes > u64::from(u32::MAX) || self.batch_bytes > largest
        {
            return Err("sizes of records and batches end at 128m, of buffers at 4g".to_owned());
        }
        Ok(())
    }

    /// With everything filled in that was left open, so that a report tells what was done.
    pub fn resolved(mut self, workload: Workload) -> Flags {
        if self.records.is_none() && workload == Workload::Consume {
            let records = PRELOAD_BYTES / self.record_size.max(1);
            self.records = Some(records.clamp(1, PRELOAD_RECORDS_MAX));
        } else if self.records.is_none() && self.duration.is_none() {
            self.duration = Some(DURATION);
        }
        let warmup = if self.duration.is_some() { WARMUP } else { Duration::ZERO };
        self.warmup.get_or_insert(warmup);
        self.cpus = self.broker_cpus();
        self
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

/// When a record counts as acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Acks {
    #[serde(rename = "0")]
    None,
    #[serde(rename = "1")]
    Leader,
    #[serde(rename = "all")]
    All,
}

impl FromStr for Acks {
    type Err = String;

    fn from_str(text: &str) -> Result<Acks, String> {
        match text {
            "0" => Ok(Acks::None),
            "1" => Ok(Acks::Leader),
            "all" | "-1" => Ok(Acks::All),
            _ => Err(format!("{text:?} is not a level of acknowledgement: it is one of 0, 1, all")),
        }
    }
}

impl fmt::Display for Acks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Acks::None => "0",
            Acks::Leader => "1",
            Acks::All => "all",
        })
    }
}

impl From<Acks> for client::Acks {
    fn from(acks: Acks) -> client::Acks {
        match acks {
            Acks::None => client::Acks::None,
            Acks::Leader => client::Acks::Leader,
            Acks::All => client::Acks::All,
        }
    }
}

/// Which keys records have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keys {
    None,
    /// Every record another one.
    Sequential,
    /// One of so many, evenly.
    Random(u64),
}

impl FromStr for Keys {
    type Err = String;

    fn from_str(text: &str) -> Result<Keys, String> {
        match (text, text.strip_prefix("rand:").map(units::parse_count)) {
            ("none", _) => Ok(Keys::None),
            ("seq", _) => Ok(Keys::Sequential),
            (_, Some(Ok(count))) if count > 0 => Ok(Keys::Random(count)),
            _ => Err(format!("{text:?} is not a kind of keys: it is one of none, seq, rand:N")),
        }
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Keys::None => f.write_str("none"),
            Keys::Sequential => f.write_str("seq"),
            Keys::Random(count) => write!(f, "rand:{count}"),
        }
    }
}

impl Serialize for Keys {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
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

const DURATION: Duration = Duration::from_secs(10);
const WARMUP: Duration = Duration::from_secs(1);
const PRELOAD_BYTES: u64 = 1 << 30;
const PRELOAD_RECORDS_MAX: u64 = 20_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(line: &str) -> Flags {
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
    fn cores_are_named_or_counted() {
        assert_eq!(flags("").broker_cpus(), [0]);
        assert_eq!(flags("--cpus 0,1").broker_cpus(), [0, 1]);
        assert_eq!(flags("--shards 2").broker_cpus(), [0, 1]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_words() {
        let why = |line, workload| flags(line).check(workload).unwrap_err();
        assert!(why("--verify --record-size 15", Workload::Produce).contains("16 bytes"));
        assert!(why("--verify --consumers 2", Workload::Pubsub).contains("partition for each"));
        assert!(why("--records 1 --duration 1s", Workload::Produce).contains("not both"));
        assert!(why("--rate 5 --outstanding 5", Workload::Pubsub).contains("open loop"));
        assert!(why("--records 0", Workload::Produce).contains("nothing"));
        assert_eq!(flags("--verify --record-size 16").check(Workload::Produce), Ok(()));
        assert_eq!(flags("--records 1 --duration 1s").check(Workload::Consume), Ok(()));
    }

    #[test]
    fn keys_acks_and_codecs_read_what_they_print() {
        for keys in ["none", "seq", "rand:1000"] {
            assert_eq!(flags(&format!("--key {keys}")).key.to_string(), keys);
        }
        for acks in ["0", "1", "all"] {
            assert_eq!(flags(&format!("--acks {acks}")).acks.to_string(), acks);
        }
        assert_eq!(flags("--compression lz4").compression, client::Codec::Lz4);
        for wrong in ["rand:0", "rand:", "random"] {
            assert!(wrong.parse::<Keys>().is_err(), "{wrong:?}");
        }
    }
}
