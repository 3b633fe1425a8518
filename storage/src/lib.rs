//! Ringlog's storage: partition logs on one core's files, durable before they are acknowledged.
//!
//!     Store (one per shard)          commit lanes, preparer, checkpoints: the only awaits
//!       └─ Log (one per partition)   pure: assigns offsets, plans writes, reads completions
//!            ├─ ladder               durable <= written <= next
//!            ├─ chunks               aligned buffers: write buffer, hot cache and fetch buffer in one
//!            └─ segments             one file each, with a sparse index
//!       ╎
//!     Disk                           io_uring (production) or a simulated disk (crash tests)
//!
//! Knows nothing of protocol frames, shards' mailboxes or consumers. Everything here lives on one
//! thread; no type is `Send`.

pub mod id;

pub mod log;

pub mod segment;

pub mod chunk;

pub mod store;

pub mod recovery;

pub mod checkpoint;

pub mod small_file;

pub mod catalog;

pub mod directory;

pub mod verify;

pub mod disk;

pub mod notify;

pub mod mutants;
