//! `ringlog`: the broker, and what people and scripts do with one.
//!
//!     serve, dev                     run a broker (crate `broker`)
//!     topic create … delete          admin
//!     group list … delete            who reads what, and how far
//!     produce, consume               records, as lines       ─── over the wire (crate `ringlog_client`)
//!     dump, verify                   a segment file, a data directory, offline
//!     completions, man               for the shell, and for `man`
//!
//! Data goes to stdout, everything else to stderr; exit codes: `exit`. One file per verb.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod exit;

mod arguments;

mod connect;

mod confirm;

mod output;

mod time;

mod record_json;

mod serve;

mod dev;

mod host;

mod topic;

mod group;

mod produce;

mod consume;

mod dump;

mod verify;

mod completions;

mod man;

#[cfg(test)]
mod docs;

use exit::{Exit, Failure};

/// Ringlog: a durable, partitioned log
#[derive(Parser)]
#[command(name = "ringlog", version, after_help = exit::TABLE, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Serve(serve::Args),
    Dev(dev::Args),
    #[command(subcommand)]
    Topic(topic::Verb),
    #[command(subcommand)]
    Group(group::Verb),
    Produce(produce::Args),
    Consume(consume::Args),
    Dump(dump::Args),
    Verify(verify::Args),
    Completions(completions::Args),
    Man(man::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Serve(args) => serve::run(&args),
        Verb::Dev(args) => dev::run(&args),
        Verb::Topic(verb) => topic::run(&verb),
        Verb::Group(verb) => group::run(&verb),
        Verb::Produce(args) => produce::run(args),
        Verb::Consume(args) => consume::run(args),
        Verb::Dump(args) => dump::run(&args),
        Verb::Verify(args) => verify::run(&args),
        Verb::Completions(args) => completions::run(&args),
        Verb::Man(args) => man::run(&args),
    };
    ExitCode::from(done.err().map_or(Exit::Ok, tell) as u8)
}

fn tell(failure: Failure) -> Exit {
    if !failure.is_quiet() {
        eprintln!("error: {failure}");
    }
    failure.exit
}
