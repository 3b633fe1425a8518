//! What the client decides, apart from what it does: no socket, no clock, no task in here.
//!
//!     frames  ── assembler ▸ exchange ▸ outbox             bytes in and out of one connection
//!     cluster ── metadata ▸ backoff ▸ timers               where things are, when to try again
//!     produce ── partitioner ▸ queue ▸ lane ▸ sequence     records to batches, batches in order, each once
//!     consume ── fetch                                     what to fetch next, what to hand out
//!     group   ── assign ▸ group ▸ commit                   who reads what, which member this is, how far it got
//!     process ── contiguous ▸ retry ▸ waiting ▸ held       many workers, one position; what failed
//!
//! Everything takes `now`, bytes and completions, and returns decisions; `driver/` carries them out.
//! So order under failures is a property test without a network (`queue/tests.rs`).

pub(crate) mod assembler;

pub(crate) mod exchange;

pub(crate) mod outbox;

pub(crate) mod metadata;

pub(crate) mod backoff;

pub(crate) mod timers;

pub(crate) mod partitioner;

pub(crate) mod queue;

pub(crate) mod lane;

pub(crate) mod sequence;

pub(crate) mod fetch;

pub(crate) mod assign;

pub(crate) mod group;

pub(crate) mod commit;

pub(crate) mod contiguous;

pub(crate) mod retry;

pub(crate) mod waiting;

pub(crate) mod held;
