//! The Rust files of this repository.

use std::fs;
use std::path::{Path, PathBuf};

use crate::lexer;

/// One file. `code` and `comments` have the same lines and columns as `text`.
pub struct Source {
    /// From the root of the repository, with `/` between: `storage/src/log/mod.rs`.
    pub path: String,
    pub text: String,
    /// Comments and the insides of literals are spaces.
    pub code: String,
    /// Everything but comments is spaces.
    pub comments: String,
}

impl Source {
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Source {
        let text = text.into();
        let (code, comments) = lexer::separate(&text);
        Source { path: path.into(), text, code, comments }
    }

    /// The top directory, which is the crate: `storage`.
    pub fn krate(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }

    pub fn lines(&self) -> usize {
        self.text.lines().count()
    }

    /// Whether the file belongs to a crate rather than to its tests, benches or examples.
    pub fn is_in_src(&self) -> bool {
        self.path.split('/').nth(1) == Some("src")
    }

    /// Line of a byte, counted from 1.
    pub fn line_of(&self, byte: usize) -> usize {
        line_of(&self.text, byte)
    }
}

/// Line of a byte, counted from 1.
pub fn line_of(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|byte| *byte == b'\n').count() + 1
}

/// The root of the repository. Asked at run time: a binary from a shared target directory may have
/// been built in another checkout.
pub fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&here).parent().expect("BUG: ci/ is below the root").to_owned()
}

/// Every Rust file of the repository, by path. Directories that begin with a dot or are called
/// `target` are not ours.
pub fn repository() -> Vec<Source> {
    let mut sources = Vec::new();
    collect(&root(), "", &mut sources);
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(10 < sources.len(), "BUG: {} Rust files below {}", sources.len(), root().display());
    sources
}

fn collect(dir: &Path, prefix: &str, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
        let entry = entry.unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let name = entry.file_name().into_string().unwrap_or_else(|name| panic!("{name:?} is not UTF-8"));
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().unwrap_or_else(|error| panic!("{path}: {error}"));
        if kind.is_dir() && !name.starts_with('.') && name != "target" {
            collect(&entry.path(), &format!("{path}/"), sources);
        } else if kind.is_file() && name.ends_with(".rs") {
            let text = fs::read_to_string(entry.path()).unwrap_or_else(|error| panic!("{path}: {error}"));
            sources.push(Source::new(path, text));
        }
    }
}
