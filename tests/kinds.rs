//! Private channels, persistent ones, and waiting for a seat: real processes, public names only.
//! `death/private.rs` has the kills at each step.
mod support;

use antiphon::{Channel, ChannelOptions, Consumer, Error, Publisher};
use std::time::Duration;
use support::{Peer, Watchdog, assert_nothing_left, can_be_another_user, hear, role, say, unique};

const SMALL: ChannelOptions = ChannelOptions::new().capacity(64 * 1024);
const SHORT: Duration = Duration::from_millis(60);
const LONG: Duration = Duration::from_secs(30);

/// A child's part: opens what `args[0]` names, sits where its role says, and does what it hears.
fn live(seat: &str, args: &[String]) {
    let channel = Channel::open(&args[0]).unwrap();
    say("open");
    let mut ends = (None::<Publisher>, None::<Consumer>);
    loop {
        match hear().as_str() {
            "sit" if seat == "publisher" => ends.0 = Some(channel.publisher().unwrap()),
            "sit" => ends.1 = Some(channel.consumer().unwrap()),
            "answer" => ends.1.as_mut().unwrap().consume().unwrap().reply(b"an answer").unwrap(),
            "publish" => ends.0.as_mut().unwrap().publish(b"a message").unwrap(),
            "take" => std::mem::forget(ends.1.as_mut().unwrap().consume().unwrap()),
            "call" => {
                say("calling");
                let _ = ends.0.as_mut().unwrap().call(b"a call");
            }
            "fork" => {
                // SAFETY: the child makes system calls only.
                let child = unsafe { libc::fork() };
                if child == 0 {
                    for fd in 0..3 {
                        // SAFETY: nothing of the child's uses them; the test reads them to their end.
                        unsafe { libc::close(fd) };
                    }
                    loop {
                        // SAFETY: sleeps until it is killed.
                        unsafe { libc::pause() };
                    }
                }
                say(child);
                continue;
            }
            "leave" => ends = (None, None),
            _ => return,
        }
        say("done");
    }
}

/// Tells a child that runs `live` what to do, and waits until it has done it.
fn has(peer: &mut Peer, what: &str) {
    peer.tell(what);
    peer.expect("done");
}

fn sits(test: &str, seat: &str, name: &str) -> Peer {
    let mut peer = Peer::start(test, seat, &[name]);
    peer.expect("open");
    has(&mut peer, "sit");
    peer
}

/// The end that waits for a message, or to publish one more.
enum Survivor {
    Publisher(Publisher),
    Consumer(Consumer),
}

impl Survivor {
    fn opposite(seat: &str, channel: &Channel) -> Survivor {
        match seat {
            "consumer" => Survivor::Publisher(channel.publisher().unwrap()),
            _ => Survivor::Consumer(channel.consumer().unwrap()),
        }
    }

    fn wait(&mut self) -> Error {
        match self {
            Survivor::Publisher(publisher) => publisher.call_timeout(b"anyone?", SHORT).unwrap_err(),
            Survivor::Consumer(consumer) => consumer.consume_timeout(SHORT).unwrap_err(),
        }
    }
}

fn is_final_death(error: &Error) -> bool {
    matches!(error, Error::PeerDied { is_final: true, .. })
}

// ---- Private ----

#[test]
fn a_private_channel_leaves_nothing_whoever_is_killed_once_both_ends_are_attached() {
    if let Some((what, args)) = role() {
        if what != "maker" {
            return live(&what, &args);
        }
        let channel = SMALL.private().unwrap();
        let _end = Survivor::opposite(&args[0], &channel);
        say(channel.name());
        hear();
        return;
    }
    let _watchdog = Watchdog::new("private", support::PATIENCE);
    let test = this_test!();
    for seat in ["consumer", "publisher"] {
        for killed in ["maker", "comer", "both"] {
            let mut maker = Peer::start(test, "maker", &[seat]);
            let name = maker.heard().unwrap();
            let mut comer = sits(test, seat, &name);
            assert_nothing_left(&name);
            if killed != "comer" {
                maker.kill();
            }
            if killed != "maker" {
                comer.kill();
            }
            drop((maker, comer));
            assert_nothing_left(&name);
        }
    }
}

#[test]
fn a_death_on_a_private_channel_is_told_each_time_until_who_has_it_open_sits_down() {
    if let Some((what, args)) = role() {
        return live(&what, &args);
    }
    let _watchdog = Watchdog::new("private death", support::PATIENCE);
    let test = this_test!();
    for seat in ["consumer", "publisher"] {
        let channel = SMALL.private().unwrap();
        let mut survivor = Survivor::opposite(seat, &channel);
        let mut second = Peer::start(test, seat, &[channel.name()]);
        second.expect("open");
        let mut first = sits(test, seat, channel.name());
        assert_nothing_left(channel.name());
        first.kill();
        for _ in 0..3 {
            let error = survivor.wait();
            assert!(is_final_death(&error), "{error}");
        }
        has(&mut second, "sit");
        match &mut survivor {
            Survivor::Publisher(publisher) => {
                second.tell("answer");
                assert_eq!(publisher.call(b"a call").unwrap(), b"an answer");
                second.expect("done");
            }
            Survivor::Consumer(consumer) => {
                second.tell("publish");
                assert_eq!(consumer.consume().unwrap().to_vec().unwrap(), b"a message");
                second.expect("done");
            }
        }
        has(&mut second, "leave");
        for _ in 0..3 {
            let error = survivor.wait();
            assert!(matches!(error, Error::Disconnected { is_final: true, .. }), "{error}");
        }
        has(&mut second, "sit");
        assert!(matches!(survivor.wait(), Error::TimedOut { .. }), "it sits there again");
    }
}

#[test]
fn who_left_a_lock_to_a_child_on_a_private_channel_is_dead_each_time() {
    if let Some((what, args)) = role() {
        return live(&what, &args);
    }
    let _watchdog = Watchdog::new("private fork", support::PATIENCE);
    let channel = SMALL.private().unwrap();
    let mut consumer = channel.consumer().unwrap();
    let mut peer = sits(this_test!(), "publisher", channel.name());
    peer.tell("fork");
    let child: i32 = peer.heard().unwrap().parse().unwrap();
    peer.kill();
    for _ in 0..3 {
        let error = consumer.consume().map(drop).unwrap_err();
        assert!(is_final_death(&error), "{error}");
    }
    // SAFETY: a plain system call on a process that this test made.
    assert_eq!(unsafe { libc::kill(child, libc::SIGKILL) }, 0);
    assert_nothing_left(channel.name());
}

#[test]
fn waiting_for_the_first_peer_of_a_private_channel_is_no_error() {
    if let Some((what, args)) = role() {
        if what != "maker" {
            return live(&what, &args);
        }
        let channel = SMALL.private().unwrap();
        let _publisher = channel.publisher().unwrap();
        say(channel.name());
        hear();
        return;
    }
    let _watchdog = Watchdog::new("private alone", support::PATIENCE);
    let test = this_test!();
    let channel = SMALL.private().unwrap();
    assert!(channel.is_private() && !channel.is_persistent());
    let name = channel.name().to_owned();
    let mut consumer = channel.consumer().unwrap();
    assert!(matches!(consumer.consume_timeout(SHORT), Err(Error::TimedOut { .. })));
    assert!(Channel::open(&name).unwrap().is_private(), "a handle without a seat is no end");
    drop((consumer, channel));
    assert_nothing_left(&name);

    // A maker that is killed before anyone came leaves a channel like any other: to be removed, made anew,
    for unlinks in [true, false] {
        let mut maker = Peer::start(test, "maker", &[]);
        let name = maker.heard().unwrap();
        maker.kill();
        if unlinks {
            Channel::unlink(&name).unwrap();
        } else {
            drop(SMALL.create(&name).unwrap());
        }
        assert_nothing_left(&name);
    }
    // or taken over; and both ends that sit together are attached, whoever made it.
    let mut maker = Peer::start(test, "maker", &[]);
    let name = maker.heard().unwrap();
    maker.kill();
    let channel = Channel::open(&name).unwrap();
    let mut consumer = channel.consumer().unwrap();
    assert!(matches!(consumer.consume_timeout(SHORT), Err(Error::TimedOut { .. })));
    let mut second = sits(test, "publisher", &name);
    assert_nothing_left(&name);
    has(&mut second, "publish");
    assert_eq!(consumer.consume().unwrap().to_vec().unwrap(), b"a message");
}

#[test]
fn of_two_who_come_to_a_private_channel_at_once_one_sits_and_nobody_else_comes() {
    if let Some((_, args)) = role() {
        say("ready");
        hear();
        let got = Channel::open(&args[0]).and_then(|channel| Ok((channel.consumer()?, channel)));
        say(match &got {
            Ok(_) => "sits",
            Err(Error::NotFound { .. } | Error::SeatTaken { .. }) => "kept out",
            Err(error) => panic!("{error}"),
        });
        hear();
        return;
    }
    let _watchdog = Watchdog::new("private race", support::PATIENCE);
    let test = this_test!();
    for _ in 0..20 {
        let channel = SMALL.private().unwrap();
        let _publisher = channel.publisher().unwrap();
        let mut racers = ["one", "two"].map(|racer| Peer::start(test, racer, &[channel.name()]));
        racers.iter_mut().for_each(|racer| racer.expect("ready"));
        racers.iter_mut().for_each(|racer| racer.tell("go"));
        let mut said = racers.each_mut().map(|racer| racer.heard().unwrap());
        said.sort();
        assert_eq!(said, ["kept out", "sits"]);
        assert_nothing_left(channel.name());
    }
}

#[test]
fn without_descriptors_a_private_channel_loses_its_names_all_the_same() {
    if cfg!(antiphon_darwin_rules) {
        println!("NOT RUN {}: what plays Darwin takes a descriptor to say who lives", this_test!());
        return;
    }
    let _watchdog = Watchdog::new("private descriptors", support::PATIENCE);
    if role().is_none() {
        return Peer::start(this_test!(), "poor", &[]).succeed(); // Which has its descriptors for itself.
    }
    let channel = SMALL.private().unwrap();
    let _publisher = channel.publisher().unwrap();
    let limit = libc::rlimit { rlim_cur: 64, rlim_max: 1024 };
    // SAFETY: a limit for this process.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    let mut taken = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        taken.push(file);
    }
    let _consumer = channel.consumer().unwrap();
    drop(taken);
    assert_nothing_left(channel.name());
}

#[test]
fn another_users_private_names_go_when_their_owner_leaves() {
    const NOBODY: u32 = 65534;
    if let Some((what, args)) = role() {
        // SAFETY: plain system calls; this process is a child made for that.
        assert_eq!(unsafe { libc::setgid(NOBODY) }, 0);
        // SAFETY: as above.
        assert_eq!(unsafe { libc::setuid(NOBODY) }, 0);
        return live(&what, &args);
    }
    if cfg!(not(target_os = "linux")) || cfg!(antiphon_darwin_rules) {
        println!("NOT RUN {}: it takes a channel for several users", this_test!());
        return;
    }
    if !can_be_another_user(this_test!()) {
        return;
    }
    let _watchdog = Watchdog::new("private of another", support::PATIENCE);
    let region = |name: &str| std::path::Path::new("/dev/shm").join(name);
    for who in ["leaves", "opens", "is left"] {
        let channel = SMALL.mode(0o666).private().unwrap();
        let name = channel.name().to_owned();
        let mut publisher = channel.publisher().unwrap();
        let mut peer = sits(this_test!(), "consumer", &name);
        assert!(region(&name).exists(), "it may not remove what is root's");
        peer.tell("answer");
        assert_eq!(publisher.call(b"a call").unwrap(), b"an answer");
        peer.expect("done");
        if who == "opens" {
            assert!(matches!(Channel::open(&name), Err(Error::NotFound { .. })));
            assert_nothing_left(&name); // Asking for it was enough.
        }
        if who == "is left" {
            peer.tell("end");
            peer.succeed();
            assert!(region(&name).exists());
            for _ in 0..2 {
                let error = publisher.call(b"a call").unwrap_err();
                assert!(matches!(error, Error::Disconnected { is_final: true, .. }), "{error}");
            }
            assert_nothing_left(&name); // Told of it, the owner has removed them.
            continue;
        }
        drop((publisher, channel));
        assert_nothing_left(&name);
        peer.tell("end");
        peer.succeed();
    }
}

#[test]
fn whoever_comes_late_to_an_unlinked_private_channel_leaves_its_successor_alone() {
    let _watchdog = Watchdog::new("private successor", support::PATIENCE);
    let channel = SMALL.private().unwrap();
    let _publisher = channel.publisher().unwrap();
    let late = Channel::open(channel.name()).unwrap();
    Channel::unlink(channel.name()).unwrap();
    let successor = SMALL.create(channel.name()).unwrap();
    let _consumer = late.consumer().unwrap();
    drop(Channel::open(channel.name()).unwrap());
    drop(successor);
    assert_nothing_left(channel.name());
}

// ---- Persistent ----

#[test]
fn a_persistent_channel_keeps_its_name_and_its_message_until_somebody_consumes_it() {
    if let Some((what, args)) = role() {
        return live(&what, &args);
    }
    let _watchdog = Watchdog::new("persistent", support::PATIENCE);
    let test = this_test!();
    let name = unique("kept");
    let options = SMALL.persistent(true);
    let holds = |result: Result<Channel, Error>| matches!(result, Err(Error::HoldsMessage { .. }));

    let channel = options.create(&name).unwrap();
    assert!(channel.is_persistent() && !channel.is_private());
    assert!(matches!(options.create(&name), Err(Error::InUse { .. })));
    let mut publisher = channel.publisher().unwrap();
    publisher.publish(b"stays").unwrap();
    assert!(matches!(options.create(&name), Err(Error::InUse { .. })), "the living come first");
    drop((publisher, channel));
    assert!(holds(options.create(&name)) && holds(SMALL.create(&name)), "whatever the new one is to be");

    // One that a dead consumer had is a message still.
    let mut consumer = sits(test, "consumer", &name);
    has(&mut consumer, "take");
    consumer.kill();
    assert!(holds(options.create(&name)));
    let channel = SMALL.open(&name).unwrap();
    assert!(channel.is_persistent(), "its own kind");
    let mut consumer = channel.consumer().unwrap();
    let message = consumer.consume().unwrap();
    assert!(message.redelivered());
    assert_eq!(message.to_vec().unwrap(), b"stays");
    drop((consumer, channel));

    // Empty, its name has stayed: it is opened as it is,
    let channel = SMALL.open_or_create(&name).unwrap();
    assert!(channel.is_persistent());
    drop(channel);
    // and made anew.
    let channel = options.capacity(128 * 1024).create(&name).unwrap();
    assert_eq!(channel.capacity(), 128 * 1024);
    drop(channel);

    // A call whose caller is dead is nothing to keep.
    let mut caller = sits(test, "publisher", &name);
    caller.tell("call");
    caller.expect("calling");
    caller.kill();
    drop(options.create(&name).unwrap());

    // What a dead publisher left is.
    let mut publisher = sits(test, "publisher", &name);
    has(&mut publisher, "publish");
    publisher.kill();
    assert!(holds(options.create(&name)));
    let channel = options.open_or_create(&name).unwrap();
    assert_eq!(channel.consumer().unwrap().consume().unwrap().to_vec().unwrap(), b"a message");
    drop(channel);
    Channel::unlink(&name).unwrap();
    assert_nothing_left(&name);
}

#[test]
fn on_a_persistent_channel_leaving_is_no_news_and_a_death_is_told_once() {
    if let Some((what, args)) = role() {
        return live(&what, &args);
    }
    let _watchdog = Watchdog::new("persistent news", support::PATIENCE);
    let test = this_test!();
    for seat in ["consumer", "publisher"] {
        let name = unique("news");
        let channel = SMALL.persistent(true).create(&name).unwrap();
        let mut survivor = Survivor::opposite(seat, &channel);
        let mut peer = sits(test, seat, &name);
        has(&mut peer, "leave");
        assert!(matches!(survivor.wait(), Error::TimedOut { .. }), "it has left, and another may come");
        has(&mut peer, "sit");
        peer.kill();
        let error = survivor.wait();
        assert!(matches!(error, Error::PeerDied { is_final: false, .. }), "{error}");
        assert!(matches!(survivor.wait(), Error::TimedOut { .. }), "told once");
        let mut next = sits(test, seat, &name);
        match &mut survivor {
            Survivor::Publisher(publisher) => {
                next.tell("answer");
                assert_eq!(publisher.call(b"a call").unwrap(), b"an answer");
            }
            Survivor::Consumer(consumer) => {
                next.tell("publish");
                assert_eq!(consumer.consume().unwrap().to_vec().unwrap(), b"a message");
            }
        }
        next.expect("done");
        drop((survivor, channel));
        has(&mut next, "leave");
        next.tell("end");
        next.succeed();
        assert!(Channel::open(&name).unwrap().is_persistent(), "everybody has left");
        Channel::unlink(&name).unwrap();
        assert_nothing_left(&name);
    }
}

#[test]
fn a_call_on_a_persistent_channel_waits_for_the_next_consumer() {
    if let Some((what, args)) = role() {
        return live(&what, &args);
    }
    let _watchdog = Watchdog::new("persistent call", support::PATIENCE);
    let name = unique("call");
    let channel = SMALL.persistent(true).create(&name).unwrap();
    let mut publisher = channel.publisher().unwrap();
    let mut first = sits(this_test!(), "consumer", &name);
    let mut second = Peer::start(this_test!(), "consumer", &[&name]);
    second.expect("open");
    std::thread::scope(|scope| {
        let calling = scope.spawn(|| publisher.call(b"a call"));
        has(&mut first, "leave"); // Before or after the call was sent: it is the same to the caller.
        has(&mut second, "sit");
        has(&mut second, "answer");
        assert_eq!(calling.join().unwrap().unwrap(), b"an answer");
    });
    Channel::unlink(&name).unwrap();
    assert_nothing_left(&name);
}

#[test]
fn a_channel_is_of_the_kind_that_its_maker_chose() {
    let name = unique("kind");
    let channel = SMALL.create(&name).unwrap();
    let opened = SMALL.persistent(true).open_or_create(&name).unwrap();
    assert!(!opened.is_persistent() && !opened.is_private());
    drop((channel, opened));
    assert_nothing_left(&name);
}

// ---- Waiting for a seat ----

#[test]
fn whoever_waits_for_a_seat_gets_it_when_its_holder_leaves_or_dies() {
    if let Some((what, args)) = role() {
        return live(&what, &args);
    }
    let _watchdog = Watchdog::new("seat", support::PATIENCE);
    let test = this_test!();
    for seat in ["publisher", "consumer"] {
        for end in ["leave", "die", "leave the lock to a child", "late"] {
            let name = unique("seat");
            let channel = SMALL.create(&name).unwrap();
            let wait = |limit| match seat {
                "publisher" => channel.publisher_timeout(limit).map(drop),
                _ => channel.consumer_timeout(limit).map(drop),
            };
            wait(Duration::ZERO).unwrap();
            let mut peer = sits(test, seat, &name);
            let mut child = None;
            if end == "leave the lock to a child" {
                peer.tell("fork");
                child = Some(peer.heard().unwrap().parse::<i32>().unwrap());
            }
            for limit in [Duration::ZERO, SHORT] {
                match wait(limit) {
                    Err(Error::SeatTaken { pid, .. }) => assert_eq!(pid, peer.pid()),
                    other => panic!("{other:?}"),
                }
            }
            std::thread::scope(|scope| {
                let waits = scope.spawn(|| wait(if end == "late" { Duration::MAX } else { LONG }));
                match end {
                    "leave" | "late" => has(&mut peer, "leave"),
                    _ => peer.kill(),
                }
                waits.join().unwrap().unwrap();
            });
            if let Some(child) = child {
                // SAFETY: a plain system call on a process that this test made.
                assert_eq!(unsafe { libc::kill(child, libc::SIGKILL) }, 0);
            }
            drop((peer, channel));
            // With a killed child's handle: who leaves last has to find that out.
            assert_nothing_left(&name);
        }
    }
}

#[test]
fn many_callers_take_the_publishers_seat_for_a_call_each() {
    const CALLERS: u64 = 4;
    const CALLS: u64 = 30;
    if let Some((_, args)) = role() {
        let channel = Channel::open(&args[0]).unwrap();
        let first: u64 = args[1].parse().unwrap();
        let waits_for_ever = first % 2 == 0;
        say("ready");
        hear();
        for number in first..first + CALLS {
            let limit = if waits_for_ever { Duration::MAX } else { LONG };
            let reply = channel.publisher_timeout(limit).unwrap().call(&number.to_le_bytes()).unwrap();
            assert_eq!(reply, (number + 1).to_le_bytes());
        }
        return;
    }
    let _watchdog = Watchdog::new("callers", support::PATIENCE);
    let name = unique("callers");
    let channel = SMALL.persistent(true).create(&name).unwrap();
    let mut consumer = channel.consumer().unwrap();
    let start = |caller: u64| {
        let mut peer = Peer::start(
            "many_callers_take_the_publishers_seat_for_a_call_each",
            "caller",
            &[&name, &(1000 * caller + caller % 2).to_string()],
        );
        peer.expect("ready");
        peer
    };
    let mut callers: Vec<Peer> = (0..CALLERS).map(start).collect();
    let mut doomed = start(CALLERS);
    callers.iter_mut().for_each(|caller| caller.tell("go"));
    doomed.tell("go");
    let mut answered = 0;
    let mut of_the_doomed = 0;
    while answered < CALLERS * CALLS {
        let message = match consumer.consume() {
            Ok(message) => message,
            Err(Error::PeerDied { .. }) => continue,
            Err(error) => panic!("{error}"),
        };
        let number = u64::from_le_bytes(message.view().to_vec().try_into().unwrap());
        if number >= 1000 * CALLERS {
            of_the_doomed += 1;
            if of_the_doomed == CALLS / 2 {
                doomed.kill(); // With the seat, and a call that nobody answers.
                drop(message);
                continue;
            }
        } else {
            answered += 1;
        }
        let _ = message.reply(&(number + 1).to_le_bytes());
    }
    callers.iter_mut().for_each(Peer::succeed);
    drop((consumer, channel));
    Channel::unlink(&name).unwrap();
    assert_nothing_left(&name);
}
