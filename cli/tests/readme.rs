//! The README's commands, run as they stand there.
//!
//!     ```console
//!     $ target/release/ringlog topic create orders -p 4     run here, against a broker of its own
//!     $ cargo test --release --test kill_loop               the test it names exists
//!     $ ci/quickstart                                       the script exists; CI runs it

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Lines that begin with `$ ` inside of console blocks.
fn commands() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("there is a README");
    let blocks = readme.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.flat_map(str::lines).filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned).collect()
}

struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

/// A port that was free a moment ago: the README's broker has the default one, which may be taken here.
fn free_addr() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").to_string()
}

fn run(line: &str, dir: &Path, addr: &str) -> Output {
    let mut shell = Command::new("bash");
    shell.args(["-o", "pipefail", "-c", line]).current_dir(dir).env("RINGLOG_BOOTSTRAP", addr);
    shell.output().expect("bash is there")
}

fn check_script(command: &str) {
    let meta = std::fs::metadata(root().join(command)).unwrap_or_else(|error| panic!("{command}: {error}"));
    assert!(meta.permissions().mode() & 0o111 != 0, "{command} can be executed");
}

/// `cargo test … --test NAME`: a file of that name is among the tests of some crate.
fn check_cargo(command: &str) {
    let Some((_, rest)) = command.split_once("--test ") else {
        return assert_eq!(command, "cargo build --release");
    };
    let name = rest.split_whitespace().next().expect("a name");
    let there = ["protocol", "storage", "broker", "client", "cli", "bench"].iter().any(|package| {
        let tests = root().join(package).join("tests");
        tests.join(format!("{name}.rs")).exists() || tests.join(name).join("main.rs").exists()
    });
    assert!(there, "{command}: there is no test {name}");
}

#[test]
fn every_command_of_the_readme_does_what_it_says() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("readme-{}", std::process::id()));
    std::fs::create_dir_all(dir.join("target/release")).expect("writable");
    let binary = dir.join("target/release/ringlog");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ringlog"), binary).expect("writable");
    let addr = free_addr();
    let mut served = None;
    let mut ran = 0;
    let all = commands();
    for command in &all {
        if command.starts_with("ci/") {
            check_script(command);
        } else if command.contains("cargo ") {
            check_cargo(command);
        } else if let Some(serve) = command.strip_suffix(" &") {
            let line = format!("exec {serve} --listen {addr} --kafka none");
            let child =
                Command::new("bash").args(["-c", &line]).current_dir(&dir).spawn().expect("bash is there");
            served = Some(Served(child));
            let begun = Instant::now();
            while std::net::TcpStream::connect(&addr).is_err() {
                assert!(begun.elapsed() < Duration::from_secs(20), "{command}: not ready");
                std::thread::yield_now();
            }
        } else if command.contains("target/release/ringlog") {
            let output = run(command, &dir, &addr);
            assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
            if command.contains("consume") {
                let said = String::from_utf8_lossy(&output.stdout);
                assert!(said.contains("k1 hello") && said.contains("k2 world"), "{command}: {said}");
            }
            ran += 1;
        } else {
            // The load generator's commands are run by its own package.
            assert!(command.starts_with("target/release/bench "), "{command}: who runs this?");
        }
    }
    drop(served);
    std::fs::remove_dir_all(&dir).expect("ours to remove");
    assert!(5 <= ran, "the README shows how to use the command line: {all:?}");
}
