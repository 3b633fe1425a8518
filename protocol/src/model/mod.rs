//! The words of the domain, each its own type, so that an offset is never taken for a count.
//!
//!     TopicName ──catalog──▶ TopicId ─┐
//!                                     ├─▶ one partition ──▶ Offset, LeaderEpoch, OffsetRange
//!                     PartitionIndex ─┘
//!
//! None of them derefs or converts silently: `Offset::new(7)`, `offset.get()`, and arithmetic only
//! where it means something (`Offset + RecordCount`, `Offset - Offset`).

pub mod offset;
pub use offset::{Offset, OffsetRange, RecordCount};

pub mod ids;
pub use ids::{
    ClusterId, CorrelationId, LeaderEpoch, NodeId, PartitionIndex, ProducerEpoch, ProducerId, Sequence,
    ShardId, TopicId,
};

pub mod time;
pub use time::Timestamp;

pub mod topic_name;
pub use topic_name::{InvalidTopicName, TopicName};

pub mod error_code;
pub use error_code::ErrorCode;

pub mod limits;
