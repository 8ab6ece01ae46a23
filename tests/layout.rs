//! docs/layout.md, byte by byte: a peer that knows the page and not the library reads a channel, and answers on it.
//! `layout/blocks.rs` the same of block files.
#[path = "layout/blocks.rs"]
mod blocks;
#[path = "support/intruder.rs"]
mod intruder;
mod support;

use antiphon::{Channel, ChannelOptions, Error};
use intruder::Intruder;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::fence;
use std::time::Duration;
use support::{Watchdog, assert_nothing_left, unique};

const CAPACITY: usize = 128 * 1024;
const OPTIONS: ChannelOptions = ChannelOptions::new().capacity(CAPACITY);

/// What a peer in another language would have of the region.
struct Page(Intruder);

impl Page {
    fn bytes(&self, at: usize, len: usize) -> Vec<u8> {
        (at..at + len).map(|at| self.0.byte(at).load(Relaxed)).collect()
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.bytes(at, 4).try_into().unwrap())
    }

    fn u64(&self, at: usize) -> u64 {
        self.0.word(at).load(SeqCst)
    }

    fn put(&self, at: usize, bytes: &[u8]) {
        for (at, byte) in (at..).zip(bytes) {
            self.0.byte(at).store(*byte, Relaxed);
        }
    }

    fn is_zero(&self, range: std::ops::Range<usize>) -> bool {
        range.clone().all(|at| self.0.byte(at).load(Relaxed) == 0)
    }

    /// The turn's side, marks, content and step.
    fn turn(&self) -> [u64; 4] {
        let word = self.u64(8192);
        [word & 1, word >> 1 & 0b1111, word >> 8 & 0xff, word >> 16]
    }

    /// Passes the turn to `side` with `content`.
    fn pass(&self, side: u64, content: u64) {
        let step = (self.u64(8192) >> 16) + 1;
        self.0.word(8192).swap(step << 16 | content << 8 | side, SeqCst);
    }
}

#[test]
fn the_identity_is_where_the_page_says() {
    let name = unique("identity");
    let channel = OPTIONS.create(&name).unwrap();
    let page = Page(Intruder::new(&name));
    assert_eq!(page.0.len(), 64 * 1024 + CAPACITY);
    assert_eq!(page.u64(0), 0x6e6f_6870_6974_6e61);
    if cfg!(target_endian = "little") {
        assert_eq!(page.bytes(0, 8), b"antiphon");
    }
    assert_eq!(page.u32(8), 4, "layout version");
    assert_eq!(page.u32(12), size_of::<usize>() as u32);
    assert!((1..=5).contains(&page.u32(16)), "bells");
    if let Ok(wanted) = std::env::var("DARWIN_RULES_BELLS") {
        assert_eq!(page.u32(16).to_string(), wanted, "the bells that this system is to have");
    }
    assert_eq!(page.u32(20), 0, "flags");
    assert_eq!(page.u64(24), CAPACITY as u64);
    assert_ne!(page.u64(32), 0, "nonce");
    assert_eq!(page.u32(40), std::process::id());
    assert_eq!(page.u32(44), 0, "being removed");
    assert!(page.u64(64) > 1_700_000_000_000, "made at, in milliseconds since 1970");
    assert_eq!(page.u32(72), name.len() as u32);
    assert_eq!(page.u32(76), 0);
    assert_eq!(page.bytes(80, name.len()), name.as_bytes());
    assert!(page.is_zero(80 + name.len()..4096));
    drop(channel);
    assert_ne!(page.u32(44), 0, "the last one to leave has removed the names");
    assert_nothing_left(&name);

    let persistent = OPTIONS.persistent(true).create(&name).unwrap();
    assert_eq!(Page(Intruder::new(&name)).u32(20), 2, "flags");
    Channel::unlink(&name).unwrap();
    drop(persistent);
    let private = OPTIONS.private().unwrap();
    let page = Page(Intruder::new(private.name()));
    assert_eq!(page.u32(20), 1, "flags");
    let _publisher = private.publisher().unwrap();
    assert_eq!(page.u32(44), 0, "one end alone");
    let _consumer = private.consumer().unwrap();
    assert_eq!(page.u32(44), 1, "both ends are attached");
    assert_nothing_left(private.name());
}

#[test]
fn the_seats_are_where_the_page_says() {
    let name = unique("seats");
    let channel = OPTIONS.create(&name).unwrap();
    let page = Page(Intruder::new(&name));
    let seat = |number: usize| 4096 + 64 * number;
    let seated = |generation: u64| generation << 32 | 1;
    let left = |generation: u64| generation << 32 | 2;
    assert_eq!([0, 1, 2, 3].map(|number| page.u64(seat(number))), [0, 0, seated(1), 0]);
    let publisher = channel.publisher().unwrap();
    let consumer = channel.consumer().unwrap();
    for number in [0, 1, 2] {
        assert_eq!(page.u64(seat(number)), seated(1));
        // The same process everywhere, its maker, and on the same anchor.
        assert_eq!(page.u64(seat(number) + 8), page.u64(48), "start time");
        assert_eq!(page.u64(seat(number) + 16), page.u64(56), "pid namespace");
        assert_eq!(page.u64(seat(number) + 24), page.u64(seat(2) + 24), "anchor");
        assert!(page.u64(seat(number) + 32) >= page.u64(64), "since");
        assert_eq!(page.u32(seat(number) + 40), std::process::id());
        assert!(page.is_zero(seat(number) + 44..seat(number + 1)));
    }
    drop(publisher);
    assert_eq!([0, 1].map(|number| page.u64(seat(number))), [left(1), seated(1)]);
    let publisher = channel.publisher().unwrap();
    assert_eq!(page.u64(seat(0)), seated(2), "the next generation");
    assert!(page.is_zero(seat(3)..8192));
    drop((publisher, consumer, channel));
    assert_nothing_left(&name);
}

#[test]
fn messages_are_where_the_page_says() {
    let name = unique("messages");
    let channel = OPTIONS.create(&name).unwrap();
    let (mut publisher, mut consumer) = (channel.publisher().unwrap(), channel.consumer().unwrap());
    let page = Page(Intruder::new(&name));
    assert_eq!(page.turn(), [0, 0, 0, 1], "a new region: the publisher's turn, nothing there, step 1");

    let short: Vec<u8> = (1..=112).collect();
    publisher.publish(&short).unwrap();
    assert_eq!(page.turn(), [1, 0, 1, 2], "the consumer's turn, a message, one step on");
    assert_eq!(page.u64(8200), 112);
    assert_eq!(page.bytes(8208, 112), short);
    assert!(page.is_zero(8320..8448) && page.is_zero(65536..65536 + 4096));
    let message = consumer.consume().unwrap();
    assert_eq!(page.u64(8576), 2, "the consumer's note: the step it took");
    assert_eq!(page.u64(8576 + 8), 0, "and no reply begun");
    drop(message);
    assert_eq!(page.turn(), [0, 0, 0, 3], "acknowledged");

    let long = support::pattern(1, 113);
    publisher.publish(&long).unwrap();
    assert_eq!(page.u64(8200), 113);
    assert_eq!(page.bytes(65536, 113), long);
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _message = consumer.consume().unwrap();
        std::panic::resume_unwind(Box::new("with the message in hand"));
    }))
    .unwrap_err();
    assert_eq!(page.turn(), [1, 0b0100, 1, 4], "given back: redelivered");
    drop(consumer.consume().unwrap());

    let late = publisher.call_timeout(b"anyone?", Duration::from_millis(1));
    assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
    assert_eq!(page.turn(), [1, 0b1000, 2, 6], "a call, abandoned");
    assert!(consumer.try_consume().unwrap().is_none());
    assert_eq!(page.turn(), [0, 0, 0, 7], "skipped");
    assert!(page.is_zero(8704..9088) && page.is_zero(9344..65536), "reserved");
    drop((publisher, consumer, channel));
    assert_nothing_left(&name);
}

#[test]
fn the_counters_are_where_the_page_says() {
    let _watchdog = Watchdog::new("counters by the page", support::PATIENCE);
    let name = unique("counters");
    let channel = OPTIONS.create(&name).unwrap();
    let (mut publisher, mut consumer) = (channel.publisher().unwrap(), channel.consumer().unwrap());
    let page = Page(Intruder::new(&name));
    let counted = |line: usize| [0, 8, 16, 24].map(|at| page.u64(line + at));
    const PUBLISHER: usize = 9088;
    const CONSUMER: usize = 9216;

    publisher.publish(&[1; 7]).unwrap();
    assert!(publisher.try_publish(&[1]).is_ok_and(|was_published| !was_published));
    assert_eq!([counted(PUBLISHER), counted(CONSUMER)], [[1, 7, 0, 0], [0; 4]], "published");
    drop(consumer.consume().unwrap());
    assert_eq!(counted(CONSUMER), [1, 7, 0, 0], "consumed");
    let mut loan = publisher.loan(100).unwrap();
    loan.truncate(90);
    loan.publish().unwrap();
    drop(consumer.consume().unwrap());
    assert_eq!([counted(PUBLISHER), counted(CONSUMER)], [[2, 97, 0, 0]; 2], "a loan counts by what was published");

    // What has to wait for the other one: calls, answered and not, and what flows or comes in rounds.
    let long = support::pattern(6, 2 * CAPACITY);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            consumer.consume().unwrap().reply(&[2; 30]).unwrap();
            drop(consumer.consume().unwrap());
            let mut into = Vec::new();
            let message = consumer.consume_into(&mut into).unwrap();
            message.reply(&into).unwrap();
            consumer.consume().unwrap().to_vec().unwrap();
        });
        assert_eq!(publisher.call(&[1; 3]).unwrap().len(), 30);
        assert!(matches!(publisher.call(&[1; 20]), Err(Error::NoReply { .. })));
        assert_eq!(publisher.call(&long).unwrap(), long);
        publisher.publish(&long).unwrap();
    });
    let len = long.len() as u64;
    let all = [6, 97 + 23 + 2 * len, 2, 30 + len];
    assert_eq!([counted(PUBLISHER), counted(CONSUMER)], [all; 2], "four more messages, two of them answered");

    // A sleeper says since when, once it has slept for a tick, and no longer than it waits.
    let before = page.u64(CONSUMER + 32);
    assert_eq!(page.u64(CONSUMER + 40), 0, "does not wait");
    consumer.set_wait(antiphon::Wait::Park);
    std::thread::scope(|scope| {
        scope.spawn(|| drop(consumer.consume().unwrap()));
        while page.u64(CONSUMER + 40) == 0 {
            std::thread::yield_now();
        }
        assert_eq!(page.u64(CONSUMER + 32), before + 1, "sleeps, and is counted once however often it looks");
        let since = Duration::from_millis(page.u64(CONSUMER + 40));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert!(now.abs_diff(since) < support::PATIENCE, "{since:?} and {now:?}");
        publisher.publish(b"up").unwrap();
    });
    assert_eq!(page.u64(CONSUMER + 40), 0, "does not wait any more");
    drop((publisher, consumer, channel));
    assert_nothing_left(&name);
}

/// How many tokens an end's bell has; takes those of a semaphore.
fn tokens(page: &Page, name: &str, end: usize) -> u32 {
    if page.u32(16) == 5 {
        return page.u32([6144, 6272][end]);
    }
    let bell = std::ffi::CString::new(format!("/{name}+{}", ["p", "c"][end])).unwrap();
    // SAFETY: a NUL-terminated name, and no O_CREAT.
    let bell = unsafe { libc::sem_open(bell.as_ptr(), 0) };
    assert_ne!(bell, libc::SEM_FAILED);
    // SAFETY: just opened.
    let count = std::iter::from_fn(|| (unsafe { libc::sem_trywait(bell) } == 0).then_some(())).count();
    // SAFETY: opened above, closed once.
    unsafe { libc::sem_close(bell) };
    count as u32
}

#[test]
fn bells_are_rung_where_the_page_says() {
    let name = unique("rung");
    let channel = OPTIONS.create(&name).unwrap();
    let (mut publisher, mut consumer) = (channel.publisher().unwrap(), channel.consumer().unwrap());
    let page = Page(Intruder::new(&name));
    let sleeps = |end: usize| page.0.word(8192).fetch_or(1 << (1 + end), SeqCst);
    let count = || [0, 1].map(|end| tokens(&page, &name, end));
    assert_eq!(count(), [0, 0]);
    sleeps(1);
    publisher.publish(b"wake up").unwrap();
    assert_eq!(count(), [0, 1], "the consumer's");
    page.put(6272, &[0; 4]);
    sleeps(0);
    drop(consumer.consume().unwrap());
    assert_eq!(count(), [1, 0], "the publisher's");
    page.put(6144, &[0; 4]);
    // Nobody sleeps: nobody is rung for.
    publisher.publish(b"awake").unwrap();
    drop(consumer.consume().unwrap());
    assert_eq!(count(), [0, 0]);
    drop((publisher, consumer, channel));
    assert_nothing_left(&name);
}

/// How a peer by the page takes part in flows.
impl Page {
    const RING: usize = 8704;
    /// The publisher's and the consumer's.
    const PROGRESS: [usize; 2] = [8832, 8960];

    fn wait_for_turn(&self, side: u64) {
        // By looking alone: it never sleeps, and who sleeps opposite looks at every tick.
        while self.u64(8192) & 1 != side {
            std::thread::yield_now();
        }
    }

    /// Takes a message that can be withdrawn or recalled, and came with `word`.
    fn take(&self, word: u64) -> bool {
        self.0.word(8576).store(word >> 16, Relaxed);
        fence(SeqCst);
        let now = self.u64(8192);
        now >> 16 == word >> 16 && now & 0b11_0000 == 0
    }

    fn say_progress(&self, side: usize, bytes: u64) {
        self.0.word(Self::PROGRESS[side]).store(bytes, Release);
        fence(SeqCst);
        // It does not ring, so it leaves the other one's bit alone.
    }

    /// Copies out all that flows to `side`.
    fn drain(&self, side: usize) -> Vec<u8> {
        let (len, ring) = (self.u64(8200) as usize, self.u64(Self::RING) as usize);
        assert!(ring % 65536 == 0 && ring <= CAPACITY);
        let mut all = Vec::new();
        while all.len() < len {
            let filled = self.0.word(Self::PROGRESS[1 - side]).load(Acquire) as usize;
            assert!(filled <= len && filled - all.len() <= ring);
            for n in all.len()..filled {
                all.push(self.0.byte(65536 + n % ring).load(Relaxed));
            }
            self.say_progress(side, all.len() as u64);
        }
        all
    }

    /// Copies out all that comes to the consumer in rounds.
    fn rounds(&self) -> Vec<u8> {
        let len = self.u64(8200) as usize;
        let mut all = Vec::new();
        loop {
            all.extend(self.bytes(65536, CAPACITY.min(len - all.len())));
            if all.len() == len {
                return all;
            }
            self.pass(0, 8);
            self.wait_for_turn(1);
            assert_eq!(self.turn()[2], 5, "a further round");
        }
    }

    /// Passes the turn of `side` with `content`, for `bytes` that flow.
    fn flow(&self, side: usize, content: u64, bytes: &[u8]) {
        let ring = 65536;
        self.0.word(8200).store(bytes.len() as u64, Relaxed);
        self.0.word(Self::RING).store(ring as u64, Relaxed);
        for progress in Self::PROGRESS {
            self.0.word(progress).store(0, Relaxed);
        }
        self.pass(1 - side as u64, content);
        for (n, byte) in bytes.iter().enumerate() {
            while n as u64 - self.0.word(Self::PROGRESS[1 - side]).load(Acquire) >= ring as u64 {
                std::thread::yield_now();
            }
            self.0.byte(65536 + n % ring).store(*byte, Relaxed);
            if n % 5000 == 0 || n + 1 == bytes.len() {
                self.say_progress(side, n as u64 + 1);
            }
        }
    }
}

#[test]
fn a_flow_is_where_the_page_says() {
    let _watchdog = Watchdog::new("a flow by the page", support::PATIENCE);
    let name = unique("flow");
    let channel = OPTIONS.create(&name).unwrap();
    let mut publisher = channel.publisher().unwrap();
    let page = Page(Intruder::new(&name));
    // Said by nobody who sits there: it flows, nobody takes it, and it comes back to be put where it stands.
    page.put(8576 + 68, &1u32.to_ne_bytes());
    let bytes = support::pattern(4, CAPACITY);
    publisher.publish(&bytes).unwrap();
    assert_eq!(page.turn(), [1, 0, 1, 4], "flow, in place, message");
    assert_eq!([page.u64(8200), page.u64(8704)], [CAPACITY as u64; 2], "length and ring");
    assert_eq!([page.u64(8832), page.u64(8960)], [CAPACITY as u64, 0], "filled and drained");
    assert_eq!(page.bytes(65536, CAPACITY), bytes);
    assert!(page.is_zero(8712..8832) && page.is_zero(8840..8960) && page.is_zero(8968..9088));
    let mut consumer = channel.consumer().unwrap();
    assert_eq!(page.u32(8576 + 68), 0, "wants");
    drop(consumer.consume().unwrap());
    let late = consumer.consume_into_timeout(&mut Vec::new(), Duration::from_millis(1)).map(drop);
    assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
    assert_eq!(page.u32(8576 + 68), 0, "wants, only while it waits");
    drop((publisher, consumer, channel));
    assert_nothing_left(&name);
}

#[test]
fn a_peer_that_knows_the_page_alone_takes_what_flows_and_lets_its_reply_flow() {
    let _watchdog = Watchdog::new("flows by the page", support::PATIENCE);
    let name = unique("flows");
    let channel = OPTIONS.create(&name).unwrap();
    let (mut publisher, mut consumer) = (channel.publisher().unwrap(), channel.consumer().unwrap());
    let page = Page(Intruder::new(&name));
    let long = support::pattern(5, 3 * CAPACITY + 77);
    let reply: Vec<u8> = long.iter().rev().copied().collect();
    // The page's peer in the consumer's place.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let want = |wants: u32| page.put(8576 + 68, &wants.to_ne_bytes());
            want(1);
            let mut had = Vec::new();
            while had.len() < 2 {
                // Read once: it may be taken back at any moment, and something else may come.
                let word = page.u64(8192);
                let (side, content, step) = (word & 1, word >> 8 & 0xff, word >> 16);
                if side == 0 {
                    std::thread::yield_now();
                } else if !page.take(word) {
                    // It came too late, and gives it back, unless the publisher has done that.
                    let now = page.u64(8192);
                    if now >> 16 == step {
                        let next = (step + 1) << 16 | 10 << 8;
                        let _ = page.0.word(8192).compare_exchange(now, next, SeqCst, SeqCst);
                    }
                } else {
                    // Once it was too late for a flow, it comes in rounds.
                    had.push(if matches!(content, 6 | 7) { page.drain(1) } else { page.rounds() });
                    if matches!(content, 4 | 7) {
                        page.flow(1, 14, &reply);
                    } else {
                        page.pass(0, 0);
                    }
                }
            }
            want(0);
            assert!(had.iter().all(|all| *all == long));
        });
        publisher.publish(&long).unwrap();
        assert!(publisher.call(&long).unwrap() == reply);
    });
    // In the publisher's place; it knows that it is waited for.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            page.wait_for_turn(0);
            page.flow(0, 7, &long);
            page.wait_for_turn(0);
            assert_eq!(page.turn()[2], 14);
            assert!(page.drain(0) == reply);
        });
        let mut into = Vec::new();
        let message = consumer.consume_into(&mut into).unwrap();
        assert!(into == long && message.is_call());
        message.reply(&reply).unwrap();
    });
    drop((publisher, consumer, channel));
    assert_nothing_left(&name);
}

#[test]
fn a_peer_that_knows_the_page_alone_takes_messages_and_answers_calls() {
    let _watchdog = Watchdog::new("a peer by the page", support::PATIENCE);
    let name = unique("stranger");
    let mut publisher = Channel::create(&name).unwrap().publisher().unwrap();
    let page = Page(Intruder::new(&name));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (len, content) in [(5, 13), (70_000, 13)] {
                page.wait_for_turn(1);
                assert_eq!(page.turn()[2], 2, "a call");
                let asked = page.u64(8200) as usize;
                let at = if asked <= 112 { 8208 } else { 65536 };
                let reply: Vec<u8> = page.bytes(at, asked).iter().rev().cycle().take(len).copied().collect();
                page.put(if len <= 112 { 8208 } else { 65536 }, &reply);
                page.0.word(8200).store(len as u64, SeqCst);
                page.pass(0, content);
            }
            page.wait_for_turn(1);
            page.pass(0, 15);
        });
        assert_eq!(publisher.call(b"stray").unwrap(), b"yarts");
        let asked = support::pattern(2, 100_000);
        let reply = publisher.call(&asked).unwrap();
        assert!(reply.len() == 70_000 && reply.iter().eq(asked.iter().rev().take(70_000)));
        assert!(matches!(publisher.call(b"no answer"), Err(Error::NoReply { .. })));
    });
    drop(publisher);
    assert_nothing_left(&name);
}
