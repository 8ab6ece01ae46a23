//! One round: a process that starts the others, kills them, starts the next, and has the logs checked when all are
//! gone. In a /dev/shm of its own, and under whatever else the climate wants.

use crate::checker;
use crate::cleaner;
use crate::counted;
use crate::doors;
use crate::figures::Figures;
use crate::history::{History, Life, done};
use crate::log::{Log, Outcome, Record, What, now};
use crate::plan::{self, Channel, Climate, Kind, Side};
use crate::support::{Dice, names_in_shm, say};
use crate::worker::{Orders, Worker, all_steps, log_path};
use antiphon::Error;
use antiphon::census::{self, Entry, RemoveOptions, State};
use crowd::Crowd;
use private::Pair;
use std::collections::BTreeSet;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

#[path = "files/crowd.rs"]
mod crowd;
#[path = "private.rs"]
mod private;

/// For a worker: the words of its orders.
pub const WORK: &str = "ANTIPHON_TORTURE_WORK";
/// How long a process may be at one thing without being stopped. Never a measure of speed.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long a round may last in which everybody goes on, and nothing comes to an end.
const PATIENCE_WITH_ALL: Duration = Duration::from_secs(200);

/// What one round found.
struct Round {
    test: String,
    orders: Orders,
    dice: Dice,
    slots: Vec<Slot>,
    lives: Vec<(u32, Life)>,
    figures: Figures,
    violations: Vec<String>,
    last_pid: u32,
    /// In some rounds the first channel is held open all the time: so nobody may make it anew.
    held: Option<antiphon::Channel>,
    pairs: Vec<Pair>,
    crowds: Vec<Crowd>,
    /// What was in /dev/shm before.
    before: BTreeSet<String>,
}

/// A place for one process at a time.
struct Slot {
    orders: Orders,
    log: Log,
    /// Of its other threads, where it may have some.
    others: Vec<Log>,
    running: Option<Running>,
    is_finished: bool,
    /// It waits for the other end to go, so that the region is made anew.
    waits_for_reset: bool,
}

impl Slot {
    /// Of a channel that is not private: these decide when the round is over.
    fn is_ordinary(&self) -> bool {
        self.orders.side <= Side::Consumer && self.orders.kind != Kind::Private
    }
}

struct Running {
    child: Child,
    incarnation: u32,
    started: u64,
    killed_from_outside: Option<u64>,
    stopped_until: Option<Instant>,
    /// How much it had written when that was last seen to grow, and when that was.
    progress: (u64, Instant),
}

/// In the process of a round. The words: seed, climate, folder, prefix of all names, whether /dev/shm is its own.
pub fn run(test: &str, words: &[String]) {
    let seed: u64 = words[0].parse().unwrap();
    let climate = Climate::of(words[1].parse().unwrap());
    let folder = PathBuf::from(&words[2]);
    std::fs::create_dir_all(&folder).unwrap();
    die_with_parent();
    let orders = Orders {
        folder,
        seed,
        climate,
        channel: 0,
        capacity: 0,
        operations: 0,
        side: Side::Publisher,
        incarnation: 0,
        name: words[3].clone(),
        kind: Kind::Ordinary,
        has_own_shm: words[4] == "own",
        slot: 0,
    };
    let mut round = Round {
        test: test.to_owned(),
        orders,
        dice: plan::dice(seed, u32::MAX, Side::Resetter, 0),
        slots: Vec::new(),
        lives: Vec::new(),
        figures: Figures::default(),
        violations: Vec::new(),
        last_pid: 0,
        held: None,
        pairs: Vec::new(),
        crowds: Vec::new(),
        before: names_in_shm(),
    };
    round.run();
    say(format_args!("figures {}", round.figures.to_line()));
    for violation in &round.violations {
        say(format_args!("violation {}", violation.replace('\n', "\u{1f}")));
    }
    say("over");
}

/// Its workers and it end with whoever started them.
pub fn die_with_parent() {
    #[cfg(target_os = "linux")]
    // SAFETY: takes numbers, and concerns this process alone.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0)
    };
}

impl Round {
    fn run(&mut self) {
        let has_own_shm = self.orders.has_own_shm;
        let channels = plan::channels(self.orders.seed);
        for channel in &channels {
            for side in [Side::Publisher, Side::Consumer, Side::Resetter] {
                let slot = self.slot(channel, side, 0);
                self.slots.push(slot);
            }
        }
        for racer in 0..doors::RACERS {
            let slot = self.slot(&OTHERS, Side::Racer, racer);
            self.slots.push(slot);
        }
        if matches!(self.orders.climate, Climate::Cleaning | Climate::Everything) {
            let mut slot = self.slot(&OTHERS, Side::Cleaner, 0);
            slot.orders.name.clone_from(&self.orders.name);
            self.slots.push(slot);
        }
        let alone = self.slots.len();
        self.add_pairs();
        self.add_crowds();
        let is_over = |round: &Round| {
            let mut working = round.slots.iter().filter(|slot| slot.is_ordinary());
            let is_idle = round.slots.iter().all(|slot| slot.running.is_none());
            working.all(|slot| slot.is_finished) && is_idle && round.are_files_over()
        };
        // Not where others are stopped: one that is stopped at the door would keep this process from letting it go on.
        if !self.has_stops() && self.dice.below(2) == 0 {
            let options = antiphon::ChannelOptions::new().capacity(channels[0].capacity);
            let options = options.persistent(channels[0].kind == Kind::Persistent);
            self.held = options.create(&self.name(0)).ok();
        }
        let mut until = Instant::now() + PATIENCE_WITH_ALL;
        let mut last = Instant::now();
        while !is_over(self) && self.violations.is_empty() {
            // Where the whole machine was asleep, or all of this was stopped, nobody has hung.
            let asleep = last.elapsed();
            last = Instant::now();
            if asleep > PATIENCE / 8 {
                until += asleep;
                for running in self.slots.iter_mut().filter_map(|slot| slot.running.as_mut()) {
                    running.progress.1 = last;
                }
            }
            if Instant::now() > until {
                self.violations.push(self.why_no_end());
            }
            self.try_to_make_what_is_held();
            for at in 0..alone {
                self.look_after(at);
            }
            for pair in 0..self.pairs.len() {
                self.look_after_pair(pair);
            }
            for crowd in 0..self.crowds.len() {
                self.look_after_crowd(crowd);
            }
            if has_own_shm && matches!(self.orders.climate, Climate::SmallSharedMemory) {
                self.move_ballast();
            }
            std::thread::sleep(Duration::from_micros(300));
        }
        self.end_all();
        self.held = None;
        if has_own_shm {
            let _ = std::fs::remove_file("/dev/shm/ballast");
        }
        // Takes nothing that a drain is to find.
        self.clean();
        for channel in &channels {
            self.check_counters(channel);
            self.drain(channel);
            self.check(channel);
            self.remove_kept(channel);
        }
        self.check_doors();
        self.check_cleaner();
        self.clean();
        self.check_leftovers(has_own_shm);
        if self.violations.is_empty() {
            let _ = std::fs::remove_dir_all(&self.orders.folder);
        } else {
            // The logs tell what there is to tell.
            self.remove_files();
            let doors = (0..doors::NAMES).map(|which| format!("{}{which}", self.name(100)));
            let privates = self.pairs.iter().filter_map(|pair| pair.name().cloned()).collect::<Vec<_>>();
            for name in
                privates.into_iter().chain(channels.iter().map(|channel| self.name(channel.number))).chain(doors)
            {
                let _ = antiphon::Channel::unlink(&name);
            }
        }
        self.figures.add(&format!("round {:?}", self.orders.climate), 1);
    }

    fn has_stops(&self) -> bool {
        matches!(self.orders.climate, Climate::Stops | Climate::Everything)
    }

    fn slot(&self, channel: &Channel, side: Side, slot: u32) -> Slot {
        let orders = Orders {
            channel: channel.number,
            capacity: channel.capacity,
            operations: channel.operations,
            side,
            kind: channel.kind,
            incarnation: slot * doors::INCARNATIONS,
            slot,
            name: self.name(channel.number),
            ..self.orders.clone()
        };
        let log = Log::open(&orders.log_path());
        Slot { orders, log, others: Vec::new(), running: None, is_finished: false, waits_for_reset: false }
    }

    fn name(&self, channel: u32) -> String {
        match channel {
            // Who makes a private one learns its name then; a file's is its session.
            private::FIRST.. => String::new(),
            100 => format!("{}-d", self.orders.name),
            number => format!("{}-{number}", self.orders.name),
        }
    }

    fn look_after(&mut self, at: usize) {
        if self.slots[at].running.is_some() {
            return self.watch(at);
        }
        let first = at - at % 3; // Publisher, consumer and resetter of one channel stand beside each other.
        let slot = &self.slots[at];
        let done = |slot: &Slot| slot.log.head().done.load(Relaxed) != 0;
        match slot.orders.side {
            Side::Publisher | Side::Consumer if slot.is_finished || slot.waits_for_reset => {}
            Side::Publisher => {
                if done(slot) {
                    self.slots[at].is_finished = true
                } else {
                    self.start(at)
                }
            }
            Side::Consumer => {
                if done(&self.slots[first]) && self.slots[first].running.is_none() {
                    self.slots[at].is_finished = true;
                } else {
                    self.start(at);
                }
            }
            Side::Resetter => {
                let pair = [first, first + 1];
                if pair.iter().all(|one| self.slots[*one].waits_for_reset && self.slots[*one].running.is_none()) {
                    for one in pair {
                        self.slots[one].waits_for_reset = false;
                    }
                    self.start(at);
                    // Nobody else of the channel may live meanwhile. Whoever is stopped goes on: one may keep the door.
                    while self.slots[at].running.is_some() && self.violations.is_empty() {
                        (0..self.slots.len()).for_each(|at| self.watch(at));
                        std::thread::sleep(Duration::from_micros(200));
                    }
                }
            }
            Side::Writer | Side::Reader | Side::Host => {}
            Side::Racer | Side::Cleaner => {
                let mut working = self.slots.iter().filter(|slot| slot.is_ordinary());
                if !working.all(|slot| slot.is_finished) {
                    self.start(at);
                }
            }
        }
    }

    fn start(&mut self, at: usize) {
        let may_reuse = self.orders.climate == Climate::ReusedPids && self.last_pid > 0 && self.dice.below(2) == 0;
        if may_reuse {
            let _ = std::fs::write("/proc/sys/kernel/ns_last_pid", (self.last_pid - 1).to_string());
        }
        let slot = &mut self.slots[at];
        slot.orders.incarnation += 1;
        let role = match slot.orders.side {
            Side::Publisher => "publish",
            Side::Consumer => "consume",
            Side::Resetter => "reset",
            Side::Racer => "race",
            Side::Cleaner => "clean",
            Side::Writer => "write",
            Side::Reader => "read",
            Side::Host => "host",
        };
        let head = slot.log.head();
        head.dying_at.store(0, Relaxed);
        head.died_at_step.store(0, Relaxed);
        head.stop_millis.store(0, Relaxed);
        let started = now();
        let child = start(&self.test, role, &slot.orders);
        if may_reuse && child.id() == self.last_pid {
            self.figures.add("also pids used again", 1);
        }
        slot.running = Some(Running {
            incarnation: slot.orders.incarnation,
            child,
            started,
            killed_from_outside: None,
            stopped_until: None,
            progress: (slot.count(), Instant::now()),
        });
    }

    /// A consumer whose last publisher has left: of a persistent channel, nobody tells it.
    fn waits_for_nobody(&self, at: usize) -> bool {
        let Orders { side, kind, .. } = self.slots[at].orders;
        let has_left = |slot: &Slot| slot.log.head().done.load(Relaxed) != 0 && slot.running.is_none();
        side == Side::Consumer && kind == Kind::Persistent && has_left(&self.slots[at - 1])
    }

    fn watch(&mut self, at: usize) {
        let waits_for_nobody = self.waits_for_nobody(at);
        let slot = &mut self.slots[at];
        let count = slot.count();
        let Some(running) = &mut slot.running else { return };
        let pid = running.child.id();
        let mut status = 0;
        // SAFETY: waits for a child of this process that nobody else waits for.
        let found = unsafe { libc::waitpid(pid as i32, &raw mut status, libc::WNOHANG | libc::WUNTRACED) };
        if found == 0 {
            if running.stopped_until.is_some_and(|until| Instant::now() >= until) {
                running.stopped_until = None;
                running.progress.1 = Instant::now();
                // Some die while they are stopped.
                if self.dice.below(4) == 0 {
                    running.killed_from_outside = Some(now());
                    self.figures.add("killed while stopped", 1);
                    signal(pid, libc::SIGKILL);
                } else {
                    signal(pid, libc::SIGCONT);
                }
            }
            if count != running.progress.0 || running.stopped_until.is_some() {
                running.progress = (count, Instant::now());
            } else if running.progress.1.elapsed() > PATIENCE {
                let records = slot.log.records();
                let last = records.last().map(Record::to_string).unwrap_or_default();
                let (channel, side) = (slot.orders.channel, slot.orders.side);
                let first = records.last().map_or(0, |last| last.time);
                let what = format!("hangs: channel {channel}, {side:?}, process {pid}, last wrote: {last}");
                let why = match side >= Side::Writer {
                    true => self.why_it_hangs(at),
                    false => self.history(channel).around(first, u64::MAX),
                };
                self.violations.push(format!("{what}\n{why}"));
            } else if running.killed_from_outside.is_none() && (slot.waits_for_reset || waits_for_nobody) {
                running.killed_from_outside = Some(now());
                self.figures.add("killed from outside", 1);
                signal(pid, libc::SIGKILL);
            }
            return;
        }
        if libc::WIFSTOPPED(status) {
            let millis = slot.log.head().stop_millis.load(Relaxed);
            running.stopped_until = Some(Instant::now() + Duration::from_millis(millis.into()));
            self.figures.add("also stops", 1);
            return;
        }
        self.bury(at, status);
    }

    /// One has ended.
    fn bury(&mut self, at: usize, status: i32) {
        let slot = &mut self.slots[at];
        let Some(running) = slot.running.take() else { return };
        let head = slot.log.head();
        let pid = running.child.id();
        self.last_pid = pid;
        let own = Some(head.dying_at.load(Relaxed)).filter(|time| *time > 0);
        let died = [own, running.killed_from_outside].into_iter().flatten().min();
        let was_killed = libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL;
        let side = slot.orders.side;
        if was_killed {
            let who = match side {
                Side::Publisher => "killed publishers",
                Side::Consumer => "killed consumers",
                Side::Resetter => "killed at create",
                Side::Racer => "killed racers at the door",
                Side::Cleaner => "killed cleaners",
                Side::Writer => "killed writers",
                Side::Reader => "killed readers",
                Side::Host => "killed hosts",
            };
            // Counted already where that was how.
            if running.killed_from_outside.is_none() {
                self.figures.add(who, 1);
            }
            let step = head.died_at_step.load(Relaxed);
            if let Some(step) = step.checked_sub(1).and_then(|step| all_steps().nth(step as usize)) {
                self.figures.add(&format!("step {step}"), 1);
            }
        } else if died.is_some() {
            self.figures.add("also exits with hands full", 1);
        }
        if !(was_killed && died.is_some() || libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0) {
            let channel = slot.orders.channel;
            let stderr = std::fs::read_to_string(self.orders.folder.join("stderr")).unwrap_or_default();
            let incarnation = running.incarnation;
            self.violations.push(format!(
                "ended: channel {channel}, {side:?} #{incarnation} ended with status {status:#x}\n{stderr}"
            ));
        }
        let life = Life { side, incarnation: running.incarnation, pid, started: running.started, died, gone: now() };
        self.lives.push((slot.orders.channel, life));
        // Now and then the region is to be made anew, which takes that nobody lives.
        let is_held = slot.orders.channel == 0 && self.held.is_some();
        if slot.is_ordinary() && !slot.waits_for_reset && !is_held && self.dice.below(25) == 0 {
            let first = at - at % 3;
            if self.slots[first].log.head().done.load(Relaxed) == 0 {
                self.slots[first].waits_for_reset = true;
                self.slots[first + 1].waits_for_reset = true;
            }
        }
    }

    /// All live and die, and the round does not come to its end.
    fn why_no_end(&self) -> String {
        let works = |slot: &&Slot| slot.is_ordinary() && !slot.is_finished || slot.running.is_some();
        let working = self.slots.iter().filter(works).map(|slot| {
            let Orders { channel, side, incarnation, .. } = slot.orders;
            let last = slot.log.records().last().map(Record::to_string).unwrap_or_default();
            format!("channel {channel}, {side:?} #{incarnation}, last wrote: {last}")
        });
        let working = working.collect::<Vec<_>>().join("\n");
        let is_open = |which: &usize| self.crowds[*which].is_open();
        let files = (0..self.crowds.len()).filter(is_open).map(|which| self.how_it_stands(which));
        let files = files.collect::<Vec<_>>().join("\n");
        format!("hangs: the round does not end:\n{working}\n{files}\nin shared memory: {:?}", names_in_shm())
    }

    /// After a violation: the rest is of no interest.
    fn end_all(&mut self) {
        for slot in &mut self.slots {
            if let Some(mut running) = slot.running.take() {
                let _ = running.child.kill();
                let _ = running.child.wait();
            }
        }
    }

    fn drain(&mut self, channel: &Channel) {
        if !self.violations.is_empty() {
            return;
        }
        let mut orders = self.slot(channel, Side::Consumer, 0).orders;
        let lives =
            self.lives.iter().filter(|(number, life)| *number == channel.number && life.side == Side::Consumer);
        orders.incarnation = 1 + lives.map(|(_, life)| life.incarnation).max().unwrap_or(0);
        let log = Log::open(&orders.log_path());
        log.head().dying_at.store(0, Relaxed);
        let started = now();
        let mut child = start(&self.test, "drain", &orders);
        let pid = child.id();
        let until = Instant::now() + PATIENCE;
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > until => {
                    let _ = child.kill();
                    break child.wait().unwrap();
                }
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        if !status.success() {
            let stderr = std::fs::read_to_string(self.orders.folder.join("stderr")).unwrap_or_default();
            self.violations
                .push(format!("ended: the drain of channel {} ended with {status}\n{stderr}", channel.number));
        }
        let incarnation = orders.incarnation;
        let life = Life { side: Side::Consumer, incarnation, pid, started, died: None, gone: now() };
        self.lives.push((channel.number, life));
    }

    fn history(&self, channel: u32) -> History {
        let records = |side| Log::open(&log_path(&self.orders.folder, channel, side, 0)).records();
        let climate = self.orders.climate;
        History {
            kind: self.kind(channel),
            publishers: records(Side::Publisher),
            consumers: records(Side::Consumer),
            resetters: records(Side::Resetter),
            lives: self.lives.iter().filter(|(number, _)| *number == channel).map(|(_, life)| *life).collect(),
            may_lack_space: climate == Climate::SmallSharedMemory,
            may_lack_descriptors: matches!(climate, Climate::FewDescriptors | Climate::Everything),
            may_be_stuck: false,
        }
    }

    fn kind(&self, channel: u32) -> Kind {
        let mut orders = self.slots.iter().map(|slot| &slot.orders);
        orders.find(|orders| orders.channel == channel).map_or(Kind::Ordinary, |orders| orders.kind)
    }

    /// What the census says that went through a channel, and what its processes wrote down.
    fn check_counters(&mut self, channel: &Channel) {
        if channel.kind != Kind::Persistent || !self.violations.is_empty() {
            return;
        }
        let history = self.history(channel.number);
        let Some(seen) = census_of(&self.name(channel.number)).and_then(|entry| entry.channel) else { return };
        match counted::check(&history, seen.published.messages, seen.consumed.messages) {
            Ok(doubtful) => {
                self.figures.add("also messages counted", seen.published.messages);
                self.figures.add("also messages that may have been counted", doubtful);
            }
            Err(why) => self.violations.push(format!("miscounted: channel {}: {why}", channel.number)),
        }
    }

    /// As `antiphon clean --yes` does when all are gone: no half-made thing is in anybody's way, nobody is at a door.
    fn clean(&mut self) {
        if !self.violations.is_empty() {
            return;
        }
        match cleaner::clean(&self.orders.name, self.orders.has_own_shm) {
            Ok(removed) => self.figures.add("also left over and removed", removed),
            Err(why) => self.violations.push(format!("left behind: not to be removed: {why}")),
        }
    }

    /// A persistent channel is there when all have gone, unless a process was killed while it made it anew.
    fn remove_kept(&mut self, channel: &Channel) {
        if channel.kind != Kind::Persistent || !self.violations.is_empty() {
            return;
        }
        let Some(entry) = census_of(&self.name(channel.number)) else { return };
        let is_persistent = entry.channel.as_ref().is_some_and(|channel| channel.is_persistent);
        if entry.state != State::Kept || !is_persistent {
            self.violations.push(format!("untrue: persistent, and not kept: {entry:?}"));
        }
        if let Err(error) = entry.remove(RemoveOptions::new().kept(true)) {
            self.violations.push(format!("left behind: not to be removed: {error}"));
        }
        self.figures.add("also persistent channels", 1);
    }

    fn check_cleaner(&mut self) {
        let Some(slot) = self.slots.iter().find(|slot| slot.orders.side == Side::Cleaner) else { return };
        let log = Log::open(&slot.orders.log_path());
        let all = done(&log.records());
        for one in all.iter().filter(|one| one.begun.what() == What::Clean) {
            let outcome = one.outcome().map_or("died".to_owned(), |outcome| format!("{outcome:?}"));
            self.figures.add(&format!("outcome {:?} {outcome}", one.begun.how()), 1);
        }
        self.violations.extend(cleaner::check(&all));
        self.count(&log);
    }

    fn check(&mut self, channel: &Channel) {
        let history = self.history(channel.number);
        self.count_outcomes(&history);
        for side in [Side::Publisher, Side::Consumer, Side::Resetter] {
            let log = Log::open(&log_path(&self.orders.folder, channel.number, side, 0));
            self.count(&log);
        }
        if !self.violations.is_empty() {
            return; // The history is not over.
        }
        for violation in checker::check(&history) {
            self.violations.push(format!(
                "{}: channel {}: {}\n{}",
                violation.what,
                channel.number,
                violation.why,
                history.around(violation.first, violation.last)
            ));
        }
    }

    fn count_outcomes(&mut self, history: &History) {
        for record in history.publishers.iter().chain(&history.consumers) {
            if !record.is_begin() && matches!(record.what(), What::Send | What::Consume | What::LetGo | What::Attach)
            {
                self.figures.add(&format!("outcome {:?} {:?}", record.what(), record.outcome()), 1);
            }
        }
        let delays = checker::delays(history);
        let late = delays.iter().filter(|(_, after)| *after > 100_000_000).count();
        self.figures.add("also told more than 100 ms after the dead one was waited for", late as u64);
        let delays: Vec<u64> = delays.iter().map(|(delay, _)| *delay).collect();
        self.figures.add_delays(&delays, self.has_stops());
    }

    fn count(&mut self, log: &Log) {
        let head = log.head();
        for (what, counter) in [
            ("operations", &head.operations),
            ("also signals", &head.signals),
            ("also forks", &head.forks),
            ("also moves", &head.moves),
            ("also panics", &head.panics),
        ] {
            self.figures.add(what, counter.load(Relaxed));
        }
        let not_refused = head.not_refused.load(Relaxed);
        if not_refused > 0 {
            self.violations.push(format!("forked: {not_refused} calls in forked children were not refused"));
        }
    }

    fn check_doors(&mut self) {
        let mut records = Vec::new();
        for pair in 0..private::PAIRS {
            for side in [Side::Publisher, Side::Consumer] {
                let log = Log::open(&log_path(&self.orders.folder, private::FIRST + pair, side, 0));
                self.count(&log);
            }
        }
        for racer in 0..doors::RACERS {
            let log = Log::open(&log_path(&self.orders.folder, 100, Side::Racer, racer));
            records.extend(log.records());
            self.count(&log);
        }
        for door in done(&records).iter().filter(|done| done.begun.what() == What::Door) {
            let outcome = door.outcome().map_or("died".to_owned(), |outcome| format!("{outcome:?}"));
            self.figures.add(&format!("outcome {:?} {outcome}", door.begun.how()), 1);
        }
        if !self.violations.is_empty() {
            return;
        }
        // A cleaner counts its incarnations from the same number on.
        let lives: Vec<Life> =
            self.lives.iter().filter(|(_, life)| life.side == Side::Racer).map(|(_, life)| *life).collect();
        let mut may_lack = Vec::new();
        if self.orders.climate == Climate::SmallSharedMemory {
            may_lack.push(Outcome::NoSpace);
        }
        if matches!(self.orders.climate, Climate::FewDescriptors | Climate::Everything) {
            may_lack.push(Outcome::NoDescriptors);
        }
        for violation in doors::check(&records, &lives, &may_lack) {
            self.violations.push(format!("at the door: {violation}"));
        }
        // The next one to come sweeps what is left.
        for which in 0..doors::NAMES {
            let name = format!("{}{which}", self.name(100));
            match antiphon::ChannelOptions::new().capacity(64 * 1024).create(&name) {
                Ok(channel) => drop(channel),
                Err(error) => self.violations.push(format!("at the door: when all were gone: {error}")),
            }
            let found = antiphon::Channel::unlink(&name);
            if !matches!(found, Err(Error::NotFound { .. })) {
                self.violations.push(format!("at the door: left by the last one: {found:?}"));
            }
        }
    }

    /// When all are gone, and the next one has come to every name and left, nothing is there.
    fn check_leftovers(&mut self, has_own_shm: bool) {
        let mut left: Vec<String> = names_in_shm().difference(&self.before).cloned().collect();
        left.retain(|name| has_own_shm || name.contains(&format!("{}-", self.orders.name)));
        if !left.is_empty() && self.violations.is_empty() {
            self.violations.push(format!("left behind: {left:?}"));
        }
    }

    /// What somebody living holds is nobody else's to make.
    fn try_to_make_what_is_held(&mut self) {
        if self.held.is_none() || self.dice.below(200) != 0 {
            return;
        }
        self.figures.add("operations", 1);
        match antiphon::ChannelOptions::new().capacity(64 * 1024).create(&self.name(0)) {
            Err(Error::InUse { .. }) => self.figures.add("also refusals to make what is held", 1),
            other => self.violations.push(format!("untrue: create of a channel that is held: {other:?}")),
        }
        let seen = census_of(&self.name(0));
        if seen.as_ref().is_none_or(|entry| entry.state != State::InUse) {
            self.violations.push(format!("untrue: what the census says of a channel that is held: {seen:?}"));
        }
    }

    /// Fills shared memory up to a little, or makes room again.
    fn move_ballast(&mut self) {
        if self.dice.below(40) != 0 {
            return;
        }
        // A private channel's name is nobody's to come by again: of each killed maker one would stay, until the others
        // find no room at all. What somebody is at, or holds, the next time will see.
        if self.dice.below(10) == 0 {
            self.figures.add("also left over and removed", cleaner::clean(&self.orders.name, true).unwrap_or(0));
        }
        let _ = std::fs::remove_file("/dev/shm/ballast");
        let is_to_fill = self.dice.below(3) != 0;
        let spare = self.dice.below(300) * 1024;
        let Ok(file) = std::fs::File::create("/dev/shm/ballast") else { return };
        if is_to_fill {
            // SAFETY: `statvfs` is plain data, and all zeros is one of its values.
            let mut info: libc::statvfs = unsafe { std::mem::zeroed() };
            // SAFETY: an open descriptor and a place for the answer.
            unsafe { libc::fstatvfs(file.as_raw_fd(), &raw mut info) };
            #[allow(clippy::unnecessary_cast)] // Their widths differ between systems.
            let free = info.f_bavail as u64 * info.f_frsize as u64;
            let zeros = vec![0; free.saturating_sub(spare) as usize];
            let _ = std::io::Write::write_all(&mut &file, &zeros);
            self.figures.add("also times that shared memory was filled", 1);
        }
    }
}

/// Whose capacity and kind are the racers' own affair.
const OTHERS: Channel = Channel { number: 100, capacity: 64 * 1024, kind: Kind::Ordinary, operations: 0 };

fn census_of(name: &str) -> Option<Entry> {
    census::look(name).ok()
}

fn start(test: &str, role: &str, orders: &Orders) -> Child {
    let mut words = vec![role.to_owned()];
    words.extend(orders.to_words());
    let stderr = orders.folder.join("stderr");
    let stderr = std::fs::OpenOptions::new().create(true).append(true).open(stderr).unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(WORK, words.join("\u{1f}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .expect("the test's own binary starts")
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: a plain system call on a child that was not waited for.
    unsafe { libc::kill(pid as i32, signal) };
}

/// The process that makes the region anew while nobody has it.
pub fn reset(words: &[String]) {
    let mut worker = Worker::new(words);
    worker.befall();
    let begun = worker.begin(What::Reset, crate::log::How::Create);
    worker.log.append(begun);
    let channel = worker.options().create(&worker.orders.name);
    worker.log.append(worker.end(&begun, &channel));
    worker.finish(channel, true);
}

pub fn folder(run: &Path, round: u64) -> PathBuf {
    run.join(format!("round-{round}"))
}
