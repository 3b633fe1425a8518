//! CreateTopic, CreatePartitions, AlterTopic and DeleteTopic: decided by the control thread, answered when
//! every shard has done it.

use std::rc::Rc;

use protocol::api::{
    AlterTopicRequest, CreatePartitionsRequest, CreateTopicRequest, DeleteTopicRequest, Message,
};
use protocol::frame::FrameHeader;
use protocol::model::ErrorCode;

use super::Refusal;
use crate::connection::Connection;
use crate::control::{ControlMessage, ControlReply, TopicKey};
use crate::shard::{Origin, Shard, Waiting};
use smallvec::smallvec;

pub fn handle_create(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
    body: &[u8],
) -> Result<(), Refusal> {
    let request = CreateTopicRequest::read(body)?;
    let asker = begin(shard, connection, header)?;
    shard.send_to_control(ControlMessage::CreateTopic { asker, request });
    Ok(())
}

pub fn handle_create_partitions(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
    body: &[u8],
) -> Result<(), Refusal> {
    let request = CreatePartitionsRequest::read(body)?;
    let asker = begin(shard, connection, header)?;
    shard.send_to_control(ControlMessage::CreatePartitions { asker, request });
    Ok(())
}

pub fn handle_alter(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
    body: &[u8],
) -> Result<(), Refusal> {
    let request = AlterTopicRequest::read(body)?;
    let asker = begin(shard, connection, header)?;
    shard.send_to_control(ControlMessage::AlterTopic { asker, request });
    Ok(())
}

pub fn handle_delete(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
    body: &[u8],
) -> Result<(), Refusal> {
    let request = DeleteTopicRequest::read(body)?;
    let asker = begin(shard, connection, header)?;
    let topic = TopicKey::Name(request.name);
    shard.send_to_control(ControlMessage::DeleteTopic { asker, topic });
    Ok(())
}

/// Notes a request that the control thread will answer.
pub(super) fn begin(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
) -> Result<Origin, Refusal> {
    if shard.is_stopping() {
        let error = ErrorCode::ShuttingDown;
        return Err(Refusal { error, message: error.text().to_owned() });
    }
    let waiting = Waiting::Control { replies: smallvec![None] };
    let request = shard.requests.borrow_mut().begin(connection, header, 1, waiting);
    Ok(Origin { shard: shard.id, request, part: 0 })
}

/// The control thread has answered one part.
pub fn take_control_reply(shard: &Shard, origin: Origin, reply: ControlReply) {
    shard.complete(origin, |waiting| {
        let Waiting::Control { replies } = waiting else { panic!("BUG: not for the control thread") };
        *replies.get_mut(origin.part as usize).expect("BUG: no such part") = Some(reply);
    });
}

/// Appends the body of the reply to a request of one part.
pub fn write_control_reply(reply: &ControlReply, out: &mut Vec<u8>) {
    match reply {
        ControlReply::Created(reply) => reply.append_to(out),
        ControlReply::Grown(reply) => reply.append_to(out),
        ControlReply::Altered(reply) => reply.append_to(out),
        ControlReply::Deleted(reply, _) => reply.append_to(out),
        ControlReply::ProducerId(reply) => reply.append_to(out),
    }
}
