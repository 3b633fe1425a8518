//! Kafka's wire: the bytes that Kafka's clients send and expect, and nothing about what they mean.
//!
//!     wire       reader and writer of fields, bounded lists        knows versions and nothing else
//!       ↑
//!     api        one table: key, name, versions, first flexible one
//!     error      Kafka's error codes
//!       ↑
//!     frame      the length in front of a message; TLS and HTTP by mistake
//!     header     of requests and of responses
//!       ↑
//!     messages   one file per message that is sent often: requests borrow, responses are written
//!     cold       the messages that are seldom sent, by the crate `kafka-protocol` behind a scan
//!
//! A request goes through it like this:
//!
//!     bytes ─ frame::parse ─▶ a frame ─ header::parse ─▶ api, version, correlation, body
//!           body ─ ProduceRequest::parse(body, version) ─▶ names, numbers and records in place
//!           answer ─ header::append_response ─▶ bytes
//!
//! Nothing here does I/O, reads a clock or knows a topic. No decoder panics, and none allocates for a
//! count before it has seen that the bytes could hold it. Numbers stay as the wire has them (an offset
//! is an `i64`, −1 says none); the broker gives them their types.

pub mod wire;
pub use wire::{List, Malformed, Reader, Writer};

pub mod api;
pub use api::Api;

pub mod error;
pub use error::ErrorCode;

pub mod frame;

pub mod header;

pub mod messages;

pub mod cold;
