//! All producers, or all consumers, of a run: made, started, and their reports put together.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use ringlog_client::{Client, StartAt};
use tokio::task::JoinSet;

use super::consumer::{ConsumerTask, Reading, partitions_of};
use super::control::{Control, Ends};
use super::intake::{self, Intake};
use super::kafka::KafkaConsumer;
use super::outlet::Target;
use super::producer::{self, Assignment, ProducerTask};
use super::run::Run;
use super::{Failures, Place};
use crate::clock::Moment;
use crate::flags::Flags;
use crate::meter::{Meter, Meters};
use crate::payload::{Pool, Stamping};
use crate::verify::{Received, Sent, Verdict};

/// What all producers did.
#[derive(Default)]
pub struct Sending {
    pub sent: u64,
    pub acked: u64,
    pub last_ack: Option<Moment>,
    pub failures: Failures,
    /// How long the producer that waited longest had to wait for its buffer, in an open loop.
    pub blocked: Duration,
    ledgers: Vec<Sent>,
}

/// What all consumers did.
#[derive(Default)]
pub struct Receiving {
    pub last_record: Option<Moment>,
    pub failures: Failures,
    ledgers: Vec<Received>,
}

/// What producers are to send, and where they measure, one of each meter for every producer.
pub struct SendPlan {
    /// All together; `None` until they are stopped.
    pub records: Option<u64>,
    pub stamping: Stamping,
    /// Not as `--rate` says but as fast as it goes.
    pub unpaced: bool,
    /// Each record to the next partition, whatever that does to batches; keyless records only.
    pub spread: bool,
    /// Number of the first of them: records of others have lower ones.
    pub first_number: usize,
    pub acks: Vec<Arc<Meter>>,
    pub lags: Vec<Arc<Meter>>,
}

impl SendPlan {
    /// As fast as it goes, while `acks` alone is looked at.
    pub fn filling(run: &Run<'_>, acks: Vec<Arc<Meter>>) -> SendPlan {
        let lags = Meters::new(acks.len()).handles();
        let stamping = run.stamping(false);
        SendPlan {
            records: run.flags.records,
            stamping,
            unpaced: true,
            spread: false,
            first_number: 0,
            acks,
            lags,
        }
    }
}

/// Connects the producers, which start when `control` opens. The future ends when all their records have an outcome.
pub async fn start_producers(
    run: &Run<'_>,
    control: &Arc<Control>,
    plan: SendPlan,
) -> Result<impl Future<Output = Result<Sending>> + use<>> {
    let SendPlan { records, stamping, unpaced, spread, first_number, acks, lags } = plan;
    let rate = run.flags.rate.filter(|_| !unpaced);
    let flags = &Flags { rate, ..run.flags.clone() };
    let pool = Pool::new(flags.payload, flags.record_len(), flags.seed);
    let mut tasks = JoinSet::new();
    let mut made = Vec::new();
    for (index, (acks, lags)) in acks.into_iter().zip(lags).enumerate() {
        let assignment = Assignment {
            index,
            number: first_number + index,
            quota: records.map(|records| share(records, index, flags.producers)),
            pool,
            stamping,
            spread,
            acks,
            lags,
        };
        let target = target(flags, run.place).await?;
        made.push(ProducerTask::new(&target, flags, run.topic.partitions, control, assignment)?);
    }
    for task in made {
        tasks.spawn(task.run());
    }
    let control = Arc::clone(control);
    Ok(async move {
        let mut reports = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            let report = ended.context("a producer's task failed").flatten();
            // One that failed to send leaves the others to be stopped, not to run on.
            control.stop_if(report.is_err());
            reports.push(report?);
        }
        Ok(Sending::of(reports))
    })
}

impl Sending {
    fn of(reports: Vec<producer::Report>) -> Sending {
        let mut all = Sending::default();
        let mut by_number: Vec<(usize, Sent)> = Vec::new();
        for report in reports {
            all.sent += report.sent;
            all.acked += report.outcomes.acked;
            all.last_ack = all.last_ack.max(report.outcomes.last_ack);
            all.failures.unacked += report.outcomes.failed;
            if let Some(error) = report.outcomes.first_error {
                all.failures.messages.push(format!("producer {}: {error}", report.number));
            }
            by_number.extend(report.outcomes.sent.map(|sent| (report.number, sent)));
            all.blocked = all.blocked.max(report.blocked);
        }
        by_number.sort_by_key(|(number, _)| *number);
        all.ledgers = by_number.into_iter().map(|(_, sent)| sent).collect();
        all
    }

    /// Both, where the producers of `self` have the lower numbers.
    pub fn followed_by(mut self, later: Sending) -> Sending {
        self.sent += later.sent;
        self.acked += later.acked;
        self.last_ack = self.last_ack.max(later.last_ack);
        self.failures.add(later.failures);
        self.blocked = self.blocked.max(later.blocked);
        self.ledgers.extend(later.ledgers);
        self
    }

    /// What became of the records, if they were numbered.
    pub fn verdict(&self, receiving: &Receiving) -> Option<Verdict> {
        (!self.ledgers.is_empty()).then(|| Verdict::of(&self.ledgers, &receiving.ledgers))
    }
}

/// A consumer of either protocol.
pub enum AnyConsumer {
    Native(ConsumerTask),
    Kafka(KafkaConsumer),
}

impl AnyConsumer {
    /// Begins at these offsets, by partition, instead.
    pub fn starting_at(self, offsets: &Ends) -> Result<AnyConsumer> {
        match self {
            AnyConsumer::Native(consumer) => consumer.starting_at(offsets).map(AnyConsumer::Native),
            AnyConsumer::Kafka(consumer) => Ok(AnyConsumer::Kafka(consumer.starting_at(offsets))),
        }
    }
}

/// Makes the consumers; where they start is settled when this returns.
pub async fn make_consumers(
    run: &Run<'_>,
    control: &Arc<Control>,
    reading: Reading,
    meters: Vec<Arc<Meter>>,
) -> Result<Vec<AnyConsumer>> {
    let flags = run.flags;
    let topic = &run.topic.name;
    let mut made = Vec::new();
    for (index, meter) in meters.into_iter().enumerate() {
        let partitions = partitions_of(index, flags.consumers, run.topic.partitions);
        let intake = Intake::new(meter, reading.timing);
        let intake = if flags.verify { intake.verifying(reading.producers) } else { intake };
        made.push(match target(flags, run.place).await? {
            Target::Native(client) => {
                let task = ConsumerTask::new(&client, topic, partitions, reading, control, intake);
                AnyConsumer::Native(task.await?)
            }
            Target::Kafka(address) => {
                let starts = match reading.start {
                    StartAt::Latest => run.topic.ends(&run.admin).await?,
                    _ => run.topic.starts(&run.admin).await?,
                };
                let made = KafkaConsumer::new(&address, topic, partitions, &starts, reading, control, intake);
                AnyConsumer::Kafka(made?)
            }
        });
    }
    Ok(made)
}

/// Starts them. The future ends when all are through.
pub fn start_consumers(made: Vec<AnyConsumer>) -> impl Future<Output = Result<Receiving>> + use<> {
    let mut tasks = JoinSet::new();
    for task in made {
        match task {
            AnyConsumer::Native(consumer) => tasks.spawn(consumer.run()),
            AnyConsumer::Kafka(consumer) => tasks.spawn_blocking(|| consumer.run()),
        };
    }
    async move {
        let mut all = Receiving::default();
        while let Some(ended) = tasks.join_next().await {
            all.add(ended.context("a consumer's task failed").flatten()?);
        }
        Ok(all)
    }
}

impl Receiving {
    pub fn add(&mut self, report: intake::Report) {
        self.last_record = self.last_record.max(report.last_record);
        self.failures.messages.extend(report.failure.map(|why| format!("consumer: {why}")));
        self.ledgers.extend(report.received);
    }
}

/// Whom the next producer or consumer talks to, by connections of its own.
async fn target(flags: &Flags, place: &Place) -> Result<Target> {
    match &place.kafka {
        Some(address) => Ok(Target::Kafka(address.clone())),
        None => connect(flags, &place.bootstrap).await.map(Target::Native),
    }
}

/// A client of its own, with connections of its own.
pub async fn connect(flags: &Flags, bootstrap: &str) -> Result<Client> {
    let builder = Client::builder().bootstrap(bootstrap).client_id("bench").route_to_owner(!flags.no_routing);
    builder.build().await.with_context(|| format!("cannot connect to {bootstrap}"))
}

/// The share of task `index` of `count` in `records`; shares differ by one at most.
fn share(records: u64, index: usize, count: usize) -> u64 {
    let (index, count) = (index as u64, count as u64);
    records / count + u64::from(index < records % count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        for (records, count) in [(10, 3), (2, 5), (7, 7), (1, 1)] {
            let shares: Vec<u64> = (0..count).map(|index| share(records, index, count)).collect();
            assert_eq!(shares.iter().sum::<u64>(), records);
            assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
        }
    }
}
