//! The keys: name, type, default, bounds and meaning of each, in one table.
//!
//!     keys! table ──▶ constants that resolve.rs reads by     (a typo does not compile)
//!                 ──▶ nearest match for unknown keys
//!                 ──▶ docs/config.md                          (a test compares)
//!
//! A default is text and goes through the same parser as what a user writes.

use std::fmt::Write as _;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use protocol::model::limits::{BATCH_BYTES_MAX, FRAME_BODY_BYTES_MAX, PARTITIONS_PER_TOPIC_MAX};

use super::LogFormat;
use storage::log::{Cleanup, DirtyRatio};

use super::value::{
    Advertised, Count, CountLimit, Cpus, Listen, Millis, MillisLimit, Size, SizeLimit, Value, show_micros,
    show_size,
};

/// A key whose value is a `T`.
pub struct Key<T> {
    pub info: Info,
    value: PhantomData<fn() -> T>,
}

/// What is known of a key, whatever its type.
#[derive(Clone, Copy)]
pub struct Info {
    /// `section.key`.
    pub name: &'static str,
    pub kind: &'static str,
    pub default: &'static str,
    /// Smallest and largest value, in bytes, in microseconds, or plainly counted.
    pub bounds: Option<(u64, u64)>,
    /// Whole sentences for docs/config.md.
    pub about: &'static str,
}

impl<T: Value> Key<T> {
    const fn new(
        name: &'static str,
        default: &'static str,
        bounds: Option<(u64, u64)>,
        about: &'static str,
    ) -> Key<T> {
        Key { info: Info { name, kind: T::KIND, default, bounds, about }, value: PhantomData }
    }
}

impl Info {
    pub fn section(&self) -> &'static str {
        self.name.split_once('.').expect("BUG: a key is section.key").0
    }

    /// A number of this key's unit, as a person writes it.
    pub fn show(&self, number: u64) -> String {
        match self.kind {
            Size::KIND => show_size(number),
            Duration::KIND => show_micros(number),
            _ => number.to_string(),
        }
    }
}

macro_rules! keys {
    ($($constant:ident: $value:ty = $name:literal, $default:literal, $bounds:expr, $about:literal;)*) => {
        $(pub const $constant: Key<$value> = Key::new($name, $default, $bounds, $about);)*

        /// All keys, section by section, as the reference has them.
        pub const ALL: &[Info] = &[$($constant.info),*];
    };
}

keys! {
    DATA_DIR: PathBuf = "broker.data_dir", "./ringlog-data", None,
        "Where everything that must survive is kept; created if it does not exist, and locked while \
         the broker runs. A relative path is relative to the working directory. Use a local ext4 or \
         xfs: the log is written with O_DIRECT, which tmpfs and network file systems do not offer as \
         a disk does.";
    NODE_ID: Count = "broker.node_id", "1", Some((1, i32::MAX as u64)),
        "This broker's number. Each broker of a cluster has its own, and keeps it. Kafka's clients know 31 bits \
         of it.";

    MEMORY_LIMIT: SizeLimit = "broker.memory_limit", "-1", None,
        "Memory the broker may take in all, whatever its clients do. `shards.io_memory`, `shards.request_bytes`, \
         `shards.cache_bytes` and `storage.compaction_bytes` of every shard have to fit, with 24 MiB for the process \
         and 16 MiB for each shard: those of them that are not set are lowered until they do, and where that is \
         not enough the broker does not start. Replies that clients do not read (`shards.connection_out_bytes`) \
         keep memory beyond it.";

    LISTEN: SocketAddr = "listener.addr", "127.0.0.1:7070", None,
        "Where the native protocol is served. Port 0 takes a free one, which the broker prints. \
         Anything but a loopback address needs `listener.insecure`, as long as clients are not asked \
         who they are.";
    ADVERTISED: Advertised = "listener.advertised", "", None,
        "What clients are told to connect to, if it is not `listener.addr`: behind NAT, in a container, \
         or when listening on 0.0.0.0, which nobody can connect to.";
    INSECURE: bool = "listener.insecure", "false", None,
        "Whether others than this machine may connect although there is no authentication yet: \
         whoever reaches the port can read, write and delete everything.";
    CONNECTIONS_MAX: Count = "listener.connections_max", "10000", Some((1, 1_000_000)),
        "Connections open at a time, all shards together. Above it new ones are closed at once. An idle \
         connection costs some 50 KiB and a file descriptor.";
    FRAME_BYTES_MAX: Size = "listener.frame_bytes_max", "16 MiB",
        Some((FRAME_BYTES_MIN, FRAME_BODY_BYTES_MAX as u64)),
        "Largest request the broker reads; a longer one ends its connection before anything is allocated. \
         It must hold what clients send together, up to 8 MiB.";
    HELLO_TIMEOUT: Duration = "listener.hello_timeout", "5s", Some((100_000, 600_000_000)),
        "A connection that has not said Hello in this time is closed, so that port scanners and wrong \
         protocols hold nothing.";

    KAFKA_LISTEN: Listen = "kafka.addr", "127.0.0.1:9092", None,
        "Where Kafka's protocol is served, to kcat, librdkafka, the Java clients and all others: the same \
         topics and groups as by the native protocol. Port 0 takes a free one, which the broker prints; \
         `none` serves nobody. What is said of `listener.addr`, `listener.insecure`, `connections_max` and \
         `frame_bytes_max` holds here too.";
    KAFKA_ADVERTISED: Advertised = "kafka.advertised", "", None,
        "What Kafka's clients are told to connect to (Kafka's `advertised.listeners`), if it is not \
         `kafka.addr`.";
    KAFKA_AUTO_CREATE_TOPICS: bool = "kafka.auto_create_topics", "false", None,
        "Whether a topic that a Kafka client asks for is made, with the defaults of `topic.*` (Kafka's \
         `auto.create.topics.enable`). A misspelt name is then a new topic.";
    KAFKA_CONNECTIONS_IDLE_MAX: Duration = "kafka.connections_idle_max", "10min", Some((1_000_000, 604_800_000_000)),
        "How long a connection of a Kafka client may be without a request before it is closed (Kafka's \
         `connections.max.idle.ms`). Clients connect again when they have something to say.";

    CPUS: Cpus = "shards.cpus", "all", None,
        "Cores to run on, one shard pinned to each: `all` that the process may use (its affinity mask, \
         as taskset, cgroups or systemd set it), or a list such as `0,2-3`. Leave a core free for clients \
         on the same machine.";
    IO_MEMORY: Size = "shards.io_memory", "64 MiB", Some((4 << 20, 4 << 30)),
        "Memory a shard allocates at start for its reads and writes, and registers with io_uring where \
         the memlock limit allows. Chunks, caches and read-ahead come from here first.";
    REQUEST_BYTES: Size = "shards.request_bytes", "64 MiB", Some((1 << 20, 1 << 40)),
        "Memory a shard promises to requests that are being read or wait for the disk. Without credit it \
         does not read from its sockets, so clients slow down and the broker does not run out of memory. \
         At least `listener.frame_bytes_max`.";
    CACHE_BYTES: Size = "shards.cache_bytes", "32 MiB", Some((1 << 20, 1 << 40)),
        "What a shard keeps of the data it wrote last. Consumers that keep up are served from here; older \
         records are read from disk.";
    CONNECTION_OUT_BYTES: Size = "shards.connection_out_bytes", "4 MiB", Some((64 << 10, 1 << 30)),
        "Replies that a connection may have waiting, with what is read from disk for it. Above it the broker reads \
         no further request from it: a client that does not read its replies holds up nobody but itself.";
    PREEMPT_TIMER: Duration = "shards.preempt_timer", "1ms", Some((100, 1_000_000)),
        "How long a task of a shard may run before the others get their turn. Longer is up to 4 % faster \
         in throughput and makes control requests wait: 100 ms costs them 75 to 198 ms under load.";

    FREE_BYTES_MIN: Size = "storage.free_bytes_min", "256 MiB", Some((0, 64 << 40)),
        "With less free space than this on the disk, produce is refused (DiskFull, which clients retry); \
         fetch and delete go on, and produce resumes by itself when there is space.";
    CHECKPOINT_INTERVAL: Duration = "storage.checkpoint_interval", "10s", Some((100_000, 3_600_000_000)),
        "How often the point from which recovery has to read is written. After a crash a broker reads \
         what it wrote since: shorter starts faster, longer writes less.";
    FILES_MAX: Count = "storage.files_max", "4096", Some((16, 1_000_000)),
        "Segment files a shard keeps open. Others are opened when they are read or written, and the longest \
         unused is closed. Lowered at start where the process may not open that many; see `ulimit -n`.";
    COMPACTION_BYTES: Size = "storage.compaction_bytes", "16 MiB", Some((64 << 10, 64 << 30)),
        "Memory a shard takes for the keys of one pass of compaction, about 48 bytes each. A log with more \
         keys takes several passes.";
    SCRUB_BYTES_PER_S: Size = "storage.scrub_bytes_per_s", "4 MiB", Some((0, 16 << 30)),
        "How fast a shard reads its closed segments again to find damage before a consumer does; 0 never.";
    SCRUB_INTERVAL: Duration = "storage.scrub_interval", "24h", Some((1_000_000, 31_536_000_000_000)),
        "How long after the begin of one such pass the next one begins.";
    PRODUCER_ID_EXPIRATION: Duration = "storage.producer_id_expiration", "1d", Some((1_000, 31_536_000_000_000)),
        "Kafka's `producer.id.expiration.ms`: an idempotent producer that has written nothing to a partition \
         for this long is forgotten there. A batch that it sends again after that may be stored twice, so \
         this is longer than any producer's delivery timeout.";

    GROUP_SESSION_TIMEOUT_MIN: Duration = "group.session_timeout_min", "6s", Some((100_000, 86_400_000_000)),
        "Kafka's `group.min.session.timeout.ms`: the shortest session a member may ask for. A shorter one \
         finds dead members sooner and expels slow ones.";
    GROUP_SESSION_TIMEOUT_MAX: Duration = "group.session_timeout_max", "30min", Some((100_000, 86_400_000_000)),
        "Kafka's `group.max.session.timeout.ms`: the longest session a member may ask for.";
    GROUP_INITIAL_REBALANCE_DELAY: Duration = "group.initial_rebalance_delay", "100ms", Some((0, 600_000_000)),
        "Kafka's `group.initial.rebalance.delay.ms` (there 3 s): how long an empty group waits for more \
         members when the first one joins, anew for each that comes.";
    GROUP_SIZE_MAX: Count = "group.size_max", "10000", Some((1, 100_000)),
        "Kafka's `group.max.size`: members of one group.";
    OFFSETS_RETENTION: Duration = "group.offsets_retention", "7d", Some((60_000_000, 31_536_000_000_000)),
        "Kafka's `offsets.retention.minutes`: offsets of a group without members are forgotten after this.";
    OFFSETS_METADATA_BYTES: Size = "group.offset_metadata_bytes_max", "4 KiB", Some((0, 64 << 10)),
        "Kafka's `offset.metadata.max.bytes`: the longest text that is committed with an offset.";
    OFFSETS_PARTITIONS: Count = "group.offsets_partitions", "50", Some((1, PARTITIONS_PER_TOPIC_MAX as u64)),
        "Kafka's `offsets.topic.num.partitions`: partitions of `__consumer_offsets`, which is made when \
         the first group is asked for. They are dealt out to the shards, and groups to them.";

    TOPIC_PARTITIONS: Count = "topic.partitions", "1", Some((1, PARTITIONS_PER_TOPIC_MAX as u64)),
        "Partitions of a topic that is created without a number.";
    TOPIC_SEGMENT_BYTES: Size = "topic.segment_bytes", "1 GiB", Some((SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)),
        "`segment.bytes` of topics that do not set it: when a file of the log is closed and the next one \
         begun. Retention deletes whole files.";
    TOPIC_SEGMENT_MS: MillisLimit = "topic.segment_ms", "7d", None,
        "`segment.ms` of topics that do not set it: a file of the log is closed when its first record is this \
         old, so that retention and compaction get at the records of topics with little traffic.";
    TOPIC_RETENTION_MS: MillisLimit = "topic.retention_ms", "7d", None,
        "`retention.ms` of topics that do not set it: a closed file is deleted when its newest record is \
         older. -1 keeps records for ever.";
    TOPIC_RETENTION_BYTES: SizeLimit = "topic.retention_bytes", "-1", None,
        "`retention.bytes` of topics that do not set it: closed files of a partition are deleted, oldest \
         first, while it is larger.";
    TOPIC_CLEANUP_POLICY: Cleanup = "topic.cleanup_policy", "delete", None,
        "`cleanup.policy` of topics that do not set it: `delete` deletes old files, `compact` keeps the last \
         record of each key, `compact,delete` does both.";
    TOPIC_DELETE_RETENTION_MS: Millis = "topic.delete_retention_ms", "1d", None,
        "`delete.retention.ms` of topics that do not set it: how long a compacted partition keeps the record \
         without value that says a key is gone, so that readers get to see it.";
    TOPIC_MIN_CLEANABLE_DIRTY_RATIO: DirtyRatio = "topic.min_cleanable_dirty_ratio", "0.5", None,
        "`min.cleanable.dirty.ratio` of topics that do not set it: the share of a partition that has to be \
         uncompacted before it is compacted. Less saves disk and costs more copying. In the file it stands \
         in quotes: `\"0.2\"`.";
    TOPIC_MIN_COMPACTION_LAG_MS: Millis = "topic.min_compaction_lag_ms", "0", None,
        "`min.compaction.lag.ms` of topics that do not set it: records younger than this are not compacted.";
    TOPIC_FLUSH_MS: MillisLimit = "topic.flush_ms", "9223372036854775807", None,
        "`flush.ms` of topics that do not set it. Kafka's default, \"never\", means something better here: every \
         record is durable before it is acknowledged. With a number, records are acknowledged when they are \
         written, and flushed when the oldest has waited this long: a machine that loses power loses what \
         was acknowledged since; a broker that is killed loses nothing.";
    TOPIC_FLUSH_MESSAGES: CountLimit = "topic.flush_messages", "9223372036854775807", None,
        "`flush.messages` of topics that do not set it: as `topic.flush_ms`, counted in records. 1 is the same \
         as \"never\": durable before acknowledged.";
    TOPIC_MESSAGE_TIMESTAMP_BEFORE_MAX_MS: MillisLimit =
        "topic.message_timestamp_before_max_ms", "9223372036854775807", None,
        "`message.timestamp.before.max.ms` of topics that do not set it: a batch with a record that is older \
         than this by the broker's clock is refused (InvalidTimestamp).";
    TOPIC_MESSAGE_TIMESTAMP_AFTER_MAX_MS: MillisLimit = "topic.message_timestamp_after_max_ms", "1h", None,
        "`message.timestamp.after.max.ms` of topics that do not set it: a batch with a record that is farther \
         ahead of the broker's clock is refused. One record of the year 2100 would keep its file from \
         retention until then.";
    TOPIC_MAX_MESSAGE_BYTES: Size = "topic.max_message_bytes", "1048588",
        Some((MESSAGE_BYTES_MIN, BATCH_BYTES_MAX as u64)),
        "`max.message.bytes` of topics that do not set it: the largest batch a producer may send, with \
         its 61 bytes of header. Kafka's default.";

    LOG_FILTER: String = "log.filter", "info", None,
        "What is logged, as tracing's EnvFilter has it: `info`, `warn,broker=debug`.";
    LOG_FORMAT: LogFormat = "log.format", "text", None,
        "`text` for people, `json` for collectors: one object per line. Both go to stderr.";
}

/// A frame must hold the largest request of a client, 8 MiB of record sets and their heads.
const FRAME_BYTES_MIN: u64 = BATCH_BYTES_MAX as u64 + (1 << 20);

/// Small enough for tests to cross many segments, large enough that files are no burden.
pub const SEGMENT_BYTES_MIN: u64 = 64 << 10;

/// One file; recovery after a crash may have to read all of it.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 30;

/// Room for a header and a small record.
pub const MESSAGE_BYTES_MIN: u64 = 1 << 10;

/// The key whose name is nearest to `name`, if one is near enough to be what was meant. A name
/// without its section, or in the wrong one, finds its key too.
pub fn nearest(name: &str) -> Option<&'static str> {
    let last_part = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let distance = |info: &Info| {
        let whole = strsim::osa_distance(name, info.name);
        // One more, so that among equals the key of the section that was named comes first.
        let key_alone = strsim::osa_distance(&last_part(name), &last_part(info.name)) + 1;
        whole.min(key_alone)
    };
    let near_enough = |distance: usize| distance <= 2.max(last_part(name).len() / 3);
    let (distance, info) =
        ALL.iter().map(|info| (distance(info), info)).min_by_key(|(distance, _)| *distance)?;
    near_enough(distance).then_some(info.name)
}

/// The text of docs/config.md.
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    let mut section = "";
    for info in ALL {
        if info.section() != section {
            section = info.section();
            let _ = writeln!(text, "\n## [{section}]");
        }
        let default = if info.default.is_empty() { "none".to_owned() } else { format!("`{}`", info.default) };
        let bounds = info.bounds.map_or_else(String::new, |(low, high)| {
            format!(", from {} to {}", info.show(low), info.show(high))
        });
        let _ = writeln!(text, "\n### {}\n\n{}{bounds}; default {default}", info.name, info.kind);
        let _ = writeln!(text, "\n{}", info.about);
    }
    text
}

const HEAD: &str = "\
<!-- Generated from broker/src/config/keys.rs. Rewrite it with: UPDATE_DOCS=1 cargo test -p ringlog-broker config -->
# Configuration

A broker needs no configuration: every key has a default. What is said later wins:

1. the defaults below
2. the file: `ringlog serve --config ringlog.toml`
3. the environment: `RINGLOG__SECTION__KEY`, for example `RINGLOG__SHARDS__CPUS=0,2-3`
4. the command line: `--set section.key=value`, and `--data-dir`, `--listen`

An unknown key is an error, wherever it stands, and so is a value out of its bounds. All of them are
reported at once, with their place; `ringlog serve --check-config` does only that, and ends with 78 if
there is one.

    [broker]
    data_dir = \"/var/lib/ringlog\"

    [shards]
    cpus = \"0,2-3\"
    cache_bytes = \"256 MiB\"

A size is a number of bytes, or one with a unit: `4096`, `64 MiB`, `1GiB` (binary), `2 MB` (decimal). A
duration has a unit: `250us`, `500ms`, `10s`, `5min`, `1h`, `7d`.
";
