//! The fields of a message, of which Kafka has two writings.
//!
//!                 classic                             flexible (since some version of each api)
//!     string      i16 length, UTF-8; −1 is null       varint of length + 1, UTF-8; 0 is null
//!     bytes       i32 length; −1 is null              varint of length + 1; 0 is null
//!     array       i32 count; −1 is null               varint of count + 1; 0 is null
//!     struct      its fields                          its fields, then tagged fields
//!
//!     tagged      varint count, then for each: varint tag, varint size, bytes
//!     numbers     big-endian, as wide as their type
//!
//! A [`Reader`] and a [`Writer`] know the version of their message, so a codec is written once for both
//! writings and asks `since(9)` where a field came with a version.

mod reader;
pub use reader::{Items, List, Malformed, Read, Reader};

mod writer;
pub use writer::Writer;

mod varint;
pub use varint::varint_len;

/// Topic ids and directory ids as they travel.
pub type Uuid = [u8; 16];

/// Longest string, in both writings: Kafka's own readers refuse what is longer.
pub const STRING_BYTES_MAX: usize = i16::MAX as usize;
