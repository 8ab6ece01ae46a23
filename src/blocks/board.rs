//! A side's board: who of it waits, and what is new for them, in one word.
//!
//! ```text
//! bits 0..8    block     the one that the last notice was about
//! bit 8        over      the file is ending, or cancelled
//! bits 9..24   armed     how many are about to sleep, or sleep, and were not called yet
//! bit 24       watched   somebody looks at the board, and at nothing else
//! bits 25..64  count     one more with every notice
//! ```
//!
//! Whoever makes a block available to a side looks at its board. While nobody waits it says nothing, and is not written
//! to; so two sides that keep each other busy share nothing but their blocks. Where it is watched, or somebody is
//! armed, or the file is ending, a **notice** is put up: one more, about which block, watched no longer, and one of the
//! armed counted out, who is posted a token.
//!
//! Who waits looks at the blocks themselves for a while. Then it **watches**: says so, looks at all blocks once more, and
//! from then on at the board alone until there is a notice. To sleep it **arms**: counts itself in, and looks at all
//! blocks once more. To **disarm** is to count oneself out; where nobody is counted in, somebody has called, and a token
//! is due. All of a side wait for the same thing, so any of them may be woken for it, and a token is nobody's in
//! particular; [`bell`](crate::bell) says how one sleeps.
//!
//! | edge | release | acquire | carries |
//! |---|---|---|---|
//! | `notice` | `Board::change`; `Board::is_wanted`, by its fence | `Board::look`; `Board::watch`, `Board::arm`, by their fences | what was made available until then, and that the file has ended |
//!
//! **Nothing is missed.** Who waits changes the board, fences, and looks at the blocks; who makes a block available
//! changes its word, fences, and looks at the board. Of the two fences one comes first. If the waiter's, the other sees
//! that it waits, or that somebody has put up a notice since; if the other's, the waiter's look finds the block, or that
//! somebody was quicker.
//!
//! **Tokens and armings are never fewer than sleepers.** Every sleeper that is armed has one of the two: the arming
//! that it made, or a token that was posted when it was counted out. Tokens can be mixed up, and armings with them, but
//! the sum stays: so something that is available is never left to a sleeper that nobody will call. What is lost with a
//! process that dies (between counting one out and posting) is made good at the next tick: who wakes without a token
//! and finds nobody armed arms again. What is left over (who dies asleep: an arming too many) costs one token, which
//! costs its finder a look; and a board that is watched by nobody costs one notice.

use crate::sys::cell::Cell;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

const BLOCK: u64 = 0xff;
const OVER: u64 = 1 << 8;
const ONE_ARMED: u64 = 1 << 9;
const ARMED: u64 = 0x7fff << 9;
const WATCHED: u64 = 1 << 24;
const ONE_NOTICE: u64 = 1 << 25;

/// The most tokens that are ever due: one for each that was armed, and one that it owes.
pub(crate) const MOST_TOKENS: u32 = 2 * (ARMED / ONE_ARMED) as u32;

/// A value of the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Notice(u64);

impl Notice {
    /// The block that the last notice was about.
    #[inline]
    pub(crate) fn block(self) -> usize {
        (self.0 & BLOCK) as usize
    }

    #[inline]
    pub(crate) fn is_over(self) -> bool {
        self.0 & OVER != 0
    }

    /// Whether no notice was put up in between.
    #[inline]
    pub(crate) fn is_as_new_as(self, other: Notice) -> bool {
        self.0 / ONE_NOTICE == other.0 / ONE_NOTICE
    }

    /// Whether anybody would go by a notice.
    #[inline]
    fn is_wanted(self) -> bool {
        self.0 & (OVER | ARMED | WATCHED) != 0
    }

    fn armed(self) -> u64 {
        self.0 & ARMED
    }

    /// How many sleep, or are about to, and were not called yet.
    pub(crate) fn asleep(self) -> u64 {
        self.armed() / ONE_ARMED
    }
}

/// One side's.
pub(crate) struct Board<'a, C>(pub(crate) &'a C);

impl<C: Cell> Board<'_, C> {
    #[inline]
    pub(crate) fn look(&self) -> Notice {
        // UNSEEN notice: who goes by a notice and does not see what it is about looks on, and once more at all blocks behind
        // the fence of its next watching: looks are lost, and nothing else.
        // EDGE notice (acquire): what was made available until then.
        Notice(self.0.load(Acquire))
    }

    /// Looks after a change that somebody may go on by: whether to put up a notice of it.
    #[inline]
    pub(crate) fn is_wanted(&self) -> bool {
        // EDGE notice (release): by the fence, what was made available. Partner: the fences in `watch` and `arm`; store,
        // then load, on both sides.
        C::fence_after_change(SeqCst);
        // Relaxed: after the fence.
        Notice(self.0.load(Relaxed)).is_wanted()
    }

    /// Puts up a notice. Returns the value before, and whether somebody is to be rung for.
    pub(crate) fn notify(&self, block: usize, is_over: bool) -> (Notice, bool) {
        let before = self.change(|now| {
            let armed = now.armed().saturating_sub(ONE_ARMED);
            let kept = now.0 & !(BLOCK | ARMED | WATCHED);
            Some(kept.wrapping_add(ONE_NOTICE) | armed | block as u64 & BLOCK | if is_over { OVER } else { 0 })
        });
        match before {
            Ok(before) | Err(before) => (before, before.armed() != 0),
        }
    }

    /// Says that one looks at nothing else from now on; then one has to look at all blocks. The value that stands there.
    pub(crate) fn watch(&self) -> Notice {
        let now = self.look();
        let is_watched = now.0 & WATCHED != 0;
        // EDGE notice (acquire): by the fence that follows, whoever watched it first. Relaxed: as above.
        let now = if is_watched { now } else { Notice(self.0.fetch_or(WATCHED, Relaxed)) };
        // Partner: the fence in `is_wanted`. Also where it was watched before: by somebody else, who fences for itself.
        C::fence(SeqCst);
        now
    }

    /// Says that one is about to sleep; then one has to look at all blocks. `is_armed`: one has said so before, and was
    /// not woken by a token since.
    pub(crate) fn arm(&self, is_armed: bool) {
        let _ = self.change(|now| {
            let is_counted = (is_armed && now.armed() != 0) || now.armed() == ARMED;
            (!is_counted).then(|| now.0 + ONE_ARMED)
        });
        // Partner: the fence in `is_wanted`.
        C::fence(SeqCst);
    }

    /// Takes that back. False where a token is due instead.
    pub(crate) fn disarm(&self) -> bool {
        self.change(|now| (now.armed() != 0).then(|| now.0 - ONE_ARMED)).is_ok()
    }

    /// The value before, as a failure where nothing was to be changed.
    #[inline]
    fn change(&self, to: impl Fn(Notice) -> Option<u64>) -> Result<Notice, Notice> {
        // Relaxed: looked at by the exchange, or not gone by.
        let mut now = Notice(self.0.load(Relaxed));
        while let Some(next) = to(now) {
            // EDGE notice (release): what was made available, and what others have released here, since an exchange goes on
            // with that. What an arming acquires, it acquires by its fence. Relaxed where it fails: looked at once more.
            match self.0.compare_exchange(now.0, next, Release, Relaxed) {
                Ok(_) => return Ok(now),
                Err(other) => now = Notice(other),
            }
        }
        Err(now)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn a_notice_is_wanted_by_who_watches_or_is_armed_and_takes_that_away() {
        let word = AtomicU64::new(0);
        let board = Board(&word);
        assert!(!board.is_wanted());
        let seen = board.watch();
        assert!(board.is_wanted());
        let (before, rings) = board.notify(7, false);
        assert!(before.is_as_new_as(seen) && !rings && !board.is_wanted());
        assert!(!board.look().is_as_new_as(seen) && board.look().block() == 7);
        board.arm(false);
        board.arm(true);
        assert_eq!(board.look().armed(), ONE_ARMED);
        board.arm(false);
        assert!(board.notify(255, false).1 && board.is_wanted() && board.disarm() && !board.disarm());
        assert!(!board.is_wanted());
        // Somebody was counted out whose token is lost.
        board.arm(true);
        assert_eq!(board.look().armed(), ONE_ARMED);
        assert!(board.notify(3, true).1 && !board.notify(4, false).1);
        assert!(board.is_wanted() && board.look().is_over() && board.look().block() == 4);
    }
}
