//! One producer: makes records as told, hands them to its client, and counts what comes back.
//!
//!     schedule or window ─▶ payload, key ─▶ outlet ─▶ … ─▶ tally
//!
//! A closed loop sends as soon as the client's buffer, or the window of `--outstanding`, has room. An
//! open loop sends when the schedule says so and counts latency from then, whatever the delay.
//! Napkin: 4 M records/s leave 250 ns for each, the client's share included; ours is below 50 ns.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::sync::Semaphore;

use super::control::Control;
use super::keys::KeySource;
use super::lane::{Outcomes, Tally};
use super::outlet::{Outlet, Shipment, Target};
use super::pacer::Pacer;
use crate::clock::Moment;
use crate::flags::Flags;
use crate::meter::Meter;
use crate::payload::{Payload, Pool, Stamping};
use crate::schedule::Schedule;

/// What makes one producer different from the others.
pub struct Assignment {
    pub index: usize,
    /// In the stamps of its records: no other producer of the run has it.
    pub number: usize,
    /// Records to send once the warm-up is over; `None` until it is stopped.
    pub quota: Option<u64>,
    pub pool: Pool,
    pub stamping: Stamping,
    /// Each record to the next partition, not a batch of them.
    pub spread: bool,
    /// Latencies of acknowledgements.
    pub acks: Arc<Meter>,
    /// How late records of an open loop were sent.
    pub lags: Arc<Meter>,
}

/// What one producer did.
pub struct Report {
    pub number: usize,
    pub sent: u64,
    /// How long an open loop had to wait for the client's buffer.
    pub blocked: Duration,
    pub outcomes: Outcomes,
}

pub struct ProducerTask {
    control: Arc<Control>,
    outlet: Outlet,
    payload: Payload,
    keys: KeySource,
    partitions: Partitions,
    tally: Arc<Tally>,
    window: Option<Arc<Semaphore>>,
    index: usize,
    number: usize,
    producers: usize,
    blocked: Duration,
    pace: Option<(f64, Pacer)>,
    lags: Arc<Meter>,
    quota: Option<u64>,
    sent: u64,
    record_size: usize,
}

impl ProducerTask {
    pub fn new(
        target: &Target,
        flags: &Flags,
        partitions: u32,
        control: &Arc<Control>,
        this: Assignment,
    ) -> Result<ProducerTask> {
        let number = u32::try_from(this.number)?;
        let run = if this.spread { 1 } else { records_per_batch(flags) };
        let window = flags.outstanding.map(|records| Arc::new(Semaphore::new(records)));
        let tally = Arc::new(Tally::new(this.acks, flags.record_size, window.clone(), flags.verify));
        let pace = |rate| Pacer::new().map(|pacer| (rate, pacer)).context("cannot make a timer");
        Ok(ProducerTask {
            control: Arc::clone(control),
            outlet: Outlet::new(target, flags, partitions, &tally)?,
            payload: Payload::new(this.pool, flags.record_len(), this.stamping, number),
            keys: KeySource::new(flags.key, number, flags.seed),
            partitions: Partitions::new(partitions, number, run),
            tally,
            window,
            index: this.index,
            number: this.number,
            producers: flags.producers,
            blocked: Duration::ZERO,
            pace: flags.rate.map(pace).transpose()?,
            lags: this.lags,
            quota: this.quota,
            sent: 0,
            record_size: flags.record_len(),
        })
    }

    /// Sends until the quota is used up or the run is stopped, then waits for every outcome.
    pub async fn run(mut self) -> Result<Report> {
        self.send_all().await?;
        self.outlet.finish().await?;
        let mut outcomes = std::mem::take(&mut *self.tally.lock());
        outcomes.sent.iter_mut().for_each(|sent| sent.finish(self.sent));
        Ok(Report { number: self.number, sent: self.sent, blocked: self.blocked, outcomes })
    }

    async fn send_all(&mut self) -> Result<()> {
        let opened = self.control.opened().await;
        let mut paced = self.pace.take().map(|(rate, pacer)| Paced {
            schedule: Schedule::share(rate, self.index, self.producers, opened),
            pacer,
            lags: Arc::clone(&self.lags),
        });
        let mut clock = Clock::new(self.window.is_some());
        let mut since_yield = 0;
        while !self.control.is_stopped() && self.quota != Some(0) {
            if let Some(window) = &self.window {
                window.acquire().await.context("BUG: the window is never closed")?.forget();
            }
            let started = match &mut paced {
                Some(paced) => paced.next().await?,
                None => Some(clock.now()),
            };
            let Some(started) = started else { continue };
            let asked = paced.as_ref().map(|_| Moment::now());
            self.send(started).await?;
            if let Some(took) = asked.map(|asked| Moment::now().since(asked))
                && took > BLOCKED_MIN
                && self.control.is_measuring()
            {
                self.blocked += took;
            }
            if let Some(quota) = self.quota.as_mut().filter(|_| self.control.is_measuring()) {
                *quota -= 1;
            }
            since_yield += self.record_size + RECORD_COST;
            if since_yield > YIELD_BYTES {
                // The client's tasks share this thread; while the buffer has room nothing else
                // makes us wait for them.
                since_yield = 0;
                tokio::task::yield_now().await;
                clock.reset();
            }
        }
        Ok(())
    }

    async fn send(&mut self, started: Moment) -> Result<()> {
        let sequence = self.sent;
        let value = self.payload.next(sequence, started);
        let key = self.keys.next(sequence);
        let partition = self.partitions.choose(key.as_ref());
        self.outlet.send(Shipment { partition, key, value, sequence, started }).await?;
        self.sent += 1;
        Ok(())
    }
}

/// An open loop's time.
struct Paced {
    schedule: Schedule,
    pacer: Pacer,
    lags: Arc<Meter>,
}

impl Paced {
    /// Waits until a record is due and says when it was; `None` if it is not yet.
    async fn next(&mut self) -> Result<Option<Moment>> {
        let intended = self.schedule.next();
        self.pacer.wait_until(intended).await.context("the timer failed")?;
        let now = Moment::now();
        if now < intended {
            return Ok(None);
        }
        self.schedule.advance();
        self.lags.lock().record(now.ns_since(intended), 1, 0);
        Ok(Some(intended))
    }
}

/// Which partition a record goes to.
///
/// A ticket does not tell its partition before it is done, and lanes are by partition. So we choose
/// it here, as the client would: keyless records stay for a batch, keys are spread by their hash.
#[derive(Debug)]
struct Partitions {
    count: u32,
    current: u32,
    /// Records that make a batch, and how many more of them go to the current partition.
    run: u64,
    left: u64,
}

impl Partitions {
    fn new(count: u32, producer: u32, records_per_batch: u64) -> Partitions {
        let run = records_per_batch.max(1);
        Partitions { count, current: producer % count, run, left: run }
    }

    fn choose(&mut self, key: Option<&Bytes>) -> u32 {
        if let Some(key) = key {
            return crc32c::crc32c(key) % self.count;
        }
        if self.left == 0 {
            self.current = (self.current + 1) % self.count;
            self.left = self.run;
        }
        self.left -= 1;
        self.current
    }
}

/// How many records fill a batch: 61 bytes of header, about 10 bytes around each value.
fn records_per_batch(flags: &Flags) -> u64 {
    flags.batch_bytes.saturating_sub(61) / (flags.record_size + 10)
}

/// A clock that is read once for several records where records come by the million: then latencies
/// are a few microseconds long, never short.
struct Clock {
    is_exact: bool,
    last: Moment,
    uses: u32,
}

impl Clock {
    fn new(is_exact: bool) -> Clock {
        Clock { is_exact, last: Moment::now(), uses: 0 }
    }

    fn now(&mut self) -> Moment {
        if self.is_exact || self.uses.is_multiple_of(USES) {
            self.last = Moment::now();
        }
        self.uses += 1;
        self.last
    }

    /// The next look is at the real time: we have waited.
    fn reset(&mut self) {
        self.uses = 0;
    }
}

/// A batch's worth between two turns of the other tasks; an empty record counts too.
const YIELD_BYTES: usize = 64 << 10;
const RECORD_COST: usize = 64;
/// Handing a record to the client takes a microsecond, unless its buffer is full.
const BLOCKED_MIN: Duration = Duration::from_micros(200);
/// Records that share one reading of the clock.
const USES: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyless_records_stay_for_a_batch_and_go_round() {
        let mut partitions = Partitions::new(3, 1, 2);
        let chosen: Vec<u32> = (0..8).map(|_| partitions.choose(None)).collect();
        assert_eq!(chosen, [1, 1, 2, 2, 0, 0, 1, 1]);
    }

    #[test]
    fn a_key_has_one_partition_and_keys_have_many() {
        let mut partitions = Partitions::new(16, 0, 1);
        let mut of = |key: u64| partitions.choose(Some(&Bytes::copy_from_slice(&key.to_be_bytes())));
        assert_eq!(of(7), of(7));
        let all: std::collections::HashSet<u32> = (0..1000).map(of).collect();
        assert_eq!(all.len(), 16);
    }

    #[test]
    fn a_coarse_clock_is_late_by_a_few_records_at_most() {
        let mut clock = Clock::new(false);
        let first = clock.now();
        assert!((1..USES).all(|_| clock.now() == first));
        while Moment::now() == first {}
        assert!(clock.now() > first);
    }
}
