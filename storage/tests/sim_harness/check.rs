//! What a recovered log must hold, given what was sent, acknowledged, deleted and compacted.
//!
//!     sent     │ a │ b │ a │ c │ a │ b │
//!     found        start ▲───────────▲ end      plain: these batches, byte for byte, without holes
//!                                               compacted: of each key the newest, nothing that was not sent

use std::collections::BTreeMap;

use protocol::batch::{Batch, OwnedRecord};
use protocol::model::Offset;
use storage::id::LogId;
use storage::log::{ProducerStates, Sequencing};

use super::{Told, records};

/// A batch as it was sent, with the offsets it got.
#[derive(Clone, Debug)]
pub struct Sent {
    pub base: Offset,
    pub next: Offset,
    pub bytes: Vec<u8>,
}

impl Sent {
    pub fn new(base: Offset, next: Offset, bytes: Vec<u8>) -> Sent {
        Sent { base, next, bytes }
    }
}

/// What a log should hold, or was found to hold.
#[derive(Clone, Default, Debug)]
pub struct LogHistory {
    pub sent: Vec<Sent>,
    pub start: Offset,
    pub end: Offset,
    /// How far the start had moved in memory, and how far compaction had come.
    pub start_max: Offset,
    pub clean_max: Offset,
    pub producers: ProducerStates,
    pub compacts: bool,
}

impl LogHistory {
    pub fn push(&mut self, sent: Sent) {
        let (batch, _) = Batch::split_first(&sent.bytes).expect("it was sent");
        self.producers.apply(&batch, sent.base, sent.next, super::simulated_time());
        self.end = sent.next;
        self.sent.push(sent);
    }
}

#[derive(Clone, Default)]
pub struct History {
    pub logs: BTreeMap<LogId, LogHistory>,
}

/// Everything acknowledged is there, what is there was sent, what was deleted stays deleted, and
/// retries are still known.
pub fn check_recovered(found: &History, expected: &History, told: &Told) {
    for (id, found) in &found.logs {
        let none = LogHistory::default();
        let expected = expected.logs.get(id).unwrap_or(&none);
        let acknowledged = told.acknowledged.get(id).copied().unwrap_or(Offset::ZERO);
        let end = found.end;
        assert!(acknowledged <= end, "log {id}: acknowledged below {acknowledged}, recovered below {end}");
        assert!(end <= expected.end, "log {id}: sent below {}, recovered below {end}", expected.end);
        let deleted = told.deleted.get(id).copied().unwrap_or(Offset::ZERO);
        let start = found.start;
        assert!(deleted <= start, "log {id}: deleted below {deleted}, and {start} is there again");
        assert!(start <= expected.start_max, "log {id}: begins at {start}, beyond {}", expected.start_max);
        match expected.compacts || found.compacts {
            true => check_compacted(*id, found, expected),
            false => check_plain(*id, found, expected),
        }
        check_producers(*id, found, expected);
    }
}

/// Batches from the start on, in order, without holes, byte for byte.
fn check_plain(id: LogId, found: &LogHistory, expected: &LogHistory) {
    let mut next = found.sent.first().map_or(found.end, |first| first.base);
    assert!(next <= found.start || found.sent.is_empty(), "log {id}: a hole behind {}", found.start);
    for batch in &found.sent {
        assert_eq!(batch.base, next, "log {id}: offsets are dense");
        next = batch.next;
        let at = expected.sent.partition_point(|sent| sent.base < batch.base);
        let sent = expected.sent.get(at).filter(|sent| (sent.base, sent.next) == (batch.base, batch.next));
        let sent = sent.unwrap_or_else(|| panic!("log {id}: nobody sent [{}, {})", batch.base, batch.next));
        assert!(batch.bytes == sent.bytes, "log {id}: batch at {} has other bytes", batch.base);
    }
    assert_eq!(next, found.end, "log {id}: ends with its last batch");
}

/// Of each key the newest record is there, unless it is a tombstone and nothing older is; what is
/// there was sent at that offset.
fn check_compacted(id: LogId, found: &LogHistory, expected: &LogHistory) {
    let sent: BTreeMap<Offset, OwnedRecord> = by_offset(&expected.sent);
    let there: BTreeMap<Offset, OwnedRecord> = by_offset(&found.sent);
    for (offset, record) in &there {
        let before = sent.get(offset).unwrap_or_else(|| panic!("log {id}: nobody sent anything at {offset}"));
        assert_eq!(record, before, "log {id}: offset {offset} has another record");
    }
    let mut newest: BTreeMap<&[u8], &OwnedRecord> = BTreeMap::new();
    for record in sent.range(..found.end).map(|(_, record)| record) {
        newest.insert(record.key.as_deref().unwrap_or(&[]), record);
    }
    for (key, record) in newest.into_iter().filter(|(_, record)| found.start <= record.offset) {
        let mut of_key = there.values().filter(|there| there.key.as_deref() == Some(key));
        let kept = there.contains_key(&record.offset);
        let gone = record.value.is_none() && of_key.all(|there| there.offset < found.start);
        assert!(kept || gone, "log {id}: key {key:?} was last written at {}, which is gone", record.offset);
    }
}

fn by_offset(sent: &[Sent]) -> BTreeMap<Offset, OwnedRecord> {
    sent.iter().flat_map(|sent| records(&sent.bytes)).map(|record| (record.offset, record)).collect()
}

/// The last batch of each producer that is there is known as one, so that a retry is not stored twice.
fn check_producers(id: LogId, found: &LogHistory, expected: &LogHistory) {
    let mut last: BTreeMap<i64, &Sent> = BTreeMap::new();
    for sent in expected.sent.iter().filter(|sent| sent.next <= found.end) {
        let (batch, _) = Batch::split_first(&sent.bytes).expect("it was sent");
        last.insert(batch.producer_id().get(), sent);
    }
    for sent in last.into_iter().filter(|(producer, _)| 0 <= *producer).map(|(_, sent)| sent) {
        let (batch, _) = Batch::split_first(&sent.bytes).expect("it was sent");
        if 0 < batch.record_count().get() && batch.record_count() == batch.offset_span() {
            let expected = Ok(Sequencing::Duplicate { base: sent.base, next: sent.next });
            assert_eq!(found.producers.check(&batch), expected, "log {id}: batch at {}", sent.base);
        }
    }
}
