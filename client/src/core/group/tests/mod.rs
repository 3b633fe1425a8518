//! One member's stories, told call by call.
//!
//!     Story ── a member and its clock: `take` what it asks, `answer` it, `events` it told

use super::model::{ROUTE, SESSION, options, topics};
use super::*;
use crate::core::assign::wire::write_assignment;
use protocol::model::PartitionIndex;

mod ends;

const COOPERATIVE: &[Assignor] = &[Assignor::CooperativeSticky];
const EAGER: &[Assignor] = &[Assignor::Range];

struct Story {
    membership: Membership,
    now: Instant,
}

fn partition(index: u32) -> TopicPartition {
    TopicPartition { topic: "t".into(), partition: PartitionIndex::new(index) }
}

fn partitions(indexes: impl IntoIterator<Item = u32>) -> Vec<TopicPartition> {
    indexes.into_iter().map(partition).collect()
}

fn refused(code: ErrorCode) -> Result<Reply, Failure> {
    Err(Failure::Refused(code))
}

impl Story {
    fn new(options: Options) -> Story {
        let now = Instant::now();
        let mut membership = Membership::new(options, now);
        membership.subscribe(topics(&["t"]));
        membership.poll_begins();
        Story { membership, now }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    fn asks(&mut self) -> Option<(CallId, Call)> {
        self.membership.poll_call(self.now)
    }

    fn take(&mut self) -> (CallId, Call) {
        self.asks().expect("it asks for something")
    }

    fn answer(&mut self, id: CallId, reply: Result<Reply, Failure>) {
        self.membership.handle_reply(self.now, id, reply, 1.0);
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.membership.poll_event()).collect()
    }

    fn find(&mut self) {
        let (id, call) = self.take();
        assert_eq!(call, Call::FindCoordinator);
        self.answer(id, Ok(Reply::Coordinator(ROUTE)));
    }

    fn joined(&self, generation: i32, protocol: Assignor) -> Joined {
        Joined {
            generation: Generation::from_wire(generation).unwrap(),
            protocol: protocol.name().to_owned(),
            member_id: "m1".into(),
            is_leader: false,
            skip_assignment: false,
            members: Vec::new(),
        }
    }

    /// A follower goes through a rebalance.
    fn rebalance(&mut self, generation: i32, given: &[u32]) {
        let (id, call) = self.take();
        assert!(matches!(call, Call::Join { .. }), "{call:?}");
        let joined = self.joined(generation, self.membership.options.assignors[0]);
        self.answer(id, Ok(Reply::Joined(joined)));
        let (id, call) = self.take();
        assert!(matches!(&call, Call::Sync { assignments, .. } if assignments.is_empty()), "{call:?}");
        self.answer(id, Ok(Reply::Synced(write_assignment(partitions(given.iter().copied())).into())));
    }

    fn stable(options: Options, given: &[u32]) -> Story {
        let mut story = Story::new(options);
        story.find();
        story.rebalance(1, given);
        assert_eq!(story.events(), [Event::Assigned(partitions(given.iter().copied()))]);
        story
    }

    fn heartbeat(&mut self, reply: Result<Reply, Failure>) {
        self.wait(SESSION / 3);
        let (id, call) = self.take();
        assert!(matches!(call, Call::Heartbeat(_)), "{call:?}");
        self.answer(id, reply);
    }

    fn revoke(&mut self) -> (RevokeId, Vec<TopicPartition>) {
        match self.events().as_slice() {
            [Event::Revoke { id, partitions }, ..] => (*id, partitions.clone()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_new_member_is_given_its_id_and_joins_with_it_at_once() {
    let mut story = Story::new(options(EAGER));
    story.find();
    let (id, call) = story.take();
    assert!(matches!(call, Call::Join { member_id, .. } if member_id.is_empty()));
    assert!(story.asks().is_none(), "one question at a time");
    story.answer(id, Ok(Reply::MemberIdRequired("m1".into())));
    let (_, call) = story.take();
    assert!(matches!(call, Call::Join { member_id, .. } if &*member_id == "m1"));
}

#[test]
fn the_leader_asks_for_partitions_and_assigns_and_others_do_not() {
    let mut story = Story::new(options(EAGER));
    story.find();
    let (id, call) = story.take();
    let Call::Join { protocols, .. } = call else { panic!("{call:?}") };
    let metadata = bytes::Bytes::from(protocols[0].1.clone());
    let member =
        |id: &str| JoinedMember { member_id: id.into(), instance_id: None, metadata: metadata.clone() };
    // What cannot be read of a member does not stop the others.
    let odd = JoinedMember { metadata: bytes::Bytes::from_static(&[9]), ..member("odd") };
    let members = vec![member("m1"), member("m2"), odd];
    let joined = Joined { is_leader: true, members, ..story.joined(1, Assignor::Range) };
    story.answer(id, Ok(Reply::Joined(joined)));
    let (id, call) = story.take();
    assert_eq!(call, Call::Topics(vec!["t".into()]));
    story.answer(id, Err(Failure::Lost));
    assert!(story.asks().is_none());
    story.wait(Duration::from_millis(100));
    let (id, _) = story.take();
    let counts: PartitionCounts = [("t".into(), 3)].into();
    story.answer(id, Ok(Reply::Topics(counts.clone())));
    let (id, call) = story.take();
    let Call::Sync { assignments, .. } = call else { panic!("{call:?}") };
    let expected = [("m1", partitions([0, 1])), ("m2", partitions([2])), ("odd", vec![])];
    assert_eq!(assignments, expected.map(|(id, given)| (Arc::from(id), write_assignment(given))));
    story.answer(id, Ok(Reply::Synced(assignments[0].1.clone().into())));
    assert_eq!(story.events(), [Event::Assigned(partitions([0, 1]))]);
    assert_eq!(story.membership.watched().count(), 1);
    story.membership.handle_metadata(&counts);
    assert!(story.asks().is_none(), "as it was");
    story.membership.handle_metadata(&[("t".into(), 4)].into());
    assert!(story.asks().is_none());
    assert_eq!(story.revoke().1, partitions([0, 1]), "eager: all of it, and then it joins");
}

#[test]
fn an_eager_member_lets_go_of_everything_before_it_joins() {
    let mut story = Story::stable(options(EAGER), &[0, 1]);
    story.heartbeat(refused(ErrorCode::RebalanceInProgress));
    assert!(story.asks().is_none(), "the application commits first");
    let (id, going) = story.revoke();
    assert_eq!(going, partitions([0, 1]));
    assert_eq!(story.membership.owned().len(), 2, "until it says so");
    story.heartbeat(refused(ErrorCode::RebalanceInProgress));
    story.membership.handle_revoked(id);
    assert!(story.membership.owned().is_empty());
    story.rebalance(2, &[1]);
    assert_eq!(story.events(), [Event::Assigned(partitions([1]))]);
}

#[test]
fn a_cooperative_member_lets_go_of_what_moves_and_joins_again() {
    let mut story = Story::stable(options(COOPERATIVE), &[0, 1, 2]);
    story.heartbeat(refused(ErrorCode::RebalanceInProgress));
    story.rebalance(2, &[0, 3]);
    let events = story.events();
    let [Event::Revoke { id, partitions: going }, Event::Assigned(added)] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!((going, added), (&partitions([1, 2]), &partitions([3])));
    assert!(story.asks().is_none(), "they are still read here");
    story.membership.handle_revoked(*id);
    let (_, call) = story.take();
    let Call::Join { protocols, .. } = call else { panic!("{call:?}") };
    let said = Subscription::read(&protocols[0].1).unwrap();
    assert_eq!((said.owned, said.generation), (partitions([0, 3]), Generation::from_wire(2)));
}

/// What moves is silent until everybody has joined once more: nobody is to learn that a third of a session
/// timeout later.
#[test]
fn a_cooperative_member_soon_asks_whether_the_group_is_rebalanced_again() {
    let mut story = Story::stable(options(COOPERATIVE), &[0]);
    for (ms, last) in [(100, false), (200, false), (400, false), (800, true)] {
        story.wait(Duration::from_millis(ms - 1));
        assert!(story.asks().is_none(), "{ms}");
        story.wait(Duration::from_millis(1));
        let (id, call) = story.take();
        assert!(matches!(call, Call::Heartbeat(_)), "{call:?}");
        story.answer(id, if last { refused(ErrorCode::RebalanceInProgress) } else { Ok(Reply::Done) });
    }
    assert!(matches!(story.take().1, Call::Join { .. }));
    let mut eager = Story::stable(options(EAGER), &[0]);
    eager.wait(SESSION / 3 - Duration::from_millis(1));
    assert!(eager.asks().is_none(), "nothing is held back");
}

#[test]
fn what_was_claimed_and_lost_meanwhile_is_given_free_by_joining_again() {
    let mut story = Story::stable(options(COOPERATIVE), &[0, 1]);
    story.heartbeat(refused(ErrorCode::RebalanceInProgress));
    let (join, _) = story.take();
    story.wait(SESSION);
    assert!(matches!(story.asks(), Some((_, Call::Heartbeat(_)))));
    assert_eq!(story.events(), [Event::Lost(partitions([0, 1]))]);
    let joined = story.joined(2, Assignor::CooperativeSticky);
    story.answer(join, Ok(Reply::Joined(joined)));
    let (sync, _) = story.take();
    // The leader believed the claim, and holds 1 back from its new reader.
    story.answer(sync, Ok(Reply::Synced(write_assignment(partitions([0])).into())));
    assert_eq!(story.events(), [Event::Assigned(partitions([0]))]);
    assert!(matches!(story.take().1, Call::Join { .. }));
}

#[test]
fn a_sticky_member_says_what_it_had() {
    let mut story = Story::stable(options(&[Assignor::Sticky]), &[0, 1]);
    story.heartbeat(refused(ErrorCode::RebalanceInProgress));
    assert!(story.asks().is_none());
    let (id, _) = story.revoke();
    story.membership.handle_revoked(id);
    let Call::Join { protocols, .. } = story.take().1 else { panic!() };
    let member =
        Subscription::read(&protocols[0].1).unwrap().into_member(Assignor::Sticky, "m1".into(), None);
    assert_eq!((member.owned, member.generation), (partitions([0, 1]), Generation::from_wire(1)));
}

#[test]
fn a_member_that_is_unknown_has_lost_everything_and_its_id() {
    let mut story = Story::stable(options(COOPERATIVE), &[0]);
    story.heartbeat(refused(ErrorCode::UnknownMemberId));
    assert_eq!(story.events(), [Event::Lost(partitions([0]))]);
    assert!(story.membership.state().is_none() && story.membership.owned().is_empty());
    story.wait(Duration::from_millis(100));
    assert!(matches!(story.take().1, Call::Join { member_id, .. } if member_id.is_empty()));
}

#[test]
fn a_member_of_an_older_generation_has_lost_everything_and_keeps_its_id() {
    let mut story = Story::stable(options(COOPERATIVE), &[0]);
    story.heartbeat(refused(ErrorCode::IllegalGeneration));
    assert_eq!(story.events(), [Event::Lost(partitions([0]))]);
    assert!(matches!(story.take().1, Call::Join { member_id, .. } if &*member_id == "m1"));
}

#[test]
fn another_coordinator_is_looked_for_and_nothing_is_lost_meanwhile() {
    for failure in [Failure::Lost, Failure::Refused(ErrorCode::NotCoordinator)] {
        let mut story = Story::stable(options(EAGER), &[0]);
        story.heartbeat(Err(failure));
        assert!(story.asks().is_none(), "after a pause");
        story.wait(Duration::from_millis(100));
        story.find();
        let (id, call) = story.take();
        assert!(matches!(call, Call::Heartbeat(_)), "at once");
        story.answer(id, Ok(Reply::Done));
        assert_eq!(story.events(), []);
    }
}

#[test]
fn a_commit_that_finds_another_coordinator_makes_the_member_look_for_it() {
    let mut story = Story::stable(options(EAGER), &[0]);
    assert_eq!(story.membership.coordinator(), Some(ROUTE));
    story.membership.handle_coordinator_lost();
    assert_eq!(story.membership.coordinator(), None);
    story.find();
    assert!(matches!(story.take().1, Call::Heartbeat(_)));
}

#[test]
fn a_coordinator_that_is_loading_is_asked_again() {
    let mut story = Story::new(options(EAGER));
    story.find();
    let (id, _) = story.take();
    story.answer(id, refused(ErrorCode::CoordinatorLoadInProgress));
    assert!(story.asks().is_none());
    assert_eq!(story.membership.poll_timeout(story.now), Some(story.now + Duration::from_millis(100)));
    story.wait(Duration::from_millis(100));
    assert!(matches!(story.take().1, Call::Join { .. }));
}

#[test]
fn without_a_heartbeat_answered_for_the_session_timeout_partitions_are_lost() {
    let mut story = Story::stable(options(EAGER), &[0]);
    story.wait(SESSION / 3);
    let (id, _) = story.take();
    // The last sign of life was the Sync, at 0.
    story.wait(SESSION * 2 / 3 - Duration::from_millis(1));
    assert!(story.asks().is_none());
    assert_eq!(story.events(), []);
    assert_eq!(story.membership.poll_timeout(story.now), Some(story.now + Duration::from_millis(1)));
    story.wait(Duration::from_millis(1));
    story.answer(id, Ok(Reply::Done));
    assert_eq!(story.events(), [Event::Lost(partitions([0]))], "the answer came too late");
    story.find();
    assert!(matches!(story.take().1, Call::Join { member_id, .. } if &*member_id == "m1"));
}

#[test]
fn the_session_counts_from_when_the_heartbeat_was_sent() {
    let mut story = Story::stable(options(EAGER), &[0]);
    story.wait(SESSION / 3);
    let (id, _) = story.take();
    let sent = story.now;
    story.wait(SESSION / 3);
    story.answer(id, Ok(Reply::Done));
    story.now = sent + SESSION;
    let _ = story.asks();
    assert_eq!(story.events(), [Event::Lost(partitions([0]))]);
}

#[test]
fn a_revocation_that_is_overtaken_by_a_loss_ends_and_its_answer_counts_for_nothing() {
    let mut story = Story::stable(options(EAGER), &[0]);
    story.heartbeat(refused(ErrorCode::RebalanceInProgress));
    assert!(story.asks().is_none());
    let (first, _) = story.revoke();
    story.heartbeat(refused(ErrorCode::UnknownMemberId));
    assert_eq!(story.events(), [Event::Lost(partitions([0]))]);
    story.wait(Duration::from_millis(100));
    story.rebalance(5, &[0]);
    story.events();
    story.heartbeat(refused(ErrorCode::RebalanceInProgress));
    assert!(story.asks().is_none());
    story.membership.handle_revoked(first);
    assert_eq!(story.membership.owned().len(), 1);
    let (second, _) = story.revoke();
    story.membership.handle_revoked(second);
    assert!(story.membership.owned().is_empty());
}

#[test]
fn a_static_member_that_leads_again_leaves_the_assignment_alone() {
    let mut story = Story::new(Options { instance_id: Some("i".into()), ..options(EAGER) });
    story.find();
    let (id, call) = story.take();
    let Call::Join { protocols, .. } = call else { panic!("{call:?}") };
    let metadata = protocols[0].1.clone().into();
    let members = vec![JoinedMember { member_id: "m1".into(), instance_id: Some("i".into()), metadata }];
    let joined =
        Joined { is_leader: true, skip_assignment: true, members, ..story.joined(4, Assignor::Range) };
    story.answer(id, Ok(Reply::Joined(joined)));
    let (id, _) = story.take();
    story.answer(id, Ok(Reply::Topics([("t".into(), 2)].into())));
    let (id, call) = story.take();
    assert!(matches!(call, Call::Sync { assignments, .. } if assignments.is_empty()));
    story.answer(id, Ok(Reply::Synced(write_assignment(partitions([1])).into())));
    assert_eq!(story.events(), [Event::Assigned(partitions([1]))]);
    assert_eq!(story.membership.watched().count(), 1, "but it looks out for new partitions");
}

#[test]
fn a_wish_to_read_other_topics_is_a_reason_to_join_again() {
    let mut story = Story::stable(options(COOPERATIVE), &[0]);
    story.membership.subscribe(topics(&["t"]));
    assert!(story.asks().is_none(), "the same as before");
    story.membership.subscribe(topics(&["t", "u"]));
    assert!(matches!(story.take().1, Call::Join { .. }), "with everything it owns");
    let mut story = Story::stable(options(COOPERATIVE), &[0]);
    story.membership.subscribe(topics(&["u"]));
    assert!(story.asks().is_none());
    assert_eq!(story.revoke().1, partitions([0]), "nobody reads it here any more");
}

#[test]
fn what_was_given_of_a_topic_not_wanted_any_more_is_not_taken() {
    let mut story = Story::new(options(COOPERATIVE));
    story.find();
    let (id, _) = story.take();
    story.membership.subscribe(topics(&["u"]));
    let joined = story.joined(1, Assignor::CooperativeSticky);
    story.answer(id, Ok(Reply::Joined(joined)));
    let (id, _) = story.take();
    story.answer(id, Ok(Reply::Synced(write_assignment(partitions([0])).into())));
    assert_eq!(story.events(), [Event::Assigned(vec![])]);
    assert!(matches!(story.take().1, Call::Join { .. }), "and it joins again for what it wants");
}

#[test]
fn heartbeats_go_on_beside_a_join_and_keep_what_is_owned() {
    let mut story = Story::stable(options(COOPERATIVE), &[0]);
    story.heartbeat(refused(ErrorCode::RebalanceInProgress));
    let (join, _) = story.take();
    for _ in 0..9 {
        story.heartbeat(refused(ErrorCode::RebalanceInProgress));
    }
    assert_eq!(story.events(), [], "three session timeouts in a Join, and nothing is lost");
    let joined = story.joined(2, Assignor::CooperativeSticky);
    story.answer(join, Ok(Reply::Joined(joined)));
    let (sync, _) = story.take();
    for _ in 0..9 {
        story.heartbeat(Ok(Reply::Done));
    }
    story.answer(sync, Ok(Reply::Synced(write_assignment(partitions([0, 1])).into())));
    assert_eq!(story.events(), [Event::Assigned(partitions([1]))]);
}

#[test]
fn an_assignment_that_comes_after_the_session_is_not_taken() {
    let mut story = Story::new(options(EAGER));
    story.find();
    let (id, _) = story.take();
    story.wait(3 * SESSION);
    let joined = story.joined(1, Assignor::Range);
    story.answer(id, Ok(Reply::Joined(joined)));
    let (id, _) = story.take();
    story.wait(SESSION);
    story.answer(id, Ok(Reply::Synced(write_assignment(partitions([0])).into())));
    assert!(story.membership.owned().is_empty());
    assert_eq!(story.events(), []);
    story.find();
    assert!(matches!(story.take().1, Call::Join { .. }));
}
