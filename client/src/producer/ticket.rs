//! How a record learns its outcome: one shared state per batch, one small ticket per record.
//!
//!     Ticket { batch, index 2 } ─┐
//!     Ticket { batch, index 1 } ─┼─▶ BatchState ── outcome: base offset 40, or the error
//!     Ticket { batch, index 0 } ─┘        └─ wakers of the tickets that are awaited
//!
//! A ticket costs a reference count and no allocation; a million records a second afford no channel
//! each. A dropped ticket changes nothing about its record.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use protocol::batch::decode_batch;
use protocol::model::{Offset, PartitionIndex, RecordCount, Timestamp};
use smallvec::SmallVec;

use crate::driver::lock;
use crate::error::SendError;
use crate::limits::DECOMPRESSED_BATCH_BYTES_MAX;
use crate::record::{Delivery, Record};

/// Offset of the first record of an acknowledged batch; `None` if nobody said.
pub(crate) type Outcome = Result<Option<Offset>, SendError>;

/// What the records of one batch share.
#[derive(Debug)]
pub(crate) struct BatchState {
    pub topic: Arc<str>,
    pub partition: PartitionIndex,
    outcome: OnceLock<Outcome>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    wakers: SmallVec<[Waker; 1]>,
    /// Somebody will ask for the records if they are not delivered.
    keep_undelivered: bool,
    undelivered: Option<Bytes>,
}

impl BatchState {
    pub(crate) fn new(topic: Arc<str>, partition: PartitionIndex) -> BatchState {
        BatchState { topic, partition, outcome: OnceLock::new(), waiting: Mutex::default() }
    }

    /// Tells the outcome to all records; `bytes` are the batch.
    pub(crate) fn complete(&self, outcome: Outcome, bytes: &Bytes) {
        let wakers = {
            let mut waiting = lock(&self.waiting);
            if outcome.is_err() && waiting.keep_undelivered {
                waiting.undelivered = Some(bytes.clone());
            }
            let first = self.outcome.set(outcome).is_ok();
            assert!(first, "BUG: a batch has one outcome");
            std::mem::take(&mut waiting.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn keep_undelivered(&self) {
        lock(&self.waiting).keep_undelivered = true;
    }

    /// Why the batch failed, if it did.
    pub(crate) fn error(&self) -> Option<&SendError> {
        self.outcome.get().and_then(|outcome| outcome.as_ref().err())
    }

    /// The records of a failed batch that was told to keep them.
    pub(crate) fn take_undelivered(&self) -> Vec<Record> {
        let Some(bytes) = lock(&self.waiting).undelivered.take() else { return Vec::new() };
        let decoded = decode_batch(bytes, DECOMPRESSED_BATCH_BYTES_MAX)
            .expect("BUG: this client built the batch and it has not left the memory");
        let record = |record: protocol::batch::OwnedRecord| Record {
            topic: Some(Arc::clone(&self.topic)),
            partition: Some(self.partition),
            timestamp: Some(record.timestamp),
            key: record.key,
            value: record.value,
            headers: record
                .headers
                .into_iter()
                .map(|header| (Box::from(header.key.as_str()), header.value))
                .collect(),
        };
        decoded.map(record).collect()
    }

    /// `place` is where the waiter's waker stands, once it has one.
    fn poll(&self, place: &mut Option<usize>, cx: &mut Context<'_>) -> Poll<&Outcome> {
        if let Some(outcome) = self.outcome.get() {
            return Poll::Ready(outcome);
        }
        let mut waiting = lock(&self.waiting);
        // The outcome is set under this lock: it cannot slip in between the look and the waker.
        if let Some(outcome) = self.outcome.get() {
            return Poll::Ready(outcome);
        }
        match place.and_then(|place| waiting.wakers.get_mut(place)) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => {
                *place = Some(waiting.wakers.len());
                waiting.wakers.push(cx.waker().clone());
            }
        }
        Poll::Pending
    }
}

/// Waits for the outcome of a batch, whatever it is.
pub(crate) async fn settled(state: &BatchState) {
    let mut place = None;
    std::future::poll_fn(|cx| state.poll(&mut place, cx).map(|_| ())).await;
}

/// The outcome of one record, in time. Dropping it does not take the record back.
#[derive(Debug)]
#[must_use = "a ticket that is not awaited tells nobody that its record was lost"]
pub struct Ticket {
    state: Arc<BatchState>,
    index: u32,
    timestamp: Timestamp,
    place: Option<usize>,
}

impl Ticket {
    pub(crate) fn new(state: Arc<BatchState>, index: u32, timestamp: Timestamp) -> Ticket {
        Ticket { state, index, timestamp, place: None }
    }

    /// Whether awaiting it would return at once.
    pub fn is_done(&self) -> bool {
        self.state.outcome.get().is_some()
    }
}

impl Future for Ticket {
    type Output = Result<Delivery, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Poll::Ready(outcome) = this.state.poll(&mut this.place, cx) else { return Poll::Pending };
        Poll::Ready(match outcome {
            Ok(base) => Ok(Delivery {
                topic: Arc::clone(&this.state.topic),
                partition: this.state.partition,
                offset: base.map(|base| base + RecordCount::new(this.index)),
                timestamp: this.timestamp,
            }),
            Err(error) => Err(error.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::batch::{BatchBuilder, Codec};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn state() -> Arc<BatchState> {
        Arc::new(BatchState::new("t".into(), PartitionIndex::new(3)))
    }

    fn ticket(state: &Arc<BatchState>, index: u32) -> Ticket {
        Ticket::new(Arc::clone(state), index, Timestamp::from_millis(5))
    }

    #[test]
    fn every_waiting_ticket_is_woken_once_and_gets_its_own_offset() {
        let counter = Arc::new(Counter::default());
        let waker = Waker::from(Arc::clone(&counter));
        let cx = &mut Context::from_waker(&waker);
        let state = state();
        let (mut a, mut b) = (ticket(&state, 0), ticket(&state, 7));
        for _ in 0..3 {
            assert!(Pin::new(&mut a).poll(cx).is_pending());
            assert!(Pin::new(&mut b).poll(cx).is_pending());
        }
        state.complete(Ok(Some(Offset::new(40))), &Bytes::new());
        assert_eq!(counter.0.load(Ordering::Relaxed), 2);
        let Poll::Ready(Ok(delivery)) = Pin::new(&mut b).poll(cx) else { panic!() };
        assert_eq!((delivery.offset, delivery.partition), (Some(Offset::new(47)), PartitionIndex::new(3)));
        assert!(a.is_done());
    }

    #[test]
    fn undelivered_records_come_back_as_they_were() {
        let state = state();
        let mut builder = BatchBuilder::new(Codec::Lz4);
        let at = Timestamp::from_millis(9);
        builder.try_append(at, Some(b"k"), Some(b"v"), &[("h", None)]).unwrap();
        builder.try_append(at, None, None, &[]).unwrap();
        state.keep_undelivered();
        state.complete(Err(SendError::Closed), &builder.finish());
        let records = state.take_undelivered();
        assert_eq!(records.len(), 2);
        assert_eq!(
            (records[0].key.as_deref(), records[0].value.as_deref()),
            (Some(&b"k"[..]), Some(&b"v"[..]))
        );
        assert_eq!(records[0].headers, [("h".into(), None)]);
        assert_eq!((records[1].value.as_deref(), records[1].timestamp), (None, Some(at)));
        assert_eq!(records[1].partition, Some(PartitionIndex::new(3)));
    }
}
