//! Killed while bytes flow: either end, filling or draining, at every piece of a message, of a call and of a reply.
//!
//! The lives and the survivors are `exchange.rs`'s, and so is what is asked of them.

use crate::body::body;
use crate::exchange::{
    Class, EVERY_WAIT, Kind, PATIENCE, SMALL, Side, Wanted, exchange_fresh, live, matrix_of, options, send_one, take,
    take_one,
};
use crate::support::{Peer, Watchdog, assert_nothing_left, patient, role, unique};
use crate::this_test;
use crate::victim::{Plan, ignore_steps, on_step, outlive};
use antiphon::{Channel, Delivered, Error, Wait};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Instant;

/// The steps at which each of the tests below kills, or fails.
pub const STEPS: &[&[&str]] = &[
    PUBLISHER_OF_A_MESSAGE,
    PUBLISHER_OF_A_CALL,
    PUBLISHER_OF_A_REPLY,
    CONSUMER_OF_A_MESSAGE,
    CONSUMER_OF_A_CALL,
    CONSUMER_OF_A_REPLY,
    &[RECALLED],
];
const PUBLISHER_OF_A_MESSAGE: &[&str] = &[
    "send:my-turn",
    "flow:ready",
    "send:passed",
    "send:rung",
    "flow:filled",
    "flow:publisher-advanced",
    "send:answered",
];
const PUBLISHER_OF_A_CALL: &[&str] =
    &["flow:ready", "flow:filled", "flow:publisher-advanced", "send:answered", "call:reply-read"];
const PUBLISHER_OF_A_REPLY: &[&str] = &["call:answered", "flow:reply-drained", "flow:publisher-advanced"];
const CONSUMER_OF_A_MESSAGE: &[&str] = &[
    "consume:seen",
    "consume:noted",
    "consume:taken",
    "flow:drained",
    "flow:consumer-advanced",
    "consume:copied",
    "consume:passed",
    "consume:rung",
];
const CONSUMER_OF_A_CALL: &[&str] =
    &["consume:taken", "flow:drained", "flow:consumer-advanced", "consume:copied", "reply:begun", "reply:passed"];
const CONSUMER_OF_A_REPLY: &[&str] =
    &["reply:begun", "flow:reply-ready", "flow:reply-filled", "flow:consumer-advanced"];
const RECALLED: &str = "flow:recalled";

/// And the length of the ring.
const CAPACITY: usize = 256 << 10;
/// Four times round a ring of a quarter of a MiB.
const WIDE: usize = (1 << 20) + 77;
/// Five times round the least ring.
const NARROW: usize = 5 * SMALL + 77;
/// All in the ring at once.
const WITHIN: usize = 100_000;

/// One way to flow, with what is waited for in it.
fn classes(kind: Kind) -> [(Class, &'static [Wait]); 3] {
    let class = |capacity, len| Class { capacity, len, messages: 2, kind };
    [
        (class(CAPACITY, WIDE), EVERY_WAIT),
        (class(SMALL, NARROW), &[Wait::Park]),
        (class(CAPACITY, WITHIN), &[Wait::Adaptive]),
    ]
}

/// At the first piece, the second, one in the middle, the last, and the first of the next message; of the narrow flow at
/// every piece of the first message.
fn at_pieces(rehearsed: &[(String, u32)], class: Class) -> Vec<Plan> {
    let mut plans = Vec::new();
    for (step, count) in rehearsed {
        let of_one = count / class.messages as u32;
        let places: BTreeSet<u32> = match step.starts_with("flow:") {
            true if class.len == NARROW => (1..=of_one + 1).collect(),
            true => [1, 2, of_one / 2 + 1, of_one, of_one + 1].into(),
            false => [1, count / 2 + 1].into(),
        };
        let there = places.into_iter().filter(|nth| (1..=*count).contains(nth));
        plans.extend(there.map(|nth| Plan::Die { step: step.clone(), nth }));
    }
    plans
}

fn kill(test: &str, victim: Side, kind: Kind, steps: &[&str]) {
    matrix_of(test, victim, &classes(kind), steps, at_pieces);
}

#[test]
fn a_publisher_killed_at_any_piece_of_a_message_that_flows() {
    kill(this_test!(), Side::Publisher, Kind::Flow, PUBLISHER_OF_A_MESSAGE);
}

#[test]
fn a_publisher_killed_at_any_piece_of_a_call_that_flows() {
    kill(this_test!(), Side::Publisher, Kind::CallFlow, PUBLISHER_OF_A_CALL);
}

#[test]
fn a_publisher_killed_at_any_piece_of_a_reply_that_flows() {
    kill(this_test!(), Side::Publisher, Kind::ReplyFlow, PUBLISHER_OF_A_REPLY);
}

#[test]
fn a_consumer_killed_at_any_piece_of_a_message_that_flows() {
    kill(this_test!(), Side::Consumer, Kind::Flow, CONSUMER_OF_A_MESSAGE);
}

#[test]
fn a_consumer_killed_at_any_piece_of_a_call_that_flows() {
    kill(this_test!(), Side::Consumer, Kind::CallFlow, CONSUMER_OF_A_CALL);
}

#[test]
fn a_consumer_killed_at_any_piece_of_a_reply_that_flows() {
    kill(this_test!(), Side::Consumer, Kind::ReplyFlow, CONSUMER_OF_A_REPLY);
}

// ---- What the survivor is told ----

/// A victim that sends or takes one message, and dies at the first reaching of `step`.
fn victim(test: &str, name: &str, side: Side, class: Class, wait: Wait, step: &str) -> Peer {
    let plan = Plan::Die { step: step.to_owned(), nth: 1 }.to_word();
    let (side, wait, len, kind) =
        (format!("{side:?}"), format!("{wait:?}"), class.len.to_string(), format!("{:?}", class.kind));
    let mut victim = Peer::start(test, "victim", &[name, &plan, &side, &wait, &len, "1", &kind]);
    victim.expect("ready");
    victim.tell("go");
    victim
}

/// Whoever comes too late for a flow gets the message in another way. So it is tried again, on a busy machine often.
fn until_it_dies(mut dies: impl FnMut() -> bool) {
    let until = Instant::now() + patient(PATIENCE / 2);
    while !dies() {
        assert!(Instant::now() < until, "it never flowed");
    }
}

/// A consumer that dies in the middle, and what its publisher knows then.
#[test]
fn what_became_of_a_flow_whose_consumer_died_is_told_as_it_is() {
    if let Some((_, args)) = role() {
        return live(&args);
    }
    use Delivered::{No, Unknown};
    let test = this_test!();
    let cases = [
        // What was not all sent nobody can have acted on.
        (Kind::Flow, WIDE, "consume:taken", No),
        (Kind::Flow, WIDE, "flow:drained", No),
        (Kind::Flow, WIDE, "flow:consumer-advanced", No),
        // All of it was there.
        (Kind::Flow, WITHIN, "flow:drained", Unknown),
        (Kind::Flow, WIDE, "consume:copied", Unknown),
        // A call may be acted on by its beginning.
        (Kind::CallFlow, WIDE, "flow:drained", Unknown),
        (Kind::ReplyFlow, WIDE, "flow:reply-ready", Unknown),
        (Kind::ReplyFlow, WIDE, "flow:reply-filled", Unknown),
    ];
    for (kind, len, step, delivered) in cases {
        for wait in EVERY_WAIT {
            for is_replaced in [false, true] {
                let _watchdog = Watchdog::new(format!("{kind:?} {len} {step} {wait:?} {is_replaced}"), PATIENCE);
                let class = Class { capacity: CAPACITY, len, messages: 1, kind };
                until_it_dies(|| tells_of_a_dead_consumer(test, class, *wait, step, delivered, is_replaced));
            }
        }
    }
}

fn tells_of_a_dead_consumer(
    test: &str,
    class: Class,
    wait: Wait,
    step: &str,
    delivered: Delivered,
    is_replaced: bool,
) -> bool {
    let name = unique("told");
    let channel = options(class, wait).create(&name).unwrap();
    let mut publisher = channel.publisher().unwrap();
    let victim = victim(test, &name, Side::Consumer, class, wait, step);
    let wanted = Wanted::new(&name);
    let (sent, was_killed, next) = std::thread::scope(|scope| {
        // The next consumer sits before the publisher was told, or after.
        let reaper = scope.spawn(|| {
            let was_killed = outlive(victim).was_killed;
            (was_killed, is_replaced.then(|| channel.consumer().unwrap()))
        });
        let is_recalled = Rc::new(Cell::new(false));
        let seen = Rc::clone(&is_recalled);
        on_step(move |here| seen.set(seen.get() || here == RECALLED));
        let sent = send_one(&mut publisher, 0, class, &wanted);
        ignore_steps();
        let (was_killed, next) = reaper.join().unwrap();
        (sent, was_killed && !is_recalled.get(), next)
    });
    if !was_killed {
        return false;
    }
    match sent {
        Err(Error::PeerDied { delivered: told, .. }) => {
            assert_eq!(told, delivered)
        }
        other => panic!("{other:?}"),
    }
    // Whatever became of that one, the next comes whole to the next.
    let mut next = next.unwrap_or_else(|| channel.consumer().unwrap());
    exchange_fresh(&mut publisher, &mut next);
    drop((publisher, next, channel));
    assert_nothing_left(&name);
    true
}

/// A publisher that dies in the middle of what it sends, or of the reply to it.
#[test]
fn a_consumer_is_told_of_the_publisher_that_died_in_the_middle_of_a_flow() {
    if let Some((_, args)) = role() {
        return live(&args);
    }
    use Delivered::{No, Unknown};
    let test = this_test!();
    let cases = [
        (Kind::Flow, "flow:filled", No),
        (Kind::CallFlow, "flow:filled", No),
        (Kind::ReplyFlow, "flow:reply-drained", Unknown),
    ];
    for (kind, step, delivered) in cases {
        for wait in EVERY_WAIT {
            let _watchdog = Watchdog::new(format!("{kind:?} {step} {wait:?}"), PATIENCE);
            let class = Class { capacity: CAPACITY, len: WIDE, messages: 1, kind };
            until_it_dies(|| tells_of_a_dead_publisher(test, class, *wait, step, delivered));
        }
    }
}

fn tells_of_a_dead_publisher(test: &str, class: Class, wait: Wait, step: &str, delivered: Delivered) -> bool {
    let name = unique("told");
    let channel = options(class, wait).create(&name).unwrap();
    let mut consumer = channel.consumer().unwrap();
    let victim = victim(test, &name, Side::Publisher, class, wait, step);
    let pid = victim.pid();
    let taken = take(&mut consumer, 0, class, |_| ());
    if !outlive(victim).was_killed {
        taken.unwrap();
        return false;
    }
    match taken {
        Err(Error::PeerDied { pid: dead, delivered: told, .. }) => assert_eq!((dead, told), (pid, delivered)),
        other => panic!("{other:?}"),
    }
    let mut publisher = channel.publisher().unwrap();
    exchange_fresh(&mut publisher, &mut consumer);
    drop((publisher, consumer, channel));
    assert_nothing_left(&name);
    true
}

/// Whoever came and left since had nothing to do with that message; and where leaving is no news, this is still one.
#[test]
fn a_consumer_is_told_of_its_messages_dead_publisher_though_another_came_and_left() {
    if let Some((_, args)) = role() {
        return live(&args);
    }
    let test = this_test!();
    let _watchdog = Watchdog::new(test, PATIENCE);
    for is_persistent in [false, true] {
        let name = unique("told");
        let class = Class { capacity: CAPACITY, len: WIDE, messages: 1, kind: Kind::Flow };
        let channel = options(class, Wait::Park).persistent(is_persistent).create(&name).unwrap();
        let mut consumer = channel.consumer().unwrap();
        let mut victim = victim(test, &name, Side::Publisher, class, Wait::Park, "no such step");
        let pid = victim.pid();
        let mut message = consumer.consume().unwrap();
        // The first round of several is given back, and the next one does not come.
        victim.stop();
        let at = name.clone();
        on_step(move |here| {
            if here == "consume:round-passed" {
                victim.kill();
                // By a thread whose steps are not watched.
                let next = || drop(Channel::open(&at).unwrap().publisher().unwrap());
                std::thread::scope(|scope| scope.spawn(next).join().unwrap());
            }
        });
        match message.copy_into(&mut Vec::new()) {
            Err(Error::PeerDied { pid: dead, .. }) => assert_eq!(dead, pid),
            other => panic!("persistent {is_persistent}: {other:?}"),
        }
        ignore_steps();
        drop(message);
        let mut publisher = channel.publisher().unwrap();
        exchange_fresh(&mut publisher, &mut consumer);
        drop((publisher, consumer, channel));
        let _ = Channel::unlink(&name);
        assert_nothing_left(&name);
    }
}

/// The caller is dead, and the consumer, which does not know it yet, goes on writing its reply: the next publisher has
/// the payload only when that has stopped.
#[test]
fn the_next_publisher_does_not_write_where_a_reply_still_flows() {
    if let Some((_, args)) = role() {
        return live(&args);
    }
    for wait in EVERY_WAIT {
        let _watchdog = Watchdog::new(format!("still flows {wait:?}"), PATIENCE);
        let name = unique("still");
        let class = Class { capacity: CAPACITY, len: WIDE, messages: 1, kind: Kind::ReplyFlow };
        let channel = options(class, *wait).create(&name).unwrap();
        let mut consumer = channel.consumer().unwrap();
        let victim = victim(this_test!(), &name, Side::Publisher, class, *wait, "call:answered");
        let (stand_still, goes_on) = std::sync::mpsc::channel::<()>();
        let (writing, is_writing) = std::sync::mpsc::channel();
        let mut publisher = std::thread::scope(|scope| {
            let consuming = scope.spawn(|| {
                let mut hold = Some((writing, goes_on));
                on_step(move |here| {
                    if let Some((writing, goes_on)) = hold.take_if(|_| here == "flow:reply-filled") {
                        writing.send(()).unwrap();
                        let _ = goes_on.recv(); // Until the other end of it is dropped.
                    }
                });
                let taken = take(&mut consumer, 0, class, |_| ());
                ignore_steps();
                assert!(matches!(taken, Err(Error::CallerGone { .. })), "{taken:?}");
                assert_eq!(take_one(&mut consumer, true, |_| ()).unwrap(), 3);
            });
            is_writing.recv().unwrap();
            assert!(outlive(victim).was_killed);
            let mut publisher = channel.publisher().unwrap();
            let is_early = publisher.try_publish(&body(2, 20_000)).unwrap();
            drop(stand_still);
            assert!(!is_early, "the consumer was writing");
            publisher.publish(&body(3, 20_000)).unwrap();
            consuming.join().unwrap();
            publisher
        });
        exchange_fresh(&mut publisher, &mut consumer);
        drop((publisher, consumer, channel));
        assert_nothing_left(&name);
    }
}

// ---- Taken back ----

/// Nobody takes what flows, and its publisher dies when it has taken it back: nothing was published.
#[test]
fn a_publisher_killed_when_it_has_taken_a_flow_back_leaves_the_channel_to_the_next() {
    if let Some((_, args)) = role() {
        return live(&args);
    }
    // It waits for room, or for somebody to take what is all there.
    for len in [WIDE, WITHIN] {
        for wait in EVERY_WAIT {
            let _watchdog = Watchdog::new(format!("recalled {len} {wait:?}"), PATIENCE);
            let name = unique("recall");
            let class = Class { capacity: CAPACITY, len, messages: 1, kind: Kind::Flow };
            let channel = options(class, *wait).create(&name).unwrap();
            Wanted::new(&name).pretend();
            let victim = victim(this_test!(), &name, Side::Publisher, class, *wait, RECALLED);
            assert!(outlive(victim).was_killed);
            let mut publisher = channel.publisher().unwrap();
            // The turn is its own at once.
            assert!(publisher.try_publish(&body(1, 8)).unwrap());
            let mut consumer = channel.consumer().unwrap();
            assert_eq!(take_one(&mut consumer, true, |delivery| assert!(!delivery.marked)).unwrap(), 1);
            exchange_fresh(&mut publisher, &mut consumer);
            drop((publisher, consumer, channel));
            assert_nothing_left(&name);
        }
    }
}
