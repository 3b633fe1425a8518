//! Which request a reply belongs to.
//!
//!     open(now, timeout, sink) ─▶ correlation 7 ── … ── reply 7 ─▶ close(7) ─▶ sink
//!                                          └─ over its time: the connection is given up
//!
//! Whoever sends opens requests in one exchange, under a lock; the connection's task moves them to its own,
//! where replies are matched.
//!
//! Ids count up and are never used again on a connection, so a late reply cannot meet another
//! request. A request that is over its time ends the whole connection: only that tells what became
//! of the requests behind it, and with it their order.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use protocol::model::CorrelationId;

#[derive(Debug)]
pub struct Exchange<S> {
    /// Id of the first request in `waiting`, or of the next one if there is none.
    first: u64,
    /// By id, which is dense: replies come nearly in order, so this is as long as the requests under
    /// way. The front one waits.
    waiting: VecDeque<Option<Waiting<S>>>,
}

#[derive(Debug)]
struct Waiting<S> {
    since: Instant,
    timeout: Duration,
    sink: S,
}

impl<S> Exchange<S> {
    pub fn new() -> Exchange<S> {
        Exchange { first: 1, waiting: VecDeque::new() }
    }

    /// An id for a request that will not be answered.
    pub fn next_id(&mut self) -> CorrelationId {
        self.push(None)
    }

    /// An id for a request whose reply shall go to `sink`.
    pub fn open(&mut self, now: Instant, timeout: Duration, sink: S) -> CorrelationId {
        self.push(Some(Waiting { since: now, timeout, sink }))
    }

    fn push(&mut self, waiting: Option<Waiting<S>>) -> CorrelationId {
        let id = self.first + self.waiting.len() as u64;
        self.waiting.push_back(waiting);
        self.trim();
        CorrelationId::new(id)
    }

    /// Moves everybody who waits in `other`, of which this is the only reader, behind those who wait here.
    pub fn take_from(&mut self, other: &mut Exchange<S>) {
        if self.waiting.is_empty() {
            self.first = other.first;
        }
        // Requests that will not be answered may have left no trace there.
        let taken = usize::try_from(other.first - self.first).expect("BUG: they do not fit into memory");
        self.waiting.resize_with(taken, || None);
        other.first += other.waiting.len() as u64;
        self.waiting.append(&mut other.waiting);
        self.trim();
    }

    /// Where the reply goes; `None` if nobody asked.
    pub fn close(&mut self, id: CorrelationId) -> Option<S> {
        let at = usize::try_from(id.get().checked_sub(self.first)?).ok()?;
        let waiting = self.waiting.get_mut(at)?.take()?;
        self.trim();
        Some(waiting.sink)
    }

    fn trim(&mut self) {
        while self.waiting.pop_front_if(|waiting| waiting.is_none()).is_some() {
            self.first += 1;
        }
    }

    /// The timeout of a request that is over it, if there is one.
    pub fn overdue(&self, now: Instant) -> Option<Duration> {
        let is_over = |waiting: &&Waiting<S>| now.saturating_duration_since(waiting.since) >= waiting.timeout;
        self.waiting.iter().flatten().find(is_over).map(|waiting| waiting.timeout)
    }

    /// Everybody who still waits, in the order they asked.
    pub fn drain(&mut self) -> Vec<S> {
        self.first += self.waiting.len() as u64;
        self.waiting.drain(..).flatten().map(|waiting| waiting.sink).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn replies_find_their_requests_in_any_order_and_once() {
        let now = Instant::now();
        let mut exchange = Exchange::new();
        let a = exchange.open(now, SECOND, "a");
        let b = exchange.open(now, SECOND, "b");
        assert_eq!((exchange.close(b), exchange.close(a), exchange.close(b)), (Some("b"), Some("a"), None));
    }

    #[test]
    fn requests_without_a_reply_take_ids_and_no_room() {
        let mut exchange = Exchange::new();
        assert_eq!((exchange.next_id(), exchange.next_id()), (CorrelationId::new(1), CorrelationId::new(2)));
        let a = exchange.open(Instant::now(), SECOND, "a");
        assert_eq!((a, exchange.next_id()), (CorrelationId::new(3), CorrelationId::new(4)));
        assert_eq!(
            (exchange.close(CorrelationId::new(4)), exchange.close(CorrelationId::new(9))),
            (None, None)
        );
        assert_eq!((exchange.close(a), exchange.waiting.len()), (Some("a"), 0));
        assert_eq!(exchange.next_id(), CorrelationId::new(5));
    }

    #[test]
    fn the_one_over_its_own_timeout_is_told() {
        let now = Instant::now();
        let mut exchange = Exchange::new();
        exchange.open(now, 9 * SECOND, "long poll");
        exchange.open(now + SECOND, 2 * SECOND, "quick");
        assert_eq!(exchange.overdue(now + 2 * SECOND), None);
        assert_eq!(exchange.overdue(now + 3 * SECOND), Some(2 * SECOND));
    }

    #[test]
    fn requests_that_were_moved_keep_their_ids() {
        let now = Instant::now();
        let (mut inbox, mut task) = (Exchange::new(), Exchange::new());
        let mut opened = Vec::new();
        for round in 0..6 {
            for _ in 0..round {
                inbox.next_id();
            }
            let name = format!("round {round}");
            opened.push((inbox.open(now, SECOND, name.clone()), name));
            inbox.next_id();
            task.take_from(&mut inbox);
            task.take_from(&mut inbox);
            if round == 3 {
                for (id, name) in opened.drain(..).rev() {
                    assert_eq!(task.close(id), Some(name));
                }
                assert_eq!(task.waiting.len(), 0, "nobody waits");
            }
        }
        assert_eq!(inbox.waiting.len(), 0);
        let ids: Vec<u64> = opened.iter().map(|(id, _)| id.get()).collect();
        assert_eq!(ids, [19, 26], "as if all had been opened in one");
        for (id, name) in opened {
            assert_eq!((task.close(id), task.close(id)), (Some(name), None));
        }
    }

    #[test]
    fn a_lost_connection_tells_everybody_in_order() {
        let now = Instant::now();
        let mut exchange = Exchange::new();
        let ids: Vec<_> = (0..20).map(|i| exchange.open(now, SECOND, i)).collect();
        exchange.close(ids[3]);
        let expected: Vec<i32> = (0..20).filter(|i| *i != 3).collect();
        assert_eq!(exchange.drain(), expected);
        assert_eq!(exchange.drain(), []);
    }
}
