//! Waiting for a word of shared memory by its address: `os_sync_wait_on_address(3)`, macOS 14.4.
//!
//! The calls are looked up when they are first needed, since the linker does not ask which system a program will run
//! on. All processes of a machine find them, or none does. Three things about them are the system's own:
//!
//! * Sleeper and waker both say that the word is shared, and how many bytes it has. Somebody who waits for the same
//!   word in another way gets both of them `EDOM`.
//! * The word is compared where no page can be brought in: `EFAULT` says that its page is away. Reading the word
//!   brings it back, and the call is made again.
//! * No time at all is no limit that it takes.
//!
//! Whatever else goes wrong (no memory for a sleeper, `EDOM`), there is a short pause in place of the sleep: then a
//! bell is heard a millisecond late, and the waiting costs a look each. A ring that wakes nobody costs a tick.

#![allow(unsafe_code)] // One of the homes of unsafe, see CONTRIBUTING.

use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// `os_sync_wait_on_address_with_timeout(address, value, size, flags, clock, nanoseconds)`
type Wait = unsafe extern "C" fn(*mut c_void, u64, usize, u32, u32, u64) -> c_int;
/// `os_sync_wake_by_address_any(address, size, flags)`
type Wake = unsafe extern "C" fn(*mut c_void, usize, u32) -> c_int;

// <os/os_sync_wait_on_address.h>, <os/clock.h>
const SHARED: u32 = 1;
const MACH_ABSOLUTE_TIME: u32 = 32;

/// How often a page may go away again between the look that brought it in and the call.
const PAGE_TRIES: u32 = 8;
/// In place of a sleep that is not to be had.
const PAUSE: Duration = Duration::from_millis(1);

/// That this machine has the calls, and where they are.
#[derive(Clone, Copy)]
pub(crate) struct ByAddress {
    wait: Wait,
    wake: Wake,
}

impl ByAddress {
    pub(crate) fn of_this_machine() -> Option<Self> {
        static FOUND: OnceLock<Option<ByAddress>> = OnceLock::new();
        *FOUND.get_or_init(|| {
            let wait = look_up(c"os_sync_wait_on_address_with_timeout")?;
            let wake = look_up(c"os_sync_wake_by_address_any")?;
            // SAFETY: the function of that name has that type, and is never unloaded.
            let wait = unsafe { std::mem::transmute::<*mut c_void, Wait>(wait) };
            // SAFETY: as above.
            let wake = unsafe { std::mem::transmute::<*mut c_void, Wake>(wake) };
            Some(ByAddress { wait, wake })
        })
    }

    /// Sleeps until somebody wakes who waits for `word`, or `limit` has passed, or a signal came; not at all where it
    /// is not 0.
    pub(crate) fn sleep_while_zero(self, word: &AtomicU32, limit: Duration) {
        if limit.is_zero() {
            return;
        }
        let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        for _ in 0..PAGE_TRIES {
            // SAFETY: `word` is four bytes that are mapped for as long as it is borrowed; the call only reads them.
            let done = unsafe { (self.wait)(address(word), 0, size_of::<u32>(), SHARED, MACH_ABSOLUTE_TIME, nanos) };
            if done >= 0 {
                return;
            }
            match io::Error::last_os_error().raw_os_error() {
                Some(libc::EFAULT) => {
                    // Relaxed: only to bring the page in. The kernel is asked again, so nothing hangs on the value.
                    std::hint::black_box(word.load(Relaxed));
                }
                Some(libc::ETIMEDOUT | libc::EINTR) => return,
                _ => break,
            }
        }
        std::thread::sleep(PAUSE.min(limit));
    }

    /// Wakes one who waits for `word`, if anybody does.
    pub(crate) fn wake(self, word: &AtomicU32) {
        // SAFETY: as in `sleep_while_zero`. It fails where nobody waits, or where somebody waits otherwise.
        unsafe { (self.wake)(address(word), size_of::<u32>(), SHARED) };
    }
}

fn address(word: &AtomicU32) -> *mut c_void {
    word.as_ptr().cast()
}

fn look_up(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: a NUL-terminated name, looked for in everything that is loaded.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::bells::{Bell, TOKENS_OF_ONE};
    use crate::sys::semaphore::Waited;
    use std::cell::Cell;
    use std::time::Instant;

    /// Far longer than anything takes: a sleep of this length was not ended by its ring.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn sleep_for(bell: &Bell<'_>) -> bool {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            // Nothing: a pause in place of a sleep that was not to be had, or a signal.
            if bell.take_within(PATIENCE) == Waited::Token {
                return Instant::now() < until;
            }
        }
        false
    }

    #[test]
    fn a_ring_wakes_a_sleeper_in_another_process() {
        const ROUND_TRIPS: u32 = 2000;
        let Some(words) = ByAddress::of_this_machine() else {
            println!("NOT RUN a_ring_wakes_a_sleeper_in_another_process: this macOS cannot wait for an address");
            return;
        };
        let flags = libc::MAP_SHARED | libc::MAP_ANON;
        // SAFETY: the kernel chooses the address.
        let page =
            unsafe { libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED);
        // SAFETY: two words at the start of a page of zeros, which stays mapped.
        let tokens = unsafe { &*page.cast::<[AtomicU32; 2]>() };
        let [mine, theirs] = [0, 1].map(|end| Bell::Word { words, tokens: &tokens[end], most: TOKENS_OF_ONE });
        // SAFETY: the child makes system calls and touches atomics, which is allowed there.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let all = (0..ROUND_TRIPS).all(|_| {
                let got = sleep_for(&theirs);
                mine.post();
                got
            });
            // SAFETY: ends the child without the test's ending.
            unsafe { libc::_exit(if all { 0 } else { 1 }) };
        }
        for round_trip in 0..ROUND_TRIPS {
            theirs.post();
            assert!(sleep_for(&mine), "round trip {round_trip}");
        }
        let mut status = -1;
        // SAFETY: waits for a child of this process.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
        assert_eq!(tokens.each_ref().map(|tokens| tokens.load(Relaxed)), [0, 0]);
    }

    extern "C" fn wakes_nobody(_: *mut c_void, _: usize, _: u32) -> c_int {
        -1
    }

    /// How often a wait that fails with `ERROR` the first `TIMES` times was made.
    fn tries<const ERROR: i32, const TIMES: u32>() -> u32 {
        thread_local!(static CALLS: Cell<u32> = const { Cell::new(0) });
        extern "C" fn fails<const ERROR: i32, const TIMES: u32>(
            _: *mut c_void,
            _: u64,
            _: usize,
            _: u32,
            _: u32,
            _: u64,
        ) -> c_int {
            CALLS.set(CALLS.get() + 1);
            if CALLS.get() > TIMES {
                return 0;
            }
            nix::errno::Errno::set_raw(ERROR);
            -1
        }
        CALLS.set(0);
        let words = ByAddress { wait: fails::<ERROR, TIMES>, wake: wakes_nobody };
        let began = Instant::now();
        words.sleep_while_zero(&AtomicU32::new(0), PATIENCE);
        let is_over = matches!(ERROR, libc::ETIMEDOUT | libc::EINTR) || CALLS.get() > TIMES;
        assert!(is_over || began.elapsed() >= PAUSE, "a sleep that is not to be had is no busy loop");
        CALLS.get()
    }

    #[test]
    fn a_page_that_is_away_is_brought_in_and_other_failures_cost_a_pause() {
        assert_eq!(tries::<{ libc::EFAULT }, 2>(), 3);
        assert_eq!(tries::<{ libc::EFAULT }, { u32::MAX }>(), PAGE_TRIES);
        assert_eq!(tries::<{ libc::EDOM }, { u32::MAX }>(), 1);
        assert_eq!(tries::<{ libc::ENOMEM }, { u32::MAX }>(), 1);
        assert_eq!(tries::<{ libc::EINTR }, { u32::MAX }>(), 1);
        assert_eq!(tries::<{ libc::ETIMEDOUT }, { u32::MAX }>(), 1);
    }

    #[test]
    fn a_word_that_is_not_zero_and_no_time_at_all_are_not_slept_for() {
        let Some(words) = ByAddress::of_this_machine() else { return };
        let began = Instant::now();
        words.sleep_while_zero(&AtomicU32::new(1), PATIENCE);
        words.sleep_while_zero(&AtomicU32::new(0), Duration::ZERO);
        assert!(began.elapsed() < PATIENCE);
    }
}
