//! What keeps a broker from starting or from writing, told by name: io_uring, memory, ports, disks.
//!
//!     seccomp filter ▸ locked memory ▸ port in use ▸ directory that cannot be one ▸ open files ▸ full filesystem

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

mod sys;

use ringlog_client::{Client, ErrorCode, Record, StartAt, TopicSpec};

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir); // left by a run that was killed
    std::fs::create_dir_all(&dir).expect("the target directory is writable");
    dir
}

fn serve(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringlog"));
    command
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--kafka",
            "127.0.0.1:0",
            "--set",
            "shards.cpus=0",
            "--data-dir",
        ])
        .arg(data_dir);
    command
}

/// Runs a broker that is not to start, and gives what it said.
fn refused(mut command: Command) -> String {
    let Output { status, stderr, .. } = command.output().expect("the binary is built");
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(78), "{said}");
    said
}

#[test]
fn a_seccomp_filter_is_named() {
    let dir = scratch("seccomp");
    let mut command = serve(&dir.join("data"));
    sys::without_io_uring(&mut command);
    let said = refused(command);
    assert!(said.contains("io_uring is blocked by a seccomp filter"), "{said}");
    assert!(!dir.join("data").exists(), "nothing was made");
}

#[test]
fn too_little_lockable_memory_is_named() {
    // Root may lock what it likes: the broker runs as nobody, where this test may say so.
    if !sys::is_root() {
        eprintln!("not run: only root can become nobody");
        return;
    }
    let dir = scratch("memlock");
    let binary = Path::new("/tmp").join(format!("ringlog-{}", std::process::id()));
    std::fs::copy(env!("CARGO_BIN_EXE_ringlog"), &binary).expect("/tmp is writable");
    let mut command = Command::new(&binary);
    command
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--kafka",
            "127.0.0.1:0",
            "--data-dir",
            "/tmp/ringlog-nobody",
        ])
        .uid(65534)
        .gid(65534);
    sys::with_lockable_memory(&mut command, 64 << 10);
    let said = refused(command);
    std::fs::remove_file(&binary).expect("ours to remove");
    assert!(said.contains("locked memory is limited to 65536 bytes"), "{said}");
    std::fs::remove_dir_all(dir).expect("ours to remove");
}

#[test]
fn a_port_in_use_is_named() {
    let dir = scratch("port");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("bound").to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringlog"));
    command.args(["serve", "--listen", &addr, "--kafka", "127.0.0.1:0", "--data-dir"]).arg(dir.join("data"));
    let said = refused(command);
    assert!(said.contains(&format!("cannot listen on {addr}")) && said.contains("in use"), "{said}");
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let dir = scratch("unwritable");
    std::fs::write(dir.join("file"), "x").expect("writable");
    let said = refused(serve(&dir.join("file/data")));
    assert!(said.contains("file/data: cannot create it"), "{said}");
    let said = refused(serve(Path::new("/proc/ringlog")));
    assert!(said.contains("/proc/ringlog: cannot create it"), "{said}");
}

/// A filesystem of its own, in a file, mounted for as long as the value lives.
struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// `None` where this test may not mount.
    fn mount(dir: &Path, megabytes: u64) -> Option<SmallDisk> {
        let (image, at) = (dir.join("disk.img"), dir.join("mnt"));
        std::fs::create_dir_all(&at).expect("writable");
        std::fs::File::create(&image).and_then(|file| file.set_len(megabytes << 20)).expect("writable");
        let run = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
        let made = run(Command::new("mkfs.ext4").arg("-qF").arg(&image))
            && run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at));
        made.then_some(SmallDisk { at })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.at).output(); // a broker that is just ending may hold it
    }
}

struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

fn start(mut command: Command) -> (Served, String) {
    let mut process = command.stdout(Stdio::piped()).spawn().expect("the binary is built");
    let mut line = String::new();
    BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("UTF-8");
    let addr = line.trim().strip_prefix("ringlog ready on ").expect("it starts").to_owned();
    (Served(process), addr)
}

/// What becomes of a broker that may be unable to start: it serves, or ends in this way, having said this.
fn start_or_end(mut command: Command) -> Result<(), (ExitStatus, String)> {
    let process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary is built");
    let mut served = Served(process);
    let mut stdout = BufReader::new(served.0.stdout.take().expect("piped")).lines();
    let (first_line, heard) = mpsc::channel();
    std::thread::spawn(move || first_line.send(stdout.next())); // ends with the process
    let line = heard.recv_timeout(Duration::from_secs(20)).expect("it neither serves nor ends");
    if line.is_some() {
        return Ok(());
    }
    let mut said = String::new();
    served.0.stderr.take().expect("piped").read_to_string(&mut said).expect("UTF-8");
    Err((served.0.wait().expect("a child"), said))
}

/// From too few for one shard to enough for both. Between the two lie limits under which one shard is ready
/// and the executor of the other one cannot be made: which files are there first differs from run to run.
#[test]
fn a_broker_that_may_open_too_few_files_ends_and_never_hangs() {
    if std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() < 2) {
        eprintln!("not run: two shards need two cpus");
        return;
    }
    let dir = scratch("open-files");
    let (mut limits, mut served, mut ended) = (12..200, 0, 0);
    while served < 6 {
        let limit = limits.next().expect("it serves at last");
        let mut command = serve(&dir.join(format!("data-{limit}")));
        sys::with_open_files(command.args(["--set", "shards.cpus=0,1"]), limit);
        match start_or_end(command) {
            Ok(()) => served += 1,
            Err((status, said)) => {
                // glommio panics over some files: that ends the process by a signal.
                let told = ["the broker cannot start", "panicked at"].iter().any(|what| said.contains(what));
                assert!(!status.success() && told, "{limit}: {status}: {said}");
                ended += 1;
            }
        }
    }
    assert!(4 < ended, "most of the way lay behind the first limit: {ended} were too low");
    std::fs::remove_dir_all(dir).expect("ours to remove");
}

/// Fills the disk until produce is refused, makes room, and goes on. Nothing acknowledged is lost.
async fn fill_and_drain(addr: &str, refusal: ErrorCode) {
    let client = Client::connect(addr).await.expect("ready");
    let admin = client.admin();
    admin.create_topic(TopicSpec::new("ballast").config("segment.bytes", "4194304")).await.expect("room");
    admin.create_topic(TopicSpec::new("kept").config("segment.bytes", "4194304")).await.expect("room");
    let producer = client
        .producer()
        .linger(Duration::ZERO)
        .delivery_timeout(Duration::from_millis(700))
        .build()
        .unwrap();
    let mut kept = 0;
    let value = vec![7u8; 60_000];
    let error = loop {
        let ballast = producer.send(Record::to("ballast").value(value.clone())).await;
        let small = producer.send(Record::to("kept").value(vec![1u8; 1000])).await;
        kept += u64::from(small.is_ok());
        if let Err(error) = ballast.and(small) {
            break error;
        }
        assert!(kept < 100_000, "the disk never filled");
    };
    assert!(error.to_string().contains(refusal.text()), "{error}");
    // Reading works while the disk is full.
    let mut reader = client.reader().topic("kept").start(StartAt::Earliest).build().await.expect("readable");
    assert!(!reader.recv_batch(10).await.expect("readable").is_empty());
    // Deleting makes room, and produce resumes by itself.
    admin.delete_topic("ballast").await.expect("a delete needs no room");
    let begun = Instant::now();
    while producer.send(Record::to("kept").value(vec![2u8; 1000])).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "produce did not resume");
    }
    kept += 1;
    let mut reader = client.reader().topic("kept").start(StartAt::Earliest).build().await.expect("readable");
    let mut read = 0;
    while read < kept {
        read += reader.recv_batch(10_000).await.expect("readable").len() as u64;
    }
}

async fn full_disk(name: &str, free_bytes_min: &str) {
    let dir = scratch(name);
    let Some(disk) = SmallDisk::mount(&dir, 96) else {
        eprintln!("not run: no mkfs.ext4, or no right to mount");
        return;
    };
    let mut command = serve(&disk.at.join("data"));
    command.args(["--set", &format!("storage.free_bytes_min={free_bytes_min}")]);
    let (served, addr) = start(command);
    fill_and_drain(&addr, ErrorCode::DiskFull).await;
    drop(served);
    drop(disk);
    std::fs::remove_dir_all(dir).expect("ours to remove");
}

#[tokio::test]
async fn below_the_limit_of_free_space_produce_is_refused_and_resumes() {
    full_disk("soft-full", "32MiB").await;
}

#[tokio::test]
async fn a_disk_that_is_really_full_loses_nothing_and_resumes() {
    full_disk("hard-full", "1").await;
}
