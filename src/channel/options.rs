//! What a channel can be asked to be.

use super::Channel;
use super::layout::HEADER_BYTES;
use crate::bell::Wait;
use crate::error::Error;
use crate::name::Name;
use crate::sys;
use crate::sys::door::Intent;
use crate::sys::layout::{PERSISTENT, PRIVATE};
use crate::sys::region::GRANULE;

/// The longest message or reply: 64 TiB, which no memory holds and every sum of lengths does.
pub const MAX_MESSAGE_BYTES: u64 = 1 << 46;

/// How a channel is made and how its ends wait. A plain value; each method returns it changed.
///
/// ```
/// use antiphon::{ChannelOptions, Wait};
///
/// let name = format!("doc-options-{}", std::process::id());
/// let channel = ChannelOptions::new().capacity(64 * 1024).wait(Wait::Park).create(&name)?;
/// assert_eq!(channel.capacity(), 64 * 1024);
/// # Ok::<(), antiphon::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct ChannelOptions {
    pub(crate) capacity: usize,
    pub(crate) wait: Wait,
    pub(crate) mode: u32,
    pub(crate) persistent: bool,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl ChannelOptions {
    /// 4 MiB, for this user alone, not persistent, waiting as [`Wait::Adaptive`] says.
    pub const fn new() -> Self {
        ChannelOptions { capacity: 4 * 1024 * 1024, wait: Wait::Adaptive, mode: 0o600, persistent: false }
    }

    /// The payload's bytes: a message up to this long is one piece. A multiple of 64 KiB. Whoever creates the channel
    /// decides; on open it is the channel's own.
    pub const fn capacity(mut self, bytes: usize) -> Self {
        self.capacity = bytes;
        self
    }

    /// How the ends taken from this handle wait.
    pub const fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// The permission bits of what is created, `0o600` unless set. Whoever may write the region is trusted not to
    /// truncate it.
    pub const fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Whether what is created keeps its name whoever leaves it, until [`Channel::unlink`]. Its message waits for the
    /// next consumer even across [`Channel::create`], which refuses to lose it; and that the other end left is no
    /// news: `Disconnected` does not come. On open it is the channel's own.
    ///
    /// ```
    /// use antiphon::{Channel, ChannelOptions, Error};
    ///
    /// let name = format!("doc-persistent-{}", std::process::id());
    /// let options = ChannelOptions::new().persistent(true);
    /// options.create(&name)?.publisher()?.publish(b"for whoever comes")?; // Everybody has left now.
    /// assert!(matches!(options.create(&name), Err(Error::HoldsMessage { .. })));
    /// assert_eq!(Channel::open(&name)?.consumer()?.consume()?.to_vec()?, b"for whoever comes");
    /// Channel::unlink(&name)?;
    /// # Ok::<(), antiphon::Error>(())
    /// ```
    pub const fn persistent(mut self, persistent: bool) -> Self {
        self.persistent = persistent;
        self
    }

    /// [`Channel::create`] with these options; errors as there.
    pub fn create(self, name: &str) -> Result<Channel, Error> {
        Channel::attach(Name::new(name)?, Intent::Create, self, self.flags())
    }

    /// [`Channel::open`] with these options; errors as there.
    pub fn open(self, name: &str) -> Result<Channel, Error> {
        Channel::attach(Name::new(name)?, Intent::Open, self, self.flags())
    }

    /// [`Channel::open_or_create`] with these options; errors as there.
    pub fn open_or_create(self, name: &str) -> Result<Channel, Error> {
        Channel::attach(Name::new(name)?, Intent::OpenOrCreate, self, self.flags())
    }

    /// [`Channel::private`] with these options; errors as there, and [`Error::BadOption`] where they say persistent.
    pub fn private(self) -> Result<Channel, Error> {
        if self.persistent {
            let wanted = "0 for a private channel, whose names go as soon as both ends are attached";
            return Err(Error::BadOption { option: "persistent", given: 1, wanted });
        }
        loop {
            // Somebody may have drawn the same number: it will not happen twice.
            match Channel::attach(Name::private(sys::nonce()), Intent::Create, self, PRIVATE) {
                Err(Error::InUse { .. } | Error::HoldsMessage { .. }) => {}
                made => return made,
            }
        }
    }

    fn flags(&self) -> u32 {
        if self.persistent { PERSISTENT } else { 0 }
    }

    /// The whole region's length, if the options can be met.
    pub(crate) fn region_bytes(&self) -> Result<usize, Error> {
        let bad = |option, given: u64, wanted| Error::BadOption { option, given, wanted };
        let wanted = "a multiple of 65536 from 65536 up to what the address space holds";
        let is_whole = self.capacity >= GRANULE && self.capacity % GRANULE == 0;
        let total = self.capacity.checked_add(HEADER_BYTES);
        match total {
            Some(total) if is_whole && isize::try_from(total).is_ok() => {}
            _ => return Err(bad("capacity", self.capacity as u64, wanted)),
        }
        if self.mode & !0o777 != 0 || self.mode & 0o600 != 0o600 {
            let wanted = "permission bits that let the owner read and write";
            return Err(bad("mode", u64::from(self.mode), wanted));
        }
        Ok(self.capacity + HEADER_BYTES)
    }
}
