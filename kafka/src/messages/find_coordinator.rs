//! FindCoordinator: which broker coordinates a group, or the transactions of a producer.
//!
//!     0 to 3      one key       the coordinator
//!     since 4     keys          a coordinator for each

use super::{OneOrMany, Request, Response};
use crate::api::Api;
use crate::error::ErrorCode;
use crate::wire::{Malformed, Read, Reader, Writer};

/// The keys are groups.
pub const KEY_OF_GROUP: i8 = 0;

/// The keys are transactional ids.
pub const KEY_OF_TRANSACTION: i8 = 1;

/// A FindCoordinator request in place.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FindCoordinatorRequest<'a> {
    /// Since 1; groups before.
    pub key_type: i8,
    pub keys: OneOrMany<'a, &'a str>,
}

impl<'a> Read<'a> for FindCoordinatorRequest<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let one = if r.since(4) { None } else { Some(r.string("key")?) };
        let key_type = if r.since(1) { r.i8("key_type")? } else { KEY_OF_GROUP };
        let keys = match one {
            Some(key) => OneOrMany::One(key),
            None => OneOrMany::Many(r.list("keys")?),
        };
        r.skip_tags()?;
        Ok(FindCoordinatorRequest { key_type, keys })
    }
}

impl<'a> Request<'a> for FindCoordinatorRequest<'a> {
    const API: Api = Api::FindCoordinator;
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FindCoordinatorResponse<'a> {
    /// Since 1.
    pub throttle_ms: i32,
    /// One for each key; before 4 exactly one.
    pub coordinators: Vec<FoundCoordinator<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FoundCoordinator<'a> {
    /// Since 4.
    pub key: &'a str,
    /// −1 with an error.
    pub node_id: i32,
    /// Empty with an error.
    pub host: &'a str,
    /// −1 with an error.
    pub port: i32,
    pub error: ErrorCode,
    /// Since 1.
    pub error_message: Option<&'a str>,
}

impl<'a> FoundCoordinator<'a> {
    pub fn refused(key: &'a str, error: ErrorCode) -> FoundCoordinator<'a> {
        FoundCoordinator { key, node_id: -1, host: "", port: -1, error, error_message: None }
    }

    fn write_place(&self, w: &mut Writer<'_>) {
        w.i32(self.node_id);
        w.string(self.host);
        w.i32(self.port);
    }

    fn write_error(&self, w: &mut Writer<'_>) {
        w.error(self.error);
        if w.since(1) {
            w.nullable_string(self.error_message);
        }
    }
}

impl Response for FindCoordinatorResponse<'_> {
    const API: Api = Api::FindCoordinator;

    /// # Panics
    /// Before version 4, unless there is exactly one coordinator.
    fn write(&self, w: &mut Writer<'_>) {
        if w.since(1) {
            w.i32(self.throttle_ms);
        }
        if w.since(4) {
            w.list(&self.coordinators, |w, found| {
                w.string(found.key);
                found.write_place(w);
                found.write_error(w);
                w.no_tags();
            });
        } else {
            let [found] = &self.coordinators[..] else { panic!("BUG: one key has one coordinator") };
            found.write_error(w);
            found.write_place(w);
        }
        w.no_tags();
    }
}
