//! `antiphon ls`: what exists, who holds it, and how much has gone through it.

use crate::entry;
use crate::style::{self, Style, Table, Tone};
use antiphon::census::{Channel, End, Entry, Kind, Seat, Sitter, State};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

pub const NAME: &str = "ls";

pub fn command() -> Command {
    Command::new(NAME)
        .about("Lists the channels, who holds them, and how much went through")
        .after_help(
            "A process number is who sits at that end; * has the turn. SINCE is how long it\n\
             has been held, or how long ago it was made. MESSAGES and BYTES are what was\n\
             published. Nobody is disturbed by the look, and it may be stale when you read\n\
             it. A long name is cut where the list goes to a terminal.\n\n\
             Examples:\n  \
               antiphon ls                     the channels, and what is left over of some\n  \
               antiphon ls --all               other users' and other programs' files too\n  \
               antiphon ls --json | jq .       everything that is known, for programs\n\n\
             Exit status: 0, also where there is nothing.",
        )
        .arg(
            Arg::new("all")
                .long("all")
                .short('a')
                .help("Lists also what cannot be read, and what is not antiphon's")
                .action(ArgAction::SetTrue),
        )
        .arg(Arg::new("json").long("json").help("Writes everything that is known as JSON").action(ArgAction::SetTrue))
}

pub fn run(matches: &ArgMatches) -> io::Result<ExitCode> {
    // A channel of another version is shown: it may be what is in somebody's way.
    let is_hidden =
        |entry: &Entry| matches!(entry.state, State::Foreign | State::Unreadable) && entry.kind != Kind::Channel;
    let (hidden, shown): (Vec<Entry>, Vec<Entry>) =
        entry::all()?.into_iter().partition(|entry| is_hidden(entry) && !matches.get_flag("all"));
    let mut out = io::stdout().lock();
    if matches.get_flag("json") {
        let entries: Vec<_> = shown.iter().map(entry::as_json).collect();
        let text = json!({"antiphon": env!("CARGO_PKG_VERSION"), "entries": entries});
        writeln!(out, "{text:#}")?;
    } else if shown.is_empty() {
        out.write_all(style::wrapped(&nothing(hidden.len()), 0).as_bytes())?;
    } else {
        out.write_all(table(&shown, Style::of(matches), io::stdout().is_terminal()).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn nothing(hidden: usize) -> String {
    let hidden = match hidden {
        0 => return "There is no channel.".to_owned(),
        1 => "one thing".to_owned(),
        more => format!("{more} things"),
    };
    format!("There is no channel. 'antiphon ls --all' shows {hidden} that cannot be read or are not antiphon's.")
}

fn table(entries: &[Entry], style: Style, is_terminal: bool) -> String {
    let with_names_of = |limit| {
        let mut table =
            Table::new(&["NAME", "STATE", "PUBLISHER", "CONSUMER", "MESSAGES", "BYTES", "SINCE"], &[2, 3, 4, 5, 6]);
        for entry in entries {
            table.row(row(entry, limit));
        }
        table
    };
    let whole = with_names_of(usize::MAX);
    let widest = whole.text(Style::plain()).lines().map(|line| line.chars().count()).max().unwrap_or(0);
    if !is_terminal || widest <= style::COLUMNS {
        return whole.text(style);
    }
    let longest = entries.iter().map(|entry| entry.name.chars().count()).max().unwrap_or(0);
    with_names_of(longest.saturating_sub(widest - style::COLUMNS).max(8)).text(style)
}

fn row(entry: &Entry, limit: usize) -> Vec<(Tone, String)> {
    let (tone, state) = entry::state(entry.state);
    let mut cells = vec![(Tone::Strong, cut(&style::harmless(&entry.name), limit)), (tone, state.to_owned())];
    if let Some(channel) = &entry.channel {
        cells.push(seat(&channel.publisher, channel, End::Publisher));
        cells.push(seat(&channel.consumer, channel, End::Consumer));
        cells.push((Tone::Plain, short(channel.published.messages)));
        cells.push((Tone::Plain, style::bytes(channel.published.bytes)));
        let age = entry::age(entry::since(channel)).map_or(String::new(), style::span);
        cells.push((Tone::Plain, age));
    }
    cells
}

fn seat(seat: &Seat, channel: &Channel, end: End) -> (Tone, String) {
    let mark = if channel.turn.end == end { "*" } else { "" };
    let (tone, who) = match (seat.sitter, seat.pid) {
        (Sitter::Alive, Some(pid)) => (Tone::Good, pid.to_string()),
        (Sitter::Alive, None) => (Tone::Good, "sits down".to_owned()),
        (Sitter::Dead, _) => (Tone::Warning, "dead".to_owned()),
        (Sitter::Left, _) => (Tone::Faint, "left".to_owned()),
        _ => (Tone::Faint, "-".to_owned()),
    };
    (tone, format!("{mark}{who}"))
}

/// `999,999`, `1.2 M`, `12.3 G`: never wider than eight.
fn short(count: u64) -> String {
    match count {
        0..1_000_000 => style::count(count),
        1_000_000..1_000_000_000 => format!("{:.1} M", count as f64 / 1e6),
        1_000_000_000..1_000_000_000_000 => format!("{:.1} G", count as f64 / 1e9),
        _ => format!("{:.1e}", count as f64),
    }
}

fn cut(name: &str, limit: usize) -> String {
    match name.chars().count() > limit {
        true => name.chars().take(limit.saturating_sub(1)).chain(['…']).collect(),
        false => name.to_owned(),
    }
}
