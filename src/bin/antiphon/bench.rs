//! `antiphon bench`: how fast calls and answers are on this machine, beside what the machine can do.
//!
//! Two processes, pinned where the system pins anyone. The library's `limits` say how samples are taken and thrown
//! away; here stand what is measured (`bench/plan.rs`), the other process (`bench/other.rs`), and what is shown of it:
//! `bench/table.rs`, `bench/json.rs`, `bench/picture.rs`.

mod histogram;
mod json;
mod machine;
mod other;
mod picture;
mod plan;
mod rows;
mod svg;
mod table;

use crate::style;
use antiphon::limits::{Pair, Places};
use clap::{Arg, ArgAction, ArgMatches, Command};
use machine::Machine;
use other::Other;
use plan::{Bench, Effort};
use rows::Row;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

pub const NAME: &str = "bench";
/// What the other process is started as.
pub const ANSWER: &str = "internal-answer";

pub fn command() -> Command {
    Command::new(NAME)
        .about("Measures calls and answers, beside what this machine can do")
        .after_help(
            "Every figure is a median of short samples that took turns, and stands beside\n\
             this machine's limit for the same thing in the same run: the ratio is what\n\
             counts. Near and far are how quickly the two processors hand a line of memory to\n\
             each other; a virtual machine changes that as it runs.\n\n\
             Examples:\n  \
               antiphon bench                      a table, in half a minute\n  \
               antiphon bench --quick --cpus 0,2   rougher, on these two processors\n  \
               antiphon bench --svg bench.svg      and a picture of it\n\n\
             Exit status: 0 measured; 1 it could not be; 2 wrong arguments; 130 interrupted.",
        )
        .args([
            flag("quick", "Some seconds instead of half a minute; rougher figures").conflicts_with("full"),
            flag("full", "Some minutes, more samples, and 1 GiB one way (4 GiB of\nmemory)"),
            Arg::new("cpus")
                .long("cpus")
                .value_name("A,B")
                .help("The two processors to use [default: the first two\ncores that this process may use]")
                .value_parser(two_cpus),
            file("json", "Writes all rows to FILE; '-' is standard output, in place\nof the table"),
            file("svg", "Draws the figures to FILE; '-' as above"),
        ])
}

/// Not for people.
pub fn answer_command() -> Command {
    Command::new(ANSWER).hide(true).arg(Arg::new("name").required(true))
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

fn file(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("FILE").help(help).value_parser(clap::value_parser!(PathBuf))
}

fn two_cpus(text: &str) -> Result<[usize; 2], String> {
    let numbers: Vec<usize> = text.split(',').filter_map(|number| number.trim().parse().ok()).collect();
    match numbers[..] {
        [one, other] if one != other && text.matches(',').count() == 1 => Ok([one, other]),
        _ => Err("two different numbers with a comma between them are wanted, such as 0,1".to_owned()),
    }
}

pub fn answer(matches: &ArgMatches) -> io::Result<()> {
    other::answer(matches.get_one::<String>("name").map_or("", String::as_str))
}

/// What was measured, and on what.
pub struct Report {
    pub machine: Machine,
    pub places: Places,
    pub rows: Vec<Row>,
    /// What was not measured, and why.
    pub missing: Vec<String>,
    pub seconds: f64,
}

pub fn run(matches: &ArgMatches) -> io::Result<()> {
    let is_output = |option| matches.get_one::<PathBuf>(option).is_some_and(|path| path == Path::new("-"));
    if is_output("json") && is_output("svg") {
        let why = "rows and picture cannot both go to standard output: give one of them a file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    // Now, and not when everything is measured: they may be refused.
    let json = matches.get_one::<PathBuf>("json").map(|path| Target::new(path)).transpose()?;
    let svg = matches.get_one::<PathBuf>("svg").map(|path| Target::new(path)).transpose()?;
    let effort = match (matches.get_flag("quick"), matches.get_flag("full")) {
        (true, _) => Effort::Quick,
        (_, true) => Effort::Full,
        _ => Effort::Usual,
    };
    let is_interrupted = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_interrupted);
    // Only noted: what was made is removed on the way out.
    ctrlc::set_handler(move || seen.store(true, Relaxed)).map_err(io::Error::other)?;
    let report = measure(effort, matches.get_one::<[usize; 2]>("cpus").copied(), &is_interrupted)?;
    if !matches!(json, Some(Target::Output)) && !matches!(svg, Some(Target::Output)) {
        table::print(&report, &mut io::stdout().lock())?;
    }
    if let Some(json) = json {
        json.write(&json::text(&report))?;
    }
    if let Some(svg) = svg {
        svg.write(&picture::draw(&report))?;
    }
    Ok(())
}

fn measure(effort: Effort, cpus: Option<[usize; 2]>, is_interrupted: &AtomicBool) -> io::Result<Report> {
    let began = Instant::now();
    let machine = Machine::ask();
    let mut missing = Vec::new();
    let apart = match cpus {
        Some(cpus) => Some(Places::on(cpus)),
        None => Places::apart(),
    };
    let together = cpus.map_or_else(Places::together, |[one, _]| Places::on([one, one]));
    let mut pair = Pair::start(std::process::Command::new(std::env::current_exe()?), apart.unwrap_or(together))?;
    let other = Other::start()?;
    let mut progress = Progress::new();
    let mut rows = Vec::new();
    if let Some(apart) = apart {
        other.place(apart)?;
        for (what, group) in GROUPS {
            let mut go_on = || progress.step(what, is_interrupted);
            let (go_on, missing) = (&mut go_on, &mut missing);
            rows.extend(group(&mut Bench { pair: &pair, other: &other, effort, go_on, missing })?);
        }
    } else {
        missing.push("two processors: this process may use one only".to_owned());
    }
    if together.cpus().is_some() {
        pair.place(together)?;
        other.place(together)?;
        let mut go_on = || progress.step("two on one processor", is_interrupted);
        let (go_on, missing) = (&mut go_on, &mut missing);
        rows.extend(Bench { pair: &pair, other: &other, effort, go_on, missing }.one_core()?);
    } else {
        missing.push("two on one processor: this system keeps nobody on one".to_owned());
    }
    progress.end();
    Ok(Report { machine, places: apart.unwrap_or(together), rows, missing, seconds: began.elapsed().as_secs_f64() })
}

type Group = fn(&mut Bench<'_>) -> io::Result<Vec<Row>>;

const GROUPS: [(&str, Group); 4] = [
    ("calls, both awake", |bench| bench.awake()),
    ("long messages", |bench| bench.long()),
    ("more than any cache holds", |bench| bench.bulk()),
    ("calls, both asleep in between", |bench| bench.asleep()),
];

/// Says on a terminal what is being measured.
struct Progress {
    is_shown: bool,
    began: Instant,
    said: Option<Instant>,
}

impl Progress {
    fn new() -> Self {
        Progress { is_shown: io::stderr().is_terminal(), began: Instant::now(), said: None }
    }

    fn step(&mut self, what: &str, is_interrupted: &AtomicBool) -> io::Result<()> {
        if is_interrupted.load(Relaxed) {
            self.end();
            return Err(io::ErrorKind::Interrupted.into());
        }
        let is_due = self.said.is_none_or(|said| said.elapsed() > Duration::from_millis(500));
        if self.is_shown && is_due {
            self.said = Some(Instant::now());
            let _ = write!(io::stderr(), "\r\x1b[Kmeasuring: {what} ({} s)", self.began.elapsed().as_secs());
        }
        Ok(())
    }

    fn end(&mut self) {
        if self.said.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// Where one of the outputs goes.
enum Target {
    Output,
    File(PathBuf, File),
}

impl Target {
    fn new(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Target::Output);
        }
        let file = File::create(path).map_err(|error| style::not_written(path, &error))?;
        Ok(Target::File(path.to_owned(), file))
    }

    fn write(self, text: &str) -> io::Result<()> {
        match self {
            Target::Output => io::stdout().lock().write_all(text.as_bytes()),
            Target::File(path, mut file) => {
                file.write_all(text.as_bytes()).map_err(|error| style::not_written(&path, &error))
            }
        }
    }
}
