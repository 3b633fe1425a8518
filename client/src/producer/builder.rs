//! How a producer behaves: every knob, its default and what it costs.

use std::sync::Arc;
use std::time::Duration;

use protocol::api::Acks;
use protocol::batch::Codec;
use protocol::model::limits::BATCH_BYTES_MAX;

use super::Producer;
use crate::driver::cluster::Cluster;
use crate::limits;

/// Which partition a record goes to that does not name one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Partitioner {
    /// A key's partition is murmur2 of the key, as Kafka's clients have it. Records without a key
    /// stay on one partition until its batch is closed, then go to the next: full batches.
    #[default]
    Default,
    /// One partition after the other, keys or not.
    RoundRobin,
}

/// Options as the producer uses them.
#[derive(Clone, Debug)]
pub(crate) struct ProducerOptions {
    pub acks: Acks,
    pub linger: Duration,
    pub batch_bytes: usize,
    /// `None` if nothing was said about it.
    pub backlog_batch_bytes: Option<usize>,
    pub buffer_bytes: usize,
    pub in_flight: usize,
    pub compression: Codec,
    pub delivery_timeout: Duration,
    pub retry_backoff: Duration,
    pub metadata_timeout: Duration,
    pub partitioner: Partitioner,
    pub topic: Option<Arc<str>>,
    pub idempotent: bool,
}

impl ProducerOptions {
    /// What a batch grows to while it cannot be sent.
    pub fn backlog_batch_bytes(&self) -> usize {
        let grown =
            || self.batch_bytes.saturating_mul(limits::BACKLOG_GROWTH).min(limits::BACKLOG_BATCH_BYTES_MAX);
        self.backlog_batch_bytes.unwrap_or_else(grown).max(self.batch_bytes)
    }
}

#[must_use = "nothing is sent before build()"]
pub struct ProducerBuilder {
    cluster: Arc<Cluster>,
    options: ProducerOptions,
    /// `None` if nothing was said about it.
    idempotence: Option<bool>,
}

/// Options that exclude each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidProducer {
    #[error("an idempotent producer needs Acks::All: without an answer it cannot know what to send again")]
    IdempotenceNeedsAcksAll,
    #[error(
        "an idempotent producer has at most {} batches of a partition under way, not {in_flight}: the broker \
         remembers as many; idempotence(false) allows more",
        limits::IN_FLIGHT_IDEMPOTENT_MAX
    )]
    IdempotenceBoundsInFlight { in_flight: usize },
}

impl ProducerBuilder {
    pub(crate) fn new(cluster: Arc<Cluster>) -> ProducerBuilder {
        let options = ProducerOptions {
            acks: Acks::All,
            linger: limits::LINGER,
            batch_bytes: limits::BATCH_BYTES,
            backlog_batch_bytes: None,
            buffer_bytes: limits::BUFFER_BYTES,
            in_flight: limits::IN_FLIGHT_PER_PARTITION,
            compression: Codec::None,
            delivery_timeout: limits::DELIVERY_TIMEOUT,
            retry_backoff: limits::RETRY_BACKOFF,
            metadata_timeout: limits::METADATA_TIMEOUT,
            partitioner: Partitioner::Default,
            topic: None,
            idempotent: true,
        };
        ProducerBuilder { cluster, options, idempotence: None }
    }

    /// Whether the broker is enabled to store each batch once, however often it has to be sent; it is
    /// by default. `Acks::None` and `Acks::Leader` turn it off, unless it was asked for here: then they
    /// are refused.
    pub fn idempotence(mut self, idempotence: bool) -> Self {
        self.idempotence = Some(idempotence);
        self
    }

    /// When a record counts as delivered; durable on all replicas in sync by default.
    pub fn acks(mut self, acks: Acks) -> Self {
        self.options.acks = acks;
        self
    }

    /// How long a batch may wait for more records; 5 ms by default. With 0 a batch is sent as soon
    /// as the connection takes it, and still fills while earlier batches are under way.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.options.linger = linger;
        self
    }

    /// A batch that can be sent is closed when it has this size; 64 KiB by default, at most 8 MiB. The
    /// topic's `max.message.bytes` lowers it.
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.options.batch_bytes = bytes.clamp(1, BATCH_BYTES_MAX);
        self
    }

    /// A batch that cannot be sent, because `in_flight` batches are under way already, goes on filling
    /// up to this size; 4 times `batch_bytes` by default, but 256 KiB at most. `batch_bytes` or less
    /// makes all batches the same. The topic's `max.message.bytes` lowers it.
    pub fn backlog_batch_bytes(mut self, bytes: usize) -> Self {
        self.options.backlog_batch_bytes = Some(bytes.min(BATCH_BYTES_MAX));
        self
    }

    /// Bytes of records that have no outcome yet; 32 MiB by default. Above it `enqueue` waits.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.options.buffer_bytes = bytes.max(1);
        self
    }

    /// Batches of one partition that are under way at a time; 5 by default, and at most, unless
    /// idempotence is turned off.
    pub fn in_flight(mut self, batches: usize) -> Self {
        self.options.in_flight = batches.max(1);
        self
    }

    pub fn compression(mut self, codec: Codec) -> Self {
        self.options.compression = codec;
        self
    }

    /// From `enqueue` to the acknowledgement, retries included; 120 s by default.
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.options.delivery_timeout = timeout;
        self
    }

    /// First pause before a retry, doubled with each further one up to 2 s; 100 ms by default.
    pub fn retry_backoff(mut self, pause: Duration) -> Self {
        self.options.retry_backoff = pause;
        self
    }

    /// How long a send waits for an unknown topic to appear; 10 s by default.
    pub fn metadata_timeout(mut self, timeout: Duration) -> Self {
        self.options.metadata_timeout = timeout;
        self
    }

    pub fn partitioner(mut self, partitioner: Partitioner) -> Self {
        self.options.partitioner = partitioner;
        self
    }

    /// The topic of records that name none.
    pub fn topic(mut self, topic: impl Into<Arc<str>>) -> Self {
        self.options.topic = Some(topic.into());
        self
    }

    /// Starts the producer on the current tokio runtime. Nothing is asked of the broker before the first
    /// record.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn build(mut self) -> Result<Producer, InvalidProducer> {
        self.options.idempotent = is_idempotent(&self.options, self.idempotence)?;
        Ok(Producer::start(self.cluster, self.options))
    }
}

fn is_idempotent(options: &ProducerOptions, wish: Option<bool>) -> Result<bool, InvalidProducer> {
    let in_flight = options.in_flight;
    match (wish, options.acks) {
        (Some(false), _) => Ok(false),
        (None, Acks::None | Acks::Leader) => Ok(false),
        (Some(true), Acks::None | Acks::Leader) => Err(InvalidProducer::IdempotenceNeedsAcksAll),
        (_, Acks::All) if in_flight <= limits::IN_FLIGHT_IDEMPOTENT_MAX => Ok(true),
        (_, Acks::All) => Err(InvalidProducer::IdempotenceBoundsInFlight { in_flight }),
    }
}
