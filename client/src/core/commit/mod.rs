//! How far a member has got in what it reads, and what it tells the coordinator about it.
//!
//!     committed       position     handed out
//!      |── taken ──────|── with the ──|── not asked for yet ──▶   (offsets of one partition)
//!                          application
//!
//!     commit, auto commit, revoke ─▶ queue │ c │ b │ a │ ─▶ one OffsetCommit under way ─▶ outcomes, in order
//!
//! A position passes a record when the *next* one is asked for: then the application is done with it. So
//! what is committed was processed, and after a crash a record may come twice but is never left out.
//!
//! One commit is under way at a time, and a failed one is tried again before those behind it: none is
//! overtaken, so offsets never go back, but for a `seek`. (A request that the broker reads from a dead
//! connection later than the next one from a new one could; the driver gives up on a connection before it
//! makes another.)

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use protocol::model::{ErrorCode, Offset};

use super::assign::TopicPartition;
use super::backoff::Backoff;
use super::group::{Failure, is_elsewhere};

#[cfg(test)]
mod tests;

/// When positions are committed without being asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Time between two automatic commits; `None` for none, on revocation and close neither.
    pub auto_commit: Option<Duration>,
    /// First pause after a failure.
    pub retry_backoff: Duration,
    /// How long a commit is tried.
    pub timeout: Duration,
}

/// Names a commit that somebody waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CommitId(u64);

pub type Outcome = (Option<CommitId>, Result<(), CommitError>);

/// One try of one commit. Ids are not used again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TryId(u64);

/// Offsets were not committed, or not all of them.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommitError {
    /// The member is out of the group, which goes on from what was committed before.
    #[error("the group went on without this member: {0}")]
    Fenced(ErrorCode),
    /// Between two generations; what is still owned after the rebalance can be committed again.
    #[error("the group is rebalancing")]
    Rebalancing,
    #[error("{}/{} is not, or no longer, this member's to commit", .0.topic, .0.partition)]
    NotOwned(TopicPartition),
    #[error("the coordinator refuses the commit: {0}")]
    Refused(ErrorCode),
    /// The consumer has ended; the commit may have been done.
    #[error("the consumer is closed")]
    Closed,
    /// It may have been done nevertheless.
    #[error("the commit was not answered well for {0:?}")]
    TimedOut(Duration),
}

impl CommitError {
    pub fn is_retriable(&self) -> bool {
        matches!(self, CommitError::Rebalancing | CommitError::TimedOut(_))
    }
}

#[derive(Debug)]
struct Progress {
    /// The first offset that is not taken.
    position: Offset,
    /// Where the position will be when more is asked for.
    handed_out: Option<Offset>,
    /// As far as the coordinator has said.
    committed: Option<Offset>,
    /// The largest offset since the last `seek` that was committed, or may have been.
    floor: Option<Offset>,
    /// How often it was sought.
    seeks: u64,
}

/// What a commit asks for of one partition.
#[derive(Clone, Copy, Debug)]
struct Wish {
    offset: Offset,
    /// `Progress::seeks` when it was asked for.
    seeks: u64,
}

impl Progress {
    /// The wish was done, or may have been.
    fn raise_floor(&mut self, wish: Wish) {
        if wish.seeks == self.seeks {
            self.floor = self.floor.max(Some(wish.offset));
        }
    }
}

#[derive(Debug)]
struct Commit {
    /// `None` for an automatic one.
    id: Option<CommitId>,
    offsets: BTreeMap<TopicPartition, Wish>,
    since: Instant,
    /// Whether some try of it was not answered, and may be done.
    unsure: bool,
    /// Why some of it cannot be done any more.
    error: Option<CommitError>,
}

#[derive(Debug)]
pub struct Commits {
    options: Options,
    partitions: BTreeMap<TopicPartition, Progress>,
    /// In the order of their beginning; the first one is under way if `trying` is some.
    queue: VecDeque<Commit>,
    trying: Option<TryId>,
    auto_due: Option<Instant>,
    pause_until: Option<Instant>,
    backoff: Backoff,
    next_id: u64,
    outcomes: VecDeque<Outcome>,
}

impl Commits {
    pub fn new(options: Options, now: Instant) -> Commits {
        Commits {
            options,
            partitions: BTreeMap::new(),
            queue: VecDeque::new(),
            trying: None,
            auto_due: options.auto_commit.map(|interval| now + interval),
            pause_until: None,
            backoff: Backoff::new(options.retry_backoff),
            next_id: 0,
            outcomes: VecDeque::new(),
        }
    }

    /// The member reads this partition now, from `position` on. `committed` is what the group has.
    pub fn assign(&mut self, partition: TopicPartition, position: Offset, committed: Option<Offset>) {
        let progress = Progress { position, handed_out: None, committed, floor: committed, seeks: 0 };
        self.partitions.insert(partition, progress);
    }

    /// The member does not own these any more. What was not sent of them is not committed.
    pub fn remove(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.partitions.remove(partition);
            let sent = usize::from(self.trying.is_some());
            for commit in self.queue.iter_mut().skip(sent) {
                if commit.offsets.remove(partition).is_some() {
                    commit.error.get_or_insert(CommitError::NotOwned(partition.clone()));
                }
            }
        }
    }

    /// The application has the records of this partition below `next`.
    pub fn hand_out(&mut self, partition: &TopicPartition, next: Offset) {
        if let Some(progress) = self.partitions.get_mut(partition) {
            progress.handed_out = Some(next);
        }
    }

    /// The application asks for more: it is done with what it has.
    pub fn take(&mut self) {
        for progress in self.partitions.values_mut() {
            progress.position = progress.handed_out.take().unwrap_or(progress.position);
        }
    }

    /// The application is done with the records of this partition below `to`, whatever else it has.
    pub fn advance(&mut self, partition: &TopicPartition, to: Offset) {
        if let Some(progress) = self.partitions.get_mut(partition) {
            progress.position = progress.position.max(to);
        }
    }

    pub fn is_automatic(&self) -> bool {
        self.options.auto_commit.is_some()
    }

    /// The next record of the partition is this one; it may lie before what is committed. Returns
    /// whether the partition is owned.
    pub fn seek(&mut self, partition: &TopicPartition, to: Offset) -> bool {
        let Some(progress) = self.partitions.get_mut(partition) else { return false };
        (progress.position, progress.handed_out, progress.floor) = (to, None, None);
        progress.seeks += 1;
        true
    }

    /// The first offset that the application is not done with.
    pub fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.partitions.get(partition).map(|progress| progress.position)
    }

    /// What the coordinator is known to have.
    pub fn committed(&self, partition: &TopicPartition) -> Option<Offset> {
        self.partitions.get(partition).and_then(|progress| progress.committed)
    }

    /// Commits all positions as they are now.
    pub fn commit_positions(&mut self, now: Instant) -> CommitId {
        let id = self.next_commit();
        self.push_positions(now, Some(id), |_| true);
        id
    }

    /// Commits these offsets, each of the next record to read. One that is lower than what was committed
    /// since the last `seek` is left out: the group is past it.
    pub fn commit_offsets(
        &mut self,
        now: Instant,
        offsets: impl IntoIterator<Item = (TopicPartition, Offset)>,
    ) -> CommitId {
        let id = self.next_commit();
        self.push(now, Some(id), offsets.into_iter().collect());
        id
    }

    /// These are about to be let go of: their positions are committed first, if that is automatic. They
    /// can be let go of when the commit has its outcome.
    pub fn commit_before_revoke(&mut self, now: Instant, partitions: &[TopicPartition]) -> Option<CommitId> {
        self.options.auto_commit?;
        let id = self.next_commit();
        self.push_positions(now, Some(id), |partition| partitions.contains(partition));
        Some(id)
    }

    fn next_commit(&mut self) -> CommitId {
        self.next_id += 1;
        CommitId(self.next_id)
    }

    fn push_positions(
        &mut self,
        now: Instant,
        id: Option<CommitId>,
        wants: impl Fn(&TopicPartition) -> bool,
    ) {
        let is_new = |progress: &Progress| progress.committed != Some(progress.position);
        let positions = self.partitions.iter().filter(|(name, progress)| is_new(progress) && wants(name));
        let offsets = positions.map(|(name, progress)| (name.clone(), progress.position)).collect();
        self.push(now, id, offsets);
    }

    fn push(&mut self, now: Instant, id: Option<CommitId>, offsets: BTreeMap<TopicPartition, Offset>) {
        let mut commit = Commit { id, offsets: BTreeMap::new(), since: now, unsure: false, error: None };
        for (name, offset) in offsets {
            let Some(progress) = self.partitions.get(&name) else {
                commit.error.get_or_insert(CommitError::NotOwned(name));
                continue;
            };
            let queued = self.queue.iter().filter_map(|commit| commit.offsets.get(&name));
            let queued = queued.filter(|wish| wish.seeks == progress.seeks).map(|wish| wish.offset).max();
            if progress.floor.max(queued) <= Some(offset) {
                commit.offsets.insert(name, Wish { offset, seeks: progress.seeks });
            }
        }
        if commit.id.is_some() || !commit.offsets.is_empty() {
            self.queue.push_back(commit);
        }
    }

    /// What to send now, if anything. `is_member`: whether there is a generation to commit in; without
    /// one, commits wait for it.
    pub fn poll_commit(
        &mut self,
        now: Instant,
        is_member: bool,
    ) -> Option<(TryId, Vec<(TopicPartition, Offset)>)> {
        self.begin_auto(now);
        if self.trying.is_some() {
            return None;
        }
        self.finish_what_is_over(now);
        self.pause_until = self.pause_until.filter(|until| now < *until);
        let commit = self.queue.front().filter(|_| is_member && self.pause_until.is_none())?;
        self.next_id += 1;
        let id = TryId(self.next_id);
        self.trying = Some(id);
        Some((id, commit.offsets.iter().map(|(name, wish)| (name.clone(), wish.offset)).collect()))
    }

    fn begin_auto(&mut self, now: Instant) {
        let Some(due) = self.auto_due.filter(|due| *due <= now) else { return };
        self.auto_due = self.options.auto_commit.map(|interval| now.max(due) + interval);
        // One that waits already says less than this one would, but the next is not far.
        if !self.queue.iter().any(|commit| commit.id.is_none()) {
            self.push_positions(now, None, |_| true);
        }
    }

    /// Ends commits that have nothing to send, or were tried for too long.
    fn finish_what_is_over(&mut self, now: Instant) {
        while let Some(first) = self.queue.front() {
            if !first.offsets.is_empty() && first.since + self.options.timeout <= now {
                self.note_what_may_be_done();
                self.finish(Err(CommitError::TimedOut(self.options.timeout)));
            } else if first.offsets.is_empty() {
                self.finish(Ok(()));
            } else {
                return;
            }
        }
    }

    /// A commit that is given up may still be done.
    fn note_what_may_be_done(&mut self) {
        let Some(first) = self.queue.front().filter(|first| first.unsure) else { return };
        for (name, wish) in &first.offsets {
            if let Some(progress) = self.partitions.get_mut(name) {
                progress.raise_floor(*wish);
            }
        }
    }

    fn finish(&mut self, result: Result<(), CommitError>) {
        let commit = self.queue.pop_front().expect("BUG: there is a commit to finish");
        let result = result.and(commit.error.map_or(Ok(()), Err));
        if commit.id.is_some() || result.is_err() {
            self.outcomes.push_back((commit.id, result));
        }
    }

    /// Takes in the answer to a try: for each of its partitions, in their order. Returns whether the
    /// coordinator may be another.
    pub fn handle_reply(
        &mut self,
        now: Instant,
        id: TryId,
        reply: Result<Vec<ErrorCode>, Failure>,
        random: f64,
    ) -> bool {
        if self.trying.take_if(|trying| *trying == id).is_none() {
            return false;
        }
        let sent = self.queue.front().expect("BUG: what is under way is the first").offsets.len();
        let failure = match reply {
            Ok(codes) if codes.len() == sent => self.apply_codes(codes),
            Err(Failure::Refused(code)) => self.apply_codes(vec![code; sent]),
            // An answer to something else says nothing.
            Ok(_) | Err(Failure::Lost) => {
                self.queue.iter_mut().take(1).for_each(|commit| commit.unsure = true);
                Some(Failure::Lost)
            }
        };
        self.drop_what_is_not_owned();
        if failure.is_some() {
            self.pause_until = Some(now + self.backoff.next_pause(random));
        } else {
            self.backoff.reset();
            self.finish(Ok(()));
        }
        failure.is_some_and(is_elsewhere)
    }

    /// One code for each partition of the commit under way. What is to be tried again stays in it; returns
    /// why, if anything does.
    fn apply_codes(&mut self, codes: Vec<ErrorCode>) -> Option<Failure> {
        let commit = self.queue.front_mut().expect("BUG: what is under way is the first");
        let mut codes = codes.into_iter();
        let mut failure = None;
        commit.offsets.retain(|name, wish| {
            let code = codes.next().expect("BUG: one code each");
            let again = is_worth_a_retry(code);
            if again {
                failure = Some(Failure::Refused(code));
            } else if !code.is_ok() {
                commit.error.get_or_insert(refusal(code));
            }
            if let Some(progress) = self.partitions.get_mut(name).filter(|_| code.is_ok() || commit.unsure) {
                progress.raise_floor(*wish);
            }
            if let Some(progress) = self.partitions.get_mut(name).filter(|_| code.is_ok()) {
                progress.committed = Some(wish.offset);
            }
            again
        });
        failure
    }

    /// What was removed while it was under way is not tried again.
    fn drop_what_is_not_owned(&mut self) {
        let commit = self.queue.front_mut().expect("BUG: what is under way is the first");
        commit.offsets.retain(|name, _| {
            let is_owned = self.partitions.contains_key(name);
            if !is_owned {
                commit.error.get_or_insert(CommitError::NotOwned(name.clone()));
            }
            is_owned
        });
    }

    /// What became of commits, in their order, each once; of automatic ones, which nobody waits for and
    /// which have no id, only what went wrong.
    pub fn poll_outcome(&mut self) -> Option<Outcome> {
        self.outcomes.pop_front()
    }

    /// When `poll_commit` has something to do that it has not at `now`.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let over = self.queue.front().filter(|_| self.trying.is_none());
        let over = over.map(|commit| commit.since + self.options.timeout);
        [self.auto_due, self.pause_until, over].into_iter().flatten().filter(|at| now < *at).min()
    }
}

/// A topic that is gone would hold back all other commits.
fn is_worth_a_retry(code: ErrorCode) -> bool {
    code.is_retriable() && code != ErrorCode::UnknownTopicOrPartition
}

fn refusal(code: ErrorCode) -> CommitError {
    match code {
        ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration | ErrorCode::FencedInstanceId => {
            CommitError::Fenced(code)
        }
        ErrorCode::RebalanceInProgress => CommitError::Rebalancing,
        code => CommitError::Refused(code),
    }
}
