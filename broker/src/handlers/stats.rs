//! Stats: every shard's counters, gathered.

use std::rc::Rc;

use protocol::api::{Message, ShardStats, StatsRequest};
use protocol::frame::FrameHeader;
use protocol::model::ShardId;

use super::{Refusal, begin_entries};
use crate::connection::Connection;
use crate::shard::{Origin, Shard, ShardMessage, Waiting};

pub fn handle(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
    body: &[u8],
) -> Result<(), Refusal> {
    StatsRequest::read(body)?;
    let shards: Vec<ShardId> = shard.view().shards().collect();
    let waiting = Waiting::Stats { shards: Vec::with_capacity(shards.len()) };
    begin_entries(shard, connection, header, shards, waiting, |shard, origin, of| match of == shard.id {
        true => take_stats(shard, origin, shard.stats()),
        false => shard.send(of, ShardMessage::Stats { origin }),
    });
    Ok(())
}

/// A shard's counters have arrived.
pub fn take_stats(shard: &Shard, origin: Origin, stats: ShardStats) {
    shard.complete(origin, |waiting| {
        let Waiting::Stats { shards } = waiting else { panic!("BUG: not a request for counters") };
        shards.push(stats);
    });
}
