//! Measured by hand, not a gate: `cargo test --release -p ringlog-broker groups::tests::measure -- --ignored
//! --nocapture`.
//!
//!     10,000 groups of one member with one offset: time of a heartbeat, bytes of memory for each group

use std::io::Write as _;
use std::time::{Duration, Instant};

use protocol::model::Offset;
use uuid::Uuid;

use super::fixture::*;
use crate::groups::*;

const GROUPS: usize = 10_000;

fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("stderr is open");
}

/// Resident bytes of the process.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("a number of pages") * 4096
}

fn settled(coordinator: &mut Coordinator, now: Now, mut effects: Effects) -> Vec<(ReplyTo, Reply)> {
    coordinator.settle(&mut effects, Ok(()), now);
    effects.replies
}

#[test]
#[ignore = "a measurement"]
fn ten_thousand_groups() {
    let mut now = Now { instant: Instant::now(), wall: protocol::model::Timestamp::from_millis(0) };
    let before = resident();
    let mut coordinator = Coordinator::new(config(), Box::new(Uuid::new_v4));
    let names: Vec<String> = (0..GROUPS).map(|group| format!("group-{group}")).collect();
    for name in &names {
        let mut effects = Effects::default();
        coordinator.join(&consumer(name, ""), ReplyTo(0), now, &mut effects);
        settled(&mut coordinator, now, effects);
    }
    now.instant += DELAY;
    let mut members = std::collections::BTreeMap::new();
    while coordinator.deadline(now).is_some_and(|at| at <= now.instant) {
        let mut effects = Effects::default();
        coordinator.tick(now, &mut effects);
        for (_, reply) in settled(&mut coordinator, now, effects) {
            let Reply::Join(Ok(joined)) = reply else { panic!("{reply:?}") };
            members.insert(joined.member.clone(), joined);
        }
    }
    assert_eq!(members.len(), GROUPS);
    let listed: Vec<(String, String)> = coordinator
        .groups
        .iter()
        .map(|(id, group)| (id.to_string(), group.members().next().expect("one").id.to_string()))
        .collect();
    drop(members);
    for (group, member) in &listed {
        let assignments: &[(&str, &[u8])] = &[(member, &[0; 40])];
        let (generation, instance) = (Generation(1), None);
        let sync =
            Sync { group, generation, member, instance, protocol_type: None, protocol: None, assignments };
        let mut effects = Effects::default();
        coordinator.sync(&sync, ReplyTo(0), now, &mut effects);
        settled(&mut coordinator, now, effects);
        let partition = protocol::model::PartitionIndex::new(0);
        let one =
            CommitPartition { partition, offset: Some(Offset::new(1)), leader_epoch: None, metadata: "" };
        let topics: &[(&str, &[CommitPartition<'_>])] = &[(TOPIC, &[one])];
        let mut effects = Effects::default();
        let commit = Commit { group, generation, member, instance, topics };
        coordinator.commit_offsets(&commit, ReplyTo(0), now, &mut effects);
        settled(&mut coordinator, now, effects);
    }
    say(&format!("memory: {} bytes for each group", (resident() - before) / GROUPS));

    let mut effects = Effects::default();
    let start = Instant::now();
    const ROUNDS: usize = 100;
    for _ in 0..ROUNDS {
        for (group, member) in &listed {
            let heartbeat = Heartbeat { group, generation: Generation(1), member, instance: None };
            coordinator.heartbeat(&heartbeat, ReplyTo(0), now, &mut effects);
        }
        assert!(
            effects
                .replies
                .drain(..)
                .all(|(_, reply)| reply == Reply::Heartbeat(protocol::model::ErrorCode::None))
        );
    }
    say(&format!("heartbeat: {:?}", start.elapsed() / (GROUPS * ROUNDS) as u32));

    now.instant += SESSION - Duration::from_millis(1);
    let start = Instant::now();
    let mut effects = Effects::default();
    coordinator.tick(now, &mut effects);
    say(&format!("a tick with nothing due: {:?}", start.elapsed()));
}
