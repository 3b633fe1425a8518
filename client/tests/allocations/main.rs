//! What a record costs its sender's and its reader's thread in allocations: nothing.
//!
//!     this thread    enqueue ▸ enqueue ▸ … ▸ tickets         recv_batch ▸ records
//!     other threads  the client's tasks, and the broker: per batch, not counted here
//!
//! A batch takes a few: its state, its buffer if none was used before, its list of records.

#[path = "../sockets/dedup.rs"]
#[expect(dead_code, reason = "shared with tests that use more of it")]
mod dedup;

#[path = "../sockets/tiny_broker.rs"]
#[expect(dead_code, reason = "shared with tests that use more of it")]
mod tiny_broker;

#[path = "../../../protocol/tests/allocations/sys.rs"]
#[expect(dead_code, reason = "shared with tests that use more of it")]
mod sys;

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use ringlog_client::{Client, Producer, Record};
use tiny_broker::TinyBroker;

const RECORDS: usize = 200_000;
const WARMUP: usize = 100_000;
/// A batch of 64 KiB has 580 records of 100 bytes.
const PER_RECORD_MAX: f64 = 0.01;

fn runtime() -> tokio::runtime::Runtime {
    // The test's future runs on this thread, all tasks on the other.
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn check(what: &str, before: usize) {
    let each = (sys::count() - before) as f64 / RECORDS as f64;
    println!("{what}: {each:.5} allocations a record");
    assert!(each < PER_RECORD_MAX, "{what}: {each} allocations a record");
}

async fn enqueue(producer: &Producer, value: &Bytes, records: usize) {
    let mut last = None;
    for _ in 0..records {
        last = Some(producer.enqueue(Record::to_default().value(value.clone())).await.unwrap());
    }
    let timeout = Duration::from_secs(20);
    tokio::time::timeout(timeout, last.expect("some records")).await.expect("in time").unwrap();
}

#[test]
fn records_are_enqueued_and_acknowledged_without_allocations() {
    runtime().block_on(async {
        let broker = TinyBroker::start().await;
        broker.topic("t", 2, &[]);
        broker.state.faults.discard.store(true, Ordering::Relaxed);
        let client = Client::connect(broker.address()).await.unwrap();
        let producer = client.producer().topic("t").build().unwrap();
        let value = Bytes::from(vec![7; 100]);
        enqueue(&producer, &value, WARMUP).await;
        let before = sys::count();
        enqueue(&producer, &value, RECORDS).await;
        check("enqueue", before);
    });
}

#[test]
fn records_are_received_without_allocations() {
    runtime().block_on(async {
        let broker = TinyBroker::start().await;
        broker.topic("t", 1, &[]);
        let client = Client::connect(broker.address()).await.unwrap();
        let producer = client.producer().topic("t").build().unwrap();
        enqueue(&producer, &Bytes::from(vec![7; 100]), WARMUP + RECORDS).await;
        let mut reader = client.reader().topic("t").build().await.unwrap();
        let (mut read, mut before) = (0, None);
        while read < WARMUP + RECORDS {
            if read >= WARMUP {
                before.get_or_insert_with(sys::count);
            }
            read += reader.recv_batch(1000).await.unwrap().len();
        }
        check("recv_batch", before.expect("the warm-up was over"));
    });
}
