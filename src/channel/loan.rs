//! A loan: space in the region, written in place.

use super::layout::INLINE_BYTES;
use super::memory::Place;
use super::publisher::Publisher;
use super::turn::{Content, Word};
use crate::error::{Delivered, Error};
use crate::sys::deadline::Deadline;
use crate::sys::view::ViewMut;
use std::io;
use std::time::Duration;

/// Space in the region, lent to the publisher to write a message in place.
///
/// Dropping it publishes nothing. It is written from the front by [`io::Write`], or anywhere by
/// [`copy_from`](Self::copy_from).
///
/// ```
/// # use antiphon::Channel;
/// # let name = format!("doc-loan-{}", std::process::id());
/// let channel = Channel::create(&name)?;
/// let (mut publisher, mut consumer) = (channel.publisher()?, channel.consumer()?);
/// let mut loan = publisher.loan(5)?;
/// loan.copy_from(0, b"hello");
/// loan.publish()?;
/// assert_eq!(consumer.consume()?.to_vec()?, b"hello");
/// # Ok::<(), antiphon::Error>(())
/// ```
///
/// ```compile_fail
/// # let channel = antiphon::Channel::create("x").unwrap();
/// # let mut publisher = channel.publisher().unwrap();
/// let loan = publisher.loan(5).unwrap();
/// publisher.publish(b"while the loan is out").unwrap();
/// drop(loan);
/// ```
#[derive(Debug)]
#[must_use = "a loan that is dropped publishes nothing"]
pub struct Loan<'p> {
    publisher: &'p mut Publisher,
    mine: Word,
    len: usize,
    /// Where the bytes stand: decided by the length that was asked for.
    place: Place,
    written: usize,
}

impl<'p> Loan<'p> {
    pub(super) fn new(publisher: &'p mut Publisher, mine: Word, len: usize) -> Self {
        Loan { publisher, mine, len, place: Place::of(len), written: 0 }
    }

    /// How many bytes will be published.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether that is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Has only the first `len` bytes published.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Copies `from` behind `offset`, and returns how many bytes there was room for. In a forked child there is none.
    pub fn copy_from(&mut self, offset: usize, from: &[u8]) -> usize {
        self.view().copy_from(offset, from)
    }

    /// Where the first of the bytes stands, for other languages: [`len`](Self::len) of them, writable for as long as the
    /// loan is in hand. In a forked child nobody may touch them.
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

    /// Publishes what was written.
    ///
    /// # Errors
    /// [`Error::Forked`] in a forked child.
    pub fn publish(mut self) -> Result<(), Error> {
        self.pass(Content::Message)
    }

    /// Publishes it as a call and returns the reply, as [`Publisher::call`] does; errors as there.
    pub fn call(self) -> Result<Vec<u8>, Error> {
        self.call_until(Deadline::NEVER)
    }

    /// [`call`](Self::call) with a limit.
    ///
    /// # Errors
    /// As [`Publisher::call_timeout`].
    pub fn call_timeout(self, limit: Duration) -> Result<Vec<u8>, Error> {
        self.call_until(Deadline::after(limit))
    }

    fn call_until(mut self, deadline: Deadline) -> Result<Vec<u8>, Error> {
        self.pass(Content::Call)?;
        let mut reply = Vec::new();
        let word = self.publisher.answer(deadline, "call", Delivered::Unknown)?;
        self.publisher.read_reply(word, &mut reply, deadline)?;
        Ok(reply)
    }

    fn pass(&mut self, content: Content) -> Result<(), Error> {
        self.publisher.end.shared.check_fork()?;
        // The reader goes by the length: a loan that became short moves to where short ones stand.
        if self.place != Place::of(self.len) {
            let mut short = [0; INLINE_BYTES];
            let memory = self.publisher.end.memory();
            memory.view(self.place, 0, self.len).copy_to(0, &mut short);
            memory.write_inline(&short[..self.len]);
        }
        self.publisher.pass_message(self.mine, self.len, content, 0);
        self.publisher.end.counters().count_message(self.len);
        Ok(())
    }

    /// None of it in a forked child: the turn is the parent's, who may have passed it.
    fn view(&mut self) -> ViewMut<'_> {
        let end = &self.publisher.end;
        let len = if end.shared.is_forked() { 0 } else { self.len };
        end.memory().view_mut(self.place, len)
    }
}

impl io::Write for Loan<'_> {
    /// Writes behind what was written before; 0 when the loan is full.
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.publisher.end.shared.check_fork()?;
        let written = self.written;
        let now = self.view().copy_from(written, from);
        self.written += now;
        Ok(now)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
