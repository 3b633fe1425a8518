//! The messages that are sent often: one file each, request above response.
//!
//!     api_versions ▸ metadata                        who is there, what there is
//!     produce ▸ fetch ▸ list_offsets                 the data path
//!     init_producer_id                               who a producer is
//!     find_coordinator ▸ join_group ▸ sync_group ▸ heartbeat ▸ leave_group    membership
//!     offset_commit ▸ offset_fetch                   how far a group has read
//!
//! A request borrows its frame: strings and bytes are slices of it, arrays are [`List`]s that are read
//! anew by who goes over them. Fields of versions that the request is not of have the value Kafka gives
//! them. Responses are written from borrowed parts; fields that a version lacks are left out.

use crate::api::Api;
use crate::wire::{List, Malformed, Read, Reader, Writer};

pub mod api_versions;
pub use api_versions::{ApiRange, ApiVersionsRequest, ApiVersionsResponse};

pub mod metadata;
pub use metadata::{
    MetadataBroker, MetadataPartition, MetadataRequest, MetadataResponse, MetadataTopic, RequestedTopic,
};

pub mod produce;
pub use produce::{
    ProducePartition, ProduceRequest, ProduceResponseWriter, ProduceTopic, ProducedPartition, RecordError,
};

pub mod fetch;
pub use fetch::{
    AbortedTransaction, FetchHead, FetchPartition, FetchRequest, FetchResponseWriter, FetchTopic,
    FetchedPartition, ForgottenTopic,
};

pub mod list_offsets;
pub use list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic, ListedOffset,
};

pub mod init_producer_id;
pub use init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

pub mod find_coordinator;
pub use find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse, FoundCoordinator};

pub mod join_group;
pub use join_group::{JoinGroupRequest, JoinGroupResponse, JoinProtocol, JoinedMember};

pub mod sync_group;
pub use sync_group::{SyncAssignment, SyncGroupRequest, SyncGroupResponse};

pub mod heartbeat;
pub use heartbeat::{HeartbeatRequest, HeartbeatResponse};

pub mod leave_group;
pub use leave_group::{LeaveGroupRequest, LeaveGroupResponse, LeavingMember, LeftMember};

pub mod offset_commit;
pub use offset_commit::{
    CommitPartition, CommitTopic, CommittedPartition, OffsetCommitRequest, OffsetCommitResponse,
};

pub mod offset_fetch;
pub use offset_fetch::{
    FetchedGroup, FetchedOffset, GroupOffsets, OffsetFetchRequest, OffsetFetchResponse, OffsetTopic,
};

/// A request that is read in place.
pub trait Request<'a>: Read<'a> {
    const API: Api;

    /// Reads a whole body. What may follow it is not looked at, as in Kafka: librdkafka 2.16 asks for all
    /// topics (Metadata 12) with three bytes too many.
    fn parse(body: &'a [u8], version: i16) -> Result<Self, Malformed> {
        Self::read(&mut Reader::new(body, Self::API, version))
    }
}

/// A response that is written in one go.
pub trait Response {
    const API: Api;

    /// Writes the body.
    fn write(&self, w: &mut Writer<'_>);
}

/// What a response says of the partitions of one topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfTopic<'a, P> {
    pub name: &'a str,
    pub partitions: Vec<P>,
}

impl<P> OfTopic<'_, P> {
    fn write(&self, w: &mut Writer<'_>, mut partition: impl FnMut(&mut Writer<'_>, &P)) {
        w.string(self.name);
        w.count(self.partitions.len());
        self.partitions.iter().for_each(|of| partition(w, of));
        w.no_tags();
    }
}

/// What was one thing in old versions and is an array in newer ones.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum OneOrMany<'a, T: Read<'a>> {
    One(T),
    Many(List<'a, T>),
}

impl<'a, T: Read<'a> + Copy> OneOrMany<'a, T> {
    pub fn len(&self) -> usize {
        match self {
            OneOrMany::One(_) => 1,
            OneOrMany::Many(list) => list.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = T> + use<'a, T> {
        let (one, many) = match *self {
            OneOrMany::One(one) => (Some(one), None),
            OneOrMany::Many(many) => (None, Some(many)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

/// Who leads a partition, told with an error that says that we do not (KIP-951).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CurrentLeader {
    pub node_id: i32,
    pub epoch: i32,
}

impl CurrentLeader {
    fn write(self, w: &mut Writer<'_>) {
        w.i32(self.node_id);
        w.i32(self.epoch);
        w.no_tags();
    }
}
