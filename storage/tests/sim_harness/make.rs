//! What is sent: batches of every size, and producers that number theirs.
//!
//!     1 … 4 records │ 0 … 7,000 bytes each │ one of 24 keys │ one in eight a tombstone

use protocol::batch::{BatchBuilder, Codec};
use protocol::model::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use storage::disk::sim::SimRng;
use storage::id::LogId;

use super::simulated_time;

/// An idempotent producer of one log, as a client would have it.
#[derive(Clone)]
pub struct Producer {
    pub id: i64,
    pub next_sequence: i32,
    /// The last batches, as they were sent, and the offset each one got.
    pub batches: Vec<(Vec<u8>, Offset)>,
}

/// Sizes from a few bytes to more than a segment's half, so that blocks, chunks and segments are
/// crossed all the time; few keys, so that compaction has something to do.
pub fn random_batch(rng: &mut SimRng, id: LogId, producer: Option<&Producer>) -> bytes::Bytes {
    let codec = [Codec::None, Codec::None, Codec::None, Codec::Lz4][rng.below(4)];
    let mut builder = BatchBuilder::new(codec);
    for _ in 0..1 + rng.below(4) {
        let len = match rng.below(4) {
            0 => rng.below(32),
            1 => rng.below(600),
            2 => 3900 + rng.below(300),
            _ => rng.below(7000),
        };
        let mut value = vec![id.partition.get() as u8 ^ rng.draw() as u8; len];
        value.iter_mut().step_by(7).for_each(|byte| *byte = rng.draw() as u8);
        let key = [b'a' + rng.below(24) as u8];
        let value = (rng.below(8) != 0).then_some(value.as_slice());
        let time = Timestamp::from_millis(simulated_time().millis() - rng.below(100) as i64);
        builder.try_append(time, Some(&key), value, &[]).expect("far below the limits");
    }
    if let Some(producer) = producer {
        let (id, first) = (ProducerId::new(producer.id), Sequence::new(producer.next_sequence));
        builder.set_producer(id, ProducerEpoch::new(0), first);
    }
    builder.finish()
}
