//! Copies between private and shared memory that the compiler cannot see through.
//!
//! Another process may write the shared side at any moment. For the language that is a race, and a race in code that
//! the compiler sees is undefined behaviour. So each copy is made by something that it does not see into: the C
//! library's `memcpy`, reached through a pointer that the compiler cannot follow, or a loop in assembly. What comes
//! out of shared memory is then an ordinary copy, which nobody else can change while it is checked.
//!
//! Memory that goes to and fro between two processors is dearest where a line is to be *written* while the other
//! processor still has a copy of it: that copy has to be taken away first. So [`take`], which copies out what the
//! other end has written, writes a word of each line back, as it was. Thereby it owns the line, alone, and the line
//! goes to the other end in one step when that writes to it again. It may only be used where the caller owns the
//! bytes: nobody else reads or writes them meanwhile, so that writing back what stood there changes nothing for anyone.
//! A forked child owns none: its parent goes on with them.

#![allow(unsafe_code)] // One of the homes of unsafe, see CONTRIBUTING.

use libc::{c_void, size_t};
use std::hint::black_box;

#[cfg(target_arch = "x86_64")]
pub(crate) use super::copy_x86_64::{read, take};
#[cfg(not(target_arch = "x86_64"))]
pub(crate) use plain::{read, take};

type Memcpy = unsafe extern "C" fn(*mut c_void, *const c_void, size_t) -> *mut c_void;

/// From here on a message does not fit into a processor's cache, with what it was made from.
const PAST_CACHE: usize = 16 << 20;

/// Where a copy goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Into the cache, where it will be wanted soon.
    Cache,
    /// Past the cache, which it is too long for.
    Memory,
}

impl Target {
    /// Where a message of `len` bytes goes.
    pub(crate) fn of(len: usize) -> Self {
        if len < PAST_CACHE { Target::Cache } else { Target::Memory }
    }
}

/// Copies `len` bytes from or to shared memory.
///
/// # Safety
/// `from` starts `len` mapped bytes, `to` starts `len` writable ones; the two do not overlap.
#[inline]
pub(crate) unsafe fn copy(to: *mut u8, from: *const u8, len: usize) {
    let memcpy = black_box(libc::memcpy as Memcpy);
    // SAFETY: the caller's word.
    unsafe { memcpy(to.cast(), from.cast(), len) };
}

/// What a processor does that we have not measured.
#[cfg(not(target_arch = "x86_64"))]
mod plain {
    use super::{Target, copy};

    /// Copies `len` bytes out of shared memory that the other end has written.
    ///
    /// # Safety
    /// As [`copy`].
    #[inline]
    pub(crate) unsafe fn take(to: *mut u8, from: *mut u8, len: usize, _target: Target) {
        // SAFETY: the caller's word.
        unsafe { copy(to, from, len) };
    }

    /// Copies `len` bytes out of shared memory, and leaves that as it is: several may read it.
    ///
    /// # Safety
    /// As [`copy`].
    #[inline]
    pub(crate) unsafe fn read(to: *mut u8, from: *const u8, len: usize, _target: Target) {
        // SAFETY: the caller's word.
        unsafe { copy(to, from, len) };
    }
}
