//! A file through the channel: read straight into shared memory, written straight out of it.
//!
//! ```text
//! cargo run --release --example send_file                     a made-up file of 1 GiB
//! cargo run --release --example send_file -- FROM TO          yours
//! ```

use antiphon::{Channel, Error};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// Longer than any disk needs for a piece of the file.
const PATIENCE: Duration = Duration::from_secs(60);

/// The other process: writes whatever comes to `path`, until an empty message ends the file.
fn receive(name: &str, path: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut consumer = Channel::open(name)?.consumer()?;
    let mut file = File::create(path).map_err(|error| format!("{path}: {error}"))?;
    loop {
        // With a limit: if the sender was dead before this came, the next one would be waited for.
        let mut message = consumer.consume_timeout(PATIENCE)?;
        if message.is_empty() {
            file.flush()?;
            return Ok(message.reply(b"all of it")?);
        }
        // `Message` is a `Read`: no copy but the one to the file.
        io::copy(&mut message, &mut file)?;
    }
}

fn send(from: &Path, to: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let name = format!("file-{}", std::process::id());
    // A message that waits keeps its channel for the next consumer. Here none will come.
    send_through(&name, from, to).inspect_err(|_| drop(Channel::unlink(&name)))
}

fn send_through(name: &str, from: &Path, to: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut file = File::open(from).map_err(|error| format!("{}: {error}", from.display()))?;
    if to.exists() && from.canonicalize()? == to.canonicalize()? {
        return Err(format!("{}: a file cannot be sent to itself", from.display()).into());
    }
    let channel = Channel::create(name)?;
    let mut publisher = channel.publisher()?;
    let exe = std::env::current_exe()?;
    let mut other = Command::new(exe).arg("receive").arg(name).arg(to).spawn()?;

    let began = Instant::now();
    let mut sent = 0;
    loop {
        // Room for a piece, lent by the region; `Loan` is a `Write`, and so takes a file's bytes.
        let mut loan = publisher.loan(channel.capacity())?;
        let room = loan.len() as u64;
        let read = io::copy(&mut (&mut file).take(room), &mut loan)?;
        loan.truncate(read as usize);
        sent += read;
        if read == 0 {
            loan.call()?; // The end of the file; the answer says that everything is written.
            break;
        }
        loan.publish()?;
    }
    let rate = sent as f64 / began.elapsed().as_secs_f64() / 1e9;
    println!("{sent} bytes sent, {rate:.2} GB/s from file to file");
    other.wait()?;
    Ok(())
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "receive", name, path] => receive(name, path),
        [_, from, to] => send(from.as_ref(), to.as_ref()),
        [_] => {
            let folder = std::env::temp_dir().join(format!("antiphon-{}", std::process::id()));
            std::fs::create_dir(&folder)?;
            let (from, to) = (folder.join("from"), folder.join("to"));
            File::create(&from)?.set_len(1 << 30)?; // A gibibyte, of zeros that take no disk.
            let done = send(&from, &to);
            let len = std::fs::metadata(&to).map(|file| file.len());
            std::fs::remove_dir_all(&folder)?;
            done.and_then(|()| if len? == 1 << 30 { Ok(()) } else { Err("it came short".into()) })
        }
        _ => Err("usage: send_file [FROM TO]".into()),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("send_file: {error}"); // An error says what it is about, and the way out.
            ExitCode::FAILURE
        }
    }
}

/// `?` turns the crate's one error into whatever the program uses.
const _: fn(Error) -> io::Error = io::Error::from;
