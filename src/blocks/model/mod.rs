//! Blocks, their end and their sleepers under loom: `word.rs`, `board.rs`, `hall.rs` and `bell::sleep` as they are
//! shipped. As in the channel's model, a payload is a loom cell, so that two owners at once, or one that has not
//! acquired what the other wrote, fail; a bell counts its tokens, and only a token or a tick that the model gives ends
//! a sleep, so that a lost wake-up is a deadlock. Who dies is a function that returns at a step, and who adopts from it
//! starts when it has, as a process that finds another's lock gone does; or, where a hand-over is to do without that, when
//! it has read so in a word that orders nothing.
//!
//! Who comes last in what a model is to show has a thread of its own: loom was seen to leave out the orders in which the
//! thread that started two others comes behind both.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release --lib blocks::model
//! ```

use super::hall::{End, Got, Hall, Scout, Side};
use super::word::{Owner, Record, State, Table};
use crate::bell::{Awaited, Ring, sleep};
use loom::cell::Cell;
use loom::sync::atomic::AtomicU64;
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const BLOCK_BYTES: u64 = 4096;

#[derive(Default)]
struct Bell {
    tokens: Mutex<u32>,
    rung: Condvar,
}

impl Ring for &Bell {
    fn take_within(&self, _: Duration) -> bool {
        let mut tokens = self.tokens.lock().unwrap();
        while *tokens == 0 {
            tokens = self.rung.wait(tokens).unwrap();
        }
        *tokens -= 1;
        true
    }

    fn try_take(&self) -> bool {
        let mut tokens = self.tokens.lock().unwrap();
        let is_there = *tokens > 0;
        *tokens -= u32::from(is_there);
        is_there
    }

    fn post(&self) {
        *self.tokens.lock().unwrap() += 1;
        self.rung.notify_one();
    }
}

/// What processes share.
struct Region {
    next: AtomicU64,
    records: Vec<Record<AtomicU64>>,
    boards: [AtomicU64; 2],
    loose: [AtomicU64; 2],
    bells: [Bell; 2],
    /// A block's bytes.
    payload: Vec<Cell<u64>>,
}

impl Region {
    fn new(blocks: usize) -> Arc<Self> {
        let cell = || AtomicU64::new(0);
        Arc::new(Region {
            next: cell(),
            records: (0..blocks).map(|_| Record::of([(); 8].map(|()| cell()))).collect(),
            boards: [cell(), cell()],
            loose: [cell(), cell()],
            bells: [Bell::default(), Bell::default()],
            payload: (0..blocks).map(|_| Cell::new(0)).collect(),
        })
    }

    fn hall(&self, seat: u8) -> Hall<'_, AtomicU64, &Bell> {
        Hall {
            table: Table { next: &self.next, records: &self.records, base: 0, block_bytes: BLOCK_BYTES },
            boards: self.boards.each_ref(),
            bells: self.bells.each_ref(),
            loose: self.loose.each_ref(),
            me: Owner { seat, generation: 1 },
        }
    }

    fn offset_of(&self, block: usize) -> u64 {
        self.records[block].offset.load(Relaxed)
    }

    /// Fills what was claimed with its offset, and hands it on.
    fn fill(&self, hall: &Hall<'_, AtomicU64, &Bell>, got: Got) {
        let offset = self.offset_of(got.block);
        self.payload[got.block].set(offset + 1);
        hall.complete(got.block, 8).unwrap();
    }

    /// Reads what was taken, and is done with it.
    fn drain(&self, hall: &Hall<'_, AtomicU64, &Bell>, got: Got) -> u64 {
        let offset = self.offset_of(got.block);
        assert_eq!(self.payload[got.block].get(), offset + 1, "not what was filled in");
        hall.free(got.block).unwrap();
        offset
    }
}

/// Waiting for a block, as either side does.
struct BlockOf<'a> {
    hall: &'a Hall<'a, AtomicU64, &'a Bell>,
    side: Side,
    scout: &'a mut Scout,
    is_armed: bool,
}

impl Awaited for BlockOf<'_> {
    type Got = Result<Got, End>;
    type Stop = ();

    fn look(&mut self) -> Option<Result<Got, End>> {
        match self.side {
            Side::Writers => self.hall.claim(self.scout, None, true, |_| false),
            Side::Readers => self.hall.take(self.scout, false, |_| false),
        }
    }
    fn arm(&mut self) -> bool {
        self.hall.board(self.side).arm(self.is_armed);
        self.is_armed = true;
        self.scout.look_at_all();
        true
    }
    fn disarm(&mut self) -> bool {
        !std::mem::take(&mut self.is_armed) || self.hall.board(self.side).disarm()
    }
    fn called(&mut self) {
        self.is_armed = false;
    }
    fn inspect(&mut self) -> Option<()> {
        None
    }
    fn patience(&self) -> Duration {
        Duration::MAX
    }
}

fn wait(hall: &Hall<'_, AtomicU64, &Bell>, scout: &mut Scout, side: Side) -> Result<Got, End> {
    let mut awaited = BlockOf { hall, side, scout, is_armed: false };
    let got = sleep(&hall.bells[side as usize], &mut 0, &mut awaited).unwrap();
    if got.is_err() {
        hall.wake(side); // The next one that waits for the end.
    }
    got
}

fn read_all(region: &Region, hall: &Hall<'_, AtomicU64, &Bell>) -> Vec<u64> {
    let (mut offsets, mut scout) = (Vec::new(), Scout::new());
    while let Ok(got) = wait(hall, &mut scout, Side::Readers) {
        offsets.push(region.drain(hall, got));
    }
    offsets
}

/// Looks until it has one, as who spins does: in vain for a while, and then at the board alone.
fn spin(hall: &Hall<'_, AtomicU64, &Bell>, scout: &mut Scout, side: Side) -> Result<Got, End> {
    loop {
        let got = match side {
            Side::Writers => hall.claim(scout, None, false, |_| false),
            Side::Readers => hall.take(scout, false, |_| false),
        };
        if let Some(got) = got {
            return got;
        }
        thread::yield_now();
    }
}

fn ranges(count: u64) -> Vec<u64> {
    (0..count).map(|nth| nth * BLOCK_BYTES).collect()
}

fn check(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(model);
}

#[test]
fn one_writer_and_one_reader_hand_over_every_block_and_both_see_the_end() {
    check(Some(3), || {
        let region = Region::new(1);
        let theirs = Arc::clone(&region);
        let writer = thread::spawn(move || {
            let hall = theirs.hall(2);
            for _ in 0..2 {
                let got = wait(&hall, &mut Scout::new(), Side::Writers).unwrap();
                theirs.fill(&hall, got);
            }
            hall.end();
        });
        let offsets = read_all(&region, &region.hall(3));
        writer.join().unwrap();
        assert_eq!(offsets, ranges(2));
    });
}

#[test]
fn two_readers_get_each_block_once_and_both_see_the_end() {
    // Three threads, two of which sleep: with more preemptions, hours.
    check(Some(1), || {
        let region = Region::new(1);
        let hall = region.hall(2);
        let got = hall.claim(&mut Scout::new(), None, false, |_| false).unwrap().unwrap();
        region.fill(&hall, got);
        let theirs = Arc::clone(&region);
        let second = thread::spawn(move || read_all(&theirs, &theirs.hall(3)));
        let theirs = Arc::clone(&region);
        let first = thread::spawn(move || read_all(&theirs, &theirs.hall(4)));
        hall.end();
        let mut offsets = first.join().unwrap();
        offsets.extend(second.join().unwrap());
        offsets.sort_unstable();
        assert_eq!(offsets, ranges(1));
    });
}

#[test]
fn who_claims_while_the_file_ends_has_a_range_that_is_read_or_none() {
    claims_while_it_ends(None);
}

#[test]
fn who_chooses_its_range_while_the_file_ends_has_it_read_or_has_none() {
    claims_while_it_ends(Some(0));
}

fn claims_while_it_ends(chosen: Option<u64>) {
    check(Some(2), move || {
        let region = Region::new(1);
        let theirs = Arc::clone(&region);
        let late = thread::spawn(move || {
            let hall = theirs.hall(2);
            match hall.claim(&mut Scout::new(), chosen, false, |_| false) {
                Some(Ok(got)) => {
                    theirs.fill(&hall, got);
                    1
                }
                _ => 0,
            }
        });
        let theirs = Arc::clone(&region);
        let ender = thread::spawn(move || {
            theirs.hall(3).end();
        });
        let offsets = read_all(&region, &region.hall(4));
        ender.join().unwrap();
        let written = late.join().unwrap();
        assert_eq!(offsets, ranges(written));
    });
}

#[test]
fn who_watches_the_board_gets_what_is_made_available() {
    check(Some(2), || {
        let region = Region::new(1);
        let theirs = Arc::clone(&region);
        let writer = thread::spawn(move || {
            let hall = theirs.hall(2);
            let got = hall.claim(&mut Scout::new(), None, false, |_| false).unwrap().unwrap();
            theirs.fill(&hall, got);
        });
        // Nothing but the notice of that one block ends its watching.
        let theirs = Arc::clone(&region);
        let reader = thread::spawn(move || {
            let hall = theirs.hall(3);
            let got = spin(&hall, &mut Scout::new(), Side::Readers).unwrap();
            theirs.drain(&hall, got)
        });
        writer.join().unwrap();
        assert_eq!(reader.join().unwrap(), 0);
    });
}

#[test]
fn who_watches_a_board_that_says_over_finds_the_file_over_whoever_watched_it_before() {
    check(None, || {
        let region = Region::new(1);
        let theirs = Arc::clone(&region);
        let ender = thread::spawn(move || theirs.hall(2).end());
        let theirs = Arc::clone(&region);
        let other = thread::spawn(move || theirs.hall(3).board(Side::Readers).watch());
        let hall = region.hall(4);
        if hall.board(Side::Readers).watch().is_over() {
            // Otherwise it would watch for a notice that has come already.
            assert!(hall.table.last().is_ending());
        }
        ender.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn who_finds_a_file_cancelled_finds_what_was_said_before() {
    check(None, || {
        let region = Region::new(1);
        let said = Arc::new(AtomicU64::new(0));
        let (theirs, why) = (Arc::clone(&region), Arc::clone(&said));
        let canceller = thread::spawn(move || {
            // As the reason is.
            why.store(1, Relaxed);
            theirs.hall(2).table.cancel();
        });
        let found = region.hall(3).take(&mut Scout::new(), false, |_| false);
        if found.is_some() {
            assert_eq!((found, said.load(Relaxed)), (Some(Err(End::Cancelled)), 1));
        }
        canceller.join().unwrap();
    });
}

#[test]
fn who_had_a_block_before_another_reader_is_done_with_it_when_it_is_filled_again() {
    check(Some(2), || {
        let region = Region::new(1);
        let hall = region.hall(2);
        let got = hall.claim(&mut Scout::new(), None, false, |_| false).unwrap().unwrap();
        region.fill(&hall, got);
        let theirs = Arc::clone(&region);
        let first = thread::spawn(move || {
            let hall = theirs.hall(3);
            let got = hall.take(&mut Scout::new(), false, |_| false);
            if let Some(Ok(Got { block, .. })) = got {
                assert_eq!(theirs.payload[block].get(), theirs.offset_of(block) + 1);
                hall.put_back(block).unwrap();
            }
        });
        let theirs = Arc::clone(&region);
        let second = thread::spawn(move || {
            let hall = theirs.hall(4);
            let got = wait(&hall, &mut Scout::new(), Side::Readers).unwrap();
            theirs.drain(&hall, got);
        });
        let theirs = Arc::clone(&region);
        let writer = thread::spawn(move || {
            let got = wait(&theirs.hall(2), &mut Scout::new(), Side::Writers).unwrap();
            theirs.payload[got.block].set(theirs.offset_of(got.block) + 1);
        });
        first.join().unwrap();
        second.join().unwrap();
        writer.join().unwrap();
    });
}

/// Who adopts learns of the death from a word that orders nothing: what the dead had acquired or chosen comes with the
/// block's own word.
fn adopts_by_the_word_alone(dies: fn(&Region), adopts: fn(&Region) -> bool) {
    check(Some(3), move || {
        let region = Region::new(1);
        let is_dead = Arc::new(AtomicU64::new(0));
        let (theirs, death) = (Arc::clone(&region), Arc::clone(&is_dead));
        let dead = thread::spawn(move || {
            dies(&theirs);
            death.store(1, Relaxed);
        });
        if is_dead.load(Relaxed) == 1 {
            adopts(&region);
        }
        dead.join().unwrap();
    });
}

#[test]
fn what_a_dead_reader_had_comes_whole_by_its_word_alone() {
    adopts_by_the_word_alone(
        |region| {
            let hall = region.hall(2);
            let got = hall.claim(&mut Scout::new(), None, false, |_| false).unwrap().unwrap();
            region.fill(&hall, got);
            region.hall(3).take(&mut Scout::new(), false, |_| false).unwrap().unwrap();
        },
        |region| {
            let hall = region.hall(4);
            let got = hall.take(&mut Scout::new(), true, |owner| owner.seat == 3);
            got.is_some_and(|got| region.drain(&hall, got.unwrap()) == 0)
        },
    );
}

#[test]
fn the_range_that_a_dead_writer_chose_comes_by_its_word_alone() {
    adopts_by_the_word_alone(
        |region| {
            region.hall(2).claim(&mut Scout::new(), Some(7 * BLOCK_BYTES), false, |_| false).unwrap().unwrap();
        },
        |region| match region.hall(4).claim(&mut Scout::new(), Some(BLOCK_BYTES), true, |owner| owner.seat == 2) {
            Some(Ok(Got { block, again: true })) => {
                assert_eq!(region.offset_of(block), 7 * BLOCK_BYTES);
                true
            }
            // Its claim, or its choice, was not seen yet.
            _ => false,
        },
    );
}

#[test]
fn who_dies_over_a_block_that_another_had_nothing_for_leaves_no_range() {
    check(Some(2), || {
        let region = Region::new(1);
        let theirs = Arc::clone(&region);
        let abstains = thread::spawn(move || {
            let hall = theirs.hall(2);
            if let Some(Ok(got)) = hall.claim(&mut Scout::new(), None, false, |_| false) {
                hall.end();
                hall.abstain(got.block).unwrap();
            }
        });
        // It looked before the file was ending, and dies before it asks for a range.
        let theirs = Arc::clone(&region);
        let dies = thread::spawn(move || theirs.hall(3).table.claim(0, theirs.hall(3).me));
        if dies.join().unwrap() {
            let hall = region.hall(4);
            // Before the first one, or after it.
            if hall.table.last().tickets() == 1 {
                hall.sweep(|owner| owner.seat == 3);
                assert!(!hall.is_being_filled(), "a range that nobody was given");
            }
        }
        let _ = abstains.join();
    });
}

#[test]
fn of_two_who_sweep_what_a_dead_writer_claimed_one_frees_it_and_the_end_comes() {
    check(Some(1), || {
        let region = Region::new(1);
        let hall = region.hall(2);
        assert!(hall.table.claim(0, hall.me));
        hall.end();
        let sweepers = [3, 4].map(|seat| {
            let theirs = Arc::clone(&region);
            thread::spawn(move || theirs.hall(seat).sweep(|owner| owner.seat == 2))
        });
        let end = wait(&region.hall(5), &mut Scout::new(), Side::Readers);
        assert_eq!(end, Err(End::Ended));
        sweepers.into_iter().for_each(|sweeper| sweeper.join().unwrap());
        assert_eq!(region.hall(5).table.look(0).state(), State::Free);
    });
}

/// What a writer does before it dies, a step more each time.
fn claim_and_die(region: &Region, step: u32) {
    let hall = region.hall(2);
    let table = hall.table;
    if step == 0 || !table.claim(0, hall.me) {
        return;
    }
    let Some(ticket) = (step > 1).then(|| table.draw(0).unwrap()) else { return };
    if step > 2 {
        table.hand(0, ticket);
    }
    if step > 3 {
        region.payload[0].set(99);
    }
}

#[test]
fn whatever_step_a_writer_dies_at_each_range_is_filled_once() {
    for step in 0..=4 {
        check(Some(3), move || {
            let region = Region::new(2);
            let theirs = Arc::clone(&region);
            // Two that claim, of which one dies: the other may have to settle its ticket.
            let dies = thread::spawn(move || claim_and_die(&theirs, step));
            let theirs = Arc::clone(&region);
            let lives = thread::spawn(move || {
                let hall = theirs.hall(3);
                let got = hall.claim(&mut Scout::new(), None, false, |_| false).unwrap().unwrap();
                let offset = theirs.offset_of(got.block);
                theirs.fill(&hall, got);
                offset
            });
            dies.join().unwrap();
            // It is known for dead: two look for what it had.
            let adopt = |region: Arc<Region>, seat| {
                thread::spawn(move || {
                    let hall = region.hall(seat);
                    let mut again = 0;
                    let is_dead = |owner: Owner| owner.seat == 2;
                    if let Some(Ok(got)) = hall.claim(&mut Scout::new(), None, true, is_dead) {
                        again = u32::from(got.again);
                        region.fill(&hall, got);
                    }
                    again
                })
            };
            let third = adopt(Arc::clone(&region), 4);
            let mut again = third.join().unwrap();
            lives.join().unwrap();
            // And whoever comes later finds nothing of it.
            let hall = region.hall(5);
            let mut offsets = Vec::new();
            loop {
                while let Some(Ok(got)) = hall.take(&mut Scout::new(), false, |_| false) {
                    offsets.push(region.drain(&hall, got));
                }
                match hall.claim(&mut Scout::new(), None, true, |owner: Owner| owner.seat == 2) {
                    Some(Ok(got)) if got.again => {
                        again += 1;
                        region.fill(&hall, got);
                    }
                    Some(Ok(got)) => {
                        hall.let_go(got.block).unwrap();
                        break;
                    }
                    other => panic!("{other:?}"),
                }
            }
            offsets.sort_unstable();
            assert_eq!(offsets, ranges(offsets.len() as u64), "each range once");
            assert!(again <= 1);
        });
    }
}

#[test]
fn two_that_adopt_from_a_dead_reader_do_not_both_get_its_block() {
    check(None, || {
        let region = Region::new(1);
        let hall = region.hall(2);
        let got = hall.claim(&mut Scout::new(), None, false, |_| false).unwrap().unwrap();
        region.fill(&hall, got);
        // It dies with it in hand.
        region.hall(3).take(&mut Scout::new(), false, |_| false).unwrap().unwrap();
        let adopters: Vec<_> = [4, 5]
            .into_iter()
            .map(|seat| {
                let region = Arc::clone(&region);
                thread::spawn(move || {
                    let hall = region.hall(seat);
                    match hall.take(&mut Scout::new(), true, |owner| owner.seat == 3) {
                        Some(Ok(got)) => {
                            assert!(got.again);
                            region.drain(&hall, got);
                            1
                        }
                        _ => 0,
                    }
                })
            })
            .collect();
        let got: u32 = adopters.into_iter().map(|adopter| adopter.join().unwrap()).sum();
        assert_eq!(got, 1);
        assert_eq!(hall.table.look(0).state(), State::Free);
    });
}

#[test]
fn what_is_let_go_of_comes_to_who_waits_for_it() {
    check(Some(3), || {
        let region = Region::new(1);
        let hall = region.hall(2);
        let got = hall.claim(&mut Scout::new(), None, false, |_| false).unwrap().unwrap();
        let theirs = Arc::clone(&region);
        let next = thread::spawn(move || {
            let hall = theirs.hall(3);
            let got = wait(&hall, &mut Scout::new(), Side::Writers).unwrap();
            assert!(got.again);
            theirs.fill(&hall, got);
        });
        region.payload[0].set(99);
        hall.let_go(got.block).unwrap();
        hall.end();
        // As who finishes does: nothing is left to be filled.
        let offsets = read_all(&region, &region.hall(4));
        next.join().unwrap();
        assert_eq!(offsets, ranges(1));
    });
}
