//! The publisher: messages, calls, loans.

use crate::arguments::{bytes, limit, place};
use crate::error::{Failure, Outcome, answer, antiphon_error, antiphon_error::*, bad_argument};
use crate::handle::{Alone, Kind, Within, find, take};
use antiphon::{Error, Loan, Publisher};
use std::ffi::c_void;
use std::ptr::NonNull;

/// The end that publishes and calls.
#[allow(non_camel_case_types)]
pub struct antiphon_publisher(());

/// What a publisher's handle leads to.
pub type Publishing = Alone<Inside>;

pub struct Inside {
    /// Borrows from `publisher`.
    loan: Option<Loan<'static>>,
    /// The last reply.
    reply: Vec<u8>,
    /// From a box, and used through this alone, so that a loan may stay.
    publisher: NonNull<Publisher>,
}

impl Kind for Publishing {
    type Opaque = antiphon_publisher;
    const NUMBER: usize = 2;
}

pub fn publishing(publisher: Publisher) -> Publishing {
    let publisher = NonNull::from(Box::leak(Box::new(publisher)));
    Alone::new(Inside { loan: None, reply: Vec::new(), publisher })
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.loan = None;
        // SAFETY: from a box, once, and nothing borrows from it any more.
        drop(unsafe { Box::from_raw(self.publisher.as_ptr()) });
    }
}

impl Inside {
    /// The publisher itself, of which nothing is lent, and the place for a reply. A loan may be made of it, and put
    /// into `loan`: it is gone before the publisher is, and until then nobody gets that from here.
    #[inline]
    fn free(&mut self) -> Result<(&'static mut Publisher, &mut Vec<u8>), Failure> {
        if self.loan.is_some() {
            return Err(bad_argument("a loan is out: publish it, or let go of it"));
        }
        // SAFETY: the handle's own, and nothing borrows from it; see above.
        Ok((unsafe { self.publisher.as_mut() }, &mut self.reply))
    }
}

#[inline]
fn enter<'a>(publisher: *mut antiphon_publisher) -> Result<Within<'a, Inside>, Failure> {
    find::<Publishing>(publisher)?.enter()
}

#[inline]
fn is_sent(sent: bool) -> antiphon_error {
    if sent { ANTIPHON_OK } else { ANTIPHON_NOTHING_YET }
}

/// Publishes a message. Waits until the message before it was consumed; a message longer than the capacity, until it
/// was consumed itself. When this returns ANTIPHON_OK the message is not lost, whoever dies. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_publish(
    publisher: *mut antiphon_publisher,
    data: *const c_void,
    len: usize,
) -> antiphon_error {
    answer(|| {
        // SAFETY: C's word.
        let message = unsafe { bytes(data, len) }?;
        enter(publisher)?.free()?.0.publish(message)?;
        Ok(ANTIPHON_OK)
    })
}

/// antiphon_publish() with a limit. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_publish_timeout(
    publisher: *mut antiphon_publisher,
    data: *const c_void,
    len: usize,
    timeout_ns: u64,
) -> antiphon_error {
    answer(|| {
        // SAFETY: C's word.
        let message = unsafe { bytes(data, len) }?;
        enter(publisher)?.free()?.0.publish_timeout(message, limit(timeout_ns))?;
        Ok(ANTIPHON_OK)
    })
}

/// Publishes if that needs no waiting; ANTIPHON_NOTHING_YET where the last message was not consumed yet. At most the
/// capacity. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_try_publish(
    publisher: *mut antiphon_publisher,
    data: *const c_void,
    len: usize,
) -> antiphon_error {
    answer(|| {
        // SAFETY: C's word.
        let message = unsafe { bytes(data, len) }?;
        Ok(is_sent(enter(publisher)?.free()?.0.try_publish(message)?))
    })
}

/// Where a reply is to be told of.
type Places = Option<(NonNull<*const c_void>, NonNull<usize>)>;

#[inline]
fn tell(reply: &[u8], places: Places) -> antiphon_error {
    if let Some((to, len)) = places {
        // SAFETY: a place for a pointer, by C's word.
        unsafe { to.write(reply.as_ptr().cast()) };
        // SAFETY: a place for a length, by C's word.
        unsafe { len.write(reply.len()) };
    }
    ANTIPHON_OK
}

#[inline]
fn places(reply: *mut *const c_void, reply_len: *mut usize) -> Result<Places, Failure> {
    match (reply.is_null(), reply_len.is_null()) {
        (true, true) => Ok(None),
        _ => Ok(Some((place(reply)?, place(reply_len)?))),
    }
}

#[inline]
fn calling(
    publisher: *mut antiphon_publisher,
    reply: *mut *const c_void,
    reply_len: *mut usize,
    call: impl FnOnce(&mut Publisher, &mut Vec<u8>) -> Result<(), Error>,
) -> Outcome {
    let to = places(reply, reply_len)?;
    let mut inside = enter(publisher)?;
    let (publisher, reply) = inside.free()?;
    call(publisher, reply)?;
    Ok(tell(reply, to))
}

/// Publishes, and waits for what the consumer replies: `*reply` and `*reply_len` tell where that stands, in this
/// process, until the next call by this publisher. Both may be NULL. ANTIPHON_ERROR_NO_REPLY where the consumer let go of
/// the message. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_call(
    publisher: *mut antiphon_publisher,
    data: *const c_void,
    len: usize,
    reply: *mut *const c_void,
    reply_len: *mut usize,
) -> antiphon_error {
    answer(|| {
        // SAFETY: C's word.
        let message = unsafe { bytes(data, len) }?;
        calling(publisher, reply, reply_len, |publisher, reply| publisher.call_into(message, reply))
    })
}

/// antiphon_call() with a limit: after ANTIPHON_ERROR_TIMED_OUT antiphon_error_delivered() says whether the call was
/// withdrawn. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_call_timeout(
    publisher: *mut antiphon_publisher,
    data: *const c_void,
    len: usize,
    reply: *mut *const c_void,
    reply_len: *mut usize,
    timeout_ns: u64,
) -> antiphon_error {
    answer(|| {
        // SAFETY: C's word.
        let message = unsafe { bytes(data, len) }?;
        let limit = limit(timeout_ns);
        calling(publisher, reply, reply_len, |publisher, reply| publisher.call_into_timeout(message, reply, limit))
    })
}

fn lend(
    publisher: *mut antiphon_publisher,
    data: *mut *mut c_void,
    how: impl FnOnce(&'static mut Publisher) -> Result<Option<Loan<'static>>, Error>,
) -> Outcome {
    let to = place(data)?;
    let mut inside = enter(publisher)?;
    let Some(mut loan) = how(inside.free()?.0)? else { return Ok(ANTIPHON_NOTHING_YET) };
    // SAFETY: a place for a pointer, by C's word.
    unsafe { to.write(loan.as_mut_ptr().cast()) };
    inside.loan = Some(loan);
    Ok(ANTIPHON_OK)
}

/// Lends `len` bytes of the region, at `*data`, to be written in place and then published without a copy. They hold
/// whatever was there before. Waits until the last message was consumed. One loan at a time, good until it is published,
/// called or let go of. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_loan(
    publisher: *mut antiphon_publisher,
    len: usize,
    data: *mut *mut c_void,
) -> antiphon_error {
    answer(|| lend(publisher, data, |publisher| publisher.loan(len).map(Some)))
}

/// antiphon_loan() with a limit. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_loan_timeout(
    publisher: *mut antiphon_publisher,
    len: usize,
    data: *mut *mut c_void,
    timeout_ns: u64,
) -> antiphon_error {
    answer(|| lend(publisher, data, |publisher| publisher.loan_timeout(len, limit(timeout_ns)).map(Some)))
}

/// antiphon_loan() if that needs no waiting, else ANTIPHON_NOTHING_YET. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_try_loan(
    publisher: *mut antiphon_publisher,
    len: usize,
    data: *mut *mut c_void,
) -> antiphon_error {
    answer(|| lend(publisher, data, |publisher| publisher.try_loan(len)))
}

/// The loan that is out, with its first `len` bytes.
fn lent(inside: &mut Inside, len: usize) -> Result<Loan<'static>, Failure> {
    if inside.loan.as_ref().is_some_and(|loan| len > loan.len()) {
        return Err(bad_argument("more bytes than were lent"));
    }
    let mut loan = inside.loan.take().ok_or_else(|| bad_argument("no loan is out"))?;
    loan.truncate(len);
    Ok(loan)
}

/// Publishes the first `len` bytes of the loan. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_loan_publish(publisher: *mut antiphon_publisher, len: usize) -> antiphon_error {
    answer(|| {
        let mut inside = enter(publisher)?;
        lent(&mut inside, len)?.publish()?;
        Ok(ANTIPHON_OK)
    })
}

/// Publishes the first `len` bytes of the loan as a call, and waits for the reply as antiphon_call() does. One thread at
/// a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_loan_call(
    publisher: *mut antiphon_publisher,
    len: usize,
    reply: *mut *const c_void,
    reply_len: *mut usize,
) -> antiphon_error {
    answer(|| {
        let to = places(reply, reply_len)?;
        let mut inside = enter(publisher)?;
        inside.reply = lent(&mut inside, len)?.call()?;
        Ok(tell(&inside.reply, to))
    })
}

/// antiphon_loan_call() with a limit. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_loan_call_timeout(
    publisher: *mut antiphon_publisher,
    len: usize,
    reply: *mut *const c_void,
    reply_len: *mut usize,
    timeout_ns: u64,
) -> antiphon_error {
    answer(|| {
        let to = places(reply, reply_len)?;
        let mut inside = enter(publisher)?;
        inside.reply = lent(&mut inside, len)?.call_timeout(limit(timeout_ns))?;
        Ok(tell(&inside.reply, to))
    })
}

/// Lets go of the loan: nothing is published. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_loan_drop(publisher: *mut antiphon_publisher) -> antiphon_error {
    answer(|| {
        let mut inside = enter(publisher)?;
        lent(&mut inside, 0).map(|_| ANTIPHON_OK)
    })
}

/// Leaves the publisher's seat. NULL is nothing to close. No other thread may be in a call on this handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_publisher_close(publisher: *mut antiphon_publisher) -> antiphon_error {
    answer(|| take::<Publishing>(publisher).map(|_| ANTIPHON_OK))
}
