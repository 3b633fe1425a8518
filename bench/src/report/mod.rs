//! What a run tells: a header before, a line a second, tables after, JSON for tools.
//!
//!     header ─▶ interval ▸ interval ▸ … ─▶ table ─▶ verdict ─▶ verify
//!                                           └────▶ --json FILE

pub mod header;

pub mod interval;

pub mod json;

pub mod table;

mod text;
