//! How long `antiphon ls` takes over ten thousand channels of 64 KiB, each held at one end. The bar is a second.
//!
//! ```text
//! cargo bench --features cli --bench ls
//! ```
#![allow(missing_docs)]

use antiphon::ChannelOptions;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// So many processes hold them, since each channel takes two descriptors.
const HOLDERS: usize = 4;
const CHANNELS: usize = 10_000;
const BAR: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    if let Some(holder) = std::env::args().skip_while(|word| word != "hold").nth(1) {
        hold(&holder);
        return ExitCode::SUCCESS;
    }
    let mut holders: Vec<_> = (0..HOLDERS)
        .map(|holder| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["hold", &format!("bench-{}-{holder}", std::process::id())]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for holder in &mut holders {
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
    }
    let mut times: Vec<Duration> = (0..9).map(|_| list()).collect();
    times.sort_unstable();
    // They let go when nobody holds their standard input any more.
    for mut holder in holders {
        drop(holder.stdin.take());
        assert!(holder.wait().unwrap().success());
    }
    let [least, middle, most] = [times[0], times[times.len() / 2], times[times.len() - 1]];
    let verdict = if middle < BAR { "MET   " } else { "MISSED" };
    println!("{verdict}     ls over {CHANNELS} channels of 64 KiB in a second: {least:.0?}/{middle:.0?}/{most:.0?}");
    if middle < BAR { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Holds its share of the channels until its standard input ends.
fn hold(prefix: &str) {
    let options = ChannelOptions::new().capacity(64 * 1024);
    let ends: Vec<_> = (0..CHANNELS / HOLDERS)
        .map(|number| options.create(&format!("{prefix}-{number}")).unwrap().publisher().unwrap())
        .collect();
    println!("held");
    let _ = std::io::stdin().read_line(&mut String::new());
    drop(ends);
}

fn list() -> Duration {
    let began = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_antiphon")).arg("ls").output().unwrap();
    let took = began.elapsed();
    assert!(output.status.success());
    let prefix = format!("bench-{}-", std::process::id());
    let list = String::from_utf8_lossy(&output.stdout);
    let found = list.lines().filter(|line| line.starts_with(&prefix) && line.contains(" in use ")).count();
    assert_eq!(found, CHANNELS);
    took
}
