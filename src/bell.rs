//! A semaphore, who sleeps on it, and the tick: how anyone sleeps and is woken.
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
use crate::sys::peer::SPIN_LOOK;
use crate::sys::semaphore::{Semaphore, Waited};
use std::time::{Duration, Instant};

/// The longest that `Adaptive` spins.
const MOST_SPIN: Duration = Duration::from_micros(50);
/// Looks at the word between two looks at the clock.
const POLLS: u32 = 64;
/// How often `Adaptive` yields before it sleeps, where both ends share a processor.
const YIELDS: u32 = 3;

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
    /// processor it yields instead of spinning.
    #[default]
    Adaptive,
}

/// What a bell needs of a semaphore; the model has one of its own.
pub(crate) trait Ring {
    /// Sleeps until it took a token (true) or `limit` has passed.
    fn take_within(&self, limit: Duration) -> bool;
    /// Takes a token if there is one.
    fn try_take(&self) -> bool;
}

impl Ring for Semaphore {
    fn take_within(&self, limit: Duration) -> bool {
        Semaphore::take_within(self, limit) == Waited::Token
    }
    fn try_take(&self) -> bool {
        Semaphore::try_take(self)
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
    /// What waits have taken lately, in nanoseconds: a moving average of those that ended soon.
    lately: u32,
    /// Both ends ran on one processor when that was last asked.
    shares_cpu: bool,
}

impl Waiter {
    pub(crate) fn new(policy: Wait) -> Self {
        let lately = MOST_SPIN.as_nanos() as u32 / 4;
        Waiter { policy, owed: 0, lately, shares_cpu: false }
    }

    /// Waits for `awaited`; `shares_cpu` says whether the other end last ran where this one does.
    pub(crate) fn wait<A: Awaited>(
        &mut self,
        ring: &impl Ring,
        awaited: &mut A,
        shares_cpu: impl FnOnce() -> bool,
    ) -> Result<A::Got, A::Stop> {
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
                // While both are busy the answer comes before there is anything to decide.
                if !self.shares_cpu {
                    if let Some(got) = poll(awaited) {
                        return Ok(got);
                    }
                }
                self.shares_cpu = shares_cpu();
                if self.shares_cpu {
                    // Spinning would keep the other end from running.
                    for _ in 0..YIELDS {
                        std::thread::yield_now();
                        if let Some(got) = awaited.look() {
                            return Ok(got);
                        }
                    }
                    return sleep(ring, &mut self.owed, awaited);
                }
                let began = Instant::now();
                let spell = Duration::from_nanos(u64::from(self.lately) * 2).min(MOST_SPIN);
                let got = match spin(awaited, spell) {
                    Some(got) => Ok(got),
                    None => sleep(ring, &mut self.owed, awaited),
                };
                self.learn(began.elapsed());
                got
            }
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
        if shares_cpu() {
            for _ in 0..YIELDS {
                std::thread::yield_now();
                if let Some(got) = awaited.look() {
                    return Ok(got);
                }
            }
        } else if let Some(got) = spin(awaited, MOST_SPIN) {
            return Ok(got);
        }
        sleep(ring, &mut self.owed, awaited)
    }

    /// A wait that ended within the longest spell draws the average towards it, slept or not: it would have paid to
    /// spin. One that took longer halves it.
    fn learn(&mut self, took: Duration) {
        self.lately = if took <= MOST_SPIN {
            let took = took.as_nanos() as u32;
            self.lately - self.lately / 8 + took / 8 + 1
        } else {
            self.lately / 2
        };
    }
}

/// Looks a fixed number of times, so that the clock is seldom read. With `pause` between the looks: without it they
/// take the line from the other end while that writes to it, and a round trip takes 110 ns instead of 85. The pause
/// comes first, since whoever waits has just looked.
fn poll<A: Awaited>(awaited: &mut A) -> Option<A::Got> {
    for _ in 0..POLLS {
        std::hint::spin_loop();
        if let Some(got) = awaited.look() {
            return Some(got);
        }
    }
    None
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
                None => is_armed = false,
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
