//! `ringlog serve`: a broker in the foreground, as a supervisor or a container wants it.

use std::ffi::OsString;
use std::path::PathBuf;

use broker::{Broker, Config, config};

use crate::exit::{Exit, Failure};
use crate::host;
use crate::output::print;

/// Run a broker
///
/// Prints `ringlog ready on ADDRESS` and `kafka ready on ADDRESS` to stdout once clients may connect, logs
/// to stderr. SIGTERM or SIGINT stops it in order, a second one at once. Every key of the configuration:
/// docs/config.md.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The configuration file; without one the defaults hold
    #[arg(short, long, env = "RINGLOG_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// Set one key, over file and environment
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,

    /// Same as --set broker.data_dir=DIR
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,

    /// Same as --set listener.addr=ADDRESS:PORT
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,

    /// Same as --set kafka.addr=ADDRESS:PORT; none serves none of Kafka's clients
    #[arg(long, value_name = "ADDRESS:PORT")]
    kafka: Option<String>,

    /// Check the configuration, print what is wrong with it, and start nothing
    #[arg(long)]
    check_config: bool,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let config = load(args, std::env::vars_os())?;
    if args.check_config {
        host::check_log(&config)?;
        eprintln!("the configuration is good");
        return Ok(());
    }
    host::host(config, ready)
}

/// One write, so that who waits for the first line finds the second one too.
pub fn ready(broker: &Broker) -> Result<(), Failure> {
    let kafka = broker.kafka_addr().map_or_else(String::new, |addr| format!("\nkafka ready on {addr}"));
    print(&format!("ringlog ready on {}{kafka}", broker.addr()))
}

fn load(args: &Args, env: impl Iterator<Item = (OsString, OsString)>) -> Result<Config, Failure> {
    let mut sets = args.set.clone();
    sets.extend(args.data_dir.iter().map(|dir| format!("broker.data_dir={dir}")));
    sets.extend(args.kafka.iter().map(|addr| format!("kafka.addr={addr}")));
    sets.extend(args.listen.iter().map(|addr| format!("listener.addr={addr}")));
    // A variable that is not UTF-8 cannot be one of ours that anybody wrote on purpose, but a value
    // can: it is passed on with its damage, and refused where it matters.
    let env = env
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())));
    config::load(args.config.as_deref(), env, &sets).map_err(|error| {
        Failure::new(Exit::Config, error.to_string()).with_next("docs/config.md describes every key")
    })
}
