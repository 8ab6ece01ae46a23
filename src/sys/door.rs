//! Creating, opening, reclaiming and removing: everything that happens at the door.
//!
//! The door is a lock on one byte of the name's anchor. Whoever gets it checks that the name still leads to this very
//! anchor, else starts again: so for every name there is one door, and what is seen under it stays true until it is
//! left. Under the door a name is in one of these states:
//!
//! | state | how it is known | what is done |
//! |---|---|---|
//! | nothing | no object, or one of no length | `create` builds |
//! | half made | the first word is `MAKING`, or the first page is empty: its maker is dead, since a maker keeps the door | unlinked, start again |
//! | half removed | complete, `removed` is set: its remover is dead likewise, or was not permitted | removed to the end, start again |
//! | alive | complete, a seat's holder lives | `open` attaches, `create` is refused |
//! | left over | complete, every holder is dead or has left | `open` takes it over as it is, `create` removes it and builds; a persistent one that holds a message is refused |
//! | foreign | anything else | refused, and never touched |
//!
//! **Building**, in order: the first pages, size, all pages, `MAKING`, fill in, bells made anew, a seat, the
//! magic. **Removing**, in order: the mark `removed`, the semaphores, the region's name, the registry's. The region's
//! name goes last, since the door hangs on it: as long as it stands, nobody can make new semaphores of the same name
//! that the remover would then take away.
//!
//! **A private region** loses its names as soon as both its ends are attached: whoever takes the second of the two
//! seats does it before leaving the door ([`Attachment::sit`]). Until the mark stands there it is a region like any
//! other, with names that others may come by, also where one of the two has died in between. From the mark on it is
//! *closed*, whatever became of the rest: nobody comes in any more, and a death or a leaving is final. Who dies with the
//! names half removed leaves the rest to the survivor, who is told of the death and comes to the door for it; else to
//! the next one who takes a seat, or leaves, or asks for the name. Where the names belong to another user and cannot
//! be removed (a sticky /dev/shm), the second one sits all the same, and the mark has them removed when their owner
//! leaves. A process that was half-way in when the names went finds at the door that they lead nowhere.
//!
//! **A persistent region** keeps its names whoever leaves, until `unlink`, or until `create` finds it empty.
//!
//! | edge | release | acquire | carries |
//! |---|---|---|---|
//! | `made` | `build`: the magic | `standing`: the magic | everything that the maker filled in |
//!
//! Whoever is attached keeps a seat, so that its channel is never taken for a left-over one.

use super::bells::{Bell, Bells};
use super::deadline::Deadline;
use super::layout::{Difference, Differs, MAKING, PERSISTENT, PRIVATE};
use super::peer::TICK;
use super::process::{self, ExitWatch, Who};
use super::region::{self, HeadAt, Mapping};
use super::seat::{Care, DOOR_BYTE, SeatNumber, Seats, Sitter, Taken};
use super::semaphore::Semaphore;
use super::{Anchor, lock};
use crate::error::Error;
use crate::name::Name;
use crate::steps::step;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long to wait for the door. Creating takes longest: a third of a second for each GiB.
const DOOR_PATIENCE: Duration = Duration::from_secs(10);
/// How long a leaving one waits: if it is not let in, the names stay for the next `create`.
const LEAVING_PATIENCE: Duration = Duration::from_secs(1);
/// How often one looks who waits for the door, or for a seat: the first time and, twice as long each time, at last.
const FIRST_PAUSE: Duration = Duration::from_micros(20);
const LAST_PAUSE: Duration = Duration::from_millis(2);

/// What the caller wants of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intent {
    Create,
    Open,
    OpenOrCreate,
}

/// What a floor's regions are.
pub(crate) struct Kind {
    /// The last store of a region's maker.
    pub(crate) magic: u64,
    pub(crate) layout_version: u32,
    /// Bytes that are not payload.
    pub(crate) overhead: usize,
    pub(crate) head: HeadAt,
    /// The most tokens that one bell ever owes.
    pub(crate) most_tokens: u32,
    /// Whether something was acknowledged that nobody has consumed.
    pub(crate) holds_message: fn(&Mapping) -> bool,
}

/// What is made where nothing stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blueprint {
    /// Bytes of the region.
    pub(crate) total: usize,
    pub(crate) mode: u32,
    /// [`PRIVATE`], [`PERSISTENT`] or neither.
    pub(crate) flags: u32,
}

/// One process's attachment to one region: a mapping, two bells, a seat.
pub(crate) struct Attachment {
    pub(crate) name: Name,
    kind: &'static Kind,
    /// The region's own, as it was when this came to it.
    flags: u32,
    pub(crate) mapping: Mapping,
    bells: Bells,
    anchor: Anchor,
    probe: OwnedFd,
    anchor_id: u64,
    me: Who,
    forks: u32,
    /// The seat of the attachment itself.
    handle: Taken,
    /// The door keeps descriptions apart. This one's own threads come to it one by one.
    threads: Mutex<()>,
}

/// The door, open for as long as this lives.
pub(super) struct Door<'a> {
    anchor: &'a Anchor,
    /// The door of those who came later, where the anchor was taken away from under the region.
    _later: Option<OwnedFd>,
}

impl<'a> Door<'a> {
    pub(super) fn enter(anchor: &'a Anchor, name: &Name, patience: Duration) -> Result<Self, Error> {
        let until = Instant::now() + patience;
        enter_by(anchor.as_fd(), name, until)?;
        let mut door = Door { anchor, _later: None };
        let later = || anchor.successor(&name.region()).map_err(|e| system(name, "open", e));
        while let Some(file) = later()? {
            // Its own description, so that it is unlocked where it is closed.
            enter_by(file.as_fd(), name, until)?;
            let id = |file: &OwnedFd| nix::sys::stat::fstat(file).map(|stat| (stat.st_dev, stat.st_ino));
            // As at one's own: it may have been taken away while one waited.
            if later()?.is_some_and(|now| id(&now) == id(&file)) {
                door._later = Some(file);
                break;
            }
        }
        Ok(door)
    }
}

fn enter_by(file: BorrowedFd<'_>, name: &Name, until: Instant) -> Result<(), Error> {
    let mut pauses = Pauses::new();
    // Polled: the kernel's own wait has no limit, and who holds the door may be stopped.
    while !lock::try_lock(file, DOOR_BYTE).map_err(|e| system(name, "fcntl", e))? {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::Stuck { name: name.to_string() });
        }
        pauses.sleep(left);
    }
    Ok(())
}

/// Sleeps between two looks at what nobody is woken for: each twice as long as the one before.
struct Pauses(Duration);

impl Pauses {
    fn new() -> Self {
        Pauses(FIRST_PAUSE)
    }

    fn sleep(&mut self, left: Duration) {
        std::thread::sleep(self.0.min(left));
        self.0 = (self.0 * 2).min(LAST_PAUSE);
    }
}

impl Drop for Door<'_> {
    fn drop(&mut self) {
        // If the system will not unlock, the lock goes with the descriptor.
        let _ = lock::unlock(self.anchor.as_fd(), DOOR_BYTE);
    }
}

/// What stands under a name; see the table above.
enum Standing {
    Nothing,
    HalfMade,
    HalfRemoved,
    Complete(Mapping),
}

pub(super) fn system(name: &Name, call: &'static str, error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::ELOOP) => not_a_channel(name, "it is a symbolic link"),
        // What shm_open says of a directory (glibc, the others), and of a socket. Names are checked, so that none of
        // these can be about the name.
        Some(libc::EINVAL | libc::EISDIR | libc::ENXIO) if call == "shm_open" => {
            not_a_channel(name, "it is no shared memory but a directory or a socket")
        }
        _ => Error::system(name.as_str(), call, error),
    }
}

fn not_a_channel(name: &Name, why: &'static str) -> Error {
    Error::NotAChannel { name: name.to_string(), why }
}

fn not_found(name: &Name) -> Error {
    Error::NotFound { name: name.to_string() }
}

impl Attachment {
    /// Does what `intent` says with `name`. `fill_in` fills in what the floor needs in a region that is made anew,
    /// where everything else is zero.
    pub(crate) fn attach(
        name: Name,
        intent: Intent,
        kind: &'static Kind,
        new: Blueprint,
        fill_in: &dyn Fn(&Mapping),
    ) -> Result<Self, Error> {
        let forks = process::count_forks();
        let me = Who::mine();
        let system_name = name.region();
        loop {
            let anchor = if intent == Intent::Open {
                let found = Anchor::find(&system_name).map_err(|e| system(&name, "shm_open", e))?;
                found.ok_or_else(|| not_found(&name))?
            } else {
                let made = Anchor::find_or_make(&system_name, new.mode);
                made.map_err(|e| system(&name, "shm_open", e))?
            };
            step!("create:anchored");
            step!("open:anchored");
            let door = Door::enter(&anchor, &name, DOOR_PATIENCE)?;
            step!("create:at-the-door");
            step!("open:at-the-door");
            let undo = |_: &Error| {
                // The error is what matters; without descriptors, say, nothing is left behind either.
                let _ = anchor.undo(&system_name);
            };
            let described = second_description(&anchor, &name).inspect_err(undo)?;
            let Some((probe, anchor_id)) = described else {
                continue; // Removed while we waited.
            };
            let entering = Entering { name: &name, kind, anchor: &anchor, probe: &probe, anchor_id, me };
            let (mapping, bells, handle) = match entering.standing().inspect_err(undo)? {
                Standing::Complete(mapping) if intent == Intent::Create => {
                    if let Some(pid) = entering.living_holder(&mapping)? {
                        return Err(Error::InUse { name: name.to_string(), pid });
                    }
                    if flags_of(&mapping) == PERSISTENT && (kind.holds_message)(&mapping) {
                        return Err(Error::HoldsMessage { name: name.to_string() });
                    }
                    step!("reclaim:all-dead");
                    remove_names(&name, &anchor, Some(&mapping))?;
                    continue;
                }
                Standing::Complete(mapping) => entering.join(mapping, new.mode)?,
                Standing::HalfRemoved | Standing::HalfMade => {
                    remove_names(&name, &anchor, None)?;
                    continue;
                }
                Standing::Nothing if intent == Intent::Open => {
                    remove_names(&name, &anchor, None)?;
                    return Err(not_found(&name));
                }
                Standing::Nothing => entering.build(new, fill_in).inspect_err(|_| {
                    // Nothing is left behind; the first error is the one that matters.
                    if remove_names(&name, &anchor, None).is_err() {
                        // Semaphores of another user's stay, and what was made here would be in that one's way.
                        let _ = region::unlink(&system_name);
                        let _ = anchor.remove(&system_name);
                    }
                })?,
            };
            // A note for lookers-on; nothing hangs on it. Relaxed: acquired with the magic, or this process's own.
            let _ = anchor.belongs_to(mapping.head().identity.nonce.load(Relaxed));
            drop(door);
            let (flags, threads) = (flags_of(&mapping), Mutex::new(()));
            return Ok(Attachment {
                name,
                kind,
                flags,
                mapping,
                bells,
                anchor,
                probe,
                anchor_id,
                me,
                forks,
                handle,
                threads,
            });
        }
    }

    /// Removes a region's names, whoever is attached.
    pub(crate) fn unlink(name: &Name, kind: &Kind) -> Result<(), Error> {
        let system_name = name.region();
        loop {
            let found = Anchor::find(&system_name).map_err(|e| system(name, "shm_open", e))?;
            let anchor = found.ok_or_else(|| not_found(name))?;
            let _door = Door::enter(&anchor, name, DOOR_PATIENCE)?;
            let Some((probe, anchor_id)) = second_description(&anchor, name)? else { continue };
            let me = Who::mine();
            let entering = Entering { name, kind, anchor: &anchor, probe: &probe, anchor_id, me };
            return match entering.standing()? {
                Standing::Complete(mapping) => remove_names(name, &anchor, Some(&mapping)),
                Standing::HalfRemoved | Standing::HalfMade => remove_names(name, &anchor, None),
                Standing::Nothing => {
                    remove_names(name, &anchor, None)?;
                    Err(not_found(name))
                }
            };
        }
    }

    fn seats(&self) -> Seats<'_> {
        Seats {
            records: &self.mapping.head().seats,
            locks: self.anchor.as_fd(),
            probe: self.probe.as_fd(),
            anchor: self.anchor_id,
        }
    }

    /// Who sits at an end. What it says may have changed by the time one reads it.
    pub(crate) fn look(&self, end: usize, care: Care) -> Result<Sitter, Error> {
        let sitter = self.seats().look(SeatNumber::of_end(end), care);
        sitter.map_err(|e| system(&self.name, "fcntl", e))
    }

    /// Who took an end's seat last. Its own word.
    pub(crate) fn who(&self, end: usize) -> Who {
        self.seats().who(SeatNumber::of_end(end))
    }

    /// Who sits in a seat that an attachment has for itself.
    pub(crate) fn look_at(&self, number: SeatNumber, care: Care) -> Result<Sitter, Error> {
        self.seats().look(number, care).map_err(|e| system(&self.name, "fcntl", e))
    }

    /// This attachment's own seat.
    pub(crate) fn handle(&self) -> Taken {
        self.handle
    }

    /// What the holder of a seat is here for. Its own word.
    pub(crate) fn role(&self, number: SeatNumber) -> &AtomicU32 {
        &self.mapping.head().seats[usize::from(number.index())].role
    }

    /// A watch on the process of this pid, which was found in a seat: as far as its record names that one. Of a seat
    /// that is being taken, whose taker has no pid yet, it still names the last holder, whose end is none of the next.
    pub(crate) fn watch(&self, number: SeatNumber, pid: u32) -> Option<ExitWatch> {
        let who = self.seats().who(number);
        if pid != 0 && who.pid == pid { ExitWatch::new(who) } else { None }
    }

    /// Takes an end's seat; `repair` mends what its last holder left. `seat` is its name in errors. With a `limit`,
    /// waits until then for whoever sits there to leave or to die.
    pub(crate) fn sit(
        &self,
        end: usize,
        seat: &'static str,
        limit: Option<Deadline>,
        repair: impl Fn(),
    ) -> Result<Taken, Error> {
        self.check_fork()?;
        loop {
            // A door that is closed at the very end is waited for a little all the same.
            let patience = limit.map_or(DOOR_PATIENCE, |limit| limit.left().clamp(TICK, DOOR_PATIENCE));
            match (self.try_to_sit(end, patience, &repair)?, limit) {
                (Ok(taken), _) => return Ok(taken),
                (Err(_), Some(limit)) if !limit.is_over() => self.wait_for_seat(end, limit)?,
                (Err(pid), _) => return Err(Error::SeatTaken { name: self.name.to_string(), seat, pid }),
            }
        }
    }

    /// The pid of the living holder where there is one.
    fn try_to_sit(&self, end: usize, patience: Duration, repair: impl Fn()) -> Result<Result<Taken, u32>, Error> {
        // Dropped after the door.
        let _alone = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let _door = Door::enter(&self.anchor, &self.name, patience)?;
        step!("attach:at-the-door");
        let taken = self.seats().take(SeatNumber::of_end(end), self.me, repair);
        let taken = taken.map_err(|e| system(&self.name, "fcntl", e))?;
        step!("attach:seated");
        if taken.is_ok() && self.is_private() {
            let other = self.seats().look_from_the_door(SeatNumber::of_end(end ^ 1));
            if self.is_closed() || matches!(other, Ok(Sitter::Alive { .. })) {
                step!("private:both-sit");
                self.close();
            }
        }
        Ok(taken)
    }

    /// Waits until a seat seems to be free, or until `deadline`. Without the door, so that whoever leaves gets to it.
    fn wait_for_seat(&self, end: usize, deadline: Deadline) -> Result<(), Error> {
        let mut pauses = Pauses::new();
        let mut looked_at_process = Instant::now();
        loop {
            pauses.sleep(deadline.left());
            let mut care = Care::Lock;
            // A child may keep the lock of the dead: so once a tick at the process as well.
            if looked_at_process.elapsed() >= TICK {
                (care, looked_at_process) = (Care::LockAndPid, Instant::now());
            }
            if deadline.is_over() || !matches!(self.look(end, care)?, Sitter::Alive { .. }) {
                return Ok(());
            }
        }
    }

    /// Takes the names of a private region away, under the door; goes on where somebody died at it.
    fn close(&self) {
        if !self.leads_here() {
            return;
        }
        // Relaxed: who is told of a death by the kernel, or of a leaving by the seat's word, reads it after that.
        self.mapping.head().identity.removed.store(1, Relaxed);
        step!("private:marked");
        // Another user's names stay, and then the mark has them removed by whoever may.
        let _ = remove_names(&self.name, &self.anchor, None);
        step!("private:names-gone");
    }

    /// The other end may have died while it took a private region's names away: a survivor does what is left of it.
    pub(crate) fn finish_closing(&self) {
        if self.is_forked() || !self.is_closed() || !self.leads_here() {
            return;
        }
        // Whoever is at the door now does it, or leaves it to the next.
        let Ok(_alone) = self.threads.try_lock() else { return };
        if let Ok(_door) = Door::enter(&self.anchor, &self.name, Duration::ZERO) {
            self.close();
        }
    }

    /// Whether the name still leads to this very region. Under the door that stays true.
    fn leads_here(&self) -> bool {
        // Relaxed: if the name leads to this memory, it is the same number, whatever a peer may have written there.
        let nonce = self.mapping.head().identity.nonce.load(Relaxed);
        self.anchor.leads_here(&self.name.region(), nonce, self.kind.head).unwrap_or(false)
    }

    pub(crate) fn is_private(&self) -> bool {
        self.flags == PRIVATE
    }

    pub(crate) fn is_persistent(&self) -> bool {
        self.flags == PERSISTENT
    }

    /// Whether nobody new can come: the names of a private region are gone, or about to go.
    pub(crate) fn is_closed(&self) -> bool {
        // Relaxed: see `close`.
        self.is_private() && self.mapping.head().identity.removed.load(Relaxed) != 0
    }

    /// Leaves an end's seat in order.
    pub(crate) fn stand_up(&self, taken: Taken) {
        self.seats().leave(taken);
    }

    pub(crate) fn bell(&self, end: usize) -> Bell<'_> {
        self.bells.of(&self.mapping, end, self.kind.most_tokens)
    }

    /// An attachment that was made before a fork is of no use in the child: parent and child would sit in one seat.
    #[inline]
    pub(crate) fn check_fork(&self) -> Result<(), Error> {
        if self.is_forked() { Err(self.forked()) } else { Ok(()) }
    }

    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        process::forks() != self.forks
    }

    #[cold]
    fn forked(&self) -> Error {
        Error::Forked { name: self.name.to_string() }
    }

    /// Leaves in order. The last one that does removes the names, unless a message waits there or the region is
    /// persistent. Called once, when the attachment is dropped.
    pub(crate) fn leave(&self) {
        if self.is_forked() {
            return; // The parent's seat and the parent's names.
        }
        let door = Door::enter(&self.anchor, &self.name, LEAVING_PATIENCE);
        if door.is_ok() {
            step!("detach:at-the-door");
        }
        // Left under the door, so that of two who leave at once one sees the other gone.
        self.seats().leave(self.handle);
        if door.is_err() {
            return;
        }
        let is_last = matches!(self.seats().living_holder(), Ok(None));
        let is_done_with = is_last && !self.is_persistent() && !(self.kind.holds_message)(&self.mapping);
        // Relaxed: under the door.
        let half_removed = self.mapping.head().identity.removed.load(Relaxed) != 0;
        if (is_done_with || half_removed) && self.leads_here() {
            // The mark of a private region stays, whoever cannot remove the names.
            let unmarked = (!half_removed).then_some(&self.mapping);
            let _ = remove_names(&self.name, &self.anchor, unmarked);
        }
    }
}

fn flags_of(region: &Mapping) -> u32 {
    // Relaxed: acquired with the magic.
    region.head().identity.flags.load(Relaxed)
}

fn second_description(anchor: &Anchor, name: &Name) -> Result<Option<(OwnedFd, u64)>, Error> {
    let probe = anchor.probe(&name.region()).map_err(|e| system(name, "shm_open", e))?;
    let id = anchor.id().map_err(|e| system(name, "fstat", e))?;
    Ok(probe.map(|probe| (probe, id)))
}

/// Takes all names of a region away, under the door. Repeated after a death, it goes on where the last one stopped.
pub(super) fn remove_names(name: &Name, anchor: &Anchor, region: Option<&Mapping>) -> Result<(), Error> {
    let system_name = name.region();
    if let Some(region) = region {
        // Relaxed: whoever reads it holds the door, and that lock orders the two.
        region.head().identity.removed.store(1, Relaxed);
        step!("unlink:marked");
    }
    // What is gone by then stays gone, whatever becomes of the rest.
    let mut is_whole = true;
    let mut remove = || {
        let mut bell = |bell: &CString| {
            let was_there = Semaphore::unlink(bell).map_err(|e| system(name, "sem_unlink", e))?;
            is_whole &= !was_there;
            Ok(())
        };
        let [first, second] = name.bells();
        bell(&first)?;
        step!("unlink:bell-gone");
        bell(&second)?;
        step!("unlink:bells-gone");
        region::unlink(&system_name).map_err(|e| system(name, "shm_unlink", e))
    };
    let removed = remove();
    if let (Err(_), true, Some(region)) = (&removed, is_whole, region) {
        // Someone who may write the region but not remove it: nothing is gone, and nothing is to go.
        // Relaxed: as above.
        region.head().identity.removed.store(0, Relaxed);
    }
    removed?;
    step!("unlink:region-gone");
    anchor.remove(&system_name).map_err(|e| system(name, "unlink", e))
}

/// Somebody at the door.
struct Entering<'a> {
    name: &'a Name,
    kind: &'a Kind,
    anchor: &'a Anchor,
    probe: &'a OwnedFd,
    anchor_id: u64,
    me: Who,
}

impl Entering<'_> {
    fn seats<'m>(&'m self, region: &'m Mapping) -> Seats<'m> {
        let (locks, probe) = (self.anchor.as_fd(), self.probe.as_fd());
        Seats { records: &region.head().seats, locks, probe, anchor: self.anchor_id }
    }

    fn living_holder(&self, region: &Mapping) -> Result<Option<u32>, Error> {
        self.seats(region).living_holder().map_err(|e| system(self.name, "fcntl", e))
    }

    fn standing(&self) -> Result<Standing, Error> {
        let name = self.name;
        let object = region::open(&name.region()).map_err(|e| system(name, "shm_open", e))?;
        let Some(object) = object else { return Ok(Standing::Nothing) };
        let len = region::len(&object).map_err(|e| system(name, "fstat", e))?;
        let len = match len {
            None => return Err(not_a_channel(name, "it is no shared memory")),
            // Another's would be another's for good, whatever was built in it, and whoever had it open before could
            // look on.
            Some(0) if !region::is_mine(&object).map_err(|e| system(name, "fstat", e))? => {
                return Err(not_a_channel(name, "it is empty and belongs to another user"));
            }
            Some(0) => return Ok(Standing::Nothing),
            Some(len) => len,
        };
        if !region::can_have(len) {
            return Err(not_a_channel(name, "its length is none that a channel has"));
        }
        // Of what is longer than any mapping here, the beginning says what has words for that.
        let all = isize::try_from(len).map_or(region::GRANULE, isize::unsigned_abs);
        let mapping = Mapping::new(&object, all, self.kind.head).map_err(|e| system(name, "mmap", e))?;
        let identity = &mapping.head().identity;
        // EDGE made (acquire): everything that the maker filled in.
        match identity.magic.load(Acquire) {
            magic if magic == self.kind.magic => {}
            MAKING if mapping.is_blank_elsewhere() => return Ok(Standing::HalfMade),
            0 if mapping.is_blank() => return Ok(Standing::HalfMade),
            _ => return Err(not_a_channel(name, "it does not begin as a channel does")),
        }
        self.check(&mapping, len)?;
        if mapping.len() as u64 != len {
            return Err(not_a_channel(name, "it is longer than a process with such words can map"));
        }
        // Relaxed: under the door.
        let is_removed = identity.removed.load(Relaxed) != 0;
        Ok(if is_removed { Standing::HalfRemoved } else { Standing::Complete(mapping) })
    }

    /// Whether the region, `len` bytes of it, was made by something that works as this process does.
    fn check(&self, region: &Mapping, len: u64) -> Result<(), Error> {
        let record = &region.head().identity;
        let capacity = len - self.kind.overhead as u64;
        if let Some(Difference { what, theirs, ours }) = record.difference(self.kind.layout_version, capacity) {
            let what = match what {
                Differs::Version => "layout version",
                Differs::WordSize => "word size",
                Differs::Libc => "libc flavour",
                Differs::Flags => "unknown flags",
                Differs::Capacity => "capacity",
            };
            return Err(Error::Incompatible { name: self.name.to_string(), what, theirs, ours });
        }
        let theirs = record.full_name();
        if theirs != self.name.as_str().as_bytes() {
            let theirs = String::from_utf8_lossy(&theirs).into_owned();
            return Err(Error::NameCollision { name: self.name.to_string(), theirs });
        }
        Ok(())
    }

    /// Attaches to what stands there, the living's or what the dead have left.
    fn join(&self, region: Mapping, mode: u32) -> Result<(Mapping, Bells, Taken), Error> {
        step!("open:mapped");
        let opened = Bells::open(&self.name.bells()).map_err(|e| system(self.name, "sem_open", e))?;
        let bells = match opened {
            Some(bells) => bells,
            // A stranger removed them. The living still have theirs, which nobody else can reach.
            None if self.living_holder(&region)?.is_some() => {
                return Err(not_a_channel(self.name, "its semaphores were removed by a stranger"));
            }
            None => self.new_bells(mode)?,
        };
        step!("open:belled");
        let handle = self.take_handle(&region)?;
        step!("open:seated");
        Ok((region, bells, handle))
    }

    /// Makes a region where there is nothing.
    fn build(&self, new: Blueprint, fill_in: &dyn Fn(&Mapping)) -> Result<(Mapping, Bells, Taken), Error> {
        let name = self.name;
        let Blueprint { total, mode, flags } = new;
        let object = Anchor::object(&name.region(), mode);
        let object = object.map_err(|e| system(name, "shm_open", e))?;
        let object = object.ok_or_else(|| not_found(name))?;
        let (need, have) = (total as u64, super::bytes_free(&object));
        let no_space = || Error::NoSpace { name: name.to_string(), need, have };
        if have.is_some_and(|have| have < need) {
            return Err(no_space());
        }
        let reserved = |result: io::Result<()>| {
            result.map_err(|e| match e.kind() {
                io::ErrorKind::StorageFull => no_space(),
                _ => system(name, "fallocate", e),
            })
        };
        reserved(super::seed(&object, total))?;
        region::set_len(&object, total).map_err(|e| system(name, "ftruncate", e))?;
        step!("create:sized");
        let region = Mapping::new(&object, total, self.kind.head).map_err(|e| system(name, "mmap", e))?;
        reserved(region.reserve(&object))?;
        step!("create:reserved");
        self.identify(&region, flags);
        fill_in(&region);
        step!("create:filled");
        let bells = self.new_bells(mode)?;
        step!("create:belled");
        let handle = self.take_handle(&region)?;
        step!("create:seated");
        // EDGE made (release): the last store; everything else is in place.
        region.head().identity.magic.store(self.kind.magic, Release);
        step!("create:complete");
        Ok((region, bells, handle))
    }

    fn identify(&self, region: &Mapping, flags: u32) {
        let identity = &region.head().identity;
        // Relaxed throughout: released with the magic.
        identity.magic.store(MAKING, Relaxed);
        identity.version.store(self.kind.layout_version, Relaxed);
        identity.word_bytes.store(size_of::<usize>() as u32, Relaxed);
        identity.libc_flavour.store(super::bells::flavour(), Relaxed);
        identity.flags.store(flags, Relaxed);
        identity.capacity.store((region.len() - self.kind.overhead) as u64, Relaxed);
        identity.nonce.store(super::nonce(), Relaxed);
        identity.maker_pid.store(self.me.pid, Relaxed);
        identity.maker_start.store(self.me.start, Relaxed);
        identity.maker_namespace.store(self.me.namespace, Relaxed);
        identity.created_unix_ms.store(super::unix_millis(), Relaxed);
        identity.set_full_name(self.name.as_str().as_bytes());
    }

    fn new_bells(&self, mode: u32) -> Result<Bells, Error> {
        Bells::make_anew(&self.name.bells(), mode).map_err(|e| match e.kind() {
            // A page: semaphores are files of a few bytes.
            io::ErrorKind::StorageFull => Error::NoSpace { name: self.name.to_string(), need: 4096, have: Some(0) },
            _ => system(self.name, "sem_open", e),
        })
    }

    fn take_handle(&self, region: &Mapping) -> Result<Taken, Error> {
        let seats = self.seats(region);
        let mut last_pid = 0;
        for number in SeatNumber::handles() {
            match seats.take(number, self.me, || ()).map_err(|e| system(self.name, "fcntl", e))? {
                Ok(taken) => return Ok(taken),
                Err(pid) => last_pid = pid,
            }
        }
        Err(Error::SeatTaken { name: self.name.to_string(), seat: "handle", pid: last_pid })
    }
}
