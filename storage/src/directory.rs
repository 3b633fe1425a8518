//! The data directory: made once, locked while a broker runs.
//!
//!     DIR/lock            held by the running broker (flock)
//!     DIR/format          the version of all of this, one line
//!     DIR/anchor          4 KiB, non-empty; see disk/uring.rs
//!     DIR/topics/         partitions' files           (id.rs)
//!     DIR/checkpoints/    one file per shard          (checkpoint.rs)
//!     DIR/meta/           the catalog                 (catalog/)
//!
//! Done once, before a shard starts, by ordinary blocking calls.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::checkpoint::CHECKPOINTS_DIR;
use crate::disk::BLOCK;
use crate::disk::uring::ANCHOR_FILE;
use crate::id::TOPICS_DIR;
use crate::mutants::{Mutant, Mutation};

pub const META_DIR: &str = "meta";
const LOCK_FILE: &str = "lock";
const FORMAT_FILE: &str = "format";
const FORMAT: &str = "ringlog 1\n";

#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("data directory {path}: {action}: {error}")]
    Io { path: PathBuf, action: &'static str, error: io::Error },
    #[error(
        "data directory {path} is in use by another broker (process {holder}); stop it or choose another directory"
    )]
    Locked { path: PathBuf, holder: String },
    #[error("data directory {path} has format {found:?}, this version reads {FORMAT:?}; nothing was changed")]
    Format { path: PathBuf, found: String },
    #[error("{path} is not empty and is not a data directory of Ringlog; nothing was changed")]
    NotOurs { path: PathBuf },
    #[error("{path} is not a data directory of Ringlog: there is no file `format` in it")]
    NoFormat { path: PathBuf },
}

/// A locked data directory. The lock ends with the process or with this value.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

impl DataDirectory {
    /// Opens the directory, or makes it where there is none or an empty one.
    pub fn open(path: &Path) -> Result<DataDirectory, DirectoryError> {
        let io = |action| move |error| DirectoryError::Io { path: path.to_owned(), action, error };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io("cannot create it"))?;
        check_ours(path)?;
        let lock = lock(path)?;
        check_format(path)?;
        for dir in [TOPICS_DIR, CHECKPOINTS_DIR, META_DIR] {
            let dir = path.join(dir);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)
                .map_err(io("cannot write to it"))?;
        }
        let anchor = path.join(ANCHOR_FILE);
        if fs::metadata(&anchor).map_or(0, |meta| meta.len()) != BLOCK as u64 {
            write_synced(&anchor, &[1; BLOCK]).map_err(io("cannot write to it"))?;
        }
        // Last, so that a directory with a format file is complete.
        if !path.join(FORMAT_FILE).exists() {
            let temporary = path.join("format.tmp");
            write_synced(&temporary, FORMAT.as_bytes()).map_err(io("cannot write to it"))?;
            fs::rename(&temporary, path.join(FORMAT_FILE)).map_err(io("cannot write to it"))?;
        }
        sync_dir(path).map_err(io("cannot sync it"))?;
        Ok(DataDirectory { path: path.to_owned(), _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Directories below `topics/`: the ids of topics that have files.
    pub fn topic_dirs(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(self.path.join(TOPICS_DIR))?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    /// Reports directories below `topics/` that are not among `known`. They are left alone: missing
    /// metadata is no permission to delete.
    pub fn report_strays(&self, known: &[String], mutation: Mutation) -> io::Result<Vec<String>> {
        let mut strays = self.topic_dirs()?;
        let known: HashSet<&String> = known.iter().collect();
        strays.retain(|dir| !known.contains(dir));
        for dir in &strays {
            tracing::warn!(
                dir,
                "a directory below topics/ belongs to no topic of the catalog; it is left alone"
            );
            if mutation.is(Mutant::DeleteOrphans) {
                fs::remove_dir_all(self.path.join(TOPICS_DIR).join(dir))?;
            }
        }
        Ok(strays)
    }

    /// Deletes what is left of a topic's files; durable with [`DataDirectory::sync_topics`]. Nothing there
    /// is fine.
    pub fn remove_topic(&self, dir: &str) -> io::Result<()> {
        match fs::remove_dir_all(self.path.join(dir)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes durable which topics have files.
    pub fn sync_topics(&self) -> io::Result<()> {
        sync_dir(&self.path.join(TOPICS_DIR))
    }
}

fn check_ours(path: &Path) -> Result<(), DirectoryError> {
    let io = |error| DirectoryError::Io { path: path.to_owned(), action: "cannot read it", error };
    let mut foreign = false;
    for entry in fs::read_dir(path).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        if name == FORMAT_FILE {
            return Ok(());
        }
        foreign |= !name.to_str().is_some_and(is_known);
    }
    if foreign { Err(DirectoryError::NotOurs { path: path.to_owned() }) } else { Ok(()) }
}

/// Whether a name at the top of a data directory is one of ours, or the filesystem's.
pub(crate) fn is_known(name: &str) -> bool {
    let ours = [LOCK_FILE, FORMAT_FILE, "format.tmp", ANCHOR_FILE, TOPICS_DIR, CHECKPOINTS_DIR, META_DIR];
    ours.contains(&name) || name == "lost+found"
}

/// Keeps brokers from a directory that is to be read, for as long as the value lives, and changes
/// nothing. `None` where no broker has left a lock file.
pub(crate) fn lock_for_reading(path: &Path) -> Result<Option<File>, DirectoryError> {
    let io = |error| DirectoryError::Io { path: path.to_owned(), action: "cannot read it", error };
    fs::read_dir(path).map_err(io)?;
    if !path.join(FORMAT_FILE).exists() {
        return Err(DirectoryError::NoFormat { path: path.to_owned() });
    }
    check_format(path)?;
    let mut file = match File::open(path.join(LOCK_FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io)?,
    };
    // Shared: two who only read do not disturb each other.
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::Error(error)) => Err(io(error)),
        Err(fs::TryLockError::WouldBlock) => Err(locked(path, &mut file)),
    }
}

fn locked(path: &Path, file: &mut File) -> DirectoryError {
    let mut holder = String::new();
    let _ = file.read_to_string(&mut holder); // only to name the holder; unknown is fine
    let holder = if holder.is_empty() { "unknown".to_owned() } else { holder.trim().to_owned() };
    DirectoryError::Locked { path: path.to_owned(), holder }
}

fn check_format(path: &Path) -> Result<(), DirectoryError> {
    match fs::read_to_string(path.join(FORMAT_FILE)) {
        Ok(found) if found != FORMAT => Err(DirectoryError::Format { path: path.to_owned(), found }),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DirectoryError::Io { path: path.to_owned(), action: "cannot read its format", error })
        }
        _ => Ok(()),
    }
}

fn lock(path: &Path) -> Result<File, DirectoryError> {
    let io = |error| DirectoryError::Io { path: path.to_owned(), action: "cannot write to it", error };
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(path.join(LOCK_FILE)).map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::Error(error)) => return Err(io(error)),
        Err(fs::TryLockError::WouldBlock) => return Err(locked(path, &mut file)),
    }
    file.set_len(0).map_err(io)?;
    writeln!(file, "{}", std::process::id()).map_err(io)?;
    Ok(file)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_once_and_locked_while_it_is_open() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("data");
        let first = DataDirectory::open(&path).unwrap();
        let error = DataDirectory::open(&path).unwrap_err();
        let holder = std::process::id().to_string();
        assert!(
            matches!(&error, DirectoryError::Locked { holder: found, .. } if *found == holder),
            "{error}"
        );
        drop(first);
        DataDirectory::open(&path).unwrap();
    }

    #[test]
    fn a_directory_of_something_else_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("thesis.tex"), "x").unwrap();
        let error = DataDirectory::open(temp.path()).unwrap_err();
        assert!(matches!(error, DirectoryError::NotOurs { .. }), "{error}");
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_later_format_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        drop(DataDirectory::open(temp.path()).unwrap());
        fs::write(temp.path().join(FORMAT_FILE), "ringlog 2\n").unwrap();
        let error = DataDirectory::open(temp.path()).unwrap_err();
        assert!(matches!(error, DirectoryError::Format { .. }), "{error}");
    }

    #[test]
    fn a_path_that_cannot_be_a_directory_is_named() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("file"), "x").unwrap();
        let error = DataDirectory::open(&temp.path().join("file/data")).unwrap_err();
        assert!(error.to_string().contains("file/data: cannot create it"), "{error}");
    }
}
