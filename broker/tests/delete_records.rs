//! DeleteRecords: the beginning goes, for good, on whichever shard it is; what is wrong is told apart.

use std::path::Path;

use broker::{Broker, Config};
use ringlog_client::{
    AdminError, Client, ErrorCode, Offset, OffsetSpec, PartitionIndex, Record, StartAt, Timestamp, TopicSpec,
};

fn start(data_dir: &Path) -> Broker {
    Broker::start(Config { cpus: vec![0, 1], ..Config::ephemeral(data_dir.to_owned()) }).unwrap()
}

async fn earliest(client: &Client, partition: u32) -> Option<Offset> {
    let partition = PartitionIndex::new(partition);
    client.admin().list_offsets("t", partition, OffsetSpec::Earliest).await.unwrap().offset
}

#[tokio::test]
async fn records_before_an_offset_are_gone_for_good() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let broker = start(dir.path());
    let client = Client::connect(broker.addr().to_string()).await.unwrap();
    let admin = client.admin();
    admin.create_topic(TopicSpec::new("t").partitions(2)).await.unwrap();
    let producer = client.producer().topic("t").build().unwrap();
    for partition in [0, 1] {
        for n in 0..10u8 {
            producer.send(Record::to_default().partition(partition).value(vec![n])).await.unwrap();
        }
    }
    // The two partitions are on different shards, and requests for both come in on one.
    let (zero, one) = (PartitionIndex::new(0), PartitionIndex::new(1));
    assert_eq!(admin.delete_records("t", zero, Some(Offset::new(4))).await.unwrap(), Offset::new(4));
    assert_eq!(admin.delete_records("t", one, Some(Offset::new(7))).await.unwrap(), Offset::new(7));
    // A record that is deleted is not found by its time either.
    let by_time = admin.list_offsets("t", zero, OffsetSpec::AtOrAfter(Timestamp::from_millis(0)));
    assert_eq!(by_time.await.unwrap().offset, Some(Offset::new(4)));
    let again = admin.delete_records("t", zero, Some(Offset::new(2))).await.unwrap();
    assert_eq!(again, Offset::new(4), "it never moves back");
    let beyond = admin.delete_records("t", zero, Some(Offset::new(11))).await.unwrap_err();
    assert!(matches!(beyond, AdminError::Refused { code: ErrorCode::OffsetOutOfRange, .. }), "{beyond}");
    let nowhere = admin.delete_records("t", PartitionIndex::new(2), None).await.unwrap_err();
    assert!(matches!(nowhere, AdminError::UnknownPartition { .. }), "{nowhere}");

    let mut reader =
        client.reader().topic("t").partitions(vec![0]).start(StartAt::Earliest).build().await.unwrap();
    let first = reader.recv().await.unwrap();
    assert_eq!((first.offset, first.value.unwrap().as_ref()), (Offset::new(4), &[4][..]));
    assert_eq!(admin.delete_records("t", one, None).await.unwrap(), Offset::new(10), "all of them");
    broker.stop().unwrap();

    let broker = start(dir.path());
    let client = Client::connect(broker.addr().to_string()).await.unwrap();
    assert_eq!(earliest(&client, 0).await, Some(Offset::new(4)));
    assert_eq!(earliest(&client, 1).await, Some(Offset::new(10)));
    let producer = client.producer().topic("t").build().unwrap();
    let next = producer.send(Record::to_default().partition(1).value("next")).await.unwrap();
    assert_eq!(next.offset, Some(Offset::new(10)), "offsets are not used again");
    broker.stop().unwrap();
}
