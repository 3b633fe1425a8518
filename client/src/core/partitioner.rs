//! Which partition a record without one goes to.
//!
//!     key        murmur2(key) & 0x7fffffff  %  partitions           as Kafka's clients: same key, same place
//!     no key     ●●●●●●●│●●●●●●│●●●●●●●     sticky: one partition until its batch is closed, then the next
//!                p0      p1     p2
//!
//! Sticky because a batch is what costs: spreading single records over all partitions makes as many
//! small batches as there are partitions (KIP-480).

use std::sync::atomic::{AtomicU32, Ordering};

/// Kafka's partition of a key among `partitions`.
pub fn partition_of_key(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key).cast_unsigned() & 0x7fff_ffff) % partitions
}

/// Murmur2, 32 bits, with the seed and the tail handling of Kafka's `Utils.murmur2`.
pub fn murmur2(data: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    // Kafka mixes in the low 32 bits of the length; keys are far shorter.
    let mut h = SEED ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (i, byte) in tail.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    (h ^ (h >> 15)).cast_signed()
}

/// The partition that keyless records of a topic go to at the moment; shared by all threads.
#[derive(Debug)]
pub struct Sticky {
    current: AtomicU32,
    partitions: AtomicU32,
}

impl Sticky {
    /// Producers that start at random partitions do not all fill the first one.
    pub fn new(start: u32, partitions: u32) -> Sticky {
        assert!(partitions > 0, "BUG: a topic has at least one partition");
        Sticky { current: AtomicU32::new(start % partitions), partitions: AtomicU32::new(partitions) }
    }

    /// The topic has more partitions now.
    pub fn set_partitions(&self, partitions: u32) {
        assert!(partitions > 0, "BUG: a topic has at least one partition");
        self.partitions.store(partitions, Ordering::Relaxed);
    }

    pub fn current(&self) -> u32 {
        self.current.load(Ordering::Relaxed) % self.partitions.load(Ordering::Relaxed)
    }

    /// The batch of `partition` was closed: go on with the next, if it was the current one.
    pub fn handle_batch_closed(&self, partition: u32) {
        let partitions = self.partitions.load(Ordering::Relaxed);
        let current = self.current.load(Ordering::Relaxed);
        if current % partitions == partition {
            let next = (partition + 1) % partitions;
            // Whoever comes second finds that the step is done.
            let _ = self.current.compare_exchange(current, next, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// One after the other, for round robin.
    pub fn step(&self) -> u32 {
        self.current.fetch_add(1, Ordering::Relaxed) % self.partitions.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_agrees_with_kafka() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
    }

    #[test]
    fn a_negative_hash_still_has_a_partition() {
        // toPositive clears the sign bit; it does not negate: -973932308 & 0x7fffffff = 1173551340.
        assert_eq!(partition_of_key(b"21", 7), 1_173_551_340 % 7);
        assert_eq!(partition_of_key(b"", 1), 0);
    }

    #[test]
    fn keyless_records_stay_until_the_batch_is_closed() {
        let sticky = Sticky::new(4, 3);
        assert_eq!((sticky.current(), sticky.current()), (1, 1));
        sticky.handle_batch_closed(0);
        assert_eq!(sticky.current(), 1, "another partition's batch");
        sticky.handle_batch_closed(1);
        sticky.handle_batch_closed(1);
        assert_eq!(sticky.current(), 2, "two threads saw the same batch close");
        sticky.handle_batch_closed(2);
        assert_eq!(sticky.current(), 0);
    }

    #[test]
    fn round_robin_visits_all_and_new_partitions_too() {
        let sticky = Sticky::new(0, 2);
        assert_eq!([sticky.step(), sticky.step(), sticky.step()], [0, 1, 0]);
        sticky.set_partitions(4);
        assert_eq!([sticky.step(), sticky.step()], [3, 0]);
    }
}
