//! The process that clears up beside the others, as `antiphon clean --yes` does: it looks at everything, and removes
//! what is left over. What it may not remove, the others' histories tell: a name that somebody has is there.

use crate::history::Done;
use crate::log::{How, Outcome, Record, What};
use crate::plan::Side;
use crate::worker::{Worker, outcome_of};
use antiphon::census::{self, Entry, RemoveOptions, State};
use std::time::Duration;

/// What of it is the round's: in a /dev/shm of its own, everything.
pub fn is_ours(entry: &Entry, prefix: &str, has_own_shm: bool) -> bool {
    has_own_shm || entry.system_name.contains(&format!("{prefix}-"))
}

pub fn run(words: &[String]) {
    let mut worker = Worker::new(words);
    for _ in 0..worker.life.operations {
        worker.number += 1;
        worker.befall();
        let begun = worker.begin(What::Clean, How::Census);
        worker.log.append(begun);
        let all = census::take();
        worker.log.append(ended(&worker, &begun, all.as_ref().err()));
        for entry in all.unwrap_or_default() {
            let is_due = entry.state == State::LeftOver;
            if !is_due || !is_ours(&entry, &worker.orders.name, worker.orders.has_own_shm) {
                continue;
            }
            worker.number += 1;
            let begun = worker.begin(What::Clean, How::Remove);
            worker.log.append(begun);
            let removed = entry.remove(RemoveOptions::new());
            let record = ended(&worker, &begun, removed.as_ref().err());
            if record.outcome() == Outcome::Other {
                worker.remark(&format!("{entry:?}"));
            }
            worker.log.append(record);
        }
        std::thread::sleep(Duration::from_micros(worker.dice.below(3000)));
    }
    worker.finish((), false);
}

/// Whatever name the error tells: it is another channel's each time.
fn ended(worker: &Worker, begun: &Record, error: Option<&antiphon::Error>) -> Record {
    let outcome = error.map_or(Outcome::Fine, outcome_of);
    if let (Some(error), Outcome::Other) = (error, outcome) {
        worker.remark(&format!("{begun}: {error:?}"));
    }
    Record::new(begun.incarnation, begun.number, begun.what(), begun.how(), outcome)
}

/// What is wrong with what a cleaner wrote: somebody may be there now, or at the door, or have removed it; nothing else.
pub fn check(all: &[Done]) -> Vec<String> {
    let may_be = |done: &Done| {
        let is_removal = done.begun.how() == How::Remove;
        let is_refused = matches!(done.outcome(), Some(Outcome::NotRemoved | Outcome::InUse | Outcome::Stuck));
        matches!(done.outcome(), None | Some(Outcome::Fine)) || is_removal && is_refused
    };
    let wrong = all.iter().filter(|done| done.begun.what() == What::Clean && !may_be(done));
    wrong.map(|done| format!("untrue: {:?} {}; {:?}", Side::Cleaner, done.begun, done.outcome())).collect()
}

/// Removes what is left over, as the command does; what could not be removed, and why.
pub fn clean(prefix: &str, has_own_shm: bool) -> Result<u64, String> {
    let mut removed = 0;
    for entry in census::take().map_err(|error| format!("the census: {error}"))? {
        if entry.state == State::LeftOver && is_ours(&entry, prefix, has_own_shm) {
            entry.remove(RemoveOptions::new()).map_err(|error| format!("{entry:?}: {error}"))?;
            removed += 1;
        }
    }
    Ok(removed)
}
