//! What either side does with the blocks, and who is rung for it: words, sleepers and bells together.
//!
//! | what was done | who may go on by it |
//! |---|---|
//! | a block is complete, or put back | a reader |
//! | a block is free, or let go of | a writer |
//! | one of these while the file is ending | the other side too: it may wait for the end itself |
//! | the file is ending, or cancelled | everybody |
//!
//! One of a side is rung at a time. Where everybody may go on, each that does rings the next of its own side, so that
//! nobody has to count those who sleep.

use super::sleepers::Sleepers;
use super::word::{Adopted, Last, Over, Owner, State, Stolen, Table, Word};
use crate::bell::Ring;
use crate::steps::step;
use crate::sys::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;

/// One of the two sides of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Writers = 0,
    Readers = 1,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Side::Writers => Side::Readers,
            Side::Readers => Side::Writers,
        }
    }
}

/// A block that one has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) block: usize,
    /// Somebody had it before.
    pub(crate) again: bool,
}

/// There is no block, and there will be none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Writers: no range is given any more. Readers: everything was read.
    Ended,
    Cancelled,
}

/// A file as one owner sees it.
pub(crate) struct Hall<'a, C, R> {
    pub(crate) table: Table<'a, C>,
    /// By side.
    pub(crate) armed: [&'a C; 2],
    pub(crate) bells: [R; 2],
    /// By side: changes whenever a block may have become adoptable.
    pub(crate) loose: [&'a C; 2],
    pub(crate) me: Owner,
}

impl<C: Cell, R: Ring> Hall<'_, C, R> {
    pub(crate) fn sleepers(&self, side: Side) -> Sleepers<'_, C> {
        Sleepers(self.armed[side as usize])
    }

    /// Wakes one of a side, after a change that it may go on by.
    #[inline]
    pub(crate) fn ring(&self, side: Side) {
        if self.sleepers(side).call() {
            step!("block:called");
            self.bells[side as usize].post();
        }
    }

    /// After a change that `side` may go on by, and the other one too if it waits for the end.
    #[inline]
    fn ring_for(&self, side: Side) {
        self.ring(side);
        if self.table.last().is_over() {
            self.ring(side.other());
        }
    }

    // ---- Writers ----

    /// A block to be filled, with its range. `is_gone` is asked of owners; what somebody let go of goes first.
    pub(crate) fn claim(
        &self,
        chosen: Option<u64>,
        look_around: bool,
        mut is_gone: impl FnMut(Owner) -> bool,
    ) -> Option<Result<Got, End>> {
        loop {
            // Before looking: what somebody lets go of and then ends is found.
            let last = self.table.last();
            if last.is_cancelled() {
                return Some(Err(End::Cancelled));
            }
            if look_around || last.is_ending() {
                if let Some(got) = self.adopt_claimed(chosen, &mut is_gone) {
                    return Some(Ok(got));
                }
            }
            if last.is_ending() {
                return Some(Err(End::Ended));
            }
            // The first ones first: where readers keep up, few blocks are in use, and those are in the cache.
            let mut blocks = 0..self.table.records.len();
            let block = blocks
                .find(|&block| self.table.look(block).state() == State::Free && self.table.claim(block, self.me))?;
            step!("claim:claimed");
            if let Some(got) = self.give_range(block, chosen) {
                return Some(Ok(got));
            }
        }
    }

    /// Gives a block that was claimed without one its range, unless the file is ending: then it is free again.
    fn give_range(&self, block: usize, chosen: Option<u64>) -> Option<Got> {
        let ranged = match chosen {
            Some(offset) => self.table.choose(block, offset),
            None => self.table.assign(block).map(drop),
        };
        match ranged {
            Ok(()) => Some(Got { block, again: false }),
            Err(Over) => {
                let _ = self.table.abstain(block, self.me);
                self.ring_for(Side::Writers);
                None
            }
        }
    }

    fn adopt_claimed(&self, chosen: Option<u64>, is_gone: &mut impl FnMut(Owner) -> bool) -> Option<Got> {
        for (block, seen) in self.states().enumerate() {
            match seen.state() {
                State::Claimed(owner) if owner == Owner::NOBODY || (owner != self.me && is_gone(owner)) => {}
                _ => continue,
            }
            let got = match self.table.adopt_claimed(block, seen, self.me) {
                Some(Adopted::Ranged { again }) => Some(Got { block, again }),
                Some(Adopted::Bare) => self.give_range(block, chosen),
                None => None, // Somebody was quicker.
            };
            if got.is_some() {
                return got;
            }
        }
        None
    }

    /// Hands a filled block on.
    #[inline]
    pub(crate) fn complete(&self, block: usize, len: u64) -> Result<(), Stolen> {
        self.table.complete(block, len, self.me)?;
        step!("complete:passed");
        self.ring_for(Side::Readers);
        Ok(())
    }

    /// There is nothing in it, and nothing is missing without it.
    pub(crate) fn abstain(&self, block: usize) -> Result<(), Stolen> {
        self.table.abstain(block, self.me)?;
        self.ring_for(Side::Writers);
        Ok(())
    }

    /// Lets go of a block that was not filled.
    pub(crate) fn let_go(&self, block: usize) -> Result<(), Stolen> {
        self.table.let_go(block, self.me)?;
        self.loosen(Side::Writers);
        self.ring_for(Side::Writers);
        Ok(())
    }

    /// The file is ending.
    pub(crate) fn end(&self) -> Last {
        let before = self.table.end();
        step!("finish:ending");
        self.ring(Side::Readers);
        self.ring(Side::Writers);
        before
    }

    pub(crate) fn cancel(&self) -> Last {
        let before = self.table.cancel();
        self.ring(Side::Readers);
        self.ring(Side::Writers);
        before
    }

    /// Whether any block is still to be filled.
    pub(crate) fn is_being_filled(&self) -> bool {
        self.states().any(|word| matches!(word.state(), State::Claimed(_)))
    }

    // ---- Readers ----

    /// A complete block; of several the one that is first in the file.
    pub(crate) fn take(&self, look_around: bool, is_gone: impl FnMut(Owner) -> bool) -> Option<Result<Got, End>> {
        let last = self.table.last();
        if last.is_cancelled() {
            return Some(Err(End::Cancelled));
        }
        if look_around {
            if let Some(got) = self.adopt_taken(is_gone) {
                return Some(Ok(got));
            }
        }
        loop {
            let mut first: Option<(u64, usize, Word)> = None;
            let mut is_drained = true;
            for (block, word) in self.states().enumerate() {
                is_drained &= word.state() == State::Free;
                if word.state() == State::Complete {
                    // Relaxed: a choice; what it is, is looked at once it is taken.
                    let offset = self.table.records[block].offset.load(Relaxed);
                    if first.is_none_or(|(least, _, _)| offset < least) {
                        first = Some((offset, block, word));
                    }
                }
            }
            let Some((_, block, word)) = first else {
                return (is_drained && last.is_ending()).then_some(Err(End::Ended));
            };
            if self.table.take(block, word, self.me) {
                step!("take:taken");
                return Some(Ok(Got { block, again: word.is_again() }));
            }
        }
    }

    fn adopt_taken(&self, mut is_gone: impl FnMut(Owner) -> bool) -> Option<Got> {
        for (block, word) in self.states().enumerate() {
            if let State::Taken(owner) = word.state() {
                if owner != self.me && is_gone(owner) && self.table.adopt_taken(block, word, self.me) {
                    return Some(Got { block, again: true });
                }
            }
        }
        None
    }

    /// Done with a block.
    #[inline]
    pub(crate) fn free(&self, block: usize) -> Result<(), Stolen> {
        self.table.free(block, self.me)?;
        step!("free:passed");
        self.ring_for(Side::Writers);
        Ok(())
    }

    /// Lets go of a block that was not read.
    pub(crate) fn put_back(&self, block: usize) -> Result<(), Stolen> {
        self.table.put_back(block, self.me)?;
        self.ring_for(Side::Readers);
        Ok(())
    }

    // ---- Both ----

    fn states(&self) -> impl Iterator<Item = Word> + '_ {
        (0..self.table.records.len()).map(|block| self.table.look(block))
    }

    /// Says that a side may find something to adopt.
    pub(crate) fn loosen(&self, side: Side) {
        let loose = self.loose[side as usize];
        // Relaxed: that it changes is all; who misses it looks a tick later. Two who change it at once change it.
        loose.store(loose.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// What `loosen` changes.
    #[inline]
    pub(crate) fn looseness(&self, side: Side) -> u64 {
        // Relaxed: as above.
        self.loose[side as usize].load(Relaxed)
    }
}
