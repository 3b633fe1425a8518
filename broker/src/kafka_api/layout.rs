//! Topics and partitions in the order in which a request named them: its reply names them so again.
//!
//!     topics       orders ×2   users ×1
//!     partitions   0 3         7

use std::sync::Arc;

use protocol::model::{PartitionIndex, TopicId};
use smallvec::SmallVec;

use crate::control::{ClusterView, TopicView};

/// A topic as a request named it.
pub enum Topic {
    Known(Arc<TopicView>),
    Unknown(Box<str>),
}

impl Topic {
    pub fn find(view: &ClusterView, name: &str) -> Topic {
        match view.topic(name) {
            Some(topic) => Topic::Known(topic.clone()),
            None => Topic::Unknown(name.into()),
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Topic::Known(topic) => topic.name().as_str(),
            Topic::Unknown(name) => name,
        }
    }

    pub fn is_known(&self) -> bool {
        matches!(self, Topic::Known(_))
    }

    /// How many partitions it has; none, if it is unknown.
    pub fn partitions(&self) -> u32 {
        match self {
            Topic::Known(topic) => topic.partitions(),
            Topic::Unknown(_) => 0,
        }
    }

    /// One that no topic has, if it is unknown.
    pub fn id(&self) -> TopicId {
        match self {
            Topic::Known(topic) => topic.id(),
            Topic::Unknown(_) => TopicId::from_bytes([0; 16]),
        }
    }
}

#[derive(Default)]
pub struct Layout {
    /// Each with how many partitions it has in `partitions`.
    topics: SmallVec<[(Topic, usize); 1]>,
    partitions: SmallVec<[i32; 4]>,
}

impl Layout {
    pub fn push_topic(&mut self, topic: Topic) {
        self.topics.push((topic, 0));
    }

    /// A partition of the topic that was pushed last.
    ///
    /// # Panics
    /// Without a topic.
    pub fn push_partition(&mut self, index: i32) {
        self.topics.last_mut().expect("BUG: a partition of a topic").1 += 1;
        self.partitions.push(index);
    }

    pub fn topics_len(&self) -> usize {
        self.topics.len()
    }

    pub fn topics(&self) -> impl Iterator<Item = (&str, &[i32])> {
        self.found().map(|(topic, partitions)| (topic.name(), partitions))
    }

    /// As [`Layout::topics`], with what is known of each.
    pub fn found(&self) -> impl Iterator<Item = (&Topic, &[i32])> {
        let mut rest = self.partitions.as_slice();
        self.topics.iter().map(move |(topic, count)| {
            let (of_topic, behind) = rest.split_at(*count);
            rest = behind;
            (topic, of_topic)
        })
    }
}

/// A negative one is one that no topic has.
pub fn partition_index(index: i32) -> PartitionIndex {
    PartitionIndex::new(u32::try_from(index).unwrap_or(u32::MAX))
}
