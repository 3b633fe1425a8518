//! OffsetFetch: from where a group reads on.
//!
//!     1 to 7      one group      topics ▸ partitions ▸ offset      error of the request since 2
//!     since 8     groups         the same of each, with an error of each

use super::{OfTopic, OneOrMany, Request, Response};
use crate::api::Api;
use crate::error::ErrorCode;
use crate::wire::{List, Malformed, Read, Reader, Writer};

/// An OffsetFetch request in place.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct OffsetFetchRequest<'a> {
    pub groups: OneOrMany<'a, GroupOffsets<'a>>,
    /// Whether offsets of open transactions are an error rather than left out; since 7.
    pub require_stable: bool,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GroupOffsets<'a> {
    pub group: &'a str,
    /// `None` for all that the group has; since 2.
    pub topics: Option<List<'a, OffsetTopic<'a>>>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct OffsetTopic<'a> {
    pub name: &'a str,
    pub partitions: List<'a, i32>,
}

impl<'a> Read<'a> for OffsetFetchRequest<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let groups = match r.since(8) {
            true => OneOrMany::Many(r.list("groups")?),
            false => OneOrMany::One(GroupOffsets::read_fields(r)?),
        };
        let require_stable = r.since(7) && r.bool("require_stable")?;
        r.skip_tags()?;
        Ok(OffsetFetchRequest { groups, require_stable })
    }
}

impl<'a> GroupOffsets<'a> {
    fn read_fields(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let group = r.string("group")?;
        let topics = if r.since(2) { r.nullable_list("topics")? } else { Some(r.list("topics")?) };
        Ok(GroupOffsets { group, topics })
    }
}

impl<'a> Read<'a> for GroupOffsets<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let group = GroupOffsets::read_fields(r)?;
        r.skip_tags()?;
        Ok(group)
    }
}

impl<'a> Read<'a> for OffsetTopic<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let topic = OffsetTopic { name: r.string("topic")?, partitions: r.list("partitions")? };
        r.skip_tags()?;
        Ok(topic)
    }
}

impl<'a> Request<'a> for OffsetFetchRequest<'a> {
    const API: Api = Api::OffsetFetch;
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetFetchResponse<'a> {
    /// Since 3.
    pub throttle_ms: i32,
    /// One for each that was asked for; before 8 exactly one.
    pub groups: Vec<FetchedGroup<'a>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchedGroup<'a> {
    /// Since 8.
    pub group: &'a str,
    pub topics: Vec<OfTopic<'a, FetchedOffset<'a>>>,
    /// Since 2; version 1 tells it in each partition, where the caller puts it too.
    pub error: ErrorCode,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchedOffset<'a> {
    pub index: i32,
    /// −1 for none.
    pub offset: i64,
    /// −1 for none; since 5.
    pub leader_epoch: i32,
    /// Empty for none.
    pub metadata: Option<&'a str>,
    pub error: ErrorCode,
}

impl Response for OffsetFetchResponse<'_> {
    const API: Api = Api::OffsetFetch;

    /// # Panics
    /// Before version 8, unless there is exactly one group.
    fn write(&self, w: &mut Writer<'_>) {
        if w.since(3) {
            w.i32(self.throttle_ms);
        }
        if w.since(8) {
            w.list(&self.groups, |w, group| {
                w.string(group.group);
                group.write_offsets(w);
                w.no_tags();
            });
        } else {
            let [group] = &self.groups[..] else { panic!("BUG: one group was asked for") };
            group.write_offsets(w);
        }
        w.no_tags();
    }
}

impl FetchedGroup<'_> {
    fn write_offsets(&self, w: &mut Writer<'_>) {
        w.list(&self.topics, |w, topic| {
            topic.write(w, |w, partition| {
                w.i32(partition.index);
                w.i64(partition.offset);
                if w.since(5) {
                    w.i32(partition.leader_epoch);
                }
                w.nullable_string(partition.metadata);
                w.error(partition.error);
                w.no_tags();
            });
        });
        if w.since(2) {
            w.error(self.error);
        }
    }
}
