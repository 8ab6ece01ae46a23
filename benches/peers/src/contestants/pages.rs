//! The plain way from nothing to a first message: a fresh object of shared memory, sized and mapped, and its pages
//! touched as the bytes are copied in and out. Nothing is reserved beforehand, and nothing tells of a death.

use super::flags::Flags;
use super::{Contestant, End, Room, Standing, shared_name};
use crate::Failure;
use crate::scenario::{Play, Scenario};
use crate::wires::Side;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

pub struct Pages;

impl Contestant for Pages {
    fn name(&self) -> &'static str {
        "fresh pages by touching"
    }

    fn standing(&self) -> Standing {
        Standing::Peer
    }

    fn plays(&self, scenario: &Scenario) -> bool {
        scenario.play == Play::Fresh
    }

    fn end(&self, side: Side, folder: &Path) -> Result<Box<dyn End>, Failure> {
        let flags = Flags::open(side, folder)?;
        Ok(Box::new(Toucher { side, name: shared_name(folder), flags, step: 0, mapping: None }))
    }
}

struct Toucher {
    side: Side,
    name: String,
    flags: Flags,
    step: u64,
    /// The last one, given back when the next is about to be made and no clock runs.
    mapping: Option<Mapping>,
}

impl End for Toucher {
    fn get_ready(&mut self, _play: Play, _bytes: usize) -> Result<(), Failure> {
        self.mapping = None;
        self.step += 1;
        self.flags.raise(self.step);
        self.flags.wait(self.step);
        Ok(())
    }

    fn exchange(&mut self, play: Play, count: u64, room: &mut Room) -> Result<(), Failure> {
        for _ in 0..count {
            if play != Play::Fresh || self.mapping.is_some() {
                return Err("fresh pages are fresh once".into());
            }
            let name = format!("{}-{}", self.name, self.step);
            let step = self.step;
            self.step += 2;
            match self.side {
                Side::First => {
                    let mapping = self.mapping.insert(Mapping::new(&name, Some(room.outgoing.len()))?);
                    self.flags.raise(step + 1);
                    mapping.copy_in(&room.outgoing);
                    self.flags.raise(step + 2);
                    self.flags.wait(step + 2);
                }
                Side::Second => {
                    self.flags.wait(step + 1);
                    let mapping = self.mapping.insert(Mapping::new(&name, None)?);
                    self.flags.wait(step + 2);
                    mapping.copy_out(&mut room.incoming);
                    self.flags.raise(step + 2);
                }
            }
        }
        Ok(())
    }
}

/// An object of shared memory, mapped whole. Its name goes with the mapping of who made it.
struct Mapping {
    name: CString,
    at: *mut u8,
    len: usize,
    is_maker: bool,
}

impl Mapping {
    /// Makes one of that length, or opens what is there.
    fn new(name: &str, len: Option<usize>) -> Result<Self, Failure> {
        let name = CString::new(format!("/{name}"))?;
        let flags = libc::O_RDWR | if len.is_some() { libc::O_CREAT | libc::O_EXCL } else { 0 };
        // SAFETY: a NUL-terminated name.
        let fd = unsafe { libc::shm_open(name.as_ptr(), flags, 0o600) };
        if fd < 0 {
            return Err(failed("shm_open"));
        }
        // SAFETY: a new descriptor that nobody else knows.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let mut mapping = Mapping { name, at: std::ptr::null_mut(), len: 0, is_maker: len.is_some() };
        // SAFETY: an object that is ours.
        if len.is_some_and(|len| unsafe { libc::ftruncate(fd.as_raw_fd(), len as libc::off_t) } != 0) {
            return Err(failed("ftruncate"));
        }
        let len = std::fs::File::from(fd.try_clone()?).metadata()?.len() as usize;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses the address.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        if at == libc::MAP_FAILED {
            return Err(failed("mmap"));
        }
        (mapping.at, mapping.len) = (at.cast(), len);
        Ok(mapping)
    }

    fn copy_in(&mut self, from: &[u8]) {
        assert!(from.len() <= self.len);
        // SAFETY: so long a mapping, which nothing private overlaps; the flags keep the other side away.
        unsafe { self.at.copy_from_nonoverlapping(from.as_ptr(), from.len()) };
    }

    fn copy_out(&self, to: &mut [u8]) {
        assert!(to.len() <= self.len);
        // SAFETY: as above.
        unsafe { self.at.copy_to_nonoverlapping(to.as_mut_ptr(), to.len()) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: mapped by us, and not used after this.
            unsafe { libc::munmap(self.at.cast(), self.len) };
        }
        if self.is_maker {
            // SAFETY: a NUL-terminated name.
            unsafe { libc::shm_unlink(self.name.as_ptr()) };
        }
    }
}

fn failed(call: &str) -> Failure {
    format!("{call}: {}", io::Error::last_os_error()).into()
}
