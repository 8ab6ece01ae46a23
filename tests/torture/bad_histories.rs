//! Histories made up by hand: a good one of each kind that the checker has to accept, and what differs from it by one
//! lie, that it has to refuse. So each row of its table has been seen red.

use crate::bytes::id;
use crate::checker::{self, Violation};
use crate::cleaner;
use crate::counted;
use crate::doors;
use crate::history::{Done, History, Life};
use crate::log::{CALL, FINAL, How, MARKED, NAMELESS, NO_LIMIT, NOT_DELIVERED, Outcome, Record, WHOLE, What};
use crate::plan::{Kind, Side};

const MILLISECOND: u64 = 1_000_000;
/// The end of something whose process died in it.
const DIED: Outcome = Outcome::Begun;

/// Writes a history, a millisecond a line.
struct Tale {
    history: History,
    now: u64,
    publisher: u32,
    consumer: u32,
    number: u32,
}

impl Tale {
    /// A publisher and a consumer sit.
    fn new() -> Tale {
        let mut tale = Tale { history: History::default(), now: 1_000_000_000, publisher: 0, consumer: 0, number: 0 };
        tale.comes(Side::Publisher);
        tale.comes(Side::Consumer);
        tale
    }

    fn tick(&mut self) -> u64 {
        self.now += MILLISECOND;
        self.now
    }

    fn record(&mut self, side: Side, number: u32, what: What, how: How, outcome: Outcome) -> &mut Record {
        let time = self.tick();
        let incarnation = if side == Side::Publisher { self.publisher } else { self.consumer };
        let mut record = Record::new(incarnation, number, what, how, outcome);
        record.time = time;
        let records = match side {
            Side::Publisher => &mut self.history.publishers,
            Side::Consumer => &mut self.history.consumers,
            _ => &mut self.history.resetters,
        };
        records.push(record);
        records.last_mut().unwrap()
    }

    fn comes(&mut self, side: Side) {
        let started = self.tick();
        let incarnation = if side == Side::Publisher { &mut self.publisher } else { &mut self.consumer };
        *incarnation += 1;
        let (incarnation, pid) = (*incarnation, 100 * side as u32 + *incarnation);
        self.history.lives.push(Life { side, incarnation, pid, started, died: None, gone: u64::MAX });
        self.record(side, 0, What::Attach, How::OpenOrCreate, Outcome::Begun);
        self.record(side, 0, What::Attach, How::OpenOrCreate, Outcome::Fine);
    }

    fn dies(&mut self, side: Side) {
        let (died, gone) = (self.tick(), self.tick());
        let life = self.history.lives.iter_mut().rev().find(|life| life.side == side).unwrap();
        (life.died, life.gone) = (Some(died), gone);
    }

    fn next(&mut self) -> u32 {
        self.number += 1;
        self.number
    }

    /// What is sent, named, of 100 bytes. Returns its number.
    fn begins(&mut self, how: How) -> u32 {
        let number = self.next();
        let of = id(self.publisher, number);
        let record = self.record(Side::Publisher, number, What::Send, how, Outcome::Begun);
        (record.len, record.id) = (100, of);
        if how == How::Call || how == How::CallTimeout {
            record.flags = CALL;
        }
        number
    }

    fn ends(&mut self, number: u32, how: How, outcome: Outcome, flags: u8) -> &mut Record {
        let record = self.record(Side::Publisher, number, What::Send, how, outcome);
        record.flags |= flags;
        record
    }

    fn publishes(&mut self) -> u32 {
        let number = self.begins(How::Publish);
        self.ends(number, How::Publish, Outcome::Fine, 0);
        number
    }

    /// The consumer gets message `of`, all of it. Returns the operation's number.
    fn gets(&mut self, of: u32, flags: u8) -> u32 {
        let number = self.next();
        let from = self.publisher;
        self.record(Side::Consumer, number, What::Consume, How::Consume, Outcome::Begun);
        let record = self.record(Side::Consumer, number, What::Consume, How::Consume, Outcome::Fine);
        (record.len, record.id, record.flags) = (100, id(from, of), WHOLE | flags);
        number
    }

    fn lets_go(&mut self, number: u32, how: How, outcome: Outcome) {
        self.record(Side::Consumer, number, What::LetGo, how, Outcome::Begun);
        if outcome != DIED {
            self.record(Side::Consumer, number, What::LetGo, how, outcome);
        }
    }

    fn consumes(&mut self, of: u32, flags: u8) {
        let number = self.gets(of, flags);
        self.lets_go(number, How::Drop, Outcome::Fine);
    }

    /// The consumer answers call `of` with 50 bytes, and the caller has the answer.
    fn answers(&mut self, of: u32, seen: impl FnOnce(&mut Record)) {
        let number = self.gets(of, CALL);
        let reply = id(self.consumer, number);
        let record = self.record(Side::Consumer, number, What::LetGo, How::Reply, Outcome::Begun);
        (record.len, record.id) = (50, reply);
        self.record(Side::Consumer, number, What::LetGo, How::Reply, Outcome::Fine);
        let record = self.ends(of, How::Call, Outcome::Fine, CALL);
        (record.len, record.id) = (50, reply);
        seen(record);
    }

    fn resets(&mut self, outcome: Outcome) {
        let number = self.next();
        self.record(Side::Resetter, number, What::Reset, How::Create, Outcome::Begun);
        if outcome != DIED {
            self.record(Side::Resetter, number, What::Reset, How::Create, outcome);
        }
    }

    fn found(&self) -> Vec<&'static str> {
        checker::check(&self.history).iter().map(|Violation { what, .. }| *what).collect()
    }

    #[track_caller]
    fn passes(self) {
        assert_eq!(checker::check(&self.history), Vec::new());
    }

    #[track_caller]
    fn fails_by(self, what: &str) {
        assert_eq!(self.found(), [what], "{}", self.history.around(0, u64::MAX));
    }
}

#[test]
fn what_was_acknowledged_has_to_come() {
    let mut tale = Tale::new();
    let (first, second) = (tale.publishes(), tale.publishes());
    tale.consumes(first, 0);
    tale.consumes(second, 0);
    // In this order it could not have been published.
    tale.fails_by("two at once");

    let lost = |comes_later: bool| {
        let mut tale = Tale::new();
        let _lost = tale.publishes();
        if comes_later {
            let later = tale.publishes();
            tale.consumes(later, 0);
        }
        tale.fails_by("lost");
    };
    lost(true);
    lost(false);
}

#[test]
fn a_consumer_that_dies_leaves_its_message_marked() {
    let tale = |marked: u8, comes_again: bool| {
        let mut tale = Tale::new();
        let message = tale.publishes();
        tale.gets(message, 0);
        tale.dies(Side::Consumer);
        tale.comes(Side::Consumer);
        if comes_again {
            tale.consumes(message, marked);
        }
        tale
    };
    tale(MARKED, true).passes();
    tale(0, true).fails_by("unmarked");
    tale(MARKED, false).fails_by("lost");
}

#[test]
fn what_was_let_go_of_does_not_come_again() {
    for marked in [0, MARKED] {
        let mut tale = Tale::new();
        let message = tale.publishes();
        tale.consumes(message, 0);
        tale.dies(Side::Consumer);
        tale.comes(Side::Consumer);
        tale.consumes(message, marked);
        tale.fails_by("duplicated");
    }
    // Who dies in the middle of letting go leaves it in doubt, but marked.
    let doubt = |comes_again: Option<u8>| {
        let mut tale = Tale::new();
        let message = tale.publishes();
        let number = tale.gets(message, 0);
        tale.lets_go(number, How::Drop, DIED);
        tale.dies(Side::Consumer);
        tale.comes(Side::Consumer);
        if let Some(marked) = comes_again {
            tale.consumes(message, marked);
        }
        let next = tale.publishes();
        tale.consumes(next, 0);
        tale
    };
    doubt(None).passes();
    doubt(Some(MARKED)).passes();
    doubt(Some(0)).fails_by("unmarked");
}

#[test]
fn what_nobody_can_have_had_is_not_marked() {
    let mut tale = Tale::new();
    let message = tale.publishes();
    tale.consumes(message, MARKED);
    tale.fails_by("marked");

    // Who dies while it consumes may have had it; but not what was sent later.
    let died_consuming = |before: bool| {
        let mut tale = Tale::new();
        let message = if before { tale.publishes() } else { 0 };
        let number = tale.next();
        tale.record(Side::Consumer, number, What::Consume, How::Consume, Outcome::Begun);
        tale.dies(Side::Consumer);
        tale.comes(Side::Consumer);
        let message = if before { message } else { tale.publishes() };
        tale.consumes(message, MARKED);
        tale
    };
    died_consuming(true).passes();
    died_consuming(false).fails_by("marked");
}

#[test]
fn who_dies_in_consume_has_acknowledged_nothing_unless_it_was_copied_out() {
    let tale = |how: How| {
        let mut tale = Tale::new();
        let _message = tale.publishes();
        let number = tale.next();
        tale.record(Side::Consumer, number, What::Consume, how, Outcome::Begun);
        tale.dies(Side::Consumer);
        tale
    };
    tale(How::Into).passes();
    tale(How::Consume).fails_by("lost");
    // It may have gone on for a moment after it was about to die; but not when it was gone.
    let late = |is_gone: bool| {
        let mut tale = Tale::new();
        let number = tale.next();
        tale.record(Side::Consumer, number, What::Consume, How::Into, Outcome::Begun);
        tale.dies(Side::Consumer);
        let _message = tale.publishes();
        let sent = tale.history.publishers[2].time;
        tale.history.lives[1].gone = if is_gone { sent - 1 } else { sent + 1 };
        tale
    };
    late(false).passes();
    late(true).fails_by("lost");
}

#[test]
fn messages_come_in_the_order_in_which_they_were_sent() {
    let mut tale = Tale::new();
    let first = tale.begins(How::Publish);
    tale.ends(first, How::Publish, Outcome::PeerDied, 0).limit = 0;
    let second = tale.publishes();
    tale.consumes(second, 0);
    tale.consumes(first, 0);
    assert_eq!(tale.found(), ["duplicated", "untrue"]); // And nobody had died.
}

#[test]
fn what_was_withdrawn_is_seen_by_nobody() {
    let tale = |delivered: u8, how: How, flags: u8| {
        let mut tale = Tale::new();
        let message = tale.begins(how);
        tale.history.publishers.last_mut().unwrap().limit = 1;
        tale.ends(message, how, Outcome::TimedOut, delivered);
        let number = tale.gets(message, flags);
        tale.lets_go(number, How::Drop, Outcome::Fine);
        tale
    };
    tale(0, How::CallTimeout, CALL).passes();
    tale(NOT_DELIVERED, How::CallTimeout, CALL).fails_by("withdrawn");
    tale(NOT_DELIVERED, How::PublishTimeout, 0).fails_by("withdrawn");
    // What was unknown comes once, unless it is marked.
    let mut tale = tale(0, How::CallTimeout, CALL);
    let message = tale.number - 1;
    let number = tale.gets(message, CALL);
    tale.lets_go(number, How::Drop, Outcome::Fine);
    tale.fails_by("duplicated");
}

#[test]
fn nothing_is_invented_or_altered() {
    let mut tale = Tale::new();
    tale.consumes(77, 0);
    tale.fails_by("invented");

    let mut tale = Tale::new();
    let message = tale.publishes();
    tale.consumes(message, CALL);
    assert!(tale.found().contains(&"invented"));

    let mut tale = Tale::new();
    let message = tale.publishes();
    let number = tale.gets(message, 0);
    tale.history.consumers.last_mut().unwrap().len = 99;
    tale.lets_go(number, How::Drop, Outcome::Fine);
    tale.fails_by("invented");

    let mut tale = Tale::new();
    let message = tale.publishes();
    tale.consumes(message, 0);
    tale.record(Side::Consumer, message, What::Altered, How::Consume, Outcome::Other);
    tale.fails_by("altered");
}

#[test]
fn a_message_without_a_number_is_known_by_its_place() {
    let tale = |times: u32| {
        let mut tale = Tale::new();
        let empty = tale.publishes();
        for record in &mut tale.history.publishers[2..] {
            (record.len, record.id, record.flags) = (0, 0, NAMELESS);
        }
        for _ in 0..times {
            let number = tale.gets(empty, 0);
            let record = tale.history.consumers.last_mut().unwrap();
            (record.len, record.id, record.flags) = (0, 0, NAMELESS | WHOLE);
            tale.lets_go(number, How::Drop, Outcome::Fine);
        }
        tale
    };
    tale(1).passes();
    tale(2).fails_by("invented");
    tale(0).fails_by("lost");
}

#[test]
fn an_answer_is_one_that_was_given_to_this_call() {
    let tale = |lie: fn(&mut Record)| {
        let mut tale = Tale::new();
        let call = tale.begins(How::Call);
        tale.answers(call, lie);
        tale
    };
    tale(|_| ()).passes();
    tale(|reply| reply.id += 1).fails_by("reply");
    tale(|reply| reply.len += 1).fails_by("reply");

    // Given to somebody who had gone, and received.
    let mut gone = tale(|_| ());
    let last = gone.history.consumers.len() - 1;
    let record = gone.history.consumers[last];
    let mut changed = Record::new(record.incarnation, record.number, What::LetGo, How::Reply, Outcome::CallerGone);
    changed.time = record.time;
    gone.history.consumers[last] = changed;
    gone.fails_by("reply");

    // Dropped, it says; but it was answered.
    let no_reply = |how: How| {
        let mut tale = Tale::new();
        let call = tale.begins(How::Call);
        let number = tale.gets(call, CALL);
        tale.lets_go(number, how, Outcome::Fine);
        tale.ends(call, How::Call, Outcome::NoReply, 0);
        tale
    };
    no_reply(How::Drop).passes();
    no_reply(How::Reply).fails_by("reply");

    // Answered, though the caller was told that nobody would have it.
    let mut tale = Tale::new();
    let call = tale.begins(How::CallTimeout);
    tale.history.publishers.last_mut().unwrap().limit = 1;
    tale.ends(call, How::CallTimeout, Outcome::TimedOut, NOT_DELIVERED);
    let number = tale.gets(call, CALL);
    tale.lets_go(number, How::Reply, Outcome::Fine);
    assert_eq!(tale.found(), ["withdrawn"]);
}

#[test]
fn a_death_is_told_where_there_was_one_and_once() {
    let tale = |dies: bool, pid: u32, times: u32| {
        let mut tale = Tale::new();
        if dies {
            tale.dies(Side::Consumer);
        }
        for _ in 0..times {
            let number = tale.begins(How::Publish);
            tale.ends(number, How::Publish, Outcome::PeerDied, NOT_DELIVERED).limit = pid;
        }
        tale
    };
    tale(true, 101, 1).passes();
    tale(false, 101, 1).fails_by("untrue");
    tale(true, 102, 1).fails_by("untrue");
    tale(true, 101, 2).fails_by("untrue");

    // One who died before the publisher came is no news for it.
    let mut old = Tale::new();
    old.dies(Side::Consumer);
    old.dies(Side::Publisher);
    old.comes(Side::Publisher);
    let number = old.begins(How::Publish);
    old.ends(number, How::Publish, Outcome::PeerDied, NOT_DELIVERED).limit = 101;
    old.fails_by("untrue");
}

#[test]
fn every_other_error_has_to_be_so() {
    let tale = |how: How, limit: u32, outcome: Outcome| {
        let mut tale = Tale::new();
        let number = tale.begins(how);
        tale.history.publishers.last_mut().unwrap().limit = limit;
        tale.ends(number, how, outcome, NOT_DELIVERED).limit = 0;
        tale
    };
    tale(How::PublishTimeout, 1, Outcome::TimedOut).passes();
    tale(How::PublishTimeout, 2, Outcome::TimedOut).fails_by("untrue");
    tale(How::Publish, NO_LIMIT, Outcome::TimedOut).fails_by("untrue");
    tale(How::Publish, NO_LIMIT, Outcome::Disconnected).fails_by("untrue");
    tale(How::Publish, NO_LIMIT, Outcome::Aborted).fails_by("untrue");
    tale(How::TryPublish, NO_LIMIT, Outcome::TooLong).passes();
    tale(How::Publish, NO_LIMIT, Outcome::TooLong).fails_by("untrue");
    for outcome in [Outcome::Forked, Outcome::Stuck, Outcome::NoSpace, Outcome::NoDescriptors, Outcome::Other] {
        tale(How::Publish, NO_LIMIT, outcome).fails_by("untrue");
    }
    let mut left = tale(How::Publish, NO_LIMIT, Outcome::Disconnected);
    left.history.consumers.push(Record::new(1, 9, What::Leave, How::Drop, Outcome::Begun));
    left.history.consumers.last_mut().unwrap().time = left.now - 3 * MILLISECOND;
    left.passes();

    // Nobody sits in a seat that is refused; and a name is there while the other end has it.
    for outcome in [Outcome::SeatTaken, Outcome::NotFound] {
        let mut tale = Tale::new();
        tale.record(Side::Publisher, 9, What::Attach, How::Open, Outcome::Begun);
        tale.record(Side::Publisher, 9, What::Attach, How::Open, outcome);
        tale.fails_by("untrue");
    }
    // Plain messages alone are no calls.
    let mut tale = Tale::new();
    let message = tale.publishes();
    let number = tale.gets(message, 0);
    tale.lets_go(number, How::Reply, Outcome::NotACall);
    tale.passes();
    let mut tale = Tale::new();
    let call = tale.begins(How::Call);
    let number = tale.gets(call, CALL);
    tale.lets_go(number, How::Reply, Outcome::NotACall);
    assert!(tale.found().contains(&"untrue"));
}

#[test]
fn a_region_made_anew_takes_one_message_with_it_and_no_more() {
    let tale = |outcome: Outcome, comes: bool| {
        let mut tale = Tale::new();
        let message = tale.publishes();
        tale.dies(Side::Publisher);
        tale.dies(Side::Consumer);
        tale.resets(outcome);
        tale.comes(Side::Consumer);
        if comes {
            tale.consumes(message, 0);
        }
        tale
    };
    tale(Outcome::Fine, false).passes();
    tale(Outcome::Fine, true).fails_by("duplicated");
    tale(DIED, false).passes();
    tale(DIED, true).passes();

    let mut two = Tale::new();
    let (_first, _second) = (two.publishes(), two.publishes());
    two.dies(Side::Publisher);
    two.dies(Side::Consumer);
    two.resets(Outcome::Fine);
    two.fails_by("lost");

    let mut refused = Tale::new();
    refused.resets(Outcome::InUse);
    refused.fails_by("untrue");
}

#[test]
fn who_races_for_a_door_may_not_lie_either() {
    let record = |time: u64, number: u32, what, how, outcome| {
        let mut record = Record::new(1, number, what, how, outcome);
        (record.time, record.id) = (time, id(1, 1));
        record
    };
    let life = Life { side: Side::Racer, incarnation: 1, pid: 7, started: 0, died: None, gone: 1000 };
    let publishes = [
        record(1, 1, What::Send, How::TryPublish, Outcome::Begun),
        record(2, 1, What::Send, How::TryPublish, Outcome::Fine),
    ];
    let consumes = |time: u64, number: u32, flags: u8, lets_go: bool| {
        let mut got = record(time + 1, number, What::Consume, How::TryConsume, Outcome::Fine);
        got.flags = flags;
        let mut all = vec![record(time, number, What::Consume, How::TryConsume, Outcome::Begun), got];
        all.push(record(time + 2, number, What::LetGo, How::Drop, Outcome::Begun));
        if lets_go {
            all.push(record(time + 3, number, What::LetGo, How::Drop, Outcome::Fine));
        }
        all
    };
    let check = |records: &[&[Record]]| {
        let found = doors::check(&records.concat(), &[life], &[]);
        found.iter().map(|found| found.split(':').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    assert_eq!(check(&[&publishes, &consumes(3, 2, 0, true)]), none);
    assert_eq!(check(&[&consumes(3, 2, 0, true)]), ["invented"]);
    assert_eq!(check(&[&publishes, &consumes(3, 2, 0, true), &consumes(9, 3, MARKED, true)]), ["duplicated"]);
    assert_eq!(check(&[&publishes, &consumes(3, 2, 0, false), &consumes(9, 3, 0, true)]), ["unmarked"]);
    assert_eq!(check(&[&publishes, &consumes(3, 2, 0, false), &consumes(9, 3, MARKED, true)]), none);
    let refused = |outcome: Outcome, how: How, pid: u32| {
        let mut end = record(2, 1, What::Door, how, outcome);
        end.limit = pid;
        [record(1, 1, What::Door, how, Outcome::Begun), end]
    };
    assert_eq!(check(&[&refused(Outcome::InUse, How::Create, 7)]), none);
    assert_eq!(check(&[&refused(Outcome::InUse, How::Create, 8)]), ["untrue"]);
    assert_eq!(check(&[&refused(Outcome::SeatTaken, How::TakePublisher, 8)]), ["untrue"]);
    assert_eq!(check(&[&refused(Outcome::NotFound, How::Create, 0)]), ["untrue"]);
    assert_eq!(check(&[&refused(Outcome::NoSpace, How::Create, 0)]), ["untrue"]);
}

#[test]
fn a_name_or_a_seat_that_somebody_has_is_nobody_elses() {
    let lives = [1, 2, 3].map(|incarnation| Life {
        side: Side::Racer,
        incarnation,
        pid: incarnation,
        started: 0,
        died: None,
        gone: 100,
    });
    let door = |time: u64, incarnation: u32, how: How, outcome: Outcome| {
        [(time, Outcome::Begun), (time + 1, outcome)].map(|(time, outcome)| {
            let mut record = Record::new(incarnation, time as u32 / 10, What::Door, how, outcome);
            record.time = time;
            record
        })
    };
    let check = |removed: bool, how: How, outcome: Outcome| {
        let mut records = door(10, 1, How::Create, Outcome::Fine).to_vec();
        if removed {
            records.extend(door(20, 2, How::Unlink, Outcome::Fine));
        }
        records.extend(door(30, 3, how, outcome));
        doors::check(&records, &lives, &[]).len()
    };
    assert_eq!(check(false, How::Open, Outcome::Fine), 0);
    assert_eq!(check(false, How::Open, Outcome::NotFound), 1);
    assert_eq!(check(false, How::Create, Outcome::Fine), 1);
    assert_eq!(check(true, How::Open, Outcome::NotFound), 0);
    assert_eq!(check(true, How::Create, Outcome::Fine), 0);

    // The second one opened it before or after it was removed; or it never was.
    let two_sit = |removed_at: u64| {
        let mut records = door(10, 1, How::Create, Outcome::Fine).to_vec();
        records.extend(door(30, 2, How::OpenOrCreate, Outcome::Fine));
        if removed_at > 0 {
            records.extend(door(removed_at, 3, How::Unlink, Outcome::Fine));
        }
        if removed_at > 30 {
            records.extend(door(50, 1, How::OpenOrCreate, Outcome::Fine));
        }
        records.extend(door(60, 1, How::TakeConsumer, Outcome::Fine));
        records.extend(door(70, 2, How::TakePublisher, Outcome::Fine));
        records.extend(door(80, 2, How::TakeConsumer, Outcome::Fine));
        doors::check(&records, &lives, &[]).len()
    };
    assert_eq!(two_sit(20), 0);
    assert_eq!(two_sit(40), 0);
    assert_eq!(two_sit(0), 1);
}

#[test]
fn what_is_final_is_told_of_a_private_channel_and_again_and_again() {
    // The consumer dies; the publisher is told of it, with or without the word that it is for good.
    let tale = |kind: Kind, told: &[u8]| {
        let mut tale = Tale::new();
        tale.history.kind = kind;
        tale.dies(Side::Consumer);
        for flags in told {
            let number = tale.begins(How::Publish);
            tale.ends(number, How::Publish, Outcome::PeerDied, NOT_DELIVERED | flags).limit = 101;
        }
        tale
    };
    tale(Kind::Private, &[FINAL, FINAL]).passes();
    tale(Kind::Ordinary, &[0]).passes();
    tale(Kind::Ordinary, &[FINAL]).fails_by("untrue");
    tale(Kind::Persistent, &[FINAL]).fails_by("untrue");
    // Both had sat.
    tale(Kind::Private, &[0]).fails_by("untrue");
    assert_eq!(tale(Kind::Private, &[FINAL, 0]).found(), ["untrue", "untrue"]); // And of one death twice.

    // Who may have died before the name went leaves it to the next one; and that is told once.
    let alone = |told: &[u8]| {
        let mut tale = tale(Kind::Private, told);
        // Its attaching never ended.
        tale.history.consumers.truncate(1);
        tale
    };
    alone(&[0]).passes();
    alone(&[FINAL, FINAL]).passes();
    assert_eq!(alone(&[FINAL, 0]).found(), ["untrue", "untrue"]); // Likewise.
    alone(&[0, 0]).fails_by("untrue");
}

#[test]
fn a_private_channel_takes_one_message_with_it_and_its_name_goes_when_both_sit() {
    let tale = |messages: u32| {
        let mut tale = Tale::new();
        tale.history.kind = Kind::Private;
        for _ in 0..messages {
            tale.publishes();
        }
        tale
    };
    tale(1).passes();
    tale(2).fails_by("lost");

    // The next consumer finds no name: the one before it may have taken it away, if there was one.
    let not_found = |has_come_before: bool| {
        let mut tale = tale(0);
        if has_come_before {
            tale.dies(Side::Consumer);
            tale.consumer += 1;
        } else {
            tale.history.consumers.clear();
        }
        tale.record(Side::Consumer, 0, What::Attach, How::Open, Outcome::Begun);
        tale.record(Side::Consumer, 0, What::Attach, How::Open, Outcome::NotFound);
        tale
    };
    not_found(true).passes();
    not_found(false).fails_by("untrue");

    let mut met = tale(0);
    assert_eq!(met.history.both_sat(), met.now);
    met.history.consumers.truncate(1);
    assert_eq!(met.history.both_sat(), u64::MAX);
}

#[test]
fn a_persistent_channel_forgets_neither_its_name_nor_its_message() {
    let tale = |kind: Kind, messages: u32| {
        let mut tale = Tale::new();
        tale.history.kind = kind;
        for _ in 0..messages {
            tale.publishes();
        }
        tale.dies(Side::Publisher);
        tale.dies(Side::Consumer);
        tale
    };
    let made_anew = |kind: Kind, messages: u32, outcome: Outcome| {
        let mut tale = tale(kind, messages);
        tale.resets(outcome);
        if outcome == Outcome::HoldsMessage && messages > 0 {
            tale.comes(Side::Consumer);
            tale.consumes(1, 0);
        }
        tale
    };
    made_anew(Kind::Ordinary, 1, Outcome::Fine).passes();
    made_anew(Kind::Persistent, 0, Outcome::Fine).passes();
    made_anew(Kind::Persistent, 1, Outcome::Fine).fails_by("lost");
    made_anew(Kind::Persistent, 1, Outcome::HoldsMessage).passes();
    made_anew(Kind::Persistent, 0, Outcome::HoldsMessage).fails_by("untrue");
    made_anew(Kind::Ordinary, 1, Outcome::HoldsMessage).fails_by("untrue");

    // All have gone, and the next one looks for it; or one was killed before, who was making it anew.
    let looked_for = |kind: Kind, was_reset: bool| {
        let mut tale = tale(kind, 0);
        if was_reset {
            tale.resets(DIED);
        }
        tale.consumer += 1;
        tale.record(Side::Consumer, 0, What::Attach, How::Open, Outcome::Begun);
        tale.record(Side::Consumer, 0, What::Attach, How::Open, Outcome::NotFound);
        tale
    };
    looked_for(Kind::Ordinary, false).passes();
    looked_for(Kind::Persistent, true).passes();
    looked_for(Kind::Persistent, false).fails_by("untrue");

    let left = |kind: Kind| {
        let mut tale = Tale::new();
        tale.history.kind = kind;
        tale.record(Side::Publisher, 9, What::Leave, How::Drop, Outcome::Begun);
        let number = tale.next();
        tale.record(Side::Consumer, number, What::Consume, How::Consume, Outcome::Begun);
        tale.record(Side::Consumer, number, What::Consume, How::Consume, Outcome::Disconnected);
        tale
    };
    left(Kind::Ordinary).passes();
    left(Kind::Persistent).fails_by("untrue");
}

#[test]
fn who_waits_for_a_seat_waits_until_its_time_is_up_and_shares_it_with_nobody() {
    let lives = [1, 2].map(|incarnation| Life {
        side: Side::Racer,
        incarnation,
        pid: incarnation,
        started: 0,
        died: None,
        gone: 100 * MILLISECOND,
    });
    let door = |time: u64, incarnation: u32, how: How, millis: u64, outcome: Outcome| {
        [(time, Outcome::Begun), (time + millis, outcome)].map(|(time, ended)| {
            let mut record = Record::new(incarnation, time as u32, What::Door, how, ended);
            record.number = incarnation * 10 + how as u32;
            record.time = time * MILLISECOND;
            // At its beginning the limit, at its end the pid.
            record.limit = if ended == Outcome::Begun { 5 } else { u32::from(outcome == Outcome::SeatTaken) };
            record
        })
    };
    let check = |how: How, millis: u64, outcome: Outcome| {
        let mut records = door(1, 1, How::Create, 1, Outcome::Fine).to_vec();
        records.extend(door(3, 2, How::Open, 1, Outcome::Fine));
        records.extend(door(5, 1, How::TakeConsumer, 1, Outcome::Fine));
        records.extend(door(7, 2, how, millis, outcome));
        doors::check(&records, &lives, &[]).len()
    };
    assert_eq!(check(How::WaitConsumer, 5, Outcome::SeatTaken), 0);
    assert_eq!(check(How::WaitConsumer, 4, Outcome::SeatTaken), 1);
    assert_eq!(check(How::TakeConsumer, 1, Outcome::SeatTaken), 0);
    // At a door that somebody keeps closed.
    assert_eq!(check(How::WaitConsumer, 5, Outcome::Stuck), 0);
    assert_eq!(check(How::WaitConsumer, 4, Outcome::Stuck), 1);
    assert_eq!(check(How::TakeConsumer, 5, Outcome::Stuck), 1);
    assert_eq!(check(How::WaitPublisher, 1, Outcome::Fine), 0);
    assert_eq!(check(How::WaitConsumer, 1, Outcome::Fine), 1);
}

#[test]
fn a_cleaner_removes_what_it_may_and_is_refused_nothing_else() {
    let check = |how: How, outcome: Outcome| {
        let begun = Record::new(1, 1, What::Clean, how, Outcome::Begun);
        let ended = (outcome != DIED).then(|| Record::new(1, 1, What::Clean, how, outcome));
        cleaner::check(&[Done { begun, ended }]).len()
    };
    for outcome in [Outcome::Fine, Outcome::NotRemoved, Outcome::InUse, Outcome::Stuck, DIED] {
        assert_eq!(check(How::Remove, outcome), 0);
    }
    assert_eq!(check(How::Remove, Outcome::Other), 1);
    assert_eq!(check(How::Census, Outcome::Fine), 0);
    assert_eq!(check(How::Census, Outcome::Stuck), 1);
}

#[test]
fn counters_say_what_was_written_down() {
    let two = || {
        let mut tale = Tale::new();
        for _ in 0..2 {
            let message = tale.publishes();
            tale.consumes(message, 0);
        }
        tale
    };
    let check = |tale: &Tale, published, consumed| counted::check(&tale.history, published, consumed).ok();
    assert_eq!(check(&two(), 2, 2), Some(0));
    assert_eq!(check(&two(), 3, 2), None);
    assert_eq!(check(&two(), 2, 1), None);
    // Who dies in the middle leaves a doubt of one.
    let mut died = two();
    died.begins(How::Publish);
    died.dies(Side::Publisher);
    assert_eq!([1, 2, 3, 4].map(|published| check(&died, published, 2)), [None, Some(1), Some(1), None]);
    // One who was refused leaves, and has made nothing.
    let mut refused = two();
    refused.resets(Outcome::HoldsMessage);
    let left = Record::new(refused.consumer, 99, What::Leave, How::Drop, Outcome::Begun);
    refused.history.resetters.push(left);
    refused.history.resetters.push(Record::new(left.incarnation, 99, What::Leave, How::Drop, Outcome::Fine));
    assert_eq!(check(&refused, 2, 2), Some(0));
    // One that was dropped counts, one that was given back does not.
    let mut back = two();
    let message = back.publishes();
    let number = back.gets(message, 0);
    back.lets_go(number, How::Panic, Outcome::Fine);
    assert_eq!((check(&back, 3, 2), check(&back, 3, 3)), (Some(0), None));
    // Made anew, it counts from the beginning.
    let mut anew = two();
    anew.dies(Side::Publisher);
    anew.dies(Side::Consumer);
    anew.resets(Outcome::Fine);
    assert_eq!((check(&anew, 0, 0), check(&anew, 2, 2)), (Some(0), None));
}
