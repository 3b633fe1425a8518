//! OffsetCommit: how far a group has read.
//!
//!     generation −1 and no member id      a consumer outside of any group's membership
//!     else                                a member, of this generation only

use super::{OfTopic, Request, Response};
use crate::api::Api;
use crate::error::ErrorCode;
use crate::wire::{List, Malformed, Read, Reader, Writer};

/// An OffsetCommit request in place.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct OffsetCommitRequest<'a> {
    pub group: &'a str,
    pub generation: i32,
    pub member_id: &'a str,
    /// Of a static member; since 7.
    pub instance_id: Option<&'a str>,
    /// −1 for the broker's; 2 to 4.
    pub retention_time_ms: i64,
    pub topics: List<'a, CommitTopic<'a>>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CommitTopic<'a> {
    pub name: &'a str,
    pub partitions: List<'a, CommitPartition<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommitPartition<'a> {
    pub index: i32,
    pub offset: i64,
    /// −1 for none; since 6.
    pub leader_epoch: i32,
    pub metadata: Option<&'a str>,
}

impl<'a> Read<'a> for OffsetCommitRequest<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let request = OffsetCommitRequest {
            group: r.string("group")?,
            generation: r.i32("generation")?,
            member_id: r.string("member_id")?,
            instance_id: if r.since(7) { r.nullable_string("instance_id")? } else { None },
            retention_time_ms: if r.since(5) { -1 } else { r.i64("retention_time_ms")? },
            topics: r.list("topics")?,
        };
        r.skip_tags()?;
        Ok(request)
    }
}

impl<'a> Read<'a> for CommitTopic<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let topic = CommitTopic { name: r.string("topic")?, partitions: r.list("partitions")? };
        r.skip_tags()?;
        Ok(topic)
    }
}

impl<'a> Read<'a> for CommitPartition<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let partition = CommitPartition {
            index: r.i32("partition")?,
            offset: r.i64("offset")?,
            leader_epoch: if r.since(6) { r.i32("leader_epoch")? } else { -1 },
            metadata: r.nullable_string("metadata")?,
        };
        r.skip_tags()?;
        Ok(partition)
    }
}

impl<'a> Request<'a> for OffsetCommitRequest<'a> {
    const API: Api = Api::OffsetCommit;
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetCommitResponse<'a> {
    /// Since 3.
    pub throttle_ms: i32,
    pub topics: Vec<OfTopic<'a, CommittedPartition>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommittedPartition {
    pub index: i32,
    pub error: ErrorCode,
}

impl Response for OffsetCommitResponse<'_> {
    const API: Api = Api::OffsetCommit;

    fn write(&self, w: &mut Writer<'_>) {
        if w.since(3) {
            w.i32(self.throttle_ms);
        }
        w.list(&self.topics, |w, topic| {
            topic.write(w, |w, partition| {
                w.i32(partition.index);
                w.error(partition.error);
                w.no_tags();
            });
        });
        w.no_tags();
    }
}
