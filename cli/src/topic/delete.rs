//! `ringlog topic delete`: destroys data, so it asks.

use crate::confirm::confirm;
use crate::connect::{Connect, about_topic};
use crate::exit::Failure;

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
