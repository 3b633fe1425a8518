//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs.

use std::collections::BTreeMap;

use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig as Replaced};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResult;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource as Resource, AlterableConfig,
};
use kafka_protocol::messages::{
    AlterConfigsRequest, CreateTopicsRequest, DescribeConfigsRequest, FindCoordinatorRequest,
    IncrementalAlterConfigsRequest, MetadataRequest, TopicName,
};
use protocol::api::{AlterTopicReply, AlterTopicRequest, ConfigChange, Message};
use protocol::model::ErrorCode;

use crate::client::{Kafka, broker, text};
use crate::raw::{Answer, Raw};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn describe(
    kafka: &mut Kafka,
    version: i16,
    kind: i8,
    name: &str,
    keys: Option<&[&str]>,
) -> DescribeConfigsResult {
    let keys = keys.map(|keys| keys.iter().map(|key| text(key)).collect());
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(keys);
    let request =
        DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true);
    kafka.call(version, &request).results.remove(0)
}

/// Value and source of each setting.
fn settings(result: &DescribeConfigsResult) -> BTreeMap<String, (String, i8)> {
    let value = |value: &Option<_>| -> String { value.as_ref().map(ToString::to_string).unwrap_or_default() };
    let entry = |one: &kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult| {
        (one.name.to_string(), (value(&one.value), one.config_source))
    };
    result.configs.iter().map(entry).collect()
}

fn setting(kafka: &mut Kafka, name: &str) -> (String, i8) {
    settings(&describe(kafka, 4, TOPIC, "t", Some(&[name]))).remove(name).unwrap()
}

/// A setting, what is done to it, and its value.
type Change<'a> = (&'a str, i8, Option<&'a str>);

fn change(kafka: &mut Kafka, validate_only: bool, changes: &[Change<'_>]) -> i16 {
    change_of(kafka, TOPIC, "t", validate_only, changes)
}

fn change_of(kafka: &mut Kafka, kind: i8, name: &str, validate_only: bool, changes: &[Change<'_>]) -> i16 {
    let one = |(name, op, value): &Change<'_>| {
        AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(*op)
            .with_value(value.map(text))
    };
    let resource = Resource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(changes.iter().map(one).collect());
    let request = IncrementalAlterConfigsRequest::default()
        .with_resources(vec![resource])
        .with_validate_only(validate_only);
    let errors: Vec<_> = (0..=1)
        .map(|version| {
            let response = kafka.call(version, &request).responses.remove(0);
            assert_eq!((response.resource_type, response.resource_name.as_str()), (kind, name));
            assert_eq!(response.error_code == 0, response.error_message.is_none(), "{response:?}");
            response.error_code
        })
        .collect();
    assert_eq!(errors[0], errors[1]);
    errors[0]
}

#[test]
fn settings_are_described_by_kafkas_names() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 1);
    assert_eq!(change(&mut kafka, false, &[("retention.ms", SET, Some("1000"))]), 0);
    for version in 1..=4 {
        let all = describe(&mut kafka, version, TOPIC, "t", None);
        let found = settings(&all);
        assert_eq!(found["retention.ms"], ("1000".to_owned(), 1));
        assert_eq!(found["cleanup.policy"], ("delete".to_owned(), 5));
        assert!(10 < found.len());
        let retention = all.configs.iter().find(|one| one.name.as_str() == "retention.ms").unwrap();
        let synonyms: Vec<_> = retention.synonyms.iter().map(|one| (one.name.as_str(), one.source)).collect();
        assert_eq!(synonyms, [("retention.ms", 1), ("retention.ms", 5)], "the default is behind it");
        assert!(!retention.read_only && !retention.is_sensitive);
        let some =
            describe(&mut kafka, version, TOPIC, "t", Some(&["segment.bytes", "nothing", "retention.ms"]));
        assert_eq!(settings(&some).into_keys().collect::<Vec<_>>(), ["retention.ms", "segment.bytes"]);
        assert_eq!(settings(&describe(&mut kafka, version, TOPIC, "t", Some(&[]))), found, "none is all");
        assert_eq!(describe(&mut kafka, version, TOPIC, "nope", None).error_code, 3);
        assert_eq!(describe(&mut kafka, version, TOPIC, "a/b", None).error_code, 17);
        assert_eq!(describe(&mut kafka, version, 8, "x", None).error_code, 42);
    }
}

#[test]
fn a_brokers_settings_are_shown_and_not_changed() {
    let broker = broker(1);
    let mut kafka = Kafka::connect(&broker);
    let node = kafka.call(12, &MetadataRequest::default().with_topics(None)).controller_id;
    for name in [node.to_string(), String::new()] {
        let found = describe(&mut kafka, 4, BROKER, &name, None);
        assert!(found.configs.iter().all(|one| one.read_only));
        assert_eq!(settings(&found)["num.partitions"].1, 4);
        assert_eq!(change_of(&mut kafka, BROKER, &name, false, &[("num.partitions", SET, Some("3"))]), 42);
    }
    for other in [(*node + 1).to_string(), "x".to_owned(), "\u{1}".repeat(32_000)] {
        assert_eq!(describe(&mut kafka, 1, BROKER, &other, None).error_code, 42);
    }
}

/// As in Kafka, by whose types its tools show values and ask for them.
#[test]
fn settings_have_the_types_that_kafka_gives_them() {
    let broker = broker(1);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 1);
    let [boolean, string, int, long, double, list] = [1, 2, 3, 5, 6, 7];
    let mut types = |version, kind, name| -> BTreeMap<String, i8> {
        let described = describe(&mut kafka, version, kind, name, None);
        described.configs.iter().map(|one| (one.name.to_string(), one.config_type)).collect()
    };
    for version in 3..=4 {
        let mut of_topic = types(version, TOPIC, "t");
        let others = [
            "cleanup.policy",
            "max.message.bytes",
            "segment.bytes",
            "min.insync.replicas",
            "min.cleanable.dirty.ratio",
            "preallocate",
            "unclean.leader.election.enable",
            "compression.type",
            "message.timestamp.type",
        ];
        let others = others.map(|name| of_topic.remove(name).unwrap());
        assert_eq!(others, [list, int, int, int, double, boolean, boolean, string, string]);
        assert!(of_topic.len() == 9 && of_topic.values().all(|found| *found == long), "{of_topic:?}");
        let of_broker = types(version, BROKER, "");
        let some = ["auto.create.topics.enable", "log.dirs", "num.partitions"].map(|name| of_broker[name]);
        assert_eq!(some, [boolean, list, int]);
        assert!(of_broker.values().all(|found| *found != 0), "{of_broker:?}");
    }
    assert!(types(2, TOPIC, "t").values().all(|found| *found == 0), "not told before");
}

/// Kafka Streams, for one, sets `message.timestamp.type` of all topics that it makes.
#[test]
fn what_is_so_of_every_topic_may_be_asked_for() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 1);
    let [of_topic, of_all] = [1, 5];
    for (name, value, others) in [
        ("compression.type", "producer", &["zstd", "uncompressed", ""][..]),
        ("message.timestamp.type", "CreateTime", &["LogAppendTime", "createtime"]),
        ("min.insync.replicas", "1", &["2", "0", "-1"]),
        ("preallocate", "false", &["true"]),
        ("unclean.leader.election.enable", "false", &["true", "no"]),
    ] {
        assert_eq!(setting(&mut kafka, name), (value.to_owned(), of_all));
        assert_eq!(change(&mut kafka, false, &[(name, SET, Some(value))]), 0, "{name}");
        assert_eq!(setting(&mut kafka, name), (value.to_owned(), of_topic));
        for other in others {
            assert_eq!(change(&mut kafka, false, &[(name, SET, Some(other))]), 40, "{name}={other}");
        }
        let created = |value| {
            let config = CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)));
            let topic = CreatableTopic::default()
                .with_name(TopicName(text(&format!("with-{}", name.replace('.', "-")))))
                .with_num_partitions(1)
                .with_replication_factor(1)
                .with_configs(vec![config]);
            CreateTopicsRequest::default().with_topics(vec![topic])
        };
        assert_eq!(kafka.call(7, &created(others[0])).topics[0].error_code, 40);
        assert_eq!(kafka.call(7, &created(value)).topics[0].error_code, 0);
    }
    for value in ["False", " FALSE "] {
        assert_eq!(change(&mut kafka, false, &[("preallocate", SET, Some(value))]), 0, "as Kafka reads it");
    }
}

/// As its users search for them; behind them stands what we have to add. The native protocol says the same.
#[test]
fn refusals_are_told_in_kafkas_words() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    let mut raw = Raw::connect(broker.addr());
    kafka.create_topic("t", 1);
    for (name, value, why) in [
        (
            "retention.ms",
            "soon",
            "Invalid value soon for configuration retention.ms: Not a number of type LONG",
        ),
        (
            "segment.bytes",
            "0.5",
            "Invalid value 0.5 for configuration segment.bytes: Not a number of type INT",
        ),
        ("segment.ms", " 0 ", "Invalid value 0 for configuration segment.ms: Value must be at least 1"),
        (
            "preallocate",
            "no",
            "Invalid value no for configuration preallocate: Expected value to be either true or false",
        ),
        (
            "cleanup.policy",
            "delete,x",
            "Invalid value x for configuration cleanup.policy: String must be one of: compact, delete",
        ),
        (
            "min.cleanable.dirty.ratio",
            "2",
            "Invalid value 2 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
        ),
        ("retention.m", "1", "Unknown topic config name: retention.m; did you mean retention.ms?"),
    ] {
        let config = CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)));
        let topic = CreatableTopic::default()
            .with_name(TopicName(text("u")))
            .with_num_partitions(1)
            .with_replication_factor(1)
            .with_configs(vec![config]);
        let created =
            kafka.call(7, &CreateTopicsRequest::default().with_topics(vec![topic])).topics.remove(0);
        let told = created.error_message.unwrap().to_string();
        assert!(created.error_code == 40 && told.starts_with(why), "{told}");
        let changed = AlterableConfig::default().with_name(text(name)).with_value(Some(text(value)));
        let resource = Resource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text("t"))
            .with_configs(vec![changed]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let altered = kafka.call(1, &request).responses.remove(0);
        assert_eq!((altered.error_code, altered.error_message.unwrap().to_string()), (40, told.clone()));
        assert_eq!(raw.create_topic("u", 1, &[(name, value)]).message, told);
    }
    for value in [" 1000 ", "+1000", "1s"] {
        assert_eq!(change(&mut kafka, false, &[("retention.ms", SET, Some(value))]), 0, "{value:?}");
        let described = describe(&mut kafka, 4, TOPIC, "t", Some(&["retention.ms"]));
        assert_eq!(settings(&described)["retention.ms"].0, "1000", "{value:?}");
    }
}

/// Compaction is what keeps the groups.
#[test]
fn the_topic_of_groups_stays_compacted() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    let topic = "__consumer_offsets";
    let mut raw = Raw::connect(broker.addr());
    assert_eq!(raw.create_topic(topic, 1, &[]).error, ErrorCode::InvalidConfig, "nor is it made otherwise");
    let find = FindCoordinatorRequest::default().with_key(text("g"));
    while kafka.call(1, &find).error_code != 0 {}
    let of_topic = |kafka: &mut Kafka, changes: &[Change<'_>]| change_of(kafka, TOPIC, topic, false, changes);
    for (op, value) in [(SET, Some("delete")), (SET, Some("compact,delete")), (APPEND, Some("delete"))] {
        assert_eq!(of_topic(&mut kafka, &[("cleanup.policy", op, value)]), 40, "{value:?}");
    }
    assert_eq!(of_topic(&mut kafka, &[("cleanup.policy", DELETE, None)]), 40);
    assert_eq!(replaced(&mut kafka, &[(topic, "segment.bytes", "1048576")]), [40], "the default is delete");
    assert_eq!(replaced(&mut kafka, &[(topic, "cleanup.policy", "compact")]), [0]);
    assert_eq!(of_topic(&mut kafka, &[("segment.bytes", SET, Some("1048576"))]), 0, "others may change");
    let changes = vec![("cleanup.policy".to_owned(), ConfigChange::Set("delete".to_owned()))];
    let request = AlterTopicRequest { name: topic.to_owned(), validate_only: false, changes };
    let answer = raw.call(&request);
    let Answer::Reply(_, body) = answer else { panic!("{answer:?}") };
    assert_eq!(AlterTopicReply::read(&body).unwrap().error, ErrorCode::InvalidConfig);
}

/// Replaces the settings of topics by one each.
fn replaced(kafka: &mut Kafka, topics: &[(&str, &str, &str)]) -> Vec<i16> {
    let one = |(topic, name, value): &(&str, &str, &str)| {
        let config = Replaced::default().with_name(text(name)).with_value(Some(text(value)));
        AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(topic))
            .with_configs(vec![config])
    };
    let request = AlterConfigsRequest::default().with_resources(topics.iter().map(one).collect());
    kafka.call(2, &request).responses.iter().map(|one| one.error_code).collect()
}

#[test]
fn a_resource_that_is_named_twice_stays_as_it_is() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 1);
    kafka.create_topic("u", 1);
    let (t, u) = (("t", "retention.ms", "1000"), ("u", "retention.ms", "1000"));
    assert_eq!(replaced(&mut kafka, &[t, u, ("t", "flush.ms", "1")]), [42, 0, 42]);
    let one = |name: &str| {
        let config = AlterableConfig::default()
            .with_name(text("retention.ms"))
            .with_config_operation(SET)
            .with_value(Some(text("1000")));
        Resource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(name))
            .with_configs(vec![config])
    };
    let request =
        IncrementalAlterConfigsRequest::default().with_resources(vec![one("t"), one("u"), one("t")]);
    let errors: Vec<_> = kafka.call(1, &request).responses.iter().map(|one| one.error_code).collect();
    assert_eq!(errors, [42, 0, 42]);
    assert_eq!(setting(&mut kafka, "retention.ms").1, 5);
    assert_eq!(setting(&mut kafka, "flush.ms").1, 5);
}

#[test]
fn settings_change_one_by_one() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 1);
    let set = |value| [("retention.ms", SET, Some(value))];
    assert_eq!(change(&mut kafka, true, &set("1000")), 0);
    assert_eq!(setting(&mut kafka, "retention.ms").1, 5, "a trial changes nothing");
    assert_eq!(change(&mut kafka, false, &set("1000")), 0);
    assert_eq!(setting(&mut kafka, "retention.ms"), ("1000".to_owned(), 1));
    assert_eq!(change(&mut kafka, false, &[("segment.bytes", SET, Some("1048576"))]), 0);
    assert_eq!(setting(&mut kafka, "retention.ms").0, "1000", "the others stay");
    assert_eq!(change(&mut kafka, false, &[("retention.ms", DELETE, None)]), 0);
    assert_eq!(setting(&mut kafka, "retention.ms").1, 5);
    let list = |op, value| [("cleanup.policy", op, Some(value))];
    assert_eq!(change(&mut kafka, false, &list(APPEND, "compact")), 0);
    assert_eq!(setting(&mut kafka, "cleanup.policy").1, 1);
    let mut both: Vec<_> = setting(&mut kafka, "cleanup.policy").0.split(',').map(str::to_owned).collect();
    both.sort();
    assert_eq!(both, ["compact", "delete"]);
    assert_eq!(change(&mut kafka, false, &list(SUBTRACT, "delete")), 0);
    assert_eq!(setting(&mut kafka, "cleanup.policy").0, "compact");
    let long = "\u{1}".repeat(32_000);
    let wrong: [(&str, &[Change<'_>], i16); 8] = [
        ("a value", &set("soon"), 40),
        ("no value", &[("retention.ms", SET, None)], 42),
        ("a name", &[("retention", SET, Some("1"))], 40),
        ("a long name", &[(&long, SET, None)], 42),
        ("no list", &[("retention.ms", APPEND, Some("1"))], 40),
        ("an operation", &[("retention.ms", 4, Some("1"))], 42),
        ("twice", &[("retention.ms", SET, Some("1")), ("retention.ms", SET, Some("2"))], 42),
        ("half", &[("segment.ms", SET, Some("100000")), ("retention.ms", SET, Some("x"))], 40),
    ];
    for (what, changes, error) in wrong {
        assert_eq!(change(&mut kafka, false, changes), error, "{what}");
        assert_eq!(change(&mut kafka, true, changes), error, "{what}");
    }
    assert_eq!(setting(&mut kafka, "segment.ms").1, 5, "all or nothing");
    assert_eq!(change_of(&mut kafka, TOPIC, "nope", false, &set("1")), 3);
    assert_eq!(change_of(&mut kafka, TOPIC, "a/b", false, &set("1")), 17);
}

#[test]
fn settings_are_replaced_together() {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 1);
    for version in 0..=2 {
        assert_eq!(change(&mut kafka, false, &[("retention.ms", SET, Some("1000"))]), 0);
        let mut replace = |kind, name: &str, value: Option<&str>, validate_only| {
            let config = Replaced::default().with_name(text("segment.bytes")).with_value(value.map(text));
            let resource = AlterConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(name))
                .with_configs(vec![config]);
            let request = AlterConfigsRequest::default()
                .with_resources(vec![resource])
                .with_validate_only(validate_only);
            kafka.call(version, &request).responses[0].error_code
        };
        assert_eq!(replace(TOPIC, "t", Some("x"), false), 40);
        assert_eq!(replace(TOPIC, "t", None, false), 42);
        assert_eq!(replace(TOPIC, "nope", Some("1048576"), false), 3);
        assert_eq!(replace(BROKER, "1", Some("1048576"), false), 42);
        assert_eq!(replace(TOPIC, "t", Some("1048576"), true), 0);
        assert_eq!(replace(TOPIC, "t", Some("1048576"), false), 0);
        assert_eq!(setting(&mut kafka, "segment.bytes"), ("1048576".to_owned(), 1));
        assert_eq!(setting(&mut kafka, "retention.ms").1, 5, "what is not named is a default again");
    }
}
