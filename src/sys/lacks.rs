//! What neither Darwin nor FreeBSD has, or tells: see the table in `mod.rs`.

use super::semaphore::{Semaphore, Waited};
use std::ffi::CStr;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::time::Duration;

/// Offsets have 64 bits everywhere.
pub(crate) use libc::{lseek, off_t as Offset, pread as pread_to, pwrite as pwrite_from};

/// Files of every length are opened.
pub(crate) const LARGE: libc::c_int = 0;

/// `fstat(2)`
pub(crate) fn stat_of(file: &OwnedFd) -> io::Result<nix::sys::stat::FileStat> {
    nix::sys::stat::fstat(file).map_err(super::io_error)
}

/// Files of every length are opened.
pub(crate) const ANY_LENGTH: libc::c_int = 0;

/// There is no public call that tells, or none that is cheap.
pub(crate) fn current_cpu() -> Option<u32> {
    None
}

/// Shared memory is backed by swap, and takes no reservation.
pub(crate) fn seed(_object: &OwnedFd, _len: usize) -> io::Result<()> {
    Ok(())
}

/// As above.
pub(crate) fn reserve(_object: &OwnedFd, _base: NonNull<u8>, _len: usize) -> io::Result<()> {
    Ok(())
}

/// Large pages cannot be asked for.
pub(crate) fn place_for(_len: usize) -> Option<NonZeroUsize> {
    None
}

/// No file system stands behind it that could tell.
pub(crate) fn bytes_free(_object: &OwnedFd) -> Option<u64> {
    None
}

/// The kernel keeps semaphores, and makes them at once.
pub(crate) fn lay(_semaphore: &CStr, _mode: u32) -> io::Result<bool> {
    Ok(false)
}

/// The kernel applies no umask to semaphores.
pub(crate) fn allow(_semaphore: &CStr, _mode: u32) {}

/// There is no wait with a limit by a clock that nobody sets: a thread ends the sleep.
pub(crate) fn wait_at_most(semaphore: &Semaphore, limit: Duration) -> Waited {
    super::watcher::wait_at_most(semaphore, limit)
}

/// No mode tells.
pub(crate) const MARK: u32 = 0;

/// Semaphores cannot be listed.
pub(crate) fn semaphore_of(_name: &str) -> Option<Option<&str>> {
    None
}

/// As above.
pub(crate) fn semaphore_file(_semaphore: &CStr) -> Option<String> {
    None
}

/// There are none.
pub(crate) fn unlink_unnamed(_name: &str) -> io::Result<()> {
    Ok(())
}

/// As with `place_for`.
#[cfg(feature = "cli")]
pub(crate) fn try_huge_page(_name: &CStr) -> io::Result<Option<bool>> {
    Ok(None)
}
