//! Configuration: what four sources said becomes one checked value, passed to whoever needs it.
//!
//!     keys (defaults) ─┐
//!     TOML file        ├──▶ RawConfig ──resolve──▶ Config ──check──▶ Broker::start
//!     environment      │    text + origin          types
//!     --set            ┘    later ones win
//!
//! Nothing is global and nothing is read later: a broker knows only its `Config`. Every mistake is
//! reported at once, with where it was made: `ringlog.toml:12`, `RINGLOG__SHARDS__CPUS`, `--set`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use protocol::model::NodeId;

use crate::groups::GroupConfig;

mod keys;
pub use keys::reference;

mod raw;
use raw::RawConfig;

mod resolve;
pub use resolve::load;

mod memory;

mod value;
pub use value::parse_duration;

mod topic;
mod topic_value;
pub use topic::{InvalidTopicConfig, Kind, TopicConfig, TopicDefaults};

mod error;
pub use error::{ConfigError, Origin, Problem};

#[cfg(test)]
mod tests;

/// Everything a broker is told. What each field means, its unit and its default stand in keys.rs and,
/// generated from there, in docs/config.md.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// `broker.data_dir`: where everything that must survive is kept.
    pub data_dir: PathBuf,
    /// `broker.node_id`: this broker's number in the cluster; 1.
    pub node_id: NodeId,
    /// `broker.memory_limit`: bytes the broker may take in all; no limit.
    pub memory_limit: Option<usize>,
    /// `listener.addr`: where the native protocol is served; 127.0.0.1:7070. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// `listener.advertised`: what clients are told to connect to, if it is not `listen`.
    pub advertised: Option<(String, u16)>,
    /// `listener.insecure`: whether others than this machine may connect although nobody is asked
    /// who they are.
    pub insecure: bool,
    /// `listener.connections_max`: connections open at a time, all shards together; 10,000.
    pub connections_max: usize,
    /// `listener.frame_bytes_max`: largest frame body in bytes; 16 MiB.
    pub frame_bytes_max: usize,
    /// `listener.hello_timeout`: a connection without a Hello is closed after this; 5 s.
    pub hello_timeout: Duration,
    /// `kafka.*`: the listener for Kafka's clients.
    pub kafka: KafkaConfig,
    /// `shards.cpus`: one shard for each, pinned to it; all this process may run on. Never empty,
    /// ascending.
    pub cpus: Vec<usize>,
    /// `shards.io_memory`: bytes a shard registers for I/O; 64 MiB.
    pub io_memory: usize,
    /// `shards.request_bytes`: bytes a shard promises to requests being read or waited for; 64 MiB.
    pub request_bytes: usize,
    /// `shards.cache_bytes`: bytes of recently written chunks a shard keeps for its readers; 32 MiB.
    pub cache_bytes: usize,
    /// `shards.connection_out_bytes`: replies a connection may owe before it is not read from; 4 MiB.
    pub connection_out_bytes: usize,
    /// `shards.preempt_timer`: how long a task may run before the others get a turn; 1 ms.
    pub preempt_timer: Duration,
    /// `storage.free_bytes_min`: bytes of free disk below which produce is refused; 256 MiB.
    pub free_bytes_min: u64,
    /// `storage.checkpoint_interval`: how often recovery's starting point is written; 10 s.
    pub checkpoint_interval: Duration,
    /// `storage.files_max`: segment files a shard keeps open; 4096.
    pub files_max: usize,
    /// `storage.compaction_bytes`: memory for the keys of a pass of compaction; 16 MiB.
    pub compaction_bytes: usize,
    /// `storage.scrub_bytes_per_s`: how fast closed segments are read again; 4 MiB, 0 never.
    pub scrub_bytes_per_s: u64,
    /// `storage.scrub_interval`: from the begin of one such pass to that of the next; 24 h.
    pub scrub_interval: Duration,
    /// `group.*`: what groups are held to.
    pub groups: GroupConfig,
    /// `group.offsets_partitions`: partitions of `__consumer_offsets` when it is made; 50.
    pub offsets_partitions: u32,
    /// `topic.*`: what a topic gets that does not say otherwise.
    pub topic_defaults: TopicDefaults,
    /// `log.filter`: what is logged; "info".
    pub log_filter: String,
    /// `log.format`: how it is logged; text.
    pub log_format: LogFormat,
}

/// What is told about the listener for Kafka's clients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KafkaConfig {
    /// `kafka.addr`: where Kafka's protocol is served; 127.0.0.1:9092. `None` for nowhere.
    pub listen: Option<SocketAddr>,
    /// `kafka.advertised`: what clients are told to connect to, if it is not `listen`.
    pub advertised: Option<(String, u16)>,
    /// `kafka.auto_create_topics`: whether a topic is made when a client asks for it; false.
    pub auto_create_topics: bool,
    /// `kafka.connections_idle_max`: a connection without a request is closed after this; 10 min.
    pub connections_idle_max: Duration,
}

/// How a line of the log looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Config {
    /// The defaults, on a free port of this machine and without Kafka's: for tests, and for brokers inside
    /// other programs.
    pub fn ephemeral(data_dir: PathBuf) -> Config {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let defaults = resolve::defaults();
        let kafka = KafkaConfig { listen: None, ..defaults.kafka };
        Config { data_dir: resolve::absolute(data_dir), listen, kafka, ..defaults }
    }

    /// Every rule that a field can break, alone or with another. [`load`] has asked already; who
    /// builds or changes a `Config` by hand asks again.
    pub fn check(&self) -> Result<(), ConfigError> {
        resolve::check(self)
    }
}
