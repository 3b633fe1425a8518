//! Why bytes are no batch, or no batch that a broker takes.
//!
//!     fewer bytes than the batch says      Truncated         more bytes may make it one
//!     length, crc                          CorruptMessage    the bytes changed on the way: send again
//!     everything else                      InvalidRecord     the producer is wrong: sending again is no use
//!
//! The codes are those that Kafka answers, because its clients decide by them whether to retry.

use crate::model::ErrorCode;

/// What is wrong with a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BatchError {
    /// Not malformed so far: the bytes end before the batch does.
    #[error("a batch of {need} bytes is cut off after {have}")]
    Truncated { need: usize, have: usize },
    #[error("the length field leaves no room for the batch header")]
    Length,
    #[error("the magic byte is not 2")]
    Magic,
    #[error("the record count is not positive, or is not the last offset delta + 1")]
    Counts,
    #[error("the attributes name a compression that does not exist")]
    Codec,
    #[error("the base offset is negative")]
    NegativeOffset,
    #[error("the offsets of the batch pass the largest offset")]
    OffsetOverflow,
    #[error("the checksum does not match the bytes")]
    Crc,
    #[error("a batch of {len} bytes is above the limit of {max}")]
    TooLarge { len: usize, max: usize },
    #[error("only a broker writes control batches")]
    Control,
    #[error("there are no transactions")]
    Transactional,
    #[error("only a broker sets log-append timestamps")]
    LogAppendTime,
    #[error("producer id, producer epoch and sequence do not go together")]
    Producer,
    #[error("the records are not as many as the header says, or cannot be read")]
    RecordCount,
}

impl BatchError {
    /// What a broker answers to a client that sent such a batch.
    pub const fn code(self) -> ErrorCode {
        match self {
            BatchError::Truncated { .. } | BatchError::Length | BatchError::Crc => ErrorCode::CorruptMessage,
            BatchError::TooLarge { .. } => ErrorCode::MessageTooLarge,
            BatchError::Magic
            | BatchError::Counts
            | BatchError::Codec
            | BatchError::NegativeOffset
            | BatchError::OffsetOverflow
            | BatchError::Control
            | BatchError::Transactional
            | BatchError::LogAppendTime
            | BatchError::Producer
            | BatchError::RecordCount => ErrorCode::InvalidRecord,
        }
    }

    /// Whether more bytes behind these could make them a batch.
    pub const fn is_truncated(self) -> bool {
        matches!(self, BatchError::Truncated { .. })
    }
}
