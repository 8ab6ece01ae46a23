//! What a control group allows: `cgroups(7)`, both versions.

use super::files::Files;

/// The least of what the group of this process, and those around it, allow of processor time: processors.
pub fn processors(files: &Files) -> Option<f64> {
    least(files, "cpu", |folder| {
        if let Some(max) = files.read(&format!("{folder}/cpu.max")) {
            return share(max.split_once(' ')?);
        }
        let quota = files.read(&format!("{folder}/cpu.cfs_quota_us"))?;
        let period = files.read(&format!("{folder}/cpu.cfs_period_us"))?;
        share((&quota, &period))
    })
}

/// The same of memory: bytes.
pub fn memory(files: &Files) -> Option<f64> {
    least(files, "memory", |folder| {
        let max = files
            .read(&format!("{folder}/memory.max"))
            .or_else(|| files.read(&format!("{folder}/memory.limit_in_bytes")))?;
        let bytes: u64 = max.parse().ok()?;
        // Version 1 says "no limit" by the largest number of whole pages.
        (bytes < 1 << 62).then_some(bytes as f64)
    })
}

fn share((quota, period): (&str, &str)) -> Option<f64> {
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

fn least(files: &Files, controller: &str, limit: impl Fn(&str) -> Option<f64>) -> Option<f64> {
    let mut least: Option<f64> = None;
    for (top, mut folder) in groups(files, controller) {
        loop {
            if let Some(found) = limit(&folder) {
                least = Some(least.map_or(found, |least| least.min(found)));
            }
            if folder == top {
                break;
            }
            folder.truncate(folder.rfind('/').unwrap_or(0));
        }
    }
    least
}

/// The folders that speak of this process: each with the topmost one that can be seen.
fn groups(files: &Files, controller: &str) -> Vec<(String, String)> {
    let Some((groups, mounts)) = files.read("/proc/self/cgroup").zip(files.read("/proc/self/mountinfo")) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        if !controllers.is_empty() && !controllers.split(',').any(|known| known == controller) {
            continue;
        }
        // Version 2 has no controllers here.
        let kind = if controllers.is_empty() { "cgroup2" } else { "cgroup" };
        let is_meant = |options: &str| kind == "cgroup2" || options.split(',').any(|known| known == controller);
        let mount = mounts.lines().find_map(|line| {
            let (before, behind) = line.split_once(" - ")?;
            let (mut before, mut behind) = (before.split(' ').skip(3), behind.split(' '));
            let (root, top) = (before.next()?, before.next()?);
            (behind.next()? == kind && is_meant(behind.nth(1)?)).then_some((root, top))
        });
        if let Some((root, top)) = mount {
            // A group outside of what is mounted cannot be seen: then what is mounted is all there is.
            let below = path.strip_prefix(root.trim_end_matches('/')).filter(|below| !below.contains(".."));
            let below = below.unwrap_or("").trim_end_matches('/');
            let is_below = below.is_empty() || below.starts_with('/');
            found.push((top.to_owned(), if is_below { format!("{top}{below}") } else { top.to_owned() }));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::files::made_up::MadeUp;
    use super::*;

    #[test]
    fn the_least_of_all_groups_around_this_process_counts() {
        let MadeUp(files) = &MadeUp::new(&[
            ("/proc/self/cgroup", "0::/system.slice/docker.scope\n"),
            ("/proc/self/mountinfo", "31 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"),
            ("/sys/fs/cgroup/system.slice/cpu.max", "150000 100000\n"),
            ("/sys/fs/cgroup/system.slice/docker.scope/cpu.max", "300000 100000\n"),
            ("/sys/fs/cgroup/cpu.max", "max 100000\n"),
            ("/sys/fs/cgroup/system.slice/memory.max", "max\n"),
            ("/sys/fs/cgroup/system.slice/docker.scope/memory.max", "536870912\n"),
        ]);
        assert_eq!(processors(files), Some(1.5));
        assert_eq!(memory(files), Some(536_870_912.0));
    }

    #[test]
    fn version_1_and_a_group_that_is_mounted_in_part_are_read() {
        let MadeUp(files) = &MadeUp::new(&[
            ("/proc/self/cgroup", "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/elsewhere\n"),
            (
                "/proc/self/mountinfo",
                "30 23 0:25 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu,cpuacct\n\
                 31 23 0:26 /other /sys/fs/cgroup/memory ro shared:9 master:4 - cgroup cgroup rw,memory\n",
            ),
            ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n"),
            ("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        assert_eq!(processors(files), Some(0.5));
        assert_eq!(memory(files), None);
    }

    #[test]
    fn where_nothing_is_said_nothing_is_made_of_it() {
        let MadeUp(files) = &MadeUp::new(&[("/proc/self/cgroup", "0::/\n")]);
        assert_eq!(processors(files), None);
        assert_eq!(memory(files), None);
    }
}
