//! The two bells of a region: what each end sleeps on, and the other one rings.
//!
//! | kind | a token is | where |
//! |---|---|---|
//! | semaphores | one of a named semaphore's, made anew with each region | Linux; Darwin before 14.4 |
//! | words | one in a word of the region itself, which is waited for by its address | Darwin from 14.4 on |
//!
//! Which of them is the machine's choice, and not a process's: all of one machine find the same. It stands in the
//! region's identity all the same, so that two that differ refuse each other by name and do not ring in vain.
//!
//! **Words need nothing else.** No names that a killed process could leave in a table of the whole machine, no
//! descriptors, nothing to open, and a wait with a limit. So where there are words no semaphores are made; their
//! names are still unlinked with the region's, which costs two calls that find nothing.
//!
//! **A word is counted like a semaphore.** Ringing adds one and wakes; whoever wants to sleep takes one if there is
//! one, and otherwise sleeps *while the word is 0*: the system compares it under the lock under which it wakes, so
//! that a token that comes in between ends the sleep before it began. The count carries no data, and everything about
//! it is `Relaxed`: what one is woken for stands in the turn, and is looked at there.
//!
//! **Any process that can map the region may write the word**, as it may post a semaphore: a false token costs a
//! look, a lost one a tick. No more are ever due than the floor says: two where one end sleeps (see `bell.rs`), as many
//! as can sleep where a bell is a whole side's (`blocks/board.rs`). More are taken for that many, and a false count of
//! billions costs so many looks. Ringing past the largest count leaves none: a tick.

use super::LIBC_FLAVOUR;
use super::address::ByAddress;
use super::region::Mapping;
use super::semaphore::{Semaphore, Waited};
use std::ffi::CString;
use std::io;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// The identity's word for bells that are words; the others are libcs'.
const WORDS: u32 = 5;
/// The most tokens that are ever due where one sleeps: one for the last arming, and one that is owed.
pub(crate) const TOKENS_OF_ONE: u32 = 2;

/// What the bells of this machine's regions are.
pub(crate) fn flavour() -> u32 {
    match ByAddress::of_this_machine() {
        Some(_) => WORDS,
        None => LIBC_FLAVOUR,
    }
}

/// What a process needs for the bells of one region.
pub(crate) enum Bells {
    Semaphores([Semaphore; 2]),
    Words(ByAddress),
}

impl Bells {
    /// For a region that is being made: its words are 0.
    pub(crate) fn make_anew([first, second]: &[CString; 2], mode: u32) -> io::Result<Self> {
        if let Some(words) = ByAddress::of_this_machine() {
            return Ok(Bells::Words(words));
        }
        Ok(Bells::Semaphores([Semaphore::create_anew(first, mode)?, Semaphore::create_anew(second, mode)?]))
    }

    /// For a region that is there. `None` where a semaphore is missing.
    pub(crate) fn open([first, second]: &[CString; 2]) -> io::Result<Option<Self>> {
        if let Some(words) = ByAddress::of_this_machine() {
            return Ok(Some(Bells::Words(words)));
        }
        let opened = (Semaphore::open(first)?, Semaphore::open(second)?);
        Ok(match opened {
            (Some(first), Some(second)) => Some(Bells::Semaphores([first, second])),
            _ => None,
        })
    }

    /// The bell of an end. `region` is the one that these were made or opened for, `most` the tokens that may be due.
    pub(crate) fn of<'r>(&'r self, region: &'r Mapping, end: usize, most: u32) -> Bell<'r> {
        match self {
            Bells::Semaphores(semaphores) => Bell::Semaphore(&semaphores[end & 1]),
            Bells::Words(words) => Bell::Word { words: *words, tokens: &region.head().bells[end & 1].tokens, most },
        }
    }
}

/// One bell.
pub(crate) enum Bell<'r> {
    Semaphore(&'r Semaphore),
    Word { words: ByAddress, tokens: &'r AtomicU32, most: u32 },
}

impl Bell<'_> {
    /// Adds a token, and wakes who sleeps.
    pub(crate) fn post(&self) {
        match self {
            Bell::Semaphore(semaphore) => semaphore.post(),
            Bell::Word { words, tokens, .. } => {
                // Relaxed: see the module's page.
                tokens.fetch_add(1, Relaxed);
                words.wake(tokens);
            }
        }
    }

    /// Takes a token if there is one.
    pub(crate) fn try_take(&self) -> bool {
        match self {
            Bell::Semaphore(semaphore) => semaphore.try_take(),
            Bell::Word { tokens, most, .. } => try_take(tokens, *most),
        }
    }

    /// Sleeps until there is a token, or `limit` has passed, or a signal came.
    pub(crate) fn take_within(&self, limit: Duration) -> Waited {
        match self {
            Bell::Semaphore(semaphore) => semaphore.take_within(limit),
            Bell::Word { words, tokens, most } => {
                if try_take(tokens, *most) {
                    return Waited::Token;
                }
                words.sleep_while_zero(tokens, limit);
                if try_take(tokens, *most) { Waited::Token } else { Waited::Nothing }
            }
        }
    }
}

fn try_take(tokens: &AtomicU32, most: u32) -> bool {
    // Relaxed: see the module's page.
    tokens.fetch_update(Relaxed, Relaxed, |count| count.min(most).checked_sub(1)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_false_count_is_worth_as_many_tokens_as_can_be_due() {
        for most in [TOKENS_OF_ONE, 1000] {
            let tokens = AtomicU32::new(u32::MAX);
            assert_eq!((0..2000).filter(|_| try_take(&tokens, most)).count(), most as usize);
            assert_eq!(tokens.load(Relaxed), 0);
        }
    }
}
