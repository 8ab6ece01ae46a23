//! Programs that need no peer; the examples; what the library exports.

use crate::support::{Numbers, USUAL, Watchdog, all, compile, home, is_there, prefix, run, unique, ways};
#[cfg(target_os = "linux")]
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn the_contract_is_kept_however_it_is_compiled() {
    let _watchdog = Watchdog::new("contract");
    for way in ways() {
        run(&mut Command::new(compile("contract", way)));
    }
}

#[test]
fn late_access_faults_at_the_very_byte() {
    let _watchdog = Watchdog::new("late");
    // A sanitizer has a handler of its own, and would say that what is done here is wrong: it is.
    for way in ways().into_iter().filter(|way| way.more.is_empty()) {
        run(&mut Command::new(compile("late", way)));
    }
}

#[test]
fn under_valgrind_there_is_no_error_and_no_leak() {
    if !all() || !is_there("valgrind") {
        println!("NOT RUN: valgrind, which is for ANTIPHON_C=all, and has to be there");
        return;
    }
    let _watchdog = Watchdog::new("valgrind");
    let mut command = Command::new("valgrind");
    command.args(["--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite,possible"]);
    let done = run(command.arg("--show-leak-kinds=definite,possible").arg(compile("contract", USUAL)));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(!said.contains("definitely lost"), "{said}");
}

#[test]
fn the_static_library_does_as_well() {
    let _watchdog = Watchdog::new("static");
    let lib = prefix().join("lib");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("static");
    let folder = lib.join("pkgconfig");
    let asked = Command::new("pkg-config")
        .args(["--static", "--libs", "--cflags", "antiphon"])
        .env("PKG_CONFIG_PATH", folder)
        .output();
    let flags = String::from_utf8(asked.unwrap().stdout).unwrap();
    let flags = flags.split_whitespace().map(|flag| match flag {
        "-lantiphon" => lib.join("libantiphon.a").display().to_string(),
        flag => flag.to_owned(),
    });
    let mut command = Command::new("cc");
    command.args(["-std=c99", "-pthread"]).arg(home().join("tests/c/contract.c")).arg("-o").arg(&program).args(flags);
    run(&mut command);
    run(&mut Command::new(&program));
}

#[cfg(target_os = "linux")]
#[test]
fn the_library_exports_what_the_header_declares_and_nothing_else() {
    let header = std::fs::read_to_string(prefix().join("include/antiphon.h")).unwrap();
    let code: String = header.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let names = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        words.filter(|word| word.starts_with("antiphon_") || word.starts_with("shmem_")).map(str::to_owned).collect()
    };
    // A function's name stands before its bracket.
    let declared: BTreeSet<String> = code
        .split('(')
        .filter_map(|before| before.rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next())
        .flat_map(|word| names(word).into_iter())
        .collect();
    let done = run(Command::new("nm").args(["-D", "--defined-only"]).arg(prefix().join("lib/libantiphon.so")));
    let table = String::from_utf8(done.stdout).unwrap();
    let exported: BTreeSet<String> =
        table.lines().filter_map(|line| line.split_whitespace().nth(2)).map(str::to_owned).collect();
    assert_eq!(declared, exported);
    assert!(declared.contains("shmem_block_claim") && declared.len() > 50, "{declared:?}");

    let done = run(Command::new("readelf").arg("-d").arg(prefix().join("lib/libantiphon.so")));
    assert!(String::from_utf8_lossy(&done.stdout).contains("soname: [libantiphon.so.0]"));
}

/// The examples, built by their own Makefile.
fn examples() -> std::path::PathBuf {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples");
    std::fs::create_dir_all(&out).unwrap();
    let mut command = Command::new("make");
    command.arg("--silent").arg("-C").arg(home().join("examples")).arg(format!("OUT={}", out.display()));
    command.arg("CFLAGS=-O2 -std=c99 -Wall -Wextra -Wpedantic -Werror");
    run(command.env("PKG_CONFIG_PATH", prefix().join("lib/pkgconfig")));
    out
}

#[test]
fn the_examples_do_what_they_say() {
    let _watchdog = Watchdog::new("examples");
    let (out, name) = (examples(), unique("example"));
    let mut answerer = Command::new(out.join("answerer")).arg(&name).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(answerer.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let done = run(Command::new(out.join("caller")).args([&name, "hello", "", "world"]));
    assert_eq!(String::from_utf8_lossy(&done.stdout), "olleh\n\ndlrow\n");
    assert!(answerer.wait().unwrap().success());

    let mut numbers = Numbers(7);
    let data: Vec<u8> = (0..(20 << 20) + 77).map(|_| numbers.next() as u8).collect();
    for receiver in ["receiver", "receiver.py"] {
        let to = out.join(format!("{}-{receiver}", unique("received")));
        let mut sender = Command::new(out.join("sender"));
        let sender = sender.arg("data").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut sender = sender.spawn().unwrap();
        let mut session = String::new();
        let (mut stdin, mut stdout) = (sender.stdin.take().unwrap(), sender.stdout.take().unwrap());
        let mut byte = [0];
        while stdout.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            session.push(char::from(byte[0]));
        }
        let writes = std::thread::spawn({
            let data = data.clone();
            move || stdin.write_all(&data).unwrap()
        });
        let mut command = match receiver {
            "receiver" => Command::new(out.join("receiver")),
            _ => {
                let mut python = Command::new("python3");
                python.arg(home().join("examples/receiver.py"));
                python
            }
        };
        run(command.args([&session, "data"]).arg(&to).env("PKG_CONFIG_PATH", prefix().join("lib/pkgconfig")));
        writes.join().unwrap();
        assert!(sender.wait().unwrap().success());
        assert!(std::fs::read(&to).unwrap() == data, "{receiver}: other bytes came");
        std::fs::remove_file(&to).unwrap();
    }
}
