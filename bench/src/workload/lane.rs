//! Records of one producer and one partition whose outcome is not known, in the order of their sending.
//!
//!     sender ─push─▶ │ticket│ticket│ticket│…│ ─▶ collector: waits for the first, then takes all that are done
//!                     └── one batch ───┘         one look at the clock, one lock of the meter per wake
//!
//! A partition's batches are acknowledged in order, so the first ticket is the next to be done. Over
//! several partitions that does not hold, hence a lane for each: a record that is done never waits
//! behind one that is not, and its latency ends when it is acknowledged.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use ringlog_client::{SendError, Ticket};
use tokio::sync::Semaphore;

use crate::clock::Moment;
use crate::meter::Meter;
use crate::verify::Sent;

/// A record on its way.
struct Pending {
    ticket: Ticket,
    sequence: u64,
    /// When it was sent or, in an open loop, when it ought to have been.
    started: Moment,
}

#[derive(Default)]
struct Queue {
    pending: VecDeque<Pending>,
    /// The collector, while there is nothing for it to wait for.
    idle: Option<Waker>,
    is_finished: bool,
}

#[derive(Default)]
pub struct Lane(Mutex<Queue>);

/// What became of one producer's records, shared by its lanes.
pub struct Tally {
    outcomes: Mutex<Outcomes>,
    meter: Arc<Meter>,
    record_size: u64,
    /// Room for more records, in a closed loop.
    window: Option<Arc<Semaphore>>,
}

#[derive(Default)]
pub struct Outcomes {
    /// Only where records are verified.
    pub sent: Option<Sent>,
    pub acked: u64,
    pub failed: u64,
    pub first_error: Option<String>,
    pub last_ack: Option<Moment>,
}

impl Tally {
    pub fn new(meter: Arc<Meter>, record_size: u64, window: Option<Arc<Semaphore>>, verify: bool) -> Tally {
        let outcomes = Outcomes { sent: verify.then(Sent::default), ..Outcomes::default() };
        Tally { outcomes: Mutex::new(outcomes), meter, record_size, window }
    }

    pub fn lock(&self) -> MutexGuard<'_, Outcomes> {
        self.outcomes.lock().expect("BUG: a task panicked while it counted")
    }
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().expect("BUG: a task panicked while it held a lane")
    }

    pub fn push(&self, ticket: Ticket, sequence: u64, started: Moment) {
        let mut queue = self.lock();
        queue.pending.push_back(Pending { ticket, sequence, started });
        if let Some(waker) = queue.idle.take() {
            waker.wake();
        }
    }

    /// Nothing more is pushed: the collector ends when all outcomes are known.
    pub fn finish(&self) {
        let mut queue = self.lock();
        queue.is_finished = true;
        if let Some(waker) = queue.idle.take() {
            waker.wake();
        }
    }

    /// Takes outcomes as they come, until the lane is finished and empty.
    pub async fn collect(&self, tally: &Tally) {
        let mut done = Done::default();
        loop {
            let is_over = std::future::poll_fn(|cx| self.poll_done(&mut done, cx)).await;
            tally.take(&mut done);
            if is_over {
                return;
            }
        }
    }

    /// Moves what is done to `done`, some thousand at most. Ready with `true` at the very end.
    fn poll_done(&self, done: &mut Done, cx: &mut Context<'_>) -> Poll<bool> {
        let queue = &mut *self.lock();
        while let Some(first) = queue.pending.front_mut() {
            match Pin::new(&mut first.ticket).poll(cx) {
                Poll::Pending if done.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(false),
                Poll::Ready(Ok(_)) => done.push_acked(first.sequence, first.started),
                Poll::Ready(Err(error)) => done.failed.push(error),
            }
            queue.pending.pop_front();
            if done.count >= AT_ONCE {
                return Poll::Ready(false);
            }
        }
        if queue.is_finished || !done.is_empty() {
            return Poll::Ready(queue.is_finished);
        }
        queue.idle = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// Records whose outcome became known at one wake.
#[derive(Default)]
struct Done {
    acked: Vec<Run>,
    failed: Vec<SendError>,
    count: usize,
}

/// Records that were acknowledged together and sent at one reading of the clock.
struct Run {
    started: Moment,
    sequences: std::ops::Range<u64>,
}

impl Done {
    fn is_empty(&self) -> bool {
        self.acked.is_empty() && self.failed.is_empty()
    }

    fn push_acked(&mut self, sequence: u64, started: Moment) {
        self.count += 1;
        match self.acked.last_mut() {
            Some(run) if run.started == started && run.sequences.end == sequence => run.sequences.end += 1,
            _ => self.acked.push(Run { started, sequences: sequence..sequence + 1 }),
        }
    }
}

impl Tally {
    /// Counts a record that was acknowledged just now.
    pub fn take_acked(&self, sequence: u64, started: Moment) {
        let now = Moment::now();
        self.meter.lock().record(now.ns_since(started), 1, self.record_size);
        let outcomes = &mut *self.lock();
        if let Some(sent) = &mut outcomes.sent {
            sent.acked(sequence);
        }
        outcomes.acked += 1;
        outcomes.last_ack = Some(now);
        self.make_room(1);
    }

    /// Counts a record that was given up.
    pub fn take_failed(&self, error: String) {
        let outcomes = &mut *self.lock();
        outcomes.failed += 1;
        outcomes.first_error.get_or_insert(error);
        self.make_room(1);
    }

    fn make_room(&self, records: usize) {
        if let Some(window) = &self.window {
            window.add_permits(records);
        }
    }

    /// Counts what became known just now.
    fn take(&self, done: &mut Done) {
        let now = Moment::now();
        let known = done.failed.len();
        let outcomes = &mut *self.lock();
        let mut acked = 0;
        {
            let mut sample = self.meter.lock();
            for run in &done.acked {
                let count = run.sequences.end - run.sequences.start;
                sample.record(now.ns_since(run.started), count, count * self.record_size);
                acked += count;
            }
        }
        if let Some(sent) = &mut outcomes.sent {
            done.acked.iter().flat_map(|run| run.sequences.clone()).for_each(|sequence| sent.acked(sequence));
        }
        outcomes.acked += acked;
        outcomes.failed += done.failed.len() as u64;
        if let Some(error) = done.failed.drain(..).next() {
            outcomes.first_error.get_or_insert(error.to_string());
        }
        if acked > 0 {
            outcomes.last_ack = Some(now);
        }
        self.make_room(known + acked as usize);
        done.acked.clear();
        done.count = 0;
    }
}

/// Outcomes taken in one go, so that the clock is read again before it is much later.
const AT_ONCE: usize = 1024;
