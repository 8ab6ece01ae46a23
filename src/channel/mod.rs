//! The channel: call and answer between exactly two processes, at the least latency there is.
//!
//! One region of shared memory, 4 MiB unless asked otherwise, and two bells to wake by. A [`Publisher`] publishes or
//! calls, a [`Consumer`] consumes and replies, turn by turn.
//!
//! # Which floor
//!
//! For one pair of programs that call and answer, this one. It waits on threads: a program that waits in `poll` or in
//! an async runtime, and a server with many connections, want endpoints; a pool of workers wants block files. Both
//! stand on this one and are not built yet; until then a server gives each caller a private channel, as the example
//! `many_callers` does.
//!
//! # What it promises
//!
//! * The consumer gets exactly the bytes and the length that were published, 0 included, in order, each message once.
//! * Up to the capacity a message is one contiguous piece. A longer one comes in rounds to whoever reads it where it
//!   stands. To a consumer that waits in [`consume_into`](Consumer::consume_into), one of 32 KiB or more *flows*: one
//!   end copies in while the other copies out. So does every reply of that length.
//! * What `publish` acknowledged is not lost: it stays in the region until a consumer let go of it. A consumer that
//!   dies with a message leaves it to the next one, marked [`redelivered`](Message::redelivered).
//! * **When the peer dies** by whatever means, the survivor gets [`Error::PeerDied`] within a tenth of a second and
//!   goes on with the next peer on the same name. Nobody has to clean up.
//! * A [`private`](Channel::private) channel leaves nothing behind whatever is killed, once both ends are attached; a
//!   [`persistent`](ChannelOptions::persistent) one keeps its name and its message whoever leaves.
//! * While both ends are busy there is no system call; while both wait there is no CPU used.
//!
//! `docs/recovery.md` has the table of who died where; `turn.rs` has the proof.
//!
//! # Example
//!
//! ```
//! use antiphon::Channel;
//!
//! let name = format!("doc-channel-{}", std::process::id());
//! let mut publisher = Channel::create(&name)?.publisher()?;
//! let mut consumer = Channel::open(&name)?.consumer()?; // Usually in another process.
//! let answering = std::thread::spawn(move || consumer.consume()?.reply(b"evil"));
//! assert_eq!(publisher.call(b"live")?, b"evil");
//! answering.join().unwrap()?;
//! # Ok::<(), antiphon::Error>(())
//! ```
//!
//! # Its files, in reading order
//!
//! `turn.rs` whose turn it is: the states, the edges, the proof; `progress.rs` the same for bytes that flow; `model/`
//! beside them. `layout.rs` every shared byte. `memory.rs` the region, and where messages stand. `attach.rs` what its
//! regions are; creating, opening and removing them is `sys/door.rs`. `end.rs` waiting for the turn; `flow.rs` filling
//! and draining. `publisher.rs`, `consumer.rs` the two ends, with `loan.rs` and `message.rs`. `counters.rs` what they count.
//! `options.rs` what can be chosen.

mod attach;
mod consumer;
mod counters;
mod end;
mod flow;
pub(crate) mod layout;
mod loan;
mod memory;
mod message;
#[cfg(all(test, loom))]
mod model;
mod options;
mod progress;
mod publisher;
pub(crate) mod turn;

pub use crate::sys::view::View;
pub use consumer::Consumer;
pub use loan::Loan;
pub use message::Message;
pub use options::{ChannelOptions, MAX_MESSAGE_BYTES};
pub use publisher::Publisher;

use crate::bell::Wait;
use crate::error::Error;
use crate::name::Name;
use crate::sys::deadline::Deadline;
use crate::sys::door::Intent;
use crate::sys::seat::{Care, Sitter};
use attach::Shared;
use std::sync::Arc;
use std::time::Duration;

/// An open channel, from which its ends are taken. The ends own their share: the handle may be dropped before them.
///
/// ```
/// use antiphon::Channel;
///
/// let name = format!("doc-handle-{}", std::process::id());
/// let mut publisher = Channel::create(&name)?.publisher()?;
/// let mut consumer = Channel::open(&name)?.consumer()?;
/// publisher.publish(b"in another process, as a rule")?;
/// assert_eq!(consumer.consume()?.len(), 29);
/// # Ok::<(), antiphon::Error>(())
/// ```
pub struct Channel {
    shared: Arc<Shared>,
    wait: Wait,
}

impl Channel {
    /// Makes a new channel. What the dead left under the name is removed, with any message in it.
    ///
    /// # Errors
    /// [`Error::InUse`] where a living process has it; [`Error::HoldsMessage`] where it is persistent and one waits in
    /// it; [`Error::NoSpace`], with nothing left behind;
    /// [`Error::BadName`], [`Error::BadOption`], [`Error::NotAChannel`], [`Error::NotPermitted`], [`Error::Stuck`].
    pub fn create(name: &str) -> Result<Self, Error> {
        ChannelOptions::new().create(name)
    }

    /// Opens a channel that is there, and takes over what the dead left in it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Incompatible`] and [`Error::NameCollision`] where it is not the one that was
    /// meant; [`Error::SeatTaken`] where it is open 30 times already; [`Error::NotAChannel`],
    /// [`Error::NotPermitted`], [`Error::BadName`], [`Error::Stuck`].
    pub fn open(name: &str) -> Result<Self, Error> {
        ChannelOptions::new().open(name)
    }

    /// Opens the channel if it is there, makes it if not.
    ///
    /// # Errors
    /// As [`create`](Self::create) and [`open`](Self::open), but for `InUse` and `NotFound`.
    pub fn open_or_create(name: &str) -> Result<Self, Error> {
        ChannelOptions::new().open_or_create(name)
    }

    /// Makes a channel for one pair of processes: it has a name that nobody else thinks of, and loses it the moment
    /// both ends are attached. Whatever is killed from then on, nothing is left behind. Hand its [`name`](Self::name)
    /// to the process that is to open it.
    ///
    /// Once the names are gone nobody can take the place of an end that died or left, but for a process that has the
    /// channel open already: until one does, whoever has to wait for the other end gets [`Error::PeerDied`] or
    /// [`Error::Disconnected`] each time, and `is_final` in it.
    ///
    /// # Errors
    /// [`Error::NoSpace`], with nothing left behind; [`Error::NotPermitted`], [`Error::System`].
    ///
    /// ```
    /// use antiphon::{Channel, Error};
    ///
    /// let channel = Channel::private()?;
    /// let mut publisher = channel.publisher()?;
    /// let consumer = Channel::open(channel.name())?.consumer()?; // In a child process, as a rule.
    /// assert!(matches!(Channel::open(channel.name()), Err(Error::NotFound { .. })));
    /// drop(consumer);
    /// let gone = publisher.call(b"anyone?").unwrap_err();
    /// assert!(matches!(gone, Error::Disconnected { is_final: true, .. }));
    /// # Ok::<(), antiphon::Error>(())
    /// ```
    pub fn private() -> Result<Self, Error> {
        ChannelOptions::new().private()
    }

    /// Removes a channel's name. Those who are attached keep the channel and are not disturbed; nobody else can come
    /// to it. The last end to leave does this by itself, unless a message waits or the channel is persistent.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::NotAChannel`] for anything else of the name, which stays.
    pub fn unlink(name: &str) -> Result<(), Error> {
        Shared::unlink(&Name::new(name)?)
    }

    fn attach(name: Name, intent: Intent, options: ChannelOptions, flags: u32) -> Result<Self, Error> {
        let shared = Shared::attach(name, intent, options, flags)?;
        Ok(Channel { shared: Arc::new(shared), wait: options.wait })
    }

    /// Takes the publisher's seat.
    ///
    /// # Errors
    /// [`Error::SeatTaken`] with the pid of the living process that has it.
    pub fn publisher(&self) -> Result<Publisher, Error> {
        Publisher::new(Arc::clone(&self.shared), self.wait, None)
    }

    /// [`publisher`](Self::publisher) that waits for the seat until whoever has it leaves or dies, so that many may
    /// take it in turn; for ever with `Duration::MAX`. They get it in no order.
    ///
    /// # Blocking
    /// By looking, at least every 2 ms, whatever the handle's [`Wait`].
    ///
    /// # Errors
    /// [`Error::SeatTaken`] at the end of the limit, with the pid of whoever has it then; [`Error::Stuck`] where
    /// somebody is stopped in the middle of attaching.
    pub fn publisher_timeout(&self, limit: Duration) -> Result<Publisher, Error> {
        Publisher::new(Arc::clone(&self.shared), self.wait, Some(Deadline::after(limit)))
    }

    /// Takes the consumer's seat.
    ///
    /// # Errors
    /// [`Error::SeatTaken`] with the pid of the living process that has it.
    pub fn consumer(&self) -> Result<Consumer, Error> {
        Consumer::new(Arc::clone(&self.shared), self.wait, None)
    }

    /// [`consumer`](Self::consumer) that waits for the seat, as [`publisher_timeout`](Self::publisher_timeout) does;
    /// errors as there.
    pub fn consumer_timeout(&self, limit: Duration) -> Result<Consumer, Error> {
        Consumer::new(Arc::clone(&self.shared), self.wait, Some(Deadline::after(limit)))
    }

    /// Whether a living process has the consumer's seat. It may be another by the time one reads it.
    pub(crate) fn has_consumer(&self) -> Result<bool, Error> {
        let sitter = self.shared.look(turn::Side::Consumer as usize, Care::LockAndPid)?;
        Ok(matches!(sitter, Sitter::Alive { .. }))
    }

    /// The name as it was given, without a leading slash.
    pub fn name(&self) -> &str {
        self.shared.name.as_str()
    }

    /// Whether its names go as soon as both ends are attached: see [`private`](Self::private).
    pub fn is_private(&self) -> bool {
        self.shared.is_private()
    }

    /// Whether its names stay whoever leaves: see [`ChannelOptions::persistent`].
    pub fn is_persistent(&self) -> bool {
        self.shared.is_persistent()
    }

    /// The payload's bytes: a message up to this long is one piece.
    pub fn capacity(&self) -> usize {
        self.shared.memory().capacity()
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel")
            .field("name", &self.name())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}
