//! What a session can be asked to be.

use super::host::Host;
use crate::blocks::BlockFileOptions;
use crate::error::Error;

/// How a session is hosted. A plain value; each method returns it changed.
///
/// ```
/// use antiphon::session::{Session, SessionOptions};
///
/// let host = SessionOptions::new().block_bytes(64 << 10).blocks(4).host()?;
/// let writer = Session::connect(host.id())?.write(b"frames.raw")?;
/// assert_eq!((writer.file().block_bytes(), writer.file().blocks()), (64 << 10, 4));
/// # Ok::<(), antiphon::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct SessionOptions {
    files: BlockFileOptions,
    pub(super) mode: Option<u32>,
    pub(super) id: Option<u64>,
}

impl SessionOptions {
    /// Files of 8 blocks of 1 MiB, for this user alone, and an id that nobody else thinks of.
    pub const fn new() -> Self {
        SessionOptions { files: BlockFileOptions::new(), mode: None, id: None }
    }

    /// The bytes of a block, as in [`BlockFileOptions::block_bytes`].
    pub const fn block_bytes(mut self, bytes: usize) -> Self {
        self.files = self.files.block_bytes(bytes);
        self
    }

    /// How many blocks each file has, as in [`BlockFileOptions::blocks`].
    pub const fn blocks(mut self, blocks: usize) -> Self {
        self.files = self.files.blocks(blocks);
        self
    }

    /// The session's id, for callers that know it, and for a host that comes after a dead one.
    pub const fn id(mut self, id: u64) -> Self {
        self.id = Some(id);
        self
    }

    /// The permission bits of all that is created, `0o600` unless set.
    pub const fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Hosts the session, on a thread of its own, until the [`Host`] is dropped. With an id whose host is dead, it goes
    /// on with the files that stand there.
    ///
    /// # Errors
    /// [`Error::InUse`] where a living process hosts this id; [`Error::BadOption`], [`Error::NoSpace`],
    /// [`Error::NotPermitted`].
    pub fn host(self) -> Result<Host, Error> {
        Host::start(&self)
    }

    pub(super) fn of_files(&self) -> BlockFileOptions {
        match self.mode {
            Some(mode) => self.files.mode(mode),
            None => self.files,
        }
    }
}

/// What a file is to be, for who opens it first. A plain value; each method returns it changed.
///
/// ```
/// use antiphon::session::{NewFile, Session, SessionOptions};
///
/// let host = SessionOptions::new().host()?;
/// let session = Session::connect(host.id())?;
/// let writer = session.write_new(b"a line", NewFile::new().bytes(80).note(b"text"))?;
/// assert_eq!((writer.file().block_bytes(), writer.file().blocks()), (4096, 1));
/// assert_eq!(session.files()?[0].note, b"text");
/// # Ok::<(), antiphon::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct NewFile<'n> {
    pub(super) offset: u64,
    pub(super) bytes: Option<u64>,
    pub(super) note: &'n [u8],
}

impl<'n> NewFile<'n> {
    /// From the beginning, of blocks as the session has them, without a note.
    pub const fn new() -> Self {
        NewFile { offset: 0, bytes: None, note: &[] }
    }

    /// Where in the file it begins, as in [`Session::write_at`](super::Session::write_at).
    pub const fn offset(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    /// How many bytes will be written: it has no more and no larger blocks than those need. More may come all the
    /// same, and take longer.
    pub const fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// What there is to be known of it: up to 64 bytes, any. It stands with the file until that is gone.
    pub const fn note(mut self, note: &'n [u8]) -> Self {
        self.note = note;
        self
    }
}
