//! A block file: what there is to say of it, seen in a copy of its region's last 64 KiB.

use super::judge::{Chair, Floor, time};
use super::{Kind, Seat, Sitter};
use crate::blocks::FileId;
use crate::blocks::board::Board;
use crate::blocks::file::role_of;
use crate::blocks::hall::Side;
use crate::blocks::layout::{MAGIC, MOST_BLOCKS, STATE_BYTES, VERSION};
use crate::blocks::memory::state_of;
use crate::blocks::word::{Owner, Record, State as Content, Table};
use crate::sys::look::Snapshot;
use crate::sys::region::HeadAt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

/// By this a region is known as a block file's.
pub(super) const FLOOR: Floor = Floor {
    kind: Kind::BlockFile,
    magic: MAGIC,
    version: VERSION,
    overhead: STATE_BYTES as u64,
    head: HeadAt::End,
    read_bytes: STATE_BYTES,
};

/// What there is to say of a block file.
///
/// ```
/// use antiphon::blocks::{BlockFile, FileId};
/// use antiphon::census::{self, BlockState};
///
/// let id = FileId { session: std::process::id().into(), file: 0xce };
/// let file = BlockFile::create(id, b"frames.raw")?;
/// let mut writer = file.writer()?;
/// writer.claim()?.complete(5)?;
///
/// let seen = census::look(&id.to_string())?.block_file.unwrap();
/// assert_eq!((seen.id, seen.shown_name().as_str()), (id, "frames.raw"));
/// assert_eq!((seen.blocks[0].state, seen.blocks[0].len_bytes), (BlockState::Complete, 5));
/// assert_eq!(seen.handles[0].seat.pid, Some(std::process::id()));
/// assert!(seen.handles[0].writes && !seen.handles[0].reads);
/// # file.reader()?.claim()?.unwrap().complete()?;
/// # Ok::<(), antiphon::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockFile {
    /// Its session, and its number in it.
    pub id: FileId,
    /// The name of the file that stands in it, as its maker gave it: any bytes. [`shown_name`](Self::shown_name) is
    /// for people.
    pub name: Vec<u8>,
    /// Where in the named file it begins.
    pub offset: u64,
    /// The bytes of a block.
    pub block_bytes: u64,
    /// The process that made it.
    pub maker_pid: u32,
    /// When it was made.
    pub made_at: Option<SystemTime>,
    /// Everybody who has it open, or had it open last, seat by seat.
    pub handles: Vec<Handle>,
    /// How many ranges were given out in their order: that many blocks, from [`offset`](Self::offset) on. Writers that
    /// chose theirs are not counted.
    pub tickets: u64,
    /// Whether more is to come.
    pub end: FileEnd,
    /// The blocks, as they stand in the region.
    pub blocks: Vec<Block>,
    /// Bytes that were completed by writers since the file was made, whoever they were.
    pub filled_bytes: u64,
    /// Bytes that were read and done with.
    pub read_bytes: u64,
    /// Where the furthest byte stands that was completed, plus one.
    pub furthest: u64,
    /// How many writers sleep until a block is free, or are about to.
    pub writers_asleep: u64,
    /// How many readers sleep until a block is complete, or are about to.
    pub readers_asleep: u64,
}

/// A process that has a block file open, and what for: its own word.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Handle {
    /// Where it sits.
    pub seat: Seat,
    /// Whether it has writers.
    pub writes: bool,
    /// Whether it has readers.
    pub reads: bool,
}

/// Whether more is to come of a block file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileEnd {
    /// Ranges are given out.
    Open,
    /// None is given out any more.
    Ending,
    /// It ended for everybody.
    Cancelled {
        /// Why, in the words of whoever did it, without control characters.
        reason: String,
    },
}

/// What a block is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BlockState {
    /// Nothing stands in it.
    Free,
    /// A writer has it.
    Claimed,
    /// It waits for a reader.
    Complete,
    /// A reader has it.
    Taken,
}

/// A block.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Block {
    /// What it is at.
    pub state: BlockState,
    /// Whose it is while it is claimed or taken. `None` where its writer let go of it. A seat that has another holder
    /// by now shows as a dead one's, of which nothing more is known.
    pub owner: Option<Seat>,
    /// Where its bytes belong in the file; `None` while it has none.
    pub offset: Option<u64>,
    /// How many bytes there are, where it is complete or taken.
    pub len_bytes: u64,
    /// Whether somebody had it before.
    pub is_again: bool,
}

impl Block {
    /// Whether somebody was to go on with it and will not: it goes to the next one who claims.
    pub fn is_adoptable(&self) -> bool {
        let is_held = matches!(self.state, BlockState::Claimed | BlockState::Taken);
        is_held && self.owner.as_ref().is_none_or(|owner| owner.sitter != Sitter::Alive)
    }
}

impl BlockFile {
    /// Everybody's seats who has it open, or had it open last.
    pub fn seats(&self) -> impl Iterator<Item = &Seat> {
        self.handles.iter().map(|handle| &handle.seat)
    }

    /// The name of the file that stands in it, with nothing in it that a terminal would obey: bytes that are no text
    /// show as `\xff`, control characters as `\u{1b}`, and `\` as `\\`.
    pub fn shown_name(&self) -> String {
        shown(&self.name)
    }

    /// How it stands in a copy of its state; `None` where its blocks do not fit into its length.
    pub(super) fn of(id: FileId, snapshot: &Snapshot, len: u64, chairs: &[Chair]) -> Option<Self> {
        let state = state_of(snapshot);
        // Relaxed throughout: a copy, which nobody writes.
        let about = &state.about;
        let (block_bytes, count) = (about.block_bytes.load(Relaxed), about.blocks.load(Relaxed));
        let room = len.saturating_sub(STATE_BYTES as u64);
        // As who opens it checks it.
        if block_bytes == 0 || !(1..=MOST_BLOCKS as u64).contains(&count) || block_bytes > room / count {
            return None;
        }
        let base = about.base.load(Relaxed);
        let records = &state.records[..count as usize];
        let table = Table { next: &state.next.word, records, base, block_bytes };
        let last = table.last();
        let sum = |field: fn(&Record<AtomicU64>) -> &AtomicU64| {
            records.iter().fold(0, |sum: u64, record| sum.saturating_add(field(record).load(Relaxed)))
        };
        let [writers_asleep, readers_asleep] = state.boards.each_ref().map(|line| Board(&line.word).look().asleep());
        let identity = &snapshot.head().identity;
        Some(BlockFile {
            id,
            name: about.name.get(),
            offset: base,
            block_bytes,
            maker_pid: identity.maker_pid.load(Relaxed),
            made_at: time(identity.created_unix_ms.load(Relaxed)),
            handles: chairs.iter().filter(|chair| chair.seat.sitter != Sitter::Nobody).map(handle).collect(),
            tickets: last.tickets(),
            end: match (last.is_cancelled(), last.is_ending()) {
                (true, _) => FileEnd::Cancelled { reason: shown(&about.reason.get()) },
                (false, true) => FileEnd::Ending,
                (false, false) => FileEnd::Open,
            },
            blocks: (0..records.len()).map(|number| block(&table, number, chairs)).collect(),
            filled_bytes: sum(|record| &record.bytes_in),
            read_bytes: sum(|record| &record.bytes_out),
            furthest: records.iter().map(|record| record.end.load(Relaxed)).max().unwrap_or(0),
            writers_asleep,
            readers_asleep,
        })
    }

    /// What is kept in it for whoever comes, in words.
    pub(super) fn waiting(&self) -> Option<String> {
        if matches!(self.end, FileEnd::Cancelled { .. }) {
            return None;
        }
        let unread = |block: &&Block| matches!(block.state, BlockState::Complete | BlockState::Taken);
        let bytes = self.blocks.iter().filter(unread).fold(0, |sum: u64, block| sum.saturating_add(block.len_bytes));
        let let_go = |block: &&Block| block.state == BlockState::Claimed && block.owner.is_none();
        let s = if bytes == 1 { "" } else { "s" };
        match (self.blocks.iter().filter(unread).count(), self.blocks.iter().filter(let_go).count()) {
            (0, 0) => None,
            (0, 1) => Some("a range that its writer let go of waits for another".to_owned()),
            (0, more) => Some(format!("{more} ranges that their writers let go of wait for another")),
            (1, _) => Some(format!("a block of {bytes} byte{s} waits for a reader")),
            (more, _) => Some(format!("{more} blocks of {bytes} byte{s} wait for a reader")),
        }
    }

    /// Who lives, in words.
    pub(super) fn living(&self) -> Option<String> {
        let handle = self.handles.iter().find(|handle| handle.seat.sitter == Sitter::Alive)?;
        let Some(pid) = handle.seat.pid else { return Some("a process is opening it".to_owned()) };
        let does = match (handle.writes, handle.reads) {
            (true, true) => "writes and reads it",
            (true, false) => "writes it",
            (false, true) => "reads it",
            (false, false) => "has it open",
        };
        Some(format!("process {pid} {does}"))
    }
}

fn handle(chair: &Chair) -> Handle {
    let plays = |side| chair.role & role_of(side) != 0;
    Handle { seat: chair.seat.clone(), writes: plays(Side::Writers), reads: plays(Side::Readers) }
}

fn block(table: &Table<'_, AtomicU64>, number: usize, chairs: &[Chair]) -> Block {
    let (word, record) = (table.look(number), &table.records[number]);
    // Relaxed: a copy.
    let (offset, len) = (record.offset.load(Relaxed), record.len.load(Relaxed));
    let (state, owner, offset, len_bytes) = match word.state() {
        Content::Free => (BlockState::Free, None, None, 0),
        Content::Claimed(owner) => (BlockState::Claimed, seat_of(owner, chairs), table.range_of(number), 0),
        Content::Complete => (BlockState::Complete, None, Some(offset), len),
        Content::Taken(owner) => (BlockState::Taken, seat_of(owner, chairs), Some(offset), len),
    };
    Block { state, owner, offset, len_bytes, is_again: state != BlockState::Free && word.is_again() }
}

/// Where an owner sits.
fn seat_of(owner: Owner, chairs: &[Chair]) -> Option<Seat> {
    if owner == Owner::NOBODY {
        return None;
    }
    let its = chairs.get(usize::from(owner.seat)).filter(|chair| chair.generation == Some(owner.generation));
    Some(its.map_or(Seat { sitter: Sitter::Dead, pid: None, since: None }, |chair| chair.seat.clone()))
}

/// Text of any bytes, with nothing in it that a terminal would obey, and so that other bytes look otherwise.
fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c == '\\' || c.is_control() {
                true => text.extend(c.escape_default()),
                false => text.push(c),
            }
        }
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_are_shown_and_others_otherwise() {
        assert_eq!(shown("über/frames 1.raw".as_bytes()), "über/frames 1.raw");
        assert_eq!(shown(b"a\x1b[2J\xff\xfe\n\\xff"), "a\\u{1b}[2J\\xff\\xfe\\n\\\\xff");
        assert_eq!(shown("\u{9b}".as_bytes()), "\\u{9b}", "a control character of the second kind");
    }

    #[test]
    fn a_name_is_a_block_files_in_one_spelling_alone() {
        let id = FileId { session: 0x0a57_1f08, file: 7 };
        assert_eq!(FileId::of_name(&id.to_string()), Some(id));
        let most = FileId { session: u64::MAX, file: u32::MAX };
        assert_eq!(FileId::of_name(&most.to_string()), Some(most));
        for other in [
            "frames",
            "000000000a571f08-00000007",
            "A571F08-7",
            "+00000000A571F08-00000007",
            "000000000A571F08-00000007-",
            "000000000A571F08",
            "0000000000A571F08-0000007",
        ] {
            assert_eq!(FileId::of_name(other), None, "{other}");
        }
    }
}
