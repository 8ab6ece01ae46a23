//! What a block file can be asked to be.

use super::layout::{MOST_BLOCKS, MOST_NAME_BYTES, MOST_NOTE_BYTES, STATE_BYTES};
use super::{BlockFile, Guard};
use crate::bell::Wait;
use crate::error::Error;
use crate::name::Name;
use crate::sys::door::Intent;
use crate::sys::region::GRANULE;
use std::fmt;

/// Blocks are made of these.
const LEAST_BLOCK_BYTES: usize = 4 << 10;
const MOST_BLOCK_BYTES: usize = 64 << 20;

/// The name of a block file on this machine: a session, and a number in it.
///
/// ```
/// let id = antiphon::blocks::FileId { session: 0xa571_f08, file: 7 };
/// assert_eq!(id.to_string(), "000000000A571F08-00000007");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// The session's number.
    pub session: u64,
    /// The file's number in it.
    pub file: u32,
}

impl FileId {
    pub(super) fn name(self) -> Result<Name, Error> {
        Name::new(&self.to_string())
    }

    /// Which block file's name this is, if any's.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        let (session, file) = name.split_once('-')?;
        let id =
            FileId { session: u64::from_str_radix(session, 16).ok()?, file: u32::from_str_radix(file, 16).ok()? };
        // Other ways to write the numbers are other names.
        (id.to_string() == name).then_some(id)
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}-{:08X}", self.session, self.file)
    }
}

/// How a block file is made, and how those who claim its blocks wait. A plain value; each method returns it changed.
///
/// ```
/// use antiphon::blocks::{BlockFileOptions, FileId};
///
/// let id = FileId { session: std::process::id().into(), file: 1 };
/// let file = BlockFileOptions::new().block_bytes(64 << 10).blocks(4).create(id, b"frames.raw")?;
/// assert_eq!((file.block_bytes(), file.blocks()), (64 << 10, 4));
/// # Ok::<(), antiphon::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct BlockFileOptions {
    pub(super) block_bytes: usize,
    pub(super) blocks: usize,
    pub(super) offset: u64,
    pub(super) wait: Wait,
    pub(super) mode: u32,
    pub(super) guard: Guard,
}

impl Default for BlockFileOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl BlockFileOptions {
    /// 8 blocks of 1 MiB, from the start of the file, for this user alone, waiting as [`Wait::Adaptive`] says.
    pub const fn new() -> Self {
        let (wait, guard) = (Wait::Adaptive, Guard::Off);
        BlockFileOptions { block_bytes: 1 << 20, blocks: 8, offset: 0, wait, mode: 0o600, guard }
    }

    /// The bytes of a block: a multiple of 4 KiB, at most 64 MiB. Whoever creates the file decides.
    pub const fn block_bytes(mut self, bytes: usize) -> Self {
        self.block_bytes = bytes;
        self
    }

    /// How many blocks there are, 1 to 256. Whoever creates the file decides.
    pub const fn blocks(mut self, blocks: usize) -> Self {
        self.blocks = blocks;
        self
    }

    /// Where in the named file this one begins, for sparse ones. Whoever creates the file decides.
    pub const fn offset(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    /// How writers and readers made from this handle wait.
    pub const fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// The permission bits of what is created, `0o600` unless set.
    pub const fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// When what was made from this handle can no longer touch the file's memory.
    pub const fn guard(mut self, guard: Guard) -> Self {
        self.guard = guard;
        self
    }

    /// [`BlockFile::create`] with these options; errors as there.
    pub fn create(self, id: FileId, name: &[u8]) -> Result<BlockFile, Error> {
        self.create_noted(id, name, &[])
    }

    /// [`BlockFile::create`] with these options and a note, which whoever opens it can [read](BlockFile::note): up to
    /// 64 bytes, any. Errors as there.
    ///
    /// ```
    /// use antiphon::blocks::{BlockFile, BlockFileOptions, FileId};
    ///
    /// let id = FileId { session: std::process::id().into(), file: 4 };
    /// let _file = BlockFileOptions::new().create_noted(id, b"frames.raw", b"640 x 480")?;
    /// assert_eq!(BlockFile::open(id)?.note(), b"640 x 480");
    /// # Ok::<(), antiphon::Error>(())
    /// ```
    pub fn create_noted(self, id: FileId, name: &[u8], note: &[u8]) -> Result<BlockFile, Error> {
        if name.is_empty() || name.len() > MOST_NAME_BYTES {
            let wanted = "1 to 4,096 bytes";
            return Err(Error::BadOption { option: "length of the name", given: name.len() as u64, wanted });
        }
        if note.len() > MOST_NOTE_BYTES {
            let wanted = "at most 64 bytes";
            return Err(Error::BadOption { option: "length of the note", given: note.len() as u64, wanted });
        }
        BlockFile::attach(id, Intent::Create, self, name, note)
    }

    /// [`BlockFile::open`] with these options; errors as there.
    pub fn open(self, id: FileId) -> Result<BlockFile, Error> {
        BlockFile::attach(id, Intent::Open, self, &[], &[])
    }

    /// As small as a file of so many bytes needs it, and no larger than it was.
    pub(crate) fn fit(mut self, bytes: u64) -> Self {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).max(1);
        let whole = bytes.checked_next_multiple_of(LEAST_BLOCK_BYTES).unwrap_or(usize::MAX);
        self.block_bytes = self.block_bytes.min(whole);
        self.blocks = self.blocks.min(bytes.div_ceil(self.block_bytes.max(1)));
        self
    }

    /// Whether a file can be made like this.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.region_bytes().map(drop)
    }

    pub(super) fn region_bytes(&self) -> Result<usize, Error> {
        let bad = |option, given: usize, wanted| Err(Error::BadOption { option, given: given as u64, wanted });
        if !(LEAST_BLOCK_BYTES..=MOST_BLOCK_BYTES).contains(&self.block_bytes)
            || self.block_bytes % LEAST_BLOCK_BYTES != 0
        {
            return bad("block_bytes", self.block_bytes, "a multiple of 4 KiB, at most 64 MiB");
        }
        if !(1..=MOST_BLOCKS).contains(&self.blocks) {
            return bad("blocks", self.blocks, "1 to 256");
        }
        let data = self.block_bytes.checked_mul(self.blocks).and_then(|data| data.checked_next_multiple_of(GRANULE));
        match data.and_then(|data| data.checked_add(STATE_BYTES)).filter(|total| isize::try_from(*total).is_ok()) {
            Some(total) => Ok(total),
            None => bad("blocks", self.blocks, "so few that all of them can be mapped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_fitted_to_its_bytes_and_never_grows() {
        let options = BlockFileOptions::new();
        for (bytes, fitted) in [
            (0, (4096, 1)),
            (1, (4096, 1)),
            (4097, (8192, 1)),
            (1 << 20, (1 << 20, 1)),
            ((1 << 20) + 1, (1 << 20, 2)),
            (u64::MAX, (1 << 20, 8)),
        ] {
            let options = options.fit(bytes);
            assert_eq!((options.block_bytes, options.blocks), fitted, "{bytes}");
            assert!(options.check().is_ok());
        }
    }
}
