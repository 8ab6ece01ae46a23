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
    let call = side.loops().0;
    pair.order(Order::PingPong(way, warm + round_trips))?;
    call(&mut side, 0, warm)?;
    let began = Instant::now();
    call(&mut side, warm, warm + round_trips)?;
    Ok(began.elapsed().as_nanos() as f64 / round_trips as f64)
}

/// The partner's half.
pub(super) fn answer(pair: &Pair, way: Way, round_trips: u64, ready: impl FnOnce()) -> io::Result<()> {
    let mut side = Side::new(pair, way);
    let answer = side.loops().1;
    ready();
    answer(&mut side, 0, round_trips)
}

/// How bytes travel.
const AS_FLAG: u8 = 0;
const AS_WORDS: u8 = 1;
const BY_MEMCPY: u8 = 2;

const NOTHING: u8 = Between::Nothing as u8;
const PAUSE: u8 = Between::Pause as u8;
const YIELD: u8 = Between::Yield as u8;

/// Round trips from one number to another.
type Loop<'p> = fn(&mut Side<'p>, u64, u64) -> io::Result<()>;

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

    /// The caller's loop and the partner's, each made for its way: nothing is asked in them that could be asked
    /// before, or the limit would not be one.
    fn loops(&self) -> (Loop<'p>, Loop<'p>) {
        match self.way.bytes {
            ..=8 => self.loops_by::<AS_FLAG>(),
            9..=64 => self.loops_by::<AS_WORDS>(),
            _ => self.loops_by::<BY_MEMCPY>(),
        }
    }

    fn loops_by<const BY: u8>(&self) -> (Loop<'p>, Loop<'p>) {
        match self.way.between {
            Between::Nothing => (Self::call::<BY, NOTHING>, Self::answer::<BY, NOTHING>),
            Between::Pause => (Self::call::<BY, PAUSE>, Self::answer::<BY, PAUSE>),
            Between::Yield => (Self::call::<BY, YIELD>, Self::answer::<BY, YIELD>),
        }
    }

    fn call<const BY: u8, const BETWEEN: u8>(&mut self, from: u64, to: u64) -> io::Result<()> {
        let back = usize::from(self.way.each_way);
        for n in from..to {
            self.put::<BY>(0, 2 * n + 1);
            self.wait::<BETWEEN>(back, 2 * n + 2)?;
            self.get::<BY>(back);
        }
        Ok(())
    }

    fn answer<const BY: u8, const BETWEEN: u8>(&mut self, from: u64, to: u64) -> io::Result<()> {
        let back = usize::from(self.way.each_way);
        for n in from..to {
            self.wait::<BETWEEN>(0, 2 * n + 1)?;
            self.get::<BY>(0);
            self.put::<BY>(back, 2 * n + 2);
        }
        Ok(())
    }

    #[inline(always)]
    fn wait<const BETWEEN: u8>(&self, line: usize, value: u64) -> io::Result<()> {
        let flag = &self.lines[line].flag;
        loop {
            for _ in 0..4096 {
                if flag.load(Acquire) == value {
                    return Ok(());
                }
                match BETWEEN {
                    PAUSE => spin_loop(),
                    YIELD => std::thread::yield_now(),
                    _ => {}
                }
            }
            self.pair.check()?;
        }
    }

    #[inline(always)]
    fn put<const BY: u8>(&mut self, line: usize, value: u64) {
        let Line { flag, words } = &self.lines[line];
        if BY == BY_MEMCPY {
            self.pair.write(line, black_box(&self.sent));
        } else if BY == AS_WORDS {
            for (word, from) in words.iter().zip(&black_box(self.short)[..self.way.bytes.div_ceil(8)]) {
                word.store(*from, Relaxed); // Published by the flag.
            }
        }
        flag.store(value, Release);
    }

    #[inline(always)]
    fn get<const BY: u8>(&mut self, line: usize) {
        let Line { words, .. } = &self.lines[line];
        if BY == BY_MEMCPY {
            self.pair.read(line, &mut self.came);
            black_box(&mut self.came);
        } else if BY == AS_WORDS {
            let mut came = [0; 8];
            for (word, to) in words.iter().zip(&mut came[..self.way.bytes.div_ceil(8)]) {
                *to = word.load(Relaxed); // Acquired with the flag.
            }
            black_box(came);
        }
    }
}
