//! Who sleeps on a side's bell, so that it is rung for them and for nobody else.
//!
//! All that sleep on one bell wait for the same thing: a block of their side. So any of them may be woken for it, and
//! a token is nobody's in particular. [`bell`](crate::bell) says how one sleeps. Its arming is a number here: how many
//! are *armed*, that is, have said that they are about to sleep, and were not rung for yet.
//!
//! * To **arm** adds one, and fences; then the sleeper looks once more.
//! * Whoever makes a block available fences, and looks at the number. If it is not 0, it takes one off and posts one
//!   token ([`Sleepers::call`]).
//! * To **disarm** takes one off; where none is left, somebody has called, and a token is due.
//!
//! **No lost wake-up.** Of the two fences one comes first. If the sleeper's, whoever makes the block available sees it
//! armed, or sees that somebody else has called in between, for another block; if the other's, the sleeper's last look
//! finds the block, or that somebody was quicker.
//!
//! **Tokens and armings are never fewer than sleepers.** Every sleeper that is armed has one of the two: the arming
//! that it made, or a token that was posted when it was taken off. Tokens can be mixed up, and armings with them, but
//! the sum stays: so a block that is available is never left to a sleeper that nobody will call. What is lost with a
//! process that dies (between taking one off and posting) is made good at the next tick: who wakes without a token and
//! finds nobody armed arms again. What is left over (who dies asleep, an arming too many) costs one token, which costs
//! its finder a look.

use crate::sys::cell::Cell;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

/// How many of one side are armed.
pub(crate) struct Sleepers<'a, C>(pub(crate) &'a C);

impl<C: Cell> Sleepers<'_, C> {
    /// Says that one is about to sleep. `is_armed`: one has said so before, and was not woken by a token since.
    pub(crate) fn arm(&self, is_armed: bool) {
        // Relaxed: the number carries nothing; the fence orders it.
        if !is_armed || self.0.load(Relaxed) == 0 {
            self.change(|armed| Some(armed.wrapping_add(1)));
        }
        C::fence_after_change(SeqCst);
    }

    /// Takes that back. False where a token is due instead.
    pub(crate) fn disarm(&self) -> bool {
        self.change(|armed| armed.checked_sub(1))
    }

    /// Whether somebody is to be rung for, after a change that made something available.
    #[inline]
    pub(crate) fn call(&self) -> bool {
        C::fence_after_change(SeqCst);
        // Relaxed: after the fence.
        self.0.load(Relaxed) != 0 && self.disarm()
    }

    fn change(&self, to: impl Fn(u64) -> Option<u64>) -> bool {
        // Relaxed throughout: as in `arm`.
        let mut now = self.0.load(Relaxed);
        while let Some(next) = to(now) {
            match self.0.compare_exchange(now, next, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        false
    }
}
