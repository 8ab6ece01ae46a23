//! The publisher: publishing and calls.

use super::attach::Shared;
use super::end::{End, Stop};
use super::flow::{Cut, FLOWS_FROM, Flow, piece_of, ring_of};
use super::layout::{COPY_OUT, INLINE_BYTES};
use super::loan::Loan;
use super::memory::Place;
use super::options::MAX_MESSAGE_BYTES;
use super::turn::{ABANDONED, Content, REDELIVERED, Side, Word};
use crate::bell::{Wait, Waiter};
use crate::error::{Delivered, Error};
use crate::steps::step;
use crate::sys::deadline::Deadline;
use crate::sys::view::Gather;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// The end that publishes and calls. One process has it at a time.
///
/// # Peer death
/// When the consumer dies, the next operation that has to wait for it returns [`Error::PeerDied`], once; the one
/// after that waits for the next consumer (not on a [private](crate::Channel::private) channel). A message that
/// `publish` acknowledged stays in the region for that one, marked if the dead one had taken it.
///
/// ```
/// # let name = format!("doc-publisher-{}", std::process::id());
/// # let channel = antiphon::Channel::create(&name)?;
/// let mut publisher = channel.publisher()?;
/// publisher.publish(b"a frame")?;
/// // The first still stands there: nobody has consumed it.
/// assert!(!publisher.try_publish(b"the next")?);
/// # antiphon::Channel::unlink(&name)?;
/// # Ok::<(), antiphon::Error>(())
/// ```
///
/// ```compile_fail
/// // An end is not Sync: two threads cannot publish at once.
/// fn share<T: Sync>() {}
/// share::<antiphon::Publisher>();
/// ```
#[derive(Debug)]
pub struct Publisher {
    pub(super) end: End,
}

/// A long message on its way.
struct Long<'g> {
    rest: Gather<'g>,
    /// Bytes that stand at the start of the payload.
    written: usize,
    len: usize,
    /// `Message` or `Call`.
    content: Content,
    marks: u64,
    /// What became of it, if it was taken and nothing more is heard.
    at_worst: Delivered,
    deadline: Deadline,
    call: &'static str,
}

impl Publisher {
    pub(crate) fn new(shared: Arc<Shared>, wait: Wait, limit: Option<Deadline>) -> Result<Self, Error> {
        Ok(Publisher { end: End::new(shared, Side::Publisher, Waiter::new(wait), limit)? })
    }

    /// Changes how this end waits.
    pub fn set_wait(&mut self, wait: Wait) {
        self.end.waiter.policy = wait;
    }

    /// Publishes a message.
    ///
    /// When this returns, it stands in the region and is delivered whatever happens to this process; or it was
    /// consumed already. That goes for one that is longer than the capacity, and for one of 32 KiB or more that a
    /// consumer waited for in [`consume_into`](crate::Consumer::consume_into), so that it flows: until this returns, the
    /// rest of it is here, and would die with this process.
    ///
    /// # Blocking
    /// Until the message before this one was consumed; and for one whose rest is here, until it was consumed.
    ///
    /// # Errors
    /// [`Error::PeerDied`] and [`Error::Disconnected`] while waiting: this message was not published, or it says that
    /// this is unknown. [`Error::Aborted`] where the consumer gave up in the middle of a long one, by its own limit
    /// for instance.
    #[inline]
    pub fn publish(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.send(&[IoSlice::new(bytes)], Content::Message, Deadline::NEVER, "publish").map(drop)
    }

    /// [`publish`](Self::publish) with a limit; [`Error::TimedOut`] then says what was delivered; errors as there.
    pub fn publish_timeout(&mut self, bytes: &[u8], limit: Duration) -> Result<(), Error> {
        let deadline = Deadline::after(limit);
        self.send(&[IoSlice::new(bytes)], Content::Message, deadline, "publish").map(drop)
    }

    /// Publishes if that needs no waiting. False where the last message was not consumed yet.
    ///
    /// # Errors
    /// As [`publish`](Self::publish), and [`Error::TooLong`] above the capacity: a longer message waits by its
    /// nature.
    pub fn try_publish(&mut self, bytes: &[u8]) -> Result<bool, Error> {
        self.end.shared.check_fork()?;
        let capacity = self.end.memory().capacity();
        if bytes.len() > capacity {
            return Err(self.end.too_long("try_publish", bytes.len(), capacity as u64));
        }
        let Some(mine) = self.end.try_my_turn("try_publish")? else { return Ok(false) };
        self.send_whole(mine, &Gather::new(&[IoSlice::new(bytes)]), bytes.len(), Content::Message);
        Ok(true)
    }

    /// [`publish`](Self::publish) of one message that lies in several pieces.
    ///
    /// # Errors
    /// As there, and [`Error::TooLong`] where the pieces together are longer than a message can be.
    pub fn publish_vectored(&mut self, pieces: &[IoSlice<'_>]) -> Result<(), Error> {
        self.send(pieces, Content::Message, Deadline::NEVER, "publish").map(drop)
    }

    /// [`publish_vectored`](Self::publish_vectored) with a limit; errors as there.
    pub fn publish_vectored_timeout(&mut self, pieces: &[IoSlice<'_>], limit: Duration) -> Result<(), Error> {
        self.send(pieces, Content::Message, Deadline::after(limit), "publish").map(drop)
    }

    /// Publishes and returns what the consumer replied.
    ///
    /// # Errors
    /// [`Error::NoReply`] where the consumer dropped the message. [`Error::PeerDied`] and [`Error::Disconnected`] say
    /// whether the message may have been acted on. A consumer that dies before it began to answer leaves the call to
    /// the next one only while the caller still waits, that is for a tick at most.
    pub fn call(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let mut reply = Vec::new();
        self.call_into(bytes, &mut reply)?;
        Ok(reply)
    }

    /// [`call`](Self::call) with a limit: [`Error::TimedOut`] says whether the call was withdrawn or its outcome is
    /// unknown. A reply that comes later is dropped; errors as there.
    pub fn call_timeout(&mut self, bytes: &[u8], limit: Duration) -> Result<Vec<u8>, Error> {
        let mut reply = Vec::new();
        self.call_into_timeout(bytes, &mut reply, limit)?;
        Ok(reply)
    }

    /// [`call`](Self::call) that puts the reply in the place of what `reply` held, and so needs no new memory each
    /// time. After an error its content means nothing; errors as there.
    #[inline]
    pub fn call_into(&mut self, bytes: &[u8], reply: &mut Vec<u8>) -> Result<(), Error> {
        self.call_until(bytes, reply, Deadline::NEVER)
    }

    /// [`call_into`](Self::call_into) with a limit, as [`call_timeout`](Self::call_timeout) has it; errors as there.
    pub fn call_into_timeout(&mut self, bytes: &[u8], reply: &mut Vec<u8>, limit: Duration) -> Result<(), Error> {
        self.call_until(bytes, reply, Deadline::after(limit))
    }

    /// Lends `len` bytes of the region, to be written in place and then published without a copy. They hold whatever
    /// was there before.
    ///
    /// # Blocking
    /// Until the last message was consumed.
    ///
    /// # Errors
    /// [`Error::TooLong`] above the capacity; otherwise as [`publish`](Self::publish).
    pub fn loan(&mut self, len: usize) -> Result<Loan<'_>, Error> {
        self.loan_until(len, Deadline::NEVER)
    }

    /// [`loan`](Self::loan) with a limit; errors as there.
    pub fn loan_timeout(&mut self, len: usize, limit: Duration) -> Result<Loan<'_>, Error> {
        self.loan_until(len, Deadline::after(limit))
    }

    /// [`loan`](Self::loan) if that needs no waiting; errors as there.
    pub fn try_loan(&mut self, len: usize) -> Result<Option<Loan<'_>>, Error> {
        self.check_loan(len)?;
        let mine = self.end.try_my_turn("try_loan")?;
        Ok(mine.map(|mine| Loan::new(self, mine, len)))
    }

    fn loan_until(&mut self, len: usize, deadline: Deadline) -> Result<Loan<'_>, Error> {
        self.check_loan(len)?;
        let mine = self.end.my_turn(deadline, "loan")?;
        Ok(Loan::new(self, mine, len))
    }

    fn check_loan(&self, len: usize) -> Result<(), Error> {
        self.end.shared.check_fork()?;
        let capacity = self.end.memory().capacity();
        if len > capacity {
            return Err(self.end.too_long("loan", len, capacity as u64));
        }
        Ok(())
    }

    /// Sends a message of any length, as `Message` or as `Call`. For a call, returns the word with which the answer
    /// came.
    #[inline]
    fn send(
        &mut self,
        pieces: &[IoSlice<'_>],
        content: Content,
        deadline: Deadline,
        call: &'static str,
    ) -> Result<Option<Word>, Error> {
        self.end.shared.check_fork()?;
        let gather = Gather::new(pieces);
        let limit = MAX_MESSAGE_BYTES;
        let len = match gather.len() {
            Some(len) if len as u64 <= limit => len,
            too_long => return Err(self.end.too_long(call, too_long.unwrap_or(usize::MAX), limit)),
        };
        let mine = self.end.my_turn(deadline, call)?;
        step!("send:my-turn");
        if len >= FLOWS_FROM {
            let answer = self.send_long(mine, &gather, len, content, deadline, call)?;
            self.end.counters().count_message(len);
            return Ok(answer);
        }
        self.send_whole(mine, &gather, len, content);
        if !content.is_call() {
            return Ok(None);
        }
        self.answer(deadline, call, Delivered::Unknown).map(Some)
    }

    /// Sends a message that fits, and passes the turn.
    #[inline(always)]
    fn send_whole(&self, mine: Word, gather: &Gather<'_>, len: usize, content: Content) {
        let memory = self.end.memory();
        let mut rest = *gather;
        if Place::of(len) == Place::Inline {
            if let [only] = gather.pieces() {
                memory.write_inline(only);
            } else {
                let mut short = [0; INLINE_BYTES];
                rest.take(len, |offset, piece| {
                    short[offset..offset + piece.len()].copy_from_slice(piece);
                });
                memory.write_inline(&short[..len]);
            }
        } else {
            rest.take(len, |offset, piece| {
                memory.write(offset, piece);
                step!("send:half-written");
            });
        }
        self.pass_message(mine, len, content, 0);
        self.end.counters().count_message(len);
    }

    #[inline]
    pub(super) fn pass_message(&self, mine: Word, len: usize, content: Content, marks: u64) {
        // Relaxed: published by `pass`.
        self.end.memory().header().turn.length.store(len as u64, Relaxed);
        step!("send:written");
        self.end.pass_marked(mine, content, marks);
    }

    /// Sends a long message: where the consumer waits to copy it out, it flows; otherwise it is put there whole, or
    /// comes in rounds.
    fn send_long(
        &mut self,
        mut mine: Word,
        gather: &Gather<'_>,
        len: usize,
        content: Content,
        deadline: Deadline,
        call: &'static str,
    ) -> Result<Option<Word>, Error> {
        // Whether a consumer could have acted on it: it had the whole, or answers by what it had.
        let at_worst = if content.is_call() { Delivered::Unknown } else { Delivered::No };
        let mut long = Long { rest: *gather, written: 0, len, content, marks: 0, at_worst, deadline, call };
        let mut may_flow = !deadline.is_over();
        loop {
            let flows = self.write_first(&mut long, may_flow);
            let word = if flows {
                self.flow(mine, &mut long)?
            } else if len <= self.end.memory().capacity() {
                let memory = self.end.memory();
                long.rest.take(len - long.written, |offset, piece| memory.write(long.written + offset, piece));
                self.pass_message(mine, len, content, long.marks);
                if !content.is_call() {
                    return Ok(None);
                }
                self.answer(deadline, call, at_worst)?
            } else {
                self.rounds(mine, &mut long)?
            };
            match (word.content(), content) {
                // Nobody copied it out: so it waits where it stands.
                (Some(Content::InPlace), _) if flows => may_flow = false,
                (Some(Content::InPlace), _) => return Err(self.end.corrupt("a message in place wanted in place")),
                (Some(Content::Again), _) if deadline.is_over() => {
                    return Err(self.end.stopped(Stop::TimedOut, call, long.at_worst));
                }
                (Some(Content::Again), _) => long.marks = REDELIVERED,
                (Some(Content::Nothing), Content::Message) => return Ok(None),
                (_, Content::Call) => return Ok(Some(word)),
                _ => return Err(self.end.corrupt("an acknowledgement out of turn")),
            }
            mine = word;
            (long.rest, long.written) = (*gather, 0);
        }
    }

    /// Writes the first bytes of a long message to where they stand in every case, until a consumer waits to copy
    /// them out. Returns whether one does.
    fn write_first(&self, long: &mut Long<'_>, may_flow: bool) -> bool {
        let memory = self.end.memory();
        let wants = &memory.header().consumer_notes.wants;
        let most = long.len.min(ring_of(memory.capacity()));
        loop {
            // Relaxed: a hint. A consumer that wants something else by now gives the flow back.
            if may_flow && long.written < long.len && wants.load(Relaxed) == COPY_OUT {
                return true;
            }
            if long.written == most {
                return false;
            }
            let now = piece_of(long.len).min(most - long.written);
            long.rest.take(now, |offset, piece| memory.write(long.written + offset, piece));
            long.written += now;
            step!("send:half-written");
        }
    }

    /// Lets a message flow. Returns the word by which the turn came back.
    fn flow(&mut self, mine: Word, long: &mut Long<'_>) -> Result<Word, Error> {
        let Long { written, len, deadline, call, .. } = *long;
        let content = if long.content.is_call() { Content::CallFlow } else { Content::Flow };
        let (flow, _) = self.end.begin_flow(mine, content, long.marks, len, written);
        let filled = self.end.fill(flow, &mut long.rest, written, deadline);
        if matches!(filled, Ok(true)) {
            long.at_worst = Delivered::Unknown;
        }
        let at_worst = long.at_worst;
        match filled.and_then(|_| self.end.wait_until_taken(flow, deadline)) {
            Ok(()) => self.answer(deadline, call, at_worst),
            Err(cut) => match self.end.abandon() {
                // It came at the last moment.
                Ok(_) => self.answer(deadline, call, at_worst),
                Err(delivered) => {
                    let outcome = if at_worst == Delivered::No { at_worst } else { delivered };
                    Err(self.end.cut_short(cut, call, outcome))
                }
            },
        }
    }

    /// Sends a message that does not fit, in rounds of the capacity. The consumer acknowledges the last round as it
    /// does a whole message; what comes instead of a round's `Drained` is final. Returns the word with which it came.
    fn rounds(&mut self, mut mine: Word, long: &mut Long<'_>) -> Result<Word, Error> {
        let first = if long.content.is_call() { Content::CallStream } else { Content::Stream };
        // Relaxed: published by `pass`.
        self.end.memory().header().turn.length.store(long.len as u64, Relaxed);
        let mut left = long.len;
        let mut written = long.written;
        loop {
            let memory = self.end.memory();
            let now = left.min(memory.capacity());
            long.rest.take(now - written, |offset, piece| memory.write(written + offset, piece));
            written = 0;
            step!("send:round-filled");
            let is_first = left == long.len;
            left -= now;
            let before = match is_first {
                true => self.end.pass_marked(mine, first, long.marks),
                false => self.end.pass(mine, Content::More),
            };
            step!("send:round-passed");
            if !is_first && before.is_abandoned() {
                return Err(self.end.aborted(long.at_worst));
            }
            if left == 0 {
                long.at_worst = Delivered::Unknown;
            }
            mine = self.answer(long.deadline, long.call, long.at_worst)?;
            if mine.content() != Some(Content::Drained) || left == 0 {
                return Ok(mine);
            }
            if long.deadline.is_over() {
                // The consumer waits for the next round, and finds this instead of one.
                self.end.pass_marked(mine, Content::More, ABANDONED);
                return Err(self.end.stopped(Stop::TimedOut, long.call, long.at_worst));
            }
        }
    }

    /// Waits for what the consumer makes of a message, and gives the message up if it has to. `at_worst`: what became
    /// of it then, if it was taken.
    #[inline]
    pub(super) fn answer(
        &mut self,
        deadline: Deadline,
        call: &'static str,
        at_worst: Delivered,
    ) -> Result<Word, Error> {
        let outcome = |delivered| if at_worst == Delivered::No { at_worst } else { delivered };
        let word = self.end.wait_or_abandon(deadline, None, call, outcome)?;
        step!("send:answered");
        match word.content() {
            Some(Content::Aborted) => Err(self.end.aborted(at_worst)),
            Some(Content::Orphaned) => Err(self.end.peer_died(at_worst)),
            _ => Ok(word),
        }
    }

    #[inline]
    fn call_until(&mut self, bytes: &[u8], reply: &mut Vec<u8>, deadline: Deadline) -> Result<(), Error> {
        match self.send(&[IoSlice::new(bytes)], Content::Call, deadline, "call")? {
            Some(word) => self.read_reply(word, reply, deadline),
            None => Err(self.end.corrupt("an acknowledgement of a call")),
        }
    }

    /// Reads the reply that came with `word`.
    #[inline(always)]
    pub(super) fn read_reply(&mut self, word: Word, reply: &mut Vec<u8>, deadline: Deadline) -> Result<(), Error> {
        step!("call:answered");
        reply.clear();
        let memory = self.end.memory();
        let len = memory.length_that_came();
        let fits = len <= memory.capacity() as u64;
        match word.content() {
            Some(Content::Reply) if fits => {
                let len = len as usize;
                if Place::of(len) == Place::Inline {
                    memory.append_inline(len, reply);
                } else {
                    self.end.append(Place::Payload, len, reply)?;
                }
                step!("call:reply-read");
            }
            Some(Content::ReplyFlow) if len <= MAX_MESSAGE_BYTES.min(usize::MAX as u64) => {
                self.drain_reply(word, len as usize, reply, deadline)?;
            }
            Some(Content::NoReply) => return Err(Error::NoReply { name: self.end.name() }),
            _ => return Err(self.end.corrupt("a reply of an impossible length or kind")),
        }
        self.end.counters().count_reply(reply.len());
        Ok(())
    }

    fn drain_reply(&mut self, word: Word, len: usize, reply: &mut Vec<u8>, deadline: Deadline) -> Result<(), Error> {
        self.end.reserve(len, reply).map_err(|error| self.stop_reply(word, error))?;
        let cut = match self.end.drain(Flow { step: word.step(), len }, reply, deadline) {
            Ok(()) => return Ok(()),
            Err(cut) => cut,
        };
        // Whoever gave it up, or is dead, writes no more of it.
        let is_over = matches!(cut, Cut::Ended | Cut::Stopped(Stop::Gone(_)));
        let error = self.end.cut_short(cut, "call", Delivered::Unknown);
        Err(if is_over { error } else { self.stop_reply(word, error) })
    }

    /// Has the consumer stop as well: it may be writing to the payload, and gives the turn back when it next consumes.
    #[cold]
    fn stop_reply(&self, word: Word, error: Error) -> Error {
        self.end.pass_marked(word, Content::Aborted, ABANDONED);
        error
    }
}
