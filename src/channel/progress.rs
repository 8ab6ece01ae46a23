//! Progress: how far two ends have come with bytes that flow from one to the other.
//!
//! A long message *flows* where the other end waits to copy it out: one end fills a ring in the payload while the other
//! drains it, so that both copy at once, and so that what is under way stays in the processors' caches. A long reply
//! always flows. Each end counts its bytes on a line of its own:
//!
//! ```text
//! drained <= filled <= drained + ring        of the payload, from drained to filled is the drainer's, the rest the filler's
//! ```
//!
//! The turn is the *drainer's* all the while: whoever begins the flow sets both counts to 0, passes the turn to the
//! drainer, and then fills.
//!
//! # States
//!
//! | the word | filler | drainer | left by |
//! |---|---|---|---|
//! | `Flow`, `CallFlow`, `ReplyFlow`, at the flow's step | fills, waits for room, or has filled all | drains, or waits for bytes | the drainer's passing; *abandoned* |
//! | the same, *abandoned* by the filler, or for a dead one by its successor | writes no more | drains what there is, then stops | the drainer's passing |
//! | the same, *recalled* | as before, if it was taken | as before, if it was taken | as before; if it was not taken, see `turn.rs` |
//! | a later step | writes no more | has stopped | |
//!
//! # Hand-overs
//!
//! | edge | release | acquire | carries |
//! |---|---|---|---|
//! | `progress` | `Progress::advance` | `Progress::theirs` | filler to drainer the bytes; drainer to filler that they were copied |
//! | `asleep` | `Progress::arm`, fence | `Progress::advance`, fence | that the other sleeps |
//!
//! # Why it is right
//!
//! **One owner of every byte.** The filler writes at `filled` only where `filled - drained < ring`, with a `drained`
//! that it acquired: whatever the drainer had to read there, it has read. The drainer reads below a `filled` that it
//! acquired. Each count has one writer and never falls; each end computes its place from its own count, and checks the
//! other's before it believes it. The turn leaves a flow in one way only: *to the filler's own end*. It is passed by
//! the drainer, which has stopped then; or taken back by the filler from a drainer that never was (`recall`). So a
//! filler that finds its turn, or gives up by *abandoned*, knows that it alone touches the payload. The drainer's seat
//! may be taken over: then the word is passed to the filler's end too. The filler's seat may be taken over: the dead
//! one writes no more, and its successor writes nothing before the turn is its own. Where the drainer's successor
//! would own the turn (a caller's, whose reply still flows) it passes it on to the filler's end at once.
//!
//! **No lost wake-up.** Progress is not on the word, so arming cannot fail for it: each end stores, then loads. Whoever
//! advances stores its count, fences, and reads the sleep bits; the sleeper sets its bit, fences, and reads the count.
//! Of two sequentially consistent fences one comes first: so either the sleeper sees the progress, or the other one
//! sees the bit, takes it and posts. The end of a flow is a change of the word, which arming does not survive; giving
//! up takes the bit and posts.

use super::turn::{Side, Turn, Word, wake};
use crate::sys::cell::Cell;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

/// One flow, as one of its ends sees it.
pub(crate) struct Progress<'m, C> {
    pub(crate) word: &'m C,
    /// What this end counts.
    pub(crate) mine: &'m C,
    /// What the other end counts.
    pub(crate) others: &'m C,
    pub(crate) side: Side,
    /// The step by which the flow was passed.
    pub(crate) step: u64,
}

impl<C: Cell> Progress<'_, C> {
    /// Says how far this end has come. True where the other one sleeps: then its bell is to be rung.
    #[inline]
    pub(crate) fn advance(&self, bytes: u64) -> bool {
        // EDGE progress (release): publishes what was written, or ends what was read.
        self.mine.store(bytes, Release);
        // EDGE asleep (acquire): by the fence. Partner: the fence in `arm`. Store, then load, on both sides.
        C::fence(SeqCst);
        wake(self.word, self.side.other())
    }

    /// How far the other end has come.
    #[inline]
    pub(crate) fn theirs(&self) -> u64 {
        // EDGE progress (acquire): the bytes, or the room.
        self.others.load(Acquire)
    }

    /// The word, if the flow was ended or given up.
    #[inline]
    pub(crate) fn ended(&self) -> Option<Word> {
        // EDGE pass (acquire): the drainer reads no more, and the payload is this end's.
        // EDGE abandon (acquire): the filler writes no more.
        let word = Word(self.word.load(Acquire));
        (word.step() != self.step || word.is_abandoned()).then_some(word)
    }

    /// Says that this end is about to sleep. False where the flow has ended.
    pub(crate) fn arm(&self) -> bool {
        // Relaxed: the value is only what to compare with.
        let mut seen = Word(self.word.load(Relaxed));
        loop {
            if seen.step() != self.step || seen.is_abandoned() {
                return false;
            }
            // EDGE asleep (release): by the fence. Relaxed: nothing travels with the bit.
            match self.word.compare_exchange(seen.0, seen.0 | self.side.sleeps(), Relaxed, Relaxed) {
                Ok(_) => break,
                Err(changed) => seen = Word(changed),
            }
        }
        // Partner: the fence in `advance`. Store, then load, on both sides.
        C::fence(SeqCst);
        true
    }
}

/// What is waited for in a flow.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// The other end to have drained so much.
    Room(u64),
    /// The other end to have filled so much.
    Bytes(u64),
    /// Anyone to have taken it.
    Taken,
}

/// An end in a flow, and what it needs to go on.
pub(crate) struct InFlow<'m, C> {
    pub(crate) progress: Progress<'m, C>,
    pub(crate) turn: Turn<'m, C>,
    pub(crate) until: Until,
}

impl<C: Cell> InFlow<'_, C> {
    /// How far the other end has come, once that is far enough. Nothing to know (`Some(None)`) where the flow ended
    /// before that.
    #[inline]
    pub(crate) fn look(&self) -> Option<Option<u64>> {
        if let Some(theirs) = self.come() {
            return Some(Some(theirs));
        }
        self.progress.ended()?;
        // Whoever gave it up may have filled the rest before, and ended it after the first look.
        Some(self.come().filter(|_| matches!(self.until, Until::Bytes(_))))
    }

    #[inline]
    fn come(&self) -> Option<u64> {
        let theirs = self.progress.theirs();
        let has_come = match self.until {
            Until::Room(bytes) | Until::Bytes(bytes) => theirs >= bytes,
            Until::Taken => self.is_taken(),
        };
        has_come.then_some(theirs)
    }

    fn is_taken(&self) -> bool {
        // Relaxed: a hint; nothing is read or written on the strength of it.
        self.turn.taken.load(Relaxed) == self.progress.step
    }

    /// Whether this end waits for a consumer that may never come.
    pub(crate) fn is_untaken(&self) -> bool {
        let is_mine = self.progress.side == Side::Publisher && !matches!(self.until, Until::Bytes(_));
        is_mine && !self.is_taken() && self.progress.ended().is_none()
    }
}
