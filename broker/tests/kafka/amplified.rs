//! A small request does not make a large reply: what is named twice is told once, where telling it takes many
//! times the bytes of its name.
//!
//!     request, a name 20,000 times ─▶ reply ≤ FACTOR_MAX × request + SLACK

use bytes::Bytes;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{
    DescribeConfigsRequest, DescribeConfigsResponse, DescribeGroupsRequest, FindCoordinatorRequest, GroupId,
    MetadataRequest, MetadataResponse, OffsetCommitRequest, OffsetFetchRequest, OffsetFetchResponse,
};
use kafka_protocol::protocol::Request;
use uuid::Uuid;

use crate::client::{Kafka, broker, decode, fetch_of, frame, produce_of, text, topic_name};
use crate::groups::{group, wait_for_groups};
use crate::members::Member;
use crate::offsets::list_of;

/// How often something is named.
const TIMES: usize = 20_000;

/// FindCoordinator: a key of no bytes takes one, the address of its coordinator 26.
const FACTOR_MAX: usize = 28;

/// What the one answer takes that is right to give.
const SLACK: usize = 64 << 10;

const METADATA: usize = 4096;

/// The reply to a request that names something [`TIMES`] times; not too large.
fn bounded<R: Request>(kafka: &mut Kafka, version: i16, request: &R) -> R::Response {
    let asked = frame(version, 0, request).len();
    let correlation = kafka.send(version, request);
    let reply = kafka.next_frame().expect("an answer");
    println!("api {} version {version}: {asked} bytes ask for {}", R::KEY, reply.len());
    assert!(reply.len() <= FACTOR_MAX * asked + SLACK, "api {}: {asked} for {}", R::KEY, reply.len());
    decode::<R>(version, correlation, reply)
}

/// A group with one offset and metadata of 4 KiB.
fn commit(kafka: &mut Kafka, of: &str) {
    let one = OffsetCommitRequestPartition::default()
        .with_committed_offset(7)
        .with_committed_metadata(Some(text(&"m".repeat(METADATA))));
    let topic = OffsetCommitRequestTopic::default().with_name(topic_name("t")).with_partitions(vec![one]);
    let request = OffsetCommitRequest::default().with_group_id(group(of)).with_topics(vec![topic]);
    assert_eq!(kafka.call(8, &request).topics[0].partitions[0].error_code, 0);
}

#[test]
fn committed_offsets_are_told_once() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 2);
    wait_for_groups(&mut kafka);
    commit(&mut kafka, "g");
    for version in 1..=7 {
        let topic = OffsetFetchRequestTopic::default()
            .with_name(topic_name("t"))
            .with_partition_indexes([0, 1].repeat(TIMES));
        let request = OffsetFetchRequest::default()
            .with_group_id(group("g"))
            .with_topics(Some(vec![topic.clone(), topic]));
        let found: OffsetFetchResponse = bounded(&mut kafka, version, &request);
        let offsets = found.topics.iter().flat_map(|topic| &topic.partitions);
        let offsets: Vec<_> = offsets.map(|one| (one.partition_index, one.committed_offset)).collect();
        assert_eq!(offsets, [(0, 7), (1, -1)], "version {version}");
    }
    // The same group again and again: once with all that was named of it, or with all that it has.
    let named = |of: &str, partition: Option<i32>| {
        let topic = |index| {
            let topic = OffsetFetchRequestTopics::default().with_name(topic_name("t"));
            topic.with_partition_indexes(vec![index])
        };
        let topics = partition.map(|index| vec![topic(index)]);
        OffsetFetchRequestGroup::default().with_group_id(group(of)).with_topics(topics)
    };
    let ask = |groups: &[OffsetFetchRequestGroup]| {
        OffsetFetchRequest::default().with_groups(groups.iter().cycle().take(TIMES).cloned().collect())
    };
    let told = |found: &OffsetFetchResponse| -> Vec<(GroupId, Vec<i32>)> {
        let of_one = |one: &kafka_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup| {
            let partitions = one.topics.iter().flat_map(|topic| &topic.partitions);
            (one.group_id.clone(), partitions.map(|one| one.partition_index).collect())
        };
        found.groups.iter().map(of_one).collect()
    };
    let some = [named("g", Some(1)), named("other", Some(0)), named("g", Some(0))];
    let found = bounded(&mut kafka, 8, &ask(&some));
    assert_eq!(told(&found), [(group("g"), vec![1, 0]), (group("other"), vec![0])]);
    let all = [named("g", Some(1)), named("g", None), named("g", Some(1))];
    assert_eq!(told(&bounded(&mut kafka, 8, &ask(&all))), [(group("g"), vec![0])]);
}

#[test]
fn topics_and_groups_are_described_once() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 500);
    wait_for_groups(&mut kafka);
    let resource = |name| {
        let resource = DescribeConfigsResource::default().with_resource_type(2);
        resource.with_resource_name(text(name)).with_configuration_keys(None)
    };
    let request = DescribeConfigsRequest::default()
        .with_resources([resource("t"), resource("nope")].iter().cycle().take(TIMES).cloned().collect())
        .with_include_synonyms(true);
    for version in 1..=4 {
        let found: DescribeConfigsResponse = bounded(&mut kafka, version, &request);
        let errors: Vec<i16> = found.results.iter().map(|one| one.error_code).collect();
        assert_eq!(errors, [0, 3], "version {version}");
        assert!(10 < found.results[0].configs.len());
    }
    // Ids that differ do not make another topic of a name.
    let topic = |n: usize| {
        let id = Uuid::from_u128(n as u128);
        MetadataRequestTopic::default().with_name(Some(topic_name("t"))).with_topic_id(id)
    };
    let request = MetadataRequest::default().with_topics(Some((0..TIMES).map(topic).collect()));
    let found: MetadataResponse = bounded(&mut kafka, 12, &request);
    assert_eq!((found.topics.len(), found.topics[0].partitions.len()), (1, 500));
    let _member = Member::join(&broker, "busy", 9, "consumer", &[("range", &[7; 10_000])]);
    let request = DescribeGroupsRequest::default().with_groups(vec![group("busy"); TIMES]);
    assert_eq!(bounded(&mut kafka, 5, &request).groups.len(), 1);
}

/// What is answered for each time that it is named, in a few bytes.
#[test]
fn other_answers_are_as_short_as_their_questions() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 1);
    wait_for_groups(&mut kafka);
    bounded(&mut kafka, 7, &list_of("t", &[(0, -1); TIMES]));
    bounded(&mut kafka, 12, &fetch_of("t", &[(0, 0); TIMES]));
    bounded(&mut kafka, 11, &produce_of("t", &vec![(0, None::<Bytes>); TIMES]));
    let keys = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(""); TIMES]);
    bounded(&mut kafka, 4, &keys);
}
