//! What an operator asks about groups, and offsets: commit, fetch, delete.

use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest,
    ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
};
use kafka_protocol::protocol::StrBytes;

use crate::client::{Kafka, broker, text, topic_name};
use crate::members::Member;

pub fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

/// Asks until the topic of groups is there: the first who asks has it made.
pub fn wait_for_groups(kafka: &mut Kafka) {
    let find = FindCoordinatorRequest::default().with_key(text("g"));
    while kafka.call(1, &find).error_code != 0 {}
    // Each of its partitions is loaded on its own.
    for n in 0..100 {
        let heartbeat = HeartbeatRequest::default().with_group_id(group(&n.to_string()));
        while kafka.call(4, &heartbeat).error_code != 25 {}
    }
}

/// Commits from outside of the group, or as a member; the error of each partition.
fn commit(kafka: &mut Kafka, version: i16, of: &str, at: &[(&str, i32, i64)], metadata: &str) -> Vec<i16> {
    let topics = at.iter().map(|(topic, partition, offset)| {
        let one = OffsetCommitRequestPartition::default()
            .with_partition_index(*partition)
            .with_committed_offset(*offset)
            .with_committed_leader_epoch(if 6 <= version { 0 } else { -1 })
            .with_committed_metadata(Some(text(metadata)));
        OffsetCommitRequestTopic::default().with_name(topic_name(topic)).with_partitions(vec![one])
    });
    let request = OffsetCommitRequest::default().with_group_id(group(of)).with_topics(topics.collect());
    let response = kafka.call(version, &request);
    response.topics.iter().flat_map(|topic| &topic.partitions).map(|one| one.error_code).collect()
}

/// Offset, metadata and error of each.
type Offsets = Vec<(i64, String, i16)>;

fn fetch(kafka: &mut Kafka, version: i16, of: &str, at: &[(&str, i32)]) -> Offsets {
    let metadata =
        |metadata: &Option<StrBytes>| metadata.as_ref().map(ToString::to_string).unwrap_or_default();
    if version < 8 {
        let topic = |(topic, partition): &(&str, i32)| {
            OffsetFetchRequestTopic::default()
                .with_name(topic_name(topic))
                .with_partition_indexes(vec![*partition])
        };
        let request = OffsetFetchRequest::default()
            .with_group_id(group(of))
            .with_topics(Some(at.iter().map(topic).collect()));
        let response = kafka.call(version, &request);
        assert_eq!(response.error_code, 0);
        let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|one| (one.committed_offset, metadata(&one.metadata), one.error_code)).collect()
    } else {
        let topic = |(topic, partition): &(&str, i32)| {
            OffsetFetchRequestTopics::default()
                .with_name(topic_name(topic))
                .with_partition_indexes(vec![*partition])
        };
        let asked = OffsetFetchRequestGroup::default()
            .with_group_id(group(of))
            .with_topics(Some(at.iter().map(topic).collect()));
        let response = kafka.call(version, &OffsetFetchRequest::default().with_groups(vec![asked]));
        assert_eq!(response.groups[0].error_code, 0);
        let partitions = response.groups[0].topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|one| (one.committed_offset, metadata(&one.metadata), one.error_code)).collect()
    }
}

#[test]
fn offsets_are_committed_and_fetched_in_every_version() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 3);
    wait_for_groups(&mut kafka);
    for version in 2..=8 {
        let of = format!("g{version}");
        let at = [("t", 2, 20), ("nope", 0, 5), ("t", 9, 5), ("t", 0, 7), ("t", -1, 1)];
        assert_eq!(commit(&mut kafka, version, &of, &at, "m"), [0, 3, 3, 0, 3]);
        for version in 1..=8 {
            let found = fetch(&mut kafka, version, &of, &[("t", 0), ("t", 1), ("nope", 0), ("t", 2)]);
            let none = (-1, String::new(), 0);
            assert_eq!(
                found,
                [(7, "m".to_owned(), 0), none.clone(), none, (20, "m".to_owned(), 0)],
                "{version}"
            );
        }
    }
    assert_eq!(commit(&mut kafka, 8, "g8", &[("t", 0, 1)], &"x".repeat(5000)), [12]);
    assert_eq!(fetch(&mut kafka, 8, "nobody", &[("t", 0)]), [(-1, String::new(), 0)]);
    assert_eq!(commit(&mut kafka, 8, "", &[("t", 0, 1)], ""), [24], "a group has a name");
}

/// Kafka stores a negative offset as it is, and its clients take it for none.
#[test]
fn a_commit_of_less_than_nothing_takes_the_offset_away() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 3);
    wait_for_groups(&mut kafka);
    let none = (-1, String::new(), 0);
    for (version, negative) in [(2, -1), (5, -3), (8, i64::MIN)] {
        let of = format!("g{version}");
        let all = |kafka: &mut Kafka| fetch(kafka, 8, &of, &[("t", 0), ("t", 1), ("t", 2)]);
        assert_eq!(commit(&mut kafka, version, &of, &[("t", 0, negative)], ""), [0], "nothing is there yet");
        assert_eq!(all(&mut kafka), [none.clone(), none.clone(), none.clone()]);
        assert_eq!(commit(&mut kafka, version, &of, &[("t", 0, 7), ("t", 1, 8)], "m"), [0, 0]);
        let at = [("nope", 0, 1), ("t", 2, 9), ("t", 1, negative), ("t", 0, 10), ("t", 2, negative)];
        assert_eq!(commit(&mut kafka, version, &of, &at, ""), [3, 0, 0, 0, 0]);
        assert_eq!(all(&mut kafka), [(10, String::new(), 0), none.clone(), none.clone()]);
        assert_eq!(commit(&mut kafka, version, &of, &[("t", 1, 0)], ""), [0]);
        assert_eq!(all(&mut kafka)[1].0, 0, "nothing at all is not less than nothing");
        assert_eq!(commit(&mut kafka, version, &of, &[("t", 1, 5)], ""), [0]);
        assert_eq!(commit(&mut kafka, version, &of, &[("t", 1, -2)], ""), [0]);
        assert_eq!(all(&mut kafka)[1].0, 0, "kafkajs's word for the beginning");
    }
}

#[test]
fn offsets_of_several_groups_and_of_all_topics_are_fetched_at_once() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 3);
    kafka.create_topic("u", 1);
    wait_for_groups(&mut kafka);
    for n in 0..6 {
        let at = [("t", 1, n), ("u", 0, n), ("t", 2, n)];
        assert_eq!(commit(&mut kafka, 8, &format!("g{n}"), &at, ""), [0; 3]);
    }
    let all =
        |n: i32| OffsetFetchRequestGroup::default().with_group_id(group(&format!("g{n}"))).with_topics(None);
    let request = OffsetFetchRequest::default().with_groups((0..7).rev().map(all).collect());
    let response = kafka.call(8, &request);
    for (n, found) in (0..7).rev().zip(&response.groups) {
        assert_eq!((found.group_id.as_str(), found.error_code), (format!("g{n}").as_str(), 0));
        let found: Vec<_> = found
            .topics
            .iter()
            .flat_map(|topic| {
                topic
                    .partitions
                    .iter()
                    .map(|one| (topic.name.as_str(), one.partition_index, one.committed_offset))
            })
            .collect();
        let offset = i64::from(n);
        let expected = [("t", 1, offset), ("t", 2, offset), ("u", 0, offset)];
        assert_eq!(found, expected[..if n == 6 { 0 } else { 3 }]);
    }
    let request = OffsetFetchRequest::default().with_group_id(group("g3")).with_topics(None);
    for version in 2..=7 {
        let found = kafka.call(version, &request);
        assert_eq!(found.topics.len(), 2, "version {version}");
    }
}

/// A name as long as a frame allows, thousands of times: remembered once at most.
#[test]
fn offsets_of_a_topic_with_a_long_name_cost_no_more_than_their_request() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    wait_for_groups(&mut kafka);
    let name = "n".repeat(32_000);
    let partitions = 100_000;
    let indexes: Vec<i32> = (0..partitions).collect();
    let of = OffsetFetchRequestTopics::default()
        .with_name(topic_name(&name))
        .with_partition_indexes(indexes.clone());
    let asked = OffsetFetchRequestGroup::default().with_group_id(group("g")).with_topics(Some(vec![of]));
    let found = kafka.call(8, &OffsetFetchRequest::default().with_groups(vec![asked]));
    let found = &found.groups[0].topics[0];
    assert_eq!((found.name.as_str(), found.partitions.len()), (name.as_str(), partitions as usize));
    assert!(found.partitions.iter().all(|one| one.committed_offset == -1));
    let one = |index: i32| OffsetCommitRequestPartition::default().with_partition_index(index);
    let of = OffsetCommitRequestTopic::default()
        .with_name(topic_name(&name))
        .with_partitions(indexes.into_iter().map(one).collect());
    let request = OffsetCommitRequest::default().with_group_id(group("g")).with_topics(vec![of]);
    let committed = kafka.call(8, &request);
    let committed = &committed.topics[0].partitions;
    assert!(committed.len() == partitions as usize && committed.iter().all(|one| one.error_code == 3));
    assert!(memory_peak() < 2 << 30, "{} bytes", memory_peak());
}

/// The most memory that this process has had.
fn memory_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn groups_are_listed_described_and_deleted() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 2);
    wait_for_groups(&mut kafka);
    commit(&mut kafka, 8, "offsets", &[("t", 0, 1)], "");
    let mut member = Member::join(&broker, "busy", 9, "consumer", &[("range", b"meta")]);
    member.sync(&[b"mine"]);
    for version in 0..=5 {
        let response = kafka.call(version, &ListGroupsRequest::default());
        let listed: Vec<_> = response
            .groups
            .iter()
            .map(|one| (one.group_id.as_str(), one.protocol_type.as_str(), one.group_state.as_str()))
            .collect();
        let state = |state| if 4 <= version { state } else { "" };
        assert_eq!(listed, [("busy", "consumer", state("Stable")), ("offsets", "", state("Empty"))]);
    }
    let filter = ListGroupsRequest::default().with_states_filter(vec![text("stable")]);
    assert_eq!(kafka.call(4, &filter).groups.len(), 1);
    let filter = ListGroupsRequest::default().with_types_filter(vec![text("consumer")]);
    assert_eq!(kafka.call(5, &filter).groups.len(), 0, "that is KIP-848's");
    for version in 0..=5 {
        let names = ["offsets", "busy", "nobody", "busy"].map(group);
        let response = kafka.call(version, &DescribeGroupsRequest::default().with_groups(names.to_vec()));
        let told: Vec<_> = response
            .groups
            .iter()
            .map(|one| {
                (one.error_code, one.group_state.as_str(), one.protocol_data.as_str(), one.members.len())
            })
            .collect();
        assert_eq!(
            told,
            [(0, "Empty", "", 0), (0, "Stable", "range", 1), (0, "Dead", "", 0)],
            "version {version}"
        );
        let one = &response.groups[1].members[0];
        assert_eq!((&one.member_metadata[..], &one.member_assignment[..]), (&b"meta"[..], &b"mine"[..]));
        assert_eq!((one.client_id.as_str(), one.client_host.as_str()), ("raw", "/127.0.0.1"));
    }
    for version in 0..=2 {
        let names = ["busy", "nobody", "offsets"].map(group);
        let response = kafka.call(version, &DeleteGroupsRequest::default().with_groups_names(names.to_vec()));
        let errors: Vec<_> = response.results.iter().map(|one| one.error_code).collect();
        assert_eq!(errors, [68, 69, if version == 0 { 0 } else { 69 }], "version {version}");
    }
    member.leave();
    let response = kafka.call(2, &DeleteGroupsRequest::default().with_groups_names(vec![group("busy")]));
    assert_eq!(response.results[0].error_code, 0);
}

#[test]
fn offsets_are_deleted_unless_somebody_reads_there() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 3);
    wait_for_groups(&mut kafka);
    commit(&mut kafka, 8, "g", &[("t", 0, 1), ("t", 1, 1)], "");
    let delete = |kafka: &mut Kafka, of: &str| {
        let one = |index| OffsetDeleteRequestPartition::default().with_partition_index(index);
        let topic = |name| {
            OffsetDeleteRequestTopic::default()
                .with_name(topic_name(name))
                .with_partitions(vec![one(0), one(2)])
        };
        let request = OffsetDeleteRequest::default()
            .with_group_id(group(of))
            .with_topics(vec![topic("t"), topic("nope")]);
        let response = kafka.call(0, &request);
        let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        (response.error_code, partitions.map(|one| (one.partition_index, one.error_code)).collect::<Vec<_>>())
    };
    assert_eq!(delete(&mut kafka, "nobody"), (69, vec![]));
    assert_eq!(delete(&mut kafka, "g"), (0, vec![(0, 0), (2, 0), (0, 3), (2, 3)]));
    let found = fetch(&mut kafka, 8, "g", &[("t", 0), ("t", 1)]);
    assert_eq!((found[0].0, found[1].0), (-1, 1));
}
