//! A shard takes over a view: what is new is opened, what has changed is told so, what is gone is let go.
//!
//!     view 7 { a, b  }        a  the same as before: not looked at
//!     view 8 { a, b', c }     b' settings or partitions: open logs reconfigured, new ones opened
//!                             c  directories made, logs opened
//!
//! One view after another. The control thread is told when clients can have what the view says, and
//! again when the files of what it took away are deleted, in the background.

use std::rc::Rc;
use std::sync::Arc;

use async_channel::Receiver;
use storage::id::LogId;
use storage::recovery::create_log_dirs;
use storage::store::OpenLog;

use super::Shard;
use super::tasks::{open_partitions, own_partitions};
use crate::control::{ClusterView, ControlMessage, TopicView};
use crate::metrics::count;
use crate::runtime::{self, ShardDisk};

/// Makes the shard's partitions those of each view, one view after another.
pub(super) async fn apply_views(shard: Rc<Shard>, views: Receiver<Arc<ClusterView>>) {
    let mut is_complete = true;
    while let Ok(view) = views.recv().await {
        let before = shard.view();
        // What could not be opened is tried again with the next view, whatever that changes.
        let is_new = |topic: &Arc<TopicView>| !is_complete || !is_same(&before, topic);
        let own = own_partitions(&shard, &view, is_new);
        let (open, new): (Vec<_>, Vec<_>) =
            own.into_iter().partition(|(id, _)| shard.partition(*id).is_some());
        is_complete = open_new(&shard, new).await;
        shard.view.replace(view.clone());
        shard.forget_offsets_of_deleted(&before, &view);
        reconfigure(&shard, open).await;
        let detached = detach_gone(&shard, &view);
        count(&shard.counters.views, 1);
        shard.send_to_control(ControlMessage::Applied { version: view.version });
        runtime::spawn_background(free_files(shard.clone(), detached, view.version));
    }
}

fn is_same(before: &ClusterView, topic: &Arc<TopicView>) -> bool {
    before.topic_by_id(topic.id()).is_some_and(|known| Arc::ptr_eq(known, topic))
}

/// Whether all could be opened. Together costs least; where that fails, one topic does not keep the others
/// from being there.
async fn open_new(shard: &Rc<Shard>, new: Vec<(LogId, Arc<TopicView>)>) -> bool {
    if create_and_open(shard, new.clone()).await.is_ok() {
        return true;
    }
    let mut all = true;
    for topic in new.chunk_by(|(one, _), (other, _)| one.topic == other.topic) {
        let closed = topic.iter().filter(|(id, _)| shard.partition(*id).is_none()).cloned().collect();
        if let Err(error) = create_and_open(shard, closed).await {
            let name = topic.first().map(|(_, topic)| topic.name().as_str()).unwrap_or_default();
            tracing::error!(topic = name, %error, "a topic cannot be opened, and is not available on this shard");
            all = false;
        }
    }
    all
}

async fn create_and_open(shard: &Rc<Shard>, new: Vec<(LogId, Arc<TopicView>)>) -> std::io::Result<()> {
    let ids: Vec<LogId> = new.iter().map(|(id, _)| *id).collect();
    create_log_dirs(shard.store.disk(), &ids).await?;
    open_partitions(shard, new).await
}

/// Has open partitions go by what their topics are told now.
async fn reconfigure(shard: &Shard, open: Vec<(LogId, Arc<TopicView>)>) {
    let mut flush = false;
    for (id, topic) in open {
        if let Some(partition) = shard.partition(id) {
            partition.reconfigure(&shard.store, topic);
            flush |= partition.is_changing_over();
        }
    }
    if flush {
        shard.store.flush_due(shard).await; // a log that is to be strict takes nothing meanwhile
    }
}

/// Takes the partitions away whose topics are gone; their files are still there.
fn detach_gone(shard: &Shard, view: &ClusterView) -> Vec<Rc<OpenLog<ShardDisk>>> {
    let known = |id: &LogId| view.topic_by_id(id.topic).is_some();
    let gone: Vec<LogId> = shard.partitions.borrow().keys().filter(|id| !known(id)).copied().collect();
    let mut detached = Vec::new();
    for id in gone {
        detached.extend(shard.store.detach(id, shard));
        shard.partitions.borrow_mut().remove(&id);
    }
    detached
}

/// Deletes what was taken away by a view. What cannot be deleted the control thread finds in the topic's
/// directory, and a crash half-way leaves the rest to the next start.
async fn free_files(shard: Rc<Shard>, logs: Vec<Rc<OpenLog<ShardDisk>>>, version: u64) {
    for log in logs {
        let id = log.id();
        if let Err(error) = shard.store.delete(log).await {
            tracing::warn!(log = %id, %error, "cannot delete a partition's files");
        }
    }
    shard.send_to_control(ControlMessage::Freed { version });
}
