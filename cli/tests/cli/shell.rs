//! What shells and `man` are given.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::run::ringlog;

/// Runs a script in bash; its output.
fn bash(arguments: &[&str], script: &str) -> String {
    let mut child = Command::new("bash")
        .args(["--norc", "--noprofile"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("bash runs");
    child.stdin.take().expect("it is piped").write_all(script.as_bytes()).expect("bash reads");
    let done = child.wait_with_output().expect("bash ends");
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && err.is_empty(), "{}: {err}", done.status);
    out.into_owned()
}

#[test]
fn bash_completes_verbs_options_and_values() {
    let script = ringlog(&["completions", "bash"]).ok();
    assert_eq!(bash(&["-n"], &script), "");
    let complete = |words: &str, at: usize| {
        let ask = format!(
            "\nCOMP_WORDS=({words}); COMP_CWORD={at}\n\
             _ringlog ringlog \"${{COMP_WORDS[{at}]}}\" \"${{COMP_WORDS[{at}-1]}}\"; echo \"${{COMPREPLY[*]}}\"\n"
        );
        bash(&[], &(script.clone() + &ask)).trim().to_owned()
    };
    assert_eq!(complete("ringlog to", 1), "topic");
    assert_eq!(complete("ringlog topic a", 2), "alter add-partitions");
    assert_eq!(complete("ringlog topic alter t --dr", 4), "--dry-run");
    assert_eq!(complete("ringlog completions el", 2), "elvish");
}

#[test]
fn every_shell_has_a_script_and_others_are_refused() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = ringlog(&["completions", shell]).ok();
        assert!(script.contains("add-partitions") && script.contains("bootstrap"), "{shell}");
    }
    let unknown = ringlog(&["completions", "tcsh"]).fails_with(2);
    assert!(unknown.contains("possible values: bash"), "{unknown}");
}

#[test]
fn every_verb_has_a_manual_page_with_the_exit_codes() {
    let page = ringlog(&["man"]).ok();
    assert!(page.contains(".TH ringlog 1"), "{page}");
    assert!(page.contains("\n.SH \"EXIT STATUS\"\n.nf\n   0  done\n"), "{page}");
    let dir = tempfile::tempdir().unwrap();
    let told = ringlog(&["man", dir.path().join("man1").to_str().unwrap()]);
    assert_eq!(told.code, 0, "{told:?}");
    let mut files = Vec::new();
    for entry in fs::read_dir(dir.path().join("man1")).unwrap() {
        let entry = entry.unwrap();
        let text = fs::read_to_string(entry.path()).unwrap();
        let file = entry.file_name().into_string().unwrap();
        let name = file.strip_suffix(".1").unwrap();
        assert!(text.contains(&format!(".TH {name} 1")), "{file}: {text}");
        assert!(text.contains("EXIT STATUS") && text.contains("  78  "), "{file}");
        files.push(file);
    }
    for verb in ["", "-serve", "-topic", "-topic-alter", "-topic-add-partitions", "-verify", "-man"] {
        assert!(files.contains(&format!("ringlog{verb}.1")), "{verb} in {files:?}");
    }
    assert!(told.err.contains(&format!("wrote {} manual pages", files.len())), "{}", told.err);

    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = ringlog(&["man", file.to_str().unwrap()]).fails_with(1);
    assert!(refused.contains("cannot write manual pages"), "{refused}");
}
