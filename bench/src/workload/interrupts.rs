//! Interrupts from the keyboard, or `kill`: the first ends the load, the second the program.
//!
//!     running ── first ──▶ drained, report      running, reading back, … ── second ──▶ error, clean up
//!
//! Either way the broker is stopped and its files are removed.

use std::future::Future;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

pub struct Interrupts {
    count: watch::Receiver<u32>,
}

impl Interrupts {
    /// Takes over SIGINT and SIGTERM.
    pub fn listen() -> Result<Interrupts> {
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for interrupts")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for interrupts")?;
        let (tell, count) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                tell.send_modify(|count| *count += 1);
                eprintln!("interrupted: the load ends, a second interrupt ends everything");
            }
        });
        Ok(Interrupts { count })
    }

    pub fn first(&self) -> impl Future<Output = ()> + use<> {
        reached(self.count.clone(), 1)
    }

    pub fn second(&self) -> impl Future<Output = ()> + use<> {
        reached(self.count.clone(), 2)
    }
}

async fn reached(mut count: watch::Receiver<u32>, needed: u32) {
    if count.wait_for(|count| *count >= needed).await.is_err() {
        // The runtime is ending, and with it whoever waits here.
        std::future::pending::<()>().await;
    }
}
