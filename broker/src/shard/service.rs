//! What a shard does for its connections: judges Hellos, hands requests to handlers, keeps credit.

use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

use kafka::header::HeaderError;
use protocol::api::{HelloReply, HelloRequest, Message, VERSION};
use protocol::frame::FrameHeader;
use protocol::model::{ErrorCode, ShardId};

use super::{Shard, ShardMessage};
use crate::connection::{Admission, Connection, Service};
use crate::handlers;
use crate::kafka_api;
use crate::metrics::count;
use crate::runtime::Notify;

/// What an [`Rc`] of the shard can do as a connection's service.
pub struct ShardService(pub Rc<Shard>);

impl Service for ShardService {
    fn frame_bytes_max(&self) -> usize {
        self.0.config.frame_bytes_max
    }

    fn connection_out_bytes(&self) -> usize {
        self.0.config.connection_out_bytes
    }

    fn hello_timeout(&self) -> Duration {
        self.0.config.hello_timeout
    }

    fn hello(&self, connection: &Rc<Connection>, header: FrameHeader, hello: HelloRequest) -> Admission {
        let identity = self.0.view().identity.clone();
        if VERSION < hello.version_min || hello.version_max < VERSION {
            let message = format!(
                "this broker speaks version {VERSION}, the client {} to {}",
                hello.version_min, hello.version_max
            );
            connection.reply_error(header, ErrorCode::UnsupportedVersion, message);
            return Admission::Refused;
        }
        match hello.shard {
            Some(shard) if identity.shards <= shard.get() => {
                let message = format!("there is no shard {shard}: this broker has {}", identity.shards);
                connection.reply_error(header, ErrorCode::InvalidRequest, message);
                return Admission::Refused;
            }
            Some(shard) if shard != self.0.id => return Admission::Elsewhere(shard),
            _ => {}
        }
        let reply = HelloReply {
            error: ErrorCode::None,
            version: VERSION,
            shard: self.0.id,
            shards: identity.shards,
            node: identity.node,
            cluster: identity.cluster,
            frame_body_bytes_max: u32::try_from(self.0.config.frame_bytes_max).unwrap_or(u32::MAX),
            broker: format!("ringlog {}", env!("CARGO_PKG_VERSION")),
        };
        connection.reply(header.api, header.correlation, |out| reply.append_to(out));
        self.0.touch(connection);
        tracing::debug!(client = hello.client_id, shard = %self.0.id, "client connected");
        Admission::Here
    }

    fn request(&self, connection: &Rc<Connection>, header: FrameHeader, body: &[u8]) {
        count(&self.0.counters.requests, 1);
        handlers::dispatch(&self.0, connection, header, body);
    }

    fn kafka_request(&self, connection: &Rc<Connection>, frame: &[u8]) -> Result<(), HeaderError> {
        count(&self.0.counters.requests, 1);
        count(&self.0.counters.kafka_requests, 1);
        kafka_api::dispatch(&self.0, connection, frame)
    }

    fn hand_over(&self, to: ShardId, connection: &Connection, received: &[u8]) {
        match connection.abandon() {
            Ok(socket) => {
                count(&self.0.counters.handed_over, 1);
                self.0.send(to, ShardMessage::Adopt { socket, received: received.to_vec() });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot hand a connection over");
                connection.close();
            }
        }
    }

    fn flush(&self) {
        self.0.flush_touched();
    }

    fn kafka_idle_max(&self) -> Duration {
        self.0.config.kafka.connections_idle_max
    }

    async fn reserve(&self, bytes: usize) {
        self.0.credits.reserve_to_receive(bytes).await;
    }

    fn try_reserve(&self, bytes: usize) -> bool {
        self.0.credits.try_reserve_to_receive(bytes)
    }

    fn add_holder(&self, holder: Rc<Notify>) {
        self.0.credits.add_holder(holder);
    }

    fn remove_holder(&self, holder: &Rc<Notify>) {
        self.0.credits.remove_holder(holder);
    }

    fn is_tight(&self) -> bool {
        self.0.credits.is_tight()
    }

    fn complain(&self, connection: &Connection, why: &dyn Display) {
        self.0.complaints.connection_ended(connection, why);
    }

    fn release(&self, bytes: usize) {
        self.0.credits.give_back_received(bytes);
    }

    async fn wait_for_room(&self) {
        self.0.credits.wait_for_room().await;
    }
}
