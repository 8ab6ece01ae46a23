//! The page's part about block files: a peer that knows it alone fills blocks, and empties them.

use crate::intruder::Intruder;
use crate::support::{self, Watchdog, assert_nothing_left};
use crate::{Page, tokens};
use antiphon::Error;
use antiphon::blocks::{BlockFile, BlockFileOptions, FileId};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use std::sync::atomic::fence;

/// Three blocks of 12 KiB: filled up to 64 KiB, where the state begins.
const BLOCK: usize = 12 * 1024;
const BLOCKS: usize = 3;
const OPTIONS: BlockFileOptions = BlockFileOptions::new().block_bytes(BLOCK).blocks(BLOCKS);
const STATE: usize = 64 * 1024;

const NEXT: usize = STATE + 16384;
/// The writers' and the readers'.
const BOARDS: [usize; 2] = [STATE + 16512, STATE + 16640];
const LET_GO: [usize; 2] = [STATE + 16768, STATE + 16896];
/// The owner that this process is: the first handle's seat, its first generation.
const ME: u64 = 1 << 32 | 2 << 8;
const NOBODY: u64 = 255 << 8;

fn record(block: usize) -> usize {
    STATE + 20480 + 128 * block
}

fn create(name: &[u8]) -> (FileId, BlockFile, Page) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let id = FileId { session: u64::from(std::process::id()) << 32 | 0x1a, file: COUNT.fetch_add(1, Relaxed) };
    let file = OPTIONS.offset(1000).create(id, name).unwrap();
    (id, file, Page(Intruder::new(&id.to_string())))
}

fn end(id: FileId, things: impl Sized) {
    drop(things);
    assert_nothing_left(&id.to_string());
}

#[test]
fn what_the_file_is_stands_where_the_page_says() {
    let _watchdog = Watchdog::new("about", support::PATIENCE);
    let name = b"a name of \xff any \0 bytes";
    let (id, file, page) = create(name);
    assert_eq!(id.to_string(), format!("{:016X}-{:08X}", id.session, id.file));
    assert_eq!(page.0.len(), 2 * STATE);
    assert_eq!(page.u64(STATE), 0x736b_6c62_6974_6e61);
    if cfg!(target_endian = "little") {
        assert_eq!(page.bytes(STATE, 8), b"antiblks");
    }
    assert_eq!([page.u32(STATE + 8), page.u32(STATE + 20)], [2, 0], "layout version and flags");
    assert_eq!(page.u64(STATE + 24), STATE as u64, "the capacity: everything before the state");
    assert_eq!(page.bytes(STATE + 80, 25), id.to_string().as_bytes());
    assert_eq!([0, 8, 16].map(|at| page.u64(STATE + 8192 + at)), [BLOCK as u64, BLOCKS as u64, 1000]);
    assert_eq!(page.u64(STATE + 8216), name.len() as u64);
    assert_eq!(page.bytes(STATE + 8224, name.len()), name);
    assert!(page.is_zero(STATE + 8224 + name.len()..NEXT), "no reason yet");
    // Seats: the ends' stay empty, a handle's says what it has.
    let (seat, role) = (STATE + 4096 + 2 * 64, STATE + 4096 + 2 * 64 + 44);
    assert!(page.is_zero(STATE + 4096..seat));
    assert_eq!((page.u64(seat), page.u32(role)), (1 << 32 | 1, 0));
    let mut writer = file.writer().unwrap();
    assert_eq!(page.u32(role), 1);
    let reader = file.reader().unwrap();
    assert_eq!(page.u32(role), 3);
    drop(reader);
    assert_eq!(page.u32(role), 1);
    assert!(page.is_zero(STATE + 17280..STATE + 20480) && page.is_zero(record(BLOCKS)..2 * STATE));
    // The reason, and that it was cancelled.
    writer.cancel("why not").unwrap();
    assert_ne!(page.u64(STATE + 12320), 0);
    assert_eq!((page.u64(STATE + 12328), page.bytes(STATE + 12336, 7)), (7, b"why not".to_vec()));
    assert_eq!(page.u64(NEXT), 1 << 9);
    assert!(page.is_zero(STATE + 13344..NEXT));
    end(id, (writer, file));
}

#[test]
fn blocks_are_where_the_page_says_whatever_they_are_at() {
    let _watchdog = Watchdog::new("blocks", support::PATIENCE);
    let (id, file, page) = create(b"blocks");
    let (mut writer, mut reader) = (file.writer().unwrap(), file.reader().unwrap());
    let of = |block: usize| [0, 8, 16, 24, 32, 40, 48, 56].map(|at| page.u64(record(block) + at));
    let second = 1000 + BLOCK as u64;

    let mut space = writer.claim().unwrap();
    assert_eq!(of(0), [ME | 1, 1000, 0, 1, 0, 0, 0, 0], "claimed, and a ticket given");
    assert_eq!(page.u64(NEXT), 1 << 16);
    let other = writer.claim().unwrap();
    assert_eq!((of(1), page.u64(NEXT)), ([ME | 1, second, 0, 2, 0, 0, 0, 0], 2 << 16 | 1));
    let bytes = support::pattern(1, 5000);
    space.copy_from(0, &bytes);
    space.complete(5000).unwrap();
    assert_eq!(of(0), [0b10, 1000, 5000, 1, 0, 5000, 0, 6000], "complete");
    assert_eq!(page.bytes(0, 5000), bytes);
    let block = reader.claim().unwrap().unwrap();
    assert_eq!(page.u64(record(0)), ME | 0b11, "taken");
    let before = page.u64(LET_GO[1]);
    drop(block);
    assert_eq!((page.u64(record(0)), page.u64(LET_GO[1]) != before), (0b1010, true), "complete, again");
    let block = reader.claim().unwrap().unwrap();
    assert_eq!(page.u64(record(0)), ME | 0b1011, "taken, again");
    block.complete().unwrap();
    assert_eq!(of(0), [0, 1000, 5000, 1, 1, 5000, 5000, 6000], "free, and done with");

    let before = page.u64(LET_GO[0]);
    drop(other);
    assert_eq!((page.u64(record(1)), page.u64(LET_GO[0]) != before), (NOBODY | 0b1001, true), "nobody's, again");
    let adopted = writer.claim().unwrap();
    assert_eq!(of(1), [ME | 0b1001, second, 0, 2, 0, 0, 0, 0], "adopted");
    adopted.complete(7).unwrap();
    assert_eq!(of(1), [0b10, second, 7, 2, 0, 7, 0, second + 7]);
    // A range of its own choice takes no ticket.
    let mut chosen = writer.claim_at(77).unwrap();
    let is_chosen = |block: &usize| of(*block)[..2] == [ME | 0b101, 77];
    let at = (0..BLOCKS).find(is_chosen).expect("claimed, ranged");
    assert_eq!((page.u64(NEXT), of(at)[3] == of(at)[4]), (2 << 16 | 1, true));
    chosen.copy_from(0, b"x");
    chosen.complete(1).unwrap();
    assert_eq!(page.u64(record(at)), 0b10);
    // Nothing more: no ticket, no block.
    let last = writer.claim().unwrap();
    let at = 3 - 1 - at; // Neither the second one nor that of its own choice.
    assert_eq!((page.u64(NEXT), page.u64(record(at))), (3 << 16 | at as u64, ME | 1));
    last.complete(0).unwrap();
    assert_eq!((page.u64(NEXT), page.u64(record(at))), (3 << 16 | 1 << 8 | at as u64, 0), "ending");
    for _ in 0..2 {
        reader.claim().unwrap().unwrap().complete().unwrap();
    }
    assert!(reader.claim().unwrap().is_none());
    end(id, (writer, reader, file));
}

#[test]
fn boards_are_kept_and_bells_rung_where_the_page_says() {
    let _watchdog = Watchdog::new("boards", support::PATIENCE);
    let (id, file, page) = create(b"boards");
    let (mut writer, mut reader) = (file.writer().unwrap(), file.reader().unwrap());
    let count = || {
        let name = id.to_string();
        match page.u32(STATE + 16) {
            5 => [6144, 6272].map(|bell| page.u32(STATE + bell)),
            _ => [0, 1].map(|end| tokens(&page, &name, end)),
        }
    };
    let silence = || {
        if page.u32(STATE + 16) == 5 {
            [6144, 6272].iter().for_each(|bell| page.put(STATE + bell, &[0; 4]));
        }
    };
    /// Block, over, armed, watched, how many notices.
    type Board = [u64; 5];
    let board = |side: usize| -> Board {
        let word = page.u64(BOARDS[side]);
        [word & 0xff, word >> 8 & 1, word >> 9 & 0x7fff, word >> 24 & 1, word >> 25]
    };
    let set = |side: usize, bits: u64| page.0.word(BOARDS[side]).fetch_or(bits, SeqCst);
    // Nobody waits: nobody is told.
    writer.claim().unwrap().complete(1).unwrap();
    assert_eq!(([board(0), board(1)], count()), ([[0; 5]; 2], [0, 0]));
    // Two readers sleep: one is called.
    set(1, 2 << 9);
    writer.claim().unwrap().complete(1).unwrap();
    assert_eq!((board(1), count()), ([1, 0, 1, 0, 1], [0, 1]));
    silence();
    // A writer watches, and does not sleep.
    set(0, 1 << 24);
    reader.claim().unwrap().unwrap().complete().unwrap();
    assert_eq!((board(0), count()), ([0, 0, 0, 0, 1], [0, 0]));
    // The end is for both, asleep or not.
    set(0, 1 << 9);
    writer.finish().unwrap();
    let [writers, readers] = [board(0), board(1)];
    assert_eq!((writers[1..4].to_vec(), readers[1..4].to_vec(), count()), (vec![1, 0, 0], vec![1, 0, 0], [1, 1]));
    silence();
    let before = [board(0)[4], board(1)[4]];
    reader.claim().unwrap().unwrap().complete().unwrap();
    assert_eq!([board(0)[4] - before[0], board(1)[4] - before[1]], [1, 1], "a free block may be the end for either");
    end(id, (writer, reader, file));
}

/// How a peer by the page takes part. It sits where this process sits.
impl Page {
    fn change(&self, block: usize, from: u64, to: u64) -> bool {
        self.0.word(record(block)).compare_exchange(from, to, AcqRel, Relaxed).is_ok()
    }

    /// Tells a side of a block that it may go on by.
    fn tell(&self, side: usize, block: usize, over: u64) {
        fence(SeqCst);
        let board = self.0.word(BOARDS[side]);
        let notice = |now: u64| {
            let is_wanted = over != 0 || now & (1 << 8 | 0x7fff << 9 | 1 << 24) != 0;
            let armed = (now >> 9 & 0x7fff).saturating_sub(1) << 9;
            is_wanted.then_some(((now >> 25) + 1) << 25 | armed | now & 1 << 8 | over | block as u64)
        };
        // It gives no token: who sleeps looks at every tick all the same.
        if board.fetch_update(AcqRel, Acquire, notice).is_ok_and(|before| before >> 8 & 1 == 1 && over == 0) {
            let _ = self.0.word(BOARDS[1 - side]).fetch_update(AcqRel, Acquire, notice);
        }
    }

    /// Its range is nobody's any more.
    fn done(&self, block: usize) {
        self.0.word(record(block) + 32).store(self.u64(record(block) + 24), Relaxed);
    }

    /// Fills the next block with `bytes` of what belongs there; none where the file is ending.
    fn fill(&self, bytes: &[u8]) -> Option<()> {
        let block = (0..BLOCKS).cycle().find(|&block| self.change(block, 0, ME | 1))?;
        let ticket = loop {
            let last = self.0.word(NEXT).load(Acquire);
            if last & 0b11 << 8 != 0 {
                assert!(self.change(block, ME | 1, 0));
                return None;
            }
            let (its, given) = (record((last & 0xff) as usize) + 24, last >> 16);
            if self.u64(its) < given {
                let _ = self.0.word(its).compare_exchange(self.u64(its), given, Relaxed, Relaxed);
            }
            let next = (given + 1) << 16 | block as u64;
            if self.0.word(NEXT).compare_exchange(last, next, AcqRel, Acquire).is_ok() {
                break given + 1;
            }
        };
        self.0.word(record(block) + 24).store(ticket, Relaxed);
        let from = (ticket - 1) as usize * BLOCK;
        self.0.word(record(block) + 8).store(1000 + from as u64, Relaxed);
        let piece = &bytes[from.min(bytes.len())..(from + BLOCK).min(bytes.len())];
        if piece.is_empty() {
            self.0.word(NEXT).fetch_or(1 << 8, AcqRel);
            self.done(block);
            assert!(self.change(block, ME | 1, 0));
            [0, 1, 0].iter().for_each(|side| self.tell(*side, block, 1 << 8));
        } else {
            self.put(block * BLOCK, piece);
            self.0.word(record(block) + 16).store(piece.len() as u64, Relaxed);
            assert!(self.change(block, ME | 1, 0b10));
            self.tell(1, block, 0);
        }
        Some(())
    }

    /// Empties blocks into `bytes` until the end of the file.
    fn empty(&self, bytes: &mut [u8]) {
        loop {
            let is_ending = self.0.word(NEXT).load(Acquire) & 1 << 8 != 0;
            let words: Vec<u64> = (0..BLOCKS).map(|block| self.u64(record(block))).collect();
            let complete = (0..BLOCKS).filter(|block| words[*block] & 0b11 == 2);
            let Some(block) = complete.min_by_key(|block| self.u64(record(*block) + 8)) else {
                if is_ending && words.iter().all(|word| *word == 0) {
                    return;
                }
                std::thread::yield_now();
                continue;
            };
            let taken = ME | 0b11 | words[block] & 0b1000;
            if self.change(block, words[block], taken) {
                let (offset, len) = (self.u64(record(block) + 8) as usize - 1000, self.u64(record(block) + 16));
                assert!(len <= BLOCK as u64);
                bytes[offset..offset + len as usize].copy_from_slice(&self.bytes(block * BLOCK, len as usize));
                self.done(block);
                assert!(self.change(block, taken, 0));
                self.tell(0, block, 0);
            }
        }
    }
}

#[test]
fn a_peer_that_knows_the_page_alone_fills_blocks_and_empties_them() {
    let _watchdog = Watchdog::new("a peer by the page", support::PATIENCE);
    let bytes = support::pattern(3, 10 * BLOCK + 77);
    // The page's peer in the writer's place, beside one of ours.
    let (id, file, page) = create(b"filled by the page");
    let (mut reader, mut other) = (file.reader().unwrap(), file.writer().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| while page.fill(&bytes).is_some() {});
        scope.spawn(|| {
            loop {
                match other.claim() {
                    Ok(mut space) => {
                        let from = space.offset() as usize - 1000;
                        let piece = &bytes[from.min(bytes.len())..(from + BLOCK).min(bytes.len())];
                        let len = space.copy_from(0, piece);
                        space.complete(len).unwrap();
                    }
                    Err(Error::Finished { .. }) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        });
        let mut came = vec![0; bytes.len()];
        while let Some(block) = reader.claim().unwrap() {
            let from = block.offset() as usize - 1000;
            came[from..from + block.len()].copy_from_slice(&block.to_vec());
            block.complete().unwrap();
        }
        assert!(came == bytes);
    });
    end(id, (reader, other, file));
    // In the reader's place.
    let (id, file, page) = create(b"emptied by the page");
    let mut writer = file.writer().unwrap();
    std::thread::scope(|scope| {
        let empties = scope.spawn(|| {
            let mut came = vec![0; bytes.len()];
            page.empty(&mut came);
            came
        });
        for piece in bytes.chunks(BLOCK) {
            let mut space = writer.claim().unwrap();
            space.copy_from(0, piece);
            space.complete(piece.len()).unwrap();
        }
        writer.finish().unwrap();
        assert!(empties.join().unwrap() == bytes);
    });
    end(id, (writer, file));
}
