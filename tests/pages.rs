//! The pages behind a region: all of them taken when it is made, large ones where the kernel has them to give.
#![cfg(all(target_os = "linux", not(antiphon_darwin_rules)))]
#[path = "support/intruder.rs"]
mod intruder;
mod support;

use antiphon::{Channel, ChannelOptions};
use intruder::has_paths;
use std::ffi::CString;
use std::os::unix::fs::MetadataExt;
use support::{Peer, Watchdog, assert_nothing_left, role, say, unique};

const HEADER: usize = 64 * 1024;
const HUGE: usize = 2 * 1024 * 1024;
/// Less than one huge page with the header, one to the byte, one and the header's length, two and a rest.
const CAPACITIES: [usize; 6] = [64 * 1024, HUGE - 2 * HEADER, HUGE - HEADER, HUGE, 2 * HUGE, 5 * HUGE / 2];

/// Whether huge pages have the size that they have where ordinary ones have 4 KiB. Prints that `test` is not run where not.
fn has_pages_of_4_kib(test: &str) -> bool {
    // SAFETY: takes a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    if page != 4096 {
        println!("NOT RUN {test}: a page has {page} bytes here, and a huge one more than 2 MiB");
    }
    page == 4096
}

/// Bytes of an object that this process reaches by entries for a huge page.
fn huge_bytes(name: &str) -> usize {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mapping = maps.split_once(&format!("/dev/shm/{name}\n")).expect("it is mapped").1;
    let line = mapping.lines().find_map(|line| line.strip_prefix("ShmemPmdMapped:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Bytes of pages that an object has.
fn bytes_taken(name: &str) -> usize {
    std::fs::metadata(format!("/dev/shm/{name}")).unwrap().blocks() as usize * 512
}

/// Why this kernel cannot make one huge page of a mapping in /dev/shm that has a page already.
fn no_huge_page() -> Option<std::io::Error> {
    let name = CString::new(format!("/{}", unique("probe"))).unwrap();
    // SAFETY: a NUL-terminated name and a mode.
    let object = unsafe { libc::shm_open(name.as_ptr(), libc::O_RDWR | libc::O_CREAT | libc::O_EXCL, 0o600) };
    assert!(object >= 0);
    // SAFETY: the same name.
    unsafe { libc::shm_unlink(name.as_ptr()) };
    // SAFETY: an open descriptor.
    assert_eq!(unsafe { libc::ftruncate(object, 2 * HUGE as libc::off_t) }, 0);
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the kernel chooses the address.
    let base = unsafe { libc::mmap(std::ptr::null_mut(), 2 * HUGE, protection, libc::MAP_SHARED, object, 0) };
    assert_ne!(base, libc::MAP_FAILED);
    let skip = base.addr().next_multiple_of(HUGE) - base.addr();
    // SAFETY: less than HUGE, and there are twice as many.
    let at = unsafe { base.byte_add(skip) };
    let again = libc::MAP_SHARED | libc::MAP_FIXED;
    // SAFETY: HUGE bytes within the mapping, replaced by the start of the object.
    assert_eq!(unsafe { libc::mmap(at, HUGE, protection, again, object, 0) }, at);
    // SAFETY: a mapped byte that nobody else knows of.
    unsafe { at.cast::<u8>().write_volatile(1) };
    // SAFETY: HUGE mapped bytes; 25 is MADV_COLLAPSE, which leaves them as they are.
    let refused = unsafe { libc::madvise(at, HUGE, 25) } != 0;
    let error = refused.then(std::io::Error::last_os_error);
    // SAFETY: mapped above, all of it, and not used any more.
    unsafe { libc::munmap(base, 2 * HUGE) };
    // SAFETY: opened above, closed once.
    unsafe { libc::close(object) };
    error
}

/// Fills the whole region by one message that nobody waits for, and reads it where it stands.
fn touch_every_page(channel: &Channel, capacity: usize) {
    let (mut publisher, mut consumer) = (channel.publisher().unwrap(), channel.consumer().unwrap());
    let bytes = support::pattern(7, capacity);
    publisher.publish(&bytes).unwrap();
    assert!(consumer.consume().unwrap().to_vec().unwrap() == bytes);
}

#[test]
fn a_region_has_huge_pages_in_both_processes() {
    if let Some((_, args)) = role() {
        let capacity = args[1].parse().unwrap();
        let channel = Channel::open(&args[0]).unwrap();
        touch_every_page(&channel, capacity);
        say(huge_bytes(&args[0]));
        return;
    }
    let test = this_test!();
    let _watchdog = Watchdog::new("huge pages", support::PATIENCE);
    if !has_paths(test) || !has_pages_of_4_kib(test) {
        return;
    }
    for capacity in CAPACITIES {
        let total = HEADER + capacity;
        let expected = total / HUGE * HUGE;
        // There may be one for the probe and none for the region: five times at most.
        let mut seen = Vec::new();
        while seen.len() < 5 && seen.last() != Some(&(expected, expected)) {
            if let Some(error) = no_huge_page() {
                println!("NOT RUN {test}: the kernel has no huge page for shared memory: {error}");
                return;
            }
            let name = unique("huge");
            let channel = ChannelOptions::new().capacity(capacity).create(&name).unwrap();
            assert_eq!(bytes_taken(&name), total);
            let mut peer = Peer::start(test, "touch", &[&name, &capacity.to_string()]);
            let theirs = peer.heard().expect("the child lives").parse().unwrap();
            peer.succeed();
            touch_every_page(&channel, capacity);
            assert_eq!(bytes_taken(&name), total);
            seen.push((huge_bytes(&name), theirs));
            drop(channel);
            assert_nothing_left(&name);
        }
        println!("{total} bytes: {seen:?} by huge pages");
        assert_eq!(seen.last(), Some(&(expected, expected)), "{seen:?}");
    }
}

#[test]
fn without_huge_pages_every_page_is_taken_all_the_same() {
    if role().is_some() {
        // SAFETY: takes numbers, and concerns this process's pages alone.
        assert_eq!(unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) }, 0);
        for capacity in CAPACITIES {
            let name = unique("small-pages");
            let channel = ChannelOptions::new().capacity(capacity).create(&name).unwrap();
            assert_eq!(bytes_taken(&name), HEADER + capacity);
            touch_every_page(&channel, capacity);
            assert_eq!((huge_bytes(&name), bytes_taken(&name)), (0, HEADER + capacity));
            drop(channel);
            assert_nothing_left(&name);
        }
        say("done");
        return;
    }
    let _watchdog = Watchdog::new("small pages", support::PATIENCE);
    if has_paths(this_test!()) && has_pages_of_4_kib(this_test!()) {
        let mut peer = Peer::start(this_test!(), "create", &[]);
        peer.expect("done");
        peer.succeed();
    }
}
