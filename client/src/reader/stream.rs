//! A reader as a `Stream`, for those who compose streams.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::Reader;
use crate::error::ConsumeError;
use crate::record::ConsumedRecord;

/// See [`Reader::stream`]. Dropping it loses no record.
pub struct RecordStream<'r> {
    reader: &'r mut Reader,
}

impl<'r> RecordStream<'r> {
    pub(super) fn new(reader: &'r mut Reader) -> RecordStream<'r> {
        RecordStream { reader }
    }
}

impl Stream for RecordStream<'_> {
    type Item = Result<ConsumedRecord, ConsumeError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.reader.poll_recv(cx).map(Some)
    }
}
