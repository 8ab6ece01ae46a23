//! Installing the library, compiling against it, and processes that are ended with the test.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

/// No test takes this long.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where the library was installed for the tests.
pub fn prefix() -> &'static Path {
    static PREFIX: OnceLock<PathBuf> = OnceLock::new();
    PREFIX.get_or_init(|| {
        let prefix = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prefix");
        run(Command::new(home().join("install")).arg(&prefix));
        prefix
    })
}

pub fn run(command: &mut Command) -> Output {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {}\n{}{said}", done.status, String::from_utf8_lossy(&done.stdout));
    done
}

pub fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|done| done.status.success())
}

pub fn all() -> bool {
    std::env::var("ANTIPHON_C").is_ok_and(|which| which == "all")
}

fn pkg_config(question: &str) -> Vec<String> {
    let folder = prefix().join("lib/pkgconfig");
    let done = run(Command::new("pkg-config").args([question, "antiphon"]).env("PKG_CONFIG_PATH", folder));
    String::from_utf8(done.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
}

/// A way to compile C.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    pub compiler: &'static str,
    pub language: &'static [&'static str],
    pub more: &'static [&'static str],
}

pub const C99: &[&str] = &["-std=c99"];
const CPP17: &[&str] = &["-x", "c++", "-std=c++17"];
pub const USUAL: Way = Way { compiler: "cc", language: C99, more: &[] };
const SANE: &[&str] = &["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

/// How everything is compiled in this run.
pub fn ways() -> Vec<Way> {
    let mut ways = vec![USUAL];
    if all() {
        for (compiler, language) in [("gcc", C99), ("clang", C99), ("g++", CPP17), ("clang++", CPP17)] {
            ways.push(Way { compiler, language, more: &[] });
            ways.push(Way { compiler, language, more: SANE });
        }
    }
    ways.retain(|way| {
        let is_there = is_there(way.compiler);
        if !is_there {
            println!("NOT RUN: {way:?}: there is no {}", way.compiler);
        }
        is_there
    });
    assert!(!ways.is_empty(), "there is no C compiler");
    ways
}

/// Compiles one of the programs beside this file, once in a process.
pub fn compile(source: &str, way: Way) -> PathBuf {
    static DONE: Mutex<Vec<(String, PathBuf)>> = Mutex::new(Vec::new());
    let key = format!("{source} {way:?}");
    let mut done = DONE.lock().unwrap();
    if let Some((_, program)) = done.iter().find(|(known, _)| *known == key) {
        return program.clone();
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let program = folder.join(format!("{source}-{}", done.len()));
    let mut command = Command::new(way.compiler);
    command.args(way.language).args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-g", "-O1", "-pthread"]);
    command.args(way.more).args(pkg_config("--cflags"));
    command.arg(home().join("tests/c").join(format!("{source}.c"))).args(["-x", "none"]);
    command.arg("-o").arg(&program).args(pkg_config("--libs"));
    command.arg(format!("-Wl,-rpath,{}", prefix().join("lib").display()));
    run(&mut command);
    done.push((key, program.clone()));
    program
}

/// A name, or a session's id, that no other test and no other run has.
pub fn unique(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("t{}-{what}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed))
}

pub fn unique_id() -> u64 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    (u64::from(std::process::id()) << 32) | u64::from(0xca90 + COUNT.fetch_add(1, Relaxed))
}

/// A file for a log, empty.
pub fn log(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.log"));
    let _ = std::fs::remove_file(&path);
    path
}

/// What `peer.c` logged: number, length, whether it came again.
pub fn lines(path: &Path) -> Vec<(u64, u64, bool)> {
    let bytes = std::fs::read(path).unwrap_or_default();
    let word = |line: &[u8], at: usize| u64::from_ne_bytes(line[at * 8..at * 8 + 8].try_into().unwrap());
    bytes.chunks_exact(24).map(|line| (word(line, 0), word(line, 1), word(line, 2) != 0)).collect()
}

/// The byte that stands at `at`, as `check.h` has it.
pub fn byte(at: u64) -> u8 {
    (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// A message of `peer.c`.
pub fn message(number: u64) -> Vec<u8> {
    const LENS: [usize; 9] = [8, 16, 48, 100, 300, 5000, 40000, 65536, 150_000];
    let mut bytes: Vec<u8> = (number..).take(LENS[number as usize % LENS.len()]).map(byte).collect();
    bytes[..8].copy_from_slice(&number.to_ne_bytes());
    bytes
}

/// A C program that runs.
pub struct Peer(Child, String);

impl Peer {
    /// Starts it, and waits until it says that it is ready, or ends.
    pub fn start(program: &Path, arguments: &[&str]) -> Peer {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        // A length that no memory holds is refused by the system; a sanitizer would end the program over it.
        let mut child = command.env("ASAN_OPTIONS", "allocator_may_return_null=1").spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Peer(child, line.trim_end().to_owned())
    }

    /// The first line that it said.
    pub fn said(&self) -> &str {
        &self.1
    }

    pub fn kill(mut self) {
        let _ = self.0.kill();
        let ended = self.0.wait().unwrap();
        // What ended by itself found something wrong.
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(libc::SIGKILL), "{ended}");
    }

    /// How it ends by itself.
    pub fn wait(mut self) -> std::process::ExitStatus {
        self.0.wait().unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Small numbers that look random, the same in each run.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Ends the test program where a test hangs.
pub struct Watchdog(std::sync::mpsc::Sender<()>);

impl Watchdog {
    pub fn new(what: &'static str) -> Watchdog {
        prefix(); // Building takes as long as it takes.
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            if receiver.recv_timeout(2 * PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                eprintln!("{what} hangs");
                std::process::abort();
            }
        });
        Watchdog(sender)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}
