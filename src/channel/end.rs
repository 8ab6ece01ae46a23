//! What publisher and consumer have in common: a seat, a bell, and waiting for the turn.

use super::attach::Shared;
use super::layout::CounterLine;
use super::memory::{Memory, Place};
use super::turn::{Content, Side, Turn, Word};
use crate::bell::{Awaited, Waiter};
use crate::error::{Delivered, Error};
use crate::steps::step;
use crate::sys;
use crate::sys::copy::Target;
use crate::sys::deadline::Deadline;
use crate::sys::peer::{News, Partner, TICK, Watch};
use crate::sys::seat::Taken;
use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Why waiting ended without the turn.
#[derive(Debug)]
pub(crate) enum Stop {
    TimedOut,
    Gone(News),
    /// Boxed, so that success stays small.
    Failed(Box<Error>),
}

/// One end of a channel.
pub(crate) struct End {
    pub(crate) shared: Arc<Shared>,
    pub(crate) side: Side,
    seat: Taken,
    pub(crate) waiter: Waiter,
    pub(crate) watch: Watch,
    /// Ends are `Send`, not `Sync`.
    not_sync: PhantomData<Cell<()>>,
}

impl End {
    /// Takes the seat, and waits for it where there is a `limit`.
    pub(crate) fn new(
        shared: Arc<Shared>,
        side: Side,
        waiter: Waiter,
        limit: Option<Deadline>,
    ) -> Result<Self, Error> {
        let seat = shared.sit(side, limit)?;
        let watch = Watch::new(side.other() as usize);
        let mut end = End { shared, side, seat, waiter, watch, not_sync: PhantomData };
        end.counters().end_waiting(); // Whoever waited here is gone.
        // Unless it left something to be consumed.
        let waits = side == Side::Consumer && end.turn().look(side).is_ok();
        if !waits {
            end.watch.forget_the_past(&end.shared)?;
        }
        Ok(end)
    }

    #[inline]
    pub(crate) fn memory(&self) -> Memory<'_> {
        self.shared.memory()
    }

    #[inline]
    pub(crate) fn turn(&self) -> Turn<'_, AtomicU64> {
        self.shared.memory().turn()
    }

    #[inline]
    pub(crate) fn counters(&self) -> &CounterLine {
        self.memory().counters(self.side)
    }

    pub(crate) fn name(&self) -> String {
        self.shared.name.as_str().to_owned()
    }

    /// Passes the turn and rings where the other side sleeps. Returns the word that was there.
    #[inline]
    pub(crate) fn pass(&self, mine: Word, content: Content) -> Word {
        self.pass_marked(mine, content, 0)
    }

    #[inline]
    pub(crate) fn pass_marked(&self, mine: Word, content: Content, marks: u64) -> Word {
        let before = self.turn().pass_marked(mine, content, marks);
        step!(self.side, "send:passed", "consume:passed");
        self.shared.ring_if_asleep(before, self.side);
        step!(self.side, "send:rung", "consume:rung");
        self.counters().end_waiting();
        before
    }

    /// Waits for the turn. With a `partner`, the peer's being another one by now is a death too.
    #[inline]
    pub(crate) fn wait(&mut self, deadline: Deadline, partner: Option<Partner>) -> Result<Word, Stop> {
        match self.turn().look(self.side) {
            Ok(word) => Ok(word),
            Err(_) => self.wait_longer(deadline, partner),
        }
    }

    #[inline(never)]
    fn wait_longer(&mut self, deadline: Deadline, partner: Option<Partner>) -> Result<Word, Stop> {
        let (shared, side) = (&*self.shared, self.side);
        let mut awaited = TurnOf { shared, side, watch: &mut self.watch, deadline, partner };
        self.waiter.wait(&shared.bell(side as usize), &mut awaited, || shares_cpu(shared, side))
    }

    /// Waits for the turn for as long as a quick answer takes.
    #[inline(never)]
    pub(crate) fn glimpse(&mut self) -> Option<Word> {
        let (shared, side) = (&*self.shared, self.side);
        let mut awaited = TurnOf { shared, side, watch: &mut self.watch, deadline: Deadline::NEVER, partner: None };
        self.waiter.glimpse(&mut awaited)
    }

    /// Waits for the turn, with nothing in hand yet.
    #[inline]
    pub(crate) fn my_turn(&mut self, deadline: Deadline, call: &'static str) -> Result<Word, Error> {
        self.wait(deadline, None).map_err(|stop| self.stopped(stop, call, Delivered::No))
    }

    /// One look without waiting: the turn, or news of the peer, or neither.
    pub(crate) fn try_my_turn(&mut self, call: &'static str) -> Result<Option<Word>, Error> {
        if let Ok(word) = self.turn().look(self.side) {
            return Ok(Some(word));
        }
        match self.watch.news(&self.shared, Instant::now(), None)? {
            // What it left behind comes before the news of it.
            Some(news) => match self.turn().look(self.side) {
                Ok(word) => Ok(Some(word)),
                Err(_) => Err(self.stopped(Stop::Gone(news), call, Delivered::No)),
            },
            None => Ok(None),
        }
    }

    /// Waits for the other end to go on with what both are at, and gives that up if it does not. `outcome` makes of
    /// what giving up showed what the user is told.
    #[inline]
    pub(crate) fn wait_or_abandon(
        &mut self,
        deadline: Deadline,
        partner: Option<Partner>,
        call: &'static str,
        outcome: impl FnOnce(Delivered) -> Delivered,
    ) -> Result<Word, Error> {
        let stop = match self.wait(deadline, partner) {
            Ok(word) => return Ok(word),
            Err(stop) => stop,
        };
        // It may come at the last moment.
        self.abandon().map_err(|delivered| self.stopped(stop, call, outcome(delivered)))
    }

    /// Gives up what this end waits for. The word where it came at the last moment.
    pub(crate) fn abandon(&self) -> Result<Word, Delivered> {
        let abandoned = self.turn().abandon(self.side);
        step!("call:abandoned");
        // It sleeps if bytes were flowing.
        self.shared.wake(self.side.other());
        abandoned
    }

    /// The error for a `stop` of `call`.
    #[cold]
    pub(crate) fn stopped(&mut self, stop: Stop, call: &'static str, delivered: Delivered) -> Error {
        if let Stop::Gone(news) = stop {
            self.watch.told(news);
            self.shared.finish_closing();
        }
        let name = self.name();
        let peer = self.side.other().name();
        match stop {
            Stop::TimedOut => Error::TimedOut { name, call, delivered },
            Stop::Gone(News::Died { pid, is_final, .. }) => Error::PeerDied { name, peer, pid, delivered, is_final },
            Stop::Gone(News::Left { is_final, .. }) => Error::Disconnected { name, peer, delivered, is_final },
            Stop::Failed(error) => *error,
        }
    }

    #[cold]
    pub(crate) fn corrupt(&self, what: &'static str) -> Error {
        Error::Corrupt { name: self.name(), what }
    }

    #[cold]
    pub(crate) fn aborted(&self, delivered: Delivered) -> Error {
        Error::Aborted { name: self.name(), peer: self.side.other().name(), delivered }
    }

    #[cold]
    pub(crate) fn peer_died(&self, delivered: Delivered) -> Error {
        Error::PeerDied { name: self.name(), peer: self.side.other().name(), pid: 0, delivered, is_final: false }
    }

    #[cold]
    pub(crate) fn too_long(&self, call: &'static str, len: usize, limit: u64) -> Error {
        Error::TooLong { name: self.name(), call, len: len as u64, limit }
    }

    /// Appends `len` bytes that stand at the start of `place`, as far as there is memory for them.
    pub(crate) fn append(&self, place: Place, len: usize, to: &mut Vec<u8>) -> Result<(), Error> {
        self.reserve(len, to)?;
        self.memory().append(place, 0, len, to, Target::of(len));
        Ok(())
    }

    pub(crate) fn reserve(&self, len: usize, to: &mut Vec<u8>) -> Result<(), Error> {
        to.try_reserve(len).map_err(|_| Error::System {
            name: self.name(),
            call: "allocate",
            source: std::io::ErrorKind::OutOfMemory.into(),
        })
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if self.shared.is_forked() {
            return;
        }
        self.shared.stand_up(self.seat);
        // So that the other one sees it at once, and not a tick later.
        if let Err(word) = self.turn().look(self.side.other()) {
            self.shared.ring_if_asleep(word, self.side);
        }
    }
}

impl std::fmt::Debug for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct(self.side.name())
            .field("name", &self.shared.name.as_str())
            .field("wait", &self.waiter.policy)
            .finish_non_exhaustive()
    }
}

/// The turn, as something that is waited for.
struct TurnOf<'e> {
    shared: &'e Shared,
    side: Side,
    watch: &'e mut Watch,
    deadline: Deadline,
    partner: Option<Partner>,
}

impl Awaited for TurnOf<'_> {
    type Got = Word;
    type Stop = Stop;

    #[inline]
    fn look(&mut self) -> Option<Word> {
        self.shared.memory().turn().look(self.side).ok()
    }

    fn arm(&mut self) -> bool {
        self.shared.memory().counters(self.side).count_sleep();
        self.shared.memory().turn().arm(self.side)
    }

    fn disarm(&mut self) -> bool {
        self.shared.memory().turn().disarm(self.side)
    }

    fn inspect(&mut self) -> Option<Stop> {
        let stop = look_around(self.shared, self.watch, self.deadline, self.partner);
        let counters = self.shared.memory().counters(self.side);
        if stop.is_some() {
            counters.end_waiting()
        } else {
            counters.go_on_waiting()
        }
        stop
    }

    fn patience(&self) -> Duration {
        patience(self.deadline, TICK)
    }
}

/// Why one should stop waiting.
pub(super) fn look_around(
    shared: &Shared,
    watch: &mut Watch,
    deadline: Deadline,
    partner: Option<Partner>,
) -> Option<Stop> {
    let now = Instant::now();
    // The peer first: that it is dead says more than that the time is up.
    match watch.news(shared, now, partner) {
        Ok(Some(news)) => Some(Stop::Gone(news)),
        Err(error) => Some(Stop::Failed(Box::new(error))),
        Ok(None) => deadline.0.is_some_and(|deadline| now >= deadline).then_some(Stop::TimedOut),
    }
}

/// How long one may sleep: to the deadline, and no longer than `longest`.
pub(super) fn patience(deadline: Deadline, longest: Duration) -> Duration {
    deadline.0.map_or(longest, |deadline| deadline.saturating_duration_since(Instant::now()).min(longest))
}

/// Leaves word of the processor that this end runs on, and says whether the other was last seen on the same one.
/// Either may have moved since; a wrong answer costs time and nothing else.
pub(super) fn shares_cpu(shared: &Shared, side: Side) -> bool {
    let header = shared.memory().header();
    let (mine, theirs) = match side {
        Side::Publisher => (&header.publisher_notes.cpu, &header.consumer_notes.cpu),
        Side::Consumer => (&header.consumer_notes.cpu, &header.publisher_notes.cpu),
    };
    // Relaxed: a hint.
    sys::shares_cpu(mine.load(Relaxed), theirs.load(Relaxed), |here| mine.store(here, Relaxed))
}
