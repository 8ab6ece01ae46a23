//! What a process may use.

use super::finding::Finding;
use crate::style::{bytes, count};
use antiphon::machine::{self, Limit, SYSTEM, System};

/// A channel of 4 MiB with its header.
pub const REGION_BYTES: u64 = (4 << 20) + (64 << 10);

/// `descriptors` is what one end of a channel was seen to take.
pub fn files(descriptors: Option<u64>) -> Finding {
    match machine::limit(Limit::Files) {
        Ok(limit) => judge_files(limit, descriptors),
        Err(error) => Finding::hidden("descriptors", format!("The system does not tell: {error}.")),
    }
}

fn judge_files(limit: Option<u64>, descriptors: Option<u64>) -> Finding {
    const TOPIC: &str = "descriptors";
    let Some(limit) = limit else { return Finding::ok(TOPIC, "no limit") };
    let figure = format!("{} a process", count(limit));
    let Some(each) = descriptors.filter(|each| *each > 0) else {
        return Finding::note(TOPIC, figure).means("What one end of a channel takes of them was not seen.");
    };
    let ends = limit / each;
    let meaning = format!("One end of a channel takes {each}: {} at most in one process.", count(ends));
    if ends >= 100 {
        return Finding::ok(TOPIC, figure).means(meaning);
    }
    Finding::warning(TOPIC, figure).means(meaning).advise("For more, before the program starts:", &["ulimit -n 4096"])
}

/// A problem where no region could be made.
pub fn file_bytes() -> Finding {
    match (SYSTEM, machine::limit(Limit::FileBytes)) {
        (System::Darwin, _) => Finding::ok("length of a file", "any").means("Shared memory is no file here."),
        (System::Linux | System::FreeBsd, Ok(limit)) => judge_file_bytes(limit),
        (System::Linux | System::FreeBsd, Err(error)) => {
            Finding::hidden("length of a file", format!("The system does not tell: {error}."))
        }
    }
}

fn judge_file_bytes(limit: Option<u64>) -> Finding {
    const TOPIC: &str = "length of a file";
    match limit {
        None => Finding::ok(TOPIC, "no limit"),
        Some(limit) if limit >= REGION_BYTES => {
            Finding::note(TOPIC, bytes(limit)).means("A longer region ends the program that makes it (SIGXFSZ).")
        }
        Some(limit) => Finding::problem(TOPIC, bytes(limit))
            .means("A channel of 4 MiB is longer: making it ends the program (SIGXFSZ).")
            .advise("Before the program starts:", &["ulimit -f unlimited"]),
    }
}

pub fn address_space() -> Finding {
    match machine::limit(Limit::AddressSpace) {
        Ok(limit) => judge_address_space(limit),
        Err(error) => Finding::hidden("address space", format!("The system does not tell: {error}.")),
    }
}

fn judge_address_space(limit: Option<u64>) -> Finding {
    const TOPIC: &str = "address space";
    match limit {
        None => Finding::ok(TOPIC, "no limit"),
        Some(limit) => Finding::note(TOPIC, bytes(limit))
            .means("Every open end maps all of its channel's region: 4 MiB and more each, unless asked otherwise.")
            .advise("To lift it, before the program starts:", &["ulimit -v unlimited"]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn too_few_descriptors_and_too_short_files_are_told() {
        assert_eq!(judge_files(Some(1024), Some(4)).level, Level::Ok);
        assert!(judge_files(Some(1024), Some(4)).meaning.contains("256 at most"));
        assert_eq!(judge_files(Some(256), Some(4)).level, Level::Warning);
        assert_eq!(judge_files(Some(256), None).level, Level::Note);
        assert_eq!(judge_file_bytes(None).level, Level::Ok);
        assert_eq!(judge_file_bytes(Some(REGION_BYTES)).level, Level::Note);
        assert_eq!(judge_file_bytes(Some(REGION_BYTES - 1)).level, Level::Problem);
        assert_eq!(judge_address_space(Some(1 << 30)).level, Level::Note);
    }
}
