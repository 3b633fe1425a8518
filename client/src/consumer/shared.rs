//! What a consumer and its task share: the member, its commits, and the readers of what it owns.
//!
//!     task ── assigned: a reader for the new partitions of each topic ──▶ readers ─▶ records ── application
//!          ── revoked, lost: the partitions leave their reader ──────────▶
//!          ◀── positions, wishes to commit, seek, close ──────────────────────────────────────┘
//!
//! One lock. A record is handed out under it, so that none of a partition is after the partition has been
//! let go of. It is never held over an await.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use protocol::model::{Offset, RecordCount};
use tokio::sync::Notify;

use super::AutoOffsetReset;
use crate::core::assign::TopicPartition;
use crate::core::commit::{CommitError, CommitId, Commits};
use crate::core::group::Membership;
use crate::driver::lock;
use crate::error::ConsumeError;
use crate::reader::Reader;
use crate::record::ConsumedRecord;

/// Is called with what became of a commit.
pub(crate) type CommitDone = Box<dyn FnOnce(Result<(), CommitError>) + Send>;

pub(crate) struct Shared {
    pub state: Mutex<State>,
    /// The application wants something of the task.
    pub wake_task: Notify,
    reset: AutoOffsetReset,
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
    pub paused: BTreeSet<TopicPartition>,
    pub waiting: HashMap<CommitId, CommitDone>,
    waker: Option<Waker>,
    /// Close was asked for, or the consumer was dropped.
    pub closing: bool,
    /// The member is out for good.
    ended: bool,
}

impl State {
    pub fn new(membership: Membership, commits: Commits) -> State {
        State {
            membership,
            commits,
            readers: Vec::new(),
            turn: 0,
            faults: VecDeque::new(),
            paused: BTreeSet::new(),
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

    /// Hands out nothing more of these.
    pub fn stop_reading(&mut self, partitions: &[TopicPartition]) {
        for name in partitions {
            for reader in self.readers.iter_mut().filter(|reader| *reader.topic() == name.topic) {
                reader.remove(name.partition);
            }
        }
        self.readers.retain(|reader| !reader.remaining().is_empty());
    }

    pub fn tell(&mut self, fault: ConsumeError) {
        self.faults.push_back(fault);
        self.wake();
    }

    /// Nothing more will come.
    pub fn end(&mut self) {
        self.ended = true;
        self.readers.clear();
        self.wake();
    }

    pub fn has_ended(&self) -> bool {
        self.ended
    }

    fn wake(&mut self) {
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

    fn poll_next(
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
        for _ in 0..self.readers.len() {
            self.turn %= self.readers.len();
            match self.poll_reader(self.turn, reset, cx) {
                Poll::Ready(ready) => return Poll::Ready(ready),
                Poll::Pending => self.turn += 1,
            }
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
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
                    let name =
                        TopicPartition { topic: Arc::clone(&record.topic), partition: record.partition };
                    self.commits.hand_out(&name, record.offset + RecordCount::new(1));
                    return Poll::Ready(Ok(record));
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
        self.readers[at].seek(*partition, to).is_ok()
    }

    /// Goes on at `to`; `false` if the partition is not this member's, or not read yet.
    pub fn seek(&mut self, name: &TopicPartition, to: Offset) -> bool {
        let Some(reader) = self.reader_of(name) else { return false };
        let sought = reader.seek(name.partition, to).is_ok();
        sought && self.commits.seek(name, to)
    }
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
        lock(&self.state).poll_next(self.reset, cx)
    }

    /// What is here now, `max` records at most, behind those in `records`. An error stays for the next call.
    pub fn take_more(&self, records: &mut Vec<ConsumedRecord>, max: usize) {
        let mut cx = Context::from_waker(Waker::noop());
        let mut state = lock(&self.state);
        while records.len() < max {
            match state.poll_next(self.reset, &mut cx) {
                Poll::Ready(Ok(record)) => records.push(record),
                Poll::Ready(Err(error)) => {
                    state.faults.push_front(error);
                    return;
                }
                Poll::Pending => return,
            }
        }
    }

    pub fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut lock(&self.state));
        self.wake_task.notify_one();
        result
    }
}
