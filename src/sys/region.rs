//! Mapped shared-memory objects.

#![allow(unsafe_code)] // One of the homes of unsafe, see CONTRIBUTING.

use super::copy::{self, Target, copy, take};
use super::layout::Head;
use super::{if_there, io_error, platform, retry};
use nix::fcntl::OFlag;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, mprotect, munmap, shm_open, shm_unlink};
use nix::sys::stat::{Mode, SFlag, fchmod};
use std::ffi::CStr;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

/// Regions are made of whole pages of every size there is: 4, 16 and 64 KiB.
pub(crate) const GRANULE: usize = 64 * 1024;

/// Whether a region can have this length: a header, and a payload.
pub(crate) fn can_have(len: u64) -> bool {
    len >= 2 * GRANULE as u64 && len % GRANULE as u64 == 0
}

/// The bytes of a page here.
pub(crate) fn page_bytes() -> usize {
    // SAFETY: asks for a number.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(GRANULE)
}

/// Opens an object that is there.
pub(crate) fn open(name: &CStr) -> io::Result<Option<OwnedFd>> {
    let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::from_bits_retain(platform::ANY_LENGTH);
    if_there(retry(|| shm_open(name, flags, Mode::empty())))
}

/// Makes an object, of no length yet. `None` where the name is taken.
pub(crate) fn create(name: &CStr, mode: u32) -> io::Result<Option<OwnedFd>> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let mode = Mode::from_bits_truncate((mode | platform::MARK) as libc::mode_t);
    match retry(|| shm_open(name, flags, mode)) {
        Ok(fd) => {
            // Linux applies the umask; Darwin does not, and refuses fchmod.
            let _ = fchmod(&fd, mode);
            Ok(Some(fd))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes the name away; those who have the object keep it. False where there was none.
pub(crate) fn unlink(name: &CStr) -> io::Result<bool> {
    Ok(if_there(retry(|| shm_unlink(name)))?.is_some())
}

/// Sizes an object, once in its life.
pub(crate) fn set_len(fd: &OwnedFd, len: usize) -> io::Result<()> {
    let len = libc::off_t::try_from(len).map_err(io::Error::other)?;
    retry(|| nix::unistd::ftruncate(fd, len))
}

/// An object's length in bytes; `None` where it is no shared memory but a FIFO, say.
pub(crate) fn len(fd: &OwnedFd) -> io::Result<Option<u64>> {
    let stat = platform::stat_of(fd)?;
    // Darwin gives shared memory no type at all.
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    let is_memory = kind.is_empty() || kind == SFlag::S_IFREG;
    Ok(is_memory.then(|| u64::try_from(stat.st_size).unwrap_or(0)))
}

/// Whether the object belongs to this process's user.
pub(crate) fn is_mine(fd: &OwnedFd) -> io::Result<bool> {
    Ok(platform::stat_of(fd)?.st_uid == nix::unistd::geteuid().as_raw())
}

/// Where in a region its [`Head`] stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadAt {
    Start,
    /// At the start of the last granule.
    End,
}

impl HeadAt {
    pub(crate) fn offset(self, len: usize) -> usize {
        match self {
            HeadAt::Start => 0,
            HeadAt::End => len.saturating_sub(GRANULE),
        }
    }
}

/// Addresses that are used for nothing else until this is dropped, whatever is mapped there or not.
#[derive(Debug)]
pub(crate) struct Addresses {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: addresses belong to the process, not to a thread; they are given back once, by Drop.
unsafe impl Send for Addresses {}
// SAFETY: nothing can be done with a shared reference.
unsafe impl Sync for Addresses {}

impl Drop for Addresses {
    fn drop(&mut self) {
        // SAFETY: `base` and `len` are what mmap gave; a mapping keeps its addresses, so that none is there any more.
        let _ = unsafe { munmap(self.base.cast(), self.len) };
    }
}

/// A shared mapping of a whole object.
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
    head: usize,
    addresses: Arc<Addresses>,
}

// SAFETY: a mapping belongs to the process, not to a thread; it is unmapped once, with its addresses.
unsafe impl Send for Mapping {}
// SAFETY: a shared reference gives out a pointer and a length, and nothing that a second thread could spoil.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes of `object`, which has its head there.
    pub(crate) fn new(object: &OwnedFd, len: usize, head: HeadAt) -> io::Result<Self> {
        let length = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let (place, flags) = (platform::place_for(len), MapFlags::MAP_SHARED);
        // SAFETY: without MAP_FIXED an address is a wish. Where something is mapped by now, the kernel chooses
        // another.
        let base = unsafe { mmap(place, length, protection, flags, object.as_fd(), 0) }.map_err(io_error)?;
        let base = base.cast();
        Ok(Mapping { base, len, head: head.offset(len), addresses: Arc::new(Addresses { base, len }) })
    }

    /// Its addresses. Whoever has them when the mapping goes keeps them, and nothing is there then: who touches them
    /// faults.
    pub(crate) fn addresses(&self) -> Arc<Addresses> {
        Arc::clone(&self.addresses)
    }

    /// Lets this process touch the `len` bytes behind `offset`, or not: then who does faults. Whole pages.
    pub(crate) fn protect(&self, offset: usize, len: usize, is_open: bool) -> io::Result<()> {
        let at = NonNull::new(self.at(offset, len)).ok_or(io::ErrorKind::InvalidInput)?;
        let protection = if is_open { ProtFlags::PROT_READ | ProtFlags::PROT_WRITE } else { ProtFlags::PROT_NONE };
        // SAFETY: so many mapped bytes of ours. Who touches what is closed faults at once, and reads or writes nothing.
        unsafe { mprotect(at.cast(), len, protection) }.map_err(io_error)
    }

    /// Takes every page of `object`, which this is a mapping of, so that touching them cannot fail.
    pub(crate) fn reserve(&self, object: &OwnedFd) -> io::Result<()> {
        platform::reserve(object, self.base, self.len)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where `len` bytes behind `offset` stand: mapped for as long as the mapping lives. The start of the mapping is
    /// at a page.
    #[inline]
    pub(crate) fn at(&self, offset: usize, len: usize) -> *mut u8 {
        assert!(len <= self.len && offset <= self.len - len);
        // SAFETY: offset + len <= self.len, just checked, and so many bytes are mapped.
        unsafe { self.base.as_ptr().add(offset) }
    }

    /// Tells the processor that the line at `offset` will be read and then written.
    #[inline]
    pub(crate) fn fetch(&self, offset: usize) {
        let line = self.at(offset, 1);
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
            // SAFETY: a hint, about an address that is mapped.
            unsafe { _mm_prefetch::<_MM_HINT_ET0>(line.cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line; // Not measured elsewhere.
    }

    /// What every region has.
    #[inline]
    pub(crate) fn head(&self) -> &Head {
        let head = self.at(self.head, size_of::<Head>()).cast::<Head>();
        // SAFETY: that many mapped bytes, at a page; every field is an atomic or never touched, and any bytes are
        // valid for those.
        unsafe { &*head }
    }

    /// Whether nothing was ever written to the head's first page, and to where another floor's would stand: another
    /// floor's region is none that was never made.
    pub(crate) fn is_blank(&self) -> bool {
        self.is_blank_at(self.head) && self.is_blank_elsewhere()
    }

    /// Whether nothing was ever written to where another floor's head would stand: whatever says here that it is being
    /// made may be what somebody has put into another floor's payload.
    pub(crate) fn is_blank_elsewhere(&self) -> bool {
        let heads = [HeadAt::Start, HeadAt::End].map(|head| head.offset(self.len));
        heads.into_iter().filter(|head| *head != self.head).all(|head| self.is_blank_at(head))
    }

    fn is_blank_at(&self, offset: usize) -> bool {
        let mut page = [0; 4096];
        self.read(offset, &mut page);
        page == [0; 4096]
    }

    /// Copies `from` behind `offset`.
    #[inline]
    pub(crate) fn write(&self, offset: usize, from: &[u8]) {
        let to = self.at(offset, from.len());
        // SAFETY: `to` starts that many mapped bytes.
        unsafe { copy(to, from.as_ptr(), from.len()) };
    }

    /// Copies to `to` from behind `offset`.
    #[inline]
    pub(crate) fn read(&self, offset: usize, to: &mut [u8]) {
        let from = self.at(offset, to.len());
        // SAFETY: `from` starts that many mapped bytes, and `to` is a slice of as many.
        unsafe { copy(to.as_mut_ptr(), from, to.len()) };
    }

    /// As [`read`](Self::read), into the cache or past it.
    #[inline]
    pub(crate) fn read_past(&self, offset: usize, to: &mut [u8], target: Target) {
        let from = self.at(offset, to.len());
        // SAFETY: as in `read`.
        unsafe { copy::read(to.as_mut_ptr(), from, to.len(), target) };
    }

    /// Appends `len` bytes from behind `offset` to memory that `to` has reserved.
    pub(crate) fn append(&self, offset: usize, len: usize, to: &mut Vec<u8>) {
        // SAFETY: both start `len` bytes, as `append_by` says.
        self.append_by(offset, len, to, |to, from| unsafe { copy(to, from, len) });
    }

    /// As [`append`](Self::append), for bytes that are all ours as long as this takes.
    pub(crate) fn append_ours(&self, offset: usize, len: usize, to: &mut Vec<u8>, target: Target) {
        // SAFETY: both start `len` bytes, as `append_by` says. Should a peer break its word and write there, `take`
        // may spoil what it wrote, and nothing else.
        self.append_by(offset, len, to, |to, from| unsafe { take(to, from, len, target) });
    }

    /// Appends what `copy` copies to its first pointer, which starts `len` writable bytes, from its second, which
    /// starts `len` mapped ones.
    fn append_by(&self, offset: usize, len: usize, to: &mut Vec<u8>, copy: impl FnOnce(*mut u8, *mut u8)) {
        assert!(len <= to.capacity() - to.len());
        let from = self.at(offset, len);
        copy(to.spare_capacity_mut().as_mut_ptr().cast(), from);
        // SAFETY: those bytes were just written, and are within the capacity.
        unsafe { to.set_len(to.len() + len) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let Some(len) = NonZeroUsize::new(self.len).filter(|_| Arc::strong_count(&self.addresses) > 1) else {
            return; // They go with it.
        };
        let (place, flags) = (self.base.addr(), MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED);
        // SAFETY: what is replaced is this mapping and nothing else; views and cells borrow from its owner, so that none
        // is left. Where that fails the old pages stay until the addresses go.
        let _ = unsafe { mmap_anonymous(Some(place), len, ProtFlags::PROT_NONE, flags) };
    }
}
