//! The topics of a catalog, found by name, by id, and by what they could be taken for.
//!
//!     by_name    a.b ─▶ record           names    3f… ─▶ a.b
//!     alike      a_b ─▶ {a.b}            deleting 77… ─▶ record
//!
//! What is done for one topic never looks at all of them: a replay and a request of thousands stay linear.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use protocol::model::{TopicId, TopicName};

use super::TopicRecord;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Topics {
    by_name: BTreeMap<TopicName, Arc<TopicRecord>>,
    names: HashMap<TopicId, TopicName>,
    /// By [`TopicName::folded`]; two that are alike are both here if they were made before that was refused.
    alike: BTreeMap<Box<str>, BTreeSet<TopicName>>,
    /// Topics that are gone for everybody but whose files may not be.
    deleting: BTreeMap<TopicId, Arc<TopicRecord>>,
}

impl Topics {
    pub fn all(&self) -> impl Iterator<Item = &Arc<TopicRecord>> {
        self.by_name.values()
    }

    pub fn deleting(&self) -> impl Iterator<Item = &Arc<TopicRecord>> {
        self.deleting.values()
    }

    pub fn get(&self, name: &str) -> Option<&Arc<TopicRecord>> {
        self.by_name.get(name)
    }

    pub fn name_of(&self, id: TopicId) -> Option<&TopicName> {
        self.names.get(&id)
    }

    /// A topic of another name that collides with this one.
    pub fn colliding(&self, name: &TopicName) -> Option<&TopicName> {
        self.alike.get(&name.folded())?.iter().find(|other| *other != name)
    }

    pub fn insert(&mut self, topic: TopicRecord) {
        let (id, name) = (topic.id, topic.name.clone());
        self.alike.entry(name.folded()).or_default().insert(name.clone());
        // No plan gives a name to two topics, but records are read from a disk.
        let before = self.by_name.insert(name.clone(), Arc::new(topic)).map(|before| before.id);
        if let Some(before) = before.filter(|before| self.names.get(before) == Some(&name)) {
            self.names.remove(&before);
        }
        self.names.insert(id, name);
    }

    /// Changes a topic; one that is not there is left so.
    pub fn change(&mut self, id: TopicId, change: impl FnOnce(&mut TopicRecord)) {
        let name = self.names.get(&id);
        if let Some(topic) = name.and_then(|name| self.by_name.get_mut(name)) {
            change(Arc::make_mut(topic));
        }
    }

    /// Takes a topic from its name; its files may still be there.
    pub fn delete(&mut self, id: TopicId) {
        let Some(name) = self.names.remove(&id) else { return };
        let folded = name.folded();
        if let Some(alike) = self.alike.get_mut(&folded) {
            alike.remove(&name);
            if alike.is_empty() {
                self.alike.remove(&folded);
            }
        }
        self.deleting.extend(self.by_name.remove(&name).map(|topic| (id, topic)));
    }

    /// Forgets a topic that was deleted.
    pub fn remove(&mut self, id: TopicId) {
        self.deleting.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str, id: u8) -> TopicRecord {
        TopicRecord {
            name: TopicName::new(name).unwrap(),
            id: TopicId::from_bytes([id; 16]),
            number: 0,
            partitions: 1,
            configs: BTreeMap::new(),
        }
    }

    #[test]
    fn a_name_collides_for_as_long_as_the_other_topic_is_there() {
        let mut topics = Topics::default();
        let colliding = |topics: &Topics, name: &str| {
            topics.colliding(&TopicName::new(name).unwrap()).map(|other| other.as_str().to_owned())
        };
        for (name, id) in [("a.b_c", 1), ("a_b.c", 2), ("d", 3)] {
            topics.insert(topic(name, id));
        }
        assert_eq!(colliding(&topics, "a_b_c").as_deref(), Some("a.b_c"));
        assert_eq!(colliding(&topics, "a.b_c").as_deref(), Some("a_b.c"), "not with itself");
        assert_eq!(colliding(&topics, "d"), None);
        assert_eq!(colliding(&topics, "a-b-c"), None);
        topics.delete(TopicId::from_bytes([1; 16]));
        assert_eq!(colliding(&topics, "a_b_c").as_deref(), Some("a_b.c"));
        topics.delete(TopicId::from_bytes([2; 16]));
        assert_eq!(colliding(&topics, "a_b_c"), None);
        topics.delete(TopicId::from_bytes([3; 16]));
        for id in 1..=3 {
            topics.remove(TopicId::from_bytes([id; 16]));
        }
        assert_eq!(topics, Topics::default(), "nothing is left of what is gone");
    }
}
