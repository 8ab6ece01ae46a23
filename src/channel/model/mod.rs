//! The turn, progress and the bell under loom: `turn.rs`, `progress.rs` and `bell::sleep` as they are shipped, through
//! the interleavings and the stale reads that the memory model allows. Here stand the two ends; the models themselves
//! are in `turn.rs` (whole messages, calls, rounds) and `flow.rs` (what flows).
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release --lib model
//! ```
//!
//! What stands in for the rest: the payload is a loom cell, so that two owners at once, or an owner that has not
//! acquired what the other wrote, fail. A bell counts its tokens, and a sleep without a limit ends by a token or by a
//! *tick* that the model gives, by nothing else: a lost wake-up is a deadlock, which loom reports. A sleep with a
//! limit takes a token that is there, or gives up at once; loom puts everything that may happen in a longer one
//! before it. A process that dies is a function that returns; whoever takes its seat goes on in the same thread,
//! which orders the two as the seat's lock does. The two ends do in words of the turn what `publisher.rs` and
//! `consumer.rs` do.
//!
//! Loom does not let a load see a store that comes later in the other thread (load buffering), and gives a fence no
//! place of its own: it happens with the operation before it. `ci/weaken` shows what these models see: it weakens
//! each ordering in `turn.rs` and `progress.rs`, and one of them must fail.
//!
//! Each model also says which outcomes it has to have seen: one that lost its race for good would prove nothing.
//! Where the interleavings are too many, the preemptions of a running thread are bounded, which is said at the model;
//! loom's authors found two to three enough for most bugs.

mod flow;
mod turn;

use super::progress::Progress;
use super::turn::{Content, Side, Turn, Word, wake};
use crate::bell::{Awaited, Ring, sleep};
use crate::error::Delivered;
use loom::cell::Cell;
use loom::sync::atomic::{AtomicU64, fence};
use loom::sync::{Condvar, Mutex};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl crate::sys::cell::Cell for AtomicU64 {
    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }
    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
    }
    fn swap(&self, value: u64, order: Ordering) -> u64 {
        self.swap(value, order)
    }
    fn compare_exchange(&self, current: u64, new: u64, order: Ordering, failed: Ordering) -> Result<u64, u64> {
        self.compare_exchange(current, new, order, failed)
    }
    fn fetch_or(&self, bits: u64, order: Ordering) -> u64 {
        self.fetch_or(bits, order)
    }
    fn fetch_and(&self, bits: u64, order: Ordering) -> u64 {
        self.fetch_and(bits, order)
    }
    fn fence(order: Ordering) {
        fence(order);
    }
}

/// A semaphore.
struct Bell {
    due: Mutex<Due>,
    rung: Condvar,
}

#[derive(Default)]
struct Due {
    tokens: u32,
    /// Sleeps that are to end without a token.
    ticks: u32,
}

impl Bell {
    fn new() -> Self {
        Bell { due: Mutex::new(Due::default()), rung: Condvar::new() }
    }

    /// Time goes on: the sleeper, or the next one to sleep, wakes without a token.
    fn tick(&self) {
        self.due.lock().unwrap().ticks += 1;
        self.rung.notify_one();
    }

    fn tokens(&self) -> u32 {
        self.due.lock().unwrap().tokens
    }
}

impl Ring for Bell {
    fn take_within(&self, limit: Duration) -> bool {
        let mut due = self.due.lock().unwrap();
        loop {
            if due.tokens > 0 {
                due.tokens -= 1;
                return true;
            }
            if limit.is_zero() {
                return false;
            }
            if due.ticks > 0 {
                due.ticks -= 1;
                return false;
            }
            due = self.rung.wait(due).unwrap();
        }
    }

    fn try_take(&self) -> bool {
        self.take_within(Duration::ZERO)
    }

    fn post(&self) {
        let mut due = self.due.lock().unwrap();
        due.tokens += 1;
        assert!(due.tokens <= 2, "three tokens on one bell");
        self.rung.notify_one();
    }
}

/// What two processes share.
struct Region {
    word: AtomicU64,
    taken: AtomicU64,
    replying: AtomicU64,
    publisher_progress: AtomicU64,
    consumer_progress: AtomicU64,
    /// All of a message, a round, or the ring.
    payload: Cell<u64>,
    publisher_bell: Bell,
    consumer_bell: Bell,
    /// What consumers were given, and whether it was marked. The test's own, not shared memory.
    given: RefCell<Vec<(u64, bool)>>,
}

impl Region {
    fn new() -> Rc<Self> {
        Rc::new(Region {
            word: AtomicU64::new(Word::FIRST.0),
            taken: AtomicU64::new(0),
            replying: AtomicU64::new(0),
            publisher_progress: AtomicU64::new(0),
            consumer_progress: AtomicU64::new(0),
            payload: Cell::new(0),
            publisher_bell: Bell::new(),
            consumer_bell: Bell::new(),
            given: RefCell::new(Vec::new()),
        })
    }

    fn turn(&self) -> Turn<'_, AtomicU64> {
        Turn { word: &self.word, taken: &self.taken, replying: &self.replying }
    }

    fn progress(&self, side: Side, step: u64) -> Progress<'_, AtomicU64> {
        let (mine, others) = match side {
            Side::Publisher => (&self.publisher_progress, &self.consumer_progress),
            Side::Consumer => (&self.consumer_progress, &self.publisher_progress),
        };
        Progress { word: &self.word, mine, others, side, step }
    }

    fn bell(&self, side: Side) -> &Bell {
        match side {
            Side::Publisher => &self.publisher_bell,
            Side::Consumer => &self.consumer_bell,
        }
    }

    fn given(&self) -> Vec<(u64, bool)> {
        self.given.borrow().clone()
    }

    fn was_given(&self, value: u64) -> bool {
        self.given.borrow().iter().any(|&(given, _)| given == value)
    }
}

/// One end; see `end.rs`.
struct End {
    region: Rc<Region>,
    side: Side,
    owed: u32,
    /// Whether a token may be due to this end for good, or come unasked: somebody died.
    knows_death: bool,
    /// Whether this end's replies flow.
    replies_long: bool,
    /// Whether this end consumes in place, so that nothing can flow to it.
    reads_in_place: bool,
    /// Whether this end takes back at once what nobody takes.
    is_impatient: bool,
}

#[derive(Clone, Copy)]
enum Limit {
    Never,
    /// The time is up after so many sleeps.
    Sleeps(u32),
}

/// As `TurnOf` in `end.rs`.
struct TurnOf<'e> {
    region: &'e Region,
    side: Side,
    limit: Limit,
}

impl Awaited for TurnOf<'_> {
    type Got = Word;
    type Stop = ();

    fn look(&mut self) -> Option<Word> {
        self.region.turn().look(self.side).ok()
    }
    fn arm(&mut self) -> bool {
        self.region.turn().arm(self.side)
    }
    fn disarm(&mut self) -> bool {
        self.region.turn().disarm(self.side)
    }
    fn inspect(&mut self) -> Option<()> {
        match &mut self.limit {
            Limit::Never => None,
            Limit::Sleeps(left) => {
                *left -= 1;
                (*left == 0).then_some(())
            }
        }
    }
    fn patience(&self) -> Duration {
        match self.limit {
            Limit::Never => Duration::MAX,
            Limit::Sleeps(_) => Duration::ZERO,
        }
    }
}

impl End {
    fn publisher(region: &Rc<Region>) -> Self {
        let region = Rc::clone(region);
        End {
            region,
            side: Side::Publisher,
            owed: 0,
            knows_death: false,
            replies_long: false,
            reads_in_place: false,
            is_impatient: false,
        }
    }

    fn consumer(region: &Rc<Region>) -> Self {
        let region = Rc::clone(region);
        End {
            region,
            side: Side::Consumer,
            owed: 0,
            knows_death: false,
            replies_long: false,
            reads_in_place: false,
            is_impatient: false,
        }
    }

    /// Whoever takes this one's seat after its death: it knows nothing but what is shared.
    fn next(self) -> Self {
        let next = End { owed: 0, knows_death: true, ..self };
        let (region, turn) = (&next.region, next.region.turn());
        let before = match next.side {
            Side::Publisher => turn.repair_publisher(region.progress(Side::Publisher, 0).theirs() >= flow::PIECES),
            Side::Consumer => turn.repair_consumer(),
        };
        match before {
            Some(before) => next.ring_if_asleep(before),
            None => next.wake(),
        }
        next
    }

    fn turn(&self) -> Turn<'_, AtomicU64> {
        self.region.turn()
    }

    fn wait(&mut self, limit: Limit) -> Option<Word> {
        let mut awaited = TurnOf { region: &self.region, side: self.side, limit };
        let got = sleep(self.region.bell(self.side), &mut self.owed, &mut awaited);
        assert!(self.owed <= 1 || self.knows_death, "a debt that grows");
        got.ok()
    }

    fn pass(&self, mine: Word, content: Content) -> Word {
        let before = self.turn().pass(mine, content);
        self.ring_if_asleep(before);
        before
    }

    fn ring_if_asleep(&self, before: Word) {
        if before.has_sleeping(self.side.other()) {
            self.region.bell(self.side.other()).post();
        }
    }

    /// Rings for the other end, where it sleeps in the middle of a flow.
    fn wake(&self) {
        if wake(&self.region.word, self.side.other()) {
            self.region.bell(self.side.other()).post();
        }
    }

    fn abandon(&self) -> Result<Word, Delivered> {
        let abandoned = self.turn().abandon(self.side);
        self.wake();
        abandoned
    }

    /// Passes, and dies before it posts.
    fn pass_and_die(&self, mine: Word, content: Content) {
        let before = self.turn().pass(mine, content);
        if before.has_sleeping(self.side.other()) {
            self.region.bell(self.side.other()).tick();
        }
    }

    /// With both ends still: a token is there for every debt, and no other one.
    fn assert_settled(&self) {
        assert_eq!(self.region.bell(self.side).tokens(), self.owed, "tokens and debts differ");
    }
}

/// What became of something that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Answered,
    /// Whole, since it could not flow.
    InPlace,
    Orphaned,
    Aborted,
    Withdrawn,
    Unknown,
}

impl Sent {
    fn name(self) -> &'static str {
        match self {
            Sent::Answered => "answered",
            Sent::InPlace => "in place",
            Sent::Orphaned => "orphaned",
            Sent::Aborted => "aborted",
            Sent::Withdrawn => "withdrawn",
            Sent::Unknown => "unknown",
        }
    }
}

/// As `publisher.rs` has it. A reply is ten times what was asked.
impl End {
    fn publish(&mut self, value: u64) {
        let mine = self.wait(Limit::Never).unwrap();
        self.region.payload.set(value);
        self.pass(mine, Content::Message);
    }

    fn call(&mut self, value: u64, limit: Limit) -> Sent {
        let mine = self.wait(Limit::Never).unwrap();
        self.region.payload.set(value);
        self.pass(mine, Content::Call);
        match self.answer(limit) {
            Ok(word) => {
                assert_eq!(word.content(), Some(Content::Reply));
                assert_eq!(self.region.payload.get(), value * 10, "another call's reply");
                Sent::Answered
            }
            Err(sent) => sent,
        }
    }

    /// Sends `value` and `value + 1` in two rounds.
    fn stream(&mut self, value: u64, limit: Limit) -> Sent {
        let mine = self.wait(Limit::Never).unwrap();
        self.region.payload.set(value);
        self.pass(mine, Content::Stream);
        let mine = match self.answer(limit) {
            Ok(word) => word,
            Err(sent) => return sent,
        };
        assert_eq!(mine.content(), Some(Content::Drained));
        self.region.payload.set(value + 1);
        if self.pass(mine, Content::More).is_abandoned() {
            return Sent::Aborted;
        }
        match self.answer(limit) {
            Ok(word) => {
                assert_eq!(word.content(), Some(Content::Nothing));
                Sent::Answered
            }
            Err(sent) => sent,
        }
    }

    fn answer(&mut self, limit: Limit) -> Result<Word, Sent> {
        let word = match self.wait(limit) {
            Some(word) => word,
            None => match self.abandon() {
                Ok(word) => word,
                Err(Delivered::No) => return Err(Sent::Withdrawn),
                Err(Delivered::Unknown) => return Err(Sent::Unknown),
            },
        };
        match word.content() {
            Some(Content::Aborted) => Err(Sent::Aborted),
            Some(Content::Orphaned) => Err(Sent::Orphaned),
            _ => Ok(word),
        }
    }
}

/// Where a consumer dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dies {
    Never,
    /// Armed: its bit stays behind, and a token comes that nobody waits for.
    Asleep,
    Seen,
    /// Between the note and the second look.
    Noting,
    Taken,
    /// Not it, but its caller's code: the message is given back, and the same end goes on.
    Panicking,
    /// With its reply half written.
    Replying,
    /// With one piece drained, or of its flowing reply filled.
    Flowing,
    /// With all drained, or all of its reply filled.
    Flowed,
    Passed,
}

/// A consumer that died.
#[derive(Debug)]
struct Died;

/// What became of something that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Received {
    Whole(u64),
    Broken(u64),
}

/// As `consumer.rs` has it.
impl End {
    /// Consumes, and replies where that is asked for.
    fn serve(&mut self, dies: Dies) -> Result<u64, Died> {
        match self.serve_within(dies, Limit::Never)? {
            Received::Whole(value) => Ok(value),
            Received::Broken(value) => panic!("broken off in {value}"),
        }
    }

    /// `limit` is for what is waited for in the middle of something long.
    fn serve_within(&mut self, dies: Dies, limit: Limit) -> Result<Received, Died> {
        let (word, content) = loop {
            if dies == Dies::Asleep {
                self.turn().arm(self.side);
                return Err(Died);
            }
            let word = self.wait(Limit::Never).unwrap();
            if dies == Dies::Seen {
                return Err(Died);
            }
            if dies == Dies::Noting {
                self.turn().note(word);
                return Err(Died);
            }
            match word.content().unwrap() {
                Content::Message => {
                    self.turn().note(word);
                    break (word, Content::Message);
                }
                content @ (Content::Call | Content::Stream) => {
                    if self.turn().take(word) {
                        break (word, content);
                    }
                    self.skip(word);
                }
                content @ Content::Flow => {
                    if !self.turn().take(word) {
                        self.skip(word);
                    } else if self.reads_in_place {
                        self.pass(word, Content::InPlace);
                    } else {
                        break (word, content);
                    }
                }
                Content::More | Content::Aborted => {
                    self.pass(word, Content::Orphaned);
                }
                content => panic!("a consumer's turn with {content:?}"),
            }
        };
        if content == Content::Flow {
            return self.receive_flow(word, dies, limit);
        }
        let value = self.region.payload.get();
        self.region.payload.set(value); // As `copy::take` does.
        self.region.given.borrow_mut().push((value, word.is_redelivered()));
        // Whatever came instead of the first is served, or the model would have no end.
        let dies = if value == 1 { dies } else { Dies::Never };
        if dies == Dies::Taken {
            return Err(Died);
        }
        if dies == Dies::Panicking {
            if content == Content::Stream {
                self.pass(word, Content::Again);
            } else {
                self.turn().give_back();
            }
            return Err(Died);
        }
        match content {
            Content::Stream if dies == Dies::Passed => {
                self.pass_and_die(word, Content::Drained);
                Err(Died)
            }
            Content::Stream => Ok(self.receive_rest(word, value, limit)),
            Content::Call => self.reply(word, value, dies, limit),
            _ => {
                if dies == Dies::Passed {
                    self.pass_and_die(word, Content::Nothing);
                    return Err(Died);
                }
                self.pass(word, Content::Nothing);
                Ok(Received::Whole(value))
            }
        }
    }

    fn receive_rest(&mut self, word: Word, value: u64, limit: Limit) -> Received {
        if self.pass(word, Content::Drained).is_abandoned() {
            return Received::Broken(value);
        }
        match self.continued(limit) {
            Some(word) if word.content() == Some(Content::More) => {
                assert_eq!(self.region.payload.get(), value + 1, "another message's round");
                self.pass(word, Content::Nothing);
                Received::Whole(value)
            }
            // What another publisher sent stays for the next `consume`.
            _ => Received::Broken(value),
        }
    }

    fn reply(&mut self, word: Word, value: u64, dies: Dies, limit: Limit) -> Result<Received, Died> {
        self.turn().begin_reply(word);
        if self.replies_long {
            return self.reply_by_flow(word, value, dies, limit);
        }
        self.region.payload.set(value * 10);
        if dies == Dies::Replying {
            return Err(Died);
        }
        if dies == Dies::Passed {
            self.pass_and_die(word, Content::Reply);
            return Err(Died);
        }
        self.pass(word, Content::Reply);
        Ok(Received::Whole(value))
    }

    fn skip(&self, word: Word) {
        if let Some(before) = self.turn().skip(word) {
            self.ring_if_asleep(before);
        }
    }

    fn continued(&mut self, limit: Limit) -> Option<Word> {
        match self.wait(limit) {
            Some(word) => Some(word),
            None => match self.abandon() {
                Ok(word) => Some(word),
                Err(Delivered::No) | Err(Delivered::Unknown) => None,
            },
        }
    }

    /// Serves until `last`, and dies once, in the first.
    fn serve_until(mut self, last: u64, dies: Dies) -> Self {
        let mut dies = dies;
        loop {
            match self.serve(dies) {
                Ok(value) if value == last => return self,
                Ok(_) => dies = Dies::Never,
                Err(Died) => {
                    if dies != Dies::Panicking {
                        self = self.next();
                    }
                    dies = Dies::Never;
                }
            }
        }
    }
}

/// The outcomes that a model came to, in all its interleavings together.
#[derive(Clone, Default)]
struct Outcomes(Arc<std::sync::Mutex<BTreeSet<&'static str>>>);

impl Outcomes {
    fn saw(&self, outcome: &'static str) {
        self.0.lock().unwrap().insert(outcome);
    }

    fn were(&self, expected: &[&'static str]) {
        assert_eq!(*self.0.lock().unwrap(), expected.iter().copied().collect::<BTreeSet<_>>());
    }
}

/// Runs `model` through its interleavings, with at most so many preemptions of a running thread.
fn explore(preemptions: impl Into<Option<usize>>, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions.into();
    builder.check(model);
}

/// The ends in two threads; returns them when both are done.
fn both(
    region: &Rc<Region>,
    publisher: impl FnOnce(End) -> End,
    consumer: impl FnOnce(End) -> End + 'static,
) -> (End, End) {
    let theirs = End::consumer(region);
    let thread = loom::thread::spawn(move || consumer(theirs));
    let publisher = publisher(End::publisher(region));
    (publisher, thread.join().unwrap())
}

/// A way to send something long, `value` and what is next to it.
type Way = fn(&mut End, u64, Limit) -> Sent;

/// Something long, and then a short message. The ends are as `prepare` makes them.
fn send_long(
    preemptions: usize,
    send: Way,
    (publishers, consumers): (Limit, Limit),
    prepare: impl Fn(&mut End) + Clone + Send + Sync + 'static,
    outcomes_must_be: &[&'static str],
) {
    let outcomes = Outcomes::default();
    let seen = outcomes.clone();
    explore(preemptions, move || {
        let region = Region::new();
        let sent = Rc::new(std::cell::Cell::new(Sent::Unknown));
        let also_sent = Rc::clone(&sent);
        let (seen, prepare) = (seen.clone(), prepare.clone());
        let prepare_consumer = prepare.clone();
        let (publisher, consumer) = both(
            &region,
            |mut publisher| {
                prepare(&mut publisher);
                sent.set(send(&mut publisher, 1, publishers));
                publisher.publish(5);
                publisher.wait(Limit::Never);
                publisher
            },
            move |mut consumer| {
                prepare_consumer(&mut consumer);
                let mut received = None;
                loop {
                    match consumer.serve_within(Dies::Never, consumers).unwrap() {
                        Received::Whole(5) => break,
                        first => assert_eq!(received.replace(first), None, "twice"),
                    }
                }
                // The publisher has sent what comes after, so it knows.
                seen.saw(match (also_sent.get(), received) {
                    (Sent::Answered, Some(Received::Whole(1))) => "whole",
                    (Sent::InPlace, Some(Received::Whole(1))) => "in place",
                    (Sent::Aborted, Some(Received::Broken(1))) => "the consumer gave up",
                    (Sent::Withdrawn, None) => "withdrawn",
                    (Sent::Unknown, None) => "skipped",
                    (Sent::Unknown, Some(Received::Broken(1))) => "the publisher gave up",
                    (Sent::Unknown, Some(Received::Whole(1))) => "the publisher missed the end",
                    ends => panic!("the ends disagree: {ends:?}"),
                });
                consumer
            },
        );
        publisher.assert_settled();
        consumer.assert_settled();
    });
    outcomes.were(outcomes_must_be);
}

/// A consumer dies with something long, or with the call that a long reply is to answer.
fn end_a_consumer(preemptions: usize, send: Way, replies_long: bool, dies: Dies, expected: Sent) {
    explore(preemptions, move || {
        let region = Region::new();
        both(
            &region,
            |mut publisher| {
                publisher.knows_death = true;
                assert_eq!(send(&mut publisher, 1, Limit::Never), expected, "died {dies:?}");
                publisher.publish(5);
                publisher
            },
            move |mut consumer| {
                consumer.replies_long = replies_long;
                consumer.serve_until(5, dies)
            },
        );
    });
}

/// A publisher dies when it has done what `first` does; the next one calls.
fn replace_a_publisher(first: impl Fn(&mut End) + Send + Sync + 'static, outcomes_must_be: &[&'static str]) {
    let outcomes = Outcomes::default();
    let seen = outcomes.clone();
    // At most two preemptions: three take a quarter of a minute, and come to no other outcome.
    explore(2, move || {
        let region = Region::new();
        let seen = seen.clone();
        both(
            &region,
            |mut publisher| {
                first(&mut publisher);
                let mut publisher = publisher.next();
                assert_eq!(publisher.call(5, Limit::Never), Sent::Answered);
                publisher
            },
            move |mut consumer| {
                consumer.knows_death = true;
                let mut received = "withdrawn";
                loop {
                    match consumer.serve_within(Dies::Never, Limit::Never).unwrap() {
                        Received::Whole(5) => break,
                        Received::Whole(_) => received = "whole",
                        Received::Broken(_) => received = "broken",
                    }
                }
                seen.saw(received);
                consumer
            },
        );
        assert_eq!(region.given().last(), Some(&(5, false)));
    });
    outcomes.were(outcomes_must_be);
}
