//! A process that works, and what befalls it: it dies where its plan says, stops, is disturbed by signals, runs out of
//! descriptors, is moved from processor to processor, forks.

use crate::bytes::{id, mix};
use crate::log::{CALL, FINAL, Head, How, Log, NO_LIMIT, NOT_DELIVERED, Outcome, Record, What};
use crate::plan::{self, Climate, Ending, Kind, Life, Side};
use crate::support::Dice;
use antiphon::{ChannelOptions, Delivered, Error};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::time::{Duration, Instant};

/// What a worker is told by the words of its role.
#[derive(Debug, Clone)]
pub struct Orders {
    pub folder: PathBuf,
    pub seed: u64,
    pub climate: Climate,
    pub channel: u32,
    pub capacity: usize,
    /// The publishers' operations, all together.
    pub operations: u64,
    pub side: Side,
    pub incarnation: u32,
    /// Empty for whoever is to make a private channel.
    pub name: String,
    pub kind: Kind,
    /// Whether /dev/shm is the round's own.
    pub has_own_shm: bool,
    /// Which of several logs of the same side.
    pub slot: u32,
}

impl Orders {
    pub fn to_words(&self) -> Vec<String> {
        let folder = self.folder.to_str().expect("a folder of ours").to_owned();
        let numbers = [
            self.seed,
            self.climate as u64,
            self.channel.into(),
            self.capacity as u64,
            self.operations,
            self.side as u64,
            self.incarnation.into(),
            self.slot.into(),
            self.kind as u64,
            self.has_own_shm.into(),
        ];
        let mut words = vec![folder, self.name.clone()];
        words.extend(numbers.iter().map(u64::to_string));
        words
    }

    pub fn of_words(words: &[String]) -> Orders {
        let number = |at: usize| words[at + 2].parse::<u64>().unwrap();
        Orders {
            folder: words[0].clone().into(),
            name: words[1].clone(),
            seed: number(0),
            climate: Climate::of(number(1) as u8),
            channel: number(2) as u32,
            capacity: number(3) as usize,
            operations: number(4),
            side: Side::of(number(5) as u8),
            incarnation: number(6) as u32,
            slot: number(7) as u32,
            kind: Kind::of(number(8) as u8),
            has_own_shm: number(9) != 0,
        }
    }

    pub fn log_path(&self) -> PathBuf {
        log_path(&self.folder, self.channel, self.side, self.slot)
    }
}

pub fn log_path(folder: &Path, channel: u32, side: Side, slot: u32) -> PathBuf {
    folder.join(format!("{channel}-{side:?}-{slot}.log"))
}

/// The log of this process, for the steps, the signal handler and whoever ends it.
static OWN: OnceLock<Log> = OnceLock::new();
static LIFE: OnceLock<Life> = OnceLock::new();
static DYING: AtomicU32 = AtomicU32::new(0);
static STOPPING: AtomicU32 = AtomicU32::new(0);
static NAPS: AtomicU64 = AtomicU64::new(0);
static PARENT: AtomicU32 = AtomicU32::new(0);
/// Nothing befalls this process yet: what it would leave, nobody could tell from what other programs make.
static SPARED: AtomicBool = AtomicBool::new(false);

fn head() -> &'static Head {
    OWN.get().expect("a worker").head()
}

/// Whether this is a forked child, whom none of the parent's plans concern.
fn is_child() -> bool {
    PARENT.load(Relaxed) != std::process::id()
}

fn die() -> ! {
    head().dying_at.store(crate::log::now(), Relaxed);
    // SAFETY: a plain system call on this process; to the process and not the thread, so nothing of it goes on.
    unsafe { libc::kill(std::process::id() as i32, libc::SIGKILL) };
    loop {
        std::hint::spin_loop();
    }
}

fn at_step(step: &'static str) {
    let Some(life) = LIFE.get().filter(|_| !SPARED.load(Relaxed)) else { return };
    if life.naps > 0 {
        let roll = mix(life.naps.wrapping_add(NAPS.fetch_add(1, Relaxed)));
        match roll % 512 {
            // As long as a publisher waits for a flow to be taken, and longer.
            0 => std::thread::sleep(Duration::from_micros(roll >> 9 & 0x1fff)),
            1..=10 => std::thread::yield_now(),
            _ => {}
        }
    }
    if let Ending::AtStep { step: last, nth } = life.ending {
        if last == step && !is_child() && DYING.fetch_add(1, Relaxed) + 1 == nth {
            let number = all_steps().position(|one| *one == step);
            head().died_at_step.store(number.map_or(0, |number| number as u32 + 1), Relaxed);
            die();
        }
    }
    if let Some(stop) = life.stop {
        if stop.step == step && !is_child() && STOPPING.fetch_add(1, Relaxed) + 1 == stop.nth {
            head().stop_millis.store(stop.millis, Relaxed);
            // SAFETY: a plain system call on this process.
            unsafe { libc::raise(libc::SIGSTOP) };
        }
    }
}

/// A channel's and a block file's.
pub fn all_steps() -> impl Iterator<Item = &'static &'static str> {
    antiphon::steps::ALL.iter().chain(antiphon::steps::OF_BLOCKS)
}

/// One working process.
pub struct Worker {
    pub orders: Orders,
    pub log: &'static Log,
    pub dice: Dice,
    pub life: Life,
    pub number: u32,
    /// What it took so that there is nothing left.
    descriptors: Vec<std::fs::File>,
    /// Operation and nanoseconds, for the thread that ends this process.
    fuse: &'static AtomicU64,
}

impl Worker {
    pub fn new(words: &[String]) -> Worker {
        Worker::with(words, plan::life)
    }

    /// One that nothing befalls.
    pub fn undisturbed(words: &[String]) -> Worker {
        Worker::with(words, |_, _, _, _| Life::UNDISTURBED)
    }

    fn with(words: &[String], life: fn(Climate, &mut Dice, Side, Kind) -> Life) -> Worker {
        let orders = Orders::of_words(words);
        let mut dice = plan::dice(orders.seed, orders.channel * 16 + orders.slot, orders.side, orders.incarnation);
        let life = life(orders.climate, &mut dice, orders.side, orders.kind);
        SPARED.store(orders.name.is_empty() && !orders.has_own_shm, Relaxed);
        PARENT.store(std::process::id(), Relaxed);
        let log = OWN.get_or_init(|| Log::open(&orders.log_path()));
        let _ = LIFE.set(life);
        static FUSE: AtomicU64 = AtomicU64::new(0);
        let mut worker = Worker { orders, log, dice, life, number: 0, descriptors: Vec::new(), fuse: &FUSE };
        if let Ending::Around { .. } = life.ending {
            worker.lay_fuse();
        }
        if life.has_signals {
            storm();
        }
        antiphon::steps::watch(at_step);
        worker
    }

    /// Another thread of this process, with a log and dice of its own.
    pub fn thread(&self, nth: u32) -> Worker {
        let orders = Orders { slot: self.orders.slot + nth, ..self.orders.clone() };
        let log: &'static Log = Box::leak(Box::new(Log::open(&orders.log_path())));
        let dice = plan::dice(orders.seed ^ u64::from(nth), orders.channel, orders.side, orders.incarnation);
        // The fuse and the fork are the first one's.
        let life = Life { fork: None, has_few_descriptors: false, ..self.life };
        Worker { orders, log, dice, life, number: nth << 24, descriptors: Vec::new(), fuse: self.fuse }
    }

    /// The same thread with the log of the other side, whose operations have other numbers.
    pub fn beside(&self, side: Side) -> Worker {
        let orders = Orders { side, ..self.orders.clone() };
        let log: &'static Log = Box::leak(Box::new(Log::open(&orders.log_path())));
        Worker { orders, log, number: self.number, ..self.thread(0) }
    }

    /// This thread does nothing more.
    pub fn log_leaving(&mut self) {
        self.number += 1;
        let begun = self.begin(What::Leave, How::Drop);
        self.log.append(begun);
    }

    pub fn options(&self) -> ChannelOptions {
        let options = ChannelOptions::new().capacity(self.orders.capacity).wait(self.life.wait);
        options.persistent(self.orders.kind == Kind::Persistent)
    }

    /// What this side made has this name, and is known by it from now on.
    pub fn hand_over(&mut self, name: &str) {
        self.orders.name = name.to_owned();
        self.log.head().hand_over(name);
        SPARED.store(false, Relaxed);
    }

    /// A thread that kills this process when it is told to.
    fn lay_fuse(&mut self) {
        let fuse = self.fuse;
        let lit = std::thread::spawn(move || {
            loop {
                std::thread::park();
                let nanos = fuse.load(Relaxed);
                if nanos == 0 {
                    continue;
                }
                let until = Instant::now() + Duration::from_nanos(nanos);
                std::thread::sleep(Duration::from_nanos(nanos).saturating_sub(Duration::from_millis(1)));
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
                die();
            }
        });
        let _ = FUSE_THREAD.set(lit.thread().clone());
    }

    /// What may befall it before an operation.
    pub fn befall(&mut self) {
        if SPARED.load(Relaxed) {
            return;
        }
        if let Ending::Around { operation, nanos } = self.life.ending {
            if operation == self.number {
                self.fuse.store(nanos + 1, Relaxed);
                if let Some(thread) = FUSE_THREAD.get() {
                    thread.unpark();
                }
            }
        }
        if self.life.moves && self.dice.below(8) == 0 && move_somewhere(self.dice.roll()) {
            self.log.head().moves.fetch_add(1, Relaxed);
        }
        if self.life.has_few_descriptors && self.descriptors.is_empty() {
            let spare = self.dice.below(3) as usize;
            self.take_descriptors(spare);
        }
    }

    /// Takes all but a few of what this process may have.
    pub fn take_descriptors(&mut self, spare: usize) {
        limit_descriptors(64);
        let null = || std::fs::File::open("/dev/null").ok();
        self.descriptors.extend(std::iter::from_fn(null));
        let keep = self.descriptors.len().saturating_sub(spare);
        self.descriptors.truncate(keep);
    }

    pub fn give_descriptors_back(&mut self) {
        self.descriptors.clear();
    }

    /// Whether to fork now, and for how many milliseconds the child stays.
    pub fn forks_now(&self) -> Option<u32> {
        self.life.fork.filter(|(operation, _)| *operation == self.number).map(|(_, millis)| millis)
    }

    pub fn begin(&mut self, what: What, how: How) -> Record {
        self.log.head().operations.fetch_add(1, Relaxed);
        Record::new(self.orders.incarnation, self.number, what, how, Outcome::Begun)
    }

    /// The end of what `begun` began: after an error, what that says.
    pub fn end<T>(&self, begun: &Record, result: &Result<T, Error>) -> Record {
        let mut record = Record::new(begun.incarnation, begun.number, begun.what(), begun.how(), Outcome::Fine);
        record.flags = begun.flags & CALL;
        if let Err(error) = result {
            self.complain(&mut record, error);
        }
        record
    }

    fn complain(&self, record: &mut Record, error: &Error) {
        let mut outcome = outcome_of(error);
        if outcome == Outcome::Other {
            self.remark(&format!("{record}: {error:?}"));
        }
        // What it says about the name has to be so.
        let text = error.to_string();
        let tells_name = text.contains(&self.orders.name) || text.contains(crate::files::NAME);
        if !tells_name && outcome != Outcome::Other {
            self.remark(&format!("{record}: the error does not tell the name: {error}"));
            outcome = Outcome::Other;
        }
        let flags = record.flags;
        *record = Record::new(record.incarnation, record.number, record.what(), record.how(), outcome);
        record.flags = flags;
        record.limit = match error {
            Error::PeerDied { pid, .. } | Error::InUse { pid, .. } | Error::SeatTaken { pid, .. } => *pid,
            _ => 0,
        };
        if error.delivered() == Some(Delivered::No) {
            record.flags |= NOT_DELIVERED;
        }
        if let Error::PeerDied { is_final: true, .. } | Error::Disconnected { is_final: true, .. } = error {
            record.flags |= FINAL;
        }
    }

    /// For whoever looks for the reason of a violation.
    pub fn remark(&self, what: &str) {
        use std::io::Write;
        let path = self.orders.folder.join("remarks");
        self.remarks_room();
        if let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path) {
            let Orders { channel, side, .. } = self.orders;
            let _ = file.write_all(format!("channel {channel}, {side:?} {what}\n").as_bytes());
        }
    }

    fn remarks_room(&self) {
        if self.life.has_few_descriptors {
            limit_descriptors(256);
        }
    }

    /// Something came that is not what was sent.
    pub fn altered(&self, begun: &Record, why: &str) {
        self.remark(&format!("{begun}: altered: {why}"));
        self.log.append(Record::new(begun.incarnation, begun.number, What::Altered, begun.how(), Outcome::Other));
    }

    pub fn id(&self) -> u64 {
        id(self.orders.incarnation, self.number)
    }

    /// A short pause now and then, so that the other end falls asleep.
    pub fn pause(&mut self) {
        let micros = match self.dice.below(300) {
            0 => 30_000 + self.dice.below(40_000),
            1..=20 => self.dice.below(1500),
            _ => return,
        };
        std::thread::sleep(Duration::from_micros(micros));
    }

    /// A limit in milliseconds, often one that is too short.
    pub fn limit(&mut self) -> u32 {
        [0, 1, 1, 2, 5, 20, 100, 1000][self.dice.below(8) as usize]
    }

    /// The end of its life, with `hands` still full.
    pub fn finish<T>(&mut self, hands: T, leaves: bool) {
        let begun = self.begin(What::Leave, How::Drop);
        if self.life.ending == Ending::Exits && !leaves {
            self.log.head().dying_at.store(crate::log::now(), Relaxed);
            std::process::exit(0);
        }
        self.log.append(begun);
        drop(hands);
        self.log.append(self.end(&begun, &Ok(())));
    }
}

/// The end of this process, with something in hand.
pub fn exit_with<T>(in_hand: T) -> ! {
    std::mem::forget(in_hand);
    head().dying_at.store(crate::log::now(), Relaxed);
    std::process::exit(0)
}

static FUSE_THREAD: OnceLock<std::thread::Thread> = OnceLock::new();

pub fn outcome_of(error: &Error) -> Outcome {
    match error {
        Error::PeerDied { .. } => Outcome::PeerDied,
        Error::Disconnected { .. } => Outcome::Disconnected,
        Error::TimedOut { .. } => Outcome::TimedOut,
        Error::Aborted { .. } => Outcome::Aborted,
        Error::NoReply { .. } => Outcome::NoReply,
        Error::NotACall { .. } => Outcome::NotACall,
        Error::CallerGone { .. } => Outcome::CallerGone,
        Error::TooLong { .. } => Outcome::TooLong,
        Error::NoSpace { .. } => Outcome::NoSpace,
        Error::NotFound { .. } => Outcome::NotFound,
        Error::InUse { .. } => Outcome::InUse,
        Error::HoldsMessage { .. } => Outcome::HoldsMessage,
        Error::NotRemoved { .. } => Outcome::NotRemoved,
        Error::SeatTaken { .. } => Outcome::SeatTaken,
        Error::Stuck { .. } => Outcome::Stuck,
        Error::Forked { .. } => Outcome::Forked,
        Error::Unfilled { .. } => Outcome::Unfilled,
        Error::Finished { .. } => Outcome::Finished,
        Error::Cancelled { .. } => Outcome::Cancelled,
        Error::NoHost { .. } => Outcome::NoHost,
        Error::NoFile { .. } => Outcome::NoFile,
        Error::System { source, .. } if source.raw_os_error() == Some(libc::EMFILE) => Outcome::NoDescriptors,
        _ => Outcome::Other,
    }
}

pub fn millis(limit: u32) -> Option<Duration> {
    (limit != NO_LIMIT).then(|| Duration::from_millis(limit.into()))
}

fn limit_descriptors(limit: u64) {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a place for the answer.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut now) }, 0);
    now.rlim_cur = (limit as libc::rlim_t).min(now.rlim_max);
    // SAFETY: a valid limit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const now) }, 0);
}

/// A signal a thousand times a second, and a handler without SA_RESTART: every call that can be interrupted is.
fn storm() {
    extern "C" fn count(_: libc::c_int) {
        if let Some(log) = OWN.get() {
            log.head().signals.fetch_add(1, Relaxed);
        }
    }
    // SAFETY: `sigaction` is plain data, and all zeros is one of its values: no flags.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = count as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: the handler adds to one atomic.
    assert_eq!(unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) }, 0);
    let every = libc::timeval { tv_sec: 0, tv_usec: 1000 };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    set_timer(&timer);
}

fn set_timer(timer: &libc::itimerval) {
    const ITIMER_REAL: libc::c_int = 0; // The same number on every system, and not in `libc` for all.
    unsafe extern "C" {
        fn setitimer(which: libc::c_int, new: *const libc::itimerval, old: *mut libc::itimerval) -> libc::c_int;
    }
    // SAFETY: a valid timer, and no place for the old one.
    assert_eq!(unsafe { setitimer(ITIMER_REAL, timer, std::ptr::null_mut()) }, 0);
}

/// To a processor, or several, that the dice choose. False where the system has no such thing.
#[cfg(target_os = "linux")]
fn move_somewhere(roll: u64) -> bool {
    // SAFETY: a set is plain data, and all zeros is the empty one.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let processors = std::thread::available_parallelism().map_or(1, usize::from).max(2);
    for processor in 0..processors {
        if roll >> processor & 1 == 1 {
            // SAFETY: far fewer than the set has room for.
            unsafe { libc::CPU_SET(processor, &mut set) };
        }
    }
    // SAFETY: a valid set; an empty one is refused, and then nothing changes.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn move_somewhere(_roll: u64) -> bool {
    false
}

/// Forks. The child tries what the parent has, in `tries`, which says how many were not refused; and stays for so
/// long, whatever becomes of the parent.
pub fn fork_and_try(millis: u32, tries: impl FnOnce() -> u64) {
    // SAFETY: the child allocates, which glibc and Darwin allow, tries, sleeps and ends without running anything else.
    let child = unsafe { libc::fork() };
    if child != 0 {
        head().forks.fetch_add(1, Relaxed);
        return;
    }
    let wrong = tries();
    head().not_refused.fetch_add(wrong, Relaxed);
    std::thread::sleep(Duration::from_millis(millis.into()));
    // SAFETY: ends this process, without the parent's destructors.
    unsafe { libc::_exit(0) };
}

pub fn is_refused<T>(result: Result<T, Error>) -> u64 {
    u64::from(!matches!(result, Err(Error::Forked { .. })))
}
