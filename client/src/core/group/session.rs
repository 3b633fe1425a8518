//! Whether the coordinator still counts us in.
//!
//!     sent ──▶ heard by the coordinator ──▶ answered          its clock of us starts here ▲ or later,
//!      ▲ ours starts here                                     so ours is over first
//!
//! One heartbeat is under way at a time, each a third of the session timeout after the one before. Where another
//! rebalance is likely at once, the first ones come sooner: 0.1, 0.3, 0.7, 1.5 s after the last one.

use std::time::{Duration, Instant};

use super::CallId;

#[derive(Debug)]
pub(super) struct Session {
    interval: Duration,
    /// From the next heartbeat to the one after it.
    step: Duration,
    /// When the last request was sent that the coordinator answered as a member's.
    confirmed: Instant,
    beat: Option<(CallId, Instant)>,
    next: Instant,
}

impl Session {
    /// `sent`: when the request was sent by which the session began.
    pub(super) fn new(timeout: Duration, sent: Instant, now: Instant) -> Session {
        let interval = timeout / 3;
        Session { interval, step: interval, confirmed: sent, beat: None, next: now + interval }
    }

    /// The coordinator will soon ask everybody to join again, and tells it to who sends a heartbeat.
    pub(super) fn expect_rebalance(&mut self, now: Instant) {
        self.step = FIRST_BEAT.min(self.interval);
        self.next = self.next.min(now + self.step);
    }

    pub(super) fn confirm(&mut self, sent: Instant) {
        self.confirmed = self.confirmed.max(sent);
    }

    pub(super) fn deadline(&self, timeout: Duration) -> Instant {
        self.confirmed + timeout
    }

    /// `None` while one is under way.
    pub(super) fn next_beat(&self) -> Option<Instant> {
        self.beat.is_none().then_some(self.next)
    }

    pub(super) fn is_beat_due(&self, now: Instant) -> bool {
        self.next_beat().is_some_and(|next| next <= now)
    }

    pub(super) fn handle_beat(&mut self, id: CallId, now: Instant) {
        self.beat = Some((id, now));
        self.step = (2 * self.step).min(self.interval);
        self.next = now + self.step;
    }

    /// When the heartbeat was sent that this answers; `None` if it is not the one under way.
    pub(super) fn handle_answer(&mut self, id: CallId) -> Option<Instant> {
        self.beat.take_if(|(beat, _)| *beat == id).map(|(_, sent)| sent)
    }

    /// The last one failed: another as soon as may be.
    pub(super) fn beat_again(&mut self, at: Instant) {
        self.next = self.next.min(at);
    }
}

/// After this time those who let go of partitions have mostly committed and joined again.
const FIRST_BEAT: Duration = Duration::from_millis(100);
