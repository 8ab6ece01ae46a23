//! `antiphon doctor` on this machine, and in surroundings that are made worse for it.

use crate::snapshot::assert_snapshot;
use crate::support::{PATIENCE, Watchdog};
use crate::{run, text};
use antiphon::machine::{SYSTEM, System};
use serde_json::Value;
use std::process::{Command, Output};

const LEVELS: [&str; 4] = ["ok", "note", "warning", "problem"];

/// The lines that begin with a level, without what depends on the machine: level and figure.
fn topics(said: &str) -> String {
    let is_first = |line: &&str| LEVELS.iter().any(|level| line.starts_with(&format!("{level} ")));
    // The level has nine columns, the topic eighteen.
    said.lines().filter(is_first).map(|line| format!("{}\n", line[9..27].trim_end())).collect()
}

#[test]
fn doctor_says_a_word_on_everything() {
    let _watchdog = Watchdog::new("doctor", PATIENCE);
    let output = run(&["doctor"]);
    let said = text(&output.stdout);
    assert_eq!(text(&output.stderr), "");
    let wide: Vec<_> = said.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
    let name = match SYSTEM {
        System::Linux => "doctor-linux",
        System::Darwin => "doctor-darwin",
        System::FreeBsd => {
            println!("NOT RUN doctor_says_a_word_on_everything: there are no channels here");
            return;
        }
    };
    assert_snapshot(name, &topics(&said));
    assert!(said.contains("\nok       trial              told of a death after "), "{said}");
}

#[test]
fn doctor_tells_programs_the_same() {
    let _watchdog = Watchdog::new("doctor --json", PATIENCE);
    let output = run(&["doctor", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let levels: Vec<usize> =
        findings.iter().map(|finding| LEVELS.iter().position(|level| finding["level"] == *level).unwrap()).collect();
    let worst = *levels.iter().max().unwrap();
    assert_eq!(report["worst"], LEVELS[worst]);
    assert_eq!(output.status.code(), Some(i32::from(LEVELS[worst] == "problem")));
    for finding in findings {
        for key in ["topic", "figure", "meaning", "advice"] {
            assert!(finding[key].is_string(), "{key}: {finding}");
        }
        let commands = finding["commands"].as_array().unwrap();
        assert!(commands.is_empty() || finding["advice"] != "", "commands without a word: {finding}");
    }
    let listed: String = findings.iter().map(|finding| format!("{}\n", finding["topic"].as_str().unwrap())).collect();
    assert_eq!(listed, topics(&text(&run(&["doctor"]).stdout)));
}

/// Runs it behind `script`, which ends in `exec "$@"`.
fn behind(script: &str) -> Output {
    Command::new("sh").args(["-c", script, "sh", env!("CARGO_BIN_EXE_antiphon"), "doctor"]).output().unwrap()
}

/// In a /dev/shm of its own, mounted so. `None`, printed, where that cannot be had.
fn in_a_shm(test: &str, options: &str) -> Option<Output> {
    if SYSTEM == System::Darwin {
        println!("NOT RUN {test}: shared memory is no file system here");
        return None;
    }
    let mount = format!("mount -t tmpfs -o {options} tmpfs /dev/shm");
    let can = Command::new("unshare").args(["-m", "sh", "-c", &mount]).output();
    if !can.is_ok_and(|done| done.status.success()) {
        println!("NOT RUN {test}: no mount namespace can be had");
        return None;
    }
    let script = format!("{mount} && exec \"$0\" doctor");
    Some(Command::new("unshare").args(["-m", "sh", "-c", &script, env!("CARGO_BIN_EXE_antiphon")]).output().unwrap())
}

#[test]
fn doctor_warns_of_a_container_s_shm_and_says_how_to_enlarge_it() {
    let _watchdog = Watchdog::new("doctor in 64 MB", PATIENCE);
    let Some(output) = in_a_shm("doctor_warns_of_a_container_s_shm", "size=64m") else { return };
    let said = text(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains("\nwarning  /dev/shm           64 MiB free of 64 MiB\n"), "{said}");
    assert!(said.contains("\n             docker run --shm-size=1g ...\n"), "{said}");
    assert!(said.contains("\nok       trial "), "{said}");
}

#[test]
fn doctor_names_what_keeps_channels_from_being_made_and_fails() {
    let _watchdog = Watchdog::new("doctor where nothing works", PATIENCE);
    let test = "doctor_names_what_keeps_channels_from_being_made_and_fails";
    let Some(full) = in_a_shm(test, "size=1m") else { return };
    assert_eq!(full.status.code(), Some(1), "{full:?}");
    let said = text(&full.stdout);
    assert!(said.contains("\nproblem  /dev/shm           1 MiB free of 1 MiB\n"), "{said}");
    assert!(said.contains("\nproblem  trial              failed\n         no space for channel "), "{said}");
    assert!(said.lines().last().unwrap().starts_with("2 problems"), "{said}");

    let read_only = in_a_shm(test, "ro,size=64m").unwrap();
    let said = text(&read_only.stdout);
    assert_eq!(read_only.status.code(), Some(1), "{said}");
    assert!(said.contains("\nproblem  its mount          tmpfs, ro\n"), "{said}");
    assert!(said.contains("mount -o remount,rw /dev/shm"), "{said}");

    let no_files = in_a_shm(test, "size=1g,nr_inodes=3").unwrap();
    let said = text(&no_files.stdout);
    assert_eq!(no_files.status.code(), Some(1), "{said}");
    assert!(said.contains("a channel has three"), "{said}");
}

#[test]
fn doctor_survives_the_limits_that_it_tells_of() {
    let _watchdog = Watchdog::new("doctor with limits", PATIENCE);
    if SYSTEM == System::Linux {
        let output = behind("ulimit -f 100; exec \"$@\"");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = text(&output.stdout);
        assert!(said.contains("\nproblem  length of a file "), "{said}");
        assert!(said.contains("SIGXFSZ") && said.contains("ulimit -f unlimited"), "{said}");
    } else {
        println!(
            "NOT RUN the file's part of doctor_survives_the_limits_that_it_tells_of: shared memory is no file here"
        );
    }
    let output = behind("ulimit -n 20; exec \"$@\"");
    let said = text(&output.stdout);
    assert!(said.contains("\nwarning  descriptors        20 a process\n"), "{output:?}");
    assert!(said.contains("ulimit -n 4096"), "{said}");
}
