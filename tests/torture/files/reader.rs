//! The process that takes blocks and reads them.

use super::hands::{Readers, cancel, hold, let_go, log_error};
use super::{Orientation, THREADS};
use crate::bytes;
use crate::log::{How, MARKED, Outcome, Record, What};
use crate::plan::Ending;
use crate::worker::{Worker, exit_with, fork_and_try, is_refused, millis};
use antiphon::Error;
use antiphon::blocks::{Block, Claimed};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

pub fn run(words: &[String]) {
    let mut worker = Worker::new(words);
    let here = Orientation::new(&worker.orders);
    worker.befall();
    let Some(readers) = here.readers(&mut worker) else { return };
    let threads = 1 + worker.dice.below(here.plan.threads.min(THREADS).into()) as u32;
    let others: Vec<(Worker, Option<Readers>)> = (1..threads)
        .map(|nth| {
            let other = worker.thread(nth);
            let clone = match &readers {
                Readers::Alone(reader) => Some(Readers::Alone(reader.clone())),
                Readers::Session(_) => None,
            };
            (other, clone)
        })
        .collect();
    let mut readers = readers;
    std::thread::scope(|scope| {
        for (mut other, end) in others {
            let here = &here;
            scope.spawn(move || {
                // Of a session's file each thread opens it itself.
                let Some(mut end) = end.or_else(|| here.readers(&mut other)) else { return };
                read(here, &mut other, &mut end);
            });
        }
        read(&here, &mut worker, &mut readers);
    });
    worker.number += 1;
    worker.finish(readers, false);
}

fn read(here: &Orientation, worker: &mut Worker, readers: &mut Readers) {
    let last = worker.number + worker.life.operations;
    while worker.number < last {
        worker.number += 1;
        worker.pause();
        worker.befall();
        if let Some(millis) = worker.forks_now() {
            fork_and_try(millis, || {
                is_refused(readers.try_claim())
                    + is_refused(readers.claim_timeout(Duration::from_millis(1)))
                    + is_refused(readers.cancel("a child's"))
            });
        }
        let exits = worker.number == last && worker.life.ending == Ending::Exits;
        if !step(here, worker, readers, exits) {
            break;
        }
    }
    worker.log_leaving();
}

/// Takes and reads one block. False at the end.
fn step(here: &Orientation, worker: &mut Worker, readers: &mut Readers, exits: bool) -> bool {
    let head = &here.control.head().file;
    let is_due = here.plan.cancelled_after.is_some_and(|after| head.filled.load(Relaxed) >= after);
    if is_due && worker.dice.below(20) == 0 {
        cancel(worker, How::ByReader, |reason| readers.cancel(reason));
        here.is_cancelled(worker);
        return false;
    }
    let how = [How::Claim, How::TryClaim, How::ClaimTimeout][worker.dice.below(3) as usize];
    let mut begun = worker.begin(What::Take, how);
    if how == How::ClaimTimeout {
        begun.limit = worker.limit();
    }
    worker.log.append(begun);
    let taken = match how {
        How::Claim => readers.claim().map(|block| block.map_or(Claimed::End, Claimed::Block)),
        How::TryClaim => readers.try_claim(),
        _ => {
            let taken = readers.claim_timeout(millis(begun.limit).unwrap_or_default());
            taken.map(|block| block.map_or(Claimed::End, Claimed::Block))
        }
    };
    take(here, worker, &begun, taken, exits)
}

/// What came of a claim. False at the end.
pub fn take(
    here: &Orientation,
    worker: &mut Worker,
    begun: &Record,
    taken: Result<Claimed, Error>,
    exits: bool,
) -> bool {
    let head = &here.control.head().file;
    let ended = |outcome| Record::new(begun.incarnation, begun.number, What::Take, begun.how(), outcome);
    match taken {
        Ok(Claimed::Block(block)) => {
            let mut record = ended(Outcome::Fine);
            (record.spare, record.len) = (block.offset(), block.len() as u64);
            record.flags = if block.again() { MARKED } else { 0 };
            worker.log.append(record);
            if exits {
                exit_with(block);
            }
            look_at(worker, begun, block);
        }
        Ok(Claimed::NothingYet) => {
            worker.log.append(ended(Outcome::Nothing));
            std::thread::sleep(Duration::from_micros(worker.dice.below(200)));
        }
        Ok(Claimed::End) => {
            worker.log.append(ended(Outcome::End));
            head.drained.store(1, Relaxed);
            return false;
        }
        Err(error) => match log_error(worker, begun, error) {
            Outcome::Cancelled => {
                here.is_cancelled(worker);
                return false;
            }
            Outcome::Unfilled | Outcome::Disconnected if head.abandoned.load(Relaxed) != 0 => {
                head.drained.store(1, Relaxed);
                return false;
            }
            _ => {}
        },
    }
    true
}

/// Reads all of a block, and lets go of it in one of the ways there are.
fn look_at(worker: &mut Worker, begun: &Record, block: Block) {
    let (offset, len) = (block.offset(), block.len());
    let how = match worker.dice.below(60) {
        0 | 1 => How::Drop,
        2 => How::Panic,
        _ => How::Complete,
    };
    if how == How::Complete || worker.dice.below(2) == 0 {
        let content = match worker.dice.below(3) {
            0 => block.to_vec(),
            1 => {
                let mut bytes = Vec::new();
                block.write_to(&mut bytes).expect("memory takes it all");
                bytes
            }
            _ => {
                let (view, mut bytes) = (block.view(), vec![0; len]);
                let half = worker.dice.below(len as u64 + 1) as usize;
                let _ = view.copy_to(0, &mut bytes[..half]);
                let _ = view.copy_to(half, &mut bytes[half..]);
                bytes
            }
        };
        match bytes::read_block(worker.orders.channel, offset, &content) {
            Ok(id) if content.len() == len => {
                let mut read = Record::new(begun.incarnation, begun.number, What::Read, how, Outcome::Fine);
                (read.spare, read.len, read.id) = (offset, len as u64, id);
                worker.log.append(read);
            }
            Ok(_) => worker.altered(begun, &format!("{len} bytes said, {} there", content.len())),
            Err(why) => worker.altered(begun, &why),
        }
    }
    hold(worker);
    if how != How::Complete {
        return let_go(worker, begun, offset, how, block);
    }
    let mut letting = Record::new(begun.incarnation, begun.number, What::LetGo, how, Outcome::Begun);
    letting.spare = offset;
    worker.log.append(letting);
    let done = block.complete();
    let mut record = worker.end(&letting, &done);
    record.spare = offset;
    worker.log.append(record);
}
