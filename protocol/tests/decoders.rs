//! What a decoder does with good bytes, with cut ones, with too many, and with any.
//!
//!     message ─ encode ─▶ bytes ─ decode ─▶ the same message
//!                           ├─ cut anywhere ───────▶ Truncated
//!                           ├─ one byte more ──────▶ Trailing
//!                           └─ changed, or noise ──▶ an error or a message; no panic, little memory
//!
//! Each message stands once in [`DECODERS`]; the hostile inputs go to all of them.

use bytes::Bytes;
use proptest::prelude::*;
use protocol::api::{
    AlterTopicReply, AlterTopicRequest, CreatePartitionsReply, CreatePartitionsRequest, CreateTopicReply,
    CreateTopicRequest, DecodeError, DeleteGroupsReply, DeleteGroupsRequest, DeleteRecordsReply,
    DeleteRecordsRequest, DeleteTopicReply, DeleteTopicRequest, DescribeGroupsReply, DescribeGroupsRequest,
    ErrorResponse, FetchReply, FetchRequest, FindCoordinatorReply, FindCoordinatorRequest, HeartbeatReply,
    HeartbeatRequest, HelloReply, HelloRequest, InitProducerIdReply, InitProducerIdRequest, JoinGroupReply,
    JoinGroupRequest, LeaveGroupReply, LeaveGroupRequest, ListGroupsReply, ListGroupsRequest,
    ListOffsetsReply, ListOffsetsRequest, Message, MetadataReply, MetadataRequest, OffsetCommitReply,
    OffsetCommitRequest, OffsetDeleteReply, OffsetDeleteRequest, OffsetFetchReply, OffsetFetchRequest,
    ProduceReply, ProduceRequest, StatsReply, StatsRequest, SyncGroupReply, SyncGroupRequest, Writer,
};
use protocol::frame::{FRAME_HEADER_LEN, FrameError, FrameHeader};

#[path = "decoders/sys.rs"]
mod sys;
use sys::allocated_by;

#[path = "decoders/messages.rs"]
mod messages;
use messages::{FetchParts, ProduceParts};

#[path = "decoders/groups.rs"]
mod groups;
use groups::{JoinParts, SyncParts};

/// Bytes a decoder may ask for, for each byte of the body: an empty string takes 2 bytes on the wire
/// and 24 in memory, and stands in lists.
const ALLOCATED_PER_BYTE_MAX: usize = 16;

/// For errors and small constants.
const ALLOCATED_MAX: usize = 256;

/// A decoder with its result thrown away.
struct Decoder {
    name: &'static str,
    read: fn(&Bytes) -> Result<(), DecodeError>,
}

const fn whole<M: Message>(name: &'static str) -> Decoder {
    Decoder { name, read: |body| M::read(body).map(drop) }
}

static DECODERS: [Decoder; 47] = [
    whole::<HelloRequest>("HelloRequest"),
    whole::<HelloReply>("HelloReply"),
    whole::<MetadataRequest>("MetadataRequest"),
    whole::<MetadataReply>("MetadataReply"),
    whole::<CreateTopicRequest>("CreateTopicRequest"),
    whole::<CreateTopicReply>("CreateTopicReply"),
    whole::<DeleteTopicRequest>("DeleteTopicRequest"),
    whole::<DeleteTopicReply>("DeleteTopicReply"),
    Decoder { name: "ProduceRequest", read: read_produce },
    whole::<ProduceReply>("ProduceReply"),
    Decoder { name: "FetchRequest", read: read_fetch },
    Decoder { name: "FetchReply", read: |body| FetchReply::parse(body).map(drop) },
    whole::<ListOffsetsRequest>("ListOffsetsRequest"),
    whole::<ListOffsetsReply>("ListOffsetsReply"),
    whole::<InitProducerIdRequest>("InitProducerIdRequest"),
    whole::<InitProducerIdReply>("InitProducerIdReply"),
    whole::<DeleteRecordsRequest>("DeleteRecordsRequest"),
    whole::<DeleteRecordsReply>("DeleteRecordsReply"),
    whole::<CreatePartitionsRequest>("CreatePartitionsRequest"),
    whole::<CreatePartitionsReply>("CreatePartitionsReply"),
    whole::<AlterTopicRequest>("AlterTopicRequest"),
    whole::<AlterTopicReply>("AlterTopicReply"),
    whole::<FindCoordinatorRequest>("FindCoordinatorRequest"),
    whole::<FindCoordinatorReply>("FindCoordinatorReply"),
    Decoder { name: "JoinGroupRequest", read: |body| JoinGroupRequest::parse(body).map(drop) },
    whole::<JoinGroupReply>("JoinGroupReply"),
    Decoder { name: "SyncGroupRequest", read: |body| SyncGroupRequest::parse(body).map(drop) },
    whole::<SyncGroupReply>("SyncGroupReply"),
    whole::<HeartbeatRequest>("HeartbeatRequest"),
    whole::<HeartbeatReply>("HeartbeatReply"),
    whole::<LeaveGroupRequest>("LeaveGroupRequest"),
    whole::<LeaveGroupReply>("LeaveGroupReply"),
    whole::<OffsetCommitRequest>("OffsetCommitRequest"),
    whole::<OffsetCommitReply>("OffsetCommitReply"),
    whole::<OffsetFetchRequest>("OffsetFetchRequest"),
    whole::<OffsetFetchReply>("OffsetFetchReply"),
    whole::<OffsetDeleteRequest>("OffsetDeleteRequest"),
    whole::<OffsetDeleteReply>("OffsetDeleteReply"),
    whole::<ListGroupsRequest>("ListGroupsRequest"),
    whole::<ListGroupsReply>("ListGroupsReply"),
    whole::<DescribeGroupsRequest>("DescribeGroupsRequest"),
    whole::<DescribeGroupsReply>("DescribeGroupsReply"),
    whole::<DeleteGroupsRequest>("DeleteGroupsRequest"),
    whole::<DeleteGroupsReply>("DeleteGroupsReply"),
    whole::<StatsRequest>("StatsRequest"),
    whole::<StatsReply>("StatsReply"),
    Decoder { name: "ErrorResponse", read: |body| ErrorResponse::read(body).map(drop) },
];

/// Parses, and walks over everything the view offers.
fn read_produce(body: &Bytes) -> Result<(), DecodeError> {
    let request = ProduceRequest::parse(body)?;
    assert_eq!(request.partitions().count(), request.partition_count());
    Ok(())
}

/// As [`read_produce`].
fn read_fetch(body: &Bytes) -> Result<(), DecodeError> {
    let request = FetchRequest::parse(body)?;
    assert_eq!(request.partitions().count(), request.partition_count());
    Ok(())
}

/// Decodes and looks at the memory it took.
fn read_within_budget(decoder: &Decoder, body: &Bytes) -> Result<(), DecodeError> {
    let (allocated, result) = allocated_by(|| (decoder.read)(body));
    let budget = ALLOCATED_MAX + ALLOCATED_PER_BYTE_MAX * body.len();
    assert!(
        allocated <= budget,
        "{} allocated {allocated} bytes for {}: {result:?}",
        decoder.name,
        body.len()
    );
    result
}

fn decoder_of(name: &str) -> &'static Decoder {
    DECODERS
        .iter()
        .find(|decoder| decoder.name == name)
        .unwrap_or_else(|| panic!("{name} is not in DECODERS"))
}

/// What holds for the bytes of any good message.
fn check_cut_and_longer(name: &str, body: &[u8]) {
    let decoder = decoder_of(name);
    let whole = Bytes::copy_from_slice(body);
    assert_eq!(read_within_budget(decoder, &whole), Ok(()), "{name}");
    for len in 0..body.len() {
        let cut = read_within_budget(decoder, &whole.slice(..len));
        assert!(matches!(cut, Err(DecodeError::Truncated { .. })), "{name} cut to {len} bytes: {cut:?}");
    }
    let longer = read_within_budget(decoder, &Bytes::from([body, &[0]].concat()));
    assert_eq!(longer, Err(DecodeError::Trailing { extra: 1 }), "{name} and a byte");
}

fn check_whole<M: Message + PartialEq + std::fmt::Debug>(name: &str, message: &M) {
    let mut body = Vec::new();
    message.append_to(&mut body);
    assert_eq!(M::read(&body).as_ref(), Ok(message), "{name}");
    check_cut_and_longer(name, &body);
}

fn check_produce(parts: &ProduceParts) {
    let mut body = Vec::new();
    let head = parts.sets.iter().map(|(topic, partition, records)| (*topic, *partition, records.len()));
    ProduceRequest::write_head(&mut Writer::new(&mut body), parts.acks, parts.timeout_ms, head);
    body.extend(parts.sets.iter().flat_map(|(_, _, records)| records));
    let read = ProduceRequest::parse(&body).unwrap();
    assert_eq!((read.acks, read.timeout_ms), (parts.acks, parts.timeout_ms));
    let sets: Vec<_> =
        read.partitions().map(|set| (set.topic, set.partition, set.records.to_vec())).collect();
    assert_eq!(sets, parts.sets);
    check_cut_and_longer("ProduceRequest", &body);
}

fn check_fetch(parts: &FetchParts) {
    let mut body = Vec::new();
    FetchRequest::write(&mut Writer::new(&mut body), parts.params, &parts.entries);
    let read = FetchRequest::parse(&body).unwrap();
    assert_eq!(read.params, parts.params);
    assert_eq!(read.partitions().collect::<Vec<_>>(), parts.entries);
    check_cut_and_longer("FetchRequest", &body);
}

fn check_fetched(reply: &FetchReply) {
    let results: Vec<_> = reply.partitions.iter().map(|partition| partition.result).collect();
    let mut body = Vec::new();
    FetchReply::write_head(&mut Writer::new(&mut body), reply.throttle_ms, &results);
    body.extend(reply.partitions.iter().flat_map(|partition| &partition.records[..]));
    assert_eq!(FetchReply::parse(&Bytes::copy_from_slice(&body)).as_ref(), Ok(reply));
    check_cut_and_longer("FetchReply", &body);
}

fn check_join(parts: &JoinParts) {
    let mut body = Vec::new();
    parts.request().write(&mut Writer::new(&mut body));
    assert_eq!(JoinGroupRequest::parse(&body), Ok(parts.request()));
    check_cut_and_longer("JoinGroupRequest", &body);
}

fn check_sync(parts: &SyncParts) {
    let mut body = Vec::new();
    parts.request().write(&mut Writer::new(&mut body));
    assert_eq!(SyncGroupRequest::parse(&body), Ok(parts.request()));
    check_cut_and_longer("SyncGroupRequest", &body);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn small_messages_come_back_and_their_cuts_are_refused(
        hello in messages::hello_request(),
        welcome in messages::hello_reply(),
        create in messages::create_topic_request(),
        created in messages::create_topic_reply(),
        delete in messages::delete_topic_request(),
        deleted in messages::delete_topic_reply(),
        ask in messages::init_producer_id_request(),
        given in messages::init_producer_id_reply(),
        refused in messages::error_response(),
    ) {
        check_whole("HelloRequest", &hello);
        check_whole("HelloReply", &welcome);
        check_whole("CreateTopicRequest", &create);
        check_whole("CreateTopicReply", &created);
        check_whole("DeleteTopicRequest", &delete);
        check_whole("DeleteTopicReply", &deleted);
        check_whole("InitProducerIdRequest", &ask);
        check_whole("InitProducerIdReply", &given);
        let mut body = Vec::new();
        refused.append_to(&mut body);
        prop_assert_eq!(ErrorResponse::read(&body).unwrap(), refused);
        check_cut_and_longer("ErrorResponse", &body);
    }

    #[test]
    fn lists_come_back_and_their_cuts_are_refused(
        ask in messages::metadata_request(),
        answer in messages::metadata_reply(),
        list in messages::list_offsets_request(),
        listed in messages::list_offsets_reply(),
        delete in messages::delete_records_request(),
        deleted in messages::delete_records_reply(),
        stats in messages::stats_reply(),
    ) {
        check_whole("MetadataRequest", &ask);
        check_whole("MetadataReply", &answer);
        check_whole("ListOffsetsRequest", &list);
        check_whole("ListOffsetsReply", &listed);
        check_whole("DeleteRecordsRequest", &delete);
        check_whole("DeleteRecordsReply", &deleted);
        check_whole("StatsRequest", &StatsRequest);
        check_whole("StatsReply", &stats);
    }

    #[test]
    fn what_changes_topics_comes_back_and_its_cuts_are_refused(
        grow in messages::create_partitions_request(),
        grown in messages::create_partitions_reply(),
        alter in messages::alter_topic_request(),
        altered in messages::alter_topic_reply(),
    ) {
        check_whole("CreatePartitionsRequest", &grow);
        check_whole("CreatePartitionsReply", &grown);
        check_whole("AlterTopicRequest", &alter);
        check_whole("AlterTopicReply", &altered);
    }

    #[test]
    fn membership_comes_back_and_its_cuts_are_refused(
        find in groups::find_coordinator_request(),
        found in groups::find_coordinator_reply(),
        join in groups::join_group_request(),
        joined in groups::join_group_reply(),
        sync in groups::sync_group_request(),
        synced in groups::sync_group_reply(),
        beat in groups::heartbeat_request(),
        beaten in groups::heartbeat_reply(),
        leave in groups::leave_group_request(),
        left in groups::leave_group_reply(),
    ) {
        check_whole("FindCoordinatorRequest", &find);
        check_whole("FindCoordinatorReply", &found);
        check_join(&join);
        check_whole("JoinGroupReply", &joined);
        check_sync(&sync);
        check_whole("SyncGroupReply", &synced);
        check_whole("HeartbeatRequest", &beat);
        check_whole("HeartbeatReply", &beaten);
        check_whole("LeaveGroupRequest", &leave);
        check_whole("LeaveGroupReply", &left);
    }

    #[test]
    fn offsets_and_groups_come_back_and_their_cuts_are_refused(
        commit in groups::offset_commit_request(),
        committed in groups::offset_commit_reply(),
        fetch in groups::offset_fetch_request(),
        fetched in groups::offset_fetch_reply(),
        forget in groups::offset_delete_request(),
        forgotten in groups::offset_delete_reply(),
        list in groups::list_groups_request(),
        listed in groups::list_groups_reply(),
        describe in groups::describe_groups_request(),
        described in groups::describe_groups_reply(),
    ) {
        check_whole("OffsetCommitRequest", &commit);
        check_whole("OffsetCommitReply", &committed);
        check_whole("OffsetFetchRequest", &fetch);
        check_whole("OffsetFetchReply", &fetched);
        check_whole("OffsetDeleteRequest", &forget);
        check_whole("OffsetDeleteReply", &forgotten);
        check_whole("ListGroupsRequest", &list);
        check_whole("ListGroupsReply", &listed);
        check_whole("DescribeGroupsRequest", &describe);
        check_whole("DescribeGroupsReply", &described);
        let delete = DeleteGroupsRequest { groups: describe.groups };
        check_whole("DeleteGroupsRequest", &delete);
        check_whole("DeleteGroupsReply", &DeleteGroupsReply { errors: committed.errors });
    }

    #[test]
    fn the_data_path_comes_back_and_its_cuts_are_refused(
        produce in messages::produce_request(),
        produced in messages::produce_reply(),
        fetch in messages::fetch_request(),
        fetched in messages::fetch_reply(),
    ) {
        check_produce(&produce);
        check_whole("ProduceReply", &produced);
        check_fetch(&fetch);
        check_fetched(&fetched);
    }

    #[test]
    fn changed_bytes_cost_little_and_do_not_panic(
        answer in messages::metadata_reply(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut body = Vec::new();
        answer.append_to(&mut body);
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let body = Bytes::from(body);
        for decoder in &DECODERS {
            let _ = read_within_budget(decoder, &body); // either outcome is right
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn noise_costs_little_and_does_not_panic(noise in messages::noise()) {
        let body = Bytes::from(noise);
        for decoder in &DECODERS {
            let _ = read_within_budget(decoder, &body); // either outcome is right
        }
    }

    #[test]
    fn a_header_is_read_when_its_last_byte_arrives_and_not_before(
        bytes in any::<[u8; FRAME_HEADER_LEN]>(), limit in any::<u32>(), more in any::<[u8; 3]>(),
    ) {
        let limit = limit as usize;
        for len in 0..FRAME_HEADER_LEN {
            prop_assert_eq!(FrameHeader::parse(&bytes[..len], limit), Ok(None));
        }
        let parsed = FrameHeader::parse(&bytes, limit);
        prop_assert_eq!(FrameHeader::parse(&[&bytes[..], &more].concat(), limit), parsed);
        let body_len = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        match parsed {
            Ok(header) => prop_assert_eq!(header.unwrap().to_bytes(), bytes),
            Err(FrameError::TooLarge { .. }) => prop_assert!(limit < body_len as usize),
            Err(FrameError::Flags { flags }) => prop_assert!(flags == bytes[7] && !matches!(flags, 0 | 1 | 3)),
        }
    }
}

/// Every four bytes a count that lies: at some alignment it stands where a decoder looks for one.
#[test]
fn counts_that_lie_cost_little() {
    for count in [u32::MAX, i32::MAX as u32, 1 << 24, 100_000, 10_000, 1_000, 64, 1] {
        for lead in 0..40 {
            for len in [0, 1, 7, 64, 4096, 64 << 10] {
                let lies = count.to_le_bytes().into_iter().cycle().take(len);
                let body: Bytes = std::iter::repeat_n(0, lead).chain(lies).collect();
                for decoder in &DECODERS {
                    let _ = read_within_budget(decoder, &body); // either outcome is right
                }
            }
        }
    }
}

/// A group id that is not allowed has to reach the coordinator, which says so; an absurd one has not.
#[test]
fn a_group_id_may_be_longer_than_is_allowed_but_not_by_any_length() {
    for (len, is_read) in [(0, true), (250, true), (251, true), (4096, true), (4097, false)] {
        let mut body = Vec::new();
        FindCoordinatorRequest { group: "g".repeat(len) }.append_to(&mut body);
        let read = FindCoordinatorRequest::read(&body);
        assert_eq!(read.is_ok(), is_read, "{len} bytes: {read:?}");
    }
}

/// The dearest body there is: as many of the smallest items as it holds.
#[test]
fn a_list_of_empty_strings_costs_what_the_budget_says() {
    let count: u32 = 10_000;
    let body: Bytes = [0].into_iter().chain(count.to_le_bytes()).chain([0; 20_000]).collect();
    let (allocated, result) = allocated_by(|| MetadataRequest::read(&body));
    assert!(result.is_ok());
    assert!(10 * body.len() < allocated, "the allocator counts: {allocated} bytes");
    assert!(allocated <= ALLOCATED_PER_BYTE_MAX * body.len(), "{allocated} bytes for {}", body.len());
}
