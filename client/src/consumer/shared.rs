//! What a consumer and its task share: the member, its commits, and the readers of what it owns.
//!
//!     task ── assigned: a reader for the new partitions of each topic ──▶ readers ─▶ records ── application
//!          ── revoked, lost: the partitions leave their reader ──────────▶
//!          ◀── positions, wishes to commit, seek, close ──────────────────────────────────────┘
//!
//! A record of a retry topic that is not due is held back here, and its partition with it; the task wakes the
//! application when it is. While workers run (`work.rs`), a position is what they are done with.
//!
//! One lock. A record is handed out under it, so that none of a partition is after the partition has been
//! let go of. It is never held over an await.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Instant, SystemTime};

use protocol::model::{Offset, RecordCount, Timestamp};
use tokio::sync::Notify;

use super::AutoOffsetReset;
use super::work::Work;
use crate::core::assign::TopicPartition;
use crate::core::commit::{CommitError, CommitId, Commits};
use crate::core::group::Membership;
use crate::core::held::Held;
use crate::core::retry::RetryPolicy;
use crate::core::waiting::KeyOrder;
use crate::driver::lock;
use crate::error::ConsumeError;
use crate::limits::WAITING_KEYS_MAX;
use crate::reader::Reader;
use crate::record::ConsumedRecord;

/// Is called with what became of a commit.
pub(crate) type CommitDone = Box<dyn FnOnce(Result<(), CommitError>) + Send>;

pub(crate) struct Shared {
    pub state: Mutex<State>,
    /// The application wants something of the task.
    pub wake_task: Notify,
    pub(super) reset: AutoOffsetReset,
}

pub(crate) struct State {
    pub membership: Membership,
    pub commits: Commits,
    /// Each reads partitions of one topic that were assigned together.
    readers: Vec<Reader>,
    /// Whose turn it is.
    turn: usize,
    /// Told to the application before any further record.
    faults: VecDeque<ConsumeError>,
    paused: BTreeSet<TopicPartition>,
    retry: Option<RetryPolicy>,
    held: Held,
    /// If the policy keeps the order of keys.
    pub(super) order: Option<KeyOrder>,
    /// While workers run.
    pub(super) work: Option<Work>,
    /// How many runs there were.
    pub(super) runs: u64,
    /// The task waits for records that are worked on.
    pub awaits_work: bool,
    pub waiting: HashMap<CommitId, CommitDone>,
    waker: Option<Waker>,
    /// Close was asked for, or the consumer was dropped.
    pub closing: bool,
    /// The member is out for good.
    ended: bool,
}

impl State {
    pub fn new(membership: Membership, commits: Commits, retry: Option<RetryPolicy>) -> State {
        let order = retry.as_ref().filter(|policy| policy.keeps_key_order());
        let order = order.map(|_| KeyOrder::new(WAITING_KEYS_MAX));
        State {
            membership,
            commits,
            readers: Vec::new(),
            turn: 0,
            faults: VecDeque::new(),
            paused: BTreeSet::new(),
            retry,
            held: Held::default(),
            order,
            work: None,
            runs: 0,
            awaits_work: false,
            waiting: HashMap::new(),
            waker: None,
            closing: false,
            ended: false,
        }
    }

    /// Reads these from now on; they are in order and of the reader's topic.
    pub fn add_reader(&mut self, mut reader: Reader) {
        let partitions = reader.remaining();
        for partition in partitions {
            let name = TopicPartition { topic: Arc::clone(reader.topic()), partition };
            if self.paused.contains(&name) {
                reader.pause(partition).expect("BUG: it is one of the reader's");
            }
        }
        self.readers.push(reader);
        self.wake();
    }

    /// Hands out nothing more of these, and has no worker begin what was.
    pub fn stop_reading(&mut self, partitions: &[TopicPartition]) {
        for name in partitions {
            self.held.remove(name);
            if let Some(work) = &mut self.work {
                work.tracker.stop(name);
            }
            for reader in self.readers.iter_mut().filter(|reader| *reader.topic() == name.topic) {
                reader.remove(name.partition);
            }
        }
        self.readers.retain(|reader| !reader.remaining().is_empty());
    }

    /// Somebody else reads these.
    pub fn let_go(&mut self, partitions: &[TopicPartition]) {
        self.commits.remove(partitions);
        if let Some(work) = &mut self.work {
            partitions.iter().for_each(|name| work.tracker.drop_partition(name));
        }
    }

    pub fn tell(&mut self, fault: ConsumeError) {
        self.faults.push_back(fault);
        self.wake();
    }

    /// Nothing more will come.
    pub fn end(&mut self) {
        self.ended = true;
        self.readers.clear();
        self.held.clear();
        self.wake();
    }

    pub fn has_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// The reader of a partition, if it is read now.
    pub fn reader_of(&mut self, name: &TopicPartition) -> Option<&mut Reader> {
        let reads =
            |reader: &&mut Reader| *reader.topic() == name.topic && reader.position(name.partition).is_some();
        self.readers.iter_mut().find(reads)
    }

    /// When the next held record is due. Wakes the application if one is.
    pub fn poll_due(&mut self, now: Instant) -> Option<Instant> {
        if self.held.next_due()? <= now {
            self.wake();
        }
        self.held.next_due_after(now)
    }

    fn poll_next(
        &mut self,
        reset: AutoOffsetReset,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ConsumedRecord, ConsumeError>> {
        let polled = self.poll_record(reset, cx);
        if let Poll::Ready(Ok(record)) = &polled {
            self.commits.hand_out(&name_of(record), record.offset + RecordCount::new(1));
        }
        polled
    }

    /// What comes next, in nobody's hands yet.
    pub(super) fn poll_record(
        &mut self,
        reset: AutoOffsetReset,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ConsumedRecord, ConsumeError>> {
        if let Some(fault) = self.faults.pop_front() {
            return Poll::Ready(Err(fault));
        }
        if self.ended {
            return Poll::Ready(Err(ConsumeError::Closed));
        }
        if !self.has_room() {
            return self.wait(cx);
        }
        if let Some(record) = self.take_due() {
            return Poll::Ready(Ok(record));
        }
        for _ in 0..self.readers.len() {
            self.turn %= self.readers.len();
            match self.poll_reader(self.turn, reset, cx) {
                Poll::Ready(ready) => return Poll::Ready(ready),
                Poll::Pending => self.turn += 1,
            }
        }
        self.wait(cx)
    }

    fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn take_due(&mut self) -> Option<ConsumedRecord> {
        let paused = &self.paused;
        let (name, record) = self.held.take_due(Instant::now(), |name| !paused.contains(name))?;
        self.read_on(&name);
        Some(record)
    }

    /// Has a partition read again, unless something else stands against it.
    fn read_on(&mut self, name: &TopicPartition) {
        if !self.paused.contains(name)
            && !self.held.contains(name)
            && let Some(reader) = self.reader_of(name)
        {
            reader.resume(name.partition).expect("BUG: it is one of the reader's");
        }
    }

    pub fn pause(&mut self, name: &TopicPartition) {
        self.paused.insert(name.clone());
        if let Some(reader) = self.reader_of(name) {
            reader.pause(name.partition).expect("BUG: it is one of the reader's");
        }
    }

    pub fn resume(&mut self, name: &TopicPartition) {
        self.paused.remove(name);
        self.read_on(name);
        self.wake(); // it may have a record that is due
    }

    fn poll_reader(
        &mut self,
        at: usize,
        reset: AutoOffsetReset,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ConsumedRecord, ConsumeError>> {
        loop {
            let reader = &mut self.readers[at];
            match reader.poll_recv(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(record)) => {
                    let Some(policy) = &self.retry else { return Poll::Ready(Ok(record)) };
                    match policy.wait(&record, Timestamp::from_system_time(SystemTime::now())) {
                        None => return Poll::Ready(Ok(record)),
                        Some(wait) => {
                            reader.pause(record.partition).expect("BUG: the record is of it");
                            self.held.hold(name_of(&record), Instant::now() + wait, record);
                        }
                    }
                }
                // Its leader will find out, and the group goes on without it.
                Poll::Ready(Err(ConsumeError::UnknownTopic { topic })) => {
                    tracing::warn!(%topic, "a topic of the group is gone");
                    reader.remaining().into_iter().for_each(|partition| reader.remove(partition));
                    return Poll::Pending;
                }
                Poll::Ready(Err(error)) => match self.start_over(at, &error, reset) {
                    true => {}
                    false => return Poll::Ready(Err(error)),
                },
            }
        }
    }

    /// Goes where the policy says if the position does not exist any more.
    fn start_over(&mut self, at: usize, error: &ConsumeError, reset: AutoOffsetReset) -> bool {
        let ConsumeError::OffsetOutOfRange { topic, partition, asked, range: Some(range) } = error else {
            return false;
        };
        let to = match reset {
            AutoOffsetReset::Earliest => range.start(),
            AutoOffsetReset::Latest => range.end(),
            AutoOffsetReset::None => return false,
        };
        tracing::warn!(%topic, %partition, %asked, %to, "the position does not exist any more; reading on elsewhere");
        let name = TopicPartition { topic: Arc::clone(topic), partition: *partition };
        self.commits.seek(&name, to);
        if let Some(work) = &mut self.work {
            work.tracker.drop_partition(&name); // what is under way says nothing about what comes now
        }
        self.readers[at].seek(*partition, to).is_ok()
    }

    /// Goes on at `to`; `false` if the partition is not this member's, or not read yet.
    pub fn seek(&mut self, name: &TopicPartition, to: Offset) -> bool {
        let Some(reader) = self.reader_of(name) else { return false };
        let sought = reader.seek(name.partition, to).is_ok();
        if self.held.remove(name).is_some() {
            self.read_on(name);
        }
        sought && self.commits.seek(name, to)
    }

    /// Has the reader go back to where the application has got.
    pub(super) fn rewind(&mut self, name: &TopicPartition) {
        let position = self.commits.position(name);
        if let (Some(position), Some(reader)) = (position, self.reader_of(name)) {
            let sought = reader.seek(name.partition, position);
            sought.expect("BUG: it is one of the reader's");
            if self.held.remove(name).is_some() {
                self.read_on(name);
            }
        }
    }
}

pub(super) fn name_of(record: &ConsumedRecord) -> TopicPartition {
    TopicPartition { topic: Arc::clone(&record.topic), partition: record.partition }
}

impl Shared {
    pub fn new(state: State, reset: AutoOffsetReset) -> Shared {
        Shared { state: Mutex::new(state), wake_task: Notify::new(), reset }
    }

    /// The application asks for more: it is done with what it has.
    pub fn begin_poll(&self) {
        let mut state = lock(&self.state);
        state.commits.take();
        state.membership.poll_begins();
        let is_out = state.membership.owned().is_empty();
        drop(state);
        if is_out {
            self.wake_task.notify_one(); // it may have left for being idle, and joins again
        }
    }

    /// The application has what it asked for, or asks no longer.
    pub fn end_poll(&self) {
        lock(&self.state).membership.poll_ends(Instant::now());
    }

    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Result<ConsumedRecord, ConsumeError>> {
        self.poll_with(|state| state.poll_next(self.reset, cx))
    }

    /// Polls for a record, and has the task know if one is held back by that.
    pub(super) fn poll_with<T>(&self, poll: impl FnOnce(&mut State) -> T) -> T {
        let mut state = lock(&self.state);
        let holds = state.held.holds();
        let polled = poll(&mut state);
        let changed = state.held.holds() != holds;
        drop(state);
        if changed {
            self.wake_task.notify_one();
        }
        polled
    }

    /// What is here now, `max` records at most, behind those in `records`. An error stays for the next call.
    pub fn take_more(&self, records: &mut Vec<ConsumedRecord>, max: usize) {
        let mut cx = Context::from_waker(Waker::noop());
        self.poll_with(|state| {
            while records.len() < max {
                match state.poll_next(self.reset, &mut cx) {
                    Poll::Ready(Ok(record)) => records.push(record),
                    Poll::Ready(Err(error)) => return state.faults.push_front(error),
                    Poll::Pending => return,
                }
            }
        });
    }

    pub fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut lock(&self.state));
        self.wake_task.notify_one();
        result
    }
}
