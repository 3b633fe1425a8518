//! How a membership ends: by wish, by absence, for good.

use super::*;

#[test]
fn a_fenced_member_is_out_for_good() {
    let mut story = Story::stable(Options { instance_id: Some("i".into()), ..options(EAGER) }, &[0]);
    story.heartbeat(refused(ErrorCode::FencedInstanceId));
    assert_eq!(story.events(), [Event::Lost(partitions([0])), Event::Failed(GroupError::Fenced)]);
    story.wait(10 * SESSION);
    assert!(story.asks().is_none());
    assert_eq!(story.membership.poll_timeout(story.now), None);
    story.membership.close();
    assert_eq!(story.events(), [Event::Closed]);
}

#[test]
fn who_does_not_poll_leaves_and_comes_back_with_the_next_poll() {
    let mut story = Story::stable(options(EAGER), &[0]);
    let start = story.now;
    story.membership.poll_ends(start);
    for _ in 0..19 {
        story.heartbeat(Ok(Reply::Done));
    }
    story.now = start + Duration::from_secs(60);
    let (id, call) = story.take();
    assert_eq!(call, Call::Leave { member_id: "m1".into() });
    assert_eq!(story.events(), [Event::Lost(partitions([0])), Event::LeftIdle]);
    story.answer(id, Ok(Reply::Done));
    story.wait(Duration::from_secs(100));
    assert!(story.asks().is_none());
    story.membership.poll_begins();
    assert!(matches!(story.take().1, Call::Join { member_id, .. } if member_id.is_empty()));
}

#[test]
fn who_waits_for_records_is_not_away() {
    let mut story = Story::stable(options(EAGER), &[0]);
    for _ in 0..40 {
        story.heartbeat(Ok(Reply::Done));
    }
    assert_eq!(story.events(), []);
}

#[test]
fn close_lets_go_leaves_and_says_so() {
    let mut story = Story::stable(options(COOPERATIVE), &[0]);
    story.membership.close();
    assert!(story.asks().is_none());
    let (id, _) = story.revoke();
    story.membership.handle_revoked(id);
    let (id, call) = story.take();
    assert_eq!(call, Call::Leave { member_id: "m1".into() });
    assert_eq!(story.events(), []);
    story.answer(id, Err(Failure::Lost));
    assert_eq!(story.events(), [Event::Closed]);
    assert!(story.asks().is_none());
}

#[test]
fn a_close_in_the_middle_of_a_rebalance_takes_nothing_more() {
    let mut story = Story::stable(options(COOPERATIVE), &[0]);
    story.heartbeat(refused(ErrorCode::RebalanceInProgress));
    let (id, _) = story.take();
    let joined = story.joined(2, Assignor::CooperativeSticky);
    story.answer(id, Ok(Reply::Joined(joined)));
    let (sync, _) = story.take();
    story.membership.close();
    assert!(story.asks().is_none());
    let (id, _) = story.revoke();
    story.answer(sync, Ok(Reply::Synced(write_assignment(partitions([1])).into())));
    assert_eq!(story.events(), []);
    story.membership.handle_revoked(id);
    assert!(matches!(story.take().1, Call::Leave { .. }));
}

#[test]
fn a_static_member_does_not_leave() {
    let mut story = Story::stable(Options { instance_id: Some("i".into()), ..options(EAGER) }, &[0]);
    story.membership.close();
    assert!(story.asks().is_none());
    let (id, _) = story.revoke();
    story.membership.handle_revoked(id);
    assert!(story.asks().is_none());
    assert_eq!(story.events(), [Event::Closed]);
}

#[test]
fn what_the_group_cannot_agree_on_is_the_end() {
    let mut story = Story::new(options(EAGER));
    story.find();
    let (id, _) = story.take();
    story.answer(id, refused(ErrorCode::InconsistentGroupProtocol));
    let code = ErrorCode::InconsistentGroupProtocol;
    assert_eq!(story.events(), [Event::Failed(GroupError::Refused(code))]);
    let mut story = Story::new(options(EAGER));
    story.find();
    let (id, _) = story.take();
    let joined = story.joined(1, Assignor::Sticky);
    story.answer(id, Ok(Reply::Joined(joined)));
    assert_eq!(story.events(), [Event::Failed(GroupError::UnknownAssignor("sticky".to_owned()))]);
}

#[test]
fn no_topics_no_membership() {
    let mut story = Story::stable(options(EAGER), &[0]);
    story.membership.subscribe(topics(&[]));
    assert!(story.asks().is_none());
    let (id, _) = story.revoke();
    story.membership.handle_revoked(id);
    let (id, call) = story.take();
    assert!(matches!(call, Call::Leave { .. }));
    story.answer(id, Ok(Reply::Done));
    story.wait(Duration::from_secs(100));
    assert!(story.asks().is_none());
    story.membership.subscribe(topics(&["t"]));
    assert!(matches!(story.take().1, Call::Join { .. }));
}

#[test]
fn an_answer_to_a_call_that_was_given_up_counts_for_nothing() {
    let mut story = Story::new(options(EAGER));
    story.find();
    let (id, _) = story.take();
    story.answer(id, Ok(Reply::MemberIdRequired("m1".into())));
    let (join, _) = story.take();
    story.membership.close();
    let (leave, call) = story.take();
    assert!(matches!(call, Call::Leave { .. }), "{call:?}");
    let joined = story.joined(1, Assignor::Range);
    story.answer(join, Ok(Reply::Joined(joined)));
    assert_eq!(story.events(), []);
    story.answer(leave, Ok(Reply::Done));
    assert_eq!(story.events(), [Event::Closed]);
}

#[test]
fn who_stays_after_all_joins_again_for_what_it_was_not_given() {
    let mut story = Story::stable(options(COOPERATIVE), &[0]);
    story.heartbeat(refused(ErrorCode::RebalanceInProgress));
    let (id, _) = story.take();
    let joined = story.joined(2, Assignor::CooperativeSticky);
    story.answer(id, Ok(Reply::Joined(joined)));
    let (sync, _) = story.take();
    story.membership.subscribe(topics(&[]));
    assert!(story.asks().is_none());
    let (id, _) = story.revoke();
    story.membership.subscribe(topics(&["t"]));
    story.answer(sync, Ok(Reply::Synced(write_assignment(partitions([0, 1])).into())));
    story.membership.handle_revoked(id);
    story.rebalance(3, &[0, 1]);
    assert_eq!(story.events(), [Event::Assigned(partitions([0, 1]))]);
}
