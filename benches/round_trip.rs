//! Round trips of 8 and 64 bytes between two processes, against the bare limits of this machine.
//!
//! ```text
//! cargo bench --bench round_trip                    the table
//! cargo bench --bench round_trip -- --bar 1.5       and status 1 where a median is above the bar
//! ```
//!
//! The limit is the fastest of a fixed set of bare ping-pongs between the same two processors: one
//! cache line to and fro, or one each way, watched with and without `pause`. Nothing that hands
//! over as many bytes can be faster.
//!
//! Virtual machines move their processors about (near and far, by a factor of seven) and lose time
//! to their hosts. So every sample is short (2 ms), stands between two probes of the one-line
//! ping-pong, and is thrown away where the probes differ by a fifth; contestants take turns within
//! one run; samples between near probes and far ones are two classes; and what is compared is
//! medians of one class.

use antiphon::{Channel, ChannelOptions, Consumer, Publisher, Wait};
use std::hint::spin_loop;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

const SAMPLE: Duration = Duration::from_millis(2);
const PROBE_ROUND_TRIPS: u64 = 1000;
const ROUNDS: usize = 60;
/// Probes on both sides of a sample may differ by this much.
const STEADY: f64 = 1.2;
/// A probe slower than this counts as far: near ones take some 60 ns, far ones some 300.
const FAR_NANOS: f64 = 150.0;
/// Fewer samples say nothing.
const ENOUGH: usize = 10;

/// Bare lines in shared memory: 128 bytes apart, so that no two travel together.
#[repr(C, align(128))]
struct Line {
    flag: AtomicU64,
    first: [AtomicU64; 7],
    second: [AtomicU64; 8],
}

/// How a bare ping-pong hands over.
#[derive(Clone, Copy)]
struct Bare {
    name: &'static str,
    bytes: usize,
    /// One set of lines each way, or the same lines to and fro.
    each_way: bool,
    pause: bool,
}

const BARE: [Bare; 8] = [
    Bare { name: "one line", bytes: 8, each_way: false, pause: true },
    Bare { name: "one line, no pause", bytes: 8, each_way: false, pause: false },
    Bare { name: "a line each way", bytes: 8, each_way: true, pause: true },
    Bare { name: "a line each way, no pause", bytes: 8, each_way: true, pause: false },
    Bare { name: "same lines", bytes: 64, each_way: false, pause: true },
    Bare { name: "same lines, no pause", bytes: 64, each_way: false, pause: false },
    Bare { name: "lines each way", bytes: 64, each_way: true, pause: true },
    Bare { name: "lines each way, no pause", bytes: 64, each_way: true, pause: false },
];

const OURS: [(&str, usize, Wait); 4] = [
    ("antiphon, Spin", 8, Wait::Spin),
    ("antiphon, Adaptive", 8, Wait::Adaptive),
    ("antiphon, Spin", 64, Wait::Spin),
    ("antiphon, Adaptive", 64, Wait::Adaptive),
];

impl Bare {
    fn wait(self, line: &Line, value: u64) {
        while line.flag.load(Acquire) != value {
            if self.pause {
                spin_loop();
            }
        }
    }

    /// 8 bytes travel as the flag itself; 64 behind it.
    fn put(self, line: &Line, value: u64) {
        if self.bytes > 8 {
            for word in line.first.iter().chain(&line.second[..1]) {
                word.store(value, Relaxed);
            }
        }
        line.flag.store(value, Release);
    }

    fn get(self, line: &Line) -> u64 {
        if self.bytes == 8 {
            return line.flag.load(Relaxed);
        }
        line.first.iter().chain(&line.second[..1]).map(|word| word.load(Relaxed)).sum()
    }

    fn call(self, lines: &[Line; 2], round_trips: u64) {
        let back = &lines[usize::from(self.each_way)];
        lines[0].flag.store(0, Relaxed);
        for n in 0..round_trips {
            self.put(&lines[0], 2 * n + 1);
            self.wait(back, 2 * n + 2);
            std::hint::black_box(self.get(back));
        }
    }

    fn answer(self, lines: &[Line; 2], round_trips: u64) {
        let back = &lines[usize::from(self.each_way)];
        for n in 0..round_trips {
            self.wait(&lines[0], 2 * n + 1);
            std::hint::black_box(self.get(&lines[0]));
            self.put(back, 2 * n + 2);
        }
    }
}

fn call(publisher: &mut Publisher, bytes: usize, round_trips: u64, reply: &mut Vec<u8>) {
    let message = [7; 64];
    for _ in 0..round_trips {
        publisher.call_into(&message[..bytes], reply).expect("the other process answers");
        assert_eq!(reply.len(), bytes);
    }
}

fn answer(consumer: &mut Consumer, round_trips: u64, bytes: &mut Vec<u8>) {
    for _ in 0..round_trips {
        let message = consumer.consume_into(bytes).expect("the other process calls");
        message.reply(bytes).expect("the other process waits");
    }
}

/// Made and sized by the first process, since Darwin sizes shared memory once; the second takes the name away.
fn lines(name: &str, is_first: bool) -> &'static [Line; 2] {
    let name = std::ffi::CString::new(format!("/{name}")).expect("no NUL");
    let flags = if is_first { libc::O_CREAT | libc::O_EXCL } else { 0 };
    // SAFETY: a NUL-terminated name.
    let fd = unsafe { libc::shm_open(name.as_ptr(), libc::O_RDWR | flags, 0o600) };
    assert!(fd >= 0, "shared memory");
    if is_first {
        // SAFETY: a plain system call.
        assert_eq!(unsafe { libc::ftruncate(fd, 65536) }, 0, "shared memory");
    } else {
        // SAFETY: a NUL-terminated name.
        unsafe { libc::shm_unlink(name.as_ptr()) };
    }
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the kernel chooses the address.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), 65536, protection, libc::MAP_SHARED, fd, 0) };
    assert!(at != libc::MAP_FAILED, "shared memory");
    // SAFETY: mapped, aligned, never unmapped; zero is a value of every atomic.
    unsafe { &*at.cast() }
}

/// Keeps this process on one processor, where the system can; a hint elsewhere.
fn pin(cpu: usize) {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: a cpu set is plain data, and all zeros is the empty one.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: `cpu` is 0 or 1, which every set has room for.
        unsafe { libc::CPU_SET(cpu, &mut set) };
        // SAFETY: the call reads a set of the length that is given.
        unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = cpu;
}

/// The other process: does as many round trips as it is told, of the kind that it is told.
fn responder(name: &str) {
    pin(1);
    let lines = lines(&format!("{name}-bare"), false);
    let channel = Channel::open(name).expect("the channel is there");
    let mut consumer = channel.consumer().expect("the seat is free");
    let mut bytes = Vec::new();
    for order in std::io::stdin().lines().map_while(Result::ok) {
        let mut words = order.split(' ').map(|word| word.parse::<u64>().expect("a number"));
        let (kind, round_trips) = (words.next().expect("kind"), words.next().expect("count"));
        println!("go");
        match usize::try_from(kind).ok().and_then(|kind| BARE.get(kind)) {
            Some(bare) => bare.answer(lines, round_trips),
            None => {
                consumer.set_wait(OURS[kind as usize - BARE.len()].2);
                answer(&mut consumer, round_trips, &mut bytes);
            }
        }
    }
}

struct Pair {
    child: Child,
    orders: ChildStdin,
    words: BufReader<ChildStdout>,
    lines: &'static [Line; 2],
    publisher: Publisher,
    reply: Vec<u8>,
}

impl Pair {
    /// Nanoseconds a round trip of `kind`.
    fn run(&mut self, kind: usize, round_trips: u64) -> f64 {
        self.lines[0].flag.store(0, Relaxed);
        self.lines[1].flag.store(0, Relaxed);
        writeln!(self.orders, "{kind} {round_trips}").expect("the other process listens");
        self.words.read_line(&mut String::new()).expect("the other process speaks");
        let warm = 50.min(round_trips / 4);
        let counted = round_trips - warm;
        match BARE.get(kind) {
            Some(bare) => {
                // Warm-up and sample are one sequence of numbers.
                let began = Instant::now();
                bare.call(self.lines, round_trips);
                began.elapsed().as_nanos() as f64 / round_trips as f64
            }
            None => {
                let (_, bytes, wait) = OURS[kind - BARE.len()];
                self.publisher.set_wait(wait);
                call(&mut self.publisher, bytes, warm, &mut self.reply);
                let began = Instant::now();
                call(&mut self.publisher, bytes, counted, &mut self.reply);
                began.elapsed().as_nanos() as f64 / counted as f64
            }
        }
    }

    fn probe(&mut self) -> f64 {
        self.run(0, PROBE_ROUND_TRIPS)
    }
}

/// One kept sample.
#[derive(Clone, Copy)]
struct Sample {
    kind: usize,
    probe: f64,
    nanos: f64,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let bar = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--responder", name] => {
            responder(name);
            return ExitCode::SUCCESS;
        }
        [] => None,
        ["--bar", bar] if bar.parse::<f64>().is_ok_and(|bar| bar > 0.0) => bar.parse::<f64>().ok(),
        _ => {
            eprintln!("usage: round_trip [--bar RATIO]");
            return ExitCode::from(2);
        }
    };
    if std::thread::available_parallelism().map_or(1, |n| n.get()) < 2 {
        println!("NOT RUN round_trip: two processors are needed, and this process may use one");
        return ExitCode::SUCCESS;
    }
    let (samples, discarded) = measure();
    report(&samples, &discarded, bar)
}

fn measure() -> (Vec<Sample>, Vec<usize>) {
    pin(0);
    let name = format!("bench-{}", std::process::id());
    let bare_name = format!("{name}-bare");
    let options = ChannelOptions::new().capacity(64 * 1024);
    let publisher = options.create(&name).and_then(|channel| channel.publisher());
    let publisher = publisher.unwrap_or_else(|error| panic!("{error}"));
    let lines = lines(&bare_name, true);
    let exe = std::env::current_exe().expect("this program has a path");
    let mut child = Command::new(exe)
        .args(["--responder", &name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program starts once more");
    let orders = child.stdin.take().expect("piped");
    let words = BufReader::new(child.stdout.take().expect("piped"));
    let mut pair = Pair { child, orders, words, lines, publisher, reply: Vec::new() };
    let kinds = BARE.len() + OURS.len();
    let mut samples = Vec::new();
    let mut discarded = vec![0; kinds];
    for round in 0..ROUNDS {
        for turn in 0..kinds {
            let kind = (turn + round) % kinds;
            let before = pair.probe();
            let round_trips = (SAMPLE.as_nanos() as f64 / (before * 1.5)) as u64;
            let nanos = pair.run(kind, round_trips.clamp(200, 100_000));
            let after = pair.probe();
            if before.max(after) > before.min(after) * STEADY {
                discarded[kind] += 1;
            } else {
                samples.push(Sample { kind, probe: before.min(after), nanos });
            }
        }
    }
    let Pair { mut child, orders, .. } = pair;
    drop(orders);
    child.wait().expect("the other process ends");
    (samples, discarded)
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn report(samples: &[Sample], discarded: &[usize], bar: Option<f64>) -> ExitCode {
    let mut over = false;
    let mut judged = false;
    for (class, is_far) in [("near", false), ("far", true)] {
        let of = |kind: usize| -> Vec<f64> {
            let here = |sample: &&Sample| sample.kind == kind && (sample.probe > FAR_NANOS) == is_far;
            samples.iter().filter(here).map(|sample| sample.nanos).collect()
        };
        for size in [8, 64] {
            let bare = BARE.iter().enumerate().filter(|(_, bare)| bare.bytes == size);
            let bare: Vec<_> = bare.map(|(kind, bare)| (kind, bare.name)).collect();
            let ours = OURS.iter().enumerate().filter(|(_, ours)| ours.1 == size);
            let ours: Vec<_> = ours.map(|(kind, ours)| (kind + BARE.len(), ours.0)).collect();
            let measured = bare.iter().map(|(kind, _)| of(*kind));
            let measured = measured.filter(|values| values.len() >= ENOUGH);
            let limit = measured.filter_map(|mut values| median(&mut values));
            let limit = limit.fold(f64::INFINITY, f64::min);
            if limit.is_infinite() {
                continue;
            }
            println!("\n{size} bytes to and fro, {class} processors; ns");
            println!("{:32}{:>7}{:>8}{:>7}{:>9}{:>8}{:>7}", "", "min", "median", "max", "samples", "thrown", "ratio");
            for (kind, name) in bare.into_iter().chain(ours) {
                let mut values = of(kind);
                let Some(median) = median(&mut values) else { continue };
                let (min, max) = (values[0], values[values.len() - 1]);
                let ratio = median / limit;
                println!("{name:32}{min:7.0}{median:8.0}{max:7.0}{:9}{:8}{ratio:7.2}", values.len(), discarded[kind]);
                // Adaptive has its bars elsewhere.
                if name.ends_with("Spin") && values.len() >= ENOUGH {
                    judged = true;
                    over |= bar.is_some_and(|bar| ratio > bar);
                }
            }
        }
    }
    match bar {
        None => ExitCode::SUCCESS,
        Some(bar) if !judged => {
            println!("\nDISTURBED: too few steady samples to judge by {bar}");
            ExitCode::from(3)
        }
        Some(bar) if over => {
            println!("\nOVER THE BAR of {bar} x the limit");
            ExitCode::from(1)
        }
        Some(bar) => {
            println!("\nwithin the bar of {bar} x the limit");
            ExitCode::SUCCESS
        }
    }
}
