//! A shard: one core, its partitions, its connections, and everything that happens to them.
//!
//!     accept task ─▶ connections ─▶ handlers ─▶ partitions ─▶ store ─ 2 commit lanes, maintenance
//!     message task ◀─ other shards, control thread
//!     view task ─ opens and removes partitions        timer task ─ long polls that are over
//!     housekeeping task, once a second ─ free space, checkpoints, retention, logs fenced by a full disk
//!     flush, compaction and scrub tasks (housekeeping.rs)
//!
//! All of it is one thread: state is in cells, a borrow never crosses an await, and nothing here is
//! shared with another shard. Replies are queued on their connection and leave together when a commit
//! round is released or a reader runs dry.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use async_channel::Sender;
use protocol::api::{ProduceResult, ShardStats};
use protocol::model::{ErrorCode, Offset, PartitionIndex, ShardId, Timestamp, TopicId};
use storage::checkpoint::Checkpoint;
use storage::id::LogId;
use storage::log::{DurablePoint, Fence, LogState};
use storage::store::{Events, OpenLog, Store};

mod message;
pub use message::{GroupAsk, GroupCall, KafkaCall, LogSize, Origin, RequestKey, ShardMessage};

mod requests;
pub use requests::{Asked, FetchEntries, FetchPart, Fetched, Pieces, Request, Requests, Waiting};

mod intake;
pub use intake::Unpacking;

mod partition;
use partition::Appended;
pub use partition::Partition;

mod credits;
use credits::Credits;

mod forwarding;

mod lookups;
pub use lookups::Lookup;
use lookups::Lookups;

mod complaints;
use complaints::Complaints;

mod timers;

mod fetching;
pub use fetching::{FetchBudget, Fetches, possible_bytes};

mod groups;
use groups::Groups;
pub use groups::OFFSETS_TOPIC;

mod service;

mod housekeeping;

mod views;

mod tasks;
pub use tasks::{ShardStart, run};

use crate::config::Config;
use crate::connection::Connection;
use crate::control::{ClusterView, ControlMessage, TopicView};
use crate::metrics::{ShardCounters, count};
use crate::runtime::ShardDisk;

/// Where a partition of a request is.
pub enum Place {
    Here(Rc<Partition>),
    Elsewhere(ShardId),
    /// The topic is known and has no such partition, or its partition is not open here yet.
    NoPartition,
    NoTopic,
}

pub struct Shard {
    pub id: ShardId,
    pub config: Arc<Config>,
    pub store: Store<ShardDisk>,
    pub counters: ShardCounters,
    view: RefCell<Arc<ClusterView>>,
    partitions: RefCell<HashMap<LogId, Rc<Partition>>>,
    pub requests: RefCell<Requests>,
    pub fetches: Fetches,
    pub lookups: Lookups,
    groups: Groups,
    peers: Vec<Sender<ShardMessage>>,
    control: Sender<ControlMessage>,
    /// Connections with replies to send.
    touched: RefCell<Vec<Rc<Connection>>>,
    credits: Credits,
    /// Connections of all shards together.
    connections: Arc<AtomicUsize>,
    /// Those of this shard, and some that have ended.
    served: RefCell<Vec<Weak<Connection>>>,
    complaints: Complaints,
    /// Whether produce is refused because the disk is nearly full.
    disk_full: Cell<bool>,
    /// Bytes taken since free space was last asked for.
    unasked_bytes: Cell<u64>,
    stopping: Cell<bool>,
    checkpoint: Arc<Checkpoint>,
}

impl Shard {
    pub fn view(&self) -> Arc<ClusterView> {
        self.view.borrow().clone()
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    pub fn is_disk_full(&self) -> bool {
        self.disk_full.get()
    }

    pub fn locate(&self, topic: TopicId, partition: PartitionIndex) -> Place {
        let id = LogId { topic, partition };
        if let Some(partition) = self.partitions.borrow().get(&id) {
            return Place::Here(partition.clone());
        }
        let view = self.view.borrow();
        match view.topic_by_id(topic) {
            None => Place::NoTopic,
            Some(found) if found.partitions() <= partition.get() => Place::NoPartition,
            Some(found) => match view.owner(found, partition) {
                owner if owner == self.id => Place::NoPartition,
                owner => Place::Elsewhere(owner),
            },
        }
    }

    pub fn partition(&self, id: LogId) -> Option<Rc<Partition>> {
        self.partitions.borrow().get(&id).cloned()
    }

    fn add_partition(&self, id: LogId, log: Rc<OpenLog<ShardDisk>>, topic: Arc<TopicView>) {
        let partition = Rc::new(Partition::new(log, topic));
        let before = self.partitions.borrow_mut().insert(id, partition.clone());
        if let Some(before) = before {
            partition.take_over_fetches(&before);
            self.wake_fetches(&partition);
        }
        if partition.is_internal() {
            self.open_seat(id.partition, partition);
        }
    }

    fn peer(&self, shard: ShardId) -> &Sender<ShardMessage> {
        self.peers.get(usize::from(shard.get())).expect("BUG: a shard that does not exist")
    }

    pub fn send(&self, to: ShardId, message: ShardMessage) {
        // A peer that has stopped answers nothing; its connections end with it.
        let _ = self.peer(to).try_send(message);
    }

    pub fn send_to_control(&self, message: ControlMessage) {
        let _ = self.control.try_send(message); // the control thread outlives the shards
    }

    /// Puts a connection on the list of those to flush.
    pub fn touch(&self, connection: &Rc<Connection>) {
        if connection.enlist() {
            self.touched.borrow_mut().push(connection.clone());
        }
    }

    /// Sends the replies that were queued since the last time, one send per connection.
    pub fn flush_touched(&self) {
        // A flush touches nobody, so the list can be taken; it is given back for its memory.
        let mut touched = std::mem::take(&mut *self.touched.borrow_mut());
        for connection in touched.drain(..) {
            connection.flush();
        }
        let mut list = self.touched.borrow_mut();
        if list.is_empty() {
            *list = touched;
        }
    }

    /// Answers one part of a request, here or on the shard that asked.
    pub fn answer_produce(&self, origin: Origin, result: ProduceResult) {
        if origin.shard != self.id {
            return self.send(origin.shard, ShardMessage::ProduceDone { origin, result });
        }
        self.complete(origin, |waiting| {
            let Waiting::Produce { results } = waiting else { panic!("BUG: not a produce") };
            *results.get_mut(origin.part as usize).expect("BUG: no such part") = result;
        });
    }

    /// Records the answer to a part of a request of this shard; the last one sends the reply.
    pub fn complete(&self, origin: Origin, answer: impl FnOnce(&mut Waiting)) {
        let done = self.requests.borrow_mut().complete(origin.request, answer);
        if let Some(request) = done {
            self.credits.give_back(request.promised);
            self.touch(&request.connection.clone());
            request.reply(self);
        }
    }

    /// Counts what another shard keeps for a request against this one, whose connection brought it: the
    /// other cannot stop reading from that.
    pub fn promise_until_answered(&self, request: RequestKey, bytes: usize) {
        if 0 < bytes {
            self.credits.take(bytes);
            self.requests.borrow_mut().get_mut(request).promised = bytes;
        }
    }

    /// Takes a record set of the broker's own; nobody waits for it by a request.
    fn append_own(&self, partition: &Partition, records: &[u8], now: Timestamp) -> Result<(), ErrorCode> {
        let unpacking = &mut Unpacking::default();
        if let Appended::Parked { bytes, .. } =
            partition.append(&self.store, records, now, None, unpacking)?
        {
            self.credits.take(bytes);
            self.ask_for_space_after(bytes as u64);
        }
        Ok(())
    }

    /// Takes a record set for a partition of this shard and promises an answer to `origin`.
    pub fn append(&self, partition: &Partition, records: &[u8], origin: Origin, unpacking: &mut Unpacking) {
        let refusal = match (self.is_stopping(), self.is_disk_full()) {
            // What clients write there would be taken for the broker's own.
            _ if partition.is_internal() => Err(ErrorCode::InvalidTopic),
            (true, _) => Err(ErrorCode::ShuttingDown),
            (_, true) => Err(ErrorCode::DiskFull),
            _ => Ok(()),
        };
        let now = wall_clock();
        let mut append = || partition.append(&self.store, records, now, Some(origin), unpacking);
        match refusal.and_then(|()| append()) {
            Ok(Appended::Parked { bytes, records }) => {
                self.credits.take(bytes);
                count(&self.counters.produced_bytes, bytes as u64);
                count(&self.counters.produced_records, records);
                self.ask_for_space_after(bytes as u64);
            }
            Ok(Appended::Known(result)) => self.answer_produce(origin, result),
            Err(error @ ErrorCode::UnknownProducerId) => {
                count(&self.counters.produce_errors, 1);
                // Kafka's own client sends the same again until it is told where the log begins.
                let log_start_offset = Some(partition.earliest());
                let result = ProduceResult { log_start_offset, ..ProduceResult::refused(error) };
                self.answer_produce(origin, result);
            }
            Err(error) => self.refuse(origin, error),
        }
    }

    /// A fast producer fills between two rounds of housekeeping what was to stay free, and then nothing
    /// can be written any more, the catalog's record of a deletion included.
    fn ask_for_space_after(&self, bytes: u64) {
        self.unasked_bytes.set(self.unasked_bytes.get() + bytes);
        if FREE_SPACE_ASK_BYTES <= self.unasked_bytes.get() {
            housekeeping::check_free_space(self);
        }
    }

    pub fn refuse(&self, origin: Origin, error: ErrorCode) {
        count(&self.counters.produce_errors, 1);
        self.answer_produce(origin, ProduceResult::refused(error));
    }

    fn partitions_in(&self, is: impl Fn(&LogState) -> bool) -> u64 {
        self.store.logs().iter().filter(|log| log.read(|log| is(log.state()))).count() as u64
    }

    /// What the logs of this shard hold.
    pub fn log_sizes(&self) -> Vec<LogSize> {
        let size =
            |log: Rc<OpenLog<ShardDisk>>| LogSize { log: log.id(), bytes: log.read(|log| log.bytes()) };
        self.store.logs().into_iter().map(size).collect()
    }

    /// A shard has told what its logs hold.
    pub fn take_log_sizes(&self, origin: Origin, more: Vec<LogSize>) {
        self.complete(origin, |waiting| {
            let Waiting::LogSizes { sizes } = waiting else { panic!("BUG: nobody asked for sizes") };
            sizes.extend(more);
        });
    }

    pub fn stats(&self) -> ShardStats {
        let mut counters = self.counters.list();
        counters.extend(self.store.counters.list());
        let more = [
            ("fenced_partitions_now", self.partitions_in(|state| matches!(state, LogState::Fenced(_)))),
            ("corrupt_partitions_now", self.partitions_in(|state| matches!(state, LogState::Corrupt { .. }))),
            ("open_files_now", self.store.open_files() as u64),
            ("cached_bytes_now", self.store.cached_bytes() as u64),
            ("promised_bytes_now", self.credits.used() as u64),
            ("waiting_fetches_now", self.fetches.waiting() as u64),
            ("partitions_now", self.partitions.borrow().len() as u64),
            ("disk_full_now", u64::from(self.disk_full.get())),
            ("cpu_us", crate::runtime::thread_cpu_time().as_micros() as u64),
        ];
        counters.extend(more.map(|(name, value)| (name.to_owned(), value)));
        ShardStats { shard: self.id, counters }
    }
}

impl Events<ShardDisk> for Shard {
    fn committed(&self, log: &Rc<OpenLog<ShardDisk>>, upto: Offset) {
        let Some(partition) = self.partition(log.id()) else { return };
        let mut bytes = 0;
        while let Some(settled) = partition.next_committed(upto) {
            bytes += settled.bytes;
            if let Some(origin) = settled.origin {
                count(&self.counters.round_requests, 1);
                self.answer_produce(origin, settled.result);
            }
        }
        self.credits.give_back(bytes);
        self.wake_fetches(&partition);
        if partition.is_internal() {
            self.release_group_replies(log.id().partition, upto);
        }
    }

    fn fenced(&self, log: &Rc<OpenLog<ShardDisk>>, fence: &Fence) {
        let Some(partition) = self.partition(log.id()) else { return };
        let mut bytes = 0;
        while let Some(settled) = partition.next_refused(fence) {
            bytes += settled.bytes;
            count(&self.counters.produce_errors, 1);
            if let Some(origin) = settled.origin {
                self.answer_produce(origin, settled.result);
            }
        }
        self.credits.give_back(bytes);
        self.wake_fetches(&partition);
        if partition.is_internal() {
            self.close_seat(log.id().partition, ErrorCode::CoordinatorNotAvailable);
        }
    }

    fn round_released(&self) {
        self.flush_touched();
    }
}

/// The time by which records are judged.
pub fn wall_clock() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Free space is asked for each time a shard has taken so much: a statvfs, some microseconds.
const FREE_SPACE_ASK_BYTES: u64 = 8 << 20;

/// How often the housekeeping task looks around.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(1);

/// A long poll ends after this, whatever its client asked for.
const FETCH_WAIT_MAX: Duration = Duration::from_secs(300);

/// Long polls end together, at multiples of this: a wake-up of the shard for each of a hundred waiting
/// connections costs more than answering them.
const FETCH_WAIT_GRAIN: Duration = Duration::from_millis(50);

/// When a fetch is answered with what there is. A wait of ten grains and more is rounded up to the next one.
pub fn fetch_deadline(max_wait_ms: u32) -> Instant {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let begun = *BEGUN;
    let wait = Duration::from_millis(u64::from(max_wait_ms)).min(FETCH_WAIT_MAX);
    rounded_up(begun, Instant::now() + wait, wait)
}

fn rounded_up(begun: Instant, deadline: Instant, wait: Duration) -> Instant {
    if wait < 10 * FETCH_WAIT_GRAIN {
        return deadline;
    }
    let grains = deadline.duration_since(begun).as_micros().div_ceil(FETCH_WAIT_GRAIN.as_micros());
    begun + FETCH_WAIT_GRAIN * u32::try_from(grains).unwrap_or(u32::MAX)
}

/// The place a log was known to be durable at, if the checkpoint has it.
fn checkpointed(checkpoint: &Checkpoint, id: LogId) -> Option<DurablePoint> {
    checkpoint.logs.get(&id).copied()
}

fn add_connection(connections: &AtomicUsize) -> usize {
    connections.fetch_add(1, Ordering::Relaxed) + 1
}

fn remove_connection(connections: &AtomicUsize) {
    connections.fetch_sub(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_waits_end_together_and_short_ones_in_time() {
        let begun = Instant::now();
        let ends = |at_ms: u64, wait_ms: u64| {
            let (deadline, wait) = (begun + Duration::from_millis(at_ms), Duration::from_millis(wait_ms));
            rounded_up(begun, deadline, wait).duration_since(begun).as_millis()
        };
        assert_eq!([ends(1001, 500), ends(1049, 1000), ends(1050, 1000)], [1050, 1050, 1050]);
        assert_eq!([ends(1051, 1000), ends(499, 499), ends(7, 7)], [1100, 499, 7]);
    }
}
