//! `ringlog topic add-partitions`: returns when the new partitions take records.

use ringlog_client::Client;

use crate::connect::{Connect, about_topic};
use crate::exit::Failure;

/// Give a topic more partitions
///
/// Records stay where they are, and a key may belong to another partition from then on: who relies on
/// the order of a key's records should let readers get to the end first.
#[derive(clap::Args)]
pub struct Args {
    /// The topic
    name: String,

    /// How many partitions it is to have, those it has included
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    to: u32,

    /// Ask the broker whether it would, and change nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    connect: Connect,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    args.connect.run(|client| add(args, client))
}

async fn add(args: &Args, client: Client) -> Result<(), Failure> {
    let (name, total) = (&args.name, args.to);
    match client.admin().create_partitions(name, total, args.dry_run).await {
        Ok(()) if args.dry_run => eprintln!("topic {name:?} could have {total} partitions"),
        Ok(()) => eprintln!("topic {name:?} has {total} partitions now"),
        Err(error) => return Err(about_topic(&client, name, error).await),
    }
    Ok(())
}
