//! Killed or stopped at the door: while it creates, opens, sits, reclaims, leaves or removes.
//!
//! A rehearsal tells the steps of each operation in each situation; the victim is killed at each of
//! them. Whatever it left, the next one opens it whole or does not find it, `create` makes a new
//! one of it, and after that one's orderly end nothing of the name is left.

use crate::body::{body, number_of};
use crate::exchange::exchange_fresh;
use crate::support::{Peer, Watchdog, assert_nothing_left, hear, role, say, unique};
use crate::this_test;
use crate::victim::{Plan, deaths, follow, ignore_steps, is_stopped, on_step, outlive, ready};
use crate::victim::{steps_told, tell_steps};
use antiphon::steps::OPENING;
use antiphon::{Channel, ChannelOptions, Consumer, Error, Publisher};
use std::collections::BTreeSet;
use std::time::Duration;

/// The steps at which each of the tests below kills, or fails.
pub const STEPS: &[&[&str]] = &[CREATING, OPENING, REMOVING];
const CREATING: &[&str] = &[
    "create:anchored",
    "create:at-the-door",
    "create:sized",
    "create:reserved",
    "create:filled",
    "create:belled",
    "attach:locked",
    "attach:repaired",
    "create:seated",
    "create:complete",
    "reclaim:all-dead",
    "unlink:marked",
    "unlink:bell-gone",
    "unlink:bells-gone",
    "unlink:region-gone",
];
const REMOVING: &[&str] = &[
    "detach:left",
    "detach:unlocked",
    "detach:at-the-door",
    "unlink:marked",
    "unlink:bell-gone",
    "unlink:bells-gone",
    "unlink:region-gone",
];

const OPTIONS: ChannelOptions = ChannelOptions::new().capacity(64 * 1024);
const PATIENCE: Duration = Duration::from_secs(30);
/// The message that stands in what is left over.
const STANDING: u64 = 7;

/// What a victim does with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Create,
    OpenOrCreate,
    /// Opens, and takes an end's seat.
    Publish,
    Consume,
    Unlink,
}

const ACTS: [Act; 5] = [Act::Create, Act::OpenOrCreate, Act::Publish, Act::Consume, Act::Unlink];

/// What it finds there.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Before {
    Nothing,
    /// A dead publisher's message.
    LeftOver,
    /// A message that a dead consumer had taken.
    Held,
    /// The test's process, at the end that the victim does not take.
    Living,
    /// What a victim left that was killed in this act, at this step.
    Half(Act, &'static str),
}

fn act_of(word: &str) -> Act {
    *ACTS.iter().find(|act| format!("{act:?}") == word).unwrap()
}

/// A process's part in any of these tests.
fn live(what: &str, args: &[String]) {
    let name = &args[0];
    match what {
        "leave" | "hold" => {
            let channel = OPTIONS.create(name).unwrap();
            channel.publisher().unwrap().publish(&body(STANDING, 8)).unwrap();
            let mut consumer = (what == "hold").then(|| channel.consumer().unwrap());
            let _message = consumer.as_mut().map(|consumer| consumer.consume().unwrap());
            ready();
        }
        "race" => {
            let mut name = hear();
            while name != "end" {
                match OPTIONS.create(&name) {
                    Ok(_channel) => {
                        say("created");
                        hear();
                    }
                    Err(error) => {
                        say(short(&error));
                        hear();
                    }
                }
                say("done");
                name = hear();
            }
        }
        "stop" => stopped(name, act_of(&args[2]), &args[1]),
        _ => {
            let act = act_of(&args[2]);
            ready();
            follow(&args[1]);
            let channel = match act {
                Act::Create => Some(OPTIONS.create(name).unwrap()),
                Act::OpenOrCreate => Some(OPTIONS.open_or_create(name).unwrap()),
                Act::Publish | Act::Consume => Some(OPTIONS.open(name).unwrap()),
                Act::Unlink => {
                    Channel::unlink(name).unwrap();
                    None
                }
            };
            match act {
                Act::Publish => drop(channel.as_ref().unwrap().publisher().unwrap()),
                Act::Consume => drop(channel.as_ref().unwrap().consumer().unwrap()),
                _ => {}
            }
            drop(channel);
            tell_steps();
        }
    }
}

fn short(error: &Error) -> String {
    format!("{error:?}").split(' ').next().unwrap().to_owned()
}

/// Makes what the victim shall find.
fn prepare(test: &str, name: &str, before: &Before) {
    match before {
        Before::LeftOver | Before::Held => {
            let what = if *before == Before::Held { "hold" } else { "leave" };
            let mut maker = Peer::start(test, what, &[name]);
            maker.expect("ready");
            maker.kill();
        }
        Before::Half(act, step) => {
            let plan = Plan::Die { step: (*step).to_owned(), nth: 1 };
            if *act == Act::Unlink {
                prepare(test, name, &Before::LeftOver);
            }
            assert!(let_die(test, name, *act, &plan).1, "{before:?}");
        }
        Before::Nothing | Before::Living => {}
    }
}

/// What the victim said, and whether it was killed.
fn let_die(test: &str, name: &str, act: Act, plan: &Plan) -> (Vec<String>, bool) {
    let args = [name, &plan.to_word(), &format!("{act:?}")];
    let mut victim = Peer::start(test, "act", &args);
    victim.expect("ready");
    victim.tell("go");
    let end = outlive(victim);
    (end.words, end.was_killed)
}

#[derive(Debug)]
enum Survivor {
    Publisher(Publisher),
    Consumer(Consumer),
}

/// One life, and what comes after. Which steps it came by, where it was not killed.
fn run(test: &str, act: Act, before: &Before, plan: &Plan, open_first: bool) -> Vec<String> {
    let what = format!("{test}: {act:?} {before:?} {plan:?} {open_first}");
    let _watchdog = Watchdog::new(&what, PATIENCE);
    let name = unique("d");
    let outcome = std::panic::catch_unwind(|| {
        prepare(test, &name, before);
        let survivor = (*before == Before::Living).then(|| {
            let channel = OPTIONS.create(&name).unwrap();
            match act {
                Act::Consume => Survivor::Publisher(channel.publisher().unwrap()),
                _ => Survivor::Consumer(channel.consumer().unwrap()),
            }
        });
        let (words, _) = let_die(test, &name, act, plan);
        let was_living = survivor.is_some();
        if let Some(survivor) = survivor {
            go_on(survivor, &name, act);
        }
        if !was_living && open_first {
            open_what_is_left(&name, act, before);
        }
        let channel = OPTIONS.create(&name).unwrap();
        exchange_fresh(&mut channel.publisher().unwrap(), &mut channel.consumer().unwrap());
        drop(channel);
        assert_nothing_left(&name);
        words
    });
    outcome.unwrap_or_else(|_| panic!("in {what}"))
}

/// The survivor at the other end goes on with the next peer, where the name was not to be removed.
fn go_on(survivor: Survivor, name: &str, act: Act) {
    let next = OPTIONS.open(name);
    if act == Act::Unlink {
        assert!(matches!(next, Err(Error::NotFound { .. })), "{next:?}");
        return;
    }
    let next = next.unwrap();
    match survivor {
        Survivor::Publisher(mut publisher) => {
            exchange_fresh(&mut publisher, &mut next.consumer().unwrap());
        }
        Survivor::Consumer(mut consumer) => {
            exchange_fresh(&mut next.publisher().unwrap(), &mut consumer);
        }
    }
}

fn open_what_is_left(name: &str, act: Act, before: &Before) {
    let channel = match OPTIONS.open(name) {
        Ok(channel) => channel,
        Err(Error::NotFound { .. }) => {
            let keeps = matches!(act, Act::Publish | Act::Consume)
                || (act == Act::OpenOrCreate && *before != Before::Nothing);
            assert!(!keeps, "what was left over is gone");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let mut consumer = channel.consumer().unwrap();
    let stands = consumer.try_consume().unwrap().map(|message| {
        let marked = message.redelivered();
        assert_eq!(number_of(&message.to_vec().unwrap()), Ok(STANDING));
        marked
    });
    match before {
        Before::LeftOver if act != Act::Create && act != Act::Unlink => {
            assert_eq!(stands, Some(false), "acknowledged, and nobody had it");
        }
        Before::Held if act != Act::Create => {
            assert_eq!(stands, Some(true), "a dead consumer had it");
        }
        Before::LeftOver => assert_ne!(stands, Some(true)),
        _ => assert_eq!(stands, None),
    }
    exchange_fresh(&mut channel.publisher().unwrap(), &mut consumer);
}

fn matrix(test: &str, lives: &[(Act, Before)], steps: &[&str]) {
    if let Some((what, args)) = role() {
        return live(&what, &args);
    }
    let mut killed_at = BTreeSet::new();
    let mut kills = 0;
    for (act, before) in lives {
        let rehearsed = steps_told(&run(test, *act, before, &Plan::Rehearse, false));
        for plan in deaths(&rehearsed) {
            for open_first in [false, true] {
                let words = run(test, *act, before, &plan, open_first);
                assert!(words.is_empty(), "was to be killed in {act:?} {before:?} {plan:?}");
                kills += 1;
            }
            let Plan::Die { step, .. } = plan else { unreachable!() };
            killed_at.insert(step);
        }
    }
    println!("{test}: {kills} kills");
    let missing: Vec<_> = steps.iter().filter(|step| !killed_at.contains(**step)).collect();
    assert!(missing.is_empty(), "nobody was killed at {missing:?}");
}

#[test]
fn a_maker_killed_at_any_step_leaves_what_create_makes_a_new_one_of() {
    let lives = [
        (Act::Create, Before::Nothing),
        (Act::Create, Before::LeftOver),
        (Act::OpenOrCreate, Before::Nothing),
        (Act::OpenOrCreate, Before::LeftOver),
    ];
    matrix(this_test!(), &lives, CREATING);
}

#[test]
fn an_opener_killed_at_any_step_leaves_seat_and_message_to_the_next() {
    let lives = [
        (Act::Publish, Before::Living),
        (Act::Consume, Before::Living),
        (Act::Publish, Before::LeftOver),
        (Act::Consume, Before::LeftOver),
        (Act::Publish, Before::Held),
        (Act::Consume, Before::Held),
    ];
    matrix(this_test!(), &lives, OPENING);
}

#[test]
fn a_remover_killed_at_any_step_leaves_the_rest_to_the_next() {
    let lives = [
        (Act::Unlink, Before::Living),
        (Act::Unlink, Before::LeftOver),
        (Act::Create, Before::Nothing), // Which leaves as the last one.
        (Act::Consume, Before::Living),
    ];
    matrix(this_test!(), &lives, REMOVING);
}

#[test]
fn a_second_maker_killed_over_what_the_first_left_is_no_worse() {
    let mut lives = Vec::new();
    for step in CREATING.iter().copied().filter(|step| *step != "reclaim:all-dead") {
        let by = if step.starts_with("unlink") { Act::Unlink } else { Act::Create };
        lives.push((Act::Create, Before::Half(by, step)));
    }
    matrix(this_test!(), &lives, CREATING);
}

// ---- Two at once ----

#[test]
fn of_two_who_reclaim_a_dead_name_at_once_exactly_one_gets_it() {
    if let Some((what, args)) = role() {
        return live(&what, &args);
    }
    let _watchdog = Watchdog::new("two reclaim", PATIENCE);
    let test = this_test!();
    let mut racers = ["one", "two"].map(|which| Peer::start(test, "race", &[which]));
    let before = [
        Before::Nothing,
        Before::LeftOver,
        Before::Half(Act::Create, "create:anchored"),
        Before::Half(Act::Create, "create:filled"),
        Before::Half(Act::Unlink, "unlink:bell-gone"),
    ];
    for round in 0..40 {
        let name = unique("race");
        prepare(test, &name, &before[round % before.len()]);
        racers.iter_mut().for_each(|racer| racer.tell(&name));
        let mut said = racers.each_mut().map(|racer| racer.heard().unwrap());
        said.sort();
        assert_eq!(said, ["InUse", "created"], "{:?}", before[round % before.len()]);
        racers.iter_mut().for_each(|racer| racer.tell("on"));
        racers.iter_mut().for_each(|racer| racer.expect("done"));
        assert_nothing_left(&name);
    }
    for mut racer in racers {
        racer.tell("end");
        racer.succeed();
    }
}

// ---- Stopped at the door ----

/// A victim that stops itself, is continued, and tells what it got.
fn stopped(name: &str, act: Act, plan: &str) {
    ready();
    follow(plan);
    let got = match act {
        Act::Create => OPTIONS.create(name),
        Act::OpenOrCreate => OPTIONS.open_or_create(name),
        _ => OPTIONS.open(name),
    };
    ignore_steps();
    let channel = match got {
        Ok(channel) => channel,
        Err(error) => return say(short(&error)),
    };
    say("Ok");
    if hear() == "consume" {
        let mut consumer = channel.consumer().unwrap();
        loop {
            let message = match consumer.consume_timeout(Duration::from_secs(5)) {
                Ok(message) => message,
                Err(Error::PeerDied { .. } | Error::Disconnected { .. }) => continue,
                Err(error) => return say(short(&error)),
            };
            let number = number_of(&message.to_vec().unwrap()).unwrap();
            if number != STANDING {
                break say(format_args!("got {number}"));
            }
        }
        hear();
    }
}

/// While a victim is stopped at a step of `act`, the test's process does `other`: in the end both
/// share one channel, or only one of them thinks that it has one.
fn stop_and_meet(test: &str, act: Act, before: &Before, step: &str, other: Act) {
    let what = format!("{act:?} {before:?} stopped at {step}, {other:?}");
    let _watchdog = Watchdog::new(&what, PATIENCE);
    let name = unique("s");
    prepare(test, &name, before);
    let plan = Plan::Stop { step: step.to_owned() }.to_word();
    let mut victim = Peer::start(test, "stop", &[&name, &plan, &format!("{act:?}")]);
    victim.expect("ready");
    victim.tell("go");
    assert!(is_stopped(victim.pid()), "it did not stop: {what}");
    let has_door = !step.ends_with(":anchored");
    let (arrived, has_arrived) = std::sync::mpsc::channel();
    let mine = std::thread::scope(|scope| {
        let mine = scope.spawn(|| {
            if other == Act::Unlink {
                arrived.send(()).unwrap(); // It has no step before the door.
                return Err(Channel::unlink(&name).err());
            }
            on_step(move |here| {
                if here == "create:anchored" {
                    let _ = arrived.send(());
                }
            });
            let got = match other {
                Act::Create => OPTIONS.create(&name),
                Act::OpenOrCreate => OPTIONS.open_or_create(&name),
                _ => OPTIONS.open(&name),
            };
            ignore_steps();
            got.map_err(Some)
        });
        if has_door {
            let _ = has_arrived.recv(); // Or it is done: the name was gone already.
            victim.signal(libc::SIGCONT);
            mine.join().unwrap()
        } else {
            let mine = mine.join().unwrap();
            victim.signal(libc::SIGCONT);
            mine
        }
    });
    let theirs = victim.heard().unwrap();
    match (&mine, theirs.as_str()) {
        (Ok(channel), "Ok") => {
            assert!(act != Act::Create || other != Act::Create, "both created: {what}");
            let mut publisher = channel.publisher().unwrap();
            victim.tell("consume");
            let sent = publisher.publish_timeout(&body(1, 8), Duration::from_secs(5));
            assert!(sent.is_ok(), "{sent:?}: {what}");
            assert_eq!(victim.heard().as_deref(), Some("got 1"), "two channels of a name: {what}");
        }
        (Ok(_), "InUse" | "NotFound") => {}
        (Err(None | Some(Error::InUse { .. } | Error::NotFound { .. })), "Ok" | "NotFound") => {}
        (mine, theirs) => panic!("{mine:?} and {theirs}: {what}"),
    }
    drop(mine);
    if theirs == "Ok" {
        victim.tell("end");
    }
    victim.succeed();
    drop(OPTIONS.create(&name).unwrap());
    assert_nothing_left(&name);
}

#[test]
fn who_is_stopped_at_the_door_never_ends_in_a_channel_of_its_own() {
    if let Some((what, args)) = role() {
        return live(&what, &args);
    }
    let opening: Vec<&str> = OPENING.iter().copied().filter(|step| step.starts_with("open")).collect();
    let building: Vec<&str> = CREATING.iter().copied().filter(|step| step.starts_with("create")).collect();
    let reclaiming: Vec<&str> = CREATING.to_vec();
    let mut meetings = 0;
    for (act, before, steps) in [
        (Act::Create, Before::Nothing, &building),
        (Act::Create, Before::LeftOver, &reclaiming),
        (Act::OpenOrCreate, Before::Nothing, &building),
        (Act::OpenOrCreate, Before::LeftOver, &opening),
        (Act::Publish, Before::LeftOver, &opening),
    ] {
        for step in steps {
            for other in [Act::Create, Act::OpenOrCreate, Act::Publish, Act::Unlink] {
                stop_and_meet(this_test!(), act, &before, step, other);
                meetings += 1;
            }
        }
    }
    println!("{}: {meetings} meetings", this_test!());
}

/// Slow by its nature: the patience with whoever keeps the door is ten seconds.
#[test]
fn who_stops_at_the_door_makes_the_others_stuck_and_not_hang() {
    if let Some((what, args)) = role() {
        return live(&what, &args);
    }
    let _watchdog = Watchdog::new("stuck", 2 * PATIENCE);
    let names = [unique("stuck"), unique("stuck")];
    let plan = |step: &str| Plan::Stop { step: step.to_owned() }.to_word();
    // One stops while it makes a channel, another while it leaves one that the test has too.
    let mut maker = Peer::start(this_test!(), "stop", &[&names[0], &plan("create:filled"), "Create"]);
    let channel = OPTIONS.create(&names[1]).unwrap();
    let leaver = [&names[1], &plan("detach:at-the-door"), "Consume"];
    let mut leaver = Peer::start(this_test!(), "act", &leaver);
    for victim in [&mut maker, &mut leaver] {
        victim.expect("ready");
        victim.tell("go");
        assert!(is_stopped(victim.pid()));
    }
    std::thread::scope(|scope| {
        let stuck: Vec<_> = [
            scope.spawn(|| OPTIONS.create(&names[0]).err()),
            scope.spawn(|| OPTIONS.open(&names[0]).err()),
            scope.spawn(|| OPTIONS.open_or_create(&names[0]).err()),
            scope.spawn(|| Channel::unlink(&names[0]).err()),
            scope.spawn(|| OPTIONS.open(&names[1]).err()),
            scope.spawn(|| channel.publisher().err()),
        ]
        .into_iter()
        .map(|stuck| stuck.join().unwrap())
        .collect();
        assert!(stuck.iter().all(|error| matches!(error, Some(Error::Stuck { .. }))), "{stuck:?}");
    });
    maker.signal(libc::SIGCONT);
    maker.expect("Ok");
    maker.tell("end");
    maker.succeed();
    leaver.signal(libc::SIGCONT);
    leaver.succeed();
    drop(channel);
    names.iter().for_each(|name| assert_nothing_left(name));
}
