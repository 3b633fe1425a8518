//! What the client alone costs. Run by hand, on a machine that does nothing else:
//! `cargo test --release -p ringlog-client --test sockets -- --ignored --nocapture speed`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ringlog_client::Record;

use crate::broker_and_client;

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

/// Enqueue, and all that follows up to the acknowledgement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn speed() {
    for (size, count) in [(100, 20_000_000_u32), (1024, 4_000_000)] {
        let (broker, client) = broker_and_client().await;
        broker.topic("t", 4, &[]);
        broker.state.faults.discard.store(true, Ordering::Relaxed);
        let producer = client.producer().build().unwrap();
        let topic: Arc<str> = "t".into();
        let value = bytes::Bytes::from(vec![7; size]);
        let (start, cpu_start) = (Instant::now(), cpu_time());
        for _ in 0..count {
            let record = Record::to(Arc::clone(&topic)).value(value.clone());
            drop(producer.enqueue(record).await.unwrap());
        }
        let cpu = cpu_time() - cpu_start;
        producer.flush().await;
        let rate = f64::from(count) / start.elapsed().as_secs_f64() / 1e6;
        let each = cpu.as_nanos() as f64 / f64::from(count);
        println!(
            "{size} B: {rate:.2} M records/s with the broker beside; enqueue {each:.0} ns of CPU a record"
        );
    }
}

/// What reading costs: the tiny broker copies its replies, so it is slower than a real one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn speed_of_reading() {
    const COUNT: u32 = 4_000_000;
    let (broker, client) = broker_and_client().await;
    broker.topic("t", 2, &[]);
    let producer = client.producer().topic("t").build().unwrap();
    let value = bytes::Bytes::from(vec![7; 100]);
    for _ in 0..COUNT {
        drop(producer.enqueue(Record::to_default().value(value.clone())).await.unwrap());
    }
    producer.flush().await;
    let mut reader = client.reader().topic("t").build().await.unwrap();
    let (start, cpu_start, mut read) = (Instant::now(), cpu_time(), 0);
    while read < COUNT {
        read += reader.recv_batch(1000).await.unwrap().len() as u32;
    }
    let rate = f64::from(COUNT) / start.elapsed().as_secs_f64() / 1e6;
    let each = (cpu_time() - cpu_start).as_nanos() as f64 / f64::from(COUNT);
    println!("100 B: {rate:.2} M records/s with the broker beside; recv_batch {each:.0} ns of CPU a record");
}
