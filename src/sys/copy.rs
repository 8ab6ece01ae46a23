//! Copies between private and shared memory that the compiler cannot see through.
//!
//! Another process may write the shared side at any moment. For the language that is a race, and a race in code that
//! the compiler sees is undefined behaviour. So the copy is made by the C library's `memcpy`, reached through a
//! pointer that the compiler cannot follow: to it the call is an unknown function in another language, which reads
//! bytes and writes bytes. What comes out of shared memory is then an ordinary copy, which nobody else can change
//! while it is checked.

#![allow(unsafe_code)] // One of the homes of unsafe, see CONTRIBUTING.

use libc::{c_void, size_t};
use std::hint::black_box;

type Memcpy = unsafe extern "C" fn(*mut c_void, *const c_void, size_t) -> *mut c_void;

#[inline]
fn memcpy() -> Memcpy {
    black_box(libc::memcpy as Memcpy)
}

/// Copies `from` to shared memory.
///
/// # Safety
/// `to` starts `from.len()` mapped, writable bytes.
#[inline]
pub(crate) unsafe fn copy_in(to: *mut u8, from: &[u8]) {
    // SAFETY: the caller vouches for `to`; `from` is a slice of that length, and private memory does not overlap a
    // shared mapping.
    unsafe { memcpy()(to.cast(), from.as_ptr().cast(), from.len()) };
}

/// Copies `len` bytes out of shared memory.
///
/// # Safety
/// `from` starts `len` mapped bytes, `to` starts `len` writable bytes of private memory.
#[inline]
pub(crate) unsafe fn copy_out(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller vouches for both; a private buffer does not overlap a shared mapping.
    unsafe { memcpy()(to.cast(), from.cast(), len) };
}
