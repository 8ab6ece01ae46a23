//! Flowing: how one end fills the ring while the other drains it. `progress.rs` argues why that is right.

use super::attach::Shared;
use super::end::{End, Stop, look_around, patience, shares_cpu};
use super::memory::Place;
use super::progress::{InFlow, Until};
use super::turn::{Content, Word};
use crate::bell::Awaited;
use crate::error::{Delivered, Error};
use crate::steps::step;
use crate::sys::copy::Target;
use crate::sys::deadline::Deadline;
use crate::sys::peer::{TICK, Watch};
use crate::sys::region::GRANULE;
use crate::sys::view::Gather;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// The shortest message that flows.
pub(super) const FLOWS_FROM: usize = 32 * 1024;
/// What is under way at once, at most. Measured: half of it is slower, twice as much brings nothing.
const RING: usize = 2 * 1024 * 1024;
/// What is copied between two looks at the other end's progress.
const PIECE: usize = 64 * 1024;
/// How long a flow may wait to be taken before the publisher wants it back.
const UNTAKEN: Duration = Duration::from_millis(2);

/// Bytes that are passed on at once, of `len` in all.
pub(super) fn piece_of(len: usize) -> usize {
    (len / 8).next_power_of_two().clamp(4096, PIECE)
}

/// The ring that fits into the payload; every piece divides it.
pub(super) fn ring_of(capacity: usize) -> usize {
    RING.min(capacity)
}

/// One flow, by the step at which it was passed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flow {
    pub(super) step: u64,
    pub(super) len: usize,
}

/// Why a flow stopped before its end.
#[derive(Debug)]
pub(super) enum Cut {
    /// This end stops.
    Stopped(Stop),
    /// The other end gave it up, or did something else.
    Ended,
    Corrupt(&'static str),
}

impl End {
    /// Passes the turn for `len` bytes that flow, of which `written` stand in the ring. Returns the word that was
    /// there as well.
    pub(super) fn begin_flow(
        &self,
        mine: Word,
        content: Content,
        marks: u64,
        len: usize,
        written: usize,
    ) -> (Flow, Word) {
        let memory = self.memory();
        let header = memory.header();
        let flow = Flow { step: mine.next_step(), len };
        let progress = memory.progress(self.side, flow.step);
        // Relaxed, all of them: published by `pass`. The turn is this end's, so that the other one counts nothing now.
        header.turn.length.store(len as u64, Relaxed);
        header.flow.ring.store(ring_of(memory.capacity()) as u64, Relaxed);
        progress.mine.store(written as u64, Relaxed);
        progress.others.store(0, Relaxed);
        step!(self.side, "flow:ready", "flow:reply-ready");
        (flow, self.pass_marked(mine, content, marks))
    }

    /// Fills the ring with what is left in `rest`, behind `filled` bytes. False where the flow ended before that.
    pub(super) fn fill(
        &mut self,
        flow: Flow,
        rest: &mut Gather<'_>,
        mut filled: usize,
        deadline: Deadline,
    ) -> Result<bool, Cut> {
        let ring = ring_of(self.memory().capacity());
        let piece = piece_of(flow.len);
        let mut room = ring;
        while filled < flow.len {
            let now = piece.min(flow.len - filled);
            if room < filled + now {
                let Some(drained) = self.wait_in_flow(flow, Until::Room((filled + now - ring) as u64), deadline)?
                else {
                    return Ok(false);
                };
                match usize::try_from(drained) {
                    Ok(drained) if drained <= filled => room = drained + ring,
                    _ => return Err(Cut::Corrupt("more was taken out of a flow than went in")),
                }
            }
            let at = filled % ring;
            let memory = self.memory();
            rest.take(now, |offset, from| memory.write(at + offset, from));
            filled += now;
            step!(self.side, "flow:filled", "flow:reply-filled");
            self.advance(flow, filled);
            if filled < flow.len && deadline.is_over() {
                return Err(Cut::Stopped(Stop::TimedOut));
            }
        }
        Ok(true)
    }

    /// Appends all that flows to what `into` has reserved for it.
    pub(super) fn drain(&mut self, flow: Flow, into: &mut Vec<u8>, deadline: Deadline) -> Result<(), Cut> {
        let capacity = self.memory().capacity();
        // Relaxed: acquired by `look`. Loaded once; a peer may change it at any time.
        let ring = self.memory().header().flow.ring.load(Relaxed);
        let ring = usize::try_from(ring).ok().filter(|ring| *ring <= capacity && *ring >= GRANULE);
        let Some(ring) = ring.filter(|ring| ring % GRANULE == 0) else {
            return Err(Cut::Corrupt("a flow through an impossible ring"));
        };
        let target = Target::of(flow.len);
        let (mut filled, mut drained) = (0, 0);
        while drained < flow.len {
            if filled == drained {
                let Some(said) = self.wait_in_flow(flow, Until::Bytes(drained as u64 + 1), deadline)? else {
                    return Err(Cut::Ended);
                };
                match usize::try_from(said) {
                    Ok(said) if said <= flow.len && said - drained <= ring => filled = said,
                    _ => return Err(Cut::Corrupt("more flowed than there is room for")),
                }
            }
            let at = drained % ring;
            let now = (filled - drained).min(PIECE).min(ring - at);
            self.memory().append(Place::Payload, at, now, into, target);
            step!(self.side, "flow:reply-drained", "flow:drained");
            // Nobody waits for room once the last ring-full is in.
            let is_waited_for = flow.len - drained > ring;
            drained += now;
            if is_waited_for {
                self.advance(flow, drained);
            }
            if drained < flow.len && deadline.is_over() {
                return Err(Cut::Stopped(Stop::TimedOut));
            }
        }
        Ok(())
    }

    /// The error for a flow that was cut short in `call`.
    #[cold]
    pub(super) fn cut_short(&mut self, cut: Cut, call: &'static str, delivered: Delivered) -> Error {
        match cut {
            Cut::Stopped(stop) => self.stopped(stop, call, delivered),
            // The next one sits there already: so it is no news of the seat.
            Cut::Ended if self.turn().is_orphaned() => self.peer_died(delivered),
            Cut::Ended => self.aborted(delivered),
            Cut::Corrupt(what) => self.corrupt(what),
        }
    }

    fn advance(&self, flow: Flow, bytes: usize) {
        if self.memory().progress(self.side, flow.step).advance(bytes as u64) {
            self.shared.bell(self.side.other() as usize).post();
        }
        step!(self.side, "flow:publisher-advanced", "flow:consumer-advanced");
    }

    /// Waits until somebody takes a flow, all of which was filled, or until it ends.
    pub(super) fn wait_until_taken(&mut self, flow: Flow, deadline: Deadline) -> Result<(), Cut> {
        self.wait_in_flow(flow, Until::Taken, deadline).map(drop)
    }

    /// Waits in a flow, and returns how far the other end is; nothing where the flow ended. What the publisher fills
    /// and nobody takes, it takes back: that ends the flow.
    #[inline]
    fn wait_in_flow(&mut self, flow: Flow, until: Until, deadline: Deadline) -> Result<Option<u64>, Cut> {
        let memory = self.memory();
        match (InFlow { progress: memory.progress(self.side, flow.step), turn: memory.turn(), until }).look() {
            Some(got) => Ok(got),
            None => self.wait_longer_in_flow(flow, until, deadline),
        }
    }

    #[inline(never)]
    fn wait_longer_in_flow(&mut self, flow: Flow, until: Until, deadline: Deadline) -> Result<Option<u64>, Cut> {
        let (shared, side) = (&*self.shared, self.side);
        let memory = shared.memory();
        let at = InFlow { progress: memory.progress(side, flow.step), turn: memory.turn(), until };
        loop {
            let mut awaited = FlowOf { shared, at: &at, watch: &mut self.watch, deadline };
            let bell = shared.bell(side as usize);
            match self.waiter.wait_in_flow(&bell, &mut awaited, || shares_cpu(shared, side)) {
                Ok(got) => return Ok(got),
                Err(_) if at.is_untaken() => {
                    memory.turn().recall(flow.step);
                    step!("flow:recalled");
                }
                Err(Some(stop)) => return Err(Cut::Stopped(stop)),
                Err(None) => {} // It was taken at the last moment.
            }
        }
    }
}

/// Going on with a flow, as something that is waited for.
struct FlowOf<'e> {
    shared: &'e Shared,
    at: &'e InFlow<'e, AtomicU64>,
    watch: &'e mut Watch,
    deadline: Deadline,
}

impl Awaited for FlowOf<'_> {
    /// How far the other end is; nothing where the flow ended.
    type Got = Option<u64>;
    /// Nothing where it waits for too long to be taken.
    type Stop = Option<Stop>;

    #[inline]
    fn look(&mut self) -> Option<Option<u64>> {
        self.at.look()
    }

    fn arm(&mut self) -> bool {
        self.at.progress.arm()
    }

    fn disarm(&mut self) -> bool {
        self.at.turn.disarm(self.at.progress.side)
    }

    fn inspect(&mut self) -> Option<Option<Stop>> {
        match look_around(self.shared, self.watch, self.deadline, None) {
            None => self.at.is_untaken().then_some(None),
            stop => Some(stop),
        }
    }

    fn patience(&self) -> Duration {
        patience(self.deadline, if self.at.is_untaken() { UNTAKEN } else { TICK })
    }
}
