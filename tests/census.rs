//! The census: what is there, in which state and why; what is removed, and what never is. `census/strange.rs` has what
//! is strange about one entry, `census/block_file.rs` the same of block files.
#[path = "census/block_file.rs"]
mod block_file;
#[path = "support/intruder.rs"]
mod intruder;
#[path = "census/strange.rs"]
mod strange;
mod support;
#[path = "death/victim.rs"]
#[allow(dead_code)]
mod victim;

use antiphon::census::{self, End, Entry, Kind, RemoveOptions, Sitter, State};
use antiphon::{Channel, ChannelOptions, Error};
use intruder::{Intruder, bell_file, has_paths};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use support::{Peer, Watchdog, assert_nothing_left, hear, role, say, unique};

const SMALL: ChannelOptions = ChannelOptions::new().capacity(64 * 1024);
const MINE: fn() -> RemoveOptions = RemoveOptions::new;

fn look(name: &str) -> Entry {
    census::look(name).unwrap_or_else(|error| panic!("{error}"))
}

fn is_listed(name: &str) -> Option<Entry> {
    census::take().unwrap().into_iter().find(|entry| entry.system_name == name)
}

/// A child that holds a channel until it is killed; with a message in it, or at both ends.
fn holder(test: &str, name: &str, how: &str) -> Peer {
    let mut child = Peer::start(test, "hold", &[name, how]);
    child.expect("holding");
    child
}

/// In the child: holds what it is told to, for as long as it lives.
fn hold_if_child() -> bool {
    let Some((_, words)) = role() else { return false };
    let _watchdog = Watchdog::new("holder", support::PATIENCE);
    let channel = SMALL.create(&words[0]).unwrap();
    let mut publisher = channel.publisher().unwrap();
    let _consumer = (words[1] == "both").then(|| channel.consumer().unwrap());
    if words[1] == "message" {
        publisher.publish(&[7; 300]).unwrap();
    }
    say("holding");
    hear();
    true
}

#[test]
fn a_channel_in_use_shows_who_holds_it_and_whose_turn_it_is() {
    let _watchdog = Watchdog::new("in use", support::PATIENCE);
    let name = unique("a-name-that-has-to-be-shortened");
    let began = SystemTime::now() - Duration::from_secs(1);
    let channel = SMALL.create(&name).unwrap();
    let mut publisher = channel.publisher().unwrap();
    publisher.publish(&[1; 1000]).unwrap();
    let me = std::process::id();
    let entry = look(&name);
    assert!(census::take().unwrap().contains(&entry), "the whole list has the same");
    assert_eq!((entry.name.as_str(), entry.kind, entry.state), (name.as_str(), Kind::Channel, State::InUse));
    assert_ne!(entry.system_name, name);
    assert!(entry.is_mine);
    assert_eq!(entry.why, format!("process {me} has the publisher's seat"));
    assert_eq!(entry.len_bytes, 128 * 1024);
    let seen = entry.channel.clone().unwrap();
    assert_eq!((seen.capacity, seen.is_private, seen.is_persistent), (64 * 1024, false, false));
    assert_eq!(seen.maker_pid, me);
    assert!(seen.made_at.unwrap() > began && seen.made_at.unwrap() < SystemTime::now() + Duration::from_secs(1));
    assert_eq!((seen.publisher.sitter, seen.publisher.pid), (Sitter::Alive, Some(me)));
    assert!(seen.publisher.since.unwrap() > began);
    assert_eq!((seen.consumer.sitter, seen.consumer.pid, seen.consumer.since), (Sitter::Nobody, None, None));
    assert_eq!(seen.handles.len(), 1);
    assert_eq!((seen.turn.end, seen.turn.content, seen.turn.len_bytes), (End::Consumer, "a message", 1000));
    assert_eq!((seen.turn.is_redelivered, seen.turn.is_abandoned, seen.turn.passings), (false, false, 1));
    let refused = entry.remove(MINE().kept(true).all_users(true));
    assert!(matches!(refused, Err(Error::InUse { pid, .. }) if pid == me), "{refused:?}");
    let mut consumer = channel.consumer().unwrap();
    drop(consumer.consume().unwrap());
    let seen = look(&name).channel.unwrap();
    assert_eq!((seen.turn.end, seen.turn.content, seen.turn.passings), (End::Publisher, "nothing", 2));
    drop((publisher, consumer));
    let seen = look(&name);
    assert_eq!(seen.why, format!("process {me} has a handle"));
    assert_eq!(seen.channel.unwrap().publisher.sitter, Sitter::Left);
    drop(channel);
    assert!(matches!(census::look(&name), Err(Error::NotFound { .. })));
}

#[test]
fn the_counters_are_those_of_the_page() {
    let _watchdog = Watchdog::new("counters", support::PATIENCE);
    let name = unique("counters");
    let _channel = SMALL.create(&name).unwrap();
    // As docs/layout.md has them.
    let region = Intruder::new(&name);
    for (line, first) in [(9088, 10), (9216, 20)] {
        for field in 0..5 {
            region.word(line + 8 * field).store(first + field as u64, std::sync::atomic::Ordering::Relaxed);
        }
        region.word(line + 40).store(1_700_000_000_000, std::sync::atomic::Ordering::Relaxed);
    }
    let seen = look(&name).channel.unwrap();
    for (counters, first) in [(&seen.published, 10), (&seen.consumed, 20)] {
        let found = [counters.messages, counters.bytes, counters.replies, counters.reply_bytes, counters.sleeps];
        assert_eq!(found, [0, 1, 2, 3, 4].map(|more| first + more));
    }
    // It is the publisher's turn: who left that word for it is not waiting.
    assert_eq!(seen.published.waiting_since, None);
    assert_eq!(seen.consumed.waiting_since, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)));
}

#[test]
fn what_the_dead_have_left_is_left_over_and_goes() {
    if hold_if_child() {
        return;
    }
    let _watchdog = Watchdog::new("left over", support::PATIENCE);
    let name = unique("left");
    let mut child = holder(this_test!(), &name, "both");
    let before = look(&name);
    assert_eq!(before.state, State::InUse);
    let pid = child.pid();
    child.kill();
    let entry = is_listed(&name).unwrap();
    assert_eq!(entry.state, State::LeftOver);
    assert_eq!(entry.why, format!("process {pid}, which had it open, is dead"));
    let seen = entry.channel.clone().unwrap();
    assert_eq!((seen.publisher.sitter, seen.consumer.sitter), (Sitter::Dead, Sitter::Dead));
    // What counts is how it is now, and not how it looked.
    before.remove(MINE().kept(true)).unwrap_err();
    entry.remove(MINE()).unwrap();
    assert_nothing_left(&name);
    entry.remove(MINE()).unwrap(); // Gone already.
}

#[test]
fn a_message_that_waits_is_kept_until_it_is_asked_for() {
    if hold_if_child() {
        return;
    }
    let _watchdog = Watchdog::new("kept", support::PATIENCE);
    let name = unique("kept");
    let mut child = holder(this_test!(), &name, "message");
    child.kill();
    let entry = look(&name);
    assert_eq!(entry.state, State::Kept);
    assert!(entry.why.starts_with("a message of 300 bytes waits for a consumer; process "), "{}", entry.why);
    let refused = entry.remove(MINE());
    assert!(matches!(&refused, Err(Error::NotRemoved { why, .. }) if why.contains("waits")), "{refused:?}");
    assert_eq!(look(&name), entry, "as it was");
    entry.remove(MINE().kept(true)).unwrap();
    assert_nothing_left(&name);
}

#[test]
fn another_one_of_the_same_name_is_not_removed_for_the_first() {
    if hold_if_child() {
        return;
    }
    let _watchdog = Watchdog::new("another", support::PATIENCE);
    let name = unique("another");
    holder(this_test!(), &name, "both").kill();
    let first = look(&name);
    holder(this_test!(), &name, "both").kill();
    let refused = first.remove(MINE());
    assert!(matches!(&refused, Err(Error::NotRemoved { why, .. }) if why.contains("look again")), "{refused:?}");
    look(&name).remove(MINE()).unwrap();
    assert_nothing_left(&name);
}

#[test]
fn whoever_comes_between_the_look_and_the_removing_is_not_disturbed() {
    if hold_if_child() {
        return;
    }
    let _watchdog = Watchdog::new("between", support::PATIENCE);
    let name = unique("between");
    holder(this_test!(), &name, "both").kill();
    let entry = look(&name);
    assert_eq!(entry.state, State::LeftOver);
    let channel = Channel::open(&name).unwrap();
    let refused = entry.remove(MINE());
    assert!(matches!(refused, Err(Error::InUse { pid, .. }) if pid == std::process::id()), "{refused:?}");
    let (mut publisher, mut consumer) = (channel.publisher().unwrap(), channel.consumer().unwrap());
    publisher.publish(b"still here").unwrap();
    assert_eq!(consumer.consume().unwrap().len(), 10);
    assert!(Channel::open(&name).is_ok(), "its names are still there");
}

#[test]
fn a_stopped_holder_of_the_door_is_told_of_and_makes_nobody_hang() {
    let test = this_test!();
    if let Some((_, words)) = role() {
        victim::follow(&words[1]);
        let _ = SMALL.create(&words[0]);
        return;
    }
    let _watchdog = Watchdog::new("stopped", support::PATIENCE);
    for step in ["create:at-the-door", "create:reserved", "create:belled"] {
        let name = unique("door");
        let mut child = Peer::start(test, "maker", &[&name, &format!("stop {step}")]);
        child.has_stopped();
        let entry = is_listed(&name).unwrap();
        assert_eq!(entry.state, State::Changing, "{step}: {}", entry.why);
        let refused = entry.remove(MINE());
        assert!(matches!(refused, Err(Error::Stuck { .. })), "{step}: {refused:?}");
        child.kill();
        let entry = look(&name);
        assert!(matches!(entry.kind, Kind::HalfMade | Kind::RegistryFile), "{step}: {:?}", entry.kind);
        assert_eq!(entry.state, State::LeftOver, "{step}: {}", entry.why);
        entry.remove(MINE()).unwrap();
        assert_nothing_left(&name);
    }
}

#[test]
fn after_a_death_at_any_step_the_census_removes_all_that_is_left() {
    let test = this_test!();
    if let Some((_, words)) = role() {
        victim::follow(&words[1]);
        let mut channel = SMALL.create(&words[0]).unwrap();
        let mut publisher = channel.publisher().unwrap();
        let mut consumer = Channel::open(&words[0]).unwrap().consumer().unwrap();
        publisher.publish(b"to and fro").unwrap();
        drop(consumer.consume().unwrap());
        drop((publisher, consumer));
        std::mem::forget(channel);
        // What is left over is reclaimed by another process in the next test's words; here it ends in order.
        channel = Channel::open(&words[0]).unwrap();
        drop(channel);
        Channel::unlink(&words[0]).unwrap();
        return;
    }
    let _watchdog = Watchdog::new("any step", support::PATIENCE * 4);
    let mut kinds = BTreeSet::new();
    for step in antiphon::steps::ALL {
        let name = unique("any");
        let mut child = Peer::start(test, "dies", &[&name, &format!("die {step} 1")]);
        let _ = child.end();
        if let Some(entry) = is_listed(&name) {
            assert!(matches!(entry.state, State::LeftOver | State::Kept), "{step}: {:?}, {}", entry.state, entry.why);
            kinds.insert(format!("{:?}", entry.kind));
            entry.remove(MINE().kept(true)).unwrap_or_else(|error| panic!("{step}: {error}"));
        }
        assert_nothing_left(&name);
    }
    assert!(kinds.contains("HalfMade") && kinds.contains("Channel"), "{kinds:?}");
}

/// Something in /dev/shm that is removed when the test is over, whatever came of it.
struct Thing(String);

impl Thing {
    fn new(name: &str) -> Thing {
        Thing(name.to_owned())
    }

    fn path(&self) -> String {
        format!("/dev/shm/{}", self.0)
    }
}

impl Drop for Thing {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(self.path());
        let _ = std::fs::remove_file(self.path());
    }
}

#[test]
fn what_is_not_antiphons_is_never_touched() {
    if !has_paths(this_test!()) {
        return;
    }
    let _watchdog = Watchdog::new("foreign", support::PATIENCE);
    let things: Vec<Thing> =
        ["fifo", "directory", "link", "empty", "zeros", "short", "long"].map(|what| Thing::new(&unique(what))).into();
    let [fifo, directory, link, empty, zeros, short, long] = &things[..] else { unreachable!() };
    let path = std::ffi::CString::new(fifo.path()).unwrap();
    // SAFETY: a NUL-terminated path.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    std::fs::create_dir(directory.path()).unwrap();
    std::os::unix::fs::symlink("/dev/zero", link.path()).unwrap();
    std::fs::write(empty.path(), b"").unwrap();
    std::fs::write(zeros.path(), vec![0; 128 * 1024]).unwrap();
    std::fs::write(short.path(), b"antiphon").unwrap();
    let huge = std::fs::File::create(long.path()).unwrap();
    huge.set_len(1 << 45).unwrap();
    for thing in &things {
        let entry = is_listed(&thing.0).unwrap();
        assert_eq!((entry.kind, entry.state), (Kind::Other, State::Foreign), "{}: {}", thing.0, entry.why);
        let refused = entry.remove(MINE().kept(true).all_users(true));
        assert!(matches!(refused, Err(Error::NotRemoved { .. })), "{}: {refused:?}", thing.0);
        assert!(std::fs::symlink_metadata(thing.path()).is_ok(), "{} is still there", thing.0);
    }
    assert_eq!(is_listed(&fifo.0).unwrap().why, "it is a FIFO");
    // Whose owner has a lease on it: opening it would wait for the owner.
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        let leased = Thing::new(&unique("leased"));
        let file = std::fs::File::create(leased.path()).unwrap();
        // SAFETY: an open descriptor, and a number.
        assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) }, 0);
        // SAFETY: as above; the signal that says that somebody wants it is ignored.
        unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
        assert_eq!(is_listed(&leased.0).unwrap().state, State::Unreadable);
    }
    // Names that no terminal should obey.
    let odd = Thing::new(&format!("t{}-\u{1b}[31m", std::process::id()));
    std::fs::write(odd.path(), b"").unwrap();
    let all = census::take().unwrap();
    assert!(all.iter().all(|entry| !entry.system_name.contains(char::is_control)));
    assert!(all.iter().any(|entry| entry.system_name.ends_with("-\\u{1b}[31m")));
}

#[test]
fn a_region_of_any_bytes_is_looked_at_and_nothing_of_it_believed() {
    if !has_paths(this_test!()) {
        return;
    }
    let _watchdog = Watchdog::new("any bytes", support::PATIENCE);
    let name = unique("bytes");
    let channel = SMALL.create(&name).unwrap();
    let region = Intruder::new(&name);
    let good = region.save();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut channels = 0;
    for round in 0..2000 {
        for _ in 0..=round % 7 {
            // Within what is read; in every second round behind the identity alone, so that it is still a channel.
            let from = if round % 2 == 0 { 0 } else { 4096 };
            let at = (from + next() as usize % (9472 - from)) / 8;
            let value = if next() % 3 == 0 { u64::MAX } else { next() };
            region.word(at * 8).store(value, std::sync::atomic::Ordering::Relaxed);
        }
        let entry = look(&name);
        channels += u32::from(entry.channel.is_some());
        assert!(!entry.name.contains(char::is_control) && !entry.why.contains(char::is_control), "{entry:?}");
        region.restore(&good);
    }
    assert!(channels > 1000, "{channels}");
    // Cut off while it is looked at.
    let file = std::fs::OpenOptions::new().write(true).open(format!("/dev/shm/{name}")).unwrap();
    for len in [4096, 8192, 1 << 16, 0] {
        file.set_len(len).unwrap();
        assert_ne!(look(&name).state, State::InUse, "{len}");
    }
    std::mem::forget(channel); // Its pages are gone.
    std::fs::remove_file(format!("/dev/shm/{name}")).unwrap();
    let left = is_orphaned(&name).unwrap();
    left.remove(MINE()).unwrap();
    assert!(is_orphaned(&name).is_none());
}

/// The semaphores without a region.
fn is_orphaned(stem: &str) -> Option<Entry> {
    census::take().unwrap().into_iter().find(|entry| entry.name == stem && entry.kind == Kind::Semaphores)
}

#[test]
fn semaphores_whose_region_is_gone_go_too() {
    if !has_paths(this_test!()) {
        return;
    }
    let _watchdog = Watchdog::new("semaphores", support::PATIENCE);
    let name = unique("bells");
    let channel = SMALL.create(&name).unwrap();
    std::fs::remove_file(format!("/dev/shm/{name}")).unwrap();
    let entry = look(&name);
    assert_eq!((entry.kind, entry.state), (Kind::Semaphores, State::LeftOver));
    assert_eq!(is_orphaned(&name), Some(entry.clone()));
    entry.remove(MINE()).unwrap();
    drop(channel);
    assert_nothing_left(&name);
    // Somebody else's of such a name.
    let theirs = Thing::new(&bell_file(&name, "p"));
    std::fs::write(theirs.path(), [0; size_of::<libc::sem_t>()]).unwrap();
    let entry = look(&name);
    assert_eq!(entry.state, State::Foreign);
    assert!(matches!(entry.remove(MINE()), Err(Error::NotRemoved { .. })));
}

/// Three tests remove what has no name to tell whose it is.
static UNNAMED: Mutex<()> = Mutex::new(());

#[test]
fn a_file_that_the_c_library_left_half_made_is_known_by_its_mark() {
    if !has_paths(this_test!()) {
        return;
    }
    if cfg!(not(target_env = "gnu")) {
        return println!("NOT RUN {}: with this C library there are none", this_test!());
    }
    let _watchdog = Watchdog::new("half-made", support::PATIENCE);
    let _alone = UNNAMED.lock().unwrap_or_else(PoisonError::into_inner);
    // Empty, or a semaphore of a process with words of 4 bytes or of 8, whichever this one has.
    for len in [0, 16, 32] {
        let thing = Thing::new(&format!("sem.{:06}", std::process::id() % 1_000_000));
        std::fs::write(thing.path(), vec![0; len]).unwrap();
        let mode = |mode| std::fs::set_permissions(thing.path(), PermissionsExt::from_mode(mode)).unwrap();
        // Without a mark it may be anybody's semaphore.
        mode(0o600);
        let entry = is_listed(&thing.0).unwrap();
        assert_eq!(entry.state, State::Foreign, "{}", entry.why);
        assert!(matches!(entry.remove(MINE()), Err(Error::NotRemoved { .. })));
        mode(0o1600);
        let entry = is_listed(&thing.0).unwrap();
        assert_eq!((entry.kind, entry.state), (Kind::UnnamedSemaphore, State::LeftOver), "{}", entry.why);
        entry.remove(MINE()).unwrap();
        assert!(is_listed(&thing.0).is_none());
    }
}

/// Has the kernel kill this process when it asks for a link, which is how a semaphore's file gets its name.
#[cfg(all(target_os = "linux", not(antiphon_darwin_rules)))]
fn die_at_links() {
    let instruction = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = vec![instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
    let calls = [libc::SYS_link, libc::SYS_linkat];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "x86")))]
    let calls = [libc::SYS_linkat];
    for call in calls {
        program.push(instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call as u32));
        program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_KILL_PROCESS));
    }
    program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW));
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: takes numbers.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: a program of the length that it says, which the kernel copies.
    let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// The files of semaphores that have no name yet, as glibc and musl call them.
#[cfg(all(target_os = "linux", not(antiphon_darwin_rules)))]
fn unnamed() -> BTreeSet<String> {
    let is_unnamed = |entry: &Entry| match cfg!(target_env = "gnu") {
        true => entry.kind == Kind::UnnamedSemaphore,
        false => entry.system_name.starts_with("tmp-"),
    };
    census::take().unwrap().into_iter().filter(is_unnamed).map(|entry| entry.system_name).collect()
}

#[cfg(all(target_os = "linux", not(antiphon_darwin_rules)))]
#[test]
fn who_is_killed_inside_sem_open_leaves_nothing_that_is_not_removed() {
    use std::os::unix::process::ExitStatusExt;
    let test = this_test!();
    if let Some((_, words)) = role() {
        die_at_links();
        let _ = SMALL.create(&words[0]);
        return;
    }
    if !support::can_filter_calls(test) {
        return;
    }
    let _watchdog = Watchdog::new("sem_open", support::PATIENCE);
    let _alone = UNNAMED.lock().unwrap_or_else(PoisonError::into_inner);
    let name = unique("sem-open");
    let before = unnamed();
    let mut child = Peer::start(test, "maker", &[&name]);
    assert_eq!(child.end().signal(), Some(libc::SIGSYS), "killed at the link");
    // Those of tests beside this one come and go.
    let left: Vec<String> = unnamed().difference(&before).filter(|name| is_old(name)).cloned().collect();
    assert_eq!(
        !left.is_empty(),
        cfg!(target_env = "gnu"),
        "glibc left its file, with musl none is made so: {left:?}"
    );
    for file in left {
        let path = format!("/dev/shm/{file}");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), size_of::<libc::sem_t>() as u64);
        is_listed(&file).unwrap().remove(MINE()).unwrap();
        assert!(!std::path::Path::new(&path).exists());
    }
    assert_eq!(look(&name).kind, Kind::HalfMade);
    look(&name).remove(MINE()).unwrap();
    assert_nothing_left(&name);
}

/// Whether the file stays for longer than `sem_open` takes.
#[cfg(all(target_os = "linux", not(antiphon_darwin_rules)))]
fn is_old(name: &str) -> bool {
    (0..50).all(|_| {
        std::thread::sleep(Duration::from_millis(1));
        is_listed(name).is_some()
    })
}

#[test]
fn a_cleaner_of_half_made_files_keeps_nobody_from_making_channels() {
    let _watchdog = Watchdog::new("cleaner", support::PATIENCE);
    let _alone = UNNAMED.lock().unwrap_or_else(PoisonError::into_inner);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                for entry in census::take().unwrap() {
                    if entry.kind == Kind::UnnamedSemaphore {
                        entry.remove(MINE()).unwrap();
                    }
                }
            }
        });
        for _ in 0..2000 {
            let name = unique("cleaner");
            let made = SMALL.create(&name);
            is_over.store(made.is_err(), std::sync::atomic::Ordering::Relaxed);
            made.unwrap();
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
