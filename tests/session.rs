//! Sessions: files by their names, groups of them, hosts and callers that are killed, callers that lie.
#![allow(missing_docs, clippy::single_range_in_vec_init)]

#[path = "support/intruder.rs"]
mod intruder;
mod support;

use antiphon::blocks::{BlockFile, Claimed, FileId};
use antiphon::session::{FileReader, FileWriter, Host, Session, SessionOptions};
use antiphon::{Channel, Error};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;
use support::{Dice, PATIENCE, Peer, Watchdog, hear, role, say};

const BLOCK: usize = 4096;

/// An id that no other test, and no other run, has.
fn unique() -> u64 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    0x5e55 << 48 | u64::from(std::process::id()) << 16 | u64::from(COUNT.fetch_add(1, Ordering::Relaxed))
}

fn options(id: u64) -> SessionOptions {
    SessionOptions::new().id(id).block_bytes(BLOCK).blocks(4)
}

fn host(id: u64) -> Host {
    options(id).host().unwrap()
}

/// A host in a process of its own, which says when it is there.
fn host_process(test: &str, id: u64) -> Peer {
    let mut peer = Peer::start(test, "host", &[&id.to_string()]);
    peer.expect("hosts");
    peer
}

/// What such a process does.
fn be_a_host(args: &[String]) {
    let _host = host(args[0].parse().unwrap());
    say("hosts");
    hear();
}

/// What stands in shared memory of a session: names of regions.
fn regions(id: u64) -> Vec<String> {
    let stem = format!("{id:016X}");
    support::names_in_shm().into_iter().filter(|name| name.contains(&stem)).collect()
}

fn assert_nothing_left(id: u64) {
    assert_eq!(regions(id), [""; 0], "left behind");
    support::assert_nothing_left(&format!("{id:016X}"));
}

/// The byte that stands at `offset` of every file here.
fn byte(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

fn bytes(offset: u64, len: usize) -> Vec<u8> {
    (offset..offset + len as u64).map(byte).collect()
}

/// Fills what comes with what belongs there, up to `end` of the file, and finishes it.
fn write_all(writer: &mut FileWriter, end: u64) {
    loop {
        let mut space = match writer.claim() {
            Ok(space) => space,
            Err(Error::Finished { .. }) => break,
            // A reader that died; what it had is read again.
            Err(Error::PeerDied { .. } | Error::Disconnected { .. }) => continue,
            Err(error) => panic!("{error}"),
        };
        let left = end.saturating_sub(space.offset()).min(BLOCK as u64) as usize;
        let offset = space.offset();
        assert_eq!(space.copy_from(0, &bytes(offset, left)), left);
        space.complete(left).unwrap();
        if left == 0 {
            break;
        }
    }
    writer.finish().unwrap();
}

/// Reads until the end, and looks at every byte. What came, by offset.
fn read_all(reader: &mut FileReader) -> BTreeMap<u64, usize> {
    let mut came = BTreeMap::new();
    loop {
        match reader.claim() {
            Ok(Some(block)) => {
                assert!(block.to_vec() == bytes(block.offset(), block.len()), "other bytes at {}", block.offset());
                assert!(came.insert(block.offset(), block.len()).is_none(), "twice");
                block.complete().unwrap();
            }
            Ok(None) => return came,
            Err(Error::PeerDied { .. } | Error::Disconnected { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// From `from` to `to` without a hole.
fn assert_whole(came: &BTreeMap<u64, usize>, from: u64, to: u64) {
    let mut end = from;
    for (offset, len) in came.range(from..to) {
        assert_eq!(*offset, end);
        end += *len as u64;
    }
    assert_eq!(end, to);
}

/// Repeats a call for as long as hosts die over it.
fn repeat<T>(mut call: impl FnMut() -> Result<T, Error>) -> T {
    loop {
        match call() {
            Ok(done) => return done,
            Err(Error::PeerDied { peer: "host", .. } | Error::Disconnected { peer: "host", .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_file_goes_from_its_writer_to_its_readers_and_is_gone() {
    let _watchdog = Watchdog::new("a file", PATIENCE);
    let id = unique();
    let host = host(id);
    let session = Session::connect(id).unwrap();
    assert_eq!((session.id(), host.id()), (id, id));
    for (name, len) in [(&b"empty"[..], 0), (b"one byte", 1), (b"exact", BLOCK as u64 * 8), (b"long", 1_000_003)] {
        let mut writer = session.write(name).unwrap();
        assert_eq!(writer.file().name(), name);
        let writing = thread::spawn(move || write_all(&mut writer, len));
        let mut reader = session.read(name).unwrap();
        assert_whole(&read_all(&mut reader), 0, len);
        writing.join().unwrap();
        drop(reader);
        // It is the host's last look that lets go of it, which comes after its reply.
        while !matches!(session.identify(name), Err(Error::NoFile { .. })) {}
    }
    assert!(session.files().unwrap().is_empty());
    drop(host);
    assert_nothing_left(id);
}

#[test]
fn names_of_any_bytes_are_kept_apart() {
    let _watchdog = Watchdog::new("names", PATIENCE);
    let id = unique();
    let host = host(id);
    let session = Session::connect(id).unwrap();
    let mut names: Vec<Vec<u8>> = [
        &b"\0"[..],
        b"/",
        b"\n",
        b"a/b",
        b"../a",
        b"a",
        b"a\0",
        b"a\0b",
        b"\xff\xfe",
        "ö".as_bytes(),
        "Ö".as_bytes(),
    ]
    .map(<[u8]>::to_vec)
    .into();
    // As long as can be, and different at the very end.
    names.extend([0, 1, b'\n', 0xff].map(|last| [vec![b'x'; 4095], vec![last]].concat()));
    names.push((0..4096).map(|byte| byte as u8).collect());
    let mut writers: Vec<FileWriter> = names.iter().map(|name| session.write(name).unwrap()).collect();
    let listed: Vec<Vec<u8>> = session.files().unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(listed, names, "in the order in which they were opened");
    for (name, writer) in names.iter().zip(&mut writers) {
        let parts = session.identify(name).unwrap();
        assert_eq!(parts.iter().map(|part| part.id).collect::<Vec<_>>(), [writer.id()]);
        assert_eq!(session.wait_for(name, PATIENCE).unwrap(), parts);
        let mut space = writer.claim().unwrap();
        let len = space.copy_from(0, &name[..name.len().min(BLOCK)]);
        space.complete(len).unwrap();
        writer.finish().unwrap();
    }
    for name in &names {
        let mut reader = session.read(name).unwrap();
        let block = reader.claim().unwrap().unwrap();
        assert_eq!(block.to_vec(), *name);
        block.complete().unwrap();
        assert!(reader.claim().unwrap().is_none());
    }
    for wrong in [&[][..], &[b'x'; 4097]] {
        for refused in [
            session.write(wrong).err(),
            session.read(wrong).err(),
            session.identify(wrong).err(),
            session.wait_for(wrong, PATIENCE).err(),
            session.cancel(wrong, "why").err(),
        ] {
            assert!(matches!(refused, Some(Error::BadOption { .. })), "{refused:?}");
        }
    }
    drop((writers, host));
    assert_nothing_left(id);
}

#[test]
fn what_cannot_be_had_is_said_by_name() {
    let _watchdog = Watchdog::new("errors", PATIENCE);
    let id = unique();
    assert!(matches!(Session::connect(id), Err(Error::NoHost { .. })));
    let late = Session::connect_timeout(id, Duration::from_millis(1));
    assert!(matches!(late, Err(Error::NoHost { .. })), "{late:?}");
    let host = host(id);
    let session = Session::connect(id).unwrap();
    let again = options(id).host();
    assert!(matches!(again, Err(Error::InUse { pid, .. }) if pid == std::process::id()), "{again:?}");
    // Nobody has it.
    let name = b"nobody's\nfile";
    for error in [
        session.read(name).unwrap_err(),
        session.identify(name).unwrap_err(),
        session.cancel(name, "why").unwrap_err(),
    ] {
        assert!(matches!(&error, Error::NoFile { .. }), "{error:?}");
        assert!(error.to_string().contains(r"nobody\'s\\nfile") || error.to_string().contains("nobody"), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    let late = session.wait_for(name, Duration::from_millis(1));
    assert!(matches!(late, Err(Error::TimedOut { call: "wait_for", .. })), "{late:?}");
    let late = session.read_timeout(name, Duration::from_millis(1));
    assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
    for id in [FileId { session: id, file: 1 }, FileId { session: id ^ 1, file: 1 }] {
        assert!(matches!(session.state(id), Err(Error::NoFile { .. })));
    }
    assert!(session.read_any().unwrap().is_none());
    // It is finished, and was not read.
    let mut writer = session.write(b"finished").unwrap();
    write_all(&mut writer, 10);
    assert!(matches!(writer.claim(), Err(Error::Finished { .. })));
    let refused = session.write(b"finished");
    assert!(matches!(&refused, Err(Error::Finished { name }) if name == "finished"), "{refused:?}");
    read_all(&mut session.read(b"finished").unwrap());
    drop(session.write(b"finished").unwrap()); // Another one.
    drop(writer);
    // It is cancelled, and somebody has it open.
    let mut writer = session.write(b"cancelled").unwrap();
    let mut reader = session.read(b"cancelled").unwrap();
    let part = session.identify(b"cancelled").unwrap()[0];
    session.cancel(b"cancelled", "the disk is full").unwrap();
    session.cancel(b"cancelled", "another reason").unwrap();
    let reason = |error: Error| match error {
        Error::Cancelled { reason, .. } => reason,
        other => panic!("{other}"),
    };
    assert_eq!(reason(writer.claim().unwrap_err()), "the disk is full");
    assert_eq!(reason(reader.claim().unwrap_err()), "the disk is full");
    assert_eq!(reason(session.write(b"cancelled").unwrap_err()), "the disk is full");
    assert_eq!(reason(session.read(b"cancelled").unwrap_err()), "the disk is full");
    assert_eq!(session.state(part.id).unwrap().cancelled.unwrap(), "the disk is full");
    assert_eq!(session.identify(b"cancelled").unwrap(), [part]);
    drop((writer, reader));
    assert!(matches!(session.read(b"cancelled"), Err(Error::NoFile { .. })), "nobody has it open");
    drop(session.write(b"cancelled").unwrap());
    drop(host);
    let gone = session.patience(Duration::from_millis(1)).files();
    assert!(matches!(gone, Err(Error::NoHost { .. })), "{gone:?}");
    assert_nothing_left(id);
}

#[test]
fn a_state_tells_who_has_what() {
    if let Some((_, args)) = role() {
        let session = Session::connect(args[0].parse().unwrap()).unwrap();
        let mut writer = session.write(b"state").unwrap();
        let _space = writer.claim().unwrap();
        say(std::process::id());
        hear();
        return;
    }
    let _watchdog = Watchdog::new("state", PATIENCE);
    let id = unique();
    let host = host(id);
    let session = Session::connect(id).unwrap();
    let mut writer = session.write(b"state").unwrap();
    writer.claim().unwrap().complete(100).unwrap();
    writer.claim().unwrap().complete(BLOCK).unwrap();
    let mut reader = session.read(b"state").unwrap();
    let block = reader.claim().unwrap().unwrap();
    let mut other = Peer::start(this_test!(), "writer", &[&id.to_string()]);
    let pid: u32 = other.heard().unwrap().parse().unwrap();
    let state = session.state(writer.id()).unwrap();
    assert_eq!((state.bytes_in, state.bytes_out), (100 + BLOCK as u64, 0));
    assert_eq!((state.free, state.claimed, state.complete, state.taken), (1, 1, 1, 1));
    assert_eq!((state.end, state.is_ending, &state.cancelled), (2 * BLOCK as u64, false, &None));
    let writes = |pid| state.holders.iter().find(|holder| holder.pid == pid && holder.writes).unwrap();
    assert_eq!((writes(pid).is_alive, writes(pid).reads, writes(pid).blocks), (true, false, 1));
    assert_eq!(writes(std::process::id()).blocks, 0);
    let mine = state.holders.iter().find(|holder| holder.reads).unwrap();
    assert_eq!((mine.pid, mine.blocks), (std::process::id(), 1));
    assert_eq!(session.files().unwrap()[0].readers, 1);
    other.kill();
    let state = session.state(writer.id()).unwrap();
    let dead = state.holders.iter().find(|holder| holder.pid == pid).unwrap();
    assert_eq!((dead.is_alive, dead.blocks), (false, 1));
    assert_eq!(state.missing, [2 * BLOCK as u64..3 * BLOCK as u64]);
    assert_eq!(state, writer.file().state().unwrap(), "what one who has it open sees");
    block.complete().unwrap();
    session.cancel(b"state", &"ö".repeat(2000)).unwrap();
    let state = session.state(writer.id()).unwrap();
    assert_eq!(state.bytes_out, 100);
    assert_eq!(state.cancelled.unwrap(), "ö".repeat(500));
    drop((writer, reader, host));
    assert_nothing_left(id);
}

#[test]
fn a_host_draws_an_id_of_its_own() {
    let hosts = [SessionOptions::new().host().unwrap(), SessionOptions::new().host().unwrap()];
    assert_ne!(hosts[0].id(), hosts[1].id());
    let ids = hosts.each_ref().map(Host::id);
    assert!(matches!(SessionOptions::new().blocks(0).host(), Err(Error::BadOption { .. })));
    drop(hosts);
    ids.into_iter().for_each(assert_nothing_left);
}

#[test]
fn an_empty_file_waits_for_somebody_who_sees_its_end() {
    let _watchdog = Watchdog::new("empty", PATIENCE);
    let id = unique();
    let host = host(id);
    let session = Session::connect(id).unwrap();
    session.write(b"empty").unwrap().finish().unwrap();
    assert!(session.files().unwrap().iter().any(|entry| entry.name == b"empty"));
    let mut reader = session.read(b"empty").unwrap();
    assert!(reader.claim().unwrap().is_none());
    drop(reader);
    while !matches!(session.identify(b"empty"), Err(Error::NoFile { .. })) {}
    drop(host);
    assert_nothing_left(id);
}

#[test]
fn sparse_writers_of_one_name_are_read_as_one_file() {
    const FAR: u64 = 1 << 40;
    const LEN: u64 = 300_001;
    if let Some((_, args)) = role() {
        let session = Session::connect(args[0].parse().unwrap()).unwrap();
        let offset: u64 = args[1].parse().unwrap();
        let mut writer = session.write_at(b"sparse", offset).unwrap();
        assert_eq!(writer.file().offset(), offset);
        say("open");
        hear();
        write_all(&mut writer, offset + LEN);
        return;
    }
    let _watchdog = Watchdog::new("sparse", PATIENCE);
    let id = unique();
    let host = host(id);
    let session = Session::connect(id).unwrap();
    let test = this_test!();
    let start = |offset: u64| {
        let mut peer = Peer::start(test, "writer", &[&id.to_string(), &offset.to_string()]);
        peer.expect("open");
        peer
    };
    let mut writers = vec![start(FAR), start(0)];
    let files = session.files().unwrap();
    let offsets = |parts: &[antiphon::session::Part]| parts.iter().map(|part| part.offset).collect::<Vec<_>>();
    assert_eq!((files.len(), offsets(&files[0].parts)), (1, vec![FAR, 0]));
    let mut reader = session.read(b"sparse").unwrap();
    assert_eq!(reader.ids().len(), 2);
    assert!(matches!(reader.try_claim().unwrap(), Claimed::NothingYet));
    // One that comes when the reader is there already.
    writers.push(start(2 * FAR));
    assert_eq!(offsets(&session.identify(b"sparse").unwrap()), [0, FAR, 2 * FAR]);
    let (reading, mut came) = (thread::spawn(move || read_all(&mut reader)), BTreeMap::new());
    for mut writer in writers {
        writer.tell("go on");
        writer.succeed();
    }
    came.extend(reading.join().unwrap());
    for part in 0..3 {
        assert_whole(&came, part * FAR, part * FAR + LEN);
    }
    while !session.files().unwrap().is_empty() {}
    drop(host);
    assert_nothing_left(id);
}

#[test]
fn a_sparse_file_is_at_its_end_when_its_last_part_is() {
    let _watchdog = Watchdog::new("parts", PATIENCE);
    let id = unique();
    let host = host(id);
    let session = Session::connect(id).unwrap();
    let [mut first, mut last] = [0, 1 << 20].map(|offset| session.write_at(b"parts", offset).unwrap());
    let mut reader = session.read(b"parts").unwrap();
    write_all(&mut first, 10);
    drop(first);
    let block = reader.claim().unwrap().unwrap();
    block.complete().unwrap();
    let soon = Duration::from_millis(1);
    assert!(matches!(reader.claim_timeout(soon), Err(Error::TimedOut { .. })), "the second part is open");
    assert_eq!(reader.ids(), [last.id()]);
    write_all(&mut last, (1 << 20) + 10);
    assert_eq!(reader.claim().unwrap().unwrap().offset(), 1 << 20); // Dropped, it comes again.
    let again = reader.claim().unwrap().unwrap();
    assert!(again.again());
    again.complete().unwrap();
    assert!(reader.claim().unwrap().is_none());
    drop((reader, last, host));
    assert_nothing_left(id);
}

#[test]
fn one_offset_is_one_file_for_all_its_writers_and_a_dead_ones_range_is_the_next_ones() {
    if let Some((what, args)) = role() {
        let session = Session::connect(args[0].parse().unwrap()).unwrap();
        if what == "writer" {
            let mut writer = session.write(b"shared").unwrap();
            let _space = writer.claim().unwrap();
            say("holds");
        } else {
            let mut reader = session.read(b"shared").unwrap();
            let _block = reader.claim().unwrap();
            say("holds");
        }
        hear();
        return;
    }
    let _watchdog = Watchdog::new("shared", PATIENCE);
    let id = unique();
    let host = host(id);
    let session = Session::connect(id).unwrap();
    let mut writer = session.write(b"shared").unwrap();
    let mut space = writer.claim().unwrap();
    space.copy_from(0, &bytes(0, BLOCK));
    space.complete(BLOCK).unwrap();
    let args = [id.to_string()];
    let mut dead = Peer::start(this_test!(), "writer", &[&args[0]]);
    dead.expect("holds");
    let mut dead_reader = Peer::start(this_test!(), "reader", &[&args[0]]);
    dead_reader.expect("holds");
    dead.kill();
    dead_reader.kill();
    let len = 50_000;
    let writing = thread::spawn(move || write_all(&mut writer, len));
    let mut readers = [session.read(b"shared").unwrap(), session.read(b"shared").unwrap()];
    let came: Vec<_> = thread::scope(|scope| {
        let reading: Vec<_> = readers.iter_mut().map(|reader| scope.spawn(|| read_all(reader))).collect();
        reading.into_iter().flat_map(|reading| reading.join().unwrap()).collect()
    });
    writing.join().unwrap();
    let whole: BTreeMap<u64, usize> = came.iter().copied().collect();
    assert_eq!(whole.len(), came.len(), "by two readers");
    assert_whole(&whole, 0, len);
    drop((readers, host));
    assert_nothing_left(id);
}

#[test]
fn any_file_is_given_to_one_reader_until_that_one_has_gone() {
    let _watchdog = Watchdog::new("any", PATIENCE);
    let id = unique();
    let host = host(id);
    let session = Session::connect(id).unwrap();
    let mut writers = [&b"one"[..], b"two"].map(|name| session.write(name).unwrap());
    // Somebody who was given the first, and does not read it yet.
    let channel = Channel::open(&format!("{id:016X}")).unwrap();
    let given = channel.publisher_timeout(PATIENCE).unwrap().call(b"ask2\x05\0\0\0").unwrap();
    assert!(given.ends_with(b"one\0\0\0\0"), "its name, and no note: {given:?}");
    drop(channel);
    let second = session.read_any().unwrap().unwrap();
    let first = session.read(b"one").unwrap();
    assert_eq!((first.name(), second.name()), (&b"one"[..], &b"two"[..]));
    assert!(session.read_any().unwrap().is_none());
    drop(second);
    let again = loop {
        // Not in the first second.
        if let Some(again) = session.read_any().unwrap() {
            break again;
        }
    };
    assert_eq!(again.name(), b"two");
    for (writer, mut reader) in writers.iter_mut().zip([first, again]) {
        write_all(writer, 77);
        assert_whole(&read_all(&mut reader), 0, 77);
    }
    drop((writers, host));
    assert_nothing_left(id);
}

#[test]
fn more_callers_than_a_channel_has_room_for_are_all_answered() {
    let _watchdog = Watchdog::new("callers", PATIENCE);
    let id = unique();
    let host = host(id);
    thread::scope(|scope| {
        for caller in 0..40_u32 {
            scope.spawn(move || {
                let session = Session::connect_timeout(id, PATIENCE).unwrap().patience(PATIENCE);
                let name = caller.to_le_bytes();
                let mut writer = session.write(&name).unwrap();
                write_all(&mut writer, u64::from(caller) * 100);
                assert!(session.files().unwrap().iter().any(|entry| entry.name == name));
                assert_whole(&read_all(&mut session.read(&name).unwrap()), 0, u64::from(caller) * 100);
            });
        }
    });
    drop(host);
    assert_nothing_left(id);
}

#[test]
fn whoever_has_a_file_open_goes_on_without_a_host() {
    if let Some((_, args)) = role() {
        return be_a_host(&args);
    }
    let _watchdog = Watchdog::new("without a host", PATIENCE);
    let id = unique();
    let mut host = host_process(this_test!(), id);
    let session = Session::connect(id).unwrap();
    let mut first = session.write(b"goes on").unwrap();
    let mut reader = session.read(b"goes on").unwrap();
    // The reader has not heard of this one when the host dies.
    let mut second = session.write_at(b"goes on", 1 << 30).unwrap();
    let other = session.write(b"another file").unwrap();
    host.kill();
    let len = 100_000;
    thread::scope(|scope| {
        scope.spawn(|| write_all(&mut first, len));
        scope.spawn(|| write_all(&mut second, (1 << 30) + len));
        let came = read_all(&mut reader);
        assert_whole(&came, 0, len);
        assert_whole(&came, 1 << 30, (1 << 30) + len);
    });
    let gone = session.patience(Duration::from_millis(1)).write(b"goes on");
    assert!(matches!(gone, Err(Error::NoHost { .. })), "{gone:?}");
    drop((first, second, reader, other));
    assert_nothing_left(id);
}

#[test]
fn the_next_host_knows_every_file() {
    if let Some((_, args)) = role() {
        return be_a_host(&args);
    }
    let _watchdog = Watchdog::new("the next host", PATIENCE);
    let id = unique();
    let mut host = host_process(this_test!(), id);
    let session = Session::connect(id).unwrap();
    let names = [vec![0], b"a/b\n".to_vec(), vec![0xff; 4096], b"plain".to_vec()];
    let offsets = [0, 7 << 20];
    let mut writers: Vec<FileWriter> =
        names.iter().flat_map(|name| offsets.map(|offset| session.write_at(name, offset).unwrap())).collect();
    // Half of them are full and finished when the host dies, the others have something in them.
    for (nth, writer) in writers.iter_mut().enumerate() {
        let offset = writer.file().offset();
        match nth % 4 < 2 {
            true => write_all(writer, offset + 2 * BLOCK as u64 + 1),
            false => {
                let mut space = writer.claim().unwrap();
                space.copy_from(0, &bytes(offset, BLOCK));
                space.complete(BLOCK).unwrap();
            }
        }
    }
    // Nobody but the host has had this one open.
    let Ok(part) = session.write(b"opened and left").map(|writer| writer.id()) else { panic!() };
    let before = session.files().unwrap();
    assert_eq!(before.len(), names.len() + 1);
    for _ in 0..3 {
        host.kill();
        host = host_process(this_test!(), id);
        assert_eq!(session.files().unwrap(), before);
        assert_eq!(repeat(|| session.identify(b"opened and left"))[0].id, part);
    }
    for (writer, number) in writers.iter().zip(0..) {
        let name = &names[number / 2];
        assert!(session.identify(name).unwrap().iter().any(|part| part.id == writer.id()));
        // To open again what is open is the same file.
        if number % 4 >= 2 {
            assert_eq!(session.write_at(name, offsets[number % 2]).unwrap().id(), writer.id());
        }
    }
    assert!(!before.iter().flat_map(|entry| &entry.parts).any(|part| part.id == session.write(b"new").unwrap().id()));
    for (nth, mut writer) in writers.into_iter().enumerate() {
        if nth % 4 >= 2 {
            let end = writer.file().offset() + 2 * BLOCK as u64 + 1;
            write_all(&mut writer, end);
        }
    }
    for name in &names {
        let came = read_all(&mut session.read(name).unwrap());
        for offset in offsets {
            assert_whole(&came, offset, offset + 2 * BLOCK as u64 + 1);
        }
    }
    host.tell("end");
    host.succeed();
    assert_nothing_left(id);
}

#[test]
fn a_file_that_has_no_room_for_the_next_host_is_not_made_a_second_time() {
    if let Some((_, args)) = role() {
        return be_a_host(&args);
    }
    let _watchdog = Watchdog::new("a full file", PATIENCE);
    let id = unique();
    let mut first = host_process(this_test!(), id);
    let session = Session::connect(id).unwrap();
    let mut writer = session.write(b"full").unwrap();
    let mut others: Vec<BlockFile> = (0..28).map(|_| BlockFile::open(writer.id()).unwrap()).collect();
    let refused = session.write(b"full").unwrap_err();
    assert!(matches!(&refused, Error::SeatTaken { seat: "handle", .. }), "{refused:?}");
    first.kill();
    // In the place of the host that died.
    others.push(BlockFile::open(writer.id()).unwrap());
    let next = host(id);
    let refused = session.write(b"full").unwrap_err();
    assert!(matches!(&refused, Error::Refused { why, .. } if why.contains("30 times")), "{refused:?}");
    others.pop();
    // The watchdog is the limit: it is found by the host as soon as there is room.
    while session.identify(b"full").is_err() {}
    assert_eq!(session.identify(b"full").unwrap()[0].id, writer.id());
    drop(others);
    write_all(&mut writer, 10_000);
    assert_whole(&read_all(&mut session.read(b"full").unwrap()), 0, 10_000);
    drop((writer, next));
    assert_nothing_left(id);
}

#[test]
fn a_caller_in_the_middle_of_a_call_is_told_that_the_host_died() {
    if let Some((_, args)) = role() {
        return be_a_host(&args);
    }
    let _watchdog = Watchdog::new("in the middle", PATIENCE);
    let id = unique();
    let mut victim = host_process(this_test!(), id);
    let session = Session::connect(id).unwrap();
    let writer = session.write(b"before").unwrap();
    victim.stop();
    let calling = thread::spawn(move || session.write(b"in the middle"));
    // It sits in the publisher's seat, from which it asks.
    let name = format!("{id:016X}");
    let channel = Channel::open(&name).unwrap();
    while channel.publisher().is_ok() {}
    victim.kill();
    let told = calling.join().unwrap();
    match told {
        Err(Error::PeerDied { name: told, peer: "host", .. }) => assert_eq!(told, name),
        // It died before it was asked.
        Err(Error::NoHost { .. }) => {}
        other => panic!("{other:?}"),
    }
    drop(channel);
    let calling = thread::spawn(move || session.write(b"in the middle").map(drop));
    let next = host(id);
    calling.join().unwrap().unwrap();
    assert_eq!(session.identify(b"before").unwrap()[0].id, writer.id());
    drop((writer, next));
    assert_nothing_left(id);
}

#[test]
fn callers_that_are_killed_in_the_middle_leave_the_host_to_the_others() {
    if let Some((_, args)) = role() {
        let session = Session::connect(args[0].parse().unwrap()).unwrap();
        for call in 0_u64.. {
            let name = (call % 3).to_le_bytes();
            let mut writer = session.write(&name).unwrap();
            assert!(!session.files().unwrap().is_empty());
            drop(writer.try_claim().unwrap());
            drop(writer);
            let _ = session.read(&name).unwrap().try_claim();
            session.cancel(&name, "over").unwrap();
            say(call);
        }
    }
    let _watchdog = Watchdog::new("killed callers", PATIENCE);
    let id = unique();
    let host = host(id);
    let session = Session::connect(id).unwrap();
    let mut dice = Dice::new(7);
    for _ in 0..30 {
        let mut caller = Peer::start(this_test!(), "caller", &[&id.to_string()]);
        for _ in 0..=dice.below(5) {
            caller.heard().unwrap();
        }
        caller.kill();
        session.files().unwrap();
        let mut writer = session.write(b"after").unwrap();
        write_all(&mut writer, 5);
        assert_whole(&read_all(&mut session.read(b"after").unwrap()), 0, 5);
        drop(writer);
        while !matches!(session.identify(b"after"), Err(Error::NoFile { .. })) {}
    }
    for entry in session.files().unwrap() {
        session.cancel(&entry.name, "all of them are dead").unwrap();
    }
    drop(host);
    assert_nothing_left(id);
}

#[test]
fn a_hostile_caller_is_answered_or_dropped_and_the_host_goes_on() {
    let _watchdog = Watchdog::new("hostile", PATIENCE);
    let id = unique();
    let host = host(id);
    let session = Session::connect(id).unwrap();
    let name = format!("{id:016X}");
    let channel = Channel::open(&name).unwrap();
    let mut dice = Dice::new(3);
    let request = |kind: u32, rest: &[u8]| [b"ask2", &kind.to_le_bytes()[..], rest].concat();
    let mut lies = vec![
        request(2, &[0; 20]),                              // An empty name.
        request(2, &[0; 20 + 4097]),                       // A long one.
        request(2, &[65; 20 + 66]),                        // A note that is too long.
        request(8, &[0xff; 100]),                          // A reason of 4 GiB.
        request(4, &[0, 0, 0, 0, 2, b'x']),                // A flag of 2.
        request(1, b"more"),                               // Something behind the end.
        request(9, &[]),                                   // An unknown kind.
        request(6, &u32::MAX.to_le_bytes()),               // No such file.
        request(8, &[1, 0, 0, 0, 0xff, b'n', b'o', b'n']), // A reason that is no text, for no file.
    ];
    for len in [0, 1, 3, 4, 7, 8, 100, 5000, 5200, 65_536, 65_537, 200_000] {
        lies.push((0..len).map(|_| dice.roll() as u8).collect());
        lies.push(request(2, &[vec![0; 20], vec![b'x'; len]].concat()));
    }
    for lie in &lies {
        let mut publisher = channel.publisher_timeout(PATIENCE).unwrap();
        publisher.publish(lie).unwrap();
        let is_open =
            lie.len() > 28 && lie.len() <= 28 + 4096 && lie[16..28] == [0; 12] && lie.starts_with(&request(2, &[]));
        match publisher.call(lie) {
            Ok(reply) if is_open => assert!(reply.starts_with(b"ans2\x02"), "{reply:?}"),
            Ok(reply) => assert!(reply.starts_with(b"ans2\x05"), "an error: {reply:?}"),
            Err(Error::NoReply { .. } | Error::Aborted { .. }) => assert!(lie.len() > 5192, "{} bytes", lie.len()),
            Err(error) => panic!("{error} for {} bytes", lie.len()),
        }
        drop(publisher);
        session.files().unwrap();
    }
    for entry in session.files().unwrap() {
        session.cancel(&entry.name, "a lie").unwrap();
    }
    // Turns of kinds that are none, and lengths.
    let region = intruder::Intruder::new(&name);
    let seat = channel.publisher_timeout(PATIENCE).unwrap();
    for kind in 0..64 {
        region.word(intruder::LENGTH).store(dice.roll(), Ordering::Relaxed);
        region.word(intruder::TURN).store(region.turn(1, kind, 0), Ordering::Relaxed);
        // It is given back, whatever it was.
        while region.word(intruder::TURN).load(Ordering::Relaxed) & 1 == 1 {
            thread::yield_now();
        }
    }
    drop(seat);
    session.files().unwrap();
    drop((region, channel, host));
    assert_nothing_left(id);
}

#[test]
fn a_hostile_host_is_found_out() {
    let _watchdog = Watchdog::new("hostile host", PATIENCE);
    let id = unique();
    let channel = Channel::create(&format!("{id:016X}")).unwrap();
    let mut consumer = channel.consumer().unwrap();
    let reply = |kind: u32, rest: &[u8]| [b"ans2", &kind.to_le_bytes()[..], rest].concat();
    let listed = |more: u8, numbers: &[u32]| {
        let mut parts = vec![more];
        parts.extend((numbers.len() as u32).to_le_bytes());
        numbers.iter().for_each(|number| parts.extend([&number.to_le_bytes()[..], &[0; 20]].concat()));
        reply(3, &parts)
    };
    let mut lies = vec![
        vec![],
        b"ans2".to_vec(),
        reply(0, &[]),
        reply(6, &[]),
        reply(2, &[0; 11]),
        listed(0, &[7, 7]),
        listed(0, &[8, 7]),
        listed(1, &[7]), // Again and again.
        reply(3, &[0, 0xff, 0xff, 0xff, 0xff]),
        reply(4, &[0xff; 43]),
        reply(4, &[0xff; 5000]),
        reply(5, &[7; 1021]),
        vec![0; 200_000],
    ];
    let (sure, mut dice) = (lies.len(), Dice::new(11));
    lies.extend(
        (0..200).map(|nth| reply(nth % 6, &(0..dice.below(200)).map(|_| dice.roll() as u8).collect::<Vec<_>>())),
    );
    let hello = reply(1, &[]);
    thread::scope(|scope| {
        let (send, lie) = std::sync::mpsc::channel::<Vec<u8>>();
        scope.spawn(move || {
            let mut now = hello;
            loop {
                now = lie.try_iter().last().unwrap_or(now);
                match consumer.consume() {
                    Ok(message) if message.view().to_vec().starts_with(b"end") => return,
                    Ok(message) => drop(message.reply(&now)),
                    Err(_) => {}
                }
            }
        });
        let session = Session::connect(id).unwrap().patience(Duration::from_millis(20));
        for (nth, lie) in lies.into_iter().enumerate() {
            send.send(lie).unwrap();
            // One that was sent before this call is what it gets, or the next one does.
            let _ = session.files();
            let file = FileId { session: id, file: 7 };
            let files = session.patience(PATIENCE).files();
            assert!(nth >= sure || matches!(files, Err(Error::Corrupt { .. })), "{nth}: {files:?}");
            let errors = [
                session.identify(b"x").err(),
                session.state(file).err(),
                session.write(b"x").err(),
                session.read(b"x").err(),
            ];
            errors.into_iter().flatten().for_each(|error| assert!(!error.to_string().is_empty()));
        }
        let mut publisher = channel.publisher_timeout(PATIENCE).unwrap();
        publisher.publish(b"end").unwrap();
    });
    drop(channel);
    assert_nothing_left(id);
}

#[test]
fn a_forked_child_asks_as_its_parent_does() {
    if let Some((_, args)) = role() {
        let session = Session::connect(args[0].parse().unwrap()).unwrap();
        let writer = session.write(b"the parent's").unwrap();
        // SAFETY: the child asks and ends.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let is_asked = session.identify(b"the parent's").is_ok_and(|parts| parts[0].id == writer.id());
            drop(writer); // It is the parent's.
            // SAFETY: ends the process, and nothing of the parent's runs.
            unsafe { libc::_exit(if is_asked { 0 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: a child of ours, and a place for the answer.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        assert_eq!(status, 0);
        let state = session.state(writer.id()).unwrap();
        assert!(state.holders.iter().any(|holder| holder.writes && holder.pid == std::process::id()));
        return;
    }
    let _watchdog = Watchdog::new("forked", PATIENCE);
    let id = unique();
    let host = host(id);
    Peer::start(this_test!(), "forks", &[&id.to_string()]).succeed();
    drop(host);
    assert_nothing_left(id);
}

#[test]
fn what_stands_in_the_place_of_a_file_is_left_alone() {
    let _watchdog = Watchdog::new("strangers", PATIENCE);
    let id = unique();
    let stranger = Channel::create(&format!("{id:016X}-00000007")).unwrap();
    let before = regions(id);
    let host = host(id);
    let session = Session::connect(id).unwrap();
    assert!(session.files().unwrap().is_empty());
    let writer = session.write(b"mine").unwrap();
    // Somebody makes one without the host.
    let next = FileId { session: id, file: writer.id().file + 1 };
    let theirs = BlockFile::create(next, b"theirs").unwrap();
    let refused = session.write(b"yours");
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    drop(session.write(b"yours").unwrap());
    drop((writer, theirs, host));
    assert_eq!(regions(id), before);
    drop(stranger);
    assert_nothing_left(id);
}

/// With the marks in the library, a host can be killed wherever one likes.
#[cfg(feature = "steps")]
mod steps {
    use super::*;
    use std::sync::OnceLock;
    use std::sync::atomic::AtomicBool;

    /// How often whoever waits looks around.
    const TICK: Duration = Duration::from_millis(40);

    static STEP: OnceLock<String> = OnceLock::new();
    static IS_ARMED: AtomicBool = AtomicBool::new(false);

    fn die_at(step: &str) {
        STEP.set(step.to_owned()).unwrap();
        antiphon::steps::watch(|step| {
            if IS_ARMED.load(Ordering::Relaxed) && Some(step) == STEP.get().map(String::as_str) {
                // SAFETY: a plain system call.
                unsafe { libc::raise(libc::SIGKILL) };
            }
        });
    }

    /// A host that dies at the step that it was given, once it was told to.
    fn host_that_dies(args: &[String]) {
        die_at(&args[1]);
        let _host = host(args[0].parse().unwrap());
        say("hosts");
        hear();
        IS_ARMED.store(true, Ordering::Relaxed);
        say("armed");
        hear();
    }

    /// Where a host is while it answers an open, and while it makes what it answers with.
    const STEPS_OF_AN_OPEN: &[&str] = &[
        "consume:seen",
        "consume:taken",
        "consume:copied",
        "create:anchored",
        "create:at-the-door",
        "create:sized",
        "create:reserved",
        "create:filled",
        "create:belled",
        "create:seated",
        "create:complete",
        "reply:begun",
        "reply:written",
        "reply:passed",
    ];

    #[test]
    fn a_host_killed_at_any_step_of_an_open_leaves_one_file_to_the_next() {
        if let Some((_, args)) = role() {
            return host_that_dies(&args);
        }
        let _watchdog = Watchdog::new("steps of an open", PATIENCE);
        for step in STEPS_OF_AN_OPEN {
            let id = unique();
            let mut victim = Peer::start(this_test!(), "host", &[&id.to_string(), step]);
            victim.expect("hosts");
            let session = Session::connect(id).unwrap();
            victim.tell("arm");
            victim.expect("armed");
            let calling = thread::spawn(move || repeat(|| session.write_at(b"once", 12_345)));
            victim.end();
            let next = host(id);
            let mut writer = calling.join().unwrap();
            let files = session.files().unwrap();
            assert_eq!((files.len(), files[0].parts.len()), (1, 1), "{step}");
            assert_eq!((files[0].parts[0].id, files[0].parts[0].offset), (writer.id(), 12_345), "{step}");
            write_all(&mut writer, 12_345 + 10_000);
            assert_whole(&read_all(&mut session.read(b"once").unwrap()), 12_345, 22_345);
            drop((writer, next));
            assert_nothing_left(id);
        }
    }

    /// Where a host is while it lets go of a file.
    const STEPS_OF_LETTING_GO: &[&str] = &[
        "detach:at-the-door",
        "detach:left",
        "detach:unlocked",
        "unlink:marked",
        "unlink:bell-gone",
        "unlink:bells-gone",
        "unlink:region-gone",
    ];

    #[test]
    fn a_host_killed_at_any_step_of_letting_go_of_a_file_leaves_it_to_the_next() {
        if let Some((_, args)) = role() {
            return host_that_dies(&args);
        }
        let _watchdog = Watchdog::new("steps of letting go", PATIENCE);
        for step in STEPS_OF_LETTING_GO {
            let id = unique();
            let mut victim = Peer::start(this_test!(), "host", &[&id.to_string(), step]);
            victim.expect("hosts");
            let session = Session::connect(id).unwrap();
            let writer = session.write(b"let go of").unwrap();
            session.cancel(b"let go of", "it is enough").unwrap();
            victim.tell("arm");
            victim.expect("armed");
            drop(writer);
            assert!(!victim.end().success(), "{step} is not come to");
            let next = host(id);
            let mut writer = session.write(b"let go of").unwrap();
            write_all(&mut writer, 10_000);
            assert_whole(&read_all(&mut session.read(b"let go of").unwrap()), 0, 10_000);
            drop((writer, next));
            assert_nothing_left(id);
        }
    }

    /// Where a caller is while it asks.
    const STEPS_OF_A_CALL: &[&[&str]] = &[antiphon::steps::OPENING, CALLING];
    const CALLING: &[&str] = &[
        "send:my-turn",
        "send:half-written",
        "send:written",
        "send:passed",
        "send:rung",
        "call:answered",
        "call:reply-read",
        "detach:at-the-door",
        "detach:left",
        "detach:unlocked",
    ];

    #[test]
    fn a_caller_killed_at_any_step_of_a_call_is_nothing_to_the_host() {
        if let Some((_, args)) = role() {
            let session = Session::connect(args[0].parse().unwrap()).unwrap();
            die_at(&args[1]);
            IS_ARMED.store(true, Ordering::Relaxed);
            let _writer = session.write(&[b'x'; 4096]).unwrap();
            say("lives"); // A step that it does not come to.
            return;
        }
        let _watchdog = Watchdog::new("steps of a call", PATIENCE);
        let id = unique();
        let host = host(id);
        let session = Session::connect(id).unwrap();
        for step in STEPS_OF_A_CALL.iter().copied().flatten() {
            let mut victim = Peer::start(this_test!(), "caller", &[&id.to_string(), step]);
            assert_eq!(victim.heard(), None, "{step} is not come to");
            victim.end();
            let mut writer = session.write(b"after").unwrap();
            write_all(&mut writer, 10_000);
            assert_whole(&read_all(&mut session.read(b"after").unwrap()), 0, 10_000);
            drop(writer);
            while !matches!(session.identify(b"after"), Err(Error::NoFile { .. })) {}
        }
        drop(host);
        assert_nothing_left(id);
    }

    /// A caller that stops between the host's answer and its coming to the file, until it is killed.
    fn caller_that_does_not_come(args: &[String]) {
        static OPENED: AtomicU32 = AtomicU32::new(0);
        let session = Session::connect(args[0].parse().unwrap()).unwrap();
        antiphon::steps::watch(|step| {
            // First the session's channel, then the file.
            if step == "open:anchored" && OPENED.fetch_add(1, Ordering::Relaxed) == 1 {
                say("comes");
                hear();
            }
        });
        let _writer = session.write(b"never").unwrap();
    }

    #[test]
    fn a_file_whose_writer_died_before_it_came_is_told_to_its_readers_and_forgotten() {
        if let Some((_, args)) = role() {
            return caller_that_does_not_come(&args);
        }
        let _watchdog = Watchdog::new("a writer that does not come", PATIENCE);
        let id = unique();
        let host = host(id);
        let session = Session::connect(id).unwrap();
        let test = this_test!();
        let start = || {
            let mut caller = Peer::start(test, "caller", &[&id.to_string()]);
            caller.expect("comes");
            caller
        };
        let mut caller = start();
        let mut reader = session.read(b"never").unwrap();
        let file = reader.ids()[0];
        // Whoever was told of a file may take its time.
        assert!(matches!(reader.claim_timeout(4 * TICK), Err(Error::TimedOut { .. })));
        caller.kill();
        let told = reader.claim();
        assert!(
            matches!(&told, Err(Error::Disconnected { name, peer: "writer", .. }) if *name == file.to_string()),
            "{told:?}"
        );
        assert!(matches!(reader.claim_timeout(4 * TICK), Err(Error::TimedOut { .. })), "it is told once");
        // As long as somebody waits for it, the next one who opens it gets that one.
        let mut writer = session.write(b"never").unwrap();
        assert_eq!(writer.id(), file);
        write_all(&mut writer, 10_000);
        assert_whole(&read_all(&mut reader), 0, 10_000);
        drop((writer, reader));

        start().kill();
        // The watchdog is the limit.
        while !matches!(session.identify(b"never"), Err(Error::NoFile { .. })) {}
        assert!(session.files().unwrap().is_empty());
        // One who has come and wrote nothing yet is nobody's to forget.
        let writer = session.write(b"here").unwrap();
        thread::sleep(4 * TICK);
        assert_eq!(session.identify(b"here").unwrap()[0].id, writer.id());
        drop((writer, host));
        assert_nothing_left(id);
    }
}
