//! What a call returns, and what is kept of an error for the thread it happened to.

use antiphon::{Delivered, Error};
use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// What a call returns. A number means the same for ever, and none is used again; there may be new ones.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types)]
pub enum antiphon_error {
    /// It went well.
    ANTIPHON_OK = 0,
    /// Nothing is there yet, and the call was not to wait. No error.
    ANTIPHON_NOTHING_YET = 1,
    /// Nothing is left, and nothing will come. No error.
    ANTIPHON_END = 2,
    /// A pointer that must not be NULL, a length that cannot be, a call that does not fit what is in hand.
    ANTIPHON_ERROR_BAD_ARGUMENT = -1,
    /// A handle, or a block, that is none, was closed, or is of another kind.
    ANTIPHON_ERROR_BAD_HANDLE = -2,
    /// Another thread is in a call on this handle.
    ANTIPHON_ERROR_BUSY = -3,
    /// A mistake in the library, caught. The handle is of no use any more: close it.
    ANTIPHON_ERROR_PANICKED = -4,
    /// More handles, or blocks in hand, than there can be at once.
    ANTIPHON_ERROR_TOO_MANY = -5,
    /// The name cannot be used.
    ANTIPHON_ERROR_BAD_NAME = -10,
    /// An option has a value that it cannot have.
    ANTIPHON_ERROR_BAD_OPTION = -11,
    /// Nothing has this name.
    ANTIPHON_ERROR_NOT_FOUND = -12,
    /// A living process holds what has this name: see antiphon_error_pid().
    ANTIPHON_ERROR_IN_USE = -13,
    /// The channel is persistent and holds a message that nobody has consumed.
    ANTIPHON_ERROR_HOLDS_MESSAGE = -14,
    /// A living process sits in this seat: see antiphon_error_pid().
    ANTIPHON_ERROR_SEAT_TAKEN = -15,
    /// The process at the other end is dead: see antiphon_error_delivered().
    ANTIPHON_ERROR_PEER_DIED = -16,
    /// The other end left in order.
    ANTIPHON_ERROR_DISCONNECTED = -17,
    /// The time was up: see antiphon_error_delivered().
    ANTIPHON_ERROR_TIMED_OUT = -18,
    /// The other end gave up in the middle of something long.
    ANTIPHON_ERROR_ABORTED = -19,
    /// The consumer let go of the call without an answer.
    ANTIPHON_ERROR_NO_REPLY = -20,
    /// A reply was given to a message that asked for none.
    ANTIPHON_ERROR_NOT_A_CALL = -21,
    /// The caller no longer waits for this reply.
    ANTIPHON_ERROR_CALLER_GONE = -22,
    /// The file is ending: no block is given to writers any more.
    ANTIPHON_ERROR_FINISHED = -23,
    /// The file was cancelled, for the reason that the text says.
    ANTIPHON_ERROR_CANCELLED = -24,
    /// Parts of the file are missing, and who was to fill them is gone.
    ANTIPHON_ERROR_UNFILLED = -25,
    /// No living host answers for the session.
    ANTIPHON_ERROR_NO_HOST = -26,
    /// The session has no file of this name.
    ANTIPHON_ERROR_NO_FILE = -27,
    /// The host could not do what it was asked to do.
    ANTIPHON_ERROR_REFUSED = -28,
    /// Too many bytes for what was asked.
    ANTIPHON_ERROR_TOO_LONG = -29,
    /// The shared-memory file system is full.
    ANTIPHON_ERROR_NO_SPACE = -30,
    /// The region was made by something that works differently.
    ANTIPHON_ERROR_INCOMPATIBLE = -31,
    /// What has this name is not what was to be opened.
    ANTIPHON_ERROR_NOT_A_CHANNEL = -32,
    /// Another name is shortened to the same name of the operating system.
    ANTIPHON_ERROR_NAME_COLLISION = -33,
    /// The system refuses access.
    ANTIPHON_ERROR_NOT_PERMITTED = -34,
    /// The other end, or a stranger, wrote what no peer that keeps the protocol writes.
    ANTIPHON_ERROR_CORRUPT = -35,
    /// The handle was made before a fork and used in the child.
    ANTIPHON_ERROR_FORKED = -36,
    /// Another process has been creating, opening or removing this name for too long.
    ANTIPHON_ERROR_STUCK = -37,
    /// A call of the operating system failed: see antiphon_error_errno().
    ANTIPHON_ERROR_SYSTEM = -39,
    /// Anything that has no number of its own; the text says what.
    ANTIPHON_ERROR_OTHER = -99,
}

/// What became of a message when a call failed after it may have been handed over.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types)]
pub enum antiphon_delivered {
    /// That is no question for this error.
    ANTIPHON_DELIVERED_NO_QUESTION = 0,
    /// No consumer has acted on it, and none will: it can be sent again.
    ANTIPHON_DELIVERED_NO = 1,
    /// A consumer may have acted on it.
    ANTIPHON_DELIVERED_UNKNOWN = 2,
}

use antiphon_delivered::*;
use antiphon_error::*;

/// Why a call fails.
#[derive(Debug)]
pub enum Failure {
    Ours(antiphon_error, &'static str),
    Theirs(Box<Error>),
}

impl From<Error> for Failure {
    #[cold]
    fn from(error: Error) -> Self {
        Failure::Theirs(Box::new(error))
    }
}

pub type Outcome = Result<antiphon_error, Failure>;

#[cold]
pub fn bad_argument(text: &'static str) -> Failure {
    Failure::Ours(ANTIPHON_ERROR_BAD_ARGUMENT, text)
}

fn code_of(error: &Error) -> antiphon_error {
    match error {
        Error::BadName { .. } => ANTIPHON_ERROR_BAD_NAME,
        Error::BadOption { .. } => ANTIPHON_ERROR_BAD_OPTION,
        Error::NotFound { .. } => ANTIPHON_ERROR_NOT_FOUND,
        Error::InUse { .. } => ANTIPHON_ERROR_IN_USE,
        Error::HoldsMessage { .. } => ANTIPHON_ERROR_HOLDS_MESSAGE,
        Error::SeatTaken { .. } => ANTIPHON_ERROR_SEAT_TAKEN,
        Error::PeerDied { .. } => ANTIPHON_ERROR_PEER_DIED,
        Error::Disconnected { .. } => ANTIPHON_ERROR_DISCONNECTED,
        Error::TimedOut { .. } => ANTIPHON_ERROR_TIMED_OUT,
        Error::Aborted { .. } => ANTIPHON_ERROR_ABORTED,
        Error::NoReply { .. } => ANTIPHON_ERROR_NO_REPLY,
        Error::NotACall { .. } => ANTIPHON_ERROR_NOT_A_CALL,
        Error::CallerGone { .. } => ANTIPHON_ERROR_CALLER_GONE,
        Error::Finished { .. } => ANTIPHON_ERROR_FINISHED,
        Error::Cancelled { .. } => ANTIPHON_ERROR_CANCELLED,
        Error::Unfilled { .. } => ANTIPHON_ERROR_UNFILLED,
        Error::NoHost { .. } => ANTIPHON_ERROR_NO_HOST,
        Error::NoFile { .. } => ANTIPHON_ERROR_NO_FILE,
        Error::Refused { .. } => ANTIPHON_ERROR_REFUSED,
        Error::TooLong { .. } => ANTIPHON_ERROR_TOO_LONG,
        Error::NoSpace { .. } => ANTIPHON_ERROR_NO_SPACE,
        Error::Incompatible { .. } => ANTIPHON_ERROR_INCOMPATIBLE,
        Error::NotAChannel { .. } => ANTIPHON_ERROR_NOT_A_CHANNEL,
        Error::NameCollision { .. } => ANTIPHON_ERROR_NAME_COLLISION,
        Error::NotPermitted { .. } => ANTIPHON_ERROR_NOT_PERMITTED,
        Error::Corrupt { .. } => ANTIPHON_ERROR_CORRUPT,
        Error::Forked { .. } => ANTIPHON_ERROR_FORKED,
        Error::Stuck { .. } => ANTIPHON_ERROR_STUCK,
        Error::System { .. } => ANTIPHON_ERROR_SYSTEM,
        _ => ANTIPHON_ERROR_OTHER,
    }
}

/// The last error of a thread.
struct Last {
    text: Option<CString>,
    delivered: antiphon_delivered,
    pid: u32,
    is_final: bool,
    errno: c_int,
}

impl Last {
    const fn none() -> Self {
        Last { text: None, delivered: ANTIPHON_DELIVERED_NO_QUESTION, pid: 0, is_final: false, errno: 0 }
    }

    fn of(error: &Error) -> Self {
        let (pid, is_final) = match error {
            Error::InUse { pid, .. } | Error::SeatTaken { pid, .. } => (*pid, false),
            Error::PeerDied { pid, is_final, .. } => (*pid, *is_final),
            Error::Disconnected { is_final, .. } => (0, *is_final),
            _ => (0, false),
        };
        let errno = match error {
            Error::System { source, .. } | Error::NotPermitted { source, .. } => source.raw_os_error(),
            _ => None,
        };
        let delivered = match error.delivered() {
            None => ANTIPHON_DELIVERED_NO_QUESTION,
            Some(Delivered::No) => ANTIPHON_DELIVERED_NO,
            Some(_) => ANTIPHON_DELIVERED_UNKNOWN,
        };
        Last { text: Some(text(error.to_string())), delivered, pid, is_final, errno: errno.unwrap_or(0) }
    }
}

/// A text for C; names may hold what it would take for the end.
fn text(mut words: String) -> CString {
    words.retain(|c| c != '\0');
    CString::new(words).unwrap_or_default()
}

thread_local! {
    static LAST: RefCell<Last> = const { RefCell::new(Last::none()) };
    /// Where this thread panicked last, and over what.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs what a function does. Nothing unwinds out of it, and nothing is printed.
#[inline]
pub fn answer(body: impl FnOnce() -> Outcome) -> antiphon_error {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(code)) => code,
        Ok(Err(failure)) => failed(failure),
        Err(panic) => panicked(panic),
    }
}

/// The same for a function that cannot fail.
#[inline]
pub fn value<T>(or: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        panicked(panic);
        or
    })
}

#[cold]
#[inline(never)]
fn failed(failure: Failure) -> antiphon_error {
    let (code, last) = match failure {
        Failure::Ours(code, words) => (code, Last { text: Some(text(words.to_owned())), ..Last::none() }),
        Failure::Theirs(error) => (code_of(&error), Last::of(&error)),
    };
    keep(last);
    code
}

#[cold]
#[inline(never)]
fn panicked(panic: Box<dyn Any + Send>) -> antiphon_error {
    // What a panic carries may panic once more when it is dropped.
    std::mem::forget(panic);
    let words = PANIC.try_with(|words| words.borrow().clone()).unwrap_or_default();
    keep(Last { text: Some(text(format!("a mistake in antiphon: {words}"))), ..Last::none() });
    ANTIPHON_ERROR_PANICKED
}

/// A thread that is ending keeps nothing.
fn keep(last: Last) {
    let _ = LAST.try_with(|kept| *kept.borrow_mut() = last);
}

/// Before the first call that makes anything: a panic is told by the code and the text, and not printed. The hook is
/// that of the standard library that is part of this one, and nobody else's.
pub fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let _ = PANIC.try_with(|words| *words.borrow_mut() = info.to_string());
        }));
    });
}

fn last<T>(or: T, of: impl FnOnce(&Last) -> T) -> T {
    value(None, || LAST.try_with(|last| of(&last.borrow())).ok()).unwrap_or(or)
}

/// What this thread's last error was about, and what to do about it: one line without its end, "" where there was none.
/// Good until the thread's next error. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn antiphon_error_text() -> *const c_char {
    last(c"".as_ptr(), |last| last.text.as_deref().unwrap_or(c"").as_ptr())
}

/// What became of the message that was in hand when this thread's last error came. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn antiphon_error_delivered() -> antiphon_delivered {
    last(ANTIPHON_DELIVERED_NO_QUESTION, |last| last.delivered)
}

/// The process that this thread's last error was about: who is dead, who has the seat or the name. 0 where that is
/// unknown, or no question. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn antiphon_error_pid() -> u32 {
    last(0, |last| last.pid)
}

/// 1 where nobody new can come to the other end, since the channel is private; otherwise 0. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn antiphon_error_is_final() -> u32 {
    last(0, |last| last.is_final.into())
}

/// The system's errno of this thread's last error, or 0. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn antiphon_error_errno() -> c_int {
    last(0, |last| last.errno)
}

/// The name of a number that a call returned, such as "ANTIPHON_ERROR_PEER_DIED". Good for ever. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn antiphon_error_name(code: i32) -> *const c_char {
    name_of(code).as_ptr()
}

fn name_of(code: i32) -> &'static CStr {
    match code {
        code if code == ANTIPHON_OK as i32 => c"ANTIPHON_OK",
        code if code == ANTIPHON_NOTHING_YET as i32 => c"ANTIPHON_NOTHING_YET",
        code if code == ANTIPHON_END as i32 => c"ANTIPHON_END",
        code if code == ANTIPHON_ERROR_BAD_ARGUMENT as i32 => c"ANTIPHON_ERROR_BAD_ARGUMENT",
        code if code == ANTIPHON_ERROR_BAD_HANDLE as i32 => c"ANTIPHON_ERROR_BAD_HANDLE",
        code if code == ANTIPHON_ERROR_BUSY as i32 => c"ANTIPHON_ERROR_BUSY",
        code if code == ANTIPHON_ERROR_PANICKED as i32 => c"ANTIPHON_ERROR_PANICKED",
        code if code == ANTIPHON_ERROR_TOO_MANY as i32 => c"ANTIPHON_ERROR_TOO_MANY",
        code if code == ANTIPHON_ERROR_BAD_NAME as i32 => c"ANTIPHON_ERROR_BAD_NAME",
        code if code == ANTIPHON_ERROR_BAD_OPTION as i32 => c"ANTIPHON_ERROR_BAD_OPTION",
        code if code == ANTIPHON_ERROR_NOT_FOUND as i32 => c"ANTIPHON_ERROR_NOT_FOUND",
        code if code == ANTIPHON_ERROR_IN_USE as i32 => c"ANTIPHON_ERROR_IN_USE",
        code if code == ANTIPHON_ERROR_HOLDS_MESSAGE as i32 => c"ANTIPHON_ERROR_HOLDS_MESSAGE",
        code if code == ANTIPHON_ERROR_SEAT_TAKEN as i32 => c"ANTIPHON_ERROR_SEAT_TAKEN",
        code if code == ANTIPHON_ERROR_PEER_DIED as i32 => c"ANTIPHON_ERROR_PEER_DIED",
        code if code == ANTIPHON_ERROR_DISCONNECTED as i32 => c"ANTIPHON_ERROR_DISCONNECTED",
        code if code == ANTIPHON_ERROR_TIMED_OUT as i32 => c"ANTIPHON_ERROR_TIMED_OUT",
        code if code == ANTIPHON_ERROR_ABORTED as i32 => c"ANTIPHON_ERROR_ABORTED",
        code if code == ANTIPHON_ERROR_NO_REPLY as i32 => c"ANTIPHON_ERROR_NO_REPLY",
        code if code == ANTIPHON_ERROR_NOT_A_CALL as i32 => c"ANTIPHON_ERROR_NOT_A_CALL",
        code if code == ANTIPHON_ERROR_CALLER_GONE as i32 => c"ANTIPHON_ERROR_CALLER_GONE",
        code if code == ANTIPHON_ERROR_FINISHED as i32 => c"ANTIPHON_ERROR_FINISHED",
        code if code == ANTIPHON_ERROR_CANCELLED as i32 => c"ANTIPHON_ERROR_CANCELLED",
        code if code == ANTIPHON_ERROR_UNFILLED as i32 => c"ANTIPHON_ERROR_UNFILLED",
        code if code == ANTIPHON_ERROR_NO_HOST as i32 => c"ANTIPHON_ERROR_NO_HOST",
        code if code == ANTIPHON_ERROR_NO_FILE as i32 => c"ANTIPHON_ERROR_NO_FILE",
        code if code == ANTIPHON_ERROR_REFUSED as i32 => c"ANTIPHON_ERROR_REFUSED",
        code if code == ANTIPHON_ERROR_TOO_LONG as i32 => c"ANTIPHON_ERROR_TOO_LONG",
        code if code == ANTIPHON_ERROR_NO_SPACE as i32 => c"ANTIPHON_ERROR_NO_SPACE",
        code if code == ANTIPHON_ERROR_INCOMPATIBLE as i32 => c"ANTIPHON_ERROR_INCOMPATIBLE",
        code if code == ANTIPHON_ERROR_NOT_A_CHANNEL as i32 => c"ANTIPHON_ERROR_NOT_A_CHANNEL",
        code if code == ANTIPHON_ERROR_NAME_COLLISION as i32 => c"ANTIPHON_ERROR_NAME_COLLISION",
        code if code == ANTIPHON_ERROR_NOT_PERMITTED as i32 => c"ANTIPHON_ERROR_NOT_PERMITTED",
        code if code == ANTIPHON_ERROR_CORRUPT as i32 => c"ANTIPHON_ERROR_CORRUPT",
        code if code == ANTIPHON_ERROR_FORKED as i32 => c"ANTIPHON_ERROR_FORKED",
        code if code == ANTIPHON_ERROR_STUCK as i32 => c"ANTIPHON_ERROR_STUCK",
        code if code == ANTIPHON_ERROR_SYSTEM as i32 => c"ANTIPHON_ERROR_SYSTEM",
        code if code == ANTIPHON_ERROR_OTHER as i32 => c"ANTIPHON_ERROR_OTHER",
        _ => c"an unknown number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_in_a_number_and_a_text() {
        prepare();
        let code = answer(|| panic!("over nothing"));
        assert_eq!(code, ANTIPHON_ERROR_PANICKED);
        // SAFETY: just returned, and no error came since.
        let text = unsafe { CStr::from_ptr(antiphon_error_text()) }.to_str().unwrap();
        assert!(text.contains("over nothing") && text.contains("error.rs"), "{text}");
        assert_eq!(value(7, || panic!("again")), 7);
    }
}
