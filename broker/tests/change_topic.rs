//! CreatePartitions and AlterTopic: what is changed holds at once, on both shards, and after a restart.

use std::path::Path;
use std::time::{Duration, Instant};

use broker::{Broker, Config};
use protocol::model::TopicName;
use ringlog_client::{
    Admin, AdminError, Client, ErrorCode, Offset, OffsetSpec, PartitionIndex, Record, SendError, StartAt,
    Timestamp, TopicChanges, TopicSpec,
};
use storage::catalog::{Catalog, MetadataLog, RedbLog};

fn start(data_dir: &Path) -> Broker {
    Broker::start(Config { cpus: vec![0, 1], ..Config::ephemeral(data_dir.to_owned()) }).unwrap()
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

async fn connect(broker: &Broker) -> Client {
    Client::connect(broker.addr().to_string()).await.unwrap()
}

/// The code and the text of a refusal.
fn refused(result: Result<(), AdminError>) -> (ErrorCode, String) {
    match result.unwrap_err() {
        AdminError::Refused { code, message } => (code, message),
        error => panic!("{error}"),
    }
}

async fn config(admin: &Admin, key: &str) -> (String, bool) {
    let topic = admin.describe_topic("t").await.unwrap();
    let entry = topic.configs.into_iter().find(|entry| entry.key == key).unwrap();
    (entry.value, entry.is_default)
}

/// Sends one record to each of `partitions`, and reads it again.
async fn check_partitions(client: &Client, partitions: u32, value: &'static str) {
    let producer = client.producer().topic("t").build().unwrap();
    for partition in 0..partitions {
        producer.send(Record::to_default().partition(partition).value(value)).await.unwrap();
    }
    let mut reader = client.reader().topic("t").start(StartAt::Earliest).build().await.unwrap();
    assert_eq!(reader.partitions().len(), partitions as usize);
    let mut missing: Vec<u32> = (0..partitions).collect();
    while !missing.is_empty() {
        let record = reader.recv().await.unwrap();
        if record.value.as_deref() == Some(value.as_bytes()) {
            missing.retain(|partition| *partition != record.partition.get());
        }
    }
}

#[tokio::test]
async fn partitions_are_added_on_their_shards_and_stay() {
    let dir = scratch();
    let broker = start(dir.path());
    let client = connect(&broker).await;
    let admin = client.admin();
    admin.create_topic(TopicSpec::new("t").partitions(2)).await.unwrap();
    check_partitions(&client, 2, "before").await;
    // Both have routes and queues from before.
    let producer = client.producer().topic("t").build().unwrap();
    producer.send(Record::to_default().partition(0).value("x")).await.unwrap();

    for (total, says) in [(1, "has 2 partitions"), (2, "has 2 partitions"), (100_001, "1 to 100000")] {
        let (code, message) = refused(admin.create_partitions("t", total, false).await);
        assert_eq!(code, ErrorCode::InvalidPartitions);
        assert!(message.contains(says), "{message}");
    }
    let unknown = admin.create_partitions("none", 5, false).await.unwrap_err();
    assert!(matches!(unknown, AdminError::UnknownTopic { .. }), "{unknown}");
    admin.create_partitions("t", 5, true).await.unwrap();
    assert_eq!(admin.describe_topic("t").await.unwrap().partitions.len(), 2, "that was a question");

    admin.create_partitions("t", 5, false).await.unwrap();
    let topic = admin.describe_topic("t").await.unwrap();
    let shards: Vec<u16> = topic.partitions.iter().map(|partition| partition.shard.get()).collect();
    let first = shards[0];
    assert_eq!(shards, [first, 1 - first, first, 1 - first, first], "old ones stay, new ones go on in turn");
    // A producer from before learns of them by a refresh, which the refusal asks for at the latest.
    let begun = Instant::now();
    let sent = loop {
        match producer.send(Record::to_default().partition(4).value("y")).await {
            Err(SendError::UnknownPartition { .. }) if begun.elapsed() < Duration::from_secs(10) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            sent => break sent.unwrap(),
        }
    };
    assert_eq!(sent.offset, Some(Offset::ZERO));
    check_partitions(&client, 5, "after").await;
    broker.stop().unwrap();

    let broker = start(dir.path());
    let client = connect(&broker).await;
    let end = client.admin().list_offsets("t", PartitionIndex::new(4), OffsetSpec::Latest).await.unwrap();
    assert_eq!(end.offset, Some(Offset::new(2)));
    check_partitions(&client, 5, "again").await;
    broker.stop().unwrap();
}

#[tokio::test]
async fn a_keyless_producer_uses_new_partitions_without_being_told() {
    let dir = scratch();
    let broker = start(dir.path());
    let client = connect(&broker).await;
    client.admin().create_topic(TopicSpec::new("t").partitions(1)).await.unwrap();
    let producer = client.producer().topic("t").linger(Duration::ZERO).build().unwrap();
    producer.send(Record::to_default().value("x")).await.unwrap();
    client.admin().create_partitions("t", 3, false).await.unwrap();
    let (begun, mut seen) = (Instant::now(), [false; 3]);
    while seen != [true; 3] {
        assert!(begun.elapsed() < Duration::from_secs(20), "used so far: {seen:?}");
        let delivery = producer.send(Record::to_default().value("x")).await.unwrap();
        seen[delivery.partition.get() as usize] = true;
    }
    broker.stop().unwrap();
}

/// What a SIGKILL leaves between the catalog's commit and the new directories.
#[tokio::test]
async fn a_change_that_only_the_catalog_knows_is_made_good_at_the_next_start() {
    let dir = scratch();
    let broker = start(dir.path());
    let client = connect(&broker).await;
    client.admin().create_topic(TopicSpec::new("t").partitions(2)).await.unwrap();
    check_partitions(&client, 2, "before").await;
    drop(client);
    broker.stop().unwrap();
    {
        let mut log = RedbLog::open(&dir.path().join("meta")).unwrap();
        let catalog = Catalog::from_records(&log.replay().unwrap());
        let name = TopicName::new("t").unwrap();
        let configs = [("flush.ms".to_owned(), "1000".to_owned())].into();
        let records =
            [catalog.plan_partitions(&name, 7).unwrap(), catalog.plan_configs(&name, configs).unwrap()];
        log.append(&records).unwrap();
    }
    let broker = start(dir.path());
    let client = connect(&broker).await;
    check_partitions(&client, 7, "after").await;
    assert_eq!(config(&client.admin(), "flush.ms").await, ("1000".to_owned(), false));
    broker.stop().unwrap();
}

#[tokio::test]
async fn settings_hold_at_once_and_after_a_restart_until_they_are_reset() {
    let dir = scratch();
    let broker = start(dir.path());
    let client = connect(&broker).await;
    let admin = client.admin();
    admin.create_topic(TopicSpec::new("t").partitions(2).config("segment.ms", "1h")).await.unwrap();
    let producer = client.producer().topic("t").build().unwrap();
    let send = |partition: u32, record: Record| producer.send(record.partition(partition));
    let code = |result: Result<_, SendError>| match result {
        Err(SendError::Refused { code, .. }) => Some(code),
        Err(SendError::LargerThanTopicTakes { .. }) => Some(ErrorCode::MessageTooLarge),
        other => other.map(|_: ringlog_client::Delivery| None).unwrap(),
    };
    let old = || Record::to_default().value("x").timestamp(Timestamp::from_millis(1000));
    let large = || Record::to_default().key("k").value(vec![7; 3000]);
    for partition in [0, 1] {
        assert_eq!(code(send(partition, old()).await), None);
        assert_eq!(code(send(partition, large()).await), None);
    }
    let changes = TopicChanges::new("t")
        .set("cleanup.policy", "compact")
        .set("message.timestamp.before.max.ms", "1d")
        .set("max.message.bytes", "2000");
    admin.alter_topic(changes.clone().validate_only(true)).await.unwrap();
    assert_eq!(code(send(0, old()).await), None, "that was a question");
    admin.alter_topic(changes).await.unwrap();
    let check = async |client: &Client| {
        let producer = client.producer().topic("t").build().unwrap();
        for partition in [0, 1] {
            let send = |record: Record| producer.send(record.partition(partition));
            let keyed_old = old().key("k");
            assert_eq!(code(send(keyed_old).await), Some(ErrorCode::InvalidTimestamp));
            assert_eq!(code(send(large()).await), Some(ErrorCode::MessageTooLarge));
            assert_eq!(code(send(Record::to_default().value("x")).await), Some(ErrorCode::InvalidRecord));
            assert_eq!(code(send(Record::to_default().key("k").value("x")).await), None);
        }
    };
    check(&client).await;
    assert_eq!(config(&admin, "segment.ms").await, ("3600000".to_owned(), false), "it was not named");
    broker.stop().unwrap();

    let broker = start(dir.path());
    let client = connect(&broker).await;
    check(&client).await;
    let reset =
        ["cleanup.policy", "message.timestamp.before.max.ms", "max.message.bytes", "flush.ms"].into_iter();
    let changes = reset.fold(TopicChanges::new("t"), TopicChanges::reset);
    client.admin().alter_topic(changes).await.unwrap();
    assert_eq!(config(&client.admin(), "cleanup.policy").await, ("delete".to_owned(), true));
    let producer = client.producer().topic("t").build().unwrap();
    for record in [old(), large(), Record::to_default().value("x")] {
        assert_eq!(code(producer.send(record.partition(1)).await), None);
    }
    broker.stop().unwrap();
}

#[tokio::test]
async fn a_smaller_retention_deletes_what_is_there() {
    let dir = scratch();
    let broker = start(dir.path());
    let client = connect(&broker).await;
    let admin = client.admin();
    admin.create_topic(TopicSpec::new("t").config("segment.bytes", "65536")).await.unwrap();
    let producer = client.producer().topic("t").linger(Duration::ZERO).build().unwrap();
    for n in 0..20u8 {
        producer.send(Record::to_default().partition(0).value(vec![n; 20_000])).await.unwrap();
    }
    let earliest = async || {
        admin.list_offsets("t", PartitionIndex::new(0), OffsetSpec::Earliest).await.unwrap().offset.unwrap()
    };
    assert_eq!(earliest().await, Offset::ZERO);
    admin.alter_topic(TopicChanges::new("t").set("retention.bytes", "100000")).await.unwrap();
    let begun = Instant::now();
    while earliest().await < Offset::new(10) {
        assert!(begun.elapsed() < Duration::from_secs(20), "it begins at {} still", earliest().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    broker.stop().unwrap();
}

/// `flush.ms` decides when records count as safe; a change waits for rounds under way and holds new ones
/// back meanwhile, so this would hang or lose records if one of the two went wrong.
#[tokio::test]
async fn the_flush_policy_is_changed_to_and_fro_under_load() {
    let dir = scratch();
    let broker = start(dir.path());
    let client = connect(&broker).await;
    let admin = client.admin();
    admin.create_topic(TopicSpec::new("t").partitions(4)).await.unwrap();
    let producer = client.producer().topic("t").linger(Duration::ZERO).build().unwrap();
    let (mut tickets, mut sent) = (Vec::new(), [0u64; 4]);
    for round in 0..40 {
        for n in 0..50u32 {
            sent[(n % 4) as usize] += 1;
            let record = Record::to_default().partition(n % 4).value(n.to_le_bytes().to_vec());
            tickets.push(producer.enqueue(record).await.unwrap());
        }
        let changes = TopicChanges::new("t");
        let changes = if round % 2 == 0 { changes.set("flush.ms", "1h") } else { changes.reset("flush.ms") };
        admin.alter_topic(changes).await.unwrap();
    }
    for ticket in tickets {
        tokio::time::timeout(Duration::from_secs(20), ticket).await.expect("acknowledged").unwrap();
    }
    for (partition, sent) in (0..).map(PartitionIndex::new).zip(sent) {
        let end = admin.list_offsets("t", partition, OffsetSpec::Latest).await.unwrap().offset;
        assert_eq!(end, Some(Offset::new(sent)));
    }
    broker.stop().unwrap();
}

#[tokio::test]
async fn what_is_wrong_with_a_change_is_explained_and_changes_nothing() {
    let dir = scratch();
    let broker = start(dir.path());
    let client = connect(&broker).await;
    let admin = client.admin();
    admin.create_topic(TopicSpec::new("t")).await.unwrap();
    let good = || TopicChanges::new("t").set("retention.ms", "1");
    for (changes, says) in [
        (good().set("retention.byte", "1"), "did you mean retention.bytes?"),
        (good().reset("segment.mss"), "did you mean segment.ms?"),
        (good().set("segment.bytes", "1"), "Value must be at least 65536 (64 KiB)"),
        (good().reset("retention.ms"), "named twice"),
    ] {
        let (code, message) = refused(admin.alter_topic(changes).await);
        assert_eq!(code, ErrorCode::InvalidConfig);
        assert!(message.contains(says), "{message}");
    }
    assert!(config(&admin, "retention.ms").await.1, "none of them is made");
    let unknown = admin.alter_topic(TopicChanges::new("none").reset("flush.ms")).await.unwrap_err();
    assert!(matches!(unknown, AdminError::UnknownTopic { .. }), "{unknown}");
    admin.alter_topic(TopicChanges::new("t")).await.unwrap();
    broker.stop().unwrap();
}
