//! Every named limit of the protocol, in one place. Limits of a shard are in its configuration.

/// Longest topic name; Kafka's limit, which leaves room for a suffix in a 255-byte file name.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// Longest client id, configuration key, group id.
pub const SHORT_STRING_BYTES_MAX: usize = 255;

/// Longest configuration value or error message.
pub const LONG_STRING_BYTES_MAX: usize = 4096;

/// Largest body a connection may send before its Hello is accepted. A TLS or HTTP client on our
/// port is told apart by this and by Hello's magic, before anything of size is allocated.
pub const HELLO_BODY_BYTES_MAX: usize = 1024;

/// Largest body of any frame, request or reply, unless the broker is configured lower.
pub const FRAME_BODY_BYTES_MAX: usize = 64 << 20;

/// Partitions in one Produce, Fetch, ListOffsets or DeleteRecords.
pub const PARTITIONS_PER_REQUEST_MAX: usize = 10_000;

/// Topics in one Metadata request.
pub const TOPICS_PER_REQUEST_MAX: usize = 10_000;

/// Partitions of one topic.
pub const PARTITIONS_PER_TOPIC_MAX: u32 = 100_000;

/// Configuration entries of one topic.
pub const CONFIGS_PER_TOPIC_MAX: usize = 64;

/// Largest batch a topic may be configured to take (`max.message.bytes`). Eight fit in a frame;
/// a segment smaller than its batch holds that one batch.
pub const BATCH_BYTES_MAX: usize = 8 << 20;

/// Default of `max.message.bytes`, Kafka's.
pub const BATCH_BYTES_DEFAULT: usize = 1_048_588;

/// Records in one batch: what 32-bit offset deltas allow is far above what a batch can hold.
pub const RECORDS_PER_BATCH_MAX: u32 = i32::MAX as u32;

const _: () = assert!(BATCH_BYTES_MAX * 8 <= FRAME_BODY_BYTES_MAX);
const _: () = assert!(BATCH_BYTES_DEFAULT <= BATCH_BYTES_MAX);
const _: () = assert!(HELLO_BODY_BYTES_MAX <= FRAME_BODY_BYTES_MAX);
