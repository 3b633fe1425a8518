//! What a topic can be told when it is created, by Kafka's names, and what it gets otherwise.
//!
//!     defaults (topic.* of the broker)  +  {"segment.bytes": "1048576"}  ──▶  TopicConfig

use protocol::model::limits::BATCH_BYTES_MAX;
use storage::log::LogConfig;

use super::keys::{MESSAGE_BYTES_MIN, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use super::value::{Size, Value, show_size};

/// What a topic gets that does not say otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicDefaults {
    /// `topic.partitions`: 1.
    pub partitions: u32,
    /// `topic.segment_bytes`: bytes of a log file, 1 GiB.
    pub segment_bytes: u64,
    /// `topic.max_message_bytes`: bytes of the largest batch, 1,048,588.
    pub max_message_bytes: usize,
}

/// What holds for one topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicConfig {
    /// `segment.bytes`
    pub segment_bytes: u64,
    /// `max.message.bytes`
    pub max_message_bytes: usize,
}

/// Why a topic cannot be configured so; the text is for the user.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidTopicConfig(String);

pub const SEGMENT_BYTES: &str = "segment.bytes";
pub const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
const NAMES: [&str; 2] = [SEGMENT_BYTES, MAX_MESSAGE_BYTES];

impl TopicConfig {
    /// The defaults, with `entries` over them. Values are Kafka's, plain numbers, or sizes as our
    /// own configuration has them.
    pub fn resolve<'a>(
        defaults: &TopicDefaults,
        entries: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<TopicConfig, InvalidTopicConfig> {
        let TopicDefaults { segment_bytes, max_message_bytes, .. } = *defaults;
        let mut config = TopicConfig { segment_bytes, max_message_bytes };
        for (name, value) in entries {
            match name {
                SEGMENT_BYTES => {
                    config.segment_bytes = size_within(name, value, SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)?;
                }
                MAX_MESSAGE_BYTES => {
                    let bytes = size_within(name, value, MESSAGE_BYTES_MIN, BATCH_BYTES_MAX as u64)?;
                    config.max_message_bytes =
                        usize::try_from(bytes).expect("BUG: bounded by BATCH_BYTES_MAX");
                }
                _ => return Err(unknown(name)),
            }
        }
        Ok(config)
    }

    /// What the topic's logs are told.
    pub fn log_config(&self) -> LogConfig {
        LogConfig { segment_bytes: self.segment_bytes, ..LogConfig::KAFKA }
    }

    /// Every entry that is in force, by Kafka's names.
    pub fn entries(&self) -> [(&'static str, String); 2] {
        [
            (SEGMENT_BYTES, self.segment_bytes.to_string()),
            (MAX_MESSAGE_BYTES, self.max_message_bytes.to_string()),
        ]
    }
}

fn size_within(name: &str, value: &str, low: u64, high: u64) -> Result<u64, InvalidTopicConfig> {
    let Size(bytes) = Size::parse(value).map_err(|why| InvalidTopicConfig(format!("{name}: {why}")))?;
    if low <= bytes && bytes <= high {
        return Ok(bytes);
    }
    let [bytes, low, high] = [bytes, low, high].map(show_size);
    Err(InvalidTopicConfig(format!("{name}: {bytes} is out of bounds; it may be from {low} to {high}")))
}

fn unknown(name: &str) -> InvalidTopicConfig {
    let near = NAMES.into_iter().find(|known| strsim::osa_distance(name, known) <= 3);
    let hint = match near {
        Some(near) => format!("did you mean {near}?"),
        None => format!("topics take {}", NAMES.join(", ")),
    };
    InvalidTopicConfig(format!("{name:?} is not a topic configuration; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: TopicDefaults =
        TopicDefaults { partitions: 1, segment_bytes: 1 << 30, max_message_bytes: 1_048_588 };

    fn refusal(name: &str, value: &str) -> String {
        TopicConfig::resolve(&DEFAULTS, [(name, value)]).unwrap_err().to_string()
    }

    #[test]
    fn a_topic_has_the_defaults_and_what_it_was_told() {
        let config = TopicConfig::resolve(&DEFAULTS, [("segment.bytes", "1048576")]).unwrap();
        assert_eq!(config, TopicConfig { segment_bytes: 1 << 20, max_message_bytes: 1_048_588 });
        let again: Vec<(&str, String)> = config.entries().into();
        let again = again.iter().map(|(name, value)| (*name, value.as_str()));
        assert_eq!(TopicConfig::resolve(&DEFAULTS, again), Ok(config));
    }

    #[test]
    fn a_refusal_says_what_would_be_right() {
        assert_eq!(
            refusal("segment.bytes", "1"),
            "segment.bytes: 1 is out of bounds; it may be from 64 KiB to 64 GiB"
        );
        assert_eq!(
            refusal("segment.byte", "1"),
            "\"segment.byte\" is not a topic configuration; did you mean segment.bytes?"
        );
        assert_eq!(
            refusal("retention.ms", "1"),
            "\"retention.ms\" is not a topic configuration; topics take segment.bytes, max.message.bytes"
        );
        assert!(refusal("max.message.bytes", "many").contains("is not a size"));
    }
}
