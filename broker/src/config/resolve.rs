//! From what was said to what it means: types, then the rules, each problem with its origin.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::model::NodeId;

use super::error::{ConfigError, Origin, Problem};
use super::keys::{self, Info};
use super::raw::RawConfig;
use super::topic::{TopicConfig, TopicDefaults};
use super::value::{Count, Cpus, Size, parse_cpu_list};
use super::{Config, KafkaConfig, LogFormat, memory};
use crate::groups::GroupConfig;

/// Reads the configuration: the defaults, then `file`, then those of `env` that begin with
/// `RINGLOG__`, then `sets`, each `section.key=value`; what is said later wins.
pub fn load(
    file: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
    sets: &[String],
) -> Result<Config, ConfigError> {
    let mut raw = RawConfig::default();
    if let Some(path) = file {
        raw.add_file(path);
    }
    raw.add_env(env);
    for set in sets {
        raw.add_set(set);
    }
    finish(raw)
}

pub fn finish(mut raw: RawConfig) -> Result<Config, ConfigError> {
    let config = resolve(&mut raw);
    let faults = faults(&config).into_iter();
    let mut problems: Vec<Problem> =
        faults.map(|fault| Problem { origin: raw.origin_of(&fault.keys), message: fault.message }).collect();
    problems.splice(0..0, raw.problems);
    ConfigError::unless_empty(problems).map(|()| config)
}

/// What a broker is that nobody has told anything.
pub fn defaults() -> Config {
    resolve(&mut RawConfig::default())
}

/// See [`Config::check`].
pub fn check(config: &Config) -> Result<(), ConfigError> {
    let problem = |fault: Fault| Problem { origin: Origin::Unsaid, message: fault.message };
    ConfigError::unless_empty(faults(config).into_iter().map(problem).collect())
}

fn resolve(raw: &mut RawConfig) -> Config {
    let cpus = match raw.get(&keys::CPUS) {
        Cpus::These(cpus) => cpus,
        Cpus::All => allowed_cpus(),
    };
    let mut config = Config {
        data_dir: absolute(raw.get(&keys::DATA_DIR)),
        node_id: NodeId::new(narrow(raw.get(&keys::NODE_ID))),
        memory_limit: raw.get(&keys::MEMORY_LIMIT).0.map(|limit| bytes(Size(limit))),
        listen: raw.get(&keys::LISTEN),
        advertised: raw.get(&keys::ADVERTISED).0,
        insecure: raw.get(&keys::INSECURE),
        connections_max: count(raw.get(&keys::CONNECTIONS_MAX)),
        frame_bytes_max: bytes(raw.get(&keys::FRAME_BYTES_MAX)),
        hello_timeout: raw.get(&keys::HELLO_TIMEOUT),
        kafka: KafkaConfig {
            listen: raw.get(&keys::KAFKA_LISTEN).0,
            advertised: raw.get(&keys::KAFKA_ADVERTISED).0,
            auto_create_topics: raw.get(&keys::KAFKA_AUTO_CREATE_TOPICS),
            connections_idle_max: raw.get(&keys::KAFKA_CONNECTIONS_IDLE_MAX),
        },
        cpus,
        io_memory: bytes(raw.get(&keys::IO_MEMORY)),
        request_bytes: bytes(raw.get(&keys::REQUEST_BYTES)),
        cache_bytes: bytes(raw.get(&keys::CACHE_BYTES)),
        connection_out_bytes: bytes(raw.get(&keys::CONNECTION_OUT_BYTES)),
        preempt_timer: raw.get(&keys::PREEMPT_TIMER),
        free_bytes_min: raw.get(&keys::FREE_BYTES_MIN).0,
        checkpoint_interval: raw.get(&keys::CHECKPOINT_INTERVAL),
        files_max: count(raw.get(&keys::FILES_MAX)),
        compaction_bytes: bytes(raw.get(&keys::COMPACTION_BYTES)),
        scrub_bytes_per_s: raw.get(&keys::SCRUB_BYTES_PER_S).0,
        scrub_interval: raw.get(&keys::SCRUB_INTERVAL),
        groups: groups(raw),
        offsets_partitions: narrow(raw.get(&keys::OFFSETS_PARTITIONS)),
        topic_defaults: topic_defaults(raw),
        log_filter: raw.get(&keys::LOG_FILTER),
        log_format: raw.get::<LogFormat>(&keys::LOG_FORMAT),
    };
    memory::fit(&mut config, raw);
    config
}

fn groups(raw: &mut RawConfig) -> GroupConfig {
    GroupConfig {
        session_timeout_min: raw.get(&keys::GROUP_SESSION_TIMEOUT_MIN),
        session_timeout_max: raw.get(&keys::GROUP_SESSION_TIMEOUT_MAX),
        initial_rebalance_delay: raw.get(&keys::GROUP_INITIAL_REBALANCE_DELAY),
        size_max: count(raw.get(&keys::GROUP_SIZE_MAX)),
        offsets_retention: raw.get(&keys::OFFSETS_RETENTION),
        offset_metadata_bytes_max: bytes(raw.get(&keys::OFFSETS_METADATA_BYTES)),
        ..GroupConfig::standard()
    }
}

fn topic_defaults(raw: &mut RawConfig) -> TopicDefaults {
    let expiration = raw.get(&keys::PRODUCER_ID_EXPIRATION);
    let config = TopicConfig {
        segment_bytes: raw.get(&keys::TOPIC_SEGMENT_BYTES).0,
        segment_ms: raw.get(&keys::TOPIC_SEGMENT_MS).0,
        retention_ms: raw.get(&keys::TOPIC_RETENTION_MS).0,
        retention_bytes: raw.get(&keys::TOPIC_RETENTION_BYTES).0,
        cleanup: raw.get(&keys::TOPIC_CLEANUP_POLICY),
        delete_retention_ms: raw.get(&keys::TOPIC_DELETE_RETENTION_MS).0,
        min_cleanable_dirty_ratio: raw.get(&keys::TOPIC_MIN_CLEANABLE_DIRTY_RATIO),
        min_compaction_lag_ms: raw.get(&keys::TOPIC_MIN_COMPACTION_LAG_MS).0,
        flush_ms: raw.get(&keys::TOPIC_FLUSH_MS).0,
        flush_messages: raw.get(&keys::TOPIC_FLUSH_MESSAGES).0,
        timestamp_before_max_ms: raw.get(&keys::TOPIC_MESSAGE_TIMESTAMP_BEFORE_MAX_MS).0,
        timestamp_after_max_ms: raw.get(&keys::TOPIC_MESSAGE_TIMESTAMP_AFTER_MAX_MS).0,
        max_message_bytes: bytes(raw.get(&keys::TOPIC_MAX_MESSAGE_BYTES)),
        producer_expiration_ms: u64::try_from(expiration.as_millis()).unwrap_or(u64::MAX),
    };
    TopicDefaults { partitions: narrow(raw.get(&keys::TOPIC_PARTITIONS)), config }
}

/// A rule that is broken, and the keys it is about, the likeliest culprit first.
struct Fault {
    keys: Vec<&'static str>,
    message: String,
}

fn faults(config: &Config) -> Vec<Fault> {
    let mut faults: Vec<Fault> = measures(config).into_iter().filter_map(out_of_bounds).collect();
    let relations = [
        request_fits(config),
        memory_is_enough(config),
        listener_is_guarded(config, &native(config)),
        listener_can_be_reached(&native(config)),
        kafka(config).and_then(|kafka| listener_is_guarded(config, &kafka)),
        kafka(config).and_then(|kafka| listener_can_be_reached(&kafka)),
        cpus_are_ours(config),
        segments_are_closed_some_time(config),
        flushes_count_from_one(config),
        sessions_have_room(config),
    ];
    faults.extend(relations.into_iter().flatten());
    faults
}

/// Every field that has bounds, as the number they are about.
fn measures(config: &Config) -> [(Info, u64); 26] {
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let topic = &config.topic_defaults.config;
    [
        (keys::NODE_ID.info, u64::from(config.node_id.get())),
        (keys::CONNECTIONS_MAX.info, config.connections_max as u64),
        (keys::FRAME_BYTES_MAX.info, config.frame_bytes_max as u64),
        (keys::HELLO_TIMEOUT.info, micros(config.hello_timeout)),
        (keys::IO_MEMORY.info, config.io_memory as u64),
        (keys::REQUEST_BYTES.info, config.request_bytes as u64),
        (keys::CACHE_BYTES.info, config.cache_bytes as u64),
        (keys::CONNECTION_OUT_BYTES.info, config.connection_out_bytes as u64),
        (keys::PREEMPT_TIMER.info, micros(config.preempt_timer)),
        (keys::FREE_BYTES_MIN.info, config.free_bytes_min),
        (keys::CHECKPOINT_INTERVAL.info, micros(config.checkpoint_interval)),
        (keys::FILES_MAX.info, config.files_max as u64),
        (keys::COMPACTION_BYTES.info, config.compaction_bytes as u64),
        (keys::SCRUB_BYTES_PER_S.info, config.scrub_bytes_per_s),
        (keys::SCRUB_INTERVAL.info, micros(config.scrub_interval)),
        (keys::PRODUCER_ID_EXPIRATION.info, topic.producer_expiration_ms.saturating_mul(1000)),
        (keys::GROUP_SESSION_TIMEOUT_MIN.info, micros(config.groups.session_timeout_min)),
        (keys::GROUP_SESSION_TIMEOUT_MAX.info, micros(config.groups.session_timeout_max)),
        (keys::GROUP_INITIAL_REBALANCE_DELAY.info, micros(config.groups.initial_rebalance_delay)),
        (keys::GROUP_SIZE_MAX.info, config.groups.size_max as u64),
        (keys::OFFSETS_RETENTION.info, micros(config.groups.offsets_retention)),
        (keys::OFFSETS_METADATA_BYTES.info, config.groups.offset_metadata_bytes_max as u64),
        (keys::OFFSETS_PARTITIONS.info, u64::from(config.offsets_partitions)),
        (keys::TOPIC_PARTITIONS.info, u64::from(config.topic_defaults.partitions)),
        (keys::TOPIC_SEGMENT_BYTES.info, topic.segment_bytes),
        (keys::TOPIC_MAX_MESSAGE_BYTES.info, topic.max_message_bytes as u64),
    ]
}

fn sessions_have_room(config: &Config) -> Option<Fault> {
    let (min, max) = (config.groups.session_timeout_min, config.groups.session_timeout_max);
    (max < min).then(|| Fault {
        keys: vec![keys::GROUP_SESSION_TIMEOUT_MIN.info.name, keys::GROUP_SESSION_TIMEOUT_MAX.info.name],
        message: format!("no session is as long as {min:?} and as short as {max:?}"),
    })
}

fn out_of_bounds((info, value): (Info, u64)) -> Option<Fault> {
    let (low, high) = info.bounds?;
    if low <= value && value <= high {
        return None;
    }
    let [value, low, high] = [value, low, high].map(|number| info.show(number));
    let message = format!("{}: {value} is out of bounds; it may be from {low} to {high}", info.name);
    Some(Fault { keys: vec![info.name], message })
}

/// A shard that can never promise enough for a frame would never read it, and its connection hang.
fn request_fits(config: &Config) -> Option<Fault> {
    let (request, frame) = (keys::REQUEST_BYTES.info, keys::FRAME_BYTES_MAX.info);
    if config.frame_bytes_max <= config.request_bytes {
        return None;
    }
    let message = format!(
        "{} is {}, less than {}, {}: a request of that size could never be read",
        request.name,
        request.show(config.request_bytes as u64),
        frame.name,
        frame.show(config.frame_bytes_max as u64)
    );
    Some(Fault { keys: vec![request.name, frame.name], message })
}

fn memory_is_enough(config: &Config) -> Option<Fault> {
    let message = memory::excess(config)?;
    Some(Fault { keys: vec![keys::MEMORY_LIMIT.info.name], message })
}

/// A listener as a person is told about it.
struct Listens<'a> {
    key: &'static str,
    advertised_key: &'static str,
    addr: SocketAddr,
    advertised: &'a Option<(String, u16)>,
}

fn native(config: &Config) -> Listens<'_> {
    Listens {
        key: keys::LISTEN.info.name,
        advertised_key: keys::ADVERTISED.info.name,
        addr: config.listen,
        advertised: &config.advertised,
    }
}

fn kafka(config: &Config) -> Option<Listens<'_>> {
    Some(Listens {
        key: keys::KAFKA_LISTEN.info.name,
        advertised_key: keys::KAFKA_ADVERTISED.info.name,
        addr: config.kafka.listen?,
        advertised: &config.kafka.advertised,
    })
}

/// As long as clients are not asked who they are, whoever can connect can do everything.
fn listener_is_guarded(config: &Config, listens: &Listens<'_>) -> Option<Fault> {
    let ip = match listens.addr.ip() {
        IpAddr::V6(ip) => ip.to_canonical(),
        ip => ip,
    };
    if config.insecure || ip.is_loopback() {
        return None;
    }
    let message = format!(
        "{} is {}, which other machines can reach, and clients are not yet asked who they are: \
         anybody who can connect could read, write and delete everything. Listen on 127.0.0.1, or, where a \
         firewall or a private network guards the port, say so with listener.insecure = true",
        listens.key, listens.addr
    );
    Some(Fault { keys: vec![listens.key], message })
}

/// Metadata would tell clients to connect to 0.0.0.0.
fn listener_can_be_reached(listens: &Listens<'_>) -> Option<Fault> {
    if listens.advertised.is_some() || !listens.addr.ip().is_unspecified() {
        return None;
    }
    let message = format!(
        "{} is {}, which is no address to connect to; say in {} what clients shall use, for example \
         broker-1.example:{}",
        listens.key,
        listens.addr,
        listens.advertised_key,
        listens.addr.port()
    );
    Some(Fault { keys: vec![listens.key], message })
}

/// Zero would begin a file with every record.
fn segments_are_closed_some_time(config: &Config) -> Option<Fault> {
    let name = keys::TOPIC_SEGMENT_MS.info.name;
    let message = format!("{name}: 0 is out of bounds; it is at least 1");
    (config.topic_defaults.config.segment_ms == Some(0)).then(|| Fault { keys: vec![name], message })
}

fn flushes_count_from_one(config: &Config) -> Option<Fault> {
    let name = keys::TOPIC_FLUSH_MESSAGES.info.name;
    let message = format!("{name}: 0 is out of bounds; it is at least 1");
    (config.topic_defaults.config.flush_messages == Some(0)).then(|| Fault { keys: vec![name], message })
}

fn cpus_are_ours(config: &Config) -> Option<Fault> {
    let allowed = allowed_cpus();
    let foreign = config.cpus.iter().find(|cpu| !allowed.contains(cpu));
    let message = match (foreign, config.cpus.len()) {
        (Some(cpu), _) => {
            format!("shards.cpus: this process may not run on cpu {cpu}; it may use {allowed:?}")
        }
        (None, 1..=SHARDS_MAX) => return None,
        (None, cpus) => format!("shards.cpus names {cpus} cpus; there may be from 1 to {SHARDS_MAX}"),
    };
    Some(Fault { keys: vec![keys::CPUS.info.name], message })
}

/// io_uring's openat takes no path that is relative to the working directory.
pub fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// The process's affinity mask, as the kernel tells it. Where `/proc` is not mounted, as many cores
/// as the standard library finds, counted from 0.
fn allowed_cpus() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    list.and_then(|list| parse_cpu_list(list.trim())).unwrap_or_else(|| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        (0..cores).collect()
    })
}

/// Far above any machine, far below the 16 bits of a shard's number.
const SHARDS_MAX: usize = 1024;

/// Numbers too large for the field become its largest: out of bounds all the same, and reported so.
fn narrow(count: Count) -> u32 {
    u32::try_from(count.0).unwrap_or(u32::MAX)
}

fn count(count: Count) -> usize {
    usize::try_from(count.0).unwrap_or(usize::MAX)
}

fn bytes(size: Size) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX)
}
