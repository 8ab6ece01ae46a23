//! antiphon's block files: blocks that are claimed, filled and handed over in place, and bytes that are copied in and out
//! through them, by one writer and one reader or by several of each.

use super::flags::Flags;
use super::{Contestant, End, Room, Standing, shared_name};
use crate::Failure;
use crate::scenario::{Play, Scenario};
use crate::wires::Side;
use antiphon::blocks::{BlockFile, BlockFileOptions, FileId, Reader, Writer};
use antiphon::{Error, Wait};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Condvar, Mutex, PoisonError};

#[derive(Debug, Clone, Copy)]
pub struct Blocks {
    name: &'static str,
    block_bytes: usize,
    blocks: usize,
    wait: Wait,
    /// How many threads each of the two processes has at work, where it is not the one that takes the orders.
    team: Option<usize>,
}

const LARGE: Blocks = Blocks { name: "", block_bytes: 1 << 20, blocks: 8, wait: Wait::Adaptive, team: None };
const SMALL: Blocks = Blocks { block_bytes: 4 << 10, wait: Wait::Spin, ..LARGE };

pub const ALL: [Blocks; 6] = [
    Blocks { name: "8 blocks of 1 MiB, Spin", wait: Wait::Spin, ..LARGE },
    Blocks { name: "8 blocks of 1 MiB, Adaptive", ..LARGE },
    Blocks { name: "8 of 1 MiB, one a side", team: Some(1), ..LARGE },
    Blocks { name: "8 of 1 MiB, four a side", team: Some(4), ..LARGE },
    Blocks { name: "8 blocks of 4 KiB, Spin", ..SMALL },
    Blocks { name: "256 blocks of 4 KiB, Spin", blocks: 256, ..SMALL },
];

impl Contestant for Blocks {
    fn name(&self) -> &'static str {
        self.name
    }

    fn standing(&self) -> Standing {
        Standing::Ours
    }

    fn plays(&self, scenario: &Scenario) -> bool {
        match scenario.play {
            Play::HandOver => self.wait == Wait::Spin,
            play => play.block_bytes() == Some(self.block_bytes),
        }
    }

    fn end(&self, side: Side, folder: &Path) -> Result<Box<dyn End>, Failure> {
        let flags = Flags::open(side, folder)?;
        let options = BlockFileOptions::new().block_bytes(self.block_bytes).blocks(self.blocks).wait(self.wait);
        let id = file_id(folder)?;
        let tally = Tally { flags, step: 0, begin: 0, block_bytes: self.block_bytes };
        Ok(match side {
            Side::First => {
                let writer = options.create(id, b"a file")?.writer()?;
                Box::new(Filling { ends: self.ends(writer), tally })
            }
            Side::Second => {
                let reader = options.open(id)?.reader()?;
                Box::new(Emptying { ends: self.ends(reader), tally })
            }
        })
    }

    fn clear_up(&self, folder: &Path) -> Result<(), Failure> {
        match BlockFile::unlink(file_id(folder)?) {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Blocks {
    fn ends<E: Clone>(&self, end: E) -> Ends<E> {
        match self.team {
            None => Ends::One(end),
            Some(workers) => Ends::Team(vec![end; workers]),
        }
    }
}

/// The writers of a process, or its readers.
enum Ends<E> {
    One(E),
    /// Each has a thread. The fences do not see how long those wait for a processor, since they wait for one another:
    /// so a team is compared with another, if need be of one.
    Team(Vec<E>),
}

/// A file's name has no letters: the driver's process for a session, and the pair's number in it.
fn file_id(folder: &Path) -> Result<FileId, Failure> {
    let name = shared_name(folder);
    let numbers = name.rsplit_once('-').and_then(|(rest, file)| {
        let (_, session) = rest.rsplit_once('-')?;
        Some(FileId { session: session.parse().ok()?, file: file.parse().ok()? })
    });
    numbers.ok_or_else(|| format!("{name} names no process and no number").into())
}

/// What both ends know of what went through the file.
struct Tally {
    flags: Flags,
    step: u64,
    /// Where in the file the order in hand begins.
    begin: u64,
    block_bytes: usize,
}

impl Tally {
    /// How many blocks `count` messages of `bytes` are.
    fn blocks(&self, play: Play, count: u64, bytes: usize) -> Result<u64, Failure> {
        if play != Play::HandOver && play.block_bytes() != Some(self.block_bytes) {
            return Err("a block file has blocks of one length, and nothing else".into());
        }
        Ok(count * bytes.div_ceil(self.block_bytes) as u64)
    }

    fn done(&mut self, blocks: u64) {
        self.begin += blocks * self.block_bytes as u64;
        self.step += 1;
    }

    /// Which block of a message of `bytes` the one at `offset` of the file is.
    fn piece(&self, offset: u64, bytes: usize) -> usize {
        let each = bytes.div_ceil(self.block_bytes) as u64;
        ((offset - self.begin) / self.block_bytes as u64 % each) as usize
    }
}

/// One less; false where there were none.
fn one_of(left: &AtomicU64) -> bool {
    // Relaxed: a number and nothing else.
    left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
}

fn fill(writer: &mut Writer, from: &[u8]) -> Result<(), Failure> {
    let mut space = writer.claim()?;
    let len = space.copy_from(0, from);
    Ok(space.complete(len)?)
}

fn empty(reader: &mut Reader, to: &mut [u8]) -> Result<(), Failure> {
    let block = reader.claim()?.ok_or("the file ended")?;
    block.view().copy_to(0, to);
    Ok(block.complete()?)
}

struct Filling {
    ends: Ends<Writer>,
    tally: Tally,
}

impl End for Filling {
    fn version(&self) -> String {
        "of this source".into()
    }

    fn exchange(&mut self, play: Play, count: u64, room: &mut Room) -> Result<(), Failure> {
        let blocks = self.tally.blocks(play, count, room.outgoing.len())?;
        match &mut self.ends {
            Ends::One(writer) => {
                for _ in 0..count {
                    room.outgoing.chunks(self.tally.block_bytes).try_for_each(|from| fill(writer, from))?;
                }
            }
            Ends::Team(writers) => {
                let (left, tally, outgoing) = (&AtomicU64::new(blocks), &self.tally, &room.outgoing[..]);
                at_once(writers, |writer| {
                    while one_of(left) {
                        let mut space = writer.claim()?;
                        let at = tally.piece(space.offset(), outgoing.len()) * tally.block_bytes;
                        let len = space.copy_from(0, &outgoing[at..]);
                        space.complete(len)?;
                    }
                    Ok(())
                })?;
            }
        }
        self.tally.done(blocks);
        // The short one back.
        self.tally.flags.wait(self.tally.step);
        Ok(())
    }
}

struct Emptying {
    ends: Ends<Reader>,
    tally: Tally,
}

impl End for Emptying {
    fn exchange(&mut self, play: Play, count: u64, room: &mut Room) -> Result<(), Failure> {
        let bytes = room.incoming.len();
        let blocks = self.tally.blocks(play, count, bytes)?;
        match &mut self.ends {
            Ends::One(reader) => {
                for _ in 0..count {
                    let mut places = room.incoming.chunks_mut(self.tally.block_bytes);
                    places.try_for_each(|to| empty(reader, to))?;
                }
            }
            Ends::Team(readers) => {
                // Locked by nobody else: a place is used again much later than blocks are.
                let (left, tally) = (&AtomicU64::new(blocks), &self.tally);
                let places = room.incoming.chunks_mut(tally.block_bytes);
                let places = &places.map(Mutex::new).collect::<Vec<_>>();
                at_once(readers, |reader| {
                    while one_of(left) {
                        let block = reader.claim()?.ok_or("the file ended")?;
                        let place = places[tally.piece(block.offset(), bytes)].lock();
                        block.view().copy_to(0, &mut place.map_err(|_| "another reader failed")?);
                        block.complete()?;
                    }
                    Ok(())
                })?;
            }
        }
        self.tally.done(blocks);
        self.tally.flags.raise(self.tally.step);
        Ok(())
    }
}

/// A thread for each. They begin when this one sleeps, and it sleeps until the last of them is done: so it never waits for
/// a processor while they have it, which a fence would take for a disturbance.
fn at_once<E: Send>(ends: &mut [E], work: impl Fn(&mut E) -> Result<(), Failure> + Sync) -> Result<(), Failure> {
    let gate = &Gate { state: Mutex::new((false, ends.len())), opened: Condvar::new(), emptied: Condvar::new() };
    std::thread::scope(|scope| {
        let work = &work;
        let start = |end| {
            scope.spawn(move || {
                let _inside = gate.enter();
                work(end)
            })
        };
        let started: Vec<_> = ends.iter_mut().map(start).collect();
        gate.open();
        started.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a worker panicked")?)
    })
}

/// Whether it is open, and how many are still to come out.
struct Gate {
    state: Mutex<(bool, usize)>,
    opened: Condvar,
    emptied: Condvar,
}

impl Gate {
    fn enter(&self) -> Inside<'_> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.opened.wait_while(state, |(is_open, _)| !*is_open));
        Inside(self)
    }

    /// Nobody goes through before this one sleeps, which alone lets go of the lock.
    fn open(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = true;
        self.opened.notify_all();
        drop(self.emptied.wait_while(state, |(_, inside)| *inside > 0));
    }
}

/// Comes out however its thread ends.
struct Inside<'g>(&'g Gate);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.1 -= 1;
        if state.1 == 0 {
            self.0.emptied.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::contestants::{Contestant, End, Room, bare};
    use crate::scenario::{self, Play};
    use crate::wires::Side;
    use std::path::Path;
    use std::sync::mpsc;

    /// So much that the last block of a message is not full.
    const MORE: usize = 5;

    fn play(mut end: Box<dyn End>, side: Side, play: Play, bytes: usize) -> Vec<u8> {
        let mut room = Room::default();
        room.make(side, play, bytes);
        room.outgoing.iter_mut().enumerate().for_each(|(at, byte)| *byte = (at / 999) as u8);
        for count in [1, 3, 0, 2] {
            end.exchange(play, count, &mut room).unwrap();
        }
        room.incoming
    }

    /// What the second end has after some messages, with each end a thread.
    fn arrived(contestant: &(dyn Contestant + Sync), of: Play, bytes: usize, folder: &Path) -> Vec<u8> {
        let (made, is_made) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let end = contestant.end(Side::First, folder).unwrap();
                made.send(()).unwrap();
                play(end, Side::First, of, bytes);
            });
            is_made.recv().unwrap();
            play(contestant.end(Side::Second, folder).unwrap(), Side::Second, of, bytes)
        })
    }

    #[test]
    fn what_goes_through_blocks_arrives_whole_and_in_its_place() {
        let plays = [Play::HandOver, Play::LargeBlocks, Play::SmallBlocks];
        let blocks = super::ALL.iter().map(|one| one as &(dyn Contestant + Sync));
        let bare = bare::ALL.iter().map(|one| one as &(dyn Contestant + Sync));
        for (number, contestant) in blocks.chain(bare).enumerate() {
            let name = format!("peers-{}-{}", std::process::id(), 1000 + number);
            let folder = std::env::temp_dir().join(name);
            for of in plays {
                let Some((_, scenario)) = scenario::all().find(|(_, one)| one.play == of && contestant.plays(one))
                else {
                    continue;
                };
                std::fs::create_dir(&folder).unwrap();
                let bytes = of.block_bytes().map_or(scenario.bytes, |block| 3 * block + MORE);
                let came = arrived(contestant, of, bytes, &folder);
                let right = came.iter().enumerate().all(|(at, byte)| *byte == (at / 999) as u8);
                assert!(came.len() == bytes && right, "{}: {of:?}", contestant.name());
                contestant.clear_up(&folder).unwrap();
                std::fs::remove_dir_all(&folder).unwrap();
            }
        }
    }
}
