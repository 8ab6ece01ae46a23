//! Two raw named semaphores: what no two processes that sleep for each other can beat by much.

use super::pair::{Order, Pair};
use super::steady::{Contestant, Pace};
use std::io;
use std::time::{Duration, Instant};

/// Two processes that post one semaphore and sleep on the other, by `sem_post` and `sem_wait` alone: nanoseconds a
/// round trip. On two processors or on one, as the [`Pair`] is placed.
#[derive(Debug)]
pub struct Semaphores<'p> {
    pair: &'p Pair,
    pace: Pace,
}

impl<'p> Semaphores<'p> {
    /// Between the processes of `pair`.
    pub fn new(pair: &'p Pair) -> Self {
        Semaphores { pair, pace: Pace::default() }
    }
}

impl Contestant for Semaphores<'_> {
    fn sample(&mut self, spell: Duration) -> io::Result<f64> {
        let round_trips = self.pace.count(spell);
        let warm = (round_trips / 4).min(50);
        self.pair.order(Order::Semaphores(warm + round_trips))?;
        let mut began = Instant::now();
        for n in 0..warm + round_trips {
            if n == warm {
                began = Instant::now();
            }
            self.pair.bells().theirs.post();
            self.pair.bells().mine.take();
            self.pair.check()?; // A token comes from the watch, too.
        }
        let nanos = began.elapsed().as_nanos() as f64 / round_trips as f64;
        self.pace.learn(nanos);
        Ok(nanos)
    }

    fn partner(&self) -> Option<u32> {
        Some(self.pair.partner())
    }
}

/// The partner's half.
pub(super) fn answer(pair: &Pair, round_trips: u64, ready: impl FnOnce()) {
    ready();
    for _ in 0..round_trips {
        pair.bells().mine.take();
        pair.bells().theirs.post();
    }
}
