//! How long `antiphon ls` takes over ten thousand channels of 64 KiB, each held at one end, and over as many block files
//! of as much. The bar is a second.
//!
//! ```text
//! cargo bench --features cli --bench ls
//! ```
#![allow(missing_docs)]

use antiphon::ChannelOptions;
use antiphon::blocks::{BlockFileOptions, FileId};
use std::any::Any;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// So many processes hold them, since each takes two descriptors.
const HOLDERS: usize = 4;
const HELD: usize = 10_000;
const BAR: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip_while(|word| word != "hold").collect();
    if let [_, what, holder] = &words[..] {
        hold(what, holder);
        return ExitCode::SUCCESS;
    }
    let is_met = ["channels", "block files"].map(measure);
    if is_met == [true; 2] { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn measure(what: &str) -> bool {
    let mut holders: Vec<_> = (0..HOLDERS)
        .map(|holder| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["hold", what, &prefix(what, holder)]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for holder in &mut holders {
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
    }
    let mut times: Vec<Duration> = (0..9).map(|_| list(what)).collect();
    times.sort_unstable();
    // They let go when nobody holds their standard input any more.
    for mut holder in holders {
        drop(holder.stdin.take());
        assert!(holder.wait().unwrap().success());
    }
    let [least, middle, most] = [times[0], times[times.len() / 2], times[times.len() - 1]];
    let verdict = if middle < BAR { "MET   " } else { "MISSED" };
    println!("{verdict}     ls over {HELD} {what} of 64 KiB in a second: {least:.0?}/{middle:.0?}/{most:.0?}");
    middle < BAR
}

/// What the names of a holder's begin with.
fn prefix(what: &str, holder: usize) -> String {
    match what {
        "channels" => format!("bench-{}-{holder}", std::process::id()),
        _ => format!("{:08X}{holder:08X}", std::process::id()),
    }
}

/// Holds its share until its standard input ends.
fn hold(what: &str, prefix: &str) {
    let channels = ChannelOptions::new().capacity(64 * 1024);
    let files = BlockFileOptions::new().block_bytes(4096).blocks(16);
    let session = u64::from_str_radix(prefix, 16).unwrap_or(0);
    let ends: Vec<Box<dyn Any>> = (0..HELD / HOLDERS)
        .map(|number| match what {
            "channels" => Box::new(channels.create(&format!("{prefix}-{number}")).unwrap().publisher().unwrap()),
            _ => {
                let id = FileId { session, file: number as u32 };
                Box::new(files.create(id, b"a file").unwrap().writer().unwrap()) as Box<dyn Any>
            }
        })
        .collect();
    println!("held");
    let _ = std::io::stdin().read_line(&mut String::new());
    drop(ends);
}

fn list(what: &str) -> Duration {
    let began = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_antiphon")).arg("ls").output().unwrap();
    let took = began.elapsed();
    assert!(output.status.success());
    let list = String::from_utf8_lossy(&output.stdout);
    let is_ours = |line: &&str| (0..HOLDERS).any(|holder| line.starts_with(&prefix(what, holder)));
    let found = list.lines().filter(is_ours).filter(|line| line.contains(" in use ")).count();
    assert_eq!(found, HELD);
    took
}
