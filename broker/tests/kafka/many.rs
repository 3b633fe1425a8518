//! Thousands of topics in one request: made, and taken away again, by a few rounds of the control thread.

use broker::EmbeddedBroker;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest,
};

use crate::client::{Kafka, broker, broker_with, text, topic_name};
use crate::raw::{Raw, batch};

const MANY: usize = 2000;

fn topic(name: &str, partitions: i32) -> CreatableTopic {
    CreatableTopic::default().with_name(topic_name(name)).with_num_partitions(partitions)
}

fn creation(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    let one_replica = |topic: CreatableTopic| topic.with_replication_factor(-1);
    CreateTopicsRequest::default().with_topics(topics.into_iter().map(one_replica).collect())
}

fn names() -> impl Iterator<Item = String> {
    (0..MANY).map(|number| format!("topic-{number}"))
}

fn growth(topics: impl Iterator<Item = (String, i32)>) -> CreatePartitionsRequest {
    let total = |(name, count): (String, i32)| {
        CreatePartitionsTopic::default().with_name(topic_name(&name)).with_count(count).with_assignments(None)
    };
    CreatePartitionsRequest::default().with_topics(topics.map(total).collect())
}

/// Views that the shards have applied so far, all together.
fn views(broker: &EmbeddedBroker) -> u64 {
    let shards = Raw::connect(broker.addr()).stats().shards;
    let counters = shards.iter().flat_map(|shard| &shard.counters);
    counters.filter(|(name, _)| name == "views").map(|(_, count)| count).sum()
}

fn listed(kafka: &mut Kafka) -> Vec<(i16, usize)> {
    let all = kafka.call(12, &MetadataRequest::default().with_topics(None));
    all.topics.iter().map(|topic| (topic.error_code, topic.partitions.len())).collect()
}

#[test]
fn thousands_of_topics_come_and_go_in_a_few_rounds() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    let made = kafka.call(7, &creation(names().map(|name| topic(&name, 1)).collect()));
    assert_eq!(made.topics.len(), MANY);
    assert_eq!(made.topics.iter().find(|topic| topic.error_code != 0), None);
    assert_eq!(listed(&mut kafka), [(0, 1); MANY]);

    let grown = kafka.call(3, &growth(names().map(|name| (name, 2))));
    assert_eq!(grown.results.iter().find(|topic| topic.error_code != 0), None);
    assert_eq!(listed(&mut kafka), [(0, 2); MANY]);

    let by_name = |name: String| DeleteTopicState::default().with_name(Some(topic_name(&name)));
    let gone = kafka.call(6, &DeleteTopicsRequest::default().with_topics(names().map(by_name).collect()));
    assert_eq!(gone.responses.len(), MANY);
    assert_eq!(gone.responses.iter().find(|topic| topic.error_code != 0), None);
    assert_eq!(listed(&mut kafka), []);
    // Each of three requests is taken in as many rounds as it arrives in pieces, on each of two shards.
    let views = views(&broker);
    assert!((6..600).contains(&views), "{views} views");
}

/// 10,000 are as many as Kafka allows, of all topics together; nothing of a larger request is done.
#[test]
fn a_request_adds_so_many_partitions_and_no_more() {
    let broker = broker_with(1, |config| config.topic_defaults.partitions = 4);
    let mut kafka = Kafka::connect(&broker);
    let assigned = |count: i32| {
        let node = vec![BrokerId(1)];
        let one = |index| {
            CreatableReplicaAssignment::default().with_partition_index(index).with_broker_ids(node.clone())
        };
        topic("assigned", -1).with_assignments((0..count).map(one).collect())
    };
    let excess = "Excessively large number of partitions per request.";
    for topics in [
        vec![topic("a", 9_996), topic("b", -1), topic("c", 1)],
        vec![topic("a", 9_999), assigned(2)],
        vec![topic("a", i32::MAX), topic("b", i32::MAX), topic("c", i32::MAX)],
        vec![topic("a", 10_001), topic("b", 1), topic("b", 1)],
    ] {
        for topic in kafka.call(7, &creation(topics).with_validate_only(true)).topics {
            let message = topic.error_message.expect("it says why");
            assert_eq!((topic.error_code, &*message), (44, excess), "{:?}", topic.name);
        }
    }
    assert_eq!(listed(&mut kafka), []);
    // What is no number of partitions, and what is refused for being named twice, is not counted.
    let topics = vec![topic("a", 9_996), topic("b", -1), topic("c", -2), topic("d", 1), topic("d", 1)];
    let errors = kafka.call(7, &creation(topics).with_validate_only(true)).topics;
    assert_eq!(errors.iter().map(|topic| topic.error_code).collect::<Vec<_>>(), [0, 0, 37, 42]);

    for name in ["a", "b"] {
        kafka.create_topic(name, 2);
    }
    let mut grow = |totals: &[(&str, i32)]| {
        let totals = totals.iter().map(|(name, total)| ((*name).to_owned(), *total));
        kafka.call(3, &growth(totals).with_validate_only(true)).results
    };
    for result in grow(&[("a", 5_002), ("b", 5_003)]) {
        let message = Some(text("Unable to perform excessively large batch operation."));
        assert_eq!((result.error_code, result.error_message), (44, message));
    }
    let results = grow(&[("a", 5_002), ("b", 5_002), ("none", i32::MAX)]);
    assert_eq!(results.iter().map(|result| result.error_code).collect::<Vec<_>>(), [0, 0, 3]);
}

/// A view changes what it names and no more, but for what an earlier one could not do.
#[test]
fn what_could_not_be_opened_is_opened_with_the_next_view() {
    let broker = broker(1);
    let mut kafka = Kafka::connect(&broker);
    let topics = broker.data_dir().join("topics");
    std::fs::remove_dir(&topics).unwrap();
    kafka.create_topic("a", 1);
    assert_ne!(kafka.produce("a", 0, &batch(&[b"x"])).error_code, 0);
    std::fs::create_dir(&topics).unwrap();
    kafka.create_topic("b", 1);
    for name in ["a", "b"] {
        assert_eq!(kafka.produce(name, 0, &batch(&[b"x"])).error_code, 0, "{name}");
    }
}
