//! When something runs out: shared memory, descriptors, patience with signals.
#[path = "support/intruder.rs"]
mod intruder;
mod support;

use antiphon::{Channel, ChannelOptions, Error, Wait};
use intruder::{has_paths, is_root};
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};
use support::{Dice, Peer, Watchdog, assert_nothing_left, is_emulated, pattern, role, say, unique};

const CAPACITY: usize = 64 * 1024;
const SMALL: ChannelOptions = ChannelOptions::new().capacity(CAPACITY);
const WAITS: [Wait; 3] = [Wait::Spin, Wait::Park, Wait::Adaptive];

/// The names in shared memory.
fn listing() -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir("/dev/shm")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn free_bytes() -> u64 {
    // SAFETY: `statvfs` is plain data, and all zeros is one of its values.
    let mut info: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: a NUL-terminated path and a place for the answer.
    assert_eq!(unsafe { libc::statvfs(c"/dev/shm".as_ptr(), &raw mut info) }, 0);
    #[allow(clippy::unnecessary_cast)] // Their widths differ between systems.
    let free = info.f_bavail as u64 * info.f_frsize as u64;
    free
}

/// The same test in a /dev/shm of its own; `None`, printed, where that cannot be had.
fn in_a_small_shm(test: &str, role: &str, args: &[&str], size: &str) -> Option<Peer> {
    if !is_root(test) || !has_paths(test) {
        return None;
    }
    let mount = format!("mount -t tmpfs -o size={size} tmpfs /dev/shm");
    let can = Command::new("unshare").args(["-m", "sh", "-c", &mount]).output();
    if !can.is_ok_and(|done| done.status.success()) {
        println!("NOT RUN {test}: no mount namespace can be had");
        return None;
    }
    let mut command = Command::new("unshare");
    let script = format!("{mount} && exec \"$0\" \"$@\"");
    command.args(["-m", "sh", "-c", &script]).arg(std::env::current_exe().unwrap());
    Some(Peer::start_with(command, test, role, args))
}

#[test]
fn a_channel_that_finds_no_space_says_how_much_and_leaves_nothing() {
    if role().is_some() {
        // Two of these fit into 8 MiB, header and all; of the default capacity only one does.
        let capacity = 56 * 64 * 1024;
        let options = ChannelOptions::new().capacity(capacity);
        let total = (capacity + 64 * 1024) as u64;
        let first = options.create("first").unwrap();
        let second = options.create("second").unwrap();
        let mut ends = [&first, &second].map(|channel| (channel.publisher().unwrap(), channel.consumer().unwrap()));
        let (before, free) = (listing(), free_bytes());
        for number in 0..4 {
            let third = match number {
                0 => options.open_or_create("third"),
                _ => options.create("third"),
            };
            match third {
                Err(Error::NoSpace { name, need, have }) => {
                    assert_eq!((name.as_str(), need, have), ("third", total, Some(free)));
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(listing(), before);
            assert_eq!(free_bytes(), free);
            // The others have all that they were promised.
            for (publisher, consumer) in &mut ends {
                let bytes = pattern(number, capacity);
                publisher.publish(&bytes).unwrap();
                assert_eq!(consumer.consume().unwrap().to_vec().unwrap(), bytes);
            }
        }
        // What does fit is made.
        let small = SMALL.create("third").unwrap();
        small.publisher().unwrap().publish(b"there").unwrap();
        small.consumer().unwrap().consume().unwrap();
        drop((small, ends, second));
        Channel::create("third").unwrap();
        drop(first);
        assert_eq!(listing(), Vec::<String>::new());
        say("done");
        return;
    }
    let _watchdog = Watchdog::new("no space", support::PATIENCE);
    if let Some(mut peer) = in_a_small_shm(this_test!(), "fill", &[], "8m") {
        peer.expect("done");
        peer.succeed();
    }
}

#[test]
fn every_little_space_is_enough_or_leaves_nothing() {
    if let Some((_, args)) = role() {
        if args[0] == "small pages" {
            use_small_pages();
        }
        // From too little for the region to enough for it, but not for one or both semaphores. The larger one has
        // huge pages where the kernel has them to give, and a rest.
        let page = 4096;
        for capacity in [CAPACITY, 4 * 1024 * 1024] {
            let (mut made, mut refused) = (0, 0);
            let total = (capacity + 64 * 1024) as u64;
            for spare in 0..8 {
                let ballast = free_bytes() - (total + spare * page - 3 * page);
                std::fs::write("/dev/shm/ballast", vec![1; ballast as usize]).unwrap();
                let (before, free) = (listing(), free_bytes());
                match ChannelOptions::new().capacity(capacity).create("little") {
                    Ok(channel) => {
                        made += 1;
                        let mut publisher = channel.publisher().unwrap();
                        publisher.publish(&vec![1; capacity]).unwrap();
                        channel.consumer().unwrap().consume().unwrap();
                    }
                    Err(Error::NoSpace { need, have, .. }) => {
                        refused += 1;
                        assert!(have.is_none_or(|have| have < need), "{need} of {have:?}");
                    }
                    Err(error) => panic!("{error:?}"),
                }
                assert_eq!((listing(), free_bytes()), (before, free), "{capacity}, {spare}");
                std::fs::remove_file("/dev/shm/ballast").unwrap();
            }
            println!("{}, {capacity} bytes: {made} made, {refused} refused", args[0]);
            assert!(made > 0 && refused >= 3);
        }
        say("done");
        return;
    }
    let _watchdog = Watchdog::new("little space", support::PATIENCE);
    for pages in ["huge pages", "small pages"] {
        if let Some(mut peer) = in_a_small_shm(this_test!(), "fill", &[pages], "7m") {
            peer.expect("done");
            peer.succeed();
        }
    }
}

/// For the rest of this process; nothing where the system knows no such thing, or an emulator gives small ones anyway.
fn use_small_pages() {
    if is_emulated() {
        return;
    }
    #[cfg(target_os = "linux")]
    // SAFETY: takes numbers, and concerns this process's pages alone.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) }, 0);
}

fn open_descriptors() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count())
}

fn limit_descriptors(limit: u64) {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a place for the answer.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut now) }, 0);
    now.rlim_cur = (limit as libc::rlim_t).min(now.rlim_max);
    // SAFETY: a valid limit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const now) }, 0);
}

/// Opens files until there are no more descriptors.
fn take_all_descriptors() -> Vec<std::fs::File> {
    let null = || std::fs::File::open("/dev/null");
    std::iter::from_fn(|| null().ok()).collect()
}

fn is_lack_of_descriptors(error: &Error) -> bool {
    matches!(error, Error::System { source, .. } if source.raw_os_error() == Some(libc::EMFILE))
}

#[test]
fn without_descriptors_there_is_an_error_and_nothing_leaks() {
    if let Some((_, args)) = role() {
        let there = &args[0];
        let before = open_descriptors().expect("/proc is mounted");
        let (mut made, mut refused) = (0, 0);
        for spare in 0..16 {
            for attempt in 0..4 {
                let name = unique("fds");
                // What the process has open leaves room for `spare` more.
                limit_descriptors(64);
                let mut taken = take_all_descriptors();
                taken.truncate(taken.len() - spare.min(taken.len()));
                let made_it = match attempt {
                    0 => SMALL.create(&name),
                    1 => SMALL.open_or_create(&name),
                    2 => Channel::open(there),
                    _ => Channel::unlink(&name).and_then(|()| Channel::open(&name)),
                };
                let ends = made_it.and_then(|channel| {
                    // An end needs no descriptor of its own.
                    let ends = (channel.publisher()?, channel.consumer()?);
                    Ok((channel, ends))
                });
                match &ends {
                    Ok(_) => made += 1,
                    Err(Error::NotFound { .. }) if attempt == 3 => {}
                    Err(error) => {
                        assert!(is_lack_of_descriptors(error), "{error:?}");
                        assert!(error.to_string().contains("for channel"), "{error}");
                        refused += 1;
                    }
                }
                // Those who leave find no descriptor to look around with.
                let rest = take_all_descriptors();
                drop(ends);
                drop((rest, taken));
                limit_descriptors(1024);
                assert_eq!(open_descriptors(), Some(before), "after {spare}, {attempt}");
                let left: Vec<_> = listing().into_iter().filter(|l| l.contains(&name)).collect();
                assert!(left.is_empty(), "{left:?} after {spare}, {attempt}");
            }
        }
        assert!(made > 4 && refused > 4);
        say(format!("{made} made, {refused} refused"));
        return;
    }
    if !has_paths(this_test!()) {
        return;
    }
    let _watchdog = Watchdog::new("descriptors", support::PATIENCE);
    let name = unique("there");
    let channel = SMALL.create(&name).unwrap();
    let mut peer = Peer::start(this_test!(), "poor", &[&name]);
    println!("{}", peer.heard().expect("the child lives"));
    peer.succeed();
    // It could not do more than not come in.
    let (mut publisher, mut consumer) = (channel.publisher().unwrap(), channel.consumer().unwrap());
    publisher.publish(b"fine").unwrap();
    assert_eq!(consumer.consume().unwrap().to_vec().unwrap(), b"fine");
    drop((publisher, consumer, channel));
    assert_nothing_left(&name);
}

static SIGNALS: AtomicU64 = AtomicU64::new(0);

/// Sends this thread a signal a thousand times a second, for as long as it lives. The handler is
/// there without SA_RESTART: every call that can be interrupted is.
struct Storm {
    stop: std::sync::Arc<AtomicBool>,
    sender: Option<std::thread::JoinHandle<()>>,
}

impl Storm {
    fn begin() -> Storm {
        extern "C" fn count(_: libc::c_int) {
            SIGNALS.fetch_add(1, Relaxed);
        }
        // SAFETY: `sigaction` is plain data, and all zeros is one of its values: no flags.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = count as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // SAFETY: the handler touches one atomic.
        let done = unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
        assert_eq!(done, 0);
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let seen = std::sync::Arc::clone(&stop);
        // SAFETY: takes nothing and cannot fail.
        let target = unsafe { libc::pthread_self() } as usize;
        let sender = std::thread::spawn(move || {
            while !seen.load(Relaxed) {
                // SAFETY: that thread outlives this one, which it joins.
                unsafe { libc::pthread_kill(target as libc::pthread_t, libc::SIGUSR1) };
                std::thread::sleep(Duration::from_micros(900)); // The rate, not a rendezvous.
            }
        });
        Storm { stop, sender: Some(sender) }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(sender) = self.sender.take() {
            let _ = sender.join();
        }
    }
}

#[test]
fn signals_disturb_nobody_who_waits() {
    if let Some((_, args)) = role() {
        let wait = WAITS[args[1].parse::<usize>().unwrap()];
        let channel = ChannelOptions::new().wait(wait).open(&args[0]).unwrap();
        let mut consumer = channel.consumer().unwrap();
        let _storm = Storm::begin();
        loop {
            let mut into = Vec::new();
            match consumer.consume_into(&mut into) {
                Ok(message) if message.is_call() => message.reply(&into).unwrap(),
                Ok(_) => {}
                Err(Error::Disconnected { .. }) => return,
                Err(error) => panic!("{error}"),
            }
        }
    }
    let _watchdog = Watchdog::new("signals", Duration::from_secs(120));
    let mut dice = Dice::new(7);
    let common = pattern(1, 3 * CAPACITY + 1);
    for publisher_waits in WAITS {
        for (number, consumer_waits) in WAITS.into_iter().enumerate() {
            let name = unique("signals");
            let channel = SMALL.wait(publisher_waits).create(&name).unwrap();
            let mut publisher = channel.publisher().unwrap();
            let words = number.to_string();
            let mut peer = Peer::start(this_test!(), "answer", &[&name, &words]);
            let storm = Storm::begin();
            let before = SIGNALS.load(Relaxed);
            let until = Instant::now() + Duration::from_millis(300);
            while Instant::now() < until {
                let len = dice.below(common.len() as u64 + 1) as usize;
                let len = if dice.below(2) == 0 { len } else { len % 200 };
                publisher.publish(&common[..len]).unwrap();
                assert!(publisher.call(&common[..len]).unwrap() == common[..len]);
                // Time for both to fall asleep.
                if dice.below(8) == 0 {
                    std::thread::sleep(Duration::from_micros(300));
                }
            }
            let signals = SIGNALS.load(Relaxed) - before;
            drop(storm);
            println!("{publisher_waits:?} to {consumer_waits:?}: {signals} signals at the publisher",);
            assert!(signals > 10);
            drop((publisher, channel));
            peer.succeed();
            assert_nothing_left(&name);
        }
    }
}

#[test]
fn signals_shorten_no_limit_and_end_no_wait() {
    let _watchdog = Watchdog::new("signals, limits", support::PATIENCE);
    let _storm = Storm::begin();
    for wait in WAITS {
        let name = unique("siglimit");
        let channel = SMALL.wait(wait).create(&name).unwrap();
        let mut consumer = channel.consumer().unwrap();
        let limit = Duration::from_millis(150);
        let began = Instant::now();
        let got = consumer.consume_timeout(limit).map(drop);
        assert!(matches!(got, Err(Error::TimedOut { .. })), "{got:?}");
        assert!(began.elapsed() >= limit);
    }
}

#[test]
fn signals_disturb_nobody_who_creates_opens_or_leaves() {
    let _watchdog = Watchdog::new("signals, create", Duration::from_secs(120));
    let storm = Storm::begin();
    let before = SIGNALS.load(Relaxed);
    // The larger one takes longer to reserve than there is between two signals.
    for capacity in [CAPACITY, 4 * 1024 * 1024, 64 * 1024 * 1024] {
        for number in 0..(64 * 1024 * 1024 / capacity).min(100) {
            let name = unique("sigmake");
            let channel = ChannelOptions::new().capacity(capacity).create(&name).unwrap();
            let again = Channel::open(&name).unwrap();
            let mut publisher = again.publisher().unwrap();
            let mut consumer = channel.consumer().unwrap();
            publisher.publish(&[number as u8; 1000]).unwrap();
            assert_eq!(consumer.consume().unwrap().len(), 1000);
            drop((publisher, consumer, again, channel));
            assert_nothing_left(&name);
        }
    }
    let signals = SIGNALS.load(Relaxed) - before;
    drop(storm);
    println!("{signals} signals");
    assert!(signals > 10);
}
