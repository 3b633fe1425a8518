//! One partition: its segments in order, each against its index and against the next one.
//!
//!     │ 0.log ── next 500 │ 500.log ── next 900 │ 900.log ──────┤ p ## 00 │
//!       index: whole file   index: whole file      checkpoint ▲   └ torn tail: at or above it
//!
//! A segment is followed if the next one begins where it ends; behind a gap there is either the end of
//! the log, with what a crash left, or damage. The questions are recovery's:
//! is the place below the checkpoint? did an index say that there was more? does a valid batch follow
//! farther away than the writes in flight could reach?

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use protocol::model::Offset;

use super::segment::{Scan, find_batch, scan};
use super::{Bases, PartitionReport, Report, VerifyError, join, names, unreadable};
use crate::log::{DurablePoint, TORN_REACH};
use crate::segment::index::INDEX_BYTES_MAX;
use crate::segment::{Extent, IndexEntry, SparseIndex, name};

pub struct Check<'a> {
    pub root: &'a Path,
    /// Relative to the root.
    pub dir: String,
    pub point: Option<DurablePoint>,
    /// Segments that compaction has written and not renamed: their first and next offsets.
    pub swaps: BTreeMap<Offset, Offset>,
    pub report: &'a mut Report,
}

enum Index {
    Missing,
    Garbled,
    Read(Vec<IndexEntry>, Extent),
}

impl Index {
    fn entries(&self) -> &[IndexEntry] {
        if let Index::Read(entries, _) = self { entries } else { &[] }
    }

    fn extent(&self) -> Option<Extent> {
        if let Index::Read(_, extent) = self { Some(*extent) } else { None }
    }
}

impl Check<'_> {
    pub fn run(mut self) -> Result<PartitionReport, VerifyError> {
        let before = self.report.damages();
        let bases = self.list()?;
        let start = self.point.map_or(Offset::ZERO, |point| point.start);
        let start = bases.keys().next().copied().map_or(start, |first| start.max(first));
        let mut totals = PartitionReport {
            topic: String::new(),
            partition: 0,
            segments: bases.len() as u64,
            batches: 0,
            records: 0,
            bytes: 0,
            start: start.get(),
            end: start.get(),
            sound: true,
        };
        self.check_first(&bases);
        self.check_segments(&bases, &mut totals)?;
        if self.report.damages() == before {
            self.check_end(&totals);
        }
        totals.sound = self.report.damages() == before;
        Ok(totals)
    }

    /// The segments that the next start will have; a note on every other file.
    fn list(&mut self) -> Result<Bases, VerifyError> {
        let found = names(self.root, &self.dir)?;
        let mut bases: Bases = found
            .iter()
            .filter_map(|file| name::parse_log_file(file))
            .map(|base| Ok((base, self.file_len(&name::log_file(base))?)))
            .collect::<Result<_, VerifyError>>()?;
        for file in &found {
            if let Some(what) = what_else(file, &bases) {
                self.report.note(&join(&self.dir, file), None, what);
            }
        }
        for (base, next) in found.iter().filter_map(|file| name::parse_swap_file(file)) {
            // Whole and durable, it takes the place of what is left of these segments.
            bases.retain(|other, _| *other < base || next <= *other);
            bases.insert(base, self.file_len(&name::swap_file(base, next))?);
            self.swaps.insert(base, next);
        }
        self.leave_out_deleted(&mut bases);
        Ok(bases)
    }

    /// Segments that lie below the log's start were to be deleted when the broker died.
    fn leave_out_deleted(&mut self, bases: &mut Bases) {
        let Some(start) = self.point.map(|point| point.start) else { return };
        let all: Vec<Offset> = bases.keys().copied().collect();
        for pair in all.windows(2) {
            if let [base, next] = *pair
                && next <= start
            {
                bases.remove(&base);
                let file = join(&self.dir, &self.file_of(base));
                self.report.note(&file, None, "lies below the start of the log; the next start deletes it");
            }
        }
    }

    /// The file that holds the segment at `base`.
    fn file_of(&self, base: Offset) -> String {
        self.swaps.get(&base).map_or_else(|| name::log_file(base), |next| name::swap_file(base, *next))
    }

    fn is_compacted(&self) -> bool {
        self.path(&join(&self.dir, name::COMPACTED_MARK)).exists()
    }

    fn file_len(&self, file: &str) -> Result<u64, VerifyError> {
        let path = join(&self.dir, file);
        Ok(fs::metadata(self.root.join(&path)).map_err(unreadable(&path))?.len())
    }

    /// Whether what checkpoints know of is missing at the beginning.
    fn check_first(&mut self, bases: &Bases) {
        let dir = self.dir.clone();
        match (bases.keys().next(), self.point) {
            (None, Some(point)) if point.start < point.offset => {
                let what = format!(
                    "records {} to {} were durable, and no segment is there",
                    point.start, point.offset
                );
                self.report.damage(&dir, None, what);
            }
            (None, _) => self.report.note(&dir, None, "has no segment: nothing was ever written to it"),
            (Some(first), Some(point)) if point.start < *first => {
                let what =
                    format!("begins at offset {first}; the segments from {} on are missing", point.start);
                self.report.damage(&dir, None, what);
            }
            _ => {}
        }
    }

    fn check_segments(&mut self, bases: &Bases, totals: &mut PartitionReport) -> Result<(), VerifyError> {
        let mut left: Vec<(Offset, u64)> = bases.iter().map(|(base, len)| (*base, *len)).collect();
        left.reverse();
        while let Some((base, _)) = left.pop() {
            let file = join(&self.dir, &self.file_of(base));
            let index = self.read_index(base)?;
            let scan = scan(&self.path(&file), base, index.entries()).map_err(unreadable(&file))?;
            totals.batches += scan.batches;
            totals.records += scan.records;
            totals.bytes += scan.len;
            totals.end = totals.end.max(scan.next.get());
            self.check_index(base, &index, &scan);
            let next = left.last().map(|(base, _)| *base);
            if self.is_followed(&file, &index, &scan, next) {
                continue;
            }
            left.reverse(); // ascending again
            if let Some(why) = self.why_damaged(base, &index, &scan, &left)? {
                let what = match &scan.bad {
                    Some(bad) => format!("bad batch: {bad}; {why}"),
                    None => match left.first() {
                        Some((next, _)) => {
                            format!("ends at offset {}, the next begins at {next}; {why}", scan.next)
                        }
                        None => format!("ends at offset {}; {why}", scan.next),
                    },
                };
                self.report.damage(&file, Some(scan.len), what);
                left.reverse();
                continue; // later segments have their own story
            }
            self.note_torn_tail(&file, &scan, &left);
            return Ok(());
        }
        Ok(())
    }

    fn path(&self, file: &str) -> PathBuf {
        self.root.join(file)
    }

    fn read_index(&self, base: Offset) -> Result<Index, VerifyError> {
        if self.swaps.contains_key(&base) {
            return Ok(Index::Missing); // what is there describes the segment that was replaced
        }
        let file = join(&self.dir, &name::index_file(base));
        let path = self.path(&file);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Index::Missing),
            Err(error) => return Err(unreadable(&file)(error)),
            Ok(meta) if (INDEX_BYTES_MAX as u64) < meta.len() => return Ok(Index::Garbled),
            Ok(_) => {}
        }
        let bytes = fs::read(&path).map_err(unreadable(&file))?;
        Ok(match SparseIndex::from_bytes(&bytes, base) {
            Some((index, extent)) => Index::Read(index.entries().to_vec(), extent),
            None => Index::Garbled,
        })
    }

    /// An index is a help and never a truth: it is rebuilt from the segment.
    fn check_index(&mut self, base: Offset, index: &Index, scan: &Scan) {
        let file = join(&self.dir, &name::index_file(base));
        match index {
            Index::Garbled => {
                self.report.note(
                    &file,
                    None,
                    "is garbled; the next start that reads the segment writes it again",
                );
            }
            Index::Read(entries, _) => {
                let within = entries.iter().filter(|entry| entry.position < scan.len).count();
                if scan.entries_met < within {
                    let what = "does not describe its segment; delete it, and the next start writes it again";
                    self.report.note(&file, None, what);
                }
            }
            Index::Missing => {}
        }
    }

    /// Whether the log goes on behind this segment as it should, in the next one.
    fn is_followed(&mut self, file: &str, index: &Index, scan: &Scan, next: Option<Offset>) -> bool {
        let Some(next) = next else { return scan.bad.is_none() && self.covers(index, scan) };
        if let Some(swap) = self.swaps.values().find(|swap| **swap == next) {
            // Its index is not renamed yet, and its name says where it ends.
            return scan.bad.is_none() && scan.next <= *swap;
        }
        // A finished segment's index knows where it ends even if compaction removed its last records.
        let finished =
            index.extent().filter(|extent| extent.len == scan.file_len && scan.len == scan.file_len);
        let end = finished.map_or(scan.next, |extent| extent.next.max(scan.next));
        let follows = next == end || (self.is_compacted() && finished.is_none() && end < next);
        let followed = scan.bad.is_none() && 0 < scan.len && follows && self.covers(index, scan);
        if followed && finished.is_none() && !matches!(index, Index::Garbled) {
            self.report.note(
                file,
                Some(scan.len),
                "was not finished, or lost its index; the next start cuts it to its length and writes the index",
            );
        }
        followed
    }

    /// Whether the segment holds what its index, and the checkpoint, say it holds.
    fn covers(&self, index: &Index, scan: &Scan) -> bool {
        index.extent().is_none_or(|extent| extent.len <= scan.len)
    }

    /// Why the end of the valid part of `base` cannot be explained by a crash.
    fn why_damaged(
        &self,
        base: Offset,
        index: &Index,
        scan: &Scan,
        later: &[(Offset, u64)],
    ) -> Result<Option<String>, VerifyError> {
        if let Some(point) = self.point
            && (base, scan.len) < (point.segment, point.position)
        {
            return Ok(Some(format!("records up to offset {} were durable", point.offset)));
        }
        if let Some(extent) = index.extent()
            && (scan.len < extent.len || (extent.len == scan.file_len && !later.is_empty()))
        {
            return Ok(Some(format!("its index says that it goes up to offset {}", extent.next)));
        }
        let mut distance = 0;
        let file_of = |base| join(&self.dir, &self.file_of(base));
        let files = std::iter::once((file_of(base), scan.len, scan.file_len.saturating_sub(scan.len)));
        let files = files.chain(later.iter().map(|(base, len)| (file_of(*base), 0, *len)));
        for (file, from, len) in files {
            let from = from + TORN_REACH.saturating_sub(distance);
            let found = find_batch(&self.path(&file), from, scan.next).map_err(unreadable(&file))?;
            if let Some(at) = found {
                return Ok(Some(format!(
                    "a valid batch follows at position {at} of {file}, farther than any crash reaches"
                )));
            }
            distance += len;
        }
        Ok(None)
    }

    fn note_torn_tail(&mut self, file: &str, scan: &Scan, later: &[(Offset, u64)]) {
        if let Some(bad) = &scan.bad {
            let what = format!("torn tail, never acknowledged; the next start cuts it off ({bad})");
            self.report.note(file, Some(scan.len), what);
        }
        for (base, _) in later {
            let file = join(&self.dir, &self.file_of(*base));
            self.report.note(&file, None, "was begun behind a torn tail; the next start removes it");
        }
    }

    /// Whether the log reaches as far as checkpoints say.
    fn check_end(&mut self, totals: &PartitionReport) {
        if let Some(point) = self.point.filter(|point| totals.end < point.offset.get()) {
            let what = format!("ends at offset {}; records up to {} were durable", totals.end, point.offset);
            self.report.damage(&self.dir.clone(), None, what);
        }
    }
}

/// What a file is that is no segment, if that is worth a word.
fn what_else(file: &str, bases: &Bases) -> Option<&'static str> {
    if name::parse_log_file(file).is_some() || file == name::SPARE_FILE || file == name::COMPACTED_MARK {
        return None;
    }
    if let Some(base) = name::parse_index_file(file) {
        let lost = !bases.contains_key(&base);
        return lost.then_some("is the index of a segment that is not there");
    }
    Some(match () {
        () if file.ends_with(".tmp") => "was being replaced when the broker died",
        () if name::is_cleaned_file(file) => {
            "was being compacted when the broker died; the next start removes it"
        }
        () if name::parse_swap_file(file).is_some() => {
            "is a compacted segment; the next start puts it in its place"
        }
        () => "is not a file of Ringlog",
    })
}
