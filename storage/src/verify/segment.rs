//! One segment file, read from its first byte to its last.
//!
//!     │ batch │ batch │ batch │ 0 0 0 0 0 ─ ─ │      valid up to `len`, and zeroes behind
//!     │ batch │ batch │ ##### │ batch │              valid up to `len`, and then: what and why
//!
//! A batch is valid if its header keeps the rules, its checksum matches, and its offset is not below
//! the one after the batch before; it may be above, for compaction leaves gaps.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use protocol::batch::{Batch, HEADER_LEN};
use protocol::model::Offset;
use protocol::model::limits::BATCH_BYTES_MAX;

use crate::segment::IndexEntry;

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;

pub struct Scan {
    pub file_len: u64,
    /// Behind the last valid batch.
    pub len: u64,
    pub next: Offset,
    pub batches: u64,
    pub records: u64,
    /// How many of the index's entries point at a batch with their offset.
    pub entries_met: usize,
    /// Why the batch at `len` is none; `None` where the file ends or only zeroes follow.
    pub bad: Option<String>,
}

/// Reads the segment. `entries` are those of its index, if it has one.
pub fn scan(path: &Path, base: Offset, entries: &[IndexEntry]) -> io::Result<Scan> {
    let mut window = Window::open(path)?;
    let mut scan = Scan {
        file_len: window.file_len,
        len: 0,
        next: base,
        batches: 0,
        records: 0,
        entries_met: 0,
        bad: None,
    };
    loop {
        let rest = window.peek(HEADER_LEN)?;
        if rest.iter().all(|byte| *byte == 0) {
            scan.bad =
                window.first_not_zero()?.map(|at| format!("zeroes up to position {at}, and then bytes"));
            return Ok(scan);
        }
        let need = Batch::peek_len(rest).unwrap_or(HEADER_LEN);
        if BATCH_BYTES_MAX < need {
            scan.bad = Some(format!("it says that it has {need} bytes, the limit is {BATCH_BYTES_MAX}"));
            return Ok(scan);
        }
        let batch = match check(window.peek(need)?, scan.next) {
            Ok(batch) => batch,
            Err(why) => {
                scan.bad = Some(why);
                return Ok(scan);
            }
        };
        let is_entry =
            |entry: &&IndexEntry| (entry.position, entry.offset) == (scan.len, batch.base_offset());
        scan.entries_met += usize::from(entries.get(scan.entries_met).filter(is_entry).is_some());
        scan.batches += 1;
        scan.records += u64::from(batch.record_count().get());
        scan.next = batch.next_offset();
        let len = batch.len();
        scan.len += len as u64;
        window.skip(len);
    }
}

fn check(bytes: &[u8], expected: Offset) -> Result<Batch<'_>, String> {
    let (batch, _) = Batch::split_first(bytes).map_err(|error| error.to_string())?;
    batch.check_crc().map_err(|error| error.to_string())?;
    batch.check_record_count().map_err(|error| error.to_string())?;
    if batch.base_offset() < expected {
        return Err(format!(
            "its first offset is {}, where {expected} or more is expected",
            batch.base_offset()
        ));
    }
    Ok(batch)
}

/// Position of a valid batch with an offset of `at_least` or more, at `from` or behind it.
pub fn find_batch(path: &Path, from: u64, at_least: Offset) -> io::Result<Option<u64>> {
    let mut window = Window::open(path)?;
    window.seek(from)?;
    loop {
        let rest = window.peek(HEADER_LEN)?;
        if rest.len() < HEADER_LEN {
            return Ok(None);
        }
        let could_begin = rest.get(16) == Some(&2);
        if could_begin && let Some(need) = Batch::peek_len(rest).filter(|need| *need <= BATCH_BYTES_MAX) {
            let valid = check(window.peek(need)?, at_least).is_ok();
            if valid {
                return Ok(Some(window.position()));
            }
        }
        window.skip(1);
    }
}

/// A file, from a position on.
struct Window {
    file: File,
    file_len: u64,
    /// Position in the file of the first byte of `bytes`.
    at: u64,
    bytes: Vec<u8>,
    used: usize,
}

impl Window {
    fn open(path: &Path) -> io::Result<Window> {
        let file = File::open(path)?;
        let file_len = file.metadata()?.len();
        Ok(Window { file, file_len, at: 0, bytes: Vec::new(), used: 0 })
    }

    fn seek(&mut self, to: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(to))?;
        (self.at, self.used) = (to, 0);
        self.bytes.clear();
        Ok(())
    }

    fn position(&self) -> u64 {
        self.at + self.used as u64
    }

    /// The next `len` bytes; fewer at the end of the file.
    fn peek(&mut self, len: usize) -> io::Result<&[u8]> {
        if self.bytes.len() < self.used + len {
            self.bytes.drain(..self.used);
            self.at += self.used as u64;
            self.used = 0;
            let missing = len - self.bytes.len();
            (&mut self.file).take(missing.max(READ_BYTES) as u64).read_to_end(&mut self.bytes)?;
        }
        let end = self.bytes.len().min(self.used + len);
        Ok(self.bytes.get(self.used..end).unwrap_or_default())
    }

    fn skip(&mut self, len: usize) {
        self.used += len;
    }

    fn first_not_zero(&mut self) -> io::Result<Option<u64>> {
        loop {
            let bytes = self.peek(READ_BYTES)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            if let Some(at) = bytes.iter().position(|byte| *byte != 0) {
                return Ok(Some(self.position() + at as u64));
            }
            let len = bytes.len();
            self.skip(len);
        }
    }
}
