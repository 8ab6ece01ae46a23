//! The turn and the bell under loom: `turn.rs` and `bell::sleep` as they are shipped, through the interleavings and
//! the stale reads that the memory model allows.
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
//! each ordering in `turn.rs`, and one of them must fail.
//!
//! Each model also says which outcomes it has to have seen: one that lost its race for good would prove nothing.
//! Where the interleavings are too many, the preemptions of a running thread are bounded, which is said at the model;
//! loom's authors found two to three enough for most bugs.

use super::turn::{Content, REDELIVERED, Side, Turn, Word};
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

    fn post(&self) {
        let mut due = self.due.lock().unwrap();
        due.tokens += 1;
        assert!(due.tokens <= 2, "three tokens on one bell");
        self.rung.notify_one();
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
}

/// What two processes share.
struct Region {
    word: AtomicU64,
    taken: AtomicU64,
    replying: AtomicU64,
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
            payload: Cell::new(0),
            publisher_bell: Bell::new(),
            consumer_bell: Bell::new(),
            given: RefCell::new(Vec::new()),
        })
    }

    fn turn(&self) -> Turn<'_, AtomicU64> {
        Turn { word: &self.word, taken: &self.taken, replying: &self.replying }
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
    /// Whether this end's replies are longer than the capacity.
    replies_long: bool,
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
        End { region, side: Side::Publisher, owed: 0, knows_death: false, replies_long: false }
    }

    fn consumer(region: &Rc<Region>) -> Self {
        let region = Rc::clone(region);
        End { region, side: Side::Consumer, owed: 0, knows_death: false, replies_long: false }
    }

    /// Whoever takes this one's seat after its death: it knows nothing but what is shared.
    fn next(self) -> Self {
        let next = End { owed: 0, knows_death: true, ..self };
        let turn = next.region.turn();
        match next.side {
            Side::Publisher => turn.repair_publisher(),
            Side::Consumer => {
                if let Some(before) = turn.repair_consumer() {
                    next.ring_if_asleep(before);
                }
            }
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
    Orphaned,
    Aborted,
    Withdrawn,
    Unknown,
}

impl Sent {
    fn name(self) -> &'static str {
        match self {
            Sent::Answered => "answered",
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

    /// Calls with `value`; the reply comes in two rounds.
    fn call_for_long_reply(&mut self, value: u64, limit: Limit) -> Sent {
        let mine = self.wait(Limit::Never).unwrap();
        self.region.payload.set(value);
        self.pass(mine, Content::Call);
        let mine = match self.answer(limit) {
            Ok(word) => word,
            Err(sent) => return sent,
        };
        assert_eq!(mine.content(), Some(Content::ReplyStream));
        assert_eq!(self.region.payload.get(), value * 10);
        self.pass(mine, Content::Continue);
        match self.answer(limit) {
            Ok(word) => {
                assert_eq!(word.content(), Some(Content::ReplyMore));
                assert_eq!(self.region.payload.get(), value * 10 + 1);
                Sent::Answered
            }
            Err(sent) => sent,
        }
    }

    fn answer(&mut self, limit: Limit) -> Result<Word, Sent> {
        let word = match self.wait(limit) {
            Some(word) => word,
            None => match self.turn().abandon(Side::Publisher) {
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
                    self.pass(word, Content::Nothing);
                }
                Content::More | Content::Continue => {
                    self.pass(word, Content::Orphaned);
                }
                content => panic!("a consumer's turn with {content:?}"),
            }
        };
        let value = self.region.payload.get();
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
        self.region.payload.set(value * 10);
        if dies == Dies::Replying {
            return Err(Died);
        }
        if dies == Dies::Passed {
            self.pass_and_die(word, Content::Reply);
            return Err(Died);
        }
        if !self.replies_long {
            self.pass(word, Content::Reply);
            return Ok(Received::Whole(value));
        }
        if self.pass(word, Content::ReplyStream).is_abandoned() {
            return Ok(Received::Broken(value));
        }
        match self.continued(limit) {
            Some(word) if word.content() == Some(Content::Continue) => {
                self.region.payload.set(value * 10 + 1);
                self.pass(word, Content::ReplyMore);
                Ok(Received::Whole(value))
            }
            // The caller went on to something else, which stays for the next `consume`.
            _ => Ok(Received::Broken(value)),
        }
    }

    fn continued(&mut self, limit: Limit) -> Option<Word> {
        match self.wait(limit) {
            Some(word) => Some(word),
            None => match self.turn().abandon(Side::Consumer) {
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

#[test]
fn two_ends_that_sleep_never_miss_a_turn_and_never_share_one() {
    // At most three preemptions: without a bound, minutes.
    explore(3, || {
        let region = Region::new();
        let (publisher, consumer) = both(
            &region,
            |mut publisher| {
                for value in 1..=3 {
                    publisher.publish(value);
                }
                publisher.wait(Limit::Never);
                publisher
            },
            |consumer| consumer.serve_until(3, Dies::Never),
        );
        publisher.assert_settled();
        consumer.assert_settled();
        assert_eq!(region.given(), [(1, false), (2, false), (3, false)]);
    });
}

#[test]
fn one_exchange_is_right_in_every_interleaving() {
    explore(None, || {
        let region = Region::new();
        let (publisher, consumer) = both(
            &region,
            |mut publisher| {
                publisher.publish(1);
                publisher.wait(Limit::Never);
                publisher
            },
            |consumer| consumer.serve_until(1, Dies::Never),
        );
        publisher.assert_settled();
        consumer.assert_settled();
    });
}

#[test]
fn a_sleeper_that_gives_up_as_it_is_rung_eats_its_token_or_owes_it() {
    let outcomes = Outcomes::default();
    let seen = outcomes.clone();
    // At most three preemptions.
    explore(3, move || {
        let region = Region::new();
        let seen = seen.clone();
        let (publisher, consumer) = both(
            &region,
            |mut publisher| {
                publisher.publish(1);
                publisher.publish(2);
                publisher.wait(Limit::Never);
                publisher
            },
            move |mut consumer| {
                for value in 1..=2 {
                    seen.saw(match consumer.wait(Limit::Sleeps(1)) {
                        Some(_) if consumer.owed > 0 => "came, and owes",
                        Some(_) => "came",
                        None if consumer.owed > 0 => "gave up, and owes",
                        None => "gave up",
                    });
                    assert_eq!(consumer.serve(Dies::Never).unwrap(), value);
                }
                consumer
            },
        );
        publisher.assert_settled();
        consumer.assert_settled();
    });
    outcomes.were(&["came", "came, and owes", "gave up", "gave up, and owes"]);
}

#[test]
fn a_publisher_that_dies_before_it_rings_costs_a_tick_and_its_debt_does_no_harm() {
    let outcomes = Outcomes::default();
    let seen = outcomes.clone();
    // At most three preemptions.
    explore(3, move || {
        let region = Region::new();
        let seen = seen.clone();
        let (publisher, consumer) = both(
            &region,
            |mut publisher| {
                let mine = publisher.wait(Limit::Never).unwrap();
                publisher.region.payload.set(1);
                publisher.pass_and_die(mine, Content::Message);
                let mut publisher = publisher.next();
                publisher.publish(2);
                publisher.publish(3);
                publisher.wait(Limit::Never);
                publisher
            },
            move |mut consumer| {
                consumer.knows_death = true;
                for value in 1..=3 {
                    assert_eq!(consumer.serve(Dies::Never).unwrap(), value);
                    assert!(consumer.owed <= 2, "a debt that grows");
                }
                seen.saw(if consumer.owed > 0 { "owes" } else { "owes nothing" });
                consumer
            },
        );
        publisher.assert_settled();
        assert!(consumer.region.bell(Side::Consumer).tokens() <= consumer.owed);
        assert_eq!(region.given(), [(1, false), (2, false), (3, false)]);
    });
    outcomes.were(&["owes", "owes nothing"]);
}

#[test]
fn each_call_gets_its_own_reply() {
    // At most three preemptions.
    explore(3, || {
        let region = Region::new();
        let (publisher, consumer) = both(
            &region,
            |mut publisher| {
                assert_eq!(publisher.call(1, Limit::Never), Sent::Answered);
                assert_eq!(publisher.call(2, Limit::Never), Sent::Answered);
                publisher
            },
            |consumer| consumer.serve_until(2, Dies::Never),
        );
        publisher.assert_settled();
        consumer.assert_settled();
    });
}

/// A call that is given up while the consumer dies as `dies` says, and then one that is not.
fn abandon_a_call(preemptions: impl Into<Option<usize>>, dies: Dies, outcomes_must_be: &[&'static str]) {
    let outcomes = Outcomes::default();
    let seen = outcomes.clone();
    explore(preemptions, move || {
        let region = Region::new();
        let (publisher, consumer) = both(
            &region,
            |mut publisher| {
                let sent = publisher.call(1, Limit::Sleeps(1));
                seen.saw(sent.name());
                // Before anything else: what is withdrawn stays withdrawn.
                let was_given = region.was_given(1);
                assert!(!(sent == Sent::Withdrawn && was_given), "given, and then withdrawn");
                let again = publisher.call(2, Limit::Never);
                assert!(!(sent == Sent::Withdrawn && region.was_given(1)), "given all the same");
                assert_eq!(again, Sent::Answered);
                publisher
            },
            move |consumer| consumer.serve_until(2, dies),
        );
        if dies == Dies::Never {
            publisher.assert_settled();
            consumer.assert_settled();
        }
        let given = region.given();
        assert!(given.iter().filter(|given| **given == (1, false)).count() <= 1, "{given:?}");
        assert_eq!(given.iter().filter(|given| given.0 == 2).count(), 1, "{given:?}");
    });
    outcomes.were(outcomes_must_be);
}

#[test]
fn an_abandoned_call_is_withdrawn_for_certain_or_its_outcome_is_unknown() {
    // At most three preemptions.
    abandon_a_call(3, Dies::Never, &["answered", "unknown", "withdrawn"]);
}

#[test]
fn an_abandoned_call_that_a_dead_consumer_had_is_judged_alike() {
    // At most two preemptions.
    abandon_a_call(2, Dies::Asleep, &["answered", "unknown", "withdrawn"]);
    abandon_a_call(2, Dies::Seen, &["answered", "unknown", "withdrawn"]);
    abandon_a_call(2, Dies::Noting, &["answered", "unknown", "withdrawn"]);
    abandon_a_call(2, Dies::Taken, &["answered", "unknown", "withdrawn"]);
    abandon_a_call(2, Dies::Panicking, &["answered", "unknown", "withdrawn"]);
    abandon_a_call(2, Dies::Replying, &["orphaned", "unknown", "withdrawn"]);
}

#[test]
fn a_dead_consumer_leaves_its_message_marked_if_it_had_taken_it() {
    for (dies, is_marked) in [
        (Dies::Asleep, false),
        (Dies::Seen, false),
        (Dies::Noting, true),
        (Dies::Taken, true),
        (Dies::Panicking, true),
        (Dies::Passed, false),
    ] {
        // At most two preemptions.
        explore(2, move || {
            let region = Region::new();
            both(
                &region,
                |mut publisher| {
                    publisher.knows_death = true;
                    publisher.publish(1);
                    publisher.publish(2);
                    publisher.wait(Limit::Never);
                    publisher
                },
                move |consumer| consumer.serve_until(2, dies),
            );
            let mut expected = vec![(1, is_marked), (2, false)];
            if matches!(dies, Dies::Taken | Dies::Panicking) {
                expected.insert(0, (1, false));
            }
            assert_eq!(region.given(), expected, "died {dies:?}");
        });
    }
}

#[test]
fn a_dead_consumer_leaves_its_call_marked_or_orphaned_if_it_had_begun_to_answer() {
    for (dies, expected) in [
        (Dies::Noting, Sent::Answered),
        (Dies::Taken, Sent::Answered),
        (Dies::Replying, Sent::Orphaned),
        (Dies::Passed, Sent::Answered),
    ] {
        // At most two preemptions.
        explore(2, move || {
            let region = Region::new();
            both(
                &region,
                |mut publisher| {
                    publisher.knows_death = true;
                    assert_eq!(publisher.call(1, Limit::Never), expected);
                    assert_eq!(publisher.call(2, Limit::Never), Sent::Answered);
                    publisher
                },
                move |consumer| consumer.serve_until(2, dies),
            );
            let given = region.given();
            let marked = matches!(dies, Dies::Noting | Dies::Taken);
            assert_eq!(given.contains(&(1, true)), marked, "died {dies:?}: {given:?}");
            assert_eq!(given.iter().filter(|given| given.0 == 2).count(), 1);
        });
    }
}

#[test]
fn a_dead_consumer_orphans_the_long_message_that_it_had_begun() {
    for (dies, expected) in [
        (Dies::Seen, Sent::Answered),
        (Dies::Noting, Sent::Orphaned),
        (Dies::Taken, Sent::Orphaned),
        (Dies::Passed, Sent::Orphaned),
    ] {
        // At most three preemptions.
        explore(3, move || {
            let region = Region::new();
            both(
                &region,
                |mut publisher| {
                    publisher.knows_death = true;
                    assert_eq!(publisher.stream(1, Limit::Never), expected, "died {dies:?}");
                    publisher.publish(5);
                    publisher
                },
                move |consumer| consumer.serve_until(5, dies),
            );
        });
    }
}

#[test]
fn a_long_message_that_was_given_back_comes_again_marked_and_is_never_withdrawn() {
    let outcomes = Outcomes::default();
    let seen = outcomes.clone();
    // At most two preemptions.
    explore(2, move || {
        let region = Region::new();
        let seen = seen.clone();
        both(
            &region,
            |mut publisher| {
                let mine = publisher.wait(Limit::Never).unwrap();
                publisher.region.payload.set(1);
                publisher.pass(mine, Content::Stream);
                let mine = publisher.answer(Limit::Never).unwrap();
                assert_eq!(mine.content(), Some(Content::Again));
                publisher.region.payload.set(1);
                let before = publisher.turn().pass_marked(mine, Content::Stream, REDELIVERED);
                publisher.ring_if_asleep(before);
                match publisher.answer(Limit::Sleeps(1)) {
                    Ok(mine) => {
                        assert_eq!(mine.content(), Some(Content::Drained));
                        publisher.region.payload.set(2);
                        publisher.pass(mine, Content::More);
                        seen.saw("drained");
                    }
                    Err(sent) => {
                        assert_ne!(sent, Sent::Withdrawn, "a consumer had it");
                        seen.saw(sent.name());
                    }
                }
                publisher.publish(5);
                publisher
            },
            |mut consumer| {
                let mut dies = Dies::Panicking;
                while !matches!(consumer.serve_within(dies, Limit::Never), Ok(Received::Whole(5))) {
                    dies = Dies::Never;
                }
                consumer
            },
        );
        let given = region.given();
        assert_eq!((given[0], given.last()), ((1, false), Some(&(5, false))));
        assert!(given.len() == 2 || given[1] == (1, true), "{given:?}");
    });
    outcomes.were(&["drained", "unknown"]);
}

/// How far a publisher came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Call,
    /// A call, and it sleeps for the answer.
    CallAsleep,
    Round,
    Drained,
    LastRound,
}

/// A publisher dies having `left` something; the next one publishes.
fn replace_a_publisher(left: Left, outcomes_must_be: &[&'static str]) {
    let outcomes = Outcomes::default();
    let seen = outcomes.clone();
    // At most two preemptions: three take a quarter of a minute, and come to no other outcome.
    explore(2, move || {
        let region = Region::new();
        let seen = seen.clone();
        both(
            &region,
            |mut publisher| {
                let mine = publisher.wait(Limit::Never).unwrap();
                publisher.region.payload.set(1);
                match left {
                    Left::Call => publisher.pass_and_die(mine, Content::Call),
                    Left::Round => publisher.pass_and_die(mine, Content::Stream),
                    Left::CallAsleep => {
                        publisher.pass(mine, Content::Call);
                        publisher.turn().arm(Side::Publisher);
                    }
                    Left::Drained | Left::LastRound => {
                        publisher.pass(mine, Content::Stream);
                        let mine = publisher.wait(Limit::Never).unwrap();
                        if left == Left::LastRound {
                            publisher.region.payload.set(2);
                            publisher.pass_and_die(mine, Content::More);
                        }
                    }
                }
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

#[test]
fn a_new_publisher_gets_nothing_that_the_dead_one_asked_for() {
    replace_a_publisher(Left::Call, &["whole", "withdrawn"]);
    replace_a_publisher(Left::CallAsleep, &["whole", "withdrawn"]);
    replace_a_publisher(Left::Round, &["broken", "withdrawn"]);
    replace_a_publisher(Left::Drained, &["broken"]);
    replace_a_publisher(Left::LastRound, &["whole"]);
}

#[test]
fn a_new_publisher_leaves_a_dead_ones_message_in_place() {
    // At most three preemptions.
    explore(3, || {
        let region = Region::new();
        both(
            &region,
            |mut publisher| {
                publisher.publish(1);
                let mut publisher = publisher.next();
                publisher.publish(2);
                publisher
            },
            |consumer| consumer.serve_until(2, Dies::Never),
        );
        assert_eq!(region.given(), [(1, false), (2, false)]);
    });
}

/// A long message, and then a short one.
fn stream(publishers: Limit, consumers: Limit, outcomes_must_be: &[&'static str]) {
    let outcomes = Outcomes::default();
    let seen = outcomes.clone();
    // At most two preemptions: three took half a minute, and came to no other outcome.
    explore(2, move || {
        let region = Region::new();
        let sent = Rc::new(std::cell::Cell::new(Sent::Unknown));
        let also_sent = Rc::clone(&sent);
        let seen = seen.clone();
        let (publisher, consumer) = both(
            &region,
            |mut publisher| {
                sent.set(publisher.stream(1, publishers));
                publisher.publish(5);
                publisher.wait(Limit::Never);
                publisher
            },
            move |mut consumer| {
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

#[test]
fn a_long_message_comes_whole_or_both_ends_know_that_it_did_not() {
    stream(Limit::Never, Limit::Never, &["whole"]);
    stream(Limit::Never, Limit::Sleeps(1), &["whole", "the consumer gave up"]);
    let gave_up = ["withdrawn", "skipped", "the publisher gave up", "the publisher missed the end", "whole"];
    stream(Limit::Sleeps(1), Limit::Never, &gave_up);
    let both_gave_up =
        ["withdrawn", "skipped", "the publisher gave up", "the publisher missed the end", "the consumer gave up"];
    stream(Limit::Sleeps(1), Limit::Sleeps(1), &both_gave_up);
}

/// A call with a long reply, and then a message.
fn reply_long(publishers: Limit, consumers: Limit, outcomes_must_be: &[&'static str]) {
    let outcomes = Outcomes::default();
    let seen = outcomes.clone();
    // At most two preemptions: three took half a minute, and came to no other outcome.
    explore(2, move || {
        let region = Region::new();
        let (publisher, consumer) = both(
            &region,
            |mut publisher| {
                let sent = publisher.call_for_long_reply(1, publishers);
                seen.saw(sent.name());
                publisher.publish(5);
                publisher.wait(Limit::Never);
                assert!(!(sent == Sent::Withdrawn && region.was_given(1)));
                publisher
            },
            move |mut consumer| {
                consumer.replies_long = true;
                let last = Received::Whole(5);
                while consumer.serve_within(Dies::Never, consumers).unwrap() != last {}
                consumer
            },
        );
        publisher.assert_settled();
        consumer.assert_settled();
    });
    outcomes.were(outcomes_must_be);
}

#[test]
fn a_long_reply_comes_whole_or_the_caller_knows_that_it_did_not() {
    reply_long(Limit::Never, Limit::Never, &["answered"]);
    reply_long(Limit::Never, Limit::Sleeps(1), &["answered", "orphaned"]);
    reply_long(Limit::Sleeps(1), Limit::Never, &["answered", "unknown", "withdrawn"]);
}
