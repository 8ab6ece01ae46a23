//! Bytes that come one after the other: pipes, terminals, standard input and output.

use super::ends::{Emptying, Filling};
use super::note::{About, Kind};
use super::posix::disk_error;
use super::{Moved, Posix};
use crate::error::Error;
use crate::session::Session;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;

impl Posix<'_> {
    /// Sends what can be read from `from` until its end, a pipe say. Blocks are passed on as they are full.
    ///
    /// # Errors
    /// As of [`send`](Self::send); [`Error::Disk`] says `standard input` where it is that.
    pub fn send_stream(&self, session: &Session, from: impl AsFd, name: &[u8]) -> Result<Moved, Error> {
        Filling::open(self, session, name, About::new(Kind::Stream), None)?.run(|filling| {
            let mut moved = Moved::default();
            loop {
                let mut space = filling.claim(None)?;
                let room = space.capacity();
                let came = space.view().read_from(0, room, &from, None);
                let came = came.map_err(|error| disk_error(&path_of(&from), "read", error))?;
                space.complete(came)?;
                moved.bytes += came as u64;
                self.tell(&moved);
                if came < room {
                    return Ok(moved);
                }
            }
        })
    }

    /// Writes a file to `to`, from its beginning to its end; holes are written as zeros.
    ///
    /// # Errors
    /// As of [`receive`](Self::receive); [`Error::Elsewhere`] where somebody else has got some of it, since it would be
    /// missing here; [`Error::Corrupt`] where several write it, and it comes out of order; [`Error::Outside`] for a
    /// directory.
    pub fn receive_stream(&self, session: &Session, name: &[u8], to: impl AsFd) -> Result<Moved, Error> {
        Emptying::open(self, session, name)?.run(|emptying| {
            let place = crate::sys::nonce();
            if emptying.goes_to(place) != place {
                return Err(emptying.elsewhere());
            }
            let about = emptying.about;
            if about.is_some_and(|about| about.kind == Kind::Tree) {
                let why = "it is a directory, and a stream is one file";
                return Err(Error::Outside { name: emptying.name(), why });
            }
            let failed = |error| disk_error(&path_of(&to), "write", error);
            let len = about.and_then(|about| about.len);
            let mut moved = Moved { len, ..Moved::default() };
            let mut at = 0;
            while let Some(block) = emptying.claim()? {
                if block.offset() < at {
                    let what = "a file whose parts come out of order, which no stream can have";
                    return Err(Error::Corrupt { name: emptying.reader.ids()[0].to_string(), what });
                }
                write_zeros(&to, block.offset() - at).map_err(failed)?;
                block.view().write_to(0, block.len(), &to, None).map_err(failed)?;
                at = block.offset().saturating_add(block.len() as u64);
                moved.bytes += block.len() as u64;
                block.complete()?;
                self.tell(&moved);
            }
            write_zeros(&to, len.unwrap_or(0).saturating_sub(at)).map_err(failed)?;
            Ok(moved)
        })
    }
}

/// What people call a descriptor.
fn path_of(file: &impl AsFd) -> String {
    match file.as_fd().as_raw_fd() {
        0 => "standard input".to_owned(),
        1 => "standard output".to_owned(),
        other => format!("descriptor {other}"),
    }
}

fn write_zeros(to: &impl AsFd, mut len: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    if len == 0 {
        return Ok(());
    }
    let own = to.as_fd().try_clone_to_owned()?;
    let mut file = std::fs::File::from(own);
    while len > 0 {
        let now = ZEROS.len().min(usize::try_from(len).unwrap_or(usize::MAX));
        io::Write::write_all(&mut file, &ZEROS[..now])?;
        len -= now as u64;
    }
    Ok(())
}
