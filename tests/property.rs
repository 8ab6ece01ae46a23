//! Any sequence of messages arrives byte for byte: drawn by a seed, sent and read in every way.
//!
//! `ANTIPHON_SEED=<seed>` repeats a run, `ANTIPHON_ROUNDS=<n>` makes it n times as long.
mod support;

use antiphon::{Channel, ChannelOptions, Consumer, Error, Message, Publisher, Wait};
use std::io::{IoSlice, Read, Write};
use std::time::Duration;
use support::{Dice, Peer, Watchdog, assert_nothing_left, number_from, pattern, role, seed, unique};

const WAITS: [Wait; 3] = [Wait::Spin, Wait::Park, Wait::Adaptive];
const KIB: usize = 1024;
/// Where in the common bytes a message may start.
const OFFSETS: u64 = 64 * 1024;

/// How a message is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Sent {
    Publish,
    Vectored,
    Loan,
    Try,
    Call,
    CallInto,
    LoanCall,
}

/// How it is read.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Got {
    InPlace,
    ByRead,
    ToVec,
    Into,
    /// Some by `Read`, and the rest at once.
    Mixed,
    /// Not at all.
    Unread,
}

/// One message, as the seed has it: both processes draw the same.
#[derive(Debug)]
struct Step {
    sent: Sent,
    got: Got,
    /// Taken by `try_consume`.
    tries: bool,
    start: usize,
    len: usize,
    reply_start: usize,
    reply_len: usize,
    dice: u64,
}

impl Step {
    fn draw(dice: &mut Dice, capacity: usize) -> Step {
        let len = draw_len(dice, capacity);
        let fits = len <= capacity;
        let sent = match dice.below(7) {
            2 if fits => Sent::Loan,
            3 if fits => Sent::Try,
            6 if fits => Sent::LoanCall,
            0 | 2 | 6 => Sent::Publish,
            1 | 3 => Sent::Vectored,
            4 => Sent::Call,
            _ => Sent::CallInto,
        };
        let got = [Got::InPlace, Got::ByRead, Got::ToVec, Got::Into, Got::Mixed, Got::Into];
        let got = if dice.below(20) == 0 { Got::Unread } else { got[dice.below(6) as usize] };
        Step {
            sent,
            got,
            tries: dice.below(4) == 0,
            start: dice.below(OFFSETS) as usize,
            len,
            reply_start: dice.below(OFFSETS) as usize,
            reply_len: draw_len(dice, capacity),
            dice: dice.roll(),
        }
    }

    fn is_call(&self) -> bool {
        matches!(self.sent, Sent::Call | Sent::CallInto | Sent::LoanCall)
    }
}

/// Lengths from 0 to three capacities and one byte, the edges more often than the rest.
fn draw_len(dice: &mut Dice, capacity: usize) -> usize {
    let edges = [
        0,
        1,
        7,
        8,
        9,
        111,
        112,
        113,
        4096,
        capacity - 1,
        capacity,
        capacity + 1,
        2 * capacity - 1,
        2 * capacity,
        2 * capacity + 1,
        3 * capacity,
        3 * capacity + 1,
    ];
    match dice.below(5) {
        0 | 1 => edges[dice.below(edges.len() as u64) as usize],
        2 => dice.below(300) as usize,
        3 => dice.below(capacity as u64 + 1) as usize,
        _ => dice.below(3 * capacity as u64 + 2) as usize,
    }
}

/// The bytes that both processes cut their messages from.
fn common(seed: u64, capacity: usize) -> Vec<u8> {
    pattern(seed, 3 * capacity + 1 + OFFSETS as usize)
}

fn assert_same(got: &[u8], wanted: &[u8], step: &Step) {
    assert_eq!(got.len(), wanted.len(), "the length of {step:?}");
    if got != wanted {
        let at = got.iter().zip(wanted).position(|(got, wanted)| got != wanted);
        panic!("byte {at:?} of {step:?}");
    }
}

fn send(publisher: &mut Publisher, capacity: usize, bytes: &[u8], step: &Step, reply: &mut Vec<u8>) {
    let mut dice = Dice::new(step.dice);
    match step.sent {
        Sent::Publish => publisher.publish(bytes).unwrap(),
        Sent::Vectored => {
            let mut cuts: Vec<_> = (0..dice.below(6)).map(|_| dice.below(bytes.len() as u64 + 1) as usize).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| IoSlice::new(&bytes[cut[0]..cut[1]])).collect();
            publisher.publish_vectored(&pieces).unwrap();
        }
        Sent::Loan | Sent::LoanCall => {
            // Sometimes more is lent than is published.
            let more = [0, 1, 200][dice.below(3) as usize];
            let lent = (bytes.len() + more).min(capacity);
            let mut loan = publisher.loan(lent).unwrap();
            if dice.below(2) == 0 {
                loan.write_all(bytes).unwrap();
            } else {
                let middle = dice.below(bytes.len() as u64 + 1) as usize;
                assert_eq!(loan.copy_from(middle, &bytes[middle..]), bytes.len() - middle);
                assert_eq!(loan.copy_from(0, &bytes[..middle]), middle);
            }
            loan.truncate(bytes.len());
            if step.sent == Sent::Loan {
                loan.publish().unwrap();
            } else {
                *reply = loan.call().unwrap();
            }
        }
        Sent::Try => {
            while !publisher.try_publish(bytes).unwrap() {
                std::thread::yield_now();
            }
        }
        Sent::Call => *reply = publisher.call(bytes).unwrap(),
        Sent::CallInto => publisher.call_into(bytes, reply).unwrap(),
    }
}

fn receive(consumer: &mut Consumer, bytes: &[u8], step: &Step, reply: &[u8], into: &mut Vec<u8>) {
    if step.got == Got::Into {
        let message = consumer.consume_into(into).unwrap();
        assert_eq!((message.len(), message.is_call()), (bytes.len(), step.is_call()), "{step:?}");
        assert!(!message.redelivered());
        assert_same(into, bytes, step);
        if step.is_call() {
            message.reply(reply).unwrap();
        }
        return;
    }
    if step.tries {
        loop {
            match consumer.try_consume().unwrap() {
                Some(message) => return take(message, bytes, step, reply, into),
                None => std::thread::yield_now(),
            }
        }
    }
    take(consumer.consume().unwrap(), bytes, step, reply, into);
}

fn take(mut message: Message<'_>, bytes: &[u8], step: &Step, reply: &[u8], into: &mut Vec<u8>) {
    let mut dice = Dice::new(step.dice);
    assert_eq!((message.len(), message.is_call()), (bytes.len(), step.is_call()), "{step:?}");
    assert!(!message.redelivered());
    match step.got {
        Got::InPlace => {
            into.clear();
            loop {
                let view = message.view();
                let middle = dice.below(view.len() as u64 + 1) as usize;
                let (mut front, mut back) = (vec![0; middle], vec![0; view.len() - middle + 1]);
                assert_eq!(view.copy_to(0, &mut front), front.len());
                assert_eq!(view.copy_to(middle, &mut back), back.len() - 1);
                into.extend_from_slice(&front);
                into.extend_from_slice(&back[..back.len() - 1]);
                if !message.next_round().unwrap() {
                    break;
                }
            }
            assert_same(into, bytes, step);
        }
        Got::ByRead => {
            into.clear();
            into.resize(bytes.len() + 1, 0);
            let mut done = 0;
            loop {
                let most = into.len() - done;
                let order = dice.below(24);
                let now = 1 + dice.below(1 << order) as usize;
                match message.read(&mut into[done..done + now.min(most)]).unwrap() {
                    0 => break,
                    read => done += read,
                }
                assert!(done <= bytes.len(), "more than was sent: {step:?}");
            }
            assert_same(&into[..done], bytes, step);
        }
        Got::Mixed => {
            let mut front = vec![0; dice.below(bytes.len() as u64 + 1) as usize];
            message.read_exact(&mut front).unwrap();
            assert_same(&front, &bytes[..front.len()], step);
            message.copy_into(into).unwrap();
            assert_same(into, &bytes[front.len()..], step);
        }
        Got::ToVec if !step.is_call() => {
            assert_same(&message.to_vec().unwrap(), bytes, step);
            return;
        }
        Got::ToVec | Got::Into => {
            message.copy_into(into).unwrap();
            assert_same(into, bytes, step);
        }
        Got::Unread => {}
    }
    if step.is_call() {
        message.reply(reply).unwrap();
    }
}

fn wait_of(word: &str) -> Wait {
    WAITS[word.parse::<usize>().unwrap()]
}

/// The consumer's side of every test here.
fn answer(args: &[String]) {
    let [name, seed, count, wait] = args else { panic!("{args:?}") };
    let (seed, count): (u64, u64) = (seed.parse().unwrap(), count.parse().unwrap());
    let channel = ChannelOptions::new().wait(wait_of(wait)).open(name).unwrap();
    let capacity = channel.capacity();
    let mut consumer = channel.consumer().unwrap();
    let common = common(seed, capacity);
    let mut dice = Dice::new(seed);
    let mut into = Vec::new();
    for _ in 0..count {
        let step = Step::draw(&mut dice, capacity);
        let bytes = &common[step.start..step.start + step.len];
        let reply = &common[step.reply_start..step.reply_start + step.reply_len];
        receive(&mut consumer, bytes, &step, reply, &mut into);
    }
    match consumer.consume() {
        Err(Error::Disconnected { .. }) => {}
        other => panic!("something after the last message: {other:?}"),
    }
}

/// `count` messages from this process to another.
fn exchange(test: &str, capacity: usize, waits: (usize, usize), count: u64, seed: u64) {
    let count = 8 * count * number_from("ANTIPHON_ROUNDS").unwrap_or(1);
    println!(
        "{} KiB, {:?} to {:?}, {count} messages, ANTIPHON_SEED={seed}",
        capacity / KIB,
        WAITS[waits.0],
        WAITS[waits.1],
    );
    let name = unique("p");
    let options = ChannelOptions::new().capacity(capacity).wait(WAITS[waits.0]);
    let mut publisher = options.create(&name).unwrap().publisher().unwrap();
    let words = [seed.to_string(), count.to_string(), waits.1.to_string()];
    let mut peer = Peer::start(test, "answer", &[&name, &words[0], &words[1], &words[2]]);
    let common = common(seed, capacity);
    let mut dice = Dice::new(seed);
    let mut reply = Vec::new();
    for _ in 0..count {
        let step = Step::draw(&mut dice, capacity);
        let bytes = &common[step.start..step.start + step.len];
        send(&mut publisher, capacity, bytes, &step, &mut reply);
        if step.is_call() {
            let wanted = &common[step.reply_start..step.reply_start + step.reply_len];
            assert_same(&reply, wanted, &step);
        }
    }
    drop(publisher);
    peer.succeed();
    assert_nothing_left(&name);
}

/// A longer run has more time.
fn watchdog(what: &'static str) -> Watchdog {
    let rounds = number_from("ANTIPHON_ROUNDS").unwrap_or(1) as u32;
    Watchdog::new(what, Duration::from_secs(120) * rounds)
}

#[test]
fn any_sequence_of_messages_arrives_whichever_way_either_side_waits() {
    if let Some((_, args)) = role() {
        return answer(&args);
    }
    let _watchdog = watchdog("every pair of waits");
    for publisher in 0..WAITS.len() {
        for consumer in 0..WAITS.len() {
            let seed = seed();
            exchange(this_test!(), 64 * KIB, (publisher, consumer), 800, seed);
        }
    }
}

#[test]
fn any_sequence_of_messages_arrives_at_every_capacity() {
    if let Some((_, args)) = role() {
        return answer(&args);
    }
    let _watchdog = watchdog("every capacity");
    for (capacity, count) in [(1024 * KIB, 300), (4096 * KIB, 120), (16384 * KIB, 30)] {
        let seed = seed();
        let waits = ((seed % 3) as usize, (seed / 3 % 3) as usize);
        exchange(this_test!(), capacity, waits, count, seed);
    }
}

#[test]
fn every_edge_length_arrives_both_ways() {
    if let Some((_, args)) = role() {
        let mut consumer = Channel::open(&args[0]).unwrap().consumer().unwrap();
        let mut into = Vec::new();
        loop {
            match consumer.consume_into(&mut into) {
                Ok(message) => message.reply(&into).unwrap(),
                Err(Error::Disconnected { .. }) => return,
                Err(error) => panic!("{error}"),
            }
        }
    }
    let _watchdog = watchdog("edges");
    let capacity = 64 * KIB;
    let name = unique("edge");
    let options = ChannelOptions::new().capacity(capacity);
    let mut publisher = options.create(&name).unwrap().publisher().unwrap();
    let mut peer = Peer::start(this_test!(), "echo", &[&name]);
    let common = common(7, capacity);
    let around = |middle: usize| (middle.saturating_sub(9)..=middle + 9).collect::<Vec<_>>();
    let middles = [0, 64, 112, 128, 4096, capacity, 2 * capacity, 3 * capacity - 8];
    for len in middles.into_iter().flat_map(around) {
        assert!(publisher.call(&common[..len]).unwrap() == common[..len], "{len} bytes");
    }
    drop(publisher);
    peer.succeed();
    assert_nothing_left(&name);
}
