//! The channel's attachment: what its regions are, who sits where, and what a dead end left.

use super::layout::{HEADER_BYTES, MAGIC, VERSION};
use super::memory::Memory;
use super::options::ChannelOptions;
use super::turn::{self, Content, Side, Word};
use crate::error::Error;
use crate::name::Name;
use crate::sys::bells::TOKENS_OF_ONE;
use crate::sys::deadline::Deadline;
use crate::sys::door::{Attachment, Blueprint, Intent, Kind};
use crate::sys::region::{HeadAt, Mapping};
use crate::sys::seat::Taken;
use std::sync::atomic::Ordering::Relaxed;

/// A channel's regions.
static KIND: Kind = Kind {
    magic: MAGIC,
    layout_version: VERSION,
    overhead: HEADER_BYTES,
    head: HeadAt::Start,
    most_tokens: TOKENS_OF_ONE,
    holds_message: |region| {
        let word = Memory(region).turn().look(Side::Consumer);
        word.is_ok_and(|word| word.content() == Some(Content::Message))
    },
};

/// One process's attachment to one channel; its ends share it.
pub(crate) struct Shared(Attachment);

impl Shared {
    /// What is made has these `flags`.
    pub(crate) fn attach(name: Name, intent: Intent, options: ChannelOptions, flags: u32) -> Result<Self, Error> {
        let blueprint = Blueprint { total: options.region_bytes()?, mode: options.mode, flags };
        // Relaxed: released with the magic.
        let fill_in = |region: &Mapping| Memory(region).header().turn.word.store(Word::FIRST.0, Relaxed);
        Attachment::attach(name, intent, &KIND, blueprint, &fill_in).map(Shared)
    }

    pub(crate) fn unlink(name: &Name) -> Result<(), Error> {
        Attachment::unlink(name, &KIND)
    }

    #[inline]
    pub(crate) fn memory(&self) -> Memory<'_> {
        Memory(&self.0.mapping)
    }

    /// Takes an end's seat and repairs what its last holder left; waits for the seat where there is a `limit`.
    pub(crate) fn sit(&self, side: Side, limit: Option<Deadline>) -> Result<Taken, Error> {
        self.0.sit(side as usize, side.name(), limit, || {
            let turn = self.memory().turn();
            let before = match side {
                // The turn first: a reply that begins to flow after it was looked at is not whole.
                Side::Publisher => {
                    let is_mine = turn.look(side).is_ok();
                    turn.repair_publisher(is_mine && self.reply_is_whole())
                }
                Side::Consumer => turn.repair_consumer(),
            };
            match before {
                Some(before) => self.ring_if_asleep(before, side),
                None => self.wake(side.other()),
            }
        })
    }

    /// Whether all of a reply that flowed last was written. Asked under the publisher's turn.
    fn reply_is_whole(&self) -> bool {
        let memory = self.memory();
        // Relaxed: whoever sits opposite wrote it, and reset both counts, before it passed the turn, which `look`
        // acquired.
        let len = memory.header().turn.length.load(Relaxed);
        memory.progress(Side::Publisher, 0).theirs() >= len
    }

    /// Rings for `side` where it sleeps in the middle of a flow.
    pub(crate) fn wake(&self, side: Side) {
        if turn::wake(&self.memory().header().turn.word, side) {
            self.0.bell(side as usize).post();
        }
    }

    /// Rings for the other side if `before`, which `side`'s passing returned, shows it asleep.
    #[inline]
    pub(crate) fn ring_if_asleep(&self, before: Word, side: Side) {
        if before.has_sleeping(side.other()) {
            self.0.bell(side.other() as usize).post();
        }
    }
}

impl std::ops::Deref for Shared {
    type Target = Attachment;

    #[inline]
    fn deref(&self) -> &Attachment {
        &self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.0.leave();
    }
}
