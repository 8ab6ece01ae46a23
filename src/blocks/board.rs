//! A side's board: what is new for it, and how many of it sleep, in one word.
//!
//! ```text
//! bits 0..8    block     the one that became available last
//! bit 8        over      the file is ending, or cancelled
//! bits 9..24   armed     how many are about to sleep, or sleep, and were not called yet
//! bits 24..64  count     one more with every notice
//! ```
//!
//! Whoever makes a block available to a side puts up a notice on its board: one more, and which block. So who waits
//! looks at one word and not at all blocks, and goes to the right one first: readers to what was completed last, writers
//! to what was freed last, which is in the cache.
//!
//! All of a side wait for the same thing, so any of them may be woken for it, and a token is nobody's in particular.
//! [`bell`](crate::bell) says how one sleeps. To **arm** is to count oneself in, by a compare-and-swap from the notice
//! after which one has looked at everything. Whoever puts up a notice counts one out, if there is one, in the same
//! operation, and posts one token. To **disarm** is to count oneself out; where nobody is counted in, somebody has
//! called, and a token is due.
//!
//! | edge | release | acquire | carries |
//! |---|---|---|---|
//! | `notice` | `Board::notify` | `Board::look`, `Board::notify` | that there is something to be found |
//!
//! **No lost wake-up.** A sleeper looks at the board, then at everything, then arms from what the board said. Every
//! change of one word is totally ordered with every other: a notice comes either before what the board said, and then
//! it was found by the look; or before the arming, which then fails; or after it, and then it counts one out and posts.
//! Every change is a read-modify-write, so that none cuts off what an earlier one has released.
//!
//! **Tokens and armings are never fewer than sleepers.** Every sleeper that is armed has one of the two: the arming
//! that it made, or a token that was posted when it was counted out. Tokens can be mixed up, and armings with them, but
//! the sum stays: so something that is available is never left to a sleeper that nobody will call. What is lost with a
//! process that dies (between counting one out and posting) is made good at the next tick: who wakes without a token
//! and finds nobody armed arms again. What is left over (who dies asleep: an arming too many) costs one token, which
//! costs its finder a look.

use crate::sys::cell::Cell;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

const BLOCK: u64 = 0xff;
const OVER: u64 = 1 << 8;
const ARMED_SHIFT: u32 = 9;
const ONE_ARMED: u64 = 1 << ARMED_SHIFT;
const ARMED: u64 = 0x7fff << ARMED_SHIFT;
const ONE_NOTICE: u64 = 1 << 24;

/// A value of the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Notice(u64);

impl Notice {
    /// The block that became available last.
    #[inline]
    pub(crate) fn block(self) -> usize {
        (self.0 & BLOCK) as usize
    }

    #[inline]
    pub(crate) fn is_over(self) -> bool {
        self.0 & OVER != 0
    }

    /// Whether nothing was put up in between.
    #[inline]
    pub(crate) fn is_as_new_as(self, other: Notice) -> bool {
        (self.0 ^ other.0) & !ARMED == 0
    }

    fn armed(self) -> u64 {
        self.0 & ARMED
    }
}

/// One side's.
pub(crate) struct Board<'a, C>(pub(crate) &'a C);

impl<C: Cell> Board<'_, C> {
    #[inline]
    pub(crate) fn look(&self) -> Notice {
        // EDGE notice (acquire): what was made available until then.
        Notice(self.0.load(Acquire))
    }

    /// Puts up a notice. Returns the one before; whether somebody is to be rung for.
    #[inline]
    pub(crate) fn notify(&self, block: usize, is_over: bool) -> (Notice, bool) {
        // Relaxed: looked at by the exchange.
        let mut now = Notice(self.0.load(Relaxed));
        loop {
            let calls = now.armed() != 0;
            let kept = now.0 & !BLOCK;
            let next = kept.wrapping_add(ONE_NOTICE).wrapping_sub(if calls { ONE_ARMED } else { 0 });
            let next = next | block as u64 & BLOCK | if is_over { OVER } else { 0 };
            // EDGE notice (acquire): what others made available, for whom this one passes it on.
            // EDGE notice (release): what was made available. Relaxed where it fails: looked at once more.
            match self.0.compare_exchange(now.0, next, AcqRel, Relaxed) {
                Ok(_) => return (now, calls),
                Err(other) => now = Notice(other),
            }
        }
    }

    /// Says that one is about to sleep, having looked at everything after `seen`. False where there is something new.
    /// `is_armed`: one has said so before, and was not woken by a token since.
    pub(crate) fn arm(&self, seen: Notice, is_armed: bool) -> bool {
        self.change(|now| {
            if !now.is_as_new_as(seen) {
                return None;
            }
            let is_counted = (is_armed && now.armed() != 0) || now.armed() == ARMED;
            Some(if is_counted { now.0 } else { now.0 + ONE_ARMED })
        })
    }

    /// Takes that back. False where a token is due instead.
    pub(crate) fn disarm(&self) -> bool {
        self.change(|now| (now.armed() != 0).then(|| now.0 - ONE_ARMED))
    }

    fn change(&self, to: impl Fn(Notice) -> Option<u64>) -> bool {
        // Relaxed throughout: the number of the armed carries nothing, and a read-modify-write passes on what was
        // released.
        let mut now = Notice(self.0.load(Relaxed));
        while let Some(next) = to(now) {
            match self.0.compare_exchange(now.0, next, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(other) => now = Notice(other),
            }
        }
        false
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn one_arms_from_what_one_has_seen_and_not_from_something_older() {
        let word = AtomicU64::new(0);
        let board = Board(&word);
        let seen = board.look();
        assert!(board.arm(seen, false) && board.arm(seen, true));
        assert_eq!(board.look().armed(), ONE_ARMED);
        assert_eq!(board.notify(7, false), (Notice(ONE_ARMED), true));
        assert!(!board.arm(seen, false) && !board.disarm());
        let seen = board.look();
        assert_eq!((seen.block(), seen.is_over(), seen.armed()), (7, false, 0));
        assert!(board.arm(seen, false) && board.arm(seen, false) && board.disarm() && board.disarm());
        assert!(!board.notify(255, true).1 && board.look().is_over() && board.look().block() == 255);
    }
}
