//! A run: the topic, an admin client to ask, and the steps that workloads have in common.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use ringlog_client::{Admin, Client};
use tokio::time::Instant;

use super::Place;
use super::control::{Control, Ends};
use super::counters::Counters;
use super::interrupts::Interrupts;
use super::progress;
use super::topic::Topic;
use super::usage::{Snapshot, Usage};
use super::watch::Watch;
use crate::clock::Moment;
use crate::flags::{Acks, Flags};
use crate::payload::Stamping;
use crate::report::interval::LineFormat;
use crate::verify::stamp::TIMED_LEN_MIN;

pub struct Run<'a> {
    pub flags: &'a Flags,
    pub place: &'a Place,
    pub admin: Admin,
    pub topic: Topic,
    interrupts: &'a Interrupts,
}

/// What was read when the measured part began.
pub struct Begin {
    pub at: Moment,
    snapshot: Snapshot,
    counters: Counters,
}

impl<'a> Run<'a> {
    pub async fn prepare(flags: &'a Flags, place: &'a Place, interrupts: &'a Interrupts) -> Result<Run<'a>> {
        let client = Client::connect(place.bootstrap.as_str());
        let client = client.await.with_context(|| format!("cannot connect to {}", place.bootstrap))?;
        let admin = client.admin();
        let topic = Topic::ensure(&admin, flags).await?;
        Ok(Run { flags, place, admin, topic, interrupts })
    }

    /// Takes the topic away if this run made it.
    pub async fn clean_up(&self) {
        if self.topic.is_ours
            && let Err(error) = self.admin.delete_topic(&self.topic.name).await
        {
            eprintln!("cannot delete topic {}: {error}", self.topic.name);
        }
    }

    /// The control of a phase, which the first interrupt stops: the report still comes.
    pub fn control(&self) -> Arc<Control> {
        let control = Control::new();
        let stopped = Arc::clone(&control);
        let interrupt = self.interrupts.first();
        tokio::spawn(async move {
            interrupt.await;
            stopped.stop();
        });
        control
    }

    pub fn stamping(&self, for_end_to_end: bool) -> Stamping {
        match (self.flags.verify, for_end_to_end) {
            (true, _) => Stamping::Verify,
            (false, true) if self.flags.record_len() >= TIMED_LEN_MIN => Stamping::Time,
            (false, _) => Stamping::Nothing,
        }
    }

    pub fn watch(&self, format: LineFormat) -> Watch {
        println!("\n{}", format.heading());
        Watch::new(self.flags.interval, format)
    }

    /// Takes tasks through warm-up, the measured part and the drain, and watches them.
    ///
    /// They are stopped after `limit`, if there is one, and have ended when this returns.
    pub async fn measure<T>(
        &self,
        watch: &mut Watch,
        control: &Control,
        limit: Option<Duration>,
        mut tasks: Pin<&mut impl Future<Output = Result<T>>>,
    ) -> Result<(T, Begin)> {
        let warmup = self.flags.warmup();
        if warmup > Duration::ZERO {
            control.open();
            tokio::select! {
                ended = &mut tasks => return Ok((ended?, self.begin(watch, control).await?)),
                () = progress::slept("warming up", warmup) => {}
            }
        }
        let begin = self.begin(watch, control).await?;
        if warmup == Duration::ZERO {
            control.open();
        }
        let deadline = limit.map(|limit| Instant::now() + limit);
        let ended = match watch.until(deadline, tasks.as_mut()).await {
            Some(ended) => ended,
            None => {
                control.stop();
                watch.until(None, tasks).await.expect("BUG: without a deadline it ends with the tasks")
            }
        };
        Ok((ended?, begin))
    }

    /// The measured part begins: what was counted before is forgotten.
    pub async fn begin(&self, watch: &mut Watch, control: &Control) -> Result<Begin> {
        let counters = Counters::ask(&self.admin).await?;
        let snapshot = Snapshot::take(self.place)?;
        control.begin();
        Ok(Begin { at: watch.begin(), snapshot, counters })
    }

    /// What the broker and this process used since then.
    pub async fn usage_since(&self, begin: &Begin) -> Result<Usage> {
        let usage = Usage::since(&begin.snapshot, self.place)?;
        let counters = Counters::ask(&self.admin).await?.since(&begin.counters);
        Ok(Usage { counters, ..usage })
    }

    /// Where consumers of what was just sent are through.
    pub async fn ends(&self) -> Result<Ends> {
        match self.flags.acks {
            Acks::None => self.topic.resting_ends(&self.admin).await,
            Acks::Leader | Acks::All => self.topic.ends(&self.admin).await,
        }
    }
}
