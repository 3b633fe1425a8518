//! Deadlines of long polls: pure bookkeeping, one sleeping task per shard.
//!
//!     insert(t, fetch 7) ─┐
//!     insert(u, fetch 8) ─┴▶ next() = min(t, u) ─ sleep ─▶ expired(now) = [7]

use std::collections::BTreeSet;
use std::time::Instant;

#[derive(Default)]
pub struct Timers {
    deadlines: BTreeSet<(Instant, u64)>,
}

impl Timers {
    pub fn insert(&mut self, deadline: Instant, id: u64) {
        self.deadlines.insert((deadline, id));
    }

    pub fn remove(&mut self, deadline: Instant, id: u64) {
        self.deadlines.remove(&(deadline, id));
    }

    pub fn next(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Takes out what is due.
    pub fn expired(&mut self, now: Instant) -> Vec<u64> {
        let later = self.deadlines.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut self.deadlines, later);
        due.into_iter().map(|(_, id)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_due_comes_out_once_and_in_order() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        for (ms, id) in [(30, 3), (10, 1), (20, 2), (10, 4)] {
            timers.insert(at(ms), id);
        }
        timers.remove(at(20), 2);
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.expired(at(10)), [1, 4]);
        assert_eq!(timers.expired(at(29)), [0u64; 0]);
        assert_eq!(timers.expired(at(30)), [3]);
        assert_eq!(timers.next(), None);
    }
}
