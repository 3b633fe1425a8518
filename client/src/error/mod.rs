//! What can go wrong, one type per area, each able to answer two questions.
//!
//!     is_retriable()            may the same call succeed later, without anybody changing it?
//!     may_have_been_applied()   may the broker have done it all the same?
//!
//! A connection error carries the address it is about and the cause the system gave. All errors
//! are `Clone`, because one lost batch answers many tickets.

mod connection;
pub use connection::{ClientError, ConnectionError};

mod admin;
pub use admin::AdminError;

mod send;
pub use send::{NotQueued, QueueFull, SendError, Undelivered};

mod consume;
pub use consume::ConsumeError;

mod work;
pub use work::{InvalidRetry, RetryError, WorkError};
