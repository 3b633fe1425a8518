//! Ringlog's bytes: the batch that is stored and travels, and the native protocol around it.
//!
//!     model    ids, offsets, limits, error codes        one concept, one type
//!       ↑
//!     batch    RecordBatch v2: read in place, build, iterate, compress
//!     frame    the 16-byte header in front of every message
//!       ↑
//!     api      one file per message: Hello, Metadata, Produce, Fetch, …
//!
//! Nothing here does I/O, reads a clock or knows a shard: bytes in, types out. Bytes come from the
//! network or from disk, so no decoder panics and none allocates before it has checked a length.

pub mod model;

pub mod batch;

pub mod frame;

pub mod api;
