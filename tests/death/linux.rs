//! Who is gone, as only Linux can confuse it: main threads that end first, pids that are used
//! again, pid namespaces, and views of /proc that hide the living.

use crate::exchange::exchange_fresh;
use crate::identity::{OPTIONS, PATIENCE, end_idle, fork_idle};
use crate::support::{Peer, Watchdog, assert_nothing_left, role, say, unique};
use crate::this_test;
use antiphon::{Channel, Error};
use std::process::{Command, Stdio};

/// `unshare` with these options, in front of the test's own binary; none where that is refused.
fn unshared(test: &str, options: &[&str], inner: &str) -> Option<Command> {
    let tried = Command::new("unshare")
        .args(options)
        .args(["sh", "-c", &format!("{inner} true")])
        .stderr(Stdio::null())
        .status();
    if !tried.is_ok_and(|status| status.success()) {
        println!("NOT RUN {test}: unshare {} is refused here", options.join(" "));
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(options).args(["sh", "-c", &format!("{inner} exec \"$0\" \"$@\"")]);
    command.arg(std::env::current_exe().unwrap());
    Some(command)
}

/// The main thread's file: an emulator makes up the one that a process has of itself.
fn stat_of(pid: &str) -> Option<(String, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.to_owned();
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// Opens, sits as a consumer, and answers until the other end leaves or the word to end comes.
fn answer(name: &str) {
    let channel = OPTIONS.open(name).unwrap();
    let mut consumer = channel.consumer().unwrap();
    say("seated");
    while let Ok(message) = consumer.consume() {
        message.reply(b"alive").unwrap();
    }
}

fn assert_alive(name: &str, channel: &Channel) {
    let refused = channel.consumer();
    assert!(matches!(refused, Err(Error::SeatTaken { .. })), "{refused:?}");
    let refused = OPTIONS.create(name);
    assert!(matches!(refused, Err(Error::InUse { .. })), "{refused:?}");
}

#[test]
fn a_process_whose_main_thread_ended_lives_on_in_its_seat() {
    if let Some((_, args)) = role() {
        extern "C" fn end_thread(_: libc::c_int) {
            // SAFETY: ends the calling thread, whatever it was at.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        }
        let handler = end_thread as extern "C" fn(libc::c_int);
        // SAFETY: the handler makes one system call.
        unsafe { libc::signal(libc::SIGUSR1, handler as libc::sighandler_t) };
        let pid = std::process::id();
        // SAFETY: to the main thread, which has the process's own number.
        unsafe { libc::syscall(libc::SYS_tgkill, pid, pid, libc::SIGUSR1) };
        while stat_of(&pid.to_string()).unwrap().0 != "Z" {
            std::thread::yield_now();
        }
        answer(&args[0]);
        std::process::exit(0);
    }
    let _watchdog = Watchdog::new("main thread", PATIENCE);
    let name = unique("main");
    let channel = OPTIONS.create(&name).unwrap();
    let mut publisher = channel.publisher().unwrap();
    let mut peer = Peer::start(this_test!(), "answer", &[&name]);
    peer.expect("seated");
    assert_eq!(stat_of(&peer.pid().to_string()).unwrap().0, "Z");
    assert_alive(&name, &channel);
    assert_eq!(publisher.call(b"?").unwrap(), b"alive");
    drop((publisher, channel));
    peer.succeed();
    assert_nothing_left(&name);
}

#[test]
fn whoever_has_a_dead_process_s_pid_is_not_that_process() {
    if let Some((what, args)) = role() {
        return match what.as_str() {
            "inside" => reuse(this_test!(), &args[0]),
            _ => crate::identity::sit_and_fork("consumer", &args),
        };
    }
    let test = this_test!();
    let _watchdog = Watchdog::new("reused pid", PATIENCE);
    let options = ["--pid", "--fork", "--kill-child", "--mount-proc"];
    let may = "test -w /proc/sys/kernel/ns_last_pid &&";
    let Some(command) = unshared(test, &options, may) else { return };
    let name = unique("reuse");
    let mut inside = Peer::start_with(command, test, "inside", &[&name]);
    inside.expect("right");
    inside.succeed();
    assert_nothing_left(&name);
}

/// In a pid namespace of its own, whose first process this is.
fn reuse(test: &str, name: &str) {
    let channel = OPTIONS.create(name).unwrap();
    let mut publisher = channel.publisher().unwrap();
    publisher.publish(&crate::body::body(1, 8)).unwrap();
    let mut victim = Peer::start(test, "consumer", &[name]);
    let child: i32 = victim.heard().unwrap().parse().unwrap();
    let pid = victim.pid() as i32;
    let started = stat_of(&pid.to_string()).unwrap().1;
    victim.kill();
    // Another one with its pid. Its time of birth is told in hundredths of a second.
    let other = loop {
        std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
        let other = fork_idle();
        if other == pid && stat_of(&pid.to_string()).unwrap().1 != started {
            break other;
        }
        end_idle(other);
        // SAFETY: a child of this process, which was just killed.
        unsafe { libc::waitpid(other, std::ptr::null_mut(), 0) };
    };
    let error = publisher.publish(&crate::body::body(2, 8)).unwrap_err();
    assert!(matches!(error, Error::PeerDied { .. }), "{error}");
    let mut consumer = channel.consumer().unwrap();
    assert!(consumer.consume().unwrap().redelivered());
    exchange_fresh(&mut publisher, &mut consumer);
    drop((publisher, consumer, channel));
    say("right");
    end_idle(child);
    end_idle(other);
}

#[test]
fn across_pid_namespaces_the_living_and_the_dead_are_told_apart() {
    if let Some((_, args)) = role() {
        return answer(&args[0]);
    }
    let test = this_test!();
    for options in [&["--pid", "--fork"][..], &["--pid", "--fork", "--mount-proc"]] {
        let _watchdog = Watchdog::new("two namespaces", PATIENCE);
        let Some(command) = unshared(test, &[options, &["--kill-child"]].concat(), "") else {
            return;
        };
        let name = unique("spaces");
        let channel = OPTIONS.create(&name).unwrap();
        let mut publisher = channel.publisher().unwrap();
        let mut peer = Peer::start_with(command, test, "answer", &[&name]);
        peer.expect("seated");
        assert_alive(&name, &channel);
        assert_eq!(publisher.call(b"?").unwrap(), b"alive");
        peer.kill(); // unshare, which takes the other with it.
        let error = publisher.call(b"?").unwrap_err();
        assert!(matches!(error, Error::PeerDied { .. }), "{error}");
        exchange_fresh(&mut publisher, &mut channel.consumer().unwrap());
        drop((publisher, channel));
        assert_nothing_left(&name);
    }
}

/// Holder and prober share a pid namespace and a view of /proc that the options make: whatever
/// that shows, who lives is not taken for dead.
fn inside_the_holder_is_seen_alive(test: &str, options: &[&str], inner: &str) {
    if let Some((what, args)) = role() {
        return match what.as_str() {
            "inside" => {
                let channel = OPTIONS.create(&args[0]).unwrap();
                let mut publisher = channel.publisher().unwrap();
                let command = Command::new(&args[1]);
                let mut peer = Peer::start_with(command, test, "answer", &[&args[0]]);
                peer.expect("seated");
                assert_alive(&args[0], &channel);
                assert_eq!(publisher.call(b"?").unwrap(), b"alive");
                peer.kill();
                let error = publisher.call(b"?").unwrap_err();
                assert!(matches!(error, Error::PeerDied { .. }), "{error}");
                exchange_fresh(&mut publisher, &mut channel.consumer().unwrap());
                drop((publisher, channel));
                say("right");
            }
            _ => answer(&args[0]),
        };
    }
    let _watchdog = Watchdog::new(test, PATIENCE);
    let Some(command) = unshared(test, options, inner) else { return };
    let name = unique("view");
    let exe = std::env::current_exe().unwrap();
    let args = [&name, exe.to_str().unwrap()];
    let mut inside = Peer::start_with(command, test, "inside", &args);
    let said = inside.heard();
    if said.is_none() {
        let _ = Channel::unlink(&name); // The failure is on the standard error output.
    }
    assert_eq!(said.as_deref(), Some("right"));
    inside.succeed();
    assert_nothing_left(&name);
}

#[test]
fn a_proc_of_another_pid_namespace_makes_nobody_dead() {
    // Pids that /proc, which is the outer one's, has not got.
    let inner = "echo 30000 > /proc/sys/kernel/ns_last_pid && test ! -e /proc/30002 &&";
    inside_the_holder_is_seen_alive(this_test!(), &["--pid", "--fork", "--kill-child"], inner);
}

#[test]
fn no_proc_at_all_makes_nobody_dead() {
    let inner = "mount -t tmpfs none /proc &&";
    let options = ["--pid", "--fork", "--kill-child", "--mount"];
    inside_the_holder_is_seen_alive(this_test!(), &options, inner);
}

#[test]
fn another_time_namespace_makes_nobody_dead() {
    if let Some((_, args)) = role() {
        return answer(&args[0]);
    }
    let test = this_test!();
    let _watchdog = Watchdog::new(test, PATIENCE);
    let options = ["--time", "--boottime", "100000", "--fork", "--kill-child"];
    let Some(command) = unshared(test, &options, "") else { return };
    let name = unique("time");
    let channel = OPTIONS.create(&name).unwrap();
    let mut publisher = channel.publisher().unwrap();
    let mut peer = Peer::start_with(command, test, "answer", &[&name]);
    peer.expect("seated");
    assert_alive(&name, &channel);
    assert_eq!(publisher.call(b"?").unwrap(), b"alive");
    drop((publisher, channel));
    peer.succeed();
    assert_nothing_left(&name);
}

#[test]
fn a_proc_that_hides_the_processes_of_others_makes_nobody_dead() {
    if let Some((what, args)) = role() {
        if what == "probe" {
            let taken = OPTIONS.open(&args[0]).unwrap().consumer();
            return say(matches!(taken, Err(Error::SeatTaken { .. })));
        }
        let channel = OPTIONS.mode(0o666).create(&args[0]).unwrap();
        let _consumer = channel.consumer().unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", &args[1]]);
        let mut probe = Peer::start_with(command, this_test!(), "probe", &args_of(&args));
        let said = probe.heard();
        return say(said.unwrap_or_default());
    }
    let test = this_test!();
    let _watchdog = Watchdog::new(test, PATIENCE);
    let inner = "mount -t proc -o hidepid=2 proc /proc &&";
    let options = ["--pid", "--fork", "--kill-child", "--mount"];
    let Some(command) = unshared(test, &options, inner) else { return };
    let exe = std::env::current_exe().unwrap();
    let exe = exe.to_str().unwrap();
    let may = format!("setpriv --reuid 65534 --regid 65534 --clear-groups {exe} --list >/dev/null");
    if !Command::new("sh").args(["-c", &may]).status().unwrap().success() {
        return println!("NOT RUN {test}: another user cannot run this binary");
    }
    let name = unique("hide");
    let mut inside = Peer::start_with(command, test, "inside", &[&name, exe]);
    inside.expect("true");
    inside.succeed();
    assert_nothing_left(&name);
}

fn args_of(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}
