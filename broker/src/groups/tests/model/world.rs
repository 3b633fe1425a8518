//! The clients, the driver and the log of one schedule.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::model::{ErrorCode, Offset, PartitionIndex, Timestamp};
use uuid::Uuid;

use super::super::fixture::{SUBSCRIPTION, TOPIC, code};
use crate::groups::records::{Key, read_key};
use crate::groups::*;

const GROUPS: [&str; 2] = ["g0", "g1"];
const PARTITIONS: u64 = 4;
const STEPS: usize = 150;
const RETENTION: Duration = Duration::from_secs(900);

/// How often what happened; in a batch of schedules each must.
#[derive(Default, Debug)]
pub struct Seen(BTreeMap<&'static str, u64>);

impl Seen {
    pub fn add(&mut self, other: &Seen) {
        other.0.iter().for_each(|(what, count)| *self.0.entry(what).or_default() += count);
    }

    fn mark(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub fn assert_everything_happened(&self) {
        for what in [
            "generation told",
            "assignment told",
            "commit acknowledged",
            "zombie refused",
            "append refused",
            "restart",
            "records lost",
            "member expired",
            "static member back",
            "group removed",
            "offset expired",
            "offset deleted",
        ] {
            assert!(self.0.contains_key(what), "no schedule came to: {what}; {self:?}");
        }
    }
}

/// Splitmix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

/// Who a client is, or was.
#[derive(Clone, PartialEq, Debug)]
struct Identity {
    group: &'static str,
    instance: Option<String>,
    member: String,
    generation: i32,
    /// Of the group; see [`World::incarnation`].
    incarnation: usize,
}

impl Identity {
    /// What an assignment is given to: a static member keeps it under another id.
    fn name(&self) -> &str {
        self.instance.as_deref().unwrap_or(&self.member)
    }
}

struct Client {
    who: Identity,
    waits_for: Option<u64>,
    joined: Option<Joined>,
    owned: Option<Vec<u64>>,
    subscription: Vec<u8>,
}

/// What a request was, to judge its reply by.
#[derive(Clone)]
enum Asked {
    Join(usize),
    Sync(usize, Identity),
    Leave(Identity),
    /// Who it says it is (nobody: from outside), and whether it or another had been told better.
    Commit {
        who: Option<Identity>,
        is_zombie: bool,
    },
    Fetch(&'static str),
    Other,
}

type Offsets = BTreeMap<(String, u64), u64>;

/// The state that one batch led to.
struct Batch {
    /// Records of the log up to its end.
    end: usize,
    offsets: Offsets,
}

/// What was told of one generation.
#[derive(Default)]
struct Told {
    leader: Option<String>,
    /// By name of the member: what the leader assigns.
    given: BTreeMap<String, Vec<u64>>,
}

pub struct World {
    dice: Dice,
    coordinator: Coordinator,
    now: Now,
    ids: u64,
    clients: Vec<Client>,
    /// Identities that clients had.
    former: Vec<Identity>,
    log: Vec<GroupRecord>,
    batches: Vec<Batch>,
    /// As after the last batch.
    offsets: Offsets,
    durable: usize,
    /// Replies that wait for the batch of this number to be durable.
    parked: Vec<(usize, u64, Reply)>,
    asked: BTreeMap<u64, Asked>,
    requests: u64,
    told: BTreeMap<(&'static str, usize, i32), Told>,
    /// Ids that are out for good while this coordinator lives, as somebody was told so.
    out: BTreeSet<(usize, String)>,
    lives: usize,
    next_offset: u64,
    swept_at: Option<Timestamp>,
    seen: Seen,
}

fn config() -> GroupConfig {
    GroupConfig { offsets_retention: RETENTION, size_max: 8, ..GroupConfig::standard() }
}

fn ids(from: u64) -> NewId {
    let mut last = u128::from(from) << 64;
    Box::new(move || {
        last += 1;
        Uuid::from_u128(last)
    })
}

impl World {
    pub fn new(seed: u64) -> World {
        let now = Now { instant: std::time::Instant::now(), wall: Timestamp::from_millis(1 << 40) };
        let client = |at: usize| {
            let group = GROUPS[at % 2];
            let instance = (at % 3 == 0).then(|| format!("keeper-{at}"));
            let who = Identity { group, instance, member: String::new(), generation: -1, incarnation: 0 };
            Client { who, waits_for: None, joined: None, owned: None, subscription: SUBSCRIPTION.to_vec() }
        };
        World {
            dice: Dice(seed),
            coordinator: Coordinator::new(config(), ids(0)),
            now,
            ids: 0,
            clients: (0..7).map(client).collect(),
            former: Vec::new(),
            log: Vec::new(),
            batches: Vec::new(),
            offsets: Offsets::new(),
            durable: 0,
            parked: Vec::new(),
            asked: BTreeMap::new(),
            requests: 0,
            told: BTreeMap::new(),
            out: BTreeSet::new(),
            lives: 0,
            next_offset: 0,
            swept_at: None,
            seen: Seen::default(),
        }
    }

    pub fn run(mut self) -> Seen {
        for _ in 0..STEPS {
            self.step();
            self.check();
        }
        self.flush();
        // Nobody asks any more: whatever waits is answered by time alone.
        for _ in 0..10_000 {
            let Some(at) = self.coordinator.deadline(self.now) else { break };
            self.jump(at.saturating_duration_since(self.now.instant));
            self.tick();
            self.flush();
        }
        assert!(self.asked.is_empty(), "never answered: {:?}", self.asked.keys());
        assert!(self.coordinator.groups.is_empty(), "what nobody uses is kept");
        self.seen
    }

    fn step(&mut self) {
        let client = self.dice.roll(self.clients.len() as u64) as usize;
        match self.dice.roll(100) {
            0..25 => self.join_or_sync(client),
            25..40 => self.heartbeat(client),
            40..55 => self.commit(client),
            55..60 => self.commit_as_before(),
            60..62 => self.leave(client),
            62..65 => self.crash(client),
            65..68 => self.commit_from_outside(),
            68..71 => self.fetch(),
            71..73 => self.delete(),
            73..74 => self.delete_topic(),
            74..84 => self.flush(),
            84..95 => self.pass(),
            95..97 => self.restart(),
            _ => self.change_subscription(client),
        }
    }

    // What clients do.

    fn join_or_sync(&mut self, at: usize) {
        // A client that has waited too long asks again on another connection.
        if self.clients[at].waits_for.is_some() && self.dice.roll(8) != 0 {
            return;
        }
        let is_waiting = self.clients[at].waits_for.take().is_some();
        match self.clients[at].joined.clone().filter(|_| !is_waiting && self.clients[at].owned.is_none()) {
            Some(joined) => self.sync(at, &joined),
            None => self.join(at),
        }
    }

    fn join(&mut self, at: usize) {
        let Client { who, subscription, .. } = &self.clients[at];
        let (who, subscription) = (who.clone(), subscription.clone());
        let protocols: &[(&str, &[u8])] = &[("range", &subscription)];
        let join = Join {
            group: who.group,
            member: &who.member,
            instance: who.instance.as_deref(),
            client_id: "c",
            client_host: "/h",
            session_timeout: Duration::from_secs(6 + 10 * self.dice.roll(2)),
            rebalance_timeout: Duration::from_secs(20),
            protocol_type: "consumer",
            protocols,
            member_id_required: self.dice.roll(3) != 0,
            can_skip_assignment: self.dice.roll(2) == 0,
        };
        if who.member.is_empty() && who.instance.is_some() {
            self.seen.mark("static member back");
        }
        let request = self.call(Asked::Join(at), |coordinator, to, now, effects| {
            coordinator.join(&join, to, now, effects);
        });
        self.clients[at].waits_for = self.asked.contains_key(&request).then_some(request);
    }

    fn sync(&mut self, at: usize, joined: &Joined) {
        let who = self.clients[at].who.clone();
        let given: Vec<(String, Vec<u8>)> = match self.told.get(&(who.group, who.incarnation, who.generation))
        {
            Some(told) if !joined.members.is_empty() => {
                let name = |member: &JoinedMember| member.instance.clone().unwrap_or(member.member.clone());
                let owned = |member: &JoinedMember| encode(&told.given[&*name(member)]);
                joined.members.iter().map(|member| (member.member.to_string(), owned(member))).collect()
            }
            _ => Vec::new(),
        };
        let assignments: Vec<(&str, &[u8])> =
            given.iter().map(|(id, bytes)| (id.as_str(), &**bytes)).collect();
        let sync = Sync {
            group: who.group,
            generation: Generation(who.generation),
            member: &who.member,
            instance: who.instance.as_deref(),
            protocol_type: None,
            protocol: None,
            assignments: &assignments,
        };
        let request = self.call(Asked::Sync(at, who.clone()), |coordinator, to, now, effects| {
            coordinator.sync(&sync, to, now, effects);
        });
        self.clients[at].waits_for = self.asked.contains_key(&request).then_some(request);
    }

    fn heartbeat(&mut self, at: usize) {
        let who = self.clients[at].who.clone();
        let heartbeat = Heartbeat {
            group: who.group,
            generation: Generation(who.generation),
            member: &who.member,
            instance: who.instance.as_deref(),
        };
        let is_settled = self.clients[at].waits_for.is_none();
        let mut answer = None;
        self.call(Asked::Other, |coordinator, to, now, effects| {
            coordinator.heartbeat(&heartbeat, to, now, effects);
            answer = effects.replies.last().map(|(_, reply)| code(reply));
        });
        match answer.expect("heartbeats are answered at once") {
            ErrorCode::RebalanceInProgress if is_settled => self.join(at),
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId if is_settled => self.forget(at),
            _ => {}
        }
    }

    fn leave(&mut self, at: usize) {
        let who = self.clients[at].who.clone();
        if who.member.is_empty() || self.clients[at].waits_for.is_some() {
            return;
        }
        let leaving = [Leaving { member: &who.member, instance: who.instance.as_deref() }];
        let leave = Leave { group: who.group, members: &leaving };
        self.call(Asked::Leave(who.clone()), |coordinator, to, now, effects| {
            coordinator.leave(&leave, to, now, effects);
        });
        self.forget(at);
    }

    /// The process is gone; its successor knows the instance id at most.
    fn crash(&mut self, at: usize) {
        self.clients[at].waits_for = None;
        self.forget(at);
    }

    fn forget(&mut self, at: usize) {
        let client = &mut self.clients[at];
        self.former.push(client.who.clone());
        client.who.member.clear();
        client.who.generation = -1;
        (client.joined, client.owned) = (None, None);
    }

    fn change_subscription(&mut self, at: usize) {
        let user_data = self.dice.roll(256) as u8;
        self.clients[at].subscription =
            [&SUBSCRIPTION[..SUBSCRIPTION.len() - 4], b"\0\0\0\x01", &[user_data]].concat();
    }

    fn commit(&mut self, at: usize) {
        let Client { who, owned: Some(owned), .. } = &self.clients[at] else { return };
        let Some(partition) = owned.first().copied() else { return };
        self.next_offset += 1;
        let (who, offset) = (who.clone(), self.next_offset);
        self.send_commit(Some(who), partition, offset);
    }

    /// A request that was long under way, or a process that does not know that it is out.
    fn commit_as_before(&mut self) {
        if self.former.is_empty() {
            return;
        }
        let which = self.dice.roll(self.former.len() as u64) as usize;
        let who = self.former[which].clone();
        // Recognisable: no live member commits that far back or ahead.
        self.next_offset += 1;
        let (partition, offset) = (self.dice.roll(PARTITIONS), self.next_offset);
        if 0 <= who.generation {
            self.send_commit(Some(who), partition, offset);
        }
    }

    fn commit_from_outside(&mut self) {
        let (partition, offset) = (self.dice.roll(PARTITIONS), self.dice.roll(10));
        self.send_commit(None, partition, offset);
    }

    fn send_commit(&mut self, who: Option<Identity>, partition: u64, offset: u64) {
        let group = who.as_ref().map_or(GROUPS[self.dice.roll(2) as usize], |who| who.group);
        let is_zombie = who.as_ref().is_some_and(|who| self.was_told_better(who));
        let one = CommitPartition {
            partition: PartitionIndex::new(partition as u32),
            offset: Offset::new(offset),
            leader_epoch: None,
            metadata: "",
        };
        let topics: &[(&str, &[CommitPartition<'_>])] = &[(TOPIC, &[one])];
        let commit = Commit {
            group,
            generation: Generation(who.as_ref().map_or(-1, |who| who.generation)),
            member: who.as_ref().map_or("", |who| &who.member),
            instance: who.as_ref().and_then(|who| who.instance.as_deref()),
            topics,
        };
        let is_in_use = self.coordinator.groups.get(group).is_some_and(|group| 0 < group.size());
        assert!(!(is_zombie && who.is_none()));
        let outside = who.is_none();
        let asked = Asked::Commit { who: who.clone(), is_zombie };
        let mut answer = None;
        self.call_then(
            asked,
            |coordinator, to, now, effects| {
                coordinator.commit_offsets(&commit, to, now, effects);
                answer = effects.replies.last().map(|(_, reply)| code(reply));
                if answer == Some(ErrorCode::None) {
                    let records = effects.records.len();
                    assert_eq!(records, 1, "a commit of one partition is one record");
                }
            },
            |offsets| _ = offsets.insert((group.to_owned(), partition), offset),
        );
        if outside && is_in_use {
            assert_eq!(
                answer,
                Some(ErrorCode::UnknownMemberId),
                "a group with members takes it from outside"
            );
        }
    }

    /// Whether somebody was told what makes a commit of this identity wrong.
    fn was_told_better(&self, who: &Identity) -> bool {
        let later = (who.group, who.incarnation, who.generation + 1)..(who.group, usize::MAX, i32::MAX);
        self.told.range(later).any(|(_, told)| told.leader.is_some())
            || self.out.contains(&(self.lives, who.member.clone()))
    }

    fn fetch(&mut self) {
        let group = GROUPS[self.dice.roll(2) as usize];
        self.call(Asked::Fetch(group), |coordinator, to, _, effects| {
            coordinator.fetch_offsets(group, None, to, effects);
        });
    }

    fn delete(&mut self) {
        let group = GROUPS[self.dice.roll(2) as usize];
        let partition = self.dice.roll(PARTITIONS);
        if self.dice.roll(3) == 0 {
            let remove = |offsets: &mut Offsets| offsets.retain(|(of, _), _| of != group);
            self.call_then(
                Asked::Other,
                |coordinator, to, _, effects| coordinator.delete_group(group, to, effects),
                remove,
            );
        } else {
            let topics: &Partitions<'_> = &[(TOPIC, &[PartitionIndex::new(partition as u32)])];
            self.call_then(
                Asked::Other,
                |coordinator, to, _, effects| coordinator.delete_offsets(group, topics, to, effects),
                |offsets| _ = offsets.remove(&(group.to_owned(), partition)),
            );
            self.seen.mark("offset deleted");
        }
    }

    fn delete_topic(&mut self) {
        self.coordinator.topic_deleted(TOPIC, self.now);
        self.swept_at = Some(self.now.wall);
    }

    // What the driver does.

    fn call(&mut self, asked: Asked, call: impl FnOnce(&mut Coordinator, ReplyTo, Now, &mut Effects)) -> u64 {
        self.call_then(asked, call, |_| {})
    }

    /// `then` is what the call does to the offsets, if it has records and they are stored.
    fn call_then(
        &mut self,
        asked: Asked,
        call: impl FnOnce(&mut Coordinator, ReplyTo, Now, &mut Effects),
        then: impl FnOnce(&mut Offsets),
    ) -> u64 {
        self.requests += 1;
        self.asked.insert(self.requests, asked);
        let mut effects = Effects::default();
        call(&mut self.coordinator, ReplyTo(self.requests), self.now, &mut effects);
        self.settle(effects, then);
        self.requests
    }

    fn settle(&mut self, mut effects: Effects, then: impl FnOnce(&mut Offsets)) {
        let records = effects.records.clone();
        let outcome = match records.is_empty() || self.dice.roll(25) != 0 {
            true => Ok(()),
            false => Err(ErrorCode::CoordinatorNotAvailable),
        };
        self.coordinator.settle(&mut effects, outcome, self.now);
        assert!(effects.records.is_empty());
        if outcome.is_err() {
            self.seen.mark("append refused");
            let is_success = |(_, reply): &(ReplyTo, Reply)| code(reply).is_ok();
            assert!(
                !effects.replies.iter().any(is_success),
                "told what is not stored: {:?}",
                effects.replies
            );
        } else if !records.is_empty() {
            self.log.extend(records);
            then(&mut self.offsets);
            self.batches.push(Batch { end: self.log.len(), offsets: self.offsets.clone() });
        }
        let batch = self.batches.len();
        self.parked.extend(effects.replies.into_iter().map(|(to, reply)| (batch, to.0, reply)));
    }

    /// How often the group was removed; its generations begin anew then.
    fn incarnation(&self, group: &str) -> usize {
        let is_removal = |record: &&GroupRecord| {
            record.value.is_none() && read_key(&record.key) == Ok(Some(Key::Group { group }))
        };
        self.log.iter().filter(is_removal).count()
    }

    /// A flush: batches become durable, and replies up to the last of them are sent.
    fn flush(&mut self) {
        self.durable = self.batches.len() - self.dice.roll(2).min(self.batches.len() as u64) as usize;
        let parked = std::mem::take(&mut self.parked);
        for (batch, request, reply) in parked {
            if batch <= self.durable {
                self.deliver(request, reply);
            } else {
                self.parked.push((batch, request, reply));
            }
        }
    }

    fn restart(&mut self) {
        let lost = self.batches.len() - self.durable;
        let kept = self.batches.len() - self.dice.roll(lost as u64 + 1) as usize;
        if kept < self.batches.len() {
            self.seen.mark("records lost");
        }
        self.batches.truncate(kept);
        self.log.truncate(self.batches.last().map_or(0, |batch| batch.end));
        self.offsets = self.batches.last().map_or_else(Offsets::new, |batch| batch.offsets.clone());
        // What is there after the restart is durable.
        self.durable = kept;
        self.parked.clear();
        self.asked.clear();
        self.clients.iter_mut().for_each(|client| client.waits_for = None);
        self.ids += 1;
        self.lives += 1;
        self.swept_at = None;
        self.coordinator = Coordinator::new(config(), ids(self.ids));
        for record in &self.log {
            self.coordinator.apply(&record.key, record.value.as_deref(), self.now).expect("our own");
        }
        self.coordinator.loaded(self.now);
        self.seen.mark("restart");
    }

    fn jump(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.wall = Timestamp::from_millis(self.now.wall.millis() + time.as_millis() as i64);
    }

    fn pass(&mut self) {
        let time = match self.dice.roll(10) {
            0 => Duration::from_secs(self.dice.roll(2000)),
            1..4 => Duration::from_secs(self.dice.roll(30)),
            _ => Duration::from_millis(self.dice.roll(3000)),
        };
        let end = self.now.instant + time;
        // Seldom the driver is late, and much is due at once.
        let is_late = self.dice.roll(5) == 0;
        while let Some(at) = self.coordinator.deadline(self.now).filter(|at| *at <= end && !is_late) {
            self.jump(at.saturating_duration_since(self.now.instant));
            self.tick();
        }
        self.jump(end - self.now.instant);
        self.tick();
    }

    fn tick(&mut self) {
        let members =
            |world: &World| world.coordinator.groups.values().map(|group| group.size()).sum::<usize>();
        let before = members(self);
        let mut effects = Effects::default();
        self.coordinator.tick(self.now, &mut effects);
        let removed: Vec<(String, u64)> = effects.records.iter().filter_map(removed_offset).collect();
        for key in &removed {
            self.check_removal(key);
        }
        if effects.records.iter().any(|record| record.value.is_none() && removed_offset(record).is_none()) {
            self.seen.mark("group removed");
        }
        self.settle(effects, |offsets| removed.iter().for_each(|key| _ = offsets.remove(key)));
        if members(self) < before {
            self.seen.mark("member expired");
        }
    }

    // What must hold.

    fn check_removal(&mut self, (group, partition): &(String, u64)) {
        let name: std::sync::Arc<str> = TOPIC.into();
        let group = &self.coordinator.groups[group.as_str()];
        let found = group.offsets.get(&name, PartitionIndex::new(*partition as u32));
        let committed_at = found.expect("a tombstone of what was there").committed_at;
        let is_swept = self.swept_at.is_some_and(|at| committed_at <= at);
        let is_old = RETENTION.as_millis() as u64 <= self.now.wall.millis_since(committed_at);
        assert!(is_swept || is_old && group.size() == 0, "an offset goes too early");
        if is_old && !is_swept {
            self.seen.mark("offset expired");
        }
    }

    fn check(&mut self) {
        self.coordinator.groups.values().for_each(|group| group.assert_consistent());
        let parked: BTreeSet<u64> = self.parked.iter().map(|(_, request, _)| *request).collect();
        let is_waiting = self.asked.keys().any(|request| !parked.contains(request));
        assert!(!is_waiting || self.coordinator.deadline(self.now).is_some(), "a request waits for ever");
        let mut found = Offsets::new();
        for group in self.coordinator.groups.values() {
            for (_, partition, committed) in group.offsets.iter() {
                found.insert((group.id.to_string(), u64::from(partition.get())), committed.offset.get());
            }
        }
        assert_eq!(found, self.offsets, "offsets are what was committed and stored last");
    }

    fn deliver(&mut self, request: u64, reply: Reply) {
        let asked = self.asked.remove(&request).expect("answered twice, or not asked");
        for client in &mut self.clients {
            client.waits_for.take_if(|waits| *waits == request);
        }
        match (asked, reply) {
            (Asked::Join(at), Reply::Join(reply)) => self.deliver_join(at, request, reply),
            (Asked::Sync(at, who), Reply::Sync(reply)) => self.deliver_sync(at, &who, reply),
            (Asked::Leave(who), reply) if code(&reply).is_ok() => {
                self.out.insert((self.lives, who.member));
            }
            (Asked::Commit { who: Some(who), is_zombie }, reply) => {
                assert!(!(is_zombie && code(&reply).is_ok()), "a zombie has committed: {who:?}");
                self.seen.mark(if is_zombie { "zombie refused" } else { "commit acknowledged" });
            }
            (Asked::Fetch(_), reply) => assert!(code(&reply).is_ok()),
            _ => {}
        }
    }

    fn deliver_join(&mut self, at: usize, _request: u64, reply: Result<Joined, JoinRefused>) {
        let group = self.clients[at].who.group;
        let joined = match reply {
            Err(refused) => {
                match refused.code {
                    ErrorCode::MemberIdRequired => self.clients[at].who.member = refused.member.to_string(),
                    ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => self.forget(at),
                    _ => {}
                }
                return;
            }
            Ok(joined) => joined,
        };
        let incarnation = self.incarnation(group);
        let generation = joined.generation.0;
        let told = self.told.entry((group, incarnation, generation)).or_default();
        if !joined.members.is_empty() {
            let name = |member: &JoinedMember| member.instance.clone().unwrap_or(member.member.clone());
            let names: Vec<String> = joined.members.iter().map(|member| name(member).to_string()).collect();
            if told.given.is_empty() {
                let shift = self.dice.roll(PARTITIONS);
                for (number, name) in names.iter().enumerate() {
                    let count = names.len() as u64;
                    let owned = (0..PARTITIONS).filter(|one| (one + shift) % count == number as u64);
                    // The generation is part of it, so that no other can be taken for it.
                    let marked = owned.chain([1000 + generation as u64]).collect();
                    told.given.insert(name.clone(), marked);
                }
            }
            assert_eq!(told.given.keys().cloned().collect::<BTreeSet<_>>(), names.into_iter().collect(),);
        }
        let leader = joined.leader.to_string();
        told.leader.get_or_insert(leader);
        let later = (group, incarnation, generation + 1)..(group, incarnation, i32::MAX);
        assert!(
            self.told.range(later).next().is_none(),
            "{group}: generation {generation} after a later one"
        );
        self.seen.mark("generation told");
        let client = &mut self.clients[at];
        if client.who.instance.is_some() && *client.who.member != *joined.member {
            let old = std::mem::take(&mut client.who.member);
            self.out.insert((self.lives, old));
        }
        let before = self.clients[at].who.clone();
        if 0 <= before.generation {
            self.former.push(before);
        }
        let client = &mut self.clients[at];
        client.who.member = joined.member.to_string();
        (client.who.generation, client.who.incarnation) = (generation, incarnation);
        (client.joined, client.owned) = (Some(joined), None);
    }

    fn deliver_sync(&mut self, at: usize, who: &Identity, reply: Result<Synced, ErrorCode>) {
        let synced = match reply {
            Ok(synced) => synced,
            Err(ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId) if self.clients[at].who == *who => {
                return self.forget(at);
            }
            Err(_) => {
                if self.clients[at].who == *who {
                    self.clients[at].joined = None;
                }
                return;
            }
        };
        let told = &self.told[&(who.group, who.incarnation, who.generation)];
        let expected = told.given.get(who.name()).cloned().unwrap_or_default();
        assert_eq!(decode(&synced.assignment), expected, "not what the leader gave to {who:?}");
        let mut all: Vec<u64> = told.given.values().flatten().copied().filter(|one| *one < 1000).collect();
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "a partition has two owners");
        self.seen.mark("assignment told");
        if self.clients[at].who == *who {
            self.clients[at].owned = Some(expected.into_iter().filter(|one| *one < 1000).collect());
        }
    }
}

fn removed_offset(record: &GroupRecord) -> Option<(String, u64)> {
    match read_key(&record.key).expect("our own").expect("our own") {
        Key::Offset { group, partition, .. } if record.value.is_none() => {
            Some((group.to_owned(), u64::from(partition.get())))
        }
        _ => None,
    }
}

fn encode(owned: &[u64]) -> Vec<u8> {
    owned.iter().flat_map(|one| one.to_be_bytes()).collect()
}

fn decode(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks(8).map(|chunk| u64::from_be_bytes(chunk.try_into().expect("eight bytes"))).collect()
}
