//! What an operator may set, and what nobody needs to.

use std::time::Duration;

/// Limits and times of all groups of a coordinator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupConfig {
    /// `group.min.session.timeout.ms`
    pub session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`
    pub session_timeout_max: Duration,
    /// `group.initial.rebalance.delay.ms`: how long the first member of a group waits for others, anew for
    /// each that comes, up to the rebalance timeout.
    pub initial_rebalance_delay: Duration,
    /// `group.max.size`: members of one group, counted with those that have only got an id.
    pub size_max: usize,
    /// `offsets.retention.minutes`
    pub offsets_retention: Duration,
    /// `offset.metadata.max.bytes`: of the string that is committed with an offset.
    pub offset_metadata_bytes_max: usize,
    /// What one group may hold: its members with their metadata and assignments, and its offsets. No batch of
    /// records is larger than this and [`TICK_BYTES_MAX`]; the partition must take batches of that size.
    pub group_bytes_max: usize,
    /// Groups of this coordinator; those that begin above it are refused.
    pub groups_max: usize,
}

impl GroupConfig {
    /// Kafka's defaults, except for the initial delay (Kafka: 3 s, which every small group then waits) and for
    /// the limits, which Kafka does not have.
    pub fn standard() -> GroupConfig {
        GroupConfig {
            session_timeout_min: Duration::from_secs(6),
            session_timeout_max: Duration::from_secs(30 * 60),
            initial_rebalance_delay: Duration::from_millis(100),
            size_max: 10_000,
            offsets_retention: Duration::from_secs(7 * 24 * 3600),
            offset_metadata_bytes_max: 4096,
            group_bytes_max: 6 << 20,
            groups_max: 1_000_000,
        }
    }
}

/// After so many bytes of records a tick ends; what is left is due at once.
pub const TICK_BYTES_MAX: usize = 1 << 20;

/// How long a member without a generation may wait for its first one; its client may be gone, and nothing
/// else would tell (Kafka's constant).
pub(super) const NEW_MEMBER_JOIN_TIMEOUT: Duration = Duration::from_secs(300);

/// How often one group's offsets are looked through for expired ones, at most (Kafka: all groups').
pub(super) const EXPIRY_INTERVAL: Duration = Duration::from_secs(600);

/// After so long, what could not be stored is tried again.
pub(super) const STORE_RETRY: Duration = Duration::from_secs(1);

/// Longest group id and group instance id.
pub(super) const ID_BYTES_MAX: usize = 250;

/// Longest name of a protocol or of a protocol type, longest client id, longest host. Longer client ids and
/// hosts are cut, as they only tell people something.
pub(super) const NAME_BYTES_MAX: usize = 255;

/// Protocols that one member may offer.
pub(super) const PROTOCOLS_MAX: usize = 64;

/// Charged to a group for each member and each offset, beside the bytes they are made of.
pub(super) const ENTRY_BYTES: usize = 64;
