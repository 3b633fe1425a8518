//! One alarm per key, and the earliest of them all.
//!
//!     set(key, Some(t))   at most one alarm per key, the latest wish counts
//!     poll_due(now)       the keys whose time has come, one at a time
//!     next()              what the driver's single timer sleeps until
//!
//! A tree and not a heap: alarms move with every batch, and a heap would keep each old position
//! until its time, which for a delivery timeout of two minutes is millions of them.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Instant;

#[derive(Debug)]
pub struct Timers<K> {
    by_time: BTreeSet<(Instant, K)>,
    by_key: HashMap<K, Instant>,
}

impl<K: Copy + Ord + Hash> Timers<K> {
    pub fn new() -> Timers<K> {
        Timers { by_time: BTreeSet::new(), by_key: HashMap::new() }
    }

    pub fn set(&mut self, key: K, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.by_key.insert(key, at),
            None => self.by_key.remove(&key),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, key));
        }
        if let Some(at) = at {
            self.by_time.insert((at, key));
        }
    }

    pub fn poll_due(&mut self, now: Instant) -> Option<K> {
        let (at, key) = *self.by_time.first()?;
        if now < at {
            return None;
        }
        self.set(key, None);
        Some(key)
    }

    pub fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_latest_wish_counts_and_fires_once() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::new();
        timers.set('a', Some(at(5)));
        timers.set('b', Some(at(3)));
        timers.set('a', Some(at(2)));
        timers.set('c', Some(at(1)));
        timers.set('c', None);
        assert_eq!(timers.next(), Some(at(2)));
        assert_eq!(timers.poll_due(at(1)), None);
        assert_eq!([timers.poll_due(at(9)), timers.poll_due(at(9))], [Some('a'), Some('b')]);
        assert_eq!((timers.poll_due(at(9)), timers.next()), (None, None));
    }
}
