//! The consumer: consuming, reading in place, replying.

use super::attach::Shared;
use super::end::{Deadline, End, Partner};
use super::layout::INLINE_BYTES;
use super::memory::{Place, View};
use super::options::MAX_MESSAGE_BYTES;
use super::turn::{Content, Side, Taking, Word};
use crate::bell::{Wait, Waiter};
use crate::error::{Delivered, Error};
use crate::steps::step;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// The end that consumes and replies. One process has it at a time.
///
/// # Peer death
/// When the publisher dies, `consume` gives what it published, and then [`Error::PeerDied`], once;
/// the next `consume` waits for the next publisher. A publisher that leaves in order is
/// [`Error::Disconnected`] in the same way.
///
/// ```compile_fail
/// # let channel = antiphon::Channel::create("x").unwrap();
/// # let mut consumer = channel.consumer().unwrap();
/// // A message borrows its end: the next one can only be consumed once it is gone.
/// let first = consumer.consume().unwrap();
/// let second = consumer.consume().unwrap();
/// drop(first);
/// ```
#[derive(Debug)]
pub struct Consumer {
    end: End,
    /// The message that was taken and not let go of; one that is forgotten stays here.
    held: Option<Word>,
}

/// A message as it was found.
#[derive(Debug, Clone, Copy)]
struct Incoming {
    word: Word,
    content: Content,
    len: usize,
}

impl Consumer {
    pub(crate) fn new(shared: Arc<Shared>, wait: Wait) -> Result<Self, Error> {
        Ok(Consumer { end: End::new(shared, Side::Consumer, Waiter::new(wait))?, held: None })
    }

    /// Changes how this end waits.
    pub fn set_wait(&mut self, wait: Wait) {
        self.end.waiter.policy = wait;
    }

    /// Takes the next message, and leaves it where it stands until the [`Message`] is dropped.
    ///
    /// # Blocking
    /// Until a message comes.
    ///
    /// # Errors
    /// [`Error::PeerDied`], [`Error::Disconnected`] once everything is consumed.
    pub fn consume(&mut self) -> Result<Message<'_>, Error> {
        self.consume_until(Deadline::NEVER)
    }

    /// [`consume`](Self::consume) with a limit.
    ///
    /// # Errors
    /// As there, and [`Error::TimedOut`].
    pub fn consume_timeout(&mut self, limit: Duration) -> Result<Message<'_>, Error> {
        self.consume_until(Deadline::after(limit))
    }

    /// Takes the next message if it is there.
    ///
    /// # Errors
    /// As [`consume`](Self::consume). What is new about the publisher is looked for at most once a
    /// millisecond.
    pub fn try_consume(&mut self) -> Result<Option<Message<'_>>, Error> {
        self.end.shared.check_fork()?;
        self.release_forgotten();
        loop {
            let word = match self.end.try_wait() {
                Ok(Some(word)) => word,
                Ok(None) => return Ok(None),
                Err(stop) => return Err(self.end.stopped(stop, "try_consume", Delivered::No)),
            };
            if let Some(incoming) = self.take(word)? {
                return Ok(Some(Message::new(self, incoming)));
            }
        }
    }

    /// Takes the next message out into `into`, in the place of what that held. A message that asks
    /// for no reply is acknowledged when this returns: if this process dies then, it is not
    /// redelivered.
    ///
    /// # Errors
    /// As [`consume`](Self::consume); after an error the content of `into` means nothing.
    pub fn consume_into(&mut self, into: &mut Vec<u8>) -> Result<Message<'_>, Error> {
        self.consume_into_until(into, None)
    }

    /// [`consume_into`](Self::consume_into) with a limit, for the whole of a long message too.
    ///
    /// # Errors
    /// As there, and [`Error::TimedOut`].
    pub fn consume_into_timeout(
        &mut self,
        into: &mut Vec<u8>,
        limit: Duration,
    ) -> Result<Message<'_>, Error> {
        self.consume_into_until(into, Some(limit))
    }

    fn consume_into_until(
        &mut self,
        into: &mut Vec<u8>,
        limit: Option<Duration>,
    ) -> Result<Message<'_>, Error> {
        let deadline = Deadline::of(limit);
        let mut message = self.consume_until(deadline)?;
        into.clear();
        message.read_all(into, deadline)?;
        if !message.is_call() {
            message.release();
        }
        Ok(message)
    }

    #[inline]
    fn consume_until(&mut self, deadline: Deadline) -> Result<Message<'_>, Error> {
        self.end.shared.check_fork()?;
        self.release_forgotten();
        loop {
            let word = match self.end.wait(deadline, None) {
                Ok(word) => word,
                Err(stop) => return Err(self.end.stopped(stop, "consume", Delivered::No)),
            };
            if let Some(incoming) = self.take(word)? {
                return Ok(Message::new(self, incoming));
            }
        }
    }

    /// Takes what came with `word`; `None` where nobody waits for its being consumed any more.
    #[inline]
    fn take(&mut self, word: Word) -> Result<Option<Incoming>, Error> {
        step!("consume:seen");
        let turn = self.end.turn();
        let content = match word.content() {
            Some(content @ Content::Message) => {
                turn.note(word);
                content
            }
            Some(content @ (Content::Call | Content::Stream | Content::CallStream)) => {
                if let Taking::Withdrawn = turn.take(word) {
                    self.end.pass(word, Content::Nothing);
                    return Ok(None);
                }
                content
            }
            // The rest of something whose beginning this end did not have, or gave up.
            Some(Content::More | Content::Continue) => {
                self.end.pass(word, Content::Orphaned);
                return Ok(None);
            }
            _ => return Err(self.refuse(word, "a turn of an unknown kind")),
        };
        step!("consume:noted");
        // Relaxed: acquired by `look`. Loaded once; a peer may change it at any time.
        let len = self.end.memory().header().turn.length.load(Relaxed);
        let fits = len <= self.end.memory().capacity() as u64;
        let is_whole = matches!(content, Content::Message | Content::Call);
        match usize::try_from(len) {
            Ok(len) if fits == is_whole && len as u64 <= MAX_MESSAGE_BYTES => {
                self.held = Some(word);
                step!("consume:taken");
                Ok(Some(Incoming { word, content, len }))
            }
            _ => Err(self.refuse(word, "a message of an impossible length")),
        }
    }

    /// Lets go of what makes no sense, so that the next turn can make some.
    #[cold]
    fn refuse(&mut self, word: Word, what: &'static str) -> Error {
        self.end.pass(word, Content::Aborted);
        self.end.corrupt(what)
    }

    /// Acknowledges a message whose guard was forgotten.
    #[inline]
    fn release_forgotten(&mut self) {
        if let Some(word) = self.held.take() {
            self.acknowledge(word);
        }
    }

    fn acknowledge(&self, word: Word) {
        let is_call = word.content().is_some_and(Content::is_call);
        self.end.pass(word, if is_call { Content::NoReply } else { Content::Nothing });
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if !self.end.shared.is_forked() {
            self.release_forgotten();
        }
    }
}

/// A message where it stands.
///
/// Dropping it acknowledges it: it is consumed, and its place is the publisher's again. Dropping it
/// in a panic gives it back instead: the next `consume` has it once more, marked. Until then it
/// is not lost, whatever happens to this process.
///
/// It is read from the front by [`io::Read`], piece by piece through [`view`](Self::view), or at
/// once by [`to_vec`](Self::to_vec). One that is longer than the capacity comes in rounds: the
/// publisher fills in the next when this one has been read.
#[derive(Debug)]
pub struct Message<'c> {
    consumer: &'c mut Consumer,
    /// The turn by which what stands there now is ours; `None` when it was passed.
    word: Option<Word>,
    content: Content,
    redelivered: bool,
    len: usize,
    /// Bytes in the rounds that were let go of.
    behind: usize,
    /// Bytes of this round that were read.
    read: usize,
    /// Why there is no more to come.
    is_broken: bool,
    limit: Option<Duration>,
    partner: Option<Partner>,
    was_panicking: bool,
}

impl<'c> Message<'c> {
    #[inline]
    fn new(consumer: &'c mut Consumer, incoming: Incoming) -> Self {
        Message {
            consumer,
            word: Some(incoming.word),
            content: incoming.content,
            redelivered: incoming.word.is_redelivered(),
            len: incoming.len,
            behind: 0,
            read: 0,
            is_broken: false,
            limit: None,
            partner: None,
            was_panicking: std::thread::panicking(),
        }
    }

    /// The whole message's bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the publisher waits for a reply.
    pub fn is_call(&self) -> bool {
        self.content.is_call()
    }

    /// Whether a consumer has had this message before, and died or panicked with it.
    pub fn redelivered(&self) -> bool {
        self.redelivered
    }

    /// Limits each wait for a further round of a message longer than the capacity.
    pub fn set_timeout(&mut self, limit: Option<Duration>) {
        self.limit = limit;
    }

    /// What stands in the region and was not read yet: the rest of the message, or of a long one's
    /// present round.
    pub fn view(&self) -> View<'_> {
        let (place, len) = if self.word.is_some() { self.round() } else { (Place::Payload, 0) };
        let read = self.read.min(len);
        View::new(self.consumer.end.memory(), place, read, len - read)
    }

    /// Lets go of this round and waits for the next. False where this is the last.
    ///
    /// # Errors
    /// [`Error::PeerDied`], [`Error::Aborted`] where the publisher gave up, [`Error::TimedOut`].
    /// Then the rest never comes.
    pub fn next_round(&mut self) -> Result<bool, Error> {
        self.advance(Deadline::of(self.limit))
    }

    /// A copy of all that was not read yet, to the message's end.
    ///
    /// # Errors
    /// As [`next_round`](Self::next_round), for a message longer than the capacity.
    pub fn to_vec(mut self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.copy_into(&mut bytes)?;
        Ok(bytes)
    }

    /// Puts all that was not read yet in the place of what `into` held.
    ///
    /// # Errors
    /// As [`to_vec`](Self::to_vec); then the content of `into` means nothing.
    pub fn copy_into(&mut self, into: &mut Vec<u8>) -> Result<(), Error> {
        into.clear();
        self.read_all(into, Deadline::of(self.limit))
    }

    /// Replies, and lets go of the message. What of it was not read is lost.
    ///
    /// # Blocking
    /// Only for a reply longer than the capacity: until the caller has all but the last round.
    ///
    /// # Errors
    /// [`Error::NotACall`] where none was asked for: the message is acknowledged all the same.
    /// [`Error::CallerGone`] where nobody waits for it any more.
    pub fn reply(self, bytes: &[u8]) -> Result<(), Error> {
        self.reply_until(bytes, Deadline::NEVER)
    }

    /// [`reply`](Self::reply) with a limit.
    ///
    /// # Errors
    /// As there, and [`Error::TimedOut`].
    pub fn reply_timeout(self, bytes: &[u8], limit: Duration) -> Result<(), Error> {
        self.reply_until(bytes, Deadline::after(limit))
    }

    /// Where the present round stands, and how long it is.
    #[inline]
    fn round(&self) -> (Place, usize) {
        let len = (self.len - self.behind).min(self.consumer.end.memory().capacity());
        let place = if self.len <= INLINE_BYTES { Place::Inline } else { Place::Payload };
        (place, len)
    }

    #[inline]
    fn read_all(&mut self, into: &mut Vec<u8>, deadline: Deadline) -> Result<(), Error> {
        loop {
            self.check_whole()?;
            let (place, len) = self.round();
            let left = len - self.read;
            if place == Place::Inline && self.read == 0 {
                let mut short = [0; INLINE_BYTES];
                self.consumer.end.memory().read_inline(&mut short[..left]);
                into.extend_from_slice(&short[..left]);
            } else {
                self.consumer.end.reserve(left, into)?;
                #[cfg(feature = "steps")]
                if left > 1 {
                    // The same copy in two halves, so that a test can end the process in between.
                    let half = left / 2;
                    self.consumer.end.memory().append(place, self.read, half, into);
                    self.read += half;
                    step!("consume:half-copied");
                }
                let left = len - self.read;
                self.consumer.end.memory().append(place, self.read, left, into);
            }
            self.read = len;
            step!("consume:copied");
            if !self.advance(deadline)? {
                return Ok(());
            }
        }
    }

    fn check_whole(&self) -> Result<(), Error> {
        match self.word {
            Some(_) => Ok(()),
            None if self.is_broken => Err(self.consumer.end.aborted()),
            None => Ok(()),
        }
    }

    fn advance(&mut self, deadline: Deadline) -> Result<bool, Error> {
        self.check_whole()?;
        let (_, len) = self.round();
        let Some(word) = self.word.filter(|_| self.behind + len < self.len) else {
            return Ok(false);
        };
        if self.partner.is_none() {
            self.partner = Some(self.consumer.end.partner()?);
        }
        step!("consume:round-drained");
        self.let_go();
        self.is_broken = true; // Until the next round is here.
        let before = self.consumer.end.pass(word, Content::Drained);
        if before.is_abandoned() {
            return Err(self.consumer.end.aborted());
        }
        step!("consume:round-passed");
        let word = match self.consumer.end.wait(deadline, self.partner) {
            Ok(word) => word,
            Err(stop) => match self.consumer.end.abandon() {
                Ok(word) => word,
                Err(_) => return Err(self.consumer.end.stopped(stop, "consume", Delivered::No)),
            },
        };
        if word.content() != Some(Content::More) {
            // Another publisher's message: it stays for the next `consume`.
            return Err(self.consumer.end.peer_died(0, Delivered::No));
        }
        self.consumer.held = Some(word);
        self.word = Some(word);
        self.is_broken = false;
        self.behind += len;
        self.read = 0;
        Ok(true)
    }

    /// What stands there is not ours any more.
    fn let_go(&mut self) {
        self.word = None;
        self.consumer.held = None;
    }

    /// Acknowledges, as dropping does.
    #[inline]
    fn release(&mut self) {
        if let Some(word) = self.word {
            self.let_go();
            let content = if self.is_call() { Content::NoReply } else { Content::Nothing };
            self.consumer.end.pass(word, content);
        }
    }

    /// Leaves it for the next `consume`, marked.
    #[cold]
    fn give_back(&mut self) {
        let Some(word) = self.word else { return };
        self.let_go();
        if self.behind == 0 && self.len <= self.consumer.end.memory().capacity() {
            self.consumer.end.turn().give_back();
        } else {
            self.consumer.end.pass(word, Content::Again);
        }
    }

    #[inline]
    fn reply_until(mut self, bytes: &[u8], deadline: Deadline) -> Result<(), Error> {
        self.consumer.end.shared.check_fork()?;
        let name = || self.consumer.end.name();
        if !self.is_call() {
            return Err(Error::NotACall { name: name() });
        }
        if bytes.len() as u64 > MAX_MESSAGE_BYTES {
            return Err(self.consumer.end.too_long("reply", bytes.len(), MAX_MESSAGE_BYTES));
        }
        let Some(mut word) = self.word else { return Err(Error::CallerGone { name: name() }) };
        let end = &self.consumer.end;
        end.turn().begin_reply(word);
        step!("reply:begun");
        let memory = end.memory();
        // Relaxed: published by `pass`.
        memory.header().turn.length.store(bytes.len() as u64, Relaxed);
        let capacity = memory.capacity();
        if bytes.len() <= capacity {
            if bytes.len() <= INLINE_BYTES {
                memory.write_inline(bytes);
            } else {
                let (front, back) = bytes.split_at(bytes.len() / 2);
                memory.write(Place::Payload, 0, front);
                step!("reply:half-written");
                memory.write(Place::Payload, front.len(), back);
            }
            step!("reply:written");
            self.let_go();
            let before = self.consumer.end.pass(word, Content::Reply);
            step!("reply:passed");
            return self.delivered(before);
        }
        let partner = self.consumer.end.partner()?;
        let mut content = Content::ReplyStream;
        let mut rounds = bytes.chunks(capacity).peekable();
        while let Some(round) = rounds.next() {
            self.consumer.end.memory().write(Place::Payload, 0, round);
            self.let_go();
            let before = self.consumer.end.pass(word, content);
            step!("reply:round-passed");
            self.delivered(before)?;
            if rounds.peek().is_none() {
                break;
            }
            word = match self.consumer.end.wait(deadline, Some(partner)) {
                Ok(word) => word,
                Err(stop) => match self.consumer.end.abandon() {
                    Ok(word) => word,
                    Err(_) => {
                        return Err(self.consumer.end.stopped(stop, "reply", Delivered::Unknown));
                    }
                },
            };
            if word.content() != Some(Content::Continue) {
                // The caller went on to something else, which stays for the next `consume`.
                return self.caller_gone();
            }
            self.word = Some(word);
            self.consumer.held = Some(word);
            content = Content::ReplyMore;
        }
        Ok(())
    }

    fn delivered(&self, before: Word) -> Result<(), Error> {
        if before.is_abandoned() { self.caller_gone() } else { Ok(()) }
    }

    #[cold]
    fn caller_gone(&self) -> Result<(), Error> {
        Err(Error::CallerGone { name: self.consumer.end.name() })
    }
}

impl io::Read for Message<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if to.is_empty() {
            return Ok(0);
        }
        loop {
            let read = self.view().copy_to(0, to);
            self.read += read;
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
        if std::thread::panicking() && !self.was_panicking {
            self.give_back();
        } else {
            self.release();
        }
    }
}
