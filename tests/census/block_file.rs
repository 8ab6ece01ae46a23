//! Block files: what is seen of them, what is left of them by whom, and what nobody believes.

use crate::intruder::{Intruder, has_paths};
use crate::support::{self, Peer, Watchdog, hear, role, say};
use crate::{MINE, Thing, is_listed, look, this_test, victim};
use antiphon::blocks::{BlockFile, BlockFileOptions, FileId};
use antiphon::census::{self, Block, BlockState, Entry, FileEnd, Kind, Sitter, State};
use antiphon::{Channel, ChannelOptions, Error};
use std::collections::BTreeSet;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

/// 16 blocks of 4 KiB, and so 64 KiB of them: the state begins there.
const SMALL: BlockFileOptions = BlockFileOptions::new().block_bytes(4096).blocks(16);
const STATE: usize = 64 * 1024;

fn unique() -> FileId {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    FileId { session: u64::from(std::process::id()) << 32 | 0xce, file: COUNT.fetch_add(1, Relaxed) }
}

fn words(id: FileId) -> [String; 2] {
    [id.session.to_string(), id.file.to_string()]
}

fn id_of(words: &[String]) -> FileId {
    FileId { session: words[0].parse().unwrap(), file: words[1].parse().unwrap() }
}

fn assert_nothing_left(id: FileId) {
    support::assert_nothing_left(&id.to_string());
}

fn seen(id: FileId) -> census::BlockFile {
    look(&id.to_string()).block_file.unwrap()
}

/// What a block is at, whose it is, where it belongs, how long it is.
type Figures = (BlockState, Option<(Sitter, Option<u32>)>, Option<u64>, u64);

fn figures(block: &Block) -> Figures {
    let owner = block.owner.as_ref().map(|seat| (seat.sitter, seat.pid));
    (block.state, owner, block.offset, block.len_bytes)
}

/// A child that holds a file until it is killed: `fills` a second block, the first one being complete, or only `claims`
/// one; `reads` what it completed.
fn holder(test: &str, id: FileId, how: &str) -> Peer {
    let [session, file] = words(id);
    let mut child = Peer::start(test, "hold", &[&session, &file, how]);
    child.expect("holding");
    child
}

fn hold_if_child() -> bool {
    let Some((_, words)) = role() else { return false };
    let _watchdog = Watchdog::new("holder", support::PATIENCE);
    let file = SMALL.create(id_of(&words), b"held").unwrap();
    let (mut writer, mut reader) = (file.writer().unwrap(), file.reader().unwrap());
    if words[2] != "claims" {
        writer.claim().unwrap().complete(5).unwrap();
    }
    let _block = (words[2] == "reads").then(|| reader.claim().unwrap());
    if words[2] == "cancels" {
        writer.cancel("the disk is full").unwrap();
    }
    let _space = writer.claim();
    say("holding");
    hear();
    true
}

#[test]
fn a_block_file_in_use_shows_who_holds_it_and_what_each_block_is_at() {
    let _watchdog = Watchdog::new("in use", support::PATIENCE);
    let id = unique();
    let began = SystemTime::now() - Duration::from_secs(1);
    let name = b"frames \x1b[2J\xff/\xc3\xbc".as_slice();
    let file = SMALL.offset(1 << 40).create(id, name).unwrap();
    let me = std::process::id();
    let entry = look(&id.to_string());
    assert_eq!((entry.kind, entry.state, entry.is_mine), (Kind::BlockFile, State::InUse, true));
    assert_eq!((entry.name.clone(), entry.system_name.clone()), (id.to_string(), id.to_string()));
    assert_eq!((entry.why.clone(), entry.len_bytes), (format!("process {me} has it open"), 128 * 1024));
    assert!(entry.channel.is_none() && entry.seats().count() == 1);
    let fresh = entry.block_file.unwrap();
    assert_eq!((fresh.id, fresh.name.as_slice(), fresh.offset, fresh.block_bytes), (id, name, 1 << 40, 4096));
    assert_eq!(fresh.shown_name(), "frames \\u{1b}[2J\\xff/ü");
    assert!(fresh.maker_pid == me && fresh.made_at.unwrap() > began);
    assert_eq!((fresh.tickets, fresh.end.clone(), fresh.furthest), (0, FileEnd::Open, 0));
    assert_eq!(fresh.blocks.len(), 16);
    assert!(fresh.blocks.iter().all(|block| figures(block) == (BlockState::Free, None, None, 0)));
    assert!(!fresh.handles[0].writes && !fresh.handles[0].reads);

    let (mut writer, mut reader) = (file.writer().unwrap(), file.reader().unwrap());
    let spaces: Vec<_> = (0..4).map(|_| writer.claim().unwrap()).collect();
    let mine = Some((Sitter::Alive, Some(me)));
    let at = |block: u64| Some((1 << 40) + block * 4096);
    let now = seen(id);
    assert_eq!(figures(&now.blocks[3]), (BlockState::Claimed, mine, at(3), 0));
    assert_eq!((now.tickets, now.handles[0].writes, now.handles[0].reads), (4, true, true));
    for (len, space) in [7, 8, 9].into_iter().zip(spaces) {
        space.complete(len).unwrap(); // The fourth one is dropped.
    }
    let first = reader.claim().unwrap().unwrap();
    let second = reader.claim().unwrap().unwrap();
    second.complete().unwrap();
    let entry = look(&id.to_string());
    assert!(census::take().unwrap().contains(&entry), "the whole list has the same");
    assert_eq!(entry.why, format!("process {me} writes and reads it"));
    let now = entry.block_file.clone().unwrap();
    let states: Vec<_> = now.blocks[..5].iter().map(figures).collect();
    assert_eq!(
        states,
        [
            (BlockState::Taken, mine, at(0), 7),
            (BlockState::Free, None, None, 0),
            (BlockState::Complete, None, at(2), 9),
            (BlockState::Claimed, None, at(3), 0),
            (BlockState::Free, None, None, 0),
        ]
    );
    let marks: Vec<_> = now.blocks[..5].iter().map(|block| (block.is_again, block.is_adoptable())).collect();
    assert_eq!(marks, [(false, false), (false, false), (false, false), (true, true), (false, false)]);
    assert_eq!((now.filled_bytes, now.read_bytes), (24, 8));
    assert_eq!(Some(now.furthest), at(2).map(|offset| offset + 9));
    let refused = entry.remove(MINE().kept(true).all_users(true));
    assert!(matches!(refused, Err(Error::InUse { pid, .. }) if pid == me), "{refused:?}");

    // A range of its own choice, far behind; then the end.
    writer.claim().unwrap().complete(1).unwrap();
    let chosen = writer.claim_at(1 << 50).unwrap();
    let is_chosen = |block: &Block| figures(block) == (BlockState::Claimed, mine, Some(1 << 50), 0);
    assert_eq!(seen(id).blocks.iter().filter(|block| is_chosen(block)).count(), 1);
    chosen.complete(0).unwrap();
    assert_eq!(seen(id).end, FileEnd::Ending);
    writer.cancel("the \x1b[2Jdisk").unwrap();
    assert_eq!(seen(id).end, FileEnd::Cancelled { reason: "the \\u{1b}[2Jdisk".to_owned() });
    drop((first, writer, reader));
    let after = seen(id);
    assert!(!after.handles[0].writes && !after.handles[0].reads);
    drop(file);
    assert!(matches!(census::look(&id.to_string()), Err(Error::NotFound { .. })));
}

#[test]
fn a_block_that_nobody_has_read_is_kept_until_it_is_asked_for() {
    if hold_if_child() {
        return;
    }
    let _watchdog = Watchdog::new("kept", support::PATIENCE);
    for how in ["fills", "reads"] {
        let id = unique();
        let mut child = holder(this_test!(), id, how);
        let pid = child.pid();
        assert_eq!(look(&id.to_string()).why, format!("process {pid} writes and reads it"));
        child.kill();
        let entry = is_listed(&id.to_string()).unwrap();
        assert_eq!(entry.state, State::Kept, "{how}: {}", entry.why);
        let why = format!("a block of 5 bytes waits for a reader; process {pid}, which had it open, is dead");
        assert_eq!(entry.why, why);
        let now = entry.block_file.clone().unwrap();
        let dead = Some((Sitter::Dead, Some(pid)));
        let first = match how {
            "fills" => (BlockState::Complete, None, Some(0), 5),
            _ => (BlockState::Taken, dead, Some(0), 5),
        };
        assert_eq!(figures(&now.blocks[0]), first);
        assert_eq!(figures(&now.blocks[1]), (BlockState::Claimed, dead, Some(4096), 0));
        assert!(now.blocks[1].is_adoptable() && now.blocks[0].is_adoptable() == (how == "reads"));
        let handle = &now.handles[0];
        assert!(handle.seat.sitter == Sitter::Dead && handle.writes && handle.reads);
        let refused = entry.remove(MINE());
        assert!(matches!(&refused, Err(Error::NotRemoved { why, .. }) if why.contains("waits")), "{refused:?}");
        assert_eq!(look(&id.to_string()), entry, "as it was");
        // Whoever comes now has it all. The seat is its own by now, and what the dead one had is not.
        let file = BlockFile::open(id).unwrap();
        let unknown = Some((Sitter::Dead, None));
        assert_eq!(figures(&seen(id).blocks[1]), (BlockState::Claimed, unknown, Some(4096), 0));
        let (mut writer, mut reader) = (file.writer().unwrap(), file.reader().unwrap());
        let block = reader.claim().unwrap().unwrap();
        assert_eq!((block.offset(), block.len(), block.again()), (0, 5, how == "reads"));
        let space = writer.claim().unwrap();
        assert_eq!((space.offset(), space.again()), (4096, true));
        assert_eq!(seen(id).blocks.iter().filter(|block| block.is_adoptable()).count(), 0);
        drop((block, space, writer, reader, file));
        let entry = look(&id.to_string());
        assert_eq!(
            (entry.state, entry.why.as_str()),
            (State::Kept, "a block of 5 bytes waits for a reader; everybody has left")
        );
        entry.remove(MINE().kept(true)).unwrap();
        assert_nothing_left(id);
    }
}

#[test]
fn a_range_that_was_let_go_of_is_kept_as_who_left_in_order_kept_it() {
    let _watchdog = Watchdog::new("let go", support::PATIENCE);
    let id = unique();
    let file = SMALL.create(id, b"let go").unwrap();
    drop(file.writer().unwrap().claim().unwrap());
    drop(file);
    let entry = look(&id.to_string());
    let why = "a range that its writer let go of waits for another; everybody has left";
    assert_eq!((entry.state, entry.why.as_str()), (State::Kept, why));
    entry.remove(MINE()).unwrap_err();
    entry.remove(MINE().kept(true)).unwrap();
    assert_nothing_left(id);
}

#[test]
fn what_nobody_waits_for_is_left_over_and_goes() {
    if hold_if_child() {
        return;
    }
    let _watchdog = Watchdog::new("left over", support::PATIENCE);
    for how in ["claims", "cancels"] {
        let id = unique();
        let mut child = holder(this_test!(), id, how);
        let (before, pid) = (look(&id.to_string()), child.pid());
        child.kill();
        let entry = look(&id.to_string());
        assert_eq!(entry.state, State::LeftOver, "{how}: {}", entry.why);
        assert_eq!(entry.why, format!("process {pid}, which had it open, is dead"));
        // What counts is how it is now, and not how it looked.
        before.remove(MINE()).unwrap_err();
        entry.remove(MINE()).unwrap();
        assert_nothing_left(id);
        entry.remove(MINE()).unwrap(); // Gone already.
    }
}

#[test]
fn whoever_opens_a_block_file_between_the_look_and_the_removing_is_not_disturbed() {
    if hold_if_child() {
        return;
    }
    let _watchdog = Watchdog::new("between", support::PATIENCE);
    let id = unique();
    holder(this_test!(), id, "claims").kill();
    let first = look(&id.to_string());
    let file = BlockFile::open(id).unwrap();
    let refused = first.remove(MINE());
    assert!(matches!(refused, Err(Error::InUse { pid, .. }) if pid == std::process::id()), "{refused:?}");
    let _writer = file.writer().unwrap();
    assert!(BlockFile::open(id).is_ok(), "its names are still there");
    drop(_writer);
    drop(file);
    // Another one of the same name.
    holder(this_test!(), id, "claims").kill();
    let refused = first.remove(MINE());
    assert!(matches!(&refused, Err(Error::NotRemoved { why, .. }) if why.contains("look again")), "{refused:?}");
    look(&id.to_string()).remove(MINE()).unwrap();
    assert_nothing_left(id);
}

#[test]
fn who_is_stopped_at_a_block_files_door_is_told_of_and_makes_nobody_hang() {
    let test = this_test!();
    if let Some((_, words)) = role() {
        victim::follow(&words[2]);
        let _ = SMALL.create(id_of(&words), b"stopped");
        return;
    }
    let _watchdog = Watchdog::new("stopped", support::PATIENCE);
    for step in ["create:at-the-door", "create:sized", "create:filled", "create:belled"] {
        let id = unique();
        let [session, file] = words(id);
        let mut child = Peer::start(test, "maker", &[&session, &file, &format!("stop {step}")]);
        child.has_stopped();
        let entry = is_listed(&id.to_string()).unwrap();
        assert_eq!(entry.state, State::Changing, "{step}: {}", entry.why);
        let refused = entry.remove(MINE());
        assert!(matches!(refused, Err(Error::Stuck { .. })), "{step}: {refused:?}");
        child.kill();
        let entry = look(&id.to_string());
        assert!(matches!(entry.kind, Kind::HalfMade | Kind::RegistryFile), "{step}: {:?}", entry.kind);
        assert_eq!(entry.state, State::LeftOver, "{step}: {}", entry.why);
        entry.remove(MINE()).unwrap();
        assert_nothing_left(id);
    }
}

#[test]
fn after_a_death_at_any_step_of_a_block_file_the_census_removes_all_that_is_left() {
    let test = this_test!();
    if let Some((_, words)) = role() {
        victim::follow(&words[2]);
        let id = id_of(&words);
        let file = SMALL.create(id, b"to and fro").unwrap();
        let other = BlockFile::open(id).unwrap();
        let (mut writer, mut reader) = (file.writer().unwrap(), other.reader().unwrap());
        writer.claim().unwrap().complete(9).unwrap();
        drop(reader.claim().unwrap());
        reader.claim().unwrap().unwrap().complete().unwrap();
        drop(writer.claim().unwrap());
        writer.claim().unwrap().complete(1).unwrap();
        reader.claim().unwrap().unwrap().complete().unwrap();
        writer.finish().unwrap();
        drop((writer, reader, file, other));
        // Left in order, and nothing of it is there; then once more, to be taken away from those who have it.
        let _file = SMALL.create(id, b"again").unwrap();
        BlockFile::unlink(id).unwrap();
        return;
    }
    let _watchdog = Watchdog::new("any step", support::PATIENCE * 4);
    let (mut kinds, mut killed) = (BTreeSet::new(), BTreeSet::new());
    for step in antiphon::steps::ALL.iter().chain(antiphon::steps::OF_BLOCKS) {
        for nth in [1, 2] {
            let id = unique();
            let [session, file] = words(id);
            let mut child = Peer::start(test, "dies", &[&session, &file, &format!("die {step} {nth}")]);
            if !child.end().success() {
                killed.insert(*step);
            }
            if let Some(entry) = left_of(id) {
                let is_due = matches!(entry.state, State::LeftOver | State::Kept);
                assert!(is_due, "{step}: {:?}, {}", entry.state, entry.why);
                kinds.insert(format!("{:?}", entry.kind));
                entry.remove(MINE().kept(true)).unwrap_or_else(|error| panic!("{step}: {error}"));
            }
            assert_nothing_left(id);
        }
    }
    assert!(kinds.contains("HalfMade") && kinds.contains("BlockFile"), "{kinds:?}");
    for step in ["create:sized", "create:filled", "create:complete", "claim:ticket", "take:taken", "unlink:bell-gone"]
    {
        assert!(killed.contains(step), "nobody was killed at {step}: {killed:?}");
    }
}

/// The region, or else its semaphores.
fn left_of(id: FileId) -> Option<Entry> {
    match census::look(&id.to_string()) {
        Ok(entry) => Some(entry),
        Err(Error::NotFound { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_state_of_any_bytes_is_looked_at_and_nothing_of_it_believed() {
    let _watchdog = Watchdog::new("any bytes", support::PATIENCE);
    let id = unique();
    let file = SMALL.create(id, b"any bytes").unwrap();
    let region = Intruder::new(&id.to_string());
    let good: Vec<u64> = (STATE..region.len()).step_by(8).map(|at| region.word(at).load(Relaxed)).collect();
    let mut dice = support::Dice::new(0xb10c);
    let mut files = 0;
    for round in 0..2000 {
        for _ in 0..=round % 7 {
            // In every second round behind the identity and the sizes alone, so that it is still a block file.
            let from = if round % 2 == 0 { 0 } else { 8192 + 16 };
            let at = (from + dice.below(53248 - from) / 8 * 8) as usize;
            let value = if dice.below(3) == 0 { u64::MAX } else { dice.roll() };
            region.word(STATE + at).store(value, Relaxed);
        }
        let entry = look(&id.to_string());
        if let Some(seen) = &entry.block_file {
            files += 1;
            assert!(!seen.shown_name().contains(char::is_control), "{seen:?}");
            assert!(seen.name.len() <= 4096 && (1..=256).contains(&seen.blocks.len()), "{seen:?}");
        }
        assert!(!entry.name.contains(char::is_control) && !entry.why.contains(char::is_control), "{entry:?}");
        for (word, value) in good.iter().enumerate() {
            region.word(STATE + 8 * word).store(*value, Relaxed);
        }
    }
    assert!(files > 1000, "{files}");
    // Sizes that lie: none of them is a reason to look anywhere else.
    for (at, value) in [(8192, 0), (8192, u64::MAX), (8192, 4097), (8200, 0), (8200, 257), (8200, u64::MAX)] {
        let before = region.word(STATE + at).swap(value, Relaxed);
        let entry = look(&id.to_string());
        region.word(STATE + at).store(before, Relaxed);
        assert_eq!((entry.kind, entry.state), (Kind::Other, State::Foreign), "{at} {value}: {}", entry.why);
        assert!(matches!(entry.remove(MINE()), Err(Error::NotRemoved { .. })));
    }
    assert_eq!(look(&id.to_string()).state, State::InUse);
    drop(region);
    if !has_paths(this_test!()) {
        return;
    }
    // Cut off, or longer than it was.
    let path = format!("/dev/shm/{id}");
    let cut = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    for len in [1 << 30, 3 * 65536, 65536, 4096, 0] {
        cut.set_len(len).unwrap();
        assert_ne!(look(&id.to_string()).state, State::InUse, "{len}");
    }
    std::mem::forget(file); // Its pages are gone.
    std::fs::remove_file(path).unwrap();
    look(&id.to_string()).remove(MINE()).unwrap();
    assert_nothing_left(id);
}

#[test]
fn what_stands_in_blocks_or_messages_makes_nothing_of_another_kind_of_it() {
    let _watchdog = Watchdog::new("data", support::PATIENCE);
    // A file whose blocks hold a whole channel, of the very name and capacity; half made, or complete; or nothing.
    let id = unique();
    let channel = ChannelOptions::new().capacity(64 * 1024).create(&id.to_string()).unwrap();
    let region = Intruder::new(&id.to_string());
    let header: Vec<u8> = (0..4096).map(|at| region.byte(at).load(Relaxed)).collect();
    drop((region, channel));
    for magic in [b"antiphon", b"antiph..", &[0; 8]] {
        let file = SMALL.create(id, b"a copy of a region").unwrap();
        let mut writer = file.writer().unwrap();
        let mut space = writer.claim().unwrap();
        space.copy_from(0, if magic == &[0; 8] { &[0; 4096] } else { &header });
        space.copy_from(0, magic);
        space.complete(4096).unwrap();
        let entry = look(&id.to_string());
        assert_eq!((entry.kind, entry.state), (Kind::BlockFile, State::InUse), "{}", entry.why);
        // Its own magic overwritten: it is nothing any more that anybody may remove. (With a whole channel before it
        // it is one; but whoever does that may remove it anyway.)
        if magic != b"antiphon" {
            let region = Intruder::new(&id.to_string());
            let ours = region.word(STATE).swap(77, Relaxed);
            let entry = look(&id.to_string());
            let refused = entry.remove(MINE().kept(true));
            region.word(STATE).store(ours, Relaxed);
            assert_eq!(entry.state, State::Foreign, "{}", entry.why);
            assert!(matches!(refused, Err(Error::NotRemoved { .. })), "{refused:?}");
        }
        file.reader().unwrap().claim().unwrap().unwrap().complete().unwrap();
        drop(writer);
        BlockFile::unlink(id).unwrap();
    }
    // A channel that has a block file's name, and at its payload's end a block file's beginning.
    for magic in [b"antiblks", b"antiph.."] {
        let channel = ChannelOptions::new().capacity(64 * 1024).create(&id.to_string()).unwrap();
        let mut publisher = channel.publisher().unwrap();
        publisher.publish(&[magic.as_slice(), &[1; 4096]].concat()).unwrap();
        let entry = look(&id.to_string());
        let wanted = if magic == b"antiph.." { State::InUse } else { State::Foreign };
        assert_eq!(entry.state, wanted, "{}", entry.why);
        entry.remove(MINE().kept(true)).unwrap_err();
        Channel::unlink(&id.to_string()).unwrap();
    }
    assert_nothing_left(id);
}

#[test]
fn a_block_file_of_another_version_is_shown_as_one_and_stays() {
    let _watchdog = Watchdog::new("another version", support::PATIENCE);
    let id = unique();
    let _file = SMALL.create(id, b"version").unwrap();
    let region = Intruder::new(&id.to_string());
    // Bytes 8 to 12 of the identity: the layout's version.
    let ours = region.byte(STATE + 8).swap(99, Relaxed);
    let entry = look(&id.to_string());
    let refused = entry.remove(MINE().kept(true).all_users(true));
    region.byte(STATE + 8).store(ours, Relaxed);
    assert_eq!((entry.kind, entry.state), (Kind::BlockFile, State::Foreign));
    assert_eq!(entry.why, format!("it has layout version 99 and this program knows {ours}"));
    assert!(matches!(refused, Err(Error::NotRemoved { .. })), "{refused:?}");
}

#[test]
fn what_only_has_a_block_files_name_is_not_touched() {
    if !has_paths(this_test!()) {
        return;
    }
    let _watchdog = Watchdog::new("foreign", support::PATIENCE);
    let things: Vec<Thing> = (0..5).map(|_| Thing::new(&unique().to_string())).collect();
    let [fifo, directory, zeros, short, huge] = &things[..] else { unreachable!() };
    let path = std::ffi::CString::new(fifo.path()).unwrap();
    // SAFETY: a NUL-terminated path.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    std::fs::create_dir(directory.path()).unwrap();
    std::fs::write(zeros.path(), vec![0; 128 * 1024]).unwrap();
    std::fs::write(short.path(), b"antiblks").unwrap();
    std::fs::File::create(huge.path()).unwrap().set_len(1 << 45).unwrap();
    for thing in &things {
        let entry = is_listed(&thing.0).unwrap();
        assert_eq!((entry.kind, entry.state), (Kind::Other, State::Foreign), "{}: {}", thing.0, entry.why);
        let refused = entry.remove(MINE().kept(true).all_users(true));
        assert!(matches!(refused, Err(Error::NotRemoved { .. })), "{}: {refused:?}", thing.0);
        assert!(std::fs::symlink_metadata(thing.path()).is_ok(), "{} is still there", thing.0);
    }
}
