//! What a process writes down before and after everything it does, in a mapped file: what a killed one stored is kept.

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

/// An enumeration that is written as its number.
macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($word:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $($word),* }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$word),*];

            pub fn of(number: u8) -> $name {
                $name::ALL[usize::from(number)]
            }
        }
    };
}
pub(crate) use numbered;

numbered! {
    /// What is done.
    What {
        Attach, Send, Consume, LetGo, Leave, Reset, Door, Clean, Altered,
        // Of block files. `Read` and `Named` have no beginning: what a block held, and a range that an error names.
        Claim, Fill, Finish, Cancel, Take, Read, Named,
    }
}

numbered! {
    /// By which call, or how. `Into` and what follows up to `LoanCallTimeout` are named after the library's functions.
    How {
        // Sending.
        Publish, TryPublish, PublishTimeout, PublishVectored, PublishVectoredTimeout,
        Loan, TryLoan, LoanTimeout, LoanDropped,
        Call, CallTimeout, CallInto, CallIntoTimeout, LoanCall, LoanCallTimeout,
        // Consuming.
        Consume, TryConsume, ConsumeTimeout, Into, IntoTimeout,
        // Letting go.
        Drop, Forget, Panic, Reply, ReplyTimeout,
        // At the door.
        Create, Open, OpenOrCreate, Unlink, TakePublisher, TakeConsumer, WaitPublisher, WaitConsumer, Private,
        // Cleaning.
        Census, Remove,
        // Of block files.
        Claim, TryClaim, ClaimTimeout, ClaimAt, TryClaimAt, ClaimAtTimeout, Complete, Finish, FinishTimeout,
        ByWriter, ByReader, ByFile, Session, Host,
    }
}

numbered! {
    /// What came of it.
    Outcome {
        Begun, Fine, Nothing, PeerDied, Disconnected, TimedOut, Aborted, NoReply, NotACall, CallerGone, TooLong,
        NoSpace, NoDescriptors, NotFound, InUse, HoldsMessage, SeatTaken, Stuck, Forked, NotRemoved, Other,
        // Of block files.
        Unfilled, Finished, Cancelled, End, NoHost, NoFile,
    }
}

/// The message is a call.
pub const CALL: u8 = 1;
/// It was marked as redelivered.
pub const MARKED: u8 = 2;
/// Every byte of it was compared.
pub const WHOLE: u8 = 4;
/// It is too short to tell its number; `id` is what it holds.
pub const NAMELESS: u8 = 8;
/// The error says that nothing was delivered.
pub const NOT_DELIVERED: u8 = 16;

/// The error says that no next one can come.
pub const FINAL: u8 = 32;

/// One thing that was begun, or that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Record {
    /// Monotonic nanoseconds.
    pub time: u64,
    pub incarnation: u32,
    /// Which operation of this incarnation: the same at its beginning and at its end.
    pub number: u32,
    what: u8,
    how: u8,
    outcome: u8,
    pub flags: u8,
    /// At the beginning a limit in milliseconds, `NO_LIMIT` for none; at the end of an error the pid it names.
    pub limit: u32,
    pub len: u64,
    /// Of the message or the reply.
    pub id: u64,
    /// Which of the names at the door; of a block, where its bytes belong in the file.
    pub spare: u64,
}

pub const NO_LIMIT: u32 = u32::MAX;

impl Record {
    pub fn new(incarnation: u32, number: u32, what: What, how: How, outcome: Outcome) -> Record {
        let (what, how, outcome) = (what as u8, how as u8, outcome as u8);
        let limit = if outcome == Outcome::Begun as u8 { NO_LIMIT } else { 0 };
        Record { time: now(), incarnation, number, what, how, outcome, flags: 0, limit, len: 0, id: 0, spare: 0 }
    }

    pub fn what(&self) -> What {
        What::of(self.what)
    }

    pub fn how(&self) -> How {
        How::of(self.how)
    }

    pub fn outcome(&self) -> Outcome {
        Outcome::of(self.outcome)
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub fn is_begin(&self) -> bool {
        self.outcome() == Outcome::Begun
    }
}

impl std::fmt::Display for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (incarnation, number) = (self.incarnation, self.number);
        write!(f, "#{incarnation}.{number} {:?} {:?}: {:?}", self.what(), self.how(), self.outcome())?;
        let (from, of) = (self.id >> 32, self.id & 0xffff_ffff);
        if self.has(NAMELESS) {
            write!(f, ", {} bytes {:#x}", self.len, self.id)?;
        } else if self.len > 0 || self.id > 0 {
            write!(f, ", {} bytes of {from}.{of}", self.len)?;
        }
        let words = [
            (CALL, "call"),
            (MARKED, "marked"),
            (WHOLE, "whole"),
            (NOT_DELIVERED, "not delivered"),
            (FINAL, "final"),
        ];
        if self.spare > 0 {
            write!(f, ", at {:#x}", self.spare)?;
        }
        for (flag, word) in words {
            if self.has(flag) {
                write!(f, ", {word}")?;
            }
        }
        match (self.is_begin(), self.limit) {
            (true, NO_LIMIT) | (false, 0) => Ok(()),
            (true, limit) => write!(f, ", within {limit} ms"),
            (false, pid) => write!(f, ", pid {pid}"),
        }
    }
}

/// Nanoseconds of the one clock that all processes share and that nobody sets.
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The first page of a log.
#[repr(C)]
pub struct Head {
    records: AtomicU64,
    /// Of all incarnations.
    pub operations: AtomicU64,
    /// The channel's last publisher is about to leave.
    pub done: AtomicU64,
    /// When the present incarnation was about to die, by its own hand or anyone's.
    pub dying_at: AtomicU64,
    /// At which of `steps::ALL`, plus one; 0 at none.
    pub died_at_step: AtomicU32,
    /// For how long it wants to be stopped.
    pub stop_millis: AtomicU32,
    pub signals: AtomicU64,
    pub forks: AtomicU64,
    /// Times that a forked child was not refused.
    pub not_refused: AtomicU64,
    pub moves: AtomicU64,
    pub panics: AtomicU64,
    /// The name of the private channel that this side made: its length, and its bytes.
    name: [AtomicU64; 5],
    /// The name leads nowhere any more.
    pub name_is_gone: AtomicU64,
    /// Of a block file; in the log that all of its processes share.
    pub file: FileHead,
}

/// How far a block file has come.
#[repr(C)]
pub struct FileHead {
    /// It stands there.
    pub made: AtomicU64,
    /// It was not there any more.
    pub vanished: AtomicU64,
    /// A writer saw it finished, or anybody cancelled.
    pub finished: AtomicU64,
    /// A reader saw its end, or anybody that it is cancelled.
    pub drained: AtomicU64,
    /// No writer will come any more.
    pub abandoned: AtomicU64,
    /// Blocks that were completed.
    pub filled: AtomicU64,
    /// Places that writers chose.
    pub chosen: AtomicU64,
    /// Of a session's file, by part: the number of its block file.
    pub parts: [AtomicU64; 4],
}

impl Head {
    /// Hands the name of a private channel to whoever starts the other side.
    pub fn hand_over(&self, name: &str) {
        let mut bytes = [0; 32];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        for (word, bytes) in self.name[1..].iter().zip(bytes.chunks_exact(8)) {
            word.store(bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)), Relaxed);
        }
        self.name[0].store(name.len() as u64, Release);
    }

    pub fn handed_over(&self) -> Option<String> {
        let len = self.name[0].load(Acquire) as usize;
        let bytes = self.name[1..].iter().flat_map(|word| word.load(Relaxed).to_le_bytes());
        (len > 0).then(|| String::from_utf8(bytes.take(len).collect()).expect("a name"))
    }

    /// Nothing was written yet, and nothing handed over.
    pub fn begin_anew(&self) {
        self.records.store(0, Relaxed);
        self.name[0].store(0, Relaxed);
        self.name_is_gone.store(0, Relaxed);
        let FileHead { made, vanished, finished, drained, abandoned, filled, chosen, parts } = &self.file;
        for word in [made, vanished, finished, drained, abandoned, filled, chosen].into_iter().chain(parts) {
            word.store(0, Relaxed);
        }
    }
}

const HEAD: usize = 4096;
/// What is never written takes no space.
const BYTES: usize = 64 << 20;
const MOST: u64 = ((BYTES - HEAD) / size_of::<Record>()) as u64;

/// A log, mapped.
pub struct Log {
    base: *mut u8,
}

// SAFETY: a mapping belongs to the process; one thread of one process appends, and the count orders readers.
unsafe impl Send for Log {}
// SAFETY: as above.
unsafe impl Sync for Log {}

impl Log {
    /// Opens the log, or makes it.
    pub fn open(path: &Path) -> Log {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        file.set_len(BYTES as u64).unwrap();
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let fd = file.as_raw_fd();
        // SAFETY: the kernel chooses the address.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), BYTES, protection, libc::MAP_SHARED, fd, 0) };
        assert_ne!(base, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        Log { base: base.cast() }
    }

    pub fn head(&self) -> &Head {
        // SAFETY: the mapping is page-aligned, lives as long as `self`, and every field is an atomic, all bits valid.
        unsafe { &*self.base.cast::<Head>() }
    }

    pub fn append(&self, record: Record) {
        let at = self.head().records.load(Relaxed);
        assert!(at < MOST, "the log is full");
        // SAFETY: within the mapping, by the assertion; a record's size keeps it aligned.
        let place = unsafe { self.base.add(HEAD + at as usize * size_of::<Record>()) };
        // SAFETY: this thread is the only writer, and nobody reads behind the count.
        unsafe { place.cast::<Record>().write(record) };
        self.head().records.store(at + 1, Release);
    }

    pub fn count(&self) -> u64 {
        self.head().records.load(Acquire)
    }

    pub fn records(&self) -> Vec<Record> {
        (0..self.count().min(MOST) as usize)
            .map(|at| {
                // SAFETY: within the mapping, as in `append`.
                let place = unsafe { self.base.add(HEAD + at * size_of::<Record>()) };
                // SAFETY: written before the count said so.
                unsafe { place.cast::<Record>().read() }
            })
            .collect()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // SAFETY: mapped in `open` with this length.
        unsafe { libc::munmap(self.base.cast(), BYTES) };
    }
}
