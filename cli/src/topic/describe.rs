//! `ringlog topic describe`: where each partition lives, what it holds, how the topic is configured.

use ringlog_client::{
    Admin, Client, ConfigEntry, ListedOffset, OffsetSpec, PartitionDescription, TopicDescription,
};
use serde::Serialize;

use crate::connect::{Connect, about_topic};
use crate::exit::Failure;
use crate::output::{Format, Output, print, print_json, table};

/// Describe a topic: partitions, offsets, configuration
#[derive(clap::Args)]
pub struct Args {
    /// The topic
    name: String,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    connect: Connect,
}

#[derive(Serialize)]
struct TopicJson {
    name: String,
    id: String,
    partitions: Vec<PartitionJson>,
    configs: Vec<ConfigJson>,
}

#[derive(Serialize)]
struct PartitionJson {
    partition: u32,
    leader: u32,
    leader_epoch: i32,
    shard: u16,
    replicas: Vec<u32>,
    in_sync: Vec<u32>,
    /// Offset of the first record that there is; null if the leader did not say.
    start_offset: Option<u64>,
    /// Offset that the next committed record will have.
    end_offset: Option<u64>,
}

#[derive(Serialize)]
struct ConfigJson {
    key: String,
    value: String,
    is_default: bool,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    args.connect.run(|client| describe(args, client))
}

async fn describe(args: &Args, client: Client) -> Result<(), Failure> {
    let admin = client.admin();
    let topic = match admin.describe_topic(&args.name).await {
        Ok(topic) => topic,
        Err(error) => return Err(about_topic(&client, &args.name, error).await),
    };
    let TopicDescription { name, id, partitions, configs } = topic;
    let starts = offsets(&admin, &name, &partitions, OffsetSpec::Earliest).await;
    let ends = offsets(&admin, &name, &partitions, OffsetSpec::Latest).await;
    let described = partitions.iter().zip(starts).zip(ends).map(|((partition, start), end)| PartitionJson {
        partition: partition.index.get(),
        leader: partition.leader.get(),
        leader_epoch: partition.leader_epoch.get(),
        shard: partition.shard.get(),
        replicas: partition.replicas.iter().map(|node| node.get()).collect(),
        in_sync: partition.in_sync.iter().map(|node| node.get()).collect(),
        start_offset: start,
        end_offset: end,
    });
    let described = described.collect();
    let configs: Vec<ConfigJson> = configs.into_iter().map(config).collect();
    let topic = TopicJson { name, id: id.to_string(), partitions: described, configs };
    match args.output.format {
        Format::Json => print_json(&topic),
        Format::Table => print(&show(&topic)),
    }
}

/// One offset for each partition. Where they cannot be had at once they are asked for one by one, so
/// that a partition whose leader does not answer takes nothing from the others.
async fn offsets(
    admin: &Admin,
    topic: &str,
    partitions: &[PartitionDescription],
    spec: OffsetSpec,
) -> Vec<Option<u64>> {
    let number = |listed: ListedOffset| listed.offset.map(|offset| offset.get());
    if let Ok(listed) = admin.list_topic_offsets(topic, spec).await
        && listed.len() == partitions.len()
    {
        return listed.into_iter().map(number).collect();
    }
    let mut offsets = Vec::with_capacity(partitions.len());
    for partition in partitions {
        offsets.push(match admin.list_offsets(topic, partition.index, spec).await {
            Ok(listed) => number(listed),
            Err(error) => {
                eprintln!("note: partition {}: {error}", partition.index);
                None
            }
        });
    }
    offsets
}

fn config(entry: ConfigEntry) -> ConfigJson {
    ConfigJson { key: entry.key, value: entry.value, is_default: entry.is_default }
}

fn show(topic: &TopicJson) -> String {
    let nodes = |nodes: &[u32]| nodes.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let offset = |offset: Option<u64>| offset.map_or_else(|| "?".to_owned(), |offset| offset.to_string());
    let partitions = table(
        ["PARTITION", "LEADER", "EPOCH", "SHARD", "REPLICAS", "IN-SYNC", "START", "END"],
        topic.partitions.iter().map(|partition| {
            [
                partition.partition.to_string(),
                partition.leader.to_string(),
                partition.leader_epoch.to_string(),
                partition.shard.to_string(),
                nodes(&partition.replicas),
                nodes(&partition.in_sync),
                offset(partition.start_offset),
                offset(partition.end_offset),
            ]
        }),
    );
    let configs = table(
        ["CONFIG", "VALUE", "FROM"],
        topic.configs.iter().map(|entry| {
            let from = if entry.is_default { "default" } else { "topic" };
            [entry.key.clone(), entry.value.clone(), from.to_owned()]
        }),
    );
    format!("topic {}, id {}\n\n{partitions}\n\n{configs}", topic.name, topic.id)
}
