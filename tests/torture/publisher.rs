//! The process that publishes and calls.

use crate::bytes::{self, NAMED_FROM, name_of_message};
use crate::log::{CALL, FINAL, How, NAMELESS, NO_LIMIT, Outcome, Record, What};
use crate::plan::{self, Kind};
use crate::worker::{Worker, fork_and_try, is_refused, millis};
use antiphon::{Channel, Error, Publisher};
use std::io::{IoSlice, Write};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

pub fn run(words: &[String]) {
    let mut worker = Worker::new(words);
    let Some((channel, mut publisher)) = attach(&mut worker, Channel::publisher) else { return };
    let channel = (worker.dice.below(2) == 0).then_some(channel);
    let mut reply = Vec::new();
    let mut is_last = false;
    let mut finals = 0;
    for _ in 0..worker.life.operations {
        if worker.log.head().moves_on(worker.orders.operations) {
            is_last = true;
            break;
        }
        worker.number += 1;
        worker.pause();
        worker.befall();
        if let Some(millis) = worker.forks_now() {
            fork_and_try(millis, || {
                is_refused(publisher.publish(b"?"))
                    + is_refused(publisher.try_publish(b"?"))
                    + is_refused(publisher.call_timeout(b"?", Duration::from_millis(1)))
                    + is_refused(publisher.loan(1).map(drop))
            });
        }
        if let Some(wait) = plan::other_wait(&mut worker.dice) {
            publisher.set_wait(wait);
        }
        finals += u32::from(send(&mut worker, &mut publisher, &mut reply).has(FINAL));
        if finals > FINALS {
            break;
        }
    }
    if is_last {
        worker.log.head().done.store(1, Relaxed);
    }
    worker.finish((publisher, channel), is_last);
}

/// How often one goes on after it was told that no next one can come.
pub const FINALS: u32 = 3;

/// Opens, and takes a seat; tries again where there is no room yet. Nothing where the plan is to leave before that.
pub fn attach<E>(worker: &mut Worker, sit: fn(&Channel) -> Result<E, Error>) -> Option<(Channel, E)> {
    worker.befall();
    for attempt in 0..2000u32 {
        let is_private = worker.orders.kind == Kind::Private;
        let how = match worker.dice.below(2) {
            _ if worker.orders.name.is_empty() => How::Private,
            0 => How::Open,
            _ if is_private => How::Open,
            _ => How::OpenOrCreate,
        };
        let begun = worker.begin(What::Attach, how);
        worker.log.append(begun);
        let options = worker.options();
        let name = worker.orders.name.clone();
        let opened = match how {
            How::Open => options.open(&name),
            How::Private => options.private().inspect(|channel| worker.hand_over(channel.name())),
            _ => options.open_or_create(&name),
        };
        let seated = opened.and_then(|channel| sit(&channel).map(|end| (channel, end)));
        let ended = worker.end(&begun, &seated);
        worker.log.append(ended);
        match seated {
            Ok((channel, end)) => return Some((channel, end)),
            Err(_) if matches!(ended.outcome(), Outcome::NoDescriptors) => {
                worker.give_descriptors_back();
                worker.take_descriptors(attempt as usize % 24);
            }
            Err(_) if is_private && ended.outcome() == Outcome::NotFound => {
                worker.log.head().name_is_gone.store(1, Relaxed);
                break;
            }
            Err(_) if matches!(ended.outcome(), Outcome::NotFound | Outcome::NoSpace) => {
                std::thread::sleep(Duration::from_millis(2)); // For others to give room.
            }
            Err(_) => break,
        }
    }
    None
}

impl crate::log::Head {
    /// Whether the channel's publishers have done enough.
    fn moves_on(&self, most: u64) -> bool {
        self.operations.load(Relaxed) >= most
    }
}

const WAYS: &[How] = &[
    How::Publish,
    How::Publish,
    How::TryPublish,
    How::PublishTimeout,
    How::PublishVectored,
    How::PublishVectoredTimeout,
    How::Loan,
    How::TryLoan,
    How::LoanTimeout,
    How::LoanDropped,
    How::Call,
    How::Call,
    How::CallTimeout,
    How::CallTimeout,
    How::CallInto,
    How::CallIntoTimeout,
    How::LoanCall,
    How::LoanCallTimeout,
];

fn send(worker: &mut Worker, publisher: &mut Publisher, reply: &mut Vec<u8>) -> Record {
    let how = WAYS[worker.dice.below(WAYS.len() as u64) as usize];
    let capacity = worker.orders.capacity;
    let mut len = plan::len(&mut worker.dice, capacity);
    // Too short to be told apart: so a few of them, with others between.
    if len < NAMED_FROM && worker.number % 16 != 9 + len as u32 {
        len = 100;
    }
    let bytes = bytes::message(worker.orders.channel, worker.id(), len);
    let mut begun = worker.begin(What::Send, how);
    let is_call = matches!(
        how,
        How::Call | How::CallTimeout | How::CallInto | How::CallIntoTimeout | How::LoanCall | How::LoanCallTimeout
    );
    begun.len = len as u64;
    begun.id = name_of_message(worker.orders.channel, worker.id(), len);
    begun.flags = if is_call { CALL } else { 0 } | if len < NAMED_FROM { NAMELESS } else { 0 };
    begun.limit = match how {
        How::PublishTimeout
        | How::PublishVectoredTimeout
        | How::LoanTimeout
        | How::CallTimeout
        | How::CallIntoTimeout
        | How::LoanCallTimeout => worker.limit(),
        _ => NO_LIMIT,
    };
    worker.log.append(begun);
    let limit = millis(begun.limit).unwrap_or_default();
    let cuts = [worker.dice.below(len as u64 + 1) as usize, worker.dice.below(len as u64 + 1) as usize];
    let (low, high) = (cuts[0].min(cuts[1]), cuts[0].max(cuts[1]));
    let pieces = [IoSlice::new(&bytes[..low]), IoSlice::new(&bytes[low..high]), IoSlice::new(&bytes[high..])];
    // How much more is lent than is published.
    let spare = if worker.dice.below(4) == 0 { worker.dice.below(300) as usize } else { 0 };
    let mut is_sent = true;
    let called = |result: Result<Vec<u8>, Error>, reply: &mut Vec<u8>| result.map(|bytes| *reply = bytes);
    let result = match how {
        How::Publish => publisher.publish(&bytes),
        How::TryPublish => publisher.try_publish(&bytes).map(|done| is_sent = done),
        How::PublishTimeout => publisher.publish_timeout(&bytes, limit),
        How::PublishVectored => publisher.publish_vectored(&pieces),
        How::PublishVectoredTimeout => publisher.publish_vectored_timeout(&pieces, limit),
        How::Loan => publisher.loan(len + spare).and_then(|loan| written(loan, &bytes, low).publish()),
        How::LoanTimeout => {
            publisher.loan_timeout(len + spare, limit).and_then(|loan| written(loan, &bytes, low).publish())
        }
        How::TryLoan => publisher.try_loan(len + spare).and_then(|loan| {
            is_sent = loan.is_some();
            loan.map_or(Ok(()), |loan| written(loan, &bytes, low).publish())
        }),
        How::LoanDropped => {
            is_sent = false;
            publisher.loan(len).map(|loan| drop(written(loan, &bytes, low)))
        }
        How::Call => called(publisher.call(&bytes), reply),
        How::CallTimeout => called(publisher.call_timeout(&bytes, limit), reply),
        How::CallInto => publisher.call_into(&bytes, reply),
        How::CallIntoTimeout => publisher.call_into_timeout(&bytes, reply, limit),
        How::LoanCall => {
            called(publisher.loan(len + spare).and_then(|loan| written(loan, &bytes, low).call()), reply)
        }
        _ => {
            let loan = publisher.loan_timeout(len + spare, limit);
            called(loan.and_then(|loan| written(loan, &bytes, low).call_timeout(limit)), reply)
        }
    };
    let mut ended = worker.end(&begun, &result);
    if result.is_ok() && !is_sent {
        ended = Record::new(begun.incarnation, begun.number, What::Send, how, Outcome::Nothing);
    }
    if is_call && result.is_ok() {
        match bytes::read_reply(worker.orders.channel, reply) {
            Ok((id, about)) if reply.len() < NAMED_FROM || about == begun.id => ended.id = id,
            Ok((id, about)) => worker.altered(&begun, &format!("the reply {id:#x} answers {about:#x}")),
            Err(why) => worker.altered(&begun, &why),
        }
        ended.len = reply.len() as u64;
        ended.flags |= if reply.len() < NAMED_FROM { NAMELESS } else { 0 };
    }
    worker.log.append(ended);
    ended
}

/// The loan with the message in it, written in one of two ways, and as long as the message.
fn written<'p>(mut loan: antiphon::Loan<'p>, bytes: &[u8], cut: usize) -> antiphon::Loan<'p> {
    if cut % 2 == 0 {
        loan.copy_from(cut, &bytes[cut..]);
        loan.copy_from(0, &bytes[..cut]);
    } else {
        let _ = loan.write_all(&bytes[..cut]);
        let _ = loan.write_all(&bytes[cut..]);
    }
    loan.truncate(bytes.len());
    loan
}
