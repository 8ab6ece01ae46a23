//! What the channel promises, seen from outside: real processes, public names only.
mod support;

use antiphon::{Channel, ChannelOptions, Error, Wait};
use std::io::{IoSlice, Read, Write};
use std::time::Duration;
use support::{Peer, Watchdog, assert_nothing_left, hear, pattern, role, say, unique};

const SMALL: ChannelOptions = ChannelOptions::new().capacity(64 * 1024);

static_assertions::assert_impl_all!(Channel: Send, Sync);
static_assertions::assert_impl_all!(antiphon::Publisher: Send);
static_assertions::assert_impl_all!(antiphon::Consumer: Send);
static_assertions::assert_not_impl_any!(antiphon::Publisher: Sync);
static_assertions::assert_not_impl_any!(antiphon::Consumer: Sync);

#[test]
fn a_call_is_answered_by_another_process() {
    if let Some((_, args)) = role() {
        let mut consumer = Channel::open(&args[0]).unwrap().consumer().unwrap();
        loop {
            let message = match consumer.consume() {
                Ok(message) => message,
                Err(Error::Disconnected { .. }) => return,
                Err(error) => panic!("{error}"),
            };
            let mut answer = message.view().to_vec();
            answer.reverse();
            message.reply(&answer).unwrap();
        }
    }
    let _watchdog = Watchdog::new("call", support::PATIENCE);
    let name = unique("call");
    let mut publisher = SMALL.create(&name).unwrap().publisher().unwrap();
    let mut peer = Peer::start(this_test!(), "answer", &[&name]);
    for number in 0..1000 {
        let bytes = pattern(number, (number as usize * 37) % 5000);
        let mut reply = publisher.call(&bytes).unwrap();
        reply.reverse();
        assert_eq!(reply, bytes);
    }
    drop(publisher);
    peer.succeed();
    assert_nothing_left(&name);
}

#[test]
fn every_length_arrives_with_its_length() {
    let _watchdog = Watchdog::new("lengths", support::PATIENCE);
    let name = unique("len");
    let channel = SMALL.create(&name).unwrap();
    let mut publisher = channel.publisher().unwrap();
    let mut consumer = channel.consumer().unwrap();
    let capacity = 64 * 1024;
    let lengths = [0, 1, 7, 8, 9, 63, 64, 65, 111, 112, 113, 4096, capacity - 1, capacity];
    for (number, len) in lengths.into_iter().enumerate() {
        let bytes = pattern(number as u64, len);
        publisher.publish(&bytes).unwrap();
        let message = consumer.consume().unwrap();
        assert_eq!(message.len(), len);
        assert!(!message.is_call() && !message.redelivered());
        assert_eq!(message.to_vec().unwrap(), bytes);
    }
}

#[test]
fn a_long_message_comes_in_rounds() {
    let _watchdog = Watchdog::new("rounds", support::PATIENCE);
    let name = unique("rounds");
    let channel = SMALL.create(&name).unwrap();
    let mut consumer = channel.consumer().unwrap();
    let bytes = pattern(9, 200_001);
    let sent = bytes.clone();
    let mut publisher = channel.publisher().unwrap();
    let sending = std::thread::spawn(move || {
        for _ in 0..4 {
            publisher.publish(&sent).unwrap();
        }
        let reply = publisher.call(&sent).unwrap();
        (publisher, reply)
    });
    // All at once, by Read, round by round in place, and only in part.
    assert_eq!(consumer.consume().unwrap().to_vec().unwrap(), bytes);
    let mut read = Vec::new();
    consumer.consume().unwrap().read_to_end(&mut read).unwrap();
    assert_eq!(read, bytes);
    let mut message = consumer.consume().unwrap();
    let mut seen = message.view().to_vec();
    while message.next_round().unwrap() {
        assert!(message.view().len() <= 64 * 1024);
        seen.extend(message.view().to_vec());
    }
    assert_eq!(seen, bytes);
    drop(message);
    let mut part = [0; 10];
    consumer.consume().unwrap().read_exact(&mut part).unwrap();
    assert_eq!(part, bytes[..10]);
    let mut into = Vec::new();
    let message = consumer.consume_into(&mut into).unwrap();
    into.reverse();
    message.reply(&into).unwrap();
    let (_publisher, reply) = sending.join().unwrap();
    assert_eq!(reply, into);
}

#[test]
fn vectored_messages_and_loans_are_messages_like_any_other() {
    let _watchdog = Watchdog::new("vectored", support::PATIENCE);
    let name = unique("vec");
    let channel = SMALL.create(&name).unwrap();
    let mut publisher = channel.publisher().unwrap();
    let mut consumer = channel.consumer().unwrap();
    publisher.publish_vectored(&[IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"message")]).unwrap();
    assert_eq!(consumer.consume().unwrap().to_vec().unwrap(), b"one message");

    let bytes = pattern(3, 5000);
    let mut loan = publisher.loan(5000).unwrap();
    loan.write_all(&bytes).unwrap();
    assert_eq!(loan.write(b"full").unwrap(), 0);
    loan.publish().unwrap();
    assert_eq!(consumer.consume().unwrap().to_vec().unwrap(), bytes);

    let mut loan = publisher.loan(5000).unwrap();
    loan.copy_from(0, b"short");
    loan.truncate(5);
    loan.publish().unwrap();
    assert_eq!(consumer.consume().unwrap().to_vec().unwrap(), b"short");

    drop(publisher.loan(10).unwrap());
    assert!(consumer.try_consume().unwrap().is_none());
    assert!(matches!(publisher.loan(64 * 1024 + 1), Err(Error::TooLong { .. })));
}

#[test]
fn try_forms_never_wait() {
    let name = unique("try");
    let channel = SMALL.create(&name).unwrap();
    let mut publisher = channel.publisher().unwrap();
    let mut consumer = channel.consumer().unwrap();
    assert!(consumer.try_consume().unwrap().is_none());
    assert!(publisher.try_publish(b"first").unwrap());
    assert!(!publisher.try_publish(b"second").unwrap());
    assert!(publisher.try_loan(1).unwrap().is_none());
    assert!(matches!(publisher.try_publish(&[0; 65537]), Err(Error::TooLong { .. })));
    assert_eq!(consumer.try_consume().unwrap().unwrap().to_vec().unwrap(), b"first");
    assert!(publisher.try_loan(1).unwrap().is_some());
}

#[test]
fn limits_end_every_wait() {
    let _watchdog = Watchdog::new("limits", support::PATIENCE);
    for wait in [Wait::Spin, Wait::Park, Wait::Adaptive] {
        let name = unique("limit");
        let channel = SMALL.wait(wait).create(&name).unwrap();
        let mut publisher = channel.publisher().unwrap();
        let mut consumer = channel.consumer().unwrap();
        let limit = Duration::from_millis(60);
        assert!(matches!(consumer.consume_timeout(limit), Err(Error::TimedOut { .. })));
        publisher.publish(b"stands").unwrap();
        let late = publisher.publish_timeout(b"waits", limit).unwrap_err();
        assert_eq!(late.delivered(), Some(antiphon::Delivered::No));
        assert!(matches!(publisher.loan_timeout(1, limit), Err(Error::TimedOut { .. })));
        assert_eq!(consumer.consume().unwrap().to_vec().unwrap(), b"stands");
    }
}

#[test]
fn a_call_whose_time_is_up_is_withdrawn() {
    let _watchdog = Watchdog::new("withdrawn", support::PATIENCE);
    let name = unique("withdraw");
    let channel = SMALL.create(&name).unwrap();
    let mut publisher = channel.publisher().unwrap();
    let mut consumer = channel.consumer().unwrap();
    for long in [false, true] {
        let bytes = vec![1; if long { 100_000 } else { 10 }];
        let error = publisher.call_timeout(&bytes, Duration::from_millis(20)).unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
        assert_eq!(error.delivered(), Some(antiphon::Delivered::No));
        assert!(consumer.try_consume().unwrap().is_none(), "it was withdrawn");
    }
    publisher.publish(b"next").unwrap();
    assert_eq!(consumer.consume().unwrap().to_vec().unwrap(), b"next");
}

#[test]
fn a_late_reply_never_answers_a_later_call() {
    let _watchdog = Watchdog::new("late", support::PATIENCE);
    let name = unique("late");
    let channel = SMALL.create(&name).unwrap();
    let mut publisher = channel.publisher().unwrap();
    let mut consumer = channel.consumer().unwrap();
    for len in [10, 5000, 100_000] {
        let bytes = vec![2; len];
        std::thread::scope(|scope| {
            let (taken, is_taken) = std::sync::mpsc::channel();
            let (given_up, has_given_up) = std::sync::mpsc::channel();
            let consumer = &mut consumer;
            let answering = scope.spawn(move || {
                let mut into = Vec::new();
                let message = consumer.consume_into(&mut into).unwrap();
                taken.send(()).unwrap();
                has_given_up.recv().unwrap();
                let late = message.reply(&vec![3; len]);
                assert!(matches!(late, Err(Error::CallerGone { .. })), "{late:?}");
                let message = consumer.consume().unwrap();
                message.reply(b"the second answer").unwrap();
            });
            let error = publisher.call_timeout(&bytes, Duration::from_millis(300)).unwrap_err();
            is_taken.recv().unwrap();
            assert_eq!(error.delivered(), Some(antiphon::Delivered::Unknown), "{error}");
            given_up.send(()).unwrap();
            assert_eq!(publisher.call(b"the second").unwrap(), b"the second answer");
            answering.join().unwrap();
        });
    }
}

#[test]
fn a_reply_belongs_to_a_call() {
    let _watchdog = Watchdog::new("reply", support::PATIENCE);
    let name = unique("reply");
    let channel = SMALL.create(&name).unwrap();
    let mut publisher = channel.publisher().unwrap();
    let mut consumer = channel.consumer().unwrap();
    publisher.publish(b"no call").unwrap();
    let refused = consumer.consume().unwrap().reply(b"anyway");
    assert!(matches!(refused, Err(Error::NotACall { .. })));
    std::thread::scope(|scope| {
        scope.spawn(|| drop(consumer.consume().unwrap()));
        let unanswered = publisher.call(b"a call");
        assert!(matches!(unanswered, Err(Error::NoReply { .. })), "{unanswered:?}");
    });
    std::thread::scope(|scope| {
        scope.spawn(|| drop(consumer.consume().unwrap()));
        let unanswered = publisher.call(&vec![0; 300_000]);
        assert!(matches!(unanswered, Err(Error::NoReply { .. })), "{unanswered:?}");
    });
}

#[test]
fn a_panic_gives_the_message_back_marked() {
    let _watchdog = Watchdog::new("panic", support::PATIENCE);
    let name = unique("panic");
    let channel = SMALL.create(&name).unwrap();
    let mut publisher = channel.publisher().unwrap();
    let mut consumer = channel.consumer().unwrap();
    for len in [8, 4096, 150_000] {
        let bytes = pattern(1, len);
        std::thread::scope(|scope| {
            scope.spawn(|| publisher.publish(&bytes).unwrap());
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let mut message = consumer.consume().unwrap();
                let mut some = [0; 8];
                message.read_exact(&mut some).unwrap();
                std::panic::resume_unwind(Box::new("on purpose"));
            }));
            assert!(panicked.is_err());
            let message = consumer.consume().unwrap();
            assert!(message.redelivered());
            assert_eq!(message.to_vec().unwrap(), bytes);
        });
        publisher.publish(b"fresh").unwrap();
        assert!(!consumer.consume().unwrap().redelivered());
    }
}

#[test]
fn a_forgotten_message_is_acknowledged_by_the_next_consume() {
    let _watchdog = Watchdog::new("forgotten", support::PATIENCE);
    let name = unique("forget");
    let channel = SMALL.create(&name).unwrap();
    let mut publisher = channel.publisher().unwrap();
    let mut consumer = channel.consumer().unwrap();
    publisher.publish(b"one").unwrap();
    std::mem::forget(consumer.consume().unwrap());
    assert!(!publisher.try_publish(b"two").unwrap());
    assert!(consumer.try_consume().unwrap().is_none());
    assert!(publisher.try_publish(b"two").unwrap());
    std::mem::forget(consumer.consume().unwrap());
    drop(consumer);
    assert!(publisher.try_publish(b"three").unwrap());
    drop((publisher, channel));
    Channel::unlink(&name).unwrap(); // The third message would keep it.
}

#[test]
fn seats_are_taken_by_one_process_each() {
    if let Some((_, args)) = role() {
        let channel = Channel::open(&args[0]).unwrap();
        let _publisher = channel.publisher().unwrap();
        say("seated");
        hear();
        return;
    }
    let name = unique("seats");
    let channel = SMALL.create(&name).unwrap();
    let mut peer = Peer::start(this_test!(), "publisher", &[&name]);
    peer.expect("seated");
    match channel.publisher() {
        Err(Error::SeatTaken { pid, seat: "publisher", .. }) => assert_eq!(pid, peer.pid()),
        other => panic!("{other:?}"),
    }
    let consumer = channel.consumer().unwrap();
    match channel.consumer() {
        Err(Error::SeatTaken { pid, .. }) => assert_eq!(pid, std::process::id()),
        other => panic!("{other:?}"),
    }
    drop(consumer);
    channel.consumer().unwrap();
    peer.tell("end");
    peer.succeed();
    channel.publisher().unwrap();
    drop(channel);
    assert_nothing_left(&name);
}

#[test]
fn a_living_name_is_not_created_twice() {
    if let Some((_, args)) = role() {
        let _channel = SMALL.create(&args[0]).unwrap();
        say("created");
        hear();
        return;
    }
    let name = unique("twice");
    let mut peer = Peer::start(this_test!(), "holder", &[&name]);
    peer.expect("created");
    match Channel::create(&name) {
        Err(Error::InUse { pid, .. }) => assert_eq!(pid, peer.pid()),
        other => panic!("{other:?}"),
    }
    peer.kill();
    let channel = SMALL.create(&name).unwrap();
    drop(channel);
    assert_nothing_left(&name);
}

#[test]
fn the_last_end_removes_the_names_unless_a_message_waits() {
    let name = unique("last");
    let mut publisher = SMALL.create(&name).unwrap().publisher().unwrap();
    publisher.publish(b"for whoever comes").unwrap();
    drop(publisher);
    let mut consumer = Channel::open(&name).unwrap().consumer().unwrap();
    assert_eq!(consumer.consume().unwrap().to_vec().unwrap(), b"for whoever comes");
    assert!(matches!(consumer.consume(), Err(Error::Disconnected { .. })));
    let limit = Duration::from_millis(50);
    assert!(matches!(consumer.consume_timeout(limit), Err(Error::TimedOut { .. })));
    drop(consumer);
    assert_nothing_left(&name);
}

#[test]
fn what_was_acknowledged_is_not_lost_with_publisher_and_consumer() {
    if let Some((who, args)) = role() {
        let channel = Channel::open(&args[0]).unwrap();
        if who == "publisher" {
            let mut publisher = channel.publisher().unwrap();
            publisher.publish(b"acknowledged").unwrap();
            say("acknowledged");
            hear();
        } else {
            let mut consumer = channel.consumer().unwrap();
            let message = consumer.consume().unwrap();
            say(message.redelivered());
            hear();
        }
        return;
    }
    let name = unique("acknowledged");
    let channel = SMALL.create(&name).unwrap();
    let mut publisher = Peer::start(this_test!(), "publisher", &[&name]);
    publisher.expect("acknowledged");
    publisher.kill();
    drop(channel); // From here on it stands in a channel that nobody has open.
    for redelivered in ["false", "true"] {
        let mut consumer = Peer::start(this_test!(), "consumer", &[&name]);
        consumer.expect(redelivered);
        consumer.kill();
    }
    let mut consumer = Channel::open(&name).unwrap().consumer().unwrap();
    let message = consumer.consume().unwrap();
    assert!(message.redelivered());
    assert_eq!(message.to_vec().unwrap(), b"acknowledged");
    drop(consumer);
    assert_nothing_left(&name);
}

#[test]
fn unlink_takes_the_name_and_leaves_the_ends() {
    let name = unique("unlink");
    assert!(matches!(Channel::unlink(&name), Err(Error::NotFound { .. })));
    let channel = SMALL.create(&name).unwrap();
    let mut publisher = channel.publisher().unwrap();
    let mut consumer = channel.consumer().unwrap();
    Channel::unlink(&name).unwrap();
    assert_nothing_left(&name);
    let second = SMALL.create(&name).unwrap();
    publisher.publish(b"still here").unwrap();
    assert_eq!(consumer.consume().unwrap().to_vec().unwrap(), b"still here");
    drop((publisher, consumer, channel));
    Channel::open(&name).unwrap();
    drop(second);
    assert_nothing_left(&name);
}

#[test]
fn bad_input_is_named() {
    for name in ["", "a b", "a/b", &"x".repeat(201)] {
        assert!(matches!(Channel::create(name), Err(Error::BadName { .. })), "{name}");
        assert!(matches!(Channel::open(name), Err(Error::BadName { .. })), "{name}");
        assert!(matches!(Channel::unlink(name), Err(Error::BadName { .. })), "{name}");
    }
    let name = unique("bad");
    for capacity in [0, 1, 65535, 65537, usize::MAX, usize::MAX - 65535] {
        let made = ChannelOptions::new().capacity(capacity).create(&name);
        assert!(matches!(made, Err(Error::BadOption { option: "capacity", .. })), "{capacity}");
    }
    for mode in [0o077, 0o1600, 0] {
        let made = SMALL.mode(mode).create(&name);
        assert!(matches!(made, Err(Error::BadOption { option: "mode", .. })), "{mode:o}");
    }
    assert!(matches!(Channel::open(&name), Err(Error::NotFound { .. })));
    assert_nothing_left(&name);
}

#[test]
fn a_handle_is_refused_after_a_fork() {
    let name = unique("fork");
    let channel = SMALL.create(&name).unwrap();
    let mut publisher = channel.publisher().unwrap();
    // SAFETY: the child uses the handles, which is what is tested, and leaves by _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let ok = matches!(publisher.publish(b"x"), Err(Error::Forked { .. }))
            && matches!(channel.consumer(), Err(Error::Forked { .. }));
        drop(publisher);
        drop(channel);
        // SAFETY: ends the child.
        unsafe { libc::_exit(if ok { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: waits for the child made above.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0);
    publisher.publish(b"the parent's is as good as ever").unwrap();
    channel.consumer().unwrap().consume().unwrap();
    drop((publisher, channel));
    assert_nothing_left(&name);
}
