//! One run in a process of its own: this program with other words, and the document it wrote.
//!
//!     words ─▶ bench WORDS --json TMP ─▶ exit 0: the document, else: what it said

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Runs to the end; what the run printed is told only if it failed.
pub fn run(words: &[String]) -> Result<Value> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let file = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
    let mut command = Command::new(program);
    command.args(words).arg("--json").arg(file.path()).stdin(Stdio::null());
    let output = command.output().context("cannot start a run")?;
    if !output.status.success() {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        bail!("bench {}: {}\n{}{}", words.join(" "), output.status, tail(&out), tail(&err));
    }
    read(file.path())
}

/// A document of `--json`, whatever else it may be.
pub fn read(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))
}

/// The last lines of what a run said: where it says what went wrong.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES_TOLD)..].iter().map(|line| format!("    {line}\n")).collect()
}

const LINES_TOLD: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_story_is_told() {
        let story: String = (0..20).map(|n| format!("line {n}\n")).collect();
        let told = tail(&story);
        assert!(told.starts_with("    line 12\n") && told.ends_with("    line 19\n"), "{told}");
        assert_eq!(tail(""), "");
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"{\xff").unwrap();
        assert!(read(file.path()).is_err());
        assert!(read(Path::new("/nonexistent")).is_err());
    }
}
