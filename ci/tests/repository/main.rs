//! The repository as a whole: what no compiler checks and every reviewer would have to.
//!
//!     layering        who may know whom (ARCHITECTURE.md)
//!     pictures        every file says on top what it is
//!     sizes           files and functions may shrink, not grow (ci/ratchet.txt)
//!     words           what must not be in the code, and what to write instead
//!     manifests       every dependency has its reason
//!
//! A finding is a line `file:line: what, why`, as compilers have it, so that editors jump there.

mod layering;

mod pictures;

mod sizes;

mod words;

mod manifests;

/// Fails with all findings at once.
fn report(findings: Vec<String>) {
    assert!(findings.is_empty(), "{} findings:\n{}\n", findings.len(), findings.join("\n"));
}
