//! Linux: the region carries its own locks; semaphores wait by the monotonic clock.

#![allow(unsafe_code)] // One of the homes of unsafe, see CONTRIBUTING.

use super::look::{Found, What};
use super::process::Started;
use super::region::HeadAt;
use super::semaphore::{Semaphore, Waited};
use super::{if_there, io_error, region};
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use nix::sys::stat::{Mode, fchmod, stat};
use nix::sys::uio::pread;
use std::ffi::{CStr, OsStr, OsString};
use std::fs::{Metadata, OpenOptions, symlink_metadata};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::ptr::NonNull;
use std::time::Duration;

// glibc keeps the semaphore NAME in sem.NAME, musl in NAME, and a 32-bit glibc stores its value otherwise than a
// 64-bit one (the word size is compared too).
#[cfg(target_env = "gnu")]
pub(crate) const LIBC_FLAVOUR: u32 = 1;
#[cfg(target_env = "musl")]
pub(crate) const LIBC_FLAVOUR: u32 = 2;
#[cfg(not(any(target_env = "gnu", target_env = "musl")))]
pub(crate) const LIBC_FLAVOUR: u32 = 4;

// Offsets of 64 bits, whatever the machine's words are.
pub(crate) use libc::{lseek64 as lseek, off64_t as Offset, pread64 as pread_to, pwrite64 as pwrite_from};

/// Files of every length are opened.
pub(crate) const LARGE: libc::c_int = libc::O_LARGEFILE;

/// `open(2)`: `O_DIRECT`, which may be changed while a file is open.
pub(crate) fn past_cache(file: &std::fs::File, is_wanted: bool) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL).map_err(io_error)?);
    let flags = if is_wanted { flags | OFlag::O_DIRECT } else { flags - OFlag::O_DIRECT };
    fcntl(file, FcntlArg::F_SETFL(flags)).map(drop).map_err(io_error)
}

/// `fallocate(2)`
pub(crate) fn preallocate(file: &std::fs::File, len: Offset) -> io::Result<()> {
    let keep = FallocateFlags::FALLOC_FL_KEEP_SIZE.bits();
    // SAFETY: a descriptor and numbers.
    let call = || nix::errno::Errno::result(unsafe { libc::fallocate64(file.as_raw_fd(), keep, 0, len) });
    super::retry(call).map(drop)
}

/// The mode bit by which an object without a length, or a semaphore, is known as antiphon's: sticky, which means
/// nothing on a regular file and is in nobody's way; the umask leaves it.
pub(crate) const MARK: u32 = libc::S_ISVTX;

// glibc's plain calls have 31 bits for a length on a machine with such words, and fail where there is more of it.
#[cfg(not(all(target_env = "gnu", target_pointer_width = "32")))]
use libc::{fstat, stat as Stat};
#[cfg(all(target_env = "gnu", target_pointer_width = "32"))]
use libc::{fstat64 as fstat, stat64 as Stat};

/// `shm_open` opens what is longer than that, too.
pub(crate) const ANY_LENGTH: libc::c_int = libc::O_LARGEFILE;

/// `fstat(2)`
pub(crate) fn stat_of(file: &OwnedFd) -> io::Result<Stat> {
    // SAFETY: plain data, and all zeros is one of its values.
    let mut stat: Stat = unsafe { std::mem::zeroed() };
    // SAFETY: an open descriptor, and a place for the answer.
    match unsafe { fstat(file.as_raw_fd(), &raw mut stat) } {
        0 => Ok(stat),
        _ => Err(io::Error::last_os_error()),
    }
}

unsafe extern "C" {
    /// `pthread_atfork(3)`; the libc crate does not declare it for Linux.
    pub(crate) fn pthread_atfork(
        prepare: Option<unsafe extern "C" fn()>,
        parent: Option<unsafe extern "C" fn()>,
        child: Option<unsafe extern "C" fn()>,
    ) -> libc::c_int;
}

/// Field 22 of `/proc/<pid>/stat`, `proc_pid_stat(5)`: clock ticks since boot.
pub(crate) fn start_time(pid: u32) -> Started {
    // The system's own word comes first: /proc may be absent, another namespace's, or mounted with `hidepid`, and
    // then shows somebody else under this number, or nobody.
    if !is_there(pid) {
        return Started::Gone;
    }
    if !proc_is_ours() {
        return Started::Unknown;
    }
    // The main thread's file, which says the same. An emulator (qemu) makes the process's own file up, and the times in
    // it are not those that others are told.
    let stat = match std::fs::read(format!("/proc/{pid}/task/{pid}/stat")) {
        Ok(stat) => stat,
        // ESRCH: it went between open and read.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Started::Gone,
        Err(_) => return Started::Unknown,
    };
    // The command stands in parentheses and may hold any byte: the last ')' ends it.
    let Some(command_end) = stat.iter().rposition(|byte| *byte == b')') else {
        return Started::Unknown;
    };
    let mut fields = stat[command_end + 1..].split(u8::is_ascii_whitespace).filter(|f| !f.is_empty());
    let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse::<u64>().ok();
    let state = fields.next(); // Field 3.
    let threads = fields.nth(16).and_then(number); // Field 20.
    let start = fields.nth(1).and_then(number); // Field 22.
    // A main thread that ended before its siblings shows as a zombie while the process lives on.
    if matches!(state, Some(b"Z" | b"X" | b"x")) && threads.is_none_or(|threads| threads <= 1) {
        return Started::Gone;
    }
    start.map_or(Started::Unknown, Started::At)
}

/// Whether a process of this number is in this process's namespace, a zombie too; `kill(2)`.
fn is_there(pid: u32) -> bool {
    let Ok(pid @ 1..) = libc::pid_t::try_from(pid) else { return false };
    // SAFETY: signal 0 is none: the call only checks. Another user's process is EPERM.
    let found = unsafe { libc::kill(pid, 0) } == 0;
    found || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// `pidfd_open(2)`, Linux 5.3.
pub(crate) struct Exit(OwnedFd);

impl Exit {
    pub(crate) fn of(pid: u32) -> Option<Self> {
        // SAFETY: takes two numbers and gives a descriptor, close-on-exec by itself, or -1.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::c_ulong::from(pid), 0) };
        let fd = RawFd::try_from(fd).ok().filter(|fd| *fd >= 0)?;
        // SAFETY: just opened, and nobody else's.
        Some(Exit(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Readable once every thread of the process has ended, whether it was waited for or not.
    pub(crate) fn has_come(&self) -> bool {
        let mut poll = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, as said; no time to wait.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
    }
}

/// Whether /proc has the numbers of this process's namespace: from there the process has one number, from an outer
/// namespace's one more for each that lies between; `proc_pid_status(5)`.
fn proc_is_ours() -> bool {
    let Ok(status) = std::fs::read("/proc/self/status") else { return false };
    let mut lines = status.split(|byte| *byte == b'\n');
    let numbers = lines.find_map(|line| line.strip_prefix(b"NSpid:"));
    // Without the line the kernel knows no pid namespaces.
    numbers
        .is_none_or(|numbers| numbers.split(u8::is_ascii_whitespace).filter(|number| !number.is_empty()).count() == 1)
}

/// The inode of `/proc/self/ns/pid`, `namespaces(7)`, and in its upper half that of the time namespace, whose offset
/// start times have in them; 0 without /proc.
pub(crate) fn pid_namespace() -> u64 {
    #[allow(clippy::useless_conversion)] // Its width differs between architectures.
    let inode = |path| stat(path).map_or(0, |stat| u64::from(stat.st_ino));
    match inode("/proc/self/ns/pid") {
        0 => 0,
        pids => pids ^ inode("/proc/self/ns/time").rotate_left(32),
    }
}

/// `sched_getcpu(3)`: answered without a system call.
pub(crate) fn current_cpu() -> Option<u32> {
    // SAFETY: takes nothing and touches nothing.
    u32::try_from(unsafe { libc::sched_getcpu() }).ok()
}

/// What one huge page holds where ordinary ones have 4 KiB. Elsewhere an extent of this length cannot be collapsed,
/// and is reserved by ordinary pages.
const HUGE: usize = 2 * 1024 * 1024;
/// `madvise(2)`, Linux 6.1; the libc crate has it for glibc alone.
const MADV_COLLAPSE: libc::c_int = 25;

/// Takes the first page of each huge one, before the object has a length: who opens a half-made one looks at its
/// first page, or that of its last granule, and the others are what a huge page can grow from.
pub(crate) fn seed(object: &OwnedFd, len: usize) -> io::Result<()> {
    let mut pages = (0..len).step_by(HUGE).chain([len.saturating_sub(region::GRANULE)]);
    pages.try_for_each(|offset| take(object, FallocateFlags::FALLOC_FL_KEEP_SIZE, offset, 4096))
}

/// Takes every page now, by huge ones as far as the kernel has them to give.
///
/// The second call takes whatever the first did not, for any reason: an older kernel, no huge page free, a full
/// mount, the end of the object that is shorter than one. So pages are reserved whatever became of the advice, and
/// where it was followed this costs microseconds.
pub(crate) fn reserve(object: &OwnedFd, base: NonNull<u8>, len: usize) -> io::Result<()> {
    if len >= HUGE {
        collapse(base, len / HUGE * HUGE);
    }
    take(object, FallocateFlags::empty(), 0, len)
}

/// Whether all of it has huge pages now. `base` starts `len` bytes of a mapping that its caller has.
fn collapse(base: NonNull<u8>, len: usize) -> bool {
    // SAFETY: `base` starts `len` mapped bytes; what they hold stays as it is. Seeded, so that no page of an extent is
    // touched that is not there; what the collapse adds is charged like any other page.
    unsafe { libc::madvise(base.as_ptr().cast(), len, MADV_COLLAPSE) == 0 }
}

/// `ENOSPC` undoes what was taken.
fn take(object: &OwnedFd, flags: FallocateFlags, offset: usize, len: usize) -> io::Result<()> {
    let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
    let len = libc::off_t::try_from(len).map_err(io::Error::other)?;
    super::retry(|| fallocate(object, flags, offset, len))
}

/// Where a mapping can have one entry of the page table for a huge page: address and offset at the same place of it.
/// For shared memory the kernel sees to that only where such pages are given unasked.
pub(crate) fn place_for(len: usize) -> Option<NonZeroUsize> {
    if len < HUGE {
        return None;
    }
    let room = len.checked_add(HUGE).and_then(NonZeroUsize::new)?;
    // Address space alone, long enough to hold such a place.
    // SAFETY: the kernel chooses the address, so that nothing that is mapped is replaced.
    let free = unsafe { mmap_anonymous(None, room, ProtFlags::PROT_NONE, MapFlags::MAP_PRIVATE) }.ok()?;
    // SAFETY: just mapped, and nobody else knows of it.
    unsafe { munmap(free, room.get()) }.ok()?;
    NonZeroUsize::new(free.addr().get().checked_next_multiple_of(HUGE)?)
}

/// Bytes that the file system of the object could still give; a mount without a limit counts as unknown.
pub(crate) fn bytes_free(object: &OwnedFd) -> Option<u64> {
    let info = nix::sys::statvfs::fstatvfs(object).ok()?;
    (info.blocks() > 0).then(|| info.blocks_available() as u64 * info.fragment_size() as u64)
}

/// glibc makes them, and whoever is killed in there leaves a file that the mark tells of: see `semaphore_of`.
#[cfg(not(target_env = "musl"))]
pub(crate) fn lay(_semaphore: &CStr, _mode: u32) -> io::Result<bool> {
    Ok(false)
}

/// musl's own takes the mark away, and its half-made file has a name that tells nothing: what somebody killed in there
/// leaves may be anybody's. So the file is made here, as musl makes it, of the bytes of a semaphore, but without a
/// name until it is whole. Where the system has no such files, or there is no /proc, musl has to do it.
#[cfg(target_env = "musl")]
pub(crate) fn lay(semaphore: &CStr, mode: u32) -> io::Result<bool> {
    use std::io::Write;
    let Some(name) = semaphore_file(semaphore) else { return Ok(false) };
    let opened = OpenOptions::new().write(true).mode(mode).custom_flags(libc::O_TMPFILE).open(DIRECTORY);
    let Ok(mut file) = opened else { return Ok(false) };
    fchmod(&file, Mode::from_bits_truncate(mode)).map_err(io_error)?;
    let mut bytes = [0; size_of::<libc::sem_t>()];
    let mut empty = std::mem::MaybeUninit::<libc::sem_t>::zeroed();
    // SAFETY: a place for a semaphore, for several processes, without a token. It is never used where it stands, and
    // musl has nothing to undo.
    if unsafe { libc::sem_init(empty.as_mut_ptr(), 1, 0) } != 0 {
        return Ok(false);
    }
    // SAFETY: both have the length of a semaphore, all of which was zeros before it was filled in.
    unsafe { bytes.as_mut_ptr().copy_from_nonoverlapping(empty.as_ptr().cast(), bytes.len()) };
    file.write_all(&bytes)?;
    // As `open(2)` has it, under O_TMPFILE.
    let (here, follow) = (nix::fcntl::AT_FDCWD, nix::fcntl::AtFlags::AT_SYMLINK_FOLLOW);
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    match nix::unistd::linkat(here, unnamed.as_str(), here, &Path::new(DIRECTORY).join(name), follow) {
        Ok(()) => Ok(true),
        Err(nix::errno::Errno::EEXIST) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => Ok(false),
    }
}

/// Both libcs apply the umask, which may take from the owner too, and musl takes the mark away; there is no way around
/// them but the file itself, and where its mode lets nobody open it, its name.
pub(crate) fn allow(semaphore: &CStr, mode: u32) {
    let Some(file) = semaphore_file(semaphore) else { return };
    let path = Path::new(DIRECTORY).join(file);
    let mode = Mode::from_bits_truncate(mode | MARK);
    let _ = nix::sys::stat::fchmodat(nix::fcntl::AT_FDCWD, &path, mode, nix::sys::stat::FchmodatFlags::FollowSymlink);
}

/// `sem_clockwait`, glibc 2.30: `sem_timedwait` counts by the wall clock, which may be set back.
#[cfg(target_env = "gnu")]
pub(crate) fn wait_at_most(semaphore: &Semaphore, limit: Duration) -> Waited {
    unsafe extern "C" {
        // The libc crate does not declare it for Linux.
        fn sem_clockwait(
            semaphore: *mut libc::sem_t,
            clock: libc::clockid_t,
            until: *const libc::timespec,
        ) -> libc::c_int;
    }
    let mut until = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `until` is a timespec to be filled in.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut until) };
    let nanos = until.tv_nsec + libc::c_long::from(limit.subsec_nanos() as i32);
    let secs = libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX);
    let secs = secs.saturating_add(libc::time_t::from(nanos >= 1_000_000_000));
    until.tv_sec = until.tv_sec.saturating_add(secs);
    until.tv_nsec = nanos % 1_000_000_000;
    // SAFETY: the semaphore is open while it is borrowed, `until` is a valid time.
    match unsafe { sem_clockwait(semaphore.as_ptr(), libc::CLOCK_MONOTONIC, &raw const until) } {
        0 => Waited::Token,
        _ => Waited::Nothing,
    }
}

/// Other libcs have waits by the wall clock only, which may be set back: a thread ends the sleep.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn wait_at_most(semaphore: &Semaphore, limit: Duration) -> Waited {
    super::watcher::wait_at_most(semaphore, limit)
}

/// Where both libcs keep shared memory and semaphores; `shm_overview(7)`, `sem_overview(7)`.
const DIRECTORY: &str = "/dev/shm";

/// The names of everything that stands where regions do, without their slashes.
pub(crate) fn names() -> io::Result<Vec<OsString>> {
    std::fs::read_dir(DIRECTORY)?.map(|entry| Ok(entry?.file_name())).collect()
}

/// What has the name, without its slash. Nothing but a regular file is opened, so that no FIFO and no device notices.
pub(crate) fn find(name: &OsStr) -> io::Result<Option<Found>> {
    let path = Path::new(DIRECTORY).join(name);
    let Some(mut about) = if_there(symlink_metadata(&path))? else { return Ok(None) };
    let mut object = None;
    if about.is_file() {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
        match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
            Ok(file) => {
                about = file.metadata()?;
                object = about.is_file().then(|| file.into());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // WouldBlock: its owner has a lease on it.
            Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::WouldBlock) => {}
            // Another thing has the name by now: it shows as what it was.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENXIO)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(Found {
        what: kind(&about),
        owner: about.uid(),
        len: about.size(),
        is_marked: about.mode() & MARK != 0,
        id: about.ino(),
        object,
        anchor: None,
    }))
}

fn kind(about: &Metadata) -> What {
    match about.file_type() {
        kind if kind.is_file() => What::Memory,
        kind if kind.is_dir() => What::Other("a directory"),
        kind if kind.is_symlink() => What::Other("a symbolic link"),
        kind if kind.is_fifo() => What::Other("a FIFO"),
        kind if kind.is_socket() => What::Other("a socket"),
        _ => What::Other("a device"),
    }
}

/// Reads the object's bytes from `offset` on. False where it is shorter. By `pread`: a mapping of what somebody
/// truncates ends the process.
pub(crate) fn read_at(object: &OwnedFd, offset: u64, to: &mut [u8]) -> io::Result<bool> {
    let mut done = 0;
    while done < to.len() {
        let at = libc::off_t::try_from(offset + done as u64).map_err(io::Error::other)?;
        match super::retry(|| pread(object, &mut to[done..], at))? {
            0 => return Ok(false),
            more => done += more,
        }
    }
    Ok(true)
}

/// What kind of semaphore's file has this name: the stem of the region that it belongs to, or `None` inside for one
/// that glibc had not yet given its name.
#[cfg(target_env = "gnu")]
pub(crate) fn semaphore_of(name: &str) -> Option<Option<&str>> {
    let bare = name.strip_prefix("sem.")?;
    let is_unnamed = bare.len() == 6 && bare.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let stem = bare.strip_suffix("+p").or_else(|| bare.strip_suffix("+c"));
    if is_unnamed { Some(None) } else { stem.map(Some) }
}

/// The file of a semaphore, by its name.
#[cfg(target_env = "gnu")]
pub(crate) fn semaphore_file(semaphore: &CStr) -> Option<String> {
    Some(format!("sem.{}", semaphore.to_str().ok()?.trim_start_matches('/')))
}

/// As above.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn semaphore_file(semaphore: &CStr) -> Option<String> {
    Some(semaphore.to_str().ok()?.trim_start_matches('/').to_owned())
}

/// musl's stand under their own names.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn semaphore_of(name: &str) -> Option<Option<&str>> {
    name.strip_suffix("+p").or_else(|| name.strip_suffix("+c")).map(Some)
}

/// Takes a file's name away that glibc left in the middle of `sem_open`. Whoever is still in there finds it gone and
/// begins again (`Semaphore::create_anew`).
pub(crate) fn unlink_unnamed(name: &str) -> io::Result<()> {
    if_there(super::retry(|| nix::unistd::unlink(&Path::new(DIRECTORY).join(name)))).map(|_| ())
}

/// The region itself.
pub(crate) struct Anchor {
    file: OwnedFd,
}

impl Anchor {
    pub(crate) fn find(name: &CStr) -> io::Result<Option<Self>> {
        Ok(region::open(name)?.map(|file| Anchor { file }))
    }

    /// Finds it or makes it, empty. `fs.protected_regular` makes a plain `O_CREAT` on another's file fail: so it is
    /// opened first, and made exclusively only where it is missing.
    pub(crate) fn find_or_make(name: &CStr, mode: u32) -> io::Result<Self> {
        loop {
            if let Some(found) = Self::find(name)? {
                return Ok(found);
            }
            if let Some(file) = region::create(name, mode)? {
                return Ok(Anchor { file });
            }
        }
    }

    /// Whether the name still leads to this very object.
    pub(crate) fn leads_here(&self, name: &CStr, _nonce: u64, _head: HeadAt) -> io::Result<bool> {
        match region::open(name) {
            Ok(Some(other)) => Ok(identity(&other)? == identity(&self.file)?),
            Ok(None) => Ok(false),
            // Nothing else gives an object its name back: as long as it has one, it is this one.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                Ok(stat_of(&self.file)?.st_nlink > 0)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes back what `find_or_make` may have made, where nothing came of it. Under the door.
    pub(crate) fn undo(&self, name: &CStr) -> io::Result<()> {
        let is_ours = region::len(&self.file)? == Some(0) && region::is_mine(&self.file)?;
        if is_ours && self.leads_here(name, 0, HeadAt::Start)? {
            region::unlink(name)?;
        }
        Ok(())
    }

    /// A second description of the same object; `None` where the name leads elsewhere by now.
    pub(crate) fn probe(&self, name: &CStr) -> io::Result<Option<OwnedFd>> {
        match region::open(name)? {
            Some(other) if identity(&other)? == identity(&self.file)? => Ok(Some(other)),
            _ => Ok(None),
        }
    }

    /// None: who loses its anchor has lost its region.
    pub(crate) fn successor(&self, _name: &CStr) -> io::Result<Option<OwnedFd>> {
        Ok(None)
    }

    /// It is the region.
    pub(crate) fn belongs_to(&self, _nonce: u64) -> io::Result<()> {
        Ok(())
    }

    /// A number for this object among all that ever had the name.
    pub(crate) fn id(&self) -> io::Result<u64> {
        Ok(identity(&self.file)?.1)
    }

    /// The object to be filled in, made by `find_or_make` or found there, empty, with any mode.
    pub(crate) fn object(name: &CStr, mode: u32) -> io::Result<Option<OwnedFd>> {
        let object = region::open(name)?;
        if let Some(object) = &object {
            fchmod(object, Mode::from_bits_truncate(mode | MARK)).map_err(io_error)?;
        }
        Ok(object)
    }

    /// The region's own unlinking does it.
    pub(crate) fn remove(&self, _name: &CStr) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn identity(file: &OwnedFd) -> io::Result<(u64, u64)> {
    let stat = stat_of(file)?;
    #[allow(clippy::useless_conversion)] // Their widths differ between architectures.
    Ok((u64::from(stat.st_dev), u64::from(stat.st_ino)))
}

#[cfg(feature = "cli")]
pub(crate) const SYSTEM: super::System = super::System::Linux;

/// `gnu_get_libc_version(3)`
#[cfg(all(feature = "cli", target_env = "gnu"))]
pub(crate) fn libc_version() -> String {
    // SAFETY: takes nothing.
    let version = unsafe { libc::gnu_get_libc_version() };
    // SAFETY: a string of the library's own, that is never changed or freed.
    let version = unsafe { CStr::from_ptr(version) };
    format!("glibc {}", version.to_string_lossy())
}

/// musl does not tell its version.
#[cfg(all(feature = "cli", not(target_env = "gnu")))]
pub(crate) fn libc_version() -> String {
    if cfg!(target_env = "musl") { "musl".to_owned() } else { "neither glibc nor musl".to_owned() }
}

/// Makes an object as a region is made, and sees whether it gets a huge page. Its name is gone at once.
#[cfg(feature = "cli")]
pub(crate) fn try_huge_page(name: &CStr) -> io::Result<Option<bool>> {
    let object = region::create(name, 0o600)?.ok_or(io::ErrorKind::AlreadyExists)?;
    region::unlink(name)?;
    seed(&object, HUGE)?;
    region::set_len(&object, HUGE)?;
    let mapping = region::Mapping::new(&object, HUGE, region::HeadAt::Start)?;
    Ok(NonNull::new(mapping.at(0, HUGE)).map(|base| collapse(base, HUGE)))
}

/// The region carries its own locks.
#[cfg(feature = "cli")]
pub(crate) fn registry() -> io::Result<Option<std::path::PathBuf>> {
    Ok(None)
}
