//! Idempotent producers over a network that loses replies and cuts connections: every record is there
//! once and in order.
//!
//!     2 producers ─▶ proxy ✕ ─▶ broker, 2 shards ─▶ log ─▶ every record, its place, its order

mod proxy;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use broker::EmbeddedBroker;
use proxy::Proxy;
use ringlog_client::{
    Client, Codec, Offset, OffsetSpec, PartitionIndex, Producer, Record, StartAt, Ticket, TopicSpec,
};

/// Partition and offset.
type Place = (u32, Offset);

/// Producer and number.
type Sent = (u32, u32);

const TOPIC: &str = "once";
const PARTITIONS: u32 = 3;
const PRODUCERS: u32 = 2;
const RECORDS: u32 = 12_000;

/// On the filesystem of the repository: the system's temporary directory may be a tmpfs, which has no
/// O_DIRECT.
fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

fn broker_behind(proxy: &Proxy) -> EmbeddedBroker {
    let broker = EmbeddedBroker::start_with(scratch(), |mut config| {
        config.cpus = vec![0, 1];
        config.advertised = Some((proxy.addr().ip().to_string(), proxy.addr().port()));
        config
    })
    .expect("this machine has two cores");
    proxy.lead_to(broker.addr());
    broker
}

async fn client_of(proxy: &Proxy) -> Client {
    let builder = Client::builder().bootstrap(proxy.addr().to_string());
    builder.request_timeout(Duration::from_millis(700)).build().await.unwrap()
}

fn value(producer: u32, number: u32) -> Vec<u8> {
    [producer.to_le_bytes(), number.to_le_bytes()].concat()
}

fn read_value(value: &[u8]) -> Sent {
    let part = |at: usize| u32::from_le_bytes(value[at..at + 4].try_into().unwrap());
    (part(0), part(4))
}

/// Sends a run of records, round robin over the partitions; gives each its place.
async fn produce(producer: Producer, id: u32) -> Vec<Place> {
    let mut tickets: Vec<Ticket> = Vec::new();
    for number in 0..RECORDS {
        let record = Record::to(TOPIC).partition(number % PARTITIONS).value(value(id, number));
        tickets.push(producer.enqueue(record).await.unwrap());
        if number % 40 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await; // many requests, not one large one
        }
    }
    let mut places = Vec::new();
    for (number, ticket) in (0..).zip(tickets) {
        let delivery = ticket.await.unwrap_or_else(|error| panic!("record {number} of {id}: {error}"));
        places.push((number % PARTITIONS, delivery.offset.unwrap()));
    }
    producer.close(Duration::from_secs(5)).await.unwrap();
    places
}

/// Every record of the topic with its place, in the order of the partitions.
async fn read_all(client: &Client) -> Vec<(Place, Sent)> {
    let mut reader = client.reader().topic(TOPIC).start(StartAt::Earliest).build().await.unwrap();
    let mut found = Vec::new();
    let mut ends = 0;
    let admin = client.admin();
    for partition in (0..PARTITIONS).map(PartitionIndex::new) {
        let end = admin.list_offsets(TOPIC, partition, OffsetSpec::Latest).await.unwrap();
        ends += end.offset.unwrap().get();
    }
    while (found.len() as u64) < ends {
        let batch = tokio::time::timeout(Duration::from_secs(20), reader.recv_batch(1000)).await;
        for record in batch.expect("in time").unwrap() {
            found.push(((record.partition.get(), record.offset), read_value(&record.value.unwrap())));
        }
    }
    found
}

fn check(found: &[(Place, Sent)], told: &HashMap<Sent, Place>) {
    let mut last: HashMap<(u32, u32), u32> = HashMap::new();
    let mut seen: HashMap<Sent, Place> = HashMap::new();
    for (place, record) in found {
        if let Some(before) = seen.insert(*record, *place) {
            panic!("record {record:?} is at {before:?} and at {place:?}");
        }
        assert_eq!(told.get(record), Some(place), "record {record:?} is not where it was said to be");
        let (producer, number) = *record;
        let before = last.insert((producer, place.0), number);
        assert!(before < Some(number), "record {record:?} stands behind {before:?}");
    }
    assert_eq!(seen.len(), told.len(), "records are missing");
}

async fn once_and_in_order(codec: Codec, lost: u32, cut: u32, seed: u64) {
    let proxy = Proxy::start(seed);
    let broker = broker_behind(&proxy);
    let client = client_of(&proxy).await;
    client.admin().create_topic(TopicSpec::new(TOPIC).partitions(PARTITIONS)).await.unwrap();
    proxy.set_faults(lost, cut);
    let mut producing = Vec::new();
    for id in 0..PRODUCERS {
        let producer = client
            .producer()
            .compression(codec)
            .batch_bytes(1 << 10)
            .linger(Duration::from_millis(1))
            .retry_backoff(Duration::from_millis(5))
            .delivery_timeout(Duration::from_secs(60))
            .build()
            .unwrap();
        producing.push(tokio::spawn(produce(producer, id)));
    }
    let mut told = HashMap::new();
    for (id, places) in (0..).zip(producing) {
        let places = places.await.unwrap();
        told.extend((0..).zip(places).map(|(number, place)| ((id, number), place)));
    }
    proxy.set_faults(0, 0);
    let faults = proxy.faults();
    let (lost, cut) = (faults.lost_count.load(Ordering::Relaxed), faults.cut_count.load(Ordering::Relaxed));
    assert!(10 < lost + cut, "the network was too good: {lost} replies lost, {cut} connections cut");
    check(&read_all(&client_of(&proxy).await).await, &told);
    broker.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_there_once_and_in_order_over_a_network_that_cuts_connections() {
    once_and_in_order(Codec::None, 0, 60, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_there_once_and_in_order_over_a_network_that_loses_replies() {
    once_and_in_order(Codec::Lz4, 20, 60, 2).await;
}
