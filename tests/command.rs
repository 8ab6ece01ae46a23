//! The command, as its users run it: here `bench`.
//!
//! `command/frame.rs` what all subcommands have in common. `command/census.rs` what exists, and what
//! is left over. `command/doctor.rs` the doctor. `command/snapshot.rs` what
//! is said, word for word, and how that is written anew. `command/block_file.rs` block files.
//! `command/transfer.rs` files to a session and from it.
mod support;

#[path = "command/block_file.rs"]
mod block_file;
#[path = "command/census.rs"]
mod census;
#[path = "command/doctor.rs"]
mod doctor;
#[path = "command/frame.rs"]
mod frame;
#[path = "command/snapshot.rs"]
mod snapshot;
#[path = "command/transfer.rs"]
mod transfer;

use std::collections::BTreeSet;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard};
use support::{Watchdog, unique};

/// Two measurements at once would spin on each other's processors.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn antiphon(args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn run(args: &[&str]) -> Output {
    let child = antiphon(args);
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert_left_nothing(pid);
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What stands in shared memory under the names of a process that measures.
fn names(pid: u32) -> Vec<String> {
    let stem = format!("bench-{pid}");
    let is_its = |name: &String| name.trim_start_matches("sem.").starts_with(&stem);
    support::names_in_shm().into_iter().filter(is_its).collect()
}

fn assert_left_nothing(pid: u32) {
    assert_eq!(names(pid), Vec::<String>::new());
    let found = antiphon::Channel::open(&format!("bench-{pid}"));
    assert!(matches!(found, Err(antiphon::Error::NotFound { .. })), "{found:?}");
    // Nor a channel whose name was drawn by lot.
    let all = antiphon::census::take().unwrap();
    let its: Vec<_> = all.iter().filter(|it| it.channel.as_ref().is_some_and(|c| c.maker_pid == pid)).collect();
    assert!(its.is_empty(), "{its:#?}");
}

/// The processes that `pid` started and that live.
fn children(pid: u32) -> BTreeSet<u32> {
    let listed = Command::new("ps").args(["-A", "-o", "pid=,ppid=,stat="]).output();
    let Ok(listed) = listed else { return children_by_proc(pid) };
    let of_line = |line: &str| {
        let mut words = line.split_whitespace();
        let (child, parent) = (words.next()?.parse().ok()?, words.next()?.parse::<u32>().ok()?);
        (parent == pid && !words.next()?.starts_with('Z')).then_some(child)
    };
    text(&listed.stdout).lines().filter_map(of_line).collect()
}

fn children_by_proc(pid: u32) -> BTreeSet<u32> {
    let of_entry = |entry: std::fs::DirEntry| {
        let child = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let mut words = stat.rsplit_once(')')?.1.split_whitespace();
        let state = words.next()?;
        (words.next()?.parse::<u32>().ok()? == pid && state != "Z").then_some(child)
    };
    std::fs::read_dir("/proc").unwrap().filter_map(|entry| of_entry(entry.ok()?)).collect()
}

/// Waits until `pid` has both of the processes that it measures with, and what it made has lost its names.
fn measuring(pid: u32) -> BTreeSet<u32> {
    loop {
        let found = children(pid);
        if found.len() == 2 && names(pid).is_empty() {
            return found;
        }
        std::thread::yield_now();
    }
}

fn kill(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(what: &str) -> Scratch {
        let folder = std::env::temp_dir().join(unique(what));
        std::fs::create_dir(&folder).unwrap();
        Scratch(folder)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).into_os_string().into_string().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One run for all that is looked at in it: table, rows and picture.
#[test]
fn bench_shows_a_table_writes_its_rows_and_draws_them() {
    let _alone = alone();
    let _watchdog = Watchdog::new("bench", support::PATIENCE * 2);
    let scratch = Scratch::new("bench");
    let (json, svg) = (scratch.file("rows.json"), scratch.file("rows.svg"));
    let output = run(&["bench", "--quick", "--json", &json, "--svg", &svg]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stderr), "");

    let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    let rows = report["rows"].as_array().unwrap();
    for row in rows {
        for key in ["scenario", "contestant", "unit", "class"] {
            assert!(row[key].is_string(), "{key}: {row}");
        }
        let [min, median, max] = ["min", "median", "max"].map(|key| row[key].as_f64().unwrap());
        assert!(0.0 < min && min <= median && median <= max, "{row}");
        assert!(row["samples"].as_u64().unwrap() > 0 && row["discarded"].is_u64() && row["bytes"].is_u64(), "{row}");
        if let Some(ratio) = row["ratio"].as_f64() {
            assert!((ratio - median / row["limit"]["median"].as_f64().unwrap()).abs() < 1e-6, "{row}");
        }
        if let Some(histogram) = row["histogram"].as_array() {
            assert!(histogram.iter().all(|bucket| bucket[0].as_f64() < bucket[1].as_f64()), "{row}");
            if let (Some(p50), Some(p99)) = (row["p50"].as_f64(), row["p99"].as_f64()) {
                assert!(p50 <= p99, "{row}");
            }
        }
    }
    let has = |scenario: &str, bytes: u64, wait: Option<&str>| {
        rows.iter().any(|row| row["scenario"] == scenario && row["bytes"] == bytes && row["wait"].as_str() == wait)
    };
    let mut wanted = Vec::new();
    if std::thread::available_parallelism().unwrap().get() > 1 {
        for bytes in [8, 64, 1 << 10, 64 << 10, 1 << 20, 4 << 20] {
            wanted.extend([("round trip", bytes, Some("Spin")), ("round trip", bytes, None)]);
        }
        for bytes in [64 << 10, 1 << 20, 4 << 20, 64 << 20] {
            wanted.extend([("one way", bytes, Some("Adaptive")), ("one way", bytes, None)]);
        }
        wanted.extend([("round trip", 8, Some("Adaptive")), ("loan and view", 4 << 20, Some("Spin"))]);
        wanted.extend([("asleep", 8, Some("Park")), ("asleep", 8, None)]);
    }
    if report["machine"]["pinned_to"].is_array() {
        wanted.extend([("one core", 8, Some("Adaptive")), ("one core", 8, None)]);
    }
    // On a machine that is never undisturbed some row may have no sample that counts: then the table says so.
    let missing: Vec<_> = wanted.iter().filter(|(scenario, bytes, wait)| !has(scenario, *bytes, *wait)).collect();
    let table = text(&output.stdout);
    assert!(missing.is_empty() || table.contains("no undisturbed sample"), "{missing:?}\n{table}");
    assert!(missing.len() < wanted.len(), "{missing:?}\n{table}");
    for word in ["antiphon", "calls", "ratio", "p99.9", "median"] {
        assert!(table.contains(word), "{word} is not in\n{table}");
    }
    let widest = table.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{widest:?} columns\n{table}");

    let picture = std::fs::read_to_string(svg).unwrap();
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    assert_well_formed(&picture);
    assert!(picture.contains("prefers-color-scheme:dark"));
    assert!(!picture.contains("NaN") && !picture.contains("inf\""), "{picture}");
}

/// Every element that is opened is closed, in order, and no text has a loose `<` or `&`.
fn assert_well_formed(xml: &str) {
    let mut open = Vec::new();
    for piece in xml.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap_or_else(|| panic!("a tag without its end: {piece}"));
        assert!(!text.contains('>') && tag.matches('"').count() % 2 == 0, "{piece}");
        for entity in text.split('&').skip(1) {
            assert!(["amp;", "lt;", "gt;"].iter().any(|known| entity.starts_with(known)), "{piece}");
        }
        let name = tag.split([' ', '/']).find(|word| !word.is_empty()).unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{piece}");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn rows_on_standard_output_stand_there_alone() {
    let _alone = alone();
    let _watchdog = Watchdog::new("bench --json -", support::PATIENCE * 2);
    let output = run(&["bench", "--quick", "--json", "-"]);
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["rows"].is_array());
}

#[test]
fn a_process_that_is_killed_is_an_error_and_not_a_hang() {
    let _alone = alone();
    let _watchdog = Watchdog::new("bench with a killed process", support::PATIENCE * 2);
    for which in 0..2 {
        let child = antiphon(&["bench"]);
        let pid = child.id();
        let victims: Vec<u32> = measuring(pid).into_iter().collect();
        kill("-9", victims[which]);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = text(&output.stderr);
        assert!(said.starts_with("antiphon: ") && (said.contains("ended") || said.contains("dead")), "{said}");
        assert_left_nothing(pid);
    }
}

#[test]
fn an_interrupted_bench_takes_everything_with_it() {
    let _alone = alone();
    let _watchdog = Watchdog::new("interrupted bench", support::PATIENCE * 2);
    for signal in ["-INT", "-TERM"] {
        let child = antiphon(&["bench"]);
        let pid = child.id();
        let others = measuring(pid);
        kill(signal, pid);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        assert_left_nothing(pid);
        wait_until_gone(&others);
    }
}

#[test]
fn a_killed_bench_leaves_no_process_and_no_name() {
    let _alone = alone();
    let _watchdog = Watchdog::new("killed bench", support::PATIENCE * 2);
    let mut child = antiphon(&["bench"]);
    let pid = child.id();
    let others = measuring(pid);
    kill("-9", pid);
    child.wait().unwrap();
    wait_until_gone(&others);
    assert_left_nothing(pid);
}

/// The watchdog is the limit.
fn wait_until_gone(pids: &BTreeSet<u32>) {
    for pid in pids {
        // SAFETY: signal 0 is none: the call only asks.
        while unsafe { libc::kill(*pid as i32, 0) } == 0 {
            std::thread::yield_now();
        }
    }
}

#[test]
fn who_stops_reading_gets_no_error() {
    let _alone = alone();
    let _watchdog = Watchdog::new("bench | head", support::PATIENCE * 2);
    let mut child = antiphon(&["bench", "--quick"]);
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    assert_eq!(said, "");
}

#[test]
fn what_cannot_be_written_or_used_is_told_before_anything_is_measured() {
    let _watchdog = Watchdog::new("bad files", support::PATIENCE);
    for option in ["--json", "--svg"] {
        let output = run(&["bench", option, "/nowhere/file"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text(&output.stderr).contains("/nowhere/file cannot be written"), "{output:?}");
    }
    let output = run(&["bench", "--json", "-", "--svg", "-"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("give one of them a file"), "{output:?}");
}

#[test]
fn a_processor_that_is_not_there_is_named() {
    let _alone = alone();
    let _watchdog = Watchdog::new("no such processor", support::PATIENCE);
    if antiphon::limits::Places::together().cpus().is_none() {
        println!("NOT RUN a_processor_that_is_not_there_is_named: this system pins nobody");
        return;
    }
    for cpus in ["0,9999999", "700,0"] {
        let output = run(&["bench", "--quick", "--cpus", cpus]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text(&output.stderr).contains("cannot be used"), "{output:?}");
    }
}
