//! A channel between two processes: made, called on, one of them killed, gone without a trace.

use super::ANSWER;
use super::finding::Finding;
use crate::style::span;
use antiphon::{Channel, ChannelOptions, Error, Wait};
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything here may take: far more than it needs.
const PATIENCE: Duration = Duration::from_secs(10);
/// Inline, in the payload, and flowing.
const LENGTHS: [usize; 3] = [8, 4096, 6 << 20];

pub struct Trial {
    pub finding: Finding,
    /// How many one end takes of a process, where the system lists them.
    pub descriptors: Option<u64>,
}

pub fn run() -> Trial {
    let mut descriptors = None;
    let finding = match attempt(&mut descriptors) {
        Ok(told) => Finding::ok("trial", format!("told of a death after {}", span(told))).means(
            "A channel between two processes was made; calls of 8 B, 4 KiB and 6 MiB were answered with the same \
             bytes. The answering process was killed, the other one was told, and the channel's name is gone.",
        ),
        Err(Failure::NotTried(why)) => Finding::note("trial", "not made").means(sentence(&why)),
        Err(Failure::Failed(why)) => Finding::problem("trial", "failed").means(sentence(&why)),
    };
    Trial { finding, descriptors }
}

enum Failure {
    /// The fault of the trial, which says nothing of channels.
    NotTried(String),
    Failed(String),
}

/// A channel's error says what to do.
impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Failed(error.to_string())
    }
}

fn failed<T>(why: String) -> Result<T, Failure> {
    Err(Failure::Failed(why))
}

fn sentence(why: &str) -> String {
    format!("{}.", why.trim_end_matches(['.', '?']))
}

/// How long it took to be told of a death.
fn attempt(descriptors: &mut Option<u64>) -> Result<Duration, Failure> {
    let before = open_descriptors();
    let channel = ChannelOptions::new().wait(Wait::Park).private()?;
    let name = channel.name().to_owned();
    let mut publisher = channel.publisher()?;
    drop(channel); // The end has its own share.
    *descriptors = before.zip(open_descriptors()).map(|(before, after)| after.saturating_sub(before));
    // It sits: whatever is killed from now on, nothing is left.
    let mut other = Other::start(&name)?;
    for length in LENGTHS {
        let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let reply = publisher.call_timeout(&bytes, PATIENCE)?;
        if reply != bytes {
            return failed(format!("a call of {length} bytes came back with others"));
        }
    }
    let killed = Instant::now();
    other.kill();
    match publisher.call_timeout(&[], PATIENCE) {
        Err(Error::PeerDied { .. }) => {}
        Err(error) => return failed(format!("the other process was killed, and what was told is: {error}")),
        Ok(_) => return failed("the other process was killed, and answered".to_owned()),
    }
    let told = killed.elapsed();
    drop(publisher);
    match Channel::open(&name) {
        Err(Error::NotFound { .. }) => Ok(told),
        found => failed(format!("the private channel {name:?} is over, and opening it gives {found:?}")),
    }
}

/// Listing them takes one, before and after.
fn open_descriptors() -> Option<u64> {
    Some(std::fs::read_dir("/dev/fd").ok()?.count() as u64)
}

/// The other process, gone when this is.
struct Other(Child);

impl Other {
    fn start(name: &str) -> Result<Other, Failure> {
        let not_tried = |error: io::Error| {
            Failure::NotTried(format!("This program could not be started once more to be called: {error}"))
        };
        let mut command = Command::new(std::env::current_exe().map_err(not_tried)?);
        command.args([ANSWER, name]).stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
        let mut other = Other(command.spawn().map_err(not_tried)?);
        // A word when it has taken its seat; the end of the pipe where it died before.
        match other.0.stdout.take().map_or(Ok(0), |mut output| output.read(&mut [0; 1])) {
            Ok(1) => Ok(other),
            Ok(_) => failed("the other process ended before it came to the channel".to_owned()),
            Err(error) => Err(not_tried(error)),
        }
    }

    fn kill(&mut self) {
        // Neither can fail while the process was not waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The other process's life.
pub fn answer(name: &str) -> io::Result<()> {
    let mut consumer = ChannelOptions::new().wait(Wait::Park).open(name)?.consumer()?;
    println!();
    let mut bytes = Vec::new();
    loop {
        let served = consumer.consume_into(&mut bytes).and_then(|message| message.reply(&bytes));
        match served {
            Ok(()) => {}
            // It has left or died, and has its reasons.
            Err(Error::Disconnected { .. } | Error::PeerDied { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
