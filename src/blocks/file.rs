//! One process's attachment to a block file: what it is, who else has it open, what became of them.
//!
//! | edge | release | acquire | carries |
//! |---|---|---|---|
//! | `reason` | `Shared::cancel` | `Shared::reason` | why the file is cancelled |

use super::board::MOST_TOKENS;
use super::guard::Sentry;
use super::hall::{End, Got, Hall, Scout, Side};
use super::layout::{IS_SAID, MAGIC, MOST_BLOCKS, STATE_BYTES, VERSION};
use super::memory::Memory;
use super::options::{BlockFileOptions, FileId};
use super::word::{Last, Owner, State, Table};
use crate::bell::{Awaited, Wait, Waiter};
use crate::error::{Delivered, Error};
use crate::name::Name;
use crate::steps::step;
use crate::sys;
use crate::sys::bells::Bell;
use crate::sys::deadline::Deadline;
use crate::sys::door::{Attachment, Blueprint, Intent, Kind};
use crate::sys::layout::SEATS;
use crate::sys::peer::{SPIN_LOOK, TICK};
use crate::sys::process::ExitWatch;
use crate::sys::region::{Addresses, HeadAt, Mapping};
use crate::sys::run::Run;
use crate::sys::seat::{Care, SeatNumber, Sitter};
use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A block file's regions.
static KIND: Kind = Kind {
    magic: MAGIC,
    layout_version: VERSION,
    overhead: STATE_BYTES,
    head: HeadAt::End,
    most_tokens: MOST_TOKENS,
    holds_message: |region| {
        let state = Memory(region).state();
        // Relaxed: under the door, with everybody gone.
        let is_cancelled = Last(state.next.word.load(Relaxed)).is_cancelled();
        !is_cancelled && state.records.iter().any(|record| record.word.load(Relaxed) != 0)
    },
};

/// How many claims go by between two looks around, where none of them has to wait.
const CLAIMS_TO_A_LOOK: u32 = 64;

/// One process's attachment.
pub(crate) struct Shared {
    attachment: Attachment,
    me: Owner,
    // As they were when this came: a peer may write others at any time.
    base: u64,
    block_bytes: u64,
    blocks: usize,
    /// By side: how many of this process play it.
    players: Mutex<[u32; 2]>,
    /// By seat: a watch on the process of that generation, where the system has such a thing.
    exits: Mutex<[Option<(u32, ExitWatch)>; SEATS]>,
    sentry: Sentry,
}

impl Shared {
    pub(crate) fn attach(
        id: FileId,
        intent: Intent,
        options: &BlockFileOptions,
        name: &[u8],
        note: &[u8],
    ) -> Result<Self, Error> {
        let total = options.region_bytes()?;
        let blueprint = Blueprint { total, mode: options.mode, flags: 0 };
        let fill_in = |region: &Mapping| {
            let about = &Memory(region).state().about;
            // Relaxed: released with the magic.
            about.block_bytes.store(options.block_bytes as u64, Relaxed);
            about.blocks.store(options.blocks as u64, Relaxed);
            about.base.store(options.offset, Relaxed);
            about.name.set(name);
            about.note.set(note);
        };
        let attachment = Attachment::attach(id.name()?, intent, &KIND, blueprint, &fill_in)?;
        let about = &Memory(&attachment.mapping).state().about;
        // Relaxed: acquired with the magic. Each is loaded once.
        let (block_bytes, blocks) = (about.block_bytes.load(Relaxed), about.blocks.load(Relaxed));
        let base = about.base.load(Relaxed);
        let room = (attachment.mapping.len() - STATE_BYTES) as u64;
        let fits = block_bytes > 0 && (1..=MOST_BLOCKS as u64).contains(&blocks) && block_bytes <= room / blocks;
        if !fits {
            return Err(Error::Corrupt { name: id.to_string(), what: "blocks that do not fit into the region" });
        }
        let handle = attachment.handle();
        let me = Owner { seat: handle.number.index(), generation: handle.generation };
        let (blocks, players, exits) = (blocks as usize, Mutex::default(), Mutex::new([const { None }; SEATS]));
        let sentry = Sentry::new(options.guard, &attachment, block_bytes, blocks);
        let sentry = sentry.inspect_err(|_| attachment.leave())?;
        Ok(Shared { attachment, me, base, block_bytes, blocks, players, exits, sentry })
    }

    pub(crate) fn unlink(id: FileId) -> Result<(), Error> {
        Attachment::unlink(&id.name()?, &KIND)
    }

    pub(crate) fn memory(&self) -> Memory<'_> {
        Memory(&self.attachment.mapping)
    }

    pub(crate) fn mapping(&self) -> &Mapping {
        &self.attachment.mapping
    }

    pub(super) fn sentry(&self) -> &Sentry {
        &self.sentry
    }

    pub(super) fn players(&self) -> MutexGuard<'_, [u32; 2]> {
        self.players.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For whoever is to keep the addresses when this is gone, where a guard wants that.
    pub(crate) fn guarded_addresses(&self) -> Option<Arc<Addresses>> {
        self.sentry.guards().then(|| self.mapping().addresses())
    }

    pub(crate) fn block_bytes(&self) -> usize {
        self.block_bytes as usize
    }

    pub(crate) fn blocks(&self) -> usize {
        self.blocks
    }

    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    pub(crate) fn name(&self) -> &Name {
        &self.attachment.name
    }

    #[inline]
    pub(crate) fn check_fork(&self) -> Result<(), Error> {
        self.attachment.check_fork()
    }

    pub(crate) fn is_forked(&self) -> bool {
        self.attachment.is_forked()
    }

    #[inline]
    pub(crate) fn hall(&self) -> Hall<'_, AtomicU64, Bell<'_>> {
        let state = self.memory().state();
        let table = Table {
            next: &state.next.word,
            records: &state.records[..self.blocks],
            base: self.base,
            block_bytes: self.block_bytes,
        };
        Hall {
            table,
            boards: state.boards.each_ref().map(|line| &line.word),
            bells: [self.attachment.bell(0), self.attachment.bell(1)],
            loose: state.loose.each_ref().map(|line| &line.word),
            me: self.me,
        }
    }

    /// Whether somebody of a side has a block that it can do nothing with any more.
    fn left_blocks(&self, side: Side, care: Care) -> Result<bool, Error> {
        let hall = self.hall();
        for block in 0..self.blocks {
            let owner = match hall.table.look(block).state() {
                State::Claimed(owner) if side == Side::Writers => owner,
                State::Taken(owner) if side == Side::Readers => owner,
                _ => continue,
            };
            if self.is_gone(owner, care)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Something that changes while a side works.
    fn work_of(&self, side: Side) -> u64 {
        let table = self.hall().table;
        // Relaxed: peers' words, and looked at again and again.
        let bytes = table.records.iter().map(|record| match side {
            Side::Writers => record.bytes_in.load(Relaxed),
            Side::Readers => record.bytes_out.load(Relaxed),
        });
        let bytes = bytes.fold(0, u64::wrapping_add);
        if side == Side::Writers { bytes.wrapping_add(table.last().tickets()) } else { bytes }
    }

    /// Whether the file is ending, and all is there that will ever be.
    pub(crate) fn is_whole(&self) -> Result<bool, Error> {
        Ok(self.hall().table.last().is_ending() && self.missing()?.is_empty())
    }

    /// Does what the dead have left undone at the end: tells it, and frees what they had claimed and got no range for.
    /// Once the file is ending nobody else would, and it would look as if something were still to come.
    fn sweep(&self, care: Care) -> Result<(), Error> {
        let hall = self.hall();
        hall.see_that_the_end_is_told();
        if !hall.table.last().is_ending() {
            return Ok(());
        }
        let mut failed = None;
        hall.sweep(|owner| self.is_gone_or(owner, care, &mut failed));
        failed.map_or(Ok(()), Err)
    }

    /// Whether an owner can do nothing any more with what it has, or is nobody.
    fn is_gone(&self, owner: Owner, care: Care) -> Result<bool, Error> {
        if owner == self.me {
            return Ok(false);
        }
        let Some(number) = SeatNumber::of_index(owner.seat) else { return Ok(true) };
        Ok(match self.look_at(number, care)? {
            Sitter::Alive { generation, .. } => generation != owner.generation,
            Sitter::Nobody | Sitter::Left { .. } | Sitter::Dead { .. } => true,
        })
    }

    /// The same for those who cannot fail: where the system does not tell, the owner is there, and `failed` says why.
    fn is_gone_or(&self, owner: Owner, care: Care, failed: &mut Option<Error>) -> bool {
        self.is_gone(owner, care).unwrap_or_else(|error| {
            *failed = Some(error);
            false
        })
    }

    /// Who sits there. Each process is asked for its start time once, and watched from then on: others ask for it at
    /// every tick of every one that waits.
    fn look_at(&self, number: SeatNumber, care: Care) -> Result<Sitter, Error> {
        let sitter = self.attachment.look_at(number, Care::Lock)?;
        let Sitter::Alive { generation, pid } = sitter else { return Ok(sitter) };
        if care == Care::Lock {
            return Ok(sitter);
        }
        let mut exits = self.exits.lock().unwrap_or_else(PoisonError::into_inner);
        let exit = &mut exits[usize::from(number.index())];
        match exit {
            Some((watched, exit)) if *watched == generation => {
                Ok(if exit.is_gone() { Sitter::Dead { generation, pid } } else { sitter })
            }
            _ => {
                *exit = self.attachment.watch(number, pid).map(|exit| (generation, exit));
                self.attachment.look_at(number, Care::LockAndPid)
            }
        }
    }

    /// Who sits in the seats of those who have it open.
    pub(crate) fn sitters(&self) -> Result<Vec<(SeatNumber, Sitter)>, Error> {
        let look = |number| Ok((number, self.look_at(number, Care::LockAndPid)?));
        SeatNumber::handles().map(look).collect()
    }

    /// Whether the holder of a seat says that it plays a side.
    pub(crate) fn says_to_play(&self, number: SeatNumber, side: Side) -> bool {
        // Relaxed: its own word, which may lie.
        self.attachment.role(number).load(Relaxed) & role_of(side) != 0
    }

    /// Whether somebody who lives says to play a side, in another process or by another handle.
    fn are_there(&self, side: Side) -> bool {
        let lives = |number| matches!(self.look_at(number, Care::Lock), Ok(Sitter::Alive { .. }));
        let mut others = SeatNumber::handles().filter(|number| !self.is_mine(*number));
        others.any(|number| self.says_to_play(number, side) && lives(number))
    }

    pub(crate) fn is_mine(&self, number: SeatNumber) -> bool {
        number.index() == self.me.seat
    }

    /// One more of this process plays a side, or one fewer: its seat says which sides it plays.
    fn play(&self, side: Side, change: impl FnOnce(&mut u32)) {
        if self.is_forked() {
            return;
        }
        let mut players = self.players();
        change(&mut players[side as usize]);
        let plays = players[side as usize] > 0;
        let role = self.attachment.role(self.attachment.handle().number);
        // Relaxed: what hangs on it is looked at again and again.
        match plays {
            true => role.fetch_or(role_of(side), Relaxed),
            false => role.fetch_and(!role_of(side), Relaxed),
        };
        if !plays {
            // So that the other side sees at once that somebody left.
            self.hall().wake(side.other());
        }
    }

    /// The ranges that were given to writers who are gone, and that nobody fills now.
    pub(crate) fn missing(&self) -> Result<Vec<Range<u64>>, Error> {
        let hall = self.hall();
        let mut missing = Vec::new();
        for block in 0..self.blocks {
            if let State::Claimed(owner) = hall.table.look(block).state() {
                if self.is_gone(owner, Care::LockAndPid)? {
                    if let Some(offset) = hall.table.range_of(block) {
                        missing.push(offset..offset.saturating_add(self.block_bytes));
                    }
                }
            }
        }
        missing.sort_unstable_by_key(|range| range.start);
        Ok(missing)
    }

    /// As `sys::shares_cpu`, for a waiting end.
    fn shares_cpu(&self, side: Side) -> bool {
        let cpus = &self.memory().state().cpus;
        let (mine, theirs) = (&cpus[side as usize].word, &cpus[side.other() as usize].word);
        // Relaxed: a hint.
        let [was_mine, was_theirs] = [mine, theirs].map(|cpu| cpu.load(Relaxed) as u32);
        sys::shares_cpu(was_mine, was_theirs, |here| mine.store(here.into(), Relaxed))
    }

    /// Why the file was cancelled.
    pub(crate) fn reason(&self) -> String {
        let about = &self.memory().state().about;
        // EDGE reason (acquire): its bytes. Where it is being written still, another one has cancelled meanwhile.
        match about.has_reason.load(Acquire) {
            IS_SAID => String::from_utf8_lossy(&about.reason.get()).into_owned(),
            _ => String::new(),
        }
    }

    #[cold]
    pub(crate) fn cancelled(&self) -> Error {
        Error::Cancelled { name: self.name().to_string(), reason: self.reason() }
    }

    /// What its maker noted of it.
    pub(crate) fn note(&self) -> Vec<u8> {
        self.memory().state().about.note.get()
    }

    /// Where all of it is brought: `place`, unless somebody else has said so before.
    pub(crate) fn goes_to(&self, place: u64) -> u64 {
        let goes_to = &self.memory().state().about.goes_to;
        // Relaxed: a number; what stands at the place is found by the name that is made from it, in the file system.
        match goes_to.compare_exchange(0, place, Relaxed, Relaxed) {
            Ok(_) => place,
            Err(before) => before,
        }
    }

    /// The same, where somebody has said so.
    pub(crate) fn place(&self) -> Option<u64> {
        // Relaxed: as above.
        Some(self.memory().state().about.goes_to.load(Relaxed)).filter(|place| *place != 0)
    }

    /// Cancels the file. The first reason stays: who writes it says who it is, so that one who dies over it leaves that
    /// to the next, and the file is cancelled once it is whole.
    pub(crate) fn cancel(&self, reason: &str) -> Result<(), Error> {
        self.check_fork()?;
        let about = &self.memory().state().about;
        // Relaxed: whose it is; of a dead one's bytes nothing is read.
        let before = about.has_reason.load(Relaxed);
        let is_free = match before {
            0 => true,
            IS_SAID => false,
            // If the system does not tell, it is that one's: without a reason the file is cancelled all the same.
            owner => self.is_gone(Owner::of_bits(owner), Care::LockAndPid).unwrap_or(false),
        };
        // Relaxed: as above. Where it fails, somebody else writes one.
        if is_free && about.has_reason.compare_exchange(before, self.me.bits(), Relaxed, Relaxed).is_ok() {
            step!("cancel:begun");
            about.reason.set(reason.as_bytes());
            step!("cancel:reasoned");
            // EDGE reason (release): its bytes.
            about.has_reason.store(IS_SAID, Release);
        }
        self.hall().cancel();
        Ok(())
    }

    pub(crate) fn corrupt(&self, what: &'static str) -> Error {
        Error::Corrupt { name: self.name().to_string(), what }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.attachment.leave();
    }
}

/// How a seat says that it plays a side.
pub(crate) fn role_of(side: Side) -> u32 {
    1 << side as u32
}

/// One that plays a side, for as long as this lives: a writer or a reader, and the blocks that it has in hand.
pub(crate) struct Role {
    pub(crate) shared: Arc<Shared>,
    side: Side,
    /// Where a reader copies to, block by block.
    pub(crate) run: Run,
}

impl Role {
    pub(crate) fn new(shared: &Arc<Shared>, side: Side) -> Arc<Self> {
        shared.play(side, |players| *players += 1);
        Arc::new(Role { shared: Arc::clone(shared), side, run: Run::new() })
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.shared.play(self.side, |players| *players -= 1);
    }
}

/// Why waiting ended without a block.
enum Stop {
    TimedOut,
    Died {
        seat: usize,
        generation: u32,
        pid: u32,
    },
    /// Nobody of the other side is there any more.
    Left,
    /// The writers of this side are gone that were to fill these.
    Unfilled(Vec<Range<u64>>),
    /// Boxed, so that success stays small.
    Failed(Box<Error>),
}

/// What one waiting end knows of the others.
pub(crate) struct Others {
    /// By seat: the generation whose death the user was told of.
    told: [u32; SEATS],
    /// Somebody of the other side was there, and the user was not told since that nobody is.
    were_there: bool,
    /// What the other side had done at the last look: who came, worked and left in between was there too.
    their_work: u64,
    /// There was news at the last look, but a block came first.
    is_untold: bool,
    looked: Instant,
    looked_at_processes: Instant,
    /// How loose blocks were when none of them was to be adopted; nothing where one has to look.
    looseness: Option<u64>,
    claims: u32,
    scout: Scout,
}

impl Others {
    fn new(shared: &Shared, side: Side) -> Self {
        let now = Instant::now();
        Others {
            told: [0; SEATS],
            // Whoever leaves before the first look was there too.
            were_there: shared.are_there(side.other()),
            their_work: 0,
            is_untold: false,
            looked: now,
            looked_at_processes: now,
            looseness: None,
            claims: 0,
            scout: Scout::new(),
        }
    }

    /// What became of them since the last look.
    fn news(&mut self, shared: &Shared, side: Side, now: Instant) -> Result<Option<Stop>, Error> {
        if now.duration_since(self.looked) < SPIN_LOOK {
            return Ok(None);
        }
        self.looked = now;
        let care = if now.duration_since(self.looked_at_processes) < TICK { Care::Lock } else { Care::LockAndPid };
        if care == Care::LockAndPid {
            self.looked_at_processes = now;
        }
        let (mut died, mut are_there) = (None, false);
        for number in SeatNumber::handles().filter(|number| !shared.is_mine(*number)) {
            let seat = usize::from(number.index());
            let is_other = shared.says_to_play(number, side.other());
            match shared.look_at(number, care)? {
                Sitter::Alive { .. } => are_there |= is_other,
                Sitter::Dead { generation, pid } if self.told[seat] != generation && is_other => {
                    died = died.or(Some(Stop::Died { seat, generation, pid }));
                }
                _ => {}
            }
        }
        if shared.left_blocks(side, care)? {
            self.looseness = None;
        }
        are_there |= shared.says_to_play(shared.attachment.handle().number, side.other());
        let work = shared.work_of(side.other());
        self.were_there |= are_there || work != self.their_work;
        self.their_work = work;
        shared.sweep(care)?;
        let left = self.were_there && !are_there && !(side == Side::Readers && shared.is_whole()?);
        let stop = died.or(left.then_some(Stop::Left));
        self.is_untold = stop.is_some();
        Ok(stop)
    }

    fn told(&mut self, stop: &Stop) {
        self.is_untold = false;
        match stop {
            Stop::Died { seat, generation, .. } => self.told[*seat] = *generation,
            Stop::Left => self.were_there = false,
            Stop::TimedOut | Stop::Unfilled(_) | Stop::Failed(_) => {}
        }
    }
}

/// What is waited for.
#[derive(Clone, Copy)]
pub(crate) enum Wish {
    /// A block; a writer's with this range.
    Block { chosen: Option<u64> },
    /// That every range that was given is filled.
    Filled,
}

/// One end at work: a thread of a process of one side.
pub(crate) struct Desk {
    pub(crate) role: Arc<Role>,
    pub(crate) side: Side,
    pub(crate) waiter: Waiter,
    pub(crate) others: Others,
}

impl Desk {
    pub(crate) fn new(shared: &Arc<Shared>, side: Side, wait: Wait) -> Self {
        Desk { role: Role::new(shared, side), side, waiter: Waiter::new(wait), others: Others::new(shared, side) }
    }

    /// For another thread.
    pub(crate) fn another(&self) -> Self {
        Desk::new(&self.role.shared, self.side, self.waiter.policy)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.role.shared
    }

    /// One look at everything, without waiting: a block, the end, or neither.
    pub(crate) fn try_get(&mut self, wish: Wish) -> Result<Option<Result<Got, End>>, Error> {
        self.others.scout.look_at_all();
        self.look_once(wish)
    }

    #[inline]
    fn look_once(&mut self, wish: Wish) -> Result<Option<Result<Got, End>>, Error> {
        let shared = &self.role.shared;
        shared.check_fork()?;
        let mut wanted = Wanted::new(shared, self.side, &mut self.others, wish, Deadline::NEVER);
        let got = wanted.look();
        match (got, wanted.failed.take()) {
            (None, Some(error)) => Err(error),
            (got, _) => Ok(got),
        }
    }

    /// Waits for it until `deadline`.
    #[inline]
    pub(crate) fn get(
        &mut self,
        wish: Wish,
        deadline: Deadline,
        call: &'static str,
    ) -> Result<Result<Got, End>, Error> {
        match self.look_once(wish)? {
            Some(got) => Ok(got),
            None => self.wait(wish, deadline, call),
        }
    }

    #[inline(never)]
    fn wait(&mut self, wish: Wish, deadline: Deadline, call: &'static str) -> Result<Result<Got, End>, Error> {
        let shared = &self.role.shared;
        let mut wanted = Wanted::new(shared, self.side, &mut self.others, wish, deadline);
        let hall = shared.hall();
        let bell = &hall.bells[self.side as usize];
        let side = self.side;
        let stop = match self.waiter.wait(bell, &mut wanted, || shared.shares_cpu(side)) {
            Ok(got) => {
                if got.is_err() {
                    // Others wait for the end as well.
                    hall.see_that_the_end_is_told();
                    hall.wake(self.side);
                }
                return Ok(got);
            }
            Err(stop) => stop,
        };
        // A call that was taken and not followed is passed on.
        hall.wake(self.side);
        self.others.told(&stop);
        Err(self.stopped(stop, call))
    }

    #[cold]
    fn stopped(&self, stop: Stop, call: &'static str) -> Error {
        let shared = &self.role.shared;
        let name = shared.name().to_string();
        let peer = if self.side == Side::Writers { "reader" } else { "writer" };
        match stop {
            Stop::TimedOut => Error::TimedOut { name, call, delivered: Delivered::No },
            Stop::Died { pid, .. } => Error::PeerDied { name, peer, pid, delivered: Delivered::No, is_final: false },
            Stop::Unfilled(ranges) => Error::Unfilled { name, ranges },
            Stop::Left => {
                // Only readers miss what was to be written.
                let missing = if self.side == Side::Readers { shared.missing() } else { Ok(Vec::new()) };
                match missing {
                    Ok(ranges) if ranges.is_empty() => {
                        Error::Disconnected { name, peer, delivered: Delivered::No, is_final: false }
                    }
                    Ok(ranges) => Error::Unfilled { name, ranges },
                    Err(error) => error,
                }
            }
            Stop::Failed(error) => *error,
        }
    }

    /// The error for a file of which there is no more.
    #[cold]
    pub(crate) fn ended(&self, end: End) -> Error {
        let shared = &self.role.shared;
        self.role.at_end();
        let name = shared.name().to_string();
        match end {
            End::Ended => Error::Finished { name },
            End::Cancelled => shared.cancelled(),
        }
    }
}

/// A block, as something that is waited for.
struct Wanted<'a> {
    shared: &'a Shared,
    side: Side,
    others: &'a mut Others,
    wish: Wish,
    deadline: Deadline,
    is_armed: bool,
    failed: Option<Error>,
}

impl<'a> Wanted<'a> {
    #[inline]
    fn new(shared: &'a Shared, side: Side, others: &'a mut Others, wish: Wish, deadline: Deadline) -> Self {
        Wanted { shared, side, others, wish, deadline, is_armed: false, failed: None }
    }

    #[inline]
    fn look_for_block(&mut self, chosen: Option<u64>) -> Option<Result<Got, End>> {
        let hall = self.shared.hall();
        let looseness = hall.looseness(self.side);
        self.others.claims = self.others.claims.wrapping_add(1);
        if self.others.claims % CLAIMS_TO_A_LOOK == 0 {
            self.look_around();
        }
        let look_around = self.others.looseness != Some(looseness);
        let (shared, failed) = (self.shared, &mut self.failed);
        let is_gone = |owner| shared.is_gone_or(owner, Care::LockAndPid, failed);
        let got = match self.side {
            Side::Writers => hall.claim(&mut self.others.scout, chosen, look_around, is_gone),
            Side::Readers => hall.take(&mut self.others.scout, look_around, is_gone),
        };
        if look_around && !matches!(got, Some(Ok(Got { again: true, .. }))) {
            self.others.looseness = Some(looseness); // Nothing is left of what was loose then.
        }
        got
    }

    /// Whether something is missing that nobody fills now.
    fn unfilled(&self) -> Result<Option<Stop>, Error> {
        let ranges = self.shared.missing()?;
        Ok((!ranges.is_empty()).then_some(Stop::Unfilled(ranges)))
    }

    /// Where blocks come without any waiting, nobody would ever find out who has died.
    #[cold]
    fn look_around(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.others.looked) >= TICK {
            // News of the other side's dead comes when this one has to wait for it.
            if let Err(error) = self.others.news(self.shared, self.side, now) {
                self.failed = Some(error);
            }
        }
    }
}

impl Awaited for Wanted<'_> {
    type Got = Result<Got, End>;
    type Stop = Stop;

    #[inline]
    fn look(&mut self) -> Option<Self::Got> {
        match self.wish {
            Wish::Block { chosen } => self.look_for_block(chosen),
            Wish::Filled => {
                let hall = self.shared.hall();
                match hall.table.last().is_cancelled() {
                    true => Some(Err(End::Cancelled)),
                    false => (!hall.is_being_filled()).then_some(Err(End::Ended)),
                }
            }
        }
    }

    fn arm(&mut self) -> bool {
        self.shared.hall().board(self.side).arm(self.is_armed);
        self.is_armed = true;
        self.others.scout.look_at_all();
        true
    }

    fn disarm(&mut self) -> bool {
        !std::mem::take(&mut self.is_armed) || self.shared.hall().board(self.side).disarm()
    }

    fn called(&mut self) {
        self.is_armed = false;
    }

    fn inspect(&mut self) -> Option<Stop> {
        // Whatever stops the waiting, what has come by then beats it.
        self.others.scout.look_at_all();
        if let Some(error) = self.failed.take() {
            return Some(Stop::Failed(Box::new(error)));
        }
        let now = Instant::now();
        let news = match (self.others.news(self.shared, self.side, now), self.wish) {
            (Ok(news), Wish::Block { .. }) => Ok(news),
            // Who finishes has no need of readers: what became of them is news to whoever claims.
            (Ok(_), Wish::Filled) if self.others.looked == now => self.unfilled(),
            (Ok(_), Wish::Filled) => Ok(None),
            (Err(error), _) => Err(error),
        };
        match news {
            Ok(Some(stop)) => Some(stop),
            Err(error) => Some(Stop::Failed(Box::new(error))),
            Ok(None) => self.deadline.0.is_some_and(|deadline| now >= deadline).then_some(Stop::TimedOut),
        }
    }

    fn patience(&self) -> Duration {
        // A tick from the last look around, not from the last block, and no longer than needs be where that look found
        // something: else who gets a block at a tick is told two ticks after the death.
        let is_due = self.others.is_untold && matches!(self.wish, Wish::Block { .. });
        let tick = if is_due { SPIN_LOOK } else { TICK };
        let rest = tick.saturating_sub(self.others.looked.elapsed()).max(SPIN_LOOK);
        self.deadline.left().min(rest)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_of_many_sleepers_finds_its_token() {
        let id = FileId { session: std::process::id().into(), file: 0xbe11 };
        let options = BlockFileOptions::new().block_bytes(4096);
        let shared = Shared::attach(id, Intent::Create, &options, b"bells", b"").unwrap();
        let hall = shared.hall();
        (0..100).for_each(|_| hall.board(Side::Readers).arm(false));
        (0..100).for_each(|_| hall.wake(Side::Readers));
        assert_eq!(hall.board(Side::Readers).look().asleep(), 0);
        let bell = &hall.bells[Side::Readers as usize];
        assert_eq!((0..200).filter(|_| bell.try_take()).count(), 100);
    }
}
