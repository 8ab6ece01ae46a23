//! What `ls`, `clean` and `inspect` share: an entry of the census in words, in JSON, and found by its name.

use crate::style::{self, Tone};
use antiphon::Error;
use antiphon::census::{self, Block, BlockFile, BlockState, FileEnd};
use antiphon::census::{Channel, Counters, End, Entry, Kind, Seat, Sitter, State};
use serde_json::{Value, json};
use std::error::Error as _;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A state in a word or two, and its colour.
pub fn state(state: State) -> (Tone, &'static str) {
    match state {
        State::InUse => (Tone::Good, "in use"),
        State::Changing => (Tone::Note, "changing"),
        State::Kept => (Tone::Note, "kept"),
        State::LeftOver => (Tone::Warning, "left over"),
        State::Unreadable => (Tone::Faint, "unreadable"),
        State::Foreign => (Tone::Faint, "foreign"),
        _ => (Tone::Plain, "unknown"),
    }
}

pub fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Channel => "channel",
        Kind::Session => "session",
        Kind::BlockFile => "block file",
        Kind::HalfMade => "half-made region",
        Kind::Semaphores => "semaphores without a region",
        Kind::UnnamedSemaphore => "half-made semaphore",
        Kind::RegistryFile => "name in the registry without a region",
        _ => "something else",
    }
}

pub fn sitter(sitter: Sitter) -> &'static str {
    match sitter {
        Sitter::Alive => "alive",
        Sitter::Dead => "dead",
        Sitter::Left => "left",
        _ => "nobody",
    }
}

pub fn end(end: End) -> &'static str {
    match end {
        End::Publisher => "publisher",
        End::Consumer => "consumer",
    }
}

pub fn block(state: BlockState) -> &'static str {
    match state {
        BlockState::Free => "free",
        BlockState::Claimed => "claimed",
        BlockState::Complete => "complete",
        BlockState::Taken => "taken",
        _ => "unknown",
    }
}

/// The name of the file that stands in a block file, as it may be shown anywhere.
pub fn file_name(file: &BlockFile) -> String {
    style::harmless(&file.shown_name())
}

/// How long ago that was; nothing where it is not known, and none where the clock says that it is to come.
pub fn age(time: Option<SystemTime>) -> Option<Duration> {
    time.map(|time| SystemTime::now().duration_since(time).unwrap_or_default())
}

/// Since when it has been held, by whoever holds it longest; or when it was made.
pub fn since(entry: &Entry) -> Option<SystemTime> {
    let alive = entry.seats().filter(|seat| seat.sitter == Sitter::Alive).filter_map(|seat| seat.since).min();
    let made_at = || entry.channel.as_ref().map_or_else(|| entry.block_file.as_ref()?.made_at, |it| it.made_at);
    alive.or_else(made_at)
}

/// Whether it is a region that an antiphon made whole, of whatever version.
pub fn is_antiphons(kind: Kind) -> bool {
    matches!(kind, Kind::Channel | Kind::Session | Kind::BlockFile)
}

/// The block files of a session, out of everything.
pub fn files_of(session: Option<u64>, all: &[Entry]) -> impl Iterator<Item = &Entry> {
    all.iter().filter(move |entry| entry.kind == Kind::BlockFile && entry.session == session)
}

/// Everything of an entry. Keys stay as they are.
pub fn as_json(entry: &Entry) -> Value {
    json!({
        "name": entry.name,
        "system_name": entry.system_name,
        "kind": kind(entry.kind),
        "state": state(entry.state).1,
        "why": entry.why,
        "owner": entry.owner,
        "is_mine": entry.is_mine,
        "bytes": entry.len_bytes,
        // In digits, since a number of 64 bits is none to many who read this.
        "session": entry.session.map(session),
        "channel": entry.channel.as_ref().map(channel_as_json),
        "block_file": entry.block_file.as_ref().map(file_as_json),
    })
}

/// A session's number, as its name has it.
pub fn session(number: u64) -> String {
    format!("{number:016X}")
}

fn seat_as_json(seat: &Seat) -> Value {
    json!({"sitter": sitter(seat.sitter), "pid": seat.pid, "since_unix_ms": millis(seat.since)})
}

fn file_as_json(file: &BlockFile) -> Value {
    let block = |of: &Block| {
        json!({
            "state": block(of.state),
            "owner": of.owner.as_ref().map(seat_as_json),
            "offset": of.offset,
            "bytes": of.len_bytes,
            "is_again": of.is_again,
            "is_adoptable": of.is_adoptable(),
        })
    };
    let handles = file.handles.iter().map(|handle| {
        let mut seat = seat_as_json(&handle.seat);
        (seat["writes"], seat["reads"]) = (handle.writes.into(), handle.reads.into());
        seat
    });
    let (end, reason) = match &file.end {
        FileEnd::Open => ("open", None),
        FileEnd::Ending => ("ending", None),
        FileEnd::Cancelled { reason } => ("cancelled", Some(style::harmless(reason))),
        _ => ("unknown", None),
    };
    json!({
        "session": session(file.id.session),
        "file": file.id.file,
        "name": file_name(file),
        "offset": file.offset,
        "block_bytes": file.block_bytes,
        "maker_pid": file.maker_pid,
        "made_at_unix_ms": millis(file.made_at),
        "handles": handles.collect::<Vec<_>>(),
        "tickets": file.tickets,
        "end": end,
        "reason": reason,
        "blocks": file.blocks.iter().map(block).collect::<Vec<_>>(),
        "filled_bytes": file.filled_bytes,
        "read_bytes": file.read_bytes,
        "furthest": file.furthest,
        "writers_asleep": file.writers_asleep,
        "readers_asleep": file.readers_asleep,
    })
}

fn channel_as_json(channel: &Channel) -> Value {
    let counters = |counters: &Counters| {
        json!({
            "messages": counters.messages,
            "bytes": counters.bytes,
            "replies": counters.replies,
            "reply_bytes": counters.reply_bytes,
            "sleeps": counters.sleeps,
            "waiting_since_unix_ms": millis(counters.waiting_since),
        })
    };
    let turn = &channel.turn;
    json!({
        "capacity": channel.capacity,
        "is_private": channel.is_private,
        "is_persistent": channel.is_persistent,
        "maker_pid": channel.maker_pid,
        "made_at_unix_ms": millis(channel.made_at),
        "publisher": seat_as_json(&channel.publisher),
        "consumer": seat_as_json(&channel.consumer),
        "handles": channel.handles.iter().map(seat_as_json).collect::<Vec<_>>(),
        "turn": {
            "end": end(turn.end),
            "content": turn.content,
            "bytes": turn.len_bytes,
            "is_redelivered": turn.is_redelivered,
            "is_abandoned": turn.is_abandoned,
            "publisher_sleeps": turn.publisher_sleeps,
            "consumer_sleeps": turn.consumer_sleeps,
            "passings": turn.passings,
        },
        "published": counters(&channel.published),
        "consumed": counters(&channel.consumed),
    })
}

fn millis(time: Option<SystemTime>) -> Option<u64> {
    u64::try_from(time?.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}

/// Everything that exists.
pub fn all() -> io::Result<Vec<Entry>> {
    census::take().map_err(|error| {
        let (kind, cause) = (error.kind(), error.source().map_or(error.to_string(), ToString::to_string));
        let way_out = "'antiphon doctor' says what is wrong there";
        io::Error::new(kind, format!("shared memory cannot be listed ({cause}): {way_out}"))
    })
}

/// What has this name: a user's, or one of the system's.
pub fn find(name: &str) -> io::Result<Entry> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    match census::look(name) {
        Ok(entry) => return Ok(entry),
        Err(Error::NotFound { .. } | Error::BadName { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let all = all()?;
    if let Some(entry) = all.iter().find(|entry| entry.system_name == bare) {
        return Ok(entry.clone());
    }
    let near = near(bare, all.iter().filter(|entry| entry.state != State::Foreign).map(|entry| entry.name.as_str()));
    let way_out = match &near[..] {
        [] => "'antiphon ls' shows what there is".to_owned(),
        near => format!("did you mean {}?", near.join(" or ")),
    };
    let name = style::harmless(name);
    Err(io::Error::new(io::ErrorKind::NotFound, format!("nothing has the name '{name}': {way_out}")))
}

/// At most three names that differ little from `wanted`, the nearest first.
fn near<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let len = wanted.chars().count();
    let limit = (len / 3).max(1);
    // What is far longer or shorter is not compared: that takes as long as both lengths multiplied.
    let is_as_long = |name: &&str| name.starts_with(wanted) || name.chars().count().abs_diff(len) <= limit;
    let mut found: Vec<(usize, &str)> = names
        .filter(is_as_long)
        .map(|name| if name.starts_with(wanted) { (0, name) } else { (distance(wanted, name), name) })
        .filter(|(distance, _)| *distance <= limit)
        .collect();
    found.sort_unstable();
    found.into_iter().take(3).map(|(_, name)| format!("'{name}'")).collect()
}

/// How many characters have to be put in, taken out or replaced to make one of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, c) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (to, d) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(c != *d);
            diagonal = row[to + 1];
            row[to + 1] = replaced.min(row[to] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        assert_eq!(distance("frames", "frames"), 0);
        assert_eq!(distance("frams", "frames"), 1);
        assert_eq!(distance("", "abc"), 3);
        let names = ["frames", "frame", "other", "frames-of-the-left-camera"];
        assert_eq!(near("frames", names.into_iter()), ["'frames'", "'frames-of-the-left-camera'", "'frame'"]);
        assert_eq!(near("farmes", names.into_iter()), ["'frames'"]);
        assert!(near("quite-different", names.into_iter()).is_empty());
    }
}
