//! The broker's rule about an idempotent producer's batches, as a model for tests.
//!
//!     same epoch   follows the last one ─▶ stored      one of the last five ─▶ answered again
//!     newer epoch  begins at 0 ─▶ stored               anything else ─▶ OutOfOrder
//!     older epoch  ─▶ Fenced
//!
//! One per partition. Used by the tests of `core/queue` and by the tiny broker.

use std::collections::{HashMap, VecDeque};

/// Batches of a producer that are remembered.
const REMEMBERED: usize = 5;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Store it.
    Append,
    /// It is stored already, at this offset.
    Duplicate {
        base: u64,
    },
    OutOfOrder,
    Fenced,
}

/// What a batch says of its producer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    pub id: i64,
    pub epoch: i16,
    pub sequence: i32,
    pub records: u32,
}

#[derive(Default)]
pub struct Dedup {
    producers: HashMap<i64, Producer>,
}

#[derive(Default)]
struct Producer {
    epoch: i16,
    next: i32,
    /// Sequence, records and offset of the last batches.
    last: VecDeque<(i32, u32, u64)>,
}

impl Dedup {
    pub fn check(&self, claim: Claim) -> Verdict {
        let Some(known) = self.producers.get(&claim.id) else {
            return if claim.sequence == 0 { Verdict::Append } else { Verdict::OutOfOrder };
        };
        if claim.epoch < known.epoch {
            return Verdict::Fenced;
        }
        if claim.epoch > known.epoch {
            return if claim.sequence == 0 { Verdict::Append } else { Verdict::OutOfOrder };
        }
        let same = |last: &&(i32, u32, u64)| (last.0, last.1) == (claim.sequence, claim.records);
        match known.last.iter().find(same) {
            Some((_, _, base)) => Verdict::Duplicate { base: *base },
            None if claim.sequence == known.next => Verdict::Append,
            None => Verdict::OutOfOrder,
        }
    }

    /// A batch that may be appended is stored at `base`.
    pub fn stored(&mut self, claim: Claim, base: u64) {
        let known = self.producers.entry(claim.id).or_default();
        if known.epoch != claim.epoch {
            *known = Producer { epoch: claim.epoch, ..Producer::default() };
        }
        let sum = i64::from(claim.sequence) + i64::from(claim.records);
        known.next = (sum & i64::from(i32::MAX)) as i32;
        known.last.push_back((claim.sequence, claim.records, base));
        if known.last.len() > REMEMBERED {
            known.last.pop_front();
        }
    }

    /// As after `producer.id.expiration.ms`.
    pub fn forget(&mut self) {
        self.producers.clear();
    }
}
