//! What a thing is, and how things stand with it.
//!
//! | what is found, from the top | state |
//! |---|---|
//! | no memory; a length, a magic, a version, a capacity or a name that nothing of ours has | foreign |
//! | another user's that cannot be read | unreadable |
//! | not complete, or marked *removed*: somebody is at the door | changing |
//! | likewise, and nobody is | left over |
//! | complete, and a seat's holder lives | in use |
//! | complete, nobody lives, somebody is at the door | changing |
//! | complete, nobody lives, persistent, or a message or a block waits | kept |
//! | complete, nobody lives | left over |
//!
//! Whoever makes or removes keeps the door until it is done, so that with a free door its maker is dead. What has no
//! length, or nothing but zeros, is taken for antiphon's only by the mark that its maker gave it.
//!
//! **A channel begins with its head, a block file ends with it**, and whatever people have put into a region stands at
//! the other end of it. A name tells which it may be: what has no block file's name is looked at from its start alone,
//! and of what has one the end is asked first. A half-made one holds nothing yet at the other end.

use super::sight::{self, Sight};
use super::{BlockFile, Channel, Counters, End, Entry, Identity, Kind, Seat, Sitter, State, Turn, block_file};
use crate::blocks::FileId;
use crate::error::Error;
use crate::name::Name;
use crate::session;
use crate::sys;
use crate::sys::layout::{Difference, Differs, Identity as Record, MAKING, PERSISTENT, PRIVATE};
use crate::sys::look::{Found, Snapshot, What};
use crate::sys::process::Who;
use crate::sys::region::HeadAt;
use crate::sys::seat::{Care, SeatNumber, Seats, Sitter as Seated};
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a semaphore's file can be: nothing is in it yet, or the semaphore of a process with words of 32 or 64 bits.
const SEMAPHORES: [u64; 3] = [0, 16, 32];

/// Whoever looks: who it is, and which processes it has found gone.
pub(super) struct Looker {
    user: u32,
    is_at_the_door: bool,
    gone: HashMap<Who, bool>,
}

pub(super) fn everything() -> Result<Vec<Entry>, Error> {
    let names = sys::names().map_err(|e| Error::system("*", "readdir", e))?;
    let mut looker = Looker::new();
    let (mut entries, mut bells) = (Vec::new(), BTreeSet::new());
    let mut stems = BTreeSet::new();
    for name in &names {
        match name.to_str().and_then(sys::semaphore_of) {
            Some(Some(stem)) => {
                bells.insert(stem.to_owned());
            }
            _ => {
                stems.extend(name.to_str());
                let entry = looker.entry(name);
                entries.extend(entry.unwrap_or_else(|error| Some(refused(name, &error))));
            }
        }
    }
    for stem in bells.iter().filter(|stem| !stems.contains(stem.as_str())) {
        let entry = looker.stem(stem);
        entries.extend(entry.unwrap_or_else(|error| Some(refused(OsStr::new(stem), &error))));
    }
    entries.sort_by(|one, other| (&one.name, &one.system_name).cmp(&(&other.name, &other.system_name)));
    Ok(entries)
}

pub(super) fn one(name: &Name) -> Result<Option<Entry>, Error> {
    Looker::new().stem(&name.stem())
}

/// What is known of a thing before its state is.
struct Verdict {
    kind: Kind,
    state: State,
    why: String,
}

impl Verdict {
    fn new(kind: Kind, state: State, why: impl Into<String>) -> Self {
        Verdict { kind, state, why: why.into() }
    }

    fn foreign(why: impl Into<String>) -> Self {
        Verdict::new(Kind::Other, State::Foreign, why)
    }
}

impl Looker {
    pub(super) fn new() -> Self {
        Looker { user: nix::unistd::geteuid().as_raw(), is_at_the_door: false, gone: HashMap::new() }
    }

    /// One who holds the door of what it looks at.
    pub(super) fn at_the_door() -> Self {
        Looker { is_at_the_door: true, ..Looker::new() }
    }

    /// The region of a stem, or else the semaphores without one.
    fn stem(&mut self, stem: &str) -> Result<Option<Entry>, Error> {
        match self.entry(OsStr::new(stem))? {
            None => self.semaphores(stem),
            found => Ok(found),
        }
    }

    /// What has a system's name, if anything.
    fn entry(&mut self, system_name: &OsStr) -> Result<Option<Entry>, Error> {
        let shown = printable(system_name);
        let Some(found) = sys::find(system_name).map_err(|e| Error::system(&shown, "open", e))? else {
            return Ok(None);
        };
        self.judge(system_name, &found).map(Some)
    }

    /// What to say of what was found under a system's name.
    pub(super) fn judge(&mut self, system_name: &OsStr, found: &Found) -> Result<Entry, Error> {
        let shown = printable(system_name);
        let failed = |e| Error::system(&shown, "read", e);
        let stem = system_name.to_str().unwrap_or_default();
        let mut entry = Entry {
            name: shown.clone(),
            system_name: shown.clone(),
            kind: Kind::Other,
            state: State::Foreign,
            why: String::new(),
            owner: found.owner,
            is_mine: found.owner == self.user,
            len_bytes: found.len,
            session: None,
            channel: None,
            block_file: None,
            identity: Identity { id: found.id, nonce: 0 },
        };
        let verdict = if matches!(sys::semaphore_of(stem), Some(None)) && SEMAPHORES.contains(&found.len) {
            unnamed(found)
        } else {
            self.region(stem, found, &mut entry).map_err(failed)?
        };
        Verdict { kind: entry.kind, state: entry.state, why: entry.why } = verdict;
        if entry.kind == Kind::Channel && session::id_of(stem).is_some() {
            entry.kind = Kind::Session;
        }
        entry.session = match entry.kind {
            Kind::Session => session::id_of(stem),
            Kind::BlockFile => FileId::of_name(stem).map(|id| id.session),
            _ => None,
        };
        Ok(entry)
    }

    fn region(&mut self, stem: &str, found: &Found, entry: &mut Entry) -> io::Result<Verdict> {
        if let What::Other(what) = found.what {
            return Ok(Verdict::foreign(format!("it is {what}")));
        }
        if Name::of_stem(stem).is_none() {
            return Ok(Verdict::foreign("no channel has a name like this"));
        }
        match found.what {
            What::RegistryFile if self.door_is_locked(found)? => return Ok(changing(Kind::RegistryFile)),
            What::RegistryFile => {
                let why = "there is no region of that name, and nobody is making one";
                return Ok(Verdict::new(Kind::RegistryFile, State::LeftOver, why));
            }
            What::Memory | What::Other(_) => {}
        }
        if found.object.is_none() {
            let why = match entry.is_mine {
                true => "its mode, or a lease on it, lets nobody look".to_owned(),
                false => format!("it belongs to user {}, who lets nobody else look", found.owner),
            };
            return Ok(Verdict::new(Kind::Other, State::Unreadable, why));
        }
        if found.len == 0 {
            return self.half_made(found, "it is empty, and nothing shows that antiphon made it");
        }
        if !found.has_a_regions_length() {
            return Ok(Verdict::foreign("its length is none that a channel has"));
        }
        let cut_off = || Ok(Verdict::foreign("it was cut off while it was looked at"));
        let id = FileId::of_name(stem);
        let mut end = None;
        if let Some(id) = id {
            let Some(snapshot) = block_file::FLOOR.read(found)? else { return cut_off() };
            if snapshot.magic() == block_file::FLOOR.magic {
                return self.block_file(id, &snapshot, stem, found, entry);
            }
            end = Some(snapshot);
        }
        let Some(start) = sight::FLOOR.read(found)? else { return cut_off() };
        let is_blank = |snapshot: &Snapshot| snapshot.is_blank();
        let being_made = [(Some(&start), end.as_ref()), (end.as_ref(), Some(&start))]
            .into_iter()
            .find(|(head, other)| head.is_some_and(|head| head.magic() == MAKING) && other.is_none_or(is_blank));
        if let Some((Some(head), _)) = being_made {
            // Relaxed, here and below: a copy, which nobody writes.
            entry.identity.nonce = head.head().identity.nonce.load(Relaxed);
            return self.not_complete(found, Kind::HalfMade, "its maker was killed before it was complete");
        }
        if start.is_blank() && end.as_ref().is_none_or(is_blank) {
            return self.half_made(found, "it holds nothing, and nothing shows that antiphon made it");
        }
        if start.magic() != sight::FLOOR.magic {
            return Ok(Verdict::foreign(match id {
                None => "it does not begin as a channel does",
                Some(_) => "it neither begins as a channel does nor ends as a block file does",
            }));
        }
        let seats = match sight::FLOOR.admit(&start, stem, found, entry) {
            Ok(seats) => seats,
            Err(foreign) => return Ok(foreign),
        };
        let sight = Sight::of(&start);
        let channel = entry.channel.insert(self.channel(&start, &sight, &seats)?);
        let bytes = channel.turn.len_bytes;
        let s = if bytes == 1 { "" } else { "s" };
        let kept = [
            channel.is_persistent.then(|| "it is persistent".to_owned()),
            sight.message_waits.then(|| format!("a message of {bytes} byte{s} waits for a consumer")),
        ];
        let state = Complete {
            kind: Kind::Channel,
            living: if session::id_of(stem).is_some() { living_session(channel) } else { living(channel) },
            is_half_removed: start.head().identity.removed.load(Relaxed) != 0,
            kept: kept.into_iter().flatten().next(),
            dead: dead(channel.seats()),
        };
        self.complete(found, state)
    }

    /// What ends as a block file does.
    fn block_file(
        &mut self,
        id: FileId,
        snapshot: &Snapshot,
        stem: &str,
        found: &Found,
        entry: &mut Entry,
    ) -> io::Result<Verdict> {
        let seats = match block_file::FLOOR.admit(snapshot, stem, found, entry) {
            Ok(seats) => seats,
            Err(foreign) => return Ok(foreign),
        };
        let chairs: Vec<Chair> =
            SeatNumber::all().map(|number| self.chair(snapshot, &seats, number)).collect::<io::Result<_>>()?;
        let Some(file) = BlockFile::of(id, snapshot, found.len, &chairs) else {
            return Ok(Verdict::foreign("its blocks do not fit into its length"));
        };
        let file = entry.block_file.insert(file);
        let state = Complete {
            kind: Kind::BlockFile,
            living: file.living(),
            is_half_removed: snapshot.head().identity.removed.load(Relaxed) != 0,
            kept: file.waiting(),
            dead: dead(file.seats()),
        };
        self.complete(found, state)
    }

    /// What to say of a whole region.
    fn complete(&self, found: &Found, of: Complete) -> io::Result<Verdict> {
        let verdict = |state, why| Ok(Verdict::new(of.kind, state, why));
        if let Some(why) = of.living {
            return verdict(State::InUse, why);
        }
        if self.door_is_locked(found)? {
            return Ok(changing(of.kind));
        }
        match (of.is_half_removed, of.kept) {
            (true, _) => verdict(State::LeftOver, "whoever began to remove it was killed".to_owned()),
            (false, Some(kept)) => verdict(State::Kept, format!("{kept}; {}", of.dead)),
            (false, None) => verdict(State::LeftOver, of.dead),
        }
    }

    fn door_is_locked(&self, found: &Found) -> io::Result<bool> {
        Ok(!self.is_at_the_door && found.door_is_locked()?)
    }

    fn not_complete(&self, found: &Found, kind: Kind, why: &str) -> io::Result<Verdict> {
        if self.door_is_locked(found)? { Ok(changing(kind)) } else { Ok(Verdict::new(kind, State::LeftOver, why)) }
    }

    /// What nothing but its mark shows to be antiphon's.
    fn half_made(&self, found: &Found, otherwise: &str) -> io::Result<Verdict> {
        if !found.is_marked {
            return Ok(Verdict::foreign(otherwise));
        }
        self.not_complete(found, Kind::HalfMade, "its maker was killed before it was complete")
    }

    /// Semaphores that no region of the stem belongs to.
    fn semaphores(&mut self, stem: &str) -> Result<Option<Entry>, Error> {
        let failed = |e| Error::system(stem, "open", e);
        let Some(name) = Name::of_stem(stem) else { return Ok(None) };
        let mut entry: Option<Entry> = None;
        for bell in name.bells() {
            let Some(file) = sys::semaphore_file(&bell) else { continue };
            let Some(found) = sys::find(OsStr::new(&file)).map_err(failed)? else { continue };
            let state = if found.is_marked && found.what == What::Memory { State::LeftOver } else { State::Foreign };
            let why = match state {
                State::LeftOver => "the region that they belong to is gone",
                _ => "nothing shows that antiphon made them",
            };
            let other = entry.take();
            let so_far = other.as_ref().map_or(0, |other| other.len_bytes);
            // If one is another user's, so are both.
            let owner = other.map(|other| other.owner).filter(|owner| *owner != self.user).unwrap_or(found.owner);
            entry = Some(Entry {
                name: stem.to_owned(),
                system_name: file,
                kind: if state == State::LeftOver { Kind::Semaphores } else { Kind::Other },
                state,
                why: why.to_owned(),
                owner,
                is_mine: owner == self.user,
                len_bytes: so_far + found.len,
                session: None,
                channel: None,
                block_file: None,
                identity: Identity { id: found.id, nonce: 0 },
            });
            if state == State::Foreign {
                break; // A stranger's beside ours: neither is touched.
            }
        }
        Ok(entry)
    }

    fn channel(&mut self, snapshot: &Snapshot, sight: &Sight, seats: &Seats<'_>) -> io::Result<Channel> {
        let identity = &snapshot.head().identity;
        let flags = identity.flags.load(Relaxed);
        let mut handles = Vec::new();
        for number in SeatNumber::handles() {
            let seat = self.seat(snapshot, seats, number)?;
            if seat.sitter != Sitter::Nobody {
                handles.push(seat);
            }
        }
        let counters = |[messages, bytes, replies, reply_bytes, sleeps, waiting]: [u64; 6], has_turn: bool| {
            // Whoever has the turn waits for nothing, and takes the note back when it passes it.
            let waiting_since = if has_turn { None } else { time(waiting) };
            Counters { messages, bytes, replies, reply_bytes, sleeps, waiting_since }
        };
        Ok(Channel {
            capacity: identity.capacity.load(Relaxed),
            is_private: flags & PRIVATE != 0,
            is_persistent: flags & PERSISTENT != 0,
            maker_pid: identity.maker_pid.load(Relaxed),
            made_at: time(identity.created_unix_ms.load(Relaxed)),
            publisher: self.seat(snapshot, seats, SeatNumber::of_end(0))?,
            consumer: self.seat(snapshot, seats, SeatNumber::of_end(1))?,
            handles,
            turn: Turn {
                end: if sight.is_consumers { End::Consumer } else { End::Publisher },
                content: sight.content.unwrap_or("something that no peer writes"),
                len_bytes: sight.length,
                is_redelivered: sight.is_redelivered,
                is_abandoned: sight.is_abandoned,
                publisher_sleeps: sight.sleeps[0],
                consumer_sleeps: sight.sleeps[1],
                passings: sight.step.saturating_sub(1),
            },
            published: counters(sight.counters[0], !sight.is_consumers),
            consumed: counters(sight.counters[1], sight.is_consumers),
        })
    }

    fn seat(&mut self, snapshot: &Snapshot, seats: &Seats<'_>, number: SeatNumber) -> io::Result<Seat> {
        Ok(self.chair(snapshot, seats, number)?.seat)
    }

    fn chair(&mut self, snapshot: &Snapshot, seats: &Seats<'_>, number: SeatNumber) -> io::Result<Chair> {
        // The lock first, which costs little; then, once for each process, what the system says of it.
        let seated = seats.look(number, Care::Lock)?;
        let generation = match seated {
            Seated::Nobody => {
                let seat = Seat { sitter: Sitter::Nobody, pid: None, since: None };
                return Ok(Chair { generation: None, role: 0, seat });
            }
            Seated::Left { generation } | Seated::Alive { generation, .. } | Seated::Dead { generation, .. } => {
                Some(generation)
            }
        };
        let (sitter, pid) = match seated {
            Seated::Nobody | Seated::Left { .. } => (Sitter::Left, seats.who(number).pid),
            Seated::Dead { pid, .. } => (Sitter::Dead, pid),
            // Its taker has the door while it takes it: without one it is dead, whatever its child keeps.
            Seated::Alive { pid: 0, .. } if self.is_at_the_door => (Sitter::Dead, 0),
            Seated::Alive { pid: 0, .. } => (Sitter::Alive, 0),
            Seated::Alive { pid, .. } => {
                let who = seats.who(number);
                let is_gone = *self.gone.entry(who).or_insert_with(|| who.is_gone());
                (if is_gone { Sitter::Dead } else { Sitter::Alive }, pid)
            }
        };
        let (head, pid) = (snapshot.head(), (pid != 0).then_some(pid));
        let seat = Seat { sitter, pid, since: time(number.since_unix_ms(head)) };
        Ok(Chair { generation, role: number.role(head), seat })
    }
}

/// A seat, and of its record what is not said of every one.
pub(super) struct Chair {
    /// Which of its holders this is; `None` where it never had one.
    pub(super) generation: Option<u32>,
    pub(super) role: u32,
    pub(super) seat: Seat,
}

/// A whole region, by what its state hangs on.
struct Complete {
    kind: Kind,
    /// Who lives, in words.
    living: Option<String>,
    is_half_removed: bool,
    /// What is kept in it for whoever comes, in words.
    kept: Option<String>,
    /// That nobody lives, in words.
    dead: String,
}

/// By what a floor's regions are known.
pub(super) struct Floor {
    pub(super) kind: Kind,
    pub(super) magic: u64,
    pub(super) version: u32,
    /// Bytes of the region that are not payload.
    pub(super) overhead: u64,
    pub(super) head: HeadAt,
    /// From the head on, everything that there is to say something of.
    pub(super) read_bytes: usize,
}

impl Floor {
    /// A copy of what a region of this floor would have at its head's place. `None` where it is too short.
    fn read(&self, found: &Found) -> io::Result<Option<Snapshot>> {
        found.read(self.head, self.read_bytes)
    }

    /// Notes the full name of what has this floor's magic, and which one of that name it is. Who sits in it; or why it
    /// is none of ours.
    fn admit<'a>(
        &self,
        snapshot: &'a Snapshot,
        stem: &str,
        found: &'a Found,
        entry: &mut Entry,
    ) -> Result<Seats<'a>, Verdict> {
        let identity: &Record = &snapshot.head().identity;
        entry.name = self.name_of(identity, stem, found.len)?;
        entry.identity.nonce = identity.nonce.load(Relaxed);
        found.seats(snapshot).ok_or_else(|| Verdict::foreign("its locks cannot be looked at"))
    }

    fn name_of(&self, identity: &Record, stem: &str, len: u64) -> Result<String, Verdict> {
        let other = |why: &str| Err(Verdict::foreign(why));
        // Made by another build of antiphon.
        let incompatible = |why: String| Err(Verdict::new(self.kind, State::Foreign, why));
        if let Some(Difference { what, theirs, ours }) = identity.difference(self.version, len - self.overhead) {
            return match what {
                Differs::Version => {
                    incompatible(format!("it has layout version {theirs} and this program knows {ours}"))
                }
                Differs::WordSize | Differs::Libc => {
                    incompatible("it was made with another word size or another C library".to_owned())
                }
                Differs::Flags => incompatible("it is of a kind that this program does not know".to_owned()),
                Differs::Capacity => other("its capacity does not fit its length"),
            };
        }
        let name = String::from_utf8(identity.full_name()).ok().and_then(|name| Name::new(&name).ok());
        match name {
            Some(name) if name.stem() == stem => Ok(name.to_string()),
            _ => other("the name in it is not the one that it has"),
        }
    }
}

/// What the system would not let anybody look at, for another reason than that it is not permitted. The others are
/// shown all the same.
fn refused(system_name: &OsStr, error: &Error) -> Entry {
    let shown = printable(system_name);
    Entry {
        name: shown.clone(),
        system_name: shown,
        kind: Kind::Other,
        state: State::Unreadable,
        why: error.to_string(),
        owner: u32::MAX,
        is_mine: false,
        len_bytes: 0,
        session: None,
        channel: None,
        block_file: None,
        identity: Identity { id: 0, nonce: 0 },
    }
}

/// Sticky, so that one of ours was inside `sem_open`; who is there still begins again if it goes.
fn unnamed(found: &Found) -> Verdict {
    if found.is_marked && found.what == What::Memory {
        let why = "its maker was killed while the C library made a semaphore";
        return Verdict::new(Kind::UnnamedSemaphore, State::LeftOver, why);
    }
    Verdict::foreign("nothing shows that antiphon made it")
}

fn changing(kind: Kind) -> Verdict {
    Verdict::new(kind, State::Changing, "somebody is creating, opening or removing it, or is stopped at that")
}

/// Who lives, in words.
fn living(channel: &Channel) -> Option<String> {
    let words = ["the publisher's seat", "the consumer's seat"].into_iter().chain(std::iter::repeat("a handle"));
    let (what, seat) = words.zip(channel.seats()).find(|(_, seat)| seat.sitter == Sitter::Alive)?;
    Some(match seat.pid {
        Some(pid) => format!("process {pid} has {what}"),
        None => format!("a process is taking {what}"),
    })
}

/// Who lives at a session's channel, in words: its host first.
fn living_session(channel: &Channel) -> Option<String> {
    let words = ["hosts it", "calls it"].into_iter().chain(std::iter::repeat("has it open"));
    let seats = [&channel.consumer, &channel.publisher].into_iter().chain(&channel.handles);
    let (does, seat) = words.zip(seats).find(|(_, seat)| seat.sitter == Sitter::Alive)?;
    Some(match seat.pid {
        Some(pid) => format!("process {pid} {does}"),
        None => "a process is coming to it".to_owned(),
    })
}

/// That nobody lives, in words.
fn dead<'a>(seats: impl Iterator<Item = &'a Seat>) -> String {
    let dead: BTreeSet<u32> = seats.filter(|seat| seat.sitter == Sitter::Dead).filter_map(|seat| seat.pid).collect();
    let shown: Vec<String> = dead.iter().take(3).map(u32::to_string).collect();
    match (dead.len(), shown.join(", ")) {
        (0, _) => "everybody has left".to_owned(),
        (1, pid) => format!("process {pid}, which had it open, is dead"),
        (2 | 3, pids) => format!("processes {pids}, which had it open, are dead"),
        (more, pids) => format!("processes {pids} and {} more, which had it open, are dead", more - 3),
    }
}

pub(super) fn time(unix_ms: u64) -> Option<SystemTime> {
    (unix_ms != 0).then(|| UNIX_EPOCH.checked_add(Duration::from_millis(unix_ms)))?
}

/// A system's name, with nothing in it that a terminal would obey.
fn printable(name: &OsStr) -> String {
    let show = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    name.to_string_lossy().chars().map(show).collect()
}
