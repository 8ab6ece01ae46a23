//! How soon the survivor knows. The promise is a tenth of a second from the kernel's closing the
//! dead process's files. Printed, not asserted: tests decide, benches measure.

use crate::support::{Peer, Watchdog, assert_nothing_left, hear, role, say, unique};
use crate::this_test;
use antiphon::{Channel, ChannelOptions, Error, Wait};
use std::time::{Duration, Instant};

/// Prints the least, the middle and the greatest delay for each `Wait`.
pub fn tell(what: &str, delays: &[(Wait, Duration)]) {
    let mut line = what.to_owned();
    for wait in [Wait::Spin, Wait::Park, Wait::Adaptive] {
        let mut own: Vec<Duration> = delays.iter().filter(|d| d.0 == wait).map(|d| d.1).collect();
        own.sort_unstable();
        if let (Some(least), Some(most)) = (own.first(), own.last()) {
            let ms = |time: &Duration| time.as_secs_f64() * 1e3;
            let middle = ms(&own[own.len() / 2]);
            line += &format!("; {wait:?} {:.1}/{middle:.1}/{:.1} ms", ms(least), ms(most));
        }
    }
    println!("{line}");
}

/// Killed at no particular step, at no particular time of the survivor's tick.
#[test]
fn the_survivor_of_a_kill_is_told_within_a_tenth_of_a_second() {
    const KILLS: u64 = 12;
    if let Some((what, args)) = role() {
        let channel = Channel::open(&args[0]).unwrap();
        if what == "consumer" {
            let mut consumer = channel.consumer().unwrap();
            say("ready");
            // It has the call, and dies with it.
            let _message = consumer.consume().unwrap();
            hear();
        } else {
            let _publisher = channel.publisher().unwrap();
            say("ready");
            hear();
        }
        return;
    }
    let test = this_test!();
    let mut dice = crate::support::Dice::new(1);
    let mut delays = Vec::new();
    for victim in ["publisher", "consumer"] {
        for wait in [Wait::Spin, Wait::Park, Wait::Adaptive] {
            for _ in 0..KILLS {
                let _watchdog = Watchdog::new("delay", Duration::from_secs(30));
                let name = unique("delay");
                let options = ChannelOptions::new().capacity(64 * 1024).wait(wait);
                let channel = options.create(&name).unwrap();
                // The survivor sits before the victim comes: its death is news then, whenever.
                let mut consumer = (victim == "publisher").then(|| channel.consumer().unwrap());
                let mut publisher = (victim == "consumer").then(|| channel.publisher().unwrap());
                let mut peer = Peer::start(test, victim, &[&name]);
                peer.expect("ready");
                let (at, told) = std::thread::scope(|scope| {
                    let survivor = scope.spawn(|| {
                        let consumed = consumer.as_mut().map(|end| end.consume().map(drop));
                        let called = publisher.as_mut().map(|end| end.call(b"a call").map(drop));
                        (Instant::now(), consumed.or(called).unwrap().unwrap_err())
                    });
                    // Not for something to happen: the kill shall come anywhere in the tick.
                    std::thread::sleep(Duration::from_micros(5000 + dice.below(45_000)));
                    peer.signal(libc::SIGKILL);
                    peer.wait();
                    let at = Instant::now();
                    let (told, error) = survivor.join().unwrap();
                    assert!(matches!(error, Error::PeerDied { .. }), "{error}");
                    (at, told)
                });
                delays.push((wait, told.saturating_duration_since(at)));
                drop((channel, consumer, publisher));
                assert_nothing_left(&name);
            }
        }
    }
    tell("told of a kill after, least/middle/most", &delays);
}
