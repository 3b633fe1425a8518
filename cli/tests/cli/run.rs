//! Runs the binary, and a broker from it. Nothing here waits for ever: what takes a minute is killed,
//! and its test fails with what it printed so far.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_ringlog");

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// The output of a command that had to succeed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// The message of a command that had to fail so.
    #[track_caller]
    pub fn fails_with(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        self.err
    }
}

/// The binary without any of the caller's settings.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

pub fn ringlog(arguments: &[&str]) -> Ran {
    finish(command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()), b"")
}

/// Feeds `input` while the output is read, as a shell's pipe does.
fn finish(command: &mut Command, input: &[u8]) -> Ran {
    if !input.is_empty() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().expect("the binary runs");
    let _watchdog = Watchdog::over(&child);
    let stdin = child.stdin.take();
    let output = thread::scope(|scope| {
        // A command that fails early leaves its input unread.
        scope.spawn(|| stdin.map(|mut stdin| stdin.write_all(input)));
        child.wait_with_output().expect("the binary ends")
    });
    let text = |bytes| String::from_utf8(bytes).expect("these tests print text only");
    Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// Kills a process after a minute, unless it is dropped before.
pub struct Watchdog {
    _called_off: mpsc::Sender<()>,
}

impl Watchdog {
    pub fn over(child: &Child) -> Watchdog {
        let (called_off, wait) = mpsc::channel::<()>();
        let pid = child.id().to_string();
        thread::spawn(move || {
            if wait.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let _ = Command::new("kill").args(["-KILL", &pid]).status();
            }
        });
        Watchdog { _called_off: called_off }
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

/// A broker with a directory of its own; killed when dropped.
pub struct Served {
    child: Child,
    pub addr: String,
    pub dir: TempDir,
}

impl Served {
    pub fn start() -> Served {
        // Below the build directory, which is on a disk; /tmp may not be.
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for the broker");
        Served::start_in(dir)
    }

    pub fn start_in(dir: TempDir) -> Served {
        let data_dir = dir.path().join("data");
        let mut child = serve(&data_dir).stdout(Stdio::piped()).spawn().expect("the binary runs");
        let _watchdog = Watchdog::over(&child);
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("the broker says that it is ready");
        let addr = line.trim_end().strip_prefix("ringlog ready on ").map(str::to_owned);
        let addr = addr.unwrap_or_else(|| panic!("not a ready line: {line:?}; {:?}", child.wait()));
        Served { child, addr, dir }
    }

    pub fn ringlog(&self, arguments: &[&str]) -> Ran {
        self.ringlog_with(arguments, b"")
    }

    pub fn ringlog_with(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut command = command(arguments);
        command.env("RINGLOG_BOOTSTRAP", &self.addr).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(&mut command, input)
    }

    /// Sends SIGTERM and waits; the directory stays.
    pub fn stop(mut self) -> (i32, TempDir) {
        let _watchdog = Watchdog::over(&self.child);
        let pid = self.child.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        assert!(killed.success());
        let status = self.child.wait().expect("the broker ends");
        let other = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        (status.code().unwrap_or(-1), std::mem::replace(&mut self.dir, other))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // After `stop` it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(data_dir: &Path) -> Command {
    let mut command = command(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--kafka",
        "127.0.0.1:0",
        "--set",
        "shards.cpus=0",
        "--data-dir",
    ]);
    // Small, so that several tests can run at a time.
    command.arg(data_dir).args(["--set", "shards.io_memory=16 MiB", "--set", "log.filter=warn"]);
    command
}
