//! Locks on single bytes of a file, owned by an open file description.
//!
//! See `fcntl_locking(2)`, "Open file description locks". Three facts carry the design:
//!
//! * The kernel drops the lock when the last descriptor *and mapping* of the description is gone, whatever ended the
//!   process. So a description that locks is never mapped.
//! * A description does not see its own locks: probing goes through a second description.
//! * A forked child shares the description and keeps its locks: a lock alone does not prove that the process which
//!   took it is alive. [`super::process`] has the second half of the proof.
//!
//! Bytes beyond the end of the file can be locked as well as any other.

#![allow(unsafe_code)] // One of the homes of unsafe, see CONTRIBUTING.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

// A generation's byte has up to 38 bits. glibc's plain `fcntl` has 32 for it on a machine with such words.
#[cfg(target_os = "freebsd")]
use super::platform::{F_OFD_GETLK, F_OFD_SETLK};
#[cfg(not(target_os = "freebsd"))]
use libc::{F_OFD_GETLK, F_OFD_SETLK};
#[cfg(not(all(target_env = "gnu", target_pointer_width = "32")))]
use libc::{fcntl, flock, off_t};
#[cfg(all(target_env = "gnu", target_pointer_width = "32"))]
use {libc::flock64 as flock, libc::off64_t as off_t, wide::fcntl64 as fcntl};

#[cfg(all(target_env = "gnu", target_pointer_width = "32"))]
mod wide {
    unsafe extern "C" {
        /// glibc 2.28; the libc crate does not declare it.
        pub(super) fn fcntl64(fd: libc::c_int, command: libc::c_int, ...) -> libc::c_int;
    }
}

fn byte_lock(kind: libc::c_int, byte: u64) -> flock {
    // SAFETY: `flock` is plain data, and all zeros is one of its values.
    let mut lock: flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = byte as off_t;
    lock.l_len = 1;
    lock
}

fn control(fd: BorrowedFd<'_>, command: libc::c_int, lock: &mut flock) -> io::Result<()> {
    loop {
        // SAFETY: `fd` is open for as long as it is borrowed, and these commands take a pointer to a `flock`, which
        // `lock` is.
        let done = unsafe { fcntl(fd.as_raw_fd(), command, &raw mut *lock) };
        if done != -1 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Locks `byte` for this description alone. False where another has it.
pub(crate) fn try_lock(fd: BorrowedFd<'_>, byte: u64) -> io::Result<bool> {
    match control(fd, F_OFD_SETLK, &mut byte_lock(libc::F_WRLCK as libc::c_int, byte)) {
        Ok(()) => Ok(true),
        Err(error) => match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EACCES) => Ok(false),
            _ => Err(error),
        },
    }
}

/// Gives `byte` back.
pub(crate) fn unlock(fd: BorrowedFd<'_>, byte: u64) -> io::Result<()> {
    control(fd, F_OFD_SETLK, &mut byte_lock(libc::F_UNLCK as libc::c_int, byte))
}

/// Whether any *other* description holds `byte`.
pub(crate) fn is_locked(probe: BorrowedFd<'_>, byte: u64) -> io::Result<bool> {
    let mut lock = byte_lock(libc::F_WRLCK as libc::c_int, byte);
    control(probe, F_OFD_GETLK, &mut lock)?;
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn the_last_byte_that_a_generation_can_have_is_its_own() {
        let path = std::env::temp_dir().join(format!("antiphon-lock-{}", std::process::id()));
        let open = || std::fs::File::options().create(true).truncate(false).write(true).open(&path).unwrap();
        let (one, other) = (open(), open());
        std::fs::remove_file(&path).unwrap();
        let last = u64::from(u32::MAX) * 64 + 31;
        assert!(try_lock(one.as_fd(), last).unwrap());
        assert!(is_locked(other.as_fd(), last).unwrap());
        for free in [0, last & 0xffff_ffff, last & 0x7fff_ffff, last - 1] {
            assert!(!is_locked(other.as_fd(), free).unwrap(), "{free}");
        }
        unlock(one.as_fd(), last).unwrap();
        assert!(!is_locked(other.as_fd(), last).unwrap());
    }
}
