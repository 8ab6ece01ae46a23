//! Two programs write one sparse file, each its part of it, and a third writes it to a disk with its hole. They find
//! each other by the file's name, which a session keeps.
//!
//! ```text
//! cargo run --release --example sparse_writers
//! ```

use antiphon::session::{Session, SessionOptions};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::{Child, Command, ExitCode};

const NAME: &[u8] = b"simulation/step 7.raw"; // Any bytes: it is nobody's path.
/// Where the two parts begin, and how long each is.
const PARTS: [u64; 2] = [0, 1 << 30];
const PART_BYTES: u64 = 5_000_001;

/// What a writer has to write: here numbers that tell their place.
struct Source {
    at: u64,
    end: u64,
}

impl Read for Source {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let len = to.len().min((self.end - self.at) as usize);
        for (byte, at) in to[..len].iter_mut().zip(self.at..) {
            *byte = (at % 251) as u8;
        }
        self.at += len as u64;
        Ok(len)
    }
}

/// A writer: fills block after block, until its source has no more.
fn write(session: u64, offset: u64) -> Result<(), Box<dyn std::error::Error>> {
    let mut file = Session::connect(session)?.write_at(NAME, offset)?;
    let mut source = Source { at: offset, end: offset + PART_BYTES };
    let mut len = usize::MAX;
    while len > 0 {
        let mut space = file.claim()?;
        len = space.read_from(&mut source)?;
        space.complete(len)?; // None is the end, as it is of a `read`.
    }
    file.finish()?;
    println!("writer  {PART_BYTES} bytes from {offset} on");
    Ok(())
}

/// Writes all that comes to where it belongs.
fn gather(to: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let host = SessionOptions::new().block_bytes(256 << 10).host()?;
    println!("session {:016X}", host.id());
    let session = Session::connect(host.id())?;
    // Opened here as well, both of them before either is finished: the file is at its end when all its parts are.
    let parts = PARTS.map(|offset| session.write_at(NAME, offset));
    let start = |offset: u64| {
        let arguments = [host.id(), offset].map(|number| number.to_string());
        Command::new(std::env::current_exe()?).arg("write").args(arguments).spawn()
    };
    let mut writers = PARTS.map(start).into_iter().collect::<Result<Vec<Child>, _>>()?;

    let disk = File::create_new(to)?;
    let mut file = session.read(NAME)?;
    while let Some(block) = file.claim()? {
        disk.write_all_at(&block.to_vec(), block.offset())?;
        block.complete()?;
    }
    drop(parts);
    for writer in &mut writers {
        if !writer.wait()?.success() {
            return Err("a writer has failed".into());
        }
    }
    check(&disk)
}

fn check(disk: &File) -> Result<(), Box<dyn std::error::Error>> {
    let about = disk.metadata()?;
    let mut bytes = vec![0; PART_BYTES as usize];
    for part in PARTS {
        disk.read_exact_at(&mut bytes, part)?;
        if !bytes.iter().zip(part..).all(|(byte, at)| *byte == (at % 251) as u8) {
            return Err("other bytes than were written".into());
        }
    }
    disk.read_exact_at(&mut bytes, PARTS[0] + PART_BYTES)?;
    let is_hole = bytes.iter().all(|byte| *byte == 0);
    println!("file    {} bytes, all right; {} on the disk", about.len(), about.blocks() * 512);
    if !is_hole || about.len() != PARTS[1] + PART_BYTES {
        return Err("there is something where nobody wrote".into());
    }
    Ok(())
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "write", session, offset] => write(session.parse()?, offset.parse()?),
        [_] => {
            let to = std::env::temp_dir().join(format!("antiphon-sparse-{}", std::process::id()));
            let gathered = gather(&to);
            fs::remove_file(&to)?;
            gathered
        }
        _ => Err("usage: sparse_writers".into()),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sparse_writers: {error}"); // An error says what it is about, and the way out.
            ExitCode::FAILURE
        }
    }
}
