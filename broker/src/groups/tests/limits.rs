//! What clients can make grow has an end.

use crate::groups::config::TICK_BYTES_MAX;
use std::time::Duration;

use protocol::model::{ErrorCode, Offset, PartitionIndex};

use super::fixture::*;
use crate::groups::*;

#[test]
fn a_group_has_a_largest_size_and_ids_count() {
    let mut story = Story::new(GroupConfig { size_max: 2, ..config() });
    let member = story.stable("g", 1).remove(0).member;
    let pending = story.join(&Join { member_id_required: true, ..consumer("g", "") });
    assert_eq!(story.code(pending), Some(ErrorCode::MemberIdRequired));
    for member_id_required in [true, false] {
        let join = story.join(&Join { member_id_required, ..consumer("g", "") });
        assert_eq!(story.code(join), Some(ErrorCode::GroupMaxSizeReached));
    }
    let again = story.join(&consumer("g", &member));
    assert_eq!(story.code(again), None, "who is in may join again");
}

#[test]
fn a_group_holds_a_largest_number_of_bytes() {
    let config = GroupConfig { group_bytes_max: 4000, ..config() };
    let mut story = Story::new(config);
    let large = vec![0; 3000];
    let protocols: &[(&str, &[u8])] = &[("range", &large)];
    let first = story.join(&Join { protocols, ..consumer("g", "") });
    let second = story.join(&Join { protocols, ..consumer("g", "") });
    assert_eq!(story.code(second), Some(ErrorCode::GroupMaxSizeReached));
    story.pass(DELAY);
    let joined = story.joined(first);
    let assigning = story.sync(&joined, "g", &[(&joined.member, &large)]);
    assert_eq!(story.code(assigning), Some(ErrorCode::MessageTooLarge));
    let assigning = story.sync(&joined, "g", &[(&joined.member, b"x")]);
    assert_eq!(story.assignment(assigning), b"x");
    let commit = story.commit_as("g", &joined.member, None, 1, 1, &"m".repeat(1000));
    assert_eq!(commit, ErrorCode::InvalidCommitOffsetSize);
    assert_eq!(story.commit("g", &joined.member, 1, 1), ErrorCode::None);
    assert_eq!(story.commit("g", &joined.member, 1, 2), ErrorCode::None, "the same partition is no more");
}

#[test]
fn a_commit_that_repeats_a_partition_must_still_be_a_batch() {
    let mut story = Story::new(GroupConfig { group_bytes_max: 4000, ..config() });
    let one = CommitPartition {
        partition: PartitionIndex::new(0),
        offset: Some(Offset::new(1)),
        leader_epoch: None,
        metadata: "",
    };
    let partitions = vec![one; 100];
    let topics: &[(&str, &[CommitPartition<'_>])] = &[(TOPIC, &partitions)];
    let (group, member, instance, generation) = ("g", "", None, Generation::NONE);
    let commit = Commit { group, generation, member, instance, topics };
    let to =
        story.call(|coordinator, to, now, effects| coordinator.commit_offsets(&commit, to, now, effects));
    let Reply::Commit(outcomes) = &story.replies[&to] else { panic!("no commit") };
    assert!(outcomes.iter().all(|outcome| outcome.code == ErrorCode::InvalidCommitOffsetSize));
    assert_eq!(outcomes.len(), 100);
}

#[test]
fn there_is_a_largest_number_of_groups() {
    let mut story = Story::new(GroupConfig { groups_max: 1, ..config() });
    story.commit("a", "", -1, 1);
    assert_eq!(story.commit("b", "", -1, 1), ErrorCode::Overloaded);
    let join = story.join(&consumer("b", ""));
    assert_eq!(story.code(join), Some(ErrorCode::Overloaded));
    assert_eq!(story.commit("a", "", -1, 2), ErrorCode::None);
}

#[test]
fn a_tick_writes_a_bounded_batch_and_the_rest_is_due_at_once() {
    let mut story = Story::new(config());
    let metadata = "m".repeat(100);
    let partition = |at| CommitPartition {
        partition: PartitionIndex::new(at),
        offset: Some(Offset::new(1)),
        leader_epoch: None,
        metadata: &metadata,
    };
    let partitions: Vec<_> = (0..5000).map(partition).collect();
    let topics: &[(&str, &[CommitPartition<'_>])] = &[(TOPIC, &partitions)];
    for group in 0..8 {
        let group = format!("group-{group}");
        let (member, instance, generation) = ("", None, Generation::NONE);
        let commit = Commit { group: &group, generation, member, instance, topics };
        story.call(|coordinator, to, now, effects| coordinator.commit_offsets(&commit, to, now, effects));
    }
    story.jump(Duration::from_secs(8 * 24 * 3600));
    let mut ticks = 0;
    while !story.coordinator.groups.is_empty() {
        let mut effects = Effects::default();
        story.coordinator.tick(story.now, &mut effects);
        let bytes: usize = effects.records.iter().map(|record| record.key.len()).sum();
        assert!(bytes <= TICK_BYTES_MAX + 100, "{bytes}");
        story.coordinator.settle(&mut effects, Ok(()), story.now);
        let at = story.coordinator.deadline(story.now);
        story.jump(at.map_or(Duration::ZERO, |at| at.saturating_duration_since(story.now.instant)));
        ticks += 1;
    }
    assert!((2..10).contains(&ticks), "{ticks}");
}
