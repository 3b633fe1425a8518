//! A bar on the terminal while something goes on that prints no lines.
//!
//!     filling ━━━━━━━━━━━━━━╸━━━━━━━━━━━ 412,000/1,048,576 records, 201,331/s, 3s left
//!
//! On stderr, and only if that is a terminal: what is piped or kept has no bars in it.

use std::fmt::Write;
use std::future::Future;
use std::io::IsTerminal;
use std::pin::pin;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use tokio::time::Instant;

use crate::meter::Meters;
use crate::units::thousands;

/// Shows how `work` comes on towards `records`, as `meters` count them.
pub async fn shown<T>(
    what: &'static str,
    records: u64,
    mut meters: Meters,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    let bar = bar(what, records);
    if bar.is_hidden() {
        return work.await;
    }
    let mut ticks = tokio::time::interval(EVERY);
    let result = loop {
        tokio::select! {
            biased;
            result = &mut work => break result,
            _ = ticks.tick() => bar.inc(meters.take_interval().records),
        }
    };
    bar.finish_and_clear();
    result
}

/// Sleeps, and shows how long yet.
pub async fn slept(what: &'static str, time: Duration) {
    let bar = bar(what, 0).with_style(style(TEMPLATE_OF_TIME));
    if bar.is_hidden() || time < SHOWN_MIN {
        return tokio::time::sleep(time).await;
    }
    bar.set_length(time.as_millis() as u64);
    // Cleared by its end, also where nobody waits for this any longer.
    let _cleared = Cleared(bar.clone());
    let end = Instant::now() + time;
    while let left = end.saturating_duration_since(Instant::now())
        && left > Duration::ZERO
    {
        bar.set_position((time - left.min(time)).as_millis() as u64);
        tokio::time::sleep(left.min(EVERY)).await;
    }
}

/// Says what goes on until the result is dropped.
pub fn said(what: &'static str) -> impl Drop {
    let bar = bar(what, 0).with_style(style("{msg}"));
    bar.tick();
    Cleared(bar)
}

struct Cleared(ProgressBar);

impl Drop for Cleared {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).expect("BUG: the template is a constant");
    let rate = |state: &ProgressState, out: &mut dyn Write| {
        // A bar that cannot be drawn is not worth a word.
        let _ = write!(out, "{}/s", thousands(state.per_sec() as u64));
    };
    style.progress_chars("━╸─").with_key("rate", rate)
}

/// Hidden where nobody would see it.
pub fn bar(what: &'static str, length: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    ProgressBar::new(length).with_style(style(TEMPLATE)).with_message(what)
}

const TEMPLATE: &str = "{msg:>12} {wide_bar:.cyan/dim} {human_pos}/{human_len}, {rate}, {eta} left";
const TEMPLATE_OF_TIME: &str = "{msg:>12} {wide_bar:.cyan/dim} {elapsed}";
/// Shorter waits are over before anyone has read what they are for.
const SHOWN_MIN: Duration = Duration::from_millis(300);
const EVERY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_some() {
        style(TEMPLATE);
        style(TEMPLATE_OF_TIME);
    }

    #[tokio::test]
    async fn a_sleep_is_as_long_as_it_was_asked_to_be() {
        let begun = Instant::now();
        slept("testing", Duration::from_millis(20)).await;
        assert!(begun.elapsed() >= Duration::from_millis(20));
    }

    #[tokio::test]
    async fn work_ends_with_its_result() {
        assert_eq!(shown("testing", 10, Meters::new(1), async { 7 }).await, 7);
    }
}
