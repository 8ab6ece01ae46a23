//! A file of a session, open for reading: all the block files of its name.

use super::{LAST_PAUSE, Part, Parting, SHORT, Session};
use crate::blocks::state::{glance, standing};
use crate::blocks::{Block, BlockFileOptions, Claimed, FileId, Reader};
use crate::error::{Delivered, Error};
use crate::sys::deadline::Deadline;
use crate::sys::region::Addresses;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long one waits for a block before one asks whether the file has more parts by now: the first time and, twice as
/// long each time, at last.
const FIRST_ASKING: Duration = Duration::from_millis(50);
const LAST_ASKING: Duration = Duration::from_secs(1);
/// How long that question may take.
const ASKING: Duration = Duration::from_millis(100);

/// A file of a session, open for reading. Of a [sparse](super#sparse-files) one it reads every part, also those that
/// come later.
///
/// Threads each have their own, by [`Session::read`]; so have processes. Each block comes to one of them.
///
/// Dropped, it lets the host know, for which it waits a tenth of a second at most.
///
/// # Peer death
/// As of [`Reader`], for each part; a writer that was given a file and does not come to it has left it. Whether the
/// session's host lives is nothing to it: whether there are more parts it then finds out by itself.
#[derive(Debug)]
pub struct FileReader {
    session: Session,
    name: Vec<u8>,
    /// Those that are not at their end. They are dropped before the host is told.
    parts: Vec<(FileId, Reader)>,
    /// Where parts stood that are at their end, if that is guarded.
    kept: Vec<Arc<Addresses>>,
    /// All that were opened, or were gone by then.
    known: BTreeSet<u32>,
    asked: Instant,
    pause: Duration,
    _parting: Parting,
}

impl FileReader {
    /// Nothing where none of them is there any more.
    pub(super) fn open(session: &Session, name: &[u8], parts: &[Part]) -> Result<Option<Self>, Error> {
        let mut reader = FileReader {
            session: *session,
            name: name.to_vec(),
            parts: Vec::new(),
            kept: Vec::new(),
            known: BTreeSet::new(),
            asked: Instant::now(),
            pause: FIRST_ASKING,
            _parting: Parting::new(session),
        };
        reader.add(parts.iter().map(|part| part.id))?;
        Ok((!reader.parts.is_empty()).then_some(reader))
    }

    /// The file's name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The block files that it reads now: those that are not at their end.
    pub fn ids(&self) -> Vec<FileId> {
        self.parts.iter().map(|(id, _)| *id).collect()
    }

    /// What is noted of it: see [`NewFile::note`](super::NewFile::note). Nothing once it is at its end.
    pub fn note(&self) -> Vec<u8> {
        self.parts.first().map_or(Vec::new(), |(_, reader)| reader.shared().note())
    }

    /// Those that are not at their end.
    pub(crate) fn parts(&self) -> &[(FileId, Reader)] {
        &self.parts
    }

    /// How many parts were found by now.
    pub(crate) fn count_known(&self) -> usize {
        self.known.len()
    }

    /// The next block to be read; none at the end of the file.
    ///
    /// # Blocking
    /// Until a block is complete, or until every part is finished and read. Of several parts it sleeps at one after the
    /// other, for 20 ms at most: so a block of another one may be found that late.
    ///
    /// # Errors
    /// As of [`Reader::claim`], for any of its parts.
    pub fn claim(&mut self) -> Result<Option<Block>, Error> {
        self.claim_until(Deadline::NEVER)
    }

    /// [`claim`](Self::claim) with a limit: [`Error::TimedOut`]; errors as there.
    pub fn claim_timeout(&mut self, limit: Duration) -> Result<Option<Block>, Error> {
        self.claim_until(Deadline::after(limit))
    }

    /// [`claim`](Self::claim) if that needs no waiting for a block; errors as there.
    pub fn try_claim(&mut self) -> Result<Claimed, Error> {
        loop {
            let mut nth = 0;
            while let Some((_, reader)) = self.parts.get_mut(nth) {
                match reader.try_claim()? {
                    Claimed::NothingYet => nth += 1,
                    Claimed::End => self.leave(nth),
                    block => return Ok(block),
                }
            }
            if !self.parts.is_empty() {
                return Ok(Claimed::NothingYet);
            }
            if !self.find_more()? {
                return Ok(Claimed::End);
            }
        }
    }

    fn claim_until(&mut self, deadline: Deadline) -> Result<Option<Block>, Error> {
        let mut pause = SHORT;
        loop {
            match self.try_claim()? {
                Claimed::Block(block) => return Ok(Some(block)),
                Claimed::End => return Ok(None),
                Claimed::NothingYet => {}
            }
            if deadline.is_over() {
                let (name, call) = (self.parts[0].0.to_string(), "claim_timeout");
                return Err(Error::TimedOut { name, call, delivered: Delivered::No });
            }
            let now = Instant::now();
            if now.duration_since(self.asked) >= self.pause {
                self.ask_for_more()?;
                self.asked = Instant::now();
                self.pause = (self.pause * 2).min(LAST_ASKING);
                continue;
            }
            // One sleeps at one of them at a time: where there are several, not for long.
            self.parts.rotate_left(1);
            let is_alone = self.parts.len() == 1;
            let longest = if is_alone { self.pause } else { pause };
            match self.parts[0].1.claim_timeout(longest.min(deadline.left())) {
                Err(Error::TimedOut { .. }) => {}
                Ok(None) => self.leave(0),
                other => {
                    self.pause = FIRST_ASKING;
                    self.asked = Instant::now();
                    return other;
                }
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Lets go of a part that is at its end.
    fn leave(&mut self, nth: usize) {
        let (_, reader) = self.parts.remove(nth);
        self.kept.extend(reader.guarded_addresses());
    }

    /// Opens parts that are not known yet. What is gone by then was read by others.
    fn add(&mut self, ids: impl Iterator<Item = FileId>) -> Result<(), Error> {
        for id in ids {
            if self.known.contains(&id.file) {
                continue;
            }
            match BlockFileOptions::new().guard(self.session.guard).open(id).and_then(|file| file.reader()) {
                Ok(reader) => self.parts.push((id, reader)),
                Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
            self.known.insert(id.file);
        }
        Ok(())
    }

    /// Whether there are parts that were not known, once all that were are at their end.
    fn find_more(&mut self) -> Result<bool, Error> {
        match self.listed(self.session.patience) {
            Ok(ids) => self.add(ids.into_iter())?,
            Err(error @ (Error::Cancelled { .. } | Error::Forked { .. })) => return Err(error),
            // The end is not to hang on a host that is dead, or busy: it is in the regions.
            Err(_) => {
                let session = self.session.id;
                for file in
                    standing(session)?.into_iter().filter(|file| !self.known.contains(file)).collect::<Vec<_>>()
                {
                    let id = FileId { session, file };
                    if glance(id)?.is_some_and(|name| name == self.name) {
                        self.add(std::iter::once(id))?;
                    }
                }
            }
        }
        Ok(!self.parts.is_empty())
    }

    /// The same while there is something to wait for: if the host does not answer now, it is asked again.
    fn ask_for_more(&mut self) -> Result<(), Error> {
        match self.listed(ASKING) {
            Ok(ids) => self.add(ids.into_iter()),
            Err(_) => Ok(()),
        }
    }

    /// What the host knows.
    fn listed(&self, limit: Duration) -> Result<Vec<FileId>, Error> {
        let call = self.session.call("read", &self.name);
        let call = super::Call { deadline: Deadline::after(limit), waits: false, ..call };
        match self.session.parts(call, true, &self.name) {
            Ok(parts) => Ok(parts.into_iter().map(|part| part.id).collect()),
            Err(Error::NoFile { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Ends every part that it reads for everybody, with a reason. [`Session::cancel`] ends all there are.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn cancel(&mut self, reason: &str) -> Result<(), Error> {
        self.parts.iter_mut().try_for_each(|(_, reader)| reader.cancel(reason))
    }
}
