//! Two processes that do what they are told on two processors, or on one, with nothing between them but bare memory
//! and two raw semaphores.
//!
//! The partner does one order after the other. Each side has a thread that sleeps in a read of a pipe to the other:
//! its end is the other's death. So a partner whose caller is gone ends, and a caller whose partner is gone is told,
//! while neither pays for looking. The names are gone as soon as both have them open.

use super::ping_pong::{self, Between, MOST_BYTES, Way};
use super::processors::Places;
use super::semaphores;
use crate::sys::lines::{Board, Line};
use crate::sys::region::{self, GRANULE, HeadAt, Mapping};
use crate::sys::semaphore::{Semaphore, Waited};
use crate::sys::{nonce, processor};
use std::ffi::CString;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

/// Tells a process that it was started as a partner, and of what.
const PARTNER: &str = "ANTIPHON_LIMITS_PARTNER";
/// How long a program may take to come to `answer_if_asked`.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the partner shall do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    /// From now on on this processor.
    Pin(usize),
    PingPong(Way, u64),
    Semaphores(u64),
}

/// The two semaphores, as one side sees them.
pub(super) struct Bells {
    /// That this side sleeps on.
    pub(super) mine: Semaphore,
    /// That the other one sleeps on.
    pub(super) theirs: Semaphore,
}

struct Shared {
    mapping: Mapping,
    bells: Bells,
    is_partner_gone: AtomicBool,
}

/// The caller's side of two processes. One thread has it; ending it ends the partner.
pub struct Pair {
    shared: Arc<Shared>,
    /// None in the partner itself.
    child: Option<Child>,
    places: Places,
    /// One order after the other, from one thread.
    _one_thread: std::marker::PhantomData<std::cell::Cell<()>>,
}

impl Pair {
    /// Starts the partner by `command`, whose program has to call [`answer_if_asked`](super::answer_if_asked) before
    /// anything else, and pins this thread and the partner to `places`.
    ///
    /// # Errors
    /// What the system refused: memory, semaphores, the program, or the processors. A program that ends without being
    /// a partner.
    pub fn start(mut command: Command, places: Places) -> io::Result<Self> {
        let stem = format!("bench-{}-{:06x}", std::process::id(), nonce() & 0xff_ffff);
        let names = Names::new(&stem)?;
        let made = names.make();
        let started = made.and_then(|shared| {
            command.env(PARTNER, &stem).stdin(Stdio::piped()).stdout(Stdio::piped());
            // Who interrupts the caller does not mean its partner, which ends by itself.
            let child = command.process_group(0).spawn()?;
            let pair = Pair { shared: Arc::new(shared), child: Some(child), places, _one_thread: Default::default() };
            pair.meet()
        });
        // Both have them open, or nobody will.
        names.unlink();
        let mut pair = started?;
        pair.place(places)?;
        Ok(pair)
    }

    fn meet(mut self) -> io::Result<Self> {
        let output = self.child.as_mut().and_then(|child| child.stdout.take());
        let shared = Arc::clone(&self.shared);
        std::thread::Builder::new().name("limits-watch".into()).spawn(move || {
            if let Some(mut output) = output {
                while matches!(output.read(&mut [0; 512]), Ok(1..)) {}
            }
            // Release: who sees it and is not asleep sees nothing else of it; who sleeps is woken.
            shared.is_partner_gone.store(true, Release);
            shared.bells.mine.post();
        })?;
        let until = Instant::now() + PATIENCE;
        while self.shared.bells.mine.take_within(PATIENCE) == Waited::Nothing {
            if Instant::now() >= until {
                return Err(no_partner());
            }
        }
        self.check().map_err(|_| no_partner())?;
        Ok(self)
    }

    /// Moves this thread and the partner.
    ///
    /// # Errors
    /// The system refuses, or the partner is gone. Where the system pins nobody that is no error: they stay unpinned.
    pub fn place(&mut self, places: Places) -> io::Result<()> {
        self.places = places;
        if let Some([mine, theirs]) = places.cpus() {
            // Tried here first, where it can be told why it is refused.
            for cpu in [theirs, mine] {
                processor::pin(cpu).map_err(|error| refused(cpu, &error))?;
            }
            self.order(Order::Pin(theirs))?;
        }
        Ok(())
    }

    /// Where both are.
    pub fn places(&self) -> Places {
        self.places
    }

    /// The partner's process id.
    pub fn partner(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// One probe: nanoseconds for one line to and fro; on one processor, with yielding.
    ///
    /// # Errors
    /// The partner is gone.
    pub fn probe(&self) -> io::Result<f64> {
        let (between, count) = if self.places.is_one() { (Between::Yield, 100) } else { (Between::Pause, 1000) };
        ping_pong::time(self, Way { bytes: 8, each_way: false, between }, count)
    }

    /// Tells the partner what to do, and returns when it is about to.
    pub(super) fn order(&self, order: Order) -> io::Result<()> {
        self.check()?; // The token that its end left may have been taken.
        let board = self.board();
        for line in &board.lines {
            line.flag.store(0, Relaxed); // Published by the post, as all of the order.
        }
        let words = match order {
            Order::Pin(cpu) => [0, cpu as u64, 0, 0, 0],
            Order::PingPong(way, count) => [1, way.bytes as u64, u64::from(way.each_way), way.between as u64, count],
            Order::Semaphores(count) => [2, 0, 0, 0, count],
        };
        for (word, value) in board.order.iter().zip(words) {
            word.store(value, Relaxed);
        }
        self.shared.bells.theirs.post();
        self.shared.bells.mine.take();
        self.check()
    }

    /// Whether the partner is still there.
    #[inline]
    pub(super) fn check(&self) -> io::Result<()> {
        if self.shared.is_partner_gone.load(Acquire) {
            let why = "the other process ended in the middle of a measurement: start it again";
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, why));
        }
        Ok(())
    }

    pub(super) fn lines(&self) -> &[Line; 2] {
        &self.board().lines
    }

    pub(super) fn bells(&self) -> &Bells {
        &self.shared.bells
    }

    /// Copies to the memory behind one of the lines.
    pub(super) fn write(&self, line: usize, from: &[u8]) {
        self.shared.mapping.write(payload(line), from);
    }

    /// Copies from the memory behind one of the lines.
    pub(super) fn read(&self, line: usize, to: &mut [u8]) {
        self.shared.mapping.read(payload(line), to);
    }

    fn board(&self) -> &Board {
        Board::of(&self.shared.mapping)
    }

    /// The partner's life.
    fn serve(&mut self) -> io::Result<()> {
        loop {
            self.shared.bells.mine.take();
            let words: Vec<u64> = self.board().order.iter().map(|word| word.load(Relaxed)).collect();
            let ready = || self.shared.bells.theirs.post();
            match words[0] {
                0 => {
                    // A partner that cannot be moved is of no use.
                    processor::pin(words[1] as usize)?;
                    ready();
                }
                1 => {
                    let between = match words[3] {
                        0 => Between::Nothing,
                        1 => Between::Pause,
                        _ => Between::Yield,
                    };
                    let way = Way { bytes: (words[1] as usize).min(MOST_BYTES), each_way: words[2] == 1, between };
                    ping_pong::answer(self, way, words[4], ready)?;
                }
                _ => semaphores::answer(self, words[4], ready),
            }
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Nothing that it does is worth waiting for. Waited for, so that it leaves no zombie.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("partner", &self.partner()).field("places", &self.places).finish_non_exhaustive()
    }
}

fn refused(cpu: usize, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("processor {cpu} cannot be used ({error}): choose one that is there"))
}

fn no_partner() -> io::Error {
    let why =
        "the program that was started as a partner does not call antiphon::limits::answer_if_asked first of all";
    io::Error::new(io::ErrorKind::NotConnected, why)
}

fn payload(line: usize) -> usize {
    GRANULE + line * MOST_BYTES
}

/// The operating system's names of what the two share.
struct Names {
    memory: CString,
    bells: [CString; 2],
}

impl Names {
    fn new(stem: &str) -> io::Result<Self> {
        let name = |suffix: &str| CString::new(format!("/{stem}{suffix}")).map_err(io::Error::other);
        Ok(Names { memory: name("")?, bells: [name("+c")?, name("+p")?] })
    }

    fn make(&self) -> io::Result<Shared> {
        let len = payload(2);
        let object = region::create(&self.memory, 0o600)?.ok_or(io::ErrorKind::AlreadyExists)?;
        // As a channel's memory is made: on pages of the same size.
        crate::sys::seed(&object, len)?;
        region::set_len(&object, len)?;
        let mapping = Mapping::new(&object, len, HeadAt::Start)?;
        mapping.reserve(&object)?;
        let mine = Semaphore::create_anew(&self.bells[0], 0o600)?;
        let theirs = Semaphore::create_anew(&self.bells[1], 0o600)?;
        let bells = Bells { mine, theirs };
        Ok(Shared { mapping, bells, is_partner_gone: AtomicBool::new(false) })
    }

    fn open(&self) -> io::Result<Shared> {
        let object = region::open(&self.memory)?.ok_or(io::ErrorKind::NotFound)?;
        let theirs = Semaphore::open(&self.bells[0])?.ok_or(io::ErrorKind::NotFound)?;
        let mine = Semaphore::open(&self.bells[1])?.ok_or(io::ErrorKind::NotFound)?;
        let bells = Bells { mine, theirs };
        Ok(Shared {
            mapping: Mapping::new(&object, payload(2), HeadAt::Start)?,
            bells,
            is_partner_gone: AtomicBool::new(false),
        })
    }

    fn unlink(&self) {
        // What is not there need not go, and nothing can be done about what will not.
        let _ = region::unlink(&self.memory);
        for bell in &self.bells {
            let _ = Semaphore::unlink(bell);
        }
    }
}

/// See [`answer_if_asked`](super::answer_if_asked).
pub(super) fn answer_if_asked() {
    let Ok(stem) = std::env::var(PARTNER) else { return };
    // Until the caller goes away, however it does.
    std::thread::spawn(|| {
        while matches!(io::stdin().lock().read(&mut [0; 64]), Ok(1..)) {}
        std::process::exit(0);
    });
    let served = Names::new(&stem).and_then(|names| names.open()).and_then(|shared| {
        shared.bells.theirs.post();
        let mut pair = Pair {
            shared: Arc::new(shared),
            child: None,
            places: Places::unpinned(),
            _one_thread: Default::default(),
        };
        pair.serve()
    });
    if let Err(error) = served {
        eprintln!("the measuring partner cannot go on: {error}");
    }
    std::process::exit(1);
}
