//! Offsets: who may commit, what is stored, when it goes.

use std::time::Duration;

use protocol::model::{ErrorCode, PartitionIndex};

use super::fixture::*;
use crate::groups::*;

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

fn keep_alive(story: &mut Story, member: &str, time: Duration) {
    let end = story.now.instant + time;
    while story.now.instant < end {
        story.pass(SESSION - Duration::from_millis(1));
        assert_eq!(story.heartbeat("g", member, 1), ErrorCode::None);
    }
}

#[test]
fn a_member_commits_in_its_generation_only() {
    let mut story = Story::new(config());
    let member = story.stable("g", 1).remove(0).member;
    assert_eq!(story.commit("g", &member, 1, 10), ErrorCode::None);
    assert_eq!(story.committed("g"), Some(10));
    assert_eq!(story.commit("g", &member, 0, 11), ErrorCode::IllegalGeneration);
    assert_eq!(story.commit("g", &member, 2, 11), ErrorCode::IllegalGeneration);
    assert_eq!(story.commit("g", &member, -1, 11), ErrorCode::IllegalGeneration);
    assert_eq!(story.commit("g", "x", 1, 11), ErrorCode::UnknownMemberId);
    assert_eq!(story.commit("g", "", -1, 11), ErrorCode::UnknownMemberId, "the group has members");
    assert_eq!(story.commit_as("g", &member, Some("i"), 1, 11, ""), ErrorCode::UnknownMemberId);
    assert_eq!(story.committed("g"), Some(10));
}

#[test]
fn one_without_a_group_commits_while_the_group_is_empty() {
    let mut story = Story::new(config());
    assert_eq!(story.commit("g", "m", 1, 1), ErrorCode::IllegalGeneration, "there is no such generation");
    assert!(story.coordinator.groups.is_empty());
    assert_eq!(story.commit("g", "", -1, 1), ErrorCode::None);
    assert_eq!(story.commit("g", "", -1, 2), ErrorCode::None);
    assert_eq!(story.committed("g"), Some(2));
    let described = story.describe("g").unwrap();
    assert_eq!((described.state, &*described.protocol_type), (State::Empty, ""));
}

#[test]
fn between_generations_the_last_one_commits_and_while_the_leader_assigns_nobody() {
    let mut story = Story::new(config());
    let joined = story.stable("g", 2);
    let leader = story.join(&consumer("g", &joined[0].member));
    assert_eq!(story.commit("g", &joined[1].member, 1, 3), ErrorCode::None);
    story.join(&consumer("g", &joined[1].member));
    assert_eq!(story.joined(leader).generation, Generation(2));
    assert_eq!(story.commit("g", &joined[1].member, 2, 4), ErrorCode::RebalanceInProgress);
    assert_eq!(story.commit("g", &joined[1].member, 1, 4), ErrorCode::IllegalGeneration);
    assert_eq!(story.committed("g"), Some(3));
}

#[test]
fn metadata_is_kept_up_to_its_limit() {
    let mut story = Story::new(config());
    let longest = "m".repeat(4096);
    assert_eq!(story.commit_as("g", "", None, -1, 1, &longest), ErrorCode::None);
    let longer = "m".repeat(4097);
    assert_eq!(story.commit_as("g", "", None, -1, 2, &longer), ErrorCode::OffsetMetadataTooLarge);
    assert_eq!(story.committed("g"), Some(1));
}

#[test]
fn fetches_name_partitions_or_take_all() {
    let mut story = Story::new(config());
    story.commit("g", "", -1, 5);
    let topics: &Partitions<'_> = &[("other", &[PartitionIndex::new(7)]), (TOPIC, &[PartitionIndex::new(0)])];
    for (group, asked, expected) in [
        ("g", Some(topics), vec![("other", None), (TOPIC, Some(5))]),
        ("g", None, vec![(TOPIC, Some(5))]),
        ("h", Some(topics), vec![("other", None), (TOPIC, None)]),
        ("h", None, vec![]),
    ] {
        let to =
            story.call(|coordinator, to, _, effects| coordinator.fetch_offsets(group, asked, to, effects));
        let Reply::FetchOffsets(Ok(found)) = &story.replies[&to] else { panic!("not fetched") };
        let offset = |found: &FetchedOffset| found.committed.as_ref().map(|found| found.offset.get());
        let found: Vec<_> = found.iter().map(|found| (&*found.topic, offset(found))).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn offsets_are_deleted_unless_a_member_may_use_them() {
    let mut story = Story::new(config());
    assert_eq!(story.delete_offsets("g", TOPIC), ErrorCode::GroupIdNotFound);
    let member = story.stable("g", 1).remove(0).member;
    story.commit("g", &member, 1, 5);
    assert_eq!(story.delete_offsets("g", TOPIC), ErrorCode::GroupSubscribedToTopic);
    assert_eq!(story.delete_offsets("g", "other"), ErrorCode::None);
    story.leave("g", &member, None);
    assert_eq!((story.committed("g"), story.delete_offsets("g", TOPIC)), (Some(5), ErrorCode::None));
    assert_eq!(story.committed("g"), None);
}

#[test]
fn who_cannot_be_understood_may_use_every_topic() {
    let mut story = Story::new(config());
    let join = story.join(&Join { protocols: &[("range", b"\0")], ..consumer("g", "") });
    assert_eq!(
        story.delete_offsets("g", "other"),
        ErrorCode::GroupSubscribedToTopic,
        "nothing is chosen yet"
    );
    story.pass(DELAY);
    assert_eq!(story.joined(join).generation, Generation(1));
    assert_eq!(story.delete_offsets("g", "other"), ErrorCode::GroupSubscribedToTopic);
    story.join(&Join { protocol_type: "connect", ..consumer("h", "") });
    assert_eq!(story.delete_offsets("h", TOPIC), ErrorCode::NonEmptyGroup);
}

#[test]
fn a_group_is_deleted_with_its_offsets_when_nobody_is_in_it() {
    let mut story = Story::new(config());
    assert_eq!(story.delete_group("g"), ErrorCode::GroupIdNotFound);
    let member = story.stable("g", 1).remove(0).member;
    story.commit("g", &member, 1, 5);
    assert_eq!(story.delete_group("g"), ErrorCode::NonEmptyGroup);
    story.leave("g", &member, None);
    assert_eq!(story.delete_group("g"), ErrorCode::None);
    assert_eq!((story.state("g"), story.committed("g")), (State::Dead, None));
    story.restart();
    assert!(story.coordinator.groups.is_empty());
}

#[test]
fn groups_are_listed_with_state_and_protocol_type() {
    let mut story = Story::new(config());
    story.stable("b", 1);
    story.commit("a", "", -1, 1);
    let to = story.call(|coordinator, to, _, effects| coordinator.list(to, effects));
    let Reply::List(Ok(listed)) = &story.replies[&to] else { panic!("not listed") };
    let listed: Vec<_> =
        listed.iter().map(|group| (&*group.group, group.state, &*group.protocol_type)).collect();
    assert_eq!(listed, [("a", State::Empty, ""), ("b", State::Stable, "consumer")]);
}

#[test]
fn a_stable_group_is_described_with_metadata_and_assignments() {
    let mut story = Story::new(config());
    let joined = story.stable("g", 2);
    let described = story.describe("g").unwrap();
    assert_eq!((described.state, &*described.protocol), (State::Stable, "range"));
    let follower = described.members.iter().find(|member| member.member == joined[1].member).unwrap();
    assert_eq!((&*follower.metadata, &*follower.assignment), (SUBSCRIPTION, &[1][..]));
    assert_eq!((&*follower.client_id, &*follower.client_host), ("client", "/127.0.0.1"));
    story.join(&consumer("g", &joined[0].member));
    assert!(story.describe("g").unwrap().members.iter().all(|member| member.assignment.is_empty()));
}

#[test]
fn offsets_without_a_group_expire_a_retention_after_their_commit() {
    let mut story = Story::new(config());
    story.commit("g", "", -1, 1);
    story.pass(WEEK / 2);
    story.commit("g", "", -1, 2);
    story.pass(WEEK - Duration::from_secs(1));
    assert_eq!(story.committed("g"), Some(2));
    story.pass(Duration::from_secs(601));
    assert_eq!(story.committed("g"), None);
    assert!(story.coordinator.groups.is_empty(), "and the group with them");
}

#[test]
fn offsets_of_a_group_expire_a_retention_after_its_last_member_left() {
    let mut story = Story::new(config());
    let member = story.stable("g", 1).remove(0).member;
    story.commit("g", &member, 1, 1);
    keep_alive(&mut story, &member, WEEK + WEEK / 2);
    assert_eq!(story.committed("g"), Some(1), "a member subscribes to the topic");
    story.leave("g", &member, None);
    story.pass(WEEK - Duration::from_secs(1));
    assert_eq!(story.committed("g"), Some(1));
    story.restart();
    story.pass(Duration::from_secs(601));
    assert_eq!((story.committed("g"), story.state("g")), (None, State::Dead));
    story.restart();
    assert!(story.coordinator.groups.is_empty(), "the log has tombstones of everything");
}

#[test]
fn offsets_of_topics_that_nobody_subscribes_to_expire_in_a_stable_group() {
    let mut story = Story::new(config());
    let other: &[u8] = b"\0\0\0\0\0\x01\0\x05other\xff\xff\xff\xff";
    let join = story.join(&Join { protocols: &[("range", other)], ..consumer("g", "") });
    story.pass(DELAY);
    let joined = story.joined(join);
    story.assign("g", std::slice::from_ref(&joined));
    story.commit("g", &joined.member, 1, 1);
    keep_alive(&mut story, &joined.member, WEEK + Duration::from_secs(601));
    assert_eq!((story.committed("g"), story.state("g")), (None, State::Stable));
}

#[test]
fn an_empty_group_without_offsets_is_removed() {
    let mut story = Story::new(config());
    let member = story.stable("g", 1).remove(0).member;
    story.leave("g", &member, None);
    assert_eq!(story.state("g"), State::Empty);
    story.pass(Duration::from_secs(700));
    assert_eq!(story.state("g"), State::Dead);
}

#[test]
fn offsets_of_a_deleted_topic_go_and_those_of_its_successor_stay() {
    let mut story = Story::new(config());
    for group in ["a", "b", "c"] {
        story.commit(group, "", -1, 1);
    }
    story.coordinator.topics_deleted(&[TOPIC].into(), story.now);
    story.jump(Duration::from_millis(1));
    story.commit("b", "", -1, 2);
    story.pass(Duration::ZERO);
    assert_eq!(["a", "b", "c"].map(|group| story.committed(group)), [None, Some(2), None]);
    assert_eq!(story.coordinator.deadline(story.now).map(|at| story.now.instant < at), Some(true));
}

/// The order of the log does not depend on which topics went together.
#[test]
fn topics_that_are_deleted_together_are_written_one_after_another() {
    let mut story = Story::new(config());
    for (group, topic) in [("b", "u"), ("a", "w"), ("b", "t"), ("a", "v"), ("b", "w"), ("a", "t")] {
        story.commit_of(group, topic, 1);
    }
    let before = story.log.len();
    story.coordinator.topics_deleted(&["w", "t", "nothing"].into(), story.now);
    story.pass(Duration::ZERO);
    let gone = |group: &str, topic: &str| records::offset_key(group, topic, PartitionIndex::new(0));
    let written: Vec<_> = story.log[before..].iter().map(|record| record.key.clone()).collect();
    assert_eq!(written, [gone("a", "t"), gone("b", "t"), gone("a", "w"), gone("b", "w")]);
    assert!(story.log[before..].iter().all(|record| record.value.is_none()));
    let left = ["a", "b"].map(|group| {
        let topics = story.coordinator.groups[group].offsets.topics();
        topics.map(|topic| topic.to_string()).collect::<Vec<_>>().join(" ")
    });
    assert_eq!(left, ["v", "u"]);
}
