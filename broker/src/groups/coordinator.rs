//! All groups of one partition of `__consumer_offsets`: finds the group, asks it, keeps its alarm.
//!
//!     request ──▶ group id allowed? ──▶ groups[id] ──▶ rule (join.rs, sync.rs, …) ──▶ finish: alarm, forget
//!     timers     (instant, id), one for each group that waits for something
//!
//! A heartbeat is a look-up of the group and of the member: deadlines that move away move no timer. When the
//! timer falls due, that one group's members are looked through.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use protocol::model::{ErrorCode, Timestamp};
use uuid::Uuid;

use super::api::{
    Commit, DescribedGroup, DescribedMember, Effects, Generation, Heartbeat, Join, Leave, ListedGroup, Now,
    Partitions, Reply, ReplyTo, Sync,
};
use super::commit::{fetch_none, refuse_commit};
use super::config::{ID_BYTES_MAX, TICK_BYTES_MAX};
use super::group::{Context, Group};
use super::join::{check_join, refuse_join};
use super::leave::left;
use super::member::cut;
use super::{GroupConfig, State, records};

/// Where the random part of member ids comes from; a simulation brings its own.
pub type NewId = Box<dyn FnMut() -> Uuid>;

/// Groups that one tick looks at; the others are due at once.
const TICK_GROUPS_MAX: usize = 1000;

/// See the module's contract with the driver.
pub struct Coordinator {
    pub(super) config: GroupConfig,
    new_id: NewId,
    pub(super) groups: HashMap<Arc<str>, Box<Group>>,
    timers: BTreeSet<(Instant, Arc<str>)>,
    /// Offsets of deleted topics that have no tombstones yet.
    pub(super) sweeps: VecDeque<Sweep>,
    /// Those of the effects that are not settled.
    pub(super) swept: Vec<Sweep>,
    /// Not before this time, as it was refused.
    pub(super) sweep_from: Option<Instant>,
    /// The effects of the last call have records.
    pub(super) is_unsettled: bool,
}

/// The offsets of one group for a topic that was deleted.
pub(super) struct Sweep {
    group: Arc<str>,
    topic: Arc<str>,
    /// Offsets committed later belong to another topic of the same name.
    deleted_at: Timestamp,
}

impl Coordinator {
    pub fn new(config: GroupConfig, new_id: NewId) -> Coordinator {
        Coordinator {
            config,
            new_id,
            groups: HashMap::new(),
            timers: BTreeSet::new(),
            sweeps: VecDeque::new(),
            swept: Vec::new(),
            sweep_from: None,
            is_unsettled: false,
        }
    }

    /// Replied to when the generation is complete; at once if it cannot be, or is not to change.
    pub fn join(&mut self, join: &Join<'_>, to: ReplyTo, now: Now, effects: &mut Effects) {
        self.begin();
        if let Err(code) = check_id(join.group).and_then(|()| check_join(join, &self.config)) {
            return refuse_join(join, code, to, effects);
        }
        if !self.groups.contains_key(join.group) {
            if !join.member.is_empty() {
                return refuse_join(join, ErrorCode::UnknownMemberId, to, effects);
            }
            if self.is_full() {
                return refuse_join(join, ErrorCode::Overloaded, to, effects);
            }
            let id: Arc<str> = join.group.into();
            self.groups.insert(id.clone(), Box::new(Group::new(id)));
        }
        let new_id = format!("{}-{}", cut(join.instance.unwrap_or(join.client_id)), (self.new_id)());
        self.with(join.group, now, effects, |group, context, effects| {
            group.join(join, new_id, to, context, effects);
        });
    }

    /// Replied to when the leader has assigned.
    pub fn sync(&mut self, sync: &Sync<'_>, to: ReplyTo, now: Now, effects: &mut Effects) {
        self.begin();
        let known = self.with(sync.group, now, effects, |group, context, effects| {
            group.sync(sync, to, context, effects);
        });
        if known.is_none() {
            effects.reply(to, Reply::Sync(Err(unknown_member(sync.group))));
        }
    }

    pub fn heartbeat(&mut self, heartbeat: &Heartbeat<'_>, to: ReplyTo, now: Now, effects: &mut Effects) {
        self.begin();
        let context = Context { config: &self.config, now };
        let code = match self.groups.get_mut(heartbeat.group) {
            Some(group) => group.heartbeat(heartbeat, context),
            None => unknown_member(heartbeat.group),
        };
        effects.reply(to, Reply::Heartbeat(code));
    }

    pub fn leave(&mut self, leave: &Leave<'_>, to: ReplyTo, now: Now, effects: &mut Effects) {
        self.begin();
        let known = self.with(leave.group, now, effects, |group, context, effects| {
            group.leave(leave, to, context, effects);
        });
        if known.is_none() {
            let none = |one| left(one, ErrorCode::UnknownMemberId);
            let all = || leave.members.iter().map(none).collect();
            effects.reply(to, Reply::Leave(check_id(leave.group).map(|()| all())));
        }
    }

    /// The offsets can be fetched once this is settled.
    pub fn commit_offsets(&mut self, commit: &Commit<'_>, to: ReplyTo, now: Now, effects: &mut Effects) {
        self.begin();
        let known = self.with(commit.group, now, effects, |group, context, effects| {
            group.commit(commit, to, context, effects);
        });
        if known.is_some() {
            return;
        }
        let refused = match check_id(commit.group) {
            Err(code) => code,
            Ok(()) if Generation::ZERO <= commit.generation => ErrorCode::IllegalGeneration,
            Ok(()) if self.is_full() => ErrorCode::Overloaded,
            Ok(()) => {
                // The group begins to exist when its first offset is applied.
                let context = Context { config: &self.config, now };
                Group::new(commit.group.into()).commit(commit, to, context, effects);
                self.is_unsettled = !effects.records.is_empty();
                return;
            }
        };
        effects.reply(to, Reply::Commit(refuse_commit(commit, refused)));
    }

    /// Of the partitions that are named, or of all there are.
    pub fn fetch_offsets(
        &mut self,
        group: &str,
        topics: Option<&Partitions<'_>>,
        to: ReplyTo,
        effects: &mut Effects,
    ) {
        self.begin();
        let found = check_id(group).map(|()| match self.groups.get(group) {
            Some(group) => group.fetch_offsets(topics),
            None => fetch_none(topics),
        });
        effects.reply(to, Reply::FetchOffsets(found));
    }

    /// Gone once this is settled.
    pub fn delete_offsets(
        &mut self,
        group: &str,
        topics: &Partitions<'_>,
        to: ReplyTo,
        effects: &mut Effects,
    ) {
        self.begin();
        let found = check_id(group).and_then(|()| self.groups.get(group).ok_or(ErrorCode::GroupIdNotFound));
        let outcome = found.and_then(|group| group.delete_offsets(topics, effects));
        effects.reply(to, Reply::DeleteOffsets(outcome));
        self.is_unsettled = !effects.records.is_empty();
    }

    /// With its offsets, if it has no members. Gone once this is settled.
    pub fn delete_group(&mut self, group: &str, to: ReplyTo, effects: &mut Effects) {
        self.begin();
        let code = match check_id(group).map(|()| self.groups.get_mut(group)) {
            Err(code) => code,
            Ok(None) => ErrorCode::GroupIdNotFound,
            Ok(Some(group)) if group.state() != State::Empty => ErrorCode::NonEmptyGroup,
            Ok(Some(group)) => {
                group.pending.clear();
                for (topic, partition, _) in group.offsets.iter() {
                    effects.record(records::offset_key(&group.id, topic, partition), None);
                }
                if group.is_stored {
                    effects.record(records::group_key(&group.id), None);
                }
                ErrorCode::None
            }
        };
        effects.reply(to, Reply::DeleteGroup(code));
        self.finish(group, effects);
    }

    /// All groups, by id.
    pub fn list(&mut self, to: ReplyTo, effects: &mut Effects) {
        self.begin();
        let entry = |group: &Group| ListedGroup {
            group: group.id.clone(),
            state: group.state(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
        };
        let mut listed: Vec<ListedGroup> = self.groups.values().map(|group| entry(group)).collect();
        listed.sort_unstable_by(|a, b| a.group.cmp(&b.group));
        effects.reply(to, Reply::List(Ok(listed)));
    }

    pub fn describe(&mut self, group: &str, to: ReplyTo, effects: &mut Effects) {
        self.begin();
        let found = check_id(group).and_then(|()| self.groups.get(group).ok_or(ErrorCode::GroupIdNotFound));
        effects.reply(to, Reply::Describe(found.map(|group| describe(group))));
    }

    /// The offsets for topics that are gone go too, with the ticks that follow: topic by topic, and of each
    /// group by group. Groups are looked through once, however many topics there are.
    pub fn topics_deleted(&mut self, topics: &HashSet<&str>, now: Now) {
        self.begin();
        let mut found: Vec<(Arc<str>, Arc<str>)> = Vec::new();
        for group in self.groups.values() {
            let gone = group.offsets.topics().filter(|topic| topics.contains(&***topic));
            found.extend(gone.map(|topic| (topic.clone(), group.id.clone())));
        }
        found.sort_unstable();
        let sweep = |(topic, group)| Sweep { group, topic, deleted_at: now.wall };
        self.sweeps.extend(found.into_iter().map(sweep));
    }

    /// What time does. To be called when [`Coordinator::deadline`] has come.
    pub fn tick(&mut self, now: Now, effects: &mut Effects) {
        self.begin();
        let due = self.timers.iter().take_while(|(at, _)| *at <= now.instant).take(TICK_GROUPS_MAX);
        let due: Vec<Arc<str>> = due.map(|(_, id)| id.clone()).collect();
        for id in due {
            if TICK_BYTES_MAX <= effects.bytes {
                break;
            }
            let context = Context { config: &self.config, now };
            let group = self.groups.get_mut(&id).expect("BUG: a timer of a group that is not there");
            group.tick(context, effects);
            self.finish(&id, effects);
        }
        self.sweep(now, effects);
        self.is_unsettled = !effects.records.is_empty();
    }

    /// When to tick next; `None` if there is nothing to wait for.
    pub fn deadline(&self, now: Now) -> Option<Instant> {
        let sweep = (!self.sweeps.is_empty()).then(|| self.sweep_from.unwrap_or(now.instant));
        self.timers.first().map(|(at, _)| *at).into_iter().chain(sweep).min()
    }

    fn sweep(&mut self, now: Now, effects: &mut Effects) {
        if self.sweep_from.is_some_and(|from| now.instant < from) {
            return;
        }
        self.sweep_from = None;
        while effects.bytes < TICK_BYTES_MAX {
            let Some(sweep) = self.sweeps.pop_front() else { break };
            let Some(group) = self.groups.get(&sweep.group) else { continue };
            for (partition, committed) in group.offsets.of_topic(&sweep.topic) {
                if committed.committed_at <= sweep.deleted_at {
                    effects.record(records::offset_key(&group.id, &sweep.topic, partition), None);
                }
            }
            self.swept.push(sweep);
        }
    }

    /// Runs one rule on one group; `None` if it is not there.
    fn with<T>(
        &mut self,
        id: &str,
        now: Now,
        effects: &mut Effects,
        rule: impl FnOnce(&mut Group, Context<'_>, &mut Effects) -> T,
    ) -> Option<T> {
        let context = Context { config: &self.config, now };
        let outcome = rule(self.groups.get_mut(id)?, context, effects);
        self.finish(id, effects);
        Some(outcome)
    }

    /// What every change of a group ends with.
    fn finish(&mut self, id: &str, effects: &Effects) {
        self.is_unsettled |= !effects.records.is_empty();
        self.set_alarm(id);
    }

    /// The alarm is no later than what the group waits for; a group that has nothing to keep is forgotten.
    pub(super) fn set_alarm(&mut self, id: &str) {
        let Some(group) = self.groups.get_mut(id) else { return };
        let due = group.due.filter(|_| !group.is_unused());
        if due != group.armed {
            group.armed.into_iter().for_each(|at| _ = self.timers.remove(&(at, group.id.clone())));
            due.into_iter().for_each(|at| _ = self.timers.insert((at, group.id.clone())));
            group.armed = due;
        }
        if group.is_unused() {
            self.groups.remove(id);
        }
    }

    fn is_full(&self) -> bool {
        self.config.groups_max <= self.groups.len()
    }

    fn begin(&self) {
        assert!(!self.is_unsettled, "BUG: the records of the call before are not settled");
    }
}

fn describe(group: &Group) -> DescribedGroup {
    let is_stable = group.state() == State::Stable;
    let protocol = group.protocol.clone().unwrap_or_default();
    let entry = |member: &super::member::Member| DescribedMember {
        member: member.id.clone(),
        instance: member.instance.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        metadata: if is_stable { member.metadata(&protocol) } else { Default::default() },
        assignment: if is_stable { member.assignment.clone() } else { Default::default() },
    };
    DescribedGroup {
        state: group.state(),
        generation: group.generation,
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        members: group.members().map(entry).collect(),
        protocol,
    }
}

fn check_id(group: &str) -> Result<(), ErrorCode> {
    let is_allowed = !group.is_empty() && group.len() <= ID_BYTES_MAX;
    if is_allowed { Ok(()) } else { Err(ErrorCode::InvalidGroupId) }
}

fn unknown_member(group: &str) -> ErrorCode {
    check_id(group).err().unwrap_or(ErrorCode::UnknownMemberId)
}
