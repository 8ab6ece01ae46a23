//! The registry: a small file for each name, which carries the locks that Darwin refuses on shared memory.
//!
//! It stands in `antiphon/` in this user's own cache directory (`confstr(3)`, `_CS_DARWIN_USER_CACHE_DIR`: kept over
//! restarts, and not swept as the directory for temporary files beside it is). The directory is this user's and
//! closed to all others, and neither it nor a file in it is ever a symbolic link that is followed.
//!
//! | offset | type | what |
//! |---|---|---|
//! | 0 | u64 | `antiph.r`, as the bytes lie on a little-endian machine |
//! | 8 | u64 | the file's number, drawn when it was made |
//! | 16 | u64 | the nonce of the region that it was last used for; 0 before that |
//!
//! All of it is written under the door, whose lock is on byte 0 of the same file; the other locks lie where nothing
//! is ever written.
//!
//! **It is a cache, and may go at any time**; whoever holds locks on it keeps them, on a file that no name leads to.
//! So it never proves anything by itself:
//!
//! * A seat's record says by number which file carries its lock. Where that is not the file that one looks through,
//!   the pid decides alone. The number is drawn, since another file may get the inode of one that is gone.
//! * Whoever is attached by a file that is gone locks two doors, its own and that of the file which the name leads to
//!   by now ([`Anchor::successor`]): so it meets those who came later. It makes that file if it has to. Only who is
//!   between the two when the file goes, in microseconds, is missed.
//! * Whether a name still leads to one's own region is asked of the region, by its nonce. Once the region has lost
//!   its name, the file that goes last is asked, which has noted the nonce: so the next one does what a killed
//!   remover left.
//!
//! Otherwise the nonce in the file is for those who look on (a file whose region is another by now); and a file
//! without one, made for what turned out to be no channel, is taken away again.

use super::region::{self, HeadAt, Mapping};
use super::{if_there, io_error, retry};
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;

const MAGIC: u64 = u64::from_le_bytes(*b"antiph.r");
const FOLDER: &str = "antiphon";

/// The registry's place, whether it is there yet or not.
pub(crate) fn directory() -> io::Result<PathBuf> {
    Ok(super::darwin::cache_directory()?.join(FOLDER))
}

/// The registry, made where it is missing.
fn open_directory() -> io::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let cache = super::darwin::cache_directory()?;
    // The system's own path, which may lead over links: /var is one.
    let cache = retry(|| open(&cache, flags, Mode::empty()))?;
    let registry = loop {
        let opened = retry(|| openat(&cache, FOLDER, flags | OFlag::O_NOFOLLOW, Mode::empty()));
        match if_there(opened).map_err(|e| foreign(e, &[libc::ELOOP, libc::ENOTDIR], None))? {
            Some(registry) => break registry,
            None => match mkdirat(&cache, FOLDER, Mode::S_IRWXU) {
                Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
                Err(errno) => return Err(io_error(errno)),
            },
        }
    };
    let stat = fstat(&registry).map_err(io_error)?;
    if is_mine(&stat) && stat.st_mode & 0o077 == 0 { Ok(registry) } else { Err(not_ours(None)) }
}

/// Something else stands where the registry, or a file of it, has to: and the way out.
fn not_ours(name: Option<&CStr>) -> io::Error {
    let path = directory().unwrap_or_default();
    io::Error::other(match name {
        Some(name) => format!("{} is not a file of this user: remove it", path.join(bare(name)).display()),
        None => format!("{} is not a directory of this user that is closed to others: remove it", path.display()),
    })
}

/// The same where `error` is one of those that say so.
fn foreign(error: io::Error, telling: &[libc::c_int], name: Option<&CStr>) -> io::Error {
    if error.raw_os_error().is_some_and(|code| telling.contains(&code)) { not_ours(name) } else { error }
}

fn is_mine(stat: &FileStat) -> bool {
    stat.st_uid == nix::unistd::geteuid().as_raw()
}

fn is_file(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG
}

fn bare(name: &CStr) -> &OsStr {
    let name = name.to_bytes();
    OsStr::from_bytes(name.strip_prefix(b"/").unwrap_or(name))
}

/// The name's file, through a description of its own.
pub(crate) fn open_file(name: &CStr, more: OFlag) -> io::Result<Option<OwnedFd>> {
    open_in(&open_directory()?, name, more)
}

fn open_in(registry: &OwnedFd, name: &CStr, more: OFlag) -> io::Result<Option<OwnedFd>> {
    // Not waited for, should it be a FIFO.
    let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | more;
    let opened = retry(|| openat(registry, bare(name), flags, Mode::S_IRUSR | Mode::S_IWUSR));
    // A link, a directory, a socket.
    let telling = [libc::ELOOP, libc::EISDIR, libc::ENXIO, libc::EOPNOTSUPP];
    let Some(file) = if_there(opened).map_err(|e| foreign(e, &telling, Some(name)))? else { return Ok(None) };
    let stat = fstat(&file).map_err(io_error)?;
    if is_file(&stat) && is_mine(&stat) { Ok(Some(file)) } else { Err(not_ours(Some(name))) }
}

/// The names of all that stands in the registry.
pub(super) fn names() -> io::Result<Vec<OsString>> {
    open_directory()?;
    std::fs::read_dir(directory()?)?.map(|entry| Ok(entry?.file_name())).collect()
}

/// What stands in a name's place, for whoever looks on.
pub(super) enum Place {
    Nothing,
    File(OwnedFd),
    /// No file, or no file of this user's: no channel can have the name.
    Other(FileStat),
}

pub(super) fn look(name: &CStr) -> io::Result<Place> {
    let registry = open_directory()?;
    let there = if_there(fstatat(&registry, bare(name), AtFlags::AT_SYMLINK_NOFOLLOW).map_err(io_error))?;
    match there {
        Some(there) if !is_file(&there) || !is_mine(&there) => Ok(Place::Other(there)),
        Some(_) => Ok(open_in(&registry, name, OFlag::empty())?.map_or(Place::Nothing, Place::File)),
        None => Ok(Place::Nothing),
    }
}

/// What stands in a file.
#[derive(Clone, Copy)]
struct Record {
    number: u64,
    nonce: u64,
}

impl Record {
    /// `None` where nothing was written yet, or something else was.
    fn read(file: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        let mut bytes = [0; 24];
        let file = File::from(file.try_clone_to_owned()?);
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_ne_bytes(word)
        };
        Ok((word(0) == MAGIC).then(|| Record { number: word(8), nonce: word(16) }))
    }

    fn write(self, file: BorrowedFd<'_>) -> io::Result<()> {
        let mut bytes = [0; 24];
        for (word, value) in bytes.chunks_exact_mut(8).zip([MAGIC, self.number, self.nonce]) {
            word.copy_from_slice(&value.to_ne_bytes());
        }
        let file = File::from(file.try_clone_to_owned()?);
        file.write_all_at(&bytes, 0)
    }
}

/// What a seat's record says of the file that carries its lock. Without the door: a number that nobody else has, but
/// perhaps none yet.
pub(super) fn id_of(file: BorrowedFd<'_>) -> io::Result<u64> {
    let number = Record::read(file)?.map_or(0, |record| record.number);
    // A copy of the file has the same number, and is another file.
    Ok(number ^ fstat(file).map_err(io_error)?.st_ino)
}

/// Whether somebody was at the door by this file, and so whatever has its name may be antiphon's.
pub(super) fn was_used(file: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(Record::read(file)?.is_some())
}

/// A file of the registry.
pub(crate) struct Anchor {
    pub(super) file: OwnedFd,
}

impl Anchor {
    /// The registry's file, made where only the region is there: a cleaner of caches may have taken it, and that must
    /// not make a channel invisible.
    pub(crate) fn find(name: &CStr) -> io::Result<Option<Self>> {
        if let Some(file) = open_file(name, OFlag::empty())? {
            return Ok(Some(Anchor { file }));
        }
        match region::open(name)? {
            Some(_) => Self::find_or_make(name, 0o600).map(Some),
            None => Ok(None),
        }
    }

    pub(crate) fn find_or_make(name: &CStr, _mode: u32) -> io::Result<Self> {
        match open_file(name, OFlag::O_CREAT)? {
            Some(file) => Ok(Anchor { file }),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Whether the name still leads to the region of that nonce, whatever became of the file; or to the file that was
    /// last that region's, and to no region. Under the door.
    pub(crate) fn leads_here(&self, name: &CStr, nonce: u64, head: HeadAt) -> io::Result<bool> {
        let Some(object) = region::open(name)? else {
            let is_its_file = Record::read(self.as_fd())?.is_some_and(|record| record.nonce == nonce);
            return Ok(is_its_file && self.probe(name)?.is_some());
        };
        let len = region::len(&object)?.and_then(|len| usize::try_from(len).ok()).unwrap_or(0);
        if !region::can_have(len as u64) {
            return Ok(false);
        }
        let there = Mapping::new(&object, len, head)?;
        // Relaxed: what has another one, or none yet, is not this region.
        Ok(there.head().identity.nonce.load(Relaxed) == nonce)
    }

    /// A second description of the same file; `None` where the name leads elsewhere by now.
    pub(crate) fn probe(&self, name: &CStr) -> io::Result<Option<OwnedFd>> {
        let Some(other) = open_file(name, OFlag::empty())? else { return Ok(None) };
        Ok(self.is(&fstat(&other).map_err(io_error)?)?.then_some(other))
    }

    /// Another file that the name leads to by now, whose door has to be locked too; none where the name leads to this
    /// one, or to nothing that anybody could come to.
    pub(crate) fn successor(&self, name: &CStr) -> io::Result<Option<OwnedFd>> {
        let registry = open_directory()?;
        let there = if_there(fstatat(&registry, bare(name), AtFlags::AT_SYMLINK_NOFOLLOW).map_err(io_error))?;
        match there {
            Some(there) if self.is(&there)? => Ok(None),
            Some(_) => open_in(&registry, name, OFlag::empty()),
            None if region::open(name)?.is_some() => open_in(&registry, name, OFlag::O_CREAT),
            None => Ok(None),
        }
    }

    fn is(&self, there: &FileStat) -> io::Result<bool> {
        let here = fstat(&self.file).map_err(io_error)?;
        Ok((there.st_dev, there.st_ino) == (here.st_dev, here.st_ino))
    }

    /// A number for this file among all that ever had the name; drawn where it has none yet. Under the door.
    pub(crate) fn id(&self) -> io::Result<u64> {
        if Record::read(self.as_fd())?.is_none() {
            Record { number: super::nonce(), nonce: 0 }.write(self.as_fd())?;
        }
        id_of(self.as_fd())
    }

    /// Notes for which region it is used. Under the door.
    pub(crate) fn belongs_to(&self, nonce: u64) -> io::Result<()> {
        match Record::read(self.as_fd())? {
            Some(record) if record.nonce != nonce => Record { nonce, ..record }.write(self.as_fd()),
            _ => Ok(()),
        }
    }

    /// The object to be filled in.
    pub(crate) fn object(name: &CStr, mode: u32) -> io::Result<Option<OwnedFd>> {
        match region::create(name, mode)? {
            Some(made) => Ok(Some(made)),
            None => region::open(name),
        }
    }

    /// Takes back what `find_or_make` may have made, where nothing came of it. Under the door.
    pub(crate) fn undo(&self, name: &CStr) -> io::Result<()> {
        let is_unused = Record::read(self.as_fd())?.is_none_or(|record| record.nonce == 0);
        if is_unused && self.probe(name)?.is_some() { self.remove(name) } else { Ok(()) }
    }

    /// Takes the file's name away, after the region's.
    pub(crate) fn remove(&self, name: &CStr) -> io::Result<()> {
        let registry = open_directory()?;
        if_there(retry(|| unlinkat(&registry, bare(name), UnlinkatFlags::NoRemoveDir))).map(|_| ())
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
