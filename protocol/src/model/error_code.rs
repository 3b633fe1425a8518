//! What a broker answers when it does not do what it was asked: one number, one name, one sentence.
//!
//!     0          no error
//!     1 … 999    Kafka's codes with Kafka's meaning, so that both listeners say the same
//!     1000 …     conditions that Kafka has no code for
//!
//! The table below is the only place where a code, its name and whether a retry can help are told.

use std::fmt;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $retriable:literal, $text:literal;)*) => {
        /// Outcome of a request, or of one partition in it. Unknown numbers survive a round trip.
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct ErrorCode(u16);

        #[allow(non_upper_case_globals)]
        impl ErrorCode {
            $($(#[$doc])* pub const $name: ErrorCode = ErrorCode($code);)*

            /// All codes this version knows, in the order of their numbers.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name),*];

            /// Name as it stands in documents and logs; `None` for a code of a later version.
            pub fn name(self) -> Option<&'static str> {
                match self.0 { $($code => Some(stringify!($name)),)* _ => None }
            }

            /// One sentence for a person.
            pub fn text(self) -> &'static str {
                match self.0 { $($code => $text,)* _ => "an error this version does not know" }
            }

            /// Whether the same request may succeed later without anybody changing it.
            pub fn is_retriable(self) -> bool {
                match self.0 { $($code => $retriable,)* _ => false }
            }
        }
    };
}

error_codes! {
    None = 0, false, "no error";
    OffsetOutOfRange = 1, false, "the offset is not in the partition";
    CorruptMessage = 2, true, "the batch's checksum does not match its bytes";
    UnknownTopicOrPartition = 3, true, "no such topic or partition";
    NotLeaderOrFollower = 6, true, "this broker does not lead the partition";
    RequestTimedOut = 7, true, "the request was not done in time";
    MessageTooLarge = 10, false, "the batch is larger than max.message.bytes";
    OffsetMetadataTooLarge = 12, false, "the metadata of an offset is longer than offset.metadata.max.bytes";
    CoordinatorLoadInProgress = 14, true, "the group's coordinator is reading its state";
    CoordinatorNotAvailable = 15, true, "the group's coordinator cannot store its state now";
    NotCoordinator = 16, true, "this shard does not coordinate the group";
    InvalidTopic = 17, false, "the topic name is not allowed";
    NotEnoughReplicas = 19, true, "fewer replicas in sync than min.insync.replicas";
    IllegalGeneration = 22, false, "the generation is not the group's current one";
    InconsistentGroupProtocol = 23, false, "the member's protocols do not fit the group's";
    InvalidGroupId = 24, false, "the group id is not allowed";
    UnknownMemberId = 25, false, "the group has no such member";
    InvalidSessionTimeout = 26, false, "the session timeout is outside of what the broker allows";
    RebalanceInProgress = 27, false, "the group is rebalancing: join again";
    InvalidCommitOffsetSize = 28, false, "the commit is too large to be stored";
    InvalidTimestamp = 32, false, "the timestamp is farther from now than the topic allows";
    UnsupportedVersion = 35, false, "this version of the message is not supported";
    TopicAlreadyExists = 36, false, "a topic of this name exists";
    InvalidPartitions = 37, false, "the number of partitions is not allowed";
    InvalidReplicationFactor = 38, false, "the replication factor is not allowed";
    InvalidReplicaAssignment = 39, false, "the partitions cannot be placed as asked";
    InvalidConfig = 40, false, "the configuration is not allowed";
    InvalidRequest = 42, false, "the request does not say what it should";
    PolicyViolation = 44, false, "the topic's policy does not allow it";
    OutOfOrderSequenceNumber = 45, false, "the batch does not follow the producer's last one";
    InvalidProducerEpoch = 47, false, "a newer epoch of the producer has written";
    StorageError = 56, true, "the partition's disk failed; see the broker's log";
    UnknownProducerId = 59, false, "the partition does not know the producer, or no more: begin a new epoch";
    NonEmptyGroup = 68, false, "the group has members";
    GroupIdNotFound = 69, false, "there is no such group";
    FencedLeaderEpoch = 74, true, "the request's leader epoch is older than the partition's";
    UnknownLeaderEpoch = 75, true, "the request's leader epoch is newer than the partition's";
    MemberIdRequired = 79, false, "join again with the member id of this reply";
    GroupMaxSizeReached = 81, false, "the group has group.max.size members";
    FencedInstanceId = 82, false, "another member has joined with this group.instance.id";
    GroupSubscribedToTopic = 86, false, "a member of the group subscribes to the topic";
    InvalidRecord = 87, false, "the batch breaks a rule of its format";
    UnknownTopicId = 100, true, "no topic has this id";
    /// The data directory is below its free-space limit; fetch and delete still work.
    DiskFull = 1001, true, "the broker's disk is full";
    /// Data below this offset is intact, data at it is not (design D7).
    CorruptLog = 1002, false, "the stored data at this offset is corrupt";
    /// The broker is stopping and takes no new work.
    ShuttingDown = 1003, true, "the broker is shutting down";
    /// Memory promised to requests is used up; send again after a pause.
    Overloaded = 1004, true, "the broker has no memory left for this request";
    UnknownApi = 1005, false, "no such api";
    FrameTooLarge = 1006, false, "the frame is longer than the broker takes";
}

impl ErrorCode {
    pub const fn from_wire(code: u16) -> ErrorCode {
        ErrorCode(code)
    }

    pub const fn to_wire(self) -> u16 {
        self.0
    }

    pub const fn is_ok(self) -> bool {
        self.0 == 0
    }

    /// `Ok` for no error, so that `?` carries the rest.
    pub const fn into_result(self) -> Result<(), ErrorCode> {
        if self.is_ok() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name().unwrap_or("Unknown"), self.0)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} {})", self.text(), self.name().unwrap_or("unknown error"), self.0)
    }
}

impl std::error::Error for ErrorCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_listed_once_and_in_order() {
        let numbers: Vec<u16> = ErrorCode::ALL.iter().map(|code| code.to_wire()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    }

    #[test]
    fn a_code_of_a_later_version_is_carried_and_named_unknown() {
        let later = ErrorCode::from_wire(2999);
        assert_eq!(later.to_wire(), 2999);
        assert!(!later.is_retriable());
        assert_eq!(later.to_string(), "an error this version does not know (unknown error 2999)");
    }
}
