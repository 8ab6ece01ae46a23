//! Two bare flags that the ends of a pair share, for what has to begin at one moment and end at another without
//! anybody's sleeping.

use crate::Failure;
use crate::wires::Side;
use std::fs::OpenOptions;
use std::hint::spin_loop;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

/// 128 bytes apart, so that they do not travel together.
#[repr(C, align(128))]
struct Flag(AtomicU64);

/// Both flags, one for each side to raise.
pub struct Flags {
    side: Side,
    flags: &'static [Flag; 2],
}

impl Flags {
    pub fn open(side: Side, folder: &Path) -> Result<Self, Failure> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(folder.join("flags"))?;
        let len = size_of::<[Flag; 2]>();
        file.set_len(len as u64)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses the address.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if at == libc::MAP_FAILED {
            return Err(format!("mapping flags: {}", std::io::Error::last_os_error()).into());
        }
        // SAFETY: mapped, aligned to a page, as long as two flags, never unmapped; zero is a value of an atomic.
        Ok(Flags { side, flags: unsafe { &*at.cast() } })
    }

    /// Raises this side's flag to `step`: what was written before is seen by who sees it.
    pub fn raise(&self, step: u64) {
        self.flags[self.side as usize].0.store(step, Release);
    }

    /// Waits until the other side's flag is at `step` or above.
    pub fn wait(&self, step: u64) {
        while self.flags[1 - self.side as usize].0.load(Acquire) < step {
            spin_loop();
        }
    }
}
