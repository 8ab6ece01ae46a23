//! Block files: every byte through every shape of file, in order and out of it, holes, the end.
#![allow(missing_docs, clippy::single_range_in_vec_init)]

mod support;

use antiphon::blocks::{BlockFile, BlockFileOptions, Claimed, FileId, Reader, Writer};
use antiphon::{Channel, ChannelOptions, Error, Wait};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;
use support::{PATIENCE, Peer, Watchdog, role};

/// A file that no other test, and no other run, has.
fn unique() -> FileId {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    FileId { session: u64::from(std::process::id()) << 32, file: COUNT.fetch_add(1, Ordering::Relaxed) }
}

fn options(block_bytes: usize, blocks: usize) -> BlockFileOptions {
    BlockFileOptions::new().block_bytes(block_bytes).blocks(blocks)
}

/// The byte that stands at `offset` of every file here.
fn byte(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

fn bytes(offset: u64, len: usize) -> Vec<u8> {
    (offset..offset + len as u64).map(byte).collect()
}

/// Fills what comes with what belongs there, up to `len` of the file.
fn write_all(writer: &mut Writer, len: u64) {
    loop {
        let mut space = match writer.claim() {
            Ok(space) => space,
            Err(Error::Finished { .. }) => break,
            Err(error) => panic!("{error}"),
        };
        let left = len.saturating_sub(space.offset()).min(space.capacity() as u64) as usize;
        let offset = space.offset();
        assert_eq!(space.copy_from(0, &bytes(offset, left)), left);
        space.complete(left).unwrap();
        if left == 0 {
            break;
        }
    }
}

/// Reads until the end, and looks at every byte. What came, by offset.
fn read_all(reader: &mut Reader) -> BTreeMap<u64, usize> {
    let mut came = BTreeMap::new();
    while let Some(block) = reader.claim().unwrap() {
        assert!(!block.again());
        assert!(block.to_vec() == bytes(block.offset(), block.len()), "other bytes at {}", block.offset());
        assert!(came.insert(block.offset(), block.len()).is_none(), "twice");
        block.complete().unwrap();
    }
    came
}

fn assert_whole(came: &BTreeMap<u64, usize>, len: u64) {
    let mut end = 0;
    for (offset, len) in came {
        assert_eq!(*offset, end);
        end += *len as u64;
    }
    assert_eq!(end, len);
}

fn assert_nothing_left(id: FileId) {
    support::assert_nothing_left(&id.to_string());
}

#[test]
fn a_file_of_any_shape_comes_whole_and_in_order() {
    let _watchdog = Watchdog::new("shapes", PATIENCE);
    for (block_bytes, blocks) in [(4096, 1), (4096, 2), (4096, 256), (12 << 10, 3), (64 << 10, 8), (1 << 20, 8)] {
        for len in [0, 1, 4095, 4096, 4097, block_bytes as u64 * 3 + 5, block_bytes as u64 * blocks as u64 * 2] {
            let id = unique();
            let file = options(block_bytes, blocks).create(id, b"shape").unwrap();
            let (mut writer, mut reader) = (file.writer().unwrap(), file.reader().unwrap());
            thread::scope(|scope| {
                scope.spawn(move || {
                    write_all(&mut writer, len);
                    writer.finish().unwrap();
                });
                let mut came = BTreeMap::new();
                let mut end = 0;
                while let Some(block) = reader.claim().unwrap() {
                    assert_eq!(block.offset(), end, "one writer, one reader: in order");
                    assert!(block.to_vec() == bytes(end, block.len()), "other bytes at {end}");
                    end += block.len() as u64;
                    came.insert(block.offset(), block.len());
                    block.complete().unwrap();
                }
                assert_whole(&came, len);
            });
            drop((reader, file));
            assert_nothing_left(id);
        }
    }
}

#[test]
fn four_workers_a_side_move_every_byte_once() {
    let _watchdog = Watchdog::new("four workers", PATIENCE);
    for wait in [Wait::Adaptive, Wait::Park] {
        let id = unique();
        let file = options(64 << 10, 8).wait(wait).create(id, b"four").unwrap();
        let len = (64 << 20) + 77;
        let (writer, reader) = (file.writer().unwrap(), file.reader().unwrap());
        let came = thread::scope(|scope| {
            for _ in 0..4 {
                let mut writer = writer.clone();
                scope.spawn(move || write_all(&mut writer, len));
            }
            let readers: Vec<_> = (0..4)
                .map(|_| {
                    let mut reader = reader.clone();
                    scope.spawn(move || read_all(&mut reader))
                })
                .collect();
            let mut all = BTreeMap::new();
            for reader in readers {
                for (offset, len) in reader.join().unwrap() {
                    assert!(all.insert(offset, len).is_none(), "by two readers");
                }
            }
            all
        });
        assert_whole(&came, len);
        drop((writer, reader, file));
        assert_nothing_left(id);
    }
}

#[test]
fn blocks_may_be_completed_out_of_order_and_leave_holes() {
    let _watchdog = Watchdog::new("holes", PATIENCE);
    let id = unique();
    let file = options(4096, 8).create(id, b"holes").unwrap();
    let (mut writer, mut reader) = (file.writer().unwrap(), file.reader().unwrap());
    // A hole at the start, in the middle, and nothing behind the last: at the end.
    let offsets = [40_960, 4096, 1 << 40, 12_288];
    let mut spaces: Vec<_> = offsets.iter().map(|offset| writer.claim_at(*offset).unwrap()).collect();
    while let Some(mut space) = spaces.pop() {
        let offset = space.offset();
        space.copy_from(0, &bytes(offset, 100));
        space.complete(100).unwrap();
    }
    writer.finish().unwrap();
    let came = read_all(&mut reader);
    assert_eq!(came.keys().copied().collect::<Vec<_>>(), [4096, 12_288, 40_960, 1 << 40]);
    drop((writer, reader, file));
    assert_nothing_left(id);
}

#[test]
fn an_empty_block_is_the_end_for_every_writer_and_every_reader() {
    let _watchdog = Watchdog::new("empty block", PATIENCE);
    let id = unique();
    let file = options(4096, 4).create(id, b"empty").unwrap();
    let (mut writer, mut other, mut reader) =
        (file.writer().unwrap(), file.writer().unwrap(), file.reader().unwrap());
    let late = other.claim().unwrap();
    writer.claim().unwrap().complete(0).unwrap();
    assert!(matches!(writer.claim(), Err(Error::Finished { .. })));
    // What was claimed before is still to come.
    assert!(matches!(reader.try_claim(), Ok(Claimed::NothingYet)));
    assert!(matches!(writer.finish_timeout(Duration::from_millis(1)), Err(Error::TimedOut { .. })));
    late.complete(5).unwrap();
    writer.finish().unwrap();
    assert!(matches!(other.claim(), Err(Error::Finished { .. })));
    let block = reader.claim().unwrap().unwrap();
    // Not the end while somebody reads it.
    assert!(matches!(reader.clone().try_claim(), Ok(Claimed::NothingYet)));
    block.complete().unwrap();
    assert!(reader.claim().unwrap().is_none());
    assert!(matches!(reader.clone().try_claim(), Ok(Claimed::End)));
    drop((writer, other, reader, file));
    assert_nothing_left(id);
}

#[test]
fn what_is_dropped_comes_again_marked() {
    let _watchdog = Watchdog::new("dropped", PATIENCE);
    let id = unique();
    let file = options(4096, 4).create(id, b"dropped").unwrap();
    let (mut writer, mut reader) = (file.writer().unwrap(), file.reader().unwrap());
    let (first, second) = (writer.claim().unwrap(), writer.claim().unwrap());
    assert_eq!((first.offset(), second.offset()), (0, 4096));
    drop(first);
    assert_eq!(file.missing().unwrap(), [0..4096]);
    second.complete(4096).unwrap();
    // It goes before what is new.
    let again = writer.claim().unwrap();
    assert!(again.again() && again.offset() == 0);
    again.complete(4096).unwrap();
    assert_eq!(writer.claim().unwrap().offset(), 8192);
    let block = reader.claim().unwrap().unwrap();
    assert!(!block.again() && block.offset() == 0, "the reader's first");
    drop(block);
    let block = reader.claim().unwrap().unwrap();
    assert!(block.again() && block.offset() == 0);
    block.complete().unwrap();
    // The claim above was dropped.
    assert!(matches!(writer.finish(), Err(Error::Unfilled { ranges, .. }) if ranges == [8192..12_288]));
    let last = writer.claim().unwrap();
    assert!(last.again() && last.offset() == 8192);
    last.complete(1).unwrap();
    writer.finish().unwrap();
    for wanted in [4096, 8192] {
        let block = reader.claim().unwrap().unwrap();
        assert_eq!((block.offset(), block.again()), (wanted, false));
        block.complete().unwrap();
    }
    assert!(reader.claim().unwrap().is_none());
    drop((writer, reader, file));
    assert_nothing_left(id);
}

#[test]
fn limits_end_every_wait_for_a_block() {
    let _watchdog = Watchdog::new("limits", PATIENCE);
    let id = unique();
    let file = options(4096, 1).create(id, b"limits").unwrap();
    let (mut writer, mut reader) = (file.writer().unwrap(), file.reader().unwrap());
    let soon = Duration::from_millis(5);
    assert!(matches!(reader.claim_timeout(soon), Err(Error::TimedOut { .. })));
    let space = writer.claim().unwrap();
    assert!(matches!(writer.claim_timeout(soon), Err(Error::TimedOut { .. })));
    assert!(matches!(writer.claim_at_timeout(9, soon), Err(Error::TimedOut { .. })));
    assert!(writer.try_claim().unwrap().is_none());
    space.complete(1).unwrap();
    reader.claim().unwrap().unwrap().complete().unwrap();
}

#[test]
fn a_cancelled_file_ends_for_everybody_with_its_reason() {
    let _watchdog = Watchdog::new("cancelled", PATIENCE);
    let id = unique();
    let file = options(4096, 1).create(id, b"cancelled").unwrap();
    let (mut writer, mut reader) = (file.writer().unwrap(), file.reader().unwrap());
    thread::scope(|scope| {
        let waits = scope.spawn(|| reader.claim());
        let mut full = writer.clone();
        let space = full.claim().unwrap();
        let full = scope.spawn(move || full.claim().map(|space| space.offset()));
        writer.cancel("the disk is full").unwrap();
        let is_reason =
            |error: &Error| matches!(error, Error::Cancelled { reason, .. } if reason == "the disk is full");
        assert!(waits.join().unwrap().is_err_and(|error| is_reason(&error)));
        assert!(full.join().unwrap().is_err_and(|error| is_reason(&error)));
        drop(space);
        // The first reason stays.
        writer.cancel("something else").unwrap();
        assert!(writer.finish().is_err_and(|error| is_reason(&error)));
    });
    drop((writer, reader, file));
    assert_nothing_left(id);
}

#[test]
fn a_file_waits_for_its_reader_when_its_writer_has_gone() {
    if let Some((_, args)) = role() {
        let file = BlockFile::open(FileId { session: args[0].parse().unwrap(), file: args[1].parse().unwrap() });
        let file = file.unwrap();
        assert_eq!(file.name(), b"waits");
        let mut writer = file.writer().unwrap();
        write_all(&mut writer, 10_000);
        writer.finish().unwrap();
        return;
    }
    let _watchdog = Watchdog::new("waits", PATIENCE);
    let id = unique();
    let file = options(4096, 4).create(id, b"waits").unwrap();
    let args = [id.session.to_string(), id.file.to_string()];
    let mut writer = Peer::start(this_test!(), "writer", &args.each_ref().map(String::as_str));
    writer.succeed();
    drop(file);
    let file = BlockFile::open(id).unwrap();
    assert_whole(&read_all(&mut file.reader().unwrap()), 10_000);
    drop(file);
    assert_nothing_left(id);
}

#[test]
fn a_dead_writers_range_is_filled_by_the_next_and_a_dead_readers_block_is_read_again() {
    if let Some((what, args)) = role() {
        let file = BlockFile::open(FileId { session: args[0].parse().unwrap(), file: args[1].parse().unwrap() });
        let file = file.unwrap();
        if what == "writer" {
            let mut writer = file.writer().unwrap();
            writer.claim().unwrap().complete(4096).unwrap();
            let _space = writer.claim().unwrap();
            support::say("holds");
            support::hear();
        } else {
            let mut reader = file.reader().unwrap();
            let _block = reader.claim().unwrap();
            support::say("holds");
            support::hear();
        }
        return;
    }
    let _watchdog = Watchdog::new("dead", PATIENCE);
    let id = unique();
    let file = options(4096, 4).create(id, b"dead").unwrap();
    let args = [id.session.to_string(), id.file.to_string()];
    let args = args.each_ref().map(String::as_str);
    let mut dead = Peer::start(this_test!(), "writer", &args);
    dead.expect("holds");
    let mut reader = file.reader().unwrap();
    let mut dead_reader = Peer::start(this_test!(), "reader", &args);
    dead_reader.expect("holds");
    dead.kill();
    // It waits, and is told.
    let told = reader.claim();
    assert!(matches!(told, Err(Error::PeerDied { .. })), "{told:?}");
    assert_eq!(file.missing().unwrap(), [4096..8192]);
    dead_reader.kill();
    let block = reader.claim().unwrap().unwrap();
    assert!(block.again() && block.offset() == 0);
    block.complete().unwrap();
    let mut writer = file.writer().unwrap();
    let space = writer.claim().unwrap();
    assert!(space.again() && space.offset() == 4096);
    space.complete(7).unwrap();
    writer.finish().unwrap();
    let block = reader.claim().unwrap().unwrap();
    assert_eq!((block.offset(), block.len(), block.again()), (4096, 7, false));
    block.complete().unwrap();
    assert!(reader.claim().unwrap().is_none());
    drop((writer, reader, file));
    assert_nothing_left(id);
}

#[test]
fn what_stands_in_a_block_or_a_message_makes_no_other_kind_of_it() {
    let _watchdog = Watchdog::new("other kind", PATIENCE);
    let id = unique();
    let file = options(4096, 4).create(id, b"kind").unwrap();
    let mut writer = file.writer().unwrap();
    // As a channel begins that is being made.
    let mut space = writer.claim().unwrap();
    space.copy_from(0, b"antiph..");
    space.complete(8).unwrap();
    for refused in [Channel::create(&id.to_string()).map(drop), Channel::unlink(&id.to_string())] {
        assert!(matches!(refused, Err(Error::NotAChannel { .. })), "{refused:?}");
    }
    assert!(BlockFile::open(id).is_ok());
    let mut reader = file.reader().unwrap();
    reader.claim().unwrap().unwrap().complete().unwrap();
    drop((reader, writer, file));
    // Where a block file's state would stand.
    let channel = ChannelOptions::new().capacity(64 << 10).create(&id.to_string()).unwrap();
    let mut publisher = channel.publisher().unwrap();
    publisher.publish(&[b"antiph..".as_slice(), &[0; 20_000]].concat()).unwrap();
    for refused in [BlockFile::create(id, b"kind").map(drop), BlockFile::unlink(id)] {
        assert!(matches!(refused, Err(Error::NotAChannel { .. })), "{refused:?}");
    }
    assert!(channel.consumer().unwrap().try_consume().unwrap().is_some());
    drop((publisher, channel));
    assert_nothing_left(id);
}

#[test]
fn the_thirty_first_who_opens_a_file_is_told_and_disturbs_nobody() {
    let _watchdog = Watchdog::new("thirty-one", PATIENCE);
    let id = unique();
    let file = options(4096, 2).create(id, b"wanted by many").unwrap();
    let mut others: Vec<BlockFile> = (0..29).map(|_| BlockFile::open(id).unwrap()).collect();
    let refused = BlockFile::open(id).unwrap_err();
    assert!(matches!(&refused, Error::SeatTaken { pid, .. } if *pid == std::process::id()), "{refused:?}");
    let words = refused.to_string();
    for word in [&*id.to_string(), "30 times", "drop handles that are not needed", "clone of its process's writer"] {
        assert!(words.contains(word), "{word} is not in: {words}");
    }
    // Those who have it go on, by as many threads as they like.
    let readers = others.iter().flat_map(|file| [file.reader().unwrap(), file.reader().unwrap()]);
    assert_eq!(readers.count(), 58);
    let mut writer = file.writer().unwrap();
    writer.claim().unwrap().complete(5).unwrap();
    // Whoever lets go of it makes room.
    others.pop();
    assert_eq!(BlockFile::open(id).unwrap().reader().unwrap().claim().unwrap().unwrap().len(), 5);
    BlockFile::unlink(id).unwrap();
    drop((writer, others, file));
    assert_nothing_left(id);
}
