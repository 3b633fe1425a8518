//! The bundled consumer against a broker of two shards: groups share, groups repeat, commits hold.

mod raw;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use broker::EmbeddedBroker;
use raw::scratch;
use ringlog_client::{
    Assignor, AutoCommit, AutoOffsetReset, Client, ConsumeError, Consumer, ConsumerBuilder, Offset,
    PartitionIndex, Record, TopicPartition, TopicSpec,
};

const PARTITIONS: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(20);

fn broker() -> EmbeddedBroker {
    EmbeddedBroker::start_with(scratch(), |mut config| {
        config.cpus = vec![0, 1];
        config.groups.session_timeout_min = Duration::from_millis(500);
        config
    })
    .unwrap()
}

async fn connect(broker: &EmbeddedBroker) -> Client {
    Client::connect(broker.addr().to_string()).await.unwrap()
}

/// Sends the numbers of a range, dealt out to the partitions.
async fn produce(client: &Client, topic: &str, numbers: std::ops::Range<u32>) {
    let producer = client.producer().build().unwrap();
    let mut tickets = Vec::new();
    for n in numbers {
        let record = Record::to(topic).partition(n % PARTITIONS).value(n.to_le_bytes().to_vec());
        tickets.push(producer.enqueue(record).await.unwrap());
    }
    for ticket in tickets {
        ticket.await.unwrap();
    }
}

fn number(record: &ringlog_client::ConsumedRecord) -> u32 {
    u32::from_le_bytes(record.value.as_ref().unwrap()[..].try_into().unwrap())
}

fn consumer(client: &Client, group: &str) -> ConsumerBuilder {
    client
        .consumer(group)
        .topics(["t"])
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .max_wait(Duration::from_millis(200))
        .session_timeout(Duration::from_secs(2))
}

/// Reads until `count` numbers are here.
async fn read(consumer: &mut Consumer, count: usize) -> Vec<u32> {
    let mut found = Vec::new();
    let reading = async {
        while found.len() < count {
            found.extend(consumer.recv_batch(count - found.len()).await.unwrap().iter().map(number));
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the records do not come");
    found.sort_unstable();
    found
}

fn name(partition: u32) -> TopicPartition {
    TopicPartition { topic: "t".into(), partition: PartitionIndex::new(partition) }
}

async fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_there() {
        assert!(begun.elapsed() < PATIENCE, "{what} does not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn members_share_and_groups_repeat() {
    let broker = broker();
    let client = connect(&broker).await;
    client.admin().create_topic(TopicSpec::new("t").partitions(PARTITIONS)).await.unwrap();
    for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::Sticky, Assignor::CooperativeSticky] {
        let group = assignor.name();
        let mut first = consumer(&client, group).assignors([assignor]).build().await.unwrap();
        let mut second = consumer(&client, group).assignors([assignor]).build().await.unwrap();
        let share = PARTITIONS as usize / 2;
        let begun = Instant::now();
        while first.assignment().len() != share || second.assignment().len() != share {
            assert!(
                begun.elapsed() < PATIENCE,
                "{assignor:?}: {:?} {:?}",
                first.assignment(),
                second.assignment()
            );
            // Somebody has to ask for records, or the member would be taken for stuck one day.
            let _ = first.poll(Duration::from_millis(5)).await.unwrap();
            let _ = second.poll(Duration::from_millis(5)).await.unwrap();
        }
        let mut all: Vec<TopicPartition> = first.assignment();
        all.extend(second.assignment());
        all.sort();
        assert_eq!(all, (0..PARTITIONS).map(name).collect::<Vec<_>>(), "{assignor:?}");
        first.close(PATIENCE).await.unwrap();
        second.close(PATIENCE).await.unwrap();
    }
    produce(&client, "t", 0..1000).await;
    let all: Vec<u32> = (0..1000).collect();
    for group in ["one", "two"] {
        let mut alone = consumer(&client, group).build().await.unwrap();
        assert_eq!(read(&mut alone, 1000).await, all, "{group}");
        alone.close(PATIENCE).await.unwrap();
    }
}

#[tokio::test]
async fn a_group_goes_on_from_what_was_committed() {
    let broker = broker();
    let client = connect(&broker).await;
    client.admin().create_topic(TopicSpec::new("t").partitions(PARTITIONS)).await.unwrap();
    produce(&client, "t", 0..400).await;

    // Committed by hand: what was handed out last does not count yet.
    let mut manual = consumer(&client, "manual").auto_commit(AutoCommit::Off).build().await.unwrap();
    read(&mut manual, 399).await;
    manual.recv().await.unwrap();
    manual.commit().await.unwrap();
    let committed: u64 =
        client.admin().group_offsets("manual").await.unwrap().iter().map(|at| at.offset.get()).sum();
    assert_eq!(committed, 399);
    manual.commit_offsets([(name(0), Offset::new(100))]).await.unwrap();
    drop(manual);
    let mut again = consumer(&client, "manual").auto_commit(AutoCommit::Off).build().await.unwrap();
    produce(&client, "t", 400..404).await;
    let found = read(&mut again, 4).await;
    assert!(found.iter().filter(|n| 400 <= **n).count() >= 3, "{found:?}");
    again.close(PATIENCE).await.unwrap();

    // Automatically: a close commits what was handed out.
    let mut auto = consumer(&client, "auto").build().await.unwrap();
    assert_eq!(read(&mut auto, 404).await, (0..404).collect::<Vec<_>>());
    auto.close(PATIENCE).await.unwrap();
    produce(&client, "t", 404..408).await;
    let mut auto = consumer(&client, "auto").build().await.unwrap();
    assert_eq!(read(&mut auto, 4).await, (404..408).collect::<Vec<_>>());
    auto.close(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_member_without_partitions_takes_over() {
    let broker = broker();
    let client = connect(&broker).await;
    client.admin().create_topic(TopicSpec::new("t").partitions(1)).await.unwrap();
    let mut first = consumer(&client, "g").build().await.unwrap();
    let polling = first.poll(Duration::from_millis(500));
    polling.await.unwrap();
    wait_for("the first assignment", || first.assignment().len() == 1).await;
    let mut surplus = consumer(&client, "g").build().await.unwrap();
    surplus.poll(Duration::from_millis(300)).await.unwrap();
    let both = first.assignment().len() + surplus.assignment().len();
    assert_eq!(both, 1, "one of them waits");
    drop(first);
    let producer = client.producer().topic("t").build().unwrap();
    producer.send(Record::to_default().partition(0).value(7u32.to_le_bytes().to_vec())).await.unwrap();
    assert_eq!(read(&mut surplus, 1).await, [7]);
    surplus.close(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn seek_pause_and_position_are_of_a_partition() {
    let broker = broker();
    let client = connect(&broker).await;
    client.admin().create_topic(TopicSpec::new("t").partitions(PARTITIONS)).await.unwrap();
    produce(&client, "t", 0..40).await;
    let mut consumer = consumer(&client, "g").auto_commit(AutoCommit::Off).build().await.unwrap();
    read(&mut consumer, 40).await;
    assert_eq!(consumer.lag(&name(1)).map(|lag| lag <= 10), Some(true));
    consumer.seek(&name(1), Offset::new(8)).unwrap();
    assert_eq!(read(&mut consumer, 2).await, [33, 37]);
    assert!(matches!(consumer.seek(&name(9), Offset::ZERO), Err(ConsumeError::NotRead { .. })));
    consumer.pause(&name(2));
    produce(&client, "t", 40..44).await;
    assert_eq!(read(&mut consumer, 3).await, [40, 41, 43]);
    assert!(consumer.poll(Duration::from_millis(300)).await.unwrap().is_empty(), "42 is paused");
    consumer.resume(&name(2));
    assert_eq!(read(&mut consumer, 1).await, [42]);
    let _ = consumer.poll(Duration::from_millis(1)).await.unwrap();
    assert_eq!(consumer.position(&name(2)), Some(Offset::new(11)));
    assert_eq!(consumer.committed(&name(2)), None);
    consumer.close(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_pattern_finds_topics_and_nobody_else_s() {
    let broker = broker();
    let client = connect(&broker).await;
    for topic in ["orders.eu", "orders.us", "orders", "other"] {
        client.admin().create_topic(TopicSpec::new(topic).partitions(1)).await.unwrap();
    }
    let mut consumer = client
        .consumer("g")
        .pattern(regex::Regex::new(r"orders\..*").unwrap())
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .build()
        .await
        .unwrap();
    let producer = client.producer().build().unwrap();
    for topic in ["orders", "other", "orders.us", "orders.eu"] {
        producer.send(Record::to(topic).value(topic)).await.unwrap();
    }
    let mut found = BTreeMap::new();
    while found.len() < 2 {
        let record = tokio::time::timeout(PATIENCE, consumer.recv()).await.unwrap().unwrap();
        *found.entry(record.topic.to_string()).or_insert(0) += 1;
    }
    assert_eq!(found, BTreeMap::from([("orders.eu".to_owned(), 1), ("orders.us".to_owned(), 1)]));
    consumer.close(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn who_does_not_come_back_leaves_and_is_told() {
    let broker = broker();
    let client = connect(&broker).await;
    client.admin().create_topic(TopicSpec::new("t").partitions(1)).await.unwrap();
    let mut slow =
        consumer(&client, "g").max_poll_interval(Duration::from_millis(700)).build().await.unwrap();
    slow.poll(Duration::from_millis(400)).await.unwrap();
    wait_for("the assignment", || slow.assignment().len() == 1).await;
    wait_for("the end of the poll interval", || slow.assignment().is_empty()).await;
    let told = tokio::time::timeout(PATIENCE, slow.recv()).await.unwrap();
    assert!(matches!(told, Err(ConsumeError::LeftGroup { .. })), "{told:?}");
    // The call that was told so has joined again.
    let producer = client.producer().topic("t").build().unwrap();
    producer.send(Record::to_default().value(1u32.to_le_bytes().to_vec())).await.unwrap();
    assert_eq!(read(&mut slow, 1).await, [1]);
    slow.close(PATIENCE).await.unwrap();
}
