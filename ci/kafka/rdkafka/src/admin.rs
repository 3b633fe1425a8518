//! Admin calls: topics, their configs and records, groups. Of the offsets of groups the crate has none.

use std::fmt::Debug;
use std::future::Future;

use futures_lite::future::block_on;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigResource, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use crate::client::{Member, PATIENCE, assert_refused, config, consumer, kafka, partitions, send, try_send};
use crate::harness::*;
use crate::{Feature, feature};

pub fn features() -> Vec<Feature> {
    vec![
        feature("list topics", list_topics),
        feature("admin: create topic", create_topic),
        feature("admin: describe topic and its configs", describe_topic),
        feature("admin: alter configs", alter_configs),
        feature("admin: add partitions", add_partitions),
        feature("admin: delete topic", delete_topic),
        feature("admin: delete records", delete_records),
        feature("admin: list and describe groups", describe_groups),
        feature("admin: delete group", delete_group),
        feature("admin: describe cluster", describe_cluster),
    ]
}

fn admin() -> AdminClient<DefaultClientContext> {
    config(&kafka(), &[]).create().expect("librdkafka knows these settings")
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}

/// The result of a call about one thing.
fn only<T: Debug, E: Into<Refusal> + Debug>(
    call: impl Future<Output = KafkaResult<Vec<Result<T, E>>>>,
) -> KafkaResult<T> {
    let mut results = block_on(call)?;
    assert_eq!(results.len(), 1, "{results:?}");
    results.remove(0).map_err(|error| KafkaError::AdminOp(error.into().0))
}

/// Some calls say beside the error what it is about.
struct Refusal(RDKafkaErrorCode);

impl From<RDKafkaErrorCode> for Refusal {
    fn from(code: RDKafkaErrorCode) -> Refusal {
        Refusal(code)
    }
}

impl<T> From<(T, RDKafkaErrorCode)> for Refusal {
    fn from((_, code): (T, RDKafkaErrorCode)) -> Refusal {
        Refusal(code)
    }
}

fn partition_count(topic: &str) -> usize {
    let metadata = admin().inner().fetch_metadata(Some(topic), PATIENCE).expect("metadata is told");
    metadata.topics()[0].partitions().len()
}

fn configs_of(topic: &str) -> KafkaResult<ConfigResource> {
    only(admin().describe_configs([&ResourceSpecifier::Topic(topic)], &options()))
}

/// The values of some configs.
fn values_of<const N: usize>(topic: &str, names: [&str; N]) -> [String; N] {
    let configs = configs_of(topic).expect("configs are told");
    names.map(|name| configs.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default())
}

fn list_topics() {
    let name = topic(3, &[]);
    let metadata = admin().inner().fetch_metadata(None, PATIENCE).expect("metadata is told");
    let found = metadata.topics().iter().find(|topic| topic.name() == name).expect("it is listed");
    let mut partitions: Vec<(i32, i32)> =
        found.partitions().iter().map(|partition| (partition.id(), partition.leader())).collect();
    partitions.sort_unstable();
    assert_eq!(partitions, [(0, 1), (1, 1), (2, 1)]);
}

fn create_topic() {
    let (admin, name) = (admin(), unused_name("made"));
    let one = || TopicReplication::Fixed(1);
    let create = |new: NewTopic<'_>, options: AdminOptions| only(admin.create_topics([&new], &options));
    let new = || NewTopic::new(&name, 3, one()).set("retention.ms", "12345");
    create(new(), options().validate_only(true)).expect("it could be created");
    assert!(!topic_exists(&name));
    assert_eq!(create(new(), options()).expect("it is created"), name);
    assert_eq!(values_of(&name, ["retention.ms"]), ["12345"]);
    assert_eq!(partition_count(&name), 3);
    assert_refused(create(new(), options()), RDKafkaErrorCode::TopicAlreadyExists);
    let odd = unused_name("made");
    for (new, code) in [
        (NewTopic::new(&odd, 1, one()).set("retention.ms", "x"), RDKafkaErrorCode::InvalidConfig),
        (NewTopic::new(&odd, 1, one()).set("no.such", "1"), RDKafkaErrorCode::InvalidConfig),
        (NewTopic::new(&odd, 1, TopicReplication::Fixed(3)), RDKafkaErrorCode::InvalidReplicationFactor),
        (NewTopic::new("no/name", 1, one()), RDKafkaErrorCode::InvalidTopic),
    ] {
        assert_refused(create(new, options()), code);
    }
    assert!(!topic_exists(&odd));
}

fn describe_topic() {
    let name = topic(2, &[("retention.ms", "777")]);
    let configs = configs_of(&name).expect("configs are told");
    let found = |name: &str| {
        let entry = configs.get(name).expect("it is told");
        (entry.value.clone().unwrap_or_default(), entry.is_default)
    };
    assert_eq!(found("retention.ms"), ("777".to_owned(), false));
    assert_eq!(found("cleanup.policy"), ("delete".to_owned(), true));
    assert_eq!(partition_count(&name), 2);
    // The crate passes over the error that stands beside a resource.
    let missing = configs_of(&unused_name("missing")).expect("the call is answered");
    assert!(missing.entries.is_empty(), "{missing:?}");
}

/// The crate has the older way only: what is not named has its default again.
fn alter_configs() {
    let name = topic(1, &[("retention.ms", "777")]);
    let alter = |key: &str, value: &str| {
        let change = AlterConfig::new(ResourceSpecifier::Topic(&name)).set(key, value);
        only(admin().alter_configs([&change], &options()))
    };
    alter("segment.bytes", "1048576").expect("it is altered");
    let found = || values_of(&name, ["retention.ms", "segment.bytes"]);
    assert_eq!(found(), ["604800000", "1048576"]);
    alter("retention.ms", "888").expect("it is altered");
    assert_eq!(found(), ["888", "1073741824"]);
    // It is refused; the crate passes over the error that stands beside a resource.
    alter("retention.ms", "x").expect("the call is answered");
    assert_eq!(found(), ["888", "1073741824"]);
}

fn add_partitions() {
    let name = topic(1, &[]);
    let grow = |count| only(admin().create_partitions([&NewPartitions::new(&name, count)], &options()));
    grow(3).expect("partitions are added");
    assert_eq!(partition_count(&name), 3);
    try_send(&kafka(), &name, 2, &records(&["x"]), &[]).expect("the third is there");
    assert_eq!(native_values(&name), [b"x"]);
    assert_refused(grow(2), RDKafkaErrorCode::InvalidPartitions);
}

fn delete_topic() {
    let name = topic(1, &[]);
    let delete = || only(admin().delete_topics(&[&name], &options()));
    delete().expect("it is deleted");
    assert!(!topic_exists(&name));
    assert_refused(delete(), RDKafkaErrorCode::UnknownTopicOrPartition);
}

fn delete_records() {
    let name = topic(1, &[]);
    send(&name, &records(&numbers(0..3)), &[]);
    let delete = |before: i64| {
        let done = block_on(admin().delete_records(&partitions(&name, &[(0, before)]), &options()))?;
        let parts = done.elements();
        assert_eq!(parts.len(), 1);
        parts[0].error().map(|()| parts[0].offset().to_raw())
    };
    assert_eq!(delete(2).expect("they are deleted"), Some(2));
    assert_eq!(native_values(&name), numbers(2..3));
    assert_refused(delete(9), RDKafkaErrorCode::OffsetOutOfRange);
}

/// State, protocol, and what each member is assigned, as the protocol of consumers writes it.
fn described(group: &str) -> (String, String, Vec<Vec<u8>>) {
    let found = consumer("unused", &[]).fetch_group_list(Some(group), PATIENCE).expect("it is told");
    let found = &found.groups()[0];
    let assignments = found.members().iter().map(|member| member.assignment().unwrap_or_default().to_vec());
    (found.state().to_owned(), found.protocol().to_owned(), assignments.collect())
}

fn is_listed(group: &str) -> bool {
    let groups = consumer("unused", &[]).fetch_group_list(None, PATIENCE).expect("groups are listed");
    groups.groups().iter().any(|found| found.name() == group && found.protocol_type() == "consumer")
}

fn describe_groups() {
    let (name, group) = (topic(2, &[]), unused_name("group"));
    let member = Member::join(&group, &name);
    wait_until("the member has all", || member.assigned().len() == 2);
    assert!(is_listed(&group));
    // Version 0, one topic, two partitions, no data.
    let mut assigned = vec![0, 0, 0, 0, 0, 1, 0, name.len() as u8];
    assigned.extend(name.as_bytes());
    assigned.extend([2u32, 0, 1].map(u32::to_be_bytes).concat());
    let (state, protocol, assignments) = described(&group);
    assert_eq!((state.as_str(), protocol.as_str()), ("Stable", "range"));
    assert_eq!(assignments.len(), 1);
    assert!(assignments[0].starts_with(&assigned), "{:?}", assignments[0].escape_ascii().to_string());
    member.leave();
    let (state, _, assignments) = described(&group);
    assert_eq!((state.as_str(), assignments.len()), ("Empty", 0));
}

fn delete_group() {
    let (name, group) = (topic(1, &[]), unused_name("group"));
    let member = Member::join(&group, &name);
    wait_until("the member has all", || member.assigned().len() == 1);
    let delete = || only(admin().delete_groups(&[&group], &options()));
    assert_refused(delete(), RDKafkaErrorCode::NonEmptyGroup);
    member.leave();
    assert_eq!(delete().expect("it is deleted"), group);
    assert!(!is_listed(&group));
    assert_refused(delete(), RDKafkaErrorCode::GroupIdNotFound);
}

fn describe_cluster() {
    let admin = admin();
    let metadata = admin.inner().fetch_metadata(None, PATIENCE).expect("metadata is told");
    let brokers: Vec<(i32, String)> = metadata
        .brokers()
        .iter()
        .map(|broker| (broker.id(), format!("{}:{}", broker.host(), broker.port())))
        .collect();
    assert_eq!(brokers, [(1, kafka())]);
    let cluster = admin.inner().fetch_cluster_id(PATIENCE).expect("the cluster has an id");
    assert!(!cluster.is_empty());
}
