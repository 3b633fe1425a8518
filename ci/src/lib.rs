//! What the checks in `tests/repository` need to read Rust source, and no more.
//!
//!     file ─▶ Source ── code: comments and literals blanked ─▶ paths, functions
//!                    └─ comments: everything else blanked
//!
//! No parser: the checks look for names, braces and `use`, and what the compiler accepts needs no
//! further grammar. Lines and columns stay where they are, so that a finding names its place.

mod lexer;

mod source;
pub use source::{Source, repository, root};

mod paths;
pub use paths::{PathUse, paths};

mod functions;
pub use functions::{Function, functions};

mod manifest;
pub use manifest::{Dependency, Section, dependencies};
