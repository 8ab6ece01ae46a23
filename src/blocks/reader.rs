//! Readers: taking complete blocks, reading them, giving them back.

use super::BOUNCE_BYTES;
use super::file::{Desk, Role, Shared, Wish};
use super::hall::{End, Got};
use crate::error::Error;
use crate::sys::deadline::Deadline;
use crate::sys::region::Addresses;
use crate::sys::view::View;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// One that claims complete blocks and reads them. Threads each have their own, by [`Clone`]; so have processes, by
/// [`BlockFile::open`](super::BlockFile::open).
///
/// Each block comes to one reader. Of several that are complete the first in the file comes first; where there are
/// several writers or readers, blocks come in any order, each with its [offset](Block::offset).
///
/// # Peer death
/// When a writer dies, the next claim that has to wait returns [`Error::PeerDied`], once; the one after that waits for
/// what another writes. When the last writer leaves a file that is not finished it is [`Error::Disconnected`], or
/// [`Error::Unfilled`] where parts are missing, likewise. What a dead reader had goes to the next claim of any other,
/// marked.
pub struct Reader {
    desk: Desk,
}

impl Reader {
    pub(super) fn new(desk: Desk) -> Self {
        Reader { desk }
    }

    /// The next block to be read; none at the end of the file.
    ///
    /// # Blocking
    /// Until a block is complete, or until the file is ending and all of it was read.
    ///
    /// # Errors
    /// [`Error::Cancelled`]; [`Error::PeerDied`], [`Error::Disconnected`] and [`Error::Unfilled`] as the type says.
    pub fn claim(&mut self) -> Result<Option<Block>, Error> {
        self.claim_until(Deadline::NEVER, "claim")
    }

    /// [`claim`](Self::claim) with a limit: [`Error::TimedOut`]; errors as there.
    pub fn claim_timeout(&mut self, limit: Duration) -> Result<Option<Block>, Error> {
        self.claim_until(Deadline::after(limit), "claim_timeout")
    }

    /// [`claim`](Self::claim) if that needs no waiting; errors as there.
    pub fn try_claim(&mut self) -> Result<Claimed, Error> {
        match self.desk.try_get(Wish::Block { chosen: None })? {
            Some(Ok(got)) => Ok(Claimed::Block(self.block(got)?)),
            Some(Err(End::Ended)) => {
                self.count_end();
                Ok(Claimed::End)
            }
            Some(Err(end)) => Err(self.desk.ended(end)),
            None => Ok(Claimed::NothingYet),
        }
    }

    fn claim_until(&mut self, deadline: Deadline, call: &'static str) -> Result<Option<Block>, Error> {
        match self.desk.get(Wish::Block { chosen: None }, deadline, call)? {
            Ok(got) => self.block(got).map(Some),
            Err(End::Ended) => {
                self.count_end();
                Ok(None)
            }
            Err(end) => Err(self.desk.ended(end)),
        }
    }

    /// That somebody knows the end: of an empty file there is nothing else to know.
    #[cold]
    fn count_end(&self) {
        // Relaxed: looked at again and again.
        self.desk.shared().memory().state().about.ends_seen.fetch_add(1, Relaxed);
        self.desk.role.at_end();
    }

    fn block(&self, Got { block, again }: Got) -> Result<Block, Error> {
        let shared = self.desk.shared();
        let record = &shared.memory().state().records[block];
        // Relaxed: acquired with the word. Each is loaded once; a peer may change it at any time.
        let (offset, len) = (record.offset.load(Relaxed), record.len.load(Relaxed));
        match usize::try_from(len) {
            Ok(len) if len <= shared.block_bytes() => {
                let role = Arc::clone(&self.desk.role);
                let block = Block { role, block, offset, len, again, is_passed: false };
                block.role.open(block.block)?;
                Ok(block)
            }
            _ => Err(shared.corrupt("a block that is longer than blocks are")),
        }
    }

    pub(crate) fn shared(&self) -> &Shared {
        self.desk.shared()
    }

    /// For whoever is to keep the addresses when this is gone, where a guard wants that.
    pub(crate) fn guarded_addresses(&self) -> Option<Arc<Addresses>> {
        self.desk.shared().guarded_addresses()
    }

    /// Ends the file for everybody, with a reason: what stands in it is lost.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn cancel(&mut self, reason: &str) -> Result<(), Error> {
        self.desk.shared().cancel(reason)
    }
}

impl Clone for Reader {
    /// For another thread.
    fn clone(&self) -> Self {
        Reader { desk: self.desk.another() }
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("file", &self.desk.shared().name().as_str()).finish_non_exhaustive()
    }
}

/// What a look without waiting found.
#[derive(Debug)]
pub enum Claimed {
    /// A block to be read.
    Block(Block),
    /// None is complete by now.
    NothingYet,
    /// None is left, and none will come.
    End,
}

/// A block that is this one's to read. Dropped, it goes to the next claim of any reader, marked.
#[must_use = "a block that is dropped comes to a reader again"]
pub struct Block {
    role: Arc<Role>,
    block: usize,
    offset: u64,
    len: usize,
    again: bool,
    is_passed: bool,
}

impl Block {
    /// Where its bytes belong in the file.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none, which a writer that keeps to it never hands on.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether another reader had it before, and died over it or let go of it.
    pub fn again(&self) -> bool {
        self.again
    }

    /// The bytes in place, to be copied from. In a forked child there are none.
    pub fn view(&self) -> View<'_> {
        let len = if self.role.shared.is_forked() { 0 } else { self.len };
        View::new(self.role.shared.mapping(), self.block * self.role.shared.block_bytes(), len)
            .of_run(&self.role.run, self.offset)
    }

    /// A copy of all of them.
    pub fn to_vec(&self) -> Vec<u8> {
        self.view().to_vec()
    }

    /// Writes all of them to a sink.
    ///
    /// # Errors
    /// The sink's.
    pub fn write_to(&self, sink: &mut impl Write) -> io::Result<()> {
        let mut bounce = [0; BOUNCE_BYTES];
        let view = self.view();
        let mut done = 0;
        while done < view.len() {
            let now = view.copy_to(done, &mut bounce);
            sink.write_all(&bounce[..now])?;
            done += now;
        }
        Ok(())
    }

    /// Done with it: its place is free for the next.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn complete(mut self) -> Result<(), Error> {
        self.role.shared.check_fork()?;
        self.is_passed = true;
        self.role.close(self.block);
        let stolen = |_| self.role.shared.corrupt("a block in reading that was changed by somebody else");
        let hall = self.role.shared.hall();
        let bytes_out = &hall.table.records[self.block].bytes_out;
        // Relaxed: for people to read; this one's, as long as the block is.
        bytes_out.store(bytes_out.load(Relaxed).wrapping_add(self.len as u64), Relaxed);
        hall.free(self.block).map_err(stolen)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.role.shared.is_forked() {
            return;
        }
        if !self.is_passed {
            self.role.close(self.block);
            // Somebody else changed it: then it is that one's.
            let _ = self.role.shared.hall().put_back(self.block);
        }
        self.role.closed();
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Block")
            .field("offset", &self.offset)
            .field("len", &self.len)
            .field("again", &self.again)
            .finish_non_exhaustive()
    }
}
