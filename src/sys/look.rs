//! Looking at what stands under a name, without coming to the door and without mapping what anybody may truncate.
//!
//! A [`Found`] is what the system says of an object; a [`Snapshot`] is a copy of a region's first bytes, each read
//! once. Both may be stale by the time one reads them, and all that stands in a snapshot is a peer's word.

#![allow(unsafe_code)] // One of the homes of unsafe, see CONTRIBUTING.

use super::layout::Head;
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

    /// The seats in a copy of the region's first bytes, with the locks as they are now.
    pub(crate) fn seats<'a>(&'a self, snapshot: &'a Snapshot) -> Option<Seats<'a>> {
        let probe = self.probe()?;
        Some(Seats { records: &snapshot.head().seats, locks: probe, probe, anchor: self.id })
    }

    /// Copies the region's first bytes. `None` where it is shorter.
    pub(crate) fn read(&self) -> io::Result<Option<Snapshot>> {
        let Some(object) = &self.object else { return Ok(None) };
        let mut bytes = vec![0; Snapshot::BYTES];
        if !platform::read_start(object, &mut bytes)? {
            return Ok(None);
        }
        let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_ne_bytes);
        let line = |bytes: &[u8]| Line(std::array::from_fn(|at| AtomicU64::new(word(&bytes[at * 8..][..8]))));
        Ok(Some(Snapshot(bytes.chunks_exact(size_of::<Line>()).map(line).collect())))
    }
}

/// A copy of a region's first bytes. Nobody else can change it.
pub(crate) struct Snapshot(Box<[Line]>);

/// As aligned as what a region begins with.
#[repr(C, align(128))]
struct Line([AtomicU64; 16]);

const_assert!(align_of::<Head>() <= align_of::<Line>());
const_assert!(Snapshot::BYTES % size_of::<Line>() == 0 && size_of::<Head>() <= Snapshot::BYTES);

impl Snapshot {
    /// Everything that any floor writes before its payload.
    const BYTES: usize = 12 * 1024;

    /// What every region begins with.
    pub(crate) fn head(&self) -> &Head {
        assert!(size_of::<Head>() <= size_of_val(&*self.0));
        // SAFETY: that many bytes, just checked, aligned as a `Line` and so as a `Head` is; every field is an atomic or
        // never touched, and any bytes are valid for those.
        unsafe { &*self.0.as_ptr().cast::<Head>() }
    }

    /// The number that stands at `offset`, a multiple of 8.
    pub(crate) fn u64_at(&self, offset: usize) -> u64 {
        // Relaxed: a copy, which nobody writes.
        self.0.get(offset / size_of::<Line>()).map_or(0, |line| line.0[offset / 8 % 16].load(Relaxed))
    }

    /// Whether nothing was ever written to the first page.
    pub(crate) fn is_blank(&self) -> bool {
        (0..4096).step_by(8).all(|offset| self.u64_at(offset) == 0)
    }
}
