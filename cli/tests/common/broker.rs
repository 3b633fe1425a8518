//! The broker as a process: `ringlog serve` on a directory, until it is killed.
//!
//!     spawn ──▶ "ringlog ready on ADDR" ──▶ kill       what it logs: DIR's sibling broker.log,
//!                                                      its end is printed when a test fails

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// A broker that takes longer to start has stopped on the way.
const READY_MAX: Duration = Duration::from_secs(60);

pub struct Broker {
    process: Child,
    log: PathBuf,
    pub addr: String,
}

impl Broker {
    /// Starts a broker and does not wait for it. Its log is `log`; of two settings the later one wins.
    pub fn spawn(data_dir: &Path, log: &Path, settings: &[&str]) -> Child {
        let stderr = OpenOptions::new().create(true).append(true).open(log).expect("the log is writable");
        // An older build, to measure beside this one.
        let binary = std::env::var("RINGLOG_BINARY").unwrap_or(env!("CARGO_BIN_EXE_ringlog").to_owned());
        let mut command = Command::new(binary);
        command.args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--set",
            "kafka.addr=127.0.0.1:0",
            "--set",
            "log.filter=warn",
        ]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        command.arg("--data-dir").arg(data_dir).stdout(Stdio::piped()).stderr(stderr);
        command.spawn().expect("the binary is built")
    }

    /// Starts a broker and waits until it is ready.
    pub fn start(data_dir: &Path, log: &Path, settings: &[&str]) -> Broker {
        let mut process = Broker::spawn(data_dir, log, settings);
        let stdout = process.stdout.take().expect("piped");
        let mut broker = Broker { process, log: log.to_owned(), addr: String::new() };
        let (ready, is_ready) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).expect("the broker speaks UTF-8");
            let _ = ready.send(line); // nobody waits any longer
        });
        let Ok(line) = is_ready.recv_timeout(READY_MAX) else {
            panic!("the broker is not ready within a minute:\n{}", threads_of(broker.pid()));
        };
        let addr =
            line.trim().strip_prefix("ringlog ready on ").unwrap_or_else(|| panic!("not ready: {line:?}"));
        broker.addr = addr.to_owned();
        broker
    }

    pub fn kill(mut self) {
        self.process.kill().expect("it is ours to kill");
        self.process.wait().expect("it was started by us");
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Whether it has not ended by itself.
    pub fn is_alive(&mut self) -> bool {
        self.process.try_wait().expect("it was started by us").is_none()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it may have ended
        let _ = self.process.wait();
        if std::thread::panicking() {
            print_end_of(&self.log);
        }
    }
}

fn print_end_of(log: &Path) {
    let Ok(file) = File::open(log) else { return };
    let lines: Vec<String> = BufReader::new(file).lines().map_while(Result::ok).collect();
    eprintln!("the broker's log ends so:");
    for line in lines.iter().skip(lines.len().saturating_sub(30)) {
        eprintln!("  {line}");
    }
}

/// Where each thread of a process stands and what its rings have, as the kernel and, if it is installed, gdb
/// know it.
fn threads_of(pid: u32) -> String {
    let mut told = String::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        for what in ["comm", "syscall", "stack"] {
            let text =
                std::fs::read_to_string(task.path().join(what)).unwrap_or_else(|error| error.to_string());
            told += &format!("{} {what}: {}\n", task.file_name().display(), text.trim_end());
        }
    }
    for fd in std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        let is_ring = std::fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().contains("io_uring"));
        if is_ring {
            let info = format!("/proc/{pid}/fdinfo/{}", fd.file_name().display());
            let text = std::fs::read_to_string(&info).unwrap_or_else(|error| error.to_string());
            told += &format!("{info}:\n{text}");
        }
    }
    let gdb = ["-p", &pid.to_string(), "-batch", "-ex", "thread apply all bt"];
    match Command::new("gdb").args(gdb).stdin(Stdio::null()).stderr(Stdio::null()).output() {
        Ok(output) => told += &String::from_utf8_lossy(&output.stdout),
        Err(error) => told += &format!("gdb: {error}\n"),
    }
    told
}
