//! Errors of a reader.
//!
//!     build           NoTopic, UnknownTopic, UnknownPartition, Start, Retry
//!     one partition   OffsetOutOfRange, Corrupt, Refused: it stands still until `seek`
//!                     Unavailable: told once in a while, and tried again

use std::sync::Arc;
use std::time::Duration;

use protocol::model::{ErrorCode, Offset, OffsetRange, PartitionIndex};

use super::{AdminError, InvalidRetry};
use crate::core::group::GroupError;

/// A reader could not go on with a partition. Other partitions are not affected.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumeError {
    #[error("the reader was given no topic")]
    NoTopic,
    #[error("topic {topic:?} does not exist")]
    UnknownTopic { topic: Arc<str> },
    #[error("topic {topic:?} has no partition {partition}; it has {partitions}")]
    UnknownPartition { topic: Arc<str>, partition: PartitionIndex, partitions: u32 },
    #[error("{topic}/{partition} is not one of the reader's partitions")]
    NotRead { topic: Arc<str>, partition: PartitionIndex },
    #[error(transparent)]
    Retry(InvalidRetry),
    /// The start could not be found.
    #[error("{0}")]
    Start(AdminError),
    /// The partition stands still until `seek`.
    #[error("{topic}/{partition}: offset {asked} is not in the partition{}", valid(.range))]
    OffsetOutOfRange {
        topic: Arc<str>,
        partition: PartitionIndex,
        asked: Offset,
        /// What the partition has, if the broker said so.
        range: Option<OffsetRange>,
    },
    /// The partition stands still until `seek`.
    #[error("{topic}/{partition}: the batch at offset {offset} is corrupt: {why}")]
    Corrupt { topic: Arc<str>, partition: PartitionIndex, offset: Offset, why: Arc<str> },
    /// The partition stands still until `seek`.
    #[error("{topic}/{partition}: the broker refuses to read: {code}")]
    Refused { topic: Arc<str>, partition: PartitionIndex, code: ErrorCode },
    /// Told once in a while; the reader goes on trying.
    #[error("{topic}/{partition}: cannot be read for {since:?}: {last_error}")]
    Unavailable { topic: Arc<str>, partition: PartitionIndex, since: Duration, last_error: Arc<str> },
    /// The group has committed nothing for the partition and there is no policy where to begin; it stands
    /// still until `seek`.
    #[error("{topic}/{partition}: the group has committed no offset")]
    NoOffset { topic: Arc<str>, partition: PartitionIndex },
    /// The application did not ask for records in this time; the next call joins the group again.
    #[error("left the group, as no records were asked for within {after:?}")]
    LeftGroup { after: Duration },
    /// The consumer cannot be a member; nothing more will come.
    #[error(transparent)]
    Group(GroupError),
    /// The member may have left, and the last commit may be done, or not.
    #[error("the consumer was not closed within {0:?}")]
    CloseTimedOut(Duration),
    #[error("the reader is closed")]
    Closed,
}

fn valid(range: &Option<OffsetRange>) -> String {
    range.as_ref().map_or_else(String::new, |range| format!(", which has {range}"))
}

impl ConsumeError {
    pub fn is_retriable(&self) -> bool {
        match self {
            ConsumeError::Start(error) => error.is_retriable(),
            ConsumeError::Unavailable { .. } | ConsumeError::LeftGroup { .. } => true,
            _ => false,
        }
    }

    /// Reading changes nothing.
    pub fn may_have_been_applied(&self) -> bool {
        false
    }

    /// The partition that stands still or is unavailable.
    pub fn partition(&self) -> Option<PartitionIndex> {
        match self {
            ConsumeError::UnknownPartition { partition, .. }
            | ConsumeError::NotRead { partition, .. }
            | ConsumeError::OffsetOutOfRange { partition, .. }
            | ConsumeError::Corrupt { partition, .. }
            | ConsumeError::Refused { partition, .. }
            | ConsumeError::NoOffset { partition, .. }
            | ConsumeError::Unavailable { partition, .. } => Some(*partition),
            _ => None,
        }
    }
}
