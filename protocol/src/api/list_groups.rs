//! ListGroups: every group of the broker, or those in some states (KIP-518).

use super::wire::{DecodeError, Reader, Writer};
use super::{Api, Message};
use crate::model::ErrorCode;
use crate::model::limits::{GROUPS_PER_REQUEST_MAX, LONG_STRING_BYTES_MAX, SHORT_STRING_BYTES_MAX};

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListGroupsRequest {
    /// Names of states as Kafka has them: `Empty`, `Stable`, …; empty for groups in any state.
    pub states: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedGroup {
    pub group: String,
    /// Empty for a group that has offsets and never had members.
    pub protocol_type: String,
    pub state: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListGroupsReply {
    pub error: ErrorCode,
    pub groups: Vec<ListedGroup>,
}

impl ListGroupsReply {
    pub fn refused(error: ErrorCode) -> ListGroupsReply {
        ListGroupsReply { error, groups: Vec::new() }
    }
}

impl Message for ListGroupsRequest {
    const API: Api = Api::ListGroups;

    fn write(&self, w: &mut Writer<'_>) {
        w.list("states", &self.states, |w, state| w.string("state", state));
    }

    fn read(body: &[u8]) -> Result<ListGroupsRequest, DecodeError> {
        let mut r = Reader::new(body);
        let states = r.list("states", GROUPS_PER_REQUEST_MAX, 2, |r| {
            r.string("state", SHORT_STRING_BYTES_MAX).map(str::to_owned)
        })?;
        r.finish()?;
        Ok(ListGroupsRequest { states })
    }
}

impl Message for ListGroupsReply {
    const API: Api = Api::ListGroups;

    fn write(&self, w: &mut Writer<'_>) {
        w.u16("error", self.error.to_wire());
        w.list("groups", &self.groups, |w, group| {
            w.string("group", &group.group);
            w.string("protocol_type", &group.protocol_type);
            w.string("state", &group.state);
        });
    }

    fn read(body: &[u8]) -> Result<ListGroupsReply, DecodeError> {
        let mut r = Reader::new(body);
        let reply = ListGroupsReply {
            error: ErrorCode::from_wire(r.u16("error")?),
            groups: r.list("groups", usize::MAX, 6, |r| {
                Ok(ListedGroup {
                    group: r.string("group", LONG_STRING_BYTES_MAX)?.to_owned(),
                    protocol_type: r.string("protocol_type", LONG_STRING_BYTES_MAX)?.to_owned(),
                    state: r.string("state", SHORT_STRING_BYTES_MAX)?.to_owned(),
                })
            })?,
        };
        r.finish()?;
        Ok(reply)
    }
}
