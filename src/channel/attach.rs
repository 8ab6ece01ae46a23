//! The channel's attachment: what its regions are, who sits where, and what a dead end left.

use super::layout::{HEADER_BYTES, MAGIC, VERSION};
use super::memory::Memory;
use super::options::ChannelOptions;
use super::turn::{Content, Side, Word};
use crate::error::Error;
use crate::name::Name;
use crate::sys::door::{Attachment, Intent, Kind};
use crate::sys::seat::Taken;
use std::sync::atomic::Ordering::Relaxed;

/// A channel's regions.
static KIND: Kind = Kind {
    magic: MAGIC,
    layout_version: VERSION,
    overhead: HEADER_BYTES,
    // Relaxed: released with the magic.
    fill_in: |region| Memory(region).header().turn.word.store(Word::FIRST.0, Relaxed),
};

/// One process's attachment to one channel; its ends share it.
pub(crate) struct Shared(Attachment);

impl Shared {
    pub(crate) fn attach(name: Name, intent: Intent, options: ChannelOptions) -> Result<Self, Error> {
        let total = options.region_bytes()?;
        Attachment::attach(name, intent, &KIND, total, options.mode).map(Shared)
    }

    pub(crate) fn unlink(name: &Name) -> Result<(), Error> {
        Attachment::unlink(name, &KIND)
    }

    #[inline]
    pub(crate) fn memory(&self) -> Memory<'_> {
        Memory(&self.0.mapping)
    }

    /// Takes an end's seat and repairs what its last holder left.
    pub(crate) fn sit(&self, side: Side) -> Result<Taken, Error> {
        self.0.sit(side as usize, side.name(), || match side {
            Side::Publisher => self.memory().turn().repair_publisher(),
            Side::Consumer => {
                if let Some(before) = self.memory().turn().repair_consumer() {
                    self.ring_if_asleep(before, Side::Consumer);
                }
            }
        })
    }

    /// Rings for the other side if `before`, which `side`'s passing returned, shows it asleep.
    #[inline]
    pub(crate) fn ring_if_asleep(&self, before: Word, side: Side) {
        if before.has_sleeping(side.other()) {
            self.0.bell(side.other() as usize).post();
        }
    }

    fn message_waits(&self) -> bool {
        let word = self.memory().turn().look(Side::Consumer);
        word.is_ok_and(|word| word.content() == Some(Content::Message))
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
    /// The last one that leaves in order removes the names, unless a message waits.
    fn drop(&mut self) {
        self.0.leave(|| self.message_waits());
    }
}
