//! Stats: every shard's counters, gathered.

use std::rc::Rc;

use protocol::api::{Message, ShardStats, StatsRequest};
use protocol::frame::FrameHeader;
use protocol::model::ShardId;

use super::Refusal;
use crate::connection::Connection;
use crate::shard::{Origin, Shard, ShardMessage, Waiting};

pub fn handle(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
    body: &[u8],
) -> Result<(), Refusal> {
    StatsRequest::read(body)?;
    let shards = shard.view().identity.shards;
    let waiting = Waiting::Stats { shards: Vec::with_capacity(usize::from(shards)) };
    let request = shard.requests.borrow_mut().begin(connection, header, u32::from(shards), waiting);
    for id in (0..shards).map(ShardId::new) {
        let origin = Origin { shard: shard.id, request, part: u32::from(id.get()) };
        if id == shard.id {
            take_stats(shard, origin, shard.stats());
        } else {
            shard.send(id, ShardMessage::Stats { origin });
        }
    }
    Ok(())
}

/// A shard's counters have arrived.
pub fn take_stats(shard: &Shard, origin: Origin, stats: ShardStats) {
    shard.complete(origin, |waiting| {
        let Waiting::Stats { shards } = waiting else { panic!("BUG: not a request for counters") };
        shards.push(stats);
    });
}
