//! A partition on its home shard: its log, and who waits for it.
//!
//!     append ─▶ log ─▶ parked replies, in the order of their offsets ─ durable(upto) ─▶ answered
//!                      waiting fetches ───────────────────────────────┘ woken
//!
//! Handlers know this type and nothing of segments, chunks or disks.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use protocol::api::{FetchEntry, FetchResult, ProduceResult};
use protocol::batch::{Batch, batches, decode_batch};
use protocol::model::limits::FRAME_BODY_BYTES_MAX;
use protocol::model::{ErrorCode, LeaderEpoch, Offset, Timestamp};
use storage::log::{AppendError, Fence, LogState, ReadError, ReadPlan, Slice};
use storage::store::{ColdError, OpenLog, Store, TimeSearch};

use super::message::Origin;
use super::requests::Fetched;
use crate::config::TopicConfig;
use crate::connection::Piece;
use crate::control::TopicView;
use crate::runtime::ShardDisk;

type Buf = <ShardDisk as storage::disk::Buffers>::Buf;

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
    topic: Arc<TopicView>,
    parked: RefCell<VecDeque<Parked>>,
    /// Fetches that wait for records here.
    fetches: RefCell<Vec<u64>>,
}

/// What was appended.
pub struct Appended {
    pub bytes: usize,
    pub records: u64,
}

impl Partition {
    pub fn new(log: Rc<OpenLog<ShardDisk>>, topic: Arc<TopicView>) -> Partition {
        Partition { log, topic, parked: RefCell::default(), fetches: RefCell::default() }
    }

    pub fn topic(&self) -> &Arc<TopicView> {
        &self.topic
    }

    fn config(&self) -> &TopicConfig {
        self.topic.config()
    }

    /// Takes a record set whole or not at all, and parks `origin` until it is durable.
    pub fn append(
        &self,
        store: &Store<ShardDisk>,
        records: &[u8],
        origin: Option<Origin>,
    ) -> Result<Appended, ErrorCode> {
        let mut count = 0;
        for batch in batches(records) {
            let batch = batch.map_err(|error| error.code())?;
            batch.check_for_append(self.config().max_message_bytes).map_err(|error| error.code())?;
            count += u64::from(batch.record_count().get());
        }
        let next = self.log.read(|log| log.check_open().map(|()| log.ladder().next()));
        let next = next.map_err(|error| append_code(&error))?;
        let fits = next.get().checked_add(count).is_some_and(|end| end <= Offset::MAX.get());
        if count == 0 || !fits {
            return Err(ErrorCode::InvalidRecord);
        }
        let mut base = None;
        let mut upto = Offset::ZERO;
        let mut rest = records;
        while let Ok((batch, after)) = Batch::split_first(rest) {
            let (first, next) = store.append(&self.log, &batch).map_err(|error| append_code(&error))?;
            base.get_or_insert(first);
            upto = next;
            rest = after;
        }
        let base = base.expect("BUG: a record set with records holds a batch");
        self.parked.borrow_mut().push_back(Parked { upto, base, bytes: records.len(), origin });
        Ok(Appended { bytes: records.len(), records: count })
    }

    /// Records below `upto`, the high watermark if it is `None`, are gone for every reader. Returns
    /// the offset at which the log begins now, durable.
    pub async fn delete_records(
        &self,
        _store: &Store<ShardDisk>,
        _upto: Option<Offset>,
    ) -> Result<Offset, ErrorCode> {
        Err(ErrorCode::InvalidRequest)
    }

    /// The next parked batch that is durable now.
    pub fn next_durable(&self, upto: Offset) -> Option<Settled> {
        let mut parked = self.parked.borrow_mut();
        let first = parked.pop_front_if(|first| first.upto <= upto)?;
        let result = ProduceResult {
            error: ErrorCode::None,
            base_offset: Some(first.base),
            log_start_offset: Some(self.log.read(|log| log.start())),
        };
        Some(Settled { origin: first.origin, bytes: first.bytes, result })
    }

    /// The next parked batch, which will never be known to be durable.
    pub fn next_refused(&self, fence: &Fence) -> Option<Settled> {
        let parked = self.parked.borrow_mut().pop_front()?;
        let result = ProduceResult::refused(fence_code(fence));
        Some(Settled { origin: parked.origin, bytes: parked.bytes, result })
    }

    pub fn add_fetch(&self, fetch: u64) {
        self.fetches.borrow_mut().push(fetch);
    }

    pub fn remove_fetch(&self, fetch: u64) {
        self.fetches.borrow_mut().retain(|waiting| *waiting != fetch);
    }

    pub fn waiting_fetches(&self) -> Vec<u64> {
        self.fetches.borrow().clone()
    }

    /// Whether a fetch at this offset is to be answered at once: with an error, or with the bytes it
    /// could get.
    pub fn readable_bytes(&self, entry: &FetchEntry, enough: usize) -> Result<usize, ErrorCode> {
        self.check_readable(entry.leader_epoch)?;
        let mut none = Vec::new();
        self.log.read(|log| match log.plan_read(entry.fetch_offset, 0, &mut none) {
            Err(error) => Err(read_code(&error)),
            Ok(ReadPlan::AtEnd) => Ok(0),
            Ok(_) => Ok(log.readable_bytes(entry.fetch_offset, enough).min(entry.max_bytes as usize).max(1)),
        })
    }

    /// Reads from memory; `Err(plan)` if the records are on disk only.
    pub fn read_hot(&self, store: &Store<ShardDisk>, entry: &FetchEntry, max_bytes: usize) -> HotRead {
        if let Err(error) = self.check_readable(entry.leader_epoch) {
            return HotRead::Done(self.refused(error));
        }
        let mut slices: Vec<Slice<Buf>> = Vec::new();
        match store.plan_read(&self.log, entry.fetch_offset, max_bytes, &mut slices) {
            Err(error) => HotRead::Done(self.refused(read_code(&error))),
            Ok(ReadPlan::AtEnd) => HotRead::Done((self.found(0), Vec::new())),
            Ok(ReadPlan::Hot { bytes }) => {
                let pieces = slices.into_iter().map(|slice| Piece::new(slice.buf, slice.range)).collect();
                HotRead::Done((self.found(bytes), pieces))
            }
            Ok(ReadPlan::Cold(_)) => HotRead::OnDisk,
        }
    }

    /// Reads from disk, or from memory if it got there meanwhile.
    pub async fn read_any(&self, store: &Store<ShardDisk>, entry: &FetchEntry, max_bytes: usize) -> Fetched {
        let mut slices = Vec::new();
        let plan = store.plan_read(&self.log, entry.fetch_offset, max_bytes, &mut slices);
        let Ok(ReadPlan::Cold(cold)) = plan else {
            return match self.read_hot(store, entry, max_bytes) {
                HotRead::Done(fetched) => fetched,
                HotRead::OnDisk => panic!("BUG: the records were in memory a moment ago"),
            };
        };
        match store.read_cold(&self.log, cold, entry.fetch_offset, max_bytes).await {
            Ok(read) => {
                let len = read.range.len();
                (self.found(len), vec![Piece::new(Rc::new(read.buf), read.range)])
            }
            Err(error) => {
                tracing::error!(log = %self.log.id(), %error, "a fetch failed");
                self.refused(cold_code(&error))
            }
        }
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
        (FetchResult { error, ..self.found(0) }, Vec::new())
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

    /// The first record whose timestamp is `time` or later, and its timestamp.
    pub async fn find_time(
        &self,
        store: &Store<ShardDisk>,
        time: Timestamp,
    ) -> Result<Option<(Offset, Timestamp)>, ErrorCode> {
        let found = store.find_time(&self.log, time).await.map_err(|error| cold_code(&error))?;
        let TimeSearch::Batch(batch) = found else { return Ok(None) };
        let bytes = bytes::Bytes::copy_from_slice(batch.bytes());
        let records = decode_batch(bytes, FRAME_BODY_BYTES_MAX).map_err(|_| ErrorCode::CorruptMessage)?;
        for record in records {
            if time <= record.timestamp && record.offset < self.latest() {
                return Ok(Some((record.offset, record.timestamp)));
            }
        }
        // The batch's header promised a record as late as that and its records do not keep it.
        Ok(None)
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
    }
}
