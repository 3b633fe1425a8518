//! InitProducerId: idempotent producers get their number from the control thread, as the native ones.
//!
//!     no transactional id    a new id, epoch 0, whatever id and epoch it has now: as Kafka
//!     of a transaction       refused, there are none yet

use kafka::messages::{InitProducerIdRequest, InitProducerIdResponse};
use kafka::{ErrorCode as KafkaCode, Malformed};
use protocol::api::InitProducerIdRequest as NativeRequest;
use protocol::model::ErrorCode;
use smallvec::smallvec;

use super::{Asked, Call, Shape, code};
use crate::connection::Connection;
use crate::control::{ControlMessage, ControlReply};
use crate::handlers;
use crate::shard::Waiting;

pub fn init(call: Call<'_>) -> Result<(), Malformed> {
    let request: InitProducerIdRequest<'_> = call.parse()?;
    if request.transactional_id.is_some() {
        // Not retried: the application learns at once that it cannot have transactions.
        call.respond(&refused(KafkaCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED));
        return Ok(());
    }
    if (request.producer_id == -1) != (request.producer_epoch == -1) {
        call.respond(&refused(KafkaCode::INVALID_REQUEST));
        return Ok(());
    }
    if call.shard.is_stopping() {
        call.respond(&refused(code(ErrorCode::CoordinatorNotAvailable)));
        return Ok(());
    }
    let waiting = Waiting::Control { replies: smallvec![None] };
    let asked = call.asked(Shape::Plain);
    handlers::begin_entries(
        call.shard,
        call.connection,
        asked,
        vec![NativeRequest { timeout_ms: 0, producer: None }],
        waiting,
        |shard, origin, request| {
            shard.send_to_control(ControlMessage::InitProducerId { asker: origin, request });
        },
    );
    Ok(())
}

pub fn reply(connection: &Connection, asked: &Asked, mut replies: impl Iterator<Item = ControlReply>) {
    let Some(ControlReply::ProducerId(reply)) = replies.next() else { panic!("BUG: not a producer id") };
    let response = match reply.error.is_ok() {
        true => InitProducerIdResponse {
            throttle_ms: 0,
            error: KafkaCode::NONE,
            producer_id: reply.producer_id.get(),
            producer_epoch: reply.producer_epoch.get(),
        },
        false => refused(code(reply.error)),
    };
    asked.respond(connection, &response);
}

fn refused(error: KafkaCode) -> InitProducerIdResponse {
    InitProducerIdResponse { throttle_ms: 0, error, producer_id: -1, producer_epoch: -1 }
}
