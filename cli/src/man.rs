//! `ringlog man`: manual pages, made from what --help is made from.
//!
//!     ringlog man          ringlog.1 to stdout        ringlog man | man -l -
//!     ringlog man DIR      ringlog.1, ringlog-serve.1, ringlog-topic-create.1, …

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::Cli;
use crate::exit::{Exit, Failure, TABLE};

/// Print the manual page, or write those of all verbs into a directory
#[derive(clap::Args)]
pub struct Args {
    /// Where to write them; it is made if it is not there
    dir: Option<PathBuf>,
}

struct Page {
    file: String,
    roff: Vec<u8>,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let pages = pages().map_err(|error| Failure::output(&error))?;
    let Some(dir) = &args.dir else {
        let first = pages.first().expect("BUG: the program itself has a page");
        return io::stdout().write_all(&first.roff).map_err(|error| Failure::output(&error));
    };
    let write = || {
        fs::create_dir_all(dir)?;
        pages.iter().try_for_each(|page| fs::write(dir.join(&page.file), &page.roff))
    };
    write().map_err(|error| {
        Failure::new(Exit::Error, format!("cannot write manual pages to {}: {error}", dir.display()))
    })?;
    eprintln!("wrote {} manual pages to {}", pages.len(), dir.display());
    Ok(())
}

/// The page of the program, then those of its verbs.
fn pages() -> io::Result<Vec<Page>> {
    let mut root = Cli::command();
    root.build();
    let mut pages = Vec::new();
    append(&root, &mut pages)?;
    Ok(pages)
}

fn append(command: &Command, pages: &mut Vec<Page>) -> io::Result<()> {
    // The table of exit codes stands in a section of its own.
    let man = Man::new(command.clone().after_help(""));
    let mut roff = Vec::new();
    man.render_title(&mut roff)?;
    man.render_name_section(&mut roff)?;
    man.render_synopsis_section(&mut roff)?;
    man.render_description_section(&mut roff)?;
    man.render_options_section(&mut roff)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut roff)?;
    }
    roff.extend_from_slice(exit_status().as_bytes());
    pages.push(Page { file: man.get_filename(), roff });
    command.get_subcommands().try_for_each(|verb| append(verb, pages))
}

/// [`TABLE`] as it is, below a heading of its own.
fn exit_status() -> String {
    let lines: Vec<&str> = TABLE.lines().skip(1).collect();
    format!(".SH \"EXIT STATUS\"\n.nf\n{}\n.fi\n", lines.join("\n").replace('-', "\\-"))
}
