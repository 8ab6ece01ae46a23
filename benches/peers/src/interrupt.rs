//! Being told to stop: what has been started is ended in order, and nothing is left behind.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

static TOLD: AtomicBool = AtomicBool::new(false);

extern "C" fn told(_signal: libc::c_int) {
    TOLD.store(true, Relaxed); // Nothing else hangs on it.
}

/// From now on, SIGINT and SIGTERM are noted.
pub fn listen() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let handler: extern "C" fn(libc::c_int) = told;
        // SAFETY: the handler does nothing but store to an atomic.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// An error once one was.
pub fn check() -> io::Result<()> {
    match TOLD.load(Relaxed) {
        true => Err(io::Error::new(io::ErrorKind::Interrupted, "stopped before the end")),
        false => Ok(()),
    }
}
