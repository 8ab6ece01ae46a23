//! What `put`, `get` and `files` share: which session, how one sees what goes on, and what is said of each file.

use crate::style::{self, Style, Tone};
use antiphon::census::{self, Kind, Sitter, State};
use antiphon::engine::Moved;
use antiphon::session::Session;
use clap::{Arg, ArgAction, ArgMatches};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The session that is meant where none is named.
const VARIABLE: &str = "ANTIPHON_SESSION";

pub fn session_argument() -> Arg {
    Arg::new("session")
        .long("session")
        .short('s')
        .value_name("ID")
        .help("Which one; else ANTIPHON_SESSION, else the only one")
        .value_parser(id_of)
}

pub fn timeout_argument(help: &'static str) -> Arg {
    Arg::new("timeout")
        .long("timeout")
        .value_name("SECS")
        .help(help)
        .default_value("10")
        .hide_default_value(true)
        .value_parser(seconds_of)
}

pub fn direct_argument(help: &'static str) -> Arg {
    Arg::new("direct").long("direct").help(help).action(ArgAction::SetTrue)
}

pub fn json_argument() -> Arg {
    Arg::new("json").long("json").help("Writes a line of JSON for each file").action(ArgAction::SetTrue)
}

pub fn quiet_argument() -> Arg {
    Arg::new("quiet")
        .long("quiet")
        .short('q')
        .help("Says nothing but what went wrong")
        .action(ArgAction::SetTrue)
        .conflicts_with("json")
}

/// A session's id as it is printed: up to sixteen hexadecimal digits.
pub fn id_of(text: &str) -> Result<u64, String> {
    let is_number = (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| is_number).ok_or_else(|| "1 to 16 hexadecimal digits".to_owned())
}

fn seconds_of(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "a number of seconds".to_owned())
}

pub fn timeout(matches: &ArgMatches) -> Duration {
    matches.get_one("timeout").copied().unwrap_or(Duration::from_secs(10))
}

/// Connects to the session that is meant, and waits for it where it was named.
pub fn connect(matches: &ArgMatches, timeout: Duration) -> io::Result<Session> {
    let named = match matches.get_one::<u64>("session") {
        Some(id) => Some(*id),
        None => match std::env::var(VARIABLE) {
            Ok(id) => {
                Some(id_of(&id).map_err(|wanted| io::Error::other(format!("{VARIABLE} is no session: {wanted}")))?)
            }
            Err(_) => None,
        },
    };
    let id = match named {
        Some(id) => id,
        None => only_one()?,
    };
    Ok(Session::connect_timeout(id, timeout)?.patience(timeout))
}

fn only_one() -> io::Result<u64> {
    let is_hosted = |entry: &census::Entry| {
        let host = entry.channel.as_ref().is_some_and(|channel| channel.consumer.sitter == Sitter::Alive);
        entry.kind == Kind::Session && entry.state == State::InUse && host
    };
    let hosted: Vec<u64> =
        census::take()?.iter().filter(|entry| is_hosted(entry)).filter_map(|entry| entry.session).collect();
    match hosted[..] {
        [id] => Ok(id),
        [] => Err(io::Error::other("no session is hosted: start one with 'antiphon session'")),
        _ => {
            let ids: Vec<String> = hosted.iter().map(|id| format!("{id:016X}")).collect();
            Err(io::Error::other(format!(
                "there is more than one session: name one with --session: {}",
                ids.join(", ")
            )))
        }
    }
}

/// What is said of the files of one run, and whether all went well.
pub struct Report {
    verb: &'static str,
    is_json: bool,
    is_quiet: bool,
    /// Standard output is the file's.
    is_out_taken: bool,
    style: Style,
    has_failed: bool,
}

impl Report {
    pub fn new(verb: &'static str, matches: &ArgMatches, is_out_taken: bool) -> Self {
        let (is_json, is_quiet) = (matches.get_flag("json"), matches.get_flag("quiet"));
        Report { verb, is_json, is_quiet, is_out_taken, style: Style::of(matches), has_failed: false }
    }

    /// Moves one file, and tells how that goes and how it went.
    pub fn file(
        &mut self,
        name: &[u8],
        work: impl FnOnce(&(dyn Fn(&Moved) + Sync)) -> Result<Moved, antiphon::Error>,
    ) -> io::Result<()> {
        let shown = style::harmless(&String::from_utf8_lossy(name));
        let has_bar = !self.is_json && !self.is_quiet && io::stderr().is_terminal();
        let (began, bar) = (Instant::now(), OnceLock::new());
        let watch = |moved: &Moved| {
            if has_bar {
                let bar: &ProgressBar = bar.get_or_init(|| new_bar(&shown, moved.len));
                bar.set_position(moved.bytes);
            }
        };
        let done = work(&watch);
        if let Some(bar) = bar.get() {
            bar.finish_and_clear();
        }
        let took = began.elapsed();
        self.has_failed |= done.as_ref().map_or(true, |moved| !moved.left_out.is_empty());
        match done {
            Ok(moved) if self.is_json => {
                let left_out: Vec<String> = moved.left_out.iter().map(|path| path.display().to_string()).collect();
                let (bytes, len, files) = (moved.bytes, moved.len, moved.files);
                self.line(
                    &json!({
                        "name": shown, "bytes": bytes, "len": len, "files": files, "left_out": left_out,
                        "seconds": took.as_secs_f64(),
                    })
                    .to_string(),
                )
            }
            Ok(moved) => {
                for path in &moved.left_out {
                    crate::tell(format!(
                        "{} was left out: it is no file, no directory and no symlink",
                        path.display()
                    ));
                }
                let line = format!("{} {shown}: {}", self.verb, in_words(&moved, took));
                if self.is_quiet { Ok(()) } else { self.line(&line) }
            }
            Err(error) if self.is_json => self.line(&json!({"name": shown, "error": error.to_string()}).to_string()),
            Err(error) => {
                let text = format!("{}: {error}", self.style.paint(Tone::Strong, &shown));
                crate::tell(text);
                Ok(())
            }
        }
    }

    fn line(&self, line: &str) -> io::Result<()> {
        match self.is_out_taken {
            true => writeln!(io::stderr(), "{line}"),
            false => writeln!(io::stdout().lock(), "{line}"),
        }
    }

    pub fn status(&self) -> ExitCode {
        if self.has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

fn new_bar(name: &str, len: Option<u64>) -> ProgressBar {
    let (bar, template) = match len {
        Some(len) => {
            (ProgressBar::new(len), "{msg} {bar:20} {percent:>3} % {bytes} {binary_bytes_per_sec}, {eta} left")
        }
        None => (ProgressBar::new_spinner(), "{msg} {spinner} {bytes} {binary_bytes_per_sec}, {elapsed}"),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(name.to_owned());
    bar
}

fn in_words(moved: &Moved, took: Duration) -> String {
    let rate = moved.bytes as f64 / took.as_secs_f64().max(1e-9);
    let files = if moved.files > 0 {
        format!("{} file{}, ", style::count(moved.files), if moved.files == 1 { "" } else { "s" })
    } else {
        String::new()
    };
    let holes = match moved.len {
        Some(len) if len > moved.bytes => format!(" and {} of holes", style::bytes(len - moved.bytes)),
        _ => String::new(),
    };
    format!("{files}{}{holes} in {}, {}/s", style::bytes(moved.bytes), style::span(took), style::bytes(rate as u64))
}
