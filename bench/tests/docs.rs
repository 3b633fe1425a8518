//! The commands of docs/bench.md, and those of the README that are the load generator's, run as they stand
//! there but shorter.
//!
//!     $ target/release/bench produce --duration 5s      times become 200 ms, counts 5,000 records, groups are small,
//!                                                       and the machine's limits are not measured
//!
//! A test for each section, and one that no section is left out.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Sections of a document with their commands: lines that begin with `$ ` inside of console blocks.
fn sections(document: &str) -> Vec<(String, Vec<String>)> {
    let text = std::fs::read_to_string(root().join(document)).unwrap();
    let of_section = |section: &str| {
        let title = section.lines().next().unwrap_or_default().to_owned();
        let blocks = section.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
        let lines = blocks.flat_map(str::lines).filter_map(|line| line.strip_prefix("$ "));
        let ours = lines.filter(|line| line.starts_with("target/release/bench "));
        (title, ours.map(str::to_owned).collect())
    };
    let all = text.split("\n## ").map(of_section);
    all.filter(|(_, commands): &(String, Vec<String>)| !commands.is_empty()).collect()
}

/// The command with less to do.
fn shortened(command: &str) -> String {
    let mut words: Vec<&str> = command.split(' ').collect();
    for at in 1..words.len() {
        words[at] = match words[at - 1] {
            "--duration" => "200ms",
            "--records" => "5k",
            "--repeat" => "1",
            "--groups" => "3",
            "--members" => "3",
            "--partitions" => "8",
            _ => words[at],
        };
    }
    let more: &[&str] = match words[1] {
        "compare" => &[],
        "suite" if words.contains(&"--list") => &[],
        "suite" => &["--scale", "0.05"],
        "consume" | "limits" => &["--no-limits"],
        _ if words.contains(&"--duration") => &["--no-limits", "--warmup", "0"],
        _ => &["--no-limits"],
    };
    words.extend(more);
    words.join(" ")
}

/// A directory in which the commands find the program where they expect it.
fn make_dir(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-docs-{name}"));
    let _ = std::fs::remove_dir_all(&dir); // what an earlier, killed run has left
    std::fs::create_dir_all(dir.join("target/release")).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_bench"), dir.join("target/release/bench")).unwrap();
    dir
}

fn run(command: &str, dir: &Path) -> Output {
    Command::new("bash").args(["-o", "pipefail", "-c", command]).current_dir(dir).output().unwrap()
}

fn check(document: &str, title: &str, name: &str) {
    let dir = make_dir(name);
    let sections = sections(document);
    let (_, commands) = sections.iter().find(|(found, _)| found == title).expect("the section is there");
    for command in commands {
        let output = run(&shortened(command), &dir);
        let code = output.status.code();
        // A gate may find that this machine is busy.
        let is_fine = code == Some(0) || (code == Some(9) && command.contains("--fail-if"));
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(is_fine, "{command}: {}\n{out}\n{err}", output.status);
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

/// Each section by its title, and the name of its test.
const SECTIONS: [(&str, &str); 9] = [
    ("A first run", "first"),
    ("Open and closed loop", "loops"),
    ("A machine with moods", "moods"),
    ("Before and after a change", "change"),
    ("What one load does to another", "loads"),
    ("Groups of consumers", "groups"),
    ("Kafka's listener", "kafka"),
    ("The whole suite", "suite"),
    ("For CI, and for people", "ci"),
];

fn check_section(name: &str) {
    let (title, _) = SECTIONS.iter().find(|(_, known)| *known == name).expect("a section of that name");
    check("docs/bench.md", title, name);
}

#[test]
fn every_section_has_a_test() {
    let found: Vec<String> = sections("docs/bench.md").into_iter().map(|(title, _)| title).collect();
    assert_eq!(found, SECTIONS.map(|(title, _)| title));
    let readme: Vec<String> = sections("README.md").into_iter().map(|(title, _)| title).collect();
    assert_eq!(readme, ["Measure it"]);
}

#[test]
fn the_first_run_runs() {
    check_section("first");
}

#[test]
fn both_loops_run() {
    check_section("loops");
}

#[test]
fn values_take_turns() {
    check_section("moods");
}

#[test]
fn before_and_after_are_compared() {
    check_section("change");
}

#[test]
fn one_load_runs_beside_another() {
    check_section("loads");
}

#[test]
fn groups_are_measured() {
    check_section("groups");
}

#[test]
fn kafkas_listener_is_measured() {
    check_section("kafka");
}

#[test]
fn the_suite_runs() {
    check_section("suite");
}

#[test]
fn gates_and_files_work() {
    check_section("ci");
}

#[test]
fn the_readme_runs() {
    check("README.md", "Measure it", "readme");
}
