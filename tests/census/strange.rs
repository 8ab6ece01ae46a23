//! What is strange about one entry, and must not be felt beside it; and kinds of channels, by real ones.

use crate::intruder::{Intruder, bell_path, has_paths};
use crate::support::{self, Peer, Watchdog, assert_nothing_left, can_be_another_user, hear, role, say, unique};
use crate::{MINE, SMALL, Thing, is_listed, is_orphaned, look, this_test, victim};
use antiphon::census::{Kind, Sitter, State};
use antiphon::{Channel, Error};
use std::sync::atomic::Ordering::Relaxed;

const NOBODY: u32 = 65534;

/// In a child that root made for it.
fn become_nobody() {
    // SAFETY: a number alone; this process is not asked for anything else afterwards.
    assert_eq!(unsafe { libc::setgid(NOBODY) }, 0);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setuid(NOBODY) }, 0);
}

/// From now on every `pread` of this process fails.
#[cfg(all(target_os = "linux", not(antiphon_darwin_rules)))]
fn refuse_pread() {
    let load = libc::sock_filter { code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, jt: 0, jf: 0, k: 0 };
    let is_pread = libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt: 0,
        jf: 1,
        k: libc::SYS_pread64 as u32,
    };
    let answer = |k| libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k };
    let refused = answer(libc::SECCOMP_RET_ERRNO | libc::EIO as u32);
    let mut filter = [load, is_pread, refused, answer(libc::SECCOMP_RET_ALLOW)];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: numbers alone.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: a program of that many instructions, which the kernel copies.
    let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

#[test]
#[cfg(all(target_os = "linux", not(antiphon_darwin_rules)))]
fn one_that_cannot_be_looked_at_hides_none_of_the_others() {
    if let Some((_, words)) = role() {
        refuse_pread();
        let entry = is_listed(&words[0]).expect("it is still listed");
        assert_eq!((entry.state, entry.kind), (State::Unreadable, Kind::Other));
        let cause = std::io::Error::from_raw_os_error(libc::EIO).to_string();
        assert!(entry.why.contains(&cause), "{}", entry.why);
        let refused = entry.remove(MINE().kept(true).all_users(true));
        assert!(matches!(refused, Err(Error::NotRemoved { .. })), "{refused:?}");
        assert!(is_listed(&words[1]).is_some(), "and so is the other one");
        return;
    }
    if !support::can_filter_calls(this_test!()) {
        return;
    }
    let _watchdog = Watchdog::new("cannot be looked at", support::PATIENCE);
    let (name, plain) = (unique("unread"), Thing::new(&unique("plain")));
    let _channel = SMALL.create(&name).unwrap();
    std::fs::write(plain.path(), b"").unwrap();
    Peer::start(this_test!(), "looks", &[&name, &plain.0]).succeed();
}

#[test]
fn a_channel_of_another_version_is_shown_as_a_channel_and_stays() {
    let _watchdog = Watchdog::new("another version", support::PATIENCE);
    let name = unique("version");
    let _channel = SMALL.create(&name).unwrap();
    let region = Intruder::new(&name);
    // Bytes 8 to 12: the layout's version.
    let ours = region.byte(8).swap(2, Relaxed);
    let entry = look(&name);
    region.byte(8).store(ours, Relaxed);
    assert_eq!((entry.kind, entry.state), (Kind::Channel, State::Foreign));
    assert_eq!(entry.why, format!("it has layout version 2 and this program knows {ours}"));
    region.byte(8).store(2, Relaxed);
    let refused = entry.remove(MINE().kept(true).all_users(true));
    region.byte(8).store(ours, Relaxed);
    assert!(matches!(refused, Err(Error::NotRemoved { .. })), "{refused:?}");
    assert_eq!(look(&name).state, State::InUse);
}

#[test]
fn a_channel_that_is_private_and_persistent_is_none() {
    let _watchdog = Watchdog::new("both flags", support::PATIENCE);
    let name = unique("flags");
    let _channel = SMALL.create(&name).unwrap();
    let region = Intruder::new(&name);
    // Bytes 20 to 24: the flags.
    region.byte(20).store(3, Relaxed);
    let entry = look(&name);
    let opened = Channel::open(&name);
    region.byte(20).store(0, Relaxed);
    assert!(matches!(opened, Err(Error::Incompatible { .. })), "{opened:?}");
    assert_eq!(entry.state, State::Foreign, "{}", entry.why);
}

#[test]
fn a_persistent_channel_stays_when_everybody_has_left_and_when_all_are_dead() {
    if let Some((_, words)) = role() {
        let _watchdog = Watchdog::new("holder", support::PATIENCE);
        let _publisher = SMALL.persistent(true).open_or_create(&words[0]).unwrap().publisher().unwrap();
        say("holding");
        hear();
        return;
    }
    let _watchdog = Watchdog::new("persistent", support::PATIENCE);
    let name = unique("persistent");
    drop(SMALL.persistent(true).create(&name).unwrap());
    let entry = look(&name);
    assert_eq!((entry.state, entry.why.as_str()), (State::Kept, "it is persistent; everybody has left"));
    let mut child = Peer::start(this_test!(), "hold", &[&name]);
    child.expect("holding");
    assert_eq!(look(&name).state, State::InUse);
    let refused = entry.remove(MINE().kept(true));
    assert!(matches!(refused, Err(Error::InUse { .. })), "{refused:?}");
    child.kill();
    let entry = look(&name);
    assert_eq!(entry.state, State::Kept, "{}", entry.why);
    assert!(entry.channel.as_ref().is_some_and(|seen| seen.is_persistent && seen.publisher.sitter == Sitter::Dead));
    let refused = entry.remove(MINE());
    assert!(matches!(&refused, Err(Error::NotRemoved { why, .. }) if why.contains("persistent")), "{refused:?}");
    entry.remove(MINE().kept(true)).unwrap();
    assert_nothing_left(&name);
}

#[test]
fn what_a_death_at_the_closing_of_a_private_channel_leaves_is_left_over_and_goes() {
    let test = this_test!();
    if let Some((_, words)) = role() {
        victim::follow(&words[0]);
        let channel = SMALL.private().unwrap();
        say(channel.name());
        let _publisher = channel.publisher().unwrap();
        let _consumer = channel.consumer().unwrap();
        return;
    }
    let _watchdog = Watchdog::new("private", support::PATIENCE);
    let private = antiphon::steps::ALL.iter().filter(|step| step.starts_with("private:"));
    let steps: Vec<&str> = private.chain(&["unlink:bell-gone", "unlink:bells-gone"]).copied().collect();
    assert!(steps.contains(&"private:marked"), "{steps:?}");
    for step in steps {
        let mut child = Peer::start(test, "dies", &[&format!("die {step} 1")]);
        let name = child.heard().unwrap();
        let _ = child.end();
        let left = is_listed(&name).or_else(|| is_orphaned(&name));
        assert_eq!(left.is_none(), step == "private:names-gone", "{step}: {left:?}");
        if let Some(entry) = left {
            assert_eq!(entry.state, State::LeftOver, "{step}: {}", entry.why);
            entry.remove(MINE()).unwrap_or_else(|error| panic!("{step}: {error}"));
        }
        assert_nothing_left(&name);
    }
}

#[test]
fn a_maker_that_was_taken_for_dead_before_it_came_to_the_door_makes_it_anew() {
    let test = this_test!();
    if let Some((_, words)) = role() {
        victim::follow(&words[1]);
        let _channel = SMALL.create(&words[0]).unwrap();
        say("made");
        hear();
        return;
    }
    let _watchdog = Watchdog::new("taken for dead", support::PATIENCE);
    let name = unique("early");
    let mut child = Peer::start(test, "maker", &[&name, "stop create:anchored"]);
    child.has_stopped();
    let entry = is_listed(&name).unwrap();
    assert_eq!(entry.state, State::LeftOver, "nothing shows that it lives: {}", entry.why);
    entry.remove(MINE()).unwrap();
    assert_nothing_left(&name);
    child.signal(libc::SIGCONT);
    child.expect("made");
    assert_eq!(look(&name).state, State::InUse);
    assert!(entry.remove(MINE()).is_err(), "it is another one");
    child.kill();
    look(&name).remove(MINE()).unwrap();
    assert_nothing_left(&name);
}

#[test]
fn a_umask_that_takes_everything_keeps_nobody_from_his_own_channel() {
    if let Some((_, words)) = role() {
        // SAFETY: a number, and it cannot fail.
        unsafe { libc::umask(0o777) };
        become_nobody(); // Root would be let in anyhow.
        let channel = SMALL.create(&words[0]).unwrap();
        drop(Channel::open(&words[0]).unwrap());
        drop(channel);
        return;
    }
    if !can_be_another_user(this_test!()) || !has_paths(this_test!()) {
        return;
    }
    let _watchdog = Watchdog::new("umask", support::PATIENCE);
    let name = unique("umask");
    Peer::start(this_test!(), "nobody", &[&name]).succeed();
    assert_nothing_left(&name);
}

#[test]
fn a_cleaner_that_never_rests_disturbs_nobody_who_makes_opens_or_closes() {
    if let Some((_, words)) = role() {
        say("cleaning");
        loop {
            for entry in antiphon::census::take().unwrap() {
                if entry.name.starts_with(&words[0]) {
                    // Refused mostly; what it does is seen by whoever makes channels meanwhile.
                    let _ = entry.remove(MINE().kept(true));
                }
            }
        }
    }
    let _watchdog = Watchdog::new("a cleaner", support::PATIENCE);
    let prefix = unique("restless");
    let mut cleaner = Peer::start(this_test!(), "cleaner", &[&prefix]);
    cleaner.expect("cleaning");
    for round in 0..300 {
        let name = format!("{prefix}{}", round % 3);
        let channel = match round % 2 {
            0 => SMALL.create(&name).unwrap(),
            _ => SMALL.open_or_create(&name).unwrap(),
        };
        let other = Channel::open(&name).unwrap();
        let (mut publisher, mut consumer) = (channel.publisher().unwrap(), other.consumer().unwrap());
        drop((channel, other));
        publisher.publish(b"to and fro").unwrap();
        assert_eq!(consumer.consume().unwrap().len(), 10);
        drop(publisher);
        assert!(Channel::open(&name).is_ok(), "the consumer holds it");
    }
    cleaner.kill();
    (0..3).for_each(|number| assert_nothing_left(&format!("{prefix}{number}")));
}

#[test]
fn semaphores_of_which_one_is_anothers_are_anothers() {
    if !can_be_another_user(this_test!()) || !has_paths(this_test!()) {
        return;
    }
    let _watchdog = Watchdog::new("two owners", support::PATIENCE);
    for bell in ["p", "c"] {
        let name = unique("owners");
        let channel = SMALL.create(&name).unwrap();
        std::fs::remove_file(format!("/dev/shm/{name}")).unwrap();
        drop(channel);
        std::os::unix::fs::chown(bell_path(&name, bell), Some(NOBODY), None).unwrap();
        let entry = is_orphaned(&name).unwrap();
        assert_eq!((entry.is_mine, entry.owner), (false, NOBODY), "{bell}");
        let refused = entry.remove(MINE());
        assert!(matches!(refused, Err(Error::NotRemoved { .. })), "{bell}: {refused:?}");
        entry.remove(MINE().all_users(true)).unwrap();
        assert!(is_orphaned(&name).is_none());
    }
}

#[test]
fn another_users_semaphores_that_may_not_be_removed_get_no_region() {
    if let Some((_, words)) = role() {
        become_nobody();
        let entry = is_orphaned(&words[0]).unwrap();
        let refused = entry.remove(MINE().all_users(true));
        assert!(matches!(refused, Err(Error::NotPermitted { .. })), "{refused:?}");
        let stands_there = || std::fs::exists(format!("/dev/shm/{}", words[0])).unwrap();
        assert!(!stands_there(), "what stood in for the region is gone");
        let made = SMALL.create(&words[0]);
        assert!(matches!(made, Err(Error::NotPermitted { .. })), "{made:?}");
        assert!(!stands_there(), "what was half made is gone");
        return;
    }
    if !can_be_another_user(this_test!()) || !has_paths(this_test!()) {
        return;
    }
    let _watchdog = Watchdog::new("not permitted", support::PATIENCE);
    let name = unique("anothers");
    let channel = SMALL.create(&name).unwrap();
    let region = Thing::new(&name);
    std::fs::remove_file(region.path()).unwrap();
    drop(channel);
    Peer::start(this_test!(), "nobody", &[&name]).succeed();
    is_orphaned(&name).unwrap().remove(MINE()).unwrap();
    assert_nothing_left(&name);
}
