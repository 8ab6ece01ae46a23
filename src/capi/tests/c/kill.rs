//! C programs that are killed at any time, and Rust peers that go on with the next ones: no message, no block is lost,
//! and none comes twice unmarked.

use crate::support::{
    Numbers, PATIENCE, Peer, USUAL, Watchdog, byte, compile, lines, log, message, unique, unique_id,
};
use antiphon::session::{Session, SessionOptions};
use antiphon::{Channel, ChannelOptions, Delivered, Error};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const KILLS: u64 = 25;

fn channel(name: &str) -> Channel {
    ChannelOptions::new().capacity(65536).open_or_create(name).unwrap()
}

fn pause(numbers: &mut Numbers) {
    std::thread::sleep(Duration::from_micros(numbers.below(20_000)));
}

fn is_news(error: &Error) -> bool {
    matches!(error, Error::PeerDied { .. } | Error::Disconnected { .. } | Error::Aborted { .. })
}

#[test]
fn what_a_killed_c_publisher_was_told_is_published_comes_to_a_rust_consumer() {
    let _watchdog = Watchdog::new("publishers");
    let (name, program, mut numbers) = (unique("publishers"), compile("peer", USUAL), Numbers(1));
    let path = log(&name);
    let channel = channel(&name);
    let mut consumer = channel.consumer().unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    let over = &over;
    let came = std::thread::scope(|scope| {
        let consumes = scope.spawn(move || {
            let (mut came, mut into) = (Vec::new(), Vec::new());
            loop {
                let got = match numbers.below(2) {
                    0 => consumer.consume_timeout(Duration::from_millis(200)).and_then(|message| message.to_vec()),
                    _ => {
                        let got = consumer.consume_into_timeout(&mut into, Duration::from_millis(200)).map(drop);
                        got.map(|()| into.clone())
                    }
                };
                match got {
                    Ok(bytes) => {
                        let number = u64::from_ne_bytes(bytes[..8].try_into().unwrap());
                        assert!(bytes == message(number), "other bytes in {number}");
                        came.push(number);
                    }
                    Err(Error::TimedOut { .. }) if over.load(std::sync::atomic::Ordering::Acquire) => return came,
                    Err(Error::TimedOut { .. }) => {}
                    Err(error) if is_news(&error) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
        let mut numbers = Numbers(2);
        for _ in 0..KILLS {
            let next = lines(&path).last().map_or(0, |(number, ..)| number + 1);
            let from = next.to_string();
            let peer = Peer::start(&program, &["publish", &name, path.to_str().unwrap(), &from]);
            pause(&mut numbers);
            peer.kill();
        }
        over.store(true, std::sync::atomic::Ordering::Release);
        consumes.join().unwrap()
    });
    let told: Vec<u64> = lines(&path).iter().map(|(number, ..)| *number).collect();
    assert!(told.len() as u64 > KILLS, "{} messages are too few to tell anything", told.len());
    // In order. One that stood there when its publisher died untold is published again by the next.
    assert!(came.is_sorted(), "{came:?}");
    let repeated = came.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64;
    assert!(repeated <= KILLS);
    let came: BTreeSet<u64> = came.into_iter().collect();
    assert!(told.iter().all(|number| came.contains(number)), "lost: {told:?} of {came:?}");
    Channel::unlink(&name).unwrap_or_default();
}

#[test]
fn what_a_rust_publisher_publishes_comes_to_c_consumers_that_are_killed() {
    let _watchdog = Watchdog::new("consumers");
    let (name, program, mut numbers) = (unique("consumers"), compile("peer", USUAL), Numbers(3));
    let path = log(&name);
    let channel = channel(&name);
    let mut publisher = channel.publisher().unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    let over = &over;
    let (published, unknown) = std::thread::scope(|scope| {
        let publishes = scope.spawn(move || {
            let (mut number, mut unknown) = (0, BTreeSet::new());
            while !over.load(std::sync::atomic::Ordering::Acquire) {
                match publisher.publish_timeout(&message(number), PATIENCE) {
                    Ok(()) => number += 1,
                    Err(error) if is_news(&error) => {
                        if error.delivered() == Some(Delivered::Unknown) {
                            unknown.insert(number);
                        }
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            // All but the last is consumed once that is taken by somebody.
            while !publisher.try_publish(&[]).is_ok_and(|sent| sent) {
                std::thread::sleep(Duration::from_millis(1));
            }
            (number, unknown)
        });
        for _ in 0..KILLS {
            let peer = Peer::start(&program, &["consume", &name, path.to_str().unwrap()]);
            pause(&mut numbers);
            peer.kill();
        }
        over.store(true, std::sync::atomic::Ordering::Release);
        let mut last = channel.consumer_timeout(PATIENCE).unwrap();
        loop {
            match last.consume_timeout(PATIENCE) {
                Ok(message) if message.is_empty() => break,
                Ok(message) => {
                    // As a C consumer has it.
                    let (again, bytes) = (message.redelivered(), message.to_vec().unwrap());
                    let number = u64::from_ne_bytes(bytes[..8].try_into().unwrap());
                    let line = [number, bytes.len() as u64, again.into()].map(u64::to_ne_bytes).concat();
                    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&path).unwrap();
                    std::io::Write::write_all(&mut file, &line).unwrap();
                }
                Err(error) if is_news(&error) => {}
                Err(error) => panic!("{error}"),
            }
        }
        publishes.join().unwrap()
    });
    let mut seen = BTreeMap::new();
    let mut last = None;
    for (number, _, again) in lines(&path) {
        let times = seen.entry(number).or_insert(0);
        *times += 1;
        assert!(*times == 1 || again || unknown.contains(&number), "{number} came twice unmarked");
        assert!(last.is_none_or(|last| number == last || number == last + 1), "{number} after {last:?}");
        last = Some(number);
    }
    assert_eq!(seen.len() as u64, published, "lost");
    assert!(published > KILLS, "{published} messages are too few to tell anything");
}

#[test]
fn calls_to_c_answerers_that_are_killed_are_answered_rightly_or_not_at_all() {
    let _watchdog = Watchdog::new("answerers");
    let (name, program, mut numbers) = (unique("answerers"), compile("peer", USUAL), Numbers(4));
    let channel = channel(&name);
    let mut publisher = channel.publisher().unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    let over = &over;
    std::thread::scope(|scope| {
        let calls = scope.spawn(move || {
            let mut answered = 0;
            for number in 0.. {
                if over.load(std::sync::atomic::Ordering::Acquire) {
                    break;
                }
                let mut wanted = message(number);
                match publisher.call_timeout(&wanted, Duration::from_secs(1)) {
                    Ok(reply) => {
                        wanted.reverse();
                        assert!(reply == wanted, "another reply to {number}");
                        answered += 1;
                    }
                    Err(error) if is_news(&error) => {}
                    Err(Error::TimedOut { .. } | Error::NoReply { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            answered
        });
        for _ in 0..KILLS {
            let peer = Peer::start(&program, &["answer", &name]);
            pause(&mut numbers);
            peer.kill();
        }
        over.store(true, std::sync::atomic::Ordering::Release);
        assert!(calls.join().unwrap() > KILLS);
    });
}

#[test]
fn a_rust_answerer_goes_on_with_the_next_c_caller() {
    let _watchdog = Watchdog::new("callers");
    let (name, program, mut numbers) = (unique("callers"), compile("peer", USUAL), Numbers(5));
    let channel = channel(&name);
    let mut consumer = channel.consumer().unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    let over = &over;
    std::thread::scope(|scope| {
        let answers = scope.spawn(move || {
            let mut answered = 0;
            loop {
                let got = consumer.consume_timeout(Duration::from_millis(200)).and_then(|mut message| {
                    let mut bytes = Vec::new();
                    message.copy_into(&mut bytes)?;
                    bytes.reverse();
                    message.reply(&bytes)
                });
                match got {
                    Ok(()) => answered += 1,
                    Err(Error::TimedOut { .. }) if over.load(std::sync::atomic::Ordering::Acquire) => {
                        return answered;
                    }
                    Err(Error::TimedOut { .. } | Error::CallerGone { .. }) => {}
                    Err(error) if is_news(&error) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
        for _ in 0..KILLS {
            let peer = Peer::start(&program, &["call", &name]);
            pause(&mut numbers);
            peer.kill(); // It checks each reply, and ends by itself where one is wrong.
        }
        over.store(true, std::sync::atomic::Ordering::Release);
        assert!(answers.join().unwrap() > KILLS);
    });
}

/// Every range once, to the end of the file.
fn assert_whole(mut ranges: Vec<(u64, u64)>, len: u64) {
    ranges.sort_unstable();
    let mut end = 0;
    for (offset, len) in ranges {
        assert_eq!(offset, end, "a range that is missing, or came twice");
        end += len;
    }
    assert_eq!(end, len);
}

#[test]
fn a_file_that_killed_c_writers_share_comes_whole_to_a_rust_reader() {
    let _watchdog = Watchdog::new("writers");
    let (id, program, mut numbers) = (unique_id(), compile("peer", USUAL), Numbers(6));
    let host = SessionOptions::new().id(id).block_bytes(4096).blocks(4).host().unwrap();
    let session = Session::connect(host.id()).unwrap();
    let (name, len) = (format!("{id:016X}"), (64 << 20) + 1234u64);
    let length = len.to_string();
    let arguments = ["write", &name, &length];
    let mut one = Peer::start(&program, &arguments);
    let mut reader = session.read_timeout(b"work", PATIENCE).unwrap();
    let ranges = std::thread::scope(|scope| {
        let reads = scope.spawn(move || {
            let mut ranges = Vec::new();
            loop {
                match reader.claim_timeout(PATIENCE) {
                    Ok(Some(block)) => {
                        let wanted = (block.offset()..).take(block.len()).map(byte);
                        assert!(block.to_vec().into_iter().eq(wanted), "other bytes at {}", block.offset());
                        ranges.push((block.offset(), block.len() as u64));
                        block.complete().unwrap();
                    }
                    Ok(None) => return ranges,
                    Err(Error::Unfilled { .. }) => {} // Somebody else will fill it.
                    Err(error) if is_news(&error) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
        for _ in 0..10 {
            let other = Peer::start(&program, &arguments);
            pause(&mut numbers);
            // Either may have come to the end by now.
            drop(std::mem::replace(&mut one, other));
        }
        assert!(one.wait().success());
        reads.join().unwrap()
    });
    assert_whole(ranges, len);
}

#[test]
fn a_file_of_a_rust_writer_comes_whole_to_c_readers_that_are_killed() {
    let _watchdog = Watchdog::new("readers");
    let (id, program, mut numbers) = (unique_id(), compile("peer", USUAL), Numbers(7));
    let host = SessionOptions::new().id(id).block_bytes(4096).blocks(4).host().unwrap();
    let session = Session::connect(host.id()).unwrap();
    let (name, len) = (format!("{id:016X}"), (16 << 20) + 1234u64);
    let path = log(&name);
    let mut writer = session.write(b"work").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut done = 0;
            while done < len {
                match writer.claim_timeout(PATIENCE) {
                    Ok(mut space) => {
                        let now = (len - done).min(4096);
                        assert_eq!(space.offset(), done);
                        let bytes: Vec<u8> = (done..done + now).map(byte).collect();
                        space.copy_from(0, &bytes);
                        space.complete(now as usize).unwrap();
                        done += now;
                    }
                    Err(error) if is_news(&error) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            writer.finish().unwrap();
        });
        for _ in 0..KILLS {
            let peer = Peer::start(&program, &["read", &name, path.to_str().unwrap()]);
            pause(&mut numbers);
            drop(peer); // It may have come to the end.
        }
        let last = Peer::start(&program, &["read", &name, path.to_str().unwrap()]);
        assert!(last.wait().success() || session.read(b"work").is_err());
    });
    let mut seen = BTreeMap::new();
    for (offset, len, again) in lines(&path) {
        assert!(seen.insert(offset, len).is_none() || again, "{offset} came twice unmarked");
    }
    assert_whole(seen.into_iter().collect(), len);
}

#[test]
fn what_a_c_program_is_killed_over_goes_to_the_next_one_marked() {
    let _watchdog = Watchdog::new("holders");
    let (name, program) = (unique("holders"), compile("peer", USUAL));
    let channel = channel(&name);
    let mut publisher = channel.publisher().unwrap();
    publisher.publish(b"message\0").unwrap();
    for wanted in ["message 0", "message 1", "message 1"] {
        let peer = Peer::start(&program, &["hold", &name]);
        assert_eq!(peer.said(), wanted);
        peer.kill();
    }
    let mut last = channel.consumer_timeout(PATIENCE).unwrap();
    let message = last.consume().unwrap();
    assert!(message.redelivered());
    assert_eq!(message.to_vec().unwrap(), b"message\0");

    let host = SessionOptions::new().id(unique_id()).block_bytes(4096).blocks(4).host().unwrap();
    let (session, id) = (Session::connect(host.id()).unwrap(), format!("{:016X}", host.id()));
    for wanted in ["0 0", "0 1", "0 1"] {
        let peer = Peer::start(&program, &["hold-write", &id]);
        assert_eq!(peer.said(), wanted);
        peer.kill();
    }
    let mut writer = session.write(b"work").unwrap();
    let space = writer.claim_timeout(PATIENCE).unwrap();
    assert!(space.again() && space.offset() == 0);
    space.complete(7).unwrap();
    for wanted in ["0 0", "0 1", "0 1"] {
        let peer = Peer::start(&program, &["hold-read", &id]);
        assert_eq!(peer.said(), wanted);
        peer.kill();
    }
    writer.finish().unwrap();
    let mut reader = session.read(b"work").unwrap();
    let block = reader.claim_timeout(PATIENCE).unwrap().unwrap();
    assert!(block.again() && block.len() == 7);
    block.complete().unwrap();
}
