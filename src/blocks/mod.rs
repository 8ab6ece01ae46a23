//! Block files: many writers, many readers, one file, and no copy in between.
//!
//! A block file is a region of *blocks*, 8 of 1 MiB unless asked otherwise. A writer **claims** a free one, fills it in
//! place and **completes** it; a reader claims it then, reads it in place and completes it, and it is free again. Each
//! block is one thread's at a time, of whatever process, and carries its offset in the file. So it is a pipe whose ends
//! may be many, a pool of work whose jobs are not lost, or a file that two programs hand each other.
//!
//! ```
//! use antiphon::blocks::{BlockFile, BlockFileOptions, FileId};
//!
//! let id = FileId { session: std::process::id().into(), file: 0 };
//! let file = BlockFileOptions::new().block_bytes(4096).create(id, b"numbers")?;
//! let mut writer = file.writer()?;
//! let works = std::thread::spawn(move || -> Result<u64, antiphon::Error> {
//!     let mut reader = BlockFile::open(id)?.reader()?; // As from another process.
//!     let mut sum = 0;
//!     while let Some(block) = reader.claim()? {
//!         sum += block.to_vec().iter().map(|byte| u64::from(*byte)).sum::<u64>();
//!         block.complete()?;
//!     }
//!     Ok(sum)
//! });
//! for number in 1..=100 {
//!     let mut space = writer.claim()?;
//!     space.copy_from(0, &[number]);
//!     space.complete(1)?;
//! }
//! writer.finish()?;
//! assert_eq!(works.join().unwrap()?, 5050);
//! # Ok::<(), antiphon::Error>(())
//! ```
//!
//! # What it promises
//! * **What was completed comes to one reader.** If that one dies over it, or lets go of it, it comes to another, marked
//!   [again](Block::again).
//! * **What a writer died over goes to another.** What it died over, or let go of, goes to the next claim of any writer,
//!   marked [again](Space::again), with the same range of the file. A file that lacks a range does not end well:
//!   [`Error::Unfilled`] names it.
//! * **The end comes once all was read.** A reader is at the end when the file was [finished](Writer::finish), or a writer
//!   completed an empty block, and all of it was read: not before, and whoever claims last.
//! * **Nothing hangs.** Who waits is told of a death on the other side within a tenth of a second, once, and uses no
//!   processor meanwhile. Every wait has a form with a limit.
//! * **Nothing is left behind** once all have gone, unless there is something in it that nobody has read.
//! * **A peer's bytes are input.** Whatever another process writes, there is no panic, no hang past a limit, no access
//!   outside the region.
//!
//! Up to 30 processes have a file open at once, each with as many threads as it likes; the next one is told
//! [`Error::SeatTaken`].
//!
//! # Interface
//! [`BlockFile`], [`BlockFileOptions`], [`FileId`], [`Writer`], [`Space`], [`Reader`], [`Block`], [`Claimed`],
//! [`FileState`], [`Guard`].
//!
//! # Where what is
//!
//! | file | what |
//! |---|---|
//! | `word.rs` | blocks and their words, ranges, the end |
//! | `board.rs` | who of a side waits, and what is new for it |
//! | `hall.rs` | what either side does with the blocks, and who is rung then |
//! | `file.rs` | a process's attachment, waiting, the dead |
//! | `writer.rs`, `reader.rs` | what users have in hand |
//! | `guard.rs` | what whoever kept a pointer meets |
//! | `state.rs` | how a file stands |
//! | `layout.rs`, `memory.rs` | what stands where in the region |

pub(crate) mod board;
pub(crate) mod file;
mod guard;
pub(crate) mod hall;
pub(crate) mod layout;
pub(crate) mod memory;
#[cfg(all(test, loom))]
mod model;
mod options;
mod reader;
pub(crate) mod state;
pub(crate) mod word;
mod writer;

pub use guard::Guard;
pub use options::{BlockFileOptions, FileId};
pub use reader::{Block, Claimed, Reader};
pub use state::{FileState, Holder};
pub use writer::{Space, Writer};

use crate::bell::Wait;
use crate::error::Error;
use crate::sys::door::Intent;
use file::{Desk, Shared};
use hall::Side;
use std::ops::Range;
use std::sync::Arc;

/// Bytes that are brought to a block, or from one, at once: they stay in the nearest cache on the way.
const BOUNCE_BYTES: usize = 16 << 10;

/// A block file that this process has open.
///
/// It stays for as long as somebody has it open, and while there is something in it that was not read.
pub struct BlockFile {
    shared: Arc<Shared>,
    wait: Wait,
}

impl BlockFile {
    /// Makes a block file of 8 blocks of 1 MiB, for the file of this name: 1 to 4,096 bytes, any.
    ///
    /// # Errors
    /// [`Error::InUse`] where a living process has it open, [`Error::NoSpace`], [`Error::BadOption`].
    pub fn create(id: FileId, name: &[u8]) -> Result<Self, Error> {
        BlockFileOptions::new().create(id, name)
    }

    /// Opens one that is there.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Incompatible`], [`Error::NotAChannel`]; [`Error::SeatTaken`] where it is open 30
    /// times already.
    pub fn open(id: FileId) -> Result<Self, Error> {
        BlockFileOptions::new().open(id)
    }

    /// Takes its names away: those who have it open keep it, and nobody else comes.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn unlink(id: FileId) -> Result<(), Error> {
        Shared::unlink(id)
    }

    fn attach(
        id: FileId,
        intent: Intent,
        options: BlockFileOptions,
        name: &[u8],
        note: &[u8],
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared::attach(id, intent, &options, name, note)?);
        Ok(BlockFile { shared, wait: options.wait })
    }

    /// One that fills blocks.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn writer(&self) -> Result<Writer, Error> {
        self.desk(Side::Writers).map(Writer::new)
    }

    /// One that empties them.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn reader(&self) -> Result<Reader, Error> {
        self.desk(Side::Readers).map(Reader::new)
    }

    fn desk(&self, side: Side) -> Result<Desk, Error> {
        self.shared.check_fork()?;
        Ok(Desk::new(&self.shared, side, self.wait))
    }

    /// The name of the file that stands in it.
    pub fn name(&self) -> Vec<u8> {
        self.shared.memory().state().about.name.get()
    }

    /// What its maker noted of it: up to 64 bytes, any.
    pub fn note(&self) -> Vec<u8> {
        self.shared.note()
    }

    /// The bytes of a block.
    pub fn block_bytes(&self) -> usize {
        self.shared.block_bytes()
    }

    /// How many blocks there are.
    pub fn blocks(&self) -> usize {
        self.shared.blocks()
    }

    /// Where in the named file it begins.
    pub fn offset(&self) -> u64 {
        self.shared.base()
    }

    /// The bytes that were given to writers who are gone, and that nobody fills now: they go first to who claims.
    ///
    /// # Errors
    /// The system's.
    pub fn missing(&self) -> Result<Vec<Range<u64>>, Error> {
        self.shared.missing()
    }

    /// How it stands: what went through it, who has it open, what stands in which block.
    ///
    /// ```
    /// use antiphon::blocks::{BlockFile, FileId};
    ///
    /// let file = BlockFile::create(FileId { session: std::process::id().into(), file: 3 }, b"looked at")?;
    /// let mut writer = file.writer()?;
    /// writer.claim()?.complete(5)?;
    /// let space = writer.claim()?;
    /// let state = file.state()?;
    /// assert_eq!((state.bytes_in, state.bytes_out, state.complete, state.free), (5, 0, 1, 6));
    /// assert_eq!((state.holders[0].pid, state.holders[0].blocks), (std::process::id(), 1));
    /// # drop(space);
    /// # writer.cancel("only looked at")?;
    /// # Ok::<(), antiphon::Error>(())
    /// ```
    ///
    /// # Errors
    /// The system's.
    pub fn state(&self) -> Result<FileState, Error> {
        self.shared.state()
    }

    /// Ends the file for everybody, with a reason: what stands in it is lost.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn cancel(&self, reason: &str) -> Result<(), Error> {
        self.shared.cancel(reason)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl std::fmt::Debug for BlockFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockFile").field("file", &self.shared.name().as_str()).finish_non_exhaustive()
    }
}
