//! The Kafka listener of a running broker, asked in the words of the crate `kafka-protocol`, which was
//! generated from Kafka's own definitions.
//!
//!     test ─ kafka-protocol encodes ─▶ socket ─▶ broker, 1 or 2 shards ─▶ kafka-protocol decodes ─▶ test
//!     test ─ native frames ─────────────────────▶ the same broker

#[path = "../raw/mod.rs"]
mod raw;

mod client;

mod data;

mod refusals;

mod waiting;

mod offsets;

mod topics;

mod configs;

mod greedy;

mod groups;

mod members;

mod hostile;

mod amplified;
