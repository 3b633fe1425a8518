//! The raw limits of this machine, taken beside every run: what no broker on it can pass.
//!
//!     cores       a cache line there and back       "near" 64 ns, "far" 330 ns: the two moods of a VM
//!     loopback    send and receive over TCP         client core ─▶ broker core, 64 KiB and 1 MiB buffers
//!     disk        O_DIRECT into written extents     1 MiB writes; 4 KiB write + fdatasync
//!     checksum    CRC-32C                           64 KiB, warm
//!
//! Loopback speed follows the mood by up to 2.5x, so a figure without these says nothing. All of them
//! together take about 1.5 s; the cache line alone 20 ms.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::sys;

mod cores;
pub use cores::{Distance, core_to_core_ns};

mod loopback;

mod disk;

mod checksum;

/// What was measured; `None` where it was not asked for or has no meaning here.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Limits {
    /// The better of the two buffer sizes.
    pub loopback_gb_s: Option<f64>,
    pub disk_write_gb_s: Option<f64>,
    pub write_fdatasync_us_p50: Option<f64>,
    pub crc32c_gb_s: Option<f64>,
    pub core_to_core_ns: Option<f64>,
    #[serde(skip)]
    pub loopback_64k_gb_s: Option<f64>,
    #[serde(skip)]
    pub loopback_1m_gb_s: Option<f64>,
}

/// The two ends of a loopback connection.
#[derive(Clone, Debug)]
pub struct Cores {
    pub broker: Vec<usize>,
    pub client: Vec<usize>,
}

impl Limits {
    /// The cache line alone, which every report needs.
    pub fn of_cores(cores: &Cores) -> Limits {
        Limits { core_to_core_ns: core_to_core_ns(cores), ..Limits::default() }
    }

    /// All of them. `data_dir` is where the broker's files are, if they are on this machine.
    pub fn measure(cores: &Cores, data_dir: Option<&Path>, effort: Effort) -> Result<Limits> {
        // On the broker's core, where its own writes are made.
        let disk = data_dir.map(|dir| on_cores(&cores.broker, || disk::measure(dir, effort))).transpose()?;
        let small = loopback::gb_per_second(cores, 64 << 10, effort.stretch())?;
        let large = loopback::gb_per_second(cores, 1 << 20, effort.stretch())?;
        Ok(Limits {
            loopback_gb_s: Some(small.max(large)),
            disk_write_gb_s: disk.map(|disk| disk.write_gb_s),
            write_fdatasync_us_p50: disk.map(|disk| disk.write_fdatasync_us_p50),
            crc32c_gb_s: Some(checksum::gb_per_second(effort.stretch() / 5)),
            loopback_64k_gb_s: Some(small),
            loopback_1m_gb_s: Some(large),
            ..Limits::of_cores(cores)
        })
    }
}

/// How long to measure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effort {
    /// Beside a run: 1.5 s in all.
    Short,
    /// The `limits` subcommand: about 6 s.
    Long,
}

impl Effort {
    /// The time for one limit.
    fn stretch(self) -> Duration {
        match self {
            Effort::Short => Duration::from_millis(250),
            Effort::Long => Duration::from_millis(1000),
        }
    }

    fn disk_file_bytes(self) -> u64 {
        match self {
            Effort::Short => 256 << 20,
            Effort::Long => 1 << 30,
        }
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let (Some(small), Some(large)) = (self.loopback_64k_gb_s, self.loopback_1m_gb_s) {
            parts.push(format!("loopback {small:.2} GB/s by 64k, {large:.2} by 1m"));
        }
        if let Some(gb_s) = self.disk_write_gb_s {
            parts.push(format!("disk write {gb_s:.2} GB/s"));
        }
        if let Some(us) = self.write_fdatasync_us_p50 {
            parts.push(format!("4k write + fdatasync p50 {us:.0} us"));
        }
        if let Some(gb_s) = self.crc32c_gb_s {
            parts.push(format!("crc32c {gb_s:.1} GB/s"));
        }
        if let Some(ns) = self.core_to_core_ns {
            parts.push(format!("core to core {ns:.0} ns, {}", Distance::of(ns)));
        }
        f.write_str(&parts.join(" | "))
    }
}

/// Runs `work` on a thread that is pinned to `cores`.
fn on_cores<T: Send>(cores: &[usize], work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let pinned = || {
            // A machine that refuses measures unpinned: less exact, still a figure.
            let _ = sys::pin_to(cores);
            work()
        };
        scope.spawn(pinned).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
