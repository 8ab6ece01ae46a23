//! Sampling on a machine that does not hold still.
//!
//! A virtual machine's two processors are near each other one moment and far apart the next, by a factor of seven, and
//! its host takes one away at times. So contestants take turns within one run; each sample is short, and stands
//! between two **fences**: probes of the bare line, and what the system says it took away meanwhile. A sample whose
//! fences differ by a fifth, or that lost a fifth of its time, is discarded, whatever it showed. The kept ones fall
//! into classes by their fences, never by their own value; and what is compared is medians of one class of one run.

use super::pair::Pair;
use crate::sys::processor;
use std::io;
use std::time::{Duration, Instant};

/// How long a sample takes unless the run says otherwise: short enough that most see one machine only.
pub const SPELL: Duration = Duration::from_millis(2);
/// Fewer samples say nothing.
pub const ENOUGH: usize = 10;
/// How many times as many rounds there are at most where the machine does not hold still.
const PATIENCE: usize = 4;
/// Fences may differ by this much.
const STEADY: f64 = 1.2;
/// A sample may lose one part in so many of its time.
const LOST: u32 = 5;
/// A probe slower than this counts as far: near ones take some 60 ns, far ones 300 and more.
const FAR_NANOS: f64 = 150.0;

/// Something that is measured in turn with others.
pub trait Contestant {
    /// One sample that takes about `spell`: a value in the contestant's own unit, the same each time.
    ///
    /// # Errors
    /// It cannot go on; that ends the run.
    fn sample(&mut self, spell: Duration) -> io::Result<f64>;

    /// The other process, if there is one: a sample in which that had to wait for a processor is discarded too.
    fn partner(&self) -> Option<u32> {
        None
    }

    /// All the other processes, where this one only tells others what to do.
    fn partners(&self) -> Vec<u32> {
        self.partner().into_iter().collect()
    }

    /// What became of the last sample: of which class it is, or that it was discarded. For contestants that remember
    /// more of a sample than its value.
    fn judged(&mut self, _class: Option<Class>) {}
}

/// How many repetitions fill a spell, by what the last ones took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    nanos_each: f64,
}

impl Pace {
    /// At least one; few where nothing is known yet.
    pub fn count(&self, spell: Duration) -> u64 {
        if self.nanos_each <= 0.0 {
            return 4;
        }
        ((spell.as_nanos() as f64 / self.nanos_each) as u64).clamp(1, 100_000)
    }

    /// That one took so long.
    pub fn learn(&mut self, nanos_each: f64) {
        self.nanos_each = nanos_each;
    }
}

/// How the two processors stood to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Two that hand a line to and fro in less than 150 ns.
    Near,
    /// Two that take longer.
    Far,
    /// One for both.
    SameCore,
}

impl Class {
    /// `near`, `far` or `same-core`.
    pub fn name(self) -> &'static str {
        match self {
            Class::Near => "near",
            Class::Far => "far",
            Class::SameCore => "same-core",
        }
    }
}

/// What the kept samples of one contestant in one class were.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Of which class.
    pub class: Class,
    /// The middle one: what is compared.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// How many were kept.
    pub samples: usize,
    /// How many of the contestant's were discarded, in the whole run: those are of no class.
    pub discarded: usize,
}

impl Figures {
    /// Whether there are so many that the median says something.
    pub fn is_enough(&self) -> bool {
        self.samples >= ENOUGH
    }
}

/// How a run is made. A plain value; each method returns it changed.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Steady {
    spell: Duration,
    rounds: usize,
    within: Option<Duration>,
}

impl Default for Steady {
    fn default() -> Self {
        Self::new()
    }
}

impl Steady {
    /// Sixty rounds, in each of which every contestant has one sample of 2 ms. On a machine that is disturbed so often
    /// that some contestant has fewer than [`ENOUGH`] in the class that was met most, up to four times as many.
    pub const fn new() -> Self {
        Steady { spell: SPELL, rounds: 60, within: None }
    }

    /// How long a sample takes.
    pub const fn spell(mut self, spell: Duration) -> Self {
        self.spell = spell;
        self
    }

    /// How many rounds there are where the machine holds still.
    pub const fn rounds(mut self, rounds: usize) -> Self {
        self.rounds = rounds;
        self
    }

    /// No further sample is taken when so much time has passed and every contestant had one.
    pub const fn within(mut self, time: Duration) -> Self {
        self.within = Some(time);
        self
    }

    /// Has the contestants take turns, each round beginning with another one. `pair` stands where they do, and makes
    /// the probes; the first sample of each contestant is a warm-up and not counted. `go_on` is asked before each
    /// sample, and ends the run with its error.
    ///
    /// # Errors
    /// A contestant's, the partner's end, or what `go_on` says.
    pub fn run(
        self,
        pair: &Pair,
        contestants: &mut [&mut dyn Contestant],
        go_on: &mut dyn FnMut() -> io::Result<()>,
    ) -> io::Result<Outcome> {
        let began = Instant::now();
        let mut outcome = Outcome { kept: Vec::new(), discarded: vec![0; contestants.len()] };
        for contestant in contestants.iter_mut() {
            go_on()?;
            contestant.sample(self.spell)?;
            contestant.judged(None);
        }
        let mut before = Fence::set(pair, None)?;
        'rounds: for round in 0..self.rounds * PATIENCE {
            if round >= self.rounds && outcome.is_enough() {
                break;
            }
            for turn in 0..contestants.len() {
                if round > 0 && self.within.is_some_and(|within| began.elapsed() >= within) {
                    break 'rounds;
                }
                let index = (turn + round) % contestants.len();
                go_on()?;
                let contestant = &mut contestants[index];
                // The partner's waiting is told anew for each; the rest of a fence is the last one's other side.
                before.partner = waited_by(&contestant.partners());
                let sampling = Instant::now();
                let value = contestant.sample(self.spell)?;
                let took = sampling.elapsed();
                let partner = waited_by(&contestant.partners());
                let after = Fence::set(pair, partner)?;
                let class = Fence::class(&before, &after, took, pair.places().is_one());
                contestant.judged(class);
                match class {
                    Some(class) => outcome.kept.push(Kept { contestant: index, class, value }),
                    None => outcome.discarded[index] += 1,
                }
                before = after;
            }
        }
        Ok(outcome)
    }
}

fn waited_by(partners: &[u32]) -> Option<Duration> {
    partners.iter().map(|pid| processor::kept_waiting(Some(*pid))).sum()
}

/// What stands on either side of a sample.
struct Fence {
    probe: f64,
    stolen: Option<u64>,
    /// How long this thread and the contestant's partners have waited for a processor so far.
    waited: Option<Duration>,
    partner: Option<Duration>,
}

impl Fence {
    fn set(pair: &Pair, partner: Option<Duration>) -> io::Result<Self> {
        // Read before the probe: what is lost in the probe before a sample counts with the sample.
        let waited = processor::kept_waiting(None);
        let stolen = pair.places().cpus().and_then(|cpus| processor::stolen_ticks(&cpus));
        Ok(Fence { probe: pair.probe()?, stolen, waited, partner })
    }

    /// The class of what stood between, unless it was disturbed.
    fn class(before: &Fence, after: &Fence, took: Duration, is_one: bool) -> Option<Class> {
        let (low, high) = (before.probe.min(after.probe), before.probe.max(after.probe));
        let lost = |before: Option<Duration>, after: Option<Duration>| {
            // Two on one processor wait for each other.
            !is_one && before.zip(after).is_some_and(|(before, after)| after.saturating_sub(before) > took / LOST)
        };
        let is_disturbed = high > low * STEADY
            || before.stolen != after.stolen
            || lost(before.waited, after.waited)
            || lost(before.partner, after.partner);
        if is_disturbed {
            return None;
        }
        Some(match is_one {
            true => Class::SameCore,
            false if low > FAR_NANOS => Class::Far,
            false => Class::Near,
        })
    }
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    contestant: usize,
    class: Class,
    value: f64,
}

/// What a run gave.
#[derive(Debug, Clone)]
pub struct Outcome {
    kept: Vec<Kept>,
    discarded: Vec<usize>,
}

impl Outcome {
    /// What one contestant, by its place in the run, showed in a class. `None` where nothing was kept.
    pub fn figures(&self, contestant: usize, class: Class) -> Option<Figures> {
        let values = self.values(contestant, class);
        let (min, max) = (*values.first()?, *values.last()?);
        Some(Figures {
            class,
            median: values[values.len() / 2],
            min,
            max,
            samples: values.len(),
            discarded: self.discarded[contestant],
        })
    }

    /// The one of these contestants whose median is the least, among those with enough samples, or, where none has,
    /// among all: the limit, where they are a fixed set of bare ways.
    pub fn fastest(&self, contestants: impl IntoIterator<Item = usize>, class: Class) -> Option<(usize, Figures)> {
        let shown = contestants.into_iter().filter_map(|index| Some((index, self.figures(index, class)?)));
        shown.min_by(|(_, one), (_, other)| {
            other.is_enough().cmp(&one.is_enough()).then(one.median.total_cmp(&other.median))
        })
    }

    /// Whether every contestant has enough samples in the class that was met most.
    fn is_enough(&self) -> bool {
        let Some(class) = self.classes().first().copied() else { return false };
        (0..self.discarded.len()).all(|index| self.values(index, class).len() >= ENOUGH)
    }

    /// The classes that were met, that with the most samples first.
    pub fn classes(&self) -> Vec<Class> {
        let count = |class| self.kept.iter().filter(|kept| kept.class == class).count();
        let mut classes = vec![Class::Near, Class::Far, Class::SameCore];
        classes.retain(|class| count(*class) > 0);
        classes.sort_by_key(|class| std::cmp::Reverse(count(*class)));
        classes
    }

    /// The kept values of one contestant in a class, the least first.
    pub fn values(&self, contestant: usize, class: Class) -> Vec<f64> {
        let here = |kept: &&Kept| kept.contestant == contestant && kept.class == class;
        let mut values: Vec<f64> = self.kept.iter().filter(here).map(|kept| kept.value).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    /// How many samples of one contestant were discarded.
    pub fn discarded(&self, contestant: usize) -> usize {
        self.discarded[contestant]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fence(probe: f64, stolen: u64, waited_micros: u64) -> Fence {
        let waited = Some(Duration::from_micros(waited_micros));
        Fence { probe, stolen: Some(stolen), waited, partner: waited }
    }

    #[test]
    fn a_sample_counts_only_between_fences_that_agree() {
        let took = Duration::from_millis(2);
        let class = |before, after| Fence::class(&before, &after, took, false);
        assert_eq!(class(fence(60.0, 5, 0), fence(71.0, 5, 100)), Some(Class::Near));
        assert_eq!(class(fence(420.0, 5, 0), fence(380.0, 5, 0)), Some(Class::Far));
        assert_eq!(class(fence(60.0, 5, 0), fence(73.0, 5, 0)), None);
        assert_eq!(class(fence(73.0, 5, 0), fence(60.0, 5, 0)), None);
        assert_eq!(class(fence(60.0, 5, 0), fence(60.0, 6, 0)), None);
        assert_eq!(class(fence(60.0, 5, 0), fence(60.0, 5, 401)), None);
        // On one processor the two wait for each other.
        let together = Fence::class(&fence(3000.0, 5, 0), &fence(3100.0, 5, 900), took, true);
        assert_eq!(together, Some(Class::SameCore));
    }

    #[test]
    fn figures_are_of_one_contestant_and_one_class() {
        let kept = |contestant, class, value| Kept { contestant, class, value };
        let mut all: Vec<Kept> = (0..11).map(|n| kept(0, Class::Near, f64::from(10 - n))).collect();
        all.extend((0..10).map(|n| kept(1, Class::Near, f64::from(n))));
        all.push(kept(2, Class::Near, 0.5));
        all.push(kept(0, Class::Far, 77.0));
        let outcome = Outcome { kept: all, discarded: vec![3, 0, 1] };
        let near = outcome.figures(0, Class::Near).unwrap();
        assert_eq!((near.min, near.median, near.max, near.samples, near.discarded), (0.0, 5.0, 10.0, 11, 3));
        assert_eq!(outcome.figures(0, Class::Far).unwrap().median, 77.0);
        assert_eq!(outcome.figures(1, Class::SameCore), None);
        assert_eq!(outcome.classes(), [Class::Near, Class::Far]);
        // The third is the least, and has not enough samples to be believed.
        assert_eq!(outcome.fastest(0..3, Class::Near).unwrap().0, 0);
        assert_eq!(outcome.fastest(2..3, Class::Near).unwrap().0, 2);
    }

    #[test]
    fn a_pace_fills_the_spell() {
        let mut pace = Pace::default();
        assert!(pace.count(SPELL) > 0);
        pace.learn(1000.0);
        assert_eq!(pace.count(SPELL), 2000);
        pace.learn(1e12);
        assert_eq!(pace.count(SPELL), 1);
    }
}
