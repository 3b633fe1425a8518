//! Members that stay, go, fall silent, or come back under their instance id.

use std::time::Duration;

use protocol::model::ErrorCode;

use super::fixture::*;
use crate::groups::*;

fn keeper<'a>(member: &'a str, instance: &'a str) -> Join<'a> {
    Join { instance: Some(instance), member_id_required: true, ..consumer("g", member) }
}

/// Two static members, `a` the leader, with assignments.
fn stable_static(story: &mut Story) -> Vec<Joined> {
    let joins = ["a", "b"].map(|instance| story.join(&keeper("", instance)));
    story.pass(DELAY * 2);
    let joined = joins.map(|join| story.joined(join)).to_vec();
    story.assign("g", &joined);
    joined
}

#[test]
fn who_is_silent_for_its_session_timeout_is_out_and_the_others_join_again() {
    let mut story = Story::new(config());
    let joined = story.stable("g", 2);
    for _ in 0..2 {
        story.pass(SESSION / 2 - Duration::from_millis(1));
        assert_eq!(story.heartbeat("g", &joined[0].member, 1), ErrorCode::None);
    }
    story.pass(Duration::from_millis(2));
    assert_eq!(story.state("g"), State::PreparingRebalance);
    assert_eq!(story.heartbeat("g", &joined[1].member, 1), ErrorCode::UnknownMemberId);
}

#[test]
fn commits_and_syncs_are_signs_of_life_too() {
    let mut story = Story::new(config());
    let joined = story.stable("g", 1).remove(0);
    for _ in 0..3 {
        story.pass(SESSION * 2 / 3);
        assert_eq!(story.commit("g", &joined.member, 1, 5), ErrorCode::None);
        story.pass(SESSION * 2 / 3);
        let sync = story.sync(&joined, "g", &[]);
        assert_eq!(story.code(sync), Some(ErrorCode::None));
    }
}

#[test]
fn heartbeats_are_refused_to_strangers_and_to_other_generations() {
    let mut story = Story::new(config());
    let joined = story.stable("g", 1).remove(0);
    assert_eq!(story.heartbeat("g", "x", 1), ErrorCode::UnknownMemberId);
    assert_eq!(story.heartbeat("h", &joined.member, 1), ErrorCode::UnknownMemberId);
    assert_eq!(story.heartbeat("g", &joined.member, 0), ErrorCode::IllegalGeneration);
    assert_eq!(story.heartbeat("g", &joined.member, 1), ErrorCode::None);
}

#[test]
fn while_the_leader_assigns_heartbeats_are_in_order() {
    let mut story = Story::new(config());
    let joins = [story.join(&consumer("g", "")), story.join(&consumer("g", ""))];
    story.pass(DELAY * 2);
    let member = story.joined(joins[1]).member;
    assert_eq!(story.heartbeat("g", &member, 1), ErrorCode::None);
}

#[test]
fn who_does_not_join_again_in_time_is_out() {
    let mut story = Story::new(config());
    let joined = story.stable("g", 3);
    let again = [&joined[1], &joined[2]]
        .map(|joined| story.join(&Join { protocols: &[("range", b"new")], ..consumer("g", &joined.member) }));
    for _ in 0..11 {
        story.pass(SESSION / 2);
        story.heartbeat("g", &joined[0].member, 1);
        assert_eq!(story.code(again[0]), None, "the leader lives and is waited for");
    }
    story.pass(SESSION / 2);
    let again = again.map(|join| story.joined(join));
    assert_eq!(again[0].generation, Generation(2));
    assert!(again[0].leader != joined[0].member, "another leads");
    assert_eq!(again.iter().map(|joined| joined.members.len()).max(), Some(2));
}

#[test]
fn who_does_not_sync_in_time_is_out() {
    let mut story = Story::new(config());
    let joins = [story.join(&consumer("g", "")), story.join(&consumer("g", ""))];
    story.pass(DELAY * 2);
    let [leader, follower] = joins.map(|join| story.joined(join));
    let sync = story.sync(&follower, "g", &[]);
    for _ in 0..13 {
        story.pass(SESSION / 2);
        story.heartbeat("g", &leader.member, 1);
    }
    assert_eq!(story.code(sync), Some(ErrorCode::RebalanceInProgress));
    assert_eq!(story.heartbeat("g", &leader.member, 1), ErrorCode::UnknownMemberId);
}

#[test]
fn a_new_member_whose_client_is_gone_does_not_wait_for_ever() {
    let mut story = Story::new(config());
    let patient = Join { rebalance_timeout: Duration::from_secs(3600), ..consumer("g", "") };
    let first = story.join(&patient);
    story.pass(DELAY);
    let first = story.joined(first);
    story.assign("g", std::slice::from_ref(&first));
    let new = story.join(&patient);
    for _ in 0..61 {
        story.pass(SESSION / 2);
        story.heartbeat("g", &first.member, 1);
    }
    assert_eq!(story.code(new), Some(ErrorCode::UnknownMemberId));
}

#[test]
fn the_last_member_leaves_an_empty_group_with_the_next_generation() {
    let mut story = Story::new(config());
    let joined = story.stable("g", 2);
    assert_eq!(story.leave("g", "x", None), ErrorCode::UnknownMemberId);
    assert_eq!(story.leave("h", "x", None), ErrorCode::UnknownMemberId);
    assert_eq!(story.leave("g", &joined[0].member, None), ErrorCode::None);
    assert_eq!(story.state("g"), State::PreparingRebalance);
    assert_eq!(story.leave("g", &joined[1].member, None), ErrorCode::None);
    let described = story.describe("g").unwrap();
    assert_eq!((described.state, described.generation), (State::Empty, Generation(2)));
    let next = story.stable("g", 1);
    assert_eq!(next[0].generation, Generation(3));
}

#[test]
fn several_leave_at_once_and_make_one_rebalance() {
    let mut story = Story::new(config());
    let joined = story.stable("g", 3);
    let leaving = |at: usize| Leaving { member: &joined[at].member, instance: None };
    let leave = Leave { group: "g", members: &[leaving(0), leaving(2), leaving(0)] };
    let again = story.join(&Join { protocols: &[("range", b"n")], ..consumer("g", &joined[1].member) });
    let to = story.call(|coordinator, to, now, effects| coordinator.leave(&leave, to, now, effects));
    let Reply::Leave(Ok(left)) = &story.replies[&to] else { panic!("not left") };
    let codes: Vec<ErrorCode> = left.iter().map(|left| left.code).collect();
    assert_eq!(codes, [ErrorCode::None, ErrorCode::None, ErrorCode::UnknownMemberId]);
    assert_eq!(story.joined(again).generation, Generation(2));
}

#[test]
fn a_join_that_waits_is_refused_when_its_member_leaves() {
    let mut story = Story::new(config());
    let joined = story.stable("g", 2);
    let again = story.join(&consumer("g", &joined[0].member));
    assert_eq!(story.leave("g", &joined[0].member, None), ErrorCode::None);
    assert_eq!(story.code(again), Some(ErrorCode::UnknownMemberId));
}

#[test]
fn a_static_member_that_comes_back_keeps_its_assignment_and_fences_its_former_self() {
    let mut story = Story::new(config());
    let joined = stable_static(&mut story);
    let back = story.join(&keeper("", "b"));
    let back = story.joined(back);
    assert_eq!(back.generation, joined[1].generation);
    assert_ne!(back.member, joined[1].member);
    let to = story.sync(&back, "g", &[]);
    assert_eq!(story.assignment(to), [1]);
    assert_eq!(story.state("g"), State::Stable);
    let fenced = story.join(&keeper(&joined[1].member, "b"));
    assert_eq!(story.code(fenced), Some(ErrorCode::FencedInstanceId));
    let commit = story.commit_as("g", &joined[1].member, Some("b"), 1, 7, "");
    assert_eq!(commit, ErrorCode::FencedInstanceId);
    assert_eq!(story.leave("g", &joined[1].member, Some("b")), ErrorCode::FencedInstanceId);
    assert_eq!(story.commit_as("g", &back.member, Some("b"), 1, 7, ""), ErrorCode::None);
    story.restart();
    assert_eq!(story.commit_as("g", &back.member, Some("b"), 1, 8, ""), ErrorCode::None);
    assert_eq!(story.commit_as("g", &joined[1].member, Some("b"), 1, 9, ""), ErrorCode::FencedInstanceId);
}

#[test]
fn a_static_leader_that_comes_back_is_told_to_skip_the_assignment_or_not_to_lead() {
    let mut story = Story::new(config());
    let joined = stable_static(&mut story);
    let old = story.join(&keeper("", "a"));
    let old = story.joined(old);
    assert_eq!((&old.leader, old.members.len(), old.skip_assignment), (&joined[0].member, 0, false));
    let new = story.join(&Join { can_skip_assignment: true, ..keeper("", "a") });
    let new = story.joined(new);
    assert_eq!((&new.leader, new.members.len(), new.skip_assignment), (&new.member, 2, true));
}

#[test]
fn a_static_member_that_comes_back_during_a_rebalance_joins_it() {
    let mut story = Story::new(config());
    let joined = stable_static(&mut story);
    let first = story.join(&keeper(&joined[0].member, "a"));
    let waiting = story.join(&keeper("", "b"));
    let (first, back) = (story.joined(first), story.joined(waiting));
    assert_eq!((first.generation, back.generation), (Generation(2), Generation(2)));
    // Now the leader assigns: what it knows of b is the id before.
    let again = story.join(&keeper("", "b"));
    assert_eq!((story.code(again), story.state("g")), (None, State::PreparingRebalance));
}

#[test]
fn the_former_self_of_a_static_member_that_waits_is_fenced_at_once() {
    let mut story = Story::new(config());
    let joined = stable_static(&mut story);
    let former = story.join(&keeper(&joined[0].member, "a"));
    let back = story.join(&keeper("", "a"));
    assert_eq!(story.code(former), Some(ErrorCode::FencedInstanceId));
    assert_eq!(story.code(back), None);
}

#[test]
fn a_static_member_that_is_away_stays_in_the_generation_until_its_session_ends() {
    let mut story = Story::new(config());
    let patient = Duration::from_secs(600);
    let join = |instance| Join { session_timeout: patient, ..keeper("", instance) };
    let joins = ["a", "b"].map(|instance| story.join(&join(instance)));
    story.pass(DELAY * 2);
    let joined = joins.map(|join| story.joined(join));
    story.assign("g", &joined);
    let first = story.join(&Join { session_timeout: patient, ..keeper(&joined[0].member, "a") });
    story.pass(REBALANCE);
    let first = story.joined(first);
    assert_eq!((first.generation, first.members.len()), (Generation(2), 2), "b is expected back");
    story.assign("g", std::slice::from_ref(&first));
    for _ in 0..10 {
        story.pass(REBALANCE);
        story.heartbeat("g", &first.member, 2);
    }
    assert_eq!(story.state("g"), State::PreparingRebalance, "b is out");
}

#[test]
fn an_administrator_sends_a_static_member_away_by_its_instance_id() {
    let mut story = Story::new(config());
    let joined = stable_static(&mut story);
    assert_eq!(story.leave("g", "", Some("c")), ErrorCode::UnknownMemberId);
    assert_eq!(story.leave("g", "", Some("b")), ErrorCode::None);
    assert_eq!(story.heartbeat("g", &joined[1].member, 1), ErrorCode::UnknownMemberId);
}
