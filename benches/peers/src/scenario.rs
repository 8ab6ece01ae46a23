//! What is measured: one table, in which each row is one scenario of one size.
//!
//! To add a scenario, add its rows to a [`Group`], and teach the contestants that can play it; if it is a new [`Play`], name it
//! in `order.rs` too.

use std::time::Duration;

/// What the two ends do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Play {
    /// A message there and one of the same length back, both watching: nobody sleeps.
    RoundTrip,
    /// The same, and each sleeps until the other wakes it.
    Asleep,
    /// The same, both on one processor, and each waits as it likes.
    OneCore,
    /// Messages there out of a private buffer and into a private buffer; a short one back when all of the last arrived.
    OneWay,
    /// Space for a message is lent, given over untouched, looked at untouched, and acknowledged.
    Loan,
    /// Both run, and nothing is there yet; then everything is made, and one message arrives.
    Fresh,
    /// A block is claimed, filled with a message in place and handed over; there it is claimed, read in place and given
    /// back. Both ends do so as fast as they can: what is told is from one claim to the next. A channel, which stands
    /// beside it, has a message there and one back.
    HandOver,
    /// As one way, each message through blocks of 1 MiB.
    LargeBlocks,
    /// As one way, each message through blocks of 4 KiB.
    SmallBlocks,
}

impl Play {
    pub const ALL: [Play; 9] = [
        Play::RoundTrip,
        Play::Asleep,
        Play::OneCore,
        Play::OneWay,
        Play::Loan,
        Play::Fresh,
        Play::HandOver,
        Play::LargeBlocks,
        Play::SmallBlocks,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Play::RoundTrip => "round-trip",
            Play::Asleep => "asleep",
            Play::OneCore => "one-core",
            Play::OneWay => "one-way",
            Play::Loan => "loan",
            Play::Fresh => "fresh",
            Play::HandOver => "hand-over",
            Play::LargeBlocks => "large-blocks",
            Play::SmallBlocks => "small-blocks",
        }
    }

    /// Of what length the blocks are that a message is cut to.
    pub fn block_bytes(self) -> Option<usize> {
        match self {
            Play::LargeBlocks => Some(MIB),
            Play::SmallBlocks => Some(4096),
            _ => None,
        }
    }
}

/// Where the two ends run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cores {
    Two,
    One,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Nanoseconds,
    Microseconds,
    GigabytesPerSecond,
}

impl Unit {
    pub fn word(self) -> &'static str {
        match self {
            Unit::Nanoseconds => "ns",
            Unit::Microseconds => "us",
            Unit::GigabytesPerSecond => "GB/s",
        }
    }

    /// What one item of `bytes` that took `nanos` is in this unit.
    pub fn value(self, nanos: f64, bytes: usize) -> f64 {
        match self {
            Unit::Nanoseconds => nanos,
            Unit::Microseconds => nanos / 1e3,
            Unit::GigabytesPerSecond => bytes as f64 / nanos,
        }
    }

    pub fn is_better_when_less(self) -> bool {
        self != Unit::GigabytesPerSecond
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    pub play: Play,
    pub bytes: usize,
    pub unit: Unit,
    /// How many items a sample has at the least and at the most, whatever they take.
    pub least: u64,
    pub most: u64,
    /// Items before the clock runs.
    pub warm: u64,
    /// Fewer samples of one class say nothing.
    pub enough: usize,
}

const MIB: usize = 1 << 20;

const ROUND_TRIP: Scenario = Scenario {
    name: "round trip",
    play: Play::RoundTrip,
    bytes: 8,
    unit: Unit::Nanoseconds,
    least: 20,
    most: 100_000,
    warm: 20,
    enough: 10,
};

const ONE_WAY: Scenario = Scenario {
    name: "one way",
    play: Play::OneWay,
    bytes: 4 * MIB,
    unit: Unit::GigabytesPerSecond,
    least: 4,
    most: 100,
    warm: 1,
    ..ROUND_TRIP
};

/// Scenarios whose contestants take turns in one run.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    pub name: &'static str,
    pub cores: Cores,
    pub rounds: usize,
    /// How long a sample should last.
    pub spell: Duration,
    pub scenarios: &'static [Scenario],
}

/// Through blocks of 1 MiB, from and to more than the last-level cache holds.
const LARGE_BLOCKS: Scenario =
    Scenario { name: "1 MiB blocks", play: Play::LargeBlocks, bytes: 64 * MIB, least: 1, ..ONE_WAY };

/// Through blocks of 4 KiB, from and to a block's length that stays in the cache. All blocks are used before the clock runs.
const SMALL_BLOCKS: Scenario = Scenario {
    name: "4 KiB blocks",
    play: Play::SmallBlocks,
    bytes: 4096,
    least: 1000,
    most: 100_000,
    warm: 1000,
    ..ONE_WAY
};

pub const GROUPS: [Group; 8] = [
    Group {
        name: "awake",
        cores: Cores::Two,
        rounds: 60,
        spell: Duration::from_millis(2),
        scenarios: &[
            ROUND_TRIP,
            Scenario { bytes: 64, ..ROUND_TRIP },
            Scenario { bytes: 1024, ..ROUND_TRIP },
            Scenario { bytes: 65536, ..ROUND_TRIP },
            Scenario { name: "loan", play: Play::Loan, bytes: 4 * MIB, ..ROUND_TRIP },
        ],
    },
    Group {
        name: "asleep",
        cores: Cores::Two,
        rounds: 60,
        spell: Duration::from_millis(2),
        scenarios: &[
            Scenario { name: "asleep", play: Play::Asleep, warm: 5, ..ROUND_TRIP },
            Scenario {
                name: "fresh",
                play: Play::Fresh,
                bytes: 4 * MIB,
                unit: Unit::Microseconds,
                least: 1,
                most: 1,
                warm: 0,
                ..ROUND_TRIP
            },
        ],
    },
    Group {
        name: "one core",
        cores: Cores::One,
        rounds: 40,
        spell: Duration::from_millis(2),
        // Ends that watch blindly take 8 ms a round trip here: two of them are a sample.
        scenarios: &[Scenario { name: "one core", play: Play::OneCore, least: 2, warm: 2, ..ROUND_TRIP }],
    },
    Group { name: "4 MiB", cores: Cores::Two, rounds: 60, spell: Duration::from_millis(2), scenarios: &[ONE_WAY] },
    Group {
        name: "64 MiB",
        cores: Cores::Two,
        rounds: 30,
        spell: Duration::from_millis(4),
        scenarios: &[Scenario { bytes: 64 * MIB, least: 1, ..ONE_WAY }],
    },
    Group {
        name: "1 GiB",
        cores: Cores::Two,
        rounds: 14,
        spell: Duration::from_millis(60),
        scenarios: &[Scenario { bytes: 1024 * MIB, least: 1, warm: 0, enough: 4, ..ONE_WAY }],
    },
    Group {
        name: "small blocks",
        cores: Cores::Two,
        rounds: 60,
        spell: Duration::from_millis(2),
        scenarios: &[Scenario { name: "hand-over", play: Play::HandOver, warm: 1000, ..ROUND_TRIP }, SMALL_BLOCKS],
    },
    Group {
        name: "large blocks",
        cores: Cores::Two,
        rounds: 60,
        spell: Duration::from_millis(8),
        scenarios: &[
            LARGE_BLOCKS,
            Scenario { bytes: 4 * MIB, least: 4, most: 1000, ..LARGE_BLOCKS },
            Scenario { bytes: 64 * MIB, least: 1, most: 100, warm: 1, ..SMALL_BLOCKS },
        ],
    },
];

/// All scenarios, with the group that each is of.
pub fn all() -> impl Iterator<Item = (&'static Group, &'static Scenario)> {
    GROUPS.iter().flat_map(|group| group.scenarios.iter().map(move |scenario| (group, scenario)))
}

/// `64 MiB` for 67108864.
pub fn size_name(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..MIB => format!("{} KiB", bytes >> 10),
        _ if bytes < 1024 * MIB => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rows_are_the_same_scenario_of_the_same_size() {
        let mut seen = Vec::new();
        for (_, scenario) in all() {
            let row = (scenario.name, scenario.bytes);
            assert!(!seen.contains(&row), "{row:?}");
            seen.push(row);
        }
    }

    #[test]
    fn a_gigabyte_in_a_second_is_one_gigabyte_a_second() {
        assert_eq!(Unit::GigabytesPerSecond.value(1e9, 1_000_000_000), 1.0);
        assert_eq!(Unit::Microseconds.value(1500.0, 8), 1.5);
    }

    #[test]
    fn sizes_are_named_in_the_largest_unit_that_is_whole() {
        let names = [8, 1024, 65536, 4 * MIB, 1024 * MIB].map(size_name);
        assert_eq!(names, ["8 B", "1 KiB", "64 KiB", "4 MiB", "1 GiB"]);
    }
}
