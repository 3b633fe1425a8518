//! A pulse for every shard: a thread that wakes each executor ten times a second.
//!
//!     pulse thread ─ the time, every 100 ms ─▶ shard 0, shard 1, …       nothing to do: 0.1 % of a core
//!         └ not felt for a second ─ signal ─▶ its thread: the wait in io_uring_enter ends
//!
//! glommio 0.9 now and then misses a wake-up: 4 of 460 starts after a kill slept for ever in
//! io_uring_enter with all their operations done. Which wake-up is missed is not known
//! (docs/decisions/0006). A timer of the executor's own helps less, for it may be what was missed, and so may
//! a message be; a signal ends the wait whatever is on the rings. So a missed wake-up costs a second at most.
//!
//! A pulse says when it was sent, so that a shard knows how late it was felt: a sample of how long tasks
//! have to wait for their turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender, TrySendError};

use super::sys;

const INTERVAL: Duration = Duration::from_millis(100);

/// Pulses in a row that a shard may leave unfelt: it has a lot to do, or it sleeps and was not woken.
const UNFELT_MAX: u32 = 10;

/// A shard's end.
pub struct Pulse {
    beats: Receiver<Instant>,
    /// Who is to be woken; 0 while nobody feels.
    thread: Arc<AtomicI32>,
}

impl Pulse {
    /// Waits for the next pulse: when it was sent. `None` at the end. Called by the thread that is to be woken.
    pub async fn feel(&self) -> Option<Instant> {
        self.thread.store(sys::thread_id(), Ordering::Relaxed);
        self.beats.recv().await.ok()
    }
}

/// The pulse thread's end of one shard.
struct Patient {
    beats: Sender<Instant>,
    thread: Arc<AtomicI32>,
    unfelt: u32,
}

/// Starts the thread. It ends when every receiver is gone.
pub fn start(shards: usize) -> std::io::Result<Vec<Pulse>> {
    sys::let_nudges_interrupt()?;
    let pair = || {
        let (sender, beats) = async_channel::bounded(1);
        let thread = Arc::new(AtomicI32::new(0));
        (Patient { beats: sender, thread: thread.clone(), unfelt: 0 }, Pulse { beats, thread })
    };
    let (patients, pulses): (Vec<_>, Vec<_>) = (0..shards).map(|_| pair()).unzip();
    std::thread::Builder::new().name("ringlog-pulse".to_owned()).spawn(move || beat(patients))?;
    Ok(pulses)
}

fn beat(mut shards: Vec<Patient>) {
    loop {
        std::thread::sleep(INTERVAL);
        let gone = shards.iter_mut().map(Patient::beat).filter(|is_there| !is_there).count();
        if gone == shards.len() {
            return;
        }
    }
}

impl Patient {
    /// `false` if the shard is gone.
    fn beat(&mut self) -> bool {
        match self.beats.try_send(Instant::now()) {
            Ok(()) => self.unfelt = 0,
            // It has not felt the last one yet: it is awake and has more to do, or it misses its wake-ups.
            Err(TrySendError::Full(_)) => self.unfelt += 1,
            Err(TrySendError::Closed(_)) => return false,
        }
        let thread = self.thread.load(Ordering::Relaxed);
        if self.unfelt == UNFELT_MAX && thread != 0 {
            self.unfelt = 0;
            tracing::warn!(thread, "a shard has not felt its pulse for a second and is woken by a signal");
            sys::nudge(thread);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_away_feels_the_first_pulse_that_was_missed() {
        let shard = start(1).unwrap().remove(0);
        std::thread::sleep(4 * INTERVAL);
        let late = shard.beats.recv_blocking().unwrap().elapsed();
        assert!(2 * INTERVAL <= late, "{late:?} late after an absence of 300 ms");
        let next = shard.beats.recv_blocking().unwrap().elapsed();
        assert!(next < late, "the next pulse is fresh, not one of those that were missed");
    }

    /// As glommio waits for a ring: in a system call that nothing on the ring will end.
    #[test]
    fn a_wait_in_the_kernel_ends_when_its_pulse_is_not_felt() {
        let shard = start(1).unwrap().remove(0);
        shard.thread.store(sys::thread_id(), Ordering::Relaxed);
        let begun = Instant::now();
        let ended = sys::wait_for_nothing(Duration::from_secs(30));
        assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::Interrupted);
        assert!(INTERVAL * UNFELT_MAX <= begun.elapsed(), "a busy shard is left alone for a second");
    }
}
