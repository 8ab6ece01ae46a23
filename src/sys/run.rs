//! Copies of one end that follow one another: whether they run over more memory than the caches hold.
//!
//! A message tells how long it is before it is copied; blocks come one by one, and where each is copied to is its
//! reader's choice. So what is gone by is where the copies before went. While each begins behind the last one's end,
//! none of that memory is written twice. Once so much has gone through the file meanwhile as is too long for the cache,
//! no matter by which readers, what is copied next is not worth keeping there. A reader that begins anew from the
//! front, as with a buffer that it uses again, goes by how much it was until it did.

use super::copy::Target;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};

/// Shorter copies go to the cache, whatever they are part of.
const LEAST: usize = 32 << 10;
/// An end counts what went through the file as so many times what it copied itself, at the most: where writers choose
/// where blocks belong, a file may have long holes.
const MOST_ENDS: u64 = 8;

/// What is known of one end's copies. A guess that costs time where it is wrong, and nothing else: so threads that
/// share an end need not agree.
#[derive(Debug)]
pub(crate) struct Run {
    /// Where the last copy ended, in memory.
    end: AtomicUsize,
    /// Where the first one began, in the file.
    start: AtomicU64,
    /// How much this end has copied since.
    copied: AtomicU64,
    /// How long the run before this one was.
    before: AtomicU64,
}

impl Run {
    pub(crate) fn new() -> Self {
        let [copied, before] = [const { AtomicU64::new(0) }; 2];
        Run { end: AtomicUsize::new(0), start: AtomicU64::new(u64::MAX), copied, before }
    }

    /// Where the next copy should go: what is at `position` of the file, to `to`.
    #[inline]
    pub(crate) fn next(&self, to: &[u8], position: u64) -> Target {
        if to.len() < LEAST {
            return Target::Cache;
        }
        let (begin, len) = (to.as_ptr().addr(), to.len() as u64);
        // Relaxed: a guess.
        let (mut start, mut copied) = (self.start.load(Relaxed), self.copied.load(Relaxed));
        let length = |end: u64, start, copied: u64| end.saturating_sub(start).min(copied.saturating_mul(MOST_ENDS));
        if begin < self.end.load(Relaxed) || position < start {
            self.before.store(length(position, start, copied), Relaxed);
            (start, copied) = (position, 0);
            self.start.store(start, Relaxed);
        }
        copied = copied.saturating_add(len);
        self.copied.store(copied, Relaxed);
        self.end.store(begin.wrapping_add(to.len()), Relaxed);
        let length = length(position.saturating_add(len), start, copied).max(self.before.load(Relaxed));
        Target::of(usize::try_from(length).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    /// Where the copies to these places go, in MiB, of every `each`th MiB of the file from `first` on.
    fn targets(run: &Run, (first, each): (u64, u64), places: impl Iterator<Item = usize>) -> Vec<Target> {
        let memory = vec![0; 32 * MIB];
        let position = |n| (first + n as u64 * each) * MIB as u64;
        places.enumerate().map(|(n, place)| run.next(&memory[place * MIB..][..MIB], position(n))).collect()
    }

    fn only(target: Target) -> impl Fn(&Target) -> bool {
        move |one| *one == target
    }

    #[test]
    fn a_buffer_that_is_used_again_and_again_stays_in_the_cache() {
        let places = (0..100).map(|_| 0).chain((0..100).map(|n| n % 15));
        assert!(targets(&Run::new(), (0, 1), places).iter().all(only(Target::Cache)));
        // Nor does it matter how far into the file that is, or how long its holes are.
        assert!(targets(&Run::new(), (1 << 20, 1 << 20), [0; 9].into_iter()).iter().all(only(Target::Cache)));
    }

    #[test]
    fn what_runs_over_more_than_the_cache_goes_past_it_and_so_does_its_next_round() {
        // In one go, as where the memory lies is what counts.
        let short = 96;
        let all = targets(&Run::new(), (0, 1), (0..96).map(|n| n % 32).chain([0; 10]));
        assert!(all[..15].iter().all(only(Target::Cache)), "{all:?}");
        assert!(all[15..short].iter().all(only(Target::Memory)), "{all:?}");
        // One too many, until it shows that the buffer is a short one now.
        assert!(all[short + 1..].iter().all(only(Target::Cache)), "{all:?}");
    }

    #[test]
    fn what_other_ends_copy_meanwhile_counts() {
        let all = targets(&Run::new(), (0, 4), (0..24).map(|n| n % 8 * 4));
        assert!(all[..3].iter().all(only(Target::Cache)) && all[4..].iter().all(only(Target::Memory)), "{all:?}");
    }

    #[test]
    fn short_copies_say_nothing() {
        let (memory, run) = (vec![0; 17 * MIB], Run::new());
        let pieces = memory.chunks(4096).enumerate();
        assert!({ pieces }.all(|(n, piece)| run.next(piece, n as u64 * 4096) == Target::Cache));
    }
}
