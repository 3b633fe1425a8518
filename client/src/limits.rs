//! Every named limit and default of the client, in one place.
//!
//!     record ──▶ buffer (32 MiB) ──▶ batch (64 to 256 KiB, 5 ms) ──▶ Produce request (8 MiB, 5 a partition)
//!     record ◀── prefetch (8 MiB) ◀── partition (2 MiB) ◀─── Fetch reply (one outstanding a connection)
//!
//! Defaults are Kafka's where Kafka has one, so that nobody is surprised. The batch is larger than
//! Kafka's 16 KiB: the costs of a batch (its request, its commit, its acknowledgement) are shared by
//! four times the records.

use std::time::Duration;

use protocol::model::limits::{BATCH_BYTES_MAX, FRAME_BODY_BYTES_MAX};

/// A TCP connection and its Hello must be done in this time.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A request without a reply for this long ends its connection: the broker, or the way to it, is
/// gone, and only a new connection tells which requests were lost.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a send may wait for a topic to become known (Kafka's `max.block.ms`, for metadata).
pub const METADATA_TIMEOUT: Duration = Duration::from_secs(10);

/// Metadata older than this is asked for again although nothing says that it is stale.
pub const METADATA_MAX_AGE: Duration = Duration::from_secs(300);

/// Refreshes of metadata that errors ask for are at least this far apart.
pub const METADATA_PAUSE: Duration = Duration::from_millis(50);

/// How often a connection looks for requests over their time.
pub const TIMEOUT_TICK: Duration = Duration::from_millis(250);

pub const LINGER: Duration = Duration::from_millis(5);
pub const BATCH_BYTES: usize = 64 << 10;

/// While it cannot be sent, a batch grows to so many times its size, up to what a topic takes by default.
pub const BACKLOG_GROWTH: usize = 4;
pub const BACKLOG_BATCH_BYTES_MAX: usize = 256 << 10;

/// Buffers of acknowledged batches that a producer keeps for the next ones.
pub const SPARE_BUFFERS_BYTES: usize = 8 << 20;

pub const BUFFER_BYTES: usize = 32 << 20;
pub const IN_FLIGHT_PER_PARTITION: usize = 5;

/// Most batches of a partition that an idempotent producer has under way: the broker remembers the
/// last 5 of each producer, so that any of them can be sent again.
pub const IN_FLIGHT_IDEMPOTENT_MAX: usize = 5;

/// Time between two automatic commits of a consumer (Kafka's `auto.commit.interval.ms`).
pub const AUTO_COMMIT_INTERVAL: Duration = Duration::from_secs(5);

/// A member of a group that is not heard of for this long is out.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest time between two polls of a member (Kafka's `max.poll.interval.ms`).
pub const MAX_POLL_INTERVAL: Duration = Duration::from_secs(300);

/// Most records of one poll (Kafka's `max.poll.records`).
pub const MAX_POLL_RECORDS: usize = 500;

/// Most records that a consumer's workers have under way.
pub const WORKERS_IN_FLIGHT: usize = 500;

/// Most records of a consumer of which workers remember that they are done, because one before them is
/// not, or that they are not; 24 MiB. Past it nothing is read until that one is done.
pub const WORKERS_TRACKED_MAX: usize = 1 << 20;

/// How long workers may be at their records after a stop or a revocation. Others of the group may wait for
/// it: it is below what the coordinator waits for a member, [`MAX_POLL_INTERVAL`].
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Most keys of a partition of which records wait to be tried again, if their order is kept; at 100 bytes
/// each, 10 MB.
pub const WAITING_KEYS_MAX: usize = 100_000;

/// What is kept of the cause for which a record failed.
pub const HEADER_CAUSE_BYTES_MAX: usize = 4 << 10;

/// How long a commit is tried.
pub const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a consumer with a pattern looks for topics.
pub const PATTERN_REFRESH: Duration = Duration::from_secs(30);

pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);

/// First pause after a failure; doubled with each further one up to [`BACKOFF_MAX`].
pub const RETRY_BACKOFF: Duration = Duration::from_millis(100);
pub const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Record sets of several partitions share a Produce up to this size.
pub const PRODUCE_REQUEST_BYTES_MAX: usize = 8 << 20;

/// What a record is charged in the buffer beyond its key, value and headers.
pub const RECORD_OVERHEAD_BYTES: usize = 32;

/// How long a broker may wait for records. Twice Kafka's: a record that comes ends the wait at once, and a
/// hundred waiting readers cost a broker half.
pub const FETCH_MAX_WAIT: Duration = Duration::from_secs(1);
pub const FETCH_MIN_BYTES: u32 = 1;
pub const FETCH_BYTES: u32 = 2 << 20;
pub const PREFETCH_BYTES: usize = 8 << 20;

/// A partition that cannot be read for this long is reported, though the reader goes on trying.
pub const UNAVAILABLE_AFTER: Duration = Duration::from_secs(30);

/// Longest run of records that one compressed batch may unfold to.
pub const DECOMPRESSED_BATCH_BYTES_MAX: usize = 128 << 20;

/// Frames shorter than this are read through a shared buffer of this size; a longer one gets a
/// buffer of its own, so that its bytes are never moved.
pub const SMALL_FRAME_BYTES: usize = 64 << 10;

const _: () = assert!(DRAIN_TIMEOUT.as_secs() < MAX_POLL_INTERVAL.as_secs());
const _: () = assert!(PRODUCE_REQUEST_BYTES_MAX >= BATCH_BYTES_MAX);
const _: () = assert!(2 * PRODUCE_REQUEST_BYTES_MAX <= FRAME_BODY_BYTES_MAX);
const _: () = assert!(BATCH_BYTES <= BUFFER_BYTES);
const _: () = assert!(BACKLOG_BATCH_BYTES_MAX <= protocol::model::limits::BATCH_BYTES_DEFAULT);
const _: () = assert!(IN_FLIGHT_PER_PARTITION <= IN_FLIGHT_IDEMPOTENT_MAX);
