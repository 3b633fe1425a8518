//! JoinGroup and SyncGroup: who gets in, what it takes to begin a generation, who gets what.

use std::time::Duration;

use protocol::model::ErrorCode;

use super::fixture::*;
use crate::groups::*;

#[test]
fn a_member_without_an_id_is_sent_one_and_joins_with_it() {
    let mut story = Story::new(config());
    let first = story.join(&Join { member_id_required: true, ..consumer("g", "") });
    let Some(Reply::Join(Err(refused))) = story.replies.remove(&first) else { panic!("no reply") };
    assert_eq!(refused.code, ErrorCode::MemberIdRequired);
    assert_eq!(&*refused.member, "client-00000000-0000-0000-0000-000000000001");
    let second = story.join(&Join { member_id_required: true, ..consumer("g", &refused.member) });
    assert_eq!(story.code(second), None, "it waits for others");
    story.pass(DELAY);
    let joined = story.joined(second);
    assert_eq!((joined.generation, &joined.leader), (Generation(1), &refused.member));
    assert_eq!(joined.members.len(), 1);
}

#[test]
fn an_id_that_was_given_out_is_forgotten_after_the_session_timeout() {
    let mut story = Story::new(config());
    let first = story.join(&Join { member_id_required: true, ..consumer("g", "") });
    let Some(Reply::Join(Err(refused))) = story.replies.remove(&first) else { panic!("no reply") };
    story.pass(SESSION);
    assert!(story.coordinator.groups.is_empty(), "nothing is kept of a group that nobody joined");
    let late = story.join(&consumer("g", &refused.member));
    assert_eq!(story.code(late), Some(ErrorCode::UnknownMemberId));
}

#[test]
fn an_id_that_was_given_out_is_waited_for() {
    let mut story = Story::new(config());
    let stable = story.stable("g", 1);
    let pending = story.join(&Join { member_id_required: true, ..consumer("g", "") });
    let Some(Reply::Join(Err(refused))) = story.replies.remove(&pending) else { panic!("no reply") };
    assert_eq!(story.state("g"), State::Stable, "an id is no member yet");
    let again = story.join(&consumer("g", &stable[0].member));
    assert_eq!(story.code(again), None);
    let second = story.join(&consumer("g", &refused.member));
    assert_eq!(story.joined(second).generation, story.joined(again).generation);
}

#[test]
fn the_first_rebalance_waits_for_the_delay_and_longer_while_members_come() {
    let mut story = Story::new(config());
    let first = story.join(&consumer("g", ""));
    story.pass(DELAY * 3 / 4);
    let second = story.join(&consumer("g", ""));
    story.pass(DELAY * 3 / 4);
    assert_eq!(story.code(first), None, "the second member has extended the delay");
    story.pass(DELAY / 2);
    let (first, second) = (story.joined(first), story.joined(second));
    assert_eq!((first.generation, second.generation), (Generation(1), Generation(1)));
    assert_eq!((first.members.len(), second.members.len()), (2, 0), "only the leader learns who is there");
    assert_eq!(second.leader, first.member);
}

#[test]
fn the_first_rebalance_ends_with_the_rebalance_timeout_whoever_comes() {
    let mut story = Story::new(config());
    let patience = Duration::from_millis(250);
    let first = story.join(&Join { rebalance_timeout: patience, ..consumer("g", "") });
    for _ in 0..4 {
        assert_eq!(story.code(first), None);
        story.join(&Join { rebalance_timeout: patience, ..consumer("g", "") });
        story.pass(Duration::from_millis(62));
    }
    story.pass(Duration::from_millis(2));
    assert_eq!(story.joined(first).members.len(), 5);
}

#[test]
fn without_a_delay_the_first_member_begins_at_once() {
    let mut story = Story::new(GroupConfig { initial_rebalance_delay: Duration::ZERO, ..config() });
    let first = story.join(&consumer("g", ""));
    assert_eq!(story.joined(first).generation, Generation(1));
}

#[test]
fn each_member_gets_what_the_leader_gave_it_and_who_was_forgotten_nothing() {
    let mut story = Story::new(config());
    let joined = story.stable("g", 3);
    let leader = story.join(&consumer("g", &joined[0].member));
    let others: Vec<u64> =
        joined[1..].iter().map(|joined| story.join(&consumer("g", &joined.member))).collect();
    let (leader, others) =
        (story.joined(leader), others.iter().map(|join| story.joined(*join)).collect::<Vec<_>>());
    let waiting = story.sync(&others[0], "g", &[(&others[0].member, b"not the leader's word")]);
    assert_eq!(story.code(waiting), None);
    let assigned = story.sync(&leader, "g", &[(&others[0].member, b"x"), ("nobody", b"y")]);
    assert_eq!((story.assignment(waiting), story.assignment(assigned)), (b"x".to_vec(), vec![]));
    let late = story.sync(&others[1], "g", &[]);
    assert_eq!(story.assignment(late), b"");
}

#[test]
fn sync_is_refused_to_strangers_to_other_generations_and_to_other_protocols() {
    let mut story = Story::new(config());
    let joined = story.stable("g", 1).remove(0);
    let with = |joined: Joined| joined;
    let stranger = story.sync(&with(Joined { member: "x".into(), ..joined.clone() }), "g", &[]);
    assert_eq!(story.code(stranger), Some(ErrorCode::UnknownMemberId));
    let old = story.sync(&Joined { generation: Generation(0), ..joined.clone() }, "g", &[]);
    assert_eq!(story.code(old), Some(ErrorCode::IllegalGeneration));
    let nowhere = story.sync(&joined, "h", &[]);
    assert_eq!(story.code(nowhere), Some(ErrorCode::UnknownMemberId));
    for (protocol_type, protocol) in [(Some("connect"), None), (None, Some("sticky"))] {
        let Joined { generation, ref member, .. } = joined;
        let (group, instance) = ("g", None);
        let sync = Sync { group, generation, member, instance, protocol_type, protocol, assignments: &[] };
        let to = story.call(|coordinator, to, now, effects| coordinator.sync(&sync, to, now, effects));
        assert_eq!(story.code(to), Some(ErrorCode::InconsistentGroupProtocol));
    }
}

#[test]
fn a_follower_that_joins_again_unchanged_learns_the_generation_and_a_leader_begins_another() {
    let mut story = Story::new(config());
    let joined = story.stable("g", 2);
    let follower = story.join(&consumer("g", &joined[1].member));
    assert_eq!(story.joined(follower), joined[1]);
    assert_eq!(story.state("g"), State::Stable);
    let leader = story.join(&consumer("g", &joined[0].member));
    assert_eq!((story.code(leader), story.state("g")), (None, State::PreparingRebalance));
    assert_eq!(story.heartbeat("g", &joined[1].member, 1), ErrorCode::RebalanceInProgress);
    let follower = story.join(&consumer("g", &joined[1].member));
    assert_eq!(story.joined(follower).generation, Generation(2));
}

#[test]
fn a_follower_with_other_metadata_begins_another_generation() {
    let mut story = Story::new(config());
    let joined = story.stable("g", 2);
    let join = Join { protocols: &[("range", b"other")], ..consumer("g", &joined[1].member) };
    let changed = story.join(&join);
    assert_eq!((story.code(changed), story.state("g")), (None, State::PreparingRebalance));
}

#[test]
fn while_the_leader_assigns_a_join_repeats_the_generation_and_a_changed_one_begins_another() {
    let mut story = Story::new(config());
    let first = story.join(&consumer("g", ""));
    let second = story.join(&consumer("g", ""));
    story.pass(DELAY * 2);
    let (first, second) = (story.joined(first), story.joined(second));
    let again = story.join(&consumer("g", &first.member));
    assert_eq!(story.joined(again), first, "it has missed the reply");
    let sync = story.sync(&second, "g", &[]);
    let changed = story.join(&Join { protocols: &[("range", b"other")], ..consumer("g", &first.member) });
    assert_eq!(story.code(changed), None);
    assert_eq!(story.code(sync), Some(ErrorCode::RebalanceInProgress));
}

#[test]
fn the_protocol_is_one_that_all_have_and_most_prefer() {
    let mut story = Story::new(config());
    let offers: [&[(&str, &[u8])]; 3] = [
        &[("own", b""), ("range", b"a"), ("sticky", b"")],
        &[("sticky", b""), ("range", b"b")],
        &[("sticky", b""), ("range", b"c")],
    ];
    let joins = offers.map(|protocols| story.join(&Join { protocols, ..consumer("g", "") }));
    story.pass(DELAY * 2);
    assert_eq!(joins.map(|join| story.joined(join).protocol.to_string()), ["sticky"; 3]);
}

#[test]
fn protocols_that_do_not_fit_are_refused() {
    let mut story = Story::new(config());
    let none = story.join(&Join { protocols: &[], ..consumer("g", "") });
    let no_type = story.join(&Join { protocol_type: "", ..consumer("g", "") });
    let twice = story.join(&Join { protocols: &[("a", b""), ("a", b"")], ..consumer("g", "") });
    assert!(story.coordinator.groups.is_empty());
    story.stable("g", 1);
    let other = story.join(&Join { protocols: &[("sticky", b"")], ..consumer("g", "") });
    let connect = story.join(&Join { protocol_type: "connect", ..consumer("g", "") });
    for request in [none, no_type, twice, other, connect] {
        assert_eq!(story.code(request), Some(ErrorCode::InconsistentGroupProtocol));
    }
}

#[test]
fn requests_that_no_group_could_take_are_refused() {
    let mut story = Story::new(config());
    let long = "x".repeat(251);
    for group in ["", &long] {
        let join = story.join(&consumer(group, ""));
        assert_eq!(story.code(join), Some(ErrorCode::InvalidGroupId));
        assert_eq!(story.heartbeat(group, "m", 1), ErrorCode::InvalidGroupId);
        assert_eq!(story.leave(group, "m", None), ErrorCode::InvalidGroupId);
        assert_eq!(story.commit(group, "", -1, 1), ErrorCode::InvalidGroupId);
        assert_eq!(story.delete_group(group), ErrorCode::InvalidGroupId);
    }
    for session_timeout in [Duration::from_millis(5999), Duration::from_secs(30 * 60 + 1)] {
        let join = story.join(&Join { session_timeout, ..consumer("g", "") });
        assert_eq!(story.code(join), Some(ErrorCode::InvalidSessionTimeout));
    }
    let join = story.join(&consumer("g", "an id of yesterday"));
    assert_eq!(story.code(join), Some(ErrorCode::UnknownMemberId));
    let join = story.join(&Join { instance: Some(""), ..consumer("g", "") });
    assert_eq!(story.code(join), Some(ErrorCode::InvalidRequest));
}

#[test]
fn a_second_join_of_a_member_that_waits_answers_the_first() {
    let mut story = Story::new(config());
    let joined = story.stable("g", 2);
    let first = story.join(&consumer("g", &joined[0].member));
    let second = story.join(&consumer("g", &joined[0].member));
    assert_eq!(story.code(first), Some(ErrorCode::RebalanceInProgress));
    assert_eq!(story.code(second), None);
}
