//! JoinGroup: who may be a member, and whether its coming changes the group.
//!
//!     no id, no instance    an id first (v4), or a member at once ──────────────▶ rebalance
//!     no id, instance       new: a member; known: takes the place of the old one ─▶ none, if the group is
//!                                                                                    stable (KIP-345)
//!     id, nothing changed   what the generation is; a leader means a rebalance by it
//!     id, other metadata    rebalance
//!
//! Checks come in Kafka's order, as clients act on the codes.

use std::sync::Arc;

use protocol::model::ErrorCode;

use super::api::{Effects, Generation, Join, JoinRefused, Joined, Reply, ReplyTo};
use super::config::{ID_BYTES_MAX, NAME_BYTES_MAX, NEW_MEMBER_JOIN_TIMEOUT, PROTOCOLS_MAX};
use super::group::{Context, Group, refuse};
use super::member::{Member, Waiting, protocols};
use super::{GroupConfig, State};

/// What can be said without the group.
pub(super) fn check_join(join: &Join<'_>, config: &GroupConfig) -> Result<(), ErrorCode> {
    if !(config.session_timeout_min..=config.session_timeout_max).contains(&join.session_timeout) {
        return Err(ErrorCode::InvalidSessionTimeout);
    }
    if join.instance.is_some_and(|instance| instance.is_empty() || ID_BYTES_MAX < instance.len()) {
        return Err(ErrorCode::InvalidRequest);
    }
    let names = join.protocols.iter().map(|(name, _)| *name).chain([join.protocol_type]);
    let are_short = names.into_iter().all(|name| name.len() <= NAME_BYTES_MAX);
    if !are_short || PROTOCOLS_MAX < join.protocols.len() {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    let twice = |at: usize| join.protocols[..at].iter().any(|(name, _)| *name == join.protocols[at].0);
    if (0..join.protocols.len()).any(twice) {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    Ok(())
}

/// Refuses with the code and the member id of the request.
pub(super) fn refuse_join(join: &Join<'_>, code: ErrorCode, to: ReplyTo, effects: &mut Effects) {
    effects.reply(to, Reply::Join(Err(JoinRefused { code, member: join.member.into() })));
}

impl Group {
    /// `new_id` is used if the member has no id.
    pub fn join(
        &mut self,
        join: &Join<'_>,
        new_id: String,
        to: ReplyTo,
        context: Context<'_>,
        effects: &mut Effects,
    ) {
        let outcome = if join.member.is_empty() {
            self.join_without_id(join, new_id.into(), to, context, effects)
        } else {
            self.join_with_id(join, to, context, effects)
        };
        if let Err(refused) = outcome {
            effects.reply(to, Reply::Join(Err(refused)));
        }
    }

    fn join_without_id(
        &mut self,
        join: &Join<'_>,
        id: Arc<str>,
        to: ReplyTo,
        context: Context<'_>,
        effects: &mut Effects,
    ) -> Result<(), JoinRefused> {
        let refused = |code| JoinRefused { code, member: "".into() };
        if !self.fits(join.protocol_type, join.protocols) {
            return Err(refused(ErrorCode::InconsistentGroupProtocol));
        }
        let known = join.instance.and_then(|instance| self.member_of_instance(instance)).cloned();
        self.check_room(join, known.as_deref(), context).map_err(refused)?;
        if let Some(old) = known {
            self.replace(&old, id, join, to, context, effects);
        } else if join.instance.is_none() && join.member_id_required {
            let ends = context.now.instant + join.session_timeout;
            self.pending.insert(id.clone(), ends);
            self.wake_by(ends);
            return Err(JoinRefused { code: ErrorCode::MemberIdRequired, member: id });
        } else {
            self.admit(join, id, to, context, effects);
        }
        Ok(())
    }

    fn join_with_id(
        &mut self,
        join: &Join<'_>,
        to: ReplyTo,
        context: Context<'_>,
        effects: &mut Effects,
    ) -> Result<(), JoinRefused> {
        let id: Arc<str> = join.member.into();
        let refused = |code| JoinRefused { code, member: id.clone() };
        if !self.fits(join.protocol_type, join.protocols) {
            return Err(refused(ErrorCode::InconsistentGroupProtocol));
        }
        if join.instance.is_none() && self.pending.contains_key(join.member) {
            self.check_room(join, None, context).map_err(refused)?;
            self.pending.remove(join.member);
            self.admit(join, id, to, context, effects);
            return Ok(());
        }
        self.check_member(join.member, join.instance).map_err(refused)?;
        self.check_room(join, Some(join.member), context).map_err(refused)?;
        self.join_again(join, to, context, effects);
        Ok(())
    }

    /// Of one who calls itself a member.
    pub fn check_member(&self, id: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            let owner = self.member_of_instance(instance).ok_or(ErrorCode::UnknownMemberId)?;
            if **owner != *id {
                return Err(ErrorCode::FencedInstanceId);
            }
        }
        self.member(id).map(|_| ()).ok_or(ErrorCode::UnknownMemberId)
    }

    /// Whether the group may hold what joins; `instead` is the member whose place it takes.
    fn check_room(
        &self,
        join: &Join<'_>,
        instead: Option<&str>,
        context: Context<'_>,
    ) -> Result<(), ErrorCode> {
        let before = instead.and_then(|id| self.member(id));
        // An id that was given out has its place already.
        let has_place = before.is_some() || self.pending.contains_key(join.member);
        if !has_place && context.config.size_max <= self.size() + self.pending.len() {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        let held = self.held_bytes() - before.map_or(0, Member::bytes);
        let more = Member::new("".into(), join, context.now.instant).bytes();
        if context.config.group_bytes_max < held + more {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        Ok(())
    }

    /// A new member, which waits for its first generation.
    fn admit(
        &mut self,
        join: &Join<'_>,
        id: Arc<str>,
        to: ReplyTo,
        context: Context<'_>,
        effects: &mut Effects,
    ) {
        let deadline = context.now.instant + NEW_MEMBER_JOIN_TIMEOUT;
        let mut member = Member::new(id, join, deadline);
        member.waiting = Waiting::Generation(to);
        if self.size() == 0 {
            self.protocol_type = Some(join.protocol_type.into());
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.add(member);
        self.wake_by(deadline);
        if self.state() == State::PreparingRebalance {
            self.extend_first_round();
            self.complete_if_joined(context, effects);
        } else {
            self.prepare(context, effects);
        }
    }

    /// A member joins once more.
    fn join_again(&mut self, join: &Join<'_>, to: ReplyTo, context: Context<'_>, effects: &mut Effects) {
        let member = self.member(join.member).expect("BUG: the caller has checked the member");
        let is_same = member.offers(join.protocols);
        let tells_generation = match self.state() {
            // It may have missed the reply.
            State::CompletingRebalance => is_same,
            // A leader joins to have partitions assigned anew, say of a topic that has grown.
            State::Stable => is_same && !self.is_leader(join.member),
            _ => false,
        };
        if tells_generation {
            let expires =
                self.member_mut(join.member).map(|member| member.restart_session(context.now.instant));
            expires.into_iter().for_each(|at| self.wake_by(at));
            let member = self.member(join.member).expect("BUG: the caller has checked the member");
            effects.reply(to, Reply::Join(Ok(self.joined_reply(member))));
            return;
        }
        self.update(join, join.member, to, context, effects);
        if self.state() == State::PreparingRebalance {
            self.complete_if_joined(context, effects);
        } else {
            self.prepare(context, effects);
        }
    }

    /// What the member offers now, and that it waits. While another of its requests waits, that one is
    /// answered: its client has given it up.
    fn update(
        &mut self,
        join: &Join<'_>,
        id: &str,
        to: ReplyTo,
        context: Context<'_>,
        effects: &mut Effects,
    ) {
        let now = context.now.instant;
        self.change(id, |member| {
            member.protocols = protocols(join);
            member.session_timeout = join.session_timeout;
            member.rebalance_timeout = join.rebalance_timeout;
            if !member.is_new {
                member.restart_session(now);
            }
        });
        self.wait(id, Waiting::Generation(to), ErrorCode::RebalanceInProgress, effects);
        let deadline = self.member(id).map(|member| member.deadline);
        deadline.into_iter().for_each(|at| self.wake_by(at));
    }

    /// A static member comes back without its id: it gets a new one, and who has the old one is fenced.
    fn replace(
        &mut self,
        old: &str,
        id: Arc<str>,
        join: &Join<'_>,
        to: ReplyTo,
        context: Context<'_>,
        effects: &mut Effects,
    ) {
        let leader_before = self.leader.clone();
        let waited = self.take_waiting(old);
        refuse(waited, &old.into(), ErrorCode::FencedInstanceId, effects);
        let was_leader = self.is_leader(old);
        let mut member = *self.remove(old).expect("BUG: instances name members");
        member.id = id.clone();
        self.add(member);
        if was_leader {
            self.leader = Some(id.clone());
        }
        self.update(join, &id, to, context, effects);
        match self.state() {
            State::Stable if self.vote() == self.protocol => {
                self.take_waiting(&id);
                self.store(effects);
                let member = self.member(&id).expect("BUG: it was added above");
                let reply = self.replaced_reply(member, leader_before, join.can_skip_assignment);
                effects.reply(to, Reply::Join(Ok(reply)));
            }
            // The leader may have assigned to the old id already.
            State::Stable | State::CompletingRebalance => self.prepare(context, effects),
            State::PreparingRebalance => self.complete_if_joined(context, effects),
            State::Empty | State::Dead => unreachable!("BUG: a group without members has a static one"),
        }
    }

    /// The generation goes on. A leader that cannot be told to skip the assignment is told the old leader's
    /// id, so that it does not take itself for the leader: nobody would hear what it assigns.
    fn replaced_reply(&self, member: &Member, leader_before: Option<Arc<str>>, can_skip: bool) -> Joined {
        let mut joined = self.joined_reply(member);
        if can_skip {
            joined.skip_assignment = self.is_leader(&member.id);
        } else {
            joined.members.clear();
            joined.leader = leader_before.unwrap_or_default();
        }
        joined
    }

    /// Of one who is in the group and says which generation it means.
    pub fn check_generation(
        &self,
        id: &str,
        instance: Option<&str>,
        generation: Generation,
    ) -> Result<(), ErrorCode> {
        self.check_member(id, instance)?;
        if generation == self.generation { Ok(()) } else { Err(ErrorCode::IllegalGeneration) }
    }
}
