//! `RemoveIPC`: whether systemd's login manager removes a user's shared memory when the user logs out;
//! `logind.conf(5)`.

use super::files::Files;
use super::finding::Finding;

const TOPIC: &str = "RemoveIPC";
/// The main file is the first of these that is there.
const FOLDERS: [&str; 4] = ["/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd"];

pub fn examine(files: &Files, user: u32) -> Finding {
    // Made by the login manager when it starts.
    if !files.is_there("/run/systemd/sessions") {
        return Finding::ok(TOPIC, "nobody does it").means("systemd's login manager does not run here.");
    }
    let (is_removed, place) = setting(files);
    let place = place.unwrap_or_else(|| "built in".to_owned());
    if !is_removed {
        return Finding::ok(TOPIC, format!("no ({place})"))
            .means("What is in /dev/shm stays when its user logs out.");
    }
    let figure = format!("yes ({place})");
    let last = last_system_user(files);
    if user <= last {
        let meaning = format!("It is not done to system users, up to number {last}, and this one is number {user}.");
        return Finding::ok(TOPIC, figure).means(meaning);
    }
    Finding::warning(TOPIC, figure)
        .means(
            "When this user's last login ends, the login manager removes all that the user has in /dev/shm, channels \
             in use by background programs and cron jobs included: they go on, and nobody new can come to them.",
        )
        .advise(
            "Let the user count as logged in always, or run such programs as a system user, or switch it off for all:",
            &[
                "loginctl enable-linger",
                "sudo mkdir -p /etc/systemd/logind.conf.d",
                "printf '[Login]\\nRemoveIPC=no\\n' |",
                "    sudo tee /etc/systemd/logind.conf.d/90-keep-ipc.conf",
                "sudo systemctl kill -s HUP systemd-logind",
            ],
        )
}

/// Whether it is on, and which file says so.
fn setting(files: &Files) -> (bool, Option<String>) {
    let main = FOLDERS.iter().map(|folder| format!("{folder}/logind.conf")).find(|path| files.is_there(path));
    // By file name whatever the folder; of two that share it, the one in the folder that stands first.
    let mut drop_ins = std::collections::BTreeMap::new();
    for folder in FOLDERS {
        for name in files.names(&format!("{folder}/logind.conf.d")).into_iter().filter(|name| name.ends_with(".conf"))
        {
            drop_ins.entry(name.clone()).or_insert(format!("{folder}/logind.conf.d/{name}"));
        }
    }
    let (mut is_removed, mut place) = (true, None);
    for path in main.into_iter().chain(drop_ins.into_values()) {
        let Some(text) = files.read(&path) else { continue };
        if let Some(said) = said(&text, false) {
            (is_removed, place) = (said, Some(path));
        } else if let (None, Some(shown)) = (&place, said(&text, true)) {
            // The vendor's file shows what is built in, in comments.
            is_removed = shown;
        }
    }
    (is_removed, place)
}

/// What the last line of the section `Login` says; of those in comments, where these are asked for.
fn said(text: &str, in_comments: bool) -> Option<bool> {
    let (mut is_login, mut said) = (false, None);
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            is_login = line == "[Login]";
        }
        let line = if in_comments { line.strip_prefix('#').unwrap_or("") } else { line };
        if let (true, Some((key, value))) = (is_login, line.split_once('=')) {
            if key.trim() == "RemoveIPC" {
                said = truth(value.trim()).or(said);
            }
        }
    }
    said
}

fn truth(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

/// `SYS_UID_MAX` of `login.defs(5)`.
fn last_system_user(files: &Files) -> u32 {
    let defined = files.read("/etc/login.defs").unwrap_or_default();
    let number = defined.lines().find_map(|line| line.trim().strip_prefix("SYS_UID_MAX")?.trim().parse().ok());
    number.unwrap_or(999)
}

#[cfg(test)]
mod tests {
    use super::super::files::made_up::MadeUp;
    use super::super::finding::Level;
    use super::*;

    fn judged(more: &[(&str, &str)], user: u32) -> Finding {
        let mut files = vec![("/run/systemd/sessions/1", "")];
        files.extend(more);
        let MadeUp(files) = &MadeUp::new(&files);
        examine(files, user)
    }

    #[test]
    fn a_regular_user_is_warned_and_a_system_user_is_not() {
        let found = judged(&[("/etc/systemd/logind.conf", "[Login]\n#RemoveIPC=yes\n")], 1000);
        assert_eq!((found.level, found.figure.as_str()), (Level::Warning, "yes (built in)"));
        assert!(found.commands.iter().any(|command| command.contains("RemoveIPC=no")));
        assert_eq!(judged(&[], 1000).level, Level::Warning, "it is built in");
        assert_eq!(judged(&[], 0).level, Level::Ok);
        assert_eq!(judged(&[], 999).level, Level::Ok);
        assert_eq!(
            judged(&[("/etc/login.defs", "SYS_UID_MIN 101\n SYS_UID_MAX\t\t  499\n")], 500).level,
            Level::Warning
        );
        let MadeUp(nothing) = &MadeUp::new(&[]);
        assert_eq!(examine(nothing, 1000).level, Level::Ok, "nobody is there to do it");
    }

    #[test]
    fn the_last_word_of_all_files_counts() {
        let main = ("/etc/systemd/logind.conf", "[Login]\nRemoveIPC=yes\n");
        let off = "[Login]\nRemoveIPC=no\n";
        let found = judged(&[main, ("/usr/lib/systemd/logind.conf.d/10-vendor.conf", off)], 1000);
        assert_eq!(found.figure, "no (/usr/lib/systemd/logind.conf.d/10-vendor.conf)");
        let masked = ("/etc/systemd/logind.conf.d/10-vendor.conf", "");
        assert_eq!(
            judged(&[main, ("/usr/lib/systemd/logind.conf.d/10-vendor.conf", off), masked], 1000).level,
            Level::Warning
        );
        let later = ("/run/systemd/logind.conf.d/20-on.conf", "[Login]\nRemoveIPC = true\n");
        assert_eq!(judged(&[main, ("/etc/systemd/logind.conf.d/10.conf", off), later], 1000).level, Level::Warning);
        assert_eq!(judged(&[("/etc/systemd/logind.conf", "[Login]\n#RemoveIPC=no\n")], 1000).level, Level::Ok);
        assert_eq!(judged(&[("/etc/systemd/logind.conf", "[Manager]\nRemoveIPC=no\n")], 1000).level, Level::Warning);
        let vendors = ("/usr/lib/systemd/logind.conf", "[Login]\nRemoveIPC=no\n");
        assert_eq!(judged(&[main, vendors], 1000).level, Level::Warning, "the vendor's is not read then");
    }
}
