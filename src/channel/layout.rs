//! Every byte that two processes share, behind `sys/layout.rs`'s; `docs/layout.md` tells it to peers in other
//! languages.
//!
//! A change here is a new [`VERSION`], stands in the CHANGELOG, and goes alone.
//!
//! All fields are atomics, since another process may write any of them at any time: a value is loaded once, and the
//! copy is what gets checked and used. What one end writes often lies on a line of its own, 128 bytes apart from the
//! next, because processors fetch lines in pairs.

use crate::sys::layout::Head;
use crate::sys::region::GRANULE;
use static_assertions::const_assert_eq;
use std::mem::offset_of;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// The last store of a region's maker: "antiphon" as the bytes lie on a little-endian machine, so that a region from
/// a machine of the other order is no region at all.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"antiphon");
/// The layout's version.
pub(crate) const VERSION: u32 = 4;
/// Everything before the payload.
pub(crate) const HEADER_BYTES: usize = GRANULE;
/// What lies inline, behind the word and the length.
pub(crate) const INLINE_WORDS: usize = 14;
/// The longest message or reply that lies inline.
pub(crate) const INLINE_BYTES: usize = INLINE_WORDS * 8;

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
    /// The processor it was last seen on, plus one; 0 for unknown. On the second line, since the other end reads it
    /// whenever it has to wait a while.
    pub(crate) cpu: AtomicU32,
    /// Consumer: whether it waits to copy a message out ([`COPY_OUT`]), so that a long one may flow to it.
    pub(crate) wants: AtomicU32,
    _more_spare: [u8; 56],
}

/// What a waiting consumer wants: nothing yet that is known, or a message in its own memory.
pub(crate) const NOTHING_YET: u32 = 0;
pub(crate) const COPY_OUT: u32 = 1;

/// What flows: written by whoever begins a flow, before it passes the turn.
#[repr(C, align(128))]
pub(crate) struct FlowLine {
    /// Bytes of the payload, from its start, through which the flow goes round.
    pub(crate) ring: AtomicU64,
    _spare: [u8; 120],
}

/// How far one end has come in a flow. That end alone writes it while bytes flow.
#[repr(C, align(128))]
pub(crate) struct ProgressLine {
    /// Bytes written to the ring, or copied out of it, since the flow began.
    pub(crate) bytes: AtomicU64,
    _spare: [u8; 120],
}

/// What one end has counted since the region was made, whoever held its seat. That end alone writes it, after it has
/// passed the turn; for the census, and nothing is decided by it.
#[repr(C, align(128))]
pub(crate) struct CounterLine {
    /// Messages published, or consumed. Calls are messages.
    pub(crate) messages: AtomicU64,
    /// Their bytes.
    pub(crate) bytes: AtomicU64,
    /// Replies received, or given.
    pub(crate) replies: AtomicU64,
    /// Their bytes.
    pub(crate) reply_bytes: AtomicU64,
    /// Times it went to sleep.
    pub(crate) sleeps: AtomicU64,
    /// Since when it has been waiting, for longer than it spins; 0 while it is not.
    pub(crate) waiting_since_unix_ms: AtomicU64,
    _spare: [u8; 80],
}

/// A line for one writer, not used yet.
#[repr(C, align(128))]
struct Reserved([u8; 128]);

/// The first 64 KiB of a region. The payload follows.
#[repr(C, align(4096))]
pub(crate) struct Header {
    _head: Head,
    pub(crate) turn: TurnLine,
    _guard: Reserved,
    pub(crate) publisher_notes: Notes,
    pub(crate) consumer_notes: Notes,
    pub(crate) flow: FlowLine,
    pub(crate) publisher_progress: ProgressLine,
    pub(crate) consumer_progress: ProgressLine,
    pub(crate) publisher_counters: CounterLine,
    pub(crate) consumer_counters: CounterLine,
    _spare: [u8; HEADER_BYTES - 8192 - 9 * 128],
}

const_assert_eq!(size_of::<TurnLine>(), 128);
const_assert_eq!(offset_of!(TurnLine, length), 8);
const_assert_eq!(offset_of!(TurnLine, inline), 16);

const_assert_eq!(size_of::<Notes>(), 128);
const_assert_eq!(offset_of!(Notes, replying), 8);
const_assert_eq!(offset_of!(Notes, cpu), 64);
const_assert_eq!(offset_of!(Notes, wants), 68);

const_assert_eq!(size_of::<CounterLine>(), 128);
const_assert_eq!(offset_of!(CounterLine, bytes), 8);
const_assert_eq!(offset_of!(CounterLine, replies), 16);
const_assert_eq!(offset_of!(CounterLine, reply_bytes), 24);
const_assert_eq!(offset_of!(CounterLine, sleeps), 32);
const_assert_eq!(offset_of!(CounterLine, waiting_since_unix_ms), 40);

const_assert_eq!(size_of::<Header>(), HEADER_BYTES);
const_assert_eq!(offset_of!(Header, turn), 8192);
const_assert_eq!(offset_of!(Header, publisher_notes), 8192 + 256);
const_assert_eq!(offset_of!(Header, consumer_notes), 8192 + 384);
const_assert_eq!(offset_of!(Header, flow), 8192 + 512);
const_assert_eq!(offset_of!(Header, publisher_progress), 8192 + 640);
const_assert_eq!(offset_of!(Header, consumer_progress), 8192 + 768);
const_assert_eq!(offset_of!(Header, publisher_counters), 8192 + 896);
const_assert_eq!(offset_of!(Header, consumer_counters), 8192 + 1024);
