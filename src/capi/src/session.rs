//! Sessions: hosting one, connecting to one, what files it has.

use crate::arguments::{bytes, limit, options as read, place, text};
use crate::error::{Failure, answer, antiphon_error, antiphon_error::*, bad_argument, prepare, value};
use crate::file::{Filing, shmem_file};
use crate::handle::{Alone, Kind, find, give, take};
use antiphon::blocks::Guard;
use antiphon::session::{Host, Session, SessionOptions};
use std::ffi::c_char;

/// How a session is hosted.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_camel_case_types)]
pub struct shmem_host_options {
    /// sizeof(shmem_host_options)
    pub size: usize,
    /// The session's id, for callers that know it and for a host that comes after a dead one; 0 for a new one.
    pub id: u64,
    /// The bytes of a block: a multiple of 4,096, at most 64 MiB; 0 for 1 MiB.
    pub block_bytes: usize,
    /// How many blocks each file has, at most 256; 0 for 8.
    pub blocks: usize,
    /// The permission bits of what is created; 0 for 0600.
    pub mode: u32,
    /// Zero.
    pub reserved: u32,
}

/// How one connects to a session.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_camel_case_types)]
pub struct shmem_session_options {
    /// sizeof(shmem_session_options)
    pub size: usize,
    /// How long to wait for a host, where there is none; 0 not at all.
    pub wait_ns: u64,
    /// How long each later call may take; 0 for 10 s.
    pub patience_ns: u64,
    /// 1 where each block is to be out of reach as soon as it is completed or let go of, so that who touches it later
    /// faults right there: for finding mistakes, at two system calls a block.
    pub guard_blocks: u32,
    /// Zero.
    pub reserved: u32,
}

/// How a file is opened.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_camel_case_types)]
pub struct shmem_open_options {
    /// sizeof(shmem_open_options)
    pub size: usize,
    /// The bytes of the name, which may then be any; 0 where it ends in NUL.
    pub name_len: usize,
    /// To write: where in the file this begins. Each offset is a block file of its own, and together they are the file.
    pub offset: u64,
    /// To read: how long to wait for a file that is not there yet; 0 not at all.
    pub wait_ns: u64,
}

/// What a file is opened for.
#[repr(u32)]
#[allow(non_camel_case_types, dead_code)]
pub enum shmem_access {
    /// To read it.
    SHMEM_READ = 1,
    /// To write it; it is made where it is not there.
    SHMEM_WRITE = 2,
    /// To read any file that nobody reads; the name is NULL.
    SHMEM_READ_ANY = 3,
}

/// One block file of a name: its shared memory is called "/%016X-%08X", of the session's id and this number.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_camel_case_types)]
pub struct shmem_part {
    /// Where in the file it begins.
    pub offset: u64,
    /// Its number in the session.
    pub number: u32,
    /// For later versions.
    pub reserved: u32,
}

/// A file that can be read.
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct shmem_entry {
    /// Its name, with a NUL behind it. There may be others in it.
    pub name: *const c_char,
    /// The name's bytes, without the NUL behind it.
    pub name_len: usize,
    /// Its block files: several, where it is written sparsely.
    pub parts: *const shmem_part,
    /// How many those are.
    pub parts_len: usize,
    /// How many read it: each of them gets some of its blocks.
    pub readers: usize,
    /// For later versions.
    pub reserved: u64,
}

/// A session's host, on a thread of its own.
#[allow(non_camel_case_types)]
pub struct shmem_host(());

/// A connection to a session. Nothing is kept open between two calls.
#[allow(non_camel_case_types)]
pub struct shmem_session(());

struct Hosting(Host);

impl Kind for Hosting {
    type Opaque = shmem_host;
    const NUMBER: usize = 4;
}

struct Connected {
    session: Session,
    list: Alone<List>,
}

/// What the last list told, for as long as the next does not take its place.
#[derive(Default)]
struct List {
    entries: Vec<shmem_entry>,
    /// What the entries point to.
    names: Vec<Box<[u8]>>,
    parts: Vec<Box<[shmem_part]>>,
}

impl Kind for Connected {
    type Opaque = shmem_session;
    const NUMBER: usize = 5;
}

/// Hosts a session: files are opened and found by their names through it, and data never passes through it. On a thread
/// of the library's own, until it is closed or this process ends. ANTIPHON_ERROR_IN_USE where the id is hosted. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmem_session_host(
    options: *const shmem_host_options,
    host: *mut *mut shmem_host,
) -> antiphon_error {
    answer(|| {
        prepare();
        let to = place(host)?;
        // SAFETY: C's word.
        let chosen = unsafe { read(options) }?;
        let mut options = SessionOptions::new();
        if chosen.id != 0 {
            options = options.id(chosen.id);
        }
        if chosen.block_bytes != 0 {
            options = options.block_bytes(chosen.block_bytes);
        }
        if chosen.blocks != 0 {
            options = options.blocks(chosen.blocks);
        }
        if chosen.mode != 0 {
            options = options.mode(chosen.mode);
        }
        if chosen.reserved != 0 {
            return Err(bad_argument("`reserved` that is not zero"));
        }
        let handle = give(Hosting(options.host()?))?;
        // SAFETY: a place for it, by C's word.
        unsafe { to.write(handle) };
        Ok(ANTIPHON_OK)
    })
}

/// The session's id, to connect to; 0 where the handle is none. Several threads at once may ask.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmem_host_id(host: *const shmem_host) -> u64 {
    value(0, || find::<Hosting>(host).map_or(0, |host| host.0.id()))
}

/// Ends the hosting. Who has a file open goes on with it, and what nobody has read stays for the next host of the id. NULL
/// is nothing to close. No other thread may be in a call on this handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmem_host_close(host: *mut shmem_host) -> antiphon_error {
    answer(|| take::<Hosting>(host).map(|_| ANTIPHON_OK))
}

/// Connects to a session by its id. ANTIPHON_ERROR_NO_HOST where nobody hosts it. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmem_session_connect(
    id: u64,
    options: *const shmem_session_options,
    session: *mut *mut shmem_session,
) -> antiphon_error {
    answer(|| {
        prepare();
        let to = place(session)?;
        // SAFETY: C's word.
        let chosen = unsafe { read(options) }?;
        let mut session = match chosen.wait_ns {
            0 => Session::connect(id)?,
            wait => Session::connect_timeout(id, limit(wait))?,
        };
        if chosen.patience_ns != 0 {
            session = session.patience(limit(chosen.patience_ns));
        }
        session = match (chosen.guard_blocks, chosen.reserved) {
            (0, 0) => session.guard(Guard::Ends),
            (1, 0) => session.guard(Guard::Blocks),
            _ => return Err(bad_argument("`guard_blocks` that is neither 0 nor 1, or `reserved` that is not zero")),
        };
        let handle = give(Connected { session, list: Alone::new(List::default()) })?;
        // SAFETY: a place for it, by C's word.
        unsafe { to.write(handle) };
        Ok(ANTIPHON_OK)
    })
}

/// Lets go of a session, and of what it listed. Files that were opened by it stay open. NULL is nothing to close. No other
/// thread may be in a call on this handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmem_session_close(session: *mut shmem_session) -> antiphon_error {
    answer(|| take::<Connected>(session).map(|_| ANTIPHON_OK))
}

fn session_of(session: *const shmem_session) -> Result<Session, Failure> {
    Ok(find::<Connected>(session)?.session)
}

/// The files that can be read, in the order in which they were opened: `*entries` and `*entries_len`, good until the next
/// list by this handle, or until it is closed. It may be stale by the time one reads it. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmem_list(
    session: *mut shmem_session,
    entries: *mut *const shmem_entry,
    entries_len: *mut usize,
) -> antiphon_error {
    answer(|| {
        let (to, to_len) = (place(entries)?, place(entries_len)?);
        let mut kept = find::<Connected>(session)?.list.enter()?;
        let mut list = List::default();
        for entry in session_of(session)?.files()? {
            let of = |part: &antiphon::session::Part| shmem_part {
                offset: part.offset,
                number: part.id.file,
                reserved: 0,
            };
            let parts: Box<[shmem_part]> = entry.parts.iter().map(of).collect();
            let name_len = entry.name.len();
            let name: Box<[u8]> = entry.name.into_iter().chain([0]).collect();
            list.entries.push(shmem_entry {
                name: name.as_ptr().cast(),
                name_len,
                parts: parts.as_ptr(),
                parts_len: parts.len(),
                readers: entry.readers,
                reserved: 0,
            });
            list.names.push(name);
            list.parts.push(parts);
        }
        *kept = list;
        // SAFETY: a place for a pointer, by C's word.
        unsafe { to.write(kept.entries.as_ptr()) };
        // SAFETY: a place for a length, by C's word.
        unsafe { to_len.write(kept.entries.len()) };
        Ok(ANTIPHON_OK)
    })
}

/// Opens a file for what `access` says, one of shmem_access: to read it, to write it, or to read any that nobody reads
/// (ANTIPHON_NOTHING_YET where there is none). Several processes may write a file, and several read it: each block has
/// one owner. Several threads at once may.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmem_open(
    session: *mut shmem_session,
    name: *const c_char,
    access: u32,
    options: *const shmem_open_options,
    file: *mut *mut shmem_file,
) -> antiphon_error {
    answer(|| {
        let to = place(file)?;
        // SAFETY: C's word.
        let chosen = unsafe { read(options) }?;
        let session = session_of(session)?;
        let name = match (name.is_null(), chosen.name_len) {
            (true, 0) if access == shmem_access::SHMEM_READ_ANY as u32 => &[],
            // SAFETY: C's word.
            (_, 0) => unsafe { text(name) }?.to_bytes(),
            // SAFETY: as above.
            (_, len) => unsafe { bytes(name.cast(), len) }?,
        };
        let is = |wanted: shmem_access| access == wanted as u32;
        let opened = if is(shmem_access::SHMEM_READ) {
            match chosen.wait_ns {
                0 => Filing::reading(session.read(name)?),
                wait => Filing::reading(session.read_timeout(name, limit(wait))?),
            }
        } else if is(shmem_access::SHMEM_WRITE) {
            Filing::writing(session.write_at(name, chosen.offset)?, name)
        } else if is(shmem_access::SHMEM_READ_ANY) {
            match session.read_any()? {
                Some(reader) => Filing::reading(reader),
                None => return Ok(ANTIPHON_NOTHING_YET),
            }
        } else {
            return Err(bad_argument("an access that is none of shmem_access"));
        };
        let handle = give(opened)?;
        // SAFETY: a place for it, by C's word.
        unsafe { to.write(handle) };
        Ok(ANTIPHON_OK)
    })
}

/// Ends a file for everybody, with a reason, by its name (one that ends in NUL): what stands in it is lost. Several
/// threads at once may.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmem_session_cancel(
    session: *mut shmem_session,
    name: *const c_char,
    reason: *const c_char,
) -> antiphon_error {
    answer(|| {
        // SAFETY: C's word.
        let name = unsafe { text(name) }?.to_bytes();
        // SAFETY: as above.
        let reason = unsafe { text(reason) }?.to_string_lossy();
        session_of(session)?.cancel(name, &reason)?;
        Ok(ANTIPHON_OK)
    })
}
