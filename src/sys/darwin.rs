//! Darwin: locks stand on a registry file, since shared memory takes none; no wait on a semaphore has a limit.
//!
//! `cfg(antiphon_darwin_rules)` builds this file on Linux, where a preloaded library makes Linux refuse what Darwin
//! refuses and provides the few calls that Linux lacks (`ci/darwin-rules`).

#![allow(unsafe_code)] // One of the homes of unsafe, see CONTRIBUTING.

use super::look::{Found, What};
use super::process::Started;
use super::registry::{self, Place};
use super::{if_there, io_error, retry};
use nix::fcntl::OFlag;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap, shm_open};
use nix::sys::stat::{Mode, SFlag, fstat};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

#[cfg(target_vendor = "apple")]
pub(crate) use libc::pthread_atfork;
#[cfg(target_vendor = "apple")]
use libc::{_CS_DARWIN_USER_CACHE_DIR, PROC_PIDTBSDINFO, proc_bsdinfo, proc_pidinfo};
#[cfg(target_vendor = "apple")]
pub(super) use libc::{EV_ADD, EV_ERROR, EV_ONESHOT, EVFILT_PROC, NOTE_EXIT, kevent, kqueue};

#[cfg(not(target_vendor = "apple"))]
pub(crate) use rules::pthread_atfork;
#[cfg(not(target_vendor = "apple"))]
use rules::{_CS_DARWIN_USER_CACHE_DIR, PROC_PIDTBSDINFO, proc_bsdinfo, proc_pidinfo};
#[cfg(not(target_vendor = "apple"))]
pub(super) use rules::{EV_ADD, EV_ERROR, EV_ONESHOT, EVFILT_PROC, NOTE_EXIT, kevent, kqueue};

pub(crate) use super::kqueue::Exit;
#[cfg(feature = "cli")]
pub(crate) use super::lacks::try_huge_page;
pub(crate) use super::lacks::{
    ANY_LENGTH, LARGE, MARK, Offset, allow, bytes_free, current_cpu, lay, lseek, place_for, pread_to, pwrite_from,
    reserve, seed, semaphore_file, semaphore_of, stat_of, unlink_unnamed, wait_at_most,
};
pub(crate) use super::registry::Anchor;

/// Of semaphores; see `bells.rs`.
pub(crate) const LIBC_FLAVOUR: u32 = 3;

/// `fcntl(2)`: `F_NOCACHE`
#[cfg(target_vendor = "apple")]
pub(crate) fn past_cache(file: &std::fs::File, is_wanted: bool) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: a descriptor and a number.
    let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_NOCACHE, libc::c_int::from(is_wanted)) };
    nix::errno::Errno::result(done).map(drop).map_err(io_error)
}

/// The rules have no disk.
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn past_cache(_file: &std::fs::File, _is_wanted: bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// `fcntl(2)`: `F_PREALLOCATE`, from the end of what the file has.
#[cfg(target_vendor = "apple")]
pub(crate) fn preallocate(file: &std::fs::File, len: Offset) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let mut store = libc::fstore_t {
        fst_flags: libc::F_ALLOCATEALL,
        fst_posmode: libc::F_PEOFPOSMODE,
        fst_offset: 0,
        fst_length: len,
        fst_bytesalloc: 0,
    };
    // SAFETY: the call reads and writes one `fstore_t`.
    let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_PREALLOCATE, &raw mut store) };
    nix::errno::Errno::result(done).map(drop).map_err(io_error)
}

/// The rules have no disk.
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn preallocate(_file: &std::fs::File, _len: Offset) -> io::Result<()> {
    Ok(())
}

/// `proc_pidinfo`, `<libproc.h>`: answers for processes of the same user.
pub(crate) fn start_time(pid: u32) -> Started {
    let Ok(pid) = libc::c_int::try_from(pid) else { return Started::Gone };
    // SAFETY: `proc_bsdinfo` is plain data, and all zeros is one of its values.
    let mut info: proc_bsdinfo = unsafe { std::mem::zeroed() };
    let size = size_of::<proc_bsdinfo>() as libc::c_int;
    // SAFETY: `info` has room for `size` bytes, which is what this flavour fills in.
    let filled = unsafe { proc_pidinfo(pid, PROC_PIDTBSDINFO, 0, (&raw mut info).cast(), size) };
    if filled == size {
        return match info.pbi_status {
            5 => Started::Gone, // SZOMB, <sys/proc.h>.
            _ => Started::At(info.pbi_start_tvsec * 1_000_000 + info.pbi_start_tvusec),
        };
    }
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::ESRCH) => Started::Gone,
        _ => Started::Unknown,
    }
}

/// Darwin has one set of pids.
pub(crate) fn pid_namespace() -> u64 {
    1
}

/// The names in this user's registry: shared memory cannot be listed.
pub(crate) fn names() -> io::Result<Vec<OsString>> {
    registry::names()
}

/// What has the name, without its slash: the region, and the registry's file.
pub(crate) fn find(name: &OsStr) -> io::Result<Option<Found>> {
    let Ok(name) = CString::new([b"/", name.as_bytes()].concat()) else { return Ok(None) };
    let place = registry::look(&name)?;
    let object = match retry(|| shm_open(name.as_c_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())) {
        // Longer than a region's: the file is no region's either.
        Err(error) if error.raw_os_error() == Some(libc::ENAMETOOLONG) => Ok(None),
        other => if_there(other),
    };
    let is_refused = object.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    let object = if is_refused { None } else { object? };
    let anchor = match place {
        Place::File(file) => Some(file),
        // As in `Anchor::find`: a region without its file shows all the same.
        Place::Nothing if object.is_some() => Some(Anchor::find_or_make(&name, 0o600)?.file),
        Place::Nothing => None,
        Place::Other(stat) => {
            return Ok(Some(Found {
                what: What::Other("something else in the place of a file of the registry"),
                owner: stat.st_uid,
                len: 0,
                is_marked: false,
                id: stat.st_ino,
                object: None,
                anchor: None,
            }));
        }
    };
    let (what, stat) = match (&object, &anchor) {
        (Some(object), _) => (What::Memory, fstat(object)),
        (None, Some(anchor)) => (if is_refused { What::Memory } else { What::RegistryFile }, fstat(anchor)),
        (None, None) => return Ok(None),
    };
    let stat = stat.map_err(io_error)?;
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    let is_memory = kind.is_empty() || kind == SFlag::S_IFREG;
    Ok(Some(Found {
        what: if is_memory { what } else { What::Other("no shared memory") },
        owner: stat.st_uid,
        len: if what == What::RegistryFile { 0 } else { u64::try_from(stat.st_size).unwrap_or(0) },
        is_marked: anchor.as_ref().map_or(Ok(false), |anchor| registry::was_used(anchor.as_fd()))?,
        id: anchor.as_ref().map_or(Ok(0), |anchor| registry::id_of(anchor.as_fd()))?,
        object: if is_memory { object } else { None },
        anchor,
    }))
}

/// Copies the object's bytes from `offset`, a page's, on. False where it is shorter. By a mapping, since shared memory
/// cannot be read; it cannot be truncated either, once it has a length.
pub(crate) fn read_at(object: &OwnedFd, offset: u64, to: &mut [u8]) -> io::Result<bool> {
    let len = fstat(object).map_err(io_error)?.st_size;
    let Some(wanted) = NonZeroUsize::new(to.len()) else { return Ok(true) };
    if u64::try_from(len).unwrap_or(0).saturating_sub(offset) < to.len() as u64 {
        return Ok(false);
    }
    let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
    // SAFETY: the kernel chooses the address.
    let base = unsafe { mmap(None, wanted, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, object, offset) };
    let base = base.map_err(io_error)?;
    // SAFETY: that many mapped bytes, and `to` is a slice of as many.
    unsafe { super::copy::copy(to.as_mut_ptr(), base.as_ptr().cast(), to.len()) };
    // SAFETY: mapped above, and nobody else knows of it.
    unsafe { munmap(base, wanted.get()) }.map_err(io_error)?;
    Ok(true)
}

/// This user's own cache directory, which other users cannot write.
pub(super) fn cache_directory() -> io::Result<PathBuf> {
    let mut buffer = [0u8; libc::PATH_MAX as usize];
    // SAFETY: `buffer` has room for the length that is given.
    let len = unsafe { libc::confstr(_CS_DARWIN_USER_CACHE_DIR, buffer.as_mut_ptr().cast(), buffer.len()) };
    match buffer.get(..len.saturating_sub(1)) {
        Some(path) if !path.is_empty() => Ok(PathBuf::from(OsStr::from_bytes(path))),
        _ => Err(io::Error::new(io::ErrorKind::NotFound, "this user has no cache directory")),
    }
}

#[cfg(feature = "cli")]
pub(crate) const SYSTEM: super::System = super::System::Darwin;

/// It comes with the system and has no version of its own.
#[cfg(feature = "cli")]
pub(crate) fn libc_version() -> String {
    "libSystem".to_owned()
}

/// The directory of the files that carry the locks, whether it is there yet or not.
#[cfg(feature = "cli")]
pub(crate) fn registry() -> io::Result<Option<PathBuf>> {
    super::registry::directory().map(Some)
}

/// What the preloaded library provides where there is no Darwin.
#[cfg(not(target_vendor = "apple"))]
mod rules {
    #![allow(non_camel_case_types)] // The system's own names.

    pub(super) const PROC_PIDTBSDINFO: libc::c_int = 3;
    pub(super) const _CS_DARWIN_USER_CACHE_DIR: libc::c_int = 65538;

    /// `<sys/proc_info.h>`
    #[repr(C)]
    pub(super) struct proc_bsdinfo {
        pub(super) pbi_flags: u32,
        pub(super) pbi_status: u32,
        unread: [u32; 10],
        names: [u8; 48],
        unread_too: [u32; 4],
        tdev_and_nice: [u32; 2],
        pub(super) pbi_start_tvsec: u64,
        pub(super) pbi_start_tvusec: u64,
    }

    static_assertions::const_assert_eq!(size_of::<proc_bsdinfo>(), 136);
    static_assertions::const_assert_eq!(std::mem::offset_of!(proc_bsdinfo, pbi_start_tvsec), 120);

    pub(crate) const EVFILT_PROC: i16 = -5;
    pub(crate) const EV_ADD: u16 = 0x1;
    pub(crate) const EV_ONESHOT: u16 = 0x10;
    pub(crate) const EV_ERROR: u16 = 0x4000;
    pub(crate) const NOTE_EXIT: u32 = 0x8000_0000;

    /// `<sys/event.h>`
    #[repr(C, packed(4))]
    pub(crate) struct kevent {
        pub(crate) ident: usize,
        pub(crate) filter: i16,
        pub(crate) flags: u16,
        pub(crate) fflags: u32,
        pub(crate) data: isize,
        pub(crate) udata: *mut libc::c_void,
    }

    unsafe extern "C" {
        pub(crate) fn kqueue() -> libc::c_int;

        pub(crate) fn kevent(
            queue: libc::c_int,
            changes: *const kevent,
            nchanges: libc::c_int,
            events: *mut kevent,
            nevents: libc::c_int,
            limit: *const libc::timespec,
        ) -> libc::c_int;

        pub(super) fn proc_pidinfo(
            pid: libc::c_int,
            flavor: libc::c_int,
            arg: u64,
            buffer: *mut libc::c_void,
            size: libc::c_int,
        ) -> libc::c_int;

        pub(crate) fn pthread_atfork(
            prepare: Option<unsafe extern "C" fn()>,
            parent: Option<unsafe extern "C" fn()>,
            child: Option<unsafe extern "C" fn()>,
        ) -> libc::c_int;
    }
}
