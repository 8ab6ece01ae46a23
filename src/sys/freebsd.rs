//! FreeBSD: everything compiles, and every channel is refused with a reason.
//!
//! What tells the living from the dead are locks that an open file description owns and the kernel drops with it.
//! FreeBSD has none on bytes: its `fcntl(2)` locks belong to the process, which loses them all by closing any descriptor
//! of the file, and `flock(2)` locks a whole file, and no shared memory. A port would need a file for each seat and
//! generation. Until there is one, a program that also runs here gets an error that it can act upon.

use super::look::Found;
use super::process::Started;
use super::region::HeadAt;
use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

#[cfg(feature = "cli")]
pub(crate) use super::lacks::try_huge_page;
pub(crate) use super::lacks::{
    ANY_LENGTH, LARGE, MARK, Offset, allow, bytes_free, current_cpu, lay, lseek, place_for, pread_to, pwrite_from,
    reserve, seed, semaphore_file, semaphore_of, stat_of, unlink_unnamed, wait_at_most,
};
pub(crate) use libc::pthread_atfork;

pub(crate) const LIBC_FLAVOUR: u32 = 6;

/// None such: EINVAL.
pub(super) const F_OFD_SETLK: libc::c_int = -1;
pub(super) const F_OFD_GETLK: libc::c_int = -1;

/// Not tried.
pub(crate) fn past_cache(_file: &std::fs::File, _is_wanted: bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// It has no call for that.
pub(crate) fn preallocate(_file: &std::fs::File, _len: Offset) -> io::Result<()> {
    Ok(())
}

/// Asked for this process only, as nobody else ever sits anywhere.
pub(crate) fn start_time(pid: u32) -> Started {
    if pid == 0 { Started::Gone } else { Started::Unknown }
}

pub(crate) struct Exit(std::convert::Infallible);

impl Exit {
    pub(crate) fn of(_pid: u32) -> Option<Self> {
        None
    }

    pub(crate) fn has_come(&self) -> bool {
        match self.0 {}
    }
}

pub(crate) fn pid_namespace() -> u64 {
    0
}

/// Nobody can have made anything.
pub(crate) fn names() -> io::Result<Vec<OsString>> {
    Ok(Vec::new())
}

pub(crate) fn find(_name: &OsStr) -> io::Result<Option<Found>> {
    Ok(None)
}

pub(crate) fn read_at(_object: &OwnedFd, _offset: u64, _to: &mut [u8]) -> io::Result<bool> {
    Ok(false)
}

/// There is none: whoever looks for one is told why.
pub(crate) struct Anchor(std::convert::Infallible);

impl Anchor {
    pub(crate) fn find(_name: &CStr) -> io::Result<Option<Self>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "FreeBSD has no locks that tell whether the other end lives"))
    }

    pub(crate) fn find_or_make(name: &CStr, _mode: u32) -> io::Result<Self> {
        Self::find(name)?.ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn leads_here(&self, _name: &CStr, _nonce: u64, _head: HeadAt) -> io::Result<bool> {
        match self.0 {}
    }

    pub(crate) fn undo(&self, _name: &CStr) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn probe(&self, _name: &CStr) -> io::Result<Option<OwnedFd>> {
        match self.0 {}
    }

    pub(crate) fn successor(&self, _name: &CStr) -> io::Result<Option<OwnedFd>> {
        match self.0 {}
    }

    pub(crate) fn belongs_to(&self, _nonce: u64) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn id(&self) -> io::Result<u64> {
        match self.0 {}
    }

    pub(crate) fn object(_name: &CStr, _mode: u32) -> io::Result<Option<OwnedFd>> {
        Ok(None)
    }

    pub(crate) fn remove(&self, _name: &CStr) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        match self.0 {}
    }
}

#[cfg(feature = "cli")]
pub(crate) const SYSTEM: super::System = super::System::FreeBsd;

#[cfg(feature = "cli")]
pub(crate) fn libc_version() -> String {
    "FreeBSD's".to_owned()
}

#[cfg(feature = "cli")]
pub(crate) fn registry() -> io::Result<Option<std::path::PathBuf>> {
    Ok(None)
}
