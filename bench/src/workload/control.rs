//! What the tasks of a run are told: when to count, when to stop, where to stop reading.
//!
//!     open ── warm-up ── begin ─────────────── stop ── drained ── ends known ── consumers are through
//!     producers start    their quotas count    no more records    consumers: up to here

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use crate::clock::Moment;

/// Shared by all tasks of a run.
#[derive(Debug)]
pub struct Control {
    is_measuring: AtomicBool,
    is_stopped: AtomicBool,
    opened: watch::Sender<Option<Moment>>,
    ends: watch::Sender<Option<Ends>>,
}

/// By partition, the offset behind the last record to be read.
pub type Ends = Arc<[u64]>;

impl Control {
    pub fn new() -> Arc<Control> {
        Arc::new(Control {
            is_measuring: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
            opened: watch::Sender::new(None),
            ends: watch::Sender::new(None),
        })
    }

    /// Producers start, all at the same moment.
    pub fn open(&self) {
        self.opened.send_replace(Some(Moment::now()));
    }

    /// Waits for that moment and returns it.
    pub async fn opened(&self) -> Moment {
        let mut opened = self.opened.subscribe();
        let moment = opened.wait_for(Option::is_some).await;
        moment.ok().and_then(|moment| *moment).expect("BUG: the sender lives in self")
    }

    /// The warm-up is over.
    pub fn begin(&self) {
        self.is_measuring.store(true, Ordering::Relaxed);
    }

    pub fn is_measuring(&self) -> bool {
        self.is_measuring.load(Ordering::Relaxed)
    }

    /// No further record is sent; a consumer that reads over and over ends.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    pub fn stop_if(&self, condition: bool) {
        if condition {
            self.stop();
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    /// Consumers end when they have read this far.
    pub fn read_up_to(&self, ends: Ends) {
        self.ends.send_replace(Some(ends));
    }

    pub fn ends(&self) -> watch::Receiver<Option<Ends>> {
        self.ends.subscribe()
    }
}
