//! A broker: started, ready, stopped.
//!
//!     start ─▶ environment ─▶ data directory ─▶ catalog ─▶ port ─▶ shards recover ─▶ ready
//!     stop  ─▶ shards finish what they accepted, clean mark ─▶ control thread ─▶ directory unlocked
//!
//! `start` returns when every partition is recovered and the port is open; what keeps it from that is
//! one typed error. Dropping a broker without `stop` stops it as well, and logs what went wrong.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_channel::Sender;
use protocol::model::ShardId;
use storage::catalog::{CatalogError, MetadataLog, RedbLog};
use storage::checkpoint::Checkpoint;
use storage::directory::{DataDirectory, DirectoryError, META_DIR};

use crate::config::{Config, ConfigError};
use crate::control::{Control, ControlMessage, Identity, open_catalog};
use crate::runtime::probe::{EnvironmentError, check_environment};
use crate::runtime::pulse::{self, Pulse};
use crate::runtime::{ExecutorOptions, ShardThread, net, raise_open_files, start_shard};
use crate::shard::{ShardMessage, ShardStart, run};

/// Why a broker did not start. Nothing is left running, and nothing on disk has changed but what the
/// start itself makes.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error("cannot read the checkpoints: {0}")]
    Checkpoints(std::io::Error),
    #[error("cannot listen on {addr}: {error}")]
    Listen { addr: SocketAddr, error: std::io::Error },
    #[error("cannot listen for Kafka's clients on {addr}: {error}; kafka.addr names another port, or none")]
    ListenKafka { addr: SocketAddr, error: std::io::Error },
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    #[error("shard {shard} did not start: {error}")]
    Shard { shard: u16, error: String },
}

impl StartError {
    /// 78 (EX_CONFIG) where a person must change the configuration or the machine, 1 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Config(_)
            | StartError::Environment(_)
            | StartError::Directory(_)
            | StartError::Listen { .. }
            | StartError::ListenKafka { .. } => 78,
            StartError::Catalog(_)
            | StartError::Checkpoints(_)
            | StartError::Thread(_)
            | StartError::Shard { .. } => 1,
        }
    }
}

/// A stop that was not in order: the next start reads the logs as after a crash.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StopError(String);

pub struct Broker {
    addr: SocketAddr,
    kafka_addr: Option<SocketAddr>,
    control: Sender<ControlMessage>,
    control_thread: Option<JoinHandle<()>>,
    inboxes: Vec<Sender<ShardMessage>>,
    threads: Vec<ShardThread>,
    stopped: mpsc::Receiver<Result<(), String>>,
}

/// How long a shard may take to finish what it has accepted.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

impl Broker {
    /// Starts a broker and returns when it serves.
    pub fn start(config: Config) -> Result<Broker, StartError> {
        config.check()?;
        let shards = config.cpus.len();
        check_environment(shards)?;
        let directory = DataDirectory::open(&config.data_dir)?;
        let mut log = RedbLog::open(&directory.path().join(META_DIR))?;
        let catalog = open_catalog(&directory, &mut log)?;
        let checkpoint = Checkpoint::load(directory.path()).map_err(StartError::Checkpoints)?;
        let listen_error = |error| StartError::Listen { addr: config.listen, error };
        let (addr, listeners) = net::bind(config.listen, shards).map_err(listen_error)?;
        let kafka = kafka_listeners(&config, shards)?;
        let kafka_addr = kafka.as_ref().map(|(addr, _)| *addr);
        let identity = identity(&config, &catalog, addr, kafka_addr, shards);
        let config = Arc::new(fit_open_files(config));

        let (inboxes, receivers): (Vec<_>, Vec<_>) = (0..shards).map(|_| async_channel::unbounded()).unzip();
        let (control_sender, control_inbox) = async_channel::unbounded();
        let data_dir = directory.path().to_owned();
        let log: Box<dyn MetadataLog> = Box::new(log);
        let control = Control::new(log, catalog, directory, config.topic_defaults, identity, inboxes.clone());
        let view = control.view();
        let control_thread = control.start(control_inbox).map_err(StartError::Thread)?;
        let (stopped_sender, stopped) = mpsc::channel();
        let mut broker = Broker {
            addr,
            kafka_addr,
            control: control_sender.clone(),
            control_thread: Some(control_thread),
            inboxes: inboxes.clone(),
            threads: Vec::new(),
            stopped,
        };

        let pulses = pulse::start(shards).map_err(StartError::Thread)?;
        let (ready, readiness) = mpsc::channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let checkpoint = Arc::new(checkpoint);
        let kafka = kafka.into_iter().flat_map(|(_, listeners)| listeners).map(Some);
        let kafka = kafka.chain(std::iter::repeat_with(|| None));
        let ends = listeners.into_iter().zip(kafka).zip(receivers).zip(pulses);
        let start = |(id, (((listener, kafka_listener), inbox), pulse))| {
            let start = ShardStart {
                id: ShardId::new(id),
                config: config.clone(),
                data_dir: data_dir.clone(),
                view: view.clone(),
                checkpoint: checkpoint.clone(),
                listener,
                kafka_listener,
                inbox,
                peers: inboxes.clone(),
                control: control_sender.clone(),
                connections: connections.clone(),
                ready: ready.clone(),
                stopped: stopped_sender.clone(),
            };
            (start, pulse)
        };
        let starts: Vec<(ShardStart, Pulse)> = (0..).zip(ends).map(start).collect();
        // Only shards have senders from here on: where none is left, no shard has anything to say.
        drop((ready, stopped_sender));
        for (start, pulse) in starts {
            broker.start_shard(start, pulse, &config)?;
        }
        broker.wait_until_ready(&readiness)?;
        Checkpoint::remove_beyond(&data_dir, shards as u16).map_err(StartError::Checkpoints)?;
        broker.tell_all(|| ShardMessage::Serve);
        tracing::info!(%addr, shards, data_dir = %data_dir.display(), "ready");
        Ok(broker)
    }

    fn start_shard(&mut self, start: ShardStart, pulse: Pulse, config: &Config) -> Result<(), StartError> {
        let shard = start.id.get();
        let options = ExecutorOptions {
            name: format!("ringlog-{shard}"),
            cpu: *config.cpus.get(usize::from(shard)).expect("BUG: a shard per core"),
            io_memory: config.io_memory,
            preempt_timer: config.preempt_timer,
        };
        let thread = start_shard(options, pulse, move |pulse| run(start, pulse));
        self.threads.push(thread.map_err(StartError::Thread)?);
        Ok(())
    }

    fn wait_until_ready(
        &mut self,
        readiness: &mpsc::Receiver<Result<ShardId, (ShardId, String)>>,
    ) -> Result<(), StartError> {
        let mut waited_for: Vec<u16> = (0..self.threads.len() as u16).collect();
        while let Some(&first) = waited_for.first() {
            match readiness.recv() {
                Ok(Ok(shard)) => waited_for.retain(|waiting| *waiting != shard.get()),
                Ok(Err((shard, error))) => return Err(StartError::Shard { shard: shard.get(), error }),
                // Who has not spoken has ended, its executor could not be made. The others wait for messages.
                Err(_) => {
                    let silent = self.threads.remove(usize::from(first));
                    let error = silent.join().err().unwrap_or_else(|| "its thread ended".to_owned());
                    return Err(StartError::Shard { shard: first, error });
                }
            }
        }
        Ok(())
    }

    fn tell_all(&self, message: impl Fn() -> ShardMessage) {
        for inbox in &self.inboxes {
            let _ = inbox.try_send(message()); // a shard that has ended is told nothing
        }
    }

    /// Where the native protocol is served.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where Kafka's protocol is served, if it is.
    pub fn kafka_addr(&self) -> Option<SocketAddr> {
        self.kafka_addr
    }

    /// Stops in order: takes no new work, makes durable what was accepted, answers it, and leaves
    /// the mark that lets the next start skip reading.
    pub fn stop(mut self) -> Result<(), StopError> {
        self.shut_down()
    }

    fn shut_down(&mut self) -> Result<(), StopError> {
        let mut problem = None;
        self.tell_all(|| ShardMessage::Stop);
        for _ in 0..self.threads.len() {
            match self.stopped.recv_timeout(STOP_TIMEOUT) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => problem = problem.or(Some(error)),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    return Err(StopError("a shard did not finish in time".to_owned()));
                }
            }
        }
        for thread in self.threads.drain(..) {
            problem = thread.join().err().or(problem);
        }
        let _ = self.control.try_send(ControlMessage::Stop); // it is there until it is joined
        if let Some(thread) = self.control_thread.take()
            && thread.join().is_err()
        {
            problem = Some("the control thread panicked".to_owned());
        }
        problem.map_or(Ok(()), |error| Err(StopError(error)))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.control_thread.is_some()
            && let Err(error) = self.shut_down()
        {
            tracing::error!(%error, "the broker did not stop in order");
        }
    }
}

/// Files that are no segments and no connections: the catalog, rings, directories being synced.
const OTHER_FILES: u64 = 256;

/// Lowers `storage.files_max` to what the process may open beside its connections, which get at most
/// half: a segment that cannot be opened would stop its partition, a connection can be made again.
fn fit_open_files(mut config: Config) -> Config {
    let limit = raise_open_files().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot ask for the limit of open files; taking 1024");
        1024
    });
    let connections = (config.connections_max as u64).min(limit / 2);
    let files = limit.saturating_sub(OTHER_FILES + connections) / config.cpus.len() as u64;
    let files = usize::try_from(files).unwrap_or(usize::MAX).max(16);
    if files < config.files_max {
        tracing::warn!(
            limit,
            files,
            "storage.files_max is lowered: the process may not open more (ulimit -n)"
        );
        config.files_max = files;
    }
    config
}

/// One listening socket for each shard, and their address.
type Listeners = (SocketAddr, Vec<OwnedFd>);

fn kafka_listeners(config: &Config, shards: usize) -> Result<Option<Listeners>, StartError> {
    let Some(addr) = config.kafka.listen else { return Ok(None) };
    net::bind(addr, shards).map(Some).map_err(|error| StartError::ListenKafka { addr, error })
}

fn identity(
    config: &Config,
    catalog: &storage::catalog::Catalog,
    addr: SocketAddr,
    kafka_addr: Option<SocketAddr>,
    shards: usize,
) -> Identity {
    let at = |addr: SocketAddr| (addr.ip().to_string(), addr.port());
    let (host, port) = config.advertised.clone().unwrap_or_else(|| at(addr));
    let kafka =
        config.kafka.advertised.clone().unwrap_or_else(|| kafka_addr.map_or_else(Default::default, at));
    Identity {
        cluster: catalog.cluster().expect("BUG: open_catalog has named the cluster"),
        node: config.node_id,
        host,
        port,
        kafka,
        shards: u16::try_from(shards).expect("BUG: the configuration bounds the shards"),
    }
}
