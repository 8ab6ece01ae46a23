//! What antiphon asks of the operating system; one file for each facility, and one for each system.
//!
//! `cfg(target_os)` stands in this folder alone. A system's own file ([`platform`]) provides:
//!
//! | item | what it has to do |
//! |---|---|
//! | `LIBC_FLAVOUR` | a number for the libc whose semaphores these are; two libcs never share one |
//! | `start_time` | when a process started, in any unit that never changes for it; or that it is gone |
//! | `Exit` | a watch on a process's end that is cheap to look at; or none |
//! | `pid_namespace` | a number for the set of processes among which pids are unique and start times comparable |
//! | `current_cpu` | the processor that this thread runs on, where that is cheap to know |
//! | `seed` | take what a look at a half-made object touches |
//! | `place_for` | an address that is free, where a mapping can have large pages; or none |
//! | `reserve` | take all of a mapped object's pages now, so that touching them cannot fail later |
//! | `stat_of`, `ANY_LENGTH` | what is known of an object, and a flag to open it with, however long it is |
//! | `bytes_free` | how much the shared-memory file system could still give |
//! | `wait_at_most` | sleep on a named semaphore with a limit, by a clock that nobody sets |
//! | `lay` | make a semaphore's file, where that is better than `sem_open`; or leave it to that |
//! | `allow` | give a new semaphore the mode that was asked for, whatever the umask |
//! | `MARK` | a mode bit by which what antiphon makes is known while nothing else shows it; or 0 |
//! | `names` | what stands where regions do, as far as the system lists it |
//! | `find`, `read_at` | what has a name, and the bytes at a place of it, without a risk to whoever looks |
//! | `semaphore_of`, `semaphore_file`, `unlink_unnamed` | which names are semaphores' files, as far as they are listed; and what the libc leaves of half-made ones |
//! | `pread_to`, `pwrite_from`, `lseek`, `Offset`, `LARGE` | places in files of any length, and the flag to open such a one |
//! | `past_cache` | have a file's bytes go past the page cache, or through it again, where the file system lets one |
//! | `preallocate` | take room on a disk for a file |
//! | `Anchor` | the file of a name that carries its locks; see below |
//!
//! **Anchors.** Byte-range locks that belong to an open file description (`F_OFD_SETLK`) are what tells the living
//! from the dead: the kernel drops them when a process is gone, however it went. On Linux they work on the region
//! itself. Darwin refuses locks on shared memory, so there the anchor is a small file of the same name in a registry.
//! Everything above asks only for these: `Anchor::find` and `find_or_make`, `leads_here` (the name still means this
//! very region), `probe` (a second, independent description of the same file), `successor` (what the name leads to
//! where the file was taken away from under the region), `id`, `belongs_to`, `undo` and `remove`.
//!
//! For the command: `SYSTEM`, `libc_version`, `try_huge_page` and `registry`, each of which may have nothing to tell.
//! For measuring, `processor.rs` has what each system tells of its processors: all of it may be nothing.
//!
//! A third system has to provide the same list, and shared memory with `shm_open`, named semaphores and descriptor
//! locks as above. `freebsd.rs` is one that cannot, and says so whenever it is asked.

#[cfg_attr(not(any(target_vendor = "apple", antiphon_darwin_rules)), path = "no_address.rs")]
mod address;
pub(crate) mod bells;
pub(crate) mod cell;
pub(crate) mod clear;
pub(crate) mod copy;
#[cfg(target_arch = "x86_64")]
mod copy_x86_64;
pub(crate) mod deadline;
pub(crate) mod disk;
pub(crate) mod door;
#[cfg(any(target_vendor = "apple", antiphon_darwin_rules))]
mod kqueue;
#[cfg(any(target_vendor = "apple", antiphon_darwin_rules, target_os = "freebsd"))]
mod lacks;
pub(crate) mod layout;
#[cfg(feature = "limits")]
pub(crate) mod lines;
pub(crate) mod lock;
pub(crate) mod look;
pub(crate) mod peer;
pub(crate) mod process;
#[cfg(feature = "limits")]
pub(crate) mod processor;
pub(crate) mod region;
#[cfg(any(target_vendor = "apple", antiphon_darwin_rules))]
mod registry;
pub(crate) mod run;
pub(crate) mod seat;
pub(crate) mod semaphore;
pub(crate) mod view;

#[cfg(any(target_vendor = "apple", antiphon_darwin_rules))]
mod darwin;
#[cfg(target_os = "freebsd")]
mod freebsd;
#[cfg(not(any(target_vendor = "apple", antiphon_darwin_rules, target_os = "freebsd")))]
mod linux;
#[cfg(any(target_vendor = "apple", antiphon_darwin_rules, not(target_env = "gnu")))]
mod watcher;

#[cfg(any(target_vendor = "apple", antiphon_darwin_rules))]
use darwin as platform;
#[cfg(target_os = "freebsd")]
use freebsd as platform;
#[cfg(not(any(target_vendor = "apple", antiphon_darwin_rules, target_os = "freebsd")))]
use linux as platform;

pub(crate) use platform::{
    Anchor, LIBC_FLAVOUR, bytes_free, current_cpu, find, names, seed, semaphore_file, semaphore_of,
};
#[cfg(feature = "cli")]
pub(crate) use platform::{SYSTEM, libc_version, registry, try_huge_page};

use std::io;

/// The limit of what a process may map.
#[cfg(all(feature = "cli", not(target_os = "freebsd")))]
pub(crate) const ADDRESS_SPACE: nix::sys::resource::Resource = nix::sys::resource::Resource::RLIMIT_AS;
/// As above, in FreeBSD's words.
#[cfg(all(feature = "cli", target_os = "freebsd"))]
pub(crate) const ADDRESS_SPACE: nix::sys::resource::Resource = nix::sys::resource::Resource::RLIMIT_VMEM;

/// Whose rules hold; for what explains them to people.
#[cfg(feature = "cli")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// Shared memory is a file system, and the region carries its own locks.
    Linux,
    /// Shared memory is the kernel's alone, and the locks stand in a registry.
    Darwin,
    /// There are no locks that antiphon could use, and so no channel.
    FreeBsd,
}

/// Turns nix's word for a failure into the standard library's.
fn io_error(errno: nix::errno::Errno) -> io::Error {
    io::Error::from_raw_os_error(errno as i32)
}

/// Repeats a call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(nix::errno::Errno::EINTR) => {}
            other => return other.map_err(io_error),
        }
    }
}

/// Nothing where the object does not exist.
fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(there) => Ok(Some(there)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether this process may run on one processor only, as things stood at the first asking: for systems that do not
/// tell on which it runs.
pub(crate) fn only_one_cpu() -> bool {
    use std::sync::OnceLock;
    static ONE: OnceLock<bool> = OnceLock::new();
    *ONE.get_or_init(|| std::thread::available_parallelism().is_ok_and(|n| n.get() == 1))
}

/// Leaves word, by `note`, of the processor that this thread runs on, and says whether the other side was last seen on
/// the same one. `mine` and `theirs` are what was left before: a processor plus one, 0 for unknown. Either may have
/// moved since; a wrong answer costs time and nothing else. Noted only when it changes, so that the line stays shared.
pub(crate) fn shares_cpu(mine: u32, theirs: u32, note: impl FnOnce(u32)) -> bool {
    let Some(here) = current_cpu().and_then(|cpu| cpu.checked_add(1)) else {
        return only_one_cpu();
    };
    if mine != here {
        note(here);
    }
    theirs == here
}

/// Milliseconds since 1970, for people to read; nothing is decided by it.
pub(crate) fn unix_millis() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A number that no other region has had, as far as luck goes.
pub(crate) fn nonce() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // RandomState is seeded by the system; the pid and the time part two processes that share a seed.
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.write_u64(unix_millis());
    hasher.finish() | 1
}
