//! What a crash left in a partition's directory and no log is made of.
//!
//!     A-D.swap                   compaction was past its point of no return: finished (segment/swap.rs)
//!     *.cleaned, *.tmp, spare    half-made files, of use to nobody: removed
//!     segments below the start   deleted for good by retention or delete-records: removed, but for the
//!                                newest, which may know the log's producers
//!     indexes below the log      removed; one above it is that of a segment still without records, which
//!                                may be the last to know the log's producers
//!
//! Nothing else is removed here, whatever its name.

use std::io;

use protocol::model::Offset;

use crate::disk::Disk;
use crate::segment::{name, swap};

/// The files that make up a log.
pub struct Tidied {
    /// Base offsets of the segments, ascending.
    pub bases: Vec<Offset>,
    /// Whether the log was ever compacted.
    pub compacted: bool,
}

/// Removes leftovers. `start` is where the log begins, if a checkpoint knows.
pub async fn tidy<D: Disk>(disk: &D, dir: &str, start: Option<Offset>) -> io::Result<Tidied> {
    let mut names = disk.list(dir).await?;
    let swaps: Vec<(Offset, Offset)> = names.iter().filter_map(|name| name::parse_swap_file(name)).collect();
    for &(base, next) in &swaps {
        tracing::info!(dir, %base, %next, "finishing a compaction that a crash had interrupted");
        swap::complete(disk, dir, &names, base, next).await?;
    }
    if !swaps.is_empty() {
        names = disk.list(dir).await?;
    }
    let mut bases: Vec<Offset> = names.iter().filter_map(|name| name::parse_log_file(name)).collect();
    bases.sort_unstable();
    let below = start.map_or(0, |start| {
        let expired = |pair: &&[Offset]| matches!(**pair, [_, next] if next <= start);
        bases.windows(2).take_while(expired).count().saturating_sub(1)
    });
    let expired: Vec<Offset> = bases.drain(..below).collect();
    let first = bases.first().copied().or(start).unwrap_or_default();
    let compacted = names.iter().any(|name| name == name::COMPACTED_MARK);
    let mut removed = false;
    for file in names {
        let expired = name::parse_log_file(&file).is_some_and(|base| expired.contains(&base));
        let orphan = name::parse_index_file(&file).is_some_and(|base| base < first);
        let half_made = name::is_cleaned_file(&file) || file.ends_with(".tmp") || file == name::SPARE_FILE;
        if expired || orphan || half_made {
            swap::remove_if_there(disk, &format!("{dir}/{file}")).await?;
            removed = true;
        }
    }
    if removed {
        disk.sync_dir(dir).await?;
    }
    Ok(Tidied { bases, compacted })
}
