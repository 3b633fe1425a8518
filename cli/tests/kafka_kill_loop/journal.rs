//! What librdkafka reported, against what is found.
//!
//!     Fates of each writer ─┐
//!                           ├─▶ Findings: lost, duplicated, reordered
//!     partition 0: 0,1,2… ──┘
//!
//! Numbers of a producer ascend in each partition. A record is missing only if its report was an error, and
//! it is at the offset that was reported.

use std::collections::{BTreeMap, HashSet};

use crate::common::ledger::Stamp;
use crate::writer::{Fate, Fates, Writer};

/// A producer: its generation and which of them.
type Who = (u32, u32);

#[derive(Default)]
pub struct Journal(BTreeMap<Who, Fates>);

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Findings {
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
}

impl Journal {
    /// Waits for all reports of a writer. The broker has to be up.
    pub fn take(&mut self, writer: Writer) {
        let who = (writer.generation, writer.index);
        self.insert(who, writer.end());
    }

    fn insert(&mut self, who: Who, fates: Fates) {
        assert!(!fates.iter().flatten().any(|fate| *fate == Fate::Open), "a record was never reported");
        assert!(self.0.insert(who, fates).is_none(), "two writers have one name");
    }

    pub fn count(&self, is_wanted: impl Fn(Fate) -> bool) -> usize {
        self.0.values().flatten().flatten().filter(|fate| is_wanted(**fate)).count()
    }

    /// Compares with a whole partition. Each finding is printed, some of them at most.
    pub fn check(&self, partition: u32, found: &[Stamp]) -> Findings {
        let mut findings = Findings::default();
        let mut seen = HashSet::new();
        let mut last: BTreeMap<Who, u32> = BTreeMap::new();
        for (offset, stamp) in found.iter().enumerate() {
            let who = (stamp.cycle, stamp.producer);
            if !seen.insert(*stamp) {
                findings.duplicated += 1;
                tell(findings, partition, offset, stamp, "there for the second time");
                continue;
            }
            let before = last.insert(who, stamp.number);
            if before.is_some_and(|before| stamp.number <= before) {
                findings.reordered += 1;
                tell(findings, partition, offset, stamp, "behind a later one");
            }
            match self.fate(partition, stamp) {
                Some(Fate::At(reported)) if reported != offset as i64 => {
                    findings.reordered += 1;
                    tell(findings, partition, offset, stamp, &format!("reported at {reported}"));
                }
                Some(_) => {}
                None => panic!("partition {partition} at {offset}: {stamp:?} was never sent there"),
            }
        }
        for (stamp, fate) in self.of_partition(partition) {
            if matches!(fate, Fate::At(_) | Fate::Somewhere) && !seen.contains(&stamp) {
                findings.lost += 1;
                tell(findings, partition, found.len(), &stamp, &format!("not there, but reported {fate:?}"));
            }
        }
        findings
    }

    fn fate(&self, partition: u32, stamp: &Stamp) -> Option<Fate> {
        let fates = self.0.get(&(stamp.cycle, stamp.producer))?;
        fates.get(partition as usize)?.get(stamp.number as usize).copied()
    }

    fn of_partition(&self, partition: u32) -> impl Iterator<Item = (Stamp, Fate)> {
        self.0.iter().flat_map(move |(&(cycle, producer), fates)| {
            let stamp = move |number| Stamp { cycle, producer, number };
            (0..).map(stamp).zip(fates[partition as usize].iter().copied())
        })
    }
}

impl std::ops::AddAssign for Findings {
    fn add_assign(&mut self, more: Findings) {
        self.lost += more.lost;
        self.duplicated += more.duplicated;
        self.reordered += more.reordered;
    }
}

fn tell(findings: Findings, partition: u32, offset: usize, stamp: &Stamp, what: &str) {
    if findings.lost + findings.duplicated + findings.reordered <= TOLD_MAX {
        eprintln!("partition {partition} at {offset}: {stamp:?} is {what}");
    }
}

const TOLD_MAX: u64 = 10;

#[test]
fn a_journal_finds_what_it_is_for() {
    let sent = |fates: &[Fate]| {
        let mut journal = Journal::default();
        journal.insert((0, 1), vec![fates.to_vec()]);
        journal
    };
    let found = |numbers: &[u32]| -> Vec<Stamp> {
        numbers.iter().map(|number| Stamp { cycle: 0, producer: 1, number: *number }).collect()
    };
    let findings = |lost, duplicated, reordered| Findings { lost, duplicated, reordered };
    let clean = sent(&[Fate::At(0), Fate::Unknown, Fate::Somewhere]);
    assert_eq!(clean.check(0, &found(&[0, 1, 2])), findings(0, 0, 0));
    assert_eq!(clean.check(0, &found(&[0, 2])), findings(0, 0, 0));
    assert_eq!(clean.check(0, &found(&[0, 1])), findings(1, 0, 0));
    assert_eq!(clean.check(0, &found(&[])), findings(2, 0, 0));
    assert_eq!(clean.check(0, &found(&[0, 1, 1, 2])), findings(0, 1, 0));
    assert_eq!(clean.check(0, &found(&[0, 2, 1])), findings(0, 0, 1));
    assert_eq!(clean.check(0, &found(&[1, 0, 2])), findings(0, 0, 2), "out of order, and not where reported");
}
