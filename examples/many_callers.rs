//! A server with many callers. A channel has two ends and no more: so each caller comes to a public
//! one, the desk, for a single call, and is given a private one. Callers are killed in the middle,
//! the server goes on, and nothing is left of anybody.
//!
//! ```text
//! cargo run --release --example many_callers
//! ```

use antiphon::{Channel, Consumer, Error};
use std::process::{Child, Command, ExitCode};
use std::thread::JoinHandle;
use std::time::Duration;

const CALLERS: usize = 6;
const CALLS: u64 = 10_000;
/// How long anyone waits who cannot know whether the other one ever comes.
const PATIENCE: Duration = Duration::from_secs(10);

type Served = JoinHandle<Result<u64, Error>>;

// ---- The server ----

/// At the desk: each call is answered with the name of a private channel, at whose other end a thread
/// waits. Returns the threads once somebody says "end".
fn welcome(mut desk: Consumer) -> Result<Vec<Served>, Error> {
    let mut threads = Vec::new();
    loop {
        let message = match desk.consume() {
            Ok(message) => message,
            // Each caller leaves the desk when it has its answer, or dies there: the next one comes.
            Err(Error::Disconnected { .. } | Error::PeerDied { .. }) => continue,
            Err(error) => return Err(error),
        };
        if message.view().to_vec() == b"end" {
            message.reply(b"")?;
            return Ok(threads);
        }
        let channel = Channel::private()?;
        let consumer = channel.consumer()?; // Seated before anyone has heard the name.
        match message.reply(channel.name().as_bytes()) {
            Ok(()) => threads.push(std::thread::spawn(|| serve(consumer))),
            Err(Error::CallerGone { .. }) => {} // Dead by now: its channel goes with `channel` and `consumer`.
            Err(error) => return Err(error),
        }
    }
}

/// Answers one caller until it leaves or dies. Its channel has lost its name when it came, so nothing
/// is left of it then. A caller that never comes is not waited for, and its channel's name goes now.
fn serve(mut consumer: Consumer) -> Result<u64, Error> {
    let mut answered = 0;
    loop {
        match consumer.consume_timeout(PATIENCE) {
            Ok(message) => {
                // What is no number is dropped: its caller gets `NoReply`.
                let Ok(number) = message.view().to_vec().try_into() else { continue };
                let square = u64::from_ne_bytes(number).wrapping_pow(2);
                if message.reply(&square.to_ne_bytes()).is_ok() {
                    answered += 1;
                } // Otherwise the caller is gone, and the next `consume` says so.
            }
            Err(Error::Disconnected { .. }) => return Ok(answered),
            Err(error) => return Err(error),
        }
    }
}

fn serve_all(name: &str) -> Result<(), Box<dyn std::error::Error>> {
    let desk = Channel::create(name)?;
    let consumer = desk.consumer()?;
    let server = std::thread::spawn(|| welcome(consumer));

    let start = |role| Command::new(std::env::current_exe()?).args([role, name]).spawn();
    let roles = (0..CALLERS).map(|caller| if caller % 3 == 1 { "mortal" } else { "caller" });
    let mut callers = roles.map(start).collect::<Result<Vec<Child>, std::io::Error>>()?;
    for caller in &mut callers {
        println!("caller  {} ended with {}", caller.id(), caller.wait()?);
    }

    desk.publisher_timeout(PATIENCE)?.call(b"end")?;
    let threads = server.join().map_err(|_| "the desk panicked")??;
    let [mut left, mut died, mut calls] = [0; 3];
    for thread in threads {
        match thread.join().map_err(|_| "a thread panicked")? {
            Ok(answered) => (left, calls) = (left + 1, calls + answered),
            // Killed at work, or before it came to work.
            Err(Error::PeerDied { .. } | Error::TimedOut { .. }) => died += 1,
            Err(error) => return Err(error.into()),
        }
    }
    println!("server  {left} callers have left after {calls} calls, {died} were killed");
    Ok(())
}

// ---- A caller ----

fn call(name: &str, is_mortal: bool) -> Result<(), Error> {
    // The desk is open to one at a time: wait for it, ask, and let the next one come.
    let desk = Channel::open(name)?;
    // With a limit: if the server is dead by now, the next one would be waited for.
    let private = desk.publisher_timeout(PATIENCE)?.call_timeout(b"good morning", PATIENCE)?;
    drop(desk);

    let private = String::from_utf8_lossy(&private);
    println!("caller  {} was given {private}", std::process::id());
    let mut publisher = Channel::open(&private)?.publisher()?; // Both have it now: its names are gone.
    let mut square = Vec::new();
    for number in 0..CALLS {
        publisher.call_into(&number.to_ne_bytes(), &mut square)?;
        assert_eq!(square, (number * number).to_ne_bytes());
        if is_mortal && number == CALLS / 2 {
            let me = std::process::id().to_string();
            let _ = Command::new("kill").args(["-9", &me]).status(); // Nothing below happens.
        }
    }
    Ok(())
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, role @ ("caller" | "mortal"), name] => Ok(call(name, role == "mortal")?),
        [_] => {
            let name = format!("desk-{}", std::process::id());
            // A desk that ends too early is closed; otherwise it goes with its last end.
            serve_all(&name).inspect_err(|_| drop(Channel::unlink(&name)))
        }
        _ => Err("usage: many_callers".into()),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("many_callers: {error}"); // An error says what it is about, and the way out.
            ExitCode::FAILURE
        }
    }
}
