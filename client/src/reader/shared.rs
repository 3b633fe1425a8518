//! What a reader and its task share: the fetch state, and how each wakes the other.
//!
//!     task ── handle_reply ─▶ ┌────────┐ ─▶ take ── reader
//!          ◀── wake_driver ── │ Fetch  │ ◀── waker ──▶
//!                             └────────┘

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

use crate::core::fetch::{Fetch, Taken};
use crate::driver::lock;
use crate::error::ConsumeError;

pub(crate) struct Shared {
    pub state: Mutex<State>,
    /// There is room, or something changed, that the task may act on.
    pub wake_driver: Notify,
    closed: AtomicBool,
}

pub(crate) struct State {
    pub fetch: Fetch,
    /// Of the one call that waits.
    waker: Option<Waker>,
    /// The task has ended, and nothing more will come.
    ended: bool,
}

impl Shared {
    pub(crate) fn new(fetch: Fetch) -> Shared {
        Shared {
            state: Mutex::new(State { fetch, waker: None, ended: false }),
            wake_driver: Notify::new(),
            closed: AtomicBool::new(false),
        }
    }

    /// The next batch or fault, if one is here.
    pub(crate) fn take(&self) -> Option<Taken> {
        let taken = lock(&self.state).fetch.take();
        if taken.as_ref().is_some_and(|taken| taken.wake_driver) {
            self.wake_driver.notify_one();
        }
        taken
    }

    /// Waits until `take` is worth a try.
    pub(crate) fn poll_items(&self, cx: &mut Context<'_>) -> Poll<Result<(), ConsumeError>> {
        let mut state = lock(&self.state);
        if state.fetch.has_ready() {
            return Poll::Ready(Ok(()));
        }
        if let Some(fault) = state.fetch.dead_end() {
            return Poll::Ready(Err(fault));
        }
        if state.ended {
            return Poll::Ready(Err(ConsumeError::Closed));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Changes the fetch state and wakes the reader if there is something for it now.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Fetch) -> R) -> R {
        let mut state = lock(&self.state);
        let result = change(&mut state.fetch);
        let waker = if state.fetch.has_ready() { state.waker.take() } else { None };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The reader is gone.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake_driver.notify_one();
    }

    /// The task is gone.
    pub(crate) fn end(&self) {
        let waker = {
            let mut state = lock(&self.state);
            state.ended = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
