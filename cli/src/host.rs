//! A broker inside this process, from its log's first line to its last flush.
//!
//!     log to stderr ─▶ signals caught ─▶ Broker::start ─▶ "ringlog ready on ADDR" ─▶ … ─▶ Broker::stop
//!                        first SIGINT or SIGTERM: stop in order, also if it comes during the start
//!                        second: end at once; the next start recovers as after a crash

use std::process;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use broker::config::LogFormat;
use broker::{Broker, Config};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::exit::{Exit, Failure};

/// Runs a broker until a signal comes. `ready` is called once clients may connect.
pub fn host(config: Config, ready: impl FnOnce(&Broker) -> Result<(), Failure>) -> Result<(), Failure> {
    // Before anything else: the runtime below reports a missing right through the log only.
    start_log(&config)?;
    let signals = catch_signals()?;
    let broker = Broker::start(config).map_err(|error| start_failure(&error))?;
    // A broker whose readiness nobody can be told still has to stop in order.
    let told = ready(&broker);
    if told.is_ok() {
        let name = signals.recv().unwrap_or("the end of the signal thread");
        tracing::info!("stopping on {name}; a second signal ends the process at once");
    }
    let stopped = broker.stop().map_err(|error| {
        Failure::new(Exit::Error, format!("the broker did not stop in order: {error}"))
            .with_next("nothing that was acknowledged is lost; the next start recovers as after a crash")
    });
    stopped?;
    tracing::info!("stopped");
    told
}

/// Checks the filter of the log without installing it.
pub fn check_log(config: &Config) -> Result<EnvFilter, Failure> {
    EnvFilter::try_new(&config.log_filter)
        .map_err(|error| Failure::new(Exit::Config, format!("log.filter: {:?}: {error}", config.log_filter)))
}

fn start_log(config: &Config) -> Result<(), Failure> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(check_log(config)?)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    let started = match config.log_format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| Failure::new(Exit::Error, format!("cannot start the log: {error}")))
}

fn start_failure(error: &broker::StartError) -> Failure {
    let exit = if error.exit_code() == Exit::Config as u8 { Exit::Config } else { Exit::Error };
    Failure::new(exit, format!("the broker cannot start: {error}"))
}

/// A thread of its own, because starting and stopping block this one.
fn catch_signals() -> Result<Receiver<&'static str>, Failure> {
    let failed = |error| Failure::new(Exit::Error, format!("cannot catch signals: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let _inside = runtime.enter();
    let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let (sender, receiver) = mpsc::channel();
    drop(_inside);
    let wait = move || runtime.block_on(forward(interrupt, terminate, sender));
    thread::Builder::new().name("signals".to_owned()).spawn(wait).map_err(failed)?;
    Ok(receiver)
}

async fn forward(mut interrupt: Signal, mut terminate: Signal, first: Sender<&'static str>) {
    let mut next = async || {
        tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        }
    };
    // The receiver is gone only if the process is about to end anyway.
    let _ = first.send(next().await);
    let name = next().await;
    eprintln!("ringlog: ending at once on {name}; the next start recovers as after a crash");
    process::exit(Exit::Error as i32);
}
