//! The producer: records in, acknowledgements out.
//!
//!     send(record).await      ─▶ Delivery             acknowledged as `acks` says
//!     enqueue(record).await   ─▶ Ticket ─▶ Delivery   waits only for room in the buffer
//!     try_enqueue(record)     ─▶ Ticket, or the record back
//!     flush().await           everything accepted before has an outcome
//!     close(timeout).await    the same, then no more; tells what was not delivered
//!
//! Callers append to the partition's open batch themselves; one task per producer sends, retries and
//! acknowledges (`driver::sender`).

mod builder;
pub(crate) use builder::ProducerOptions;
pub use builder::{InvalidProducer, Partitioner, ProducerBuilder};

mod ticket;
pub(crate) use ticket::BatchState;
pub use ticket::Ticket;

mod topics;

mod clock;

mod spares;

mod shared;
pub(crate) use shared::{PartitionQueue, Shared};

use std::sync::Arc;
use std::time::Duration;

use shared::Obstacle;

use crate::driver::cluster::Cluster;
use crate::driver::sender;
use crate::error::{NotQueued, QueueFull, SendError, Undelivered};
use crate::record::{Delivery, Record};

/// Sends records. Cheap to clone; all clones share buffer, batches and connections.
///
/// **Once, in order.** A producer is idempotent unless it is told otherwise: each batch carries its
/// producer's id and its number within the partition, and the broker stores it once, whatever is lost
/// and sent again on the way, and never before those that were accepted before it. Records that are
/// acknowledged are in the log exactly once and in the order in which they were accepted; one that
/// failed with `may_have_been_applied` may be there, at most once, and turn up later than its place.
/// A record that the *caller* sends again is another record.
///
/// **Without idempotence**, records of one partition are still sent in order, but a request without an
/// answer (connection lost, request timeout) is sent again and may then have been applied twice; the
/// first copies of all stand in order. A batch that the *broker* refuses with a retriable error is
/// sent again too, and then batches of the partition that were already under way (`in_flight` − 1 at
/// most) can come to stand before it; nothing is sent between the refusal and the retry.
///
/// **Acks.** With `Acks::None` a record counts as delivered when the kernel has taken its bytes.
///
/// **Dropping** the last clone never blocks: what has no outcome yet is abandoned, its tickets
/// resolve to [`SendError::Abandoned`], and a warning says how many. Call [`close`](Producer::close).
#[derive(Clone)]
pub struct Producer {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let count = self.shared.abandon();
        if count > 0 {
            tracing::warn!(records = count, "a producer was dropped with undelivered records");
        }
    }
}

impl Producer {
    pub(crate) fn start(cluster: Arc<Cluster>, options: ProducerOptions) -> Producer {
        let shared = Arc::new(Shared::new(cluster, options));
        sender::spawn(Arc::clone(&shared));
        Producer { inner: Arc::new(Inner { shared }) }
    }

    /// Sends a record and waits for its acknowledgement.
    ///
    /// Dropping the future after it was polled may leave the record on its way.
    pub async fn send(&self, record: Record) -> Result<Delivery, SendError> {
        self.enqueue(record).await?.await
    }

    /// Takes a record; the ticket tells what becomes of it.
    ///
    /// Waits while the buffer is full, first come first served, and while the topic is unknown. If
    /// the future is dropped before it is done, the record is not sent.
    pub async fn enqueue(&self, record: Record) -> Result<Ticket, SendError> {
        match self.inner.shared.try_append(&record) {
            Ok(ticket) => Ok(ticket),
            Err(Obstacle::Refused(error)) => Err(error),
            // Boxed: waiting is rare, and its state would make every future of this function large.
            Err(_) => Box::pin(self.inner.shared.append(record)).await,
        }
    }

    /// Takes a record if that needs no waiting at all; otherwise gives it back.
    pub fn try_enqueue(&self, record: Record) -> Result<Ticket, QueueFull> {
        let shared = &self.inner.shared;
        let mut tried = shared.try_append(&record);
        if let Err(Obstacle::UnknownTopic(name)) = &tried {
            match shared.install_known(name) {
                Ok(true) => tried = shared.try_append(&record),
                Ok(false) => {}
                Err(error) => tried = Err(Obstacle::Refused(error)),
            }
        }
        tried.map_err(|obstacle| {
            let why = match obstacle {
                Obstacle::BufferFull => NotQueued::BufferFull,
                Obstacle::UnknownTopic(_) => NotQueued::MetadataUnknown,
                Obstacle::Refused(error) => NotQueued::Refused(error),
            };
            QueueFull { record: Box::new(record), why }
        })
    }

    /// Waits until everything accepted before has an outcome; sends open batches at once.
    pub async fn flush(&self) {
        for state in self.inner.shared.flush(|_| {}) {
            ticket::settled(&state).await;
        }
    }

    /// Takes no more records, on any clone, and delivers what was accepted, for `timeout` at most.
    /// What could not be delivered by then is abandoned and given back.
    pub async fn close(&self, timeout: Duration) -> Result<(), Undelivered> {
        let shared = &self.inner.shared;
        shared.close();
        let states = shared.flush(BatchState::keep_undelivered);
        let all_settled = async {
            for state in &states {
                ticket::settled(state).await;
            }
        };
        if tokio::time::timeout(timeout, all_settled).await.is_err() {
            tracing::warn!(?timeout, "a producer was closed before everything was delivered");
        }
        shared.abandon();
        let failed: Vec<&Arc<BatchState>> = states.iter().filter(|state| state.error().is_some()).collect();
        if failed.is_empty() {
            return Ok(());
        }
        let first_error = failed.iter().find_map(|state| state.error()).cloned();
        let records: Vec<Record> = failed.iter().flat_map(|state| state.take_undelivered()).collect();
        Err(Undelivered { count: records.len(), first_error, records })
    }
}
