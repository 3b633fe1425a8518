//! `ringlog group list`: names, and what each group is doing.

use ringlog_client::{GroupState, GroupSummary};
use serde::Serialize;

use crate::connect::Connect;
use crate::exit::Failure;
use crate::output::{Format, Output, print, print_json, table};

/// List groups by name
#[derive(clap::Args)]
pub struct Args {
    /// Only groups in this state: empty, preparing-rebalance, completing-rebalance, stable; can be
    /// repeated
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Vec<GroupState>,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    connect: Connect,
}

#[derive(Serialize)]
struct GroupJson {
    group: String,
    state: &'static str,
    protocol_type: String,
}

/// As Kafka writes them too: `PreparingRebalance`.
fn state(text: &str) -> Result<GroupState, String> {
    GroupState::from_name(&text.replace('-', ""))
        .ok_or_else(|| "expected empty, preparing-rebalance, completing-rebalance or stable".to_owned())
}

pub fn run(args: &Args) -> Result<(), Failure> {
    args.connect.run(|client| async move {
        let groups = client.admin().list_groups(&args.state).await?;
        match args.output.format {
            Format::Json => print_json(&groups.into_iter().map(json).collect::<Vec<_>>()),
            Format::Table if groups.is_empty() => {
                eprintln!("no groups{}", if args.state.is_empty() { "" } else { " in such a state" });
                Ok(())
            }
            Format::Table => {
                let row = |group: GroupSummary| {
                    let group = json(group);
                    [group.group, group.state.to_owned(), or_dash(group.protocol_type)]
                };
                print(&table(["GROUP", "STATE", "PROTOCOL TYPE"], groups.into_iter().map(row)))
            }
        }
    })
}

fn json(group: GroupSummary) -> GroupJson {
    GroupJson { state: group.state.name(), group: group.group, protocol_type: group.protocol_type }
}

/// An empty cell would hide a column from `awk`.
fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_as_people_and_kafka_write_them() {
        assert_eq!(state("stable"), Ok(GroupState::Stable));
        assert_eq!(state("preparing-rebalance"), Ok(GroupState::PreparingRebalance));
        assert_eq!(state("CompletingRebalance"), Ok(GroupState::CompletingRebalance));
        assert!(state("").is_err() && state("busy").is_err() && state("unknown").is_err());
    }
}
