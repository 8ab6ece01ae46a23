//! What whoever kept a pointer meets: faults, where the memory is no longer its own.

use super::file::{Role, Shared};
use super::layout::STATE_BYTES;
use crate::error::Error;
use crate::sys::cell::Cell;
use crate::sys::door::Attachment;
use crate::sys::region::page_bytes;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, fence};
use std::sync::{Arc, Mutex, PoisonError};

/// When the memory of a block file can no longer be touched by this process, through a handle of it. For programs that
/// hand pointers to blocks on, to other languages for instance: who keeps one for too long then faults, and does not
/// spoil what another one has in hand. The safe interface needs none of it.
///
/// ```
/// use antiphon::blocks::{BlockFileOptions, FileId, Guard};
///
/// let id = FileId { session: std::process::id().into(), file: 4 };
/// let file = BlockFileOptions::new().guard(Guard::Blocks).create(id, b"guarded")?;
/// let mut space = file.writer()?.claim()?;
/// let pointer = space.as_mut_ptr();
/// space.copy_from(0, b"in hand: nothing new");
/// drop(space);
/// // Whoever writes to `pointer` from here on is killed by SIGSEGV.
/// # let _ = pointer;
/// # file.cancel("only looked at")?;
/// # Ok::<(), antiphon::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Guard {
    /// Never, but that it is unmapped once everything that was made from the handle is gone.
    #[default]
    Off,
    /// All of it once the file is at its end for this handle, and no block of it is in hand. Its addresses are used for
    /// nothing else before the handle is gone.
    Ends,
    /// That, and each block while it is not in hand, for two calls of the system a block. Blocks are then multiples of
    /// the page.
    Blocks,
}

/// How an attachment's guard stands.
pub(super) struct Sentry {
    guard: Guard,
    /// By block, how often it is in hand: once, but for peers that break their word. Empty unless each is guarded.
    in_hand: Mutex<Vec<u32>>,
    /// The file is at its end for this attachment.
    is_at_end: AtomicBool,
    /// All of it was closed. Changed under the lock of the attachment's players.
    is_closed: AtomicBool,
}

impl Sentry {
    pub(super) fn new(guard: Guard, attachment: &Attachment, block_bytes: u64, blocks: usize) -> Result<Self, Error> {
        let mut in_hand = Vec::new();
        if guard == Guard::Blocks {
            let page = page_bytes();
            if block_bytes % page as u64 != 0 {
                let wanted = "multiples of the page, to be guarded one by one";
                return Err(Error::BadOption { option: "block_bytes", given: block_bytes, wanted });
            }
            in_hand.resize(blocks, 0);
            let (region, name) = (&attachment.mapping, attachment.name.as_str());
            let closed = region.protect(0, region.len() - STATE_BYTES, false);
            closed.map_err(|error| Error::system(name, "mprotect", error))?;
        }
        let (is_at_end, is_closed) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Sentry { guard, in_hand: Mutex::new(in_hand), is_at_end, is_closed })
    }

    pub(super) fn guards(&self) -> bool {
        self.guard != Guard::Off
    }
}

impl Shared {
    fn protect(&self, block: usize, is_open: bool) -> Result<(), Error> {
        let protected = self.mapping().protect(block * self.block_bytes(), self.block_bytes(), is_open);
        protected.map_err(|error| Error::system(&self.name().to_string(), "mprotect", error))
    }
}

impl Role {
    /// A block comes into hand, in which `self` is held by now.
    #[inline]
    pub(super) fn open(&self, block: usize) -> Result<(), Error> {
        match self.shared.sentry().guard {
            Guard::Off => Ok(()),
            Guard::Ends => {
                // Partner: `close_all`. Either that sees whoever holds this one, which has counted itself just now, or
                // this sees that all is closed.
                <AtomicU64 as Cell>::fence_after_change(SeqCst);
                match self.shared.sentry().is_closed.load(Relaxed) {
                    true => self.open_again(block),
                    false => Ok(()),
                }
            }
            Guard::Blocks => self.open_one(block),
        }
    }

    #[inline(never)]
    fn open_one(&self, block: usize) -> Result<(), Error> {
        let mut in_hand = self.shared.sentry().in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        if in_hand[block] == 0 {
            self.shared.protect(block, true)?;
        }
        in_hand[block] += 1;
        Ok(())
    }

    /// A block of a file that was at its end: somebody died over it, or breaks the protocol.
    #[cold]
    #[inline(never)]
    fn open_again(&self, block: usize) -> Result<(), Error> {
        let _players = self.shared.players();
        self.shared.protect(block, true)
    }

    /// A block goes out of hand: before anybody else can have it.
    #[inline]
    pub(super) fn close(&self, block: usize) {
        if self.shared.sentry().guard == Guard::Blocks {
            self.close_one(block);
        }
    }

    #[inline(never)]
    fn close_one(&self, block: usize) {
        let mut in_hand = self.shared.sentry().in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        in_hand[block] = in_hand[block].saturating_sub(1);
        if in_hand[block] == 0 {
            // Where it fails the block stays open, as without a guard.
            let _ = self.shared.protect(block, false);
        }
    }

    /// It is gone from whoever had it in hand, in which `self` is still held.
    #[inline]
    pub(super) fn closed(self: &Arc<Self>) {
        let sentry = self.shared.sentry();
        // Relaxed: who sees it late closes nothing, and whoever asks for a block next does.
        if sentry.guard == Guard::Ends && sentry.is_at_end.load(Relaxed) {
            self.close_all(2);
        }
    }

    /// The file is at its end for this attachment.
    #[cold]
    pub(super) fn at_end(self: &Arc<Self>) {
        if self.shared.sentry().guard == Guard::Ends {
            self.note_end();
            self.close_all(1);
        }
    }

    /// The same while a block is in hand.
    pub(super) fn note_end(&self) {
        // Relaxed: as in `closed`.
        self.shared.sentry().is_at_end.store(true, Relaxed);
    }

    /// Closes everything, unless `self` is held by more than `holders`, or the attachment has other players.
    #[cold]
    #[inline(never)]
    fn close_all(self: &Arc<Self>, holders: usize) {
        let sentry = self.shared.sentry();
        let players = self.shared.players();
        if players.iter().sum::<u32>() != 1 || sentry.is_closed.load(Relaxed) {
            return;
        }
        sentry.is_closed.store(true, Relaxed);
        // Partner: `open`.
        fence(SeqCst);
        let data = self.shared.mapping().len() - STATE_BYTES;
        if Arc::strong_count(self) > holders || self.shared.mapping().protect(0, data, false).is_err() {
            sentry.is_closed.store(false, Relaxed);
        }
    }
}
