//! What an engine notes of a file, so that its other side can make the same one.

/// The first byte of every note of an engine.
const VERSION: u8 = 1;

/// What kind of thing stands in a session's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A disk file: each block's offset is its place in it, and what no block came of is a hole.
    File,
    /// Bytes that come one after the other, and nobody knows how many.
    Stream,
    /// A directory with all that is in it, packed as `tree.rs` says.
    Tree,
}

/// What is known of a file that an engine brought into a session.
///
/// ```
/// use antiphon::engine::{About, Kind, Posix};
/// use antiphon::session::{Session, SessionOptions};
///
/// let host = SessionOptions::new().host()?;
/// let session = Session::connect(host.id())?;
/// # let path = std::env::temp_dir().join(format!("antiphon-doc-about-{}", std::process::id()));
/// std::fs::write(&path, b"five!")?;
/// Posix::new().send(&session, &path, b"five")?;
/// let about = About::of_note(&session.files()?[0].note).unwrap();
/// assert_eq!((about.kind, about.len), (Kind::File, Some(5)));
/// # std::fs::remove_file(&path)?;
/// # session.cancel(b"five", "only looked at")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct About {
    /// What it is.
    pub kind: Kind,
    /// How long it is, holes and all, where that is known.
    pub len: Option<u64>,
    /// Its permission bits.
    pub mode: u32,
    /// When it was last written to: seconds since 1970, and billionths.
    pub modified: (i64, u32),
    /// Whether no part of it is a hole.
    pub is_dense: bool,
    /// One sending's own number.
    pub(super) nonce: u64,
}

impl About {
    pub(super) fn new(kind: Kind) -> Self {
        let nonce = crate::sys::nonce();
        About { kind, len: None, mode: 0o644, modified: (0, 0), is_dense: false, nonce }
    }

    pub(super) fn of_metadata(kind: Kind, file: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let nanoseconds = u32::try_from(file.mtime_nsec()).unwrap_or(0);
        About {
            len: (kind == Kind::File).then_some(file.len()),
            mode: file.mode() & 0o7777,
            modified: (file.mtime(), nanoseconds),
            is_dense: file.blocks().saturating_mul(512) >= file.len(),
            ..About::new(kind)
        }
    }

    /// What a file's [note](crate::session::Entry::note) says, if an engine wrote it.
    pub fn of_note(note: &[u8]) -> Option<Self> {
        let (&[version, kind, is_dense, zero], rest) = note.split_first_chunk()?;
        let (mode, rest) = rest.split_first_chunk()?;
        let (nanoseconds, rest) = rest.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let (seconds, rest) = rest.split_first_chunk()?;
        let kind = match kind {
            1 => Kind::File,
            2 => Kind::Stream,
            3 => Kind::Tree,
            _ => return None,
        };
        (version == VERSION && is_dense < 2 && zero == 0).then_some(About {
            kind,
            is_dense: is_dense == 1,
            mode: u32::from_le_bytes(*mode),
            modified: (i64::from_le_bytes(*seconds), u32::from_le_bytes(*nanoseconds).min(999_999_999)),
            len: Some(u64::from_le_bytes(*len)).filter(|len| *len != u64::MAX),
            nonce: u64::from_le_bytes(rest.try_into().ok()?),
        })
    }

    pub(super) fn to_note(self) -> Vec<u8> {
        let kind = match self.kind {
            Kind::File => 1,
            Kind::Stream => 2,
            Kind::Tree => 3,
        };
        let mut note = vec![VERSION, kind, u8::from(self.is_dense), 0];
        note.extend(self.mode.to_le_bytes());
        note.extend(self.modified.1.to_le_bytes());
        note.extend(self.len.unwrap_or(u64::MAX).to_le_bytes());
        note.extend(self.modified.0.to_le_bytes());
        note.extend(self.nonce.to_le_bytes());
        note
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_and_nothing_else_is_one() {
        for kind in [Kind::File, Kind::Stream, Kind::Tree] {
            let about = About { len: Some(7), mode: 0o750, modified: (-3, 999), is_dense: true, ..About::new(kind) };
            for about in [about, About { len: None, is_dense: false, ..about }] {
                let note = about.to_note();
                assert!(note.len() <= 64);
                assert_eq!(About::of_note(&note), Some(about));
                for len in 0..note.len() {
                    assert_eq!(About::of_note(&note[..len]), None);
                }
                assert_eq!(About::of_note(&[&note[..], &[0]].concat()), None);
                assert_eq!(About::of_note(&[&[9], &note[1..]].concat()), None);
            }
        }
        assert_eq!(About::of_note(b"640 x 480"), None);
    }
}
