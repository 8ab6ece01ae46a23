//! The examples run, say what their pages say, and leave nothing behind.
mod support;

use std::path::PathBuf;
use std::process::{Command, Output};
use support::Watchdog;

/// `cargo test` builds the examples beside the tests.
fn run(example: &str, args: &[&str]) -> Output {
    let tests = std::env::current_exe().unwrap();
    let built: PathBuf = tests.parent().unwrap().parent().unwrap().join("examples").join(example);
    let output = Command::new(&built).args(args).output();
    output.unwrap_or_else(|error| panic!("{}: {error}; run all of cargo test", built.display()))
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn left_behind(stem: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/dev/shm") else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.trim_start_matches("sem.").starts_with(stem)).collect()
}

#[test]
fn call_and_answer_calls_and_is_answered() {
    let _watchdog = Watchdog::new("call_and_answer", support::PATIENCE);
    let said = text(&run("call_and_answer", &[]));
    assert!(said.contains("answer  IS ANYONE THERE?"), "{said}");
    assert!(said.contains("100000 calls"), "{said}");
    assert!(said.contains("and the next call says so"), "{said}");
    assert!(left_behind("call-").is_empty());
}

#[test]
fn worker_replaced_loses_no_job() {
    let _watchdog = Watchdog::new("worker_replaced", support::PATIENCE);
    let said = text(&run("worker_replaced", &[]));
    for job in 1..=10 {
        let done = said.lines().filter(|line| line.split("  ").nth(1) == Some(&format!("job {job}")));
        // The fourth is begun twice, the second time marked; every other one once.
        assert_eq!(done.count(), if job == 4 { 2 } else { 1 }, "{said}");
    }
    assert_eq!(said.matches("begun before").count(), 1, "{said}");
    assert!(said.contains("is dead, starting another"), "{said}");
    assert!(left_behind("jobs-").is_empty());
}

#[test]
fn send_file_sends_every_byte() {
    let _watchdog = Watchdog::new("send_file", support::PATIENCE);
    let folder = std::env::temp_dir().join(support::unique("send"));
    std::fs::create_dir(&folder).unwrap();
    let (from, to) = (folder.join("from"), folder.join("to"));
    for len in [0, 1, (4 << 20) - 1, 4 << 20, 20_000_001] {
        let bytes = support::pattern(1, len);
        std::fs::write(&from, &bytes).unwrap();
        text(&run("send_file", &[from.to_str().unwrap(), to.to_str().unwrap()]));
        assert!(std::fs::read(&to).unwrap() == bytes, "{len} bytes");
    }
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(left_behind("file-").is_empty());
}

#[test]
fn examples_refuse_arguments_that_they_do_not_know() {
    for example in ["call_and_answer", "worker_replaced", "send_file"] {
        let output = run(example, &["what"]);
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains("usage: "), "{output:?}");
    }
}
