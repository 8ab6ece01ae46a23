//! What publisher and consumer have in common: a seat, a bell, and waiting for the turn.

use super::attach::Shared;
use super::memory::{Memory, Place};
use super::turn::{Abandoning, Content, Side, Turn, Word};
use crate::bell::{Awaited, SPIN_LOOK, TICK, Waiter};
use crate::error::{Delivered, Error};
use crate::steps::step;
use crate::sys;
use crate::sys::process::ExitWatch;
use crate::sys::seat::{Care, Sitter, Taken};
use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Until when to wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    pub(crate) const NEVER: Deadline = Deadline(None);

    pub(crate) fn after(limit: Duration) -> Self {
        Deadline(Instant::now().checked_add(limit))
    }

    pub(crate) fn of(limit: Option<Duration>) -> Self {
        limit.map_or(Self::NEVER, Self::after)
    }

    /// Asked before going on with what only the other end can end: while the turn always comes at
    /// once, no wait finds out that the time is up.
    pub(crate) fn is_over(self) -> bool {
        self.0.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// The peer that a stream or a long reply was begun with: only that one can go on with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Partner {
    generation: u32,
    pid: u32,
}

/// Why waiting ended without the turn.
#[derive(Debug)]
pub(crate) enum Stop {
    TimedOut,
    Died {
        generation: u32,
        pid: u32,
    },
    Left {
        generation: u32,
    },
    /// Boxed, so that success stays small.
    Failed(Box<Error>),
}

/// One end of a channel.
pub(crate) struct End {
    pub(crate) shared: Arc<Shared>,
    pub(crate) side: Side,
    seat: Taken,
    pub(crate) waiter: Waiter,
    watch: Watch,
    /// Ends are `Send`, not `Sync`.
    not_sync: PhantomData<Cell<()>>,
}

/// What this end knows of its peer.
struct Watch {
    /// The generation whose death or leaving the user was told of already.
    reported: u32,
    /// When its seat was last looked at, by lock and by pid.
    looked: Instant,
    looked_at_pid: Instant,
    /// A watch on that generation's process, where the system has such a thing.
    exit: Option<(u32, ExitWatch)>,
}

impl End {
    pub(crate) fn new(shared: Arc<Shared>, side: Side, waiter: Waiter) -> Result<Self, Error> {
        let seat = shared.sit(side)?;
        let now = Instant::now();
        let watch = Watch { reported: 0, looked: now, looked_at_pid: now, exit: None };
        let mut end = End { shared, side, seat, waiter, watch, not_sync: PhantomData };
        // Who went before one came is no news, unless it left something to be consumed.
        let waits = side == Side::Consumer && end.turn().look(side).is_ok();
        if !waits {
            end.watch.reported = match end.shared.look_at_peer(side, Care::LockAndPid)? {
                Sitter::Dead { generation, .. } | Sitter::Left { generation } => generation,
                Sitter::Nobody | Sitter::Alive { .. } => 0,
            };
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

    pub(crate) fn name(&self) -> String {
        self.shared.name.as_str().to_owned()
    }

    /// Passes the turn and rings where the other side sleeps. Returns the word that was there.
    #[inline]
    pub(crate) fn pass(&self, mine: Word, content: Content) -> Word {
        let before = self.turn().pass(mine, content);
        self.passed(before)
    }

    /// What follows every passing.
    #[inline]
    pub(crate) fn passed(&self, before: Word) -> Word {
        match self.side {
            Side::Publisher => {
                step!("send:passed");
            }
            Side::Consumer => {
                step!("consume:passed");
            }
        }
        self.shared.ring_if_asleep(before, self.side);
        match self.side {
            Side::Publisher => {
                step!("send:rung");
            }
            Side::Consumer => {
                step!("consume:rung");
            }
        }
        before
    }

    /// Waits for the turn. With a `partner`, the peer's being another one by now is a death too.
    #[inline]
    pub(crate) fn wait(
        &mut self,
        deadline: Deadline,
        partner: Option<Partner>,
    ) -> Result<Word, Stop> {
        match self.turn().look(self.side) {
            Ok(word) => Ok(word),
            Err(_) => self.wait_longer(deadline, partner),
        }
    }

    #[inline(never)]
    fn wait_longer(&mut self, deadline: Deadline, partner: Option<Partner>) -> Result<Word, Stop> {
        let (shared, side) = (&*self.shared, self.side);
        let mut awaited = TurnOf { shared, side, watch: &mut self.watch, deadline, partner };
        self.waiter.wait(shared.bell(side as usize), &mut awaited, || shares_cpu(shared, side))
    }

    /// One look without waiting: the turn, or news of the peer, or neither.
    pub(crate) fn try_wait(&mut self) -> Result<Option<Word>, Stop> {
        match self.turn().look(self.side) {
            Ok(word) => Ok(Some(word)),
            Err(_) => match self.watch.news(&self.shared, self.side, Instant::now(), None) {
                None => Ok(None),
                Some(stop) => Err(stop),
            },
        }
    }

    /// Whoever sits opposite now.
    pub(crate) fn partner(&self) -> Result<Partner, Error> {
        Ok(match self.shared.look_at_peer(self.side, Care::Lock)? {
            Sitter::Alive { generation, pid } | Sitter::Dead { generation, pid } => {
                Partner { generation, pid }
            }
            Sitter::Left { generation } => Partner { generation, pid: 0 },
            Sitter::Nobody => Partner { generation: 0, pid: 0 },
        })
    }

    /// Gives up what this end waits for. The word where it came at the last moment.
    pub(crate) fn abandon(&self) -> Result<Word, Delivered> {
        let abandoning = self.turn().abandon(self.side);
        step!("call:abandoned");
        match abandoning {
            Abandoning::Came(word) => Ok(word),
            Abandoning::Withdrawn => Err(Delivered::No),
            Abandoning::Unknown => Err(Delivered::Unknown),
        }
    }

    /// The error for a `stop` of `call`. Only this counts as the peer's being reported: a turn that
    /// came at the last moment beats the news, which then has to come again.
    #[cold]
    pub(crate) fn stopped(
        &mut self,
        stop: Stop,
        call: &'static str,
        delivered: Delivered,
    ) -> Error {
        if let Stop::Died { generation, .. } | Stop::Left { generation } = stop {
            self.watch.reported = generation;
        }
        let name = self.name();
        let peer = self.side.other().name();
        match stop {
            Stop::TimedOut => Error::TimedOut { name, call, delivered },
            Stop::Died { pid, .. } => Error::PeerDied { name, peer, pid, delivered },
            Stop::Left { .. } => Error::Disconnected { name, peer },
            Stop::Failed(error) => *error,
        }
    }

    #[cold]
    pub(crate) fn corrupt(&self, what: &'static str) -> Error {
        Error::Corrupt { name: self.name(), what }
    }

    #[cold]
    pub(crate) fn aborted(&self) -> Error {
        Error::Aborted { name: self.name(), peer: self.side.other().name() }
    }

    #[cold]
    pub(crate) fn peer_died(&self, pid: u32, delivered: Delivered) -> Error {
        Error::PeerDied { name: self.name(), peer: self.side.other().name(), pid, delivered }
    }

    #[cold]
    pub(crate) fn too_long(&self, call: &'static str, len: usize, limit: u64) -> Error {
        Error::TooLong { name: self.name(), call, len: len as u64, limit }
    }

    /// Appends `len` bytes that stand at the start of `place`, as far as there is memory for them.
    pub(crate) fn append(&self, place: Place, len: usize, to: &mut Vec<u8>) -> Result<(), Error> {
        self.reserve(len, to)?;
        self.memory().append(place, 0, len, to);
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

impl Watch {
    /// What is new about the peer, looked for at most once a millisecond.
    fn news(
        &mut self,
        shared: &Shared,
        side: Side,
        now: Instant,
        partner: Option<Partner>,
    ) -> Option<Stop> {
        if now.duration_since(self.looked) < SPIN_LOOK {
            return None;
        }
        self.looked = now;
        let sitter = match self.look_at_peer(shared, side, now) {
            Ok(sitter) => sitter,
            Err(error) => return Some(Stop::Failed(Box::new(error))),
        };
        let (generation, stop) = match sitter {
            Sitter::Nobody => return None,
            Sitter::Alive { generation, .. } => {
                let Partner { generation, pid } =
                    partner.filter(|partner| partner.generation != generation)?;
                (generation, Stop::Died { generation, pid })
            }
            Sitter::Dead { generation, pid } => (generation, Stop::Died { generation, pid }),
            Sitter::Left { generation } => (generation, Stop::Left { generation }),
        };
        (generation != self.reported || partner.is_some()).then_some(stop)
    }
}

impl Watch {
    /// By the lock, and once a tick by the process as well: a child may keep the lock of the dead.
    fn look_at_peer(&mut self, shared: &Shared, side: Side, now: Instant) -> Result<Sitter, Error> {
        if now.duration_since(self.looked_at_pid) < TICK {
            return shared.look_at_peer(side, Care::Lock);
        }
        self.looked_at_pid = now;
        let sitter = shared.look_at_peer(side, Care::Lock)?;
        let Sitter::Alive { generation, pid } = sitter else { return Ok(sitter) };
        match &self.exit {
            Some((watched, exit)) if *watched == generation => {
                Ok(if exit.is_gone() { Sitter::Dead { generation, pid } } else { sitter })
            }
            _ => {
                let who = shared.who(side.other() as usize);
                self.exit = ExitWatch::new(who).map(|exit| (generation, exit));
                shared.look_at_peer(side, Care::LockAndPid)
            }
        }
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
        self.shared.memory().turn().arm(self.side)
    }

    fn disarm(&mut self) -> bool {
        self.shared.memory().turn().disarm(self.side)
    }

    fn inspect(&mut self) -> Option<Stop> {
        let now = Instant::now();
        // The peer first: that it is dead says more than that the time is up.
        self.watch.news(self.shared, self.side, now, self.partner).or_else(|| {
            self.deadline.0.is_some_and(|deadline| now >= deadline).then_some(Stop::TimedOut)
        })
    }

    fn patience(&self) -> Duration {
        let now = Instant::now();
        self.deadline.0.map_or(TICK, |deadline| deadline.saturating_duration_since(now).min(TICK))
    }
}

/// Leaves word of the processor that this end runs on, and says whether the other was last seen on
/// the same one. Either may have moved since; a wrong answer costs time and nothing else.
fn shares_cpu(shared: &Shared, side: Side) -> bool {
    let header = shared.memory().header();
    let (mine, theirs) = match side {
        Side::Publisher => (&header.publisher_notes.cpu, &header.consumer_notes.cpu),
        Side::Consumer => (&header.consumer_notes.cpu, &header.publisher_notes.cpu),
    };
    let Some(here) = sys::current_cpu().and_then(|cpu| cpu.checked_add(1)) else {
        return sys::only_one_cpu();
    };
    // Relaxed: a hint. Written only when it changes, so that the line stays shared.
    if mine.load(Relaxed) != here {
        mine.store(here, Relaxed);
    }
    theirs.load(Relaxed) == here
}
