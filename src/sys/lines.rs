//! Bare lines of shared memory, for measuring what the machine can do: nothing of them is a protocol.

#![allow(unsafe_code)] // One of the homes of unsafe, see CONTRIBUTING.

use super::region::Mapping;
use std::sync::atomic::AtomicU64;

/// A flag and room for 64 bytes behind it: two cache lines, and 128 bytes from the next so that no two of these travel
/// together.
#[repr(C, align(128))]
pub(crate) struct Line {
    pub(crate) flag: AtomicU64,
    pub(crate) words: [AtomicU64; 8],
}

/// What a pair of measuring processes shares.
#[repr(C)]
pub(crate) struct Board {
    /// What the partner shall do next.
    pub(crate) order: [AtomicU64; 8],
    pub(crate) lines: [Line; 2],
}

impl Board {
    /// The board at the start of a mapping.
    pub(crate) fn of(mapping: &Mapping) -> &Board {
        let board = mapping.at(0, size_of::<Board>()).cast::<Board>();
        // SAFETY: that many mapped bytes, at a page; every field is an atomic, for which any bytes are valid.
        unsafe { &*board }
    }
}
