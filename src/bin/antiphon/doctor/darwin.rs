//! What can be seen of a Mac.

use super::finding::Finding;
use crate::style::count;
use antiphon::machine;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

pub fn examine() -> Vec<Finding> {
    vec![system(), processors(), semaphores(), registry()]
}

fn system() -> Finding {
    match said("sw_vers", &["-productVersion"]) {
        Some(version) => Finding::ok("system", format!("macOS {version}")),
        None => Finding::hidden("system", "sw_vers does not tell."),
    }
}

fn processors() -> Finding {
    match std::thread::available_parallelism() {
        Ok(number) => Finding::ok("processors", number.to_string())
            .means("Nobody is kept on one here: the system moves both ends as it likes."),
        Err(error) => Finding::hidden("processors", format!("The system does not tell: {error}.")),
    }
}

fn semaphores() -> Finding {
    const TOPIC: &str = "semaphores";
    let Some(most) = said("sysctl", &["-n", "kern.posix.sem.max"]).and_then(|most| most.parse::<u64>().ok()) else {
        return Finding::hidden(TOPIC, "sysctl does not tell kern.posix.sem.max.");
    };
    let figure = format!("{} on this machine", count(most));
    let meaning = "Before macOS 14.4 each channel has two until its name is removed, and so have other programs. How many \
                   are in use the system does not tell.";
    if most >= 1000 {
        return Finding::ok(TOPIC, figure).means(meaning);
    }
    Finding::warning(TOPIC, figure)
        .means(meaning)
        .advise("To raise it until the next start:", &["sudo sysctl kern.posix.sem.max=10000"])
}

fn registry() -> Finding {
    match machine::registry() {
        Ok(Some(folder)) => judge_registry(&folder),
        Ok(None) => Finding::hidden("registry", "This program keeps none."),
        Err(error) => Finding::problem("registry", "none")
            .means(format!("The files that carry the locks have no place: {error}."))
            .advise("Log in once as this user, so that the system makes the user's cache directory.", &[]),
    }
}

fn judge_registry(folder: &Path) -> Finding {
    const TOPIC: &str = "registry";
    let place = folder.display();
    let found = match std::fs::symlink_metadata(folder) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Finding::ok(TOPIC, "not there yet").means(format!("The first channel makes {place}."));
        }
        Err(error) => return Finding::problem(TOPIC, "out of reach").means(format!("{place}: {error}.")),
    };
    if !found.is_dir() || found.uid() != machine::user() {
        return Finding::problem(TOPIC, "not usable")
            .means(format!("{place} is not a directory of this user: no channel can be made or opened."))
            .advise("Look at it, and remove it or move it away:", &[&format!("ls -ld '{place}'")]);
    }
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Finding::problem(TOPIC, format!("{mode:04o}"))
            .means(format!("{place} is open to others: no channel can be made or opened."))
            .advise("To keep them out:", &[&format!("chmod 700 '{place}'")]);
    }
    match std::fs::read_dir(folder) {
        Ok(entries) => Finding::ok(TOPIC, format!("names in it: {}", count(entries.count() as u64)))
            .means(format!("It is {place}.")),
        Err(error) => Finding::problem(TOPIC, "out of reach").means(format!("{place}: {error}.")),
    }
}

fn said(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::super::files::made_up::MadeUp;
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn a_registry_is_judged_by_what_stands_there() {
        let MadeUp(files) = &MadeUp::new(&[("/good/one", ""), ("/open/two", ""), ("/file", "")]);
        let set = |path: &str, mode| {
            std::fs::set_permissions(files.path(path), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        set("/good", 0o700);
        set("/open", 0o777);
        std::os::unix::fs::symlink(files.path("/good"), files.path("/link")).unwrap();
        let level = |path: &str| judge_registry(&files.path(path)).level;
        assert_eq!(judge_registry(&files.path("/good")).figure, "names in it: 1");
        assert_eq!(judge_registry(&files.path("/missing")).figure, "not there yet");
        assert_eq!(level("/open"), Level::Problem);
        assert_eq!(level("/file"), Level::Problem);
        assert_eq!(level("/link"), Level::Problem, "a link may lead anywhere");
    }
}
