//! `antiphon ls`: what exists, who holds it, and how much has gone through it: channels, then sessions, then block
//! files.

use crate::entry;
use crate::style::{self, Style, Table, Tone};
use antiphon::census::{BlockFile, Channel, End, Entry, Handle, Kind, Seat, Sitter, State};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

pub const NAME: &str = "ls";

pub fn command() -> Command {
    Command::new(NAME)
        .about("Lists channels, sessions and block files, and who holds them")
        .after_help(
            "A process number is who sits at that end; * has the turn. SINCE is how long it\n\
             has been held, or how long ago it was made. MESSAGES and BYTES are what was\n\
             published. Sessions follow: HOST is who answers, CALLER who asks just now, CALLS\n\
             how often somebody has. Then block files, sorted by their sessions: WRITERS and\n\
             READERS are who has it open for that, BYTES what was completed, FILE the name of\n\
             the file that stands in it. Nobody is disturbed by the look, and it may be stale\n\
             when you read it. A long name is cut where the list goes to a terminal.\n\n\
             Examples:\n  \
               antiphon ls                     what there is, and what is left over of some\n  \
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
    // What is antiphon's of another version is shown: it may be what is in somebody's way.
    let is_hidden =
        |entry: &Entry| matches!(entry.state, State::Foreign | State::Unreadable) && !entry::is_antiphons(entry.kind);
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
        out.write_all(tables(&shown, Style::of(matches), io::stdout().is_terminal()).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

const NOTHING: &str = "There is no channel, no session and no block file.";

fn nothing(hidden: usize) -> String {
    let hidden = match hidden {
        0 => return NOTHING.to_owned(),
        1 => "one thing".to_owned(),
        more => format!("{more} things"),
    };
    format!("{NOTHING} 'antiphon ls --all' shows {hidden} that cannot be read or are not antiphon's.")
}

fn tables(entries: &[Entry], style: Style, is_terminal: bool) -> String {
    let (files, others): (Vec<&Entry>, Vec<&Entry>) = entries.iter().partition(|entry| entry.kind == Kind::BlockFile);
    let (sessions, channels): (Vec<&Entry>, Vec<&Entry>) =
        others.into_iter().partition(|entry| entry.kind == Kind::Session);
    let mut text = String::new();
    if !channels.is_empty() {
        let headings = ["NAME", "STATE", "PUBLISHER", "CONSUMER", "MESSAGES", "BYTES", "SINCE"];
        let longest = channels.iter().map(|entry| entry.name.chars().count()).max().unwrap_or(0);
        let rows = |limit| channels.iter().map(|entry| row(entry, limit)).collect();
        text.push_str(&fitted(&headings, &[2, 3, 4, 5, 6], rows, (longest, 8), style, is_terminal));
    }
    if !sessions.is_empty() {
        text.push_str(if text.is_empty() { "" } else { "\n" });
        let mut table =
            Table::new(&["SESSION", "STATE", "HOST", "CALLER", "CALLS", "FILES", "SINCE"], &[2, 3, 4, 5, 6]);
        sessions.iter().for_each(|entry| table.row(session_row(entry, entries)));
        text.push_str(&table.text(style));
    }
    if !files.is_empty() {
        text.push_str(if text.is_empty() { "" } else { "\n" });
        let headings = ["NAME", "STATE", "WRITERS", "READERS", "BYTES", "SINCE", "FILE"];
        let lens =
            files.iter().filter_map(|entry| Some(entry::file_name(entry.block_file.as_ref()?).chars().count()));
        let longest = lens.max().unwrap_or(0);
        let rows = |limit| files.iter().map(|entry| file_row(entry, limit)).collect();
        text.push_str(&fitted(&headings, &[2, 3, 4, 5], rows, (longest, 6), style, is_terminal));
    }
    text
}

type Row = Vec<(Tone, String)>;

/// A table that fits a terminal: its `rows` have names of at most so many characters, where `lens` are the longest one
/// and what is left of every one.
fn fitted(
    headings: &[&str],
    right: &[usize],
    rows: impl Fn(usize) -> Vec<Row>,
    lens: (usize, usize),
    style: Style,
    is_terminal: bool,
) -> String {
    let with_names_of = |limit| {
        let mut table = Table::new(headings, right);
        rows(limit).into_iter().for_each(|row| table.row(row));
        table
    };
    let whole = with_names_of(usize::MAX);
    let widest = whole.text(Style::plain()).lines().map(|line| line.chars().count()).max().unwrap_or(0);
    if !is_terminal || widest <= style::COLUMNS {
        return whole.text(style);
    }
    let (longest, least) = lens;
    with_names_of(longest.saturating_sub(widest - style::COLUMNS).max(least)).text(style)
}

/// What every row begins with.
fn beginning(entry: &Entry, limit: usize) -> Row {
    let (tone, state) = entry::state(entry.state);
    vec![(Tone::Strong, cut(&style::harmless(&entry.name), limit)), (tone, state.to_owned())]
}

fn age(entry: &Entry) -> (Tone, String) {
    (Tone::Plain, entry::age(entry::since(entry)).map_or(String::new(), style::span))
}

fn row(entry: &Entry, limit: usize) -> Row {
    let mut cells = beginning(entry, limit);
    if let Some(channel) = &entry.channel {
        cells.push(seat(&channel.publisher, channel, End::Publisher));
        cells.push(seat(&channel.consumer, channel, End::Consumer));
        cells.push((Tone::Plain, short(channel.published.messages)));
        cells.push((Tone::Plain, style::bytes(channel.published.bytes)));
        cells.push(age(entry));
    }
    cells
}

fn session_row(entry: &Entry, all: &[Entry]) -> Row {
    let mut cells = beginning(entry, usize::MAX);
    if let Some(channel) = &entry.channel {
        cells.push(who(&channel.consumer));
        cells.push(who(&channel.publisher));
        cells.push((Tone::Plain, short(channel.published.messages)));
        cells.push((Tone::Plain, style::count(entry::files_of(entry.session, all).count() as u64)));
        cells.push(age(entry));
    }
    cells
}

fn file_row(entry: &Entry, limit: usize) -> Row {
    let mut cells = beginning(entry, usize::MAX);
    if let Some(file) = &entry.block_file {
        cells.push(side(file, |handle| handle.writes));
        cells.push(side(file, |handle| handle.reads));
        cells.push((Tone::Plain, style::bytes(file.filled_bytes)));
        cells.push(age(entry));
        cells.push((Tone::Plain, cut(&entry::file_name(file), limit)));
    }
    cells
}

/// Who has a file open for one thing: the process where it is one, else how many.
fn side(file: &BlockFile, is_its: fn(&Handle) -> bool) -> (Tone, String) {
    let sitters = |sitter| file.handles.iter().filter(move |it| is_its(it) && it.seat.sitter == sitter);
    match (sitters(Sitter::Alive).count(), sitters(Sitter::Dead).count()) {
        (0, 0) => (Tone::Faint, "-".to_owned()),
        (0, 1) => (Tone::Warning, "dead".to_owned()),
        (0, more) => (Tone::Warning, format!("{more} dead")),
        (1, _) => {
            let pid = sitters(Sitter::Alive).find_map(|it| it.seat.pid);
            (Tone::Good, pid.map_or("comes".to_owned(), |pid| pid.to_string()))
        }
        (more, _) => (Tone::Good, format!("{more} alive")),
    }
}

fn seat(seat: &Seat, channel: &Channel, end: End) -> (Tone, String) {
    let mark = if channel.turn.end == end { "*" } else { "" };
    let (tone, who) = who(seat);
    (tone, format!("{mark}{who}"))
}

/// Who sits there.
fn who(seat: &Seat) -> (Tone, String) {
    match (seat.sitter, seat.pid) {
        (Sitter::Alive, Some(pid)) => (Tone::Good, pid.to_string()),
        (Sitter::Alive, None) => (Tone::Good, "sits down".to_owned()),
        (Sitter::Dead, _) => (Tone::Warning, "dead".to_owned()),
        (Sitter::Left, _) => (Tone::Faint, "left".to_owned()),
        _ => (Tone::Faint, "-".to_owned()),
    }
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
