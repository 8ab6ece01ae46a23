//! Two processes on one machine: one calls, the other answers.
//!
//! ```text
//! cargo run --release --example call_and_answer
//! ```
//!
//! The program starts itself a second time as the one that answers, and kills that in the end.

use antiphon::{Channel, Error};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

const CALLS: u32 = 100_000;

/// The other process: answers every call until the caller leaves.
fn answer(name: &str) -> Result<(), Error> {
    let mut consumer = Channel::open(name)?.consumer()?;
    let mut bytes = Vec::new();
    loop {
        match consumer.consume_into(&mut bytes) {
            Ok(message) => {
                bytes.make_ascii_uppercase();
                message.reply(&bytes)?;
            }
            // The caller has left in order, and everything it sent was answered.
            Err(Error::Disconnected { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn call(name: &str) -> Result<(), Box<dyn std::error::Error>> {
    // Created before the other process starts, so that it finds the name.
    let mut publisher = Channel::create(name)?.publisher()?;
    let mut other = Command::new(std::env::current_exe()?).args(["answer", name]).spawn()?;

    let reply = publisher.call(b"is anyone there?")?;
    println!("call    is anyone there?");
    println!("answer  {}   (process {})", String::from_utf8_lossy(&reply), other.id());

    let mut times = Vec::new();
    let mut reply = Vec::new();
    for _ in 0..CALLS {
        let began = Instant::now();
        publisher.call_into(b"8 bytes.", &mut reply)?;
        times.push(began.elapsed());
    }
    times.sort();
    let [median, late] = [times[times.len() / 2], times[times.len() * 99 / 100]];
    println!("{CALLS} calls of 8 bytes: half within {median:?}, 99 % within {late:?}");
    if median > Duration::from_micros(1) {
        println!("(most of the time the two shared a processor: is this machine busy with something else?)");
    }

    // Every wait has a form with a limit.
    other.kill()?;
    other.wait()?;
    match publisher.call_timeout(b"still there?", Duration::from_secs(1)) {
        Err(Error::PeerDied { pid, .. }) => println!("killed  {pid}, and the next call says so"),
        other => return Err(format!("a dead process: {other:?}").into()),
    }
    Ok(()) // The names go with the last end.
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "answer", name] => Ok(answer(name)?),
        [_] => call(&format!("call-{}", std::process::id())),
        _ => Err("usage: call_and_answer".into()),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("call_and_answer: {error}"); // An error says what it is about, and the way out.
            ExitCode::FAILURE
        }
    }
}
