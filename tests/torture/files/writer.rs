//! The process that claims free blocks and fills them.

use super::hands::{Part, Parts, cancel, hold, let_go, log_error};
use super::{Orientation, THREADS};
use crate::bytes;
use crate::log::{How, MARKED, NO_LIMIT, Outcome, Record, What};
use crate::worker::{Worker, exit_with, fork_and_try, is_refused, millis};
use antiphon::blocks::{Space, Writer};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

pub fn run(words: &[String]) {
    let mut worker = Worker::new(words);
    let here = Orientation::new(&worker.orders);
    worker.befall();
    let Some(parts) = here.parts(&mut worker) else { return };
    let threads = 1 + worker.dice.below(here.plan.threads.min(THREADS).into()) as u32;
    let others: Vec<Worker> = (1..threads).map(|nth| worker.thread(nth)).collect();
    std::thread::scope(|scope| {
        for mut other in others {
            let (here, parts) = (&here, &parts);
            scope.spawn(move || Pen::new(here, parts).write(&mut other));
        }
        Pen::new(&here, &parts).write(&mut worker);
    });
    worker.number += 1;
    worker.finish(parts, false);
}

/// One thread that writes.
pub struct Pen<'a> {
    here: &'a Orientation,
    parts: &'a Parts,
    /// By part; none where it is finished, as far as this one knows.
    ends: Vec<Option<Writer>>,
    /// Places that were chosen and not claimed yet.
    chosen: Vec<(u32, u64)>,
}

impl<'a> Pen<'a> {
    pub fn new(here: &'a Orientation, parts: &'a Parts) -> Self {
        let ends = parts.iter().map(|part| part.as_ref().map(Part::end)).collect();
        Pen { here, parts, ends, chosen: Vec::new() }
    }

    fn write(mut self, worker: &mut Worker) {
        let last = worker.number + worker.life.operations;
        while worker.number < last && self.ends.iter().any(Option::is_some) {
            worker.number += 1;
            worker.pause();
            worker.befall();
            self.fork(worker);
            self.step(worker, worker.number == last);
        }
        let head = &self.here.control.head().file;
        if self.ends.iter().all(Option::is_none) {
            head.finished.store(1, Relaxed);
        }
        worker.log_leaving();
    }

    fn fork(&mut self, worker: &Worker) {
        let Some(millis) = worker.forks_now() else { return };
        let Some(part) = self.ends.iter().position(Option::is_some) else { return };
        let (Some(writer), Some(of)) = (&mut self.ends[part], &self.parts[part]) else { return };
        fork_and_try(millis, || {
            is_refused(writer.try_claim())
                + is_refused(writer.claim_timeout(Duration::from_millis(1)))
                + is_refused(writer.finish_timeout(Duration::from_millis(1)))
                + is_refused(writer.cancel("a child's"))
                + is_refused(of.file().reader())
        });
    }

    /// Claims and fills one block, or ends the file.
    fn step(&mut self, worker: &mut Worker, is_last: bool) {
        let plan = &self.here.plan;
        let open: Vec<u32> = (0..self.ends.len() as u32).filter(|part| self.ends[*part as usize].is_some()).collect();
        let mut part = open[worker.dice.below(open.len() as u64) as usize];
        let filled = self.here.control.head().file.filled.load(Relaxed);
        if plan.cancelled_after.is_some_and(|after| filled >= after) && worker.dice.below(4) == 0 {
            return self.cancel(worker, part);
        }
        let ends_by_empty = plan.ends_by_empty && plan.chosen < 8;
        let is_enough = filled >= if ends_by_empty { 3 * plan.len } else { plan.len };
        // What is missing then is to be claimed first. Now and then too early.
        if is_enough && worker.dice.below(3) > 0 || worker.dice.below(2000) == 0 {
            return self.finish(worker, part);
        }
        let how = match worker.dice.below(8) {
            dice if dice < plan.chosen => [How::ClaimAt, How::TryClaimAt, How::ClaimAtTimeout],
            _ => [How::Claim, How::TryClaim, How::ClaimTimeout],
        };
        let how = how[worker.dice.below(3) as usize];
        let exits = is_last && worker.life.ending == crate::plan::Ending::Exits;
        let mut begun = worker.begin(What::Claim, how);
        let mut place = 0;
        if matches!(how, How::ClaimAt | How::TryClaimAt | How::ClaimAtTimeout) {
            let chosen = self.chosen.pop().unwrap_or_else(|| {
                let nth = self.here.control.head().file.chosen.fetch_add(1, Relaxed);
                (part, plan.chosen_place(part, nth))
            });
            (part, place) = chosen;
            if self.ends[part as usize].is_none() {
                return;
            }
            begun.spare = place;
        }
        if matches!(how, How::ClaimTimeout | How::ClaimAtTimeout) {
            begun.limit = worker.limit();
        }
        begun.len = part.into();
        worker.log.append(begun);
        let limit = millis(begun.limit).unwrap_or_default();
        let Some(writer) = &mut self.ends[part as usize] else { return };
        let claimed = match how {
            How::Claim => writer.claim().map(Some),
            How::TryClaim => writer.try_claim(),
            How::ClaimTimeout => writer.claim_timeout(limit).map(Some),
            How::ClaimAt => writer.claim_at(place).map(Some),
            How::TryClaimAt => writer.try_claim_at(place),
            _ => writer.claim_at_timeout(place, limit).map(Some),
        };
        let got = matches!(&claimed, Ok(Some(space)) if space.offset() == place);
        if place > 0 && !got {
            self.chosen.push((part, place));
        }
        match claimed {
            Ok(Some(space)) => {
                let mut record = ended(&begun, Outcome::Fine);
                (record.spare, record.len) = (space.offset(), space.capacity() as u64);
                record.flags = if space.again() { MARKED } else { 0 };
                worker.log.append(record);
                if exits {
                    exit_with(space);
                }
                self.fill(worker, &begun, space);
            }
            Ok(None) => {
                worker.log.append(ended(&begun, Outcome::Nothing));
                std::thread::sleep(Duration::from_micros(worker.dice.below(200)));
            }
            Err(error) => match log_error(worker, &begun, error) {
                Outcome::Finished => self.finish(worker, part),
                Outcome::Cancelled => self.is_cancelled(worker),
                _ => {}
            },
        }
    }

    fn fill(&mut self, worker: &mut Worker, begun: &Record, mut space: Space) {
        let plan = &self.here.plan;
        let (offset, capacity) = (space.offset(), space.capacity());
        let is_behind = plan.ends_by_empty
            && plan.ticket_of(offset).is_some_and(|ticket| ticket >= plan.len / u64::from(plan.parts.max(1)));
        let len = match worker.dice.below(8) {
            _ if is_behind => 0,
            0 => bytes::NAMED_FROM + worker.dice.below((capacity - bytes::NAMED_FROM) as u64) as usize,
            _ => capacity,
        };
        let id = worker.id();
        let content = bytes::block(worker.orders.channel, id, offset, len);
        let half = worker.dice.below(len as u64 + 1) as usize;
        if worker.dice.below(2) == 0 {
            let _ = space.copy_from(0, &content[..half]);
            let _ = space.copy_from(half, &content[half..]);
        } else {
            let _ = space.read_from(&mut &content[..]);
        }
        hold(worker);
        let how = match worker.dice.below(60) {
            0 | 1 => How::Drop,
            2 => How::Panic,
            _ => How::Complete,
        };
        if how != How::Complete {
            return let_go(worker, begun, offset, how, space);
        }
        let is_too_long = worker.dice.below(100) == 0;
        let mut filling = Record::new(begun.incarnation, begun.number, What::Fill, how, Outcome::Begun);
        (filling.spare, filling.len, filling.id) = (offset, len as u64, id);
        if is_too_long {
            filling.len = capacity as u64 + 1;
        }
        worker.log.append(filling);
        match space.complete(filling.len as usize) {
            Ok(()) => {
                let mut record = ended(&filling, Outcome::Fine);
                (record.spare, record.len) = (offset, len as u64);
                worker.log.append(record);
                if len > 0 {
                    self.here.control.head().file.filled.fetch_add(1, Relaxed);
                }
            }
            Err(error) => {
                if log_error(worker, &filling, error) == Outcome::Cancelled {
                    self.is_cancelled(worker);
                }
            }
        }
    }

    /// Ends one part, as far as that can be.
    pub fn finish(&mut self, worker: &mut Worker, part: u32) {
        let Some(writer) = &mut self.ends[part as usize] else { return };
        worker.number += 1;
        let how = [How::Finish, How::FinishTimeout][worker.dice.below(2) as usize];
        let mut begun = worker.begin(What::Finish, how);
        begun.len = part.into();
        begun.limit = if how == How::Finish { NO_LIMIT } else { worker.limit() };
        worker.log.append(begun);
        let finished = match how {
            How::Finish => writer.finish(),
            _ => writer.finish_timeout(millis(begun.limit).unwrap_or_default()),
        };
        match finished {
            Ok(()) => {
                let mut record = ended(&begun, Outcome::Fine);
                record.len = part.into();
                worker.log.append(record);
                self.ends[part as usize] = None;
            }
            Err(error) => {
                if log_error(worker, &begun, error) == Outcome::Cancelled {
                    self.is_cancelled(worker);
                }
            }
        }
    }

    /// Takes what the dead left, and finishes: for who comes when all have gone.
    pub fn mend(&mut self, worker: &mut Worker) {
        while let Some(part) = (0..self.ends.len() as u32).find(|part| self.ends[*part as usize].is_some()) {
            self.finish(worker, part);
            worker.number += 1;
            let Some(writer) = &mut self.ends[part as usize] else { continue };
            let mut begun = worker.begin(What::Claim, How::TryClaim);
            begun.len = part.into();
            worker.log.append(begun);
            match writer.try_claim() {
                Ok(Some(space)) => {
                    let mut record = ended(&begun, Outcome::Fine);
                    (record.spare, record.len) = (space.offset(), space.capacity() as u64);
                    record.flags = if space.again() { MARKED } else { 0 };
                    worker.log.append(record);
                    self.fill(worker, &begun, space);
                }
                Ok(None) => worker.log.append(ended(&begun, Outcome::Nothing)),
                Err(error) => {
                    if log_error(worker, &begun, error) == Outcome::Cancelled {
                        self.is_cancelled(worker);
                    }
                }
            }
        }
    }

    fn cancel(&mut self, worker: &mut Worker, part: u32) {
        // Every part: who has an end in hand is told of each.
        let by_file = worker.dice.below(2) == 0;
        let many = self.ends.len();
        for part in (0..many).map(|nth| (nth + part as usize) % many) {
            let (Some(writer), Some(of)) = (&mut self.ends[part], &self.parts[part]) else { continue };
            match by_file {
                true => cancel(worker, How::ByFile, |reason| of.file().cancel(reason)),
                false => cancel(worker, How::ByWriter, |reason| writer.cancel(reason)),
            }
        }
        self.is_cancelled(worker);
    }

    fn is_cancelled(&mut self, worker: &mut Worker) {
        self.ends.fill_with(|| None);
        self.here.is_cancelled(worker);
    }
}

fn ended(begun: &Record, outcome: Outcome) -> Record {
    Record::new(begun.incarnation, begun.number, begun.what(), begun.how(), outcome)
}

/// Panics with something in hand, without the hook, which would print.
pub fn panic_with<T>(in_hand: T) {
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _in_hand = in_hand;
        resume_unwind(Box::new("with a block in hand"));
    }));
    assert!(panicked.is_err());
}
