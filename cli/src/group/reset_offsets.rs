//! `ringlog group reset-offsets`: a group without members goes on elsewhere.
//!
//!     group ─ has no members? ─▶ partitions ─▶ start, end, time of each ─▶ plan.rs ─▶ shown ─ --execute ─▶ set

use std::collections::{BTreeMap, BTreeSet};

use ringlog_client::{
    Admin, AdminError, Client, GroupDescription, GroupOffset, GroupState, ListedOffset, Offset, OffsetSpec,
    PartitionIndex, Timestamp,
};
use serde::Serialize;

use super::count;
use super::plan::{Known, Moved, Target, plan};
use super::topics::TopicArg;
use crate::connect::{Connect, about_group, about_topic, unknown_group};
use crate::exit::{Exit, Failure};
use crate::output::{Format, Output, print, print_json, table};
use crate::time;

/// Set where a group goes on reading
///
/// Shows what would be done; does it with --execute. The group must have no members. An offset that a
/// partition does not have is moved to its first or last, with a note.
#[derive(clap::Args)]
pub struct Args {
    /// The group; it is made if there is none
    group: String,

    #[command(flatten)]
    scope: Scope,

    #[command(flatten)]
    to: To,

    /// Do it
    #[arg(long)]
    execute: bool,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    connect: Connect,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Scope {
    /// A topic, or some of its partitions; can be repeated
    #[arg(long, value_name = "TOPIC[:0,1]")]
    topic: Vec<TopicArg>,

    /// Every partition that the group has committed
    #[arg(long)]
    all_topics: bool,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct To {
    /// The first record that there is
    #[arg(long)]
    to_earliest: bool,

    /// Behind the last record
    #[arg(long)]
    to_latest: bool,

    /// This offset
    #[arg(long, value_name = "OFFSET")]
    to_offset: Option<u64>,

    /// The first record at TIME or later: 2026-11-21T12:00:00Z, 2026-11-21, milliseconds since 1970
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    to_datetime: Option<Timestamp>,

    /// So many records on, or back if it is negative
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    shift_by: Option<i64>,

    /// Where it is; sets partitions without an offset to the end
    #[arg(long)]
    to_current: bool,
}

impl To {
    fn target(&self) -> Target {
        match *self {
            To { to_earliest: true, .. } => Target::Earliest,
            To { to_latest: true, .. } => Target::Latest,
            To { to_offset: Some(offset), .. } => Target::Offset(offset),
            To { to_datetime: Some(time), .. } => Target::Time(time),
            To { shift_by: Some(by), .. } => Target::ShiftBy(by),
            _ => Target::Current,
        }
    }
}

#[derive(Serialize)]
struct ResetJson {
    group: String,
    /// Whether it was done.
    executed: bool,
    partitions: Vec<StepJson>,
}

#[derive(Serialize)]
struct StepJson {
    topic: String,
    partition: u32,
    /// null if the group has committed none.
    current_offset: Option<u64>,
    new_offset: u64,
    /// Whether the partition does not have the offset that was asked for.
    clamped: bool,
}

/// Partitions by topic.
type Selected = BTreeMap<String, BTreeSet<usize>>;

pub fn run(args: &Args) -> Result<(), Failure> {
    args.connect.run(|client| reset(args, client))
}

async fn reset(args: &Args, client: Client) -> Result<(), Failure> {
    let (admin, group) = (client.admin(), args.group.as_str());
    let described = admin.describe_groups(&[group]).await?.pop();
    match described.expect("BUG: one answer per group") {
        Ok(described) => refuse_members(&described)?,
        Err(AdminError::UnknownGroup { .. }) if !args.scope.all_topics => {
            eprintln!("note: there is no group {group:?} yet; {}", unknown_group(&client, group).await);
        }
        Err(error) => return Err(about_group(&client, group, error).await),
    }
    let offsets = admin.group_offsets(group).await?;
    let selected = select(&args.scope, &offsets);
    if selected.is_empty() {
        let what = format!("group {group:?} has committed no offsets");
        return Err(Failure::new(Exit::NotFound, what).with_next("say which partitions: --topic TOPIC"));
    }
    let mut steps = Vec::new();
    for (topic, partitions) in &selected {
        let found = match Bounds::ask(&admin, topic, args.to.target()).await {
            Ok(bounds) => steps_of(args, topic, partitions, &bounds, &offsets)?,
            Err(AdminError::UnknownTopic { .. }) if args.scope.all_topics => {
                eprintln!("note: topic {topic:?} does not exist; its offsets stay as they are");
                continue;
            }
            Err(error) => return Err(about_topic(&client, topic, error).await),
        };
        steps.extend(found);
    }
    if args.execute {
        let entry = |step: &StepJson| {
            let partition = PartitionIndex::new(step.partition);
            GroupOffset::new(step.topic.as_str(), partition, Offset::new(step.new_offset))
        };
        let entries: Vec<GroupOffset> = steps.iter().map(entry).collect();
        if let Err(error) = admin.alter_group_offsets(group, &entries).await {
            return Err(about_group(&client, group, error).await);
        }
    }
    show(args, steps)
}

/// Who reads goes on where it is, and would commit that over what is set here.
fn refuse_members(group: &GroupDescription) -> Result<(), Failure> {
    if matches!(group.state, GroupState::Empty | GroupState::Dead) && group.members.is_empty() {
        return Ok(());
    }
    let member = |member: &ringlog_client::MemberDescription| {
        format!("{} ({}, {})", member.member_id, member.client_id, member.host)
    };
    let members: Vec<String> = group.members.iter().map(member).collect();
    let who = match members.is_empty() {
        true => "its members are joining".to_owned(),
        false => format!("its members are {}", members.join(", ")),
    };
    let what = format!("group {:?} is {}; {who}", group.group, group.state);
    Err(Failure::new(Exit::Conflict, what).with_next("stop them; then the group can be set elsewhere"))
}

/// Every topic that is named is there, if only without partitions: those are known when it is asked for.
fn select(scope: &Scope, offsets: &[GroupOffset]) -> Selected {
    let mut selected = Selected::new();
    for arg in &scope.topic {
        selected.entry(arg.topic.clone()).or_default();
    }
    for offset in offsets.iter().filter(|_| scope.all_topics) {
        let partitions = selected.entry(offset.topic.to_string()).or_default();
        partitions.insert(offset.partition.get() as usize);
    }
    selected
}

/// What a topic's partitions hold, by index.
struct Bounds {
    starts: Vec<ListedOffset>,
    ends: Vec<ListedOffset>,
    /// Empty unless a time is asked for.
    at_time: Vec<ListedOffset>,
}

impl Bounds {
    async fn ask(admin: &Admin, topic: &str, target: Target) -> Result<Bounds, AdminError> {
        let starts = admin.list_topic_offsets(topic, OffsetSpec::Earliest).await?;
        let ends = admin.list_topic_offsets(topic, OffsetSpec::Latest).await?;
        let at_time = match target {
            Target::Time(time) => admin.list_topic_offsets(topic, OffsetSpec::AtOrAfter(time)).await?,
            _ => Vec::new(),
        };
        Ok(Bounds { starts, ends, at_time })
    }

    /// `None` for a partition that the topic does not have.
    fn known(&self, partition: usize, current: Option<u64>) -> Option<Known> {
        let offset = |listed: &[ListedOffset]| Some(listed.get(partition)?.offset?.get());
        let (start, end) = (offset(&self.starts)?, offset(&self.ends)?);
        Some(Known { current, start, end, at_time: offset(&self.at_time) })
    }
}

fn steps_of(
    args: &Args,
    topic: &str,
    committed: &BTreeSet<usize>,
    bounds: &Bounds,
    offsets: &[GroupOffset],
) -> Result<Vec<StepJson>, Failure> {
    let mut partitions = committed.clone();
    for arg in args.scope.topic.iter().filter(|arg| arg.topic == topic) {
        partitions.extend(arg.of(bounds.starts.len()));
    }
    let mut steps = Vec::new();
    for partition in partitions {
        let index = PartitionIndex::new(u32::try_from(partition).expect("BUG: it was an index"));
        let is_this = |offset: &&GroupOffset| *offset.topic == *topic && offset.partition == index;
        let current = offsets.iter().find(is_this).map(|offset| offset.offset.get());
        let Some(known) = bounds.known(partition, current) else {
            let what = format!("topic {topic:?} has no partition {index}; it has {}", bounds.starts.len());
            if args.scope.all_topics {
                eprintln!("note: {what}; its offset stays as it is");
                continue;
            }
            return Err(Failure::new(Exit::NotFound, what));
        };
        let step = plan(args.to.target(), &known).map_err(|_| {
            let what = format!("group {:?} has committed no offset of {topic}/{index} to shift", args.group);
            Failure::new(Exit::NotFound, what).with_next("--to-earliest, --to-latest or --to-offset sets one")
        })?;
        match step.moved {
            Some(Moved::ToStart) => eprintln!("note: {topic}/{index} begins at offset {}", step.new),
            Some(Moved::ToEnd) => eprintln!("note: {topic}/{index} ends at offset {}", step.new),
            None => {}
        }
        steps.push(StepJson {
            topic: topic.to_owned(),
            partition: index.get(),
            current_offset: current,
            new_offset: step.new,
            clamped: step.moved.is_some(),
        });
    }
    Ok(steps)
}

fn show(args: &Args, steps: Vec<StepJson>) -> Result<(), Failure> {
    let set = count(steps.len());
    match args.output.format {
        Format::Json => {
            let (group, executed) = (args.group.clone(), args.execute);
            print_json(&ResetJson { group, executed, partitions: steps })?;
        }
        Format::Table => {
            let row = |step: StepJson| {
                let current = step.current_offset.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
                [step.topic, step.partition.to_string(), current, step.new_offset.to_string()]
            };
            let columns = ["TOPIC", "PARTITION", "CURRENT-OFFSET", "NEW-OFFSET"];
            print(&table(columns, steps.into_iter().map(row)))?;
        }
    }
    match args.execute {
        true => eprintln!("set {set} of group {:?}", args.group),
        false => eprintln!("nothing was changed; --execute does it"),
    }
    Ok(())
}
