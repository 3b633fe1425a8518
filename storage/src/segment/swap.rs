//! Putting a compacted file in the place of the segments it was made of: the old ones or the new one
//! after a crash at any point, never neither, never both.
//!
//!     A.log B.log C.log            A.cleaned, A.index.cleaned    written, synced
//!     A.log B.log C.log            A-D.swap, A.index.cleaned     renamed: from here on forward only
//!                                  A-D.swap, A.index.cleaned     1. A, B, C removed, synced
//!     A.log (new) A.index (new)    A-D.swap, A.index.cleaned     2. linked, synced
//!     A.log (new) A.index (new)                                  3. removed, the swap first
//!
//! Steps 1 to 3 can be done again from their start as long as the swap file is there, and recovery
//! does so. Links instead of renames, because a rename over a name may leave neither after a power cut
//! on a filesystem without a journal.

use std::io;

use protocol::model::Offset;

use super::name;
use crate::disk::Disk;

/// Removes a file; one that is not there is fine.
pub async fn remove_if_there<D: Disk>(disk: &D, path: &str) -> io::Result<()> {
    match disk.remove_file(path).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Finishes, or does again, the swap of the segments of [base, next). Durable when it returns.
/// `names` are the directory's files.
pub async fn complete<D: Disk>(
    disk: &D,
    dir: &str,
    names: &[String],
    base: Offset,
    next: Offset,
) -> io::Result<()> {
    let path = |name: &str| format!("{dir}/{name}");
    for file in names {
        let of = name::parse_log_file(file).or_else(|| name::parse_index_file(file));
        if of.is_some_and(|of| base <= of && of < next) {
            remove_if_there(disk, &path(file)).await?;
        }
    }
    disk.sync_dir(dir).await?;
    let (swap, index) = (path(&name::swap_file(base, next)), path(&name::cleaned_index_file(base)));
    disk.link(&swap, &path(&name::log_file(base))).await?;
    disk.link(&index, &path(&name::index_file(base))).await?;
    disk.sync_dir(dir).await?;
    disk.remove_file(&swap).await?;
    disk.sync_dir(dir).await?;
    disk.remove_file(&index).await
}
