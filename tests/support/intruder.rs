//! A third party: the region of a channel, mapped behind the library's back.
#![allow(dead_code, missing_docs)] // Each test file uses its part of it.

use std::ffi::CString;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub const HEADER: usize = 64 * 1024;
pub const SEATS: usize = 4096;
pub const SEAT: usize = 64;
/// The words of the bells, where they are no semaphores.
pub const BELLS: [usize; 2] = [6144, 6144 + 128];
pub const TURN: usize = 8192;
pub const LENGTH: usize = TURN + 8;
pub const NOTES: usize = TURN + 256;
/// Whether the consumer waits to copy out.
pub const WANTS: usize = NOTES + 128 + 68;
pub const RING: usize = TURN + 512;
/// How far the publisher and the consumer have come in a flow.
pub const PROGRESS: [usize; 2] = [TURN + 640, TURN + 768];
/// Everything behind it is spare.
pub const USED: usize = TURN + 9 * 128;
/// The identity's own spare bytes are between these.
pub const IDENTITY_SPARE: std::ops::Range<usize> = 280..4096;

/// The region, open for writing.
pub struct Intruder {
    base: *mut u8,
    len: usize,
}

// SAFETY: a mapping belongs to the process, and all that is done through it are atomic accesses.
unsafe impl Send for Intruder {}
// SAFETY: as above.
unsafe impl Sync for Intruder {}

/// Takes a region's name away, whatever stands in it, and in the registry where there is one.
#[allow(dead_code)] // Not every test needs it.
pub fn unlink(name: &str) {
    let name = CString::new(format!("/{name}")).unwrap();
    // SAFETY: a NUL-terminated name.
    unsafe { libc::shm_unlink(name.as_ptr()) };
}

impl Intruder {
    pub fn new(name: &str) -> Intruder {
        let name = CString::new(format!("/{name}")).unwrap();
        // SAFETY: a NUL-terminated name, and no O_CREAT.
        let fd = unsafe { libc::shm_open(name.as_ptr(), libc::O_RDWR, 0o600) };
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: `stat` is plain data, and all zeros is one of its values.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: an open descriptor and a place for the answer.
        assert_eq!(unsafe { libc::fstat(fd, &raw mut stat) }, 0);
        let len = stat.st_size as usize;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses the address.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_SHARED, fd, 0) };
        assert_ne!(base, libc::MAP_FAILED);
        // SAFETY: opened above, closed once.
        unsafe { libc::close(fd) };
        Intruder { base: base.cast(), len }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn byte(&self, at: usize) -> &AtomicU8 {
        assert!(at < self.len);
        // SAFETY: within the mapping, which lives as long as `self`.
        let byte = unsafe { self.base.add(at) };
        // SAFETY: as above; any value is an atomic's.
        unsafe { AtomicU8::from_ptr(byte) }
    }

    pub fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at % 8 == 0 && at + 8 <= self.len);
        // SAFETY: within the mapping, and aligned, since the mapping is.
        let word = unsafe { self.base.add(at) };
        // SAFETY: as above; any value is an atomic's.
        unsafe { AtomicU64::from_ptr(word.cast()) }
    }

    /// Whether the bells are words of the region.
    pub fn has_words(&self) -> bool {
        self.word(16).load(Relaxed).to_ne_bytes()[..4] == 5u32.to_ne_bytes()
    }

    /// The header as it is.
    pub fn save(&self) -> Vec<u64> {
        (0..HEADER / 8).map(|word| self.word(word * 8).load(Relaxed)).collect()
    }

    /// Makes the header what it was, while nobody is at work.
    pub fn restore(&self, saved: &[u64]) {
        for (word, value) in saved.iter().enumerate() {
            self.word(word * 8).store(*value, Relaxed);
        }
    }

    /// The turn's word as it has to be for `side` (1: the consumer) and `content`, one step on.
    pub fn turn(&self, side: u64, content: u64, marks: u64) -> u64 {
        let step = (self.word(TURN).load(Relaxed) >> 16).wrapping_add(1);
        step << 16 | content << 8 | marks | side
    }
}

impl Drop for Intruder {
    fn drop(&mut self) {
        // SAFETY: what mmap gave; everything that borrowed from it is gone.
        unsafe { libc::munmap(self.base.cast(), self.len) };
    }
}

/// A hole of a region's size between pages that nobody may touch: an access beside what is mapped
/// there ends the process. Where the system maps is its own affair: ask whether it took the hole.
pub struct Cage {
    hole: usize,
    parts: Vec<(usize, usize)>,
}

impl Cage {
    const BARS: usize = 1 << 20;

    pub fn new(total: usize) -> Cage {
        let forbid = |len: usize| {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANON;
            // SAFETY: the kernel chooses the address.
            let at = unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
            assert_ne!(at, libc::MAP_FAILED);
            at as usize
        };
        // Every other hole that a region fits in is filled, as Linux takes the highest.
        let mut parts: Vec<_> = (0..64).map(|_| (forbid(total), total)).collect();
        let bars = forbid(total + 2 * Self::BARS);
        let hole = bars + Self::BARS;
        // SAFETY: the middle of what was mapped just now.
        unsafe { libc::munmap(hole as *mut libc::c_void, total) };
        parts.extend([(bars, Self::BARS), (hole + total, Self::BARS)]);
        Cage { hole, parts }
    }

    /// Whether the channel's region is in it; `None` where the system does not tell.
    pub fn holds(&self, name: &str) -> Option<bool> {
        let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
        let start = format!("{:x}-", self.hole);
        let region = format!("/dev/shm/{name}");
        Some(maps.lines().any(|line| line.starts_with(&start) && line.ends_with(&region)))
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        for (at, len) in &self.parts {
            // SAFETY: mapped in `new`, and nothing of the program's is there.
            unsafe { libc::munmap(*at as *mut libc::c_void, *len) };
        }
    }
}

/// Watches single operations: one that takes longer than any limit it was given ends the test.
#[derive(Clone)]
pub struct Pulse(Arc<Mutex<Option<(Instant, &'static str)>>>);

impl Pulse {
    pub fn new(patience: Duration) -> Pulse {
        let patience = crate::support::patient(patience);
        let began = Arc::new(Mutex::new(None));
        let watched = Arc::downgrade(&began);
        std::thread::spawn(move || {
            while let Some(began) = watched.upgrade() {
                if let Some((since, what)) = *began.lock().unwrap() {
                    if Instant::now().duration_since(since) > patience {
                        eprintln!("hangs: {what}, for more than {patience:?}");
                        std::process::abort();
                    }
                }
                drop(began);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Pulse(began)
    }

    pub fn during<T>(&self, what: &'static str, work: impl FnOnce() -> T) -> T {
        *self.0.lock().unwrap() = Some((Instant::now(), what));
        let done = work();
        *self.0.lock().unwrap() = None;
        done
    }
}

/// Whether shared memory can be reached as files, which tests of what else may stand there need.
/// Prints that `test` is not run where it cannot.
pub fn has_paths(test: &str) -> bool {
    let name = crate::support::unique("paths");
    let channel = antiphon::ChannelOptions::new().capacity(65536).create(&name).unwrap();
    let can = std::fs::File::open(format!("/dev/shm/{name}")).is_ok();
    drop(channel);
    if !can {
        println!("NOT RUN {test}: shared memory has no path here");
    }
    can
}

/// The file in which the C library keeps one of a channel's semaphores, `p` or `c`.
pub fn bell_file(name: &str, bell: &str) -> String {
    let prefix = if cfg!(target_env = "gnu") { "sem." } else { "" };
    format!("{prefix}{name}+{bell}")
}

/// The same with its folder.
pub fn bell_path(name: &str, bell: &str) -> String {
    format!("/dev/shm/{}", bell_file(name, bell))
}

/// Where in it stand the value and the count of waiters. What stands elsewhere the C library trusts: another futex flag
/// there and it ends the process, which no caller of `sem_wait` can prevent.
pub const BELL_WORDS: [u64; 2] =
    if cfg!(all(target_env = "gnu", target_pointer_width = "32")) { [0, 12] } else { [0, 4] };

/// Whether this is root. Prints that `test` is not run where it is not.
pub fn is_root(test: &str) -> bool {
    // SAFETY: takes nothing and cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    if !is_root {
        println!("NOT RUN {test}: it takes root");
    }
    is_root
}
