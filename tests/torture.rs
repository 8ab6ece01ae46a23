//! Torture: many processes on many channels, killed at every step and between them, stopped, disturbed, starved, forked
//! and moved; and a checker that proves from their logs that no promise was broken.
//!
//! `torture/plan.rs` what a seed decides. `torture/round.rs` the process that starts and buries the others.
//! `torture/private.rs` the pairs that have private channels.
//! `torture/worker.rs` what befalls them; `torture/publisher.rs`, `torture/consumer.rs`, `torture/doors.rs`,
//! `torture/cleaner.rs` what they do. `torture/log.rs` and `torture/bytes.rs` what they write down, and what they send. `torture/history.rs` the logs
//! put together; `torture/checker.rs` the proof, with what it assumes and what it cannot see; `torture/counted.rs` the counters;
//! `torture/bad_histories.rs` histories that it has to refuse. `torture/files/` the same for block files and sessions. `torture/figures.rs` what was counted.
//!
//! `ci/torture` runs it for long. By environment: `ANTIPHON_TORTURE_SECONDS` (5), or `..._OPERATIONS` and `..._KILLS`
//! to be reached; `..._SEED` for a run of one's own, and with `..._ROUND` for one round of it.
#![allow(missing_docs)]

mod support;

#[path = "torture/bad_histories.rs"]
mod bad_histories;
#[path = "torture/bytes.rs"]
mod bytes;
#[path = "torture/checker.rs"]
mod checker;
#[path = "torture/cleaner.rs"]
mod cleaner;
#[path = "torture/consumer.rs"]
mod consumer;
#[path = "torture/counted.rs"]
mod counted;
#[path = "torture/doors.rs"]
mod doors;
#[path = "torture/figures.rs"]
mod figures;
#[path = "torture/files/mod.rs"]
mod files;
#[path = "torture/history.rs"]
mod history;
#[path = "torture/log.rs"]
mod log;
#[path = "torture/plan.rs"]
mod plan;
#[path = "torture/publisher.rs"]
mod publisher;
#[path = "torture/round.rs"]
mod round;
#[path = "torture/worker.rs"]
mod worker;

use figures::Figures;
use plan::Climate;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{Peer, Watchdog, role};

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(format!("ANTIPHON_TORTURE_{name}")).ok()?;
    let number = text.strip_prefix("0x").map_or_else(|| text.parse(), |hex| u64::from_str_radix(hex, 16));
    Some(number.unwrap_or_else(|_| panic!("ANTIPHON_TORTURE_{name} is no number: {text}")))
}

#[test]
fn no_promise_is_broken_whatever_befalls_the_processes() {
    let test = this_test!();
    if let Ok(words) = std::env::var(round::WORK) {
        return work(&words);
    }
    if let Some((_, words)) = role() {
        return round::run(test, &words);
    }
    let seed = setting("SEED").unwrap_or_else(|| bytes::mix(log::now()));
    let only = setting("ROUND");
    let (operations, kills) = (setting("OPERATIONS").unwrap_or(0), setting("KILLS").unwrap_or(0));
    let seconds = setting("SECONDS").unwrap_or(if operations + kills > 0 { 0 } else { 5 });
    let run = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("torture-{}", std::process::id()));
    println!("seed {seed:#x}, the logs are in {}", run.display());
    let began = Instant::now();
    let mut figures = Figures::default();
    // Short runs are not to see the same climates each time.
    let first = only.unwrap_or(seed % Climate::ALL.len() as u64);
    let mut number = first;
    loop {
        let violations = one_round(test, &run, seed, number, &mut figures);
        if !violations.is_empty() {
            print!("{}", figures.tell(began.elapsed().as_secs()));
            for violation in &violations {
                println!("\nVIOLATION in round {number}, {:?}: {violation}", plan::climate(number));
            }
            println!("\nThe logs are kept in {}. To see whether it happens again:", run.display());
            println!("    ANTIPHON_TORTURE_SEED={seed:#x} ANTIPHON_TORTURE_ROUND={number} ci/torture");
            panic!("{} violations", violations.len());
        }
        number += 1;
        let is_enough = figures.get("operations") >= operations && figures.kills() >= kills;
        if only.is_some() || is_enough && began.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
        if (number - first) % 20 == 0 {
            println!("{} rounds: {}", number - first, figures.tell(began.elapsed().as_secs()));
        }
    }
    let _ = std::fs::remove_dir_all(&run);
    println!("no violation in {} rounds: {}", number - first, figures.tell(began.elapsed().as_secs()));
    assert!(figures.get("operations") > 0);
}

/// One process of a round.
fn work(words: &str) {
    round::die_with_parent();
    let words: Vec<String> = words.split('\u{1f}').map(str::to_owned).collect();
    let (role, words) = words.split_first().unwrap();
    match role.as_str() {
        "publish" => publisher::run(words),
        "consume" => consumer::run(words),
        "drain" => consumer::drain(words),
        "reset" => round::reset(words),
        "clean" => cleaner::run(words),
        "write" => files::writer::run(words),
        "read" => files::reader::run(words),
        "host" => files::host::run(words),
        "drain-file" => files::drain::run(words),
        _ => doors::race(words),
    }
}

/// One round in a process of its own; what it found.
fn one_round(test: &str, run: &Path, seed: u64, number: u64, figures: &mut Figures) -> Vec<String> {
    let _watchdog = Watchdog::new(format!("round {number} of seed {seed:#x}"), Duration::from_secs(300));
    let climate = plan::climate(number);
    let Some((mut command, shm)) = surroundings(climate) else {
        println!("NOT RUN round {number}, {climate:?}: this system, or this user, cannot have it");
        return Vec::new();
    };
    if climate == Climate::JumpingClock {
        let Some(clock) = jumping_clock(run) else {
            println!("NOT RUN round {number}, {climate:?}: no clock that can be set before the system's");
            return Vec::new();
        };
        command.env("LD_PRELOAD", clock);
    }
    let seed_of_round = bytes::mix(seed ^ bytes::mix(number)).to_string();
    let folder = round::folder(run, number);
    let prefix = format!("t{}-{number}", std::process::id());
    let args = [&seed_of_round, &(climate as u8).to_string(), folder.to_str().unwrap(), &prefix, shm];
    let mut peer = Peer::start_with(command, test, "round", &args);
    let mut violations = Vec::new();
    loop {
        // The round's own watchdog is the shorter one.
        let Some(said) = peer.heard_within(Duration::from_secs(290)) else {
            violations.push("ended: the round itself".to_owned());
            break;
        };
        if let Some(line) = said.strip_prefix("figures ") {
            figures.add_line(line);
        } else if let Some(violation) = said.strip_prefix("violation ") {
            violations.push(violation.replace('\u{1f}', "\n"));
        } else {
            break;
        }
    }
    peer.end();
    violations
}

/// What the round's process is started by, and whether it has a /dev/shm of its own. Nothing where the climate cannot be
/// had here.
fn surroundings(climate: Climate) -> Option<(Command, &'static str)> {
    let exe = std::env::current_exe().unwrap();
    let megabytes = if climate == Climate::SmallSharedMemory { 3 } else { 256 };
    let mount = format!("mount -t tmpfs -o size={megabytes}m tmpfs /dev/shm &&");
    let mut options = vec!["--mount"];
    let mut inner = mount;
    if climate == Climate::ReusedPids {
        options.extend(["--pid", "--fork", "--kill-child", "--mount-proc"]);
        inner += " echo 100 >/proc/sys/kernel/ns_last_pid &&";
    }
    let has_namespaces = cfg!(all(target_os = "linux", not(antiphon_darwin_rules)));
    let tried = has_namespaces.then(|| {
        let mut command = Command::new("unshare");
        command.args(&options).args(["sh", "-c", &format!("{inner} true")]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status()
    });
    if matches!(tried, Some(Ok(status)) if status.success()) {
        let mut command = Command::new("unshare");
        command.args(&options).args(["sh", "-c", &format!("{inner} exec \"$0\" \"$@\"")]).arg(exe);
        return Some((command, "own"));
    }
    match climate {
        Climate::SmallSharedMemory | Climate::ReusedPids => None,
        _ => Some((Command::new(exe), "shared")),
    }
}

/// What to preload for a wall clock that jumps; built once.
fn jumping_clock(run: &Path) -> Option<String> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    std::fs::create_dir_all(run).ok()?;
    let library = run.join("clock.so");
    if !library.exists() {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torture/clock.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-fPIC", "-shared", "-o"]).arg(&library).args([source, "-ldl"]);
        if !compiler.status().is_ok_and(|status| status.success()) {
            return None;
        }
    }
    // The compiler's machine may be another than this program's, and a static program takes nothing in.
    let kind = |path: &Path| std::fs::read(path).ok().map(|bytes| (bytes[4], [bytes[18], bytes[19]]));
    let ours = std::env::current_exe().ok()?;
    if cfg!(target_feature = "crt-static") || kind(&ours) != kind(&library) {
        return None;
    }
    // What stands in front of the system already, as under Darwin's rules, stays.
    let before = std::env::var("LD_PRELOAD").unwrap_or_default();
    Some(format!("{} {before}", library.to_str()?).trim().to_owned())
}
