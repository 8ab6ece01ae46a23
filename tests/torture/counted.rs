//! Whether the counters of a channel say what its processes wrote down. A process that dies between passing the turn
//! and counting, or is told that nobody knows, leaves a doubt of one message; nothing else does.

use crate::history::{Done, Event, Fate, Got, History, done};
use crate::log::{How, Outcome, WHOLE, What};

/// What was counted for certain, and what may have been.
#[derive(Debug, Default)]
struct Count {
    certain: u64,
    doubtful: u64,
}

impl Count {
    fn check(&self, what: &str, counted: u64) -> Result<(), String> {
        let Count { certain, doubtful } = self;
        if (*certain..=certain + doubtful).contains(&counted) {
            return Ok(());
        }
        Err(format!("{counted} messages {what} by the counters, {certain} and perhaps {doubtful} more by the logs"))
    }
}

/// Of a channel that stays when all leave: since it was made anew for the last time. The doubts that there were.
pub fn check(history: &History, published: u64, consumed: u64) -> Result<u64, String> {
    let mut resets = done(&history.resetters);
    resets.retain(|done| done.begun.what() == What::Reset);
    let made = resets.iter().filter(|done| done.outcome() == Some(Outcome::Fine)).map(|done| done.begun.time);
    let since = made.max().unwrap_or(0);
    // Who died while it made one anew may have done so.
    let may_reset = |done: &Done| !matches!(done.outcome(), Some(Outcome::Fine | Outcome::HoldsMessage));
    if resets.iter().any(|done| done.begun.time > since && may_reset(done)) {
        return Ok(0);
    }
    let (mut sent, mut taken) = (Count::default(), Count::default());
    for one in history.sent().iter().filter(|sent| sent.done.begun.time > since) {
        match published_by(&one.done) {
            Some(true) => sent.certain += 1,
            Some(false) => {}
            None => sent.doubtful += 1,
        }
    }
    for event in history.events().iter().filter(|event| event.time() > since) {
        match event {
            Event::Got(got) => match consumed_by(got) {
                Some(true) => taken.certain += 1,
                Some(false) => {}
                None => taken.doubtful += 1,
            },
            Event::DiedConsuming { may_have_consumed: true, .. } => taken.doubtful += 1,
            _ => {}
        }
    }
    sent.check("published", published)?;
    taken.check("consumed", consumed)?;
    Ok(sent.doubtful + taken.doubtful)
}

/// Whether it was published; nothing where nobody knows.
fn published_by(done: &Done) -> Option<bool> {
    let ended = done.ended?;
    match ended.outcome() {
        Outcome::Fine => Some(done.begun.how() != How::LoanDropped),
        Outcome::NoReply => Some(true),
        // What was taken back had been published all the same.
        Outcome::PeerDied | Outcome::Disconnected | Outcome::TimedOut | Outcome::Aborted => None,
        _ => Some(false),
    }
}

/// Whether it was consumed; nothing where nobody knows.
fn consumed_by(got: &Got) -> Option<bool> {
    let is_whole = got.consumed.ended.is_some_and(|ended| ended.has(WHOLE));
    match (got.fate, got.letting.and_then(|letting| letting.outcome())) {
        (Fate::GivenBack | Fate::DiedWith, _) => Some(false),
        (Fate::LetGo, None | Some(Outcome::Fine)) if is_whole => Some(true),
        _ => None,
    }
}
