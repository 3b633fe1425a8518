//! A pulse for every shard: a thread that wakes each executor ten times a second, and sees that it woke.
//!
//!     pulse thread ─ the time, every 100 ms ─▶ shard 0, shard 1, …       nothing to do: 0.1 % of a core
//!         └ the one before was not felt, and no CPU was used since ─ signal ─▶ its wait in io_uring_enter ends
//!
//! glommio 0.9 may go to sleep on a task that is ready. It arms its preempt timer and looks at its queues
//! next; if others had the core for so long that the timer has fired by then, it runs nothing, and takes that
//! for having nothing to run (docs/decisions/0006; mended by pull request 53 of glommio/glommio, of which
//! there is no release). Nothing ends that sleep if no operation is under way, and the pulse itself does not
//! either if who feels it is among the tasks that were not run: so it was with a shard that had just
//! started. A signal ends the wait whatever is on the rings. A shard at work is left alone.
//!
//! A pulse says when it was sent, so that a shard knows how late it was felt: a sample of how long tasks
//! have to wait for their turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender, TrySendError};

use super::sys;

const INTERVAL: Duration = Duration::from_millis(100);

/// A shard's end.
pub struct Pulse {
    beats: Receiver<Instant>,
    /// Who is to be woken; 0 until it is known.
    thread: Arc<AtomicI32>,
}

impl Pulse {
    /// The calling thread is who is to be woken, from now on.
    pub fn attach(&self) {
        self.thread.store(sys::thread_id(), Ordering::Relaxed);
    }

    /// Waits for the next pulse: when it was sent. `None` at the end.
    pub async fn feel(&self) -> Option<Instant> {
        self.beats.recv().await.ok()
    }
}

/// The pulse thread's end of one shard.
struct Patient {
    beats: Sender<Instant>,
    thread: Arc<AtomicI32>,
    watch: Watch,
}

/// Starts the thread. It ends when every receiver is gone.
pub fn start(shards: usize) -> std::io::Result<Vec<Pulse>> {
    sys::let_nudges_interrupt()?;
    let pair = || {
        let (sender, beats) = async_channel::bounded(1);
        let thread = Arc::new(AtomicI32::new(0));
        (Patient { beats: sender, thread: thread.clone(), watch: Watch::default() }, Pulse { beats, thread })
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
        let felt = match self.beats.try_send(Instant::now()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => false,
            Err(TrySendError::Closed(_)) => return false,
        };
        let thread = self.thread.load(Ordering::Relaxed);
        if thread != 0 && self.watch.is_asleep(felt, sys::cpu_time_of(thread)) {
            tracing::debug!(thread, "a shard that did not feel its pulse is woken by a signal");
            sys::nudge(thread);
        }
        true
    }
}

/// Which shards sleep through their pulse.
#[derive(Default)]
struct Watch {
    /// That the thread had used at the last beat.
    cpu: Duration,
}

impl Watch {
    /// Asked at each beat: whether the last one was `felt`, and all CPU time of the thread so far. One that
    /// used some since the last beat is awake and has more to do.
    fn is_asleep(&mut self, felt: bool, cpu: Duration) -> bool {
        let before = std::mem::replace(&mut self.cpu, cpu);
        !felt && before == cpu
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{ExecutorOptions, start_shard};

    #[test]
    fn who_was_away_feels_the_first_pulse_that_was_missed() {
        let shard = start(1).unwrap().remove(0);
        std::thread::sleep(4 * INTERVAL);
        let late = shard.beats.recv_blocking().unwrap().elapsed();
        assert!(2 * INTERVAL <= late, "{late:?} late after an absence of 300 ms");
        let next = shard.beats.recv_blocking().unwrap().elapsed();
        assert!(next < late, "the next pulse is fresh, not one of those that were missed");
    }

    #[test]
    fn a_shard_is_asleep_if_it_feels_nothing_and_does_nothing() {
        let (mut watch, ms) = (Watch::default(), Duration::from_millis);
        let beats = [(true, 5), (true, 5), (false, 8), (false, 8), (false, 8), (false, 9), (true, 9)];
        let asleep = beats.map(|(felt, cpu)| watch.is_asleep(felt, ms(cpu)));
        assert_eq!(asleep, [false, false, false, true, true, false, false]);
    }

    /// As glommio waits for a ring: in a system call that nothing on the ring will end.
    #[test]
    fn a_wait_in_the_kernel_ends_when_its_pulse_is_not_felt() {
        let shard = start(1).unwrap().remove(0);
        shard.attach();
        let ended = sys::wait_for_nothing(Duration::from_secs(30));
        assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::Interrupted);
    }

    /// With a preempt timer as short as this one, glommio goes to sleep on the first task of some executor in a
    /// hundred, which otherwise takes a machine with a lot to do. Where most do, a few are enough.
    #[test]
    fn an_executor_that_sleeps_on_its_first_task_is_woken() {
        let begun = Instant::now();
        for pulse in start(200).unwrap() {
            if Duration::from_secs(2) < begun.elapsed() {
                break;
            }
            let options = ExecutorOptions {
                name: "sleeper".to_owned(),
                cpu: 0,
                io_memory: 1 << 20,
                preempt_timer: Duration::from_micros(20),
            };
            let (done, is_done) = std::sync::mpsc::channel();
            let shard = start_shard(options, pulse, |pulse| async move {
                done.send(()).expect("the test waits for it");
                drop(pulse);
            });
            is_done.recv_timeout(Duration::from_secs(30)).expect("the task is run");
            shard.unwrap().join().unwrap();
        }
    }
}
