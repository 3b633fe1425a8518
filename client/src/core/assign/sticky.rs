//! "sticky": as even as it can be, and as few partitions moved as that takes.
//!
//!     claims ─▶ owners ─┬─ all subscribe alike ─▶ level (here)
//!                       └─ they do not ─────────▶ balance.rs
//!
//! With P partitions and M members that subscribe alike, everybody gets q = P / M, and r = P mod M of them
//! one more. Who owns more than q is first in line for the one more: no other choice keeps as much.
//!
//!     10 partitions      a owns 6   b owns 2   c owns 2   d is new          q = 2, r = 2
//!     targets            a 3        b 3        c 2        d 2               a lets go of 3, the fewest there are
//!
//! A partition that two members claim is that of the later generation; of the same generation, nobody's.

use std::cmp::Reverse;
use std::collections::VecDeque;

use super::{Claim, Given, MemberAt, PartitionAt, Problem, balance};

pub(super) fn assign(problem: &Problem) -> Given {
    let owners = owners(problem);
    let mut readers = (0..problem.member_count()).filter(|member| !problem.subscriptions[*member].is_empty());
    let Some(first) = readers.next() else { return owners };
    if readers.all(|reader| problem.subscriptions[reader] == problem.subscriptions[first]) {
        level(problem, &owners)
    } else {
        balance::assign(problem, &owners)
    }
}

/// Who owned each partition up to now, and may go on.
pub(super) fn owners(problem: &Problem) -> Given {
    let mut best: Vec<Option<(Claim, bool)>> = vec![None; problem.partition_count()];
    for claim in &problem.claims {
        let best = &mut best[claim.partition];
        match best {
            Some((other, _)) if claim.generation < other.generation => {}
            Some((other, disputed)) if claim.generation == other.generation => {
                *disputed |= claim.member != other.member;
            }
            _ => *best = Some((*claim, false)),
        }
    }
    let valid = |(claim, disputed): (Claim, bool)| {
        let is_subscribed = problem.is_subscribed(claim.member, problem.topic_of(claim.partition));
        (is_subscribed && !disputed).then_some(claim.member)
    };
    best.into_iter().map(|best| best.and_then(valid)).collect()
}

/// All who subscribe, subscribe to the same.
fn level(problem: &Problem, owners: &Given) -> Given {
    let owned = owned_by(problem, owners);
    let mut readers: Vec<MemberAt> =
        (0..problem.member_count()).filter(|member| !problem.subscriptions[*member].is_empty()).collect();
    let (each, more) = (owners.len() / readers.len(), owners.len() % readers.len());
    readers.sort_by_key(|member| (Reverse(owned[*member].len()), *member));
    let mut given = vec![None; owners.len()];
    let mut with_room = VecDeque::new();
    for (at, member) in readers.into_iter().enumerate() {
        let target = each + usize::from(at < more);
        let keeps = target.min(owned[member].len());
        owned[member][..keeps].iter().for_each(|partition| given[*partition] = Some(member));
        if keeps < target {
            with_room.push_back((member, target - keeps));
        }
    }
    // Dealt in turn, so that the partitions of one topic do not all go to one member.
    for taker in given.iter_mut().filter(|taker| taker.is_none()) {
        let (member, room) = with_room.pop_front().expect("BUG: targets add up to all partitions");
        *taker = Some(member);
        if room > 1 {
            with_room.push_back((member, room - 1));
        }
    }
    given
}

/// The partitions of each member, ascending.
pub(super) fn owned_by(problem: &Problem, owners: &Given) -> Vec<Vec<PartitionAt>> {
    let mut owned = vec![Vec::new(); problem.member_count()];
    for (partition, owner) in owners.iter().enumerate() {
        if let Some(owner) = owner {
            owned[*owner].push(partition);
        }
    }
    owned
}
