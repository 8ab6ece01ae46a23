//! Directories: all that is in one, packed into the blocks of one file of a session.
//!
//! A file of its own for each would cost a region each, and 100,000 small ones would take longer to open than to copy. So
//! a block is a row of records, each whole in it, and many small files go in one; a long file has a record in each of
//! many blocks, all of whose data is read by the kernel to where it stands, and written from there.
//!
//! ```text
//! record   kind u8, last u8, length of the path u16, mode u32, length of the file u64, offset u64,
//!          length of the data u32, nanoseconds u32, seconds i64, path, data
//!   1 enter      a directory, before what is in it
//!   2 leave      the same one, after all that is in it: now it has its mode and its times
//!   3 piece      of a file; `last` is 1 in its last one. The pieces of one file come one after the other
//!   4 symlink    the data is where it leads
//! ```
//!
//! Numbers are of the lowest byte first. Paths are relative to the directory, whose own is empty. Records are not
//! aligned. One process writes the blocks and one reads them, in order; so everything is one row, and whoever goes on
//! after a dead reader begins with the block that that one had in hand. Each record may be done twice.

use super::ends::{Emptying, Filling};
use super::folder::{Folder, Half, Place, dress, is_same};
use super::note::{About, Kind};
use super::posix::{Source, disk_error};
use super::{Moved, Posix};
use crate::blocks::{Block, Space};
use crate::error::Error;
use crate::session::Session;
use crate::sys::disk::{self, Share, Sort};
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const HEAD_BYTES: usize = 40;
const MOST_PATH_BYTES: usize = 4096;
/// A long file goes on in the next block rather than leave less than this behind.
const LEAST_PIECE_BYTES: usize = 32 << 10;
/// The smallest blocks that a directory can be packed into.
const LEAST_BLOCK_BYTES: usize = 16 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Enter,
    Leave,
    Piece,
    Symlink,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    what: What,
    is_last: bool,
    path_bytes: usize,
    mode: u32,
    len: u64,
    offset: u64,
    data_bytes: usize,
    modified: (i64, u32),
}

impl Head {
    fn of(what: What, about: &About, path: &[u8]) -> Self {
        let (mode, modified, path_bytes) = (about.mode, about.modified, path.len());
        Head { what, is_last: true, path_bytes, mode, len: 0, offset: 0, data_bytes: 0, modified }
    }

    fn encode(&self) -> [u8; HEAD_BYTES] {
        let what = match self.what {
            What::Enter => 1,
            What::Leave => 2,
            What::Piece => 3,
            What::Symlink => 4,
        };
        let mut bytes = [0; HEAD_BYTES];
        bytes[..2].copy_from_slice(&[what, u8::from(self.is_last)]);
        bytes[2..4].copy_from_slice(&(self.path_bytes as u16).to_le_bytes());
        bytes[4..8].copy_from_slice(&self.mode.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.len.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.offset.to_le_bytes());
        bytes[24..28].copy_from_slice(&(self.data_bytes as u32).to_le_bytes());
        bytes[28..32].copy_from_slice(&self.modified.1.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.modified.0.to_le_bytes());
        bytes
    }

    /// Nothing where it is none that is ever written, or its path and data would not fit into `room` bytes behind it.
    fn decode(bytes: &[u8; HEAD_BYTES], room: usize) -> Option<Self> {
        fn number<const N: usize>(bytes: &[u8; HEAD_BYTES], at: usize) -> [u8; N] {
            std::array::from_fn(|nth| bytes[at + nth])
        }
        let head = Head {
            what: match bytes[0] {
                1 => What::Enter,
                2 => What::Leave,
                3 => What::Piece,
                4 => What::Symlink,
                _ => return None,
            },
            is_last: bytes[1] == 1,
            path_bytes: u16::from_le_bytes(number(bytes, 2)).into(),
            mode: u32::from_le_bytes(number(bytes, 4)),
            len: u64::from_le_bytes(number(bytes, 8)),
            offset: u64::from_le_bytes(number(bytes, 16)),
            data_bytes: usize::try_from(u32::from_le_bytes(number(bytes, 24))).ok()?,
            modified: (i64::from_le_bytes(number(bytes, 32)), u32::from_le_bytes(number(bytes, 28))),
        };
        let is_whole = head.path_bytes <= MOST_PATH_BYTES && head.path_bytes <= room;
        let has_data = is_whole && head.data_bytes <= room - head.path_bytes;
        let is_within = head.offset.checked_add(head.data_bytes as u64).is_some_and(|end| end <= head.len);
        let has_sense = match head.what {
            What::Enter | What::Leave => head.data_bytes == 0,
            What::Piece => is_within,
            What::Symlink => (1..=MOST_PATH_BYTES).contains(&head.data_bytes),
        };
        (has_data && has_sense && head.modified.1 < 1_000_000_000).then_some(head)
    }
}

// ---- Sending ----

/// Packs a directory.
struct Packer<'p> {
    posix: &'p Posix<'p>,
    filling: &'p mut Filling,
    /// The directory's own path: for errors.
    top: &'p Path,
    /// The block that is being filled, and how much of it is.
    space: Option<(Space, usize)>,
    moved: Moved,
}

pub(super) fn send(
    posix: &Posix<'_>,
    session: &Session,
    top: &Path,
    dir: &File,
    name: &[u8],
) -> Result<Moved, Error> {
    let metadata = dir.metadata().map_err(|error| disk_error(&top.display(), "stat", error))?;
    let about = About { is_dense: false, ..About::of_metadata(Kind::Tree, &metadata) };
    Filling::open(posix, session, name, about, None)?.run(|filling| {
        if filling.block_bytes() < LEAST_BLOCK_BYTES {
            let (option, given) = ("block_bytes", filling.block_bytes() as u64);
            return Err(Error::BadOption { option, given, wanted: "16 KiB or more for a directory" });
        }
        let mut packer = Packer { posix, filling, top, space: None, moved: Moved::default() };
        packer.directory(dir, &mut Vec::new(), &about)?;
        packer.pass_on()?;
        Ok(packer.moved)
    })
}

impl Packer<'_> {
    fn failed(&self, path: &[u8], call: &'static str, error: io::Error) -> Error {
        disk_error(&self.top.join(OsStr::from_bytes(path)).display(), call, error)
    }

    fn directory(&mut self, dir: &File, path: &mut Vec<u8>, about: &About) -> Result<(), Error> {
        self.record(&Head::of(What::Enter, about, path), path, &[])?;
        let mut names = disk::names_in(dir).map_err(|error| self.failed(path, "list", error))?;
        names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let len = path.len();
        for (name, sort) in names {
            if len > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(name.to_bytes());
            if path.len() > MOST_PATH_BYTES {
                return Err(self.failed(path, "open", io::Error::from_raw_os_error(libc::ENAMETOOLONG)));
            }
            self.entry(dir, &name, sort, path)?;
            path.truncate(len);
        }
        self.record(&Head::of(What::Leave, about, path), path, &[])
    }

    fn entry(&mut self, dir: &File, name: &CStr, sort: Sort, path: &mut Vec<u8>) -> Result<(), Error> {
        match sort {
            Sort::Directory => {
                let below = disk::open_dir(dir, name).map_err(|error| self.failed(path, "open", error))?;
                let metadata = below.metadata().map_err(|error| self.failed(path, "stat", error))?;
                self.directory(&below, path, &About::of_metadata(Kind::Tree, &metadata))
            }
            Sort::File => {
                let file = disk::open_file(dir, name).map_err(|error| self.failed(path, "open", error))?;
                self.file(&file, path)
            }
            Sort::Symlink => {
                let to = disk::read_symlink(dir, name).map_err(|error| self.failed(path, "readlink", error))?;
                let head = Head::of(What::Symlink, &About::new(Kind::File), path);
                self.record(&Head { data_bytes: to.len(), ..head }, path, to.as_bytes())
            }
            Sort::Nothing | Sort::Special => {
                self.moved.left_out.push(self.top.join(OsStr::from_bytes(path)));
                Ok(())
            }
        }
    }

    fn file(&mut self, file: &File, path: &[u8]) -> Result<(), Error> {
        let whole = self.top.join(OsStr::from_bytes(path));
        let source = Source::new(file, &whole).map_err(|error| self.failed(path, "stat", error))?;
        let (about, len) = (source.about, source.len);
        let mut range = source.data_behind(0)?.unwrap_or(len..len);
        loop {
            let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            let overhead = HEAD_BYTES + path.len();
            let room = self.room(overhead.saturating_add(wanted.min(LEAST_PIECE_BYTES)))?;
            let data_bytes = wanted.min(room - overhead);
            let (space, used) = self.space.as_mut().expect("there was room in it");
            source.fill_behind(space, *used + overhead, range.start, data_bytes)?;
            let next = match range.start + data_bytes as u64 {
                at if at < range.end => Some(at..range.end),
                at => source.data_behind(at)?,
            };
            if next.is_none() {
                source.check()?;
            }
            let head = Head {
                is_last: next.is_none(),
                len,
                offset: range.start,
                data_bytes,
                ..Head::of(What::Piece, &about, path)
            };
            space.copy_from(*used, &head.encode());
            space.copy_from(*used + HEAD_BYTES, path);
            *used += overhead + data_bytes;
            self.moved.bytes += data_bytes as u64;
            match next {
                Some(next) => range = next,
                None => break,
            }
        }
        self.moved.files += 1;
        Ok(())
    }

    /// Puts a short record into a block.
    fn record(&mut self, head: &Head, path: &[u8], data: &[u8]) -> Result<(), Error> {
        let needed = HEAD_BYTES + path.len() + data.len();
        self.room(needed)?;
        let (space, used) = self.space.as_mut().expect("there was room in it");
        for bytes in [&head.encode()[..], path, data] {
            *used += space.copy_from(*used, bytes);
        }
        Ok(())
    }

    /// How much room there is in the block in hand, or else in the next one: at least so much.
    fn room(&mut self, needed: usize) -> Result<usize, Error> {
        let left = |(space, used): &(Space, usize)| space.capacity() - used;
        if let Some(left) = self.space.as_ref().map(left).filter(|left| *left >= needed) {
            return Ok(left);
        }
        self.pass_on()?;
        let space = self.filling.claim(None)?;
        let capacity = space.capacity();
        // A path and what is with it fit into the smallest blocks there are; `LEAST_PIECE_BYTES` may not.
        self.space = Some((space, 0));
        Ok(capacity)
    }

    fn pass_on(&mut self) -> Result<(), Error> {
        if let Some((space, used)) = self.space.take() {
            space.complete(used)?;
            self.posix.tell(&self.moved);
        }
        Ok(())
    }
}

// ---- Receiving ----

/// Unpacks a directory.
struct Unpacker<'u> {
    posix: &'u Posix<'u>,
    folder: &'u Folder,
    place: &'u Place,
    piece_name: CString,
    piece: Option<File>,
    /// The directory that was walked to last.
    walked: Option<(Vec<CString>, File)>,
    moved: Moved,
}

pub(super) fn receive(
    posix: &Posix<'_>,
    emptying: &mut Emptying,
    folder: &Folder,
    place: &Place,
) -> Result<Moved, Error> {
    let mut half = Half::of(emptying, folder, folder.root(), place.whole(), 0o600, Share::Alone)?;
    folder.clean(folder.root());
    let (piece_name, moved) = (half.piece(), Moved::default());
    let mut unpacker = Unpacker { posix, folder, place, piece_name, piece: None, walked: None, moved };
    let mut at = None;
    while let Some(block) = emptying.claim()? {
        if at.is_some_and(|at| at != block.offset()) {
            return Err(corrupt(emptying, "a directory whose blocks come out of order"));
        }
        at = Some(block.offset().saturating_add(unpacker.unpack(emptying, &block)?));
        block.complete()?;
        posix.tell(&unpacker.moved);
    }
    let moved = unpacker.moved;
    half.remove();
    Ok(moved)
}

fn corrupt(emptying: &Emptying, what: &'static str) -> Error {
    Error::Corrupt { name: emptying.name(), what }
}

impl Unpacker<'_> {
    /// Does what the records of a block say. Returns how long blocks are.
    fn unpack(&mut self, emptying: &Emptying, block: &Block) -> Result<u64, Error> {
        let (view, mut at) = (block.view(), 0);
        while at < view.len() {
            let mut head = [0; HEAD_BYTES];
            let whole = view.copy_to(at, &mut head) == HEAD_BYTES;
            at += HEAD_BYTES;
            let head = if whole { Head::decode(&head, view.len() - at) } else { None };
            let Some(head) = head else { return Err(corrupt(emptying, "a record that is none")) };
            let mut name = self.place.whole().to_vec();
            if head.path_bytes > 0 {
                let mut path = vec![0; head.path_bytes];
                view.copy_to(at, &mut path);
                name.push(b'/');
                name.extend(path);
            }
            at += head.path_bytes;
            let place = Place::of(&name)?;
            match head.what {
                What::Enter => self.enter(&head, &place)?,
                What::Leave => self.leave(&head, &place)?,
                What::Symlink => {
                    let mut to = vec![0; head.data_bytes];
                    view.copy_to(at, &mut to);
                    self.symlink(&place, &to)?;
                }
                What::Piece => {
                    let failed = |error| self.folder.failed(place.whole(), "write", error);
                    let piece = self.piece_of(&head, &place)?;
                    view.write_to(at, head.data_bytes, piece, Some(head.offset)).map_err(failed)?;
                    self.moved.bytes += head.data_bytes as u64;
                    if head.is_last {
                        self.end_of(&head, &place)?;
                    }
                }
            }
            at += head.data_bytes;
        }
        Ok(emptying.block_bytes())
    }

    /// The directory that a place is in.
    fn dir_of(&mut self, place: &Place) -> Result<&File, Error> {
        let is_there = self.walked.as_ref().is_some_and(|(walked, _)| is_same(walked, place.dirs()));
        if !is_there {
            let dir = self.folder.descend(place)?;
            self.walked = Some((place.dirs().to_vec(), dir));
        }
        match &self.walked {
            Some((_, dir)) => Ok(dir),
            None => unreachable!("it was walked to"),
        }
    }

    fn enter(&mut self, head: &Head, place: &Place) -> Result<(), Error> {
        let folder = self.folder;
        let failed = |error| folder.failed(place.whole(), "mkdir", error);
        let dir = self.dir_of(place)?;
        // One must be able to write to it meanwhile.
        if !disk::make_dir(dir, &place.last, head.mode | 0o700).map_err(failed)? {
            match disk::sort_of(dir, &place.last).map_err(failed)? {
                Sort::Directory => {}
                Sort::Symlink => return Err(place.outside("a symlink has its name")),
                _ => return Err(failed(io::Error::from(io::ErrorKind::NotADirectory))),
            }
        }
        Ok(())
    }

    fn leave(&mut self, head: &Head, place: &Place) -> Result<(), Error> {
        let (folder, keeps) = (self.folder, self.posix.keep);
        let failed = |error| folder.failed(place.whole(), "chmod", error);
        if keeps || head.mode & 0o700 != 0o700 {
            let dir = disk::open_dir(self.dir_of(place)?, &place.last).map_err(failed)?;
            dress(&dir, head.mode, head.modified, keeps).map_err(failed)?;
        }
        Ok(())
    }

    fn symlink(&mut self, place: &Place, to: &[u8]) -> Result<(), Error> {
        let folder = self.folder;
        let failed = |error| folder.failed(place.whole(), "symlink", error);
        let piece = self.piece_name.clone();
        let dir = self.dir_of(place)?;
        match disk::sort_of(dir, &place.last).map_err(failed)? {
            Sort::Nothing | Sort::File | Sort::Symlink => {}
            Sort::Directory => return Err(failed(io::Error::from(io::ErrorKind::IsADirectory))),
            Sort::Special => return Err(place.outside("a device, a FIFO or a socket has its name")),
        }
        let root = folder.root();
        if to.contains(&0) {
            return Err(place.outside("it is a symlink to what no name is"));
        }
        let _ = disk::remove(root, &piece);
        disk::make_symlink(root, &piece, to).map_err(failed)?;
        disk::rename((root, &piece), (dir, &place.last)).map_err(failed)
    }

    /// The file in the making that a piece belongs to.
    fn piece_of(&mut self, head: &Head, place: &Place) -> Result<&File, Error> {
        let folder = self.folder;
        let failed = |call| move |error| folder.failed(place.whole(), call, error);
        let root = folder.root();
        if self.piece.is_none() {
            // Taken over in the middle of a file, if there is one; a file begun anew holds nothing yet.
            let begun = if head.offset > 0 { disk::open_written(root, &self.piece_name).ok() } else { None };
            let file = match begun {
                Some(file) => file,
                None => {
                    let mode = if self.posix.keep { 0o600 } else { head.mode | 0o600 };
                    let create = || disk::create_file(root, &self.piece_name, mode);
                    let file = match create() {
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                            disk::remove(root, &self.piece_name).map_err(failed("remove"))?;
                            create()
                        }
                        made => made,
                    };
                    let file = file.map_err(failed("create"))?;
                    // Holes at its end are no piece of it.
                    if !(head.is_last && head.offset == 0 && head.data_bytes as u64 == head.len) {
                        file.set_len(head.len).map_err(failed("truncate"))?;
                    }
                    file
                }
            };
            self.piece = Some(file);
        }
        match &self.piece {
            Some(file) => Ok(file),
            None => unreachable!("it was made"),
        }
    }

    /// The last piece was written: the file has its name.
    fn end_of(&mut self, head: &Head, place: &Place) -> Result<(), Error> {
        let Some(file) = self.piece.take() else { return Ok(()) };
        let (folder, keeps, piece) = (self.folder, self.posix.keep, self.piece_name.clone());
        let failed = |call| move |error| folder.failed(place.whole(), call, error);
        if keeps || head.mode & 0o600 != 0o600 {
            dress(&file, head.mode, head.modified, keeps).map_err(failed("chmod"))?;
        }
        let dir = self.dir_of(place)?;
        place.check(folder, dir)?;
        disk::rename((folder.root(), &piece), (dir, &place.last)).map_err(failed("rename"))?;
        self.moved.files += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_was_written_and_only_if_it_fits() {
        let about = About { mode: 0o640, modified: (-1, 999_999_999), ..About::new(Kind::File) };
        for what in [What::Enter, What::Leave, What::Piece, What::Symlink] {
            let data_bytes = if matches!(what, What::Enter | What::Leave) { 0 } else { 11 };
            let head = Head { len: 20, offset: 9, data_bytes, ..Head::of(what, &about, b"a/b") };
            let room = 3 + data_bytes;
            assert_eq!(Head::decode(&head.encode(), room), Some(head));
            assert_eq!(Head::decode(&head.encode(), room - 1), None);
            let is_refused = |head: Head| Head::decode(&head.encode(), 1 << 20).is_none();
            assert!(is_refused(Head { modified: (0, 1_000_000_000), ..head }));
            assert!(is_refused(Head { path_bytes: MOST_PATH_BYTES + 1, ..head }));
            assert!(what != What::Piece || is_refused(Head { offset: 10, ..head }));
            assert!(what != What::Piece || is_refused(Head { offset: u64::MAX, ..head }));
        }
        let mut bytes = [0; HEAD_BYTES];
        for kind in [0, 5, 255] {
            bytes[0] = kind;
            assert_eq!(Head::decode(&bytes, 100), None);
        }
    }
}
