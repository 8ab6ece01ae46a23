//! Bare ping-pongs: what no hand-over of as many bytes between the same two processors can beat.

use super::pair::{Order, Pair};
use super::steady::{Contestant, Pace};
use crate::sys::lines::Line;
use std::hint::{black_box, spin_loop};
use std::io;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

/// The most bytes that a bare ping-pong hands over.
pub const MOST_BYTES: usize = 4 * 1024 * 1024;

/// What one does between two looks at a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Between {
    /// Nothing.
    Nothing,
    /// The processor's `pause`.
    Pause,
    /// Lets another thread run.
    Yield,
}

/// One way of handing bytes over and back: the bytes are copied in, a flag is set behind them, and the other process
/// that sees it copies them out.
///
/// 8 bytes travel as the flag itself; up to 64 word by word in the two lines of the flag; longer ones by the C
/// library's `memcpy`, whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// How many, to and fro.
    pub bytes: usize,
    /// Memory of its own for each way; otherwise the same to and fro.
    pub each_way: bool,
    /// How one watches.
    pub between: Between,
}

impl Way {
    /// The fixed set for one size on two processors: the limit is the fastest of it.
    pub fn all(bytes: usize) -> Vec<Way> {
        let ways =
            [(false, Between::Pause), (false, Between::Nothing), (true, Between::Pause), (true, Between::Nothing)];
        // How one watches is lost in the time of a long copy.
        let ways = if bytes > 1024 { ways.iter().step_by(2).copied().collect() } else { ways.to_vec() };
        ways.into_iter().map(|(each_way, between)| Way { bytes, each_way, between }).collect()
    }

    /// In a few words.
    pub fn name(&self) -> &'static str {
        match (self.each_way, self.between) {
            (false, Between::Nothing) => "same line, no pause",
            (false, Between::Pause) => "same line",
            (false, Between::Yield) => "same line, yielding",
            (true, Between::Nothing) => "a line each way, no pause",
            (true, Between::Pause) => "a line each way",
            (true, Between::Yield) => "a line each way, yielding",
        }
    }
}

/// A [`Way`] as something that is measured: nanoseconds a round trip.
#[derive(Debug)]
pub struct PingPong<'p> {
    pair: &'p Pair,
    way: Way,
    pace: Pace,
}

impl<'p> PingPong<'p> {
    /// Between the processes of `pair`.
    ///
    /// # Errors
    /// More than [`MOST_BYTES`].
    pub fn new(pair: &'p Pair, way: Way) -> io::Result<Self> {
        if way.bytes > MOST_BYTES {
            let why = format!("a bare ping-pong has at most {MOST_BYTES} bytes, and not {}", way.bytes);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        Ok(PingPong { pair, way, pace: Pace::default() })
    }
}

impl Contestant for PingPong<'_> {
    fn sample(&mut self, spell: Duration) -> io::Result<f64> {
        let nanos = time(self.pair, self.way, self.pace.count(spell))?;
        self.pace.learn(nanos);
        Ok(nanos)
    }

    fn partner(&self) -> Option<u32> {
        Some(self.pair.partner())
    }
}

/// Nanoseconds a round trip, of `round_trips` and a few more that are not counted.
pub(super) fn time(pair: &Pair, way: Way, round_trips: u64) -> io::Result<f64> {
    let warm = (round_trips / 4).min(50);
    let mut side = Side::new(pair, way);
    pair.order(Order::PingPong(way, warm + round_trips))?;
    side.call(0, warm)?;
    let began = Instant::now();
    side.call(warm, warm + round_trips)?;
    Ok(began.elapsed().as_nanos() as f64 / round_trips as f64)
}

/// The partner's half.
pub(super) fn answer(pair: &Pair, way: Way, round_trips: u64, ready: impl FnOnce()) -> io::Result<()> {
    let mut side = Side::new(pair, way);
    ready();
    for n in 0..round_trips {
        side.wait(0, 2 * n + 1)?;
        side.get(0);
        side.put(usize::from(way.each_way), 2 * n + 2);
    }
    Ok(())
}

struct Side<'p> {
    pair: &'p Pair,
    lines: &'p [Line; 2],
    way: Way,
    /// Private memory: what is sent, and what came.
    short: [u64; 8],
    sent: Vec<u8>,
    came: Vec<u8>,
}

impl<'p> Side<'p> {
    fn new(pair: &'p Pair, way: Way) -> Self {
        let len = if way.bytes > 64 { way.bytes } else { 0 };
        Side { pair, lines: pair.lines(), way, short: [7; 8], sent: vec![7; len], came: vec![8; len] }
    }

    #[inline]
    fn call(&mut self, from: u64, to: u64) -> io::Result<()> {
        let back = usize::from(self.way.each_way);
        for n in from..to {
            self.put(0, 2 * n + 1);
            self.wait(back, 2 * n + 2)?;
            self.get(back);
        }
        Ok(())
    }

    #[inline]
    fn wait(&self, line: usize, value: u64) -> io::Result<()> {
        let flag = &self.lines[line].flag;
        loop {
            for _ in 0..4096 {
                if flag.load(Acquire) == value {
                    return Ok(());
                }
                match self.way.between {
                    Between::Nothing => {}
                    Between::Pause => spin_loop(),
                    Between::Yield => std::thread::yield_now(),
                }
            }
            self.pair.check()?;
        }
    }

    #[inline]
    fn put(&mut self, line: usize, value: u64) {
        let Line { flag, words } = &self.lines[line];
        if self.way.bytes > 64 {
            self.pair.write(line, black_box(&self.sent));
        } else if self.way.bytes > 8 {
            let count = self.way.bytes.div_ceil(8);
            for (word, from) in words.iter().zip(&black_box(self.short)[..count]) {
                word.store(*from, Relaxed); // Published by the flag.
            }
        }
        flag.store(value, Release);
    }

    #[inline]
    fn get(&mut self, line: usize) {
        let Line { words, .. } = &self.lines[line];
        if self.way.bytes > 64 {
            self.pair.read(line, &mut self.came);
            black_box(&mut self.came);
        } else if self.way.bytes > 8 {
            let count = self.way.bytes.div_ceil(8);
            let mut came = [0; 8];
            for (word, to) in words.iter().zip(&mut came[..count]) {
                *to = word.load(Relaxed); // Acquired with the flag.
            }
            black_box(came);
        }
    }
}
