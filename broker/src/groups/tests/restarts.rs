//! What the log holds is what a restart knows; what the log refused has not happened.

use std::time::Duration;

use protocol::model::ErrorCode;

use super::fixture::*;
use crate::groups::*;

#[test]
fn a_stable_group_goes_on_after_a_restart() {
    let mut story = Story::new(config());
    let joined = story.stable("g", 2);
    story.commit("g", &joined[0].member, 1, 9);
    story.restart();
    story.pass(SESSION - Duration::from_millis(1));
    assert_eq!(story.heartbeat("g", &joined[0].member, 1), ErrorCode::None);
    let to = story.sync(&joined[1], "g", &[]);
    assert_eq!(story.assignment(to), [1]);
    assert_eq!(story.committed("g"), Some(9));
    let follower = story.join(&consumer("g", &joined[1].member));
    assert_eq!(story.joined(follower).generation, Generation(1), "its metadata is known");
    story.pass(SESSION / 2);
    story.heartbeat("g", &joined[0].member, 1);
    story.pass(SESSION / 2);
    assert_eq!(story.state("g"), State::PreparingRebalance, "the silent one is out");
}

#[test]
fn a_generation_that_was_told_is_not_given_again() {
    let mut story = Story::new(config());
    let joins = [story.join(&consumer("g", "")), story.join(&consumer("g", ""))];
    story.pass(DELAY * 2);
    let [first, second] = joins.map(|join| story.joined(join));
    story.restart();
    assert_eq!(story.heartbeat("g", &first.member, 1), ErrorCode::RebalanceInProgress);
    let late = story.sync(&first, "g", &[(&second.member, b"of before")]);
    assert_eq!(story.code(late), Some(ErrorCode::RebalanceInProgress));
    let again = [&first, &second].map(|joined| story.join(&consumer("g", &joined.member)));
    assert_eq!(again.map(|join| story.joined(join).generation), [Generation(2); 2]);
}

#[test]
fn a_refused_generation_is_told_to_nobody_and_joins_are_made_again() {
    let mut story = Story::new(config());
    let joined = story.stable("g", 2);
    let leader = story.join(&consumer("g", &joined[0].member));
    story.refuse = Some(ErrorCode::CoordinatorNotAvailable);
    let follower = story.join(&consumer("g", &joined[1].member));
    for request in [leader, follower] {
        assert_eq!(story.code(request), Some(ErrorCode::CoordinatorNotAvailable));
    }
    assert_eq!(story.state("g"), State::PreparingRebalance);
    story.refuse = None;
    let again = [0, 1].map(|at: usize| story.join(&consumer("g", &joined[at].member)));
    let again = again.map(|join| story.joined(join)).to_vec();
    assert!(joined[0].generation < again[0].generation);
    story.assign("g", &again);
}

#[test]
fn a_refused_assignment_is_told_to_nobody_and_the_group_rebalances() {
    let mut story = Story::new(config());
    let joins = [story.join(&consumer("g", "")), story.join(&consumer("g", ""))];
    story.pass(DELAY * 2);
    let [leader, follower] = joins.map(|join| story.joined(join));
    let waiting = story.sync(&follower, "g", &[]);
    story.refuse = Some(ErrorCode::DiskFull);
    let assigning = story.sync(&leader, "g", &[(&follower.member, b"x")]);
    for request in [waiting, assigning] {
        assert_eq!(story.code(request), Some(ErrorCode::DiskFull));
    }
    assert_eq!(story.state("g"), State::PreparingRebalance);
    assert_eq!(story.heartbeat("g", &leader.member, 1), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_refused_commit_has_not_happened() {
    let mut story = Story::new(config());
    story.commit("g", "", -1, 1);
    story.refuse = Some(ErrorCode::DiskFull);
    assert_eq!(story.commit("g", "", -1, 2), ErrorCode::DiskFull);
    assert_eq!(story.commit("h", "", -1, 2), ErrorCode::DiskFull);
    assert_eq!(story.delete_offsets("g", TOPIC), ErrorCode::DiskFull);
    assert_eq!(story.delete_group("g"), ErrorCode::DiskFull);
    story.refuse = None;
    assert_eq!((story.committed("g"), story.state("h")), (Some(1), State::Dead));
}

#[test]
fn an_empty_group_that_could_not_be_stored_is_stored_later() {
    let mut story = Story::new(config());
    let member = story.stable("g", 1).remove(0).member;
    story.refuse = Some(ErrorCode::DiskFull);
    assert_eq!(story.leave("g", &member, None), ErrorCode::DiskFull);
    story.pass(Duration::from_secs(5));
    story.refuse = None;
    let records = story.log.len();
    story.pass(Duration::from_secs(5));
    assert_eq!(story.log.len(), records + 1);
    story.restart();
    let described = story.describe("g").unwrap();
    assert_eq!((described.state, described.generation), (State::Empty, Generation(2)));
}

#[test]
fn tombstones_that_could_not_be_stored_are_written_later() {
    let mut story = Story::new(config());
    story.commit("expires", "", -1, 1);
    story.pass(Duration::from_secs(3 * 24 * 3600));
    story.commit("topic", "", -1, 1);
    story.coordinator.topics_deleted(&[TOPIC].into(), story.now);
    story.refuse = Some(ErrorCode::DiskFull);
    story.pass(Duration::from_secs(3));
    assert_eq!([story.committed("expires"), story.committed("topic")], [Some(1), Some(1)]);
    story.refuse = None;
    story.pass(Duration::from_secs(3));
    assert!(story.coordinator.groups.is_empty(), "both were of the topic");
}

#[test]
fn a_static_member_whose_new_id_could_not_be_stored_may_come_again() {
    let mut story = Story::new(config());
    let back = Join { instance: Some("a"), ..consumer("g", "") };
    let join = story.join(&back);
    story.pass(DELAY);
    let joined = story.joined(join);
    story.assign("g", std::slice::from_ref(&joined));
    story.refuse = Some(ErrorCode::DiskFull);
    let refused = story.join(&back);
    assert_eq!(story.code(refused), Some(ErrorCode::DiskFull));
    story.refuse = None;
    let again = story.join(&back);
    assert_eq!(story.joined(again).generation, Generation(2));
}

#[test]
fn a_coordinator_that_ends_answers_all_who_wait() {
    let mut story = Story::new(config());
    let stable = story.stable("a", 2);
    let join = story.join(&consumer("a", &stable[0].member));
    let joins = [story.join(&consumer("b", "")), story.join(&consumer("b", ""))];
    story.pass(DELAY * 2);
    let follower = story.joined(joins[1]);
    let sync = story.sync(&follower, "b", &[]);
    let mut effects = Effects::default();
    story.coordinator.unload(ErrorCode::NotCoordinator, &mut effects);
    let answered: Vec<_> = effects.replies.iter().map(|(to, reply)| (to.0, code(reply))).collect();
    assert_eq!(answered, [join, sync].map(|request| (request, ErrorCode::NotCoordinator)));
}

#[test]
fn records_of_other_kinds_are_skipped_and_bad_ones_are_told() {
    let mut story = Story::new(config());
    let now = story.now;
    assert_eq!(story.coordinator.apply(b"\0\x03\0\x01g", Some(b"?"), now), Ok(()));
    assert!(story.coordinator.apply(b"\0\x02\0\x01g", Some(b"?"), now).is_err());
    assert!(story.coordinator.apply(b"\0\x02\0\x09g", None, now).is_err());
    assert!(story.coordinator.groups.is_empty());
}

#[test]
#[should_panic(expected = "not settled")]
fn a_driver_that_does_not_settle_is_a_bug() {
    let mut story = Story::new(config());
    story.stable("g", 1);
    let mut effects = Effects::default();
    story.jump(Duration::from_secs(3600));
    story.coordinator.tick(story.now, &mut effects);
    assert!(!effects.records.is_empty());
    story.coordinator.tick(story.now, &mut effects);
}
