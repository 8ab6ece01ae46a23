//! What is measured: one table, in which each row is one scenario of one size.
//!
//! To add a scenario, add its rows here, and teach the contestants that can play it; if it is a new [`Play`], name it
//! in `order.rs` too.

use std::time::Duration;

/// What the two ends do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Play {
    /// A message there and one of the same length back, both watching: nobody sleeps.
    RoundTrip,
    /// The same, and each sleeps until the other wakes it.
    Asleep,
    /// Messages there out of a private buffer and into a private buffer; a short one back when all of the last arrived.
    OneWay,
    /// Space for a message is lent, given over untouched, looked at untouched, and acknowledged.
    Loan,
    /// Both run, and nothing is there yet; then everything is made, and one message arrives.
    Fresh,
}

impl Play {
    pub const ALL: [Play; 5] = [Play::RoundTrip, Play::Asleep, Play::OneWay, Play::Loan, Play::Fresh];

    pub fn word(self) -> &'static str {
        match self {
            Play::RoundTrip => "round-trip",
            Play::Asleep => "asleep",
            Play::OneWay => "one-way",
            Play::Loan => "loan",
            Play::Fresh => "fresh",
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
    pub cores: Cores,
    pub unit: Unit,
    /// How long a sample should last, and how many items it has at the least and at the most.
    pub length: Duration,
    pub least: u64,
    pub most: u64,
    /// Items before the clock runs.
    pub warm: u64,
    /// Takes part in every n-th round.
    pub every: u32,
    /// Fewer samples of one class say nothing.
    pub enough: usize,
}

const MIB: usize = 1 << 20;

const ROUND_TRIP: Scenario = Scenario {
    name: "round trip",
    play: Play::RoundTrip,
    bytes: 8,
    cores: Cores::Two,
    unit: Unit::Nanoseconds,
    length: Duration::from_millis(2),
    least: 20,
    most: 100_000,
    warm: 20,
    every: 1,
    enough: 10,
};

const ONE_WAY: Scenario = Scenario {
    name: "one way",
    play: Play::OneWay,
    bytes: 4 * MIB,
    unit: Unit::GigabytesPerSecond,
    length: Duration::from_millis(3),
    least: 4,
    most: 100,
    warm: 1,
    ..ROUND_TRIP
};

/// In the order in which each round goes through them.
pub const SCENARIOS: [Scenario; 11] = [
    ROUND_TRIP,
    Scenario { bytes: 64, ..ROUND_TRIP },
    Scenario { bytes: 1024, ..ROUND_TRIP },
    Scenario { bytes: 65536, ..ROUND_TRIP },
    Scenario { name: "loan", play: Play::Loan, bytes: 4 * MIB, ..ROUND_TRIP },
    Scenario { name: "asleep", play: Play::Asleep, warm: 5, ..ROUND_TRIP },
    // Ends that watch blindly take 8 ms a round trip here: two of them are a sample.
    Scenario { name: "one core", play: Play::Asleep, cores: Cores::One, least: 2, warm: 2, ..ROUND_TRIP },
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
    ONE_WAY,
    Scenario { bytes: 64 * MIB, least: 1, every: 3, ..ONE_WAY },
    Scenario { bytes: 1024 * MIB, least: 1, warm: 0, every: 10, enough: 4, ..ONE_WAY },
];

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
        for (n, one) in SCENARIOS.iter().enumerate() {
            for other in &SCENARIOS[..n] {
                assert!((one.name, one.bytes) != (other.name, other.bytes), "{} {}", one.name, one.bytes);
            }
        }
    }

    #[test]
    fn a_gigabyte_in_a_second_is_one_gigabyte_a_second() {
        assert_eq!(Unit::GigabytesPerSecond.value(1e9, 1_000_000_000), 1.0);
        assert_eq!(Unit::Microseconds.value(1500.0, 8), 1.5);
    }

    #[test]
    fn sizes_are_named_in_the_largest_unit_that_is_whole() {
        let names = SCENARIOS.map(|scenario| size_name(scenario.bytes));
        assert_eq!(names[0], "8 B");
        assert_eq!(names[2], "1 KiB");
        assert_eq!(names[3], "64 KiB");
        assert_eq!(names[10], "1 GiB");
    }
}
