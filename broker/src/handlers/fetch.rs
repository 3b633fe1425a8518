//! Fetch: split by home shard, waited for there, gathered here.

use std::collections::HashSet;
use std::rc::Rc;

use protocol::api::{FetchEntry, FetchParams, FetchReply, FetchRequest, Writer};
use protocol::frame::FrameHeader;
use protocol::model::{ErrorCode, PartitionIndex, ShardId, TopicId};
use smallvec::{SmallVec, smallvec};

use super::Refusal;
use crate::connection::Connection;
use crate::metrics::count;
use crate::shard::{
    Asked, FetchBudget, FetchEntries, FetchPart, Origin, Place, Shard, ShardMessage, Waiting, fetch_deadline,
    possible_bytes,
};

pub fn handle(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
    body: &[u8],
) -> Result<(), Refusal> {
    let request = FetchRequest::parse(body)?;
    count(&shard.counters.fetch_requests, 1);
    let entries: FetchEntries = request.partitions().collect();
    let mut named = Named::default();
    if !entries.iter().all(|entry| named.is_new(entry.topic, entry.partition)) {
        let message = "a fetch names a partition once".to_owned();
        return Err(Refusal { error: ErrorCode::InvalidRequest, message });
    }
    if entries.is_empty() {
        let write = |out: &mut Vec<u8>| FetchReply::write_head(&mut Writer::new(out), 0, &[]);
        connection.reply(header.api, header.correlation, write);
        shard.touch(connection);
        return Ok(());
    }
    fetch(shard, connection, header, entries, request.params);
    Ok(())
}

/// The partitions that a fetch has named so far. One that is named again would be read again, and looked at
/// again by each commit. A few are looked through, many are hashed.
#[derive(Default)]
pub struct Named {
    few: SmallVec<[(TopicId, PartitionIndex); 8]>,
    many: HashSet<(TopicId, PartitionIndex)>,
}

impl Named {
    pub fn is_new(&mut self, topic: TopicId, partition: PartitionIndex) -> bool {
        let one = (topic, partition);
        if self.few.contains(&one) {
            return false;
        }
        if self.few.len() < self.few.inline_size() {
            self.few.push(one);
            return true;
        }
        self.many.insert(one)
    }
}

/// Has each shard answer for its own partitions, of which each is named once; there is at least one entry.
pub fn fetch(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    asked: impl Into<Asked>,
    entries: FetchEntries,
    params: FetchParams,
) {
    let parts = split(shard, &entries);
    let owners: SmallVec<[(ShardId, FetchEntries); 1]> = parts
        .iter()
        .map(|part| {
            (part.shard, part.entries.iter().filter_map(|index| entries.get(*index)).copied().collect())
        })
        .collect();
    let budget = FetchBudget::new(params);
    let possible = possible_bytes(entries.iter().map(|entry| entry.max_bytes), params);
    let results = smallvec![None; entries.len()];
    let waiting = Waiting::Fetch { results, parts, budget, possible, reading: false };
    let count_of_parts = owners.len() as u32;
    let key = shard.requests.borrow_mut().begin(connection, asked, count_of_parts, waiting);
    let deadline = fetch_deadline(params.max_wait_ms);
    // What is found here has the others told to wait no longer: they have to know of it by then.
    let mut own = None;
    for (part, (owner, entries)) in (0..).zip(owners) {
        let origin = Origin { shard: shard.id, request: key, part };
        if owner == shard.id {
            own = Some((origin, entries));
        } else {
            count(&shard.counters.forwarded_requests, 1);
            shard.send(owner, ShardMessage::Fetch { origin, entries, params, deadline });
        }
    }
    if let Some((origin, entries)) = own {
        shard.begin_fetch(origin, entries, params, deadline);
    }
}

/// Which shard answers which entries. What is nowhere is refused here.
fn split(shard: &Shard, entries: &[FetchEntry]) -> SmallVec<[FetchPart; 1]> {
    let mut parts: SmallVec<[FetchPart; 1]> = SmallVec::new();
    for (index, entry) in entries.iter().enumerate() {
        let owner = match shard.locate(entry.topic, entry.partition) {
            Place::Elsewhere(owner) if !shard.is_stopping() => owner,
            Place::Elsewhere(_) | Place::Here(_) | Place::NoPartition | Place::NoTopic => shard.id,
        };
        match parts.iter_mut().find(|part| part.shard == owner) {
            Some(part) => part.entries.push(index),
            None => parts.push(FetchPart { shard: owner, entries: smallvec![index], answered: false }),
        }
    }
    parts
}
