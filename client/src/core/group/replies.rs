//! What a member makes of an answer.
//!
//!     UnknownMemberId                         the id, and everything owned, is gone: join as a new member
//!     IllegalGeneration                       the group went on without us: everything owned is gone
//!     RebalanceInProgress                     let go of what must be, join again
//!     NotCoordinator, …NotAvailable, no answer    pause, find the coordinator again
//!     CoordinatorLoadInProgress, other retriable  pause, ask again
//!     FencedInstanceId, everything else       the end
//!
//! In the middle of a rebalance the same holds, except that a heartbeat's answer is only a sign of life:
//! what the Join or Sync itself is answered says more.

use super::*;
use crate::core::assign::wire::{read_assignment, write_assignment};

impl Membership {
    /// Takes in the answer to a call. `random` is uniform in 0 … 1.
    pub fn handle_reply(&mut self, now: Instant, id: CallId, reply: Result<Reply, Failure>, random: f64) {
        // What was over when the answer came is over, whatever the order in which they are looked at.
        self.handle_time(now);
        if self.finding == Some(id) {
            self.finding = None;
            return self.handle_found(now, reply, random);
        }
        if let Some(sent) = self.session.as_mut().and_then(|session| session.handle_answer(id)) {
            return self.handle_heartbeat(now, sent, reply, random);
        }
        let Some((_, sent)) = self.asked.take_if(|(asked, _)| *asked == id) else { return };
        match (&self.phase, reply) {
            (Phase::Leaving { .. }, _) => self.handle_gone(),
            (Phase::Joining, Ok(Reply::MemberIdRequired(member_id))) => {
                (self.member_id, self.phase) = (member_id, Phase::Unjoined);
            }
            (Phase::Joining, Ok(Reply::Joined(joined))) => self.handle_joined(now, sent, joined),
            (Phase::Assigning(_), Ok(Reply::Topics(counts))) => self.handle_topics(counts),
            (Phase::Syncing(_), Ok(Reply::Synced(bytes))) => self.handle_synced(now, sent, &bytes),
            (Phase::Assigning(_), _) => self.pause(now, random),
            (_, Err(failure)) => self.handle_failure(now, failure, random),
            (_, Ok(_)) => self.handle_failure(now, Failure::Lost, random),
        }
    }

    fn pause(&mut self, now: Instant, random: f64) {
        self.pause_until = Some(now + self.backoff.next_pause(random));
    }

    fn handle_found(&mut self, now: Instant, reply: Result<Reply, Failure>, random: f64) {
        match reply {
            Ok(Reply::Coordinator(route)) => {
                self.coordinator = Some(route);
                if let Some(session) = &mut self.session {
                    session.beat_again(now);
                }
            }
            Err(Failure::Refused(code)) if is_final(code) => self.fail(GroupError::Refused(code)),
            // Found or not, one leaves.
            _ if self.is_leaving() => self.handle_gone(),
            _ => self.pause(now, random),
        }
    }

    fn handle_gone(&mut self) {
        let stays_away = matches!(self.phase, Phase::Leaving { idle: true }) && self.busy_since.is_some();
        self.handle_left();
        if stays_away && !self.closing {
            self.phase = Phase::Expelled;
        }
    }

    fn handle_heartbeat(&mut self, now: Instant, sent: Instant, reply: Result<Reply, Failure>, random: f64) {
        let is_stable = matches!(self.phase, Phase::Stable);
        let is_alive = matches!(reply, Ok(_) | Err(Failure::Refused(ErrorCode::RebalanceInProgress)));
        if let Some(session) = self.session.as_mut().filter(|_| is_alive) {
            session.confirm(sent);
        }
        match reply {
            Ok(_) => {}
            Err(Failure::Refused(ErrorCode::RebalanceInProgress)) => self.rejoin |= is_stable,
            Err(failure) if is_stable => {
                self.handle_failure(now, failure, random);
                if let Some((session, until)) = self.session.as_mut().zip(self.pause_until) {
                    session.beat_again(until);
                }
            }
            // Not waited for a Join that is answered the same.
            Err(Failure::Refused(ErrorCode::UnknownMemberId)) if matches!(self.phase, Phase::Joining) => {
                self.forget_generation();
                self.lose_all();
            }
            Err(failure @ Failure::Refused(ErrorCode::UnknownMemberId)) if !self.is_leaving() => {
                self.asked = None;
                self.handle_failure(now, failure, random);
            }
            Err(_) => {}
        }
    }

    /// A Join, Sync or heartbeat that counts was not answered well.
    fn handle_failure(&mut self, now: Instant, failure: Failure, random: f64) {
        let was_stable = matches!(self.phase, Phase::Stable);
        match failure {
            Failure::Refused(ErrorCode::UnknownMemberId) => {
                self.forget_generation();
                self.member_id = "".into();
                self.lose_all();
                self.phase = Phase::Unjoined;
                self.pause(now, random);
            }
            Failure::Refused(ErrorCode::IllegalGeneration) => {
                self.forget_generation();
                self.lose_all();
                self.phase = Phase::Unjoined;
            }
            Failure::Refused(ErrorCode::RebalanceInProgress) => self.phase = Phase::Unjoined,
            Failure::Refused(ErrorCode::FencedInstanceId) => self.fail(GroupError::Fenced),
            Failure::Refused(code) if is_final(code) => self.fail(GroupError::Refused(code)),
            failure => {
                if is_elsewhere(failure) {
                    self.coordinator = None;
                }
                if !was_stable {
                    self.phase = Phase::Unjoined;
                }
                self.pause(now, random);
            }
        }
    }

    fn fail(&mut self, error: GroupError) {
        self.lose_all();
        self.end(Event::Failed(error));
    }

    fn handle_joined(&mut self, now: Instant, sent: Instant, joined: Joined) {
        let offered = Assignor::from_name(&joined.protocol);
        let Some(assignor) = offered.filter(|assignor| self.options.assignors.contains(assignor)) else {
            return self.fail(GroupError::UnknownAssignor(joined.protocol));
        };
        (self.assignor, self.generation) = (assignor, Some(joined.generation));
        self.member_id = Arc::clone(&joined.member_id);
        let mut session = Session::new(self.options.session_timeout, sent, now);
        if let Some(before) = &self.session {
            session.confirm(before.deadline(Duration::ZERO));
        }
        // The Join may have waited for others for longer than a session lasts. That loses nothing: what
        // is owned was kept by heartbeats meanwhile, and what comes is taken if its Sync is in time.
        self.session = Some(session);
        // The leader will know.
        self.expects_another = assignor.is_cooperative() && !joined.is_leader;
        self.phase =
            if joined.is_leader { Phase::Assigning(Box::new(joined)) } else { Phase::Syncing(Vec::new()) };
    }

    /// The leader knows all it needs.
    fn handle_topics(&mut self, counts: PartitionCounts) {
        let Phase::Assigning(joined) = &self.phase else { return };
        let wanted = joined.topics();
        let members = if joined.skip_assignment { Vec::new() } else { joined.members(self.assignor) };
        let given = self.assignor.assign(&members, &counts);
        let wanted_count: usize =
            wanted.iter().filter_map(|topic| counts.get(topic)).map(|n| *n as usize).sum();
        let given_count: usize = given.iter().map(Vec::len).sum();
        // What is held back is given in the next generation.
        self.expects_another = !joined.skip_assignment && given_count < wanted_count;
        let given = given.into_iter().map(write_assignment);
        let assignments = members.iter().map(|member| Arc::clone(&member.id)).zip(given).collect();
        // Topics that do not exist yet are watched too.
        let count = |topic: Arc<str>| (Arc::clone(&topic), counts.get(&topic).copied().unwrap_or(0));
        self.assigned_from = Some(wanted.into_iter().map(count).collect());
        self.phase = Phase::Syncing(assignments);
    }

    fn handle_synced(&mut self, now: Instant, sent: Instant, bytes: &[u8]) {
        let mut assigned = match read_assignment(bytes) {
            Ok(assigned) => assigned,
            Err(error) => return self.fail(GroupError::Assignment(error)),
        };
        let session = self.session.as_mut().expect("BUG: it lasts from Join on");
        session.confirm(sent);
        let is_late = session.deadline(self.options.session_timeout) <= now;
        self.phase = Phase::Stable;
        if is_late {
            return self.handle_session_lost();
        }
        if self.expects_another {
            session.expect_rebalance(now);
        }
        self.backoff.reset();
        if self.revoking.is_some() {
            // The application was told meanwhile to let go of what it has, because the member leaves. If it
            // is not to leave after all, that was another subscription, for which it joins again.
            assert!(self.rejoin || self.closing, "BUG: what is given here is read by nobody");
            return;
        }
        // What is not subscribed to any more goes with the next rebalance, which is wanted already.
        assigned.retain(|given| self.topics.contains(&given.topic));
        self.given = (assigned.clone(), self.generation);
        let assigned: BTreeSet<TopicPartition> = assigned.into_iter().collect();
        let leaving: BTreeSet<TopicPartition> = self.owned.difference(&assigned).cloned().collect();
        let added: Vec<TopicPartition> = assigned.difference(&self.owned).cloned().collect();
        assert!(
            self.is_cooperative() || self.owned.is_empty(),
            "BUG: an eager member joined with partitions"
        );
        // What was claimed and is given to nobody waits for the next generation, even if it was lost since.
        self.rejoin |= self.is_cooperative() && !self.claimed.is_subset(&assigned);
        self.owned.extend(added.iter().cloned());
        self.revoke(leaving);
        self.events.push_back(Event::Assigned(added));
    }
}

/// Whether asking again, here or elsewhere, cannot help.
fn is_final(code: ErrorCode) -> bool {
    !code.is_retriable()
}

/// Whether the coordinator may be another.
pub fn is_elsewhere(failure: Failure) -> bool {
    match failure {
        Failure::Lost => true,
        Failure::Refused(code) => {
            matches!(
                code,
                ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable | ErrorCode::ShuttingDown
            )
        }
    }
}
