//! The engine of disk files, directories and pipes: what one can ask of it.

use super::ends::{Emptying, Filling};
use super::folder::{Folder, Half, Place};
use super::note::{About, Kind};
use crate::error::Error;
use crate::session::Session;
use crate::sys::disk::{self, Share};
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What was moved: by then, or in all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moved {
    /// Bytes that went through blocks.
    pub bytes: u64,
    /// How long the file is, holes and all, where that is known.
    pub len: Option<u64>,
    /// Of a directory: how many files of it.
    pub files: u64,
    /// Of a directory that was sent: what is neither a file nor a directory nor a symlink, and was left out.
    pub left_out: Vec<PathBuf>,
}

/// Moves disk files, directories and pipes to a session and from it. A plain value; each method of the first group
/// returns it changed.
///
/// ```
/// use antiphon::engine::{Folder, Posix};
/// use antiphon::session::{Session, SessionOptions};
///
/// # let scratch = std::env::temp_dir().join(format!("antiphon-doc-posix-{}", std::process::id()));
/// # std::fs::create_dir_all(scratch.join("from/below"))?;
/// # std::fs::create_dir_all(scratch.join("to"))?;
/// # let (from, to) = (scratch.join("from"), scratch.join("to"));
/// # let host = SessionOptions::new().host()?;
/// # let session = Session::connect(host.id())?;
/// std::fs::write(from.join("below/a file"), b"in a directory")?;
/// let posix = Posix::new().keep(true);
/// posix.send(&session, &from, b"tree")?; // Short enough for nobody to have to read it meanwhile.
/// let watched = |moved: &antiphon::engine::Moved| assert!(moved.bytes > 0);
/// posix.watch(&watched).receive(&session, b"tree", &Folder::open(&to)?)?;
/// assert_eq!(std::fs::read(to.join("tree/below/a file"))?, b"in a directory");
/// # std::fs::remove_dir_all(scratch)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
#[must_use]
pub struct Posix<'w> {
    pub(super) patience: Duration,
    pub(super) replace: bool,
    pub(super) keep: bool,
    direct: bool,
    watch: Option<&'w (dyn Fn(&Moved) + Sync)>,
}

impl Default for Posix<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'w> Posix<'w> {
    /// Waits 10 s for who is not there, and keeps neither modes nor times.
    pub const fn new() -> Self {
        Posix { patience: Duration::from_secs(10), replace: false, keep: false, direct: false, watch: None }
    }

    /// How long to wait: for a file to be received, and for another receiver where the last one is gone. For the first
    /// one a sender waits for as long as it takes.
    pub const fn patience(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }

    /// Whether a file that is sent comes in the place of one of its name that somebody else sends, or that nobody has
    /// received: that one is cancelled.
    pub const fn replace(mut self, replace: bool) -> Self {
        self.replace = replace;
        self
    }

    /// Whether what is received has the modes (but for the set-id bits) and the times that it had. Without it modes are
    /// subject to the umask, and times are now.
    pub const fn keep(mut self, keep: bool) -> Self {
        self.keep = keep;
        self
    }

    /// Whether a file's bytes go past the page cache, where the file system takes that; where it does not, they go
    /// through it and nobody is told. It leaves the cache to others, and is slower where the file would have been in it.
    /// Not those of a directory or a pipe.
    pub const fn direct(mut self, direct: bool) -> Self {
        self.direct = direct;
        self
    }

    /// Is called whenever something was moved.
    pub const fn watch(mut self, watch: &'w (dyn Fn(&Moved) + Sync)) -> Self {
        self.watch = Some(watch);
        self
    }

    pub(super) fn tell(&self, moved: &Moved) {
        if let Some(watch) = self.watch {
            watch(moved);
        }
    }

    /// Sends what has a path under a name: a file, a directory with all that is in it, or what can be read from a FIFO
    /// or a device. Symlinks that lead to it are followed; in a directory they are sent as what they are.
    ///
    /// # Blocking
    /// Until all of it stands in blocks: of what is longer than those, until somebody receives it.
    ///
    /// # Errors
    /// [`Error::Disk`], [`Error::Changed`]; [`Error::InUse`] where somebody else sends a file of this name;
    /// [`Error::Finished`] where one of this name was not received yet; [`Error::PeerDied`] and
    /// [`Error::Disconnected`] where the receiver is gone and no other came; [`Error::Cancelled`] with what the receiver
    /// says; and those of a [session](crate::session::Session).
    pub fn send(&self, session: &Session, path: &Path, name: &[u8]) -> Result<Moved, Error> {
        let failed = |call| move |error| disk_error(&path.display(), call, error);
        let kind = std::fs::metadata(path).map_err(failed("open"))?.file_type();
        let file = File::open(path).map_err(failed("open"))?;
        if kind.is_dir() {
            return super::tree::send(self, session, path, &file, name);
        }
        if !kind.is_file() {
            return self.send_stream(session, &file, name);
        }
        let source = Source::new(&file, path).map_err(failed("stat"))?;
        let (bytes, past) = (source.data_bytes, disk::Past::new(&file, self.direct));
        Filling::open(self, session, name, source.about, Some(bytes))?.run(|filling| {
            let mut moved = Moved { len: Some(source.len), ..Moved::default() };
            let mut at = 0;
            while let Some(range) = source.data_behind(at)? {
                at = range.start;
                while at < range.end {
                    let mut space = filling.claim(Some(at))?;
                    let room = u64::try_from(space.capacity()).unwrap_or(u64::MAX);
                    let (here, len) = (space.offset(), room.min(range.end - at) as usize);
                    source.fill(&mut space, &past, here, len)?;
                    space.complete(len)?;
                    moved.bytes += len as u64;
                    self.tell(&moved);
                    at += if here == at { len as u64 } else { 0 };
                }
            }
            source.check()?;
            Ok(moved)
        })
    }

    /// Receives a file into a directory, below which it has its name: of `a/b`, `a` is made where it is not there. What
    /// is there already is replaced if it is a file.
    ///
    /// # Blocking
    /// Until all of it is there.
    ///
    /// # Errors
    /// [`Error::TimedOut`] where there is no such file; [`Error::Disk`]; [`Error::Outside`]; [`Error::Elsewhere`];
    /// [`Error::PeerDied`], [`Error::Disconnected`] and [`Error::Unfilled`] where the sender is gone;
    /// [`Error::Cancelled`] with what the sender says; and those of a [session](crate::session::Session).
    pub fn receive(&self, session: &Session, name: &[u8], folder: &Folder) -> Result<Moved, Error> {
        let place = Place::of(name)?;
        Emptying::open(self, session, name)?.run(|emptying| {
            let about = emptying.about;
            if about.is_some_and(|about| about.kind == Kind::Tree) {
                return super::tree::receive(self, emptying, folder, &place);
            }
            let failed = |call| {
                let place = &place;
                move |error| folder.failed(place.whole(), call, error)
            };
            let dir = folder.descend(&place)?;
            place.check(folder, &dir)?;
            let mode = if self.keep { 0o600 } else { about.map_or(0o666, |about| about.mode) };
            let half = Half::of(emptying, folder, &dir, name, mode, Share::With)?;
            folder.clean(&dir);
            let len = about.and_then(|about| about.len);
            if let (Some(len), true) = (len, half.is_new()) {
                half.file.set_len(len).map_err(failed("truncate"))?;
                if about.is_some_and(|about| about.is_dense) && len >= PREALLOCATED {
                    disk::preallocate(&half.file, len).map_err(failed("allocate"))?;
                }
            }
            let mut moved = Moved { len, ..Moved::default() };
            let past = disk::Past::new(&half.file, self.direct);
            while let Some(block) = emptying.claim()? {
                let end = block.offset().saturating_add(block.len() as u64);
                if len.is_some_and(|len| end > len) {
                    let what = "a block behind the end of its file";
                    return Err(Error::Corrupt { name: emptying.name(), what });
                }
                let is_aligned = is_aligned(block.offset()) && is_aligned(block.len() as u64);
                let write = || block.view().write_to(0, block.len(), &*half.file, Some(block.offset()));
                past.run(is_aligned, write).map_err(failed("write"))?;
                moved.bytes += block.len() as u64;
                block.complete()?;
                self.tell(&moved);
            }
            half.finish(folder, &place, about, self.keep)?;
            Ok(moved)
        })
    }
}

impl std::fmt::Debug for Posix<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Posix")
            .field("patience", &self.patience)
            .field("replace", &self.replace)
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}

/// Files up to this length are not asked for their holes.
const SHORT_FILE: u64 = 4096;
/// Files from this length on have their room on the disk taken before they are written.
const PREALLOCATED: u64 = 1 << 20;

fn is_aligned(number: u64) -> bool {
    number % disk::DIRECT_BYTES as u64 == 0
}

pub(super) fn disk_error(path: &dyn std::fmt::Display, call: &'static str, source: io::Error) -> Error {
    Error::Disk { path: path.to_string(), call, source }
}

/// A disk file that is being sent.
pub(super) struct Source<'p> {
    file: &'p File,
    path: &'p Path,
    pub(super) len: u64,
    pub(super) about: About,
    /// How many of its bytes are no holes, as far as the system tells.
    data_bytes: u64,
}

impl<'p> Source<'p> {
    pub(super) fn new(file: &'p File, path: &'p Path) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let (len, mut about) = (metadata.len(), About::of_metadata(Kind::File, &metadata));
        // What the file system counts has its own notes in it: only of a short file does it tell that there is no hole.
        if len > SHORT_FILE {
            about.is_dense = disk::data_behind(file, 0, len)? == Some(0..len);
        }
        let data_bytes = len.min(metadata.blocks().saturating_mul(512)).max(len.min(4096));
        Ok(Source { file, path, len, about, data_bytes })
    }

    /// The next range of it that is no hole.
    pub(super) fn data_behind(&self, at: u64) -> Result<Option<std::ops::Range<u64>>, Error> {
        if self.about.is_dense {
            return Ok((at < self.len).then_some(at..self.len));
        }
        disk::data_behind(self.file, at, self.len).map_err(|error| disk_error(&self.path.display(), "seek", error))
    }

    /// Reads `len` bytes of it to the start of a block.
    fn fill(
        &self,
        space: &mut crate::blocks::Space,
        past: &disk::Past<'_>,
        at: u64,
        len: usize,
    ) -> Result<(), Error> {
        if !past.is_on() {
            return self.fill_behind(space, 0, at, len);
        }
        // Whole pieces; what is behind the end is nobody's.
        let (whole, space) = (len.next_multiple_of(disk::DIRECT_BYTES), Cell::new(Some(space.view())));
        let read = || {
            let mut view = space.take().ok_or(io::ErrorKind::ResourceBusy)?;
            let came = view.read_from(0, whole, self.file, Some(at));
            space.set(Some(view));
            came
        };
        match past.run(is_aligned(at), read).map_err(|error| disk_error(&self.path.display(), "read", error))? {
            came if came >= len => Ok(()),
            _ => Err(self.changed("became shorter")),
        }
    }

    /// Reads `len` bytes of it to behind `to` of a block.
    pub(super) fn fill_behind(
        &self,
        space: &mut crate::blocks::Space,
        to: usize,
        at: u64,
        len: usize,
    ) -> Result<(), Error> {
        let came = space.view().read_from(to, len, self.file, Some(at));
        match came.map_err(|error| disk_error(&self.path.display(), "read", error))? {
            all if all == len => Ok(()),
            _ => Err(self.changed("became shorter")),
        }
    }

    fn changed(&self, how: &'static str) -> Error {
        Error::Changed { path: self.path.display().to_string(), how }
    }

    /// Whether it is what it was when it was opened.
    pub(super) fn check(&self) -> Result<(), Error> {
        let now = self.file.metadata().map_err(|error| disk_error(&self.path.display(), "stat", error))?;
        match About::of_metadata(Kind::File, &now) {
            _ if now.len() > self.len => Err(self.changed("became longer")),
            _ if now.len() < self.len => Err(self.changed("became shorter")),
            about if about.modified != self.about.modified => Err(self.changed("was written to")),
            _ => Ok(()),
        }
    }
}
