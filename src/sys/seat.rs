//! Seats: who is attached, and whether that process still lives.
//!
//! A seat is a record in the header and a lock on one byte of the anchor. The record's word holds a *generation* and
//! a *state*; each taking of the seat is a new generation, and **each generation has a lock byte of its own**. So a
//! lock that outlives its process (a forked child keeps it) is in nobody's way, and a record never speaks of
//! another's lock.
//!
//! | state | meaning | who may leave it |
//! |---|---|---|
//! | `EMPTY` | nobody sat here yet | whoever holds the door |
//! | `SEATED` | the record names a process, which locked this generation's byte before | its holder, to `LEFT`; whoever holds the door once it is dead |
//! | `LEFT` | its last holder left in order | whoever holds the door |
//! | `TAKING` | the record is being written | its taker, to `SEATED`; whoever holds the door, since then the taker is dead |
//!
//! Taking a seat, under the door: find it free or dead; lock the next generation's byte; store the word as `TAKING`;
//! repair what the last holder left; write the record; store the word as `SEATED`. A taker that dies on the way leaves
//! the old word, or `TAKING`, and the next one does the same again: the repairs may be repeated. They come after
//! `TAKING`, so that whoever was told of a death by what the repair left does not find the dead one in its seat
//! afterwards, and tell of it again.
//!
//! A seated process is **dead** when its byte is not locked; or when its pid belongs to this process's namespace and
//! that pid with that start time is no more. A record whose lock stands on another anchor (Darwin's registry file was
//! removed in between) is judged by the pid alone.
//!
//! | edge | release | acquire | carries |
//! |---|---|---|---|
//! | `seat` | `Seats::take`, `Seats::leave`: the word | `Seats::look_once`: the word | the record of that generation; `TAKING` also goes with what the repair passes |
//!
//! Everything in a record is a peer's word: a false one makes its writer look dead or alive, and nothing else.

use super::layout::{Head, SEATS, Seat};
use super::lock;
use super::process::Who;
use crate::steps::step;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::fence;

/// The byte that is locked by whoever creates, opens, reclaims or removes: the door.
pub(crate) const DOOR_BYTE: u64 = 0;
/// Generations whose lock a dead taker's child may keep are passed over, this many at most.
const GENERATIONS_TO_TRY: u32 = 64;

const EMPTY: u32 = 0;
const SEATED: u32 = 1;
const LEFT: u32 = 2;
const TAKING: u32 = 3;

/// Which seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeatNumber(usize);

impl SeatNumber {
    /// The seat of one of the two ends.
    pub(crate) const fn of_end(end: usize) -> Self {
        SeatNumber(end & 1)
    }

    /// The seats of those who have the region open.
    pub(crate) fn handles() -> impl Iterator<Item = SeatNumber> {
        (2..SEATS).map(SeatNumber)
    }

    pub(crate) fn all() -> impl Iterator<Item = SeatNumber> {
        (0..SEATS).map(SeatNumber)
    }

    /// Since when its record says that it is taken.
    pub(crate) fn since_unix_ms(self, head: &Head) -> u64 {
        // Relaxed: for people to read.
        head.seats[self.0].since_unix_ms.load(Relaxed)
    }

    /// What its record says that its holder is here for.
    pub(crate) fn role(self, head: &Head) -> u32 {
        // Relaxed: as above.
        head.seats[self.0].role.load(Relaxed)
    }

    /// Its place among all seats.
    pub(crate) fn index(self) -> u8 {
        self.0 as u8
    }

    /// `None` where there is no such seat.
    pub(crate) fn of_index(index: u8) -> Option<Self> {
        (usize::from(index) < SEATS).then_some(SeatNumber(usize::from(index)))
    }

    fn byte(self, generation: u32) -> u64 {
        // Below 64 stands the door alone: generations start at 1.
        u64::from(generation) * 64 + self.0 as u64
    }
}

/// What a look at a seat found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sitter {
    /// Nobody was ever here.
    Nobody,
    /// The last holder left in order.
    Left { generation: u32 },
    /// A living process.
    Alive { generation: u32, pid: u32 },
    /// A process that is no more.
    Dead { generation: u32, pid: u32 },
}

/// A seat that this process took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    pub(crate) number: SeatNumber,
    pub(crate) generation: u32,
}

/// How thoroughly to look whether a process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Care {
    /// The lock alone: a fraction of a microsecond.
    Lock,
    /// The lock and the pid: some microseconds.
    LockAndPid,
}

/// The seats of one region, with the anchor that carries their locks.
#[derive(Clone, Copy)]
pub(crate) struct Seats<'a> {
    pub(crate) records: &'a [Seat; SEATS],
    /// The description that locks; never mapped.
    pub(crate) locks: BorrowedFd<'a>,
    /// A description that locks nothing, to look through.
    pub(crate) probe: BorrowedFd<'a>,
    pub(crate) anchor: u64,
}

impl<'a> Seats<'a> {
    fn seat(&self, number: SeatNumber) -> &'a Seat {
        &self.records[number.0]
    }

    /// The record of a seat as it stands: a peer's word, and only whole where `look` has just found the same
    /// generation.
    pub(crate) fn who(&self, number: SeatNumber) -> Who {
        let seat = self.seat(number);
        // Relaxed: a torn record is a wrong identity, which the system will not confirm.
        Who { pid: seat.pid.load(Relaxed), start: seat.start.load(Relaxed), namespace: seat.namespace.load(Relaxed) }
    }

    /// Who sits there now. What it says may have changed by the time one reads it.
    pub(crate) fn look(&self, number: SeatNumber, care: Care) -> io::Result<Sitter> {
        // A seat may change hands during a look: then the record is half the next one's. That is rare; only a hostile
        // peer can do it again and again, and then any answer is as good.
        for _ in 0..8 {
            let (sitter, is_settled) = self.look_once(number, care)?;
            if is_settled {
                return Ok(sitter);
            }
        }
        Ok(self.look_once(number, care)?.0)
    }

    fn look_once(&self, number: SeatNumber, care: Care) -> io::Result<(Sitter, bool)> {
        let seat = self.seat(number);
        // EDGE seat (acquire): the record that belongs to this word.
        let word = seat.word.load(Acquire);
        let (generation, state) = ((word >> 32) as u32, word as u32);
        // Acquired above, and checked against the word once more below.
        let who = self.who(number);
        let sitter = match state {
            EMPTY => Sitter::Nobody,
            // The record is nobody's yet.
            TAKING if lock::is_locked(self.probe, number.byte(generation))? => Sitter::Alive { generation, pid: 0 },
            TAKING => Sitter::Dead { generation, pid: 0 },
            LEFT => Sitter::Left { generation },
            // SEATED, or a hostile peer's number: the lock decides.
            _ => {
                let is_here = seat.anchor.load(Relaxed) == self.anchor;
                let has_lock = !is_here || lock::is_locked(self.probe, number.byte(generation))?;
                let look_at_pid = !is_here || care == Care::LockAndPid;
                if !has_lock || (look_at_pid && who.is_gone()) {
                    Sitter::Dead { generation, pid: who.pid }
                } else {
                    Sitter::Alive { generation, pid: who.pid }
                }
            }
        };
        // EDGE seat (acquire): what was read above was read before the word is looked at again.
        fence(Acquire);
        // Relaxed: after the fence, so that the record was read before.
        Ok((sitter, seat.word.load(Relaxed) == word))
    }

    /// `look` for whoever holds the door: a seat that is half taken has a dead taker, whatever its child keeps.
    pub(crate) fn look_from_the_door(&self, number: SeatNumber) -> io::Result<Sitter> {
        // Relaxed: the door's lock has ordered the taker's stores before.
        let word = self.seat(number).word.load(Relaxed);
        if word as u32 == TAKING {
            return Ok(Sitter::Dead { generation: (word >> 32) as u32, pid: 0 });
        }
        self.look(number, Care::LockAndPid)
    }

    /// The first living holder of any seat, under the door.
    pub(crate) fn living_holder(&self) -> io::Result<Option<u32>> {
        for number in SeatNumber::all() {
            if let Sitter::Alive { pid, .. } = self.look_from_the_door(number)? {
                return Ok(Some(pid));
            }
        }
        Ok(None)
    }

    /// Takes a seat, under the door; `repair` mends what its last holder left. The pid of the living holder, if there
    /// is one.
    pub(crate) fn take(&self, number: SeatNumber, me: Who, repair: impl FnOnce()) -> io::Result<Result<Taken, u32>> {
        let before = match self.look_from_the_door(number)? {
            Sitter::Alive { pid, .. } => return Ok(Err(pid)),
            Sitter::Nobody => 0,
            Sitter::Left { generation } | Sitter::Dead { generation, .. } => generation,
        };
        for more in 1..=GENERATIONS_TO_TRY {
            // 0 is no generation, so that no seat's byte is the door's.
            let generation = before.wrapping_add(more).max(1);
            if lock::is_locked(self.probe, number.byte(generation))?
                || !lock::try_lock(self.locks, number.byte(generation))?
            {
                continue;
            }
            step!("attach:locked");
            let seat = self.seat(number);
            // EDGE seat (release): by the fence, the word before the record, for whoever reads the word twice, and
            // before what the repair passes on.
            seat.word.store(u64::from(generation) << 32 | u64::from(TAKING), Relaxed);
            fence(Release);
            repair();
            step!("attach:repaired");
            seat.pid.store(me.pid, Relaxed);
            seat.start.store(me.start, Relaxed);
            seat.namespace.store(me.namespace, Relaxed);
            seat.anchor.store(self.anchor, Relaxed);
            seat.since_unix_ms.store(super::unix_millis(), Relaxed);
            seat.role.store(0, Relaxed);
            // EDGE seat (release): the record before its word.
            seat.word.store(u64::from(generation) << 32 | u64::from(SEATED), Release);
            return Ok(Ok(Taken { number, generation }));
        }
        Err(io::Error::other("the locks of a seat's next generations are all held"))
    }

    /// Leaves in order.
    pub(crate) fn leave(&self, taken: Taken) {
        let left = u64::from(taken.generation) << 32 | u64::from(LEFT);
        // EDGE seat (release): everything this end did comes before its leaving.
        self.seat(taken.number).word.store(left, Release);
        step!("detach:left");
        // If the system will not unlock, the lock goes with the descriptor.
        let _ = lock::unlock(self.locks, taken.number.byte(taken.generation));
        step!("detach:unlocked");
    }
}
