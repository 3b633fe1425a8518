//! Which member of a group reads which partition: Kafka's four assignors, as functions.
//!
//!     members × topics ─▶ Problem ─▶ range · round robin · sticky ─▶ partitions of each member
//!     (names)             (numbers)                         └─ cooperative: minus what others still own
//!
//! The leader of a group runs one of these over what every member said in its JoinGroup (`wire.rs`).
//! Names and results are Kafka's for "range" and "roundrobin", so that Kafka's clients and ours may share
//! a group. The sticky ones promise more than Kafka's do: as even as it can be, and with as few partitions
//! that change hands as that takes (`sticky.rs`, `balance.rs`). Racks are carried and not looked at.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::model::PartitionIndex;

mod range;

mod round_robin;

mod sticky;

mod balance;

mod cooperative;

pub mod wire;

#[cfg(test)]
mod tests;

/// A partition by the name of its topic: members of a group may mean different incarnations of a topic,
/// and agree on names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: PartitionIndex,
}

/// How often the group had been rebalanced when something was assigned.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Generation(i32);

impl Generation {
    /// `None` for a negative number, which on the wire stands for "in none".
    pub fn from_wire(value: i32) -> Option<Generation> {
        (0 <= value).then_some(Generation(value))
    }

    pub fn to_wire(generation: Option<Generation>) -> i32 {
        generation.map_or(-1, |generation| generation.0)
    }
}

/// What a member says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    pub id: Arc<str>,
    /// Of a static member (KIP-345).
    pub instance_id: Option<Arc<str>>,
    /// Subscribed; in any order.
    pub topics: Vec<Arc<str>>,
    /// What it says it owns; in any order.
    pub owned: Vec<TopicPartition>,
    /// The generation in which it was given `owned`; `None` if it does not say.
    pub generation: Option<Generation>,
}

/// Topics that exist, and how many partitions each has.
pub type PartitionCounts = BTreeMap<Arc<str>, u32>;

/// How a group shares its partitions among its members.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Assignor {
    /// Each topic on its own: neighbouring partitions to one member, the first members get one more.
    Range,
    /// All partitions of all topics, dealt out one at a time.
    RoundRobin,
    /// As even as can be, and as little moved as that takes; everybody lets go of everything meanwhile.
    Sticky,
    /// The same in two steps, in which only partitions that move are let go of (KIP-429).
    CooperativeSticky,
}

impl Assignor {
    /// The name by which a group agrees on it.
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Range => "range",
            Assignor::RoundRobin => "roundrobin",
            Assignor::Sticky => "sticky",
            Assignor::CooperativeSticky => "cooperative-sticky",
        }
    }

    pub fn from_name(name: &str) -> Option<Assignor> {
        let all = [Assignor::Range, Assignor::RoundRobin, Assignor::Sticky, Assignor::CooperativeSticky];
        all.into_iter().find(|assignor| assignor.name() == name)
    }

    /// Whether members keep what they own while the group is rebalanced.
    pub fn is_cooperative(self) -> bool {
        self == Assignor::CooperativeSticky
    }

    /// What each member gets, in the order of `members`, sorted. Topics that do not exist are left out;
    /// every partition that somebody subscribes to is given to one member, except that the cooperative
    /// assignor gives those that must be let go of first to nobody.
    pub fn assign(self, members: &[Member], counts: &PartitionCounts) -> Vec<Vec<TopicPartition>> {
        let problem = Problem::new(members, counts);
        let given = match self {
            Assignor::Range => range::assign(&problem),
            Assignor::RoundRobin => round_robin::assign(&problem),
            Assignor::Sticky => sticky::assign(&problem),
            Assignor::CooperativeSticky => cooperative::assign(&problem),
        };
        problem.names(given)
    }
}

/// Of a member, in Kafka's order.
type MemberAt = usize;

/// Of a topic, in the order of names.
type TopicAt = usize;

/// Of a partition, counted through all topics.
type PartitionAt = usize;

/// Members and topics by number. Members stand in Kafka's order, topics in that of their names.
struct Problem {
    topics: Vec<Arc<str>>,
    /// The partitions of topic `t` are `first[t] .. first[t + 1]`.
    first: Vec<PartitionAt>,
    /// What each member subscribes to, ascending.
    subscriptions: Vec<Vec<TopicAt>>,
    claims: Vec<Claim>,
    /// Where each member stands in the caller's list.
    input: Vec<usize>,
}

/// A member says that it owns a partition.
#[derive(Clone, Copy, Debug)]
struct Claim {
    partition: PartitionAt,
    member: MemberAt,
    generation: Option<Generation>,
}

impl Problem {
    fn new(members: &[Member], counts: &PartitionCounts) -> Problem {
        let mut input: Vec<usize> = (0..members.len()).collect();
        input.sort_by(|a, b| order(&members[*a], &members[*b]));
        let wanted: BTreeSet<&Arc<str>> = members.iter().flat_map(|member| &member.topics).collect();
        let known = wanted.into_iter().filter_map(|topic| counts.get_key_value(topic));
        let (mut topics, mut first, mut end) = (Vec::new(), vec![0], 0);
        for (topic, count) in known.filter(|(_, count)| **count > 0) {
            end += *count as usize;
            topics.push(Arc::clone(topic));
            first.push(end);
        }
        let mut problem = Problem { topics, first, subscriptions: Vec::new(), claims: Vec::new(), input };
        for at in 0..problem.input.len() {
            let member = &members[problem.input[at]];
            let mut topics: Vec<TopicAt> =
                member.topics.iter().filter_map(|topic| problem.topic(topic)).collect();
            topics.sort_unstable();
            topics.dedup();
            problem.subscriptions.push(topics);
            let owned = member.owned.iter().filter_map(|owned| problem.partition(owned));
            let claim = |partition| Claim { partition, member: at, generation: member.generation };
            let claims: Vec<Claim> = owned.map(claim).collect();
            problem.claims.extend(claims);
        }
        problem
    }

    fn topic(&self, name: &Arc<str>) -> Option<TopicAt> {
        self.topics.binary_search(name).ok()
    }

    /// `None` if it does not exist, or nobody subscribes to its topic.
    fn partition(&self, named: &TopicPartition) -> Option<PartitionAt> {
        let topic = self.topic(&named.topic)?;
        let at = self.first[topic] + named.partition.get() as usize;
        (at < self.first[topic + 1]).then_some(at)
    }

    fn member_count(&self) -> usize {
        self.input.len()
    }

    fn partition_count(&self) -> usize {
        *self.first.last().expect("BUG: `first` begins with 0")
    }

    fn partitions(&self, topic: TopicAt) -> std::ops::Range<PartitionAt> {
        self.first[topic]..self.first[topic + 1]
    }

    fn topic_of(&self, partition: PartitionAt) -> TopicAt {
        self.first.partition_point(|first| *first <= partition) - 1
    }

    fn is_subscribed(&self, member: MemberAt, topic: TopicAt) -> bool {
        self.subscriptions[member].binary_search(&topic).is_ok()
    }

    /// The members that subscribe to each topic, in their order.
    fn subscribers(&self) -> Vec<Vec<MemberAt>> {
        let mut subscribers = vec![Vec::new(); self.topics.len()];
        for (member, topics) in self.subscriptions.iter().enumerate() {
            topics.iter().for_each(|topic| subscribers[*topic].push(member));
        }
        subscribers
    }

    /// Says who owns what by name, in the caller's order of members.
    fn names(&self, given: Given) -> Vec<Vec<TopicPartition>> {
        assert_eq!(given.len(), self.partition_count(), "BUG: an assignment of another problem");
        let mut named = vec![Vec::new(); self.input.len()];
        for (topic, name) in self.topics.iter().enumerate() {
            for (partition, at) in (0..).zip(self.partitions(topic)) {
                let Some(member) = given[at] else { continue };
                assert!(self.is_subscribed(member, topic), "BUG: {name} goes to one who did not ask");
                let partition = PartitionIndex::new(partition);
                named[self.input[member]].push(TopicPartition { topic: Arc::clone(name), partition });
            }
        }
        named
    }
}

/// Who gets each partition.
type Given = Vec<Option<MemberAt>>;

/// Kafka's order: static members first, by their instance id, then the others by member id; as Java
/// compares strings.
fn order(a: &Member, b: &Member) -> Ordering {
    let java = |a: &str, b: &str| a.encode_utf16().cmp(b.encode_utf16());
    match (&a.instance_id, &b.instance_id) {
        (Some(a), Some(b)) => java(a, b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => java(&a.id, &b.id),
    }
}
