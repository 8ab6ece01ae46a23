//! Every byte of a block file that two processes share; `docs/layout.md` tells it to peers in other languages.
//!
//! First come the blocks, one behind the other; the state is the region's last 64 KiB, whatever the page size. As in
//! the channel's layout, all fields are atomics, a change is a new [`VERSION`], and what one side writes often lies on
//! lines of its own, 128 bytes apart.

use super::word::Record;
use crate::sys::layout::Head;
use crate::sys::region::GRANULE;
use static_assertions::const_assert_eq;
use std::mem::offset_of;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicU64};

/// The last store of a region's maker.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"antiblks");
/// The layout's version.
pub(crate) const VERSION: u32 = 2;
/// Everything behind the blocks.
pub(crate) const STATE_BYTES: usize = GRANULE;
/// The most blocks that a file has.
pub(crate) const MOST_BLOCKS: usize = 256;
/// The longest name of a file.
pub(crate) const MOST_NAME_BYTES: usize = 4096;
/// A reason that is whole. No owner's bits: its seat is none.
pub(crate) const IS_SAID: u64 = 1;
/// The longest note on a file.
pub(crate) const MOST_NOTE_BYTES: usize = 64;
/// The longest reason for a cancelling that is kept.
pub(crate) const MOST_REASON_BYTES: usize = 1000;

/// Bytes of which the first `len` count.
#[repr(C)]
pub(crate) struct Text<const MOST: usize> {
    len: AtomicU64,
    bytes: [AtomicU8; MOST],
}

impl<const MOST: usize> Text<MOST> {
    /// As many of `bytes` as there is room for.
    pub(crate) fn set(&self, bytes: &[u8]) {
        // Relaxed: released with the magic, or with `next`.
        for (byte, from) in self.bytes.iter().zip(bytes) {
            byte.store(*from, Relaxed);
        }
        self.len.store(bytes.len().min(MOST) as u64, Relaxed);
    }

    pub(crate) fn get(&self) -> Vec<u8> {
        // Relaxed: acquired with the magic, or with `next`.
        let len = usize::try_from(self.len.load(Relaxed)).unwrap_or(usize::MAX);
        self.bytes.iter().take(len).map(|byte| byte.load(Relaxed)).collect()
    }
}

/// What the file is. Written by the region's maker, but for the reason, the count of ends and where it goes.
#[repr(C)]
pub(crate) struct About {
    pub(crate) block_bytes: AtomicU64,
    pub(crate) blocks: AtomicU64,
    /// Where in the named file this one begins.
    pub(crate) base: AtomicU64,
    pub(crate) name: Text<MOST_NAME_BYTES>,
    /// 0, or the owner who is writing the reason, or [`IS_SAID`]: it is whole.
    pub(crate) has_reason: AtomicU64,
    pub(crate) reason: Text<MOST_REASON_BYTES>,
    /// How often a reader came to the end.
    pub(crate) ends_seen: AtomicU64,
    /// What its maker says of it; any bytes.
    pub(crate) note: Text<MOST_NOTE_BYTES>,
    /// Where all of it is brought: a number of whoever was first to take it there, 0 for nowhere in particular.
    pub(crate) goes_to: AtomicU64,
    _spare: [u8; 8192 - 4 * 8 - 8 - MOST_NAME_BYTES - 8 - MOST_REASON_BYTES - 8 - 8 - MOST_NOTE_BYTES - 8],
}

/// A word that is alone on its lines.
#[repr(C, align(128))]
pub(crate) struct Line {
    pub(crate) word: AtomicU64,
    _spare: [u8; 120],
}

/// The last 64 KiB of a region.
#[repr(C, align(4096))]
pub(crate) struct State {
    _head: Head,
    pub(crate) about: About,
    /// See `word.rs`.
    pub(crate) next: Line,
    /// By side; see `board.rs` and `hall.rs`.
    pub(crate) boards: [Line; 2],
    pub(crate) loose: [Line; 2],
    /// By side: the processor that one of it was last seen on while it waited, plus one; 0 for unknown.
    pub(crate) cpus: [Line; 2],
    _spare: [u8; 4096 - 7 * 128],
    pub(crate) records: [Record<AtomicU64>; MOST_BLOCKS],
    _more_spare: [u8; STATE_BYTES - 8192 - 8192 - 4096 - MOST_BLOCKS * 128],
}

const_assert_eq!(size_of::<About>(), 8192);
const_assert_eq!(offset_of!(About, name), 24);
const_assert_eq!(offset_of!(About, has_reason), 4128);
const_assert_eq!(offset_of!(About, reason), 4136);
const_assert_eq!(offset_of!(About, ends_seen), 5144);
const_assert_eq!(offset_of!(About, note), 5152);
const_assert_eq!(offset_of!(About, goes_to), 5224);
const_assert_eq!(size_of::<Line>(), 128);
const_assert_eq!(size_of::<Record<AtomicU64>>(), 128);
const_assert_eq!(size_of::<State>(), STATE_BYTES);
const_assert_eq!(offset_of!(State, about), 8192);
const_assert_eq!(offset_of!(State, next), 16384);
const_assert_eq!(offset_of!(State, boards), 16512);
const_assert_eq!(offset_of!(State, loose), 16768);
const_assert_eq!(offset_of!(State, cpus), 17024);
const_assert_eq!(offset_of!(State, records), 20480);
