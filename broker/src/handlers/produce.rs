//! Produce: each record set goes to its partition, here or on its home shard; replies wait for the
//! commit that makes them durable.

use std::rc::Rc;

use bytes::Bytes;
use protocol::api::{Acks, ProducePartition, ProduceRequest, ProduceResult};
use protocol::frame::FrameHeader;
use protocol::model::ErrorCode;
use smallvec::smallvec;

use super::Refusal;
use crate::connection::Connection;
use crate::metrics::count;
use crate::shard::{Asked, Origin, Place, Shard, ShardMessage, Unpacking, Waiting};

pub fn handle(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
    body: &[u8],
) -> Result<(), Refusal> {
    let request = ProduceRequest::parse(body)?;
    count(&shard.counters.produce_requests, 1);
    let parts = u32::try_from(request.partition_count()).expect("BUG: parse() bounds the list");
    if parts == 0 {
        let message = "a produce names at least one partition".to_owned();
        return Err(Refusal { error: ErrorCode::InvalidRequest, message });
    }
    let asked = if request.acks == Acks::None { Asked::Nobody } else { Asked::Native(header) };
    produce(shard, connection, asked, parts, request.partitions().map(Ok));
    Ok(())
}

/// Has each set appended on its home shard, or refused with its error. There is at least one. Also where
/// nobody waits for an answer, there is one: what another shard keeps is promised here until then.
pub fn produce<'a>(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    asked: Asked,
    parts: u32,
    sets: impl Iterator<Item = Result<ProducePartition<'a>, ErrorCode>>,
) {
    // Overwritten by the answer to each part; the reply goes out when all have been.
    let results = smallvec![ProduceResult::refused(ErrorCode::RequestTimedOut); parts as usize];
    let waiting = Waiting::Produce { results };
    let request = shard.requests.borrow_mut().begin(connection, asked, parts, waiting);
    let (mut forwarded, mut unpacking) = (0, Unpacking::default());
    for (part, set) in (0..parts).zip(sets) {
        let origin = Origin { shard: shard.id, request, part };
        match set {
            Ok(set) => forwarded += produce_one(shard, set, origin, &mut unpacking),
            Err(error) => shard.refuse(origin, error),
        }
    }
    shard.promise_until_answered(request, forwarded);
}

/// Returns how many bytes went to another shard.
fn produce_one(
    shard: &Rc<Shard>,
    set: ProducePartition<'_>,
    origin: Origin,
    unpacking: &mut Unpacking,
) -> usize {
    match shard.locate(set.topic, set.partition) {
        Place::Here(partition) => shard.append(&partition, set.records, origin, unpacking),
        Place::Elsewhere(_) if shard.is_stopping() => shard.refuse(origin, ErrorCode::ShuttingDown),
        Place::Elsewhere(owner) => {
            count(&shard.counters.forwarded_requests, 1);
            let records = Bytes::copy_from_slice(set.records);
            let (topic, partition) = (set.topic, set.partition);
            shard.send(owner, ShardMessage::Produce { origin, topic, partition, records });
            return set.records.len();
        }
        Place::NoTopic => shard.refuse(origin, ErrorCode::UnknownTopicId),
        Place::NoPartition => shard.refuse(origin, ErrorCode::UnknownTopicOrPartition),
    }
    0
}
