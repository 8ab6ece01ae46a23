//! What the tests share: real processes, names that stand beside each other, watchdogs.
#![allow(dead_code, missing_docs)] // Each test file uses its part of it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long anything may take before the test is ended. Never a measure of speed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The same where every step takes longer.
pub fn patient(patience: Duration) -> Duration {
    if is_emulated() { patience * 8 } else { patience }
}

const ROLE: &str = "ANTIPHON_TEST_ROLE";

/// A name that no other test, and no other run, has.
pub fn unique(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("t{}-{}-{what}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The name of the test function that this stands in, as libtest knows it.
#[macro_export]
macro_rules! this_test {
    () => {{
        fn here() {}
        let path = std::any::type_name_of_val(&here);
        let path = path.strip_suffix("::here").unwrap();
        path.split_once("::").unwrap().1
    }};
}

/// In a child process: which role it has, and the arguments of the role.
pub fn role() -> Option<(String, Vec<String>)> {
    let role = std::env::var(ROLE).ok()?;
    let mut words = role.split('\u{1f}').map(str::to_owned);
    let name = words.next()?;
    Some((name, words.collect()))
}

/// In a child process: tells the parent something.
pub fn say(what: impl std::fmt::Display) {
    println!("\n@{what}");
    std::io::stdout().flush().unwrap();
}

/// In a child process: waits until the parent says something.
pub fn hear() -> String {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    line.trim().to_owned()
}

/// A child process that runs the same test function, in another role.
pub struct Peer {
    child: Child,
    lines: Receiver<String>,
}

impl Peer {
    /// Starts `test` (see `this_test!`) again as `role` with `args`.
    pub fn start(test: &str, role: &str, args: &[&str]) -> Peer {
        let exe = std::env::current_exe().unwrap();
        Self::start_with(Command::new(exe), test, role, args)
    }

    /// The same under a command of the test's own, `unshare` say, that ends in the test's binary.
    pub fn start_with(mut command: Command, test: &str, role: &str, args: &[&str]) -> Peer {
        let mut words = vec![role];
        words.extend(args);
        let mut child = command
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(ROLE, words.join("\u{1f}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test's own binary starts");
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if let Some(said) = line.strip_prefix('@') {
                    let _ = send.send(said.to_owned());
                }
            }
        });
        Peer { child, lines }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn tell(&mut self, what: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{what}").unwrap();
    }

    /// The next thing that the child says; `None` where it ended without another word.
    pub fn heard(&mut self) -> Option<String> {
        self.heard_within(PATIENCE)
    }

    /// The same of a child that may be silent for longer.
    pub fn heard_within(&mut self, patience: Duration) -> Option<String> {
        match self.lines.recv_timeout(patient(patience)) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the child says nothing"),
        }
    }

    /// Waits for the child to say exactly this.
    pub fn expect(&mut self, what: &str) {
        assert_eq!(self.heard().as_deref(), Some(what));
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: a plain system call on a child that was not waited for.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }

    /// Waits until it is stopped, by whomever.
    pub fn has_stopped(&self) {
        let (pid, mut status) = (self.child.id() as i32, 0);
        // SAFETY: a child that was not waited for, and a place for the answer.
        let waited = unsafe { libc::waitpid(pid, &raw mut status, libc::WUNTRACED) };
        assert!(waited == pid && libc::WIFSTOPPED(status));
    }

    /// Stops it, and waits until it is: a signal is on its way for a while.
    pub fn stop(&self) {
        self.signal(libc::SIGSTOP);
        self.has_stopped();
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for the end of the child.
    pub fn end(&mut self) -> ExitStatus {
        let until = Instant::now() + patient(PATIENCE);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "the child does not end");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for the end of the child by a system call, so that it is known at once. The test's
    /// watchdog is the limit.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Waits for the end of the child, which has to be a good one.
    pub fn succeed(&mut self) {
        let status = self.end();
        assert!(status.success(), "the child ended with {status}");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Ends the process if it is not dropped in time: a hang shows as a failed test.
pub struct Watchdog(Arc<AtomicBool>);

impl Watchdog {
    pub fn new(what: impl Into<String>, patience: Duration) -> Watchdog {
        let what = what.into();
        let done = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&done);
        std::thread::spawn(move || {
            let until = Instant::now() + patient(patience);
            while Instant::now() < until {
                if seen.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            if !seen.load(Ordering::Relaxed) {
                // Not by `eprintln`, which libtest keeps, and loses when the process aborts.
                let _ = writeln!(std::io::stderr(), "hangs: {what}");
                std::process::abort();
            }
        });
        Watchdog(done)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What stands in shared memory, sorted, where the system lists it.
pub fn names_in_shm() -> BTreeSet<String> {
    let entries = std::fs::read_dir("/dev/shm").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// Fails if anything of the channel is left. Names must be short enough to stay as they are.
pub fn assert_nothing_left(name: &str) {
    assert!(name.len() <= 27, "{name} would be shortened");
    let is_its = |entry: &String| {
        let bare = entry.strip_prefix("sem.").unwrap_or(entry);
        bare == name || bare.strip_prefix(name).is_some_and(|rest| rest.starts_with('+'))
    };
    let left: Vec<_> = names_in_shm().into_iter().filter(is_its).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    // Where the system lists nothing, opening has to find nothing.
    let found = antiphon::Channel::open(name);
    assert!(matches!(found, Err(antiphon::Error::NotFound { .. })), "{found:?}");
}

/// Whether a process may become another user, as root may; not so the root of a user namespace that has no other users.
/// Prints that `test` is not run where it may not.
pub fn can_be_another_user(test: &str) -> bool {
    const NOBODY: u64 = 65534;
    // SAFETY: takes nothing and cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    let has_nobody = |line: &str| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u64>().unwrap());
        let (first, _, count) = (numbers.next().unwrap(), numbers.next(), numbers.next().unwrap());
        (first..first + count).contains(&NOBODY)
    };
    // Other systems have no such map, and all users.
    let map = std::fs::read_to_string("/proc/self/uid_map");
    let can = is_root && map.map_or(true, |map| map.lines().any(has_nobody));
    if !can {
        println!("NOT RUN {test}: it takes root, and more than one user, to be another");
    }
    can
}

/// Whether the processor is another than the kernel's: under an emulator of single programs, as qemu is.
pub fn is_emulated() -> bool {
    let kernels = || std::fs::read_to_string("/proc/sys/kernel/arch").unwrap_or_default();
    cfg!(target_arch = "aarch64") && kernels().trim() == "x86_64"
}

/// Whether a process may have the kernel refuse some of its calls. Prints that `test` is not run where it may not.
pub fn can_filter_calls(test: &str) -> bool {
    if is_emulated() {
        println!("NOT RUN {test}: an emulator lets nobody filter the calls that are its own too");
    }
    !is_emulated()
}

/// What a variable of the environment says, if it is there.
pub fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().expect(variable))
}

/// The seed that a run was asked to repeat, or one of its own.
pub fn seed() -> u64 {
    number_from("ANTIPHON_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_nanos() as u64 % 1_000_000_007
    })
}

/// A stream of numbers that a seed decides.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit.max(1)
    }
}

/// The bytes of message `number`: every byte depends on the number and its place.
pub fn pattern(number: u64, len: usize) -> Vec<u8> {
    let mut dice = Dice::new(number + 1);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&dice.roll().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
