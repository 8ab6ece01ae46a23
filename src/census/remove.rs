//! Removing what is left over.

use super::judge::Looker;
use super::{Entry, Kind, Sitter, State};
use crate::error::Error;
use crate::name::Name;
use crate::sys::clear;
use crate::sys::look::Found;
use std::ffi::OsStr;

/// What may be removed besides what is left over of this user's.
///
/// ```
/// use antiphon::{Channel, Error, census};
///
/// let name = format!("doc-remove-{}", std::process::id());
/// let channel = Channel::create(&name)?;
/// channel.publisher()?.publish(b"for whoever comes")?;
/// drop(channel);
///
/// let entry = census::look(&name)?;
/// let refused = entry.remove(census::RemoveOptions::new());
/// assert!(matches!(refused, Err(Error::NotRemoved { .. })));
/// entry.remove(census::RemoveOptions::new().kept(true))?;
/// assert!(matches!(census::look(&name), Err(Error::NotFound { .. })));
/// # Ok::<(), antiphon::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveOptions {
    kept: bool,
    all_users: bool,
}

impl RemoveOptions {
    /// What is left over of this user's, and nothing else.
    pub fn new() -> Self {
        RemoveOptions::default()
    }

    /// Whether what is kept on purpose may go too, with any message or block in it: [`State::Kept`].
    pub fn kept(self, kept: bool) -> Self {
        RemoveOptions { kept, ..self }
    }

    /// Whether what other users own may go too, as far as the system permits it.
    pub fn all_users(self, all_users: bool) -> Self {
        RemoveOptions { all_users, ..self }
    }

    /// Why an entry is not to be removed.
    fn refusal(self, entry: &Entry) -> Option<Error> {
        let not_removed = |why: String| Error::NotRemoved { name: entry.name.clone(), why };
        let why = match entry.state {
            State::LeftOver => None,
            State::Kept if self.kept => None,
            State::Kept => Some(format!("{}; ask for what is kept too", entry.why)),
            State::InUse => {
                let pid = entry.seats().find_map(|seat| seat.pid.filter(|_| seat.sitter == Sitter::Alive));
                return Some(Error::InUse { name: entry.name.clone(), pid: pid.unwrap_or(0) });
            }
            State::Changing => return Some(Error::Stuck { name: entry.name.clone() }),
            State::Unreadable | State::Foreign => Some(entry.why.clone()),
        };
        let anothers = || format!("it belongs to user {}; ask for all users' too", entry.owner);
        let why = why.or_else(|| (!entry.is_mine && !self.all_users).then(anothers));
        why.map(not_removed)
    }
}

impl Entry {
    /// Removes it, if it is still what it was when it was looked at. Gone already is as good as removed.
    ///
    /// # Errors
    /// [`Error::NotRemoved`] where it is kept, another user's, not antiphon's, or another one by now;
    /// [`Error::InUse`] where somebody holds it; [`Error::Stuck`] where its door stays closed for a fifth of a second;
    /// [`Error::NotPermitted`].
    pub fn remove(&self, options: RemoveOptions) -> Result<(), Error> {
        // What is changing may have settled by now.
        if self.state != State::Changing {
            options.refusal(self).map_or(Ok(()), Err)?;
        }
        let another = || {
            let why = "another one has its name by now; look again".to_owned();
            Error::NotRemoved { name: self.name.clone(), why }
        };
        let confirm = |found: &Found| {
            let now = Looker::at_the_door().judge(OsStr::new(&self.system_name), found)?;
            if now.identity != self.identity {
                return Err(another());
            }
            options.refusal(&now).map_or(Ok(()), Err)
        };
        let stem = |stem| Name::of_stem(stem).ok_or_else(another);
        match self.kind {
            Kind::UnnamedSemaphore => clear::clear_unnamed(&self.system_name, confirm),
            Kind::Semaphores if !clear::clear_semaphores(&stem(&self.name)?)? => Err(another()),
            Kind::Semaphores => Ok(()),
            _ => clear::clear(&stem(&self.system_name)?, confirm),
        }
    }
}
