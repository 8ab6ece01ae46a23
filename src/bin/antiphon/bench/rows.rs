//! What was measured, row by row.

use super::histogram::Histogram;
use antiphon::limits::Figures;

/// What two processes did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Call and answer, both awake.
    RoundTrip,
    /// The same with bytes that are lent and looked at in place.
    Loan,
    /// Many bytes one way, copied in and out.
    OneWay,
    /// Call and answer, both asleep in between.
    Asleep,
    /// Call and answer, both on one processor.
    OneCore,
}

impl Scenario {
    pub fn name(self) -> &'static str {
        match self {
            Scenario::RoundTrip => "round trip",
            Scenario::Loan => "loan and view",
            Scenario::OneWay => "one way",
            Scenario::Asleep => "asleep",
            Scenario::OneCore => "one core",
        }
    }

    pub fn unit(self) -> Unit {
        if self == Scenario::OneWay { Unit::GigabytesPerSecond } else { Unit::Nanoseconds }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Nanoseconds,
    GigabytesPerSecond,
}

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Unit::Nanoseconds => "ns",
            Unit::GigabytesPerSecond => "GB/s",
        }
    }
}

/// What the machine can do where this row was measured.
#[derive(Debug, Clone)]
pub struct Limit {
    pub name: String,
    /// In the row's unit.
    pub median: f64,
    /// Whether enough samples stand behind it.
    pub is_enough: bool,
}

/// One contestant's figures in one class.
#[derive(Debug, Clone)]
pub struct Row {
    pub scenario: Scenario,
    /// `antiphon`, or one of the limits.
    pub contestant: String,
    /// How it waited, for antiphon.
    pub wait: Option<&'static str>,
    pub bytes: usize,
    /// In the scenario's unit.
    pub figures: Figures,
    pub limit: Option<Limit>,
    pub singles: Option<Histogram>,
}

impl Row {
    /// This, in multiples of the limit: below 1 is better for a time, above 1 for a speed.
    pub fn ratio(&self) -> Option<f64> {
        self.limit.as_ref().map(|limit| self.figures.median / limit.median)
    }

    /// Whether enough samples stand behind both sides of the ratio.
    pub fn is_enough(&self) -> bool {
        self.figures.is_enough() && self.limit.as_ref().is_none_or(|limit| limit.is_enough)
    }

    pub fn is_ours(&self) -> bool {
        self.wait.is_some()
    }
}

/// `8 B`, `64 KiB`, `1 GiB`.
pub fn size(bytes: usize) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit && bytes % unit == 0 {
            return format!("{} {name}", bytes / unit);
        }
    }
    format!("{bytes} B")
}

/// Three digits and a unit: `68 ns`, `4.21 µs`.
pub fn time(nanos: f64) -> String {
    for (unit, name) in [(1e9, "s"), (1e6, "ms"), (1e3, "µs")] {
        if nanos >= unit * 0.9995 {
            return format!("{} {name}", digits(nanos / unit));
        }
    }
    format!("{} ns", digits(nanos))
}

/// Three digits that count.
pub fn digits(value: f64) -> String {
    let places = if value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_their_unit() {
        assert_eq!(time(68.04), "68.0 ns");
        assert_eq!(time(999.7), "1.00 µs");
        assert_eq!(time(4213.0), "4.21 µs");
        assert_eq!(time(2_000_000.0), "2.00 ms");
        assert_eq!(size(8), "8 B");
        assert_eq!(size(1000), "1000 B");
        assert_eq!(size(65536), "64 KiB");
        assert_eq!(size(1 << 30), "1 GiB");
    }
}
