//! Consumers: groups, seeking by offset and by time, pausing.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::client::{Member, PATIENCE, consumer, kafka, partitions, send, take_values, try_send};
use crate::harness::*;
use crate::{Feature, feature};

pub fn features() -> Vec<Feature> {
    vec![
        feature("group: members join and leave", group_rebalance),
        feature("group: goes on from its commit", group_commit),
        feature("seek by offset", seek_by_offset),
        feature("seek by time", seek_by_time),
        feature("pause and resume", pause_and_resume),
        feature("offsets of a partition", partition_offsets),
    ]
}

fn group_rebalance() {
    let (name, group) = (topic(4, &[]), unused_name("group"));
    let all = BTreeSet::from([0, 1, 2, 3]);
    let first = Member::join(&group, &name);
    wait_until("the first member has all", || first.assigned() == all);
    let second = Member::join(&group, &name);
    wait_until("half each", || first.assigned().len() == 2 && second.assigned().len() == 2);
    assert_eq!(&first.assigned() | &second.assigned(), all);
    second.leave();
    wait_until("the first member has all again", || first.assigned() == all);
    first.leave();
}

fn group_commit() {
    let (name, group) = (topic(1, &[]), unused_name("group"));
    send(&name, &records(&numbers(0..10)), &[]);
    for (start, end) in [(0, 4), (4, 8), (8, 10)] {
        let member = consumer(&group, &[]);
        member.subscribe(&[&name]).expect("a topic can be subscribed to");
        assert_eq!(take_values(&member, (end - start) as usize), numbers(start..end));
        let commit = partitions(&name, &[(0, i64::from(end))]);
        member.commit(&commit, CommitMode::Sync).expect("an offset is committed");
        let committed = member.committed_offsets(partitions(&name, &[(0, 0)]), PATIENCE);
        assert_eq!(offsets(&committed.expect("offsets are told")), [Offset::Offset(i64::from(end))]);
    }
}

fn offsets(list: &TopicPartitionList) -> Vec<Offset> {
    list.elements().iter().map(|part| part.error().map(|()| part.offset()).expect("no error")).collect()
}

/// That reads partition 0 from an offset on.
fn reader(topic: &str, offset: i64) -> BaseConsumer {
    let reader = consumer("unused", &[]);
    reader.assign(&partitions(topic, &[(0, offset)])).expect("a partition can be assigned");
    reader
}

fn seek_by_offset() {
    let (name, sent) = (topic(1, &[]), numbers(0..10));
    send(&name, &records(&sent), &[]);
    let reader = reader(&name, 0);
    assert_eq!(take_values(&reader, 10), sent);
    reader.seek(&name, 0, Offset::Offset(7), PATIENCE).expect("it can seek");
    assert_eq!(take_values(&reader, 3), sent[7..]);
    assert_eq!(reader.fetch_watermarks(&name, 0, PATIENCE).expect("they are told"), (0, 10));
}

/// The offset of the first record not before a time.
fn offset_at(consumer: &BaseConsumer, topic: &str, timestamp: i64) -> Offset {
    let found = consumer.offsets_for_times(partitions(topic, &[(0, timestamp)]), PATIENCE);
    offsets(&found.expect("offsets are told"))[0]
}

fn seek_by_time() {
    let (name, base) = (topic(1, &[]), 1_700_000_000_000);
    let at = |index: i64| Record { timestamp: Some(base + 1000 * index), ..Record::of(index.to_string()) };
    send(&name, &(0..10).map(at).collect::<Vec<_>>(), &[]);
    let asker = consumer("unused", &[]);
    let found = [-1, 4000, 4001, 9001].map(|millis| offset_at(&asker, &name, base + millis));
    assert_eq!(found, [Offset::Offset(0), Offset::Offset(4), Offset::Offset(5), Offset::End]);
    let offset = found[2].to_raw().expect("it is an offset");
    assert_eq!(take_values(&reader(&name, offset), 2), numbers(5..7));
}

fn pause_and_resume() {
    let name = topic(2, &[]);
    let reader = consumer("unused", &[]);
    reader.assign(&partitions(&name, &[(0, 0), (1, 0)])).expect("partitions can be assigned");
    let paused = partitions(&name, &[(0, 0)]);
    reader.pause(&paused).expect("it can pause");
    for (partition, value) in [(0, "paused"), (1, "other")] {
        try_send(&kafka(), &name, partition, &records(&[value]), &[]).expect("it is delivered");
    }
    assert_eq!(take_values(&reader, 1), [b"other"]);
    assert!(reader.poll(Duration::from_millis(500)).is_none());
    reader.resume(&paused).expect("it can resume");
    assert_eq!(take_values(&reader, 1), [b"paused"]);
}

fn partition_offsets() {
    let (name, base) = (topic(1, &[]), 1_700_000_000_000);
    let sent = [5, 9, 7].map(|millis| Record { timestamp: Some(base + millis), ..Record::of("v") });
    send(&name, &sent, &[]);
    let asker = consumer("unused", &[]);
    assert_eq!(asker.fetch_watermarks(&name, 0, PATIENCE).expect("they are told"), (0, 3));
    assert_eq!(offset_at(&asker, &name, base + 6), Offset::Offset(1));
    ringlog(&["topic", "delete-records", &name, "--partition=0", "--before=2", "--yes"], b"");
    assert_eq!(asker.fetch_watermarks(&name, 0, PATIENCE).expect("they are told"), (2, 3));
}
