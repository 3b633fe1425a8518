//! `ringlog serve` and `dev`: start, refusal, end.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use crate::run::{Served, Watchdog, command, ringlog};

#[test]
fn a_wrong_configuration_starts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ringlog.toml");
    fs::write(&file, "[broker]\ndata_dri = \"/x\"\n[log]\nfilter = \"=\"\n").unwrap();
    let file = file.to_str().unwrap();

    let refused =
        ringlog(&["serve", "-c", file, "--check-config", "--listen", "192.0.2.1:7070"]).fails_with(78);
    assert!(
        refused.contains("ringlog.toml:2: broker.data_dri is not a key; did you mean broker.data_dir?"),
        "{refused}"
    );
    assert!(refused.contains("listener.insecure = true"), "{refused}");

    fs::write(file, "[log]\nfilter = \"broker=loud\"\n").unwrap();
    assert!(ringlog(&["serve", "-c", file, "--check-config"]).fails_with(78).contains("log.filter"));
    fs::write(file, "[log]\nfilter = \"debug\"\n").unwrap();
    assert!(ringlog(&["serve", "-c", file, "--check-config"]).err.contains("good"));
}

#[test]
fn sigterm_ends_a_broker_in_order() {
    let (code, dir) = Served::start().stop();
    assert_eq!(code, 0);
    assert!(dir.path().join("data").is_dir());
}

#[test]
fn a_directory_has_one_broker() {
    let broker = Served::start();
    let data_dir = broker.dir.path().join("data");
    let second = ringlog(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--kafka",
        "127.0.0.1:0",
        "--data-dir",
        data_dir.to_str().unwrap(),
    ]);
    assert_ne!(second.code, 0);
    assert!(second.err.contains("cannot start"), "{second:?}");
}

#[test]
fn dev_leaves_nothing_behind() {
    let parent = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut dev = command(&[
        "dev",
        "--port",
        "0",
        "--kafka-port",
        "0",
        "--cpus",
        "0",
        "--dir",
        parent.path().to_str().unwrap(),
    ]);
    let mut child = dev.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _watchdog = Watchdog::over(&child);
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let addr = line.trim_end().strip_prefix("ringlog ready on ").expect("a ready line");
    ringlog(&["topic", "create", "t", "--bootstrap", addr]).ok();
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);

    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert!(err.contains("export RINGLOG_BOOTSTRAP="), "{err}");
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0, "{err}");
}
