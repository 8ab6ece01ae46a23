//! Which processors there are, keeping a thread on one, and what the system took from it: for measuring.

#[cfg(any(target_vendor = "apple", antiphon_darwin_rules))]
pub(crate) use darwin::{allowed, are_siblings, kept_waiting, pin, stolen_ticks};
#[cfg(not(any(target_vendor = "apple", antiphon_darwin_rules)))]
pub(crate) use linux::{allowed, are_siblings, kept_waiting, pin, stolen_ticks};

#[cfg(not(any(target_vendor = "apple", antiphon_darwin_rules)))]
mod linux {
    use crate::sys::io_error;
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    use nix::unistd::Pid;
    use std::io;
    use std::time::Duration;

    /// The processors that this thread may run on; `sched_getaffinity(2)`.
    pub(crate) fn allowed() -> Vec<usize> {
        let set = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
        (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect()
    }

    /// Keeps this thread, and those that it starts from now on, on one processor.
    pub(crate) fn pin(cpu: usize) -> io::Result<()> {
        let mut set = CpuSet::new();
        set.set(cpu).map_err(io_error)?;
        sched_setaffinity(Pid::from_raw(0), &set).map_err(io_error)
    }

    /// Whether two processors are threads of one core. False where the system does not tell.
    pub(crate) fn are_siblings(one: usize, other: usize) -> bool {
        let siblings = |cpu| {
            let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
            std::fs::read_to_string(path).ok()
        };
        siblings(one).is_some_and(|list| siblings(other) == Some(list))
    }

    /// Ticks, of 10 ms as a rule, that the host of a virtual machine took from these processors; `proc_stat(5)`.
    pub(crate) fn stolen_ticks(cpus: &[usize]) -> Option<u64> {
        let stat = std::fs::read_to_string("/proc/stat").ok()?;
        let of = |cpu| {
            let label = format!("cpu{cpu} ");
            let fields = stat.lines().find_map(|line| line.strip_prefix(&label))?;
            fields.split_ascii_whitespace().nth(7)?.parse::<u64>().ok()
        };
        cpus.iter().map(|cpu| of(*cpu)).sum()
    }

    /// How long the main thread of `pid`, or this thread, could have run and had no processor: the second number of
    /// `/proc/.../schedstat`, in the kernel's `Documentation/scheduler/sched-stats.rst`.
    pub(crate) fn kept_waiting(pid: Option<u32>) -> Option<Duration> {
        let path = pid.map_or("/proc/thread-self/schedstat".to_owned(), |pid| format!("/proc/{pid}/schedstat"));
        let nanos = std::fs::read_to_string(path).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some(Duration::from_nanos(nanos))
    }
}

/// Darwin takes no thread's word on where it runs, and tells nothing of what it took.
#[cfg(any(target_vendor = "apple", antiphon_darwin_rules))]
mod darwin {
    use std::io;
    use std::time::Duration;

    /// None that one could choose.
    pub(crate) fn allowed() -> Vec<usize> {
        Vec::new()
    }

    pub(crate) fn pin(_cpu: usize) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this system does not keep a thread on one processor"))
    }

    pub(crate) fn are_siblings(_one: usize, _other: usize) -> bool {
        false
    }

    pub(crate) fn stolen_ticks(_cpus: &[usize]) -> Option<u64> {
        None
    }

    pub(crate) fn kept_waiting(_pid: Option<u32>) -> Option<Duration> {
        None
    }
}
