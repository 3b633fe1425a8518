//! What the log needs of a disk, so that the same code runs on io_uring and on a simulated disk.
//!
//!     Disk ── alloc ──▶ Buf ── Rc<Buf> ──▶ DiskFile::write_at ── completed ──▶ fdatasync ── durable
//!
//! Contract, held by both implementations and relied on by `store`:
//! - A write that returned `Ok` wrote every byte; a short write is an error.
//! - `fdatasync` makes durable what had *completed* on this file before it was called: data, the
//!   extents it lies in, and the file's length. Writes still in flight are not covered.
//! - With [`FlushScope::Device`] it also makes durable completed writes to *other* files of the disk,
//!   but only pure overwrites of extents that were durable already (design D4).
//! - Names appear and vanish durably only after `sync_dir` of their directory.
//! - After any error of a write or of an fdatasync nothing is known about the bytes concerned;
//!   callers stop using the file and never try the sync again.

use std::io;
use std::rc::Rc;

pub mod uring;
pub use uring::UringDisk;

pub mod sim;
pub use sim::SimDisk;

mod sys;

/// Alignment of O_DIRECT positions, lengths and memory. Physical sectors here are 4096 bytes.
pub const BLOCK: usize = 4096;

pub const fn align_up(value: u64) -> u64 {
    value.next_multiple_of(BLOCK as u64)
}

pub const fn align_down(value: u64) -> u64 {
    value - value % BLOCK as u64
}

/// What one fdatasync covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlushScope {
    /// The file it was called on.
    File,
    /// Also completed pure overwrites in other files on the device.
    Device,
}

/// Memory for direct I/O: aligned to [`BLOCK`], not zeroed when new.
pub trait Buf: AsRef<[u8]> + AsMut<[u8]> + 'static {
    /// Shortens the buffer for good.
    fn trim(&mut self, len: usize);
}

/// Where buffers come from.
pub trait Buffers {
    type Buf: Buf;

    /// A buffer of exactly `len` bytes; `len` is a multiple of [`BLOCK`].
    fn alloc(&self, len: usize) -> Self::Buf;
}

/// Paths are relative to the data directory and use `/`.
#[allow(async_fn_in_trait)] // one thread: futures need no `Send` bound
pub trait Disk: Buffers + Clone + 'static {
    type File: DiskFile<Buf = Self::Buf>;

    fn flush_scope(&self) -> FlushScope;

    /// Creates the file, which must not exist.
    async fn create(&self, path: &str) -> io::Result<Self::File>;

    async fn open(&self, path: &str) -> io::Result<Self::File>;

    /// Creates a directory below an existing one; one that exists is fine.
    async fn create_dir(&self, path: &str) -> io::Result<()>;

    /// Names in a directory, in no order; `NotFound` if there is none.
    async fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Gives a file another name. A power cut before the directory is synced may leave either name,
    /// both, or none: who must not lose the file takes [`Disk::link`] and removes the old name later.
    async fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Gives a file a second name, which must be free.
    async fn link(&self, from: &str, to: &str) -> io::Result<()>;

    async fn remove_file(&self, path: &str) -> io::Result<()>;

    /// Removes an empty directory.
    async fn remove_dir(&self, path: &str) -> io::Result<()>;

    async fn sync_dir(&self, dir: &str) -> io::Result<()>;

    /// Makes everything durable that had completed on any file before: data, extents, lengths, names.
    /// Cheaper than many single syncs, dearer than one.
    async fn sync_all(&self) -> io::Result<()>;

    /// Does work that takes longer than a shard may be held up, on another thread where there is one.
    async fn offload<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T;

    /// Bytes free for this process on the device.
    fn free_bytes(&self) -> io::Result<u64>;
}

#[allow(async_fn_in_trait)] // one thread: futures need no `Send` bound
pub trait DiskFile: 'static {
    type Buf: Buf;
    type ReadBuf: AsRef<[u8]> + Clone + 'static;

    /// Writes the whole buffer at `at`; both are multiples of [`BLOCK`].
    async fn write_at(&self, buf: Rc<Self::Buf>, at: u64) -> io::Result<()>;

    /// Reads up to `len` bytes; fewer only at the end of the file. `at` and `len` are multiples of
    /// [`BLOCK`].
    async fn read_at(&self, at: u64, len: usize) -> io::Result<Self::ReadBuf>;

    async fn fdatasync(&self) -> io::Result<()>;

    /// Gives `[from, to)` extents that read as zeroes, and the file at least the length `to`; what was
    /// written stays. Durable after the next fdatasync.
    async fn reserve(&self, from: u64, to: u64) -> io::Result<()>;

    /// Sets the length; durable after the next fdatasync.
    async fn truncate(&self, len: u64) -> io::Result<()>;

    async fn size(&self) -> io::Result<u64>;

    /// Closes the file and lets go of its lock. A file that is only dropped is closed later, and not at
    /// all if its executor ends first.
    async fn close(self) -> io::Result<()>;
}

/// Whether an error says that the device, the quota or the file-size limit is used up.
pub fn is_disk_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
