//! `ringlog topic alter`: other settings for a topic that is there; all of them or none.

use ringlog_client::{Client, TopicChanges};

use crate::arguments;
use crate::connect::{Connect, about_topic};
use crate::exit::Failure;

/// Change the configuration of a topic; the broker goes by it at once
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("change").required(true).multiple(true).args(["set", "reset"])))]
pub struct Args {
    /// The topic
    name: String,

    /// A configuration and its new value, by Kafka's name: retention.ms=3600000
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = arguments::key_value)]
    set: Vec<(String, String)>,

    /// A configuration that is to have the broker's default again
    #[arg(short, long, value_name = "KEY")]
    reset: Vec<String>,

    /// Ask the broker whether it would, and change nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    connect: Connect,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    args.connect.run(|client| alter(args, client))
}

async fn alter(args: &Args, client: Client) -> Result<(), Failure> {
    let name = &args.name;
    let mut changes = TopicChanges::new(name).validate_only(args.dry_run);
    for (key, value) in &args.set {
        changes = changes.set(key, value);
    }
    for key in &args.reset {
        changes = changes.reset(key);
    }
    match client.admin().alter_topic(changes).await {
        Ok(()) if args.dry_run => eprintln!("topic {name:?} could be changed"),
        Ok(()) => eprintln!("changed topic {name:?}"),
        Err(error) => return Err(about_topic(&client, name, error).await),
    }
    Ok(())
}
