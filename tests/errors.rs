//! Every error that can be brought about names its channel, and says on one line what to do.
#[path = "support/intruder.rs"]
mod intruder;
mod support;

use antiphon::{Channel, ChannelOptions, Delivered, Error};
use intruder::{Intruder, LENGTH, TURN};
use std::fmt::Debug;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use support::{Peer, Watchdog, assert_nothing_left, hear, role, say, unique};

const SMALL: ChannelOptions = ChannelOptions::new().capacity(64 * 1024);
const SHORT: Duration = Duration::from_millis(1);

/// What is promised of every message; `variant` as `Debug` has it, `way_out` is the part that tells what to do.
fn check<T: Debug>(result: Result<T, Error>, variant: &str, name: &str, way_out: &str) {
    let error = result.unwrap_err();
    let debug = format!("{error:?}");
    assert_eq!(debug.split(' ').next(), Some(variant), "{error}");
    let text = error.to_string();
    println!("{text}");
    assert!(text.contains(&format!("{name:?}")), "names nothing: {text}");
    assert!(text.contains(way_out), "no way out: {text}");
    assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
    assert!(text.starts_with(char::is_lowercase), "{text}");
    let kind = error.kind();
    let other = std::io::Error::from(error);
    assert_eq!((other.kind(), other.to_string()), (kind, text), "what io::Error makes of it");
}

#[test]
fn errors_of_names_and_options_say_what_to_do() {
    for bad in ["", "a b", "two\nlines", "über"] {
        check(Channel::create(bad), "BadName", bad, "use 1 to 200 letters");
    }
    let name = unique("names");
    let option = SMALL.persistent(true).private().unwrap_err().to_string();
    assert_eq!(
        option,
        "the option persistent cannot be 1: it has to be 0 for a private channel, whose names go as soon as both ends are attached"
    );
    let option = SMALL.capacity(7).create(&name).unwrap_err().to_string();
    assert_eq!(
        option,
        "the option capacity cannot be 7: it has to be a multiple of 65536 from 65536 up to what the address space holds"
    );
    check(Channel::open(&name), "NotFound", &name, "create it first");
    check(Channel::unlink(&name), "NotFound", &name, "create it first");
    let channel = SMALL.create(&name).unwrap();
    check(SMALL.create(&name), "InUse", &name, "open it instead");
    let kept = unique("kept");
    SMALL.persistent(true).create(&kept).unwrap().publisher().unwrap().publish(b"kept").unwrap();
    check(SMALL.create(&kept), "HoldsMessage", &kept, "remove it with Channel::unlink");
    Channel::unlink(&kept).unwrap();
    let _publisher = channel.publisher().unwrap();
    check(channel.publisher(), "SeatTaken", &name, "use a channel for each pair");
    check(channel.publisher_timeout(SHORT), "SeatTaken", &name, "wait for the seat with publisher_timeout");
    let handles: Vec<_> = (0..29).map(|_| Channel::open(&name).unwrap()).collect();
    check(Channel::open(&name), "SeatTaken", &name, "drop handles");
    drop((_publisher, handles, channel));
    assert_nothing_left(&name);
}

#[test]
fn errors_of_the_other_end_say_what_to_do() {
    if let Some((_, args)) = role() {
        let _consumer = Channel::open(&args[0]).unwrap().consumer().unwrap();
        say("sits");
        hear();
        return;
    }
    let _watchdog = Watchdog::new("errors", support::PATIENCE);
    let name = unique("ends");
    let channel = SMALL.create(&name).unwrap();
    let mut publisher = channel.publisher().unwrap();
    let mut peer = Peer::start(this_test!(), "consumer", &[&name]);
    peer.expect("sits");
    publisher.publish(b"not taken").unwrap();
    peer.kill();
    check(publisher.publish(b"waits"), "PeerDied", &name, "the next call waits for the next consumer");
    check(publisher.publish_timeout(b"waits", SHORT), "TimedOut", &name, "so it can be sent again");
    let mut consumer = channel.consumer().unwrap();
    drop(consumer.consume().unwrap());
    check(consumer.consume_timeout(SHORT), "TimedOut", &name, "no whole message came");

    publisher.publish(b"asks nothing").unwrap();
    check(consumer.consume().unwrap().reply(b"but gets"), "NotACall", &name, "ask is_call first");
    check(publisher.call_timeout(b"withdrawn", SHORT), "TimedOut", &name, "so it can be sent again");
    std::thread::scope(|scope| {
        let (taken, is_taken) = std::sync::mpsc::channel();
        let (given_up, is_given_up) = std::sync::mpsc::channel();
        let (consumer, name) = (&mut consumer, &name);
        scope.spawn(move || {
            let message = consumer.consume().unwrap();
            taken.send(()).unwrap();
            is_given_up.recv().unwrap();
            check(message.reply(b"too late"), "CallerGone", name, "consume the next message");
            drop(consumer.consume().unwrap());
            let mut message = consumer.consume().unwrap(); // The first of two rounds.
            message.set_timeout(Some(Duration::ZERO));
            check(message.next_round(), "TimedOut", name, "no whole message came");
        });
        let late = loop {
            // Taken at the last moment, or not yet.
            let late = publisher.call_timeout(b"taken", 20 * SHORT).unwrap_err();
            // Unknown may also be one that was skipped at the same moment.
            if late.delivered() == Some(Delivered::Unknown) && is_taken.recv_timeout(1000 * SHORT).is_ok() {
                break late;
            }
        };
        check(Err::<(), _>(late), "TimedOut", name, "is unknown");
        given_up.send(()).unwrap();
        check(publisher.call(b"no answer"), "NoReply", name, "have it call reply");
        check(publisher.publish(&[0; 65537]), "Aborted", name, "give both ends more time");
    });
    check(publisher.try_publish(&[0; 65537]), "TooLong", &name, "the limit is 65536");
    check(publisher.loan(65537), "TooLong", &name, "the limit is 65536");
    drop(publisher);
    check(consumer.consume(), "Disconnected", &name, "waits for the next publisher");
    drop((consumer, channel));
    assert_nothing_left(&name);
}

#[test]
fn errors_of_what_stands_there_say_what_to_do() {
    let name = unique("there");
    let channel = SMALL.create(&name).unwrap();
    let mut consumer = channel.consumer().unwrap();
    let region = Intruder::new(&name);
    region.word(LENGTH).store(u64::MAX, Relaxed);
    region.word(TURN).store(region.turn(1, 1, 0), Relaxed);
    check(consumer.consume(), "Corrupt", &name, "create it anew");
    let version = region.byte(8).swap(99, Relaxed);
    check(Channel::open(&name), "Incompatible", &name, "use the same build");
    region.byte(8).store(version, Relaxed);
    region.byte(80).store(b'\n', Relaxed);
    check(Channel::open(&name), "NameCollision", &name, "choose another name");
    region.byte(80).store(name.as_bytes()[0], Relaxed);
    region.byte(0).store(0, Relaxed);
    check(Channel::open(&name), "NotAChannel", &name, "choose another name");
    region.byte(0).store(if cfg!(target_endian = "little") { b'a' } else { b'n' }, Relaxed);
    drop((consumer, channel));
    assert_nothing_left(&name);
}

/// A consumer sends nothing again.
#[test]
fn errors_of_a_consumer_speak_of_what_it_did() {
    let name = || "frames".to_owned();
    let (peer, pid) = ("publisher", 7);
    let dead = |delivered, is_final| Err::<(), _>(Error::PeerDied { name: name(), peer, pid, delivered, is_final });
    check(
        dead(Delivered::No, false),
        "PeerDied",
        "frames",
        "no whole message came; the next call waits for the next publisher",
    );
    check(dead(Delivered::Unknown, false), "PeerDied", "frames", "whether the caller has the reply is unknown");
    check(dead(Delivered::No, true), "PeerDied", "frames", "make another");
    let late = Error::TimedOut { name: name(), call: "reply", delivered: Delivered::Unknown };
    check(Err::<(), _>(late), "TimedOut", "frames", "whether the caller has the reply is unknown");
}

/// Those that take a full system, another user, a fork or ten seconds; other tests bring them about.
#[test]
fn errors_that_need_more_say_what_to_do() {
    let name = || "frames".to_owned();
    let source = || std::io::Error::from_raw_os_error(libc::EACCES);
    let error = |error| Err::<(), Error>(error);
    let full = Error::NoSpace { name: name(), need: 1 << 30, have: Some(0) };
    check(error(full), "NoSpace", "frames", "choose a smaller capacity");
    let full = Error::NoSpace { name: name(), need: 1 << 30, have: None };
    check(error(full), "NoSpace", "frames", "choose a smaller capacity");
    check(
        error(Error::NotPermitted { name: name(), call: "shm_open", source: source() }),
        "NotPermitted",
        "frames",
        "mode",
    );
    check(error(Error::Forked { name: name() }), "Forked", "frames", "open the channel again in the child");
    check(error(Error::Stuck { name: name() }), "Stuck", "frames", "see whether it is stopped");
    check(error(Error::System { name: name(), call: "mmap", source: source() }), "System", "frames", "mmap for");
}

/// What a block file and a session are called by their names' form, and what is to be done about them.
#[test]
fn errors_of_block_files_and_sessions_speak_of_them() {
    let (file, session) = ("000000000A571F08-00000007", "000000000A571F08");
    let name = |name: &str| name.to_owned();
    let (delivered, is_final, pid) = (Delivered::No, false, 7);
    let died = |of, peer| Error::PeerDied { name: name(of), peer, pid, delivered, is_final };
    let left = |of, peer| Error::Disconnected { name: name(of), peer, delivered, is_final };
    let late = |of, call| Error::TimedOut { name: name(of), call, delivered };
    let space = Error::NoSpace { name: name(file), need: 1 << 30, have: Some(0) };
    for (error, variant, of, way_out) in [
        (died(file, "writer"), "PeerDied", file, "goes to the next writer"),
        (died(session, "host"), "PeerDied", session, "repeat the call, which does no harm twice"),
        (left(file, "writer"), "Disconnected", file, "the next call waits for the next writer"),
        (left(session, "host"), "Disconnected", session, "the next call waits for the next host"),
        (late(file, "claim"), "TimedOut", file, "call it again"),
        (late(session, "files"), "TimedOut", session, "repeat it"),
        (Error::NotFound { name: name(file) }, "NotFound", file, "create it first"),
        (Error::NotFound { name: name(session) }, "NotFound", session, "start its host first"),
        (Error::InUse { name: name(file), pid }, "InUse", file, "open it instead"),
        (Error::InUse { name: name(session), pid }, "InUse", session, "connect to it instead"),
        (space, "NoSpace", file, "choose smaller or fewer blocks"),
        (Error::NoHost { session: name(session) }, "NoHost", session, "connect_timeout"),
        (Error::NoFile { session: name(session), file: name("x") }, "NoFile", session, "wait_for"),
        (
            Error::Refused { session: name(session), call: "write", why: name("it is full") },
            "Refused",
            session,
            "it is full",
        ),
        (Error::Forked { name: name(file) }, "Forked", file, "open the block file again in the child"),
        (
            Error::SeatTaken { name: name(session), seat: "publisher", pid },
            "SeatTaken",
            session,
            "see whether it is stopped",
        ),
    ] {
        assert!(!error.to_string().contains("channel"), "{error}");
        check(Err::<(), _>(error), variant, of, way_out);
    }
}
