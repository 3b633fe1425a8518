//! What the client does: sockets, tasks and timers, around the decisions of `core/`.
//!
//!     cluster ── control connection, metadata, refresher
//!        └ dial ── connection ── writer task ─▶ socket ─▶ reader task ─▶ completions
//!     links ── a producer's or a reader's connections, one per owning shard, made again when lost
//!     sender ── a producer's one task          fetcher ── a reader's one task
//!     member ── a consumer's one task

pub(crate) mod connection;

pub(crate) mod call;

pub(crate) mod dial;

pub(crate) mod cluster;

pub(crate) mod identity;

pub(crate) mod links;

pub(crate) mod sender;

pub(crate) mod fetcher;

pub(crate) mod member;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks; what a panicking holder left behind is consistent, because every change is made by one
/// call of a state machine that asserts before it changes.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Uniform in 0 … 1, for pauses and first choices: the keys that the standard library seeds its
/// hash maps with, which is all the randomness a client needs.
pub(crate) fn jitter() -> f64 {
    let bits = RandomState::new().build_hasher().finish();
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}
