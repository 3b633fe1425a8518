//! A broker of our own, in a process of its own, so that its costs are told from the client's.
//!
//!     bench produce ──spawn──▶ bench __broker ──▶ Broker::start
//!         │  ◀── "listening on 127.0.0.1:41234" ── stdout
//!         │  ─── end of stdin ──▶ Broker::stop ──▶ exit 0
//!         ╳ killed  ───▶ the kernel kills the child (PR_SET_PDEATHSIG)
//!
//! Its files are in a temporary directory, on a disk and not in memory: the log is written past the page
//! cache, which tmpfs does not do. The directory goes when the broker has stopped.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use broker::{Broker, Config};
use tempfile::TempDir;

use crate::flags::BrokerFlags;
use crate::sys;

/// A running child. Dropping it kills the broker; [`Embedded::stop`] asks it to stop.
pub struct Embedded {
    child: Child,
    /// The broker runs as long as this is open.
    stdin: Option<ChildStdin>,
    addresses: Addresses,
    /// What its process was told beside its directory.
    words: Vec<String>,
    /// Removed when this is dropped, after the broker is gone.
    data_dir: TempDir,
}

impl Embedded {
    /// Must be called on a thread that lives as long as the broker shall: its end is the parent's end
    /// for the kernel.
    ///
    /// `sets` are the broker's own settings, each `section.key=value`. With `kafka` it has a listener for
    /// Kafka's clients too.
    pub fn start(under: &Path, cpus: &[usize], sets: &[String], kafka: bool) -> Result<Embedded> {
        let data_dir = make_data_dir(under)?;
        let mut words =
            vec!["--cpus".to_owned(), cpus.iter().map(usize::to_string).collect::<Vec<_>>().join(",")];
        words.extend(sets.iter().flat_map(|set| ["--broker-set".to_owned(), set.clone()]));
        words.extend(kafka.then(|| "--kafka".to_owned()));
        let (child, stdin, addresses) = spawn(data_dir.path(), &words)?;
        Ok(Embedded { child, stdin, addresses, words, data_dir })
    }

    /// Kills the broker as no broker wants to be, and starts another on what it left. Returns how long
    /// that one took until it could be asked.
    pub fn kill_and_start_again(&mut self) -> Result<Duration> {
        self.child.kill().context("cannot kill the broker")?;
        self.child.wait().context("cannot wait for the broker")?;
        let begun = Instant::now();
        (self.child, self.stdin, self.addresses) = spawn(self.data_dir.path(), &self.words)?;
        Ok(begun.elapsed())
    }

    pub fn address(&self) -> &str {
        &self.addresses.native
    }

    /// Of its Kafka listener, if it has one.
    pub fn kafka(&self) -> Option<&str> {
        self.addresses.kafka.as_deref()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops the broker as a signal would, and removes its files.
    pub fn stop(mut self) -> Result<()> {
        drop(self.stdin.take());
        let deadline = Instant::now() + STOP_TIMEOUT;
        let status = loop {
            if let Some(status) = self.child.try_wait().context("cannot wait for the broker")? {
                break status;
            }
            if Instant::now() >= deadline {
                bail!("the broker did not stop within {STOP_TIMEOUT:?} and was killed");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        if status.success() { Ok(()) } else { bail!("the broker ended badly: {status}") }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // Both fail only if the process is gone, which is what they are for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a broker listens.
struct Addresses {
    native: String,
    kafka: Option<String>,
}

impl Addresses {
    /// Of the line `listening on 127.0.0.1:41234 127.0.0.1:41235`.
    fn parse(line: &str) -> Option<Addresses> {
        let mut words = line.trim().strip_prefix(ANNOUNCEMENT)?.split(' ').map(str::to_owned);
        Some(Addresses { native: words.next()?, kafka: words.next() })
    }
}

/// A broker's process on a directory, once it listens.
fn spawn(data_dir: &Path, words: &[String]) -> Result<(Child, Option<ChildStdin>, Addresses)> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut child = Command::new(program)
        .arg("__broker")
        .arg("--data-dir")
        .arg(data_dir)
        .args(words)
        .args(["--parent", &std::process::id().to_string()])
        // An interrupt from the keyboard is for us: we stop the broker when the report is done.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the broker's process")?;
    let stdin = child.stdin.take();
    let stdout = child.stdout.take().context("BUG: stdout was asked to be a pipe")?;
    let mut line = String::new();
    let read = BufReader::new(stdout).read_line(&mut line);
    if let (Ok(_), Some(addresses)) = (&read, Addresses::parse(&line)) {
        return Ok((child, stdin, addresses));
    }
    // Both fail only if it is gone already.
    let _ = child.kill();
    let _ = child.wait();
    bail!("the broker did not start; it says why above")
}

fn make_data_dir(under: &Path) -> Result<TempDir> {
    std::fs::create_dir_all(under).with_context(|| format!("cannot make {}", under.display()))?;
    tempfile::Builder::new()
        .prefix("ringlog-bench-")
        .tempdir_in(under)
        .with_context(|| format!("cannot make a directory under {}", under.display()))
}

/// The child's side: returns when the parent closes our stdin.
pub fn run_broker(flags: &BrokerFlags) -> Result<()> {
    sys::die_with(flags.parent)?;
    // The shards pin themselves; this is for the broker's other threads, which must not take the
    // client's core.
    sys::pin_to(&flags.cpus).context("cannot run on these cores")?;
    tracing_subscriber::fmt().with_env_filter(log_filter()).with_writer(std::io::stderr).init();
    let config = broker::config::load(None, std::iter::empty(), &flags.broker_set)?;
    let ours = Config::ephemeral(flags.data_dir.clone());
    let kafka = broker::config::KafkaConfig { listen: flags.kafka.then_some(ours.listen), ..config.kafka };
    let (data_dir, listen) = (ours.data_dir, ours.listen);
    let config = Config { cpus: flags.cpus.clone(), data_dir, listen, kafka, ..config };
    let broker = Broker::start(config).context("the broker cannot start")?;
    let kafka = broker.kafka_addr().map_or_else(String::new, |addr| format!(" {addr}"));
    println!("{ANNOUNCEMENT}{}{kafka}", broker.addr());
    wait_for_end_of(std::io::stdin());
    broker.stop().context("the broker cannot stop")
}

fn log_filter() -> tracing_subscriber::EnvFilter {
    tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into())
}

fn wait_for_end_of(mut input: impl Read) {
    let mut ignored = [0; 64];
    // An error means as much as the end: nobody is there.
    while input.read(&mut ignored).is_ok_and(|len| len > 0) {}
}

const ANNOUNCEMENT: &str = "listening on ";
/// The broker gives its shards a minute to finish what they accepted.
const STOP_TIMEOUT: Duration = Duration::from_secs(70);
