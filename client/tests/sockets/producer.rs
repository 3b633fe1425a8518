//! What a producer promises: one outcome, order, limits, a shutdown that tells.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ringlog_client::{
    Acks, Client, Codec, ConsumeError, ErrorCode, InvalidProducer, NotQueued, Offset, PartitionIndex, Record,
    SendError, Ticket,
};

use crate::dedup::Claim;
use crate::tiny_broker::TinyBroker;
use crate::{SOON, broker_and_client, enqueue_many, number, read_values, value};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_is_read_in_order_at_the_offsets_told() {
    let (broker, client) = broker_and_client().await;
    broker.topic("orders", 4, &[]);
    for (codec, records) in [(Codec::None, 0..20_000), (Codec::Lz4, 20_000..40_000)] {
        let producer = client.producer().compression(codec).batch_bytes(1 << 12).build().unwrap();
        let tickets = enqueue_many(&producer, "orders", records).await;
        producer.flush().await;
        let mut delivered = HashSet::new();
        for ticket in tickets {
            assert!(ticket.is_done());
            let delivery = ticket.await.unwrap();
            assert!(delivered.insert((delivery.partition, delivery.offset.unwrap())));
        }
        producer.close(SOON).await.unwrap();
    }
    assert_eq!(broker.state.misrouted.load(Ordering::Relaxed), 0);
    let mut reader = client.reader().topic("orders").build().await.unwrap();
    let (mut next, mut last) = ([0; 4], [None; 4]);
    for _ in 0..40_000 {
        let record = tokio::time::timeout(SOON, reader.recv()).await.unwrap().unwrap();
        let partition = record.partition.get() as usize;
        assert_eq!(record.offset.get(), next[partition], "dense");
        next[partition] += 1;
        let value = number(record.value.as_ref().unwrap());
        assert!(last[partition].replace(value) < Some(value), "in order");
        assert_eq!(reader.position(record.partition), Some(Offset::new(next[partition])));
    }
    assert!(next.iter().all(|count| *count > 1000), "sticky moves from partition to partition: {next:?}");
    let full = reader.high_watermark(PartitionIndex::new(0)).unwrap();
    assert_eq!(full.get(), next[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_headers_tombstones_and_timestamps_arrive() {
    let (broker, client) = broker_and_client().await;
    broker.topic("t", 3, &[]);
    let producer = client.producer().topic("t").linger(Duration::ZERO).build().unwrap();
    let time = ringlog_client::Timestamp::from_millis(1234);
    let mut record = Record::to_default().key("foobar").value("v").timestamp(time);
    for i in 0..10 {
        record = record.header(format!("h{i}"), vec![i]);
    }
    let sent = producer.send(record).await.unwrap();
    // murmur2("foobar") = -790332482; & 0x7fffffff = 1357151166; % 3 = 0
    assert_eq!((sent.partition.get(), sent.timestamp), (1_357_151_166 % 3, time));
    producer.send(Record::to("t").key("k").tombstone().partition(2)).await.unwrap();
    let mut reader =
        client.reader().topic("t").partitions(vec![sent.partition.get(), 2]).build().await.unwrap();
    let mut got = [reader.recv().await.unwrap(), reader.recv().await.unwrap()];
    got.sort_by_key(|record| record.value.is_none());
    assert_eq!((got[0].key.as_deref(), got[0].value.as_deref()), (Some(&b"foobar"[..]), Some(&b"v"[..])));
    assert_eq!((got[0].timestamp, got[0].headers.len()), (time, 10));
    assert_eq!((got[0].headers[9].key.as_str(), got[0].headers[9].value.as_deref()), ("h9", Some(&[9][..])));
    assert_eq!((got[1].value.as_deref(), got[1].partition.get()), (None, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_connections_lose_and_double_no_record_and_keep_the_order() {
    let (broker, client) = broker_and_client().await;
    broker.topic("t", 3, &[]);
    broker.state.faults.hang_up_after.store(20, Ordering::Relaxed);
    // Batches that grow while they wait would be too few requests.
    let builder = client.producer().batch_bytes(1 << 10).backlog_batch_bytes(1 << 10);
    let producer = builder.retry_backoff(Duration::from_millis(5)).build().unwrap();
    let tickets = enqueue_many(&producer, "t", 0..30_000).await;
    for ticket in tickets {
        tokio::time::timeout(SOON, ticket).await.expect("in time").unwrap();
    }
    assert!(broker.state.connections.load(Ordering::Relaxed) > 10, "it hung up often");
    let mut all = HashSet::new();
    for partition in 0..3 {
        let values: Vec<usize> = broker.values("t", partition).iter().map(|value| number(value)).collect();
        assert!(values.is_sorted());
        for value in values {
            assert!(all.insert(value), "{value} is there twice");
        }
    }
    assert_eq!(all.len(), 30_000);
}

#[tokio::test]
async fn retriable_refusals_are_retried_and_final_ones_told() {
    let (broker, client) = broker_and_client().await;
    broker.topic("t", 1, &[]);
    let faults = &broker.state.faults;
    let producer = client.producer().topic("t").retry_backoff(Duration::from_millis(2)).build().unwrap();
    faults.refusal.store(u64::from(ErrorCode::DiskFull.to_wire()), Ordering::Relaxed);
    faults.refuse.store(3, Ordering::Relaxed);
    assert_eq!(producer.send(Record::to_default().value("a")).await.unwrap().offset, Some(Offset::ZERO));
    faults.refusal.store(u64::from(ErrorCode::InvalidRecord.to_wire()), Ordering::Relaxed);
    faults.refuse.store(1, Ordering::Relaxed);
    let error = producer.send(Record::to_default().value("b")).await.unwrap_err();
    assert!(matches!(error, SendError::Refused { code: ErrorCode::InvalidRecord, .. }), "{error}");
    assert!(!error.is_retriable() && !error.may_have_been_applied());
}

#[tokio::test]
async fn a_producer_that_the_broker_forgot_goes_on_under_its_next_epoch() {
    let (broker, client) = broker_and_client().await;
    broker.topic("t", 1, &[]);
    let producer = client.producer().topic("t").retry_backoff(Duration::from_millis(2)).build().unwrap();
    for i in 0..3 {
        let sent = producer.send(Record::to_default().value(value(i))).await.unwrap();
        assert_eq!(sent.offset, Some(Offset::new(i as u64)));
        broker.state.topics().get_mut("t").unwrap().partitions[0].dedup.forget();
    }
}

#[tokio::test]
async fn options_that_idempotence_excludes_are_refused_where_it_was_asked_for() {
    let (broker, client) = broker_and_client().await;
    broker.topic("t", 1, &[]);
    let builder = || client.producer().topic("t");
    let refused = builder().in_flight(6).build().err();
    assert_eq!(refused, Some(InvalidProducer::IdempotenceBoundsInFlight { in_flight: 6 }));
    assert!(builder().in_flight(64).idempotence(false).build().is_ok());
    let refused = builder().acks(Acks::Leader).idempotence(true).build().err();
    assert_eq!(refused, Some(InvalidProducer::IdempotenceNeedsAcksAll));
    let producer = builder().acks(Acks::Leader).in_flight(64).build().unwrap();
    producer.send(Record::to_default().value("v")).await.unwrap();
    assert_eq!(broker.state.next_producer.load(Ordering::Relaxed), 0, "nobody has asked for an id");
}

#[tokio::test]
async fn a_producer_whose_id_another_has_taken_over_is_fenced() {
    let (broker, client) = broker_and_client().await;
    broker.topic("t", 1, &[]);
    let producer = client.producer().topic("t").build().unwrap();
    producer.send(Record::to_default().value("v")).await.unwrap();
    let usurper = Claim { id: 0, epoch: 1, sequence: 0, records: 1 };
    broker.state.topics().get_mut("t").unwrap().partitions[0].dedup.stored(usurper, 1);
    let error = producer.send(Record::to_default().value("v")).await.unwrap_err();
    assert!(matches!(error, SendError::Fenced { may_have_been_applied: false }), "{error}");
    let error = producer.send(Record::to_default().value("v")).await.unwrap_err();
    assert!(matches!(error, SendError::Fenced { .. }), "it stays so: {error}");
}

#[tokio::test]
async fn a_partition_that_moved_is_followed() {
    let (broker, client) = broker_and_client().await;
    broker.topic("t", 1, &[]);
    let producer = client.producer().topic("t").retry_backoff(Duration::from_millis(10)).build().unwrap();
    producer.send(Record::to_default().value(value(0))).await.unwrap();
    let mut reader = client.reader().topic("t").build().await.unwrap();
    assert_eq!(read_values(&mut reader, 1).await, [0]);
    broker.state.topics().get_mut("t").unwrap().partitions[0].shard = 1;
    let sent = tokio::time::timeout(SOON, producer.send(Record::to_default().value(value(1)))).await.unwrap();
    assert_eq!(sent.unwrap().offset, Some(Offset::new(1)));
    assert_eq!(read_values(&mut reader, 1).await, [1]);
}

#[tokio::test]
async fn without_acknowledgement_a_ticket_ends_with_the_write() {
    let (broker, client) = broker_and_client().await;
    broker.topic("t", 2, &[]);
    let producer = client.producer().acks(Acks::None).build().unwrap();
    for ticket in enqueue_many(&producer, "t", 0..1000).await {
        assert_eq!(ticket.await.unwrap().offset, None);
    }
    let there = || broker.values("t", 0).len() + broker.values("t", 1).len();
    let start = Instant::now();
    while there() < 1000 && start.elapsed() < SOON {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(there(), 1000);
}

#[tokio::test]
async fn topics_that_cannot_be_are_told_apart() {
    let (broker, client) = broker_and_client().await;
    let producer = client.producer().metadata_timeout(Duration::from_millis(300)).build().unwrap();
    let start = Instant::now();
    let error = producer.send(Record::to("no/such").value("v")).await.unwrap_err();
    assert!(matches!(error, SendError::InvalidTopic { .. }) && start.elapsed() < Duration::from_millis(200));
    let error = producer.send(Record::to("nowhere").value("v")).await.unwrap_err();
    assert!(matches!(error, SendError::UnknownTopic { .. }), "{error}");
    assert!(start.elapsed() >= Duration::from_millis(300));
    let error = producer.send(Record::to_default()).await.unwrap_err();
    assert!(matches!(error, SendError::NoTopic));
    broker.topic("t", 2, &[("max.message.bytes", "2000")]);
    let error = producer.send(Record::to("t").partition(2)).await.unwrap_err();
    assert!(matches!(error, SendError::UnknownPartition { partitions: 2, .. }), "{error}");
    let error = producer.send(Record::to("t").value(vec![0; 2000])).await.unwrap_err();
    assert!(matches!(error, SendError::LargerThanTopicTakes { limit: 2000, .. }), "{error}");
    producer.send(Record::to("t").value(vec![0; 1900])).await.unwrap();
    assert!(matches!(client.reader().topic("nowhere").build().await, Err(ConsumeError::UnknownTopic { .. })));
}

#[tokio::test]
async fn a_topic_made_while_a_send_waits_for_it_is_found() {
    let (broker, client) = broker_and_client().await;
    let producer = client.producer().build().unwrap();
    let sending = tokio::spawn({
        let producer = producer.clone();
        async move { producer.send(Record::to("late").value("v")).await }
    });
    tokio::time::sleep(Duration::from_millis(150)).await;
    broker.topic("late", 1, &[]);
    tokio::time::timeout(SOON, sending).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_full_buffer_makes_enqueue_wait_and_gives_the_record_back_to_try_enqueue() {
    let (broker, client) = broker_and_client().await;
    broker.topic("t", 1, &[]);
    broker.state.faults.hold.store(true, Ordering::Relaxed);
    let producer = client.producer().topic("t").buffer_bytes(10_000).linger(Duration::ZERO).build().unwrap();
    let record = || Record::to_default().value(vec![1; 968]);
    let mut tickets: Vec<Ticket> = Vec::new();
    loop {
        match producer.try_enqueue(record()) {
            Ok(ticket) => tickets.push(ticket),
            Err(full) if matches!(full.why, NotQueued::MetadataUnknown) => {
                assert!(full.is_retriable());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(full) => {
                assert!(matches!(full.why, NotQueued::BufferFull), "{full}");
                assert_eq!(full.record.value_bytes().unwrap().len(), 968);
                break;
            }
        }
    }
    assert_eq!(tickets.len(), 10);
    let error = producer.enqueue(Record::to_default().value(vec![1; 10_000])).await.unwrap_err();
    assert!(matches!(error, SendError::LargerThanBuffer { limit: 10_000, .. }));
    let waiting = producer.enqueue(record());
    tokio::pin!(waiting);
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut waiting).await.is_err(), "it waits");
    broker.state.faults.hold.store(false, Ordering::Relaxed);
    broker.state.hang_up_all();
    let ticket = tokio::time::timeout(SOON, waiting).await.unwrap().unwrap();
    ticket.await.unwrap();
    for ticket in tickets {
        ticket.await.unwrap();
    }
}

#[tokio::test]
async fn closing_gives_back_what_could_not_be_delivered() {
    let (broker, client) = broker_and_client().await;
    broker.topic("t", 1, &[]);
    let producer = client.producer().topic("t").build().unwrap();
    producer.send(Record::to_default().value("delivered")).await.unwrap();
    broker.state.faults.hold.store(true, Ordering::Relaxed);
    let ticket = producer.enqueue(Record::to_default().key("k").value("lost")).await.unwrap();
    let undelivered = producer.close(Duration::from_millis(100)).await.unwrap_err();
    assert_eq!((undelivered.count, undelivered.records.len()), (1, 1));
    assert!(undelivered.may_have_been_applied(), "it was under way");
    assert_eq!(undelivered.records[0].value_bytes().unwrap(), "lost");
    assert!(matches!(ticket.await, Err(SendError::Abandoned { .. })));
    assert!(matches!(producer.enqueue(Record::to_default()).await, Err(SendError::Closed)));
    producer.close(SOON).await.unwrap();
}

#[tokio::test]
async fn dropping_a_producer_resolves_its_tickets_at_once() {
    let (broker, client) = broker_and_client().await;
    broker.topic("t", 1, &[]);
    broker.state.faults.hold.store(true, Ordering::Relaxed);
    let producer = client.producer().topic("t").build().unwrap();
    let ticket = producer.enqueue(Record::to_default().value("v")).await.unwrap();
    let start = Instant::now();
    drop(producer);
    assert!(start.elapsed() < Duration::from_millis(50));
    assert!(matches!(ticket.await, Err(SendError::Abandoned { may_have_been_applied: false, .. })));
}

#[test]
fn tickets_end_with_their_runtime() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let (ticket, _producer) = first.block_on(async {
        let (broker, client) = broker_and_client().await;
        broker.topic("t", 1, &[]);
        broker.state.faults.hold.store(true, Ordering::Relaxed);
        let producer = client.producer().topic("t").build().unwrap();
        (producer.enqueue(Record::to_default().value("v")).await.unwrap(), producer)
    });
    drop(first);
    assert!(matches!(runtime().block_on(ticket), Err(SendError::Abandoned { .. })));
}

#[tokio::test]
async fn a_delivery_timeout_ends_a_record_when_the_broker_is_gone() {
    let (broker, client) = broker_and_client().await;
    broker.topic("t", 1, &[]);
    let producer = client.producer().topic("t").delivery_timeout(Duration::from_millis(400)).build().unwrap();
    producer.send(Record::to_default().value("v")).await.unwrap();
    drop(broker);
    let start = Instant::now();
    let error = producer.send(Record::to_default().value("v")).await.unwrap_err();
    assert!(matches!(error, SendError::TimedOut { .. }) && error.is_retriable(), "{error}");
    let took = start.elapsed();
    assert!(Duration::from_millis(390) < took && took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_says_why() {
    let error = Client::connect("127.0.0.1:1").await.err().unwrap();
    assert!(error.to_string().contains("127.0.0.1:1") && error.to_string().contains("refused"), "{error}");
    assert!(error.is_retriable());
}

#[tokio::test]
async fn without_routing_everything_goes_over_one_connection() {
    let broker = TinyBroker::start().await;
    broker.topic("t", 1, &[]);
    let client = Client::builder().bootstrap(broker.address()).route_to_owner(false).build().await.unwrap();
    let producer = client.producer().topic("t").build().unwrap();
    producer.send(Record::to_default().value("v")).await.unwrap();
    assert_eq!(broker.state.connections.load(Ordering::Relaxed), 2, "control and produce");
}
