//! `antiphon session`: hosts a session, by which `put` and `get` and other programs find each other's files.

use crate::transfer::id_of;
use antiphon::session::SessionOptions;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::io::{self, Write};
use std::sync::mpsc::channel;

pub const NAME: &str = "session";

pub fn command() -> Command {
    Command::new(NAME)
        .about("Hosts a session: files that programs hand each other by name")
        .after_help(
            "Writes its id on a line of its own and runs until it is interrupted. It is not\n\
             in the middle: bytes go from writers to readers. Killed, it may be started again\n\
             with the same id, and knows the same files.\n\n\
             Examples:\n  \
               antiphon session --api                       8 blocks of 1 MiB for each file\n  \
               antiphon session --api --blocksize 4M        for few and long files\n  \
               antiphon session --session 00000000000000AB  under an id of one's own\n\n\
             Exit status: 0 it was interrupted; 1 it could not be hosted.",
        )
        .arg(
            Arg::new("api")
                .long("api")
                .help("Answers whoever asks for files: a session always does")
                .action(ArgAction::SetTrue),
        )
        .arg(
            Arg::new("blocksize")
                .long("blocksize")
                .value_name("N")
                .help("How long a block is: 4K to 64M; 1M unless given")
                .default_value("1M")
                .hide_default_value(true)
                .value_parser(bytes_of),
        )
        .arg(
            Arg::new("blocks")
                .long("blocks")
                .value_name("N")
                .help("How many blocks a file has, 1 to 256; else 8")
                .default_value("8")
                .hide_default_value(true)
                .value_parser(clap::value_parser!(usize)),
        )
        .arg(
            Arg::new("session")
                .long("session")
                .short('s')
                .value_name("ID")
                .help("Its id, up to 16 hexadecimal digits; else drawn")
                .value_parser(id_of),
        )
}

/// `4096`, `64K`, `1M`, `1G`.
pub fn bytes_of(text: &str) -> Result<usize, String> {
    let (digits, factor) = match text.to_ascii_uppercase().strip_suffix('B').unwrap_or(&text.to_ascii_uppercase()) {
        text if text.ends_with('K') => (text.trim_end_matches('K').to_owned(), 1 << 10),
        text if text.ends_with('M') => (text.trim_end_matches('M').to_owned(), 1 << 20),
        text if text.ends_with('G') => (text.trim_end_matches('G').to_owned(), 1 << 30),
        text => (text.to_owned(), 1_usize),
    };
    let number = digits.parse::<usize>().ok().and_then(|number| number.checked_mul(factor));
    number.ok_or_else(|| "a number of bytes, such as 65536, 64K or 1M".to_owned())
}

pub fn run(matches: &ArgMatches) -> io::Result<()> {
    let mut options = SessionOptions::new();
    if let Some(bytes) = matches.get_one("blocksize") {
        options = options.block_bytes(*bytes);
    }
    if let Some(blocks) = matches.get_one("blocks") {
        options = options.blocks(*blocks);
    }
    if let Some(id) = matches.get_one("session") {
        options = options.id(*id);
    }
    // Before there is anything that an interruption could leave.
    let (send, interrupted) = channel();
    ctrlc::set_handler(move || send.send(()).unwrap_or_default()).map_err(io::Error::other)?;
    let host = options.host()?;
    let mut out = io::stdout().lock();
    writeln!(out, "{:016X}", host.id())?;
    out.flush()?;
    let _ = interrupted.recv();
    Ok(())
}
