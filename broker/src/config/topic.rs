//! What a topic may be told, by Kafka's names, and what it gets otherwise.
//!
//!     defaults (topic.* of the broker)  +  {"retention.ms": "3600000"}  ──▶  TopicConfig ──▶ LogConfig
//!
//! One table says of each setting how it is read and shown; refusals, the nearest match and Metadata
//! come from it. Some say what is so anyway: clients of Kafka ask for it. Kafka has two ways to say
//! "without limit", -1 and 2^63 − 1: both are read wherever there may be none, and each setting is shown
//! in the one that Kafka uses for it.

use protocol::model::limits::BATCH_BYTES_MAX;
use storage::log::{Cleanup, DirtyRatio, FlushPolicy, LogConfig};

use super::keys::{MESSAGE_BYTES_MIN, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use super::topic_value::{
    Wrong, cleanup, count_limit, millis, millis_limit, only_false, only_one, only_text, printable, ratio,
    size_limit, size_within,
};

/// What a topic gets that does not say otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicDefaults {
    /// `topic.partitions`: 1.
    pub partitions: u32,
    /// The other `topic.*` keys, each under the name of the setting with `_` for `.`.
    pub config: TopicConfig,
}

/// What holds for one topic. Times are in milliseconds, sizes in bytes, `None` is without limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicConfig {
    /// `segment.bytes`
    pub segment_bytes: u64,
    /// `segment.ms`
    pub segment_ms: Option<u64>,
    /// `retention.ms`
    pub retention_ms: Option<u64>,
    /// `retention.bytes`
    pub retention_bytes: Option<u64>,
    /// `cleanup.policy`
    pub cleanup: Cleanup,
    /// `delete.retention.ms`
    pub delete_retention_ms: u64,
    /// `min.cleanable.dirty.ratio`
    pub min_cleanable_dirty_ratio: DirtyRatio,
    /// `min.compaction.lag.ms`
    pub min_compaction_lag_ms: u64,
    /// `flush.ms`; `None` is Kafka's "never", and ours is before every acknowledgement.
    pub flush_ms: Option<u64>,
    /// `flush.messages`; as `flush_ms`.
    pub flush_messages: Option<u64>,
    /// `message.timestamp.before.max.ms`: how much older than the broker's clock a record may be.
    pub timestamp_before_max_ms: Option<u64>,
    /// `message.timestamp.after.max.ms`: how far ahead of the broker's clock a record may be.
    pub timestamp_after_max_ms: Option<u64>,
    /// `max.message.bytes`
    pub max_message_bytes: usize,
    /// `storage.producer_id_expiration`: of the broker, no topic sets it.
    pub producer_expiration_ms: u64,
}

/// Why a topic cannot be configured so; the text is for the user.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidTopicConfig(String);

/// What a value is, to Kafka (`ConfigDef.Type`): its tools show it, and some ask for it accordingly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Boolean,
    Int,
    Long,
    Double,
    List,
    String,
}

/// One setting: its name, what its value is, how one gets into a configuration and how it is shown.
struct Setting {
    name: &'static str,
    /// As in Kafka's `LogConfig`.
    kind: Kind,
    read: fn(&mut TopicConfig, &str) -> Result<(), Wrong>,
    show: fn(&TopicConfig) -> String,
}

/// In the order in which `topic describe` lists them.
static SETTINGS: [Setting; 18] = [
    Setting {
        name: "cleanup.policy",
        kind: Kind::List,
        read: |config, text| cleanup(text).map(|cleanup| config.cleanup = cleanup),
        show: |config| show_cleanup(config.cleanup).to_owned(),
    },
    Setting {
        name: "compression.type",
        kind: Kind::String,
        read: |_, text| only_text("producer", text, "batches stay as producers have compressed them"),
        show: |_| "producer".to_owned(),
    },
    Setting {
        name: "delete.retention.ms",
        kind: Kind::Long,
        read: |config, text| millis(text).map(|ms| config.delete_retention_ms = ms),
        show: |config| config.delete_retention_ms.to_string(),
    },
    Setting {
        name: "flush.messages",
        kind: Kind::Long,
        read: |config, text| count_limit(text, 1).map(|count| config.flush_messages = count),
        show: |config| or_never(config.flush_messages),
    },
    Setting {
        name: "flush.ms",
        kind: Kind::Long,
        read: |config, text| millis_limit(text, 0).map(|ms| config.flush_ms = ms),
        show: |config| or_never(config.flush_ms),
    },
    Setting {
        name: "max.message.bytes",
        kind: Kind::Int,
        read: |config, text| {
            let bytes = size_within(text, MESSAGE_BYTES_MIN, BATCH_BYTES_MAX as u64)?;
            config.max_message_bytes = usize::try_from(bytes).expect("BUG: bounded by BATCH_BYTES_MAX");
            Ok(())
        },
        show: |config| config.max_message_bytes.to_string(),
    },
    Setting {
        name: "message.timestamp.after.max.ms",
        kind: Kind::Long,
        read: |config, text| millis_limit(text, 0).map(|ms| config.timestamp_after_max_ms = ms),
        show: |config| or_never(config.timestamp_after_max_ms),
    },
    Setting {
        name: "message.timestamp.before.max.ms",
        kind: Kind::Long,
        read: |config, text| millis_limit(text, 0).map(|ms| config.timestamp_before_max_ms = ms),
        show: |config| or_never(config.timestamp_before_max_ms),
    },
    Setting {
        name: "message.timestamp.type",
        kind: Kind::String,
        read: |_, text| only_text("CreateTime", text, "records keep the time that their producer gave them"),
        show: |_| "CreateTime".to_owned(),
    },
    Setting {
        name: "min.cleanable.dirty.ratio",
        kind: Kind::Double,
        read: |config, text| ratio(text).map(|ratio| config.min_cleanable_dirty_ratio = ratio),
        show: |config| config.min_cleanable_dirty_ratio.get().to_string(),
    },
    Setting {
        name: "min.compaction.lag.ms",
        kind: Kind::Long,
        read: |config, text| millis(text).map(|ms| config.min_compaction_lag_ms = ms),
        show: |config| config.min_compaction_lag_ms.to_string(),
    },
    Setting {
        name: "min.insync.replicas",
        kind: Kind::Int,
        read: |_, text| only_one(text, "there is one broker"),
        show: |_| "1".to_owned(),
    },
    Setting {
        name: "preallocate",
        kind: Kind::Boolean,
        read: |_, text| only_false(text, "the broker decides for itself how space is reserved"),
        show: |_| "false".to_owned(),
    },
    Setting {
        name: "retention.bytes",
        kind: Kind::Long,
        read: |config, text| size_limit(text).map(|bytes| config.retention_bytes = bytes),
        show: |config| or_minus_one(config.retention_bytes),
    },
    Setting {
        name: "retention.ms",
        kind: Kind::Long,
        read: |config, text| millis_limit(text, -1).map(|ms| config.retention_ms = ms),
        show: |config| or_minus_one(config.retention_ms),
    },
    Setting {
        name: "segment.bytes",
        kind: Kind::Int,
        read: |config, text| {
            size_within(text, SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX).map(|bytes| config.segment_bytes = bytes)
        },
        show: |config| config.segment_bytes.to_string(),
    },
    Setting {
        name: "segment.ms",
        kind: Kind::Long,
        read: |config, text| millis_limit(text, 1).map(|ms| config.segment_ms = ms),
        show: |config| or_never(config.segment_ms),
    },
    Setting {
        name: "unclean.leader.election.enable",
        kind: Kind::Boolean,
        read: |_, text| only_false(text, "there is one broker"),
        show: |_| "false".to_owned(),
    },
];

/// Kafka's largest number, which it means as "never".
const NEVER: u64 = i64::MAX as u64;

impl TopicConfig {
    /// The defaults, with `entries` over them. Values are Kafka's, plain numbers, or sizes and
    /// durations as our own configuration has them.
    pub fn resolve<'a>(
        defaults: &TopicDefaults,
        entries: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<TopicConfig, InvalidTopicConfig> {
        let mut config = defaults.config;
        for (name, value) in entries {
            let setting = setting(name)?;
            (setting.read)(&mut config, value).map_err(|wrong| InvalidTopicConfig(wrong.told(name)))?;
        }
        Ok(config)
    }

    /// Whether there is such a setting; if not, the error names the nearest one.
    pub fn check_name(name: &str) -> Result<(), InvalidTopicConfig> {
        setting(name).map(|_| ())
    }

    /// What the values of a setting are; `None` if there is no such setting.
    pub fn kind(name: &str) -> Option<Kind> {
        setting(name).ok().map(|setting| setting.kind)
    }

    /// What the topic's logs are told.
    pub fn log_config(&self) -> LogConfig {
        LogConfig {
            segment_bytes: self.segment_bytes,
            segment_ms: self.segment_ms,
            cleanup: self.cleanup,
            retention_ms: self.retention_ms,
            retention_bytes: self.retention_bytes,
            delete_retention_ms: self.delete_retention_ms,
            min_cleanable_dirty_ratio: self.min_cleanable_dirty_ratio,
            min_compaction_lag_ms: self.min_compaction_lag_ms,
            flush: FlushPolicy { ms: self.flush_ms, messages: self.flush_messages },
            producer_expiration_ms: self.producer_expiration_ms,
            prepare: LogConfig::KAFKA.prepare,
            zeroes_round_max: LogConfig::KAFKA.zeroes_round_max,
            reserve_rate_min: LogConfig::KAFKA.reserve_rate_min,
        }
    }

    /// Every entry that is in force, by Kafka's names.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, String)> {
        SETTINGS.iter().map(|setting| (setting.name, (setting.show)(self)))
    }
}

fn setting(name: &str) -> Result<&'static Setting, InvalidTopicConfig> {
    SETTINGS.iter().find(|setting| setting.name == name).ok_or_else(|| unknown(name))
}

fn or_never(limit: Option<u64>) -> String {
    limit.unwrap_or(NEVER).to_string()
}

fn or_minus_one(limit: Option<u64>) -> String {
    limit.map_or_else(|| "-1".to_owned(), |limit| limit.to_string())
}

fn show_cleanup(cleanup: Cleanup) -> &'static str {
    match (cleanup.delete, cleanup.compact) {
        (true, true) => "compact,delete",
        (false, true) => "compact",
        (_, false) => "delete",
    }
}

fn unknown(name: &str) -> InvalidTopicConfig {
    let nearest = SETTINGS
        .iter()
        .map(|known| (strsim::osa_distance(name, known.name), known.name))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    let hint = match nearest {
        Some((_, near)) => format!("did you mean {near}?"),
        None => format!("topics take {}", SETTINGS.each_ref().map(|setting| setting.name).join(", ")),
    };
    InvalidTopicConfig(format!("Unknown topic config name: {}; {hint}", printable(name)))
}

#[cfg(test)]
mod tests {
    use super::super::resolve;
    use super::*;

    fn with(entries: &[(&str, &str)]) -> Result<TopicConfig, String> {
        let defaults = resolve::defaults().topic_defaults;
        TopicConfig::resolve(&defaults, entries.iter().copied()).map_err(|error| error.to_string())
    }

    fn refusal(name: &str, value: &str) -> String {
        with(&[(name, value)]).unwrap_err()
    }

    #[test]
    fn without_a_word_a_topic_is_as_kafkas() {
        let config = with(&[]).unwrap();
        assert_eq!(config.log_config(), LogConfig::KAFKA);
        let entries: Vec<String> = config.entries().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            entries,
            [
                "cleanup.policy=delete",
                "compression.type=producer",
                "delete.retention.ms=86400000",
                "flush.messages=9223372036854775807",
                "flush.ms=9223372036854775807",
                "max.message.bytes=1048588",
                "message.timestamp.after.max.ms=3600000",
                "message.timestamp.before.max.ms=9223372036854775807",
                "message.timestamp.type=CreateTime",
                "min.cleanable.dirty.ratio=0.5",
                "min.compaction.lag.ms=0",
                "min.insync.replicas=1",
                "preallocate=false",
                "retention.bytes=-1",
                "retention.ms=604800000",
                "segment.bytes=1073741824",
                "segment.ms=604800000",
                "unclean.leader.election.enable=false",
            ]
        );
    }

    #[test]
    fn what_is_shown_reads_back() {
        let told = with(&[
            ("cleanup.policy", "delete, compact"),
            ("delete.retention.ms", "5"),
            ("flush.messages", "1000"),
            ("flush.ms", "1s"),
            ("max.message.bytes", "2 MiB"),
            ("message.timestamp.after.max.ms", "-1"),
            ("message.timestamp.before.max.ms", "1d"),
            ("min.cleanable.dirty.ratio", "0.05"),
            ("min.compaction.lag.ms", "1min"),
            ("retention.bytes", "10 GiB"),
            ("retention.ms", "-1"),
            ("segment.bytes", "1048576"),
            ("segment.ms", "9223372036854775807"),
        ])
        .unwrap();
        let shown: Vec<(&str, String)> = told.entries().collect();
        assert_eq!(
            shown.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(" "),
            "compact,delete producer 5 1000 1000 2097152 9223372036854775807 86400000 CreateTime 0.05 60000 1 false \
             10737418240 -1 1048576 9223372036854775807 false"
        );
        let again: Vec<(&str, &str)> = shown.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(with(&again), Ok(told));
        let log = told.log_config();
        assert_eq!((log.retention_ms, log.retention_bytes, log.segment_ms), (None, Some(10 << 30), None));
        assert_eq!(log.flush, FlushPolicy { ms: Some(1000), messages: Some(1000) });
        assert_eq!(log.cleanup, Cleanup { delete: true, compact: true });
    }

    #[test]
    fn a_refusal_is_worded_as_kafkas_and_says_what_would_be_right() {
        for (name, value, told, why) in [
            ("segment.bytes", "1 KiB", "1024", "Value must be at least 65536 (64 KiB)"),
            ("segment.bytes", "1 TiB", "1099511627776", "Value must be no more than 68719476736 (64 GiB)"),
            ("min.insync.replicas", "2", "2", "Value must be no more than 1; there is one broker"),
            ("min.insync.replicas", "0", "0", "Value must be at least 1"),
            ("min.insync.replicas", "one", "one", "Not a number of type INT"),
            ("max.message.bytes", "many", "many", SIZE),
            ("segment.ms", "0", "0", "Value must be at least 1; -1 is no limit"),
            ("flush.messages", "0", "0", "Value must be at least 1; -1 is no limit"),
            ("flush.messages", "10s", "10s", "Not a number of type LONG"),
            ("cleanup.policy", "delete, compct", "compct", "String must be one of: compact, delete"),
            ("retention.ms", "-2", "-2", "Value must be at least -1; -1 is no limit"),
            ("retention.ms", "soon", "soon", TIME),
            ("delete.retention.ms", "-1", "-1", "Value must be at least 0"),
            ("min.cleanable.dirty.ratio", "1.1", "1.1", "Value must be no more than 1"),
            ("preallocate", "yes", "yes", "Expected value to be either true or false"),
            ("unclean.leader.election.enable", "true", "true", "Value must be false; there is one broker"),
            ("compression.type", "zstd", "zstd", COMPRESSION),
        ] {
            assert_eq!(refusal(name, value), format!("Invalid value {told} for configuration {name}: {why}"));
        }
        assert_eq!(
            refusal("retention.m", "1"),
            "Unknown topic config name: retention.m; did you mean retention.ms?"
        );
        assert!(refusal("index.interval.bytes", "1").contains("topics take cleanup.policy, compression."));
    }

    const SIZE: &str = "Not a number of type INT; it may also be a size such as 64 MiB or 1GiB";
    const TIME: &str = "Not a number of type LONG; it may also be a time such as 10s, 1h or 7d";
    const COMPRESSION: &str =
        "String must be one of: producer; batches stay as producers have compressed them";
}
