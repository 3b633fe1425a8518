//! docs/cli.md is the help of every verb, as clap prints it. This test compares; UPDATE_DOCS=1 writes.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Command, CommandFactory};

use crate::{Cli, exit};

#[test]
fn docs_cli_md_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let mut wanted = HEAD.to_owned();
    let _ = writeln!(wanted, "\n```text\n{}\n```", exit::TABLE);
    let mut root = Cli::command().term_width(100);
    root.build();
    append(&root, &mut wanted);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "docs/cli.md is stale; run: UPDATE_DOCS=1 cargo test -p ringlog-cli docs");
}

/// Every verb that has none below it.
fn append(command: &Command, text: &mut String) {
    for verb in command.get_subcommands() {
        if verb.has_subcommands() {
            append(verb, text);
            continue;
        }
        let name = verb.get_bin_name().expect("BUG: build() has named it").to_owned();
        let help = verb.clone().term_width(100).render_long_help().to_string();
        // clap leaves spaces at the ends of lines.
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        let _ = writeln!(text, "\n## {name}\n\n```text\n{}\n```", help.join("\n").trim_end());
    }
}

const HEAD: &str = "\
<!-- Generated from the help of cli/. Rewrite it with: UPDATE_DOCS=1 cargo test -p ringlog-cli docs -->
# The command line

One binary, `ringlog`, runs a broker and talks to one.

    ringlog dev                                           # a broker to try things with
    ringlog topic create orders -p 4
    echo 'k1:hello' | ringlog produce orders -K :
    ringlog consume orders --from start -e -f '%p/%o %k=%s\\n'
    ringlog group describe billing                        # who reads, and how far behind?
    ringlog group reset-offsets billing --topic orders --to-datetime 2026-11-21 --execute
    ringlog dump DIR/topics/TOPIC-ID/0/00000000000000000000.log
    ringlog verify DIR                                    # is everything there, and as it was written?

Data goes to stdout, notes and errors to stderr. A verb that talks to a broker finds it by
`--bootstrap`, or else by RINGLOG_BOOTSTRAP, or else at 127.0.0.1:7070. Lists take `-o table` and
`-o json`; the names in JSON are a promise: there may be more of them, none changes. If whoever reads
the output goes away (`| head`), the program ends without a word.
";
