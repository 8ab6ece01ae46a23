//! Ends a sleep on a semaphore where the system has no wait with a limit.
//!
//! Darwin has no `sem_timedwait`, and musl's counts by the wall clock. So a sleeper leaves word of its limit, and one
//! thread of the process posts the sleeper's own semaphore when the limit has passed. The thread exists only while
//! something sleeps, and a little longer so that sleep after sleep does not start it anew. It is the only thread that
//! antiphon ever starts by itself.
//!
//! Tokens are kept exact. The sleeper takes its word back under the same lock under which the watcher posts: so it
//! knows for certain whether the watcher has posted, and counts one token as the watcher's. A real one that came at
//! the same time stays in the semaphore.
//!
//! Where several sleep on one semaphore, another may take what was posted for this one. So it is posted again a little
//! later, for as long as the sleeper has not come back; what is left over then costs a look.
//!
//! A forked child has the parent's state without the parent's thread, perhaps with its lock held: so the state
//! belongs to a number of forks, and a child starts with a fresh one.

#![allow(unsafe_code)] // One of the homes of unsafe, see CONTRIBUTING.

use super::process;
use super::semaphore::{Semaphore, Waited};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long after one posting the next comes, where the sleeper is still there.
const AGAIN: Duration = Duration::from_millis(10);
/// How long the thread stays when nothing sleeps.
const LINGER: Duration = Duration::from_millis(200);

struct Sleeper {
    ticket: u64,
    until: Instant,
    semaphore: *mut libc::sem_t,
    posted: bool,
}

// SAFETY: the pointer is used under the lock, while the sleeper's own thread keeps the semaphore open and borrowed in
// `wait_at_most`.
unsafe impl Send for Sleeper {}

#[derive(Default)]
struct State {
    sleepers: Vec<Sleeper>,
    tickets: u64,
    is_running: bool,
}

struct Watcher {
    forks: u32,
    state: Mutex<State>,
    changed: Condvar,
}

/// The watcher of this process; the one of a parent is left alone, and leaked.
fn watcher() -> &'static Watcher {
    static CURRENT: AtomicPtr<Watcher> = AtomicPtr::new(std::ptr::null_mut());
    let forks = process::count_forks();
    loop {
        let current = CURRENT.load(Ordering::Acquire);
        // SAFETY: null, or leaked below and so alive for ever.
        match unsafe { current.as_ref() } {
            Some(current) if current.forks == forks => return current,
            _ => {}
        }
        let state = Mutex::new(State::default());
        let fresh = Box::into_raw(Box::new(Watcher { forks, state, changed: Condvar::new() }));
        if CURRENT.compare_exchange(current, fresh, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // SAFETY: made above and given to nobody.
            drop(unsafe { Box::from_raw(fresh) });
        }
    }
}

/// Sleeps until there is a token, or `limit` has passed, or a signal came.
pub(super) fn wait_at_most(semaphore: &Semaphore, limit: Duration) -> Waited {
    if semaphore.try_take() {
        return Waited::Token;
    }
    let now = Instant::now();
    let until = now.checked_add(limit).unwrap_or(now + Duration::from_secs(86_400));
    let watcher = watcher();
    let Some(ticket) = watcher.enter(until, semaphore) else {
        // No thread to be had: look again a little later, as often as the limit allows.
        std::thread::sleep(limit.min(Duration::from_millis(1)));
        return if semaphore.try_take() { Waited::Token } else { Waited::Nothing };
    };
    // SAFETY: open while it is borrowed. An error is a signal's EINTR.
    let took = unsafe { libc::sem_wait(semaphore.as_ptr()) } == 0;
    let posted = watcher.leave(ticket);
    match (took, posted) {
        (true, false) => Waited::Token,
        (true, true) | (false, false) => Waited::Nothing,
        (false, true) => {
            semaphore.try_take(); // The watcher's token, which the signal came before.
            Waited::Nothing
        }
    }
}

impl Watcher {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under the lock; if it did, the list would still be a list.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&'static self, until: Instant, semaphore: &Semaphore) -> Option<u64> {
        let mut state = self.lock();
        if !state.is_running {
            state.is_running = start(self);
            if !state.is_running {
                return None;
            }
        }
        let ticket = state.tickets;
        state.tickets += 1;
        state.sleepers.push(Sleeper { ticket, until, semaphore: semaphore.as_ptr(), posted: false });
        self.changed.notify_one();
        Some(ticket)
    }

    fn leave(&self, ticket: u64) -> bool {
        let mut state = self.lock();
        let at = state.sleepers.iter().position(|sleeper| sleeper.ticket == ticket);
        at.is_some_and(|at| state.sleepers.swap_remove(at).posted)
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            for sleeper in &mut state.sleepers {
                if sleeper.until <= now {
                    sleeper.posted = true;
                    sleeper.until = now + AGAIN;
                    // SAFETY: the sleeper is still in the list, so its thread is still in `wait_at_most` and keeps
                    // the semaphore open.
                    unsafe { libc::sem_post(sleeper.semaphore) };
                }
            }
            let next = state.sleepers.iter().map(|sleeper| sleeper.until).min();
            let pause = next.map_or(LINGER, |next| next.saturating_duration_since(now));
            let (back, waited) = self.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner);
            state = back;
            if waited.timed_out() && next.is_none() && state.sleepers.is_empty() {
                state.is_running = false;
                return;
            }
        }
    }
}

/// Starts the thread with every signal blocked, so that no handler of the user's runs on it.
fn start(watcher: &'static Watcher) -> bool {
    // SAFETY: a `sigset_t` is plain data, filled in below.
    let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
    let mut before = all;
    // SAFETY: `all` is a signal set.
    unsafe { libc::sigfillset(&raw mut all) };
    // SAFETY: both are signal sets; this changes the calling thread's mask only.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before) };
    let started = std::thread::Builder::new().name("antiphon-watcher".to_owned()).spawn(|| watcher.run()).is_ok();
    // SAFETY: `before` was filled in by the call above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    started
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::sync::mpsc::channel;

    #[test]
    fn of_many_who_sleep_on_one_semaphore_each_wakes_in_its_time() {
        let name = CString::new(format!("/t{}-many+p", std::process::id())).unwrap();
        let semaphore = Semaphore::create_anew(&name, 0o600).unwrap();
        let (done, is_done) = channel();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                let (semaphore, done) = (&semaphore, done.clone());
                scope.spawn(move || {
                    for _ in 0..50 {
                        wait_at_most(semaphore, Duration::from_millis(2));
                    }
                    done.send(()).unwrap();
                });
            }
            for _ in 0..8 {
                if is_done.recv_timeout(Duration::from_secs(30)).is_err() {
                    eprintln!("hangs: somebody else took what was posted for it");
                    std::process::abort();
                }
            }
        });
        drop(semaphore);
        Semaphore::unlink(&name).unwrap();
    }
}
