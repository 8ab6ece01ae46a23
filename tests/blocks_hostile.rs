//! A peer may write anything into a block file's state: every operation ends in its time with an error or an answer, in
//! this process and within the region.
#![allow(missing_docs)]

#[path = "support/intruder.rs"]
mod intruder;
mod support;

use antiphon::blocks::{BlockFile, BlockFileOptions, Claimed, FileId, Reader, Writer};
use antiphon::{Channel, ChannelOptions, Error, Wait};
use intruder::{Cage, HEADER as STATE, Intruder, Pulse, has_paths};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::{Duration, Instant};
use support::{Dice, Watchdog, assert_nothing_left};

const BLOCK: usize = 4096;
const BLOCKS: usize = 4;
/// The blocks, up to a granule, and the state.
const TOTAL: usize = 2 * STATE;
const WAITS: [Wait; 3] = [Wait::Spin, Wait::Park, Wait::Adaptive];
/// Longer than any limit given here, by far: what takes longer hangs.
const HANGS: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_millis(3);

// Within the state.
const SEATS: usize = 4096;
const SEAT: usize = 64;
const ABOUT: usize = 8192;
const NEXT: usize = 16_384;
const BOARDS: usize = NEXT + 128;
const LOOSE: usize = BOARDS + 256;
const CPUS: usize = LOOSE + 256;
const RECORDS: usize = 20_480;
const RECORD: usize = 128;
const ENDING: u64 = 1 << 8;
const CANCELLED: u64 = 1 << 9;

fn unique() -> FileId {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    FileId { session: u64::from(std::process::id()) << 32 | 0x0bad, file: COUNT.fetch_add(1, Relaxed) }
}

fn options() -> BlockFileOptions {
    BlockFileOptions::new().block_bytes(BLOCK).blocks(BLOCKS)
}

fn seed() -> u64 {
    let seed = std::env::var("ANTIPHON_SEED").map_or(u64::from(std::process::id()), |seed| seed.parse().unwrap());
    println!("ANTIPHON_SEED={seed}");
    seed
}

/// The state of a file, open for writing.
struct State(Intruder);

impl State {
    fn new(id: FileId) -> State {
        State(Intruder::new(&id.to_string()))
    }

    fn word(&self, at: usize) -> &std::sync::atomic::AtomicU64 {
        self.0.word(self.0.len() - STATE + at)
    }

    fn save(&self) -> Vec<u64> {
        (0..STATE / 8).map(|word| self.word(word * 8).load(Relaxed)).collect()
    }

    fn restore(&self, saved: &[u64]) {
        for (word, value) in saved.iter().enumerate() {
            self.word(word * 8).store(*value, Relaxed);
        }
    }
}

/// What the operations came to.
type Tally = BTreeMap<String, u64>;

/// Notes what an operation came to. An error has to name the file.
fn judge<T>(tally: &mut Tally, id: FileId, what: &str, result: Result<T, Error>) -> Option<T> {
    let (outcome, value) = match result {
        Ok(value) => ("ok".to_owned(), Some(value)),
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(&id.to_string()), "{text}");
            (format!("{error:?}").split([' ', '(']).next().unwrap().to_owned(), None)
        }
    };
    *tally.entry(format!("{what}: {outcome}")).or_default() += 1;
    value
}

/// Claims, fills, completes, lets go, finishes: whatever comes of it.
fn write(writer: &mut Writer, id: FileId, how: u64, tally: &mut Tally, pulse: &Pulse) {
    let claimed = match how % 3 {
        0 => pulse.during("try_claim", || writer.try_claim()),
        1 => pulse.during("claim_at", || writer.claim_at_timeout(how, SOON).map(Some)),
        _ => pulse.during("claim", || writer.claim_timeout(SOON).map(Some)),
    };
    if let Some(Some(mut space)) = judge(tally, id, "claim", claimed) {
        assert_eq!(space.capacity(), BLOCK);
        let _ = (space.offset(), space.again());
        assert_eq!(space.copy_from(0, &[7; 2 * BLOCK]), BLOCK);
        assert_eq!(space.copy_from(BLOCK, &[7]), 0);
        match how % 29 {
            0 => pulse.during("drop", || drop(space)),
            1 => drop(judge(tally, id, "complete", pulse.during("complete", || space.complete(BLOCK + 1)))),
            2 => drop(judge(tally, id, "complete", pulse.during("complete", || space.complete(0)))),
            _ => drop(judge(tally, id, "complete", pulse.during("complete", || space.complete(BLOCK)))),
        }
    }
    if how % 31 == 0 {
        judge(tally, id, "finish", pulse.during("finish", || writer.finish_timeout(SOON)));
    }
}

fn read(reader: &mut Reader, id: FileId, how: u64, tally: &mut Tally, pulse: &Pulse) {
    let claimed = if how % 2 == 0 {
        pulse.during("try_claim", || reader.try_claim()).map(|claimed| match claimed {
            Claimed::Block(block) => Some(block),
            Claimed::NothingYet | Claimed::End => None,
        })
    } else {
        pulse.during("claim", || reader.claim_timeout(SOON))
    };
    if let Some(Some(block)) = judge(tally, id, "take", claimed) {
        assert!(block.len() <= BLOCK);
        let _ = (block.offset(), block.again(), block.is_empty());
        assert_eq!(block.to_vec().len(), block.len());
        let mut sink = Vec::new();
        block.write_to(&mut sink).unwrap();
        match how % 5 {
            0 => pulse.during("drop", || drop(block)),
            _ => drop(judge(tally, id, "free", pulse.during("free", || block.complete()))),
        }
    }
}

fn look(file: &BlockFile, id: FileId, tally: &mut Tally, pulse: &Pulse) {
    assert_eq!((file.block_bytes(), file.blocks()), (BLOCK, BLOCKS));
    assert!(file.name().len() <= 4096);
    judge(tally, id, "missing", pulse.during("missing", || file.missing()));
}

/// All that a word can be taken for.
fn values(at: usize, mine: u64, dice: &mut Dice) -> Vec<u64> {
    let numbers = [0, 1, 2, 255, 256, 257, BLOCK as u64, BLOCK as u64 + 1, u64::MAX, u64::MAX - 1, 1 << 63, 1 << 32];
    let mut values = numbers.to_vec();
    values.extend([dice.roll(), dice.roll()]);
    if at >= RECORDS && (at - RECORDS) % RECORD == 0 {
        // Every state, with and without a range and a mark, of every kind of owner: nobody, an end's seat, this one's,
        // an empty one, the last, and those that there are none of.
        for state in 0..16 {
            for seat in [0, 1, 2, 3, 30, 31, 32, 33, 64, 254, 255] {
                for generation in [0, mine, mine + 1, u64::from(u32::MAX)] {
                    values.push(state | seat << 8 | generation << 32);
                }
            }
        }
        values.extend([1 << 4, 1 << 16, 2 | 1 << 4, 2 | 1 << 16]);
    }
    if at == BOARDS || at == BOARDS + 128 {
        // A block, the end, armed, watched, notices.
        for bits in [ENDING, 0x7fff << 9, 1 << 9, 1 << 24, 0x7fff << 9 | 1 << 24 | ENDING | 255] {
            values.extend([bits, bits | u64::MAX << 25]);
        }
    }
    if at == NEXT {
        for tickets in [0, 1, 5, 1 << 20, (1 << 48) - 1] {
            for bits in [0, 1, 200, 255, ENDING, CANCELLED, ENDING | CANCELLED, 1 << 10, 255 | 1 << 15] {
                values.push(tickets << 16 | bits);
            }
        }
    }
    values
}

#[test]
fn every_word_of_the_state_may_be_anything_at_rest() {
    let _watchdog = Watchdog::new("every word", Duration::from_secs(240));
    let mut dice = Dice::new(seed());
    let id = unique();
    let cage = Cage::new(TOTAL);
    let file = options().create(id, b"hostile").unwrap();
    println!("between pages that nobody may touch: {:?}", cage.holds(&id.to_string()));
    let other = options().open(id).unwrap();
    let state = State::new(id);
    let pulse = Pulse::new(HANGS);
    let (mut tally, mut number) = (Tally::new(), 0);
    let saved = {
        let (_writer, _reader) = (other.writer().unwrap(), other.reader().unwrap());
        state.save()
    };
    let generation = state.word(SEATS + 2 * SEAT).load(Relaxed) >> 32;
    let words = (0..SEATS / 8 / 8)
        .map(|nth| nth * 64) // The identity, one word of eight.
        .chain((SEATS..SEATS + 4 * SEAT).step_by(8))
        .chain((ABOUT..ABOUT + 48).step_by(8))
        .chain([ABOUT + 4128, ABOUT + 4136, ABOUT + 4144])
        .chain([NEXT, BOARDS, BOARDS + 128, LOOSE, LOOSE + 128, CPUS, CPUS + 128])
        .chain((0..BLOCKS + 1).flat_map(|block| (0..8).map(move |field| RECORDS + block * RECORD + field * 8)));
    for at in words {
        for value in values(at, generation, &mut dice) {
            number += 1;
            // Handles of their own: what one of them learned is not the next one's.
            let file = if number % 2 == 0 { &file } else { &other };
            let (mut writer, mut reader) = (file.writer().unwrap(), other.reader().unwrap());
            if number % 3 == 0 {
                // Something to go on with.
                judge(&mut tally, id, "complete", writer.try_claim().unwrap().unwrap().complete(5));
            }
            state.word(at).store(value, Relaxed);
            for more in 0..2 {
                write(&mut writer, id, number + more, &mut tally, &pulse);
                read(&mut reader, id, number / 2 + more, &mut tally, &pulse);
            }
            look(file, id, &mut tally, &pulse);
            drop((writer, reader));
            state.restore(&saved);
        }
    }
    println!("{number} words rewritten");
    print(&tally);
    works(&file, &other);
    drop((file, other));
    assert_nothing_left(&id.to_string());
}

fn print(tally: &Tally) {
    for (what, count) in tally {
        println!("  {what}: {count}");
    }
}

/// As if nothing had been.
fn works(file: &BlockFile, other: &BlockFile) {
    let (mut writer, mut reader) = (file.writer().unwrap(), other.reader().unwrap());
    for nth in 0..10u64 {
        let mut space = writer.claim().unwrap();
        assert_eq!((space.offset(), space.again()), (nth * BLOCK as u64, false));
        space.copy_from(0, &[nth as u8; BLOCK]);
        space.complete(BLOCK).unwrap();
        let block = reader.claim().unwrap().unwrap();
        assert_eq!((block.offset(), block.again()), (nth * BLOCK as u64, false));
        assert_eq!(block.to_vec(), [nth as u8; BLOCK]);
        block.complete().unwrap();
    }
    writer.finish().unwrap();
    assert!(reader.claim().unwrap().is_none());
}

#[test]
fn a_storm_of_wrong_words_ends_every_operation_in_time() {
    for wait in WAITS {
        let _watchdog = Watchdog::new(format!("storm {wait:?}"), Duration::from_secs(120));
        let seed = seed();
        let id = unique();
        let cage = Cage::new(TOTAL);
        let file = options().wait(wait).create(id, b"storm").unwrap();
        println!("between pages that nobody may touch: {:?}", cage.holds(&id.to_string()));
        let other = options().wait(wait).open(id).unwrap();
        let state = State::new(id);
        let saved = state.save();
        let until = Instant::now() + Duration::from_millis(1500);
        let is_over = AtomicBool::new(false);
        let tally = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut dice = Dice::new(seed);
                let hot: Vec<usize> = [NEXT, BOARDS, BOARDS + 128, LOOSE, LOOSE + 128]
                    .into_iter()
                    .chain(
                        (0..BLOCKS).flat_map(|block| (0..8).map(move |field| RECORDS + block * RECORD + field * 8)),
                    )
                    .collect();
                while !is_over.load(Relaxed) {
                    let at = match dice.below(40) {
                        0 => dice.below(STATE as u64 / 8) as usize * 8,
                        1 => SEATS + dice.below(4 * SEAT as u64 / 8) as usize * 8,
                        _ => hot[dice.below(hot.len() as u64) as usize],
                    };
                    let value = match dice.below(6) {
                        0 => 0,
                        1 => u64::MAX,
                        2 => dice.roll(),
                        // Nearly right.
                        3 => dice.below(16) | dice.below(6) << 8 | dice.below(3) << 32,
                        4 => state.word(at).load(Relaxed) ^ 1 << dice.below(64),
                        _ => dice.below(2 * BLOCK as u64),
                    };
                    // Who is told that the file is over does nothing more: seldom, and not for long.
                    let is_over = at == NEXT && value & (ENDING | CANCELLED) != 0 && dice.below(100) > 0;
                    state.word(at).store(if is_over { value & !(ENDING | CANCELLED) } else { value }, Relaxed);
                    if dice.below(50) == 0 {
                        std::thread::yield_now();
                    }
                }
            });
            let workers: Vec<_> = (0..4)
                .map(|nth| {
                    let file = if nth % 2 == 0 { &file } else { &other };
                    scope.spawn(move || {
                        let pulse = Pulse::new(HANGS);
                        let (mut tally, mut number) = (Tally::new(), nth);
                        let mut writer = file.writer().unwrap();
                        let mut reader = file.reader().unwrap();
                        while Instant::now() < until {
                            number += 1;
                            if nth < 2 {
                                write(&mut writer, id, number, &mut tally, &pulse);
                            } else {
                                read(&mut reader, id, number, &mut tally, &pulse);
                            }
                            look(file, id, &mut tally, &pulse);
                        }
                        tally
                    })
                })
                .collect();
            let ended: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
            is_over.store(true, Relaxed);
            let mut all = Tally::new();
            for tally in ended {
                for (what, count) in tally.expect("a worker panicked") {
                    *all.entry(what).or_default() += count;
                }
            }
            all
        });
        println!("{wait:?}");
        print(&tally);
        state.restore(&saved);
        works(&file, &other);
        drop((file, other));
        assert_nothing_left(&id.to_string());
    }
}

/// Owners that there are none of: what they are said to have is adopted.
#[test]
fn what_belongs_to_a_seat_that_there_is_none_of_is_adopted() {
    let _watchdog = Watchdog::new("no such seat", support::PATIENCE);
    for seat in [0u64, 1, 31, 32, 100, 254, 255] {
        for generation in [0u64, 1, 77] {
            let id = unique();
            let file = options().create(id, b"seats").unwrap();
            let state = State::new(id);
            let mut reader = file.reader().unwrap();
            file.writer().unwrap().claim().unwrap().complete(1).unwrap();
            // Taken by it.
            state.word(RECORDS).store(3 | seat << 8 | generation << 32, Relaxed);
            // And claimed, with a range.
            state.word(RECORDS + RECORD + 8).store(777, Relaxed);
            state.word(RECORDS + RECORD).store(1 | 4 | seat << 8 | generation << 32, Relaxed);
            // Who has not looked around yet.
            let space = file.writer().unwrap().claim().unwrap();
            assert_eq!((space.offset(), space.again()), (777, true), "{seat}, {generation}");
            space.complete(2).unwrap();
            let mut came: Vec<_> = (0..2)
                .map(|_| {
                    let block = reader.claim().unwrap().unwrap();
                    let came = (block.offset(), block.again());
                    block.complete().unwrap();
                    came
                })
                .collect();
            came.sort_unstable();
            assert_eq!(came, [(0, true), (777, false)], "{seat}, {generation}");
            drop((reader, file));
            assert_nothing_left(&id.to_string());
        }
    }
}

#[test]
fn a_block_that_is_longer_than_blocks_are_is_corrupt() {
    let _watchdog = Watchdog::new("too long", support::PATIENCE);
    let id = unique();
    let file = options().create(id, b"long").unwrap();
    let state = State::new(id);
    let (mut writer, mut reader) = (file.writer().unwrap(), file.reader().unwrap());
    for len in [BLOCK as u64 + 1, 1 << 32, 1 << 63, u64::MAX] {
        writer.claim().unwrap().complete(1).unwrap();
        (0..BLOCKS).for_each(|block| state.word(RECORDS + block * RECORD + 16).store(len, Relaxed));
        let got = reader.claim();
        assert!(matches!(got, Err(Error::Corrupt { .. })), "{got:?}");
        (0..BLOCKS).for_each(|block| state.word(RECORDS + block * RECORD).store(0, Relaxed));
    }
    drop((writer, reader, file));
    assert_nothing_left(&id.to_string());
}

/// Whoever opens it afterwards is told what is wrong with it.
#[test]
fn offsets_that_change_while_a_reader_puts_blocks_in_order_do_no_harm() {
    const MANY: usize = 256;
    let _watchdog = Watchdog::new("offsets", support::PATIENCE);
    let id = unique();
    let file = options().blocks(MANY).create(id, b"offsets").unwrap();
    let mut writer = file.writer().unwrap();
    (0..MANY).for_each(|_| writer.claim().unwrap().complete(1).unwrap());
    let state = State::new(id);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = Dice::new(seed());
            while !is_over.load(Relaxed) {
                for block in 0..MANY {
                    state.word(RECORDS + block * RECORD + 8).store(dice.roll(), Relaxed);
                }
            }
        });
        let mut reader = file.reader().unwrap();
        // Let go of, so that all of them are looked at again.
        let mut claims = || (0..20_000).for_each(|_| drop(reader.claim().unwrap().unwrap()));
        let claimed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(&mut claims));
        is_over.store(true, Relaxed);
        claimed.expect("a reader that lives");
    });
    writer.cancel("over").unwrap();
}

#[test]
fn every_word_of_the_state_may_be_anything_when_a_file_is_opened() {
    let _watchdog = Watchdog::new("opened", Duration::from_secs(240));
    let mut dice = Dice::new(seed());
    let id = unique();
    let pulse = Pulse::new(HANGS);
    let mut tally = Tally::new();
    let mut file = options().create(id, b"opened").unwrap();
    let mut state = State::new(id);
    let mut saved = state.save();
    let words = (0..SEATS / 8).map(|nth| nth * 8).filter(|at| *at < 320 || at % 509 < 8);
    let words = words.chain((SEATS..SEATS + 5 * SEAT).step_by(8)).chain((ABOUT..ABOUT + 64).step_by(8));
    let mut made_anew = 0;
    for at in words.chain([NEXT, BOARDS, RECORDS, RECORDS + 8]) {
        let before = state.word(at).load(Relaxed);
        let mut values = values(at, 1, &mut dice);
        values.truncate(14);
        values.extend([before ^ 1, before ^ 1 << 32, before.wrapping_add(1)]);
        for value in values {
            state.word(at).store(value, Relaxed);
            let opened = pulse.during("open", || BlockFile::open(id));
            if let Some(opened) = judge(&mut tally, id, "open", opened) {
                let (bytes, blocks) = (opened.block_bytes(), opened.blocks());
                assert!(bytes > 0 && (1..=256).contains(&blocks) && bytes * blocks <= TOTAL - STATE);
                let (mut writer, mut reader) = (opened.writer().unwrap(), opened.reader().unwrap());
                if let Ok(Some(mut space)) = pulse.during("claim", || writer.try_claim()) {
                    assert_eq!(space.copy_from(0, &vec![1; TOTAL]), bytes);
                    judge(&mut tally, id, "complete", space.complete(bytes));
                }
                if let Ok(Claimed::Block(block)) = pulse.during("take", || reader.try_claim()) {
                    assert!(block.to_vec().len() <= bytes);
                }
                state.restore(&saved);
                pulse.during("drop", || drop((writer, reader, opened)));
            }
            state.restore(&saved);
            if !std::path::Path::new(&format!("/dev/shm/{id}")).exists() && cfg!(target_os = "linux") {
                // It was taken for something that was to be removed.
                made_anew += 1;
                drop(file);
                file = options().create(id, b"opened").unwrap();
                state = State::new(id);
                saved = state.save();
            }
        }
    }
    println!("made anew {made_anew} times");
    print(&tally);
    drop(file);
    assert_nothing_left(&id.to_string());
}

#[test]
fn a_region_of_another_length_or_half_made_is_refused_by_name() {
    if !has_paths("a_region_of_another_length_or_half_made_is_refused_by_name") {
        return;
    }
    let _watchdog = Watchdog::new("lengths", support::PATIENCE);
    let id = unique();
    let path = format!("/dev/shm/{id}");
    // One that is whole, and left over: it holds a block.
    let file = options().create(id, b"lengths").unwrap();
    file.writer().unwrap().claim().unwrap().complete(9).unwrap();
    drop(file);
    let whole = std::fs::read(&path).unwrap();
    assert_eq!(whole.len(), TOTAL);
    let refused = |what: &str, bytes: &[u8]| {
        // In place, as a peer would.
        std::fs::write(&path, bytes).unwrap();
        let opened = BlockFile::open(id);
        let error = opened.map(drop).expect_err(what);
        assert!(error.to_string().contains(&id.to_string()), "{what}: {error}");
        assert!(
            matches!(error, Error::NotAChannel { .. } | Error::Incompatible { .. } | Error::Corrupt { .. }),
            "{what}: {error:?}"
        );
    };
    // Cut at the end, so that no head stands there; at the start; grown.
    for len in [1, 8, 4096, STATE - 1, STATE, STATE + 4096, TOTAL - 4096, TOTAL - 1] {
        refused(&format!("cut to {len}"), &whole[..len]);
        refused(&format!("the last {len}"), &whole[TOTAL - len..]);
    }
    for more in [1, 4096, STATE, 5 * STATE] {
        let mut grown = whole.clone();
        grown.resize(TOTAL + more, 0);
        // Without a head at its end it is as one whose maker died, if it can have the length at all.
        if more % STATE != 0 {
            refused(&format!("grown by {more}"), &grown);
        }
        let mut grown = vec![0; more];
        grown.extend(&whole);
        refused(&format!("grown by {more} at the start"), &grown);
    }
    // Numbers that do not fit.
    let about = |at: usize, value: u64| {
        let mut bytes = whole.clone();
        bytes[TOTAL - STATE + ABOUT + at..][..8].copy_from_slice(&value.to_ne_bytes());
        bytes
    };
    for block_bytes in [0, STATE as u64 / BLOCKS as u64 + 1, STATE as u64, 1 << 32, 1 << 63, u64::MAX] {
        refused(&format!("blocks of {block_bytes}"), &about(0, block_bytes));
    }
    for blocks in [0, 17, 257, 1 << 32, u64::MAX] {
        refused(&format!("{blocks} blocks"), &about(8, blocks));
    }
    // A channel's magic, another version.
    let head = |at: usize, value: u8| {
        let mut bytes = whole.clone();
        bytes[TOTAL - STATE + at] ^= value;
        bytes
    };
    for at in 0..16 {
        refused(&format!("byte {at} of the head"), &head(at, 1));
    }
    // Half made: its maker is dead, and there is no such file. So it is for who opens it, and the rest goes.
    let mut half = whole.clone();
    half[TOTAL - STATE..][..4096].fill(0);
    std::fs::write(&path, &half).unwrap();
    let opened = BlockFile::open(id);
    assert!(matches!(opened, Err(Error::NotFound { .. })), "{opened:?}");
    assert_nothing_left(&id.to_string());
}

#[test]
fn a_channel_is_no_block_file_and_a_block_file_no_channel() {
    let id = unique();
    let channel = ChannelOptions::new().capacity(65_536).create(&id.to_string()).unwrap();
    for opened in [BlockFile::open(id), options().create(id, b"x")] {
        assert!(matches!(opened, Err(Error::NotAChannel { .. })), "{opened:?}");
    }
    drop(channel);
    let file = options().create(id, b"x").unwrap();
    for opened in [Channel::open(&id.to_string()), Channel::create(&id.to_string())] {
        assert!(matches!(opened, Err(Error::NotAChannel { .. })), "{opened:?}");
    }
    drop(file);
    assert_nothing_left(&id.to_string());
}
