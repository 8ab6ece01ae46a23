//! Handles: numbers that look like pointers, and that are looked up, never followed.
//!
//! A handle is the number of a place in one table, the kind of what is there, and how often the place was given away:
//! so one that was closed, or is another kind's, is known for what it is, for the price of one comparison. What a place
//! held is used by one thread at a time; [`Alone`] sees most of what breaks that, and is no lock.

use crate::error::{Failure, antiphon_error::*};
use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize};
use std::sync::{Mutex, PoisonError};

const PLACE_BITS: u32 = 16;
const PLACES: usize = 1 << PLACE_BITS;
const KIND_BITS: u32 = 4;

struct Place {
    handle: AtomicUsize,
    what: AtomicPtr<()>,
}

static PLACES_OF_ALL: [Place; PLACES] =
    [const { Place { handle: AtomicUsize::new(0), what: AtomicPtr::new(std::ptr::null_mut()) } }; PLACES];

/// Places that are free: those that were given away before, with how often, and how many were ever.
struct Free {
    before: Vec<(usize, usize)>,
    ever: usize,
}

static FREE: Mutex<Free> = Mutex::new(Free { before: Vec::new(), ever: 0 });

/// What a handle can lead to.
pub trait Kind {
    /// How C calls it.
    type Opaque;
    const NUMBER: usize;
}

/// Makes a handle of `what`.
pub fn give<T: Kind>(what: T) -> Result<*mut T::Opaque, Failure> {
    let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    let (place, times) = match free.before.pop() {
        Some(before) => before,
        None if free.ever < PLACES => {
            free.ever += 1;
            (free.ever - 1, 0)
        }
        None => return Err(Failure::Ours(ANTIPHON_ERROR_TOO_MANY, "65,536 handles are open: close some")),
    };
    drop(free);
    // On 32 bits the count comes round after 4,095 times.
    let most = usize::MAX >> (PLACE_BITS + KIND_BITS);
    let times = if times == most { 1 } else { times + 1 };
    let handle = (times << (PLACE_BITS + KIND_BITS)) | (T::NUMBER << PLACE_BITS) | place;
    PLACES_OF_ALL[place].what.store(Box::into_raw(Box::new(what)).cast(), Relaxed);
    PLACES_OF_ALL[place].handle.store(handle, Release);
    Ok(std::ptr::without_provenance_mut(handle))
}

#[inline(always)]
fn look<T: Kind>(handle: *const T::Opaque) -> Result<NonNull<T>, Failure> {
    let number = handle.addr();
    let place = &PLACES_OF_ALL[number % PLACES];
    let is_kind = (number >> PLACE_BITS) % (1 << KIND_BITS) == T::NUMBER;
    if place.handle.load(Acquire) != number || !is_kind {
        return Err(no_handle(number, is_kind));
    }
    // SAFETY: stored before the handle was, and taken away by whoever closes it alone, with nobody else in a call.
    Ok(unsafe { NonNull::new_unchecked(place.what.load(Relaxed).cast()) })
}

/// What a handle leads to: there until it is closed, which by the header no thread does while another is in a call on it.
#[inline(always)]
pub fn find<'a, T: Kind>(handle: *const T::Opaque) -> Result<&'a T, Failure> {
    let what = look::<T>(handle)?;
    // SAFETY: made by `give` of this kind, as the handle says; for how long, see above.
    Ok(unsafe { what.as_ref() })
}

/// Closes a handle, and returns what it led to. NULL is nothing to close.
pub fn take<T: Kind>(handle: *mut T::Opaque) -> Result<Option<Box<T>>, Failure> {
    if handle.is_null() {
        return Ok(None);
    }
    let number = handle.addr();
    let what = look::<T>(handle)?;
    let place = &PLACES_OF_ALL[number % PLACES];
    // Of two threads that close it at once one does.
    if place.handle.compare_exchange(number, 0, Acquire, Relaxed).is_err() {
        return Err(no_handle(number, true));
    }
    // SAFETY: made by `give` from a box of this kind, as the handle says, and taken out of the table just now.
    let what = unsafe { Box::from_raw(what.as_ptr()) };
    let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    free.before.push((number % PLACES, number >> (PLACE_BITS + KIND_BITS)));
    Ok(Some(what))
}

#[cold]
fn no_handle(number: usize, is_kind: bool) -> Failure {
    let words = match (number, is_kind) {
        (0, _) => "NULL is no handle",
        (_, false) => "a handle of another kind, or none at all",
        (_, true) => "a handle that was closed",
    };
    Failure::Ours(ANTIPHON_ERROR_BAD_HANDLE, words)
}

/// What one thread uses at a time, by the header. Who comes while another is in a call is told, but for those who come
/// within the same nanoseconds.
pub struct Alone<T> {
    is_used: AtomicBool,
    inside: UnsafeCell<T>,
}

impl<T> Alone<T> {
    pub const fn new(inside: T) -> Self {
        Alone { is_used: AtomicBool::new(false), inside: UnsafeCell::new(inside) }
    }

    #[inline]
    pub fn enter(&self) -> Result<Within<'_, T>, Failure> {
        // Relaxed: no lock. A call that panicked never comes out again.
        if self.is_used.load(Relaxed) {
            return Err(is_used());
        }
        self.is_used.store(true, Relaxed);
        Ok(Within(self))
    }
}

#[cold]
fn is_used() -> Failure {
    Failure::Ours(ANTIPHON_ERROR_BUSY, "another thread is in a call on this handle, or the library failed in one")
}

/// In a call.
pub struct Within<'a, T>(&'a Alone<T>);

impl<T> Deref for Within<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: one thread is in a call, by the header.
        unsafe { &*self.0.inside.get() }
    }
}

impl<T> DerefMut for Within<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above.
        unsafe { &mut *self.0.inside.get() }
    }
}

impl<T> Drop for Within<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.0.is_used.store(false, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One(u32);
    struct Other;
    impl Kind for One {
        type Opaque = ();
        const NUMBER: usize = 14;
    }
    impl Kind for Other {
        type Opaque = ();
        const NUMBER: usize = 15;
    }

    #[test]
    fn a_closed_handle_is_known_though_its_place_is_another_ones_by_now() {
        let first = give(One(1)).unwrap();
        assert_eq!(find::<One>(first).unwrap().0, 1);
        assert!(find::<Other>(first).is_err());
        assert_eq!(take::<One>(first).unwrap().unwrap().0, 1);
        assert!(take::<One>(first).is_err());
        let second = give(One(2)).unwrap();
        assert!(find::<One>(first).is_err());
        assert!(find::<One>(std::ptr::without_provenance(second.addr() + 1)).is_err());
        take::<One>(second).unwrap();
        assert!(find::<One>(std::ptr::null()).is_err());
        assert!(find::<One>(std::ptr::without_provenance(usize::MAX)).is_err());
    }

    #[test]
    fn who_comes_while_another_is_in_a_call_is_told() {
        let alone = Alone::new(1);
        let mut within = alone.enter().unwrap();
        *within += 1;
        assert!(alone.enter().is_err());
        drop(within);
        assert_eq!(*alone.enter().unwrap(), 2);
    }
}
