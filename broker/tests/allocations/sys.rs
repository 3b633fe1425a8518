//! An allocator that counts what shards ask for, and nobody else in the process.
//!
//!     alloc, realloc ─ on a thread named ringlog-N? ─▶ count ─▶ the system's allocator
//!
//! With `RINGLOG_ALLOCATION_SITES=1` it also notes where every 16th comes from: who has broken the bound
//! wants to know that first.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub struct Counting;

static COUNTING: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);
static TRACING: AtomicBool = AtomicBool::new(false);
static SITES: Mutex<Vec<Backtrace>> = Mutex::new(Vec::new());

const SITE_EVERY: u64 = 16;
const SITES_MAX: usize = 400;

thread_local! {
    /// Whether this is a shard's thread; looked up once, while counting: threads get their names late.
    static IS_SHARD: Cell<Option<bool>> = const { Cell::new(None) };
    /// Whether an allocation is being noted, which allocates.
    static NOTING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` and gives the number of allocations that shards made meanwhile.
pub fn count_in_shards(work: impl FnOnce()) -> u64 {
    TRACING.store(std::env::var_os("RINGLOG_ALLOCATION_SITES").is_some(), Ordering::SeqCst);
    COUNT.store(0, Ordering::SeqCst);
    COUNTING.store(true, Ordering::SeqCst);
    work();
    COUNTING.store(false, Ordering::SeqCst);
    COUNT.load(Ordering::SeqCst)
}

/// Where the allocations came from that were noted since the last time.
pub fn take_sites() -> Vec<Backtrace> {
    std::mem::take(&mut *SITES.lock().expect("nobody panics while noting"))
}

fn note() {
    if !COUNTING.load(Ordering::Relaxed) || NOTING.get() {
        return;
    }
    let is_shard = IS_SHARD.get().unwrap_or_else(|| {
        IS_SHARD.set(Some(is_shard()));
        is_shard()
    });
    if is_shard {
        let before = COUNT.fetch_add(1, Ordering::Relaxed);
        if TRACING.load(Ordering::Relaxed) && before.is_multiple_of(SITE_EVERY) {
            NOTING.set(true);
            let mut sites = SITES.lock().expect("nobody panics while noting");
            if sites.len() < SITES_MAX {
                sites.push(Backtrace::force_capture());
            }
            NOTING.set(false);
        }
    }
}

/// Whether this thread is named `ringlog-` and a number.
fn is_shard() -> bool {
    let mut name = [0u8; 16];
    // SAFETY: PR_GET_NAME writes at most 16 bytes, its terminating zero included, to a buffer of 16.
    let asked = unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    let number = name.strip_prefix(b"ringlog-").and_then(|number| number.first());
    asked == 0 && number.is_some_and(u8::is_ascii_digit)
}

// SAFETY: every call goes to the system's allocator as it came; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller keeps `GlobalAlloc::alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller keeps `GlobalAlloc::alloc_zeroed`'s contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: the caller keeps `GlobalAlloc::realloc`'s contract, and `pointer` is the system's.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `GlobalAlloc::dealloc`'s contract, and `pointer` is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}
