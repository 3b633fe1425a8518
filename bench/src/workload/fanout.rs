//! Producers and groups of consumers, each of which gets everything.
//!
//!     members join ── rest, if asked for ── producers: warm-up ▸ measured ▸ drained ── groups read up to there
//!     until all have their partitions        end to end, all groups together            lag of each: here ▲
//!
//! `groups` is its first half: members that subscribe to a topic which does not exist join, send heartbeats and
//! read nothing. So it tells what being there costs, with one connection for each member.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};

use super::control::Control;
use super::fleet::{self, Receiving, SendPlan, Sending};
use super::group::{self, Groups};
use super::run::{Begin, Run};
use super::usage::{BrokerAt, Stretch};
use super::watch::{Totals, Watch};
use super::{Failures, Phase, Results, progress};
use crate::meter::Meters;
use crate::report::interval::LineFormat;
use crate::units::thousands;
use crate::verify::Verdict;

/// What was found out about groups.
#[derive(Clone, Debug)]
pub struct GroupResults {
    pub groups: usize,
    /// Of each.
    pub members: usize,
    /// Until every member had its partitions.
    pub joining: Stretch,
    /// Everybody is there and nothing is sent.
    pub resting: Option<Stretch>,
    /// Before anybody joined.
    pub rss_before_bytes: Option<u64>,
    /// Records delivered, to all groups together, for each that was acknowledged.
    pub fan_out: Option<f64>,
    /// By group, what it had not got when the producers were done.
    pub lags: Vec<u64>,
    /// Partitions that were taken from members after all had joined.
    pub taken: u64,
}

impl GroupResults {
    /// What the broker keeps for each member beside what it had before.
    pub fn rss_per_member_bytes(&self) -> Option<u64> {
        let end = self.resting.as_ref().unwrap_or(&self.joining).broker_rss_bytes?;
        let grown = end.saturating_sub(self.rss_before_bytes?);
        Some(grown / (self.groups * self.members) as u64)
    }
}

pub async fn run(run: &Run<'_>) -> Result<Results> {
    let flags = run.flags;
    let control = run.control();
    let received = group::meters(flags.group.groups * flags.consumers);
    let mut groups = Groups::of_topic(run, flags.group.groups, &received).await?;
    let mut found = join_all(run, &mut groups, &control).await?;
    if flags.group.rest > Duration::ZERO {
        found.resting = Some(rest(run, &control, flags.group.rest).await?);
    }
    let taken = groups.taken();
    let (acks, lags) = (Meters::new(flags.producers), Meters::new(flags.producers));
    let plan = SendPlan {
        records: flags.records,
        stamping: run.stamping(true),
        unpaced: false,
        spread: false,
        first_number: 0,
        acks: acks.handles(),
        lags: lags.handles(),
    };
    let producers = fleet::start_producers(run, &control, plan).await?;
    let format = LineFormat { produces: true, consumes: true, end_to_end: true, paced: flags.rate.is_some() };
    let mut watch = run.watch(format);
    watch.produce = Some(acks);
    watch.consume = Some(received);
    watch.lags = flags.rate.map(|_| lags);
    let (sending, begin) = run.measure(&mut watch, &control, flags.duration, pin!(producers)).await?;
    let late = read_the_rest(run, &groups, &mut watch, &mut found).await?;
    found.taken = groups.taken() - taken;
    // The warm-up's too: what it leaves under way would count on one side only.
    found.fan_out = (sending.acked > 0).then(|| groups.delivered() as f64 / sending.acked as f64);
    let receivings = groups.leave_all().await?;
    finish(run, watch, &begin, sending, Got { receivings, late, found }).await
}

/// Members that read nothing: they join, and are there.
pub async fn run_idle(run: &Run<'_>) -> Result<Results> {
    let flags = run.flags;
    let control = run.control();
    let format = LineFormat { produces: false, consumes: false, end_to_end: false, paced: false };
    let meters = group::meters(1);
    let mut groups = Groups::of_nothing(run, flags.group.groups, &meters);
    let mut watch = run.watch(format);
    let begin = run.begin(&mut watch, &control).await?;
    let mut found = join_all(run, &mut groups, &control).await?;
    found.resting = Some(rest(run, &control, flags.duration.unwrap_or_default()).await?);
    let usage = run.usage_since(&begin).await?;
    let mut failures = Failures::default();
    groups.leave_all().await?.into_iter().for_each(|receiving| failures.add(receiving.failures));
    let elapsed = found.joining.took + found.resting.map(|rest| rest.took).unwrap_or_default();
    Ok(Results { elapsed, groups: Some(found), ..Results::of(usage, failures) })
}

async fn join_all(run: &Run<'_>, groups: &mut Groups<'_>, control: &Arc<Control>) -> Result<GroupResults> {
    let flags = run.flags;
    let (count, members) = (flags.group.groups, flags.consumers);
    let before = BrokerAt::now(run.place)?;
    let said = progress::said("joining");
    for group in 0..count {
        for _ in 0..members {
            groups.join(group).await?;
        }
    }
    if !groups.settled(control).await? {
        bail!("interrupted before everybody had joined");
    }
    drop(said);
    let joining = before.until(BrokerAt::now(run.place)?);
    let all = thousands((count * members) as u64);
    println!("\n{all} members have joined after {:.2} s", joining.took.as_secs_f64());
    Ok(GroupResults {
        groups: count,
        members,
        joining,
        resting: None,
        rss_before_bytes: before.rss_bytes,
        fan_out: None,
        lags: Vec::new(),
        taken: 0,
    })
}

/// Nothing is sent for some time, or until the run is stopped.
async fn rest(run: &Run<'_>, control: &Control, time: Duration) -> Result<Stretch> {
    let begin = BrokerAt::now(run.place)?;
    let stopped = async {
        while !control.is_stopped() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        () = progress::slept("resting", time) => {}
        () = stopped => {}
    }
    Ok(begin.until(BrokerAt::now(run.place)?))
}

/// Notes how far each group is now, and waits until it has got everything; says who has not.
async fn read_the_rest(
    run: &Run<'_>,
    groups: &Groups<'_>,
    watch: &mut Watch,
    found: &mut GroupResults,
) -> Result<Option<String>> {
    let ends = run.ends().await?;
    found.lags = groups.lags(&ends);
    let late = watch.until(None, pin!(groups.through(&ends))).await;
    Ok(late.expect("BUG: without a deadline it ends with the groups"))
}

/// What came of the groups.
struct Got {
    /// By group.
    receivings: Vec<Receiving>,
    /// Who did not get everything.
    late: Option<String>,
    found: GroupResults,
}

async fn finish(run: &Run<'_>, watch: Watch, begin: &Begin, sending: Sending, got: Got) -> Result<Results> {
    let Got { receivings, late, found } = got;
    let usage = run.usage_since(begin).await?;
    let Totals { intervals, produce, consume, lag, .. } = watch.finish();
    let verdict = receivings.iter().filter_map(|receiving| sending.verdict(receiving)).reduce(Verdict::plus);
    let last_record = receivings.iter().filter_map(|receiving| receiving.last_record).max();
    let mut failures = sending.failures;
    failures.messages.extend(late);
    receivings.into_iter().for_each(|receiving| failures.add(receiving.failures));
    let results = Results {
        intervals,
        end_to_end: consume.as_ref().map(|sample| sample.latency.clone()),
        produce: produce.map(|sample| Phase::new(sample, begin.at, sending.last_ack)),
        consume: consume.map(|sample| Phase::new(sample, begin.at, last_record)),
        lag,
        verdict,
        may_repeat: found.taken > 0,
        blocked: sending.blocked,
        rate: run.flags.rate,
        groups: Some(found),
        ..Results::of(usage, failures)
    };
    Ok(results.timed())
}

const LOOK_EVERY: Duration = Duration::from_millis(50);
