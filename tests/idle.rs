//! While both ends wait there is no CPU used: processor time is counted, not measured.
mod support;

use antiphon::blocks::{BlockFileOptions, FileId};
use antiphon::{ChannelOptions, Error, Wait};
use std::time::Duration;
use support::{Peer, Watchdog, assert_nothing_left, is_emulated, role, say, unique};

const SMALL: ChannelOptions = ChannelOptions::new().capacity(64 * 1024);
const WAITS: [Wait; 2] = [Wait::Park, Wait::Adaptive];
/// How long to wait, and the processor time that this may take.
const WAITING: Duration = Duration::from_secs(2);
const ALLOWED: Duration = Duration::from_millis(if cfg!(antiphon_darwin_rules) { 20 } else { 2 });
// What plays Darwin takes time of its own at each look (5 ms were seen); looking once a millisecond, in place of
// once a tick, would be more than ten times that.
// Where fifty plain sleeps come near that (a virtual machine, an unoptimised build), they are the
// measure: as much again for the looks between them, and a millisecond.

/// What this process has used so far.
fn used() -> Duration {
    // SAFETY: `rusage` is plain data, and all zeros is one of its values.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: a place for the answer.
    assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) }, 0);
    let duration =
        |time: libc::timeval| Duration::new(time.tv_sec as u64, 0) + Duration::from_micros(time.tv_usec as u64);
    duration(usage.ru_utime) + duration(usage.ru_stime)
}

/// Waits, and tells what that took.
fn wait_as(end: &str, args: &[String]) {
    if let [session, file, wait] = args {
        let id = FileId { session: session.parse().unwrap(), file: file.parse().unwrap() };
        return wait_at_blocks(end, id, WAITS[wait.parse::<usize>().unwrap()]);
    }
    let [name, wait] = args else { return say(control().as_micros()) };
    let wait = WAITS[wait.parse::<usize>().unwrap()];
    let channel = ChannelOptions::new().wait(wait).open(name).unwrap();
    if end == "consumer" {
        let mut consumer = channel.consumer().unwrap();
        let before = used();
        let got = consumer.consume_timeout(WAITING).map(drop);
        say((used() - before).as_micros());
        assert!(matches!(got, Err(Error::TimedOut { .. })), "{got:?}");
    } else {
        let mut publisher = channel.publisher().unwrap();
        let before = used();
        let got = publisher.call_timeout(b"take your time", WAITING);
        say((used() - before).as_micros());
        assert!(matches!(got, Err(Error::TimedOut { .. })), "{got:?}");
    }
}

/// The same at a block file, as a writer, a reader, or one that has finished.
fn wait_at_blocks(end: &str, id: FileId, wait: Wait) {
    let file = BlockFileOptions::new().wait(wait).open(id).unwrap();
    let (mut writer, mut reader) = (None, None);
    if end == "reader" {
        reader = Some(file.reader().unwrap());
    } else {
        writer = Some(file.writer().unwrap());
    }
    let before = used();
    let got = match (&mut writer, &mut reader) {
        (Some(writer), _) if end == "finisher" => writer.finish_timeout(WAITING),
        (Some(writer), _) => writer.claim_timeout(WAITING).map(drop),
        (_, Some(reader)) => reader.claim_timeout(WAITING).map(drop),
        _ => unreachable!(),
    };
    say((used() - before).as_micros());
    assert!(matches!(got, Err(Error::TimedOut { .. })), "{got:?}");
}

/// What as many sleeps of a tick take on this machine, where nothing is looked at in between. Where the libc has no wait
/// with a limit by a clock that nobody sets, a thread ends them, which it does here as well.
fn control() -> Duration {
    let ticks = WAITING.as_millis() / 40;
    let sleep = || std::thread::sleep(Duration::from_millis(40)); // What is measured.
    let before = used();
    if cfg!(target_env = "gnu") {
        (0..ticks).for_each(|_| sleep());
    } else {
        let (wake, woken) = std::sync::mpsc::sync_channel(0);
        std::thread::scope(|scope| {
            scope.spawn(move || (0..ticks).for_each(|_| (sleep(), wake.send(()).unwrap()).1));
            woken.iter().for_each(drop);
        });
    }
    used() - before
}

fn waiting_is_free(test: &str, end: &str) {
    let wait_once = |number: &str| {
        let name = unique("idle");
        let channel = SMALL.create(&name).unwrap();
        // The other end is there, and lives.
        let publisher = (end == "consumer").then(|| channel.publisher().unwrap());
        let mut consumer = (end != "consumer").then(|| channel.consumer().unwrap());
        let mut peer = Peer::start(test, end, &[&name, number]);
        let taken = consumer.as_mut().map(|consumer| consumer.consume().unwrap());
        let micros = peer.heard().expect("the waiting child lives").parse().unwrap();
        peer.succeed();
        drop(taken);
        drop((publisher, consumer, channel));
        assert_nothing_left(&name);
        Duration::from_micros(micros)
    };
    count(test, end, wait_once);
}

/// At a block file of one block, in which nothing comes: `end` is who waits.
fn waiting_at_blocks_is_free(test: &str, end: &str) {
    let wait_once = |number: &str| {
        let id = FileId { session: u64::from(std::process::id()) << 32 | 0x1d1e, file: end.as_bytes()[0].into() };
        let file = BlockFileOptions::new().block_bytes(4096).blocks(1).create(id, b"idle").unwrap();
        let mut writer = file.writer().unwrap();
        let mut reader = file.reader().unwrap();
        let space = writer.claim().unwrap();
        // For a writer the block is in reading, for the others in filling.
        let (space, block) = if end == "writer" {
            space.complete(1).unwrap();
            (None, reader.claim().unwrap())
        } else {
            (Some(space), None)
        };
        let (session, number_of_file) = (id.session.to_string(), id.file.to_string());
        let mut peer = Peer::start(test, end, &[&session, &number_of_file, number]);
        let micros = peer.heard().expect("the waiting child lives").parse().unwrap();
        peer.succeed();
        block.map_or(Ok(()), |block| block.complete()).unwrap();
        space.map_or(Ok(()), |space| space.complete(0)).unwrap();
        drop((writer, reader, file));
        assert_nothing_left(&id.to_string());
        Duration::from_micros(micros)
    };
    count(test, end, wait_once);
}

fn count(test: &str, end: &str, wait_once: impl Fn(&str) -> Duration) {
    for (number, wait) in WAITS.into_iter().enumerate() {
        let mut peer = Peer::start(test, "control", &[]);
        let micros = peer.heard().expect("the sleeping child lives").parse().unwrap();
        let control = Duration::from_micros(micros);
        let allowed = ALLOWED.max(2 * control + Duration::from_millis(1));
        let mut figures = Vec::new();
        // Another program may have got in the way, of the cache or the clock: thrice at most.
        while figures.len() < 3 && figures.last().is_none_or(|used| *used >= allowed) {
            figures.push(wait_once(&number.to_string()));
        }
        println!("{end} under {wait:?}, {WAITING:?}: {figures:?}, plain sleeps {control:?}");
        if is_emulated() {
            println!("NOT RUN {test}: an emulator takes processor time of its own");
            continue;
        }
        assert!(*figures.last().unwrap() < allowed, "{figures:?}, plain sleeps {control:?}");
    }
}

#[test]
fn a_consumer_that_waits_uses_no_processor() {
    if let Some((end, args)) = role() {
        return wait_as(&end, &args);
    }
    let _watchdog = Watchdog::new("idle consumer", support::PATIENCE);
    waiting_is_free(this_test!(), "consumer");
}

#[test]
fn a_caller_that_waits_uses_no_processor() {
    if let Some((end, args)) = role() {
        return wait_as(&end, &args);
    }
    let _watchdog = Watchdog::new("idle caller", support::PATIENCE);
    waiting_is_free(this_test!(), "publisher");
}

#[test]
fn a_writer_that_waits_for_a_block_uses_no_processor() {
    if let Some((end, args)) = role() {
        return wait_as(&end, &args);
    }
    let _watchdog = Watchdog::new("idle writer", support::PATIENCE);
    waiting_at_blocks_is_free(this_test!(), "writer");
}

#[test]
fn a_reader_that_waits_for_a_block_uses_no_processor() {
    if let Some((end, args)) = role() {
        return wait_as(&end, &args);
    }
    let _watchdog = Watchdog::new("idle reader", support::PATIENCE);
    waiting_at_blocks_is_free(this_test!(), "reader");
}

#[test]
fn who_finishes_and_waits_for_others_uses_no_processor() {
    if let Some((end, args)) = role() {
        return wait_as(&end, &args);
    }
    let _watchdog = Watchdog::new("idle finisher", support::PATIENCE);
    waiting_at_blocks_is_free(this_test!(), "finisher");
}
