//! Why io_uring cannot be used here, found out before a shard is started.
//!
//!     io_uring_setup ─ ok ─▶ memlock enough? ─ yes ─▶ start
//!           │ EPERM ─ sysctl kernel.io_uring_disabled? ─ 0 ─▶ seccomp
//!           └ ENOSYS: kernel, or a seccomp profile that says so
//!
//! Docker's and containerd's default profiles block io_uring, RHEL has it off by sysctl: a user must
//! be told which of them it is.

use std::io;

use super::sys;

/// Locked memory that glommio's rings need per executor.
const MEMLOCK_BYTES_MIN: u64 = 512 << 10;

const SYSCTL: &str = "/proc/sys/kernel/io_uring_disabled";

/// Why this machine or this container does not let us run.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EnvironmentError {
    #[error(
        "io_uring is disabled by sysctl: {SYSCTL} is {value}; set it to 0 (sysctl kernel.io_uring_disabled=0)"
    )]
    Sysctl { value: String },
    #[error(
        "io_uring is blocked by a seccomp filter (Docker's and containerd's default profiles do that); run with a \
         profile that allows io_uring_setup, io_uring_enter and io_uring_register"
    )]
    Seccomp,
    #[error(
        "io_uring is not there: the kernel is older than 5.8 or built without it, or a seccomp filter hides it \
         (filters in force: {filters})"
    )]
    NoIoUring { filters: bool },
    #[error(
        "locked memory is limited to {limit} bytes and io_uring needs {MEMLOCK_BYTES_MIN} per shard, {needed} in \
         all; raise RLIMIT_MEMLOCK (ulimit -l, LimitMEMLOCK=)"
    )]
    Memlock { limit: u64, needed: u64 },
    #[error("io_uring cannot be used: {0}")]
    Other(String),
}

/// Checks that `shards` executors can be started.
pub fn check_environment(shards: usize) -> Result<(), EnvironmentError> {
    if let Err(error) = sys::try_io_uring() {
        let sysctl = std::fs::read_to_string(SYSCTL).unwrap_or_default();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        return Err(explain(&error, sysctl.trim(), has_seccomp_filter(&status)));
    }
    let limit = sys::memlock_limit().map_err(|error| EnvironmentError::Other(error.to_string()))?;
    check_memlock(limit, sys::may_lock_memory(), shards as u64)
}

fn check_memlock(limit: Option<u64>, privileged: bool, shards: u64) -> Result<(), EnvironmentError> {
    let needed = MEMLOCK_BYTES_MIN * shards;
    match limit {
        Some(limit) if limit < needed && !privileged => Err(EnvironmentError::Memlock { limit, needed }),
        _ => Ok(()),
    }
}

/// What a failed io_uring_setup means, given the sysctl's value and whether filters are in force.
fn explain(error: &io::Error, sysctl: &str, filters: bool) -> EnvironmentError {
    match error.raw_os_error() {
        Some(libc::EPERM) if matches!(sysctl, "1" | "2") => {
            EnvironmentError::Sysctl { value: sysctl.to_owned() }
        }
        Some(libc::EPERM) => EnvironmentError::Seccomp,
        Some(libc::ENOSYS) => EnvironmentError::NoIoUring { filters },
        _ => EnvironmentError::Other(error.to_string()),
    }
}

fn has_seccomp_filter(status: &str) -> bool {
    status.lines().filter_map(|line| line.strip_prefix("Seccomp:")).any(|mode| mode.trim() == "2")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(errno: i32, sysctl: &str, filters: bool) -> String {
        explain(&io::Error::from_raw_os_error(errno), sysctl, filters).to_string()
    }

    #[test]
    fn each_cause_is_named() {
        assert!(explained(libc::EPERM, "2", false).starts_with("io_uring is disabled by sysctl"));
        assert!(explained(libc::EPERM, "0", true).starts_with("io_uring is blocked by a seccomp filter"));
        assert!(explained(libc::EPERM, "", true).starts_with("io_uring is blocked by a seccomp filter"));
        assert!(explained(libc::ENOSYS, "", false).contains("filters in force: false"));
        assert!(explained(libc::EMFILE, "0", false).starts_with("io_uring cannot be used"));
    }

    #[test]
    fn memlock_counts_for_whom_it_binds() {
        let too_low = EnvironmentError::Memlock { limit: 64 << 10, needed: 1 << 20 };
        assert_eq!(check_memlock(Some(64 << 10), false, 2), Err(too_low));
        assert_eq!(check_memlock(Some(64 << 10), true, 2), Ok(()));
        assert_eq!(check_memlock(Some(1 << 20), false, 2), Ok(()));
        assert_eq!(check_memlock(None, false, 64), Ok(()));
    }

    #[test]
    fn the_kernel_says_whether_a_filter_is_in_force() {
        assert!(has_seccomp_filter("Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"));
        assert!(!has_seccomp_filter("Seccomp:\t0\nSeccomp_filters:\t0\n"));
    }
}
