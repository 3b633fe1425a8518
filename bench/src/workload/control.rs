//! What the tasks of a run are told: when to count, when to stop, where to stop reading.
//!
//!     open ── warm-up ── begin ─────────────── stop ── drained ── ends known ── consumers are through
//!     producers start    their quotas count    no more records    consumers: up to here

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::watch;

use crate::clock::Moment;

/// Shared by all tasks of a run, or by those of one topic of it.
#[derive(Debug)]
pub struct Control {
    load: Arc<Load>,
    received: AtomicU64,
    ends: watch::Sender<Option<Ends>>,
}

/// What all topics of a run have in common.
#[derive(Debug)]
struct Load {
    is_measuring: AtomicBool,
    is_stopped: AtomicBool,
    opened: watch::Sender<Option<Moment>>,
}

/// By partition, the offset behind the last record to be read.
pub type Ends = Arc<[u64]>;

impl Control {
    pub fn new() -> Arc<Control> {
        Control::of(Arc::new(Load {
            is_measuring: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
            opened: watch::Sender::new(None),
        }))
    }

    /// For another topic, which is opened, begun and stopped with this one and has ends of its own.
    pub fn sibling(&self) -> Arc<Control> {
        Control::of(Arc::clone(&self.load))
    }

    fn of(load: Arc<Load>) -> Arc<Control> {
        Arc::new(Control { load, received: AtomicU64::new(0), ends: watch::Sender::new(None) })
    }

    /// Producers start, all at the same moment.
    pub fn open(&self) {
        self.load.opened.send_replace(Some(Moment::now()));
    }

    /// Waits for that moment and returns it.
    pub async fn opened(&self) -> Moment {
        let mut opened = self.load.opened.subscribe();
        let moment = opened.wait_for(Option::is_some).await;
        moment.ok().and_then(|moment| *moment).expect("BUG: the sender lives in self")
    }

    /// The warm-up is over.
    pub fn begin(&self) {
        self.load.is_measuring.store(true, Ordering::Relaxed);
    }

    pub fn is_measuring(&self) -> bool {
        self.load.is_measuring.load(Ordering::Relaxed)
    }

    /// No further record is sent; a consumer that reads over and over ends.
    pub fn stop(&self) {
        self.load.is_stopped.store(true, Ordering::Relaxed);
    }

    pub fn stop_if(&self, condition: bool) {
        if condition {
            self.stop();
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.load.is_stopped.load(Ordering::Relaxed)
    }

    /// Consumers got so many more records.
    pub fn received(&self, records: u64) {
        self.received.fetch_add(records, Ordering::Relaxed);
    }

    /// All records that consumers got so far.
    pub fn received_so_far(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Consumers end when they have read this far.
    pub fn read_up_to(&self, ends: Ends) {
        self.ends.send_replace(Some(ends));
    }

    pub fn ends(&self) -> watch::Receiver<Option<Ends>> {
        self.ends.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siblings_stop_together_and_end_apart() {
        let one = Control::new();
        let other = one.sibling();
        one.begin();
        other.stop();
        assert!(other.is_measuring() && one.is_stopped());
        one.read_up_to(vec![7].into());
        one.received(3);
        assert!(one.ends().borrow().is_some() && other.ends().borrow().is_none());
        assert_eq!((one.received_so_far(), other.received_so_far()), (3, 0));
    }
}
