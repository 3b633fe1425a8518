//! Produce: record sets for one or several partitions, acknowledged as `acks` says.
//!
//!     request     transactional id │ acks │ timeout │ topics ▸ partitions ▸ record set
//!     response    topics ▸ partitions ▸ error, base offset, … │ throttle
//!
//! The record sets stand amid the fields, in the frame as they will lie on disk: a caller takes them out
//! by `Bytes::slice_ref` or [`range_in`](crate::frame::range_in). The response is written partition by
//! partition, so that nothing is collected for it. With `acks = 0` there is none.

use super::{CurrentLeader, Request};
use crate::api::Api;
use crate::error::ErrorCode;
use crate::wire::{List, Malformed, Read, Reader, Writer};
use crate::{frame, header};

/// A Produce request in place.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ProduceRequest<'a> {
    pub transactional_id: Option<&'a str>,
    /// −1 when it is on all replicas in sync, 1 when on the leader, 0 never; nothing else is allowed, which
    /// the broker says by an error of each partition.
    pub acks: i16,
    pub timeout_ms: i32,
    pub topics: List<'a, ProduceTopic<'a>>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ProduceTopic<'a> {
    pub name: &'a str,
    pub partitions: List<'a, ProducePartition<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducePartition<'a> {
    pub index: i32,
    /// Batches back to back, a slice of the frame; unchecked.
    pub records: Option<&'a [u8]>,
}

impl<'a> Read<'a> for ProduceRequest<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let request = ProduceRequest {
            transactional_id: r.nullable_string("transactional_id")?,
            acks: r.i16("acks")?,
            timeout_ms: r.i32("timeout_ms")?,
            topics: r.list("topics")?,
        };
        r.skip_tags()?;
        Ok(request)
    }
}

impl<'a> Read<'a> for ProduceTopic<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let topic = ProduceTopic { name: r.string("topic")?, partitions: r.list("partitions")? };
        r.skip_tags()?;
        Ok(topic)
    }
}

impl<'a> Read<'a> for ProducePartition<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let partition =
            ProducePartition { index: r.i32("partition")?, records: r.nullable_bytes("records")? };
        r.skip_tags()?;
        Ok(partition)
    }
}

impl<'a> Request<'a> for ProduceRequest<'a> {
    const API: Api = Api::Produce;
}

/// What became of one record set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducedPartition<'a> {
    pub index: i32,
    pub error: ErrorCode,
    /// −1 if the record set was refused.
    pub base_offset: i64,
    /// −1 unless the topic's timestamps are those of the append.
    pub log_append_time_ms: i64,
    /// −1 if it is not known; since 5.
    pub log_start_offset: i64,
    /// Which records were the reason; since 8.
    pub record_errors: &'a [RecordError<'a>],
    /// Since 8.
    pub error_message: Option<&'a str>,
    /// Since 10.
    pub current_leader: Option<CurrentLeader>,
}

impl ProducedPartition<'_> {
    pub fn refused(index: i32, error: ErrorCode) -> Self {
        ProducedPartition {
            index,
            error,
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
            record_errors: &[],
            error_message: None,
            current_leader: None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordError<'a> {
    /// Which record of the batch, from 0.
    pub index: i32,
    pub message: Option<&'a str>,
}

/// Writes the frame of a Produce response: `begin`, then for each topic `topic` and its partitions, `end`.
pub struct ProduceResponseWriter<'o> {
    out: &'o mut Vec<u8>,
    version: i16,
    start: usize,
    in_topic: bool,
}

impl<'o> ProduceResponseWriter<'o> {
    pub fn begin(out: &'o mut Vec<u8>, version: i16, correlation: i32, topics: usize) -> Self {
        let start = header::begin_response(out, Api::Produce, version, correlation);
        Writer::new(out, Api::Produce, version).count(topics);
        ProduceResponseWriter { out, version, start, in_topic: false }
    }

    fn writer(&mut self) -> Writer<'_> {
        Writer::new(self.out, Api::Produce, self.version)
    }

    fn end_topic(&mut self) {
        if std::mem::take(&mut self.in_topic) {
            self.writer().no_tags();
        }
    }

    /// Begins the next topic, of which so many partitions follow.
    pub fn topic(&mut self, name: &str, partitions: usize) {
        self.end_topic();
        self.in_topic = true;
        let mut w = self.writer();
        w.string(name);
        w.count(partitions);
    }

    pub fn partition(&mut self, partition: &ProducedPartition<'_>) {
        let mut w = self.writer();
        w.i32(partition.index);
        w.error(partition.error);
        w.i64(partition.base_offset);
        w.i64(partition.log_append_time_ms);
        if w.since(5) {
            w.i64(partition.log_start_offset);
        }
        if w.since(8) {
            w.list(partition.record_errors, |w, error| {
                w.i32(error.index);
                w.nullable_string(error.message);
                w.no_tags();
            });
            w.nullable_string(partition.error_message);
        }
        match partition.current_leader.filter(|_| w.since(10)) {
            Some(leader) => {
                w.tag_count(1);
                w.tagged(0, |w| leader.write(w));
            }
            None => w.no_tags(),
        }
    }

    /// Ends the frame and returns its length.
    pub fn end(mut self, throttle_ms: i32) -> usize {
        self.end_topic();
        let mut w = self.writer();
        w.i32(throttle_ms);
        w.no_tags();
        frame::end(self.out, self.start, 0)
    }
}
