//! Killed while it comes to a private channel, or leaves it: at either end, at every step, as the
//! first or as the second of the two.
//!
//! Until the names are marked as going, the channel is one like any other, and somebody else takes
//! the dead one's place by the name. From then on nobody comes, the death is told each time, and
//! whoever is told has seen to it that no name is left.

use crate::body::{body, number_of};
use crate::exchange::exchange_fresh;
use crate::support::{Peer, Watchdog, assert_nothing_left, hear, role, say};
use crate::this_test;
use crate::victim::{Plan, deaths, follow, outlive, ready, steps_told, tell_steps};
use antiphon::steps::OPENING;
use antiphon::{Channel, ChannelOptions, Consumer, Error, Publisher};
use std::collections::BTreeSet;
use std::time::Duration;

/// The steps at which the tests below kill, or fail.
pub const STEPS: &[&[&str]] = &[OPENING, ATTACHED];
const ATTACHED: &[&str] = &[
    "private:both-sit",
    "private:marked",
    "unlink:bell-gone",
    "unlink:bells-gone",
    "unlink:region-gone",
    "private:names-gone",
    "detach:left",
    "detach:unlocked",
    "detach:at-the-door",
];

const OPTIONS: ChannelOptions = ChannelOptions::new().capacity(64 * 1024);
const PATIENCE: Duration = Duration::from_secs(30);
/// A death is looked for before a limit is: so it is told, however short that is.
const SHORT: Duration = Duration::from_millis(60);
const STANDING: u64 = 7;

enum End {
    Publisher(Publisher),
    Consumer(Consumer),
}

impl End {
    fn sit(seat: &str, channel: &Channel) -> Result<End, Error> {
        Ok(match seat {
            "publisher" => End::Publisher(channel.publisher()?),
            _ => End::Consumer(channel.consumer()?),
        })
    }

    /// What waiting for the other end brings.
    fn wait(&mut self) -> Error {
        match self {
            End::Publisher(publisher) => publisher.call_timeout(b"anyone?", SHORT).unwrap_err(),
            End::Consumer(consumer) => loop {
                match consumer.consume_timeout(SHORT) {
                    Ok(message) => assert_eq!(number_of(&message.to_vec().unwrap()), Ok(STANDING)),
                    Err(error) => return error,
                }
            },
        }
    }
}

fn opposite(seat: &str) -> &'static str {
    if seat == "publisher" { "consumer" } else { "publisher" }
}

/// `maker` makes the channel and sits at one end; `comer` opens it and sits at the other. Both leave
/// in order, if they come that far.
fn live(what: &str, args: &[String]) {
    let [seat, plan, name] = args else { panic!("{args:?}") };
    let made = (what == "maker").then(|| OPTIONS.private().unwrap());
    if let Some(channel) = &made {
        say(channel.name());
    }
    ready();
    follow(plan);
    let channel = made.unwrap_or_else(|| Channel::open(name).unwrap());
    let mut end = End::sit(seat, &channel).unwrap();
    say("sits");
    if hear() == "leave" {
        if let End::Publisher(publisher) = &mut end {
            let _ = publisher.try_publish(&body(STANDING, 8));
        }
        drop(end);
        drop(channel);
        tell_steps();
    }
}

fn is_gone(name: &str) -> bool {
    match Channel::open(name) {
        Ok(_) => false,
        Err(Error::NotFound { .. }) => true,
        Err(error) => panic!("{error}"),
    }
}

/// Somebody else takes the place of the dead one by the name, and that closes the channel.
fn replace(survivor: &mut End, name: &str, seat: &str) {
    let channel = Channel::open(name).unwrap();
    let mut other = End::sit(seat, &channel).unwrap();
    assert!(is_gone(name), "both sit");
    match (survivor, &mut other) {
        (End::Publisher(publisher), End::Consumer(consumer))
        | (End::Consumer(consumer), End::Publisher(publisher)) => exchange_fresh(publisher, consumer),
        _ => unreachable!(),
    }
}

/// The test's process sits at the other end, first, and survives a comer. What the comer told,
/// where it was not killed.
fn survive_comer(seat: &str, plan: &Plan) -> Vec<String> {
    let what = format!("comer {seat} {plan:?}");
    let _watchdog = Watchdog::new(what.as_str(), PATIENCE);
    let channel = OPTIONS.private().unwrap();
    let name = channel.name().to_owned();
    let mut survivor = End::sit(opposite(seat), &channel).unwrap();
    let test = "private::a_comer_to_a_private_channel_killed_at_any_step_leaves_its_place_or_no_name";
    let mut comer = Peer::start(test, "comer", &[seat, &plan.to_word(), &name]);
    comer.expect("ready");
    comer.tell("go");
    let mut words = Vec::new();
    if let Some(word) = comer.heard() {
        words.push(word);
        comer.tell("leave");
    }
    let end = outlive(comer);
    words.extend(end.words);
    // Which steps come before the mark is asked of the channel itself: it is the comer's only
    // trace. Nobody opens it before the survivor was told, since that would tidy up.
    let is_final = |error: &Error| {
        matches!(error, Error::PeerDied { is_final: true, .. } | Error::Disconnected { is_final: true, .. })
    };
    let first = survivor.wait();
    if is_final(&first) {
        assert_nothing_left(&name);
        for _ in 0..2 {
            let again = survivor.wait();
            assert!(is_final(&again), "{what}: {again}");
        }
    } else {
        let died = matches!(first, Error::PeerDied { is_final: false, .. });
        assert!(died || matches!(first, Error::TimedOut { .. }), "{what}: {first}");
        assert!(matches!(survivor.wait(), Error::TimedOut { .. }), "{what}: told once");
        replace(&mut survivor, &name, seat);
    }
    drop((survivor, channel));
    assert_nothing_left(&name);
    words
}

#[test]
fn a_comer_to_a_private_channel_killed_at_any_step_leaves_its_place_or_no_name() {
    if let Some((what, args)) = role() {
        return live(&what, &args);
    }
    let mut killed_at = BTreeSet::new();
    for seat in ["publisher", "consumer"] {
        let rehearsed = steps_told(&survive_comer(seat, &Plan::Rehearse));
        for plan in deaths(&rehearsed) {
            let words = survive_comer(seat, &plan);
            assert!(words.iter().all(|word| !word.starts_with("steps")), "was to be killed by {plan:?}");
            let Plan::Die { step, .. } = plan else { unreachable!() };
            killed_at.insert(step);
        }
    }
    let missing: Vec<_> = STEPS.iter().copied().flatten().filter(|step| !killed_at.contains(**step)).collect();
    assert!(missing.is_empty(), "nobody was killed at {missing:?}");
}

/// A comer killed at each step, and then the maker as well: what is left, if anything, is removed
/// by its name.
#[test]
fn a_maker_killed_after_a_comer_that_was_killed_leaves_what_its_name_removes() {
    if let Some((what, args)) = role() {
        return live(&what, &args);
    }
    let test = this_test!();
    for seat in ["publisher", "consumer"] {
        for step in STEPS.iter().copied().flatten() {
            let what = format!("both {seat} {step}");
            let _watchdog = Watchdog::new(what.as_str(), PATIENCE);
            let nothing = Plan::Rehearse.to_word();
            let mut maker = Peer::start(test, "maker", &[opposite(seat), &nothing, ""]);
            let name = maker.heard().unwrap();
            maker.expect("ready");
            maker.tell("go");
            maker.expect("sits");
            let plan = Plan::Die { step: (*step).to_owned(), nth: 1 };
            let mut comer = Peer::start(test, "comer", &[seat, &plan.to_word(), &name]);
            comer.expect("ready");
            comer.tell("go");
            let sat = comer.heard().is_some();
            if sat {
                comer.tell("leave");
            }
            assert!(outlive(comer).was_killed, "{what}");
            maker.kill();
            if !sat {
                match Channel::unlink(&name) {
                    Ok(()) | Err(Error::NotFound { .. }) => {}
                    Err(error) => panic!("{what}: {error}"),
                }
            }
            assert_nothing_left(&name);
        }
    }
}

/// The maker is the one that dies, at each step of its own sitting down and leaving.
#[test]
fn a_maker_of_a_private_channel_killed_at_any_step_leaves_the_comer_alone_or_its_place() {
    if let Some((what, args)) = role() {
        return live(&what, &args);
    }
    let test = this_test!();
    let run = |seat: &str, comes_first: bool, plan: &Plan| {
        let what = format!("maker {seat} {comes_first} {plan:?}");
        let _watchdog = Watchdog::new(what.as_str(), PATIENCE);
        let mut maker = Peer::start(test, "maker", &[seat, &plan.to_word(), ""]);
        let name = maker.heard().unwrap();
        maker.expect("ready");
        let channel = Channel::open(&name).unwrap();
        // Who sits down first is the first; the other one removes the names.
        let mut survivor = comes_first.then(|| End::sit(opposite(seat), &channel).unwrap());
        maker.tell("go");
        let sat = maker.heard();
        let survivor = survivor.get_or_insert_with(|| End::sit(opposite(seat), &channel).unwrap());
        let mut words: Vec<String> = sat.into_iter().collect();
        if !words.is_empty() {
            assert!(is_gone(&name), "{what}: both sit");
            maker.tell("leave");
        }
        words.extend(outlive(maker).words);
        match survivor.wait() {
            Error::PeerDied { is_final: true, .. } | Error::Disconnected { is_final: true, .. } => {
                assert_nothing_left(&name);
            }
            Error::PeerDied { .. } | Error::TimedOut { .. } => replace(survivor, &name, seat),
            error => panic!("{what}: {error}"),
        }
        assert_nothing_left(&name);
        words
    };
    for seat in ["publisher", "consumer"] {
        for comes_first in [true, false] {
            let rehearsed = steps_told(&run(seat, comes_first, &Plan::Rehearse));
            assert_eq!(rehearsed.iter().any(|(step, _)| step == "private:marked"), comes_first);
            for plan in deaths(&rehearsed) {
                let words = run(seat, comes_first, &plan);
                assert!(words.iter().all(|word| !word.starts_with("steps")), "was to be killed by {plan:?}");
            }
        }
    }
}
