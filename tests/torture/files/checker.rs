//! The proof for one file: whether the logs of its writers and readers can be what they are without a promise having
//! been broken.
//!
//! # What it assumes
//!
//! * One clock is right for all processes, and a log ends with all that its process had stored, as in the
//!   [channels' checker](crate::checker).
//! * Each number of a process names one operation of one of its threads, and what is filled tells who filled it.
//! * No two writers choose the same place, and none chooses one that the others come to by themselves.
//! * Who cleans may take a file in which nothing stands but what dead writers had not completed, once all have gone.
//! * Nobody else works on the file. When all have gone, somebody comes who fills what is missing, finishes the file and
//!   reads it to its end, unless it is not there any more; it is in the logs like everybody.
//! * Who dies while it claims may have got a block, and at most one; nobody wrote down which. Such a *phantom* explains
//!   one mark that nothing else explains, and nothing more.
//!
//! # What it proves
//!
//! Ranges are apart from each other, so each is looked at alone: who had it in hand, in which order. An owner has a range
//! from the end of its claim until it begins to pass it on, lets go of it or dies: so long it is its own for certain.
//!
//! | | a violation is |
//! |---|---|
//! | lost | a range that was completed, or given to a writer, and that no reader had completed when all was over; unless the file was cancelled |
//! | altered | bytes that are not what their writer, the range and the length ask for |
//! | invented | a block that nobody filled, or that came before it was filled, or with another length |
//! | duplicated | a range that a writer gets although one completed it, or a reader although one did; two completings of one range; bytes of another completing than the acknowledged one |
//! | unmarked | a range that somebody had in hand, or can have had, and that comes again without its mark |
//! | marked | a mark on what nobody can have had |
//! | withdrawn | a block whose writer was told that it was not handed on |
//! | two at once | a range in two hands; more blocks in hand than there are |
//! | untrue | the end, or `finish`, told while something was certainly to come; an end that nobody began; `PeerDied` where nobody died, or twice for one death; `Disconnected` while one sat there all the time, or while a range was missing; `Unfilled` that names what was completed or nobody's, or does not name what was missing; `Cancelled` where nobody cancelled, or with a reason that nobody gave; `TimedOut` before its time, or nothing at all, although a block was there all the time; `NotFound` although somebody had it open |
//! | forked | a handle that worked in a forked child |
//! | hangs | somebody of a side who was not told that the last one of the other side died: the next one comes only then (in `crowd.rs`, for half of the files) |
//! | miscounted | bytes that came in, or out, other than those that were completed, give or take those of the dead |
//!
//! # What it cannot see
//!
//! * What a phantom had, and whether one that died over `complete` had completed: both are possible until the range comes
//!   again, or does not.
//! * A block that is lost to its file as a place, without a range in it: it is one fewer, until none is left and somebody
//!   hangs.
//! * In which order blocks come: only one reader with one writer is promised an order.
//! * A wake-up that is lost and made good by a tick: that is a delay, and delays are figures.
//! * The order of memory, as for channels: `src/blocks/model` has that.

use super::history::{Fate, FileHistory, Hold, Phantom};
use super::{THREADS, is_last_to_come};
use crate::checker::Violation;
use crate::history::{Done, Life, done};
use crate::log::{How, Outcome, Record, What};
use crate::plan::Side;
use std::collections::{BTreeMap, BTreeSet};

/// Violations of one file, each with the range that it is about.
type Found = Vec<(Option<u64>, Violation)>;

fn violation(what: &'static str, about: &Done, why: &str) -> Violation {
    let last = about.ended.map_or(about.begun.time, |ended| ended.time);
    let ended = about.ended.map_or("its process died in it".to_owned(), |ended| format!("{ended}"));
    Violation { what, why: format!("{}; {ended}: {why}", about.begun), first: about.begun.time, last }
}

fn of_hold(what: &'static str, hold: &Hold, why: &str) -> (Option<u64>, Violation) {
    let mut violation = violation(what, &hold.got, why);
    violation.why = format!("{:?} {}", hold.side, violation.why);
    (Some(hold.offset()), violation)
}

/// What is known of one range.
#[derive(Debug, Default)]
struct Range {
    writers: Vec<Hold>,
    readers: Vec<Hold>,
}

impl Range {
    /// From when on it was certainly given, and not read yet.
    fn given(&self) -> u64 {
        let claimed = self.writers.first().map_or(u64::MAX, Hold::since);
        let taken = self.readers.first().map_or(u64::MAX, Hold::since);
        claimed.min(taken)
    }

    /// When that may have been over at the earliest: a reader's completing, or that there is nothing to be read.
    fn done(&self) -> u64 {
        let last = match self.readers.last() {
            Some(last) => Some(last).filter(|hold| may_be_passed(hold)),
            None => self.writers.last().filter(|hold| is_abstained(hold)),
        };
        last.and_then(|hold| hold.passing).map_or(u64::MAX, |passing| passing.begun.time)
    }

    /// Whether it is a dead writer's and nobody else's: when all have gone, that keeps no file from whoever cleans.
    fn keeps_nothing(&self) -> bool {
        let last = self.writers.last();
        self.readers.is_empty() && last.is_some_and(|last| matches!(last.fate, Fate::DiedWith | Fate::MayBePassed))
    }

    /// When it may have been filled at the earliest, if it ever was.
    fn filled(&self) -> u64 {
        let last = self.writers.last().filter(|hold| may_be_passed(hold));
        last.and_then(|hold| hold.passing).map_or(u64::MAX, |passing| passing.begun.time)
    }
}

fn may_be_passed(hold: &Hold) -> bool {
    matches!(hold.fate, Fate::Passed | Fate::MayBePassed)
}

fn is_abstained(hold: &Hold) -> bool {
    may_be_passed(hold) && hold.len() == 0
}

/// Every violation in what one file's processes wrote.
pub fn check(history: &FileHistory) -> Vec<(Option<u64>, Violation)> {
    let mut found = Found::new();
    let mut ranges: BTreeMap<u64, Range> = BTreeMap::new();
    for hold in history.holds(Side::Writer) {
        ranges.entry(hold.offset()).or_default().writers.push(hold);
    }
    for hold in history.holds(Side::Reader) {
        ranges.entry(hold.offset()).or_default().readers.push(hold);
    }
    check_altered(history, &mut found);
    check_owners(&ranges, &mut found);
    check_content(history, &ranges, &mut found);
    check_marks(history, &ranges, &mut found);
    check_many(history, &ranges, &mut found);
    if history.cancels().is_empty() {
        check_lost(history, &ranges, &mut found);
    }
    check_ends(history, &ranges, &mut found);
    check_in_vain(history, &ranges, &mut found);
    check_errors(history, &ranges, &mut found);
    check_bytes(history, &mut found);
    found
}

fn check_altered(history: &FileHistory, found: &mut Found) {
    for record in history.writers.iter().chain(&history.readers).filter(|record| record.what() == What::Altered) {
        let (first, last) = (record.time, record.time);
        found.push((None, Violation { what: "altered", why: format!("{record}; see the remarks"), first, last }));
    }
}

/// One after the other, and nobody after one who was done.
fn check_owners(ranges: &BTreeMap<u64, Range>, found: &mut Found) {
    for range in ranges.values() {
        let mut all: Vec<&Hold> = range.writers.iter().chain(&range.readers).collect();
        all.sort_by_key(|hold| hold.since());
        for pair in all.windows(2) {
            if pair[0].until > pair[1].since() {
                found.push(of_hold("two at once", pair[1], &format!("it was in the hands of {}", pair[0].got.begun)));
            }
        }
        for holds in [&range.writers, &range.readers] {
            for pair in holds.windows(2) {
                if pair[0].fate == Fate::Passed {
                    let why = format!("it was completed by {}", pair[0].got.begun);
                    found.push(of_hold("duplicated", &pair[1], &why));
                } else if !pair[1].is_marked() {
                    let why = format!("it was in the hands of {} before", pair[0].got.begun);
                    found.push(of_hold("unmarked", &pair[1], &why));
                }
            }
        }
    }
}

/// What readers found in their blocks.
fn check_content(history: &FileHistory, ranges: &BTreeMap<u64, Range>, found: &mut Found) {
    let is_read = |record: &&Record| record.what() == What::Read;
    let read: BTreeMap<(u32, u32), &Record> =
        history.readers.iter().filter(is_read).map(|record| ((record.incarnation, record.number), record)).collect();
    for range in ranges.values() {
        let acknowledged: Vec<&Hold> = range.writers.iter().filter(|hold| hold.fate == Fate::Passed).collect();
        for hold in &range.readers {
            let taken = hold.got.ended.map_or(0, |ended| ended.len);
            // Whoever it was, it must have begun to complete by then.
            let may_have_filled =
                |writer: &&Hold| writer.passing.is_some_and(|passing| passing.begun.time <= hold.since());
            let Some(read) = read.get(&hold.key()) else {
                if !range.writers.iter().any(|writer| may_have_filled(&writer)) {
                    found.push(of_hold("invented", hold, "nobody had filled it"));
                }
                continue;
            };
            let filled_by = |writer: &&Hold| writer.passing.is_some_and(|passing| passing.begun.id == read.id);
            let Some(writer) = range.writers.iter().find(filled_by) else {
                found.push(of_hold("invented", hold, &format!("nobody filled that: {read}")));
                continue;
            };
            if !may_have_filled(&writer) || writer.len() != taken {
                found.push(of_hold("invented", hold, "it came before it was completed, or with another length"));
            }
            match writer.fate {
                Fate::Passed | Fate::MayBePassed => {}
                _ => found.push(of_hold("withdrawn", hold, "its writer was told that it was not handed on")),
            }
            if acknowledged.iter().any(|other| other.key() != writer.key()) {
                found.push(of_hold("duplicated", hold, "somebody else completed that range, and was told so"));
            }
        }
    }
}

/// A mark that nothing explains but one who died while it claimed; each of those explains one.
fn check_marks(history: &FileHistory, ranges: &BTreeMap<u64, Range>, found: &mut Found) {
    for side in [Side::Writer, Side::Reader] {
        let phantoms = history.phantoms(side);
        let mut unexplained: Vec<(&Hold, Vec<usize>)> = Vec::new();
        for range in ranges.values() {
            let holds = if side == Side::Writer { &range.writers } else { &range.readers };
            let Some(first) = holds.first().filter(|first| first.is_marked()) else { continue };
            // A reader finds what was filled.
            let filled = if side == Side::Writer {
                0
            } else {
                range.writers.iter().filter_map(begun_to_pass).min().unwrap_or(0)
            };
            let explains = |phantom: &Phantom| {
                phantom.begun <= first.since() && phantom.died <= first.since() && phantom.gone >= filled
            };
            let may_be = (0..phantoms.len()).filter(|nth| explains(&phantoms[*nth])).collect();
            unexplained.push((first, may_be));
        }
        let mut taken: Vec<Option<usize>> = vec![None; phantoms.len()];
        for nth in 0..unexplained.len() {
            if !matched(nth, &unexplained, &mut taken, &mut BTreeSet::new()) {
                found.push(of_hold("marked", unexplained[nth].0, "nobody can have had it before"));
            }
        }
    }
}

fn begun_to_pass(hold: &Hold) -> Option<u64> {
    hold.passing.map(|passing| passing.begun.time)
}

/// Finds a phantom for one, moving others where that helps.
fn matched(
    nth: usize,
    all: &[(&Hold, Vec<usize>)],
    taken: &mut [Option<usize>],
    tried: &mut BTreeSet<usize>,
) -> bool {
    for phantom in &all[nth].1 {
        if !tried.insert(*phantom) {
            continue;
        }
        let is_to_be_had = match taken[*phantom] {
            None => true,
            Some(other) => matched(other, all, taken, tried),
        };
        if is_to_be_had {
            taken[*phantom] = Some(nth);
            return true;
        }
    }
    false
}

/// No more blocks are in hand at once than there are.
fn check_many(history: &FileHistory, ranges: &BTreeMap<u64, Range>, found: &mut Found) {
    let most = history.plan.blocks as i64;
    let mut changes: BTreeMap<u32, Vec<(u64, i64, &Hold)>> = BTreeMap::new();
    for range in ranges.values() {
        for hold in range.writers.iter().chain(&range.readers).filter(|hold| hold.since() < hold.until) {
            let of_part = changes.entry(history.plan.part_of(hold.offset())).or_default();
            of_part.extend([(hold.since(), 1, hold), (hold.until, -1, hold)]);
        }
    }
    for mut changes in changes.into_values() {
        changes.sort_by_key(|(time, change, _)| (*time, *change));
        let mut now = 0;
        for (_, change, hold) in changes {
            now += change;
            if now > most {
                found.push(of_hold("two at once", hold, &format!("{now} are in hand of {most} blocks")));
                break;
            }
        }
    }
}

/// When all is over, and nobody cancelled it.
fn check_lost(history: &FileHistory, ranges: &BTreeMap<u64, Range>, found: &mut Found) {
    let plan = &history.plan;
    let is_gone = |record: &Record| record.what() == What::Attach && record.outcome() == Outcome::NotFound;
    let may_be_cleaned = history.has_cleaner && history.writers.iter().chain(&history.readers).any(is_gone);
    let mut last_of: BTreeMap<u32, u64> = BTreeMap::new();
    for (offset, range) in ranges {
        if let Some(ticket) = plan.ticket_of(*offset) {
            let last = last_of.entry(plan.part_of(*offset)).or_default();
            *last = (*last).max(ticket);
        }
        if range.done() == u64::MAX && !(may_be_cleaned && range.keeps_nothing()) {
            let last = range.readers.last().or(range.writers.last());
            let why = match range.filled() {
                u64::MAX => "it was given to a writer, and nobody filled it",
                _ => "it was completed, and nobody read it to its end",
            };
            found.extend(last.map(|hold| of_hold("lost", hold, why)));
        }
    }
    for (part, last) in last_of {
        for ticket in 0..last {
            let offset = plan.base_of(part) + ticket * plan.block_bytes as u64;
            let is_a_phantoms = may_be_cleaned && !history.phantoms(Side::Writer).is_empty();
            if !ranges.contains_key(&offset) && !is_a_phantoms {
                let why = format!("{offset:#x}: one behind it was given, and nobody ever had it");
                found.push((Some(offset), Violation { what: "lost", why, first: 0, last: 0 }));
            }
        }
    }
}

/// Whether an end was told too early.
fn check_ends(history: &FileHistory, ranges: &BTreeMap<u64, Range>, found: &mut Found) {
    let writers = done(&history.writers);
    let ends = writers
        .iter()
        .filter(|one| one.begun.what() == What::Finish || one.begun.what() == What::Fill && one.begun.len == 0);
    let first_end = ends.map(|one| one.begun.time).min().unwrap_or(u64::MAX);
    let pending = |from: u64, to: u64| move |(_, range): &(&u64, &Range)| range.given() <= from && range.done() >= to;
    for one in done(&history.readers).iter().filter(|one| one.outcome() == Some(Outcome::End)) {
        if first_end > one.end() {
            found.push((None, violation("untrue", one, "nobody had begun to end it")));
        }
        // Who reads one part by itself says which.
        let part = one.begun.spare.checked_sub(1);
        let is_of = |offset: u64| part.is_none_or(|part| part == u64::from(history.plan.part_of(offset)));
        let mut of_it = ranges.iter().filter(|(offset, _)| is_of(**offset));
        if let Some((offset, _)) = of_it.find(pending(one.begun.time, one.end())) {
            found.push((Some(*offset), violation("untrue", one, &format!("{offset:#x} was still to be read"))));
        }
    }
    for one in &writers {
        match (one.begun.what(), one.outcome()) {
            (What::Finish, Some(Outcome::Fine)) => {
                let is_claimed = |(offset, range): &(&u64, &Range)| {
                    let since = range.writers.first().map_or(u64::MAX, Hold::since);
                    u64::from(history.plan.part_of(**offset)) == one.begun.len
                        && since <= one.begun.time
                        && range.filled() >= one.end()
                };
                if let Some((offset, _)) = ranges.iter().find(is_claimed) {
                    let why = format!("{offset:#x} was still to be filled");
                    found.push((Some(*offset), violation("untrue", one, &why)));
                }
            }
            (_, Some(Outcome::Finished)) if first_end > one.end() => {
                found.push((None, violation("untrue", one, "nobody had begun to end it")));
            }
            _ => {}
        }
    }
}

/// Who looked for a block, or waited, in vain while one was there: what has come by then beats whatever ends the wait.
fn check_in_vain(history: &FileHistory, ranges: &BTreeMap<u64, Range>, found: &mut Found) {
    use Outcome::{Disconnected, Nothing, PeerDied, TimedOut, Unfilled};
    // Who reads several parts looks at one after the other.
    if history.plan.parts > 0 {
        return;
    }
    let cancelled = history.cancels().iter().map(|cancel| cancel.begun.time).min().unwrap_or(u64::MAX);
    let phantoms = history.phantoms(Side::Reader);
    let is_in_vain = |one: &&Done| {
        one.begun.what() == What::Take
            && one.end() < cancelled
            && matches!(one.outcome(), Some(Nothing | TimedOut | PeerDied | Disconnected | Unfilled))
    };
    for one in done(&history.readers).iter().filter(is_in_vain) {
        let was_there = |range: &Range| {
            let completed = range.writers.iter().find(|hold| hold.fate == Fate::Passed && hold.len() > 0);
            let completed = completed.and_then(|hold| hold.passing).map_or(u64::MAX, |passing| passing.end());
            let taken = range.readers.first().map_or(u64::MAX, |hold| hold.got.begun.time);
            completed <= one.begun.time && taken >= one.end() && !may_have_it(&phantoms, completed, one.end())
        };
        if let Some((offset, _)) = ranges.iter().find(|(_, range)| was_there(range)) {
            found.push((Some(*offset), violation("untrue", one, "a block was there all the time")));
        }
    }
}

/// Whether each error was so.
fn check_errors(history: &FileHistory, ranges: &BTreeMap<u64, Range>, found: &mut Found) {
    let cancels = history.cancels();
    let phantoms = history.phantoms(Side::Writer);
    for side in [Side::Writer, Side::Reader] {
        let other = if side == Side::Writer { Side::Reader } else { Side::Writer };
        let others = history.sittings(other);
        let mut told: BTreeMap<(u32, u32, u32, u64), usize> = BTreeMap::new();
        let named = named(history.of(side));
        for one in &done(history.of(side)) {
            let Some(ended) = one.ended else { continue };
            let (begun, end) = (one.begun.time, ended.time);
            let mut wrong = |offset: Option<u64>, why: &str| found.push((offset, violation("untrue", one, why)));
            let is_of_session = one.begun.how() == How::Session;
            match ended.outcome() {
                Outcome::Begun | Outcome::Fine | Outcome::Nothing | Outcome::Finished | Outcome::End => {}
                Outcome::PeerDied => {
                    let of_side = if is_of_session { Side::Host } else { other };
                    // A host stands in for the writer that it gave a file to, until that comes.
                    let is_file_of_session = history.plan.parts > 0 && side == Side::Reader;
                    let is_it = |life: &&Life| {
                        (life.side == of_side || is_file_of_session && life.side == Side::Host)
                            && life.died.is_some_and(|died| died <= end)
                            && (ended.limit == 0 || ended.limit == life.pid)
                    };
                    let dead = history.lives.iter().filter(is_it).count();
                    let desk = (
                        one.begun.incarnation,
                        one.begun.number >> 24,
                        ended.limit,
                        one.begun.len * u64::from(side == Side::Writer),
                    );
                    // In a session each thread of a reader has each part open for itself.
                    let attachments = match history.plan.parts {
                        0 => 1,
                        parts => parts * THREADS,
                    };
                    let times = told.entry(desk).or_default();
                    *times += 1;
                    if dead == 0 {
                        wrong(None, "nobody of the other side had died");
                    } else if *times > dead * attachments as usize && ended.limit != 0 && !is_of_session {
                        wrong(None, "it had been told of that death before");
                    }
                }
                Outcome::Disconnected if is_of_session => {}
                Outcome::Disconnected => {
                    // Of a session's parts each is left for itself, and so is another file of the same name.
                    let sits = |(_, since, until): &(u32, u64, u64)| *since <= begun && *until >= end;
                    if history.plan.parts == 0 && others.iter().any(sits) {
                        wrong(None, "one of the other side sat there all the time");
                    }
                    if let Some(offset) = certainly_missing(ranges, &phantoms, begun, end)
                        .filter(|_| side == Side::Reader && history.plan.parts == 0)
                    {
                        wrong(Some(offset), "a range was missing, and it was not named");
                    }
                }
                Outcome::Unfilled => {
                    let ranges_named = named.get(&(one.begun.incarnation, one.begun.number));
                    let ranges_named = ranges_named.map_or(&[][..], |named| &named[..]);
                    if ranges_named.is_empty() {
                        wrong(None, "it names no range");
                    }
                    for (offset, len) in ranges_named {
                        if let Some(why) = is_not_missing(ranges.get(offset), &phantoms, begun, end) {
                            wrong(Some(*offset), &format!("{offset:#x}: {why}"));
                        }
                        if *len != history.plan.block_bytes as u64 {
                            wrong(Some(*offset), "a range that is none");
                        }
                    }
                    let is_named = |offset: &u64| ranges_named.iter().any(|(named, _)| named == offset);
                    let missing = certainly_missing(ranges, &phantoms, begun, end);
                    if let Some(offset) = missing.filter(|offset| !is_named(offset) && history.plan.parts == 0) {
                        wrong(Some(offset), "a range was missing, and it was not named");
                    }
                }
                Outcome::Cancelled => {
                    let before: Vec<&Done> = cancels.iter().filter(|cancel| cancel.begun.time <= end).collect();
                    let is_given = before.iter().any(|cancel| cancel.begun.id == ended.id);
                    // Another who cancelled may be faster than the one whose reason it is; or that one died over it.
                    let may_be_empty = before.len() > 1 || before.iter().any(|cancel| cancel.ended.is_none());
                    if before.is_empty() {
                        wrong(None, "nobody had cancelled it");
                    } else if !(is_given || ended.id == 0 && may_be_empty) {
                        wrong(None, "for a reason that nobody gave");
                    }
                }
                Outcome::TimedOut => {
                    if !is_of_session && !one.kept_its_limit() {
                        wrong(None, "its time was not up");
                    }
                }
                Outcome::TooLong => {
                    if one.begun.len <= history.plan.block_bytes as u64 {
                        wrong(None, "it was not too long");
                    }
                }
                Outcome::NotFound if one.begun.what() == What::Attach => {
                    let parts = history.plan.parts;
                    // Of a session's parts each has a region of its own; who comes last says which it looked for.
                    let sat = others.iter().chain(&history.sittings(side)).any(|(incarnation, since, until)| {
                        *incarnation != one.begun.incarnation && *since <= begun && *until >= end
                    });
                    let is_it = |offset: u64| parts == 0 || u64::from(history.plan.part_of(offset)) == one.begun.len;
                    let is_kept = |range: &Range| !(history.has_cleaner && range.keeps_nothing());
                    let pending = |range: &Range| range.given() <= begun && range.done() >= end && is_kept(range);
                    let pending = ranges.iter().find(|(offset, range)| is_it(**offset) && pending(range));
                    if sat && parts == 0 {
                        wrong(None, "somebody had it open");
                    } else if let Some((offset, _)) = pending.filter(|_| cancels.is_empty()) {
                        wrong(Some(*offset), "somebody had still to fill it, or to read it");
                    }
                }
                Outcome::NoFile if is_of_session => {
                    let pending = ranges.iter().find(|(_, range)| range.given() <= begun && range.done() >= end);
                    if let Some((offset, _)) = pending.filter(|_| cancels.is_empty()) {
                        wrong(Some(*offset), "somebody had still to fill it, or to read it");
                    }
                }
                Outcome::NoHost | Outcome::SeatTaken if is_of_session => {}
                Outcome::NoSpace if history.may_lack_space => {}
                Outcome::NoDescriptors if history.may_lack_descriptors => {}
                _ => wrong(None, "that cannot be"),
            }
        }
    }
}

/// The ranges that errors name.
fn named(records: &[Record]) -> BTreeMap<(u32, u32), Vec<(u64, u64)>> {
    let mut named: BTreeMap<(u32, u32), Vec<(u64, u64)>> = BTreeMap::new();
    for record in records.iter().filter(|record| record.what() == What::Named) {
        named.entry((record.incarnation, record.number)).or_default().push((record.spare, record.len));
    }
    named
}

/// Whether somebody who died while it claimed may have had a block at some time from `first` to `last`.
fn may_have_it(phantoms: &[Phantom], first: u64, last: u64) -> bool {
    phantoms.iter().any(|phantom| phantom.begun <= last && phantom.gone >= first)
}

/// A range that was nobody's from `begun` to `end`, and still to be filled.
fn certainly_missing(ranges: &BTreeMap<u64, Range>, phantoms: &[Phantom], begun: u64, end: u64) -> Option<u64> {
    let is_missing = |range: &Range| {
        // Who begins to claim by then may have got it.
        let last = range.writers.iter().rfind(|hold| hold.got.begun.time <= end);
        let is_loose = |last: &Hold| matches!(last.fate, Fate::LetGo | Fate::DiedWith) && last.released < begun;
        last.is_some_and(|last| is_loose(last) && !may_have_it(phantoms, last.until, end))
    };
    ranges.iter().find(|(_, range)| is_missing(range)).map(|(offset, _)| *offset)
}

/// Why a range that an error names cannot have been missing.
fn is_not_missing(range: Option<&Range>, phantoms: &[Phantom], begun: u64, end: u64) -> Option<&'static str> {
    let may_be_a_phantoms = may_have_it(phantoms, 0, end);
    let Some(range) = range else {
        return Some("nobody ever had it").filter(|_| !may_be_a_phantoms);
    };
    let filled = range.writers.iter().find(|hold| hold.fate == Fate::Passed).and_then(|hold| hold.passing);
    if filled.is_some_and(|filled| filled.end() < begun) {
        return Some("it was completed");
    }
    if range.writers.iter().any(|hold| hold.since() <= begun && hold.until >= end) {
        return Some("somebody who lives had it in hand");
    }
    let given = range.writers.first().map_or(u64::MAX, |hold| hold.got.begun.time);
    if given > end && !may_be_a_phantoms {
        return Some("it was not given to anybody yet");
    }
    None
}

/// What whoever came when all had gone was told of the bytes that went through, and what they wrote.
fn check_bytes(history: &FileHistory, found: &mut Found) {
    if history.plan.parts > 0 {
        return;
    }
    let writers = done(&history.writers);
    let attached = |one: &&Done| one.begun.what() == What::Attach && is_last_to_come(one.begun.incarnation);
    let Some(seen) = writers
        .iter()
        .find(attached)
        .filter(|one| one.outcome() == Some(Outcome::Fine) && one.begun.how() == How::Open)
    else {
        return;
    };
    let Some(ended) = seen.ended else { return };
    let before = |hold: &&Hold| hold.got.begun.time < seen.begun.time && may_be_passed(hold);
    for (side, many) in [(Side::Writer, ended.len), (Side::Reader, ended.id)] {
        let holds = history.holds(side);
        let len =
            |hold: &Hold| if side == Side::Writer { hold.len() } else { hold.got.ended.map_or(0, |ended| ended.len) };
        let sum = |fate: Fate| holds.iter().filter(before).filter(|hold| hold.fate == fate).map(len).sum::<u64>();
        let (certain, doubtful) = (sum(Fate::Passed), sum(Fate::MayBePassed));
        if many < certain || many > certain + doubtful {
            let why =
                format!("{side:?}s completed {certain} bytes, and perhaps {doubtful} more, and {many} were counted");
            found.push((None, violation("miscounted", seen, &why)));
        }
    }
}

/// How long those who waited took to be told of a death, in nanoseconds.
pub fn delays(history: &FileHistory) -> Vec<u64> {
    let mut delays = Vec::new();
    for (side, other) in [(Side::Writer, Side::Reader), (Side::Reader, Side::Writer)] {
        for one in done(history.of(side)) {
            let Some(ended) = one.ended.filter(|ended| ended.outcome() == Outcome::PeerDied) else { continue };
            let is_it =
                |life: &&Life| life.side == other && life.pid == ended.limit && one.begun.how() != How::Session;
            let died = history.lives.iter().filter(is_it).filter_map(|life| life.died);
            let last = died.filter(|died| *died <= ended.time).max();
            delays.extend(last.filter(|died| one.begun.time < *died).map(|died| ended.time - died));
        }
    }
    delays
}
