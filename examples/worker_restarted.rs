//! A program that hands work to a worker, and a supervisor that starts the worker again whenever it
//! dies. No job is lost and none is done twice: what a dead worker had in its hands comes to the
//! next one, marked, and that one looks how far it got.
//!
//! ```text
//! cargo run --release --example worker_restarted
//! ```

use antiphon::{Channel, Error, Publisher};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode};

const JOBS: u32 = 10;
/// The first worker dies before it has done this one,
const TOO_EARLY: u32 = 4;
/// and the second when it has done this one, but has not let go of it.
const TOO_LATE: u32 = 7;
/// A worker that cannot live at all is not started for ever.
const MOST_STARTS: u32 = 10;

// ---- The worker ----

/// Works until there is no more work. The message stands in the region until it is dropped: so it is
/// dropped when the job is done, and not before.
fn work(name: &str, ledger: &Path, worker: u32) -> Result<(), Box<dyn std::error::Error>> {
    let mut consumer = Channel::open(name)?.consumer()?;
    loop {
        let message = match consumer.consume() {
            Ok(message) => message,
            Err(Error::Disconnected { .. }) => return Ok(()), // All work is done.
            Err(error) => return Err(error.into()),
        };
        let job = String::from_utf8(message.view().to_vec())?;
        die_if(worker == 1 && job == format!("job {TOO_EARLY}"));
        // Only a job that another worker began can have been done: all others need no looking up.
        if message.redelivered() && fs::read_to_string(ledger)?.lines().any(|done| done == job) {
            println!("worker {worker}  {job}  (begun before, and done)");
        } else {
            let again = if message.redelivered() { "  (begun before, and not done)" } else { "" };
            println!("worker {worker}  {job}{again}");
            writeln!(OpenOptions::new().append(true).open(ledger)?, "{job}")?; // This is the work.
        }
        die_if(worker == 2 && job == format!("job {TOO_LATE}"));
        drop(message); // From here on the job is gone.
    }
}

fn die_if(it_is_time: bool) {
    if it_is_time {
        let me = std::process::id().to_string();
        let _ = Command::new("kill").args(["-9", &me]).status(); // Nothing below happens.
    }
}

// ---- The program ----

/// Hands the jobs out. Workers come and go meanwhile, and that is the supervisor's affair.
fn publish(mut publisher: Publisher) -> Result<(), Error> {
    for number in 1..=JOBS {
        let job = format!("job {number}");
        loop {
            match publisher.publish(job.as_bytes()) {
                Ok(()) => break,
                // This job was not published yet, and the one before it is kept for the next worker.
                Err(Error::PeerDied { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(()) // The last job waits in the region until a worker has it.
}

/// Starts the worker again until it ends well.
fn supervise(name: &str, ledger: &Path) -> Result<u32, Box<dyn std::error::Error>> {
    for worker in 1..=MOST_STARTS {
        let mut command = Command::new(std::env::current_exe()?);
        let status = command.args(["worker", name]).arg(ledger).arg(worker.to_string()).status()?;
        if status.success() {
            return Ok(worker);
        }
        println!("worker {worker} ended with {status}, starting another");
    }
    Err(format!("{MOST_STARTS} workers have died").into())
}

fn employ(name: &str, ledger: &Path) -> Result<(), Box<dyn std::error::Error>> {
    File::create_new(ledger)?;
    let publisher = Channel::create(name)?.publisher()?;
    let publishing = std::thread::spawn(|| publish(publisher));
    // Without a worker the publisher would wait for ever, and keep the names: they go first.
    let workers = supervise(name, ledger).inspect_err(|_| drop(Channel::unlink(name)))?;
    publishing.join().map_err(|_| "the publisher panicked")??;
    let done = fs::read_to_string(ledger)?.lines().count();
    println!("{JOBS} jobs, {done} done, {workers} workers");
    Ok(())
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "worker", name, ledger, worker] => work(name, ledger.as_ref(), worker.parse()?),
        [_] => {
            let ledger = std::env::temp_dir().join(format!("antiphon-ledger-{}", std::process::id()));
            let employed = employ(&format!("jobs-{}", std::process::id()), &ledger);
            fs::remove_file(&ledger)?;
            employed
        }
        _ => Err("usage: worker_restarted".into()),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("worker_restarted: {error}"); // An error says what it is about, and the way out.
            ExitCode::FAILURE
        }
    }
}
