//! One producer of librdkafka: records go into its queue, delivery reports into the tally.
//!
//!     send ─▶ librdkafka's queue ─▶ batches ─▶ broker
//!       ▲ waits while it is full                 │
//!       └── room, for a quarter ◀── report ◀─────┘  on a thread that polls
//!
//! Napkin: a report costs us a box, a look at the clock and two locks, some 100 ns of the microsecond that
//! librdkafka spends on a record.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rdkafka::client::ClientContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use tokio::sync::Notify;

use super::producer_config;
use crate::clock::Moment;
use crate::flags::Flags;
use crate::workload::lane::Tally;
use crate::workload::outlet::Shipment;

pub struct KafkaSender {
    producer: ThreadedProducer<Context>,
    topic: String,
    room: Arc<Room>,
    /// Records that have to be delivered before a full queue is filled again.
    refill: u64,
}

/// A record whose report is to come.
pub struct Pending {
    sequence: u64,
    started: Moment,
}

struct Context {
    tally: Arc<Tally>,
    room: Arc<Room>,
}

impl ClientContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Box<Pending>) {
        match result {
            Ok(_) => self.tally.take_acked(pending.sequence, pending.started),
            Err((error, _)) => self.tally.take_failed(error.to_string()),
        }
        self.room.delivered();
    }
}

impl KafkaSender {
    pub fn new(address: &str, flags: &Flags, tally: &Arc<Tally>) -> Result<KafkaSender> {
        let room = Arc::new(Room::default());
        let context = Context { tally: Arc::clone(tally), room: Arc::clone(&room) };
        let config = producer_config(address, flags);
        let producer = config.create_with_context(context).context("librdkafka refuses these settings")?;
        let refill = (flags.buffer_bytes / 4 / flags.record_size.max(1)).clamp(1, REFILL_MAX);
        Ok(KafkaSender { producer, topic: flags.topic.clone(), room, refill })
    }

    pub async fn send(&self, shipment: Shipment) -> Result<()> {
        let Shipment { partition, key, value, sequence, started } = shipment;
        let mut record =
            BaseRecord::<[u8], [u8], _>::with_opaque_to(&self.topic, Box::new(Pending { sequence, started }))
                .partition(i32::try_from(partition)?)
                .payload(&value);
        if let Some(key) = &key {
            record = record.key(key);
        }
        while let Err((error, refused)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error).context("librdkafka refused a record");
            }
            record = refused;
            self.room.wait(self.refill).await;
        }
        Ok(())
    }

    pub async fn finish(self) -> Result<()> {
        let flushed = tokio::task::spawn_blocking(move || self.producer.flush(FLUSH_MAX)).await;
        flushed.context("BUG: a flush panicked")?.context("librdkafka did not deliver everything")
    }
}

/// Wakes the sender once so many more records are delivered: for each one it would be too dear.
#[derive(Default)]
struct Room {
    /// 0 if nobody waits.
    missing: AtomicU64,
    is_there: Notify,
}

impl Room {
    async fn wait(&self, records: u64) {
        self.missing.store(records, Ordering::Relaxed);
        // Fewer may be under way than are waited for.
        let _ = tokio::time::timeout(LOOK_AGAIN, self.is_there.notified()).await;
    }

    fn delivered(&self) {
        let left =
            self.missing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left == Ok(1) {
            self.is_there.notify_one();
        }
    }
}

const REFILL_MAX: u64 = 8192;
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// librdkafka gives a record up after 5 minutes.
const FLUSH_MAX: Duration = Duration::from_secs(310);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sender_is_woken_when_there_is_room_for_some() {
        let room = Arc::new(Room::default());
        let waiting = tokio::spawn({
            let room = Arc::clone(&room);
            async move { room.wait(2).await }
        });
        tokio::task::yield_now().await;
        room.delivered();
        assert_eq!(room.missing.load(Ordering::Relaxed), 1);
        room.delivered();
        waiting.await.unwrap();
        room.delivered();
        assert_eq!(room.missing.load(Ordering::Relaxed), 0);
    }
}
