//! `antiphon get`: receives files from a session into a directory, or to standard output.

use crate::transfer::{self, Report};
use antiphon::engine::{Folder, Posix};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;

pub const NAME: &str = "get";

pub fn command() -> Command {
    Command::new(NAME)
        .about("Receives files from a session")
        .after_help(
            "A file has its name when all of it is there, and not before. Nothing is written\n\
             but below the directory: no absolute name, no '..', through no symlink, to no\n\
             device. What a get that was killed has left, the next one into the same\n\
             directory goes on with, or removes.\n\n\
             Examples:\n  \
               antiphon get frames.raw                     into the directory where one is\n  \
               antiphon get 2024 --into /data --keep       with its modes and times\n  \
               antiphon get dir.tar --into - | tar x       to standard output\n\n\
             Exit status: 0 all of it is there; 1 some of it is not; 2 wrong arguments.",
        )
        .arg(
            Arg::new("name")
                .value_name("NAME")
                .required(true)
                .num_args(1..)
                .help("Which files, as 'antiphon files' lists them")
                .value_parser(clap::value_parser!(OsString)),
        )
        .arg(
            Arg::new("into")
                .long("into")
                .value_name("DIR")
                .help("Below which directory; else here; - is stdout")
                .default_value(".")
                .hide_default_value(true)
                .value_parser(clap::value_parser!(PathBuf)),
        )
        .arg(
            Arg::new("keep")
                .long("keep")
                .short('p')
                .help("Keeps modes, but for the set-id bits, and times")
                .action(ArgAction::SetTrue),
        )
        .arg(transfer::direct_argument("Writes files past the page cache, where that goes"))
        .arg(transfer::timeout_argument("How long to wait for each file; 10 unless given"))
        .args([transfer::session_argument(), transfer::json_argument(), transfer::quiet_argument()])
}

pub fn run(matches: &ArgMatches) -> io::Result<ExitCode> {
    let names: Vec<&OsString> = matches.get_many("name").into_iter().flatten().collect();
    let into = matches.get_one::<PathBuf>("into").cloned().unwrap_or_default();
    let is_out = into.as_os_str() == "-";
    let folder = if is_out { None } else { Some(Folder::open(&into)?) };
    let timeout = transfer::timeout(matches);
    let session = transfer::connect(matches, timeout)?;
    let posix = Posix::new().patience(timeout).direct(matches.get_flag("direct")).keep(matches.get_flag("keep"));
    let mut report = Report::new("got", matches, is_out);
    for name in names {
        let name = name.as_bytes();
        report.file(name, |watch| match &folder {
            Some(folder) => posix.watch(watch).receive(&session, name, folder),
            None => posix.watch(watch).receive_stream(&session, name, io::stdout()),
        })?;
    }
    Ok(report.status())
}
