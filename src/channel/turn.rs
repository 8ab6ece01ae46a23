//! The turn: one 64-bit word that says whose side may touch the payload now.
//!
//! # The word
//!
//! ```text
//! bit 0        side          0 the publisher's turn, 1 the consumer's
//! bit 1        publisher sleeps
//! bit 2        consumer sleeps
//! bit 3        redelivered   what stands here was taken before by a consumer that let go of it unread
//! bit 4        abandoned     who waits for the turn has given up what it waits for
//! bit 5        recalled      the publisher wants a flow back that nobody has taken yet
//! bit 6        orphaned      who let a reply flow is dead; set with *abandoned*, by whoever takes its seat
//! bits 8..16   content       what the payload holds, see `Content`
//! bits 16..64  step          one more with every passing
//! ```
//!
//! # States and edges
//!
//! The turn's owner is the only one that passes it, by [`Turn::pass`]. Who waits may set its own *sleeps* bit,
//! *abandoned* and *recalled*, nothing else; what is abandoned or recalled before it was taken, either may resolve.
//!
//! | publisher's turn | it came because the consumer | the publisher may pass |
//! |---|---|---|
//! | `Nothing` | acknowledged, or never had anything | `Message`, `Call`, `Stream`, `CallStream`, `Flow`, `CallFlow` |
//! | `Drained` | copied a round, and wants the next | `More`; once it has given up, as under `Nothing` |
//! | `Again` | gave a long message back unread | the same again, *redelivered* |
//! | `InPlace` | wants what flows where it stands, or nobody took it | `Message`, `Call`, `Stream`, `CallStream` |
//! | `Aborted` | will not have the rest, or has lost it | as under `Nothing` |
//! | `Orphaned` | found what a dead consumer had begun | as under `Nothing` |
//! | `Reply`, `NoReply` | answered the call | as under `Nothing` |
//! | `ReplyFlow` | lets a reply flow | as under `Nothing` once it has the whole; `Aborted` before |
//!
//! | consumer's turn | what stands there | the consumer may pass |
//! |---|---|---|
//! | `Message` | a whole message | `Nothing` |
//! | `Call` | a whole message that asks for a reply | `Reply`, `ReplyFlow`, `NoReply` |
//! | `Stream`, `CallStream`, `More` | the first, a further round of a long one | `Drained`, `Again`, `Nothing`; after the last as under `Message`, `Call` |
//! | `Flow`, `CallFlow` | a message that flows, see `progress.rs` | `InPlace`, `Again`, `Aborted`; with the whole as under `Message`, `Call` |
//! | `Aborted` | nothing: the caller will not have the rest of the reply | `Orphaned` |
//! | any, abandoned | nothing that anyone waits for | `Nothing` |
//!
//! # Hand-overs
//!
//! | edge | release | acquire | carries |
//! |---|---|---|---|
//! | `pass` | `Turn::pass` | `Turn::look` | payload, lengths, everything the owner wrote |
//! | `arm` | `Turn::arm` | `Turn::pass` of the other side | that a token is due |
//! | `note` | `Turn::take`, fence | `Turn::abandon`, `Turn::recall`, fence | that the message was taken |
//! | `abandon` | `Turn::abandon`, fence | `Turn::take`, fence; `Turn::pass` | that nobody waits |
//! | `recall` | `Turn::recall`, fence | `Turn::take`, fence | that the publisher wants it back |
//!
//! # Why it is right
//!
//! **One owner.** Bit 0 changes in `pass`, and only the side that it names calls `pass`: an end learns of its
//! turn by `look`, owns the payload until its own `pass`, and does not touch it afterwards. There is one process an
//! end, since a seat has one holder. `look` acquires what `pass` released, so everything written under one turn is
//! seen under the next: no two sides ever touch the payload at once, and none sees half of what the other wrote.
//! Between two passings the word changes only by bits that carry no ownership. A *flow* shares the payload out while
//! it lasts: `progress.rs` says how, and why its end is a passing like any other.
//!
//! **Back for certain, or taken.** A flow that nobody takes comes back to the publisher without the consumer's help,
//! since that may be dead. As with *abandoned* below, `recall` sets its bit, fences and reads the note; `take` writes
//! the note, fences and reads the word. If `recall` finds no note, no consumer will ever find its `take` good: so
//! nobody owns the payload, and the publisher may take the turn back by compare-and-swap. A consumer that finds the
//! bit gives the turn back by compare-and-swap too (`skip`): one of the two succeeds, and to the same effect.
//!
//! **No lost wake-up.** A sleeper arms by compare-and-swap from a value that is not its turn. Every change of one
//! word is totally ordered with every other, so the other side's `pass` comes either before the arming, which then
//! fails and looks again, or after it, and then the exchange returns the bit and its caller posts. That order is the
//! word's own, and needs no barrier; and every change of the word is a read-modify-write, so the relaxed ones in
//! between do not cut off what `pass` released. A sleeper that gives up takes its bit back by the same kind of
//! operation, with the same two outcomes ([`crate::bell`] counts the tokens).
//!
//! **No message twice unmarked.** Taking a message puts its step into the consumer's note before a byte of it is
//! given to anyone. A consumer that dies, or panics, before it passes the turn leaves content and step as they are;
//! whoever takes its seat finds the note equal to the step and marks the message before it can be taken again. If the
//! note differs nobody had it. If the dead one had begun its reply, which uses the message's bytes, the second note
//! says so and the call ends as orphaned instead. The notes live in memory that the kernel keeps, and a killed
//! process has done exactly the stores that its program order had come to: so note-before-use needs no barrier.
//!
//! **Withdrawn for certain, or unknown.** A caller whose time is up sets *abandoned*, fences, and reads the note. A
//! consumer writes the note, fences, and reads the word. Of two sequentially consistent fences one comes first: if
//! the caller's, the consumer sees *abandoned* and skips the message; if the consumer's, the caller sees the note and
//! reports the outcome as unknown. It can happen that both see: then the message was skipped and reported as unknown,
//! which is true. A late reply passes the turn to a caller that no longer waits for it; the content of a turn that
//! came unasked means nothing to the publisher, so a late reply never answers a later call.
//!
//! `model.rs` runs this file, as it is shipped, through loom's interleavings.

use crate::error::Delivered;
use crate::sys::cell::Cell;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

const SIDE: u64 = 1;
pub(crate) const REDELIVERED: u64 = 1 << 3;
pub(crate) const ABANDONED: u64 = 1 << 4;
const RECALLED: u64 = 1 << 5;
const ORPHANED: u64 = 1 << 6;
const CONTENT_SHIFT: u32 = 8;
const STEP_SHIFT: u32 = 16;

/// One of the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Publisher = 0,
    Consumer = 1,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Side::Publisher => Side::Consumer,
            Side::Consumer => Side::Publisher,
        }
    }

    /// For errors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Side::Publisher => "publisher",
            Side::Consumer => "consumer",
        }
    }

    pub(super) fn sleeps(self) -> u64 {
        2 << self as u64
    }
}

/// What the payload holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Nothing = 0,
    Message = 1,
    Call = 2,
    Stream = 3,
    CallStream = 4,
    More = 5,
    Flow = 6,
    CallFlow = 7,
    Drained = 8,
    Again = 9,
    InPlace = 10,
    Aborted = 11,
    Orphaned = 12,
    Reply = 13,
    ReplyFlow = 14,
    NoReply = 15,
}

impl Content {
    const ALL: [Content; 16] = {
        use Content::*;
        [
            Nothing, Message, Call, Stream, CallStream, More, Flow, CallFlow, Drained, Again, InPlace, Aborted,
            Orphaned, Reply, ReplyFlow, NoReply,
        ]
    };

    /// Whether a message begins with this.
    fn is_first(self) -> bool {
        use Content::*;
        matches!(self, Message | Call | Stream | CallStream | Flow | CallFlow)
    }

    /// Whether a reply is asked for.
    pub(crate) fn is_call(self) -> bool {
        matches!(self, Content::Call | Content::CallStream | Content::CallFlow)
    }
}

/// A value of the word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) u64);

impl Word {
    /// A new region's: the publisher's turn, nothing there, step 1 (a note of 0 means none).
    pub(crate) const FIRST: Word = Word(1 << STEP_SHIFT);

    pub(crate) fn side(self) -> Side {
        if self.0 & SIDE == 0 { Side::Publisher } else { Side::Consumer }
    }

    /// `None` where a peer wrote a number that means nothing.
    pub(crate) fn content(self) -> Option<Content> {
        Content::ALL.get(usize::from((self.0 >> CONTENT_SHIFT) as u8)).copied()
    }

    pub(crate) fn step(self) -> u64 {
        self.0 >> STEP_SHIFT
    }

    pub(crate) fn is_redelivered(self) -> bool {
        self.0 & REDELIVERED != 0
    }

    pub(crate) fn is_abandoned(self) -> bool {
        self.0 & ABANDONED != 0
    }

    /// Whether who let this reply flow is dead.
    pub(crate) fn is_orphaned(self) -> bool {
        self.0 & ORPHANED != 0
    }

    pub(crate) fn has_sleeping(self, side: Side) -> bool {
        self.0 & side.sleeps() != 0
    }

    /// The step after passing.
    pub(crate) fn next_step(self) -> u64 {
        self.passed(Content::Nothing, 0).step()
    }

    /// The word after passing: the other side's, one step on, nobody sleeping.
    fn passed(self, content: Content, marks: u64) -> Word {
        let side = self.side().other() as u64;
        let step = self.step().wrapping_add(1) << STEP_SHIFT;
        Word(side | marks | (content as u64) << CONTENT_SHIFT | step)
    }
}

/// Takes the sleep bit of `side`, which waits for something that is not the turn. True where it was set: then its bell
/// is to be rung.
#[inline]
pub(crate) fn wake<C: Cell>(word: &C, side: Side) -> bool {
    // Relaxed: what `side` is woken for is on this very word, or was ordered before by a fence.
    let is_set = |word| Word(word).has_sleeping(side);
    is_set(word.load(Relaxed)) && is_set(word.fetch_and(!side.sleeps(), Relaxed))
}

/// The word and the two notes that belong to it.
pub(crate) struct Turn<'m, C> {
    pub(crate) word: &'m C,
    /// The step that the consumer took last. In the consumer's own line: nobody polls it.
    pub(crate) taken: &'m C,
    /// The step that the consumer has begun to answer. Likewise.
    pub(crate) replying: &'m C,
}

impl<C: Cell> Turn<'_, C> {
    /// The word, if the turn is `side`'s; otherwise the word as an error.
    #[inline]
    pub(crate) fn look(&self, side: Side) -> Result<Word, Word> {
        // EDGE pass (acquire): what the other side wrote under its turn is now visible.
        let word = Word(self.word.load(Acquire));
        if word.side() == side { Ok(word) } else { Err(word) }
    }

    /// Passes the turn with `content`; `mine` is the word by which it was this side's.
    ///
    /// Returns the word that was there: whoever it shows sleeping is to be rung, once.
    #[inline]
    pub(crate) fn pass(&self, mine: Word, content: Content) -> Word {
        self.pass_marked(mine, content, 0)
    }

    /// As `pass`, with marks: `REDELIVERED` for a message that a consumer has had before; `ABANDONED` for a last time,
    /// when who passes gives up what it would have waited for next. In one step, since the other side may pass it back
    /// before an `abandon` comes.
    #[inline]
    pub(crate) fn pass_marked(&self, mine: Word, content: Content, marks: u64) -> Word {
        // EDGE pass (release): publishes the payload and the lengths.
        // EDGE arm (acquire): takes the sleeper's bit with it, so that one token is due.
        // EDGE abandon (acquire): shows whether the other side still waits for this.
        // Not Acquire: of the other side's doings only those bits are wanted, an exchange always has the newest
        // value, and who has passed touches nothing until a `look` acquires it.
        Word(self.word.swap(mine.passed(content, marks).0, Release))
    }

    /// Says that `side` is about to sleep, unless the turn is its own.
    pub(crate) fn arm(&self, side: Side) -> bool {
        // Relaxed: the value is only what to compare with; the turn is looked at again later.
        let mut seen = Word(self.word.load(Relaxed));
        while seen.side() != side {
            // EDGE arm (release): the bit itself. Relaxed: nothing travels with it, a sleeper owns no bytes; the
            // word's own total order decides between this and `pass`.
            match self.word.compare_exchange(seen.0, seen.0 | side.sleeps(), Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(changed) => seen = Word(changed),
            }
        }
        false
    }

    /// Takes `arm` back. False where the other side's `pass` took it, so that a token is due.
    pub(crate) fn disarm(&self, side: Side) -> bool {
        // Relaxed: whether the bit was there is all that is asked, and the word alone says it.
        Word(self.word.fetch_and(!side.sleeps(), Relaxed)).has_sleeping(side)
    }

    /// The consumer takes a whole message that nobody can withdraw: `seen` is its turn.
    pub(crate) fn note(&self, seen: Word) {
        // Relaxed: only whoever takes the seat of a dead consumer reads it, under the seat's lock.
        self.taken.store(seen.step(), Relaxed);
    }

    /// The consumer takes what can be withdrawn or recalled: `seen` is its turn. False where that was done before:
    /// then it is to be skipped.
    pub(crate) fn take(&self, seen: Word) -> bool {
        // EDGE note (release): by the fence. Relaxed: the message's bytes do not hang on it.
        // Partner: the fences in `abandon` and `recall`. Store, then load, on both sides.
        self.taken.store_and_fence(seen.step(), SeqCst);
        // EDGE abandon (acquire): by the fence. Relaxed: `look` has acquired the bytes already.
        // EDGE recall (acquire): likewise.
        let now = Word(self.word.load(Relaxed));
        now.step() == seen.step() && now.0 & (ABANDONED | RECALLED) == 0
    }

    /// The consumer gives the turn back for what it could not take. The word that was there, unless the publisher has
    /// the turn again by itself.
    pub(crate) fn skip(&self, seen: Word) -> Option<Word> {
        // Relaxed: nothing was read or written under this turn.
        let mut now = Word(self.word.load(Relaxed));
        while now.step() == seen.step() {
            let content = if now.is_abandoned() { Content::Nothing } else { Content::InPlace };
            // Relaxed: likewise.
            match self.word.compare_exchange(now.0, now.passed(content, 0).0, Relaxed, Relaxed) {
                Ok(_) => return Some(now),
                Err(changed) => now = Word(changed),
            }
        }
        None
    }

    /// The publisher wants the flow back that it passed at `step`: as `InPlace`, if nobody took it. It looks again
    /// to learn what came of it.
    pub(crate) fn recall(&self, step: u64) {
        // EDGE recall (release): by the fence. Relaxed: no bytes travel with it.
        let seen = Word(self.word.fetch_or(RECALLED, Relaxed));
        // Partner: the fence in `take`. Store, then load, on both sides.
        C::fence(SeqCst);
        // EDGE note (acquire): by the fence. Relaxed: a note is a number, no bytes hang on it.
        if seen.step() != step || self.taken.load(Relaxed) == step {
            return;
        }
        // Relaxed: nobody but this end has touched the payload since it passed.
        let mut now = Word(self.word.load(Relaxed));
        while now.step() == step {
            match self.word.compare_exchange(now.0, now.passed(Content::InPlace, 0).0, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(changed) => now = Word(changed),
            }
        }
    }

    /// Says that the consumer will overwrite the message with its reply.
    pub(crate) fn begin_reply(&self, seen: Word) {
        // Relaxed: only whoever takes the seat of a dead consumer reads it, under the seat's lock.
        self.replying.store(seen.step(), Relaxed);
    }

    /// `side`, which waits, gives up what it waits for. The word, where the turn came first: there is something to
    /// take after all. Otherwise what became of it: the other end never had it and never will, or has it, or had it.
    pub(crate) fn abandon(&self, side: Side) -> Result<Word, Delivered> {
        self.abandon_marked(side, 0)
    }

    fn abandon_marked(&self, side: Side, marks: u64) -> Result<Word, Delivered> {
        // Relaxed: as in `arm`.
        let mut seen = Word(self.word.load(Relaxed));
        loop {
            if seen.side() == side {
                // EDGE pass (acquire): by this second look, since a relaxed one acquires nothing.
                return Ok(Word(self.word.load(Acquire)));
            }
            // EDGE abandon (release): by the fence. And by this: a consumer that gives up its flowing reply has stopped
            // writing it, and the publisher may use the payload.
            match self.word.compare_exchange(seen.0, seen.0 | ABANDONED | marks, Release, Relaxed) {
                Ok(_) => break,
                Err(changed) => seen = Word(changed),
            }
        }
        // Partner: the fence in `take`. Store, then load, on both sides.
        C::fence(SeqCst);
        // What comes after the first round is asked for by who has taken that.
        let is_later_round = seen.content() == Some(Content::More);
        // EDGE note (acquire): by the fence. Relaxed: a note is a number, no bytes hang on it.
        let was_taken = self.taken.load(Relaxed) == seen.step();
        let was_taken = was_taken || seen.is_redelivered() || is_later_round;
        Err(if was_taken { Delivered::Unknown } else { Delivered::No })
    }

    /// Whether a reply flowed whose consumer is dead.
    pub(crate) fn is_orphaned(&self) -> bool {
        // Relaxed: it says why a flow ended, which was seen before.
        Word(self.word.load(Relaxed)).is_orphaned()
    }

    /// The consumer lets go of a whole message unread: it stays, marked.
    pub(crate) fn give_back(&self) -> Word {
        // Relaxed: the turn does not move, and its bytes were not touched.
        Word(self.word.fetch_or(REDELIVERED, Relaxed))
    }

    /// Repairs what the last publisher left, for whoever takes its seat: nobody waits for an answer or for the end of
    /// a stream any more. A whole message stays: it was acknowledged. Returns the word that was there where the turn
    /// was passed: whoever it shows sleeping is to be rung.
    pub(crate) fn repair_publisher(&self, reply_is_whole: bool) -> Option<Word> {
        match self.look(Side::Publisher) {
            // A living consumer may be writing to the payload this moment. The turn goes to it, and comes back when
            // it next consumes.
            Ok(word) if word.content() == Some(Content::ReplyFlow) && !reply_is_whole => {
                Some(self.pass_marked(word, Content::Aborted, ABANDONED))
            }
            Err(word) if word.content() != Some(Content::Message) => {
                // A living consumer may pass meanwhile: then there is nothing left to repair.
                let _ = self.abandon(Side::Publisher);
                None
            }
            _ => None,
        }
    }

    /// Repairs what the last consumer left, for whoever takes its seat. Returns the word that was there where the
    /// turn was passed: whoever it shows sleeping is to be rung.
    pub(crate) fn repair_consumer(&self) -> Option<Word> {
        let word = match self.look(Side::Consumer) {
            Ok(word) => word,
            Err(word) => {
                if word.content() == Some(Content::ReplyFlow) {
                    // Nobody will write the rest of it.
                    let _ = self.abandon_marked(Side::Consumer, ORPHANED);
                }
                return None;
            }
        };
        // Relaxed: the dead one's stores are done, and the seat's lock has ordered them before.
        let was_taken = self.taken.load(Relaxed) == word.step();
        let was_answered = self.replying.load(Relaxed) == word.step();
        match word.content() {
            // Nobody had it: it stays as it is.
            Some(content) if content.is_first() && !was_taken => None,
            // The dead one had it, whole, and it is still whole: it stays, marked.
            Some(Content::Message | Content::Call) if !was_answered => {
                self.give_back();
                None
            }
            // A reply overwrote it, or the rest of it is where nobody will ask for it.
            _ => Some(self.pass(word, Content::Orphaned)),
        }
    }
}
