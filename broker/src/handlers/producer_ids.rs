//! InitProducerId: asked of the control thread, which never gives out an id twice.

use std::rc::Rc;

use protocol::api::{InitProducerIdRequest, Message};
use protocol::frame::FrameHeader;

use super::Refusal;
use super::topics::begin;
use crate::connection::Connection;
use crate::control::ControlMessage;
use crate::shard::Shard;

pub fn handle(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    header: FrameHeader,
    body: &[u8],
) -> Result<(), Refusal> {
    let request = InitProducerIdRequest::read(body)?;
    let asker = begin(shard, connection, header)?;
    shard.send_to_control(ControlMessage::InitProducerId { asker, request });
    Ok(())
}
