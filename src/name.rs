//! A checked name, and how it becomes the operating system's names.
//!
//! A user's name is 1 to 200 bytes of letters, digits, `.`, `_` and `-`, with an optional leading `/` that means
//! nothing. Every name given to the operating system is at most 30 bytes with its slash: Darwin's limit for
//! semaphores, kept on Linux so that one program names the same things on both.
//!
//! ```text
//! frames                        /frames        /frames+p        /frames+c
//! a-name-of-more-than-27-bytes  /a-name-of-more~tc3tjw414bfz  …+p  …+c
//! ```
//!
//! A private channel's name is drawn by lot: `private-` and twelve characters, which fit.
//!
//! `~` and `+` stand outside the user's alphabet, so that no name of a user is another's shortened one or another's
//! semaphore. Two long names may shorten to one: the full name stands in the region and is compared on open.

use crate::error::Error;
use std::ffi::CString;

/// The longest name a user may choose, without its leading slash.
pub(crate) const MAX_BYTES: usize = 200;
/// The longest name that Darwin gives a semaphore, with its slash.
const MAX_SYSTEM_BYTES: usize = 30;
/// What is left for the stem beside the slash and a suffix of two bytes.
const MAX_STEM_BYTES: usize = MAX_SYSTEM_BYTES - 1 - 2;
/// Characters of a hash: 60 bits in groups of five.
const HASH_BYTES: usize = 12;
const READABLE_BYTES: usize = MAX_STEM_BYTES - 1 - HASH_BYTES;

/// A name that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn new(name: &str) -> Result<Self, Error> {
        let bare = name.strip_prefix('/').unwrap_or(name);
        let why = if bare.is_empty() {
            "it is empty"
        } else if bare.len() > MAX_BYTES {
            "it is longer than 200 bytes"
        } else if !bare.bytes().all(is_allowed) {
            "it has a character that is not allowed"
        } else {
            return Ok(Name(bare.to_owned()));
        };
        Err(Error::BadName { name: name.to_owned(), why })
    }

    /// A name that nobody else has thought of: one for each `nonce`.
    pub(crate) fn private(nonce: u64) -> Self {
        Name(format!("private-{}", letters(nonce)))
    }

    /// The user's name without its slash.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The operating system's name of the region.
    pub(crate) fn region(&self) -> CString {
        self.system_name("")
    }

    /// The operating system's names of the two semaphores, the publisher's and the consumer's.
    pub(crate) fn bells(&self) -> [CString; 2] {
        [self.system_name("+p"), self.system_name("+c")]
    }

    fn system_name(&self, suffix: &str) -> CString {
        let mut name = format!("/{}{suffix}", self.stem()).into_bytes();
        name.retain(|byte| *byte != 0); // The alphabet has no NUL: nothing is ever removed.
        CString::new(name).unwrap_or_default()
    }

    fn stem(&self) -> String {
        // "." and ".." are the directory's own.
        if self.0.len() <= MAX_STEM_BYTES && self.0 != "." && self.0 != ".." {
            return self.0.clone();
        }
        let readable = &self.0[..self.0.len().min(READABLE_BYTES)];
        format!("{readable}~{}", letters(fnv1a(self.0.as_bytes())))
    }
}

/// The lower 60 bits of a number, five by five, the lowest first.
fn letters(number: u64) -> String {
    let letter = |place| b"0123456789abcdefghjkmnpqrstvwxyz"[(number >> (5 * place) & 31) as usize];
    (0..HASH_BYTES).map(|place| char::from(letter(place))).collect()
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// FNV-1a, 64 bits: fixed for ever, since two processes have to agree on it.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_fit_stay_as_they_are() {
        for name in ["a", "frames", "/frames", "A.b_c-9", &"x".repeat(27)] {
            let bare = name.trim_start_matches('/');
            let name = Name::new(name).unwrap();
            assert_eq!(name.region().to_str().unwrap(), format!("/{bare}"));
            let [publisher, consumer] = name.bells();
            assert_eq!(publisher.to_str().unwrap(), format!("/{bare}+p"));
            assert_eq!(consumer.to_str().unwrap(), format!("/{bare}+c"));
        }
    }

    #[test]
    fn every_system_name_is_at_most_thirty_bytes() {
        for len in 1..=MAX_BYTES {
            let name = Name::new(&"n".repeat(len)).unwrap();
            let [publisher, consumer] = name.bells();
            for system in [name.region(), publisher, consumer] {
                assert!(system.as_bytes().len() <= 30, "{system:?}");
            }
        }
    }

    #[test]
    fn long_names_that_differ_at_the_end_differ() {
        let stem = "s".repeat(60);
        let a = Name::new(&format!("{stem}a")).unwrap();
        let b = Name::new(&format!("{stem}b")).unwrap();
        assert_ne!(a.region(), b.region());
        assert!(a.region().to_str().unwrap().starts_with("/ssssssssssssss~"));
    }

    #[test]
    fn the_shortened_form_never_changes() {
        let name = Name::new("a-name-of-more-than-27-bytes").unwrap();
        assert_eq!(name.region().to_str().unwrap(), "/a-name-of-more~tc3tjw414bfz");
        assert_eq!(Name::new(".").unwrap().region().to_str().unwrap(), "/.~hx2303j93xry");
    }

    #[test]
    fn private_names_fit_and_differ() {
        let name = Name::private(1 << 59 | 1);
        assert_eq!(name.as_str(), "private-10000000000g");
        assert_eq!(Name::new(name.as_str()).unwrap(), name);
        assert_eq!(name.region().to_str().unwrap(), "/private-10000000000g");
        assert_ne!(Name::private(1), Name::private(3));
    }

    #[test]
    fn bad_names_are_refused() {
        for bad in ["", "/", "a b", "a/b", "//a", "ä", "a\0b", "a+p", "a~b", &"x".repeat(201)] {
            assert!(matches!(Name::new(bad), Err(Error::BadName { .. })), "{bad:?}");
        }
    }
}
