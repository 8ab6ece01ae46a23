//! Engines: what stands at the other side of a session's file. A disk file, a directory, a pipe, or zeros.
//!
//! ```
//! use antiphon::engine::{Folder, Posix};
//! use antiphon::session::{Session, SessionOptions};
//!
//! # let scratch = std::env::temp_dir().join(format!("antiphon-doc-engine-{}", std::process::id()));
//! # std::fs::create_dir_all(scratch.join("to"))?;
//! # let (from, to) = (scratch.join("frames.raw"), scratch.join("to"));
//! let host = SessionOptions::new().host()?;
//! let session = Session::connect(host.id())?;
//! std::fs::write(&from, b"a frame")?;
//!
//! // One process sends a path under a name...
//! let sender = std::thread::spawn(move || Posix::new().send(&session, &from, b"frames.raw"));
//! // ... and another receives the name into a directory.
//! let moved = Posix::new().receive(&session, b"frames.raw", &Folder::open(&to)?)?;
//!
//! assert_eq!((moved.bytes, sender.join().unwrap()?.bytes), (7, 7));
//! assert_eq!(std::fs::read(to.join("frames.raw"))?, b"a frame");
//! # std::fs::remove_dir_all(scratch)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Which floor
//!
//! For whoever moves files. Who fills or reads the blocks itself takes a [session](crate::session); an engine at one
//! side and an application at the other go together: a file's blocks have their places in it.
//!
//! # What it promises
//!
//! * The kernel reads into the block's memory, and writes out of it: there is no second copy.
//! * **Holes stay holes**, also the one at the end. Of a file only its data is sent.
//! * **No partial file under its final name.** It is written under a name that begins with `.antiphon-`, and renamed when
//!   all of it is there. If anything fails, that one is removed.
//! * **Nothing is written but below the directory**: no absolute name, no `..`, through no symlink, to no device.
//! * A file that grows, shrinks or is written to while it is being sent is [`Error::Changed`](crate::Error::Changed),
//!   to both sides.
//! * Several processes may receive one file into one directory: each writes what comes to it, and whoever comes to the
//!   end renames it. Into two directories is [`Error::Elsewhere`](crate::Error::Elsewhere) to the second.
//!
//! # Peer death
//!
//! *A receiver dies:* its blocks go to the next one, and so does what it has written, if the next one receives into the
//! same directory; the sender waits for it for as long as its [patience](Posix::patience), then it fails and the file is
//! cancelled. *A sender dies:* the receiver fails at once, and the next sender of that name begins anew. *The host
//! dies:* who has the file open goes on. What a receiver leaves that nobody takes over is removed by the next one that
//! writes to that directory, once its file is gone from the session.
//!
//! What was renamed is in the kernel's hands, not on the disk: whoever needs that calls `sync`.
//!
//! # Its files, in reading order
//!
//! `posix.rs` what one can ask; `ends.rs` the two sides of a file; `folder.rs` names below a directory, and what is half
//! written; `tree.rs` directories; `stream.rs` pipes; `note.rs` what travels beside the bytes; `dummy.rs` zeros.

pub mod dummy;
mod ends;
mod folder;
mod note;
mod posix;
mod stream;
mod tree;

pub use folder::Folder;
pub use note::{About, Kind};
pub use posix::{Moved, Posix};

use std::time::Duration;

/// How long one waits before one looks whether anybody is there.
const LOOK: Duration = Duration::from_millis(200);
/// How long one waits before one asks again.
const LAST_PAUSE: Duration = Duration::from_millis(20);
