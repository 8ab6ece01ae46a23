//! A message where it stands: views, `Read`, and letting go of it.

use super::consumer::Consumer;
use super::memory::Place;
use crate::error::Error;
use crate::sys::deadline::Deadline;
use crate::sys::process::Who;
use crate::sys::view::View;
use std::io;
use std::time::Duration;

/// A message where it stands.
///
/// Dropping it acknowledges it: it is consumed, and its place is the publisher's again. Dropping it in a panic gives
/// it back instead: the next `consume` has it once more, marked. Until then it is not lost, whatever happens to this
/// process.
///
/// It is read from the front by [`io::Read`], piece by piece through [`view`](Self::view), or at once by
/// [`to_vec`](Self::to_vec). One that is longer than the capacity comes in rounds: the publisher fills in the next
/// when this one has been read. Only [`consume_into`](Consumer::consume_into) lets a
/// message flow.
///
/// ```
/// # let name = format!("doc-message-{}", std::process::id());
/// # let channel = antiphon::Channel::create(&name)?;
/// # let (mut publisher, mut consumer) = (channel.publisher()?, channel.consumer()?);
/// publisher.publish(b"length: 9")?;
/// let message = consumer.consume()?;
/// let mut last = [0];
/// message.view().copy_to(message.len() - 1, &mut last);
/// assert_eq!(&last, b"9");
/// # Ok::<(), antiphon::Error>(())
/// ```
#[derive(Debug)]
pub struct Message<'c> {
    consumer: &'c mut Consumer,
}

impl<'c> Message<'c> {
    #[inline]
    pub(super) fn new(consumer: &'c mut Consumer) -> Self {
        Message { consumer }
    }

    /// Copies everything out, and acknowledges it unless it wants a reply.
    #[inline]
    pub(super) fn take_all(self, into: &mut Vec<u8>, deadline: Deadline) -> Result<Self, Error> {
        into.clear();
        self.consumer.read_all(into, Some(deadline)).inspect_err(|_| self.consumer.give_back())?;
        if !self.is_call() {
            self.consumer.release();
        }
        Ok(self)
    }

    /// Who calls, as long as it waits for its reply.
    pub(crate) fn caller(&self) -> Who {
        self.consumer.caller()
    }

    /// The whole message's bytes.
    pub fn len(&self) -> usize {
        self.consumer.current.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.consumer.current.len == 0
    }

    /// Whether the publisher waits for a reply.
    pub fn is_call(&self) -> bool {
        self.consumer.current.content.is_call()
    }

    /// Whether a consumer has had this message before, and died or panicked with it.
    pub fn redelivered(&self) -> bool {
        self.consumer.current.redelivered
    }

    /// Limits each wait for a further round of a message longer than the capacity.
    pub fn set_timeout(&mut self, limit: Option<Duration>) {
        self.consumer.current.limit = limit;
    }

    /// What stands in the region and was not read yet: the rest of the message, or of a long one's present round.
    pub fn view(&self) -> View<'_> {
        let (place, len) =
            if self.consumer.current.word.is_some() { self.consumer.round() } else { (Place::Payload, 0) };
        let read = self.consumer.current.read.min(len);
        self.consumer.end.memory().view(place, read, len - read)
    }

    /// Lets go of this round and waits for the next. False where this is the last.
    ///
    /// # Errors
    /// [`Error::PeerDied`], [`Error::Aborted`] where the publisher gave up, [`Error::TimedOut`]. Then the rest never
    /// comes.
    pub fn next_round(&mut self) -> Result<bool, Error> {
        self.consumer.advance(Deadline::of(self.consumer.current.limit))
    }

    /// A copy of all that was not read yet, to the message's end.
    ///
    /// # Errors
    /// As [`next_round`](Self::next_round), for a message longer than the capacity.
    pub fn to_vec(mut self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        // Where there is no memory for it, it was not consumed.
        self.copy_into(&mut bytes).inspect_err(|_| self.consumer.give_back())?;
        Ok(bytes)
    }

    /// Puts all that was not read yet in the place of what `into` held.
    ///
    /// # Errors
    /// As [`to_vec`](Self::to_vec); then the content of `into` means nothing.
    pub fn copy_into(&mut self, into: &mut Vec<u8>) -> Result<(), Error> {
        // Copying out writes back what it read. The turn is the parent's, who may have passed it.
        self.consumer.end.shared.check_fork()?;
        into.clear();
        self.consumer.read_all(into, None)
    }

    /// Replies, and lets go of the message. What of it was not read is lost.
    ///
    /// # Blocking
    /// Only for a reply longer than the capacity or than 2 MiB: until the caller has all but as much of it.
    ///
    /// # Errors
    /// [`Error::NotACall`] where none was asked for: the message is acknowledged all the same. [`Error::CallerGone`]
    /// where nobody waits for it any more.
    #[inline]
    pub fn reply(self, bytes: &[u8]) -> Result<(), Error> {
        self.consumer.reply_until(bytes, Deadline::NEVER)
    }

    /// [`reply`](Self::reply) with a limit; errors as there, and [`Error::TimedOut`].
    pub fn reply_timeout(self, bytes: &[u8], limit: Duration) -> Result<(), Error> {
        self.consumer.reply_until(bytes, Deadline::after(limit))
    }
}

impl io::Read for Message<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        // In a child the parent's turn may have passed, and another message stand there.
        self.consumer.end.shared.check_fork()?;
        if to.is_empty() {
            return Ok(0);
        }
        loop {
            let read = self.view().copy_to(0, to);
            self.consumer.current.read += read;
            if read > 0 || !self.next_round()? {
                return Ok(read);
            }
        }
    }
}

impl Drop for Message<'_> {
    fn drop(&mut self) {
        if self.consumer.end.shared.is_forked() {
            return;
        }
        if std::thread::panicking() && !self.consumer.current.was_panicking {
            self.consumer.give_back();
        } else {
            self.consumer.release();
        }
    }
}
