//! `ringlog topic create`: returns when every partition takes records.

use ringlog_client::{AdminError, Client, ErrorCode, TopicSpec};

use crate::arguments;
use crate::connect::Connect;
use crate::exit::Failure;

/// Create a topic
#[derive(clap::Args)]
pub struct Args {
    /// 1 to 249 of a-z, A-Z, 0-9, `.`, `_` and `-`
    name: String,

    /// How many partitions; the broker's default if not said
    #[arg(short, long, value_parser = clap::value_parser!(u32).range(1..))]
    partitions: Option<u32>,

    /// A configuration of the topic, by Kafka's name: segment.bytes=1048576
    #[arg(short, long = "config", value_name = "KEY=VALUE", value_parser = arguments::key_value)]
    config: Vec<(String, String)>,

    /// That the topic exists is no error; it is left as it is
    #[arg(long)]
    if_not_exists: bool,

    /// Ask the broker whether it would, and change nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    connect: Connect,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    args.connect.run(|client| create(args, client))
}

async fn create(args: &Args, client: Client) -> Result<(), Failure> {
    let mut spec =
        TopicSpec::new(&args.name).partitions(args.partitions.unwrap_or(0)).validate_only(args.dry_run);
    for (key, value) in &args.config {
        spec = spec.config(key, value);
    }
    let name = &args.name;
    match client.admin().create_topic(spec).await {
        Ok(_) if args.dry_run => eprintln!("topic {name:?} could be created"),
        Ok(topic) => eprintln!("created topic {name:?} with {}", count(topic.partitions.len())),
        Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => {
            if !args.if_not_exists {
                return Err(exists(name, error));
            }
            eprintln!("topic {name:?} exists already");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn exists(name: &str, error: AdminError) -> Failure {
    Failure::from(error)
        .with_next(format!("`ringlog topic describe {name}` shows it; with --if-not-exists this is no error"))
}

fn count(partitions: usize) -> String {
    if partitions == 1 { "1 partition".to_owned() } else { format!("{partitions} partitions") }
}
