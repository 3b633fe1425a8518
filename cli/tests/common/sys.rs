//! The calls that std does not have: who we are, and a filesystem that stops at once.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// `EXT4_IOC_SHUTDOWN` (fs/ext4/ext4.h) and `XFS_IOC_GOINGDOWN` (fs/xfs/libxfs/xfs_fs.h): one number,
/// `_IOR('X', 125, u32)`.
const IOC_SHUTDOWN: libc::Ioctl = 0x8004_587d;
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`, `XFS_FSOP_GOING_FLAGS_NOLOGFLUSH`: neither data nor journal is
/// written any more.
const NO_LOG_FLUSH: u32 = 2;

pub fn is_root() -> bool {
    // SAFETY: geteuid takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Shuts the filesystem down that is mounted at `at`: whatever is not in its journal or in place is
/// gone, as if the machine had lost power.
pub fn shut_down(at: &Path) -> io::Result<()> {
    let root = File::open(at)?;
    // SAFETY: the descriptor is open, and the kernel reads 4 bytes from a value that outlives the call.
    match unsafe { libc::ioctl(root.as_raw_fd(), IOC_SHUTDOWN, &NO_LOG_FLUSH) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
