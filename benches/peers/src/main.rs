//! antiphon beside the limits of the machine and other ways between two processes, in one interleaved run.
//!
//! ```text
//! cargo run --release -- run FILE [--rounds N] [GROUP...]    all rows of FILE, which is a league.json
//! cargo run --release -- judge FILE...                       each bar, by these runs: MET, MISSED or NOT JUDGED
//! cargo run --release -- check [--short]                     whether each contestant can play what it says it can
//! ```
//!
//! `scenario.rs` is what is measured, `contestants/` who takes part, `bars.rs` what must come out.

mod bars;
mod contestants;
mod interrupt;
mod judge;
mod league;
mod limits;
mod order;
mod pair;
mod run;
mod scenario;
mod serve;
mod wires;

use antiphon::limits::Places;
use contestants::Contestant;
use league::League;
use order::Order;
use pair::Pair;
use scenario::{Cores, Scenario, size_name};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use wires::Side;

/// What went wrong, for whoever reads it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

const USAGE: &str = "usage: antiphon-peers run FILE [--rounds N] [GROUP...] | judge FILE... | check [--short]";
/// What a short check leaves out is larger.
const SHORT_BYTES: usize = 4 << 20;

fn main() -> ExitCode {
    antiphon::limits::answer_if_asked();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", name, "first", folder] => serve::serve(name, Side::First, Path::new(folder)),
        ["serve", name, "second", folder] => serve::serve(name, Side::Second, Path::new(folder)),
        ["judge", ref files @ ..] if !files.is_empty() => return judge(files),
        ["check"] => check(usize::MAX),
        ["check", "--short"] => check(SHORT_BYTES),
        ["run", file, ref rest @ ..] => wanted(rest).and_then(|wanted| run::run(&wanted, Path::new(file))),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(2)
        }
    }
}

/// Status 1 where a bar is missed; otherwise 3 where one is undecided for want of samples.
fn judge(files: &[&str]) -> ExitCode {
    let leagues: Result<Vec<League>, Failure> = files.iter().map(|file| League::read(Path::new(file))).collect();
    let leagues = match leagues {
        Ok(leagues) => leagues,
        Err(failure) => {
            eprintln!("{failure}");
            return ExitCode::from(2);
        }
    };
    let judgement = judge::judge(&leagues);
    for line in &judgement.lines {
        println!("{line}");
    }
    println!("{} missed, {} undecided, of {} bars", judgement.missed, judgement.undecided, bars::BARS.len());
    match judgement {
        _ if judgement.missed > 0 => ExitCode::from(1),
        _ if judgement.undecided > 0 => ExitCode::from(3),
        _ => ExitCode::SUCCESS,
    }
}

/// `--rounds N`, and names of groups.
fn wanted(mut words: &[&str]) -> Result<run::Wanted, Failure> {
    let mut wanted = run::Wanted::default();
    if let ["--rounds", rounds, rest @ ..] = words {
        wanted.rounds = Some(rounds.parse()?);
        words = rest;
    }
    wanted.groups = words.iter().map(|word| (*word).to_owned()).collect();
    Ok(wanted)
}

/// Has every contestant play everything that it plays, once, with messages of at most so many bytes.
fn check(most_bytes: usize) -> Result<(), Failure> {
    let Some(apart) = Places::apart() else {
        println!("NOT RUN check: two processors are needed, and this process may use one");
        return Ok(());
    };
    let folder = Folder::make()?;
    let mut failed = 0;
    interrupt::listen();
    for (number, contestant) in contestants::all().iter().enumerate() {
        let name = contestant.name();
        interrupt::check()?;
        if let Some(reason) = contestant.missing() {
            println!("NOT RUN {name}: {reason}");
            continue;
        }
        match check_one(contestant.as_ref(), apart, most_bytes, &folder.of_pair(number)) {
            Ok(played) => println!("ok {name}: {played}"),
            Err(failure) => {
                failed += 1;
                println!("FAILED {name}: {failure}");
            }
        }
    }
    match failed {
        0 => Ok(()),
        _ => Err(format!("{failed} contestants cannot play what they say").into()),
    }
}

fn check_one(
    contestant: &dyn Contestant,
    apart: Places,
    most_bytes: usize,
    folder: &Path,
) -> Result<String, Failure> {
    let mut pair = Pair::start(contestant, folder)?;
    let mut played = Vec::new();
    for (group, scenario) in
        scenario::all().filter(|(_, scenario)| contestant.plays(scenario) && scenario.bytes <= most_bytes)
    {
        let Scenario { play, bytes, warm, least, .. } = *scenario;
        let order = Order { play, bytes, warm, count: least, processor: 0, keep: false };
        let places = if group.cores == Cores::One { Places::together() } else { apart };
        let processors = places.cpus().unwrap_or([0, 0]);
        let place = format!("{} {}", scenario.name, size_name(bytes));
        let took = pair.run(order, processors).map_err(|failure| format!("{place}: {failure}"))?;
        if took.is_zero() {
            return Err(format!("{place}: it took no time").into());
        }
        played.push(place);
    }
    Ok(format!("{} ({})", played.join(", "), pair.version))
}

/// Where the wires of all pairs lie.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("antiphon-peers-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(|error| format!("making {}: {error}", path.display()))?;
        Ok(Folder(path))
    }

    /// One name for everything that a pair shares.
    fn of_pair(&self, number: usize) -> PathBuf {
        self.0.join(format!("peers-{}-{number}", std::process::id()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}
