//! The messages of the native protocol: one file per message, request above reply.
//!
//!     Hello ▸ Metadata ▸ CreateTopic, DeleteTopic          who is there, what there is
//!     Produce ▸ Fetch ▸ ListOffsets                        the data path: small header, record sets
//!     InitProducerId                                       who a producer is, so that nothing is stored twice
//!     DeleteRecords                                        the beginning of a partition, on request
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

pub mod stats;
pub use stats::{ShardStats, StatsReply, StatsRequest};

pub mod error_response;
pub use error_response::ErrorResponse;

/// The one version of every message so far. A Hello agrees on it.
pub const VERSION: u8 = 1;

/// Which message a frame holds. A number of a later version survives a round trip.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Api(u16);

#[allow(non_upper_case_globals)]
impl Api {
    pub const Hello: Api = Api(1);
    pub const Metadata: Api = Api(2);
    pub const CreateTopic: Api = Api(3);
    pub const DeleteTopic: Api = Api(4);
    pub const Produce: Api = Api(5);
    pub const Fetch: Api = Api(6);
    pub const ListOffsets: Api = Api(7);
    pub const Stats: Api = Api(8);
    pub const InitProducerId: Api = Api(9);
    pub const DeleteRecords: Api = Api(10);

    pub const ALL: [Api; 10] = [
        Api::Hello,
        Api::Metadata,
        Api::CreateTopic,
        Api::DeleteTopic,
        Api::Produce,
        Api::Fetch,
        Api::ListOffsets,
        Api::Stats,
        Api::InitProducerId,
        Api::DeleteRecords,
    ];

    pub const fn from_wire(number: u16) -> Api {
        Api(number)
    }

    pub const fn to_wire(self) -> u16 {
        self.0
    }

    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Api::Hello => "Hello",
            Api::Metadata => "Metadata",
            Api::CreateTopic => "CreateTopic",
            Api::DeleteTopic => "DeleteTopic",
            Api::Produce => "Produce",
            Api::Fetch => "Fetch",
            Api::ListOffsets => "ListOffsets",
            Api::Stats => "Stats",
            Api::InitProducerId => "InitProducerId",
            Api::DeleteRecords => "DeleteRecords",
            _ => return None,
        })
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
