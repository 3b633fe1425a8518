//! Who has which partition of a group, as its members are told: when it has settled, and what has moved.
//!
//!     member 2 joins    0 0 0 1 1 1 ─▶ 0 0 . 1 1 . ─▶ 0 0 2 1 1 2      settled: every partition has an owner,
//!                                                                      and nobody has two more than another
//!                       moved 2, and 2 is the minimum: 3 3 0 has to become 2 2 2
//!
//! Pure: events and the time go in.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Moment;

/// A member of a group, counted from 0 in the order in which they were started.
pub type MemberAt = usize;

/// By partition.
pub type Owners = Vec<Option<MemberAt>>;

/// The partitions of one topic, and the members of one group that are to share them.
#[derive(Debug)]
pub struct Ownership {
    owners: Owners,
    /// Who is to be there, and whether it was assigned something yet, if only nothing.
    members: BTreeMap<MemberAt, bool>,
    /// When an owner changed, or a member was first heard of, for the last time.
    changed_at: Moment,
    /// Partitions that were taken from members.
    taken: u64,
}

impl Ownership {
    pub fn new(partitions: u32, now: Moment) -> Ownership {
        let owners = vec![None; partitions as usize];
        Ownership { owners, members: BTreeMap::new(), changed_at: now, taken: 0 }
    }

    /// One more is to be there.
    pub fn expect(&mut self, member: MemberAt) {
        self.members.insert(member, false);
    }

    /// One is not to be there any longer; what it has must go to others.
    pub fn dismiss(&mut self, member: MemberAt) {
        self.members.remove(&member);
    }

    pub fn handle_assigned(
        &mut self,
        member: MemberAt,
        partitions: impl Iterator<Item = usize>,
        now: Moment,
    ) {
        for partition in partitions {
            self.owners[partition] = Some(member);
            self.changed_at = now;
        }
        if let Some(is_in) = self.members.get_mut(&member).filter(|is_in| !**is_in) {
            *is_in = true;
            self.changed_at = now;
        }
    }

    /// What another was given meanwhile stays with that one.
    pub fn handle_taken(&mut self, member: MemberAt, partitions: impl Iterator<Item = usize>, now: Moment) {
        for partition in partitions {
            if self.owners[partition] == Some(member) {
                self.owners[partition] = None;
                self.changed_at = now;
                self.taken += 1;
            }
        }
    }

    /// Whether everybody is in, every partition has an owner, and all have the same number or one less.
    pub fn is_settled(&self) -> bool {
        let mut loads: BTreeMap<MemberAt, usize> = self.members.keys().map(|member| (*member, 0)).collect();
        let counted = self.owners.iter().all(|owner| {
            let load = owner.and_then(|owner| loads.get_mut(&owner));
            load.map(|load| *load += 1).is_some()
        });
        let (least, most) = (loads.values().min(), loads.values().max());
        let is_even = least.zip(most).is_none_or(|(least, most)| most - least <= 1);
        counted && is_even && self.members.values().all(|is_in| *is_in)
    }

    /// When it settled, if it has.
    pub fn changed_at(&self) -> Moment {
        self.changed_at
    }

    pub fn taken(&self) -> u64 {
        self.taken
    }

    pub fn owners(&self) -> Owners {
        self.owners.clone()
    }

    /// The fewest partitions that have to move from `before` for those who are to be there now to have
    /// the same number, or one less: all of members that are gone, and what others have too much.
    pub fn minimum_moves(&self, before: &Owners) -> usize {
        let members: BTreeSet<MemberAt> = self.members.keys().copied().collect();
        let stay = |member: &&MemberAt| members.contains(*member);
        let kept: Vec<MemberAt> = before.iter().flatten().filter(stay).copied().collect();
        let mut loads: Vec<usize> =
            members.iter().map(|member| kept.iter().filter(|owner| *owner == member).count()).collect();
        loads.sort_unstable_by(|a, b| b.cmp(a));
        let count = members.len().max(1);
        let (share, more) = (before.len() / count, before.len() % count);
        // Those who have most may keep one more.
        let targets = (0..).map(|at| share + usize::from(at < more));
        let surplus: usize =
            loads.iter().zip(targets).map(|(load, target)| load.saturating_sub(target)).sum();
        before.len() - kept.len() + surplus
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(u64) -> Moment = Moment::from_ns;

    /// Members 0 and 1 with three partitions each, at 10 ns.
    fn two_with_three() -> Ownership {
        let mut group = Ownership::new(6, AT(0));
        group.expect(0);
        group.expect(1);
        group.handle_assigned(0, 0..3, AT(5));
        assert!(!group.is_settled());
        group.handle_assigned(1, 3..6, AT(10));
        group
    }

    #[test]
    fn a_group_has_settled_when_all_is_owned_and_even() {
        let mut group = two_with_three();
        assert_eq!((group.is_settled(), group.changed_at()), (true, AT(10)));
        group.expect(2);
        assert!(!group.is_settled(), "one is to come");
        group.handle_taken(0, 2..3, AT(20));
        group.handle_assigned(2, 2..3, AT(30));
        assert!(!group.is_settled(), "2 3 1 is not even");
        group.handle_taken(1, 5..6, AT(40));
        assert!(!group.is_settled(), "a partition without an owner");
        group.handle_assigned(2, 5..6, AT(50));
        assert_eq!((group.is_settled(), group.changed_at(), group.taken()), (true, AT(50), 2));
    }

    #[test]
    fn a_member_without_partitions_is_in_once_it_is_told_so() {
        let mut group = Ownership::new(1, AT(0));
        (0..2).for_each(|member| group.expect(member));
        group.handle_assigned(1, 0..1, AT(1));
        assert!(!group.is_settled());
        group.handle_assigned(0, 0..0, AT(2));
        assert_eq!((group.is_settled(), group.changed_at()), (true, AT(2)));
        let mut nothing_to_read = Ownership::new(0, AT(0));
        nothing_to_read.expect(0);
        assert!(!nothing_to_read.is_settled());
        nothing_to_read.handle_assigned(0, 0..0, AT(1));
        assert!(nothing_to_read.is_settled());
    }

    #[test]
    fn what_one_has_who_left_is_to_be_given_away() {
        let mut group = two_with_three();
        group.dismiss(1);
        assert!(!group.is_settled());
        group.handle_assigned(0, 3..6, AT(20));
        group.handle_taken(1, 3..6, AT(30));
        assert_eq!((group.is_settled(), group.taken()), (true, 0), "given away before it was taken");
    }

    #[test]
    fn the_minimum_is_what_nobody_can_keep() {
        let mut group = two_with_three();
        let before = group.owners();
        assert_eq!(group.minimum_moves(&before), 0);
        group.expect(2);
        assert_eq!(group.minimum_moves(&before), 2, "3 3 0 to 2 2 2");
        group.expect(3);
        assert_eq!(group.minimum_moves(&before), 2, "3 3 0 0 to 2 2 1 1");
        group.dismiss(2);
        group.dismiss(3);
        group.dismiss(0);
        assert_eq!(group.minimum_moves(&before), 3);
        let none = vec![None; 6];
        assert_eq!(two_with_three().minimum_moves(&none), 6);
    }
}
