//! The command `antiphon`: by the library's public interface alone.
//!
//! | subcommand | file |
//! |---|---|
//! | `bench` | `bench.rs`: how fast calls and answers are here, beside what this machine can do |

#![forbid(unsafe_code)]

mod bench;

use clap::Command;
use std::process::ExitCode;

fn command() -> Command {
    Command::new("antiphon")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Call and answer between two programs on one machine, through shared memory")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(bench::command())
        .subcommand(bench::answer_command())
}

fn main() -> ExitCode {
    antiphon::limits::answer_if_asked();
    let matches = command().get_matches(); // Ends with status 2 and a word on what is wrong.
    let done = match matches.subcommand() {
        Some((bench::NAME, matches)) => bench::run(matches),
        Some((bench::ANSWER, matches)) => bench::answer(matches),
        _ => unreachable!("clap knows no other"),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads no further wants no more: `antiphon bench | head`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {
            eprintln!("antiphon: interrupted");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("antiphon: {error}");
            ExitCode::FAILURE
        }
    }
}
