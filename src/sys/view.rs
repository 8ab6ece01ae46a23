//! Bytes in shared memory, for users; and private bytes in several pieces.

#![allow(unsafe_code)] // One of the homes of unsafe, see CONTRIBUTING.

use super::copy::Target;
use super::region::Mapping;
use super::run::Run;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;

/// What is copied in at once: from the length of the nearer caches on, `memcpy` copies in another way, which is slower
/// for what the other end reads next.
const PIECE: usize = 64 << 10;

/// Bytes in shared memory that one may copy from.
///
/// Another process can write them at any time, so there is no safe way to a `&[u8]`: what was checked could change
/// before it is used. Copy out what has to be relied on.
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
    mapping: &'a Mapping,
    offset: usize,
    len: usize,
    /// What the copies from this view are part of, if of anything longer, and where in that it begins.
    run: Option<(&'a Run, u64)>,
}

impl<'a> View<'a> {
    /// Writes all of it to a file: from `at` on, or wherever the file's own position is.
    pub(crate) fn write_to(&self, from: usize, len: usize, file: impl AsFd, at: Option<u64>) -> io::Result<()> {
        assert!(len <= self.len && from <= self.len - len);
        let mut done = 0;
        while done < len {
            let to = at.map(|at| at.saturating_add(done as u64));
            match self.mapping.write_file(self.offset + from + done, len - done, &file, to)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                went => done += went,
            }
        }
        Ok(())
    }

    pub(crate) fn new(mapping: &'a Mapping, offset: usize, len: usize) -> Self {
        assert!(len <= mapping.len() && offset <= mapping.len() - len);
        View { mapping, offset, len, run: None }
    }

    /// The same, one of several that an end has one after the other: at this position of the whole.
    pub(crate) fn of_run(self, run: &'a Run, position: u64) -> Self {
        View { run: Some((run, position)), ..self }
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies the bytes from `offset` on to `to`, and returns how many that were: fewer than `to` has room for where
    /// the view ends before.
    pub fn copy_to(&self, offset: usize, to: &mut [u8]) -> usize {
        let len = to.len().min(self.len.saturating_sub(offset));
        if len > 0 {
            let to = &mut to[..len];
            let next = |(run, position): (&Run, u64)| run.next(to, position.wrapping_add(offset as u64));
            let target = self.run.map_or(Target::Cache, next);
            self.mapping.read_past(self.offset + offset, to, target);
        }
        len
    }

    /// A copy of all of them.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len);
        self.mapping.append(self.offset, self.len, &mut bytes);
        bytes
    }

    /// Where the first of the bytes stands, for other languages: mapped for as long as what the view was taken from is
    /// in hand. Another process can write them at any time, and without its word nobody may make a reference of this.
    pub fn as_ptr(&self) -> *const u8 {
        self.mapping.at(self.offset, self.len)
    }

    /// The bytes in place.
    ///
    /// # Safety
    /// Every process that can map this region keeps the protocol for as long as the slice lives.
    pub unsafe fn as_slice(&self) -> &'a [u8] {
        // SAFETY: `new` checked the range; mapped for as long as it is borrowed; and by the caller's word nobody
        // writes to it: the turn is this side's.
        unsafe { std::slice::from_raw_parts(self.mapping.at(self.offset, self.len), self.len) }
    }
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("len", &self.len).finish_non_exhaustive()
    }
}

/// Bytes in shared memory that one may write to: nobody else does, as long as the peer keeps to it.
pub(crate) struct ViewMut<'a> {
    mapping: &'a Mapping,
    offset: usize,
    len: usize,
}

impl<'a> ViewMut<'a> {
    /// Reads from a file to what is behind `from`, until that is full or the file ends; from `at` on, or from wherever
    /// the file's own position is. Returns how many bytes came.
    pub(crate) fn read_from(
        &mut self,
        from: usize,
        len: usize,
        file: impl AsFd,
        at: Option<u64>,
    ) -> io::Result<usize> {
        assert!(len <= self.len && from <= self.len - len);
        let mut done = 0;
        while done < len {
            let at = at.map(|at| at.saturating_add(done as u64));
            match self.mapping.read_file(self.offset + from + done, len - done, &file, at)? {
                0 => break,
                came => done += came,
            }
        }
        Ok(done)
    }

    pub(crate) fn new(mapping: &'a Mapping, offset: usize, len: usize) -> Self {
        assert!(len <= mapping.len() && offset <= mapping.len() - len);
        ViewMut { mapping, offset, len }
    }

    /// Copies `from` behind `offset`, and returns how many bytes there was room for.
    pub(crate) fn copy_from(&mut self, offset: usize, from: &[u8]) -> usize {
        let len = from.len().min(self.len.saturating_sub(offset));
        for (number, piece) in from[..len].chunks(PIECE).enumerate() {
            self.mapping.write(self.offset + offset + number * PIECE, piece);
        }
        len
    }

    /// Where the first of the bytes stands.
    pub(crate) fn into_ptr(self) -> *mut u8 {
        self.mapping.at(self.offset, self.len)
    }

    /// The bytes in place.
    ///
    /// # Safety
    /// Every process that can map this region keeps the protocol for as long as the slice lives, and nobody in this
    /// one has another view of them.
    pub(crate) unsafe fn into_mut_slice(self) -> &'a mut [u8] {
        // SAFETY: `new` checked the range; mapped for as long as it is borrowed; the rest is the caller's word.
        unsafe { std::slice::from_raw_parts_mut(self.mapping.at(self.offset, self.len), self.len) }
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
        let pieces = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cdefg"), IoSlice::new(b"h")];
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
