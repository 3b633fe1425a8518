//! DeleteRecords: each partition moves its own beginning, and answers when that is durable.

use std::rc::Rc;

use protocol::api::{DeleteRecordsEntry, DeleteRecordsRequest, DeleteRecordsResult, Message};
use protocol::frame::FrameHeader;
use protocol::model::{ErrorCode, Offset};

use super::{Refusal, begin_entries};
use crate::connection::Connection;
use crate::metrics::count;
use crate::runtime;
use crate::shard::{Origin, Partition, Place, Shard, ShardMessage, Waiting};

pub fn handle(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
    body: &[u8],
) -> Result<(), Refusal> {
    let request = DeleteRecordsRequest::read(body)?;
    let results = vec![DeleteRecordsResult::refused(ErrorCode::RequestTimedOut); request.partitions.len()];
    let waiting = Waiting::DeleteRecords { results };
    begin_entries(shard, connection, header, request.partitions, waiting, delete_records);
    Ok(())
}

/// Does one entry, here or on its home shard.
pub fn delete_records(shard: &Rc<Shard>, origin: Origin, entry: DeleteRecordsEntry) {
    if shard.is_stopping() {
        return answer(shard, origin, DeleteRecordsResult::refused(ErrorCode::ShuttingDown));
    }
    match shard.locate(entry.topic, entry.partition) {
        Place::Here(partition) => delete_here(shard, origin, partition, entry.before),
        Place::Elsewhere(owner) => {
            count(&shard.counters.forwarded_lookups, 1);
            shard.send(owner, ShardMessage::DeleteRecords { origin, entry });
        }
        Place::NoTopic => answer(shard, origin, DeleteRecordsResult::refused(ErrorCode::UnknownTopicId)),
        Place::NoPartition => {
            answer(shard, origin, DeleteRecordsResult::refused(ErrorCode::UnknownTopicOrPartition));
        }
    }
}

fn delete_here(shard: &Rc<Shard>, origin: Origin, partition: Rc<Partition>, before: Option<Offset>) {
    let shard = shard.clone();
    runtime::spawn_background(async move {
        let result = match partition.delete_records(&shard.store, before).await {
            Ok(start) => DeleteRecordsResult { error: ErrorCode::None, low_watermark: Some(start) },
            Err(error) => DeleteRecordsResult::refused(error),
        };
        answer(&shard, origin, result);
        shard.flush_touched();
    });
}

fn answer(shard: &Shard, origin: Origin, result: DeleteRecordsResult) {
    match origin.shard == shard.id {
        true => take_deleted(shard, origin, result),
        false => shard.send(origin.shard, ShardMessage::DeleteRecordsDone { origin, result }),
    }
}

/// One entry of a request of this shard has been answered.
pub fn take_deleted(shard: &Shard, origin: Origin, result: DeleteRecordsResult) {
    shard.complete(origin, |waiting| {
        let Waiting::DeleteRecords { results } = waiting else { panic!("BUG: not a deletion of records") };
        *results.get_mut(origin.part as usize).expect("BUG: no such part") = result;
    });
}
