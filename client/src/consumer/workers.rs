//! Many records at a time: workers that keep the order of each key.
//!
//!     consumer.workers(8).run(handler)
//!
//!     records ─▶ by key ─▶ worker 0: k1 k1 k3      one record each at a time
//!                     └──▶ worker 1: k2 k2 …       committed: the prefix of each partition that is done
//!
//! The run reads only while fewer records than `in_flight` are under way, so that memory is bounded and a
//! slow handler slows down the fetches. Heartbeats and commits go on beside it, in the member's task.

use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

use super::work::RunId;
use super::worker::{Job, Worker};
use super::{Consumer, Shared};
use crate::core::contiguous::Contiguous;
use crate::driver::lock;
use crate::error::{ConsumeError, WorkError};
use crate::limits;
use crate::record::ConsumedRecord;

/// How a consumer's records are worked on by several workers at once; made by [`Consumer::workers`].
///
/// **Order.** Records of one key, in whichever partition, go to one worker, which takes them one after
/// another; other keys share that worker, and wait for it too. Records without a key go to the workers in
/// turn, in no order.
///
/// **Commits** come at the consumer's interval, before a partition is given away and at the end of the run,
/// and never pass a record that is not done: of a partition they cover what is done without a gap. After a
/// crash records come again, and none is left out. With [`AutoCommit::Off`](crate::AutoCommit::Off) the same
/// positions are committed by [`Consumer::commit`] after the run.
///
/// **Bounds.** At most [`in_flight`](Workers::in_flight) records are under way. One slow record holds back
/// its partition's commits, then the keys of its worker, and at last, when all that is under way waits
/// behind it, everything.
///
/// **A handler that hangs** for longer than the consumer's `max_poll_interval` on one record makes the
/// member leave its group, as one does that asks for no records, so that others read its partitions. The run
/// ends with [`ConsumeError::LeftGroup`]. As long as each record takes less, the member stays, however many
/// there are.
///
/// **Rebalances and stops.** A partition that goes to another member is waited for: no record is begun behind
/// the last one that is, those before it are done, and then all of it is committed, so that nothing is done
/// twice. What takes longer than [`drain_timeout`](Workers::drain_timeout) is.
#[must_use = "nothing is read before run()"]
pub struct Workers<'a> {
    consumer: &'a mut Consumer,
    count: usize,
    in_flight: usize,
    drain_timeout: Duration,
    stop: Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
}

impl<'a> Workers<'a> {
    pub(super) fn new(consumer: &'a mut Consumer, count: usize) -> Workers<'a> {
        assert!(count > 0, "without workers no record would be worked on");
        Workers {
            consumer,
            count,
            in_flight: limits::WORKERS_IN_FLIGHT,
            drain_timeout: limits::DRAIN_TIMEOUT,
            stop: Box::pin(std::future::pending()),
        }
    }

    /// Most records that were read and are not done; 500 by default. At least as many as there are workers.
    pub fn in_flight(mut self, records: usize) -> Self {
        self.in_flight = records;
        self
    }

    /// How long the rest may take after a stop or a revocation; 30 s by default. Other members may wait
    /// for it: keep it well below `max_poll_interval`.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// Stops the run when `stop` is done: what is begun is ended, with what lies before it; what lies behind is
    /// left to whoever reads next; what is done is committed. A channel, `tokio::signal::ctrl_c`, a sleep.
    pub fn stop_when<T>(mut self, stop: impl Future<Output = T> + Send + 'a) -> Self {
        self.stop = Box::pin(async { _ = stop.await });
        self
    }

    /// Has `handler` work on every record until [`stop_when`](Workers::stop_when) or an error ends it. The
    /// consumer can be used after it, and goes on behind the last record of each partition that was done
    /// without a gap.
    ///
    /// With [`ConsumerBuilder::retry`](crate::ConsumerBuilder::retry) a record that the handler fails on is
    /// done when it is acknowledged in its retry topic or as a dead letter.
    ///
    /// Dropping the future cancels the handlers where they wait; nothing is committed by that but what is
    /// done.
    ///
    /// # Errors
    /// The handler's own first error, if there is no retry; a panic of it (in a program that unwinds); what a
    /// consumer tells but for [`ConsumeError::Unavailable`], which is logged. Before it returns, what is
    /// begun is ended as by a stop, and what is done is committed.
    pub async fn run<H, F, E>(mut self, handler: H) -> Result<(), WorkError<E>>
    where
        H: Fn(ConsumedRecord) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let shared = Arc::clone(&self.consumer.shared);
        let tracker = Contiguous::new(self.count, self.in_flight.max(self.count));
        let id = shared.begin_run(tracker, self.drain_timeout);
        let _run = Run(&shared);
        let mut crew = self.start(id, Arc::new(handler));
        let ended = crew.run(&shared, self.stop.as_mut()).await;
        shared.stop_run();
        let is_out = matches!(ended, Err(WorkError::Consume(ConsumeError::LeftGroup { .. })));
        // Out of the group, what is under way is somebody else's already.
        let drained = if is_out { Ok(()) } else { crew.drain(self.drain_timeout).await };
        let committed = if is_out { Ok(()) } else { commit(self.consumer).await };
        ended.and(drained).and(committed)
    }

    fn start<H, F, E>(&self, run: RunId, handler: Arc<H>) -> Crew<E>
    where
        H: Fn(ConsumedRecord) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let mut crew = Crew { tasks: JoinSet::new(), queues: Vec::with_capacity(self.count) };
        for _ in 0..self.count {
            let (queue, jobs) = mpsc::unbounded_channel(); // bounded by what may be under way
            let (shared, retry) = (Arc::clone(&self.consumer.shared), self.consumer.retry.clone());
            let worker = Worker { shared, run, handler: Arc::clone(&handler), retry, jobs };
            crew.tasks.spawn(worker.work());
            crew.queues.push(queue);
        }
        crew
    }
}

/// Commits what is done, if that is automatic.
async fn commit<E>(consumer: &Consumer) -> Result<(), WorkError<E>> {
    let is_automatic = lock(&consumer.shared.state).commits.is_automatic();
    if is_automatic { consumer.commit().await.map_err(WorkError::Commit) } else { Ok(()) }
}

/// A run: what is not done when it ends, in whichever way, is not lost.
struct Run<'a>(&'a Shared);

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.0.end_run();
    }
}

/// Workers and their queues. Dropping it cancels them.
struct Crew<E> {
    tasks: JoinSet<Result<(), WorkError<E>>>,
    queues: Vec<mpsc::UnboundedSender<Job>>,
}

impl<E: Send + 'static> Crew<E> {
    async fn run(
        &mut self,
        shared: &Shared,
        mut stop: Pin<&mut (dyn Future<Output = ()> + Send + '_)>,
    ) -> Result<(), WorkError<E>> {
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return Ok(()),
                Some(ended) = self.tasks.join_next() => outcome_of(ended)?,
                next = std::future::poll_fn(|cx| shared.poll_work(cx)) => match next {
                    Ok((record, dispatched)) => {
                        // The worker may have ended just now, by an error that the next round tells.
                        _ = self.queues[dispatched.worker].send(Job { record, dispatched });
                    }
                    Err(error @ ConsumeError::Unavailable { .. }) => tracing::warn!(%error, "workers wait"),
                    Err(error) => return Err(WorkError::Consume(error)),
                },
            }
        }
    }

    /// Waits for what is begun. Tells the first of further errors.
    async fn drain(&mut self, timeout: Duration) -> Result<(), WorkError<E>> {
        self.queues.clear();
        let mut first = Ok(());
        let all_ended = async {
            while let Some(ended) = self.tasks.join_next().await {
                first = std::mem::replace(&mut first, Ok(())).and(outcome_of(ended));
            }
        };
        if tokio::time::timeout(timeout, all_ended).await.is_err() {
            self.tasks.abort_all();
            return first.and(Err(WorkError::DrainTimedOut(timeout)));
        }
        first
    }
}

/// What a worker ended with. A panic of the handler is one of its errors; what panics beside that, as an
/// error that cannot be displayed, goes on here.
fn outcome_of<E>(joined: Result<Result<(), WorkError<E>>, JoinError>) -> Result<(), WorkError<E>> {
    match joined.map_err(JoinError::try_into_panic) {
        Ok(outcome) => outcome,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_cancelled)) => Ok(()), // with the whole runtime, this run included
    }
}
