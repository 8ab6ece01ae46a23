//! How a block file stands: what went through it, who has it open, what stands in which block; and what can be seen
//! of one from outside.

use super::file::Shared;
use super::hall::Side;
use super::layout::{MAGIC, VERSION};
use super::memory::Memory;
use super::options::FileId;
use super::word::{Last, Owner, State};
use crate::error::Error;
use crate::sys::region::{self, HeadAt, Mapping};
use crate::sys::seat::Sitter;
use std::ops::Range;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

/// How a block file stood when it was looked at: [`BlockFile::state`](super::BlockFile::state). While others work on
/// it, it is another by the time one reads it, and a part may be older than another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileState {
    /// Bytes that writers completed.
    pub bytes_in: u64,
    /// Bytes that readers completed.
    pub bytes_out: u64,
    /// Where the furthest byte ends that was written.
    pub end: u64,
    /// Blocks that nobody has.
    pub free: u32,
    /// Blocks that are being filled.
    pub claimed: u32,
    /// Blocks that wait for a reader.
    pub complete: u32,
    /// Blocks that are being read.
    pub taken: u32,
    /// Whether no range is given any more.
    pub is_ending: bool,
    /// The reason, where it was cancelled.
    pub cancelled: Option<String>,
    /// Who has it open; of the dead those that have blocks which nobody has taken over yet.
    pub holders: Vec<Holder>,
    /// The bytes that nobody fills: see [`BlockFile::missing`](super::BlockFile::missing).
    pub missing: Vec<Range<u64>>,
}

/// One that has a block file open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// Its process id, as its own pid namespace knows it.
    pub pid: u32,
    /// Whether that process lives.
    pub is_alive: bool,
    /// Whether it has a writer.
    pub writes: bool,
    /// Whether it has a reader.
    pub reads: bool,
    /// How many blocks it has in hand.
    pub blocks: u32,
}

impl Holder {
    pub(crate) fn new([pid, blocks]: [u32; 2], [is_alive, writes, reads]: [bool; 3]) -> Self {
        Holder { pid, is_alive, writes, reads, blocks }
    }
}

/// How many of the living have a file open. Others are all but this process's attachment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Present {
    pub(crate) others: usize,
    pub(crate) writers: usize,
    pub(crate) other_writers: usize,
    pub(crate) readers: usize,
}

impl Shared {
    pub(crate) fn state(&self) -> Result<FileState, Error> {
        let table = self.hall().table;
        // The end first: what is given after it is none.
        let last = table.last();
        let mut seen = FileState {
            is_ending: last.is_ending(),
            cancelled: last.is_cancelled().then(|| self.reason()),
            missing: self.missing()?,
            ..FileState::default()
        };
        let mut owners: Vec<Owner> = Vec::new();
        for block in 0..self.blocks() {
            let (count, owner) = match table.look(block).state() {
                State::Free => (&mut seen.free, None),
                State::Claimed(owner) => (&mut seen.claimed, Some(owner)),
                State::Complete => (&mut seen.complete, None),
                State::Taken(owner) => (&mut seen.taken, Some(owner)),
            };
            *count += 1;
            owners.extend(owner);
            let record = &table.records[block];
            // Relaxed: for people to read; any numbers, since they are peers'.
            let [bytes_in, bytes_out, end] =
                [&record.bytes_in, &record.bytes_out, &record.end].map(|number| number.load(Relaxed));
            seen.bytes_in = seen.bytes_in.wrapping_add(bytes_in);
            seen.bytes_out = seen.bytes_out.wrapping_add(bytes_out);
            seen.end = seen.end.max(end);
        }
        for (number, sitter) in self.sitters()? {
            let (generation, pid, is_alive) = match sitter {
                Sitter::Alive { generation, pid } => (generation, pid, true),
                Sitter::Dead { generation, pid } => (generation, pid, false),
                Sitter::Nobody | Sitter::Left { .. } => continue,
            };
            let me = Owner { seat: number.index(), generation };
            let blocks = owners.iter().filter(|owner| **owner == me).count() as u32;
            let [writes, reads] = [Side::Writers, Side::Readers].map(|side| self.says_to_play(number, side));
            if is_alive || blocks > 0 {
                seen.holders.push(Holder { pid, is_alive, writes, reads, blocks });
            }
        }
        Ok(seen)
    }

    /// Whether it is finished, and everything was read: also that it is empty.
    pub(crate) fn is_done(&self) -> bool {
        let table = self.hall().table;
        // Relaxed: what is read is counted before the block is free, and an end is looked for again and again.
        let was_read = || table.records.iter().any(|record| record.bytes_out.load(Relaxed) > 0);
        let was_seen = || self.memory().state().about.ends_seen.load(Relaxed) > 0;
        table.last().is_ending()
            && (0..self.blocks()).all(|block| table.look(block).state() == State::Free)
            && (was_read() || was_seen())
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.hall().table.last().is_ending()
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.hall().table.last().is_cancelled()
    }

    /// Whether nothing was ever given out of it.
    pub(crate) fn is_untouched(&self) -> bool {
        let table = self.hall().table;
        // Relaxed: counted before the block is complete, and looked at again and again.
        let is_new = |block: usize| {
            table.look(block).state() == State::Free && table.records[block].bytes_in.load(Relaxed) == 0
        };
        table.last() == Last(0) && (0..self.blocks()).all(is_new)
    }

    /// Who of the living has it open.
    pub(crate) fn present(&self) -> Result<Present, Error> {
        let mut present = Present::default();
        for (number, sitter) in self.sitters()? {
            if matches!(sitter, Sitter::Alive { .. }) {
                let (is_other, writes) = (!self.is_mine(number), self.says_to_play(number, Side::Writers));
                present.others += usize::from(is_other);
                present.writers += usize::from(writes);
                present.other_writers += usize::from(is_other && writes);
                present.readers += usize::from(self.says_to_play(number, Side::Readers));
            }
        }
        Ok(present)
    }
}

/// The name in a block file, without opening it: nobody sees it, and nothing is kept alive by it. Nothing where there
/// is no whole one.
pub(crate) fn glance(id: FileId) -> Result<Option<Vec<u8>>, Error> {
    glance_at(id, |state| state.about.name.get())
}

/// Whether nothing of a block file can come to `place` any more: it is gone, or at its end, or goes elsewhere.
pub(crate) fn is_over_for(id: FileId, place: u64) -> Result<bool, Error> {
    let is_over = glance_at(id, |state| {
        // Relaxed: acquired with the magic, or what may change at any moment.
        let (last, goes_to) = (Last(state.next.word.load(Relaxed)), state.about.goes_to.load(Relaxed));
        let is_empty = state.records.iter().all(|record| record.word.load(Relaxed) == 0);
        last.is_cancelled() || (last.is_ending() && is_empty) || (goes_to != 0 && goes_to != place)
    })?;
    Ok(is_over.unwrap_or(true))
}

fn glance_at<T>(id: FileId, look: impl FnOnce(&super::layout::State) -> T) -> Result<Option<T>, Error> {
    let name = id.name()?;
    let failed = |call| move |error| Error::system(&id.to_string(), call, error);
    let Some(object) = region::open(&name.region()).map_err(failed("shm_open"))? else { return Ok(None) };
    let len = region::len(&object).map_err(failed("fstat"))?.filter(|len| region::can_have(*len));
    let Some(len) = len.and_then(|len| usize::try_from(len).ok()) else { return Ok(None) };
    let mapping = Mapping::new(&object, len, HeadAt::End).map_err(failed("mmap"))?;
    let identity = &mapping.head().identity;
    // Partner: the maker's store of the magic. Everything that it filled in, as whoever opens it acquires it.
    if identity.magic.load(Acquire) != MAGIC || identity.version.load(Relaxed) != VERSION {
        return Ok(None);
    }
    Ok(Some(look(Memory(&mapping).state())))
}

/// The numbers of all files of a session that stand there, in order.
pub(crate) fn standing(session: u64) -> Result<Vec<u32>, Error> {
    let names = crate::sys::names().map_err(|error| Error::system(&format!("{session:016X}"), "readdir", error))?;
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| number_in(session, name.to_str()?)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The number of a file of this session, by the name of its region.
fn number_in(session: u64, name: &str) -> Option<u32> {
    FileId::of_name(name).filter(|id| id.session == session).map(|id| id.file)
}

#[cfg(test)]
mod tests {
    use super::number_in;

    #[test]
    fn only_regions_of_the_session_have_a_number_in_it() {
        assert_eq!(number_in(10, "000000000000000A-0000000B"), Some(11));
        assert_eq!(number_in(u64::MAX, "FFFFFFFFFFFFFFFF-FFFFFFFF"), Some(u32::MAX));
        for other in
            ["", "000000000000000A", "000000000000000A-", "000000000000000A-0000000b", "000000000000000A-+000000B"]
        {
            assert_eq!(number_in(10, other), None, "{other}");
        }
        for other in ["000000000000000B-0000000B", "000000000000000A-0000000B+p", "sem.000000000000000A-0000000B+p"] {
            assert_eq!(number_in(10, other), None, "{other}");
        }
    }
}
