//! What the logs of one file say, put together: who had which range in hand, from when until when, and what became of it.

use crate::history::{Done, Life, done};
use crate::log::{How, MARKED, Outcome, Record, What};
use crate::plan::{File, Side};
use std::collections::BTreeMap;

/// Everything that is known of one file.
#[derive(Debug)]
pub struct FileHistory {
    pub plan: File,
    /// Of all writers, each one's in the order in which it wrote them.
    pub writers: Vec<Record>,
    pub readers: Vec<Record>,
    pub lives: Vec<Life>,
    /// Whether lack of room, or of descriptors, is to be expected.
    pub may_lack_space: bool,
    pub may_lack_descriptors: bool,
    /// Whether somebody cleans beside them.
    pub has_cleaner: bool,
}

/// What became of a range in somebody's hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Filled or read to the end, and acknowledged.
    Passed,
    /// It died while it said so.
    MayBePassed,
    /// Let go of.
    LetGo,
    /// It died with it.
    DiedWith,
}

/// A range in somebody's hands.
#[derive(Debug, Clone, Copy)]
pub struct Hold {
    pub side: Side,
    pub got: Done,
    pub fate: Fate,
    /// How it was passed on, if that was begun.
    pub passing: Option<Done>,
    /// It was in hand for certain from the end of `got` until then.
    pub until: u64,
    /// It was in hand no more for certain, where it was let go of, or its owner died with it.
    pub released: u64,
}

impl Hold {
    pub fn offset(&self) -> u64 {
        self.got.ended.map_or(0, |ended| ended.spare)
    }

    pub fn is_marked(&self) -> bool {
        self.got.ended.is_some_and(|ended| ended.has(MARKED))
    }

    /// Since when it was in hand for certain.
    pub fn since(&self) -> u64 {
        self.got.end()
    }

    pub fn key(&self) -> (u32, u32) {
        (self.got.begun.incarnation, self.got.begun.number)
    }

    /// How many bytes a writer filled: none where it said that there is nothing more.
    pub fn len(&self) -> u64 {
        self.passing.map_or(0, |passing| passing.begun.len)
    }
}

/// One who died while it claimed: it may have got one block, and nobody wrote down which.
#[derive(Debug, Clone, Copy)]
pub struct Phantom {
    pub begun: u64,
    pub died: u64,
    /// When it was found gone: it did nothing after that.
    pub gone: u64,
}

impl FileHistory {
    pub fn of(&self, side: Side) -> &[Record] {
        if side == Side::Writer { &self.writers } else { &self.readers }
    }

    pub fn life(&self, side: Side, incarnation: u32) -> Option<&Life> {
        self.lives.iter().find(|life| life.side == side && life.incarnation == incarnation)
    }

    /// Everything that was in the hands of a side, in the order in which it was got.
    pub fn holds(&self, side: Side) -> Vec<Hold> {
        let all = done(self.of(side));
        let (claims, passes) =
            if side == Side::Writer { (What::Claim, What::Fill) } else { (What::Take, What::LetGo) };
        let mut endings: BTreeMap<(u32, u32), Done> = BTreeMap::new();
        for one in all.iter().filter(|one| matches!(one.begun.what(), What::Fill | What::LetGo)) {
            endings.insert((one.begun.incarnation, one.begun.number), *one);
        }
        let hold = |got: &Done| {
            let ending = endings.get(&(got.begun.incarnation, got.begun.number)).copied();
            let passing = ending.filter(|one| one.begun.what() == passes && one.begun.how() == How::Complete);
            let fate = match (passing.map(|passing| passing.outcome()), ending) {
                (Some(Some(Outcome::Fine)), _) => Fate::Passed,
                (Some(None), _) => Fate::MayBePassed,
                // An error of `complete` drops it.
                (Some(Some(_)), _) | (None, Some(Done { ended: Some(_), .. })) => Fate::LetGo,
                (None, _) => Fate::DiedWith,
            };
            let life = self.life(side, got.begun.incarnation);
            let died = life.map_or(u64::MAX, |life| life.died.unwrap_or(life.gone));
            let until = ending.map_or(died, |ending| ending.begun.time.min(died));
            let gone = life.map_or(u64::MAX, |life| life.gone);
            let released = ending.map_or(gone, |ending| ending.ended.map_or(gone, |ended| ended.time));
            Hold { side, got: *got, fate, passing, until, released }
        };
        let got = |one: &&Done| one.begun.what() == claims && one.outcome() == Some(Outcome::Fine);
        let mut holds: Vec<Hold> = all.iter().filter(got).map(hold).collect();
        holds.sort_by_key(Hold::since);
        holds
    }

    pub fn phantoms(&self, side: Side) -> Vec<Phantom> {
        let claims = if side == Side::Writer { What::Claim } else { What::Take };
        let mut all = done(self.of(side));
        all.retain(|one| one.begun.what() == claims && one.ended.is_none());
        let phantom = |one: &Done| {
            let life = self.life(side, one.begun.incarnation);
            let gone = life.map_or(u64::MAX, |life| life.gone);
            Phantom { begun: one.begun.time, died: life.and_then(|life| life.died).unwrap_or(gone), gone }
        };
        all.iter().map(phantom).collect()
    }

    /// When each process of a side was there for certain.
    pub fn sittings(&self, side: Side) -> Vec<(u32, u64, u64)> {
        let all = done(self.of(side));
        let mut sittings: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        for one in &all {
            let incarnation = one.begun.incarnation;
            match one.begun.what() {
                What::Attach if one.outcome() == Some(Outcome::Fine) => {
                    let died = self.life(side, incarnation).map(|life| life.died.unwrap_or(life.gone));
                    sittings.entry(incarnation).or_insert((one.end(), died.unwrap_or(u64::MAX)));
                }
                // The first thread's that leaves.
                What::Leave => {
                    let until = one.begun.time;
                    sittings.entry(incarnation).and_modify(|sitting| sitting.1 = sitting.1.min(until));
                }
                _ => {}
            }
        }
        sittings.into_iter().map(|(incarnation, (since, until))| (incarnation, since, until)).collect()
    }

    pub fn cancels(&self) -> Vec<Done> {
        let mut all = done(&self.writers);
        all.extend(done(&self.readers));
        all.retain(|one| one.begun.what() == What::Cancel);
        all
    }

    /// What all wrote about a range, and about the time from `first` to `last`.
    pub fn around(&self, offset: Option<u64>, first: u64, last: u64) -> String {
        const MOST: usize = 120;
        let mut lines: Vec<(u64, String)> = Vec::new();
        let of = |record: &&Record| {
            offset.is_some_and(|offset| record.spare == offset)
                || (first..=last).contains(&record.time)
                || matches!(record.what(), What::Cancel | What::Finish)
        };
        for (who, records) in [("writer", &self.writers), ("reader", &self.readers)] {
            lines.extend(records.iter().filter(of).map(|record| (record.time, format!("{who} {record}"))));
        }
        let speak: Vec<&str> = lines.iter().filter_map(|(_, line)| line.split('.').next()).collect();
        let is_of_interest = |life: &&Life| {
            let who = if life.side == Side::Writer { "writer" } else { "reader" };
            let name = format!("{who} #{}", life.incarnation);
            life.side == Side::Host || speak.iter().any(|line| *line == name)
        };
        let mut ends: Vec<(u64, String)> = Vec::new();
        for life in self.lives.iter().filter(is_of_interest) {
            let (side, incarnation, pid) = (life.side, life.incarnation, life.pid);
            ends.push((life.started, format!("{side:?} #{incarnation} started as {pid}")));
            if let Some(died) = life.died {
                ends.push((died, format!("{side:?} #{incarnation} was killed")));
            }
            ends.push((life.gone, format!("{side:?} #{incarnation} is gone")));
        }
        lines.extend(ends);
        lines.sort();
        let zero = self.lives.iter().map(|life| life.started).min().unwrap_or_default();
        let skipped = lines.len().saturating_sub(MOST);
        let mut text = format!("    {:?}\n", self.plan);
        if skipped > 0 {
            text += &format!("    ... {skipped} more ...\n");
        }
        for (time, line) in &lines[skipped..] {
            text += &format!("    {:12.6} ms  {line}\n", time.saturating_sub(zero) as f64 / 1e6);
        }
        text
    }
}
