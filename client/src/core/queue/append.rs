//! What goes into a queue with a record, and what comes back.
//!
//!     RecordRef ─▶ append ─▶ Appended { batch, index, wake }     or NotAppended
//!                    │
//!                    └─ Clock: exact for a batch's first record, coarse for the others

use std::time::Instant;

use protocol::model::Timestamp;

/// What `append` asks for the time.
pub trait Clock {
    /// The time now, for timeouts and for timestamps; asked once per batch.
    fn now(&self) -> (Instant, Timestamp);

    /// The time as it was a few milliseconds ago at most; asked for every record.
    fn coarse(&self) -> Timestamp;
}

/// The fields of a record, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    /// The time of `append` if there is none.
    pub timestamp: Option<Timestamp>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
    /// What it is charged in the producer's buffer.
    pub charge: usize,
}

/// A record's place in its batch.
#[derive(Debug)]
pub struct Appended<S> {
    pub state: S,
    pub index: u32,
    pub timestamp: Timestamp,
    /// Whether the driver has something to do now.
    pub wake: bool,
    /// Whether a batch's worth of records is complete: keyless ones go on to the next partition.
    pub full: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotAppended {
    /// The batch is closed and none was opened, as asked. The driver has something to do if `wake`.
    Full { wake: bool },
    /// The record alone makes a batch of `bytes`.
    TooLarge { bytes: usize, limit: usize },
    /// The producer is closed.
    Sealed,
}

/// Whether `append` may open a new batch after closing a full one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WhenFull {
    OpenNext,
    Stop,
}
