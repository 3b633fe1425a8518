//! ErrorResponse: the reply to a request that was refused as a whole.

use super::wire::{DecodeError, Reader, Writer};
use crate::model::ErrorCode;
use crate::model::limits::LONG_STRING_BYTES_MAX;

/// Carried by a frame of kind [`ErrorReply`](crate::frame::FrameKind::ErrorReply), under the api and
/// the correlation id of the request it answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErrorResponse {
    pub error: ErrorCode,
    /// What is wrong, for people.
    pub message: String,
}

impl ErrorResponse {
    pub fn write(&self, w: &mut Writer<'_>) {
        w.u16("error", self.error.to_wire());
        w.message("message", &self.message);
    }

    pub fn append_to(&self, out: &mut Vec<u8>) {
        self.write(&mut Writer::new(out));
    }

    pub fn read(body: &[u8]) -> Result<ErrorResponse, DecodeError> {
        let mut r = Reader::new(body);
        let response = ErrorResponse {
            error: ErrorCode::from_wire(r.u16("error")?),
            message: r.string("message", LONG_STRING_BYTES_MAX)?.to_owned(),
        };
        r.finish()?;
        Ok(response)
    }
}
