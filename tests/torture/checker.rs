//! The proof: whether the logs of a channel can be what they are without a promise having been broken.
//!
//! # What it assumes
//!
//! * One clock, `CLOCK_MONOTONIC`, is right for all processes: what is written down before something was done has an
//!   earlier time than what is written down after its effects were seen.
//! * A process is killed between two of its instructions: its log ends with all that it had stored.
//! * One publisher and one consumer of a channel live at a time: the next is started when the last one is waited for.
//! * The region changes only while nobody lives, and a log tells of it. It may vanish when the last one leaves, or
//!   somebody cleans, and nothing stands in it: then nothing is lost, so that is none of the model's business. A
//!   persistent one does not vanish, and is not made anew while an acknowledged message stands in it. A private one is
//!   gone with whoever had it, and with one message at most.
//!
//! # What it proves
//!
//! It walks through what the consumers got, in order, and keeps every state in which the channel can then be: which
//! messages are behind it, and what is known of the one that stands there. One message can stand there, so a state is
//! small; and nearly always there is one state only. Where a process died in the middle of something, both what it had
//! done and what it had not are kept. If no state is left, nothing that the channel may do explains the logs.
//!
//! | | a violation is |
//! |---|---|
//! | lost | a message that was acknowledged or answered, and that nobody had or may have had before a later one came, or when all was over |
//! | altered | bytes that are not what the number, the channel and the length ask for: seen by whoever has them |
//! | reordered, duplicated | a message that was let go of, and comes again, or after a later one |
//! | unmarked | one that somebody had, and that comes again without `redelivered` |
//! | marked | `redelivered` on one that nobody can have had |
//! | withdrawn | one whose sender was told *not delivered*, in a consumer's hands: whole, or at all if it was a call |
//! | invented | a message that nobody sent, one that comes before it was sent, or as another kind or length |
//! | two at once | a message published before the one before it was let go of |
//! | reply | an answer that no consumer gave to this very call; or one that was given, to somebody who is gone |
//! | untrue | an error that was not so: `PeerDied` where nobody died, or twice for one death; `Disconnected` where nobody left; `TimedOut` before its time; lack of room where there was room; a seat taken by nobody; a private channel's end that is told as if a next one could come, or any other's as if none could; a persistent one that was not found, or was refused for a message that cannot have stood there |
//! | forked | a handle that worked in a forked child |
//!
//! # What it cannot see
//!
//! * The order of memory: writing the logs is itself a barrier of sorts. The models have that (`src/channel/model`).
//! * Which of two messages without a byte came, if either could. The plan keeps them apart.
//! * Half a message in a consumer's hands whose rest never came: that is allowed, and its bytes are not compared.
//! * A delay, however long, as long as the watchdog is not woken. Those are figures.

use crate::history::{Done, Event, Fate, Got, History, Life, Sent, done};
use crate::log::{CALL, FINAL, How, MARKED, NAMELESS, NOT_DELIVERED, Outcome, Record, WHOLE, What};
use crate::plan::{Kind, Side};
use std::collections::{BTreeMap, BTreeSet};

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// A word from the table above.
    pub what: &'static str,
    pub why: String,
    /// Between these times it happened.
    pub first: u64,
    pub last: u64,
}

/// What is known of the message that stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Had {
    Nobody,
    Perhaps,
    Somebody,
}

/// A state in which the channel can be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    /// Everything before this one is behind.
    next: usize,
    had: Had,
    /// It may have been let go of already.
    may_be_gone: bool,
    /// A consumer died before this time while it consumed: what was sent before may be marked.
    may_be_marked: Option<u64>,
    /// Consumers died before these times in the middle of taking one out: each may have consumed one.
    may_have_consumed: Vec<u64>,
}

impl State {
    const FIRST: State =
        State { next: 0, had: Had::Nobody, may_be_gone: false, may_be_marked: None, may_have_consumed: Vec::new() };

    fn behind(next: usize) -> State {
        State { next, ..State::FIRST }
    }

    /// The same, with all before `to` behind it. An error where that would lose something.
    fn skip(&self, sent: &[Sent], to: usize) -> Result<State, Violation> {
        let mut after = self.clone();
        for (at, one) in sent.iter().enumerate().take(to).skip(self.next) {
            if !one.is_acknowledged() || (at == self.next && self.may_be_gone) {
                continue;
            }
            let began = one.done.begun.time;
            match after.may_have_consumed.iter().position(|died| began < *died) {
                Some(found) => drop(after.may_have_consumed.remove(found)),
                None => return Err(violation("lost", &one.done, "was acknowledged, and nobody had it")),
            }
        }
        if to > self.next {
            after = State { next: to, had: Had::Nobody, may_be_gone: false, ..after };
        }
        Ok(after)
    }
}

fn violation(what: &'static str, about: &Done, why: &str) -> Violation {
    let last = about.ended.map_or(about.begun.time, |ended| ended.time);
    let ended = about.ended.map_or("its process died in it".to_owned(), |ended| format!("{ended}"));
    Violation { what, why: format!("{}; {ended}: {why}", about.begun), first: about.begun.time, last }
}

/// Every violation in what one channel's processes wrote. Of the ones that the walk finds, the first.
pub fn check(history: &History) -> Vec<Violation> {
    let sent = history.sent();
    let mut found = Vec::new();
    check_altered(history, &mut found);
    let walked = walk(&sent, &history.events());
    found.extend(walked.err());
    check_replies(history, &sent, &mut found);
    check_turns(history, &sent, &mut found);
    check_errors(history, &mut found);
    found
}

fn check_altered(history: &History, found: &mut Vec<Violation>) {
    for record in history.publishers.iter().chain(&history.consumers) {
        if record.what() == What::Altered {
            let (first, last) = (record.time, record.time);
            found.push(Violation { what: "altered", why: format!("{record}; see the remarks"), first, last });
        }
    }
}

/// Walks through the events; an error where there is no way on.
fn walk(sent: &[Sent], events: &[Event]) -> Result<(), Violation> {
    let by_id: BTreeMap<u64, usize> = sent.iter().enumerate().map(|(at, sent)| (sent.id, at)).collect();
    let mut states = BTreeSet::from([State::FIRST]);
    for event in events {
        let mut after = BTreeSet::new();
        let mut stuck = None;
        for state in &states {
            match step(state, event, sent, &by_id) {
                Ok(reached) => after.extend(reached),
                Err(why) => stuck = Some(why),
            }
        }
        if after.is_empty() {
            let time = event.time();
            let why = format!("nothing that the channel may do leads to {event:?}");
            return Err(stuck.unwrap_or(Violation { what: "untrue", why, first: time, last: time }));
        }
        states = after;
    }
    // In the end there is nothing left: a drain has taken it.
    let mut last = None;
    for state in &states {
        match state.skip(sent, sent.len()) {
            Ok(_) => return Ok(()),
            Err(why) => last = Some(why),
        }
    }
    last.map_or(Ok(()), Err)
}

/// The states that an event leads to from one.
fn step(state: &State, event: &Event, sent: &[Sent], by_id: &BTreeMap<u64, usize>) -> Result<Vec<State>, Violation> {
    match event {
        Event::DiedConsuming { time, may_have_consumed } => {
            let mut after = state.clone();
            after.may_be_marked = Some(*time);
            if *may_have_consumed {
                after.may_have_consumed.push(*time);
            }
            Ok(vec![after])
        }
        Event::Refused(refused) => {
            let may_stand = |sent: &&Sent| {
                let is_loan = sent.done.begun.how() == How::LoanDropped && sent.done.ended.is_some();
                sent.done.begun.time < refused.begun.time && !sent.is_call() && !sent.is_withdrawn() && !is_loan
            };
            match sent.iter().skip(state.next).find(may_stand) {
                Some(_) => Ok(vec![state.clone()]),
                None => Err(violation("untrue", refused, "no message can stand there")),
            }
        }
        Event::Reset { began, is_certain, may_lose } => {
            let first_after = sent.partition_point(|sent| sent.done.begun.time < *began);
            let mut after: Vec<State> = if *is_certain { Vec::new() } else { vec![state.clone()] };
            if first_after < state.next {
                return Ok(after);
            }
            // One message may have stood there, and is gone with the region.
            let stood = (state.next..first_after).rev().find(|at| sent[*at].is_acknowledged() && *may_lose);
            let before = state.skip(sent, stood.unwrap_or(first_after));
            match before {
                Ok(_) => after.push(State::behind(first_after)),
                Err(why) if after.is_empty() => return Err(why),
                Err(_) => {}
            }
            Ok(after)
        }
        Event::Got(got) => {
            let mut after = Vec::new();
            let mut stuck = None;
            for at in candidates(state, got, sent, by_id)? {
                match take(state, got, sent, at) {
                    Ok(state) => after.push(state),
                    Err(why) => stuck = Some(why),
                }
            }
            match stuck {
                Some(why) if after.is_empty() => Err(why),
                _ => Ok(after),
            }
        }
    }
}

/// Which messages this can be.
fn candidates(
    state: &State,
    got: &Got,
    sent: &[Sent],
    by_id: &BTreeMap<u64, usize>,
) -> Result<Vec<usize>, Violation> {
    let Some(ended) = got.consumed.ended else { return Ok(Vec::new()) };
    let invented = |why| violation("invented", &got.consumed, why);
    if !ended.has(NAMELESS) {
        return match by_id.get(&ended.id) {
            Some(at) => Ok(vec![*at]),
            None => Err(invented("nobody sent that")),
        };
    }
    let mut found = Vec::new();
    for (at, one) in sent.iter().enumerate().skip(state.next) {
        let begun = &one.done.begun;
        if begun.time > ended.time {
            break;
        }
        if begun.len == ended.len && begun.id == ended.id && one.is_call() == ended.has(CALL) {
            found.push(at);
        }
    }
    if found.is_empty() { Err(invented("nobody sent that, or it was behind already")) } else { Ok(found) }
}

/// The state after `got` turned out to be message `at`.
fn take(state: &State, got: &Got, sent: &[Sent], at: usize) -> Result<State, Violation> {
    let message = &sent[at];
    let Some(ended) = got.consumed.ended else { return Ok(state.clone()) };
    let wrong = |what, why: &str| {
        let mut violation = violation(what, &got.consumed, why);
        violation.first = violation.first.min(message.done.begun.time);
        Err(violation)
    };
    if message.done.begun.len != ended.len || message.is_call() != ended.has(CALL) {
        return wrong("invented", "it was sent with another length, or as another kind");
    }
    if ended.time < message.done.begun.time {
        return wrong("invented", "it came before it was sent");
    }
    if at < state.next {
        return wrong("duplicated", "it was let go of already, or a later one came before it");
    }
    if message.is_withdrawn() && (message.is_call() || ended.has(WHOLE)) {
        return wrong("withdrawn", "its sender was told that nobody would ever have it");
    }
    let here = state.skip(sent, at)?;
    let was_consumed_from = state.may_be_marked.is_some_and(|died| message.done.begun.time < died);
    match (here.had, ended.has(MARKED)) {
        (Had::Nobody, true) if !was_consumed_from => return wrong("marked", "nobody had it before"),
        (Had::Somebody, false) => return wrong("unmarked", "somebody had it before"),
        _ => {}
    }
    Ok(match got.fate {
        Fate::LetGo => State::behind(at + 1),
        Fate::Lost => State { next: at, had: Had::Perhaps, ..State::FIRST },
        Fate::DiedWith | Fate::GivenBack => State { next: at, had: Had::Somebody, ..State::FIRST },
        Fate::MayBeLetGo => State { next: at, had: Had::Somebody, may_be_gone: true, ..State::FIRST },
    })
}

/// Everything that a consumer had, by what names it.
fn got_by_name(history: &History) -> BTreeMap<u64, Vec<Got>> {
    let mut all: BTreeMap<u64, Vec<Got>> = BTreeMap::new();
    for event in history.events() {
        if let Event::Got(got) = event {
            all.entry(got.consumed.ended.map_or(0, |ended| ended.id)).or_default().push(got);
        }
    }
    all
}

fn check_replies(history: &History, sent: &[Sent], found: &mut Vec<Violation>) {
    let got = got_by_name(history);
    for call in sent.iter().filter(|sent| sent.is_call()) {
        let Some(ended) = call.done.ended else { continue };
        let overlaps = |got: &&Got| {
            let letting = got.letting.map_or(got.consumed.begun.time, |letting| letting.begun.time);
            letting <= ended.time && got.consumed.end() >= call.done.begun.time
        };
        let had: Vec<&Got> = got.get(&call.done.begun.id).into_iter().flatten().filter(overlaps).collect();
        let is_reply = |letting: &Done| matches!(letting.begun.how(), How::Reply | How::ReplyTimeout);
        let replies: Vec<Done> = had.iter().filter_map(|got| got.letting).filter(is_reply).collect();
        match ended.outcome() {
            Outcome::Fine => {
                let same = |letting: &&Done| letting.begun.len == ended.len && letting.begun.id == ended.id;
                match replies.iter().find(same) {
                    None => found.push(violation("reply", &call.done, "nobody gave this answer to this call")),
                    Some(given) if given.outcome() == Some(Outcome::CallerGone) => {
                        found.push(violation("reply", given, "it was received all the same"));
                    }
                    Some(_) => {}
                }
            }
            Outcome::NoReply => {
                let may_be = |got: &&&Got| got.letting.is_none_or(|letting| !is_reply(&letting));
                if !had.iter().any(|got| may_be(&got)) {
                    found.push(violation("reply", &call.done, "nobody dropped it unanswered"));
                }
            }
            _ => {
                // Nameless ones may be another one's.
                let is_given = |letting: &Done| letting.outcome() == Some(Outcome::Fine);
                if ended.has(NOT_DELIVERED) && !call.done.begun.has(NAMELESS) && replies.iter().any(is_given) {
                    found.push(violation("withdrawn", &call.done, "somebody answered it"));
                }
            }
        }
    }
}

/// A message is let go of before the next one is published.
fn check_turns(history: &History, sent: &[Sent], found: &mut Vec<Violation>) {
    let by_id: BTreeMap<u64, usize> = sent.iter().enumerate().map(|(at, sent)| (sent.id, at)).collect();
    let resets: Vec<u64> = history
        .events()
        .iter()
        .filter_map(|event| if let Event::Reset { began, .. } = event { Some(*began) } else { None })
        .collect();
    for event in history.events() {
        let Event::Got(got) = event else { continue };
        let Some(at) = got.consumed.ended.filter(|end| !end.has(NAMELESS)).and_then(|end| by_id.get(&end.id)) else {
            continue;
        };
        // Into memory, it is let go of while it is consumed. An error later on comes after the publisher gave up.
        let began = match (got.fate, got.letting) {
            (Fate::LetGo, Some(letting)) if !matches!(got.consumed.begun.how(), How::Into | How::IntoTimeout) => {
                letting.begun.time
            }
            (Fate::LetGo, _) => got.consumed.begun.time,
            _ => continue,
        };
        // By one whose answer is still waited for. A call that was given up is nobody's turn.
        if !sent[*at].is_acknowledged() {
            continue;
        }
        let next =
            sent[at + 1..].iter().find(|sent| sent.done.outcome() == Some(Outcome::Fine) && sent.is_acknowledged());
        let Some(next) = next else { continue };
        let is_reset = resets.iter().any(|reset| (sent[*at].done.begun.time..next.done.end()).contains(reset));
        if next.done.end() < began && !is_reset {
            found.push(violation("two at once", &next.done, "the one before it was still in a consumer's hands"));
        }
    }
}

/// Whether each error was so.
fn check_errors(history: &History, found: &mut Vec<Violation>) {
    for (side, records) in [(Side::Publisher, &history.publishers), (Side::Consumer, &history.consumers)] {
        let peer = if side == Side::Publisher { Side::Consumer } else { Side::Publisher };
        let peers: Vec<&Life> = history.lives.iter().filter(|life| life.side == peer).collect();
        let all = done(records);
        let theirs = done(if side == Side::Publisher { &history.consumers } else { &history.publishers });
        let mut told: BTreeSet<(u32, u32)> = BTreeSet::new();
        let mut sat: BTreeMap<u32, u64> = BTreeMap::new();
        let mut told_finally: BTreeSet<u32> = BTreeSet::new();
        let both_sat = history.both_sat();
        // Whom this tells of had gone before both sat: then another one sits there.
        let was_gone = |told: &Record| {
            let leaves = |their: &Done| their.begun.what() == What::Leave && their.begun.time < both_sat;
            let is_it = |life: &&Life| told.limit == 0 || told.limit == life.pid;
            match told.outcome() {
                Outcome::PeerDied => {
                    peers.iter().filter(|life| is_it(life)).any(|life| life.died.is_some_and(|died| died < both_sat))
                }
                _ => theirs.iter().any(leaves),
            }
        };
        for one in &all {
            let Some(ended) = one.ended else { continue };
            let mut untrue = |why: &str| found.push(violation("untrue", one, why));
            if one.begun.what() == What::Attach && ended.outcome() == Outcome::Fine {
                sat.insert(one.begun.incarnation, one.begun.time);
            }
            if let Outcome::PeerDied | Outcome::Disconnected = ended.outcome() {
                let is_private = history.kind == Kind::Private;
                match (is_private, ended.has(FINAL)) {
                    (false, true) => untrue("it has a name, by which others may come"),
                    (true, true) => drop(told_finally.insert(one.begun.incarnation)),
                    (true, false) if told_finally.contains(&one.begun.incarnation) => {
                        untrue("it was said before that nobody can come any more");
                    }
                    (true, false) if both_sat < one.begun.time && !was_gone(&ended) => {
                        untrue("both had sat, so that nobody can come any more");
                    }
                    _ => {}
                }
            }
            match ended.outcome() {
                Outcome::Begun | Outcome::Fine | Outcome::Nothing => {}
                Outcome::PeerDied => {
                    let since = sat.get(&one.begun.incarnation).copied().unwrap_or_default();
                    let is_it = |life: &&&Life| {
                        let died = life.died.is_some_and(|died| died <= ended.time);
                        // A consumer is told of one who left it something before it came.
                        let is_news = side == Side::Consumer || life.gone >= since;
                        died && is_news && (ended.limit == 0 || ended.limit == life.pid)
                    };
                    let dead: Vec<&&Life> = peers.iter().filter(is_it).collect();
                    if dead.is_empty() {
                        untrue("nobody had died");
                    } else if let ([only], true) = (&dead[..], ended.limit != 0) {
                        let is_first = told.insert((one.begun.incarnation, only.incarnation));
                        if !is_first && !ended.has(FINAL) {
                            untrue("it had been told of that death before");
                        }
                    }
                }
                Outcome::Disconnected if history.kind == Kind::Persistent => {
                    untrue("that somebody leaves a persistent channel is no news");
                }
                Outcome::Disconnected => {
                    let leaves = |their: &&Done| their.begun.what() == What::Leave && their.begun.time <= ended.time;
                    if !theirs.iter().any(|their| leaves(&their)) {
                        untrue("nobody had left");
                    }
                }
                Outcome::TimedOut => {
                    // What limits the reading of a long message is not written down.
                    let has_limit = one.begun.what() != What::LetGo || one.begun.how() == How::ReplyTimeout;
                    if has_limit && !one.kept_its_limit() {
                        untrue("its time was not up");
                    }
                }
                Outcome::Aborted => {
                    let gave_up = |their: &&Done| {
                        let is_over = matches!(
                            their.outcome(),
                            None | Some(
                                Outcome::TimedOut | Outcome::Aborted | Outcome::PeerDied | Outcome::CallerGone
                            )
                        );
                        // The death of one in the middle is told as its giving up once the next one sits there.
                        is_over && their.begun.time <= ended.time
                    };
                    if !theirs.iter().any(|their| gave_up(&their)) {
                        untrue("nobody had given up");
                    }
                }
                Outcome::NoReply => {} // With the replies.
                Outcome::NotACall => {
                    let got = all.iter().find(|done| {
                        done.begun.what() == What::Consume
                            && (done.begun.incarnation, done.begun.number)
                                == (one.begun.incarnation, one.begun.number)
                    });
                    if got.and_then(|got| got.ended).is_none_or(|got| got.has(CALL)) {
                        untrue("it was a call");
                    }
                }
                Outcome::CallerGone => {} // With the replies.
                Outcome::TooLong => {
                    if one.begun.len == 0 || !matches!(one.begun.how(), How::TryPublish) && !is_loan(one.begun.how())
                    {
                        untrue("it was not too long");
                    }
                }
                Outcome::NoSpace if history.may_lack_space => {}
                Outcome::NoDescriptors if history.may_lack_descriptors => {}
                Outcome::Stuck if history.may_be_stuck => {}
                Outcome::NotFound => {
                    // Whoever sat all the time kept the name there: of a private one, if it was alone all the time.
                    let mut sittings = history.sittings(peer).into_iter();
                    let peer_sat = sittings.any(|their| their.since < one.begun.time && their.until > ended.time);
                    let begins = |done: &&Done| {
                        done.begun.what() == What::Attach && done.begun.incarnation != one.begun.incarnation
                    };
                    let mut begun_before = all.iter().filter(begins).map(|done| done.begun.time);
                    let may_be_closed =
                        history.kind == Kind::Private && begun_before.any(|begun| begun < one.begun.time);
                    let is_forgotten = history.kind == Kind::Persistent && stood_before(history, one.begun.time);
                    if one.begun.how() != How::Open || peer_sat && !may_be_closed || is_forgotten {
                        untrue("it was there");
                    }
                }
                Outcome::SeatTaken => untrue("the one before it had gone"),
                _ => untrue("that cannot be"),
            }
        }
    }
    for one in done(&history.resetters) {
        let lacks_space = history.may_lack_space && one.outcome() == Some(Outcome::NoSpace);
        let lacks = lacks_space || history.may_lack_descriptors && one.outcome() == Some(Outcome::NoDescriptors);
        // Whether a message stood there, the walk finds out.
        let is_refused = history.kind == Kind::Persistent && one.outcome() == Some(Outcome::HoldsMessage);
        let is_good = is_refused || matches!(one.outcome(), None | Some(Outcome::Fine));
        if !is_good && !lacks {
            found.push(violation("untrue", &one, "nobody lived"));
        }
    }
}

/// Whether a persistent channel was there at a time: somebody had it, and nobody took it away since.
fn stood_before(history: &History, time: u64) -> bool {
    let mut resets = done(&history.resetters);
    resets.retain(|done| done.begun.what() == What::Reset);
    let made = resets.iter().filter(|done| done.outcome() == Some(Outcome::Fine)).map(Done::end);
    let sides = [Side::Publisher, Side::Consumer];
    let sat = sides.iter().flat_map(|side| history.sittings(*side)).map(|sitting| sitting.since);
    let Some(last) = sat.chain(made).filter(|since| *since < time).max() else { return false };
    // Who fails while it makes one anew may have taken the old one away.
    let may_remove = |done: &Done| !matches!(done.outcome(), Some(Outcome::Fine | Outcome::HoldsMessage));
    !resets.iter().any(|done| may_remove(done) && done.begun.time > last && done.begun.time < time)
}

fn is_loan(how: How) -> bool {
    use How::{Loan, LoanCall, LoanCallTimeout, LoanDropped, LoanTimeout, TryLoan};
    matches!(how, Loan | TryLoan | LoanTimeout | LoanDropped | LoanCall | LoanCallTimeout)
}

/// How long the survivors of deaths took to be told, in nanoseconds: of those who were waiting already. First counted
/// from when the dead one was about to die, then from when it had been waited for: its files were closed in between.
pub fn delays(history: &History) -> Vec<(u64, u64)> {
    let mut delays = Vec::new();
    for (side, records) in [(Side::Publisher, &history.publishers), (Side::Consumer, &history.consumers)] {
        let peer = if side == Side::Publisher { Side::Consumer } else { Side::Publisher };
        for one in done(records) {
            let Some(ended) = one.ended.filter(|ended| ended.outcome() == Outcome::PeerDied) else { continue };
            let peers = history.lives.iter().filter(|life| life.side == peer);
            let dead = peers.filter_map(|life| Some((life.died?, life.gone)));
            let last = dead.filter(|(died, _)| *died <= ended.time).max();
            let waited = last.filter(|(died, _)| one.begun.time < *died);
            delays.extend(waited.map(|(died, gone)| (ended.time - died, ended.time.saturating_sub(gone))));
        }
    }
    delays
}
