//! What clients do: what a consumer of Kafka does, and what it should not.

use std::time::Duration;

use protocol::model::{ErrorCode, Offset, PartitionIndex};

use super::super::super::fixture::{SUBSCRIPTION, TOPIC, code};
use super::{Asked, Client, GROUPS, Identity, Offsets, PARTITIONS, World, encode};
use crate::groups::*;

impl World {
    pub(super) fn join_or_sync(&mut self, at: usize) {
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

    /// All clients of a group do what they should, for once.
    pub(super) fn come_to_rest(&mut self, group: usize) {
        let clients: Vec<usize> = (0..self.clients.len()).filter(|at| at % 2 == group).collect();
        for _ in 0..4 {
            for &at in &clients {
                let Client { owned, waits_for, .. } = &self.clients[at];
                match (owned, waits_for) {
                    (_, Some(_)) => {}
                    (Some(_), _) => self.heartbeat(at),
                    (None, _) => self.join_or_sync(at),
                }
            }
            self.flush(0);
            self.pass_for(Duration::from_millis(200), false);
            self.flush(0);
        }
    }

    pub(super) fn join(&mut self, at: usize) {
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

    pub(super) fn sync(&mut self, at: usize, joined: &Joined) {
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

    pub(super) fn heartbeat(&mut self, at: usize) {
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
            ErrorCode::None => self.clients[at].heard = Some(self.now.instant),
            ErrorCode::RebalanceInProgress if is_settled => self.join(at),
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId if is_settled => self.forget(at),
            _ => {}
        }
    }

    pub(super) fn leave(&mut self, at: usize) {
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
    pub(super) fn crash(&mut self, at: usize) {
        self.clients[at].waits_for = None;
        self.forget(at);
    }

    pub(super) fn forget(&mut self, at: usize) {
        let client = &mut self.clients[at];
        self.former.push(client.who.clone());
        client.who.member.clear();
        client.who.generation = -1;
        (client.joined, client.owned, client.heard) = (None, None, None);
    }

    pub(super) fn change_subscription(&mut self, at: usize) {
        let user_data = self.dice.roll(256) as u8;
        self.clients[at].subscription =
            [&SUBSCRIPTION[..SUBSCRIPTION.len() - 4], b"\0\0\0\x01", &[user_data]].concat();
    }

    pub(super) fn commit(&mut self, at: usize) {
        let Client { who, owned: Some(owned), .. } = &self.clients[at] else { return };
        let Some(partition) = owned.first().copied() else { return };
        self.next_offset += 1;
        let (who, offset) = (who.clone(), self.next_offset);
        self.send_commit(Some(who), partition, offset);
    }

    /// A request that was long under way, or a process that does not know that it is out.
    pub(super) fn commit_as_before(&mut self) {
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

    pub(super) fn commit_from_outside(&mut self) {
        let (partition, offset) = (self.dice.roll(PARTITIONS), self.dice.roll(10));
        self.send_commit(None, partition, offset);
    }

    pub(super) fn send_commit(&mut self, who: Option<Identity>, partition: u64, offset: u64) {
        let group = who.as_ref().map_or(GROUPS[self.dice.roll(2) as usize], |who| who.group);
        let is_zombie = who.as_ref().is_some_and(|who| self.was_told_better(who));
        let one = CommitPartition {
            partition: PartitionIndex::new(partition as u32),
            offset: Some(Offset::new(offset)),
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
    pub(super) fn was_told_better(&self, who: &Identity) -> bool {
        let later = (who.group, who.incarnation, who.generation + 1)..(who.group, usize::MAX, i32::MAX);
        self.told.range(later).any(|(_, told)| told.leader.is_some())
            || self.out.contains(&(self.lives, who.member.clone()))
    }

    pub(super) fn fetch(&mut self) {
        let group = GROUPS[self.dice.roll(2) as usize];
        self.call(Asked::Fetch(group), |coordinator, to, _, effects| {
            coordinator.fetch_offsets(group, None, to, effects);
        });
    }

    pub(super) fn delete(&mut self) {
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

    pub(super) fn delete_topic(&mut self) {
        self.coordinator.topics_deleted(&[TOPIC].into(), self.now);
        self.swept_at = Some(self.now.wall);
    }
}
