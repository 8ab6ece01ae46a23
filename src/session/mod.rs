//! Sessions: block files by their names, and a host that knows which there are.
//!
//! A program hosts a session; others connect to it by its id, open a file for writing by any name, list what can be
//! read, and read it. What they then have in hand is a [block file](crate::blocks) that writers and readers share: the
//! host is not in the middle, and data never passes through it.
//!
//! # Which floor
//!
//! For programs that find each other's files by name: the receivers of a transfer, pools of workers. Two programs that
//! agree on a [`FileId`] need no session, only a [`BlockFile`](crate::blocks::BlockFile).
//!
//! # What it promises
//!
//! * **Every call may be made twice.** A name and an offset have one file that is open to writers, and who opens it
//!   again gets that one. So whoever does not know whether a call was heard repeats it.
//! * **When the host dies**, whoever has a file open goes on with it. A caller in the middle of a call gets
//!   [`Error::PeerDied`] within a tenth of a second, and repeats it: it waits for the next host of the same id, which
//!   [`SessionOptions::id`] starts, and which finds every file as it stood, since each says in its own region what it
//!   is. Without a next one the call ends in [`Error::NoHost`].
//! * **When a caller dies** in the middle of a call, the host goes on with the next.
//! * **A file is there until it was read**: from the call that opens it until it is finished and all of it was read, or
//!   until it is cancelled and everybody has let go of it. Then its region is gone and its name is free. One whose caller
//!   died before it came to it, or does not come for ten seconds, goes as well, unless somebody waits to read it: whoever
//!   does is told [`Error::Disconnected`]. One in which nothing stands goes too when neither a host nor anybody else has
//!   it open any more: who opens it after that begins at its beginning.
//! * **Names are any bytes**, 1 to 4,096; they are kept as data, and are nobody's path.
//!
//! # Sparse files
//!
//! The same name, opened at several offsets, is several block files: a group. [`Session::read`] reads all of them,
//! also those that come later, and is at its end when every one that is open is finished and read: so open all of them
//! before you finish the first. A new file of that name may follow.
//!
//! # How it works
//!
//! The session's API is a [channel](crate::channel) of the id's name: sixteen digits. Its consumer is the host, on a
//! thread of its own; callers take the publisher's seat for one call at a time. The protocol stands in `protocol.rs`:
//! one request, one reply, neither of which is long enough for anybody to wait for the other to copy it. **The host
//! never waits inside an answer**: a caller that waits for a file to appear asks again, with growing pauses.
//!
//! The one invariant: **what the host has told anybody stands in a region.** It answers an open only when the region
//! stands there, with name and offset in it; it keeps that open, so that it stays; and it lets go of it only when
//! nobody could miss it. So the table of a host is what its successor finds, however the first one ended: a reply that
//! was never sent has told nobody anything, and the caller's second question finds the file that the first one made.
//! There is one host at a time because there is one consumer's seat, and one takes it before one looks what stands
//! there. `table.rs` has a file's states.
//!
//! A caller that is stopped in the middle of a call keeps the others out; they are told its pid when their time is up.
//!
//! # Example
//!
//! ```
//! use antiphon::session::{Session, SessionOptions};
//!
//! let host = SessionOptions::new().block_bytes(64 << 10).blocks(4).host()?;
//! let session = Session::connect(host.id())?; // In another process, as a rule.
//!
//! let mut file = session.write(b"frames.raw")?;
//! let mut space = file.claim()?;
//! let len = space.copy_from(0, b"the first frame");
//! space.complete(len)?;
//! file.finish()?;
//!
//! for entry in session.files()? {
//!     let mut file = session.read(&entry.name)?;
//!     while let Some(block) = file.claim()? {
//!         assert_eq!((block.offset(), block.to_vec()), (0, b"the first frame".to_vec()));
//!         block.complete()?;
//!     }
//! }
//! # Ok::<(), antiphon::Error>(())
//! ```
//!
//! # Its files, in reading order
//!
//! `mod.rs` what one can ask; `protocol.rs` in which bytes; `table.rs` what the host answers, `host.rs` its thread;
//! `call.rs` one call; `writer.rs`, `reader.rs` what one has in hand; `options.rs` what can be chosen.

mod call;
mod host;
mod options;
mod protocol;
mod reader;
mod table;
mod writer;

pub use host::Host;
pub use options::{NewFile, SessionOptions};
pub use reader::FileReader;
pub use writer::FileWriter;

use crate::blocks::{FileId, FileState, Guard};
use crate::error::{Delivered, Error};
use crate::sys::deadline::Deadline;
use call::Call;
use protocol::{Listed, MOST_NAME_BYTES, MOST_NOTE_BYTES, Reply, Request};
use std::time::Duration;

/// The channel's payload: every request and every reply is one piece.
const CAPACITY: usize = 64 << 10;
/// How long one waits before one asks again: the first time and, twice as long each time, at last.
const SHORT: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(20);
/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// No host has more files than this open.
const MOST_FILES: usize = 1 << 16;
/// Bytes of a name that an error shows.
const SHOWN_BYTES: usize = 80;

/// How the session is called, and its channel.
fn name_of(id: u64) -> String {
    format!("{id:016X}")
}

/// Which session's channel has this name, if any's.
pub(crate) fn id_of(name: &str) -> Option<u64> {
    let id = u64::from_str_radix(name, 16).ok()?;
    // Other ways to write the number are other names.
    (name_of(id) == name).then_some(id)
}

/// A file's name for people.
pub(crate) fn shown(name: &[u8]) -> String {
    let start = name.get(..SHOWN_BYTES).unwrap_or(name);
    let dots = if start.len() < name.len() { "..." } else { "" };
    match std::str::from_utf8(start) {
        Ok(text) if text.chars().all(|c| !c.is_control()) => format!("{text}{dots}"),
        _ => format!("{}{dots}", start.escape_ascii()),
    }
}

/// One block file of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// What it is called on this machine, for [`BlockFile::open`](crate::blocks::BlockFile::open).
    pub id: FileId,
    /// Where in the file it begins.
    pub offset: u64,
}

/// A file that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Its name.
    pub name: Vec<u8>,
    /// Its block files: several, where it is written sparsely.
    pub parts: Vec<Part>,
    /// What the first of them notes of it: see [`NewFile::note`].
    pub note: Vec<u8>,
    /// How many read it: each of them gets some of its blocks.
    pub readers: usize,
}

/// A connection to a session. It is a name and nothing more: nothing is kept open between two calls, so it may be
/// copied, shared between threads, and used in a forked child.
///
/// # Blocking
/// A call waits for its turn, and for a host where there is none, for 10 s unless [`patience`](Self::patience) says
/// otherwise.
///
/// # Errors
/// Of every call: [`Error::NoHost`] where none came in time; [`Error::PeerDied`] and [`Error::Disconnected`] where the
/// host went in the middle of it, so that it is to be repeated; [`Error::SeatTaken`] where another caller was in the
/// middle of a call for all that time; [`Error::TimedOut`]; [`Error::Refused`]. Of one that opens a file: `SeatTaken`
/// too where that is open 30 times, the host's included.
#[derive(Debug, Clone, Copy)]
pub struct Session {
    id: u64,
    patience: Duration,
    guard: Guard,
}

impl Session {
    /// Connects to a session that is hosted now.
    ///
    /// # Errors
    /// [`Error::NoHost`] where it is not.
    pub fn connect(id: u64) -> Result<Self, Error> {
        let session = Session { id, patience: PATIENCE, guard: Guard::Off };
        session.hello(Call { waits: false, ..session.call("connect", &[]) })
    }

    /// Connects to a session, and waits for its host until then.
    ///
    /// # Errors
    /// [`Error::NoHost`] where none came.
    ///
    /// ```
    /// use antiphon::Error;
    /// use antiphon::session::{Session, SessionOptions};
    /// use std::time::Duration;
    ///
    /// let id = 0xd0c5 << 32 | u64::from(std::process::id());
    /// assert!(matches!(Session::connect(id), Err(Error::NoHost { .. })));
    /// let waiting = std::thread::spawn(move || Session::connect_timeout(id, Duration::from_secs(60)));
    /// let host = SessionOptions::new().id(id).host()?;
    /// assert_eq!(waiting.join().unwrap()?.id(), host.id());
    /// # Ok::<(), antiphon::Error>(())
    /// ```
    pub fn connect_timeout(id: u64, limit: Duration) -> Result<Self, Error> {
        let session = Session { id, patience: PATIENCE, guard: Guard::Off };
        session.hello(Call { deadline: Deadline::after(limit), ..session.call("connect", &[]) })
    }

    fn hello(self, call: Call<'_>) -> Result<Self, Error> {
        match self.ask(call, &Request::Hello)? {
            Reply::Done => Ok(self),
            _ => Err(self.unexpected()),
        }
    }

    /// The same session, whose calls take no longer than this.
    pub fn patience(self, limit: Duration) -> Self {
        Session { patience: limit, ..self }
    }

    /// The same session, whose files' memory can be touched no longer than this says.
    pub fn guard(self, guard: Guard) -> Self {
        Session { guard, ..self }
    }

    /// Its id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Opens a file for writing, from its beginning; makes it where it is not there. Others may write to it as well,
    /// by the same call.
    ///
    /// # Errors
    /// [`Error::Finished`] where one of that name is finished and was not read to its end yet; [`Error::Cancelled`]
    /// where one was cancelled and somebody has it open still; [`Error::NoSpace`]; [`Error::BadOption`] for a name
    /// that is none; and those of every call.
    pub fn write(&self, name: &[u8]) -> Result<FileWriter, Error> {
        self.write_at(name, 0)
    }

    /// Opens a file for writing from `offset` on. Each offset is a block file of its own, and together they are the
    /// file: see [sparse files](self#sparse-files). Errors as of [`write`](Self::write).
    pub fn write_at(&self, name: &[u8], offset: u64) -> Result<FileWriter, Error> {
        self.write_new(name, NewFile::new().offset(offset))
    }

    /// Opens a file for writing, and says what it is to be where it is made by that. Errors as of
    /// [`write`](Self::write), and [`Error::BadOption`] for a note that is too long.
    pub fn write_new(&self, name: &[u8], new: NewFile<'_>) -> Result<FileWriter, Error> {
        check(name)?;
        if new.note.len() > MOST_NOTE_BYTES {
            let wanted = "at most 64 bytes";
            return Err(Error::BadOption { option: "length of the note", given: new.note.len() as u64, wanted });
        }
        let call = self.call("write", name);
        let (offset, bytes) = (new.offset, new.bytes.unwrap_or(u64::MAX));
        let request = Request::Open { offset, bytes, note: new.note.to_vec(), name: name.to_vec() };
        loop {
            let Reply::Part { file, offset: came } = self.ask(call, &request)? else {
                return Err(self.unexpected());
            };
            match FileWriter::open(self, self.part(file, came)) {
                // It was finished and read in between.
                Err(Error::NotFound { .. }) if !call.deadline.is_over() => std::thread::sleep(SHORT),
                opened => return opened,
            }
        }
    }

    /// Opens a file for reading: every block file of that name. Others may read it as well: each block comes to one.
    ///
    /// # Errors
    /// [`Error::NoFile`]; [`Error::Cancelled`]; [`Error::BadOption`] for a name that is none; and those of every call.
    pub fn read(&self, name: &[u8]) -> Result<FileReader, Error> {
        check(name)?;
        let call = self.call("read", name);
        let reader = FileReader::open(self, name, &self.parts(call, true, name)?)?;
        reader.ok_or_else(|| Error::NoFile { session: name_of(self.id), file: shown(name) })
    }

    /// [`read`](Self::read) of a file that may not be there yet; errors as there, and [`Error::TimedOut`].
    pub fn read_timeout(&self, name: &[u8], limit: Duration) -> Result<FileReader, Error> {
        let deadline = Deadline::after(limit);
        loop {
            self.wait_for(name, deadline.left())?;
            match self.read(name) {
                // Read by others in between.
                Err(Error::NoFile { .. }) if !deadline.is_over() => std::thread::sleep(SHORT),
                opened => return opened,
            }
        }
    }

    /// Opens a file that nobody reads, if there is one: whoever has several workers gives each a file by it. It is
    /// given to nobody else while it is read, nor in the second in which it may not be read yet.
    ///
    /// ```
    /// # use antiphon::session::{Session, SessionOptions};
    /// # let host = SessionOptions::new().block_bytes(4096).blocks(1).host()?;
    /// # let session = Session::connect(host.id())?;
    /// let writers = [session.write(b"one")?, session.write(b"two")?];
    /// let (first, second) = (session.read_any()?.unwrap(), session.read_any()?.unwrap());
    /// assert_ne!(first.name(), second.name());
    /// assert!(session.read_any()?.is_none());
    /// # Ok::<(), antiphon::Error>(())
    /// ```
    pub fn read_any(&self) -> Result<Option<FileReader>, Error> {
        let call = self.call("read any", &[]);
        loop {
            let Reply::Parts { parts, .. } = self.ask(call, &Request::Any)? else {
                return Err(self.unexpected());
            };
            let Some(any) = parts.into_iter().next() else { return Ok(None) };
            match self.read(&any.name) {
                Err(Error::NoFile { .. } | Error::Cancelled { .. }) if !call.deadline.is_over() => {
                    std::thread::sleep(SHORT);
                }
                opened => return opened.map(Some),
            }
        }
    }

    /// The files that can be read, in the order in which they were opened. It may be stale by the time one reads it.
    pub fn files(&self) -> Result<Vec<Entry>, Error> {
        let call = self.call("files", &[]);
        let mut entries: Vec<Entry> = Vec::new();
        for part in self.pages(call, |after| Request::Files { after })? {
            let (here, readers) = (self.part(part.file, part.offset), part.readers as usize);
            match entries.iter_mut().find(|entry| entry.name == part.name) {
                Some(entry) => {
                    entry.parts.push(here);
                    entry.readers = entry.readers.max(readers);
                }
                None => entries.push(Entry { name: part.name, parts: vec![here], note: part.note, readers }),
            }
        }
        Ok(entries)
    }

    /// What a file is called on this machine: each of its block files, by offset.
    ///
    /// # Errors
    /// [`Error::NoFile`]; [`Error::BadOption`] for a name that is none; and those of every call.
    ///
    /// ```
    /// # use antiphon::session::{Session, SessionOptions};
    /// # let host = SessionOptions::new().block_bytes(4096).blocks(1).host()?;
    /// # let session = Session::connect(host.id())?;
    /// let _writers = [session.write_at(b"sparse", 1 << 30)?, session.write(b"sparse")?];
    /// let parts = session.identify(b"sparse")?;
    /// assert_eq!(parts.iter().map(|part| part.offset).collect::<Vec<_>>(), [0, 1 << 30]);
    /// assert_eq!(antiphon::blocks::BlockFile::open(parts[0].id)?.name(), b"sparse");
    /// # Ok::<(), antiphon::Error>(())
    /// ```
    pub fn identify(&self, name: &[u8]) -> Result<Vec<Part>, Error> {
        check(name)?;
        self.parts(self.call("identify", name), false, name)
    }

    /// How one of its block files stands.
    ///
    /// # Errors
    /// [`Error::NoFile`] where it is none of the session's, or is none any more; and those of every call.
    pub fn state(&self, id: FileId) -> Result<FileState, Error> {
        let name = id.to_string();
        let call = self.call("state", name.as_bytes());
        if id.session != self.id {
            return Err(Error::NoFile { session: name_of(self.id), file: name });
        }
        match self.ask(call, &Request::State { file: id.file })? {
            Reply::State(state) => Ok(*state),
            _ => Err(self.unexpected()),
        }
    }

    /// Waits until there is a file of this name, and says what it is called on this machine.
    ///
    /// # Blocking
    /// By asking, at least every 20 ms. Without a host, or while one follows another, it waits on.
    ///
    /// # Errors
    /// [`Error::TimedOut`] where there was none, [`Error::NoHost`] where there was no host; [`Error::BadOption`] for a
    /// name that is none; and those of every call.
    pub fn wait_for(&self, name: &[u8], limit: Duration) -> Result<Vec<Part>, Error> {
        check(name)?;
        let call = Call { deadline: Deadline::after(limit), ..self.call("wait_for", name) };
        let mut pause = SHORT;
        loop {
            match self.parts(call, false, name) {
                Err(Error::NoFile { .. }) if call.deadline.is_over() => {
                    return Err(Error::TimedOut {
                        name: name_of(self.id),
                        call: call.what,
                        delivered: Delivered::No,
                    });
                }
                Err(Error::NoFile { .. } | Error::PeerDied { .. } | Error::Disconnected { .. }) => {}
                found => return found,
            }
            std::thread::sleep(pause.min(call.deadline.left()));
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Ends every block file of this name for everybody, with a reason: what stands in them is lost. Of several
    /// reasons the first stays; of a long one its first 1,000 bytes.
    ///
    /// # Errors
    /// [`Error::NoFile`]; [`Error::BadOption`] for a name that is none; and those of every call.
    pub fn cancel(&self, name: &[u8], reason: &str) -> Result<(), Error> {
        check(name)?;
        let request = Request::Cancel { reason: reason.to_owned(), name: name.to_vec() };
        match self.ask(self.call("cancel", name), &request)? {
            Reply::Done => Ok(()),
            _ => Err(self.unexpected()),
        }
    }

    fn part(&self, file: u32, offset: u64) -> Part {
        Part { id: FileId { session: self.id, file }, offset }
    }

    fn parts(&self, call: Call<'_>, for_reading: bool, name: &[u8]) -> Result<Vec<Part>, Error> {
        let name = name.to_vec();
        let listed = self.pages(call, |after| Request::Parts { after, for_reading, name: name.clone() })?;
        let mut parts: Vec<Part> = listed.iter().map(|part| self.part(part.file, part.offset)).collect();
        parts.sort_by_key(|part| (part.offset, part.id.file));
        Ok(parts)
    }

    /// A list, page by page.
    fn pages(&self, call: Call<'_>, request: impl Fn(u32) -> Request) -> Result<Vec<Listed>, Error> {
        let mut all: Vec<Listed> = Vec::new();
        loop {
            let after = all.last().map_or(0, |last| last.file);
            let Reply::Parts { has_more, parts } = self.ask(call, &request(after))? else {
                return Err(self.unexpected());
            };
            // Numbers that do not grow would never end, nor would as many as there are numbers.
            let mut before = after;
            let do_grow = parts.iter().all(|part| part.file > std::mem::replace(&mut before, part.file));
            if !do_grow || all.len() + parts.len() > MOST_FILES {
                return Err(self.unexpected());
            }
            let goes_on = has_more && !parts.is_empty();
            all.extend(parts);
            if !goes_on {
                return Ok(all);
            }
        }
    }
}

fn check(name: &[u8]) -> Result<(), Error> {
    match name.len() {
        1..=MOST_NAME_BYTES => Ok(()),
        len => {
            let wanted = "1 to 4,096 bytes";
            Err(Error::BadOption { option: "length of the name", given: len as u64, wanted })
        }
    }
}

/// Lets the host know when it is dropped. It stands behind what it tells of, so that that is gone by then.
#[derive(Debug)]
struct Parting {
    session: Session,
    pid: u32,
}

impl Parting {
    fn new(session: &Session) -> Self {
        Parting { session: *session, pid: std::process::id() }
    }
}

impl Drop for Parting {
    fn drop(&mut self) {
        // A forked child let go of nothing.
        if self.pid == std::process::id() {
            self.session.tell_closed();
        }
    }
}
