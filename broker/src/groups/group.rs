//! One group: its members, its generation, its offsets, and what it waits for.
//!
//!     members   by id; those with an instance id also by that; ids given out but not joined: pending
//!     phase     until when the state may last (joins, first delay, syncs)
//!     due       no later than the first thing that time does to the group; exact after each tick
//!
//! The rules of the rounds are in `rebalance.rs`, those of requests in `join.rs`, `sync.rs` and `leave.rs`.
//! Here is what they share: the only setters of state, membership, waiting and protocol counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::model::{ErrorCode, Timestamp};

use super::api::{Effects, Generation, Joined, JoinedMember, Reply, Synced};
use super::member::{Member, Waiting};
use super::offsets::Offsets;
use super::records::{self, GroupValue, MemberValue};
use super::subscription::{CONSUMER, read_topics};
use super::{GroupConfig, Now, State};

/// What every rule may look at.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub config: &'a GroupConfig,
    pub now: Now,
}

/// How long the state may last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phase {
    pub ends: Instant,
    /// Set while the first members of a group are waited for.
    pub first: Option<First>,
}

/// The delay of the first rebalance (KIP-134).
#[derive(Clone, Copy, Debug)]
pub(super) struct First {
    /// By how much it may still be extended.
    pub left: Duration,
    /// Somebody came since it was last extended.
    pub has_grown: bool,
}

#[derive(Debug)]
pub(super) struct Group {
    pub id: Arc<str>,
    state: State,
    pub generation: Generation,
    /// `None` until somebody joins: then the group only stores offsets.
    pub protocol_type: Option<Arc<str>>,
    pub protocol: Option<Arc<str>>,
    pub leader: Option<Arc<str>>,
    members: BTreeMap<Arc<str>, Box<Member>>,
    /// Static members: instance id to member id.
    instances: BTreeMap<Arc<str>, Arc<str>>,
    /// How many members offer each protocol.
    offered: BTreeMap<Arc<str>, usize>,
    /// How many members wait for a generation.
    joined: usize,
    /// Ids that were given out, each with the end of its validity.
    pub pending: BTreeMap<Arc<str>, Instant>,
    pub offsets: Offsets,
    /// When the state began.
    pub since: Timestamp,
    /// Bytes of members; offsets count their own.
    member_bytes: usize,
    pub phase: Option<Phase>,
    /// When offsets, or the whole group, may have expired.
    pub expiry: Option<Instant>,
    /// The log has a record of the group.
    pub is_stored: bool,
    /// The log's record is not the group's state, and no rebalance will write another.
    pub must_store: bool,
    pub due: Option<Instant>,
    /// What the coordinator's queue has for the group.
    pub armed: Option<Instant>,
}

impl Group {
    pub fn new(id: Arc<str>) -> Group {
        Group {
            id,
            state: State::Empty,
            generation: Generation::ZERO,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            offered: BTreeMap::new(),
            joined: 0,
            pending: BTreeMap::new(),
            offsets: Offsets::default(),
            since: Timestamp::NONE,
            member_bytes: 0,
            phase: None,
            expiry: None,
            is_stored: false,
            must_store: false,
            due: None,
            armed: None,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// The only change of state.
    ///
    /// # Panics
    /// If the table does not allow it.
    pub fn become_state(&mut self, next: State, now: Now) {
        assert!(self.state.may_become(next), "BUG: group {} from {:?} to {next:?}", self.id, self.state);
        self.state = next;
        self.since = now.wall;
        self.check();
    }

    /// As a record says, while the log is read.
    pub fn restore_state(&mut self, state: State, since: Timestamp) {
        self.state = state;
        self.since = since;
        self.check();
    }

    fn check(&self) {
        match self.state {
            State::Empty => assert!(self.members.is_empty(), "BUG: an empty group has members"),
            State::CompletingRebalance => {
                assert!(self.leader.is_some(), "BUG: a generation without a leader")
            }
            State::Stable => assert!(self.protocol.is_some(), "BUG: a stable group without a protocol"),
            State::PreparingRebalance | State::Dead => {}
        }
    }

    /// To be looked at no later than `at`.
    pub fn wake_by(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// The first thing that time does to the group.
    pub fn next_due(&self) -> Option<Instant> {
        let members = self.members.values().filter_map(|member| member.expires());
        let pending = self.pending.values().copied();
        let phase = self.phase.map(|phase| phase.ends);
        members.chain(pending).chain(phase).chain(self.expiry).min()
    }

    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values().map(|member| &**member)
    }

    pub fn size(&self) -> usize {
        self.members.len()
    }

    pub fn member(&self, id: &str) -> Option<&Member> {
        self.members.get(id).map(|member| &**member)
    }

    /// For what is not counted: not for protocols, waiting, assignment or names.
    pub fn member_mut(&mut self, id: &str) -> Option<&mut Member> {
        self.members.get_mut(id).map(|member| &mut **member)
    }

    pub fn members_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.values_mut().map(|member| &mut **member)
    }

    pub fn member_of_instance(&self, instance: &str) -> Option<&Arc<str>> {
        self.instances.get(instance)
    }

    pub fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    pub fn add(&mut self, member: Member) {
        self.count(&member, true);
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), member.id.clone());
        }
        let before = self.members.insert(member.id.clone(), Box::new(member));
        assert!(before.is_none(), "BUG: group {} has a member twice", self.id);
    }

    pub fn remove(&mut self, id: &str) -> Option<Box<Member>> {
        let member = self.members.remove(id)?;
        self.count(&member, false);
        if let Some(instance) = &member.instance {
            self.instances.remove(instance);
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// Changes what is counted of a member.
    pub fn change(&mut self, id: &str, change: impl FnOnce(&mut Member)) {
        let mut member = self.members.remove(id).expect("BUG: the caller has looked the member up");
        self.count(&member, false);
        change(&mut member);
        self.count(&member, true);
        self.members.insert(member.id.clone(), member);
    }

    fn count(&mut self, member: &Member, add: bool) {
        let step = |count: &mut usize, by: usize| if add { *count += by } else { *count -= by };
        step(&mut self.member_bytes, member.bytes());
        step(&mut self.joined, usize::from(member.waits_for_generation()));
        for protocol in &member.protocols {
            let offered = self.offered.entry(protocol.name.clone()).or_default();
            step(offered, 1);
            if *offered == 0 {
                self.offered.remove(&protocol.name);
            }
        }
    }

    /// Sets what a member waits for; the request that waited before is answered.
    pub fn wait(&mut self, id: &str, waiting: Waiting, instead: ErrorCode, effects: &mut Effects) {
        let member = self.members.get_mut(id).expect("BUG: the caller has looked the member up");
        let before = std::mem::replace(&mut member.waiting, waiting);
        self.joined -= usize::from(matches!(before, Waiting::Generation(_)));
        self.joined += usize::from(member.waits_for_generation());
        refuse(before, &member.id, instead, effects);
    }

    pub fn assign(&mut self, id: &str, assignment: Bytes) {
        let member = self.members.get_mut(id).expect("BUG: the caller has looked the member up");
        self.member_bytes = self.member_bytes - member.assignment.len() + assignment.len();
        member.assignment = assignment;
    }

    /// The request that the member waits with, which the caller answers.
    pub fn take_waiting(&mut self, id: &str) -> Waiting {
        let member = self.members.get_mut(id).expect("BUG: the caller has looked the member up");
        let before = std::mem::replace(&mut member.waiting, Waiting::Nothing);
        self.joined -= usize::from(matches!(before, Waiting::Generation(_)));
        before
    }

    /// How many members wait for a generation.
    pub fn joined(&self) -> usize {
        self.joined
    }

    pub fn have_all_joined(&self) -> bool {
        self.joined == self.members.len() && self.pending.is_empty()
    }

    /// The longest that a member wants to be waited for.
    pub fn rebalance_timeout(&self) -> Duration {
        self.members().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// Whether one who offers these could be in a generation with the present members.
    pub fn fits(&self, protocol_type: &str, protocols: &[(&str, &[u8])]) -> bool {
        if self.members.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let by_all = |name: &str| self.offered.get(name) == Some(&self.members.len());
        self.protocol_type.as_deref() == Some(protocol_type) && protocols.iter().any(|(name, _)| by_all(name))
    }

    /// Of the protocols that all offer, the one that most prefer. Among equals the first by name, so that it
    /// does not depend on who is asked first.
    pub fn vote(&self) -> Option<Arc<str>> {
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            let by_all = |name: &&Arc<str>| self.offered.get(*name) == Some(&self.members.len());
            let vote = member.protocols.iter().map(|protocol| &protocol.name).find(by_all)?;
            *votes.entry(vote).or_default() += 1;
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.clone())
    }

    /// Bytes that the group holds in memory and may write in one batch.
    pub fn held_bytes(&self) -> usize {
        self.member_bytes + self.offsets.bytes()
    }

    /// Nothing would be lost if the group were forgotten.
    pub fn is_unused(&self) -> bool {
        self.state == State::Empty && !self.is_stored && self.pending.is_empty() && self.offsets.is_empty()
    }

    /// Puts the group's record among the effects. Until the leader has assigned, the record has no leader:
    /// that is how one who reads it knows that the assignments are not there yet.
    pub fn store(&self, effects: &mut Effects) {
        let protocol = self.protocol.as_deref();
        let value = GroupValue {
            protocol_type: self.protocol_type.as_deref().unwrap_or_default(),
            generation: self.generation.0,
            protocol,
            leader: self.leader.as_deref().filter(|_| self.state == State::Stable),
            since: self.since,
            members: self.members().map(|member| member.value(protocol.unwrap_or_default())).collect(),
        };
        effects.record(records::group_key(&self.id), Some(records::write_group(&value)));
    }

    /// What the member is told of the present generation.
    pub fn joined_reply(&self, member: &Member) -> Joined {
        let is_leader = self.is_leader(&member.id);
        let protocol = self.protocol.clone().unwrap_or_default();
        let entry = |member: &Member| JoinedMember {
            member: member.id.clone(),
            instance: member.instance.clone(),
            metadata: member.metadata(&protocol),
        };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            leader: self.leader.clone().unwrap_or_default(),
            member: member.id.clone(),
            skip_assignment: false,
            members: if is_leader { self.members().map(entry).collect() } else { Vec::new() },
            protocol,
        }
    }

    pub fn synced_reply(&self, member: &Member) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol: self.protocol.clone().unwrap_or_default(),
            assignment: member.assignment.clone(),
        }
    }

    /// The topics that members subscribe to; `None` where that cannot be known.
    pub fn subscribed_topics(&self) -> Option<BTreeSet<String>> {
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol.as_deref().filter(|_| self.is_consumer())?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let metadata = &member.protocols.iter().find(|own| &*own.name == protocol)?.metadata;
            let mut own = BTreeSet::new();
            read_topics(metadata, &mut own).ok()?;
            topics.extend(own.into_iter().map(str::to_owned));
        }
        Some(topics)
    }

    pub fn is_consumer(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }
}

impl Member {
    fn value(&self, protocol: &str) -> MemberValue<'_> {
        let chosen = self.protocols.iter().find(|own| &*own.name == protocol);
        MemberValue {
            id: &self.id,
            instance: self.instance.as_deref(),
            client_id: &self.client_id,
            client_host: &self.client_host,
            rebalance_timeout_ms: millis(self.rebalance_timeout),
            session_timeout_ms: millis(self.session_timeout),
            subscription: chosen.map(|own| &*own.metadata).unwrap_or_default(),
            assignment: &self.assignment,
        }
    }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// Answers who waited.
pub(super) fn refuse(waiting: Waiting, member: &Arc<str>, code: ErrorCode, effects: &mut Effects) {
    match waiting {
        Waiting::Nothing => {}
        Waiting::Generation(to) => {
            let refused = super::api::JoinRefused { code, member: member.clone() };
            effects.reply(to, Reply::Join(Err(refused)));
        }
        Waiting::Assignment(to) => effects.reply(to, Reply::Sync(Err(code))),
    }
}

#[cfg(test)]
impl Group {
    /// What is counted is what is there, and nothing that time does is slept through.
    pub fn assert_consistent(&self) {
        let waiting = self.members().filter(|member| member.waits_for_generation()).count();
        assert_eq!(self.joined, waiting, "group {}: members that wait for a generation", self.id);
        assert_eq!(self.member_bytes, self.members().map(Member::bytes).sum::<usize>(), "bytes of members");
        let offsets = self.offsets.iter();
        let offsets = offsets.map(|(topic, _, found)| super::offsets::charge(topic, &found.metadata));
        assert_eq!(self.offsets.bytes(), offsets.sum::<usize>(), "bytes of offsets");
        for (instance, id) in &self.instances {
            assert_eq!(self.members[id].instance.as_ref(), Some(instance));
        }
        for (name, count) in &self.offered {
            let offers = |member: &&Member| member.protocols.iter().any(|own| own.name == *name);
            assert_eq!(self.members().filter(offers).count(), *count, "members that offer {name}");
        }
        if let Some(due) = self.next_due() {
            assert!(self.armed.is_some_and(|armed| armed <= due), "group {} sleeps: {self:?}", self.id);
        }
        self.check();
    }
}
