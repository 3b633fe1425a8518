//! `ringlog completions`: a script that teaches a shell our verbs and their options.
//!
//!     ringlog topic a⇥ ─▶ alter  add-partitions

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::Cli;
use crate::exit::Failure;

/// Print a script that completes this command line
///
/// bash: ringlog completions bash > ~/.local/share/bash-completion/completions/ringlog
///
/// zsh: ringlog completions zsh > DIR/_ringlog, where $fpath names DIR
///
/// fish: ringlog completions fish > ~/.config/fish/completions/ringlog.fish
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The shell
    shell: Shell,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "ringlog", &mut script);
    std::io::stdout().write_all(&script).map_err(|error| Failure::output(&error))
}
