//! Stories of commits, and a model that tells random ones.
//!
//!     Commits ──try──▶ coordinator: done and told, done and not told, refused ──▶ what the group has
//!
//! The model checks: what the group has never goes back unless somebody sought, never passes what was
//! taken, and every commit has one outcome, in order.

use super::*;
use proptest::prelude::*;
use protocol::model::PartitionIndex;

const INTERVAL: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(60);

fn options(auto_commit: Option<Duration>) -> Options {
    Options { auto_commit, retry_backoff: Duration::from_millis(100), timeout: TIMEOUT }
}

fn partition(index: u32) -> TopicPartition {
    TopicPartition { topic: "t".into(), partition: PartitionIndex::new(index) }
}

fn at(offset: u64) -> Offset {
    Offset::new(offset)
}

/// Partition 0, committed at 10.
fn commits(auto_commit: Option<Duration>) -> (Commits, Instant) {
    let now = Instant::now();
    let mut commits = Commits::new(options(auto_commit), now);
    commits.assign(partition(0), at(10), Some(at(10)));
    (commits, now)
}

fn read_to(commits: &mut Commits, index: u32, next: u64) {
    commits.hand_out(&partition(index), at(next));
    commits.take();
}

/// What is sent: partition and offset.
fn sends(commits: &mut Commits, now: Instant) -> Option<(TryId, Vec<(u32, u64)>)> {
    let (id, sent) = commits.poll_commit(now, true)?;
    Some((id, sent.into_iter().map(|(name, offset)| (name.partition.get(), offset.get())).collect()))
}

fn ok(sent: &[(u32, u64)]) -> Result<Vec<ErrorCode>, Failure> {
    Ok(vec![ErrorCode::None; sent.len()])
}

#[test]
fn a_record_counts_when_the_next_one_is_asked_for() {
    let (mut commits, now) = commits(None);
    commits.hand_out(&partition(0), at(11));
    assert_eq!(commits.position(&partition(0)), Some(at(10)), "the application works on it");
    commits.take();
    assert_eq!(commits.position(&partition(0)), Some(at(11)));
    commits.hand_out(&partition(0), at(12));
    let id = commits.commit_positions(now);
    let (attempt, sent) = sends(&mut commits, now).unwrap();
    assert_eq!(sent, [(0, 11)]);
    commits.handle_reply(now, attempt, ok(&sent), 1.0);
    assert_eq!(commits.poll_outcome(), Some((Some(id), Ok(()))));
    assert_eq!(commits.committed(&partition(0)), Some(at(11)));
}

#[test]
fn positions_are_committed_at_the_interval_if_they_moved() {
    let (mut commits, start) = commits(Some(INTERVAL));
    assert_eq!(commits.poll_timeout(start), Some(start + INTERVAL));
    assert_eq!(sends(&mut commits, start + INTERVAL), None, "nothing is new");
    read_to(&mut commits, 0, 20);
    assert_eq!(sends(&mut commits, start + INTERVAL), None);
    let (attempt, sent) = sends(&mut commits, start + 2 * INTERVAL).unwrap();
    assert_eq!(sent, [(0, 20)]);
    commits.handle_reply(start + 2 * INTERVAL, attempt, ok(&sent), 1.0);
    assert_eq!(commits.poll_outcome(), None, "nobody waits for it");
}

#[test]
fn where_a_reader_began_is_committed_even_if_it_read_nothing() {
    let (mut commits, now) = commits(None);
    commits.assign(partition(1), at(500), None);
    commits.commit_positions(now);
    assert_eq!(sends(&mut commits, now).unwrap().1, [(1, 500)]);
}

#[test]
fn before_a_revocation_its_positions_are_committed_and_no_others() {
    let (mut commits, now) = commits(Some(INTERVAL));
    commits.assign(partition(1), at(0), None);
    read_to(&mut commits, 0, 20);
    let id = commits.commit_before_revoke(now, &[partition(0)]).unwrap();
    let (attempt, sent) = sends(&mut commits, now).unwrap();
    assert_eq!(sent, [(0, 20)]);
    commits.handle_reply(now, attempt, ok(&sent), 1.0);
    assert_eq!(commits.poll_outcome(), Some((Some(id), Ok(()))));
    let (mut by_hand, now) = super::tests::commits(None);
    read_to(&mut by_hand, 0, 20);
    assert_eq!(by_hand.commit_before_revoke(now, &[partition(0)]), None);
}

#[test]
fn a_commit_is_not_overtaken_by_a_later_one() {
    let (mut commits, now) = commits(None);
    let ids = [20, 30].map(|next| {
        read_to(&mut commits, 0, next);
        commits.commit_positions(now)
    });
    let (attempt, sent) = sends(&mut commits, now).unwrap();
    assert_eq!(sent, [(0, 20)]);
    assert_eq!(sends(&mut commits, now), None, "one at a time");
    assert!(commits.handle_reply(now, attempt, Err(Failure::Lost), 1.0), "the coordinator may be another");
    assert_eq!(sends(&mut commits, now), None, "after a pause");
    let later = now + Duration::from_millis(100);
    assert_eq!(commits.poll_timeout(now), Some(later));
    let (second, sent) = sends(&mut commits, later).unwrap();
    assert_eq!(sent, [(0, 20)], "the first again");
    assert!(!commits.handle_reply(later, attempt, ok(&sent), 1.0), "an answer to the first try");
    assert_eq!(commits.poll_outcome(), None);
    commits.handle_reply(later, second, ok(&sent), 1.0);
    let (attempt, sent) = sends(&mut commits, later).unwrap();
    assert_eq!(sent, [(0, 30)]);
    commits.handle_reply(later, attempt, ok(&sent), 1.0);
    assert_eq!(ids.map(|id| commits.poll_outcome() == Some((Some(id), Ok(())))), [true, true]);
}

#[test]
fn what_was_refused_for_now_is_tried_again_without_what_was_done() {
    let (mut commits, now) = commits(None);
    commits.assign(partition(1), at(0), None);
    read_to(&mut commits, 0, 20);
    commits.commit_positions(now);
    let (attempt, sent) = sends(&mut commits, now).unwrap();
    assert_eq!(sent, [(0, 20), (1, 0)]);
    let codes = vec![ErrorCode::None, ErrorCode::CoordinatorLoadInProgress];
    assert!(!commits.handle_reply(now, attempt, Ok(codes), 1.0), "it is the right one");
    assert_eq!(sends(&mut commits, now + INTERVAL).unwrap().1, [(1, 0)]);
}

#[test]
fn a_member_that_is_out_is_told_so() {
    let cases = [
        (ErrorCode::UnknownMemberId, CommitError::Fenced(ErrorCode::UnknownMemberId), false),
        (ErrorCode::IllegalGeneration, CommitError::Fenced(ErrorCode::IllegalGeneration), false),
        (ErrorCode::FencedInstanceId, CommitError::Fenced(ErrorCode::FencedInstanceId), false),
        (ErrorCode::RebalanceInProgress, CommitError::Rebalancing, true),
        // Were it tried again, it would hold back the others.
        (ErrorCode::UnknownTopicOrPartition, CommitError::Refused(ErrorCode::UnknownTopicOrPartition), false),
        (ErrorCode::InvalidCommitOffsetSize, CommitError::Refused(ErrorCode::InvalidCommitOffsetSize), false),
    ];
    for (code, error, is_retriable) in cases {
        for reply in [Ok(vec![code]), Err(Failure::Refused(code))] {
            let (mut commits, now) = commits(None);
            read_to(&mut commits, 0, 20);
            let id = commits.commit_positions(now);
            let (attempt, _) = sends(&mut commits, now).unwrap();
            commits.handle_reply(now, attempt, reply, 1.0);
            assert_eq!(commits.poll_outcome(), Some((Some(id), Err(error.clone()))));
            assert_eq!(error.is_retriable(), is_retriable);
            assert_eq!(commits.committed(&partition(0)), Some(at(10)));
            assert_eq!(sends(&mut commits, now + INTERVAL), None);
        }
    }
}

#[test]
fn a_commit_below_what_was_committed_is_left_out_unless_somebody_sought() {
    let (mut commits, now) = commits(None);
    let commit = |commits: &mut Commits, offset| {
        commits.commit_offsets(now, [(partition(0), at(offset))]);
        let (attempt, sent) = sends(commits, now)?;
        commits.handle_reply(now, attempt, ok(&sent), 1.0);
        Some(sent[0].1)
    };
    assert_eq!(
        [commit(&mut commits, 20), commit(&mut commits, 15), commit(&mut commits, 20)],
        [Some(20), None, Some(20)]
    );
    assert!(commits.seek(&partition(0), at(5)) && !commits.seek(&partition(9), at(5)));
    assert_eq!([commit(&mut commits, 15), commit(&mut commits, 14)], [Some(15), None]);
    let outcomes = std::iter::from_fn(|| commits.poll_outcome());
    assert!(outcomes.map(|(_, result)| result).eq(vec![Ok(()); 5]), "to be past it is no error");
}

#[test]
fn a_commit_that_was_refused_holds_back_no_lower_one_and_one_that_may_be_done_does() {
    for (reply, then) in [(Ok(vec![ErrorCode::IllegalGeneration]), Some(20)), (Err(Failure::Lost), None)] {
        let (mut commits, now) = commits(None);
        commits.commit_offsets(now, [(partition(0), at(90))]);
        let (attempt, _) = sends(&mut commits, now).unwrap();
        commits.handle_reply(now, attempt, reply, 1.0);
        let later = now + TIMEOUT;
        assert_eq!(sends(&mut commits, later), None);
        read_to(&mut commits, 0, 20);
        commits.commit_positions(later);
        assert_eq!(sends(&mut commits, later).map(|(_, sent)| sent[0].1), then);
    }
}

#[test]
fn a_refusal_does_not_undo_an_earlier_try_that_was_not_answered() {
    let (mut commits, now) = commits(None);
    commits.commit_offsets(now, [(partition(0), at(90))]);
    let (attempt, _) = sends(&mut commits, now).unwrap();
    commits.handle_reply(now, attempt, Err(Failure::Lost), 1.0);
    let (attempt, _) = sends(&mut commits, now + INTERVAL).unwrap();
    commits.handle_reply(now, attempt, Ok(vec![ErrorCode::IllegalGeneration]), 1.0);
    commits.commit_offsets(now, [(partition(0), at(20))]);
    assert_eq!(sends(&mut commits, now + INTERVAL), None, "the group may be at 90");
}

#[test]
fn a_seek_forgets_what_the_application_has() {
    let (mut commits, _) = commits(None);
    commits.hand_out(&partition(0), at(11));
    commits.seek(&partition(0), at(3));
    commits.take();
    assert_eq!(commits.position(&partition(0)), Some(at(3)));
}

#[test]
fn of_automatic_commits_only_failures_are_told() {
    let (mut commits, start) = commits(Some(INTERVAL));
    read_to(&mut commits, 0, 20);
    let (attempt, _) = sends(&mut commits, start + INTERVAL).unwrap();
    commits.handle_reply(start, attempt, Ok(vec![ErrorCode::RebalanceInProgress]), 1.0);
    assert_eq!(commits.poll_outcome(), Some((None, Err(CommitError::Rebalancing))));
}

#[test]
fn what_is_lost_is_not_committed_and_the_rest_is() {
    let (mut commits, now) = commits(None);
    commits.assign(partition(1), at(7), None);
    read_to(&mut commits, 0, 20);
    let first = commits.commit_offsets(now, [(partition(1), at(7))]);
    let second = commits.commit_positions(now);
    let (attempt, sent) = sends(&mut commits, now).unwrap();
    commits.remove(&[partition(1)]);
    assert_eq!(sent, [(1, 7)]);
    commits.handle_reply(now, attempt, Err(Failure::Lost), 1.0);
    let later = now + INTERVAL;
    let (attempt, sent) = sends(&mut commits, later).unwrap();
    assert_eq!(sent, [(0, 20)], "the first has nothing left to try");
    commits.handle_reply(later, attempt, ok(&sent), 1.0);
    let lost = Err(CommitError::NotOwned(partition(1)));
    assert_eq!(commits.poll_outcome(), Some((Some(first), lost.clone())));
    assert_eq!(commits.poll_outcome(), Some((Some(second), lost.clone())));
    let third = commits.commit_offsets(later, [(partition(1), at(9))]);
    assert_eq!((sends(&mut commits, later), commits.poll_outcome()), (None, Some((Some(third), lost))));
}

#[test]
fn without_a_generation_commits_wait_and_then_give_up() {
    let (mut commits, now) = commits(None);
    read_to(&mut commits, 0, 20);
    let id = commits.commit_positions(now);
    assert_eq!(commits.poll_commit(now, false), None);
    assert_eq!(commits.poll_timeout(now), Some(now + TIMEOUT));
    assert_eq!(commits.poll_commit(now + TIMEOUT, false), None);
    assert_eq!(commits.poll_outcome(), Some((Some(id), Err(CommitError::TimedOut(TIMEOUT)))));
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Read { index: u32, records: u64 },
    Take,
    Commit,
    CommitOffset { index: u32, back: u64 },
    Seek { index: u32, to: u64 },
    Remove { index: u32 },
    Assign { index: u32 },
    Wait { ms: u64 },
    Answer(Verdict),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Done,
    DoneAndNotTold,
    Lost,
    NotNow,
    Refused,
}

fn op() -> impl Strategy<Value = Op> {
    let index = 0..3_u32;
    let verdict = prop_oneof![
        6 => Just(Verdict::Done),
        2 => Just(Verdict::DoneAndNotTold),
        1 => Just(Verdict::Lost),
        1 => Just(Verdict::NotNow),
        1 => Just(Verdict::Refused),
    ];
    prop_oneof![
        6 => (index.clone(), 1..20_u64).prop_map(|(index, records)| Op::Read { index, records }),
        4 => Just(Op::Take),
        3 => Just(Op::Commit),
        2 => (index.clone(), 0..30_u64).prop_map(|(index, back)| Op::CommitOffset { index, back }),
        1 => (index.clone(), 0..50_u64).prop_map(|(index, to)| Op::Seek { index, to }),
        1 => index.clone().prop_map(|index| Op::Remove { index }),
        2 => index.prop_map(|index| Op::Assign { index }),
        4 => (0..3000_u64).prop_map(|ms| Op::Wait { ms }),
        8 => verdict.prop_map(Op::Answer),
    ]
}

/// What the group has of a partition, and what the application did.
#[derive(Clone, Copy, Default)]
struct Seen {
    stored: Option<Offset>,
    taken: u64,
    handed: u64,
    seeks: u64,
    steps_back: u64,
}

struct Model {
    commits: Commits,
    now: Instant,
    seen: [Seen; 3],
    begun: Vec<CommitId>,
    ended: usize,
    flight: Option<(TryId, Vec<(TopicPartition, Offset)>)>,
}

impl Model {
    fn apply(&mut self, op: Op) {
        match op {
            Op::Read { index, records } if self.owns(index) => {
                let seen = &mut self.seen[index as usize];
                seen.handed = seen.handed.max(seen.taken) + records;
                self.commits.hand_out(&partition(index), at(seen.handed));
            }
            Op::Take => {
                self.commits.take();
                for index in (0..3).filter(|index| self.owns(*index)).collect::<Vec<u32>>() {
                    let seen = &mut self.seen[index as usize];
                    seen.taken = seen.taken.max(seen.handed);
                }
            }
            Op::Commit => self.begun.push(self.commits.commit_positions(self.now)),
            Op::CommitOffset { index, back } => {
                let offset = at(self.seen[index as usize].taken.saturating_sub(back));
                self.begun.push(self.commits.commit_offsets(self.now, [(partition(index), offset)]));
            }
            Op::Seek { index, to } => {
                if self.commits.seek(&partition(index), at(to)) {
                    let seen = &mut self.seen[index as usize];
                    (seen.taken, seen.handed) = (seen.taken.max(to), to);
                    seen.seeks += 1;
                }
            }
            Op::Remove { index } => self.commits.remove(&[partition(index)]),
            // The driver asks for committed offsets when nothing is under way.
            Op::Assign { index } if !self.owns(index) && self.flight.is_none() => {
                let seen = &mut self.seen[index as usize];
                let start = seen.stored.unwrap_or(Offset::ZERO);
                (seen.handed, seen.taken) = (start.get(), seen.taken.max(start.get()));
                self.commits.assign(partition(index), start, seen.stored);
            }
            Op::Wait { ms } => self.now += Duration::from_millis(ms),
            Op::Answer(verdict) => self.answer(verdict),
            Op::Read { .. } | Op::Assign { .. } => {}
        }
        self.drive();
    }

    fn owns(&self, index: u32) -> bool {
        self.commits.position(&partition(index)).is_some()
    }

    fn answer(&mut self, verdict: Verdict) {
        let Some((id, sent)) = self.flight.take() else { return };
        if matches!(verdict, Verdict::Done | Verdict::DoneAndNotTold) {
            for (name, offset) in &sent {
                let seen = &mut self.seen[name.partition.get() as usize];
                seen.steps_back += u64::from(seen.stored.is_some_and(|stored| *offset < stored));
                assert!(
                    seen.steps_back <= seen.seeks,
                    "{name:?} goes back to {offset} from {:?}",
                    seen.stored
                );
                assert!(offset.get() <= seen.taken, "{name:?}: {offset} is not taken");
                seen.stored = Some(*offset);
            }
        }
        let reply = match verdict {
            Verdict::Done => Ok(vec![ErrorCode::None; sent.len()]),
            Verdict::DoneAndNotTold | Verdict::Lost => Err(Failure::Lost),
            Verdict::NotNow => Ok(vec![ErrorCode::NotCoordinator; sent.len()]),
            Verdict::Refused => Ok(vec![ErrorCode::IllegalGeneration; sent.len()]),
        };
        self.commits.handle_reply(self.now, id, reply, 0.5);
    }

    fn drive(&mut self) {
        if let Some(sent) = self.commits.poll_commit(self.now, true) {
            assert!(self.flight.is_none() && !sent.1.is_empty());
            self.flight = Some(sent);
        }
        while let Some((Some(id), _)) = self.commits.poll_outcome() {
            assert_eq!(id, self.begun[self.ended], "outcomes come in order, each once");
            self.ended += 1;
        }
        if let Some(at) = self.commits.poll_timeout(self.now) {
            assert!(self.now < at, "an alarm that is over would ring for ever");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn commits_never_go_back_and_each_has_its_outcome(
        ops in prop::collection::vec(op(), 0..120),
        auto in prop::option::of(Just(Duration::from_secs(1))),
    ) {
        let now = Instant::now();
        let commits = Commits::new(Options { timeout: Duration::from_secs(10), ..options(auto) }, now);
        let seen = [Seen::default(); 3];
        let mut model = Model { commits, now, seen, begun: Vec::new(), ended: 0, flight: None };
        ops.into_iter().for_each(|op| model.apply(op));
        for _ in 0..400 {
            model.apply(Op::Wait { ms: 500 });
            model.apply(Op::Answer(Verdict::Done));
        }
        prop_assert_eq!(model.ended, model.begun.len());
        for index in (0..3).filter(|index| auto.is_some() && model.owns(*index)) {
            // Somebody may have committed by hand what lies ahead.
            prop_assert!(model.seen[index as usize].stored >= model.commits.position(&partition(index)));
        }
    }
}
