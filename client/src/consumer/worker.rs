//! One worker: takes its records in their order, one at a time, and says what became of each.
//!
//!     jobs ─▶ begin ─▶ handler ─ Ok ──────────────────────────────▶ end
//!                │           └── Err ─▶ retry topic, dead letters ──▶ end; without a policy the run ends
//!                └─ follows its key ──▶ retry topic ───────────────▶ end

use std::any::Any;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::mpsc;

use super::shared::Shared;
use super::work::{RunId, Turn};
use crate::core::contiguous::Dispatched;
use crate::core::retry::Moved;
use crate::error::{RetryError, WorkError};
use crate::record::ConsumedRecord;
use crate::retry::Retry;

pub(super) struct Job {
    pub record: ConsumedRecord,
    pub dispatched: Dispatched,
}

pub(super) struct Worker<H> {
    pub shared: Arc<Shared>,
    pub run: RunId,
    pub handler: Arc<H>,
    pub retry: Option<Retry>,
    pub jobs: mpsc::UnboundedReceiver<Job>, // never longer than records may be under way
}

impl<H> Worker<H> {
    /// Ends when there are no more jobs, or with what ends the run.
    pub async fn work<F, E>(mut self) -> Result<(), WorkError<E>>
    where
        H: Fn(ConsumedRecord) -> F,
        F: Future<Output = Result<(), E>>,
        E: Display,
    {
        while let Some(Job { record, dispatched }) = self.jobs.recv().await {
            match self.shared.begin_work(self.run, dispatched, &record) {
                Turn::GivenUp => {}
                Turn::Process(dispatched) => self.process(record, dispatched).await?,
                Turn::Follow(dispatched, tier) => {
                    let retry = self.retry.as_ref().expect("BUG: keys wait by a policy only");
                    let moved = retry.plan_follow(&record, tier).map_err(RetryError::from);
                    let done = match moved {
                        Ok(moved) => self.move_on(retry, &record, moved).await,
                        Err(error) => Err(error),
                    };
                    done.map_err(|cause| not_moved(&record, cause))?;
                    self.shared.end_work(self.run, dispatched, Some(&record));
                }
            }
        }
        Ok(())
    }

    async fn process<F, E>(&self, record: ConsumedRecord, dispatched: Dispatched) -> Result<(), WorkError<E>>
    where
        H: Fn(ConsumedRecord) -> F,
        F: Future<Output = Result<(), E>>,
        E: Display,
    {
        let (topic, partition, offset) = (Arc::clone(&record.topic), record.partition, record.offset);
        let kept = self.retry.as_ref().map(|_| record.clone());
        let result = match catch(async { (self.handler)(record).await }).await {
            Ok(result) => result,
            Err(panic) => {
                let message = message_of(&*panic);
                return Err(WorkError::Panicked { topic, partition, offset, message });
            }
        };
        match (result, &self.retry, &kept) {
            (Ok(()), ..) => {}
            (Err(cause), Some(retry), Some(record)) => {
                let moved = retry.plan_failed(record, &cause.to_string()).map_err(RetryError::from);
                let done = match moved {
                    Ok(moved) => self.move_on(retry, record, moved).await,
                    Err(error) => Err(error),
                };
                done.map_err(|cause| not_moved(record, cause))?;
            }
            (Err(cause), ..) => return Err(WorkError::Handler { topic, partition, offset, cause }),
        }
        self.shared.end_work(self.run, dispatched, kept.as_ref());
        Ok(())
    }

    /// Returns when the record is acknowledged where it went. It counts as waiting before it is sent: from
    /// then on it may be there.
    async fn move_on(&self, retry: &Retry, record: &ConsumedRecord, moved: Moved) -> Result<(), RetryError> {
        let tier = moved.waits.map(|(tier, _)| tier);
        if let Some(tier) = tier {
            self.shared.add_waiting(record, tier)?;
        }
        retry.send(moved).await.map_err(|error| {
            if let Some(tier) = tier {
                self.shared.take_back_waiting(record, tier);
            }
            RetryError::from(error)
        })
    }
}

fn not_moved<E>(record: &ConsumedRecord, cause: RetryError) -> WorkError<E> {
    let (topic, partition, offset) = (Arc::clone(&record.topic), record.partition, record.offset);
    WorkError::Retry { topic, partition, offset, cause }
}

/// The outcome of a future, or what it panicked with. Nothing that it has borrowed is used after that but
/// the handler, which the run does not call again once it has ended by this.
async fn catch<T>(future: impl Future<Output = T>) -> Result<T, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
