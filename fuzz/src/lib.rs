//! Hostile bytes for every parser of bytes from network or disk.
//!
//!     seeds (valid inputs) ─▶ corpus ─ mutate ─▶ repair checksums ─▶ target ─▶ outcome ── new? ─▶ corpus
//!                                                  (now and then)      │
//!                                            panic, too much memory, over a second: the input in hex
//!
//! Runs on stable Rust. There is no coverage to steer by; what steers is the outcome that a target
//! gives: an input that ends as none did before is kept and mutated further. Checksums are repaired in
//! half of the inputs, because behind a checksum that does not match nothing is tested.

pub mod mutate;

pub mod runner;

pub mod targets;

mod sys;
