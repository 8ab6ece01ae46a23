//! Private channels: one side makes one, and its name is handed to the other, by whoever started both. Either may be
//! killed at any time; as long as the other one lives and the name leads somewhere, a next one comes by it. When both
//! have gone, so has the channel, and the next pair begins.

use super::{Channel, Round, Slot, census_of};
use crate::checker;
use crate::history::{History, Life};
use crate::log::now;
use crate::plan::{Climate, Kind, Side};
use std::sync::atomic::Ordering::Relaxed;

/// Pairs at once.
pub const PAIRS: u32 = 2;
/// The first one's number.
pub const FIRST: u32 = 200;
/// Incarnations of one pair.
const INCARNATIONS: u32 = 1000;

/// Two sides, and the channel that they have at the time.
pub struct Pair {
    /// Where the two slots stand.
    publisher: usize,
    generation: u32,
    is_open: bool,
    /// Which of the two makes the channel.
    maker: usize,
    name: Option<String>,
}

impl Pair {
    pub fn name(&self) -> Option<&String> {
        self.name.as_ref()
    }
}

impl Round {
    pub fn add_pairs(&mut self) {
        for pair in 0..PAIRS {
            let publisher = self.slots.len();
            let (number, capacity) = (FIRST + pair, 64 * 1024);
            let channel = Channel { number, capacity, kind: Kind::Private, operations: u64::MAX };
            for side in [Side::Publisher, Side::Consumer] {
                let slot = self.slot(&channel, side, 0);
                self.slots.push(slot);
            }
            self.pairs.push(Pair { publisher, generation: 0, is_open: false, maker: 0, name: None });
        }
    }

    pub fn look_after_pair(&mut self, which: usize) {
        let slots = [self.pairs[which].publisher, self.pairs[which].publisher + 1];
        for at in slots {
            self.watch(at);
        }
        let is_running = |slot: &Slot| slot.running.is_some();
        let runs = slots.map(|at| is_running(&self.slots[at]));
        let pair = &mut self.pairs[which];
        if pair.is_open && pair.name.is_none() {
            pair.name = self.slots[slots[pair.maker]].log.head().handed_over();
        }
        if runs == [false, false] {
            if pair.is_open {
                self.close(which);
            }
            let mut working = self.slots.iter().filter(|slot| slot.is_ordinary());
            if self.violations.is_empty() && !working.all(|slot| slot.is_finished) {
                self.begin_pair(which);
            }
            return;
        }
        let Some(name) = pair.name.clone() else { return };
        for (at, runs) in slots.into_iter().zip(runs) {
            if !runs && self.slots[at].log.head().name_is_gone.load(Relaxed) == 0 {
                self.slots[at].orders.name.clone_from(&name);
                self.start(at);
            }
        }
    }

    fn begin_pair(&mut self, which: usize) {
        let maker = self.dice.below(2) as usize;
        let pair = &mut self.pairs[which];
        pair.generation += 1;
        (pair.is_open, pair.maker, pair.name) = (true, maker, None);
        let (publisher, first) = (pair.publisher, pair.generation * INCARNATIONS);
        for slot in &mut self.slots[publisher..publisher + 2] {
            slot.log.head().begin_anew();
            slot.orders.incarnation = first;
            slot.orders.name.clear();
        }
        self.start(publisher + maker);
    }

    /// Both have gone: what they wrote, and what is left.
    fn close(&mut self, which: usize) {
        let pair = &mut self.pairs[which];
        pair.is_open = false;
        let (name, generation) = (pair.name.take(), pair.generation);
        let [publishers, consumers] = [pair.publisher, pair.publisher + 1].map(|at| self.slots[at].log.records());
        let number = FIRST + which as u32;
        let is_its =
            |(channel, life): &&(u32, Life)| *channel == number && life.incarnation / INCARNATIONS == generation;
        let history = History {
            kind: Kind::Private,
            publishers,
            consumers,
            resetters: Vec::new(),
            lives: self.lives.iter().filter(is_its).map(|(_, life)| *life).collect(),
            may_lack_space: self.orders.climate == Climate::SmallSharedMemory,
            may_lack_descriptors: matches!(self.orders.climate, Climate::FewDescriptors | Climate::Everything),
            may_be_stuck: false,
        };
        self.figures.add("also private channels", 1);
        self.count_outcomes(&history);
        for violation in checker::check(&history) {
            let around = history.around(violation.first, violation.last);
            let what = format!("{}: private channel {name:?}: {}", violation.what, violation.why);
            self.violations.push(format!("{what}\n{around}"));
        }
        let both_sat = history.both_sat() < now();
        if both_sat {
            self.figures.add("also private channels at which both sat", 1);
        }
        let left = name.as_deref().and_then(census_of);
        let Some(entry) = left else { return };
        if both_sat {
            let around = history.around(u64::MAX, u64::MAX);
            self.violations.push(format!("left behind: private, though both had sat: {entry:?}\n{around}"));
        } else {
            self.figures.add("also private channels left before both sat", 1);
        }
        // With a message in it, it is kept until somebody asks for the name.
        if entry.state == antiphon::census::State::Kept || !self.orders.has_own_shm {
            let _ = antiphon::Channel::unlink(&entry.name);
        }
    }
}
