//! C programs beside somebody who writes whatever it likes to the region: each ends by itself, without a signal.

use crate::support::{Numbers, Peer, Watchdog, Way, compile, unique, unique_id, ways};
use antiphon::ChannelOptions;
use antiphon::session::{Session, SessionOptions};
use std::ffi::CString;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// A region, mapped behind the library's back.
struct Intruder {
    base: *mut u8,
    len: usize,
}

impl Intruder {
    fn new(name: &str) -> Intruder {
        let name = CString::new(format!("/{name}")).unwrap();
        // SAFETY: a text that ends in NUL.
        let file = unsafe { libc::shm_open(name.as_ptr(), libc::O_RDWR, 0o600) };
        assert!(file >= 0, "{name:?}: {}", std::io::Error::last_os_error());
        // SAFETY: zeros are one of its values.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: an open file, and a place for the answer.
        assert_eq!(unsafe { libc::fstat(file, &raw mut stat) }, 0);
        let (len, protection) = (stat.st_size as usize, libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: the kernel chooses the address.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_SHARED, file, 0) };
        assert_ne!(base, libc::MAP_FAILED);
        // SAFETY: opened above, closed once.
        unsafe { libc::close(file) };
        Intruder { base: base.cast(), len }
    }

    fn write(&self, at: usize, word: u64) {
        assert!(at % 8 == 0 && at + 8 <= self.len);
        // SAFETY: within the mapping.
        let place = unsafe { self.base.add(at) };
        // SAFETY: aligned, mapped, and any value is an atomic's.
        unsafe { AtomicU64::from_ptr(place.cast()) }.store(word, Relaxed);
    }

    fn read(&self, at: usize) -> u64 {
        assert!(at % 8 == 0 && at + 8 <= self.len);
        // SAFETY: as above.
        let place = unsafe { self.base.add(at) };
        // SAFETY: as above.
        unsafe { AtomicU64::from_ptr(place.cast()) }.load(Relaxed)
    }

    /// Writes over some word in `range` what looks like something.
    fn spoil(&self, range: Range<usize>, numbers: &mut Numbers) {
        let at = range.start + numbers.below((range.len() / 8) as u64) as usize * 8;
        let word = match numbers.below(6) {
            0 => numbers.next(),
            1 => u64::MAX - numbers.below(4),
            2 => numbers.below(1 << 20),
            3 => self.read(at) ^ (1 << numbers.below(64)),
            4 => self.read(range.start + numbers.below((range.len() / 8) as u64) as usize * 8),
            _ => 0,
        };
        self.write(at, word);
    }
}

impl Drop for Intruder {
    fn drop(&mut self) {
        // SAFETY: mapped above, unmapped once.
        unsafe { libc::munmap(self.base.cast(), self.len) };
    }
}

/// Has the program play its role while the region is spoiled, and somebody stands `beside`.
fn storm(way: Way, role: &str, name: &str, region: &str, ranges: &[Range<usize>], beside: impl Fn() + Sync) {
    let peer = Peer::start(&compile("peer", way), &[role, name]);
    let over = AtomicBool::new(false);
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (intruder, mut numbers) = (Intruder::new(region), Numbers(0x5eed));
            while !over.load(Relaxed) {
                let range = ranges[numbers.below(ranges.len() as u64) as usize].clone();
                intruder.spoil(range, &mut numbers);
                std::thread::sleep(std::time::Duration::from_micros(numbers.below(300)));
            }
        });
        scope.spawn(|| {
            while !over.load(Relaxed) {
                beside();
            }
        });
        let ended = peer.wait();
        over.store(true, Relaxed);
        ended
    });
    assert!(ended.success(), "{role}, {way:?}: {ended}");
}

/// Takes away what a spoiled region left: it is nobody's.
struct Sweep(String);

impl Drop for Sweep {
    fn drop(&mut self) {
        let Ok(there) = std::fs::read_dir("/dev/shm") else { return };
        for entry in there.flatten() {
            if entry.file_name().to_string_lossy().trim_start_matches("sem.").starts_with(&self.0) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// The turn's line and the length, the seats, everything else of the header but what the region is known by.
const CHANNEL: [Range<usize>; 3] = [8192..8192 + 1152, 4096..8192, 8192..8192 + 64];

fn channel(way: Way, role: &str) {
    let name = unique(role);
    let _sweep = Sweep(name.clone());
    let channel = ChannelOptions::new().capacity(65536).create(&name).unwrap();
    storm(way, role, &name, &name, &CHANNEL, || {
        // The other end, as far as it gets.
        let limit = std::time::Duration::from_millis(2);
        if role == "storm-publisher" {
            let Ok(mut consumer) = channel.consumer_timeout(limit) else { return };
            for _ in 0..50 {
                if let Ok(mut message) = consumer.consume_timeout(limit) {
                    let mut bytes = Vec::new();
                    message.set_timeout(Some(limit));
                    let _ = message.copy_into(&mut bytes);
                    let _ = message.reply_timeout(&bytes, limit);
                }
            }
        } else {
            let Ok(mut publisher) = channel.publisher_timeout(limit) else { return };
            for number in 0..50 {
                let message = crate::support::message(number);
                let _ = publisher.publish_timeout(&message, limit);
                let _ = publisher.call_timeout(&message, limit);
            }
        }
    });
}

#[test]
fn a_c_publisher_outlives_any_bytes() {
    let _watchdog = Watchdog::new("hostile publisher");
    ways().into_iter().for_each(|way| channel(way, "storm-publisher"));
}

#[test]
fn a_c_consumer_outlives_any_bytes() {
    let _watchdog = Watchdog::new("hostile consumer");
    ways().into_iter().for_each(|way| channel(way, "storm-consumer"));
}

fn file(way: Way, role: &str) {
    let id = unique_id();
    let _sweep = Sweep(format!("{id:016X}"));
    let host = SessionOptions::new().id(id).block_bytes(4096).blocks(16).host().unwrap();
    let session = Session::connect(id).unwrap();
    let writer = session.write(b"work").unwrap();
    let region = writer.id().to_string();
    // The state behind the data, but for what the region is known by.
    let state = 64 << 10;
    let ranges = [state + 4096..state + 65536, state + 4096..state + 16384];
    let limit = std::time::Duration::from_millis(2);
    storm(way, role, &format!("{id:016X}"), &region, &ranges, || {
        let reads = role == "storm-writer";
        let Ok(file) = antiphon::blocks::BlockFile::open(writer.id()) else { return };
        if reads {
            let Ok(mut reader) = file.reader() else { return };
            for _ in 0..50 {
                if let Ok(Some(block)) = reader.claim_timeout(limit) {
                    let _ = block.to_vec();
                    let _ = block.complete();
                }
            }
        } else {
            let Ok(mut writer) = file.writer() else { return };
            for _ in 0..50 {
                if let Ok(mut space) = writer.claim_timeout(limit) {
                    space.copy_from(0, &[1; 4096]);
                    let _ = space.complete(4096);
                }
            }
        }
    });
    drop((writer, host));
}

#[test]
fn a_c_writer_outlives_any_bytes() {
    let _watchdog = Watchdog::new("hostile writer");
    ways().into_iter().for_each(|way| file(way, "storm-writer"));
}

#[test]
fn a_c_reader_outlives_any_bytes() {
    let _watchdog = Watchdog::new("hostile reader");
    ways().into_iter().for_each(|way| file(way, "storm-reader"));
}
