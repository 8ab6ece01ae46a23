//! Darwin's registry: what carries the locks there is a file in a cache, and may go, or be spoilt, at any time.
#![cfg(any(target_vendor = "apple", antiphon_darwin_rules))]

#[path = "support/intruder.rs"]
mod intruder;
mod support;

use antiphon::census::{self, Kind, State};
use antiphon::{Channel, ChannelOptions, Consumer, Error, Publisher};
use intruder::Intruder;
use std::cell::RefCell;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use support::{Peer, Watchdog, assert_nothing_left, hear, role, say, unique};

const OPTIONS: ChannelOptions = ChannelOptions::new().capacity(64 * 1024);
const USER_CACHE_DIR: libc::c_int = 65538;

fn cache() -> PathBuf {
    let mut buffer = vec![0u8; 4096];
    // SAFETY: room for as many bytes as it says.
    let len = unsafe { libc::confstr(USER_CACHE_DIR, buffer.as_mut_ptr().cast(), buffer.len()) };
    assert!(len > 1 && len <= buffer.len());
    PathBuf::from(std::ffi::OsStr::from_bytes(&buffer[..len - 1]))
}

fn file_of(name: &str) -> PathBuf {
    cache().join("antiphon").join(name)
}

fn unlink_region(name: &str) {
    let name = std::ffi::CString::new(format!("/{name}")).unwrap();
    // SAFETY: a NUL-terminated name.
    assert_eq!(unsafe { libc::shm_unlink(name.as_ptr()) }, 0);
}

fn words(path: &Path) -> [u64; 3] {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(bytes.len(), 24);
    [0, 8, 16].map(|at| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap()))
}

fn exchange(publisher: &mut Publisher, consumer: &mut Consumer) {
    for number in 0..20u64 {
        publisher.publish(&number.to_ne_bytes()).unwrap();
        assert_eq!(consumer.consume().unwrap().to_vec().unwrap(), number.to_ne_bytes());
    }
}

#[test]
fn a_names_file_is_where_the_page_says() {
    let name = unique("file");
    let channel = OPTIONS.create(&name).unwrap();
    let path = file_of(&name);
    let region = Intruder::new(&name);
    let [magic, number, nonce] = words(&path);
    assert_eq!(magic, u64::from_le_bytes(*b"antiph.r"));
    assert_eq!(nonce, region.word(32).load(std::sync::atomic::Ordering::Relaxed), "the region's");
    let metadata = std::fs::metadata(&path).unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o600);
    assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o7777, 0o700);
    let anchor = region.word(4096 + 2 * 64 + 24).load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(anchor, number ^ metadata.ino(), "what a seat's record says");
    drop(channel);
    assert!(!path.exists());
    assert_nothing_left(&name);
}

/// What may become of the file under the feet of the living.
const MISHAPS: [&str; 5] = ["gone", "gone and made anew", "overwritten", "emptied", "another's copy"];

fn befall(mishap: &str, path: &Path) {
    match mishap {
        "gone" => std::fs::remove_file(path).unwrap(),
        "gone and made anew" => {
            std::fs::remove_file(path).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        "overwritten" => {
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.write_all_at(b"some other bytes of somebody else's", 0).unwrap();
        }
        "emptied" => std::fs::File::options().write(true).open(path).unwrap().set_len(0).unwrap(),
        _ => {
            // The same number in it, and other locks on it.
            let copy = path.with_extension("copy");
            std::fs::copy(path, &copy).unwrap();
            std::fs::rename(&copy, path).unwrap();
        }
    }
}

#[test]
fn whatever_becomes_of_the_file_the_living_live_and_the_dead_are_dead() {
    if let Some((_, args)) = role() {
        let channel = Channel::open(&args[0]).unwrap();
        let mut consumer = channel.consumer().unwrap();
        say("sits");
        assert_eq!(hear(), "consume");
        let len = consumer.consume().unwrap().len();
        say(len);
        hear();
        return;
    }
    for mishap in MISHAPS {
        let _watchdog = Watchdog::new(mishap, support::PATIENCE);
        let name = unique("mishap");
        let path = file_of(&name);
        let early = OPTIONS.create(&name).unwrap();
        let mut peer = Peer::start(this_test!(), "consumer", &[&name]);
        peer.expect("sits");
        befall(mishap, &path);
        // Who comes later sees who was there before, and the other way round.
        let late = Channel::open(&name).unwrap();
        for channel in [&early, &late] {
            let refused = channel.consumer().map(drop);
            assert!(
                matches!(refused, Err(Error::SeatTaken { pid, .. }) if pid == peer.pid()),
                "{mishap}: {refused:?}"
            );
        }
        let refused = OPTIONS.create(&name).map(drop);
        assert!(matches!(refused, Err(Error::InUse { .. })), "{mishap}: {refused:?}");
        let mut publisher = late.publisher().unwrap();
        let refused = early.publisher().map(drop);
        assert!(matches!(refused, Err(Error::SeatTaken { .. })), "{mishap}: {refused:?}");
        publisher.publish(b"12345").unwrap();
        peer.tell("consume");
        peer.expect("5");
        peer.kill();
        publisher.publish(b"to nobody").unwrap();
        let died = publisher.publish(b"to nobody");
        assert!(matches!(died, Err(Error::PeerDied { pid, .. }) if pid == peer.pid()), "{mishap}: {died:?}");
        // And the next one can sit there, by either file.
        let mut consumer = early.consumer().unwrap();
        assert_eq!(consumer.consume().unwrap().to_vec().unwrap(), b"to nobody");
        exchange(&mut publisher, &mut consumer);
        // By the old file alone: it removes what there is all the same.
        drop((publisher, late, consumer));
        drop(early);
        assert!(!path.exists(), "{mishap}");
        assert_nothing_left(&name);
    }
}

#[test]
fn who_was_there_before_a_cleaning_goes_alone_and_leaves_nothing() {
    let name = unique("alone");
    let channel = OPTIONS.create(&name).unwrap();
    befall("gone", &file_of(&name));
    drop(channel);
    assert!(!file_of(&name).exists());
    assert_nothing_left(&name);
}

/// Whether somebody else has locked the first byte of the file.
fn door_is_locked(path: &Path) -> bool {
    use std::os::fd::AsRawFd;
    let Ok(file) = std::fs::File::options().read(true).write(true).open(path) else { return false };
    // SAFETY: `flock` is plain data, and all zeros is one of its values.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as _;
    lock.l_whence = libc::SEEK_SET as _;
    lock.l_len = 1;
    // SAFETY: an open descriptor and a place for the answer.
    assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) }, 0);
    lock.l_type != libc::F_UNLCK as libc::c_short
}

thread_local!(static AT_THE_DOOR: RefCell<Option<(PathBuf, Vec<bool>)>> = const { RefCell::new(None) });

#[test]
fn who_lost_its_file_locks_the_door_of_those_who_came_later() {
    antiphon::steps::watch(|step| {
        AT_THE_DOOR.with_borrow_mut(|at| match at {
            Some((path, seen)) if step == "attach:at-the-door" => seen.push(door_is_locked(path)),
            _ => {}
        });
    });
    let name = unique("doors");
    let path = file_of(&name);
    let early = OPTIONS.create(&name).unwrap();
    let sits = || {
        AT_THE_DOOR.set(Some((path.clone(), Vec::new())));
        drop(early.publisher().unwrap());
        AT_THE_DOOR.take().unwrap().1
    };
    assert_eq!(sits(), [true], "its own");
    befall("gone", &path);
    assert_eq!(sits(), [true], "nobody came yet, and somebody could");
    befall("gone", &path);
    let late = Channel::open(&name).unwrap();
    assert_eq!(sits(), [true], "of one who came");
    assert!(!door_is_locked(&path));
    drop((early, late));
    assert_nothing_left(&name);
}

#[test]
fn the_last_one_to_leave_does_not_remove_what_came_after_a_strangers_unlinking() {
    let name = unique("after");
    let old = OPTIONS.create(&name).unwrap();
    let (mut publisher, mut consumer) = (old.publisher().unwrap(), old.consumer().unwrap());
    unlink_region(&name);
    let new = OPTIONS.create(&name).unwrap();
    exchange(&mut publisher, &mut consumer);
    drop((publisher, consumer, old));
    // Still there, and with its file.
    let again = Channel::open(&name).unwrap();
    exchange(&mut new.publisher().unwrap(), &mut again.consumer().unwrap());
    drop((new, again));
    assert!(!file_of(&name).exists());
    assert_nothing_left(&name);
}

#[test]
fn a_file_that_was_left_over_is_used_again_or_goes() {
    let name = unique("stale");
    let path = file_of(&name);
    drop(OPTIONS.create(&unique("first")).unwrap()); // So that the registry is there.
    for content in [&b""[..], b"short", &[7; 24], &[&b"antiph.r"[..], &[1; 16]].concat()] {
        std::fs::write(&path, content).unwrap();
        let found = Channel::open(&name);
        assert!(matches!(found, Err(Error::NotFound { .. })), "{found:?}");
        assert!(!path.exists());
        std::fs::write(&path, content).unwrap();
        let channel = OPTIONS.create(&name).unwrap();
        exchange(&mut channel.publisher().unwrap(), &mut channel.consumer().unwrap());
        drop(channel);
        assert!(!path.exists());
    }
    assert_nothing_left(&name);
}

#[test]
fn no_file_is_left_for_what_is_no_channel() {
    let name = unique("no-channel");
    let system = std::ffi::CString::new(format!("/{name}")).unwrap();
    // SAFETY: a NUL-terminated name.
    let fd = unsafe { libc::shm_open(system.as_ptr(), libc::O_RDWR | libc::O_CREAT | libc::O_EXCL, 0o600) };
    assert!(fd >= 0);
    // SAFETY: opened above.
    assert_eq!(unsafe { libc::ftruncate(fd, 4096) }, 0);
    for found in [Channel::open(&name), OPTIONS.create(&name)] {
        assert!(matches!(found, Err(Error::NotAChannel { .. })), "{found:?}");
        assert!(!file_of(&name).exists());
    }
    unlink_region(&name);
    // SAFETY: opened above, closed once.
    unsafe { libc::close(fd) };
}

#[test]
fn what_is_no_file_of_this_user_is_not_touched() {
    let _watchdog = Watchdog::new("foreign", support::PATIENCE);
    drop(OPTIONS.create(&unique("first")).unwrap()); // So that the registry is there.
    let name = unique("foreign");
    let path = file_of(&name);
    let target = std::env::temp_dir().join(&name);
    std::fs::write(&target, b"precious").unwrap();
    let refused = || {
        for found in [Channel::open(&name), OPTIONS.create(&name), OPTIONS.open_or_create(&name)] {
            let error = found.unwrap_err();
            assert!(matches!(error, Error::System { .. }), "{error:?}");
            let wanted = format!("{} is not a file of this user: remove it", path.display());
            assert!(error.to_string().ends_with(&wanted), "{error}");
        }
    };
    symlink(&target, &path).unwrap();
    refused();
    assert_eq!(std::fs::read(&target).unwrap(), b"precious");
    std::fs::remove_file(&path).unwrap();

    let fifo = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: a NUL-terminated path.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
    refused();
    std::fs::remove_file(&path).unwrap();

    std::fs::create_dir(&path).unwrap();
    refused();
    std::fs::remove_dir(&path).unwrap();

    // SAFETY: takes nothing and cannot fail.
    if unsafe { libc::geteuid() } == 0 {
        std::fs::write(&path, b"").unwrap();
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        refused();
        std::fs::remove_file(&path).unwrap();
    } else {
        println!("NOT RUN another user's file in the registry: it takes root to make one");
    }
    std::fs::remove_file(&target).unwrap();
    assert_nothing_left(&name);
}

#[test]
fn a_registry_that_others_could_have_a_hand_in_is_refused() {
    if let Some((what, args)) = role() {
        let made = OPTIONS.create(&args[0]);
        match what.as_str() {
            "works" => drop(made.unwrap()),
            _ => {
                let error = made.unwrap_err();
                assert!(matches!(error, Error::System { .. }), "{error:?}");
                let wanted = "/antiphon is not a directory of this user that is closed to others: remove it";
                assert!(error.to_string().ends_with(wanted), "{error}");
            }
        }
        return say("done");
    }
    if cfg!(target_vendor = "apple") {
        println!("NOT RUN {}: the system's own cache directory is in use", this_test!());
        return;
    }
    let _watchdog = Watchdog::new("registry", support::PATIENCE);
    let name = unique("registry");
    let cache = std::env::temp_dir().join(&name);
    let elsewhere = std::env::temp_dir().join(format!("{name}-elsewhere"));
    for folder in [&cache, &elsewhere] {
        std::fs::DirBuilder::new().mode(0o700).create(folder).unwrap();
    }
    let registry = cache.join("antiphon");
    let test = this_test!();
    let attempt = |role: &str| {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.env("DARWIN_RULES_CACHE", &cache);
        let mut peer = Peer::start_with(command, test, role, &[&name]);
        peer.expect("done");
        peer.succeed();
    };
    attempt("works");
    std::fs::set_permissions(&registry, std::fs::Permissions::from_mode(0o755)).unwrap();
    attempt("open to others");
    std::fs::remove_dir(&registry).unwrap();
    symlink(&elsewhere, &registry).unwrap();
    attempt("a link");
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
    std::fs::remove_file(&registry).unwrap();
    std::fs::write(&registry, b"").unwrap();
    attempt("a file");
    std::fs::remove_file(&registry).unwrap();
    // SAFETY: takes nothing and cannot fail.
    if unsafe { libc::geteuid() } == 0 {
        std::fs::DirBuilder::new().mode(0o700).create(&registry).unwrap();
        std::os::unix::fs::chown(&registry, Some(65534), None).unwrap();
        attempt("another's");
        std::fs::remove_dir(&registry).unwrap();
    } else {
        println!("NOT RUN another user's registry: it takes root to make one");
    }
    attempt("works");
    std::fs::remove_dir(&registry).unwrap();
    for folder in [&cache, &elsewhere] {
        std::fs::remove_dir(folder).unwrap();
    }
    assert_nothing_left(&name);
}

#[test]
fn the_census_tells_a_file_that_is_left_over_from_what_is_none_of_ours() {
    let _watchdog = Watchdog::new("census", support::PATIENCE);
    drop(OPTIONS.create(&unique("first")).unwrap()); // So that the registry is there.
    let listed = |name: &str| census::take().unwrap().into_iter().find(|entry| entry.system_name == name);
    let all = census::RemoveOptions::new().kept(true).all_users(true);

    // A maker was killed before it came to the door, or after it.
    let name = unique("left");
    let path = file_of(&name);
    for content in [&b""[..], &[&b"antiph.r"[..], &[1; 16]].concat()] {
        std::fs::write(&path, content).unwrap();
        let entry = listed(&name).unwrap();
        assert_eq!((entry.kind, entry.state), (Kind::RegistryFile, State::LeftOver), "{}", entry.why);
        entry.remove(census::RemoveOptions::new()).unwrap();
        assert!(!path.exists());
    }

    let link = unique("link");
    let long = format!("{}-that-is-longer-than-any-region's", unique("long"));
    symlink("/dev/zero", file_of(&link)).unwrap();
    std::fs::write(file_of(&long), b"").unwrap();
    for name in [&link, &long] {
        let entry = listed(name).unwrap();
        assert_eq!((entry.kind, entry.state), (Kind::Other, State::Foreign), "{name}: {}", entry.why);
        let refused = entry.remove(all);
        assert!(matches!(refused, Err(Error::NotRemoved { .. })), "{name}: {refused:?}");
        assert!(std::fs::symlink_metadata(file_of(name)).is_ok());
        std::fs::remove_file(file_of(name)).unwrap();
    }

    // Somebody's memory of no length: whoever has only looked at it has not made it antiphon's.
    let empty = unique("empty");
    let system = std::ffi::CString::new(format!("/{empty}")).unwrap();
    // SAFETY: a NUL-terminated name.
    let fd = unsafe { libc::shm_open(system.as_ptr(), libc::O_RDWR | libc::O_CREAT | libc::O_EXCL, 0o600) };
    assert!(fd >= 0);
    // SAFETY: opened above, closed once.
    unsafe { libc::close(fd) };
    for _ in 0..2 {
        let entry = census::look(&empty).unwrap();
        assert_eq!((entry.kind, entry.state), (Kind::Other, State::Foreign), "{}", entry.why);
    }
    unlink_region(&empty);
    std::fs::remove_file(file_of(&empty)).unwrap();
}

#[test]
fn the_file_that_a_killed_remover_left_goes_with_the_survivor() {
    if let Some((_, args)) = role() {
        let channel = Channel::open(&args[0]).unwrap();
        antiphon::steps::watch(|step| {
            if step == "unlink:region-gone" {
                // SAFETY: ends this process.
                unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            }
        });
        let _ = channel.consumer();
        unreachable!("was to be killed");
    }
    let _watchdog = Watchdog::new("survivor", support::PATIENCE);
    let channel = OPTIONS.private().unwrap();
    let name = channel.name().to_owned();
    let mut publisher = channel.publisher().unwrap();
    let mut comer = Peer::start(this_test!(), "comer", &[&name]);
    let _ = comer.end();
    assert!(file_of(&name).exists(), "was killed before it removed that");
    let died = publisher.call(b"anyone?").unwrap_err();
    assert!(matches!(died, Error::PeerDied { is_final: true, .. }), "{died:?}");
    assert!(!file_of(&name).exists());
    drop((publisher, channel));
    assert_nothing_left(&name);
}
