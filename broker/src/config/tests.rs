//! What four sources say, what becomes of it, and what a person who errs is told.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::resolve::finish;
use super::*;

const FILE: &str = "ringlog.toml";

fn load_text(toml: &str, env: &[(&str, &str)], sets: &[&str]) -> Result<Config, ConfigError> {
    let mut raw = RawConfig::default();
    raw.add_toml(Path::new(FILE), toml);
    raw.add_env(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    sets.iter().for_each(|set| raw.add_set(set));
    finish(raw)
}

/// The problems as the user sees them.
fn problems(toml: &str, env: &[(&str, &str)], sets: &[&str]) -> Vec<String> {
    let error = load_text(toml, env, sets).unwrap_err();
    error.problems.iter().map(Problem::to_string).collect()
}

#[test]
fn a_broker_needs_no_configuration() {
    let config = load_text("", &[], &[]).unwrap();
    assert_eq!(config, resolve::defaults());
    assert_eq!(config.listen.to_string(), "127.0.0.1:7070");
    assert_eq!(config.data_dir, std::env::current_dir().unwrap().join("ringlog-data"));
    assert_eq!(config.frame_bytes_max, 16 << 20);
    assert_eq!(config.preempt_timer, Duration::from_millis(1));
    assert_eq!(config.topic_defaults.config.max_message_bytes, 1_048_588);
    assert!(!config.cpus.is_empty());
}

#[test]
fn an_ephemeral_broker_passes_the_check() {
    Config::ephemeral(PathBuf::from("/tmp/x")).check().unwrap();
}

#[test]
fn what_is_said_later_wins() {
    let toml = "[shards]\ncache_bytes = \"1 MiB\"\nio_memory = 8388608\n[log]\nformat = \"json\"\n";
    let env = [("RINGLOG__SHARDS__CACHE_BYTES", "2 MiB"), ("RINGLOG_BOOTSTRAP", "ignored"), ("PATH", "/bin")];
    let config = load_text(toml, &env, &[]).unwrap();
    assert_eq!((config.cache_bytes, config.io_memory), (2 << 20, 8 << 20));
    assert_eq!(config.log_format, LogFormat::Json);

    let config = load_text(toml, &env, &["shards.cache_bytes = 3 MiB", "shards.cache_bytes=4 MiB"]).unwrap();
    assert_eq!(config.cache_bytes, 4 << 20);
}

#[test]
fn cpus_may_be_a_list_of_numbers() {
    assert_eq!(load_text("[shards]\ncpus = [0]", &[], &[]).unwrap().cpus, [0]);
    assert_eq!(load_text("[shards]\ncpus = 0", &[], &[]).unwrap().cpus, [0]);
    assert_eq!(
        problems("[shards]\ncpus = [0, 1.5]", &[], &[]),
        [
            "ringlog.toml:2: shards.cpus is a number with a fraction, where a text, a number, true or false is \
          expected"
        ]
    );
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let toml = "\n[broker]\ndata_dri = \"/d\"\n\n[listener]\nhello_timeout = 5\n";
    let env = [("RINGLOG__SHARD__CPUS", "0"), ("RINGLOG__SHARDS__IO_MEMORY", "64X")];
    assert_eq!(
        problems(toml, &env, &["log.formt=json", "log.format"]),
        [
            "ringlog.toml:3: broker.data_dri is not a key; did you mean broker.data_dir?",
            "RINGLOG__SHARD__CPUS: RINGLOG__SHARD__CPUS is not a key; did you mean RINGLOG__SHARDS__CPUS?",
            "--set log.formt=json: log.formt is not a key; did you mean log.format?",
            "--set log.format: expected section.key=value",
            "ringlog.toml:6: listener.hello_timeout: \"5\" is not a duration; write 500ms, 10s, 5min or 1h",
            "RINGLOG__SHARDS__IO_MEMORY: shards.io_memory: \"64X\" is not a size; write 64 MiB, 1GiB or 4096",
        ]
    );
}

#[test]
fn a_key_without_or_in_the_wrong_section_finds_its_own() {
    assert_eq!(
        problems("data_dir = \"/d\"\n[broker]\ncpus = 1\nretention = 3", &[], &[]),
        [
            "ringlog.toml:3: broker.cpus is not a key; did you mean shards.cpus?",
            "ringlog.toml:4: broker.retention is not a key; docs/config.md lists the keys",
            "ringlog.toml:1: data_dir is not a key; did you mean broker.data_dir?",
        ]
    );
}

#[test]
fn a_file_that_is_no_toml_is_told_with_its_line() {
    let [problem] = problems("[broker]\nnode_id = = 3\n", &[], &[]).try_into().unwrap();
    assert!(problem.starts_with("ringlog.toml:2: "), "{problem}");

    let missing = load(Some(Path::new("/nonexistent/ringlog.toml")), std::iter::empty(), &[]).unwrap_err();
    assert!(missing.to_string().contains("/nonexistent/ringlog.toml: cannot read the file"), "{missing}");
}

#[test]
fn a_value_out_of_bounds_is_told_with_the_bounds() {
    assert_eq!(
        problems(
            "[listener]\nframe_bytes_max = \"1 GiB\"",
            &[],
            &["topic.partitions=0", "broker.node_id=2147483648"]
        ),
        [
            "--set broker.node_id=2147483648: broker.node_id: 2147483648 is out of bounds; \
             it may be from 1 to 2147483647",
            "ringlog.toml:2: listener.frame_bytes_max: 1 GiB is out of bounds; it may be from 9 MiB to 64 MiB",
            "--set topic.partitions=0: topic.partitions: 0 is out of bounds; it may be from 1 to 100000",
            "ringlog.toml:2: shards.request_bytes is 64 MiB, less than listener.frame_bytes_max, 1 GiB: \
             a request of that size could never be read",
        ]
    );
}

#[test]
fn topics_without_settings_get_those_of_the_broker() {
    let toml = "[topic]\nretention_ms = 3600000\nretention_bytes = \"1 GiB\"\ncleanup_policy = \"compact,delete\"\n\
                flush_ms = \"1s\"\nmin_cleanable_dirty_ratio = 0.2\n[storage]\nproducer_id_expiration = \"1h\"";
    let config = load_text(&toml.replace("0.2", "\"0.2\""), &[], &["topic.segment_ms=-1"]).unwrap();
    let topic = TopicConfig::resolve(&config.topic_defaults, [("retention.ms", "1")]).unwrap();
    let log = topic.log_config();
    assert_eq!((log.retention_ms, log.retention_bytes, log.segment_ms), (Some(1), Some(1 << 30), None));
    assert_eq!((log.flush.ms, log.producer_expiration_ms), (Some(1000), 3_600_000));
    assert!(log.cleanup.delete && log.cleanup.compact && log.min_cleanable_dirty_ratio.get() == 0.2);
    assert_eq!(
        problems("[topic]\nsegment_ms = 0\nretention_ms = \"soon\"", &[], &["topic.flush_messages=0"]),
        [
            "ringlog.toml:3: topic.retention_ms: \"soon\" is not a time; write milliseconds, 10s, 1h or 7d, or -1 \
             for no limit",
            "ringlog.toml:2: topic.segment_ms: 0 is out of bounds; it is at least 1",
            "--set topic.flush_messages=0: topic.flush_messages: 0 is out of bounds; it is at least 1",
        ]
    );
}

#[test]
fn a_port_that_others_reach_must_be_wanted() {
    let [problem] = problems("", &[], &["listener.addr=192.0.2.7:7070"]).try_into().unwrap();
    assert!(problem.contains("listener.insecure = true"), "{problem}");
    for guarded in ["127.0.0.1:1", "127.1.2.3:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        load_text("", &[], &[&format!("listener.addr={guarded}")]).unwrap();
    }
    load_text("[listener]\naddr = \"192.0.2.7:7070\"\ninsecure = true", &[], &[]).unwrap();
}

#[test]
fn nobody_is_told_to_connect_to_everywhere() {
    let toml = "[listener]\naddr = \"0.0.0.0:7070\"\ninsecure = true";
    let [problem] = problems(toml, &[], &[]).try_into().unwrap();
    assert!(problem.contains("listener.advertised"), "{problem}");
    let config = load_text(toml, &[], &["listener.advertised=broker-1.example:7070"]).unwrap();
    assert_eq!(config.advertised, Some(("broker-1.example".to_owned(), 7070)));
}

#[test]
fn a_core_that_is_not_ours_is_refused() {
    let [problem] = problems("", &[], &["shards.cpus=8191"]).try_into().unwrap();
    assert!(problem.starts_with("--set shards.cpus=8191: shards.cpus: this process may not run on cpu 8191"));
    let none = Config { cpus: Vec::new(), ..resolve::defaults() };
    assert!(none.check().is_err());
}

/// UPDATE_DOCS=1 writes the file instead.
#[test]
fn docs_config_md_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/config.md");
    let wanted = reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/config.md is stale; run: UPDATE_DOCS=1 cargo test -p ringlog-broker config"
    );
}
