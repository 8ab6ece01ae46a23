//! Who a process is, whether it still lives, and whether this one was forked.

#![allow(unsafe_code)] // One of the homes of unsafe, see CONTRIBUTING.

use super::platform;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// What tells a process from every other one of this boot, those that reuse its pid included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Who {
    pub(crate) pid: u32,
    /// When it started, in the platform's unit; 0 where the system would not say.
    pub(crate) start: u64,
    /// The namespaces that `pid` and `start` belong to; 0 where the system would not say.
    pub(crate) namespace: u64,
}

/// What the system says about a pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Started {
    /// There is such a process, and it started then.
    #[allow(dead_code)] // FreeBSD tells nobody.
    At(u64),
    /// There is none, or only a zombie, which holds nothing any more.
    Gone,
    /// The system would not say.
    Unknown,
}

impl Who {
    /// This process.
    pub(crate) fn mine() -> Self {
        let pid = std::process::id();
        let start = match platform::start_time(pid) {
            Started::At(start) => start,
            Started::Gone | Started::Unknown => 0,
        };
        Who { pid, start, namespace: platform::pid_namespace() }
    }

    /// Whether the process is known to be gone. False proves nothing: the pid may belong to another namespace, or the
    /// system may not say.
    pub(crate) fn is_gone(&self) -> bool {
        if self.namespace == 0 || self.namespace != platform::pid_namespace() {
            return false;
        }
        match platform::start_time(self.pid) {
            Started::Gone => true,
            Started::At(start) => self.start != 0 && start != self.start,
            Started::Unknown => false,
        }
    }
}

/// A watch on the end of one process: a look at it costs a fraction of what asking for its start time does, and a pid
/// that is used again does not deceive it.
pub(crate) struct ExitWatch(platform::Exit);

impl ExitWatch {
    /// Watches `who`. `None` where the system has no such watch, or will not say who that is.
    pub(crate) fn new(who: Who) -> Option<Self> {
        if who.namespace == 0 || who.namespace != platform::pid_namespace() {
            return None;
        }
        let exit = platform::Exit::of(who.pid)?;
        // Asked after the watch began: so what is watched is what has that start time.
        match platform::start_time(who.pid) {
            Started::At(start) if start == who.start => Some(ExitWatch(exit)),
            // Another user's, perhaps: then it is `who`, or else a later one of the same number, whose end means
            // that `who` is gone as well.
            Started::Unknown => Some(ExitWatch(exit)),
            Started::At(_) | Started::Gone => None,
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.0.has_come()
    }
}

static FORKS: AtomicU32 = AtomicU32::new(0);

/// How often this process and its ancestors forked since the first asking: a handle that remembers another number was
/// made in an ancestor.
#[inline]
pub(crate) fn forks() -> u32 {
    // Relaxed: the child has one thread when it is born, and the handler ran in that one.
    FORKS.load(Ordering::Relaxed)
}

/// Has the forks counted. `getpid` would tell too, for the price of a system call each time.
pub(crate) fn count_forks() -> u32 {
    unsafe extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // SAFETY: the handler touches one atomic, which is allowed in a forked child. A failure (no memory) leaves
        // forks uncounted, which is no worse than not having asked.
        unsafe { platform::pthread_atfork(None, None, Some(in_child)) };
    });
    forks()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Darwin does not tell the start time of another user's process.
    #[test]
    fn the_end_of_another_users_process_can_be_watched() {
        const NO_OTHER: i32 = 2;
        let me = Who::mine();
        // SAFETY: takes nothing and cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            println!("NOT RUN the_end_of_another_users_process_can_be_watched: it takes root to be another user");
            return;
        }
        // SAFETY: the child makes system calls, and the few allocations for them are made under locks that are in
        // order in a child.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: takes a number.
            let is_another = unsafe { libc::setuid(65534) } == 0;
            let watch = ExitWatch::new(me);
            let works = watch.is_some_and(|watch| !watch.is_gone());
            let status = if !is_another { NO_OTHER } else { i32::from(!works) };
            // SAFETY: ends the child without the test's ending.
            unsafe { libc::_exit(status) };
        }
        let mut status = -1;
        // SAFETY: waits for a child of this process.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        // A user namespace may have root alone.
        if libc::WEXITSTATUS(status) == NO_OTHER {
            println!("NOT RUN the_end_of_another_users_process_can_be_watched: there is no other user here");
            return;
        }
        assert_eq!(status, 0);
    }
}
