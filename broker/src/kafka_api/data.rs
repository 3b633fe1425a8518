//! Produce, Fetch, ListOffsets: record sets in and out as they lie on disk.
//!
//!     Produce   record sets in the frame ─▶ chunks of the log          one copy, as in the native protocol
//!     Fetch     chunks, read buffers ─▶ socket                         none: the response is cut around them

use kafka::messages::list_offsets::{EARLIEST, LATEST, MAX_TIMESTAMP};
use kafka::messages::{
    FetchHead, FetchRequest, FetchResponseWriter, FetchedPartition, ListOffsetsRequest, ListOffsetsResponse,
    ListedOffset, OfTopic, ProduceRequest, ProduceResponseWriter, ProducedPartition,
};
use kafka::{ErrorCode as KafkaCode, Malformed};
use protocol::api::{
    FetchEntry, FetchParams, FetchResult, ListOffsetsEntry, ListOffsetsResult, OffsetSpec, ProducePartition,
    ProduceResult,
};
use protocol::batch::{Batch, Codec};
use protocol::model::{ErrorCode, LeaderEpoch, Offset, Timestamp};
use smallvec::SmallVec;

use super::layout::partition_index;
use super::{Asked, Call, Layout, Shape, Topic, code};
use crate::connection::{Connection, Cuts};
use crate::handlers;
use crate::metrics::count;
use crate::shard::{FetchEntries, Fetched, Pieces, Waiting, possible_bytes};

/// Records with the largest timestamp can be asked for since this version of ListOffsets.
const MAX_TIMESTAMP_SINCE: i16 = 7;

/// zstd may be produced since this version of Produce.
const ZSTD_SINCE: i16 = 7;

/// Kafka's number. No native request is refused so: it has had zstd from the beginning.
const UNSUPPORTED_COMPRESSION_TYPE: ErrorCode =
    ErrorCode::from_wire(KafkaCode::UNSUPPORTED_COMPRESSION_TYPE.to_wire().cast_unsigned());

/// What whoever asks for a transaction is told everywhere: there are none (docs/decisions/0009).
const NO_TRANSACTIONS: ErrorCode =
    ErrorCode::from_wire(KafkaCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED.to_wire().cast_unsigned());

/// `FetchMetadata.INITIAL_EPOCH` and `FINAL_EPOCH`.
const FETCH_SESSION_BEGINS: i32 = 0;
const FETCH_SESSION_ENDS: i32 = -1;

pub fn produce(call: Call<'_>) -> Result<(), Malformed> {
    let request: ProduceRequest<'_> = call.parse()?;
    count(&call.shard.counters.produce_requests, 1);
    let view = call.shard.view();
    let (mut layout, mut sets) =
        (Layout::default(), SmallVec::<[Result<ProducePartition<'_>, ErrorCode>; 4]>::new());
    for topic in request.topics.iter() {
        let found = Topic::find(&view, topic.name);
        let (id, partitions) = (found.id(), found.partitions());
        layout.push_topic(found);
        for partition in topic.partitions.iter() {
            layout.push_partition(partition.index);
            let records = partition.records.unwrap_or_default();
            let partition = partition_index(partition.index);
            // Of a partition that is not there, nothing else is said.
            let is_there = partition.get() < partitions;
            let checked = match is_there {
                true if request.transactional_id.is_some() => Err(NO_TRANSACTIONS),
                true => check_set(records, call.header.version),
                false => Ok(()),
            };
            sets.push(checked.map(|()| ProducePartition { topic: id, partition, records }));
        }
    }
    let asked = match request.acks {
        -1 | 1 => Some(call.asked(Shape::Partitions(layout))),
        0 if sets.is_empty() => return Ok(()),
        0 => None,
        _ => {
            let asked = call.asked(Shape::Partitions(layout));
            reply_produce_with(call.connection, asked, |index| {
                ProducedPartition::refused(index, KafkaCode::INVALID_REQUIRED_ACKS)
            });
            call.shard.touch(call.connection);
            return Ok(());
        }
    };
    match (asked, sets.len()) {
        (Some(asked), 0) => {
            reply_produce(call.connection, asked, &[]);
            call.shard.touch(call.connection);
        }
        (asked, parts) => {
            let parts = u32::try_from(parts).expect("BUG: each took a byte of a frame");
            let asked = asked.map_or(crate::shard::Asked::KafkaUnanswered, Into::into);
            handlers::produce(call.shard, call.connection, asked, parts, sets.into_iter());
        }
    }
    Ok(())
}

/// What Kafka checks before it looks at the log (`ProduceRequest.validateRecords`): it takes one batch of a
/// partition at a time, and zstd from those who know that there is such a thing (KIP-110). A transaction's
/// batch would never be committed. What else is wrong with a batch is seen where it goes.
fn check_set(records: &[u8], version: i16) -> Result<(), ErrorCode> {
    if let Ok((batch, _)) = Batch::split_first(records) {
        if batch.is_transactional() {
            return Err(NO_TRANSACTIONS);
        }
        if version < ZSTD_SINCE && batch.codec() == Codec::Zstd {
            return Err(UNSUPPORTED_COMPRESSION_TYPE);
        }
    }
    match Batch::peek_len(records) {
        Some(len) if len < records.len() => Err(ErrorCode::InvalidRecord),
        _ => Ok(()),
    }
}

/// Nobody is told what became of a produce without acknowledgement; who sent one that is refused loses his
/// connection, as with Kafka, and looks again for where to send. What was answered before leaves first.
pub fn end_if_refused(connection: &Connection, waiting: &Waiting) {
    let Waiting::Produce { results } = waiting else { panic!("BUG: only a produce is not answered") };
    if let Some(refused) = results.iter().find(|result| !result.error.is_ok()) {
        let (peer, error) = (connection.peer_host(), refused.error);
        tracing::info!(peer, %error, "a produce with acks 0 is refused: its connection is closed");
        connection.flush();
        connection.close();
    }
}

pub fn reply_produce(connection: &Connection, asked: Asked, results: &[ProduceResult]) {
    let mut results = results.iter();
    reply_produce_with(connection, asked, |index| {
        let result = results.next().expect("BUG: a result for each partition");
        ProducedPartition {
            base_offset: wire(result.base_offset),
            log_start_offset: wire(result.log_start_offset),
            ..ProducedPartition::refused(index, code(result.error))
        }
    });
}

fn reply_produce_with<'r>(
    connection: &Connection,
    asked: Asked,
    mut result: impl FnMut(i32) -> ProducedPartition<'r>,
) {
    let Shape::Partitions(layout) = asked.shape else { panic!("BUG: a produce names partitions") };
    connection.reply_in_turn(asked.turn, |outbox| {
        outbox.with_head(|out| {
            let topics = layout.topics_len();
            let mut w = ProduceResponseWriter::begin(out, asked.version, asked.correlation, topics);
            for (name, partitions) in layout.topics() {
                w.topic(name, partitions.len());
                partitions.iter().for_each(|index| w.partition(&result(*index)));
            }
            w.end(0);
        });
    });
}

pub fn fetch(call: Call<'_>) -> Result<(), Malformed> {
    let request: FetchRequest<'_> = call.parse()?;
    count(&call.shard.counters.fetch_requests, 1);
    let view = call.shard.view();
    let (mut layout, mut entries) = (Layout::default(), FetchEntries::new());
    let mut named = handlers::Named::default();
    for topic in request.topics.iter() {
        let found = Topic::find(&view, topic.name);
        let (id, is_known) = (found.id(), found.is_known());
        layout.push_topic(found);
        for partition in topic.partitions.iter() {
            let index = partition_index(partition.index);
            // Kafka keeps what is fetched by partition, and answers one that is named twice once.
            if is_known && !named.is_new(id, index) {
                continue;
            }
            layout.push_partition(partition.index);
            entries.push(FetchEntry {
                topic: id,
                partition: index,
                leader_epoch: epoch(partition.current_leader_epoch),
                // One below zero is out of range, and has no place in our types; the largest is so too.
                fetch_offset: Offset::from_wire(partition.fetch_offset).unwrap_or(Offset::MAX),
                max_bytes: not_negative(partition.max_bytes),
            });
        }
    }
    // No session was ever given out: whoever names one asks another broker, or an earlier life of this.
    // One that is to begin or to end is no different from none.
    let error = match request.session_epoch {
        FETCH_SESSION_BEGINS | FETCH_SESSION_ENDS => KafkaCode::NONE,
        _ => KafkaCode::FETCH_SESSION_ID_NOT_FOUND,
    };
    if !error.is_ok() || entries.is_empty() {
        let asked = call.asked(Shape::Plain);
        call.connection.reply_in_turn(asked.turn, |outbox| {
            outbox.with_head(|out| {
                let head = FetchHead { throttle_ms: 0, error, session_id: 0 };
                FetchResponseWriter::begin(out, asked.version, asked.correlation, head, 0).end();
            });
        });
        call.shard.touch(call.connection);
        return Ok(());
    }
    let params = FetchParams {
        max_wait_ms: not_negative(request.max_wait_ms),
        min_bytes: not_negative(request.min_bytes),
        max_bytes: not_negative(request.max_bytes),
    };
    // What the reply may hold counts as owed to the client from now on, so that a connection has one large
    // fetch under way, as with Kafka.
    let possible = possible_bytes(entries.iter().map(|entry| entry.max_bytes), params);
    let asked = call.asked_keeping(possible, Shape::Fetch(layout, request.isolation_level == 1));
    handlers::fetch(call.shard, call.connection, asked, entries, params);
    Ok(())
}

pub fn reply_fetch(connection: &Connection, asked: Asked, results: SmallVec<[Option<Fetched>; 1]>) {
    let Shape::Fetch(layout, read_committed) = asked.shape else { panic!("BUG: a fetch names partitions") };
    let mut results = results.into_iter();
    let refused = || (FetchResult::refused(ErrorCode::RequestTimedOut), Pieces::new());
    connection.reply_in_turn(asked.turn, |outbox| {
        outbox.with_cuts(|out| {
            let mut cuts = Cuts::new();
            let head = FetchHead { throttle_ms: 0, error: KafkaCode::NONE, session_id: 0 };
            let topics = layout.topics_len();
            let mut w = FetchResponseWriter::begin(out, asked.version, asked.correlation, head, topics);
            for (name, partitions) in layout.topics() {
                w.topic(name, partitions.len());
                for index in partitions {
                    let (result, pieces) = results.next().flatten().unwrap_or_else(refused);
                    let cut = w.partition(&fetched(*index, &result, read_committed));
                    cuts.push((cut, pieces));
                }
            }
            w.end();
            cuts
        });
    });
}

fn fetched(index: i32, result: &FetchResult, read_committed: bool) -> FetchedPartition<'static> {
    FetchedPartition {
        high_watermark: wire(result.high_watermark),
        last_stable_offset: wire(result.last_stable_offset),
        log_start_offset: wire(result.log_start_offset),
        aborted: read_committed.then_some(&[]),
        records_len: Some(result.records_len as usize),
        ..FetchedPartition::refused(index, code(result.error))
    }
}

pub fn list_offsets(call: Call<'_>) -> Result<(), Malformed> {
    let request: ListOffsetsRequest<'_> = call.parse()?;
    let view = call.shard.view();
    let (mut layout, mut entries, mut names) = (Layout::default(), Vec::new(), Vec::new());
    for topic in request.topics.iter() {
        let found = Topic::find(&view, topic.name);
        let id = found.id();
        layout.push_topic(found);
        for partition in topic.partitions.iter() {
            layout.push_partition(partition.index);
            names.push((topic.name, partition.index));
            let spec = spec(partition.timestamp, call.header.version).ok_or(ErrorCode::UnsupportedVersion);
            entries.push(spec.map(|spec| ListOffsetsEntry {
                topic: id,
                partition: partition_index(partition.index),
                leader_epoch: epoch(partition.current_leader_epoch),
                spec,
            }));
        }
    }
    handlers::refuse_repeated(&names, &mut entries);
    let asked = call.asked(Shape::Partitions(layout));
    handlers::list_offsets(call.shard, call.connection, asked, entries);
    Ok(())
}

/// `None` for what has no meaning in the version.
fn spec(timestamp: i64, version: i16) -> Option<OffsetSpec> {
    match timestamp {
        LATEST => Some(OffsetSpec::Latest),
        EARLIEST => Some(OffsetSpec::Earliest),
        MAX_TIMESTAMP if MAX_TIMESTAMP_SINCE <= version => Some(OffsetSpec::MaxTimestamp),
        0.. => Some(OffsetSpec::AtOrAfter(Timestamp::from_millis(timestamp))),
        _ => None,
    }
}

pub fn reply_list_offsets(connection: &Connection, asked: &Asked, results: &[ListOffsetsResult]) {
    let Shape::Partitions(layout) = &asked.shape else { panic!("BUG: it names partitions") };
    let mut results = results.iter();
    let mut listed = |index: &i32| {
        let result = results.next().expect("BUG: a result for each partition");
        ListedOffset {
            index: *index,
            error: code(result.error),
            timestamp: result.timestamp.millis(),
            offset: wire(result.offset),
            leader_epoch: result.leader_epoch.map_or(-1, LeaderEpoch::get),
        }
    };
    let topics = layout
        .topics()
        .map(|(name, partitions)| OfTopic { name, partitions: partitions.iter().map(&mut listed).collect() })
        .collect();
    asked.respond(connection, &ListOffsetsResponse { throttle_ms: 0, topics });
}

pub fn wire(offset: Option<Offset>) -> i64 {
    offset.map_or(-1, Offset::to_wire)
}

pub fn epoch(wire: i32) -> Option<LeaderEpoch> {
    (0 <= wire).then(|| LeaderEpoch::new(wire))
}

fn not_negative(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(0)
}
