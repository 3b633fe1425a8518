//! What the driver does: appends or not, makes durable, replies, restarts; and time, which passes.

use std::time::Duration;

use protocol::model::{ErrorCode, Timestamp};

use super::super::super::fixture::code;
use super::{Asked, Batch, GROUPS, Offsets, Parked, World, config, ids};
use crate::groups::records::{Key, read_key};
use crate::groups::*;

impl World {
    pub(super) fn call(
        &mut self,
        asked: Asked,
        call: impl FnOnce(&mut Coordinator, ReplyTo, Now, &mut Effects),
    ) -> u64 {
        self.call_then(asked, call, |_| {})
    }

    /// `then` is what the call does to the offsets, if it has records and they are stored.
    pub(super) fn call_then(
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

    pub(super) fn settle(&mut self, mut effects: Effects, then: impl FnOnce(&mut Offsets)) {
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
        let incarnations = GROUPS.map(|group| self.incarnation(group));
        let parked = |(to, reply): (ReplyTo, Reply)| Parked { batch, request: to.0, reply, incarnations };
        self.parked.extend(effects.replies.into_iter().map(parked));
    }

    /// How often the group was removed; its generations begin anew then.
    pub(super) fn incarnation(&self, group: &str) -> usize {
        let is_removal = |record: &&GroupRecord| {
            record.value.is_none() && read_key(&record.key) == Ok(Some(Key::Group { group }))
        };
        self.log.iter().filter(is_removal).count()
    }

    /// All batches but the last `open` become durable, and the replies up to them are sent.
    pub(super) fn flush(&mut self, open: usize) {
        self.durable = self.durable.max(self.batches.len().saturating_sub(open));
        let parked = std::mem::take(&mut self.parked);
        let (sent, kept) = parked.into_iter().partition(|parked: &Parked| parked.batch <= self.durable);
        self.parked = kept;
        for Parked { request, reply, incarnations, .. } in sent {
            self.deliver(request, reply, incarnations);
        }
    }

    pub(super) fn restart(&mut self) {
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
        for client in &mut self.clients {
            (client.waits_for, client.heard) = (None, None);
        }
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

    pub(super) fn jump(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.wall = Timestamp::from_millis(self.now.wall.millis() + time.as_millis() as i64);
    }

    pub(super) fn pass(&mut self) {
        let time = match self.dice.roll(10) {
            0 => Duration::from_secs(self.dice.roll(2000)),
            1..4 => Duration::from_secs(self.dice.roll(30)),
            _ => Duration::from_millis(self.dice.roll(3000)),
        };
        // Seldom the driver is late, and much is due at once.
        let is_late = self.dice.roll(5) == 0;
        self.pass_for(time, is_late);
    }

    pub(super) fn pass_for(&mut self, time: Duration, is_late: bool) {
        let end = self.now.instant + time;
        while let Some(at) = self.coordinator.deadline(self.now).filter(|at| *at <= end && !is_late) {
            self.jump(at.saturating_duration_since(self.now.instant));
            self.tick();
        }
        self.jump(end - self.now.instant);
        self.tick();
    }

    pub(super) fn tick(&mut self) {
        let members =
            |world: &World| world.coordinator.groups.values().map(|group| group.size()).sum::<usize>();
        let before = members(self);
        let alive = self.who_is_alive();
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
        for (group, member) in alive {
            let is_there = self.coordinator.groups[group].member(&member).is_some();
            assert!(is_there, "{member} of {group} was expelled, though it was heard of in time");
        }
        if members(self) < before {
            self.seen.mark("member expired");
        }
    }
}

pub(super) fn removed_offset(record: &GroupRecord) -> Option<(String, u64)> {
    match read_key(&record.key).expect("our own").expect("our own") {
        Key::Offset { group, partition, .. } if record.value.is_none() => {
            Some((group.to_owned(), u64::from(partition.get())))
        }
        _ => None,
    }
}
