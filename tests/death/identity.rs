//! Who is gone: a dead process whose child keeps its locks, and one that nobody has waited for.

use crate::body::body;
use crate::delay::tell;
use crate::exchange::exchange_fresh;
use crate::support::{Peer, Watchdog, assert_nothing_left, hear, role, say, unique};
use crate::this_test;
use crate::victim::{Plan, follow, is_stopped, on_step};
use antiphon::{Channel, ChannelOptions, Error, Wait};
use std::time::{Duration, Instant};

pub const OPTIONS: ChannelOptions = ChannelOptions::new().capacity(64 * 1024);
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A process of its own that does nothing, with every descriptor of this one but the standard ones.
pub fn fork_idle() -> i32 {
    // SAFETY: the child makes a few system calls, which are all allowed there.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        // The test reads the standard ones to their end: they have to close with the parent.
        for fd in 0..3 {
            // SAFETY: nothing of the child's uses them.
            unsafe { libc::close(fd) };
        }
        loop {
            // SAFETY: sleeps until the child is killed.
            unsafe { libc::pause() };
        }
    }
    child
}

/// Ends a process that `fork_idle` made, in whatever process.
pub fn end_idle(pid: i32) {
    // SAFETY: a plain system call on a process that this test made.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
}

/// Sits down, forks, and waits to be killed. With a message or a call in hand as a consumer.
pub fn sit_and_fork(what: &str, args: &[String]) {
    let channel = OPTIONS.open(&args[0]).unwrap();
    let _publisher = (what == "publisher").then(|| channel.publisher().unwrap());
    let mut consumer = (what == "consumer").then(|| channel.consumer().unwrap());
    let _message = consumer.as_mut().map(|consumer| consumer.consume().unwrap());
    say(fork_idle());
    hear();
}

/// Waits until the process is a zombie that somebody has to wait for, and does not.
fn becomes_zombie(pid: u32) {
    // SAFETY: a `siginfo_t` is plain data.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: waits for a child of this process, and leaves it to be waited for.
    let done = unsafe { libc::waitid(libc::P_PID, pid as libc::id_t, &raw mut info, libc::WEXITED | libc::WNOWAIT) };
    assert_eq!(done, 0);
}

#[test]
fn a_dead_process_whose_child_keeps_its_locks_is_dead() {
    if let Some((what, args)) = role() {
        return sit_and_fork(&what, &args);
    }
    let mut delays = Vec::new();
    for wait in [Wait::Spin, Wait::Park, Wait::Adaptive] {
        for stays_zombie in [false, true] {
            let _watchdog = Watchdog::new(format!("kept locks {wait:?}"), PATIENCE);
            let name = unique("fork");
            let channel = OPTIONS.wait(wait).create(&name).unwrap();
            let mut publisher = channel.publisher().unwrap();
            publisher.publish(&body(1, 8)).unwrap();
            let mut victim = Peer::start(this_test!(), "consumer", &[&name]);
            let child: i32 = victim.heard().unwrap().parse().unwrap();
            victim.signal(libc::SIGKILL);
            becomes_zombie(victim.pid());
            let at = Instant::now();
            if !stays_zombie {
                victim.wait();
            }
            // Its message stands there still: so this one has to wait for it.
            let error = publisher.publish(&body(2, 8)).unwrap_err();
            delays.push((wait, at.elapsed()));
            assert!(matches!(error, Error::PeerDied { pid, .. } if pid == victim.pid()), "{error}");
            let mut consumer = Channel::open(&name).unwrap().consumer().unwrap();
            let message = consumer.consume().unwrap();
            assert!(message.redelivered());
            drop(message);
            exchange_fresh(&mut publisher, &mut consumer);
            drop((publisher, consumer, channel));
            assert_nothing_left(&name);
            end_idle(child);
        }
    }
    tell("told of one whose child keeps the locks after", &delays);
}

/// As above, for one who has watched it live for a while: by then it is a watch on the process's end that tells.
#[test]
fn a_death_that_was_watched_for_is_told_though_a_child_keeps_the_locks() {
    if let Some((what, args)) = role() {
        return sit_and_fork(&what, &args);
    }
    for wait in [Wait::Spin, Wait::Park] {
        for stays_zombie in [false, true] {
            let _watchdog = Watchdog::new(format!("watched {wait:?}"), PATIENCE);
            let name = unique("watched");
            let channel = OPTIONS.wait(wait).create(&name).unwrap();
            let mut publisher = channel.publisher().unwrap();
            publisher.publish(&body(1, 8)).unwrap();
            let mut victim = Peer::start(this_test!(), "consumer", &[&name]);
            let child: i32 = victim.heard().unwrap().parse().unwrap();
            // Some ticks, and so some looks at it.
            let late = publisher.publish_timeout(&body(2, 8), Duration::from_millis(200));
            assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
            victim.signal(libc::SIGKILL);
            becomes_zombie(victim.pid());
            if !stays_zombie {
                victim.wait();
            }
            let error = publisher.publish(&body(2, 8)).unwrap_err();
            assert!(matches!(error, Error::PeerDied { pid, .. } if pid == victim.pid()), "{error}");
            drop((publisher, Channel::open(&name).unwrap().consumer().unwrap().consume().unwrap()));
            drop(channel);
            assert_nothing_left(&name);
            end_idle(child);
        }
    }
}

#[test]
fn a_seat_is_free_for_who_waits_for_it_though_the_dead_holders_child_keeps_its_lock() {
    if let Some((what, args)) = role() {
        return sit_and_fork(&what, &args);
    }
    let mut delays = Vec::new();
    for _ in 0..6 {
        let _watchdog = Watchdog::new("waits for a kept lock", PATIENCE);
        let name = unique("fork");
        let channel = OPTIONS.create(&name).unwrap();
        let mut victim = Peer::start(this_test!(), "publisher", &[&name]);
        let child: i32 = victim.heard().unwrap().parse().unwrap();
        let (refused, was_refused) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| {
                // The end of an attempt, which has found the seat taken.
                on_step(move |step| {
                    if step == "attach:seated" {
                        let _ = refused.send(());
                    }
                });
                let publisher = channel.publisher_timeout(Duration::MAX).unwrap();
                (Instant::now(), publisher)
            });
            was_refused.recv().unwrap();
            victim.kill();
            let at = Instant::now();
            let (got, _publisher) = waits.join().unwrap();
            delays.push((Wait::default(), got.saturating_duration_since(at)));
        });
        drop(channel);
        assert_nothing_left(&name);
        end_idle(child);
    }
    tell("got the seat of one whose child keeps its lock after", &delays);
}

#[test]
fn a_name_whose_dead_holders_child_keeps_the_locks_is_reclaimed() {
    if let Some((what, args)) = role() {
        let _made = OPTIONS.create(&args[0]).unwrap();
        return sit_and_fork(&what, &args);
    }
    for stays_zombie in [false, true] {
        let _watchdog = Watchdog::new("reclaims", PATIENCE);
        let name = unique("fork");
        let mut victim = Peer::start(this_test!(), "publisher", &[&name]);
        let child: i32 = victim.heard().unwrap().parse().unwrap();
        let refused = OPTIONS.create(&name);
        assert!(matches!(refused, Err(Error::InUse { .. })), "{refused:?}");
        victim.signal(libc::SIGKILL);
        becomes_zombie(victim.pid());
        if !stays_zombie {
            victim.wait();
        }
        let channel = OPTIONS.create(&name).unwrap();
        exchange_fresh(&mut channel.publisher().unwrap(), &mut channel.consumer().unwrap());
        drop(channel);
        assert_nothing_left(&name);
        end_idle(child);
    }
}

/// The last publisher has left its seat, and lives; the next is slow to take it, so that its record still names the last.
/// What becomes of that one says nothing of the next.
#[test]
fn who_sat_in_a_seat_before_dies_for_itself_alone() {
    if let Some((what, args)) = role() {
        let channel = Channel::open(&args[0]).unwrap();
        if what == "before" {
            drop(channel.publisher().unwrap());
            say("left");
            hear();
            return;
        }
        say("opens");
        hear();
        follow(&args[1]);
        let _publisher = channel.publisher().unwrap();
        say("sits");
        hear();
        return;
    }
    let stops = Plan::Stop { step: "attach:repaired".to_owned() }.to_word();
    for wait in [Wait::Spin, Wait::Park, Wait::Adaptive] {
        let _watchdog = Watchdog::new("before", PATIENCE);
        let name = unique("before");
        let channel = OPTIONS.wait(wait).create(&name).unwrap();
        let mut consumer = channel.consumer().unwrap();
        let mut before = Peer::start(this_test!(), "before", &[&name, &stops]);
        before.expect("left");
        let mut next = Peer::start(this_test!(), "next", &[&name, &stops]);
        next.expect("opens");
        next.tell("go");
        assert!(is_stopped(next.pid()));
        // Looks around a few times: processes and all.
        let mut wait_in_vain = |may_have_left: bool| {
            let nothing = consumer.consume_timeout(Duration::from_millis(200)).map(drop);
            let is_right = match nothing {
                Err(Error::TimedOut { .. }) => true,
                Err(Error::Disconnected { .. }) => may_have_left,
                _ => false,
            };
            assert!(is_right, "{wait:?}: {nothing:?}");
        };
        wait_in_vain(true);
        wait_in_vain(true);
        next.signal(libc::SIGCONT);
        next.expect("sits");
        wait_in_vain(true);
        before.kill();
        wait_in_vain(false);
        next.tell("go");
        next.succeed();
        drop((consumer, channel));
        assert_nothing_left(&name);
    }
}
