//! Buffers of batches that were acknowledged, for the batches to come.
//!
//!     batch ─▶ acknowledged, nobody holds its bytes ─▶ │64 K│1 M│1 M│ ─▶ the next batch of any partition
//!                                                       └ oldest goes when there are too many
//!
//! A fresh buffer of a mebibyte is 256 page faults, each dearer than copying its page; small ones are
//! beyond what the allocator keeps at hand per thread, at one a request. The newest goes first: it is
//! the one that is still in the cache.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;

use crate::driver::lock;
use crate::limits::SPARE_BUFFERS_BYTES;

#[derive(Debug, Default)]
pub(super) struct Spares(Mutex<List>);

#[derive(Debug, Default)]
struct List {
    buffers: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Spares {
    /// A buffer for about `len` bytes, if there is one that is neither too small nor wasted on them.
    pub fn take(&self, len: usize) -> Option<Vec<u8>> {
        let list = &mut *lock(&self.0);
        let fits = |buffer: &Vec<u8>| len <= buffer.capacity() && buffer.capacity() / 4 <= len;
        let at = list.buffers.iter().rev().take(LOOKED_AT).position(fits)?;
        let buffer = list.buffers.remove(list.buffers.len() - 1 - at)?;
        list.bytes -= buffer.capacity();
        Some(buffer)
    }

    /// Keeps the buffer of a batch, if nobody else holds it.
    pub fn put(&self, batch: Bytes) {
        let Ok(batch) = batch.try_into_mut() else { return };
        let buffer = Vec::from(batch);
        let list = &mut *lock(&self.0);
        list.bytes += buffer.capacity();
        list.buffers.push_back(buffer);
        while list.bytes > SPARE_BUFFERS_BYTES
            && let Some(oldest) = list.buffers.pop_front()
        {
            list.bytes -= oldest.capacity();
        }
    }
}

/// How many buffers are looked at for one that fits: batches of one producer are mostly of one size.
const LOOKED_AT: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_nobody_holds_is_used_again_where_it_fits() {
        let spares = Spares::default();
        let batch = Bytes::from(vec![7; 1000]);
        let (held, at) = (batch.clone(), batch.as_ptr());
        spares.put(batch);
        assert_eq!(spares.take(1000), None, "somebody still reads it");
        spares.put(held);
        assert_eq!((spares.take(1001), spares.take(249)), (None, None));
        assert_eq!(spares.take(900).map(|buffer| buffer.as_ptr()), Some(at));
        assert_eq!(spares.take(900), None);
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let spares = Spares::default();
        let half = SPARE_BUFFERS_BYTES / 2;
        for len in [half, half - 1, half] {
            spares.put(Bytes::from(vec![0; len]));
        }
        let left = || spares.take(half - 1).map(|buffer| buffer.capacity());
        assert_eq!([left(), left(), left()], [Some(half), Some(half - 1), None]);
    }
}
