//! What shards say to each other, and the control thread to them. There is no other way across.
//!
//!     shard 0 ── Produce { origin: (0, request 7, part 2) } ──▶ shard 1
//!     shard 0 ◀── ProduceDone { request 7, part 2, result } ─── shard 1
//!
//! A part is that piece of a request that one shard answers. Every part gets exactly one answer, so
//! a request's number is free again when all of its parts have been answered. Produced records travel as
//! owned buffers, copied once on the way out of the connection's buffer and never after; fetched ones are
//! lent ([`super::forwarding`]).

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use protocol::api::{
    DeleteRecordsEntry, DeleteRecordsResult, FetchParams, FetchResult, HeartbeatRequest, LeaveGroupRequest,
    ListOffsetsEntry, ListOffsetsResult, OffsetCommitEntry, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest, ProduceResult, ShardStats,
};
use protocol::model::{ErrorCode, PartitionIndex, ShardId, TopicId};

use storage::id::LogId;

use super::requests::FetchEntries;
use crate::control::{ClusterView, ControlReply};
use crate::groups::{JoinRefused, PartitionOutcome, Reply};
use crate::runtime::loan::Loan;

/// A request that waits for answers, in the table of the shard its connection is on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RequestKey(pub usize);

/// Who gets the answer to a part of a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Origin {
    pub shard: ShardId,
    pub request: RequestKey,
    pub part: u32,
}

/// What is asked of a group's coordinator, wherever it is.
pub struct GroupAsk {
    group: Box<str>,
    /// Where the question came from, for people.
    client_host: Box<str>,
    call: GroupCall,
}

/// Joins and syncs as they came, because they are large and name many things.
pub enum GroupCall {
    Join(Bytes),
    Sync(Bytes),
    KafkaJoin(KafkaCall),
    KafkaSync(KafkaCall),
    Heartbeat(HeartbeatRequest),
    Leave(LeaveGroupRequest),
    Commit {
        request: OffsetCommitRequest,
        /// Places of entries that take an offset away, in order.
        without: Vec<usize>,
    },
    FetchOffsets(OffsetFetchRequest),
    DeleteOffsets(OffsetDeleteRequest),
    Describe,
    Delete,
}

/// A request of one of Kafka's clients as it came, and parsed once already.
pub struct KafkaCall {
    pub body: Bytes,
    pub version: i16,
    pub client_id: Box<str>,
}

impl GroupAsk {
    pub fn new(group: &str, client_host: String, call: GroupCall) -> GroupAsk {
        GroupAsk { group: group.into(), client_host: client_host.into(), call }
    }

    pub fn group(&self) -> &str {
        &self.group
    }

    pub fn client_host(&self) -> &str {
        &self.client_host
    }

    pub fn call(&self) -> &GroupCall {
        &self.call
    }

    /// The reply while the coordinator reads its log. Members must not give their groups up for a restart,
    /// and some do at any error: a heartbeat is taken on trust, as in Kafka.
    pub fn not_yet(&self) -> Reply {
        match &self.call {
            GroupCall::Heartbeat(_) => Reply::Heartbeat(ErrorCode::None),
            _ => self.refused(ErrorCode::CoordinatorLoadInProgress),
        }
    }

    /// The reply when no coordinator can be asked.
    pub fn refused(&self, code: ErrorCode) -> Reply {
        match &self.call {
            GroupCall::Join(_) | GroupCall::KafkaJoin(_) => {
                Reply::Join(Err(JoinRefused { code, member: "".into() }))
            }
            GroupCall::Sync(_) | GroupCall::KafkaSync(_) => Reply::Sync(Err(code)),
            GroupCall::Heartbeat(_) => Reply::Heartbeat(code),
            GroupCall::Leave(_) => Reply::Leave(Err(code)),
            GroupCall::Commit { request, .. } => {
                let outcome = |entry: &OffsetCommitEntry| PartitionOutcome {
                    topic: entry.topic.as_str().into(),
                    partition: entry.partition,
                    code,
                };
                Reply::Commit(request.entries.iter().map(outcome).collect())
            }
            GroupCall::FetchOffsets(_) => Reply::FetchOffsets(Err(code)),
            GroupCall::DeleteOffsets(_) => Reply::DeleteOffsets(Err(code)),
            GroupCall::Describe => Reply::Describe(Err(code)),
            GroupCall::Delete => Reply::DeleteGroup(code),
        }
    }
}

/// Bytes of a partition's segment files.
#[derive(Clone, Copy, Debug)]
pub struct LogSize {
    pub log: LogId,
    pub bytes: u64,
}

/// Record sets on their way to another shard's connection, one after another as their results say.
pub enum Forwarded {
    Copied(Bytes),
    Lent { loan: Loan, home: ShardId },
}

pub enum ShardMessage {
    /// A connection that asked for this shard, and what it has sent so far.
    Adopt {
        socket: OwnedFd,
        received: Vec<u8>,
    },
    Produce {
        origin: Origin,
        topic: TopicId,
        partition: PartitionIndex,
        records: Bytes,
    },
    ProduceDone {
        origin: Origin,
        result: ProduceResult,
    },
    Fetch {
        origin: Origin,
        entries: FetchEntries,
        params: FetchParams,
        deadline: Instant,
    },
    /// A part of a fetch lies on disk: may it be read? Its connection may not take what was read before.
    MayRead {
        origin: Origin,
    },
    /// The part of a fetch may be read.
    Read {
        origin: Origin,
    },
    /// Another part of the fetch has records: answer with what is there.
    FetchFinish {
        origin: Origin,
    },
    FetchDone {
        origin: Origin,
        results: Vec<FetchResult>,
        records: Forwarded,
    },
    /// What this shard had lent is not needed any more.
    Returned(Loan),
    ListOffsets {
        origin: Origin,
        entry: ListOffsetsEntry,
    },
    ListOffsetsDone {
        origin: Origin,
        result: ListOffsetsResult,
    },
    DeleteRecords {
        origin: Origin,
        entry: DeleteRecordsEntry,
    },
    DeleteRecordsDone {
        origin: Origin,
        result: DeleteRecordsResult,
    },
    Group {
        origin: Origin,
        ask: GroupAsk,
    },
    GroupDone {
        origin: Origin,
        reply: Reply,
    },
    ListGroups {
        origin: Origin,
    },
    LogSizes {
        origin: Origin,
    },
    LogSizesDone {
        origin: Origin,
        sizes: Vec<LogSize>,
    },
    Stats {
        origin: Origin,
    },
    StatsDone {
        origin: Origin,
        stats: ShardStats,
    },
    ControlDone {
        origin: Origin,
        reply: ControlReply,
    },
    /// The topics have changed: open and remove partitions, then tell the control thread.
    View(Arc<ClusterView>),
    /// Begin to accept connections.
    Serve,
    /// Finish what was accepted, write the clean mark, end.
    Stop,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_outlive_a_coordinator_that_reads_its_log() {
        let (group, member_id) = ("g".to_owned(), "m".to_owned());
        let heartbeat = HeartbeatRequest { group, generation: 1, member_id, instance_id: None };
        let ask = |call| GroupAsk::new("g", String::new(), call);
        assert_eq!(ask(GroupCall::Heartbeat(heartbeat)).not_yet(), Reply::Heartbeat(ErrorCode::None));
        let loading = ErrorCode::CoordinatorLoadInProgress;
        assert_eq!(ask(GroupCall::Describe).not_yet(), Reply::Describe(Err(loading)));
    }
}
