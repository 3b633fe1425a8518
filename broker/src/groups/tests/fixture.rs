//! A coordinator with a log, a clock that stands still, and the replies it has given.

use crate::groups::coordinator::NewId;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use protocol::model::{ErrorCode, Offset, PartitionIndex, Timestamp};
use uuid::Uuid;

use crate::groups::*;

pub const TOPIC: &str = "orders";
/// A consumer's subscription to `orders`, version 0.
pub const SUBSCRIPTION: &[u8] = b"\0\0\0\0\0\x01\0\x06orders\xff\xff\xff\xff";
pub const SESSION: Duration = Duration::from_secs(10);
pub const REBALANCE: Duration = Duration::from_secs(60);
pub const DELAY: Duration = Duration::from_millis(100);

pub fn config() -> GroupConfig {
    GroupConfig::standard()
}

pub fn counted_ids() -> NewId {
    let mut last = 0;
    Box::new(move || {
        last += 1;
        Uuid::from_u128(last)
    })
}

/// A consumer that joins with what is usual.
pub fn consumer<'a>(group: &'a str, member: &'a str) -> Join<'a> {
    Join {
        group,
        member,
        instance: None,
        client_id: "client",
        client_host: "/127.0.0.1",
        session_timeout: SESSION,
        rebalance_timeout: REBALANCE,
        protocol_type: "consumer",
        protocols: &[("range", SUBSCRIPTION)],
        member_id_required: false,
        can_skip_assignment: false,
    }
}

pub struct Story {
    pub coordinator: Coordinator,
    pub config: GroupConfig,
    pub now: Now,
    pub log: Vec<GroupRecord>,
    pub replies: BTreeMap<u64, Reply>,
    pub refuse: Option<ErrorCode>,
    requests: u64,
}

impl Story {
    pub fn new(config: GroupConfig) -> Story {
        let now = Now { instant: Instant::now(), wall: Timestamp::from_millis(1_000_000) };
        let coordinator = Coordinator::new(config.clone(), counted_ids());
        let (log, replies) = (Vec::new(), BTreeMap::new());
        Story { coordinator, config, now, log, replies, refuse: None, requests: 0 }
    }

    /// One call, as the driver makes it.
    pub fn call(&mut self, call: impl FnOnce(&mut Coordinator, ReplyTo, Now, &mut Effects)) -> u64 {
        self.requests += 1;
        let mut effects = Effects::default();
        call(&mut self.coordinator, ReplyTo(self.requests), self.now, &mut effects);
        let outcome = self.refuse.map_or(Ok(()), Err);
        if outcome.is_ok() {
            self.log.extend(effects.records.iter().cloned());
        }
        self.coordinator.settle(&mut effects, outcome, self.now);
        for (to, reply) in effects.replies {
            assert!(self.replies.insert(to.0, reply).is_none(), "{to:?} is answered twice");
        }
        self.coordinator.groups.values().for_each(|group| group.assert_consistent());
        self.requests
    }

    /// Time passes, and the coordinator is woken whenever it wanted to be.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now.instant + time;
        while let Some(at) = self.coordinator.deadline(self.now).filter(|at| *at <= end) {
            self.jump(at.saturating_duration_since(self.now.instant));
            self.call(|coordinator, _, now, effects| coordinator.tick(now, effects));
        }
        self.jump(end - self.now.instant);
    }

    pub fn jump(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.wall = Timestamp::from_millis(self.now.wall.millis() + time.as_millis() as i64);
    }

    pub fn restart(&mut self) {
        self.coordinator = Coordinator::new(self.config.clone(), counted_ids());
        for record in &self.log {
            self.coordinator.apply(&record.key, record.value.as_deref(), self.now).expect("our own");
        }
        self.coordinator.loaded(self.now);
        self.replies.clear();
    }

    pub fn join(&mut self, join: &Join<'_>) -> u64 {
        self.call(|coordinator, to, now, effects| coordinator.join(join, to, now, effects))
    }

    pub fn joined(&self, request: u64) -> Joined {
        match self.replies.get(&request) {
            Some(Reply::Join(Ok(joined))) => joined.clone(),
            other => panic!("not joined: {other:?}"),
        }
    }

    pub fn sync(&mut self, joined: &Joined, group: &str, assignments: &[(&str, &[u8])]) -> u64 {
        let sync = Sync {
            group,
            generation: joined.generation,
            member: &joined.member,
            instance: None,
            protocol_type: Some("consumer"),
            protocol: Some("range"),
            assignments,
        };
        self.call(|coordinator, to, now, effects| coordinator.sync(&sync, to, now, effects))
    }

    pub fn assignment(&self, request: u64) -> Vec<u8> {
        match self.replies.get(&request) {
            Some(Reply::Sync(Ok(synced))) => synced.assignment.to_vec(),
            other => panic!("not synced: {other:?}"),
        }
    }

    pub fn heartbeat(&mut self, group: &str, member: &str, generation: i32) -> ErrorCode {
        let generation = Generation(generation);
        let heartbeat = Heartbeat { group, generation, member, instance: None };
        let to =
            self.call(|coordinator, to, now, effects| coordinator.heartbeat(&heartbeat, to, now, effects));
        self.code(to).expect("heartbeats are answered at once")
    }

    pub fn leave(&mut self, group: &str, member: &str, instance: Option<&str>) -> ErrorCode {
        let leave = Leave { group, members: &[Leaving { member, instance }] };
        let to = self.call(|coordinator, to, now, effects| coordinator.leave(&leave, to, now, effects));
        self.code(to).expect("leaves are answered at once")
    }

    pub fn commit(&mut self, group: &str, member: &str, generation: i32, offset: u64) -> ErrorCode {
        self.commit_as(group, member, None, generation, offset, "")
    }

    /// A commit of a topic's first partition, from outside of the group.
    pub fn commit_of(&mut self, group: &str, topic: &str, offset: u64) {
        let (partition, offset) = (PartitionIndex::new(0), Some(Offset::new(offset)));
        let one = CommitPartition { partition, offset, leader_epoch: None, metadata: "" };
        let topics: &[(&str, &[CommitPartition<'_>])] = &[(topic, &[one])];
        let commit = Commit { group, generation: Generation(-1), member: "", instance: None, topics };
        let to =
            self.call(|coordinator, to, now, effects| coordinator.commit_offsets(&commit, to, now, effects));
        assert_eq!(self.code(to), Some(ErrorCode::None));
    }

    pub fn commit_as(
        &mut self,
        group: &str,
        member: &str,
        instance: Option<&str>,
        generation: i32,
        offset: u64,
        metadata: &str,
    ) -> ErrorCode {
        let partition = PartitionIndex::new(0);
        let one =
            CommitPartition { partition, offset: Some(Offset::new(offset)), leader_epoch: None, metadata };
        let topics: &[(&str, &[CommitPartition<'_>])] = &[(TOPIC, &[one])];
        let commit = Commit { group, generation: Generation(generation), member, instance, topics };
        let to =
            self.call(|coordinator, to, now, effects| coordinator.commit_offsets(&commit, to, now, effects));
        self.code(to).expect("commits are answered at once")
    }

    /// Of partition 0.
    pub fn committed(&mut self, group: &str) -> Option<u64> {
        let topics: &Partitions<'_> = &[(TOPIC, &[PartitionIndex::new(0)])];
        let to = self.call(|coordinator, to, _, effects| {
            coordinator.fetch_offsets(group, Some(topics), to, effects);
        });
        match &self.replies[&to] {
            Reply::FetchOffsets(Ok(found)) => found[0].committed.as_ref().map(|found| found.offset.get()),
            other => panic!("not fetched: {other:?}"),
        }
    }

    pub fn delete_offsets(&mut self, group: &str, topic: &str) -> ErrorCode {
        let topics: &Partitions<'_> = &[(topic, &[PartitionIndex::new(0)])];
        let to = self.call(|coordinator, to, _, effects| {
            coordinator.delete_offsets(group, topics, to, effects);
        });
        self.code(to).expect("deletions are answered at once")
    }

    pub fn delete_group(&mut self, group: &str) -> ErrorCode {
        let to = self.call(|coordinator, to, _, effects| coordinator.delete_group(group, to, effects));
        self.code(to).expect("deletions are answered at once")
    }

    pub fn describe(&mut self, group: &str) -> Result<DescribedGroup, ErrorCode> {
        let to = self.call(|coordinator, to, _, effects| coordinator.describe(group, to, effects));
        match &self.replies[&to] {
            Reply::Describe(described) => described.clone(),
            other => panic!("not described: {other:?}"),
        }
    }

    pub fn state(&mut self, group: &str) -> State {
        self.describe(group).map_or(State::Dead, |described| described.state)
    }

    /// `None` while the request waits; of several entries the first one's.
    pub fn code(&self, request: u64) -> Option<ErrorCode> {
        Some(code(self.replies.get(&request)?))
    }

    /// A stable group of `members` dynamic members, the leader first. Member number n has `[n]`.
    pub fn stable(&mut self, group: &str, members: usize) -> Vec<Joined> {
        let joins: Vec<u64> = (0..members).map(|_| self.join(&consumer(group, ""))).collect();
        self.pass(DELAY * 2);
        let mut joined: Vec<Joined> = joins.iter().map(|join| self.joined(*join)).collect();
        joined.sort_by_key(|joined| joined.members.is_empty());
        self.assign(group, &joined);
        joined
    }

    pub fn assign(&mut self, group: &str, joined: &[Joined]) {
        let numbers: Vec<[u8; 1]> = (0..joined.len()).map(|number| [number as u8]).collect();
        let assignments = joined.iter().zip(&numbers);
        let assignments: Vec<(&str, &[u8])> =
            assignments.map(|(joined, number)| (&*joined.member, number.as_slice())).collect();
        let syncs: Vec<u64> = joined.iter().map(|joined| self.sync(joined, group, &assignments)).collect();
        let got: Vec<Vec<u8>> = syncs.iter().map(|sync| self.assignment(*sync)).collect();
        assert_eq!(got, numbers.iter().map(|number| number.to_vec()).collect::<Vec<_>>());
    }
}

pub fn code(reply: &Reply) -> ErrorCode {
    let of = |outcome: &Result<Vec<PartitionOutcome>, ErrorCode>| match outcome {
        Ok(partitions) => partitions.first().map_or(ErrorCode::None, |partition| partition.code),
        Err(code) => *code,
    };
    match reply {
        Reply::Join(join) => join.as_ref().map_or_else(|refused| refused.code, |_| ErrorCode::None),
        Reply::Sync(sync) => sync.as_ref().map_or_else(|code| *code, |_| ErrorCode::None),
        Reply::Heartbeat(code) | Reply::DeleteGroup(code) => *code,
        Reply::Leave(Ok(left)) => left[0].code,
        Reply::Leave(Err(code)) => *code,
        Reply::Commit(partitions) => of(&Ok(partitions.clone())),
        Reply::DeleteOffsets(outcome) => of(outcome),
        Reply::FetchOffsets(found) => found.as_ref().map_or_else(|code| *code, |_| ErrorCode::None),
        Reply::List(list) => list.as_ref().map_or_else(|code| *code, |_| ErrorCode::None),
        Reply::Describe(group) => group.as_ref().map_or_else(|code| *code, |_| ErrorCode::None),
    }
}
