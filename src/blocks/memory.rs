//! The region as a block file sees it: its blocks, and its state behind them.

#![allow(unsafe_code)] // One of the homes of unsafe, see CONTRIBUTING.

use super::layout::{STATE_BYTES, State};
use crate::sys::look::Snapshot;
use crate::sys::region::Mapping;

/// A mapped region. Every range is checked against what this process has mapped, never against a number that a peer
/// can write.
#[derive(Clone, Copy)]
pub(crate) struct Memory<'a>(pub(crate) &'a Mapping);

impl<'a> Memory<'a> {
    #[inline]
    pub(crate) fn state(self) -> &'a State {
        let state = self.0.at(self.0.len() - STATE_BYTES, STATE_BYTES).cast::<State>();
        // SAFETY: that many mapped bytes, at a page, for as long as the mapping is borrowed; every field is an atomic
        // or never touched, and any bytes are valid for those.
        unsafe { &*state }
    }
}

/// The state in a copy of it, which has all of its bytes.
pub(crate) fn state_of(copy: &Snapshot) -> &State {
    let state = copy.start(STATE_BYTES).cast::<State>();
    // SAFETY: so many bytes, at a page, for as long as the copy is borrowed; every field is an atomic or never touched,
    // and any bytes are valid for those.
    unsafe { &*state }
}
