//! What either side does with the blocks, and who is rung for it: words, boards and bells together.
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

use super::board::{Board, Notice};
use super::word::{Adopted, Last, Over, Owner, State, Stolen, Table, Word};
use crate::bell::Ring;
use crate::steps::step;
use crate::sys::cell::Cell;
use std::collections::VecDeque;
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

/// Looks in vain, at the blocks themselves, before one watches the board: about as many as a quick answer takes.
const LOOKS: u32 = if cfg!(loom) { 2 } else { 48 };
/// Of so many of them one is at all blocks, and the others at the one that is to come.
const LOOKS_AT_ONE: u32 = 16;
/// Blocks of a file that are no more than this together are used one after the other: all of them are in the cache.
/// Where they are more, few of them are used as long as the readers keep up.
const IN_CACHE: u64 = 512 << 10;

/// What one end knows from its last looks.
pub(crate) struct Scout {
    /// The block that is to come next, as far as one can guess.
    next: usize,
    /// Readers: complete blocks that were found and not gone for yet, in the order of the file.
    ahead: VecDeque<(u64, usize)>,
    /// Readers: they were told that the file is cancelled. Nothing of it comes after that.
    is_cancelled: bool,
    /// Readers: where the next block begins, if there is one writer and one reader.
    expected: u64,
    /// Looks in vain since the last block.
    looks: u32,
    /// The notice after which all blocks were looked at, once the board is watched.
    watched: Option<Notice>,
}

/// Where to look.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Nowhere,
    AtNext,
    AtAll,
}

impl Scout {
    pub(crate) fn new() -> Self {
        Scout { next: 0, ahead: VecDeque::new(), is_cancelled: false, expected: 0, looks: 0, watched: None }
    }

    /// The next look is at all blocks.
    pub(crate) fn look_at_all(&mut self) {
        self.watched = None;
        self.looks = 0;
    }

    #[inline]
    fn found(&mut self, next: usize) {
        (self.looks, self.watched, self.next) = (0, None, next);
    }
}

/// A file as one owner sees it.
pub(crate) struct Hall<'a, C, R> {
    pub(crate) table: Table<'a, C>,
    /// By side.
    pub(crate) boards: [&'a C; 2],
    pub(crate) bells: [R; 2],
    /// By side: changes whenever a block was let go of.
    pub(crate) loose: [&'a C; 2],
    pub(crate) me: Owner,
}

impl<C: Cell, R: Ring> Hall<'_, C, R> {
    #[inline]
    pub(crate) fn board(&self, side: Side) -> Board<'_, C> {
        Board(self.boards[side as usize])
    }

    /// Where to look this time.
    #[inline]
    fn plan(&self, scout: &mut Scout, side: Side) -> Look {
        if let Some(watched) = scout.watched {
            let notice = self.board(side).look();
            if notice.is_as_new_as(watched) {
                return Look::Nowhere;
            }
            scout.found(notice.block());
        }
        let looks = scout.looks;
        scout.looks = looks.saturating_add(1);
        if looks == LOOKS {
            scout.watched = Some(self.board(side).watch());
        }
        if looks % LOOKS_AT_ONE == 0 || looks >= LOOKS { Look::AtAll } else { Look::AtNext }
    }

    /// Puts up a notice for a side, and wakes one of it. Whether the file was ending.
    #[inline]
    fn notify(&self, side: Side, block: usize, is_over: bool) -> bool {
        let (before, calls) = self.board(side).notify(block, is_over);
        if calls {
            step!("block:called");
            self.bells[side as usize].post();
        }
        before.is_over()
    }

    /// After a change that `side` may go on by, and the other one too if it waits for the end.
    #[inline]
    fn ring(&self, side: Side, block: usize) {
        if self.board(side).is_wanted() && self.notify(side, block, false) {
            self.notify(side.other(), block, false);
        }
    }

    /// Has a side look again, whatever for.
    pub(crate) fn wake(&self, side: Side) {
        let block = self.board(side).look().block();
        self.notify(side, block, false);
    }

    // ---- Writers ----

    /// A block to be filled, with its range. `is_gone` is asked of owners; what somebody let go of goes first.
    pub(crate) fn claim(
        &self,
        scout: &mut Scout,
        chosen: Option<u64>,
        look_around: bool,
        mut is_gone: impl FnMut(Owner) -> bool,
    ) -> Option<Result<Got, End>> {
        if look_around {
            scout.look_at_all();
        }
        let plan = self.plan(scout, Side::Writers);
        if plan == Look::Nowhere {
            return None;
        }
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
            let blocks = self.table.records.len();
            let is_free = |block: &usize| self.table.look(*block).state() == State::Free;
            let mut claim = |block: &usize| is_free(block) && self.table.claim(*block, self.me);
            let free = match plan {
                Look::AtAll => {
                    [scout.next].into_iter().filter(|next| *next < blocks).chain(0..blocks).find(&mut claim)
                }
                _ => Some(scout.next).filter(|next| *next < blocks && claim(next)),
            };
            let block = free?;
            scout.found(self.after(block));
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
                let _ = self.abstain(block);
                None
            }
        }
    }

    /// The block to go for after this one.
    #[inline]
    fn after(&self, block: usize) -> usize {
        let blocks = self.table.records.len();
        match self.table.block_bytes.saturating_mul(blocks as u64) <= IN_CACHE {
            true if block + 1 < blocks => block + 1,
            _ => 0,
        }
    }

    fn adopt_claimed(&self, chosen: Option<u64>, is_gone: &mut impl FnMut(Owner) -> bool) -> Option<Got> {
        for (block, seen) in self.states().enumerate() {
            match seen.state() {
                State::Claimed(owner) if owner == Owner::NOBODY || (owner != self.me && is_gone(owner)) => {}
                _ => continue,
            }
            let got = match self.table.adopt_claimed(block, seen, self.me) {
                Some(Adopted::Ranged) => Some(Got { block, again: true }),
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
        self.ring(Side::Readers, block);
        Ok(())
    }

    /// There is nothing in it, and nothing is missing without it.
    pub(crate) fn abstain(&self, block: usize) -> Result<(), Stolen> {
        self.table.abstain(block, self.me)?;
        step!("finish:abstained");
        self.ring(Side::Writers, block);
        Ok(())
    }

    /// Lets go of a block that was not filled.
    pub(crate) fn let_go(&self, block: usize) -> Result<(), Stolen> {
        self.table.let_go(block, self.me)?;
        step!("give-back:writer");
        self.loosen(Side::Writers);
        self.ring(Side::Writers, block);
        Ok(())
    }

    /// The file is ending.
    pub(crate) fn end(&self) -> Last {
        let before = self.table.end();
        step!("finish:ending");
        self.tell_the_end();
        before
    }

    /// Both boards say it from now on, after `next` does. A change that a side may go on by, and that was told to the
    /// other one before *its* board said so, is found by the notice that comes to this side after that.
    fn tell_the_end(&self) {
        for side in [Side::Writers, Side::Readers, Side::Writers] {
            self.notify(side, self.board(side).look().block(), true);
        }
    }

    /// The same for one that was killed before it had done that: whoever looks around does it again.
    pub(crate) fn see_that_the_end_is_told(&self) {
        let is_told = |side| self.board(side).look().is_over();
        if self.table.last().is_over() && !(is_told(Side::Writers) && is_told(Side::Readers)) {
            self.tell_the_end();
        }
    }

    pub(crate) fn cancel(&self) -> Last {
        let before = self.table.cancel();
        step!("cancel:said");
        self.tell_the_end();
        before
    }

    /// Frees every block that somebody who `is_gone` has claimed without a range. For a file that is ending.
    pub(crate) fn sweep(&self, mut is_gone: impl FnMut(Owner) -> bool) {
        for (block, seen) in self.states().enumerate() {
            let State::Claimed(owner) = seen.state() else { continue };
            if owner == self.me || !is_gone(owner) || self.table.range_of(block).is_some() {
                continue;
            }
            let _ = match self.table.adopt_claimed(block, seen, self.me) {
                Some(Adopted::Bare) => self.abstain(block),
                Some(Adopted::Ranged) => self.let_go(block),
                None => Ok(()), // Somebody was quicker.
            };
        }
    }

    /// Whether any block is still to be filled.
    pub(crate) fn is_being_filled(&self) -> bool {
        self.states().any(|word| matches!(word.state(), State::Claimed(_)))
    }

    // ---- Readers ----

    /// A complete block; of several that are found at once the one that is first in the file.
    pub(crate) fn take(
        &self,
        scout: &mut Scout,
        look_around: bool,
        is_gone: impl FnMut(Owner) -> bool,
    ) -> Option<Result<Got, End>> {
        if scout.is_cancelled {
            return Some(Err(End::Cancelled));
        }
        if look_around {
            // What somebody had before goes first.
            scout.ahead.clear();
            scout.look_at_all();
            if let Some(got) = self.adopt_taken(is_gone) {
                return Some(Ok(got));
            }
        }
        if let Some(got) = self.take_from(scout) {
            return Some(Ok(got));
        }
        let plan = self.plan(scout, Side::Readers);
        if plan == Look::Nowhere {
            return None;
        }
        // Where it is the next one in the file, nothing else can come before it.
        let next = scout.next;
        if !look_around && self.is_complete(next) && self.offset_of(next) == scout.expected {
            if let Some(got) = self.take_one(scout, next) {
                return Some(Ok(got));
            }
        }
        if plan == Look::AtNext {
            return None;
        }
        loop {
            let last = self.table.last();
            if last.is_cancelled() {
                scout.is_cancelled = true;
                return Some(Err(End::Cancelled));
            }
            let mut is_drained = true;
            for (block, word) in self.states().enumerate() {
                is_drained &= word.state() == State::Free;
                if word.state() == State::Complete {
                    // Loaded once: others may take it meanwhile, and give it another range.
                    scout.ahead.push_back((self.offset_of(block), block));
                }
            }
            if scout.ahead.is_empty() {
                return (is_drained && last.is_ending()).then_some(Err(End::Ended));
            }
            scout.ahead.make_contiguous().sort_unstable();
            if let Some(got) = self.take_from(scout) {
                return Some(Ok(got));
            }
        }
    }

    /// One of those that were found before.
    #[inline]
    fn take_from(&self, scout: &mut Scout) -> Option<Got> {
        while let Some((_, block)) = scout.ahead.pop_front() {
            if let Some(got) = self.take_one(scout, block) {
                return Some(got);
            }
        }
        None
    }

    #[inline]
    fn take_one(&self, scout: &mut Scout, block: usize) -> Option<Got> {
        let word = self.table.look(block);
        if word.state() != State::Complete || !self.table.take(block, word, self.me) {
            return None; // Somebody was quicker.
        }
        step!("take:taken");
        scout.found(self.after(block));
        scout.expected = self.offset_of(block).wrapping_add(self.table.block_bytes);
        Some(Got { block, again: word.is_again() })
    }

    #[inline]
    fn is_complete(&self, block: usize) -> bool {
        block < self.table.records.len() && self.table.look(block).state() == State::Complete
    }

    /// Where a block begins, as far as that can be known before it is taken.
    #[inline]
    fn offset_of(&self, block: usize) -> u64 {
        // Relaxed: a choice; what it is, is looked at once it is taken.
        self.table.records[block].offset.load(Relaxed)
    }

    fn adopt_taken(&self, mut is_gone: impl FnMut(Owner) -> bool) -> Option<Got> {
        for (block, word) in self.states().enumerate() {
            if let State::Taken(owner) = word.state() {
                if owner != self.me && is_gone(owner) && self.table.adopt_taken(block, word, self.me) {
                    step!("take:adopted");
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
        self.ring(Side::Writers, block);
        Ok(())
    }

    /// Lets go of a block that was not read.
    pub(crate) fn put_back(&self, block: usize) -> Result<(), Stolen> {
        self.table.put_back(block, self.me)?;
        step!("give-back:reader");
        self.loosen(Side::Readers);
        self.ring(Side::Readers, block);
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
