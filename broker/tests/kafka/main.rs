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

mod many;

mod configs;

mod greedy;

#[path = "../../../kafka/tests/differential/tape.rs"]
mod tape;

#[path = "../../../kafka/tests/differential/requests.rs"]
mod requests;

#[path = "../../../kafka/tests/differential/group_requests.rs"]
mod group_requests;

#[path = "../../../kafka/tests/differential/cold_requests.rs"]
mod cold_requests;

mod groups;

mod members;

mod hostile;

mod amplified;
