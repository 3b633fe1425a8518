//! `ringlog topic delete`: destroys data, so it asks.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::connect::{Connect, about_topic};
use crate::exit::{Exit, Failure};

/// Delete a topic and all its records
#[derive(clap::Args)]
pub struct Args {
    /// The topic
    name: String,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    #[command(flatten)]
    connect: Connect,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    if !args.yes {
        confirm(&format!("delete topic {:?} and all its records", args.name))?;
    }
    args.connect.run(|client| async move {
        match client.admin().delete_topic(&args.name).await {
            Ok(()) => {
                eprintln!("deleted topic {:?}", args.name);
                Ok(())
            }
            Err(error) => Err(about_topic(&client, &args.name, error).await),
        }
    })
}

/// Asks whether to do `what`, a sentence without its end.
pub fn confirm(what: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(format!("to {what} needs a confirmation, and nobody is here to ask"))
            .with_next("in a script, say --yes"));
    }
    eprint!("Really {what}? [y/N] ");
    let mut answer = String::new();
    let asked = io::stderr().flush().and_then(|()| io::stdin().lock().read_line(&mut answer));
    match asked {
        Ok(_) if matches!(answer.trim(), "y" | "Y" | "yes") => Ok(()),
        Ok(_) => Err(Failure::new(Exit::Error, "nothing was deleted")),
        Err(error) => Err(Failure::new(Exit::Error, format!("cannot read the answer: {error}"))),
    }
}
