//! Any sequence of what one can do with a block file comes out as a small model of it says: claiming, claiming at a place,
//! completing, letting go, taking, giving back, finishing, cancelling, by several handles of several attachments.
//!
//! `ANTIPHON_SEED=<seed>` repeats a run, `ANTIPHON_ROUNDS=<n>` makes it n times as long.
#![allow(missing_docs)]

mod support;

use antiphon::Error;
use antiphon::blocks::{Block, BlockFile, BlockFileOptions, Claimed, FileId, Reader, Space, Writer};
use std::time::Duration;
use support::{Dice, Watchdog, assert_nothing_left, number_from, seed};

const BLOCK: u64 = 4096;

/// A block, as it should be.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Is {
    Free,
    Claimed {
        offset: u64,
    },
    /// Let go of by its writer.
    Loose {
        offset: u64,
    },
    Complete {
        offset: u64,
        len: usize,
        stamp: u8,
        again: bool,
    },
    Taken {
        offset: u64,
        len: usize,
        stamp: u8,
    },
}

/// A file, as it should be.
#[derive(Debug)]
struct Model {
    base: u64,
    blocks: Vec<Is>,
    tickets: u64,
    is_ending: bool,
    is_cancelled: bool,
}

/// What should come of a claim.
#[derive(Debug, PartialEq)]
enum Comes {
    /// A block, for this range.
    New(u64),
    /// One that somebody let go of, or that is complete.
    Old,
    Nothing,
    Finished,
    Cancelled,
}

impl Model {
    fn place(&self, is_this: impl Fn(&Is) -> bool) -> Option<usize> {
        self.blocks.iter().position(is_this)
    }

    fn claim(&self, chosen: Option<u64>) -> Comes {
        let next = self.base.wrapping_add(self.tickets * BLOCK);
        match () {
            () if self.is_cancelled => Comes::Cancelled,
            () if self.place(|is| matches!(is, Is::Loose { .. })).is_some() => Comes::Old,
            () if self.is_ending => Comes::Finished,
            () if self.place(|is| *is == Is::Free).is_none() => Comes::Nothing,
            () => Comes::New(chosen.unwrap_or(next)),
        }
    }

    /// A writer got a block, as was said.
    fn claimed(&mut self, space: &Space, comes: &Comes, chosen: Option<u64>) -> usize {
        let offset = space.offset();
        let was = match comes {
            Comes::Old => Is::Loose { offset },
            _ => Is::Free,
        };
        assert_eq!(space.again(), *comes == Comes::Old);
        if let Comes::New(wanted) = comes {
            assert_eq!(offset, *wanted);
            self.tickets += u64::from(chosen.is_none());
        }
        let block = self.place(|is| *is == was).unwrap_or_else(|| panic!("{space:?}"));
        self.blocks[block] = Is::Claimed { offset };
        block
    }

    /// What comes to a reader that found nothing before: the first in the file, and of the same offset any.
    fn first(&self) -> Option<u64> {
        let complete = self.blocks.iter().filter_map(|is| match is {
            Is::Complete { offset, .. } => Some(*offset),
            _ => None,
        });
        complete.min()
    }

    /// A reader got a block: it has to be one of those that are complete.
    fn take(&mut self, got: &Block) -> usize {
        let bytes = got.to_vec();
        let is_this = |is: &Is| match is {
            Is::Complete { offset, len, stamp, again } => {
                (*offset, *again) == (got.offset(), got.again()) && bytes == vec![*stamp; *len]
            }
            _ => false,
        };
        let block = self.place(is_this).unwrap_or_else(|| panic!("{got:?}"));
        let Is::Complete { offset, len, stamp, .. } = self.blocks[block] else { unreachable!() };
        self.blocks[block] = Is::Taken { offset, len, stamp };
        block
    }

    /// What comes in place of a block.
    fn take_nothing(&self) -> Comes {
        match self.first() {
            _ if self.is_cancelled => Comes::Cancelled,
            Some(_) => Comes::Old,
            None if self.is_ending && self.blocks.iter().all(|is| *is == Is::Free) => Comes::Finished,
            None => Comes::Nothing,
        }
    }

    fn missing(&self) -> Vec<std::ops::Range<u64>> {
        let mut missing: Vec<_> = self
            .blocks
            .iter()
            .filter_map(|is| match is {
                Is::Loose { offset } => Some(*offset..offset.saturating_add(BLOCK)),
                _ => None,
            })
            .collect();
        missing.sort_by_key(|range| range.start);
        missing
    }

    fn is_claimed(&self) -> bool {
        self.blocks.iter().any(|is| matches!(is, Is::Claimed { .. } | Is::Loose { .. }))
    }
}

struct Play {
    id: FileId,
    files: Vec<BlockFile>,
    writers: Vec<Writer>,
    readers: Vec<Reader>,
    /// Which readers have found nothing yet: what one has found before may come first.
    is_fresh: [bool; 3],
    /// Which were told that the file is cancelled.
    is_told: [bool; 3],
    /// In hand, with the block that the model has for each.
    spaces: Vec<(usize, Space)>,
    blocks: Vec<(usize, Block)>,
    model: Model,
    dice: Dice,
    steps: Vec<String>,
}

impl Play {
    fn new(id: FileId, seed: u64) -> Play {
        let mut dice = Dice::new(seed);
        let blocks = 1 + dice.below(5) as usize;
        let base = [0, 5, 1 << 40, u64::MAX - 3 * BLOCK][dice.below(4) as usize];
        let options = BlockFileOptions::new().block_bytes(BLOCK as usize).blocks(blocks).offset(base);
        let mut files = vec![options.create(id, b"property").unwrap()];
        files.extend((0..dice.below(3)).map(|_| BlockFile::open(id).unwrap()));
        let writers = (0..3).map(|nth| files[nth % files.len()].writer().unwrap()).collect();
        let readers = (0..3).map(|nth| files[nth % files.len()].reader().unwrap()).collect();
        let model = Model { base, blocks: vec![Is::Free; blocks], tickets: 0, is_ending: false, is_cancelled: false };
        let (spaces, blocks, steps) = (Vec::new(), Vec::new(), Vec::new());
        let (is_fresh, is_told) = ([true; 3], [false; 3]);
        Play { id, files, writers, readers, is_fresh, is_told, spaces, blocks, model, dice, steps }
    }

    fn note(&mut self, step: String) {
        self.steps.push(step);
    }

    fn step(&mut self) {
        match self.dice.below(64) {
            0..20 => self.claim(),
            20..24 if !self.spaces.is_empty() => self.let_go(),
            24..38 if !self.spaces.is_empty() => self.complete(),
            38..50 => self.take(),
            50..53 if !self.blocks.is_empty() => self.put_back(),
            53..61 if !self.blocks.is_empty() => self.free(),
            61 => self.another_handle(),
            62 if self.dice.below(4) == 0 => self.finish(),
            63 if self.dice.below(12) == 0 => self.cancel(),
            _ => {}
        }
        for file in &self.files {
            assert_eq!(file.missing().unwrap(), self.model.missing());
        }
    }

    fn claim(&mut self) {
        let writer = self.dice.below(self.writers.len() as u64) as usize;
        let chosen = (self.dice.below(3) == 0).then(|| self.dice.below(20) * BLOCK / 2);
        let comes = self.model.claim(chosen);
        self.note(format!("writer {writer} claims {chosen:?}: {comes:?}"));
        let claimed = match (chosen, self.dice.below(2)) {
            (None, 0) => self.writers[writer].try_claim(),
            (Some(offset), 0) => self.writers[writer].try_claim_at(offset),
            // Waits only where nothing comes.
            (None, _) => self.writers[writer].claim_timeout(Duration::ZERO).map(Some),
            (Some(offset), _) => self.writers[writer].claim_at_timeout(offset, Duration::ZERO).map(Some),
        };
        match (comes, claimed) {
            (comes @ (Comes::New(_) | Comes::Old), Ok(Some(space))) => {
                let block = self.model.claimed(&space, &comes, chosen);
                self.spaces.push((block, space));
            }
            (Comes::Nothing, Ok(None) | Err(Error::TimedOut { .. })) => {}
            (Comes::Finished, Err(Error::Finished { .. })) => {}
            (Comes::Cancelled, Err(Error::Cancelled { .. })) => {}
            (comes, claimed) => panic!("{claimed:?} in place of {comes:?}"),
        }
    }

    fn space(&mut self) -> (usize, Space) {
        let nth = self.dice.below(self.spaces.len() as u64) as usize;
        self.spaces.swap_remove(nth)
    }

    fn let_go(&mut self) {
        let (block, space) = self.space();
        let Is::Claimed { offset } = self.model.blocks[block] else { unreachable!() };
        self.model.blocks[block] = Is::Loose { offset };
        self.note(format!("block {block} is let go of"));
        drop(space);
    }

    fn complete(&mut self) {
        let (block, mut space) = self.space();
        let Is::Claimed { offset } = self.model.blocks[block] else { unreachable!() };
        let stamp = self.dice.roll() as u8;
        let most = BLOCK as usize;
        let len = [0, 1, most, most + 1, 7, most - 1, 100, 2000][match self.dice.below(40) {
            0 => 0,
            1 => 3,
            other => [1, 2, 4, 5, 6, 7][other as usize % 6],
        }];
        self.note(format!("block {block} is completed with {len}"));
        assert_eq!(space.copy_from(0, &vec![stamp; len]), len.min(most));
        let done = space.complete(len);
        match done {
            Err(Error::TooLong { .. }) if len > most => self.model.blocks[block] = Is::Loose { offset },
            Err(Error::Cancelled { .. }) if self.model.is_cancelled => {
                self.model.blocks[block] = Is::Loose { offset };
            }
            Ok(()) if len == 0 && !self.model.is_cancelled => {
                self.model.blocks[block] = Is::Free;
                self.model.is_ending = true;
            }
            Ok(()) if len <= most && !self.model.is_cancelled => {
                self.model.blocks[block] = Is::Complete { offset, len, stamp, again: false };
            }
            other => panic!("{other:?}"),
        }
    }

    fn take(&mut self) {
        let reader = self.dice.below(self.readers.len() as u64) as usize;
        let (comes, first) = (self.model.take_nothing(), self.model.first());
        let got = self.readers[reader].try_claim();
        self.note(format!("reader {reader} takes: {got:?}"));
        match (comes, got) {
            (_, Ok(Claimed::Block(got))) => {
                if std::mem::take(&mut self.is_fresh[reader]) {
                    assert_eq!(first, Some(got.offset()));
                }
                assert!(!self.is_told[reader], "cancelled, and then {got:?}");
                let block = self.model.take(&got);
                self.blocks.push((block, got));
            }
            (Comes::Nothing, Ok(Claimed::NothingYet)) => {}
            (Comes::Finished, Ok(Claimed::End)) => {}
            (Comes::Cancelled, Err(Error::Cancelled { .. })) => self.is_told[reader] = true,
            (comes, claimed) => panic!("{claimed:?} in place of {comes:?}"),
        }
    }

    fn block(&mut self) -> (usize, Block) {
        let nth = self.dice.below(self.blocks.len() as u64) as usize;
        self.blocks.swap_remove(nth)
    }

    fn put_back(&mut self) {
        let (block, got) = self.block();
        let Is::Taken { offset, len, stamp } = self.model.blocks[block] else { unreachable!() };
        self.model.blocks[block] = Is::Complete { offset, len, stamp, again: true };
        self.note(format!("block {block} is put back"));
        drop(got);
    }

    fn free(&mut self) {
        let (block, got) = self.block();
        let Is::Taken { len, stamp, .. } = self.model.blocks[block] else { unreachable!() };
        self.note(format!("block {block} is read"));
        // As it was: whatever happened meanwhile.
        assert!(got.to_vec() == vec![stamp; len]);
        got.complete().unwrap();
        self.model.blocks[block] = Is::Free;
    }

    fn another_handle(&mut self) {
        let (writer, reader) = (self.dice.below(3) as usize, self.dice.below(3) as usize);
        let file = self.dice.below(self.files.len() as u64) as usize;
        (self.is_fresh[reader], self.is_told[reader]) = (true, false);
        self.note(format!("another writer {writer}, another reader {reader} at {file}"));
        if self.dice.below(2) == 0 {
            self.writers[writer] = self.files[file].writer().unwrap();
            self.readers[reader] = self.files[file].reader().unwrap();
        } else {
            self.writers[writer] = self.writers[0].clone();
            self.readers[reader] = self.readers[0].clone();
        }
    }

    fn finish(&mut self) {
        let writer = self.dice.below(3) as usize;
        self.note(format!("writer {writer} finishes"));
        self.model.is_ending = true;
        let limit = Duration::from_millis(self.dice.below(3));
        match self.writers[writer].finish_timeout(limit) {
            Err(Error::Cancelled { .. }) if self.model.is_cancelled => {}
            Ok(()) if !self.model.is_cancelled && !self.model.is_claimed() => {}
            Err(Error::TimedOut { .. }) if !self.model.is_cancelled && self.model.is_claimed() => {}
            Err(Error::Unfilled { ranges, .. }) if !self.model.is_cancelled && !ranges.is_empty() => {
                assert_eq!(ranges, self.model.missing());
            }
            other => panic!("{other:?}"),
        }
    }

    fn cancel(&mut self) {
        self.note("somebody cancels".to_owned());
        self.model.is_cancelled = true;
        match self.dice.below(2) {
            0 => self.writers[1].cancel("enough").unwrap(),
            _ => self.readers[1].cancel("enough").unwrap(),
        }
    }

    /// Whatever is left is filled and read.
    fn end(mut self) {
        let id = self.id;
        if !self.model.is_cancelled {
            while !self.spaces.is_empty() {
                self.complete();
            }
            while !self.blocks.is_empty() {
                self.free();
            }
            self.model.is_ending = true;
            let Play { writers, readers, model, .. } = &mut self;
            while let Err(error) = writers[0].finish() {
                assert!(matches!(error, Error::Unfilled { .. }), "{error}");
                let mut space = writers[0].claim().unwrap();
                let block = model.claimed(&space, &Comes::Old, None);
                model.blocks[block] = Is::Complete { offset: space.offset(), len: 1, stamp: 0, again: false };
                space.copy_from(0, &[0]);
                space.complete(1).unwrap();
            }
            while let Some(got) = readers[0].claim().unwrap() {
                let block = model.take(&got);
                got.complete().unwrap();
                model.blocks[block] = Is::Free;
            }
            assert_eq!(model.take_nothing(), Comes::Finished);
        }
        drop(self);
        assert_nothing_left(&id.to_string());
    }
}

#[test]
fn any_sequence_comes_out_as_the_model_says() {
    let rounds = number_from("ANTIPHON_ROUNDS").unwrap_or(1);
    let _watchdog = Watchdog::new("any sequence", Duration::from_secs(120) * rounds as u32);
    let seed = seed();
    let count = 150 * rounds;
    println!("{count} files, ANTIPHON_SEED={seed}");
    let mut steps = 0;
    for nth in 0..count {
        let id = FileId { session: u64::from(std::process::id()) << 32 | 0x0909, file: nth as u32 };
        let mut play = Play::new(id, seed.wrapping_add(nth));
        let length = 20 + play.dice.below(400);
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..length {
                play.step();
            }
        }));
        if let Err(panic) = played {
            let last = play.steps.len().saturating_sub(40);
            println!("file {nth} of seed {seed}: {:#?}\n{:?}", &play.steps[last..], play.model);
            std::panic::resume_unwind(panic);
        }
        steps += play.steps.len();
        play.end();
    }
    println!("{steps} steps");
}
