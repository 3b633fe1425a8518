//! The bundled client against a real broker on a real disk.

use std::path::Path;
use std::time::Duration;

use broker::EmbeddedBroker;
use ringlog_client::{Client, Record, StartAt, TopicSpec};

/// On the filesystem of the repository: the system's temporary directory may be a tmpfs, which has no
/// O_DIRECT.
fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

#[tokio::test]
async fn a_produced_record_comes_back() {
    let broker = EmbeddedBroker::start(scratch()).unwrap();
    let client = Client::connect(broker.addr().to_string()).await.unwrap();
    client.admin().create_topic(TopicSpec::new("orders").partitions(2)).await.unwrap();
    let producer = client.producer().linger(Duration::ZERO).build().unwrap();
    for n in 0..100u32 {
        let record = Record::to("orders").key(format!("k{n}")).value(format!("v{n}"));
        producer.send(record).await.unwrap();
    }
    producer.close(Duration::from_secs(5)).await.unwrap();
    let mut reader = client.reader().topic("orders").start(StartAt::Earliest).build().await.unwrap();
    let mut values = Vec::new();
    while values.len() < 100 {
        for record in reader.recv_batch(1000).await.unwrap() {
            values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
        }
    }
    values.sort();
    let mut expected: Vec<String> = (0..100).map(|n| format!("v{n}")).collect();
    expected.sort();
    assert_eq!(values, expected);
    broker.stop().unwrap();
}
