//! Files and functions may shrink, not grow.
//!
//!     ci/ratchet.txt      file storage/src/log/mod.rs 520       over 500 lines, and at most this
//!                         functions over 70 lines 3
//!
//! UPDATE_RATCHET=1 writes what is there now, and only if that is better: to grow a file one edits
//! ratchet.txt by hand, where the reviewer sees it.

use std::collections::BTreeMap;
use std::fs;

use ci::{Source, functions, repository, root};

use crate::report;

/// Nobody reads such a file.
const FILE_LINES_MAX: usize = 800;

/// Above this a file needs an entry in the ratchet.
const FILE_LINES_LARGE: usize = 500;

/// A screen.
const FUNCTION_LINES_LARGE: usize = 70;

const RATCHET: &str = "ci/ratchet.txt";

#[derive(Clone, PartialEq, Eq, Debug)]
struct Ratchet {
    /// Path and lines.
    files: BTreeMap<String, usize>,
    long_functions: usize,
}

impl Ratchet {
    fn read(text: &str) -> Ratchet {
        let mut ratchet = Ratchet { files: BTreeMap::new(), long_functions: 0 };
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (what, number) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{RATCHET}: {line:?}"));
            let number = number.parse().unwrap_or_else(|_| panic!("{RATCHET}: {line:?}"));
            match what.strip_prefix("file ") {
                Some(path) => _ = ratchet.files.insert(path.to_owned(), number),
                None => ratchet.long_functions = number,
            }
        }
        ratchet
    }

    fn write(&self) -> String {
        let mut text = String::from(
            "# Large files and the number of long functions: may shrink, not grow.\n\
             # Tighten after an improvement: UPDATE_RATCHET=1 cargo test -p ringlog-ci sizes\n",
        );
        for (path, lines) in &self.files {
            text += &format!("file {path} {lines}\n");
        }
        text + &format!("functions over {FUNCTION_LINES_LARGE} lines {}\n", self.long_functions)
    }

    fn of(sources: &[Source]) -> Ratchet {
        let large = sources.iter().filter(|source| FILE_LINES_LARGE < source.lines());
        Ratchet {
            files: large.map(|source| (source.path.clone(), source.lines())).collect(),
            long_functions: long_functions(sources).len(),
        }
    }
}

fn long_functions(sources: &[Source]) -> Vec<String> {
    let long = |source: &Source| {
        let path = source.path.clone();
        let long = functions(source).into_iter().filter(|function| FUNCTION_LINES_LARGE < function.lines);
        long.map(move |function| {
            format!("{path}:{}: {} has {} lines", function.line, function.name, function.lines)
        })
        .collect::<Vec<String>>()
    };
    sources.iter().flat_map(long).collect()
}

/// What is worse in `now` than the ratchet allows.
fn worse(ratchet: &Ratchet, now: &Ratchet, long_functions: &[String]) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, lines) in &now.files {
        match ratchet.files.get(path) {
            _ if FILE_LINES_MAX < *lines => {
                findings.push(format!(
                    "{path}:{FILE_LINES_MAX}: has {lines} lines, the limit is {FILE_LINES_MAX}"
                ));
            }
            None => findings.push(format!(
                "{path}:{FILE_LINES_LARGE}: has {lines} lines; which noun in it wants its own file?"
            )),
            Some(allowed) if allowed < lines => {
                findings.push(format!("{path}:{allowed}: has grown from {allowed} to {lines} lines"));
            }
            Some(_) => {}
        }
    }
    if ratchet.long_functions < now.long_functions {
        findings.push(format!(
            "there are {} functions over {FUNCTION_LINES_LARGE} lines, {} are allowed; which decision should move to \
             the caller?",
            now.long_functions, ratchet.long_functions
        ));
        findings.extend_from_slice(long_functions);
    }
    findings
}

#[test]
fn files_and_functions_do_not_grow() {
    let path = root().join(RATCHET);
    let ratchet = Ratchet::read(&fs::read_to_string(&path).unwrap_or_default());
    let sources = repository();
    let now = Ratchet::of(&sources);
    report(worse(&ratchet, &now, &long_functions(&sources)));
    if std::env::var_os("UPDATE_RATCHET").is_some() {
        fs::write(&path, now.write()).unwrap_or_else(|error| panic!("{RATCHET}: {error}"));
        return;
    }
    let gone: Vec<&String> = ratchet.files.keys().filter(|path| !now.files.contains_key(*path)).collect();
    let better = !gone.is_empty() || now.long_functions < ratchet.long_functions;
    assert!(
        !better,
        "better than {RATCHET} says ({gone:?}): UPDATE_RATCHET=1 cargo test -p ringlog-ci sizes"
    );
}

#[test]
fn a_ratchet_turns_one_way() {
    let ratchet = Ratchet::read("# why\nfile a.rs 600\nfunctions over 70 lines 1\n");
    assert_eq!(Ratchet::read(&ratchet.write()), ratchet);
    let now = |file: &str, lines, long_functions| {
        let now = Ratchet { files: BTreeMap::from([(file.to_owned(), lines)]), long_functions };
        worse(&ratchet, &now, &[]).len()
    };
    assert_eq!([now("a.rs", 600, 1), now("a.rs", 550, 0)], [0, 0]);
    assert_eq!([now("a.rs", 601, 1), now("b.rs", 501, 1), now("a.rs", 600, 2)], [1, 1, 1]);
    assert_eq!(now("a.rs", 801, 1), 1);
}
