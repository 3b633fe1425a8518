//! What was acknowledged, against what is found.
//!
//!     Load::begin ─ producers, acks=all ─ the broker is gone ─▶ acknowledged ─▶ Ledger::note
//!     Ledger::check ─ reads from where it was last ─▶ each acknowledged record is there, once, in order
//!
//! Each record says who sent it in which cycle as what number; producers never repeat a record, so each
//! may be there at most once. What was once read must stay: a record that was served and then vanishes
//! is as bad as one that was acknowledged (KAFKA-10101).

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use ringlog_client::{Acks, Client, Codec, Delivery, Offset, OffsetSpec, PartitionIndex, Record, StartAt};
use tokio::task::JoinHandle;

use super::Rng;

pub const TOPIC: &str = "ledger";
pub const PARTITIONS: u32 = 4;
const PRODUCERS: u32 = 6;
/// Most records of a producer in a cycle, so that a long loop does not fill the disk.
const RECORDS_MAX: u32 = 4000;
/// After the broker's death an answer is there at once or never comes.
const ANSWER_MAX: Duration = Duration::from_millis(700);

/// Who sent a record, in which cycle, as which number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Stamp {
    pub cycle: u32,
    pub producer: u32,
    pub number: u32,
}

impl Stamp {
    pub fn to_value(self, filler: usize) -> Vec<u8> {
        let mut value = Vec::with_capacity(12 + filler);
        for part in [self.cycle, self.producer, self.number] {
            value.extend_from_slice(&part.to_le_bytes());
        }
        value.extend((0..filler).map(|n| (n as u32).wrapping_mul(self.number) as u8));
        value
    }

    pub fn from_value(value: &[u8]) -> Stamp {
        let part = |n: usize| u32::from_le_bytes(value[n * 4..n * 4 + 4].try_into().expect("4 bytes"));
        let stamp = Stamp { cycle: part(0), producer: part(1), number: part(2) };
        assert!(value == stamp.to_value(value.len() - 12), "the value of {stamp:?} was changed");
        stamp
    }
}

/// With the time at which the acknowledgement was seen.
type Acknowledged = Vec<(PartitionIndex, Offset, Stamp, Instant)>;

/// Producers at work.
pub struct Load(Vec<JoinHandle<Acknowledged>>);

impl Load {
    /// They produce until the broker is gone or they have sent what a cycle may send.
    pub fn begin(client: &Client, cycle: u32, rng: &mut Rng) -> Load {
        let producer = |n| tokio::spawn(produce(client.clone(), n, cycle, rng.next()));
        Load((0..PRODUCERS).map(producer).collect())
    }
}

/// Produces until the broker is gone. Returns what was acknowledged.
async fn produce(client: Client, producer: u32, cycle: u32, seed: u64) -> Acknowledged {
    let mut rng = Rng(seed);
    let codec = [Codec::None, Codec::Lz4][(producer % 2) as usize];
    let sender = client
        .producer()
        .acks(Acks::All)
        .compression(codec)
        .linger(Duration::from_millis(1))
        .build()
        .expect("a valid producer");
    // Answers are taken as they come, so that it is known which came before the end.
    let (tickets, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let collect = tokio::spawn(async move {
        let mut acknowledged = Acknowledged::new();
        while let Some((stamp, ticket)) = answers.recv().await {
            // What has no answer when the broker is dead never gets one.
            match tokio::time::timeout(ANSWER_MAX, ticket).await {
                Ok(Ok(delivery)) => {
                    let delivery: Delivery = delivery;
                    let offset = delivery.offset.expect("acks=all names the offset");
                    acknowledged.push((delivery.partition, offset, stamp, Instant::now()));
                }
                Ok(Err(_)) => {}
                Err(_) => break,
            }
        }
        acknowledged
    });
    for number in 0..RECORDS_MAX {
        let stamp = Stamp { cycle, producer, number };
        let record = Record::to(TOPIC)
            .partition(producer % PARTITIONS)
            .value(stamp.to_value(rng.below(1500) as usize));
        match tokio::time::timeout(Duration::from_secs(1), sender.enqueue(record)).await {
            Ok(Ok(ticket)) => {
                if tickets.send((stamp, ticket)).is_err() {
                    break; // no answers any more
                }
            }
            _ => break, // the broker is gone and the buffer full
        }
        if rng.below(64) == 0 {
            tokio::time::sleep(Duration::from_micros(rng.below(3000))).await;
        }
    }
    drop(tickets);
    collect.await.expect("a producer does not panic")
}

#[derive(Default)]
pub struct Ledger {
    acknowledged: BTreeMap<(PartitionIndex, Offset), Stamp>,
    /// Acknowledgements that came after the end.
    pub too_late: u64,
    /// What each partition was found to hold, from offset 0 on.
    found: BTreeMap<PartitionIndex, Vec<Stamp>>,
}

impl Ledger {
    /// Waits for producers whose broker is gone. What was acknowledged after `end` counts for nothing.
    pub async fn note(&mut self, load: Load, end: Instant) {
        for producer in load.0 {
            for (partition, offset, stamp, seen) in producer.await.expect("a producer does not panic") {
                if end < seen {
                    self.too_late += 1;
                    continue;
                }
                let before = self.acknowledged.insert((partition, offset), stamp);
                assert_eq!(before, None, "offset {offset} of partition {partition} was given out twice");
            }
        }
    }

    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.len() as u64
    }

    pub fn found(&self) -> u64 {
        self.found.values().map(|found| found.len() as u64).sum()
    }

    /// Takes out what was acknowledged and is beyond the end of its partition. Returns how many.
    pub async fn forget_lost(&mut self, client: &Client) -> u64 {
        let before = self.acknowledged();
        for partition in partitions() {
            let end = end_of(client, TOPIC, partition).await;
            self.acknowledged.retain(|(of, offset), _| *of != partition || *offset < end);
        }
        before - self.acknowledged()
    }

    /// Reads what is new, or everything, and compares.
    pub async fn check(&mut self, client: &Client, from_start: bool) {
        for partition in partitions() {
            let known = self.found.remove(&partition).unwrap_or_default();
            let start = Offset::new(if from_start { 0 } else { known.len() as u64 });
            let end = end_of(client, TOPIC, partition).await;
            self.check_end(partition, known.len() as u64, end);
            let fresh = read(client, partition, start, end).await;
            assert_eq!(
                fresh.len() as u64,
                end.get() - start.get(),
                "partition {partition}: offsets are not dense"
            );
            self.check_partition(partition, start, &fresh);
            let found = if from_start {
                assert!(fresh.starts_with(&known), "partition {partition}: what was read once has changed");
                fresh
            } else {
                [known, fresh].concat()
            };
            self.found.insert(partition, found);
        }
    }

    fn check_end(&self, partition: PartitionIndex, known: u64, end: Offset) {
        let of_it = self.acknowledged.range((partition, Offset::ZERO)..=(partition, Offset::MAX));
        if let Some(((_, last), stamp)) = of_it.last() {
            assert!(
                *last < end,
                "partition {partition} ends at {end}: {stamp:?} was acknowledged at {last} and is lost"
            );
        }
        assert!(
            known <= end.get(),
            "partition {partition} ends at {end}: it was read up to {known}, and that has vanished"
        );
    }

    fn check_partition(&self, partition: PartitionIndex, start: Offset, found: &[Stamp]) {
        let mut seen = HashSet::new();
        let mut next_number: BTreeMap<(u32, u32), u32> = BTreeMap::new();
        for (offset, stamp) in (start.get()..).map(Offset::new).zip(found) {
            assert!(seen.insert(*stamp), "partition {partition}: {stamp:?} is there twice");
            // A cycle's records of a producer are there from the first one on, without a gap: nothing
            // that was lost precedes something that was kept.
            let next = next_number.entry((stamp.cycle, stamp.producer)).or_default();
            assert_eq!(
                stamp.number, *next,
                "partition {partition} at {offset}: {stamp:?} follows a hole or is out of order"
            );
            *next += 1;
        }
        let acknowledged = self.acknowledged.range((partition, start)..=(partition, Offset::MAX));
        for ((_, offset), stamp) in acknowledged {
            let index = (offset.get() - start.get()) as usize;
            assert_eq!(found.get(index), Some(stamp), "partition {partition} at {offset}: lost or changed");
        }
    }
}

pub fn partitions() -> impl Iterator<Item = PartitionIndex> {
    (0..PARTITIONS).map(PartitionIndex::new)
}

pub async fn end_of(client: &Client, topic: &str, partition: PartitionIndex) -> Offset {
    let latest = client.admin().list_offsets(topic, partition, OffsetSpec::Latest).await;
    latest.expect("the broker answers").offset.expect("every partition has an end")
}

pub async fn read(client: &Client, partition: PartitionIndex, start: Offset, end: Offset) -> Vec<Stamp> {
    let mut found = Vec::new();
    if start == end {
        return found;
    }
    let reader = client.reader().topic(TOPIC).partitions(vec![partition.get()]).start(StartAt::Offset(start));
    let mut reader = reader.build().await.expect("the topic survived");
    let mut expected = start.get();
    while expected < end.get() {
        for record in reader.recv_batch(10_000).await.expect("readable") {
            assert_eq!(record.offset.get(), expected, "partition {partition}");
            expected += 1;
            found.push(Stamp::from_value(&record.value.expect("every record has a value")));
        }
    }
    found
}
