//! Idempotent producers of one log: what each one wrote last, so that a retry is told from news.
//!
//!     producer 7, epoch 0     [20,25) at 1000   [25,26) at 1014   [26,30) at 1020     (last five)
//!        batch 25 … 26   ─▶ duplicate of what lies at 1014: answered with that offset
//!        batch 30 … 33   ─▶ follows: accepted
//!        batch 31 …      ─▶ a gap: OutOfOrderSequence
//!
//! The rules are KIP-98's: five batches are remembered, because a client has at most five under way; an
//! epoch must not go back, and a new one begins at sequence 0. So does a producer that is not known, else
//! it is told so: UnknownProducer, upon which clients begin a new epoch if nothing can be stored twice.
//! Kafka lets that one begin anywhere, because there retention takes the memory of a producer with its
//! records; here it outlives them, and a batch whose predecessor was refused cannot overtake it.
//! The state is a function of the log alone: recovery applies the same batches and gets the same.
//!
//! Stored form, little-endian, one after another, checked by the file it stands in (segment/index.rs):
//!
//!     id i64 │ epoch i16 │ count u8 │ last use i64 │ count × (first i32, last i32, base u64, next u64)

use std::collections::{HashMap, VecDeque};

use protocol::batch::Batch;
use protocol::model::{Offset, ProducerEpoch, ProducerId, Timestamp};

use super::AppendError;

/// Batches remembered of each producer.
pub const BATCHES_REMEMBERED: usize = 5;

/// What is to be done with a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sequencing {
    /// It is new, or of a producer without id.
    New,
    /// It was stored before, at these offsets.
    Duplicate { base: Offset, next: Offset },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Remembered {
    first: i32,
    last: i32,
    base: Offset,
    next: Offset,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Producer {
    epoch: ProducerEpoch,
    /// Oldest first; never empty, never more than [`BATCHES_REMEMBERED`].
    batches: VecDeque<Remembered>,
    last_used: Timestamp,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProducerStates {
    producers: HashMap<ProducerId, Producer>,
}

/// The sequence number `count` after `sequence`; after the largest comes 0 (KIP-98).
fn sequence_after(sequence: i32, count: u32) -> i32 {
    let sum = u64::from(sequence.unsigned_abs()) + u64::from(count);
    (sum % (i32::MAX as u64 + 1)) as i32
}

impl ProducerStates {
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// Whether the batch may be appended, or was before. Changes nothing.
    pub fn check(&self, batch: &Batch<'_>) -> Result<Sequencing, AppendError> {
        let (id, epoch, first) = (batch.producer_id(), batch.producer_epoch(), batch.base_sequence().get());
        if id == ProducerId::NONE {
            return Ok(Sequencing::New);
        }
        let Some(producer) = self.producers.get(&id) else {
            return match first {
                0 => Ok(Sequencing::New),
                found => Err(AppendError::UnknownProducer { producer: id.get(), found }),
            };
        };
        if epoch < producer.epoch {
            let (current, found) = (producer.epoch.get(), epoch.get());
            return Err(AppendError::ProducerFenced { producer: id.get(), current, found });
        }
        let expected = match producer.epoch < epoch {
            true => 0,
            false => {
                let last = last_sequence(batch);
                let known = producer.batches.iter().find(|known| (known.first, known.last) == (first, last));
                if let Some(known) = known {
                    return Ok(Sequencing::Duplicate { base: known.base, next: known.next });
                }
                producer.batches.back().map_or(0, |newest| sequence_after(newest.last, 1))
            }
        };
        follows(id, expected, first)
    }

    /// Takes note of a batch that was given the offsets [base, next), at `now` by the broker's clock.
    pub fn apply(&mut self, batch: &Batch<'_>, base: Offset, next: Offset, now: Timestamp) {
        let (id, epoch) = (batch.producer_id(), batch.producer_epoch());
        if id == ProducerId::NONE {
            return;
        }
        let known = Remembered { first: batch.base_sequence().get(), last: last_sequence(batch), base, next };
        let producer = self.producers.entry(id).or_insert_with(|| Producer {
            epoch,
            batches: VecDeque::new(),
            last_used: now,
        });
        if producer.epoch != epoch {
            producer.epoch = epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == BATCHES_REMEMBERED {
            producer.batches.pop_front();
        }
        producer.batches.push_back(known);
        producer.last_used = now;
    }

    /// Forgets producers that were silent since before `since`.
    pub fn expire(&mut self, since: Timestamp) {
        self.producers.retain(|_, producer| since <= producer.last_used);
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.producers.len() * 64);
        let mut ids: Vec<&ProducerId> = self.producers.keys().collect();
        ids.sort_unstable(); // the same state, the same bytes
        for id in ids {
            let producer = &self.producers[id];
            out.extend_from_slice(&id.get().to_le_bytes());
            out.extend_from_slice(&producer.epoch.get().to_le_bytes());
            out.push(u8::try_from(producer.batches.len()).expect("BUG: five at most"));
            out.extend_from_slice(&producer.last_used.millis().to_le_bytes());
            for batch in &producer.batches {
                out.extend_from_slice(&batch.first.to_le_bytes());
                out.extend_from_slice(&batch.last.to_le_bytes());
                out.extend_from_slice(&batch.base.get().to_le_bytes());
                out.extend_from_slice(&batch.next.get().to_le_bytes());
            }
        }
        out
    }

    /// `None` for bytes that are not a stored state.
    pub fn from_bytes(mut bytes: &[u8]) -> Option<ProducerStates> {
        let mut producers = HashMap::new();
        while !bytes.is_empty() {
            let id = ProducerId::new(i64::from_le_bytes(take(&mut bytes)?));
            let epoch = ProducerEpoch::new(i16::from_le_bytes(take(&mut bytes)?));
            let [count] = take(&mut bytes)?;
            let last_used = Timestamp::from_millis(i64::from_le_bytes(take(&mut bytes)?));
            if count == 0 || BATCHES_REMEMBERED < usize::from(count) {
                return None;
            }
            let batches = (0..count).map(|_| take_batch(&mut bytes)).collect::<Option<_>>()?;
            producers.insert(id, Producer { epoch, batches, last_used });
        }
        Some(ProducerStates { producers })
    }
}

fn follows(id: ProducerId, expected: i32, found: i32) -> Result<Sequencing, AppendError> {
    match found == expected {
        true => Ok(Sequencing::New),
        false => Err(AppendError::OutOfOrderSequence { producer: id.get(), expected, found }),
    }
}

fn last_sequence(batch: &Batch<'_>) -> i32 {
    sequence_after(batch.base_sequence().get(), batch.offset_span().get() - 1)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

fn take_batch(bytes: &mut &[u8]) -> Option<Remembered> {
    Some(Remembered {
        first: i32::from_le_bytes(take(bytes)?),
        last: i32::from_le_bytes(take(bytes)?),
        base: Offset::from_wire(i64::from_le_bytes(take(bytes)?))?,
        next: Offset::from_wire(i64::from_le_bytes(take(bytes)?))?,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use protocol::batch::{BatchBuilder, Codec};
    use protocol::model::Sequence;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1000);

    fn batch(id: i64, epoch: i16, first: i32, count: usize) -> Bytes {
        let mut builder = BatchBuilder::new(Codec::None);
        for _ in 0..count {
            builder.try_append(NOW, None, Some(b"x"), &[]).unwrap();
        }
        builder.set_producer(ProducerId::new(id), ProducerEpoch::new(epoch), Sequence::new(first));
        builder.finish()
    }

    /// Checks a batch, and appends it at `base` if it is new.
    fn offer(states: &mut ProducerStates, bytes: &[u8], base: u64) -> Result<Sequencing, AppendError> {
        let (batch, _) = Batch::split_first(bytes).unwrap();
        let sequencing = states.check(&batch)?;
        if sequencing == Sequencing::New {
            let base = Offset::new(base);
            states.apply(&batch, base, base + batch.offset_span(), NOW);
        }
        Ok(sequencing)
    }

    fn expected(result: Result<Sequencing, AppendError>) -> i32 {
        match result {
            Err(AppendError::OutOfOrderSequence { expected, .. }) => expected,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_retry_of_the_last_five_gets_its_first_offset_and_a_gap_is_refused() {
        let mut states = ProducerStates::default();
        for n in 0..6 {
            assert_eq!(offer(&mut states, &batch(7, 0, n * 2, 2), n as u64 * 100), Ok(Sequencing::New));
        }
        let duplicate = Sequencing::Duplicate { base: Offset::new(100), next: Offset::new(102) };
        assert_eq!(offer(&mut states, &batch(7, 0, 2, 2), 900), Ok(duplicate));
        assert_eq!(expected(offer(&mut states, &batch(7, 0, 0, 2), 900)), 12, "the sixth is forgotten");
        assert_eq!(expected(offer(&mut states, &batch(7, 0, 13, 2), 900)), 12);
        assert_eq!(expected(offer(&mut states, &batch(7, 0, 2, 1), 900)), 12, "not the batch it was");
        let unknown = Err(AppendError::UnknownProducer { producer: 8, found: 50 });
        assert_eq!(offer(&mut states, &batch(8, 0, 50, 2), 900), unknown);
        assert_eq!(offer(&mut states, &batch(8, 0, 0, 2), 900), Ok(Sequencing::New));
    }

    #[test]
    fn an_epoch_goes_up_only_and_begins_at_zero() {
        let mut states = ProducerStates::default();
        offer(&mut states, &batch(7, 3, 0, 1), 0).unwrap();
        assert_eq!(
            offer(&mut states, &batch(7, 2, 1, 1), 1),
            Err(AppendError::ProducerFenced { producer: 7, current: 3, found: 2 })
        );
        assert_eq!(expected(offer(&mut states, &batch(7, 4, 1, 1), 1)), 0);
        assert_eq!(offer(&mut states, &batch(7, 4, 0, 1), 1), Ok(Sequencing::New));
    }

    #[test]
    fn sequences_wrap_at_the_largest_i32() {
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        let mut states = ProducerStates::default();
        let bytes = batch(7, 0, i32::MAX - 1, 4);
        let (before, _) = Batch::split_first(&bytes).unwrap();
        states.apply(&before, Offset::ZERO, Offset::new(4), NOW);
        assert_eq!(offer(&mut states, &batch(7, 0, 2, 1), 4), Ok(Sequencing::New));
    }

    #[test]
    fn the_stored_form_reads_back_and_garbage_does_not() {
        let mut states = ProducerStates::default();
        for id in 0..4 {
            for n in 0..=id {
                offer(&mut states, &batch(id, 0, n as i32, 1), n as u64).unwrap();
            }
        }
        let bytes = states.to_bytes();
        assert_eq!(ProducerStates::from_bytes(&bytes), Some(states.clone()));
        for at in 1..bytes.len() {
            let _ = ProducerStates::from_bytes(&bytes[..at]); // must not panic
        }
        assert_eq!(ProducerStates::from_bytes(&[0; 19]), None, "a producer without batches");
        states.expire(Timestamp::from_millis(1001));
        assert!(states.is_empty());
        let forgotten = Err(AppendError::UnknownProducer { producer: 3, found: 4 });
        assert_eq!(offer(&mut states, &batch(3, 0, 4, 1), 9), forgotten);
    }
}
