//! A broker inside another program: on a free port, its data in a directory that goes with it.
//!
//!     EmbeddedBroker::start(parent)? ─▶ .addr() ─▶ use it ─▶ drop: stopped, files deleted
//!
//! The directory must lie on a filesystem with O_DIRECT, which tmpfs is not: the system's temporary
//! directory may not do.

use std::net::SocketAddr;
use std::path::Path;

use crate::{Broker, Config, StartError, StopError};

pub struct EmbeddedBroker {
    // Before the directory, so that it is stopped before its files are deleted.
    broker: Option<Broker>,
    directory: tempfile::TempDir,
}

impl EmbeddedBroker {
    /// Starts a broker on core 0 with its data in a new directory below `parent`.
    pub fn start(parent: &Path) -> Result<EmbeddedBroker, StartError> {
        EmbeddedBroker::start_with(parent, |config| config)
    }

    /// As [`EmbeddedBroker::start`], with a configuration of the caller's.
    pub fn start_with(
        parent: &Path,
        change: impl FnOnce(Config) -> Config,
    ) -> Result<EmbeddedBroker, StartError> {
        let directory = tempfile::Builder::new().prefix("ringlog-").tempdir_in(parent);
        let directory = directory.map_err(|error| storage::directory::DirectoryError::Io {
            path: parent.to_owned(),
            action: "cannot create a directory in it",
            error,
        })?;
        let config = change(Config::ephemeral(directory.path().to_owned()));
        Ok(EmbeddedBroker { broker: Some(Broker::start(config)?), directory })
    }

    pub fn addr(&self) -> SocketAddr {
        self.broker.as_ref().expect("BUG: the broker is taken only by stop").addr()
    }

    /// Where Kafka's protocol is served, if the configuration says so.
    pub fn kafka_addr(&self) -> Option<SocketAddr> {
        self.broker.as_ref().expect("BUG: the broker is taken only by stop").kafka_addr()
    }

    pub fn data_dir(&self) -> &Path {
        self.directory.path()
    }

    /// Stops in order and deletes the files.
    pub fn stop(mut self) -> Result<(), StopError> {
        self.broker.take().map_or(Ok(()), Broker::stop)
    }
}
