//! Removing what the dead have left, for the census: at the door, and only what is still what was looked at.

use super::Anchor;
use super::door::{Door, remove_names, system};
use super::look::{Found, What};
use super::platform;
use crate::error::Error;
use crate::name::Name;
use std::ffi::OsStr;
use std::time::Duration;

/// How long to wait for the door: who is stopped there keeps one name from being cleared and not the others.
const PATIENCE: Duration = Duration::from_millis(200);

/// Takes all names of a region away, or of what is left of one, if `confirm` finds at the door what it wants.
///
/// No mark *removed* is set: who may be killed here leaves a region without semaphores, which is as much left over.
pub(crate) fn clear(name: &Name, confirm: impl Fn(&Found) -> Result<(), Error>) -> Result<(), Error> {
    let system_name = name.region();
    loop {
        let anchor = Anchor::find(&system_name).map_err(|e| system(name, "shm_open", e))?;
        let Some(anchor) = anchor else { return Ok(()) };
        let _door = Door::enter(&anchor, name, PATIENCE)?;
        // Its number is not drawn for this: it is looked for as it was looked at.
        if anchor.probe(&system_name).map_err(|e| system(name, "shm_open", e))?.is_none() {
            continue; // Removed while we waited.
        }
        let stem = name.stem();
        let found = platform::find(OsStr::new(&stem)).map_err(|e| system(name, "open", e))?;
        let Some(found) = found else { return Ok(()) };
        confirm(&found)?;
        return remove_names(name, &anchor, None);
    }
}

/// Takes semaphores away whose region is gone. An empty region stands in for it meanwhile: it has the door. False where
/// somebody has made the region anew, and with it the semaphores.
pub(crate) fn clear_semaphores(name: &Name) -> Result<bool, Error> {
    let system_name = name.region();
    let anchor = Anchor::find_or_make(&system_name, 0o600).map_err(|e| system(name, "shm_open", e))?;
    let _door = Door::enter(&anchor, name, PATIENCE)?;
    // Semaphores that this user may not remove, say: an empty region of this one's would be in their owner's way.
    let undo = |_: &Error| drop(anchor.undo(&system_name));
    let probe = anchor.probe(&system_name).map_err(|e| system(name, "shm_open", e)).inspect_err(undo)?;
    if probe.is_none() {
        return Ok(false);
    }
    let stem = name.stem();
    match platform::find(OsStr::new(&stem)).map_err(|e| system(name, "open", e)).inspect_err(undo)? {
        Some(Found { what: What::Memory, len: 0, is_marked: true, .. }) => {
            remove_names(name, &anchor, None).map(|()| true).inspect_err(undo)
        }
        _ => Ok(false),
    }
}

/// Takes a file away that glibc left in the middle of `sem_open`; `confirm` looks at it once more.
pub(crate) fn clear_unnamed(name: &str, confirm: impl Fn(&Found) -> Result<(), Error>) -> Result<(), Error> {
    let found = platform::find(OsStr::new(name)).map_err(|e| Error::system(name, "open", e))?;
    let Some(found) = found else { return Ok(()) };
    confirm(&found)?;
    platform::unlink_unnamed(name).map_err(|e| Error::system(name, "unlink", e))
}
