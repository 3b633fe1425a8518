//! Ringlog's load generator: drives a broker through the bundled client and tells the truth about it.
//!
//!     flags ─▶ limits of the machine ─▶ embedded broker ─▶ workload ─▶ report, JSON
//!              (cores, loopback, disk)  (a child process)   │
//!                                                           ├─ producers: schedule ▸ payload ▸ tickets ▸ meters
//!                                                           └─ consumers: records ▸ meters ▸ ledger
//!     suite, sweep ─▶ many of these, each in a process of its own        compare ─▶ two of their JSON files
//!
//! Exit codes: 0 fine; 1 the run failed or records were not acknowledged; 2 the command line; 8 a
//! verified record was lost, duplicated (groups that were rebalanced may do that), reordered or corrupt; 9 a condition of `--fail-if` holds. Of
//! several the first in the order 8, 1, 9.

mod flags;

mod units;

mod clock;

mod schedule;

mod payload;

mod verify;

mod meter;

mod workload;

mod report;

mod limits;

mod fields;

mod gate;

mod many;

mod embedded;

mod proc;

mod sys;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};
use serde_json::Value;

use embedded::Embedded;
use flags::{Cli, Command, Flags, LimitsFlags, Workload};
use limits::{Cores, Distance, Effort, Limits};
use report::header::{self, Header};
use report::{csv, hgrm, html, json, table};
use workload::{Place, Results};

fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::Produce(flags) => run(Workload::Produce, flags),
        Command::Consume(flags) => run(Workload::Consume, flags),
        Command::Pubsub(flags) => run(Workload::Pubsub, flags),
        Command::Drain(flags) => run(Workload::Drain, flags),
        Command::Mixed(flags) => run(Workload::Mixed, flags),
        Command::Fanout(flags) => run(Workload::Fanout, flags),
        Command::Rebalance(flags) => run(Workload::Rebalance, flags),
        Command::Groups(flags) => run(Workload::Groups, flags),
        Command::Suite(flags) => succeeds(many::suite::run(&flags)),
        Command::Sweep(flags) => succeeds(many::sweep::run(&flags)),
        Command::Compare(flags) => succeeds(many::compare::print(&flags.before, &flags.after)),
        Command::Limits(flags) => succeeds(print_limits(&flags)),
        Command::Broker(flags) => succeeds(embedded::run_broker(&flags)),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn succeeds(done: Result<()>) -> Result<ExitCode> {
    done.map(|()| ExitCode::SUCCESS)
}

fn run(workload: Workload, flags: Flags) -> Result<ExitCode> {
    if let Err(why) = flags.check(workload) {
        Cli::command().error(clap::error::ErrorKind::ValueValidation, why).exit();
    }
    let flags = &flags.resolved(workload);
    let commit = header::commit();
    let is_embedded = flags.bootstrap.is_none();
    let cores = cores_of(&flags.broker_cpus())?;
    let data_dir = flags.data_dir.as_deref().unwrap_or(Path::new("."));
    let data_dir = (is_embedded || flags.data_dir.is_some()).then_some(data_dir);
    let said = workload::progress::said("measuring this machine's limits");
    let limits = match flags.no_limits {
        true => Limits::of_cores(&cores),
        false => Limits::measure(&cores, data_dir, Effort::Short)?,
    };
    drop(said);
    Header { workload, flags, cores: &cores, data_dir, limits: &limits, commit: &commit }.print();
    let results = match &flags.bootstrap {
        Some(bootstrap) => drive_running(workload, flags, bootstrap)?,
        None => drive_embedded(workload, flags, &cores)?,
    };
    let after = limits::core_to_core_ns(&cores);
    let machine = machine(&cores, data_dir, &limits, after);
    let document = json::Document::new(workload, flags, &limits, &results, &machine, &commit);
    let document = serde_json::to_value(document).context("BUG: the document has no JSON form")?;
    write_files(flags, &results, &document)?;
    table::print(&results, &limits, after);
    Ok(conclude(flags, &results, &document))
}

fn machine(cores: &Cores, data_dir: Option<&Path>, limits: &Limits, after: Option<f64>) -> json::Machine {
    let mood = |ns: Option<f64>| ns.map(|ns| Distance::of(ns).to_string());
    json::Machine {
        kernel: proc::kernel(),
        cpu: proc::cpu_model(),
        filesystem: data_dir.map(proc::filesystem),
        broker_cores: cores.broker.clone(),
        client_cores: cores.client.clone(),
        mood_before: mood(limits.core_to_core_ns),
        mood_after: mood(after),
        core_to_core_ns_after: after,
    }
}

fn write_files(flags: &Flags, results: &Results, document: &Value) -> Result<()> {
    if let Some(path) = &flags.json {
        json::write(path, document)?;
    }
    if let Some(path) = &flags.csv {
        csv::write(path, &results.intervals)?;
    }
    if let Some(path) = &flags.hgrm {
        hgrm::write(path, report::latencies(results))?;
    }
    if let Some(path) = &flags.html {
        html::write(path, document)?;
    }
    Ok(())
}

/// A broker that somebody else has started, wherever it is.
fn drive_running(workload: Workload, flags: &Flags, bootstrap: &str) -> Result<Results> {
    let (bootstrap, kafka) = (bootstrap.to_owned(), flags.kafka_bootstrap.clone());
    let place = Place { bootstrap, kafka, broker_pid: None, client_cores: None };
    let threads = sys::allowed_cores()?.len();
    drive(workload, flags, &place, threads)
}

/// A broker in a child process, on cores of its own.
fn drive_embedded(workload: Workload, flags: &Flags, cores: &Cores) -> Result<Results> {
    let under = flags.data_dir.as_deref().unwrap_or(Path::new("."));
    let mut broker = Embedded::start(under, &cores.broker, &flags.broker_set, flags.kafka)?;
    let apart = cores.client.iter().all(|core| !cores.broker.contains(core));
    if apart {
        // After the child was started, which would inherit it.
        sys::pin_to(&cores.client).context("cannot run on the client's cores")?;
    }
    let place = |broker: &Embedded| Place {
        bootstrap: broker.address().to_owned(),
        kafka: broker.kafka().map(str::to_owned),
        broker_pid: Some(broker.pid()),
        client_cores: apart.then(|| cores.client.clone()),
    };
    let mut results = drive(workload, flags, &place(&broker), cores.client.len())?;
    if flags.kill {
        let ready = broker.kill_and_start_again()?;
        println!("\nkilled, and ready again after {:.3} s", ready.as_secs_f64());
        let read = drive(Workload::Consume, &flags.of_reading_all(), &place(&broker), cores.client.len())?;
        results.take_restart(ready, read);
    }
    broker.stop()?;
    Ok(results)
}

fn drive(workload: Workload, flags: &Flags, place: &Place, threads: usize) -> Result<Results> {
    // One thread needs no queue that others could steal from.
    let mut builder = match threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    let runtime = builder.enable_all().build().context("cannot make a runtime")?;
    let results = runtime.block_on(workload::run(workload, flags, place));
    // A consumer of librdkafka has a thread, which after a failure may still wait for records.
    runtime.shutdown_background();
    results
}

/// The broker's cores and the others; the client has all if the broker leaves none.
fn cores_of(broker: &[usize]) -> Result<Cores> {
    let allowed = sys::allowed_cores().context("cannot ask for the cores of this machine")?;
    let others: Vec<usize> = allowed.iter().copied().filter(|core| !broker.contains(core)).collect();
    Ok(Cores { broker: broker.to_vec(), client: if others.is_empty() { allowed } else { others } })
}

fn print_limits(flags: &LimitsFlags) -> Result<()> {
    let cores = cores_of(&flags.cpus)?;
    let limits = Limits::measure(&cores, Some(&flags.data_dir), Effort::Long)?;
    println!("machine   {}, {}, {}", proc::kernel(), proc::cpu_model(), proc::filesystem(&flags.data_dir));
    println!("limits    {limits}");
    flags.json.as_deref().map_or(Ok(()), |path| json::write(path, &limits))
}

/// The last lines and the exit code.
fn conclude(flags: &Flags, results: &Results, document: &Value) -> ExitCode {
    let broken: Vec<String> = flags.fail_if.iter().filter_map(|gate| gate.broken_by(document)).collect();
    for why in &broken {
        println!("failed if {why}");
    }
    if let Some(verdict) = results.verdict {
        println!("{verdict}");
        let holds = if results.may_repeat { verdict.is_at_least_once() } else { verdict.is_clean() };
        if !holds {
            return ExitCode::from(EXIT_NOT_CLEAN);
        }
    }
    match (results.failures.is_empty(), broken.is_empty()) {
        (false, _) => ExitCode::FAILURE,
        (true, false) => ExitCode::from(EXIT_GATE),
        (true, true) => ExitCode::SUCCESS,
    }
}

const EXIT_NOT_CLEAN: u8 = 8;
const EXIT_GATE: u8 = 9;
