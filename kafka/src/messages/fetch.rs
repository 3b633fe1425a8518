//! Fetch: read whole batches from several partitions, waiting if there are too few.
//!
//!     request     max wait │ min bytes │ max bytes │ isolation │ session │ topics ▸ partitions ▸ offset
//!     response    throttle │ error, session │ topics ▸ partitions ▸ watermarks, aborted, records
//!
//! The records of a response are not in the buffer that a [`FetchResponseWriter`] fills. It leaves a place
//! for them and says where; who sends the frame sends pieces of the buffer and records by turns:
//!
//!     out      ├──────────────────────cut₀─────────cut₁────┤
//!     sent     out[..cut₀] ▸ records₀ ▸ out[cut₀..cut₁] ▸ records₁ ▸ out[cut₁..]

use super::{CurrentLeader, Request};
use crate::api::Api;
use crate::error::ErrorCode;
use crate::wire::{List, Malformed, Read, Reader, Writer};
use crate::{frame, header};

/// A Fetch request in place.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FetchRequest<'a> {
    /// −1 for consumers.
    pub replica_id: i32,
    pub max_wait_ms: i32,
    pub min_bytes: i32,
    /// Of the whole response; the first batch is sent whole even if it is larger.
    pub max_bytes: i32,
    /// 0 reads everything, 1 what is committed.
    pub isolation_level: i8,
    /// 0 for none; since 7.
    pub session_id: i32,
    /// −1 for none; since 7.
    pub session_epoch: i32,
    pub topics: List<'a, FetchTopic<'a>>,
    /// What is not in the session any more; since 7.
    pub forgotten: Option<List<'a, ForgottenTopic<'a>>>,
    /// Empty for none; since 11.
    pub rack_id: &'a str,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FetchTopic<'a> {
    pub name: &'a str,
    pub partitions: List<'a, FetchPartition>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchPartition {
    pub index: i32,
    /// −1 for any; since 9.
    pub current_leader_epoch: i32,
    pub fetch_offset: i64,
    /// −1 for none; since 12.
    pub last_fetched_epoch: i32,
    /// Of followers; −1 for consumers; since 5.
    pub log_start_offset: i64,
    pub max_bytes: i32,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ForgottenTopic<'a> {
    pub name: &'a str,
    pub partitions: List<'a, i32>,
}

impl<'a> Read<'a> for FetchRequest<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let request = FetchRequest {
            replica_id: r.i32("replica_id")?,
            max_wait_ms: r.i32("max_wait_ms")?,
            min_bytes: r.i32("min_bytes")?,
            max_bytes: r.i32("max_bytes")?,
            isolation_level: r.i8("isolation_level")?,
            session_id: if r.since(7) { r.i32("session_id")? } else { 0 },
            session_epoch: if r.since(7) { r.i32("session_epoch")? } else { -1 },
            topics: r.list("topics")?,
            forgotten: if r.since(7) { Some(r.list("forgotten_topics")?) } else { None },
            rack_id: if r.since(11) { r.string("rack_id")? } else { "" },
        };
        r.skip_tags()?;
        Ok(request)
    }
}

impl<'a> Read<'a> for FetchTopic<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let topic = FetchTopic { name: r.string("topic")?, partitions: r.list("partitions")? };
        r.skip_tags()?;
        Ok(topic)
    }
}

impl<'a> Read<'a> for FetchPartition {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let partition = FetchPartition {
            index: r.i32("partition")?,
            current_leader_epoch: if r.since(9) { r.i32("current_leader_epoch")? } else { -1 },
            fetch_offset: r.i64("fetch_offset")?,
            last_fetched_epoch: if r.since(12) { r.i32("last_fetched_epoch")? } else { -1 },
            log_start_offset: if r.since(5) { r.i64("log_start_offset")? } else { -1 },
            max_bytes: r.i32("partition_max_bytes")?,
        };
        r.skip_tags()?;
        Ok(partition)
    }
}

impl<'a> Read<'a> for ForgottenTopic<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let topic = ForgottenTopic { name: r.string("topic")?, partitions: r.list("partitions")? };
        r.skip_tags()?;
        Ok(topic)
    }
}

impl<'a> Request<'a> for FetchRequest<'a> {
    const API: Api = Api::Fetch;
}

/// What a Fetch response says before its topics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchHead {
    pub throttle_ms: i32,
    /// Since 7.
    pub error: ErrorCode,
    /// 0 for no session; since 7.
    pub session_id: i32,
}

/// What a fetch found in one partition, without the records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchedPartition<'a> {
    pub index: i32,
    pub error: ErrorCode,
    /// −1 with most errors.
    pub high_watermark: i64,
    /// −1 with most errors.
    pub last_stable_offset: i64,
    /// −1 with most errors; since 5.
    pub log_start_offset: i64,
    /// Where the log of the reader goes another way: epoch and its end offset; since 12.
    pub diverging_epoch: Option<(i32, i64)>,
    /// Since 12.
    pub current_leader: Option<CurrentLeader>,
    /// For `read_committed` only.
    pub aborted: Option<&'a [AbortedTransaction]>,
    /// −1 for this broker; since 11.
    pub preferred_read_replica: i32,
    /// Bytes that the caller sends at the cut; `None` for null, which is not the same as none.
    pub records_len: Option<usize>,
}

impl FetchedPartition<'_> {
    pub fn refused(index: i32, error: ErrorCode) -> Self {
        FetchedPartition {
            index,
            error,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            diverging_epoch: None,
            current_leader: None,
            aborted: None,
            preferred_read_replica: -1,
            records_len: Some(0),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbortedTransaction {
    pub producer_id: i64,
    pub first_offset: i64,
}

/// Writes the frame of a Fetch response: `begin`, then for each topic `topic` and its partitions, `end`.
pub struct FetchResponseWriter<'o> {
    out: &'o mut Vec<u8>,
    version: i16,
    start: usize,
    in_topic: bool,
    payload_len: usize,
}

impl<'o> FetchResponseWriter<'o> {
    pub fn begin(
        out: &'o mut Vec<u8>,
        version: i16,
        correlation: i32,
        head: FetchHead,
        topics: usize,
    ) -> Self {
        let start = header::begin_response(out, Api::Fetch, version, correlation);
        let mut w = Writer::new(out, Api::Fetch, version);
        w.i32(head.throttle_ms);
        if w.since(7) {
            w.error(head.error);
            w.i32(head.session_id);
        }
        w.count(topics);
        FetchResponseWriter { out, version, start, in_topic: false, payload_len: 0 }
    }

    fn writer(&mut self) -> Writer<'_> {
        Writer::new(self.out, Api::Fetch, self.version)
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

    /// Returns the cut: the position in the buffer before which the records have to be sent.
    pub fn partition(&mut self, partition: &FetchedPartition<'_>) -> usize {
        let mut w = self.writer();
        w.i32(partition.index);
        w.error(partition.error);
        w.i64(partition.high_watermark);
        w.i64(partition.last_stable_offset);
        if w.since(5) {
            w.i64(partition.log_start_offset);
        }
        w.nullable_count(partition.aborted.map(<[_]>::len));
        for aborted in partition.aborted.unwrap_or_default() {
            w.i64(aborted.producer_id);
            w.i64(aborted.first_offset);
            w.no_tags();
        }
        if w.since(11) {
            w.i32(partition.preferred_read_replica);
        }
        w.nullable_count(partition.records_len);
        let cut = w.position();
        write_tags(&mut w, partition);
        self.payload_len += partition.records_len.unwrap_or(0);
        cut
    }

    /// Ends the frame and returns its length, the records included.
    pub fn end(mut self) -> usize {
        self.end_topic();
        self.writer().no_tags();
        frame::end(self.out, self.start, self.payload_len)
    }
}

fn write_tags(w: &mut Writer<'_>, partition: &FetchedPartition<'_>) {
    if !w.since(12) {
        return;
    }
    let count =
        usize::from(partition.diverging_epoch.is_some()) + usize::from(partition.current_leader.is_some());
    w.tag_count(count);
    if let Some((epoch, end_offset)) = partition.diverging_epoch {
        w.tagged(0, |w| {
            w.i32(epoch);
            w.i64(end_offset);
            w.no_tags();
        });
    }
    if let Some(leader) = partition.current_leader {
        w.tagged(1, |w| leader.write(w));
    }
}
