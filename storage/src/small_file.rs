//! Small whole files (index, checkpoint): replaced at once or not at all.
//!
//!     write NAME.tmp ─▶ cut to length ─▶ fdatasync ─▶ rename to NAME ─▶ sync the directory
//!
//! After a crash the name holds the old contents or the new ones. Readers check what they read: each
//! format carries a checksum of its own.

use std::io;
use std::rc::Rc;

use crate::disk::{BLOCK, Disk, DiskFile};

/// Replaces `dir/name`. Durable when it returns.
pub async fn replace<D: Disk>(disk: &D, dir: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let path = join(dir, name);
    let temporary = format!("{path}.tmp");
    match disk.remove_file(&temporary).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create(&temporary).await?;
    if !bytes.is_empty() {
        let mut buf = disk.alloc(bytes.len().next_multiple_of(BLOCK));
        let (head, padding) = buf.as_mut().split_at_mut(bytes.len());
        head.copy_from_slice(bytes);
        padding.fill(0);
        file.write_at(Rc::new(buf), 0).await?;
        file.truncate(bytes.len() as u64).await?;
    }
    file.fdatasync().await?;
    disk.rename(&temporary, &path).await?;
    disk.sync_dir(dir).await
}

/// Reads a whole file of at most `max` bytes; `None` if there is none or it is larger.
pub async fn read<D: Disk>(disk: &D, dir: &str, name: &str, max: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(&join(dir, name)).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let len = file.size().await?;
    if len > max as u64 {
        return Ok(None);
    }
    let len = len as usize;
    let read = file.read_at(0, len.next_multiple_of(BLOCK)).await?;
    Ok(read.as_ref().get(..len).map(<[u8]>::to_vec))
}

fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}
