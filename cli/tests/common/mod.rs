//! What the tests that run the real binary share.
//!
//!     rng         one seed, every decision
//!     broker      the process: start, kill, settings
//!     loop_disk   a filesystem of its own in an image: made, mounted, cut off, always cleaned up
//!     ledger      what was acknowledged against what is found
//!     side        topics beside it, compacted and retained
//!     sys         the calls that std does not have
//!
//! Each test takes a part of it.
#![allow(dead_code, unused_imports)] // a test that needs no loop device still compiles the module

use std::path::{Path, PathBuf};

pub mod rng;
pub use rng::Rng;

pub mod broker;
pub use broker::Broker;

pub mod loop_disk;
pub use loop_disk::{Filesystem, LoopDisk};

pub mod ledger;
pub use ledger::{Ledger, Load};

pub mod side;
pub use side::{Policy, Side};

pub mod sys;

/// A number from the environment, for the length of a run and its seed.
pub fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().expect("a number"))
}

/// A directory beside the binaries, because `/tmp` may be in memory; it goes with the value.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir); // left by a run that was killed and had our process id
        std::fs::create_dir_all(&dir).expect("the target directory is writable");
        Scratch(dir)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} is kept", self.0.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.0); // a leftover is only space
        }
    }
}
