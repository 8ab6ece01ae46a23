//! Every byte that two processes share, as `docs/layout.md` tells it to peers in other languages.
//!
//! A change here is a new [`VERSION`], stands in the CHANGELOG, and goes alone.
//!
//! All fields are atomics, since another process may write any of them at any time: a value is
//! loaded once, and the copy is what gets checked and used. What one end writes often lies on a
//! line of its own, 128 bytes apart from the next, because processors fetch lines in pairs.

use crate::name;
use crate::sys::region::GRANULE;
use static_assertions::const_assert_eq;
use std::mem::offset_of;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

/// The last store of a region's maker: "antiphon" as the bytes lie on a little-endian machine, so
/// that a region from a machine of the other order is no region at all.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"antiphon");
/// The first store of a region's maker: what a killed maker leaves is known as ours by it.
pub(crate) const MAKING: u64 = u64::from_le_bytes(*b"antiph..");
/// The layout's version.
pub(crate) const VERSION: u32 = 1;
/// Everything before the payload.
pub(crate) const HEADER_BYTES: usize = GRANULE;
/// The publisher's seat, the consumer's, and those of handles that have taken neither yet.
pub(crate) const SEATS: usize = 32;
/// What lies inline, behind the word and the length.
pub(crate) const INLINE_WORDS: usize = 14;
/// The longest message or reply that lies inline.
pub(crate) const INLINE_BYTES: usize = INLINE_WORDS * 8;

/// What the region is. Written by its maker before the magic; read once, on open.
#[repr(C)]
pub(crate) struct Identity {
    pub(crate) magic: AtomicU64,
    pub(crate) version: AtomicU32,
    /// `size_of::<usize>()`: a 32-bit libc and a 64-bit one keep semaphores differently.
    pub(crate) word_bytes: AtomicU32,
    /// `sys::LIBC_FLAVOUR`
    pub(crate) libc_flavour: AtomicU32,
    /// None yet: private and persistent channels will have one each.
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

impl Identity {
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
    _spare: [u8; 20],
}

/// The line that goes to and fro, and its second half.
#[repr(C, align(128))]
pub(crate) struct TurnLine {
    /// See `turn.rs`.
    pub(crate) word: AtomicU64,
    /// Bytes of the whole message or reply. The turn's owner writes it.
    pub(crate) length: AtomicU64,
    /// A message or reply of at most `INLINE_BYTES`.
    pub(crate) inline: [AtomicU64; INLINE_WORDS],
}

/// What one end notes for others to find; the other end does not poll it.
#[repr(C, align(128))]
pub(crate) struct Notes {
    /// Consumer: the step of the message taken last.
    pub(crate) taken: AtomicU64,
    /// Consumer: the step of the call whose answer was begun last.
    pub(crate) replying: AtomicU64,
    _spare: [u8; 48],
    /// The processor it was last seen on, plus one; 0 for unknown. On the second line, since the
    /// other end reads it whenever it has to wait a while.
    pub(crate) cpu: AtomicU32,
    /// Consumer: how it wants long messages; for pipelining.
    _wants: AtomicU32,
    _more_spare: [u8; 56],
}

/// A line for one writer, not used yet.
#[repr(C, align(128))]
struct Reserved([u8; 128]);

/// The first 64 KiB of a region. The payload follows.
#[repr(C, align(4096))]
pub(crate) struct Header {
    pub(crate) identity: Identity,
    pub(crate) seats: [Seat; SEATS],
    _seats_spare: [u8; 4096 - SEATS * 64],
    pub(crate) turn: TurnLine,
    _guard: Reserved,
    pub(crate) publisher_notes: Notes,
    pub(crate) consumer_notes: Notes,
    /// For pipelining: the long message's descriptor, and how far each side has come.
    _stream: Reserved,
    _filled: Reserved,
    _drained: Reserved,
    /// For the census: what each end has counted.
    _publisher_counters: Reserved,
    _consumer_counters: Reserved,
    _spare: [u8; HEADER_BYTES - 8192 - 9 * 128],
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

const_assert_eq!(size_of::<TurnLine>(), 128);
const_assert_eq!(offset_of!(TurnLine, length), 8);
const_assert_eq!(offset_of!(TurnLine, inline), 16);

const_assert_eq!(size_of::<Notes>(), 128);
const_assert_eq!(offset_of!(Notes, replying), 8);
const_assert_eq!(offset_of!(Notes, cpu), 64);

const_assert_eq!(size_of::<Header>(), HEADER_BYTES);
const_assert_eq!(offset_of!(Header, seats), 4096);
const_assert_eq!(offset_of!(Header, turn), 8192);
const_assert_eq!(offset_of!(Header, publisher_notes), 8192 + 256);
const_assert_eq!(offset_of!(Header, consumer_notes), 8192 + 384);
const_assert_eq!(offset_of!(Header, _stream), 8192 + 512);
const_assert_eq!(offset_of!(Header, _filled), 8192 + 640);
const_assert_eq!(offset_of!(Header, _drained), 8192 + 768);
const_assert_eq!(offset_of!(Header, _publisher_counters), 8192 + 896);
const_assert_eq!(offset_of!(Header, _consumer_counters), 8192 + 1024);
