//! CreateTopics, DeleteTopics, CreatePartitions, Metadata, and what tools ask about the cluster.

use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiVersionsRequest, BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeClusterRequest, DescribeLogDirsRequest, ListPartitionReassignmentsRequest, MetadataRequest,
    MetadataResponse,
};
use uuid::Uuid;

use crate::client::{Kafka, broker, broker_with, frame, text, topic_name, versions};
use crate::raw::{Raw, batch};

fn topic(name: &str, partitions: i32, replicas: i16, configs: &[(&str, &str)]) -> CreatableTopic {
    let config = |(name, value): &(&str, &str)| {
        CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
    };
    CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(partitions)
        .with_replication_factor(replicas)
        .with_configs(configs.iter().map(config).collect())
}

fn create(kafka: &mut Kafka, version: i16, topics: Vec<CreatableTopic>) -> Vec<i16> {
    let request = CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(1000);
    let response = kafka.call(version, &request);
    for one in &response.topics {
        assert_eq!(one.error_code == 0, one.error_message.is_none(), "{one:?}");
    }
    response.topics.iter().map(|one| one.error_code).collect()
}

fn metadata(kafka: &mut Kafka, version: i16, names: &[&str], create: bool) -> MetadataResponse {
    let named = |name: &&str| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    let request = MetadataRequest::default()
        .with_topics(Some(names.iter().map(named).collect()))
        .with_allow_auto_topic_creation(create || version < 4);
    kafka.call(version, &request)
}

/// A partition, and the brokers that it is to lie on.
type Placed<'a> = (i32, &'a [i32]);

fn assigned(partitions: &[Placed<'_>]) -> Vec<CreatableReplicaAssignment> {
    let one = |(index, nodes): &Placed<'_>| {
        CreatableReplicaAssignment::default().with_partition_index(*index).with_broker_ids(brokers(nodes))
    };
    partitions.iter().map(one).collect()
}

fn brokers(nodes: &[i32]) -> Vec<BrokerId> {
    nodes.iter().map(|node| BrokerId(*node)).collect()
}

#[test]
fn topics_are_made_or_refused_one_by_one() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    let node = *metadata(&mut kafka, 12, &[], false).controller_id;
    for version in 2..=7 {
        let name = |what: &str| format!("{what}-{version}");
        let topics = vec![
            topic(&name("good"), 3, 1, &[("retention.ms", "1000")]),
            topic("a/b", 1, 1, &[]),
            topic("", 1, 1, &[]),
            topic(&"x".repeat(250), 1, 1, &[]),
            topic(&name("none"), 0, 1, &[]),
            topic(&name("below"), -2, 1, &[]),
            topic(&name("replicas"), 1, 3, &[]),
            topic(&name("no-replicas"), 1, 0, &[]),
            topic(&name("key"), 1, 1, &[("retention.msec", "1")]),
            topic(&name("value"), 1, 1, &[("retention.ms", "soon")]),
            topic(&name("twice"), 1, 1, &[]),
            topic(&name("twice"), 1, 1, &[]),
            topic(&name("assigned"), -1, -1, &[]).with_assignments(assigned(&[(0, &[node]), (1, &[node])])),
        ];
        let errors = create(&mut kafka, version, topics);
        let expected = [0, 17, 17, 17, 37, 37, 38, 38, 40, 40, 42, 0];
        assert_eq!(errors, expected, "version {version}");
        assert_eq!(create(&mut kafka, version, vec![topic(&name("good"), 1, 1, &[])]), [36]);
        let found = metadata(&mut kafka, 12, &[&name("good"), &name("assigned")], false);
        let partitions: Vec<_> = found.topics.iter().map(|topic| topic.partitions.len()).collect();
        assert_eq!(partitions, [3, 2]);
    }
    assert_eq!(create(&mut kafka, 4, vec![topic("default", -1, -1, &[])]), [0]);
}

#[test]
fn an_assignment_names_this_broker_and_every_partition_once() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    let node = *metadata(&mut kafka, 12, &[], false).controller_id;
    let (us, them) = (&[node][..], &[node + 1][..]);
    let cases: [(&str, i32, i16, &[Placed<'_>], i16); 10] = [
        ("a number of partitions", 1, -1, &[(0, us)], 42),
        ("no number of partitions", 0, -1, &[(0, us)], 42),
        ("a replication factor", -1, 1, &[(0, us)], 42),
        ("a gap", -1, -1, &[(0, us), (2, us)], 39),
        ("not from 0 on", -1, -1, &[(1, us)], 39),
        ("twice", -1, -1, &[(0, us), (0, us)], 39),
        ("another broker", -1, -1, &[(0, us), (1, them)], 39),
        ("no broker", -1, -1, &[(0, &[])], 39),
        ("this broker twice", -1, -1, &[(0, &[node, node])], 39),
        ("in any order", -1, -1, &[(2, us), (0, us), (1, us)], 0),
    ];
    for (what, partitions, replicas, assignments, error) in cases {
        let asked = topic("t", partitions, replicas, &[]).with_assignments(assigned(assignments));
        assert_eq!(create(&mut kafka, 7, vec![asked]), [error], "{what}");
    }
    assert_eq!(metadata(&mut kafka, 12, &["t"], false).topics[0].partitions.len(), 3);
}

/// Names that are one where `.` is written as `_`, as in the names of Kafka's metrics.
#[test]
fn a_name_that_collides_is_refused() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    for name in ["a.b", "c_d.e"] {
        kafka.create_topic(name, 1);
    }
    for (name, error) in [
        ("a_b", 17),
        ("a.b", 36),
        ("c.d.e", 17),
        ("c_d_e", 17),
        ("c.d_e", 17),
        ("_.consumer_offsets", 17),
        ("a-b", 0),
        ("a.bb", 0),
    ] {
        assert_eq!(create(&mut kafka, 7, vec![topic(name, 1, 1, &[])]), [error], "{name}");
    }
    let request = CreateTopicsRequest::default().with_topics(vec![topic("a_b", 1, 1, &[])]);
    let refused = kafka.call(7, &request.with_validate_only(true)).topics.remove(0);
    let why = refused.error_message.map(|why| why.to_string());
    assert_eq!(why.as_deref(), Some("Topic 'a_b' collides with existing topic: a.b"));
}

#[test]
fn a_creation_tells_what_was_made_and_a_trial_makes_nothing() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    let asked =
        CreateTopicsRequest::default().with_topics(vec![topic("t", 2, 1, &[("retention.ms", "5000")])]);
    let trial = kafka.call(7, &asked.clone().with_validate_only(true));
    assert_eq!((trial.topics[0].error_code, trial.topics[0].num_partitions), (0, 2));
    assert_eq!(metadata(&mut kafka, 12, &["t"], false).topics[0].error_code, 3);
    let made = kafka.call(7, &asked).topics.remove(0);
    assert_eq!((made.num_partitions, made.replication_factor), (2, 1));
    let configs = made.configs.unwrap();
    let retention = configs.iter().find(|config| config.name.as_str() == "retention.ms").unwrap();
    assert_eq!((retention.value.as_ref().unwrap().as_str(), retention.config_source), ("5000", 1));
    assert!(configs.iter().any(|config| config.config_source == 5), "the others are defaults");
    let found = metadata(&mut kafka, 12, &["t"], false).topics.remove(0);
    assert_eq!((found.topic_id, found.partitions.len()), (made.topic_id, 2));
    assert_ne!(made.topic_id, Uuid::nil());
}

#[test]
fn topics_are_deleted_by_name_and_by_id() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    make_offsets_topic(&mut kafka);
    for version in 1..=5 {
        kafka.create_topic("t", 2);
        let names = ["t", "nope", "__consumer_offsets", "t"].map(topic_name);
        let request = DeleteTopicsRequest::default().with_topic_names(names.to_vec());
        let response = kafka.call(version, &request);
        let errors: Vec<_> = response.responses.iter().map(|one| one.error_code).collect();
        assert_eq!(errors, [42, 3, 17], "what is named twice is told once and stays, version {version}");
        let request = DeleteTopicsRequest::default().with_topic_names(vec![topic_name("t")]);
        assert_eq!(kafka.call(version, &request).responses[0].error_code, 0, "version {version}");
    }
    kafka.create_topic("t", 2);
    kafka.create_topic("u", 2);
    let [id, other, own] = ["t", "u", "__consumer_offsets"].map(|name| id_of(&mut kafka, name));
    let topics = vec![
        by(None, id),
        by(None, Uuid::from_u128(7)),
        by(Some("u"), Uuid::nil()),
        by(Some("v"), Uuid::nil()),
        by(Some("__consumer_offsets"), Uuid::nil()),
    ];
    let response = kafka.call(6, &DeleteTopicsRequest::default().with_topics(topics));
    let told = |one: &DeletableTopicResult| {
        let name = one.name.as_ref().map(|name| name.to_string());
        (one.error_code, name.unwrap_or_default(), one.topic_id)
    };
    let found: Vec<_> = response.responses.iter().map(told).collect();
    let expected = [
        (0, "t", id),
        (100, "", Uuid::from_u128(7)),
        (0, "u", other),
        (3, "v", Uuid::nil()),
        (17, "__consumer_offsets", own),
    ];
    assert_eq!(
        found,
        expected.map(|(error, name, id)| (error, name.to_owned(), id)),
        "name and id, as Kafka"
    );
    assert_eq!(
        metadata(&mut kafka, 12, &["t", "u"], false).topics.iter().filter(|one| one.error_code == 3).count(),
        2
    );
}

fn id_of(kafka: &mut Kafka, name: &str) -> Uuid {
    metadata(kafka, 12, &[name], false).topics[0].topic_id
}

fn by(name: Option<&str>, id: Uuid) -> DeleteTopicState {
    DeleteTopicState::default().with_name(name.map(topic_name)).with_topic_id(id)
}

#[test]
fn a_deletion_that_names_a_topic_twice_deletes_nothing() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    for name in ["t", "u", "v", "w"] {
        kafka.create_topic(name, 1);
    }
    let [t, u, v, w] = ["t", "u", "v", "w"].map(|name| id_of(&mut kafka, name));
    let topics = vec![
        by(Some("t"), u),
        by(None, Uuid::nil()),
        by(None, v),
        by(Some("w"), Uuid::nil()),
        by(None, v),
        by(None, w),
        by(Some("t"), t),
    ];
    let response = kafka.call(6, &DeleteTopicsRequest::default().with_topics(topics));
    let found: Vec<_> = response.responses.iter().map(|one| (one.error_code, one.topic_id)).collect();
    assert_eq!(found, [(42, u), (42, Uuid::nil()), (42, v), (42, Uuid::nil()), (42, t)]);
    assert!(response.responses.iter().all(|one| one.error_message.is_some()));
    let left = metadata(&mut kafka, 12, &["t", "u", "v", "w"], false);
    assert_eq!(left.topics.iter().map(|one| one.topic_id).collect::<Vec<_>>(), [t, u, v, w]);
}

/// The shard that takes the second deletion still knows the topic of that id; the control thread does not.
#[test]
fn a_deletion_by_id_spares_what_has_got_the_name() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    for _ in 0..10 {
        kafka.create_topic("t", 1);
        let deletion = DeleteTopicsRequest::default().with_topics(vec![by(None, id_of(&mut kafka, "t"))]);
        let creation = CreateTopicsRequest::default().with_topics(vec![topic("t", 1, 1, &[])]);
        let all = [frame(6, 101, &deletion), frame(7, 102, &creation), frame(6, 103, &deletion)];
        kafka.send_bytes(&all.concat());
        assert_eq!(kafka.receive::<DeleteTopicsRequest>(6, 101).responses[0].error_code, 0);
        assert_eq!(kafka.receive::<CreateTopicsRequest>(7, 102).topics[0].error_code, 0);
        assert_eq!(kafka.receive::<DeleteTopicsRequest>(6, 103).responses[0].error_code, 100);
        let request = DeleteTopicsRequest::default().with_topics(vec![by(Some("t"), Uuid::nil())]);
        assert_eq!(kafka.call(6, &request).responses[0].error_code, 0, "the new one was there");
    }
}

fn make_offsets_topic(kafka: &mut Kafka) {
    let find = kafka_protocol::messages::FindCoordinatorRequest::default().with_key(text("g"));
    while kafka.call(1, &find).error_code != 0 {}
}

#[test]
fn partitions_are_added_and_never_taken_away() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 2);
    let mut grow = |version, name: &str, count, validate_only| {
        let one = CreatePartitionsTopic::default()
            .with_name(topic_name(name))
            .with_count(count)
            .with_assignments(None);
        let request =
            CreatePartitionsRequest::default().with_topics(vec![one]).with_validate_only(validate_only);
        kafka.call(version, &request).results[0].error_code
    };
    for (version, more) in (0..=3).zip(3..) {
        assert_eq!(grow(version, "t", more, true), 0);
        assert_eq!(grow(version, "t", more, false), 0);
        for (name, count, error) in [
            ("t", more, 37),
            ("t", 1, 37),
            ("t", 0, 37),
            ("t", -1, 37),
            ("t", 10_001 + more, 44),
            ("nope", 4, 3),
        ] {
            assert_eq!(grow(version, name, count, false), error, "{name} {count}");
        }
    }
    assert_eq!(metadata(&mut kafka, 12, &["t"], false).topics[0].partitions.len(), 6);
    assert_eq!(kafka.produce("t", 5, &batch(&[b"x"])).error_code, 0);
}

#[test]
fn new_partitions_are_assigned_to_this_broker_one_by_one() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 2);
    kafka.create_topic("u", 2);
    let node = *metadata(&mut kafka, 12, &[], false).controller_id;
    let grow = |name: &str, count, assignments: &[&[i32]]| {
        let one = |nodes: &&[i32]| CreatePartitionsAssignment::default().with_broker_ids(brokers(nodes));
        CreatePartitionsTopic::default()
            .with_name(topic_name(name))
            .with_count(count)
            .with_assignments(Some(assignments.iter().map(one).collect()))
    };
    let mut call = |topics| -> Vec<i16> {
        let response = kafka.call(3, &CreatePartitionsRequest::default().with_topics(topics));
        assert!(response.results.iter().all(|one| (one.error_code == 0) == one.error_message.is_none()));
        response.results.iter().map(|one| one.error_code).collect()
    };
    let us = &[node][..];
    assert_eq!(call(vec![grow("t", 4, &[us])]), [39], "too few");
    assert_eq!(call(vec![grow("t", 4, &[us; 3])]), [39], "too many");
    assert_eq!(call(vec![grow("t", 4, &[])]), [39], "none");
    assert_eq!(call(vec![grow("t", 4, &[us, &[node + 1]])]), [39], "another broker");
    assert_eq!(call(vec![grow("t", 4, &[us, &[]])]), [39], "no broker");
    assert_eq!(call(vec![grow("t", 2, &[us]), grow("nope", 3, &[us])]), [37, 3], "these come first");
    assert_eq!(call(vec![grow("t", 4, &[us; 2]), grow("u", 3, &[us]), grow("t", 4, &[us; 2])]), [42, 0]);
    assert_eq!(call(vec![grow("t", 4, &[us; 2]), grow("u", 4, &[us])]), [0, 0], "nothing was added before");
}

#[test]
fn metadata_names_this_broker_in_every_version() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 3);
    let port = broker.kafka_addr().unwrap().port();
    for version in 0..=12 {
        let found = metadata(&mut kafka, version, &["t", "a/b", "nope", "t"], false);
        let node = found.brokers[0].node_id;
        assert_eq!((found.brokers.len(), found.brokers[0].port), (1, i32::from(port)));
        let errors: Vec<_> = found.topics.iter().map(|topic| topic.error_code).collect();
        assert_eq!(errors, [0, 17, 3], "what is named twice is told once, as by Kafka");
        let partitions = &found.topics[0].partitions;
        assert_eq!(partitions.iter().map(|one| one.partition_index).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(partitions.iter().all(|one| one.leader_id == node && one.replica_nodes == [node]));
        if 2 <= version {
            assert!(!found.cluster_id.unwrap().is_empty());
        }
    }
    // All of them; in the first version that is the empty list.
    for version in 0..=12 {
        let topics = (version == 0).then(Vec::new);
        let found = kafka.call(version, &MetadataRequest::default().with_topics(topics));
        assert_eq!(found.topics.len(), 1, "version {version}");
    }
    assert!(metadata(&mut kafka, 1, &[], false).topics.is_empty());
    let id = metadata(&mut kafka, 12, &["t"], false).topics[0].topic_id;
    let by_id = |id| MetadataRequestTopic::default().with_topic_id(id).with_name(None);
    let request = MetadataRequest::default().with_topics(Some(vec![by_id(id), by_id(Uuid::from_u128(1))]));
    let found = kafka.call(12, &request);
    assert_eq!(found.topics.iter().map(|one| one.error_code).collect::<Vec<_>>(), [0, 100]);
}

#[test]
fn topics_are_made_on_demand_if_the_broker_and_the_client_want_it() {
    let off = broker(1);
    let mut kafka = Kafka::connect(&off);
    assert_eq!(metadata(&mut kafka, 12, &["t"], true).topics[0].error_code, 3);
    let on = broker_with(2, |config| {
        config.kafka.auto_create_topics = true;
        config.topic_defaults.partitions = 3;
    });
    let mut kafka = Kafka::connect(&on);
    assert_eq!(metadata(&mut kafka, 12, &["t"], false).topics[0].error_code, 3);
    for (version, name) in [(1, "old"), (4, "t"), (12, "u")] {
        let found = metadata(&mut kafka, version, &[name, "a/b", name, "__consumer_offsets"], true);
        let told: Vec<_> = found.topics.iter().map(|one| (one.error_code, one.partitions.len())).collect();
        assert_eq!(told, [(0, 3), (17, 0), (3, 0)], "version {version}");
        assert_eq!(kafka.produce(name, 2, &batch(&[b"x"])).error_code, 0);
    }
    kafka.create_topic("a.b", 1);
    let long = "x".repeat(250);
    for version in [1, 4, 12] {
        let found = metadata(&mut kafka, version, &["v", "a_b", "", &long, "a.b"], true);
        let told: Vec<_> = found.topics.iter().map(|one| one.error_code).collect();
        assert_eq!(told, [0, 17, 17, 17, 0], "names that no topic gets are told as such, version {version}");
    }
    assert_eq!(metadata(&mut kafka, 12, &["a_b"], false).topics[0].error_code, 3, "it is only not there");
}

#[test]
fn the_cluster_is_one_broker() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    for version in 0..=1 {
        let request = DescribeClusterRequest::default().with_endpoint_type(1);
        let found = kafka.call(version, &request);
        assert_eq!((found.error_code, found.brokers.len()), (0, 1));
        assert_eq!(found.brokers[0].port, i32::from(broker.kafka_addr().unwrap().port()));
        assert_eq!(found.controller_id, found.brokers[0].broker_id);
    }
    let controllers = kafka.call(1, &DescribeClusterRequest::default().with_endpoint_type(2));
    assert_eq!(controllers.error_code, 114);
    let moving = kafka.call(0, &ListPartitionReassignmentsRequest::default().with_topics(None));
    assert_eq!((moving.error_code, moving.topics.len()), (0, 0));
    for version in 0..=4 {
        let asked = if version < 3 { ApiVersionsRequest::default() } else { versions() };
        let found = kafka.call(version, &asked);
        let produce = found.api_keys.iter().find(|one| one.api_key == 0).unwrap();
        assert_eq!((produce.min_version, produce.max_version), (0, 11), "Kafka's own trick for librdkafka");
    }
}

/// KIP-511: what a broker shows in its metrics is not for a client to choose freely.
#[test]
fn a_client_names_its_software_plainly_or_is_refused() {
    let broker = broker(1);
    let mut kafka = Kafka::connect(&broker);
    let mut ask = |version, name: &str, of: &str| {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(text(name))
            .with_client_software_version(text(of));
        let answer = kafka.call(version, &request);
        (answer.error_code, answer.api_keys.is_empty())
    };
    let (taken, refused) = ((0, false), (42, true));
    for version in 3..=4 {
        for wrong in ["", "a b", "-a", "a.", "\u{e4}"] {
            assert_eq!(ask(version, wrong, "1.0"), refused, "{wrong:?}");
            assert_eq!(ask(version, "librdkafka", wrong), refused, "{wrong:?}");
        }
        assert_eq!(ask(version, "librdkafka", "2.12.1-rdkafka-0.39.0"), taken, "the connection stays");
    }
    let unnamed = kafka.call(2, &ApiVersionsRequest::default());
    assert_eq!(unnamed.error_code, 0, "not told before");
}

#[test]
fn log_dirs_tell_the_sizes_of_all_shards() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 4);
    kafka.create_topic("u", 1);
    let set = batch(&[&[7; 3000]]);
    (0..4).for_each(|partition| assert_eq!(kafka.produce("t", partition, &set).error_code, 0));
    for version in 1..=4 {
        let all = kafka.call(version, &DescribeLogDirsRequest::default().with_topics(None)).results.remove(0);
        assert_eq!(all.log_dir.as_str(), broker.data_dir().to_str().unwrap());
        let names: Vec<_> = all.topics.iter().map(|topic| topic.name.as_str()).collect();
        assert_eq!(names, ["t", "u"]);
        let sizes: Vec<_> = all.topics[0].partitions.iter().map(|one| one.partition_size).collect();
        assert!(sizes.iter().all(|size| set.len() as i64 <= *size), "{sizes:?}");
        assert_eq!(0 < all.total_bytes, 4 <= version);
        let some =
            DescribableLogDirTopic::default().with_topic(topic_name("t")).with_partitions(vec![3, 1, 77]);
        let request = DescribeLogDirsRequest::default().with_topics(Some(vec![some]));
        let some = kafka.call(version, &request).results.remove(0);
        let found: Vec<_> = some.topics[0].partitions.iter().map(|one| one.partition_index).collect();
        assert_eq!(found, [1, 3]);
    }
}

/// Kafka's names and refusals stay within what its readers accept, however long what they quote is.
#[test]
fn a_text_that_quotes_a_long_name_ends_nothing() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    let long = "\u{1}".repeat(32_000);
    for version in 2..=7 {
        let twice = vec![topic(&long, 1, 1, &[]), topic(&long, 1, 1, &[])];
        assert_eq!(create(&mut kafka, version, twice), [42]);
        assert_eq!(create(&mut kafka, version, vec![topic(&long, 1, 1, &[])]), [17]);
        let odd = vec![topic("t", 1, 1, &[(&long, "1"), ("retention.ms", &long)])];
        assert_eq!(create(&mut kafka, version, odd), [40]);
        assert_eq!(create(&mut kafka, version, vec![topic("t", 1, 1, &[("retention.ms", &long)])]), [40]);
    }
    let mut raw = Raw::connect(broker.addr());
    assert!(raw.stats().shards.len() == 2);
}
