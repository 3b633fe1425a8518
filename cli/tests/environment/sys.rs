//! What a child process is forbidden before it becomes the broker.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The classic BPF program "if the call is io_uring_setup, fail with EPERM".
fn forbid_io_uring() -> io::Result<()> {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let mut filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0), // the number of the call
        libc::sock_filter {
            jf: 1,
            ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_io_uring_setup as u32)
        },
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: prctl reads its integer arguments only.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `program` and the filter it points to outlive the call.
    if unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The command's process may not set up io_uring.
pub fn without_io_uring(command: &mut Command) {
    // SAFETY: between fork and exec only prctl is called, on memory of the child.
    unsafe { command.pre_exec(forbid_io_uring) };
}

/// The command's process may lock this many bytes of memory.
pub fn with_lockable_memory(command: &mut Command, bytes: u64) {
    with_limit(command, libc::RLIMIT_MEMLOCK, bytes);
}

/// The command's process may have this many files open at once.
pub fn with_open_files(command: &mut Command, files: u64) {
    with_limit(command, libc::RLIMIT_NOFILE, files);
}

fn with_limit(command: &mut Command, resource: libc::__rlimit_resource_t, at_most: u64) {
    let set = move || {
        let limit = libc::rlimit { rlim_cur: at_most, rlim_max: at_most };
        // SAFETY: `limit` outlives the call.
        match unsafe { libc::setrlimit(resource, &limit) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec only setrlimit is called, on memory of the child.
    unsafe { command.pre_exec(set) };
}

pub fn is_root() -> bool {
    // SAFETY: geteuid takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}
