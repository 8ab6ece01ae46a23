//! `antiphon clean`: shows what is left over and why, and removes it where that is asked for.

use crate::entry;
use crate::style::{self, Style, Tone};
use antiphon::Error;
use antiphon::census::{Entry, RemoveOptions, State};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;
use std::io::{self, Write};
use std::process::ExitCode;

pub const NAME: &str = "clean";

pub fn command() -> Command {
    let flag =
        |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help).action(ArgAction::SetTrue);
    Command::new(NAME)
        .about("Shows what killed programs have left over; removes it with --yes")
        .after_help(
            "Nothing that a living process holds is ever removed, nothing that is not\n\
             antiphon's, and nothing at all without --yes. Whether it is still left over is\n\
             asked once more at the moment of removing.\n\n\
             Examples:\n  \
               antiphon clean                  what would go, and why\n  \
               antiphon clean --yes            remove it\n  \
               antiphon clean --yes frames     only this one\n  \
               antiphon clean --kept frames    would it go, though a message waits in it?\n\n\
             Exit status: 0 nothing is left over, or it was removed, or only shown; 1\n\
             something could not be removed.",
        )
        .arg(Arg::new("name").value_name("NAME").num_args(0..).help("Only these"))
        .args([
            flag("yes", "Removes what is shown"),
            flag("kept", "Also what is kept: persistent, or with something unread"),
            flag("all-users", "Also what other users own, as far as the system permits it"),
            flag("json", "Writes as JSON what would go, or went, and why"),
        ])
}

pub fn run(matches: &ArgMatches) -> io::Result<ExitCode> {
    let (kept, all_users) = (matches.get_flag("kept"), matches.get_flag("all-users"));
    let options = RemoveOptions::new().kept(kept).all_users(all_users);
    let is_wanted = |entry: &Entry| {
        let is_due = entry.state == State::LeftOver || (kept && entry.state == State::Kept);
        is_due && (entry.is_mine || all_users)
    };
    // What was named is tried whatever it is, so that it is told why it stays.
    let all = match matches.get_many::<String>("name") {
        Some(names) => names.map(|name| entry::find(name)).collect::<io::Result<Vec<_>>>()?,
        None => entry::all()?,
    };
    let is_named = matches.contains_id("name");
    let (due, others): (Vec<Entry>, Vec<Entry>) = all.into_iter().partition(|entry| is_named || is_wanted(entry));
    let outcomes: Vec<Option<String>> = due
        .iter()
        .map(|entry| match matches.get_flag("yes") {
            true => entry.remove(options).err().map(|error| match error {
                Error::NotRemoved { .. } if !is_wanted(entry) => stays(entry, kept),
                error => error.to_string(),
            }),
            false => (!is_wanted(entry)).then(|| stays(entry, kept)),
        })
        .collect();
    let all_went = outcomes.iter().all(Option::is_none);
    let mut out = io::stdout().lock();
    if matches.get_flag("json") {
        let entries: Vec<_> = due
            .iter()
            .zip(&outcomes)
            .map(|(entry, failure)| json!({"entry": entry::as_json(entry), "failure": failure}))
            .collect();
        let removed = matches.get_flag("yes");
        let text = json!({"antiphon": env!("CARGO_PKG_VERSION"), "removed": removed, "entries": entries});
        writeln!(out, "{text:#}")?;
    } else {
        let text = in_words(&due, &outcomes, matches.get_flag("yes"), Style::of(matches));
        out.write_all(text.as_bytes())?;
        out.write_all(style::wrapped(&not_asked_for(&others), 0).as_bytes())?;
    }
    // Only shown: nothing has failed.
    Ok(if all_went || !matches.get_flag("yes") { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Why something that was named would not go.
fn stays(entry: &Entry, kept: bool) -> String {
    match entry.state {
        State::Kept if !kept => format!("{}; --kept removes it too", entry.why),
        State::LeftOver | State::Kept => format!("it belongs to user {}; --all-users removes it too", entry.owner),
        State::Foreign if entry::is_antiphons(entry.kind) => {
            format!("{}; 'antiphon clean' of that build removes it", entry.why)
        }
        _ => entry.why.clone(),
    }
}

fn in_words(due: &[Entry], outcomes: &[Option<String>], is_removed: bool, style: Style) -> String {
    if due.is_empty() {
        return "Nothing is left over.\n".to_owned();
    }
    let mut text = String::new();
    for (entry, failure) in due.iter().zip(outcomes) {
        let (tone, what) = match (failure, is_removed) {
            (None, true) => (Tone::Good, "removed"),
            (None, false) => (Tone::Warning, "would go"),
            (Some(_), true) => (Tone::Problem, "not removed"),
            (Some(_), false) => (Tone::Note, "would stay"),
        };
        let name = style.paint(Tone::Strong, &style::harmless(&entry.name));
        let (kind, bytes) = (entry::kind(entry.kind), style::bytes(entry.len_bytes));
        let file = entry.block_file.as_ref().map_or(String::new(), |file| format!(" '{}'", entry::file_name(file)));
        text.push_str(&format!("{} {name}: {kind}{file}, {bytes}\n", style.paint(tone, what)));
        let why = failure.as_ref().unwrap_or(&entry.why);
        text.push_str(&style::wrapped(&style::harmless(why), 4));
    }
    let went: Vec<&Entry> =
        due.iter().zip(outcomes).filter(|(_, failure)| failure.is_none()).map(|(e, _)| e).collect();
    let bytes = style::bytes(went.iter().fold(0, |sum: u64, entry| sum.saturating_add(entry.len_bytes)));
    let stayed = due.len() - went.len();
    text.push('\n');
    text.push_str(&style::wrapped(
        &match (is_removed, stayed) {
            (true, 0) => format!("{} removed, {bytes}.", style::count(went.len() as u64)),
            (true, _) => format!("{} removed, {bytes}; {stayed} not.", style::count(went.len() as u64)),
            (false, _) if went.is_empty() => "Nothing would go.".to_owned(),
            (false, _) => format!("{} would go, {bytes}: --yes removes them.", style::count(went.len() as u64)),
        },
        0,
    ));
    text
}

/// What there is besides, and by which options it would go too.
fn not_asked_for(others: &[Entry]) -> String {
    let count = |is_so: fn(&Entry) -> bool| others.iter().filter(|entry| is_so(entry)).count();
    let kept = count(|entry| entry.is_mine && entry.state == State::Kept);
    let theirs = count(|entry| !entry.is_mine && entry.state == State::LeftOver);
    let mut words = Vec::new();
    if kept > 0 {
        words.push(format!("Kept on purpose: {kept} (--kept)."));
    }
    if theirs > 0 {
        words.push(format!("Left over of other users': {theirs} (--all-users)."));
    }
    words.join(" ")
}
