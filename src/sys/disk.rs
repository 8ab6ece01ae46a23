//! Files on a disk: to shared memory and out of it without a copy of ours in between, their holes, and names below a
//! directory, none of which is followed anywhere else.

#![allow(unsafe_code)] // One of the homes of unsafe, see CONTRIBUTING.

use super::platform::{self, Offset};
use super::region::Mapping;
use super::{io_error, retry};
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{Mode, SFlag, fstatat, futimens, mkdirat};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};
use std::cell::Cell;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;

/// Where a file's bytes are: at a place of it, or wherever its own position is.
pub(crate) type Place = Option<u64>;

fn offset(at: u64) -> io::Result<Offset> {
    Offset::try_from(at).map_err(|_| io_error(Errno::EFBIG))
}

impl Mapping {
    /// Reads from a file to the `len` bytes behind `to`, which are the caller's alone. 0 is the file's end.
    pub(crate) fn read_file(&self, to: usize, len: usize, file: impl AsFd, at: Place) -> io::Result<usize> {
        let (bytes, fd) = (self.at(to, len).cast(), file.as_fd());
        let at = at.map(offset).transpose()?;
        let read = || {
            let came = match at {
                // SAFETY: `len` mapped bytes, into which the kernel writes; no reference to them exists.
                Some(at) => unsafe { platform::pread_to(fd.as_raw_fd(), bytes, len, at) },
                // SAFETY: as above.
                None => unsafe { libc::read(fd.as_raw_fd(), bytes, len) },
            };
            Errno::result(came)
        };
        Ok(retry(read)? as usize)
    }

    /// Writes to a file what stands in the `len` bytes behind `from`, as they are while the kernel reads them. Returns
    /// how many it took.
    pub(crate) fn write_file(&self, from: usize, len: usize, file: impl AsFd, at: Place) -> io::Result<usize> {
        let (bytes, fd) = (self.at(from, len).cast_const().cast(), file.as_fd());
        let at = at.map(offset).transpose()?;
        let write = || {
            let went = match at {
                // SAFETY: `len` mapped bytes, which the kernel reads.
                Some(at) => unsafe { platform::pwrite_from(fd.as_raw_fd(), bytes, len, at) },
                // SAFETY: as above.
                None => unsafe { libc::write(fd.as_raw_fd(), bytes, len) },
            };
            Errno::result(went)
        };
        Ok(retry(write)? as usize)
    }
}

/// The first range at `from` or behind it that is no hole, of a file of `len` bytes; nothing where only a hole is left.
/// A file system that does not tell has no holes. The file's own position is nobody's afterwards.
pub(crate) fn data_behind(file: &File, from: u64, len: u64) -> io::Result<Option<Range<u64>>> {
    if from >= len {
        return Ok(None);
    }
    let seek = |at: u64, whence| {
        let at = offset(at)?;
        // SAFETY: plain numbers.
        let found = retry(|| Errno::result(unsafe { platform::lseek(file.as_raw_fd(), at, whence) }));
        found.map(|found| u64::try_from(found).unwrap_or(0))
    };
    let is = |error: &io::Error, errno: Errno| error.raw_os_error() == Some(errno as i32);
    let begin = match seek(from, libc::SEEK_DATA) {
        Ok(begin) => begin.max(from),
        Err(error) if is(&error, Errno::ENXIO) => return Ok(None),
        Err(error) if is(&error, Errno::EINVAL) || is(&error, Errno::ENOTSUP) || is(&error, Errno::ENOTTY) => {
            return Ok(Some(from..len));
        }
        Err(error) => return Err(error),
    };
    if begin >= len {
        return Ok(None);
    }
    let end = match seek(begin, libc::SEEK_HOLE) {
        // Some systems tell what was before a change: what makes no sense is taken for data.
        Ok(end) if end > begin => end.min(len),
        _ => len,
    };
    Ok(Some(begin..end))
}

/// Takes `len` bytes of the disk for a file, whose length stays. A file system that cannot is none the worse.
pub(crate) fn preallocate(file: &File, len: u64) -> io::Result<()> {
    match platform::preallocate(file, offset(len)?) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Err(error),
        _ => Ok(()),
    }
}

/// What memory, place and length have to be multiples of where bytes go past the page cache.
pub(crate) const DIRECT_BYTES: usize = 4096;

/// A file whose bytes go past the page cache, where that is wanted and the file system takes it.
pub(crate) struct Past<'f> {
    file: &'f File,
    is_on: Cell<bool>,
}

impl<'f> Past<'f> {
    pub(crate) fn new(file: &'f File, is_wanted: bool) -> Self {
        let is_on = Cell::new(is_wanted && platform::past_cache(file, true).is_ok());
        Past { file, is_on }
    }

    /// Whether they do by now.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.get()
    }

    /// Does what may be done twice. What is not aligned goes through the cache; once something that is was refused,
    /// everything does.
    pub(crate) fn run<T>(&self, is_aligned: bool, work: impl Fn() -> io::Result<T>) -> io::Result<T> {
        if !self.is_on() {
            return work();
        }
        if is_aligned {
            match work() {
                Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {}
                done => return done,
            }
        }
        platform::past_cache(self.file, false)?;
        let done = work();
        self.is_on.set(!is_aligned && platform::past_cache(self.file, true).is_ok());
        done
    }
}

/// What a name below a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Nothing,
    File,
    Directory,
    Symlink,
    /// A device, a FIFO, a socket.
    Special,
}

pub(crate) fn sort_of(dir: &File, name: &CStr) -> io::Result<Sort> {
    match retry(|| fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)) {
        Ok(stat) => Ok(match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFREG => Sort::File,
            SFlag::S_IFDIR => Sort::Directory,
            SFlag::S_IFLNK => Sort::Symlink,
            _ => Sort::Special,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Sort::Nothing),
        Err(error) => Err(error),
    }
}

const ALWAYS: OFlag = OFlag::O_CLOEXEC.union(OFlag::O_NOFOLLOW).union(OFlag::from_bits_retain(platform::LARGE));

/// A directory in a directory; a symlink to one is none.
pub(crate) fn open_dir(dir: &File, name: &CStr) -> io::Result<File> {
    let flags = ALWAYS | OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    retry(|| openat(dir, name, flags, Mode::empty())).map(File::from)
}

/// A file in a directory, to be read. Nothing is waited for, should it be a FIFO.
pub(crate) fn open_file(dir: &File, name: &CStr) -> io::Result<File> {
    let flags = ALWAYS | OFlag::O_RDONLY | OFlag::O_NONBLOCK;
    retry(|| openat(dir, name, flags, Mode::empty())).map(File::from)
}

/// A file in a directory that stands there already, to be written to.
pub(crate) fn open_written(dir: &File, name: &CStr) -> io::Result<File> {
    let flags = ALWAYS | OFlag::O_RDWR | OFlag::O_NONBLOCK;
    retry(|| openat(dir, name, flags, Mode::empty())).map(File::from)
}

/// A new file in a directory, of this mode but for the umask.
pub(crate) fn create_file(dir: &File, name: &CStr, mode: u32) -> io::Result<File> {
    let flags = ALWAYS | OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL;
    retry(|| openat(dir, name, flags, mode_of(mode))).map(File::from)
}

fn mode_of(mode: u32) -> Mode {
    Mode::from_bits_truncate((mode & 0o777) as libc::mode_t)
}

/// A new directory in a directory; false where something has the name.
pub(crate) fn make_dir(dir: &File, name: &CStr, mode: u32) -> io::Result<bool> {
    match retry(|| mkdirat(dir, name, mode_of(mode))) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

pub(crate) fn make_symlink(dir: &File, name: &CStr, target: &[u8]) -> io::Result<()> {
    retry(|| symlinkat(OsStr::from_bytes(target), dir, name))
}

pub(crate) fn read_symlink(dir: &File, name: &CStr) -> io::Result<OsString> {
    retry(|| readlinkat(dir, name))
}

/// Gives what stands under one name the other one, in whose place it comes.
pub(crate) fn rename(from: (&File, &CStr), to: (&File, &CStr)) -> io::Result<()> {
    retry(|| renameat(from.0, from.1, to.0, to.1))
}

/// Takes a file's or a symlink's name away.
pub(crate) fn remove(dir: &File, name: &CStr) -> io::Result<()> {
    retry(|| unlinkat(dir, name, UnlinkatFlags::NoRemoveDir))
}

/// When a file was last read and last written to: seconds since 1970, and billionths.
pub(crate) fn set_times(file: &File, modified: (i64, u32)) -> io::Result<()> {
    let omit = TimeSpec::new(0, libc::UTIME_OMIT as _);
    let modified = TimeSpec::new(modified.0 as _, modified.1 as _);
    retry(|| futimens(file, &omit, &modified))
}

/// The names in a directory and what has them, in no order.
pub(crate) fn names_in(dir: &File) -> io::Result<Vec<(CString, Sort)>> {
    // Of its own position.
    let own = openat(dir, c".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
    let mut listed = Dir::from_fd(own.map_err(io_error)?).map_err(io_error)?;
    let mut names = Vec::new();
    for entry in listed.iter() {
        let entry = entry.map_err(io_error)?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let sort = match entry.file_type() {
            Some(Type::File) => Sort::File,
            Some(Type::Directory) => Sort::Directory,
            Some(Type::Symlink) => Sort::Symlink,
            Some(_) => Sort::Special,
            // Not every file system tells.
            None => sort_of(dir, name)?,
        };
        names.push((name.to_owned(), sort));
    }
    Ok(names)
}

/// A file that is locked as a whole, until this is dropped or its process is gone.
pub(crate) type Locked = Flock<File>;

/// Who may lock a file at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    With,
    Alone,
}

/// Locks a file if that needs no waiting.
pub(crate) fn lock(file: File, share: Share) -> Result<Locked, (File, io::Error)> {
    let how = match share {
        Share::With => FlockArg::LockSharedNonblock,
        Share::Alone => FlockArg::LockExclusiveNonblock,
    };
    Flock::lock(file, how).map_err(|(file, errno)| (file, io_error(errno)))
}
