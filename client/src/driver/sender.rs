//! A producer's task: sends what is ready, retries what failed, gives every batch its outcome.
//!
//!     ready list, timers, answers ─▶ visit(queue) ─┬─ expired ─▶ outcome
//!                                                  ├─ to send ─▶ one Produce per connection and round
//!                                                  └─ alarm   ─▶ timers
//!
//! An idempotent producer's batches wait until the producer has an identity (`driver::identity`).
//! A round holds at most one batch of each partition, because the broker answers per partition; a
//! partition's next batch goes into the next request on the same connection, behind it.
//! One task per producer, woken once per batch. It ends when the producer is closed or dropped, and
//! its own end, with the runtime for example, abandons what is left: tickets never hang.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::api::{Acks, Api, ProduceEntry, ProduceReply, ProduceRequest, ProduceResult};
use protocol::model::limits::PARTITIONS_PER_REQUEST_MAX;
use protocol::model::{ErrorCode, Offset, TopicId};
use smallvec::SmallVec;
use tokio::sync::{mpsc, watch};

use super::call::read_reply;
use super::connection::{Answer, Connection, Until};
use super::identity::{Asked, Identities};
use super::links::{Dialed, Links};
use super::{jitter, lock};
use crate::core::fetch::is_stale;
use crate::core::lane::FlightId;
use crate::core::metadata::Route;
use crate::core::queue::ClosedBatch;
use crate::core::timers::Timers;
use crate::error::{AdminError, ConnectionError, SendError};
use crate::limits::PRODUCE_REQUEST_BYTES_MAX;
use crate::producer::{BatchState, PartitionQueue, Shared};

/// How soon a partition that nobody leads is looked at again.
const LEADERLESS_PAUSE: Duration = Duration::from_millis(250);

/// The fields of a Produce before its entries: acks, timeout, count.
const REQUEST_HEAD_BYTES: usize = 12;

pub(crate) fn spawn(shared: Arc<Shared>) {
    // Unbounded, but never longer than requests are under way.
    let (tell, events) = mpsc::unbounded_channel();
    let dialed = tell.clone();
    let report = Arc::new(move |result| {
        // A closed producer needs no connection.
        let _ = dialed.send(Event::Dialed(result));
    });
    let links = Links::new(Arc::clone(&shared.cluster), shared.options.retry_backoff, report);
    let sender = Sender {
        version: shared.cluster.watch(),
        shared,
        links,
        identities: Identities::default(),
        tell,
        events,
        timers: Timers::new(),
        queues: Vec::new(),
        unsent: BTreeSet::new(),
        leaderless_until: None,
    };
    tokio::spawn(sender.run());
}

enum Event {
    Dialed(Dialed),
    Identity(Asked),
    Answered { address: Arc<str>, route: Route, flights: Flights, result: Result<Answer, ConnectionError> },
}

/// The batches of a request; most have one.
type Flights = SmallVec<[Flight; 1]>;

/// One batch of a request.
#[derive(Clone)]
struct Flight {
    queue: Arc<PartitionQueue>,
    id: FlightId,
}

/// One batch to be sent, and where.
struct Outgoing {
    flight: Flight,
    topic: TopicId,
    bytes: Bytes,
    /// How many batches of the same partition go before it now.
    round: usize,
}

/// What goes over one connection now.
struct Load {
    route: Route,
    connection: Connection,
    batches: Vec<Outgoing>,
}

struct Sender {
    shared: Arc<Shared>,
    links: Links,
    identities: Identities,
    tell: mpsc::UnboundedSender<Event>,
    events: mpsc::UnboundedReceiver<Event>,
    version: watch::Receiver<u64>,
    timers: Timers<usize>,
    /// By id.
    queues: Vec<Option<Arc<PartitionQueue>>>,
    /// Ids of queues that have no connection to send on.
    unsent: BTreeSet<usize>,
    leaderless_until: Option<Instant>,
}

impl Drop for Sender {
    fn drop(&mut self) {
        let count = self.shared.abandon();
        if count > 0 {
            tracing::warn!(records = count, "a producer's task ended with undelivered records");
        }
    }
}

impl Sender {
    async fn run(mut self) {
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
        let mut alarm = None;
        while !self.shared.is_abandoned() {
            let next = self.next_alarm();
            if next != alarm
                && let Some(at) = next
            {
                timer.as_mut().reset(at.into());
            }
            alarm = next;
            tokio::select! {
                biased;
                event = self.events.recv() => {
                    self.handle_event(event.expect("BUG: the task holds a sender itself"));
                }
                () = self.shared.wake.notified() => {}
                _ = self.version.changed() => self.handle_metadata(),
                () = &mut timer, if alarm.is_some() => alarm = None,
            }
            while let Ok(event) = self.events.try_recv() {
                self.handle_event(event);
            }
            self.handle_ready();
        }
    }

    fn next_alarm(&self) -> Option<Instant> {
        [self.timers.next(), self.links.poll_timeout(), self.leaderless_until].into_iter().flatten().min()
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Dialed(dialed) => match self.links.handle_dialed(dialed, Instant::now()) {
                None => self.wake_unsent(),
                Some(_) => self.want_unsent(),
            },
            Event::Identity(asked) => {
                for id in self.identities.handle_answer(asked) {
                    self.shared.make_ready(self.queue(id));
                }
            }
            Event::Answered { address, route, flights, result } => {
                if result.is_ok() {
                    self.links.handle_answer(route);
                }
                self.handle_answer(&address, &flights, result);
                for flight in &flights {
                    self.shared.make_ready(&flight.queue);
                }
            }
        }
    }

    fn handle_metadata(&mut self) {
        self.shared.refresh_topics();
        self.wake_unsent();
    }

    fn wake_unsent(&mut self) {
        for id in std::mem::take(&mut self.unsent) {
            self.shared.make_ready(self.queue(id));
        }
    }

    /// No connection can be made where they should go: perhaps they have moved.
    fn want_unsent(&self) {
        for id in &self.unsent {
            self.shared.cluster.want(&self.queue(*id).topic);
        }
    }

    fn queue(&self, id: usize) -> &Arc<PartitionQueue> {
        self.queues[id].as_ref().expect("BUG: a queue is known since its first visit")
    }

    fn handle_ready(&mut self) {
        let now = Instant::now();
        if self.leaderless_until.is_some_and(|until| until <= now) {
            self.leaderless_until = None;
            self.wake_unsent();
        }
        let mut ready = self.shared.take_ready();
        while let Some(id) = self.timers.poll_due(now) {
            ready.push(Arc::clone(self.queue(id)));
        }
        let mut outgoing = Vec::new();
        for queue in ready {
            self.visit(queue, now, &mut outgoing);
        }
        self.links.handle_timeout(now);
        for Load { route, connection, mut batches } in outgoing {
            // Stable: within a round, the order of the visits.
            batches.sort_by_key(|batch| batch.round);
            let mut rest = &batches[..];
            while !rest.is_empty() {
                let (request, behind) = rest.split_at(request_len(rest, connection.body_limit()));
                self.produce(&connection, route, request, now);
                rest = behind;
            }
        }
    }

    fn visit(&mut self, queue: Arc<PartitionQueue>, now: Instant, outgoing: &mut Vec<Load>) {
        self.remember(&queue);
        let link = self.link(&queue, now);
        let mut expired = Vec::new();
        let mut inner = lock(&queue.queue);
        while let Some(batch) = inner.poll_expired(now) {
            expired.push(batch);
        }
        if let Some(identity) = self.identities.current() {
            inner.offer_identity(identity);
        }
        if let Some((route, topic, connection)) = &link {
            let mut round = 0;
            let load = outgoing.iter().position(|load| load.route == *route).unwrap_or_else(|| {
                outgoing.push(Load { route: *route, connection: connection.clone(), batches: Vec::new() });
                outgoing.len() - 1
            });
            while let Some(sending) = inner.poll_send(now) {
                if sending.was_open {
                    queue.sticky.handle_batch_closed(queue.partition.get());
                }
                let flight = Flight { queue: Arc::clone(&queue), id: sending.flight };
                let batch = Outgoing { flight, topic: *topic, bytes: sending.bytes, round };
                outgoing[load].batches.push(batch);
                round += 1;
            }
        }
        self.timers.set(queue.id, inner.poll_timeout(link.is_some()));
        let is_empty = inner.states().next().is_none();
        let wants_identity = inner.wants_identity();
        drop(inner);
        if wants_identity {
            self.ask_identity(queue.id);
        }
        if link.is_none() && !is_empty {
            self.unsent.insert(queue.id);
        }
        for (batch, unsure) in expired {
            let error = timed_out(&queue, &batch, unsure, self.identities.last_error());
            self.shared.finish(batch, Err(error));
        }
    }

    fn ask_identity(&mut self, queue: usize) {
        let (tell, pause) = (self.tell.clone(), self.shared.options.retry_backoff);
        let report = move |asked| tell.send(Event::Identity(asked)).is_ok();
        self.identities.ask(queue, &self.shared.cluster, pause, report);
    }

    fn remember(&mut self, queue: &Arc<PartitionQueue>) {
        if self.queues.len() <= queue.id {
            self.queues.resize(queue.id + 1, None);
        }
        self.queues[queue.id].get_or_insert_with(|| Arc::clone(queue));
    }

    /// Where a queue's batches go now, if there is a way.
    fn link(&mut self, queue: &PartitionQueue, now: Instant) -> Option<(Route, TopicId, Connection)> {
        let topic = self.shared.topic(&queue.topic)?;
        let Some(route) = self.shared.cluster.route(&topic, queue.partition) else {
            self.shared.cluster.want(&queue.topic);
            self.leaderless_until = self.leaderless_until.or(Some(now + LEADERLESS_PAUSE));
            return None;
        };
        let connection = self.links.get(route, now)?;
        Some((route, topic.id, connection))
    }

    fn produce(&self, connection: &Connection, route: Route, request: &[Outgoing], now: Instant) {
        let acks = self.shared.options.acks;
        let timeout = self.shared.cluster.request_timeout();
        let until = if acks == Acks::None { Until::Written } else { Until::Reply(timeout) };
        let entries =
            request.iter().map(|batch| (batch.topic, batch.flight.queue.partition, batch.bytes.len()));
        let flights: Flights = request.iter().map(|batch| batch.flight.clone()).collect();
        // The address only: a completion that held its connection would keep it open for ever.
        let (tell, address) = (self.tell.clone(), Arc::clone(connection.address()));
        let completion = Box::new(move |result| {
            // The producer may be gone, and its records with it.
            let _ = tell.send(Event::Answered { address, route, flights, result });
        });
        let timeout_ms = self.shared.cluster.request_timeout_ms();
        let head = |w: &mut protocol::api::Writer<'_>| {
            ProduceRequest::write_head(w, acks, timeout_ms, entries);
        };
        let payload = request.iter().map(|batch| &batch.bytes);
        connection.submit(Api::Produce, head, payload, until, now, completion);
    }

    fn handle_answer(&self, address: &Arc<str>, flights: &[Flight], result: Result<Answer, ConnectionError>) {
        let reply = match result {
            Ok(Answer::Written) => {
                flights.iter().for_each(|flight| self.finish(flight, None));
                return;
            }
            Ok(answer) => read_reply::<ProduceReply>(address, &answer),
            Err(error) => Err(AdminError::Connection(error)),
        };
        match reply {
            Ok(reply) if reply.partitions.len() == flights.len() => {
                for (flight, result) in flights.iter().zip(reply.partitions) {
                    self.handle_result(flight, result);
                }
            }
            Ok(_) => self.retry(flights, true, "the reply is not about the partitions of the request"),
            Err(AdminError::Refused { code, .. }) => {
                flights.iter().for_each(|flight| self.handle_result(flight, ProduceResult::refused(code)));
            }
            Err(error) => self.retry(flights, error.may_have_been_applied(), &error.to_string()),
        }
    }

    fn handle_result(&self, flight: &Flight, result: ProduceResult) {
        let code = result.error;
        if is_stale(code) || code == ErrorCode::MessageTooLarge {
            self.shared.cluster.want(&flight.queue.topic);
        }
        if code.is_ok() {
            self.finish(flight, result.base_offset);
        } else if code.is_retriable() {
            let unsure = code == ErrorCode::RequestTimedOut;
            self.retry(std::slice::from_ref(flight), unsure, &code.to_string());
        } else {
            self.refuse(flight, code);
        }
    }

    /// A batch is delivered.
    fn finish(&self, flight: &Flight, base_offset: Option<Offset>) {
        let answered = lock(&flight.queue.queue).handle_answer(flight.id);
        if let Some(batch) = answered {
            self.shared.finish(batch, Ok(base_offset));
        }
    }

    /// The broker will not take a flight, however often it is sent.
    fn refuse(&self, flight: &Flight, code: ErrorCode) {
        let queue = &flight.queue;
        let refused = match code {
            // Of a producer that was forgotten the broker misses every batch before this one.
            ErrorCode::OutOfOrderSequenceNumber | ErrorCode::UnknownProducerId => {
                let error: Arc<str> = code.to_string().into();
                lock(&queue.queue).handle_out_of_order(Instant::now(), flight.id, &error, jitter())
            }
            _ => lock(&queue.queue).handle_refusal(flight.id),
        };
        let Some(batch) = refused else { return };
        let may_have_been_applied = batch.unsure;
        if code == ErrorCode::InvalidProducerEpoch {
            self.shared.finish(batch, Err(SendError::Fenced { may_have_been_applied }));
            let count = self.shared.fence();
            tracing::error!(records = count, "another producer has taken over this one's id; it ends");
            return;
        }
        let (topic, partition) = (Arc::clone(&queue.topic), queue.partition);
        self.shared.finish(batch, Err(SendError::Refused { topic, partition, code, may_have_been_applied }));
    }

    fn retry(&self, flights: &[Flight], unsure: bool, error: &str) {
        tracing::debug!(batches = flights.len(), error, "a produce failed; trying again");
        let (now, error): (Instant, Arc<str>) = (Instant::now(), error.into());
        for flight in flights {
            lock(&flight.queue.queue).handle_failure(now, flight.id, unsure, &error, jitter());
        }
    }
}

fn timed_out(
    queue: &PartitionQueue,
    batch: &ClosedBatch<Arc<BatchState>>,
    unsure: bool,
    no_identity: Option<&Arc<str>>,
) -> SendError {
    SendError::TimedOut {
        topic: Arc::clone(&queue.topic),
        partition: queue.partition,
        may_have_been_applied: unsure,
        last_error: batch.last_error.as_ref().or(no_identity).cloned(),
    }
}

/// How many of `batches`, which are in the order of their rounds, make the next request: of one round,
/// within its limits. A batch that the broker does not even read alone is sent all the same, and refused.
fn request_len(batches: &[Outgoing], body_limit: usize) -> usize {
    let limit = body_limit.min(PRODUCE_REQUEST_BYTES_MAX);
    let round = batches.first().map_or(0, |first| first.round);
    let mut bytes = REQUEST_HEAD_BYTES;
    let fits = |batch: &&Outgoing| {
        bytes += ProduceEntry::LEN + batch.bytes.len();
        batch.round == round && bytes <= limit
    };
    batches.iter().take(PARTITIONS_PER_REQUEST_MAX).take_while(fits).count().max(1)
}
