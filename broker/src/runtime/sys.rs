//! System calls of the runtime: vectored sends, CPU clocks, the limit of open files, signals that end a
//! wait, what io_uring says when it is asked.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use glommio::net::{TcpListener, TcpStream};

pub mod loan;

/// Sends what the socket takes now; `None` if it takes nothing.
pub fn send_vectored(socket: RawFd, slices: &[IoSlice<'_>]) -> Option<io::Result<usize>> {
    // SAFETY: an all-zero `msghdr` is a valid value of that plain C struct.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    // An `IoSlice` has the layout of an `iovec`, and sendmsg does not write through it.
    message.msg_iov = slices.as_ptr().cast_mut().cast();
    message.msg_iovlen = slices.len() as _;
    // SAFETY: the slices outlive the call, and so does `message`.
    let sent = unsafe { libc::sendmsg(socket, &message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    if 0 <= sent {
        return Some(Ok(sent as usize));
    }
    let error = io::Error::last_os_error();
    match error.kind() {
        io::ErrorKind::WouldBlock => None,
        io::ErrorKind::Interrupted => send_vectored(socket, slices),
        _ => Some(Err(error)),
    }
}

/// Raises the number of files this process may open as far as it may by itself. Returns it.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above; the soft limit is not above the hard one.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

/// User and system time of the calling thread.
pub fn thread_cpu_time() -> Duration {
    cpu_time(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// User and system time of a thread of this process; zero if there is no such thread.
pub fn cpu_time_of(thread: i32) -> Duration {
    // How the kernel names that clock: the thread's number, inverted, above three bits (clock_getcpuclockid(3)
    // and pthread_getcpuclockid(3) make the same).
    const OF_A_THREAD: i32 = 4;
    const BY_THE_SCHEDULER: i32 = 2;
    cpu_time((!thread << 3) | OF_A_THREAD | BY_THE_SCHEDULER)
}

fn cpu_time(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` outlives the call; for a clock that does not exist it stays as it is.
    unsafe { libc::clock_gettime(clock, &mut time) };
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The signal that ends a wait: nobody else's, as its default is to do nothing.
const NUDGE: libc::c_int = libc::SIGURG;

/// Has a nudge end system calls with EINTR, unless the program that we are in has a use for the signal.
pub fn let_nudges_interrupt() -> io::Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: an all-zero `sigaction` is a valid value of that plain C struct.
    let mut before: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: `before` outlives the call; without a new action nothing is changed.
    if unsafe { libc::sigaction(NUDGE, std::ptr::null(), &mut before) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if before.sa_sigaction != libc::SIG_DFL {
        return Ok(());
    }
    // SAFETY: as above.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // Without SA_RESTART, so that the interrupted call returns.
    action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
    // SAFETY: the handler touches nothing, so it may run at any place of any thread.
    match unsafe { libc::sigaction(NUDGE, &action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The calling thread, for [`nudge`].
pub fn thread_id() -> i32 {
    // SAFETY: takes no pointers and cannot fail.
    unsafe { libc::gettid() }
}

/// Ends the system call that a thread of this process waits in. Nothing if there is no such thread.
pub fn nudge(thread: i32) {
    // SAFETY: takes no pointers; the number of a thread that has ended, or of another process, is an error.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, NUDGE) };
}

/// Waits in the kernel until a signal comes.
#[cfg(test)]
pub fn wait_for_nothing(most: Duration) -> io::Result<()> {
    let millis = libc::c_int::try_from(most.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: no descriptors are given, so none are read.
    match unsafe { libc::poll(std::ptr::null_mut(), 0, millis) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Asks the kernel for a small ring. The ring is closed again at once.
pub fn try_io_uring() -> io::Result<()> {
    // `struct io_uring_params` is 120 bytes, all zero for "no wishes".
    let mut params = [0u8; 120];
    // SAFETY: `params` is as large as the kernel's struct and outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 8u32, params.as_mut_ptr()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor, nobody else owns it.
    drop(unsafe { OwnedFd::from_raw_fd(fd as RawFd) });
    Ok(())
}

/// Bytes of memory this process may lock; `None` for no limit.
pub fn memlock_limit() -> io::Result<Option<u64>> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur))
}

/// Whether this process may lock memory beyond the limit (CAP_IPC_LOCK).
pub fn may_lock_memory() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    const CAP_IPC_LOCK: u32 = 14;
    bits & (1 << CAP_IPC_LOCK) != 0
}

/// A second descriptor for the same socket.
pub fn duplicate(socket: &impl AsRawFd) -> io::Result<OwnedFd> {
    // SAFETY: the borrow is used only while `socket` lives.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(socket.as_raw_fd()) }.try_clone_to_owned()
}

/// A listening socket for the executor of this thread.
pub fn listener(socket: OwnedFd) -> TcpListener {
    // SAFETY: the descriptor is owned and handed over; it is a listening TCP socket.
    unsafe { TcpListener::from_raw_fd(socket.into_raw_fd()) }
}

/// A connected socket for the executor of this thread.
pub fn stream(socket: OwnedFd) -> TcpStream {
    // SAFETY: the descriptor is owned and handed over; it is a connected TCP socket.
    unsafe { TcpStream::from_raw_fd(socket.into_raw_fd()) }
}

/// Ends a connection in both directions.
pub fn shut_down(socket: RawFd) {
    // SAFETY: shutdown takes no pointers; on a descriptor that is no socket it fails and does nothing.
    unsafe { libc::shutdown(socket, libc::SHUT_RDWR) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_time_of_a_thread_is_seen_from_another_one() {
        let before = thread_cpu_time();
        let (thread, own) = (thread_id(), thread_cpu_time());
        let seen = std::thread::spawn(move || cpu_time_of(thread)).join().unwrap();
        assert!(Duration::ZERO < before && own <= seen, "{own:?} of its own, {seen:?} from outside");
        assert_eq!(cpu_time_of(i32::MAX >> 3), Duration::ZERO, "nobody's");
    }
}
