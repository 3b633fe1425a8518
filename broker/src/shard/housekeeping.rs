//! What a shard does without being asked, beside its requests.
//!
//!     every second       free space ▸ logs fenced by a full disk ▸ retention ▸ checkpoint when due
//!     every 100 ms       flushes of topics with flush.ms or flush.messages, if there are any
//!     in the background  compaction, one log after another ▸ scrub, at its own slow pace

use std::rc::Rc;
use std::time::{Duration, Instant};

use protocol::model::LeaderEpoch;
use storage::disk::Disk;
use storage::log::{Fence, LogState};
use storage::recovery::RecoveryOptions;
use storage::store::{CompactError, Scrubber};

use super::{HOUSEKEEPING_INTERVAL, Shard, wall_clock};
use crate::metrics::count;
use crate::runtime;

/// What a start after a crash may have to read of active segments: 0.2 s at the disk's 1.7 GB/s.
const UNINDEXED_BYTES_MAX: u64 = 256 << 20;

/// How often topics are looked at that are flushed by time.
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);

pub fn begin(shard: &Rc<Shard>) {
    runtime::spawn(keep_house(shard.clone()));
    runtime::spawn(flush_lazy_logs(shard.clone()));
    runtime::spawn_background(compact(shard.clone()));
    if 0 < shard.config.scrub_bytes_per_s {
        runtime::spawn_background(scrub(shard.clone()));
    }
}

async fn flush_lazy_logs(shard: Rc<Shard>) {
    while !shard.is_stopping() {
        let lazy = shard.store.has_lazy_logs();
        runtime::sleep(if lazy { FLUSH_INTERVAL } else { HOUSEKEEPING_INTERVAL }).await;
        shard.store.flush_due(&*shard).await;
    }
}

async fn compact(shard: Rc<Shard>) {
    while !shard.is_stopping() {
        let compacted = shard.store.compact_next(&*shard).await.unwrap_or_else(|(log, error)| {
            if matches!(error, CompactError::Closed) {
                return false; // the shard stops, or the topic is gone
            }
            tracing::warn!(%log, %error, "cannot compact a log; it is tried again");
            false
        });
        if !compacted {
            runtime::sleep(HOUSEKEEPING_INTERVAL).await;
        }
    }
}

async fn scrub(shard: Rc<Shard>) {
    let mut scrubber = Scrubber::default();
    let mut begun = Instant::now();
    while !shard.is_stopping() {
        let passes = shard.store.counters.scrub_passes.get();
        let read = scrubber.step(&shard.store).await;
        let mut pause = Duration::from_secs_f64(read as f64 / shard.config.scrub_bytes_per_s as f64);
        if passes != shard.store.counters.scrub_passes.get() {
            pause = shard.config.scrub_interval.saturating_sub(begun.elapsed());
            begun = Instant::now() + pause;
        }
        runtime::sleep(pause.max(Duration::from_millis(1))).await;
    }
}

async fn keep_house(shard: Rc<Shard>) {
    let mut checkpointed = (Instant::now(), shard.store.counters.commits.get());
    while !shard.is_stopping() {
        runtime::sleep(HOUSEKEEPING_INTERVAL).await;
        if shard.is_stopping() {
            return;
        }
        check_free_space(&shard);
        end_connections_of_the_gone(&shard);
        shard.store.forget_old_reads();
        reopen_after_full_disk(&shard).await;
        if let Err(error) = shard.store.keep_house().await {
            tracing::warn!(%error, "cannot delete what has expired; it is tried again");
        }
        let commits = shard.store.counters.commits.get();
        let (last, seen) = checkpointed;
        if seen != commits && shard.config.checkpoint_interval <= last.elapsed() {
            shard.store.index_active_segments(UNINDEXED_BYTES_MAX);
            if let Err(error) = shard.store.write_checkpoint().await {
                tracing::warn!(%error, "cannot write the checkpoint");
            }
            checkpointed = (Instant::now(), commits);
        }
    }
}

/// Ends connections whose peers are waited for in vain.
fn end_connections_of_the_gone(shard: &Shard) {
    let (now, is_tight) = (Instant::now(), shard.credits.is_tight());
    shard.served.borrow_mut().retain(|connection| {
        let Some(connection) = connection.upgrade().filter(|connection| !connection.is_closed()) else {
            return false;
        };
        let is_overdue = connection.is_overdue(now, is_tight);
        if is_overdue {
            count(&shard.counters.overdue_connections, 1);
            connection.close();
        }
        !is_overdue
    });
    shard.end_polls_of_the_gone();
}

pub fn check_free_space(shard: &Shard) {
    shard.unasked_bytes.set(0);
    match shard.store.disk().free_bytes() {
        Ok(free) => {
            let full = free < shard.config.free_bytes_min;
            if full != shard.disk_full.replace(full) {
                match full {
                    true => {
                        tracing::error!(free, "disk nearly full: produce is refused, fetch and delete work")
                    }
                    false => tracing::info!(free, "there is room on the disk again: produce is taken"),
                }
            }
        }
        Err(error) => tracing::warn!(%error, "cannot ask for free space"),
    }
}

/// Logs that a full disk had fenced are read again, from what is on disk, once there is room.
async fn reopen_after_full_disk(shard: &Rc<Shard>) {
    if shard.disk_full.get() {
        return;
    }
    for log in shard.store.logs() {
        let full = log.read(|log| matches!(log.state(), LogState::Fenced(Fence::DiskFull(_))));
        let Some(partition) = shard.partition(log.id()).filter(|_| full) else { continue };
        let id = log.id();
        drop(log);
        let topic = partition.topic();
        let config = topic.config().log_config();
        let options = RecoveryOptions::new(config, LeaderEpoch::FIRST, wall_clock());
        match shard.store.reopen(id, options).await {
            Ok(Some(log)) => {
                shard.add_partition(id, log, topic);
                // A view may have come meanwhile.
                let view = shard.view();
                if let (Some(partition), Some(topic)) = (shard.partition(id), view.topic_by_id(id.topic)) {
                    partition.reconfigure(&shard.store, topic.clone());
                }
                tracing::info!(log = %id, "a partition that a full disk had stopped takes records again")
            }
            Ok(None) => {} // its topic was deleted
            Err(error) => {
                tracing::error!(log = %id, %error, "cannot reopen a partition after the disk was full; it is tried again")
            }
        }
    }
}
