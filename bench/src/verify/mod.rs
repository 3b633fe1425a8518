//! Verification: each record says who sent it and as which, and a ledger counts what became of it.
//!
//!     producer    stamp ─▶ record ─▶ acked ────────────▶ Sent { sequences, acked ones }   ─┐
//!     consumer    record ─▶ stamp ─▶ Received { seen, corrupt, reordered, duplicated }    ─┴▶ Verdict
//!
//! A promise is broken when a record was acknowledged and does not arrive (lost), arrives twice, not as
//! it was sent (corrupt), or after a later one of the same producer and partition (reordered). A record
//! that was never acknowledged may arrive or not.

pub mod stamp;

mod bitmap;

mod ledger;
pub use ledger::{Received, Sent, Verdict};
