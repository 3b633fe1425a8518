//! A disk that fills up and is drained, over and over: produce is refused, nothing that was
//! acknowledged is lost, and produce resumes by itself.
//!
//!     produce until DiskFull ─▶ read (works) ─▶ drain: delete the topic, or the ballast ─▶ produce again
//!         └ soft: `storage.free_bytes_min` is reached        └ within 10 s
//!         └ hard: writes fail, free_bytes_min = 0
//!
//! On filesystems of 512 MiB, soft on ext4 and hard on XFS. Most of each is taken by a ballast file, so
//! that a cycle takes a second. `RINGLOG_FILL_CYCLES=n` sets how many (20, half of them on each).
//! Needs root, mkfs.ext4 and mkfs.xfs; says "not run" otherwise.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::ledger::end_of;
use common::{Broker, Filesystem, LoopDisk, env};
use ringlog_client::{
    Client, ErrorCode, Offset, PartitionIndex, Producer, Record, SendError, StartAt, TopicSpec,
};

const DISK_MEGABYTES: u64 = 512;
/// What the ballast file leaves free, above what the broker keeps free.
const ROOM_MEGABYTES: u64 = 64;
const KEPT: &str = "kept";
/// A full disk is told within this time.
const FILL_MAX: Duration = Duration::from_secs(15);
const RESUME_MAX: Duration = Duration::from_secs(10);

struct Fill {
    disk: LoopDisk,
    /// `storage.free_bytes_min`, in MiB.
    free_megabytes_min: u64,
    /// Numbers of the records of [`KEPT`] that were acknowledged, by their offsets.
    kept: BTreeMap<Offset, u64>,
    sent: u64,
    slowest_resume: Duration,
}

impl Fill {
    fn start(&self) -> Broker {
        let free = format!("storage.free_bytes_min={}MiB", self.free_megabytes_min);
        let settings = ["shards.cpus=0", free.as_str()];
        Broker::start(&self.disk.at().join("data"), &self.disk.outside().join("broker.log"), &settings)
    }

    fn ballast(&self) -> PathBuf {
        self.disk.at().join("ballast")
    }

    /// Takes all but a little of what is free.
    fn take_ballast(&self) {
        let free = free_megabytes(&self.disk.at());
        let len = free.saturating_sub(self.free_megabytes_min + ROOM_MEGABYTES).max(1);
        let taken = Command::new("fallocate").args(["-l", &format!("{len}M")]).arg(self.ballast()).status();
        assert!(taken.expect("fallocate is part of util-linux").success());
    }

    async fn send_kept(&mut self, producer: &Producer) -> Result<(), SendError> {
        let number = self.sent;
        self.sent += 1;
        let delivery = producer.send(Record::to(KEPT).value(number.to_le_bytes().repeat(100))).await?;
        self.kept.insert(delivery.offset.expect("acks=all names the offset"), number);
        Ok(())
    }

    /// Produces until it is refused because the disk is full. Before that a disk that
    /// is nearly full may be slow to answer.
    async fn fill(&mut self, producer: &Producer, topic: &str) {
        let value = vec![7u8; 250_000];
        let begun = Instant::now();
        while begun.elapsed() < FILL_MAX {
            let mut tickets = Vec::new();
            for _ in 0..8 {
                let record = Record::to(topic).value(value.clone());
                tickets.push(producer.enqueue(record).await.expect("the topic is known"));
            }
            let mut refused = Vec::new();
            for ticket in tickets {
                refused.extend(ticket.await.err());
            }
            let kept = self.send_kept(producer).await.err();
            let full = |error: &SendError| error.to_string().contains(ErrorCode::DiskFull.text());
            if refused.iter().chain(&kept).any(full) {
                return;
            }
        }
        panic!("produce was not refused within {FILL_MAX:?}");
    }

    async fn one_cycle(&mut self, cycle: u64, broker: &mut Broker, client: &Client) {
        let (admin, topic) = (client.admin(), format!("filler-{cycle}"));
        admin.create_topic(TopicSpec::new(&topic).config("segment.bytes", "4194304")).await.expect("room");
        self.take_ballast();
        let producer = client.producer().linger(Duration::ZERO).delivery_timeout(Duration::from_millis(500));
        let producer = producer.build().expect("a valid producer");
        self.fill(&producer, &topic).await;
        assert!(broker.is_alive(), "a full disk ended the broker");
        if !self.kept.is_empty() {
            let mut reader = client.reader().topic(KEPT).start(StartAt::Earliest).build().await;
            let reader = reader.as_mut().expect("a full disk can be read");
            assert!(!reader.recv_batch(10).await.expect("a full disk can be read").is_empty());
        }
        // Deleting a topic needs no room; nor does the broker need a restart when others make room.
        if cycle.is_multiple_of(2) {
            admin.delete_topic(&topic).await.expect("a delete needs no room");
            self.resume(&producer).await;
        } else {
            std::fs::remove_file(self.ballast()).expect("ours to remove");
            self.resume(&producer).await;
            admin.delete_topic(&topic).await.expect("there is room");
        }
        let _ = std::fs::remove_file(self.ballast()); // every other cycle it has gone already
    }

    async fn resume(&mut self, producer: &Producer) {
        let begun = Instant::now();
        while let Err(error) = self.send_kept(producer).await {
            assert!(begun.elapsed() < RESUME_MAX, "produce did not resume: {error}");
        }
        self.slowest_resume = self.slowest_resume.max(begun.elapsed());
    }

    /// Every acknowledged record is there, where its acknowledgement said.
    async fn check(&self, client: &Client) {
        let end = end_of(client, KEPT, PartitionIndex::new(0)).await;
        let mut reader =
            client.reader().topic(KEPT).start(StartAt::Earliest).build().await.expect("readable");
        let mut found = BTreeMap::new();
        while (found.len() as u64) < end.get() {
            for record in reader.recv_batch(10_000).await.expect("readable") {
                let value = record.value.expect("every record has a value");
                let number = u64::from_le_bytes(value[..8].try_into().expect("8 bytes"));
                found.insert(record.offset, number);
            }
        }
        for (offset, number) in &self.kept {
            assert_eq!(found.get(offset), Some(number), "acknowledged at {offset}, and lost or changed");
        }
    }
}

fn free_megabytes(at: &Path) -> u64 {
    let df = Command::new("df").args(["--output=avail", "-BM"]).arg(at).output().expect("df is everywhere");
    let text = String::from_utf8_lossy(&df.stdout).into_owned();
    let last = text.lines().last().unwrap_or_default().trim().trim_end_matches('M').to_owned();
    last.parse().unwrap_or_else(|_| panic!("df said {text}"))
}

async fn fill_and_drain(name: &str, filesystem: Filesystem, free_megabytes_min: u64) {
    let cycles = env("RINGLOG_FILL_CYCLES", 20).div_ceil(2);
    let disk = match LoopDisk::new(name, filesystem, DISK_MEGABYTES) {
        Ok(disk) => disk,
        Err(why) => return println!("not run on {}: {why}", filesystem.name()),
    };
    let begun = Instant::now();
    let (kept, slowest_resume) = (BTreeMap::new(), Duration::ZERO);
    let mut fill = Fill { disk, free_megabytes_min, kept, sent: 0, slowest_resume };
    let mut broker = fill.start();
    let mut client = Client::connect(broker.addr.clone()).await.expect("the broker is ready");
    client.admin().create_topic(TopicSpec::new(KEPT).config("segment.bytes", "65536")).await.expect("room");
    for cycle in 0..cycles {
        fill.one_cycle(cycle, &mut broker, &client).await;
        if cycle % 5 == 4 {
            // What a full disk left behind is what recovery finds.
            broker.kill();
            broker = fill.start();
            client = Client::connect(broker.addr.clone()).await.expect("the broker is ready");
            fill.check(&client).await;
        }
    }
    fill.check(&client).await;
    assert!(cycles <= fill.kept.len() as u64, "each cycle keeps a record");
    println!(
        "{cycles} fills of {name} on {} in {:?}: {} acknowledged, lost 0, produce resumed within {:?}",
        filesystem.name(),
        begun.elapsed(),
        fill.kept.len(),
        fill.slowest_resume,
    );
    drop((client, broker)); // before the disk goes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_the_limit_of_free_space_produce_is_refused_and_resumes() {
    fill_and_drain("soft-full", Filesystem::Ext4, 96).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_really_full_loses_nothing_and_resumes() {
    fill_and_drain("hard-full", Filesystem::Xfs, 0).await;
}
