//! `antiphon put`: sends files, directories and standard input to a session.

use crate::transfer::{self, Report};
use antiphon::engine::Posix;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;

pub const NAME: &str = "put";

pub fn command() -> Command {
    Command::new(NAME)
        .about("Sends files, directories or standard input to a session")
        .after_help(
            "Each comes under the last part of its path; a directory is one file of the\n\
             session, with all that is in it. What does not fit into a file's blocks waits\n\
             for who gets it: the first time as long as it takes, and for another one where\n\
             that one died or left no longer than --timeout says. A file that changes\n\
             meanwhile is an error at both ends.\n\n\
             Examples:\n  \
               antiphon put frames.raw                     then: antiphon get frames.raw\n  \
               antiphon put photographs --name 2024        a directory under another name\n  \
               tar c dir | antiphon put - --name dir.tar   standard input\n\n\
             Exit status: 0 all of it stands in the session, or was received; 1 some of it\n\
             does not; 2 wrong arguments.",
        )
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .required(true)
                .num_args(1..)
                .help("What to send; - is standard input")
                .value_parser(clap::value_parser!(PathBuf)),
        )
        .arg(Arg::new("name").long("name").value_name("NAME").help("The name in the session, of one FILE"))
        .arg(
            Arg::new("replace")
                .long("replace")
                .help("Cancels what has its name there and nobody got")
                .action(ArgAction::SetTrue),
        )
        .arg(transfer::direct_argument("Reads files past the page cache, where that goes"))
        .arg(transfer::timeout_argument("How long to wait for who is not there; else 10"))
        .args([transfer::session_argument(), transfer::json_argument(), transfer::quiet_argument()])
}

pub fn run(matches: &ArgMatches) -> io::Result<ExitCode> {
    let paths: Vec<&PathBuf> = matches.get_many("file").into_iter().flatten().collect();
    let name = matches.get_one::<String>("name");
    if name.is_some() && paths.len() > 1 {
        return Err(io::Error::other("--name is the name of one file: put the others by commands of their own"));
    }
    let mut names: Vec<Vec<u8>> = Vec::new();
    for path in &paths {
        let own = match path.file_name() {
            Some(name) => name.as_bytes().to_vec(),
            // `.`, `..` and `/` have a name all the same, but for the last.
            None => path.canonicalize()?.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default(),
        };
        let own = name.map_or(own, |name| name.clone().into_bytes());
        if own.is_empty() {
            return Err(io::Error::other(format!("{} has no name: give it one with --name", path.display())));
        }
        if names.contains(&own) {
            let own = String::from_utf8_lossy(&own);
            return Err(io::Error::other(format!(
                "two files have the name {own:?}: give one of them another with --name"
            )));
        }
        names.push(own);
    }
    let timeout = transfer::timeout(matches);
    let session = transfer::connect(matches, timeout)?;
    let posix =
        Posix::new().patience(timeout).direct(matches.get_flag("direct")).replace(matches.get_flag("replace"));
    let mut report = Report::new("put", matches, false);
    for (path, name) in paths.into_iter().zip(&names) {
        report.file(name, |watch| match path.as_os_str().as_bytes() {
            b"-" => posix.watch(watch).send_stream(&session, io::stdin(), name),
            _ => posix.watch(watch).send(&session, path, name),
        })?;
    }
    Ok(report.status())
}
