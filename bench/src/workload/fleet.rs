//! All producers, or all consumers, of a run: made, started, and their reports put together.

use std::future::Future;
use std::sync::Arc;

use anyhow::{Context, Result};
use ringlog_client::Client;
use tokio::task::JoinSet;

use super::Failures;
use super::consumer::{self, ConsumerTask, Reading, partitions_of};
use super::control::Control;
use super::producer::{self, Assignment, ProducerTask};
use super::run::Run;
use crate::clock::Moment;
use crate::flags::Flags;
use crate::meter::Meter;
use crate::payload::{Pool, Stamping};
use crate::verify::{Received, Sent, Verdict};

/// What all producers did.
#[derive(Default)]
pub struct Sending {
    pub sent: u64,
    pub acked: u64,
    pub last_ack: Option<Moment>,
    pub failures: Failures,
    ledgers: Vec<Sent>,
}

/// What all consumers did.
#[derive(Default)]
pub struct Receiving {
    pub last_record: Option<Moment>,
    pub failures: Failures,
    ledgers: Vec<Received>,
}

/// Where producers measure, one of each for every producer.
pub struct SendMeters {
    pub acks: Vec<Arc<Meter>>,
    pub lags: Vec<Arc<Meter>>,
}

/// Connects the producers, which start when `control` opens. The future ends when all their records have an outcome.
///
/// `records` is what they send together, `None` until they are stopped.
pub async fn start_producers(
    run: &Run<'_>,
    control: &Arc<Control>,
    records: Option<u64>,
    stamping: Stamping,
    meters: SendMeters,
) -> Result<impl Future<Output = Result<Sending>> + use<>> {
    let flags = run.flags;
    let pool = Pool::new(flags.payload, flags.record_len(), flags.seed);
    let mut tasks = JoinSet::new();
    let mut made = Vec::new();
    for (index, (acks, lags)) in meters.acks.into_iter().zip(meters.lags).enumerate() {
        let assignment = Assignment {
            index,
            quota: records.map(|records| share(records, index, flags.producers)),
            pool,
            stamping,
            acks,
            lags,
        };
        let client = connect(flags, &run.place.bootstrap).await?;
        made.push(ProducerTask::new(&client, flags, run.topic.partitions, control, assignment)?);
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
        let mut by_index: Vec<(usize, Sent)> = Vec::new();
        for report in reports {
            all.sent += report.sent;
            all.acked += report.outcomes.acked;
            all.last_ack = all.last_ack.max(report.outcomes.last_ack);
            all.failures.unacked += report.outcomes.failed;
            if let Some(error) = report.outcomes.first_error {
                all.failures.messages.push(format!("producer {}: {error}", report.index));
            }
            by_index.extend(report.outcomes.sent.map(|sent| (report.index, sent)));
        }
        by_index.sort_by_key(|(index, _)| *index);
        all.ledgers = by_index.into_iter().map(|(_, sent)| sent).collect();
        all
    }

    /// What became of the records, if they were numbered.
    pub fn verdict(&self, receiving: &Receiving) -> Option<Verdict> {
        (!self.ledgers.is_empty()).then(|| Verdict::of(&self.ledgers, &receiving.ledgers))
    }
}

/// Makes the consumers; where they start is settled when this returns.
pub async fn make_consumers(
    run: &Run<'_>,
    control: &Arc<Control>,
    reading: Reading,
    meters: Vec<Arc<Meter>>,
) -> Result<Vec<ConsumerTask>> {
    let flags = run.flags;
    let mut made = Vec::new();
    for (index, meter) in meters.into_iter().enumerate() {
        let client = connect(flags, &run.place.bootstrap).await?;
        let partitions = partitions_of(index, flags.consumers, run.topic.partitions);
        let task = ConsumerTask::new(&client, &run.topic.name, partitions, reading, control, meter).await?;
        made.push(if flags.verify { task.verifying(flags.producers) } else { task });
    }
    Ok(made)
}

/// Starts them. The future ends when all are through.
pub fn start_consumers(made: Vec<ConsumerTask>) -> impl Future<Output = Result<Receiving>> + use<> {
    let mut tasks = JoinSet::new();
    for task in made {
        tasks.spawn(task.run());
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
    fn add(&mut self, report: consumer::Report) {
        self.last_record = self.last_record.max(report.last_record);
        self.failures.messages.extend(report.failure.map(|why| format!("consumer: {why}")));
        self.ledgers.extend(report.received);
    }
}

async fn connect(flags: &Flags, bootstrap: &str) -> Result<Client> {
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
