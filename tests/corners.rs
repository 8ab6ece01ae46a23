//! Corners of the contract, most of them once found broken: threads of one handle, replies and long messages given up, limits
//! that nothing seemed to wait for, forks in the middle of a message.
#[path = "support/intruder.rs"]
mod intruder;
mod support;

use antiphon::{Channel, ChannelOptions, Consumer, Delivered, Error, Publisher, Wait};
use intruder::{Intruder, WANTS};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};
use support::{Watchdog, unique};

const SMALL: ChannelOptions = ChannelOptions::new().capacity(64 * 1024);
const CAPACITY: usize = 64 * 1024;
const SOON: Duration = Duration::from_millis(30);
const LATER: Duration = Duration::from_millis(200);

type Hook = Box<dyn FnMut(&'static str)>;
thread_local!(static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) });

/// Has this thread tell `hook` of its steps.
fn on_step(hook: impl FnMut(&'static str) + 'static) {
    antiphon::steps::watch(|step| {
        let _ = HOOK.try_with(|hook| {
            if let Some(hook) = hook.borrow_mut().as_mut() {
                hook(step);
            }
        });
    });
    HOOK.set(Some(Box::new(hook)));
}

fn dog(what: &str) -> Watchdog {
    Watchdog::new(what, Duration::from_secs(20))
}

/// Consumes one message and panics with it.
fn panic_with(consumer: &mut antiphon::Consumer, reads: bool) {
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut message = consumer.consume().unwrap();
        if reads {
            message.copy_into(&mut Vec::new()).unwrap();
        }
        std::panic::resume_unwind(Box::new("on purpose"));
    }));
    assert!(panicked.is_err());
}

/// The door keeps processes apart, but threads of one process share the description that locks it.
#[test]
fn two_threads_of_one_handle_do_not_both_get_the_seat() {
    let _dog = dog("seat");
    let channel = SMALL.create(&unique("seat")).unwrap();
    for _ in 0..2 {
        let both = Barrier::new(2);
        let sit = || {
            on_step(|step| {
                if step == "attach:locked" {
                    sleep(SOON);
                }
            });
            both.wait();
            channel.consumer()
        };
        let (one, other) = scope(|scope| {
            let (one, other) = (scope.spawn(sit), scope.spawn(sit));
            (one.join().unwrap(), other.join().unwrap())
        });
        assert!(one.is_ok() != other.is_ok(), "{one:?} and {other:?}");
    }
}

/// The consumer gave up a long reply, and is alive: nobody died, and the caller is told at once.
#[test]
fn a_caller_is_told_that_the_reply_was_given_up() {
    let _dog = dog("reply given up");
    let channel = SMALL.create(&unique("gave")).unwrap();
    let (mut publisher, mut consumer) = (channel.publisher().unwrap(), channel.consumer().unwrap());
    scope(|scope| {
        let caller = scope.spawn(|| {
            on_step(|step| {
                if step == "flow:reply-drained" {
                    sleep(LATER);
                }
            });
            publisher.call(b"a long one, please").unwrap_err()
        });
        let long = vec![7; 3 * CAPACITY];
        consumer.consume().unwrap().reply_timeout(&long, SOON).unwrap_err();
        let _ = consumer.consume_timeout(2 * LATER).map(drop);
        let error = caller.join().unwrap();
        assert!(matches!(error, Error::Aborted { peer: "consumer", .. }), "{error:?}");
    });
}

/// The caller gives up in the middle of the reply, and the consumer is quicker than its giving up.
#[test]
fn a_consumer_does_not_hang_in_a_reply_that_was_given_up() {
    let _dog = dog("reply hangs");
    let channel = SMALL.create(&unique("hang")).unwrap();
    let (mut publisher, mut consumer) = (channel.publisher().unwrap(), channel.consumer().unwrap());
    scope(|scope| {
        let consuming = scope.spawn(move || {
            let long = vec![7; 5 * CAPACITY];
            let message = consumer.consume().unwrap();
            let began = Instant::now();
            (message.reply_timeout(&long, Duration::from_secs(3)), began.elapsed())
        });
        let mut is_late = false;
        on_step(move |step| match step {
            "flow:reply-drained" => {
                is_late = true;
                sleep(2 * SOON);
            }
            // It passed the turn, and is delayed before it says that it gave up.
            "send:rung" if is_late => sleep(LATER),
            _ => {}
        });
        publisher.call_timeout(b"a long one, please", SOON).unwrap_err();
        HOOK.set(None);
        // The publisher lives, and has nothing further to say.
        let (replied, took) = consuming.join().unwrap();
        assert!(matches!(replied, Err(Error::CallerGone { .. })), "{replied:?}");
        assert!(took < Duration::from_secs(2), "{took:?}");
    });
}

/// Has this thread dawdle at a step: what it waits for is there whenever it looks.
fn dawdle_at(there: &'static str) {
    on_step(move |step| {
        if step == there {
            sleep(Duration::from_millis(3));
        }
    });
}

/// The other side keeps up, and the limit passes all the same.
#[test]
fn a_limit_ends_a_long_publish_that_never_has_to_wait() {
    let _dog = dog("limit of publish");
    let channel = SMALL.create(&unique("limit")).unwrap();
    let (mut publisher, mut consumer) = (channel.publisher().unwrap(), channel.consumer().unwrap());
    scope(|scope| {
        let consuming = scope.spawn(move || {
            let mut message = consumer.consume().unwrap();
            while message.next_round()? {}
            Ok(())
        });
        dawdle_at("send:round-passed");
        let began = Instant::now();
        let outcome = publisher.publish_timeout(&vec![7; 100 * CAPACITY], SOON);
        let took = began.elapsed();
        HOOK.set(None);
        let timed_out = matches!(outcome, Err(Error::TimedOut { delivered: Delivered::No, .. }));
        assert!(timed_out && took < LATER, "{outcome:?} after {took:?}");
        let read: Result<(), Error> = consuming.join().unwrap();
        assert!(matches!(read, Err(Error::Aborted { .. })), "{read:?}");
    });
}

#[test]
fn a_limit_ends_a_long_reply_that_never_has_to_wait() {
    let _dog = dog("limit of reply");
    let channel = SMALL.create(&unique("limit")).unwrap();
    let (mut publisher, mut consumer) = (channel.publisher().unwrap(), channel.consumer().unwrap());
    scope(|scope| {
        let calling = scope.spawn(move || publisher.call(b"a long one, please").map(drop));
        let message = consumer.consume().unwrap();
        dawdle_at("flow:reply-filled");
        let began = Instant::now();
        let outcome = message.reply_timeout(&vec![7; 100 * CAPACITY], SOON);
        let took = began.elapsed();
        HOOK.set(None);
        let timed_out = matches!(outcome, Err(Error::TimedOut { .. }));
        assert!(timed_out && took < LATER, "{outcome:?} after {took:?}");
        let called = calling.join().unwrap();
        assert!(matches!(called, Err(Error::Aborted { .. })), "{called:?}");
    });
}

/// `Disconnected` means that everything is consumed, also where the last message comes between the look at the turn
/// and the look at the publisher.
#[test]
fn the_last_message_comes_before_the_word_of_the_publishers_leaving() {
    let _dog = Watchdog::new("last", Duration::from_secs(60));
    let channel = SMALL.wait(Wait::Spin).create(&unique("last")).unwrap();
    let mut consumer = channel.consumer().unwrap();
    let both = Barrier::new(2);
    let rounds = 4000;
    scope(|scope| {
        scope.spawn(|| {
            let mut dice = support::Dice::new(5);
            for _ in 0..rounds {
                let mut publisher = channel.publisher().unwrap();
                both.wait();
                let until = Instant::now() + Duration::from_nanos(990_000 + dice.below(25_000));
                while Instant::now() < until {}
                publisher.publish(b"the last").unwrap();
                drop(publisher);
                both.wait();
            }
        });
        let mut missed = 0;
        for _ in 0..rounds {
            both.wait();
            let consumed = consumer.consume().map(drop);
            missed += usize::from(consumed.is_err());
            both.wait();
            if consumed.is_err() {
                consumer.consume().unwrap();
            }
        }
        assert_eq!(missed, 0, "was told that the publisher had left while its message stood there, {missed} times");
    });
}

/// A message is a handle too: the child shares its turn with the parent.
#[test]
fn a_forked_child_does_not_ask_for_the_next_round() {
    let _dog = dog("fork");
    let channel = SMALL.create(&unique("fork")).unwrap();
    let (mut publisher, mut consumer) = (channel.publisher().unwrap(), channel.consumer().unwrap());
    scope(|scope| {
        let publishing = scope.spawn(|| publisher.publish_timeout(&vec![7; 2 * CAPACITY], Duration::from_secs(2)));
        let mut message = consumer.consume().unwrap();
        message.set_timeout(Some(Duration::from_secs(1)));
        // SAFETY: the child asks for one thing and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let refused = matches!(message.next_round(), Err(Error::Forked { .. }))
                && matches!(message.to_vec(), Err(Error::Forked { .. }));
            // SAFETY: ends the child without anything of the parent's being run.
            unsafe { libc::_exit(i32::from(!refused)) };
        }
        let mut status = 0;
        // SAFETY: a child of this process, which nobody else waits for.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        let all = message.to_vec().map(|bytes| bytes.len());
        assert_eq!(status, 0, "the child passed the turn; the parent read {all:?}");
        assert_eq!(all.unwrap(), 2 * CAPACITY);
        publishing.join().unwrap().unwrap();
    });
}

/// Copying out writes back what it read, and a loan is there to be written: in a child both would spoil what the
/// parent has gone on to.
#[test]
fn a_forked_child_neither_reads_nor_writes() {
    let _dog = dog("fork");
    let channel = SMALL.create(&unique("fork")).unwrap();
    let (mut publisher, mut consumer) = (channel.publisher().unwrap(), channel.consumer().unwrap());
    /// What came of it in a child.
    fn in_a_child(does: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child does one thing and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let good = does();
            // SAFETY: ends the child without anything of the parent's being run.
            unsafe { libc::_exit(i32::from(!good)) };
        }
        let mut status = 0;
        // SAFETY: a child of this process, which nobody else waits for.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        status == 0
    }
    for len in [8, CAPACITY] {
        publisher.publish(&vec![1; len]).unwrap();
        let mut message = consumer.consume().unwrap();
        let mut into = Vec::new();
        let is_refused = in_a_child(|| matches!(message.copy_into(&mut into), Err(Error::Forked { .. })));
        assert!(is_refused, "the child copied {len} bytes out");
        // What it reads may be another message's by then.
        let is_refused = in_a_child(|| message.read(&mut [0]).is_err());
        assert!(is_refused, "the child read of {len} bytes");
        assert_eq!(message.to_vec().unwrap(), vec![1; len]);
        let mut loan = publisher.loan(len).unwrap();
        assert_eq!(loan.copy_from(0, &vec![2; len]), len);
        let is_refused = in_a_child(|| loan.copy_from(0, &[3]) == 0 && loan.write(&[3]).is_err());
        assert!(is_refused, "the child wrote to a loan of {len} bytes");
        loan.publish().unwrap();
        assert_eq!(consumer.consume().unwrap().to_vec().unwrap(), vec![2; len]);
    }
}

/// A consumer had the whole of it and panicked: whether it acted on it nobody knows, however far the next round came.
#[test]
fn a_long_message_that_was_had_whole_is_not_reported_as_undelivered() {
    let _dog = dog("had whole");
    let channel = SMALL.create(&unique("whole")).unwrap();
    let (mut publisher, mut consumer) = (channel.publisher().unwrap(), channel.consumer().unwrap());
    scope(|scope| {
        let publishing = scope.spawn(|| publisher.publish_timeout(&vec![7; 3 * CAPACITY], LATER).unwrap_err());
        panic_with(&mut consumer, true);
        let error = publishing.join().unwrap();
        assert!(matches!(error, Error::TimedOut { delivered: Delivered::Unknown, .. }), "{error:?}");
    });
}

/// A consumer may answer a long call by its beginning; if it does so too late, the outcome is unknown.
#[test]
fn a_long_call_that_was_answered_by_its_beginning_is_not_reported_as_undelivered() {
    let _dog = dog("answered");
    let channel = SMALL.create(&unique("begin")).unwrap();
    let (mut publisher, mut consumer) = (channel.publisher().unwrap(), channel.consumer().unwrap());
    scope(|scope| {
        let calling = scope.spawn(|| publisher.call_timeout(&vec![7; 3 * CAPACITY], SOON).unwrap_err());
        let message = consumer.consume().unwrap();
        sleep(LATER); // It does what the first round says.
        let late = message.reply(b"done").unwrap_err();
        assert!(matches!(late, Error::CallerGone { .. }), "{late:?}");
        let error = calling.join().unwrap();
        assert_eq!(error.delivered(), Some(Delivered::Unknown), "{error:?}");
    });
}

/// A consumer's thread panics with a call and unwinds: it leaves in order, and nobody knows what it did before.
#[test]
fn a_caller_whose_consumer_panicked_and_left_is_told_that_the_outcome_is_unknown() {
    let _dog = dog("panicked and left");
    let channel = SMALL.create(&unique("left")).unwrap();
    let (mut publisher, mut consumer) = (channel.publisher().unwrap(), channel.consumer().unwrap());
    scope(|scope| {
        let calling = scope.spawn(|| publisher.call(b"do it").unwrap_err());
        panic_with(&mut consumer, true);
        drop(consumer);
        let error = calling.join().unwrap();
        assert_eq!(error.delivered(), Some(Delivered::Unknown), "{error:?}");
    });
}

/// Nobody took it: so it can be sent again.
#[test]
fn a_caller_whose_consumer_left_before_it_took_the_call_is_told_so() {
    let _dog = dog("left");
    let channel = SMALL.create(&unique("left")).unwrap();
    let (mut publisher, consumer) = (channel.publisher().unwrap(), channel.consumer().unwrap());
    drop(consumer);
    let error = publisher.call(b"do it").unwrap_err();
    assert!(matches!(error, Error::Disconnected { .. }), "{error:?}");
    assert_eq!(error.delivered(), Some(Delivered::No), "{error:?}");
}

/// Refuses what is large, where the test says so.
struct Tight;
thread_local!(static IS_TIGHT: std::cell::Cell<bool> = const { std::cell::Cell::new(false) });

// SAFETY: every block is the system allocator's and goes back to it; null is an allocator's way to refuse; and looking
// at the thread's flag, which needs no initialising and has no destructor, allocates nothing.
unsafe impl std::alloc::GlobalAlloc for Tight {
    // SAFETY: `GlobalAlloc::alloc`'s contract is handed on as it is: `layout` is not of size zero.
    unsafe fn alloc(&self, layout: std::alloc::Layout) -> *mut u8 {
        if layout.size() > 1 << 20 && IS_TIGHT.try_with(std::cell::Cell::get) == Ok(true) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's word.
        unsafe { std::alloc::System.alloc(layout) }
    }
    // SAFETY: `GlobalAlloc::dealloc`'s contract is handed on as it is: `at` came from `alloc`, with this layout.
    unsafe fn dealloc(&self, at: *mut u8, layout: std::alloc::Layout) {
        // SAFETY: the caller's word.
        unsafe { std::alloc::System.dealloc(at, layout) }
    }
}

#[global_allocator]
static TIGHT: Tight = Tight;

/// There is no memory for it: then it was not consumed, and stays.
#[test]
fn a_message_that_could_not_be_copied_out_is_not_lost() {
    let _dog = dog("memory");
    let channel = Channel::create(&unique("memory")).unwrap();
    let (mut publisher, mut consumer) = (channel.publisher().unwrap(), channel.consumer().unwrap());
    publisher.publish(&vec![7; 2 << 20]).unwrap();
    for is_into in [true, false] {
        IS_TIGHT.set(true);
        let error = if is_into {
            consumer.consume_into(&mut Vec::new()).map(drop).unwrap_err()
        } else {
            consumer.consume().unwrap().to_vec().unwrap_err()
        };
        IS_TIGHT.set(false);
        assert!(matches!(error, Error::System { call: "allocate", .. }), "{error:?}");
        let message = consumer.try_consume().unwrap().expect("it was acknowledged, and is lost");
        assert!(message.redelivered());
        drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _message = message;
            std::panic::resume_unwind(Box::new("on purpose"));
        })));
    }
    assert_eq!(consumer.consume().unwrap().to_vec().unwrap().len(), 2 << 20);
}

/// A consumer panicked with a call that had flowed to it: it comes again, and flows again, marked.
#[test]
fn a_flow_that_was_given_back_comes_again_marked() {
    let _dog = dog("marked");
    for len in [100_000, 5 * CAPACITY] {
        // Who takes a flow too late is sent it in place: then once more.
        while !flows_twice(len) {}
    }
}

/// Whether the call flowed each time that it came.
fn flows_twice(len: usize) -> bool {
    let name = unique("marked");
    let channel = SMALL.create(&name).unwrap();
    let (mut publisher, mut consumer) = (channel.publisher().unwrap(), channel.consumer().unwrap());
    scope(|scope| {
        let calling = scope.spawn(|| {
            let flows = std::rc::Rc::new(std::cell::Cell::new(0));
            let recalls = std::rc::Rc::new(std::cell::Cell::new(0));
            let (flowed, recalled) = (std::rc::Rc::clone(&flows), std::rc::Rc::clone(&recalls));
            let region = Intruder::new(&name);
            on_step(move |step| {
                flowed.set(flowed.get() + u32::from(step == "flow:ready"));
                recalled.set(recalled.get() + u32::from(step == "flow:recalled"));
                while matches!(step, "send:my-turn" | "send:answered")
                    && region.word(intruder::TURN).load(Relaxed) & 1 == 0
                    && region.byte(WANTS).load(Relaxed) == 0
                    && flowed.get() < 2
                    && recalled.get() == 0
                {
                    std::thread::yield_now();
                }
            });
            (publisher.call(&vec![7; len]), flows.get(), recalls.get())
        });
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut into = Vec::new();
            let message = consumer.consume_into(&mut into).unwrap();
            assert!(!message.redelivered() && into.len() == len);
            std::panic::resume_unwind(Box::new("on purpose"));
        }));
        assert!(panicked.is_err());
        let mut into = Vec::new();
        let message = consumer.consume_into(&mut into).unwrap();
        let is_marked = message.redelivered();
        message.reply(b"once more").unwrap();
        let (reply, flows, recalls) = calling.join().unwrap();
        assert_eq!((reply.unwrap(), into.len(), is_marked), (b"once more".to_vec(), len, true));
        assert!(flows == 2 || recalls > 0, "it flowed {flows} times, and was not taken back");
        recalls == 0
    })
}

/// What the ends of a flow came to in which one of them, at its first `there`, waits until the other one has given up.
/// Nothing where nobody came there: who takes a flow too late is sent it in place.
fn stand_still(
    wait: Wait,
    there: &'static str,
    send: impl Fn(&mut Publisher, bool) -> Result<(), Error> + Sync,
    take: impl Fn(&mut Consumer, bool) -> Result<(), Error> + Sync,
) -> Option<(Result<(), Error>, Result<(), Error>)> {
    let channel = SMALL.wait(wait).create(&unique("still")).unwrap();
    let (mut publisher, mut consumer) = (channel.publisher().unwrap(), channel.consumer().unwrap());
    let (stood, is_over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let hook = || {
        let (stood, is_over) = (Arc::clone(&stood), Arc::clone(&is_over));
        let region = Intruder::new(channel.name());
        move |step| {
            while step == "send:my-turn" && region.byte(WANTS).load(Relaxed) == 0 && !is_over.load(Relaxed) {
                std::thread::yield_now();
            }
            if step == there && !stood.swap(true, Relaxed) {
                while !is_over.load(Relaxed) {
                    std::thread::yield_now();
                }
            }
        }
    };
    let both = scope(|scope| {
        let sending = scope.spawn(|| {
            on_step(hook());
            let sent = send(&mut publisher, false);
            is_over.store(true, Relaxed);
            sent
        });
        let taking = scope.spawn(|| {
            on_step(hook());
            let taken = take(&mut consumer, false);
            is_over.store(true, Relaxed);
            taken
        });
        (sending.join().unwrap(), taking.join().unwrap())
    });
    // The next one goes through whole.
    scope(|scope| {
        scope.spawn(|| send(&mut publisher, true).unwrap());
        take(&mut consumer, true).unwrap();
    });
    stood.load(Relaxed).then_some(both)
}

/// What is sent in a flow that a limit ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Sent {
    Message(usize),
    Call,
    /// A call that is answered by what flows.
    Reply,
}

/// The limit passes in the middle of a flow, at either end: each is told what is known of it, and goes on.
#[test]
fn a_limit_ends_a_flow_in_the_middle_at_either_end() {
    const LONG: usize = 5 * CAPACITY;
    // Who stands still, and what the publisher and the consumer are told.
    let cases = [
        (Sent::Message(LONG), "flow:drained", ["TimedOut No", "Aborted No"]),
        (Sent::Message(LONG), "flow:filled", ["Aborted No", "TimedOut No"]),
        // All of it was in the ring: so the consumer has it, and the publisher cannot know.
        (Sent::Message(40_000), "flow:drained", ["TimedOut Unknown", "Ok"]),
        (Sent::Call, "flow:drained", ["TimedOut Unknown", "Aborted No"]),
        (Sent::Call, "flow:filled", ["Aborted Unknown", "TimedOut No"]),
        (Sent::Reply, "flow:reply-drained", ["Aborted Unknown", "TimedOut Unknown"]),
        (Sent::Reply, "flow:reply-filled", ["TimedOut Unknown", "CallerGone"]),
    ];
    let (first, next) = (support::pattern(1, LONG), support::pattern(2, LONG));
    for (sent, there, told) in cases {
        let limit = |end: usize, is_next: bool| match told[end].starts_with("TimedOut") && !is_next {
            true => SOON,
            false => Duration::from_secs(5),
        };
        let bytes = |is_next: bool| {
            let bytes = if is_next { &next } else { &first };
            if let Sent::Message(len) = sent { &bytes[..len] } else { &bytes[..] }
        };
        let send = |publisher: &mut Publisher, is_next: bool| {
            let (bytes, limit) = (bytes(is_next), limit(0, is_next));
            match sent {
                Sent::Message(_) => publisher.publish_timeout(bytes, limit),
                Sent::Call => publisher.call_timeout(bytes, limit).map(|reply| assert_eq!(reply, b"had")),
                Sent::Reply => publisher.call_timeout(b"?", limit).map(|reply| assert!(reply == bytes)),
            }
        };
        let take = |consumer: &mut Consumer, is_next: bool| {
            let mut into = Vec::new();
            let message = consumer.consume_into_timeout(&mut into, limit(1, is_next))?;
            match sent {
                Sent::Message(_) => assert!(into == bytes(is_next)),
                Sent::Call => {
                    assert!(into == bytes(is_next));
                    message.reply(b"had")?;
                }
                Sent::Reply => message.reply_timeout(bytes(is_next), limit(1, is_next))?,
            }
            Ok(())
        };
        for wait in [Wait::Spin, Wait::Park, Wait::Adaptive] {
            let _dog = Watchdog::new(format!("{sent:?} {there} {wait:?}"), Duration::from_secs(60));
            let both = std::iter::repeat_with(|| stand_still(wait, there, send, take)).flatten().next().unwrap();
            let in_short = |result: &Result<(), Error>| match result {
                Ok(()) => "Ok".to_owned(),
                Err(error) => {
                    let name = format!("{error:?}").split(' ').next().unwrap().to_owned();
                    error.delivered().map_or(name.clone(), |delivered| format!("{name} {delivered:?}"))
                }
            };
            assert_eq!([in_short(&both.0), in_short(&both.1)], told, "{sent:?}, still at {there}, {wait:?}");
        }
    }
}
