//! A hostile peer in a flow: its progress, its ring, its turn, its standing still.

use crate::intruder::{Intruder, LENGTH, NOTES, PROGRESS, Pulse, RING, TURN, WANTS};
use crate::support::{self, Watchdog, assert_nothing_left, unique};
use crate::{
    ABANDONED, ABORTED, AGAIN, CALL, CALL_FLOW, CAPACITY, FLOW, HANGS, IN_PLACE, ORPHANED, RECALLED, REPLY_FLOW,
    SMALL, WAITS, while_another_does, works,
};
use antiphon::{Consumer, Delivered, Error, Publisher, Wait};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU8, fence};
use std::time::Duration;

const LONG: usize = 3 * CAPACITY;
const FULL: u64 = CAPACITY as u64;
/// For what ends by itself, and for what does not.
const AMPLE: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(5);
const ORPHAN: u64 = 1 << 6;
const SLEEP: u64 = 0b110;

const PUBLISHER: usize = 0;
const CONSUMER: usize = 1;

/// A channel with both ends, and somebody who can play either.
struct Stage {
    name: String,
    publisher: Publisher,
    consumer: Consumer,
    intruder: Intruder,
}

impl Stage {
    fn new(wait: Wait) -> Stage {
        let name = unique("flow");
        let channel = SMALL.wait(wait).create(&name).unwrap();
        let (publisher, consumer) = (channel.publisher().unwrap(), channel.consumer().unwrap());
        let intruder = Intruder::new(&name);
        Stage { name, publisher, consumer, intruder }
    }

    /// All is right again, and so both ends work.
    fn end(mut self) {
        let word = self.intruder.turn(0, 0, 0);
        self.intruder.word(TURN).store(word, Release);
        self.intruder.byte(WANTS).store(0, Relaxed);
        works(&mut self.publisher, &mut self.consumer, 77);
        let name = self.name;
        drop((self.publisher, self.consumer));
        assert_nothing_left(&name);
    }
}

/// Begins a flow of `length` bytes in the place of the end whose turn `seen` is. False where that was given up.
fn begin(intruder: &Intruder, seen: u64, content: u64, (length, ring, filled): (u64, u64, u64)) -> bool {
    let side = (seen & 1) as usize;
    intruder.word(LENGTH).store(length, Relaxed);
    intruder.word(RING).store(ring, Relaxed);
    intruder.word(PROGRESS[side]).store(filled, Relaxed);
    intruder.word(PROGRESS[1 - side]).store(0, Relaxed);
    let word = intruder.turn(1 - side as u64, content, 0);
    seen & ABANDONED == 0 && intruder.word(TURN).compare_exchange(seen, word, AcqRel, Relaxed).is_ok()
}

/// How far one who plays an end has come.
const WAITS_FOR_ITS_TURN: u8 = 0;
const HAS_BEGUN: u8 = 1;
const CAME_TOO_LATE: u8 = 2;

fn is_corrupt<T>(got: &Result<T, Error>) -> bool {
    matches!(got, Err(Error::Corrupt { .. }))
}

fn is_late<T>(got: &Result<T, Error>) -> bool {
    matches!(got, Err(Error::TimedOut { .. }))
}

/// Has `consumer` take what flows to it, or `publisher` the reply that does.
fn drain(stage: &mut Stage, drainer: usize, limit: Duration) -> Result<Vec<u8>, Error> {
    let mut into = Vec::new();
    if drainer == CONSUMER {
        return stage.consumer.consume_into_timeout(&mut into, limit).map(drop).map(|()| into);
    }
    stage.publisher.call_into_timeout(b"?", &mut into, limit).map(|()| into)
}

/// Runs `drain` against a flow that begins with these: length, ring, filled. Then does `more`, again and again, with the
/// bytes drained.
fn drain_against(
    wait: Wait,
    drainer: usize,
    numbers: (u64, u64, u64),
    limit: Duration,
    more: impl Fn(&Intruder, u64) + Sync,
    judge: impl Fn(Result<Vec<u8>, Error>),
) {
    loop {
        let mut stage = Stage::new(wait);
        let intruder = Intruder::new(&stage.name);
        let content = if drainer == CONSUMER { FLOW } else { REPLY_FLOW };
        let state = AtomicU8::new(WAITS_FOR_ITS_TURN);
        let play = || {
            let word = intruder.word(TURN).load(Acquire);
            if word & 1 == drainer as u64 {
                if state.load(Relaxed) == HAS_BEGUN {
                    more(&intruder, intruder.word(PROGRESS[drainer]).load(Acquire));
                }
            } else if state.load(Relaxed) == WAITS_FOR_ITS_TURN {
                // A turn that nobody waits for any more would make it too late.
                let has_begun = begin(&intruder, word, content, numbers);
                if has_begun || word & ABANDONED != 0 {
                    state.store(if has_begun { HAS_BEGUN } else { CAME_TOO_LATE }, Relaxed);
                }
            }
        };
        let got = while_another_does(play, |pulse| pulse.during("drain", || drain(&mut stage, drainer, limit)));
        let has_begun = state.load(Relaxed) == HAS_BEGUN;
        if has_begun {
            judge(got);
        }
        stage.end();
        if has_begun {
            return;
        }
    }
}

#[test]
fn a_flow_through_an_impossible_ring_is_corrupt() {
    let _watchdog = Watchdog::new("rings", support::PATIENCE);
    for wait in WAITS {
        for drainer in [PUBLISHER, CONSUMER] {
            for ring in [0, 1, 4096, FULL - 1, FULL + 1, 2 * FULL, 1 << 32, 1 << 63, u64::MAX] {
                let judge = |got| assert!(is_corrupt(&got), "{got:?} through {ring}");
                drain_against(wait, drainer, (LONG as u64, ring, 1), AMPLE, |_, _| (), judge);
            }
        }
    }
}

#[test]
fn a_filler_that_says_more_than_can_be_is_corrupt() {
    let _watchdog = Watchdog::new("fillers", support::PATIENCE);
    for wait in WAITS {
        for drainer in [PUBLISHER, CONSUMER] {
            // Beyond the ring, beyond the length, beyond everything; from the beginning, and once some was drained.
            for said in [FULL + 1, LONG as u64, LONG as u64 + 1, 1 << 63, u64::MAX] {
                let judge = |got| assert!(is_corrupt(&got), "{got:?} of {said}");
                drain_against(wait, drainer, (LONG as u64, FULL, said), AMPLE, |_, _| (), judge);
                let later = |intruder: &Intruder, drained: u64| {
                    if drained == FULL {
                        intruder.word(PROGRESS[1 - drainer]).store(said.max(2 * FULL + 1), Release);
                    }
                };
                drain_against(wait, drainer, (LONG as u64, FULL, FULL), AMPLE, later, judge);
            }
            let judge = |got| assert!(is_corrupt(&got), "{got:?}");
            drain_against(wait, drainer, (5000, FULL, 5001), AMPLE, |_, _| (), judge);
        }
    }
}

#[test]
fn a_filler_that_stops_or_takes_back_what_it_said_does_not_outlast_the_limit() {
    let _watchdog = Watchdog::new("stops", support::PATIENCE);
    for wait in WAITS {
        for drainer in [PUBLISHER, CONSUMER] {
            for filled in [0, 1, 4096, FULL] {
                // It says no more, or less and less.
                for later in [filled, filled / 2, 0] {
                    let judge = |got: Result<_, Error>| {
                        assert!(is_late(&got), "{got:?}");
                        let unknown = if drainer == PUBLISHER { Delivered::Unknown } else { Delivered::No };
                        assert_eq!(got.unwrap_err().delivered(), Some(unknown));
                    };
                    let more = |intruder: &Intruder, drained: u64| {
                        if drained == filled {
                            intruder.word(PROGRESS[1 - drainer]).store(later, Release);
                        }
                    };
                    drain_against(wait, drainer, (LONG as u64, FULL, filled), SHORT, more, judge);
                }
            }
        }
    }
}

#[test]
fn a_length_that_changes_in_the_middle_of_a_flow_changes_nothing() {
    let _watchdog = Watchdog::new("length", support::PATIENCE);
    for wait in WAITS {
        for drainer in [PUBLISHER, CONSUMER] {
            for length in [0, 1, FULL, 1 << 45, u64::MAX] {
                let more = |intruder: &Intruder, drained: u64| {
                    if drained > 0 {
                        intruder.word(LENGTH).store(length, Relaxed);
                        intruder.word(RING).store(length, Relaxed);
                    }
                    intruder.word(PROGRESS[1 - drainer]).store((drained + FULL).min(LONG as u64), Release);
                };
                let judge = |got: Result<Vec<u8>, Error>| assert_eq!(got.unwrap().len(), LONG);
                drain_against(wait, drainer, (LONG as u64, FULL, 0), AMPLE, more, judge);
            }
        }
    }
}

#[test]
fn a_flow_that_nothing_has_room_for_is_refused() {
    let _watchdog = Watchdog::new("room", support::PATIENCE);
    for drainer in [PUBLISHER, CONSUMER] {
        // Some systems promise any memory: then nothing comes. Half of what a 32-bit machine can address has room on
        // it, or not.
        let judge = |got| {
            let is_right = matches!(got, Err(Error::System { call: "allocate", .. })) || is_late(&got);
            assert!(is_right, "{got:?}");
        };
        let longest = if size_of::<usize>() == 8 { 1 << 46 } else { 1 << 31 };
        drain_against(Wait::Park, drainer, (longest, FULL, 0), SHORT, |_, _| (), judge);
        let judge = |got| assert!(is_corrupt(&got), "{got:?}");
        drain_against(Wait::Park, drainer, (1 << 47, FULL, 0), AMPLE, |_, _| (), judge);
    }
}

#[test]
fn a_turn_that_changes_in_the_middle_of_a_flow_ends_it() {
    let _watchdog = Watchdog::new("turns", Duration::from_secs(120));
    for drainer in [PUBLISHER, CONSUMER] {
        // Every content one step on, to the filler or for once to the drainer; far on; the marks at the same step.
        let to_filler = (0..18).chain([255]).map(|content| (1 << 16, content << 8 | (1 - drainer as u64)));
        let odd = [(1 << 16, drainer as u64), (1 << 40, FLOW << 8 | drainer as u64)];
        let marks = [ABANDONED, RECALLED, ABANDONED | RECALLED, ABANDONED | ORPHAN].map(|marks| (0, marks));
        for (number, (steps, bits)) in to_filler.chain(odd).chain(marks).enumerate() {
            let wait = WAITS[number % WAITS.len()];
            let is_done = AtomicBool::new(false);
            let more = |intruder: &Intruder, drained| {
                if drained > 0 && !is_done.swap(true, Relaxed) {
                    let word = intruder.word(TURN).load(Relaxed);
                    let step = (word & !0xffff).wrapping_add(steps);
                    let same = if steps == 0 { word & 0xff01 } else { 0 };
                    intruder.word(TURN).store(step | same | bits, Release);
                }
            };
            let judge = |got: Result<Vec<u8>, Error>| match got {
                Err(Error::Aborted { .. }) if bits != RECALLED => {}
                Err(Error::PeerDied { .. }) if bits & ORPHAN != 0 => {}
                Err(Error::TimedOut { .. }) if bits == RECALLED => {}
                other => panic!("{other:?} of {steps:#x} and {bits:#x} for {drainer} under {wait:?}"),
            };
            let limit = if bits == RECALLED { SHORT } else { AMPLE };
            drain_against(wait, drainer, (LONG as u64, FULL, 4096), limit, more, judge);
        }
    }
}

/// Has `publisher` send what flows, or `consumer` a reply that does.
fn fill(stage: &mut Stage, filler: usize, limit: Duration) -> Result<(), Error> {
    let bytes = vec![7; LONG];
    if filler == PUBLISHER {
        stage.intruder.byte(WANTS).store(1, Relaxed);
        return stage.publisher.publish_timeout(&bytes, limit);
    }
    let message = stage.consumer.consume_timeout(limit)?;
    message.reply_timeout(&bytes, limit)
}

/// Runs `fill` against somebody who takes what flows, and then does `more`, again and again, with the bytes filled.
fn fill_against(
    wait: Wait,
    filler: usize,
    limit: Duration,
    more: impl Fn(&Intruder, u64) + Sync,
    judge: impl Fn(Result<(), Error>),
) {
    loop {
        let mut stage = Stage::new(wait);
        let intruder = Intruder::new(&stage.name);
        let drainer = 1 - filler as u64;
        if filler == CONSUMER {
            intruder.word(LENGTH).store(5, Relaxed);
            intruder.word(TURN).store(intruder.turn(1, CALL, 0), Release);
        }
        let state = AtomicU8::new(WAITS_FOR_ITS_TURN);
        let play = || {
            let word = intruder.word(TURN).load(Acquire);
            if state.load(Relaxed) == HAS_BEGUN {
                return more(&intruder, intruder.word(PROGRESS[filler]).load(Acquire));
            }
            if word & 1 != drainer || state.load(Relaxed) == CAME_TOO_LATE {
                return;
            }
            // It takes it as it should, or else it is recalled.
            intruder.word(NOTES + 128).store(word >> 16, Relaxed);
            fence(SeqCst);
            let is_taken = intruder.word(TURN).load(Acquire) & !(SLEEP) == word & !SLEEP;
            if is_taken && matches!(word >> 8 & 0xff, FLOW | CALL_FLOW | REPLY_FLOW) {
                state.store(HAS_BEGUN, Relaxed);
            } else {
                state.store(CAME_TOO_LATE, Relaxed);
                intruder.word(TURN).store(intruder.turn(filler as u64, ABORTED, 0), Release);
            }
        };
        let got = while_another_does(play, |pulse| pulse.during("fill", || fill(&mut stage, filler, limit)));
        let has_begun = state.load(Relaxed) == HAS_BEGUN;
        if has_begun {
            judge(got);
        }
        stage.end();
        if has_begun {
            return;
        }
    }
}

#[test]
fn a_drainer_that_says_more_than_can_be_is_corrupt() {
    let _watchdog = Watchdog::new("drainers", support::PATIENCE);
    for wait in WAITS {
        for filler in [PUBLISHER, CONSUMER] {
            for said in [FULL + 1, LONG as u64, 1 << 63, u64::MAX] {
                let more = |intruder: &Intruder, filled: u64| {
                    if filled == FULL {
                        intruder.word(PROGRESS[1 - filler]).store(said, Release);
                    }
                };
                let judge = |got| assert!(is_corrupt(&got), "{got:?} of {said}");
                fill_against(wait, filler, AMPLE, more, judge);
            }
        }
    }
}

#[test]
fn a_drainer_that_stops_or_takes_back_what_it_said_does_not_outlast_the_limit() {
    let _watchdog = Watchdog::new("stops", support::PATIENCE);
    for wait in WAITS {
        for filler in [PUBLISHER, CONSUMER] {
            for (first, then) in [(0, 0), (4096, 4096), (FULL / 2, 0), (FULL, 1), (FULL, FULL)] {
                let more = |intruder: &Intruder, filled: u64| {
                    let said = if filled <= FULL { first.min(filled) } else { then };
                    intruder.word(PROGRESS[1 - filler]).store(said, Release);
                };
                let judge = |got: Result<(), Error>| {
                    assert!(is_late(&got), "{got:?} of {first}, {then}");
                    let delivered = if filler == PUBLISHER { Delivered::No } else { Delivered::Unknown };
                    assert_eq!(got.unwrap_err().delivered(), Some(delivered));
                };
                fill_against(wait, filler, SHORT, more, judge);
            }
        }
    }
}

#[test]
fn a_turn_that_comes_back_in_the_middle_of_filling_is_taken_at_its_word() {
    let _watchdog = Watchdog::new("comes back", Duration::from_secs(120));
    for filler in [PUBLISHER, CONSUMER] {
        for content in (0..18).chain([255]) {
            let wait = WAITS[content as usize % WAITS.len()];
            let is_done = AtomicBool::new(false);
            let more = |intruder: &Intruder, filled: u64| {
                if filled == FULL && !is_done.swap(true, Relaxed) {
                    intruder.word(TURN).store(intruder.turn(filler as u64, content, 0), Release);
                }
            };
            let judge = |got: Result<(), Error>| match (filler, content, got) {
                // Whatever came: the caller did not wait for the whole.
                (CONSUMER, _, Err(Error::CallerGone { .. })) => {}
                // As with any message: who acknowledges it has what it wants of it.
                (PUBLISHER, 0, Ok(())) => {}
                (PUBLISHER, ABORTED, Err(Error::Aborted { delivered: Delivered::No, .. })) => {}
                (PUBLISHER, ORPHANED, Err(Error::PeerDied { delivered: Delivered::No, .. })) => {}
                // It comes again, and nobody takes it.
                (PUBLISHER, AGAIN | IN_PLACE, Err(Error::TimedOut { delivered: Delivered::No, .. })) => {}
                (PUBLISHER, 1..=8 | 13.., Err(Error::Corrupt { .. })) => {}
                (_, _, other) => panic!("{other:?} of {content} for {filler} under {wait:?}"),
            };
            let is_sent_again = filler == PUBLISHER && matches!(content, AGAIN | IN_PLACE);
            let limit = if is_sent_again { 4 * SHORT } else { AMPLE };
            fill_against(wait, filler, limit, more, judge);
        }
    }
}

#[test]
fn marks_that_nobody_set_do_not_keep_a_filler_past_its_limit() {
    let _watchdog = Watchdog::new("marks", support::PATIENCE);
    for wait in WAITS {
        for filler in [PUBLISHER, CONSUMER] {
            for marks in [ABANDONED, RECALLED, ABANDONED | RECALLED, ABANDONED | ORPHAN, 0xfe] {
                let more = |intruder: &Intruder, _| {
                    let _ = intruder.word(TURN).fetch_or(marks, Relaxed);
                };
                let judge = |got| match got {
                    Err(Error::TimedOut { .. }) => {}
                    // What it would say itself.
                    Err(Error::CallerGone { .. }) if filler == CONSUMER && marks & ABANDONED != 0 => {}
                    other => panic!("{other:?} of {marks:#x} for {filler} under {wait:?}"),
                };
                fill_against(wait, filler, SHORT, more, judge);
            }
        }
    }
}

/// Nobody is there to take what flows: it waits where it stands, if it can.
#[test]
fn a_consumer_that_seems_to_want_keeps_nothing_from_being_published() {
    let _watchdog = Watchdog::new("wants", support::PATIENCE);
    for wait in WAITS {
        for wants in [[1, 0, 0, 0], [2, 0, 0, 0], [0, 1, 0, 0], [255; 4]] {
            let mut stage = Stage::new(wait);
            let wants = u32::from_ne_bytes(wants);
            let set = || {
                for (at, byte) in wants.to_ne_bytes().iter().enumerate() {
                    stage.intruder.byte(WANTS + at).store(*byte, Relaxed);
                }
            };
            let pulse = Pulse::new(HANGS);
            set();
            for len in [CAPACITY, CAPACITY / 2] {
                let bytes = support::pattern(u64::from(wants), len);
                let done = pulse.during("publish", || stage.publisher.publish_timeout(&bytes, AMPLE));
                done.unwrap();
                // It was acknowledged: so it is there.
                assert_eq!(stage.consumer.try_consume().unwrap().unwrap().to_vec().unwrap(), bytes);
                set();
            }
            let done = pulse.during("publish", || stage.publisher.publish_timeout(&[7; LONG], SHORT));
            assert!(matches!(done, Err(Error::TimedOut { delivered: Delivered::No, .. })), "{done:?}");
            set();
            let nothing = stage.consumer.try_consume().unwrap().is_none();
            assert!(nothing, "it was withdrawn");
            stage.end();
        }
    }
}
