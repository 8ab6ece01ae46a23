//! A run of the league: every contestant is started once, sleeps between its samples, and plays what it can, in turn
//! with the others of its group and between two fences (`antiphon::limits::Steady`).

use crate::contestants::{self, Contestant};
use crate::league::{League, Missing, Row};
use crate::order::Order;
use crate::pair::Pair;
use crate::scenario::{Cores, GROUPS, Group, Scenario, size_name};
use crate::{Failure, Folder, interrupt, limits};
use antiphon::limits::{Class, Outcome, Places, Steady};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

/// What of the league is asked for.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Groups by name; all where there are none.
    pub groups: Vec<String>,
    /// Instead of each group's own.
    pub rounds: Option<usize>,
}

/// What it shows stands in `file` as soon as a group is through.
pub fn run(wanted: &Wanted, file: &Path) -> Result<(), Failure> {
    let named = |group: &&Group| wanted.groups.is_empty() || wanted.groups.iter().any(|name| name == group.name);
    let groups: Vec<&Group> = GROUPS.iter().filter(named).collect();
    if groups.is_empty() {
        let known = GROUPS.map(|group| group.name).join(", ");
        return Err(format!("there is no group {}: there are {known}", wanted.groups.join(", ")).into());
    }
    let apart = Places::apart().ok_or("NOT RUN: two processors are needed, and this process may use one")?;
    let mut league = League { machine: machine(), ..League::default() };
    interrupt::listen();
    let folder = Folder::make()?;
    // Before this process is pinned: what it starts would be, too, and an MPI that sees one processor waits otherwise.
    let all = contestants::all();
    let mut players = Vec::new();
    for (number, contestant) in all.iter().enumerate() {
        interrupt::check()?;
        if !groups.iter().any(|group| group.scenarios.iter().any(|scenario| contestant.plays(scenario))) {
            continue;
        }
        match Player::start(contestant.as_ref(), &folder, number) {
            Ok(player) => {
                let version = player.borrow().pair.as_ref().map(|pair| pair.version.clone());
                league.versions.extend(version.map(|version| (contestant.name().to_owned(), version)));
                players.push(player);
            }
            Err(failure) => league.miss(contestant.name(), &failure.to_string()),
        }
    }
    let this = std::process::Command::new(std::env::current_exe()?);
    let mut bare = antiphon::limits::Pair::start(this, apart)?;
    for group in groups {
        let places = if group.cores == Cores::One { Places::together() } else { apart };
        bare.place(places)?;
        play(group, wanted.rounds.unwrap_or(group.rounds), &bare, &players, &mut league)?;
        for player in &players {
            let player = player.borrow();
            let name = player.contestant.name();
            if let (Some(failure), false) = (&player.failure, league.is_missing(name)) {
                league.miss(name, &format!("it failed: {failure}"));
            }
        }
        league.write(file)?;
    }
    Ok(())
}

impl League {
    fn is_missing(&self, contestant: &str) -> bool {
        self.missing.iter().any(|missing| missing.contestant == contestant)
    }

    fn miss(&mut self, contestant: &str, reason: &str) {
        println!("MISSING {contestant}: {reason}");
        self.missing.push(Missing { contestant: contestant.to_owned(), reason: reason.to_owned() });
    }
}

/// A contestant that takes part, with its two processes.
struct Player<'c> {
    contestant: &'c dyn Contestant,
    /// Gone with a failure: an end that waits for ever for the other one would disturb all others.
    pair: Option<Pair<'c>>,
    failure: Option<String>,
}

impl<'c> Player<'c> {
    fn start(contestant: &'c dyn Contestant, folder: &Folder, number: usize) -> Result<Rc<RefCell<Self>>, Failure> {
        if let Some(reason) = contestant.missing() {
            return Err(reason.into());
        }
        let pair = Pair::start(contestant, &folder.of_pair(number))?;
        Ok(Rc::new(RefCell::new(Player { contestant, pair: Some(pair), failure: None })))
    }
}

/// A player in one scenario.
struct Entry<'c> {
    player: Rc<RefCell<Player<'c>>>,
    scenario: &'static Scenario,
    processors: [usize; 2],
    keeps: bool,
    nanos_each: f64,
}

impl antiphon::limits::Contestant for Entry<'_> {
    fn sample(&mut self, spell: Duration) -> io::Result<f64> {
        let mut player = self.player.borrow_mut();
        let Some(pair) = &mut player.pair else { return Ok(f64::NAN) };
        let Scenario { play, bytes, warm, least, most, .. } = *self.scenario;
        let fill = if self.nanos_each > 0.0 { (spell.as_nanos() as f64 / self.nanos_each) as u64 } else { 0 };
        let count = fill.clamp(least, most);
        let order = Order { play, bytes, warm, count, processor: 0, keep: self.keeps };
        match pair.run(order, self.processors) {
            Ok(took) => {
                self.nanos_each = took.as_nanos() as f64 / count as f64;
                Ok(self.nanos_each)
            }
            Err(failure) => {
                // The others go on.
                let place = format!("{} {}: {failure}", self.scenario.name, size_name(bytes));
                player.failure = Some(place);
                player.pair = None;
                Ok(f64::NAN)
            }
        }
    }

    fn partners(&self) -> Vec<u32> {
        self.player.borrow().pair.as_ref().map_or(Vec::new(), |pair| pair.pids.to_vec())
    }
}

/// One scenario of one contestant: what rows are made of.
struct Place {
    scenario: &'static Scenario,
    contestant: String,
}

fn play(
    group: &'static Group,
    rounds: usize,
    bare: &antiphon::limits::Pair,
    players: &[Rc<RefCell<Player<'_>>>],
    league: &mut League,
) -> Result<(), Failure> {
    let processors = bare.places().cpus().unwrap_or([0, 0]);
    let keeps = fits(group, players);
    let mut places = Vec::new();
    let mut entries: Vec<Box<dyn antiphon::limits::Contestant + '_>> = Vec::new();
    for scenario in group.scenarios {
        for (contestant, limit) in limits::of(scenario, bare)? {
            places.push(Place { scenario, contestant });
            entries.push(limit);
        }
        for player in players {
            let contestant = player.borrow().contestant;
            if contestant.plays(scenario) {
                places.push(Place { scenario, contestant: contestant.name().to_owned() });
                let player = Rc::clone(player);
                entries.push(Box::new(Entry { player, scenario, processors, keeps, nanos_each: 0.0 }));
            }
        }
    }
    let mut turns: Vec<&mut dyn antiphon::limits::Contestant> = Vec::new();
    for entry in &mut entries {
        turns.push(entry.as_mut());
    }
    let outcome = Steady::new().spell(group.spell).rounds(rounds).run(bare, &mut turns, &mut interrupt::check)?;
    let failed = |place: &Place| {
        let of = |player: &&Rc<RefCell<Player<'_>>>| player.borrow().contestant.name() == place.contestant;
        players.iter().find(of).is_some_and(|player| player.borrow().failure.is_some())
    };
    for (index, place) in places.iter().enumerate() {
        if !failed(place) {
            report(&outcome, index, place, league);
        }
    }
    Ok(())
}

/// Whether the buffers of all players fit into memory at once, and the limit's. Then they are kept from sample to
/// sample: touching a gigabyte takes longer than moving it.
fn fits(group: &Group, players: &[Rc<RefCell<Player<'_>>>]) -> bool {
    let largest = |scenarios: &[Scenario]| scenarios.iter().map(|scenario| scenario.bytes).max().unwrap_or(0);
    let playing = players.iter().filter(|player| {
        let contestant = player.borrow().contestant;
        group.scenarios.iter().any(|scenario| contestant.plays(scenario))
    });
    let playing = playing.count();
    let needed = 2 * largest(group.scenarios) * (playing + 1);
    let available = line_of("/proc/meminfo", "MemAvailable").and_then(|line| {
        let kib = line.split_whitespace().next()?.parse::<usize>().ok()?;
        Some(kib << 10)
    });
    available.is_some_and(|available| needed < available / 4 * 3)
}

/// What a line of a file of keys and values says.
fn line_of(path: &str, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once([':', '='])?.1.trim().trim_matches('"').to_owned())
}

/// The rows of one place, one for each class in which anything was kept.
fn report(outcome: &Outcome, index: usize, place: &Place, league: &mut League) {
    let Place { scenario, contestant } = place;
    let value = |nanos| scenario.unit.value(nanos, scenario.bytes);
    let mut is_any_kept = false;
    for class in [Class::Near, Class::Far, Class::SameCore] {
        let Some(figures) = outcome.figures(index, class) else { continue };
        is_any_kept = true;
        let (one, other) = (value(figures.min), value(figures.max));
        let row = Row {
            scenario: scenario.name.to_owned(),
            contestant: contestant.clone(),
            size: scenario.bytes,
            unit: scenario.unit.word().to_owned(),
            median: value(figures.median),
            min: one.min(other),
            max: one.max(other),
            samples: figures.samples,
            discarded: figures.discarded,
            class: class.name().to_owned(),
        };
        println!("{row}");
        league.rows.push(row);
    }
    if !is_any_kept {
        println!(
            "{} {}, {contestant}: all of {} samples discarded",
            scenario.name,
            size_name(scenario.bytes),
            outcome.discarded(index)
        );
    }
}

/// What tells this machine from another.
fn machine() -> BTreeMap<String, String> {
    let mut machine = BTreeMap::new();
    let mut note = |what: &str, value: Option<String>| {
        if let Some(value) = value {
            machine.insert(what.to_owned(), value.trim().to_owned());
        }
    };
    note("processor", line_of("/proc/cpuinfo", "model name"));
    note("processors", std::thread::available_parallelism().ok().map(|count| count.to_string()));
    note("system", line_of("/etc/os-release", "PRETTY_NAME"));
    note("kernel", std::fs::read_to_string("/proc/sys/kernel/osrelease").ok());
    note("memory", line_of("/proc/meminfo", "MemTotal"));
    note("huge pages", std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok());
    machine
}
