//! Keys: which one the next record has.

use bytes::{Bytes, BytesMut};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::flags::Keys;

/// One producer's keys: 8 bytes, a number.
#[derive(Debug)]
pub struct KeySource {
    keys: Keys,
    /// So that the keys of two producers differ when every record has its own.
    producer: u32,
    rng: SmallRng,
    block: BytesMut,
}

impl KeySource {
    pub fn new(keys: Keys, producer: u32, seed: u64) -> KeySource {
        // Each producer draws from its own sequence of the same seed.
        let rng = SmallRng::seed_from_u64(seed ^ (u64::from(producer) << 32));
        KeySource { keys, producer, rng, block: BytesMut::with_capacity(BLOCK_LEN) }
    }

    pub fn next(&mut self, sequence: u64) -> Option<Bytes> {
        let number = match self.keys {
            Keys::None => return None,
            Keys::Sequential => u64::from(self.producer) << 40 | sequence,
            Keys::Random(count) => self.rng.random_range(0..count),
        };
        self.block.reserve(KEY_LEN);
        self.block.extend_from_slice(&number.to_be_bytes());
        Some(self.block.split().freeze())
    }
}

const KEY_LEN: usize = 8;
const BLOCK_LEN: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn keys(keys: Keys, producer: u32, count: u64) -> Vec<Bytes> {
        let mut source = KeySource::new(keys, producer, 1);
        (0..count).filter_map(|sequence| source.next(sequence)).collect()
    }

    #[test]
    fn keys_are_absent_different_or_few() {
        assert_eq!(keys(Keys::None, 0, 10).len(), 0);
        let all: HashSet<Bytes> = (0..3).flat_map(|producer| keys(Keys::Sequential, producer, 100)).collect();
        assert_eq!(all.len(), 300);
        let few: HashSet<Bytes> = keys(Keys::Random(10), 0, 1000).into_iter().collect();
        assert_eq!(few.len(), 10);
    }

    #[test]
    fn producers_draw_different_random_keys() {
        assert_eq!(keys(Keys::Random(1 << 40), 0, 5), keys(Keys::Random(1 << 40), 0, 5));
        assert_ne!(keys(Keys::Random(1 << 40), 0, 5), keys(Keys::Random(1 << 40), 1, 5));
    }
}
