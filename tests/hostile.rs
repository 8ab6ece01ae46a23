//! Bytes from the other process are input: whatever a third party writes, every operation ends in
//! its time with an error or an answer, in this process and within the region.
#[path = "hostile/flow.rs"]
mod flow;
#[path = "support/intruder.rs"]
mod intruder;
mod support;

use antiphon::{Channel, ChannelOptions, Consumer, Error, Publisher, Wait};
use intruder::{
    BELL_WORDS, BELLS, Cage, HEADER, IDENTITY_SPARE, Intruder, LENGTH, NOTES, PROGRESS, Pulse, RING, SEAT, SEATS,
    TURN, USED, WANTS, bell_path, has_paths,
};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use support::{Dice, Peer, Watchdog, assert_nothing_left, can_be_another_user, pattern, role, say, unique};

const CAPACITY: usize = 64 * 1024;
const SMALL: ChannelOptions = ChannelOptions::new().capacity(CAPACITY);
/// What the address space can just hold, as far as a receiver can tell.
const LONGEST: u64 = if size_of::<usize>() == 8 { 1 << 46 } else { 1 << 30 };
const WAITS: [Wait; 3] = [Wait::Spin, Wait::Park, Wait::Adaptive];
/// Longer than any limit given here, by far: what takes longer hangs.
const HANGS: Duration = Duration::from_secs(20);
const CONTENTS: u64 = 16;
const MESSAGE: u64 = 1;
const CALL: u64 = 2;
const STREAM: u64 = 3;
const CALL_STREAM: u64 = 4;
const MORE: u64 = 5;
const FLOW: u64 = 6;
const CALL_FLOW: u64 = 7;
const DRAINED: u64 = 8;
const AGAIN: u64 = 9;
const IN_PLACE: u64 = 10;
const ABORTED: u64 = 11;
const ORPHANED: u64 = 12;
const REPLY: u64 = 13;
const REPLY_FLOW: u64 = 14;
const NO_REPLY: u64 = 15;
const ABANDONED: u64 = 1 << 4;
const RECALLED: u64 = 1 << 5;

fn seed() -> u64 {
    let seed = match std::env::var("ANTIPHON_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => u64::from(std::process::id()),
    };
    println!("ANTIPHON_SEED={seed}");
    seed
}

/// What the operations came to.
type Tally = BTreeMap<String, u64>;

/// Notes what an operation came to. An error has to name the channel.
fn judge<T>(tally: &mut Tally, name: &str, what: &str, result: Result<T, Error>) -> Option<T> {
    let (outcome, value) = match result {
        Ok(value) => ("ok".to_owned(), Some(value)),
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(name), "{text}");
            let variant = format!("{error:?}");
            (variant.split([' ', '(']).next().unwrap().to_owned(), None)
        }
    };
    *tally.entry(format!("{what}: {outcome}")).or_default() += 1;
    value
}

/// Takes one message, reads it, and answers it if it asks for that.
fn consume_one(consumer: &mut Consumer, name: &str, limit: Duration, how: u64, tally: &mut Tally, pulse: &Pulse) {
    let mut into = Vec::new();
    if how % 3 == 0 {
        let got = pulse.during("consume_into", || consumer.consume_into_timeout(&mut into, limit));
        if let Some(message) = judge(tally, name, "consume_into", got) {
            assert_eq!(message.len(), into.len());
            if message.is_call() {
                let done = pulse.during("reply", || message.reply_timeout(&into, limit));
                judge(tally, name, "reply", done);
            }
        }
        return;
    }
    let got = pulse.during("consume", || consumer.consume_timeout(limit));
    let Some(mut message) = judge(tally, name, "consume", got) else { return };
    message.set_timeout(Some(limit));
    let until = Instant::now() + limit;
    loop {
        assert!(message.view().len() <= CAPACITY);
        into.extend_from_slice(&message.view().to_vec());
        let more = pulse.during("next_round", || message.next_round());
        // A message may say that it is as long as memory: one need not read all of it.
        if judge(tally, name, "next_round", more) != Some(true) || Instant::now() > until {
            break;
        }
    }
    if message.is_call() {
        let reply = [into.as_slice(), &[0; 3 * CAPACITY]][usize::from(how % 3 == 2)];
        let reply = &reply[..reply.len().min(3 * CAPACITY)];
        let done = pulse.during("reply", || message.reply_timeout(reply, limit));
        judge(tally, name, "reply", done);
    }
}

/// Sends one message, in one way or another.
fn send_one(publisher: &mut Publisher, name: &str, limit: Duration, how: u64, tally: &mut Tally, pulse: &Pulse) {
    const LENGTHS: [usize; 6] = [0, 5, 112, 3000, CAPACITY, 2 * CAPACITY + 77];
    let bytes = vec![how as u8; LENGTHS[(how / 7) as usize % LENGTHS.len()]];
    match how % 7 {
        0 | 1 => {
            let done = pulse.during("publish", || publisher.publish_timeout(&bytes, limit));
            judge(tally, name, "publish", done);
        }
        2 if bytes.len() <= CAPACITY => {
            let done = pulse.during("try_publish", || publisher.try_publish(&bytes));
            judge(tally, name, "try_publish", done);
        }
        3 if bytes.len() <= CAPACITY => {
            let lent = pulse.during("loan", || publisher.loan_timeout(bytes.len(), limit));
            let Some(mut loan) = judge(tally, name, "loan", lent) else { return };
            loan.copy_from(0, &bytes);
            let done = pulse.during("loan.call", || loan.call_timeout(limit));
            judge(tally, name, "loan.call", done);
        }
        _ => {
            let done = pulse.during("call", || publisher.call_timeout(&bytes, limit));
            judge(tally, name, "call", done);
        }
    }
}

/// Bytes that are sent and arrive right, by publishing and by calling.
fn works(publisher: &mut Publisher, consumer: &mut Consumer, number: u64) {
    let limit = Duration::from_secs(10);
    let bytes = pattern(number, number as usize % 300);
    publisher.publish_timeout(&bytes, limit).unwrap();
    assert_eq!(consumer.consume_timeout(limit).unwrap().to_vec().unwrap(), bytes);
}

/// A consumer on a thread of its own, which works when it is told to.
struct Colleague {
    orders: mpsc::Sender<Order>,
    done: mpsc::Receiver<Tally>,
}

enum Order {
    /// Take so many messages, whatever they are.
    Take {
        count: u64,
        limit: Duration,
        how: u64,
    },
    /// Take two: one like this, and one to be sent back.
    Check(Vec<u8>),
    Wait(Wait),
}

impl Colleague {
    fn start(mut consumer: Consumer, name: String) -> Colleague {
        let (orders, work) = mpsc::channel();
        let (answer, done) = mpsc::channel();
        std::thread::spawn(move || {
            let pulse = Pulse::new(HANGS);
            while let Ok(order) = work.recv() {
                let mut tally = Tally::new();
                match order {
                    Order::Take { count, limit, how } => {
                        for more in 0..count {
                            let how = how + more;
                            consume_one(&mut consumer, &name, limit, how, &mut tally, &pulse);
                        }
                    }
                    Order::Check(bytes) => {
                        let limit = Duration::from_secs(10);
                        let message = consumer.consume_timeout(limit).unwrap();
                        assert_eq!(message.to_vec().unwrap(), bytes);
                        let message = consumer.consume_timeout(limit).unwrap();
                        let back = message.view().to_vec();
                        message.reply(&back).unwrap();
                    }
                    Order::Wait(wait) => consumer.set_wait(wait),
                }
                if answer.send(tally).is_err() {
                    return;
                }
            }
        });
        Colleague { orders, done }
    }

    fn tell(&self, order: Order) {
        self.orders.send(order).unwrap();
    }

    fn wait(&self) -> Tally {
        self.done.recv().expect("the consumer's thread panicked")
    }

    /// Everything has to be right now.
    fn check(&self, publisher: &mut Publisher, number: u64) {
        let bytes = pattern(number, number as usize % 300);
        self.tell(Order::Check(bytes.clone()));
        let limit = Duration::from_secs(10);
        publisher.publish_timeout(&bytes, limit).unwrap();
        assert_eq!(publisher.call_timeout(&bytes, limit).unwrap(), bytes);
        self.wait();
    }
}

/// The bytes that mean something, and some of those that mean nothing.
fn offsets() -> impl Iterator<Item = usize> {
    (0..HEADER).filter(|at| {
        let is_spare = *at >= USED || IDENTITY_SPARE.contains(at);
        !is_spare || at % 509 == 0
    })
}

fn values(before: u8, dice: &mut Dice) -> [u8; 4] {
    [0, 0xff, before ^ 1, dice.roll() as u8]
}

fn merge(into: &mut Tally, from: Tally) {
    for (what, count) in from {
        *into.entry(what).or_default() += count;
    }
}

fn print(tally: &Tally) {
    for (what, count) in tally {
        println!("  {what}: {count}");
    }
}

#[test]
fn every_byte_of_the_header_may_turn_into_anything_while_both_ends_work() {
    let _watchdog = Watchdog::new("every byte", Duration::from_secs(180));
    let mut dice = Dice::new(seed());
    let name = unique("byte");
    let cage = Cage::new(HEADER + CAPACITY);
    let channel = SMALL.create(&name).unwrap();
    println!("between pages that nobody may touch: {:?}", cage.holds(&name));
    let mut publisher = channel.publisher().unwrap();
    let colleague = Colleague::start(channel.consumer().unwrap(), name.clone());
    let intruder = Intruder::new(&name);
    let pulse = Pulse::new(HANGS);
    let (mut tally, mut number) = (Tally::new(), 0);
    colleague.check(&mut publisher, 1);
    let saved = intruder.save();
    // A name, and seats where nobody sits, are read at the door alone: the next test has them all.
    let at_the_door = |at: usize| (80..280).contains(&at) || (SEATS + 4 * SEAT..TURN).contains(&at);
    for at in offsets().filter(|at| !at_the_door(*at) || at % 61 == 0) {
        // What both sides go by is tried with every way of waiting.
        let is_hot = (TURN..TURN + 16).contains(&at) || (NOTES..NOTES + 256).contains(&at);
        for wait in if is_hot { &WAITS[..] } else { &WAITS[2..] } {
            publisher.set_wait(*wait);
            colleague.tell(Order::Wait(*wait));
            colleague.wait();
            let before = intruder.byte(at).load(Relaxed);
            for value in values(before, &mut dice) {
                number += 1;
                let limit = Duration::from_millis(6);
                let is_first = number % 2 == 0;
                if is_first {
                    intruder.byte(at).store(value, Relaxed);
                }
                colleague.tell(Order::Take { count: 2, limit, how: number });
                for more in 0..2 {
                    send_one(&mut publisher, &name, limit, number + more, &mut tally, &pulse);
                    intruder.byte(at).store(value, Relaxed);
                }
                merge(&mut tally, colleague.wait());
                intruder.restore(&saved);
                if number % 8 == 0 || is_hot {
                    colleague.check(&mut publisher, number);
                    intruder.restore(&saved);
                }
            }
        }
    }
    println!("{number} bytes rewritten");
    print(&tally);
    colleague.check(&mut publisher, number);
    drop((colleague, publisher));
    drop(channel);
    // A byte may have said that its names were gone, and then they were for whoever leaves last.
    let _ = Channel::unlink(&name);
    intruder::unlink(&name);
}

#[test]
fn every_byte_of_the_header_may_be_anything_when_a_channel_is_opened() {
    let _watchdog = Watchdog::new("every byte, opened", Duration::from_secs(180));
    let mut dice = Dice::new(seed());
    let name = unique("open");
    let pulse = Pulse::new(HANGS);
    let (mut tally, mut number, mut made_anew) = (Tally::new(), 0u64, 0);
    let make = || {
        let channel = SMALL.create(&name).unwrap();
        let ends = (channel.publisher().unwrap(), channel.consumer().unwrap());
        let intruder = Intruder::new(&name);
        let saved = intruder.save();
        (channel, ends, intruder, saved)
    };
    let (mut channel, mut ends, mut intruder, mut saved) = make();
    for at in offsets() {
        let before = intruder.byte(at).load(Relaxed);
        for value in values(before, &mut dice) {
            number += 1;
            intruder.byte(at).store(value, Relaxed);
            let opened = pulse.during("open", || match number % 3 {
                0 => Channel::open(&name),
                1 => Channel::open_or_create(&name),
                _ => SMALL.create(&name),
            });
            let what = ["open", "open_or_create", "create"][(number % 3) as usize];
            let opened = judge(&mut tally, &name, what, opened);
            if let Some(opened) = &opened {
                let seat = pulse.during("publisher", || opened.publisher());
                judge(&mut tally, &name, "publisher", seat);
                let seat = pulse.during("consumer", || opened.consumer());
                judge(&mut tally, &name, "consumer", seat);
            }
            intruder.restore(&saved);
            pulse.during("drop", || drop(opened));
            intruder.restore(&saved);
            let again = pulse.during("open", || Channel::open(&name));
            match again {
                Ok(opened) => drop(opened),
                // The byte said that it was to be removed, or had been left by all.
                Err(Error::NotFound { .. } | Error::NotAChannel { .. }) => {
                    made_anew += 1;
                    drop((channel, ends, intruder));
                    let _ = Channel::unlink(&name);
                    (channel, ends, intruder, saved) = make();
                }
                Err(error) => panic!("{error} after byte {at} was {value}"),
            }
            if number % 64 == 0 {
                works(&mut ends.0, &mut ends.1, number);
                intruder.restore(&saved);
            }
        }
    }
    println!("{number} bytes rewritten, {made_anew} channels made anew");
    print(&tally);
    works(&mut ends.0, &mut ends.1, number);
    drop((channel, ends, intruder));
    let _ = Channel::unlink(&name);
    assert_nothing_left(&name);
}

/// Writes what hurts most.
fn attack(intruder: &Intruder, saved: &[u64], dice: &mut Dice) {
    let lengths = [
        0,
        1,
        111,
        113,
        CAPACITY as u64,
        CAPACITY as u64 + 1,
        1 << 32,
        (1 << 46) - 1,
        1 << 46,
        (1 << 46) + 1,
        1 << 63,
        u64::MAX,
    ];
    let one_of = |dice: &mut Dice, from: &[u64]| from[dice.below(from.len() as u64) as usize];
    match dice.below(18) {
        0 | 1 => intruder.word(LENGTH).store(one_of(dice, &lengths), Relaxed),
        // The turn: every content and some that are none, either side, every mark.
        2..=4 => {
            let content = dice.below(CONTENTS + 3);
            let word = intruder.turn(dice.below(2), content, dice.below(128) << 1);
            intruder.word(LENGTH).store(one_of(dice, &lengths), Relaxed);
            intruder.word(TURN).store(word, Relaxed);
        }
        5 => intruder.word(TURN).store(dice.roll(), Relaxed),
        6 => {
            let jump = one_of(dice, &[1, 2, (1 << 47) + 1, u64::MAX >> 16]) << 16;
            intruder.word(TURN).fetch_add(jump, Relaxed);
        }
        // Somebody sleeps; nobody sleeps; both, all the time.
        7 => drop(intruder.word(TURN).fetch_xor(dice.below(4) << 1, Relaxed)),
        8 => {
            let seat = SEATS + SEAT * dice.below(4) as usize;
            let generation = one_of(dice, &[0, 1, 2, 3, 1 << 31, u64::from(u32::MAX)]);
            let state = one_of(dice, &[0, 1, 2, 3, u64::from(u32::MAX)]);
            intruder.word(seat).store(generation << 32 | state, Relaxed);
            // Pid and start time, of nobody and of init.
            intruder.word(seat + 40).store(one_of(dice, &[0, 1, u64::MAX]), Relaxed);
            intruder.word(seat + 8).store(one_of(dice, &[0, 1, u64::MAX]), Relaxed);
        }
        9 => {
            let note = NOTES + 8 * dice.below(32) as usize;
            let step = intruder.word(TURN).load(Relaxed) >> 16;
            intruder.word(note).store(one_of(dice, &[0, step, step + 1, u64::MAX]), Relaxed);
        }
        10 => intruder.word(8 * dice.below(512) as usize).store(dice.roll(), Relaxed),
        11 => {
            // A random part of what is used, all at once.
            let start = SEATS + 8 * dice.below((USED - SEATS) as u64 / 8) as usize;
            let end = (start + 8 * dice.below(32) as usize).min(USED);
            for word in (start..end).step_by(8) {
                intruder.word(word).store(dice.roll(), Relaxed);
            }
        }
        12 => intruder.restore(saved),
        // A flow: how far somebody has come, through what, and whether it is wanted, or wanted back.
        13 | 14 => {
            let line = intruder.word(PROGRESS[dice.below(2) as usize]);
            let before = line.load(Relaxed);
            let jumps = [
                0,
                1,
                before.wrapping_sub(1),
                before.wrapping_add(4096),
                before.wrapping_add(1 << 17),
                1 << 63,
                u64::MAX,
            ];
            line.store(one_of(dice, &jumps), Relaxed);
        }
        15 => intruder.word(RING).store(one_of(dice, &[0, 1, 4096, 1 << 16, (1 << 16) + 1, u64::MAX]), Relaxed),
        16 => intruder.byte(WANTS).store(dice.below(3) as u8, Relaxed),
        17 => drop(intruder.word(TURN).fetch_xor(1 << (3 + dice.below(4)), Relaxed)),
        _ => drop(intruder.byte(dice.below(USED as u64) as usize).swap(dice.roll() as u8, Relaxed)),
    }
}

#[test]
fn a_storm_of_wrong_bytes_ends_every_operation_in_time() {
    if let Some((_, args)) = role() {
        storm(args[0].parse().unwrap(), args[1].parse().unwrap());
        return;
    }
    let _watchdog = Watchdog::new("storm", Duration::from_secs(180));
    let seed = seed();
    for (wait, policy) in WAITS.iter().enumerate() {
        let words = [wait.to_string(), (seed + wait as u64).to_string()];
        let mut peer = Peer::start(this_test!(), "storm", &[&words[0], &words[1]]);
        let said = peer.heard().expect("the process under the storm lives");
        println!("{policy:?}: {said}");
        peer.succeed();
    }
}

/// Both ends and the intruder, in a process of their own: if that dies, the test fails.
fn storm(wait: usize, seed: u64) {
    let seconds = std::env::var("ANTIPHON_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap());
    let limits = [1, 20, 60].map(Duration::from_millis);
    let name = unique("storm");
    let cage = Cage::new(HEADER + CAPACITY);
    let channel = SMALL.wait(WAITS[wait]).create(&name).unwrap();
    let mut publisher = channel.publisher().unwrap();
    let mut consumer = channel.consumer().unwrap();
    let intruder = Intruder::new(&name);
    let caged = cage.holds(&name);
    works(&mut publisher, &mut consumer, 1);
    let saved = intruder.save();
    let mut number = 0;
    let mut tally = Tally::new();
    let until = Instant::now() + Duration::from_secs(4) * seconds;
    let mut dice = Dice::new(seed);
    while Instant::now() < until {
        // Calm enough at times for long messages to get somewhere, and at times not at all.
        let pause = [0, 1, 20, 1000][dice.below(4) as usize];
        let stop = AtomicBool::new(false);
        let (from_publisher, from_consumer) = std::thread::scope(|scope| {
            let mut dice_of = |_| Dice::new(dice.roll());
            let (mut a, mut b, mut c) = (dice_of(0), dice_of(1), dice_of(2));
            let (stop, intruder, name) = (&stop, &intruder, &name);
            let (publisher, consumer, saved) = (&mut publisher, &mut consumer, &saved);
            scope.spawn(move || {
                while !stop.load(Relaxed) {
                    attack(intruder, saved, &mut c);
                    for _ in 0..c.below(2 * pause + 1) {
                        std::hint::spin_loop();
                    }
                }
            });
            let publishing = scope.spawn(move || {
                let (pulse, mut tally) = (Pulse::new(HANGS), Tally::new());
                for _ in 0..40 {
                    let limit = limits[a.below(3) as usize];
                    send_one(publisher, name, limit, a.below(1 << 20), &mut tally, &pulse);
                }
                tally
            });
            let consuming = scope.spawn(move || {
                let (pulse, mut tally) = (Pulse::new(HANGS), Tally::new());
                for _ in 0..40 {
                    let limit = limits[b.below(3) as usize];
                    consume_one(consumer, name, limit, b.below(1 << 20), &mut tally, &pulse);
                }
                tally
            });
            let done = (publishing.join().unwrap(), consuming.join().unwrap());
            stop.store(true, Relaxed);
            done
        });
        merge(&mut tally, from_publisher);
        merge(&mut tally, from_consumer);
        // What was true before the storm is true again, and so both ends work.
        intruder.restore(&saved);
        number += 1;
        works(&mut publisher, &mut consumer, number);
    }
    let peak = peak_memory_kib();
    assert!(peak.is_none_or(|kib| kib < 2 * 1024 * 1024), "{peak:?} KiB of memory");
    say(format!("seed {seed}, between forbidden pages: {caged:?}, {number} storms, at most {peak:?} KiB, {tally:?}"));
    drop((publisher, consumer, channel));
    assert_nothing_left(&name);
}

fn peak_memory_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

#[test]
fn a_length_or_a_turn_that_cannot_be_is_corrupt_and_said_so() {
    let _watchdog = Watchdog::new("corrupt", support::PATIENCE);
    let name = unique("corrupt");
    let channel = SMALL.create(&name).unwrap();
    let mut publisher = channel.publisher().unwrap();
    let mut consumer = channel.consumer().unwrap();
    let intruder = Intruder::new(&name);
    let whole = [1, CALL].map(|content| [CAPACITY as u64 + 1, 1 << 46, u64::MAX].map(|length| (content, length)));
    let long =
        [STREAM, CALL_STREAM].map(|content| [0, CAPACITY as u64, (1 << 46) + 1].map(|length| (content, length)));
    // Contents that stand in the publisher's turn only, and some that are none.
    let strange =
        [0, DRAINED, AGAIN, IN_PLACE, ORPHANED, REPLY, REPLY_FLOW, NO_REPLY, 16, 255].map(|content| (content, 5));
    let cases = [whole.concat(), long.concat(), strange.to_vec()].concat();
    for (number, (content, length)) in cases.into_iter().enumerate() {
        intruder.word(LENGTH).store(length, Relaxed);
        intruder.word(TURN).store(intruder.turn(1, content, 0), Release);
        let got = consumer.try_consume().map(drop);
        let Err(Error::Corrupt { name: named, .. }) = &got else {
            panic!("{got:?} of content {content}, length {length}");
        };
        assert_eq!(*named, name);
        works(&mut publisher, &mut consumer, number as u64);
    }
    let replies = [
        (REPLY, CAPACITY as u64 + 1),
        (REPLY, u64::MAX),
        (REPLY_FLOW, (1 << 46) + 1),
        (REPLY_FLOW, u64::MAX),
        (DRAINED, 5),
        (IN_PLACE, 5),
        (FLOW, 70_000),
        (MORE, 70_000),
        (0, 5),
        (MESSAGE, 5),
        (16, 5),
        (255, 5),
    ];
    for (content, length) in replies {
        let answer = move |_| (content, 0);
        against(&name, 1, length, answer, |pulse| {
            let limit = Duration::from_secs(10);
            let got = pulse.during("call", || publisher.call_timeout(b"?", limit));
            assert!(matches!(got, Err(Error::Corrupt { .. })), "{got:?} of {content}, {length}");
        });
        works(&mut publisher, &mut consumer, length % 1000);
    }
}

/// Runs `work` while somebody in the place of `side`'s end passes every turn back at once, with
/// what `answer` makes of the word that it got. Returns how many turns that were.
fn against(
    name: &str,
    side: u64,
    length: u64,
    answer: impl Fn(u64) -> (u64, u64) + Sync,
    work: impl FnOnce(&Pulse),
) -> u64 {
    let intruder = Intruder::new(name);
    let turns = AtomicU64::new(0);
    let pass = || {
        let word = intruder.word(TURN).load(Acquire);
        if word & 1 == side {
            let (content, marks) = answer(word >> 8 & 0xff);
            intruder.word(LENGTH).store(length, Relaxed);
            intruder.word(TURN).store(intruder.turn(side ^ 1, content, marks), Release);
            turns.fetch_add(1, Relaxed);
        }
    };
    while_another_does(pass, work);
    turns.into_inner()
}

/// Runs `work` while another thread does `what`, again and again.
fn while_another_does<T>(what: impl Fn() + Sync, work: impl FnOnce(&Pulse) -> T) -> T {
    struct Stop<'s>(&'s AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                what();
            }
        });
        // Also where `work` panics.
        let _stop = Stop(&is_over);
        work(&Pulse::new(HANGS))
    })
}

/// Turns that may still come when the time was up from the beginning.
const A_FEW: u64 = 8;

#[test]
fn turns_that_come_for_nothing_do_not_outlast_the_limit() {
    let _watchdog = Watchdog::new("for nothing", Duration::from_secs(60));
    for wait in WAITS {
        for (content, marks) in [
            (MORE, 0),
            (ABORTED, 0),
            (CALL, ABANDONED),
            (STREAM, ABANDONED),
            (FLOW, ABANDONED),
            (FLOW, 0),
            (CALL_FLOW, RECALLED),
            (CALL_FLOW, ABANDONED | RECALLED),
        ] {
            let name = unique("again");
            let channel = SMALL.wait(wait).create(&name).unwrap();
            let _publisher = channel.publisher().unwrap();
            let mut consumer = channel.consumer().unwrap();
            let turns = against(
                &name,
                0,
                70_000,
                |_| (content, marks),
                |pulse| {
                    let got = pulse.during("consume", || consumer.consume_timeout(Duration::ZERO).map(drop));
                    assert!(matches!(got, Err(Error::TimedOut { .. })), "{got:?}");
                    let got = pulse.during("try_consume", || consumer.try_consume().map(drop));
                    assert!(got.is_ok(), "{got:?}");
                },
            );
            // The one that was there, and one more for each look.
            assert!(turns <= A_FEW, "{turns} turns of content {content} under {wait:?}");
            drop(consumer);
            let _ = Channel::unlink(&name);
        }
    }
}

#[test]
fn a_consumer_that_wants_a_message_again_and_again_does_not_outlast_the_limit() {
    let _watchdog = Watchdog::new("again", Duration::from_secs(60));
    for wait in WAITS {
        // In rounds and whole; and where the consumer says that it waits to copy out, flowing.
        for (content, len, wants) in [
            (AGAIN, 70_000, 0),
            (AGAIN, 70_000, 1),
            (AGAIN, 40_000, 1),
            (IN_PLACE, 70_000, 0),
            (IN_PLACE, 70_000, 1),
            (IN_PLACE, 40_000, 1),
        ] {
            let name = unique("again");
            let channel = SMALL.wait(wait).create(&name).unwrap();
            let mut publisher = channel.publisher().unwrap();
            let _consumer = channel.consumer().unwrap();
            Intruder::new(&name).byte(WANTS).store(wants, Relaxed);
            let bytes = vec![0; len];
            let is_right = |error: &Error| match error {
                Error::TimedOut { .. } => true,
                // It is in place.
                Error::Corrupt { .. } => content == IN_PLACE,
                _ => false,
            };
            let turns = against(
                &name,
                1,
                70_000,
                |_| (content, 0),
                |pulse| {
                    for limit in [Duration::ZERO, Duration::from_millis(5)] {
                        if len > CAPACITY {
                            let done = pulse.during("publish", || publisher.publish_timeout(&bytes, limit));
                            assert!(is_right(done.as_ref().unwrap_err()), "{done:?} of {content}");
                        }
                        let done = pulse.during("call", || publisher.call_timeout(&bytes, limit).map(drop));
                        assert!(is_right(done.as_ref().unwrap_err()), "{done:?} of {content}");
                        if content == AGAIN {
                            break; // It may well be sent a thousand times in five milliseconds.
                        }
                    }
                },
            );
            assert!(turns <= 2 * A_FEW, "{turns} turns under {wait:?}");
            Channel::unlink(&name).unwrap();
        }
    }
}

#[test]
fn a_message_without_an_end_does_not_outlast_the_limit() {
    let _watchdog = Watchdog::new("endless", Duration::from_secs(60));
    for wait in WAITS {
        for first in [STREAM, CALL_STREAM] {
            let name = unique("endless");
            let channel = SMALL.wait(wait).create(&name).unwrap();
            let _publisher = channel.publisher().unwrap();
            let mut consumer = channel.consumer().unwrap();
            // It keeps the protocol, but for its message's being longer than memory.
            let intruder = Intruder::new(&name);
            let answer = |got| if got == DRAINED { (MORE, 0) } else { (first, 0) };
            let mut into = Vec::new();
            let turns = against(&name, 0, LONGEST, answer, |pulse| {
                while intruder.word(TURN).load(Relaxed) & 1 == 0 {
                    std::thread::yield_now();
                }
                let got = pulse
                    .during("consume_into", || consumer.consume_into_timeout(&mut into, Duration::ZERO).map(drop));
                assert!(matches!(got, Err(Error::TimedOut { .. })), "{got:?}");
            });
            assert!(turns <= A_FEW, "{turns} rounds, {} bytes, under {wait:?}", into.len());
            drop(consumer);
            let _ = Channel::unlink(&name);
        }
    }
}

#[test]
fn a_reply_without_an_end_does_not_outlast_the_limit() {
    let _watchdog = Watchdog::new("endless reply", Duration::from_secs(60));
    for wait in WAITS {
        let name = unique("endless");
        let channel = SMALL.wait(wait).create(&name).unwrap();
        let mut publisher = channel.publisher().unwrap();
        let _consumer = channel.consumer().unwrap();
        let intruder = Intruder::new(&name);
        let flow = || {
            if intruder.word(TURN).load(Acquire) & 1 == 1 {
                intruder.word(LENGTH).store(1 << 30, Relaxed);
                intruder.word(RING).store(CAPACITY as u64, Relaxed);
                intruder.word(PROGRESS[0]).store(0, Relaxed);
                intruder.word(PROGRESS[1]).store(CAPACITY as u64, Relaxed);
                intruder.word(TURN).store(intruder.turn(0, REPLY_FLOW, 0), Release);
            } else {
                // The caller finds more whenever it looks.
                let drained = intruder.word(PROGRESS[0]).load(Acquire);
                intruder.word(PROGRESS[1]).store(drained + CAPACITY as u64, Release);
            }
        };
        while_another_does(flow, |pulse| {
            for limit in [Duration::ZERO, Duration::from_millis(5)] {
                let got = pulse.during("call", || publisher.call_timeout(b"?", limit));
                assert!(matches!(got, Err(Error::TimedOut { .. })), "{:?}", got.map(|all| all.len()));
            }
        });
        Channel::unlink(&name).unwrap();
    }
}

/// Something under a name that is no channel of ours.
struct Foreign {
    name: String,
    path: String,
}

impl Foreign {
    fn new(what: &str) -> Foreign {
        let name = unique(what);
        let path = format!("/dev/shm/{name}");
        Foreign { name, path }
    }

    fn file(what: &str, content: &[u8]) -> Foreign {
        let foreign = Foreign::new(what);
        std::fs::write(&foreign.path, content).unwrap();
        foreign
    }

    /// A channel's region with something changed, left over by its maker.
    fn channel(what: &str, change: impl FnOnce(&Intruder)) -> Foreign {
        let foreign = Foreign::new(what);
        let channel = SMALL.create(&foreign.name).unwrap();
        change(&Intruder::new(&foreign.name));
        let kept = format!("{}.kept", foreign.path);
        std::fs::hard_link(&foreign.path, &kept).unwrap();
        drop(channel);
        std::fs::rename(&kept, &foreign.path).unwrap();
        foreign
    }

    /// What stands there, so that it can be compared; of something long the beginning.
    fn state(&self) -> (u64, u64, u32, Option<Vec<u8>>) {
        use std::io::Read;
        use std::os::unix::fs::MetadataExt;
        let meta = std::fs::symlink_metadata(&self.path).expect("it was taken away");
        let content = meta.is_file().then(|| {
            let mut content = Vec::new();
            std::fs::File::open(&self.path).unwrap().take(1 << 20).read_to_end(&mut content).unwrap();
            content
        });
        (meta.ino(), meta.len(), meta.mode(), content)
    }

    /// Every call refuses with an error that `is_right`, names the channel, and touches nothing.
    fn is_refused(&self, is_right: impl Fn(&Error) -> bool) {
        let before = self.state();
        let results = [
            ("open", Channel::open(&self.name).map(drop)),
            ("create", SMALL.create(&self.name).map(drop)),
            ("open_or_create", SMALL.open_or_create(&self.name).map(drop)),
            ("unlink", Channel::unlink(&self.name)),
        ];
        for (call, result) in results {
            let error = result.expect_err(call);
            assert!(is_right(&error), "{call}: {error:?}");
            assert!(error.to_string().contains(&self.name), "{call}: {error}");
            assert!(self.state() == before, "{call} changed it");
        }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        let _ = std::fs::remove_dir(&self.path);
        for bell in ["p", "c"] {
            let _ = std::fs::remove_file(bell_path(&self.name, bell));
        }
    }
}

fn is_no_channel(error: &Error) -> bool {
    matches!(error, Error::NotAChannel { .. })
}

fn differs_in(wanted: &str, error: &Error) -> bool {
    matches!(error, Error::Incompatible { what, .. } if *what == wanted)
}

#[test]
fn what_is_no_channel_is_refused_and_stays_as_it_is() {
    if !has_paths(this_test!()) {
        return;
    }
    let _watchdog = Watchdog::new("foreign", support::PATIENCE);
    Foreign::file("short", b"somebody's notes").is_refused(is_no_channel);
    Foreign::file("odd", &vec![7; HEADER + CAPACITY + 1]).is_refused(is_no_channel);
    Foreign::file("foreign", &vec![7; HEADER + CAPACITY]).is_refused(is_no_channel);
    Foreign::file("one", &vec![0; HEADER]).is_refused(is_no_channel);
    // The first page is not blank, though its first word is.
    let mut late = vec![0; HEADER + CAPACITY];
    late[4000] = 1;
    Foreign::file("late", &late).is_refused(is_no_channel);

    let link = Foreign::new("link");
    let target = Foreign::file("target", &vec![7; HEADER + CAPACITY]);
    std::os::unix::fs::symlink(&target.path, &link.path).unwrap();
    link.is_refused(is_no_channel);
    let dangling = Foreign::new("dangling");
    std::os::unix::fs::symlink("/dev/shm/there-is-nothing-here", &dangling.path).unwrap();
    dangling.is_refused(is_no_channel);
    // A link to a good channel is no better: what has the name is somebody else's arrangement.
    let good = Foreign::new("good");
    let channel = SMALL.create(&good.name).unwrap();
    let to_good = Foreign::new("to-good");
    std::os::unix::fs::symlink(&good.path, &to_good.path).unwrap();
    to_good.is_refused(is_no_channel);
    drop(channel);

    let directory = Foreign::new("directory");
    std::fs::create_dir(&directory.path).unwrap();
    directory.is_refused(is_no_channel);

    let fifo = Foreign::new("fifo");
    let path = std::ffi::CString::new(fifo.path.as_str()).unwrap();
    // SAFETY: a NUL-terminated path.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    fifo.is_refused(is_no_channel);

    let socket = Foreign::new("socket");
    let listener = std::os::unix::net::UnixListener::bind(&socket.path).unwrap();
    socket.is_refused(is_no_channel);
    drop(listener);
}

#[test]
fn a_channel_that_was_made_otherwise_is_refused_and_says_in_what() {
    if !has_paths(this_test!()) {
        return;
    }
    let _watchdog = Watchdog::new("otherwise", support::PATIENCE);
    // Version and word size share a word, libc's flavour is the lower half of the next.
    let flip = |at: usize, bits: u64| {
        move |region: &Intruder| {
            region.word(at).fetch_xor(bits, Relaxed);
        }
    };
    Foreign::channel("version", flip(8, 1 << 8)).is_refused(|e| differs_in("layout version", e));
    Foreign::channel("word", flip(8, 12 << 32)).is_refused(|e| differs_in("word size", e));
    Foreign::channel("flavour", flip(16, 6)).is_refused(|e| differs_in("libc flavour", e));
    Foreign::channel("flags", flip(16, 4 << 32)).is_refused(|e| differs_in("unknown flags", e));
    Foreign::channel("kinds", flip(16, 3 << 32)).is_refused(|e| differs_in("unknown flags", e));
    Foreign::channel("capacity", flip(24, 1 << 16)).is_refused(|e| differs_in("capacity", e));
    Foreign::channel("huge", |region| region.word(24).store(u64::MAX, Relaxed))
        .is_refused(|e| differs_in("capacity", e));
    Foreign::channel("magic", flip(0, 1)).is_refused(is_no_channel);
    let foreign = Foreign::channel("other", flip(80, 1));
    let theirs = foreign.name.replacen('t', "u", 1);
    foreign.is_refused(|error| matches!(error, Error::NameCollision { theirs: found, .. } if *found == theirs));
    // A length that the name cannot have is a name that nobody has.
    Foreign::channel("long", |region| region.word(72).store(u64::MAX, Relaxed))
        .is_refused(|error| matches!(error, Error::NameCollision { .. }));
}

#[test]
fn a_channel_that_is_longer_than_this_process_can_map_is_refused_for_what_it_is() {
    if !has_paths(this_test!()) {
        return;
    }
    let _watchdog = Watchdog::new("long", support::PATIENCE);
    // Of 3 and 5 GiB: more than 31 and 32 bits hold, and both map where a word has 64.
    for len in [3 << 30, 5 << 30] {
        let lengthen = |channel: &Foreign| {
            std::fs::OpenOptions::new().write(true).open(&channel.path).unwrap().set_len(len).unwrap();
        };
        let other = Foreign::channel("of-other-words", |region| {
            region.word(8).fetch_xor(12 << 32, Relaxed);
        });
        lengthen(&other);
        other.is_refused(|e| differs_in("word size", e));
        let same = Foreign::channel("of-our-words", |_| {});
        lengthen(&same);
        same.is_refused(|e| differs_in("capacity", e));
        let nothing = Foreign::file("nothing", b"somebody's notes");
        lengthen(&nothing);
        nothing.is_refused(is_no_channel);
    }
}

#[test]
fn an_empty_file_is_what_a_killed_maker_leaves() {
    if !has_paths(this_test!()) {
        return;
    }
    // Nobody can tell it from one of ours that was not sized yet: it is no channel, and no obstacle.
    let empty = Foreign::file("empty", b"");
    assert!(matches!(Channel::open(&empty.name), Err(Error::NotFound { .. })));
    std::fs::write(&empty.path, b"").unwrap();
    assert!(matches!(Channel::unlink(&empty.name), Err(Error::NotFound { .. })));
    std::fs::write(&empty.path, b"").unwrap();
    let channel = SMALL.create(&empty.name).unwrap();
    works(&mut channel.publisher().unwrap(), &mut channel.consumer().unwrap(), 5);
    drop(channel);
    assert_nothing_left(&empty.name);
}

#[test]
fn what_is_made_of_an_empty_file_is_for_this_user_alone() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    if !has_paths(this_test!()) {
        return;
    }
    let empty = Foreign::file("mode", b"");
    std::fs::set_permissions(&empty.path, PermissionsExt::from_mode(0o666)).unwrap();
    let channel = SMALL.create(&empty.name).unwrap();
    let meta = std::fs::metadata(&empty.path).unwrap();
    assert_eq!(meta.mode() & 0o777, 0o600, "somebody else's permissions");
    drop(channel);
    if !can_be_another_user(this_test!()) {
        return;
    }
    // Another user put it there, for everybody to write: what is made of it would be theirs.
    let empty = Foreign::file("theirs", b"");
    std::fs::set_permissions(&empty.path, PermissionsExt::from_mode(0o666)).unwrap();
    std::os::unix::fs::chown(&empty.path, Some(NOBODY), Some(NOBODY)).unwrap();
    empty.is_refused(is_no_channel);
}

const NOBODY: u32 = 65534;

/// Goes on as another user, for good.
fn become_nobody() {
    // SAFETY: plain system calls; this thread's process is a child made for that.
    let done = unsafe { libc::setgid(NOBODY) };
    assert_eq!(done, 0);
    // SAFETY: as above.
    let done = unsafe { libc::setuid(NOBODY) };
    assert_eq!(done, 0);
}

#[test]
fn another_user_is_kept_out() {
    if let Some((_, args)) = role() {
        become_nobody();
        let name = &args[0];
        let results = [
            Channel::open(name).map(drop),
            SMALL.create(name).map(drop),
            SMALL.open_or_create(name).map(drop),
            Channel::unlink(name),
        ];
        for result in results {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::NotPermitted { .. }), "{error:?}");
            assert!(error.to_string().contains(name.as_str()), "{error}");
        }
        say("kept out");
        return;
    }
    if !has_paths(this_test!()) || !can_be_another_user(this_test!()) {
        return;
    }
    let _watchdog = Watchdog::new("another user", support::PATIENCE);
    let name = unique("theirs");
    let channel = SMALL.create(&name).unwrap();
    let (mut publisher, mut consumer) = (channel.publisher().unwrap(), channel.consumer().unwrap());
    let mut peer = Peer::start(this_test!(), "nobody", &[&name]);
    peer.expect("kept out");
    peer.succeed();
    works(&mut publisher, &mut consumer, 1);
    Channel::open(&name).unwrap();
    // A file of theirs that is no channel.
    let theirs = Foreign::file("file", b"");
    let mut peer = Peer::start(this_test!(), "nobody", &[&theirs.name]);
    peer.expect("kept out");
    peer.succeed();
    drop((publisher, consumer, channel));
    assert_nothing_left(&name);
}

#[test]
fn another_user_who_may_write_but_not_remove_leaves_the_channel_as_it_is() {
    if let Some((_, args)) = role() {
        become_nobody();
        let name = &args[0];
        let living = Channel::open(name).is_ok();
        say(living);
        for result in [Channel::unlink(name), SMALL.create(name).map(drop)] {
            match result.unwrap_err() {
                Error::NotPermitted { .. } => {}
                Error::InUse { .. } if args[1] == "living" => {}
                error => panic!("{error:?}"),
            }
        }
        say("refused");
        return;
    }
    if !has_paths(this_test!()) || !can_be_another_user(this_test!()) {
        return;
    }
    let _watchdog = Watchdog::new("may write", support::PATIENCE);
    let name = unique("shared");
    let channel = SMALL.mode(0o666).create(&name).unwrap();
    let mut publisher = channel.publisher().unwrap();
    publisher.publish(b"stands").unwrap();
    let test = this_test!();
    let attempt = |state: &str| {
        let mut peer = Peer::start(test, "nobody", &[&name, state]);
        peer.expect("true");
        peer.expect("refused");
        peer.succeed();
    };
    attempt("living");
    drop(Channel::open(&name).unwrap());
    drop((publisher, channel));
    attempt("left");
    // Their attempt must not have doomed it.
    let channel = Channel::open(&name).unwrap();
    let mut consumer = channel.consumer().unwrap();
    assert_eq!(consumer.consume().unwrap().to_vec().unwrap(), b"stands");
    works(&mut channel.publisher().unwrap(), &mut consumer, 1);
    drop((consumer, channel));
    assert_nothing_left(&name);
}

#[test]
fn a_channel_whose_semaphores_were_taken_away_is_refused_while_it_lives() {
    let _watchdog = Watchdog::new("no bells", support::PATIENCE);
    for bells in [&["p"][..], &["c"], &["p", "c"]] {
        let name = unique("bells");
        let channel = SMALL.wait(Wait::Park).create(&name).unwrap();
        if Intruder::new(&name).has_words() {
            println!("NOT RUN {}: there are no semaphores here", this_test!());
            return;
        }
        let mut publisher = channel.publisher().unwrap();
        let mut consumer = channel.consumer().unwrap();
        publisher.publish(b"stands").unwrap();
        for bell in bells {
            let bell = std::ffi::CString::new(format!("/{name}+{bell}")).unwrap();
            // SAFETY: a NUL-terminated name.
            assert_eq!(unsafe { libc::sem_unlink(bell.as_ptr()) }, 0);
        }
        let error = Channel::open(&name).unwrap_err();
        assert!(is_no_channel(&error) && error.to_string().contains(&name), "{error}");
        let error = SMALL.create(&name).unwrap_err();
        assert!(matches!(error, Error::InUse { .. }), "{error}");
        // Those who have them open are not disturbed.
        assert_eq!(consumer.consume().unwrap().to_vec().unwrap(), b"stands");
        works(&mut publisher, &mut consumer, 9);
        publisher.publish(b"left").unwrap();
        drop((publisher, consumer, channel));
        // Nobody lives: whoever comes makes new ones.
        let channel = Channel::open(&name).unwrap();
        let mut consumer = channel.consumer().unwrap();
        assert_eq!(consumer.consume().unwrap().to_vec().unwrap(), b"left");
        drop((consumer, channel));
        assert_nothing_left(&name);
    }
}

/// Somebody who rings an end's bell, whatever that is.
enum Ringer {
    Semaphore(usize),
    Word(Intruder, usize),
}

impl Ringer {
    fn new(name: &str, end: &str) -> Ringer {
        let region = Intruder::new(name);
        if region.has_words() {
            return Ringer::Word(region, BELLS[usize::from(end == "c")]);
        }
        let bell = std::ffi::CString::new(format!("/{name}+{end}")).unwrap();
        // SAFETY: a NUL-terminated name, and no O_CREAT.
        let bell = unsafe { libc::sem_open(bell.as_ptr(), 0) };
        assert_ne!(bell, libc::SEM_FAILED);
        Ringer::Semaphore(bell as usize)
    }

    fn ring(&self) {
        match self {
            // SAFETY: opened above, and not closed yet.
            Ringer::Semaphore(bell) => drop(unsafe { libc::sem_post(*bell as *mut libc::sem_t) }),
            Ringer::Word(region, at) => drop(region.word(*at).fetch_add(1, Relaxed)),
        }
    }
}

impl Drop for Ringer {
    fn drop(&mut self) {
        if let Ringer::Semaphore(bell) = self {
            // SAFETY: opened above, closed once.
            unsafe { libc::sem_close(*bell as *mut libc::sem_t) };
        }
    }
}

#[test]
fn tokens_that_nobody_owes_cost_a_look_each() {
    let _watchdog = Watchdog::new("tokens", support::PATIENCE);
    for wait in WAITS {
        let name = unique("tokens");
        let channel = SMALL.wait(wait).create(&name).unwrap();
        let mut publisher = channel.publisher().unwrap();
        let mut consumer = channel.consumer().unwrap();
        let bells = ["p", "c"].map(|end| Ringer::new(&name, end));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    bells.iter().for_each(Ringer::ring);
                }
            });
            let pulse = Pulse::new(HANGS);
            let limit = Duration::from_millis(60);
            let got = pulse.during("consume", || consumer.consume_timeout(limit).map(drop));
            assert!(matches!(got, Err(Error::TimedOut { .. })), "{got:?}");
            let got = pulse.during("call", || publisher.call_timeout(b"nobody", limit));
            assert!(matches!(got, Err(Error::TimedOut { .. })), "{got:?}");
            let answering = scope.spawn(move || {
                for _ in 0..500 {
                    let message = consumer.consume().unwrap();
                    let back = message.view().to_vec();
                    message.reply(&back).unwrap();
                }
                consumer
            });
            for number in 0..500 {
                let bytes = pattern(number, 40);
                assert_eq!(publisher.call(&bytes).unwrap(), bytes);
            }
            let consumer = answering.join().unwrap();
            stop.store(true, Relaxed);
            drop(consumer);
        });
        drop((publisher, channel));
        assert_nothing_left(&name);
    }
}

#[test]
fn a_bell_of_any_value_hangs_nobody() {
    use std::os::unix::fs::FileExt;
    let _watchdog = Watchdog::new("bells", support::PATIENCE);
    let mut dice = Dice::new(seed());
    let name = unique("bell");
    let channel = SMALL.wait(Wait::Park).create(&name).unwrap();
    let region = Intruder::new(&name);
    if !region.has_words() && !has_paths(this_test!()) {
        return;
    }
    let mut publisher = channel.publisher().unwrap();
    let colleague = Colleague::start(channel.consumer().unwrap(), name.clone());
    colleague.tell(Order::Wait(Wait::Park));
    colleague.wait();
    let spoil: Box<dyn Fn(usize, u64, u64)> = if region.has_words() {
        // The count, and what lies beside it on its line.
        Box::new(|end, at, value| region.word(BELLS[end] + 8 * at as usize).store(value, Relaxed))
    } else {
        let files = ["p", "c"].map(|bell| std::fs::File::options().write(true).open(bell_path(&name, bell)).unwrap());
        Box::new(move |end, at, value| {
            files[end].write_all_at(&value.to_ne_bytes()[..4], BELL_WORDS[at as usize]).unwrap();
        })
    };
    for number in 0..60 {
        for end in [0, 1] {
            let value = [0, u64::MAX, 1 << 31, dice.roll()][dice.below(4) as usize];
            spoil(end, dice.below(2), value);
        }
        colleague.check(&mut publisher, number);
    }
    drop(spoil);
    drop((publisher, colleague, channel));
}

#[test]
fn a_peer_that_leaves_its_lock_to_a_child_is_dead_all_the_same() {
    if let Some((role, args)) = role() {
        if role == "forks" {
            let channel = Channel::open(&args[0]).unwrap();
            let mut publisher = channel.publisher().unwrap();
            publisher.publish(b"last words").unwrap();
            // SAFETY: the child does nothing but wait for its end.
            let child = unsafe { libc::fork() };
            if child == 0 {
                loop {
                    // SAFETY: as above.
                    unsafe { libc::pause() };
                }
            }
            say(child);
            support::hear();
        }
        return;
    }
    let _watchdog = Watchdog::new("forks", support::PATIENCE);
    let name = unique("forks");
    let channel = SMALL.create(&name).unwrap();
    let mut consumer = channel.consumer().unwrap();
    let mut peer = Peer::start(this_test!(), "forks", &[&name]);
    let child: i32 = peer.heard().unwrap().parse().unwrap();
    peer.kill();
    assert_eq!(consumer.consume().unwrap().to_vec().unwrap(), b"last words");
    let died = consumer.consume().map(drop);
    assert!(matches!(died, Err(Error::PeerDied { .. })), "{died:?}");
    let mut publisher = channel.publisher().unwrap();
    works(&mut publisher, &mut consumer, 3);
    // SAFETY: the child told of above; it is init's by now.
    unsafe { libc::kill(child, libc::SIGKILL) };
    drop((publisher, consumer, channel));
    assert_nothing_left(&name);
}
