//! Many runs and what they say together: suite, sweep, compare.
//!
//!     suite    scenarios B1 … B15       ─┐
//!     sweep    values × repetitions     ─┼─▶ Child: bench …, a process of its own ─▶ its JSON ─▶ one table
//!     compare  two files of --json      ─┘
//!
//! A run in a process of its own has its own broker, its own cores and its own memory: nothing of one is
//! left for the next.

pub mod child;

pub mod compare;

pub mod sweep;

pub mod suite;
