//! What the disk takes, past the page cache, into space that was written before.
//!
//!     file         ├── written once, synced ──────────────────────┤
//!     write        │1 MiB│1 MiB│ …  O_DIRECT, two at a time           GB/s
//!     durable      │4K│ fdatasync │4K│ fdatasync │ …                  p50
//!
//! Written space, because that is what a log appends to: unwritten extents cost half (datapath.md).

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use super::Effort;
use crate::clock::Moment;
use crate::sys::AlignedBuffer;

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct DiskLimits {
    pub write_gb_s: f64,
    pub write_fdatasync_us_p50: f64,
}

/// Leaves nothing behind in `dir`.
pub fn measure(dir: &Path, effort: Effort) -> Result<DiskLimits> {
    let path = dir.join(format!(".bench-limits-{}", std::process::id()));
    let limits = measure_at(&path, effort);
    // Gone already if it could not be made; then the error above tells more.
    let _ = std::fs::remove_file(&path);
    limits.with_context(|| format!("cannot measure the disk under {}", dir.display()))
}

fn measure_at(path: &Path, effort: Effort) -> std::io::Result<DiskLimits> {
    let file =
        OpenOptions::new().read(true).write(true).create_new(true).custom_flags(libc::O_DIRECT).open(path)?;
    let block = AlignedBuffer::zeroed(LARGE as usize);
    let blocks = effort.disk_file_bytes() / LARGE;
    for at in 0..blocks {
        file.write_all_at(block.as_slice(), at * LARGE)?;
    }
    file.sync_all()?;
    Ok(DiskLimits {
        write_gb_s: large_writes(&file, block.as_slice(), blocks, effort.stretch())?,
        write_fdatasync_us_p50: durable_writes(&file, &block.as_slice()[..SMALL as usize], effort)?,
    })
}

/// Two threads, as a log has two writes in flight.
fn large_writes(file: &File, block: &[u8], blocks: u64, stretch: Duration) -> std::io::Result<f64> {
    let next = AtomicU64::new(0);
    let start = Moment::now();
    let end = start.plus(stretch);
    let write = || -> std::io::Result<()> {
        while Moment::now() < end {
            let at = next.fetch_add(1, Ordering::Relaxed) % blocks;
            file.write_all_at(block, at * LARGE)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(write);
        write().and(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    let bytes = next.into_inner() * LARGE;
    Ok(bytes as f64 / 1e9 / Moment::now().since(start).as_secs_f64())
}

fn durable_writes(file: &File, block: &[u8], effort: Effort) -> std::io::Result<f64> {
    let end = Moment::now().plus(effort.stretch());
    let mut took_ns = Vec::new();
    let mut at = 0;
    while took_ns.is_empty() || Moment::now() < end {
        let start = Moment::now();
        file.write_all_at(block, at)?;
        file.sync_data()?;
        took_ns.push(Moment::now().ns_since(start));
        at = (at + SMALL) % effort.disk_file_bytes();
    }
    took_ns.sort_unstable();
    Ok(took_ns[took_ns.len() / 2] as f64 / 1e3)
}

const LARGE: u64 = 1 << 20;
const SMALL: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_behind() {
        let dir = tempfile::tempdir_in(".").unwrap();
        let limits = measure(dir.path(), Effort::Short).unwrap();
        assert!(limits.write_gb_s > 0.0 && limits.write_fdatasync_us_p50 > 0.0);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(measure(&dir.path().join("missing"), Effort::Short).is_err());
    }
}
