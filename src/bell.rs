//! A bell, who sleeps on it, and the tick: how anyone sleeps and is woken. `sys/bells.rs` has what a bell is made of.
//!
//! Each end of a channel has one bell, which it alone sleeps on and the other end alone rings. Sleeping is arranged
//! so that *no promise has to be kept for a sleeper to wake in time to look*:
//!
//! 1. **Look** at the word that is waited for. Done if it is as hoped.
//! 2. **Arm**: say on that very word that one is about to sleep, by compare-and-swap against a value that is not as
//!    hoped. Whoever makes it so in between makes that fail: look again.
//! 3. **Look** once more: what is waited for may stand beside the word, and its coming does not make the arming fail.
//! 4. **Sleep** until a token comes, and never longer than a **tick** (40 ms).
//! 5. Look again. Whoever changes the word takes the arming away *in the same operation*, and if it was there posts
//!    one token; whoever changes something beside it looks at the arming afterwards, and takes it likewise.
//!
//! So for every arming there is one of two ends. Either the sleeper takes its arming back and no token is due, or the
//! other end took it, and one token is due. A sleeper that returns before it has eaten its token remembers the
//! **debt** and eats the token at its next sleep, where it would otherwise cost one look for nothing. A token lost
//! for good, because the other end was killed between taking the arming and posting, costs a tick. Tokens that nobody
//! owes (a hostile peer's, or a leaving one's, which rings so that its leaving is seen at once) cost one look each.
//!
//! At most one post is ever under way: an end posts before it does anything else. So there are never more than two
//! tokens, one of them a debt.
//!
//! Before it sleeps, an end may watch the word for a while, as its [`Wait`] says.

use crate::steps::step;
use crate::sys::bells::Bell;
use crate::sys::peer::SPIN_LOOK;
use crate::sys::semaphore::Waited;
use std::time::{Duration, Instant};

/// The longest that `Adaptive` spins: about what a sleep costs.
const MOST_SPIN: Duration = Duration::from_micros(50);
/// A wait that took no longer, its sleep included, might have ended within the longest spell.
const SHORT: Duration = Duration::from_micros(100);
/// Of so many sleeps in a row one comes after the longest spell, whatever was learned.
const TRY_AGAIN: u32 = 16;
/// Looks at the word between two looks at the clock.
const POLLS: u32 = 64;
/// Multiplications that make a pause between two looks longer.
const PAUSE_LONGER: u32 = 3;
/// How often `Adaptive` yields before it sleeps, where both ends share a processor.
const YIELDS: u32 = 3;
/// Yields that took longer than the longest spell gave the processor to somebody else. If that happens twice within
/// so many times as long, there are none for so many times as long.
const CROWDED: u32 = 64;

/// How an end waits for the other one. Ends that wait differently work together.
///
/// ```
/// # let name = format!("doc-wait-{}", std::process::id());
/// let channel = antiphon::ChannelOptions::new().wait(antiphon::Wait::Park).create(&name)?;
/// let mut consumer = channel.consumer()?; // Sleeps at once,
/// consumer.set_wait(antiphon::Wait::Spin); // or never, from here on.
/// # Ok::<(), antiphon::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Wait {
    /// Never sleeps: the fastest answer, for the price of a whole processor.
    Spin,
    /// Sleeps at once: the least work, and the slowest answer.
    Park,
    /// Spins for as long as spinning has been paying off lately, at most 50 µs, then sleeps. Where both ends share a
    /// processor it yields instead of spinning, unless others want that processor too.
    #[default]
    Adaptive,
}

/// What sleeping needs of a bell; the model has one of its own.
pub(crate) trait Ring {
    /// Sleeps until it took a token (true) or `limit` has passed.
    fn take_within(&self, limit: Duration) -> bool;
    /// Takes a token if there is one.
    fn try_take(&self) -> bool;
    /// Adds a token, and wakes who sleeps.
    fn post(&self);
}

impl Ring for Bell<'_> {
    fn take_within(&self, limit: Duration) -> bool {
        Bell::take_within(self, limit) == Waited::Token
    }
    fn try_take(&self) -> bool {
        Bell::try_take(self)
    }
    fn post(&self) {
        Bell::post(self);
    }
}

/// Something that one waits for.
pub(crate) trait Awaited {
    type Got;
    type Stop;
    /// Whether it has come. May be called at any time and any number of times until it says yes.
    fn look(&mut self) -> Option<Self::Got>;
    /// Says on the word that one is about to sleep, provided that it has not come. False where it has.
    fn arm(&mut self) -> bool;
    /// Takes that back. False where the other end took it, so that a token is due.
    fn disarm(&mut self) -> bool;
    /// A token was taken that stands for the arming: that is gone.
    fn called(&mut self) {}
    /// Why one should stop waiting: the time is up, or who was to change the word is gone.
    fn inspect(&mut self) -> Option<Self::Stop>;
    /// How long one may sleep before the next `inspect`.
    fn patience(&self) -> Duration;
}

/// How one end waits, and what it learned from waiting so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiter {
    pub(crate) policy: Wait,
    /// Tokens that are due and were not eaten.
    owed: u32,
    learned: Learned,
    /// Both ends ran on one processor when that was last asked.
    shares_cpu: bool,
}

impl Waiter {
    pub(crate) fn new(policy: Wait) -> Self {
        Waiter { policy, owed: 0, learned: Learned::NOTHING, shares_cpu: false }
    }

    /// Waits for `awaited`; `shares_cpu` says whether the other end last ran where this one does.
    pub(crate) fn wait<A: Awaited>(
        &mut self,
        ring: &impl Ring,
        awaited: &mut A,
        shares_cpu: impl FnOnce() -> bool,
    ) -> Result<A::Got, A::Stop> {
        // While both are busy the answer comes before there is anything to decide.
        if let Some(got) = self.glimpse(awaited) {
            return Ok(got);
        }
        match self.policy {
            Wait::Park => sleep(ring, &mut self.owed, awaited),
            Wait::Spin => loop {
                if let Some(got) = spin(awaited, SPIN_LOOK) {
                    return Ok(got);
                }
                if let Some(stop) = awaited.inspect() {
                    // It may have come since the last look, and that beats the stop.
                    return awaited.look().ok_or(stop);
                }
            },
            Wait::Adaptive => {
                self.shares_cpu = shares_cpu();
                if self.shares_cpu {
                    // Spinning would keep the other end from running.
                    return match self.learned.yield_for(awaited) {
                        Some(got) => Ok(got),
                        None => sleep(ring, &mut self.owed, awaited),
                    };
                }
                let began = Instant::now();
                if let Some(got) = spin(awaited, self.learned.spell) {
                    self.learned.spun();
                    return Ok(got);
                }
                let got = sleep(ring, &mut self.owed, awaited);
                self.learned.slept(began.elapsed());
                got
            }
        }
    }

    /// Looks for as long as a quick answer takes, unless this end sleeps at once or yields: what can wait until then
    /// is done after it.
    #[inline]
    pub(crate) fn glimpse<A: Awaited>(&self, awaited: &mut A) -> Option<A::Got> {
        match self.policy {
            Wait::Park => None,
            Wait::Adaptive if self.shares_cpu => None,
            _ => poll(awaited),
        }
    }

    /// As [`wait`](Self::wait), in the middle of a copy: the other end is at work, and a sleep would cost more than
    /// what it does until then. So it is watched for a while whatever the policy, and nothing is learned from it.
    pub(crate) fn wait_in_flow<A: Awaited>(
        &mut self,
        ring: &impl Ring,
        awaited: &mut A,
        shares_cpu: impl FnOnce() -> bool,
    ) -> Result<A::Got, A::Stop> {
        if self.policy == Wait::Spin {
            return self.wait(ring, awaited, shares_cpu);
        }
        let got = if shares_cpu() { self.learned.yield_for(awaited) } else { spin(awaited, MOST_SPIN) };
        match got {
            Some(got) => Ok(got),
            None => sleep(ring, &mut self.owed, awaited),
        }
    }
}

/// What an `Adaptive` end learned from its waits so far.
///
/// | the wait | the next spell |
/// |---|---|
/// | ended within its spell | the longest |
/// | slept, and was short all the same | the longest; but half, once the longest was in vain for such a one |
/// | slept for longer | half |
/// | slept, as [`TRY_AGAIN`] did in a row | the longest |
///
/// So a pause costs one spell, and the first quick answer after it brings the next one back. Waits that are always
/// just too long for it cost a spell in sixteen, and so does anything where waking up takes so long that nothing
/// seems short.
#[derive(Debug, Clone, Copy)]
struct Learned {
    spell: Duration,
    /// Sleeps in a row.
    sleeps: u32,
    /// The longest spell was not enough for a short wait, and none has been enough since.
    in_vain: bool,
    crowd: Crowd,
}

/// Whether others want the processor that both ends run on.
#[derive(Debug, Clone, Copy)]
struct Crowd {
    /// Yields have taken long: until then, once more is no chance.
    suspected_until: Option<Instant>,
    /// Until then there is no yielding.
    certain_until: Option<Instant>,
}

impl Learned {
    const NOTHING: Learned = Learned { spell: MOST_SPIN, sleeps: 0, in_vain: false, crowd: Crowd::NONE };

    /// What was waited for came within the spell.
    fn spun(&mut self) {
        *self = Learned { crowd: self.crowd, ..Learned::NOTHING };
    }

    /// It did not; spell and sleep took so long together.
    fn slept(&mut self, took: Duration) {
        let was_short = took <= SHORT;
        self.in_vain |= was_short && self.spell == MOST_SPIN;
        self.sleeps = self.sleeps.wrapping_add(1);
        let is_worth_it = (was_short && !self.in_vain) || self.sleeps % TRY_AGAIN == 0;
        self.spell = if is_worth_it { MOST_SPIN } else { self.spell / 2 };
    }

    /// Leaves the processor to the other end, unless a third one would get it.
    fn yield_for<A: Awaited>(&mut self, awaited: &mut A) -> Option<A::Got> {
        let began = Instant::now();
        if self.crowd.is_certain(began) {
            return None;
        }
        let got = (0..YIELDS).find_map(|_| {
            std::thread::yield_now();
            awaited.look()
        });
        self.crowd.yielded(began, began.elapsed());
        got
    }
}

impl Crowd {
    const NONE: Crowd = Crowd { suspected_until: None, certain_until: None };

    fn is_certain(&self, now: Instant) -> bool {
        self.certain_until.is_some_and(|until| now < until)
    }

    /// Somebody else may get a time slice of milliseconds by a yield, where who sleeps is back as soon as it is
    /// woken.
    fn yielded(&mut self, began: Instant, took: Duration) {
        if took > MOST_SPIN {
            let until = began.checked_add(took.saturating_mul(CROWDED));
            if self.suspected_until.is_some_and(|suspected| began < suspected) {
                self.certain_until = until;
            }
            self.suspected_until = until;
        }
    }
}

/// Looks a fixed number of times, so that the clock is seldom read. With `pause` between the looks: without it they
/// take the line from the other end while that writes to it, and a round trip takes 110 ns instead of 85. The pause
/// comes first, since whoever waits has just looked.
fn poll<A: Awaited>(awaited: &mut A) -> Option<A::Got> {
    for _ in 0..POLLS {
        pause();
        if let Some(got) = awaited.look() {
            return Some(got);
        }
    }
    None
}

/// A processor's pause, and some nanoseconds more: looks that come quicker meet the other end's writing more often.
/// Measured from no pause at all up to two, it is the best of them, near and far.
#[inline]
fn pause() {
    std::hint::spin_loop();
    let mut product = 3u64;
    for _ in 0..PAUSE_LONGER {
        product = std::hint::black_box(product.wrapping_mul(5));
    }
}

/// Watches for at least one round of polls, and for about `spell`.
fn spin<A: Awaited>(awaited: &mut A, spell: Duration) -> Option<A::Got> {
    let mut began = None;
    loop {
        if let Some(got) = poll(awaited) {
            return Some(got);
        }
        let now = Instant::now();
        if now.duration_since(*began.get_or_insert(now)) >= spell {
            return None;
        }
    }
}

/// Sleeps for `awaited`, as the module's page argues.
pub(crate) fn sleep<A: Awaited>(ring: &impl Ring, owed: &mut u32, awaited: &mut A) -> Result<A::Got, A::Stop> {
    // Once the other end has taken the arming, a token is due for it.
    let mut is_armed = false;
    loop {
        if let Some(got) = awaited.look() {
            if is_armed {
                stand_down(ring, owed, awaited, is_armed);
            }
            return Ok(got);
        }
        if !awaited.arm() {
            continue; // It came after the look; if it was armed, the arming went with it.
        }
        is_armed = true;
        step!("sleep:armed");
        // What does not stand on the armed word itself may have come before the arming was seen.
        if let Some(got) = awaited.look() {
            stand_down(ring, owed, awaited, is_armed);
            return Ok(got);
        }
        if ring.take_within(awaited.patience()) {
            step!("sleep:woken");
            // An older debt, or else this arming's, which is gone then. If it was this one's all the same, and the
            // older is still to come, it comes to the same: one is.
            match owed.checked_sub(1) {
                Some(left) => *owed = left,
                None => {
                    is_armed = false;
                    awaited.called();
                }
            }
            if let Some(got) = awaited.look() {
                stand_down(ring, owed, awaited, is_armed);
                return Ok(got);
            }
        }
        if let Some(stop) = awaited.inspect() {
            stand_down(ring, owed, awaited, is_armed);
            return awaited.look().ok_or(stop); // It may come at the last moment: that beats the stop.
        }
    }
}

/// Takes the arming back, or owes its token where the other end has taken it.
fn stand_down<A: Awaited>(ring: &impl Ring, owed: &mut u32, awaited: &mut A, is_armed: bool) {
    if !awaited.disarm() && is_armed {
        *owed += 1;
    }
    settle(ring, owed);
}

/// Eats what is owed as far as it has come.
fn settle(ring: &impl Ring, owed: &mut u32) {
    while *owed > 0 && ring.try_take() {
        *owed -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wait that takes so many microseconds until what is waited for comes; waking up takes as long as it takes.
    fn after(learned: &mut Learned, micros: u64, waking: u64) -> u64 {
        let came = Duration::from_micros(micros);
        if came <= learned.spell {
            learned.spun();
        } else {
            learned.slept(came + Duration::from_micros(waking));
        }
        learned.spell.as_micros() as u64
    }

    #[test]
    fn waits_make_the_next_spell() {
        // Microseconds waited, and the spell after it. Waking up takes 35.
        let tables: &[&[(u64, u64)]] = &[
            // Quick ones, and just quick enough.
            &[(1, 50), (10, 50), (40, 50), (50, 50)],
            // A pause costs one spell, however long it is.
            &[(10, 50), (1_000_000, 25), (10, 50), (2_000, 25), (40, 50)],
            // The longer nothing comes soon, the shorter the spells, down to nothing; one quick one brings them back.
            &[(300, 25), (300, 12), (300, 6), (300, 3), (300, 1), (300, 0), (300, 0), (10, 50)],
            // Just too long: the longest spell is tried, was in vain, and no such wait brings it back.
            &[(60, 25), (60, 12), (60, 6), (60, 3)],
            // A hiccup among quick ones.
            &[(10, 50), (60, 25), (10, 50), (60, 25)],
            // In vain, until one comes within what is left of the spell.
            &[(60, 25), (60, 12), (11, 50), (40, 50)],
        ];
        for table in tables {
            let mut learned = Learned::NOTHING;
            for (number, (wait, spell)) in table.iter().enumerate() {
                assert_eq!(after(&mut learned, *wait, 35), *spell, "wait {number} of {table:?}");
            }
        }
    }

    #[test]
    fn whoever_sleeps_tries_the_longest_spell_again() {
        // Just too long; far too long; and so quick that it would have paid, but with a wake-up that hides it.
        for (micros, waking) in [(60, 35), (5_000, 35), (10, 200)] {
            let mut learned = Learned { spell: Duration::ZERO, in_vain: true, ..Learned::NOTHING };
            let spells: Vec<u64> = (0..64).map(|_| after(&mut learned, micros, waking)).collect();
            let longest = spells.iter().filter(|spell| **spell == 50).count();
            if micros <= 50 {
                assert!(spells[15..].iter().all(|spell| *spell == 50), "{spells:?}");
            } else {
                assert_eq!(longest, 4, "{spells:?}");
                assert!(spells.iter().sum::<u64>() <= 64 * 7, "{spells:?}");
            }
        }
    }

    #[test]
    fn who_loses_time_by_yielding_twice_in_a_row_stops_yielding() {
        let start = Instant::now();
        let at = |micros| start + Duration::from_micros(micros);
        let yielded = |crowd: &mut Crowd, began, took| crowd.yielded(at(began), Duration::from_micros(took));
        let mut crowd = Crowd::NONE;
        yielded(&mut crowd, 0, 3);
        yielded(&mut crowd, 10, 50);
        yielded(&mut crowd, 100, 51);
        assert!(!crowd.is_certain(at(152)), "once is chance");
        yielded(&mut crowd, 4_000, 51);
        assert!(!crowd.is_certain(at(4_052)), "and so is once in a while");
        yielded(&mut crowd, 4_100, 3);
        yielded(&mut crowd, 5_000, 4_000);
        assert!(crowd.is_certain(at(9_000)));
        assert!(crowd.is_certain(at(260_999)));
        assert!(!crowd.is_certain(at(261_000)), "then it is tried again");
        yielded(&mut crowd, 261_000, 4_000);
        assert!(!crowd.is_certain(at(265_000)), "as if nothing had been");
        yielded(&mut crowd, 265_000, 4_000);
        assert!(crowd.is_certain(at(269_000)));
    }
}
