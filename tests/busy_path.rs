//! While both ends are busy there is no system call: `strace` counts them, from outside.
mod support;

use antiphon::{ChannelOptions, Error, Wait};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use support::{Peer, Watchdog, assert_nothing_left, is_emulated, role, say, unique};

/// The round trips are counted in spells, so that one in which the other end had no processor, and
/// was looked for, is told from those in which both were busy.
const SPELLS: usize = 40;
const ROUND_TRIPS: u64 = 500;
/// A call that fails and means nothing: what lies between two of them is counted.
const MARK: i32 = -7001;

fn mark() {
    // SAFETY: there is no such descriptor.
    unsafe { libc::close(MARK) };
}

fn answer(consumer: &mut antiphon::Consumer, count: u64) {
    for _ in 0..count {
        let message = consumer.consume().unwrap();
        let back = message.view().to_vec();
        message.reply(&back).unwrap();
    }
}

fn ask(publisher: &mut antiphon::Publisher, count: u64) {
    let mut reply = Vec::with_capacity(64);
    for number in 0..count {
        publisher.call_into(&number.to_ne_bytes(), &mut reply).unwrap();
        assert_eq!(reply, number.to_ne_bytes());
    }
}

/// What the thread that set the marks asked of the system between each two of them.
fn spells(trace: &Path) -> Vec<Vec<String>> {
    let trace = std::fs::read_to_string(trace).unwrap();
    let mark = format!("close({MARK})");
    let first = trace.lines().find(|line| line.contains(&mark)).expect("a mark in the trace");
    let thread = first.split_whitespace().next().unwrap();
    let of_thread = trace.lines().filter(|line| line.split_whitespace().next() == Some(thread));
    let mut spells = Vec::new();
    for line in of_thread.skip_while(|line| !line.contains(&mark)) {
        if line.contains(&mark) {
            spells.push(Vec::new());
        } else if let Some(spell) = spells.last_mut() {
            spell.push(line.to_owned());
        }
    }
    spells.pop(); // What comes behind the last mark.
    spells
}

/// How often each call was made.
fn kinds<'a>(seen: impl Iterator<Item = &'a String>) -> BTreeMap<&'a str, u64> {
    let mut kinds = BTreeMap::new();
    for line in seen {
        let call = line.split_whitespace().nth(1).unwrap_or("").split('(').next().unwrap_or("");
        *kinds.entry(call).or_default() += 1;
    }
    kinds
}

fn counts(test: &str, traced: &str) {
    let scratch = std::env::temp_dir().join(unique("strace"));
    let can = Command::new("strace").arg("-o").arg(&scratch).arg("true").output();
    if !can.is_ok_and(|done| done.status.success()) {
        println!("NOT RUN {test}: strace is not there, or may not trace");
        return;
    }
    if cfg!(antiphon_darwin_rules) {
        println!("NOT RUN {test}: what plays Darwin makes calls of its own");
        return;
    }
    if is_emulated() {
        println!("NOT RUN {test}: strace would count the emulator's calls");
        return;
    }
    // Two pairs at once would be two too many for a small machine.
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _alone = ALONE.lock();
    let name = unique("busy");
    let options = ChannelOptions::new().capacity(64 * 1024).wait(Wait::Spin);
    let channel = options.create(&name).unwrap();
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o"]).arg(&scratch).arg(std::env::current_exe().unwrap());
    let mut peer;
    if traced == "consumer" {
        let mut publisher = channel.publisher().unwrap();
        peer = Peer::start_with(strace, test, traced, &[&name]);
        ask(&mut publisher, SPELLS as u64 * ROUND_TRIPS + 200);
        drop(publisher);
    } else {
        let mut consumer = channel.consumer().unwrap();
        peer = Peer::start_with(strace, test, traced, &[&name]);
        answer(&mut consumer, SPELLS as u64 * ROUND_TRIPS + 200);
        assert!(matches!(consumer.consume(), Err(Error::Disconnected { .. })));
    }
    peer.expect("done");
    peer.succeed();
    drop(channel);
    assert_nothing_left(&name);
    let mut seen = spells(&scratch);
    let _ = std::fs::remove_file(&scratch);
    assert_eq!(seen.len(), SPELLS);
    seen.sort_by_key(Vec::len);
    let quiet = seen.iter().filter(|spell| spell.is_empty()).count();
    let all = kinds(seen.iter().flatten());
    println!(
        "{traced}: no call at all in {quiet} of {SPELLS} spells of {ROUND_TRIPS} round trips; in the others {all:?}"
    );
    // The median spell; and whatever was asked in the others was a look at the other end.
    assert!(seen[SPELLS / 2].is_empty(), "{:?}", seen[SPELLS / 2]);
    for call in all.keys() {
        // By a libc's or a machine's own names.
        let call = call.trim_end_matches("64");
        let looks = [
            "fcntl", "poll", "kill", "pidfd_open", "open", "openat", "read", "close", "stat", "fstat", "newfstatat",
            "statx",
        ];
        assert!(looks.contains(&call), "{call} is no look at the other end");
    }
}

/// The traced side: a hundred round trips on either side of the marks.
fn between(traced: &str, name: &str) {
    let channel = ChannelOptions::new().wait(Wait::Spin).open(name).unwrap();
    if traced == "consumer" {
        let mut consumer = channel.consumer().unwrap();
        answer(&mut consumer, 100);
        for _ in 0..SPELLS {
            mark();
            answer(&mut consumer, ROUND_TRIPS);
        }
        mark();
        answer(&mut consumer, 100);
    } else {
        let mut publisher = channel.publisher().unwrap();
        ask(&mut publisher, 100);
        for _ in 0..SPELLS {
            mark();
            ask(&mut publisher, ROUND_TRIPS);
        }
        mark();
        ask(&mut publisher, 100);
    }
    say("done");
}

#[test]
fn a_busy_consumer_asks_nothing_of_the_system() {
    if let Some((traced, args)) = role() {
        return between(&traced, &args[0]);
    }
    let _watchdog = Watchdog::new("busy consumer", support::PATIENCE);
    counts(this_test!(), "consumer");
}

#[test]
fn a_busy_publisher_asks_nothing_of_the_system() {
    if let Some((traced, args)) = role() {
        return between(&traced, &args[0]);
    }
    let _watchdog = Watchdog::new("busy publisher", support::PATIENCE);
    counts(this_test!(), "publisher");
}
