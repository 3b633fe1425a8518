//! What a member asks, and what it is answered: the group's messages without what the driver knows anyway.
//!
//!     Call ── driver: group id, timeouts, instance id ─▶ coordinator ─▶ Result<Reply, Failure>
//!
//! `FindCoordinator` and `Topics` go to any broker, everything else to the coordinator. A reply with an
//! error is a `Failure::Refused`, but for `MemberIdRequired`, which is an answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use protocol::model::ErrorCode;

use super::super::assign::wire::Subscription;
use super::{Assignor, Generation, Member, PartitionCounts, Route};

/// One call; ids are not used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId(u64);

impl CallId {
    pub(super) fn new(id: u64) -> CallId {
        CallId(id)
    }
}

/// Who a member is to the coordinator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberState {
    pub member_id: Arc<str>,
    pub generation: Generation,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Call {
    FindCoordinator,
    /// How many partitions these have; those that do not exist are left out of the answer.
    Topics(Vec<Arc<str>>),
    Join {
        /// Empty for the first time.
        member_id: Arc<str>,
        /// The preferred one first, each with what the leader is to know.
        protocols: Vec<(Assignor, Vec<u8>)>,
    },
    Sync {
        state: MemberState,
        assignor: Assignor,
        /// From the leader, by member id.
        assignments: Vec<(Arc<str>, Vec<u8>)>,
    },
    Heartbeat(MemberState),
    Leave {
        member_id: Arc<str>,
    },
}

/// An answer that is what was asked for.
#[derive(Clone, Debug)]
pub enum Reply {
    Coordinator(Route),
    Topics(PartitionCounts),
    MemberIdRequired(Arc<str>),
    Joined(Joined),
    Synced(Bytes),
    /// To a heartbeat, and to the wish to leave.
    Done,
}

#[derive(Clone, Debug)]
pub struct Joined {
    pub generation: Generation,
    /// The assignor that all members offer.
    pub protocol: String,
    pub member_id: Arc<str>,
    /// Whether this member is to assign.
    pub is_leader: bool,
    /// The leader is to leave the assignment as it is (KIP-814).
    pub skip_assignment: bool,
    /// For the leader only.
    pub members: Vec<JoinedMember>,
}

#[derive(Clone, Debug)]
pub struct JoinedMember {
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub metadata: Bytes,
}

/// Not what was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    Refused(ErrorCode),
    /// No answer, or one that does not fit the question: it may have been done or not.
    Lost,
}

impl Joined {
    /// The members as the assignor sees them. What cannot be read of a member takes part as one that
    /// subscribes to nothing: it is that member's fault, and must not stop the others.
    pub(super) fn members(&self, assignor: Assignor) -> Vec<Member> {
        let one = |member: &JoinedMember| {
            let (id, instance_id) = (Arc::clone(&member.member_id), member.instance_id.clone());
            let subscription = Subscription::read(&member.metadata).unwrap_or_default();
            subscription.into_member(assignor, id, instance_id)
        };
        self.members.iter().map(one).collect()
    }

    /// Every topic that some member subscribes to.
    pub(super) fn topics(&self) -> Vec<Arc<str>> {
        let read = |member: &JoinedMember| Subscription::read(&member.metadata).unwrap_or_default().topics;
        let topics: BTreeSet<Arc<str>> = self.members.iter().flat_map(read).collect();
        topics.into_iter().collect()
    }
}
