//! Kafka's rules for a group, without static members: the other side of a `Membership`.
//!
//!     Empty ──Join──▶ Preparing ──all have joined, or time is up──▶ Completing ──leader's Sync──▶ Stable
//!                         ▲                                                                      │
//!                         └──────────── Join, Leave, a session without a sign of life ◀──────────┘

use std::collections::{BTreeMap, BTreeSet};

use super::super::*;
use super::{MAX_POLL, SESSION};

/// Who waits for an answer: member and call.
pub(super) type Asker = (usize, CallId);
pub(super) type Answer = Result<Reply, Failure>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Empty,
    Preparing { until: Instant },
    Completing,
    Stable,
}

struct Known {
    session_until: Instant,
    protocols: Vec<(Assignor, Vec<u8>)>,
    joining: Option<Asker>,
    syncing: Option<Asker>,
    assignment: Vec<u8>,
}

/// Kafka's rules for a group, without static members.
pub(super) struct Coordinator {
    state: State,
    pub(super) generation: i32,
    members: BTreeMap<Arc<str>, Known>,
    promised: BTreeSet<Arc<str>>,
    leader: Arc<str>,
    ids: usize,
    pub(super) answers: Vec<(Asker, Answer)>,
}

pub(super) fn refused(code: ErrorCode) -> Answer {
    Err(Failure::Refused(code))
}

impl Coordinator {
    pub(super) fn new() -> Coordinator {
        let (members, promised, answers) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        Coordinator {
            state: State::Empty,
            generation: 0,
            members,
            promised,
            leader: "".into(),
            ids: 0,
            answers,
        }
    }

    pub(super) fn handle(&mut self, now: Instant, asker: Asker, call: Call) {
        let answer = match call {
            Call::Join { member_id, protocols } => self.join(now, asker, member_id, protocols),
            Call::Sync { state, assignments, .. } => self.sync(now, asker, &state, assignments),
            Call::Heartbeat(state) => Some(self.heartbeat(now, &state)),
            Call::Leave { member_id } => {
                let known = self.members.remove(&member_id).is_some();
                if known {
                    self.prepare(now);
                }
                Some(if known { Ok(Reply::Done) } else { refused(ErrorCode::UnknownMemberId) })
            }
            Call::FindCoordinator | Call::Topics(_) => unreachable!("answered by any broker"),
        };
        self.answers.extend(answer.map(|answer| (asker, answer)));
    }

    fn join(
        &mut self,
        now: Instant,
        asker: Asker,
        id: Arc<str>,
        protocols: Vec<(Assignor, Vec<u8>)>,
    ) -> Option<Answer> {
        if id.is_empty() {
            self.ids += 1;
            let id: Arc<str> = format!("member-{:04}", self.ids).into();
            self.promised.insert(Arc::clone(&id));
            return Some(Ok(Reply::MemberIdRequired(id)));
        }
        if !self.members.contains_key(&id) && !self.promised.remove(&id) {
            return Some(refused(ErrorCode::UnknownMemberId));
        }
        let joining = Some(asker);
        let (session_until, assignment) = (now + SESSION, Vec::new());
        self.members.insert(id, Known { session_until, protocols, joining, syncing: None, assignment });
        self.prepare(now);
        None
    }

    /// A rebalance begins, unless one has.
    fn prepare(&mut self, now: Instant) {
        for member in self.members.values_mut() {
            let again = member.syncing.take().map(|asker| (asker, refused(ErrorCode::RebalanceInProgress)));
            self.answers.extend(again);
        }
        if !matches!(self.state, State::Preparing { .. }) {
            self.state = State::Preparing { until: now + MAX_POLL };
        }
    }

    fn sync(
        &mut self,
        now: Instant,
        asker: Asker,
        by: &MemberState,
        parts: Vec<(Arc<str>, Vec<u8>)>,
    ) -> Option<Answer> {
        if let Err(code) = self.check(by) {
            return Some(refused(code));
        }
        let member = self.members.get_mut(&by.member_id).expect("checked");
        member.session_until = now + SESSION;
        match self.state {
            State::Stable => Some(Ok(Reply::Synced(member.assignment.clone().into()))),
            State::Completing => {
                member.syncing = Some(asker);
                if by.member_id == self.leader {
                    self.complete_sync(now, parts);
                }
                None
            }
            _ => Some(refused(ErrorCode::RebalanceInProgress)),
        }
    }

    fn complete_sync(&mut self, now: Instant, parts: Vec<(Arc<str>, Vec<u8>)>) {
        for (id, part) in parts {
            self.members.get_mut(&id).expect("the leader assigns to members").assignment = part;
        }
        self.state = State::Stable;
        for member in self.members.values_mut() {
            if let Some(asker) = member.syncing.take() {
                member.session_until = now + SESSION;
                self.answers.push((asker, Ok(Reply::Synced(member.assignment.clone().into()))));
            }
        }
    }

    pub(super) fn check(&self, by: &MemberState) -> Result<(), ErrorCode> {
        if !self.members.contains_key(&by.member_id) {
            return Err(ErrorCode::UnknownMemberId);
        }
        let is_current = Generation::from_wire(self.generation) == Some(by.generation);
        if is_current { Ok(()) } else { Err(ErrorCode::IllegalGeneration) }
    }

    fn heartbeat(&mut self, now: Instant, by: &MemberState) -> Answer {
        self.check(by).map_err(Failure::Refused)?;
        self.members.get_mut(&by.member_id).expect("checked").session_until = now + SESSION;
        match self.state {
            State::Preparing { .. } => refused(ErrorCode::RebalanceInProgress),
            _ => Ok(Reply::Done),
        }
    }

    /// Sessions and rebalances end.
    pub(super) fn tick(&mut self, now: Instant) {
        let before = self.members.len();
        // Who waits for a Join is not asked for a sign of life.
        self.members.retain(|_, member| member.joining.is_some() || now < member.session_until);
        if self.members.len() < before {
            self.prepare(now);
        }
        let State::Preparing { until } = self.state else { return };
        if until <= now {
            self.members.retain(|_, member| member.joining.is_some());
        }
        if self.members.is_empty() {
            self.state = State::Empty;
        } else if self.members.values().all(|member| member.joining.is_some()) {
            self.complete_join(now);
        }
    }

    fn complete_join(&mut self, now: Instant) {
        self.generation += 1;
        self.state = State::Completing;
        if !self.members.contains_key(&self.leader) {
            self.leader = Arc::clone(self.members.keys().next().expect("not empty"));
        }
        let first = &self.members[&self.leader].protocols;
        let everybody = |assignor: &Assignor| {
            self.members.values().all(|member| member.protocols.iter().any(|(other, _)| other == assignor))
        };
        let picked =
            first.iter().map(|(assignor, _)| *assignor).find(everybody).expect("tests offer one alike");
        let metadata = |known: &Known| {
            let offer = known.protocols.iter().find(|(assignor, _)| *assignor == picked);
            offer.expect("everybody has it").1.clone().into()
        };
        let one = |(id, known): (&Arc<str>, &Known)| JoinedMember {
            member_id: Arc::clone(id),
            instance_id: None,
            metadata: metadata(known),
        };
        let all: Vec<JoinedMember> = self.members.iter().map(one).collect();
        for (id, member) in &mut self.members {
            let is_leader = *id == self.leader;
            let joined = Joined {
                generation: Generation::from_wire(self.generation).expect("counted up from 0"),
                protocol: picked.name().to_owned(),
                member_id: Arc::clone(id),
                is_leader,
                skip_assignment: false,
                members: if is_leader { all.clone() } else { Vec::new() },
            };
            (member.session_until, member.assignment) = (now + SESSION, Vec::new());
            let asker = member.joining.take().expect("all join");
            self.answers.push((asker, Ok(Reply::Joined(joined))));
        }
    }
}
