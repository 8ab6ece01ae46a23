//! `antiphon inspect NAME`: everything that is known of one thing, in words.

use crate::entry;
use crate::style::{self, Style, Tone};
use antiphon::census::{Block, BlockFile, BlockState, Channel, Counters, End, Entry, FileEnd};
use antiphon::census::{Handle, Kind, Seat, Sitter};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::SystemTime;

pub const NAME: &str = "inspect";
/// Where the second column begins.
const INDENT: usize = 14;
/// How many blocks stand in a line of the strip, and how many beside each other.
const BLOCKS_A_LINE: usize = 32;
const BLOCKS_A_GROUP: usize = 8;

pub fn command() -> Command {
    Command::new(NAME)
        .about("Says all that is known of one thing, in words")
        .after_help(
            "The blocks of a block file are drawn as a strip, a character for each, with its\n\
             legend below. Nobody is disturbed by the look, and it may be stale when you read\n\
             it.\n\n\
             Examples:\n  \
               antiphon inspect frames         who holds it, whose turn it is, since when\n  \
               antiphon inspect frames --json  the same for programs\n  \
               antiphon inspect 000000000A571F08-00000007\n\n\
             Exit status: 0; 1 where nothing has that name.",
        )
        .arg(Arg::new("name").value_name("NAME").required(true).help("A name as 'antiphon ls' shows it"))
        .arg(Arg::new("json").long("json").help("Writes it as JSON").action(ArgAction::SetTrue))
}

pub fn run(matches: &ArgMatches) -> io::Result<ExitCode> {
    let entry = entry::find(matches.get_one::<String>("name").map_or("", String::as_str))?;
    let text = match matches.get_flag("json") {
        true => format!("{:#}\n", entry::as_json(&entry)),
        false => {
            let all = if entry.kind == Kind::Session { entry::all()? } else { Vec::new() };
            in_words(&entry, &all, Style::of(matches))
        }
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// `all` has the block files of a session.
fn in_words(entry: &Entry, all: &[Entry], style: Style) -> String {
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
    let ends = if entry.kind == Kind::Session { &OF_SESSION } else { &OF_CHANNEL };
    lines.extend(entry.channel.iter().flat_map(|it| channel(it, ends)));
    let mut text: String = lines.into_iter().map(|(label, tone, words)| line(label, tone, &words, style)).collect();
    for entry in entry::files_of(entry.session, all) {
        let name = entry.block_file.as_ref().map_or(String::new(), |file| format!(" '{}'", entry::file_name(file)));
        let (tone, state) = entry::state(entry.state);
        text.push_str(&line("file", tone, &format!("{}{name}: {state}", entry.name), style));
    }
    if let Some(file) = &entry.block_file {
        text.push_str(&block_file(file, style));
    }
    text
}

fn line(label: &str, tone: Tone, words: &str, style: Style) -> String {
    let wrapped = style::wrapped(&style::harmless(words), INDENT);
    let words: Vec<String> = wrapped.trim_start().lines().map(|line| style.paint(tone, line)).collect();
    format!("{}{}\n", faint(label, style), words.join("\n"))
}

fn faint(label: &str, style: Style) -> String {
    style.paint(Tone::Faint, &format!("{label:<INDENT$}"))
}

fn block_file(file: &BlockFile, style: Style) -> String {
    // As it is: a name's spaces are the name's.
    let mut text = format!("{}{}\n", faint("file", style), style.paint(Tone::Strong, &entry::file_name(file)));
    let mut say = |label: &str, tone, words: String| text.push_str(&line(label, tone, &words, style));
    say("session", Tone::Plain, format!("{:016X}, file {}", file.id.session, file.id.file));
    say("begins", Tone::Plain, format!("at byte {} of the file", style::count(file.offset)));
    let blocks = some(file.blocks.len() as u64, "block", "blocks");
    say("room", Tone::Plain, format!("{blocks} of {}", style::bytes(file.block_bytes)));
    say("made", Tone::Plain, format!("{}by process {}", ago(file.made_at), file.maker_pid));
    for Handle { seat: of, writes, reads, .. } in &file.handles {
        let label = match (writes, reads) {
            (true, true) => "both",
            (true, false) => "writer",
            (false, true) => "reader",
            (false, false) => "open",
        };
        let (label, tone, words) = seat(label, of);
        say(label, tone, words);
    }
    let up_to = file.tickets.saturating_mul(file.block_bytes).saturating_add(file.offset);
    let ranges = some(file.tickets, "range", "ranges");
    say("given out", Tone::Plain, format!("{ranges}, up to byte {}", style::count(up_to)));
    let (tone, end) = match &file.end {
        FileEnd::Open => (Tone::Plain, "open: more may come".to_owned()),
        FileEnd::Ending => (Tone::Plain, "ending: no more is given out".to_owned()),
        FileEnd::Cancelled { reason } => (Tone::Problem, format!("cancelled: {reason}")),
        _ => (Tone::Plain, "unknown".to_owned()),
    };
    say("end", tone, end);
    let furthest = format!("; the furthest byte is {}", style::count(file.furthest.saturating_sub(1)));
    let furthest = if file.furthest == 0 { "" } else { &furthest };
    say("completed", Tone::Plain, format!("{}{furthest}", style::bytes(file.filled_bytes)));
    say("read", Tone::Plain, style::bytes(file.read_bytes));
    let [writers, readers] = [file.writers_asleep, file.readers_asleep];
    let asleep = format!("{}, {}", some(writers, "writer", "writers"), some(readers, "reader", "readers"));
    say("asleep", Tone::Plain, asleep);
    text.push_str(&strip(file, style));
    for (number, block) in file.blocks.iter().enumerate() {
        if let Some(words) = held(block) {
            let tone = if block.is_adoptable() { Tone::Warning } else { Tone::Plain };
            text.push_str(&line(&format!("block {number}"), tone, &words, style));
        }
    }
    text
}

/// How a block shows in the strip, and what that means.
const LEGEND: [(char, Tone, &str); 7] = [
    ('.', Tone::Faint, "free"),
    ('w', Tone::Note, "being filled"),
    ('W', Tone::Warning, "for the next writer: its own is gone, or let go of it"),
    ('#', Tone::Good, "complete, for the next reader"),
    ('r', Tone::Note, "being read"),
    ('R', Tone::Warning, "for the next reader, again: its own is gone"),
    ('?', Tone::Plain, "unknown"),
];

fn sign(block: &Block) -> usize {
    match (block.state, block.is_adoptable()) {
        (BlockState::Free, _) => 0,
        (BlockState::Claimed, is_adoptable) => 1 + usize::from(is_adoptable),
        (BlockState::Complete, _) => 3,
        (BlockState::Taken, is_adoptable) => 4 + usize::from(is_adoptable),
        _ => 6,
    }
}

fn strip(file: &BlockFile, style: Style) -> String {
    let blank = " ".repeat(INDENT);
    let mut text = String::new();
    for (at, block) in file.blocks.iter().enumerate() {
        let before = match at {
            0 => faint("blocks", style),
            _ if at % BLOCKS_A_LINE == 0 => format!("\n{blank}"),
            _ if at % BLOCKS_A_GROUP == 0 => " ".to_owned(),
            _ => String::new(),
        };
        let (sign, tone, _) = LEGEND[sign(block)];
        text.push_str(&format!("{before}{}", style.paint(tone, &sign.to_string())));
    }
    text.push('\n');
    for (kind, (letter, tone, meaning)) in LEGEND.iter().enumerate() {
        let its = file.blocks.iter().filter(|block| sign(block) == kind);
        let (count, bytes) =
            its.fold((0, 0), |(count, bytes): (u64, u64), block| (count + 1, bytes.saturating_add(block.len_bytes)));
        if count > 0 {
            let of = if bytes > 0 { format!("; {}", style::bytes(bytes)) } else { String::new() };
            let letter = style.paint(*tone, &letter.to_string());
            let words = style::wrapped(&format!("{} {meaning}{of}", style::count(count)), INDENT + 2);
            text.push_str(&format!("{blank}{letter} {}", words.trim_start()));
        }
    }
    text
}

/// Whose a block is, where it is somebody's, in words.
fn held(block: &Block) -> Option<String> {
    let is_writers = match block.state {
        BlockState::Claimed => true,
        BlockState::Taken => false,
        _ => return None,
    };
    let (fills, filled) = if is_writers { ("fills", "was to fill") } else { ("reads", "was reading") };
    let mut words = match &block.owner {
        None => "nobody's: its writer let go of it".to_owned(),
        Some(seat) => {
            let pid = seat.pid.map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}"));
            match seat.sitter {
                Sitter::Alive => format!("{pid} {fills} it"),
                Sitter::Left => format!("{pid}, which has left, {filled} it"),
                _ => format!("{pid}, which is dead, {filled} it"),
            }
        }
    };
    match block.offset {
        Some(offset) if is_writers => words.push_str(&format!("; from byte {} on", style::count(offset))),
        Some(offset) => {
            let bytes = some(block.len_bytes, "byte", "bytes");
            words.push_str(&format!("; {bytes} from byte {} on", style::count(offset)));
        }
        None => words.push_str("; no range is assigned to it yet"),
    }
    words.push_str(if block.is_again { "; somebody had it before" } else { "" });
    Some(words)
}

/// What the two ends are called, and what they have done.
struct Ends {
    ends: [&'static str; 2],
    did: [&'static str; 2],
}

const OF_CHANNEL: Ends = Ends { ends: ["publisher", "consumer"], did: ["published", "consumed"] };
const OF_SESSION: Ends = Ends { ends: ["caller", "host"], did: ["asked", "answered"] };

fn channel(channel: &Channel, Ends { ends: [first, second], did }: &Ends) -> Vec<(&'static str, Tone, String)> {
    let plain = |label, words| (label, Tone::Plain, words);
    let kind = match (channel.is_private, channel.is_persistent) {
        (true, _) => "private: its names go as soon as both ends are attached",
        (_, true) => "persistent: its names stay, whoever leaves",
        _ => "public: its names go when the last one leaves, unless a message waits",
    };
    let turn = &channel.turn;
    let whose = if turn.end == End::Publisher { first } else { second };
    let mut what = format!("the {whose}'s; there stands {}", turn.content);
    if turn.len_bytes > 0 && turn.content != "nothing" {
        what.push_str(&format!(" of {}", some(turn.len_bytes, "byte", "bytes")));
    }
    for (is_so, words) in [
        (turn.is_redelivered, format!(", which a {second} had before")),
        (turn.is_abandoned, ", for which nobody waits any more".to_owned()),
        (turn.publisher_sleeps, format!("; the {first} sleeps")),
        (turn.consumer_sleeps, format!("; the {second} sleeps")),
    ] {
        what.push_str(if is_so { &words } else { "" });
    }
    let mut lines = vec![
        plain("names", kind.to_owned()),
        plain("capacity", style::bytes(channel.capacity)),
        plain("made", format!("{}by process {}", ago(channel.made_at), channel.maker_pid)),
        seat(first, &channel.publisher),
        seat(second, &channel.consumer),
    ];
    lines.extend(channel.handles.iter().map(|handle| seat("open", handle)));
    lines.push(plain("turn", what));
    lines.push(plain("passed", format!("{} times", style::count(turn.passings))));
    lines.push(plain(did[0], counters(&channel.published, "received")));
    lines.push(plain(did[1], counters(&channel.consumed, "given")));
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
