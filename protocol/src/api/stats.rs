//! Stats: the counters of every shard, by name.
//!
//! Names are stable, values only grow unless the name ends in `_bytes_now` or `_now`. `bench` prints
//! them, tests assert on them (`forwarded_requests` is 0 when the client routes as it should).

use super::wire::{DecodeError, Reader, Writer};
use super::{Api, Message};
use crate::model::ShardId;
use crate::model::limits::SHORT_STRING_BYTES_MAX;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StatsRequest;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StatsReply {
    pub shards: Vec<ShardStats>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShardStats {
    pub shard: ShardId,
    pub counters: Vec<(String, u64)>,
}

impl StatsReply {
    /// One counter summed over the shards; 0 if no shard has it.
    pub fn total(&self, name: &str) -> u64 {
        self.shards
            .iter()
            .flat_map(|shard| &shard.counters)
            .filter(|(n, _)| n == name)
            .map(|(_, value)| value)
            .sum()
    }
}

impl Message for StatsRequest {
    const API: Api = Api::Stats;

    fn write(&self, _: &mut Writer<'_>) {}

    fn read(body: &[u8]) -> Result<StatsRequest, DecodeError> {
        Reader::new(body).finish()?;
        Ok(StatsRequest)
    }
}

impl Message for StatsReply {
    const API: Api = Api::Stats;

    fn write(&self, w: &mut Writer<'_>) {
        w.list("shards", &self.shards, |w, shard| {
            w.u16("shard", shard.shard.get());
            w.list("counters", &shard.counters, |w, (name, value)| {
                w.string("name", name);
                w.u64("value", *value);
            });
        });
    }

    fn read(body: &[u8]) -> Result<StatsReply, DecodeError> {
        let mut r = Reader::new(body);
        let shards = r.list("shards", usize::from(u16::MAX), 6, |r| {
            Ok(ShardStats {
                shard: ShardId::new(r.u16("shard")?),
                counters: r.list("counters", usize::MAX, 10, |r| {
                    let name = r.string("name", SHORT_STRING_BYTES_MAX)?.to_owned();
                    Ok((name, r.u64("value")?))
                })?,
            })
        })?;
        r.finish()?;
        Ok(StatsReply { shards })
    }
}
