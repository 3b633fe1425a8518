//! The client: where to find the cluster, and what all producers and readers made from it share.
//!
//!     Client ── Arc<Cluster> ── control connection (any shard) ── metadata cache
//!                    └───────── dials the connections of producers and readers
//!
//! Cheap to clone. A producer or a reader keeps what it needs: the client may be dropped before it.

use std::sync::Arc;
use std::time::Duration;

use protocol::model::limits::SHORT_STRING_BYTES_MAX;

use crate::admin::Admin;
use crate::consumer::ConsumerBuilder;
use crate::core::retry::RetryPolicy;
use crate::driver::cluster::Cluster;
use crate::driver::dial::DialOptions;
use crate::error::ClientError;
use crate::limits;
use crate::producer::ProducerBuilder;
use crate::reader::ReaderBuilder;
use crate::retry::Retry;

#[derive(Clone)]
pub struct Client {
    cluster: Arc<Cluster>,
}

impl Client {
    /// Connects to one of `bootstrap`, `host:port` or several with commas between, and learns which
    /// brokers there are.
    pub async fn connect(bootstrap: impl Into<String>) -> Result<Client, ClientError> {
        Client::builder().bootstrap(bootstrap).build().await
    }

    pub fn builder() -> ClientBuilder {
        ClientBuilder {
            bootstrap: String::new(),
            options: DialOptions {
                client_id: "ringlog-client".to_owned(),
                connect_timeout: limits::CONNECT_TIMEOUT,
                request_timeout: limits::REQUEST_TIMEOUT,
            },
            route_to_owner: true,
        }
    }

    pub fn admin(&self) -> Admin {
        Admin::new(Arc::clone(&self.cluster))
    }

    pub fn producer(&self) -> ProducerBuilder {
        ProducerBuilder::new(Arc::clone(&self.cluster))
    }

    /// A member of `group`, which shares the partitions of its topics among its members.
    pub fn consumer(&self, group: impl Into<Arc<str>>) -> ConsumerBuilder {
        ConsumerBuilder::new(Arc::clone(&self.cluster), group.into())
    }

    /// What moves failed records to where they are tried again.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn retry(&self, policy: RetryPolicy) -> Retry {
        Retry::new(Arc::clone(&self.cluster), policy)
    }

    pub fn reader(&self) -> ReaderBuilder {
        ReaderBuilder::new(Arc::clone(&self.cluster))
    }
}

#[derive(Clone, Debug)]
#[must_use = "nothing is connected before build()"]
pub struct ClientBuilder {
    bootstrap: String,
    options: DialOptions,
    route_to_owner: bool,
}

impl ClientBuilder {
    /// `host:port`, or several with commas between; they are tried in this order.
    pub fn bootstrap(mut self, bootstrap: impl Into<String>) -> ClientBuilder {
        self.bootstrap = bootstrap.into();
        self
    }

    /// Names this client in the broker's log.
    pub fn client_id(mut self, client_id: impl Into<String>) -> ClientBuilder {
        self.options.client_id = client_id.into();
        self
    }

    /// For TCP connection and Hello together; 10 s by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> ClientBuilder {
        self.options.connect_timeout = timeout;
        self
    }

    /// A connection with a request unanswered for this long is given up; 30 s by default.
    pub fn request_timeout(mut self, timeout: Duration) -> ClientBuilder {
        self.options.request_timeout = timeout;
        self
    }

    /// `false` sends everything over connections that ask for no shard, and the broker forwards
    /// from core to core: for measuring what the routing is worth, and for proxies in between.
    pub fn route_to_owner(mut self, route: bool) -> ClientBuilder {
        self.route_to_owner = route;
        self
    }

    pub async fn build(self) -> Result<Client, ClientError> {
        let bytes = self.options.client_id.len();
        if bytes > SHORT_STRING_BYTES_MAX {
            return Err(ClientError::ClientIdTooLong { bytes });
        }
        let bootstrap = parse_bootstrap(&self.bootstrap)?;
        let cluster = Cluster::connect(bootstrap, self.options, self.route_to_owner).await?;
        Ok(Client { cluster })
    }
}

fn parse_bootstrap(text: &str) -> Result<Vec<Arc<str>>, ClientError> {
    let is_address = |address: &&str| {
        address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    let addresses: Vec<&str> = text.split(',').map(str::trim).collect();
    if !addresses.iter().all(is_address) {
        return Err(ClientError::InvalidBootstrap { bootstrap: text.to_owned() });
    }
    Ok(addresses.into_iter().map(Arc::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bootstrap_is_one_address_or_several() {
        assert_eq!(parse_bootstrap("localhost:7070").unwrap(), ["localhost:7070".into()]);
        assert_eq!(parse_bootstrap("a:1, [::1]:2").unwrap(), ["a:1".into(), "[::1]:2".into()]);
        for wrong in ["", "localhost", ":7070", "a:1,", "a:70000"] {
            assert!(matches!(parse_bootstrap(wrong), Err(ClientError::InvalidBootstrap { .. })), "{wrong:?}");
        }
    }
}
