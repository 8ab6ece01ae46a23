//! Killed while messages go to and fro.
//!
//! The victim sits at one end, the test's own process at the other. A rehearsal tells which steps
//! the victim comes by; then it is killed at each of them, in one run after another. What the
//! survivor and the victim have to say about every message is put side by side:
//!
//! * what `publish` acknowledged was consumed, or comes to the next consumer;
//! * nothing comes twice unmarked, nothing comes altered, nothing comes that was not sent;
//! * what failed with "nothing was delivered" was delivered to nobody, before or after;
//! * the survivor is told of the death once, and goes on with the next peer on the same name.

use crate::body::{REPLY, body, number_of};
use crate::intruder::{Intruder, WANTS};
use crate::support::{Peer, Watchdog, assert_nothing_left, role, say, unique};
use crate::this_test;
use crate::victim::{End, Plan, deaths, follow, ignore_steps, on_step, outlive, ready, steps_told, tell_steps};
use antiphon::{ChannelOptions, Consumer, Delivered, Error, Publisher, Wait};
use std::collections::BTreeSet;
use std::io::IoSlice;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// The steps at which each of the tests below kills, or fails.
pub const STEPS: &[&[&str]] = &[
    PUBLISHER_INLINE,
    PUBLISHER_WHOLE,
    PUBLISHER_LONG,
    CONSUMER_INLINE,
    CONSUMER_WHOLE,
    CONSUMER_LONG,
    GIVING_UP,
    SLEEPING,
];
const PUBLISHER_INLINE: &[&str] = &[
    "send:my-turn",
    "send:written",
    "send:passed",
    "send:rung",
    "send:answered",
    "call:answered",
    "call:reply-read",
];
const PUBLISHER_WHOLE: &[&str] = &["send:half-written", "send:written", "send:passed", "call:reply-read"];
const PUBLISHER_LONG: &[&str] = &[
    "send:my-turn",
    "send:round-filled",
    "send:passed",
    "send:rung",
    "send:round-passed",
    "send:answered",
    "call:answered",
    "flow:reply-drained",
];
const CONSUMER_INLINE: &[&str] = &[
    "consume:seen",
    "consume:noted",
    "consume:taken",
    "consume:copied",
    "consume:passed",
    "consume:rung",
    "reply:begun",
    "reply:written",
    "reply:passed",
];
const CONSUMER_WHOLE: &[&str] = &["consume:half-copied", "consume:copied", "reply:half-written", "reply:written"];
const CONSUMER_LONG: &[&str] = &[
    "consume:half-copied",
    "consume:copied",
    "consume:round-drained",
    "consume:passed",
    "consume:rung",
    "consume:round-passed",
    "reply:begun",
    "flow:reply-ready",
];
const GIVING_UP: &[&str] = &["call:abandoned"];
/// The tests by size kill there too, whenever the victim happens to sleep.
const SLEEPING: &[&str] = &["sleep:armed", "sleep:woken"];

#[derive(Debug, Clone, Copy)]
pub struct Class {
    pub capacity: usize,
    pub len: usize,
    /// Messages that the victim's life lasts for.
    pub messages: u64,
    pub kind: Kind,
}

/// What is sent, and what of it is long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Messages and calls, sent and taken in several ways.
    Mixed,
    /// Messages that flow.
    Flow,
    /// Calls that flow, with short replies.
    CallFlow,
    /// Short calls whose replies flow.
    ReplyFlow,
}

const KINDS: [Kind; 4] = [Kind::Mixed, Kind::Flow, Kind::CallFlow, Kind::ReplyFlow];

impl Class {
    fn message_len(&self) -> usize {
        if self.kind == Kind::ReplyFlow { 8 } else { self.len }
    }

    fn reply_len(&self) -> usize {
        if self.kind == Kind::CallFlow { 8 } else { self.len }
    }

    fn is_call(&self, number: u64) -> bool {
        match self.kind {
            Kind::Mixed if self.messages < 6 => number % 2 == 1,
            Kind::Mixed => matches!(number % 6, 2 | 4),
            Kind::Flow => false,
            Kind::CallFlow | Kind::ReplyFlow => true,
        }
    }

    /// Whether message `round` is taken by `consume_into`, so that it may flow.
    fn is_copied_out(&self, round: u64) -> bool {
        self.kind != Kind::Mixed || round % 2 == 1
    }
}

const MIB: usize = 1 << 20;
pub const SMALL: usize = 64 * 1024;
const INLINE: Class = Class { capacity: SMALL, len: 8, messages: 6, kind: Kind::Mixed };
/// Too long for the turn's line, and too short to flow.
const SHORT: Class = Class { capacity: SMALL, len: 20_000, messages: 6, kind: Kind::Mixed };
const WHOLE: Class = Class { capacity: 4 * MIB, len: 4 * MIB, messages: 6, kind: Kind::Mixed };
const LONG: Class = Class { capacity: SMALL, len: 5 * SMALL + 77, messages: 6, kind: Kind::Mixed };
const HUGE: Class = Class { capacity: 4 * MIB, len: 40 * MIB, messages: 2, kind: Kind::Mixed };

/// How long anybody sleeps at most without a look around.
const A_TICK: Duration = Duration::from_millis(40);
/// How long one life and death may take.
pub const PATIENCE: Duration = Duration::from_secs(30);
pub const EVERY_WAIT: &[Wait] = &[Wait::Spin, Wait::Park, Wait::Adaptive];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Publisher,
    Consumer,
}

/// When the next peer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Once the survivor was told of the death.
    AfterTheNews,
    /// As soon as the victim is gone, so that it is often there before the survivor looks.
    AtOnce,
}

#[derive(Debug, Clone)]
struct Case {
    victim: Side,
    class: Class,
    wait: Wait,
    next: Next,
    plan: Plan,
}

#[test]
fn a_publisher_killed_at_any_step_of_an_inline_message() {
    matrix(this_test!(), Side::Publisher, &[(INLINE, EVERY_WAIT)], PUBLISHER_INLINE);
}

#[test]
fn a_publisher_killed_at_any_step_of_a_message_in_the_payload() {
    matrix(this_test!(), Side::Publisher, &[(WHOLE, EVERY_WAIT), (SHORT, &[Wait::Park])], PUBLISHER_WHOLE);
}

#[test]
fn a_publisher_killed_at_any_step_of_a_long_message() {
    let classes = [(LONG, EVERY_WAIT), (HUGE, &[Wait::Adaptive])];
    matrix(this_test!(), Side::Publisher, &classes, PUBLISHER_LONG);
}

#[test]
fn a_consumer_killed_at_any_step_of_an_inline_message() {
    matrix(this_test!(), Side::Consumer, &[(INLINE, EVERY_WAIT)], CONSUMER_INLINE);
}

#[test]
fn a_consumer_killed_at_any_step_of_a_message_in_the_payload() {
    matrix(this_test!(), Side::Consumer, &[(WHOLE, EVERY_WAIT), (SHORT, &[Wait::Park])], CONSUMER_WHOLE);
}

#[test]
fn a_consumer_killed_at_any_step_of_a_long_message() {
    let classes = [(LONG, EVERY_WAIT), (HUGE, &[Wait::Adaptive])];
    matrix(this_test!(), Side::Consumer, &classes, CONSUMER_LONG);
}

fn matrix(test: &str, victim: Side, classes: &[(Class, &[Wait])], steps: &[&str]) {
    matrix_of(test, victim, classes, steps, |rehearsed, _| deaths(rehearsed));
}

/// Kills at each of `plans`, which are made of what was rehearsed.
pub fn matrix_of(
    test: &str,
    victim: Side,
    classes: &[(Class, &[Wait])],
    steps: &[&str],
    plans: impl Fn(&[(String, u32)], Class) -> Vec<Plan>,
) {
    if let Some((_, args)) = role() {
        return live(&args);
    }
    let mut killed_at = BTreeSet::new();
    let (mut kills, mut survived) = (0, 0);
    let mut delays = Vec::new();
    for (class, waits) in classes {
        for &wait in *waits {
            for next in [Next::AfterTheNews, Next::AtOnce] {
                if next == Next::AtOnce && wait != Wait::Park {
                    continue; // Where the news takes longest, the next peer is there before.
                }
                let case = Case { victim, class: *class, wait, next, plan: Plan::Rehearse };
                let rehearsed = steps_told(&run(test, &case).end.words);
                for plan in plans(&rehearsed, *class) {
                    let case = Case { plan: plan.clone(), ..case };
                    let outcome = run(test, &case);
                    let Plan::Die { step, .. } = plan else { unreachable!() };
                    if outcome.end.was_killed {
                        kills += 1;
                        killed_at.insert(step);
                        delays.extend(outcome.delay.map(|delay| (wait, delay)));
                    } else {
                        survived += 1; // It did not come by that often this time.
                    }
                }
            }
        }
    }
    crate::delay::tell(&format!("{test}: {kills} kills, {survived} missed"), &delays);
    let missing: Vec<_> = steps.iter().filter(|step| !killed_at.contains(**step)).collect();
    assert!(missing.is_empty(), "nobody was killed at {missing:?}");
}

struct Outcome {
    end: End,
    /// From the victim's end to the survivor's being told.
    delay: Option<Duration>,
}

/// A message as it came to a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    pub number: u64,
    pub marked: bool,
}

pub fn options(class: Class, wait: Wait) -> ChannelOptions {
    ChannelOptions::new().capacity(class.capacity).wait(wait)
}

fn run(test: &str, case: &Case) -> Outcome {
    let _watchdog = Watchdog::new(format!("{test}: {case:?}"), PATIENCE);
    let name = unique("x");
    let channel = options(case.class, case.wait).create(&name).unwrap();
    let side = format!("{:?}", case.victim);
    let wait = format!("{:?}", case.wait);
    let Class { len, messages, kind, .. } = case.class;
    let (len, messages, kind) = (len.to_string(), messages.to_string(), format!("{kind:?}"));
    let args = [&name, &case.plan.to_word(), &side, &wait, &len, &messages, &kind];
    let args = args.map(String::as_str);
    let outcome = std::panic::catch_unwind(|| match case.victim {
        Side::Publisher => {
            let consumer = channel.consumer().unwrap();
            let mut victim = Peer::start(test, "victim", &args);
            victim.expect("ready");
            outlive_publisher(case, &name, consumer, victim)
        }
        Side::Consumer => {
            let publisher = channel.publisher().unwrap();
            let mut victim = Peer::start(test, "victim", &args);
            victim.expect("ready");
            outlive_consumer(case, &name, publisher, victim)
        }
    });
    let outcome = outcome.unwrap_or_else(|_| panic!("in {case:?}"));
    drop(channel);
    assert_nothing_left(&name);
    outcome
}

// ---- The victim ----

fn wait_of(word: &str) -> Wait {
    *EVERY_WAIT.iter().find(|wait| format!("{wait:?}") == word).unwrap()
}

pub fn live(args: &[String]) {
    let wait = wait_of(&args[3]);
    let kind = args.get(6).map_or("Mixed", |kind| kind);
    let class = Class {
        capacity: 0, // The maker's choice.
        len: args[4].parse().unwrap(),
        messages: args[5].parse().unwrap(),
        kind: *KINDS.iter().find(|known| format!("{known:?}") == kind).unwrap(),
    };
    let channel = ChannelOptions::new().wait(wait).open(&args[0]).unwrap();
    if args[2] == "Publisher" {
        let mut publisher = channel.publisher().unwrap();
        let wanted = Wanted::new(&args[0]);
        ready();
        follow(&args[1]);
        for number in 0..class.messages {
            send_one(&mut publisher, number, class, &wanted).unwrap();
            say(format_args!("acknowledged {number}"));
        }
    } else {
        let mut consumer = channel.consumer().unwrap();
        ready();
        follow(&args[1]);
        for round in 0..class.messages {
            take(&mut consumer, round, class, |delivery| {
                say(format_args!("got {} {}", delivery.number, delivery.marked));
            })
            .unwrap();
        }
    }
    tell_steps();
}

/// Whether the consumer waits to copy out: what is sent then, flows.
pub struct Wanted(Intruder);

impl Wanted {
    pub fn new(name: &str) -> Wanted {
        Wanted(Intruder::new(name))
    }

    /// Waits until it does; not for long, as it may be dead.
    pub fn wait(&self) {
        let until = Instant::now() + Duration::from_millis(30);
        while self.0.byte(WANTS).load(Relaxed) == 0 && Instant::now() < until {
            std::thread::yield_now();
        }
    }

    /// Says it for a consumer that does not.
    pub fn pretend(&self) {
        self.0.word(WANTS / 8 * 8).store(u64::from_ne_bytes([0, 0, 0, 0, 1, 0, 0, 0]), Relaxed);
    }
}

/// Publishes or calls, each in several ways. A reply has to be the right one.
pub fn send_one(publisher: &mut Publisher, number: u64, class: Class, wanted: &Wanted) -> Result<(), Error> {
    let bytes = body(number, class.message_len());
    if matches!(class.kind, Kind::Flow | Kind::CallFlow) {
        wanted.wait();
    }
    if class.is_call(number) {
        let reply = publisher.call(&bytes)?;
        assert_eq!(number_of(&reply), Ok(number + REPLY));
        assert_eq!(reply.len(), class.reply_len());
    } else if number % 3 != 1 {
        publisher.publish(&bytes)?;
    } else if bytes.len() > SMALL {
        let (front, back) = bytes.split_at(bytes.len() / 3);
        publisher.publish_vectored(&[IoSlice::new(front), IoSlice::new(back)])?;
    } else {
        let mut loan = publisher.loan(bytes.len())?;
        loan.copy_from(0, &bytes);
        loan.publish()?;
    }
    Ok(())
}

/// Takes the next message, tells of it, and only then lets go of it or replies.
pub fn take_one(consumer: &mut Consumer, copy_out: bool, tell: impl FnOnce(Delivery)) -> Result<u64, Error> {
    take_and_reply(consumer, copy_out, None, tell)
}

/// The same, as `class` has it.
pub fn take(consumer: &mut Consumer, round: u64, class: Class, tell: impl FnOnce(Delivery)) -> Result<u64, Error> {
    take_and_reply(consumer, class.is_copied_out(round), Some(class), tell)
}

fn take_and_reply(
    consumer: &mut Consumer,
    copy_out: bool,
    class: Option<Class>,
    tell: impl FnOnce(Delivery),
) -> Result<u64, Error> {
    let mut bytes = Vec::new();
    let message = if copy_out {
        consumer.consume_into(&mut bytes)?
    } else {
        let mut message = consumer.consume()?;
        message.copy_into(&mut bytes)?;
        message
    };
    let number = number_of(&bytes).unwrap();
    assert_eq!(bytes.len(), message.len());
    tell(Delivery { number, marked: message.redelivered() });
    if message.is_call() {
        let len = class.filter(|_| number < FRESH).map_or(bytes.len(), |class| class.reply_len());
        message.reply(&body(number + REPLY, len))?;
    }
    Ok(number)
}

// ---- The survivors ----

/// A full exchange of every kind, with a peer that does not die: these numbers, from `FRESH` on.
const FRESH: u64 = 100;

fn fresh_lengths(class: Class) -> [usize; 3] {
    [8, (SMALL + 11).min(class.capacity), class.capacity + 5000]
}

const LAST: u64 = FRESH + 5;

/// The same between two ends of a channel of the least capacity.
pub fn exchange_fresh(publisher: &mut Publisher, consumer: &mut Consumer) {
    std::thread::scope(|scope| {
        scope.spawn(|| send_fresh(publisher, LONG));
        let mut deliveries = Vec::new();
        loop {
            match take_one(consumer, true, |delivery| deliveries.push(delivery)) {
                Ok(LAST) => break,
                // What became of the one before is told first.
                Ok(_) | Err(Error::PeerDied { .. } | Error::Disconnected { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        deliveries.retain(|delivery| delivery.number >= FRESH);
        check_fresh(&deliveries);
    });
}

fn send_fresh(publisher: &mut Publisher, class: Class) {
    for (at, len) in fresh_lengths(class).into_iter().enumerate() {
        let number = FRESH + 2 * at as u64;
        publisher.publish(&body(number, len)).unwrap();
        let reply = publisher.call(&body(number + 1, len)).unwrap();
        assert_eq!(number_of(&reply), Ok(number + 1 + REPLY));
    }
}

fn check_fresh(deliveries: &[Delivery]) {
    let fresh: Vec<_> = deliveries.iter().filter(|delivery| delivery.number >= FRESH).collect();
    let numbers: Vec<u64> = fresh.iter().map(|delivery| delivery.number).collect();
    assert_eq!(numbers, (FRESH..=LAST).collect::<Vec<u64>>(), "the next peer's messages");
    assert!(fresh.iter().all(|delivery| !delivery.marked), "{fresh:?}");
}

fn check_death(error: &Error, end_pid: u32) {
    if let Error::PeerDied { pid, .. } = error {
        assert!(*pid == end_pid || *pid == 0, "{error}");
    }
}

fn outlive_publisher(case: &Case, name: &str, mut consumer: Consumer, mut victim: Peer) -> Outcome {
    let pid = victim.pid();
    victim.tell("go");
    let next = || {
        let channel = options(case.class, case.wait).open(name).unwrap();
        let mut publisher = channel.publisher().unwrap();
        send_fresh(&mut publisher, case.class);
    };
    let mut deliveries = Vec::new();
    let mut told = None;
    let end = std::thread::scope(|scope| {
        let reaper = scope.spawn(move || {
            let end = outlive(victim);
            if case.next == Next::AtOnce {
                next();
            }
            end
        });
        let mut deaths = 0;
        for round in 0.. {
            match take(&mut consumer, round + 1, case.class, |delivery| deliveries.push(delivery)) {
                Ok(LAST) => break,
                Ok(_) => {}
                Err(error @ (Error::PeerDied { .. } | Error::Disconnected { .. })) => {
                    told = Some((Instant::now(), matches!(error, Error::PeerDied { .. })));
                    check_death(&error, pid);
                    deaths += 1;
                    if case.next == Next::AfterTheNews && deaths == 1 {
                        scope.spawn(next);
                    }
                }
                // Something long was broken off, or the caller of a reply is gone.
                Err(Error::Aborted { .. } | Error::CallerGone { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert!(deaths <= 1, "told {deaths} times");
        reaper.join().unwrap()
    });
    let acknowledged = numbers_said(&end.words, "acknowledged ");
    for number in &acknowledged {
        let times = deliveries.iter().filter(|delivery| delivery.number == *number).count();
        assert_eq!(times, 1, "message {number} was acknowledged: {deliveries:?}");
    }
    let own: Vec<u64> = deliveries.iter().map(|d| d.number).filter(|n| *n < FRESH).collect();
    let sent = acknowledged.len() as u64;
    assert!(own.len() as u64 <= sent + 1, "{own:?} of {sent}");
    assert!(own.iter().enumerate().all(|(at, number)| at as u64 == *number), "order: {own:?}");
    assert!(deliveries.iter().all(|delivery| !delivery.marked), "{deliveries:?}");
    check_fresh(&deliveries);
    outcome(case, end, told)
}

fn outlive_consumer(case: &Case, name: &str, mut publisher: Publisher, mut victim: Peer) -> Outcome {
    let pid = victim.pid();
    victim.tell("go");
    let next = || {
        let channel = options(case.class, case.wait).open(name).unwrap();
        let mut consumer = channel.consumer().unwrap();
        let mut deliveries = Vec::new();
        let mut round = 0;
        while take(&mut consumer, round + 1, case.class, |delivery| deliveries.push(delivery)).unwrap() != LAST {
            round += 1;
        }
        deliveries
    };
    let wanted = Wanted::new(name);
    let mut acknowledged = Vec::new();
    let mut undelivered = Vec::new();
    let mut told = None;
    let (end, later) = std::thread::scope(|scope| {
        let reaper = scope.spawn(move || {
            let end = outlive(victim);
            let later = (case.next == Next::AtOnce).then(next);
            (end, later)
        });
        // More than the victim takes: so either its end is told, or the next one takes the rest.
        for number in 0..2 * case.class.messages.max(3) {
            let sent = send_one(&mut publisher, number, case.class, &wanted);
            match sent {
                Ok(()) => acknowledged.push(number),
                Err(error @ (Error::PeerDied { .. } | Error::Disconnected { .. })) => {
                    told = Some((Instant::now(), matches!(error, Error::PeerDied { .. })));
                    check_death(&error, pid);
                    if error.delivered() == Some(Delivered::No) {
                        undelivered.push(number);
                    }
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        if case.next == Next::AfterTheNews {
            assert!(told.is_some(), "nobody told of the end");
        }
        let later = (case.next == Next::AfterTheNews).then(|| scope.spawn(next));
        send_fresh(&mut publisher, case.class);
        let (end, at_once) = reaper.join().unwrap();
        (end, at_once.or_else(|| later.map(|later| later.join().unwrap())).unwrap())
    });
    let mut deliveries: Vec<Delivery> = Vec::new();
    for word in end.words.iter().filter_map(|word| word.strip_prefix("got ")) {
        let (number, marked) = word.split_once(' ').unwrap();
        deliveries.push(Delivery { number: number.parse().unwrap(), marked: marked == "true" });
    }
    let mut missing: Vec<u64> = Vec::new();
    let victims = deliveries.len() as u64;
    deliveries.extend(&later);
    for number in &acknowledged {
        if !deliveries.iter().any(|delivery| delivery.number == *number) {
            missing.push(*number);
        }
    }
    // `consume_into` lets go of a message before its caller has seen it, and says so.
    let may_be_unseen = matches!(&case.plan, Plan::Die { step, .. }
        if step == "consume:passed" || step == "consume:rung");
    assert!(
        missing.is_empty() || (may_be_unseen && missing == [victims] && case.class.is_copied_out(victims)),
        "acknowledged and lost: {missing:?}, delivered {deliveries:?}"
    );
    for delivery in &deliveries {
        let twin = |other: &&Delivery| other.number == delivery.number && !other.marked;
        let unmarked = deliveries.iter().filter(twin).count();
        assert!(unmarked <= 1, "twice unmarked: {deliveries:?}");
        assert!(!undelivered.contains(&delivery.number), "{delivery:?} was called undelivered");
    }
    let order = deliveries.windows(2).all(|pair| pair[0].number <= pair[1].number);
    assert!(order, "out of order: {deliveries:?}");
    check_fresh(&deliveries);
    outcome(case, end, told)
}

fn numbers_said(words: &[String], prefix: &str) -> Vec<u64> {
    words.iter().filter_map(|word| word.strip_prefix(prefix)?.parse().ok()).collect()
}

fn outcome(case: &Case, end: End, told: Option<(Instant, bool)>) -> Outcome {
    let mut delay = None;
    if case.next == Next::AfterTheNews {
        let (at, as_death) = told.expect("the end is told");
        let had_left = matches!(&case.plan, Plan::Die { step, .. } if step.starts_with("detach"));
        let is_death = end.was_killed && !had_left;
        assert_eq!(as_death, is_death, "a death is told as one, a leaving as one");
        delay = is_death.then(|| at.saturating_duration_since(end.at));
    }
    Outcome { end, delay }
}

// ---- Dead between passing the turn and posting ----

#[test]
fn a_poster_that_dies_before_it_posts_is_missed_by_a_tick_and_its_death_is_told() {
    if role().is_some() {
        return live(&role().unwrap().1);
    }
    for (victim, step) in [(Side::Publisher, "send:passed"), (Side::Consumer, "consume:passed")] {
        for wait in [Wait::Park, Wait::Adaptive] {
            let _watchdog = Watchdog::new(format!("{step} {wait:?}"), PATIENCE);
            let name = unique("post");
            let channel = options(INLINE, wait).create(&name).unwrap();
            let plan = Plan::Die { step: step.to_owned(), nth: 1 };
            let args = [&name, &plan.to_word(), &format!("{victim:?}"), &format!("{wait:?}"), "8", "6"];
            let mut peer = Peer::start(this_test!(), "victim", &args.map(|word| word as &str));
            peer.expect("ready");
            let (asleep, is_asleep) = std::sync::mpsc::channel();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let tell = move |here| {
                        if here == "sleep:armed" {
                            let _ = asleep.send(());
                        }
                    };
                    if victim == Side::Publisher {
                        let mut consumer = channel.consumer().unwrap();
                        on_step(tell);
                        assert_eq!(take_one(&mut consumer, false, |_| ()).unwrap(), 0);
                        let told = take_one(&mut consumer, false, |_| ());
                        assert!(matches!(told, Err(Error::PeerDied { .. })), "{told:?}");
                    } else {
                        let mut publisher = channel.publisher().unwrap();
                        publisher.publish(&body(0, 8)).unwrap();
                        on_step(tell);
                        publisher.publish(&body(1, 8)).unwrap();
                        let told = publisher.publish(&body(2, 8));
                        assert!(matches!(told, Err(Error::PeerDied { .. })), "{told:?}");
                        channel.consumer().unwrap().consume().unwrap();
                    }
                });
                is_asleep.recv().unwrap();
                peer.tell("go");
                assert!(outlive(peer).was_killed);
            });
            drop(channel);
            assert_nothing_left(&name);
        }
    }
}

// ---- Mended by the next one ----

/// The next consumer mends what the dead one left, and the caller goes on by that, while the next one still sits down.
#[test]
fn a_death_that_the_next_consumer_has_mended_is_told_once() {
    if let Some((_, args)) = role() {
        return live(&args);
    }
    for wait in EVERY_WAIT {
        let _watchdog = Watchdog::new(format!("mended {wait:?}"), PATIENCE);
        let name = unique("mended");
        let channel = options(INLINE, *wait).create(&name).unwrap();
        let mut publisher = channel.publisher().unwrap();
        let plan = Plan::Die { step: "reply:begun".to_owned(), nth: 1 }.to_word();
        let args = [&name, &plan, "Consumer", &format!("{wait:?}"), "8", "1", "CallFlow"];
        let mut victim = Peer::start(this_test!(), "victim", &args.map(|word| word as &str));
        victim.expect("ready");
        victim.tell("go");
        let (mended, is_mended) = std::sync::mpsc::channel();
        let (sit_down, sits_down) = std::sync::mpsc::channel::<()>();
        let mut consumer = std::thread::scope(|scope| {
            let next = scope.spawn(|| {
                assert!(outlive(victim).was_killed);
                on_step(move |here| {
                    if here == "attach:repaired" {
                        mended.send(()).unwrap();
                        let _ = sits_down.recv(); // Until the other end of it is dropped.
                    }
                });
                let consumer = channel.consumer().unwrap();
                ignore_steps();
                consumer
            });
            // It does not find the death by itself before.
            on_step(move |here| {
                if here == "send:rung" {
                    let _ = is_mended.recv();
                }
            });
            let told = publisher.call(&body(0, 8));
            ignore_steps();
            assert!(matches!(told, Err(Error::PeerDied { delivered: Delivered::Unknown, .. })), "{told:?}");
            publisher.publish(&body(FRESH, 8)).unwrap();
            let again = publisher.publish_timeout(&body(FRESH, 8), 2 * A_TICK);
            assert!(matches!(again, Err(Error::TimedOut { .. })), "{again:?}");
            drop(sit_down);
            next.join().unwrap()
        });
        assert_eq!(take_one(&mut consumer, true, |delivery| assert!(!delivery.marked)).unwrap(), FRESH);
        exchange_fresh(&mut publisher, &mut consumer);
        drop((publisher, consumer, channel));
        assert_nothing_left(&name);
    }
}

// ---- Dead while giving up ----

const SOON: Duration = Duration::from_millis(20);

/// A victim that runs out of time, and dies when it has said so on the turn.
fn give_up(what: &str, args: &[String]) {
    let channel = ChannelOptions::new().open(&args[0]).unwrap();
    let long = body(1, LONG.len);
    let step = if what == "drain" { "consume:passed" } else { GIVING_UP[0] };
    follow(&Plan::Die { step: step.to_owned(), nth: 1 }.to_word());
    let mut into = Vec::new();
    if what == "call" {
        let mut publisher = channel.publisher().unwrap();
        ready();
        let len = args[1].parse().unwrap();
        publisher.call_timeout(&body(0, len), SOON).unwrap_err();
    } else {
        let mut consumer = channel.consumer().unwrap();
        ready();
        if what != "reply" {
            consumer.consume_into_timeout(&mut into, SOON).map(drop).unwrap_err();
        } else {
            consumer.consume_into(&mut into).unwrap().reply_timeout(&long, SOON).unwrap_err();
        }
    }
    unreachable!("it died at {step}");
}

#[test]
fn a_caller_killed_while_it_gives_up_leaves_the_consumer_to_the_next() {
    if let Some((what, args)) = role() {
        return give_up(&what, &args);
    }
    for (len, is_taken) in [(8, false), (8, true), (LONG.len, false), (LONG.len, true)] {
        let _watchdog = Watchdog::new(format!("gives up {len} {is_taken}"), PATIENCE);
        let name = unique("giveup");
        let channel = options(LONG, Wait::Park).create(&name).unwrap();
        let mut consumer = channel.consumer().unwrap();
        let mut victim = Peer::start(this_test!(), "call", &[&name, &len.to_string()]);
        victim.expect("ready");
        victim.tell("go");
        if is_taken {
            let mut message = consumer.consume().unwrap();
            assert!(message.is_call());
            assert!(outlive(victim).was_killed);
            if len > LONG.capacity {
                message.next_round().unwrap_err();
            } else {
                message.copy_into(&mut Vec::new()).unwrap();
                let gone = message.reply(b"late");
                assert!(matches!(gone, Err(Error::CallerGone { .. })), "{gone:?}");
            }
        } else {
            assert!(outlive(victim).was_killed);
        }
        let mut publisher = channel.publisher().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| send_fresh(&mut publisher, LONG));
            let mut deliveries = Vec::new();
            loop {
                match take_one(&mut consumer, true, |delivery| deliveries.push(delivery)) {
                    Ok(LAST) => break,
                    Ok(_) | Err(Error::PeerDied { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            assert_eq!(deliveries.len(), 6, "withdrawn, or had before: {deliveries:?}");
            check_fresh(&deliveries);
        });
        drop((publisher, consumer, channel));
        assert_nothing_left(&name);
    }
}

#[test]
fn a_consumer_killed_while_it_gives_up_leaves_the_publisher_to_the_next() {
    if let Some((what, args)) = role() {
        return give_up(&what, &args);
    }
    // In the middle of rounds; where the publisher fills, where the consumer does.
    for (what, held_at) in
        [("take", "send:round-passed"), ("drain", "flow:publisher-advanced"), ("reply", "flow:reply-drained")]
    {
        let _watchdog = Watchdog::new(format!("gives up: {what}"), PATIENCE);
        let name = unique("giveup");
        let channel = options(LONG, Wait::Park).create(&name).unwrap();
        let mut publisher = channel.publisher().unwrap();
        let mut victim = Peer::start(this_test!(), what, &[&name]);
        victim.expect("ready");
        // Rounds begin where nobody waits yet.
        let is_late = what == "take";
        if !is_late {
            victim.tell("go");
        }
        let victim = std::cell::Cell::new(Some(victim));
        // The publisher does not go on before the victim ran out of time and died.
        on_step(move |here| {
            if here == held_at {
                if let Some(mut victim) = victim.take() {
                    if is_late {
                        victim.tell("go");
                    }
                    assert!(outlive(victim).was_killed);
                }
            }
        });
        if what == "drain" {
            Wanted::new(&name).pretend();
        }
        let error = if what == "reply" {
            publisher.call(&body(0, 8)).unwrap_err()
        } else {
            publisher.publish(&body(0, LONG.len)).unwrap_err()
        };
        ignore_steps();
        // It said on the turn that it gave up, and only then it died.
        assert!(matches!(error, Error::Aborted { .. } | Error::PeerDied { .. }), "{error}");
        if what == "reply" {
            assert_eq!(error.delivered(), Some(Delivered::Unknown), "{error}");
        }
        let mut consumer = channel.consumer().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut deliveries = Vec::new();
                while take_one(&mut consumer, true, |d| deliveries.push(d)).unwrap() != LAST {}
                assert_eq!(deliveries.len(), 6, "{deliveries:?}");
                check_fresh(&deliveries);
            });
            send_fresh(&mut publisher, LONG);
        });
        drop((publisher, consumer, channel));
        assert_nothing_left(&name);
    }
}

// ---- Dead asleep, or just woken ----

#[test]
fn a_sleeper_that_is_killed_takes_neither_message_nor_seat_with_it() {
    if let Some((_, args)) = role() {
        return live(&args);
    }
    for victim in [Side::Publisher, Side::Consumer] {
        for (step, wait) in [
            ("sleep:armed", Wait::Park),
            ("sleep:armed", Wait::Adaptive),
            ("sleep:woken", Wait::Park),
            ("sleep:woken", Wait::Adaptive),
        ] {
            let _watchdog = Watchdog::new(format!("{victim:?} {step} {wait:?}"), PATIENCE);
            let name = unique("sleep");
            let channel = options(LONG, wait).create(&name).unwrap();
            let mut publisher = (victim == Side::Consumer).then(|| channel.publisher().unwrap());
            let mut consumer = (victim == Side::Publisher).then(|| channel.consumer().unwrap());
            let plan = Plan::Die { step: step.to_owned(), nth: 1 }.to_word();
            let (side, wait) = (format!("{victim:?}"), format!("{wait:?}"));
            let args = [&name, &plan, &side, &wait, "8", "1000"];
            let mut peer = Peer::start(this_test!(), "victim", &args.map(|word| word as &str));
            peer.expect("ready");
            peer.tell("go");
            // Nothing comes to it before it sleeps, and says so where it is to be woken.
            let mut number = 0;
            while let Some(word) = peer.heard() {
                if word != "armed" {
                    continue;
                }
                let done = match (&mut publisher, &mut consumer) {
                    (Some(publisher), _) => publisher.publish(&body(number, 8)),
                    (_, Some(consumer)) => take_one(consumer, false, |_| ()).map(drop),
                    _ => unreachable!(),
                };
                match done {
                    Ok(()) => number += 1,
                    Err(Error::PeerDied { .. }) => break,
                    Err(error) => panic!("{error}"),
                }
            }
            assert!(outlive(peer).was_killed, "{step}");
            let mut publisher = publisher.unwrap_or_else(|| channel.publisher().unwrap());
            let mut consumer = consumer.unwrap_or_else(|| channel.consumer().unwrap());
            exchange_fresh(&mut publisher, &mut consumer);
            drop((publisher, consumer, channel));
            assert_nothing_left(&name);
        }
    }
}

// ---- Unfinished, and nobody's any more ----

#[test]
fn the_next_publisher_withdraws_what_the_dead_one_had_not_finished() {
    if let Some((_, args)) = role() {
        return live(&args);
    }
    // The first round of a long message; a call, after a message that is consumed.
    for (len, step, nth) in [(LONG.len, "send:round-passed", 1), (8, "send:passed", 2)] {
        let _watchdog = Watchdog::new(format!("unfinished {len}"), PATIENCE);
        let name = unique("undone");
        let channel = options(LONG, Wait::Park).create(&name).unwrap();
        let mut consumer = channel.consumer().unwrap();
        let plan = Plan::Die { step: step.to_owned(), nth }.to_word();
        let args = [&name, &plan, "Publisher", "Park", &len.to_string(), "2"];
        let mut victim = Peer::start(this_test!(), "victim", &args.map(|word| word as &str));
        victim.expect("ready");
        victim.tell("go");
        if nth == 2 {
            assert_eq!(take_one(&mut consumer, false, |_| ()).unwrap(), 0);
        }
        assert!(outlive(victim).was_killed);
        let mut publisher = channel.publisher().unwrap();
        let nothing = consumer.try_consume();
        assert!(matches!(nothing, Ok(None)), "{nothing:?}");
        drop(nothing);
        exchange_fresh(&mut publisher, &mut consumer);
        drop((publisher, consumer, channel));
        assert_nothing_left(&name);
    }
}
