//! What the logs of one channel say, put together: what was sent, what was got and let go of, who lived when.

use crate::bytes::id;
use crate::log::{CALL, How, NO_LIMIT, Outcome, Record, What};
use crate::plan::{Kind, Side};
use std::collections::BTreeMap;

/// One process's life, as the one who started it saw it.
#[derive(Debug, Clone, Copy)]
pub struct Life {
    pub side: Side,
    pub incarnation: u32,
    pub pid: u32,
    pub started: u64,
    /// When it was about to die by a signal or to exit with everything in its hands; nothing where it left in order. It
    /// may have gone on for a moment.
    pub died: Option<u64>,
    /// When it was found gone.
    pub gone: u64,
}

/// Who sat at an end.
#[derive(Debug, Clone, Copy)]
pub struct Sitting {
    /// From then on for certain.
    pub since: u64,
    /// When it was about to leave, or to die.
    pub until: u64,
}

/// Everything that is known of one channel.
#[derive(Debug, Default)]
pub struct History {
    pub kind: Kind,
    pub publishers: Vec<Record>,
    pub consumers: Vec<Record>,
    pub resetters: Vec<Record>,
    pub lives: Vec<Life>,
    /// Whether lack of room, or of descriptors, is to be expected, and stops of seconds.
    pub may_lack_space: bool,
    pub may_lack_descriptors: bool,
    pub may_be_stuck: bool,
}

/// A thing that was begun, and how it ended; `None` where its process died in it.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    pub begun: Record,
    pub ended: Option<Record>,
}

impl Done {
    /// When it was over; a time that never comes where it was not.
    pub fn end(&self) -> u64 {
        self.ended.map_or(u64::MAX, |ended| ended.time)
    }

    pub fn outcome(&self) -> Option<Outcome> {
        self.ended.map(|ended| ended.outcome())
    }

    /// Whether it took at least as long as its limit.
    pub fn kept_its_limit(&self) -> bool {
        let limit = u64::from(self.begun.limit) * 1_000_000;
        self.begun.limit != NO_LIMIT && self.end() - self.begun.time >= limit
    }
}

/// The things that one side did, in order.
pub fn done(records: &[Record]) -> Vec<Done> {
    let mut all: Vec<Done> = Vec::new();
    let mut open: BTreeMap<(u32, u32, What), usize> = BTreeMap::new();
    for record in records {
        let key = (record.incarnation, record.number, record.what());
        if record.is_begin() {
            open.insert(key, all.len());
            all.push(Done { begun: *record, ended: None });
        } else if let Some(at) = open.get(&key) {
            // A message of several rounds is written down when it comes and when it is whole: the later one counts.
            all[*at].ended = Some(*record);
        }
    }
    all
}

/// A message that was begun to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    pub done: Done,
    /// Its number.
    pub id: u64,
}

impl Sent {
    pub fn is_call(&self) -> bool {
        self.done.begun.has(CALL)
    }

    /// Somebody must have had it: it was acknowledged, or answered, or dropped as a call.
    pub fn is_acknowledged(&self) -> bool {
        match self.done.outcome() {
            Some(Outcome::Fine) => self.done.begun.how() != How::LoanDropped,
            Some(Outcome::NoReply) => true,
            _ => false,
        }
    }

    /// Nobody may have it, ever.
    pub fn is_withdrawn(&self) -> bool {
        let Some(ended) = self.done.ended else { return false };
        match ended.outcome() {
            Outcome::Fine | Outcome::NoReply => false,
            Outcome::PeerDied | Outcome::Disconnected | Outcome::TimedOut | Outcome::Aborted => {
                ended.has(crate::log::NOT_DELIVERED)
            }
            _ => true, // It never was let out of hand.
        }
    }
}

/// What became of a message in a consumer's hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Let go of, by this time at the latest.
    LetGo,
    /// The consumer died while it let go.
    MayBeLetGo,
    /// The consumer died with it.
    DiedWith,
    /// The consumer panicked with it.
    GivenBack,
    /// The rest of it never came.
    Lost,
}

/// A message that a consumer had.
#[derive(Debug, Clone, Copy)]
pub struct Got {
    pub consumed: Done,
    pub fate: Fate,
    /// When the letting go began, and how it ended.
    pub letting: Option<Done>,
}

/// What happened at the consumer's end, in order.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::large_enum_variant)] // Nearly all are of the large one.
pub enum Event {
    Got(Got),
    /// It died while it consumed: by this time, and perhaps it had acknowledged something by then.
    DiedConsuming {
        time: u64,
        may_have_consumed: bool,
    },
    /// The region was made anew; or perhaps it was, by one who died at it.
    Reset {
        began: u64,
        is_certain: bool,
        /// A message that stands there goes with it.
        may_lose: bool,
    },
    /// It was not made anew, for the sake of a message.
    Refused(Done),
}

impl Event {
    pub fn time(&self) -> u64 {
        match self {
            Event::Got(got) => got.consumed.begun.time,
            // It comes before whatever its successor gets.
            Event::DiedConsuming { time, .. } => *time,
            Event::Reset { began, .. } => *began,
            Event::Refused(done) => done.begun.time,
        }
    }
}

impl History {
    pub fn sent(&self) -> Vec<Sent> {
        let of = |done: Done| Sent { done, id: id(done.begun.incarnation, done.begun.number) };
        done(&self.publishers).into_iter().filter(|done| done.begun.what() == What::Send).map(of).collect()
    }

    pub fn life(&self, side: Side, incarnation: u32) -> Option<&Life> {
        self.lives.iter().find(|life| life.side == side && life.incarnation == incarnation)
    }

    pub fn events(&self) -> Vec<Event> {
        let all = done(&self.consumers);
        let mut events = Vec::new();
        for (at, consumed) in all.iter().enumerate().filter(|(_, done)| done.begun.what() == What::Consume) {
            match consumed.outcome() {
                Some(Outcome::Fine) => events.push(Event::Got(self.got(&all, at))),
                Some(_) => {}
                None => events.push(Event::DiedConsuming {
                    time: self.life(Side::Consumer, consumed.begun.incarnation).map_or(u64::MAX, |life| life.gone),
                    may_have_consumed: matches!(consumed.begun.how(), How::Into | How::IntoTimeout),
                }),
            }
        }
        for reset in done(&self.resetters).iter().filter(|done| done.begun.what() == What::Reset) {
            let is_certain = reset.outcome() == Some(Outcome::Fine);
            let may_lose = self.kind != Kind::Persistent;
            match reset.outcome() {
                Some(Outcome::InUse) => {}
                Some(Outcome::HoldsMessage) => events.push(Event::Refused(*reset)),
                _ => events.push(Event::Reset { began: reset.begun.time, is_certain, may_lose }),
            }
        }
        events.sort_by_key(Event::time);
        if self.kind == Kind::Private {
            // When nobody has it any more, nobody can come to it.
            events.push(Event::Reset { began: u64::MAX, is_certain: true, may_lose: true });
        }
        events
    }

    /// Who sat at an end, and when for certain.
    pub fn sittings(&self, side: Side) -> Vec<Sitting> {
        let all = done(if side == Side::Publisher { &self.publishers } else { &self.consumers });
        let attached = all.iter().filter(|done| done.begun.what() == What::Attach);
        let sitting = |attached: &Done| {
            let incarnation = attached.begun.incarnation;
            let leaves = |done: &&Done| done.begun.what() == What::Leave && done.begun.incarnation == incarnation;
            let left = all.iter().find(leaves).map(|leaving| leaving.begun.time);
            let died = self.life(side, incarnation).map(|life| life.died.unwrap_or(life.gone));
            let until = [left, died].into_iter().flatten().min().unwrap_or(u64::MAX);
            Sitting { since: attached.end(), until }
        };
        attached.filter(|done| done.outcome() == Some(Outcome::Fine)).map(sitting).collect()
    }

    /// From when on both ends were attached at once for certain; a time that never comes where they were not.
    pub fn both_sat(&self) -> u64 {
        let consumers = self.sittings(Side::Consumer);
        let met = |one: &Sitting| {
            let meets = consumers.iter().filter(|other| one.since.max(other.since) < one.until.min(other.until));
            meets.map(|other| one.since.max(other.since)).min()
        };
        self.sittings(Side::Publisher).iter().filter_map(met).min().unwrap_or(u64::MAX)
    }

    fn got(&self, all: &[Done], at: usize) -> Got {
        let consumed = all[at];
        let begun = consumed.begun;
        let of_the_same = |done: &&Done| done.begun.incarnation == begun.incarnation;
        let letting = all[at..]
            .iter()
            .filter(of_the_same)
            .find(|done| done.begun.what() == What::LetGo && done.begun.number == begun.number);
        // What is consumed into memory, and is no call, was let go of by then.
        if matches!(begun.how(), How::Into | How::IntoTimeout) && consumed.ended.is_some_and(|end| !end.has(CALL)) {
            return Got { consumed, fate: Fate::LetGo, letting: letting.copied() };
        }
        let next = all[at + 1..].iter().filter(of_the_same);
        // A forgotten one is let go of by whatever comes next, or by leaving.
        let mut next = next.filter(|done| matches!(done.begun.what(), What::Consume | What::Leave));
        let fate = match letting.map(|done| (done.begun.how(), done.outcome())) {
            None => Fate::DiedWith,
            Some((How::Forget, _)) => match next.next() {
                None => Fate::DiedWith,
                Some(next) if next.ended.is_some() => Fate::LetGo,
                Some(_) => Fate::MayBeLetGo,
            },
            Some((How::Panic, Some(_))) => Fate::GivenBack,
            Some((How::Panic, None)) => Fate::DiedWith,
            Some((How::Drop, Some(Outcome::Fine))) => Fate::LetGo,
            Some((How::Drop, Some(_))) => Fate::Lost,
            Some((_, Some(_))) => Fate::LetGo,
            Some((_, None)) => Fate::MayBeLetGo,
        };
        Got { consumed, fate, letting: letting.copied() }
    }

    /// What all of its processes wrote about the time from `first` to `last`, and a little around it.
    pub fn around(&self, first: u64, last: u64) -> String {
        const AROUND: usize = 25;
        let mut lines: Vec<(u64, String)> = Vec::new();
        for (who, records) in
            [("publisher", &self.publishers), ("consumer", &self.consumers), ("resetter", &self.resetters)]
        {
            lines.extend(records.iter().map(|record| (record.time, format!("{who:9} {record}"))));
        }
        for life in &self.lives {
            let (side, incarnation, pid) = (life.side, life.incarnation, life.pid);
            lines.push((life.started, format!("{side:?} #{incarnation} started as {pid}")));
            if let Some(died) = life.died {
                lines.push((died, format!("{side:?} #{incarnation} was killed")));
            }
            lines.push((life.gone, format!("{side:?} #{incarnation} is gone")));
        }
        lines.sort();
        let begin = lines.partition_point(|(time, _)| *time < first).saturating_sub(AROUND);
        let end = (lines.partition_point(|(time, _)| *time <= last) + AROUND).min(lines.len());
        let zero = lines.first().map_or(0, |(time, _)| *time);
        // Far apart: what is in between tells nothing.
        let middle = if end - begin > 8 * AROUND { begin + 3 * AROUND..end - 3 * AROUND } else { begin..begin };
        let mut text = String::new();
        for (at, (time, line)) in lines.iter().enumerate().take(end).skip(begin) {
            if middle.contains(&at) {
                if at == middle.start {
                    text += &format!("    ... {} more ...\n", middle.len());
                }
                continue;
            }
            text += &format!("    {:12.6} ms  {line}\n", (time - zero) as f64 / 1e6);
        }
        text
    }
}
