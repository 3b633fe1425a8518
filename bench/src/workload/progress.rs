//! A bar on the terminal while something goes on that prints no lines.
//!
//!     filling ━━━━━━━━━━━━━━╸━━━━━━━━━━━ 412,000/1,048,576 records, 201,331/s, 3s left
//!
//! On stderr, and only if that is a terminal: what is piped or kept has no bars in it.

use std::future::Future;
use std::io::IsTerminal;
use std::pin::pin;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::meter::Meters;

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

/// Hidden where nobody would see it.
pub fn bar(what: &'static str, length: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(TEMPLATE).expect("BUG: the template is a constant");
    ProgressBar::new(length).with_style(style.progress_chars("━╸─")).with_message(what)
}

const TEMPLATE: &str = "{msg:>12} {wide_bar:.cyan/dim} {human_pos}/{human_len}, {per_sec}, {eta} left";
const EVERY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_one() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }

    #[tokio::test]
    async fn work_ends_with_its_result() {
        assert_eq!(shown("testing", 10, Meters::new(1), async { 7 }).await, 7);
    }
}
