//! What all subcommands have in common: help, wrong arguments, colours, statuses, completions, manual pages.

use crate::snapshot::assert_snapshot;
use crate::support::{PATIENCE, Watchdog};
use crate::{Scratch, antiphon, run, text};
use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Command, Stdio};

/// As `--help` lists them.
fn subcommands() -> Vec<String> {
    let help = text(&run(&["--help"]).stdout);
    let list = help.split("\nCommands:\n").nth(1).unwrap().split("\n\n").next().unwrap().to_owned();
    let names = list.lines().map(|line| line.split_whitespace().next().unwrap().to_owned());
    names.filter(|name| name != "help").collect()
}

#[test]
fn help_is_as_it_was_read_and_fits_a_terminal() {
    let _watchdog = Watchdog::new("help", PATIENCE);
    for subcommand in std::iter::once(String::new()).chain(subcommands()) {
        let mut args: Vec<&str> = vec![&subcommand, "--help"];
        args.retain(|word| !word.is_empty());
        let output = run(&args);
        assert!(output.status.success(), "{output:?}");
        let help = text(&output.stdout);
        let wide: Vec<_> = help.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{subcommand}: {wide:#?}");
        assert!(help.contains("\nExamples"), "{subcommand} has no examples");
        assert!(!help.contains("internal"), "that is not for people: {help}");
        assert_snapshot(format!("help-{subcommand}").trim_end_matches('-'), &help);
    }
}

#[test]
fn wrong_arguments_are_answered_as_they_were_read() {
    let _watchdog = Watchdog::new("wrong arguments", PATIENCE);
    let cases: [(&str, &[&[&str]]); 12] = [
        ("", &[&[], &["bnech"], &["--colour", "blue"], &["--quick"]]),
        (
            "bench",
            &[
                &["--quik"],
                &["--quick", "--full"],
                &["--json"],
                &["--cpus", "1"],
                &["--cpus", "1,1"],
                &["what"],
                &["--json", "-", "--svg", "-"],
                &["--svg", "/nowhere/file"],
            ],
        ),
        ("ls", &[&["what"], &["--al"]]),
        ("inspect", &[&[], &["nobody-made-this-name"], &["two", "names"], &["a b"], &["--json"]]),
        ("clean", &[&["--ye"], &["--all"], &["nobody-made-this-name"], &["--yes", "a b"]]),
        ("doctor", &[&["--jsno"], &["what"], &["--color", "blue"], &["--color"]]),
        ("session", &[&["what"], &["--blocksize", "1X"], &["--blocks", "0"], &["--session", "xyz"]]),
        ("put", &[&[], &["a", "b", "--name", "c"], &["a/x", "b/x"], &["/"], &["x", "--timeout", "soon"]]),
        ("get", &[&[], &["x", "--into", "/nowhere"], &["x", "--json", "--quiet"], &["x", "--session", ""]]),
        ("files", &[&["what"], &["--session", "0123456789ABCDEF0"], &["--session", "BAD5E55", "--timeout", "0"]]),
        ("completions", &[&[], &["tcsh"], &["bash", "zsh"]]),
        ("man", &[&["--in"], &["doctor"], &["--into"], &["--into", "/dev/null/pages"]]),
    ];
    for (subcommand, wrong) in cases {
        let mut said = String::new();
        for words in wrong {
            let args: Vec<&str> =
                [subcommand].iter().filter(|word| !word.is_empty()).chain(*words).copied().collect();
            let output = run(&args);
            assert_eq!(text(&output.stdout), "", "{args:?}");
            let status = output.status.code().unwrap();
            assert!(status == 1 || status == 2, "{args:?}: {status}");
            let line = [&["antiphon"], &args[..]].concat().join(" ");
            said.push_str(&format!("$ {line}\n{}status {status}\n\n", text(&output.stderr)));
        }
        assert_snapshot(format!("wrong-{subcommand}").trim_end_matches('-'), &said);
    }
}

/// Runs it with its output on a terminal.
pub fn on_terminal(args: &[&str], environment: &[(&str, &str)]) -> String {
    let (mut ours, mut theirs) = (-1, -1);
    let none = std::ptr::null_mut();
    // SAFETY: two places for descriptors; nothing else is asked for.
    let made = unsafe { libc::openpty(&raw mut ours, &raw mut theirs, none, none.cast(), none.cast()) };
    assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
    let [ours, theirs] = [ours, theirs].map(|end| {
        // SAFETY: just opened, and nobody else's.
        unsafe { OwnedFd::from_raw_fd(end) }
    });
    let mut child = plain(args).envs(environment.iter().copied()).stdout(theirs).spawn().unwrap();
    let mut said = Vec::new();
    // Ended by an error when nobody has the other end any more.
    let _ = File::from(ours).read_to_end(&mut said);
    assert!(child.wait().unwrap().code().is_some());
    text(&said)
}

/// With nothing in the environment that says anything about colours.
pub fn plain(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
    for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TERM"] {
        command.env_remove(variable);
    }
    command.args(args).stdin(Stdio::null());
    command
}

#[test]
fn colours_are_for_terminals_and_for_who_asks() {
    let _watchdog = Watchdog::new("colours", PATIENCE * 2);
    let is_coloured = |text: &str| text.contains('\x1b');
    let term = ("TERM", "xterm-256color");
    assert!(is_coloured(&on_terminal(&["doctor"], &[term])));
    assert!(!is_coloured(&on_terminal(&["doctor"], &[("TERM", "dumb")])));
    assert!(!is_coloured(&on_terminal(&["doctor"], &[term, ("NO_COLOR", "1")])));
    assert!(!is_coloured(&on_terminal(&["doctor", "--color", "never"], &[term])));
    let piped = |args: &[&str], environment: &[(&str, &str)]| {
        text(&plain(args).envs(environment.iter().copied()).output().unwrap().stdout)
    };
    assert!(!is_coloured(&piped(&["doctor"], &[term])));
    assert!(is_coloured(&piped(&["doctor"], &[("CLICOLOR_FORCE", "1")])));
    assert!(is_coloured(&piped(&["--color=always", "doctor"], &[("NO_COLOR", "1")])), "who asks has the last word");
    assert!(!is_coloured(&piped(&["doctor", "--json", "--color", "always"], &[])), "that is for programs");
}

#[test]
fn who_stops_reading_is_no_error_to_any_subcommand() {
    let _watchdog = Watchdog::new("closed pipes", PATIENCE);
    for args in [&["--help"][..], &["doctor"], &["doctor", "--json"], &["completions", "bash"], &["man"]] {
        let mut child = antiphon(args);
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(text(&output.stderr), "", "{args:?}");
        assert!(output.status.success(), "{args:?}: {output:?}");
    }
}

#[test]
fn shells_complete_every_subcommand() {
    let _watchdog = Watchdog::new("completions", PATIENCE);
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&run(&["completions", shell]).stdout);
        for subcommand in subcommands() {
            assert!(script.contains(&subcommand), "{shell}: {subcommand}");
        }
        assert!(!script.contains("internal"), "{shell}: that is not for people");
    }
    let script = text(&run(&["completions", "bash"]).stdout);
    let asked = format!(
        "{script}\nCOMP_WORDS=(antiphon doc)\nCOMP_CWORD=1\n_antiphon antiphon doc antiphon\necho \"$COMPREPLY\""
    );
    match Command::new("bash").args(["-c", &asked]).output() {
        Ok(output) => assert_eq!(text(&output.stdout), "doctor\n", "{output:?}"),
        Err(error) => println!("NOT RUN the bash part of shells_complete_every_subcommand: {error}"),
    }
}

#[test]
fn every_subcommand_has_a_manual_page() {
    let _watchdog = Watchdog::new("manual pages", PATIENCE);
    let scratch = Scratch::new("man");
    let folder = scratch.file("share/man1");
    let output = run(&["man", "--into", &folder]);
    assert!(output.status.success() && output.stderr.is_empty() && output.stdout.is_empty(), "{output:?}");
    let page = |name: &str| std::fs::read_to_string(format!("{folder}/{name}.1")).unwrap();
    let first = page("antiphon");
    assert_eq!(text(&run(&["man"]).stdout), first);
    for subcommand in subcommands() {
        let page = page(&format!("antiphon-{subcommand}"));
        for section in [".SH NAME\n", ".SH SYNOPSIS\n", ".SH OPTIONS\n", ".SH EXAMPLES\n", ".SH \"SEE ALSO\"\n"] {
            assert!(page.contains(section), "{subcommand} has no {section}");
        }
        assert!(first.contains(&format!("antiphon\\-{subcommand}")), "{subcommand} is not on the first page");
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), subcommands().len() + 1);
    match Command::new("groff").args(["-ww", "-man", "-Tutf8", &format!("{folder}/antiphon-doctor.1")]).output() {
        Ok(output) => assert_eq!(text(&output.stderr), "", "what groff says"),
        Err(error) => println!("NOT RUN the groff part of every_subcommand_has_a_manual_page: {error}"),
    }
}
