//! `session`, `put`, `get` and `files`, with real files, full disks and real kills.

use crate::support::{PATIENCE, Watchdog, names_in_shm};
use crate::{Scratch, text};
use antiphon::census::{RemoveOptions, State};
use antiphon::session::Session;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A session of a process of its own. Dropped, it is interrupted, and has to leave nothing.
struct Hosted {
    child: Child,
    id: String,
}

impl Hosted {
    fn new() -> Hosted {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        Self::of(&format!("{:08X}{nth:08X}", std::process::id()))
    }

    fn of(id: &str) -> Hosted {
        let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
        command.args(["session", "--api", "--blocksize", "64K", "--blocks", "4", "--session", id]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said.trim(), id);
        Hosted { child, id: id.to_owned() }
    }

    fn session(&self) -> Session {
        Session::connect(u64::from_str_radix(&self.id, 16).unwrap()).unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
        command.args(args).env("ANTIPHON_SESSION", &self.id);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn start(&self, args: &[&str]) -> Child {
        self.command(args).spawn().unwrap()
    }

    fn run(&self, args: &[&str]) -> Output {
        self.start(args).wait_with_output().unwrap()
    }

    /// Sends and receives, both of which have to go well.
    fn move_over(&self, from: &str, to: &str) {
        let put = self.start(&["put", from, "--name", "name", "--replace"]);
        self.wait_for_writer(put.id());
        let got = self.run(&["get", "name", "--into", to]);
        let put = put.wait_with_output().unwrap();
        assert!(put.status.success() && got.status.success(), "{put:?} {got:?}");
    }

    /// Until this process writes the file, or has written it.
    fn wait_for_writer(&self, pid: u32) {
        let session = self.session();
        loop {
            let parts = session.identify(b"name").unwrap_or_default();
            let is_its = |state: antiphon::blocks::FileState| {
                state.is_ending || state.holders.iter().any(|holder| holder.pid == pid && holder.writes)
            };
            if parts.iter().any(|part| session.state(part.id).is_ok_and(is_its)) {
                return;
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        // SAFETY: a plain system call on a child that was not waited for.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGINT) };
        let status = self.child.wait().unwrap();
        if std::thread::panicking() {
            return;
        }
        assert!(status.success(), "{status}");
        let left: Vec<_> = names_in_shm().into_iter().filter(|name| name.contains(&self.id)).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// Bytes that tell their place.
fn bytes(len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

fn assert_same_trees(from: &str, to: &str) {
    let output = Command::new("diff").args(["-r", "--no-dereference", from, to]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stdout));
}

fn plant(top: &str, small_files: usize) {
    fs::create_dir_all(format!("{top}/deep/deeper")).unwrap();
    fs::create_dir(format!("{top}/empty")).unwrap();
    fs::write(format!("{top}/deep/long"), bytes(700_001)).unwrap();
    std::os::unix::fs::symlink("deep/long", format!("{top}/link")).unwrap();
    for nth in 0..small_files {
        let folder = format!("{top}/deep/deeper/{}", nth / 1000);
        if nth % 1000 == 0 {
            fs::create_dir(&folder).unwrap();
        }
        fs::write(format!("{folder}/{nth}"), &bytes(700)[..nth % 700]).unwrap();
    }
}

#[test]
fn what_tar_writes_comes_through_a_session_to_another_tar() {
    let _watchdog = Watchdog::new("tar", PATIENCE);
    let (hosted, scratch) = (Hosted::new(), Scratch::new("tar"));
    plant(&scratch.file("from"), 300);
    fs::create_dir(scratch.file("to")).unwrap();
    let shell = r#"cd "$1" && tar c from | "$2" put - --name tree.tar &
        cd "$1/to" && "$2" get tree.tar --into - | tar x && wait $!"#;
    let mut command = hosted.command(&[]);
    command = {
        let mut shell_command = Command::new("bash");
        shell_command.args([
            "-c",
            &format!("set -o pipefail; {shell}"),
            "bash",
            &scratch.file(""),
            env!("CARGO_BIN_EXE_antiphon"),
        ]);
        shell_command.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
        shell_command
    };
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_same_trees(&scratch.file("from"), &scratch.file("to/from"));
}

/// As many small files as `ANTIPHON_MANY_FILES` says, else 2,000.
#[test]
fn many_small_files_arrive_as_they_are() {
    let _watchdog = Watchdog::new("many small files", PATIENCE * 10);
    let count = std::env::var("ANTIPHON_MANY_FILES").map_or(2000, |count| count.parse().unwrap());
    let (hosted, scratch) = (Hosted::new(), Scratch::new("many"));
    let (from, to) = (scratch.file("from"), scratch.file("to"));
    plant(&from, count);
    fs::create_dir(&to).unwrap();
    let began = Instant::now();
    hosted.move_over(&from, &to);
    println!("{count} files in {:?}", began.elapsed());
    assert_same_trees(&from, &format!("{to}/name"));
    assert_eq!(fs::read_dir(&to).unwrap().count(), 1, "something half written");
}

#[test]
fn several_names_are_put_listed_and_got_in_words_and_json() {
    let _watchdog = Watchdog::new("names", PATIENCE);
    let (hosted, scratch) = (Hosted::new(), Scratch::new("names"));
    let (one, two, to) = (scratch.file("one"), scratch.file("two"), scratch.file("to"));
    fs::write(&one, b"one").unwrap();
    fs::create_dir(&two).unwrap();
    fs::write(format!("{two}/inside"), b"inside").unwrap();
    fs::create_dir(&to).unwrap();
    assert_eq!(text(&hosted.run(&["files"]).stdout), format!("There is no file in session {}.\n", hosted.id));
    let put = hosted.run(&["put", &one, &two]);
    assert!(put.status.success(), "{put:?}");
    let said = text(&put.stdout);
    assert!(said.starts_with("put one: 3 B in ") && said.contains("\nput two: 1 file, 6 B in "), "{said}");
    let listed = text(&hosted.run(&["files"]).stdout);
    assert!(listed.contains("one   file        3 B"), "{listed}");
    assert!(listed.contains("two   directory     -"), "{listed}");
    for line in text(&hosted.run(&["files", "--json"]).stdout).lines() {
        let file: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(file["kind"].is_string() && file["parts"][0]["id"].is_string(), "{file}");
    }
    let again = hosted.run(&["put", &one, "--json"]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    let failure: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert!(failure["error"].as_str().unwrap().contains("is ending"), "{failure}");
    let got = hosted.run(&["get", "one", "two", "nothing", "--into", &to, "--timeout", "0.2", "--json"]);
    assert_eq!(got.status.code(), Some(1), "what was not there is told by the status: {got:?}");
    let lines: Vec<serde_json::Value> =
        text(&got.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["bytes"], &lines[1]["files"]), (&3.into(), &1.into()), "{lines:?}");
    assert!(lines[2]["error"].is_string(), "{lines:?}");
    assert_eq!(fs::read(format!("{to}/one")).unwrap(), b"one");
    assert_eq!(fs::read(format!("{to}/two/inside")).unwrap(), b"inside");
}

#[test]
fn a_get_writes_nowhere_but_below_its_directory() {
    let _watchdog = Watchdog::new("below", PATIENCE);
    let (hosted, scratch) = (Hosted::new(), Scratch::new("below"));
    let (from, to, outside) = (scratch.file("from"), scratch.file("to"), scratch.file("outside"));
    fs::write(&from, b"evil").unwrap();
    fs::create_dir(&to).unwrap();
    fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, format!("{to}/link")).unwrap();
    assert!(Command::new("mkfifo").arg(format!("{to}/fifo")).status().unwrap().success());
    let absolute = format!("{outside}/file");
    for name in ["../outside/file", "link/file", "fifo", &absolute] {
        assert!(hosted.run(&["put", &from, "--name", name]).status.success());
        let got = hosted.run(&["get", name, "--into", &to]);
        assert_eq!(got.status.code(), Some(1), "{name}: {got:?}");
        assert!(text(&got.stderr).contains("is not written below the directory"), "{got:?}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{name}");
        let _ = hosted.session().cancel(name.as_bytes(), "it was refused");
    }
}

/// Runs a get with a small tmpfs, or a read-only one, for its directory; nothing where the system does not let us.
fn get_into_tmpfs(hosted: &Hosted, folder: &str, options: &str) -> Option<Output> {
    let script = r#"mount -t tmpfs -o "$1" none "$2" || exit 99; "$3" get name --into "$2"; status=$?; ls -A "$2"; exit $status"#;
    let mut command = Command::new("unshare");
    command.args(["-Urm", "sh", "-c", script, "sh", options, folder, env!("CARGO_BIN_EXE_antiphon")]);
    command.env("ANTIPHON_SESSION", &hosted.id).stdin(Stdio::null());
    let output = command.output().ok()?;
    let is_refused = output.status.code() == Some(99) || text(&output.stderr).starts_with("unshare");
    (!is_refused).then_some(output)
}

#[test]
fn full_and_read_only_disks_are_named_at_both_ends_and_hold_nothing() {
    let _watchdog = Watchdog::new("full disks", PATIENCE);
    let (hosted, scratch) = (Hosted::new(), Scratch::new("full"));
    let (from, to) = (scratch.file("from"), scratch.file("to"));
    fs::write(&from, bytes(3_000_000)).unwrap();
    fs::create_dir(&to).unwrap();
    for (options, why) in [("size=1m", "make room there"), ("ro", "choose another place")] {
        let put = hosted.start(&["put", &from, "--name", "name"]);
        hosted.wait_for_writer(put.id());
        let Some(got) = get_into_tmpfs(&hosted, &to, options) else {
            println!("NOT RUN full_and_read_only_disks_are_named_at_both_ends_and_hold_nothing: no mount for us");
            hosted.session().cancel(b"name", "not run").unwrap();
            put.wait_with_output().unwrap();
            return;
        };
        let put = put.wait_with_output().unwrap();
        assert_eq!((got.status.code(), put.status.code()), (Some(1), Some(1)), "{got:?} {put:?}");
        assert!(text(&got.stderr).contains(why), "{got:?}");
        assert!(text(&put.stderr).contains(why), "the sender is told why: {put:?}");
        assert_eq!(text(&got.stdout), "", "something stands there: {got:?}");
    }
    hosted.move_over(&from, &to);
    assert_eq!(fs::read(format!("{to}/name")).unwrap(), bytes(3_000_000));
}

/// Kills one of the three at many moments, of a file and of a directory: nobody hangs, there is no partial file, and a
/// second run does what the first did not.
fn is_killed_at_any_moment(victim: usize) {
    let _watchdog = Watchdog::new("kills", PATIENCE * 4);
    let scratch = Scratch::new("kills");
    let (file, tree, to) = (scratch.file("file"), scratch.file("tree"), scratch.file("to"));
    fs::write(&file, bytes(3_000_003)).unwrap();
    plant(&tree, 400);
    let mut hosted = Hosted::new();
    for round in 0..24 {
        let from = if round % 2 == 0 { &file } else { &tree };
        fs::create_dir(&to).unwrap();
        let mut put = hosted.start(&["put", from, "--name", "name", "--timeout", "0.5"]);
        let mut get = hosted.start(&["get", "name", "--into", &to, "--timeout", "0.5"]);
        // A moment as any other: how long it is does not matter.
        let moment = Instant::now() + Duration::from_micros(round * round * 150);
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        match victim {
            0 => put.kill().unwrap(),
            1 => get.kill().unwrap(),
            _ => {
                hosted.child.kill().unwrap();
                hosted.child.wait().unwrap();
            }
        }
        let got = get.wait_with_output().unwrap();
        let arrived = format!("{to}/name");
        if from == &file && Path::new(&arrived).exists() {
            assert!(fs::read(&arrived).unwrap() == bytes(3_000_003), "a partial file, round {round}");
        }
        if victim > 1 {
            // Its drop would interrupt what is dead.
            let id = hosted.id.clone();
            std::mem::forget(std::mem::replace(&mut hosted, Hosted::of(&id)));
        }
        // A sender that nobody has received from waits for that.
        let mut again = None;
        while put.try_wait().unwrap().is_none() {
            again = Some(hosted.run(&["get", "name", "--into", &to, "--timeout", "0.5"]));
        }
        let put = put.wait_with_output().unwrap();
        for output in [&put, &got].into_iter().chain(&again) {
            // Killed, or told why, or quicker.
            let is_told = output.status.success() || !output.stderr.is_empty() || output.status.code().is_none();
            assert!(is_told, "{output:?}");
        }
        let has_come = [Some(&got), again.as_ref()].into_iter().flatten().any(|output| output.status.success());
        if !has_come {
            hosted.move_over(from, &to);
        }
        match from == &file {
            true => assert!(fs::read(&arrived).unwrap() == bytes(3_000_003), "round {round}"),
            false => assert_same_trees(from, &arrived),
        }
        let half: Vec<_> = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(half, ["name"], "round {round}");
        fs::remove_dir_all(&to).unwrap();
    }
    // Who is killed when all others have let go of a file leaves it to whoever clears up.
    let id = u64::from_str_radix(&hosted.id, 16).ok();
    for entry in antiphon::census::take().unwrap() {
        if entry.session == id && entry.state == State::LeftOver {
            entry.remove(RemoveOptions::new()).unwrap();
        }
    }
}

#[test]
fn a_put_that_is_killed_at_any_moment_leaves_no_partial_file() {
    is_killed_at_any_moment(0);
}

#[test]
fn a_get_that_is_killed_at_any_moment_leaves_no_partial_file() {
    is_killed_at_any_moment(1);
}

#[test]
fn a_session_that_is_killed_at_any_moment_leaves_no_partial_file() {
    is_killed_at_any_moment(2);
}

#[test]
fn a_session_that_is_not_there_is_named_with_the_way_out() {
    let _watchdog = Watchdog::new("no session", PATIENCE);
    let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
    let output = command.args(["files", "--session", "BAD5E55", "--timeout", "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        text(&output.stderr).contains("0000000000BAD5E5") || text(&output.stderr).contains("BAD5E55"),
        "{output:?}"
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
    let output = command.args(["files"]).env("ANTIPHON_SESSION", "what").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("ANTIPHON_SESSION is no session"), "{output:?}");
}
