//! Whole messages, calls, and rounds: the models of `turn.rs`.

use super::super::turn::{Content, REDELIVERED, Side};
use super::{
    Dies, End, Limit, Outcomes, Received, Region, Sent, both, end_a_consumer, explore, replace_a_publisher, send_long,
};

#[test]
fn two_ends_that_sleep_never_miss_a_turn_and_never_share_one() {
    // At most three preemptions: without a bound, minutes.
    explore(3, || {
        let region = Region::new();
        let (publisher, consumer) = both(
            &region,
            |mut publisher| {
                for value in 1..=3 {
                    publisher.publish(value);
                }
                publisher.wait(Limit::Never);
                publisher
            },
            |consumer| consumer.serve_until(3, Dies::Never),
        );
        publisher.assert_settled();
        consumer.assert_settled();
        assert_eq!(region.given(), [(1, false), (2, false), (3, false)]);
    });
}

#[test]
fn one_exchange_is_right_in_every_interleaving() {
    explore(None, || {
        let region = Region::new();
        let (publisher, consumer) = both(
            &region,
            |mut publisher| {
                publisher.publish(1);
                publisher.wait(Limit::Never);
                publisher
            },
            |consumer| consumer.serve_until(1, Dies::Never),
        );
        publisher.assert_settled();
        consumer.assert_settled();
    });
}

#[test]
fn a_sleeper_that_gives_up_as_it_is_rung_eats_its_token_or_owes_it() {
    let outcomes = Outcomes::default();
    let seen = outcomes.clone();
    // At most three preemptions.
    explore(3, move || {
        let region = Region::new();
        let seen = seen.clone();
        let (publisher, consumer) = both(
            &region,
            |mut publisher| {
                publisher.publish(1);
                publisher.publish(2);
                publisher.wait(Limit::Never);
                publisher
            },
            move |mut consumer| {
                for value in 1..=2 {
                    seen.saw(match consumer.wait(Limit::Sleeps(1)) {
                        Some(_) if consumer.owed > 0 => "came, and owes",
                        Some(_) => "came",
                        None if consumer.owed > 0 => "gave up, and owes",
                        None => "gave up",
                    });
                    assert_eq!(consumer.serve(Dies::Never).unwrap(), value);
                }
                consumer
            },
        );
        publisher.assert_settled();
        consumer.assert_settled();
    });
    outcomes.were(&["came", "came, and owes", "gave up", "gave up, and owes"]);
}

#[test]
fn a_publisher_that_dies_before_it_rings_costs_a_tick_and_its_debt_does_no_harm() {
    let outcomes = Outcomes::default();
    let seen = outcomes.clone();
    // At most three preemptions.
    explore(3, move || {
        let region = Region::new();
        let seen = seen.clone();
        let (publisher, consumer) = both(
            &region,
            |mut publisher| {
                let mine = publisher.wait(Limit::Never).unwrap();
                publisher.region.payload.set(1);
                publisher.pass_and_die(mine, Content::Message);
                let mut publisher = publisher.next();
                publisher.publish(2);
                publisher.publish(3);
                publisher.wait(Limit::Never);
                publisher
            },
            move |mut consumer| {
                consumer.knows_death = true;
                for value in 1..=3 {
                    assert_eq!(consumer.serve(Dies::Never).unwrap(), value);
                    assert!(consumer.owed <= 2, "a debt that grows");
                }
                seen.saw(if consumer.owed > 0 { "owes" } else { "owes nothing" });
                consumer
            },
        );
        publisher.assert_settled();
        assert!(consumer.region.bell(Side::Consumer).tokens() <= consumer.owed);
        assert_eq!(region.given(), [(1, false), (2, false), (3, false)]);
    });
    outcomes.were(&["owes", "owes nothing"]);
}

#[test]
fn each_call_gets_its_own_reply() {
    // At most three preemptions.
    explore(3, || {
        let region = Region::new();
        let (publisher, consumer) = both(
            &region,
            |mut publisher| {
                assert_eq!(publisher.call(1, Limit::Never), Sent::Answered);
                assert_eq!(publisher.call(2, Limit::Never), Sent::Answered);
                publisher
            },
            |consumer| consumer.serve_until(2, Dies::Never),
        );
        publisher.assert_settled();
        consumer.assert_settled();
    });
}

/// A call that is given up while the consumer dies as `dies` says, and then one that is not.
fn abandon_a_call(preemptions: impl Into<Option<usize>>, dies: Dies, outcomes_must_be: &[&'static str]) {
    let outcomes = Outcomes::default();
    let seen = outcomes.clone();
    explore(preemptions, move || {
        let region = Region::new();
        let (publisher, consumer) = both(
            &region,
            |mut publisher| {
                let sent = publisher.call(1, Limit::Sleeps(1));
                seen.saw(sent.name());
                // Before anything else: what is withdrawn stays withdrawn.
                let was_given = region.was_given(1);
                assert!(!(sent == Sent::Withdrawn && was_given), "given, and then withdrawn");
                let again = publisher.call(2, Limit::Never);
                assert!(!(sent == Sent::Withdrawn && region.was_given(1)), "given all the same");
                assert_eq!(again, Sent::Answered);
                publisher
            },
            move |consumer| consumer.serve_until(2, dies),
        );
        if dies == Dies::Never {
            publisher.assert_settled();
            consumer.assert_settled();
        }
        let given = region.given();
        assert!(given.iter().filter(|given| **given == (1, false)).count() <= 1, "{given:?}");
        assert_eq!(given.iter().filter(|given| given.0 == 2).count(), 1, "{given:?}");
    });
    outcomes.were(outcomes_must_be);
}

#[test]
fn an_abandoned_call_is_withdrawn_for_certain_or_its_outcome_is_unknown() {
    // At most three preemptions.
    abandon_a_call(3, Dies::Never, &["answered", "unknown", "withdrawn"]);
}

#[test]
fn an_abandoned_call_that_a_dead_consumer_had_is_judged_alike() {
    // At most two preemptions.
    abandon_a_call(2, Dies::Asleep, &["answered", "unknown", "withdrawn"]);
    abandon_a_call(2, Dies::Seen, &["answered", "unknown", "withdrawn"]);
    abandon_a_call(2, Dies::Noting, &["answered", "unknown", "withdrawn"]);
    abandon_a_call(2, Dies::Taken, &["answered", "unknown", "withdrawn"]);
    abandon_a_call(2, Dies::Panicking, &["answered", "unknown", "withdrawn"]);
    abandon_a_call(2, Dies::Replying, &["orphaned", "unknown", "withdrawn"]);
}

#[test]
fn a_dead_consumer_leaves_its_message_marked_if_it_had_taken_it() {
    for (dies, is_marked) in [
        (Dies::Asleep, false),
        (Dies::Seen, false),
        (Dies::Noting, true),
        (Dies::Taken, true),
        (Dies::Panicking, true),
        (Dies::Passed, false),
    ] {
        // At most two preemptions.
        explore(2, move || {
            let region = Region::new();
            both(
                &region,
                |mut publisher| {
                    publisher.knows_death = true;
                    publisher.publish(1);
                    publisher.publish(2);
                    publisher.wait(Limit::Never);
                    publisher
                },
                move |consumer| consumer.serve_until(2, dies),
            );
            let mut expected = vec![(1, is_marked), (2, false)];
            if matches!(dies, Dies::Taken | Dies::Panicking) {
                expected.insert(0, (1, false));
            }
            assert_eq!(region.given(), expected, "died {dies:?}");
        });
    }
}

#[test]
fn a_dead_consumer_leaves_its_call_marked_or_orphaned_if_it_had_begun_to_answer() {
    for (dies, expected) in [
        (Dies::Noting, Sent::Answered),
        (Dies::Taken, Sent::Answered),
        (Dies::Replying, Sent::Orphaned),
        (Dies::Passed, Sent::Answered),
    ] {
        // At most two preemptions.
        explore(2, move || {
            let region = Region::new();
            both(
                &region,
                |mut publisher| {
                    publisher.knows_death = true;
                    assert_eq!(publisher.call(1, Limit::Never), expected);
                    assert_eq!(publisher.call(2, Limit::Never), Sent::Answered);
                    publisher
                },
                move |consumer| consumer.serve_until(2, dies),
            );
            let given = region.given();
            let marked = matches!(dies, Dies::Noting | Dies::Taken);
            assert_eq!(given.contains(&(1, true)), marked, "died {dies:?}: {given:?}");
            assert_eq!(given.iter().filter(|given| given.0 == 2).count(), 1);
        });
    }
}

#[test]
fn a_dead_consumer_orphans_the_long_message_that_it_had_begun() {
    for (dies, expected) in [
        (Dies::Seen, Sent::Answered),
        (Dies::Noting, Sent::Orphaned),
        (Dies::Taken, Sent::Orphaned),
        (Dies::Passed, Sent::Orphaned),
    ] {
        // At most three preemptions.
        end_a_consumer(3, End::stream, false, dies, expected);
    }
}

#[test]
fn a_long_message_that_was_given_back_comes_again_marked_and_is_never_withdrawn() {
    let outcomes = Outcomes::default();
    let seen = outcomes.clone();
    // At most two preemptions.
    explore(2, move || {
        let region = Region::new();
        let seen = seen.clone();
        both(
            &region,
            |mut publisher| {
                let mine = publisher.wait(Limit::Never).unwrap();
                publisher.region.payload.set(1);
                publisher.pass(mine, Content::Stream);
                let mine = publisher.answer(Limit::Never).unwrap();
                assert_eq!(mine.content(), Some(Content::Again));
                publisher.region.payload.set(1);
                let before = publisher.turn().pass_marked(mine, Content::Stream, REDELIVERED);
                publisher.ring_if_asleep(before);
                match publisher.answer(Limit::Sleeps(1)) {
                    Ok(mine) => {
                        assert_eq!(mine.content(), Some(Content::Drained));
                        publisher.region.payload.set(2);
                        publisher.pass(mine, Content::More);
                        seen.saw("drained");
                    }
                    Err(sent) => {
                        assert_ne!(sent, Sent::Withdrawn, "a consumer had it");
                        seen.saw(sent.name());
                    }
                }
                publisher.publish(5);
                publisher
            },
            |mut consumer| {
                let mut dies = Dies::Panicking;
                while !matches!(consumer.serve_within(dies, Limit::Never), Ok(Received::Whole(5))) {
                    dies = Dies::Never;
                }
                consumer
            },
        );
        let given = region.given();
        assert_eq!((given[0], given.last()), ((1, false), Some(&(5, false))));
        assert!(given.len() == 2 || given[1] == (1, true), "{given:?}");
    });
    outcomes.were(&["drained", "unknown"]);
}

/// How far a publisher came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Call,
    /// A call, and it sleeps for the answer.
    CallAsleep,
    Round,
    Drained,
    LastRound,
}

/// A publisher dies having `left` something.
fn replace(left: Left, outcomes_must_be: &[&'static str]) {
    let first = move |publisher: &mut End| {
        let mine = publisher.wait(Limit::Never).unwrap();
        publisher.region.payload.set(1);
        match left {
            Left::Call => publisher.pass_and_die(mine, Content::Call),
            Left::Round => publisher.pass_and_die(mine, Content::Stream),
            Left::CallAsleep => {
                publisher.pass(mine, Content::Call);
                publisher.turn().arm(Side::Publisher);
            }
            Left::Drained | Left::LastRound => {
                publisher.pass(mine, Content::Stream);
                let mine = publisher.wait(Limit::Never).unwrap();
                if left == Left::LastRound {
                    publisher.region.payload.set(2);
                    publisher.pass_and_die(mine, Content::More);
                }
            }
        }
    };
    replace_a_publisher(first, outcomes_must_be);
}

#[test]
fn a_new_publisher_gets_nothing_that_the_dead_one_asked_for() {
    replace(Left::Call, &["whole", "withdrawn"]);
    replace(Left::CallAsleep, &["whole", "withdrawn"]);
    replace(Left::Round, &["broken", "withdrawn"]);
    replace(Left::Drained, &["broken"]);
    replace(Left::LastRound, &["whole"]);
}

#[test]
fn a_new_publisher_leaves_a_dead_ones_message_in_place() {
    // At most three preemptions.
    explore(3, || {
        let region = Region::new();
        both(
            &region,
            |mut publisher| {
                publisher.publish(1);
                let mut publisher = publisher.next();
                publisher.publish(2);
                publisher
            },
            |consumer| consumer.serve_until(2, Dies::Never),
        );
        assert_eq!(region.given(), [(1, false), (2, false)]);
    });
}

/// A long message in rounds, and then a short one.
fn stream(publishers: Limit, consumers: Limit, outcomes_must_be: &[&'static str]) {
    // At most two preemptions: three took half a minute, and came to no other outcome.
    send_long(2, End::stream, (publishers, consumers), |_| {}, outcomes_must_be);
}

#[test]
fn a_long_message_comes_whole_or_both_ends_know_that_it_did_not() {
    stream(Limit::Never, Limit::Never, &["whole"]);
    stream(Limit::Never, Limit::Sleeps(1), &["whole", "the consumer gave up"]);
    let gave_up = ["withdrawn", "skipped", "the publisher gave up", "the publisher missed the end", "whole"];
    stream(Limit::Sleeps(1), Limit::Never, &gave_up);
    let both_gave_up =
        ["withdrawn", "skipped", "the publisher gave up", "the publisher missed the end", "the consumer gave up"];
    stream(Limit::Sleeps(1), Limit::Sleeps(1), &both_gave_up);
}
