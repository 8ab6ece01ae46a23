//! A directory below which files are written, and nothing beside it.
//!
//! A name is walked component by component, each opened in the one before it and no symlink followed, so that it ends
//! below the directory whatever others do to it meanwhile. That is one system call for each, on every system; `openat2`
//! would save them where a name is deep, and who writes many files to one directory walks it once.
//!
//! # What is half written
//!
//! `.antiphon-SESSION-FILE-PLACE`: the session and the number of the block file, and a number that the first receiver
//! has drawn and put into the region. So whoever receives the same file into the same directory finds it, takes it over
//! where the first one is dead, and nobody else takes it for theirs. A receiver that finds the number in the region, but
//! not the file, knows that it was brought elsewhere, or is whole already. The file carries a lock as long as somebody
//! writes it; one without a lock, whose block file is gone, over or goes elsewhere, is removed by the next receiver that
//! comes by.

use super::ends::Emptying;
use super::note::About;
use super::posix::disk_error;
use crate::blocks::FileId;
use crate::blocks::state::is_over_for;
use crate::error::Error;
use crate::sys::disk::{self, Locked, Share, Sort};
use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What every name of something half written begins with.
const HALF: &str = ".antiphon-";
/// What is behind the name where a directory's file in the making stands.
const PIECE: &str = ".piece";
/// A lock that a cleaner has is back in no time: so often one asks again.
const TRIES: u32 = 100;

/// A directory below which an engine writes.
#[derive(Debug)]
pub struct Folder {
    dir: File,
    path: PathBuf,
    /// Those in which what nobody needs any more was looked for, by device and number.
    cleaned: Mutex<BTreeSet<(u64, u64)>>,
}

impl Folder {
    /// Opens a directory. Symlinks that lead to it are followed; those below it are not.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let opened = File::open(path).and_then(|dir| match dir.metadata()?.is_dir() {
            true => Ok(dir),
            false => Err(io::Error::from(io::ErrorKind::NotADirectory)),
        });
        let dir = opened.map_err(|error| disk_error(&path.display(), "open", error))?;
        Ok(Folder { dir, path: path.to_owned(), cleaned: Mutex::default() })
    }

    pub(super) fn root(&self) -> &File {
        &self.dir
    }

    /// What went wrong with a name below it.
    pub(super) fn failed(&self, name: &[u8], call: &'static str, error: io::Error) -> Error {
        let path = self.path.join(std::ffi::OsStr::from_bytes(name));
        disk_error(&path.display(), call, error)
    }

    /// Opens the directories that lead to a name, and makes those that are not there.
    pub(super) fn descend(&self, place: &Place) -> Result<File, Error> {
        let failed = |call| move |error| self.failed(&place.whole, call, error);
        let mut dir = self.dir.try_clone().map_err(failed("open"))?;
        for name in &place.dirs {
            dir = match disk::open_dir(&dir, name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    disk::make_dir(&dir, name, 0o777).map_err(failed("mkdir"))?;
                    disk::open_dir(&dir, name)
                }
                opened => opened,
            }
            .map_err(|error| match disk::sort_of(&dir, name) {
                Ok(Sort::Symlink) => place.outside("a symlink is on the way"),
                _ => self.failed(&place.whole, "open", error),
            })?;
        }
        Ok(dir)
    }

    /// Removes what dead receivers have left in a directory and nobody can go on with. Once for each directory, and once
    /// one's own is known: what was made and never told to anybody is then nobody's.
    pub(super) fn clean(&self, dir: &File) {
        // What cannot be looked at or removed is in nobody's way but the disk's.
        let Ok(about) = dir.metadata() else { return };
        let mut cleaned = self.cleaned.lock().unwrap_or_else(PoisonError::into_inner);
        if !cleaned.insert((about.dev(), about.ino())) {
            return;
        }
        for (name, _) in disk::names_in(dir).unwrap_or_default() {
            let is_over = |(id, place): &(FileId, u64)| matches!(is_over_for(*id, *place), Ok(true));
            let half = name.to_str().ok().and_then(|name| half_of(name.strip_suffix(PIECE).unwrap_or(name)));
            if !half.as_ref().is_some_and(is_over) {
                continue;
            }
            let marker = name.to_bytes().strip_suffix(PIECE.as_bytes()).and_then(|name| CString::new(name).ok());
            let locked = disk::open_written(dir, marker.as_deref().unwrap_or(&name))
                .and_then(|file| disk::lock(file, Share::Alone).map_err(|(_, error)| error));
            let is_orphan = matches!(&locked, Err(error) if error.kind() == io::ErrorKind::NotFound);
            if locked.is_ok() || is_orphan {
                let _ = disk::remove(dir, &name);
            }
        }
    }
}

/// Whose half-written file has this name, and which.
fn half_of(name: &str) -> Option<(FileId, u64)> {
    let mut numbers = name.strip_prefix(HALF)?.split('-');
    let session = u64::from_str_radix(numbers.next()?, 16).ok()?;
    let file = u32::from_str_radix(numbers.next()?, 16).ok()?;
    let place = u64::from_str_radix(numbers.next()?, 16).ok()?;
    let id = FileId { session, file };
    (half_name(id, place) == name).then_some((id, place))
}

fn half_name(id: FileId, place: u64) -> String {
    format!("{HALF}{id}-{place:016X}")
}

fn c_name(name: Vec<u8>) -> CString {
    CString::new(name).unwrap_or_default() // Without a NUL: checked, or digits.
}

/// A name that leads below a directory, as far as the name shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    whole: Vec<u8>,
    dirs: Vec<CString>,
    pub(super) last: CString,
}

impl Place {
    pub(super) fn of(name: &[u8]) -> Result<Self, Error> {
        let outside = |why| Err(Error::Outside { name: crate::session::shown(name), why });
        if name.first() == Some(&b'/') {
            return outside("it is absolute");
        }
        if name.contains(&0) {
            return outside("it has a zero byte, as no file's name has");
        }
        let parts = name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
        let mut dirs: Vec<CString> = Vec::new();
        for part in parts {
            if part == b".." {
                return outside("there is a '..' in it");
            }
            if part.starts_with(HALF.as_bytes()) {
                return outside("what is half written has such names");
            }
            dirs.push(c_name(part.to_vec()));
        }
        match dirs.pop() {
            Some(last) => Ok(Place { whole: name.to_vec(), dirs, last }),
            None => outside("it is the directory itself"),
        }
    }

    /// The bytes of the name.
    pub(super) fn whole(&self) -> &[u8] {
        &self.whole
    }

    /// What leads to it.
    pub(super) fn dirs(&self) -> &[CString] {
        &self.dirs
    }

    pub(super) fn outside(&self, why: &'static str) -> Error {
        Error::Outside { name: crate::session::shown(&self.whole), why }
    }

    /// Whether a file may come to stand here.
    pub(super) fn check(&self, folder: &Folder, dir: &File) -> Result<(), Error> {
        match disk::sort_of(dir, &self.last).map_err(|error| folder.failed(&self.whole, "stat", error))? {
            Sort::Nothing | Sort::File => Ok(()),
            Sort::Symlink => Err(self.outside("a symlink has its name")),
            Sort::Special => Err(self.outside("a device, a FIFO or a socket has its name")),
            Sort::Directory => {
                Err(folder.failed(&self.whole, "replace", io::Error::from(io::ErrorKind::IsADirectory)))
            }
        }
    }
}

/// Something half written. Dropped without being let go of, it is removed.
pub(super) struct Half {
    dir: File,
    name: CString,
    pub(super) file: Locked,
    is_new: bool,
    is_over: bool,
}

impl Half {
    /// Makes it, or finds what others have begun. `alone`: they have to be dead.
    pub(super) fn of(
        emptying: &mut Emptying,
        folder: &Folder,
        dir: &File,
        whole: &[u8],
        mode: u32,
        share: Share,
    ) -> Result<Self, Error> {
        let failed = |call| move |error| folder.failed(whole, call, error);
        let id = emptying.reader.ids().first().copied().unwrap_or(FileId { session: 0, file: 0 });
        let half = |place| c_name(half_name(id, place).into_bytes());
        let dir = dir.try_clone().map_err(failed("open"))?;
        if emptying.place().is_none() {
            let place = crate::sys::nonce();
            let name = half(place);
            let file = disk::create_file(&dir, &name, mode | 0o600).map_err(failed("create"))?;
            let mut made = match disk::lock(file, share) {
                Ok(file) => Half { dir, name, file, is_new: true, is_over: false },
                Err((_, error)) => {
                    let _ = disk::remove(&dir, &name);
                    return Err(folder.failed(whole, "lock", error));
                }
            };
            if emptying.goes_to(place) == place {
                return Ok(made);
            }
            made.remove();
            return Self::found(emptying, folder, made.dir.try_clone().map_err(failed("open"))?, whole, share, half);
        }
        Self::found(emptying, folder, dir, whole, share, half)
    }

    fn found(
        emptying: &mut Emptying,
        folder: &Folder,
        dir: File,
        whole: &[u8],
        share: Share,
        half: impl Fn(u64) -> CString,
    ) -> Result<Self, Error> {
        let place = emptying.place().unwrap_or_default();
        let name = half(emptying.goes_to(place));
        let mut opened = match disk::open_written(&dir, &name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(emptying.elsewhere()),
            Err(error) => return Err(folder.failed(whole, "open", error)),
        };
        for _ in 0..TRIES {
            match disk::lock(opened, share) {
                Ok(file) => return Ok(Half { dir, name, file, is_new: false, is_over: false }),
                Err((file, error)) if error.kind() == io::ErrorKind::WouldBlock => opened = file,
                Err((_, error)) => return Err(folder.failed(whole, "lock", error)),
            }
            if share == Share::Alone {
                break;
            }
            std::thread::sleep(super::LAST_PAUSE);
        }
        Err(emptying.elsewhere())
    }

    /// Whether nobody has written to it before.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// The name of what is in the making beside it.
    pub(super) fn piece(&self) -> CString {
        c_name([self.name.to_bytes(), PIECE.as_bytes()].concat())
    }

    /// Gives it the name that it was written for. Somebody else may have done that.
    pub(super) fn finish(
        mut self,
        folder: &Folder,
        place: &Place,
        about: Option<About>,
        keeps: bool,
    ) -> Result<(), Error> {
        let failed = |call| move |error| folder.failed(&place.whole, call, error);
        if let Some(about) = about {
            dress(&self.file, about.mode, about.modified, keeps).map_err(failed("chmod"))?;
        }
        match disk::rename((&self.dir, &self.name), (&self.dir, &place.last)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.is_over = true;
                let links = self.file.metadata().map_err(failed("stat"))?.nlink();
                if links == 0 { Err(folder.failed(&place.whole, "rename", error)) } else { Ok(()) }
            }
            renamed => {
                renamed.map_err(failed("rename"))?;
                self.is_over = true;
                Ok(())
            }
        }
    }

    /// Takes it away: it was needed while something was in the making.
    pub(super) fn remove(&mut self) {
        self.is_over = true;
        let _ = disk::remove(&self.dir, &self.piece());
        let _ = disk::remove(&self.dir, &self.name);
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        if !self.is_over {
            self.remove();
        }
    }
}

/// Gives a file its mode and, where they are kept, its times. Where they are not, the mode is what the umask has left
/// of it.
pub(super) fn dress(file: &File, mode: u32, modified: (i64, u32), keeps: bool) -> io::Result<()> {
    let now = file.metadata()?.mode() & 0o7777;
    let mode = mode & 0o777;
    let wanted = if keeps { mode } else { now & mode };
    if wanted != now {
        file.set_permissions(std::fs::Permissions::from_mode(wanted))?;
    }
    if keeps {
        disk::set_times(file, modified)?;
    }
    Ok(())
}

/// So that a name may be compared with one that was walked before.
pub(super) fn is_same(walked: &[CString], dirs: &[CString]) -> bool {
    walked.iter().map(|name| -> &CStr { name }).eq(dirs.iter().map(|name| -> &CStr { name }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for bad in
            [&b"/etc/passwd"[..], b"..", b"a/../b", b"a/..", b"", b".", b"a\0b", b".antiphon-x", b"a/.antiphon-1"]
        {
            assert!(matches!(Place::of(bad), Err(Error::Outside { .. })), "{}", bad.escape_ascii());
        }
        let place = Place::of(b"./a//b/.../c").unwrap();
        assert_eq!((place.dirs, place.last), (vec![c"a".to_owned(), c"b".into(), c"...".into()], c"c".to_owned()));
    }

    #[test]
    fn what_is_half_written_is_known_by_its_name() {
        let id = FileId { session: 0xabc, file: 7 };
        assert_eq!(half_of(&half_name(id, 9)), Some((id, 9)));
        for other in [".antiphon-", ".antiphon-1-2-3", "0000000000000ABC-00000007-0000000000000009", "frames"] {
            assert_eq!(half_of(other), None, "{other}");
        }
    }
}
