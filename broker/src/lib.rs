//! Ringlog's broker: one thread per core that owns its partitions, one control thread beside them.
//!
//!     connection ─ frame ─▶ handlers ─▶ partition ─▶ store (commit rounds) ─▶ disk
//!         ▲                    │ other shard's? ShardMessage over the mesh        │
//!         └── outbox ◀── parked reply ◀────────────── durable ◀──────────────────┘
//!
//!     control thread: catalog (redb), topics made and deleted, the view every shard serves
//!
//! Nothing on the data path is shared between shards. [`Broker::start`] is the whole API.

pub mod config;
pub use config::Config;

mod broker;
pub use broker::{Broker, StartError, StopError};

/// Reading a data directory without a broker.
pub use storage::verify;

pub mod embedded;
pub use embedded::EmbeddedBroker;

mod control;

mod shard;

mod handlers;

mod kafka_api;

mod groups;

mod connection;

mod metrics;

mod runtime;
