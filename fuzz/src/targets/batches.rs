//! Batches, and what is compressed in them: from any producer, and from the disk.
//!
//!     batch        a record set: split, checked as for append, decoded record by record
//!     decompress   a byte that says which codec, then compressed bytes

use bytes::Bytes;
use protocol::batch::{Batch, BatchBuilder, Codec, batches, compress, decode_batch, decompress, stamp};
use protocol::model::{LeaderEpoch, Offset, Timestamp};

use crate::runner::Target;

/// What a batch may unfold to here: small, so that it is reached.
const DECOMPRESSED_BYTES_MAX: usize = 64 << 10;

/// Fixed state of a codec, allocated in Rust, and texts.
const CODEC_BYTES: usize = 512 << 10;

const BATCH_BYTES_MAX: usize = 128 << 10;

pub const BATCH: Target = Target {
    name: "batch",
    seeds: || {
        Codec::ALL.into_iter().flat_map(|codec| [record_set(codec, 1), record_set(codec, 40)]).collect()
    },
    repair: |bytes| repair_batches(bytes),
    memory_max: |len| 2 * DECOMPRESSED_BYTES_MAX + CODEC_BYTES + 64 * len,
    run: run_batch,
};

pub const DECOMPRESS: Target = Target {
    name: "decompress",
    seeds: || {
        let text: Vec<u8> = (0..20_000u32).flat_map(|n| (n / 7).to_le_bytes()).take(30_000).collect();
        let inputs = [text, vec![0; 200_000], Vec::new()];
        let compressed = |codec: Codec, input: &[u8]| {
            let mut out = vec![Codec::ALL.iter().position(|one| *one == codec).unwrap_or_default() as u8];
            compress(codec, input, &mut out);
            out
        };
        Codec::ALL
            .into_iter()
            .flat_map(|codec| inputs.each_ref().map(|input| compressed(codec, input)))
            .collect()
    },
    repair: |_| {},
    memory_max: |len| 2 * DECOMPRESSED_BYTES_MAX + CODEC_BYTES + 4 * len,
    run: |input| {
        let Some((which, input)) = input.split_first() else { return String::new() };
        let codec = Codec::ALL[usize::from(*which) % Codec::ALL.len()];
        match decompress(codec, input, DECOMPRESSED_BYTES_MAX) {
            Ok(bytes) => {
                assert!(bytes.len() <= DECOMPRESSED_BYTES_MAX, "{} bytes are over the limit", bytes.len());
                format!("{codec:?} {}", "x".repeat(bytes.len().ilog2_or_zero()))
            }
            Err(error) => format!("{codec:?} {error:?}"),
        }
    },
};

trait Ilog2OrZero {
    fn ilog2_or_zero(self) -> usize;
}

impl Ilog2OrZero for usize {
    fn ilog2_or_zero(self) -> usize {
        self.checked_ilog2().unwrap_or(0) as usize
    }
}

fn run_batch(bytes: &[u8]) -> String {
    let mut outcome = String::new();
    let mut total = 0;
    for batch in batches(bytes).take(100) {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                outcome += &format!("{error:?}");
                break;
            }
        };
        total += batch.len();
        let appendable = batch.check_for_append(BATCH_BYTES_MAX);
        outcome += &format!("{:?} {appendable:?};", batch.codec());
        assert!(batch.base_offset() < batch.next_offset(), "a batch holds at least one record");
        let decoded = decode_batch(Bytes::copy_from_slice(batch.as_bytes()), DECOMPRESSED_BYTES_MAX);
        match decoded {
            Ok(records) => {
                let count = records.count();
                assert_eq!(count, batch.record_count().get() as usize, "as many as the header says");
            }
            Err(error) => {
                let unseen = batch.codec() != Codec::None;
                assert!(unseen || appendable.is_err(), "accepted, and cannot be read: {error:?}");
                outcome += &format!("{error:?};");
            }
        }
    }
    assert!(total <= bytes.len(), "batches that are longer than the bytes they are in");
    if let Ok((batch, rest)) = Batch::split_first(bytes) {
        assert_eq!(batch.len() + rest.len(), bytes.len());
    }
    outcome
}

/// Three batches of so many records.
pub fn record_set(codec: Codec, records: u64) -> Vec<u8> {
    let mut set = Vec::new();
    let mut next = Offset::ZERO;
    for number in 0..3u64 {
        let mut builder = BatchBuilder::new(codec);
        for record in 0..records {
            let key = record.to_be_bytes();
            let value = vec![number as u8; 20 + record as usize];
            let time = Timestamp::from_millis(1_700_000_000_000 + record.cast_signed());
            builder.try_append(time, Some(&key), Some(&value), &[]).expect("a small batch");
        }
        let mut batch = builder.finish().to_vec();
        stamp(&mut batch, next, LeaderEpoch::FIRST);
        next = Batch::split_first(&batch).expect("it was just built").0.next_offset();
        set.extend(batch);
    }
    set
}

/// Where a batch's checksum is, and what it covers: from its attributes on.
const CRC_AT: usize = 17;
const CRC_FROM: usize = 21;

/// Makes the checksums of batches match, one after the other, as far as their lengths lead.
pub fn repair_batches(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(len) = bytes.get(at..).and_then(Batch::peek_len) {
        let end = at.saturating_add(len).min(bytes.len());
        if let Some(batch) = bytes.get_mut(at..end) {
            super::repair_crc(batch, CRC_AT, CRC_FROM, u32::to_be_bytes);
        }
        at = end.max(at + 1);
    }
}
