//! `antiphon ls`, `inspect` and `clean` over block files: that are held, left over, or hostile.

use crate::census::{json, said};
use crate::frame::on_terminal;
use crate::snapshot::assert_snapshot;
use crate::support::{PATIENCE, Peer, Watchdog, assert_nothing_left, hear, role, say};
use crate::this_test;
use antiphon::blocks::{BlockFile, BlockFileOptions, FileId};
use antiphon::session::{Session, SessionOptions};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

const SMALL: BlockFileOptions = BlockFileOptions::new().block_bytes(4096);
/// What a terminal would obey, and what is no text at all.
const EVIL: &[u8] = b"evil\x1b[2J\x07\xff\xe2\x80\xaename\r\n";
const HARMLESS: &str = "evil\\u{1b}[2J\\u{7}\\xff\\u{202e}name\\r\\n";

fn unique() -> FileId {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    FileId { session: u64::from(std::process::id()) << 32 | 0xc0d, file: COUNT.fetch_add(1, Relaxed) }
}

/// A child that holds a file of 40 blocks until it is killed: one is complete, one is being read, one is being filled.
fn hold_if_child() -> bool {
    let Some((_, words)) = role() else { return false };
    let _watchdog = Watchdog::new("holder", PATIENCE);
    let id = FileId { session: words[0].parse().unwrap(), file: words[1].parse().unwrap() };
    let file = SMALL.blocks(40).create(id, b"two  spaces").unwrap();
    let (mut writer, mut reader) = (file.writer().unwrap(), file.reader().unwrap());
    if words[2] == "blocks" {
        writer.claim().unwrap().complete(4096).unwrap();
        writer.claim().unwrap().complete(1000).unwrap();
    }
    let _block = (words[2] == "blocks").then(|| reader.claim().unwrap().unwrap());
    let _space = writer.claim().unwrap();
    say("holding");
    hear();
    true
}

fn holder(test: &str, id: FileId, how: &str) -> Peer {
    let mut child = Peer::start(test, "hold", &[&id.session.to_string(), &id.file.to_string(), how]);
    child.expect("holding");
    child
}

#[test]
fn ls_has_a_line_for_each_block_file_that_fits_a_terminal() {
    let _watchdog = Watchdog::new("ls", PATIENCE);
    let (id, evil) = (unique(), unique());
    let long = "a-file-whose-name-does-not-fit-into-a-column-of-a-terminal/".repeat(3);
    let file = SMALL.create(id, long.as_bytes()).unwrap();
    let other = SMALL.create(evil, EVIL).unwrap();
    let (mut writer, mut reader) = (file.writer().unwrap(), file.reader().unwrap());
    writer.claim().unwrap().complete(3000).unwrap();
    let (list, errors, status) = said(&["ls"]);
    assert_eq!((errors.as_str(), status), ("", 0));
    let pid = std::process::id().to_string();
    let line = |id: FileId| list.lines().find(|line| line.starts_with(&id.to_string())).unwrap();
    let words: Vec<&str> = line(id).split_whitespace().collect();
    assert_eq!(
        (&words[..7], words.last()),
        (&[&id.to_string(), "in", "use", &pid, &pid, "2.9", "KiB"][..], Some(&&*long))
    );
    assert!(line(evil).contains(" -  ") && line(evil).ends_with(HARMLESS), "{}", line(evil));
    assert!(list.lines().any(|line| line.starts_with("NAME ") && line.ends_with(" FILE")), "{list}");
    let entries = json(&["ls", "--json"]);
    let of = |id: FileId| {
        let entries = entries["entries"].as_array().unwrap().iter();
        entries.clone().find(|entry| entry["name"] == id.to_string()).unwrap().clone()
    };
    assert_eq!((&of(id)["kind"], &of(id)["channel"]), (&"block file".into(), &serde_json::Value::Null));
    let seen = &of(id)["block_file"];
    assert_eq!(seen["session"], format!("{:016X}", id.session));
    assert_eq!((&seen["file"], &seen["name"], &seen["end"]), (&id.file.into(), &long.into(), &"open".into()));
    assert_eq!(seen["blocks"][0]["state"], "complete");
    assert_eq!(seen["handles"][0]["pid"], std::process::id());
    assert_eq!(json(&["inspect", &id.to_string(), "--json"])["block_file"], *seen);
    assert_eq!(of(evil)["block_file"]["name"], HARMLESS);
    // A terminal of 80 columns.
    let list = on_terminal(&["ls"], &[]);
    assert!(list.contains(&id.to_string()) && list.contains("a-fi") && list.contains('…'), "{list}");
    let wide: Vec<_> = list.lines().filter(|line| line.trim_end().chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
    reader.claim().unwrap().unwrap().complete().unwrap();
    drop((writer, reader, file, other));
    [id, evil].iter().for_each(|id| assert_nothing_left(&id.to_string()));
}

#[test]
fn inspect_says_every_field_of_a_block_file_and_draws_its_blocks() {
    if hold_if_child() {
        return;
    }
    let _watchdog = Watchdog::new("inspect", PATIENCE);
    let id = FileId { file: 7, ..unique() };
    let name = id.to_string();
    let mut child = holder(this_test!(), id, "blocks");
    let pid = child.pid();
    let (alive, errors, status) = said(&["inspect", &name]);
    assert_eq!((errors.as_str(), status), ("", 0));
    let coloured = said(&["inspect", "--color", "always", &name]).0;
    child.kill();
    let (dead, _, _) = said(&["inspect", &format!("/{name}")]);
    BlockFile::unlink(id).unwrap();
    for text in [&alive, &dead] {
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(!text.contains('\u{1b}'));
    }
    assert!(coloured.contains("\u{1b}[32m#\u{1b}[0m") && coloured.contains("\u{1b}[36mr\u{1b}[0m"), "{coloured:?}");
    assert_snapshot("inspect-block-file-held", &steady(&alive, id, pid));
    assert_snapshot("inspect-block-file-left", &steady(&dead, id, pid));
}

#[test]
fn a_session_is_shown_as_one_with_its_host_and_its_files() {
    let watch = || Watchdog::new("session", PATIENCE);
    if let Some((_, words)) = role() {
        let _watchdog = watch();
        let options = SessionOptions::new().block_bytes(4096).blocks(1).id(words[0].parse().unwrap());
        let host = options.host().unwrap();
        let mut writer = Session::connect(host.id()).unwrap().write(b"frames.raw").unwrap();
        let _space = writer.claim().unwrap();
        say("hosts");
        hear();
        return;
    }
    let _watchdog = watch();
    let session = unique().session | 0x5e55;
    let name = format!("{session:016X}");
    let mut child = Peer::start(this_test!(), "host", &[&session.to_string()]);
    child.expect("hosts");
    let pid = child.pid().to_string();
    let (list, errors, status) = said(&["ls"]);
    assert_eq!((errors.as_str(), status), ("", 0));
    let lines = |list: &str| -> Vec<String> {
        list.lines().filter(|line| line.starts_with(&name)).map(str::to_owned).collect()
    };
    let [row, file] = &lines(&list)[..] else { panic!("{list}") };
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(&words[..7], [&name, "in", "use", &pid, "left", "2", "1"], "{row}");
    assert!(file.starts_with(&format!("{name}-")) && file.ends_with(" frames.raw"), "{file}");
    assert!(list.lines().any(|line| line.starts_with("SESSION ") && line.ends_with(" SINCE")), "{list}");
    let file = file.split_whitespace().next().unwrap();

    let seen = json(&["inspect", "--json", &name]);
    assert_eq!((&seen["kind"], &seen["session"]), (&"session".into(), &name.clone().into()));
    assert_eq!((&seen["channel"]["consumer"]["pid"], &seen["block_file"]), (&child.pid().into(), &().into()));
    let all = json(&["ls", "--json"]);
    let its = all["entries"].as_array().unwrap().iter().filter(|entry| entry["session"] == name);
    assert_eq!(its.map(|entry| entry["kind"].as_str().unwrap()).collect::<Vec<_>>(), ["session", "block file"]);

    let (words, ..) = said(&["inspect", &name]);
    for line in [
        "kind          session\n".to_owned(),
        format!("state         in use: process {pid} hosts it\n"),
        format!("host          process {pid}, for "),
        "turn          the caller's; there stands ".to_owned(),
        "asked         2 messages of ".to_owned(),
        format!("file          {file} 'frames.raw': in use\n"),
    ] {
        assert!(words.contains(&line), "{line:?} is not in\n{words}");
    }
    child.kill();
    let (words, ..) = said(&["clean", &name]);
    assert!(words.starts_with(&format!("would go {name}: session, 128 KiB\n    process {pid}, which ")), "{words}");
    assert_eq!(said(&["clean", "--yes", &name, file]).2, 0);
    assert_nothing_left(&name);
    assert_nothing_left(file);
}

#[test]
fn what_is_named_almost_as_a_session_is_a_channel() {
    let _watchdog = Watchdog::new("no session", PATIENCE);
    let session = unique().session;
    for (name, kind) in [
        (format!("{session:016X}"), "session"),
        (format!("{session:015X}g"), "channel"),
        (format!("{:016x}", session | 0xa), "channel"),
        (format!("{session:017X}"), "channel"),
    ] {
        let _channel = antiphon::ChannelOptions::new().capacity(64 * 1024).create(&name).unwrap();
        assert_eq!(json(&["inspect", "--json", &name])["kind"], kind, "{name}");
    }
}

/// What is said, without what is never twice the same.
fn steady(text: &str, id: FileId, pid: u32) -> String {
    let session = format!("{:016X}", id.session);
    let file = format!("{:08X}", id.file);
    let text =
        text.replace(&session, "SESSION").replace(&file, "FILE").replace(&format!("process {pid}"), "process PID");
    let mut steady = String::new();
    for line in text.lines() {
        let last = steady.lines().last().unwrap_or_default();
        let has_process = last.contains("process PID");
        match ["made ", "both ", "owner "].iter().find(|label| line.starts_with(*label)) {
            Some(label) => steady.push_str(&format!("{label}...\n")),
            // Where such a line is broken depends on the number.
            None if has_process && line.starts_with(' ') => {
                steady.truncate(steady.trim_end().len());
                steady.push_str(&format!(" {}\n", line.trim_start()));
            }
            None => steady.push_str(&format!("{line}\n")),
        }
    }
    steady
}

#[test]
fn clean_keeps_what_nobody_has_read_and_removes_the_rest() {
    if hold_if_child() {
        return;
    }
    let _watchdog = Watchdog::new("clean", PATIENCE);
    let (left, kept) = (unique(), unique());
    holder(this_test!(), left, "nothing").kill();
    holder(this_test!(), kept, "blocks").kill();
    let [left, kept] = [left, kept].map(|id| id.to_string());
    let (shown, _, status) = said(&["clean"]);
    assert_eq!(status, 0);
    assert!(shown.contains(&format!("would go {left}: block file 'two  spaces', 256 KiB\n    process ")), "{shown}");
    assert!(!shown.contains(&kept) && shown.contains("Kept on purpose: "), "{shown}");
    let (shown, _, status) = said(&["clean", "--yes", &left, &kept]);
    assert_eq!(status, 1, "one of them stays");
    assert!(shown.contains(&format!("removed {left}: block file ")), "{shown}");
    assert!(shown.contains(&format!("not removed {kept}: block file ")), "{shown}");
    assert!(shown.contains("2 blocks of 5096 bytes wait for a reader;"), "{shown}");
    assert!(shown.contains("--kept removes it too"), "{shown}");
    assert_nothing_left(&left);
    let removed = json(&["clean", "--yes", "--kept", "--json", &kept]);
    assert_eq!(removed["entries"][0]["entry"]["block_file"]["blocks"][0]["state"], "taken");
    assert_eq!(removed["entries"][0]["failure"], serde_json::Value::Null);
    assert_nothing_left(&kept);
}

#[test]
fn nothing_that_stands_in_a_block_file_is_obeyed_by_a_terminal() {
    let _watchdog = Watchdog::new("hostile", PATIENCE);
    let id = unique();
    let name = id.to_string();
    let file = SMALL.create(id, EVIL).unwrap();
    file.writer().unwrap().cancel(std::str::from_utf8(b"why\x1b[2J \xe2\x80\xae").unwrap()).unwrap();
    for args in
        [&["ls"][..], &["ls", "--json"], &["inspect", &name], &["inspect", "--json", &name], &["clean", &name]]
    {
        let (text, _, status) = said(args);
        assert!(status == 0 && text.contains(&name), "{args:?}: {text}");
        let is_bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(is_bad), "{args:?}: {text:?}");
    }
    let (text, ..) = said(&["inspect", &name]);
    assert!(text.contains(&format!("file          {HARMLESS}\n")), "{text}");
    assert!(text.contains("end           cancelled: why\\u{1b}[2J \\u{202e}\n"), "{text}");
    drop(file);
    assert_nothing_left(&name);
}
