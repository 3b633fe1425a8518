//! What must hold, and what becomes of a client when it is answered.

use std::collections::BTreeSet;
use std::time::Duration;

use protocol::model::{ErrorCode, PartitionIndex};

use super::super::super::fixture::{TOPIC, code};
use super::{Asked, Client, GROUPS, Identity, Offsets, PARTITIONS, RETENTION, World, decode};
use crate::groups::*;

impl World {
    pub(super) fn check_removal(&mut self, (group, partition): &(String, u64)) {
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

    /// Members of stable groups that have their assignments, and whose session cannot be over.
    pub(super) fn who_is_alive(&self) -> Vec<(&'static str, String)> {
        let shortest = Duration::from_secs(6);
        let is_alive = |client: &&Client| {
            let who = &client.who;
            let group = self.coordinator.groups.get(who.group);
            let is_member = group.is_some_and(|group| {
                group.state() == State::Stable
                    && group.member(&who.member).is_some_and(|member| !member.owes_sync)
            });
            is_member && client.heard.is_some_and(|heard| self.now.instant < heard + shortest)
        };
        let alive = self.clients.iter().filter(is_alive);
        alive.map(|client| (client.who.group, client.who.member.clone())).collect()
    }

    pub(super) fn check(&mut self) {
        self.coordinator.groups.values().for_each(|group| group.assert_consistent());
        let parked: BTreeSet<u64> = self.parked.iter().map(|parked| parked.request).collect();
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

    pub(super) fn deliver(&mut self, request: u64, reply: Reply, incarnations: [usize; 2]) {
        let asked = self.asked.remove(&request).expect("answered twice, or not asked");
        for client in &mut self.clients {
            client.waits_for.take_if(|waits| *waits == request);
        }
        match (asked, reply) {
            (Asked::Join(at), Reply::Join(reply)) => self.deliver_join(at, reply, incarnations),
            (Asked::Sync(at, who), Reply::Sync(reply)) => self.deliver_sync(at, &who, reply),
            (Asked::Leave(who), reply) if code(&reply).is_ok() => {
                self.out.insert((self.lives, who.member));
            }
            (Asked::Commit { who: Some(who), is_zombie }, reply) => {
                assert!(!(is_zombie && code(&reply).is_ok()), "a zombie has committed: {who:?}");
                self.seen.mark(if is_zombie { "zombie refused" } else { "commit acknowledged" });
            }
            (Asked::Fetch(group), reply) => assert!(code(&reply).is_ok(), "{group}"),
            _ => {}
        }
    }

    pub(super) fn deliver_join(
        &mut self,
        at: usize,
        reply: Result<Joined, JoinRefused>,
        incarnations: [usize; 2],
    ) {
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
        let incarnation = incarnations[usize::from(group == GROUPS[1])];
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

    pub(super) fn deliver_sync(&mut self, at: usize, who: &Identity, reply: Result<Synced, ErrorCode>) {
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
