//! The process that consumes and replies.

use crate::bytes::{self, NAMED_FROM, first_bytes};
use crate::log::{CALL, FINAL, How, Log, MARKED, NAMELESS, NO_LIMIT, Outcome, Record, WHOLE, What};
use crate::plan::{self, Side};
use crate::publisher::{FINALS, attach};
use crate::worker::{Worker, fork_and_try, is_refused, log_path, millis};
use antiphon::{Channel, Consumer, Error, Message};
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

pub fn run(words: &[String]) {
    let mut worker = Worker::new(words);
    let publishers = Log::open(&log_path(&worker.orders.folder, worker.orders.channel, Side::Publisher, 0));
    let is_done = || publishers.head().done.load(Relaxed) != 0;
    if is_done() {
        return;
    }
    let Some((channel, mut consumer)) = attach(&mut worker, Channel::consumer) else { return };
    let channel = (worker.dice.below(2) == 0).then_some(channel);
    let mut into = Vec::new();
    let mut finals = 0;
    for _ in 0..worker.life.operations {
        // The last publisher says so before it leaves: so a consumer that sat before that hears of its leaving.
        if is_done() {
            break;
        }
        worker.number += 1;
        worker.pause();
        worker.befall();
        if let Some(wait) = plan::other_wait(&mut worker.dice) {
            consumer.set_wait(wait);
        }
        finals += u32::from(consume(&mut worker, &mut consumer, &mut into));
        if finals > FINALS {
            break;
        }
    }
    let leaves = is_done();
    worker.finish((consumer, channel), leaves);
}

/// When all others have gone: takes out what is left.
pub fn drain(words: &[String]) {
    let mut worker = Worker::undisturbed(words);
    let begun = worker.begin(What::Attach, How::Open);
    worker.log.append(begun);
    let seated = Channel::open(&worker.orders.name.clone());
    let seated = seated.and_then(|channel| channel.consumer().map(|end| (channel, end)));
    worker.log.append(worker.end(&begun, &seated));
    let Ok((channel, mut consumer)) = seated else { return };
    // One message can stand there, and two pieces of news about who left it.
    for _ in 0..4 {
        worker.number += 1;
        let begun = worker.begin(What::Consume, How::TryConsume);
        worker.log.append(begun);
        match consumer.try_consume() {
            Ok(Some(message)) => take(&mut worker, &begun, message, None, true),
            Ok(None) => worker.log.append(Record::new(
                begun.incarnation,
                begun.number,
                What::Consume,
                How::TryConsume,
                Outcome::Nothing,
            )),
            Err(error) => worker.log.append(worker.end::<()>(&begun, &Err(error))),
        }
    }
    worker.finish((consumer, channel), true);
}

const WAYS: &[How] =
    &[How::Consume, How::Consume, How::TryConsume, How::ConsumeTimeout, How::Into, How::Into, How::IntoTimeout];

/// Whether it was told that no next one can come.
fn consume(worker: &mut Worker, consumer: &mut Consumer, into: &mut Vec<u8>) -> bool {
    let how = WAYS[worker.dice.below(WAYS.len() as u64) as usize];
    let mut begun = worker.begin(What::Consume, how);
    begun.limit = match how {
        How::ConsumeTimeout | How::IntoTimeout => worker.limit(),
        _ => NO_LIMIT,
    };
    worker.log.append(begun);
    let limit = millis(begun.limit).unwrap_or_default();
    let got = match how {
        How::Consume => consumer.consume().map(Some),
        How::TryConsume => consumer.try_consume(),
        How::ConsumeTimeout => consumer.consume_timeout(limit).map(Some),
        How::Into => consumer.consume_into(into).map(Some),
        _ => consumer.consume_into_timeout(into, limit).map(Some),
    };
    match got {
        Err(error) => {
            let ended = worker.end::<()>(&begun, &Err(error));
            worker.log.append(ended);
            return ended.has(FINAL);
        }
        Ok(None) => {
            let nothing = Record::new(begun.incarnation, begun.number, What::Consume, how, Outcome::Nothing);
            worker.log.append(nothing);
            std::thread::sleep(Duration::from_micros(worker.dice.below(200)));
        }
        Ok(Some(message)) => {
            let copied = matches!(how, How::Into | How::IntoTimeout).then(|| std::mem::take(into));
            take(worker, &begun, message, copied, false);
        }
    }
    false
}

/// Writes down what came, looks at all of it, and lets go of it in one of the ways there are.
fn take(worker: &mut Worker, begun: &Record, mut message: Message<'_>, copied: Option<Vec<u8>>, is_drain: bool) {
    let channel = worker.orders.channel;
    let mut got = Record::new(begun.incarnation, begun.number, What::Consume, begun.how(), Outcome::Fine);
    let len = message.len();
    got.len = len as u64;
    if message.is_call() {
        got.flags |= CALL;
    }
    if message.redelivered() {
        got.flags |= MARKED;
    }
    let reads = is_drain || copied.is_some() || worker.dice.below(8) != 0;
    if copied.is_none() {
        let mut first = [0; NAMED_FROM];
        message.view().copy_to(0, &mut first);
        got.id = first_bytes(&first[..len.min(8)]);
        if !reads || len > worker.orders.capacity {
            // That much is known before all of it is here.
            got.flags |= if len < NAMED_FROM { NAMELESS } else { 0 };
            worker.log.append(got);
        }
    }
    if let Some(millis) = worker.forks_now() {
        fork_and_try(millis, || {
            let mut bytes = Vec::new();
            is_refused(message.copy_into(&mut bytes)) + u64::from(message.read(&mut [0; 8]).is_ok())
        });
    }
    if reads {
        // Giving up the rest is something that the other end may see before this one has written it down.
        let lost = Record::new(begun.incarnation, begun.number, What::LetGo, How::Drop, Outcome::Begun);
        let bytes = match copied {
            Some(bytes) => Ok(bytes),
            None => read(worker, &mut message),
        };
        match bytes {
            Ok(bytes) => {
                match bytes::read_message(channel, &bytes) {
                    Ok(id) if bytes.len() == len => got.id = id,
                    Ok(_) => worker.altered(begun, &format!("{len} bytes said, {} there", bytes.len())),
                    Err(why) => worker.altered(begun, &why),
                }
                got.time = crate::log::now();
                got.flags |= WHOLE | if len < NAMED_FROM { NAMELESS } else { 0 };
                worker.log.append(got);
            }
            // Only the rest of one that is longer than the capacity can fail to come.
            Err(error) => {
                if len <= worker.orders.capacity {
                    worker.altered(begun, &format!("it was there, and could not be read: {error}"));
                }
                worker.log.append(lost);
                let mut record = worker.end::<()>(&lost, &Err(error));
                if record.outcome() == Outcome::TimedOut {
                    record.limit = 0;
                }
                drop(message);
                worker.log.append(record);
                return;
            }
        }
    }
    hold(worker);
    let how = match worker.dice.below(40) {
        _ if is_drain => How::Drop,
        0 => How::Forget,
        1 => How::Panic,
        2 | 3 => How::Drop,
        4 => How::Reply,
        5 if got.has(CALL) => How::ReplyTimeout,
        _ if got.has(CALL) => How::Reply,
        _ => How::Drop,
    };
    let mut letting = worker.begin(What::LetGo, how);
    if how == How::ReplyTimeout {
        letting.limit = worker.limit();
    }
    let reply = matches!(how, How::Reply | How::ReplyTimeout).then(|| {
        let mut len = plan::len(&mut worker.dice, worker.orders.capacity);
        if len < NAMED_FROM && worker.number % 16 != 9 + len as u32 {
            len = 100;
        }
        bytes::reply(channel, worker.id(), got.id, len)
    });
    if let Some(reply) = &reply {
        letting.len = reply.len() as u64;
        letting.flags = if reply.len() < NAMED_FROM { NAMELESS } else { 0 };
        letting.id = if reply.len() < NAMED_FROM { first_bytes(reply) } else { worker.id() };
    }
    worker.log.append(letting);
    let result: Result<(), Error> = match how {
        How::Forget => {
            std::mem::forget(message);
            Ok(())
        }
        How::Panic => {
            worker.log.head().panics.fetch_add(1, Relaxed);
            // Without the hook, which would print.
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                let _in_hand = message;
                resume_unwind(Box::new("with the message in hand"));
            }));
            assert!(panicked.is_err());
            Ok(())
        }
        How::Reply => message.reply(reply.as_deref().unwrap_or_default()),
        How::ReplyTimeout => {
            message.reply_timeout(reply.as_deref().unwrap_or_default(), millis(letting.limit).unwrap_or_default())
        }
        _ => {
            drop(message);
            Ok(())
        }
    };
    worker.log.append(worker.end(&letting, &result));
}

/// All of it, in one of the ways there are.
fn read(worker: &mut Worker, message: &mut Message<'_>) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    match worker.dice.below(3) {
        0 => message.copy_into(&mut bytes)?,
        1 => loop {
            let mut piece = vec![0; 1 + worker.dice.below(40_000) as usize];
            match message.read(&mut piece) {
                Ok(0) => break,
                Ok(some) => bytes.extend_from_slice(&piece[..some]),
                Err(error) => match error.downcast::<Error>() {
                    Ok(error) => return Err(error),
                    Err(error) => panic!("{error}"),
                },
            }
        },
        _ => {
            message.set_timeout((worker.dice.below(4) == 0).then(|| Duration::from_millis(worker.dice.below(20))));
            loop {
                bytes.extend_from_slice(&message.view().to_vec());
                if !message.next_round()? {
                    break;
                }
            }
            message.set_timeout(None);
        }
    }
    Ok(bytes)
}

/// Keeps it for a while, now and then for longer than the other end likes to wait.
fn hold(worker: &mut Worker) {
    let micros = match worker.dice.below(200) {
        0 => 20_000 + worker.dice.below(100_000),
        1..=12 => worker.dice.below(8_000),
        _ => return,
    };
    std::thread::sleep(Duration::from_micros(micros));
}
