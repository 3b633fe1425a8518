//! Between the coordinator and the log: what was stored becomes true, what was not is taken back, and what
//! the log holds is read again after a restart.
//!
//!     settle Ok    offset records, tombstones ──apply──▶ group         group records: true already
//!     settle Err   offset records: nothing has happened                group records: handle_not_stored
//!     replay       every record ──apply──▶ group      then loaded: sessions begin, rebalances go on

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::model::{ErrorCode, PartitionIndex, Timestamp};

use super::api::{Committed, Effects, Generation, Now};
use super::config::{EXPIRY_INTERVAL, STORE_RETRY};
use super::group::{Context, Group, Phase, refuse};
use super::member::{Member, Protocol, Waiting};
use super::offsets::instant_of;
use super::records::{self, GroupValue, Key, MemberValue, OffsetValue, RecordError};
use super::{Coordinator, State};

impl Coordinator {
    /// What became of the records of the last call: `Ok` when the log has accepted them, in one batch.
    /// Afterwards `effects` has replies only. Without records nothing is to be settled, and nothing happens.
    ///
    /// # Panics
    /// If the records are not those of the last call.
    pub fn settle(&mut self, effects: &mut Effects, outcome: Result<(), ErrorCode>, now: Now) {
        let records = std::mem::take(&mut effects.records);
        effects.bytes = 0;
        assert_eq!(self.is_unsettled, !records.is_empty(), "BUG: other records than those of the last call");
        if !std::mem::take(&mut self.is_unsettled) {
            return;
        }
        if let Err(code) = outcome {
            effects.replies.iter_mut().for_each(|(_, reply)| reply.refuse(code));
            self.sweep_from = Some(now.instant + STORE_RETRY).filter(|_| !self.swept.is_empty());
            self.sweeps.extend(self.swept.drain(..));
        }
        self.swept.clear();
        for record in &records {
            let key = records::read_key(&record.key).ok().flatten().expect("BUG: a record of our own");
            match (outcome, key, &record.value) {
                (Ok(()), Key::Group { group }, Some(_)) => self.handle_stored(group),
                (Ok(()), _, value) => {
                    self.apply(&record.key, value.as_deref(), now).expect("BUG: a record of our own");
                }
                (Err(_), key, value) => self.handle_refused(key, value.is_some(), now, effects),
            }
        }
        assert!(effects.records.is_empty(), "BUG: a refused record was followed by another");
    }

    fn handle_stored(&mut self, id: &str) {
        if let Some(group) = self.groups.get_mut(id) {
            group.is_stored = true;
            group.must_store = false;
        }
    }

    fn handle_refused(&mut self, key: Key<'_>, has_value: bool, now: Now, effects: &mut Effects) {
        let (Key::Group { group: id } | Key::Offset { group: id, .. }) = key;
        let context = Context { config: &self.config, now };
        let Some(group) = self.groups.get_mut(id) else { return };
        if has_value && matches!(key, Key::Group { .. }) {
            group.handle_not_stored(context, effects);
        }
        group.check_expiry_by(now.instant + STORE_RETRY);
        self.set_alarm(id);
    }

    /// Makes true what a record of the log says. Keys of other kinds are skipped.
    ///
    /// # Errors
    /// If the key is one of ours and the record cannot be read; then nothing has changed.
    pub fn apply(&mut self, key: &[u8], value: Option<&[u8]>, now: Now) -> Result<(), RecordError> {
        let Some(key) = records::read_key(key)? else { return Ok(()) };
        let (Key::Group { group: id } | Key::Offset { group: id, .. }) = key;
        match (key, value) {
            (Key::Offset { topic, partition, .. }, Some(value)) => {
                let value = records::read_offset(value)?;
                let retention = self.config.offsets_retention;
                self.group_or_new(id).apply_offset(topic, partition, &value, retention, now);
            }
            (Key::Offset { topic, partition, .. }, None) => {
                self.group_or_new(id).offsets.remove(topic, partition);
            }
            (Key::Group { .. }, Some(value)) => {
                let value = records::read_group(value)?;
                let expiry = now.instant + EXPIRY_INTERVAL.min(self.config.offsets_retention);
                let group = self.group_or_new(id);
                group.restore(&value, now);
                group.check_expiry_by(expiry);
            }
            (Key::Group { .. }, None) => self.group_or_new(id).restore_removed(),
        }
        self.set_alarm(id);
        Ok(())
    }

    fn group_or_new(&mut self, id: &str) -> &mut Group {
        if !self.groups.contains_key(id) {
            let id: Arc<str> = id.into();
            self.groups.insert(id.clone(), Box::new(Group::new(id)));
        }
        self.groups.get_mut(id).expect("BUG: inserted above")
    }

    /// The whole log has been applied. Members have a session from now on to be heard of, and groups that
    /// were not assigned yet have their members join again.
    pub fn loaded(&mut self, now: Now) {
        let mut ids: Vec<Arc<str>> = self.groups.keys().cloned().collect();
        ids.sort_unstable();
        for id in ids {
            if let Some(group) = self.groups.get_mut(&id) {
                group.handle_loaded(now);
            }
            self.set_alarm(&id);
        }
    }

    /// The coordinator ends, as its log failed or goes elsewhere: all who wait are refused. Settled or not,
    /// what is in memory is forgotten.
    pub fn unload(mut self, code: ErrorCode, effects: &mut Effects) {
        let mut groups: Vec<Box<Group>> = self.groups.drain().map(|(_, group)| group).collect();
        groups.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        for member in groups.iter().flat_map(|group| group.members()) {
            refuse(member.waiting, &member.id, code, effects);
        }
    }
}

impl Group {
    fn apply_offset(
        &mut self,
        topic: &str,
        partition: PartitionIndex,
        value: &OffsetValue<'_>,
        retention: Duration,
        now: Now,
    ) {
        let committed = Committed {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: value.metadata.into(),
            committed_at: value.committed_at,
        };
        self.offsets.insert(topic, partition, committed);
        let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let expires = Timestamp::from_millis(value.committed_at.millis().saturating_add(retention));
        self.check_expiry_by(instant_of(expires, now));
    }

    fn restore(&mut self, value: &GroupValue<'_>, now: Now) {
        self.remove_all();
        self.generation = Generation(value.generation);
        self.protocol_type = (!value.protocol_type.is_empty()).then(|| value.protocol_type.into());
        self.protocol = value.protocol.map(Arc::from);
        for member in &value.members {
            if self.member(member.id).is_none() {
                self.add(restored(member, value.protocol.unwrap_or_default(), now));
            }
        }
        self.leader = value.leader.map(Arc::from);
        let has_assignments = self.leader.is_some() && self.protocol.is_some();
        let state = match () {
            () if self.size() == 0 => State::Empty,
            () if has_assignments => State::Stable,
            () => State::PreparingRebalance,
        };
        self.restore_state(state, value.since);
        self.is_stored = true;
    }

    fn restore_removed(&mut self) {
        self.remove_all();
        self.generation = Generation::ZERO;
        (self.protocol_type, self.protocol) = (None, None);
        self.restore_state(State::Empty, Timestamp::NONE);
        (self.is_stored, self.must_store) = (false, false);
    }

    fn remove_all(&mut self) {
        let ids: Vec<Arc<str>> = self.members().map(|member| member.id.clone()).collect();
        ids.iter().for_each(|id| _ = self.remove(id));
        self.leader = None;
        self.phase = None;
    }

    fn handle_loaded(&mut self, now: Now) {
        let sessions = self.members_mut().map(|member| member.restart_session(now.instant)).min();
        sessions.into_iter().for_each(|at| self.wake_by(at));
        if self.state() == State::PreparingRebalance {
            self.begin_phase(Phase { ends: now.instant + self.rebalance_timeout(), first: None });
        }
    }
}

fn restored(value: &MemberValue<'_>, protocol: &str, now: Now) -> Member {
    let timeout = |millis: i32| Duration::from_millis(u64::try_from(millis).unwrap_or(0));
    let chosen = Protocol { name: protocol.into(), metadata: Bytes::copy_from_slice(value.subscription) };
    let session_timeout = timeout(value.session_timeout_ms);
    Member {
        id: value.id.into(),
        instance: value.instance.map(Arc::from),
        client_id: value.client_id.into(),
        client_host: value.client_host.into(),
        session_timeout,
        rebalance_timeout: timeout(value.rebalance_timeout_ms),
        protocols: Box::new([chosen]),
        assignment: Bytes::copy_from_slice(value.assignment),
        deadline: now.instant + session_timeout,
        waiting: Waiting::Nothing,
        is_new: false,
        owes_sync: false,
    }
}
