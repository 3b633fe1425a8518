//! The tasks of a shard, from its first file to its last.
//!
//!     recover own partitions ─▶ ready ─▶ Serve ─▶ accept, messages, timers, housekeeping
//!                                                  └ Stop ─▶ drain ─▶ clean mark ─▶ end

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use protocol::model::{LeaderEpoch, PartitionIndex, ShardId};
use storage::checkpoint::Checkpoint;
use storage::id::LogId;
use storage::mutants::Mutation;
use storage::recovery::{RecoveryOptions, recover};
use storage::store::{Events, MAINTENANCE_TASKS, ROUNDS_IN_FLIGHT, Store, StoreOptions};

use super::complaints::Complaints;
use super::lookups::Lookups;
use super::service::ShardService;
use super::views::apply_views;
use super::{
    Credits, Fetches, Groups, Place, Requests, Shard, ShardMessage, Unpacking, add_connection, checkpointed,
    forwarding, groups, housekeeping, remove_connection, wall_clock,
};
use crate::config::Config;
use crate::connection::{Connection, serve, serve_kafka};
use crate::control::{ClusterView, ControlMessage, TopicView};
use crate::handlers;
use crate::metrics::{ShardCounters, count};
use crate::runtime::net::{Listener, Socket};
use crate::runtime::pulse::Pulse;
use crate::runtime::{self, ShardDisk};

/// 32 single syncs take some 6 ms here, as long as the one of the filesystem takes on a busy disk.
const WHOLE_SYNC_FROM: usize = 32;

/// Partitions that are recovered side by side.
const RECOVERIES_AT_ONCE: usize = 64;

/// How often a long recovery says how far it has come.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// How long a stopping shard waits for its clients to take their replies.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Everything a shard is started with.
pub struct ShardStart {
    pub id: ShardId,
    pub config: Arc<Config>,
    pub data_dir: PathBuf,
    pub view: Arc<ClusterView>,
    pub checkpoint: Arc<Checkpoint>,
    pub listener: OwnedFd,
    /// For Kafka's clients.
    pub kafka_listener: Option<OwnedFd>,
    pub inbox: Receiver<ShardMessage>,
    pub peers: Vec<Sender<ShardMessage>>,
    pub control: Sender<ControlMessage>,
    pub connections: Arc<AtomicUsize>,
    /// Told once: ready, or why not.
    pub ready: std::sync::mpsc::Sender<Result<ShardId, (ShardId, String)>>,
    /// Told at the end of an orderly stop.
    pub stopped: std::sync::mpsc::Sender<Result<(), String>>,
}

thread_local! {
    /// The shard of this thread, for tasks that are begun by code that has only a reference.
    static THIS: RefCell<Weak<Shard>> = const { RefCell::new(Weak::new()) };
}

impl Shard {
    /// The shard itself, counted: there is one to a thread.
    pub(super) fn this(&self) -> Rc<Shard> {
        THIS.with(|this| this.borrow().upgrade()).expect("BUG: a shard's thread has its shard")
    }
}

/// The main task of a shard's thread.
pub async fn run(start: ShardStart, pulse: Pulse) {
    let ready = start.ready.clone();
    let stopped = start.stopped.clone();
    let (id, inbox, listeners) = (start.id, start.inbox.clone(), clone_listeners(&start));
    runtime::spawn(feel_pulse(pulse));
    let opened = match listeners {
        Ok(listeners) => open(start).await.map(|shard| (shard, listeners)),
        Err(error) => Err(error.to_string()),
    };
    let (shard, mut listeners) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let _ = ready.send(Err((id, error))); // the starter has gone: nobody to tell
            return;
        }
    };
    spawn_store_tasks(&shard);
    let (views, view_inbox) = async_channel::unbounded();
    runtime::spawn(apply_views(shard.clone(), view_inbox));
    runtime::spawn(expire_fetches(shard.clone()));
    runtime::spawn(groups::run_clock(shard.clone()));
    housekeeping::begin(&shard);
    let _ = ready.send(Ok(id)); // as above
    drop(ready); // or the starter would wait for a shard that ended without a word
    while let Ok(message) = inbox.recv().await {
        match message {
            ShardMessage::Serve => {
                for (socket, speaks) in listeners.drain(..) {
                    runtime::spawn(accept(shard.clone(), Listener::new(socket), speaks));
                }
            }
            ShardMessage::View(view) => {
                let _ = views.try_send(view); // the view task lives as long as this one
            }
            ShardMessage::Stop => break,
            message => {
                handle(&shard, message);
                runtime::yield_if_needed().await; // another shard may have many
            }
        }
    }
    let result = stop(&shard, &inbox).await;
    let _ = stopped.send(result); // as above
}

/// Which protocol clients speak, by the port they came to.
#[derive(Clone, Copy)]
enum Speaks {
    Native,
    Kafka,
}

fn clone_listeners(start: &ShardStart) -> std::io::Result<Vec<(OwnedFd, Speaks)>> {
    let mut listeners = vec![(start.listener.try_clone()?, Speaks::Native)];
    if let Some(listener) = &start.kafka_listener {
        listeners.push((listener.try_clone()?, Speaks::Kafka));
    }
    Ok(listeners)
}

/// Is woken from outside now and then, and notes how late; see [`crate::runtime::pulse`].
async fn feel_pulse(pulse: Pulse) {
    while let Some(sent) = pulse.feel().await {
        // None while partitions are recovered.
        if let Some(shard) = THIS.with(|this| this.borrow().upgrade()) {
            shard.counters.note_pulse(sent.elapsed());
        }
    }
}

async fn open(start: ShardStart) -> Result<Rc<Shard>, String> {
    let disk =
        ShardDisk::open(&start.data_dir).await.map_err(|error| format!("the data directory: {error}"))?;
    let options = StoreOptions {
        cache_bytes: start.config.cache_bytes,
        files_max: start.config.files_max,
        whole_sync_from: WHOLE_SYNC_FROM,
        compaction_bytes: start.config.compaction_bytes,
        shard: start.id.get(),
        clock: Instant::now,
        wall_clock,
        mutation: Mutation::default(),
    };
    let shard = Rc::new(Shard {
        id: start.id,
        store: Store::new(disk, options),
        counters: ShardCounters::default(),
        view: RefCell::new(start.view.clone()),
        partitions: RefCell::new(HashMap::new()),
        requests: RefCell::new(Requests::default()),
        fetches: Fetches::default(),
        lookups: Lookups::default(),
        groups: Groups::default(),
        peers: start.peers,
        control: start.control,
        touched: RefCell::default(),
        credits: Credits::new(start.config.request_bytes),
        connections: start.connections,
        served: RefCell::default(),
        complaints: Complaints::default(),
        disk_full: Cell::new(false),
        unasked_bytes: Cell::new(0),
        stopping: Cell::new(false),
        checkpoint: start.checkpoint,
        config: start.config,
    });
    THIS.with(|this| *this.borrow_mut() = Rc::downgrade(&shard));
    housekeeping::check_free_space(&shard);
    let begun = Instant::now();
    let own = own_partitions(&shard, &start.view, |_| true);
    open_partitions(&shard, own).await.map_err(|error| format!("recovery: {error}"))?;
    // From here on records may be written: the mark of the last orderly stop is withdrawn first.
    shard.store.write_checkpoint().await.map_err(|error| format!("the checkpoint: {error}"))?;
    let partitions = shard.partitions.borrow().len();
    tracing::info!(shard = %shard.id, partitions, took = ?begun.elapsed(), "recovered");
    Ok(shard)
}

/// Partitions of some topics of a view that are this shard's.
pub(super) fn own_partitions(
    shard: &Shard,
    view: &ClusterView,
    is_wanted: impl Fn(&Arc<TopicView>) -> bool,
) -> Vec<(LogId, Arc<TopicView>)> {
    let mut own = Vec::new();
    for topic in view.topics().filter(|topic| is_wanted(topic)) {
        for partition in (0..topic.partitions()).map(PartitionIndex::new) {
            if view.owner(topic, partition) == shard.id {
                own.push((LogId { topic: topic.id(), partition }, topic.clone()));
            }
        }
    }
    own
}

pub(super) async fn open_partitions(
    shard: &Rc<Shard>,
    wanted: Vec<(LogId, Arc<TopicView>)>,
) -> std::io::Result<()> {
    let (total, mut told) = (wanted.len(), Instant::now());
    for (done, group) in wanted.chunks(RECOVERIES_AT_ONCE).enumerate() {
        if PROGRESS_INTERVAL < told.elapsed() {
            told = Instant::now();
            tracing::info!(shard = %shard.id, partitions = done * RECOVERIES_AT_ONCE, of = total, "recovering");
        }
        let openings: Vec<_> = group
            .iter()
            .map(|(id, topic)| runtime::start(open_partition(shard.clone(), *id, topic.clone())))
            .collect();
        for opening in openings {
            opening.await?;
        }
    }
    Ok(())
}

async fn open_partition(shard: Rc<Shard>, id: LogId, topic: Arc<TopicView>) -> std::io::Result<()> {
    let config = topic.config().log_config();
    let mut options = RecoveryOptions::new(config, LeaderEpoch::FIRST, wall_clock());
    options.checkpoint = checkpointed(&shard.checkpoint, id);
    recover_partition(&shard, id, topic, options).await
}

async fn recover_partition(
    shard: &Shard,
    id: LogId,
    topic: Arc<TopicView>,
    options: RecoveryOptions,
) -> std::io::Result<()> {
    let recovered = recover(shard.store.disk(), id, &options).await?;
    let report = &recovered.report;
    if 0 < report.bytes_read {
        tracing::info!(
            topic = %topic.name(), partition = %id.partition, read = report.bytes_read, torn = report.torn_bytes,
            end = %recovered.log.high_watermark(), "read a partition that was not closed in order"
        );
    }
    let log = shard.store.add(id, recovered.log, options.checkpoint);
    shard.add_partition(id, log, topic);
    Ok(())
}

fn spawn_store_tasks(shard: &Rc<Shard>) {
    for _ in 0..ROUNDS_IN_FLIGHT {
        let shard = shard.clone();
        runtime::spawn(async move { shard.store.run_lane(&*shard).await });
    }
    for _ in 0..MAINTENANCE_TASKS {
        let shard = shard.clone();
        runtime::spawn(async move { shard.store.run_maintenance(&*shard).await });
    }
}

async fn accept(shard: Rc<Shard>, listener: Listener, speaks: Speaks) {
    while !shard.is_stopping() {
        match listener.accept().await {
            Ok(socket) => {
                let open = add_connection(&shard.connections);
                if shard.config.connections_max < open {
                    remove_connection(&shard.connections);
                    shard.complaints.connection_refused(open, socket.peer());
                    continue;
                }
                begin_connection(&shard, socket, speaks, Vec::new());
            }
            Err(error) => {
                // Out of descriptors, most likely: give connections time to end.
                tracing::warn!(%error, "cannot accept a connection");
                runtime::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn begin_connection(shard: &Rc<Shard>, socket: Socket, speaks: Speaks, received: Vec<u8>) {
    count(&shard.counters.connections, 1);
    count(&shard.counters.connections_now, 1);
    let connection = Connection::new(socket);
    shard.served.borrow_mut().push(Rc::downgrade(&connection));
    let (shard, service) = (shard.clone(), Rc::new(ShardService(shard.clone())));
    let writer = connection.clone();
    runtime::spawn(async move { writer.write_waiting().await });
    runtime::spawn(async move {
        match speaks {
            Speaks::Native => serve(service, connection, received).await,
            Speaks::Kafka => serve_kafka(service, connection).await,
        }
        remove_connection(&shard.connections);
        shard.counters.connections_now.set(shard.counters.connections_now.get() - 1);
    });
}

/// Does what another shard or the control thread asks for.
fn handle(shard: &Rc<Shard>, message: ShardMessage) {
    match message {
        ShardMessage::Adopt { socket, received } => {
            add_connection(&shard.connections);
            begin_connection(shard, Socket::adopt(socket), Speaks::Native, received);
        }
        ShardMessage::Produce { origin, topic, partition, records } => match shard.locate(topic, partition) {
            Place::Here(partition) => shard.append(&partition, &records, origin, &mut Unpacking::default()),
            place => shard.refuse(origin, super::fetching::place_error(&place)),
        },
        ShardMessage::ProduceDone { origin, result } => shard.answer_produce(origin, result),
        ShardMessage::Fetch { origin, entries, params, deadline } => {
            shard.begin_fetch(origin, entries, params, deadline);
        }
        ShardMessage::MayRead { origin } => shard.allow_to_read(origin),
        ShardMessage::Read { origin } => shard.read_for_another(origin),
        ShardMessage::FetchFinish { origin } => shard.finish_fetch_early(origin),
        ShardMessage::FetchDone { origin, results, records } => {
            shard.take_fetched(origin, forwarding::unpack(shard, results, records));
        }
        ShardMessage::Returned(loan) => forwarding::end(shard, &loan),
        ShardMessage::ListOffsets { origin, entry } => handlers::list_offset(shard, origin, entry),
        ShardMessage::ListOffsetsDone { origin, result } => handlers::take_listed(shard, origin, result),
        ShardMessage::DeleteRecords { origin, entry } => handlers::delete_records(shard, origin, entry),
        ShardMessage::DeleteRecordsDone { origin, result } => handlers::take_deleted(shard, origin, result),
        ShardMessage::Group { origin, ask } => shard.ask_group(origin, ask),
        ShardMessage::GroupDone { origin, reply } => handlers::take_group_reply(shard, origin, reply),
        ShardMessage::ListGroups { origin } => shard.answer_group(origin, shard.list_groups()),
        ShardMessage::LogSizes { origin } => {
            shard.send(origin.shard, ShardMessage::LogSizesDone { origin, sizes: shard.log_sizes() });
        }
        ShardMessage::LogSizesDone { origin, sizes } => shard.take_log_sizes(origin, sizes),
        ShardMessage::Stats { origin } => {
            shard.send(origin.shard, ShardMessage::StatsDone { origin, stats: shard.stats() });
        }
        ShardMessage::StatsDone { origin, stats } => handlers::take_stats(shard, origin, stats),
        ShardMessage::ControlDone { origin, reply } => handlers::take_control_reply(shard, origin, reply),
        ShardMessage::View(_) | ShardMessage::Serve | ShardMessage::Stop => {
            unreachable!("BUG: the main task takes these itself")
        }
    }
    shard.flush_touched();
}

async fn expire_fetches(shard: Rc<Shard>) {
    loop {
        let seen = shard.fetches.timers_changed.version();
        let next = shard.fetches.timers.borrow().next();
        let changed = shard.fetches.timers_changed.changed(seen);
        match next {
            None => changed.await,
            Some(deadline) => runtime::either(changed, runtime::sleep_until(deadline)).await,
        }
        shard.expire_fetches(Instant::now());
    }
}

/// Finishes what was accepted and leaves the mark of an orderly stop.
async fn stop(shard: &Rc<Shard>, inbox: &Receiver<ShardMessage>) -> Result<(), String> {
    shard.stopping.set(true);
    shard.end_all_waits();
    shard.close_all_seats();
    shard.store.stop().await;
    shard.round_released();
    // Answers of other shards may still be on their way.
    let begun = Instant::now();
    while !shard.requests.borrow().is_empty() && begun.elapsed() < STOP_GRACE {
        match runtime::with_timeout(Duration::from_millis(50), inbox.recv()).await {
            Some(Ok(ShardMessage::View(_) | ShardMessage::Serve | ShardMessage::Stop)) => {}
            Some(Ok(message)) => handle(shard, message),
            Some(Err(_)) => break,
            None => shard.flush_touched(),
        }
    }
    runtime::sleep(Duration::from_millis(10)).await; // lets writer tasks empty their sockets
    // Other shards wait for the refusal of what they had sent here; what was lent is freed here or never.
    while let Ok(message) = inbox.try_recv() {
        if !matches!(message, ShardMessage::View(_) | ShardMessage::Serve | ShardMessage::Stop) {
            handle(shard, message);
        }
    }
    let marked = shard.store.write_clean_checkpoint().await;
    shard.store.close_files().await;
    marked.map_err(|error| format!("the clean mark: {error}"))
}
