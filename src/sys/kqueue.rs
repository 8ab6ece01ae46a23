//! The end of a process, by kqueue: `kqueue(2)`, `EVFILT_PROC` with `NOTE_EXIT`.
//!
//! It can be asked of any process that one can see, another user's too. A zombie is none: `ESRCH`, as for a number
//! that nobody has. Two traps:
//!
//! * The event is the ending itself. Of a process whose end has begun already, but that is still found, no event need
//!   come; so whether it is there is asked as well. Either answer will do.
//! * A child does not inherit a queue, so that there its number may be that of something else: only the process that
//!   made it closes it.

#![allow(unsafe_code)] // One of the homes of unsafe, see CONTRIBUTING.

use super::darwin::{EV_ADD, EV_ERROR, EV_ONESHOT, EVFILT_PROC, NOTE_EXIT, kevent, kqueue, start_time};
use super::process::{self, Started};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::{null, null_mut};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

/// A watch on the end of one process.
pub(crate) struct Exit {
    queue: ManuallyDrop<OwnedFd>,
    /// How often this process had been forked when it made the queue.
    forks: u32,
    pid: u32,
    /// The queue tells it once.
    has_told: AtomicBool,
}

impl Exit {
    /// `None` where there is no such process, or no queue to be had.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let forks = process::count_forks();
        // SAFETY: takes nothing, and gives a descriptor or -1.
        let queue = unsafe { kqueue() };
        if queue < 0 {
            return None;
        }
        // SAFETY: just opened, and nobody else's.
        let queue = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(queue) });
        let exit = Exit { queue, forks, pid, has_told: AtomicBool::new(false) };
        // SAFETY: a descriptor that is open, and a number.
        unsafe { libc::fcntl(exit.queue.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
        let change = kevent {
            ident: usize::try_from(pid).ok()?,
            filter: EVFILT_PROC,
            flags: EV_ADD | EV_ONESHOT,
            fflags: NOTE_EXIT,
            data: 0,
            udata: null_mut(),
        };
        // SAFETY: one change, and no room for events: so an error is the call's own.
        let done = unsafe { kevent(exit.queue.as_raw_fd(), &raw const change, 1, null_mut(), 0, null()) };
        (done == 0).then_some(exit)
    }

    pub(crate) fn has_come(&self) -> bool {
        self.is_told() || start_time(self.pid) == Started::Gone
    }

    /// Whether the queue has told of it.
    fn is_told(&self) -> bool {
        // Relaxed: this end's thread alone asks.
        if self.has_told.load(Relaxed) {
            return true;
        }
        if process::forks() != self.forks {
            return false; // The parent's queue.
        }
        let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `kevent` is plain data, and all zeros is one of its values.
        let mut event: kevent = unsafe { std::mem::zeroed() };
        // SAFETY: no changes, room for one event, no time to wait.
        let filled = unsafe { kevent(self.queue.as_raw_fd(), null(), 0, &raw mut event, 1, &raw const now) };
        let (flags, what) = (event.flags, event.fflags);
        let is_told = filled == 1 && flags & EV_ERROR == 0 && what & NOTE_EXIT != 0;
        self.has_told.fetch_or(is_told, Relaxed);
        is_told
    }
}

impl Drop for Exit {
    fn drop(&mut self) {
        if process::forks() == self.forks {
            // SAFETY: not used after this, and not dropped before.
            unsafe { ManuallyDrop::drop(&mut self.queue) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};
    use std::time::{Duration, Instant};

    /// A process that does nothing, and goes with the test.
    struct Idle(Child);

    impl Idle {
        fn new() -> Self {
            Idle(Command::new("sleep").arg("600").spawn().unwrap())
        }

        fn kill(&mut self) {
            let _ = self.0.kill();
        }

        fn wait(&mut self) {
            let _ = self.0.wait();
        }
    }

    impl Drop for Idle {
        fn drop(&mut self) {
            self.kill();
            self.wait();
        }
    }

    #[test]
    fn the_queue_tells_of_a_process_that_nobody_has_waited_for() {
        let mut child = Idle::new();
        let exit = Exit::of(child.0.id()).unwrap();
        assert!(!exit.is_told() && !exit.has_come());
        child.kill();
        let began = Instant::now();
        while !exit.is_told() {
            assert!(began.elapsed() < Duration::from_secs(30), "the queue does not tell");
            std::thread::yield_now();
        }
        assert!(exit.is_told() && exit.has_come(), "and it stays so");
        // A zombie.
        assert!(Exit::of(child.0.id()).is_none());
        child.wait();
        assert!(Exit::of(child.0.id()).is_none());
        assert!(exit.has_come());
    }

    #[test]
    fn a_queue_is_closed_on_exec() {
        let child = Idle::new();
        let exit = Exit::of(child.0.id()).unwrap();
        let fd = exit.queue.as_raw_fd();
        // SAFETY: asks for the flags of an open descriptor.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }

    #[test]
    fn a_forked_child_that_drops_a_watch_keeps_what_it_opened_itself() {
        let child = Idle::new();
        let mut exit = Some(Exit::of(child.0.id()).unwrap());
        let fd = exit.as_ref().unwrap().queue.as_raw_fd();
        // SAFETY: the child makes a few system calls, which are all allowed there.
        let forked = unsafe { libc::fork() };
        if forked == 0 {
            let fails = |status| -> ! {
                // SAFETY: ends the child without the test's ending.
                unsafe { libc::_exit(status) }
            };
            // SAFETY: the queue was not inherited: so the number is free, and is given to the next one.
            if unsafe { libc::dup2(0, fd) } != fd || exit.as_ref().is_some_and(Exit::is_told) {
                fails(1);
            }
            drop(exit.take());
            // SAFETY: asks for the flags of a descriptor.
            let is_open = unsafe { libc::fcntl(fd, libc::F_GETFD) } != -1;
            fails(if is_open { 0 } else { 2 });
        }
        let mut status = 0;
        // SAFETY: waits for a child of this process.
        assert_eq!(unsafe { libc::waitpid(forked, &raw mut status, 0) }, forked);
        assert_eq!(status, 0, "1 or 2 in the upper byte: which");
    }
}
