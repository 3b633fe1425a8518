//! Every named limit of the protocol, in one place. Limits of a shard are in its configuration.

/// Longest topic name; Kafka's limit, which leaves room for a suffix in a 255-byte file name.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// Longest client id, configuration key, name of a group's state.
pub const SHORT_STRING_BYTES_MAX: usize = 255;

/// Longest configuration value or error message. Names that the broker is to judge may be as long too:
/// topics, groups, members.
pub const LONG_STRING_BYTES_MAX: usize = 4096;

/// Longest group id that is allowed.
pub const GROUP_ID_BYTES_MAX: usize = 250;

/// Longest metadata of a committed offset, unless the broker is configured lower.
pub const OFFSET_METADATA_BYTES_MAX: usize = 32 << 10;

/// Largest body a connection may send before its Hello is accepted. A TLS or HTTP client on our
/// port is told apart by this and by Hello's magic, before anything of size is allocated.
pub const HELLO_BODY_BYTES_MAX: usize = 1024;

/// Largest body of any frame, request or reply, unless the broker is configured lower.
pub const FRAME_BODY_BYTES_MAX: usize = 64 << 20;

/// Partitions in one request: Produce, Fetch, ListOffsets, DeleteRecords, and those about a group's offsets.
pub const PARTITIONS_PER_REQUEST_MAX: usize = 10_000;

/// Topics in one Metadata request.
pub const TOPICS_PER_REQUEST_MAX: usize = 10_000;

/// Groups in one DescribeGroups or DeleteGroups, and states in one ListGroups.
pub const GROUPS_PER_REQUEST_MAX: usize = 10_000;

/// Members of one group.
pub const MEMBERS_PER_GROUP_MAX: usize = 10_000;

/// Protocols (assignors) that a member of a group can offer.
pub const PROTOCOLS_PER_MEMBER_MAX: usize = 64;

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
const _: () = assert!(GROUP_ID_BYTES_MAX <= LONG_STRING_BYTES_MAX);
const _: () = assert!(OFFSET_METADATA_BYTES_MAX < u16::MAX as usize);
const _: () = assert!(HELLO_BODY_BYTES_MAX <= FRAME_BODY_BYTES_MAX);
