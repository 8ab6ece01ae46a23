//! Creating, opening, reclaiming and removing: everything that happens at the door.
//!
//! The door is a lock on one byte of the name's anchor. Whoever gets it checks that the name still
//! leads to this very anchor, else starts again: so for every name there is one door, and what is
//! seen under it stays true until it is left. Under the door a name is in one of these states:
//!
//! | state | how it is known | what is done |
//! |---|---|---|
//! | nothing | no object, or one of no length | `create` builds |
//! | half made | the first word is `MAKING`, or the first page is empty: its maker is dead, since a maker keeps the door | unlinked, start again |
//! | half removed | complete, `removed` is set: its remover is dead likewise | removed to the end, start again |
//! | alive | complete, a seat's holder lives | `open` attaches, `create` is refused |
//! | left over | complete, every holder is dead or has left | `open` takes it over as it is, `create` removes it and builds |
//! | foreign | anything else | refused, and never touched |
//!
//! **Building**, in order: size, reserve, `MAKING`, fill in, semaphores made anew, a seat, the magic.
//! **Removing**, in order: the mark `removed`, the semaphores, the region's name, the registry's.
//! The region's name goes last, since the door hangs on it: as long as it stands, nobody can make
//! new semaphores of the same name that the remover would then take away.
//!
//! | edge | release | acquire | carries |
//! |---|---|---|---|
//! | `made` | `build`: the magic | `standing`: the magic | everything that the maker filled in |
//!
//! Whoever is attached keeps a seat, so that its channel is never taken for a left-over one.

use super::layout::{self, Identity as Record, MAGIC, MAKING};
use super::memory::Memory;
use super::options::ChannelOptions;
use super::seat::{Care, DOOR_BYTE, SeatNumber, Seats, Sitter, Taken};
use super::turn::{Content, Side, Word};
use crate::error::Error;
use crate::name::Name;
use crate::steps::step;
use crate::sys::process::{self, Identity};
use crate::sys::region::{self, GRANULE, Mapping};
use crate::sys::semaphore::Semaphore;
use crate::sys::{self, Anchor, lock};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

/// How long to wait for the door. Creating takes longest: a third of a second for each GiB.
const DOOR_PATIENCE: Duration = Duration::from_secs(10);
/// How long a leaving one waits: if it is not let in, the names stay for the next `create`.
const LEAVING_PATIENCE: Duration = Duration::from_secs(1);

/// What the caller wants of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intent {
    Create,
    Open,
    OpenOrCreate,
}

/// One process's attachment to one channel; its ends share it.
pub(crate) struct Shared {
    pub(crate) name: Name,
    pub(crate) memory: Memory,
    publisher_bell: Semaphore,
    consumer_bell: Semaphore,
    anchor: Anchor,
    probe: OwnedFd,
    anchor_id: u64,
    me: Identity,
    forks: u32,
    /// The seat of the handle itself.
    handle: Taken,
}

/// The door, open for as long as this lives.
struct Door<'a>(&'a Anchor);

impl<'a> Door<'a> {
    fn enter(anchor: &'a Anchor, name: &Name, patience: Duration) -> Result<Self, Error> {
        let until = Instant::now() + patience;
        let mut pause = Duration::from_micros(20);
        // Polled: the kernel's own wait has no limit, and who holds the door may be stopped.
        while !lock::try_lock(anchor.as_fd(), DOOR_BYTE).map_err(|e| system(name, "fcntl", e))? {
            if Instant::now() >= until {
                return Err(Error::Stuck { name: name.as_str().to_owned() });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(2));
        }
        Ok(Door(anchor))
    }
}

impl Drop for Door<'_> {
    fn drop(&mut self) {
        // If the system will not unlock, the lock goes with the descriptor.
        let _ = lock::unlock(self.0.as_fd(), DOOR_BYTE);
    }
}

/// What stands under a name; see the table above.
enum Standing {
    Nothing,
    HalfMade,
    HalfRemoved,
    Complete(Memory),
}

fn system(name: &Name, call: &'static str, error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::ELOOP) => not_a_channel(name, "it is a symbolic link"),
        // What shm_open says of a directory (glibc, the others), and of a socket. Names are checked,
        // so that none of these can be about the name.
        Some(libc::EINVAL | libc::EISDIR | libc::ENXIO) if call == "shm_open" => {
            not_a_channel(name, "it is no shared memory but a directory or a socket")
        }
        _ => Error::system(name.as_str(), call, error),
    }
}

fn not_a_channel(name: &Name, why: &'static str) -> Error {
    Error::NotAChannel { name: name.as_str().to_owned(), why }
}

fn not_found(name: &Name) -> Error {
    Error::NotFound { name: name.as_str().to_owned() }
}

impl Shared {
    /// Does what `intent` says with `name`.
    pub(crate) fn attach(
        name: Name,
        intent: Intent,
        options: ChannelOptions,
    ) -> Result<Self, Error> {
        let total = options.region_bytes()?;
        let forks = process::count_forks();
        let me = Identity::mine();
        let system_name = name.region();
        loop {
            let anchor = if intent == Intent::Open {
                match Anchor::find(&system_name).map_err(|e| system(&name, "shm_open", e))? {
                    Some(anchor) => anchor,
                    None => return Err(not_found(&name)),
                }
            } else {
                Anchor::find_or_make(&system_name, options.mode)
                    .map_err(|e| system(&name, "shm_open", e))?
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
            let entering = Entering { name: &name, anchor: &anchor, probe: &probe, anchor_id, me };
            let built = match entering.standing().inspect_err(undo)? {
                Standing::Complete(memory) if intent == Intent::Create => {
                    if let Some(pid) = entering.living_holder(&memory)? {
                        return Err(Error::InUse { name: name.as_str().to_owned(), pid });
                    }
                    step!("reclaim:all-dead");
                    remove_names(&name, &anchor, Some(&memory))?;
                    continue;
                }
                Standing::Complete(memory) => entering.join(memory, options.mode)?,
                Standing::HalfRemoved | Standing::HalfMade => {
                    remove_names(&name, &anchor, None)?;
                    continue;
                }
                Standing::Nothing if intent == Intent::Open => {
                    remove_names(&name, &anchor, None)?;
                    return Err(not_found(&name));
                }
                Standing::Nothing => entering.build(total, options.mode).inspect_err(|_| {
                    // Nothing is left behind; the first error is the one that matters.
                    let _ = remove_names(&name, &anchor, None);
                })?,
            };
            drop(door);
            let Attached { memory, publisher_bell, consumer_bell, handle } = built;
            return Ok(Shared {
                name,
                memory,
                publisher_bell,
                consumer_bell,
                anchor,
                probe,
                anchor_id,
                me,
                forks,
                handle,
            });
        }
    }

    /// Removes a channel's names, whoever is attached.
    pub(crate) fn unlink(name: &Name) -> Result<(), Error> {
        let system_name = name.region();
        loop {
            let found = Anchor::find(&system_name).map_err(|e| system(name, "shm_open", e))?;
            let anchor = found.ok_or_else(|| not_found(name))?;
            let _door = Door::enter(&anchor, name, DOOR_PATIENCE)?;
            let Some((probe, anchor_id)) = second_description(&anchor, name)? else { continue };
            let me = Identity::mine();
            let entering = Entering { name, anchor: &anchor, probe: &probe, anchor_id, me };
            return match entering.standing()? {
                Standing::Complete(memory) => remove_names(name, &anchor, Some(&memory)),
                Standing::HalfRemoved | Standing::HalfMade => remove_names(name, &anchor, None),
                Standing::Nothing => {
                    remove_names(name, &anchor, None)?;
                    Err(not_found(name))
                }
            };
        }
    }

    pub(crate) fn seats(&self) -> Seats<'_> {
        Seats {
            memory: &self.memory,
            locks: self.anchor.as_fd(),
            probe: self.probe.as_fd(),
            anchor: self.anchor_id,
        }
    }

    /// Takes an end's seat and repairs what its last holder left.
    pub(crate) fn sit(&self, side: Side) -> Result<Taken, Error> {
        self.check_fork()?;
        let _door = Door::enter(&self.anchor, &self.name, DOOR_PATIENCE)?;
        step!("attach:at-the-door");
        let number = SeatNumber::of(side);
        let turn = self.memory.turn();
        let taken = self.seats().take(number, self.me, || match side {
            Side::Publisher => turn.repair_publisher(),
            Side::Consumer => {
                if let Some(before) = turn.repair_consumer() {
                    self.ring_if_asleep(before, Side::Consumer);
                }
            }
        });
        let taken = taken.map_err(|e| system(&self.name, "fcntl", e))?;
        step!("attach:seated");
        taken.map_err(|pid| Error::SeatTaken {
            name: self.name.as_str().to_owned(),
            seat: number.name(),
            pid,
        })
    }

    /// A handle that was made before a fork is of no use in the child: parent and child would sit
    /// in one seat.
    #[inline]
    pub(crate) fn check_fork(&self) -> Result<(), Error> {
        if process::forks() == self.forks { Ok(()) } else { Err(self.forked()) }
    }

    #[cold]
    fn forked(&self) -> Error {
        Error::Forked { name: self.name.as_str().to_owned() }
    }

    pub(crate) fn is_forked(&self) -> bool {
        process::forks() != self.forks
    }

    pub(crate) fn bell(&self, side: Side) -> &Semaphore {
        match side {
            Side::Publisher => &self.publisher_bell,
            Side::Consumer => &self.consumer_bell,
        }
    }

    /// Rings for the other side if `before`, which `side`'s passing returned, shows it asleep.
    #[inline]
    pub(crate) fn ring_if_asleep(&self, before: Word, side: Side) {
        if before.has_sleeping(side.other()) {
            self.bell(side.other()).post();
        }
    }
}

impl Drop for Shared {
    /// The last one that leaves in order removes the names, unless a message waits.
    fn drop(&mut self) {
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
        let leads_here = self.anchor.leads_here(&self.name.region()).unwrap_or(false);
        // Relaxed: under the door.
        let half_removed = self.memory.header().identity.removed.load(Relaxed) != 0;
        if is_last && leads_here && (half_removed || !self.message_waits()) {
            let _ = remove_names(&self.name, &self.anchor, Some(&self.memory));
        }
    }
}

impl Shared {
    fn message_waits(&self) -> bool {
        let word = self.memory.turn().look(Side::Consumer);
        word.is_ok_and(|word| word.content() == Some(Content::Message))
    }
}

fn second_description(anchor: &Anchor, name: &Name) -> Result<Option<(OwnedFd, u64)>, Error> {
    let probe = anchor.probe(&name.region()).map_err(|e| system(name, "shm_open", e))?;
    let id = anchor.id().map_err(|e| system(name, "fstat", e))?;
    Ok(probe.map(|probe| (probe, id)))
}

/// Takes all names of a channel away, under the door. Repeated after a death, it goes on where the
/// last one stopped.
fn remove_names(name: &Name, anchor: &Anchor, memory: Option<&Memory>) -> Result<(), Error> {
    if let Some(memory) = memory {
        // Relaxed: whoever reads it holds the door.
        memory.header().identity.removed.store(1, Relaxed);
        step!("unlink:marked");
    }
    let bell = |bell: CString| Semaphore::unlink(&bell).map_err(|e| system(name, "sem_unlink", e));
    let first = bell(name.publisher_bell());
    if let (Err(_), Some(memory)) = (&first, memory) {
        // Someone who may write the region but not remove it: nothing is gone, and nothing is to go.
        // Relaxed: as above.
        memory.header().identity.removed.store(0, Relaxed);
    }
    first?;
    step!("unlink:bell-gone");
    bell(name.consumer_bell())?;
    step!("unlink:bells-gone");
    let system_name = name.region();
    region::unlink(&system_name).map_err(|e| system(name, "shm_unlink", e))?;
    step!("unlink:region-gone");
    anchor.remove(&system_name).map_err(|e| system(name, "unlink", e))
}

/// What building and joining give.
struct Attached {
    memory: Memory,
    publisher_bell: Semaphore,
    consumer_bell: Semaphore,
    handle: Taken,
}

/// Somebody at the door.
struct Entering<'a> {
    name: &'a Name,
    anchor: &'a Anchor,
    probe: &'a OwnedFd,
    anchor_id: u64,
    me: Identity,
}

impl Entering<'_> {
    fn seats<'m>(&'m self, memory: &'m Memory) -> Seats<'m> {
        let (locks, probe) = (self.anchor.as_fd(), self.probe.as_fd());
        Seats { memory, locks, probe, anchor: self.anchor_id }
    }

    fn living_holder(&self, memory: &Memory) -> Result<Option<u32>, Error> {
        self.seats(memory).living_holder().map_err(|e| system(self.name, "fcntl", e))
    }

    fn standing(&self) -> Result<Standing, Error> {
        let name = self.name;
        let object = region::open(&name.region()).map_err(|e| system(name, "shm_open", e))?;
        let Some(object) = object else { return Ok(Standing::Nothing) };
        let len = region::len(&object).map_err(|e| system(name, "fstat", e))?;
        let len = match len {
            None => return Err(not_a_channel(name, "it is no shared memory")),
            // Another's would be another's for good, whatever was built in it, and whoever had it
            // open before could look on.
            Some(0) if !region::is_mine(&object).map_err(|e| system(name, "fstat", e))? => {
                return Err(not_a_channel(name, "it is empty and belongs to another user"));
            }
            Some(0) => return Ok(Standing::Nothing),
            Some(len) => usize::try_from(len).unwrap_or(0),
        };
        if len < 2 * GRANULE || len % GRANULE != 0 {
            return Err(not_a_channel(name, "its length is none that a channel has"));
        }
        let mapping = Mapping::new(&object, len).map_err(|e| system(name, "mmap", e))?;
        let Some(memory) = Memory::new(mapping, len - GRANULE) else {
            return Err(not_a_channel(name, "its length is none that a channel has"));
        };
        let record = &memory.header().identity;
        // EDGE made (acquire): everything that the maker filled in.
        match record.magic.load(Acquire) {
            MAGIC => {}
            MAKING => return Ok(Standing::HalfMade),
            0 if memory.identity_is_blank() => return Ok(Standing::HalfMade),
            _ => return Err(not_a_channel(name, "it does not begin as a channel does")),
        }
        self.check(record, memory.capacity())?;
        // Relaxed: under the door.
        let is_removed = record.removed.load(Relaxed) != 0;
        Ok(if is_removed { Standing::HalfRemoved } else { Standing::Complete(memory) })
    }

    /// Whether the region was made by something that works as this process does.
    fn check(&self, record: &Record, capacity: usize) -> Result<(), Error> {
        // Relaxed throughout: acquired with the magic.
        let same = |what, theirs: u64, ours: u64| {
            let name = || self.name.as_str().to_owned();
            let differ = || Error::Incompatible { name: name(), what, theirs, ours };
            if theirs == ours { Ok(()) } else { Err(differ()) }
        };
        same("layout version", record.version.load(Relaxed).into(), layout::VERSION.into())?;
        same("word size", record.word_bytes.load(Relaxed).into(), size_of::<usize>() as u64)?;
        same("libc flavour", record.libc_flavour.load(Relaxed).into(), sys::LIBC_FLAVOUR.into())?;
        same("capacity", record.capacity.load(Relaxed), capacity as u64)?;
        let theirs = record.full_name();
        if theirs != self.name.as_str().as_bytes() {
            let theirs = String::from_utf8_lossy(&theirs).into_owned();
            return Err(Error::NameCollision { name: self.name.as_str().to_owned(), theirs });
        }
        Ok(())
    }

    /// Attaches to what stands there, the living's or what the dead have left.
    fn join(&self, memory: Memory, mode: u32) -> Result<Attached, Error> {
        step!("open:mapped");
        let open =
            |bell: &CString| Semaphore::open(bell).map_err(|e| system(self.name, "sem_open", e));
        let names = (self.name.publisher_bell(), self.name.consumer_bell());
        let (publisher_bell, consumer_bell) = match (open(&names.0)?, open(&names.1)?) {
            (Some(publisher), Some(consumer)) => (publisher, consumer),
            // A stranger removed them. The living still have theirs, which nobody else can reach.
            _ if self.living_holder(&memory)?.is_some() => {
                return Err(not_a_channel(self.name, "its semaphores were removed by a stranger"));
            }
            _ => (self.new_bell(&names.0, mode)?, self.new_bell(&names.1, mode)?),
        };
        step!("open:belled");
        let handle = self.take_handle(&memory)?;
        step!("open:seated");
        Ok(Attached { memory, publisher_bell, consumer_bell, handle })
    }

    /// Makes a channel where there is nothing.
    fn build(&self, total: usize, mode: u32) -> Result<Attached, Error> {
        let name = self.name;
        let object =
            Anchor::object(&name.region(), mode).map_err(|e| system(name, "shm_open", e))?;
        let object = object.ok_or_else(|| not_found(name))?;
        region::set_len(&object, total).map_err(|e| system(name, "ftruncate", e))?;
        step!("create:sized");
        let free = sys::bytes_free(&object);
        sys::reserve(&object, total).map_err(|e| match e.kind() {
            io::ErrorKind::StorageFull => {
                Error::NoSpace { name: name.as_str().to_owned(), need: total as u64, have: free }
            }
            _ => system(name, "fallocate", e),
        })?;
        step!("create:reserved");
        let mapping = Mapping::new(&object, total).map_err(|e| system(name, "mmap", e))?;
        let memory = Memory::new(mapping, total - GRANULE)
            .ok_or_else(|| not_a_channel(name, "its length is none that a channel has"))?;
        self.fill_in(&memory);
        step!("create:filled");
        let publisher_bell = self.new_bell(&name.publisher_bell(), mode)?;
        let consumer_bell = self.new_bell(&name.consumer_bell(), mode)?;
        step!("create:belled");
        let handle = self.take_handle(&memory)?;
        step!("create:seated");
        // EDGE made (release): the last store; everything else is in place.
        memory.header().identity.magic.store(MAGIC, Release);
        step!("create:complete");
        Ok(Attached { memory, publisher_bell, consumer_bell, handle })
    }

    fn fill_in(&self, memory: &Memory) {
        let record = &memory.header().identity;
        // Relaxed throughout: released with the magic.
        record.magic.store(MAKING, Relaxed);
        record.version.store(layout::VERSION, Relaxed);
        record.word_bytes.store(size_of::<usize>() as u32, Relaxed);
        record.libc_flavour.store(sys::LIBC_FLAVOUR, Relaxed);
        record.capacity.store(memory.capacity() as u64, Relaxed);
        record.nonce.store(sys::nonce(), Relaxed);
        record.maker_pid.store(self.me.pid, Relaxed);
        record.maker_start.store(self.me.start, Relaxed);
        record.maker_namespace.store(self.me.namespace, Relaxed);
        record.created_unix_ms.store(sys::unix_millis(), Relaxed);
        record.set_full_name(self.name.as_str().as_bytes());
        memory.header().turn.word.store(Word::FIRST.bits(), Relaxed);
    }

    fn new_bell(&self, bell: &CString, mode: u32) -> Result<Semaphore, Error> {
        Semaphore::create_anew(bell, mode).map_err(|e| match e.kind() {
            io::ErrorKind::StorageFull => Error::NoSpace {
                name: self.name.as_str().to_owned(),
                need: 4096, // A page: semaphores are files of a few bytes.
                have: Some(0),
            },
            _ => system(self.name, "sem_open", e),
        })
    }

    fn take_handle(&self, memory: &Memory) -> Result<Taken, Error> {
        let seats = self.seats(memory);
        let mut last_pid = 0;
        for number in SeatNumber::handles() {
            match seats.take(number, self.me, || ()).map_err(|e| system(self.name, "fcntl", e))? {
                Ok(taken) => return Ok(taken),
                Err(pid) => last_pid = pid,
            }
        }
        let name = self.name.as_str().to_owned();
        Err(Error::SeatTaken { name, seat: "handle", pid: last_pid })
    }
}

/// Who the other end of `side` is, and what became of it since it was last asked.
pub(crate) fn look_at_peer(shared: &Shared, side: Side, care: Care) -> Result<Sitter, Error> {
    let sitter = shared.seats().look(SeatNumber::of(side.other()), care);
    sitter.map_err(|e| system(&shared.name, "fcntl", e))
}
