//! A group under load is changed twice: how long was each partition silent?
//!
//!     members join ─ producers: warm-up ─ rest ─── one joins ▸ settled ▸ tail ─── one leaves ▸ settled ▸ tail ─ stop
//!                                          └ longest pause of each partition, for each of the three stretches
//!
//! A pause is the time between two records of a partition as the application gets them, whoever it is. At `rate`
//! records for each partition and second none is much shorter than 1/rate: the rest says what there is anyway.

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

use super::control::Control;
use super::fleet::{self, Receiving, SendPlan, Sending};
use super::group::ownership::Owners;
use super::group::{self, Groups};
use super::run::{Begin, Run};
use super::watch::{Totals, Watch};
use super::{Phase, Results, progress};
use crate::clock::Moment;
use crate::meter::{Latency, Meters};
use crate::report::interval::LineFormat;

/// What was found out.
#[derive(Debug)]
pub struct Rebalance {
    /// The longest pause of each partition while nothing changed.
    pub rest: Latency,
    pub join: Change,
    pub leave: Change,
}

/// One more member, or one less.
#[derive(Debug)]
pub struct Change {
    /// Until every partition had the owner that it kept.
    pub stable: Duration,
    /// Partitions with another owner than before, and how many there have to be.
    pub moved: usize,
    pub minimum: usize,
    /// The longest pause of each partition.
    pub moved_pauses: Latency,
    pub unmoved_pauses: Latency,
}

impl Rebalance {
    /// All histograms by name.
    pub fn pauses(&self) -> impl Iterator<Item = (&'static str, &Latency)> {
        let Rebalance { rest, join, leave } = self;
        let all = [
            ("at rest", rest),
            ("join, unmoved", &join.unmoved_pauses),
            ("join, moved", &join.moved_pauses),
            ("leave, unmoved", &leave.unmoved_pauses),
            ("leave, moved", &leave.moved_pauses),
        ];
        all.into_iter()
    }
}

impl Change {
    fn new(
        stable: Duration,
        minimum: usize,
        before: &Owners,
        after: &Owners,
        pauses: &[Option<u64>],
    ) -> Change {
        let (mut moved, mut moved_pauses, mut unmoved_pauses) = (0, Latency::new(), Latency::new());
        for ((was, is), pause) in before.iter().zip(after).zip(pauses) {
            let has_moved = was != is;
            moved += usize::from(has_moved);
            let of_its_kind = if has_moved { &mut moved_pauses } else { &mut unmoved_pauses };
            pause.iter().for_each(|pause| of_its_kind.record(*pause, 1));
        }
        Change { stable, moved, minimum, moved_pauses, unmoved_pauses }
    }
}

/// The group while producers go on.
struct Scene<'a, 'b> {
    run: &'a Run<'b>,
    groups: Groups<'a>,
    control: Arc<Control>,
    watch: Watch,
}

pub async fn run(run: &Run<'_>) -> Result<Results> {
    let flags = run.flags;
    let control = run.control();
    let received = group::meters(flags.group.members);
    let mut groups = Groups::of_topic(run, 1, &received).await?;
    for _ in 0..flags.group.members {
        groups.join(0).await?;
    }
    if !groups.settled(&control).await? {
        bail!("interrupted before everybody had joined");
    }
    let (acks, lags) = (Meters::new(flags.producers), Meters::new(flags.producers));
    let plan = SendPlan {
        records: None,
        stamping: run.stamping(true),
        unpaced: false,
        spread: true,
        first_number: 0,
        acks: acks.handles(),
        lags: lags.handles(),
    };
    let mut producers = pin!(fleet::start_producers(run, &control, plan).await?);
    let format = LineFormat { produces: true, consumes: true, end_to_end: true, paced: true };
    let mut watch = run.watch(format);
    watch.produce = Some(acks);
    watch.consume = Some(received);
    watch.lags = Some(lags);
    control.open();
    progress::slept("warming up", flags.warmup()).await;
    let begin = run.begin(&mut watch, &control).await?;
    let mut scene = Scene { run, groups, control, watch };
    let rebalance = scene.play(producers.as_mut()).await?;
    let Scene { groups, control, mut watch, .. } = scene;
    control.stop();
    let sending =
        watch.until(None, producers).await.expect("BUG: without a deadline it ends with the tasks")?;
    let ends = run.ends().await?;
    let late = watch.until(None, pin!(groups.through(&ends))).await.flatten();
    let receiving = groups.leave_all().await?.pop().expect("BUG: there is one group");
    finish(run, watch, &begin, (sending, receiving, late), rebalance).await
}

impl Scene<'_, '_> {
    /// Rest, join and leave. Fails if the run is stopped before: half of it says nothing.
    async fn play(
        &mut self,
        mut producers: Pin<&mut impl Future<Output = Result<Sending>>>,
    ) -> Result<Rebalance> {
        let rest = self.run.flags.duration.unwrap_or_default();
        self.groups.group(0).arrivals.restart();
        let deadline = Some(Instant::now() + rest);
        if self.watch.until(deadline, producers.as_mut()).await.is_some() {
            bail!("the producers ended in the middle");
        }
        let mut at_rest = Latency::new();
        let pauses = self.groups.group(0).arrivals.longest_pauses_ns(Moment::now());
        pauses.into_iter().flatten().for_each(|pause| at_rest.record(pause, 1));

        let (begun, before) = self.begin_change();
        let member = self.groups.join(0).await?;
        let join = self.end_change(begun, &before).await?;
        println!("a member has joined: {:.3} s", join.stable.as_secs_f64());

        let (begun, before) = self.begin_change();
        self.groups.leave(0, leaver(&before, member));
        let leave = self.end_change(begun, &before).await?;
        println!("a member has left: {:.3} s", leave.stable.as_secs_f64());
        Ok(Rebalance { rest: at_rest, join, leave })
    }

    fn begin_change(&self) -> (Moment, Owners) {
        let group = self.groups.group(0);
        group.arrivals.restart();
        let owners = group.ownership().owners();
        (Moment::now(), owners)
    }

    /// Waits until the group has settled and every partition is read again.
    async fn end_change(&mut self, begun: Moment, before: &Owners) -> Result<Change> {
        let (groups, control) = (&self.groups, &self.control);
        let again = async {
            let is_over = groups.settled(control).await?;
            // A rebalance that another one follows would show here.
            tokio::time::sleep(TAIL).await;
            let is_over = is_over && groups.settled(control).await?;
            let group = groups.group(0);
            let (settled_at, asked) = (group.ownership().changed_at(), Moment::now());
            while !group.arrivals.is_all_since(settled_at) {
                if control.is_stopped() || Moment::now().since(asked) > SILENCE_MAX {
                    break;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok(is_over && !control.is_stopped())
        };
        let again = self.watch.until(None, pin!(again)).await;
        let is_over: Result<bool> = again.expect("BUG: without a deadline it ends with the group");
        if !is_over? {
            bail!("interrupted, or a producer failed, before the group had settled");
        }
        let group = self.groups.group(0);
        let pauses = group.arrivals.longest_pauses_ns(Moment::now());
        let ownership = group.ownership();
        let stable = ownership.changed_at().since(begun);
        Ok(Change::new(stable, ownership.minimum_moves(before), before, &ownership.owners(), &pauses))
    }
}

/// Who leaves: the one of the others that has most.
fn leaver(owners: &Owners, newest: usize) -> usize {
    let mut loads: BTreeMap<usize, usize> = BTreeMap::new();
    owners.iter().flatten().for_each(|owner| *loads.entry(*owner).or_default() += 1);
    loads.remove(&newest);
    loads.into_iter().max_by_key(|(_, load)| *load).map_or(newest, |(member, _)| member)
}

async fn finish(
    run: &Run<'_>,
    watch: Watch,
    begin: &Begin,
    (sending, receiving, late): (Sending, Receiving, Option<String>),
    rebalance: Rebalance,
) -> Result<Results> {
    let usage = run.usage_since(begin).await?;
    let Totals { intervals, produce, consume, lag, .. } = watch.finish();
    let verdict = sending.verdict(&receiving);
    let mut failures = sending.failures;
    failures.messages.extend(late);
    failures.add(receiving.failures);
    let results = Results {
        intervals,
        end_to_end: consume.as_ref().map(|sample| sample.latency.clone()),
        produce: produce.map(|sample| Phase::new(sample, begin.at, sending.last_ack)),
        consume: consume.map(|sample| Phase::new(sample, begin.at, receiving.last_record)),
        lag,
        verdict,
        may_repeat: true,
        blocked: sending.blocked,
        rate: run.flags.rate,
        rebalance: Some(rebalance),
        ..Results::of(usage, failures)
    };
    Ok(results.timed())
}

/// Pauses of the stretch behind a change are part of it.
const TAIL: Duration = Duration::from_secs(1);
/// A partition that is silent for longer counts as silent until now.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_of_partitions_that_moved_are_told_apart() {
        let (before, after) = (vec![Some(0), Some(0), Some(1)], vec![Some(0), Some(2), Some(1)]);
        let pauses = [Some(100_000), Some(9_000_000), None];
        let change = Change::new(Duration::from_secs(1), 1, &before, &after, &pauses);
        assert_eq!((change.moved, change.minimum), (1, 1));
        assert_eq!((change.moved_pauses.count(), change.moved_pauses.quantile(1.0)), (1, 9_000_000));
        assert_eq!((change.unmoved_pauses.count(), change.unmoved_pauses.quantile(1.0)), (1, 100_000));
    }

    #[test]
    fn who_leaves_has_most_and_is_not_the_newest() {
        let owners = [0, 1, 1, 2, 2, 2].map(Some).to_vec();
        assert_eq!((leaver(&owners, 2), leaver(&owners, 0)), (1, 2));
    }
}
