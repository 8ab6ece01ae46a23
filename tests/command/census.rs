//! `antiphon ls`, `inspect` and `clean`: over channels that are held, left over, stuck or hostile.

use crate::frame::{on_terminal, plain};
use crate::support::{PATIENCE, Peer, Watchdog, assert_nothing_left, hear, role, say, unique};
use crate::this_test;
use crate::{run, text};
use antiphon::{Channel, ChannelOptions};
use serde_json::Value;
use std::os::unix::fs::FileExt;
use std::process::Stdio;

const SMALL: ChannelOptions = ChannelOptions::new().capacity(64 * 1024);

/// A child that holds both ends until it is killed, and has a message stand there where it is asked to.
fn hold_if_child() -> bool {
    let Some((_, words)) = role() else { return false };
    let _watchdog = Watchdog::new("holder", PATIENCE);
    let channel = SMALL.create(&words[0]).unwrap();
    let mut publisher = channel.publisher().unwrap();
    let _consumer = channel.consumer().unwrap();
    if words[1] == "message" {
        publisher.publish(&[7; 1000]).unwrap();
    }
    say("holding");
    hear();
    true
}

fn left_over(test: &str, name: &str, how: &str) {
    let mut child = Peer::start(test, "hold", &[name, how]);
    child.expect("holding");
    child.kill();
}

pub(crate) fn said(args: &[&str]) -> (String, String, i32) {
    let output = run(args);
    (text(&output.stdout), text(&output.stderr), output.status.code().unwrap())
}

pub(crate) fn json(args: &[&str]) -> Value {
    serde_json::from_str(&said(args).0).unwrap()
}

#[test]
fn ls_has_a_line_for_each_channel() {
    let _watchdog = Watchdog::new("ls", PATIENCE);
    let name = unique("a-long-name-which-does-not-fit-into-a-column-of-a-terminal-at-all");
    let channel = SMALL.create(&name).unwrap();
    let mut publisher = channel.publisher().unwrap();
    publisher.publish(b"for whoever comes").unwrap();
    let (list, errors, status) = said(&["ls"]);
    assert_eq!((errors.as_str(), status), ("", 0));
    let line = list.lines().find(|line| line.starts_with(&name)).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    let pid = std::process::id().to_string();
    assert_eq!(words[1..5], ["in", "use", &pid, "*-"], "{line}");
    assert!(list.starts_with("NAME "), "{list}");
    let entries = json(&["ls", "--json"]);
    let entry = entries["entries"].as_array().unwrap().iter().find(|entry| entry["name"] == name).unwrap();
    assert_eq!(entry["state"], "in use");
    assert_eq!(entry["channel"]["publisher"]["pid"], std::process::id());
    assert_eq!(entry["channel"]["turn"]["content"], "a message");
    assert_eq!(json(&["inspect", &name, "--json"])["channel"]["turn"], entry["channel"]["turn"]);
    // A terminal of 80 columns.
    let list = on_terminal(&["ls"], &[]);
    assert!(list.contains('…') && !list.contains(&name), "{list}");
    let wide: Vec<_> = list.lines().filter(|line| line.trim_end().chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
    // A message waits: its names would stay.
    Channel::unlink(&name).unwrap();
}

#[test]
fn inspect_says_every_field_in_words() {
    if hold_if_child() {
        return;
    }
    let _watchdog = Watchdog::new("inspect", PATIENCE);
    let name = unique("words");
    let mut child = Peer::start(this_test!(), "hold", &[&name, "message"]);
    child.expect("holding");
    let pid = child.pid().to_string();
    let (words, errors, status) = said(&["inspect", &name]);
    assert_eq!((errors.as_str(), status), ("", 0));
    let labels: Vec<&str> =
        words.lines().map(|line| line[..14].trim_end()).filter(|label| !label.is_empty()).collect();
    assert_eq!(
        labels,
        [
            "name",
            "kind",
            "state",
            "system name",
            "owner",
            "size",
            "names",
            "capacity",
            "made",
            "publisher",
            "consumer",
            "open",
            "turn",
            "passed",
            "published",
            "consumed"
        ]
    );
    for expected in [
        format!("state         in use: process {pid} has the publisher's seat\n"),
        "turn          the consumer's; there stands a message of 1,000 bytes\n".to_owned(),
        "capacity      64 KiB\n".to_owned(),
        format!("by process {pid}\n"),
    ] {
        assert!(words.contains(&expected), "{expected}{words}");
    }
    assert!(words.lines().all(|line| line.chars().count() <= 80), "{words}");
    child.kill();
    let (words, _, _) = said(&["inspect", &format!("/{name}")]);
    assert!(words.contains("state         kept: a message of 1000 bytes waits for a consumer;"), "{words}");
    assert!(words.contains(&format!("publisher     process {pid}, which is dead; it came ")), "{words}");
    // A name that is nearly right.
    let (_, errors, status) = said(&["inspect", &format!("{name}x")]);
    assert_eq!(status, 1);
    assert!(errors.contains(&format!("did you mean '{name}'")), "{errors}");
    Channel::unlink(&name).unwrap();
}

#[test]
fn clean_shows_first_and_removes_when_asked() {
    if hold_if_child() {
        return;
    }
    let _watchdog = Watchdog::new("clean", PATIENCE);
    let (left, kept, used) = (unique("left"), unique("kept"), unique("used"));
    left_over(this_test!(), &left, "nothing");
    left_over(this_test!(), &kept, "message");
    let _in_use = SMALL.create(&used).unwrap();
    let (shown, _, status) = said(&["clean"]);
    assert_eq!(status, 0);
    assert!(shown.contains(&format!("would go {left}: channel, 128 KiB\n    process ")), "{shown}");
    assert!(!shown.contains(&kept) && !shown.contains(&used), "{shown}");
    assert!(shown.contains("--yes removes them.") && shown.contains("Kept on purpose: "), "{shown}");
    assert!(antiphon::census::look(&left).is_ok(), "only shown");
    // By name, so that what tests beside this one leave is left to them.
    let (shown, _, status) = said(&["clean", &left, &kept, &used]);
    assert_eq!(status, 0);
    assert!(shown.contains(&format!("would stay {kept}: ")) && shown.contains("--kept removes it too"), "{shown}");
    let (shown, _, status) = said(&["clean", "--yes", &left, &kept, &used]);
    assert_eq!(status, 1, "two of them could not be removed");
    assert!(shown.contains(&format!("removed {left}: channel, 128 KiB\n")), "{shown}");
    assert!(shown.contains(&format!("not removed {used}: ")) && shown.contains("is in use by process"), "{shown}");
    assert!(shown.contains("1 removed, 128 KiB; 2 not.\n"), "{shown}");
    assert!(shown.contains("--kept removes it too"), "the way out is an option of the command: {shown}");
    assert_nothing_left(&left);
    let removed = json(&["clean", "--yes", "--kept", "--json", &kept]);
    assert_eq!(removed["removed"], true);
    assert_eq!(removed["entries"][0]["entry"]["name"], kept);
    assert_eq!(removed["entries"][0]["failure"], Value::Null);
    assert_nothing_left(&kept);
    assert!(antiphon::census::look(&used).is_ok());
}

#[test]
fn who_reads_no_further_gets_no_error_of_the_list() {
    let _watchdog = Watchdog::new("a closed pipe", PATIENCE);
    let name = unique("pipe");
    let _channel = SMALL.create(&name).unwrap();
    for args in [&["ls"][..], &["ls", "--json", "--all"], &["inspect", &name], &["clean"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = plain(args).stdout(Stdio::from(writer)).stderr(Stdio::piped()).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{args:?}");
    }
}

#[test]
fn nothing_that_stands_in_shared_memory_makes_the_command_hang() {
    if !std::path::Path::new("/dev/shm").is_dir() || cfg!(antiphon_darwin_rules) {
        println!("NOT RUN: shared memory has no path here");
        return;
    }
    let _watchdog = Watchdog::new("hostile", PATIENCE);
    let (fifo, noise, escapes) = (unique("fifo"), unique("noise"), format!("{}\u{1b}[2J", unique("escapes")));
    let path = |name: &str| format!("/dev/shm/{name}");
    let c_path = std::ffi::CString::new(path(&fifo)).unwrap();
    // SAFETY: a NUL-terminated path.
    assert_eq!(unsafe { libc::mkfifo(c_path.as_ptr(), 0o600) }, 0);
    let mut bytes: Vec<u8> = (0..128 * 1024u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    bytes[..8].copy_from_slice(b"antiphon");
    std::fs::write(path(&noise), &bytes).unwrap();
    std::fs::write(path(&escapes), b"").unwrap();
    let (list, _, status) = said(&["ls", "--all"]);
    let (inspected, _, _) = said(&["inspect", &fifo]);
    let (cleaned, _, refused) = said(&["clean", "--yes", "--kept", "--all-users", &fifo, &noise]);
    let still_there = [&fifo, &noise].map(|name| std::fs::symlink_metadata(path(name)).is_ok());
    for name in [&fifo, &noise, &escapes] {
        std::fs::remove_file(path(name)).unwrap();
    }
    assert_eq!((status, refused), (0, 1));
    assert!(list.contains(&fifo) && list.contains(&noise) && !list.contains('\u{1b}'), "{list}");
    assert!(inspected.contains("state         foreign: it is a FIFO\n"), "{inspected}");
    assert!(cleaned.contains(&format!("not removed {noise}: ")), "{cleaned}");
    assert_eq!(still_there, [true, true]);
}

#[test]
fn who_cannot_be_told_of_an_error_has_its_status_all_the_same() {
    let _watchdog = Watchdog::new("a closed error pipe", PATIENCE);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = plain(&["inspect", &unique("nobody-made-this")]);
    assert_eq!(command.stderr(Stdio::from(writer)).status().unwrap().code(), Some(1));
}

#[test]
fn where_nothing_can_be_listed_the_doctor_is_named() {
    let test = "where_nothing_can_be_listed_the_doctor_is_named";
    let _watchdog = Watchdog::new(test, PATIENCE);
    let empty = "mount -t tmpfs tmpfs /dev";
    let within = |script: &str| {
        std::process::Command::new("unshare")
            .args(["-m", "sh", "-c", &format!("{empty} && exec \"$0\" {script}"), env!("CARGO_BIN_EXE_antiphon")])
            .output()
    };
    if cfg!(antiphon_darwin_rules) || !within("--version").is_ok_and(|done| done.status.success()) {
        println!("NOT RUN {test}: no mount namespace can be had");
        return;
    }
    for args in ["ls", "clean", "inspect frames"] {
        let output = within(args).unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = text(&output.stderr);
        assert!(said.contains("No such file") && said.contains("'antiphon doctor'"), "{args}: {said}");
    }
}

/// Regions that are longer than a number is wide, all together.
#[test]
fn clean_adds_up_what_no_number_holds() {
    if !std::path::Path::new("/dev/shm").is_dir() || cfg!(antiphon_darwin_rules) {
        println!("NOT RUN: shared memory has no path here");
        return;
    }
    if hold_if_child() {
        return;
    }
    let _watchdog = Watchdog::new("too much", PATIENCE);
    let names: Vec<String> = (0..5).map(|number| unique(&format!("huge{number}"))).collect();
    for name in &names {
        left_over(this_test!(), name, "nothing");
        let file = std::fs::OpenOptions::new().write(true).open(format!("/dev/shm/{name}")).unwrap();
        // The capacity, at byte 24, has to fit the length.
        file.write_all_at(&((1u64 << 62) - 65536).to_ne_bytes(), 24).unwrap();
        file.set_len(1 << 62).unwrap();
    }
    let args: Vec<&str> = ["clean", "--yes"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let (shown, errors, status) = said(&args);
    names.iter().for_each(|name| assert_nothing_left(name));
    assert_eq!((errors.as_str(), status), ("", 0));
    assert!(shown.contains("5 removed, 16384 PiB.\n"), "{shown}");
}

#[test]
fn a_channel_of_another_build_is_listed_and_clean_says_who_removes_it() {
    if !std::path::Path::new("/dev/shm").is_dir() || cfg!(antiphon_darwin_rules) {
        println!("NOT RUN: shared memory has no path here");
        return;
    }
    let _watchdog = Watchdog::new("another build", PATIENCE);
    let name = unique("build");
    let _channel = SMALL.create(&name).unwrap();
    let file = std::fs::OpenOptions::new().read(true).write(true).open(format!("/dev/shm/{name}")).unwrap();
    // The version of the layout, at byte 8.
    let mut ours = [0; 4];
    file.read_exact_at(&mut ours, 8).unwrap();
    let set_version = |version: [u8; 4]| file.write_all_at(&version, 8);
    set_version(2u32.to_ne_bytes()).unwrap();
    let ((list, ..), (shown, ..), (tried, _, status)) =
        (said(&["ls"]), said(&["clean", &name]), said(&["clean", "--yes", "--kept", "--all-users", &name]));
    set_version(ours).unwrap();
    assert!(list.lines().any(|line| line.starts_with(&name) && line.contains("foreign")), "{list}");
    for text in [shown, tried] {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("layout version 2") && words.contains("that build removes it"), "{text}");
    }
    assert_eq!(status, 1);
}
