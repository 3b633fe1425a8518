//! "Something changed" within one thread: any number of sleepers, no message, no allocation per wake.
//!
//!     let seen = notify.version();      // 1. remember
//!     if nothing_to_do() {              // 2. look
//!         notify.changed(seen).await;   // 3. sleep; a change between 1 and 3 is not missed
//!     }

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

#[derive(Default)]
pub struct Notify {
    version: Cell<u64>,
    sleepers: RefCell<Vec<Waker>>,
}

impl Notify {
    pub fn notify(&self) {
        self.version.set(self.version.get() + 1);
        for sleeper in self.sleepers.borrow_mut().drain(..) {
            sleeper.wake();
        }
    }

    pub fn version(&self) -> u64 {
        self.version.get()
    }

    /// Returns once `notify` has been called after `seen` was read.
    pub async fn changed(&self, seen: u64) {
        poll_fn(|cx| {
            if self.version.get() != seen {
                return Poll::Ready(());
            }
            let mut sleepers = self.sleepers.borrow_mut();
            if !sleepers.iter().any(|sleeper| sleeper.will_wake(cx.waker())) {
                sleepers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Sleeps until `condition` gives a value; it is tried now and after each `notify`.
    pub async fn until<T>(&self, mut condition: impl FnMut() -> Option<T>) -> T {
        loop {
            let seen = self.version();
            if let Some(value) = condition() {
                return value;
            }
            self.changed(seen).await;
        }
    }
}
