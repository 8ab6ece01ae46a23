//! What C hands in: pointers that may be NULL, lengths that may be anything, options of other versions.

use crate::error::{Failure, bad_argument};
use std::ffi::{CStr, c_char, c_void};
use std::ptr::NonNull;
use std::time::Duration;

/// The bytes that the caller has.
///
/// # Safety
/// `data` starts `len` readable bytes that nobody changes before the caller's function returns, or is NULL.
#[inline]
pub unsafe fn bytes<'a>(data: *const c_void, len: usize) -> Result<&'a [u8], Failure> {
    if len == 0 {
        return Ok(&[]);
    }
    if data.is_null() || isize::try_from(len).is_err() {
        return Err(bad_argument("NULL where bytes were to be, or a length that no memory has"));
    }
    // SAFETY: not NULL, of a length that can be; the rest is the caller's word.
    Ok(unsafe { std::slice::from_raw_parts(data.cast(), len) })
}

/// A text that ends in NUL.
///
/// # Safety
/// NULL, or a text that ends in NUL and that nobody changes before the caller's function returns.
pub unsafe fn text<'a>(text: *const c_char) -> Result<&'a CStr, Failure> {
    if text.is_null() {
        return Err(bad_argument("NULL where a text was to be"));
    }
    // SAFETY: not NULL; the rest is the caller's word.
    Ok(unsafe { CStr::from_ptr(text) })
}

/// Where an answer is to go.
#[inline]
pub fn place<T>(to: *mut T) -> Result<NonNull<T>, Failure> {
    match NonNull::new(to) {
        Some(to) if to.is_aligned() => Ok(to),
        _ => Err(bad_argument("NULL, or what is not aligned, where an answer was to be put")),
    }
}

pub fn limit(nanoseconds: u64) -> Duration {
    Duration::from_nanos(nanoseconds)
}

/// Options as this version knows them, all zero unless asked otherwise.
///
/// # Safety
/// `T` is plain integers, of which all zeros is a value, and the first says how many bytes there are. `options` is NULL,
/// or starts as many readable bytes as its first field says.
pub unsafe fn options<T: Copy>(options: *const T) -> Result<T, Failure> {
    // SAFETY: plain integers.
    let mut ours: T = unsafe { std::mem::zeroed() };
    if options.is_null() {
        return Ok(ours);
    }
    // SAFETY: not NULL; the rest is the caller's word. C aligns it, but that need not be relied on.
    let size = unsafe { options.cast::<usize>().read_unaligned() };
    if !(size_of::<usize>()..=4096).contains(&size) {
        return Err(bad_argument("options whose `size` is not their sizeof"));
    }
    // SAFETY: so many bytes there are, by the caller's word; as many of ours are written as we have.
    unsafe { options.cast::<u8>().copy_to((&raw mut ours).cast(), size.min(size_of::<T>())) };
    for at in size_of::<T>()..size {
        // SAFETY: at < size.
        let byte = unsafe { options.cast::<u8>().add(at) };
        // SAFETY: as above.
        if unsafe { byte.read() } != 0 {
            return Err(bad_argument("options of a later version, of which this one knows nothing"));
        }
    }
    Ok(ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy)]
    #[repr(C)]
    struct Known {
        size: usize,
        first: u64,
        second: u64,
    }

    #[test]
    fn options_of_other_versions_are_read_as_far_as_they_say() {
        let theirs = [16, 7, 8, 9u64];
        let read = |theirs: &[u64; 4]| {
            // SAFETY: more than any size says here.
            unsafe { options::<Known>(theirs.as_ptr().cast()) }.map(|known| (known.first, known.second))
        };
        if size_of::<usize>() == 8 {
            assert_eq!(read(&theirs).unwrap(), (7, 0), "an earlier one has no second");
            assert_eq!(read(&[24, 7, 8, 9]).unwrap(), (7, 8));
            assert_eq!(read(&[32, 7, 8, 0]).unwrap(), (7, 8), "nothing is asked of what is not known");
            assert!(read(&[32, 7, 8, 9]).is_err());
            assert!(read(&[0, 7, 8, 9]).is_err());
            assert!(read(&[u64::MAX, 7, 8, 9]).is_err());
        }
        // SAFETY: NULL.
        assert_eq!(unsafe { options::<Known>(std::ptr::null()) }.unwrap().size, 0);
    }
}
