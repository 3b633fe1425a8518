//! A filesystem of its own, in an image file below the target directory.
//!
//!     DIR/disk.img ─ losetup --direct-io ─▶ /dev/loopN ─ mount ─▶ DIR/mnt
//!                                              cut: shut down, unmount, mount again (journal replay)
//!
//! Cleaned up when the value goes, also after a panic. What a killed run left behind is found by the
//! process id in its directory's name, and cleaned up by the next run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::sys;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Filesystem {
    Ext4,
    Xfs,
}

impl Filesystem {
    pub fn name(self) -> &'static str {
        match self {
            Filesystem::Ext4 => "ext4",
            Filesystem::Xfs => "xfs",
        }
    }

    fn mkfs(self, device: &str) -> Command {
        let mut command = Command::new(format!("mkfs.{}", self.name()));
        match self {
            // No lazy initialisation: a kernel thread that writes for minutes is nothing to test.
            Filesystem::Ext4 => command.args(["-qF", "-E", "lazy_itable_init=0,lazy_journal_init=0"]),
            Filesystem::Xfs => command.arg("-qf"),
        };
        command.arg(device);
        command
    }
}

pub struct LoopDisk {
    dir: PathBuf,
    device: String,
}

const PREFIX: &str = "ringlog-loop";

impl LoopDisk {
    /// Makes and mounts a filesystem. `Err` says why this machine cannot, to be printed behind
    /// "not run: ".
    pub fn new(name: &str, filesystem: Filesystem, megabytes: u64) -> Result<LoopDisk, String> {
        if !sys::is_root() {
            return Err("only root can mount".to_owned());
        }
        let mkfs = format!("mkfs.{}", filesystem.name());
        if Command::new(&mkfs).arg("-V").output().is_err() {
            return Err(format!("there is no {mkfs}"));
        }
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
        remove_leftovers(parent);
        let dir = parent.join(format!("{PREFIX}-{name}-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("mnt")).expect("the target directory is writable");
        let image = dir.join("disk.img");
        let made = std::fs::File::create(&image).and_then(|file| file.set_len(megabytes << 20));
        made.expect("the target directory is writable");
        let device = run(Command::new("losetup").args(["--direct-io=on", "--find", "--show"]).arg(&image))?;
        let disk = LoopDisk { dir, device };
        run(&mut filesystem.mkfs(&disk.device))?;
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn at(&self) -> PathBuf {
        self.dir.join("mnt")
    }

    /// A place for logs, outside of the filesystem.
    pub fn outside(&self) -> &Path {
        &self.dir
    }

    /// Power goes: nothing more is written. The broker still runs, on a filesystem that only fails.
    pub fn cut(&self) {
        sys::shut_down(&self.at()).expect("root may shut a filesystem down");
    }

    /// Power is back: the filesystem replays its journal.
    pub fn remount(&self) {
        self.unmount().expect("nobody uses it any more");
        self.mount().expect("a filesystem survives the loss of power");
    }

    fn mount(&self) -> Result<(), String> {
        run(Command::new("mount").arg(&self.device).arg(self.at())).map(drop)
    }

    /// A process that was just killed may hold the filesystem until its last I/O is done.
    fn unmount(&self) -> Result<(), String> {
        let mut error = String::new();
        for _ in 0..100 {
            match run(Command::new("umount").arg(self.at())) {
                Ok(_) => return Ok(()),
                Err(why) => error = why,
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(error)
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        release(&self.dir);
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.dir); // a leftover is only space
        }
    }
}

/// Unmounts what is mounted in a directory of ours and frees its loop device.
fn release(dir: &Path) {
    let (at, image) = (dir.join("mnt"), dir.join("disk.img"));
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let is_mounted = mounts.lines().any(|line| line.split(' ').nth(1).map(Path::new) == Some(&at));
    if is_mounted && run(Command::new("umount").arg(&at)).is_err() {
        let _ = run(Command::new("umount").arg("--lazy").arg(&at)); // someone stands in it
    }
    let devices = run(Command::new("losetup").args(["--noheadings", "-O", "NAME", "-j"]).arg(&image));
    for device in devices.unwrap_or_default().lines() {
        let _ = run(Command::new("losetup").args(["-d", device.trim()])); // gone with its last user
    }
}

/// A directory whose process is dead was left by a run that was killed.
fn remove_leftovers(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.rsplit_once('-').filter(|_| name.starts_with(PREFIX)).map(|(_, id)| id);
        if process.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
            release(&entry.path());
            // Not below a mount that could not be removed: that would delete what is on it.
            if std::fs::remove_dir(entry.path().join("mnt")).is_ok() {
                let _ = std::fs::remove_dir_all(entry.path()); // a leftover is only space
            }
        }
    }
}

/// What the command printed, or what it complained about.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("{command:?}: {}", text(&output.stderr)))
    }
}
