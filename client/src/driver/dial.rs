//! From an address to a connection that has said Hello.
//!
//!     TCP connect ▸ TCP_NODELAY ▸ Hello { shard } ▸ HelloReply      all within `connect_timeout`
//!                                  └ the broker hands the socket to that shard (design D3)

use std::sync::Arc;
use std::time::Duration;

use protocol::api::{HelloReply, HelloRequest, VERSION};
use protocol::model::ShardId;
use tokio::net::TcpStream;

use super::call::call;
use super::connection::Connection;
use crate::error::{AdminError, ConnectionError};

#[derive(Clone, Debug)]
pub(crate) struct DialOptions {
    pub client_id: String,
    pub connect_timeout: Duration,
    pub request_timeout: Duration,
}

/// Connects to the broker at `address`, to be served by `shard` if one is given.
pub(crate) async fn dial(
    address: &Arc<str>,
    shard: Option<ShardId>,
    options: &DialOptions,
) -> Result<Connection, ConnectionError> {
    let after = options.connect_timeout;
    match tokio::time::timeout(after, connect_and_greet(address, shard, options)).await {
        Ok(connected) => connected,
        Err(_) => Err(ConnectionError::ConnectTimeout { address: Arc::clone(address), after }),
    }
}

async fn connect_and_greet(
    address: &Arc<str>,
    shard: Option<ShardId>,
    options: &DialOptions,
) -> Result<Connection, ConnectionError> {
    let failed = |cause| ConnectionError::Connect { address: Arc::clone(address), cause: Arc::new(cause) };
    let stream = TcpStream::connect(&**address).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let connection = Connection::start(stream, Arc::clone(address));
    let hello = HelloRequest {
        version_min: VERSION,
        version_max: VERSION,
        shard,
        client_id: options.client_id.clone(),
    };
    let refused = |code| ConnectionError::Refused { address: Arc::clone(address), code };
    let reply: HelloReply = match call(&connection, &hello, options.connect_timeout).await {
        Ok(reply) => reply,
        Err(AdminError::Connection(error)) => return Err(error),
        Err(AdminError::Refused { code, .. }) => return Err(refused(code)),
        Err(error) => unreachable!("BUG: a Hello names no topic: {error}"),
    };
    reply.error.into_result().map_err(refused)?;
    connection.set_body_limit(reply.frame_body_bytes_max as usize);
    if let Some(wanted) = shard.filter(|wanted| *wanted != reply.shard) {
        // It works all the same, only slower: the broker forwards.
        tracing::warn!(%address, %wanted, got = %reply.shard, "another shard answered than the one asked for");
    }
    tracing::debug!(%address, node = %reply.node, shard = %reply.shard, broker = %reply.broker, "connected");
    Ok(connection)
}
