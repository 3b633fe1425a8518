//! SyncGroup and Heartbeat: what a member of a generation does.
//!
//!     leader's sync ──▶ record ──▶ stable: everybody who waits gets what the leader gave it
//!     other syncs       wait for it; later ones are answered at once
//!     heartbeat         the session starts again; the answer says whether to join again

use std::sync::Arc;

use bytes::Bytes;
use protocol::model::ErrorCode;

use super::State;
use super::api::{Effects, Heartbeat, Reply, ReplyTo, Sync, Synced};
use super::group::{Context, Group};
use super::member::{Member, Waiting};

impl Group {
    pub fn sync(&mut self, sync: &Sync<'_>, to: ReplyTo, context: Context<'_>, effects: &mut Effects) {
        match self.take_sync(sync, to, context, effects) {
            Ok(Some(synced)) => effects.reply(to, Reply::Sync(Ok(synced))),
            Ok(None) => {}
            Err(code) => effects.reply(to, Reply::Sync(Err(code))),
        }
    }

    /// `None` if the reply has been given or waits.
    fn take_sync(
        &mut self,
        sync: &Sync<'_>,
        to: ReplyTo,
        context: Context<'_>,
        effects: &mut Effects,
    ) -> Result<Option<Synced>, ErrorCode> {
        self.check_generation(sync.member, sync.instance, sync.generation)?;
        let is_other = |own: &Option<Arc<str>>, said: Option<&str>| said.is_some() && own.as_deref() != said;
        if is_other(&self.protocol_type, sync.protocol_type) || is_other(&self.protocol, sync.protocol) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.state() {
            State::Empty | State::Dead => Err(ErrorCode::UnknownMemberId),
            State::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            State::CompletingRebalance => {
                let is_leader = self.is_leader(sync.member);
                if is_leader {
                    self.check_assignments(sync, context)?;
                }
                let waiting = Waiting::Assignment(to);
                self.wait(sync.member, waiting, ErrorCode::RebalanceInProgress, effects);
                self.synced(sync.member, context);
                if is_leader {
                    self.take_assignments(sync, context, effects);
                }
                Ok(None)
            }
            State::Stable => {
                self.synced(sync.member, context);
                Ok(self.member(sync.member).map(|member| self.synced_reply(member)))
            }
        }
    }

    fn synced(&mut self, id: &str, context: Context<'_>) {
        let member = self.member_mut(id).expect("BUG: the caller has checked the member");
        member.owes_sync = false;
        let expires = member.restart_session(context.now.instant);
        self.wake_by(expires);
    }

    /// One record must hold them all.
    fn check_assignments(&self, sync: &Sync<'_>, context: Context<'_>) -> Result<(), ErrorCode> {
        let to_members = sync.assignments.iter().filter(|(id, _)| self.member(id).is_some());
        let bytes: usize = to_members.map(|(_, assignment)| assignment.len()).sum();
        let fits = self.held_bytes() + bytes <= context.config.group_bytes_max;
        if fits { Ok(()) } else { Err(ErrorCode::MessageTooLarge) }
    }

    /// The leader has assigned: the group is stable. Who was not thought of has nothing.
    fn take_assignments(&mut self, sync: &Sync<'_>, context: Context<'_>, effects: &mut Effects) {
        for (id, assignment) in sync.assignments.iter().filter(|(id, _)| !id.is_empty()) {
            if self.member(id).is_some() {
                self.assign(id, Bytes::copy_from_slice(assignment));
            }
        }
        self.become_state(State::Stable, context.now);
        self.store(effects);
        let waits = |member: &&Member| matches!(member.waiting, Waiting::Assignment(_));
        let ids: Vec<Arc<str>> = self.members().filter(waits).map(|member| member.id.clone()).collect();
        for id in ids {
            let Waiting::Assignment(to) = self.take_waiting(&id) else { continue };
            self.synced(&id, context);
            let member = self.member(&id).expect("BUG: members were listed above");
            effects.reply(to, Reply::Sync(Ok(self.synced_reply(member))));
        }
    }

    pub fn heartbeat(&mut self, heartbeat: &Heartbeat<'_>, context: Context<'_>) -> ErrorCode {
        let Heartbeat { member, instance, generation, .. } = *heartbeat;
        if let Err(code) = self.check_generation(member, instance, generation) {
            return code;
        }
        self.heard_of(member, context);
        match self.state() {
            State::Stable | State::CompletingRebalance => ErrorCode::None,
            State::PreparingRebalance => ErrorCode::RebalanceInProgress,
            State::Empty | State::Dead => ErrorCode::UnknownMemberId,
        }
    }

    /// The group need not be woken earlier for it: a deadline only moves away.
    pub fn heard_of(&mut self, id: &str, context: Context<'_>) {
        let now = context.now.instant;
        if let Some(member) = self.member_mut(id).filter(|member| !member.is_new) {
            member.restart_session(now);
        }
    }
}
