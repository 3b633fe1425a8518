//! InitProducerId: who a producer is, so that nothing it sends again is stored twice.
//!
//!     no transactional id     a new id, epoch 0, whatever id and epoch are named
//!     a transactional id      the id that belongs to it, the next epoch; since 3 of the id and epoch that
//!                             are named (KIP-360)

use super::{Request, Response};
use crate::api::Api;
use crate::error::ErrorCode;
use crate::wire::{Malformed, Read, Reader, Writer};

/// An InitProducerId request in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InitProducerIdRequest<'a> {
    pub transactional_id: Option<&'a str>,
    pub transaction_timeout_ms: i32,
    /// −1 for none; since 3.
    pub producer_id: i64,
    /// −1 for none; since 3.
    pub producer_epoch: i16,
}

impl<'a> Read<'a> for InitProducerIdRequest<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let request = InitProducerIdRequest {
            transactional_id: r.nullable_string("transactional_id")?,
            transaction_timeout_ms: r.i32("transaction_timeout_ms")?,
            producer_id: if r.since(3) { r.i64("producer_id")? } else { -1 },
            producer_epoch: if r.since(3) { r.i16("producer_epoch")? } else { -1 },
        };
        r.skip_tags()?;
        Ok(request)
    }
}

impl<'a> Request<'a> for InitProducerIdRequest<'a> {
    const API: Api = Api::InitProducerId;
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InitProducerIdResponse {
    pub throttle_ms: i32,
    pub error: ErrorCode,
    /// −1 with an error.
    pub producer_id: i64,
    /// −1 with an error.
    pub producer_epoch: i16,
}

impl Response for InitProducerIdResponse {
    const API: Api = Api::InitProducerId;

    fn write(&self, w: &mut Writer<'_>) {
        w.i32(self.throttle_ms);
        w.error(self.error);
        w.i64(self.producer_id);
        w.i16(self.producer_epoch);
        w.no_tags();
    }
}
