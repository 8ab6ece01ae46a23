//! A file of a session, open for writing.

use super::{Part, Parting, Session};
use crate::blocks::{BlockFile, BlockFileOptions, FileId, Writer};
use crate::error::Error;
use std::ops::{Deref, DerefMut};

/// A file of a session, open for writing: a [`Writer`], which it derefs to, and the block file that it writes to.
///
/// [Finish](Writer::finish) it when everything is written. Dropped without that it stays open, for whoever opens it
/// next.
///
/// Dropped, it lets the host know, for which it waits a tenth of a second at most.
///
/// # Peer death
/// As of [`Writer`]; whether the session's host lives is nothing to it.
#[derive(Debug)]
pub struct FileWriter {
    // In this order they are dropped.
    writer: Writer,
    file: BlockFile,
    part: Part,
    _parting: Parting,
}

impl FileWriter {
    pub(super) fn open(session: &Session, part: Part) -> Result<Self, Error> {
        let file = BlockFileOptions::new().guard(session.guard).open(part.id)?;
        let writer = file.writer()?;
        // Only then, so that what was not opened is not told of.
        Ok(FileWriter { writer, file, part, _parting: Parting::new(session) })
    }

    /// What it is called on this machine.
    pub fn id(&self) -> FileId {
        self.part.id
    }

    /// The block file.
    pub fn file(&self) -> &BlockFile {
        &self.file
    }
}

impl Deref for FileWriter {
    type Target = Writer;

    fn deref(&self) -> &Writer {
        &self.writer
    }
}

impl DerefMut for FileWriter {
    fn deref_mut(&mut self) -> &mut Writer {
        &mut self.writer
    }
}
