//! `antiphon inspect NAME`: everything that is known of one thing, in words.

use crate::entry;
use crate::style::{self, Style, Tone};
use antiphon::census::{Channel, Counters, Entry, Seat, Sitter};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::SystemTime;

pub const NAME: &str = "inspect";
/// Where the second column begins.
const INDENT: usize = 14;

pub fn command() -> Command {
    Command::new(NAME)
        .about("Says everything that is known of one channel, in words")
        .after_help(
            "Nobody is disturbed by the look, and it may be stale when you read it.\n\n\
             Examples:\n  \
               antiphon inspect frames         who holds it, whose turn it is, since when\n  \
               antiphon inspect frames --json  the same for programs\n\n\
             Exit status: 0; 1 where nothing has that name.",
        )
        .arg(Arg::new("name").value_name("NAME").required(true).help("A name as 'antiphon ls' shows it"))
        .arg(Arg::new("json").long("json").help("Writes it as JSON").action(ArgAction::SetTrue))
}

pub fn run(matches: &ArgMatches) -> io::Result<ExitCode> {
    let entry = entry::find(matches.get_one::<String>("name").map_or("", String::as_str))?;
    let text = match matches.get_flag("json") {
        true => format!("{:#}\n", entry::as_json(&entry)),
        false => in_words(&entry, Style::of(matches)),
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn in_words(entry: &Entry, style: Style) -> String {
    let (tone, state) = entry::state(entry.state);
    let mine = if entry.is_mine { " (you)" } else { "" };
    let mut lines = vec![
        ("name", Tone::Strong, entry.name.clone()),
        ("kind", Tone::Plain, entry::kind(entry.kind).to_owned()),
        ("state", tone, format!("{state}: {}", entry.why)),
        ("system name", Tone::Plain, format!("/{}", entry.system_name)),
        ("owner", Tone::Plain, format!("user {}{mine}", entry.owner)),
        ("size", Tone::Plain, style::bytes(entry.len_bytes)),
    ];
    lines.extend(entry.channel.iter().flat_map(channel));
    let mut text = String::new();
    for (label, tone, words) in lines {
        let wrapped = style::wrapped(&style::harmless(&words), INDENT);
        let label = format!("{label:<INDENT$}");
        let words: Vec<String> = wrapped.trim_start().lines().map(|line| style.paint(tone, line)).collect();
        text.push_str(&format!("{}{}\n", style.paint(Tone::Faint, &label), words.join("\n")));
    }
    text
}

fn channel(channel: &Channel) -> Vec<(&'static str, Tone, String)> {
    let plain = |label, words| (label, Tone::Plain, words);
    let kind = match (channel.is_private, channel.is_persistent) {
        (true, _) => "private: its names go as soon as both ends are attached",
        (_, true) => "persistent: its names stay, whoever leaves",
        _ => "public: its names go when the last one leaves, unless a message waits",
    };
    let turn = &channel.turn;
    let mut what = format!("the {}'s; there stands {}", entry::end(turn.end), turn.content);
    if turn.len_bytes > 0 && turn.content != "nothing" {
        what.push_str(&format!(" of {}", some(turn.len_bytes, "byte", "bytes")));
    }
    for (is_so, words) in [
        (turn.is_redelivered, ", which a consumer had before"),
        (turn.is_abandoned, ", for which nobody waits any more"),
        (turn.publisher_sleeps, "; the publisher sleeps"),
        (turn.consumer_sleeps, "; the consumer sleeps"),
    ] {
        what.push_str(if is_so { words } else { "" });
    }
    let mut lines = vec![
        plain("names", kind.to_owned()),
        plain("capacity", style::bytes(channel.capacity)),
        plain("made", format!("{}by process {}", ago(channel.made_at), channel.maker_pid)),
        seat("publisher", &channel.publisher),
        seat("consumer", &channel.consumer),
    ];
    lines.extend(channel.handles.iter().map(|handle| seat("open", handle)));
    lines.push(plain("turn", what));
    lines.push(plain("passed", format!("{} times", style::count(turn.passings))));
    lines.push(plain("published", counters(&channel.published, "received")));
    lines.push(plain("consumed", counters(&channel.consumed, "given")));
    lines
}

fn seat(label: &'static str, seat: &Seat) -> (&'static str, Tone, String) {
    let pid = seat.pid.map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}"));
    let since = entry::age(seat.since).map_or(String::new(), |age| format!(", for {}", style::span(age)));
    match seat.sitter {
        Sitter::Alive => (label, Tone::Good, format!("{pid}{since}")),
        Sitter::Dead => (label, Tone::Warning, format!("{pid}, which is dead; it came {}", ago(seat.since))),
        Sitter::Left => (label, Tone::Faint, format!("nobody; {pid} was the last one, and left in order")),
        _ => (label, Tone::Faint, "nobody so far".to_owned()),
    }
}

/// `5 min ago `, with a space behind; nothing where it is not known.
fn ago(time: Option<SystemTime>) -> String {
    entry::age(time).map_or(String::new(), |age| format!("{} ago ", style::span(age)))
}

fn counters(counters: &Counters, verb: &str) -> String {
    let mut words = format!(
        "{} of {} in all, {} {verb} of {}; slept {}",
        some(counters.messages, "message", "messages"),
        style::bytes(counters.bytes),
        some(counters.replies, "reply", "replies"),
        style::bytes(counters.reply_bytes),
        some(counters.sleeps, "time", "times"),
    );
    if let Some(age) = entry::age(counters.waiting_since) {
        words.push_str(&format!("; waiting for {}", style::span(age)));
    }
    words
}

fn some(count: u64, one: &str, more: &str) -> String {
    format!("{} {}", style::count(count), if count == 1 { one } else { more })
}
