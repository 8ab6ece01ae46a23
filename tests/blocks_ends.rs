//! What is told at the end of a block file, and at the end of those who work on it: nobody is told what is not so, and
//! nobody waits for what cannot come.
#![allow(missing_docs, clippy::single_range_in_vec_init)]

mod support;

use antiphon::blocks::{BlockFile, BlockFileOptions, FileId};
use antiphon::{Error, Wait};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use support::{PATIENCE, Watchdog, assert_nothing_left};

const WAITS: [Wait; 3] = [Wait::Spin, Wait::Park, Wait::Adaptive];
/// Long enough to look around a few times.
const A_FEW_TICKS: Duration = Duration::from_millis(200);
/// Far longer than any news takes.
const LONG: Duration = Duration::from_secs(20);

/// A file that no other test, and no other run, has. It goes with this: what holds something stays otherwise.
struct Unique(FileId);

fn unique() -> Unique {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let file = COUNT.fetch_add(1, Ordering::Relaxed);
    Unique(FileId { session: u64::from(std::process::id()) << 32 | 0xe0d5, file })
}

impl Drop for Unique {
    fn drop(&mut self) {
        let _ = BlockFile::unlink(self.0); // Nothing may be left.
        if !std::thread::panicking() {
            assert_nothing_left(&self.0.to_string());
        }
    }
}

fn create(id: FileId, wait: Wait, blocks: usize) -> BlockFile {
    BlockFileOptions::new().block_bytes(4096).blocks(blocks).wait(wait).create(id, b"ends").unwrap()
}

fn open(id: FileId, wait: Wait) -> BlockFile {
    BlockFileOptions::new().wait(wait).open(id).unwrap()
}

#[test]
fn who_finishes_waits_for_the_living_and_is_not_told_that_they_left() {
    for wait in WAITS {
        let _watchdog = Watchdog::new("finish waits", PATIENCE);
        let held = unique();
        let id = held.0;
        let file = create(id, wait, 4);
        let other = open(id, wait);
        let _reader = open(id, wait).reader().unwrap();
        let space = other.writer().unwrap().claim().unwrap();
        // One that never claimed anything, and one whose last claim was of what somebody had let go of.
        let mut fresh = file.writer().unwrap();
        let mut adopter = file.writer().unwrap();
        drop(other.writer().unwrap().claim().unwrap());
        let again = adopter.claim().unwrap();
        assert!(again.again());
        again.complete(1).unwrap();
        for writer in [&mut fresh, &mut adopter] {
            let done = writer.finish_timeout(A_FEW_TICKS);
            assert!(matches!(done, Err(Error::TimedOut { .. })), "{wait:?}: {done:?}");
        }
        space.complete(1).unwrap();
        fresh.finish_timeout(LONG).unwrap();
        adopter.finish_timeout(LONG).unwrap();
    }
}

#[test]
fn who_finishes_has_no_need_of_readers() {
    for wait in WAITS {
        let _watchdog = Watchdog::new("no readers", PATIENCE);
        let held = unique();
        let id = held.0;
        let file = create(id, wait, 1);
        let reader = open(id, wait);
        let playing = reader.reader().unwrap();
        let other = open(id, wait);
        let mut writer = file.writer().unwrap();
        // It has seen the reader.
        let space = other.writer().unwrap().claim().unwrap();
        let full = writer.claim_timeout(A_FEW_TICKS);
        assert!(matches!(full, Err(Error::TimedOut { .. })), "{full:?}");
        drop((playing, reader));
        let done = writer.finish_timeout(A_FEW_TICKS);
        assert!(matches!(done, Err(Error::TimedOut { .. })), "{wait:?}: {done:?}");
        space.complete(1).unwrap();
        writer.finish_timeout(LONG).unwrap();
        let mut reader = file.reader().unwrap();
        reader.claim().unwrap().unwrap().complete().unwrap();
        assert!(reader.claim().unwrap().is_none());
    }
}

#[test]
fn a_reader_is_told_of_writers_that_left_while_it_had_no_need_to_wait() {
    for wait in WAITS {
        let _watchdog = Watchdog::new("left unseen", PATIENCE);
        let held = unique();
        let id = held.0;
        let file = create(id, wait, 4);
        let mut reader = file.reader().unwrap();
        let writing = open(id, wait);
        let mut writer = writing.writer().unwrap();
        for _ in 0..2 {
            writer.claim().unwrap().complete(1).unwrap();
        }
        drop((writer, writing));
        for _ in 0..2 {
            reader.claim().unwrap().unwrap().complete().unwrap();
        }
        let left = reader.claim_timeout(LONG);
        assert!(matches!(left, Err(Error::Disconnected { .. })), "{wait:?}: {left:?}");
        // Once; and then it waits for another.
        let nothing = reader.claim_timeout(A_FEW_TICKS);
        assert!(matches!(nothing, Err(Error::TimedOut { .. })), "{wait:?}: {nothing:?}");
    }
}

#[test]
fn a_reader_is_told_of_writers_that_left_without_filling_what_they_claimed() {
    for wait in WAITS {
        let _watchdog = Watchdog::new("left unfilled", PATIENCE);
        let held = unique();
        let id = held.0;
        let file = create(id, wait, 4);
        let mut reader = file.reader().unwrap();
        let writing = open(id, wait);
        drop(writing.writer().unwrap().claim().unwrap());
        drop(writing);
        let left = reader.claim_timeout(LONG);
        let is_told = matches!(&left, Err(Error::Unfilled { ranges, .. }) if *ranges == [0..4096]);
        assert!(is_told, "{wait:?}: {left:?}");
        // Somebody fills it, and all is well.
        let mut writer = file.writer().unwrap();
        writer.claim().unwrap().complete(7).unwrap();
        writer.finish().unwrap();
        assert_eq!(reader.claim().unwrap().unwrap().len(), 7);
    }
}

#[test]
fn a_reader_that_waits_for_the_end_of_a_finished_file_has_no_need_of_writers() {
    for wait in WAITS {
        let _watchdog = Watchdog::new("finished", PATIENCE);
        let held = unique();
        let id = held.0;
        let file = create(id, wait, 4);
        let (mut first, mut second) = (file.reader().unwrap(), open(id, wait).reader().unwrap());
        let writing = open(id, wait);
        let mut writer = writing.writer().unwrap();
        // It has seen the writer.
        let nothing = second.claim_timeout(A_FEW_TICKS);
        assert!(matches!(nothing, Err(Error::TimedOut { .. })), "{nothing:?}");
        writer.claim().unwrap().complete(1).unwrap();
        writer.finish().unwrap();
        drop((writer, writing));
        let block = first.claim().unwrap().unwrap();
        let nothing = second.claim_timeout(A_FEW_TICKS);
        assert!(matches!(nothing, Err(Error::TimedOut { .. })), "{wait:?}: {nothing:?}");
        block.complete().unwrap();
        assert!(second.claim_timeout(LONG).unwrap().is_none());
    }
}

#[test]
fn a_writer_is_told_of_readers_that_left_while_it_had_no_need_to_wait() {
    for wait in WAITS {
        let _watchdog = Watchdog::new("readers left unseen", PATIENCE);
        let held = unique();
        let id = held.0;
        let file = create(id, wait, 2);
        let mut writer = file.writer().unwrap();
        let reading = open(id, wait);
        let mut reader = reading.reader().unwrap();
        writer.claim().unwrap().complete(1).unwrap();
        reader.claim().unwrap().unwrap().complete().unwrap();
        drop((reader, reading));
        for _ in 0..2 {
            writer.claim().unwrap().complete(1).unwrap();
        }
        let left = writer.claim_timeout(LONG);
        assert!(matches!(left, Err(Error::Disconnected { .. })), "{wait:?}: {left:?}");
        let nothing = writer.claim_timeout(A_FEW_TICKS);
        assert!(matches!(nothing, Err(Error::TimedOut { .. })), "{wait:?}: {nothing:?}");
    }
}

#[test]
fn who_was_told_that_a_file_is_cancelled_gets_nothing_of_it_any_more() {
    let held = unique();
    let file = create(held.0, Wait::Park, 2);
    let (mut writer, mut reader) = (file.writer().unwrap(), file.reader().unwrap());
    writer.claim().unwrap().complete(1).unwrap();
    writer.cancel("enough").unwrap();
    // The first look is at all blocks, later ones may be at the next one alone.
    for _ in 0..100 {
        assert!(matches!(reader.claim_timeout(Duration::ZERO), Err(Error::Cancelled { .. })));
        assert!(matches!(reader.try_claim(), Err(Error::Cancelled { .. })));
    }
}

#[test]
fn what_is_completed_in_a_cancelled_file_is_told_so() {
    let held = unique();
    let id = held.0;
    let file = create(id, Wait::Park, 2);
    let (mut writer, mut reader) = (file.writer().unwrap(), file.reader().unwrap());
    writer.claim().unwrap().complete(1).unwrap();
    let (block, space) = (reader.claim().unwrap().unwrap(), writer.claim().unwrap());
    reader.cancel("enough").unwrap();
    let told = space.complete(1);
    assert!(matches!(&told, Err(Error::Cancelled { reason, .. }) if reason == "enough"), "{told:?}");
    block.complete().unwrap();
}
