//! *A call, and the answer to it.* Two programs on one machine call and answer each other through shared memory, on
//! Linux and on macOS: in tenths of a microsecond while both are busy, without any CPU while both wait, and with
//! nothing to clean up when one of them is killed.
//!
//! # The map of the house
//!
//! Each room stands on those below it and never reaches up.
//!
//! | room | what is in it | stands on |
//! |---|---|---|
//! | [`census`] | what exists on this machine, who holds it, what is left over; removing that | `sys`, `channel`, `blocks` |
//! | [`engine`] | disk files to the blocks of a session and back; zeros, to measure: [`Posix`](engine::Posix) | `sys`, `blocks`, `session` |
//! | [`session`] | block files by their names, and who hosts them: [`Session`](session::Session) | `sys`, `bell`, `channel`, `blocks` |
//! | [`blocks`] | files of blocks that are claimed and completed: [`BlockFile`](blocks::BlockFile) | `sys`, `bell` |
//! | [`channel`] | the turn over one region and two bells: [`Publisher`], [`Consumer`] | `sys`, `bell` |
//! | `bell` | who sleeps on a bell, and the tick; [`Wait`] | `sys` |
//! | `limits` | what this machine can do, for measuring; feature `limits` | `sys` |
//! | `machine` | what the system says of this machine, for the command; feature `cli` | `sys` |
//! | `sys` | one file for each facility of the kernel, one for each kernel | |
//! | `name` | a checked name, and the operating system's names made from it | |
//! | `error` | the one [`Error`] | |

#![deny(unsafe_code)] // Lifted in its homes alone: `sys`, and each floor's memory module.

mod bell;
pub mod blocks;
pub mod census;
pub mod channel;
pub mod engine;
mod error;
#[cfg(feature = "limits")]
pub mod limits;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod machine;
mod name;
pub mod session;
#[cfg(feature = "steps")]
#[doc(hidden)]
pub mod steps;
mod sys;

pub use bell::Wait;
pub use channel::{Channel, ChannelOptions, Consumer, Loan, Message, Publisher, View};
pub use error::{Delivered, Error};

#[cfg(not(feature = "steps"))]
mod steps {
    /// A step at which a test may kill the process; nothing without the feature `steps`.
    macro_rules! step {
        ($step:literal) => {};
        ($side:expr, $publisher:literal, $consumer:literal) => {};
    }
    pub(crate) use step;
}
