//! DeleteGroups: groups without members are gone when the answer comes, and their offsets with them.

use super::describe_groups::{read_groups, write_groups};
use super::wire::{DecodeError, Reader, Writer};
use super::{Api, Message};
use crate::model::ErrorCode;
use crate::model::limits::GROUPS_PER_REQUEST_MAX;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeleteGroupsRequest {
    pub groups: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeleteGroupsReply {
    /// In the order of the request.
    pub errors: Vec<ErrorCode>,
}

impl Message for DeleteGroupsRequest {
    const API: Api = Api::DeleteGroups;

    fn write(&self, w: &mut Writer<'_>) {
        write_groups(w, &self.groups);
    }

    fn read(body: &[u8]) -> Result<DeleteGroupsRequest, DecodeError> {
        let mut r = Reader::new(body);
        let groups = read_groups(&mut r)?;
        r.finish()?;
        Ok(DeleteGroupsRequest { groups })
    }
}

impl Message for DeleteGroupsReply {
    const API: Api = Api::DeleteGroups;

    fn write(&self, w: &mut Writer<'_>) {
        w.list("errors", &self.errors, |w, error| w.u16("error", error.to_wire()));
    }

    fn read(body: &[u8]) -> Result<DeleteGroupsReply, DecodeError> {
        let mut r = Reader::new(body);
        let errors =
            r.list("errors", GROUPS_PER_REQUEST_MAX, 2, |r| r.u16("error").map(ErrorCode::from_wire))?;
        r.finish()?;
        Ok(DeleteGroupsReply { errors })
    }
}
