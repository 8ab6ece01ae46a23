//! What must come out: each bar is a ratio of medians, of one run and one class.

/// Whose figure stands below the line of the fraction.
#[derive(Debug, Clone, Copy)]
pub enum Against {
    /// The best of the limits that were measured in the scenario.
    Limit,
    /// The best of all peers that play the scenario.
    BestPeer,
    /// The best of these.
    BestOf(&'static [&'static str]),
    /// Ourselves, in another scenario.
    Ours { contestant: &'static str, scenario: &'static str, size: usize },
}

/// Times must be at most so many times the other's; gigabytes a second, at least.
#[derive(Debug, Clone, Copy)]
pub struct Bar {
    pub scenario: &'static str,
    pub size: usize,
    pub ours: &'static str,
    pub against: Against,
    pub ratio: f64,
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

const SPIN: &str = "antiphon, Spin";
const ADAPTIVE: &str = "antiphon, Adaptive";
const PARK: &str = "antiphon, Park";

pub const MEMCPY: &str = "memcpy, one core";
pub const SEMAPHORES: &str = "two named semaphores";
const OPEN_MPI: Against = Against::BestOf(&["Open MPI"]);
const ICEORYX2: Against = Against::BestOf(&["iceoryx2, publish-subscribe", "iceoryx2, request-response"]);

const LARGE_SPIN: &str = "8 blocks of 1 MiB, Spin";
const LARGE_ADAPTIVE: &str = "8 blocks of 1 MiB, Adaptive";
const LARGE_ONE: &str = "8 of 1 MiB, one a side";
const LARGE_FOUR: &str = "8 of 1 MiB, four a side";
const SMALL_8: &str = "8 blocks of 4 KiB, Spin";
const SMALL_256: &str = "256 blocks of 4 KiB, Spin";
const CHANNEL: Against = Against::BestOf(&[SPIN]);
const BARE_LARGE: Against = Against::BestOf(&["bare: 8 blocks of 1 MiB"]);
const BARE_SMALL_8: Against = Against::BestOf(&["bare: 8 blocks of 4 KiB"]);
const BARE_SMALL_256: Against = Against::BestOf(&["bare: 256 blocks of 4 KiB"]);

const fn bar(scenario: &'static str, size: usize, ours: &'static str, against: Against, ratio: f64) -> Bar {
    Bar { scenario, size, ours, against, ratio }
}

pub const BARS: [Bar; 35] = [
    bar("round trip", 8, SPIN, Against::Limit, 1.3),
    bar("round trip", 64, SPIN, Against::Limit, 1.4),
    bar("round trip", 64, SPIN, OPEN_MPI, 0.5),
    bar("round trip", 64, SPIN, ICEORYX2, 0.2),
    bar("round trip", 64, ADAPTIVE, Against::Limit, 1.4),
    bar("round trip", 64, ADAPTIVE, OPEN_MPI, 0.5),
    bar("round trip", 64, ADAPTIVE, ICEORYX2, 0.2),
    bar("round trip", KIB, SPIN, Against::BestPeer, 1.0),
    bar("round trip", KIB, ADAPTIVE, Against::BestPeer, 1.0),
    bar("round trip", 64 * KIB, SPIN, Against::BestPeer, 1.0),
    bar("round trip", 64 * KIB, ADAPTIVE, Against::BestPeer, 1.0),
    bar("asleep", 8, PARK, Against::BestOf(&[SEMAPHORES]), 1.1),
    bar("one core", 8, ADAPTIVE, Against::BestOf(&[SEMAPHORES]), 1.0),
    bar("one core", 8, ADAPTIVE, OPEN_MPI, 0.01),
    bar("one way", 4 * MIB, ADAPTIVE, Against::BestPeer, 1.0),
    bar("one way", 4 * MIB, ADAPTIVE, Against::BestOf(&[MEMCPY]), 0.95),
    bar("one way", 64 * MIB, ADAPTIVE, Against::BestOf(&[MEMCPY]), 1.0),
    bar("one way", 64 * MIB, ADAPTIVE, Against::BestPeer, 1.0),
    bar("one way", 64 * MIB, ADAPTIVE, OPEN_MPI, 2.0),
    bar("one way", 1024 * MIB, ADAPTIVE, Against::BestOf(&[MEMCPY]), 1.0),
    bar("one way", 1024 * MIB, ADAPTIVE, Against::BestPeer, 1.0),
    bar("one way", 1024 * MIB, ADAPTIVE, OPEN_MPI, 2.0),
    bar("loan", 4 * MIB, SPIN, Against::Ours { contestant: SPIN, scenario: "round trip", size: 8 }, 1.5),
    bar("loan", 4 * MIB, SPIN, ICEORYX2, 0.25),
    bar("fresh", 4 * MIB, ADAPTIVE, Against::BestOf(&["fresh pages by touching"]), 0.5),
    bar("hand-over", 8, LARGE_SPIN, CHANNEL, 2.0),
    bar("hand-over", 8, SMALL_8, CHANNEL, 2.0),
    bar("hand-over", 8, SMALL_256, CHANNEL, 2.0),
    bar("1 MiB blocks", 64 * MIB, LARGE_SPIN, BARE_LARGE, 0.95),
    bar("1 MiB blocks", 64 * MIB, LARGE_ADAPTIVE, BARE_LARGE, 0.95),
    bar("1 MiB blocks", 64 * MIB, LARGE_ADAPTIVE, Against::BestOf(&[ADAPTIVE]), 0.9),
    bar("1 MiB blocks", 64 * MIB, LARGE_FOUR, Against::BestOf(&[LARGE_ONE]), 1.0),
    bar("4 KiB blocks", 4 * KIB, SMALL_8, BARE_SMALL_8, 0.7),
    bar("4 KiB blocks", 4 * KIB, SMALL_256, BARE_SMALL_256, 0.7),
    bar("4 KiB blocks", 64 * MIB, SMALL_256, BARE_SMALL_256, 0.7),
];
