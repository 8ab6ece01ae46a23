//! Named semaphores.
//!
//! Unnamed ones would lie in the region, but Darwin has none. A named one is told by its name alone, so two things
//! are kept: it is never reused (made anew with each region), and it is opened and removed under the door of the
//! region that it belongs to.

#![allow(unsafe_code)] // One of the homes of unsafe, see CONTRIBUTING.

use super::{if_there, platform};
use std::ffi::CStr;
use std::io;
use std::ptr::NonNull;
use std::time::Duration;

/// How often a cleaner may come between: each time takes one that runs in those very microseconds.
const CLEANINGS: u32 = 100;

/// One opened semaphore.
pub(crate) struct Semaphore(NonNull<libc::sem_t>);

// SAFETY: POSIX lets every thread of the process use a semaphore that one of them opened.
unsafe impl Send for Semaphore {}
// SAFETY: as above; each operation is atomic.
unsafe impl Sync for Semaphore {}

/// Whether a wait took a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// It took one.
    Token,
    /// The limit passed, or a signal came, and it took none.
    Nothing,
}

impl Semaphore {
    /// Makes a new one, empty, in place of any that has the name.
    pub(crate) fn create_anew(name: &CStr, mode: u32) -> io::Result<Self> {
        let marked = mode | platform::MARK;
        let mut cleanings = 0;
        loop {
            Self::unlink(name)?;
            let made = platform::lay(name, marked).and_then(|is_laid| {
                let flags = if is_laid { 0 } else { libc::O_CREAT | libc::O_EXCL };
                // SAFETY: a NUL-terminated name, and the two arguments that O_CREAT asks for, in the types that
                // variadic calls pass them in.
                Self::open_with(|| unsafe {
                    libc::sem_open(name.as_ptr(), flags, marked as libc::c_uint, 0 as libc::c_uint)
                })
            });
            match made {
                Ok(made) => {
                    platform::allow(name, mode);
                    return Ok(made);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                // Somebody who cleans up took a half-made file for a dead one's, or took the name away.
                Err(error) if error.kind() == io::ErrorKind::NotFound && cleanings < CLEANINGS => cleanings += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Opens one that is there.
    pub(crate) fn open(name: &CStr) -> io::Result<Option<Self>> {
        // SAFETY: a NUL-terminated name; without O_CREAT there are no further arguments.
        if_there(Self::open_with(|| unsafe { libc::sem_open(name.as_ptr(), 0) }))
    }

    fn open_with(mut open: impl FnMut() -> *mut libc::sem_t) -> io::Result<Self> {
        loop {
            let semaphore = open();
            match NonNull::new(semaphore) {
                Some(opened) if semaphore != libc::SEM_FAILED => return Ok(Semaphore(opened)),
                _ => {}
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    /// Takes the name away; those who have it open keep it. False where there was none.
    pub(crate) fn unlink(name: &CStr) -> io::Result<bool> {
        // SAFETY: a NUL-terminated name.
        let result = match unsafe { libc::sem_unlink(name.as_ptr()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        };
        Ok(if_there(result)?.is_some())
    }

    /// Adds a token. It can fail by overflow only, and then tokens are not what is missing.
    pub(crate) fn post(&self) {
        // SAFETY: open until dropped.
        unsafe { libc::sem_post(self.0.as_ptr()) };
    }

    /// Takes a token if there is one.
    pub(crate) fn try_take(&self) -> bool {
        // SAFETY: open until dropped.
        unsafe { libc::sem_trywait(self.0.as_ptr()) == 0 }
    }

    /// Sleeps until there is a token, or `limit` has passed, or a signal came.
    pub(crate) fn take_within(&self, limit: Duration) -> Waited {
        platform::wait_at_most(self, limit)
    }

    /// Sleeps until there is a token, however long that takes: for measuring.
    #[cfg(feature = "limits")]
    pub(crate) fn take(&self) {
        // SAFETY: open until dropped. It fails by a signal only, and is then called again.
        while unsafe { libc::sem_wait(self.0.as_ptr()) } != 0 {}
    }

    /// For the platform's waits; valid while `self` is.
    pub(super) fn as_ptr(&self) -> *mut libc::sem_t {
        self.0.as_ptr()
    }
}

impl Drop for Semaphore {
    fn drop(&mut self) {
        // SAFETY: opened by `sem_open`, closed here only.
        unsafe { libc::sem_close(self.0.as_ptr()) };
    }
}
