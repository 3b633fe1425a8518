//! `ringlog topic list`: names, and how many partitions each has.

use serde::Serialize;

use crate::connect::Connect;
use crate::exit::Failure;
use crate::output::{Format, Output, print, print_json, table};

/// List topics by name
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    connect: Connect,
}

#[derive(Serialize)]
struct TopicJson {
    name: String,
    id: String,
    partitions: u32,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    args.connect.run(|client| async move {
        let topics = client.admin().list_topics().await?;
        match args.output.format {
            Format::Json => {
                let json = topics.into_iter().map(|topic| TopicJson {
                    name: topic.name,
                    id: topic.id.to_string(),
                    partitions: topic.partitions,
                });
                print_json(&json.collect::<Vec<_>>())
            }
            Format::Table if topics.is_empty() => {
                eprintln!("no topics; `ringlog topic create NAME` makes one");
                Ok(())
            }
            Format::Table => {
                let row = |topic: ringlog_client::TopicSummary| {
                    [topic.name, topic.partitions.to_string(), topic.id.to_string()]
                };
                print(&table(["NAME", "PARTITIONS", "ID"], topics.into_iter().map(row)))
            }
        }
    })
}
