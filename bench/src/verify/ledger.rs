//! What was sent and what arrived, and how the two compare.
//!
//!     Sent        of one producer       how many · acked ■■□■■■
//!     Received    of one consumer       by producer: seen ■■□■■■ · by (producer, partition): the last one
//!     Verdict     of the whole run      lost = acked and not seen
//!
//! Each task owns its ledger; they meet at the end. Two consumers that saw the same record make one
//! duplicate, like one consumer that saw it twice.

use std::collections::HashMap;
use std::fmt;

use super::bitmap::Bitmap;
use super::stamp::Stamp;

/// One producer's side.
#[derive(Debug, Default)]
pub struct Sent {
    sequences: u64,
    acked: Bitmap,
}

impl Sent {
    pub fn acked(&mut self, sequence: u64) {
        self.acked.insert(sequence);
    }

    /// The producer has sent sequences 0 to `count` - 1, and nothing else.
    pub fn finish(&mut self, count: u64) {
        assert!(self.acked.len_below(count) == self.acked.len(), "BUG: a record was acked and never sent");
        self.sequences = count;
    }
}

/// One consumer's side.
#[derive(Debug, Default)]
pub struct Received {
    /// By producer.
    seen: Vec<Bitmap>,
    last: HashMap<(u32, u32), u64>,
    duplicated: u64,
    reordered: u64,
    corrupt: u64,
}

impl Received {
    pub fn of_producers(count: usize) -> Received {
        Received { seen: vec![Bitmap::default(); count], ..Received::default() }
    }

    /// A record arrived from `partition`. Returns its stamp if it is one of ours.
    pub fn observe(&mut self, partition: u32, record: &[u8]) -> Option<Stamp> {
        let is_ours =
            |stamp: &Stamp| (stamp.producer as usize) < self.seen.len() && stamp.sequence < SEQUENCES_MAX;
        let stamp = Stamp::read_checked(record).filter(is_ours);
        let Some(stamp) = stamp else {
            self.corrupt += 1;
            return None;
        };
        if !self.seen[stamp.producer as usize].insert(stamp.sequence) {
            self.duplicated += 1;
            return Some(stamp);
        }
        let last = self.last.entry((stamp.producer, partition)).or_insert(stamp.sequence);
        if stamp.sequence < *last {
            self.reordered += 1;
        } else {
            *last = stamp.sequence;
        }
        Some(stamp)
    }

    fn merge(&mut self, other: &Received) {
        for (mine, theirs) in self.seen.iter_mut().zip(&other.seen) {
            self.duplicated += mine.merge(theirs);
        }
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.corrupt += other.corrupt;
    }
}

/// The counts of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Verdict {
    pub sent: u64,
    pub acked: u64,
    pub received: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub corrupt: u64,
}

impl Verdict {
    /// `sent` in the order of the producers' numbers.
    pub fn of(sent: &[Sent], received: &[Received]) -> Verdict {
        let mut all = Received::of_producers(sent.len());
        received.iter().for_each(|one| all.merge(one));
        let of_each = |count: fn(&Sent, &Bitmap) -> u64| -> u64 {
            sent.iter().zip(&all.seen).map(|(sent, seen)| count(sent, seen)).sum()
        };
        // A sequence that nobody sent, under a checksum that is right: not what was sent either.
        let invented = of_each(|sent, seen| seen.len() - seen.len_below(sent.sequences));
        Verdict {
            sent: of_each(|sent, _| sent.sequences),
            acked: of_each(|sent, _| sent.acked.len()),
            received: of_each(|_, seen| seen.len()) - invented,
            lost: of_each(|sent, seen| sent.acked.count_missing_in(seen)),
            duplicated: all.duplicated,
            reordered: all.reordered,
            corrupt: all.corrupt + invented,
        }
    }

    /// Of two topics together.
    pub fn plus(self, other: Verdict) -> Verdict {
        Verdict {
            sent: self.sent + other.sent,
            acked: self.acked + other.acked,
            received: self.received + other.received,
            lost: self.lost + other.lost,
            duplicated: self.duplicated + other.duplicated,
            reordered: self.reordered + other.reordered,
            corrupt: self.corrupt + other.corrupt,
        }
    }

    /// Everything arrived once.
    pub fn is_clean(self) -> bool {
        self.is_at_least_once() && self.duplicated == 0
    }

    /// Everything arrived, in order, if perhaps more than once: what a group promises over a rebalance.
    pub fn is_at_least_once(self) -> bool {
        self.lost == 0 && self.reordered == 0 && self.corrupt == 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { sent, acked, received, lost, duplicated, reordered, corrupt } = self;
        write!(f, "verify: sent {sent} acked {acked} received {received} | ")?;
        write!(f, "lost {lost} duplicated {duplicated} reordered {reordered} corrupt {corrupt}")
    }
}

/// Of one producer, so that no stranger's record makes the bitmap larger than 1 GiB.
const SEQUENCES_MAX: u64 = 1 << 33;

#[cfg(test)]
mod tests {
    use super::super::stamp;
    use super::*;

    fn record(producer: u32, sequence: u64) -> Vec<u8> {
        let mut record = vec![9; 40];
        Stamp { producer, sequence, sent_at: None }.write(&mut record);
        stamp::seal(&mut record);
        record
    }

    fn sent(count: u64, unacked: &[u64]) -> Sent {
        let mut sent = Sent::default();
        (0..count).filter(|sequence| !unacked.contains(sequence)).for_each(|sequence| sent.acked(sequence));
        sent.finish(count);
        sent
    }

    /// Producer 0 sent 5 records, all acked; `(partition, sequence)` arrived.
    fn verdict_of(arrivals: &[(u32, u64)]) -> Verdict {
        let mut received = Received::of_producers(1);
        for &(partition, sequence) in arrivals {
            received.observe(partition, &record(0, sequence));
        }
        Verdict::of(&[sent(5, &[])], &[received])
    }

    const ALL_FIVE: Verdict =
        Verdict { sent: 5, acked: 5, received: 5, lost: 0, duplicated: 0, reordered: 0, corrupt: 0 };

    #[test]
    fn everything_in_order_is_clean() {
        let verdict = verdict_of(&[(0, 0), (0, 1), (0, 2), (0, 3), (0, 4)]);
        assert_eq!((verdict, verdict.is_clean()), (ALL_FIVE, true));
        let line = "verify: sent 5 acked 5 received 5 | lost 0 duplicated 0 reordered 0 corrupt 0";
        assert_eq!(verdict.to_string(), line);
    }

    #[test]
    fn a_missing_record_is_lost() {
        let verdict = verdict_of(&[(0, 0), (0, 1), (0, 3), (0, 4)]);
        assert_eq!((verdict, verdict.is_clean()), (Verdict { received: 4, lost: 1, ..ALL_FIVE }, false));
    }

    #[test]
    fn a_missing_record_that_nobody_acknowledged_is_not_lost() {
        let mut received = Received::of_producers(1);
        received.observe(0, &record(0, 0));
        let verdict = Verdict::of(&[sent(2, &[1])], &[received]);
        let expected = Verdict { sent: 2, acked: 1, received: 1, ..Verdict::default() };
        assert_eq!((verdict, verdict.is_clean()), (expected, true));
    }

    #[test]
    fn a_record_that_arrives_twice_is_duplicated_and_not_reordered() {
        let verdict = verdict_of(&[(0, 0), (0, 1), (0, 2), (0, 1), (0, 3), (0, 4)]);
        assert_eq!((verdict, verdict.is_clean()), (Verdict { duplicated: 1, ..ALL_FIVE }, false));
        assert!(verdict.is_at_least_once());
        assert!(!verdict_of(&[(0, 0), (0, 0), (0, 1), (0, 2), (0, 3)]).is_at_least_once(), "one is lost");
    }

    #[test]
    fn order_is_held_within_a_partition_only() {
        let verdict = verdict_of(&[(0, 0), (0, 2), (0, 1), (0, 3), (0, 4)]);
        assert_eq!((verdict, verdict.is_clean()), (Verdict { reordered: 1, ..ALL_FIVE }, false));
        assert_eq!(verdict_of(&[(0, 0), (0, 2), (1, 1), (0, 3), (0, 4)]), ALL_FIVE);
    }

    #[test]
    fn a_damaged_record_is_corrupt_and_lost() {
        let mut received = Received::of_producers(1);
        let mut damaged = record(0, 0);
        damaged[30] ^= 1;
        assert_eq!(received.observe(0, &damaged), None);
        let verdict = Verdict::of(&[sent(1, &[])], &[received]);
        assert_eq!((verdict.received, verdict.lost, verdict.corrupt, verdict.is_clean()), (0, 1, 1, false));
    }

    #[test]
    fn a_record_that_nobody_sent_is_corrupt() {
        let mut received = Received::of_producers(1);
        received.observe(0, &record(0, 0));
        received.observe(0, &record(0, 77));
        received.observe(0, &record(3, 0));
        let verdict = Verdict::of(&[sent(1, &[])], &[received]);
        assert_eq!((verdict.received, verdict.lost, verdict.corrupt), (1, 0, 2));
    }

    #[test]
    fn two_consumers_that_saw_the_same_record_make_a_duplicate() {
        let mut received = [Received::of_producers(2), Received::of_producers(2)];
        received[0].observe(0, &record(0, 0));
        received[1].observe(1, &record(1, 0));
        assert!(Verdict::of(&[sent(1, &[]), sent(1, &[])], &received).is_clean());
        received[1].observe(1, &record(0, 0));
        assert_eq!(Verdict::of(&[sent(1, &[]), sent(1, &[])], &received).duplicated, 1);
    }
}
