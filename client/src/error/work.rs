//! Errors of workers and of records that are to be tried again.
//!
//!     a record    Handler, Panicked; Retry if it could not be moved      the run ends, the prefix is committed
//!     the rest    Consume, Commit, DrainTimedOut

use std::sync::Arc;
use std::time::Duration;

use protocol::model::{Offset, PartitionIndex};

use super::{ConsumeError, SendError};
use crate::core::commit::CommitError;
use crate::core::retry::NameTooLong;
use crate::core::waiting::TooManyKeys;

/// Workers have stopped. What was done without a gap is committed if that is automatic, unless it says
/// otherwise; everything behind comes again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkError<E> {
    /// The handler failed, and nothing says where a failed record goes.
    #[error("{topic}/{partition}: the record at offset {offset} failed: {cause}")]
    Handler { topic: Arc<str>, partition: PartitionIndex, offset: Offset, cause: E },
    #[error("{topic}/{partition}: the handler panicked at offset {offset}: {message}")]
    Panicked { topic: Arc<str>, partition: PartitionIndex, offset: Offset, message: String },
    /// The record failed, and could not be moved to where it is tried again.
    #[error("{topic}/{partition}: the record at offset {offset} failed and could not be moved: {cause}")]
    Retry { topic: Arc<str>, partition: PartitionIndex, offset: Offset, cause: RetryError },
    /// The member left the group, or a partition stands still.
    #[error(transparent)]
    Consume(ConsumeError),
    /// Everything that was begun is done, but the last commit failed.
    #[error("the last commit of the workers failed: {0}")]
    Commit(CommitError),
    /// Records were still worked on so long after the stop; their work was cancelled where it waited.
    #[error("workers were still at their records {0:?} after the stop")]
    DrainTimedOut(Duration),
}

impl<E> WorkError<E> {
    /// Whether another run may succeed without anybody changing anything. Nobody knows of a handler.
    pub fn is_retriable(&self) -> bool {
        match self {
            WorkError::Handler { .. } | WorkError::Panicked { .. } => false,
            WorkError::Retry { cause, .. } => cause.is_retriable(),
            WorkError::Consume(error) => error.is_retriable(),
            WorkError::Commit(error) => error.is_retriable(),
            WorkError::DrainTimedOut(_) => true,
        }
    }

    /// Whether the last commit, or the failed record's move, may be done all the same.
    pub fn may_have_been_applied(&self) -> bool {
        match self {
            WorkError::Retry { cause, .. } => cause.may_have_been_applied(),
            WorkError::Commit(error) => error.is_retriable() || matches!(error, CommitError::Closed),
            _ => false,
        }
    }
}

/// A record could not be moved to where it is tried again.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RetryError {
    #[error("topic {topic:?} does not exist; Retry::create_topics makes it")]
    NoTopic { topic: Arc<str> },
    #[error(transparent)]
    NameTooLong(#[from] NameTooLong),
    #[error(transparent)]
    TooManyKeys(#[from] TooManyKeys),
    #[error(transparent)]
    Send(SendError),
}

impl From<SendError> for RetryError {
    fn from(error: SendError) -> RetryError {
        match error {
            SendError::UnknownTopic { topic } => RetryError::NoTopic { topic },
            error => RetryError::Send(error),
        }
    }
}

impl RetryError {
    pub fn is_retriable(&self) -> bool {
        match self {
            RetryError::Send(error) => error.is_retriable(),
            RetryError::TooManyKeys(_) => true,
            RetryError::NoTopic { .. } | RetryError::NameTooLong(_) => false,
        }
    }

    /// Whether the record may be where it was to be moved all the same.
    pub fn may_have_been_applied(&self) -> bool {
        matches!(self, RetryError::Send(error) if error.may_have_been_applied())
    }
}

/// What a consumer was told about retries does not go together.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRetry {
    #[error("retries need topics by name: a pattern may match retry topics too")]
    NeedsNames,
    #[error("to keep the order of keys, the members of the group assign by range")]
    OrderNeedsRange,
    #[error("topic {topic:?} does not exist; Retry::create_topics makes it")]
    NoTopic { topic: Arc<str> },
    /// Partitions of one number would not be one member's.
    #[error("to keep the order of keys, topic {topic:?} needs {needed} partitions; it has {partitions}")]
    OrderNeedsPartitions { topic: Arc<str>, partitions: u32, needed: u32 },
}
