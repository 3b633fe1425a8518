//! Warnings that peers can cause, as many as people can read.
//!
//!     port scanner ─ 10,000 connections a second ─▶ 5 lines a second, the next second's first says "9,995 more"

use std::cell::Cell;
use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::connection::Connection;

const LINES_A_SECOND: u32 = 5;

#[derive(Default)]
pub struct Complaints {
    second: Cell<Option<Instant>>,
    said: Cell<u32>,
    unsaid: Cell<u64>,
}

impl Complaints {
    pub fn connection_ended(&self, connection: &Connection, why: &dyn Display) {
        if let Some(unsaid) = self.may_say(Instant::now()) {
            let peer = connection.peer_host();
            tracing::warn!(peer, %why, unsaid, "a connection is closed");
        }
    }

    pub fn connection_refused(&self, open: usize, peer: Option<std::net::SocketAddr>) {
        if let Some(unsaid) = self.may_say(Instant::now()) {
            tracing::warn!(open, ?peer, unsaid, "connection refused: listener.connections_max");
        }
    }

    /// Whether a line may be written, and how many were not since the last one.
    fn may_say(&self, now: Instant) -> Option<u64> {
        let is_new = |second: Instant| second + Duration::from_secs(1) <= now;
        if self.second.get().is_none_or(is_new) {
            self.second.set(Some(now));
            self.said.set(0);
        }
        if LINES_A_SECOND <= self.said.get() {
            self.unsaid.set(self.unsaid.get() + 1);
            return None;
        }
        self.said.set(self.said.get() + 1);
        Some(self.unsaid.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_lines_a_second_and_the_number_of_the_others() {
        let (complaints, now) = (Complaints::default(), Instant::now());
        let say = |ms| complaints.may_say(now + Duration::from_millis(ms));
        let first: Vec<_> = (0..100).map(say).collect();
        assert_eq!(first[..6], [Some(0), Some(0), Some(0), Some(0), Some(0), None]);
        assert_eq!(first.iter().flatten().count(), 5);
        assert_eq!((say(999), say(1000), say(1001)), (None, Some(96), Some(0)));
    }
}
