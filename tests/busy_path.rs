//! While both ends are busy there is no system call: `strace` counts them, from outside.
mod support;

use antiphon::{ChannelOptions, Error, Wait};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use support::{Peer, Watchdog, assert_nothing_left, role, say, unique};

const ROUND_TRIPS: u64 = 20_000;
const A_FEW: u64 = 20;
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

/// What the thread that set the marks asked of the system between them.
fn between_marks(trace: &Path) -> Vec<String> {
    let trace = std::fs::read_to_string(trace).unwrap();
    let mark = format!("close({MARK})");
    let first = trace.lines().find(|line| line.contains(&mark)).expect("a mark in the trace");
    let thread = first.split_whitespace().next().unwrap();
    let of_thread = trace.lines().filter(|line| line.split_whitespace().next() == Some(thread));
    of_thread
        .skip_while(|line| !line.contains(&mark))
        .skip(1)
        .take_while(|line| !line.contains(&mark))
        .map(str::to_owned)
        .collect()
}

/// How often each call was made.
fn kinds(seen: &[String]) -> BTreeMap<&str, u64> {
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
        ask(&mut publisher, ROUND_TRIPS + 200);
        drop(publisher);
    } else {
        let mut consumer = channel.consumer().unwrap();
        peer = Peer::start_with(strace, test, traced, &[&name]);
        answer(&mut consumer, ROUND_TRIPS + 200);
        assert!(matches!(consumer.consume(), Err(Error::Disconnected { .. })));
    }
    let millis: u64 = peer.heard().expect("the traced child lives").parse().unwrap();
    peer.succeed();
    drop(channel);
    assert_nothing_left(&name);
    let seen = between_marks(&scratch);
    let _ = std::fs::remove_file(&scratch);
    let kinds = kinds(&seen);
    println!("{traced}: {kinds:?} in {ROUND_TRIPS} round trips and {millis} ms");
    // A wait of more than a millisecond, while the other end has no processor, is looked into: by
    // its lock, and now and then by its pid. That goes by the time, not by the round trip.
    let mut rest = kinds;
    let looks = rest.remove("fcntl").unwrap_or(0);
    assert!(looks <= millis + A_FEW, "{looks} looks in {millis} ms");
    let by_pid: u64 = ["openat", "read", "close", "fstat", "newfstatat", "statx"]
        .into_iter()
        .map(|call| rest.remove(call).unwrap_or(0))
        .sum();
    assert!(by_pid <= millis / 10 + A_FEW, "{by_pid} calls in {millis} ms");
    assert!(rest.values().sum::<u64>() <= A_FEW, "{rest:?}");
}

/// The traced side: a hundred round trips on either side of the marks.
fn between(traced: &str, name: &str) {
    let began;
    let channel = ChannelOptions::new().wait(Wait::Spin).open(name).unwrap();
    if traced == "consumer" {
        let mut consumer = channel.consumer().unwrap();
        answer(&mut consumer, 100);
        began = Instant::now();
        mark();
        answer(&mut consumer, ROUND_TRIPS);
        mark();
        answer(&mut consumer, 100);
    } else {
        let mut publisher = channel.publisher().unwrap();
        ask(&mut publisher, 100);
        began = Instant::now();
        mark();
        ask(&mut publisher, ROUND_TRIPS);
        mark();
        ask(&mut publisher, 100);
    }
    say(began.elapsed().as_millis());
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
