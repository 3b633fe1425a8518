//! `ringlog group describe`: who is in a group, and how far behind it is.
//!
//!     offsets that are committed ∪ partitions that are assigned ─▶ rows, with the end of each partition

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ringlog_client::{
    Admin, AdminError, Client, GroupDescription, GroupOffset, MemberDescription, OffsetSpec, TopicPartition,
};
use serde::Serialize;

use super::delete::first_failure;
use crate::connect::Connect;
use crate::exit::Failure;
use crate::output::{Format, Output, print, print_json, table};

/// Describe groups: members, offsets, and how many records are still to be read
#[derive(clap::Args)]
pub struct Args {
    /// The groups
    #[arg(required = true)]
    group: Vec<String>,

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
    /// Empty while the members have agreed on none.
    assignor: String,
    /// Counts rebalances.
    generation: i32,
    members: Vec<MemberJson>,
    partitions: Vec<PartitionJson>,
}

#[derive(Serialize)]
struct MemberJson {
    member_id: String,
    /// null unless it is a static member.
    instance_id: Option<String>,
    client_id: String,
    host: String,
    /// How many partitions it has.
    partitions: usize,
}

#[derive(Serialize)]
struct PartitionJson {
    topic: String,
    partition: u32,
    /// Of the next record to read; null if none is committed.
    current_offset: Option<u64>,
    /// Offset that the next committed record will have; null for a partition that is gone.
    log_end_offset: Option<u64>,
    /// Records from the one to the other; null unless both are known.
    lag: Option<u64>,
    /// Who reads it; null for nobody, and so with the next two.
    member_id: Option<String>,
    host: Option<String>,
    client_id: Option<String>,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    args.connect.run(|client| describe(args, client))
}

async fn describe(args: &Args, client: Client) -> Result<(), Failure> {
    let admin = client.admin();
    let names: Vec<&str> = args.group.iter().map(String::as_str).collect();
    let described = admin.describe_groups(&names).await?;
    let mut groups = Vec::new();
    for group in described.iter().flatten() {
        let offsets = admin.group_offsets(&group.group).await?;
        let ends = Ends::ask(&admin, &partitions(group, &offsets)).await;
        groups.push(join(group, &offsets, &ends));
    }
    // Those that are there are shown although others are not.
    match args.output.format {
        Format::Json => print_json(&groups)?,
        Format::Table if groups.is_empty() => {}
        Format::Table => print(&groups.iter().map(show).collect::<Vec<_>>().join("\n\n"))?,
    }
    first_failure(&client, &names, described).await
}

/// Every partition that the group has to do with.
fn partitions(group: &GroupDescription, offsets: &[GroupOffset]) -> BTreeSet<TopicPartition> {
    let assigned = group.members.iter().flat_map(|member| member.assignment.iter().flatten().cloned());
    let committed = offsets
        .iter()
        .map(|offset| TopicPartition { topic: offset.topic.clone(), partition: offset.partition });
    assigned.chain(committed).collect()
}

/// Where the partitions of each topic end.
struct Ends(BTreeMap<Arc<str>, Vec<Option<u64>>>);

impl Ends {
    /// A topic that cannot be asked takes nothing from the others.
    async fn ask(admin: &Admin, partitions: &BTreeSet<TopicPartition>) -> Ends {
        let topics: BTreeSet<Arc<str>> = partitions.iter().map(|named| named.topic.clone()).collect();
        let mut ends = BTreeMap::new();
        for topic in topics {
            let listed = match admin.list_topic_offsets(&topic, OffsetSpec::Latest).await {
                Ok(listed) => listed,
                Err(error) => {
                    let is_gone = matches!(error, AdminError::UnknownTopic { .. });
                    let of = if is_gone { String::new() } else { format!("topic {topic:?}: ") };
                    eprintln!("note: {of}{error}");
                    continue;
                }
            };
            ends.insert(topic, listed.iter().map(|listed| Some(listed.offset?.get())).collect());
        }
        Ends(ends)
    }

    fn of(&self, named: &TopicPartition) -> Option<u64> {
        *self.0.get(&named.topic)?.get(named.partition.get() as usize)?
    }
}

fn join(group: &GroupDescription, offsets: &[GroupOffset], ends: &Ends) -> GroupJson {
    let mut readers: BTreeMap<&TopicPartition, &MemberDescription> = BTreeMap::new();
    for member in &group.members {
        readers.extend(member.assignment.iter().flatten().map(|named| (named, member)));
    }
    let current: BTreeMap<_, u64> =
        offsets.iter().map(|offset| ((&*offset.topic, offset.partition), offset.offset.get())).collect();
    let row = |named: &TopicPartition| {
        let (reader, end) = (readers.get(named), ends.of(named));
        let current = current.get(&(&*named.topic, named.partition)).copied();
        PartitionJson {
            topic: named.topic.to_string(),
            partition: named.partition.get(),
            current_offset: current,
            log_end_offset: end,
            lag: current.zip(end).map(|(current, end)| end.saturating_sub(current)),
            member_id: reader.map(|reader| reader.member_id.clone()),
            host: reader.map(|reader| reader.host.clone()),
            client_id: reader.map(|reader| reader.client_id.clone()),
        }
    };
    GroupJson {
        group: group.group.clone(),
        state: group.state.name(),
        protocol_type: group.protocol_type.clone(),
        assignor: group.protocol.clone(),
        generation: group.generation,
        members: group.members.iter().map(member).collect(),
        partitions: partitions(group, offsets).iter().map(row).collect(),
    }
}

fn member(member: &MemberDescription) -> MemberJson {
    MemberJson {
        member_id: member.member_id.clone(),
        instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        host: member.host.clone(),
        partitions: member.assignment.as_ref().map_or(0, Vec::len),
    }
}

fn show(group: &GroupJson) -> String {
    let assignor = if group.assignor.is_empty() { "-" } else { &group.assignor };
    let members = match group.members.len() {
        0 => "no members".to_owned(),
        1 => "1 member".to_owned(),
        count => format!("{count} members"),
    };
    let head = format!(
        "group {}, {}, generation {}, assignor {assignor}, {members}",
        group.group, group.state, group.generation
    );
    let text = |text: &Option<String>| text.clone().unwrap_or_else(dash);
    let number = |number: Option<u64>| number.map_or_else(dash, |number| number.to_string());
    let partitions = group.partitions.iter().map(|row| {
        [
            row.topic.clone(),
            row.partition.to_string(),
            number(row.current_offset),
            number(row.log_end_offset),
            number(row.lag),
            text(&row.member_id),
            text(&row.host),
            text(&row.client_id),
        ]
    });
    let idle = group.members.iter().filter(|member| member.partitions == 0).map(|member| {
        let ([a, b, c, d, e], member) = (std::array::from_fn(|_| dash()), member);
        [a, b, c, d, e, member.member_id.clone(), member.host.clone(), member.client_id.clone()]
    });
    let rows: Vec<[String; 8]> = partitions.chain(idle).collect();
    if rows.is_empty() {
        return head;
    }
    let columns =
        ["TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "MEMBER", "HOST", "CLIENT"];
    format!("{head}\n\n{}", table(columns, rows))
}

/// What there is not.
fn dash() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use ringlog_client::{GroupState, Offset, PartitionIndex};

    fn named(partition: u32) -> TopicPartition {
        TopicPartition { topic: "orders".into(), partition: PartitionIndex::new(partition) }
    }

    fn reader(id: &str, assignment: Option<Vec<TopicPartition>>) -> MemberDescription {
        let (client_id, host) = ("app".to_owned(), "127.0.0.1".to_owned());
        MemberDescription { member_id: id.to_owned(), instance_id: None, client_id, host, assignment }
    }

    fn group(members: Vec<MemberDescription>) -> GroupDescription {
        GroupDescription {
            group: "billing".to_owned(),
            state: if members.is_empty() { GroupState::Empty } else { GroupState::Stable },
            protocol_type: "consumer".to_owned(),
            protocol: if members.is_empty() { String::new() } else { "range".to_owned() },
            generation: 3,
            members,
        }
    }

    fn shown(group: &GroupDescription, offsets: &[GroupOffset], ends: &[Option<u64>]) -> String {
        let ends = Ends(BTreeMap::from([("orders".into(), ends.to_vec())]));
        show(&join(group, offsets, &ends)) + "\n"
    }

    fn offset(partition: u32, offset: u64) -> GroupOffset {
        GroupOffset::new("orders", PartitionIndex::new(partition), Offset::new(offset))
    }

    #[test]
    fn partitions_are_shown_with_and_without_offsets_and_readers() {
        let members = vec![reader("a-1", Some(vec![named(1), named(2)])), reader("b-2", Some(vec![]))];
        let offsets = [offset(0, 5), offset(1, 7), offset(9, 1)];
        expect![[r#"
            group billing, Stable, generation 3, assignor range, 2 members

            TOPIC   PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG  MEMBER  HOST       CLIENT
            orders  0          5               5               0    -       -          -
            orders  1          7               12              5    a-1     127.0.0.1  app
            orders  2          -               4               -    a-1     127.0.0.1  app
            orders  9          1               -               -    -       -          -
            -       -          -               -               -    b-2     127.0.0.1  app
        "#]]
        .assert_eq(&shown(&group(members), &offsets, &[Some(5), Some(12), Some(4)]));
    }

    #[test]
    fn a_group_may_have_nobody_and_nothing() {
        expect![[r#"
            group billing, Empty, generation 3, assignor -, no members
        "#]]
        .assert_eq(&shown(&group(vec![]), &[], &[]));
        expect![[r#"
            group billing, Empty, generation 3, assignor -, no members

            TOPIC   PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG  MEMBER  HOST  CLIENT
            orders          0               5               7    2  -       -     -
        "#]]
        .assert_eq(&shown(&group(vec![]), &[offset(0, 5)], &[Some(7)]));
    }
}
