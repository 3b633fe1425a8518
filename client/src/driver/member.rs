//! A consumer's task: asks the coordinator what the membership wants asked, and does what it says.
//!
//!     Membership ─ call ─▶ coordinator ─ reply ─▶ Membership ─ event ─▶ Assigned: where to begin? ─▶ readers
//!     Commits    ─ try ──▶ coordinator ─ codes ─▶ Commits                Revoke: stop, commit, let go
//!                                                                        Lost: stop
//!
//! Both decide (`core/group`, `core/commit`); here are the connection, the timers and the tasks that wait
//! for a reply each. The task ends when the member has left, and a consumer that is dropped has it leave.

mod calls;
use calls::{Coordinator, Positions};

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::model::{ErrorCode, Offset, PartitionIndex};
use tokio::sync::{mpsc, watch};

use super::cluster::Cluster;
use super::{jitter, lock};
use crate::consumer::{MemberOptions, RebalanceListener, Shared, Subscription};
use crate::core::assign::{PartitionCounts, TopicPartition};
use crate::core::commit::{CommitError, CommitId, TryId};
use crate::core::group::{Call, CallId, Event, Failure, MemberState, Reply, RevokeId};
use crate::error::ConsumeError;
use crate::limits::PATTERN_REFRESH;
use crate::reader::Reader;

pub(crate) fn spawn(
    cluster: Arc<Cluster>,
    options: MemberOptions,
    subscription: Subscription,
    listener: Option<Box<dyn RebalanceListener>>,
    shared: Arc<Shared>,
) {
    let (tell, told) = mpsc::unbounded_channel(); // never longer than requests are under way
    let options = Arc::new(options);
    let member = MemberTask {
        version: cluster.watch(),
        coordinator: Arc::new(Coordinator::new(Arc::clone(&cluster), Arc::clone(&options))),
        cluster,
        options,
        subscription,
        listener,
        shared,
        tell,
        told,
        starting: HashMap::new(),
        next_start: 0,
        revoking: None,
        left: false,
    };
    tokio::spawn(member.run());
}

/// What has come back.
enum Told {
    Reply(CallId, Result<Reply, Failure>),
    Committed(TryId, Result<Vec<ErrorCode>, Failure>),
    /// Where to begin, or that this cannot be found.
    Positions(u64, Result<Positions, ConsumeError>),
    /// The topics that match the pattern now.
    Matching(BTreeSet<Arc<str>>),
}

/// Partitions that are let go of once workers are done with them and their positions are committed.
struct Revoking {
    id: RevokeId,
    partitions: Vec<TopicPartition>,
    step: RevokeStep,
}

#[derive(PartialEq, Eq)]
enum RevokeStep {
    /// Until workers have ended what they are at, and no longer than this.
    Drain(Instant),
    Commit(CommitId),
}

struct MemberTask {
    cluster: Arc<Cluster>,
    options: Arc<MemberOptions>,
    subscription: Subscription,
    listener: Option<Box<dyn RebalanceListener>>,
    shared: Arc<Shared>,
    coordinator: Arc<Coordinator>,
    version: watch::Receiver<u64>,
    tell: mpsc::UnboundedSender<Told>,
    told: mpsc::UnboundedReceiver<Told>,
    /// Partitions of which the beginning is being looked for, and by which search.
    starting: HashMap<TopicPartition, u64>,
    next_start: u64,
    revoking: Option<Revoking>,
    /// The member is out of the group for good.
    left: bool,
}

impl MemberTask {
    async fn run(mut self) {
        let mut look = self.subscribe();
        loop {
            let next = self.step();
            if self.left {
                return self.end();
            }
            let wait = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                told = self.told.recv() => self.handle(told.expect("BUG: the task holds a sender itself")),
                () = self.shared.wake_task.notified() => {}
                _ = self.version.changed() => self.handle_metadata(),
                () = wait => {}
                _ = look.tick() => self.look_for_topics(),
            }
            while let Ok(told) = self.told.try_recv() {
                self.handle(told);
            }
        }
    }

    /// Subscribes to topics by name at once; those of a pattern have to be looked for, now and then.
    fn subscribe(&self) -> tokio::time::Interval {
        let mut look = tokio::time::interval(PATTERN_REFRESH);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        if let Subscription::Topics(topics) = &self.subscription {
            lock(&self.shared.state).membership.subscribe(topics.clone());
        }
        look
    }

    fn look_for_topics(&self) {
        let watched: Vec<Arc<str>> = lock(&self.shared.state).membership.watched().cloned().collect();
        for topic in &watched {
            self.cluster.want(topic);
        }
        // They may have changed while the leader was asking for them.
        self.handle_metadata();
        let Subscription::Pattern(pattern) = self.subscription.clone() else { return };
        let (cluster, tell) = (Arc::clone(&self.cluster), self.tell.clone());
        tokio::spawn(async move {
            match cluster.all_topics().await {
                Ok(names) => {
                    let matches = |name: &Arc<str>| {
                        let whole = pattern.find(name).is_some_and(|found| found.len() == name.len());
                        whole && !name.starts_with("__")
                    };
                    let _ = tell.send(Told::Matching(names.into_iter().filter(matches).collect()));
                }
                Err(error) => tracing::warn!(%error, "cannot look for topics that match; trying again"),
            }
        });
    }

    /// Everything there is to do now. Returns when there is more, if nothing happens before.
    fn step(&mut self) -> Option<Instant> {
        loop {
            let now = Instant::now();
            self.commit_if_drained(now);
            let mut state = lock(&self.shared.state);
            if state.closing {
                state.membership.close();
            }
            let call = state.membership.poll_call(now);
            let event = state.membership.poll_event();
            let member = state.membership.state();
            let commit = state.commits.poll_commit(now, member.is_some());
            let outcome = state.commits.poll_outcome();
            let due_at = state.poll_due(now);
            let (call_at, commit_at) = (state.membership.poll_timeout(now), state.commits.poll_timeout(now));
            let route = state.membership.coordinator();
            drop(state);
            let is_idle = call.is_none() && event.is_none() && commit.is_none() && outcome.is_none();
            if let Some((id, call)) = call {
                self.send(id, call, route);
            }
            if let Some(event) = event {
                self.handle_event(event, now);
            }
            if let Some((id, offsets)) = commit {
                self.send_commit(id, offsets, member);
            }
            if let Some((id, result)) = outcome {
                self.handle_outcome(id, result);
            }
            if is_idle || self.left {
                return [call_at, commit_at, due_at, self.drain_at()].into_iter().flatten().min();
            }
        }
    }

    fn send(&self, id: CallId, call: Call, route: Option<crate::core::metadata::Route>) {
        let (coordinator, tell) = (Arc::clone(&self.coordinator), self.tell.clone());
        tokio::spawn(async move {
            let reply = coordinator.ask(route, call).await;
            let _ = tell.send(Told::Reply(id, reply)); // the member may be gone
        });
    }

    fn send_commit(&self, id: TryId, offsets: Vec<(TopicPartition, Offset)>, member: Option<MemberState>) {
        let (coordinator, tell) = (Arc::clone(&self.coordinator), self.tell.clone());
        let route = lock(&self.shared.state).membership.coordinator();
        tokio::spawn(async move {
            let codes = match (route, member) {
                (Some(route), Some(member)) => coordinator.commit(route, &member, offsets).await,
                _ => Err(Failure::Lost),
            };
            let _ = tell.send(Told::Committed(id, codes)); // as above
        });
    }

    fn handle(&mut self, told: Told) {
        let (now, mut state) = (Instant::now(), lock(&self.shared.state));
        match told {
            Told::Reply(id, reply) => state.membership.handle_reply(now, id, reply, jitter()),
            Told::Committed(id, codes) => {
                if state.commits.handle_reply(now, id, codes, jitter()) {
                    state.membership.handle_coordinator_lost();
                }
            }
            Told::Matching(topics) => state.membership.subscribe(topics),
            Told::Positions(start, found) => {
                drop(state);
                self.begin_reading(start, found);
            }
        }
    }

    fn handle_metadata(&self) {
        let mut state = lock(&self.shared.state);
        let count = |topic: &Arc<str>| {
            self.cluster.topic(topic).map(|known| (Arc::clone(topic), known.partition_count()))
        };
        let counts: PartitionCounts = state.membership.watched().filter_map(count).collect();
        state.membership.handle_metadata(&counts);
    }

    fn handle_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Assigned(partitions) => self.handle_assigned(partitions),
            Event::Revoke { id, partitions } => self.handle_revoke(id, partitions, now),
            Event::Lost(partitions) => {
                self.revoking = None;
                self.stop_reading(&partitions);
                lock(&self.shared.state).handle_lost(&partitions);
                if let Some(listener) = &mut self.listener {
                    listener.lost(&partitions);
                }
            }
            Event::LeftIdle => {
                let after = self.options.max_poll_interval;
                lock(&self.shared.state).tell(ConsumeError::LeftGroup { after });
            }
            Event::Failed(error) => {
                lock(&self.shared.state).tell(ConsumeError::Group(error));
                self.left = true;
            }
            Event::Closed => self.left = true,
        }
    }

    fn handle_assigned(&mut self, partitions: Vec<TopicPartition>) {
        if let Some(listener) = &mut self.listener {
            listener.assigned(&partitions);
        }
        lock(&self.shared.state).handle_assigned(&partitions);
        if partitions.is_empty() {
            return;
        }
        self.next_start += 1;
        let start = self.next_start;
        self.starting.extend(partitions.iter().map(|name| (name.clone(), start)));
        let (coordinator, tell) = (Arc::clone(&self.coordinator), self.tell.clone());
        let shared = Arc::downgrade(&self.shared);
        tokio::spawn(async move {
            let is_wanted = || shared.upgrade().is_some_and(|shared| !lock(&shared.state).has_ended());
            let found = coordinator.find_positions(partitions, is_wanted).await;
            let _ = tell.send(Told::Positions(start, found)); // as above
        });
    }

    fn begin_reading(&mut self, start: u64, found: Result<Positions, ConsumeError>) {
        let found = match found {
            Ok(found) => found,
            Err(error) => return lock(&self.shared.state).tell(error),
        };
        let mut by_topic: BTreeMap<Arc<str>, Vec<(PartitionIndex, Offset)>> = BTreeMap::new();
        let mut state = lock(&self.shared.state);
        for (name, position, committed) in found {
            // It may have gone meanwhile, and come back: then a later search says where to begin.
            if self.starting.get(&name) != Some(&start) {
                continue;
            }
            self.starting.remove(&name);
            match position {
                Some(position) => {
                    state.commits.assign(name.clone(), position, committed);
                    by_topic.entry(name.topic).or_default().push((name.partition, position));
                }
                None => {
                    let TopicPartition { topic, partition } = name;
                    state.tell(ConsumeError::NoOffset { topic, partition });
                }
            }
        }
        for (topic, mut positions) in by_topic {
            positions.sort_unstable_by_key(|(partition, _)| *partition);
            let (cluster, options) = (Arc::clone(&self.cluster), self.options.reader.clone());
            state.add_reader(Reader::start(cluster, topic, positions, options));
        }
    }

    fn stop_reading(&mut self, partitions: &[TopicPartition]) {
        for name in partitions {
            self.starting.remove(name);
        }
        lock(&self.shared.state).stop_reading(partitions);
    }

    /// Stops reading, waits for workers, has the positions committed, and lets go when they are.
    fn handle_revoke(&mut self, id: RevokeId, partitions: Vec<TopicPartition>, now: Instant) {
        self.stop_reading(&partitions);
        if let Some(listener) = &mut self.listener {
            listener.revoked(&partitions);
        }
        let mut state = lock(&self.shared.state);
        state.handle_revoked(&partitions);
        let step = RevokeStep::Drain(now + state.drain_timeout());
        self.revoking = Some(Revoking { id, partitions, step });
    }

    fn commit_if_drained(&mut self, now: Instant) {
        let Some(Revoking { partitions, step, .. }) = &mut self.revoking else { return };
        let RevokeStep::Drain(until) = *step else { return };
        let mut state = lock(&self.shared.state);
        state.awaits_work = now < until && !state.is_settled(partitions);
        if state.awaits_work {
            return;
        }
        let commit = state.commits.commit_before_revoke(now, partitions);
        // Without automatic commits those that the application has asked for are waited for.
        *step = RevokeStep::Commit(commit.unwrap_or_else(|| state.commits.commit_offsets(now, [])));
    }

    fn drain_at(&self) -> Option<Instant> {
        match self.revoking.as_ref()?.step {
            RevokeStep::Drain(until) => Some(until),
            RevokeStep::Commit(_) => None,
        }
    }

    fn handle_outcome(&mut self, id: Option<CommitId>, result: Result<(), CommitError>) {
        let waiting = id.and_then(|id| lock(&self.shared.state).waiting.remove(&id));
        let is_its = |step: &RevokeStep| matches!(step, RevokeStep::Commit(commit) if Some(*commit) == id);
        let revoked = self.revoking.take_if(|revoking| is_its(&revoking.step));
        if let Err(error) = &result
            && waiting.is_none()
        {
            tracing::warn!(group = %self.options.group, %error, "an automatic commit failed");
        }
        if let Some(Revoking { id, partitions, .. }) = revoked {
            let mut state = lock(&self.shared.state);
            state.let_go(&partitions);
            state.membership.handle_revoked(id);
        }
        if let Some(done) = waiting {
            done(result);
        }
    }

    /// Whoever waits is told that nothing more will come.
    fn end(&self) {
        let mut state = lock(&self.shared.state);
        state.end();
        let waiting: Vec<_> = state.waiting.drain().map(|(_, done)| done).collect();
        drop(state);
        for done in waiting {
            done(Err(CommitError::Closed));
        }
    }
}

/// How long a Join may take: a rebalance waits for its slowest member.
pub(super) fn join_timeout(options: &MemberOptions, request_timeout: Duration) -> Duration {
    options.max_poll_interval + request_timeout
}
