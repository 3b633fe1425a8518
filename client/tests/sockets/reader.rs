//! What a reader promises: positions, faults in their place, nothing lost by a cancelled call.

use std::time::Duration;

use ringlog_client::{ConsumeError, Offset, OffsetRange, OffsetSpec, PartitionIndex, Record, StartAt};

use crate::{broker_and_client, number, read_values, value};

#[tokio::test]
async fn a_reader_seeks_pauses_and_survives_lost_connections() {
    let (broker, client) = broker_and_client().await;
    broker.topic("t", 2, &[]);
    let producer = client.producer().batch_bytes(200).build().unwrap();
    for i in 0..100 {
        let record = Record::to("t").partition(i as u32 % 2).value(value(i));
        producer.enqueue(record).await.unwrap().await.unwrap();
    }
    let (p0, p1) = (PartitionIndex::new(0), PartitionIndex::new(1));
    let mut reader = client.reader().topic("t").max_wait(Duration::from_millis(100)).build().await.unwrap();
    let mut values = read_values(&mut reader, 100).await;
    values.sort();
    assert!(values.into_iter().eq(0..100));

    reader.pause(p1).unwrap();
    reader.seek(p0, Offset::new(40)).unwrap();
    reader.seek(p1, Offset::new(45)).unwrap();
    assert_eq!(read_values(&mut reader, 10).await, [80, 82, 84, 86, 88, 90, 92, 94, 96, 98]);
    let nothing = tokio::time::timeout(Duration::from_millis(200), reader.recv()).await;
    assert!(nothing.is_err(), "partition 1 is paused");
    reader.resume(p1).unwrap();
    broker.state.hang_up_all();
    assert_eq!(read_values(&mut reader, 2).await, [91, 93]);
    // In the middle of a batch, perhaps: what was read stays read.
    reader.pause(p1).unwrap();
    reader.resume(p1).unwrap();
    assert_eq!(read_values(&mut reader, 3).await, [95, 97, 99]);
    producer.send(Record::to("t").partition(0).value(value(100))).await.unwrap();
    assert_eq!(read_values(&mut reader, 1).await, [100]);
}

#[tokio::test]
async fn an_offset_out_of_range_is_told_with_the_range_and_healed_by_seek() {
    let (broker, client) = broker_and_client().await;
    broker.topic("t", 1, &[]);
    let producer = client.producer().topic("t").build().unwrap();
    for i in 0..5 {
        producer.send(Record::to_default().value(value(i))).await.unwrap();
    }
    broker.state.topics().get_mut("t").unwrap().partitions[0].start = 3;
    let start = StartAt::Offset(Offset::new(1));
    let mut reader = client.reader().topic("t").start(start).build().await.unwrap();
    for _ in 0..2 {
        let Err(ConsumeError::OffsetOutOfRange { asked, range, .. }) = reader.recv().await else { panic!() };
        assert_eq!((asked, range), (Offset::new(1), OffsetRange::new(Offset::new(3), Offset::new(5))));
    }
    reader.seek(PartitionIndex::new(0), Offset::new(3)).unwrap();
    assert_eq!(read_values(&mut reader, 2).await, [3, 4]);
    let listed =
        client.admin().list_offsets("t", PartitionIndex::new(0), OffsetSpec::Earliest).await.unwrap();
    assert_eq!(listed.offset, Some(Offset::new(3)));
}

#[tokio::test]
async fn a_damaged_batch_is_told_after_the_good_ones() {
    let (broker, client) = broker_and_client().await;
    broker.topic("t", 1, &[]);
    let producer = client.producer().topic("t").build().unwrap();
    for i in 0..3 {
        producer.send(Record::to_default().value(value(i))).await.unwrap();
    }
    {
        let mut topics = broker.state.topics();
        let batch = &mut topics.get_mut("t").unwrap().partitions[0].batches[1].1;
        let mut bytes = batch.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        bytes[70] ^= 1;
        *batch = bytes.into();
    }
    let mut reader = client.reader().topic("t").build().await.unwrap();
    let first = reader.recv_batch(10).await.unwrap();
    assert_eq!(first.len(), 1);
    let Err(ConsumeError::Corrupt { offset, .. }) = reader.recv_batch(10).await else { panic!() };
    assert_eq!(offset, Offset::new(1));
    assert_eq!(reader.position(PartitionIndex::new(0)), Some(Offset::new(1)));
    reader.seek(PartitionIndex::new(0), Offset::new(2)).unwrap();
    assert_eq!(read_values(&mut reader, 1).await, [2]);
}

#[tokio::test]
async fn a_cancelled_recv_loses_nothing() {
    let (broker, client) = broker_and_client().await;
    broker.topic("t", 1, &[]);
    let producer = client.producer().topic("t").linger(Duration::ZERO).build().unwrap();
    let mut reader = client.reader().topic("t").start(StartAt::Latest).build().await.unwrap();
    let mut got = Vec::new();
    for i in 0..200 {
        let ticket = producer.enqueue(Record::to_default().value(value(i))).await.unwrap();
        if let Ok(record) = tokio::time::timeout(Duration::from_micros(300), reader.recv()).await {
            got.push(number(record.unwrap().value.as_ref().unwrap()));
        }
        ticket.await.unwrap();
    }
    got.extend(read_values(&mut reader, 200 - got.len()).await);
    assert!(got.into_iter().eq(0..200));
}
