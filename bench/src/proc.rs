//! What Linux tells in `/proc`: processor time, memory, the machine.
//!
//!     /proc/PID/stat      utime + stime of all threads, ended ones too, in ticks of 10 ms
//!     /proc/PID/status    VmRSS, VmHWM: resident memory, and its peak
//!     /proc/stat          busy time of each core, whoever made it busy, softirqs too
//!     /proc/self/mountinfo  the filesystem under a path
//!
//! Reading is separate from parsing, so that the parsers are tested on text.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::sys;

/// Seconds of processor time that a process has used so far, with all its threads.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let ticks = parse_cpu_ticks(&stat).with_context(|| format!("cannot understand {path}"))?;
    Ok(ticks as f64 / sys::clock_ticks_per_second() as f64)
}

/// Seconds of processor time of each thread of this process that is there now, by thread.
pub fn thread_seconds() -> HashMap<u32, f64> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let seconds = |entry: fs::DirEntry| {
        let thread = entry.file_name().to_str()?.parse().ok()?;
        let ticks = parse_cpu_ticks(&fs::read_to_string(entry.path().join("stat")).ok()?)?;
        Some((thread, ticks as f64 / sys::clock_ticks_per_second() as f64))
    };
    tasks.filter_map(seconds).collect()
}

/// The command's name stands in parentheses and may hold spaces and parentheses: fields are counted
/// from the last one. utime and stime are fields 14 and 15 of the line, 12 and 13 after the name.
fn parse_cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Whether a child of ours has ended, and waits for us to ask how, or is gone.
pub fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, fields)| fields.chars().next());
    matches!(state, None | Some('Z' | 'X'))
}

/// Memory that a process has resident, in bytes.
pub fn rss_bytes(pid: u32) -> Result<u64> {
    memory(pid, "VmRSS:")
}

/// The most memory that a process has had resident so far, in bytes.
pub fn rss_peak_bytes(pid: u32) -> Result<u64> {
    memory(pid, "VmHWM:")
}

fn memory(pid: u32, name: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    parse_memory(&status, name).with_context(|| format!("no {name} in {path}"))
}

fn parse_memory(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Every core of this machine, whoever may run on it.
pub fn all_cores() -> Vec<usize> {
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let cores = parse_core_list(online.trim());
    if cores.is_empty() { vec![0] } else { cores }
}

/// For example `0-3,8`.
fn parse_core_list(text: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

/// Seconds that `cores` together were not idle since the machine started.
pub fn busy_seconds(cores: &[usize]) -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let ticks: u64 = cores.iter().filter_map(|&core| parse_busy_ticks(&stat, core)).sum();
    Ok(ticks as f64 / sys::clock_ticks_per_second() as f64)
}

/// All kinds of time but idle (4th) and iowait (5th); steal is not ours, guest time is in user time.
fn parse_busy_ticks(stat: &str, core: usize) -> Option<u64> {
    let name = format!("cpu{core} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&name))?;
    let mut fields = line.split_ascii_whitespace().map(|field| field.parse::<u64>().unwrap_or(0));
    let [user, nice, system, _idle, _iowait, irq, softirq] =
        std::array::from_fn(|_| fields.next().unwrap_or(0));
    Some(user + nice + system + irq + softirq)
}

/// For example `Linux 6.18.44`.
pub fn kernel() -> String {
    let read = |name| fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
    format!("{} {}", read("ostype").trim(), read("osrelease").trim())
}

/// For example `AMD EPYC`.
pub fn cpu_model() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(|| "unknown processor".to_owned(), |(_, name)| name.trim().to_owned())
}

/// Type of the filesystem that holds `path`, for example `ext4`.
pub fn filesystem(path: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    parse_filesystem(&mounts, &path).unwrap_or_else(|| "unknown filesystem".to_owned())
}

/// Of the mount points that `path` lies under the longest counts; of equal ones the last, which
/// hides the others. The mount point is field 5, the type the first field after the ` - `.
fn parse_filesystem(mounts: &str, path: &Path) -> Option<String> {
    let under = |line: &str| {
        let (mount, rest) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?;
        let kind = rest.split(' ').next()?;
        path.starts_with(point).then(|| (point.len(), kind.to_owned()))
    };
    mounts.lines().filter_map(under).max_by_key(|(len, _)| *len).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 93 0 0 0 123 45 0 0 20 0 3 0 6 7 8";
        assert_eq!(parse_cpu_ticks(stat), Some(168));
        assert_eq!(parse_cpu_ticks("42 (cut) S 1 42"), None);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(parse_memory(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(parse_memory(status, "VmRSS:"), Some(1 << 10));
        assert_eq!(parse_memory("Name:\tx\n", "VmRSS:"), None);
    }

    #[test]
    fn idle_and_iowait_are_not_busy() {
        let stat =
            "cpu  9 9 9 9\ncpu0 1 2 4 1000 2000 8 16 32 0 0\ncpu1 1 0 0 5 0 0 0\ncpu10 9 9 9 9 9 9 9\n";
        assert_eq!(parse_busy_ticks(stat, 0), Some(31));
        assert_eq!(parse_busy_ticks(stat, 1), Some(1));
        assert_eq!(parse_busy_ticks(stat, 7), None);
    }

    #[test]
    fn a_list_of_cores_has_ranges() {
        assert_eq!(parse_core_list("0-2,5"), [0, 1, 2, 5]);
        assert_eq!((parse_core_list("0"), parse_core_list("")), (vec![0], vec![]));
    }

    #[test]
    fn the_longest_mount_point_names_the_filesystem() {
        let mounts = "1 0 254:0 / / rw - ext4 /dev/vda rw\n2 1 0:5 / /tmp rw shared:1 - tmpfs none rw\n";
        assert_eq!(parse_filesystem(mounts, Path::new("/tmp/x")).as_deref(), Some("tmpfs"));
        assert_eq!(parse_filesystem(mounts, Path::new("/tmpx")).as_deref(), Some("ext4"));
    }

    #[test]
    fn this_process_has_time_and_memory() {
        let pid = std::process::id();
        assert!(cpu_seconds(pid).unwrap() >= 0.0);
        assert!(rss_peak_bytes(pid).unwrap() > 1 << 20);
        assert!(rss_bytes(pid).unwrap() > 1 << 20);
        assert!(busy_seconds(&[0]).unwrap() > 0.0);
        assert!(!has_ended(pid));
        assert!(thread_seconds().contains_key(&pid));
    }

    #[test]
    fn a_child_that_nobody_has_waited_for_has_ended() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let ended = (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            has_ended(child.id())
        });
        child.wait().unwrap();
        assert!(ended);
    }
}
