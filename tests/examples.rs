//! The examples run, say what their pages say, and leave nothing behind.
mod support;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use support::{Watchdog, assert_nothing_left};

/// `cargo test` builds the examples beside the tests. Whatever the example does, it leaves none of its names, which end in
/// its pid and begin with `names`.
fn run(example: &str, args: &[&str], names: &str) -> Output {
    let mut stem = String::new();
    let output = run_and(example, args, |pid| stem = format!("{names}-{pid}"));
    assert_nothing_left(&stem);
    output
}

fn run_and(example: &str, args: &[&str], tell: impl FnOnce(u32)) -> Output {
    let tests = std::env::current_exe().unwrap();
    let built: PathBuf = tests.parent().unwrap().parent().unwrap().join("examples").join(example);
    let child = Command::new(&built).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.unwrap_or_else(|error| panic!("{}: {error}; run all of cargo test", built.display()));
    tell(child.id());
    child.wait_with_output().unwrap()
}

/// The same of an example whose block file is the first of a session that has its pid for its id.
fn run_with_blocks(example: &str) -> Output {
    let mut pid = 0;
    let output = run_and(example, &[], |child| pid = child);
    assert_nothing_left(&format!("{pid:016X}-00000001"));
    output
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn call_and_answer_calls_and_is_answered() {
    let _watchdog = Watchdog::new("call_and_answer", support::PATIENCE);
    let said = text(&run("call_and_answer", &[], "call"));
    assert!(said.contains("answer  IS ANYONE THERE?"), "{said}");
    assert!(said.contains("100000 calls"), "{said}");
    assert!(said.contains("and the next call says so"), "{said}");
}

#[test]
fn worker_restarted_loses_no_job_and_does_none_twice() {
    let _watchdog = Watchdog::new("worker_restarted", support::PATIENCE);
    let said = text(&run("worker_restarted", &[], "jobs"));
    for job in 1..=10 {
        let had = said.lines().filter(|line| line.split("  ").nth(1) == Some(&format!("job {job}")));
        // The seventh comes to two workers, and only the first of them does it.
        assert_eq!(had.count(), if job == 7 { 2 } else { 1 }, "{said}");
    }
    assert!(said.contains("worker 2  job 4  (begun before, and not done)"), "{said}");
    assert!(said.contains("worker 3  job 7  (begun before, and done)"), "{said}");
    assert_eq!(said.matches("starting another").count(), 2, "{said}");
    assert!(said.contains("10 jobs, 10 done, 3 workers"), "{said}");
}

#[test]
fn many_callers_are_served_and_leave_nothing_whoever_is_killed() {
    let _watchdog = Watchdog::new("many_callers", support::PATIENCE);
    let said = text(&run("many_callers", &[], "desk"));
    let private: Vec<&str> = said.lines().filter_map(|line| line.split(" was given ").nth(1)).collect();
    assert_eq!(private.len(), 6, "{said}");
    private.into_iter().for_each(assert_nothing_left);
    assert_eq!(said.matches("signal: 9").count(), 2, "{said}");
    assert!(said.contains("4 callers have left after 40000 calls, 2 were killed"), "{said}");
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
        text(&run("send_file", &[from.to_str().unwrap(), to.to_str().unwrap()], "file"));
        assert!(std::fs::read(&to).unwrap() == bytes, "{len} bytes");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn send_file_leaves_nothing_where_the_file_cannot_be_written() {
    let _watchdog = Watchdog::new("send_file", support::PATIENCE);
    let from = std::env::temp_dir().join(support::unique("from"));
    std::fs::write(&from, support::pattern(1, 10 << 20)).unwrap();
    let output = run("send_file", &[from.to_str().unwrap(), "/nowhere/to"], "file");
    std::fs::remove_file(&from).unwrap();
    assert!(!output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/to: "), "{output:?}");
}

#[test]
fn send_file_touches_nothing_where_it_has_no_file_to_send() {
    let _watchdog = Watchdog::new("send_file", support::PATIENCE);
    let file = std::env::temp_dir().join(support::unique("kept"));
    std::fs::write(&file, b"kept").unwrap();
    let path = file.to_str().unwrap();
    for (from, says) in [("/nowhere/from", "send_file: /nowhere/from: "), (path, "cannot be sent to itself")] {
        let output = run("send_file", &[from, path], "file");
        assert!(!output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(says), "{output:?}");
        assert_eq!(std::fs::read(&file).unwrap(), b"kept", "{from}");
    }
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn work_pool_loses_no_job_though_a_worker_is_killed() {
    let _watchdog = Watchdog::new("work_pool", support::PATIENCE);
    let said = text(&run_with_blocks("work_pool"));
    assert!(said.contains("is killed over job 10"), "{said}");
    assert_eq!(said.matches("does job 10 again").count(), 1, "{said}");
    assert!(said.contains("500 jobs, 500 done, 500 rightly; 3 of 4 workers have ended well"), "{said}");
}

#[test]
fn sparse_writers_write_one_file_and_its_hole() {
    let _watchdog = Watchdog::new("sparse_writers", support::PATIENCE);
    let said = text(&run_and("sparse_writers", &[], drop));
    let session = said.lines().find_map(|line| line.strip_prefix("session ")).unwrap();
    let left: Vec<_> = support::names_in_shm().into_iter().filter(|name| name.contains(session)).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_nothing_left(session);
    assert!(said.contains("writer  5000001 bytes from 0 on"), "{said}");
    assert!(said.contains("writer  5000001 bytes from 1073741824 on"), "{said}");
    assert!(said.contains("file    1078741825 bytes, all right"), "{said}");
}

#[test]
fn hand_over_hands_every_frame_over_in_place() {
    let _watchdog = Watchdog::new("hand_over", support::PATIENCE);
    let said = text(&run_with_blocks("hand_over"));
    assert!(said.contains("100 frames, all whole and in order: 122880000 bytes"), "{said}");
}

#[test]
fn examples_refuse_arguments_that_they_do_not_know() {
    let examples = [
        ("call_and_answer", "call"),
        ("many_callers", "desk"),
        ("worker_restarted", "jobs"),
        ("send_file", "file"),
        ("work_pool", "none"),
        ("sparse_writers", "none"),
        ("hand_over", "none"),
    ];
    for (example, names) in examples {
        let output = run(example, &["what"], names);
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains(&format!("{example}: usage: ")), "{output:?}");
    }
}
