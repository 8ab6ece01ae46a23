//! The host's table: which block files there are, and what becomes of them.
//!
//! | a file is | when | and then |
//! |---|---|---|
//! | open to writers | it is not ending and not cancelled | who opens its name at its offset gets this one |
//! | ending | somebody has finished it | readers get what is in it, writers are told |
//! | done | it is ending, all was read, and some reader knows its end | the host lets go of it, and its name is free |
//! | cancelled | somebody has cancelled it | whoever comes is told why; the host lets go once nobody else has it open |
//! | forsaken | nothing was ever claimed in it, and who opened it for writing did not come | the host lets go once nobody else has it open |
//!
//! **Until the writer comes** to whom a file was given, the host stands in for it, by a writer of its own that claims
//! nothing. If it dies, or does not come in ten seconds, the host's writer leaves: so readers who wait are told, as
//! they are of every writer that left, and whoever opens the file gets it all the same.
//!
//! **All of it stands in the regions**: the table is what whoever lists and opens them finds, and nothing in it is told
//! to anybody before it stands there. So a host that comes after a dead one knows what that one knew. Only to whom it
//! gave a file that nobody read is forgotten, and for as long as that is not seen reading: then two may read one file,
//! each block of which still comes to one of them.
//!
//! A host's first number is the second that it starts in, and each further one is higher: no host gives out what one
//! before it gave out, so that a number is one file for whoever remembers it.
//!
//! A name and an offset have at most one block file that is open to writers. So to open is safe to repeat: whoever does
//! not know whether it was done gets the same one once more.

use super::SessionOptions;
use super::protocol::{Failure, Listed, Malformed, Reply, Request};
use crate::blocks::state::{Present, glance, standing};
use crate::blocks::{BlockFile, BlockFileOptions, FileId, Writer};
use crate::error::Error;
use crate::sys::process::Who;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::{Duration, Instant};

/// How long a file that was given to somebody is not given to another one, if nobody is seen reading it.
const GIVEN_FOR: Duration = Duration::from_secs(1);

/// How long a writer to whom a file was given may take until it comes, if it is not known to be dead.
const COMES_WITHIN: Duration = Duration::from_secs(10);

struct Entry {
    // In this order they are dropped.
    coming: Option<Coming>,
    file: BlockFile,
    name: Vec<u8>,
    given: Option<Instant>,
    is_forsaken: bool,
}

/// A writer that was given a file and has not come to it yet.
struct Coming {
    _stand_in: Writer,
    who: Option<Who>,
    since: Instant,
}

impl Coming {
    fn is_given_up(&self) -> bool {
        self.who.is_some_and(|who| who.is_gone()) || self.since.elapsed() >= COMES_WITHIN
    }
}

impl Entry {
    fn new(file: BlockFile, name: Vec<u8>) -> Self {
        Entry { coming: None, file, name, given: None, is_forsaken: false }
    }

    /// It was given to a writer, which is known for who it is if it is not one of a host before this.
    fn expect(&mut self, who: Option<Who>) {
        let has_writers = || self.present().other_writers > 0;
        if !self.file.shared().is_untouched() || has_writers() {
            return;
        }
        // Without one nobody would be told; that fails in forked children alone.
        let Ok(stand_in) = self.file.writer() else { return };
        self.coming = Some(Coming { _stand_in: stand_in, who, since: Instant::now() });
        self.is_forsaken = false;
    }

    fn see_who_came(&mut self) {
        let Some(coming) = &self.coming else { return };
        let (shared, present) = (self.file.shared(), self.present());
        if !shared.is_untouched() || present.other_writers > 0 {
            self.coming = None;
        } else if coming.is_given_up() {
            self.is_forsaken = true;
            // Where nobody is left to be told, it goes as a whole: whoever comes meanwhile sees a writer that leaves.
            if present.others > 0 {
                self.coming = None;
            }
        }
    }

    fn present(&self) -> Present {
        // Who cannot be looked at has it open, for all one knows.
        let all = Present { others: 1, writers: 1, other_writers: 1, readers: 1 };
        self.file.shared().present().unwrap_or(all)
    }

    fn readers(&self) -> u32 {
        self.present().readers as u32
    }

    fn is_readable(&self) -> bool {
        !self.file.shared().is_cancelled() && !self.file.shared().is_done()
    }

    /// Whether the host has nothing to keep it for any more.
    fn is_over(&self) -> bool {
        let shared = self.file.shared();
        let is_unwanted = shared.is_cancelled() || (self.is_forsaken && shared.is_untouched());
        if is_unwanted { self.present().others == 0 } else { shared.is_done() }
    }

    fn listed(&self, file: u32, name: Vec<u8>) -> Listed {
        Listed { file, offset: self.file.offset(), readers: self.readers(), name, note: self.file.note() }
    }
}

/// All block files of a session.
pub(super) struct Table {
    session: u64,
    options: BlockFileOptions,
    files: BTreeMap<u32, Entry>,
    /// Numbers that stand there and are no files of ours.
    not_ours: BTreeSet<u32>,
    /// Files that a host before this had, and that had no room for this one yet.
    full: BTreeSet<u32>,
    last: u32,
}

impl Table {
    /// What stands there of the session, left by a host before this one. Called by whoever sits in the host's seat.
    pub(super) fn rebuild(session: u64, options: &SessionOptions) -> Result<Self, Error> {
        let now = crate::sys::unix_millis() / 1000;
        let mut table = Table {
            session,
            options: options.of_files(),
            files: BTreeMap::new(),
            not_ours: BTreeSet::new(),
            full: BTreeSet::new(),
            last: u32::try_from(now).unwrap_or(0),
        };
        for number in standing(session)? {
            table.last = table.last.max(number);
            table.take_over(number)?;
        }
        Ok(table)
    }

    /// A file that stands there.
    fn take_over(&mut self, number: u32) -> Result<(), Error> {
        match BlockFile::open(self.id(number)) {
            Ok(file) if !file.name().is_empty() => {
                let name = file.name();
                let mut entry = Entry::new(file, name);
                entry.expect(None);
                self.files.insert(number, entry);
            }
            Err(Error::NotFound { .. }) => {} // Half made, or gone in the meantime.
            Err(Error::SeatTaken { .. }) => {
                self.full.insert(number);
            }
            Ok(_)
            | Err(
                Error::NotAChannel { .. }
                | Error::Incompatible { .. }
                | Error::NameCollision { .. }
                | Error::NotPermitted { .. }
                | Error::Corrupt { .. }
                | Error::Stuck { .. },
            ) => {
                self.not_ours.insert(number);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Tries again to take over what had no room.
    fn take_over_the_full(&mut self) {
        for number in std::mem::take(&mut self.full) {
            if self.take_over(number).is_err() {
                self.full.insert(number); // The system's; it is asked again.
            }
        }
    }

    fn id(&self, file: u32) -> FileId {
        FileId { session: self.session, file }
    }

    /// Answers, and never waits for anybody.
    pub(super) fn answer(&mut self, request: &[u8], caller: Who) -> Reply {
        let answered = match Request::decode(request) {
            Err(Malformed(what)) => Err(Failure::Refused { why: format!("it was asked with {what}") }),
            Ok(Request::Hello | Request::Closed) => Ok(Reply::Done), // `tidy` comes after the reply.
            Ok(Request::Open { offset, bytes, note, name }) => self.open(&name, offset, (bytes, &note), caller),
            Ok(Request::Files { after }) => Ok(self.files(after)),
            Ok(Request::Parts { after, for_reading, name }) => self.parts(after, for_reading, &name),
            Ok(Request::Any) => Ok(self.any()),
            Ok(Request::State { file }) => self.state(file),
            Ok(Request::Cancel { reason, name }) => self.cancel(&reason, &name),
        };
        answered.unwrap_or_else(Reply::Failed)
    }

    fn open(&mut self, name: &[u8], offset: u64, new: (u64, &[u8]), caller: Who) -> Result<Reply, Failure> {
        let its = |entry: &Entry| entry.name == name && entry.file.offset() == offset;
        for (&file, entry) in self.files.iter_mut().filter(|(_, entry)| its(entry)) {
            let shared = entry.file.shared();
            if entry.is_over() {
                continue; // The name is free, and the file goes when it is tidied up.
            }
            if shared.is_cancelled() {
                return Err(Failure::Cancelled { reason: shared.reason() });
            }
            if shared.is_ending() {
                return Err(Failure::Finished);
            }
            entry.expect(Some(caller));
            return Ok(Reply::Part { file, offset });
        }
        // One of this name that cannot be opened may be the one that is asked for: there are not to be two.
        let is_its = |number: &&u32| !matches!(glance(self.id(**number)), Ok(Some(other)) if other != name);
        if let Some(number) = self.full.iter().find(is_its) {
            let why = format!("{} is open 30 times, which is all that it has room for", self.id(*number));
            return Err(Failure::Refused { why });
        }
        self.create(name, offset, new, caller)
    }

    /// `new` is how long it will be, if its opener knows that, and the note on it.
    fn create(&mut self, name: &[u8], offset: u64, new: (u64, &[u8]), caller: Who) -> Result<Reply, Failure> {
        let (bytes, note) = new;
        let refused = |error: Error| Failure::Refused { why: error.to_string() };
        for _ in 0..=self.not_ours.len() + self.files.len() {
            self.last = self.last.checked_add(1).unwrap_or(1);
            let number = self.last;
            if self.files.contains_key(&number) || self.not_ours.contains(&number) {
                continue;
            }
            let file = match self.options.offset(offset).fit(bytes).create_noted(self.id(number), name, note) {
                Ok(file) => file,
                Err(Error::NoSpace { need, have, .. }) => return Err(Failure::NoSpace { need, have }),
                // Somebody made it who is not the host.
                Err(Error::InUse { .. } | Error::NotAChannel { .. } | Error::HoldsMessage { .. }) => {
                    self.not_ours.insert(number);
                    return Err(Failure::Refused { why: format!("something else stands at {}", self.id(number)) });
                }
                Err(error) => return Err(refused(error)),
            };
            let mut entry = Entry::new(file, name.to_vec());
            entry.expect(Some(caller));
            self.files.insert(number, entry);
            return Ok(Reply::Part { file: number, offset });
        }
        Err(Failure::Refused { why: "every number is taken".to_owned() })
    }

    /// The block files of a name with higher numbers.
    fn named<'t>(&'t self, name: &'t [u8], after: u32) -> impl Iterator<Item = (&'t u32, &'t Entry)> {
        self.files.range((Excluded(after), Unbounded)).filter(move |(_, entry)| entry.name == name)
    }

    fn files(&self, after: u32) -> Reply {
        let behind = self.files.range((Excluded(after), Unbounded)).filter(|(_, entry)| entry.is_readable());
        Reply::page(behind.map(|(file, entry)| entry.listed(*file, entry.name.clone())))
    }

    fn parts(&self, after: u32, for_reading: bool, name: &[u8]) -> Result<Reply, Failure> {
        let (mut is_known, mut parts) = (after > 0, Vec::new());
        for (file, entry) in self.named(name, 0).filter(|(_, entry)| !entry.is_over()) {
            is_known = true;
            if for_reading && entry.file.shared().is_cancelled() {
                return Err(Failure::Cancelled { reason: entry.file.shared().reason() });
            }
            if *file > after {
                parts.push((*file, entry));
            }
        }
        if !is_known {
            return Err(Failure::NoFile);
        }
        Ok(Reply::page(parts.into_iter().map(|(file, entry)| entry.listed(file, Vec::new()))))
    }

    /// The first file that nobody reads and that was not just given to somebody.
    fn any(&mut self) -> Reply {
        let mut busy = BTreeSet::new();
        for entry in self.files.values() {
            let was_given = entry.given.is_some_and(|given| given.elapsed() < GIVEN_FOR);
            if was_given || !entry.is_readable() || entry.readers() > 0 {
                busy.insert(&entry.name);
            }
        }
        let Some((file, entry)) = self.files.iter().find(|(_, entry)| !busy.contains(&entry.name)) else {
            return Reply::Parts { has_more: false, parts: Vec::new() };
        };
        let (listed, name) = (entry.listed(*file, entry.name.clone()), entry.name.clone());
        for entry in self.files.values_mut().filter(|entry| entry.name == name) {
            entry.given = Some(Instant::now());
        }
        Reply::Parts { has_more: false, parts: vec![listed] }
    }

    fn state(&mut self, file: u32) -> Result<Reply, Failure> {
        // So that the host's own writer is not shown beside the one that it stood in for.
        self.files.values_mut().for_each(Entry::see_who_came);
        let entry = self.files.get(&file).filter(|entry| !entry.is_over()).ok_or(Failure::NoFile)?;
        let state = entry.file.state().map_err(|error| Failure::Refused { why: error.to_string() })?;
        Ok(Reply::State(Box::new(state)))
    }

    fn cancel(&self, reason: &str, name: &[u8]) -> Result<Reply, Failure> {
        let mut is_known = false;
        for (_, entry) in self.named(name, 0).filter(|(_, entry)| !entry.is_over()) {
            is_known = true;
            entry.file.cancel(reason).map_err(|error| Failure::Refused { why: error.to_string() })?;
        }
        if is_known { Ok(Reply::Done) } else { Err(Failure::NoFile) }
    }

    /// Takes over what there is room in by now, and lets go of what is over. That comes to doors, at which one may have
    /// to wait a little: so not within an answer.
    pub(super) fn tidy(&mut self) {
        self.take_over_the_full();
        self.files.values_mut().for_each(Entry::see_who_came);
        self.files.retain(|_, entry| !entry.is_over());
    }
}
