//! Clients that come and go beside the load: connect, ask where the topic ends, drop everything.
//!
//!     connect ▸ ask ▸ drop ─┐
//!        ▲                  │      --churn of these side by side; how often they came stands in the
//!        └────── 1 ms ──────┘      broker's counter of connections, and here
//!
//! A client's end is a closed socket with nothing said before, as when its process is killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ringlog_client::{Client, OffsetSpec, PartitionIndex};
use tokio::task::JoinSet;

/// Clients that go on coming until this is dropped.
pub struct Churn {
    _tasks: JoinSet<()>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    served: AtomicU64,
    failed: AtomicU64,
}

impl Churn {
    pub fn start(clients: usize, bootstrap: &str, topic: &str) -> Churn {
        let counts = Arc::new(Counts::default());
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let (bootstrap, topic) = (bootstrap.to_owned(), topic.to_owned());
            tasks.spawn(come_and_go(bootstrap, topic, Arc::clone(&counts)));
        }
        Churn { _tasks: tasks, counts }
    }

    /// How many were answered, and how many were not.
    pub fn counts(&self) -> (u64, u64) {
        (self.counts.served.load(Ordering::Relaxed), self.counts.failed.load(Ordering::Relaxed))
    }
}

async fn come_and_go(bootstrap: String, topic: String, counts: Arc<Counts>) {
    loop {
        let count = match ask(&bootstrap, &topic).await {
            Ok(()) => &counts.served,
            Err(_) => &counts.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ask(bootstrap: &str, topic: &str) -> anyhow::Result<()> {
    let client = Client::connect(bootstrap).await?;
    client.admin().list_offsets(topic, PartitionIndex::new(0), OffsetSpec::Latest).await?;
    Ok(())
}

const PAUSE: Duration = Duration::from_millis(1);
