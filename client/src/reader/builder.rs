//! How a reader behaves: what it reads, from where, and how far ahead.

use std::sync::Arc;
use std::time::Duration;

use protocol::api::OffsetSpec;
use protocol::model::{Offset, PartitionIndex, Timestamp, TopicName};

use super::Reader;
use crate::core::metadata::Topic;
use crate::driver::cluster::Cluster;
use crate::error::{AdminError, ConsumeError};
use crate::limits;

/// Where a reader begins in each partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StartAt {
    /// The first record there is.
    #[default]
    Earliest,
    /// The first record that is committed after `build` returns.
    Latest,
    Offset(Offset),
    /// The first record at or after this time; the end where there is none.
    Timestamp(Timestamp),
}

/// Options as the reader uses them.
#[derive(Clone, Debug)]
pub(crate) struct ReaderOptions {
    pub max_wait: Duration,
    pub min_bytes: u32,
    pub fetch_bytes: u32,
    pub prefetch_bytes: usize,
}

#[must_use = "nothing is read before build()"]
pub struct ReaderBuilder {
    cluster: Arc<Cluster>,
    topic: Option<Arc<str>>,
    partitions: Option<Vec<u32>>,
    start: StartAt,
    options: ReaderOptions,
}

impl ReaderBuilder {
    pub(crate) fn new(cluster: Arc<Cluster>) -> ReaderBuilder {
        let options = ReaderOptions {
            max_wait: limits::FETCH_MAX_WAIT,
            min_bytes: limits::FETCH_MIN_BYTES,
            fetch_bytes: limits::FETCH_BYTES,
            prefetch_bytes: limits::PREFETCH_BYTES,
        };
        ReaderBuilder { cluster, topic: None, partitions: None, start: StartAt::Earliest, options }
    }

    pub fn topic(mut self, topic: impl Into<Arc<str>>) -> Self {
        self.topic = Some(topic.into());
        self
    }

    /// Only these partitions; all that the topic has at `build` by default.
    pub fn partitions(mut self, partitions: Vec<u32>) -> Self {
        self.partitions = Some(partitions);
        self
    }

    /// Earliest by default.
    pub fn start(mut self, start: StartAt) -> Self {
        self.start = start;
        self
    }

    /// How long a broker may wait for `min_bytes`; 1 s by default.
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.options.max_wait = wait;
        self
    }

    /// How many bytes are worth an answer before `max_wait` is over; 1 by default.
    pub fn min_bytes(mut self, bytes: u32) -> Self {
        self.options.min_bytes = bytes;
        self
    }

    /// Most bytes of one partition in one answer; 1 MiB by default. A larger batch comes whole.
    pub fn fetch_bytes(mut self, bytes: u32) -> Self {
        self.options.fetch_bytes = bytes.max(1);
        self
    }

    /// Bytes read ahead of the application; 8 MiB by default.
    pub fn prefetch_bytes(mut self, bytes: usize) -> Self {
        self.options.prefetch_bytes = bytes.max(1);
        self
    }

    /// Finds where to start, and starts reading ahead.
    pub async fn build(self) -> Result<Reader, ConsumeError> {
        let name = self.topic.ok_or(ConsumeError::NoTopic)?;
        if let Err(why) = TopicName::new(&name) {
            return Err(ConsumeError::Start(AdminError::InvalidTopic { topic: name, why }));
        }
        let topic = self.cluster.look_up_anew(&name).await.map_err(start_failed)?;
        let partitions = choose(&topic, self.partitions)?;
        let starts = find_starts(&self.cluster, &topic, partitions, self.start).await?;
        Ok(Reader::start(self.cluster, name, starts, self.options))
    }
}

fn start_failed(error: AdminError) -> ConsumeError {
    match error {
        AdminError::UnknownTopic { topic } => ConsumeError::UnknownTopic { topic },
        AdminError::UnknownPartition { topic, partition, partitions } => {
            ConsumeError::UnknownPartition { topic, partition, partitions }
        }
        error => ConsumeError::Start(error),
    }
}

fn choose(topic: &Topic, chosen: Option<Vec<u32>>) -> Result<Vec<PartitionIndex>, ConsumeError> {
    let partitions = topic.partition_count();
    let mut chosen = chosen.unwrap_or_else(|| (0..partitions).collect());
    chosen.sort_unstable();
    chosen.dedup();
    match chosen.iter().find(|index| **index >= partitions) {
        Some(index) => {
            let (topic, partition) = (Arc::clone(&topic.name), PartitionIndex::new(*index));
            Err(ConsumeError::UnknownPartition { topic, partition, partitions })
        }
        None => Ok(chosen.into_iter().map(PartitionIndex::new).collect()),
    }
}

async fn find_starts(
    cluster: &Cluster,
    topic: &Topic,
    partitions: Vec<PartitionIndex>,
    start: StartAt,
) -> Result<Vec<(PartitionIndex, Offset)>, ConsumeError> {
    let ask = async |spec| cluster.list_offsets(topic, &partitions, spec).await.map_err(start_failed);
    let found = match start {
        StartAt::Offset(offset) => return Ok(partitions.into_iter().map(|index| (index, offset)).collect()),
        StartAt::Earliest => ask(OffsetSpec::Earliest).await?,
        StartAt::Latest => ask(OffsetSpec::Latest).await?,
        StartAt::Timestamp(time) => {
            let mut found = ask(OffsetSpec::AtOrAfter(time)).await?;
            if found.iter().any(|listed| listed.offset.is_none()) {
                let ends = ask(OffsetSpec::Latest).await?;
                for (listed, end) in found.iter_mut().zip(ends) {
                    listed.offset = listed.offset.or(end.offset);
                }
            }
            found
        }
    };
    // A broker that knows the partition knows its ends; 0 is the end of one that has nothing.
    let offset = |listed: crate::ListedOffset| listed.offset.unwrap_or(Offset::ZERO);
    Ok(partitions.iter().copied().zip(found.into_iter().map(offset)).collect())
}
