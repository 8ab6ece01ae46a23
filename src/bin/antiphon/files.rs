//! `antiphon files`: which files a session has.

use crate::style::{self, Style, Table, Tone};
use crate::transfer;
use antiphon::engine::{About, Kind};
use antiphon::session::Entry;
use clap::{ArgMatches, Command};
use serde_json::json;
use std::io::{self, Write};

pub const NAME: &str = "files";

pub fn command() -> Command {
    Command::new(NAME)
        .about("Lists the files of a session that can be received")
        .after_help(
            "KIND is what 'antiphon put' has sent: a file, a stream of standard input, a\n\
             directory; or another program's. SIZE is known of files alone, holes and all.\n\
             'antiphon inspect BLOCK-FILE' tells how one stands.\n\n\
             Examples:\n  \
               antiphon files                    what is there to get?\n  \
               antiphon files --json | jq .      for programs\n\n\
             Exit status: 0, also where there is nothing; 1 nobody hosts the session.",
        )
        .arg(transfer::timeout_argument("How long to wait for a session; else 10"))
        .args([transfer::session_argument(), transfer::json_argument()])
}

fn kind(about: Option<About>) -> &'static str {
    match about.map(|about| about.kind) {
        Some(Kind::File) => "file",
        Some(Kind::Stream) => "stream",
        Some(Kind::Tree) => "directory",
        _ => "other",
    }
}

pub fn run(matches: &ArgMatches) -> io::Result<()> {
    let session = transfer::connect(matches, transfer::timeout(matches))?;
    let entries: Vec<Entry> = session.files()?;
    let mut out = io::stdout().lock();
    if matches.get_flag("json") {
        for entry in &entries {
            let about = About::of_note(&entry.note);
            let parts: Vec<_> =
                entry.parts.iter().map(|part| json!({"id": part.id.to_string(), "offset": part.offset})).collect();
            let name = String::from_utf8_lossy(&entry.name);
            let len = about.and_then(|about| about.len);
            writeln!(
                out,
                "{}",
                json!({"name": name, "kind": kind(about), "len": len, "readers": entry.readers, "parts": parts})
            )?;
        }
        return Ok(());
    }
    if entries.is_empty() {
        return writeln!(out, "There is no file in session {:016X}.", session.id());
    }
    let mut table = Table::new(&["NAME", "KIND", "SIZE", "READERS", "BLOCK FILE"], &[2, 3]);
    for entry in &entries {
        let about = About::of_note(&entry.note);
        let len = about.and_then(|about| about.len).map_or_else(|| "-".to_owned(), style::bytes);
        let id = entry.parts.first().map_or_else(String::new, |part| part.id.to_string());
        let name = style::harmless(&String::from_utf8_lossy(&entry.name));
        table.row([
            (Tone::Strong, name),
            (Tone::Plain, kind(about).to_owned()),
            (Tone::Plain, len),
            (Tone::Plain, entry.readers.to_string()),
            (Tone::Faint, id),
        ]);
    }
    out.write_all(table.text(Style::of(matches)).as_bytes())
}
