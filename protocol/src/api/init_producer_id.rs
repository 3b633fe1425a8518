//! InitProducerId: an id for an idempotent producer, or the next epoch of the one it has (KIP-98, KIP-360).
//!
//!     request   id -1, epoch -1                    ─▶  a new id, epoch 0
//!     request   id 4000, epoch 2                   ─▶  id 4000, epoch 3
//!     request   id 4000, epoch 32767 (the last)    ─▶  a new id, epoch 0
//!
//! No id is given out twice. Asking twice for the epoch after the same one gives the same answer, so
//! a request whose reply was lost is simply sent again: at worst an id is never used.

use super::wire::{DecodeError, Reader, Writer};
use super::{Api, Message};
use crate::model::{ErrorCode, ProducerEpoch, ProducerId};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InitProducerIdRequest {
    pub timeout_ms: u32,
    /// What the producer has by now, and wants the next epoch of.
    pub producer: Option<(ProducerId, ProducerEpoch)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InitProducerIdReply {
    pub error: ErrorCode,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
}

impl InitProducerIdReply {
    pub fn refused(error: ErrorCode) -> InitProducerIdReply {
        InitProducerIdReply { error, producer_id: ProducerId::NONE, producer_epoch: ProducerEpoch::NONE }
    }
}

impl Message for InitProducerIdRequest {
    const API: Api = Api::InitProducerId;

    fn write(&self, w: &mut Writer<'_>) {
        let (id, epoch) = self.producer.unwrap_or((ProducerId::NONE, ProducerEpoch::NONE));
        w.u32("timeout_ms", self.timeout_ms);
        w.i64("producer_id", id.get());
        w.i16("producer_epoch", epoch.get());
    }

    fn read(body: &[u8]) -> Result<InitProducerIdRequest, DecodeError> {
        let mut r = Reader::new(body);
        let timeout_ms = r.u32("timeout_ms")?;
        let id = ProducerId::new(r.u64("producer_id")?.cast_signed());
        let epoch = ProducerEpoch::new(r.u16("producer_epoch")?.cast_signed());
        r.finish()?;
        let producer = match (id, epoch) {
            (ProducerId::NONE, ProducerEpoch::NONE) => None,
            (id, epoch) if 0 <= id.get() && 0 <= epoch.get() => Some((id, epoch)),
            _ => {
                let why = "an id and an epoch are both -1, or neither is negative";
                return Err(DecodeError::Invalid { field: "producer_id", why });
            }
        };
        Ok(InitProducerIdRequest { timeout_ms, producer })
    }
}

impl Message for InitProducerIdReply {
    const API: Api = Api::InitProducerId;

    fn write(&self, w: &mut Writer<'_>) {
        w.u16("error", self.error.to_wire());
        w.i64("producer_id", self.producer_id.get());
        w.i16("producer_epoch", self.producer_epoch.get());
    }

    fn read(body: &[u8]) -> Result<InitProducerIdReply, DecodeError> {
        let mut r = Reader::new(body);
        let reply = InitProducerIdReply {
            error: ErrorCode::from_wire(r.u16("error")?),
            producer_id: ProducerId::new(r.u64("producer_id")?.cast_signed()),
            producer_epoch: ProducerEpoch::new(r.u16("producer_epoch")?.cast_signed()),
        };
        r.finish()?;
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_without_an_epoch_is_refused_and_so_is_the_reverse() {
        for (id, epoch) in [(-1, 0), (0, -1), (-2, -2), (7, -2)] {
            let producer = Some((ProducerId::new(id), ProducerEpoch::new(epoch)));
            let mut body = Vec::new();
            InitProducerIdRequest { timeout_ms: 1, producer }.append_to(&mut body);
            assert!(InitProducerIdRequest::read(&body).is_err(), "{id} {epoch}");
        }
    }
}
