//! What must not be in the code, and what to write instead.

use ci::{Source, repository};

use crate::report;

struct Word {
    word: &'static str,
    instead: &'static str,
    /// Which files it is banned from.
    banned_in: fn(&Source) -> bool,
}

const IN_CODE: &[Word] = &[
    Word {
        word: "todo!",
        instead: "do it, or return an error that says it is not done",
        banned_in: everywhere,
    },
    Word {
        word: "unimplemented!",
        instead: "return an error that says it is not done",
        banned_in: everywhere,
    },
    Word { word: "dbg!", instead: "tracing::debug!", banned_in: everywhere },
    Word {
        word: "println!",
        instead: "tracing, or return the text: stdout is the caller's",
        banned_in: libraries,
    },
    Word {
        word: "print!",
        instead: "tracing, or return the text: stdout is the caller's",
        banned_in: libraries,
    },
    Word { word: "eprintln!", instead: "tracing::warn!", banned_in: libraries },
    Word { word: "eprint!", instead: "tracing::warn!", banned_in: libraries },
    Word {
        word: "unsafe",
        instead: "a safe crate, or a function in the crate's sys.rs",
        banned_in: outside_sys,
    },
];

const IN_COMMENTS: &[Word] = &[
    Word { word: "TODO", instead: "an issue; say here what holds now", banned_in: everywhere },
    Word { word: "FIXME", instead: "an issue; say here what holds now", banned_in: everywhere },
    Word { word: "XXX", instead: "an issue; say here what holds now", banned_in: everywhere },
];

fn everywhere(_: &Source) -> bool {
    true
}

/// Binaries own their stdout; tests may say why they skip something.
fn libraries(source: &Source) -> bool {
    source.is_in_src() && !matches!(source.krate(), "cli" | "bench") && !source.path.ends_with("tests.rs")
}

fn outside_sys(source: &Source) -> bool {
    !source.path.ends_with("/sys.rs") && !source.path.contains("/sys/")
}

#[test]
fn banned_words_have_replacements() {
    let sources = repository();
    let findings = sources.iter().flat_map(|source| {
        let in_code = findings(source, &source.code, IN_CODE);
        in_code.into_iter().chain(findings(source, &source.comments, IN_COMMENTS))
    });
    report(findings.collect());
}

#[test]
fn a_word_is_found_where_it_is_banned() {
    let source = |path: &str| Source::new(path, "// TODO later\nfn f() { println!(\"todo!\"); my_dbg!(x) }");
    let found = |path: &str| {
        let source = source(path);
        findings(&source, &source.code, IN_CODE).len()
            + findings(&source, &source.comments, IN_COMMENTS).len()
    };
    assert_eq!([found("storage/src/a.rs"), found("cli/src/a.rs"), found("storage/tests/a.rs")], [2, 1, 1]);
}

fn findings(source: &Source, text: &str, words: &[Word]) -> Vec<String> {
    let mut findings = Vec::new();
    for Word { word, instead, .. } in words.iter().filter(|word| (word.banned_in)(source)) {
        for (at, _) in text.match_indices(word).filter(|(at, _)| is_whole(text, *at, word)) {
            findings.push(format!(
                "{}:{}: {word} is banned; instead: {instead}",
                source.path,
                source.line_of(at)
            ));
        }
    }
    findings
}

/// Not a part of a longer word.
fn is_whole(text: &str, at: usize, word: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let before = text[..at].chars().next_back().is_some_and(is_word);
    let behind = text[at + word.len()..].chars().next().is_some_and(is_word);
    !before && !behind
}
