//! What a producer holds for one partition: the batch that fills, and those on their way.
//!
//!     append ─▶ open batch ──bytes, linger, flush──▶ lane: waiting ─▶ flights ─▶ one outcome
//!               (builder)                             ▲                  │
//!                                                     └── pause, retry ──┘
//!
//! Owned by the producer, behind one mutex per partition: threads append, the driver does the rest.
//! Contract for the driver: after anything happened, `poll_expired` and `poll_send` until `None`,
//! then set the alarm to `poll_timeout`. Every batch leaves exactly once, by `handle_answer`,
//! `poll_expired` or `drain`, and with it all its records: that is their one outcome.
//!
//! A batch is not closed before it can be sent: while the window is full, the open batch goes on
//! filling beyond its linger, up to its size.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::batch::{BatchBuilder, BuildError, Codec, record_size_upper_bound};
use protocol::model::{RecordCount, Timestamp};

use super::backoff::Backoff;
use super::lane::{Failed, FlightId, Lane};

#[cfg(test)]
mod tests;

/// Options of a producer that matter to its queues.
#[derive(Clone, Copy, Debug)]
pub struct QueueOptions {
    pub linger: Duration,
    pub batch_bytes: usize,
    pub in_flight: usize,
    pub compression: Codec,
    pub delivery_timeout: Duration,
    pub retry_backoff: Duration,
}

/// `S` is what records of one batch share to learn their outcome.
#[derive(Debug)]
pub struct Queue<S> {
    options: QueueOptions,
    /// Largest batch the topic takes.
    batch_bytes_max: usize,
    builder: BatchBuilder,
    open: Option<Open<S>>,
    lane: Lane<ClosedBatch<S>>,
    backoff: Backoff,
    pause_until: Option<Instant>,
    sealed: bool,
}

#[derive(Debug)]
struct Open<S> {
    since: Instant,
    charged: usize,
    flush: bool,
    state: S,
}

/// A batch as it is sent, and what its outcome needs.
#[derive(Debug)]
pub struct ClosedBatch<S> {
    pub bytes: Bytes,
    pub records: RecordCount,
    /// Bytes that its records were charged in the producer's buffer.
    pub charged: usize,
    pub state: S,
    /// Whether a try ended without an answer, so that the batch may be in the log.
    pub unsure: bool,
    /// Why the last try failed.
    pub last_error: Option<Arc<str>>,
    deadline: Instant,
}

/// The fields of a record, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    pub timestamp: Timestamp,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
    /// What it is charged in the producer's buffer.
    pub charge: usize,
}

/// A record's place in its batch.
#[derive(Debug)]
pub struct Appended<S> {
    pub state: S,
    pub index: u32,
    /// Whether the driver has something to do now.
    pub wake: bool,
    /// Whether a batch was closed.
    pub closed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotAppended {
    /// The batch is closed and none was opened, as asked. The driver has something to do if `wake`.
    Full { wake: bool },
    /// The record alone makes a batch of `bytes`.
    TooLarge { bytes: usize, limit: usize },
    /// The producer is closed.
    Sealed,
}

/// Whether `append` may open a new batch after closing a full one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WhenFull {
    OpenNext,
    Stop,
}

/// A batch to be sent now.
#[derive(Debug)]
pub struct Sending {
    pub flight: FlightId,
    pub bytes: Bytes,
    /// Whether the batch was open until now.
    pub was_open: bool,
}

impl<S: Clone> Queue<S> {
    pub fn new(options: QueueOptions, batch_bytes_max: usize) -> Queue<S> {
        Queue {
            options,
            batch_bytes_max,
            builder: BatchBuilder::new(options.compression),
            open: None,
            lane: Lane::new(options.in_flight),
            backoff: Backoff::new(options.retry_backoff),
            pause_until: None,
            sealed: false,
        }
    }

    /// The topic was configured anew; batches that are closed stay as they are.
    pub fn set_batch_bytes_max(&mut self, bytes: usize) {
        self.batch_bytes_max = bytes;
    }

    /// Adds a record to the open batch. `now` and `state` are asked only if a batch is opened.
    pub fn append(
        &mut self,
        record: RecordRef<'_>,
        when_full: WhenFull,
        now: impl Fn() -> Instant,
        state: impl FnOnce() -> S,
    ) -> Result<Appended<S>, NotAppended> {
        if self.sealed {
            return Err(NotAppended::Sealed);
        }
        let limit = self.options.batch_bytes.min(self.batch_bytes_max);
        let record_bytes = record_size_upper_bound(record.key, record.value, record.headers);
        let mut closed = false;
        if self.open.is_some() && self.builder.estimated_len() + record_bytes > limit {
            self.close_open();
            closed = true;
            if when_full == WhenFull::Stop {
                return Err(NotAppended::Full { wake: self.may_send() });
            }
        }
        let opened = self.open.is_none();
        self.build(record)?;
        let open =
            self.open.get_or_insert_with(|| Open { since: now(), charged: 0, flush: false, state: state() });
        open.charged += record.charge;
        let (state, index) = (open.state.clone(), self.builder.record_count().get() - 1);
        if self.builder.estimated_len() >= limit {
            self.close_open();
            closed = true;
        }
        Ok(Appended { state, index, wake: (opened || closed) && self.may_send(), closed })
    }

    fn build(&mut self, record: RecordRef<'_>) -> Result<(), NotAppended> {
        let RecordRef { timestamp, key, value, headers, .. } = record;
        match self.builder.try_append(timestamp, key, value, headers) {
            Ok(()) => {}
            Err(BuildError::TooLarge { len }) => {
                assert!(self.builder.is_empty(), "BUG: append() closes a batch before it passes any limit");
                return Err(NotAppended::TooLarge { bytes: len, limit: self.batch_bytes_max });
            }
            Err(BuildError::TooManyRecords) => {
                unreachable!("BUG: 2^31 records are more bytes than a batch has")
            }
        }
        // How far a record can be compressed is known when it is; until then it may pass.
        let bytes = self.builder.estimated_len();
        let alone = self.open.is_none();
        if alone && self.options.compression == Codec::None && bytes > self.batch_bytes_max {
            self.builder.clear();
            return Err(NotAppended::TooLarge { bytes, limit: self.batch_bytes_max });
        }
        Ok(())
    }

    fn close_open(&mut self) {
        let Some(open) = self.open.take() else { return };
        let records = self.builder.record_count();
        self.lane.push(ClosedBatch {
            bytes: self.builder.finish(),
            records,
            charged: open.charged,
            state: open.state,
            unsure: false,
            last_error: None,
            deadline: open.since + self.options.delivery_timeout,
        });
    }

    /// Whether a batch could go out now; if not, an answer or an alarm will come.
    fn may_send(&self) -> bool {
        self.lane.has_room() && self.pause_until.is_none()
    }

    /// The open batch is due now, whatever its linger.
    pub fn flush(&mut self) {
        if let Some(open) = &mut self.open {
            open.flush = true;
        }
    }

    /// No record is taken any more.
    pub fn seal(&mut self) {
        self.sealed = true;
    }

    /// The next batch to send, if one may and should be sent now.
    pub fn poll_send(&mut self, now: Instant) -> Option<Sending> {
        if self.pause_until.is_some_and(|until| now < until) {
            return None;
        }
        self.pause_until = None;
        if !self.lane.has_room() {
            return None;
        }
        let was_open = !self.lane.is_waiting();
        if was_open {
            let linger = self.options.linger;
            self.open.as_ref().filter(|open| open.flush || open.since + linger <= now)?;
            self.close_open();
        }
        let (flight, batch) = self.lane.take()?;
        Some(Sending { flight, bytes: batch.bytes.clone(), was_open })
    }

    /// A batch over its delivery timeout, and whether it may have been applied.
    pub fn poll_expired(&mut self, now: Instant) -> Option<(ClosedBatch<S>, bool)> {
        let timeout = self.options.delivery_timeout;
        if self.open.as_ref().is_some_and(|open| open.since + timeout <= now) {
            self.close_open();
        }
        let (batch, under_way) = self.lane.give_up(|batch| batch.deadline <= now)?;
        let unsure = batch.unsure || under_way;
        Some((batch, unsure))
    }

    /// When to look again if nothing happens before. Without a connection only deadlines matter: a
    /// batch that is due would be due again and again.
    pub fn poll_timeout(&self, connected: bool) -> Option<Instant> {
        let first = self.lane.batches().next().map(|batch| batch.deadline);
        let open = self.open.as_ref();
        let deadline = first.or(open.map(|open| open.since + self.options.delivery_timeout));
        let send = if !connected || !self.lane.has_room() {
            None
        } else if self.pause_until.is_some() {
            self.pause_until
        } else if self.lane.is_waiting() {
            // Contract: `poll_send` was called until there was nothing more to send.
            None
        } else {
            open.map(|open| if open.flush { open.since } else { open.since + self.options.linger })
        };
        [deadline, send].into_iter().flatten().min()
    }

    /// The broker has decided about a flight, in either way: its batch, unless that expired before.
    pub fn handle_answer(&mut self, flight: FlightId) -> Option<ClosedBatch<S>> {
        self.backoff.reset();
        self.lane.answered(flight)
    }

    /// A flight failed and is to be tried again after a pause. `unsure`: no answer came, so that it
    /// may have been applied.
    pub fn handle_failure(
        &mut self,
        now: Instant,
        flight: FlightId,
        unsure: bool,
        error: &Arc<str>,
        random: f64,
    ) {
        if let Some(batch) = self.lane.flight_mut(flight) {
            batch.unsure |= unsure;
            batch.last_error = Some(Arc::clone(error));
        }
        // The failures of one window are one failure: it pauses once.
        if self.lane.failed(flight) == Failed::Returned {
            self.pause_until = Some(now + self.backoff.next_pause(random));
        }
    }

    /// Every batch without an outcome, in order, and whether it may have been applied. The queue
    /// takes no more.
    pub fn drain(&mut self) -> Vec<(ClosedBatch<S>, bool)> {
        self.sealed = true;
        self.close_open();
        self.lane
            .drain()
            .into_iter()
            .map(|(batch, under_way)| {
                let unsure = batch.unsure || under_way;
                (batch, unsure)
            })
            .collect()
    }

    /// What the batches without an outcome share with their records, in order.
    pub fn states(&self) -> impl Iterator<Item = &S> {
        self.lane.batches().map(|batch| &batch.state).chain(self.open.as_ref().map(|open| &open.state))
    }
}
