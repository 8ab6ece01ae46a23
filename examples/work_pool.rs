//! A pool of workers: one program writes jobs into a block file, four others take them out. One worker is killed in the
//! middle of a job, and nothing is lost: the job comes to another one, marked.
//!
//! ```text
//! cargo run --release --example work_pool
//! ```

use antiphon::Error;
use antiphon::blocks::{BlockFile, BlockFileOptions, FileId};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, ExitCode};

const WORKERS: u32 = 4;
const JOBS: u64 = 500;
/// Each job is a block of numbers, to be added up.
const BLOCK_BYTES: usize = 16 << 10;
/// Whoever gets this job first is killed over it.
const FATAL: u64 = 10;

/// The numbers of a job.
fn numbers(job: u64) -> impl Iterator<Item = u64> {
    (0..BLOCK_BYTES as u64 / 8).map(move |number| job.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number)
}

// ---- A worker ----

/// Works until there is no more work. A block that is not completed is not lost: so it is completed when the job is
/// done, and not before.
fn work(id: FileId, ledger: &Path, worker: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut reader = BlockFile::open(id)?.reader()?;
    let mut ledger = OpenOptions::new().append(true).open(ledger)?;
    let mut done = 0;
    while let Some(block) = reader.claim()? {
        let job = block.offset() / BLOCK_BYTES as u64;
        if block.again() {
            println!("worker {worker} does job {job} again");
        } else if job == FATAL {
            println!("worker {worker} is killed over job {job}");
            let me = std::process::id().to_string();
            let _ = Command::new("kill").args(["-9", &me]).status(); // Nothing below happens.
        }
        let bytes = block.to_vec();
        let words = bytes.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes));
        // One write, so that lines of several workers stay whole.
        ledger.write_all(format!("{job} {}\n", words.fold(0, u64::wrapping_add)).as_bytes())?;
        block.complete()?; // From here on the job is gone.
        done += 1;
    }
    println!("worker {worker} has done {done} jobs");
    Ok(())
}

// ---- The program ----

/// Writes all jobs. That a worker died is the workers' affair.
fn write(file: &BlockFile) -> Result<(), Error> {
    let mut writer = file.writer()?;
    for _ in 0..JOBS {
        let mut space = loop {
            match writer.claim() {
                Ok(space) => break space,
                Err(Error::PeerDied { peer, pid, .. }) => println!("{peer} {pid} is dead, the others go on"),
                Err(error) => return Err(error),
            }
        };
        let job = space.offset() / BLOCK_BYTES as u64;
        let bytes: Vec<u8> = numbers(job).flat_map(u64::to_le_bytes).collect();
        let len = space.copy_from(0, &bytes);
        space.complete(len)?;
    }
    writer.finish()
}

fn employ(file: &BlockFile, id: FileId, ledger: &Path) -> Result<(), Box<dyn std::error::Error>> {
    File::create_new(ledger)?;
    let start = |worker: u32| {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["worker", &id.session.to_string(), &id.file.to_string()]).arg(ledger);
        command.arg(worker.to_string()).spawn()
    };
    let mut workers = (1..=WORKERS).map(start).collect::<Result<Vec<Child>, std::io::Error>>()?;
    let written = write(file);
    let mut ended_well = 0;
    for worker in &mut workers {
        ended_well += u32::from(worker.wait()?.success());
    }
    written?;
    let ledger = fs::read_to_string(ledger)?;
    let sums: BTreeMap<u64, u64> = ledger
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(job, sum)| Ok((job.parse()?, sum.parse()?)))
        .collect::<Result<_, std::num::ParseIntError>>()?;
    let is_right = |job: u64| sums.get(&job) == Some(&numbers(job).fold(0, u64::wrapping_add));
    let right = (0..JOBS).filter(|job| is_right(*job)).count();
    println!(
        "{JOBS} jobs, {} done, {right} rightly; {ended_well} of {WORKERS} workers have ended well",
        ledger.lines().count()
    );
    if right as u64 != JOBS || ledger.lines().count() as u64 != JOBS {
        return Err("a job was lost, or done twice".into());
    }
    Ok(())
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "worker", session, file, ledger, worker] => {
            work(FileId { session: session.parse()?, file: file.parse()? }, ledger.as_ref(), worker)
        }
        [_] => {
            let id = FileId { session: std::process::id().into(), file: 1 };
            let ledger = std::env::temp_dir().join(format!("antiphon-pool-{}", std::process::id()));
            let file = BlockFileOptions::new().block_bytes(BLOCK_BYTES).create(id, b"jobs")?;
            let employed = employ(&file, id, &ledger);
            fs::remove_file(&ledger)?;
            // What nobody has read would keep the file.
            employed.inspect_err(|_| drop(file.cancel("the pool is closed")))
        }
        _ => Err("usage: work_pool".into()),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("work_pool: {error}"); // An error says what it is about, and the way out.
            ExitCode::FAILURE
        }
    }
}
