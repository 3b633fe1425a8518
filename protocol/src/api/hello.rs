//! Hello: the first message of a connection, and the only one before it is accepted.
//!
//!     client                                   the shard that accepted
//!       │── Hello { magic, shard: 1 } ──────────▶│   not mine: hand the socket to shard 1
//!       │◀───────── HelloReply { shard: 1 } ─────────── shard 1 answers, and serves from now on
//!
//! A client that does not care (a first contact, a tool) asks for no shard and stays where it landed.

use super::wire::{DecodeError, Reader, Writer};
use super::{Api, Message};
use crate::model::limits::SHORT_STRING_BYTES_MAX;
use crate::model::{ClusterId, ErrorCode, NodeId, ShardId};

/// First bytes of the first body: tells a Ringlog client from a stray one.
pub const MAGIC: [u8; 4] = *b"RLOG";

const ANY_SHARD: u16 = u16::MAX;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HelloRequest {
    pub version_min: u8,
    pub version_max: u8,
    /// The shard that shall serve this connection; `None` for any.
    pub shard: Option<ShardId>,
    /// Names the client in the broker's log; at most 255 bytes.
    pub client_id: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HelloReply {
    pub error: ErrorCode,
    /// The version both sides speak from now on.
    pub version: u8,
    /// The shard that serves this connection.
    pub shard: ShardId,
    /// How many shards the broker has: 0 … shards − 1.
    pub shards: u16,
    pub node: NodeId,
    pub cluster: ClusterId,
    /// Largest frame body the broker reads, in bytes.
    pub frame_body_bytes_max: u32,
    /// Version of the broker, for people.
    pub broker: String,
}

impl Message for HelloRequest {
    const API: Api = Api::Hello;

    fn write(&self, w: &mut Writer<'_>) {
        w.bytes("magic", &MAGIC);
        w.u8("version_min", self.version_min);
        w.u8("version_max", self.version_max);
        w.u16("shard", self.shard.map_or(ANY_SHARD, ShardId::get));
        w.string("client_id", &self.client_id);
    }

    fn read(body: &[u8]) -> Result<HelloRequest, DecodeError> {
        let mut r = Reader::new(body);
        if r.take("magic", MAGIC.len())? != MAGIC {
            return Err(DecodeError::Invalid { field: "magic", why: "this is not Ringlog's protocol" });
        }
        let hello = HelloRequest {
            version_min: r.u8("version_min")?,
            version_max: r.u8("version_max")?,
            shard: Some(r.u16("shard")?).filter(|shard| *shard != ANY_SHARD).map(ShardId::new),
            client_id: r.string("client_id", SHORT_STRING_BYTES_MAX)?.to_owned(),
        };
        r.finish()?;
        Ok(hello)
    }
}

impl Message for HelloReply {
    const API: Api = Api::Hello;

    fn write(&self, w: &mut Writer<'_>) {
        w.u16("error", self.error.to_wire());
        w.u8("version", self.version);
        w.reserved(1);
        w.u16("shard", self.shard.get());
        w.u16("shards", self.shards);
        w.u32("node", self.node.get());
        w.uuid("cluster", &self.cluster, self.cluster.to_bytes());
        w.u32("frame_body_bytes_max", self.frame_body_bytes_max);
        w.string("broker", &self.broker);
    }

    fn read(body: &[u8]) -> Result<HelloReply, DecodeError> {
        let mut r = Reader::new(body);
        let error = ErrorCode::from_wire(r.u16("error")?);
        let version = r.u8("version")?;
        r.take("reserved", 1)?;
        let reply = HelloReply {
            error,
            version,
            shard: ShardId::new(r.u16("shard")?),
            shards: r.u16("shards")?,
            node: NodeId::new(r.u32("node")?),
            cluster: ClusterId::from_bytes(r.uuid("cluster")?),
            frame_body_bytes_max: r.u32("frame_body_bytes_max")?,
            broker: r.string("broker", SHORT_STRING_BYTES_MAX)?.to_owned(),
        };
        r.finish()?;
        Ok(reply)
    }
}
