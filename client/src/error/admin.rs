//! Errors of administrative requests.
//!
//!     refused here      UnknownPartition, InvalidTopic, TooLong    nothing was sent
//!     refused there     UnknownTopic, UnknownGroup, UnknownMember, GroupNotEmpty, OffsetsRefused,
//!                       Refused { code, message }
//!     not answered      Connection

use std::sync::Arc;

use protocol::model::{ErrorCode, InvalidTopicName, PartitionIndex};

use super::ConnectionError;
use crate::core::assign::TopicPartition;

/// An administrative request was not done.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error("{}", refusal(.code, .message))]
    Refused {
        code: ErrorCode,
        /// What the broker says about it; may be empty.
        message: String,
    },
    #[error("topic {topic:?} does not exist")]
    UnknownTopic { topic: Arc<str> },
    #[error("topic {topic:?} has no partition {partition}; it has {partitions}")]
    UnknownPartition { topic: Arc<str>, partition: PartitionIndex, partitions: u32 },
    #[error("topic {topic:?}: {why}")]
    InvalidTopic { topic: Arc<str>, why: InvalidTopicName },
    #[error("group {group:?} does not exist")]
    UnknownGroup { group: Arc<str> },
    #[error("group {group:?} has no member {member:?}")]
    UnknownMember { group: Arc<str>, member: Arc<str> },
    /// Only a group without members lets itself be changed.
    #[error("group {group:?} has members")]
    GroupNotEmpty { group: Arc<str> },
    /// What was asked for was done for the other partitions.
    #[error("group {group:?}: {}", refusals(.refused))]
    OffsetsRefused {
        group: Arc<str>,
        /// At least one.
        refused: Vec<(TopicPartition, ErrorCode)>,
    },
    /// A text that no broker would read; the limits are those of the protocol.
    #[error("{what} has {bytes} bytes, the limit is {limit}")]
    TooLong { what: &'static str, bytes: usize, limit: usize },
}

fn refusal(code: &ErrorCode, message: &str) -> String {
    if message.is_empty() { code.to_string() } else { format!("{message} ({code:?})") }
}

fn refusals(refused: &[(TopicPartition, ErrorCode)]) -> String {
    let one =
        |(named, code): &(TopicPartition, ErrorCode)| format!("{}/{}: {code}", named.topic, named.partition);
    let mut text: Vec<String> = refused.iter().take(REFUSALS_SHOWN).map(one).collect();
    let more = refused.len() - text.len();
    text.extend((0 < more).then(|| format!("and {more} partitions more")));
    text.join("; ")
}

/// More would say no more to a person.
const REFUSALS_SHOWN: usize = 3;

impl AdminError {
    /// The broker's code, where it was the broker that refused.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            AdminError::Refused { code, .. } => Some(*code),
            AdminError::UnknownTopic { .. } | AdminError::UnknownPartition { .. } => {
                Some(ErrorCode::UnknownTopicOrPartition)
            }
            AdminError::InvalidTopic { .. } => Some(ErrorCode::InvalidTopic),
            AdminError::UnknownGroup { .. } => Some(ErrorCode::GroupIdNotFound),
            AdminError::UnknownMember { .. } => Some(ErrorCode::UnknownMemberId),
            AdminError::GroupNotEmpty { .. } => Some(ErrorCode::NonEmptyGroup),
            AdminError::OffsetsRefused { refused, .. } => refused.first().map(|(_, code)| *code),
            AdminError::Connection(_) | AdminError::TooLong { .. } => None,
        }
    }

    pub fn is_retriable(&self) -> bool {
        match self {
            AdminError::Connection(error) => error.is_retriable(),
            AdminError::Refused { code, .. } => code.is_retriable(),
            _ => false,
        }
    }

    pub fn may_have_been_applied(&self) -> bool {
        match self {
            AdminError::Connection(error) => error.may_have_been_applied(),
            AdminError::Refused { code, .. } => *code == ErrorCode::RequestTimedOut,
            _ => false,
        }
    }
}
