//! Errors of connections, and of making a client.
//!
//!     not reached      Connect, ConnectTimeout, Refused                 nothing was applied
//!     reached, lost    Lost, ClosedByBroker, RequestTimeout, Reply, …   nobody knows

use std::io;
use std::sync::Arc;
use std::time::Duration;

use protocol::api::DecodeError;
use protocol::frame::FrameError;
use protocol::model::ErrorCode;

use super::AdminError;

/// A connection could not be made, or ended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    #[error("cannot connect to {address}: {cause}")]
    Connect {
        address: Arc<str>,
        #[source]
        cause: Arc<io::Error>,
    },
    #[error("cannot connect to {address}: no answer within {after:?}")]
    ConnectTimeout { address: Arc<str>, after: Duration },
    #[error("{address} refused the connection: {code}")]
    Refused { address: Arc<str>, code: ErrorCode },
    #[error("the connection to {address} was lost: {cause}")]
    Lost {
        address: Arc<str>,
        #[source]
        cause: Arc<io::Error>,
    },
    #[error("{address} closed the connection")]
    ClosedByBroker { address: Arc<str> },
    #[error("{address} did not answer a request within {after:?}")]
    RequestTimeout { address: Arc<str>, after: Duration },
    #[error("{address} does not speak our protocol: {cause}")]
    Frame {
        address: Arc<str>,
        #[source]
        cause: FrameError,
    },
    #[error("{address} sent a reply that cannot be read: {cause}")]
    Reply {
        address: Arc<str>,
        #[source]
        cause: DecodeError,
    },
    #[error("the connection to {address} was closed by this client")]
    ClosedByClient { address: Arc<str> },
}

impl ConnectionError {
    pub fn address(&self) -> &str {
        match self {
            ConnectionError::Connect { address, .. }
            | ConnectionError::ConnectTimeout { address, .. }
            | ConnectionError::Refused { address, .. }
            | ConnectionError::Lost { address, .. }
            | ConnectionError::ClosedByBroker { address }
            | ConnectionError::RequestTimeout { address, .. }
            | ConnectionError::Frame { address, .. }
            | ConnectionError::Reply { address, .. }
            | ConnectionError::ClosedByClient { address } => address,
        }
    }

    pub fn is_retriable(&self) -> bool {
        match self {
            ConnectionError::Refused { code, .. } => code.is_retriable(),
            ConnectionError::Frame { .. } | ConnectionError::Reply { .. } => false,
            _ => true,
        }
    }

    /// Whether a request that ended with this error may have reached the broker.
    pub fn may_have_been_applied(&self) -> bool {
        !matches!(
            self,
            ConnectionError::Connect { .. }
                | ConnectionError::ConnectTimeout { .. }
                | ConnectionError::Refused { .. }
        )
    }
}

/// The client could not be made.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    #[error("{bootstrap:?} is not a list of host:port")]
    InvalidBootstrap { bootstrap: String },
    #[error("the client id has {bytes} bytes, the limit is 255")]
    ClientIdTooLong { bytes: usize },
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The broker was reached, but did not say what there is.
    #[error("metadata: {0}")]
    Metadata(AdminError),
}

impl ClientError {
    pub fn is_retriable(&self) -> bool {
        match self {
            ClientError::Connection(error) => error.is_retriable(),
            ClientError::Metadata(error) => error.is_retriable(),
            ClientError::InvalidBootstrap { .. } | ClientError::ClientIdTooLong { .. } => false,
        }
    }

    pub fn may_have_been_applied(&self) -> bool {
        false
    }
}
