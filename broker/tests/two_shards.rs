//! Two shards: a client that routes never crosses cores, one that does not still gets everything.

mod raw;

use std::time::Duration;

use broker::EmbeddedBroker;
use protocol::api::FetchParams;
use protocol::model::{ErrorCode, ShardId};
use raw::{Raw, batch, scratch};
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
