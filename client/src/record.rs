//! Records: what a user hands to a producer and gets from a reader.
//!
//!     Record::to(topic.clone()).key(k).value(v).header("trace", id)  ──▶  Delivery { partition, offset }
//!     ConsumedRecord { topic, partition, offset, timestamp, key, value, headers }  ◀── Reader
//!
//! Keys and values are [`Bytes`]: on the way out they are copied once, into the batch; on the way in
//! they are slices of the reply. A slice keeps its whole reply alive: copy what you keep for long.

use std::sync::Arc;

use bytes::Bytes;
use protocol::batch::Header;
use protocol::model::{Offset, PartitionIndex, Timestamp};

/// A record on its way to a topic.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub(crate) topic: Option<Arc<str>>,
    pub(crate) partition: Option<PartitionIndex>,
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<(Box<str>, Option<Bytes>)>,
}

impl Record {
    /// A record for `topic`, empty so far. An `Arc<str>` is shared, a `&str` copied: who sends
    /// millions keeps an `Arc`, or gives the producer a default topic.
    pub fn to(topic: impl Into<Arc<str>>) -> Record {
        Record { topic: Some(topic.into()), value: Some(Bytes::new()), ..Record::default() }
    }

    /// A record for the producer's default topic.
    pub fn to_default() -> Record {
        Record { value: Some(Bytes::new()), ..Record::default() }
    }

    pub fn key(mut self, key: impl Into<Bytes>) -> Record {
        self.key = Some(key.into());
        self
    }

    pub fn value(mut self, value: impl Into<Bytes>) -> Record {
        self.value = Some(value.into());
        self
    }

    /// Takes the value away: on a compacted topic, the key's earlier records may go.
    pub fn tombstone(mut self) -> Record {
        self.value = None;
        self
    }

    pub fn header(mut self, key: impl Into<Box<str>>, value: impl Into<Bytes>) -> Record {
        self.headers.push((key.into(), Some(value.into())));
        self
    }

    /// Chooses the partition; the partitioner is not asked.
    pub fn partition(mut self, partition: u32) -> Record {
        self.partition = Some(PartitionIndex::new(partition));
        self
    }

    /// The time of the record; without it, the time of `send` or `enqueue`.
    pub fn timestamp(mut self, timestamp: Timestamp) -> Record {
        self.timestamp = Some(timestamp);
        self
    }

    pub fn topic(&self) -> Option<&str> {
        self.topic.as_deref()
    }

    pub fn key_bytes(&self) -> Option<&Bytes> {
        self.key.as_ref()
    }

    pub fn value_bytes(&self) -> Option<&Bytes> {
        self.value.as_ref()
    }

    /// Bytes of key, value and headers.
    pub(crate) fn payload_len(&self) -> usize {
        let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers: usize = self.headers.iter().map(|(key, value)| key.len() + len(value)).sum();
        len(&self.key) + len(&self.value) + headers
    }
}

/// Where a record came to stand.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Delivery {
    pub topic: Arc<str>,
    pub partition: PartitionIndex,
    /// `None` with `Acks::None`: nobody said.
    pub offset: Option<Offset>,
    pub timestamp: Timestamp,
}

/// A record as it lies in its partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumedRecord {
    pub topic: Arc<str>,
    pub partition: PartitionIndex,
    pub offset: Offset,
    pub timestamp: Timestamp,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<Header>,
}
