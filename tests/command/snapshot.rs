//! What the command says, word for word: the files `tests/command/*.txt`.
//!
//! `ANTIPHON_RENEW_SNAPSHOTS=1 cargo test --features steps,cli --test command` writes them anew; `git diff` then shows
//! what has become of them.

use std::path::PathBuf;

const RENEW: &str = "ANTIPHON_RENEW_SNAPSHOTS";

/// Compares with the file, or writes it where that is asked for.
pub fn assert_snapshot(name: &str, seen: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/command").join(format!("{name}.txt"));
    if std::env::var_os(RENEW).is_some() {
        std::fs::write(&path, seen).unwrap();
        return;
    }
    let path = path.display();
    let kept = std::fs::read_to_string(path.to_string()).unwrap_or_else(|error| panic!("{path}: {error}; {RENEW}=1"));
    if let Some(line) = first_difference(&kept, seen) {
        panic!("{path}:{line} is not what is said now (if it should be: {RENEW}=1). Now:\n{seen}");
    }
}

/// The number of the first line that differs.
fn first_difference(kept: &str, seen: &str) -> Option<usize> {
    if kept == seen {
        return None;
    }
    let same = kept.lines().zip(seen.lines()).take_while(|(kept, seen)| kept == seen).count();
    Some(same + 1)
}

#[test]
fn a_snapshot_that_differs_is_told_by_its_line() {
    assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
    assert_eq!(first_difference("a\nb\n", "a\nc\n"), Some(2));
    assert_eq!(first_difference("a\nb\n", "a\nb"), Some(3));
    assert_eq!(first_difference("a\n", ""), Some(1));
}
