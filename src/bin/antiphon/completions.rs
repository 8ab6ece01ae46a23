//! `antiphon completions`: has a shell complete the command.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command};
use clap_complete::Shell;
use std::io::{self, Write};

pub const NAME: &str = "completions";

pub fn command() -> Command {
    Command::new(NAME)
        .about("Writes what has a shell complete this command")
        .after_help(
            "Examples, each to be done once:\n  \
               antiphon completions bash >~/.local/share/bash-completion/completions/antiphon\n  \
               antiphon completions zsh >~/.zfunc/_antiphon   # fpath+=~/.zfunc in ~/.zshrc\n  \
               antiphon completions fish >~/.config/fish/completions/antiphon.fish",
        )
        .arg(
            Arg::new("shell")
                .required(true)
                .value_name("SHELL")
                .help("Which shell: bash, zsh or fish")
                .hide_possible_values(true)
                .value_parser(PossibleValuesParser::new(["bash", "zsh", "fish"])),
        )
}

/// For `command`, as people see it.
pub fn run(matches: &ArgMatches, mut command: Command) -> io::Result<()> {
    let shell = match matches.get_one::<String>("shell").map(String::as_str) {
        Some("zsh") => Shell::Zsh,
        Some("fish") => Shell::Fish,
        _ => Shell::Bash,
    };
    // Written in one piece: the generator takes a closed pipe for a fault of its own.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "antiphon", &mut script);
    io::stdout().lock().write_all(&script)
}
