//! The consumer: messages, where they stand or copied out, and replies.

use crate::arguments::{bytes, limit, place};
use crate::error::{Failure, Outcome, answer, antiphon_error, antiphon_error::*, bad_argument};
use crate::handle::{Alone, Kind, Within, find, take};
use antiphon::{Consumer, Error, Message};
use std::ffi::c_void;
use std::ptr::NonNull;

/// The end that consumes and replies.
#[allow(non_camel_case_types)]
pub struct antiphon_consumer(());

/// A message that was consumed.
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct antiphon_message {
    /// Where its bytes stand.
    pub data: *const c_void,
    /// How many stand there: all, or of a message longer than the capacity one round.
    pub data_len: usize,
    /// The whole message's bytes.
    pub len: usize,
    /// 1 where the publisher waits for a reply.
    pub is_call: u32,
    /// 1 where a consumer has had this message before, and died with it.
    pub redelivered: u32,
    /// For later versions; left as it is.
    pub reserved: [u64; 2],
}

/// What a consumer's handle leads to.
pub type Consuming = Alone<Inside>;

pub struct Inside {
    /// Borrows from `consumer`.
    message: Option<Message<'static>>,
    /// The address at which the message in hand stands in the region; 0 where it was copied out.
    told: usize,
    /// The last message that was copied out, or a reply that lies in the region.
    copy: Vec<u8>,
    /// From a box, and used through this alone, so that a message may stay.
    consumer: NonNull<Consumer>,
}

impl Kind for Consuming {
    type Opaque = antiphon_consumer;
    const NUMBER: usize = 3;
}

pub fn consuming(consumer: Consumer) -> Consuming {
    let consumer = NonNull::from(Box::leak(Box::new(consumer)));
    Alone::new(Inside { message: None, told: 0, copy: Vec::new(), consumer })
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.message = None;
        // SAFETY: from a box, once, and nothing borrows from it any more.
        drop(unsafe { Box::from_raw(self.consumer.as_ptr()) });
    }
}

#[inline]
fn enter<'a>(consumer: *mut antiphon_consumer) -> Result<Within<'a, Inside>, Failure> {
    find::<Consuming>(consumer)?.enter()
}

impl Inside {
    /// The consumer itself, of which nothing is in hand: the last message is acknowledged by that, if it was not. A
    /// message may be taken by it, and put into `message`: it is gone before the consumer is, and before this gives
    /// that out once more.
    #[inline]
    fn free(&mut self) -> &'static mut Consumer {
        self.message = None;
        // SAFETY: the handle's own, and nothing borrows from it; see above.
        unsafe { self.consumer.as_mut() }
    }

    /// Takes a message in hand, after `free`.
    #[inline]
    fn hold(&mut self, message: Option<Message<'static>>) {
        // There was none: nothing to drop.
        std::mem::forget(std::mem::replace(&mut self.message, message));
    }

    /// Tells of the message in hand, as it stands in the region.
    #[inline]
    fn tell(&mut self, to: NonNull<antiphon_message>) -> antiphon_error {
        let Some(message) = &self.message else { return ANTIPHON_NOTHING_YET };
        let view = message.view();
        let (data, data_len) = (view.as_ptr(), view.len());
        self.told = data.addr();
        write(to, message, data, data_len);
        ANTIPHON_OK
    }

    fn none_in_hand() -> Failure {
        bad_argument("no message is in hand")
    }
}

#[inline]
fn write(to: NonNull<antiphon_message>, message: &Message<'_>, data: *const u8, data_len: usize) {
    let to = to.as_ptr();
    // SAFETY: a place for it, by C's word.
    unsafe { (*to).data = data.cast() };
    // SAFETY: as above.
    unsafe { (*to).data_len = data_len };
    // SAFETY: as above.
    unsafe { (*to).len = message.len() };
    // SAFETY: as above.
    unsafe { (*to).is_call = message.is_call().into() };
    // SAFETY: as above.
    unsafe { (*to).redelivered = message.redelivered().into() };
}

#[inline]
fn consume(
    consumer: *mut antiphon_consumer,
    message: *mut antiphon_message,
    how: impl FnOnce(&'static mut Consumer) -> Result<Option<Message<'static>>, Error>,
) -> Outcome {
    let to = place(message)?;
    let mut inside = enter(consumer)?;
    let message = how(inside.free())?;
    inside.hold(message);
    Ok(inside.tell(to))
}

/// Waits for the next message, and leaves it where it stands: `message->data` is in the region, good until the message
/// is replied to or done with, or until the next one is consumed, which is done with this one too. Another process could
/// change what stands there: copy first what you check. Of a message longer than the capacity it is the first round.
/// One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_consume(
    consumer: *mut antiphon_consumer,
    message: *mut antiphon_message,
) -> antiphon_error {
    answer(|| consume(consumer, message, |consumer| consumer.consume().map(Some)))
}

/// antiphon_consume() with a limit. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_consume_timeout(
    consumer: *mut antiphon_consumer,
    message: *mut antiphon_message,
    timeout_ns: u64,
) -> antiphon_error {
    answer(|| consume(consumer, message, |consumer| consumer.consume_timeout(limit(timeout_ns)).map(Some)))
}

/// antiphon_consume() of a message that is there, else ANTIPHON_NOTHING_YET. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_try_consume(
    consumer: *mut antiphon_consumer,
    message: *mut antiphon_message,
) -> antiphon_error {
    answer(|| consume(consumer, message, Consumer::try_consume))
}

#[inline]
fn copy_out(
    consumer: *mut antiphon_consumer,
    message: *mut antiphon_message,
    how: impl FnOnce(&'static mut Consumer, &mut Vec<u8>) -> Result<Message<'static>, Error>,
) -> Outcome {
    let to = place(message)?;
    let mut inside = enter(consumer)?;
    inside.told = 0;
    let message = how(inside.free(), &mut inside.copy)?;
    write(to, &message, inside.copy.as_ptr(), inside.copy.len());
    inside.hold(Some(message));
    Ok(ANTIPHON_OK)
}

/// Waits for the next message, however long, and copies it out: `message->data` is this process's own, all of it, good
/// until the next message is consumed. A long one comes while the publisher still writes it. One that asks for no reply
/// is done with when this returns. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_consume_copy(
    consumer: *mut antiphon_consumer,
    message: *mut antiphon_message,
) -> antiphon_error {
    answer(|| copy_out(consumer, message, Consumer::consume_into))
}

/// antiphon_consume_copy() with a limit, for all of it. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_consume_copy_timeout(
    consumer: *mut antiphon_consumer,
    message: *mut antiphon_message,
    timeout_ns: u64,
) -> antiphon_error {
    answer(|| copy_out(consumer, message, |consumer, into| consumer.consume_into_timeout(into, limit(timeout_ns))))
}

/// Lets go of this round of a message longer than the capacity, and waits for the next: `message` tells of that.
/// ANTIPHON_END where there is none. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_message_next_round(
    consumer: *mut antiphon_consumer,
    message: *mut antiphon_message,
) -> antiphon_error {
    answer(|| {
        let to = place(message)?;
        let mut inside = enter(consumer)?;
        match inside.message.as_mut().ok_or_else(Inside::none_in_hand)?.next_round()? {
            true => Ok(inside.tell(to)),
            false => Ok(ANTIPHON_END),
        }
    })
}

#[inline(always)]
fn replying(
    consumer: *mut antiphon_consumer,
    data: *const c_void,
    len: usize,
    how: impl FnOnce(Message<'static>, &[u8]) -> Result<(), Error>,
) -> Outcome {
    // SAFETY: C's word.
    let reply = unsafe { bytes(data, len) }?;
    let mut inside = enter(consumer)?;
    let message = inside.message.take().ok_or_else(Inside::none_in_hand)?;
    // As if all of a long message stood there: at worst a copy too many.
    let stands = inside.told..inside.told.saturating_add(message.len());
    let is_in_the_way = data.addr() < stands.end && data.addr().saturating_add(len) > stands.start;
    let reply = match is_in_the_way {
        false => reply,
        // A reply is written to where the message stands.
        true => match aside(&mut inside.copy, reply) {
            Ok(reply) => reply,
            Err(failure) => {
                inside.message = Some(message);
                return Err(failure);
            }
        },
    };
    how(message, reply)?;
    Ok(ANTIPHON_OK)
}

/// A copy of a reply.
#[cold]
#[inline(never)]
fn aside<'a>(copy: &'a mut Vec<u8>, reply: &[u8]) -> Result<&'a [u8], Failure> {
    copy.clear();
    copy.try_reserve(reply.len()).map_err(|_| bad_argument("a reply that there is no memory for"))?;
    copy.extend_from_slice(reply);
    Ok(copy)
}

/// Replies to the message in hand, and is done with it, whatever this returns but ANTIPHON_ERROR_BAD_ARGUMENT. The reply
/// may be a part of the message. ANTIPHON_ERROR_CALLER_GONE where nobody waits for it any more. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_reply(
    consumer: *mut antiphon_consumer,
    data: *const c_void,
    len: usize,
) -> antiphon_error {
    answer(|| replying(consumer, data, len, Message::reply))
}

/// antiphon_reply() with a limit, for a long one. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_reply_timeout(
    consumer: *mut antiphon_consumer,
    data: *const c_void,
    len: usize,
    timeout_ns: u64,
) -> antiphon_error {
    answer(|| replying(consumer, data, len, |message, reply| message.reply_timeout(reply, limit(timeout_ns))))
}

/// Done with the message in hand: its place is the publisher's again; a caller gets ANTIPHON_ERROR_NO_REPLY. A process
/// that ends without this leaves the message to the next consumer. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_message_done(consumer: *mut antiphon_consumer) -> antiphon_error {
    answer(|| {
        let mut inside = enter(consumer)?;
        drop(inside.message.take().ok_or_else(Inside::none_in_hand)?);
        Ok(ANTIPHON_OK)
    })
}

/// Leaves the consumer's seat, done with the message in hand. NULL is nothing to close. No other thread may be in a call
/// on this handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_consumer_close(consumer: *mut antiphon_consumer) -> antiphon_error {
    answer(|| take::<Consuming>(consumer).map(|_| ANTIPHON_OK))
}
