//! Assignments by hand from Kafka's rules, and by brute force.
//!
//!     range, roundrobin        tables
//!     sticky, all alike        even, and moves = Σ owned − Σ min(owned, target): the closed form
//!     sticky, all different    every assignment there is, on small cases
//!     cooperative              generations in a row, until nobody lets go of anything

use std::time::{Duration, Instant};

use super::*;
use proptest::prelude::*;

fn topic(index: usize) -> Arc<str> {
    format!("t{index}").into()
}

fn counts(counts: &[u32]) -> PartitionCounts {
    counts.iter().enumerate().map(|(at, count)| (topic(at), *count)).collect()
}

fn member(id: usize, topics: impl IntoIterator<Item = usize>) -> Member {
    let topics = topics.into_iter().map(topic).collect();
    Member { id: format!("m{id:04}").into(), instance_id: None, topics, owned: Vec::new(), generation: None }
}

fn partition(at: usize, index: u32) -> TopicPartition {
    TopicPartition { topic: topic(at), partition: PartitionIndex::new(index) }
}

fn generation(generation: i32) -> Option<Generation> {
    Generation::from_wire(generation)
}

/// As `t0: 0 1 | t1: 2`, one member after the other.
fn show(given: &[Vec<TopicPartition>]) -> Vec<String> {
    let one = |given: &Vec<TopicPartition>| {
        let topics = given.chunk_by(|a, b| a.topic == b.topic).map(|topic| {
            let indexes = topic.iter().map(|given| format!(" {}", given.partition));
            format!("{}:{}", topic[0].topic, indexes.collect::<String>())
        });
        topics.collect::<Vec<String>>().join(" | ")
    };
    given.iter().map(one).collect()
}

/// Everybody owns what it was given.
fn adopt(members: &mut [Member], given: Vec<Vec<TopicPartition>>, in_generation: i32) {
    for (member, given) in members.iter_mut().zip(given) {
        (member.owned, member.generation) = (given, generation(in_generation));
    }
}

/// Partitions that somebody owned and somebody else got, or nobody.
fn moves(members: &[Member], given: &[Vec<TopicPartition>]) -> usize {
    let lost = |(member, given): (&Member, &Vec<TopicPartition>)| {
        member.owned.iter().filter(|owned| given.binary_search(owned).is_err()).count()
    };
    members.iter().zip(given).map(lost).sum()
}

#[test]
fn range_cuts_each_topic_alike_and_the_first_get_more() {
    let members = [member(2, [0, 1]), member(0, [0, 1]), member(1, [0])];
    let given = Assignor::Range.assign(&members, &counts(&[8, 3]));
    assert_eq!(show(&given), ["t0: 6 7 | t1: 2", "t0: 0 1 2 | t1: 0 1", "t0: 3 4 5"]);
}

#[test]
fn range_gives_nothing_to_members_beyond_the_partitions() {
    let given = Assignor::Range.assign(&[member(0, [0]), member(1, [0, 7])], &counts(&[1]));
    assert_eq!(show(&given), ["t0: 0", ""]);
}

#[test]
fn static_members_stand_first_by_their_instance_whatever_their_member_id() {
    let fixed = |id, instance: &str| Member { instance_id: Some(instance.into()), ..member(id, [0]) };
    let members = [member(0, [0]), fixed(1, "b"), fixed(2, "a")];
    let given = Assignor::Range.assign(&members, &counts(&[3]));
    assert_eq!(show(&given), ["t0: 2", "t0: 1", "t0: 0"]);
}

#[test]
fn strings_are_in_javas_order() {
    // As UTF-16 the first begins with 0xd83d, as UTF-8 it would be the later one.
    let named = |id: &str| Member { id: id.into(), ..member(0, [0]) };
    let given = Assignor::Range.assign(&[named("\u{ff5e}"), named("\u{1f600}")], &counts(&[1]));
    assert_eq!(show(&given), ["", "t0: 0"]);
}

#[test]
fn round_robin_deals_across_topics() {
    let members = [member(0, [0, 1]), member(1, [0, 1])];
    let given = Assignor::RoundRobin.assign(&members, &counts(&[3, 3]));
    assert_eq!(show(&given), ["t0: 0 2 | t1: 1", "t0: 1 | t1: 0 2"]);
}

#[test]
fn round_robin_passes_over_who_is_not_subscribed() {
    // The example of Kafka's documentation: C0 reads t0, C1 reads t0 t1, C2 reads t0 t1 t2.
    let members = [member(0, [0]), member(1, [0, 1]), member(2, [0, 1, 2])];
    let given = Assignor::RoundRobin.assign(&members, &counts(&[1, 2, 3]));
    assert_eq!(show(&given), ["t0: 0", "t1: 0", "t1: 1 | t2: 0 1 2"]);
    let given = Assignor::Sticky.assign(&members, &counts(&[1, 2, 3]));
    assert_eq!(show(&given), ["t0: 0", "t1: 0 1", "t2: 0 1 2"]);
}

#[test]
fn no_members_no_topics_and_no_partitions_are_no_trouble() {
    for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::Sticky, Assignor::CooperativeSticky] {
        assert!(assignor.assign(&[], &counts(&[3])).is_empty());
        assert_eq!(show(&assignor.assign(&[member(0, [])], &counts(&[3]))), [""]);
        assert_eq!(show(&assignor.assign(&[member(0, [0, 1])], &counts(&[0]))), [""]);
        assert_eq!(Assignor::from_name(assignor.name()), Some(assignor));
        assert_eq!(assignor.is_cooperative(), assignor.name().starts_with("cooperative"));
    }
}

#[test]
fn of_two_claims_the_later_generation_wins_and_of_equal_ones_none() {
    let claims = |first, second| {
        let owned = vec![partition(0, 0), partition(0, 1)];
        let (one, two) = (member(0, [0]), member(1, [0]));
        let one = Member { owned: owned.clone(), generation: first, ..one };
        let problem = Problem::new(&[one, Member { owned, generation: second, ..two }], &counts(&[2]));
        sticky::owners(&problem)
    };
    assert_eq!(claims(generation(3), generation(4)), [Some(1), Some(1)]);
    assert_eq!(claims(generation(4), generation(3)), [Some(0), Some(0)]);
    assert_eq!(claims(generation(4), None), [Some(0), Some(0)]);
    assert_eq!(claims(generation(4), generation(4)), [None, None]);
}

#[test]
fn a_third_claim_of_a_later_generation_settles_a_dispute() {
    let claim =
        |id, of| Member { owned: vec![partition(0, 0)], generation: generation(of), ..member(id, [0]) };
    let owner = |of: [i32; 3]| {
        let members: Vec<Member> = of.into_iter().enumerate().map(|(id, of)| claim(id, of)).collect();
        sticky::owners(&Problem::new(&members, &counts(&[1])))[0]
    };
    assert_eq!([owner([1, 1, 2]), owner([2, 1, 1]), owner([2, 1, 2])], [Some(2), Some(0), None]);
}

#[test]
fn a_claim_of_an_earlier_generation_does_not_interrupt_the_owner() {
    let claim =
        |id, of| Member { owned: vec![partition(0, 0)], generation: generation(of), ..member(id, [0]) };
    let given = Assignor::CooperativeSticky.assign(&[claim(0, 3), claim(1, 4)], &counts(&[1]));
    assert_eq!(show(&given), ["", "t0: 0"]);
}

/// The fewest moves that any even assignment takes, if all subscribe alike.
fn fewest_moves(members: &[Member], partitions: usize) -> usize {
    let (each, more) = (partitions / members.len(), partitions % members.len());
    let owned: Vec<usize> = members.iter().map(|member| member.owned.len()).collect();
    let above = owned.iter().filter(|owned| each < **owned).count();
    let kept: usize = owned.iter().map(|owned| each.min(*owned)).sum::<usize>() + above.min(more);
    owned.iter().sum::<usize>() - kept
}

fn check_even(given: &[Vec<TopicPartition>], partitions: usize) {
    let loads = || given.iter().map(Vec::len);
    assert_eq!(loads().sum::<usize>(), partitions);
    assert!(loads().max().unwrap() - loads().min().unwrap() <= 1);
    let distinct: BTreeSet<&TopicPartition> = given.iter().flatten().collect();
    assert_eq!(distinct.len(), partitions);
}

/// One rebalance after the other; each moves the computed minimum.
#[test]
fn a_hundred_members_come_and_go_and_the_fewest_partitions_move() {
    let mut sizes = vec![100; 10];
    let mut members: Vec<Member> = (0..100).map(|id| member(id, 0..10)).collect();
    type Change = fn(&mut Vec<Member>, &mut Vec<u32>);
    let changes: [Change; 7] = [
        |_, _| {},
        |members, _| members.push(member(1000, 0..10)),
        |members, _| members.extend((2000..2013).map(|id| member(id, 0..10))),
        |members, _| _ = members.swap_remove(17),
        |members, _| _ = members.drain(20..63),
        |_, sizes| sizes[3] += 77,
        |_, sizes| sizes[5] = 1,
    ];
    for (step, change) in (0..).zip(changes) {
        change(&mut members, &mut sizes);
        let (counts, total) = (counts(&sizes), sizes.iter().sum::<u32>() as usize);
        let in_range = |owned: &TopicPartition| owned.partition.get() < counts[&owned.topic];
        members.iter_mut().for_each(|member| member.owned.retain(in_range));
        let given = Assignor::Sticky.assign(&members, &counts);
        check_even(&given, total);
        assert_eq!(moves(&members, &given), fewest_moves(&members, total), "step {step}");
        if step > 0 {
            assert!(moves(&members, &given) < total, "step {step} moves everything");
        }
        adopt(&mut members, given, step);
    }
}

#[test]
fn what_is_new_is_spread_over_the_members_topic_by_topic() {
    let members: Vec<Member> = (0..5).map(|id| member(id, 0..4)).collect();
    for given in Assignor::Sticky.assign(&members, &counts(&[5; 4])) {
        let topics: BTreeSet<&Arc<str>> = given.iter().map(|given| &given.topic).collect();
        assert_eq!(topics.len(), 4);
    }
}

fn took(assignor: Assignor, members: &[Member], counts: &PartitionCounts) -> Duration {
    let start = Instant::now();
    let given = assignor.assign(members, counts);
    let took = start.elapsed();
    assert_eq!(given.iter().map(Vec::len).sum::<usize>(), counts.values().sum::<u32>() as usize);
    took
}

/// Limits are ten times what it takes on a busy machine, so that only another order of growth fails.
#[test]
fn large_groups_are_assigned_in_no_time() {
    let (mut alike, mut different) = (Vec::new(), Vec::new());
    let sizes = counts(&[100; 100]);
    for id in 0..1000 {
        alike.push(member(id, 0..100));
        different.push(member(id, (0..100).filter(|topic| (id * 31 + topic * 17) % 7 < 3)));
    }
    for members in [&mut alike, &mut different] {
        for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::Sticky] {
            assert!(took(assignor, members, &sizes) < Duration::from_secs(1), "{}", assignor.name());
        }
        let given = Assignor::Sticky.assign(members, &sizes);
        adopt(members, given, 1);
        let left = members.split_off(700);
        assert!(took(Assignor::Sticky, members, &sizes) < Duration::from_secs(1), "300 left");
        let given = Assignor::Sticky.assign(members, &sizes);
        adopt(members, given, 2);
        members.extend(left.into_iter().map(|member| Member { owned: Vec::new(), ..member }));
        assert!(took(Assignor::Sticky, members, &sizes) < Duration::from_secs(1), "300 came");
    }
}

/// A small group: sizes of topics, and of each member what it subscribes to, owns and since when.
fn small_group() -> impl Strategy<Value = (Vec<u32>, Vec<Member>)> {
    let sizes = prop::collection::vec(0..4_u32, 1..4);
    (sizes, 1..4_usize).prop_flat_map(|(sizes, members)| {
        let topics = sizes.len();
        let subscribed = prop::collection::vec(prop::collection::vec(any::<bool>(), topics), members);
        // Of every partition of every topic: who claims it, if anybody.
        let owners = prop::collection::vec(0..members + 1, topics * 4);
        (Just(sizes), subscribed, owners).prop_map(|(sizes, subscribed, owners)| {
            let one = |(id, topics): (usize, &Vec<bool>)| {
                let of_topic = |at: usize| (0..4_u32).map(move |index| (at, index));
                let all = (0..topics.len()).flat_map(of_topic);
                let is_owner = |(at, index): &(usize, u32)| owners[at * 4 + *index as usize] == id;
                let owned = all.filter(is_owner).map(|(at, index)| partition(at, index)).collect();
                let topics = (0..topics.len()).filter(|at| topics[*at]);
                Member { owned, generation: generation(1), ..member(id, topics) }
            };
            let members = subscribed.iter().enumerate().map(one).collect();
            (sizes, members)
        })
    })
}

/// The least (sum of squared loads, moves) of all assignments.
fn cheapest(members: &[Member], counts: &PartitionCounts) -> (usize, usize) {
    let all: Vec<TopicPartition> = counts
        .iter()
        .flat_map(|(topic, count)| (0..*count).map(|index| (Arc::clone(topic), index)))
        .map(|(topic, index)| TopicPartition { topic, partition: PartitionIndex::new(index) })
        .collect();
    fn search(
        all: &[TopicPartition],
        members: &[Member],
        loads: &mut [usize],
        moved: usize,
    ) -> (usize, usize) {
        let Some((first, rest)) = all.split_first() else {
            return (loads.iter().map(|load| load * load).sum(), moved);
        };
        let takes = |member: &&usize| members[**member].topics.contains(&first.topic);
        let owner =
            (0..members.len()).find(|member| members[*member].owned.contains(first) && takes(&member));
        let mut best = None;
        for member in (0..members.len()).filter(|member| takes(&member)) {
            loads[member] += 1;
            let moved = moved + usize::from(owner.is_some_and(|owner| owner != member));
            let cost = search(rest, members, loads, moved);
            best = Some(best.map_or(cost, |best: (usize, usize)| best.min(cost)));
            loads[member] -= 1;
        }
        best.unwrap_or_else(|| search(rest, members, loads, moved))
    }
    search(&all, members, &mut vec![0; members.len()], 0)
}

fn cost(members: &[Member], counts: &PartitionCounts, given: &[Vec<TopicPartition>]) -> (usize, usize) {
    let is_valid = |member: &Member, owned: &TopicPartition| {
        member.topics.contains(&owned.topic) && owned.partition.get() < counts[&owned.topic]
    };
    let mut members = members.to_vec();
    for member in &mut members {
        let before = member.clone();
        member.owned.retain(|owned| is_valid(&before, owned));
    }
    (given.iter().map(|given| given.len().pow(2)).sum(), moves(&members, given))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_other_assignment_is_more_even_or_as_even_with_fewer_moves((sizes, members) in small_group()) {
        let counts = counts(&sizes);
        let given = Assignor::Sticky.assign(&members, &counts);
        prop_assert_eq!(cost(&members, &counts, &given), cheapest(&members, &counts), "{:?}", show(&given));
    }

    #[test]
    fn the_flow_agrees_with_the_closed_form((sizes, members) in small_group()) {
        let topics: Vec<Arc<str>> = (0..sizes.len()).map(topic).collect();
        let alike = |member: Member| Member { topics: topics.clone(), ..member };
        let members: Vec<Member> = members.into_iter().map(alike).collect();
        let counts = counts(&sizes);
        let problem = Problem::new(&members, &counts);
        let flow = problem.names(balance::assign(&problem, &sticky::owners(&problem)));
        let closed = Assignor::Sticky.assign(&members, &counts);
        prop_assert_eq!(cost(&members, &counts, &flow), cost(&members, &counts, &closed));
    }

    /// Members let go of what they are not given any more, and come back, until that is nothing.
    #[test]
    fn cooperation_takes_two_steps_and_never_gives_what_another_reads(
        (sizes, mut members) in small_group(),
        stale in prop::collection::vec((0..3_usize, 0..3_usize, 0..4_u32, 0..4_i32), 0..4),
    ) {
        for (id, at, index, of) in stale {
            let id = id % members.len();
            members[id].generation = generation(of);
            members[id].owned.push(partition(at, index));
            members[id].owned.sort();
            members[id].owned.dedup();
        }
        let counts = counts(&sizes);
        let sticky = Assignor::Sticky.assign(&members, &counts);
        for step in 0.. {
            let given = Assignor::CooperativeSticky.assign(&members, &counts);
            for (taker, given) in given.iter().enumerate() {
                for given in given.iter().filter(|given| !members[taker].owned.contains(given)) {
                    let reader = members.iter().position(|member| member.owned.contains(given));
                    prop_assert_eq!(reader, None, "{:?} goes to {}", given, taker);
                }
            }
            let mut exists = members.iter().flat_map(|member| &member.owned).filter(|owned| {
                counts.get(&owned.topic).is_some_and(|count| owned.partition.get() < *count)
            });
            let is_disputed = exists.any(|owned| {
                members.iter().filter(|member| member.owned.contains(owned)).count() > 1
            });
            let is_over = moves(&members, &given) == 0;
            adopt(&mut members, given.clone(), 10 + step);
            if is_over {
                prop_assert!(step < 3, "{step} steps");
                prop_assert!(!is_disputed);
                // As even as the sticky assignment, though perhaps with other partitions.
                let loads = |given: &[Vec<TopicPartition>]| given.iter().map(|given| given.len().pow(2)).sum::<usize>();
                prop_assert_eq!(loads(&given), loads(&sticky));
                break;
            }
        }
    }

    /// Nobody who keeps a partition in the end was without it in between.
    #[test]
    fn cooperation_never_interrupts_what_stays((sizes, mut members) in small_group()) {
        let counts = counts(&sizes);
        let sticky = Assignor::Sticky.assign(&members, &counts);
        let first = Assignor::CooperativeSticky.assign(&members, &counts);
        for (at, member) in members.iter().enumerate() {
            let stays: Vec<_> = member.owned.iter().filter(|owned| sticky[at].contains(owned)).collect();
            prop_assert!(stays.into_iter().all(|stays| first[at].contains(stays)));
        }
        adopt(&mut members, first.clone(), 2);
        let second = Assignor::CooperativeSticky.assign(&members, &counts);
        prop_assert_eq!(moves(&members, &second), 0);
        prop_assert_eq!(second.iter().map(Vec::len).sum::<usize>(), sticky.iter().map(Vec::len).sum::<usize>());
        // `first` is sorted, and so is what it grew to.
        for (first, second) in first.iter().zip(&second) {
            prop_assert!(first.iter().all(|kept| second.binary_search(kept).is_ok()));
        }
    }
}
