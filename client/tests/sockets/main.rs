//! Producer and reader over real sockets, against a broker that misbehaves when told to.
//!
//!     tiny_broker ◀── producer: outcomes, order, limits, shutdown
//!                 ◀── reader: positions, faults, cancellation
//!                 ◀── groups: coordinators that are not ready, replies that nobody can read
//!                 ◀── speed: what the client costs, run by hand

mod dedup;

mod tiny_broker;

mod producer;

mod reader;

mod groups;

mod speed;

use std::sync::Arc;
use std::time::Duration;

use ringlog_client::{Client, Producer, Reader, Record, Ticket};
use tiny_broker::TinyBroker;

/// Long enough for any machine; a test that runs into it has failed.
const SOON: Duration = Duration::from_secs(20);

async fn broker_and_client() -> (TinyBroker, Client) {
    let broker = TinyBroker::start().await;
    let client = Client::connect(broker.address()).await.unwrap();
    (broker, client)
}

fn value(i: usize) -> Vec<u8> {
    format!("{i:08}").into_bytes()
}

fn number(value: &[u8]) -> usize {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

async fn enqueue_many(producer: &Producer, topic: &str, records: std::ops::Range<usize>) -> Vec<Ticket> {
    let topic: Arc<str> = topic.into();
    let mut tickets = Vec::new();
    for i in records {
        tickets.push(producer.enqueue(Record::to(Arc::clone(&topic)).value(value(i))).await.unwrap());
    }
    tickets
}

async fn read_values(reader: &mut Reader, count: usize) -> Vec<usize> {
    let mut values = Vec::new();
    while values.len() < count {
        let batch = tokio::time::timeout(SOON, reader.recv_batch(count - values.len()))
            .await
            .expect("in time")
            .unwrap();
        values.extend(batch.iter().map(|record| number(record.value.as_ref().unwrap())));
    }
    values
}
