//! What is wrong with a configuration: all of it at once, each with where it was said.
//!
//!     the configuration has 2 problems:
//!       ringlog.toml:3: broker.data_dri is not a key; did you mean broker.data_dir?
//!       RINGLOG__SHARDS__IO_MEMORY: shards.io_memory: "64X" is not a size; write 64 MiB, 1GiB or 4096

use std::fmt;
use std::path::PathBuf;

/// Where something was said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Nowhere: the default, or a field that code has set.
    Unsaid,
    /// Line counted from 1; `None` if the file as a whole is meant.
    File {
        path: PathBuf,
        line: Option<usize>,
    },
    Env {
        name: String,
    },
    /// `--set`, with what followed it.
    Set {
        text: String,
    },
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    pub origin: Origin,
    pub message: String,
}

/// Everything that is wrong; never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// `Err` if there is a problem.
    pub(super) fn unless_empty(problems: Vec<Problem>) -> Result<(), ConfigError> {
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
    }
}

impl Origin {
    /// A key as it is written in this source, for "did you mean".
    pub(super) fn spell(&self, key: &str) -> String {
        match self {
            Origin::Env { .. } => format!("RINGLOG__{}", key.replace('.', "__").to_uppercase()),
            Origin::Unsaid | Origin::File { .. } | Origin::Set { .. } => key.to_owned(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Unsaid => f.write_str("config"),
            Origin::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Origin::File { path, line: None } => write!(f, "{}", path.display()),
            Origin::Env { name } => f.write_str(name),
            Origin::Set { text } => write!(f, "--set {text}"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.message)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [only] => write!(f, "the configuration has a problem:\n  {only}"),
            several => {
                write!(f, "the configuration has {} problems:", several.len())?;
                several.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}
