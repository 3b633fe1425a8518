//! The rounds of a group: ask everybody to join, tell everybody the generation, have the leader assign.
//!
//!     prepare ──▶ joins wait ──▶ complete: generation + 1, record, replies ──▶ syncs wait ──▶ sync.rs
//!                    │ first round: at least the initial delay, longer while members come
//!                    │ all have joined, or the longest rebalance timeout is over
//!                    └ who has not come is out, unless it is static: its session decides
//!
//! A generation is stored before anybody is told of it. Kafka stores only what the leader assigned; then a
//! restart in between gives the same number to another set of members (`docs/decisions/0008`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::model::ErrorCode;

use super::State;
use super::api::{Effects, Reply};
use super::config::EXPIRY_INTERVAL;
use super::group::{Context, First, Group, Phase, refuse};
use super::member::{Member, Waiting};

/// Between two looks at a group all of whose static members are away.
const ALL_AWAY: Duration = Duration::from_secs(1);

impl Group {
    /// Asks everybody to join again.
    pub fn prepare(&mut self, context: Context<'_>, effects: &mut Effects) {
        let now = context.now.instant;
        let mut restarted = None;
        for member in self.members_mut() {
            member.owes_sync = false;
            if matches!(member.waiting, Waiting::Assignment(_)) {
                let waiting = std::mem::replace(&mut member.waiting, Waiting::Nothing);
                refuse(waiting, &member.id, ErrorCode::RebalanceInProgress, effects);
                restarted = earlier(restarted, member.restart_session(now));
            }
        }
        restarted.into_iter().for_each(|at| self.wake_by(at));
        let timeout = self.rebalance_timeout();
        let delay = context.config.initial_rebalance_delay.min(timeout);
        let is_first = self.state() == State::Empty && !delay.is_zero();
        let first = is_first.then_some(First { left: timeout - delay, has_grown: false });
        self.begin_phase(Phase { ends: now + if is_first { delay } else { timeout }, first });
        self.become_state(State::PreparingRebalance, context.now);
        self.complete_if_joined(context, effects);
    }

    /// The round goes on as soon as nobody is waited for.
    pub fn complete_if_joined(&mut self, context: Context<'_>, effects: &mut Effects) {
        let is_first = self.phase.is_some_and(|phase| phase.first.is_some());
        if self.state() == State::PreparingRebalance && !is_first && self.have_all_joined() {
            self.complete(context, effects);
        }
    }

    /// Ends the wait for joins: a generation of those who have come, or an empty group.
    fn complete(&mut self, context: Context<'_>, effects: &mut Effects) {
        let is_out = |member: &&Member| !member.waits_for_generation() && !member.is_static();
        let out: Vec<Arc<str>> = self.members().filter(is_out).map(|member| member.id.clone()).collect();
        out.iter().for_each(|id| _ = self.remove(id));
        if self.size() > 0 && self.joined() == 0 {
            let ends = context.now.instant + self.rebalance_timeout().max(ALL_AWAY);
            return self.begin_phase(Phase { ends, first: None });
        }
        self.generation = self.generation.next();
        self.phase = None;
        if self.size() == 0 {
            return self.become_empty(context, effects);
        }
        let has_joined = |id: &str| self.member(id).is_some_and(|member| member.waits_for_generation());
        if !self.leader.as_deref().is_some_and(has_joined) {
            let first = self.members().find(|member| member.waits_for_generation());
            let first = first.map(|member| member.id.clone());
            self.leader = first;
        }
        self.protocol =
            Some(self.vote().expect("BUG: a member joined that shares no protocol with the others"));
        self.become_state(State::CompletingRebalance, context.now);
        let ids: Vec<Arc<str>> = self.members().map(|member| member.id.clone()).collect();
        for id in &ids {
            self.assign(id, Bytes::new());
            self.tell_generation(id, context.now.instant, effects);
        }
        self.store(effects);
        self.begin_phase(Phase { ends: context.now.instant + self.rebalance_timeout(), first: None });
    }

    fn tell_generation(&mut self, id: &str, now: Instant, effects: &mut Effects) {
        let Waiting::Generation(to) = self.take_waiting(id) else { return };
        let member = self.member_mut(id).expect("BUG: the caller lists the members");
        member.is_new = false;
        member.owes_sync = true;
        let expires = member.restart_session(now);
        self.wake_by(expires);
        let member = self.member(id).expect("BUG: the caller lists the members");
        effects.reply(to, Reply::Join(Ok(self.joined_reply(member))));
    }

    fn become_empty(&mut self, context: Context<'_>, effects: &mut Effects) {
        self.protocol = None;
        self.leader = None;
        self.become_state(State::Empty, context.now);
        // A group that never came to a generation has left no trace yet, and needs none.
        if self.is_stored || !self.offsets.is_empty() {
            self.store(effects);
        }
        self.check_expiry_by(context.now.instant + EXPIRY_INTERVAL.min(context.config.offsets_retention));
    }

    /// Takes the member out; what it waits for is refused. The caller goes on with [`Group::after_removal`].
    pub fn expel(&mut self, id: &str, effects: &mut Effects) {
        if let Some(member) = self.remove(id) {
            refuse(member.waiting, &member.id, ErrorCode::UnknownMemberId, effects);
        }
    }

    /// The others get what the member had.
    pub fn after_removal(&mut self, context: Context<'_>, effects: &mut Effects) {
        match self.state() {
            State::Stable | State::CompletingRebalance => self.prepare(context, effects),
            State::PreparingRebalance => self.complete_if_joined(context, effects),
            State::Empty | State::Dead => {}
        }
    }

    /// What time has done: ids, members and phases end, offsets expire.
    pub fn tick(&mut self, context: Context<'_>, effects: &mut Effects) {
        let now = context.now.instant;
        let records = effects.records.len();
        self.pending.retain(|_, ends| now < *ends);
        let is_over = |member: &&Member| member.expires().is_some_and(|at| at <= now);
        let expired: Vec<Arc<str>> = self.members().filter(is_over).map(|member| member.id.clone()).collect();
        expired.iter().for_each(|id| self.expel(id, effects));
        if expired.is_empty() {
            self.complete_if_joined(context, effects);
        } else {
            self.after_removal(context, effects);
        }
        if self.phase.is_some_and(|phase| phase.ends <= now) {
            self.end_phase(context, effects);
        }
        // One thing at a time: what was just stored is not looked at before it is settled.
        if effects.records.len() == records {
            self.expire(context, effects);
        }
        self.due = self.next_due();
    }

    fn end_phase(&mut self, context: Context<'_>, effects: &mut Effects) {
        let now = context.now.instant;
        let phase = self.phase.take().expect("BUG: the caller has seen the phase");
        match (self.state(), phase.first) {
            (State::PreparingRebalance, Some(First { left, has_grown: true })) if !left.is_zero() => {
                let delay = context.config.initial_rebalance_delay.min(left);
                let first = First { left: left - delay, has_grown: false };
                self.begin_phase(Phase { ends: now + delay, first: Some(first) });
            }
            (State::PreparingRebalance, _) => self.complete(context, effects),
            (State::CompletingRebalance | State::Stable, _) => {
                let owing = self.members().filter(|member| member.owes_sync);
                let owing: Vec<Arc<str>> = owing.map(|member| member.id.clone()).collect();
                owing.iter().for_each(|id| self.expel(id, effects));
                if !owing.is_empty() {
                    self.after_removal(context, effects);
                }
            }
            (State::Empty | State::Dead, _) => {}
        }
    }

    /// The group's record could not be stored: what it said does not hold, so the members join again. An
    /// empty group has nobody to ask and is stored again later.
    pub fn handle_not_stored(&mut self, context: Context<'_>, effects: &mut Effects) {
        match self.state() {
            State::CompletingRebalance | State::Stable => self.prepare(context, effects),
            State::Empty => self.must_store = self.is_stored || !self.offsets.is_empty(),
            State::PreparingRebalance | State::Dead => {}
        }
    }

    pub fn begin_phase(&mut self, phase: Phase) {
        self.phase = Some(phase);
        self.wake_by(phase.ends);
    }

    /// Somebody new is in the first round: others may be about to come.
    pub fn extend_first_round(&mut self) {
        if let Some(Phase { first: Some(first), .. }) = &mut self.phase {
            first.has_grown = true;
        }
    }

    pub fn check_expiry_by(&mut self, at: Instant) {
        self.expiry = earlier(self.expiry, at);
        self.wake_by(at);
    }
}

impl Member {
    /// The member was heard of; returns when its silence ends its membership.
    pub fn restart_session(&mut self, now: Instant) -> Instant {
        self.deadline = now + self.session_timeout;
        self.deadline
    }
}

fn earlier(one: Option<Instant>, other: Instant) -> Option<Instant> {
    Some(one.map_or(other, |one| one.min(other)))
}
