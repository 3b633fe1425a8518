//! Compaction: of each key the newest record stays, and tombstones for a while.
//!
//!     segments   │ clean │ clean │ dirty │ dirty │ … active
//!     1. keys    └ not read ─────┘ newest offset of each key below `upto`: as many as memory allows
//!     2. groups  │ clean + clean │ dirty + dirty │   each group of segments becomes one file,
//!                                                    swapped in as a whole (segment/swap.rs)
//!
//! A record goes if its key has a newer one below `upto`; what lies above `upto` is left for the next
//! pass, so memory is bounded however many keys there are. A tombstone goes when its batch's delete
//! horizon is over, which was set by the first pass that saw it. Offsets never change. The last batch
//! of a group stays, without records if need be, so that a reader of any offset finds a batch there.
//!
//! Keys are told apart by 128 bits of SipHash under a random key: that two of 2^32 keys collide has a
//! chance of 2^-65, and nobody can bring it about.
//!
//! Batches are unpacked and packed again off the shard's thread.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use protocol::batch::{
    Batch, Compacted, RecordIter, RecordView, Verdict, batches, compact_batch, empty_batch,
};
use protocol::batch::{Codec, decompress};
use protocol::model::limits::FRAME_BODY_BYTES_MAX;
use protocol::model::{Offset, RecordCount, Timestamp};
use siphasher::sip128::SipHasher13;

use super::cold::ColdError;
use super::commit::{fence_of, log_is_open};
use super::{Events, OpenLog, Store, count};
use crate::disk::{BLOCK, Disk, DiskFile};
use crate::log::{CompactionPlan, Swap};
use crate::mutants::Mutant;
use crate::segment::index::INDEX_BYTES_MAX;
use crate::segment::{Extent, IndexFile, SparseIndex, name, swap};
use crate::small_file;

/// Memory that one key of a pass takes in its map, about.
const KEY_BYTES: usize = 48;

/// How long a log that could not be compacted is left alone.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(60);

/// Bytes that are written at once.
const WRITE_BYTES: usize = 1 << 20;

/// Why a log was not compacted. It is as it was, or the error says that it is fenced.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    #[error(transparent)]
    Read(#[from] ColdError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the batch at {0} cannot be unpacked")]
    Batch(Offset),
    #[error("segment {0} has no index to take over")]
    Index(Offset),
    #[error("the log was closed or deleted meanwhile")]
    Closed,
}

/// The newest offset of each key.
#[derive(Clone)]
struct Keys {
    hasher: SipHasher13,
    newest: HashMap<u128, Offset>,
}

impl Keys {
    fn new() -> Keys {
        // The standard library's random state is where random numbers come from without a dependency.
        let random = || std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
        Keys { hasher: SipHasher13::new_with_keys(random(), random()), newest: HashMap::new() }
    }

    fn hash(&self, key: &[u8]) -> u128 {
        self.hasher.hash(key).as_u128()
    }

    fn note(&mut self, key: &[u8], offset: Offset) {
        let hash = self.hash(key);
        self.newest.insert(hash, offset);
    }

    fn has_newer(&self, key: &[u8], offset: Offset) -> bool {
        self.newest.get(&self.hash(key)).is_some_and(|newest| offset < *newest)
    }
}

/// What a pass knows when it writes.
struct Pass {
    keys: Keys,
    /// Keys of all records below this are known.
    upto: Offset,
    now: Timestamp,
    /// When tombstones that this pass meets for the first time may go.
    horizon: Timestamp,
}

impl<D: Disk> Store<D> {
    /// Compacts the log that needs it most, if one does. Returns whether one did. What is written is
    /// durable and in place when this returns.
    pub async fn compact_next(
        &self,
        events: &impl Events<D>,
    ) -> Result<bool, (crate::id::LogId, CompactError)> {
        let (now, clock) = ((self.options.wall_clock)(), (self.options.clock)());
        let ready = |log: &Rc<OpenLog<D>>| {
            let paused = log.compaction_pause.get().is_some_and(|until| clock < until);
            !log.busy.get() && !paused && log_is_open(log)
        };
        let due = self.logs().into_iter().filter(ready).filter_map(|log| {
            let plan = log.read(|inner| inner.plan_compaction(log.unfinished.get(), now))?;
            Some((plan.dirty as f64 / plan.total as f64, log, plan))
        });
        let Some((_, log, plan)) = due.max_by(|a, b| a.0.total_cmp(&b.0)) else { return Ok(false) };
        log.busy.set(true);
        let compacted = self.compact(&log, plan, now, events).await;
        log.busy.set(false);
        self.work.notify();
        // A log that cannot be compacted must not keep the others from it.
        log.compaction_pause.set(compacted.is_err().then(|| clock + PAUSE_AFTER_FAILURE));
        compacted.map(|()| true).map_err(|error| (log.id, error))
    }

    async fn compact(
        &self,
        log: &Rc<OpenLog<D>>,
        plan: CompactionPlan,
        now: Timestamp,
        events: &impl Events<D>,
    ) -> Result<(), CompactError> {
        let (keys, upto) = self.collect_keys(log, &plan).await?;
        let retention = log.read(|log| log.config().delete_retention_ms);
        let retention = i64::try_from(retention).unwrap_or(i64::MAX);
        let horizon = Timestamp::from_millis(now.millis().saturating_add(retention));
        let pass = Arc::new(Pass { keys, upto, now, horizon });
        let limit = log.read(|log| log.config().segment_bytes);
        let touched: Vec<_> = plan.segments.into_iter().filter(|(base, _)| *base < upto).collect();
        for group in groups(&touched, limit) {
            self.compact_group(log, group, &pass, events).await?;
        }
        log.log.borrow_mut().set_clean_upto(upto);
        count(&self.counters.compactions, 1);
        Ok(())
    }

    /// The newest offset of each key in the dirty part, and up to where it was read.
    async fn collect_keys(
        &self,
        log: &Rc<OpenLog<D>>,
        plan: &CompactionPlan,
    ) -> Result<(Keys, Offset), CompactError> {
        let budget = (self.options.compaction_bytes / KEY_BYTES).max(1);
        let mut keys = Keys::new();
        let mut upto = plan.clean_upto;
        for (base, _) in plan.segments.iter().filter(|(_, extent)| plan.clean_upto < extent.next) {
            let read = log.read(|log| log.plan_whole(*base)).ok_or(CompactError::Closed)?;
            let file = self.file_of(log, read).await?;
            let mut at = 0;
            while at < read.end {
                let found = self.read_checked(&file, read, at).await?;
                at += found.range.len() as u64;
                count(&self.counters.compaction_read_bytes, found.range.len() as u64);
                let bytes = found.bytes().to_vec();
                let noted = self.disk.offload(move || note_keys(keys, &bytes, upto, budget)).await?;
                (keys, upto) = (noted.keys, noted.upto);
                if noted.full {
                    return Ok((keys, upto));
                }
                if !log_is_open(log) || self.stopping.get() {
                    return Err(CompactError::Closed);
                }
            }
        }
        Ok((keys, upto))
    }

    /// Writes the group's records that stay into one file, and puts it in the group's place.
    async fn compact_group(
        &self,
        log: &Rc<OpenLog<D>>,
        group: &[(Offset, Extent)],
        pass: &Arc<Pass>,
        events: &impl Events<D>,
    ) -> Result<(), CompactError> {
        let [(base, first), ..] = group else { return Ok(()) };
        let (last_base, last) = group.last().expect("BUG: not empty");
        let index_path = name::index_file(*last_base);
        let index = small_file::read(&self.disk, &log.dir, &index_path, INDEX_BYTES_MAX).await?;
        let index = index.and_then(|bytes| IndexFile::from_bytes(&bytes, *last_base));
        let producers = index.ok_or(CompactError::Index(*last_base))?.producers;

        let mut writer = Writer::create(self, log, *base).await?;
        let mut sources = Vec::new();
        for (segment, extent) in group {
            let is_last = segment == last_base;
            let source = self.copy_segment(log, *segment, extent, is_last, pass, &mut writer).await?;
            sources.push(source);
        }
        if writer.dropped == 0 && writer.rewritten == 0 && group.len() == 1 {
            swap::remove_if_there(&self.disk, &log.path(&name::cleaned_file(*base))).await?;
            return Ok(());
        }
        writer.finish(self).await?;
        let extent = Extent { born: first.born, appended: last.appended, ..writer.extent };
        assert_eq!(extent.next, last.next, "BUG: the last batch of a group stays");
        let bytes = writer.index.to_bytes(extent, true, &producers);
        small_file::replace(&self.disk, &log.dir, &name::cleaned_index_file(*base), &bytes).await?;
        self.mark_compacted(log).await?;
        if !log_is_open(log) || self.stopping.get() {
            return Err(CompactError::Closed);
        }
        let swapped = self.swap(log, group, extent.next).await;
        if let Err(error) = swapped {
            // Names and what is in memory may differ now; the next recovery finishes the swap.
            tracing::error!(log = %log.id, %error, "a compacted file could not be put in place");
            self.fence(log, fence_of(&error), events);
            return Err(error.into());
        }
        log.log.borrow_mut().handle_swapped(Swap { base: *base, extent, index: writer.index });
        group.iter().for_each(|(segment, _)| self.close(log, *segment));
        self.keep_open(log, *base, Rc::new(writer.file));
        drop(sources); // held until here, so that readers found them open while their names were gone
        count(&self.counters.compacted_records, writer.dropped);
        count(&self.counters.compaction_written_bytes, extent.len);
        Ok(())
    }

    async fn copy_segment(
        &self,
        log: &Rc<OpenLog<D>>,
        segment: Offset,
        extent: &Extent,
        ends_group: bool,
        pass: &Arc<Pass>,
        writer: &mut Writer<D>,
    ) -> Result<Rc<D::File>, CompactError> {
        let read = log.read(|log| log.plan_whole(segment)).ok_or(CompactError::Closed)?;
        let file = self.file_of(log, read).await?;
        let mut at = 0;
        while at < read.end {
            let found = self.read_checked(&file, read, at).await?;
            at += found.range.len() as u64;
            count(&self.counters.compaction_read_bytes, found.range.len() as u64);
            let bytes = found.bytes().to_vec();
            let (pass, last) = (pass.clone(), ends_group.then_some(extent.next));
            let kept = self.disk.offload(move || keep_newest(&bytes, &pass, last)).await?;
            writer.push(self, kept).await?;
            if !log_is_open(log) || self.stopping.get() {
                return Err(CompactError::Closed);
            }
        }
        Ok(file)
    }

    /// Says durably that gaps between offsets are no damage, before there are any.
    async fn mark_compacted(&self, log: &Rc<OpenLog<D>>) -> io::Result<()> {
        if log.read(|log| log.is_compacted()) {
            return Ok(());
        }
        let path = log.path(name::COMPACTED_MARK);
        swap::remove_if_there(&self.disk, &path).await?;
        self.disk.create(&path).await?;
        self.disk.sync_dir(&log.dir).await?;
        log.log.borrow_mut().mark_compacted();
        Ok(())
    }

    async fn swap(&self, log: &OpenLog<D>, group: &[(Offset, Extent)], next: Offset) -> io::Result<()> {
        let (base, _) = group.first().expect("BUG: a group has segments");
        let names: Vec<String> = group
            .iter()
            .flat_map(|(segment, _)| [name::log_file(*segment), name::index_file(*segment)])
            .collect();
        let cleaned = log.path(&name::cleaned_file(*base));
        self.disk.sync_dir(&log.dir).await?;
        self.disk.rename(&cleaned, &log.path(&name::swap_file(*base, next))).await?;
        self.disk.sync_dir(&log.dir).await?;
        swap::complete(&self.disk, &log.dir, &names, *base, next).await
    }
}

/// Runs of neighbours that fit in one segment together.
fn groups(segments: &[(Offset, Extent)], limit: u64) -> Vec<&[(Offset, Extent)]> {
    let mut groups = Vec::new();
    let mut rest = segments;
    while let Some(((base, first), _)) = rest.split_first() {
        let mut len = first.len;
        let fits = |(_, extent): &&(Offset, Extent)| {
            len += extent.len;
            len <= limit && extent.next.distance_from(*base).is_some()
        };
        let more = rest.iter().skip(1).take_while(fits).count();
        let (group, behind) = rest.split_at(1 + more);
        groups.push(group);
        rest = behind;
    }
    groups
}

/// Keys noted so far.
struct Noted {
    keys: Keys,
    upto: Offset,
    full: bool,
}

/// Notes the keys of the batches at or above `from`, until there are more than `budget`.
fn note_keys(mut keys: Keys, bytes: &[u8], from: Offset, budget: usize) -> Result<Noted, CompactError> {
    let mut upto = from;
    for batch in batches(bytes).filter_map(Result::ok).filter(|batch| from < batch.next_offset()) {
        // At least one batch goes in, or a pass would get nowhere.
        if !keys.newest.is_empty() && budget < keys.newest.len() + batch.record_count().get() as usize {
            return Ok(Noted { keys, upto, full: true });
        }
        let unreadable = || CompactError::Batch(batch.base_offset());
        let unpacked = match batch.codec() {
            Codec::None => None,
            codec => Some(
                decompress(codec, batch.records_bytes(), FRAME_BODY_BYTES_MAX).map_err(|_| unreadable())?,
            ),
        };
        for record in RecordIter::new(&batch, unpacked.as_deref().unwrap_or(batch.records_bytes())) {
            let record = record.map_err(|_| unreadable())?;
            if let Some(key) = record.key {
                keys.note(key, batch.base_offset() + RecordCount::new(record.offset_delta));
            }
        }
        upto = batch.next_offset();
    }
    Ok(Noted { keys, upto, full: false })
}

/// Batches that stay, end to end.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    dropped: u64,
    rewritten: u64,
}

/// Leaves out records that have a newer one. The batch that ends at `last` stays, whatever it holds.
fn keep_newest(bytes: &[u8], pass: &Pass, last: Option<Offset>) -> Result<Kept, CompactError> {
    let mut kept = Kept { bytes: Vec::with_capacity(bytes.len()), ..Kept::default() };
    for batch in batches(bytes).filter_map(Result::ok) {
        let over = batch.delete_horizon().is_some_and(|horizon| horizon <= pass.now);
        let horizon = (batch.next_offset() <= pass.upto).then_some(pass.horizon);
        let mut dropped = 0;
        let judge = |offset: Offset, record: &RecordView<'_>| {
            let Some(key) = record.key else { return Verdict::Keep };
            let goes = pass.keys.has_newer(key, offset) || (over && record.value.is_none());
            dropped += u64::from(goes);
            if goes { Verdict::Drop } else { Verdict::Keep }
        };
        let compacted = compact_batch(&batch, FRAME_BODY_BYTES_MAX, horizon, judge);
        let compacted = compacted.map_err(|_| CompactError::Batch(batch.base_offset()))?;
        kept.dropped += dropped;
        kept.take(&batch, compacted, last);
    }
    Ok(kept)
}

impl Kept {
    fn take(&mut self, batch: &Batch<'_>, compacted: Compacted, last: Option<Offset>) {
        let must_stay = Some(batch.next_offset()) == last;
        match compacted {
            Compacted::Unchanged => self.bytes.extend_from_slice(batch.as_bytes()),
            Compacted::Rewritten(bytes) => {
                self.rewritten += 1;
                self.bytes.extend_from_slice(&bytes);
            }
            Compacted::Empty if must_stay => {
                self.rewritten += u64::from(0 < batch.record_count().get());
                self.bytes.extend_from_slice(&empty_batch(batch));
            }
            Compacted::Empty => self.rewritten += 1,
        }
    }
}

/// The file that a group becomes.
struct Writer<D: Disk> {
    file: D::File,
    /// Bytes in the file; a multiple of the block size.
    written: u64,
    pending: Vec<u8>,
    base: Offset,
    extent: Extent,
    index: SparseIndex,
    dropped: u64,
    rewritten: u64,
}

impl<D: Disk> Writer<D> {
    /// An empty file; what a crash left of an earlier one is removed.
    async fn create(store: &Store<D>, log: &OpenLog<D>, base: Offset) -> io::Result<Writer<D>> {
        let path = log.path(&name::cleaned_file(base));
        swap::remove_if_there(&store.disk, &path).await?;
        Ok(Writer {
            file: store.disk.create(&path).await?,
            written: 0,
            pending: Vec::new(),
            base,
            extent: Extent::empty(base),
            index: SparseIndex::default(),
            dropped: 0,
            rewritten: 0,
        })
    }

    async fn push(&mut self, store: &Store<D>, kept: Kept) -> io::Result<()> {
        for batch in batches(&kept.bytes).filter_map(Result::ok) {
            self.index.note(self.base, batch.base_offset(), self.extent.len, self.extent.max_timestamp);
            self.extent.push(batch.next_offset(), batch.len() as u64, batch.max_timestamp(), Timestamp::MIN);
        }
        self.dropped += kept.dropped;
        self.rewritten += kept.rewritten;
        self.pending.extend_from_slice(&kept.bytes);
        while WRITE_BYTES <= self.pending.len() {
            self.write(store, WRITE_BYTES).await?;
        }
        Ok(())
    }

    /// Writes the first `len` pending bytes, padded to a block.
    async fn write(&mut self, store: &Store<D>, len: usize) -> io::Result<()> {
        let mut buf = store.disk.alloc(len.next_multiple_of(BLOCK));
        let (head, padding) = buf.as_mut().split_at_mut(len);
        head.copy_from_slice(self.pending.get(..len).expect("BUG: no more than there is"));
        padding.fill(0);
        let padded = (head.len() + padding.len()) as u64;
        self.file.write_at(Rc::new(buf), self.written).await?;
        self.written += padded;
        self.pending.drain(..len);
        Ok(())
    }

    /// Writes the rest, cuts the file to its length and makes it durable.
    async fn finish(&mut self, store: &Store<D>) -> io::Result<()> {
        if !self.pending.is_empty() {
            self.write(store, self.pending.len()).await?;
        }
        self.file.truncate(self.extent.len).await?;
        match store.options.mutation.is(Mutant::SwapBeforeSync) {
            true => Ok(()),
            false => self.file.fdatasync().await,
        }
    }
}
