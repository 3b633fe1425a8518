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
//! If the producer is idempotent, a batch gets its sequence when it is sent for the first time. It is
//! written into the batch while that is built, as far as it can be foretold, and otherwise then.
//! A batch is not closed before it can be sent: while the window is full, the open batch goes on
//! filling beyond its linger and its size, up to `backlog_batch_bytes`:
//!
//!     window has room    │64 K│64 K│ ─▶             small batches, sent as soon as they are full
//!     window is full     │────── up to 1 MiB ──────│   what waits anyway waits in one batch
//!
//! Five batches are all that an idempotent producer may have under way, so their size decides how much
//! a commit of the broker can take: 320 KiB at 64 KiB a batch, and the disk idles.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use protocol::batch::{BatchBuilder, BuildError, Codec, record_size_upper_bound, stamp_producer};
use protocol::model::{RecordCount, Timestamp};

use super::backoff::Backoff;
use super::lane::{Failed, FlightId, Lane};
use super::sequence::{Identity, Sequencer, Stamp};

mod append;
pub use append::{Appended, Clock, NotAppended, RecordRef, WhenFull};

#[cfg(test)]
mod tests;

#[cfg(test)]
mod idempotence;

/// Options of a producer that matter to its queues.
#[derive(Clone, Copy, Debug)]
pub struct QueueOptions {
    pub linger: Duration,
    /// A batch that can be sent is closed when it has this size.
    pub batch_bytes: usize,
    /// One that cannot goes on filling up to this size.
    pub backlog_batch_bytes: usize,
    pub in_flight: usize,
    pub compression: Codec,
    pub delivery_timeout: Duration,
    pub retry_backoff: Duration,
    pub idempotent: bool,
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
    /// `None` if the producer is not idempotent.
    sequencer: Option<Sequencer>,
    backoff: Backoff,
    pause_until: Option<Instant>,
    sealed: bool,
}

#[derive(Debug)]
struct Open<S> {
    since: Instant,
    /// The same; a coarse clock may lag behind it.
    since_time: Timestamp,
    charged: usize,
    flush: bool,
    /// At this size another batch's worth of records is in it.
    full_at: usize,
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
    /// Who sends it and its sequence, as they stand in its bytes.
    stamp: Option<Stamp>,
    /// Whether it was sent with this stamp, which then is final until it is sent under another identity.
    sent: bool,
}

impl<S> ClosedBatch<S> {
    /// It is sent for the first time.
    fn begin(&mut self, sequencer: &mut Sequencer) {
        let stamp = sequencer.begin(self.records);
        if self.stamp != Some(stamp) {
            // An earlier try under another identity may still hold the bytes; then they are copied.
            let bytes = std::mem::take(&mut self.bytes);
            let mut bytes = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
            stamp_producer(&mut bytes, stamp.identity.id, stamp.identity.epoch, stamp.sequence);
            self.bytes = bytes.freeze();
            self.stamp = Some(stamp);
        }
        self.sent = true;
    }

    /// Its tries cannot be stored any more: it is as if there had been none.
    fn rewind(&mut self) {
        (self.stamp, self.sent, self.unsure) = (None, false, false);
    }
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
            sequencer: options.idempotent.then(Sequencer::default),
            backoff: Backoff::new(options.retry_backoff),
            pause_until: None,
            sealed: false,
        }
    }

    /// The topic was configured anew; batches that are closed stay as they are.
    pub fn set_batch_bytes_max(&mut self, bytes: usize) {
        self.batch_bytes_max = bytes;
    }

    /// Adds a record to the open batch. `state` is asked only if a batch is opened.
    pub fn append(
        &mut self,
        record: RecordRef<'_>,
        when_full: WhenFull,
        clock: &impl Clock,
        state: impl FnOnce() -> S,
    ) -> Result<Appended<S>, NotAppended> {
        if self.sealed {
            return Err(NotAppended::Sealed);
        }
        let record_bytes = record_size_upper_bound(record.key, record.value, record.headers);
        let mut closed = false;
        if self.open.is_some() && self.is_full(self.builder.estimated_len() + record_bytes - 1) {
            self.close_open();
            closed = true;
            if when_full == WhenFull::Stop {
                return Err(NotAppended::Full { wake: self.may_send() });
            }
        }
        let (opened, batch_bytes) = (self.open.is_none(), self.options.batch_bytes);
        let (since, now) = match &self.open {
            Some(open) if record.timestamp.is_none() => (open.since, clock.coarse().max(open.since_time)),
            Some(open) => (open.since, open.since_time),
            None => clock.now(),
        };
        let timestamp = record.timestamp.unwrap_or(now);
        self.build(record, timestamp)?;
        let len = self.builder.estimated_len();
        let open = self.open.get_or_insert_with(|| Open {
            since,
            since_time: now,
            charged: 0,
            flush: false,
            full_at: batch_bytes,
            state: state(),
        });
        open.charged += record.charge;
        let full = closed || len >= open.full_at;
        if full {
            open.full_at = len + batch_bytes;
        }
        let (state, index) = (open.state.clone(), self.builder.record_count().get() - 1);
        if self.is_full(len) {
            self.close_open();
            closed = true;
        }
        let wake = (opened || closed) && self.may_send();
        Ok(Appended { state, index, timestamp, wake, full: full || closed })
    }

    /// Whether a batch of `len` bytes takes no more: it can be sent, or is as large as it may become.
    fn is_full(&self, len: usize) -> bool {
        let max = self.batch_bytes_max;
        if len < self.options.batch_bytes.min(max) {
            return false;
        }
        len >= self.options.backlog_batch_bytes.min(max)
            || (self.may_send() && self.lane.has_room_for_one_more())
    }

    /// How large a buffer the next batch could do with, if it has none yet.
    pub fn wants_buffer(&self) -> Option<usize> {
        self.builder.wants_buffer()
    }

    /// A buffer that was another batch's.
    pub fn give_buffer(&mut self, buffer: Vec<u8>) {
        self.builder.give_buffer(buffer);
    }

    fn build(&mut self, record: RecordRef<'_>, timestamp: Timestamp) -> Result<(), NotAppended> {
        let RecordRef { key, value, headers, .. } = record;
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
        let last = self.lane.last_waiting().map(|last| (last.stamp, last.records));
        let stamp = self.sequencer.as_ref().and_then(|sequencer| sequencer.foretell(last));
        if let Some(Stamp { identity, sequence }) = stamp {
            self.builder.set_producer(identity.id, identity.epoch, sequence);
        }
        self.lane.push(ClosedBatch {
            bytes: self.builder.finish(),
            records,
            charged: open.charged,
            state: open.state,
            unsure: false,
            last_error: None,
            deadline: open.since + self.options.delivery_timeout,
            stamp,
            sent: false,
        });
    }

    /// Whether a batch could go out now; if not, an answer or an alarm will come.
    fn may_send(&self) -> bool {
        self.lane.has_room() && self.pause_until.is_none()
    }

    /// Whether the next batch may be sent as far as its sequence goes: it has one, or can get one.
    fn is_in_sequence(&self) -> bool {
        let Some(sequencer) = &self.sequencer else { return true };
        sequencer.may_begin() || self.lane.first_waiting().is_some_and(|batch| batch.sent)
    }

    /// Whether records wait for an identity, or for another than that the queue has.
    pub fn wants_identity(&self) -> bool {
        let wants = self.sequencer.as_ref().is_some_and(Sequencer::wants_identity);
        wants && (self.lane.is_waiting() || self.open.is_some())
    }

    /// What the producer is now; taken if the queue wants one.
    pub fn offer_identity(&mut self, identity: Identity) {
        if let Some(sequencer) = &mut self.sequencer {
            sequencer.offer(identity);
        }
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
        if !self.lane.has_room() || !self.is_in_sequence() {
            return None;
        }
        let was_open = !self.lane.is_waiting();
        if was_open {
            let linger = self.options.linger;
            let is_full = self.is_full(self.builder.estimated_len());
            self.open.as_ref().filter(|open| is_full || open.flush || open.since + linger <= now)?;
            self.close_open();
        }
        let (flight, batch) = self.lane.take()?;
        if let Some(sequencer) = &mut self.sequencer
            && !batch.sent
        {
            batch.begin(sequencer);
        }
        Some(Sending { flight, bytes: batch.bytes.clone(), was_open })
    }

    /// A batch over its delivery timeout, and whether it may have been applied.
    pub fn poll_expired(&mut self, now: Instant) -> Option<(ClosedBatch<S>, bool)> {
        let timeout = self.options.delivery_timeout;
        if self.open.as_ref().is_some_and(|open| open.since + timeout <= now) {
            self.close_open();
        }
        let (batch, under_way) = self.lane.give_up(|batch| batch.deadline <= now)?;
        let unsure = batch.unsure || (under_way && self.counts(&batch));
        if let Some(sequencer) = &mut self.sequencer
            && batch.sent
        {
            sequencer.lost(unsure);
        }
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
            // It ends by `poll_send`, also where nothing waits: `append` counts on it.
            self.pause_until
        } else if !self.is_in_sequence() {
            None
        } else if self.lane.is_waiting() {
            // Contract: `poll_send` was called until there was nothing more to send.
            None
        } else {
            open.map(|open| if open.flush { open.since } else { open.since + self.options.linger })
        };
        [deadline, send].into_iter().flatten().min()
    }

    /// Whether a try of this batch that is under way can be stored.
    fn counts(&self, batch: &ClosedBatch<S>) -> bool {
        self.sequencer.is_none() || batch.sent
    }

    /// The broker has taken a flight: its batch, unless that expired before.
    pub fn handle_answer(&mut self, flight: FlightId) -> Option<ClosedBatch<S>> {
        self.backoff.reset();
        let batch = self.lane.answered(flight)?;
        if let Some(sequencer) = &mut self.sequencer
            && batch.sent
        {
            sequencer.stored();
        }
        Some(batch)
    }

    /// The broker has refused a flight for good: its batch, unless that expired before.
    pub fn handle_refusal(&mut self, flight: FlightId) -> Option<ClosedBatch<S>> {
        self.backoff.reset();
        let batch = self.lane.answered(flight)?;
        if let Some(sequencer) = &mut self.sequencer
            && batch.sent
        {
            sequencer.lost(batch.unsure);
        }
        Some(batch)
    }

    /// The broker misses batches before this flight's. The batch, if it fails for that; otherwise it
    /// is tried again (see `core::sequence` for which and why).
    pub fn handle_out_of_order(
        &mut self,
        now: Instant,
        flight: FlightId,
        error: &Arc<str>,
        random: f64,
    ) -> Option<ClosedBatch<S>> {
        let Some(batch) = self.lane.flight_mut(flight) else { return self.handle_refusal(flight) };
        let (sent, unsure) = (batch.sent, batch.unsure);
        let Some(sequencer) = &mut self.sequencer else { return self.handle_refusal(flight) };
        if sent && self.lane.is_first(flight) {
            if sequencer.may_come_later(unsure) {
                return self.handle_refusal(flight);
            }
            let rewound = self.lane.batches_mut().filter(|batch| batch.sent).map(ClosedBatch::rewind).count();
            sequencer.rewind(rewound);
        }
        self.handle_failure(now, flight, false, error, random);
        None
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
        let is_idempotent = self.sequencer.is_some();
        if let Some(batch) = self.lane.flight_mut(flight) {
            batch.unsure |= unsure && (batch.sent || !is_idempotent);
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
        let drained = self.lane.drain();
        let with_doubt = |(batch, under_way): (ClosedBatch<S>, bool)| {
            let unsure = batch.unsure || (under_way && self.counts(&batch));
            (batch, unsure)
        };
        drained.into_iter().map(with_doubt).collect()
    }

    /// What the batches without an outcome share with their records, in order.
    pub fn states(&self) -> impl Iterator<Item = &S> {
        self.lane.batches().map(|batch| &batch.state).chain(self.open.as_ref().map(|open| &open.state))
    }
}
