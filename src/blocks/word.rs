//! Blocks and their words: who may touch which block now, and which part of the file it is.
//!
//! # A block's word
//!
//! ```text
//! bits 0..2    state         free, claimed, complete, taken
//! bit 2        ranged        claimed: its writer chose the range, which stands in the record
//! bit 3        again         somebody had it before, and let go of it or died
//! bits 8..16   seat          claimed, taken: the owner's; 255 is nobody's
//! bits 32..64  generation    claimed, taken: of the owner's seat
//! ```
//!
//! | from | to | by | carries |
//! |---|---|---|---|
//! | free | claimed | a writer | that the last reader is done with the bytes |
//! | claimed | claimed, ranged | its owner | the range |
//! | claimed | complete | its owner | bytes, range, length |
//! | claimed | free | its owner, which found that the file is ending, or had nothing more to put there | |
//! | claimed | claimed by nobody, again | its owner, which lets go of it | the range |
//! | claimed by nobody, or by one who is dead | claimed, as ranged as it was, again | a writer, which *adopts* it | the range |
//! | complete | taken | a reader | bytes, range, length |
//! | taken | free | its owner | that it is done with the bytes |
//! | taken | complete, again | its owner, which lets go of it | |
//! | taken by one who is dead | taken, again | a reader, which adopts it | bytes, range, length |
//!
//! Every one of these is a compare-and-swap from the whole word: so of two who want the same block one gets it, and
//! the other looks on. An owner is a seat and its generation. A seat's next holder is another owner, so that whoever
//! died is known for dead whoever sits there now; and what a dead owner had can be adopted, by anybody, at any time,
//! with no one who clears up in between. An adopter that dies is adopted from likewise.
//!
//! # Ranges
//!
//! A claim gets the next range of the file. Which one is next stands in one word, `next`:
//!
//! ```text
//! bits 0..8    block         who got the last ticket
//! bit 8        ending        no range is given any more
//! bit 9        cancelled     nothing is given any more
//! bits 16..64  tickets       how many were given
//! ```
//!
//! Ticket `n` is the range from `n - 1` to `n` blocks behind the file's offset. A claimer adds one and puts its own
//! block there in one compare-and-swap; so a writer that is killed at any step has either no ticket, or one that is
//! written down: in `next`, where its block's index stands, or in its block's record, since **nobody takes a ticket
//! before the last one stands in its record** (`settle`, which whoever comes next does for who is slow or dead).
//! The record of a block has two tickets: the last that it was *given*, and the last that somebody was *done* with, which
//! a reader writes down before it frees the block. If they differ, the block has the given one's range, whatever its dead
//! owner had come to. Tickets of one block only grow, so that `settle`, a compare-and-swap from a smaller one, can come
//! too late but never do harm.
//!
//! A writer that chooses its range itself takes no ticket: the range stands in the record, and the word says so
//! (*ranged*), before it has the block in hand.
//!
//! # Hand-overs
//!
//! | edge | release | acquire | carries |
//! |---|---|---|---|
//! | `fill` | `Table::complete`, `Table::put_back` | `Table::take`, `Table::adopt_taken` | bytes, range, length; and that who put it back reads no more |
//! | `drain` | `Table::free`, `Table::abstain` | `Table::claim` | that the bytes may be overwritten, and the ticket is done with |
//! | `range` | `Table::choose`, `Table::let_go` | `Table::adopt_claimed` | the range |
//! | `ticket` | `Table::draw`, `Table::choose`, `Table::cancel` | `Table::last` | the tickets before, and that their blocks are claimed; why it is cancelled |
//!
//! # Why nothing is lost and nothing comes twice
//!
//! **Every range that was given is in one block** until a reader has completed it: it is claimed, complete or taken,
//! or its ticket is in `next` or in the record of a claimed block. Only `free` ends that, by the reader that took it;
//! and `abstain`, by a writer that says that there is nothing in it. **A range is in no two blocks**: tickets are
//! unique since `next` is one word, and an adopter goes on with the very block.
//!
//! **The end.** *Ending* stands in `next`, and a claimer has its range by changing `next`: so after it no range is
//! given, whatever the claimers had looked at before. Whoever reads `next` with *ending* has acquired every change of
//! it, and with that every claim that got a range: it finds those blocks claimed, or further on. A block that it then
//! finds free was done with, or never had a range. So readers are at the end when *ending* is there and every block
//! is free, looked at one after the other: what was free stays so, but for claimers that come too late, and those free
//! it again and ring.
//!
//! `model/` runs this file, as it is shipped, through loom's interleavings.

use crate::steps::step;
use crate::sys::cell::Cell;
use std::sync::atomic::Ordering::{self, Acquire, Relaxed, Release};

const STATE: u64 = 3;
const FREE: u64 = 0;
const CLAIMED: u64 = 1;
const COMPLETE: u64 = 2;
const TAKEN: u64 = 3;
const RANGED: u64 = 1 << 2;
const AGAIN: u64 = 1 << 3;
const SEAT_SHIFT: u32 = 8;
const GENERATION_SHIFT: u32 = 32;

const BLOCK: u64 = 0xff;
const ENDING: u64 = 1 << 8;
const CANCELLED: u64 = 1 << 9;
const TICKET_SHIFT: u32 = 16;

/// Who has a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Owner {
    pub(crate) seat: u8,
    pub(crate) generation: u32,
}

impl Owner {
    /// Of what its owner let go of.
    pub(crate) const NOBODY: Owner = Owner { seat: u8::MAX, generation: 0 };

    pub(crate) fn bits(self) -> u64 {
        u64::from(self.seat) << SEAT_SHIFT | u64::from(self.generation) << GENERATION_SHIFT
    }

    pub(crate) fn of_bits(bits: u64) -> Self {
        Owner { seat: (bits >> SEAT_SHIFT) as u8, generation: (bits >> GENERATION_SHIFT) as u32 }
    }
}

/// What a block is at, for whoever looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Free,
    Claimed(Owner),
    Complete,
    Taken(Owner),
}

/// A value of a block's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl Word {
    pub(crate) fn state(self) -> State {
        let owner = Owner::of_bits(self.0);
        match self.0 & STATE {
            FREE => State::Free,
            CLAIMED => State::Claimed(owner),
            COMPLETE => State::Complete,
            _ => State::Taken(owner),
        }
    }

    pub(crate) fn is_again(self) -> bool {
        self.0 & AGAIN != 0
    }

    fn is_ranged(self) -> bool {
        self.0 & RANGED != 0
    }
}

/// A value of `next`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Last(pub(crate) u64);

impl Last {
    pub(crate) fn is_ending(self) -> bool {
        self.0 & ENDING != 0
    }

    pub(crate) fn is_cancelled(self) -> bool {
        self.0 & CANCELLED != 0
    }

    pub(crate) fn tickets(self) -> u64 {
        self.0 >> TICKET_SHIFT
    }

    /// No range is given any more.
    pub(crate) fn is_over(self) -> bool {
        self.0 & (ENDING | CANCELLED) != 0
    }

    fn block(self) -> usize {
        (self.0 & BLOCK) as usize
    }
}

/// What stands in the region of one block.
#[repr(C, align(128))]
pub(crate) struct Record<C> {
    pub(crate) word: C,
    /// Where its bytes belong in the file.
    pub(crate) offset: C,
    /// How many there are, once it is complete.
    pub(crate) len: C,
    /// The last ticket that it was given.
    given: C,
    /// The last ticket that somebody was done with.
    done: C,
    /// Bytes that went in and came out, and the furthest in the file, plus one: for people to read, and written by
    /// whoever has the block.
    pub(crate) bytes_in: C,
    pub(crate) bytes_out: C,
    pub(crate) end: C,
}

#[cfg(loom)]
impl<C> Record<C> {
    pub(super) fn of([word, offset, len, given, done, bytes_in, bytes_out, end]: [C; 8]) -> Self {
        Record { word, offset, len, given, done, bytes_in, bytes_out, end }
    }
}

/// No range is to be had: the file is ending, or cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Over;

/// Somebody else changed the word of a block that was this one's: a peer that breaks its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stolen;

/// A block that was claimed from its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Adopted {
    /// With its range, which somebody may have had in hand.
    Ranged,
    /// As a free one would be: a range has still to be assigned.
    Bare,
}

/// All blocks of a file.
pub(crate) struct Table<'a, C> {
    pub(crate) next: &'a C,
    pub(crate) records: &'a [Record<C>],
    /// Where the file begins, and how long a range is.
    pub(crate) base: u64,
    pub(crate) block_bytes: u64,
}

impl<C> Clone for Table<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Table<'_, C> {}

impl<C: Cell> Table<'_, C> {
    /// A block as it stands; whoever wants to change it says so of this very value.
    #[inline]
    pub(crate) fn look(&self, block: usize) -> Word {
        // Relaxed: what changes it acquires.
        Word(self.records[block].word.load(Relaxed))
    }

    /// How far the file is given out.
    #[inline]
    pub(crate) fn last(&self) -> Last {
        // EDGE ticket (acquire): who sees that the file is ending sees every claim that got a range.
        Last(self.next.load(Acquire))
    }

    #[inline]
    fn change(&self, block: usize, from: Word, to: u64, order: Ordering) -> bool {
        // Relaxed where it fails: nothing was learned.
        self.records[block].word.compare_exchange(from.0, to, order, Relaxed).is_ok()
    }

    // ---- Writers ----

    /// Claims a free block, which has no range yet.
    #[inline]
    pub(crate) fn claim(&self, block: usize, me: Owner) -> bool {
        // EDGE drain (acquire): the last reader's reading.
        self.change(block, Word(FREE), CLAIMED | me.bits(), Acquire)
    }

    /// Gives a claimed block the file's next range, and returns where that begins.
    #[inline]
    pub(crate) fn assign(&self, block: usize) -> Result<u64, Over> {
        let ticket = self.draw(block)?;
        step!("claim:ticket");
        self.hand(block, ticket);
        step!("claim:given");
        let offset = self.note(block, self.offset_of(ticket));
        step!("claim:ranged");
        Ok(offset)
    }

    /// Takes the next ticket for a block.
    #[inline]
    pub(super) fn draw(&self, block: usize) -> Result<u64, Over> {
        let mut last = self.last();
        loop {
            if last.is_over() {
                return Err(Over);
            }
            self.settle(last);
            let ticket = last.tickets() + 1;
            let next = ticket << TICKET_SHIFT | block as u64;
            // EDGE ticket (release): this claim, and the tickets before, for whoever finds that it was given.
            // Relaxed where it fails: whoever finds that it is over looks again.
            match self.next.compare_exchange(last.0, next, Release, Relaxed) {
                Ok(_) => return Ok(ticket),
                Err(now) => last = Last(now),
            }
        }
    }

    #[inline]
    pub(super) fn hand(&self, block: usize, ticket: u64) {
        // Relaxed: this block's own; whoever else may come to it acquires its word, or `next`.
        self.records[block].given.store(ticket, Relaxed);
    }

    /// Sees to it that the last ticket stands in its block's record.
    #[inline]
    fn settle(&self, last: Last) {
        let Some(record) = self.records.get(last.block()) else { return };
        // Relaxed: a smaller number is replaced by this one, which is the block's for certain; and the change of `next`
        // that follows releases it.
        let given = record.given.load(Relaxed);
        if given < last.tickets() {
            // Relaxed: as above. If it fails, somebody else did it.
            let _ = record.given.compare_exchange(given, last.tickets(), Relaxed, Relaxed);
        }
    }

    /// Gives a claimed block a range of its writer's choice.
    pub(crate) fn choose(&self, block: usize, offset: u64) -> Result<(), Over> {
        let mut last = self.last();
        loop {
            if last.is_over() {
                return Err(Over);
            }
            // EDGE ticket (release): as in `draw`; so that *ending* comes before this claim, or after it.
            // Relaxed where it fails: as in `draw`.
            match self.next.compare_exchange(last.0, last.0, Release, Relaxed) {
                Ok(_) => break,
                Err(now) => last = Last(now),
            }
        }
        self.note(block, offset);
        // EDGE range (release): where it begins. Nobody else changes the word while this one lives.
        self.records[block].word.fetch_or(RANGED, Release);
        step!("claim:ranged");
        Ok(())
    }

    #[inline]
    fn note(&self, block: usize, offset: u64) -> u64 {
        // Relaxed: released with the word.
        self.records[block].offset.store(offset, Relaxed);
        offset
    }

    /// The ticket whose range a claimed block has; the same as it is done with where it has none.
    fn ticket_of(&self, block: usize) -> u64 {
        let last = self.last();
        // Relaxed: acquired with the word, or with `next`, before the change of which `settle` has written it.
        if last.block() == block { last.tickets() } else { self.records[block].given.load(Relaxed) }
    }

    /// Claims a block from its owner, who is dead or nobody: `seen` is how it stood when that was found.
    pub(crate) fn adopt_claimed(&self, block: usize, seen: Word, me: Owner) -> Option<Adopted> {
        // EDGE range (acquire): where it begins, if that was chosen.
        if !self.change(block, seen, CLAIMED | seen.0 & RANGED | AGAIN | me.bits(), Acquire) {
            return None;
        }
        step!("claim:adopted");
        if seen.is_ranged() {
            return Some(Adopted::Ranged);
        }
        let ticket = self.ticket_of(block);
        // Relaxed: acquired with the word.
        if ticket == self.records[block].done.load(Relaxed) {
            return Some(Adopted::Bare);
        }
        self.hand(block, ticket);
        self.note(block, self.offset_of(ticket));
        Some(Adopted::Ranged)
    }

    /// Which range a claimed block has.
    pub(crate) fn range_of(&self, block: usize) -> Option<u64> {
        let record = &self.records[block];
        let (is_ranged, ticket) = (self.look(block).is_ranged(), self.ticket_of(block));
        // Relaxed: for people, or adopted and looked at again.
        match is_ranged {
            true => Some(record.offset.load(Relaxed)),
            false => (ticket != record.done.load(Relaxed)).then(|| self.offset_of(ticket)),
        }
    }

    fn offset_of(&self, ticket: u64) -> u64 {
        self.base.wrapping_add(ticket.wrapping_sub(1).wrapping_mul(self.block_bytes))
    }

    /// Hands a block of `len` bytes on to the readers.
    #[inline]
    pub(crate) fn complete(&self, block: usize, len: u64, me: Owner) -> Result<(), Stolen> {
        // Relaxed: released with the word.
        self.records[block].len.store(len, Relaxed);
        // EDGE fill (release): bytes, range and length.
        self.pass_on(block, State::Claimed(me), COMPLETE, Release)
    }

    /// Lets go of a claimed block in which there is nothing, and which is nobody's range.
    pub(crate) fn abstain(&self, block: usize, me: Owner) -> Result<(), Stolen> {
        self.be_done(block);
        // EDGE drain (release): that its ticket is done with.
        self.pass_on(block, State::Claimed(me), FREE, Release)
    }

    /// Lets go of a claimed block whose range has still to be filled.
    pub(crate) fn let_go(&self, block: usize, me: Owner) -> Result<(), Stolen> {
        let ranged = self.look(block).0 & RANGED;
        // EDGE range (release): where it begins.
        self.pass_on(block, State::Claimed(me), CLAIMED | ranged | AGAIN | Owner::NOBODY.bits(), Release)
    }

    // ---- Readers ----

    /// Takes a complete block, as it was `seen`.
    #[inline]
    pub(crate) fn take(&self, block: usize, seen: Word, me: Owner) -> bool {
        // EDGE fill (acquire): bytes, range and length.
        self.change(block, seen, TAKEN | seen.0 & AGAIN | me.bits(), Acquire)
    }

    /// Takes a block from its owner, who is dead: `seen` is how it stood when that was found.
    pub(crate) fn adopt_taken(&self, block: usize, seen: Word, me: Owner) -> bool {
        // EDGE fill (acquire): bytes, range and length, which the dead one had acquired.
        self.change(block, seen, TAKEN | AGAIN | me.bits(), Acquire)
    }

    /// Done with a block: its range is no more.
    #[inline]
    pub(crate) fn free(&self, block: usize, me: Owner) -> Result<(), Stolen> {
        self.be_done(block);
        step!("free:done");
        // EDGE drain (release): the reading is over.
        self.pass_on(block, State::Taken(me), FREE, Release)
    }

    /// Its range is nobody's any more. Who dies before it frees the block had it to the end, and the next one that has it
    /// comes by here again.
    #[inline]
    fn be_done(&self, block: usize) {
        let record = &self.records[block];
        // Relaxed: released with the word.
        record.done.store(record.given.load(Relaxed), Relaxed);
    }

    /// Lets go of a block unread, or half read.
    pub(crate) fn put_back(&self, block: usize, me: Owner) -> Result<(), Stolen> {
        // EDGE fill (release): this one's reading, for the writer that overwrites it once the next reader is done.
        self.pass_on(block, State::Taken(me), COMPLETE | AGAIN, Release)
    }

    #[inline]
    fn pass_on(&self, block: usize, from: State, to: u64, order: Ordering) -> Result<(), Stolen> {
        let word = self.look(block);
        if word.state() == from && self.change(block, word, to, order) { Ok(()) } else { Err(Stolen) }
    }

    // ---- The end ----

    /// No range is given any more. Returns how it was before.
    pub(crate) fn end(&self) -> Last {
        // Relaxed: whoever acquires `next` after it acquires the claims before it all the same, since an exchange goes on
        // with what was released; and those have all that the end hangs on.
        Last(self.next.fetch_or(ENDING, Relaxed))
    }

    /// Nothing is given any more.
    pub(crate) fn cancel(&self) -> Last {
        // EDGE ticket (release): why.
        Last(self.next.fetch_or(CANCELLED, Release))
    }
}
