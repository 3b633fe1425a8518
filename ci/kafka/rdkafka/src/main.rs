//! The rdkafka crate, on librdkafka, as a client of ci/kafka/conformance.py, which reads its lines.
//!
//!     kafka-rdkafka [PART OF A NAME]    a line of JSON per feature ◀── a process of its own for each
//!     kafka-rdkafka --one NAME          that feature here: what it panics with is the failure
//!
//! A process for each, so that one that panics, hangs or leaves a thread behind disturbs no other.

mod harness;

mod client;

mod records;

mod consumers;

mod admin;

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

const SECONDS_PER_FEATURE: u64 = 60;

/// What a client can do, by the name of its row in docs/kafka-compat.md.
struct Feature {
    name: String,
    run: Box<dyn Fn()>,
}

fn feature(name: impl Into<String>, run: impl Fn() + 'static) -> Feature {
    Feature { name: name.into(), run: Box::new(run) }
}

fn main() {
    let features: Vec<Feature> =
        [records::features(), consumers::features(), admin::features()].into_iter().flatten().collect();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name] = arguments.as_slice()
        && flag == "--one"
    {
        let one = features.iter().find(|feature| feature.name == *name).expect("a feature has this name");
        return (one.run)();
    }
    println!("{}", json!({ "version": version() }));
    let is_wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|wanted| name.contains(wanted));
    for Feature { name, .. } in features.iter().filter(|feature| is_wanted(&feature.name)) {
        let started = Instant::now();
        let failure = run_apart(name).err();
        let seconds = started.elapsed().as_millis().div_ceil(100) as f64 / 10.0;
        println!("{}", json!({ "feature": name, "failure": failure, "seconds": seconds }));
    }
}

/// Of the crate, from what the workspace has locked, and of the library in it.
fn version() -> String {
    let lock = include_str!("../../../../Cargo.lock");
    let (_, behind) = lock.split_once("name = \"rdkafka\"\nversion = \"").expect("the crate is locked");
    let (version, _) = behind.split_once('"').expect("a version ends");
    format!("{version}, librdkafka {}", rdkafka::util::get_rdkafka_version().1)
}

/// An error is what the feature's process said before it failed.
fn run_apart(name: &str) -> Result<(), String> {
    let program = std::env::current_exe().expect("a process knows its program");
    let mut child = Command::new(program)
        .args(["--one", name])
        .env_remove("RUST_BACKTRACE")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process starts");
    // Beside the wait: a pipe that is full would stop it.
    let mut stderr = child.stderr.take().expect("it is a pipe");
    let said = std::thread::spawn(move || {
        let mut said = Vec::new();
        _ = stderr.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    });
    let ended = wait(&mut child);
    let said = said.join().expect("a reader does not panic");
    match ended {
        Ok(()) => Ok(()),
        Err(why) => Err(format!("    {why}\n{said}")),
    }
}

fn wait(child: &mut Child) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(SECONDS_PER_FEATURE);
    loop {
        match child.try_wait().expect("a child can be waited for") {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(status.to_string()),
            None if deadline < Instant::now() => {
                _ = child.kill();
                _ = child.wait();
                return Err(format!("not done within {SECONDS_PER_FEATURE} s"));
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
