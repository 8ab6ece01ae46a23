//! The consumer: taking messages, reading them in place or copying them out, replying.

use super::attach::Shared;
use super::end::{End, Stop};
use super::flow::{FLOWS_FROM, Flow};
use super::layout::{COPY_OUT, NOTHING_YET};
use super::memory::Place;
use super::message::Message;
use super::options::MAX_MESSAGE_BYTES;
use super::turn::{Content, Side, Word};
use crate::bell::{Wait, Waiter};
use crate::error::{Delivered, Error};
use crate::steps::step;
use crate::sys::copy::Target;
use crate::sys::deadline::Deadline;
use crate::sys::peer::Partner;
use crate::sys::process::Who;
use crate::sys::view::Gather;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// The end that consumes and replies. One process has it at a time.
///
/// # Peer death
/// When the publisher dies, `consume` gives what it published, and then [`Error::PeerDied`], once; the next `consume`
/// waits for the next publisher. A publisher that leaves in order is [`Error::Disconnected`] in the same way. Otherwise
/// on a [private](crate::Channel::private) or a [persistent](crate::ChannelOptions::persistent) channel.
///
/// ```
/// # let name = format!("doc-consumer-{}", std::process::id());
/// # let channel = antiphon::Channel::create(&name)?;
/// # let (mut publisher, mut consumer) = (channel.publisher()?, channel.consumer()?);
/// publisher.publish(b"the only one")?;
/// drop(publisher);
/// while let Ok(message) = consumer.consume() {
///     assert_eq!(message.to_vec()?, b"the only one");
/// } // Disconnected: everything is consumed.
/// # Ok::<(), antiphon::Error>(())
/// ```
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
    pub(super) end: End,
    pub(super) current: Current,
}

/// The message that was taken last. Kept here and not in [`Message`], so that one that is forgotten is still known,
/// and so that handing a message out moves a pointer.
#[derive(Debug)]
pub(super) struct Current {
    /// The turn by which what stands there now is ours; `None` when it was passed.
    pub(super) word: Option<Word>,
    pub(super) content: Content,
    pub(super) redelivered: bool,
    pub(super) len: usize,
    /// Bytes in the rounds that were let go of.
    pub(super) behind: usize,
    /// Bytes of this round that were read.
    pub(super) read: usize,
    /// The rest of a long message will not come.
    pub(super) is_broken: bool,
    pub(super) was_panicking: bool,
    pub(super) limit: Option<Duration>,
    pub(super) partner: Option<Partner>,
}

impl Current {
    #[inline]
    fn new(word: Option<Word>, content: Content, len: usize) -> Self {
        Current {
            word,
            content,
            redelivered: word.is_some_and(Word::is_redelivered),
            len,
            behind: 0,
            read: 0,
            is_broken: false,
            was_panicking: std::thread::panicking(),
            limit: None,
            partner: None,
        }
    }
}

impl Consumer {
    pub(crate) fn new(shared: Arc<Shared>, wait: Wait, limit: Option<Deadline>) -> Result<Self, Error> {
        let end = End::new(shared, Side::Consumer, Waiter::new(wait), limit)?;
        let consumer = Consumer { end, current: Current::new(None, Content::Nothing, 0) };
        consumer.wants(NOTHING_YET); // Whatever a dead one wanted.
        Ok(consumer)
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
    #[inline]
    pub fn consume(&mut self) -> Result<Message<'_>, Error> {
        self.consume_until(Deadline::NEVER, NOTHING_YET)
    }

    /// [`consume`](Self::consume) with a limit; errors as there, and [`Error::TimedOut`].
    pub fn consume_timeout(&mut self, limit: Duration) -> Result<Message<'_>, Error> {
        self.consume_until(Deadline::after(limit), NOTHING_YET)
    }

    /// Takes the next message if it is there.
    ///
    /// # Errors
    /// As [`consume`](Self::consume). What is new about the publisher is looked for at most once a millisecond.
    pub fn try_consume(&mut self) -> Result<Option<Message<'_>>, Error> {
        self.end.shared.check_fork()?;
        self.release();
        let Some(word) = self.end.try_my_turn("try_consume")? else { return Ok(None) };
        // What was withdrawn is skipped, and then it is the publisher's turn.
        Ok(if self.take(word, NOTHING_YET)? { Some(Message::new(self)) } else { None })
    }

    /// Takes the next message out into `into`, in the place of what that held. A message that asks for no reply is
    /// acknowledged when this returns: if this process dies then, it is not redelivered.
    ///
    /// A message of 32 KiB or more that comes while this waits *flows*: it is copied out while the publisher still
    /// copies it in. It is delivered when this returns, whole or not at all.
    ///
    /// # Errors
    /// As [`consume`](Self::consume), also where the publisher dies or leaves in the middle of a long message, and
    /// [`Error::Aborted`] where it gives up there. After an error `into` may hold a part of the message, of the old
    /// content or nothing: it means nothing.
    #[inline]
    pub fn consume_into(&mut self, into: &mut Vec<u8>) -> Result<Message<'_>, Error> {
        self.consume_until(Deadline::NEVER, COPY_OUT)?.take_all(into, Deadline::NEVER)
    }

    /// [`consume_into`](Self::consume_into) with a limit, for the whole of a long message too; errors as there, and
    /// [`Error::TimedOut`]. In the middle of a long message that ends it for the publisher too, with
    /// [`Error::Aborted`].
    pub fn consume_into_timeout(&mut self, into: &mut Vec<u8>, limit: Duration) -> Result<Message<'_>, Error> {
        let deadline = Deadline::after(limit);
        self.consume_until(deadline, COPY_OUT)?.take_all(into, deadline)
    }

    #[inline]
    fn consume_until(&mut self, deadline: Deadline, wanted: u32) -> Result<Message<'_>, Error> {
        self.end.shared.check_fork()?;
        self.release();
        loop {
            let word = match self.end.turn().look(Side::Consumer) {
                Ok(word) => word,
                Err(_) => self.wait_wanting(deadline, wanted)?,
            };
            if self.take(word, wanted)? {
                return Ok(Message::new(self));
            }
            if deadline.is_over() {
                return Err(self.end.stopped(Stop::TimedOut, "consume", Delivered::No));
            }
        }
    }

    /// Waits for a message, and lets the publisher know that it may flow. After a short one another is likely, and
    /// will be here before that is said.
    #[inline]
    fn wait_wanting(&mut self, deadline: Deadline, wanted: u32) -> Result<Word, Error> {
        if wanted == NOTHING_YET {
            return self.end.my_turn(deadline, "consume");
        }
        if self.current.len < FLOWS_FROM {
            if let Some(word) = self.end.glimpse() {
                return Ok(word);
            }
        }
        self.wants(wanted);
        let word = self.end.my_turn(deadline, "consume");
        self.wants(NOTHING_YET);
        word
    }

    #[inline]
    fn wants(&self, wanted: u32) {
        // Relaxed: a hint for the publisher.
        self.end.memory().header().consumer_notes.wants.store(wanted, Relaxed);
    }

    /// Takes what came with `word`. False where nobody waits for its being consumed any more, or where it is to come
    /// otherwise.
    #[inline]
    fn take(&mut self, word: Word, wanted: u32) -> Result<bool, Error> {
        step!("consume:seen");
        let len = self.end.memory().length_that_came();
        let turn = self.end.turn();
        let content = match word.content() {
            Some(content @ Content::Message) => {
                turn.note(word);
                content
            }
            Some(content @ (Content::Call | Content::Stream | Content::CallStream)) => {
                if !turn.take(word) {
                    self.skip(word);
                    return Ok(false);
                }
                content
            }
            Some(content @ (Content::Flow | Content::CallFlow)) => {
                if !turn.take(word) {
                    self.skip(word);
                    return Ok(false);
                }
                if wanted != COPY_OUT {
                    self.end.pass(word, Content::InPlace);
                    return Ok(false);
                }
                content
            }
            // The rest of something whose beginning this end did not have, or gave up.
            Some(Content::More | Content::Aborted) => {
                self.end.pass(word, Content::Orphaned);
                return Ok(false);
            }
            _ => return Err(self.refuse(word, "a turn of an unknown kind")),
        };
        step!("consume:noted");
        let fits = len <= self.end.memory().capacity() as u64;
        let is_possible = match content {
            Content::Message | Content::Call => fits,
            Content::Stream | Content::CallStream => !fits,
            _ => true,
        };
        match usize::try_from(len) {
            Ok(len) if is_possible && len as u64 <= MAX_MESSAGE_BYTES => {
                self.current = Current::new(Some(word), content, len);
                step!("consume:taken");
                Ok(true)
            }
            _ => Err(self.refuse(word, "a message of an impossible length")),
        }
    }

    /// Gives back what was withdrawn, or is to come otherwise.
    #[cold]
    fn skip(&self, word: Word) {
        if let Some(before) = self.end.turn().skip(word) {
            self.end.shared.ring_if_asleep(before, Side::Consumer);
        }
    }

    /// Lets go of what makes no sense, so that the next turn can make some.
    #[cold]
    fn refuse(&mut self, word: Word, what: &'static str) -> Error {
        self.end.pass(word, Content::Aborted);
        self.end.corrupt(what)
    }

    pub(super) fn caller(&self) -> Who {
        self.end.shared.who(Side::Publisher as usize)
    }

    /// Acknowledges what is held, if anything is: a message whose guard was forgotten, say.
    #[inline]
    pub(super) fn release(&mut self) {
        if let Some(word) = self.current.word.take() {
            let is_call = self.current.content.is_call();
            self.end.pass(word, if is_call { Content::NoReply } else { Content::Nothing });
            self.end.counters().count_message(self.current.len);
        }
    }

    /// Where the present round stands, and how long it is.
    #[inline]
    pub(super) fn round(&self) -> (Place, usize) {
        let len = (self.current.len - self.current.behind).min(self.end.memory().capacity());
        (Place::of(self.current.len), len)
    }

    /// With one `deadline` for all of it, or the message's own limit for each round.
    #[inline]
    pub(super) fn read_all(&mut self, into: &mut Vec<u8>, deadline: Option<Deadline>) -> Result<(), Error> {
        self.check_whole()?;
        if matches!(self.current.content, Content::Flow | Content::CallFlow) && self.current.behind == 0 {
            return self.drain(into, deadline.unwrap_or(Deadline::NEVER));
        }
        if Place::of(self.current.len) == Place::Inline && self.current.read == 0 {
            self.end.memory().append_inline(self.current.len, into);
            self.current.read = self.current.len;
            step!("consume:copied");
            return Ok(());
        }
        loop {
            let (place, len) = self.round();
            let left = len - self.current.read;
            self.end.reserve(left, into)?;
            // In two halves, so that a test can end the process in between.
            for part in [left / 2, left - left / 2] {
                self.end.memory().append(place, self.current.read, part, into, Target::of(self.current.len));
                self.current.read += part;
                step!("consume:half-copied");
            }
            self.current.read = len;
            step!("consume:copied");
            if !self.has_more() {
                return Ok(());
            }
            self.advance(deadline.unwrap_or_else(|| Deadline::of(self.current.limit)))?;
        }
    }

    /// Copies out what flows.
    #[inline(never)]
    fn drain(&mut self, into: &mut Vec<u8>, deadline: Deadline) -> Result<(), Error> {
        let len = self.current.len;
        let Some(word) = self.current.word else { return Ok(()) };
        self.end.reserve(len, into)?;
        self.current.word = None;
        self.current.is_broken = true;
        match self.end.drain(Flow { step: word.step(), len }, into, deadline) {
            Ok(()) => {
                self.current.word = Some(word);
                self.current.is_broken = false;
                self.current.behind = len;
                step!("consume:copied");
                Ok(())
            }
            Err(cut) => {
                // It is the publisher's again, who may be waiting for room.
                self.end.pass(word, Content::Aborted);
                Err(self.end.cut_short(cut, "consume", Delivered::No))
            }
        }
    }

    /// Whether there are rounds behind this one.
    #[inline]
    fn has_more(&self) -> bool {
        self.current.len - self.current.behind > self.end.memory().capacity()
    }

    #[inline]
    fn check_whole(&self) -> Result<(), Error> {
        if self.current.is_broken { Err(self.end.aborted(Delivered::No)) } else { Ok(()) }
    }

    pub(super) fn advance(&mut self, deadline: Deadline) -> Result<bool, Error> {
        self.end.shared.check_fork()?;
        self.check_whole()?;
        let Some(word) = self.current.word.filter(|_| self.has_more()) else { return Ok(false) };
        let (_, len) = self.round();
        if self.current.partner.is_none() {
            self.current.partner = Some(self.end.watch.partner(&self.end.shared)?);
        }
        step!("consume:round-drained");
        self.current.word = None;
        self.current.is_broken = true; // Until the next round is here.
        if deadline.is_over() {
            self.end.pass(word, Content::Aborted);
            return Err(self.end.stopped(Stop::TimedOut, "consume", Delivered::No));
        }
        let before = self.end.pass(word, Content::Drained);
        if before.is_abandoned() {
            return Err(self.end.aborted(Delivered::No));
        }
        step!("consume:round-passed");
        let partner = self.current.partner;
        let word = self.end.wait_or_abandon(deadline, partner, "consume", |_| Delivered::No)?;
        if word.content() != Some(Content::More) {
            // Another publisher's message: it stays for the next `consume`.
            return Err(self.end.peer_died(Delivered::No));
        }
        if word.is_abandoned() {
            self.end.pass(word, Content::Nothing); // There may be no round in it.
            return Err(self.end.aborted(Delivered::No));
        }
        self.current.word = Some(word);
        self.current.is_broken = false;
        self.current.behind += len;
        self.current.read = 0;
        Ok(true)
    }

    /// Leaves it for the next `consume`, marked.
    #[cold]
    pub(super) fn give_back(&mut self) {
        let Some(word) = self.current.word.filter(|_| !self.end.shared.is_forked()) else { return };
        self.current.word = None;
        let is_whole = matches!(self.current.content, Content::Message | Content::Call);
        if is_whole {
            self.end.turn().give_back();
        } else {
            self.end.pass(word, Content::Again);
        }
    }

    #[inline(always)]
    pub(super) fn reply_until(&mut self, bytes: &[u8], deadline: Deadline) -> Result<(), Error> {
        self.end.shared.check_fork()?;
        let name = || self.end.name();
        if !self.current.content.is_call() {
            return Err(Error::NotACall { name: name() });
        }
        if bytes.len() as u64 > MAX_MESSAGE_BYTES {
            return Err(self.end.too_long("reply", bytes.len(), MAX_MESSAGE_BYTES));
        }
        let Some(word) = self.current.word else {
            return Err(Error::CallerGone { name: name() });
        };
        let end = &self.end;
        end.turn().begin_reply(word);
        step!("reply:begun");
        let memory = end.memory();
        if bytes.len() < FLOWS_FROM {
            // Relaxed: published by `pass`.
            memory.header().turn.length.store(bytes.len() as u64, Relaxed);
            if Place::of(bytes.len()) == Place::Inline {
                memory.write_inline(bytes);
            } else {
                let (front, back) = bytes.split_at(bytes.len() / 2);
                memory.write(0, front);
                step!("reply:half-written");
                memory.write(front.len(), back);
            }
            step!("reply:written");
            self.current.word = None;
            let before = self.end.pass(word, Content::Reply);
            step!("reply:passed");
            self.passed(before)?;
            self.end.counters().count_reply(bytes.len());
            return Ok(());
        }
        self.current.word = None;
        self.reply_by_flow(word, bytes, deadline)
    }

    fn reply_by_flow(&mut self, word: Word, bytes: &[u8], deadline: Deadline) -> Result<(), Error> {
        let (flow, before) = self.end.begin_flow(word, Content::ReplyFlow, 0, bytes.len(), 0);
        self.passed(before)?;
        let pieces = [IoSlice::new(bytes)];
        match self.end.fill(flow, &mut Gather::new(&pieces), 0, deadline) {
            Ok(true) => {
                self.end.counters().count_reply(bytes.len());
                Ok(())
            }
            // The caller went on to something else, which stays for the next `consume`.
            Ok(false) => self.caller_gone(),
            Err(cut) => match self.end.abandon() {
                Ok(_) => self.caller_gone(),
                Err(_) => Err(self.end.cut_short(cut, "reply", Delivered::Unknown)),
            },
        }
    }

    /// The call is done with, and its reply passed, or begun: whether its caller was still there.
    fn passed(&self, before: Word) -> Result<(), Error> {
        self.end.counters().count_message(self.current.len);
        if before.is_abandoned() { self.caller_gone() } else { Ok(()) }
    }

    #[cold]
    fn caller_gone(&self) -> Result<(), Error> {
        Err(Error::CallerGone { name: self.end.name() })
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if !self.end.shared.is_forked() {
            self.release();
        }
    }
}
