//! How the program ends: a number for scripts, a sentence for people, and what to do next.
//!
//!     error: topic "ordres" does not exist
//!       did you mean "orders"? `ringlog topic list` shows all
//!     exit code 3
//!
//! The table below is what --help and docs/cli.md print.

use std::fmt;
use std::io;

use ringlog_client::{AdminError, ClientError, ConnectionError, ConsumeError, ErrorCode, SendError};

/// What a script can tell apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    Ok = 0,
    Error = 1,
    /// Also clap's own.
    Usage = 2,
    NotFound = 3,
    Conflict = 4,
    Unreachable = 6,
    Partial = 7,
    CheckFailed = 8,
    /// `EX_CONFIG`: a supervisor should not start it again (`RestartPreventExitStatus=78`).
    Config = 78,
}

/// For the end of --help.
pub const TABLE: &str = "\
Exit codes:
   0  done
   1  an error that no other code names
   2  the command line, or a value in it, is wrong
   3  no such topic, partition, group or member
   4  it exists already, or is in use
   6  the broker cannot be reached, or did not answer in time
   7  some records were not produced, others were
   8  a check failed: damaged data was found
  78  the configuration or the environment does not allow the broker to start, or a directory to be
      read: it is in use, is none of ours, or has another version's format";

/// Why a command did not do what it was told.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    what: String,
    next: Option<String>,
}

impl Failure {
    pub fn new(exit: Exit, what: impl Into<String>) -> Failure {
        Failure { exit, what: what.into(), next: None }
    }

    pub fn usage(what: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, what)
    }

    /// What the user can do about it.
    pub fn with_next(mut self, next: impl Into<String>) -> Failure {
        self.next = Some(next.into());
        self
    }

    /// Output could not be written. That the reader went away is no failure, and nobody would see it.
    pub fn output(error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::new(Exit::Ok, ""),
            _ => Failure::new(Exit::Error, format!("cannot write the output: {error}")),
        }
    }

    /// Whether there is something to tell.
    pub fn is_quiet(&self) -> bool {
        self.what.is_empty()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.next.as_ref().map_or(Ok(()), |next| write!(f, "\n  {next}"))
    }
}

impl From<ConnectionError> for Failure {
    fn from(error: ConnectionError) -> Failure {
        let failure = Failure::new(Exit::Unreachable, error.to_string());
        match error {
            ConnectionError::Connect { .. } | ConnectionError::ConnectTimeout { .. } => failure.with_next(
                "is a broker running there? `ringlog dev` starts one to try; --bootstrap, or RINGLOG_BOOTSTRAP, \
                 names another address",
            ),
            _ => failure,
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        match error {
            ClientError::Connection(error) => error.into(),
            ClientError::Metadata(error) => error.into(),
            ClientError::InvalidBootstrap { .. } => {
                Failure::usage(error.to_string()).with_next("write --bootstrap 127.0.0.1:7070")
            }
            error => Failure::new(Exit::Error, error.to_string()),
        }
    }
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Failure {
        let exit = match &error {
            AdminError::Connection(error) => return error.clone().into(),
            AdminError::UnknownTopic { .. } | AdminError::UnknownPartition { .. } => Exit::NotFound,
            AdminError::UnknownGroup { .. } | AdminError::UnknownMember { .. } => Exit::NotFound,
            AdminError::GroupNotEmpty { .. } => Exit::Conflict,
            AdminError::InvalidTopic { .. } | AdminError::TooLong { .. } => Exit::Usage,
            AdminError::OffsetsRefused { refused, .. } => {
                refused.first().map_or(Exit::Error, |(_, code)| exit_of(*code))
            }
            AdminError::Refused { code, .. } => exit_of(*code),
            _ => Exit::Error,
        };
        Failure::new(exit, error.to_string())
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Failure {
        let exit = match &error {
            SendError::Metadata { cause, .. } => return cause.clone().into(),
            SendError::UnknownTopic { .. } | SendError::UnknownPartition { .. } => Exit::NotFound,
            SendError::InvalidTopic { .. } => Exit::Usage,
            SendError::Refused { code, .. } => exit_of(*code),
            SendError::TimedOut { .. } => Exit::Unreachable,
            _ => Exit::Error,
        };
        Failure::new(exit, error.to_string())
    }
}

impl From<ConsumeError> for Failure {
    fn from(error: ConsumeError) -> Failure {
        let exit = match &error {
            ConsumeError::Start(error) => return error.clone().into(),
            ConsumeError::UnknownTopic { .. } | ConsumeError::UnknownPartition { .. } => Exit::NotFound,
            ConsumeError::Unavailable { .. } => Exit::Unreachable,
            ConsumeError::Corrupt { .. } => Exit::CheckFailed,
            ConsumeError::Refused { code, .. } => exit_of(*code),
            _ => Exit::Error,
        };
        let failure = Failure::new(exit, error.to_string());
        match error {
            ConsumeError::OffsetOutOfRange { .. } => {
                failure.with_next("--from start begins with the first record that there is")
            }
            _ => failure,
        }
    }
}

/// The exit code for what a broker answers.
fn exit_of(code: ErrorCode) -> Exit {
    match code {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => Exit::NotFound,
        ErrorCode::TopicAlreadyExists
        | ErrorCode::NonEmptyGroup
        | ErrorCode::GroupSubscribedToTopic
        | ErrorCode::FencedInstanceId => Exit::Conflict,
        ErrorCode::RequestTimedOut
        | ErrorCode::ShuttingDown
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::NotCoordinator => Exit::Unreachable,
        ErrorCode::CorruptLog => Exit::CheckFailed,
        ErrorCode::InvalidTopic
        | ErrorCode::InvalidGroupId
        | ErrorCode::InvalidPartitions
        | ErrorCode::InvalidReplicationFactor
        | ErrorCode::InvalidConfig
        | ErrorCode::OffsetOutOfRange => Exit::Usage,
        _ => Exit::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_can_tell_what_a_broker_refused() {
        let refused = |code| Failure::from(AdminError::Refused { code, message: String::new() }).exit;
        assert_eq!(refused(ErrorCode::TopicAlreadyExists), Exit::Conflict);
        assert_eq!(refused(ErrorCode::InvalidConfig), Exit::Usage);
        assert_eq!(refused(ErrorCode::StorageError), Exit::Error);
        assert_eq!(Failure::from(AdminError::UnknownTopic { topic: "t".into() }).exit, Exit::NotFound);
        assert_eq!(Failure::from(AdminError::UnknownGroup { group: "g".into() }).exit, Exit::NotFound);
        assert_eq!(Failure::from(AdminError::GroupNotEmpty { group: "g".into() }).exit, Exit::Conflict);
        assert_eq!(refused(ErrorCode::GroupSubscribedToTopic), Exit::Conflict);
        assert_eq!(refused(ErrorCode::NotCoordinator), Exit::Unreachable);
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let gone = Failure::output(&io::ErrorKind::BrokenPipe.into());
        assert!(gone.is_quiet() && gone.exit == Exit::Ok);
        assert_eq!(Failure::output(&io::ErrorKind::StorageFull.into()).exit, Exit::Error);
    }

    #[test]
    fn the_table_names_every_code() {
        let codes = [
            Exit::Ok,
            Exit::Error,
            Exit::Usage,
            Exit::NotFound,
            Exit::Conflict,
            Exit::Unreachable,
            Exit::Partial,
            Exit::CheckFailed,
            Exit::Config,
        ];
        for exit in codes {
            assert!(TABLE.contains(&format!("\n  {:>2}  ", exit as u8)), "{exit:?}");
        }
    }
}
