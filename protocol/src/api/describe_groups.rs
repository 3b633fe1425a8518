//! DescribeGroups: the state of groups, and what each member has.
//!
//!     group ── state, protocol, generation ─┬─ member, where it is, metadata, assignment
//!                                           └─ …

use bytes::Bytes;

use super::wire::{DecodeError, Reader, Writer};
use super::{Api, Message};
use crate::model::ErrorCode;
use crate::model::limits::{
    GROUPS_PER_REQUEST_MAX, LONG_STRING_BYTES_MAX, MEMBERS_PER_GROUP_MAX, SHORT_STRING_BYTES_MAX,
};

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribeGroupsRequest {
    pub groups: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedMember {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub client_id: String,
    /// Address it connected from.
    pub client_host: String,
    /// For the protocol that was picked; empty while there is none.
    pub metadata: Bytes,
    pub assignment: Bytes,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedGroup {
    pub error: ErrorCode,
    pub group: String,
    /// Kafka's name: `Empty`, `PreparingRebalance`, `CompletingRebalance`, `Stable`, `Dead`.
    pub state: String,
    pub protocol_type: String,
    /// Empty while none is picked.
    pub protocol: String,
    pub generation: i32,
    pub members: Vec<DescribedMember>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribeGroupsReply {
    /// In the order of the request.
    pub groups: Vec<DescribedGroup>,
}

impl Message for DescribeGroupsRequest {
    const API: Api = Api::DescribeGroups;

    fn write(&self, w: &mut Writer<'_>) {
        write_groups(w, &self.groups);
    }

    fn read(body: &[u8]) -> Result<DescribeGroupsRequest, DecodeError> {
        let mut r = Reader::new(body);
        let groups = read_groups(&mut r)?;
        r.finish()?;
        Ok(DescribeGroupsRequest { groups })
    }
}

pub(super) fn write_groups(w: &mut Writer<'_>, groups: &[String]) {
    w.list("groups", groups, |w, group| w.string("group", group));
}

pub(super) fn read_groups(r: &mut Reader<'_>) -> Result<Vec<String>, DecodeError> {
    r.list("groups", GROUPS_PER_REQUEST_MAX, 2, |r| {
        r.string("group", LONG_STRING_BYTES_MAX).map(str::to_owned)
    })
}

impl Message for DescribeGroupsReply {
    const API: Api = Api::DescribeGroups;

    fn write(&self, w: &mut Writer<'_>) {
        w.list("groups", &self.groups, |w, group| group.write(w));
    }

    fn read(body: &[u8]) -> Result<DescribeGroupsReply, DecodeError> {
        let mut r = Reader::new(body);
        let groups =
            r.list("groups", GROUPS_PER_REQUEST_MAX, DescribedGroup::LEN_MIN, DescribedGroup::read)?;
        r.finish()?;
        Ok(DescribeGroupsReply { groups })
    }
}

impl DescribedGroup {
    const LEN_MIN: usize = 18;

    pub fn refused(error: ErrorCode, group: &str) -> DescribedGroup {
        DescribedGroup {
            error,
            group: group.to_owned(),
            state: String::new(),
            protocol_type: String::new(),
            protocol: String::new(),
            generation: -1,
            members: Vec::new(),
        }
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.u16("error", self.error.to_wire());
        w.string("group", &self.group);
        w.string("state", &self.state);
        w.string("protocol_type", &self.protocol_type);
        w.string("protocol", &self.protocol);
        w.i32("generation", self.generation);
        w.list("members", &self.members, |w, member| member.write(w));
    }

    fn read(r: &mut Reader<'_>) -> Result<DescribedGroup, DecodeError> {
        Ok(DescribedGroup {
            error: ErrorCode::from_wire(r.u16("error")?),
            group: r.string("group", LONG_STRING_BYTES_MAX)?.to_owned(),
            state: r.string("state", SHORT_STRING_BYTES_MAX)?.to_owned(),
            protocol_type: r.string("protocol_type", LONG_STRING_BYTES_MAX)?.to_owned(),
            protocol: r.string("protocol", LONG_STRING_BYTES_MAX)?.to_owned(),
            generation: r.i32("generation")?,
            members: r.list(
                "members",
                MEMBERS_PER_GROUP_MAX,
                DescribedMember::LEN_MIN,
                DescribedMember::read,
            )?,
        })
    }
}

impl DescribedMember {
    const LEN_MIN: usize = 16;

    fn write(&self, w: &mut Writer<'_>) {
        w.string("member_id", &self.member_id);
        w.optional_string("instance_id", self.instance_id.as_deref());
        w.string("client_id", &self.client_id);
        w.string("client_host", &self.client_host);
        w.blob("metadata", &self.metadata);
        w.blob("assignment", &self.assignment);
    }

    fn read(r: &mut Reader<'_>) -> Result<DescribedMember, DecodeError> {
        Ok(DescribedMember {
            member_id: r.string("member_id", LONG_STRING_BYTES_MAX)?.to_owned(),
            instance_id: r.optional_string("instance_id", LONG_STRING_BYTES_MAX)?.map(str::to_owned),
            client_id: r.string("client_id", LONG_STRING_BYTES_MAX)?.to_owned(),
            client_host: r.string("client_host", SHORT_STRING_BYTES_MAX)?.to_owned(),
            metadata: Bytes::copy_from_slice(r.blob("metadata")?),
            assignment: Bytes::copy_from_slice(r.blob("assignment")?),
        })
    }
}
