//! Counting what an end has done, for whoever wants to know how a channel is doing.
//!
//! Each end adds to its own line, which nobody else writes, once it has passed the turn: while what it passed is on its
//! way, there is time. Numbers go on where the last holder of the seat left them. A peer may write there too: then they
//! are wrong, and nothing else is.

use super::layout::CounterLine;
use crate::sys;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

impl CounterLine {
    #[inline]
    pub(super) fn count_message(&self, len: usize) {
        add(&self.messages, 1);
        add(&self.bytes, len as u64);
    }

    #[inline]
    pub(super) fn count_reply(&self, len: usize) {
        add(&self.replies, 1);
        add(&self.reply_bytes, len as u64);
    }

    pub(super) fn count_sleep(&self) {
        add(&self.sleeps, 1);
    }

    /// Says that this end has been waiting for a while.
    #[cold]
    pub(super) fn begin_waiting(&self) {
        // Relaxed, here and below: nothing hangs on it.
        self.waiting_since_unix_ms.store(sys::unix_millis(), Relaxed);
    }

    pub(super) fn end_waiting(&self) {
        self.waiting_since_unix_ms.store(0, Relaxed);
    }
}

/// No read-modify-write, which would cost as much as passing the turn: there is one writer.
#[inline]
fn add(counter: &AtomicU64, more: u64) {
    // Relaxed: as above.
    counter.store(counter.load(Relaxed).wrapping_add(more), Relaxed);
}
