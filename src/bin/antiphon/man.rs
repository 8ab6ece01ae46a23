//! `antiphon man`: the manual pages, made of the same words as `--help`.
//!
//! What stands behind the options of a `--help` comes in blocks with an empty line between them: one that begins with
//! `Examples` and one that begins with `Exit status:` get sections of their own, and the others describe.

use crate::style;
use clap::{Arg, ArgMatches, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::io::{self, Write};
use std::path::PathBuf;

pub const NAME: &str = "man";

pub fn command() -> Command {
    Command::new(NAME)
        .about("Writes the manual pages")
        .after_help(
            "Without --into the first page goes to standard output; it names the others.\n\n\
             Examples:\n  \
               antiphon man | man -l -                            read it\n  \
               antiphon man --into ~/.local/share/man/man1        man antiphon-doctor",
        )
        .arg(
            Arg::new("into")
                .long("into")
                .value_name("DIR")
                .help("Writes all pages into the directory DIR")
                .value_parser(clap::value_parser!(PathBuf)),
        )
}

/// For `command`, as people see it.
pub fn run(matches: &ArgMatches, command: Command) -> io::Result<()> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let Some(folder) = matches.get_one::<PathBuf>("into") else {
        return io::stdout().lock().write_all(&page(&command)?);
    };
    std::fs::create_dir_all(folder).map_err(|error| style::not_written(folder, &error))?;
    for command in std::iter::once(&command).chain(command.get_subcommands()) {
        let path = folder.join(format!("{}.1", name(command)));
        std::fs::write(&path, page(command)?).map_err(|error| style::not_written(&path, &error))?;
    }
    Ok(())
}

fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone());
    let behind = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (mut examples, mut status) = (None, None);
    let mut text = Vec::new();
    // Not by `render_title`, which leaves out a date that is not given, and then moves up what stands behind it.
    writeln!(text, ".TH {} 1 \"\" \"antiphon {}\"", name(command).to_uppercase(), env!("CARGO_PKG_VERSION"))?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    let mut more = Roff::new();
    for block in behind.split("\n\n") {
        if block.starts_with("Examples") {
            examples = block.split_once('\n').map(|(_, lines)| lines);
        } else if let Some(words) = block.strip_prefix("Exit status: ") {
            status = Some(words);
        } else {
            more.control("PP", []).text([roman(block.replace('\n', " "))]);
        }
    }
    more.to_writer(&mut text)?;
    man.render_options_section(&mut text)?;
    let mut more = Roff::new();
    if command.get_subcommands().next().is_some() {
        more.control("SH", ["SUBCOMMANDS"]);
        for one in command.get_subcommands() {
            let about = one.get_about().map(ToString::to_string).unwrap_or_default();
            more.control("TP", []).text([bold(name(one)), roman("(1)")]).text([roman(about)]);
        }
    }
    if let Some(lines) = examples {
        more.control("SH", ["EXAMPLES"]).control("nf", []);
        for line in lines.lines() {
            more.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
        }
        more.control("fi", []);
    }
    if let Some(words) = status {
        more.control("SH", ["EXIT STATUS"]).text([roman(words.replace('\n', " "))]);
    }
    if command.get_name() != "antiphon" {
        more.control("SH", ["SEE ALSO"]).text([bold("antiphon"), roman("(1)")]);
    }
    more.to_writer(&mut text)?;
    Ok(text)
}
