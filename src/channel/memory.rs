//! The region as the channel sees it: its header, and the two places where messages stand.

#![allow(unsafe_code)] // One of the homes of unsafe, see CONTRIBUTING.

use super::layout::{CounterLine, HEADER_BYTES, Header, INLINE_BYTES, TurnLine};
use super::progress::Progress;
use super::turn::{Side, Turn};
use crate::sys::copy::Target;
use crate::sys::region::Mapping;
use crate::sys::view::{View, ViewMut};
use std::mem::offset_of;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Where a message's bytes stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the turn's own line.
    Inline,
    /// In the payload.
    Payload,
}

/// A line, as most processors have it.
const LINE: usize = 64;
/// How much of a message stands in the turn's own first line.
const FIRST_LINE_BYTES: u64 = (LINE - offset_of!(TurnLine, inline)) as u64;
/// The longest message whose lines are all fetched at once. Measured: with more of them, or with some of a longer
/// one's, they come later than if nobody had asked.
const MOST_FETCHED: u64 = 512;

impl Place {
    /// Where a message of `len` bytes stands, its first round if it is a long one.
    #[inline]
    pub(crate) fn of(len: usize) -> Self {
        if len <= INLINE_BYTES { Place::Inline } else { Place::Payload }
    }

    #[inline]
    fn offset(self) -> usize {
        match self {
            Place::Inline => offset_of!(Header, turn) + offset_of!(TurnLine, inline),
            Place::Payload => HEADER_BYTES,
        }
    }
}

/// A mapped region: header, then payload. Every range is checked against what this process has mapped, never against
/// a number that a peer can write.
#[derive(Clone, Copy)]
pub(crate) struct Memory<'a>(pub(crate) &'a Mapping);

impl<'a> Memory<'a> {
    #[inline]
    pub(crate) fn capacity(self) -> usize {
        self.0.len() - HEADER_BYTES
    }

    #[inline]
    pub(crate) fn header(self) -> &'a Header {
        let header = self.0.at(0, HEADER_BYTES).cast::<Header>();
        // SAFETY: that many mapped bytes, at a page, for as long as the mapping is borrowed; every field is an atomic
        // or never touched, and any bytes are valid for those.
        unsafe { &*header }
    }

    #[inline]
    pub(crate) fn turn(self) -> Turn<'a, AtomicU64> {
        let header = self.header();
        let notes = &header.consumer_notes;
        Turn { word: &header.turn.word, taken: &notes.taken, replying: &notes.replying }
    }

    /// The length of what came with the turn, as whoever passed it says.
    ///
    /// The processor is told to fetch a short message's other lines, and for writing: so they come while the message
    /// is being taken, and the answer finds them here.
    #[inline]
    pub(crate) fn length_that_came(self) -> u64 {
        // Relaxed: acquired by `look`. Loaded once; a peer may change it at any time.
        let len = self.header().turn.length.load(Relaxed);
        if len > FIRST_LINE_BYTES && len <= INLINE_BYTES as u64 {
            self.0.fetch(offset_of!(Header, turn) + LINE);
        } else if len > INLINE_BYTES as u64 && len <= MOST_FETCHED {
            (0..len as usize).step_by(LINE).for_each(|line| self.0.fetch(HEADER_BYTES + line));
        }
        len
    }

    /// What `side` has counted.
    #[inline]
    pub(crate) fn counters(self, side: Side) -> &'a CounterLine {
        match side {
            Side::Publisher => &self.header().publisher_counters,
            Side::Consumer => &self.header().consumer_counters,
        }
    }

    /// The flow that was passed at `step`, as `side` sees it.
    #[inline]
    pub(crate) fn progress(self, side: Side, step: u64) -> Progress<'a, AtomicU64> {
        let header = self.header();
        let (publisher, consumer) = (&header.publisher_progress.bytes, &header.consumer_progress.bytes);
        let (mine, others) = match side {
            Side::Publisher => (publisher, consumer),
            Side::Consumer => (consumer, publisher),
        };
        Progress { word: &header.turn.word, mine, others, side, step }
    }

    /// Writes a short message to the turn's line, word by word: it is on its way with the line.
    #[inline]
    pub(crate) fn write_inline(self, bytes: &[u8]) {
        let mut words = self.header().turn.inline.iter();
        let mut chunks = bytes.chunks_exact(8);
        for (chunk, word) in chunks.by_ref().zip(words.by_ref()) {
            // Relaxed: published by `pass`.
            word.store(u64::from_ne_bytes(chunk.try_into().unwrap_or_default()), Relaxed);
        }
        let rest = chunks.remainder();
        if let (false, Some(word)) = (rest.is_empty(), words.next()) {
            let mut value = [0; 8];
            value[..rest.len()].copy_from_slice(rest);
            // Relaxed: as above.
            word.store(u64::from_ne_bytes(value), Relaxed);
        }
    }

    /// Appends a short message of `len` bytes.
    #[inline]
    pub(crate) fn append_inline(self, len: usize, to: &mut Vec<u8>) {
        assert!(len <= INLINE_BYTES);
        let words = len.div_ceil(8);
        to.reserve(words * 8);
        let spare = to.spare_capacity_mut().as_mut_ptr().cast::<u64>();
        for (nth, word) in self.header().turn.inline.iter().take(words).enumerate() {
            // SAFETY: nth < words, and as many words were reserved.
            let at = unsafe { spare.add(nth) };
            // SAFETY: as above; unaligned, and the vector's own. Relaxed: acquired by `look`.
            unsafe { at.write_unaligned(word.load(Relaxed)) };
        }
        // SAFETY: `len` is at most what was just written.
        unsafe { to.set_len(to.len() + len) };
    }

    /// Copies `from` to the payload, behind `offset`.
    #[inline]
    pub(crate) fn write(self, offset: usize, from: &[u8]) {
        self.0.write(HEADER_BYTES + offset, from);
    }

    /// Appends `len` bytes of a place, behind `offset`, to memory that `to` has reserved. They are this end's: the turn
    /// is, or a flow's progress says so.
    #[inline]
    pub(crate) fn append(self, place: Place, offset: usize, len: usize, to: &mut Vec<u8>, target: Target) {
        self.0.append_ours(place.offset() + offset, len, to, target);
    }

    pub(crate) fn view(self, place: Place, offset: usize, len: usize) -> View<'a> {
        View::new(self.0, place.offset() + offset, len)
    }

    pub(crate) fn view_mut(self, place: Place, len: usize) -> ViewMut<'a> {
        ViewMut::new(self.0, place.offset(), len)
    }
}
