//! What can be seen of a Linux machine: files of /proc and /sys, as `proc(5)` and the kernel's documentation have them.

use super::files::Files;
use super::finding::Finding;
use super::limits::REGION_BYTES;
use super::{cgroup, logind};
use crate::style::{bytes, count};
use antiphon::machine::{self, Space};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

const SHM: &str = "/dev/shm";
/// What a container is given unasked.
const SMALL: u64 = 64 << 20;

/// `is_tried`: whether an object may be made to see what it gets.
pub fn examine(is_tried: bool) -> Vec<Finding> {
    let files = &Files::of_this_machine();
    let version = files.read("/proc/sys/kernel/osrelease");
    let huge = is_tried.then(machine::try_huge_page);
    vec![
        kernel(version.as_deref(), machine::has_exit_watch()),
        Finding::ok("C library", machine::libc()).means("Both ends of a channel have to use the same one."),
        space(machine::space(&files.path(SHM))),
        mount(files.mount(SHM), files.is_there("/proc/self/mounts")),
        rights(files, machine::user(), machine::check_writable(&files.path(SHM))),
        huge_pages(files, huge, version.as_deref().and_then(number)),
        processors(files, &machine::allowed_processors()),
        quota(cgroup::processors(files), files.is_there("/proc/self/cgroup")),
        memory(cgroup::memory(files), files.is_there("/proc/self/cgroup")),
        nodes(files),
        stolen(files),
        governor(files),
        logind::examine(files, machine::user()),
        processes(files),
        umask(files),
    ]
}

/// The first two numbers of a kernel's release.
fn number(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn kernel(release: Option<&str>, has_exit_watch: bool) -> Finding {
    const TOPIC: &str = "kernel";
    let Some((release, version)) = release.and_then(|release| Some((release, number(release)?))) else {
        return Finding::hidden(TOPIC, "/proc/sys/kernel/osrelease cannot be read.");
    };
    if version < (3, 15) {
        return Finding::problem(TOPIC, release)
            .means("Locks that belong to a descriptor came with Linux 3.15, and antiphon needs them.")
            .advise("Use a newer kernel.", &[]);
    }
    let mut lacks = Vec::new();
    if !has_exit_watch {
        let why = match version < (5, 3) {
            true => "pidfd_open came with Linux 5.3",
            false => "a sandbox refuses pidfd_open, or /proc is not this namespace's",
        };
        lacks.push(format!("A process's end cannot be watched, and looking for it costs more: {why}."));
    }
    if version < (6, 1) {
        lacks.push("MADV_COLLAPSE came with Linux 6.1: channels have small pages.".to_owned());
    }
    if lacks.is_empty() {
        return Finding::ok(TOPIC, release).means("It has all that antiphon makes use of.");
    }
    Finding::note(TOPIC, release).means(lacks.join(" "))
}

fn space(space: io::Result<Space>) -> Finding {
    const TOPIC: &str = SHM;
    const LARGER: (&str, [&str; 2]) = (
        "To make it larger, until the next start; for a container, when it is started:",
        ["sudo mount -o remount,size=1G /dev/shm", "docker run --shm-size=1g ..."],
    );
    const FILLED: (&str, [&str; 2]) =
        ("See what killed programs have left, and what else fills it:", ["antiphon clean", "ls -lS /dev/shm"]);
    let space = match space {
        Ok(space) => space,
        Err(error) => {
            return Finding::problem(TOPIC, "not there")
                .means(format!("Shared memory has no place: {error}."))
                .advise(
                    "Have it mounted:",
                    &["sudo mkdir -p /dev/shm", "sudo mount -t tmpfs -o mode=1777 shm /dev/shm"],
                );
        }
    };
    if space.bytes == 0 {
        return Finding::ok(TOPIC, "no limit").means("Only memory and swap bound it.");
    }
    let figure = format!("{} free of {}", bytes(space.bytes_free), bytes(space.bytes));
    // Three files a channel.
    if space.files > 0 && space.files_free < 3 {
        return Finding::problem(TOPIC, figure)
            .means(format!("It has room for {} more files, and a channel has three.", space.files_free))
            .advise(
                "See what killed programs have left and what else fills it, or let it have more files:",
                &["antiphon clean", "ls -l /dev/shm", "sudo mount -o remount,nr_inodes=1M /dev/shm"],
            );
    }
    let room = space.bytes_free / REGION_BYTES;
    if room == 0 {
        let finding = Finding::problem(TOPIC, figure).means("A channel of 4 MiB has no room.");
        return match space.bytes > SMALL {
            true => finding.advise(FILLED.0, &FILLED.1),
            false => finding.advise(LARGER.0, &LARGER.1),
        };
    }
    let meaning = format!("Room for {} channels of 4 MiB.", count(room));
    if space.bytes <= SMALL {
        return Finding::warning(TOPIC, figure)
            .means(format!("{meaning} So small it is in a container that was not given more."))
            .advise(LARGER.0, &LARGER.1);
    }
    if space.bytes_free < SMALL {
        return Finding::warning(TOPIC, figure).means(meaning).advise(FILLED.0, &FILLED.1);
    }
    Finding::ok(TOPIC, figure).means(meaning)
}

/// `options` begin with the kind of file system.
fn mount(options: Option<Vec<String>>, is_told: bool) -> Finding {
    const TOPIC: &str = "its mount";
    if !is_told {
        return Finding::hidden(TOPIC, "/proc/self/mounts cannot be read.");
    }
    let Some(options) = options else {
        return Finding::warning(TOPIC, "none of its own")
            .means("/dev/shm lies in another file system: on a disk, every byte of a channel may be written there.")
            .advise("Have memory mounted there:", &["sudo mount -t tmpfs -o mode=1777 shm /dev/shm"]);
    };
    let has = |option: &str| options.iter().any(|one| one == option);
    // None of the others changes anything: no code is run from a region.
    let shown: Vec<&str> = options.iter().map(String::as_str).filter(|one| SHOWN.contains(one)).collect();
    let kind = options.first().map_or("", String::as_str);
    let figure = [&[kind][..], &shown[..]].concat().join(", ");
    if has("ro") {
        return Finding::problem(TOPIC, figure)
            .means("It is read-only: no channel can be made.")
            .advise("To change it:", &["sudo mount -o remount,rw /dev/shm"]);
    }
    if kind != "tmpfs" {
        return Finding::warning(TOPIC, figure).means("It is not kept in memory: expect to wait for a disk.");
    }
    let finding = Finding::ok(TOPIC, figure);
    if has("noexec") { finding.means("noexec does no harm: no code is run from a region.") } else { finding }
}

const SHOWN: [&str; 5] = ["rw", "ro", "noexec", "nosuid", "nodev"];

fn rights(files: &Files, user: u32, writable: io::Result<()>) -> Finding {
    const TOPIC: &str = "its rights";
    let found = match std::fs::metadata(files.path(SHM)) {
        Ok(found) => found,
        Err(error) => return Finding::hidden(TOPIC, format!("{SHM}: {error}.")),
    };
    judge_rights(found.permissions().mode() & 0o7777, found.uid(), user, writable)
}

fn judge_rights(mode: u32, owner: u32, user: u32, writable: io::Result<()>) -> Finding {
    const TOPIC: &str = "its rights";
    let figure = format!("{mode:04o}, of user {owner}");
    let usual = "To have it as it usually is:";
    let commands = ["sudo chmod 1777 /dev/shm"];
    if let Err(error) = writable {
        return Finding::problem(TOPIC, figure)
            .means(format!("This user, number {user}, may make no channel: {error}."))
            .advise(usual, &commands);
    }
    if mode & 0o022 != 0 && mode & 0o1000 == 0 {
        return Finding::warning(TOPIC, figure)
            .means("Without the sticky bit others may remove the names of channels that are in use.")
            .advise(usual, &commands);
    }
    Finding::ok(TOPIC, figure).means("This user may make channels; only their owner, and root, may remove them.")
}

fn huge_pages(files: &Files, tried: Option<io::Result<Option<bool>>>, version: Option<(u32, u32)>) -> Finding {
    const TOPIC: &str = "huge pages";
    const SETTING: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
    match tried {
        None => return Finding::hidden(TOPIC, "They were not tried: the limit on a file's length forbids it."),
        Some(Err(error)) => return Finding::hidden(TOPIC, format!("They could not be tried: {error}.")),
        Some(Ok(None)) => return Finding::hidden(TOPIC, "The system does not tell."),
        Some(Ok(Some(true))) => return Finding::ok(TOPIC, "given").means("Tried: 2 MiB of shared memory got one."),
        Some(Ok(Some(false))) => {}
    }
    let setting = files.read(SETTING);
    let chosen = setting.as_deref().and_then(|all| all.split(['[', ']']).nth(1));
    let finding = Finding::note(TOPIC, "not given");
    let cost = "Making a channel takes longer, and more of the processor's tables.";
    match (chosen, version) {
        (None, _) => finding.means(format!("{cost} This kernel shows no setting for them.")),
        (Some("deny"), _) => finding
            .means(format!("{cost} This machine's setting denies them."))
            .advise("To allow them where they are asked for:", &["echo never |", &format!("    sudo tee {SETTING}")]),
        (Some(_), Some(version)) if version < (6, 1) => {
            finding.means(format!("{cost} The kernel gives them on request from 6.1 on."))
        }
        (Some(chosen), _) => {
            finding.means(format!("{cost} The setting is {chosen}, and the kernel had none to give.")).advise(
                "Free memory may lie in too small pieces. To gather them:",
                &["echo 1 | sudo tee /proc/sys/vm/compact_memory"],
            )
        }
    }
}

/// How many a list such as `0-3,8` has.
fn length_of(list: &str) -> Option<usize> {
    list.split(',').try_fold(0, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        Some(sum + last.checked_sub(first)? + 1)
    })
}

fn processors(files: &Files, allowed: &[usize]) -> Finding {
    const TOPIC: &str = "processors";
    if allowed.is_empty() {
        return Finding::hidden(TOPIC, "The system does not tell on which this process may run.");
    }
    let online = files.read("/sys/devices/system/cpu/online").and_then(|list| length_of(&list));
    let figure = match online {
        Some(online) => format!("{} of {online}", allowed.len()),
        None => format!("{}, of how many is not visible", allowed.len()),
    };
    let finding = |level: fn(&'static str, String) -> Finding| level(TOPIC, figure.clone());
    if let [only] = allowed {
        let finding = finding(Finding::note)
            .means("Both ends share one: every call waits for the system to switch between them, twice.");
        return match online {
            Some(2..) => finding.advise(
                format!("This process may use number {only} alone. To let it use all of them:"),
                &["taskset -a -p -c 0-1023 PID", "docker run --cpuset-cpus=0,1 ..."],
            ),
            _ => finding,
        };
    }
    finding(Finding::ok).means("Each end can have its own.")
}

fn quota(processors: Option<f64>, is_told: bool) -> Finding {
    const TOPIC: &str = "processor quota";
    match processors {
        None if !is_told => Finding::hidden(TOPIC, "/proc/self/cgroup cannot be read."),
        None => Finding::ok(TOPIC, "none seen"),
        Some(share) if share >= 2.0 => Finding::ok(TOPIC, format!("{share:.1} processors' time")),
        Some(share) => Finding::warning(TOPIC, format!("{share:.1} processors' time"))
            .means(
                "Two ends that spin use more than that: the system then stops both until the next period begins, as a \
                 rule a tenth of a second.",
            )
            .advise("Give them two, or have them sleep instead of spin, with Wait::Park:", &["docker run --cpus=2 ..."]),
    }
}

fn memory(limit: Option<f64>, is_told: bool) -> Finding {
    const TOPIC: &str = "memory quota";
    match limit {
        None if !is_told => Finding::hidden(TOPIC, "/proc/self/cgroup cannot be read."),
        None => Finding::ok(TOPIC, "none seen"),
        Some(limit) => Finding::note(TOPIC, bytes(limit as u64))
            .means("What is in /dev/shm counts as memory of the group that made it, also when its makers are gone."),
    }
}

fn nodes(files: &Files) -> Finding {
    const TOPIC: &str = "memory nodes";
    let names = files.names("/sys/devices/system/node");
    let is_node = |name: &&String| {
        name.strip_prefix("node").is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit()))
    };
    match names.iter().filter(is_node).count() {
        0 => Finding::hidden(TOPIC, "/sys/devices/system/node tells none."),
        1 => Finding::ok(TOPIC, "1").means("All processors are equally near to the memory."),
        nodes => Finding::note(TOPIC, nodes.to_string())
            .means("Two ends on different nodes call each other more slowly.")
            .advise(
                "To keep both on one node, start both programs like this:",
                &["numactl --cpunodebind=0 --membind=0 PROGRAM"],
            ),
    }
}

fn stolen(files: &Files) -> Finding {
    const TOPIC: &str = "stolen time";
    let line = files.read("/proc/stat").and_then(|stat| stat.lines().next().map(str::to_owned));
    let ticks: Option<Vec<u64>> =
        line.and_then(|line| line.strip_prefix("cpu ")?.split_whitespace().map(|field| field.parse().ok()).collect());
    // The first eight make up all the time there was; the eighth was taken by the host.
    let Some([mine @ .., stolen]) = ticks.as_deref().and_then(|ticks| ticks.get(..8)) else {
        return Finding::hidden(TOPIC, "/proc/stat does not tell.");
    };
    let all = mine.iter().sum::<u64>() + stolen;
    let percent = if all == 0 { 0.0 } else { *stolen as f64 * 100.0 / all as f64 };
    let is_guest = files.read("/proc/cpuinfo").is_some_and(|info| {
        let flags = info.lines().find(|line| line.starts_with("flags"));
        flags.is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor"))
    });
    let figure = format!("{percent:.1} % since the start");
    let meaning = match (is_guest, *stolen) {
        (true, 0) => "This is a virtual machine. Its host took nothing, or does not tell.",
        (true, _) => "This is a virtual machine, and so much its host took of it: calls of that time take longer.",
        (false, 0) => "No host takes processor time away.",
        (false, _) => "So much a host took of the processors: calls of that time take longer.",
    };
    match percent {
        ..1.0 => Finding::ok(TOPIC, figure).means(meaning),
        _ => Finding::note(TOPIC, figure).means(meaning),
    }
}

fn governor(files: &Files) -> Finding {
    const TOPIC: &str = "processor speed";
    let folder = "/sys/devices/system/cpu";
    let mut found = std::collections::BTreeSet::new();
    for name in files.names(folder) {
        let of = |what: &str| files.read(&format!("{folder}/{name}/cpufreq/{what}"));
        if let Some(governor) = of("scaling_governor") {
            found.insert((governor, of("scaling_driver").unwrap_or_default()));
        }
    }
    if found.is_empty() {
        return Finding::hidden(TOPIC, "No governor is shown, as is usual in virtual machines.");
    }
    let figure = found.iter().map(|(governor, _)| governor.as_str()).collect::<Vec<_>>().join(", ");
    let always_slow = |(governor, driver): &(String, String)| {
        // These two drivers call a governor that follows the load so.
        governor == "powersave" && !driver.starts_with("intel_pstate") && !driver.starts_with("amd-pstate")
    };
    let fast = "To have the full speed at once:";
    let commands = ["sudo cpupower frequency-set -g performance"];
    if found.iter().all(|(governor, _)| governor == "performance") {
        Finding::ok(TOPIC, figure).means("Full speed at all times.")
    } else if found.iter().any(always_slow) {
        Finding::warning(TOPIC, figure).means("The lowest speed at all times.").advise(fast, &commands)
    } else {
        let meaning = "The speed follows the load: the first calls after a pause are slower.";
        Finding::note(TOPIC, figure).means(meaning).advise(fast, &commands)
    }
}

/// Whether the dead can be told from the living by number, beside their locks.
fn processes(files: &Files) -> Finding {
    const TOPIC: &str = "process numbers";
    const LOCKS: &str =
        "The locks alone tell who lives: one that a forked child of a dead process keeps looks alive.";
    let Some(numbers) = files.status("Pid").map(|_| files.status("NSpid").unwrap_or_default()) else {
        return Finding::note(TOPIC, "no /proc")
            .means(LOCKS)
            .advise("Have it mounted:", &["sudo mount -t proc proc /proc"]);
    };
    if numbers.split_whitespace().count() > 1 {
        return Finding::note(TOPIC, "/proc is another namespace's")
            .means(LOCKS)
            .advise("Have this namespace's mounted, within it:", &["mount -t proc proc /proc"]);
    }
    let options = files.mount("/proc").unwrap_or_default();
    let hidden = options.iter().find_map(|option| option.strip_prefix("hidepid="));
    if let Some(hidden) = hidden.filter(|hidden| !["0", "off"].contains(hidden)) {
        return Finding::note(TOPIC, format!("hidepid={hidden}"))
            .means(format!("Other users' processes are not shown. Of those: {}", lower(LOCKS)));
    }
    // The number that the first namespace has in every kernel.
    let namespace = std::fs::read_link(files.path("/proc/self/ns/pid"));
    let figure = match namespace.as_deref().ok().and_then(|link| link.to_str()) {
        Some("pid:[4026531836]") => "the machine's own",
        Some(_) => "a namespace of its own",
        None => return Finding::note(TOPIC, "namespace not visible").means(LOCKS),
    };
    let meaning = "Ends that see the same numbers are told from their forks, and from others of the same number.";
    Finding::ok(TOPIC, figure).means(meaning)
}

fn lower(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

fn umask(files: &Files) -> Finding {
    const TOPIC: &str = "umask";
    match files.status("Umask") {
        Some(mask) => {
            Finding::ok(TOPIC, mask).means("Whatever it is: a channel gets the mode that its maker asks for.")
        }
        None => Finding::hidden(TOPIC, "The kernel does not tell. A channel gets the mode that its maker asks for."),
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::made_up::MadeUp;
    use super::super::finding::Level;
    use super::*;

    fn machine(files: &[(&str, &str)]) -> MadeUp {
        MadeUp::new(files)
    }

    fn room(bytes: u64, bytes_free: u64) -> Finding {
        space(Ok(Space { bytes, bytes_free, files: 1000, files_free: 1000 }))
    }

    #[test]
    fn a_container_s_64_mb_are_a_warning_and_a_full_mount_is_a_problem() {
        let small = room(SMALL, SMALL);
        assert_eq!((small.level, small.figure.as_str()), (Level::Warning, "64 MiB free of 64 MiB"));
        assert!(small.meaning.starts_with("Room for 15 channels"), "{small:?}");
        assert!(small.commands.iter().any(|command| command.starts_with("docker run --shm-size")), "{small:?}");
        assert_eq!(room(SMALL, REGION_BYTES - 1).level, Level::Problem);
        assert_eq!(room(SMALL, REGION_BYTES).level, Level::Warning);
        assert_eq!(room(1 << 40, SMALL - 1).level, Level::Warning);
        assert_eq!(room(1 << 40, SMALL).level, Level::Ok);
        assert_eq!(room(0, 0).figure, "no limit");
        let no_files = Space { bytes: 1 << 40, bytes_free: 1 << 40, files: 1000, files_free: 2 };
        assert_eq!(space(Ok(no_files)).level, Level::Problem);
        assert_eq!(space(Ok(Space { files: 0, files_free: 0, ..no_files })).level, Level::Ok);
        assert_eq!(space(Err(io::ErrorKind::NotFound.into())).level, Level::Problem);
    }

    #[test]
    fn the_mount_that_covers_the_others_is_judged() {
        let judged = |mounts: &str| {
            let MadeUp(files) = &machine(&[("/proc/self/mounts", mounts)]);
            mount(files.mount(SHM), true)
        };
        let good = "tmpfs /dev/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=65536k 0 0\n";
        assert_eq!(judged(good).figure, "tmpfs, rw, nosuid, nodev, noexec");
        assert_eq!(judged(good).level, Level::Ok);
        assert_eq!(judged(&format!("{good}shm /dev/shm tmpfs ro 0 0\n")).level, Level::Problem);
        assert_eq!(judged("/dev/sda1 /dev/shm ext4 rw 0 0\n").level, Level::Warning);
        assert_eq!(judged("udev /dev devtmpfs rw 0 0\n").level, Level::Warning);
        assert_eq!(mount(None, false).figure, "not visible");
    }

    #[test]
    fn who_may_make_and_remove_channels_is_told() {
        assert_eq!(judge_rights(0o1777, 0, 1000, Ok(())).level, Level::Ok);
        assert_eq!(judge_rights(0o777, 0, 1000, Ok(())).level, Level::Warning);
        assert_eq!(judge_rights(0o700, 1000, 1000, Ok(())).level, Level::Ok);
        let refused = judge_rights(0o755, 0, 1000, Err(io::ErrorKind::PermissionDenied.into()));
        assert_eq!((refused.level, refused.figure.as_str()), (Level::Problem, "0755, of user 0"));
    }

    #[test]
    fn kernels_are_judged_by_what_they_have() {
        assert_eq!(kernel(Some("6.18.44-fc-v657"), true).level, Level::Ok);
        assert_eq!(kernel(Some("6.0.1"), true).level, Level::Note);
        assert_eq!(kernel(Some("3.14.0"), false).level, Level::Problem);
        assert!(kernel(Some("5.2.0"), false).meaning.contains("came with Linux 5.3"));
        assert!(kernel(Some("6.6"), false).meaning.contains("sandbox"));
        assert_eq!(kernel(None, true).figure, "not visible");
        assert_eq!(kernel(Some("new"), true).figure, "not visible");
    }

    #[test]
    fn huge_pages_that_are_not_given_have_a_reason() {
        const SETTING: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
        let judged = |setting: &[(&str, &str)], version| {
            let MadeUp(files) = &machine(setting);
            huge_pages(files, Some(Ok(Some(false))), Some(version))
        };
        let denied = judged(&[(SETTING, "always within_size advise never [deny] force\n")], (6, 18));
        assert!(denied.meaning.contains("denies"), "{denied:?}");
        assert_eq!(denied.commands.concat(), format!("echo never |    sudo tee {SETTING}"));
        let never = (SETTING, "always within_size advise [never] deny force\n");
        assert!(judged(&[never], (5, 15)).meaning.contains("from 6.1 on"));
        assert!(judged(&[never], (6, 18)).meaning.contains("is never"));
        assert!(judged(&[], (6, 18)).meaning.contains("no setting"));
        let MadeUp(nothing) = &machine(&[]);
        assert_eq!(huge_pages(nothing, Some(Ok(Some(true))), None).level, Level::Ok);
        assert_eq!(huge_pages(nothing, None, None).figure, "not visible");
    }

    #[test]
    fn processors_and_quotas_are_counted() {
        let MadeUp(files) = &machine(&[("/sys/devices/system/cpu/online", "0-3,8\n")]);
        assert_eq!(processors(files, &[0, 1]).figure, "2 of 5");
        let one = processors(files, &[3]);
        assert_eq!((one.level, one.figure.as_str()), (Level::Note, "1 of 5"));
        assert!(one.advice.contains("number 3 alone"), "{one:?}");
        let MadeUp(nothing) = &machine(&[]);
        assert!(processors(nothing, &[3]).commands.is_empty(), "there may be no other");
        assert_eq!(quota(Some(1.5), true).level, Level::Warning);
        assert_eq!(quota(Some(2.0), true).level, Level::Ok);
        assert_eq!(quota(None, false).figure, "not visible");
        assert_eq!(memory(Some(512.0 * 1024.0 * 1024.0), true).figure, "512 MiB");
    }

    #[test]
    fn stolen_time_and_governors_are_read() {
        let judged = |stat: &str| {
            let MadeUp(files) = &machine(&[("/proc/stat", stat), ("/proc/cpuinfo", "flags\t\t: fpu hypervisor\n")]);
            stolen(files)
        };
        assert_eq!(judged("cpu  50 0 30 15 0 0 0 5 7 0\n").figure, "5.0 % since the start");
        assert_eq!(judged("cpu  50 0 30 15 0 0 0 5 7 0\n").level, Level::Note);
        assert_eq!(judged("cpu  500 0 300 199 0 0 0 1 7 0\n").level, Level::Ok);
        assert!(judged("cpu  1 0 0 0 0 0 0 0 0 0\n").meaning.contains("does not tell"));
        assert_eq!(judged("cpu  1 0 0\n").figure, "not visible");

        let speed = |governor, driver| {
            let folder = "/sys/devices/system/cpu/cpu0/cpufreq";
            let governors = format!("{folder}/scaling_governor");
            let MadeUp(files) = &machine(&[(&governors, governor), (&format!("{folder}/scaling_driver"), driver)]);
            super::governor(files).level
        };
        assert_eq!(speed("performance\n", "acpi-cpufreq\n"), Level::Ok);
        assert_eq!(speed("schedutil\n", "acpi-cpufreq\n"), Level::Note);
        assert_eq!(speed("powersave\n", "acpi-cpufreq\n"), Level::Warning);
        assert_eq!(speed("powersave\n", "intel_pstate\n"), Level::Note);
    }

    #[test]
    fn what_proc_hides_is_said() {
        let judged = |status: &str, mounts: &str| {
            let MadeUp(files) = &machine(&[("/proc/self/status", status), ("/proc/self/mounts", mounts)]);
            std::fs::create_dir(files.path("/proc/self/ns")).unwrap();
            std::os::unix::fs::symlink("pid:[4026531836]", files.path("/proc/self/ns/pid")).unwrap();
            processes(files)
        };
        let status = "Name:\tx\nUmask:\t0022\nPid:\t7\nNSpid:\t7\n";
        assert_eq!(judged(status, "proc /proc proc rw,relatime 0 0\n").figure, "the machine's own");
        assert_eq!(judged(status, "proc /proc proc rw,hidepid=invisible 0 0\n").figure, "hidepid=invisible");
        assert_eq!(judged("Pid:\t7\nNSpid:\t7\t1\n", "").figure, "/proc is another namespace's");
        let MadeUp(nothing) = &machine(&[]);
        assert_eq!(processes(nothing).figure, "no /proc");
        assert_eq!(umask(nothing).figure, "not visible");
        let MadeUp(files) = &machine(&[("/proc/self/status", status)]);
        assert_eq!(umask(files).figure, "0022");
    }

    #[test]
    fn several_nodes_are_a_note() {
        let node = |number| (format!("/sys/devices/system/node/node{number}/cpulist"), String::new());
        let judged = |count: usize| {
            let nodes: Vec<_> = (0..count).map(node).collect();
            let mut files: Vec<(&str, &str)> =
                nodes.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
            files.push(("/sys/devices/system/node/online", "0"));
            let MadeUp(files) = &machine(&files);
            nodes_of(files)
        };
        fn nodes_of(files: &Files) -> String {
            super::nodes(files).figure
        }
        assert_eq!([0, 1, 2].map(judged), ["not visible", "1", "2"]);
    }
}
