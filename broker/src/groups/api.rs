//! What is asked of the coordinator and what it answers: plain structs, no wire.
//!
//!     Join, Sync, … (borrowed from the request's bytes) ──▶ Coordinator ──▶ Effects { records, replies }
//!
//! Replies own what they say and may be sent to another shard.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::model::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, Timestamp};

use super::State;
use super::records::GroupRecord;

/// The two clocks: one for timeouts, which only goes forward, one for what is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    pub instant: Instant,
    pub wall: Timestamp,
}

/// Which request a reply answers; the driver knows what the number means.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReplyTo(pub u64);

/// How often a group has been put together; every assignment is of one generation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Generation(pub i32);

impl Generation {
    /// Of one who takes no part in the group and only stores offsets.
    pub const NONE: Generation = Generation(-1);
    /// Of a group that nobody has joined yet.
    pub const ZERO: Generation = Generation(0);

    /// After 2^31 − 1 comes 1: bytes from a disk must not make a bug of it.
    pub(super) fn next(self) -> Generation {
        Generation(self.0.checked_add(1).unwrap_or(1))
    }
}

/// A member asks to be in the next generation, or what the present one is.
#[derive(Clone, Copy, Debug)]
pub struct Join<'a> {
    pub group: &'a str,
    /// Empty from one who has no id yet.
    pub member: &'a str,
    /// `group.instance.id` (KIP-345): the member is static.
    pub instance: Option<&'a str>,
    pub client_id: &'a str,
    pub client_host: &'a str,
    pub session_timeout: Duration,
    /// How long the others wait for this member in a rebalance (KIP-62).
    pub rebalance_timeout: Duration,
    pub protocol_type: &'a str,
    /// Name and metadata, the preferred first.
    pub protocols: &'a [(&'a str, &'a [u8])],
    /// A member without an id gets one in an error and joins again with it (KIP-394; JoinGroup v4).
    pub member_id_required: bool,
    /// A static leader may be told to keep what is assigned (KIP-814; JoinGroup v9).
    pub can_skip_assignment: bool,
}

/// A member asks for its assignment; the leader brings everybody's.
#[derive(Clone, Copy, Debug)]
pub struct Sync<'a> {
    pub group: &'a str,
    pub generation: Generation,
    pub member: &'a str,
    pub instance: Option<&'a str>,
    /// If given, it must be the group's (SyncGroup v5).
    pub protocol_type: Option<&'a str>,
    /// If given, it must be the group's (SyncGroup v5).
    pub protocol: Option<&'a str>,
    /// By member id; only the leader's count.
    pub assignments: &'a [(&'a str, &'a [u8])],
}

/// A member says that it lives.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat<'a> {
    pub group: &'a str,
    pub generation: Generation,
    pub member: &'a str,
    pub instance: Option<&'a str>,
}

/// Members leave, or are made to by an administrator.
#[derive(Clone, Copy, Debug)]
pub struct Leave<'a> {
    pub group: &'a str,
    pub members: &'a [Leaving<'a>],
}

/// One member of a [`Leave`]; the id may be empty if the instance says who it is.
#[derive(Clone, Copy, Debug)]
pub struct Leaving<'a> {
    pub member: &'a str,
    pub instance: Option<&'a str>,
}

/// A member, or one who manages its partitions by itself, stores how far it has read.
#[derive(Clone, Copy, Debug)]
pub struct Commit<'a> {
    pub group: &'a str,
    /// [`Generation::NONE`] from one outside of the group.
    pub generation: Generation,
    pub member: &'a str,
    pub instance: Option<&'a str>,
    pub topics: &'a [(&'a str, &'a [CommitPartition<'a>])],
}

/// One partition of a [`Commit`].
#[derive(Clone, Copy, Debug)]
pub struct CommitPartition<'a> {
    pub partition: PartitionIndex,
    /// `None` takes away what was committed before.
    pub offset: Option<Offset>,
    pub leader_epoch: Option<LeaderEpoch>,
    pub metadata: &'a str,
}

/// Topics and their partitions.
pub type Partitions<'a> = [(&'a str, &'a [PartitionIndex])];

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    Join(Result<Joined, JoinRefused>),
    Sync(Result<Synced, ErrorCode>),
    Heartbeat(ErrorCode),
    /// One entry for each member of the request, in its order.
    Leave(Result<Vec<Left>, ErrorCode>),
    /// One entry for each partition of the request, in its order.
    Commit(Vec<PartitionOutcome>),
    /// Those that were asked for, in their order; or all there are, by topic and partition.
    FetchOffsets(Result<Vec<FetchedOffset>, ErrorCode>),
    DeleteOffsets(Result<Vec<PartitionOutcome>, ErrorCode>),
    DeleteGroup(ErrorCode),
    /// By group id.
    List(Result<Vec<ListedGroup>, ErrorCode>),
    Describe(Result<DescribedGroup, ErrorCode>),
}

impl Reply {
    /// Makes an error of it, as nothing of what it says is stored.
    pub fn refuse(&mut self, code: ErrorCode) {
        match self {
            Reply::Join(join) => *join = Err(JoinRefused { code, member: "".into() }),
            Reply::Sync(sync) => *sync = Err(code),
            Reply::Leave(leave) => *leave = Err(code),
            Reply::Heartbeat(heartbeat) => *heartbeat = code,
            Reply::DeleteGroup(delete) => *delete = code,
            Reply::Commit(partitions) => partitions.iter_mut().for_each(|partition| partition.code = code),
            Reply::DeleteOffsets(delete) => *delete = Err(code),
            Reply::FetchOffsets(fetch) => *fetch = Err(code),
            Reply::List(list) => *list = Err(code),
            Reply::Describe(describe) => *describe = Err(code),
        }
    }
}

/// The member is in a generation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Joined {
    pub generation: Generation,
    pub protocol_type: Arc<str>,
    pub protocol: Arc<str>,
    pub leader: Arc<str>,
    pub member: Arc<str>,
    /// The leader is to keep the assignment that the group has (KIP-814).
    pub skip_assignment: bool,
    /// For the leader everybody, for others nobody.
    pub members: Vec<JoinedMember>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinedMember {
    pub member: Arc<str>,
    pub instance: Option<Arc<str>>,
    /// Of the protocol that was chosen.
    pub metadata: Bytes,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinRefused {
    pub code: ErrorCode,
    /// The id to join with, if the code is [`ErrorCode::MemberIdRequired`]; else that of the request.
    pub member: Arc<str>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Synced {
    pub protocol_type: Arc<str>,
    pub protocol: Arc<str>,
    pub assignment: Bytes,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Left {
    pub member: Arc<str>,
    pub instance: Option<Arc<str>>,
    pub code: ErrorCode,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionOutcome {
    pub topic: Arc<str>,
    pub partition: PartitionIndex,
    pub code: ErrorCode,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchedOffset {
    pub topic: Arc<str>,
    pub partition: PartitionIndex,
    pub committed: Option<Committed>,
}

/// What is stored of one partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Committed {
    pub offset: Offset,
    pub leader_epoch: Option<LeaderEpoch>,
    pub metadata: Box<str>,
    pub committed_at: Timestamp,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedGroup {
    pub group: Arc<str>,
    pub state: State,
    /// Empty if it only stores offsets.
    pub protocol_type: Arc<str>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedGroup {
    pub state: State,
    pub generation: Generation,
    pub protocol_type: Arc<str>,
    /// Empty while none is chosen.
    pub protocol: Arc<str>,
    pub members: Vec<DescribedMember>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedMember {
    pub member: Arc<str>,
    pub instance: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    /// Of the protocol that was chosen; empty unless the group is stable.
    pub metadata: Bytes,
    /// Empty unless the group is stable.
    pub assignment: Bytes,
}

/// What the driver has to do for a call: first store the records, then send the replies.
#[derive(Default, Debug)]
pub struct Effects {
    pub replies: Vec<(ReplyTo, Reply)>,
    /// One batch for the log, in this order; often none.
    pub records: Vec<GroupRecord>,
    /// Bytes of the records.
    pub(super) bytes: usize,
}

impl Effects {
    pub(super) fn reply(&mut self, to: ReplyTo, reply: Reply) {
        self.replies.push((to, reply));
    }

    pub(super) fn record(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.bytes += key.len() + value.as_ref().map_or(0, Vec::len) + RECORD_OVERHEAD;
        self.records.push(GroupRecord { key, value });
    }
}

/// At most what a record of a batch has beside its key and its value.
pub(super) const RECORD_OVERHEAD: usize = 32;
