//! The two sides of a session's file as an engine has them: one that fills, one that empties, and what either does when
//! the other is gone.

use super::note::About;
use super::{LAST_PAUSE, LOOK, Posix};
use crate::blocks::{Block, Space};
use crate::error::{Delivered, Error};
use crate::session::{FileReader, FileWriter, NewFile, Session, shown};
use crate::sys::deadline::Deadline;
use std::time::Duration;

/// Fills a file of a session, which is its alone.
pub(super) struct Filling {
    writer: FileWriter,
    patience: Duration,
}

impl Filling {
    /// Opens a file of this name. What one that is gone has left half written comes to its end by that.
    pub(super) fn open(
        posix: &Posix<'_>,
        session: &Session,
        name: &[u8],
        about: About,
        bytes: Option<u64>,
    ) -> Result<Self, Error> {
        let note = about.to_note();
        let new = bytes.map_or(NewFile::new(), |bytes| NewFile::new().bytes(bytes)).note(&note);
        let deadline = Deadline::after(posix.patience);
        loop {
            let writer = match session.write_new(name, new) {
                // Somebody has it open still, and will hear of it.
                Err(Error::Cancelled { .. }) if !deadline.is_over() => {
                    std::thread::sleep(LAST_PAUSE);
                    continue;
                }
                Err(Error::Finished { .. }) if posix.replace => {
                    Self::make_room(session, name, "it is sent anew")?;
                    continue;
                }
                opened => opened?,
            };
            if writer.file().note() == note {
                return Ok(Filling { writer, patience: posix.patience });
            }
            if About::of_note(&writer.file().note()).is_none() {
                let session = format!("{:016X}", session.id());
                let why = format!("{:?} is open, and no engine writes it", shown(name));
                return Err(Error::Refused { session, call: "write", why });
            }
            let other = writer.file().state()?.holders.into_iter().find(|holder| {
                let is_another = holder.pid != std::process::id();
                holder.is_alive && holder.writes && is_another
            });
            // Two threads of one process are two as well.
            let others = writer.file().shared().present()?.writers.saturating_sub(1);
            if others > 0 && !posix.replace {
                let pid = other.map_or_else(std::process::id, |holder| holder.pid);
                return Err(Error::InUse { name: writer.id().to_string(), pid });
            }
            drop(writer);
            let why = if others > 0 { "it is sent anew" } else { "who wrote it is gone" };
            Self::make_room(session, name, why)?;
        }
    }

    fn make_room(session: &Session, name: &[u8], why: &str) -> Result<(), Error> {
        match session.cancel(name, why) {
            Err(Error::NoFile { .. }) => Ok(()),
            done => done,
        }
    }

    pub(super) fn block_bytes(&self) -> usize {
        self.writer.file().block_bytes()
    }

    /// The next block to be filled; for the bytes from `at` on, where that is said.
    pub(super) fn claim(&mut self, at: Option<u64>) -> Result<Space, Error> {
        let mut lost: Option<(Deadline, Error)> = None;
        loop {
            let limit = lost.as_ref().map(|(deadline, _)| deadline.left());
            let claimed = match (at, limit) {
                (None, None) => self.writer.claim(),
                (Some(at), None) => self.writer.claim_at(at),
                (None, Some(limit)) => self.writer.claim_timeout(limit),
                (Some(at), Some(limit)) => self.writer.claim_at_timeout(at, limit),
            };
            match claimed {
                Err(error @ (Error::PeerDied { .. } | Error::Disconnected { .. })) => {
                    lost = Some((Deadline::after(self.patience), error));
                }
                Err(error @ Error::TimedOut { .. }) => match lost {
                    // One that came meanwhile, and takes its time.
                    Some(_) if self.writer.file().shared().present()?.readers > 0 => lost = None,
                    Some((_, lost)) => return Err(lost),
                    None => return Err(error),
                },
                claimed => return claimed,
            }
        }
    }

    /// Runs what fills the file, and ends it well or for everybody with a reason.
    pub(super) fn run<T>(mut self, fill: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let filled = fill(&mut self).and_then(|filled| self.writer.finish().map(|()| filled));
        if let Err(error) = &filled {
            let _ = self.writer.cancel(&error.to_string());
        }
        filled
    }
}

/// Empties a file of a session.
pub(super) struct Emptying {
    pub(super) reader: FileReader,
    pub(super) about: Option<About>,
    patience: Duration,
    block_bytes: u64,
    /// Where the bytes go, and how many parts know it.
    place: u64,
    told: usize,
}

impl Emptying {
    pub(super) fn open(posix: &Posix<'_>, session: &Session, name: &[u8]) -> Result<Self, Error> {
        let deadline = Deadline::after(posix.patience);
        let reader = loop {
            let mut reader = match session.read_timeout(name, deadline.left()) {
                // Another one of its name may come once everybody has let go of it.
                Err(Error::Cancelled { .. }) if !deadline.is_over() => {
                    std::thread::sleep(LAST_PAUSE);
                    continue;
                }
                opened => opened?,
            };
            // What a dead engine has begun nobody will end; but it may be begun anew.
            if About::of_note(&reader.note()).is_none() || will_come(&reader)? {
                break reader;
            }
            if deadline.is_over() {
                let left = left(&reader);
                let _ = reader.cancel(&left.to_string());
                return Err(left);
            }
            drop(reader);
            std::thread::sleep(LAST_PAUSE);
        };
        let about = About::of_note(&reader.note());
        let block_bytes = reader.parts().first().map_or(0, |(_, reader)| reader.shared().block_bytes() as u64);
        Ok(Emptying { reader, about, block_bytes, patience: posix.patience, place: 0, told: 0 })
    }

    pub(super) fn name(&self) -> String {
        shown(self.reader.name())
    }

    /// How long the blocks of its first part are.
    pub(super) fn block_bytes(&self) -> u64 {
        self.block_bytes
    }

    pub(super) fn elsewhere(&self) -> Error {
        Error::Elsewhere { file: self.name() }
    }

    /// Where all of it goes, where somebody has said so.
    pub(super) fn place(&self) -> Option<u64> {
        self.reader.parts().iter().find_map(|(_, reader)| reader.shared().place())
    }

    /// Says where all of it goes, unless somebody said so before.
    pub(super) fn goes_to(&mut self, place: u64) -> u64 {
        let first = self.reader.parts().first();
        self.place = first.map_or(place, |(_, reader)| reader.shared().goes_to(place));
        self.place
    }

    /// Tells the parts that came meanwhile, each of which has to go to the same place.
    fn tell(&mut self) -> Result<(), Error> {
        if self.told != self.reader.count_known() {
            let is_told =
                |(_, reader): &(_, crate::blocks::Reader)| reader.shared().goes_to(self.place) == self.place;
            if !self.reader.parts().iter().all(is_told) {
                return Err(self.elsewhere());
            }
            self.told = self.reader.count_known();
        }
        Ok(())
    }

    /// The next block; none at the end.
    pub(super) fn claim(&mut self) -> Result<Option<Block>, Error> {
        // An engine that is gone does not come back; of others one may.
        let patience = if self.about.is_some() { LOOK } else { self.patience };
        let mut lost: Option<(Deadline, Option<Error>)> = None;
        loop {
            self.tell()?;
            match self.reader.claim_timeout(LOOK) {
                Err(Error::TimedOut { .. }) => {}
                Err(error @ (Error::PeerDied { .. } | Error::Disconnected { .. } | Error::Unfilled { .. })) => {
                    lost = Some((Deadline::after(patience), Some(error)));
                }
                Ok(claimed) => {
                    self.tell()?;
                    return Ok(claimed);
                }
                Err(error) => return Err(error),
            }
            let will_come = will_come(&self.reader)?;
            match lost.take() {
                _ if will_come => {}
                Some((deadline, error)) if deadline.is_over() => {
                    return Err(error.unwrap_or_else(|| left(&self.reader)));
                }
                Some(still) => lost = Some(still),
                // Seen once more before it is believed.
                None => lost = Some((Deadline::after(patience), None)),
            }
        }
    }

    /// Runs what empties the file. If that fails it fails for everybody, with a reason; but if its bytes go elsewhere
    /// they go on.
    pub(super) fn run<T>(mut self, empty: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let emptied = empty(&mut self);
        match &emptied {
            Ok(_) | Err(Error::Elsewhere { .. }) => {}
            Err(error) => drop(self.reader.cancel(&error.to_string())),
        }
        emptied
    }
}

/// Whether somebody writes the file, or all of it is there.
fn will_come(reader: &FileReader) -> Result<bool, Error> {
    let mut will_come = false;
    for (_, part) in reader.parts() {
        will_come |= part.shared().present()?.writers > 0 || part.shared().is_whole()?;
    }
    Ok(will_come)
}

/// Nobody writes it any more, and nobody saw when that came about.
fn left(reader: &FileReader) -> Error {
    let name = reader.ids().first().map_or_else(String::new, ToString::to_string);
    Error::Disconnected { name, peer: "writer", delivered: Delivered::No, is_final: false }
}
