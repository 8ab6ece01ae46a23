//! Processes of different kinds on one name: 32 and 64 bits, glibc and musl, other processors. They work together where
//! word size and libc are the same, and refuse each other by name where they are not.
//!
//! `ci/machines together` builds this file for other machines, and names those programs in `ANTIPHON_KIN`.
mod support;

use antiphon::{Channel, ChannelOptions, Error};
use std::process::Command;
use support::{Peer, Watchdog, assert_nothing_left, hear, pattern, role, say, unique};

const CAPACITY: usize = 64 * 1024;
const SMALL: ChannelOptions = ChannelOptions::new().capacity(CAPACITY);

/// What has to be the same: the semaphores of one libc and word size mean nothing to another.
fn kind() -> String {
    let libc = if cfg!(target_env = "gnu") { "glibc" } else { "musl" };
    format!("{} bytes a word, {libc}", size_of::<usize>())
}

/// What a process has against a channel of another kind, in words; `None` where it has nothing.
fn refusal<T>(result: Result<T, Error>) -> Option<String> {
    match result {
        Ok(_) => None,
        Err(error @ Error::Incompatible { .. }) => Some(error.to_string()),
        Err(other) => panic!("neither a channel nor a refusal: {other:?}"),
    }
}

/// The other kind of process.
fn as_kin(role: &str, args: &[String]) {
    match role {
        "kind" => say(kind()),
        // Comes to a channel of ours.
        "comes" => match Channel::open(&args[0]) {
            Ok(channel) => {
                say("in");
                let mut consumer = channel.consumer().unwrap();
                assert!(consumer.consume().unwrap().to_vec().unwrap() == pattern(2, 3 * CAPACITY));
                say("has it all");
                for _ in 0..2 {
                    let message = consumer.consume().unwrap();
                    let back = message.view().to_vec();
                    message.reply(&back).unwrap();
                }
                hear(); // To be killed.
            }
            refused => {
                say(refusal(refused).unwrap());
                // Neither of these touches what belongs to others.
                assert!(refusal(SMALL.create(&args[0])).is_some());
                assert!(refusal(SMALL.open_or_create(&args[0])).is_some());
                assert!(refusal(Channel::unlink(&args[0])).is_some());
                say("refused");
            }
        },
        // Has a channel that others come to.
        _ => {
            let channel = SMALL.create(&args[0]).unwrap();
            say("made");
            hear();
            drop(channel);
        }
    }
}

fn with_kin(mut check: impl FnMut(&str, bool)) {
    let Some(programs) = std::env::var_os("ANTIPHON_KIN") else {
        return println!("NOT RUN tests/kin.rs: no program for another machine is named; ci/machines together does");
    };
    for program in std::env::split_paths(&programs) {
        let program = program.to_str().unwrap();
        let mut kin = Peer::start_with(Command::new(program), THE_OTHER, "kind", &[]);
        let theirs = kin.heard().expect("the other kind of program starts");
        println!("{program}: {theirs}; this one has {}", kind());
        kin.succeed();
        check(program, theirs == kind());
    }
}

/// The other program's part is one test of its own.
const THE_OTHER: &str = "the_other_kind_of_process";

#[test]
fn the_other_kind_of_process() {
    if let Some((role, args)) = role() {
        let _watchdog = Watchdog::new("kin", support::PATIENCE);
        as_kin(&role, &args);
    }
}

#[test]
fn another_kind_of_process_that_comes_works_or_is_refused_by_name() {
    let _watchdog = Watchdog::new("kin come", 4 * support::PATIENCE);
    with_kin(|program, is_same| {
        let name = unique("comes");
        let channel = SMALL.create(&name).unwrap();
        let mut publisher = channel.publisher().unwrap();
        let mut kin = Peer::start_with(Command::new(program), THE_OTHER, "comes", &[&name]);
        let said = kin.heard().unwrap();
        if is_same {
            assert_eq!(said, "in");
            publisher.publish(&pattern(2, 3 * CAPACITY)).unwrap();
            kin.expect("has it all");
            for len in [40, CAPACITY] {
                let bytes = pattern(1, len);
                assert!(publisher.call(&bytes).unwrap() == bytes, "{len} bytes");
            }
            kin.kill();
            let error = publisher.call(b"?").unwrap_err();
            assert!(matches!(error, Error::PeerDied { .. }), "{error}");
        } else {
            println!("{said}");
            assert!(said.contains(&format!("{name:?}")), "names nothing: {said}");
            assert!(said.contains("word size") || said.contains("libc flavour"), "does not say in what: {said}");
            kin.expect("refused");
            kin.succeed();
            // The channel is as it was.
            let mut consumer = channel.consumer().unwrap();
            publisher.publish(b"goes on").unwrap();
            assert_eq!(consumer.consume().unwrap().view().to_vec(), b"goes on");
        }
        drop((publisher, channel));
        assert_nothing_left(&name);
    });
}

#[test]
fn a_channel_of_another_kind_of_process_works_or_is_refused_by_name() {
    let _watchdog = Watchdog::new("kin make", 4 * support::PATIENCE);
    with_kin(|program, is_same| {
        let name = unique("made");
        let mut kin = Peer::start_with(Command::new(program), THE_OTHER, "makes", &[&name]);
        kin.expect("made");
        let opened = Channel::open(&name);
        if is_same {
            let channel = opened.unwrap();
            let (mut publisher, mut consumer) = (channel.publisher().unwrap(), channel.consumer().unwrap());
            publisher.publish(b"here").unwrap();
            assert_eq!(consumer.consume().unwrap().view().to_vec(), b"here");
        } else {
            let said = refusal(opened).expect("it is refused");
            assert!(said.contains(&format!("{name:?}")), "names nothing: {said}");
            for refused in [SMALL.create(&name), SMALL.open_or_create(&name)] {
                assert!(refusal(refused).is_some());
            }
            assert!(refusal(Channel::unlink(&name)).is_some());
        }
        kin.tell("leave");
        kin.succeed();
        assert_nothing_left(&name);
    });
}
