//! Which request a reply belongs to.
//!
//!     open(now, timeout, sink) ─▶ correlation 7 ── … ── reply 7 ─▶ close(7) ─▶ sink
//!                                          └─ over its time: the connection is given up
//!
//! Ids count up and are never used again on a connection, so a late reply cannot meet another
//! request. A request that is over its time ends the whole connection: only that tells what became
//! of the requests behind it, and with it their order.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use protocol::model::CorrelationId;

#[derive(Debug)]
pub struct Exchange<S> {
    next: u64,
    waiting: HashMap<CorrelationId, Waiting<S>>,
}

#[derive(Debug)]
struct Waiting<S> {
    since: Instant,
    timeout: Duration,
    sink: S,
}

impl<S> Exchange<S> {
    pub fn new() -> Exchange<S> {
        Exchange { next: 0, waiting: HashMap::new() }
    }

    /// An id for a request that will not be answered.
    pub fn next_id(&mut self) -> CorrelationId {
        self.next += 1;
        CorrelationId::new(self.next)
    }

    /// An id for a request whose reply shall go to `sink`.
    pub fn open(&mut self, now: Instant, timeout: Duration, sink: S) -> CorrelationId {
        let id = self.next_id();
        self.waiting.insert(id, Waiting { since: now, timeout, sink });
        id
    }

    /// Where the reply goes; `None` if nobody asked.
    pub fn close(&mut self, id: CorrelationId) -> Option<S> {
        self.waiting.remove(&id).map(|waiting| waiting.sink)
    }

    /// The timeout of a request that is over it, if there is one.
    pub fn overdue(&self, now: Instant) -> Option<Duration> {
        let is_over = |waiting: &&Waiting<S>| now.saturating_duration_since(waiting.since) >= waiting.timeout;
        self.waiting.values().find(is_over).map(|waiting| waiting.timeout)
    }

    /// Everybody who still waits, in the order they asked.
    pub fn drain(&mut self) -> Vec<S> {
        let mut waiting: Vec<_> = self.waiting.drain().collect();
        waiting.sort_by_key(|(id, _)| *id);
        waiting.into_iter().map(|(_, waiting)| waiting.sink).collect()
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
    fn the_one_over_its_own_timeout_is_told() {
        let now = Instant::now();
        let mut exchange = Exchange::new();
        exchange.open(now, 9 * SECOND, "long poll");
        exchange.open(now + SECOND, 2 * SECOND, "quick");
        assert_eq!(exchange.overdue(now + 2 * SECOND), None);
        assert_eq!(exchange.overdue(now + 3 * SECOND), Some(2 * SECOND));
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
