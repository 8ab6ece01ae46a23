//! The steps at which a test may kill, stop or watch a process. Feature `steps`, for the project's own tests: without
//! it every mark below compiles to nothing.

use std::sync::OnceLock;

/// Every step, in the order of a channel's life.
pub const ALL: &[&str] = &[
    "create:anchored",
    "create:at-the-door",
    "create:sized",
    "create:reserved",
    "create:filled",
    "create:belled",
    "create:seated",
    "create:complete",
    "open:anchored",
    "open:at-the-door",
    "open:mapped",
    "open:belled",
    "open:seated",
    "attach:at-the-door",
    "attach:locked",
    "attach:repaired",
    "attach:seated",
    "private:both-sit",
    "private:marked",
    "private:names-gone",
    "send:my-turn",
    "send:half-written",
    "send:written",
    "send:passed",
    "send:rung",
    "send:round-filled",
    "send:round-passed",
    "send:answered",
    "call:answered",
    "call:reply-read",
    "call:abandoned",
    "consume:seen",
    "consume:noted",
    "consume:taken",
    "consume:half-copied",
    "consume:copied",
    "consume:passed",
    "consume:rung",
    "consume:round-drained",
    "consume:round-passed",
    "reply:begun",
    "reply:half-written",
    "reply:written",
    "reply:passed",
    "flow:ready",
    "flow:filled",
    "flow:publisher-advanced",
    "flow:drained",
    "flow:consumer-advanced",
    "flow:recalled",
    "flow:reply-ready",
    "flow:reply-filled",
    "flow:reply-drained",
    "sleep:armed",
    "sleep:woken",
    "detach:left",
    "detach:unlocked",
    "detach:at-the-door",
    "unlink:marked",
    "unlink:bell-gone",
    "unlink:bells-gone",
    "unlink:region-gone",
    "reclaim:all-dead",
];

/// Those of opening a channel that is there, and taking an end's seat.
pub const OPENING: &[&str] = &[
    "open:anchored",
    "open:at-the-door",
    "open:mapped",
    "open:belled",
    "open:seated",
    "attach:at-the-door",
    "attach:locked",
    "attach:repaired",
    "attach:seated",
];

/// Every step of a block file's life that a channel's has not.
pub const OF_BLOCKS: &[&str] = &[
    "claim:claimed",
    "claim:ticket",
    "claim:given",
    "claim:ranged",
    "claim:adopted",
    "complete:filled",
    "complete:passed",
    "give-back:writer",
    "finish:ending",
    "finish:abstained",
    "cancel:begun",
    "cancel:reasoned",
    "cancel:said",
    "take:taken",
    "take:adopted",
    "free:done",
    "free:passed",
    "give-back:reader",
    "block:called",
];

static WATCH: OnceLock<fn(&'static str)> = OnceLock::new();

/// Has `watch` told of every step that this process comes to. The first one set stays.
pub fn watch(watch: fn(&'static str)) {
    let _ = WATCH.set(watch);
}

pub(crate) fn reached(step: &'static str) {
    if let Some(watch) = WATCH.get() {
        watch(step);
    }
}

/// Marks a step by its name in [`ALL`] or [`OF_BLOCKS`]; or by one of two, for the publisher and for the consumer.
macro_rules! step {
    ($step:literal) => {
        #[cfg(feature = "steps")]
        crate::steps::reached($step);
    };
    ($side:expr, $publisher:literal, $consumer:literal) => {
        #[cfg(feature = "steps")]
        crate::steps::reached(if $side as usize == 0 { $publisher } else { $consumer });
    };
}
pub(crate) use step;
