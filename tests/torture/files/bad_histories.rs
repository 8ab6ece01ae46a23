//! Histories made up by hand: a good one of each kind that the checker has to accept, and what differs from it by one
//! lie, that it has to refuse. So each row of its table has been seen red.

use super::checker;
use super::history::FileHistory;
use crate::bytes::id;
use crate::history::Life;
use crate::log::{How, MARKED, Outcome, Record, What};
use crate::plan::{CHOSEN, File, Side};

const MILLISECOND: u64 = 1_000_000;
const BLOCK: u64 = 4096;

/// Writes a history, a millisecond a line. Two writers and two readers sit; the ranges are numbered.
struct Tale {
    history: FileHistory,
    now: u64,
    number: u32,
}

/// One of them.
#[derive(Clone, Copy)]
struct Who(Side, u32);

const WRITER: Who = Who(Side::Writer, 1);
const ANOTHER_WRITER: Who = Who(Side::Writer, 2);
const READER: Who = Who(Side::Reader, 1);
const ANOTHER_READER: Who = Who(Side::Reader, 2);

impl Tale {
    fn new() -> Tale {
        let plan = File {
            block_bytes: BLOCK as usize,
            blocks: 4,
            len: 10,
            base: 0,
            writers: 2,
            readers: 2,
            threads: 1,
            ends_by_empty: false,
            cancelled_after: None,
            abandoned_after: None,
            chosen: 0,
            is_held: false,
            is_patient: false,
            parts: 0,
        };
        let (writers, readers, lives) = (Vec::new(), Vec::new(), Vec::new());
        let (may_lack_space, may_lack_descriptors, has_cleaner) = (false, false, false);
        let history =
            FileHistory { plan, writers, readers, lives, may_lack_space, may_lack_descriptors, has_cleaner };
        let mut tale = Tale { history, now: 1_000_000_000, number: 0 };
        for who in [WRITER, ANOTHER_WRITER, READER, ANOTHER_READER] {
            tale.comes(who);
        }
        tale
    }

    fn tick(&mut self) -> u64 {
        self.now += MILLISECOND;
        self.now
    }

    fn next(&mut self) -> u32 {
        self.number += 1;
        self.number
    }

    fn record(&mut self, who: Who, number: u32, what: What, how: How, outcome: Outcome) -> &mut Record {
        let mut record = Record::new(who.1, number, what, how, outcome);
        record.time = self.tick();
        let records = if who.0 == Side::Writer { &mut self.history.writers } else { &mut self.history.readers };
        records.push(record);
        records.last_mut().unwrap()
    }

    fn comes(&mut self, who: Who) {
        let started = self.tick();
        let Who(side, incarnation) = who;
        let pid = 100 * side as u32 + incarnation;
        self.history.lives.push(Life { side, incarnation, pid, started, died: None, gone: u64::MAX });
        let number = self.next();
        self.record(who, number, What::Attach, How::Open, Outcome::Begun);
        self.record(who, number, What::Attach, How::Open, Outcome::Fine);
    }

    fn life(&mut self, who: Who) -> &mut Life {
        let is_it = |life: &&mut Life| life.side == who.0 && life.incarnation == who.1;
        self.history.lives.iter_mut().find(is_it).unwrap()
    }

    fn dies(&mut self, who: Who) {
        let (died, gone) = (self.tick(), self.tick());
        let life = self.life(who);
        (life.died, life.gone) = (Some(died), gone);
    }

    fn leaves(&mut self, who: Who) {
        let number = self.next();
        self.record(who, number, What::Leave, How::Drop, Outcome::Begun);
        let gone = self.tick();
        self.life(who).gone = gone;
    }

    fn begins(&mut self, who: Who) -> u32 {
        let number = self.next();
        let what = if who.0 == Side::Writer { What::Claim } else { What::Take };
        self.record(who, number, what, How::Claim, Outcome::Begun);
        number
    }

    fn ends(&mut self, who: Who, number: u32, outcome: Outcome) -> &mut Record {
        let what = if who.0 == Side::Writer { What::Claim } else { What::Take };
        self.record(who, number, what, How::Claim, outcome)
    }

    /// Gets a range. Returns the operation's number.
    fn gets(&mut self, who: Who, range: u64, flags: u8) -> u32 {
        let number = self.begins(who);
        let record = self.ends(who, number, Outcome::Fine);
        (record.spare, record.len, record.flags) = (range * BLOCK, BLOCK, flags);
        number
    }

    /// A writer is about to complete what it has.
    fn fills(&mut self, who: Who, number: u32, range: u64, len: u64) {
        let record = self.record(who, number, What::Fill, How::Complete, Outcome::Begun);
        (record.spare, record.len, record.id) = (range * BLOCK, len, id(who.1, number));
    }

    fn filled(&mut self, who: Who, number: u32, outcome: Outcome) {
        self.record(who, number, What::Fill, How::Complete, outcome);
    }

    fn lets_go(&mut self, who: Who, number: u32) {
        self.record(who, number, What::LetGo, How::Drop, Outcome::Begun);
        self.record(who, number, What::LetGo, How::Drop, Outcome::Fine);
    }

    /// A writer claims and completes a range; who that was.
    fn writes(&mut self, who: Who, range: u64, flags: u8) -> u64 {
        let number = self.gets(who, range, flags);
        self.fills(who, number, range, BLOCK);
        self.filled(who, number, Outcome::Fine);
        id(who.1, number)
    }

    /// A reader looks at what it has.
    fn looks(&mut self, who: Who, number: u32, range: u64, of: u64) {
        let record = self.record(who, number, What::Read, How::Complete, Outcome::Fine);
        (record.spare, record.len, record.id) = (range * BLOCK, BLOCK, of);
    }

    fn completes(&mut self, who: Who, number: u32) {
        self.record(who, number, What::LetGo, How::Complete, Outcome::Begun);
        self.record(who, number, What::LetGo, How::Complete, Outcome::Fine);
    }

    fn reads(&mut self, who: Who, range: u64, of: u64, flags: u8) {
        let number = self.gets(who, range, flags);
        self.looks(who, number, range, of);
        self.completes(who, number);
    }

    fn finishes(&mut self, who: Who) {
        let number = self.next();
        self.record(who, number, What::Finish, How::Finish, Outcome::Begun);
        self.record(who, number, What::Finish, How::Finish, Outcome::Fine);
    }

    fn told(&mut self, who: Who, outcome: Outcome) -> &mut Record {
        let number = self.begins(who);
        self.ends(who, number, outcome)
    }

    /// It is told that ranges are missing.
    fn misses(&mut self, who: Who, ranges: &[u64]) {
        let number = self.begins(who);
        for range in ranges {
            let record = self.record(who, number, What::Named, How::Claim, Outcome::Unfilled);
            (record.spare, record.len) = (range * BLOCK, BLOCK);
        }
        self.ends(who, number, Outcome::Unfilled);
    }

    fn cancels(&mut self, who: Who) -> u64 {
        let number = self.next();
        let reason = id(who.1, number);
        self.record(who, number, What::Cancel, How::ByWriter, Outcome::Begun).id = reason;
        self.record(who, number, What::Cancel, How::ByWriter, Outcome::Fine);
        reason
    }

    #[track_caller]
    fn passes(self) {
        assert_eq!(checker::check(&self.history), Vec::new(), "{}", self.history.around(None, 0, u64::MAX));
    }

    #[track_caller]
    fn fails_by(self, what: &str) {
        let found = checker::check(&self.history);
        let words: Vec<&str> = found.iter().map(|(_, violation)| violation.what).collect();
        assert_eq!(words, [what], "{found:?}\n{}", self.history.around(None, 0, u64::MAX));
    }
}

#[test]
fn what_was_completed_or_given_has_to_be_read() {
    let tale = |reads: bool, cancels: bool| {
        let mut tale = Tale::new();
        let block = tale.writes(WRITER, 0, 0);
        if reads {
            tale.reads(READER, 0, block, 0);
        }
        if cancels {
            tale.cancels(WRITER);
        }
        tale
    };
    tale(true, false).passes();
    tale(false, true).passes();
    tale(false, false).fails_by("lost");

    // Given, and never filled.
    let mut tale = Tale::new();
    tale.gets(WRITER, 0, 0);
    tale.dies(WRITER);
    tale.fails_by("lost");

    // Nobody ever had the one before it: a dead writer's, that was dropped.
    let tale = |second: u64| {
        let mut tale = Tale::new();
        for range in [0, second] {
            let block = tale.writes(WRITER, range, 0);
            tale.reads(READER, range, block, 0);
        }
        tale
    };
    tale(1).passes();
    tale(2).fails_by("lost");
    // What is chosen may lie anywhere.
    tale(CHOSEN / BLOCK).passes();
}

#[test]
fn a_block_holds_what_its_writer_filled() {
    let tale = |of: i64| {
        let mut tale = Tale::new();
        let block = tale.writes(WRITER, 0, 0);
        tale.reads(READER, 0, block.wrapping_add_signed(of), 0);
        tale
    };
    tale(0).passes();
    tale(1).fails_by("invented");

    let mut tale = Tale::new();
    let block = tale.writes(WRITER, 0, 0);
    tale.reads(READER, 0, block, 0);
    tale.record(READER, 99, What::Altered, How::Claim, Outcome::Other);
    tale.fails_by("altered");

    // It came before it was completed.
    let mut tale = Tale::new();
    let number = tale.gets(WRITER, 0, 0);
    let reading = tale.gets(READER, 0, 0);
    tale.fills(WRITER, number, 0, BLOCK);
    tale.filled(WRITER, number, Outcome::Fine);
    tale.completes(READER, reading);
    let found = checker::check(&tale.history);
    let words: Vec<&str> = found.iter().map(|(_, violation)| violation.what).collect();
    assert_eq!(words, ["two at once", "invented"]);

    // With another length.
    let mut tale = Tale::new();
    let block = tale.writes(WRITER, 0, 0);
    let number = tale.begins(READER);
    let record = tale.ends(READER, number, Outcome::Fine);
    (record.spare, record.len) = (0, BLOCK - 1);
    tale.looks(READER, number, 0, block);
    tale.completes(READER, number);
    tale.fails_by("invented");
}

#[test]
fn what_a_reader_died_over_or_let_go_of_comes_again_marked() {
    let tale = |dies: bool, again: Option<u8>| {
        let mut tale = Tale::new();
        let block = tale.writes(WRITER, 0, 0);
        let number = tale.gets(READER, 0, 0);
        if dies {
            tale.dies(READER);
        } else {
            tale.lets_go(READER, number);
        }
        if let Some(flags) = again {
            tale.reads(ANOTHER_READER, 0, block, flags);
        }
        tale
    };
    for dies in [false, true] {
        tale(dies, Some(MARKED)).passes();
        tale(dies, Some(0)).fails_by("unmarked");
        tale(dies, None).fails_by("lost");
    }
}

#[test]
fn what_was_read_to_its_end_does_not_come_again() {
    for (flags, died_over_it, what) in
        [(0, false, "duplicated"), (MARKED, false, "duplicated"), (0, true, "unmarked")]
    {
        let mut tale = Tale::new();
        let block = tale.writes(WRITER, 0, 0);
        let number = tale.gets(READER, 0, 0);
        tale.record(READER, number, What::LetGo, How::Complete, Outcome::Begun);
        if died_over_it {
            tale.dies(READER);
        } else {
            tale.record(READER, number, What::LetGo, How::Complete, Outcome::Fine);
        }
        tale.reads(ANOTHER_READER, 0, block, flags);
        tale.fails_by(what);
    }
    // It died while it said so: either is possible.
    for comes_again in [false, true] {
        let mut tale = Tale::new();
        let block = tale.writes(WRITER, 0, 0);
        let number = tale.gets(READER, 0, 0);
        tale.record(READER, number, What::LetGo, How::Complete, Outcome::Begun);
        tale.dies(READER);
        if comes_again {
            tale.reads(ANOTHER_READER, 0, block, MARKED);
        }
        tale.passes();
    }
}

#[test]
fn what_a_writer_died_over_or_let_go_of_is_given_again_marked() {
    let tale = |dies: bool, flags: u8| {
        let mut tale = Tale::new();
        let number = tale.gets(WRITER, 0, 0);
        if dies {
            tale.dies(WRITER);
        } else {
            tale.lets_go(WRITER, number);
        }
        let block = tale.writes(ANOTHER_WRITER, 0, flags);
        tale.reads(READER, 0, block, 0);
        tale
    };
    for dies in [false, true] {
        tale(dies, MARKED).passes();
        tale(dies, 0).fails_by("unmarked");
    }
    // What was completed is nobody's to fill any more.
    let mut tale = Tale::new();
    tale.writes(WRITER, 0, 0);
    let block = tale.writes(ANOTHER_WRITER, 0, MARKED);
    let number = tale.gets(READER, 0, 0);
    tale.completes(READER, number);
    let _ = block;
    tale.fails_by("duplicated");
}

#[test]
fn a_mark_is_on_what_somebody_had_or_can_have_had() {
    for side in [Side::Writer, Side::Reader] {
        // Those that died while they claimed, and the marks that nothing else explains.
        let tale = |phantoms: u32, marks: u64, late: bool| {
            let mut tale = Tale::new();
            let dying: Vec<Who> = (0..phantoms).map(|nth| Who(side, 10 + nth)).collect();
            for who in &dying {
                tale.comes(*who);
            }
            let blocks: Vec<u64> = match side {
                Side::Reader => (0..marks).map(|range| tale.writes(WRITER, range, 0)).collect(),
                _ => Vec::new(),
            };
            let die = |tale: &mut Tale| {
                for who in &dying {
                    tale.begins(*who);
                    tale.dies(*who);
                }
            };
            if !late {
                die(&mut tale);
            }
            for range in 0..marks {
                let (block, flags) = match side {
                    Side::Writer => (tale.writes(WRITER, range, MARKED), 0),
                    _ => (blocks[range as usize], MARKED),
                };
                tale.reads(READER, range, block, flags);
            }
            if late {
                die(&mut tale);
            }
            tale
        };
        tale(1, 1, false).passes();
        tale(2, 2, false).passes();
        tale(0, 1, false).fails_by("marked");
        tale(1, 2, false).fails_by("marked");
        tale(1, 1, true).fails_by("marked");
    }
}

#[test]
fn what_was_not_handed_on_comes_to_nobody() {
    let tale = |outcome: Outcome| {
        let mut tale = Tale::new();
        let number = tale.gets(WRITER, 0, 0);
        tale.fills(WRITER, number, 0, BLOCK);
        tale.cancels(ANOTHER_WRITER);
        tale.filled(WRITER, number, outcome);
        let last = tale.history.writers.last_mut().unwrap();
        if outcome == Outcome::Cancelled {
            last.id = id(2, number + 1);
        }
        tale.reads(READER, 0, id(1, number), 0);
        tale
    };
    tale(Outcome::Fine).passes();
    tale(Outcome::Cancelled).fails_by("withdrawn");

    // Somebody else's, where one was told that it had completed.
    let mut tale = Tale::new();
    let first = tale.gets(WRITER, 0, 0);
    tale.fills(WRITER, first, 0, BLOCK);
    tale.dies(WRITER);
    let block = tale.writes(ANOTHER_WRITER, 0, MARKED);
    tale.reads(READER, 0, id(1, first), 0);
    let _ = block;
    tale.fails_by("duplicated");
}

#[test]
fn a_range_is_in_one_hand_and_no_more_blocks_than_there_are() {
    let mut tale = Tale::new();
    let number = tale.gets(WRITER, 0, 0);
    let other = tale.gets(ANOTHER_WRITER, 0, MARKED);
    tale.lets_go(WRITER, number);
    tale.fills(ANOTHER_WRITER, other, 0, BLOCK);
    tale.filled(ANOTHER_WRITER, other, Outcome::Fine);
    tale.reads(READER, 0, id(2, other), 0);
    tale.fails_by("two at once");

    let tale = |many: u64| {
        let mut tale = Tale::new();
        let numbers: Vec<u32> = (0..many).map(|range| tale.gets(WRITER, range, 0)).collect();
        for (range, number) in numbers.into_iter().enumerate() {
            tale.fills(WRITER, number, range as u64, BLOCK);
            tale.filled(WRITER, number, Outcome::Fine);
            tale.reads(READER, range as u64, id(1, number), 0);
        }
        tale
    };
    tale(4).passes();
    tale(5).fails_by("two at once");
}

#[test]
fn the_end_is_told_when_everything_was_read_and_not_before() {
    let tale = |first: &str, second: &str, finishes: bool| {
        let mut tale = Tale::new();
        let block = tale.writes(WRITER, 0, 0);
        if finishes {
            tale.finishes(WRITER);
        }
        for what in [first, second] {
            match what {
                "end" => drop(tale.told(ANOTHER_READER, Outcome::End).outcome()),
                _ => tale.reads(READER, 0, block, 0),
            }
        }
        tale
    };
    tale("read", "end", true).passes();
    tale("end", "read", true).fails_by("untrue");
    tale("read", "end", false).fails_by("untrue");

    // While somebody has it in hand.
    let mut tale = Tale::new();
    let block = tale.writes(WRITER, 0, 0);
    tale.finishes(WRITER);
    let number = tale.gets(READER, 0, 0);
    tale.told(ANOTHER_READER, Outcome::End);
    tale.looks(READER, number, 0, block);
    tale.completes(READER, number);
    tale.fails_by("untrue");

    // While it is being filled; and after an empty one, which is the end.
    for len in [BLOCK, 0] {
        let mut tale = Tale::new();
        let number = tale.gets(WRITER, 0, 0);
        if len > 0 {
            tale.finishes(ANOTHER_WRITER);
        }
        tale.fills(WRITER, number, 0, len);
        tale.filled(WRITER, number, Outcome::Fine);
        if len > 0 {
            tale.reads(READER, 0, id(1, number), 0);
            tale.fails_by("untrue");
        } else {
            tale.told(READER, Outcome::End);
            tale.passes();
        }
    }

    // Nobody has ended it.
    let mut tale = Tale::new();
    tale.told(WRITER, Outcome::Finished);
    tale.fails_by("untrue");
}

#[test]
fn deaths_and_leavings_are_so_and_are_told_once() {
    let tale = |dies: bool, times: usize| {
        let mut tale = Tale::new();
        if dies {
            tale.dies(READER);
        }
        for _ in 0..times {
            tale.told(WRITER, Outcome::PeerDied).limit = 100 * Side::Reader as u32 + 1;
        }
        tale
    };
    tale(true, 1).passes();
    tale(true, 2).fails_by("untrue");
    tale(false, 1).fails_by("untrue");

    let tale = |all: bool| {
        let mut tale = Tale::new();
        tale.leaves(READER);
        if all {
            tale.leaves(ANOTHER_READER);
        }
        tale.told(WRITER, Outcome::Disconnected);
        tale
    };
    tale(true).passes();
    tale(false).fails_by("untrue");
}

#[test]
fn what_is_missing_is_named_and_nothing_else() {
    let tale = |named: Option<&[u64]>, dies: bool| {
        let mut tale = Tale::new();
        let first = tale.writes(WRITER, 0, 0);
        let mut number = tale.gets(WRITER, 1, 0);
        if dies {
            tale.dies(WRITER);
        }
        tale.reads(READER, 0, first, 0);
        tale.leaves(ANOTHER_WRITER);
        match named {
            Some(ranges) => tale.misses(READER, ranges),
            None => drop(tale.told(READER, Outcome::Disconnected).outcome()),
        }
        let who = Who(Side::Writer, 3);
        let flags = if dies { MARKED } else { 0 };
        if dies {
            tale.comes(who);
            number = tale.gets(who, 1, flags);
        }
        let who = if dies { who } else { WRITER };
        tale.fills(who, number, 1, BLOCK);
        tale.filled(who, number, Outcome::Fine);
        tale.reads(READER, 1, id(who.1, number), 0);
        tale
    };
    tale(Some(&[1]), true).passes();
    tale(Some(&[]), true).fails_by_all(&["untrue", "untrue"]);
    tale(Some(&[0, 1]), true).fails_by("untrue");
    tale(Some(&[1, 5]), true).fails_by("untrue");
    tale(None, true).fails_by("untrue");
    tale(Some(&[1]), false).fails_by("untrue");
}

#[test]
fn who_is_told_that_it_is_cancelled_is_told_a_reason_that_somebody_gave() {
    let tale = |cancels: bool, other: u64| {
        let mut tale = Tale::new();
        let reason = if cancels { tale.cancels(WRITER) } else { 7 };
        tale.told(READER, Outcome::Cancelled).id = reason + other;
        tale
    };
    tale(true, 0).passes();
    tale(true, 1).fails_by("untrue");
    tale(false, 0).fails_by("untrue");

    // No reason at all: where one died over it, and another cancelled.
    for dies in [true, false] {
        let mut tale = Tale::new();
        if dies {
            let number = tale.next();
            tale.record(WRITER, number, What::Cancel, How::ByWriter, Outcome::Begun);
            tale.dies(WRITER);
        }
        tale.cancels(ANOTHER_WRITER);
        tale.told(READER, Outcome::Cancelled);
        if dies { tale.passes() } else { tale.fails_by("untrue") }
    }
}

#[test]
fn a_block_that_is_there_is_found_and_a_limit_is_kept() {
    for outcome in [Outcome::Nothing, Outcome::TimedOut] {
        let tale = |is_there: bool| {
            let mut tale = Tale::new();
            let look = |tale: &mut Tale| {
                let number = tale.begins(READER);
                tale.history.readers.last_mut().unwrap().limit = 1;
                tale.tick();
                tale.ends(READER, number, outcome);
            };
            if !is_there {
                look(&mut tale);
            }
            let block = tale.writes(WRITER, 0, 0);
            if is_there {
                look(&mut tale);
            }
            tale.reads(READER, 0, block, 0);
            tale
        };
        tale(false).passes();
        tale(true).fails_by("untrue");
    }
    let mut tale = Tale::new();
    let number = tale.begins(READER);
    tale.history.readers.last_mut().unwrap().limit = 1000;
    tale.ends(READER, number, Outcome::TimedOut);
    tale.fails_by("untrue");
}

#[test]
fn a_file_is_there_while_somebody_has_it_and_while_something_is_in_it() {
    let tale = |stays: bool, reads: bool| {
        let mut tale = Tale::new();
        let block = tale.writes(WRITER, 0, 0);
        if reads {
            tale.reads(READER, 0, block, 0);
        }
        for who in [WRITER, ANOTHER_WRITER, READER] {
            tale.leaves(who);
        }
        if !stays {
            tale.leaves(ANOTHER_READER);
        }
        let (who, number) = (Who(Side::Reader, 3), 900);
        let started = tale.tick();
        tale.history.lives.push(Life { side: who.0, incarnation: 3, pid: 900, started, died: None, gone: u64::MAX });
        tale.record(who, number, What::Attach, How::Open, Outcome::Begun);
        tale.record(who, number, What::Attach, How::Open, Outcome::NotFound);
        tale
    };
    tale(false, true).passes();
    tale(true, true).fails_by("untrue");
    tale(false, false).fails_by_all(&["lost", "untrue"]);
}

#[test]
fn who_cleans_keeps_what_was_completed_or_let_go_of() {
    let tale = |what: &str, has_cleaner: bool| {
        let mut tale = Tale::new();
        tale.history.has_cleaner = has_cleaner;
        let number = tale.gets(WRITER, 0, 0);
        match what {
            "completed" => {
                tale.fills(WRITER, number, 0, BLOCK);
                tale.filled(WRITER, number, Outcome::Fine);
            }
            "let go" => tale.lets_go(WRITER, number),
            _ => {}
        }
        tale.dies(WRITER);
        for who in [ANOTHER_WRITER, READER, ANOTHER_READER] {
            tale.leaves(who);
        }
        let (number, who) = (tale.next(), Who(Side::Writer, 3));
        tale.record(who, number, What::Attach, How::Open, Outcome::Begun);
        tale.record(who, number, What::Attach, How::Open, Outcome::NotFound);
        tale
    };
    tale("died with", true).passes();
    tale("died with", false).fails_by_all(&["lost", "untrue"]);
    tale("let go", true).fails_by_all(&["lost", "untrue"]);
    tale("completed", true).fails_by_all(&["lost", "untrue"]);
}

#[test]
fn bytes_are_counted_as_they_were_completed() {
    let tale = |bytes_in: u64, bytes_out: u64, doubt: bool| {
        let mut tale = Tale::new();
        let block = tale.writes(WRITER, 0, 0);
        let number = tale.gets(READER, 0, 0);
        tale.looks(READER, number, 0, block);
        if doubt {
            tale.record(READER, number, What::LetGo, How::Complete, Outcome::Begun);
            tale.dies(READER);
        } else {
            tale.completes(READER, number);
        }
        // Who comes when all have gone.
        let who = Who(Side::Writer, super::first_incarnation(0, 3) + 1);
        tale.comes(who);
        let attached = tale.history.writers.last_mut().unwrap();
        (attached.len, attached.id) = (bytes_in, bytes_out);
        tale
    };
    tale(BLOCK, BLOCK, false).passes();
    tale(BLOCK, BLOCK, true).passes();
    tale(BLOCK, 0, true).passes();
    tale(BLOCK, 0, false).fails_by("miscounted");
    tale(2 * BLOCK, BLOCK, false).fails_by("miscounted");
}

impl Tale {
    #[track_caller]
    fn fails_by_all(self, what: &[&str]) {
        let found = checker::check(&self.history);
        let words: Vec<&str> = found.iter().map(|(_, violation)| violation.what).collect();
        assert_eq!(words, what, "{found:?}");
    }
}
