//! `ringlog group delete-offsets`: a group forgets how far it has read some partitions; destroys, so it asks.

use ringlog_client::{Client, GroupOffset, TopicPartition};
use serde::Serialize;

use super::count;
use super::topics::TopicArg;
use crate::confirm::confirm;
use crate::connect::{Connect, about_group};
use crate::exit::{Exit, Failure};
use crate::output::{Format, Output, print_json};

/// Delete the offsets that a group has committed of a topic
///
/// No member may subscribe to the topic. The group's next reader of it begins where its own settings say.
#[derive(clap::Args)]
pub struct Args {
    /// The group
    group: String,

    /// A topic, or some of its partitions; can be repeated
    #[arg(long, required = true, value_name = "TOPIC[:0,1]")]
    topic: Vec<TopicArg>,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    connect: Connect,
}

#[derive(Serialize)]
struct DeletedJson {
    group: String,
    partitions: Vec<PartitionJson>,
}

#[derive(Serialize)]
struct PartitionJson {
    topic: String,
    partition: u32,
    /// The one that was deleted.
    offset: u64,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    if !args.yes {
        let topics: Vec<String> = args.topic.iter().map(|arg| format!("{:?}", arg.topic)).collect();
        confirm(&format!("delete how far group {:?} has read {}", args.group, topics.join(", ")))?;
    }
    args.connect.run(|client| delete(args, client))
}

async fn delete(args: &Args, client: Client) -> Result<(), Failure> {
    let (admin, group) = (client.admin(), args.group.as_str());
    let described = admin.describe_groups(&[group]).await?.pop();
    if let Err(error) = described.expect("BUG: one answer per group") {
        return Err(about_group(&client, group, error).await);
    }
    let committed = admin.group_offsets(group).await?;
    let goes =
        |offset: &&GroupOffset| args.topic.iter().any(|arg| arg.includes(&offset.topic, offset.partition));
    let offsets: Vec<&GroupOffset> = committed.iter().filter(goes).collect();
    if let Some(missing) = args.topic.iter().find_map(|arg| missing(arg, &committed)) {
        let what = format!("group {group:?} has committed no offset of {missing}");
        let next = format!("`ringlog group describe {group}` shows what it has committed");
        return Err(Failure::new(Exit::NotFound, what).with_next(next));
    }
    let named =
        |offset: &&GroupOffset| TopicPartition { topic: offset.topic.clone(), partition: offset.partition };
    let partitions: Vec<TopicPartition> = offsets.iter().map(named).collect();
    if let Err(error) = admin.delete_group_offsets(group, &partitions).await {
        return Err(about_group(&client, group, error).await);
    }
    match args.output.format {
        Format::Json => {
            let json = |offset: &GroupOffset| PartitionJson {
                topic: offset.topic.to_string(),
                partition: offset.partition.get(),
                offset: offset.offset.get(),
            };
            let partitions = offsets.into_iter().map(json).collect();
            print_json(&DeletedJson { group: group.to_owned(), partitions })
        }
        Format::Table => {
            eprintln!("deleted {} of group {group:?}", count(offsets.len()));
            Ok(())
        }
    }
}

/// What an argument names and the group has not committed.
fn missing(arg: &TopicArg, committed: &[GroupOffset]) -> Option<String> {
    let of_topic = || committed.iter().filter(|offset| *offset.topic == *arg.topic);
    if of_topic().next().is_none() {
        return Some(format!("topic {:?}", arg.topic));
    }
    let unnamed = arg.named().find(|index| of_topic().all(|offset| offset.partition != *index))?;
    Some(format!("{}/{unnamed}", arg.topic))
}
