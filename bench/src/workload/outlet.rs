//! Where a producer's records go: to the bundled client, or to librdkafka and Kafka's listener.
//!
//!     Shipment ─▶ Outlet::Native ─▶ enqueue ─▶ ticket ─▶ lane of the partition ─▶ collector ─▶ tally
//!              └▶ Outlet::Kafka ──▶ librdkafka ─▶ delivery report ─────────────────────────▶ tally

use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use ringlog_client::{Client, Producer, Record};
use tokio::task::JoinSet;

use super::kafka::KafkaSender;
use super::lane::{Lane, Tally};
use crate::clock::Moment;
use crate::flags::Flags;

/// Whom a producer or consumer talks to.
pub enum Target {
    Native(Client),
    /// The address of a Kafka listener.
    Kafka(String),
}

/// A record on its way out.
pub struct Shipment {
    pub partition: u32,
    pub key: Option<Bytes>,
    pub value: Bytes,
    pub sequence: u64,
    /// When it was sent or, in an open loop, when it ought to have been.
    pub started: Moment,
}

pub enum Outlet {
    Native(NativeOutlet),
    Kafka(KafkaSender),
}

impl Outlet {
    pub fn new(target: &Target, flags: &Flags, partitions: u32, tally: &Arc<Tally>) -> Result<Outlet> {
        match target {
            Target::Native(client) => NativeOutlet::new(client, flags, partitions, tally).map(Outlet::Native),
            Target::Kafka(address) => KafkaSender::new(address, flags, tally).map(Outlet::Kafka),
        }
    }

    /// Waits for room in the client's buffer.
    pub async fn send(&mut self, shipment: Shipment) -> Result<()> {
        match self {
            Outlet::Native(native) => native.send(shipment).await,
            Outlet::Kafka(kafka) => kafka.send(shipment).await,
        }
    }

    /// Waits until every outcome is in the tally.
    pub async fn finish(self) -> Result<()> {
        match self {
            Outlet::Native(native) => native.finish().await,
            Outlet::Kafka(kafka) => kafka.finish().await,
        }
    }
}

pub struct NativeOutlet {
    producer: Producer,
    /// By partition; each gets its collector with the first record.
    lanes: Vec<Option<Arc<Lane>>>,
    collectors: JoinSet<()>,
    tally: Arc<Tally>,
}

impl NativeOutlet {
    fn new(client: &Client, flags: &Flags, partitions: u32, tally: &Arc<Tally>) -> Result<NativeOutlet> {
        let builder = client.producer();
        let builder = if flags.is_idempotent() { builder } else { builder.idempotence(false) };
        let producer = builder
            .topic(flags.topic.as_str())
            .acks(flags.acks.into())
            .linger(flags.linger)
            .batch_bytes(usize::try_from(flags.batch_bytes)?)
            .buffer_bytes(usize::try_from(flags.buffer_bytes)?)
            .in_flight(flags.in_flight)
            .compression(flags.compression)
            .build()?;
        Ok(NativeOutlet {
            producer,
            lanes: vec![None; partitions as usize],
            collectors: JoinSet::new(),
            tally: Arc::clone(tally),
        })
    }

    async fn send(&mut self, shipment: Shipment) -> Result<()> {
        let Shipment { partition, key, value, sequence, started } = shipment;
        let mut record = Record::to_default().value(value);
        if let Some(key) = key {
            record = record.key(key);
        }
        if self.lanes.len() > 1 {
            record = record.partition(partition);
        }
        let ticket = self.producer.enqueue(record).await.context("the producer refused a record")?;
        self.lane(partition).push(ticket, sequence, started);
        Ok(())
    }

    async fn finish(mut self) -> Result<()> {
        self.producer.flush().await;
        for lane in self.lanes.iter().flatten() {
            lane.finish();
        }
        while let Some(ended) = self.collectors.join_next().await {
            ended.context("a collector of acknowledgements failed")?;
        }
        Ok(())
    }

    fn lane(&mut self, partition: u32) -> &Lane {
        let NativeOutlet { lanes, collectors, tally, .. } = self;
        lanes[partition as usize].get_or_insert_with(|| {
            let lane = Arc::new(Lane::default());
            let (collected, tally) = (Arc::clone(&lane), Arc::clone(tally));
            collectors.spawn(async move { collected.collect(&tally).await });
            lane
        })
    }
}
