//! The limit of block files: a ring of as many blocks of shared memory between two processes, with a word for each end
//! and nothing else. One writer, one reader, both watching; nobody is known to live, nothing is handed out twice
//! because there is nobody to hand it to.

use super::{Contestant, End, Room, Standing, shared_name};
use crate::Failure;
use crate::scenario::{Play, Scenario};
use crate::wires::Side;
use std::ffi::CString;
use std::hint::spin_loop;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

#[derive(Debug, Clone, Copy)]
pub struct Bare {
    name: &'static str,
    block_bytes: usize,
    blocks: usize,
}

pub const ALL: [Bare; 3] = [
    Bare { name: "bare: 8 blocks of 1 MiB", block_bytes: 1 << 20, blocks: 8 },
    Bare { name: "bare: 8 blocks of 4 KiB", block_bytes: 4 << 10, blocks: 8 },
    Bare { name: "bare: 256 blocks of 4 KiB", block_bytes: 4 << 10, blocks: 256 },
];

impl Contestant for Bare {
    fn name(&self) -> &'static str {
        self.name
    }

    fn standing(&self) -> Standing {
        Standing::Limit
    }

    fn plays(&self, scenario: &Scenario) -> bool {
        match scenario.play {
            Play::HandOver => true,
            play => play.block_bytes() == Some(self.block_bytes),
        }
    }

    fn end(&self, side: Side, folder: &Path) -> Result<Box<dyn End>, Failure> {
        let region = Region::new(&shared_name(folder), self.block_bytes * self.blocks, side)?;
        Ok(Box::new(Ring { side, region, block_bytes: self.block_bytes, blocks: self.blocks as u64, at: 0, seen: 0 }))
    }

    fn clear_up(&self, folder: &Path) -> Result<(), Failure> {
        let name = CString::new(format!("/{}", shared_name(folder)))?;
        // SAFETY: a NUL-terminated name. That it is gone already is no failure.
        unsafe { libc::shm_unlink(name.as_ptr()) };
        Ok(())
    }
}

/// One end of the ring.
struct Ring {
    side: Side,
    region: Region,
    block_bytes: usize,
    blocks: u64,
    /// How many blocks this end has passed on, and the other one, as last seen.
    at: u64,
    seen: u64,
}

impl Ring {
    /// Waits until the next block is this end's.
    #[inline]
    fn block(&mut self) -> usize {
        let theirs = &self.region.words()[1 - self.side as usize].0;
        let lead = if self.side == Side::First { self.blocks } else { 0 };
        while self.at == self.seen + lead {
            // Acquire: the bytes, or that they were read.
            self.seen = theirs.load(Acquire);
            if self.at == self.seen + lead {
                spin_loop();
            }
        }
        (self.at % self.blocks) as usize * self.block_bytes
    }

    #[inline]
    fn pass(&mut self) {
        self.at += 1;
        // Release: as above.
        self.region.words()[self.side as usize].0.store(self.at, Release);
    }

    fn fill(&mut self, from: &[u8]) {
        let block = self.block();
        self.region.copy_in(block, from);
        self.pass();
    }

    fn empty(&mut self, to: &mut [u8]) {
        let block = self.block();
        self.region.copy_out(block, to);
        self.pass();
    }
}

impl End for Ring {
    fn exchange(&mut self, play: Play, count: u64, room: &mut Room) -> Result<(), Failure> {
        if play != Play::HandOver && play.block_bytes().is_none() {
            return Err("a bare ring has blocks, and nothing else".into());
        }
        let piece = self.block_bytes;
        for _ in 0..count {
            match self.side {
                Side::First => room.outgoing.chunks(piece).for_each(|from| self.fill(from)),
                Side::Second => room.incoming.chunks_mut(piece).for_each(|to| self.empty(to)),
            }
        }
        // All of it has arrived when the other end has passed as many on.
        while self.seen < self.at && self.side == Side::First {
            self.seen = self.region.words()[1].0.load(Acquire);
            spin_loop();
        }
        Ok(())
    }
}

/// 128 bytes apart, so that they do not travel together.
#[repr(C, align(128))]
struct Word(AtomicU64);

const PAGE: usize = 4096;
const HUGE: usize = 2 << 20;
/// `madvise(2)`, Linux 6.1; the libc crate has it for glibc alone.
const MADV_COLLAPSE: libc::c_int = 25;

/// Blocks, and a page with the two words behind them. On huge pages as far as there are any, as block files are.
struct Region {
    name: CString,
    at: *mut u8,
    blocks_len: usize,
    is_maker: bool,
}

impl Region {
    fn new(name: &str, blocks_len: usize, side: Side) -> Result<Self, Failure> {
        let name = CString::new(format!("/{name}"))?;
        let is_maker = side == Side::First;
        let flags = libc::O_RDWR | if is_maker { libc::O_CREAT | libc::O_EXCL } else { 0 };
        // SAFETY: a NUL-terminated name.
        let fd = unsafe { libc::shm_open(name.as_ptr(), flags, 0o600) };
        if fd < 0 {
            return Err(failed("shm_open"));
        }
        // SAFETY: a new descriptor that nobody else knows.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let len = blocks_len + PAGE;
        // SAFETY: an object that is ours.
        if is_maker && unsafe { libc::ftruncate(fd.as_raw_fd(), len as libc::off_t) } != 0 {
            return Err(failed("ftruncate"));
        }
        let (protection, nowhere) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: the kernel chooses the address; nothing but a place for what follows.
        let room = unsafe { libc::mmap(std::ptr::null_mut(), len + HUGE, libc::PROT_NONE, nowhere, -1, 0) };
        if room == libc::MAP_FAILED {
            return Err(failed("mmap"));
        }
        let place = room.wrapping_byte_add(room.align_offset(HUGE));
        // SAFETY: within what was just mapped, which nothing else uses.
        let at = unsafe { libc::mmap(place, len, protection, libc::MAP_SHARED | libc::MAP_FIXED, fd.as_raw_fd(), 0) };
        if at == libc::MAP_FAILED {
            return Err(failed("mmap"));
        }
        let region = Region { name, at: at.cast(), blocks_len, is_maker };
        if is_maker && blocks_len >= HUGE {
            // A page of each, from which a huge one can grow. If it does not, the pages are small ones.
            (0..blocks_len).step_by(HUGE).for_each(|page| region.copy_in(page, &[0]));
            // SAFETY: mapped, and what it holds stays as it is.
            unsafe { libc::madvise(at, blocks_len / HUGE * HUGE, MADV_COLLAPSE) };
        }
        (0..blocks_len).step_by(PAGE).for_each(|page| match side {
            Side::First => region.copy_in(page, &[0]),
            Side::Second => region.copy_out(page, &mut [0]),
        });
        Ok(region)
    }

    fn words(&self) -> &[Word; 2] {
        let words = self.at.wrapping_add(self.blocks_len).cast::<[Word; 2]>();
        // SAFETY: mapped for as long as this lives, at a page, and long enough; zero is a value of an atomic.
        unsafe { &*words }
    }

    fn copy_in(&self, block: usize, from: &[u8]) {
        assert!(from.len() <= self.blocks_len && block <= self.blocks_len - from.len());
        // SAFETY: so long a mapping, which nothing private overlaps; the words keep the other side away.
        unsafe { self.at.wrapping_add(block).copy_from_nonoverlapping(from.as_ptr(), from.len()) };
    }

    fn copy_out(&self, block: usize, to: &mut [u8]) {
        assert!(to.len() <= self.blocks_len && block <= self.blocks_len - to.len());
        // SAFETY: as above.
        unsafe { self.at.wrapping_add(block).copy_to_nonoverlapping(to.as_mut_ptr(), to.len()) };
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: mapped by us, and not used after this. The rest of its place is address space alone.
        unsafe { libc::munmap(self.at.cast(), self.blocks_len + PAGE) };
        if self.is_maker {
            // SAFETY: a NUL-terminated name.
            unsafe { libc::shm_unlink(self.name.as_ptr()) };
        }
    }
}

fn failed(call: &str) -> Failure {
    format!("{call}: {}", io::Error::last_os_error()).into()
}
