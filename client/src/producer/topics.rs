//! The topics that a producer has sent to, and the queues of their partitions.
//!
//!     get("orders") ─▶ the topic of the record before? ── yes ─▶ one comparison
//!                                                     └─ no ──▶ hashed
//!
//! Nearly all producers send to one topic: hashing its name for every record of 100 B took 5 % of
//! the client's time. A topic that was found stays, whatever becomes of it in the cluster.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::PartitionQueue;
use crate::core::metadata::Topic;
use crate::core::partitioner::Sticky;

pub(super) struct TopicQueues {
    pub topic: Arc<Topic>,
    pub queues: Vec<Arc<PartitionQueue>>,
    pub sticky: Arc<Sticky>,
}

#[derive(Default)]
pub(super) struct Topics {
    list: Vec<TopicQueues>,
    /// Places in `list`.
    by_name: HashMap<Arc<str>, usize>,
    /// Place of the topic that was asked for last: a hint, which any thread may set.
    last: AtomicUsize,
}

impl Topics {
    #[inline]
    pub fn get(&self, name: &str) -> Option<&TopicQueues> {
        match self.list.get(self.last.load(Ordering::Relaxed)) {
            Some(last) if *last.topic.name == *name => Some(last),
            _ => self.find(name),
        }
    }

    fn find(&self, name: &str) -> Option<&TopicQueues> {
        let at = *self.by_name.get(name)?;
        self.last.store(at, Ordering::Relaxed);
        self.list.get(at)
    }

    pub fn get_or_insert_with(
        &mut self,
        name: &Arc<str>,
        make: impl FnOnce() -> TopicQueues,
    ) -> &mut TopicQueues {
        let list = &mut self.list;
        let at = *self.by_name.entry(Arc::clone(name)).or_insert_with(|| {
            list.push(make());
            list.len() - 1
        });
        &mut self.list[at]
    }

    pub fn iter(&self) -> impl Iterator<Item = &TopicQueues> {
        self.list.iter()
    }
}
