//! The disk of production: O_DIRECT files through glommio's io_uring.
//!
//!     DmaBuffer   from the executor's registered pool while it lasts, from the allocator afterwards
//!     DmaFile     write_rc_at, read_at_aligned, fdatasync
//!
//! The only file of this crate that names glommio. A `UringDisk` belongs to the executor it was
//! opened on. Opening it opens a non-empty file first: glommio 0.9 asks once per thread and device
//! whether polled I/O works, takes an empty file's answer for yes, and reads fail ever after.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use glommio::GlommioError;
use glommio::io::{Directory, DmaBuffer, DmaFile, OpenOptions, ReadResult};

use super::{BLOCK, Buf, Buffers, Disk, DiskFile, FlushScope, sys};

/// A 4 KiB file of the data directory whose only use is to be non-empty (see the module).
pub const ANCHOR_FILE: &str = "anchor";

/// How long a file may still be held by writes of a killed broker.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub struct UringDisk {
    root: Rc<Path>,
    scope: FlushScope,
}

impl UringDisk {
    /// Bytes of the device, and those of them that are free for this process.
    pub fn space(&self) -> io::Result<(u64, u64)> {
        let info = sys::fs_info(&self.root)?;
        Ok((info.total_bytes, info.free_bytes))
    }

    /// Opens the data directory for this executor. [`ANCHOR_FILE`] must exist in it.
    pub async fn open(root: &Path) -> io::Result<UringDisk> {
        let anchor = OpenOptions::new().read(true).dma_open(root.join(ANCHOR_FILE)).await.map_err(plain)?;
        let read = anchor.read_at_aligned(0, BLOCK).await.map_err(plain)?;
        if read.len() != BLOCK {
            return Err(io::Error::other(format!(
                "{ANCHOR_FILE} has {} bytes instead of {BLOCK}",
                read.len()
            )));
        }
        anchor.close().await.map_err(plain)?;
        let scope = match sys::fs_info(root)?.magic {
            sys::EXT4_MAGIC | sys::XFS_MAGIC => FlushScope::Device,
            _ => FlushScope::File,
        };
        Ok(UringDisk { root: root.into(), scope })
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

/// glommio wraps the operating system's error in text; callers decide by its kind.
fn plain(error: GlommioError<()>) -> io::Error {
    let text = error.to_string();
    let source = io::Error::from(error);
    match source.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(source.kind(), text),
    }
}

impl Buf for DmaBuffer {
    fn trim(&mut self, len: usize) {
        self.trim_to_size(len);
    }
}

impl Buffers for UringDisk {
    type Buf = DmaBuffer;

    fn alloc(&self, len: usize) -> DmaBuffer {
        assert!(len > 0 && len.is_multiple_of(BLOCK), "BUG: direct I/O buffer of {len} bytes");
        glommio::allocate_dma_buffer(len)
    }
}

impl Disk for UringDisk {
    type File = UringFile;

    fn flush_scope(&self) -> FlushScope {
        self.scope
    }

    async fn create(&self, path: &str) -> io::Result<UringFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        UringFile::lock(options.dma_open(self.path(path)).await.map_err(plain)?).await
    }

    async fn open(&self, path: &str) -> io::Result<UringFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        UringFile::lock(options.dma_open(self.path(path)).await.map_err(plain)?).await
    }

    async fn create_dir(&self, path: &str) -> io::Result<()> {
        let path = self.path(path);
        blocking(move || match std::fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        })
        .await
    }

    async fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let dir = self.path(dir);
        blocking(move || {
            std::fs::read_dir(dir)?
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                .collect()
        })
        .await
    }

    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        glommio::io::rename(self.path(from), self.path(to)).await.map_err(plain)
    }

    async fn link(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.path(from), self.path(to));
        blocking(move || std::fs::hard_link(from, to)).await
    }

    async fn remove_file(&self, path: &str) -> io::Result<()> {
        glommio::io::remove(self.path(path)).await.map_err(plain)
    }

    async fn remove_dir(&self, path: &str) -> io::Result<()> {
        let path = self.path(path);
        blocking(move || std::fs::remove_dir(path)).await
    }

    async fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let directory = Directory::open(self.path(dir)).await.map_err(plain)?;
        directory.sync().await.map_err(plain)?;
        directory.close().await.map_err(plain)
    }

    async fn sync_all(&self) -> io::Result<()> {
        let root = self.root.to_path_buf();
        blocking(move || {
            sys::sync_filesystem(&std::fs::File::open(&root)?)?;
            // Without a journal ext4 writes its metadata back after it has flushed the device, so the
            // device is flushed once more.
            std::fs::File::open(root.join(ANCHOR_FILE))?.sync_data()
        })
        .await
    }

    async fn offload<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        glommio::executor().spawn_blocking(work).await
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(sys::fs_info(&self.root)?.free_bytes)
    }
}

/// Rare directory work goes to glommio's helper thread: it may take a journal commit.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    glommio::executor().spawn_blocking(work).await
}

pub struct UringFile(DmaFile);

impl UringFile {
    /// Waits until nobody else holds the file. A broker that was killed may have left writes in the
    /// kernel; they hold the file, and its lock, until they have landed. Reading or cutting the file
    /// before that would be undone by them.
    async fn lock(file: DmaFile) -> io::Result<UringFile> {
        let begun = Instant::now();
        while !sys::try_lock(&file)? {
            if LOCK_TIMEOUT < begun.elapsed() {
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process holds the file"));
            }
            glommio::timer::sleep(Duration::from_millis(1)).await;
        }
        Ok(UringFile(file))
    }
}

impl DiskFile for UringFile {
    type Buf = DmaBuffer;
    type ReadBuf = UringRead;

    async fn write_at(&self, buf: Rc<DmaBuffer>, at: u64) -> io::Result<()> {
        let len = buf.len();
        let written = self.0.write_rc_at(buf, at).await.map_err(plain)?;
        if written != len {
            // The kernel cuts a direct write short where space ends; the rest would fail.
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("wrote {written} of {len} bytes"),
            ));
        }
        Ok(())
    }

    async fn read_at(&self, at: u64, len: usize) -> io::Result<UringRead> {
        Ok(UringRead(self.0.read_at_aligned(at, len).await.map_err(plain)?))
    }

    async fn fdatasync(&self) -> io::Result<()> {
        self.0.fdatasync().await.map_err(plain)
    }

    async fn reserve(&self, from: u64, to: u64) -> io::Result<()> {
        // glommio allocates from the beginning; extents that are there are left alone.
        debug_assert!(from < to, "BUG: an empty range");
        self.0.pre_allocate(to, false).await.map_err(plain)
    }

    async fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.truncate(len).await.map_err(plain)
    }

    async fn size(&self) -> io::Result<u64> {
        self.0.file_size().await.map_err(plain)
    }

    async fn close(self) -> io::Result<()> {
        self.0.close().await.map_err(plain)
    }
}

/// Bytes read, in a pooled buffer that goes back when the last clone is dropped.
#[derive(Clone)]
pub struct UringRead(ReadResult);

impl AsRef<[u8]> for UringRead {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
