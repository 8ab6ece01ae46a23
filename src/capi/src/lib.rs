//! The C face of antiphon: `include/antiphon.h` is made of this, and `docs/c.md` tells how it is used.
//!
//! Only what the crate makes public is used. Each function checks what it is handed, does what the crate's does, and
//! returns a number; none unwinds. `error.rs` has the numbers, `handle.rs` what stands behind a handle, `arguments.rs`
//! what C hands in; `channel.rs`, `publisher.rs`, `consumer.rs` are the channel, `session.rs`, `file.rs` the block files.

mod arguments;
mod channel;
mod consumer;
mod error;
mod file;
mod handle;
mod publisher;
mod session;

/// The library's version, such as "0.1.0". Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn antiphon_version() -> *const std::ffi::c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
