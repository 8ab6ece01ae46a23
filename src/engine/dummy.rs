//! The engine that has no other side: it produces zeros or swallows what comes, to measure what is in between.

use super::ends::{Emptying, Filling};
use super::note::{About, Kind};
use super::{Moved, Posix};
use crate::error::Error;
use crate::session::Session;

/// What a block is filled from.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Produces a file of `bytes` zeros.
///
/// ```
/// use antiphon::engine::{Posix, dummy};
/// use antiphon::session::{Session, SessionOptions};
///
/// let host = SessionOptions::new().host()?;
/// let session = Session::connect(host.id())?;
/// let producer = std::thread::spawn(move || dummy::produce(&Posix::new(), &session, b"zeros", 20 << 20));
/// assert_eq!(dummy::swallow(&Posix::new(), &session, b"zeros")?.bytes, 20 << 20);
/// assert_eq!(producer.join().unwrap()?.bytes, 20 << 20);
/// # Ok::<(), antiphon::Error>(())
/// ```
///
/// # Errors
/// As of [`Posix::send`], but for those of a disk.
pub fn produce(posix: &Posix<'_>, session: &Session, name: &[u8], bytes: u64) -> Result<Moved, Error> {
    let about = About { len: Some(bytes), is_dense: true, ..About::new(Kind::File) };
    Filling::open(posix, session, name, about, Some(bytes))?.run(|filling| {
        let mut moved = Moved { len: Some(bytes), ..Moved::default() };
        while moved.bytes < bytes {
            let mut space = filling.claim(None)?;
            let wanted = usize::try_from(bytes - space.offset().min(bytes)).unwrap_or(usize::MAX);
            let len = wanted.min(space.capacity());
            (0..len).step_by(ZEROS.len()).for_each(|at| {
                space.copy_from(at, &ZEROS[..ZEROS.len().min(len - at)]);
            });
            space.complete(len)?;
            moved.bytes += len as u64;
            posix.tell(&moved);
        }
        Ok(moved)
    })
}

/// Swallows a file unread.
///
/// # Errors
/// As of [`Posix::receive`], but for those of a disk.
pub fn swallow(posix: &Posix<'_>, session: &Session, name: &[u8]) -> Result<Moved, Error> {
    Emptying::open(posix, session, name)?.run(|emptying| {
        let place = crate::sys::nonce();
        if emptying.goes_to(place) != place {
            return Err(emptying.elsewhere());
        }
        let mut moved = Moved { len: emptying.about.and_then(|about| about.len), ..Moved::default() };
        while let Some(block) = emptying.claim()? {
            moved.bytes += block.len() as u64;
            block.complete()?;
            posix.tell(&moved);
        }
        Ok(moved)
    })
}
