//! Space ahead of the tail: zeroes written before records come, in the active segment and in a spare
//! file for the next one.
//!
//!     active   ┄ len ┄┄┄┄ prepared ┄┄┄┄┄┄┄┄┄┄┄┄┄ limit        a write below `prepared` is a pure overwrite
//!                           └── zeroes, then fdatasync ──▶
//!     spare    ┄┄┄┄┄┄┄┄┄ zeroes ┄┄┄┄┄┄┄┄▶                     made once the active segment is half full
//!
//! Steps grow with the log's rate. A log that takes a record now and then gets none: 128 KiB of zeroes
//! for each of 10,000 quiet partitions would be 1.3 GB and 10,000 flushes. Nor does one that writes much
//! at a time: zeroes first and records over them are twice the bytes for the disk, and a large write
//! gains little by it (x0.6, docs/performance.md).

use std::time::{Duration, Instant};

use protocol::model::Offset;

use super::plan::{PreparePlan, PrepareTarget};
use super::{Log, LogState};
use crate::disk::{BLOCK, Buf, align_up};

/// Zeroes are written ahead for what the log takes in this time, within the two sizes below.
const PREPARE_AHEAD: Duration = Duration::from_millis(50);
const PREPARE_BYTES_MIN: u64 = 128 << 10;
const PREPARE_BYTES_MAX: u64 = 16 << 20;

/// A log that writes more than this in a round extends its file as it does.
const PREPARE_ROUND_MAX: u64 = 64 << 10;

/// How long what a log takes is added up before it is taken for its rate.
const RATE_WINDOW: Duration = Duration::from_millis(50);

/// A segment shorter than this is not worth preparing for.
const WORTH_PREPARING: u64 = 2 * BLOCK as u64;

#[derive(Default)]
pub struct Preparation {
    in_progress: Option<PreparePlan>,
    /// A prepared range that begins above the segment's `prepared`, until that has caught up.
    ahead: Option<PreparePlan>,
    /// How much of the spare file is written, if there is one.
    spare: Option<u64>,
    rate: Rate,
    /// Set after a failure; appends then extend the file themselves.
    given_up: bool,
}

impl Preparation {
    /// A round wrote so many bytes of the log, at `now`.
    pub fn count_written(&mut self, bytes: u64, now: Instant) {
        self.rate.count(bytes, now);
    }

    /// A new segment begins. If it takes over the spare file, how much of that is prepared.
    pub fn begin_segment(&mut self) -> Option<u64> {
        let prepared = self.spare.take();
        (self.ahead, self.given_up) = (None, false);
        prepared
    }

    /// Whether zeroes on their way could land on what is written below `end` of a segment.
    pub fn reaches(&self, segment: Offset, end: u64) -> bool {
        self.in_progress
            .is_some_and(|zeroes| zeroes.target == PrepareTarget::Segment(segment) && zeroes.from < end)
    }

    /// Whether a file of the segment is being prepared.
    pub fn touches(&self, segment: Offset) -> bool {
        self.reaches(segment, u64::MAX)
    }

    /// Bytes to prepare at once: what the log takes in [`PREPARE_AHEAD`].
    fn step(&self) -> u64 {
        let bytes = (self.rate.per_second * PREPARE_AHEAD.as_secs_f64()) as u64;
        bytes.clamp(PREPARE_BYTES_MIN, PREPARE_BYTES_MAX).next_power_of_two()
    }
}

/// Bytes in a second and in a round, over the last whole [`RATE_WINDOW`].
#[derive(Default)]
struct Rate {
    since: Option<Instant>,
    bytes: u64,
    rounds: u64,
    per_second: f64,
    per_round: u64,
}

impl Rate {
    fn count(&mut self, bytes: u64, now: Instant) {
        let since = *self.since.get_or_insert(now);
        self.bytes += bytes;
        self.rounds += 1;
        let elapsed = now.saturating_duration_since(since);
        if RATE_WINDOW <= elapsed {
            self.per_second = self.bytes as f64 / elapsed.as_secs_f64();
            self.per_round = self.bytes / self.rounds;
            (self.since, self.bytes, self.rounds) = (Some(now), 0, 0);
        }
    }
}

impl<B: Buf> Log<B> {
    /// Whether `plan_prepare` would find something.
    pub fn wants_preparation(&self) -> bool {
        self.next_preparation().is_some()
    }

    /// Zeroes to write ahead of the tail, if it is time to. Perform one at a time.
    pub fn plan_prepare(&mut self) -> Option<PreparePlan> {
        let plan = self.next_preparation()?;
        self.prepare.in_progress = Some(plan);
        Some(plan)
    }

    fn next_preparation(&self) -> Option<PreparePlan> {
        let prepare = &self.prepare;
        let active = self.active();
        let idle = prepare.in_progress.is_none() && prepare.ahead.is_none() && !prepare.given_up;
        let worth = WORTH_PREPARING <= active.durable_len() && prepare.rate.per_round <= PREPARE_ROUND_MAX;
        if !self.config.prepare || self.state != LogState::Open || !idle || !worth {
            return None;
        }
        let step = prepare.step();
        let limit = align_up(self.config.segment_bytes);
        let from = align_up(active.len()).max(active.prepared());
        if active.prepared() < active.len() + 2 * step && from < limit {
            let target = PrepareTarget::Segment(active.base());
            return Some(PreparePlan { target, from, to: (from + step).min(limit) });
        }
        let half_full = self.config.segment_bytes / 2 <= active.len();
        (prepare.spare.is_none() && half_full).then(|| PreparePlan {
            target: PrepareTarget::Spare,
            from: 0,
            to: (2 * step).min(limit),
        })
    }

    /// A preparation was written and synced, or it failed and the log goes on without.
    pub fn handle_prepared(&mut self, plan: PreparePlan, done: bool) {
        assert_eq!(self.prepare.in_progress, Some(plan), "BUG: a preparation that was not planned");
        self.prepare.in_progress = None;
        match plan.target {
            _ if !done => self.prepare.given_up = true,
            PrepareTarget::Spare => self.prepare.spare = Some(plan.to),
            PrepareTarget::Segment(segment) if segment == self.active().base() => {
                self.prepare.ahead = Some(plan);
                self.join_prepared();
            }
            PrepareTarget::Segment(_) => {}
        }
    }

    /// Once everything below a prepared range is durable, the range belongs to the prefix.
    pub(super) fn join_prepared(&mut self) {
        if let Some(ahead) = self.prepare.ahead
            && ahead.target == PrepareTarget::Segment(self.active().base())
            && ahead.from <= self.active().prepared()
        {
            self.active_mut().mark_prepared(ahead.to);
            self.prepare.ahead = None;
        }
    }
}
