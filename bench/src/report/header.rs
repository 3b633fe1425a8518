//! What was run, and on what: the first lines of a report.

use std::path::Path;
use std::process::Command;

use crate::flags::{Flags, Workload};
use crate::limits::{Cores, Limits};
use crate::proc;
use crate::units::{bytes, thousands};

/// What a figure is worth nothing without.
pub struct Header<'a> {
    pub workload: Workload,
    pub flags: &'a Flags,
    pub cores: &'a Cores,
    /// Where the broker's files are, if they are on this machine.
    pub data_dir: Option<&'a Path>,
    pub limits: &'a Limits,
    pub commit: &'a str,
}

impl Header<'_> {
    pub fn print(&self) {
        let version = env!("CARGO_PKG_VERSION");
        println!("bench {version} {}  {}", self.commit, self.load());
        for stream in &self.flags.mix {
            println!("mix       {stream}");
        }
        println!("records   {}", self.records());
        println!("producer  {}", self.producer());
        if self.flags.kafka {
            println!(
                "client    librdkafka {}, through the Kafka listener",
                rdkafka::util::get_rdkafka_version().1
            );
        }
        println!("machine   {}", self.machine());
        println!("limits    {}", self.limits);
    }

    fn load(&self) -> String {
        let flags = self.flags;
        let load = match (flags.rate, flags.outstanding) {
            _ if matches!(self.workload, Workload::Consume | Workload::Groups) => String::new(),
            (Some(rate), _) => format!(", open loop at {} records/s", thousands(rate as u64)),
            (None, Some(records)) => format!(", closed loop with {} outstanding", thousands(records as u64)),
            (None, None) => ", closed loop".to_owned(),
        };
        let amount = match (flags.records, flags.duration) {
            (Some(records), Some(time)) => format!(", {} records for {time:?}", thousands(records)),
            (Some(records), None) => format!(", {} records", thousands(records)),
            (None, time) => format!(", {:?} after {:?} of warm-up", time.unwrap_or_default(), flags.warmup()),
        };
        let consumers = match self.workload {
            Workload::Produce => String::new(),
            Workload::Consume | Workload::Pubsub | Workload::Drain | Workload::Mixed => {
                format!(", {}", count(flags.consumers, "consumer"))
            }
            Workload::Fanout | Workload::Groups => {
                format!(", {} of {}", count(flags.group.groups, "group"), count(flags.consumers, "member"))
            }
            Workload::Rebalance => {
                format!(", {}, {}", count(flags.group.members, "member"), flags.group.assignor.name())
            }
        };
        let (producers, partitions) =
            (count(flags.producers, "producer"), count(flags.partitions as usize, "partition"));
        format!("{}: {producers}{consumers}, {partitions}{load}{amount}", self.workload)
    }

    fn records(&self) -> String {
        let flags = self.flags;
        let payload = format!("{:?}", flags.payload).to_lowercase();
        let verified = if flags.verify { ", verified" } else { "" };
        let size = bytes(flags.record_size);
        format!("{size} bytes {payload}, key {}, seed {}{verified}", flags.key, flags.seed)
    }

    fn producer(&self) -> String {
        let flags = self.flags;
        let routing = if flags.no_routing { ", no routing" } else { "" };
        let idempotent = if flags.is_idempotent() { "" } else { ", not idempotent" };
        format!(
            "acks {}, batch {}, linger {:?}, {} in flight, buffer {}, compression {}{idempotent}{routing}",
            flags.acks,
            bytes(flags.batch_bytes),
            flags.linger,
            flags.in_flight,
            bytes(flags.buffer_bytes),
            flags.compression,
        )
    }

    fn machine(&self) -> String {
        let place = match (&self.flags.bootstrap, self.data_dir) {
            (Some(bootstrap), _) => format!("broker at {bootstrap}"),
            (None, Some(dir)) => {
                let (broker, client) = (&self.cores.broker, &self.cores.client);
                format!("broker on cores {broker:?}, client on {client:?}, {}", proc::filesystem(dir))
            }
            (None, None) => "no broker".to_owned(),
        };
        format!("{}, {}, {place}", proc::kernel(), proc::cpu_model())
    }
}

/// `1 producer`, `2 producers`.
fn count(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(count as u64))
}

/// The commit this program was built from, if the build said so, or of the sources beside it.
pub fn commit() -> String {
    if let Some(commit) = option_env!("RINGLOG_COMMIT") {
        return commit.to_owned();
    }
    let describe = ["describe", "--always", "--dirty", "--exclude=*"];
    let described = Command::new("git").current_dir(env!("CARGO_MANIFEST_DIR")).args(describe).output();
    let text = described.ok().filter(|output| output.status.success());
    let text = text.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}
