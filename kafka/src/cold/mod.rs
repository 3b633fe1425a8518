//! The messages that are seldom sent, by the crate `kafka-protocol`.
//!
//!     body ─ scan (tables.rs) ─▶ every count is held by bytes, few enough items ─ decode ─▶ its types
//!                └─▶ Malformed
//!
//! That crate makes room for a count before it has looked at what follows, so that a frame of twenty bytes
//! could ask for gigabytes and end the process. Nothing reaches it that the scan has not walked to its end.
//! What it takes for a request stays below [`MEMORY_PER_ITEM`] for each of at most [`ITEMS_MAX`] items.

use bytes::Bytes;
pub use kafka_protocol::messages as types;
pub use kafka_protocol::protocol::StrBytes;
use kafka_protocol::protocol::{Decodable, Encodable};

use crate::api::Api;
use crate::wire::Malformed;
use crate::{frame, header};

mod scan;
pub use scan::ITEMS_MAX;

mod tables;

/// Bytes that an item of a request takes at most, beyond those it has in the frame: a struct of the crate
/// with its tree of tagged fields, or one tagged field in such a tree, as it grows.
pub const MEMORY_PER_ITEM: usize = 128;

/// A response that could not be written: a value is set that its version has no room for.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a response to {api} cannot be written in version {version}: {why}")]
pub struct Unwritable {
    pub api: Api,
    pub version: i16,
    pub why: String,
}

/// A response of this module: a type of the crate, and which api it belongs to.
pub trait ColdResponse: Encodable {
    const API: Api;
}

macro_rules! cold {
    ($($api:ident, $request:ident, $response:ident;)*) => {
        /// A request as the crate reads it; its strings are slices of the frame.
        #[derive(Clone, PartialEq, Debug)]
        pub enum ColdRequest {
            $($api(types::$request),)*
        }

        impl ColdRequest {
            /// The apis of this module.
            pub const APIS: &[Api] = &[$(Api::$api),*];
        }

        $(impl ColdResponse for types::$response {
            const API: Api = Api::$api;
        })*

        fn decode(api: Api, version: i16, body: &mut Bytes) -> anyhow::Result<Option<ColdRequest>> {
            Ok(match api {
                $(Api::$api => Some(ColdRequest::$api(types::$request::decode(body, version)?)),)*
                _ => None,
            })
        }
    };
}

cold! {
    DescribeGroups, DescribeGroupsRequest, DescribeGroupsResponse;
    ListGroups, ListGroupsRequest, ListGroupsResponse;
    CreateTopics, CreateTopicsRequest, CreateTopicsResponse;
    DeleteTopics, DeleteTopicsRequest, DeleteTopicsResponse;
    DeleteRecords, DeleteRecordsRequest, DeleteRecordsResponse;
    OffsetForLeaderEpoch, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse;
    DescribeConfigs, DescribeConfigsRequest, DescribeConfigsResponse;
    AlterConfigs, AlterConfigsRequest, AlterConfigsResponse;
    DescribeLogDirs, DescribeLogDirsRequest, DescribeLogDirsResponse;
    CreatePartitions, CreatePartitionsRequest, CreatePartitionsResponse;
    DeleteGroups, DeleteGroupsRequest, DeleteGroupsResponse;
    IncrementalAlterConfigs, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse;
    ListPartitionReassignments, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse;
    OffsetDelete, OffsetDeleteRequest, OffsetDeleteResponse;
    DescribeCluster, DescribeClusterRequest, DescribeClusterResponse;
}

/// Reads a whole body of `api` in `version`.
///
/// # Panics
/// If `api` is not one of [`ColdRequest::APIS`]: the others have readers of their own.
pub fn decode_request(api: Api, version: i16, mut body: Bytes) -> Result<ColdRequest, Malformed> {
    let fields = tables::request(api).expect("BUG: the api has a reader of its own");
    let len = scan::scan(&body, api, version, fields)?;
    body.truncate(len);
    match decode(api, version, &mut body) {
        Ok(Some(request)) if body.is_empty() => Ok(request),
        // A null where the crate expects none, which the scan lets pass.
        Ok(_) | Err(_) => Err(Malformed::Invalid { field: api.name(), why: "kafka-protocol cannot read it" }),
    }
}

/// Appends one frame to `out`: length, header, and `response` in `version`. Returns its length. With an
/// error nothing is appended.
pub fn append_response<R: ColdResponse>(
    out: &mut Vec<u8>,
    version: i16,
    correlation: i32,
    response: &R,
) -> Result<usize, Unwritable> {
    let start = header::begin_response(out, R::API, version, correlation);
    match response.encode(out, version) {
        Ok(()) => Ok(frame::end(out, start, 0)),
        Err(why) => {
            out.truncate(start);
            Err(Unwritable { api: R::API, version, why: why.to_string() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_api_has_one_reader() {
        for api in Api::ALL {
            assert_eq!(tables::request(*api).is_some(), ColdRequest::APIS.contains(api), "{api}");
        }
        assert_eq!(ColdRequest::APIS.len(), 15);
    }

    /// Twenty bytes for which the crate alone would ask for 200 GiB.
    #[test]
    fn a_count_that_lies_does_not_reach_the_crate() {
        let body = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0, 3, b'a', b'b', b'c', 0, 0, 0, 0, 0]);
        let refused = decode_request(Api::CreateTopics, 2, body);
        assert_eq!(refused, Err(Malformed::Truncated { field: "topics" }));
    }

    #[test]
    fn a_null_that_is_not_allowed_is_an_error_and_not_a_panic() {
        let body = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0]);
        assert!(decode_request(Api::CreateTopics, 2, body).is_err());
    }

    #[test]
    fn what_a_version_has_no_room_for_is_told_and_leaves_nothing_behind() {
        let group = types::describe_groups_response::DescribedGroup::default();
        let group = group.with_error_message(Some(StrBytes::from_static_str("why")));
        let response = types::DescribeGroupsResponse::default().with_groups(vec![group]);
        let mut out = vec![1];
        let refused = append_response(&mut out, 5, 7, &response).unwrap_err();
        assert_eq!((refused.api, refused.version, &out[..]), (Api::DescribeGroups, 5, &[1][..]));
        let len = append_response(&mut out, 5, 7, &types::DescribeGroupsResponse::default());
        assert_eq!(len.map(|len| 1 + len), Ok(out.len()));
    }
}
