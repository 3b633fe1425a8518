//! How fast one core checksums: what broker and client each pay per byte. 26 GB/s here, 0.04 s/GB.

use std::hint::black_box;
use std::time::Duration;

use crate::clock::Moment;

pub fn gb_per_second(stretch: Duration) -> f64 {
    let batch = vec![7; 64 << 10];
    let (start, mut bytes) = (Moment::now(), 0);
    let end = start.plus(stretch);
    loop {
        black_box(crc32c::crc32c(black_box(&batch)));
        bytes += batch.len();
        let now = Moment::now();
        if now >= end {
            return bytes as f64 / 1e9 / now.since(start).as_secs_f64();
        }
    }
}
