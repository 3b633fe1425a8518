//! Two shards: a client that routes never crosses cores, one that does not still gets everything.

mod raw;

use std::time::Duration;

use broker::EmbeddedBroker;
use protocol::api::{DeleteTopicRequest, FetchParams, FetchReply};
use protocol::model::{ErrorCode, ShardId, TopicId};
use raw::{Answer, Raw, batch, scratch};
use ringlog_client::{Client, Record, StartAt, TopicSpec};

const PARTITIONS: u32 = 6;

fn broker() -> EmbeddedBroker {
    EmbeddedBroker::start_with(scratch(), |mut config| {
        config.cpus = vec![0, 1];
        config
    })
    .expect("this machine has two cores")
}

async fn produce_and_consume(client: &Client, topic: &str) {
    client.admin().create_topic(TopicSpec::new(topic).partitions(PARTITIONS)).await.unwrap();
    let producer = client.producer().build().unwrap();
    let mut tickets = Vec::new();
    for n in 0..600u32 {
        let record = Record::to(topic).partition(n % PARTITIONS).value(n.to_le_bytes().to_vec());
        tickets.push(producer.enqueue(record).await.unwrap());
    }
    for ticket in tickets {
        ticket.await.unwrap();
    }
    let mut reader = client.reader().topic(topic).start(StartAt::Earliest).build().await.unwrap();
    let mut found = vec![Vec::new(); PARTITIONS as usize];
    while found.iter().map(Vec::len).sum::<usize>() < 600 {
        for record in reader.recv_batch(1000).await.unwrap() {
            let value = u32::from_le_bytes(record.value.unwrap()[..].try_into().unwrap());
            found[record.partition.get() as usize].push(value);
        }
    }
    for (partition, values) in found.iter().enumerate() {
        let expected: Vec<u32> = (0..100).map(|n| n * PARTITIONS + partition as u32).collect();
        assert_eq!(*values, expected, "partition {partition}");
    }
    producer.close(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn a_client_that_routes_forwards_nothing() {
    let broker = broker();
    let client = Client::connect(broker.addr().to_string()).await.unwrap();
    produce_and_consume(&client, "routed").await;
    let stats = client.admin().stats().await.unwrap();
    assert_eq!(stats.total("forwarded_requests"), 0);
    for shard in &stats.shards {
        let produced =
            shard.counters.iter().find(|(name, _)| name == "produced_records").map(|(_, value)| *value);
        assert_eq!(produced, Some(300), "shard {} has its half", shard.shard);
    }
    broker.stop().unwrap();
}

#[tokio::test]
async fn a_client_that_ignores_the_hint_still_works() {
    let broker = broker();
    let client =
        Client::builder().bootstrap(broker.addr().to_string()).route_to_owner(false).build().await.unwrap();
    produce_and_consume(&client, "forwarded").await;
    let stats = client.admin().stats().await.unwrap();
    assert!(0 < stats.total("forwarded_requests"));
    broker.stop().unwrap();
}

#[test]
fn a_hello_lands_on_the_shard_it_asks_for() {
    let broker = broker();
    for wanted in [0, 1, 1, 0, 1, 0, 0, 1].map(ShardId::new) {
        let (_, reply) = Raw::connect_to(broker.addr(), Some(wanted));
        assert_eq!((reply.shard, reply.shards), (wanted, 2));
    }
}

#[test]
fn one_fetch_over_both_shards_is_gathered_and_nobody_waits_for_the_empty_one() {
    let broker = broker();
    let (mut raw, hello) = Raw::connect_to(broker.addr(), None);
    let topic = raw.create_topic("t", 2, &[]).id;
    let params = FetchParams { max_wait_ms: 15_000, min_bytes: 1, max_bytes: 1 << 20 };
    for partition in [0, 1] {
        let (mut poller, _) = Raw::connect_to(broker.addr(), Some(hello.shard));
        let end = u64::from(partition);
        poller.send_fetch(params, &[(topic, 0, end), (topic, 1, 0)]);
        raw.wait_for_polls(2 * u64::from(partition) + 2); // a part on each shard
        let begun = std::time::Instant::now();
        assert_eq!(raw.produce(topic, partition, &batch(&[b"x"])).0, ErrorCode::None);
        let reply = poller.fetched();
        assert!(begun.elapsed() < Duration::from_secs(5), "the part with records wakes the other");
        let lens: Vec<usize> = reply.partitions.iter().map(|partition| partition.records.len()).collect();
        assert_eq!(lens.iter().position(|len| 0 < *len), Some(partition as usize), "{lens:?}");
    }
}

#[test]
fn records_that_are_there_wait_for_no_other_shard() {
    let broker = broker();
    let mut raw = Raw::connect(broker.addr());
    let topic = raw.create_topic("t", 2, &[]).id;
    assert_eq!(raw.produce(topic, 0, &batch(&[b"x"])).0, ErrorCode::None);
    let params = FetchParams { max_wait_ms: 15_000, min_bytes: 1, max_bytes: 1 << 20 };
    for shard in [0, 1].map(ShardId::new) {
        let (mut reader, _) = Raw::connect_to(broker.addr(), Some(shard));
        for entries in [[(topic, 0, 0), (topic, 1, 0)], [(topic, 1, 0), (topic, 0, 0)]] {
            let begun = std::time::Instant::now();
            reader.send_fetch(params, &entries);
            let bytes: usize = reader.fetched().partitions.iter().map(|of| of.records.len()).sum();
            assert!(0 < bytes && begun.elapsed() < Duration::from_secs(5), "shard {shard}: {entries:?}");
        }
    }
}

/// What fits is dealt out in the order in which the client asks, wherever it is.
#[test]
fn a_reply_is_filled_in_the_order_of_the_request() {
    let broker = broker();
    let mut raw = Raw::connect(broker.addr());
    let topic = raw.create_topic("t", 2, &[]).id;
    for partition in [0, 1] {
        assert_eq!(raw.produce(topic, partition, &large(partition as usize)).0, ErrorCode::None);
    }
    let params = FetchParams { max_wait_ms: 0, min_bytes: 1, max_bytes: 250_000 };
    for shard in [0, 1].map(ShardId::new) {
        let (mut reader, _) = Raw::connect_to(broker.addr(), Some(shard));
        for entries in [[(topic, 0, 0), (topic, 1, 0)], [(topic, 1, 0), (topic, 0, 0)]] {
            reader.send_fetch(params, &entries);
            let lens: Vec<bool> =
                reader.fetched().partitions.iter().map(|of| of.records.is_empty()).collect();
            assert_eq!(lens, [false, true], "shard {shard}: {entries:?}");
        }
    }
}

/// Polls take memory though nothing is owed for them yet: no more are begun than a connection may have
/// outstanding, and all are answered in the end.
#[test]
fn polls_that_wait_count_against_their_connection() {
    const POLLS: u64 = 5000;
    let broker = EmbeddedBroker::start_with(scratch(), |mut config| {
        config.connection_out_bytes = 256 << 10;
        config
    })
    .unwrap();
    let mut raw = Raw::connect(broker.addr());
    let topic = raw.create_topic("t", 1, &[]).id;
    let params = FetchParams { max_wait_ms: 300_000, min_bytes: 1, max_bytes: 1 << 20 };
    let mut greedy = Raw::connect(broker.addr());
    for _ in 0..POLLS {
        greedy.send_fetch(params, &[(topic, 0, 0)]);
    }
    let (mut most, begun) = (0, std::time::Instant::now());
    while begun.elapsed() < Duration::from_secs(1) {
        most = most.max(total(&mut raw, "waiting_fetches_now"));
    }
    assert!(100 < most && most < POLLS / 2, "{most} wait");
    assert_eq!(raw.produce(topic, 0, &batch(&[b"x"])).0, ErrorCode::None);
    assert!((0..POLLS).all(|_| !greedy.fetched().partitions[0].records.is_empty()));
}

/// Polls of clients that are gone end, on both shards.
#[test]
fn nobody_waits_for_who_has_left() {
    let broker = broker();
    let mut raw = Raw::connect(broker.addr());
    let topic = raw.create_topic("t", 2, &[]).id;
    let params = FetchParams { max_wait_ms: 300_000, min_bytes: 1, max_bytes: 1 << 20 };
    let (mut gone, _) = Raw::connect_to(broker.addr(), Some(ShardId::new(0)));
    for _ in 0..100 {
        gone.send_fetch(params, &[(topic, 0, 0), (topic, 1, 0)]);
    }
    raw.wait_for_polls(200);
    assert_eq!(total(&mut raw, "waiting_fetches_now"), 200);
    drop(gone);
    let begun = std::time::Instant::now();
    while 0 < total(&mut raw, "waiting_fetches_now") {
        assert!(begun.elapsed() < Duration::from_secs(10), "they wait on");
        std::thread::yield_now();
    }
}

/// A large batch whose bytes tell it from others.
fn large(seed: usize) -> bytes::Bytes {
    let value: Vec<u8> = (0..200_000).map(|at| ((at * 31) ^ (seed * 7)) as u8).collect();
    batch(&[&value])
}

fn total(raw: &mut Raw, name: &str) -> u64 {
    let counters = raw.stats().shards.into_iter().flat_map(|shard| shard.counters);
    counters.filter(|(counter, _)| counter == name).map(|(_, value)| value).sum()
}

/// Waits until every shard has back what it had lent.
fn wait_for_loans(raw: &mut Raw) {
    let begun = std::time::Instant::now();
    while 0 < total(raw, "lent_bytes_now") {
        assert!(begun.elapsed() < Duration::from_secs(10), "{} bytes are lent", total(raw, "lent_bytes_now"));
        std::thread::yield_now();
    }
}

const AT_ONCE: FetchParams = FetchParams { max_wait_ms: 0, min_bytes: 1, max_bytes: 8 << 20 };

/// A topic with a partition on each shard, eleven large batches in each; small caches, so that most are on disk.
fn filled() -> (EmbeddedBroker, TopicId) {
    let broker = EmbeddedBroker::start_with(scratch(), |mut config| {
        config.cpus = vec![0, 1];
        config.cache_bytes = 1 << 20;
        config.io_memory = 8 << 20;
        config
    })
    .expect("this machine has two cores");
    let (mut raw, _) = Raw::connect_to(broker.addr(), None);
    let topic = raw.create_topic("t", 2, &[]).id;
    for seed in 0..11 {
        for partition in [0, 1] {
            assert_eq!(raw.produce(topic, partition, &large(seed)).0, ErrorCode::None);
        }
    }
    (broker, topic)
}

/// What was produced: offset and epoch are the broker's.
fn without_stamps(records: &[u8]) -> Vec<u8> {
    records.chunks(large(0).len()).flat_map(|batch| batch[32..].to_vec()).collect()
}

/// Both shards send the other's records as well as their own, from memory and from disk, while what has been
/// read is written over as soon as nobody needs it.
#[test]
fn records_of_another_shard_are_lent_and_come_home() {
    let (broker, topic) = filled();
    for shard in [0, 1].map(ShardId::new) {
        let (mut beside, _) = Raw::connect_to(broker.addr(), Some(shard));
        let (mut reader, _) = Raw::connect_to(broker.addr(), Some(shard));
        let before = total(&mut beside, "lent_bytes");
        let first = reader.next_correlation();
        for from in 0..11 {
            reader.send_fetches(AT_ONCE, &[(topic, 0, from), (topic, 1, from)], 3);
        }
        let other = beside.create_topic(&format!("other-{shard}"), 2, &[]).id;
        for seed in 100..130 {
            assert_eq!(beside.produce(other, seed % 2, &large(seed as usize)).0, ErrorCode::None);
        }
        for _ in 0..33 {
            let Answer::Reply(header, body) = reader.answer() else { panic!("a refusal") };
            let from = (header.correlation.get() - first) as usize / 3;
            for partition in FetchReply::parse(&body).unwrap().partitions {
                let count = partition.records.len() / large(0).len();
                let expected: Vec<u8> = (from..from + count).flat_map(|seed| large(seed).to_vec()).collect();
                assert!(0 < count, "from {from}");
                assert!(without_stamps(&partition.records) == without_stamps(&expected), "from {from}");
            }
        }
        assert!(before < total(&mut beside, "lent_bytes"));
        wait_for_loans(&mut beside);
    }
    broker.stop().unwrap();
}

/// Whoever borrows may go away without having sent anything.
#[test]
fn loans_come_home_when_the_reader_is_gone_or_the_topic() {
    let (broker, topic) = filled();
    let (mut beside, _) = Raw::connect_to(broker.addr(), None);
    for shard in [0, 1].map(ShardId::new) {
        let (mut reader, _) = Raw::connect_to(broker.addr(), Some(shard));
        reader.send_fetches(AT_ONCE, &[(topic, 0, 0), (topic, 1, 0)], 30);
        while total(&mut beside, "lent_bytes_now") == 0 {
            std::thread::yield_now();
        }
        if shard.get() == 1 {
            let answer = beside.call(&DeleteTopicRequest { name: "t".to_owned(), timeout_ms: 10_000 });
            assert!(matches!(answer, Answer::Reply(..)), "{answer:?}");
        }
        drop(reader);
        wait_for_loans(&mut beside);
    }
    broker.stop().unwrap();
}

/// A loan that is out when the broker stops is in nobody's way.
/// 300 fetches of what is on disk, half of it another shard's, and nobody takes the answers.
#[test]
fn fetches_that_are_not_read_take_little() {
    let (broker, topic) = filled();
    let (mut greedy, _) = Raw::connect_to(broker.addr(), Some(ShardId::new(0)));
    for _ in 0..300 {
        greedy.send_fetch(AT_ONCE, &[(topic, 0, 0), (topic, 1, 0)]);
    }
    let (mut raw, begun) = (Raw::connect(broker.addr()), std::time::Instant::now());
    let mut most = 0;
    while begun.elapsed() < Duration::from_secs(2) {
        most = most.max(total(&mut raw, "lent_bytes_now"));
    }
    assert!(0 < most && most < 16 << 20, "{most} bytes are lent");
    for _ in 0..300 {
        let reply = greedy.fetched();
        assert!(reply.partitions.iter().all(|of| !of.records.is_empty()));
    }
    wait_for_loans(&mut raw);
}

#[test]
fn a_broker_stops_while_records_are_lent() {
    let (broker, topic) = filled();
    let (mut beside, _) = Raw::connect_to(broker.addr(), None);
    let mut readers: Vec<Raw> =
        [0, 1].map(|shard| Raw::connect_to(broker.addr(), Some(ShardId::new(shard))).0).into();
    for reader in &mut readers {
        reader.send_fetches(AT_ONCE, &[(topic, 0, 0), (topic, 1, 0)], 30);
    }
    while total(&mut beside, "lent_bytes_now") == 0 {
        std::thread::yield_now();
    }
    broker.stop().unwrap();
    drop(readers);
}
