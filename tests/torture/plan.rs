//! What a seed decides: everything that a process will do and how it will end. What the seed cannot decide is how the
//! processes fall in with each other.

use crate::bytes::mix;
use crate::log::numbered;
use crate::support::Dice;
use antiphon::Wait;

numbered! {
    /// What a round is under, besides the kills that each has.
    Climate {
        Plain, Signals, Stops, SmallSharedMemory, FewDescriptors, Forks, ReusedPids, Moves, JumpingClock, Cleaning,
        Everything,
    }
}

numbered! {
    /// Which process of a channel; the last ones have none of their own.
    Side { Publisher, Consumer, Resetter, Racer, Cleaner, Writer, Reader, Host }
}

numbered! {
    /// Of which kind a channel is.
    Kind { Ordinary, Persistent, Private }
}

#[allow(clippy::derivable_impls)] // The macro derives for all alike.
impl Default for Kind {
    fn default() -> Kind {
        Kind::Ordinary
    }
}

/// How a process's life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// In order: everything is dropped.
    Leaves,
    /// `exit` with everything in its hands.
    Exits,
    /// SIGKILL at the nth reaching of a step, counted from 1; where it is not reached, it leaves.
    AtStep { step: &'static str, nth: u32 },
    /// SIGKILL so many nanoseconds after an operation began.
    Around { operation: u32, nanos: u64 },
}

/// Where it stops itself; the one who watches lets it go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    pub step: &'static str,
    pub nth: u32,
    pub millis: u32,
}

#[derive(Debug, Clone, Copy)]
pub struct Life {
    pub wait: Wait,
    pub operations: u32,
    pub ending: Ending,
    pub stop: Option<Stop>,
    pub has_signals: bool,
    pub has_few_descriptors: bool,
    pub moves: bool,
    /// Falls asleep for a moment at steps that the dice choose, beginning with this number; 0 for never.
    pub naps: u64,
    /// Forks before this operation; the child stays for so long.
    pub fork: Option<(u32, u32)>,
}

impl Life {
    pub const UNDISTURBED: Life = Life {
        wait: Wait::Park,
        operations: u32::MAX,
        ending: Ending::Leaves,
        stop: None,
        has_signals: false,
        has_few_descriptors: false,
        moves: false,
        naps: 0,
        fork: None,
    };
}

#[derive(Debug, Clone, Copy)]
pub struct Channel {
    pub number: u32,
    pub capacity: usize,
    pub kind: Kind,
    /// Of its publishers together.
    pub operations: u64,
}

/// The dice of one thing: no two are the same.
pub fn dice(seed: u64, channel: u32, side: Side, incarnation: u32) -> Dice {
    Dice::new(mix(seed ^ mix(u64::from(channel) << 40 | (side as u64) << 32 | u64::from(incarnation))))
}

/// The climate of a round, in turn; the seed decides the rest.
pub fn climate(round: u64) -> Climate {
    Climate::ALL[(round % Climate::ALL.len() as u64) as usize]
}

pub fn channels(seed: u64) -> Vec<Channel> {
    let mut dice = Dice::new(mix(seed));
    (0..3 + dice.below(3) as u32)
        .map(|number| {
            let capacity = [1, 1, 1, 2, 16][dice.below(5) as usize] * 64 * 1024;
            let operations = 400 + dice.below(800);
            // What stays must leave room for the others where there is little.
            let is_persistent = one_in(&mut dice, 3) && capacity < 1 << 20;
            let kind = if is_persistent { Kind::Persistent } else { Kind::Ordinary };
            Channel { number, capacity, kind, operations }
        })
        .collect()
}

/// A block file, and those who work on it.
#[derive(Debug, Clone, Copy)]
pub struct File {
    pub block_bytes: usize,
    pub blocks: usize,
    /// How many blocks are filled before it is finished.
    pub len: u64,
    /// Where in the named file it begins.
    pub base: u64,
    /// Processes a side, and threads in each at most.
    pub writers: u32,
    pub readers: u32,
    pub threads: u32,
    /// It ends by a block that is completed empty, or else by `finish`.
    pub ends_by_empty: bool,
    /// It is cancelled when so many blocks were filled.
    pub cancelled_after: Option<u64>,
    /// No writer comes any more when so many blocks were filled.
    pub abandoned_after: Option<u64>,
    /// Of eight claims, for how many the writer chooses the place: then there are holes.
    pub chosen: u64,
    /// Somebody holds it open all the time who neither writes nor reads.
    pub is_held: bool,
    /// Whoever follows the last one of a side that died comes when all of the other side were told of it.
    pub is_patient: bool,
    /// Block files of a session that are parts of one file; none without a session.
    pub parts: u32,
}

/// Bytes between the beginnings of two parts.
pub const PART: u64 = 1 << 44;
/// Behind its part's beginning, from where on writers choose.
pub const CHOSEN: u64 = 1 << 40;

impl File {
    pub fn base_of(&self, part: u32) -> u64 {
        self.base + u64::from(part) * PART
    }

    /// The nth place that is chosen.
    pub fn chosen_place(&self, part: u32, nth: u64) -> u64 {
        self.base_of(part) + CHOSEN + nth * 3 * self.block_bytes as u64
    }

    pub fn part_of(&self, offset: u64) -> u32 {
        (offset / PART) as u32
    }

    /// Which range of its part it is, from 0, where it was not chosen.
    pub fn ticket_of(&self, offset: u64) -> Option<u64> {
        let behind = offset.checked_sub(self.base_of(self.part_of(offset)))?;
        (behind < CHOSEN).then_some(behind / self.block_bytes as u64)
    }
}

pub fn file(seed: u64, climate: Climate, number: u32, generation: u32) -> File {
    let mut dice = Dice::new(mix(seed ^ mix(u64::from(number) << 32 | u64::from(generation))));
    let block_bytes = [1, 1, 1, 2, 4, 16][dice.below(6) as usize] * 4096;
    let most_blocks = [1, 2, 3, 4, 8, 32][dice.below(6) as usize];
    let len = 20 + dice.below(160);
    let mut some = || 1 + dice.below(3) as u32;
    let (writers, readers, threads) = (some(), some(), some());
    // Who is stopped while it asks keeps all others from asking.
    let is_of_session = one_in(&mut dice, 4) && !matches!(climate, Climate::Stops | Climate::Everything);
    File {
        block_bytes,
        blocks: most_blocks.min((256 << 10) / block_bytes),
        len,
        base: [0, 0, 12_345, 1 << 33][dice.below(4) as usize] * u64::from(!is_of_session),
        writers,
        readers,
        threads,
        ends_by_empty: one_in(&mut dice, 2),
        cancelled_after: one_in(&mut dice, 5).then(|| dice.below(len)),
        abandoned_after: one_in(&mut dice, 6).then(|| dice.below(len)),
        chosen: [0, 0, 2, 8][dice.below(4) as usize],
        is_held: one_in(&mut dice, 2),
        is_patient: one_in(&mut dice, 2),
        parts: if is_of_session { 1 + dice.below(3) as u32 } else { 0 },
    }
}

fn one_in(dice: &mut Dice, many: u64) -> bool {
    dice.below(many) == 0
}

/// A number below two to the `most`th, with as many small ones as large ones.
fn scaled(dice: &mut Dice, most: u64) -> u64 {
    let limit = 1 << dice.below(most);
    dice.below(limit)
}

/// A step that this side may come to, sooner or later.
fn step(dice: &mut Dice, side: Side, kind: Kind) -> &'static str {
    let is_private = kind == Kind::Private;
    // What is private lives briefly: half of them are to die while they come or go.
    let is_of_file = side >= Side::Writer;
    let comes_or_goes = is_private && one_in(dice, 2) || is_of_file && one_in(dice, 4);
    let is_of_side = |step: &&&str| match side {
        _ if comes_or_goes && is_private => {
            ["private", "create", "open", "attach", "detach", "unlink"].contains(&room(step))
        }
        Side::Publisher => ["open", "attach", "send", "call", "flow", "sleep", "detach"].contains(&room(step)),
        Side::Consumer => ["open", "attach", "consume", "reply", "flow", "sleep", "detach"].contains(&room(step)),
        Side::Resetter => ["create", "reclaim", "unlink", "detach"].contains(&room(step)),
        Side::Racer => ["create", "open", "attach", "detach", "unlink", "reclaim"].contains(&room(step)),
        Side::Cleaner => room(step) == "unlink",
        // What files have to themselves is what is to be reached.
        Side::Writer | Side::Reader if comes_or_goes => ["open", "attach", "detach", "sleep"].contains(&room(step)),
        Side::Writer if **step == "give-back:writer" => true,
        Side::Writer => ["claim", "complete", "finish", "cancel", "block"].contains(&room(step)),
        Side::Reader if **step == "give-back:reader" => true,
        Side::Reader => ["take", "free", "cancel", "block"].contains(&room(step)),
        Side::Host => ["create", "open", "attach", "detach", "consume", "reply", "cancel"].contains(&room(step)),
    };
    let of_blocks = if side >= Side::Writer { antiphon::steps::OF_BLOCKS } else { &[] };
    let steps: Vec<_> = antiphon::steps::ALL.iter().chain(of_blocks).filter(is_of_side).collect();
    steps[dice.below(steps.len() as u64) as usize]
}

fn room(step: &str) -> &str {
    step.split(':').next().unwrap_or_default()
}

pub fn life(climate: Climate, dice: &mut Dice, side: Side, kind: Kind) -> Life {
    let all = climate == Climate::Everything;
    let is = |one: Climate| climate == one || all;
    let wait = match dice.below(8) {
        0 => Wait::Spin,
        1..=3 => Wait::Park,
        _ => Wait::Adaptive,
    };
    let most = match side {
        Side::Publisher | Side::Consumer if kind == Kind::Private => 1 << dice.below(6),
        Side::Publisher | Side::Consumer => 1 << dice.below(9),
        Side::Resetter => 1,
        Side::Racer | Side::Cleaner => 1 << dice.below(6),
        Side::Writer | Side::Reader => 1 << dice.below(7),
        Side::Host => 1 << dice.below(10),
    };
    let operations = 1 + dice.below(most) as u32 + most as u32 / 2;
    let nth = 1 + scaled(dice, 7) as u32;
    let is_of_file = side >= Side::Writer;
    let at_the_door = side > Side::Consumer && !is_of_file || one_in(dice, if kind == Kind::Private { 1 } else { 3 });
    let ending = match dice.below(20) {
        0 | 1 => Ending::Leaves,
        2 => Ending::Exits,
        3..=11 => Ending::AtStep { step: step(dice, side, kind), nth: if at_the_door { 1 } else { nth } },
        _ => Ending::Around { operation: dice.below(u64::from(operations)) as u32, nanos: scaled(dice, 25) },
    };
    let few = if all { 4 } else { 1 };
    let mut stop = Stop { step: step(dice, side, kind), nth, millis: 50 + scaled(dice, 11) as u32 };
    let inside = ["send", "call", "consume", "reply", "flow", "sleep", "claim", "complete", "finish", "take", "free"];
    if inside.contains(&room(stop.step)) {
        stop.millis += dice.below(800) as u32;
    } else {
        stop.nth = 1; // And short: who stops at the door keeps all others of the name out.
    }
    let stops = is(Climate::Stops) && one_in(dice, 4 * few);
    let has_few = is(Climate::FewDescriptors) && ![Side::Cleaner, Side::Host].contains(&side) && one_in(dice, few);
    let forks = is(Climate::Forks) && one_in(dice, few);
    let naps = if one_in(dice, 3) { dice.roll() | 1 } else { 0 };
    Life {
        wait,
        operations,
        naps,
        ending,
        stop: stops.then_some(stop),
        has_signals: is(Climate::Signals) && one_in(dice, few),
        has_few_descriptors: has_few,
        moves: is(Climate::Moves) && one_in(dice, few),
        fork: forks.then(|| (dice.below(u64::from(operations)) as u32, dice.below(2) as u32 * 600)),
    }
}

/// How an end is to wait from now on; nothing where that stays.
pub fn other_wait(dice: &mut Dice) -> Option<Wait> {
    one_in(dice, 100).then(|| [Wait::Park, Wait::Adaptive, Wait::Spin][dice.below(3) as usize])
}

/// The lengths that matter, short ones more often.
pub fn len(dice: &mut Dice, capacity: usize) -> usize {
    match dice.below(40) {
        0 => 0,
        1 => 1,
        2 => 24,
        3..=9 => 112,
        10..=14 => 113,
        15 => 32 * 1024 - 1,
        16..=18 => 32 * 1024,
        19 | 20 => capacity,
        21 | 22 => capacity + 1,
        23 if capacity < 1 << 20 => 3 * capacity,
        24 => 1 << 20,
        25..=30 => 24 + dice.below(1000) as usize,
        _ => 1024,
    }
}

#[test]
fn the_same_seed_plans_the_same_and_another_one_something_else() {
    let plan = |seed: u64| {
        let lives = (0..20).map(|incarnation| {
            let mut dice = dice(seed, 1, Side::Consumer, incarnation);
            let life = life(Climate::Everything, &mut dice, Side::Consumer, Kind::Ordinary);
            let lens: Vec<usize> = (0..20).map(|_| len(&mut dice, 65536)).collect();
            format!("{life:?} {lens:?}")
        });
        (format!("{:?}", channels(seed)), lives.collect::<Vec<_>>())
    };
    assert_eq!(plan(5), plan(5));
    let (channels, lives) = plan(6);
    assert_ne!((channels, &lives), (plan(5).0, &plan(5).1));
    assert_eq!(lives.iter().collect::<std::collections::BTreeSet<_>>().len(), lives.len());
}
