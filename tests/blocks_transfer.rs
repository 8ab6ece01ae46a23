//! Whole files through blocks of every size and in every number, between processes, every byte looked at.
//!
//! `ANTIPHON_MIB=<n>` moves n MiB through eight blocks of 1 MiB, and lets blocks of other sizes take as much memory.
#![allow(missing_docs, clippy::single_range_in_vec_init)]

mod support;

use antiphon::Error;
use antiphon::blocks::{BlockFile, BlockFileOptions, FileId, Reader, Writer};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use support::{Peer, Watchdog, assert_nothing_left, role, say};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Bytes that are made and looked at together.
const PIECE: usize = 16 * KIB;

fn unique() -> FileId {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    FileId { session: u64::from(std::process::id()) << 32 | 0x77a5, file: COUNT.fetch_add(1, Ordering::Relaxed) }
}

fn mib_from_outside() -> Option<u64> {
    std::env::var("ANTIPHON_MIB").ok().map(|value| value.parse().expect("ANTIPHON_MIB"))
}

/// What stands in `piece` of the file, which begins at a multiple of 8: every word depends on its place.
fn make(offset: u64, piece: &mut [u8]) {
    for (nth, word) in piece.chunks_mut(8).enumerate() {
        let at = offset / 8 + nth as u64;
        let value = at.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ at >> 7;
        word.copy_from_slice(&value.to_le_bytes()[..word.len()]);
    }
}

/// Writes a file of `len` bytes, with whoever else does.
fn write_all(writer: &mut Writer, len: u64) -> u64 {
    let mut piece = [0; PIECE];
    let mut written = 0;
    loop {
        let mut space = match writer.claim() {
            Ok(space) => space,
            Err(Error::Finished { .. }) => break,
            Err(error) => panic!("{error}"),
        };
        assert!(!space.again());
        let here = len.saturating_sub(space.offset()).min(space.capacity() as u64) as usize;
        for at in (0..here).step_by(PIECE) {
            let now = &mut piece[..PIECE.min(here - at)];
            make(space.offset() + at as u64, now);
            assert_eq!(space.copy_from(at, now), now.len());
        }
        written += here as u64;
        space.complete(here).unwrap();
    }
    writer.finish().unwrap();
    written
}

/// Reads until the end, and looks at every byte. What came, by offset.
fn read_all(reader: &mut Reader) -> Vec<(u64, usize)> {
    let (mut wanted, mut piece) = ([0; PIECE], [0; PIECE]);
    let mut came = Vec::new();
    while let Some(block) = reader.claim().unwrap() {
        assert!(!block.again());
        let view = block.view();
        for at in (0..block.len()).step_by(PIECE) {
            let now = PIECE.min(block.len() - at);
            make(block.offset() + at as u64, &mut wanted[..now]);
            assert_eq!(view.copy_to(at, &mut piece[..now]), now);
            assert!(piece[..now] == wanted[..now], "other bytes between {at} and {now} of {block:?}");
        }
        came.push((block.offset(), block.len()));
        block.complete().unwrap();
    }
    came
}

fn assert_whole(came: &BTreeMap<u64, usize>, len: u64) {
    let mut end = 0;
    for (offset, len) in came {
        assert_eq!(*offset, end, "what comes after {end}");
        end += *len as u64;
    }
    assert_eq!(end, len);
}

/// A worker in a process of its own.
fn work(what: &str, args: &[String]) {
    let number = |nth: usize| args[nth].parse::<u64>().unwrap();
    let file = BlockFile::open(FileId { session: number(0), file: number(1) as u32 }).unwrap();
    if what == "writer" {
        let mut writer = file.writer().unwrap();
        say("ready");
        support::hear();
        say(format_args!("wrote {}", write_all(&mut writer, number(2))));
    } else {
        let mut reader = file.reader().unwrap();
        say("ready");
        support::hear();
        for (offset, len) in read_all(&mut reader) {
            say(format_args!("{offset} {len}"));
        }
        say("end");
    }
}

fn transfer(test: &str, (block_bytes, blocks): (usize, usize), workers: usize, len: u64, patience: Duration) {
    let id = unique();
    let file = BlockFileOptions::new().block_bytes(block_bytes).blocks(blocks).create(id, b"transfer").unwrap();
    let args = [id.session.to_string(), id.file.to_string(), len.to_string()];
    let args = args.each_ref().map(String::as_str);
    let start = |role| {
        let mut peer = Peer::start(test, role, &args);
        peer.expect("ready");
        peer
    };
    let mut writers: Vec<_> = (0..workers).map(|_| start("writer")).collect();
    let mut readers: Vec<_> = (0..workers).map(|_| start("reader")).collect();
    let began = Instant::now();
    for peer in writers.iter_mut().chain(&mut readers) {
        peer.tell("go");
    }
    let mut came = BTreeMap::new();
    let mut shares = Vec::new();
    for reader in &mut readers {
        let mut count = 0;
        loop {
            let word = reader.heard_within(patience).expect("a reader that lives");
            if word == "end" {
                break;
            }
            let (offset, len) = word.split_once(' ').unwrap();
            assert!(came.insert(offset.parse().unwrap(), len.parse().unwrap()).is_none(), "twice: {word}");
            count += 1;
        }
        shares.push(count);
        reader.succeed();
    }
    let took = began.elapsed();
    let mut written = 0;
    for writer in &mut writers {
        let word = writer.heard().unwrap();
        written += word.strip_prefix("wrote ").unwrap().parse::<u64>().unwrap();
        writer.succeed();
    }
    assert_eq!(written, len);
    assert_whole(&came, len);
    println!(
        "{len} bytes through {blocks} x {} KiB by {workers} and {workers}: {:.3} s, blocks by reader {shares:?}",
        block_bytes / KIB,
        took.as_secs_f64(),
    );
    drop(file);
    assert_nothing_left(&id.to_string());
}

#[test]
fn four_processes_a_side_move_every_byte_of_a_long_file_once() {
    if let Some((what, args)) = role() {
        return work(&what, &args);
    }
    let mib = mib_from_outside().unwrap_or(256);
    let patience = Duration::from_secs(60 + mib / 20);
    let _watchdog = Watchdog::new("long file", patience);
    // No multiple of a block.
    transfer(this_test!(), (MIB, 8), 4, mib * MIB as u64 + 12_345, patience);
}

#[test]
fn a_file_comes_whole_through_blocks_of_every_size_and_number() {
    if let Some((what, args)) = role() {
        return work(&what, &args);
    }
    let most = mib_from_outside().map_or(64 * MIB, |mib| mib as usize * MIB);
    let patience = Duration::from_secs(300);
    let _watchdog = Watchdog::new("every size and number", patience);
    for block_bytes in [4 * KIB, 64 * KIB, MIB, 64 * MIB] {
        for blocks in [1, 2, 8, 256] {
            if block_bytes * blocks > most {
                println!("NOT RUN: {blocks} x {} MiB; ANTIPHON_MIB gives it room", block_bytes / MIB);
                continue;
            }
            let (one, all) = (block_bytes as u64, (block_bytes * blocks) as u64);
            let mut lengths = vec![0, 1, one, one + 1];
            lengths.extend([all + one / 2 + 3, 2 * all].into_iter().filter(|len| *len <= 2 * most as u64));
            for len in lengths {
                let workers = if len > one { 2 } else { 1 };
                transfer(this_test!(), (block_bytes, blocks), workers, len, patience);
            }
        }
    }
}

#[test]
fn holes_stay_holes_at_the_start_in_the_middle_and_at_the_end() {
    let _watchdog = Watchdog::new("holes", support::PATIENCE);
    for block_bytes in [4 * KIB, 64 * KIB, MIB] {
        for blocks in [1, 2, 8] {
            let id = unique();
            let file = BlockFileOptions::new().block_bytes(block_bytes).blocks(blocks).create(id, b"holes").unwrap();
            let (mut writer, mut reader) = (file.writer().unwrap(), file.reader().unwrap());
            let one = block_bytes as u64;
            // Nothing at 0; nothing between; the last ones far out, and no longer than what is in them.
            let places = [(3 * one, block_bytes), (one, 100), (7 * one, block_bytes), (1 << 50, 1), (8 * one, 8)];
            let came = std::thread::scope(|scope| {
                let reading = scope.spawn(|| read_all(&mut reader));
                for (offset, len) in places {
                    let mut space = writer.claim_at(offset).unwrap();
                    assert_eq!(space.offset(), offset);
                    let mut bytes = vec![0; len];
                    make(offset, &mut bytes);
                    space.copy_from(0, &bytes);
                    space.complete(len).unwrap();
                }
                writer.finish().unwrap();
                reading.join().unwrap()
            });
            let sorted = |places: &[(u64, usize)]| {
                let mut places = places.to_vec();
                places.sort_unstable();
                places
            };
            assert_eq!(sorted(&came), sorted(&places));
            drop((writer, reader, file));
            assert_nothing_left(&id.to_string());
        }
    }
}
