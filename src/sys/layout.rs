//! What every region has: who made it, and who is attached.
//!
//! All fields are atomics, since another process may write any of them at any time: a value is loaded once, and the
//! copy is what gets checked and used.

use crate::name;
use static_assertions::const_assert_eq;
use std::mem::offset_of;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

/// The first store of a region's maker: what a killed maker leaves is known as ours by it.
pub(crate) const MAKING: u64 = u64::from_le_bytes(*b"antiph..");
/// Two for the ends, the others for handles that have taken neither yet.
pub(crate) const SEATS: usize = 32;

/// The names go as soon as both ends are attached.
pub(crate) const PRIVATE: u32 = 1;
/// The names stay, whoever leaves.
pub(crate) const PERSISTENT: u32 = 2;

/// What the region is. Written by its maker before the magic; read once, on open.
#[repr(C)]
pub(crate) struct Identity {
    pub(crate) magic: AtomicU64,
    pub(crate) version: AtomicU32,
    /// `size_of::<usize>()`: a 32-bit libc and a 64-bit one keep semaphores differently.
    pub(crate) word_bytes: AtomicU32,
    /// Whose semaphores the bells are, or that they are words: see `bells.rs`.
    pub(crate) libc_flavour: AtomicU32,
    /// What kind of region this is: [`PRIVATE`], [`PERSISTENT`].
    pub(crate) flags: AtomicU32,
    pub(crate) capacity: AtomicU64,
    /// A number for this region among all that ever had the name.
    pub(crate) nonce: AtomicU64,
    pub(crate) maker_pid: AtomicU32,
    /// Not 0: somebody has begun to remove the names. Under the door.
    pub(crate) removed: AtomicU32,
    pub(crate) maker_start: AtomicU64,
    pub(crate) maker_namespace: AtomicU64,
    pub(crate) created_unix_ms: AtomicU64,
    pub(crate) name_bytes: AtomicU32,
    _reserved: AtomicU32,
    pub(crate) name: [AtomicU8; name::MAX_BYTES],
    _spare: [u8; 4096 - 280],
}

/// What of a region is otherwise than this process makes it, in the order in which it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Differs {
    Version,
    WordSize,
    Libc,
    Flags,
    Capacity,
}

/// The first thing in which a region differs, with both sides' values.
pub(crate) struct Difference {
    pub(crate) what: Differs,
    pub(crate) theirs: u64,
    pub(crate) ours: u64,
}

impl Identity {
    /// Whether the region was made by something that works otherwise than this process does. `version` is the floor's,
    /// `capacity` what the object's length leaves for the payload.
    pub(crate) fn difference(&self, version: u32, capacity: u64) -> Option<Difference> {
        // Relaxed throughout: acquired with the magic, or a copy.
        let flags = self.flags.load(Relaxed);
        let is_known = [0, PRIVATE, PERSISTENT].contains(&flags);
        [
            (Differs::Version, self.version.load(Relaxed).into(), version.into()),
            (Differs::WordSize, self.word_bytes.load(Relaxed).into(), size_of::<usize>() as u64),
            (Differs::Libc, self.libc_flavour.load(Relaxed).into(), super::bells::flavour().into()),
            (Differs::Flags, if is_known { 0 } else { flags.into() }, 0),
            (Differs::Capacity, self.capacity.load(Relaxed), capacity),
        ]
        .into_iter()
        .find(|(_, theirs, ours)| theirs != ours)
        .map(|(what, theirs, ours)| Difference { what, theirs, ours })
    }

    /// The user's name, as far as the length field and the array agree.
    pub(crate) fn full_name(&self) -> Vec<u8> {
        // Relaxed: acquired with the magic.
        let len = self.name_bytes.load(Relaxed) as usize;
        self.name.iter().take(len).map(|byte| byte.load(Relaxed)).collect()
    }

    pub(crate) fn set_full_name(&self, name: &[u8]) {
        // Relaxed: released with the magic.
        for (byte, from) in self.name.iter().zip(name) {
            byte.store(*from, Relaxed);
        }
        self.name_bytes.store(name.len() as u32, Relaxed);
    }
}

/// Who sits there. Written under the door by whoever takes the seat; read by anyone.
#[repr(C)]
pub(crate) struct Seat {
    /// `generation << 32 | state`, the last store of taking a seat. See `seat.rs`.
    pub(crate) word: AtomicU64,
    pub(crate) start: AtomicU64,
    pub(crate) namespace: AtomicU64,
    /// Which anchor carries the lock.
    pub(crate) anchor: AtomicU64,
    pub(crate) since_unix_ms: AtomicU64,
    pub(crate) pid: AtomicU32,
    /// What its holder is here for, in the floor's own words; 0 where the seat says it all.
    pub(crate) role: AtomicU32,
    _spare: [u8; 16],
}

/// What one end sleeps on where bells are words of the region; zeros where they are semaphores. See `bells.rs`.
#[repr(C, align(128))]
pub(crate) struct BellLine {
    pub(crate) tokens: AtomicU32,
    _spare: [u8; 124],
}

/// The first 8 KiB of what a region has beside its payload.
#[repr(C)]
pub(crate) struct Head {
    pub(crate) identity: Identity,
    pub(crate) seats: [Seat; SEATS],
    /// One for each end.
    pub(crate) bells: [BellLine; 2],
    _spare: [u8; 4096 - SEATS * 64 - 2 * 128],
}

const_assert_eq!(size_of::<Identity>(), 4096);
const_assert_eq!(offset_of!(Identity, version), 8);
const_assert_eq!(offset_of!(Identity, word_bytes), 12);
const_assert_eq!(offset_of!(Identity, libc_flavour), 16);
const_assert_eq!(offset_of!(Identity, flags), 20);
const_assert_eq!(offset_of!(Identity, capacity), 24);
const_assert_eq!(offset_of!(Identity, nonce), 32);
const_assert_eq!(offset_of!(Identity, maker_pid), 40);
const_assert_eq!(offset_of!(Identity, removed), 44);
const_assert_eq!(offset_of!(Identity, maker_start), 48);
const_assert_eq!(offset_of!(Identity, maker_namespace), 56);
const_assert_eq!(offset_of!(Identity, created_unix_ms), 64);
const_assert_eq!(offset_of!(Identity, name_bytes), 72);
const_assert_eq!(offset_of!(Identity, name), 80);

const_assert_eq!(size_of::<Seat>(), 64);
const_assert_eq!(offset_of!(Seat, start), 8);
const_assert_eq!(offset_of!(Seat, namespace), 16);
const_assert_eq!(offset_of!(Seat, anchor), 24);
const_assert_eq!(offset_of!(Seat, since_unix_ms), 32);
const_assert_eq!(offset_of!(Seat, pid), 40);
const_assert_eq!(offset_of!(Seat, role), 44);

const_assert_eq!(size_of::<BellLine>(), 128);
const_assert_eq!(offset_of!(BellLine, tokens), 0);

const_assert_eq!(size_of::<Head>(), 8192);
const_assert_eq!(offset_of!(Head, seats), 4096);
const_assert_eq!(offset_of!(Head, bells), 4096 + 2048);
