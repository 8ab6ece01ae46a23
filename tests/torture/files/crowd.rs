//! Block files: one after the other at each place, each with its writers and readers, who are killed and followed by the
//! next; and with a host where it is a session's. When all of a file have gone, somebody comes who brings it to its
//! end; then it is checked, and the next one begins.

use super::{Channel, PATIENCE, Round, Slot, signal, start};
use crate::files::history::FileHistory;
use crate::files::{FILES, FIRST, PLACES, THREADS, checker, control_path, first_incarnation, generation_of};
use crate::history::Life;
use crate::log::{FileHead, How, Log, Outcome, Record, What, now};
use crate::plan::{self, Climate, File, Kind, Side};
use crate::support::names_in_shm;
use crate::worker::{Orders, log_path};
use antiphon::blocks::{BlockFile, FileId};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Of one side, without the one who comes when all have gone.
const WORKERS: u32 = PLACES - 1;

/// A place for one file at a time.
pub struct Crowd {
    number: u32,
    /// Where its slots stand: writers, readers, the host.
    first: usize,
    control: Log,
    generation: u32,
    is_open: bool,
    plan: File,
    /// What the round itself has open of it.
    held: Vec<BlockFile>,
}

impl Crowd {
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    fn head(&self) -> &FileHead {
        &self.control.head().file
    }

    fn has(word: &std::sync::atomic::AtomicU64) -> bool {
        word.load(Relaxed) != 0
    }

    fn writers(&self) -> std::ops::Range<usize> {
        self.first..self.first + self.plan.writers as usize
    }

    fn readers(&self) -> std::ops::Range<usize> {
        let first = self.first + WORKERS as usize;
        first..first + self.plan.readers as usize
    }

    fn of(&self, side: Side) -> std::ops::Range<usize> {
        if side == Side::Writer { self.writers() } else { self.readers() }
    }

    fn host(&self) -> usize {
        self.first + 2 * WORKERS as usize
    }

    /// No two are the same, whatever runs beside this.
    fn session(&self) -> u64 {
        u64::from(std::process::id()) << 32 | u64::from(self.number % 16) << 28 | u64::from(self.generation)
    }

    /// What stands in shared memory of it.
    fn ids(&self) -> Vec<FileId> {
        let session = self.session();
        match self.plan.parts {
            0 => vec![FileId { session, file: 1 }],
            parts => {
                let numbers = self.head().parts[..parts as usize].iter();
                numbers.map(|file| FileId { session, file: file.load(Relaxed) as u32 }).collect()
            }
        }
    }
}

impl Round {
    pub fn add_crowds(&mut self) {
        for which in 0..FILES {
            let (number, first) = (FIRST + which, self.slots.len());
            let channel = Channel { number, capacity: 64 * 1024, kind: Kind::Ordinary, operations: u64::MAX };
            for (side, places) in [(Side::Writer, WORKERS), (Side::Reader, WORKERS), (Side::Host, 1)] {
                for place in 0..places {
                    let mut slot = self.slot(&channel, side, place * THREADS);
                    let others = (1..THREADS).map(|nth| place * THREADS + nth);
                    let open = |slot: u32| Log::open(&log_path(&self.orders.folder, number, side, slot));
                    slot.others = if side == Side::Host { Vec::new() } else { others.map(open).collect() };
                    self.slots.push(slot);
                }
            }
            let control = Log::open(&control_path(&self.orders.folder, number));
            let plan = plan::file(self.orders.seed, self.orders.climate, number, 0);
            let crowd = Crowd { number, first, control, generation: 0, is_open: false, plan, held: Vec::new() };
            self.crowds.push(crowd);
        }
    }

    pub fn look_after_crowd(&mut self, which: usize) {
        let (first, host) = (self.crowds[which].first, self.crowds[which].host());
        for at in first..=host {
            self.watch(at);
        }
        if !self.crowds[which].is_open {
            let mut working = self.slots.iter().filter(|slot| slot.is_ordinary());
            if self.violations.is_empty() && !working.all(|slot| slot.is_finished) {
                self.begin_file(which);
            }
            return;
        }
        self.hold(which);
        let crowd = &self.crowds[which];
        let head = crowd.head();
        let made = Crowd::has(&head.made) && (crowd.plan.parts == 0 || !crowd.held.is_empty());
        let writes = !(Crowd::has(&head.finished) || Crowd::has(&head.vanished) || Crowd::has(&head.abandoned));
        let reads = !(Crowd::has(&head.drained) || Crowd::has(&head.vanished));
        let runs = |places: std::ops::Range<usize>| places.into_iter().any(|at| self.slots[at].running.is_some());
        if !writes && !reads && !runs(crowd.writers()) && !runs(crowd.readers()) {
            return self.close_file(which);
        }
        let abandons = crowd.plan.abandoned_after.is_some_and(|after| head.filled.load(Relaxed) > after);
        if abandons && writes && crowd.plan.parts == 0 {
            head.abandoned.store(1, Relaxed);
            self.figures.add("also block files whose writers were all killed", 1);
            for at in self.crowds[which].writers() {
                self.end(at);
            }
            return;
        }
        if Crowd::has(&head.abandoned) && !runs(crowd.writers()) {
            // Who was told before that nobody writes, and has come back since, waits for ever.
            for at in crowd.readers() {
                let is_idle = |running: &super::Running| running.progress.1.elapsed() > Duration::from_secs(3);
                if self.slots[at].running.as_ref().is_some_and(is_idle) {
                    self.end(at);
                }
            }
        }
        let crowd = &self.crowds[which];
        let has_writers = crowd.writers().any(|at| self.slots[at].running.is_some());
        if !writes && !has_writers && crowd.plan.parts > 0 && self.dice.below(50) == 0 {
            self.finish_strays(which);
        }
        let (writers, readers) = (self.crowds[which].writers(), self.crowds[which].readers());
        let session = self.crowds[which].session();
        let has_host = self.crowds[which].plan.parts > 0;
        let (mut to_start, is_free) = (Vec::new(), |at: usize| self.slots[at].running.is_none());
        if writes && self.may_start(which, Side::Writer) {
            to_start.extend(writers.clone().filter(|at| is_free(*at) && (made || *at == writers.start)));
        }
        if reads && made && self.may_start(which, Side::Reader) {
            to_start.extend(readers.filter(|at| is_free(*at)));
        }
        if has_host && is_free(host) {
            to_start.push(host);
        }
        for at in to_start {
            let slot = &mut self.slots[at];
            slot.orders.name = format!("{session:016X}");
            self.start(at);
        }
    }

    fn begin_file(&mut self, which: usize) {
        let crowd = &mut self.crowds[which];
        crowd.generation += 1;
        crowd.is_open = true;
        crowd.plan = plan::file(self.orders.seed, self.orders.climate, crowd.number, crowd.generation);
        crowd.control.head().begin_anew();
        for slot in &mut self.slots[crowd.first..=crowd.host()] {
            slot.orders.incarnation = first_incarnation(crowd.generation, slot.orders.slot / THREADS);
            for log in std::iter::once(&slot.log).chain(&slot.others) {
                log.head().begin_anew();
            }
        }
        for side in [Side::Writer, Side::Reader] {
            Log::open(&log_path(&self.orders.folder, crowd.number, side, WORKERS * THREADS)).head().begin_anew();
        }
    }

    /// Some are held open all the time by one who neither writes nor reads; so is every file of a session, else one in
    /// which nothing stands goes with its host and the last one that leaves. Not where others are stopped, as with the
    /// first channel.
    fn hold(&mut self, which: usize) {
        let has_stops = self.has_stops();
        let crowd = &mut self.crowds[which];
        let is_due = crowd.plan.is_held || crowd.plan.parts > 0;
        let is_there = Crowd::has(&crowd.head().made) && !Crowd::has(&crowd.head().vanished);
        if !is_due || !is_there || has_stops || !crowd.held.is_empty() {
            return;
        }
        let held: Result<Vec<BlockFile>, _> = crowd.ids().into_iter().map(BlockFile::open).collect();
        match held {
            Ok(held) => crowd.held = held,
            Err(_) => crowd.head().vanished.store(1, Relaxed),
        }
    }

    /// A writer that came when a part was finished and read has made another file of the same name; where it was killed
    /// before it finished that one, readers wait for what nobody will write.
    fn finish_strays(&self, which: usize) {
        let crowd = &self.crowds[which];
        let session = crowd.session();
        for name in names_in_shm() {
            let number = name.strip_prefix(&format!("{session:016X}-"));
            let Some(file) = number.and_then(|number| u32::from_str_radix(number, 16).ok()) else { continue };
            let id = FileId { session, file };
            if !crowd.ids().contains(&id) {
                let finish = |file: BlockFile| file.writer()?.finish_timeout(Duration::ZERO);
                let _ = BlockFile::open(id).and_then(finish);
            }
        }
    }

    /// Ends one from outside.
    fn end(&mut self, at: usize) {
        let Some(running) = &mut self.slots[at].running else { return };
        if running.killed_from_outside.is_none() {
            running.killed_from_outside = Some(now());
            self.figures.add("killed from outside", 1);
            signal(running.child.id(), libc::SIGKILL);
        }
    }

    /// Where one of a side died who was the last of it, and had done something, the next one comes when all of the other
    /// side were told who had been there.
    fn may_start(&self, which: usize, side: Side) -> bool {
        let crowd = &self.crowds[which];
        let is_running = |at: usize| self.slots[at].running.is_some();
        if !crowd.plan.is_patient || crowd.plan.parts > 0 || crowd.of(side).any(is_running) {
            return true;
        }
        let is_its = |(number, life): &&(u32, Life)| {
            *number == crowd.number && life.side == side && generation_of(life.incarnation) == crowd.generation
        };
        let last = self.lives.iter().filter(is_its).map(|(_, life)| life).max_by_key(|life| life.gone);
        let Some((last, died)) = last.and_then(|last| Some((last, last.died?))) else { return true };
        let of_last =
            crowd.of(side).map(|at| &self.slots[at]).find(|slot| slot.orders.incarnation == last.incarnation);
        let passes = if side == Side::Writer { What::Fill } else { What::LetGo };
        let is_work = |record: &Record| {
            record.incarnation == last.incarnation
                && record.what() == passes
                && record.how() == How::Complete
                && record.outcome() == Outcome::Fine
                && record.time < died
        };
        let has_worked = of_last.is_some_and(|slot| slot.logs().any(|log| log.records().iter().any(is_work)));
        // Who dies when it has left is no news.
        let leaves = |record: &Record| record.incarnation == last.incarnation && record.what() == What::Leave;
        let has_left = of_last.is_some_and(|slot| slot.logs().any(|log| log.records().iter().any(leaves)));
        if !has_worked || has_left {
            return true;
        }
        let other = if side == Side::Writer { Side::Reader } else { Side::Writer };
        crowd.of(other).map(|at| &self.slots[at]).filter(|slot| slot.running.is_some()).all(|slot| {
            let incarnation = slot.orders.incarnation;
            let sat = |record: &Record| {
                record.incarnation == incarnation
                    && record.what() == What::Attach
                    && record.outcome() == Outcome::Fine
                    && record.time < died
            };
            if !slot.log.records().iter().any(sat) {
                return true;
            }
            slot.logs().all(|log| {
                let records = log.records();
                let mut its = records.iter().rev().take_while(|record| record.incarnation == incarnation).peekable();
                // A thread that has not begun, or has ended.
                if its.peek().is_none_or(|last| last.what() == What::Leave) {
                    return true;
                }
                let is_news = |record: &Record| {
                    let of_itself = [Outcome::Begun, Outcome::Fine, Outcome::Nothing, Outcome::TimedOut];
                    !of_itself.contains(&record.outcome()) && record.time >= died
                };
                its.any(is_news)
            })
        })
    }

    /// All have gone: somebody brings it to its end, and it is checked.
    fn close_file(&mut self, which: usize) {
        let host = self.crowds[which].host();
        self.crowds[which].held.clear();
        if self.slots[host].running.is_some() {
            return self.end(host);
        }
        self.crowds[which].is_open = false;
        self.drain_file(which);
        let crowd = &self.crowds[which];
        let mut left = crowd.ids();
        left.retain(|id| !matches!(BlockFile::open(*id), Err(antiphon::Error::NotFound { .. })));
        let history = self.file_history(which);
        if !left.is_empty() && self.violations.is_empty() {
            let what = format!("left behind: {left:?} of file {}", crowd.number);
            self.violations.push(format!("{what}\n{}", history.around(None, u64::MAX, u64::MAX)));
        }
        let kind = match (crowd.plan.parts, crowd.plan.cancelled_after) {
            (0, None) => "also block files",
            (0, Some(_)) => "also block files to be cancelled",
            (1, _) => "also files of a session",
            _ => "also sparse files of a session",
        };
        let head = crowd.head();
        self.figures.add(kind, 1);
        self.figures.add("also blocks that were completed", head.filled.load(Relaxed));
        for record in history.writers.iter().chain(&history.readers) {
            let is_told = matches!(record.what(), What::Claim | What::Take | What::Finish);
            if is_told && !record.is_begin() {
                self.figures.add(&format!("outcome {:?} {:?}", record.what(), record.outcome()), 1);
            }
            if is_told && record.has(crate::log::MARKED) {
                self.figures.add(&format!("also marked at {:?}", record.what()), 1);
            }
        }
        let number = crowd.number;
        for (side, slots) in [(Side::Writer, PLACES * THREADS), (Side::Reader, PLACES * THREADS), (Side::Host, 1)] {
            for slot in 0..slots {
                self.count(&Log::open(&log_path(&self.orders.folder, number, side, slot)));
            }
        }
        if !self.has_stops() {
            self.figures.add_delays_of_files(&checker::delays(&history));
        }
        for (offset, violation) in checker::check(&history) {
            let around = history.around(offset, violation.first, violation.last);
            let (what, why) = (violation.what, violation.why);
            self.violations.push(format!("{what}: block file {number}: {why}\n{around}"));
        }
    }

    fn drain_file(&mut self, which: usize) {
        let crowd = &self.crowds[which];
        if !self.violations.is_empty() || !Crowd::has(&crowd.head().made) {
            return;
        }
        let orders = Orders {
            side: Side::Writer,
            incarnation: first_incarnation(crowd.generation, WORKERS) + 1,
            slot: WORKERS * THREADS,
            name: format!("{:016X}", crowd.session()),
            ..self.slots[crowd.first].orders.clone()
        };
        let (number, incarnation, started) = (crowd.number, orders.incarnation, now());
        let mut child = start(&self.test, "drain-file", &orders);
        let (pid, until) = (child.id(), Instant::now() + PATIENCE);
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > until => {
                    let _ = child.kill();
                    break child.wait().unwrap();
                }
                None => std::thread::sleep(Duration::from_micros(500)),
            }
        };
        let gone = now();
        for side in [Side::Writer, Side::Reader] {
            self.lives.push((number, Life { side, incarnation, pid, started, died: None, gone }));
        }
        if !status.success() {
            let stderr = std::fs::read_to_string(self.orders.folder.join("stderr")).unwrap_or_default();
            let history = self.file_history(which).around(None, started, u64::MAX);
            let what = format!("hangs: or ended: who came to file {number} when all had gone: {status}");
            self.violations.push(format!("{what}\n{stderr}\n{history}"));
        }
    }

    fn file_history(&self, which: usize) -> FileHistory {
        let crowd = &self.crowds[which];
        let records = |side: Side| -> Vec<Record> {
            let slots = 0..PLACES * THREADS;
            let logs = slots.map(|slot| Log::open(&log_path(&self.orders.folder, crowd.number, side, slot)));
            logs.flat_map(|log| log.records()).collect()
        };
        let is_its = |(number, life): &&(u32, Life)| {
            *number == crowd.number && generation_of(life.incarnation) == crowd.generation
        };
        FileHistory {
            plan: crowd.plan,
            writers: records(Side::Writer),
            readers: records(Side::Reader),
            lives: self.lives.iter().filter(is_its).map(|(_, life)| *life).collect(),
            may_lack_space: self.orders.climate == Climate::SmallSharedMemory,
            may_lack_descriptors: matches!(self.orders.climate, Climate::FewDescriptors | Climate::Everything),
            has_cleaner: matches!(self.orders.climate, Climate::Cleaning | Climate::Everything),
        }
    }

    /// What is known of one that hangs.
    pub fn why_it_hangs(&self, at: usize) -> String {
        let slot = &self.slots[at];
        let Some(which) = self.crowds.iter().position(|crowd| crowd.number == slot.orders.channel) else {
            return String::new();
        };
        let first = slot.log.records().last().map_or(0, |last| last.time);
        let around = self.file_history(which).around(None, first, u64::MAX);
        format!("{}\n{around}", self.how_it_stands(which))
    }

    /// Who is at what, and what stands in which block.
    pub fn how_it_stands(&self, which: usize) -> String {
        let crowd = &self.crowds[which];
        let mut text = format!("block file {}: {:?}\n", crowd.number, crowd.plan);
        for slot in self.slots[crowd.first..=crowd.host()].iter().filter(|slot| slot.running.is_some()) {
            let last = slot.logs().filter_map(|log| log.records().last().map(Record::to_string));
            text += &format!("{:?} {:?}\n", slot.orders.side, last.collect::<Vec<_>>());
        }
        let told = [Side::Writer, Side::Reader].map(|side| self.may_start(which, side));
        text += &format!("writers, readers may come: {told:?}; where not, somebody is still to be told of a death\n");
        for id in crowd.ids() {
            text += &format!("{id}: {:?}\n", BlockFile::open(id).and_then(|file| file.state()));
        }
        text
    }

    /// Nobody works on a file any more.
    pub fn are_files_over(&self) -> bool {
        self.crowds.iter().all(|crowd| !crowd.is_open)
    }

    /// After a violation: what stands there is of no interest any more.
    pub fn remove_files(&mut self) {
        for crowd in &mut self.crowds {
            crowd.held.clear();
            for id in crowd.ids() {
                let _ = BlockFile::unlink(id);
            }
        }
    }
}

impl Slot {
    /// By thread.
    fn logs(&self) -> impl Iterator<Item = &Log> {
        std::iter::once(&self.log).chain(&self.others)
    }

    /// How much all of its threads wrote.
    pub fn count(&self) -> u64 {
        self.logs().map(Log::count).sum()
    }
}
