//! Errors of a producer.
//!
//!     before it was accepted     NoTopic, UnknownTopic, …, LargerThan…, Closed    the call returns it
//!     after                      Refused, TimedOut, Abandoned, Fenced             the ticket tells it

use std::sync::Arc;

use protocol::model::{ErrorCode, InvalidTopicName, PartitionIndex};

use super::AdminError;
use crate::record::Record;

/// A record was not delivered, or nobody can tell.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    #[error("the record names no topic and the producer has no default")]
    NoTopic,
    #[error("topic {topic:?} does not exist")]
    UnknownTopic { topic: Arc<str> },
    #[error("topic {topic:?}: {why}")]
    InvalidTopic { topic: Arc<str>, why: InvalidTopicName },
    #[error("topic {topic:?} has no partition {partition}; it has {partitions}")]
    UnknownPartition { topic: Arc<str>, partition: PartitionIndex, partitions: u32 },
    #[error("a record of {bytes} bytes is larger than the producer's buffer of {limit}")]
    LargerThanBuffer { bytes: usize, limit: usize },
    #[error("a record of {bytes} bytes is larger than topic {topic:?} takes, {limit}")]
    LargerThanTopicTakes { topic: Arc<str>, bytes: usize, limit: usize },
    /// The topic could not be looked up in `metadata_timeout`.
    #[error("topic {topic:?} could not be looked up: {cause}")]
    Metadata {
        topic: Arc<str>,
        #[source]
        cause: AdminError,
    },
    #[error("{topic}/{partition}: the broker refused the batch: {code}")]
    Refused {
        topic: Arc<str>,
        partition: PartitionIndex,
        code: ErrorCode,
        /// An earlier try got no answer.
        may_have_been_applied: bool,
    },
    /// The delivery timeout ran out, retries included.
    #[error("{topic}/{partition}: not acknowledged in time{}", because(.last_error))]
    TimedOut {
        topic: Arc<str>,
        partition: PartitionIndex,
        may_have_been_applied: bool,
        /// Why it took so long, if a try failed.
        last_error: Option<Arc<str>>,
    },
    #[error("the producer is closed")]
    Closed,
    /// Somebody else writes under this producer's id, with a newer epoch. The producer is closed.
    #[error("another producer has taken over this producer's id; this one is closed")]
    Fenced { may_have_been_applied: bool },
    /// The producer was dropped, or `close` ran out of time, before the outcome was known.
    #[error("{topic}/{partition}: abandoned when the producer went away")]
    Abandoned { topic: Arc<str>, partition: PartitionIndex, may_have_been_applied: bool },
}

fn because(last_error: &Option<Arc<str>>) -> String {
    last_error.as_ref().map_or_else(String::new, |error| format!("; last error: {error}"))
}

impl SendError {
    pub fn is_retriable(&self) -> bool {
        match self {
            SendError::Metadata { cause, .. } => cause.is_retriable(),
            SendError::Refused { code, .. } => code.is_retriable(),
            SendError::TimedOut { .. } => true,
            _ => false,
        }
    }

    /// Whether the record may be in the log all the same: a retry by the caller may duplicate it.
    pub fn may_have_been_applied(&self) -> bool {
        match self {
            SendError::Refused { may_have_been_applied, .. }
            | SendError::TimedOut { may_have_been_applied, .. }
            | SendError::Fenced { may_have_been_applied }
            | SendError::Abandoned { may_have_been_applied, .. } => *may_have_been_applied,
            _ => false,
        }
    }
}

/// `try_enqueue` would have had to wait, or the record can never be taken. It is given back.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
#[non_exhaustive]
pub struct QueueFull {
    /// Boxed, so that the happy path does not carry the size of a record around.
    pub record: Box<Record>,
    pub why: NotQueued,
}

#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotQueued {
    #[error("the producer's buffer is full")]
    BufferFull,
    /// The topic is being looked up; try again.
    #[error("the topic is not known yet")]
    MetadataUnknown,
    /// Waiting will not help.
    #[error(transparent)]
    Refused(SendError),
}

impl QueueFull {
    pub fn is_retriable(&self) -> bool {
        match &self.why {
            NotQueued::BufferFull | NotQueued::MetadataUnknown => true,
            NotQueued::Refused(error) => error.is_retriable(),
        }
    }

    pub fn may_have_been_applied(&self) -> bool {
        false
    }
}

/// What `close` could not deliver.
#[derive(Debug, thiserror::Error)]
#[error("{count} records were not delivered{}", first(.first_error))]
#[non_exhaustive]
pub struct Undelivered {
    pub count: usize,
    pub first_error: Option<SendError>,
    /// The records, in order within each partition. Some may be in the log all the same, see
    /// [`SendError::may_have_been_applied`] of their tickets.
    pub records: Vec<Record>,
}

fn first(error: &Option<SendError>) -> String {
    error.as_ref().map_or_else(String::new, |error| format!("; first error: {error}"))
}

impl Undelivered {
    pub fn is_retriable(&self) -> bool {
        self.first_error.as_ref().is_none_or(SendError::is_retriable)
    }

    pub fn may_have_been_applied(&self) -> bool {
        self.first_error.as_ref().is_some_and(SendError::may_have_been_applied)
    }
}
