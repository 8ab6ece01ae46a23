//! What is measured, and in which order: groups of contestants that take turns, each with the limits that it is held
//! against.

use super::other::{Other, Ours, Work};
use super::rows::{Limit, Row, Scenario, Unit, size};
use antiphon::Wait;
use antiphon::limits::{Class, Contestant, Copying, Figures, Outcome, Pair, PingPong, Semaphores, Steady, Way};
use std::io;
use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// Bare ping-pongs of these sizes are the limits of the calls.
const SMALL: [usize; 3] = [8, 64, KIB];
const LARGE: [usize; 3] = [64 * KIB, MIB, 4 * MIB];

/// How long one is willing to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    Quick,
    Usual,
    Full,
}

impl Effort {
    /// Rounds at most, and no further one after so many seconds.
    fn steady(self, rounds: usize, seconds: f64) -> Steady {
        let (rounds, seconds) = match self {
            Effort::Quick => (rounds.div_ceil(8).max(14), seconds / 3.0),
            Effort::Usual => (rounds, seconds),
            Effort::Full => (rounds * 5, seconds * 6.0),
        };
        Steady::new().rounds(rounds).within(Duration::from_secs_f64(seconds))
    }
}

/// What takes its turn in a group.
enum Member<'m> {
    Ours(Scenario, usize, Wait, Ours<'m>),
    Way(Way, PingPong<'m>),
    Semaphores(Semaphores<'m>),
    Copying(usize, Copying),
}

impl Member<'_> {
    fn contestant(&mut self) -> &mut dyn Contestant {
        match self {
            Member::Ours(_, _, _, ours) => ours,
            Member::Way(_, bare) => bare,
            Member::Semaphores(bare) => bare,
            Member::Copying(_, bare) => bare,
        }
    }

    /// Whether this is a limit of what moves so many bytes in a scenario. A loan is as good as a short message: what
    /// lies in it is not touched.
    fn limits(&self, scenario: Scenario, bytes: usize) -> bool {
        match (self, scenario) {
            (Member::Way(way, _), Scenario::RoundTrip) => way.bytes == bytes,
            (Member::Way(way, _), Scenario::Loan) => way.bytes == 8,
            (Member::Copying(len, _), Scenario::OneWay) => *len == bytes,
            (Member::Semaphores(_), Scenario::Asleep | Scenario::OneCore) => true,
            _ => false,
        }
    }

    /// For people: what it is, and of how many bytes.
    fn describe(&self) -> String {
        match self {
            Member::Ours(scenario, bytes, wait, _) => {
                format!("antiphon, {}, {}, {}", scenario.name(), size(*bytes), wait_name(*wait))
            }
            Member::Way(way, _) => format!("{}, {}", self.name(), size(way.bytes)),
            Member::Copying(bytes, _) => format!("{}, {}", self.name(), size(*bytes)),
            Member::Semaphores(_) => self.name(),
        }
    }

    fn name(&self) -> String {
        match self {
            Member::Ours(..) => "antiphon".to_owned(),
            Member::Way(way, _) => format!("bare memory, {}", way.name()),
            Member::Semaphores(_) => "two semaphores".to_owned(),
            Member::Copying(..) => "memcpy on one processor".to_owned(),
        }
    }
}

/// The two other processes, and what to ask between two samples.
pub struct Bench<'b> {
    pub pair: &'b Pair,
    pub other: &'b Other,
    pub effort: Effort,
    pub go_on: &'b mut dyn FnMut() -> io::Result<()>,
    /// What had no sample that counts.
    pub missing: &'b mut Vec<String>,
}

impl<'b> Bench<'b> {
    /// Both awake, on two processors.
    pub fn awake(&mut self) -> io::Result<Vec<Row>> {
        let mut members = Vec::new();
        for bytes in SMALL {
            self.add_ways(&mut members, bytes)?;
            self.add_ours(&mut members, Scenario::RoundTrip, bytes, Wait::Spin);
        }
        self.add_ours(&mut members, Scenario::RoundTrip, 8, Wait::Adaptive);
        self.add_ours(&mut members, Scenario::RoundTrip, 64, Wait::Adaptive);
        self.add_ours(&mut members, Scenario::Loan, 4 * MIB, Wait::Spin);
        self.run(members, self.effort.steady(160, 12.0))
    }

    /// Long calls, and many bytes one way.
    pub fn long(&mut self) -> io::Result<Vec<Row>> {
        let mut members = Vec::new();
        for bytes in LARGE {
            self.add_ways(&mut members, bytes)?;
            self.add_ours(&mut members, Scenario::RoundTrip, bytes, Wait::Spin);
            members.push(Member::Copying(bytes, Copying::new(bytes)?));
            self.add_ours(&mut members, Scenario::OneWay, bytes, Wait::Adaptive);
        }
        self.run(members, self.effort.steady(80, 12.0))
    }

    /// More bytes than any cache holds.
    pub fn bulk(&mut self) -> io::Result<Vec<Row>> {
        let mut rows = Vec::new();
        let sizes: &[(usize, usize)] = match self.effort {
            Effort::Full => &[(64 * MIB, 40), (1024 * MIB, 3)],
            _ => &[(64 * MIB, 40)],
        };
        for (bytes, rounds) in sizes {
            let mut members = vec![Member::Copying(*bytes, Copying::new(*bytes)?)];
            self.add_ours(&mut members, Scenario::OneWay, *bytes, Wait::Adaptive);
            rows.extend(self.run(members, self.effort.steady(*rounds, 6.0))?);
        }
        Ok(rows)
    }

    /// Both asleep between the calls, on two processors.
    pub fn asleep(&mut self) -> io::Result<Vec<Row>> {
        let mut members = vec![Member::Semaphores(Semaphores::new(self.pair))];
        self.add_ours(&mut members, Scenario::Asleep, 8, Wait::Park);
        self.run(members, self.effort.steady(250, 5.0))
    }

    /// Both on one processor; they have been placed there.
    pub fn one_core(&mut self) -> io::Result<Vec<Row>> {
        let mut members = vec![Member::Semaphores(Semaphores::new(self.pair))];
        self.add_ours(&mut members, Scenario::OneCore, 8, Wait::Adaptive);
        self.add_ours(&mut members, Scenario::OneCore, 8, Wait::Park);
        self.run(members, self.effort.steady(250, 5.0))
    }

    fn add_ours(&self, members: &mut Vec<Member<'b>>, scenario: Scenario, bytes: usize, wait: Wait) {
        let work = match scenario {
            Scenario::Loan => Work::Loans,
            Scenario::OneWay => Work::OneWay,
            _ => Work::Calls,
        };
        members.push(Member::Ours(scenario, bytes, wait, Ours::new(self.other, work, bytes, wait)));
    }

    fn add_ways(&self, members: &mut Vec<Member<'b>>, bytes: usize) -> io::Result<()> {
        for way in Way::all(bytes) {
            members.push(Member::Way(way, PingPong::new(self.pair, way)?));
        }
        Ok(())
    }

    fn run(&mut self, mut members: Vec<Member<'b>>, steady: Steady) -> io::Result<Vec<Row>> {
        let mut contestants: Vec<&mut dyn Contestant> = members.iter_mut().map(Member::contestant).collect();
        let outcome = steady.run(self.pair, &mut contestants, self.go_on)?;
        let classes = outcome.classes();
        for (index, member) in members.iter().enumerate() {
            if !classes.iter().any(|class| outcome.figures(index, *class).is_some()) {
                self.missing.push(format!("{}: no undisturbed sample", member.describe()));
            }
        }
        Ok(classes.into_iter().flat_map(|class| rows(&members, &outcome, class)).collect())
    }
}

/// All rows of one class: the contestants' in their order, each limit as what it limits.
fn rows(members: &[Member<'_>], outcome: &Outcome, class: Class) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut bare_rows = Vec::new();
    for (index, member) in members.iter().enumerate() {
        let Member::Ours(scenario, bytes, wait, ours) = member else { continue };
        let (scenario, bytes) = (*scenario, *bytes);
        let bare = |index: &usize| members[*index].limits(scenario, bytes);
        let limit = outcome.fastest((0..members.len()).filter(bare), class);
        let Some(figures) = outcome.figures(index, class) else { continue };
        rows.push(Row {
            scenario,
            contestant: member.name(),
            wait: Some(wait_name(*wait)),
            bytes,
            figures: in_unit(figures, scenario, bytes),
            limit: limit.map(|(which, figures)| Limit {
                name: members[which].name(),
                median: in_unit(figures, scenario, bytes).median,
                is_enough: figures.is_enough(),
            }),
            singles: ours.singles(class).filter(|singles| singles.total() > 0).cloned(),
        });
        for bare in (0..members.len()).filter(bare) {
            let Some(figures) = outcome.figures(bare, class) else { continue };
            let name = members[bare].name();
            let is_there = |row: &Row| row.scenario == scenario && row.bytes == bytes && row.contestant == name;
            // The limit of a loan stands there as that of a short call.
            if scenario == Scenario::Loan || bare_rows.iter().any(is_there) {
                continue;
            }
            let figures = in_unit(figures, scenario, bytes);
            bare_rows.push(Row {
                scenario,
                contestant: name,
                wait: None,
                bytes,
                figures,
                limit: None,
                singles: None,
            });
        }
    }
    rows.extend(bare_rows);
    rows
}

fn wait_name(wait: Wait) -> &'static str {
    match wait {
        Wait::Spin => "Spin",
        Wait::Park => "Park",
        _ => "Adaptive",
    }
}

/// Nanoseconds a message turned into what the scenario is told in. A thousand million bytes a second are a byte a
/// nanosecond.
fn in_unit(figures: Figures, scenario: Scenario, bytes: usize) -> Figures {
    if scenario.unit() == Unit::Nanoseconds {
        return figures;
    }
    let speed = |nanos: f64| bytes as f64 / nanos;
    Figures { median: speed(figures.median), min: speed(figures.max), max: speed(figures.min), ..figures }
}
