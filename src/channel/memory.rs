//! The region as the channel sees it: header and payload, and the views that users get of them.
//!
//! The only file of the channel that touches shared memory by address. Two rules keep it sound:
//! every range is checked against what this process mapped, never against a number that a peer can
//! write; and no reference to payload bytes is ever made, only copies in and out.

#![allow(unsafe_code)] // One of the homes of unsafe, see CONTRIBUTING.

use super::layout::{HEADER_BYTES, Header, INLINE_BYTES, Identity};
use super::turn::Turn;
use crate::sys::copy::{copy_in, copy_out};
use crate::sys::region::Mapping;
use std::io::IoSlice;
use std::marker::PhantomData;
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

/// A mapped region: header, then `capacity` bytes of payload.
pub(crate) struct Memory {
    mapping: Mapping,
    capacity: usize,
}

impl Memory {
    /// `None` where the mapping is not exactly header and payload.
    pub(crate) fn new(mapping: Mapping, capacity: usize) -> Option<Self> {
        (capacity.checked_add(HEADER_BYTES) == Some(mapping.len()))
            .then_some(Memory { mapping, capacity })
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    #[inline]
    pub(crate) fn header(&self) -> &Header {
        let header = self.mapping.base().cast::<Header>();
        // SAFETY: the mapping is page-aligned, at least HEADER_BYTES long and lives as long as
        // `self`; every field is an atomic or never touched, and any bytes are valid for those.
        unsafe { header.as_ref() }
    }

    /// Whether nothing was ever written to the first page.
    pub(crate) fn identity_is_blank(&self) -> bool {
        (0..size_of::<Identity>() / 8).all(|word| {
            let start = self.mapping.base().cast::<AtomicU64>();
            // SAFETY: within the first page, which is mapped and aligned.
            let word = unsafe { start.add(word) };
            // SAFETY: as above; an atomic of any value is valid.
            let word = unsafe { word.as_ref() };
            word.load(Relaxed) == 0 // Relaxed: nobody else is at work; the door is ours.
        })
    }

    #[inline]
    pub(crate) fn turn(&self) -> Turn<'_, AtomicU64> {
        let header = self.header();
        let notes = &header.consumer_notes;
        Turn { word: &header.turn.word, taken: &notes.taken, replying: &notes.replying }
    }

    /// How many bytes a place has.
    #[inline]
    pub(crate) fn room(&self, place: Place) -> usize {
        match place {
            Place::Inline => INLINE_BYTES,
            Place::Payload => self.capacity,
        }
    }

    #[inline]
    fn address(&self, place: Place) -> *mut u8 {
        match place {
            Place::Inline => {
                let offset = std::mem::offset_of!(Header, turn)
                    + std::mem::offset_of!(super::layout::TurnLine, inline);
                // SAFETY: the header is HEADER_BYTES long, and mapped.
                unsafe { self.mapping.base().as_ptr().add(offset) }
            }
            Place::Payload => {
                // SAFETY: the payload follows the header, and is mapped.
                unsafe { self.mapping.base().as_ptr().add(HEADER_BYTES) }
            }
        }
    }

    /// Writes a short message to the turn's line, word by word: it is on its way with the line.
    #[inline]
    pub(crate) fn write_inline(&self, bytes: &[u8]) {
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

    /// Reads as many bytes of a short message as `to` has room for.
    #[inline]
    pub(crate) fn read_inline(&self, to: &mut [u8]) {
        let mut words = self.header().turn.inline.iter();
        let mut chunks = to.chunks_exact_mut(8);
        for (chunk, word) in chunks.by_ref().zip(words.by_ref()) {
            // Relaxed: acquired by `look`.
            chunk.copy_from_slice(&word.load(Relaxed).to_ne_bytes());
        }
        let rest = chunks.into_remainder();
        if let (false, Some(word)) = (rest.is_empty(), words.next()) {
            // Relaxed: as above.
            rest.copy_from_slice(&word.load(Relaxed).to_ne_bytes()[..rest.len()]);
        }
    }

    /// Copies `from` to a place, behind `offset`.
    #[inline]
    pub(crate) fn write(&self, place: Place, offset: usize, from: &[u8]) {
        assert!(from.len() <= self.room(place) && offset <= self.room(place) - from.len());
        // SAFETY: offset + len <= room, just checked, and the room is mapped.
        let to = unsafe { self.address(place).add(offset) };
        // SAFETY: as above; `to` starts `from.len()` mapped bytes.
        unsafe { copy_in(to, from) };
    }

    /// Copies to `to` from a place, behind `offset`.
    #[inline]
    pub(crate) fn read(&self, place: Place, offset: usize, to: &mut [u8]) {
        assert!(to.len() <= self.room(place) && offset <= self.room(place) - to.len());
        // SAFETY: offset + len <= room, just checked, and the room is mapped.
        let from = unsafe { self.address(place).add(offset) };
        // SAFETY: as above; `to` is a slice of that length.
        unsafe { copy_out(from, to.as_mut_ptr(), to.len()) };
    }

    /// Appends `len` bytes of a place, behind `offset`, to memory that `to` has reserved.
    pub(crate) fn append(&self, place: Place, offset: usize, len: usize, to: &mut Vec<u8>) {
        assert!(len <= self.room(place) && offset <= self.room(place) - len);
        assert!(len <= to.capacity() - to.len());
        // SAFETY: offset + len <= room, checked above, and the room is mapped.
        let from = unsafe { self.address(place).add(offset) };
        let spare = to.spare_capacity_mut().as_mut_ptr().cast();
        // SAFETY: `from` starts `len` mapped bytes, `spare` at least as many of the vector's own.
        unsafe { copy_out(from, spare, len) };
        // SAFETY: those bytes were just written, and are within the capacity.
        unsafe { to.set_len(to.len() + len) };
    }
}

/// Bytes in shared memory that one may copy from.
///
/// Another process can write them at any time, so there is no safe way to a `&[u8]`: what was
/// checked could change before it is used. Copy out what has to be relied on.
///
/// ```
/// # let name = format!("doc-view-{}", std::process::id());
/// # let channel = antiphon::Channel::create(&name)?;
/// # let (mut publisher, mut consumer) = (channel.publisher()?, channel.consumer()?);
/// publisher.publish(b"head and body")?;
/// let message = consumer.consume()?;
/// let mut head = [0; 4];
/// assert_eq!(message.view().copy_to(0, &mut head), 4);
/// assert_eq!(&head, b"head");
/// # Ok::<(), antiphon::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct View<'a> {
    memory: &'a Memory,
    place: Place,
    offset: usize,
    len: usize,
}

impl<'a> View<'a> {
    pub(crate) fn new(memory: &'a Memory, place: Place, offset: usize, len: usize) -> Self {
        assert!(len <= memory.room(place) && offset <= memory.room(place) - len);
        View { memory, place, offset, len }
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies the bytes from `offset` on to `to`, and returns how many that were: fewer than
    /// `to` has room for where the view ends before.
    pub fn copy_to(&self, offset: usize, to: &mut [u8]) -> usize {
        let len = to.len().min(self.len.saturating_sub(offset));
        if len > 0 {
            self.memory.read(self.place, self.offset + offset, &mut to[..len]);
        }
        len
    }

    /// A copy of all of them.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len);
        self.memory.append(self.place, self.offset, self.len, &mut bytes);
        bytes
    }

    /// The bytes in place.
    ///
    /// # Safety
    /// Every process that can map this region keeps the protocol for as long as the slice lives.
    pub unsafe fn as_slice(&self) -> &'a [u8] {
        // SAFETY: `new` checked that the range lies within the room.
        let start = unsafe { self.memory.address(self.place).add(self.offset) };
        // SAFETY: mapped for as long as the memory is borrowed, and by the caller's word nobody
        // writes to it: the turn is this side's.
        unsafe { std::slice::from_raw_parts(start, self.len) }
    }
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("len", &self.len).finish_non_exhaustive()
    }
}

/// Bytes in shared memory that one may write to.
pub(crate) struct ViewMut<'a> {
    memory: &'a Memory,
    place: Place,
    len: usize,
    exclusive: PhantomData<&'a mut [u8]>,
}

impl<'a> ViewMut<'a> {
    pub(crate) fn new(memory: &'a Memory, place: Place, len: usize) -> Self {
        assert!(len <= memory.room(place));
        ViewMut { memory, place, len, exclusive: PhantomData }
    }

    /// Copies `from` behind `offset`, and returns how many bytes there was room for.
    pub(crate) fn copy_from(&mut self, offset: usize, from: &[u8]) -> usize {
        let len = from.len().min(self.len.saturating_sub(offset));
        if len > 0 {
            self.memory.write(self.place, offset, &from[..len]);
        }
        len
    }

    /// The bytes in place.
    ///
    /// # Safety
    /// Every process that can map this region keeps the protocol for as long as the slice lives.
    pub(crate) unsafe fn into_mut_slice(self) -> &'a mut [u8] {
        // SAFETY: mapped for as long as the memory is borrowed, `len` was checked against the room,
        // and by the caller's word nobody else touches it: the turn is this side's.
        unsafe { std::slice::from_raw_parts_mut(self.memory.address(self.place), self.len) }
    }
}

/// Private bytes in several pieces, read from the front.
#[derive(Clone, Copy)]
pub(crate) struct Gather<'a> {
    pieces: &'a [IoSlice<'a>],
    /// How much of the first piece has been read.
    skip: usize,
}

impl<'a> Gather<'a> {
    pub(crate) fn new(pieces: &'a [IoSlice<'a>]) -> Self {
        Gather { pieces, skip: 0 }
    }

    /// What was not read yet, but for the part of the first piece that was.
    #[inline]
    pub(crate) fn pieces(&self) -> &'a [IoSlice<'a>] {
        self.pieces
    }

    /// The sum of all pieces; `None` where it does not fit.
    #[inline]
    pub(crate) fn len(&self) -> Option<usize> {
        self.pieces.iter().try_fold(0usize, |sum, piece| sum.checked_add(piece.len()))
    }

    /// Hands the next `len` bytes to `to`, piece by piece, each with its offset.
    #[inline]
    pub(crate) fn take(&mut self, len: usize, mut to: impl FnMut(usize, &[u8])) {
        let mut done = 0;
        while done < len {
            let Some((first, rest)) = self.pieces.split_first() else { return };
            let piece = &first[self.skip..];
            let now = piece.len().min(len - done);
            to(done, &piece[..now]);
            done += now;
            if now == piece.len() {
                self.pieces = rest;
                self.skip = 0;
            } else {
                self.skip += now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gather_hands_out_every_byte_once_and_in_order() {
        let pieces =
            [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cdefg"), IoSlice::new(b"h")];
        for step in 1..=9 {
            let mut gather = Gather::new(&pieces);
            assert_eq!(gather.len(), Some(8));
            let mut all = Vec::new();
            while all.len() < 8 {
                let at = all.len();
                gather.take(step, |offset, piece| {
                    assert_eq!(at + offset, all.len());
                    all.extend_from_slice(piece);
                });
            }
            assert_eq!(all, b"abcdefgh", "step {step}");
        }
    }
}
