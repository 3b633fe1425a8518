//! System calls that neither std nor glommio offers: file locks, syncing a whole filesystem, which
//! one it is and how much of it is free.

use std::ffi::CString;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `statfs` magic of ext2, ext3 and ext4.
pub const EXT4_MAGIC: i64 = 0xEF53;
/// `statfs` magic of XFS.
pub const XFS_MAGIC: i64 = 0x5846_5342;

pub struct FsInfo {
    pub magic: i64,
    pub total_bytes: u64,
    pub free_bytes: u64,
}

pub fn fs_info(path: &Path) -> io::Result<FsInfo> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: an all-zero `statfs` is a valid value of that plain C struct.
    let mut info: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` is NUL-terminated and `info` outlives the call.
    if unsafe { libc::statfs(path.as_ptr(), &mut info) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let block = u64::try_from(info.f_bsize).unwrap_or(0);
    let bytes = |blocks: u64| blocks.saturating_mul(block);
    Ok(FsInfo { magic: info.f_type, total_bytes: bytes(info.f_blocks), free_bytes: bytes(info.f_bavail) })
}

/// Writes back everything of the filesystem that the file is on, and waits for it.
pub fn sync_filesystem(file: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: syncfs takes no pointers; a bad descriptor is an error it returns.
    if unsafe { libc::syncfs(file.as_raw_fd()) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes the file's exclusive lock; `false` if another open file description has it.
pub fn try_lock(file: &impl AsRawFd) -> io::Result<bool> {
    // SAFETY: flock takes no pointers; a bad descriptor is an error it returns.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::WouldBlock { Ok(false) } else { Err(error) }
}
