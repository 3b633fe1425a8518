//! One member of a group: what it asks the coordinator next, and what it may read.
//!
//!     Unjoined ──Join──▶ Joining ──leader: Topics──▶ Assigning ──▶ Syncing ──Sync──▶ Stable
//!        ▲                  ▲  id unknown: once more                               │  ▲
//!        │                  └──────── rebalance, subscription, partitions ◀────────┘  │ Heartbeat
//!        │                                                                         │ ─┘
//!     Expelled ◀── the application is gone ── Leaving ◀── close, no topics ────────┘
//!
//! Events are for the application and for what fetches: `Assigned`, `Revoke` (let go of it and say so),
//! `Lost` (others may read it already). What is `owned` is read here and nowhere else, as long as every
//! member keeps to this:
//!
//! - The coordinator forgets a member that it has not heard of for the session timeout. We count from when
//!   the last request was *sent* that was answered well, so we know it first, and what we own is lost.
//! - It also hears of us while a rebalance lasts: heartbeats go on beside a Join, in the generation before.
//! - Nothing is joined before what has to be let go of is: everything (eager), or what moves (cooperative).
//!
//! A call is answered once, by the number it was sent with; an answer to an earlier one counts for nothing.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::assign::wire::{InvalidBytes, Subscription};
use super::assign::{Assignor, Generation, Member, PartitionCounts, TopicPartition};
use super::backoff::Backoff;
use super::metadata::Route;
use protocol::model::ErrorCode;

mod session;
use session::Session;

mod calls;
pub use calls::{Call, CallId, Failure, Joined, JoinedMember, MemberState, Reply};

mod replies;
pub use replies::is_elsewhere;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod model;

/// How a member takes part in its group.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of a static member (KIP-345): it keeps its partitions over a restart, and does not leave.
    pub instance_id: Option<Arc<str>>,
    /// The preferred one first. The group is cooperative if all of them are.
    pub assignors: Vec<Assignor>,
    /// Unheard of for as long, the member is out; a third of it is between two heartbeats.
    pub session_timeout: Duration,
    /// Longest time between two polls; also how long a rebalance waits for this member.
    pub max_poll_interval: Duration,
    /// First pause after a failure.
    pub retry_backoff: Duration,
}

/// What the application, and what fetches for it, has to know. In order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// These are to be read from now on. Also told when there is nothing new, at the end of a rebalance.
    Assigned(Vec<TopicPartition>),
    /// These are to be let go of: stop reading, commit, then `handle_revoked`.
    Revoke { id: RevokeId, partitions: Vec<TopicPartition> },
    /// These may be read by others already: stop reading, and do not commit. Ends a `Revoke`.
    Lost(Vec<TopicPartition>),
    /// The application was away for too long: the member has left, and joins with the next poll.
    LeftIdle,
    /// The member is out, for good.
    Failed(GroupError),
    /// `close` is done.
    Closed,
}

/// Names one `Revoke`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RevokeId(u64);

/// A member cannot be in its group.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GroupError {
    #[error("another member has taken over the instance id")]
    Fenced,
    #[error("the group does not take this member: {0}")]
    Refused(ErrorCode),
    #[error("the group chose the assignor {0:?}, which this member did not offer")]
    UnknownAssignor(String),
    #[error("the group's leader sent an assignment that cannot be read: {0}")]
    Assignment(InvalidBytes),
}

#[derive(Debug)]
enum Phase {
    /// Joins when nothing is to be let go of any more, and the pause is over.
    Unjoined,
    Joining,
    /// The leader asks how many partitions there are.
    Assigning(Box<Joined>),
    /// Each member's part of the assignment, from the leader.
    Syncing(Vec<(Arc<str>, Vec<u8>)>),
    Stable,
    /// Of its own will, or because the application was away.
    Leaving {
        idle: bool,
    },
    /// Not in the group before the application polls.
    Expelled,
    /// Closed or failed.
    Ended,
}

#[derive(Debug)]
pub struct Membership {
    options: Options,
    topics: BTreeSet<Arc<str>>,
    phase: Phase,
    closing: bool,
    /// There is a reason to join again.
    rejoin: bool,
    coordinator: Option<Route>,
    /// Empty before the coordinator gave one.
    member_id: Arc<str>,
    generation: Option<Generation>,
    assignor: Assignor,
    owned: BTreeSet<TopicPartition>,
    /// What was given last, and when: "sticky" says it although it is let go of.
    given: (Vec<TopicPartition>, Option<Generation>),
    /// What the last Join said is owned: it is held back from others if it is not given here again.
    claimed: BTreeSet<TopicPartition>,
    revoking: Option<(RevokeId, Vec<TopicPartition>)>,
    /// What the group's assignment was made from, if it was made here.
    assigned_from: Option<PartitionCounts>,
    session: Option<Session>,
    /// The assignment may be the first half of one: partitions that move are held back from whom they go to.
    expects_another: bool,
    /// When the application last had its records; `None` while it waits for some.
    busy_since: Option<Instant>,
    /// The search for the coordinator, and what the phase waits for.
    finding: Option<CallId>,
    asked: Option<(CallId, Instant)>,
    pause_until: Option<Instant>,
    backoff: Backoff,
    next_id: u64,
    events: VecDeque<Event>,
}

impl Membership {
    /// # Panics
    /// Without an assignor.
    pub fn new(options: Options, now: Instant) -> Membership {
        let assignor = *options.assignors.first().expect("BUG: a member offers at least one assignor");
        let backoff = Backoff::new(options.retry_backoff);
        Membership {
            options,
            topics: BTreeSet::new(),
            phase: Phase::Unjoined,
            closing: false,
            rejoin: false,
            coordinator: None,
            member_id: "".into(),
            generation: None,
            assignor,
            owned: BTreeSet::new(),
            given: (Vec::new(), None),
            claimed: BTreeSet::new(),
            revoking: None,
            assigned_from: None,
            session: None,
            expects_another: false,
            busy_since: Some(now),
            finding: None,
            asked: None,
            pause_until: None,
            backoff,
            next_id: 0,
            events: VecDeque::new(),
        }
    }

    /// What the member reads: topics by name, for a pattern those that match now. Another set makes it
    /// join again; none at all makes it leave.
    pub fn subscribe(&mut self, topics: BTreeSet<Arc<str>>) {
        if self.topics != topics {
            self.topics = topics;
            self.rejoin = true;
        }
    }

    /// Topics that the group's assignment was made from, if this member made it.
    pub fn watched(&self) -> impl Iterator<Item = &Arc<str>> {
        self.assigned_from.iter().flat_map(PartitionCounts::keys)
    }

    /// The `watched` topics as they are now; one that is missing does not exist. To be told when they
    /// change, and once in a while: they may have changed while the leader was asking for them.
    pub fn handle_metadata(&mut self, counts: &PartitionCounts) {
        let Some(known) = &self.assigned_from else { return };
        let changed = |(topic, count): (&Arc<str>, &u32)| counts.get(topic).copied().unwrap_or(0) != *count;
        self.rejoin |= known.iter().any(changed);
    }

    /// The application asks for records, and waits until there are some.
    pub fn poll_begins(&mut self) {
        self.busy_since = None;
        if matches!(self.phase, Phase::Expelled) {
            self.phase = Phase::Unjoined;
        }
    }

    /// The application has records, and is expected back within the longest poll interval.
    pub fn poll_ends(&mut self, now: Instant) {
        self.busy_since = Some(now);
    }

    /// The application works on many records at once, on one of them since then. As with `poll_begins` and
    /// `poll_ends`: it waits for records if it works on none.
    pub fn handle_busy(&mut self, since: Option<Instant>) {
        self.busy_since = since;
    }

    /// What `Revoke` named is let go of. The answer to one that ended otherwise counts for nothing.
    pub fn handle_revoked(&mut self, id: RevokeId) {
        if let Some((_, partitions)) = self.revoking.take_if(|(revoking, _)| *revoking == id) {
            partitions.iter().for_each(|partition| _ = self.owned.remove(partition));
        }
    }

    /// A commit was told that the coordinator is another.
    pub fn handle_coordinator_lost(&mut self) {
        self.coordinator = None;
    }

    /// Lets go of everything and leaves; ends with `Closed`.
    pub fn close(&mut self) {
        if matches!(self.phase, Phase::Ended) && !self.closing {
            self.events.push_back(Event::Closed);
        }
        self.closing = true;
    }

    pub fn coordinator(&self) -> Option<Route> {
        self.coordinator
    }

    /// Who commits, while the member is in a generation.
    pub fn state(&self) -> Option<MemberState> {
        let generation = self.generation?;
        Some(MemberState { member_id: Arc::clone(&self.member_id), generation })
    }

    /// Everything that only this member reads, what it is letting go of included.
    pub fn owned(&self) -> &BTreeSet<TopicPartition> {
        &self.owned
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When `poll_call` has something to do that it has not at `now`.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        if matches!(self.phase, Phase::Ended) {
            return None;
        }
        let session = self.session.as_ref().map(|session| session.deadline(self.options.session_timeout));
        let beat = self.session.as_ref().filter(|_| self.coordinator.is_some()).and_then(Session::next_beat);
        [self.pause_until, self.poll_deadline(), session, beat]
            .into_iter()
            .flatten()
            .filter(|at| now < *at)
            .min()
    }

    /// What to send now, one call at a time until there is none. Every one is to be answered, well or not.
    pub fn poll_call(&mut self, now: Instant) -> Option<(CallId, Call)> {
        self.handle_time(now);
        if matches!(self.phase, Phase::Ended) {
            return None;
        }
        self.depart_if_asked();
        self.let_go_before_joining();
        let is_pausing = self.pause_until.is_some_and(|until| now < until);
        if self.coordinator.is_none() {
            return (self.wants_coordinator() && !is_pausing).then(|| self.find_coordinator());
        }
        if let Some(beat) = self.poll_beat(now) {
            return Some(beat);
        }
        if self.asked.is_some() || self.revoking.is_some() || (is_pausing && !self.is_departing()) {
            return None;
        }
        let call = match &self.phase {
            Phase::Unjoined if !self.topics.is_empty() && !self.closing => self.join(),
            Phase::Stable if self.rejoin && !self.is_departing() => self.join(),
            Phase::Assigning(joined) => Call::Topics(joined.topics()),
            Phase::Syncing(assignments) => {
                let state = self.state().expect("BUG: a Join gave a generation");
                Call::Sync { state, assignor: self.assignor, assignments: assignments.clone() }
            }
            Phase::Leaving { .. } => Call::Leave { member_id: Arc::clone(&self.member_id) },
            _ => return None,
        };
        let id = self.next_call();
        self.asked = Some((id, now));
        Some((id, call))
    }

    fn next_call(&mut self) -> CallId {
        self.next_id += 1;
        CallId::new(self.next_id)
    }

    fn find_coordinator(&mut self) -> (CallId, Call) {
        let id = self.next_call();
        self.finding = Some(id);
        (id, Call::FindCoordinator)
    }

    fn wants_coordinator(&self) -> bool {
        let idle = matches!(self.phase, Phase::Unjoined) && (self.topics.is_empty() || self.closing);
        self.finding.is_none() && !idle && !matches!(self.phase, Phase::Expelled)
    }

    fn poll_beat(&mut self, now: Instant) -> Option<(CallId, Call)> {
        let state = self.state()?;
        let session = self.session.as_mut().filter(|session| session.is_beat_due(now))?;
        self.next_id += 1;
        let id = CallId::new(self.next_id);
        session.handle_beat(id, now);
        Some((id, Call::Heartbeat(state)))
    }

    fn join(&mut self) -> Call {
        self.phase = Phase::Joining;
        self.rejoin = false;
        self.assigned_from = None;
        self.claimed = self.owned.clone();
        let topics: Vec<Arc<str>> = self.topics.iter().cloned().collect();
        let (given, generation) = &self.given;
        let offer = |assignor: &Assignor| {
            let owned = match assignor {
                Assignor::Sticky => given.clone(),
                _ => self.owned.iter().cloned().collect(),
            };
            (*assignor, Subscription::new(*assignor, topics.clone(), owned, *generation).write())
        };
        let protocols = self.options.assignors.iter().map(offer).collect();
        Call::Join { member_id: Arc::clone(&self.member_id), protocols }
    }

    fn is_cooperative(&self) -> bool {
        self.options.assignors.iter().all(|assignor| assignor.is_cooperative())
    }

    /// Whether the member is on its way out of the group.
    fn is_departing(&self) -> bool {
        self.closing || self.topics.is_empty()
    }

    fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving { .. })
    }

    /// Out of whichever phase, once nothing is owned any more.
    fn depart_if_asked(&mut self) {
        if !self.is_departing() || self.revoking.is_some() || self.is_leaving() {
            return;
        }
        if !self.owned.is_empty() {
            return self.revoke(self.owned.clone());
        }
        let in_group = !matches!(self.phase, Phase::Unjoined | Phase::Expelled) && !self.member_id.is_empty();
        // A static member comes back, and finds its partitions as they were.
        if in_group && self.options.instance_id.is_none() && self.coordinator.is_some() {
            (self.phase, self.asked) = (Phase::Leaving { idle: false }, None);
        } else {
            self.handle_left();
        }
    }

    /// Out of the group, or as good as.
    fn handle_left(&mut self) {
        self.forget_generation();
        self.member_id = "".into();
        self.asked = None;
        if self.closing {
            self.end(Event::Closed);
        } else if !matches!(self.phase, Phase::Expelled) {
            self.phase = Phase::Unjoined;
        }
    }

    fn end(&mut self, event: Event) {
        self.phase = Phase::Ended;
        self.forget_generation();
        (self.asked, self.finding, self.pause_until) = (None, None, None);
        self.events.push_back(event);
    }

    fn let_go_before_joining(&mut self) {
        let joins =
            matches!(self.phase, Phase::Unjoined) || matches!(self.phase, Phase::Stable) && self.rejoin;
        if !joins || self.revoking.is_some() || self.is_departing() {
            return;
        }
        let goes = |owned: &&TopicPartition| !self.is_cooperative() || !self.topics.contains(&owned.topic);
        let going: BTreeSet<TopicPartition> = self.owned.iter().filter(goes).cloned().collect();
        self.revoke(going);
    }

    fn revoke(&mut self, partitions: BTreeSet<TopicPartition>) {
        if partitions.is_empty() {
            return;
        }
        assert!(self.revoking.is_none(), "BUG: one revocation at a time");
        self.next_id += 1;
        let (id, partitions) = (RevokeId(self.next_id), Vec::from_iter(partitions));
        self.revoking = Some((id, partitions.clone()));
        self.events.push_back(Event::Revoke { id, partitions });
    }

    /// Others may read what was owned.
    fn lose_all(&mut self) {
        self.revoking = None;
        self.given = (Vec::new(), None);
        if !self.owned.is_empty() {
            self.events.push_back(Event::Lost(std::mem::take(&mut self.owned).into_iter().collect()));
        }
    }

    fn forget_generation(&mut self) {
        (self.generation, self.session, self.assigned_from) = (None, None, None);
    }

    fn poll_deadline(&self) -> Option<Instant> {
        let in_group =
            !matches!(self.phase, Phase::Unjoined | Phase::Expelled | Phase::Leaving { .. } | Phase::Ended);
        self.busy_since.filter(|_| in_group).map(|since| since + self.options.max_poll_interval)
    }

    fn handle_time(&mut self, now: Instant) {
        let is_over = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if is_over(self.pause_until) {
            self.pause_until = None;
        }
        if is_over(self.session.as_ref().map(|session| session.deadline(self.options.session_timeout))) {
            self.handle_session_lost();
        }
        if is_over(self.poll_deadline()) {
            self.handle_idle();
        }
    }

    /// The coordinator may have forgotten us. In the middle of a rebalance, Join or Sync will tell.
    fn handle_session_lost(&mut self) {
        self.lose_all();
        if matches!(self.phase, Phase::Stable) {
            self.forget_generation();
            (self.phase, self.coordinator) = (Phase::Unjoined, None);
        }
    }

    /// The application does not come back: its partitions are of more use to others.
    fn handle_idle(&mut self) {
        self.lose_all();
        self.forget_generation();
        self.asked = None;
        self.events.push_back(Event::LeftIdle);
        let leaves = self.options.instance_id.is_none() && !self.member_id.is_empty();
        self.phase = if leaves && self.coordinator.is_some() {
            Phase::Leaving { idle: true }
        } else {
            Phase::Expelled
        };
    }
}
