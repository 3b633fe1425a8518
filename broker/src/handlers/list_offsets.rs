//! ListOffsets: earliest and latest at once, a time by searching the log.

use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;

use protocol::api::{ListOffsetsEntry, ListOffsetsRequest, ListOffsetsResult, Message, OffsetSpec};
use protocol::frame::FrameHeader;
use protocol::model::{ErrorCode, Offset, Timestamp};

use super::{Refusal, begin_entries};
use crate::connection::Connection;
use crate::metrics::count;
use crate::runtime;
use crate::shard::{Asked, Lookup, Origin, Partition, Place, Shard, ShardMessage, Waiting};

pub fn handle(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
    body: &[u8],
) -> Result<(), Refusal> {
    let request = ListOffsetsRequest::read(body)?;
    let names: Vec<_> = request.partitions.iter().map(|entry| (entry.topic, entry.partition)).collect();
    let mut entries: Vec<_> = request.partitions.into_iter().map(Ok).collect();
    refuse_repeated(&names, &mut entries);
    list_offsets(shard, connection, header, entries);
    Ok(())
}

/// Answers each entry, or tells its error.
pub fn list_offsets(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    asked: impl Into<Asked>,
    entries: Vec<Result<ListOffsetsEntry, ErrorCode>>,
) {
    let results = vec![ListOffsetsResult::refused(ErrorCode::RequestTimedOut); entries.len()];
    let waiting = Waiting::ListOffsets { results };
    begin_entries(shard, connection, asked, entries, waiting, |shard, origin, entry| match entry {
        Ok(entry) => list_offset(shard, origin, entry),
        Err(error) => take_listed(shard, origin, ListOffsetsResult::refused(error)),
    });
}

/// Refuses every entry whose name stands more than once, the first of them too, as Kafka does: to find a time
/// takes a batch apart, and to name a partition takes a few bytes.
pub fn refuse_repeated<K: Eq + Hash>(names: &[K], entries: &mut [Result<ListOffsetsEntry, ErrorCode>]) {
    let mut first = HashMap::with_capacity(names.len());
    for (place, name) in names.iter().enumerate() {
        if let Some(before) = first.insert(name, place) {
            for repeated in [before, place] {
                *entries.get_mut(repeated).expect("BUG: a name for each entry") =
                    Err(ErrorCode::InvalidRequest);
            }
        }
    }
}

/// Answers one entry, here or on its home shard.
pub fn list_offset(shard: &Rc<Shard>, origin: Origin, entry: ListOffsetsEntry) {
    match shard.locate(entry.topic, entry.partition) {
        Place::Here(partition) => match partition.check_leader_epoch(entry.leader_epoch) {
            Ok(()) => list_here(shard, origin, partition, entry.spec),
            Err(error) => answer(shard, origin, ListOffsetsResult::refused(error)),
        },
        Place::Elsewhere(owner) => {
            count(&shard.counters.forwarded_lookups, 1);
            shard.send(owner, ShardMessage::ListOffsets { origin, entry });
        }
        Place::NoTopic => answer(shard, origin, ListOffsetsResult::refused(ErrorCode::UnknownTopicId)),
        Place::NoPartition => {
            answer(shard, origin, ListOffsetsResult::refused(ErrorCode::UnknownTopicOrPartition));
        }
    }
}

fn list_here(shard: &Rc<Shard>, origin: Origin, partition: Rc<Partition>, spec: OffsetSpec) {
    let at = |offset| found(&partition, Some(offset), Timestamp::NONE);
    match spec {
        OffsetSpec::Earliest => answer(shard, origin, at(partition.earliest())),
        OffsetSpec::Latest => answer(shard, origin, at(partition.latest())),
        OffsetSpec::MaxTimestamp | OffsetSpec::AtOrAfter(_) => {
            if shard.lookups.add(Lookup { origin, partition, spec }) {
                runtime::spawn_background(search(shard.clone()));
            }
        }
    }
}

fn found(partition: &Partition, offset: Option<Offset>, timestamp: Timestamp) -> ListOffsetsResult {
    let leader_epoch = Some(partition.leader_epoch());
    ListOffsetsResult { error: ErrorCode::None, leader_epoch, offset, timestamp }
}

/// Searches for what is asked for, until there is nothing more.
async fn search(shard: Rc<Shard>) {
    while let Some(Lookup { origin, partition, spec }) = shard.lookups.next() {
        let searched = match spec {
            OffsetSpec::AtOrAfter(time) => partition.find_time(&shard.store, time).await,
            _ => partition.find_max_time(&shard.store).await,
        };
        let result = match searched {
            Ok(Some((offset, timestamp))) => found(&partition, Some(offset), timestamp),
            Ok(None) => found(&partition, None, Timestamp::NONE),
            Err(error) => ListOffsetsResult::refused(error),
        };
        answer(&shard, origin, result);
        shard.flush_touched();
        runtime::yield_if_needed().await;
    }
}

fn answer(shard: &Shard, origin: Origin, result: ListOffsetsResult) {
    match origin.shard == shard.id {
        true => take_listed(shard, origin, result),
        false => shard.send(origin.shard, ShardMessage::ListOffsetsDone { origin, result }),
    }
}

/// One entry of a request of this shard has been answered.
pub fn take_listed(shard: &Shard, origin: Origin, result: ListOffsetsResult) {
    shard.complete(origin, |waiting| {
        let Waiting::ListOffsets { results } = waiting else { panic!("BUG: not a list of offsets") };
        *results.get_mut(origin.part as usize).expect("BUG: no such part") = result;
    });
}
