//! Ringlog's client: producer, reader and admin over tokio, `Clone + Send + Sync + 'static`.
//!
//!     Client ─┬─ admin()      create_topic · describe_topic · list_offsets · stats
//!             ├─ producer() ─▶ enqueue → partition → batch → Produce ─▶ connection of the owning shard
//!             ├─ consumer() ◀─ the same as a member of a group: join, heartbeat, commit (driver/member.rs)
//!             │               └─ workers(n): many records at a time, in order of each key
//!             ├─ retry()    ─▶ what failed to its retry topics, at last to the dead letters
//!             └─ reader()   ◀─ recv ← record ← batch ← prefetch ← Fetch ◀─ connection of the owning shard
//!
//!     core/     decides: takes bytes, completions and `now`, returns decisions; no socket, no clock
//!     driver/   acts: sockets, timers, tasks; as little as can be
//!
//! Every broker shard that owns a partition in use gets its own connection, which says in its Hello
//! which shard it wants, so that no request hops between the broker's cores.

pub mod limits;

mod record;
pub use record::{ConsumedRecord, Delivery, Record};

mod error;
pub use error::{
    AdminError, ClientError, ConnectionError, ConsumeError, InvalidRetry, NotQueued, QueueFull, RetryError,
    SendError, Undelivered, WorkError,
};

mod client;
pub use client::{Client, ClientBuilder};

mod admin;
pub use admin::{
    Admin, GroupDescription, GroupOffset, GroupState, GroupSummary, ListedOffset, MemberDescription,
    MemberToRemove, PartitionDescription, TopicChanges, TopicDescription, TopicSpec, TopicSummary,
};

mod core;
pub use core::assign::TopicPartition;

mod driver;

mod producer;
pub use producer::{InvalidProducer, Partitioner, Producer, ProducerBuilder, Ticket};

mod consumer;
pub use consumer::{AutoCommit, AutoOffsetReset, Consumer, ConsumerBuilder, RebalanceListener, Workers};

mod retry;
pub use retry::Retry;

pub use crate::core::assign::Assignor;
pub use crate::core::commit::CommitError;
pub use crate::core::group::GroupError;
pub use crate::core::retry::{NameTooLong, RetryPolicy};
pub use crate::core::waiting::TooManyKeys;

mod reader;
pub use reader::{Reader, ReaderBuilder, RecordStream, StartAt};

pub use protocol::api::{Acks, ConfigEntry, OffsetSpec, ShardStats, StatsReply};
pub use protocol::batch::{Codec, Header};
pub use protocol::model::{
    ErrorCode, LeaderEpoch, NodeId, Offset, OffsetRange, PartitionIndex, ShardId, Timestamp, TopicId,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_can_go_to_another_thread() {
        fn is_shareable<T: Clone + Send + Sync + 'static>() {}
        fn is_movable<T: Send + Unpin + 'static>() {}
        is_shareable::<Client>();
        is_shareable::<Admin>();
        is_shareable::<Producer>();
        is_movable::<Ticket>();
        is_movable::<Reader>();
        is_movable::<Consumer>();
        is_shareable::<Retry>();
        fn future_is_send(_: impl Send) {}
        let _ = |producer: &Producer, record: Record| future_is_send(producer.send(record));
        let _ = |reader: &mut Reader| future_is_send(reader.recv());
        let _ = |consumer: &mut Consumer| future_is_send(consumer.recv());
        let _ = |consumer: &mut Consumer| {
            future_is_send(consumer.workers(2).run(|_| async { Ok::<(), SendError>(()) }));
        };
    }
}
