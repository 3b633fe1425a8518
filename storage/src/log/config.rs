//! What a topic's configuration says about its logs, by Kafka's names, in our units.
//!
//!     segment.bytes, segment.ms                              when a segment is closed
//!     cleanup.policy, retention.*, delete.retention.ms, …    what becomes of closed ones
//!     flush.ms, flush.messages                               when records count as safe

use crate::disk::BLOCK;

/// Times are in milliseconds; `None` is Kafka's -1: without limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogConfig {
    /// A segment is closed before it grows past this (`segment.bytes`).
    pub segment_bytes: u64,
    /// A segment is closed when its first record is this old (`segment.ms`).
    pub segment_ms: Option<u64>,
    pub cleanup: Cleanup,
    /// A closed segment is deleted when its newest record is older (`retention.ms`).
    pub retention_ms: Option<u64>,
    /// Closed segments are deleted, oldest first, while the log is larger (`retention.bytes`).
    pub retention_bytes: Option<u64>,
    /// How long a compacted log keeps the mark that a key is gone (`delete.retention.ms`).
    pub delete_retention_ms: u64,
    /// Share of a log that has to be uncompacted before it is compacted (`min.cleanable.dirty.ratio`).
    pub min_cleanable_dirty_ratio: DirtyRatio,
    /// Records younger than this are not compacted (`min.compaction.lag.ms`).
    pub min_compaction_lag_ms: u64,
    pub flush: FlushPolicy,
    /// A producer that was silent for this long is forgotten (`producer.id.expiration.ms`).
    pub producer_expiration_ms: u64,
    /// Whether space ahead of the tail is prepared (design D6).
    pub prepare: bool,
    /// A log whose rounds are larger than this gets extents ahead of its tail, not zeroes, and one whose
    /// rate is not for extents gets zeroes up to twice this size: zeroes first and records over them are
    /// twice the bytes for the disk, and a larger write gains little by it (docs/performance.md).
    pub zeroes_round_max: u64,
    /// Bytes a second from which on a log gets extents. Slower ones pay more than they gain: one of
    /// 10,000 partitions writes eight times before it needs more (x0.93, docs/performance.md).
    pub reserve_rate_min: u64,
}

/// `cleanup.policy`: `delete`, `compact`, or both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cleanup {
    pub delete: bool,
    pub compact: bool,
}

impl Cleanup {
    pub const DELETE: Cleanup = Cleanup { delete: true, compact: false };
    pub const COMPACT: Cleanup = Cleanup { delete: false, compact: true };
}

/// A share from 0 to 1, in thousandths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DirtyRatio(u16);

impl DirtyRatio {
    /// `None` outside of 0 to 1.
    pub fn new(ratio: f64) -> Option<DirtyRatio> {
        (0.0..=1.0).contains(&ratio).then(|| DirtyRatio((ratio * 1000.0).round() as u16))
    }

    pub fn get(self) -> f64 {
        f64::from(self.0) / 1000.0
    }

    /// Whether `part` of `whole` is at least this share.
    pub fn is_reached(self, part: u64, whole: u64) -> bool {
        u128::from(whole) * u128::from(self.0) <= u128::from(part) * 1000
    }
}

/// When a record counts as safe: acknowledged, and readable. Without limits that is when it is
/// durable. With one, it is when its write has completed: a crash of the machine may then lose what
/// was written since the last flush, a crash of the broker alone may not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FlushPolicy {
    /// Flush when the oldest unflushed record has waited this long (`flush.ms`).
    pub ms: Option<u64>,
    /// Flush when this many records are not flushed (`flush.messages`).
    pub messages: Option<u64>,
}

impl FlushPolicy {
    /// Every record is durable before it is acknowledged.
    pub const EVERY_ROUND: FlushPolicy = FlushPolicy { ms: None, messages: None };

    /// Records count once they are written, and are flushed when the log is closed.
    pub const ON_WRITE: FlushPolicy = FlushPolicy { ms: None, messages: Some(u64::MAX) };

    pub fn is_every_round(self) -> bool {
        self == FlushPolicy::EVERY_ROUND || self.messages == Some(1) || self.ms == Some(0)
    }
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

impl LogConfig {
    /// Kafka's defaults, with the default flush policy of ours.
    pub const KAFKA: LogConfig = LogConfig {
        segment_bytes: 1 << 30,
        segment_ms: Some(7 * DAY_MS),
        cleanup: Cleanup::DELETE,
        retention_ms: Some(7 * DAY_MS),
        retention_bytes: None,
        delete_retention_ms: DAY_MS,
        min_cleanable_dirty_ratio: DirtyRatio(500),
        min_compaction_lag_ms: 0,
        flush: FlushPolicy::EVERY_ROUND,
        producer_expiration_ms: DAY_MS,
        prepare: true,
        zeroes_round_max: 32 << 10,
        reserve_rate_min: 256 << 10,
    };

    /// Four pages to a segment, so that every boundary is near; nothing is ever deleted.
    pub fn tiny() -> LogConfig {
        LogConfig {
            segment_bytes: 4 * BLOCK as u64,
            segment_ms: None,
            retention_ms: None,
            ..LogConfig::KAFKA
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_reached_from_its_share_on() {
        let half = DirtyRatio::new(0.5).unwrap();
        assert!(half.is_reached(5, 10) && !half.is_reached(4, 10));
        assert!(DirtyRatio::new(0.0).unwrap().is_reached(0, 10));
        assert_eq!(DirtyRatio::new(1.5), None);
    }

    #[test]
    fn a_limit_of_one_record_or_no_time_is_every_round() {
        assert!(FlushPolicy { ms: None, messages: Some(1) }.is_every_round());
        assert!(FlushPolicy { ms: Some(0), messages: None }.is_every_round());
        assert!(!FlushPolicy { ms: Some(1000), messages: None }.is_every_round());
    }
}
