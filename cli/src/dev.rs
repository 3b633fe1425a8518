//! `ringlog dev`: a broker to try things with, gone without a trace when it ends.
//!
//! The directory is temporary but on a real disk: the log is written with O_DIRECT, and a broker on
//! tmpfs would promise a durability and show a speed that are not there.

use std::fs;
use std::path::{Path, PathBuf};

use broker::{Broker, Config, config};

use crate::exit::{Exit, Failure};
use crate::host;
use crate::serve;

/// Run a broker for development, in a temporary directory
///
/// Runs until Ctrl-C, then removes its data.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 7070)]
    port: u16,

    /// Port on 127.0.0.1 for Kafka's clients; 0 takes a free one
    #[arg(long, default_value_t = 9092)]
    kafka_port: u16,

    /// Cores to run on: all, or a list such as 0,2-3
    #[arg(long, default_value = "all", value_name = "LIST")]
    cpus: String,

    /// Where to make the temporary directory; the first of $TMPDIR, /tmp, /var/tmp and . on a disk
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Log more than warnings: info, debug, or tracing's EnvFilter
    #[arg(long, default_value = "warn", value_name = "FILTER")]
    log: String,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let parent = args.dir.clone().unwrap_or_else(disk_directory);
    let dir = tempfile::Builder::new().prefix("ringlog-dev-").tempdir_in(&parent).map_err(|error| {
        Failure::new(Exit::Config, format!("cannot make a directory in {}: {error}", parent.display()))
            .with_next("--dir names another place")
    })?;
    let config = config(args, dir.path())?;
    let done = host::host(config, |broker| ready(broker, dir.path()));
    let removed =
        dir.close().map_err(|error| Failure::new(Exit::Error, format!("cannot remove the data: {error}")));
    done.and(removed)
}

fn config(args: &Args, dir: &Path) -> Result<Config, Failure> {
    // The environment is not asked: `dev` is the same broker on every machine.
    let sets = [
        format!("listener.addr=127.0.0.1:{}", args.port),
        format!("kafka.addr=127.0.0.1:{}", args.kafka_port),
        format!("shards.cpus={}", args.cpus),
        format!("log.filter={}", args.log),
    ];
    let config = config::load(None, std::iter::empty(), &sets)
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let data_dir = std::path::absolute(dir)
        .map_err(|error| Failure::new(Exit::Config, format!("where is {}? {error}", dir.display())))?;
    Ok(Config { data_dir, ..config })
}

fn ready(broker: &Broker, dir: &Path) -> Result<(), Failure> {
    serve::ready(broker)?;
    let addr = broker.addr();
    let bootstrap =
        if addr.port() == 7070 { String::new() } else { format!("\n  export RINGLOG_BOOTSTRAP={addr}") };
    eprintln!(
        "data in {}, removed at the end. Ctrl-C ends it. In another terminal:{bootstrap}
  ringlog topic create hello
  echo world | ringlog produce hello
  ringlog consume hello --from start -e",
        dir.display()
    );
    Ok(())
}

/// The first place for temporary files that is on a disk; if none is known to be, the first.
fn disk_directory() -> PathBuf {
    let candidates = [std::env::temp_dir(), PathBuf::from("/var/tmp"), PathBuf::from(".")];
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let is_on_disk = |dir: &&PathBuf| {
        dir.canonicalize().is_ok_and(|dir| !matches!(filesystem_of(&dir, &mounts), Some("tmpfs" | "ramfs")))
    };
    candidates.iter().find(is_on_disk).unwrap_or(&candidates[0]).clone()
}

/// The type of the filesystem that holds `dir`, by the deepest mount point above it.
///
/// A line of mountinfo: `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw`.
fn filesystem_of<'a>(dir: &Path, mountinfo: &'a str) -> Option<&'a str> {
    let mount = |line: &'a str| {
        let (mount, filesystem) = line.split_once(" - ")?;
        Some((mount.split(' ').nth(4)?, filesystem.split(' ').next()?))
    };
    let above = mountinfo.lines().filter_map(mount).filter(|(point, _)| dir.starts_with(point));
    // Of two mounts on one point, the later one is on top.
    above.max_by_key(|(point, _)| point.len()).map(|(_, filesystem)| filesystem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_and_latest_mount_tells_the_filesystem() {
        let mounts = "\
            22 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n\
            30 22 0:25 / /tmp rw - xfs /dev/vdb rw\n\
            31 22 0:26 / /tmp rw - tmpfs tmpfs rw\n\
            32 22 0:27 / /tmp/disk rw - ext4 /dev/vdc rw\n";
        assert_eq!(filesystem_of(Path::new("/var/tmp"), mounts), Some("ext4"));
        assert_eq!(filesystem_of(Path::new("/tmp/x"), mounts), Some("tmpfs"));
        assert_eq!(filesystem_of(Path::new("/tmp/disk/x"), mounts), Some("ext4"));
        assert_eq!(filesystem_of(Path::new("/tmpx"), mounts), Some("ext4"));
        assert_eq!(filesystem_of(Path::new("/"), ""), None);
    }
}
