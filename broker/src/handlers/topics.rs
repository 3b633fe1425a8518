//! CreateTopic, CreatePartitions, AlterTopic and DeleteTopic: decided by the control thread, answered when every shard has done it.

use std::rc::Rc;

use protocol::api::{
    AlterTopicReply, AlterTopicRequest, CreatePartitionsReply, CreatePartitionsRequest, CreateTopicReply,
    CreateTopicRequest, DeleteTopicReply, DeleteTopicRequest, Message,
};
use protocol::frame::FrameHeader;
use protocol::model::ErrorCode;

use super::Refusal;
use crate::connection::Connection;
use crate::control::{Asker, ControlMessage};
use crate::shard::{RequestKey, Shard, Waiting};

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
    shard.send_to_control(ControlMessage::DeleteTopic { asker, request });
    Ok(())
}

/// Notes a request that the control thread will answer.
pub(super) fn begin(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
) -> Result<Asker, Refusal> {
    if shard.is_stopping() {
        let error = ErrorCode::ShuttingDown;
        return Err(Refusal { error, message: error.text().to_owned() });
    }
    let request = shard.requests.borrow_mut().begin(connection, header, 1, Waiting::Control);
    Ok(Asker { shard: shard.id, request })
}

pub fn topic_created(shard: &Rc<Shard>, request: RequestKey, reply: &CreateTopicReply) {
    answer(shard, request, |out| reply.append_to(out));
}

pub fn partitions_created(shard: &Rc<Shard>, request: RequestKey, reply: &CreatePartitionsReply) {
    answer(shard, request, |out| reply.append_to(out));
}

pub fn topic_altered(shard: &Rc<Shard>, request: RequestKey, reply: &AlterTopicReply) {
    answer(shard, request, |out| reply.append_to(out));
}

pub fn topic_deleted(shard: &Rc<Shard>, request: RequestKey, reply: &DeleteTopicReply) {
    answer(shard, request, |out| reply.append_to(out));
}

/// The control thread has answered.
pub(super) fn answer(shard: &Rc<Shard>, request: RequestKey, body: impl FnOnce(&mut Vec<u8>)) {
    let done = shard.requests.borrow_mut().complete(request, |_| {});
    let request = done.expect("BUG: a request to the control thread has one part");
    request.connection.reply(request.header.api, request.header.correlation, body);
    shard.touch(&request.connection);
}
