//! Our error codes in Kafka's numbers.
//!
//!     below 1000    the same number means the same
//!     1000 …        what Kafka has no code for: the code that makes its clients do what ours do

use kafka::ErrorCode as Kafka;
use protocol::model::ErrorCode;

/// Topics are named here, not numbered: one that went away is one that is not known.
pub fn code(error: ErrorCode) -> Kafka {
    match error {
        ErrorCode::UnknownTopicId => Kafka::UNKNOWN_TOPIC_OR_PARTITION,
        // Retried until there is space again, as Kafka's clients do with a log directory that failed.
        ErrorCode::DiskFull => Kafka::KAFKA_STORAGE_ERROR,
        ErrorCode::CorruptLog => Kafka::CORRUPT_MESSAGE,
        // The client looks for the leader again, and finds this broker once it is back.
        ErrorCode::ShuttingDown => Kafka::NOT_LEADER_OR_FOLLOWER,
        ErrorCode::Overloaded => Kafka::REQUEST_TIMED_OUT,
        ErrorCode::UnknownApi => Kafka::UNSUPPORTED_VERSION,
        ErrorCode::FrameTooLarge => Kafka::MESSAGE_TOO_LARGE,
        error => i16::try_from(error.to_wire())
            .ok()
            .map(Kafka::from_wire)
            .filter(|error| error.name().is_some())
            .unwrap_or(Kafka::UNKNOWN_SERVER_ERROR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_number_that_kafka_knows() {
        for error in ErrorCode::ALL {
            let kafka = code(*error);
            assert_ne!(kafka, Kafka::UNKNOWN_SERVER_ERROR, "{error:?}");
            assert!(kafka.name().is_some(), "{error:?}");
            assert_eq!(kafka.is_ok(), error.is_ok());
            if error.to_wire() < 1000 && *error != ErrorCode::UnknownTopicId {
                assert_eq!(i32::from(kafka.to_wire()), i32::from(error.to_wire()));
            }
        }
        assert_eq!(code(ErrorCode::from_wire(2999)), Kafka::UNKNOWN_SERVER_ERROR);
    }

    /// What clients of ours try again, Kafka's try again too; else a full disk would lose their records.
    #[test]
    fn a_retry_helps_in_both_or_in_neither() {
        // Kafka's clients give up on these at once, or have no such request.
        let but = [ErrorCode::CorruptLog];
        for error in ErrorCode::ALL.iter().filter(|error| !but.contains(error)) {
            assert_eq!(code(*error).is_retriable(), error.is_retriable(), "{error:?}");
        }
    }
}
