//! Measuring the machine: every limit gives figures, a dead partner is an error, and nothing is left behind.
mod support;

use antiphon::limits::{self, Between, Class, Contestant, Copying, Pair, PingPong, Places, Semaphores, Steady, Way};
use std::io;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;
use support::{Watchdog, is_emulated};

/// This test's own process once more, which is a partner as soon as it comes to the test's first line.
fn start(test: &str, places: Places) -> io::Result<Pair> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    Pair::start(command, places)
}

/// Two pairs at once would spin on each other's processors.
static ALONE: Mutex<()> = Mutex::new(());

fn left_behind() -> Vec<String> {
    let stem = format!("bench-{}-", std::process::id());
    let is_its = |name: &String| name.trim_start_matches("sem.").starts_with(&stem);
    support::names_in_shm().into_iter().filter(is_its).collect()
}

fn run(pair: &Pair, contestants: &mut [&mut dyn Contestant]) -> limits::Outcome {
    Steady::new().rounds(12).run(pair, contestants, &mut || Ok(())).unwrap()
}

#[test]
fn every_limit_shows_figures_on_two_processors() {
    limits::answer_if_asked();
    let _alone = ALONE.lock();
    let _watchdog = Watchdog::new("limits apart", 4 * support::PATIENCE);
    let Some(places) = Places::apart() else {
        println!("NOT RUN every_limit_shows_figures_on_two_processors: there is one processor only");
        return;
    };
    let pair = start(this_test!(), places).unwrap();
    assert!(left_behind().is_empty(), "the names go as soon as both have opened them: {:?}", left_behind());
    for bytes in [8, 64, 1000, 65536] {
        let ways = Way::all(bytes);
        let mut bare: Vec<_> = ways.iter().map(|way| PingPong::new(&pair, *way).unwrap()).collect();
        let mut asleep = Semaphores::new(&pair);
        let mut copying = Copying::new(bytes).unwrap();
        let mut all: Vec<&mut dyn Contestant> = bare.iter_mut().map(|one| one as &mut dyn Contestant).collect();
        all.push(&mut asleep);
        all.push(&mut copying);
        let count = all.len();
        let outcome = run(&pair, &mut all);
        for index in 0..count {
            let kept: usize = outcome.classes().iter().map(|class| outcome.values(index, *class).len()).sum();
            assert!(kept + outcome.discarded(index) >= 12, "{bytes} bytes, contestant {index}");
        }
        for class in outcome.classes() {
            assert_ne!(class, Class::SameCore);
            let (_, limit) = outcome.fastest(0..count, class).unwrap();
            assert!(limit.min > 0.0 && limit.min <= limit.median && limit.median <= limit.max, "{limit:?}");
        }
    }
}

#[test]
fn two_on_one_processor_hand_over_all_the_same() {
    limits::answer_if_asked();
    let _alone = ALONE.lock();
    let _watchdog = Watchdog::new("limits together", support::PATIENCE);
    let pair = start(this_test!(), Places::together()).unwrap();
    let way = Way { bytes: 64, each_way: true, between: Between::Yield };
    let mut yielding = PingPong::new(&pair, way).unwrap();
    let mut asleep = Semaphores::new(&pair);
    let outcome = run(&pair, &mut [&mut yielding, &mut asleep]);
    assert!(outcome.classes().iter().all(|class| *class == Class::SameCore));
    assert!(outcome.values(0, Class::SameCore).len() + outcome.discarded(0) >= 12);
}

#[test]
fn a_partner_that_is_killed_ends_the_run_with_an_error() {
    limits::answer_if_asked();
    let _alone = ALONE.lock();
    let _watchdog = Watchdog::new("limits killed", support::PATIENCE);
    for asleep in [false, true] {
        let pair = start(this_test!(), Places::together()).unwrap();
        let partner = pair.partner().to_string();
        let mut samples = 0;
        let mut killer = None;
        let mut go_on = || {
            samples += 1;
            if samples == 5 {
                // Not waited for: it comes in the middle of a sample.
                killer = Some(Command::new("kill").args(["-9", &partner]).spawn()?);
            }
            Ok(())
        };
        let way = Way { bytes: 8, each_way: false, between: Between::Yield };
        let mut awake = PingPong::new(&pair, way).unwrap();
        let mut sleeping = Semaphores::new(&pair);
        let contestant: &mut dyn Contestant = if asleep { &mut sleeping } else { &mut awake };
        let steady = Steady::new().spell(Duration::from_millis(20)).rounds(10_000);
        let error = steady.run(&pair, &mut [contestant], &mut go_on).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
        assert!(killer.unwrap().wait().unwrap().success());
        drop(pair);
        assert!(left_behind().is_empty(), "{:?}", left_behind());
    }
}

#[test]
fn a_program_that_is_no_partner_is_an_error() {
    limits::answer_if_asked();
    let _alone = ALONE.lock();
    let _watchdog = Watchdog::new("limits stranger", support::PATIENCE);
    let error = Pair::start(Command::new("true"), Places::unpinned()).unwrap_err();
    assert!(error.to_string().contains("answer_if_asked"), "{error}");
    let error = Pair::start(Command::new("/nowhere/partner"), Places::unpinned()).unwrap_err();
    // glibc's spawn tells by memory that both share for a moment that there is no such program; an emulator's does not.
    let wanted = if is_emulated() { io::ErrorKind::NotConnected } else { io::ErrorKind::NotFound };
    assert_eq!(error.kind(), wanted, "{error}");
    assert!(left_behind().is_empty(), "{:?}", left_behind());
}

#[test]
fn a_ping_pong_of_more_bytes_than_there_is_room_for_is_refused() {
    limits::answer_if_asked();
    let _alone = ALONE.lock();
    let pair = start(this_test!(), Places::unpinned()).unwrap();
    let way = Way { bytes: limits::MOST_BYTES + 1, each_way: false, between: Between::Pause };
    assert_eq!(PingPong::new(&pair, way).unwrap_err().kind(), io::ErrorKind::InvalidInput);
}
