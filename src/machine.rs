//! What the system says of this machine, for `antiphon doctor`: the few answers that no file and no program of the
//! system gives. For the project's own command; it may change at any time.

use crate::sys::{self, process};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};

pub use crate::sys::System;

/// Whose rules this program was built for.
pub const SYSTEM: System = sys::SYSTEM;

/// A limit that this process has on what it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Descriptors, as `ulimit -n`.
    Files,
    /// Bytes of one file, as `ulimit -f`; a region is one on Linux.
    FileBytes,
    /// Bytes of address space, as `ulimit -v`.
    AddressSpace,
}

/// What a file system has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes in all; 0 where it has no limit.
    pub bytes: u64,
    /// Bytes that this user could still take.
    pub bytes_free: u64,
    /// Files in all; 0 where it has no limit.
    pub files: u64,
    /// Files that this user could still make.
    pub files_free: u64,
}

/// A limit as it is in force; `None` where there is none.
///
/// # Errors
/// The system does not tell.
#[allow(clippy::unnecessary_cast)] // Its width differs between systems.
pub fn limit(limit: Limit) -> io::Result<Option<u64>> {
    let resource = match limit {
        Limit::Files => Resource::RLIMIT_NOFILE,
        Limit::FileBytes => Resource::RLIMIT_FSIZE,
        Limit::AddressSpace => crate::sys::ADDRESS_SPACE,
    };
    let (soft, _) = getrlimit(resource)?;
    Ok((soft != RLIM_INFINITY).then_some(soft as u64))
}

/// How full the file system of `path` is.
///
/// # Errors
/// There is none, or it does not tell.
#[allow(clippy::unnecessary_cast)] // Their widths differ between systems.
pub fn space(path: &Path) -> io::Result<Space> {
    let told = nix::sys::statvfs::statvfs(path)?;
    let unit = told.fragment_size() as u64;
    Ok(Space {
        bytes: (told.blocks() as u64).saturating_mul(unit),
        bytes_free: (told.blocks_available() as u64).saturating_mul(unit),
        files: told.files() as u64,
        files_free: told.files_available() as u64,
    })
}

/// Whether this process may make names in a directory.
///
/// # Errors
/// It may not, or the directory is not there.
pub fn check_writable(directory: &Path) -> io::Result<()> {
    use nix::unistd::{AccessFlags, access};
    Ok(access(directory, AccessFlags::W_OK | AccessFlags::X_OK)?)
}

/// The user whose rights this process has.
pub fn user() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// The C library, with its version where it tells one.
pub fn libc() -> String {
    sys::libc_version()
}

/// The processors that this thread may run on; none where the system keeps nobody on one.
pub fn allowed_processors() -> Vec<usize> {
    sys::processor::allowed()
}

/// Whether the end of a process can be watched without asking for it by its number again and again.
pub fn has_exit_watch() -> bool {
    process::ExitWatch::new(process::Who::mine()).is_some()
}

/// Whether a region gets huge pages, by trying it; `None` where the system does not tell.
///
/// # Errors
/// No object could be made to try it with.
pub fn try_huge_page() -> io::Result<Option<bool>> {
    let name = CString::new(format!("/doctor-{}~h", std::process::id())).map_err(io::Error::other)?;
    sys::try_huge_page(&name)
}

/// The directory that carries the locks, where regions cannot; it may not be there yet.
///
/// # Errors
/// This user has none.
pub fn registry() -> io::Result<Option<PathBuf>> {
    sys::registry()
}
