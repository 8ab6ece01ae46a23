//! Channels: their names, and the seats at their ends.

use crate::arguments::{limit, options, place, text};
use crate::consumer::{antiphon_consumer, consuming};
use crate::error::{Failure, Outcome, answer, antiphon_error, antiphon_error::*, bad_argument, prepare, value};
use crate::handle::{Kind, find, give, take};
use crate::publisher::{antiphon_publisher, publishing};
use antiphon::{Channel, ChannelOptions, Error, Wait};
use std::ffi::{CString, c_char};
use std::ptr::NonNull;

/// How an end waits for the other one.
#[repr(u32)]
#[allow(non_camel_case_types, dead_code)]
pub enum antiphon_wait {
    /// Spins for as long as that has been paying off lately, then sleeps.
    ANTIPHON_WAIT_ADAPTIVE = 0,
    /// Never sleeps: the fastest answer, for the price of a whole processor.
    ANTIPHON_WAIT_SPIN = 1,
    /// Sleeps at once: the least work, and the slowest answer.
    ANTIPHON_WAIT_PARK = 2,
}

/// How a channel is made, and how its ends wait.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_camel_case_types)]
pub struct antiphon_channel_options {
    /// sizeof(antiphon_channel_options)
    pub size: usize,
    /// The payload's bytes: a message up to this long is one piece. A multiple of 65,536; 0 for 4 MiB. Whoever creates
    /// the channel decides.
    pub capacity: usize,
    /// One of antiphon_wait.
    pub wait: u32,
    /// The permission bits of what is created; 0 for 0600.
    pub mode: u32,
    /// 1 where what is created keeps its name, and its message, whoever leaves it.
    pub persistent: u32,
    /// Zero.
    pub reserved: u32,
}

/// A channel that this process has open: exactly one publisher, exactly one consumer.
#[allow(non_camel_case_types)]
pub struct antiphon_channel(());

pub struct Open {
    channel: Channel,
    name: CString,
}

impl Kind for Open {
    type Opaque = antiphon_channel;
    const NUMBER: usize = 1;
}

/// # Safety
/// As of [`options`].
unsafe fn chosen(theirs: *const antiphon_channel_options) -> Result<ChannelOptions, Failure> {
    // SAFETY: the caller's word.
    let chosen = unsafe { options(theirs) }?;
    let mut options = ChannelOptions::new();
    if chosen.capacity != 0 {
        options = options.capacity(chosen.capacity);
    }
    if chosen.mode != 0 {
        options = options.mode(chosen.mode);
    }
    options = options.wait(match chosen.wait {
        0 => Wait::Adaptive,
        1 => Wait::Spin,
        2 => Wait::Park,
        _ => return Err(bad_argument("a way to wait that is none of antiphon_wait")),
    });
    match (chosen.persistent, chosen.reserved) {
        (0, 0) => Ok(options),
        (1, 0) => Ok(options.persistent(true)),
        _ => Err(bad_argument("`persistent` that is neither 0 nor 1, or `reserved` that is not zero")),
    }
}

/// # Safety
/// As of [`text`] and [`options`]; `to` is NULL or a place for a pointer.
unsafe fn attach(
    name: *const c_char,
    options: *const antiphon_channel_options,
    to: *mut *mut antiphon_channel,
    how: impl FnOnce(ChannelOptions, &str) -> Result<Channel, Error>,
) -> Outcome {
    prepare();
    // SAFETY: the caller's word.
    let name = unsafe { text(name) }?.to_string_lossy();
    // SAFETY: as above.
    let options = unsafe { chosen(options) }?;
    put(how(options, &name)?, place(to)?)
}

fn put(channel: Channel, to: NonNull<*mut antiphon_channel>) -> Outcome {
    let name = CString::new(channel.name()).unwrap_or_default();
    let handle = give(Open { channel, name })?;
    // SAFETY: a place for a pointer, by the caller's word.
    unsafe { to.write(handle) };
    Ok(ANTIPHON_OK)
}

fn open<'a>(channel: *const antiphon_channel) -> Result<&'a Open, Failure> {
    find::<Open>(channel)
}

/// Makes a channel, or takes over one whose every holder is dead. ANTIPHON_ERROR_IN_USE where one lives. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_channel_create(
    name: *const c_char,
    options: *const antiphon_channel_options,
    channel: *mut *mut antiphon_channel,
) -> antiphon_error {
    // SAFETY: C's word.
    answer(|| unsafe { attach(name, options, channel, ChannelOptions::create) })
}

/// Opens a channel that is there. ANTIPHON_ERROR_NOT_FOUND where none is. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_channel_open(
    name: *const c_char,
    options: *const antiphon_channel_options,
    channel: *mut *mut antiphon_channel,
) -> antiphon_error {
    // SAFETY: C's word.
    answer(|| unsafe { attach(name, options, channel, ChannelOptions::open) })
}

/// Opens a channel, and makes it where it is not there. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_channel_open_or_create(
    name: *const c_char,
    options: *const antiphon_channel_options,
    channel: *mut *mut antiphon_channel,
) -> antiphon_error {
    // SAFETY: C's word.
    answer(|| unsafe { attach(name, options, channel, ChannelOptions::open_or_create) })
}

/// Makes a channel with a name that nobody thinks of (antiphon_channel_name() tells it, for a child), which it loses as
/// soon as both ends are attached. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_channel_private(
    options: *const antiphon_channel_options,
    channel: *mut *mut antiphon_channel,
) -> antiphon_error {
    answer(|| {
        prepare();
        let to = place(channel)?;
        // SAFETY: C's word.
        put(unsafe { chosen(options) }?.private()?, to)
    })
}

/// Takes a channel's name away: those who have it open keep it, and nobody else comes. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_channel_unlink(name: *const c_char) -> antiphon_error {
    answer(|| {
        prepare();
        // SAFETY: C's word.
        Channel::unlink(&unsafe { text(name) }?.to_string_lossy())?;
        Ok(ANTIPHON_OK)
    })
}

/// The channel's name: good until it is closed. NULL where the handle is none. Several threads at once may ask.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_channel_name(channel: *const antiphon_channel) -> *const c_char {
    value(std::ptr::null(), || open(channel).map_or(std::ptr::null(), |open| open.name.as_ptr()))
}

/// The bytes up to which a message is one piece. 0 where the handle is none. Several threads at once may ask.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_channel_capacity(channel: *const antiphon_channel) -> usize {
    value(0, || open(channel).map_or(0, |open| open.channel.capacity()))
}

/// Lets go of a channel. Its ends, if any are open, keep it. NULL is nothing to close. No other thread may be in a call
/// on this handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_channel_close(channel: *mut antiphon_channel) -> antiphon_error {
    answer(|| take::<Open>(channel).map(|_| ANTIPHON_OK))
}

/// Takes the publisher's seat: ANTIPHON_ERROR_SEAT_TAKEN where a living process has it. Several threads at once may.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_publisher_open(
    channel: *mut antiphon_channel,
    publisher: *mut *mut antiphon_publisher,
) -> antiphon_error {
    answer(|| {
        let to = place(publisher)?;
        let handle = give(publishing(open(channel)?.channel.publisher()?))?;
        // SAFETY: a place for it, by C's word.
        unsafe { to.write(handle) };
        Ok(ANTIPHON_OK)
    })
}

/// antiphon_publisher_open() that waits for the seat. Several threads at once may.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_publisher_open_timeout(
    channel: *mut antiphon_channel,
    publisher: *mut *mut antiphon_publisher,
    timeout_ns: u64,
) -> antiphon_error {
    answer(|| {
        let to = place(publisher)?;
        let handle = give(publishing(open(channel)?.channel.publisher_timeout(limit(timeout_ns))?))?;
        // SAFETY: a place for it, by C's word.
        unsafe { to.write(handle) };
        Ok(ANTIPHON_OK)
    })
}

/// Takes the consumer's seat: ANTIPHON_ERROR_SEAT_TAKEN where a living process has it. Several threads at once may.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_consumer_open(
    channel: *mut antiphon_channel,
    consumer: *mut *mut antiphon_consumer,
) -> antiphon_error {
    answer(|| {
        let to = place(consumer)?;
        let handle = give(consuming(open(channel)?.channel.consumer()?))?;
        // SAFETY: a place for it, by C's word.
        unsafe { to.write(handle) };
        Ok(ANTIPHON_OK)
    })
}

/// antiphon_consumer_open() that waits for the seat. Several threads at once may.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn antiphon_consumer_open_timeout(
    channel: *mut antiphon_channel,
    consumer: *mut *mut antiphon_consumer,
    timeout_ns: u64,
) -> antiphon_error {
    answer(|| {
        let to = place(consumer)?;
        let handle = give(consuming(open(channel)?.channel.consumer_timeout(limit(timeout_ns))?))?;
        // SAFETY: a place for it, by C's word.
        unsafe { to.write(handle) };
        Ok(ANTIPHON_OK)
    })
}
