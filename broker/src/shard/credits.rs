//! Memory that a shard has promised: to frames being received, to batches that are not durable yet.
//!
//!     limit ├─── received, not handled ───┼─── accepted, not durable ───┼── free ──┤
//!
//! Bytes are reserved before they are read. Who gets no credit waits, its socket is not read, and
//! TCP tells its peer (design D9). A single reservation above the limit is granted when nothing else
//! is out, so that no request can wait for ever. A quarter is not for what is being received: peers that do
//! not come to the end of their frames cannot keep the others from being heard.

use std::cell::Cell;

use storage::notify::Notify;

pub struct Credits {
    limit: usize,
    used: Cell<usize>,
    /// Of what is used, what frames take that are being received.
    receiving: Cell<usize>,
    returned: Notify,
}

impl Credits {
    pub fn new(limit: usize) -> Credits {
        Credits { limit, used: Cell::new(0), receiving: Cell::new(0), returned: Notify::default() }
    }

    pub fn used(&self) -> usize {
        self.used.get()
    }

    /// Takes credit without asking: the bytes are here already.
    pub fn take(&self, bytes: usize) {
        self.used.set(self.used.get() + bytes);
    }

    pub async fn reserve(&self, bytes: usize) {
        let fits = || self.used.get() == 0 || self.used.get() + bytes <= self.limit;
        self.returned.until(|| fits().then(|| self.take(bytes))).await;
    }

    /// The same for a frame that is being received.
    pub async fn reserve_to_receive(&self, bytes: usize) {
        let most = self.limit - self.limit / 4;
        let receiving = || self.receiving.get();
        let fits = || {
            (receiving() == 0 || receiving() + bytes <= most)
                && (self.used.get() == 0 || self.used.get() + bytes <= self.limit)
        };
        let take = || {
            self.receiving.set(receiving() + bytes);
            self.take(bytes);
        };
        self.returned.until(|| fits().then(take)).await;
    }

    pub fn give_back_received(&self, bytes: usize) {
        self.receiving.set(self.receiving.get() - bytes);
        self.give_back(bytes);
    }

    pub fn give_back(&self, bytes: usize) {
        assert!(bytes <= self.used.get(), "BUG: {bytes} bytes given back of {}", self.used.get());
        self.used.set(self.used.get() - bytes);
        if 0 < bytes {
            self.returned.notify();
        }
    }

    /// Waits until less than the limit is out.
    pub async fn wait_for_room(&self) {
        if self.used.get() < self.limit {
            return;
        }
        self.returned.until(|| (self.used.get() < self.limit).then_some(())).await;
    }
}
