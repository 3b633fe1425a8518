//! A pulse for every shard: a thread that wakes each executor ten times a second.
//!
//!     pulse thread ─ the time, every 100 ms ─▶ shard 0, shard 1, …       nothing to do: 0.1 % of a core
//!
//! glommio 0.9 now and then misses a wake-up: 4 of 460 starts after a kill slept for ever in
//! io_uring_enter with all their operations done, and any wake from outside brought them on. Which
//! wake-up is missed is not known (docs/decisions/0006). A timer of the executor's own helps less, for
//! it may be what was missed. So a missed wake-up costs 100 ms instead of everything.
//!
//! A pulse says when it was sent, so that a shard knows how late it was felt: a sample of how long tasks
//! have to wait for their turn.

use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender, TrySendError};

const INTERVAL: Duration = Duration::from_millis(100);

/// Starts the thread. It ends when every receiver is gone.
pub fn start(shards: usize) -> std::io::Result<Vec<Receiver<Instant>>> {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..shards).map(|_| async_channel::bounded(1)).unzip();
    std::thread::Builder::new().name("ringlog-pulse".to_owned()).spawn(move || beat(&senders))?;
    Ok(receivers)
}

fn beat(shards: &[Sender<Instant>]) {
    loop {
        std::thread::sleep(INTERVAL);
        // A shard that has not felt the last one yet is awake, or is woken by it; it will be late by that one.
        let mut gone = 0;
        for shard in shards {
            gone += usize::from(matches!(shard.try_send(Instant::now()), Err(TrySendError::Closed(_))));
        }
        if gone == shards.len() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_away_feels_the_first_pulse_that_was_missed() {
        let shard = start(1).unwrap().remove(0);
        std::thread::sleep(4 * INTERVAL);
        let late = shard.recv_blocking().unwrap().elapsed();
        assert!(2 * INTERVAL <= late, "{late:?} late after an absence of 300 ms");
        let next = shard.recv_blocking().unwrap().elapsed();
        assert!(next < late, "the next pulse is fresh, not one of those that were missed");
    }
}
