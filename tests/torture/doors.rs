//! Processes that race for the same few names: they create, open, remove, sit down and leave as the dice say, and are
//! killed at the door. Which region a message went to is not known here: so this asks less than the checker does.

use crate::bytes::{self, first_bytes};
use crate::history::{Done, Life, done};
use crate::log::{How, MARKED, Outcome, Record, What};
use crate::worker::{Worker, millis};
use antiphon::{Channel, Consumer, Error, Publisher};
use std::collections::BTreeMap;
use std::time::Duration;

/// The names that all race for.
pub const NAMES: u64 = 2;
/// Racers at once.
pub const RACERS: u32 = 3;
/// Incarnations of one racer; the next one's come behind them.
pub const INCARNATIONS: u32 = 1_000_000;
/// The channel's number that stands in a message.
const CHANNEL: u32 = 1000;

pub fn race(words: &[String]) {
    let mut worker = Worker::new(words);
    let mut open: Option<Channel> = None;
    let mut publisher: Option<Publisher> = None;
    let mut consumer: Option<Consumer> = None;
    for _ in 0..worker.life.operations {
        worker.number += 1;
        worker.befall();
        match (&open, worker.dice.below(10)) {
            (None, _) | (_, 0) => {
                if let Some(channel) = at_the_door(&mut worker) {
                    (open, publisher, consumer) = (Some(channel), None, None);
                }
            }
            (Some(channel), 1) => sit(&mut worker, How::TakePublisher, &mut publisher, |_| channel.publisher()),
            (Some(channel), 2) => {
                sit(&mut worker, How::WaitPublisher, &mut publisher, |limit| channel.publisher_timeout(limit))
            }
            (Some(channel), 3) => sit(&mut worker, How::TakeConsumer, &mut consumer, |_| channel.consumer()),
            (Some(channel), 4) => {
                sit(&mut worker, How::WaitConsumer, &mut consumer, |limit| channel.consumer_timeout(limit))
            }
            (Some(_), 5) => {
                let begun = worker.begin(What::Leave, How::Drop);
                worker.log.append(begun);
                (open, publisher, consumer) = (None, None, None);
                worker.log.append(worker.end(&begun, &Ok(())));
            }
            (Some(_), dice) => match (&mut publisher, &mut consumer) {
                (Some(publisher), _) if dice < 8 => publish(&mut worker, publisher),
                (_, Some(consumer)) => consume(&mut worker, consumer),
                _ => std::thread::sleep(Duration::from_micros(50)),
            },
        }
    }
    worker.finish((publisher, consumer, open), false);
}

fn at_the_door(worker: &mut Worker) -> Option<Channel> {
    let which = worker.dice.below(NAMES);
    let name = format!("{}{which}", worker.orders.name);
    let how = [How::Create, How::Create, How::Open, How::OpenOrCreate, How::OpenOrCreate, How::Unlink]
        [worker.dice.below(6) as usize];
    let mut begun = worker.begin(What::Door, how);
    begun.spare = which;
    worker.log.append(begun);
    let options = worker.options();
    let result = match how {
        How::Create => options.create(&name).map(Some),
        How::Open => options.open(&name).map(Some),
        How::OpenOrCreate => options.open_or_create(&name).map(Some),
        _ => Channel::unlink(&name).map(|()| None),
    };
    worker.log.append(worker.end(&begun, &result));
    result.ok().flatten()
}

fn sit<E>(worker: &mut Worker, how: How, seat: &mut Option<E>, take: impl FnOnce(Duration) -> Result<E, Error>) {
    if seat.is_some() {
        return;
    }
    let mut begun = worker.begin(What::Door, how);
    if waits(how) {
        begun.limit = worker.limit().min(200);
    }
    worker.log.append(begun);
    let result = take(millis(begun.limit).unwrap_or_default());
    worker.log.append(worker.end(&begun, &result));
    *seat = result.ok();
}

fn publish(worker: &mut Worker, publisher: &mut Publisher) {
    let len = 24 + worker.dice.below(100) as usize;
    let mut begun = worker.begin(What::Send, How::TryPublish);
    (begun.len, begun.id) = (len as u64, worker.id());
    worker.log.append(begun);
    let result = publisher.try_publish(&bytes::message(CHANNEL, worker.id(), len));
    let mut ended = worker.end(&begun, &result);
    if matches!(result, Ok(false)) {
        ended = Record::new(begun.incarnation, begun.number, What::Send, How::TryPublish, Outcome::Nothing);
    }
    worker.log.append(ended);
}

fn consume(worker: &mut Worker, consumer: &mut Consumer) {
    let begun = worker.begin(What::Consume, How::TryConsume);
    worker.log.append(begun);
    let mut ended = worker.end::<()>(&begun, &Ok(()));
    match consumer.try_consume() {
        Err(error) => worker.log.append(worker.end::<()>(&begun, &Err(error))),
        Ok(None) => {
            ended = Record::new(begun.incarnation, begun.number, What::Consume, How::TryConsume, Outcome::Nothing);
            worker.log.append(ended);
        }
        Ok(Some(message)) => {
            let bytes = message.view().to_vec();
            if let Err(why) = bytes::read_message(CHANNEL, &bytes) {
                worker.altered(&begun, &why);
            }
            (ended.len, ended.id) = (bytes.len() as u64, first_bytes(&bytes));
            ended.flags = if message.redelivered() { MARKED } else { 0 };
            worker.log.append(ended);
            let letting = worker.begin(What::LetGo, How::Drop);
            worker.log.append(letting);
            drop(message);
            worker.log.append(worker.end(&letting, &Ok(())));
        }
    }
}

/// Whether it waits for the seat.
fn waits(how: How) -> bool {
    matches!(how, How::WaitPublisher | How::WaitConsumer)
}

/// Which seat it is, where it is one, whichever way it is taken.
fn seat(how: How) -> Option<How> {
    match how {
        How::TakePublisher | How::WaitPublisher => Some(How::TakePublisher),
        How::TakeConsumer | How::WaitConsumer => Some(How::TakeConsumer),
        _ => None,
    }
}

/// What is wrong with what all racers wrote.
pub fn check(records: &[Record], lives: &[Life], may_lack: &[Outcome]) -> Vec<String> {
    let mut found = Vec::new();
    let all = done(records);
    let mut sent: BTreeMap<u64, Done> = BTreeMap::new();
    for one in all.iter().filter(|one| one.begun.what() == What::Send) {
        sent.insert(one.begun.id, *one);
    }
    // Who had what: unmarked, and let go of for certain.
    let mut had: BTreeMap<u64, (u32, bool)> = BTreeMap::new();
    let lived = |pid: u32, one: &Done| {
        lives.iter().any(|life| life.pid == pid && life.started <= one.end() && life.gone >= one.begun.time)
    };
    for record in records.iter().filter(|record| record.what() == What::Altered) {
        found.push(format!("altered: {record}"));
    }
    let mut taken: Vec<Done> = all.iter().copied().filter(|one| one.begun.what() == What::Consume).collect();
    taken.sort_by_key(Done::end);
    for one in &taken {
        let Some(ended) = one.ended.filter(|ended| ended.outcome() == Outcome::Fine) else { continue };
        match sent.get(&ended.id).map(Done::outcome) {
            Some(None | Some(Outcome::Fine)) => {}
            Some(_) => found.push(format!("withdrawn: {ended}: it was not published")),
            None => found.push(format!("invented: {ended}: nobody sent it")),
        }
        let let_go = all.iter().any(|other| {
            other.begun.what() == What::LetGo
                && other.ended.is_some()
                && (other.begun.incarnation, other.begun.number) == (one.begun.incarnation, one.begun.number)
        });
        let (times, is_over) = had.get(&ended.id).copied().unwrap_or_default();
        if is_over {
            found.push(format!("duplicated: {ended}: it was let go of"));
        }
        if times > 0 && !ended.has(MARKED) {
            found.push(format!("unmarked: {ended}: somebody had it"));
        }
        had.insert(ended.id, (times + 1, let_go));
    }
    found.extend(check_names(&all, lives));
    for one in &all {
        let Some(ended) = one.ended else { continue };
        let is_good = match (ended.outcome(), one.begun.what(), one.begun.how()) {
            (Outcome::Fine | Outcome::Nothing, ..) => true,
            (Outcome::NotFound, What::Door, How::Open | How::Unlink) => true,
            (Outcome::InUse, What::Door, How::Create) => lived(ended.limit, one),
            // Who dies while it sits down has no pid there yet.
            (Outcome::SeatTaken, What::Door, how) if seat(how).is_some() => {
                (ended.limit == 0 || lived(ended.limit, one)) && (!waits(how) || one.kept_its_limit())
            }
            // Somebody is stopped in the middle of it, or has no processor.
            (Outcome::Stuck, What::Door, how) => waits(how) && one.kept_its_limit(),
            (Outcome::PeerDied, What::Send | What::Consume, _) => {
                lives.iter().any(|life| life.died.is_some_and(|died| died <= ended.time))
            }
            (Outcome::Disconnected, What::Send | What::Consume, _) => true,
            (outcome, What::Door | What::Send | What::Consume, _) => may_lack.contains(&outcome),
            _ => false,
        };
        if !is_good {
            found.push(format!("untrue: {}; {ended}", one.begun));
        }
    }
    found
}

/// A channel that somebody has open, or a seat in it.
struct Holding {
    incarnation: u32,
    which: u64,
    /// `Open` for the channel itself.
    what: How,
    /// When opening the channel began.
    begun: u64,
    since: u64,
    until: u64,
}

/// A name is there for as long as somebody has it, unless it was removed: nobody fails to find it, nobody makes it. And
/// no two sit in one seat.
fn check_names(all: &[Done], lives: &[Life]) -> Vec<String> {
    let life = |one: &Done| lives.iter().find(|life| life.incarnation == one.begun.incarnation);
    let holdings = holdings(all, |one| life(one).map_or(u64::MAX, |life| life.died.unwrap_or(life.gone)));
    let gone = |one: &Done| life(one).map_or(u64::MAX, |life| life.gone);
    let removals: Vec<&Done> = all.iter().filter(|one| one.begun.how() == How::Unlink).collect();
    // By one who died at it, what was opened before that may go at any time.
    let was_removed = |held: &Holding, by: u64| {
        removals.iter().any(|removal| {
            let over = removal.end().min(gone(removal));
            removal.begun.spare == held.which && removal.begun.time < by && over > held.begun
        })
    };
    let mut found = Vec::new();
    for one in all {
        let denies = match (one.begun.how(), one.outcome()) {
            (How::Open, Some(Outcome::NotFound)) => true,
            (How::Create, Some(Outcome::Fine)) => one.begun.what() == What::Door,
            _ => false,
        };
        let has_it = |held: &&Holding| {
            (held.what, held.which) == (How::Open, one.begun.spare)
                && held.since < one.begun.time
                && held.until > one.end()
                && !was_removed(held, one.end())
        };
        if let (true, Some(held)) = (denies, holdings.iter().find(has_it)) {
            let since = (one.begun.time - held.since) as f64 / 1e6;
            found.push(format!("untrue: {}; somebody had it for {since} ms, and still had it then", one.begun));
        }
    }
    for held in holdings.iter().filter(|held| held.what != How::Open) {
        let sits_there_too = |other: &&Holding| {
            (other.what, other.which) == (held.what, held.which)
                && other.incarnation != held.incarnation
                && (held.since..held.until).contains(&other.since)
                // Each may have a region of its own otherwise.
                && !was_removed(held, other.since)
                && !was_removed(other, other.since)
        };
        if let Some(other) = holdings.iter().find(sits_there_too) {
            let (one, two) = (held.incarnation, other.incarnation);
            found.push(format!("untrue: #{one} and #{two} {:?} at once", held.what));
        }
    }
    found
}

/// What the racers have, and for how long: until they leave or open another, or die.
fn holdings(all: &[Done], death: impl Fn(&Done) -> u64) -> Vec<Holding> {
    let attaches = |one: &Done| matches!(one.begun.how(), How::Create | How::Open | How::OpenOrCreate);
    let mut holdings: Vec<Holding> = Vec::new();
    for (at, one) in all.iter().enumerate() {
        let seat = seat(one.begun.how());
        if one.begun.what() != What::Door
            || one.outcome() != Some(Outcome::Fine)
            || !(attaches(one) || seat.is_some())
        {
            continue;
        }
        let incarnation = one.begun.incarnation;
        let mut own = all[at + 1..].iter().filter(|other| other.begun.incarnation == incarnation);
        let over = own.find(|other| other.begun.what() == What::Leave || attaches(other));
        let until = over.map_or(u64::MAX, |other| other.begun.time).min(death(one));
        let opened = holdings.iter().rev().find(|held| held.incarnation == incarnation && held.what == How::Open);
        let (which, begun) = match opened {
            Some(opened) if seat.is_some() => (opened.which, opened.begun),
            _ => (one.begun.spare, one.begun.time),
        };
        let what = seat.unwrap_or(How::Open);
        holdings.push(Holding { incarnation, which, what, begun, since: one.end(), until });
    }
    holdings
}
