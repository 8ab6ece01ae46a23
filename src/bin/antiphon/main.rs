//! The command `antiphon`: by the library's public interface alone.
//!
//! | subcommand | file |
//! |---|---|
//! | `ls` | `ls.rs`: what exists, who holds it, what went through |
//! | `inspect` | `inspect.rs`: everything that is known of one channel or block file |
//! | `clean` | `clean.rs`: what is left over, and removing it |
//! | `session` | `session.rs`: hosts a session |
//! | `put`, `get` | `put.rs`, `get.rs`: files and directories to a session and from it |
//! | `files` | `files.rs`: what there is to get |
//! | `bench` | `bench.rs`: how fast calls and answers are here, beside what this machine can do |
//! | `doctor` | `doctor.rs`: what on this machine is in antiphon's way |
//! | `completions` | `completions.rs`: for bash, zsh and fish |
//! | `man` | `man.rs`: the manual pages |
//!
//! `entry.rs` is what the first three share; `transfer.rs` what `put`, `get` and `files` do. `style.rs` is how all of them look: colours, tables, figures in words.
//!
//! | status | means |
//! |---|---|
//! | 0 | done; nothing is wrong |
//! | 1 | it could not be done, or what was asked about is wrong |
//! | 2 | the arguments mean nothing |
//! | 130 | interrupted |
//!
//! Who reads no further wants no more: a closed pipe is no error.

#![forbid(unsafe_code)]

mod bench;
mod clean;
mod completions;
mod doctor;
mod entry;
mod files;
mod get;
mod inspect;
mod ls;
mod man;
mod put;
mod session;
mod style;
mod transfer;

use clap::Command;
use std::io::Write;
use std::process::ExitCode;

/// The command as people see it.
fn command() -> Command {
    Command::new("antiphon")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Call and answer between two programs on one machine, through shared memory")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(style::argument())
        .subcommands([ls::command(), inspect::command(), clean::command()])
        .subcommands([session::command(), put::command(), get::command(), files::command()])
        .subcommands([bench::command(), doctor::command(), completions::command(), man::command()])
        .after_help(
            "Each subcommand has its own --help, with examples. Colours also follow NO_COLOR,\n\
             CLICOLOR_FORCE, CLICOLOR and TERM.\n\n\
             Examples:\n  \
               antiphon ls                what is there, and who holds it?\n  \
               antiphon clean             what have killed programs left, and why?\n  \
               antiphon put frames.raw    send a file to a session, for 'antiphon get'\n  \
               antiphon doctor            is this machine fit for antiphon?\n  \
               antiphon bench --quick     how fast is it here, beside the machine's limits?\n\n\
             Exit status: 0 done, nothing wrong; 1 it could not be done, or something is\n\
             wrong; 2 wrong arguments; 130 interrupted.",
        )
}

fn main() -> ExitCode {
    antiphon::limits::answer_if_asked();
    // Ends with status 2 and a word on what is wrong.
    let matches = command().subcommands([bench::answer_command(), doctor::answer_command()]).get_matches();
    let done = match matches.subcommand() {
        Some((ls::NAME, matches)) => ls::run(matches),
        Some((inspect::NAME, matches)) => inspect::run(matches),
        Some((clean::NAME, matches)) => clean::run(matches),
        Some((session::NAME, matches)) => session::run(matches).map(|()| ExitCode::SUCCESS),
        Some((put::NAME, matches)) => put::run(matches),
        Some((get::NAME, matches)) => get::run(matches),
        Some((files::NAME, matches)) => files::run(matches).map(|()| ExitCode::SUCCESS),
        Some((bench::NAME, matches)) => bench::run(matches).map(|()| ExitCode::SUCCESS),
        Some((bench::ANSWER, matches)) => bench::answer(matches).map(|()| ExitCode::SUCCESS),
        Some((doctor::NAME, matches)) => doctor::run(matches),
        Some((completions::NAME, matches)) => completions::run(matches, command()).map(|()| ExitCode::SUCCESS),
        Some((man::NAME, matches)) => man::run(matches, command()).map(|()| ExitCode::SUCCESS),
        Some((doctor::ANSWER, matches)) => doctor::answer(matches).map(|()| ExitCode::SUCCESS),
        _ => unreachable!("clap knows no other"),
    };
    match done {
        Ok(status) => status,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {
            tell("interrupted");
            ExitCode::from(130)
        }
        Err(error) => {
            tell(error);
            ExitCode::FAILURE
        }
    }
}

/// Whoever does not listen has the status.
fn tell(what: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "antiphon: {what}");
}
