//! Writers: claiming free blocks, filling them, handing them on.

use super::BOUNCE_BYTES;
use super::file::{Desk, Role, Wish};
use super::hall::{End, Got};
use crate::error::Error;
use crate::steps::step;
use crate::sys::deadline::Deadline;
use crate::sys::view::ViewMut;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// One that claims free blocks and fills them. Threads each have their own, by [`Clone`]; so have processes, by
/// [`BlockFile::open`](super::BlockFile::open).
///
/// # Peer death
/// When a reader dies, the next claim that has to wait returns [`Error::PeerDied`], once; the one after that waits on.
/// What the dead one had goes to the next reader, marked. When the last reader leaves, it is
/// [`Error::Disconnected`], likewise. What a dead writer was to fill goes to the next claim of any other.
///
/// ```
/// use antiphon::blocks::{BlockFile, FileId};
///
/// let id = FileId { session: std::process::id().into(), file: 2 };
/// let file = BlockFile::create(id, b"a file")?;
/// let mut writer = file.writer()?;
/// let mut space = writer.claim()?;
/// let len = space.copy_from(0, b"the first bytes");
/// space.complete(len)?;
/// writer.finish()?;
/// let block = file.reader()?.claim()?.unwrap();
/// assert_eq!(block.to_vec(), b"the first bytes");
/// block.complete()?;
/// # Ok::<(), antiphon::Error>(())
/// ```
pub struct Writer {
    desk: Desk,
}

impl Writer {
    pub(super) fn new(desk: Desk) -> Self {
        Writer { desk }
    }

    /// The next block to be filled. What another writer died over, or let go of, goes first, marked
    /// [again](Space::again).
    ///
    /// # Blocking
    /// Until a block is free.
    ///
    /// # Errors
    /// [`Error::Finished`], [`Error::Cancelled`]; [`Error::PeerDied`] and [`Error::Disconnected`] as the type says.
    pub fn claim(&mut self) -> Result<Space, Error> {
        self.claim_until(None, Deadline::NEVER, "claim")
    }

    /// [`claim`](Self::claim) with a limit: [`Error::TimedOut`]; errors as there.
    pub fn claim_timeout(&mut self, limit: Duration) -> Result<Space, Error> {
        self.claim_until(None, Deadline::after(limit), "claim_timeout")
    }

    /// [`claim`](Self::claim) if that needs no waiting; errors as there.
    pub fn try_claim(&mut self) -> Result<Option<Space>, Error> {
        self.try_claim_range(None)
    }

    /// A block for the bytes from `offset` of the file on, in the place of the next ones. What another writer died
    /// over goes first all the same: [`Space::offset`] says which it is.
    ///
    /// # Blocking
    /// Until a block is free.
    ///
    /// # Errors
    /// As [`claim`](Self::claim).
    pub fn claim_at(&mut self, offset: u64) -> Result<Space, Error> {
        self.claim_until(Some(offset), Deadline::NEVER, "claim_at")
    }

    /// [`claim_at`](Self::claim_at) with a limit: [`Error::TimedOut`]; errors as there.
    pub fn claim_at_timeout(&mut self, offset: u64, limit: Duration) -> Result<Space, Error> {
        self.claim_until(Some(offset), Deadline::after(limit), "claim_at_timeout")
    }

    /// [`claim_at`](Self::claim_at) if that needs no waiting; errors as there.
    pub fn try_claim_at(&mut self, offset: u64) -> Result<Option<Space>, Error> {
        self.try_claim_range(Some(offset))
    }

    fn claim_until(&mut self, chosen: Option<u64>, deadline: Deadline, call: &'static str) -> Result<Space, Error> {
        let got = self.desk.get(Wish::Block { chosen }, deadline, call)?;
        match got {
            Ok(got) => self.space(got),
            Err(end) => Err(self.desk.ended(end)),
        }
    }

    fn try_claim_range(&mut self, chosen: Option<u64>) -> Result<Option<Space>, Error> {
        match self.desk.try_get(Wish::Block { chosen })? {
            Some(Ok(got)) => self.space(got).map(Some),
            Some(Err(end)) => Err(self.desk.ended(end)),
            None => Ok(None),
        }
    }

    fn space(&self, Got { block, again }: Got) -> Result<Space, Error> {
        let (role, shared) = (Arc::clone(&self.desk.role), self.desk.shared());
        // Relaxed: this owner's own, or acquired with the word.
        let offset = shared.memory().state().records[block].offset.load(Relaxed);
        let space = Space { role, block, offset, again, is_passed: false };
        space.role.open(block)?;
        Ok(space)
    }

    /// Nothing more will be written but what was claimed before. Any writer may say so, and it goes for all of them.
    ///
    /// # Blocking
    /// Until everything that was claimed is completed, by whatever writer: so complete first what you have in hand, else
    /// only a [limit](Self::finish_timeout) ends it.
    ///
    /// # Errors
    /// [`Error::Unfilled`] where somebody died over it or let go of it: claim and fill that, and finish again.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.finish_until(Deadline::NEVER, "finish")
    }

    /// [`finish`](Self::finish) with a limit: [`Error::TimedOut`], and the file is ending all the same; errors as
    /// there.
    pub fn finish_timeout(&mut self, limit: Duration) -> Result<(), Error> {
        self.finish_until(Deadline::after(limit), "finish_timeout")
    }

    fn finish_until(&mut self, deadline: Deadline, call: &'static str) -> Result<(), Error> {
        let shared = Arc::clone(self.desk.shared());
        shared.check_fork()?;
        shared.hall().end();
        match self.desk.get(Wish::Filled, deadline, call)? {
            Err(End::Cancelled) => Err(self.desk.ended(End::Cancelled)),
            _ => {
                self.desk.role.at_end();
                Ok(())
            }
        }
    }

    /// Ends the file for everybody, with a reason: what stands in it is lost, but for blocks that a reader had found
    /// before it heard of it.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn cancel(&mut self, reason: &str) -> Result<(), Error> {
        self.desk.shared().cancel(reason)
    }
}

impl Clone for Writer {
    /// For another thread.
    fn clone(&self) -> Self {
        Writer { desk: self.desk.another() }
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("file", &self.desk.shared().name().as_str()).finish_non_exhaustive()
    }
}

/// A block that is this one's to fill. Dropped, it goes to the next claim of any writer, marked.
#[must_use = "a block that is dropped has to be filled by somebody else"]
pub struct Space {
    role: Arc<Role>,
    block: usize,
    offset: u64,
    again: bool,
    is_passed: bool,
}

impl Space {
    /// Where its bytes belong in the file.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes there is room for.
    pub fn capacity(&self) -> usize {
        self.role.shared.block_bytes()
    }

    /// Whether another writer had this range before, and died over it or let go of it.
    pub fn again(&self) -> bool {
        self.again
    }

    /// Copies `from` behind `at`, and returns how many bytes there was room for. In a forked child there is none.
    pub fn copy_from(&mut self, at: usize, from: &[u8]) -> usize {
        self.view().copy_from(at, from)
    }

    /// Fills the block from a source, until either ends; returns how many bytes came. 0 is the source's end, and
    /// `complete(0)` says so to everybody.
    ///
    /// # Errors
    /// The source's.
    pub fn read_from(&mut self, source: &mut impl Read) -> io::Result<usize> {
        let mut bounce = [0; BOUNCE_BYTES];
        let mut filled = 0;
        let capacity = self.capacity();
        while filled < capacity {
            let room = (capacity - filled).min(BOUNCE_BYTES);
            match source.read(&mut bounce[..room]) {
                Ok(0) => break,
                Ok(came) => filled += self.view().copy_from(filled, &bounce[..came]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Where the first of the bytes stands, for other languages: [`capacity`](Self::capacity) of them, writable for as
    /// long as the block is in hand. In a forked child nobody may touch them.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.view().into_ptr()
    }

    /// The bytes in place.
    ///
    /// # Safety
    /// Every process that can map this region keeps the protocol for as long as the slice lives.
    #[allow(unsafe_code)] // Hands on the contract of the view's function of the same name.
    pub unsafe fn as_mut_slice(&mut self) -> &mut [u8] {
        let view = self.view();
        // SAFETY: the caller's word, as above.
        unsafe { view.into_mut_slice() }
    }

    pub(crate) fn view(&mut self) -> ViewMut<'_> {
        let len = if self.role.shared.is_forked() { 0 } else { self.role.shared.block_bytes() };
        ViewMut::new(self.role.shared.mapping(), self.block * self.role.shared.block_bytes(), len)
    }

    /// Hands the first `len` bytes on to the readers. None at all is the end of the file, as with a `read` of none: it
    /// is [ending](Writer::finish) from then on.
    ///
    /// # Errors
    /// [`Error::TooLong`] above the capacity, and then it counts as dropped. [`Error::Cancelled`].
    pub fn complete(mut self, len: usize) -> Result<(), Error> {
        self.role.shared.check_fork()?;
        if len > self.capacity() {
            let (name, limit) = (self.role.shared.name().to_string(), self.capacity() as u64);
            return Err(Error::TooLong { name, call: "complete", len: len as u64, limit });
        }
        let hall = self.role.shared.hall();
        if hall.table.last().is_cancelled() {
            return Err(self.role.shared.cancelled());
        }
        self.is_passed = true;
        self.role.close(self.block);
        let stolen = |_| self.role.shared.corrupt("a claimed block that was changed by somebody else");
        if len == 0 {
            self.role.note_end();
            hall.end();
            return hall.abstain(self.block).map_err(stolen);
        }
        step!("complete:filled");
        let record = &hall.table.records[self.block];
        // Relaxed: for people to read; this one's, as long as the block is.
        record.bytes_in.store(record.bytes_in.load(Relaxed).wrapping_add(len as u64), Relaxed);
        let end = self.offset.saturating_add(len as u64);
        record.end.store(record.end.load(Relaxed).max(end), Relaxed);
        hall.complete(self.block, len as u64).map_err(stolen)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        if self.role.shared.is_forked() {
            return;
        }
        if !self.is_passed {
            self.role.close(self.block);
            // Somebody else changed it: then it is that one's.
            let _ = self.role.shared.hall().let_go(self.block);
        }
        self.role.closed();
    }
}

impl std::fmt::Debug for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Space").field("offset", &self.offset).field("again", &self.again).finish_non_exhaustive()
    }
}
