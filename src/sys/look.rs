//! Looking at what stands under a name, without coming to the door and without mapping what anybody may truncate.
//!
//! A [`Found`] is what the system says of an object; a [`Snapshot`] is a copy of a region's head and of what stands
//! behind it, each byte read once. Both may be stale by the time one reads them, and all that stands in a snapshot is a peer's word.

#![allow(unsafe_code)] // One of the homes of unsafe, see CONTRIBUTING.

use super::layout::Head;
use super::region::HeadAt;
use super::seat::{DOOR_BYTE, Seats};
use super::{lock, platform, region};
use static_assertions::const_assert;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// What kind of thing has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// Shared memory.
    Memory,
    /// Only the registry's file of that name: the region is gone, or not made yet.
    #[allow(dead_code)] // Darwin's alone.
    RegistryFile,
    /// Something else, in words.
    #[allow(dead_code)] // FreeBSD finds nothing.
    Other(&'static str),
}

/// What the system says of an object.
pub(crate) struct Found {
    pub(crate) what: What,
    /// The user whose it is.
    pub(crate) owner: u32,
    pub(crate) len: u64,
    /// Whether its maker was antiphon, by its mode alone.
    pub(crate) is_marked: bool,
    /// A number for it among all that ever had the name.
    pub(crate) id: u64,
    /// The object, to be read; none where it is no memory, or where reading is not permitted.
    pub(crate) object: Option<OwnedFd>,
    /// What carries the locks, where that is not the object.
    pub(crate) anchor: Option<OwnedFd>,
}

impl Found {
    fn probe(&self) -> Option<BorrowedFd<'_>> {
        self.anchor.as_ref().or(self.object.as_ref()).map(|fd| fd.as_fd())
    }

    /// Whether somebody is at the door.
    pub(crate) fn door_is_locked(&self) -> io::Result<bool> {
        self.probe().map_or(Ok(false), |probe| lock::is_locked(probe, DOOR_BYTE))
    }

    /// Whether the object has a length that a region can have.
    pub(crate) fn has_a_regions_length(&self) -> bool {
        region::can_have(self.len)
    }

    /// The seats in a copy of the region's head, with the locks as they are now.
    pub(crate) fn seats<'a>(&'a self, snapshot: &'a Snapshot) -> Option<Seats<'a>> {
        let probe = self.probe()?;
        Some(Seats { records: &snapshot.head().seats, locks: probe, probe, anchor: self.id })
    }

    /// Copies the head of a region that has it there, and what stands behind it: whole pages, at least `len` bytes.
    /// `None` where the region is shorter.
    pub(crate) fn read(&self, head: HeadAt, len: usize) -> io::Result<Option<Snapshot>> {
        let Some(object) = &self.object else { return Ok(None) };
        let mut snapshot = Snapshot::blank(len);
        let offset = head.offset(usize::try_from(self.len).map_err(io::Error::other)?);
        let is_whole = platform::read_at(object, offset as u64, snapshot.bytes())?;
        Ok(is_whole.then_some(snapshot))
    }
}

/// A copy of a region's head and of what stands behind it. Nobody else can change it.
pub(crate) struct Snapshot(Box<[Page]>);

/// As aligned as a region is.
#[repr(C, align(4096))]
struct Page([AtomicU64; 512]);

const_assert!(align_of::<Head>() <= align_of::<Page>());
const_assert!(size_of::<Page>() == 4096);

impl Snapshot {
    fn blank(len: usize) -> Self {
        let pages = len.max(size_of::<Head>()).div_ceil(size_of::<Page>());
        Snapshot((0..pages).map(|_| Page([const { AtomicU64::new(0) }; 512])).collect())
    }

    fn bytes(&mut self) -> &mut [u8] {
        let len = size_of_val(&*self.0);
        // SAFETY: so many bytes, borrowed by this alone, and an atomic may have any of them.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), len) }
    }

    /// Where the first `len` bytes of the copy stand, at a page.
    pub(crate) fn start(&self, len: usize) -> *const u8 {
        assert!(len <= size_of_val(&*self.0));
        self.0.as_ptr().cast()
    }

    /// What every region has.
    pub(crate) fn head(&self) -> &Head {
        // SAFETY: that many bytes, aligned as a `Page` and so as a `Head` is; every field is an atomic or never
        // touched, and any bytes are valid for those.
        unsafe { &*self.start(size_of::<Head>()).cast::<Head>() }
    }

    /// The magic of the head.
    pub(crate) fn magic(&self) -> u64 {
        // Relaxed: a copy, which nobody writes.
        self.head().identity.magic.load(Relaxed)
    }

    /// The number that stands at `offset`, a multiple of 8.
    pub(crate) fn u64_at(&self, offset: usize) -> u64 {
        // Relaxed: a copy, which nobody writes.
        self.0.get(offset / size_of::<Page>()).map_or(0, |page| page.0[offset / 8 % 512].load(Relaxed))
    }

    /// Whether nothing was ever written to the first page.
    pub(crate) fn is_blank(&self) -> bool {
        (0..4096).step_by(8).all(|offset| self.u64_at(offset) == 0)
    }
}
