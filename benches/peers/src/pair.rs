//! The two processes of one contestant, as the driver has them. They live as long as the league, and sleep between
//! their samples.

use crate::Failure;
use crate::contestants::Contestant;
use crate::order::{Answer, Order};
use crate::wires::{Side, Wire};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Nothing that is asked for takes so long unless something hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long ends may take to end.
const GRACE: Duration = Duration::from_secs(5);

pub struct Pair<'c> {
    contestant: &'c dyn Contestant,
    children: Vec<Child>,
    /// By side; gone when the ends are to end.
    wires: Vec<Wire>,
    /// Of the two ends.
    pub pids: [u32; 2],
    pub version: String,
    folder: PathBuf,
}

impl<'c> Pair<'c> {
    /// Starts both ends. `folder` is made for them, and removed with the pair.
    pub fn start(contestant: &'c dyn Contestant, folder: &Path) -> Result<Self, Failure> {
        std::fs::create_dir(folder)?;
        let wires = vec![Wire::make(folder, Side::First)?, Wire::make(folder, Side::Second)?];
        let mut pair = Pair {
            contestant,
            children: Vec::new(),
            wires,
            pids: [0; 2],
            version: String::new(),
            folder: folder.to_owned(),
        };
        let program = contestant.program(folder)?;
        let is_one_program = program.is_some();
        if let Some(program) = program {
            pair.spawn(program)?;
        }
        for side in Side::BOTH {
            if !is_one_program {
                let mut command = Command::new(std::env::current_exe()?);
                command
                    .args(["serve", contestant.name(), if side == Side::First { "first" } else { "second" }])
                    .arg(folder);
                pair.spawn(command)?;
            }
            match pair.hear(side)? {
                Answer::Ready { pid, version } => {
                    pair.pids[side as usize] = pid;
                    if side == Side::First {
                        pair.version = version;
                    }
                }
                answer => return Err(format!("`{answer}` instead of `ready`").into()),
            }
        }
        Ok(pair)
    }

    fn spawn(&mut self, mut command: Command) -> Result<(), Failure> {
        // Whoever stops this process by its group does not mean the ends: they end in order, when their wires do.
        let child = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let child = child.map_err(|error| format!("{}: {error}", command.get_program().to_string_lossy()))?;
        self.children.push(child);
        Ok(())
    }

    fn hear(&mut self, side: Side) -> Result<Answer, Failure> {
        let children = &mut self.children;
        let is_alive = || children.iter_mut().all(|child| matches!(child.try_wait(), Ok(None)));
        self.wires[side as usize].hear(PATIENCE, is_alive)
    }

    /// What the first end's clock says about `order`; `processors` are the sides'.
    pub fn run(&mut self, order: Order, processors: [usize; 2]) -> Result<Duration, Failure> {
        // The second first: it answers, and should be there when it is asked.
        for side in [Side::Second, Side::First] {
            self.wires[side as usize].tell(&Order { processor: processors[side as usize], ..order })?;
        }
        let mut took = 0;
        for side in [Side::Second, Side::First] {
            match self.hear(side)? {
                Answer::Took(nanos) => took = nanos,
                answer => return Err(format!("`{answer}` instead of `took`").into()),
            }
        }
        Ok(Duration::from_nanos(took))
    }
}

impl Drop for Pair<'_> {
    fn drop(&mut self) {
        // Without orders they end by themselves, and tidy up. One that is stuck with the other end gone does not.
        self.wires.clear();
        let began = Instant::now();
        while self.children.iter_mut().any(|child| matches!(child.try_wait(), Ok(None))) {
            if began.elapsed() > GRACE {
                self.kill();
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        if let Err(failure) = self.contestant.clear_up(&self.folder) {
            eprintln!("{}: {failure}", self.contestant.name());
        }
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("{}: {error}", self.folder.display());
        }
    }
}

impl Pair<'_> {
    fn kill(&mut self) {
        for child in
            self.children.iter_mut().filter_map(|child| matches!(child.try_wait(), Ok(None)).then_some(child))
        {
            // A program that started the ends is asked first: it takes them with it.
            // SAFETY: a child that was not waited for, so that its number is its own.
            unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) };
            std::thread::sleep(Duration::from_millis(500));
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
