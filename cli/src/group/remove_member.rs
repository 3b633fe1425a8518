//! `ringlog group remove-member`: members that are stuck are sent away, and the others share their work.

use ringlog_client::{Client, MemberToRemove};
use serde::Serialize;

use super::delete::first_failure;
use crate::connect::{Connect, about_group};
use crate::exit::Failure;
use crate::output::{Format, Output, print_json};

/// Send members of a group away; one that still runs comes back
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("who").required(true).multiple(true).args(["member", "instance"])))]
pub struct Args {
    /// The group
    group: String,

    /// A member, by the id that `group describe` shows; can be repeated
    #[arg(long, value_name = "MEMBER")]
    member: Vec<String>,

    /// A static member, by its group.instance.id; can be repeated
    #[arg(long, value_name = "INSTANCE")]
    instance: Vec<String>,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    connect: Connect,
}

#[derive(Serialize)]
struct MemberJson {
    /// null for one that was named by its instance.
    member_id: Option<String>,
    instance_id: Option<String>,
    removed: bool,
    /// null for a member that was removed.
    error: Option<String>,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    args.connect.run(|client| remove(args, client))
}

async fn remove(args: &Args, client: Client) -> Result<(), Failure> {
    let group = args.group.as_str();
    let members = args.member.iter().cloned().map(MemberToRemove::Member);
    let instances = args.instance.iter().cloned().map(MemberToRemove::Instance);
    let members: Vec<MemberToRemove> = members.chain(instances).collect();
    let outcomes = match client.admin().remove_members(group, &members).await {
        Ok(outcomes) => outcomes,
        Err(error) => return Err(about_group(&client, group, error).await),
    };
    match args.output.format {
        Format::Json => {
            let json = |(member, outcome): (&MemberToRemove, &Result<(), _>)| {
                let (member_id, instance_id) = match member {
                    MemberToRemove::Member(id) => (Some(id.clone()), None),
                    MemberToRemove::Instance(id) => (None, Some(id.clone())),
                };
                let error = outcome.as_ref().err().map(ringlog_client::AdminError::to_string);
                MemberJson { member_id, instance_id, removed: outcome.is_ok(), error }
            };
            print_json(&members.iter().zip(&outcomes).map(json).collect::<Vec<_>>())?;
        }
        Format::Table => {
            let removed = members.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok());
            removed.for_each(|(member, _)| eprintln!("removed {member} from group {group:?}"));
        }
    }
    first_failure(&client, &vec![group; outcomes.len()], outcomes).await
}
