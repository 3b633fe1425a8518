//! The binary as a user has it: a broker started by `ringlog serve`, and every verb against it.
//!
//!     Served ── ringlog serve --listen 127.0.0.1:0 ─▶ "ringlog ready on ADDR"
//!       └ ringlog(["topic", "create", …]) ─▶ Ran { code, out, err }
//!
//! Needs io_uring, as the broker does.

mod run;

mod shell;

mod topics;

mod member;

mod groups;

mod verify;

mod records;

mod serving;
