//! Files of blocks: claiming and completing.

use crate::arguments::{limit, place, text};
use crate::error::{Failure, Outcome, answer, antiphon_error, antiphon_error::*, bad_argument, value};
use crate::handle::{Alone, Kind, find, take};
use antiphon::Error;
use antiphon::blocks::{Block, Claimed, Space};
use antiphon::session::{FileReader, FileWriter};
use std::cell::UnsafeCell;
use std::ffi::{c_char, c_void};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// How many blocks one handle can have in hand.
const MOST_IN_HAND: usize = 256;

/// A file that is open, to be read or to be written.
#[allow(non_camel_case_types)]
pub struct shmem_file(());

/// A block in hand.
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct shmem_block {
    /// Where its bytes stand: to be written by a writer, to be read by a reader.
    pub data: *mut c_void,
    /// How many there are to be read, or how many there is room for.
    pub len: usize,
    /// Where they belong in the file.
    pub offset: u64,
    /// 1 where another one had it before, and died over it or let go of it.
    pub again: u32,
    /// Zero.
    pub reserved: u32,
    /// The library's own.
    pub token: u64,
    /// For later versions.
    pub reserved_too: u64,
}

#[allow(clippy::large_enum_variant)] // Once a file, and in a box of its own.
enum End {
    Writer(FileWriter),
    Reader(FileReader),
}

enum InHand {
    Space(Space),
    Block(Block),
}

/// A place for a block in hand. Its token is 0 while there is none, else what the caller was given.
struct Hand {
    token: AtomicU64,
    what: UnsafeCell<Option<InHand>>,
}

const TAKING: u64 = u64::MAX;

pub struct Filing {
    // In this order they go: the blocks before the file.
    hands: Box<[Hand]>,
    desk: Alone<Desk>,
    name: Vec<u8>,
}

/// What whoever claims uses.
struct Desk {
    end: End,
    /// Where the next block goes, if that is free, and how many there were.
    next: usize,
    count: u64,
}

impl Kind for Filing {
    type Opaque = shmem_file;
    const NUMBER: usize = 6;
}

impl Filing {
    fn new(end: End, name: &[u8]) -> Self {
        let hand = |_| Hand { token: AtomicU64::new(0), what: UnsafeCell::new(None) };
        let hands = (0..MOST_IN_HAND).map(hand).collect();
        let name = name.iter().copied().chain([0]).collect();
        Filing { hands, desk: Alone::new(Desk { end, next: 0, count: 0 }), name }
    }

    pub fn reading(reader: FileReader) -> Self {
        let name = reader.name().to_vec();
        Filing::new(End::Reader(reader), &name)
    }

    pub fn writing(writer: FileWriter, name: &[u8]) -> Self {
        Filing::new(End::Writer(writer), name)
    }

    /// A place that is free: the next one, as a rule.
    #[inline]
    fn free_hand(&self, next: usize) -> Result<usize, Failure> {
        match self.is_free(next) {
            true => Ok(next),
            false => self.search(next),
        }
    }

    #[inline]
    fn is_free(&self, hand: usize) -> bool {
        self.hands[hand].token.load(Acquire) == 0
    }

    #[cold]
    #[inline(never)]
    fn search(&self, next: usize) -> Result<usize, Failure> {
        let found = (next..MOST_IN_HAND).chain(0..next).find(|hand| self.is_free(*hand));
        found.ok_or(Failure::Ours(ANTIPHON_ERROR_TOO_MANY, "256 blocks are in hand: complete some"))
    }

    /// Puts a block where nobody has one: free, as whoever claims found it, or taken out just now.
    #[inline]
    fn put(&self, hand: usize, token: u64, what: InHand) {
        let place = &self.hands[hand];
        // SAFETY: this thread's, as above, and nobody looks at it before the token stands there.
        unsafe { *place.what.get() = Some(what) };
        place.token.store(token, Release);
    }

    /// What a token stands for, taken out.
    #[inline]
    fn let_out(&self, token: u64) -> Result<(usize, InHand), Failure> {
        let hand = (token & 0xff) as usize;
        let place = &self.hands[hand];
        // Of two threads that complete it at once one does.
        let is_it = token != 0 && token != TAKING;
        if !is_it || place.token.compare_exchange(token, TAKING, Acquire, Relaxed).is_err() {
            return Err(no_block());
        }
        // SAFETY: this thread has just taken the token away, and nobody puts another block there before it is 0.
        let what = unsafe { (*place.what.get()).take() };
        match what {
            Some(what) => Ok((hand, what)),
            None => Err(no_block()),
        }
    }
}

#[cold]
fn no_block() -> Failure {
    Failure::Ours(ANTIPHON_ERROR_BAD_HANDLE, "a block that is none, or that was completed or let go of")
}

#[inline]
fn filing<'a>(file: *const shmem_file) -> Result<&'a Filing, Failure> {
    find::<Filing>(file)
}

/// Claims by one of these, as what the file is open for.
#[inline]
fn claiming(
    file: *mut shmem_file,
    block: *mut shmem_block,
    write: impl FnOnce(&mut FileWriter) -> Result<Option<Space>, Error>,
    read: impl FnOnce(&mut FileReader) -> Result<Result<Block, antiphon_error>, Error>,
) -> Outcome {
    let to: NonNull<shmem_block> = place(block)?;
    let filing = filing(file)?;
    let mut within = filing.desk.enter()?;
    let desk = &mut *within;
    let hand = filing.free_hand(desk.next)?;
    desk.count += 1;
    let token = (desk.count << 8) | hand as u64;
    let (told, got) = match &mut desk.end {
        End::Writer(writer) => {
            let Some(mut space) = write(writer)? else { return Ok(ANTIPHON_NOTHING_YET) };
            let (data, len, offset) = (space.as_mut_ptr().cast(), space.capacity(), space.offset());
            let again = space.again().into();
            let told = shmem_block { data, len, offset, again, reserved: 0, token, reserved_too: 0 };
            (told, InHand::Space(space))
        }
        End::Reader(reader) => {
            let block = match read(reader)? {
                Ok(block) => block,
                Err(ANTIPHON_ERROR_BAD_ARGUMENT) => {
                    return Err(bad_argument("a reader does not choose what it reads"));
                }
                Err(outcome) => return Ok(outcome),
            };
            let (data, len) = (block.view().as_ptr().cast_mut().cast(), block.len());
            let (offset, again) = (block.offset(), block.again().into());
            let told = shmem_block { data, len, offset, again, reserved: 0, token, reserved_too: 0 };
            (told, InHand::Block(block))
        }
    };
    desk.next = (hand + 1) % MOST_IN_HAND;
    // SAFETY: a place for it, by C's word.
    unsafe { to.write(told) };
    filing.put(hand, token, got);
    Ok(ANTIPHON_OK)
}

#[inline]
fn or_end(block: Option<Block>) -> Result<Block, antiphon_error> {
    block.ok_or(ANTIPHON_END)
}

/// Readers do not choose.
fn no_choice(_: &mut FileReader) -> Result<Result<Block, antiphon_error>, Error> {
    Ok(Err(ANTIPHON_ERROR_BAD_ARGUMENT))
}

/// Claims the next block: a free one to be filled, or a complete one to be read. Waits for it. `block` tells where it is,
/// good until it is completed or let go of. ANTIPHON_END at the end of a file that is read, and then none of its memory
/// can be touched any more. One thread at a time; others may complete meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmem_block_claim(file: *mut shmem_file, block: *mut shmem_block) -> antiphon_error {
    answer(|| claiming(file, block, |writer| writer.claim().map(Some), |reader| reader.claim().map(or_end)))
}

/// shmem_block_claim() with a limit. One thread at a time; others may complete meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmem_block_claim_timeout(
    file: *mut shmem_file,
    block: *mut shmem_block,
    timeout_ns: u64,
) -> antiphon_error {
    answer(|| {
        let limit = limit(timeout_ns);
        let write = |writer: &mut FileWriter| writer.claim_timeout(limit).map(Some);
        claiming(file, block, write, |reader| reader.claim_timeout(limit).map(or_end))
    })
}

/// shmem_block_claim() if that needs no waiting, else ANTIPHON_NOTHING_YET. One thread at a time; others may complete
/// meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmem_block_try_claim(file: *mut shmem_file, block: *mut shmem_block) -> antiphon_error {
    answer(|| {
        let read = |reader: &mut FileReader| {
            Ok(match reader.try_claim()? {
                Claimed::Block(block) => Ok(block),
                Claimed::NothingYet => Err(ANTIPHON_NOTHING_YET),
                Claimed::End => Err(ANTIPHON_END),
            })
        };
        claiming(file, block, |writer| writer.try_claim(), read)
    })
}

/// Claims a block for the bytes from `offset` of the file on, to write out of order. What another writer died over goes
/// first all the same: `block->offset` says which it is. One thread at a time; others may complete meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmem_block_claim_at(
    file: *mut shmem_file,
    offset: u64,
    block: *mut shmem_block,
) -> antiphon_error {
    answer(|| claiming(file, block, |writer| writer.claim_at(offset).map(Some), no_choice))
}

/// shmem_block_claim_at() with a limit. One thread at a time; others may complete meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmem_block_claim_at_timeout(
    file: *mut shmem_file,
    offset: u64,
    block: *mut shmem_block,
    timeout_ns: u64,
) -> antiphon_error {
    answer(|| {
        let limit = limit(timeout_ns);
        claiming(file, block, |writer| writer.claim_at_timeout(offset, limit).map(Some), no_choice)
    })
}

/// shmem_block_claim_at() if that needs no waiting, else ANTIPHON_NOTHING_YET. One thread at a time; others may complete
/// meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmem_block_try_claim_at(
    file: *mut shmem_file,
    offset: u64,
    block: *mut shmem_block,
) -> antiphon_error {
    answer(|| claiming(file, block, |writer| writer.try_claim_at(offset), no_choice))
}

/// Takes a block out of hand, and out of the caller's. One that a writer says more of than there is stays.
#[inline]
fn going(
    file: *mut shmem_file,
    block: *mut shmem_block,
    filled: usize,
    how: impl FnOnce(InHand) -> Result<(), Error>,
) -> Outcome {
    let at = place(block)?.as_ptr();
    let filing = filing(file)?;
    // SAFETY: a block of the caller's.
    let token = unsafe { (*at).token };
    let (hand, what) = filing.let_out(token)?;
    if matches!(&what, InHand::Space(space) if filled > space.capacity()) {
        filing.put(hand, token, what);
        return Err(Failure::Ours(
            ANTIPHON_ERROR_TOO_LONG,
            "more bytes than the block has room for: it is still in hand",
        ));
    }
    // SAFETY: as above.
    unsafe { (*at).data = std::ptr::null_mut() };
    // SAFETY: as above.
    unsafe { (*at).token = 0 };
    let gone = how(what);
    filing.hands[hand].token.store(0, Release);
    gone?;
    Ok(ANTIPHON_OK)
}

/// Hands a block on. A writer says how many bytes it filled: 0 is the end of the file, as of read(); then no block is
/// given to writers any more. Of a reader `len` says nothing, and the block is free again. Its memory is not to be touched
/// after that: once the file is at its end and nothing of it is in hand, and with `guard_blocks` at once, who does gets
/// SIGSEGV. `block->data` is NULL then. Several threads at once may, each with blocks of its own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmem_block_complete(
    file: *mut shmem_file,
    block: *mut shmem_block,
    len: usize,
) -> antiphon_error {
    answer(|| {
        going(file, block, len, |what| match what {
            InHand::Space(space) => space.complete(len),
            InHand::Block(block) => block.complete(),
        })
    })
}

/// Lets go of a block, unfilled or unread: it goes to the next claim of that side, marked `again`. Several threads at once
/// may, each with blocks of its own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmem_block_drop(file: *mut shmem_file, block: *mut shmem_block) -> antiphon_error {
    answer(|| {
        going(file, block, 0, |what| {
            drop(what);
            Ok(())
        })
    })
}

fn finishing(file: *mut shmem_file, time: Option<u64>) -> Outcome {
    let filing = filing(file)?;
    match (&mut filing.desk.enter()?.end, time) {
        (End::Writer(writer), None) => writer.finish()?,
        (End::Writer(writer), Some(time)) => writer.finish_timeout(limit(time))?,
        (End::Reader(_), _) => return Err(bad_argument("a reader finishes nothing")),
    }
    Ok(ANTIPHON_OK)
}

/// Nothing more will be written but what was claimed before: as a block of zero bytes, and then waits until all of that is
/// completed, by whatever writer. ANTIPHON_ERROR_UNFILLED where somebody died over some of it: claim that and fill it, and
/// finish again. One thread at a time; others may complete meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmem_finish(file: *mut shmem_file) -> antiphon_error {
    answer(|| finishing(file, None))
}

/// shmem_finish() with a limit; after that the file is ending all the same. One thread at a time; others may complete
/// meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmem_finish_timeout(file: *mut shmem_file, timeout_ns: u64) -> antiphon_error {
    answer(|| finishing(file, Some(timeout_ns)))
}

/// Ends the file for everybody, with a reason: what stands in it is lost. One thread at a time; others may complete
/// meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmem_cancel(file: *mut shmem_file, reason: *const c_char) -> antiphon_error {
    answer(|| {
        // SAFETY: C's word.
        let reason = unsafe { text(reason) }?.to_string_lossy();
        let filing = filing(file)?;
        match &mut filing.desk.enter()?.end {
            End::Writer(writer) => writer.cancel(&reason)?,
            End::Reader(reader) => reader.cancel(&reason)?,
        }
        Ok(ANTIPHON_OK)
    })
}

/// The file's name, with a NUL behind it, and its bytes at `*name_len` unless that is NULL: good until it is closed. NULL
/// where the handle is none. Several threads at once may ask.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmem_name(file: *const shmem_file, name_len: *mut usize) -> *const c_char {
    value(std::ptr::null(), || {
        let Ok(filing) = filing(file) else { return std::ptr::null() };
        if let Ok(to) = place(name_len) {
            // SAFETY: a place for a length, by C's word.
            unsafe { to.write(filing.name.len() - 1) };
        }
        filing.name.as_ptr().cast()
    })
}

/// Closes a file. Blocks in hand are let go of; a file that was not finished stays open to other writers. None of its
/// memory can be touched any more. NULL is nothing to close. No other thread may be in a call on this handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmem_close(file: *mut shmem_file) -> antiphon_error {
    answer(|| take::<Filing>(file).map(|_| ANTIPHON_OK))
}
