//! How long a peer is waited for.
//!
//!     its first frame    `listener.hello_timeout` if it is native, else as for the next
//!     within a frame     30 s for each part of it, and for all of it 30 s more than at 64 KiB a second
//!     the next frame     for ever, or `kafka.connections_idle_max` while nothing is owed to it
//!     to take replies    10 minutes for each part of them, 30 s while a large frame of its waits for that
//!     its own requests   30 s for each, while a large frame of its waits for that, if others need the memory
//!
//! A connection notes by when something has to happen, and its shard looks every second who is late:
//! what is promised to a peer that has gone, others can use.

use std::cell::Cell;
use std::time::{Duration, Instant};

const STALL_MAX: Duration = Duration::from_secs(30);

/// Bytes of a frame that have to come in a second, beside [`STALL_MAX`] for the whole of it.
const RECEIVE_RATE_MIN: u64 = 64 << 10;

const UNTAKEN_MAX: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Awaited {
    /// The next part of a frame, or that replies are taken.
    Progress,
    /// That the broker answers what the peer has asked for, which may be to wait. Nobody is late but who
    /// keeps memory meanwhile that others wait for.
    Answers,
    /// Whatever comes next, within so long; nothing need come from a peer that itself waits.
    Anything(Duration),
}

/// What a connection waits for, if it is the peer's turn.
#[derive(Default)]
pub struct Patience {
    awaited: Cell<Option<(Awaited, Instant)>>,
}

impl Patience {
    /// More of a frame of `frame_len` bytes, for parts of which `waited` was spent so far.
    pub fn await_rest(&self, now: Instant, frame_len: usize, waited: Duration) {
        let whole = STALL_MAX + Duration::from_secs(frame_len as u64 / RECEIVE_RATE_MIN);
        self.awaited.set(Some((Awaited::Progress, now + whole.saturating_sub(waited).min(STALL_MAX))));
    }

    /// The next frame, if the peer itself waits for nothing.
    pub fn await_next(&self, now: Instant, idle_max: Duration) {
        self.awaited.set(Some((Awaited::Anything(idle_max), now + idle_max)));
    }

    /// That replies are taken; `keeps_frame` if memory is promised for a frame meanwhile.
    pub fn await_taking(&self, now: Instant, keeps_frame: bool) {
        let most = if keeps_frame { STALL_MAX } else { UNTAKEN_MAX };
        self.awaited.set(Some((Awaited::Progress, now + most)));
    }

    /// That requests of the peer are answered while memory is promised for a frame behind them.
    pub fn await_answers(&self, now: Instant) {
        self.awaited.set(Some((Awaited::Answers, now + STALL_MAX)));
    }

    /// It is not the peer's turn.
    pub fn await_nothing(&self) {
        self.awaited.set(None);
    }

    /// Whether the peer is late. One that waits itself for something, as `is_owed` says, is not idle; memory is
    /// waited for if `is_tight`.
    pub fn is_over(&self, now: Instant, is_owed: bool, is_tight: bool) -> bool {
        match self.awaited.get() {
            Some((Awaited::Anything(idle_max), _)) if is_owed => {
                self.await_next(now, idle_max);
                false
            }
            Some((Awaited::Answers, by)) => by <= now && is_tight,
            Some((_, by)) => by <= now,
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn over_after(patience: &Patience, begun: Instant) -> Option<u32> {
        (0..2000).find(|seconds| patience.is_over(begun + SECOND * *seconds, false, true))
    }

    #[test]
    fn a_frame_has_thirty_seconds_for_each_part_and_its_rate_for_the_whole() {
        let (patience, now) = (Patience::default(), Instant::now());
        patience.await_rest(now, 4, Duration::ZERO);
        assert_eq!(over_after(&patience, now), Some(30));
        patience.await_rest(now, 1 << 20, SECOND * 16);
        assert_eq!(over_after(&patience, now), Some(30));
        patience.await_rest(now, 1 << 20, SECOND * 40);
        assert_eq!(over_after(&patience, now), Some(6));
        patience.await_rest(now, 1 << 20, SECOND * 100);
        assert_eq!(over_after(&patience, now), Some(0));
    }

    #[test]
    fn an_idle_peer_is_waited_for_while_it_waits_itself() {
        let (patience, now) = (Patience::default(), Instant::now());
        patience.await_next(now, SECOND * 60);
        assert_eq!(over_after(&patience, now), Some(60));
        assert!(!patience.is_over(now + SECOND * 100, true, true));
        assert_eq!(over_after(&patience, now), Some(160));
        patience.await_rest(now, 100, Duration::ZERO);
        assert!(patience.is_over(now + SECOND * 61, true, true));
        patience.await_nothing();
        assert_eq!(over_after(&patience, now), None);
    }

    #[test]
    fn who_keeps_memory_has_to_take_its_replies_sooner() {
        let (patience, now) = (Patience::default(), Instant::now());
        patience.await_taking(now, false);
        assert_eq!(over_after(&patience, now), Some(600));
        patience.await_taking(now, true);
        assert_eq!(over_after(&patience, now), Some(30));
    }

    #[test]
    fn who_waits_for_answers_is_late_only_when_its_memory_is_needed() {
        let (patience, now) = (Patience::default(), Instant::now());
        patience.await_answers(now);
        assert!(!patience.is_over(now + SECOND * 300, true, false));
        assert!(!patience.is_over(now + SECOND * 29, true, true));
        assert!(patience.is_over(now + SECOND * 30, true, true));
    }
}
