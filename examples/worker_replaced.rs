//! A publisher and its worker. The worker is killed in the middle of a job, another one takes its
//! place, and no job is lost.
//!
//! ```text
//! cargo run --release --example worker_replaced
//! ```

use antiphon::{Channel, Error};
use std::process::{Child, Command, ExitCode};

const JOBS: u32 = 10;
/// The first worker dies with this one in its hands.
const DEADLY: u32 = 4;

/// Works until there is no more work. The message stands in the region until it is dropped: a worker
/// that dies before that leaves it to the next.
fn work(name: &str, is_mortal: bool) -> Result<(), Error> {
    let mut consumer = Channel::open(name)?.consumer()?;
    loop {
        let message = match consumer.consume() {
            Ok(message) => message,
            Err(Error::Disconnected { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let job = message.view().to_vec();
        let again = if message.redelivered() { "  (begun before: check what was done)" } else { "" };
        println!("worker {}  {}{again}", std::process::id(), String::from_utf8_lossy(&job));
        if is_mortal && job == format!("job {DEADLY}").into_bytes() {
            let me = std::process::id().to_string();
            let _ = Command::new("kill").args(["-9", &me]).status(); // Nothing below happens.
        }
        drop(message); // Done: now the job is gone.
    }
}

fn start_worker(name: &str, role: &str) -> std::io::Result<Child> {
    Command::new(std::env::current_exe()?).args([role, name]).spawn()
}

fn publish(name: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut publisher = Channel::create(name)?.publisher()?;
    let mut worker = start_worker(name, "mortal")?;
    for number in 1..=JOBS {
        let job = format!("job {number}");
        loop {
            match publisher.publish(job.as_bytes()) {
                Ok(()) => break,
                // Reported once. This job was not published yet; the one before is kept.
                Err(Error::PeerDied { pid, .. }) => {
                    println!("worker {pid} is dead, starting another");
                    worker.wait()?;
                    worker = start_worker(name, "worker")?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    drop(publisher); // The last job waits in the region until the worker has it.
    let status = worker.wait()?;
    println!("{JOBS} jobs done, the last worker ended with {status}");
    Ok(())
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, role @ ("mortal" | "worker"), name] => Ok(work(name, role == "mortal")?),
        [_] => publish(&format!("jobs-{}", std::process::id())),
        _ => Err("usage: worker_replaced".into()),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("worker_replaced: {error}"); // An error says what it is about, and the way out.
            ExitCode::FAILURE
        }
    }
}
