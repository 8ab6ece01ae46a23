//! Messages and replies that flow: the models of `progress.rs`, and of what in `turn.rs` serves only flows.
//!
//! The payload is a ring of one piece, so that the filler has to wait for room; a message or reply flows in two.

use super::super::progress::{InFlow, Until};
use super::super::turn::{ABANDONED, Content, Side, Word};
use super::{
    Died, Dies, End, Limit, Outcomes, Received, Region, Sent, both, end_a_consumer, explore, replace_a_publisher,
    send_long,
};
use crate::bell::{Awaited, Ring, sleep};
use crate::error::Delivered;
use loom::sync::atomic::AtomicU64;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Of a message or a reply.
pub(super) const PIECES: u64 = 2;
/// What the payload has room for.
const RING: u64 = 1;

/// As `FlowOf` in `flow.rs`. Who waits to be taken does so for no time at all, if there is a limit.
struct FlowOf<'e> {
    at: &'e InFlow<'e, AtomicU64>,
    limit: Limit,
    is_impatient: bool,
}

impl Awaited for FlowOf<'_> {
    type Got = Option<u64>;
    type Stop = Option<()>;

    fn look(&mut self) -> Option<Option<u64>> {
        self.at.look()
    }
    fn arm(&mut self) -> bool {
        self.at.progress.arm()
    }
    fn disarm(&mut self) -> bool {
        self.at.turn.disarm(self.at.progress.side)
    }
    fn inspect(&mut self) -> Option<Option<()>> {
        match &mut self.limit {
            Limit::Sleeps(left) if *left <= 1 => Some(Some(())),
            Limit::Sleeps(left) => {
                *left -= 1;
                None
            }
            Limit::Never => (self.is_impatient && self.at.is_untaken()).then_some(None),
        }
    }
    fn patience(&self) -> Duration {
        let is_short = matches!(self.limit, Limit::Sleeps(_)) || self.is_impatient && self.at.is_untaken();
        if is_short { Duration::ZERO } else { Duration::MAX }
    }
}

/// Why a flow stopped before its end.
#[derive(Debug)]
enum Cut {
    Stopped,
    Ended,
}

/// As `flow.rs` has it.
impl End {
    fn begin_flow(&self, mine: Word, content: Content, written: u64) -> (u64, Word) {
        let step = mine.next_step();
        let progress = self.region.progress(self.side, step);
        progress.mine.store(written, Relaxed);
        progress.others.store(0, Relaxed);
        (step, self.pass(mine, content))
    }

    fn wait_in_flow(&mut self, step: u64, until: Until, limit: Limit) -> Result<Option<u64>, Cut> {
        let region = Rc::clone(&self.region);
        let at = InFlow { progress: region.progress(self.side, step), turn: region.turn(), until };
        loop {
            let mut awaited = FlowOf { at: &at, limit, is_impatient: self.is_impatient };
            let got = sleep(region.bell(self.side), &mut self.owed, &mut awaited);
            assert!(self.owed <= 1 || self.knows_death, "a debt that grows");
            match got {
                Ok(got) => return Ok(got),
                Err(_) if self.is_impatient && at.is_untaken() => region.turn().recall(step),
                Err(Some(())) => return Err(Cut::Stopped),
                Err(None) => {}
            }
        }
    }

    fn advance(&self, step: u64, pieces: u64) {
        if self.region.progress(self.side, step).advance(pieces) {
            self.region.bell(self.side.other()).post();
        }
    }

    /// Fills in what is behind `filled` pieces, and no more than `most`.
    fn fill(&mut self, step: u64, value: u64, mut filled: u64, most: u64, limit: Limit) -> Result<bool, Cut> {
        while filled < most {
            if filled >= RING {
                match self.wait_in_flow(step, Until::Room(filled + 1 - RING), limit)? {
                    Some(drained) => assert!(drained <= filled, "another flow's progress"),
                    None => return Ok(false),
                }
            }
            self.region.payload.set(value + filled);
            filled += 1;
            self.advance(step, filled);
        }
        Ok(true)
    }

    /// Drains no more than `most` pieces, and returns the first.
    fn drain(&mut self, step: u64, most: u64, limit: Limit) -> Result<u64, Cut> {
        let mut value = 0;
        for drained in 0..most {
            match self.wait_in_flow(step, Until::Bytes(drained + 1), limit)? {
                Some(filled) => assert!(filled <= PIECES && filled - drained <= RING, "another flow's progress"),
                None => return Err(Cut::Ended),
            }
            let piece = self.region.payload.get();
            self.region.payload.set(piece); // As `copy::take` does.
            if drained == 0 {
                value = piece;
            }
            assert_eq!(piece, value + drained, "another piece");
            if PIECES - drained > RING {
                self.advance(step, drained + 1);
            }
        }
        Ok(value)
    }
}

/// As `publisher.rs` has it.
impl End {
    /// Lets `value` and `value + 1` flow. Where nobody takes that, or wants it in place, publishes `value` instead.
    fn flow(&mut self, value: u64, limit: Limit) -> Sent {
        let mine = self.wait(Limit::Never).unwrap();
        self.region.payload.set(value);
        let (step, _) = self.begin_flow(mine, Content::Flow, 1);
        let filled = self.fill(step, value, 1, PIECES, limit);
        let is_taken = filled.and_then(|_| self.wait_in_flow(step, Until::Taken, limit));
        let word = match is_taken {
            Ok(_) => self.answer(limit),
            Err(_) => match self.abandon() {
                Ok(_) => self.answer(limit),
                Err(Delivered::No) => return Sent::Withdrawn,
                Err(Delivered::Unknown) => return Sent::Unknown,
            },
        };
        match word {
            Ok(mine) if mine.content() == Some(Content::InPlace) => {
                self.region.payload.set(value);
                self.pass(mine, Content::Message);
                Sent::InPlace
            }
            Ok(word) => {
                assert_eq!(word.content(), Some(Content::Nothing));
                Sent::Answered
            }
            Err(sent) => sent,
        }
    }

    /// Calls with `value`; the reply flows.
    fn call_for_long_reply(&mut self, value: u64, limit: Limit) -> Sent {
        let mine = self.wait(Limit::Never).unwrap();
        self.region.payload.set(value);
        self.pass(mine, Content::Call);
        let word = match self.answer(limit) {
            Ok(word) => word,
            Err(sent) => return sent,
        };
        assert_eq!(word.content(), Some(Content::ReplyFlow));
        match self.drain(word.step(), PIECES, limit) {
            Ok(reply) => {
                assert_eq!(reply, value * 10, "another call's reply");
                Sent::Answered
            }
            Err(Cut::Ended) => Sent::Aborted,
            Err(Cut::Stopped) => {
                self.stop_reply(word);
                Sent::Unknown
            }
        }
    }

    fn stop_reply(&self, word: Word) {
        let before = self.turn().pass_marked(word, Content::Aborted, ABANDONED);
        self.ring_if_asleep(before);
    }
}

/// As `consumer.rs` has it.
impl End {
    pub(super) fn receive_flow(&mut self, word: Word, dies: Dies, limit: Limit) -> Result<Received, Died> {
        if dies == Dies::Taken {
            return Err(Died);
        }
        if dies == Dies::Flowing {
            let _ = self.drain(word.step(), 1, limit);
            return Err(Died);
        }
        match self.drain(word.step(), PIECES, limit) {
            Ok(_) if dies == Dies::Flowed => Err(Died),
            Ok(value) => {
                self.pass(word, Content::Nothing);
                Ok(Received::Whole(value))
            }
            Err(_) => {
                self.pass(word, Content::Aborted);
                Ok(Received::Broken(1))
            }
        }
    }

    pub(super) fn reply_by_flow(
        &mut self,
        word: Word,
        value: u64,
        dies: Dies,
        limit: Limit,
    ) -> Result<Received, Died> {
        let (step, before) = self.begin_flow(word, Content::ReplyFlow, 0);
        if dies == Dies::Passed {
            return Err(Died);
        }
        if before.is_abandoned() {
            return Ok(Received::Broken(value));
        }
        if dies == Dies::Replying {
            self.region.payload.set(value * 10);
            return Err(Died);
        }
        let most = if dies == Dies::Flowing { 1 } else { PIECES };
        match self.fill(step, value * 10, 0, most, limit) {
            _ if matches!(dies, Dies::Flowing | Dies::Flowed) => Err(Died),
            Ok(true) => Ok(Received::Whole(value)),
            // The caller went on to something else, which stays for the next `consume`.
            Ok(false) => Ok(Received::Broken(value)),
            Err(_) => {
                let _ = self.abandon();
                Ok(Received::Broken(value))
            }
        }
    }
}

#[test]
fn what_flows_comes_whole_and_wakes_whoever_sleeps_for_it() {
    // At most three preemptions.
    send_long(3, End::flow, (Limit::Never, Limit::Never), |_| {}, &["whole"]);
}

#[test]
fn what_flows_comes_whole_or_both_ends_know_that_it_did_not() {
    // At most two preemptions, all of them.
    send_long(2, End::flow, (Limit::Never, Limit::Sleeps(1)), |_| {}, &["the consumer gave up", "whole"]);
    let gave_up = ["withdrawn", "skipped", "the publisher gave up", "the publisher missed the end", "whole"];
    send_long(2, End::flow, (Limit::Sleeps(1), Limit::Never), |_| {}, &gave_up);
}

#[test]
fn what_nobody_takes_comes_back_or_flows_and_never_both() {
    // At most two preemptions.
    let impatient = |end: &mut End| end.is_impatient = true;
    send_long(2, End::flow, (Limit::Never, Limit::Never), impatient, &["in place", "whole"]);
}

#[test]
fn who_wants_it_in_place_has_it_whole() {
    // At most two preemptions.
    send_long(2, End::flow, (Limit::Never, Limit::Never), |end| end.reads_in_place = true, &["in place"]);
    let impatient = |end: &mut End| (end.reads_in_place, end.is_impatient) = (true, true);
    send_long(2, End::flow, (Limit::Never, Limit::Never), impatient, &["in place"]);
}

#[test]
fn a_dead_consumer_orphans_what_flowed_to_it() {
    for (dies, expected) in [
        (Dies::Seen, Sent::Answered),
        (Dies::Noting, Sent::Orphaned),
        (Dies::Taken, Sent::Orphaned),
        (Dies::Flowing, Sent::Orphaned),
        (Dies::Flowed, Sent::Orphaned),
    ] {
        // At most two preemptions.
        end_a_consumer(2, End::flow, false, dies, expected);
    }
}

/// A publisher dies when it has filled so many pieces, asleep or not.
fn replace_a_filler(filled: u64, is_asleep: bool, outcomes_must_be: &[&'static str]) {
    let first = move |publisher: &mut End| {
        let mine = publisher.wait(Limit::Never).unwrap();
        publisher.region.payload.set(1);
        let (step, _) = publisher.begin_flow(mine, Content::Flow, 1);
        let _ = publisher.fill(step, 1, 1, filled, Limit::Never);
        if is_asleep {
            publisher.region.progress(Side::Publisher, step).arm();
        }
    };
    replace_a_publisher(first, outcomes_must_be);
}

#[test]
fn a_new_publisher_waits_until_what_the_dead_one_let_flow_has_ended() {
    replace_a_filler(1, false, &["broken", "withdrawn"]);
    replace_a_filler(1, true, &["broken", "withdrawn"]);
    replace_a_filler(2, false, &["whole"]); // Nothing of it was missing.
}

/// A call whose reply flows, and then a message.
fn reply_long(publishers: Limit, consumers: Limit, outcomes_must_be: &[&'static str]) {
    let outcomes = Outcomes::default();
    let seen = outcomes.clone();
    // At most two preemptions.
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
fn a_reply_that_flows_comes_whole_or_the_caller_knows_that_it_did_not() {
    reply_long(Limit::Never, Limit::Never, &["answered"]);
    reply_long(Limit::Never, Limit::Sleeps(1), &["aborted", "answered"]);
    reply_long(Limit::Sleeps(1), Limit::Never, &["answered", "unknown", "withdrawn"]);
}

#[test]
fn a_caller_learns_that_who_let_its_reply_flow_has_died() {
    for (dies, expected) in [
        (Dies::Passed, Sent::Aborted),
        (Dies::Replying, Sent::Aborted),
        (Dies::Flowing, Sent::Aborted),
        (Dies::Flowed, Sent::Answered),
    ] {
        // At most two preemptions.
        end_a_consumer(2, End::call_for_long_reply, true, dies, expected);
    }
}

#[test]
fn a_new_publisher_writes_nothing_while_a_dead_ones_reply_flows() {
    for drained in 0..=PIECES {
        // At most two preemptions.
        explore(2, move || {
            let region = Region::new();
            both(
                &region,
                move |mut publisher| {
                    let mine = publisher.wait(Limit::Never).unwrap();
                    publisher.region.payload.set(1);
                    publisher.pass(mine, Content::Call);
                    let word = publisher.wait(Limit::Never).unwrap();
                    let _ = publisher.drain(word.step(), drained, Limit::Never);
                    let mut publisher = publisher.next();
                    publisher.publish(5);
                    publisher
                },
                |mut consumer| {
                    consumer.replies_long = true;
                    consumer.knows_death = true;
                    while consumer.serve_within(Dies::Never, Limit::Never).unwrap() != Received::Whole(5) {}
                    consumer
                },
            );
        });
    }
}
