//! What the standard library does not offer: pinning, a timer descriptor, aligned memory.
//!
//!     pin_to(cores) · allowed_cores()       which cores the calling thread may run on
//!     die_with(parent)                      the broker's process must not outlive the bench
//!     Timer                                 a timerfd: wakes within tens of us, an epoll timeout rounds to ms
//!     AlignedBuffer                         O_DIRECT takes no other
//!
//! The only file of this crate with `unsafe` in it.

use std::alloc::Layout;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::ptr::NonNull;

use tokio::io::unix::AsyncFd;

use crate::clock::Moment;

/// Lets the calling thread, and threads it starts later, run on `cores` only.
pub fn pin_to(cores: &[usize]) -> io::Result<()> {
    let mut set = empty_cpu_set();
    for &core in cores {
        if core >= CPU_SET_BITS {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("there is no core {core}")));
        }
        // SAFETY: `core` is below the number of bits in the set.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: `set` is a valid set of the size that is passed; 0 is the calling thread.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) })
}

/// The cores that the calling thread may run on, in ascending order.
pub fn allowed_cores() -> io::Result<Vec<usize>> {
    let mut set = empty_cpu_set();
    // SAFETY: `set` is writable and of the size that is passed; 0 is the calling thread.
    check(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) })?;
    // SAFETY: every index is below the number of bits in the set.
    Ok((0..CPU_SET_BITS).filter(|&core| unsafe { libc::CPU_ISSET(core, &set) }).collect())
}

fn empty_cpu_set() -> libc::cpu_set_t {
    // SAFETY: a cpu_set_t is an array of integers, for which all zeroes are a value.
    unsafe { std::mem::zeroed() }
}

/// The kernel kills this process when its parent ends. `parent` is who started us: if it is gone
/// already, nobody would be told any more, and this returns an error.
pub fn die_with(parent: u32) -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes one integer and touches no memory of ours.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
    if std::os::unix::process::parent_id() == parent {
        Ok(())
    } else {
        Err(io::Error::other("the process that started the broker is gone"))
    }
}

/// Clock ticks a second in `/proc/PID/stat`.
pub fn clock_ticks_per_second() -> u64 {
    // SAFETY: sysconf reads a constant of the system.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks).unwrap_or(100).max(1)
}

/// Nanoseconds of CLOCK_MONOTONIC, the clock that [`Timer`] counts in.
pub fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable. CLOCK_MONOTONIC exists on every Linux, so the call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// A timer that shows as readable when its time has come.
pub struct Timer(File);

impl Timer {
    pub fn new() -> io::Result<Timer> {
        let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
        // SAFETY: timerfd_create takes two integers and returns a descriptor or -1.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) };
        check(fd)?;
        // SAFETY: the descriptor is open, and nobody else knows it.
        Ok(Timer(unsafe { File::from_raw_fd(fd) }))
    }

    /// Fires at `at`, once; at once if that has passed.
    pub fn set(&self, at: Moment) -> io::Result<()> {
        let ns = at.as_ns().max(1); // 0 would disarm
        let value = libc::timespec {
            tv_sec: (ns / 1_000_000_000).cast_signed(),
            tv_nsec: (ns % 1_000_000_000).cast_signed(),
        };
        let interval = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = libc::itimerspec { it_interval: interval, it_value: value };
        let fd = self.0.as_raw_fd();
        // SAFETY: `spec` is readable, and a null pointer asks for no old value.
        check(unsafe { libc::timerfd_settime(fd, libc::TFD_TIMER_ABSTIME, &spec, std::ptr::null_mut()) })
    }

    /// Takes the expiry away, so that the descriptor is not readable any more.
    pub fn clear(&self) {
        let mut count = [0; 8];
        // WouldBlock means that there was nothing to take away.
        let _ = (&self.0).read(&mut count);
    }
}

/// Lets tokio wait for a timer.
pub fn in_runtime(timer: Timer) -> io::Result<AsyncFd<Timer>> {
    // SAFETY: a Timer names the same open descriptor for as long as it lives, which it owns.
    unsafe { AsyncFd::register(timer) }.map_err(io::Error::from)
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Zeroed memory that starts on a page, as O_DIRECT wants it.
pub struct AlignedBuffer {
    start: NonNull<u8>,
    layout: Layout,
}

impl AlignedBuffer {
    pub fn zeroed(len: usize) -> AlignedBuffer {
        assert!(len > 0, "BUG: a buffer of no bytes");
        let layout = Layout::from_size_align(len, PAGE).expect("BUG: a buffer larger than the address space");
        // SAFETY: the layout has a size above 0.
        let start = unsafe { std::alloc::alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { std::alloc::handle_alloc_error(layout) };
        AlignedBuffer { start, layout }
    }

    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the memory is ours, initialised and as long as the layout says.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.layout.size()) }
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, freed once.
        unsafe { std::alloc::dealloc(self.start.as_ptr(), self.layout) };
    }
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

const PAGE: usize = 4096;
const CPU_SET_BITS: usize = libc::CPU_SETSIZE as usize;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_stays_on_the_core_it_is_pinned_to() {
        let cores = allowed_cores().unwrap();
        let last = *cores.last().unwrap();
        let seen = std::thread::spawn(move || {
            pin_to(&[last]).unwrap();
            allowed_cores().unwrap()
        });
        assert_eq!(seen.join().unwrap(), [last]);
        assert_eq!(allowed_cores().unwrap(), cores, "other threads are not affected");
        assert!(pin_to(&[CPU_SET_BITS]).is_err());
    }

    #[test]
    fn aligned_memory_starts_on_a_page() {
        let buffer = AlignedBuffer::zeroed(5000);
        assert_eq!((buffer.as_slice().as_ptr() as usize % PAGE, buffer.as_slice().len()), (0, 5000));
    }
}
