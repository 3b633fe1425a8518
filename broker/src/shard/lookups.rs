//! Searches for a time, which read and take apart batches: a few at a time, and of each request in turn.
//!
//!     request 7   a ▸ b ▸ c ▸ … 300,000 more
//!     request 8   x                               ─▶ a ▸ x ▸ b ▸ c ▸ …   by four tasks
//!
//! A few bytes of a request ask for one. Each that waits keeps a few as well, and nobody's single search waits
//! for the many of another request.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use protocol::api::OffsetSpec;

use super::{Origin, Partition, RequestKey};
use protocol::model::ShardId;

/// Searches that are under way at a time on a shard.
const SEARCHES_AT_ONCE: usize = 4;

pub struct Lookup {
    pub origin: Origin,
    pub partition: Rc<Partition>,
    pub spec: OffsetSpec,
}

/// Whose searches: a request, and the shard it came to.
type Asker = (ShardId, RequestKey);

#[derive(Default)]
pub struct Lookups {
    waiting: RefCell<Turns<Asker, Lookup>>,
    tasks: Cell<usize>,
}

impl Lookups {
    /// `true` if a task is to be started for it, which runs until [`Lookups::next`] has nothing for it.
    pub fn add(&self, lookup: Lookup) -> bool {
        let asker = (lookup.origin.shard, lookup.origin.request);
        self.waiting.borrow_mut().push(asker, lookup);
        let has_room = self.tasks.get() < SEARCHES_AT_ONCE;
        self.tasks.set(self.tasks.get() + usize::from(has_room));
        has_room
    }

    /// The next search of a task; without one the task has ended.
    pub fn next(&self) -> Option<Lookup> {
        let next = self.waiting.borrow_mut().pop();
        if next.is_none() {
            self.tasks.set(self.tasks.get() - 1);
        }
        next
    }
}

/// What askers want, one thing of each in turn.
struct Turns<K, T> {
    askers: VecDeque<(K, VecDeque<T>)>,
}

impl<K, T> Default for Turns<K, T> {
    fn default() -> Turns<K, T> {
        Turns { askers: VecDeque::new() }
    }
}

impl<K: PartialEq, T> Turns<K, T> {
    /// What one asker wants comes together: only the last one is looked for.
    fn push(&mut self, asker: K, thing: T) {
        match self.askers.back_mut() {
            Some((last, things)) if *last == asker => things.push_back(thing),
            _ => self.askers.push_back((asker, VecDeque::from([thing]))),
        }
    }

    fn pop(&mut self) -> Option<T> {
        let (asker, mut things) = self.askers.pop_front()?;
        let thing = things.pop_front().expect("BUG: an asker that wants nothing");
        if !things.is_empty() {
            self.askers.push_back((asker, things));
        }
        Some(thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn askers_take_turns() {
        let mut turns = Turns::default();
        for thing in 0..5 {
            turns.push("many", thing);
        }
        turns.push("one", 10);
        assert_eq!((turns.pop(), turns.pop()), (Some(0), Some(10)));
        turns.push("two", 20);
        turns.push("two", 21);
        let rest: Vec<i32> = std::iter::from_fn(|| turns.pop()).collect();
        assert_eq!(rest, [1, 20, 2, 21, 3, 4]);
        assert!(turns.askers.is_empty());
    }
}
