//! Our codecs against the crate `kafka-protocol`, which was generated from Kafka's own definitions.
//!
//!     requests    theirs encode ─▶ body ─▶ ours parse, theirs decode: the same contents
//!     responses   the same values ─▶ ours write, theirs encode: the same bytes
//!     cold        theirs encode ─▶ body ─▶ the scan passes it, and what is decoded is what was encoded
//!
//! Every api, every version, contents from a tape of random bytes.

#[path = "differential/tape.rs"]
mod tape;

#[path = "differential/requests.rs"]
mod requests;

#[path = "differential/group_requests.rs"]
mod group_requests;

#[path = "differential/cold_requests.rs"]
mod cold_requests;

#[path = "differential/reread.rs"]
mod reread;

#[path = "differential/responses.rs"]
mod responses;

#[path = "differential/group_responses.rs"]
mod group_responses;

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use kafka::Api;
use kafka::cold::{self, ColdRequest};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable};
use proptest::prelude::*;
use responses::Frames;
use tape::Tape;

/// The frame of a response as the crate writes it: length, header, body.
fn frame(api: Api, version: i16, response: &impl Encodable) -> Vec<u8> {
    let mut out = BytesMut::from(&[0; 4][..]);
    let header = ResponseHeader::default().with_correlation_id(responses::CORRELATION);
    let key = ApiKey::try_from(api.key()).unwrap();
    header.encode(&mut out, key.response_header_version(version)).unwrap();
    response.encode(&mut out, version).unwrap();
    let len = i32::try_from(out.len() - 4).unwrap();
    out[..4].copy_from_slice(&len.to_be_bytes());
    out.into()
}

fn same<R: Decodable + PartialEq + Debug>(api: Api, v: i16, body: &Bytes, read: R) {
    same_but(api, v, body, read, |_| {});
}

fn same_but<R: Decodable + PartialEq + Debug>(
    api: Api,
    v: i16,
    body: &Bytes,
    read: R,
    forget: impl FnOnce(&mut R),
) {
    let mut theirs = R::decode(&mut body.clone(), v).unwrap();
    forget(&mut theirs);
    assert_eq!(read, theirs, "{api} {v}");
}

fn check_request(api: Api, v: i16, body: &Bytes) {
    match api {
        Api::Produce => same(api, v, body, reread::produce(body, v)),
        Api::Fetch => same_but(api, v, body, reread::fetch(body, v), |theirs| theirs.cluster_id = None),
        Api::ListOffsets => same(api, v, body, reread::list_offsets(body, v)),
        Api::Metadata => same(api, v, body, reread::metadata(body, v)),
        Api::ApiVersions => same(api, v, body, reread::api_versions(body, v)),
        Api::InitProducerId => same(api, v, body, reread::init_producer_id(body, v)),
        Api::OffsetCommit => same(api, v, body, reread::offset_commit(body, v)),
        Api::OffsetFetch => same(api, v, body, reread::offset_fetch(body, v)),
        Api::FindCoordinator => same(api, v, body, reread::find_coordinator(body, v)),
        Api::JoinGroup => same(api, v, body, reread::join_group(body, v)),
        Api::SyncGroup => same(api, v, body, reread::sync_group(body, v)),
        Api::Heartbeat => same(api, v, body, reread::heartbeat(body, v)),
        Api::LeaveGroup => same(api, v, body, reread::leave_group(body, v)),
        cold => check_cold(cold, v, body),
    }
}

/// What was decoded is encoded as it was.
fn check_cold(api: Api, v: i16, body: &Bytes) {
    let request = cold::decode_request(api, v, body.clone()).unwrap_or_else(|why| panic!("{api} {v}: {why}"));
    macro_rules! again {
        ($($api:ident)*) => {
            match &request { $(ColdRequest::$api(request) => requests::encode(v, request),)* }
        };
    }
    let again = again!(
        DescribeGroups ListGroups CreateTopics DeleteTopics DeleteRecords OffsetForLeaderEpoch DescribeConfigs
        AlterConfigs DescribeLogDirs CreatePartitions DeleteGroups IncrementalAlterConfigs
        ListPartitionReassignments OffsetDelete DescribeCluster
    );
    assert_eq!(again, body, "{api} {v}");
}

fn response(api: Api, v: i16, t: &mut Tape) -> Option<Frames> {
    Some(match api {
        Api::Produce => responses::produce(v, t),
        Api::Fetch => responses::fetch(v, t),
        Api::ListOffsets => responses::list_offsets(v, t),
        Api::Metadata => responses::metadata(v, t),
        Api::ApiVersions => responses::api_versions(v, t),
        Api::InitProducerId => responses::init_producer_id(v, t),
        Api::OffsetCommit => group_responses::offset_commit(v, t),
        Api::OffsetFetch => group_responses::offset_fetch(v, t),
        Api::FindCoordinator => group_responses::find_coordinator(v, t),
        Api::JoinGroup => group_responses::join_group(v, t),
        Api::SyncGroup => group_responses::sync_group(v, t),
        Api::Heartbeat => group_responses::heartbeat(v, t),
        Api::LeaveGroup => group_responses::leave_group(v, t),
        _ => return None,
    })
}

fn tape() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..600)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn requests_have_the_same_contents(tape in tape()) {
        for (api, v) in requests::served() {
            let body = requests::random(api, v, &mut Tape::new(tape.clone()));
            check_request(api, v, &body);
        }
    }

    #[test]
    fn responses_have_the_same_bytes(tape in tape()) {
        for (api, v) in requests::served() {
            if let Some((ours, theirs)) = response(api, v, &mut Tape::new(tape.clone())) {
                prop_assert_eq!(ours, theirs, "{} {}", api, v);
            }
        }
    }

    #[test]
    fn headers_have_the_same_contents(client in any::<Option<String>>(), correlation in any::<i32>()) {
        for (api, version) in requests::served() {
            let header = RequestHeader::default()
                .with_request_api_key(api.key())
                .with_request_api_version(version)
                .with_correlation_id(correlation)
                .with_client_id(client.as_deref().map(tape::str_bytes));
            let mut frame = BytesMut::new();
            header.encode(&mut frame, api.request_header_version(version)).unwrap();
            frame.extend_from_slice(b"body");
            let client_id = client.as_deref();
            let expected = kafka::header::RequestHeader { api, version, correlation, client_id };
            prop_assert_eq!(kafka::header::parse(&frame), Ok((expected, &b"body"[..])));
        }
    }
}

/// Every hot api has a response here, every cold one a request: nothing is left out by a typing error.
#[test]
fn every_api_is_compared() {
    for api in Api::ALL {
        let v = *api.versions().start();
        let compared = response(*api, v, &mut Tape::new(vec![])).is_some();
        assert_eq!(compared, !ColdRequest::APIS.contains(api), "{api}");
    }
}
