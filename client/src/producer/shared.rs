//! What a producer's handles and its task share: the queues, the buffer's budget, the ready list.
//!
//!     enqueue ─▶ topic ─▶ partition ─▶ budget ─▶ queue (mutex) ─▶ ready list ─▶ wake the task
//!                (RwLock)             (semaphore)                 once per batch, not per record
//!
//! Napkin: a record of 100 B at 5 M/s has 200 ns: the coarse clock (5), the topic (5), lock and append
//! (40 and the copy), a dozen uncontended atomics (60); its share of checksum, system calls and the
//! acknowledgement is as much again. Measured: docs/performance-client.md.
//! Lock order: topics, a queue, the spare buffers; the ready list and a batch's state are taken alone.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use protocol::batch::Codec;
use protocol::model::{PartitionIndex, TopicName};
use tokio::sync::{Notify, Semaphore, TryAcquireError};

use super::builder::{Partitioner, ProducerOptions};
use super::clock::WallClock;
use super::spares::Spares;
use super::ticket::{BatchState, Outcome, Ticket};
use super::topics::{TopicQueues, Topics};
use crate::core::backoff::Backoff;
use crate::core::metadata::Topic;
use crate::core::partitioner::{Sticky, partition_of_key};
use crate::core::queue::{ClosedBatch, NotAppended, Queue, QueueOptions, RecordRef, WhenFull};
use crate::driver::cluster::Cluster;
use crate::driver::{jitter, lock};
use crate::error::{AdminError, SendError};
use crate::limits::RECORD_OVERHEAD_BYTES;
use crate::record::Record;

/// Headers up to this many are passed on without an allocation.
const HEADERS_ON_STACK: usize = 8;

pub(crate) struct Shared {
    pub cluster: Arc<Cluster>,
    pub options: ProducerOptions,
    topics: RwLock<Topics>,
    next_queue: AtomicUsize,
    /// Bytes that may still be accepted. First come, first served.
    budget: Semaphore,
    spares: Spares,
    ready: Mutex<Vec<Arc<PartitionQueue>>>,
    /// Wakes the producer's task.
    pub wake: Notify,
    /// No record is taken any more.
    closed: AtomicBool,
    /// Another producer writes under our id.
    fenced: AtomicBool,
    /// No record is left; the task may end.
    abandoned: AtomicBool,
    /// Held while a topic is looked up, so that a thousand waiting sends ask one after the other
    /// and all but the first find the answer.
    looking_up: tokio::sync::Mutex<()>,
}

pub(crate) struct PartitionQueue {
    /// Small number for the task's timers.
    pub id: usize,
    pub topic: Arc<str>,
    pub partition: PartitionIndex,
    pub queue: Mutex<Queue<Arc<BatchState>>>,
    pub sticky: Arc<Sticky>,
    /// Whether it stands in the ready list.
    is_ready: AtomicBool,
}

/// Why a record could not be taken without waiting.
pub(crate) enum Obstacle {
    BufferFull,
    UnknownTopic(Arc<str>),
    Refused(SendError),
}

impl From<SendError> for Obstacle {
    fn from(error: SendError) -> Obstacle {
        Obstacle::Refused(error)
    }
}

impl Shared {
    pub(crate) fn new(cluster: Arc<Cluster>, options: ProducerOptions) -> Shared {
        Shared {
            cluster,
            budget: Semaphore::new(options.buffer_bytes.min(Semaphore::MAX_PERMITS)),
            options,
            topics: RwLock::default(),
            next_queue: AtomicUsize::new(0),
            spares: Spares::default(),
            ready: Mutex::default(),
            wake: Notify::new(),
            closed: AtomicBool::new(false),
            fenced: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            looking_up: tokio::sync::Mutex::new(()),
        }
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// Takes a record if that needs no waiting.
    pub(crate) fn try_append(&self, record: &Record) -> Result<Ticket, Obstacle> {
        let charge = self.charge(record)?;
        let name = self.topic_name(record)?;
        let topics = self.read_topics();
        let Some(topic) = topics.get(name) else {
            return Err(Obstacle::UnknownTopic(Arc::clone(name)));
        };
        let permit = match self.budget.try_acquire_many(charge) {
            Ok(permit) => permit,
            Err(TryAcquireError::NoPermits) => return Err(Obstacle::BufferFull),
            Err(TryAcquireError::Closed) => return Err(self.closed_error().into()),
        };
        let ticket = self.append_to(topic, record, charge)?;
        permit.forget();
        Ok(ticket)
    }

    /// Takes a record, waiting for its topic to be known and for room in the buffer.
    pub(crate) async fn append(&self, record: Record) -> Result<Ticket, SendError> {
        let charge = self.charge(&record)?;
        let name = Arc::clone(self.topic_name(&record)?);
        if self.read_topics().get(&name).is_none() {
            let topic = self.look_up(&name).await?;
            self.install(topic);
        }
        let permit = self.budget.acquire_many(charge).await.map_err(|_| self.closed_error())?;
        let topics = self.read_topics();
        // A closed producer installs no topics.
        let topic = topics.get(&name).ok_or_else(|| self.closed_error())?;
        let ticket = self.append_to(topic, &record, charge)?;
        permit.forget();
        Ok(ticket)
    }

    /// What a record takes of the buffer.
    fn charge(&self, record: &Record) -> Result<u32, SendError> {
        let bytes = record.payload_len().saturating_add(RECORD_OVERHEAD_BYTES);
        let limit = self.options.buffer_bytes;
        match u32::try_from(bytes) {
            Ok(charge) if bytes <= limit => Ok(charge),
            _ => Err(SendError::LargerThanBuffer { bytes, limit }),
        }
    }

    fn topic_name<'a>(&'a self, record: &'a Record) -> Result<&'a Arc<str>, SendError> {
        record.topic.as_ref().or(self.options.topic.as_ref()).ok_or(SendError::NoTopic)
    }

    fn append_to(&self, topic: &TopicQueues, record: &Record, charge: u32) -> Result<Ticket, SendError> {
        if record.headers.is_empty() {
            return self.append_with_headers(topic, record, &[], charge);
        }
        let mut on_stack = [("", None); HEADERS_ON_STACK];
        let in_heap: Vec<(&str, Option<&[u8]>)>;
        let headers = match on_stack.get_mut(..record.headers.len()) {
            Some(slots) => {
                for (slot, (key, value)) in slots.iter_mut().zip(&record.headers) {
                    *slot = (&**key, value.as_deref());
                }
                &*slots
            }
            None => {
                in_heap = record.headers.iter().map(|(key, value)| (&**key, value.as_deref())).collect();
                &in_heap
            }
        };
        self.append_with_headers(topic, record, headers, charge)
    }

    fn append_with_headers(
        &self,
        topic: &TopicQueues,
        record: &Record,
        headers: &[(&str, Option<&[u8]>)],
        charge: u32,
    ) -> Result<Ticket, SendError> {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let fields = RecordRef { timestamp: record.timestamp, key, value, headers, charge: charge as usize };
        let (index, is_sticky) = self.choose(topic, record)?;
        let when_full = if is_sticky { WhenFull::Stop } else { WhenFull::OpenNext };
        match self.append_to_partition(topic, index, fields, when_full) {
            Err(NotAppended::Full { .. }) => {
                // The sticky partition's batch is full: the record opens one on the next partition.
                let next = topic.sticky.current();
                self.append_to_partition(topic, next, fields, WhenFull::OpenNext)
            }
            done => done,
        }
        .map_err(|error| self.not_appended(topic, error))
    }

    /// The record's partition, and whether it is the sticky one.
    fn choose(&self, topic: &TopicQueues, record: &Record) -> Result<(u32, bool), SendError> {
        let partitions = topic.topic.partition_count();
        match (record.partition, self.options.partitioner, &record.key) {
            (Some(partition), _, _) if partition.get() < partitions => Ok((partition.get(), false)),
            (Some(partition), _, _) => {
                let topic = Arc::clone(&topic.topic.name);
                self.cluster.want(&topic);
                Err(SendError::UnknownPartition { topic, partition, partitions })
            }
            (None, Partitioner::RoundRobin, _) => Ok((topic.sticky.step(), false)),
            (None, Partitioner::Default, Some(key)) => Ok((partition_of_key(key, partitions), false)),
            (None, Partitioner::Default, None) => Ok((topic.sticky.current(), true)),
        }
    }

    fn append_to_partition(
        &self,
        topic: &TopicQueues,
        index: u32,
        fields: RecordRef<'_>,
        when_full: WhenFull,
    ) -> Result<Ticket, NotAppended> {
        let queue = &topic.queues[index as usize];
        let state = || Arc::new(BatchState::new(Arc::clone(&queue.topic), queue.partition));
        let mut inner = lock(&queue.queue);
        if let Some(len) = inner.wants_buffer()
            && let Some(buffer) = self.spares.take(len)
        {
            inner.give_buffer(buffer);
        }
        let appended = inner.append(fields, when_full, &WallClock, state);
        drop(inner);
        let (wake, full) = match &appended {
            Ok(appended) => (appended.wake, appended.full),
            Err(NotAppended::Full { wake }) => (*wake, true),
            Err(_) => (false, false),
        };
        if full && when_full == WhenFull::Stop {
            topic.sticky.handle_batch_closed(index);
        }
        if wake {
            self.make_ready(queue);
        }
        appended.map(|appended| Ticket::new(appended.state, appended.index, appended.timestamp))
    }

    fn not_appended(&self, topic: &TopicQueues, error: NotAppended) -> SendError {
        match error {
            NotAppended::TooLarge { bytes, limit } => {
                // The limit may have been raised since it was learnt.
                self.cluster.want(&topic.topic.name);
                SendError::LargerThanTopicTakes { topic: Arc::clone(&topic.topic.name), bytes, limit }
            }
            NotAppended::Sealed => self.closed_error(),
            NotAppended::Full { .. } => unreachable!("BUG: the second try opens a batch"),
        }
    }

    /// Asks for a topic until it is there or `metadata_timeout` is over.
    async fn look_up(&self, name: &Arc<str>) -> Result<Arc<Topic>, SendError> {
        if let Err(why) = TopicName::new(name) {
            return Err(SendError::InvalidTopic { topic: Arc::clone(name), why });
        }
        let mut last_error = AdminError::UnknownTopic { topic: Arc::clone(name) };
        let mut backoff = Backoff::new(self.options.retry_backoff);
        let tries = async {
            loop {
                let found = {
                    let _turn = self.looking_up.lock().await;
                    self.cluster.look_up(name).await
                };
                match found {
                    Ok(topic) if topic.partition_count() > 0 => return topic,
                    Ok(_) => {}
                    Err(error) => last_error = error,
                }
                tokio::time::sleep(backoff.next_pause(jitter())).await;
            }
        };
        match tokio::time::timeout(self.options.metadata_timeout, tries).await {
            Ok(topic) => Ok(topic),
            Err(_) => Err(match last_error {
                AdminError::UnknownTopic { topic } => SendError::UnknownTopic { topic },
                cause => SendError::Metadata { topic: Arc::clone(name), cause },
            }),
        }
    }

    /// Makes the queues of a topic that the cluster's metadata know already; asks for it otherwise.
    pub(crate) fn install_known(&self, name: &Arc<str>) -> Result<bool, SendError> {
        if let Err(why) = TopicName::new(name) {
            return Err(SendError::InvalidTopic { topic: Arc::clone(name), why });
        }
        match self.cluster.topic(name).filter(|topic| topic.partition_count() > 0) {
            Some(topic) => {
                self.install(topic);
                Ok(true)
            }
            None => {
                self.cluster.want(name);
                Ok(false)
            }
        }
    }

    /// Makes the queues of a topic, or those of the partitions it got since.
    fn install(&self, topic: Arc<Topic>) {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        if self.closed.load(Ordering::Acquire) {
            return;
        }
        let partitions = topic.partition_count();
        let known = topics.get_or_insert_with(&topic.name, || TopicQueues {
            topic: Arc::clone(&topic),
            queues: Vec::new(),
            sticky: Arc::new(Sticky::new((jitter() * f64::from(partitions)) as u32, partitions)),
        });
        for queue in &known.queues {
            lock(&queue.queue).set_batch_bytes_max(topic.batch_bytes_max);
        }
        let have = u32::try_from(known.queues.len()).expect("BUG: one queue per partition");
        let new =
            (have..partitions).map(|index| self.new_queue(&topic, PartitionIndex::new(index), &known.sticky));
        known.queues.extend(new);
        // A topic that was made again may have fewer partitions: the queues beyond them get no more
        // records, and those in them time out.
        known.sticky.set_partitions(partitions);
        known.topic = topic;
    }

    fn new_queue(
        &self,
        topic: &Topic,
        partition: PartitionIndex,
        sticky: &Arc<Sticky>,
    ) -> Arc<PartitionQueue> {
        let options = QueueOptions {
            linger: self.options.linger,
            batch_bytes: self.options.batch_bytes,
            backlog_batch_bytes: self.options.backlog_batch_bytes(),
            in_flight: self.options.in_flight,
            compression: self.options.compression,
            delivery_timeout: self.options.delivery_timeout,
            retry_backoff: self.options.retry_backoff,
            idempotent: self.options.idempotent,
        };
        Arc::new(PartitionQueue {
            id: self.next_queue.fetch_add(1, Ordering::Relaxed),
            topic: Arc::clone(&topic.name),
            partition,
            queue: Mutex::new(Queue::new(options, topic.batch_bytes_max)),
            sticky: Arc::clone(sticky),
            is_ready: AtomicBool::new(false),
        })
    }

    /// Takes over what the cluster's metadata say by now.
    pub(crate) fn refresh_topics(&self) {
        let names: Vec<Arc<str>> =
            self.read_topics().iter().map(|topic| Arc::clone(&topic.topic.name)).collect();
        for topic in names.iter().filter_map(|name| self.cluster.topic(name)) {
            if topic.partition_count() > 0 {
                self.install(topic);
            }
        }
    }

    /// The topic as its queues were made from it.
    pub(crate) fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.read_topics().get(name).map(|topic| Arc::clone(&topic.topic))
    }

    /// Puts a queue before the producer's task.
    pub(crate) fn make_ready(&self, queue: &Arc<PartitionQueue>) {
        if !queue.is_ready.swap(true, Ordering::AcqRel) {
            lock(&self.ready).push(Arc::clone(queue));
            self.wake.notify_one();
        }
    }

    /// The queues that became ready; from now on they can become so again.
    pub(crate) fn take_ready(&self) -> Vec<Arc<PartitionQueue>> {
        let ready = std::mem::take(&mut *lock(&self.ready));
        for queue in &ready {
            queue.is_ready.store(false, Ordering::Release);
        }
        ready
    }

    /// Gives a batch its outcome, and its bytes back to the buffer.
    pub(crate) fn finish(&self, batch: ClosedBatch<Arc<BatchState>>, outcome: Outcome) {
        let ClosedBatch { state, bytes, charged, .. } = batch;
        let is_delivered = outcome.is_ok();
        state.complete(outcome, &bytes);
        self.budget.add_permits(charged);
        if is_delivered && self.options.compression == Codec::None {
            self.spares.put(bytes);
        }
    }

    /// The batches that have no outcome yet. They will be sent without more linger. `each` sees
    /// them before any of them can get its outcome.
    pub(crate) fn flush(&self, each: impl Fn(&BatchState)) -> Vec<Arc<BatchState>> {
        let mut states = Vec::new();
        for queue in self.queues() {
            let mut inner = lock(&queue.queue);
            inner.flush();
            let before = states.len();
            states.extend(inner.states().cloned());
            states.iter().skip(before).for_each(|state| each(state));
            drop(inner);
            if states.len() > before {
                self.make_ready(&queue);
            }
        }
        states
    }

    /// Takes no more records; those that wait for room are refused.
    pub(crate) fn close(&self) {
        {
            // Under the lock: no topic is installed after this, so that every queue is sealed below.
            let _topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
            self.closed.store(true, Ordering::Release);
        }
        self.budget.close();
        for queue in self.queues() {
            lock(&queue.queue).seal();
        }
    }

    /// Why no record is taken any more.
    fn closed_error(&self) -> SendError {
        match self.fenced.load(Ordering::Acquire) {
            true => SendError::Fenced { may_have_been_applied: false },
            false => SendError::Closed,
        }
    }

    /// Gives every record without an outcome one, and returns how many there were.
    pub(crate) fn abandon(&self) -> usize {
        self.end(|topic, partition, may_have_been_applied| SendError::Abandoned {
            topic,
            partition,
            may_have_been_applied,
        })
    }

    /// As `abandon`: the broker takes nothing from this producer any more.
    pub(crate) fn fence(&self) -> usize {
        self.fenced.store(true, Ordering::Release);
        self.end(|_, _, may_have_been_applied| SendError::Fenced { may_have_been_applied })
    }

    fn end(&self, error: impl Fn(Arc<str>, PartitionIndex, bool) -> SendError) -> usize {
        self.close();
        let mut count = 0;
        for queue in self.queues() {
            let drained = lock(&queue.queue).drain();
            for (batch, may_have_been_applied) in drained {
                count += batch.records.get() as usize;
                let (topic, partition) = (Arc::clone(&queue.topic), queue.partition);
                self.finish(batch, Err(error(topic, partition, may_have_been_applied)));
            }
        }
        self.abandoned.store(true, Ordering::Release);
        self.wake.notify_one();
        count
    }

    fn queues(&self) -> Vec<Arc<PartitionQueue>> {
        self.read_topics().iter().flat_map(|topic| topic.queues.iter().cloned()).collect()
    }

    fn read_topics(&self) -> RwLockReadGuard<'_, Topics> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner)
    }
}
