//! Payloads: what is in the records, made so cheaply that the broker stays the limit.
//!
//!     pool, made once   ├────────┼────────┼────────┼──  rand · text (about 4:1 by lz4) · zero
//!     plain record          ╰ a slice of it: no allocation, no copy, no counter
//!     stamped record    ├ stamp ┼ copy of a slice ┤  several in one block, which is reused once all are gone
//!
//! A plain record costs 12 ns, a timed one of 100 B 37 ns, a verified one 66 ns (of 1 KiB: 12, 50, 130 ns);
//! 4 M records/s leave 250 ns. `cargo test --release -p ringlog-bench -- --ignored --nocapture cost_of`

use std::str::FromStr;

use bytes::{Bytes, BytesMut};
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};

use crate::clock::Moment;
use crate::verify::stamp::{self, Stamp};

/// What payloads consist of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// Random bytes, which no codec makes smaller.
    Rand,
    /// Log lines, which lz4 makes about four times smaller.
    Text,
    Zero,
}

impl FromStr for Content {
    type Err = String;

    fn from_str(text: &str) -> Result<Content, String> {
        match text {
            "rand" => Ok(Content::Rand),
            "text" => Ok(Content::Text),
            "zero" => Ok(Content::Zero),
            _ => Err(format!("{text:?} is not a payload: it is one of rand, text, zero")),
        }
    }
}

/// What stands at the start of each record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stamping {
    Nothing,
    /// Producer, sequence and send time, for end-to-end latency.
    Time,
    /// The same and a checksum over all.
    Verify,
}

/// Bytes that all producers cut their records from. Never freed: a slice of it then costs nothing.
#[derive(Clone, Copy, Debug)]
pub struct Pool(&'static [u8]);

impl Pool {
    /// Twice the size of a record at least, so that slices differ.
    pub fn new(content: Content, record_size: usize, seed: u64) -> Pool {
        let len = POOL_LEN.max(2 * record_size);
        let mut rng = SmallRng::seed_from_u64(seed);
        let bytes = match content {
            Content::Zero => vec![0; len],
            Content::Rand => {
                let mut bytes = vec![0; len];
                rng.fill_bytes(&mut bytes);
                bytes
            }
            Content::Text => text(len, &mut rng),
        };
        Pool(Box::leak(bytes.into_boxed_slice()))
    }
}

/// Lines of a web server's log. Their frame repeats and their numbers do not.
fn text(len: usize, rng: &mut SmallRng) -> Vec<u8> {
    let mut text = Vec::with_capacity(len + 256);
    let mut clock_ms: u64 = 1_760_000_000_000;
    while text.len() < len {
        clock_ms += rng.random_range(0..50);
        let (verb, path) = PATHS[rng.random_range(0..PATHS.len())];
        let (trace, span): (u64, u16) = (rng.random(), rng.random());
        let (user, bytes, micros) =
            (rng.random_range(0..100_000), rng.random_range(0..65_536), rng.random_range(0..9999));
        let line = format!(
            "{{\"time\":{clock_ms},\"level\":\"INFO\",\"target\":\"http::access\",\"method\":\"{verb}\",\
             \"path\":\"{path}\",\"status\":200,\"user\":\"u-{user:05}\",\"bytes\":{bytes},\
             \"duration_us\":{micros},\"trace\":\"{trace:016x}-{span:04x}\"}}\n"
        );
        text.extend_from_slice(line.as_bytes());
    }
    text.truncate(len);
    text
}

/// One producer's records.
#[derive(Debug)]
pub struct Payload {
    pool: Bytes,
    record_size: usize,
    at: usize,
    stamping: Stamping,
    producer: u32,
    block: BytesMut,
}

impl Payload {
    pub fn new(pool: Pool, record_size: usize, stamping: Stamping, producer: u32) -> Payload {
        let pool = Bytes::from_static(pool.0);
        // Producers begin at different places, so that they do not send the same bytes in step.
        let at = (producer as usize).wrapping_mul(STRIDE * 1009) % (pool.len() - record_size + 1);
        Payload { pool, record_size, at, stamping, producer, block: BytesMut::with_capacity(BLOCK_LEN) }
    }

    /// The value of the next record.
    pub fn next(&mut self, sequence: u64, sent_at: Moment) -> Bytes {
        let slice = self.next_slice();
        if self.stamping == Stamping::Nothing {
            return self.pool.slice(slice);
        }
        // Gives the old block again if the client has let go of all its records.
        self.block.reserve(self.record_size);
        self.block.extend_from_slice(&self.pool[slice]);
        let stamp = Stamp { producer: self.producer, sequence, sent_at: Some(sent_at) };
        stamp.write(&mut self.block);
        if self.stamping == Stamping::Verify {
            stamp::seal(&mut self.block);
        }
        self.block.split().freeze()
    }

    fn next_slice(&mut self) -> std::ops::Range<usize> {
        let end = self.at + self.record_size;
        let slice = self.at..end;
        // A step that is no multiple of a record's size: the next lap cuts differently.
        self.at =
            if end + STRIDE + self.record_size <= self.pool.len() { end + STRIDE } else { end % STRIDE };
        slice
    }
}

/// Fits in the second-level cache together with what the client touches.
const POOL_LEN: usize = 512 << 10;
const BLOCK_LEN: usize = 64 << 10;
const STRIDE: usize = 13;

const PATHS: [(&str, &str); 6] = [
    ("GET", "/api/v1/orders"),
    ("GET", "/api/v1/customers/search"),
    ("POST", "/api/v1/orders/checkout"),
    ("GET", "/static/app.js"),
    ("PUT", "/api/v1/cart/items"),
    ("GET", "/health"),
];

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::from_ns(1);

    #[test]
    fn every_record_has_the_size_asked_for_at_any_lap() {
        for size in [0, 1, 16, 100, 1024, 500_000, 3 << 20] {
            let mut payload = Payload::new(Pool::new(Content::Rand, size, 1), size, Stamping::Nothing, 3);
            assert!((0..2000).all(|sequence| payload.next(sequence, NOW).len() == size), "{size}");
        }
    }

    #[test]
    fn a_plain_record_is_a_slice_of_the_pool() {
        let pool = Pool::new(Content::Rand, 100, 1);
        let mut payload = Payload::new(pool, 100, Stamping::Nothing, 0);
        let (first, second) = (payload.next(0, NOW), payload.next(1, NOW));
        assert!(pool.0.as_ptr_range().contains(&first.as_ptr()));
        assert_ne!(first, second);
    }

    #[test]
    fn the_same_seed_makes_the_same_payload() {
        for content in [Content::Rand, Content::Text] {
            let of = |seed| Pool::new(content, 100, seed).0;
            assert_eq!(of(1), of(1));
            assert_ne!(of(1), of(2));
        }
    }

    #[test]
    fn a_stamped_record_says_who_sent_it_and_when() {
        let pool = Pool::new(Content::Text, 100, 1);
        let mut payload = Payload::new(pool, 100, Stamping::Verify, 5);
        let records: Vec<Bytes> = (0..5000).map(|n| payload.next(n, Moment::from_ns(n * 10))).collect();
        for (sequence, record) in (0..).zip(&records) {
            let sent_at = Some(Moment::from_ns(sequence * 10));
            assert_eq!(Stamp::read_checked(record), Some(Stamp { producer: 5, sequence, sent_at }));
        }
        let timed = Payload::new(pool, 100, Stamping::Time, 5).next(9, NOW);
        assert_eq!(Stamp::read(&timed).unwrap().sent_at, Some(NOW));
        assert_eq!(Stamp::read_checked(&timed), None, "no checksum was asked for");
    }

    #[test]
    fn a_block_is_used_again_when_its_records_are_gone() {
        let mut payload = Payload::new(Pool::new(Content::Rand, 100, 1), 100, Stamping::Time, 0);
        let mut addresses = std::collections::HashSet::new();
        for sequence in 0..10_000 {
            addresses.insert(payload.next(sequence, NOW).as_ptr() as usize >> 16);
        }
        assert!(addresses.len() <= 4, "{} blocks", addresses.len());
    }

    #[test]
    fn text_is_about_four_times_smaller_by_lz4_and_random_bytes_are_not() {
        let ratio = |content| {
            let batch = &Pool::new(content, 1024, 1).0[..65_536];
            batch.len() as f64 / lz4_flex::block::compress(batch).len() as f64
        };
        let text = ratio(Content::Text);
        assert!((3.6..4.4).contains(&text), "{text:.2}");
        assert!(ratio(Content::Rand) < 1.01);
    }

    /// Prints what one record costs the generator.
    #[test]
    #[ignore = "a measurement, not a check"]
    fn cost_of_a_record() {
        for (size, stamping) in [100, 1024].into_iter().flat_map(|size| {
            [Stamping::Nothing, Stamping::Time, Stamping::Verify].map(|stamping| (size, stamping))
        }) {
            let mut payload = Payload::new(Pool::new(Content::Rand, size, 1), size, stamping, 0);
            let start = Moment::now();
            for sequence in 0..2_000_000 {
                std::hint::black_box(payload.next(sequence, NOW));
            }
            let ns = Moment::now().ns_since(start) as f64 / 2e6;
            println!("{size} B {stamping:?}: {ns:.1} ns a record");
        }
    }
}
