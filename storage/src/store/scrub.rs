//! Scrub: finished segments are read again, slowly, so that damage is found while there still is
//! another copy of it somewhere, and not by the consumer who needs it.
//!
//!     pass    log a: segment 0 ▸ 1 ▸ 2 ▸ log b: segment 0 ▸ …         one window of 1 MiB at each step
//!
//! Damage is reported and counted; the segment stays as it is and reads of the damaged batch fail with
//! a typed error, as they would have anyway.

use std::rc::Rc;

use protocol::batch::batches;
use protocol::model::Offset;

use super::cold::ColdError;
use super::{OpenLog, Store, count};
use crate::disk::Disk;
use crate::id::LogId;

/// How far a pass over a store's segments has come. A scrub that is forgotten begins anew.
#[derive(Default)]
pub struct Scrubber {
    /// Logs of this pass that are still to be read, last first.
    logs: Vec<LogId>,
    at: Option<Place>,
}

#[derive(Clone, Copy)]
struct Place {
    log: LogId,
    segment: Offset,
    position: u64,
}

impl Scrubber {
    /// Reads one window and checks it. Returns the bytes read: 0 when a pass has ended.
    pub async fn step<D: Disk>(&mut self, store: &Store<D>) -> u64 {
        let Some(place) = self.at.or_else(|| self.begin_next(store)) else {
            count(&store.counters.scrub_passes, 1);
            self.logs = store.logs().iter().map(|log| log.id()).collect();
            self.logs.sort_unstable_by(|a, b| b.cmp(a));
            return 0;
        };
        self.at = None;
        let Some(log) = store.get(place.log) else { return 0 };
        match check_window(store, &log, place).await {
            Ok(0) => {
                self.at = next_segment(&log, Some(place.segment));
                0
            }
            Ok(bytes) => {
                self.at = Some(Place { position: place.position + bytes, ..place });
                count(&store.counters.scrubbed_bytes, bytes);
                bytes
            }
            Err(ColdError::Replaced { .. }) => {
                self.at = next_segment(&log, Some(place.segment));
                0
            }
            Err(error) => {
                tracing::error!(log = %place.log, %error, "the scrub found damage in a closed segment");
                count(&store.counters.scrub_damage, 1);
                self.at = next_segment(&log, Some(place.segment));
                0
            }
        }
    }

    fn begin_next<D: Disk>(&mut self, store: &Store<D>) -> Option<Place> {
        while let Some(id) = self.logs.pop() {
            let first = store.get(id).and_then(|log| next_segment(&log, None));
            if first.is_some() {
                return first;
            }
        }
        None
    }
}

/// The finished segment behind `after`, or the first one.
fn next_segment<D: Disk>(log: &Rc<OpenLog<D>>, after: Option<Offset>) -> Option<Place> {
    let unfinished = log.unfinished.get();
    let segment = log.read(|log| {
        // What is expired may be gone already.
        let kept = log.finished(unfinished).filter(|segment| log.start() < segment.next());
        let mut bases = kept.map(|segment| segment.base());
        bases.find(|base| after.is_none_or(|after| after < *base))
    })?;
    Some(Place { log: log.id(), segment, position: 0 })
}

/// Checks whole batches from `place` on. Returns their bytes, 0 at the end of the segment.
async fn check_window<D: Disk>(
    store: &Store<D>,
    log: &Rc<OpenLog<D>>,
    place: Place,
) -> Result<u64, ColdError> {
    let (segment, at) = (place.segment, place.position);
    let unfinished = log.unfinished.get();
    let expired = |log: &crate::log::Log<D::Buf>| log.expired(unfinished, Offset::MAX).contains(&segment);
    let Some(read) = log.read(|log| log.plan_whole(segment).filter(|_| !expired(log))) else {
        return Err(ColdError::Replaced { segment });
    };
    if read.end <= at {
        return Ok(0);
    }
    let file = store.file_of(log, read).await?;
    let found = store.read_checked(&file, read, at).await?;
    let first = batches(found.bytes()).next().and_then(Result::ok).map(|batch| batch.base_offset());
    let in_place = first.is_some_and(|first| segment <= first && (0 < at || !read.dense || first == segment));
    if in_place { Ok(found.range.len() as u64) } else { Err(ColdError::Corrupt { segment, at }) }
}
