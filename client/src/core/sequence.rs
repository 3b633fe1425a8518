//! Who a producer is to the broker, and the sequence of each batch of one partition.
//!
//!     identity (id 4000, epoch 0)   batches   0 ‥ 9 │ 10 ‥ 14 │ 15 ‥ 21 │ next = 22
//!     a batch is given up           batches   0 ‥ 9 │ ~~~~~~~ │ 15 ‥ 21 │ closed: nothing new begins
//!     all that was sent is settled  identity (id 4000, epoch 1), next = 0
//!
//! The broker stores a batch if it follows the last one it has of this identity, answers it again if
//! it is one of the last five, and refuses everything else. So a batch keeps its bytes over all tries,
//! and is stored once. What is left to decide is what happens behind a batch that got a sequence and
//! was given up, because of its delivery timeout or because the broker refuses it for good: it leaves a
//! *hole*, and the epoch is of no use to batches behind it.
//!
//! **Nothing new begins behind a hole.** Batches that were never sent wait until each that was sent has
//! its outcome, and then begin at 0 under the next epoch. They cannot be in the log before, and not
//! twice after.
//!
//! **Batches that were sent already** go on being tried as they are. If what is missing was stored after
//! all, they are taken. If it was not, the first of them is refused as out of order, and that says: it
//! is not in the log now, nor is any behind it. Whether it can still come into the log under its old
//! sequence decides:
//!
//! - The hole is certain, the missing batch never can be stored (every try of it was answered with a
//!   refusal): then nothing behind it can, and all of them begin again under the next epoch.
//! - The hole is a maybe (some try of the missing batch got no answer and may yet be read from a lost
//!   connection), but each try of this batch was answered: then it cannot come later either, and
//!   whatever stands behind it needs it. All of them begin again as well.
//! - The hole is a maybe and so is a try of this batch: sent again it could be stored twice. It fails,
//!   and says that it may have been applied. The next batch is judged in its turn.
//!
//! A first batch that is refused as out of order without a hole: the broker has lost what it knew of the
//! producer (it was silent for longer than `producer.id.expiration.ms`, the topic was made anew, or a
//! machine without flushes lost its tail). Everything before is settled, so it begins again too.
//!
//! The epoch is the producer's, sequences are the partition's: a partition takes the newest epoch when
//! it needs one and nothing of its own is unsettled; the others go on with theirs.

use protocol::model::{ProducerEpoch, ProducerId, RecordCount, Sequence};

/// What InitProducerId gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    pub id: ProducerId,
    pub epoch: ProducerEpoch,
}

/// What a batch carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    pub identity: Identity,
    /// Of its first record.
    pub sequence: Sequence,
}

impl Stamp {
    /// Of the batch that follows one of so many records.
    fn behind(self, records: RecordCount) -> Stamp {
        Stamp { identity: self.identity, sequence: self.sequence.after(records) }
    }
}

/// Whether a batch that left a hole can still be stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Hole {
    Certain,
    Maybe,
}

/// The sequences of one partition.
#[derive(Debug, Default)]
pub struct Sequencer {
    /// What the next batch gets that is sent for the first time; `None` before the first identity.
    next: Option<Stamp>,
    /// Batches that were sent under this identity and have no outcome.
    unsettled: usize,
    hole: Option<Hole>,
}

impl Sequencer {
    /// Whether a batch may be sent for the first time.
    pub fn may_begin(&self) -> bool {
        self.next.is_some() && self.hole.is_none()
    }

    /// Whether nothing can begin before there is another identity, and nothing else is waited for.
    pub fn wants_identity(&self) -> bool {
        !self.may_begin() && self.unsettled == 0
    }

    /// Takes an identity if it needs one and this one is new to it.
    pub fn offer(&mut self, identity: Identity) {
        let is_new = self.next.is_none_or(|next| next.identity != identity);
        if self.wants_identity() && is_new {
            let next = Some(Stamp { identity, sequence: Sequence::FIRST });
            *self = Sequencer { next, unsettled: 0, hole: None };
        }
    }

    /// What a batch that is built now will carry if nothing goes wrong before it is sent. `last` is the
    /// batch that waits in front of it, if one does.
    pub fn foretell(&self, last: Option<(Option<Stamp>, RecordCount)>) -> Option<Stamp> {
        let next = self.next.filter(|_| self.hole.is_none())?;
        match last {
            None => Some(next),
            Some((stamp, records)) => {
                stamp.filter(|stamp| stamp.identity == next.identity).map(|stamp| stamp.behind(records))
            }
        }
    }

    /// What the next batch carries, which is sent now for the first time.
    pub fn begin(&mut self, records: RecordCount) -> Stamp {
        assert!(self.may_begin(), "BUG: a batch begins without an identity, or behind a hole");
        let stamp = self.next.expect("BUG: may_begin() has seen it");
        self.next = Some(stamp.behind(records));
        self.unsettled += 1;
        stamp
    }

    /// A batch that was sent is in the log.
    pub fn stored(&mut self) {
        self.settle();
    }

    /// A batch that was sent is given up; `unsure` if one of its tries may still be stored.
    pub fn lost(&mut self, unsure: bool) {
        self.settle();
        let hole = if unsure { Hole::Maybe } else { Hole::Certain };
        self.hole = self.hole.max(Some(hole));
    }

    /// Whether a batch that is the first without an outcome, and out of order, can still be stored as
    /// it was sent.
    pub fn may_come_later(&self, unsure: bool) -> bool {
        unsure && self.hole == Some(Hole::Maybe)
    }

    /// So many batches that were sent will begin again under another identity: none of them can be
    /// stored under this one.
    pub fn rewind(&mut self, batches: usize) {
        (0..batches).for_each(|_| self.settle());
        self.hole = self.hole.max(Some(Hole::Certain));
    }

    fn settle(&mut self) {
        self.unsettled = self.unsettled.checked_sub(1).expect("BUG: a batch is settled twice");
    }
}
