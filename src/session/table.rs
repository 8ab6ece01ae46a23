//! The host's table: which block files there are, and what becomes of them.
//!
//! | a file is | when | and then |
//! |---|---|---|
//! | open to writers | it is not ending and not cancelled | who opens its name at its offset gets this one |
//! | ending | somebody has finished it | readers get what is in it, writers are told |
//! | done | it is ending, all was read, and some reader knows its end | the host lets go of it, and its name is free |
//! | cancelled | somebody has cancelled it | whoever comes is told why; the host lets go once nobody else has it open |
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
use crate::blocks::state::standing;
use crate::blocks::{BlockFile, BlockFileOptions, FileId};
use crate::error::Error;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::{Duration, Instant};

/// How long a file that was given to somebody is not given to another one, if nobody is seen reading it.
const GIVEN_FOR: Duration = Duration::from_secs(1);

struct Entry {
    file: BlockFile,
    name: Vec<u8>,
    given: Option<Instant>,
}

impl Entry {
    fn readers(&self) -> u32 {
        // Who cannot be looked at reads, for all one knows.
        self.file.shared().others_and_readers().map_or(1, |(_, readers)| readers as u32)
    }

    fn is_readable(&self) -> bool {
        !self.file.shared().is_cancelled() && !self.file.shared().is_done()
    }

    /// Whether the host has nothing to keep it for any more.
    fn is_over(&self) -> bool {
        let shared = self.file.shared();
        match shared.is_cancelled() {
            true => matches!(shared.others_and_readers(), Ok((0, _))),
            false => shared.is_done(),
        }
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
            last: u32::try_from(now).unwrap_or(0),
        };
        for number in standing(session)? {
            table.last = table.last.max(number);
            match BlockFile::open(table.id(number)) {
                Ok(file) if !file.name().is_empty() => {
                    let name = file.name();
                    table.files.insert(number, Entry { file, name, given: None });
                }
                Err(Error::NotFound { .. }) => {} // Half made, or gone in the meantime.
                Ok(_)
                | Err(
                    Error::NotAChannel { .. }
                    | Error::Incompatible { .. }
                    | Error::NameCollision { .. }
                    | Error::NotPermitted { .. }
                    | Error::Corrupt { .. }
                    | Error::SeatTaken { .. }
                    | Error::Stuck { .. },
                ) => {
                    table.not_ours.insert(number);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(table)
    }

    fn id(&self, file: u32) -> FileId {
        FileId { session: self.session, file }
    }

    /// Answers, and never waits for anybody.
    pub(super) fn answer(&mut self, request: &[u8]) -> Reply {
        let answered = match Request::decode(request) {
            Err(Malformed(what)) => Err(Failure::Refused { why: format!("it was asked with {what}") }),
            Ok(Request::Hello | Request::Closed) => Ok(Reply::Done), // `tidy` comes after the reply.
            Ok(Request::Open { offset, bytes, note, name }) => self.open(&name, offset, bytes, &note),
            Ok(Request::Files { after }) => Ok(self.files(after)),
            Ok(Request::Parts { after, for_reading, name }) => self.parts(after, for_reading, &name),
            Ok(Request::Any) => Ok(self.any()),
            Ok(Request::State { file }) => self.state(file),
            Ok(Request::Cancel { reason, name }) => self.cancel(&reason, &name),
        };
        answered.unwrap_or_else(Reply::Failed)
    }

    fn open(&mut self, name: &[u8], offset: u64, bytes: u64, note: &[u8]) -> Result<Reply, Failure> {
        for (&file, entry) in self.named(name, 0).filter(|(_, entry)| entry.file.offset() == offset) {
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
            return Ok(Reply::Part { file, offset });
        }
        self.create(name, offset, bytes, note)
    }

    fn create(&mut self, name: &[u8], offset: u64, bytes: u64, note: &[u8]) -> Result<Reply, Failure> {
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
            self.files.insert(number, Entry { file, name: name.to_vec(), given: None });
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

    fn state(&self, file: u32) -> Result<Reply, Failure> {
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

    /// Lets go of what is over. That comes to doors, at which one may have to wait a little: so not within an answer.
    pub(super) fn tidy(&mut self) {
        self.files.retain(|_, entry| !entry.is_over());
    }
}
