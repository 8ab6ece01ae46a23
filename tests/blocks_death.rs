//! Death at a block file: a writer or a reader killed at every labelled step, by itself, with SIGKILL, alone on its side
//! or among others, and what it had is adopted by those who are left, or by who comes.
//!
//! * Every range comes to a reader, and once unmarked; again only where the dead one had it in hand, and marked.
//! * Whoever waits for the other side is told of the death, and goes on with the next.
//! * The file comes to its end, and nothing is left of it.
#![allow(missing_docs, clippy::single_range_in_vec_init)]

#[path = "support/intruder.rs"]
mod intruder;
mod support;
#[allow(dead_code)] // Of `death.rs`, which uses the rest.
#[path = "death/victim.rs"]
mod victim;

use antiphon::blocks::{BlockFile, BlockFileOptions, FileId, Reader, Space, Writer};
use antiphon::{Error, Wait};
use intruder::Intruder;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};
use support::{Peer, Watchdog, assert_nothing_left, role, say};
use victim::{Plan, deaths, follow, is_stopped, outlive, ready, steps_told, tell_steps};

/// The steps at which each of the tests below kills, or fails.
const STEPS: &[&[&str]] = &[WRITER, READER, CANCELLER, &["take:adopted"]];
const WRITER: &[&str] = &[
    "claim:claimed",
    "claim:ticket",
    "claim:given",
    "claim:ranged",
    "claim:adopted",
    "complete:filled",
    "complete:passed",
    "give-back:writer",
    "finish:ending",
    "finish:abstained",
    "block:called",
];
const READER: &[&str] = &["take:taken", "free:done", "free:passed", "give-back:reader", "block:called"];
const CANCELLER: &[&str] = &["cancel:begun", "cancel:reasoned", "cancel:said"];

const BLOCK: u64 = 4096;
const BLOCKS: usize = 3;
/// No multiple of a block.
const LEN: u64 = 16 * BLOCK + 77;
const PATIENCE: Duration = Duration::from_secs(40);
const WAITS: [Wait; 3] = [Wait::Park, Wait::Adaptive, Wait::Spin];

#[test]
fn every_labelled_step_is_killed_at() {
    let listed: BTreeSet<&str> = antiphon::steps::OF_BLOCKS.iter().copied().collect();
    assert_eq!(listed.len(), antiphon::steps::OF_BLOCKS.len(), "a step is listed twice");
    let killed: BTreeSet<&str> = STEPS.iter().flat_map(|steps| steps.iter().copied()).collect();
    assert_eq!(listed, killed, "steps that are listed, and those that a test kills at");
}

fn unique() -> FileId {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    FileId { session: u64::from(std::process::id()) << 32 | 0xdead, file: COUNT.fetch_add(1, Ordering::Relaxed) }
}

fn create(id: FileId, blocks: usize) -> BlockFile {
    BlockFileOptions::new().block_bytes(BLOCK as usize).blocks(blocks).create(id, b"death").unwrap()
}

fn open(id: FileId, wait: Wait) -> BlockFile {
    BlockFileOptions::new().wait(wait).open(id).unwrap()
}

fn bytes(offset: u64, len: usize) -> Vec<u8> {
    (offset..offset + len as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// How many bytes of the file stand from `offset` on in one block.
fn len_at(offset: u64) -> usize {
    LEN.saturating_sub(offset).min(BLOCK) as usize
}

fn fill(space: &mut Space) -> usize {
    let (offset, len) = (space.offset(), len_at(space.offset()));
    let half = len / 2;
    assert_eq!(space.copy_from(0, &bytes(offset, half)), half);
    assert_eq!(space.copy_from(half, &bytes(offset + half as u64, len - half)), len - half);
    len
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Writer,
    Reader,
}

impl Side {
    fn other(self) -> Side {
        match self {
            Side::Writer => Side::Reader,
            Side::Reader => Side::Writer,
        }
    }
}

/// When the next one comes where the dead one was alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Once everybody was told of the death who waits for it.
    AfterTheNews,
    /// As soon as the victim is gone, so that it is often there before anybody looks.
    AtOnce,
}

#[derive(Debug, Clone)]
struct Case {
    victim: Side,
    wait: Wait,
    /// Others of the victim's side.
    fellows: usize,
    /// Those of the other side.
    opposite: usize,
    next: Next,
    plan: Plan,
}

// ---- Those who live ----

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Had {
    offset: u64,
    again: bool,
}

/// What the living did and were told.
#[derive(Debug, Default)]
struct Ledger {
    claimed: Vec<Had>,
    read: Vec<Had>,
    /// By those opposite the victim: when each was first told that somebody is gone, or came to its end.
    told: BTreeMap<usize, (Instant, bool)>,
}

#[derive(Default)]
struct Book {
    ledger: Mutex<Ledger>,
    changed: Condvar,
}

impl Book {
    fn note(&self, note: impl FnOnce(&mut Ledger)) {
        note(&mut self.ledger.lock().unwrap());
        self.changed.notify_all();
    }

    fn told(&self, who: usize, of_a_death: bool) {
        self.note(|ledger| {
            ledger.told.entry(who).or_insert((Instant::now(), of_a_death));
        });
    }

    fn wait_until_told(&self, count: usize) {
        let mut ledger = self.ledger.lock().unwrap();
        while ledger.told.len() < count {
            ledger = self.changed.wait(ledger).unwrap();
        }
    }
}

/// Writes all that is to be written, and what the dead leave.
fn write(writer: &mut Writer, who: usize, book: &Book) {
    loop {
        match writer.claim() {
            Ok(mut space) => {
                let had = Had { offset: space.offset(), again: space.again() };
                let len = fill(&mut space);
                if len > 0 {
                    book.note(|ledger| ledger.claimed.push(had));
                }
                space.complete(len).unwrap();
            }
            Err(Error::Finished { .. }) => match writer.finish() {
                Ok(()) => break,
                Err(Error::Unfilled { .. }) => {}
                Err(error) => panic!("{error}"),
            },
            Err(Error::PeerDied { .. } | Error::Disconnected { .. }) => book.told(who, true),
            Err(error) => panic!("{error}"),
        }
    }
    book.told(who, false);
}

/// Reads all that there is.
fn read(reader: &mut Reader, who: usize, book: &Book) {
    loop {
        match reader.claim() {
            Ok(Some(block)) => {
                let had = Had { offset: block.offset(), again: block.again() };
                assert_eq!(block.len(), len_at(had.offset), "of {had:?}");
                assert!(block.to_vec() == bytes(had.offset, block.len()), "other bytes: {had:?}");
                book.note(|ledger| ledger.read.push(had));
                block.complete().unwrap();
            }
            Ok(None) => break,
            Err(Error::PeerDied { .. } | Error::Disconnected { .. } | Error::Unfilled { .. }) => book.told(who, true),
            Err(error) => panic!("{error}"),
        }
    }
    book.told(who, false);
}

/// One process's worth of them: an attachment of its own.
enum Worker {
    Writer(Writer),
    Reader(Reader),
}

impl Worker {
    fn new(id: FileId, wait: Wait, side: Side) -> Worker {
        let file = open(id, wait);
        match side {
            Side::Writer => Worker::Writer(file.writer().unwrap()),
            Side::Reader => Worker::Reader(file.reader().unwrap()),
        }
    }

    fn work(self, who: usize, book: &Book) {
        match self {
            Worker::Writer(mut writer) => write(&mut writer, who, book),
            Worker::Reader(mut reader) => read(&mut reader, who, book),
        }
    }
}

// ---- Those who die ----

fn id_of(args: &[String]) -> FileId {
    FileId { session: args[0].parse().unwrap(), file: args[1].parse().unwrap() }
}

fn wait_of(word: &str) -> Wait {
    *WAITS.iter().find(|wait| format!("{wait:?}") == word).unwrap()
}

/// What the victim says that it does with a block.
fn tell(what: &str, offset: u64, again: bool) {
    say(format_args!("{what} {offset} {again}"));
}

/// Lets go of its first block, and then works as everybody does.
fn live(what: &str, args: &[String]) {
    let file = open(id_of(args), wait_of(&args[2]));
    let mut gives_back = true;
    if what == "Writer" {
        let mut writer = file.writer().unwrap();
        ready();
        follow(&args[3]);
        loop {
            match writer.claim() {
                Ok(mut space) => {
                    let (offset, again) = (space.offset(), space.again());
                    tell("has", offset, again);
                    if std::mem::take(&mut gives_back) {
                        drop(space);
                        continue;
                    }
                    let len = fill(&mut space);
                    space.complete(len).unwrap();
                    tell("done", offset, again);
                }
                Err(Error::Finished { .. }) => match writer.finish() {
                    Ok(()) => break,
                    Err(Error::Unfilled { .. }) => {}
                    Err(error) => panic!("{error}"),
                },
                Err(error) => panic!("{error}"),
            }
        }
    } else {
        let mut reader = file.reader().unwrap();
        ready();
        follow(&args[3]);
        while let Some(block) = reader.claim().unwrap() {
            let (offset, again) = (block.offset(), block.again());
            assert!(block.to_vec() == bytes(offset, block.len()), "other bytes at {offset}");
            tell("has", offset, again);
            if std::mem::take(&mut gives_back) {
                drop(block);
                continue;
            }
            block.complete().unwrap();
            tell("done", offset, again);
        }
    }
    tell_steps();
}

fn start(test: &str, id: FileId, side: Side, wait: Wait, plan: &Plan) -> Peer {
    let words = [id.session.to_string(), id.file.to_string(), format!("{wait:?}"), plan.to_word()];
    let mut victim = Peer::start(test, &format!("{side:?}"), &words.each_ref().map(String::as_str));
    victim.expect("ready");
    victim
}

/// What a victim said: what it had, and what of it was done.
#[derive(Debug, Default)]
struct Said {
    has: Vec<Had>,
    done: BTreeSet<u64>,
}

impl Said {
    fn of(words: &[String]) -> Said {
        let mut said = Said::of_all(words);
        said.has.retain(|had| had.offset < LEN);
        said
    }

    fn of_all(words: &[String]) -> Said {
        let mut said = Said::default();
        for word in words {
            let words: Vec<&str> = word.split(' ').collect();
            match words[..] {
                ["has", offset, again] => {
                    said.has.push(Had { offset: offset.parse().unwrap(), again: again.parse().unwrap() });
                }
                ["done", offset, _] => {
                    said.done.insert(offset.parse().unwrap());
                }
                _ => {}
            }
        }
        said
    }
}

// ---- One life and death ----

struct Outcome {
    was_killed: bool,
    words: Vec<String>,
    /// From the victim's end to each survivor's being told.
    delays: Vec<Duration>,
}

fn run(test: &str, case: &Case) -> Outcome {
    let _watchdog = Watchdog::new(format!("{test}: {case:?}"), PATIENCE);
    let id = unique();
    let file = create(id, BLOCKS);
    let book = Book::default();
    let outcome = std::thread::scope(|scope| {
        let work = |who, side| {
            let worker = Worker::new(id, case.wait, side);
            let book = &book;
            scope.spawn(move || worker.work(who, book));
        };
        for who in 0..case.opposite {
            work(who, case.victim.other());
        }
        let mut victim = start(test, id, case.victim, case.wait, &case.plan);
        victim.tell("go");
        // Its fellows leave it its first block.
        let first = victim.heard();
        for fellow in 0..case.fellows {
            work(100 + fellow, case.victim);
        }
        let end = outlive(victim);
        if end.was_killed && case.fellows == 0 {
            if case.next == Next::AfterTheNews {
                book.wait_until_told(case.opposite);
            }
            work(200, case.victim);
        }
        let words: Vec<String> = first.into_iter().chain(end.words).collect();
        (end.was_killed, words, end.at)
    });
    let (was_killed, words, at) = outcome;
    let ledger = book.ledger.into_inner().unwrap();
    let told = ledger.told.range(..100).filter(|(_, (_, of_a_death))| *of_a_death && was_killed);
    let delays = told.map(|(_, (when, _))| when.saturating_duration_since(at)).collect();
    let judged = std::panic::catch_unwind(|| judge(case, was_killed, &ledger, &Said::of(&words)));
    assert!(judged.is_ok(), "in {case:?}: {words:?} {ledger:?}");
    drop(file);
    assert_nothing_left(&id.to_string());
    Outcome { was_killed, words, delays }
}

fn judge(case: &Case, was_killed: bool, ledger: &Ledger, said: &Said) {
    let (claimed, read) = match case.victim {
        Side::Writer => (Some(said), None),
        Side::Reader => (None, Some(said)),
    };
    let last_step = match &case.plan {
        Plan::Die { step, .. } if was_killed => step.as_str(),
        _ => "none",
    };
    let mut untold = 0;
    for offset in (0..LEN).step_by(BLOCK as usize) {
        let of = |had: &&Had| had.offset == offset;
        let unmarked = |had: &&Had| had.offset == offset && !had.again;

        // Each range is claimed once unmarked, and done once.
        let by_victim = claimed.map_or(0, |said| said.has.iter().filter(unmarked).count());
        let by_others = ledger.claimed.iter().filter(unmarked).count();
        assert!(by_victim + by_others <= 1, "claimed twice unmarked: {offset}");
        let all = ledger.claimed.iter().filter(of).count();
        assert!(all <= 1, "filled twice: {offset}");
        if claimed.is_some_and(|said| said.done.contains(&offset)) {
            assert_eq!(all, 0, "filled, and filled again: {offset}");
        }

        // And so it is read.
        let here: Vec<_> = ledger.read.iter().filter(of).collect();
        assert!(here.len() <= 1, "read twice: {offset}");
        let had: Vec<_> = read.map_or(Vec::new(), |said| said.has.iter().filter(of).collect());
        let is_done = read.is_some_and(|said| said.done.contains(&offset));
        assert!(had.iter().filter(|had| !had.again).count() <= 1, "came twice unmarked: {offset}");
        assert!(had.iter().skip(1).all(|had| had.again), "came again unmarked: {offset}");
        match (here.first(), had.is_empty(), is_done) {
            (Some(_), _, true) => panic!("read again what was done: {offset}"),
            (Some(now), false, false) => assert!(now.again, "read again unmarked: {offset}"),
            // What the victim had taken and not told of: one block at the most.
            (Some(now), true, _) if now.again && read.is_some() && was_killed => untold += 1,
            (Some(now), true, _) => assert!(!now.again, "marked for nothing: {offset}"),
            (None, true, _) => panic!("lost: {offset}"),
            (None, false, false) => {
                assert!(matches!(last_step, "free:passed" | "block:called"), "lost with the dead: {offset}");
            }
            (None, false, true) => {}
        }
    }
    assert!(untold <= usize::from(last_step == "take:taken"), "{untold} marked for nothing");
    let is_bound = case.fellows > 0 || case.victim == Side::Reader;
    let marked = ledger.claimed.iter().filter(|had| had.again).count();
    assert!(marked <= if is_bound { 2 } else { 1 }, "{marked} claimed again");
    // It may have died over a range behind the end, of which nobody tells.
    let is_accounted_for = |offset: u64| {
        let is_done = claimed.is_some_and(|said| said.done.contains(&offset));
        is_done || ledger.claimed.iter().any(|had| had.offset == offset && !had.again)
    };
    let is_of_the_file = !(0..LEN).step_by(BLOCK as usize).all(is_accounted_for);
    if was_killed && is_of_the_file && matches!(last_step, "claim:ranged" | "complete:filled") {
        assert!(marked >= 1, "what the dead one had in hand is marked");
    }
}

fn matrix(test: &str, victim: Side, shapes: &[(usize, usize)], steps: &[&str]) {
    if let Some((what, args)) = role() {
        return live(&what, &args);
    }
    let mut killed_at = BTreeSet::new();
    let (mut kills, mut survived) = (0, 0);
    let mut delays = Vec::new();
    for &(fellows, opposite) in shapes {
        for wait in WAITS {
            for next in [Next::AfterTheNews, Next::AtOnce] {
                if next == Next::AtOnce && (wait != Wait::Park || fellows > 0) {
                    continue; // Where the news takes longest, the next is there before.
                }
                let case = Case { victim, wait, fellows, opposite, next, plan: Plan::Rehearse };
                // Alone it comes by everything.
                let alone = Case { fellows: 0, ..case.clone() };
                let rehearsed = steps_told(&run(test, &alone).words);
                for plan in deaths(&rehearsed) {
                    let case = Case { plan: plan.clone(), ..case };
                    let outcome = run(test, &case);
                    let Plan::Die { step, .. } = plan else { unreachable!() };
                    if outcome.was_killed {
                        kills += 1;
                        killed_at.insert(step);
                        delays.extend(outcome.delays.iter().map(|delay| (wait, *delay)));
                    } else {
                        survived += 1; // It did not come by that often this time.
                    }
                }
            }
        }
    }
    print(&format!("{test}: {kills} kills, {survived} missed"), &delays);
    let missing: Vec<_> = steps.iter().filter(|step| !killed_at.contains(**step)).collect();
    assert!(missing.is_empty(), "nobody was killed at {missing:?}");
}

/// The least, the middle and the greatest delay for each `Wait`: printed, not asserted.
fn print(what: &str, delays: &[(Wait, Duration)]) {
    let mut line = what.to_owned();
    for wait in WAITS {
        let mut own: Vec<Duration> = delays.iter().filter(|delay| delay.0 == wait).map(|delay| delay.1).collect();
        own.sort_unstable();
        if let (Some(least), Some(most)) = (own.first(), own.last()) {
            let ms = |time: &Duration| time.as_secs_f64() * 1e3;
            let (least, middle, most) = (ms(least), ms(&own[own.len() / 2]), ms(most));
            line += &format!("; {wait:?} told {} times after {least:.1}/{middle:.1}/{most:.1} ms", own.len());
        }
    }
    println!("{line}");
}

#[test]
fn a_writer_killed_at_any_step_alone_is_followed_by_the_next() {
    matrix(this_test!(), Side::Writer, &[(0, 1), (0, 2)], WRITER);
}

#[test]
fn a_writer_killed_at_any_step_among_others_leaves_them_what_it_had() {
    matrix(this_test!(), Side::Writer, &[(1, 1), (2, 2)], &["claim:claimed", "claim:ticket", "complete:filled"]);
}

#[test]
fn a_reader_killed_at_any_step_alone_is_followed_by_the_next() {
    matrix(this_test!(), Side::Reader, &[(0, 1), (0, 2)], READER);
}

#[test]
fn a_reader_killed_at_any_step_among_others_leaves_them_what_it_had() {
    matrix(this_test!(), Side::Reader, &[(1, 1), (2, 2)], &["take:taken", "free:passed"]);
}

// ---- Deaths one after the other ----

/// Runs a victim to its end, which is at this step.
fn kill_at(test: &str, id: FileId, side: Side, step: &str) {
    let plan = Plan::Die { step: step.to_owned(), nth: 1 };
    let mut victim = start(test, id, side, Wait::Park, &plan);
    victim.tell("go");
    assert!(outlive(victim).was_killed, "at {step}");
}

#[test]
fn who_adopts_from_the_dead_and_dies_over_it_is_adopted_from() {
    let test = this_test!();
    if let Some((what, args)) = role() {
        return live(&what, &args);
    }
    // The dead one's step; whether it had a range, which it may have had in hand.
    let writers = [("claim:claimed", false), ("claim:ticket", true), ("claim:given", true), ("claim:ranged", true)];
    for (step, had_range) in writers {
        for others in 0..=2 {
            let _watchdog = Watchdog::new(format!("{step}, {others} more"), PATIENCE);
            let id = unique();
            let file = create(id, BLOCKS);
            kill_at(test, id, Side::Writer, step);
            for _ in 0..others {
                kill_at(test, id, Side::Writer, "claim:adopted");
            }
            let mut writer = file.writer().unwrap();
            let mut space = writer.claim().unwrap();
            assert_eq!((space.offset(), space.again()), (0, had_range), "{step}, {others}");
            let len = fill(&mut space);
            space.complete(len).unwrap();
            assert_eq!(file.missing().unwrap(), []);
            let read = work_to_the_end(&file, writer);
            assert!(read.iter().all(|had| !had.again), "{read:?}");
            drop(file);
            assert_nothing_left(&id.to_string());
        }
    }
}

/// Writes and reads the rest.
fn work_to_the_end(file: &BlockFile, mut writer: Writer) -> Vec<Had> {
    let book = Book::default();
    std::thread::scope(|scope| {
        scope.spawn(|| write(&mut writer, 0, &book));
        read(&mut file.reader().unwrap(), 1, &book);
    });
    let mut read = book.ledger.into_inner().unwrap().read;
    read.sort_unstable_by_key(|had| had.offset);
    let offsets: Vec<_> = read.iter().map(|had| had.offset).collect();
    assert_eq!(offsets, (0..LEN).step_by(BLOCK as usize).collect::<Vec<_>>());
    read
}

#[test]
fn a_block_whose_readers_die_over_it_comes_again_and_again() {
    let test = this_test!();
    if let Some((what, args)) = role() {
        return live(&what, &args);
    }
    for others in 1..=2 {
        let _watchdog = Watchdog::new(format!("{others} more"), PATIENCE);
        let id = unique();
        let file = create(id, BLOCKS);
        let mut writer = file.writer().unwrap();
        let mut space = writer.claim().unwrap();
        let len = fill(&mut space);
        space.complete(len).unwrap();
        kill_at(test, id, Side::Reader, "take:taken");
        for _ in 0..others {
            kill_at(test, id, Side::Reader, "take:adopted");
        }
        let read = work_to_the_end(&file, writer);
        assert!(read.iter().all(|had| had.again == (had.offset == 0)), "{read:?}");
        drop(file);
        assert_nothing_left(&id.to_string());
    }
}

/// The claim got no range before the file was ending: nothing is missing, and everybody comes to the end.
#[test]
fn who_dies_over_a_claim_without_a_range_keeps_nobody_from_the_end() {
    let test = this_test!();
    if let Some((what, args)) = role() {
        return live(&what, &args);
    }
    for wait in WAITS {
        for finishes_first in [false, true] {
            let _watchdog = Watchdog::new(format!("no range {wait:?} {finishes_first}"), PATIENCE);
            let id = unique();
            let file = create(id, BLOCKS);
            let mut reader = open(id, wait).reader().unwrap();
            let mut writer = open(id, wait).writer().unwrap();
            let mut space = writer.claim().unwrap();
            let len = fill(&mut space);
            kill_at(test, id, Side::Writer, "claim:claimed");
            space.complete(len).unwrap();
            if finishes_first {
                writer.finish().unwrap();
            } else {
                // The word of it alone: its writer leaves at once.
                assert!(matches!(writer.finish_timeout(Duration::ZERO), Ok(()) | Err(Error::TimedOut { .. })));
            }
            drop(writer);
            let book = Book::default();
            read(&mut reader, 0, &book);
            assert_eq!(book.ledger.into_inner().unwrap().read, [Had { offset: 0, again: false }]);
            drop((reader, file));
            assert_nothing_left(&id.to_string());
        }
    }
}

// ---- Many deaths ----

/// Blocks of the file that many die over.
const MANY: u64 = 20_000;

/// Works until the file is at its end, whoever dies meanwhile.
fn toil(what: &str, args: &[String]) {
    let file = open(id_of(args), wait_of(&args[2]));
    let len = BLOCK as usize;
    if what == "Writer" {
        let mut writer = file.writer().unwrap();
        loop {
            match writer.claim() {
                Ok(space) if space.offset() >= MANY * BLOCK => space.complete(0).unwrap(),
                Ok(mut space) => {
                    let (offset, again) = (space.offset(), space.again());
                    tell("has", offset, again);
                    space.copy_from(0, &bytes(offset, len));
                    space.complete(len).unwrap();
                    tell("done", offset, again);
                }
                Err(Error::Finished { .. }) => match writer.finish() {
                    Ok(()) => break,
                    Err(Error::Unfilled { .. }) => {}
                    Err(error) => panic!("{error}"),
                },
                Err(Error::PeerDied { .. } | Error::Disconnected { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    } else {
        let mut reader = file.reader().unwrap();
        loop {
            match reader.claim() {
                Ok(Some(block)) => {
                    let (offset, again) = (block.offset(), block.again());
                    assert!(block.to_vec() == bytes(offset, len), "other bytes at {offset}");
                    tell("has", offset, again);
                    block.complete().unwrap();
                    tell("done", offset, again);
                }
                Ok(None) => break,
                Err(Error::PeerDied { .. } | Error::Disconnected { .. } | Error::Unfilled { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// `ANTIPHON_ROUNDS=<n>` does it n times.
#[test]
fn any_of_many_may_die_at_any_time_and_nothing_is_lost_or_comes_twice_unmarked() {
    const DEATHS: i64 = 40;
    let test = this_test!();
    if let Some((what, args)) = role() {
        return toil(&what, &args);
    }
    let rounds = std::env::var("ANTIPHON_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap());
    for (round, wait) in (0..rounds).flat_map(|round| [(round, Wait::Adaptive), (round, Wait::Park)]) {
        let _watchdog = Watchdog::new(format!("many deaths {wait:?}"), Duration::from_secs(120));
        let id = unique();
        let file = create(id, 8);
        let left = AtomicI64::new(DEATHS);
        // One place at a side: the next comes when the last is dead.
        let fill_a_place = |side: Side, seed: u64| {
            let mut dice = support::Dice::new(seed);
            let words = [id.session.to_string(), id.file.to_string(), format!("{wait:?}")];
            let mut lives = Vec::new();
            loop {
                let worker = Peer::start(test, &format!("{side:?}"), &words.each_ref().map(String::as_str));
                if left.fetch_sub(1, Ordering::Relaxed) > 0 {
                    // Not for something to happen: it shall die anywhere in its work.
                    std::thread::sleep(Duration::from_micros(5000 + dice.below(25_000)));
                    worker.signal(libc::SIGKILL);
                }
                let end = outlive(worker);
                lives.push((Said::of_all(&end.words), end.was_killed));
                if !end.was_killed {
                    return lives;
                }
            }
        };
        let (writers, readers) = std::thread::scope(|scope| {
            let fill_a_place = &fill_a_place;
            let writers: Vec<_> =
                (0..3).map(|nth| scope.spawn(move || fill_a_place(Side::Writer, 6 * round + nth))).collect();
            let readers: Vec<_> =
                (3..6).map(|nth| scope.spawn(move || fill_a_place(Side::Reader, 6 * round + nth))).collect();
            let lives = |places: Vec<std::thread::ScopedJoinHandle<'_, Vec<(Said, bool)>>>| -> Vec<_> {
                places.into_iter().flat_map(|place| place.join().unwrap()).collect()
            };
            (lives(writers), lives(readers))
        });
        let killed = |lives: &[(Said, bool)]| lives.iter().filter(|(_, was_killed)| *was_killed).count();
        println!("{wait:?}: {} writers and {} readers were killed", killed(&writers), killed(&readers));
        for lives in [&writers, &readers] {
            let (mut unmarked, mut has, mut done) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
            for (said, _) in lives {
                said.has
                    .iter()
                    .filter(|had| !had.again)
                    .for_each(|had| *unmarked.entry(had.offset).or_insert(0) += 1);
                has.extend(said.has.iter().map(|had| had.offset));
                said.done.iter().for_each(|offset| *done.entry(*offset).or_insert(0) += 1);
            }
            assert!(unmarked.values().all(|count| *count == 1), "twice unmarked");
            assert!(done.values().all(|count| *count == 1), "done twice");
            // Whoever was killed had one block in hand that it could not tell of, or not that it was done.
            let deaths = killed(lives) as u64;
            assert!(has.len() as u64 + deaths >= MANY, "{} of {MANY}", has.len());
            assert!(done.len() as u64 + deaths >= MANY, "{} of {MANY}", done.len());
        }
        drop(file);
        assert_nothing_left(&id.to_string());
    }
}

/// The last one who sat in a seat has left it, and lives; the next is slow to take it, so that its record still names
/// the last. What becomes of that one says nothing of the next.
#[test]
fn who_sat_in_a_seat_before_dies_for_itself_alone() {
    if let Some((what, args)) = role() {
        let id = id_of(&args);
        if what == "before" {
            drop(open(id, Wait::Park).writer().unwrap());
            say("left");
            support::hear();
            return;
        }
        say("opens");
        support::hear();
        follow(&args[2]);
        let _writer = open(id, Wait::Park).writer().unwrap();
        say("sits");
        support::hear();
        return;
    }
    for wait in WAITS {
        let _watchdog = Watchdog::new(format!("before {wait:?}"), PATIENCE);
        let id = unique();
        let file = create(id, BLOCKS);
        let mut reader = open(id, wait).reader().unwrap();
        let plan = Plan::Stop { step: "attach:repaired".to_owned() }.to_word();
        let args = [id.session.to_string(), id.file.to_string(), plan];
        let args = args.each_ref().map(String::as_str);
        let mut before = Peer::start(this_test!(), "before", &args);
        before.expect("left");
        let mut next = Peer::start(this_test!(), "next", &args);
        next.expect("opens");
        next.tell("go");
        assert!(is_stopped(next.pid()), "it stands still in the middle of it");
        // Looks around a few times: processes and all.
        let a_few_ticks = Duration::from_millis(200);
        let nothing = reader.claim_timeout(a_few_ticks);
        assert!(matches!(nothing, Err(Error::TimedOut { .. } | Error::Disconnected { .. })), "{wait:?}: {nothing:?}");
        next.signal(libc::SIGCONT);
        next.expect("sits");
        let nothing = reader.claim_timeout(a_few_ticks);
        assert!(matches!(nothing, Err(Error::TimedOut { .. })), "{wait:?}: {nothing:?}");
        before.kill();
        let nothing = reader.claim_timeout(a_few_ticks);
        assert!(matches!(nothing, Err(Error::TimedOut { .. })), "{wait:?}: {nothing:?}");
        next.tell("go");
        next.succeed();
        drop((reader, file));
        assert_nothing_left(&id.to_string());
    }
}

#[test]
fn who_is_killed_while_it_cancels_has_cancelled_for_everybody_or_for_nobody() {
    let test = this_test!();
    if let Some((_, args)) = role() {
        let mut writer = open(id_of(&args), Wait::Park).writer().unwrap();
        ready();
        follow(&args[3]);
        writer.cancel("the reason").unwrap();
        return;
    }
    for wait in WAITS {
        for step in CANCELLER {
            let _watchdog = Watchdog::new(format!("cancel {wait:?} {step}"), PATIENCE);
            let id = unique();
            let file = create(id, 1);
            let is_cancelled =
                |error: &Error| matches!(error, Error::Cancelled { reason, .. } if reason == "the reason");
            let (mut reader, mut writer) = (open(id, wait).reader().unwrap(), open(id, wait).writer().unwrap());
            let space = writer.claim().unwrap();
            std::thread::scope(|scope| {
                let reading = scope.spawn(|| {
                    loop {
                        match reader.claim() {
                            Err(Error::PeerDied { .. }) => {}
                            other => break other.map(|block| block.map(|block| block.offset())),
                        }
                    }
                });
                kill_at(test, id, Side::Writer, step);
                if *step == "cancel:said" {
                    let told = reading.join().unwrap();
                    assert!(told.as_ref().is_err_and(is_cancelled), "{wait:?}: {told:?}");
                    let told = writer.claim().map(|space| space.offset());
                    assert!(told.as_ref().is_err_and(is_cancelled), "{wait:?}: {told:?}");
                } else {
                    space.complete(7).unwrap();
                    assert_eq!(reading.join().unwrap().unwrap(), Some(0));
                }
            });
            drop((reader, writer, file));
            // Where nobody cancelled, the block that was taken and dropped stays to be read.
            if *step != "cancel:said" {
                BlockFile::unlink(id).unwrap();
            }
            assert_nothing_left(&id.to_string());
        }
    }
}

#[test]
fn whoever_cancels_after_one_that_was_killed_at_it_is_told_with_its_own_reason() {
    let test = this_test!();
    if let Some((_, args)) = role() {
        let mut writer = open(id_of(&args), Wait::Park).writer().unwrap();
        ready();
        follow(&args[3]);
        writer.cancel(&"the reason of the dead ".repeat(30)).unwrap();
        return;
    }
    for step in CANCELLER {
        let _watchdog = Watchdog::new(format!("cancel after {step}"), PATIENCE);
        let id = unique();
        let file = create(id, 1);
        // Two of them, so that one that goes on for a dead one dies over it as well.
        kill_at(test, id, Side::Writer, step);
        kill_at(test, id, Side::Writer, if *step == "cancel:said" { step } else { "cancel:reasoned" });
        file.cancel("the next one's").unwrap();
        let told = file.reader().unwrap().claim().map(|block| block.map(|block| block.offset()));
        let Err(Error::Cancelled { reason, .. }) = told else { panic!("{step}: {told:?}") };
        match *step {
            "cancel:said" => assert!(reason.starts_with("the reason of the dead "), "{reason}"),
            _ => assert_eq!(reason, "the next one's", "{step}"),
        }
        drop(file);
        assert_nothing_left(&id.to_string());
    }
}

#[test]
fn the_end_that_a_killed_process_did_not_tell_is_told_by_whoever_waits() {
    let test = this_test!();
    if let Some((_, args)) = role() {
        let mut writer = open(id_of(&args), Wait::Park).writer().unwrap();
        ready();
        follow(&args[3]);
        match args[3].contains("cancel") {
            true => writer.cancel("the reason").unwrap(),
            false => writer.finish().unwrap(),
        }
        return;
    }
    for step in ["finish:ending", "cancel:said"] {
        for wait in WAITS {
            let _watchdog = Watchdog::new(format!("{step} {wait:?}"), PATIENCE);
            let id = unique();
            let file = create(id, 1);
            let intruder = Intruder::new(&id.to_string());
            let (mut reader, mut writer) = (open(id, wait).reader().unwrap(), open(id, wait).writer().unwrap());
            // What is still to be filled keeps the reader waiting once the file is ending.
            let space = writer.claim().unwrap();
            std::thread::scope(|scope| {
                let reading = scope.spawn(|| {
                    loop {
                        match reader.claim() {
                            Ok(Some(block)) => block.complete().unwrap(),
                            Err(Error::PeerDied { .. }) => {}
                            other => break other.map(|_| ()),
                        }
                    }
                });
                kill_at(test, id, Side::Writer, step);
                // Both boards say it, which only the dead one had to do: see docs/layout.md. The watchdog is the limit.
                let boards = [16512, 16640].map(|at| intruder.word(intruder.len() - 65536 + at));
                while boards.iter().any(|board| board.load(Ordering::Relaxed) & 1 << 8 == 0) {
                    std::thread::yield_now();
                }
                let completed = space.complete(7);
                let read = reading.join().unwrap();
                match step {
                    "finish:ending" => assert!(completed.is_ok() && read.is_ok(), "{completed:?} {read:?}"),
                    _ => assert!(matches!(read, Err(Error::Cancelled { .. })), "{read:?}"),
                }
            });
            drop((reader, writer, file));
            assert_nothing_left(&id.to_string());
        }
    }
}
