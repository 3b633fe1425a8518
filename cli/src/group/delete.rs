//! `ringlog group delete`: forgets how far groups have read, so it asks.

use ringlog_client::{AdminError, Client};
use serde::Serialize;

use crate::confirm::confirm;
use crate::connect::{Connect, about_group};
use crate::exit::Failure;
use crate::output::{Format, Output, print_json};

/// Delete groups without members, and the offsets they have committed
#[derive(clap::Args)]
pub struct Args {
    /// The groups
    #[arg(required = true)]
    group: Vec<String>,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    connect: Connect,
}

#[derive(Serialize)]
struct GroupJson {
    group: String,
    deleted: bool,
    /// null for a group that was deleted.
    error: Option<String>,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    if !args.yes {
        confirm(&format!("delete {} and the offsets committed there", names(&args.group)))?;
    }
    args.connect.run(|client| delete(args, client))
}

fn names(groups: &[String]) -> String {
    let quoted: Vec<String> = groups.iter().map(|group| format!("{group:?}")).collect();
    format!("group{} {}", if groups.len() == 1 { "" } else { "s" }, quoted.join(", "))
}

async fn delete(args: &Args, client: Client) -> Result<(), Failure> {
    let groups: Vec<&str> = args.group.iter().map(String::as_str).collect();
    let outcomes = client.admin().delete_groups(&groups).await?;
    match args.output.format {
        Format::Json => {
            let json = |(group, outcome): (&&str, &Result<(), AdminError>)| GroupJson {
                group: (*group).to_owned(),
                deleted: outcome.is_ok(),
                error: outcome.as_ref().err().map(AdminError::to_string),
            };
            print_json(&groups.iter().zip(&outcomes).map(json).collect::<Vec<_>>())?;
        }
        Format::Table => {
            let deleted = groups.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok());
            deleted.for_each(|(group, _)| eprintln!("deleted group {group:?}"));
        }
    }
    first_failure(&client, &groups, outcomes).await
}

/// The first failure ends the program; the others are told before it.
pub async fn first_failure<T>(
    client: &Client,
    groups: &[&str],
    outcomes: impl IntoIterator<Item = Result<T, AdminError>>,
) -> Result<(), Failure> {
    let failed = groups.iter().zip(outcomes).filter_map(|(group, outcome)| Some((group, outcome.err()?)));
    let mut failed: Vec<(&&str, AdminError)> = failed.collect();
    failed.drain(1.min(failed.len())..).for_each(|(_, error)| eprintln!("error: {error}"));
    match failed.pop() {
        Some((group, error)) => Err(about_group(client, group, error).await),
        None => Ok(()),
    }
}
