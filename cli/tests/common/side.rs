//! Topics beside the ledger's, whose records go away by themselves: what may be missing, and what not.
//!
//!     compact   key k: version 3 ── version 9 ── version 12     the last acknowledged version of each
//!               offsets ascend, with gaps                       key is there, or one that was sent later
//!     delete    │ deleted │ earliest …………………… end │             dense from the earliest offset on, and
//!                                                               retention.bytes of it are kept
//!
//! A broker that does not know a topic's configuration yet refuses it; then the topic is not run, and
//! says so.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use ringlog_client::{
    Acks, Client, ConsumeError, ConsumedRecord, Offset, OffsetSpec, PartitionIndex, Record, StartAt,
    TopicSpec,
};
use tokio::task::JoinHandle;

use super::Rng;
use super::ledger::end_of;

const SEGMENT_BYTES: u64 = 64 << 10;
const RETENTION_BYTES: u64 = 512 << 10;
const KEYS: u64 = 50;
/// Most records of a cycle.
const RECORDS_MAX: u64 = 3000;
const ANSWER_MAX: Duration = Duration::from_millis(300);
/// A reader that gets nothing for so long is at the end.
const READ_MAX: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    Compact,
    Delete,
}

impl Policy {
    fn topic(self) -> &'static str {
        match self {
            Policy::Compact => "compacted",
            Policy::Delete => "retained",
        }
    }

    fn configs(self) -> Vec<(&'static str, String)> {
        let segment = ("segment.bytes", SEGMENT_BYTES.to_string());
        match self {
            Policy::Compact => vec![
                segment,
                ("cleanup.policy", "compact".to_owned()),
                ("min.cleanable.dirty.ratio", "0.1".to_owned()),
            ],
            Policy::Delete => vec![segment, ("retention.bytes", RETENTION_BYTES.to_string())],
        }
    }
}

/// A topic of one partition and what is known of it.
pub struct Side {
    policy: Policy,
    /// Counts every record ever sent, so that of two versions of a key the later is larger.
    next_version: u64,
    acknowledged: BTreeMap<Offset, Version>,
    last_acknowledged: HashMap<u64, u64>,
    last_sent: HashMap<u64, u64>,
    earliest: Offset,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Version {
    key: u64,
    version: u64,
}

/// What was sent, and with which offset it was acknowledged.
type Sent = Vec<(Version, Option<Offset>)>;

pub struct SideLoad(JoinHandle<Sent>);

const PARTITION: PartitionIndex = PartitionIndex::new(0);

impl Side {
    /// Makes the topic. `None`, and a word why, if the broker refuses its configuration.
    pub async fn create(client: &Client, policy: Policy) -> Option<Side> {
        let spec = TopicSpec::new(policy.topic());
        let spec = policy.configs().into_iter().fold(spec, |spec, (key, value)| spec.config(key, value));
        if let Err(error) = client.admin().create_topic(spec).await {
            println!("not run: a topic that is {} ({error})", policy.topic());
            return None;
        }
        Some(Side {
            policy,
            next_version: 0,
            acknowledged: BTreeMap::new(),
            last_acknowledged: HashMap::new(),
            last_sent: HashMap::new(),
            earliest: Offset::ZERO,
        })
    }

    /// Produces until the broker is gone.
    pub fn begin(&mut self, client: &Client, rng: &mut Rng) -> SideLoad {
        let first = self.next_version;
        self.next_version += RECORDS_MAX;
        let (client, topic, seed) = (client.clone(), self.policy.topic(), rng.next());
        SideLoad(tokio::spawn(produce(client, topic, first, seed)))
    }

    /// Waits for a producer whose broker is gone.
    pub async fn note(&mut self, load: SideLoad) {
        for (version, offset) in load.0.await.expect("a producer does not panic") {
            self.last_sent.insert(version.key, version.version);
            if let Some(offset) = offset {
                self.last_acknowledged.insert(version.key, version.version);
                let before = self.acknowledged.insert(offset, version);
                assert_eq!(before, None, "{}: offset {offset} was given out twice", self.policy.topic());
            }
        }
    }

    pub async fn check(&mut self, client: &Client) {
        // Retention may run while the topic is read: then it is read again.
        for _ in 0..10 {
            if self.try_check(client).await {
                return;
            }
        }
        panic!("{}: the first records are gone each time they are read", self.policy.topic());
    }

    /// `false` if what was to be read was deleted meanwhile.
    async fn try_check(&mut self, client: &Client) -> bool {
        let topic = self.policy.topic();
        let earliest = client.admin().list_offsets(topic, PARTITION, OffsetSpec::Earliest).await;
        let earliest = earliest.expect("the broker answers").offset.expect("every partition has a start");
        let end = end_of(client, topic, PARTITION).await;
        assert!(self.earliest <= earliest && earliest <= end, "{topic}: from {earliest} to {end}");
        self.earliest = earliest;
        let Some(found) = read(client, topic, end).await else { return false };
        if found.first().is_some_and(|(offset, _)| self.policy == Policy::Delete && earliest < *offset) {
            return false;
        }
        assert!(found.is_sorted_by(|a, b| a.0 < b.0), "{topic}: offsets do not ascend");
        // No version is ever found changed, or at another offset.
        for (offset, version) in &found {
            if let Some(acknowledged) = self.acknowledged.get(offset) {
                assert_eq!(acknowledged, version, "{topic} at {offset}: changed");
            }
        }
        match self.policy {
            Policy::Compact => self.check_keys(&found),
            Policy::Delete => self.check_retained(&found, end),
        }
        true
    }

    /// The last one found of each key is the last acknowledged, or one that was sent later.
    fn check_keys(&self, found: &[(Offset, Version)]) {
        let mut last: HashMap<u64, u64> = HashMap::new();
        for (offset, Version { key, version }) in found {
            let before = last.insert(*key, *version);
            assert!(before < Some(*version), "key {key} at {offset}: version {version} after {before:?}");
        }
        for (key, acknowledged) in &self.last_acknowledged {
            let found = last.get(key).copied();
            assert!(
                Some(*acknowledged) <= found && found <= self.last_sent.get(key).copied(),
                "key {key}: version {acknowledged} was acknowledged last, {found:?} is found"
            );
        }
    }

    /// Nothing is missing behind the earliest offset, and not more was deleted than may be.
    fn check_retained(&self, found: &[(Offset, Version)], end: Offset) {
        let kept = end.get() - self.earliest.get();
        assert_eq!(found.len() as u64, kept, "retained: offsets are not dense");
        for (offset, version) in self.acknowledged.range(self.earliest..) {
            let index = (offset.get() - self.earliest.get()) as usize;
            assert_eq!(found.get(index).map(|found| found.1), Some(*version), "retained at {offset}: lost");
        }
        if Offset::ZERO < self.earliest {
            let bytes: u64 = found.iter().map(|(_, version)| filler(*version) as u64).sum();
            assert!(
                RETENTION_BYTES - SEGMENT_BYTES <= bytes + bytes / 4,
                "retained: only {bytes} bytes are left"
            );
        }
    }

    pub fn summary(&self) -> String {
        let (topic, acknowledged) = (self.policy.topic(), self.acknowledged.len());
        format!("{topic}: {acknowledged} acknowledged, earliest offset {}", self.earliest)
    }
}

fn filler(version: Version) -> usize {
    200 + (version.version % 300) as usize
}

async fn produce(client: Client, topic: &'static str, first: u64, seed: u64) -> Sent {
    let mut rng = Rng(seed);
    let sender =
        client.producer().acks(Acks::All).linger(Duration::from_millis(1)).build().expect("a valid producer");
    let mut tickets = Vec::new();
    for version in first..first + RECORDS_MAX {
        let version = Version { key: rng.below(KEYS), version };
        let mut value = version.version.to_le_bytes().to_vec();
        value.resize(8 + filler(version), 7);
        let record = Record::to(topic).partition(0u32).key(version.key.to_le_bytes().to_vec()).value(value);
        match tokio::time::timeout(Duration::from_secs(1), sender.enqueue(record)).await {
            Ok(Ok(ticket)) => tickets.push((version, ticket)),
            _ => break, // the broker is gone and the buffer full
        }
        if rng.below(32) == 0 {
            tokio::time::sleep(Duration::from_micros(rng.below(3000))).await;
        }
    }
    let mut sent = Sent::new();
    let mut answers = true;
    for (version, ticket) in tickets {
        let answer = if answers { tokio::time::timeout(ANSWER_MAX, ticket).await.ok() } else { None };
        answers = answer.is_some();
        sent.push((version, answer.and_then(Result::ok).and_then(|delivery| delivery.offset)));
    }
    sent
}

/// Everything below `end`. Compaction may have left nothing just below it. `None` if records were deleted
/// before they were read.
async fn read(client: &Client, topic: &str, end: Offset) -> Option<Vec<(Offset, Version)>> {
    let mut found = Vec::new();
    let mut reader =
        client.reader().topic(topic).start(StartAt::Earliest).build().await.expect("it survived");
    while found.last().is_none_or(|(offset, _): &(Offset, Version)| offset.get() + 1 < end.get()) {
        let Ok(records) = tokio::time::timeout(READ_MAX, reader.recv_batch(10_000)).await else { break };
        if matches!(records, Err(ConsumeError::OffsetOutOfRange { .. })) {
            return None;
        }
        found.extend(records.expect("readable").iter().map(version_of));
    }
    Some(found)
}

fn version_of(record: &ConsumedRecord) -> (Offset, Version) {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes"));
    let key = number(record.key.as_ref().expect("every record has a key"));
    let value = record.value.as_ref().expect("every record has a value");
    let version = Version { key, version: number(value) };
    assert!(
        value.len() == 8 + filler(version) && value[8..].iter().all(|byte| *byte == 7),
        "{version:?} changed"
    );
    (record.offset, version)
}
