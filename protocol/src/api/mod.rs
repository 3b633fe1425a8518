//! The messages of the native protocol: one file per message, request above reply.
//!
//!     Hello ▸ Metadata                                     who is there, what there is
//!     CreateTopic, CreatePartitions, AlterTopic, DeleteTopic   what there shall be
//!     Produce ▸ Fetch ▸ ListOffsets                        the data path: small header, record sets
//!     InitProducerId                                       who a producer is, so that nothing is stored twice
//!     DeleteRecords                                        the beginning of a partition, on request
//!     FindCoordinator ▸ JoinGroup ▸ SyncGroup ▸ Heartbeat ▸ LeaveGroup     who reads which partition
//!     OffsetCommit ▸ OffsetFetch ▸ OffsetDelete            how far a group has read
//!     ListGroups, DescribeGroups, DeleteGroups             which groups there are
//!     Stats                                                the broker's counters
//!     ErrorResponse                                        instead of any reply
//!
//! Every request body decodes into a struct or a view that borrows the body; a count is compared
//! with the bytes that are there before a list is allocated. Encoders name each field they write,
//! and `docs/protocol.md` is made from those names (`tests/protocol_doc.rs`).

use std::fmt;

pub mod wire;
pub use wire::{DecodeError, Field, Writer};

pub mod hello;
pub use hello::{HelloReply, HelloRequest};

pub mod metadata;
pub use metadata::{
    BrokerMetadata, ConfigEntry, MetadataReply, MetadataRequest, PartitionMetadata, TopicMetadata,
    TopicSelection,
};

pub mod create_topic;
pub use create_topic::{CreateTopicReply, CreateTopicRequest};

pub mod delete_topic;
pub use delete_topic::{DeleteTopicReply, DeleteTopicRequest};

pub mod create_partitions;
pub use create_partitions::{CreatePartitionsReply, CreatePartitionsRequest};

pub mod alter_topic;
pub use alter_topic::{AlterTopicReply, AlterTopicRequest, ConfigChange};

pub mod produce;
pub use produce::{Acks, ProduceEntry, ProducePartition, ProduceReply, ProduceRequest, ProduceResult};

pub mod fetch;
pub use fetch::{FetchEntry, FetchParams, FetchReply, FetchRequest, FetchResult, FetchedPartition};

pub mod list_offsets;
pub use list_offsets::{
    ListOffsetsEntry, ListOffsetsReply, ListOffsetsRequest, ListOffsetsResult, OffsetSpec,
};

pub mod init_producer_id;
pub use init_producer_id::{InitProducerIdReply, InitProducerIdRequest};

pub mod delete_records;
pub use delete_records::{DeleteRecordsEntry, DeleteRecordsReply, DeleteRecordsRequest, DeleteRecordsResult};

pub mod find_coordinator;
pub use find_coordinator::{FindCoordinatorReply, FindCoordinatorRequest};

pub mod join_group;
pub use join_group::{JoinGroupReply, JoinGroupRequest, JoinedMember, OfferedProtocol};

pub mod sync_group;
pub use sync_group::{Assignment, SyncGroupReply, SyncGroupRequest};

pub mod heartbeat;
pub use heartbeat::{HeartbeatReply, HeartbeatRequest};

pub mod leave_group;
pub use leave_group::{LeaveGroupReply, LeaveGroupRequest, LeavingMember, LeftMember};

pub mod offset_commit;
pub use offset_commit::{OffsetCommitEntry, OffsetCommitReply, OffsetCommitRequest};

pub mod offset_fetch;
pub use offset_fetch::{FetchedOffset, OffsetFetchReply, OffsetFetchRequest, OffsetSelection};

pub mod offset_delete;
pub use offset_delete::{OffsetDeleteReply, OffsetDeleteRequest};

pub mod list_groups;
pub use list_groups::{ListGroupsReply, ListGroupsRequest, ListedGroup};

pub mod describe_groups;
pub use describe_groups::{DescribeGroupsReply, DescribeGroupsRequest, DescribedGroup, DescribedMember};

pub mod delete_groups;
pub use delete_groups::{DeleteGroupsReply, DeleteGroupsRequest};

pub mod stats;
pub use stats::{ShardStats, StatsReply, StatsRequest};

pub mod error_response;
pub use error_response::ErrorResponse;

/// The one version of every message so far. A Hello agrees on it.
pub const VERSION: u8 = 1;

/// Which message a frame holds. A number of a later version survives a round trip.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Api(u16);

macro_rules! apis {
    ($($name:ident = $number:literal,)*) => {
        #[allow(non_upper_case_globals)]
        impl Api {
            $(pub const $name: Api = Api($number);)*

            /// All apis this version knows, in the order of their numbers.
            pub const ALL: &[Api] = &[$(Api::$name),*];

            /// Name as it stands in documents and logs; `None` for an api of a later version.
            pub fn name(self) -> Option<&'static str> {
                match self.0 { $($number => Some(stringify!($name)),)* _ => None }
            }
        }
    };
}

apis! {
    Hello = 1,
    Metadata = 2,
    CreateTopic = 3,
    DeleteTopic = 4,
    Produce = 5,
    Fetch = 6,
    ListOffsets = 7,
    Stats = 8,
    InitProducerId = 9,
    DeleteRecords = 10,
    CreatePartitions = 11,
    AlterTopic = 12,
    FindCoordinator = 13,
    JoinGroup = 14,
    SyncGroup = 15,
    Heartbeat = 16,
    LeaveGroup = 17,
    OffsetCommit = 18,
    OffsetFetch = 19,
    OffsetDelete = 20,
    ListGroups = 21,
    DescribeGroups = 22,
    DeleteGroups = 23,
}

impl Api {
    pub const fn from_wire(number: u16) -> Api {
        Api(number)
    }

    pub const fn to_wire(self) -> u16 {
        self.0
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Unknown({})", self.0),
        }
    }
}

/// A message body that is written whole and read whole.
pub trait Message: Sized {
    const API: Api;

    fn write(&self, writer: &mut Writer<'_>);

    fn read(body: &[u8]) -> Result<Self, DecodeError>;

    fn append_to(&self, out: &mut Vec<u8>) {
        self.write(&mut Writer::new(out));
    }
}
