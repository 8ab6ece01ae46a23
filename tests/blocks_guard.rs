//! What whoever kept a pointer to a block meets, in every way in which a block can go out of hand.
#![allow(missing_docs)]

mod support;

use antiphon::blocks::{BlockFile, BlockFileOptions, FileId, Guard};
use antiphon::session::{Session, SessionOptions};
use antiphon::{Channel, Error};
use std::sync::atomic::{AtomicU32, Ordering};
use support::{PATIENCE, Watchdog};

fn unique() -> FileId {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    FileId { session: u64::from(std::process::id()) << 32, file: 0x6000 + COUNT.fetch_add(1, Ordering::Relaxed) }
}

fn guarded(guard: Guard, blocks: usize) -> BlockFile {
    BlockFileOptions::new().block_bytes(64 << 10).blocks(blocks).guard(guard).create(unique(), b"guarded").unwrap()
}

/// Whether the byte can be touched: the system refuses to write out what faults.
fn is_open(byte: *const u8) -> bool {
    let mut pipe = [0; 2];
    // SAFETY: a place for two descriptors.
    assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
    // SAFETY: where the byte cannot be read the call fails.
    let written = unsafe { libc::write(pipe[1], byte.cast(), 1) };
    for end in pipe {
        // SAFETY: opened above, closed once.
        unsafe { libc::close(end) };
    }
    written == 1
}

#[test]
fn a_pointer_leads_to_what_is_in_hand() {
    let _watchdog = Watchdog::new("pointers", PATIENCE);
    let file = guarded(Guard::Off, 2);
    let (mut writer, mut reader) = (file.writer().unwrap(), file.reader().unwrap());
    let mut space = writer.claim().unwrap();
    let pointer = space.as_mut_ptr();
    // SAFETY: within the block, which is in hand.
    unsafe { pointer.copy_from(b"by pointer".as_ptr(), 10) };
    space.complete(10).unwrap();
    let block = reader.claim().unwrap().unwrap();
    assert_eq!(block.view().as_ptr(), pointer.cast_const(), "one attachment, one mapping");
    // SAFETY: as above.
    assert_eq!(unsafe { std::slice::from_raw_parts(block.view().as_ptr(), 10) }, b"by pointer");
    block.complete().unwrap();
    writer.finish().unwrap();
    assert!(reader.claim().unwrap().is_none());
    assert!(is_open(pointer), "nothing was to be guarded");

    let name = format!("t{}-pointers", std::process::id());
    let channel = Channel::create(&name).unwrap();
    let (mut publisher, mut consumer) = (channel.publisher().unwrap(), channel.consumer().unwrap());
    for len in [5, 5000] {
        let mut loan = publisher.loan(len).unwrap();
        // SAFETY: within the loan, which is in hand.
        unsafe { loan.as_mut_ptr().write_bytes(7, len) };
        loan.publish().unwrap();
        let message = consumer.consume().unwrap();
        // SAFETY: within the message, which is in hand.
        assert_eq!(unsafe { std::slice::from_raw_parts(message.view().as_ptr(), len) }, vec![7; len]);
    }
}

#[test]
fn with_each_block_guarded_only_what_is_in_hand_is_open() {
    let _watchdog = Watchdog::new("each block", PATIENCE);
    let file = guarded(Guard::Blocks, 3);
    let mut writer = file.writer().unwrap();
    let (mut first, mut second) = (writer.claim().unwrap(), writer.claim().unwrap());
    let (one, two) = (first.as_mut_ptr(), second.as_mut_ptr());
    let last = (64 << 10) - 1;
    let behind = one.wrapping_add(2 * (64 << 10));
    assert!(is_open(one) && is_open(one.wrapping_add(last)) && is_open(two), "both in hand");
    assert!(!is_open(behind), "not claimed yet");
    assert_eq!(first.copy_from(0, b"one"), 3);
    first.complete(3).unwrap();
    assert!(!is_open(one) && !is_open(one.wrapping_add(last)) && is_open(two));
    drop(second); // Let go of: the next claim has it.
    assert!(!is_open(two));
    let second = writer.claim().unwrap();
    assert!(second.again() && is_open(two));
    second.complete(0).unwrap();
    assert!(!is_open(two));

    let mut reader = file.reader().unwrap();
    let block = reader.claim().unwrap().unwrap();
    assert_eq!(block.to_vec(), b"one");
    assert!(is_open(one) && !is_open(two));
    drop(block);
    assert!(!is_open(one));
    reader.claim().unwrap().unwrap().complete().unwrap();
    assert!(!is_open(one));
    assert!(reader.claim().unwrap().is_none());
}

#[test]
fn at_the_end_of_the_file_all_of_it_is_closed_once_nothing_is_in_hand() {
    let _watchdog = Watchdog::new("ends", PATIENCE);
    let id = unique();
    let options = BlockFileOptions::new().block_bytes(64 << 10).blocks(3).guard(Guard::Ends);
    let (ours, theirs) = (options.create(id, b"ends").unwrap(), options.open(id).unwrap());
    let (mut writer, mut reader) = (ours.writer().unwrap(), theirs.reader().unwrap());
    let mut held = [writer.claim().unwrap(), writer.claim().unwrap()];
    let [one, two] = held.each_mut().map(|space| space.as_mut_ptr());
    let [first, second] = held;
    first.complete(3).unwrap();
    assert!(is_open(one), "there may be more");
    // The end, said while another block is in hand.
    writer.claim().unwrap().complete(0).unwrap();
    assert!(is_open(one) && is_open(two));
    second.complete(5).unwrap();
    assert!(!is_open(one) && !is_open(two));
    assert!(matches!(writer.claim(), Err(Error::Finished { .. })));

    let mut pointers = Vec::new();
    while let Some(block) = reader.claim().unwrap() {
        pointers.push(block.view().as_ptr());
        block.complete().unwrap();
        assert!(pointers.iter().all(|pointer| is_open(*pointer)));
    }
    assert_eq!(pointers.len(), 2);
    assert!(pointers.iter().all(|pointer| !is_open(*pointer)));
}

#[test]
fn what_is_left_of_a_closed_file_opens_again_for_who_fills_it() {
    let _watchdog = Watchdog::new("again", PATIENCE);
    let id = unique();
    let options = BlockFileOptions::new().block_bytes(64 << 10).blocks(3);
    let (ours, theirs) = (options.guard(Guard::Ends).create(id, b"again").unwrap(), options.open(id).unwrap());
    let (mut writer, mut other) = (ours.writer().unwrap(), theirs.writer().unwrap());
    let theirs = other.claim().unwrap();
    writer.claim().unwrap().complete(0).unwrap();
    drop(theirs); // Not filled: this one's now, though all was closed.
    let mut space = writer.claim().unwrap();
    assert!(space.again());
    assert_eq!(space.copy_from(0, b"late"), 4);
    let pointer = space.as_mut_ptr();
    space.complete(4).unwrap();
    writer.finish().unwrap();
    let block = ours.reader().unwrap().claim().unwrap().unwrap();
    assert_eq!(block.to_vec(), b"late", "two play here now, and nothing is closed to either");
    assert!(is_open(pointer));
    block.complete().unwrap();
}

#[test]
fn the_addresses_of_a_file_of_a_session_stay_its_own_until_it_is_closed() {
    let _watchdog = Watchdog::new("addresses", PATIENCE);
    let host = SessionOptions::new().block_bytes(64 << 10).blocks(2).id(unique().session | 0x77).host().unwrap();
    let session = Session::connect(host.id()).unwrap().guard(Guard::Ends);
    let (mut low, mut high) = (session.write(b"sparse").unwrap(), session.write_at(b"sparse", 1 << 20).unwrap());
    let mut reader = session.read(b"sparse").unwrap();
    for writer in [&mut low, &mut high] {
        writer.claim().unwrap().complete(9).unwrap();
        writer.finish().unwrap();
    }
    let mut pointers = Vec::new();
    while let Some(block) = reader.claim().unwrap() {
        pointers.push(block.view().as_ptr());
        block.complete().unwrap();
    }
    assert_eq!(pointers.len(), 2);
    // Whatever is mapped now, it does not come to stand there.
    let others: Vec<BlockFile> = (0..8).map(|_| guarded(Guard::Off, 2)).collect();
    assert!(pointers.iter().all(|pointer| !is_open(*pointer)));
    drop(others);
}
