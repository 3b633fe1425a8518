//! Retries against a broker of two shards: from try to try, in time, and at last to the dead letters.

mod raw;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use broker::EmbeddedBroker;
use raw::scratch;
use ringlog_client::{
    Assignor, AutoCommit, AutoOffsetReset, Client, ConsumeError, ConsumedRecord, Consumer, ConsumerBuilder,
    InvalidRetry, PartitionIndex, Record, Retry, RetryError, RetryPolicy, StartAt, TopicPartition, TopicSpec,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A machine under load is late; nobody may be early.
const LATE: Duration = Duration::from_secs(5);

/// A record is due at a whole millisecond.
const DUE_UNIT: Duration = Duration::from_millis(1);

fn broker() -> EmbeddedBroker {
    EmbeddedBroker::start_with(scratch(), |mut config| {
        config.cpus = vec![0, 1];
        config.groups.session_timeout_min = Duration::from_millis(500);
        config
    })
    .unwrap()
}

async fn connect(broker: &EmbeddedBroker) -> Client {
    let client = Client::connect(broker.addr().to_string()).await.unwrap();
    client.admin().create_topic(TopicSpec::new("orders").partitions(2)).await.unwrap();
    client
}

async fn produce(client: &Client, partition: u32, records: &[(&'static str, &'static str)]) {
    let producer = client.producer().build().unwrap();
    for (key, value) in records {
        let record = Record::to("orders").partition(partition).key(*key).value(*value);
        producer.send(record).await.unwrap();
    }
}

fn consumer(client: &Client, retry: &Retry) -> ConsumerBuilder {
    client
        .consumer("g")
        .topics(["orders"])
        .retry(retry)
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .auto_commit(AutoCommit::Every(Duration::from_millis(50)))
        .max_wait(Duration::from_millis(50))
        .session_timeout(Duration::from_secs(2))
}

fn text(record: &ConsumedRecord) -> String {
    String::from_utf8(record.value.as_ref().unwrap().to_vec()).unwrap()
}

fn headers(record: &ConsumedRecord) -> BTreeMap<String, String> {
    let value = |header: &ringlog_client::Header| {
        let bytes = header.value.as_ref().unwrap().to_vec();
        (header.key.as_str().to_owned(), String::from_utf8(bytes).unwrap())
    };
    record.headers.iter().map(value).collect()
}

/// What was tried: when, where, what.
#[derive(Clone, Default)]
struct Tries(Arc<Mutex<Vec<(Instant, String, String)>>>);

impl Tries {
    fn push(&self, record: &ConsumedRecord) {
        self.0.lock().unwrap().push((Instant::now(), record.topic.to_string(), text(record)));
    }

    /// Where and when a record was tried.
    fn of(&self, value: &str) -> Vec<(String, Instant)> {
        let tries = self.0.lock().unwrap();
        tries.iter().filter(|(.., of)| of == value).map(|(at, topic, _)| (topic.clone(), *at)).collect()
    }

    fn values(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|(.., value)| value.clone()).collect()
    }
}

/// Has workers try records until `is_over`. What `fails` says fails.
async fn work(
    consumer: &mut Consumer,
    tries: &Tries,
    fails: impl Fn(&ConsumedRecord) -> bool + Send + Sync + 'static,
    is_over: impl Fn() -> bool + Send + Sync,
) {
    let over = async {
        while !is_over() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let seen = tries.clone();
    let handler = move |record: ConsumedRecord| {
        seen.push(&record);
        let failed = fails(&record);
        async move { if failed { Err(format!("no {}", record.topic)) } else { Ok(()) } }
    };
    let run = consumer.workers(4).stop_when(over).run(handler);
    tokio::time::timeout(PATIENCE, run).await.expect("it is not over").unwrap();
}

async fn dead_letters(client: &Client) -> Vec<ConsumedRecord> {
    let ends =
        client.admin().list_topic_offsets("orders.dlq", ringlog_client::OffsetSpec::Latest).await.unwrap();
    let count: u64 = ends.iter().map(|end| end.offset.unwrap().get()).sum();
    let mut reader = client.reader().topic("orders.dlq").start(StartAt::Earliest).build().await.unwrap();
    let mut records = Vec::new();
    for _ in 0..count {
        records.push(tokio::time::timeout(PATIENCE, reader.recv()).await.unwrap().unwrap());
    }
    records
}

/// Records that the group has committed, by topic.
async fn committed(client: &Client) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for at in client.admin().group_offsets("g").await.unwrap() {
        *sums.entry(at.topic.to_string()).or_insert(0) += at.offset.get();
    }
    sums
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_always_fails_goes_through_its_tries_to_the_dead_letters() {
    let broker = broker();
    let client = connect(&broker).await;
    let delays = [Duration::from_millis(300), Duration::from_millis(700)];
    let retry = client.retry(RetryPolicy::new(delays));
    retry.create_topics("orders").await.unwrap();
    retry.create_topics("orders").await.expect("those that exist are fine");
    produce(&client, 1, &[("a", "good 1"), ("b", "bad"), ("c", "good 2")]).await;
    let mut consumer = consumer(&client, &retry).build().await.unwrap();
    let tries = Tries::default();
    let is_over = || tries.of("bad").len() == 3;
    work(&mut consumer, &tries, |record| text(record) == "bad", is_over).await;
    consumer.close(PATIENCE).await.unwrap();

    let bad = tries.of("bad");
    let topics: Vec<&str> = bad.iter().map(|(topic, _)| topic.as_str()).collect();
    assert_eq!(topics, ["orders", "orders.retry.1", "orders.retry.2"]);
    for (pair, delay) in bad.windows(2).zip(delays) {
        let waited = pair[1].1 - pair[0].1;
        let in_time = delay.saturating_sub(DUE_UNIT)..delay + LATE;
        assert!(in_time.contains(&waited), "{waited:?} instead of {delay:?}");
    }
    assert_eq!((tries.of("good 1").len(), tries.of("good 2").len()), (1, 1));
    assert!(tries.of("good 2")[0].1 < bad[1].1, "nobody waits for it");

    let [dead] = &dead_letters(&client).await[..] else { panic!("one is dead") };
    assert_eq!((text(dead).as_str(), dead.key.as_deref()), ("bad", Some(&b"b"[..])));
    let headers = headers(dead);
    let header = |name: &str| headers[&format!("ringlog.retry.{name}")].as_str();
    assert_eq!((header("topic"), header("partition"), header("offset")), ("orders", "1", "1"));
    assert_eq!((header("attempt"), header("cause")), ("3", "no orders.retry.2"));
    assert!(!headers.contains_key("ringlog.retry.due"), "{headers:?}");
    let committed = committed(&client).await;
    let expected = [("orders", 3), ("orders.retry.1", 1), ("orders.retry.2", 1)];
    assert_eq!(committed, expected.map(|(topic, records)| (topic.to_owned(), records)).into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_passing_trouble_is_over_with_the_second_try() {
    let broker = broker();
    let client = connect(&broker).await;
    let retry = client.retry(RetryPolicy::new([Duration::from_millis(200); 2]));
    retry.create_topics("orders").await.unwrap();
    let values = ["0", "1", "2", "3", "4", "5", "6", "7"];
    produce(&client, 0, &values.map(|value| (value, value))).await;
    let mut consumer = consumer(&client, &retry).build().await.unwrap();
    let tries = Tries::default();
    let is_over = || values.iter().all(|value| tries.of(value).len() == 2);
    work(&mut consumer, &tries, |record| &*record.topic == "orders", is_over).await;
    consumer.close(PATIENCE).await.unwrap();
    assert_eq!(tries.values().len(), 16, "nothing is tried once more");
    assert!(dead_letters(&client).await.is_empty());
    let committed = committed(&client).await;
    assert_eq!((committed["orders"], committed["orders.retry.1"]), (8, 8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_order_kept_later_records_of_a_key_follow_it_and_other_keys_pass() {
    let broker = broker();
    let client = connect(&broker).await;
    let delays = [Duration::from_millis(500), Duration::from_millis(500)];
    let retry = client.retry(RetryPolicy::new(delays).keep_key_order());
    retry.create_topics("orders").await.unwrap();
    produce(&client, 0, &[("a", "a1"), ("b", "b1"), ("a", "a2"), ("b", "b2"), ("a", "a3")]).await;
    let mut consumer = consumer(&client, &retry).build().await.unwrap();
    let tries = Tries::default();
    let later = client.clone();
    let late = tokio::spawn(async move {
        // While a1 waits.
        tokio::time::sleep(Duration::from_millis(250)).await;
        produce(&later, 0, &[("a", "a4"), ("b", "b3")]).await;
    });
    let is_over = || !tries.of("a4").is_empty() && !tries.of("b3").is_empty();
    let fails = |record: &ConsumedRecord| text(record) == "a1" && &*record.topic != "orders.retry.2";
    work(&mut consumer, &tries, fails, is_over).await;
    late.await.unwrap();
    let of =
        |key: char| tries.values().into_iter().filter(|value| value.starts_with(key)).collect::<Vec<_>>();
    assert_eq!(of('a'), ["a1", "a1", "a1", "a2", "a3", "a4"], "in order, and only a1 was tried before");
    assert_eq!(of('b'), ["b1", "b2", "b3"]);
    let first_of_retry = tries.of("a1")[1].1;
    assert!(tries.of("b2")[0].1 < first_of_retry, "b does not wait");
    assert!(tries.of("b3").iter().all(|(topic, _)| topic == "orders"));
    assert!(dead_letters(&client).await.is_empty());

    // Nothing of a waits any more: its next record is tried at once.
    produce(&client, 0, &[("a", "a5")]).await;
    work(&mut consumer, &tries, |_| false, || !tries.of("a5").is_empty()).await;
    assert_eq!(tries.of("a5")[0].0, "orders");
    consumer.close(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loop_without_workers_gets_records_when_they_are_due_and_others_meanwhile() {
    let broker = broker();
    let client = connect(&broker).await;
    let delay = Duration::from_secs(2);
    let retry = client.retry(RetryPolicy::new([delay]));
    retry.create_topics("orders").await.unwrap();
    produce(&client, 0, &[("a", "1"), ("b", "2")]).await;
    let mut consumer = consumer(&client, &retry).build().await.unwrap();
    let first = consumer.recv().await.unwrap();
    let failed_at = Instant::now();
    retry.failed(&first, "later").await.unwrap();
    assert_eq!(text(&consumer.recv().await.unwrap()), "2");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let held = consumer.poll(Duration::from_millis(200)).await.unwrap();
    assert!(held.is_empty(), "it is not due: {held:?}");
    produce(&client, 0, &[("c", "3")]).await;
    assert_eq!(text(&consumer.recv().await.unwrap()), "3");
    assert!(failed_at.elapsed() < delay, "too slow a machine to see it");

    // Held records are nobody's yet: who closes does not commit them.
    consumer.close(PATIENCE).await.unwrap();
    let mut consumer = self::consumer(&client, &retry).build().await.unwrap();
    let again = tokio::time::timeout(PATIENCE, consumer.recv()).await.unwrap().unwrap();
    let waited = failed_at.elapsed();
    assert!(delay.saturating_sub(DUE_UNIT) <= waited, "{waited:?}");
    assert_eq!((&*again.topic, text(&again).as_str()), ("orders.retry.1", "1"));
    assert!(Retry::due(&again).is_some());
    let retried = TopicPartition { topic: Arc::clone(&again.topic), partition: again.partition };
    retry.failed(&again, "never").await.unwrap();
    assert_eq!(text(&dead_letters(&client).await[0]), "1");

    // A partition that is paused stays so when its record is due.
    produce(&client, 0, &[("a", "4")]).await;
    let fourth = consumer.recv().await.unwrap();
    retry.failed(&fourth, "later").await.unwrap();
    assert!(consumer.poll(Duration::from_millis(300)).await.unwrap().is_empty());
    consumer.pause(&retried);
    assert!(consumer.poll(delay).await.unwrap().is_empty(), "paused");
    consumer.resume(&retried);
    let resumed = tokio::time::timeout(PATIENCE, consumer.recv()).await.unwrap().unwrap();
    assert_eq!((text(&resumed), resumed.partition), ("4".to_owned(), retried.partition));
    consumer.close(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_or_does_not_go_together_is_told() {
    let broker = broker();
    let client = connect(&broker).await;
    let plain = client.retry(RetryPolicy::new([Duration::from_millis(100)]));
    let told = |error: Result<Consumer, ConsumeError>| match error {
        Err(ConsumeError::Retry(told)) => told,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was built"),
    };
    let missing = told(consumer(&client, &plain).build().await);
    assert_eq!(missing, InvalidRetry::NoTopic { topic: "orders.retry.1".into() });
    assert!(missing.to_string().contains("create_topics"), "{missing}");
    client.admin().create_topic(TopicSpec::new("orders.retry.1").partitions(3)).await.unwrap();
    let missing = told(consumer(&client, &plain).build().await);
    assert_eq!(missing, InvalidRetry::NoTopic { topic: "orders.dlq".into() });
    client.admin().create_topic(TopicSpec::new("orders.dlq").partitions(2)).await.unwrap();
    consumer(&client, &plain).build().await.unwrap().close(PATIENCE).await.unwrap();

    let ordered = client.retry(RetryPolicy::new([Duration::from_millis(100)]).keep_key_order());
    let wrong = told(consumer(&client, &ordered).build().await);
    let topic = "orders.retry.1".into();
    assert_eq!(wrong, InvalidRetry::OrderNeedsPartitions { topic, partitions: 3, needed: 2 });
    let wrong = told(consumer(&client, &ordered).assignors([Assignor::RoundRobin]).build().await);
    assert_eq!(wrong, InvalidRetry::OrderNeedsRange);
    let pattern = client.consumer("g").pattern(regex::Regex::new("orders").unwrap()).retry(&plain);
    assert_eq!(told(pattern.build().await), InvalidRetry::NeedsNames);

    let nowhere = ConsumedRecord {
        topic: "x".repeat(249).into(),
        partition: PartitionIndex::new(0),
        offset: ringlog_client::Offset::ZERO,
        timestamp: ringlog_client::Timestamp::from_millis(0),
        key: None,
        value: None,
        headers: Vec::new(),
    };
    assert!(matches!(plain.failed(&nowhere, "no").await, Err(RetryError::NameTooLong(_))));
}
