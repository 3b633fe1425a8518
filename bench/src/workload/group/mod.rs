//! Groups of consumers, through the bundled client, and what is known of each from outside.
//!
//!     Groups ─▶ Group 0 ── ownership: who has which partition  ◀─ listeners ┐
//!            │         └── arrivals: how far, how long silent  ◀─ records ──┤ member tasks
//!            └▶ Group 1 …                                                   ┘
//!
//!     join ▸ settled ▸ … load … ▸ through ▸ leave_all ▸ forget
//!
//! Members share a few clients where there are many, and so their control connections; each has a connection to
//! its coordinator and, if it has partitions, one for fetches.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ringlog_client::{AutoOffsetReset, Client, GroupOffset, Offset, PartitionIndex};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::control::{Control, Ends};
use super::fleet::{self, Receiving};
use super::intake::{Intake, Report, Timing};
use super::run::Run;
use crate::clock::Moment;
use crate::meter::{Meter, Meters};

pub mod ownership;
use ownership::{MemberAt, Ownership};

pub mod arrivals;
use arrivals::Arrivals;

mod member;
use member::{Listener, MemberTask};

/// One group.
pub struct Group {
    pub name: String,
    pub arrivals: Arrivals,
    /// Records that members got, as often as they did.
    delivered: AtomicU64,
    ownership: Mutex<Ownership>,
}

impl Group {
    pub fn ownership(&self) -> MutexGuard<'_, Ownership> {
        self.ownership.lock().expect("BUG: a listener panicked")
    }
}

/// All groups of a run, and their members' tasks.
pub struct Groups<'a> {
    run: &'a Run<'a>,
    /// What all subscribe to.
    topic: String,
    groups: Vec<Arc<Group>>,
    clients: Vec<Client>,
    meters: Vec<Arc<Meter>>,
    /// By group, then by member, until it is told to leave.
    leaving: Vec<Vec<Option<oneshot::Sender<()>>>>,
    /// With the group that each is of.
    tasks: JoinSet<(usize, Report)>,
    /// Where reading begins.
    starts: Ends,
    /// Members that were started.
    started: usize,
}

impl<'a> Groups<'a> {
    /// `count` groups without members, which will read the topic of the run from where it ends now.
    pub async fn of_topic(run: &'a Run<'a>, count: usize, meters: &Meters) -> Result<Groups<'a>> {
        let starts = run.ends().await?;
        let groups = Groups::new(run, run.topic.name.clone(), count, starts, meters);
        if groups.starts.iter().any(|start| *start > 0) {
            groups.commit_starts().await?;
        }
        Ok(groups)
    }

    /// `count` groups without members, which will subscribe to a topic that does not exist.
    pub fn of_nothing(run: &'a Run<'a>, count: usize, meters: &Meters) -> Groups<'a> {
        Groups::new(run, format!("{}-nothing", run.topic.name), count, Vec::new().into(), meters)
    }

    fn new(run: &'a Run<'a>, topic: String, count: usize, starts: Ends, meters: &Meters) -> Groups<'a> {
        let partitions = u32::try_from(starts.len()).expect("BUG: partitions are counted in 32 bits");
        let group = |index: usize| Group {
            // Of this run alone: a group that is there already has offsets.
            name: format!("{topic}-{}-{index}", std::process::id()),
            arrivals: Arrivals::new(partitions),
            delivered: AtomicU64::new(0),
            ownership: Mutex::new(Ownership::new(partitions, Moment::now())),
        };
        let groups = (0..count).map(|index| Arc::new(group(index))).collect();
        let (clients, tasks, meters) = (Vec::new(), JoinSet::new(), meters.handles());
        let leaving = (0..count).map(|_| Vec::new()).collect();
        Groups { run, topic, groups, clients, meters, leaving, tasks, starts, started: 0 }
    }

    pub fn group(&self, index: usize) -> &Group {
        &self.groups[index]
    }

    /// A topic that was there has records that are not of this run.
    async fn commit_starts(&self) -> Result<()> {
        let offset = |(partition, start): (u32, &u64)| {
            GroupOffset::new(self.topic.as_str(), PartitionIndex::new(partition), Offset::new(*start))
        };
        let offsets: Vec<GroupOffset> = (0..).zip(self.starts.iter()).map(offset).collect();
        for group in &self.groups {
            let committed = self.run.admin.alter_group_offsets(&group.name, &offsets).await;
            committed.with_context(|| format!("cannot set the offsets of {}", group.name))?;
        }
        Ok(())
    }

    /// Starts one more member of a group, which joins in the background.
    pub async fn join(&mut self, index: usize) -> Result<MemberAt> {
        let (flags, group) = (self.run.flags, Arc::clone(&self.groups[index]));
        let at = self.started;
        self.started += 1;
        if at < CLIENTS_MAX {
            self.clients.push(fleet::connect(flags, &self.run.place.bootstrap).await?);
        }
        let member = self.leaving[index].len();
        group.ownership().expect(member);
        let consumer = self.clients[at % CLIENTS_MAX]
            .consumer(group.name.as_str())
            .topics([self.topic.as_str()])
            .assignors([flags.group.assignor])
            .session_timeout(flags.group.session_timeout)
            .max_wait(flags.group.max_wait)
            .auto_offset_reset(AutoOffsetReset::Earliest)
            .rebalance_listener(Listener { group: Arc::clone(&group), member })
            .build();
        let consumer = consumer.await.context("cannot make a consumer")?;
        let intake = Intake::new(Arc::clone(&self.meters[at % self.meters.len()]), Timing::EndToEnd);
        let intake = if flags.verify { intake.verifying(flags.producers) } else { intake };
        let (tell, leave) = oneshot::channel();
        self.leaving[index].push(Some(tell));
        let task = MemberTask { consumer, group, intake, leave };
        self.tasks.spawn(async move { (index, task.run().await) });
        Ok(member)
    }

    /// Tells one to leave.
    pub fn leave(&mut self, index: usize, member: MemberAt) {
        self.groups[index].ownership().dismiss(member);
        self.leaving[index][member] = None;
    }

    /// Waits until every group has settled; `false` if the run was stopped before. A group is waited for as long
    /// as something changes in it.
    pub async fn settled(&self, control: &Control) -> Result<bool> {
        for group in &self.groups {
            let begun = Moment::now();
            loop {
                let (is_settled, changed_at) = {
                    let ownership = group.ownership();
                    (ownership.is_settled(), ownership.changed_at())
                };
                if is_settled {
                    break;
                }
                if control.is_stopped() {
                    return Ok(false);
                }
                if Moment::now().since(begun.max(changed_at)) > SETTLE_MAX {
                    bail!(
                        "nothing has changed in group {} for {SETTLE_MAX:?}, which has not settled",
                        group.name
                    );
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(true)
    }

    /// Partitions that were taken from members so far: that says whether there were rebalances.
    pub fn taken(&self) -> u64 {
        self.groups.iter().map(|group| group.ownership().taken()).sum()
    }

    /// Records that all groups together got so far.
    pub fn delivered(&self) -> u64 {
        self.groups.iter().map(|group| group.delivered.load(Ordering::Relaxed)).sum()
    }

    /// By group, the records up to `ends` that it has not got.
    pub fn lags(&self, ends: &Ends) -> Vec<u64> {
        self.groups.iter().map(|group| group.arrivals.lag(&self.starts, ends)).collect()
    }

    /// Waits until every group has got everything up to `ends`; says which has not, if nothing comes any more.
    pub async fn through(&self, ends: &Ends) -> Option<String> {
        for group in &self.groups {
            let (mut lag, mut since) = (u64::MAX, Moment::now());
            loop {
                let now = group.arrivals.lag(&self.starts, ends);
                if now == 0 {
                    break;
                }
                if now < lag {
                    (lag, since) = (now, Moment::now());
                }
                if Moment::now().since(since) > PATIENCE {
                    return Some(format!(
                        "group {} got nothing for {PATIENCE:?} and lacks {lag} records",
                        group.name
                    ));
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        None
    }

    /// Has everybody leave, and returns what each group has got.
    pub async fn leave_all(mut self) -> Result<Vec<Receiving>> {
        self.leaving.clear();
        let mut all: Vec<Receiving> = self.groups.iter().map(|_| Receiving::default()).collect();
        while let Some(ended) = self.tasks.join_next().await {
            let (group, report) = ended.context("a member's task failed")?;
            all[group].add(report);
        }
        let names: Vec<&str> = self.groups.iter().map(|group| group.name.as_str()).collect();
        for names in names.chunks(GROUPS_PER_REQUEST) {
            // Whatever is left of them expires.
            if let Err(error) = self.run.admin.delete_groups(names).await {
                eprintln!("cannot delete the groups: {error}");
            }
        }
        Ok(all)
    }
}

/// Meters for so many members: a histogram for each of thousands would be gigabytes.
pub fn meters(members: usize) -> Meters {
    Meters::new(members.min(METERS_MAX))
}

const CLIENTS_MAX: usize = 64;
const METERS_MAX: usize = 64;
const GROUPS_PER_REQUEST: usize = 500;
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// A group in which nothing changes for so long never settles.
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// Longest silence before records that ought to come are given up.
const PATIENCE: Duration = Duration::from_secs(10);
