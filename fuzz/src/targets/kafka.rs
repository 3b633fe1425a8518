//! Requests of Kafka's clients: what anyone can send to the Kafka port.
//!
//!     header (key, version, correlation, client id) ▸ body, by the reader of its api

use std::fmt::{self, Debug, Write as _};

use ::kafka::cold::{self, MEMORY_PER_ITEM};
use ::kafka::messages::*;
use ::kafka::{Api, Malformed, Writer, frame, header};
use bytes::Bytes;

use crate::runner::Target;

const FRAME_BYTES_MAX: usize = 1 << 20;

pub const KAFKA: Target = Target {
    name: "kafka",
    seeds,
    repair: |bytes| {
        // A version that the api has.
        let Some([_, key, _, version]) = bytes.first_chunk_mut() else { return };
        if let Some(api) = Api::from_key((*key).into()) {
            let (min, max) = api.versions().into_inner();
            *version = (i16::from(*version) % (max + 1)).max(min) as u8;
        }
    },
    // The copy of the frame, and what `kafka-protocol` takes for as many items as there are bytes.
    memory_max: |len| (1 + MEMORY_PER_ITEM) * len + (16 << 10),
    run: |bytes| {
        if let Ok(Some(len)) = frame::parse(bytes, FRAME_BYTES_MAX) {
            assert!(len <= FRAME_BYTES_MAX, "a frame over the limit");
        }
        match header::parse(bytes) {
            Ok((header, body)) => {
                assert!(header.api.serves(header.version), "a version that is not served");
                format!("{} v{} {:?}", header.api, letters(header.version), read(header, body))
            }
            Err(error) => format!("{error:?}"),
        }
    },
};

/// The runner leaves digits out of outcomes, and versions matter.
fn letters(version: i16) -> char {
    char::from(b'a' + version as u8)
}

/// Takes text and keeps nothing.
struct Nowhere;

impl fmt::Write for Nowhere {
    fn write_str(&mut self, _: &str) -> fmt::Result {
        Ok(())
    }
}

/// Parses, and walks over everything that the request offers.
fn walk<'a, R: Request<'a> + Debug>(body: &'a [u8], version: i16) -> Result<(), Malformed> {
    let request = R::parse(body, version)?;
    write!(Nowhere, "{request:?}").expect("nowhere takes everything");
    Ok(())
}

fn read(header: header::RequestHeader<'_>, body: &[u8]) -> Result<(), Malformed> {
    let version = header.version;
    match header.api {
        Api::Produce => walk::<ProduceRequest<'_>>(body, version),
        Api::Fetch => walk::<FetchRequest<'_>>(body, version),
        Api::ListOffsets => walk::<ListOffsetsRequest<'_>>(body, version),
        Api::Metadata => walk::<MetadataRequest<'_>>(body, version),
        Api::ApiVersions => walk::<ApiVersionsRequest<'_>>(body, version),
        Api::InitProducerId => walk::<InitProducerIdRequest<'_>>(body, version),
        Api::OffsetCommit => walk::<OffsetCommitRequest<'_>>(body, version),
        Api::OffsetFetch => walk::<OffsetFetchRequest<'_>>(body, version),
        Api::FindCoordinator => walk::<FindCoordinatorRequest<'_>>(body, version),
        Api::JoinGroup => walk::<JoinGroupRequest<'_>>(body, version),
        Api::SyncGroup => walk::<SyncGroupRequest<'_>>(body, version),
        Api::Heartbeat => walk::<HeartbeatRequest<'_>>(body, version),
        Api::LeaveGroup => walk::<LeaveGroupRequest<'_>>(body, version),
        cold => cold::decode_request(cold, version, Bytes::copy_from_slice(body)).map(drop),
    }
}

/// A header with zeroes behind it for every version: empty lists where the writing is classic. And bodies
/// of three kinds of lists in lists, in both writings.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for api in Api::ALL {
        for version in api.versions() {
            let head = header_of(*api, version);
            seeds.push([&head[..], &[0; 40]].concat());
            seeds.push([&head[..], &[1; 40]].concat());
            let mut topics = head;
            write_topics(&mut Writer::new(&mut topics, *api, version), *api);
            seeds.push(topics);
        }
    }
    seeds
}

fn header_of(api: Api, version: i16) -> Vec<u8> {
    let mut head = Vec::new();
    let mut w = Writer::with(&mut head, version, false);
    [api.key(), version].into_iter().for_each(|number| w.i16(number));
    w.i32(7);
    w.string("fuzz");
    Writer::new(&mut head, api, version).no_tags();
    head
}

/// Two topics of two partitions, as Produce and CreateTopics have them; for other apis another garbled body.
fn write_topics(w: &mut Writer<'_>, api: Api) {
    if api == Api::Produce {
        w.nullable_string(None);
        w.i16(-1);
        w.i32(1000);
    }
    w.list(&["orders", "invoices"], |w, topic| {
        w.string(topic);
        w.list(&[0, 1], |w, partition| {
            w.i32(*partition);
            w.bytes(&[7; 20]);
            w.no_tags();
        });
        w.no_tags();
    });
    w.no_tags();
}
