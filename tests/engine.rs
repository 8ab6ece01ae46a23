//! Engines: disk files, directories and pipes through a session, with real processes that are killed.
mod support;

use antiphon::Error;
use antiphon::engine::{Folder, Posix, dummy};
use antiphon::session::{Host, Session, SessionOptions};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use support::{PATIENCE, Peer, Watchdog, hear, names_in_shm, role, say, unique};

const BLOCK: usize = 64 << 10;

struct Scratch(PathBuf);

impl Scratch {
    fn new(what: &str) -> Scratch {
        let path = std::env::temp_dir().join(unique(what));
        fs::create_dir(&path).unwrap();
        fs::create_dir(path.join("to")).unwrap();
        Scratch(path)
    }

    fn from(&self) -> PathBuf {
        self.0.join("from")
    }

    fn to(&self) -> PathBuf {
        self.0.join("to")
    }

    fn folder(&self) -> Folder {
        Folder::open(&self.to()).unwrap()
    }

    /// A directory or a file to be sent, of many blocks.
    fn plant(&self, is_tree: bool) {
        match is_tree {
            true => plant(&self.from(), 300),
            false => fs::write(self.from(), bytes(0, 40 * BLOCK + 9)).unwrap(),
        }
    }

    fn assert_arrived(&self, is_tree: bool) {
        match is_tree {
            true => assert_same_tree(&self.from(), &self.to().join("name"), false),
            false => assert_same(&self.from(), &self.to().join("name")),
        }
    }

    /// What stands in the directory that is received into.
    fn received(&self) -> Vec<String> {
        let names = fs::read_dir(self.to()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        open_up(&self.from());
        open_up(&self.to().join("name"));
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn session() -> (Host, Session) {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let id = u64::from(std::process::id()) << 32 | COUNT.fetch_add(1, Ordering::Relaxed) | 1 << 31;
    let host = SessionOptions::new().id(id).block_bytes(BLOCK).blocks(4).host().unwrap();
    (host, Session::connect(id).unwrap())
}

/// Fails if anything of the session stands in shared memory.
fn assert_nothing_left(host: Host) {
    let id = format!("{:016X}", host.id());
    drop(host);
    let left: Vec<_> = names_in_shm().into_iter().filter(|name| name.contains(&id)).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Bytes that tell their place.
fn bytes(from: u64, len: usize) -> Vec<u8> {
    (from..from + len as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

fn assert_same(from: &Path, to: &Path) {
    let (mut a, mut b) = (File::open(from).unwrap(), File::open(to).unwrap());
    assert_eq!(a.metadata().unwrap().len(), b.metadata().unwrap().len());
    let (mut one, mut other) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let len = a.read(&mut one).unwrap();
        b.read_exact(&mut other[..len]).unwrap();
        assert!(one[..len] == other[..len], "{} and {} differ", from.display(), to.display());
        if len == 0 {
            return;
        }
    }
}

/// Sends and receives, at once.
fn through(posix: &Posix<'_>, session: &Session, scratch: &Scratch) {
    thread::scope(|scope| {
        let sender = scope.spawn(|| posix.send(session, &scratch.from(), b"name"));
        posix.receive(session, b"name", &scratch.folder()).unwrap();
        sender.join().unwrap().unwrap();
    });
    assert_eq!(scratch.received(), ["name"]);
}

#[test]
fn files_of_every_shape_arrive_as_they_are() {
    let _watchdog = Watchdog::new("shapes", PATIENCE);
    let (host, session) = session();
    let hole = 1 << 20;
    let shapes: [(u64, &[(u64, usize)]); 9] = [
        (0, &[]),
        (1, &[(0, 1)]),
        (BLOCK as u64, &[(0, BLOCK)]),
        (5 * BLOCK as u64 + 1, &[(0, 5 * BLOCK + 1)]),
        (hole, &[]),
        (hole + 10, &[(hole, 10)]),
        (2 * hole, &[(0, 5000)]),
        (3 * hole + 77, &[(0, 4096), (hole, 100_000), (3 * hole, 77)]),
        (17 * 4096, &[(4096, 4096), (5 * 4096, 8192), (16 * 4096, 1)]),
    ];
    for (is_direct, (len, parts)) in [false, true].into_iter().flat_map(|direct| shapes.map(|shape| (direct, shape)))
    {
        let scratch = Scratch::new("shapes");
        let file = File::create(scratch.from()).unwrap();
        for (at, len) in parts {
            file.write_all_at(&bytes(*at, *len), *at).unwrap();
        }
        file.set_len(len).unwrap();
        file.set_permissions(fs::Permissions::from_mode(0o640)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::new(1_000_000_007, 987_654_321)).unwrap();
        through(&Posix::new().keep(true).direct(is_direct), &session, &scratch);
        let (from, to) = (file.metadata().unwrap(), fs::metadata(scratch.to().join("name")).unwrap());
        assert_same(&scratch.from(), &scratch.to().join("name"));
        assert_eq!((to.mode(), to.mtime(), to.mtime_nsec()), (from.mode(), 1_000_000_007, 987_654_321));
        assert!(to.blocks() <= from.blocks() + 8, "holes were filled: {} and {}", from.blocks(), to.blocks());
    }
    assert_nothing_left(host);
}

#[test]
fn a_sparse_file_of_300_mb_keeps_its_holes() {
    let _watchdog = Watchdog::new("300 MB", PATIENCE);
    let (host, session) = session();
    let scratch = Scratch::new("sparse");
    let file = File::create(scratch.from()).unwrap();
    for at in [0, 100_000_000, 200_000_000] {
        file.write_all_at(&bytes(at, 1_000_000), at).unwrap();
    }
    file.set_len(300_000_000).unwrap();
    through(&Posix::new(), &session, &scratch);
    assert_same(&scratch.from(), &scratch.to().join("name"));
    let on_disk = fs::metadata(scratch.to().join("name")).unwrap().blocks() * 512;
    assert!(on_disk < 10_000_000, "{on_disk} bytes on the disk");
    assert_nothing_left(host);
}

/// A directory of all kinds of things.
fn plant(top: &Path, small_files: usize) {
    fs::create_dir_all(top.join("deep/deeper/deepest")).unwrap();
    fs::create_dir(top.join("empty")).unwrap();
    fs::write(top.join("an empty file"), b"").unwrap();
    fs::write(top.join("deep/deeper/long"), bytes(3, 20 * BLOCK + 5)).unwrap();
    let sparse = File::create(top.join("deep/sparse")).unwrap();
    sparse.write_all_at(&bytes(1 << 22, 10), 1 << 22).unwrap();
    sparse.set_len(1 << 23).unwrap();
    symlink("../nowhere", top.join("deep/a symlink")).unwrap();
    fs::create_dir(top.join("many")).unwrap();
    for nth in 0..small_files {
        fs::write(top.join("many").join(nth.to_string()), bytes(nth as u64, nth % 5000)).unwrap();
    }
    fs::write(top.join("a program"), b"#!/bin/sh\n").unwrap();
    fs::set_permissions(top.join("a program"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(top.join("deep/deeper"), fs::Permissions::from_mode(0o550)).unwrap();
}

fn assert_same_tree(from: &Path, to: &Path, is_kept: bool) {
    let names = |path: &Path| {
        let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(from), names(to));
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        let (a, b) = (fs::symlink_metadata(&from).unwrap(), fs::symlink_metadata(&to).unwrap());
        assert_eq!(a.file_type(), b.file_type(), "{}", to.display());
        if a.is_symlink() {
            assert_eq!(fs::read_link(&from).unwrap(), fs::read_link(&to).unwrap());
            continue;
        }
        if is_kept {
            assert_eq!(
                (a.mode(), a.mtime(), a.mtime_nsec()),
                (b.mode(), b.mtime(), b.mtime_nsec()),
                "{}",
                to.display()
            );
        }
        if a.is_dir() {
            assert_same_tree(&from, &to, is_kept);
        } else {
            assert_same(&from, &to);
            assert!(b.blocks() <= a.blocks() + 8, "{}", to.display());
        }
    }
}

/// So that it can be removed, or replaced.
fn open_up(top: &Path) {
    let _ = fs::set_permissions(top.join("deep/deeper"), fs::Permissions::from_mode(0o750));
}

#[test]
fn a_directory_arrives_with_all_that_is_in_it() {
    let _watchdog = Watchdog::new("directory", PATIENCE);
    let (host, session) = session();
    for is_kept in [false, true] {
        let scratch = Scratch::new("tree");
        plant(&scratch.from(), 500);
        // What is there already is replaced.
        for _ in 0..2 {
            through(&Posix::new().keep(is_kept), &session, &scratch);
            assert_same_tree(&scratch.from(), &scratch.to().join("name"), is_kept);
            open_up(&scratch.to().join("name"));
        }
    }
    assert_nothing_left(host);
}

#[test]
fn what_is_no_file_is_left_out_and_named() {
    let _watchdog = Watchdog::new("left out", PATIENCE);
    let (host, session) = session();
    let scratch = Scratch::new("special");
    fs::create_dir(scratch.from()).unwrap();
    fs::write(scratch.from().join("file"), b"file").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(scratch.from().join("socket")).unwrap();
    let sent = Posix::new().send(&session, &scratch.from(), b"name").unwrap();
    assert_eq!((sent.files, sent.left_out), (1, vec![scratch.from().join("socket")]));
    Posix::new().receive(&session, b"name", &scratch.folder()).unwrap();
    assert_eq!(fs::read_dir(scratch.to().join("name")).unwrap().count(), 1);
    assert_nothing_left(host);
}

#[test]
fn nothing_is_written_but_below_the_directory() {
    let _watchdog = Watchdog::new("below", PATIENCE);
    let (host, session) = session();
    let scratch = Scratch::new("below");
    let outside = scratch.0.join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(scratch.from(), b"evil").unwrap();
    symlink(&outside, scratch.to().join("link")).unwrap();
    symlink(outside.join("file"), scratch.to().join("to a file")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(scratch.to().join("socket")).unwrap();
    let before = scratch.received();
    let absolute = outside.join("file").into_os_string().into_string().unwrap();
    for name in ["../outside/file", "a/../../outside/file", "link/file", "to a file", "socket", &absolute] {
        Posix::new().send(&session, &scratch.from(), name.as_bytes()).unwrap();
        let refused = Posix::new().receive(&session, name.as_bytes(), &scratch.folder());
        assert!(matches!(refused, Err(Error::Outside { .. })), "{name}: {refused:?}");
        let _ = session.cancel(name.as_bytes(), "it was refused");
        let received: Vec<_> = scratch.received().into_iter().filter(|name| name != "a").collect();
        assert_eq!((received, fs::read_dir(&outside).unwrap().count()), (before.clone(), 0), "{name}");
    }
    // A directory whose way out is in what was sent before: a symlink, and then a file behind it.
    fs::remove_file(scratch.from()).unwrap();
    fs::create_dir_all(scratch.from().join("below")).unwrap();
    fs::write(scratch.from().join("below/file"), b"evil").unwrap();
    fs::create_dir(scratch.to().join("name")).unwrap();
    symlink(&outside, scratch.to().join("name/below")).unwrap();
    Posix::new().send(&session, &scratch.from(), b"name").unwrap();
    let refused = Posix::new().receive(&session, b"name", &scratch.folder());
    assert!(matches!(refused, Err(Error::Outside { .. })), "{refused:?}");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert_nothing_left(host);
}

#[test]
fn a_file_that_changes_while_it_is_sent_is_named_and_never_arrives() {
    let _watchdog = Watchdog::new("changes", PATIENCE);
    let (host, session) = session();
    type Change = (&'static str, fn(&File));
    let changes: [Change; 3] = [
        ("longer", |file| file.set_len(30 * BLOCK as u64).unwrap()),
        ("shorter", |file| file.set_len(5).unwrap()),
        ("written to", |file| file.set_modified(std::time::UNIX_EPOCH).unwrap()),
    ];
    for is_tree in [false, true] {
        for (how, change) in changes {
            let scratch = Scratch::new("changes");
            let path = if is_tree { scratch.from().join("file") } else { scratch.from() };
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes(0, 20 * BLOCK)).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            let was_changed = AtomicBool::new(false);
            // More than blocks have room for: somebody receives it by then.
            let change = |moved: &antiphon::engine::Moved| {
                if moved.bytes > 5 * BLOCK as u64 && !was_changed.swap(true, Ordering::Relaxed) {
                    change(&file);
                }
            };
            thread::scope(|scope| {
                let sender = scope.spawn(|| Posix::new().watch(&change).send(&session, &scratch.from(), b"name"));
                let received = Posix::new().receive(&session, b"name", &scratch.folder()).unwrap_err();
                let sent = sender.join().unwrap().unwrap_err();
                assert!(matches!(sent, Error::Changed { .. }) && sent.to_string().contains(how), "{sent}");
                assert!(matches!(received, Error::Cancelled { .. }), "{received}");
                assert!(received.to_string().contains(how), "{received}");
            });
            let there = if is_tree {
                scratch.received().iter().any(|name| name != "name")
            } else {
                !scratch.received().is_empty()
            };
            assert!(!there && !scratch.to().join("name/file").exists(), "{:?}", scratch.received());
        }
    }
    assert_nothing_left(host);
}

/// The other process: sends or receives, and says when it has moved so much; then it waits to be killed.
fn play(role: &str, args: &[String]) {
    let session = Session::connect(u64::from_str_radix(&args[0], 16).unwrap()).unwrap();
    let until: u64 = args[2].parse().unwrap();
    let watch = |moved: &antiphon::engine::Moved| {
        if moved.bytes >= until {
            say("so much");
            hear();
        }
    };
    let posix = Posix::new().watch(&watch);
    let moved = match role {
        "sender" => posix.send(&session, Path::new(&args[1]), b"name"),
        _ => posix.receive(&session, b"name", &Folder::open(Path::new(&args[1])).unwrap()),
    };
    say(moved.map_or_else(|error| error.to_string(), |_| "done".to_owned()));
}

fn other(test: &str, role: &str, session: &Session, path: &Path, until: u64) -> Peer {
    let id = format!("{:016X}", session.id());
    Peer::start(test, role, &[&id, path.to_str().unwrap(), &until.to_string()])
}

#[test]
fn what_a_dead_receiver_has_written_is_taken_over() {
    if let Some((role, args)) = role() {
        return play(&role, &args);
    }
    let test = this_test!();
    let _watchdog = Watchdog::new("dead receivers", PATIENCE * 2);
    let (host, session) = session();
    for is_tree in [false, true] {
        let scratch = Scratch::new("taken-over");
        scratch.plant(is_tree);
        thread::scope(|scope| {
            let sender = scope.spawn(|| Posix::new().patience(PATIENCE).send(&session, &scratch.from(), b"name"));
            for until in [1, 5 * BLOCK as u64] {
                let mut dead = other(test, "receiver", &session, &scratch.to(), until);
                dead.expect("so much");
                dead.kill();
                assert!(is_tree || !scratch.to().join("name").exists(), "a partial file under its final name");
                assert!(scratch.received().iter().any(|name| name.starts_with(".antiphon-")));
            }
            Posix::new().receive(&session, b"name", &scratch.folder()).unwrap();
            sender.join().unwrap().unwrap();
        });
        assert_eq!(scratch.received(), ["name"]);
        scratch.assert_arrived(is_tree);
    }
    assert_nothing_left(host);
}

#[test]
fn a_dead_sender_is_named_and_the_next_one_begins_anew() {
    if let Some((role, args)) = role() {
        return play(&role, &args);
    }
    let test = this_test!();
    let _watchdog = Watchdog::new("dead senders", PATIENCE * 2);
    let (host, session) = session();
    for is_tree in [false, true] {
        let scratch = Scratch::new("dead-sender");
        scratch.plant(is_tree);
        // Seen by the receiver while it dies; dead before there was one.
        for is_seen in [true, false] {
            let until = if is_seen { 10 * BLOCK as u64 } else { 1 };
            let mut dead = other(test, "sender", &session, &scratch.from(), until);
            let patience = if is_seen { PATIENCE } else { Duration::from_millis(300) };
            let receive =
                || Posix::new().patience(patience).receive(&session, b"name", &scratch.folder()).unwrap_err();
            let error = thread::scope(|scope| {
                let receiver = is_seen.then(|| scope.spawn(receive));
                dead.expect("so much");
                dead.kill();
                receiver.map_or_else(receive, |receiver| receiver.join().unwrap())
            });
            let is_named =
                matches!(error, Error::PeerDied { .. } | Error::Disconnected { .. } | Error::Unfilled { .. });
            assert!(is_named, "{error}");
            let is_partial = |name: &String| !is_tree || name != "name";
            assert!(!scratch.received().iter().any(is_partial), "{:?}", scratch.received());
        }
        // And one that nobody has seen at all.
        let mut dead = other(test, "sender", &session, &scratch.from(), 1);
        dead.expect("so much");
        dead.kill();
        let _ = fs::remove_dir_all(scratch.to().join("name"));
        through(&Posix::new(), &session, &scratch);
        scratch.assert_arrived(is_tree);
    }
    assert_nothing_left(host);
}

#[test]
fn what_nobody_takes_over_is_removed_by_the_next() {
    if let Some((role, args)) = role() {
        return play(&role, &args);
    }
    let test = this_test!();
    let _watchdog = Watchdog::new("leftovers", PATIENCE);
    for is_tree in [false, true] {
        let (host, first) = session();
        let scratch = Scratch::new("leftovers");
        scratch.plant(is_tree);
        let patience = Duration::from_millis(50);
        thread::scope(|scope| {
            let sender = scope.spawn(|| Posix::new().patience(patience).send(&first, &scratch.from(), b"name"));
            let mut dead = other(test, "receiver", &first, &scratch.to(), 5 * BLOCK as u64);
            dead.expect("so much");
            dead.kill();
            let error = sender.join().unwrap().unwrap_err();
            assert!(matches!(error, Error::PeerDied { .. } | Error::Disconnected { .. }), "{error}");
        });
        assert!(scratch.received().iter().any(|name| name.starts_with(".antiphon-")));
        assert_nothing_left(host);
        let (host, next) = session();
        fs::write(scratch.0.join("other"), b"other").unwrap();
        Posix::new().send(&next, &scratch.0.join("other"), b"other").unwrap();
        Posix::new().receive(&next, b"other", &scratch.folder()).unwrap();
        let received = scratch.received();
        assert!(!received.iter().any(|name| name.starts_with(".antiphon-")), "{received:?}");
        assert_nothing_left(host);
    }
}

#[test]
fn several_receive_into_one_directory_and_none_into_another() {
    if let Some((role, args)) = role() {
        return play(&role, &args);
    }
    let test = this_test!();
    let _watchdog = Watchdog::new("several receivers", PATIENCE);
    let (host, session) = session();
    let scratch = Scratch::new("several");
    fs::write(scratch.from(), bytes(0, 100 * BLOCK + 9)).unwrap();
    fs::create_dir(scratch.0.join("elsewhere")).unwrap();
    thread::scope(|scope| {
        let sender = scope.spawn(|| Posix::new().send(&session, &scratch.from(), b"name"));
        let mut others: Vec<Peer> =
            (0..3).map(|_| other(test, "receiver", &session, &scratch.to(), BLOCK as u64)).collect();
        others.iter_mut().for_each(|other| other.expect("so much"));
        let elsewhere = Folder::open(&scratch.0.join("elsewhere")).unwrap();
        let refused = Posix::new().receive(&session, b"name", &elsewhere);
        assert!(matches!(refused, Err(Error::Elsewhere { .. })), "{refused:?}");
        let to_stream = Posix::new().receive_stream(&session, b"name", File::create("/dev/null").unwrap());
        assert!(matches!(to_stream, Err(Error::Elsewhere { .. })), "{to_stream:?}");
        for other in &mut others {
            // As often as it says so.
            loop {
                other.tell("on");
                match other.heard().as_deref() {
                    Some("so much") => {}
                    said => break assert_eq!(said, Some("done")),
                }
            }
        }
        sender.join().unwrap().unwrap();
    });
    assert_eq!(scratch.received(), ["name"]);
    assert_eq!(fs::read_dir(scratch.0.join("elsewhere")).unwrap().count(), 0);
    assert_same(&scratch.from(), &scratch.to().join("name"));
    assert_nothing_left(host);
}

#[test]
fn streams_come_as_they_went_and_holes_as_zeros() {
    let _watchdog = Watchdog::new("streams", PATIENCE);
    let (host, session) = session();
    for len in [0, 1, BLOCK, 9 * BLOCK + 3] {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let (mut out, to) = std::os::unix::net::UnixStream::pair().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || theirs.write_all(&bytes(0, len)).unwrap());
            scope.spawn(|| Posix::new().send_stream(&session, ours, b"stream").unwrap());
            scope.spawn(|| Posix::new().receive_stream(&session, b"stream", to).unwrap());
            let mut came = Vec::new();
            out.read_to_end(&mut came).unwrap();
            assert!(came == bytes(0, len), "{} of {len} bytes", came.len());
        });
    }
    let scratch = Scratch::new("stream");
    let file = File::create(scratch.from()).unwrap();
    file.write_all_at(b"middle", 1 << 20).unwrap();
    file.set_len(2 << 20).unwrap();
    let to = scratch.0.join("out");
    Posix::new().send(&session, &scratch.from(), b"file").unwrap();
    Posix::new().receive_stream(&session, b"file", File::create(&to).unwrap()).unwrap();
    assert_same(&scratch.from(), &to);
    assert_nothing_left(host);
}

#[test]
fn one_name_has_one_sender_and_what_was_not_received_is_replaced_if_asked() {
    let _watchdog = Watchdog::new("one sender", PATIENCE);
    let (host, session) = session();
    let scratch = Scratch::new("one-sender");
    fs::write(scratch.from(), b"first").unwrap();
    Posix::new().send(&session, &scratch.from(), b"name").unwrap();
    let refused = Posix::new().send(&session, &scratch.from(), b"name");
    assert!(matches!(refused, Err(Error::Finished { .. })), "{refused:?}");
    fs::write(scratch.from(), b"second").unwrap();
    Posix::new().replace(true).send(&session, &scratch.from(), b"name").unwrap();
    let (name, missing) = (b"name", Duration::from_millis(20));
    Posix::new().receive(&session, name, &scratch.folder()).unwrap();
    assert_eq!(fs::read(scratch.to().join("name")).unwrap(), b"second");
    let refused = Posix::new().patience(missing).receive(&session, name, &scratch.folder());
    assert!(matches!(refused, Err(Error::TimedOut { .. })), "{refused:?}");
    thread::scope(|scope| {
        let (send, hear) = std::sync::mpsc::channel();
        let long = scope.spawn(move || {
            let watch = |_: &antiphon::engine::Moved| send.send(()).unwrap_or_default();
            dummy::produce(&Posix::new().watch(&watch), &session, name, 100 << 20)
        });
        hear.recv().unwrap();
        let refused = dummy::produce(&Posix::new(), &session, name, 1);
        assert!(matches!(refused, Err(Error::InUse { .. } | Error::Finished { .. })), "{refused:?}");
        dummy::swallow(&Posix::new(), &session, name).unwrap();
        long.join().unwrap().unwrap();
    });
    assert_nothing_left(host);
}

#[test]
fn disks_that_refuse_are_named_and_nothing_is_left() {
    let _watchdog = Watchdog::new("refusing disks", PATIENCE);
    let (host, session) = session();
    let scratch = Scratch::new("refusing");
    fs::write(scratch.from(), bytes(0, 3 * BLOCK)).unwrap();
    let missing = Posix::new().send(&session, &scratch.0.join("nothing"), b"name").unwrap_err();
    assert!(matches!(missing, Error::Disk { .. }) && missing.to_string().contains("see whether it was removed"));
    let missing = Folder::open(&scratch.0.join("nothing")).unwrap_err();
    assert!(matches!(missing, Error::Disk { .. }), "{missing}");
    // A directory has the name.
    fs::create_dir(scratch.to().join("name")).unwrap();
    Posix::new().send(&session, &scratch.from(), b"name").unwrap();
    let refused = Posix::new().receive(&session, b"name", &scratch.folder()).unwrap_err();
    assert!(matches!(refused, Error::Disk { call: "replace", .. }), "{refused}");
    assert_eq!(scratch.received(), ["name"]);
    assert_nothing_left(host);
}

#[test]
fn what_was_made_by_who_died_before_it_told_anybody_is_removed_and_what_is_not_ours_stays() {
    let _watchdog = Watchdog::new("never told", PATIENCE);
    let (host, session) = session();
    let scratch = Scratch::new("never-told");
    fs::write(scratch.from(), b"a file").unwrap();
    Posix::new().send(&session, &scratch.from(), b"name").unwrap();
    let id = session.identify(b"name").unwrap()[0].id;
    let orphan = format!(".antiphon-{id}-00000000000000AB");
    for name in [&orphan, &format!("{orphan}.piece"), ".antiphon-", ".antiphon-1-2-3", ".antiphon-notes"] {
        fs::write(scratch.to().join(name), b"half").unwrap();
    }
    Posix::new().receive(&session, b"name", &scratch.folder()).unwrap();
    assert_eq!(scratch.received(), [".antiphon-", ".antiphon-1-2-3", ".antiphon-notes", "name"]);
    assert_nothing_left(host);
}

#[test]
fn a_file_of_several_parts_arrives_whole_when_the_last_one_ends() {
    let _watchdog = Watchdog::new("parts", PATIENCE);
    let (host, session) = session();
    let scratch = Scratch::new("parts");
    let parts = [0, 10 << 20, 1 << 20];
    let mut writers = parts.map(|offset| session.write_at(b"dir/name", offset).unwrap());
    thread::scope(|scope| {
        let receiver = scope.spawn(|| Posix::new().receive(&session, b"dir/name", &scratch.folder()));
        for (offset, writer) in parts.iter().zip(&mut writers) {
            for nth in 0..7 {
                let mut space = writer.claim().unwrap();
                assert_eq!(space.offset(), offset + nth * BLOCK as u64);
                let len = space.copy_from(0, &bytes(space.offset(), BLOCK));
                space.complete(len).unwrap();
            }
            assert!(!scratch.to().join("dir/name").exists(), "a partial file under its final name");
            writer.finish().unwrap();
        }
        receiver.join().unwrap().unwrap();
    });
    let file = File::open(scratch.to().join("dir/name")).unwrap();
    assert_eq!(file.metadata().unwrap().len(), (10 << 20) + 7 * BLOCK as u64);
    for offset in parts {
        let mut came = vec![0; 7 * BLOCK];
        file.read_exact_at(&mut came, offset).unwrap();
        assert!(came == bytes(offset, 7 * BLOCK));
    }
    drop(writers);
    assert_nothing_left(host);
}
