//! Which log: a partition of a topic, and where its files lie.
//!
//!     topics/<topic id>/<partition>/<base offset, 20 digits>.log
//!
//! Topic ids are UUIDs, so a topic's name never becomes part of a path.

use std::fmt;

use protocol::model::{PartitionIndex, TopicId};

/// The directory, below the data directory, that holds every topic.
pub const TOPICS_DIR: &str = "topics";

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    pub topic: TopicId,
    pub partition: PartitionIndex,
}

impl LogId {
    /// The log's directory, relative to the data directory.
    pub fn dir(self) -> String {
        format!("{}/{}", topic_dir(self.topic), self.partition)
    }
}

/// The directory of a topic, relative to the data directory.
pub fn topic_dir(topic: TopicId) -> String {
    format!("{TOPICS_DIR}/{topic}")
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
