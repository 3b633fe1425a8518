//! Space ahead of the tail, in the active segment and in a spare file for the next one.
//!
//!     small rounds    ┄ len ┄┄┄┄ prepared ┄┄┄┄┄┄┄┄ limit      a write below `prepared` is a pure overwrite
//!                                  └── zeroes, then fdatasync ──▶
//!     spare           ┄┄┄┄┄┄┄┄┄ zeroes ┄┄┄┄┄┄┄┄▶              made once the active segment is half full
//!
//!     larger rounds   ┄ len ┄┄┄┄ reserved ┄┄┄┄┄┄┄┄ limit      a write below `reserved` lengthens nothing
//!                                  └── extents ──▶
//!     at full speed   ┄ len                                   the file grows as it is written
//!
//! Steps grow with the log's rate. A log that takes a record now and then gets none: 128 KiB of zeroes
//! for each of 10,000 quiet partitions would be 1.3 GB and 10,000 flushes.

use std::time::{Duration, Instant};

use protocol::model::Offset;

use super::plan::{PreparePlan, PrepareTarget, PrepareWith};
use super::{Log, LogState};
use crate::disk::{BLOCK, Buf, align_up};

/// Zeroes are written ahead for what the log takes in this time, within the two sizes below.
const PREPARE_AHEAD: Duration = Duration::from_millis(50);
const PREPARE_BYTES_MIN: u64 = 128 << 10;
const PREPARE_BYTES_MAX: u64 = 16 << 20;

/// Extents are reserved for what the log takes in this time, within the two sizes below.
const RESERVE_AHEAD: Duration = Duration::from_millis(500);
const RESERVE_BYTES_MIN: u64 = 512 << 10;

/// A log that takes more than this in a second extends its file as it writes. It is alone or nearly
/// so, has one write at a time, and the disk takes as long for that either way; but a reservation
/// waits for the file's writes and they for it (p99 of an open loop 2.9 -> 10.9 ms).
const RESERVE_RATE_MAX: u64 = 16 << 20;

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
    /// Where the active segment's extents end, as far as they were reserved.
    reserved: u64,
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
        (self.ahead, self.reserved, self.given_up) = (None, 0, false);
        prepared
    }

    /// Whether zeroes on their way could land on what is written below `end` of a segment.
    pub fn reaches(&self, segment: Offset, end: u64) -> bool {
        self.in_progress.is_some_and(|plan| {
            plan.with == PrepareWith::Zeroes
                && plan.target == PrepareTarget::Segment(segment)
                && plan.from < end
        })
    }

    /// Whether a file of the segment is being prepared.
    pub fn touches(&self, segment: Offset) -> bool {
        self.in_progress.is_some_and(|plan| plan.target == PrepareTarget::Segment(segment))
    }

    /// Bytes of zeroes to write at once: what the log takes in [`PREPARE_AHEAD`].
    fn zeroes_step(&self) -> u64 {
        let bytes = (self.rate.per_second * PREPARE_AHEAD.as_secs_f64()) as u64;
        bytes.clamp(PREPARE_BYTES_MIN, PREPARE_BYTES_MAX).next_power_of_two()
    }

    /// Bytes of extents to reserve at once: what the log takes in [`RESERVE_AHEAD`].
    fn extents_step(&self) -> u64 {
        let bytes = (self.rate.per_second * RESERVE_AHEAD.as_secs_f64()) as u64;
        bytes.max(RESERVE_BYTES_MIN).next_power_of_two()
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
    /// Bytes in a round; before the first window is over, of the rounds so far.
    fn round(&self) -> u64 {
        match (self.per_round, self.bytes.checked_div(self.rounds)) {
            (0, Some(so_far)) => so_far,
            (per_round, _) => per_round,
        }
    }

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

    /// Space to prepare ahead of the tail, if it is time to. Perform one at a time.
    pub fn plan_prepare(&mut self) -> Option<PreparePlan> {
        let plan = self.next_preparation()?;
        self.prepare.in_progress = Some(plan);
        Some(plan)
    }

    fn next_preparation(&self) -> Option<PreparePlan> {
        let prepare = &self.prepare;
        let active = self.active();
        let idle = prepare.in_progress.is_none() && prepare.ahead.is_none() && !prepare.given_up;
        let worth = WORTH_PREPARING <= active.durable_len();
        if !self.config.prepare || self.state != LogState::Open || !idle || !worth {
            return None;
        }
        let reserving = self.config.reserve_rate_min..=RESERVE_RATE_MAX;
        match prepare.rate.round() {
            round if round <= self.config.zeroes_round_max => self.next_zeroes(),
            _ if reserving.contains(&(prepare.rate.per_second as u64)) => self.next_extents(),
            round if round <= self.config.zeroes_round_max.saturating_mul(2) => self.next_zeroes(),
            _ => None,
        }
    }

    fn next_extents(&self) -> Option<PreparePlan> {
        let active = self.active();
        let step = self.prepare.extents_step();
        let limit = align_up(self.config.segment_bytes);
        let from = align_up(active.len()).max(active.prepared()).max(self.prepare.reserved);
        let target = PrepareTarget::Segment(active.base());
        let is_near = from < active.len() + step / 2 && from < limit;
        is_near.then(|| PreparePlan {
            target,
            with: PrepareWith::Extents,
            from,
            to: (from + step).min(limit),
        })
    }

    fn next_zeroes(&self) -> Option<PreparePlan> {
        let (prepare, active) = (&self.prepare, self.active());
        let step = prepare.zeroes_step();
        let limit = align_up(self.config.segment_bytes);
        let with = PrepareWith::Zeroes;
        let from = align_up(active.len()).max(active.prepared());
        if active.prepared() < active.len() + 2 * step && from < limit {
            let target = PrepareTarget::Segment(active.base());
            return Some(PreparePlan { target, with, from, to: (from + step).min(limit) });
        }
        let half_full = self.config.segment_bytes / 2 <= active.len();
        (prepare.spare.is_none() && half_full).then(|| PreparePlan {
            target: PrepareTarget::Spare,
            with,
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
            PrepareTarget::Segment(segment) if segment != self.active().base() => {}
            PrepareTarget::Segment(_) if plan.with == PrepareWith::Extents => self.prepare.reserved = plan.to,
            PrepareTarget::Segment(_) => {
                self.prepare.ahead = Some(plan);
                self.join_prepared();
            }
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
