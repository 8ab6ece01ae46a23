//! `antiphon doctor`: what this machine is like for antiphon, in words, and what to change and how.
//!
//! `doctor/trial.rs` tries a channel between two processes. The rest looks, and judges what it sees:
//! `doctor/linux.rs` with `doctor/logind.rs` and `doctor/cgroup.rs`, `doctor/darwin.rs`, and `doctor/limits.rs` for
//! both. `doctor/finding.rs` is one line of it. What cannot be seen is said to be not visible, and nothing is made of it.

mod cgroup;
mod darwin;
mod files;
mod finding;
mod limits;
mod linux;
mod logind;
mod trial;

use crate::style::{self, Style, Tone};
use antiphon::machine::{self, System};
use clap::{Arg, ArgAction, ArgMatches, Command};
use finding::{Finding, Level};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::process::ExitCode;

pub const NAME: &str = "doctor";
/// What the other process of the trial is started as.
pub const ANSWER: &str = "internal-trial";

pub fn command() -> Command {
    Command::new(NAME)
        .about("Says what is in antiphon's way on this machine, and what to do")
        .after_help(
            "Each line has a level (ok, note, warning, problem), a figure, what it means and,\n\
             where something can be done, what and how. A channel between two processes is\n\
             tried as well, and one of them killed. Nothing is changed, nothing left behind.\n\n\
             Examples:\n  \
               antiphon doctor                 what this machine is like\n  \
               antiphon doctor --json          the same for programs\n  \
               antiphon doctor || exit 1       in a script: stop where there is a problem\n\n\
             Exit status: 0 no problem (there may be warnings); 1 at least one problem.",
        )
        .arg(Arg::new("json").long("json").help("Writes the findings as JSON").action(ArgAction::SetTrue))
}

/// Not for people.
pub fn answer_command() -> Command {
    Command::new(ANSWER).hide(true).arg(Arg::new("name").required(true))
}

pub fn answer(matches: &ArgMatches) -> io::Result<()> {
    trial::answer(matches.get_one::<String>("name").map_or("", String::as_str))
}

pub fn run(matches: &ArgMatches) -> io::Result<ExitCode> {
    let findings = examine();
    let text = match matches.get_flag("json") {
        true => as_json(&findings),
        false => in_words(&findings, Style::of(matches)),
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    let is_well = findings.iter().all(|finding| finding.level != Level::Problem);
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn examine() -> Vec<Finding> {
    let file_bytes = limits::file_bytes();
    // A file that is longer than its limit is a signal that ends the process.
    let is_tried = file_bytes.level != Level::Problem;
    let trial = is_tried.then(trial::run);
    let mut findings = match machine::SYSTEM {
        System::Linux => linux::examine(is_tried),
        System::Darwin => darwin::examine(),
        System::FreeBsd => vec![
            Finding::problem("system", "FreeBSD")
                .means("No channel can be made here: docs/platforms.md says what this system lacks."),
        ],
    };
    findings.push(limits::files(trial.as_ref().and_then(|trial| trial.descriptors)));
    findings.push(file_bytes);
    findings.push(limits::address_space());
    findings.push(match trial {
        Some(trial) => trial.finding,
        None => Finding::problem("trial", "not made").means("The limit on a file's length would end it."),
    });
    findings
}

fn in_words(findings: &[Finding], style: Style) -> String {
    const INDENT: usize = 9;
    let mut text = String::new();
    for finding in findings {
        let level = format!("{:<INDENT$}", finding.level.name());
        let figure = style::harmless(&finding.figure);
        text.push_str(&style.paint(finding.level.tone(), &level));
        text.push_str(&format!("{:<18} {}\n", finding.topic, style.paint(Tone::Strong, &figure)));
        text.push_str(&style::wrapped(&style::harmless(&finding.meaning), INDENT));
        text.push_str(&style::wrapped(&style::harmless(&finding.advice), INDENT));
        for command in &finding.commands {
            text.push_str(&format!("{:INDENT$}    {}\n", "", style::harmless(command)));
        }
    }
    text.push('\n');
    text.push_str(&style::wrapped(&summary(findings), 0));
    text
}

fn summary(findings: &[Finding]) -> String {
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let words = |level: Level, count| format!("{count} {}{}", level.name(), if count == 1 { "" } else { "s" });
    let [problems, warnings, notes] =
        [Level::Problem, Level::Warning, Level::Note].map(|level| (level, count(level)));
    let rest: Vec<_> = [problems, warnings, notes]
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(level, count)| words(level, count))
        .collect();
    match (problems.1, rest.is_empty()) {
        (_, true) => "Nothing is wrong.".to_owned(),
        (0, false) => format!("No problem; {}.", rest.join(", ")),
        (_, false) => format!("{}.", rest.join(", ")),
    }
}

/// `findings` holds objects of `topic`, `level` (`ok`, `note`, `warning`, `problem`), `figure`, `meaning`, `advice` and
/// `commands`, an array.
fn as_json(findings: &[Finding]) -> String {
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    let findings: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "topic": finding.topic,
                "level": finding.level.name(),
                "figure": finding.figure,
                "meaning": finding.meaning,
                "advice": finding.advice,
                "commands": finding.commands,
            })
        })
        .collect();
    let value = json!({ "antiphon": env!("CARGO_PKG_VERSION"), "worst": worst.name(), "findings": findings });
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_what_is_worse_than_ok() {
        let ok = || Finding::ok("a", "1");
        let note = || Finding::note("a", "1");
        assert_eq!(summary(&[ok(), ok()]), "Nothing is wrong.");
        assert_eq!(summary(&[ok(), note(), note()]), "No problem; 2 notes.");
        assert_eq!(summary(&[Finding::problem("a", "1"), Finding::warning("b", "2")]), "1 problem, 1 warning.");
    }
}
