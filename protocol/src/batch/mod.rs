//! A batch: the unit that travels, is stored, and is served, the same bytes everywhere.
//!
//!     ┌ header, 61 bytes ───────────────────────────────────┬ records ─────────────────┐
//!     │ base offset, epoch │ crc │ codec, times, producer, n │ r₀ │ r₁ │ r₂ │ … │ rₙ₋₁   │
//!     └── the broker's ────┴─────┴──── the producer's, covered by the crc ──────────────┘
//!
//!     producer   BatchBuilder ─▶ bytes
//!     broker                     Batch::split_first ▸ check_for_append ▸ stamp ─▶ log ─▶ the same bytes
//!     consumer                                                     decode_batch ─▶ OwnedRecord …
//!
//! It is Kafka's RecordBatch v2, byte for byte (docs/data_file.md), so that both listeners serve
//! what is stored. A broker writes bytes 0–7 and 12–15 of it; it steps over records that are not
//! compressed, to see that they are as many as announced, and keeps none of them. A record set is
//! whole batches end to end; in a batch the offsets have no gaps until compaction takes records away.

mod view;
pub use view::{Batch, Batches, TimestampType, batches};

mod error;
pub use error::BatchError;

mod header;
pub use header::HEADER_LEN;

mod stamp;
pub use stamp::{stamp, stamp_max_timestamp, stamp_producer};

mod record;
pub use record::{HeaderView, HeadersIter, RecordError, RecordFault, RecordIter, RecordView};

mod varint;

mod codec;
pub use codec::{Codec, DecompressError, UnknownCodec, compress, decompress};

mod decoded;
pub use decoded::{DecodedBatch, Header, HeaderKey, OwnedRecord, decode_batch};

mod builder;
pub use builder::{BatchBuilder, BuildError, record_size_upper_bound};

mod compacted;
pub use compacted::{Compacted, Verdict, compact_batch, empty_batch};

#[cfg(test)]
mod tests;
