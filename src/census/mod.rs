//! What channels, sessions and block files exist on this machine: who holds them, since when, whose turn it is and what became of
//! each block, how much has gone through; what is left over, and why it may be removed. And removing that.
//!
//! For whoever looks after a machine, and for programs that clear up behind others. A channel or a block file needs none
//! of it: whatever the dead leave under a name, the next `create` or `open` of that name deals with.
//!
//! **Looking disturbs nobody.** No door is taken, nothing is mapped or written, no process is stopped for it. So what is
//! said here may be stale by the time one reads it, and of what changes while one looks, a part may be the old and a
//! part the new. Bytes of a region are input: a name that could not have been given is not shown, a number means
//! nothing but itself.
//!
//! **Removing** comes to the door, as `create` does, and looks once more there: nothing that lives is ever removed, and
//! nothing but what was looked at. What another user owns, and what is kept on purpose (a persistent channel, one in
//! which a message waits, a block file with blocks that nobody has read), is removed only where [`RemoveOptions`] say
//! so.
//!
//! **What the systems list.** Linux lists all shared memory and all semaphores in `/dev/shm`. macOS lists none: there
//! the census goes by this user's registry, has no other user's regions, and no semaphore without its region.
//!
//! # Example
//!
//! ```
//! use antiphon::{Channel, census};
//!
//! let name = format!("doc-census-{}", std::process::id());
//! let publisher = Channel::create(&name)?.publisher()?;
//! let all = census::take()?;
//! let entry = all.iter().find(|entry| entry.name == name).unwrap();
//! assert_eq!(entry.state, census::State::InUse);
//! assert_eq!(entry.channel.as_ref().unwrap().publisher.pid, Some(std::process::id()));
//! # Ok::<(), antiphon::Error>(())
//! ```
//!
//! # Its files, in reading order
//!
//! `mod.rs` what there is to say of a thing; `judge.rs` how it is found out, with `sight.rs` for what stands in
//! a channel and `block_file.rs` for a block file; `remove.rs` removing it.

mod block_file;
mod judge;
mod remove;
mod sight;

pub use block_file::{Block, BlockFile, BlockState, FileEnd, Handle};
pub use remove::RemoveOptions;

use crate::error::Error;
use crate::name::Name;
use std::time::SystemTime;

/// What kind of thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A channel.
    Channel,
    /// A session: the channel by which it is asked. By its name, since whoever calls that session comes to it.
    Session,
    /// A block file.
    BlockFile,
    /// A region that nobody has finished making: what it was to be is not known.
    HalfMade,
    /// Semaphores whose region is gone.
    Semaphores,
    /// A semaphore's file that the C library had not yet given its name.
    UnnamedSemaphore,
    /// A name in the registry without a region (macOS).
    RegistryFile,
    /// None of antiphon's.
    Other,
}

/// How things stand with it. [`Entry::why`] has the reason in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// A living process holds it.
    InUse,
    /// Somebody is at its door: creating, opening or removing it.
    Changing,
    /// Nobody holds it, and it is kept on purpose: persistent, or a message waits in it, or a block that nobody has read.
    Kept,
    /// Nobody holds it and nobody will miss it.
    LeftOver,
    /// Another user's, who lets nobody look; or the system would not let it be looked at.
    Unreadable,
    /// Not antiphon's, or of another version: never touched.
    Foreign,
}

/// Who sits in a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Sitter {
    /// Nobody was ever there.
    Nobody,
    /// A living process.
    Alive,
    /// A process that is dead.
    Dead,
    /// Nobody: the last one left in order.
    Left,
}

/// A seat: of one of the two ends, or of somebody who has the region open.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seat {
    /// Who sits there.
    pub sitter: Sitter,
    /// The process that sits there or did last, as its own pid namespace knows it. `None` while the seat is being
    /// taken.
    pub pid: Option<u32>,
    /// Since when it has sat there, or when it sat down.
    pub since: Option<SystemTime>,
}

/// One of a channel's two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// Who publishes and calls.
    Publisher,
    /// Who consumes and replies.
    Consumer,
}

/// Whose turn it is, and what stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Turn {
    /// Who may touch the payload now.
    pub end: End,
    /// What stands there, in words.
    pub content: &'static str,
    /// The length of what stands there.
    pub len_bytes: u64,
    /// Whether a consumer had the message before.
    pub is_redelivered: bool,
    /// Whether who waited for the turn has given up.
    pub is_abandoned: bool,
    /// Whether the publisher sleeps until its turn comes.
    pub publisher_sleeps: bool,
    /// Whether the consumer does.
    pub consumer_sleeps: bool,
    /// How often the turn was passed.
    pub passings: u64,
}

/// What one end has counted since the channel was made, whoever sat there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Messages published, or consumed; calls are messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Replies received, or given.
    pub replies: u64,
    /// Their bytes.
    pub reply_bytes: u64,
    /// How often it went to sleep.
    pub sleeps: u64,
    /// Since when it has been waiting; `None` while it does not.
    pub waiting_since: Option<SystemTime>,
}

/// What there is to say of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Channel {
    /// Bytes of its payload.
    pub capacity: u64,
    /// Whether its names go as soon as both ends are attached.
    pub is_private: bool,
    /// Whether its names stay, whoever leaves.
    pub is_persistent: bool,
    /// The process that made it.
    pub maker_pid: u32,
    /// When it was made.
    pub made_at: Option<SystemTime>,
    /// The publisher's seat.
    pub publisher: Seat,
    /// The consumer's seat.
    pub consumer: Seat,
    /// Everybody who has it open, or had it open last, seat by seat: who sits at an end too.
    pub handles: Vec<Seat>,
    /// Whose turn it is.
    pub turn: Turn,
    /// What the publisher has counted.
    pub published: Counters,
    /// What the consumer has counted.
    pub consumed: Counters,
}

impl Channel {
    /// Both ends' seats, the publisher's first, and then everybody's who has it open.
    pub fn seats(&self) -> impl Iterator<Item = &Seat> {
        [&self.publisher, &self.consumer].into_iter().chain(&self.handles)
    }
}

/// One thing that exists. All of it may be stale by the time one reads it.
///
/// ```
/// use antiphon::{Channel, census};
///
/// let name = format!("doc-entry-{}", std::process::id());
/// let channel = Channel::create(&name)?;
/// let entry = census::look(&name)?;
/// assert_eq!(entry.kind, census::Kind::Channel);
/// assert_eq!(entry.channel.unwrap().capacity, channel.capacity() as u64);
/// assert!(entry.why.contains(&std::process::id().to_string()), "{}", entry.why);
/// # Ok::<(), antiphon::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The name as its maker gave it; the system's where that is not known. It has no control characters.
    pub name: String,
    /// The system's name, without a slash. It has no control characters.
    pub system_name: String,
    /// What kind of thing it is.
    pub kind: Kind,
    /// How things stand with it.
    pub state: State,
    /// Why it is in that state: in words, to stand behind "because".
    pub why: String,
    /// The user whose it is, by number; `u32::MAX`, which is nobody's, where the system would not say.
    pub owner: u32,
    /// Whether that is the user who asks.
    pub is_mine: bool,
    /// Bytes of shared memory.
    pub len_bytes: u64,
    /// The session's number, where it is a session or a block file: whatever has the same one belongs together.
    pub session: Option<u64>,
    /// More of it, where it is a channel that this version can read: a session's too.
    pub channel: Option<Channel>,
    /// More of it, where it is a block file that this version can read.
    pub block_file: Option<BlockFile>,
    /// What it has to be still when it is removed.
    identity: Identity,
}

impl Entry {
    /// Everybody's seats who has it open, or had it open last, as far as it can be read.
    pub fn seats(&self) -> impl Iterator<Item = &Seat> {
        let channels = self.channel.iter().flat_map(Channel::seats);
        channels.chain(self.block_file.iter().flat_map(BlockFile::seats))
    }
}

/// By what a thing is known again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    id: u64,
    nonce: u64,
}

/// Everything that exists, sorted by name: other users' and what is none of antiphon's too.
///
/// ```
/// use antiphon::census::{self, State};
///
/// for entry in census::take()? {
///     if entry.state == State::LeftOver {
///         println!("{}: left over because {}", entry.name, entry.why);
///     }
/// }
/// # Ok::<(), antiphon::Error>(())
/// ```
///
/// # Errors
/// Where the system lists nothing at all: [`Error::System`], [`Error::NotPermitted`].
pub fn take() -> Result<Vec<Entry>, Error> {
    judge::everything()
}

/// What has one name.
///
/// ```
/// use antiphon::{Error, census};
///
/// let nothing = census::look("nobody-made-this");
/// assert!(matches!(nothing, Err(Error::NotFound { .. })));
/// ```
///
/// # Errors
/// [`Error::NotFound`]; [`Error::BadName`]; where the system refuses to answer, [`Error::System`].
pub fn look(name: &str) -> Result<Entry, Error> {
    let name = Name::new(name)?;
    judge::one(&name)?.ok_or_else(|| Error::NotFound { name: name.to_string() })
}
