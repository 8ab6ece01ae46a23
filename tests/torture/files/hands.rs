//! What a process of a file has open: a block file of its own, or parts of a session's file.

use super::{NAME, Orientation};
use crate::log::{How, Outcome, Record, What};
use crate::plan::Side;
use crate::worker::Worker;
use antiphon::Error;
use antiphon::blocks::{Block, BlockFile, BlockFileOptions, Claimed, FileId, Reader, Writer};
use antiphon::session::{FileReader, FileWriter, Session};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Times that one comes to a file which has no room, or no host, before one gives up.
const ATTEMPTS: u32 = 500;

/// What one writes a part by.
pub enum Part {
    Alone(BlockFile, Writer),
    Session(FileWriter),
}

impl Part {
    pub fn file(&self) -> &BlockFile {
        match self {
            Part::Alone(file, _) => file,
            Part::Session(writer) => writer.file(),
        }
    }

    /// For one thread.
    pub fn end(&self) -> Writer {
        match self {
            Part::Alone(_, writer) => writer.clone(),
            Part::Session(writer) => Writer::clone(writer),
        }
    }
}

/// What a process writes by: by part; none where that one is over.
pub type Parts = Vec<Option<Part>>;

/// What one thread reads by.
pub enum Readers {
    Alone(Box<Reader>),
    Session(Box<FileReader>),
}

impl Readers {
    pub fn claim(&mut self) -> Result<Option<Block>, Error> {
        match self {
            Readers::Alone(reader) => reader.claim(),
            Readers::Session(reader) => reader.claim(),
        }
    }

    pub fn claim_timeout(&mut self, limit: Duration) -> Result<Option<Block>, Error> {
        match self {
            Readers::Alone(reader) => reader.claim_timeout(limit),
            Readers::Session(reader) => reader.claim_timeout(limit),
        }
    }

    pub fn try_claim(&mut self) -> Result<Claimed, Error> {
        match self {
            Readers::Alone(reader) => reader.try_claim(),
            Readers::Session(reader) => reader.try_claim(),
        }
    }

    pub fn cancel(&mut self, reason: &str) -> Result<(), Error> {
        match self {
            Readers::Alone(reader) => reader.cancel(reason),
            Readers::Session(reader) => reader.cancel(reason),
        }
    }
}

impl Orientation {
    fn options(&self, worker: &Worker) -> BlockFileOptions {
        let options = BlockFileOptions::new().block_bytes(self.plan.block_bytes).blocks(self.plan.blocks);
        options.offset(self.plan.base).wait(worker.life.wait)
    }

    fn is_made(&self) -> bool {
        self.control.head().file.made.load(Relaxed) != 0
    }

    /// Comes to the file as a writer; the first one makes it. Nothing where it is over.
    pub fn parts(&self, worker: &mut Worker) -> Option<Parts> {
        let alone = |file: BlockFile| file.writer().map(|writer| vec![Some(Part::Alone(file, writer))]);
        if self.plan.parts > 0 {
            return self.attach(worker, How::Session, |here, _| here.parts_of_session());
        }
        if self.is_made() {
            return self
                .attach(worker, How::Open, |here, worker| here.options(worker).open(here.id()).and_then(alone));
        }
        let made = self.attach(worker, How::OpenOrCreate, |here, worker| {
            let file = match here.options(worker).open(here.id()) {
                Err(Error::NotFound { .. }) => here.options(worker).create(here.id(), NAME.as_bytes())?,
                opened => opened?,
            };
            alone(file)
        });
        self.control.head().file.made.store(u64::from(made.is_some()), Relaxed);
        made
    }

    /// For one thread of a reader. Nothing where the file is over.
    pub fn readers(&self, worker: &mut Worker) -> Option<Readers> {
        if self.plan.parts > 0 {
            return self.attach(worker, How::Session, |here, _| {
                let session = Session::connect_timeout(here.session, Duration::from_secs(30))?;
                Ok(Readers::Session(Box::new(session.read(NAME.as_bytes())?)))
            });
        }
        self.attach(worker, How::Open, |here, worker| {
            let file = here.options(worker).open(here.id())?;
            Ok(Readers::Alone(Box::new(file.reader()?)))
        })
    }

    /// Nobody has to come any more. Where there are several parts, whoever cancelled may have died over that.
    pub fn is_cancelled(&self, worker: &mut Worker) {
        let head = &self.control.head().file;
        if self.plan.parts > 1 {
            worker.give_descriptors_back();
            for part in &head.parts[..self.plan.parts as usize] {
                let id = FileId { session: self.session, file: part.load(Relaxed) as u32 };
                if let Ok(file) = BlockFile::open(id) {
                    cancel(worker, How::ByFile, |reason| file.cancel(reason));
                }
            }
        }
        head.finished.store(1, Relaxed);
        head.drained.store(1, Relaxed);
    }

    /// Every part. The numbers that the first one finds are those of the file: one that somebody finds later, when it
    /// is finished and read, is another file of the same name, and is finished at once.
    fn parts_of_session(&self) -> Result<Parts, Error> {
        let session = Session::connect_timeout(self.session, Duration::from_secs(30))?;
        let head = &self.control.head().file;
        let mut parts = Vec::new();
        for part in 0..self.plan.parts {
            let known = &head.parts[part as usize];
            let by_number = |error| {
                let Ok(file @ 1..) = u32::try_from(known.load(Relaxed)) else { return Err(error) };
                // Who comes when it is ending comes by its number.
                match BlockFile::open(FileId { session: self.session, file }) {
                    Err(Error::NotFound { .. }) => Ok(None),
                    opened => opened.and_then(|file| {
                        let writer = file.writer()?;
                        Ok(Some(Part::Alone(file, writer)))
                    }),
                }
            };
            parts.push(match session.write_at(NAME.as_bytes(), self.plan.base_of(part)) {
                Ok(writer) if !self.is_made() || u64::from(writer.id().file) == known.load(Relaxed) => {
                    known.store(writer.id().file.into(), Relaxed);
                    Some(Part::Session(writer))
                }
                Ok(mut another) => {
                    another.finish()?;
                    None
                }
                Err(error @ Error::Finished { .. }) => by_number(error)?,
                Err(error) => return Err(error),
            });
        }
        head.made.store(1, Relaxed);
        match parts.iter().any(Option::is_some) {
            true => Ok(parts),
            false => Err(Error::Finished { name: NAME.to_owned() }),
        }
    }

    fn attach<H>(
        &self,
        worker: &mut Worker,
        how: How,
        mut open: impl FnMut(&Self, &Worker) -> Result<H, Error>,
    ) -> Option<H> {
        let head = &self.control.head().file;
        for attempt in 0..ATTEMPTS {
            worker.number += 1;
            let begun = worker.begin(What::Attach, how);
            worker.log.append(begun);
            let opened = open(self, worker);
            let error = match opened {
                Ok(hands) => {
                    worker.log.append(worker.end::<()>(&begun, &Ok(())));
                    return Some(hands);
                }
                Err(error) => error,
            };
            match log_error(worker, &begun, error) {
                Outcome::NoDescriptors => {
                    worker.give_descriptors_back();
                    worker.take_descriptors(attempt as usize % 24);
                }
                Outcome::NoSpace => std::thread::sleep(Duration::from_millis(2)),
                // A host died, or others ask.
                Outcome::PeerDied
                | Outcome::Disconnected
                | Outcome::SeatTaken
                | Outcome::TimedOut
                | Outcome::NoHost
                    if how == How::Session => {}
                Outcome::NotFound if how != How::OpenOrCreate => {
                    head.vanished.store(1, Relaxed);
                    return None;
                }
                Outcome::NoFile => {
                    head.vanished.store(1, Relaxed);
                    return None;
                }
                Outcome::Finished if worker.orders.side == Side::Writer => {
                    head.finished.store(1, Relaxed);
                    return None;
                }
                Outcome::Cancelled => {
                    self.is_cancelled(worker);
                    return None;
                }
                _ => return None,
            }
        }
        None
    }
}

/// A record that names a range: of an error, or of what is missing.
pub fn name_ranges(worker: &Worker, begun: &Record, ranges: &[std::ops::Range<u64>]) {
    for range in ranges {
        let mut named = Record::new(begun.incarnation, begun.number, What::Named, begun.how(), Outcome::Unfilled);
        (named.spare, named.len) = (range.start, range.end - range.start);
        worker.log.append(named);
    }
}

/// The end of an operation that failed, with the ranges that its error names before it.
pub fn log_error(worker: &Worker, begun: &Record, error: Error) -> Outcome {
    if let Error::Unfilled { ranges, .. } = &error {
        name_ranges(worker, begun, ranges);
    }
    let reason = match &error {
        Error::Cancelled { reason, .. } => Some(reason.clone()),
        _ => None,
    };
    let mut ended = worker.end::<()>(begun, &Err(error));
    if let Some(reason) = reason {
        // Empty where whoever cancelled died before it had said why.
        ended.id = reason.parse().unwrap_or(if reason.is_empty() { 0 } else { u64::MAX });
    }
    worker.log.append(ended);
    ended.outcome()
}

/// Somebody cancels it.
pub fn cancel(worker: &mut Worker, how: How, cancel: impl FnOnce(&str) -> Result<(), Error>) {
    worker.number += 1;
    let mut begun = worker.begin(What::Cancel, how);
    begun.id = worker.id();
    worker.log.append(begun);
    let cancelled = cancel(&begun.id.to_string());
    worker.log.append(worker.end(&begun, &cancelled));
}

/// Keeps a block for a while, now and then for longer than the other side likes to wait.
pub fn hold(worker: &mut Worker) {
    let micros = match worker.dice.below(300) {
        0 => 20_000 + worker.dice.below(100_000),
        1..=8 => worker.dice.below(5_000),
        _ => return,
    };
    std::thread::sleep(Duration::from_micros(micros));
}

/// Lets go of a block: dropped, or in a panic.
pub fn let_go<T>(worker: &Worker, begun: &Record, offset: u64, how: How, block: T) {
    let mut letting = Record::new(begun.incarnation, begun.number, What::LetGo, how, Outcome::Begun);
    letting.spare = offset;
    worker.log.append(letting);
    match how {
        How::Panic => {
            worker.log.head().panics.fetch_add(1, Relaxed);
            super::writer::panic_with(block);
        }
        _ => drop(block),
    }
    let mut record = Record::new(begun.incarnation, begun.number, What::LetGo, how, Outcome::Fine);
    record.spare = offset;
    worker.log.append(record);
}
