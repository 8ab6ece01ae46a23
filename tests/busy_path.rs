//! While both ends are busy there is no system call: `strace` counts them, from outside.
mod support;

use antiphon::{ChannelOptions, Error, Wait};
use std::path::Path;
use std::process::Command;
use support::{Peer, Watchdog, assert_nothing_left, role, unique};

const ROUND_TRIPS: u64 = 20_000;
/// A wait of more than a millisecond, while the other end has no processor, is looked into.
const A_FEW: usize = 20;
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

fn counts(test: &str, traced: &str) {
    let scratch = std::env::temp_dir().join(unique("strace"));
    let can = Command::new("strace").arg("-o").arg(&scratch).arg("true").output();
    if !can.is_ok_and(|done| done.status.success()) {
        println!("NOT RUN {test}: strace is not there, or may not trace");
        return;
    }
    // Two pairs at once would be two too many for a small machine.
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _alone = ALONE.lock();
    let mut seen = Vec::new();
    for _ in 0..10 {
        let name = unique("busy");
        let options = ChannelOptions::new().capacity(64 * 1024).wait(Wait::Spin);
        let channel = options.create(&name).unwrap();
        let mut strace = Command::new("strace");
        strace.args(["-f", "-o"]).arg(&scratch).arg(std::env::current_exe().unwrap());
        if traced == "consumer" {
            let mut publisher = channel.publisher().unwrap();
            let mut peer = Peer::start_with(strace, test, traced, &[&name]);
            ask(&mut publisher, ROUND_TRIPS + 200);
            drop(publisher);
            peer.succeed();
        } else {
            let mut consumer = channel.consumer().unwrap();
            let mut peer = Peer::start_with(strace, test, traced, &[&name]);
            answer(&mut consumer, ROUND_TRIPS + 200);
            assert!(matches!(consumer.consume(), Err(Error::Disconnected { .. })));
            peer.succeed();
        }
        drop(channel);
        assert_nothing_left(&name);
        seen = between_marks(&scratch);
        println!("{traced}: {} system calls in {ROUND_TRIPS} round trips", seen.len());
        if seen.len() <= A_FEW {
            break;
        }
    }
    let _ = std::fs::remove_file(&scratch);
    assert!(seen.len() <= A_FEW, "{} calls, such as {:?}", seen.len(), &seen[..A_FEW]);
}

/// The traced side: a hundred round trips on either side of the marks.
fn between(traced: &str, name: &str) {
    let channel = ChannelOptions::new().wait(Wait::Spin).open(name).unwrap();
    if traced == "consumer" {
        let mut consumer = channel.consumer().unwrap();
        answer(&mut consumer, 100);
        mark();
        answer(&mut consumer, ROUND_TRIPS);
        mark();
        answer(&mut consumer, 100);
    } else {
        let mut publisher = channel.publisher().unwrap();
        ask(&mut publisher, 100);
        mark();
        ask(&mut publisher, ROUND_TRIPS);
        mark();
        ask(&mut publisher, 100);
    }
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
