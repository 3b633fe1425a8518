//! Orders worked on by eight workers; what fails is tried again after 10 s and 60 s, then it is a dead letter.
//!
//!     cargo run --example workers -- 127.0.0.1:7070
//!
//! The topic `orders` has to exist. Ctrl-C stops it: what is begun is done and committed.

use std::time::Duration;

use ringlog_client::{AutoOffsetReset, Client, ConsumedRecord, RetryPolicy};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7070".to_owned());
    let client = Client::connect(broker).await?;

    let policy = RetryPolicy::new([Duration::from_secs(10), Duration::from_secs(60)]).keep_key_order();
    let retry = client.retry(policy);
    retry.create_topics("orders").await?; // orders.retry.1, orders.retry.2, orders.dlq

    let consumer = client.consumer("billing").topics(["orders"]).retry(&retry);
    let mut consumer = consumer.auto_offset_reset(AutoOffsetReset::Earliest).build().await?;
    consumer.workers(8).stop_when(tokio::signal::ctrl_c()).run(bill).await?;
    consumer.close(Duration::from_secs(10)).await?;
    Ok(())
}

/// Fails for orders without a value.
async fn bill(order: ConsumedRecord) -> Result<(), String> {
    let value = order.value.ok_or("nothing was ordered")?;
    println!("{}/{} at {}: {} bytes", order.topic, order.partition, order.offset, value.len());
    Ok(())
}
