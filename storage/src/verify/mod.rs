//! Verify: reads a data directory that no broker uses, byte by byte, and changes nothing.
//!
//!     format ─▶ lock ─▶ catalog (a copy in memory) ─▶ checkpoints ─▶ each partition: segments, indexes
//!                                                                        │
//!     damage   something that was durable is not there, or not as it was written
//!     note     what a crash leaves, what the next start mends, what is not ours
//!
//! By blocking calls and with a reader of its own: a mistake in recovery must not hide itself here. What
//! is damage and what is only a torn tail is decided as recovery decides it (design D7), so that `sound`
//! means: a broker that starts here serves everything that was ever acknowledged.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::Path;

use protocol::model::{Offset, PartitionIndex};
use serde::Serialize;

use crate::catalog::{Catalog, TopicRecord, read_copy};
use crate::checkpoint::{CHECKPOINTS_DIR, Checkpoint};
use crate::directory::{self, DirectoryError, META_DIR};
use crate::id::{LogId, TOPICS_DIR, topic_dir};
use crate::log::DurablePoint;

mod partition;

mod segment;

/// What was read, and what was found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub partitions: Vec<PartitionReport>,
    pub findings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
pub struct PartitionReport {
    pub topic: String,
    pub partition: u32,
    pub segments: u64,
    pub batches: u64,
    pub records: u64,
    /// Bytes of valid batches.
    pub bytes: u64,
    /// The first offset, and the one after the last record that can be read.
    pub start: u64,
    pub end: u64,
    pub sound: bool,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// Relative to the data directory.
    pub path: String,
    /// Where in the file.
    pub position: Option<u64>,
    pub what: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something that was durable is not there, or not as it was written.
    Damage,
    /// Nothing is lost: what a crash leaves behind, what the next start mends, what is not ours.
    Note,
}

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("cannot read {path}: {error}")]
    Read { path: String, error: io::Error },
}

impl Report {
    pub fn is_sound(&self) -> bool {
        self.damages() == 0
    }

    pub fn damages(&self) -> usize {
        self.findings.iter().filter(|finding| finding.severity == Severity::Damage).count()
    }

    fn damage(&mut self, path: &str, position: Option<u64>, what: impl Into<String>) {
        self.add(Severity::Damage, path, position, what.into());
    }

    fn note(&mut self, path: &str, position: Option<u64>, what: impl Into<String>) {
        self.add(Severity::Note, path, position, what.into());
    }

    fn add(&mut self, severity: Severity, path: &str, position: Option<u64>, what: String) {
        self.findings.push(Finding { severity, path: path.to_owned(), position, what });
    }
}

/// Reads everything. The directory is locked against a broker for as long as that takes.
///
/// # Errors
/// If there is no data directory of this format, if a broker uses it, or if a file cannot be read.
pub fn verify(dir: &Path) -> Result<Report, VerifyError> {
    let _lock = directory::lock_for_reading(dir)?;
    let mut verify = Verify { dir, report: Report::default(), points: HashMap::new() };
    verify.check_names()?;
    verify.check_checkpoints()?;
    let topics = names(dir, TOPICS_DIR)?;
    if let Some(catalog) = verify.read_catalog(&topics)? {
        verify.check_topics(&catalog, &topics)?;
    }
    Ok(verify.report)
}

struct Verify<'a> {
    dir: &'a Path,
    report: Report,
    /// Where checkpoints say that logs are durable.
    points: HashMap<LogId, DurablePoint>,
}

impl Verify<'_> {
    /// Names at the top that a broker does not make.
    fn check_names(&mut self) -> Result<(), VerifyError> {
        for name in names(self.dir, "")? {
            if !directory::is_known(&name) {
                self.report.note(&name, None, "is not a file of Ringlog");
            }
        }
        for name in names(self.dir, META_DIR)?.into_iter().filter(|name| name != crate::catalog::FILE) {
            self.report.note(&join(META_DIR, &name), None, "is not a file of Ringlog");
        }
        Ok(())
    }

    fn check_checkpoints(&mut self) -> Result<(), VerifyError> {
        for name in names(self.dir, CHECKPOINTS_DIR)? {
            let path = join(CHECKPOINTS_DIR, &name);
            let shard = name.strip_prefix("shard-").unwrap_or_default();
            if name.ends_with(".tmp") {
                self.report.note(&path, None, "was being replaced when the broker died");
            } else if shard.parse::<u16>().is_err() {
                self.report.note(&path, None, "is not a file of Ringlog");
            } else {
                let bytes = fs::read(self.dir.join(&path)).map_err(unreadable(&path))?;
                match Checkpoint::from_bytes(&bytes) {
                    Some(checkpoint) => self.join(checkpoint),
                    None => self.report.damage(
                        &path,
                        None,
                        "is garbled: how far its logs were durable is not known, and lost ends cannot be told",
                    ),
                }
            }
        }
        Ok(())
    }

    /// Of two places for one log the farther holds, as recovery has it.
    fn join(&mut self, checkpoint: Checkpoint) {
        for (id, point) in checkpoint.logs {
            let known = self.points.entry(id).or_insert(point);
            if known.offset < point.offset {
                *known = point;
            }
        }
    }

    /// `None` if it cannot be read: then nothing below `topics/` has a meaning.
    fn read_catalog(&mut self, topics: &BTreeSet<String>) -> Result<Option<Catalog>, VerifyError> {
        let path = join(META_DIR, crate::catalog::FILE);
        match fs::read(self.dir.join(&path)) {
            Ok(bytes) => match read_copy(bytes) {
                Ok(records) => return Ok(Some(Catalog::from_records(&records))),
                Err(error) => self.report.damage(&path, None, error.to_string()),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound && topics.is_empty() => {
                self.report.note(&path, None, "is not there yet: no broker has started here");
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.report.damage(&path, None, "is missing: nothing says whose the files below topics/ are");
            }
            Err(error) => return Err(unreadable(&path)(error)),
        }
        Ok(None)
    }

    fn check_topics(&mut self, catalog: &Catalog, found: &BTreeSet<String>) -> Result<(), VerifyError> {
        let mut left = found.clone();
        for topic in catalog.topics() {
            left.remove(&topic.id.to_string());
            for partition in (0..topic.partitions).map(PartitionIndex::new) {
                self.check_partition(topic, partition)?;
            }
            self.check_partitions_beyond(topic)?;
        }
        for topic in catalog.deleting() {
            if left.remove(&topic.id.to_string()) {
                let path = topic_dir(topic.id);
                self.report.note(&path, None, "belongs to a deleted topic; the next start removes it");
            }
        }
        for name in left {
            let path = join(TOPICS_DIR, &name);
            self.report.damage(&path, None, "belongs to no topic of the catalog, so no broker serves it");
        }
        Ok(())
    }

    fn check_partition(&mut self, topic: &TopicRecord, partition: PartitionIndex) -> Result<(), VerifyError> {
        let id = LogId { topic: topic.id, partition };
        let point = self.points.get(&id).copied();
        let report = partition::Check {
            root: self.dir,
            dir: id.dir(),
            point,
            swaps: BTreeMap::new(),
            report: &mut self.report,
        };
        let totals = report.run()?;
        self.report.partitions.push(PartitionReport {
            topic: topic.name.to_string(),
            partition: partition.get(),
            ..totals
        });
        Ok(())
    }

    /// Directories of a topic that are none of its partitions.
    fn check_partitions_beyond(&mut self, topic: &TopicRecord) -> Result<(), VerifyError> {
        let dir = topic_dir(topic.id);
        for name in names(self.dir, &dir)? {
            if name.parse::<u32>().is_err() {
                self.report.note(&join(&dir, &name), None, "is not a file of Ringlog");
            } else if name.parse().is_ok_and(|partition: u32| topic.partitions <= partition) {
                let what = format!("is no partition of {}, which has {}", topic.name, topic.partitions);
                self.report.damage(&join(&dir, &name), None, what);
            }
        }
        Ok(())
    }
}

/// Names in a directory, sorted; none if there is no such directory.
fn names(root: &Path, dir: &str) -> Result<BTreeSet<String>, VerifyError> {
    match fs::read_dir(root.join(dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(unreadable(dir)(error)),
        Ok(entries) => entries
            .map(|entry| Ok(entry.map_err(unreadable(dir))?.file_name().to_string_lossy().into_owned()))
            .collect(),
    }
}

fn unreadable(path: &str) -> impl Fn(io::Error) -> VerifyError {
    let path = path.to_owned();
    move |error| VerifyError::Read { path: path.clone(), error }
}

fn join(dir: &str, name: &str) -> String {
    format!("{dir}/{name}")
}

/// Files of a partition by the base offset in their names.
type Bases = BTreeMap<Offset, u64>;

#[cfg(test)]
mod tests;
