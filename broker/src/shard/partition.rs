//! A partition on its home shard: its log, and who waits for it.
//!
//!     append ─▶ log ─▶ parked replies, in the order of their offsets ─ durable(upto) ─▶ answered
//!                      waiting fetches ───────────────────────────────┘ woken
//!
//! Handlers know this type and nothing of segments, chunks or disks.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use protocol::api::{FetchEntry, FetchResult, ProduceResult};
use protocol::batch::{Batch, batches, decode_batch};
use protocol::model::limits::FRAME_BODY_BYTES_MAX;
use protocol::model::{ErrorCode, LeaderEpoch, Offset, Timestamp};
use smallvec::{SmallVec, smallvec};
use storage::id::LogId;
use storage::log::{Accepted, AppendError, Fence, LogState, ReadError, ReadPlan, Slice};
use storage::store::{ColdError, DeleteError, OpenLog, Store, TimeSearch};

use super::groups::OFFSETS_TOPIC;
use super::intake::{Checked, Unpacking};
use super::message::Origin;
use super::requests::{Fetched, Pieces};
use crate::config::TopicConfig;
use crate::connection::Piece;
use crate::control::TopicView;
use crate::runtime::ShardDisk;

/// Where records lie in chunks.
pub type Slices = Vec<Slice<<ShardDisk as storage::disk::Buffers>::Buf>>;

/// A batch that was accepted and is not durable yet.
pub struct Parked {
    /// Offset after its last record.
    upto: Offset,
    base: Offset,
    bytes: usize,
    /// Who waits for it; nobody with acks 0.
    origin: Option<Origin>,
}

/// A parked batch whose fate is known.
pub struct Settled {
    pub origin: Option<Origin>,
    pub bytes: usize,
    pub result: ProduceResult,
}

pub struct Partition {
    log: Rc<OpenLog<ShardDisk>>,
    /// As the last view has it.
    topic: RefCell<Arc<TopicView>>,
    is_internal: bool,
    parked: RefCell<VecDeque<Parked>>,
    /// Fetches that wait for records here.
    fetches: RefCell<BTreeSet<u64>>,
}

/// What became of a record set.
pub enum Appended {
    /// Its origin is answered once it is committed.
    Parked { bytes: usize, records: u64 },
    /// It was stored before: the answer is there.
    Known(ProduceResult),
}

impl Partition {
    pub fn new(log: Rc<OpenLog<ShardDisk>>, topic: Arc<TopicView>) -> Partition {
        let is_internal = topic.name().as_str() == OFFSETS_TOPIC;
        let topic = RefCell::new(topic);
        Partition { log, topic, is_internal, parked: RefCell::default(), fetches: RefCell::default() }
    }

    pub fn id(&self) -> LogId {
        self.log.id()
    }

    /// Whether only the broker itself writes to it.
    pub fn is_internal(&self) -> bool {
        self.is_internal
    }

    /// The offset behind the last record that was taken.
    pub fn accepted_end(&self) -> Offset {
        self.log.read(|log| log.ladder().next())
    }

    pub fn topic(&self) -> Arc<TopicView> {
        self.topic.borrow().clone()
    }

    fn config(&self) -> TopicConfig {
        *self.topic.borrow().config()
    }

    /// Takes over what the topic is told now; what is appended from here on is judged by it.
    pub fn reconfigure(&self, store: &Store<ShardDisk>, topic: Arc<TopicView>) {
        let config = topic.config().log_config();
        *self.topic.borrow_mut() = topic;
        if self.log.read(|log| *log.config() != config) {
            store.reconfigure(&self.log, config);
        }
    }

    /// Whether the log waits for a flush before it goes by another `flush.ms` or `flush.messages`.
    pub fn is_changing_over(&self) -> bool {
        self.log.read(|log| log.is_changing_over())
    }

    /// Takes a record set whole or not at all, and parks `origin` until it is committed.
    pub fn append(
        &self,
        store: &Store<ShardDisk>,
        records: &[u8],
        now: Timestamp,
        origin: Option<Origin>,
        unpacking: &mut Unpacking,
    ) -> Result<Appended, ErrorCode> {
        let checked = self.check_records(records, now, unpacking)?;
        let mut stored: Option<(Offset, Offset)> = None;
        for (place, batch) in batches(records).flatten().enumerate() {
            let mended = checked.mended(place, &batch);
            let batch = match &mended {
                Some(bytes) => Batch::split_first(bytes).expect("BUG: only a timestamp has changed").0,
                None => batch,
            };
            let (base, next) =
                match store.append(&self.log, &batch, now).map_err(|error| append_code(&error))? {
                    Accepted::New { base, next } => (base, next),
                    Accepted::Duplicate { base, next } => return Ok(self.know(base, next, origin)),
                };
            stored = Some((stored.map_or(base, |(first, _)| first), next));
        }
        let (base, upto) = stored.expect("BUG: a record set with records holds a batch");
        self.parked.borrow_mut().push_back(Parked { upto, base, bytes: records.len(), origin });
        Ok(Appended::Parked { bytes: records.len(), records: checked.records })
    }

    /// Everything that can be wrong with a record set; afterwards it is appended as a whole.
    fn check_records(
        &self,
        records: &[u8],
        now: Timestamp,
        unpacking: &mut Unpacking,
    ) -> Result<Checked, ErrorCode> {
        let checked = Checked::new(records, &self.config(), now, unpacking)?;
        let next = self.log.read(|log| log.check_open().map(|()| log.ladder().next()));
        let next = next.map_err(|error| append_code(&error))?;
        let fits = next.get().checked_add(checked.records).is_some_and(|end| end <= Offset::MAX.get());
        if fits { Ok(checked) } else { Err(ErrorCode::InvalidRecord) }
    }

    /// A batch that was stored before, as [base, next): known at once if that is committed, and
    /// otherwise with everything accepted so far.
    fn know(&self, base: Offset, next: Offset, origin: Option<Origin>) -> Appended {
        let (committed, accepted) = self.log.read(|log| (log.high_watermark(), log.ladder().next()));
        if next <= committed {
            return Appended::Known(self.stored_at(base));
        }
        self.parked.borrow_mut().push_back(Parked { upto: accepted, base, bytes: 0, origin });
        Appended::Parked { bytes: 0, records: 0 }
    }

    /// Records below `upto`, the high watermark if it is `None`, are gone for every reader. Returns
    /// the offset at which the log begins now, durable. What the broker keeps for itself, and what is
    /// compacted only, stays.
    pub async fn delete_records(
        &self,
        store: &Store<ShardDisk>,
        upto: Option<Offset>,
    ) -> Result<Offset, ErrorCode> {
        if self.is_internal {
            return Err(ErrorCode::InvalidTopic);
        }
        if !self.config().cleanup.delete {
            return Err(ErrorCode::PolicyViolation);
        }
        store.delete_records(&self.log, upto).await.map_err(|error| match error {
            DeleteError::Closed(error) => append_code(&error),
            DeleteError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            DeleteError::Io(error) => {
                tracing::error!(log = %self.log.id(), %error, "cannot move the start of a log");
                ErrorCode::StorageError
            }
        })
    }

    fn stored_at(&self, base: Offset) -> ProduceResult {
        ProduceResult {
            error: ErrorCode::None,
            base_offset: Some(base),
            log_start_offset: Some(self.log.read(|log| log.start())),
        }
    }

    /// The next parked batch that is committed now.
    pub fn next_committed(&self, upto: Offset) -> Option<Settled> {
        let mut parked = self.parked.borrow_mut();
        let first = parked.pop_front_if(|first| first.upto <= upto)?;
        let result = self.stored_at(first.base);
        Some(Settled { origin: first.origin, bytes: first.bytes, result })
    }

    /// The next parked batch, which will never be known to be durable.
    pub fn next_refused(&self, fence: &Fence) -> Option<Settled> {
        let parked = self.parked.borrow_mut().pop_front()?;
        let result = ProduceResult::refused(fence_code(fence));
        Some(Settled { origin: parked.origin, bytes: parked.bytes, result })
    }

    pub fn add_fetch(&self, fetch: u64) {
        self.fetches.borrow_mut().insert(fetch);
    }

    pub fn remove_fetch(&self, fetch: u64) {
        self.fetches.borrow_mut().remove(&fetch);
    }

    /// Those who wait for records of a partition wait on for those of the one in its place.
    pub fn take_over_fetches(&self, before: &Partition) {
        self.fetches.borrow_mut().append(&mut before.fetches.borrow_mut());
    }

    pub fn waiting_fetches(&self) -> SmallVec<[u64; 4]> {
        self.fetches.borrow().iter().copied().collect()
    }

    /// Whether a fetch at this offset is to be answered at once: with an error, or with the bytes it
    /// could get.
    pub fn readable_bytes(&self, entry: &FetchEntry, enough: usize) -> Result<usize, ErrorCode> {
        self.check_readable(entry.leader_epoch)?;
        self.log.read(|log| match log.has_records_from(entry.fetch_offset) {
            Err(error) => Err(read_code(&error)),
            Ok(false) => Ok(0),
            Ok(true) => {
                Ok(log.readable_bytes(entry.fetch_offset, enough).min(entry.max_bytes as usize).max(1))
            }
        })
    }

    /// What a fetch is told whose reply has no room for records any more.
    pub fn without_records(&self, entry: &FetchEntry) -> Fetched {
        let readable = self.check_readable(entry.leader_epoch).and_then(|()| {
            self.log.read(|log| log.has_records_from(entry.fetch_offset)).map_err(|error| read_code(&error))
        });
        match readable {
            Ok(_) => (self.found(0), Pieces::new()),
            Err(error) => self.refused(error),
        }
    }

    /// Reads from memory, if the records are there. `slices` is empty before and after: it is the
    /// caller's so that its memory is used again.
    pub fn read_hot(
        &self,
        store: &Store<ShardDisk>,
        entry: &FetchEntry,
        max_bytes: usize,
        slices: &mut Slices,
    ) -> HotRead {
        if let Err(error) = self.check_readable(entry.leader_epoch) {
            return HotRead::Done(self.refused(error));
        }
        match store.plan_read(&self.log, entry.fetch_offset, max_bytes, slices) {
            Err(error) => HotRead::Done(self.refused(read_code(&error))),
            Ok(ReadPlan::AtEnd) => HotRead::Done((self.found(0), Pieces::new())),
            Ok(ReadPlan::Hot { bytes }) => {
                let pieces = slices.drain(..).map(|slice| Piece::new(slice.buf, slice.range)).collect();
                HotRead::Done((self.found(bytes), pieces))
            }
            Ok(ReadPlan::Cold(_)) => HotRead::OnDisk,
        }
    }

    /// Reads from disk, or from memory if it got there meanwhile. From disk also the offset that follows.
    pub async fn read_any(
        &self,
        store: &Store<ShardDisk>,
        entry: &FetchEntry,
        max_bytes: usize,
    ) -> (Fetched, Option<Offset>) {
        loop {
            let mut slices = Vec::new();
            let plan = store.plan_read(&self.log, entry.fetch_offset, max_bytes, &mut slices);
            let Ok(ReadPlan::Cold(cold)) = plan else {
                slices.clear();
                return match self.read_hot(store, entry, max_bytes, &mut slices) {
                    HotRead::Done(fetched) => (fetched, None),
                    HotRead::OnDisk => panic!("BUG: the records were in memory a moment ago"),
                };
            };
            match store.read_cold(&self.log, cold, entry.fetch_offset, max_bytes).await {
                Ok(read) => {
                    let (len, next) = (read.range.len(), read.next());
                    let fetched = (self.found(len), smallvec![Piece::new(Rc::new(read.buf), read.range)]);
                    return (fetched, next);
                }
                Err(ColdError::Replaced { .. }) => {}
                Err(error) => {
                    tracing::error!(log = %self.log.id(), %error, "a fetch failed");
                    return (self.refused(cold_code(&error)), None);
                }
            }
        }
    }

    /// A reader got the records of [`from`, `next`): what follows is read for it if it reads on.
    pub async fn read_ahead(&self, store: &Store<ShardDisk>, from: Offset, next: Offset, max_bytes: usize) {
        store.read_ahead(&self.log, from, next, max_bytes).await;
    }

    fn check_readable(&self, epoch: Option<LeaderEpoch>) -> Result<(), ErrorCode> {
        let deleted = self.log.read(|log| matches!(log.state(), LogState::Fenced(Fence::Deleted)));
        if deleted { Err(ErrorCode::UnknownTopicId) } else { self.check_epoch(epoch) }
    }

    fn check_epoch(&self, epoch: Option<LeaderEpoch>) -> Result<(), ErrorCode> {
        let ours = self.log.read(|log| log.epoch());
        match epoch {
            Some(theirs) if theirs < ours => Err(ErrorCode::FencedLeaderEpoch),
            Some(theirs) if ours < theirs => Err(ErrorCode::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }

    fn found(&self, records_len: usize) -> FetchResult {
        let (start, high_watermark) = self.log.read(|log| (log.start(), log.high_watermark()));
        FetchResult {
            error: ErrorCode::None,
            high_watermark: Some(high_watermark),
            last_stable_offset: Some(high_watermark),
            log_start_offset: Some(start),
            records_len: u32::try_from(records_len).expect("BUG: a fetch is bounded by the frame limit"),
        }
    }

    /// An error that still says which offsets there are.
    fn refused(&self, error: ErrorCode) -> Fetched {
        (FetchResult { error, ..self.found(0) }, Pieces::new())
    }

    pub fn earliest(&self) -> Offset {
        self.log.read(|log| log.start())
    }

    pub fn latest(&self) -> Offset {
        self.log.read(|log| log.high_watermark())
    }

    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.log.read(|log| log.epoch())
    }

    pub fn check_leader_epoch(&self, epoch: Option<LeaderEpoch>) -> Result<(), ErrorCode> {
        self.check_epoch(epoch)
    }

    /// The first record with the largest timestamp of all that are readable.
    pub async fn find_max_time(
        &self,
        store: &Store<ShardDisk>,
    ) -> Result<Option<(Offset, Timestamp)>, ErrorCode> {
        let newest = self.log.read(|log| log.max_timestamp());
        let mut found = self.find_time(store, newest).await?;
        // What had the largest time may be deleted, or not be durable yet: then it is searched for, since
        // there is a record at or after every time up to the largest.
        let (mut low, mut high) = (-1, if found.is_some() { -1 } else { newest.millis() });
        while low < high {
            let middle = high - (high - low) / 2;
            match self.find_time(store, Timestamp::from_millis(middle)).await? {
                Some((offset, time)) => {
                    found = Some((offset, time));
                    low = time.millis();
                }
                None => high = middle - 1,
            }
        }
        Ok(found)
    }

    /// The first record whose timestamp is `time` or later, and its timestamp.
    pub async fn find_time(
        &self,
        store: &Store<ShardDisk>,
        time: Timestamp,
    ) -> Result<Option<(Offset, Timestamp)>, ErrorCode> {
        let mut from = self.earliest();
        loop {
            let found = match store.find_time(&self.log, time, from).await {
                Err(ColdError::Replaced { .. }) => continue,
                found => found.map_err(|error| cold_code(&error))?,
            };
            let TimeSearch::Batch(batch) = found else { return Ok(None) };
            let bytes = bytes::Bytes::copy_from_slice(batch.bytes());
            let Ok(records) = decode_batch(bytes, FRAME_BODY_BYTES_MAX) else {
                // As its producer made it: nobody can read on in it, but its header says when it was.
                let (batch, _) = Batch::split_first(batch.bytes()).map_err(|_| ErrorCode::CorruptLog)?;
                batch.check_crc().map_err(|_| ErrorCode::CorruptLog)?;
                let at = batch.base_offset().max(from);
                return Ok((at < self.latest()).then_some((at, batch.max_timestamp())));
            };
            let behind = records.next_offset();
            for record in records {
                if time <= record.timestamp && from <= record.offset && record.offset < self.latest() {
                    return Ok(Some((record.offset, record.timestamp)));
                }
            }
            // The record that the batch's header promised is deleted, or was never there.
            from = from.max(behind);
        }
    }
}

pub enum HotRead {
    Done(Fetched),
    OnDisk,
}

fn append_code(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::Fenced(fence) => fence_code(fence),
        AppendError::Corrupt { .. } => ErrorCode::CorruptLog,
        AppendError::OffsetsExhausted => ErrorCode::InvalidRecord,
        AppendError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
        AppendError::UnknownProducer { .. } => ErrorCode::UnknownProducerId,
        AppendError::ProducerFenced { .. } => ErrorCode::InvalidProducerEpoch,
    }
}

fn fence_code(fence: &Fence) -> ErrorCode {
    match fence {
        Fence::DiskFull(_) => ErrorCode::DiskFull,
        Fence::DiskFailed(_) => ErrorCode::StorageError,
        Fence::Deleted => ErrorCode::UnknownTopicId,
    }
}

fn read_code(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::Corrupt { .. } => ErrorCode::CorruptLog,
    }
}

fn cold_code(error: &ColdError) -> ErrorCode {
    match error {
        ColdError::Io { .. } => ErrorCode::StorageError,
        ColdError::Corrupt { .. } => ErrorCode::CorruptLog,
        ColdError::Replaced { .. } => ErrorCode::NotLeaderOrFollower,
    }
}
